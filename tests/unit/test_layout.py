"""The layout: imports point down, each foreign library has one owner, the centre is pure, words are ours."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from bridge import errors, providers

pytestmark = pytest.mark.xdist_group("layout")  # every file is parsed once

ROOT = Path(__file__).parents[2]

OWNERS: dict[str, tuple[str, ...]] = {
    "requests": ("outbound.*",),
    "urllib3": ("outbound.http",),
    "cryptography": ("storage.installations", "settings.oauth", "outbound.authorization"),
    "sqlalchemy": ("storage.*",),
    "psycopg": ("storage.database",),
    "alembic": ("storage.migrate",),
    "flask": ("web.*", "sandbox.*"),
    "werkzeug": ("web.*", "sandbox.*"),
    "marshmallow": (
        *("validation", "settings.*", "providers.*", "sandbox.*"),
        *("cli.samples", "storage.filters", "storage.shapes", "storage.search", "web.api"),
    ),
    "defusedxml": ("tree", "redact"),
    "gunicorn": ("web.arrival",),
    "prometheus_client": ("web.*",),
    "apispec": ("web.api",),
    "flask_smorest": ("web.api",),
    "webargs": ("web.api",),
    "click": ("cli", "cli.*"),
}
# What the centre never touches: the world, and whatever is different at the next run.
IMPURE = (
    *("os", "sys", "io", "pathlib", "socket", "threading", "subprocess", "logging", "structlog", "time"),
    *("random", "secrets", "http", "urllib.request", "tempfile", "shutil", "asyncio", "signal", "uuid"),
)
CLOCKS = ("now", "utcnow", "today")
# Not as names: each says nothing that the name before it does not.
NO_NAMES = ("Event", "Manager", "Handler", "Message", "Payload", "Util", "Utils", "Record", "Data", "Helper")
OURS = ("UnknownEvent",)  # the reason `unknown_event` is a word of the interface
LONGEST = 450  # lines: a file is read at a sitting


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def files(folder: str) -> list[Path]:
    found = sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)
    assert found, folder
    return found


def name_of(path: Path) -> str:
    """A module of the bridge as LAYERS has it."""
    name = ".".join(path.relative_to(ROOT / "bridge").with_suffix("").parts)
    return name.removesuffix("__init__").rstrip(".") or "bridge"


MODULES = {name_of(path): path for path in files("bridge") if name_of(path) != "bridge"}


def imports(tree: ast.AST, *, for_types: bool = True) -> Iterator[str]:
    """Each module that is imported, and each name that may be one: `a.b` for `from a import b`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = {f"bridge.{module}" for module in MODULES}.issuperset(names)
            yield from names if submodules else [str(node.module), *names]
        elif not isinstance(node, ast.expr) and (
            for_types or not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        ):
            yield from imports(node, for_types=for_types)


def module_of(name: str) -> str | None:
    """The module of the bridge that an import names, or something of which; None for anything else."""
    while name.startswith("bridge."):
        if (module := name.removeprefix("bridge.")) in MODULES:
            return module
        name = name.rpartition(".")[0]
    return None


def ours(module: str, *, for_types: bool = True) -> set[str]:
    """The modules of the bridge that one of them imports."""
    found = imports(parsed(MODULES[module]), for_types=for_types)
    below = {name.removeprefix("bridge.") for name in found if name.startswith("bridge.")}
    return below & set(MODULES) - {module}


# --- imports -------------------------------------------------------------------------------------


def test_no_imports_go_in_a_circle() -> None:
    left = {module: ours(module, for_types=False) for module in MODULES}
    while free := [module for module, below in left.items() if not below & set(left)]:
        for module in free:
            del left[module]
    assert not left


def test_a_provider_is_a_table_and_knows_no_other() -> None:
    tables = [
        name
        for name, path in MODULES.items()
        if name.startswith("providers.") and "\nPROVIDER = " in path.read_text("utf-8")
    ]
    assert len(tables) == len(providers.built_in())
    for module in tables:
        assert ours(module) <= {
            "alert",
            "providers.fields",
            "providers.credentials",
            "providers.signatures",
            "providers.base",
            "providers.meanings",
            "providers.outcomes",
            "providers.pull",
        }, module
        branches = [
            node for node in ast.walk(parsed(MODULES[module])) if isinstance(node, ast.If | ast.IfExp)
        ]
        assert not branches, f"if {module} needs an if, the vocabulary lacks a field"


def test_the_sandbox_stands_beside_the_bridge() -> None:
    for module in MODULES:
        knows = {name.partition(".")[0] for name in ours(module)}
        if module.startswith("sandbox"):
            assert knows <= {"sandbox"}
        else:
            assert ("sandbox" in knows) == (module == "cli.serve"), module


def test_gunicorn_s_settings_import_nothing_of_the_bridge() -> None:
    found = list(imports(parsed(ROOT / "config" / "gunicorn.py")))
    assert not [name for name in found if name.partition(".")[0] == "bridge"]


def test_nobody_imports_the_tests() -> None:
    for path in [*files("bridge"), *files("config")]:
        assert not [name for name in imports(parsed(path)) if name.partition(".")[0] == "tests"]


