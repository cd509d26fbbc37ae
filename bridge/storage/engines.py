"""Opens SQLite and Postgres, both durable, and translates their errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import typing

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bridge.errors import Unavailable
from bridge.settings import address

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

BUSY_SECONDS = 5
BUSY_STEP = 0.001
"""Seconds between two tries for SQLite's lock; a process that has committed leaves it free for longer."""
FIXES = {
    **dict.fromkeys(
        ("no such table", "no such column", "has no column named", "42P01", "42703"),
        ". Its tables are not those of this release: run `bridge migrate`",
    ),
    "unsupported startup parameter": ". A pooler in between rejects start-up options: point"
    " DATABASE_URL at the database itself, or at the pooler in session mode with"
    " ignore_startup_parameters = options",
}
"""What to do about an error, by words of its message or its code on Postgres."""


@contextlib.contextmanager
def unavailable_on_failure() -> Iterator[None]:
    """Raises Unavailable for what a database cannot do now; a wrong value is a bug."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, PoolTimeout) as error:
        # this includes a database that is read-only, not migrated yet, or that has revoked our rights
        message = _first_line(error)
        code = getattr(getattr(error, "orig", None), "sqlstate", None)
        fix = next((fix for words, fix in FIXES.items() if words in message or words == code), "")
        raise Unavailable(f"The database is not available: {message}{fix}") from error


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0][:200]


def open_sqlite(url: str, pool_size: int) -> Engine:
    """Opens a file; only one connection at a time may write."""
    engine = create_engine(
        url,
        hide_parameters=True,  # no fact of an alert in an error's text
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "do_connect")
    def make(*_: object) -> None:
        """Creates the file readable by its owner only; SQLite gives its other files the same rights."""
        with contextlib.suppress(OSError):  # it is there, or cannot be: SQLite says so better
            os.close(os.open(address.sqlite_file(url), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    @event.listens_for(engine, "connect")
    def configure(connection: typing.Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin below, not in the driver
        # SQLite itself does not wait when two processes switch at the same time
        _when_free(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            _begin_to_write(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_to_write(connection: Connection) -> None:
    """Takes the writer's lock, soon after another process releases it.

    SQLite itself waits up to a tenth of a second between tries, while a commit takes a few milliseconds.
    """
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    _when_free(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")


def _when_free(statement: Callable[[], object]) -> None:
    """Runs a statement as soon as SQLite's lock is free; raises its error after BUSY_SECONDS."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            statement()
        except (OperationalError, sqlite3.OperationalError) as error:
            code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
            if code & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_STEP)
        else:
            return


def open_postgres(url: str, pool_size: int) -> Engine:
    """Opens a pool of connections to a server, all of them with timeouts."""
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 3,
            "keepalives_idle": 10,
            "tcp_user_timeout": 15_000,
            # a process that froze in a transaction must not hold its locks indefinitely
            "options": "-c synchronous_commit=on -c statement_timeout=15000 -c lock_timeout=5000"
            " -c idle_in_transaction_session_timeout=10000",
        },
    )
