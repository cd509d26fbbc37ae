"""The house: imports point down, each foreign library has one owner, the centre is pure, words are ours."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up, as docs and DESIGN draw it: a module knows its own layer and those below it.
LAYERS: dict[str, tuple[str, ...]] = {
    "vocabulary": ("alert", "errors"),
    "centre": (
        *("tree", "currencies", "placeholders", "fields", "proof", "batches", "provider", "dispute"),
        *("match", "retry"),
        *("cards", "redact"),
        *(
            "case",
            "answers",
            "refund",
            "refusal",
            "words",
            "sample",
            "toml",
            "sources",
            "configured",
            "providers",
            "providers.*",
        ),
    ),
    "rim": (
        *(
            "address",
            "settings",
            "deadline",
            "database",
            "tables",
            "bulk",
            "index",
            "inbox",
            "inbox.*",
            "search",
            "exchange",
            "next_api",
        ),
        *("send", "migrate", "figures", "memos", "stores"),
    ),
    "steps": (
        *(
            "receive",
            "judge",
            "forward",
            "explain",
            "backfill",
            "reconcile",
            "subscribe",
            "contract",
            "notify",
        ),
        *("tell", "chores"),
    ),
    "viewer": ("viewer", "viewer.*"),
    "doors": (
        "app",
        "worker",
        "cli",
        "logs",
        "local",
        "doctor",
        "arrival",
        "headers",
        "__main__",
        "sandbox",
        "sandbox.*",
    ),
}
OWNERS: dict[str, tuple[str, ...]] = {
    "requests": ("exchange",),
    "urllib3": ("exchange",),
    "cryptography": ("stores",),
    "sqlalchemy": (
        *("database", "tables", "bulk", "index", "inbox.*", "search", "figures", "memos", "migrate"),
        "stores",
    ),
    "psycopg": ("database",),
    "alembic": ("migrate",),
    "flask": ("app", "receive", "viewer", "viewer.*"),
    "werkzeug": ("app", "receive", "viewer", "viewer.*"),
    "marshmallow": ("fields", "dispute", "sources", "sample", "viewer.document"),
    "defusedxml": ("tree", "redact"),
    "gunicorn": ("arrival",),
    "prometheus_client": ("figures", "viewer.*", "app"),
    "apispec": ("viewer.*",),
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
LONGEST = 700  # lines: a file is read at a sitting


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    """A module of the bridge as LAYERS has it."""
    name = ".".join(path.relative_to(ROOT / "bridge").with_suffix("").parts)
    return name.removesuffix("__init__").rstrip(".") or "bridge"


MODULES = {name_of(path): path for path in files("bridge") if name_of(path) != "bridge"}
EVERY_MODULE = pytest.mark.parametrize("module", sorted(MODULES))


def layer_of(module: str) -> int:
    for height, modules in enumerate(LAYERS.values()):
        if any(fnmatchcase(module, pattern) for pattern in modules):
            return height
    raise AssertionError(f"bridge/{module.replace('.', '/')}.py has no place in LAYERS yet")


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
        elif for_types or not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from imports(node, for_types=for_types)


def ours(module: str, *, for_types: bool = True) -> set[str]:
    """The modules of the bridge that one of them imports."""
    found = imports(parsed(MODULES[module]), for_types=for_types)
    below = {name.removeprefix("bridge.") for name in found if name.startswith("bridge.")}
    return below & set(MODULES) - {module}


# --- imports -------------------------------------------------------------------------------------


@EVERY_MODULE
def test_imports_point_down(module: str) -> None:
    above = {other for other in ours(module) if layer_of(other) > layer_of(module)}
    assert not above, f"{module} must not know {', '.join(sorted(above))}"


def test_no_imports_go_in_a_circle() -> None:
    left = {module: ours(module, for_types=False) for module in MODULES}
    while free := [module for module, below in left.items() if not below & set(left)]:
        for module in free:
            del left[module]
    assert not left


@EVERY_MODULE
def test_a_layer_is_needed_and_named(module: str) -> None:
    assert layer_of(module) in range(len(LAYERS))


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith("providers.")))
def test_a_provider_is_a_table_and_knows_no_other(module: str) -> None:
    assert ours(module) <= {"alert", "fields", "proof", "provider"}
    branches = [node for node in ast.walk(parsed(MODULES[module])) if isinstance(node, ast.If | ast.IfExp)]
    assert not branches, "if it needs an if, the vocabulary lacks a field"


def test_the_sandbox_stands_beside_the_bridge() -> None:
    for module in MODULES:
        knows = {name.partition(".")[0] for name in ours(module)}
        if module.startswith("sandbox"):
            assert knows <= {"sandbox"}
        else:
            assert module == "cli" or "sandbox" not in knows


def test_gunicorn_s_settings_import_nothing_of_the_bridge() -> None:
    found = list(imports(parsed(ROOT / "config" / "gunicorn.py")))
    assert not [name for name in found if name.partition(".")[0] == "bridge"]


def test_nobody_imports_the_tests() -> None:
    for path in [*files("bridge"), *files("config")]:
        assert not [name for name in imports(parsed(path)) if name.partition(".")[0] == "tests"]


# --- libraries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("library", OWNERS)
def test_each_foreign_library_has_its_owners(library: str) -> None:
    users = {
        module
        for module, path in MODULES.items()
        if any(name == library or name.startswith(f"{library}.") for name in imports(parsed(path)))
    }
    strangers = {one for one in users if not any(fnmatchcase(one, owner) for owner in OWNERS[library])}
    assert not strangers


@EVERY_MODULE
def test_the_environment_belongs_to_the_doors(module: str) -> None:
    reads = [
        node
        for node in ast.walk(parsed(MODULES[module]))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv")
        # `self.environ` is what the settings were handed
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    ]
    assert not reads or module in ("app", "cli", "local")


# --- the centre ----------------------------------------------------------------------------------

PURE = [m for m in sorted(MODULES) if layer_of(m) <= list(LAYERS).index("centre") and m != "providers"]


@pytest.mark.parametrize("module", PURE)
def test_the_centre_is_pure(module: str) -> None:
    tree = parsed(MODULES[module])
    used = set(imports(tree, for_types=False))
    assert not used & set(IMPURE)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    clocks = [one for one in calls if isinstance(one, ast.Attribute) and one.attr in CLOCKS]
    assert not clocks, "the clock is an argument"
    named = [one.id for one in calls if isinstance(one, ast.Name)]
    assert not {"open", "print", "input", "exec", "eval"} & set(named)


@pytest.mark.parametrize("module", ["alert", "errors"])
def test_the_vocabulary_needs_no_library(module: str) -> None:
    libraries = {name.partition(".")[0] for name in imports(parsed(MODULES[module]))}
    plain = {"__future__", "dataclasses", "typing", "collections", "datetime", "decimal", "enum", "traceback"}
    assert libraries <= plain


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*files("bridge"), *files("tests"), *files("config")], ids=str)
def test_names_are_of_our_vocabulary(path: Path) -> None:
    classes = [node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
    assert not [name for name in classes if name.endswith(NO_NAMES) and name not in OURS]
    words = path.stem.split("_")
    assert not {"util", "utils", "helper", "helpers", "common", "misc", "manager"} & set(words)


@EVERY_MODULE
def test_a_module_says_what_it_is_and_is_read_at_a_sitting(module: str) -> None:
    said = ast.get_docstring(parsed(MODULES[module]))
    assert said
    assert said.splitlines()[0].endswith((".", ":"))
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= LONGEST


def test_an_error_s_docstring_is_its_message() -> None:
    for node in parsed(MODULES["errors"]).body:
        if isinstance(node, ast.ClassDef):
            said = ast.get_docstring(node)
            assert said
            assert said.splitlines()[0].endswith(".")
