"""What the documents say is true: their commands run, their names exist, and what exists is named."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from bridge import __version__, cli, providers, settings
from bridge.alert import Reason, State, Status
from bridge.errors import SettingsError
from bridge.storage.database import Database
from bridge.web.app import create_app
from tests.conftest import MakeDatabase
from tests.support import provider_docs, releases
from tests.support.clock import eventually
from tests.support.documents import BLOCK, ROOT
from tests.support.next29 import StandIn
from tests.support.processes import free_port
from tests.support.trying import tried_with

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
OTHERS = {
    *("docker", "heroku", "git", "pg_dump", "pg_restore"),
    *("cp", "rm", "cd", "set", "export", "install", "python3", "curl", "openssl"),
    *("useradd", "runuser", "systemctl", "journalctl"),
}
"""Commands that are not ours."""
NOT_HERE = re.compile(r"\b[cd]_[0-9a-z]{21}\b|<id>|\bacme\b")
"""What examples name and no test has: a command about it fails and says so. All others succeed."""
STARTS = {"run", "worker", "sandbox"}
"""Commands that do not end by themselves."""

INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
GENERATED = re.compile(r"(?s)<!-- \w+: written by .*?<!-- end of \w+ -->")


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a page in one language, without their indentation."""
    found = []
    for indent, name, body in BLOCK.findall(page.read_text("utf-8")):
        if name == language:
            found.append(re.sub(rf"(?m)^{indent}", "", body))
    return found


def inline(page: Path) -> list[str]:
    """What a page sets as code within its sentences, but for what is generated."""
    return INLINE.findall(GENERATED.sub("", BLOCK.sub("", page.read_text("utf-8"))))


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text("utf-8"))


# --- links and examples --------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make where the repository is hosted."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@tried_with("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_linked_from_the_first_or_from_the_index_of_its_folder() -> None:
    for page in PAGES:
        inside = page.parent not in (ROOT, ROOT / "docs")
        index = page.parent.with_suffix(".md") if inside else ROOT / "README.md"
        if page != index:
            assert f"({page.relative_to(index.parent)})" in prose(index), page.name


@tried_with("page", PAGES, ids=lambda page: page.name)
def test_examples_of_settings_and_bodies_can_be_read(page: Path) -> None:
    for block in blocks(page, "toml"):
        tomllib.loads(block)
    for block in blocks(page, "json"):
        json.loads(block)
    for block in blocks(page, "yaml"):
        yaml.safe_load(block)


# --- names ---------------------------------------------------------------------------------------


def commands() -> set[str]:
    """The commands that the command line has."""
    return set(cli.COMMANDS)


def spoken(text: str) -> list[str] | None:
    """The arguments of a command of ours, wherever in a line it stands; None where there is none."""
    found = re.search(r"^(?:\.venv/bin/)?bridge(?: (.*))?$|python -m bridge (.*)$", text)
    if not found:
        return None
    said = re.sub(r"<(day|time)>", "2026-01-31", found[1] or found[2] or "")
    return shlex.split(re.sub(r"<[\w-]+>", "something", said), comments=True)


def lines(page: Path) -> Iterator[str]:
    """Every line of a page's shell blocks, and what was typed in its sessions."""
    for block in blocks(page, "sh"):
        yield from block.splitlines()
    for block in blocks(page, "console"):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))


@tried_with("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_page_is_one(page: Path) -> None:
    targets = set(re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text("utf-8")))
    for line in lines(page):
        words = shlex.split(line, comments=True)
        arguments = spoken(line)
        if arguments is not None:
            parsed(arguments, line)
        elif words and words[0] == "make":
            assert words[1].partition("=")[0] in targets, line
        elif module := re.match(r"(?:\.venv/bin/)?python3? -m (tests\.\w+)", line):
            assert find_spec(module[1]), line
        elif words and not words[0].startswith(".venv/bin/"):
            assert words[0] in OTHERS or re.match(r"[A-Z_]+=", words[0]), line
    for code in inline(page):
        if re.match(r"(?:python -m )?bridge \w", code):
            parsed(spoken(code) or [], code)
        elif re.fullmatch(r"make \w+", code):
            assert code.removeprefix("make ") in targets, code


def parsed(arguments: list[str], said: str) -> None:
    """Fail where the command line does not understand the arguments of a complete command."""
    if arguments[-1:] == ["--help"]:
        return
    if len(arguments) == 1:
        assert arguments[0] in commands(), said
        return
    context = cli.commands.make_context("bridge", list(arguments))
    command = cli.commands.get_command(context, arguments[0])
    assert command, said
    try:
        command.make_context(arguments[0], arguments[1:], parent=context)
    except click.UsageError as error:
        raise AssertionError(f"{said}: {error}") from None


