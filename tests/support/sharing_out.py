"""Which tests run in one process, and in which order the processes get them.

Those that share a fixture of their module run in one process, so that it is made once; those that look at
the clock on the wall are marked `pytest.mark.xdist_group("timing")`, so that no two run at the same time.

xdist's own `--dist=loadgroup` does not see groups with pytest 9.2 (pytest-xdist issue 1386): it writes them
into the tests' ids, which cannot be changed any more. Here the first process writes them into a file.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
GROUPS = pytest.StashKey[Path]()
"""The file in which the groups are told."""


def group_of(item: pytest.Item) -> str:
    """The group of a test: the one that it is marked with, or the fixtures of its module that it has."""
    if mark := item.get_closest_marker("xdist_group"):
        return str(mark.args[0])
    if not isinstance(item, pytest.Function):
        return ""
    known = item._fixtureinfo.name2fixturedefs
    names = [name for name in item.fixturenames if name in known and known[name][-1].scope == "module"]
    given = item.callspec.params if hasattr(item, "callspec") else {}
    shared = [f"{name} {given[name]}" if name in given else name for name in names]
    return " ".join([item.path.stem, *shared]) if shared else ""


def turn(item: pytest.Item) -> int:
    """When a test is handed out: what takes long first, what is short last, so that nobody waits at the end.

    While one process has the tests that look at the clock, there is light work for the others.
    """
    if group_of(item) == "timing":
        return 2
    return {"system": 0, "unit": 3, "providers": 3}.get(item.path.relative_to(TESTS).parts[0], 1)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands the tests of a group to one process, and any other to whoever is free."""

    groups: dict[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self.groups is None:
            self.groups = json.loads(self.config.stash[GROUPS].read_text("utf-8"))
        return self.groups.get(nodeid, nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests in order, and let the first process say which belong together."""
    items.sort(key=turn)
    given = getattr(config, "workerinput", {})
    if given.get("workerid") == "gw0":
        groups = {item.nodeid: group for item in items if (group := group_of(item))}
        Path(given["groups"]).write_text(json.dumps(groups), "utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process where the groups are told."""
    stash = node.config.stash
    if GROUPS not in stash:
        stash[GROUPS] = Path(tempfile.mkdtemp(prefix="bridge-groups-")) / "groups.json"
    node.workerinput["groups"] = str(stash[GROUPS])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Share the tests out by group, as `--dist=loadgroup` would."""
    return ByGroup(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the file."""
    if GROUPS in config.stash:
        shutil.rmtree(config.stash[GROUPS].parent, ignore_errors=True)
