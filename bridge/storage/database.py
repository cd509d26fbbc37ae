"""The connection to the inbox's database: durable writes, reads that end in time, and its clock.

Writes are functions of a connection, each a transaction: on Postgres on the thread that asks for it, on
SQLite by the one thread that commits.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import typing

import psycopg
from sqlalchemy import ColumnElement, Connection, Double, cast, func, literal, select
from sqlalchemy.exc import DBAPIError

from bridge.deadline import WATCH
from bridge.errors import Unavailable
from bridge.storage.committer import Committer
from bridge.storage.engines import open_postgres, open_sqlite, told_apart

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

T = typing.TypeVar("T")

PATIENCE = 10.0
"""Seconds that a caller waits for the database before it counts as unavailable."""
CLOCK_SECONDS, CLOCK_PATIENCE = 30.0, 1.0
"""How long the database's clock is carried on by the machine's monotonic one, and how long it is asked."""

__all__ = ["Connection", "Database"]


class Database:
    """One database, SQLite or Postgres; safe to share between threads, not across a fork."""

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None, pool_size: int = 8) -> None:
        self.sqlite = url.startswith("sqlite")
        self.engine = open_sqlite(url, pool_size) if self.sqlite else open_postgres(url, pool_size)
        self._writing = self.engine.execution_options(writes=True)
        # Postgres: a transaction around a read costs two more round trips, and what psycopg has prepared,
        # which it forgets at every rollback
        level = {} if self.sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reading = self.engine.execution_options(**level)
        self._committer = Committer(self._transact)
        self._clock = clock or (time.time if self.sqlite else _PostgresClock(self._reading))

    def now(self) -> float:
        """Return the time that all processes share: the database's, on Postgres."""
        return self._clock()

    def moment(self) -> ColumnElement[float]:
        """Return the present time as an expression: on Postgres it is read by the statement that has it."""
        return _MOMENT if isinstance(self._clock, _PostgresClock) else literal(self.now(), Double)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection for reading; raises Unavailable."""
        until = time.monotonic() + PATIENCE
        with told_apart(), self._reading.connect() as connection, _ended_by(until, connection):
            yield connection

    def write(self, function: Callable[[Connection], T]) -> T:
        """Run a function in a transaction and return once it is durable; raises Unavailable.

        The function may be run again, so it must do nothing but talk to the database.
        """
        if self.sqlite:
            return self._committer.commit(function, PATIENCE)
        with told_apart():
            try:
                return typing.cast("T", self._transact([function])[0])
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return typing.cast("T", self._transact([function])[0])  # the pooled connection was dead

    def _transact(self, functions: Sequence[Callable[[Connection], typing.Any]]) -> list[typing.Any]:
        """Run functions in one transaction."""
        until = time.monotonic() + PATIENCE
        with self._writing.connect() as connection, _ended_by(until, connection), connection.begin():
            return [function(connection) for function in functions]

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """Lend a connection in a transaction of its own, for what must run once; raises Unavailable."""
        with told_apart(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Finish what waits, and disconnect."""
        self._committer.close(PATIENCE)
        self.engine.dispose()


@contextlib.contextmanager
def _ended_by(until: float, connection: Connection) -> Iterator[None]:
    """Shut a Postgres connection's socket at a moment; SQLite waits for a lock at most."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        yield
        return
    with (
        socket.socket(fileno=os.dup(driver.fileno())) as handle,
        WATCH.within(max(until - time.monotonic(), 0.0), handle) as deadline,
    ):
        try:
            yield
        except DBAPIError as error:
            if deadline.passed:
                raise Unavailable("The database does not answer in time.") from error
            raise


class _PostgresClock:
    """The database's clock, asked now and then and carried on by this machine's monotonic clock."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lock = threading.Lock()
        self.known: tuple[float, float] | None = None  # (monotonic, database)

    def __call__(self) -> float:
        mark = time.monotonic()
        known = self.known
        if known is None or mark - known[0] > CLOCK_SECONDS:
            with self.lock:
                if self.known is known:
                    # where it does not answer, the old reading is carried on and asked again later
                    carried = known[1] + mark - known[0] if known else time.time()
                    self.known = self._ask() or (mark, carried)
            known = self.known or (mark, time.time())
        return known[1] + (time.monotonic() - known[0])

    def _ask(self) -> tuple[float, float] | None:
        """Read both clocks, one right after the other."""
        until = time.monotonic() + CLOCK_PATIENCE
        try:
            with told_apart(), self.engine.connect() as connection, _ended_by(until, connection):
                mark = time.monotonic()
                return mark, float(connection.execute(select(_MOMENT)).scalar_one())
        except Unavailable:
            return None  # whoever needs the database now finds out in its own words


_MOMENT = cast(func.extract("epoch", func.clock_timestamp()), Double)