def test_every_command_is_explained_somewhere() -> None:
    said = "\n".join(page.read_text("utf-8") for page in PAGES)
    for command in commands():
        assert re.search(rf"bridge {command}\b", said), command


class Read(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def variables() -> set[str]:
    """Every variable that the bridge reads."""
    environ = Read({"NEXT_STORE": "shop", "NEXT_ACCESS_TOKEN": "token", "DYNO": "1", "RENDER": "1"})
    with pytest.raises(SettingsError):  # SQLite on a platform
        settings.load(environ, ROOT)
    gunicorn = (ROOT / "config/gunicorn.py").read_text("utf-8")
    return environ.asked | set(re.findall(r'environ\.get\("(\w+)"', gunicorn)) | {"PGSSLMODE"}


def test_every_variable_that_is_named_is_read_and_every_one_that_is_read_is_named() -> None:
    read = variables()
    named = set()
    for page in PAGES:
        for code in [*inline(page), *lines(page)]:
            named |= set(re.findall(r"(?<![\w<$])\$?([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?==|$|\b)", code))
    ours = {name for name in named if re.match(r"NEXT_|BRIDGE_|WEB_|LOG_|DATABASE_|SECRET_|ALLOW_", name)}
    assert ours <= read
    secrets = {provider.secret_variable for provider in providers.built_in().values()}
    general = read - {f"{name}{end}" for name in secrets for end in ("", "_PREVIOUS")}
    assert general <= set(INLINE.findall((ROOT / "docs/configuration.md").read_text("utf-8")))


def test_every_way_a_delivery_or_case_can_stand_is_explained() -> None:
    said = set(inline(ROOT / "docs/operating.md"))
    assert {*Status, *Reason, *State} <= said


def test_every_module_has_its_line_in_its_room() -> None:
    page = prose(ROOT / "docs/architecture.md").partition("## Modules")[2].partition("\n## ")[0]
    rooms = re.split(r"(?m)^### `([\w/]+)/`", page)[1:]
    said = {
        room.removeprefix("bridge"): re.findall(r"(?m)^\| `(\w+)` \|", lines)
        for room, lines in zip(rooms[::2], rooms[1::2], strict=True)
    }
    modules: dict[str, list[str]] = {}
    for path in (ROOT / "bridge").glob("**/*.py"):
        room = path.parent.name if path.parent.name != "bridge" else ""
        if not (path.stem.startswith("__") or (room == "providers" and path.stem in providers.built_in())):
            modules.setdefault(room, []).append(path.stem)
    assert {room: sorted(names) for room, names in said.items()} == {
        room: sorted(names) for room, names in modules.items()
    }


@tried_with("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for code in inline(page):
        if re.fullmatch(r"[\w/]+\.py", code) and "acme" not in code:
            assert (ROOT / code).exists() or (ROOT / "bridge" / code).exists(), code


@tried_with("page", PAGES, ids=lambda page: page.name)
def test_every_import_of_an_example_is_one(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_every_address_that_is_named_is_answered(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url:
        database = Database(url)
        try:
            app = create_app(settings.Settings(database_url=url), database)
            known = {re.sub(r"<[^>]*>", "<>", rule.rule) for rule in app.url_map.iter_rules()}
        finally:
            database.close()
    for page in PAGES:
        for code in inline(page):
            path = re.sub(r"<[^>]*>", "<>", code.removeprefix("POST ").removeprefix("GET "))
            if re.fullmatch(r"/(?:healthz|readyz|metrics|stores|refused|api/(?!admin)[\w./<>]+)", path):
                assert path in known, code


# --- providers -----------------------------------------------------------------------------------


def test_every_provider_has_a_page_and_it_says_what_its_table_says() -> None:
    assert {page.stem for page in provider_docs.FOLDER.iterdir()} == set(providers.built_in())
    for name in [provider_docs.MATRIX, *providers.built_in()]:
        page = provider_docs.INDEX if name == provider_docs.MATRIX else provider_docs.page(name)
        said = page.read_text("utf-8")
        assert said == provider_docs.written(said), f"run `{provider_docs.COMMAND}`"
        assert [found[1] for found in provider_docs.BLOCK.finditer(said)] == [name], page.name


def test_the_first_page_names_every_provider() -> None:
    said = (ROOT / "README.md").read_text("utf-8")
    for provider in providers.built_in().values():
        assert provider.title in said


# --- releases --------------------------------------------------------------------------------------


def test_the_newest_release_in_the_changes_is_the_version_and_each_is_recorded() -> None:
    headings = re.findall(r"(?m)^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d", one) for one in headings]
    if headings[0] == "Unreleased":
        released.pop(0)
    found = [one[1] for one in released if one]
    assert len(found) == len(released), headings
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert found[0] == project["version"] == __version__
    assert found[::-1] == releases.versions()


# --- commands that run ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A bridge as `make run` starts it where nothing is configured; its folder, with its port in a file."""
    folder = tmp_path_factory.mktemp("trial")
    port = free_port()
    environ = surroundings(folder, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "run"],
            cwd=ROOT,
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        said = folder / "log"
        eventually(lambda: "worker started" in said.read_text("utf-8"), 30)
        eventually(lambda: subprocess.run(health(port), check=False, timeout=30).returncode == 0, 30)
        (folder / "port").write_text(str(port), "utf-8")
        yield folder
        process.terminate()
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def health(port: int) -> list[str]:
    asked = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/readyz')"
    return [
        sys.executable,
        "-c",
        f"try: {asked}\nexcept OSError: raise SystemExit(1)".replace("try: ", "try:\n "),
    ]


def surroundings(folder: Path, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder}/bridge.db",
    }


KINDS = (
    (r"[acdw]_[0-9a-z]{21}", "ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b[0-9A-Z]{20}\b", "CASE"),
    (r"\b\d+\.\d\d\b", "AMOUNT"),
    (r"[ -]+", " "),
)
"""What is another in every run, and the widths that follow from it."""


def alike(output: str) -> str:
    for pattern, word in KINDS:
        output = re.sub(pattern, word, output)
    return "\n".join(line.strip() for line in output.strip().splitlines())


def owed(port: int) -> list[Any]:
    """What the worker has not done yet."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/deliveries?status=pending") as answer:
        found: list[Any] = json.load(answer)["results"]
        return found


def test_the_sessions_on_the_first_page_go_as_they_are_shown(trial: Path) -> None:
    port = int((trial / "port").read_text("utf-8"))
    environ = surroundings(trial, port)
    for session in blocks(ROOT / "README.md", "console"):
        for command, expected in re.findall(r"(?m)^\$ (.+)\n((?:(?!\$ ).*\n)*)", session):
            if command.startswith("curl ") and not shutil.which("curl"):
                continue
            typed = command.replace(".venv/bin/bridge", f"{sys.executable} -m bridge")
            typed = typed.replace("127.0.0.1:8000", f"127.0.0.1:{port}")

            def goes_as_shown(typed: str = typed, expected: str = expected) -> bool:
                shell = ["bash", "-c", typed]
                done = subprocess.run(
                    shell, env=environ, cwd=trial, capture_output=True, text=True, check=False, timeout=60
                )
                return alike(done.stdout + done.stderr) == alike(expected)

            if " send " in command:
                assert goes_as_shown(), command
            else:  # it takes a moment until the worker has done it
                eventually(lambda: not owed(port), 20)
                eventually(goes_as_shown, 20, 0.5)
    said = (trial / "log").read_text("utf-8")
    assert f"http://127.0.0.1:{port}/webhooks/ethoca" in said
    assert "SANDBOX" in said


@pytest.fixture
def next29() -> Iterator[StandIn]:
    """A store that lets every call in."""
    with StandIn(rate=0, tokens={"sandbox-token": "example"}) as made:
        yield made


def test_the_commands_of_all_pages_run(
    trial: Path, next29: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = int((trial / "port").read_text("utf-8"))
    for name in list(os.environ):
        if name.endswith(("_SECRET", "_TOKEN")) or name.startswith(("NEXT_", "BRIDGE_")):
            monkeypatch.delenv(name)
    given = {
        **surroundings(trial, port),
        "NEXT_STORE": "example",
        "NEXT_ACCESS_TOKEN": "sandbox-token",
        "NEXT_BASE_URL": next29.base_url,
        "NEXT_RATE": "0",
        "NEXT_WEBHOOK_SECRET": "a-long-random-text",
        "BRIDGE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "ETHOCA_SECRET": "ethoca:sandbox-only",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(trial)
    (trial / "FILE").write_text("{}", "utf-8")
    assert cli.main(["subscribe", "--store", "example"]) == 0  # or the doctor, who comes first, misses it
    ran = set()
    for page in PAGES:
        for line in (line for block in blocks(page, "sh") for line in block.splitlines()):
            arguments = spoken(re.sub(r"--days \d+", "--days 2", line))
            if arguments and arguments[0] not in STARTS:
                status = cli.main(arguments)
                said = capsys.readouterr()
                assert status == (1 if NOT_HERE.search(line) else 0), (line, said)
                assert status == 1 or not said.err, line
                assert all(one.startswith("bridge: ") for one in said.err.splitlines()), line
                ran.add(arguments[0])
            elif line.startswith("python3 -c"):
                subprocess.run(shlex.split(line), cwd=trial, check=True, timeout=60)
                assert (trial / "backup.db").stat().st_size
    assert ran >= {"doctor", "deliveries", "cases", "stores", "replay", "reconcile", "recover", "subscribe"}