# --- the tests -----------------------------------------------------------------------------------

OUTER = (
    *("storage.database", "storage.filters", "storage.installations", "storage.migrate", "storage.search"),
    *("storage.shapes", "storage.stats"),
    *("worker.checks", "worker.explain", "worker.notify", "worker.subscriptions"),
)
"""What of the inside tests of promises may know: how a database is opened, and what is read for people."""
INNER = ("storage", "worker", "outbound", "next29")
"""What may be rebuilt without any other test of a promise being touched."""
KNOW_THE_INSIDE = ("unit", "storage", "bench")
"""The folders of the tests that are about it."""


def test_no_test_file_is_imported_by_another() -> None:
    for path in files("tests"):
        known = {name for name in imports(parsed(path)) if name.startswith("tests.")}
        assert not [name for name in known if re.search(r"\.test_\w+", name)], path


def test_the_stand_in_for_29next_is_the_tests_own() -> None:
    for path in files("tests/support/next29"):
        known = set(imports(parsed(path)))
        assert not [name for name in known if name.partition(".")[0] == "bridge"], path
    own = ROOT / "tests" / "system" / "test_sandbox.py"  # is about the product's
    for path in files("tests"):
        known = set(imports(parsed(path)))
        assert path == own or not [name for name in known if name.startswith("bridge.sandbox")], path


def test_one_module_of_the_tests_knows_the_inside() -> None:
    for path in files("tests"):
        folder, *_ = path.relative_to(ROOT / "tests").parts
        if folder in KNOW_THE_INSIDE or path == ROOT / "tests" / "support" / "inside.py":
            continue
        known = {name for one in imports(parsed(path)) if (name := module_of(one))}
        inner = {name for name in known - set(OUTER) if name.partition(".")[0] in INNER and "." in name}
        assert not inner, f"{path} goes through tests.support.inside"


# --- libraries -----------------------------------------------------------------------------------


def test_each_foreign_library_has_its_owners() -> None:
    known = {module: set(imports(parsed(path))) for module, path in MODULES.items()}
    for library, owners in OWNERS.items():
        users = {
            module
            for module, names in known.items()
            if any(name == library or name.startswith(f"{library}.") for name in names)
        }
        assert users, library
        strangers = {one for one in users if not any(fnmatchcase(one, owner) for owner in owners)}
        assert not strangers, library
        idle = {owner for owner in owners if not any(fnmatchcase(one, owner) for one in users)}
        assert not idle, library


def test_the_environment_belongs_to_the_doors() -> None:
    readers = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv")
        # `self.environ` is what the settings were handed
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert readers == {"web.app", "cli.access"}


# --- the centre ----------------------------------------------------------------------------------


def test_the_centre_is_pure() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [re.split(r"[ :|]+", layer) for layer in contracts[0]["layers"]]
    centre = {one for layer in layers[-3:] for one in layer} - {"logs"}
    assert {"disputes", "providers", "alert"} <= centre
    for module in (m for m in MODULES if m.partition(".")[0] in centre and m != "providers"):
        tree = parsed(MODULES[module])
        used = set(imports(tree, for_types=False))
        assert not used & set(IMPURE), module
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        clocks = [one for one in calls if isinstance(one, ast.Attribute) and one.attr in CLOCKS]
        assert not clocks, f"the clock is an argument of {module}"
        named = {one.id for one in calls if isinstance(one, ast.Name)}
        assert not {"open", "print", "input", "exec", "eval"} & named, module


def test_the_vocabulary_needs_no_library() -> None:
    plain = {"__future__", "dataclasses", "typing", "collections", "datetime", "decimal", "enum", "traceback"}
    for module in ("alert", "errors"):
        libraries = {name.partition(".")[0] for name in imports(parsed(MODULES[module]))}
        assert libraries <= plain, module


# --- words ---------------------------------------------------------------------------------------


def test_names_are_of_our_vocabulary() -> None:
    for path in [*files("bridge"), *files("tests"), *files("config")]:
        classes = [node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
        assert not [name for name in classes if name.endswith(NO_NAMES) and name not in OURS], path
        words = path.stem.split("_")
        assert not {"util", "utils", "helper", "helpers", "common", "misc", "manager"} & set(words), path


def test_a_module_says_what_it_is_and_is_read_at_a_sitting() -> None:
    for module, path in MODULES.items():
        said = ast.get_docstring(parsed(path))
        assert said, module
        assert said.splitlines()[0].endswith((".", ":")), module
        assert len(path.read_text("utf-8").splitlines()) <= LONGEST, module


def test_an_error_s_docstring_is_its_message() -> None:
    plain = {
        one for one in vars(errors).values() if isinstance(one, type) and one.__module__ == "bridge.errors"
    }
    plain -= {errors.Rejected, errors.SettingsError}  # which are raised with their own
    assert errors.Unavailable in plain
    for kind in plain:
        said = (kind.__doc__ or "").splitlines()[0]
        assert said.endswith("."), kind
        assert str(kind()) == said
