"""The connection to the inbox's database: durable writes, reads that end in time, and its clock.

A write is a function of a connection. On Postgres each is a transaction in the calling thread; on SQLite
writes that wait at the same time share a transaction.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import typing

import psycopg
from sqlalchemy import Connection, Double, cast, func, select
from sqlalchemy.exc import DBAPIError

from bridge.deadline import WATCH
from bridge.errors import Unavailable
from bridge.storage.committer import Committer
from bridge.storage.engines import BUSY_STEP, open_postgres, open_sqlite, unavailable_on_failure
from bridge.storage.fair_semaphore import FairSemaphore

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Engine, Row, Select, UpdateBase

Item = typing.TypeVar("Item")
T = typing.TypeVar("T")
Write = typing.Callable[[Connection], typing.Any]

PATIENCE = 10.0
"""Seconds that a caller waits before the database counts as unavailable."""
BREATH = 5 * BUSY_STEP
"""Seconds after a commit in which SQLite's lock is left free for other processes."""
CLOCK_SECONDS, CLOCK_PATIENCE = 30.0, 1.0
"""Seconds for which a reading of the database's clock is used, and that a new reading may take."""

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
        self.connections = FairSemaphore(pool_size)
        self._breath = BREATH if self.sqlite else 0.0
        self.writer = Committer(self._transact, breath=self._breath)
        self.committers: list[Committer[typing.Any, typing.Any]] = [self.writer]
        self._clock = clock or (time.time if self.sqlite else _PostgresClock(self))

    def now(self) -> float:
        """Returns the time that all processes share: the database's, on Postgres."""
        return self._clock()

    @property
    def tells_time(self) -> bool:
        """Whether a statement reads the time itself (MOMENT); else `now` is a parameter."""
        return isinstance(self._clock, _PostgresClock)

    @contextlib.contextmanager
    def read(self, patience: float | None = None) -> Iterator[Connection]:
        """Gives a connection for reading, for `patience` (PATIENCE) seconds at most; raises Unavailable."""
        until = time.monotonic() + (patience or PATIENCE)
        with unavailable_on_failure(), self._connection(self._reading, until) as connection:
            yield connection

    def rows(
        self, statement: Select[typing.Any], parameters: Mapping[str, typing.Any] | None = None
    ) -> Sequence[Row[typing.Any]]:
        """Returns the rows of a statement; raises Unavailable."""
        with self.read() as connection:
            return connection.execute(statement, parameters).all()

    def first(
        self, statement: Select[typing.Any], parameters: Mapping[str, typing.Any] | None = None
    ) -> Row[typing.Any] | None:
        """Returns the first row of a statement, if there is one; raises Unavailable."""
        with self.read() as connection:
            return connection.execute(statement, parameters).first()

    def change(self, statement: UpdateBase) -> int:
        """Updates or deletes rows in a transaction; returns how many. Raises Unavailable."""
        return self.write(lambda connection: connection.execute(statement).rowcount)

    def write(self, function: Callable[[Connection], T], *, by_one_statement: bool = False) -> T:
        """Runs a function in a transaction and returns once it is durable; raises Unavailable.

        The function may be run again, so it must do nothing but talk to the database. What writes by one
        statement needs no transaction on Postgres: that would take two more round trips.
        """
        if self.sqlite:
            return typing.cast("T", self.writer.commit(function, PATIENCE))
        engine = self._reading if by_one_statement else self._writing
        return typing.cast("T", self._transact([function], engine)[0])

    def sharing(
        self, write: Callable[[Connection, Sequence[Item]], Sequence[T]], *, by_one_statement: bool = False
    ) -> Callable[[Item], T]:
        """Returns a function that writes an item together with those of other threads at the same time.

        The function returns a result for each item, under the rules of `write`.
        """
        if self.sqlite and not by_one_statement:  # all its writes share a transaction
            return lambda item: self.write(lambda connection: write(connection, [item])[0])
        engine = self._reading if by_one_statement and not self.sqlite else self._writing
        shared: Committer[Item, T] = Committer(
            lambda items: self._transact([lambda connection: write(connection, items)], engine)[0],
            breath=self._breath,
        )
        self.committers.append(shared)
        return lambda item: shared.commit(item, PATIENCE)

    def _transact(self, functions: Sequence[Write], engine: Engine | None = None) -> list[typing.Any]:
        """Runs functions in one transaction, with a fresh connection if the pooled one is dead."""
        until = time.monotonic() + PATIENCE
        with unavailable_on_failure():
            try:
                return self._once(functions, engine or self._writing, until)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            return self._once(functions, engine or self._writing, until)

    def _once(self, functions: Sequence[Write], engine: Engine, until: float) -> list[typing.Any]:
        with self._connection(engine, until) as connection, connection.begin():
            return [function(connection) for function in functions]

    @contextlib.contextmanager
    def _connection(self, engine: Engine, until: float) -> Iterator[Connection]:
        """Gives a connection until a moment; it waits for one until then."""
        place = self.connections.acquired(max(until - time.monotonic(), 0.0))
        with place, engine.connect() as connection, _ended_by(until, connection):
            yield connection

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """Gives a connection in its own transaction, for what must run only once; raises Unavailable."""
        with (
            unavailable_on_failure(),
            self.connections.acquired(PATIENCE),
            self._writing.begin() as connection,
        ):
            yield connection

    def close(self) -> None:
        """Finishes the waiting writes, and disconnects."""
        for committer in self.committers:
            committer.close(PATIENCE)
        self.engine.dispose()


@contextlib.contextmanager
def _ended_by(until: float, connection: Connection) -> Iterator[None]:
    """Shuts a Postgres connection's socket at a moment; SQLite never hangs longer than for its lock."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        yield
        return
    with (
        socket.socket(fileno=os.dup(driver.fileno())) as handle,
        WATCH.within(max(until - time.monotonic(), 0.0), handle) as deadline,
    ):
        if deadline.passed:  # it passed before the watch knew the socket
            deadline.shut()
        try:
            yield
        except DBAPIError as error:
            if deadline.passed:
                raise Unavailable("The database did not answer in time.") from error
            raise


class _PostgresClock:
    """The database's clock: read now and then, and continued by this machine's monotonic clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.lock = threading.Lock()
        self.known: tuple[float, float] | None = None  # (monotonic, database)

    def __call__(self) -> float:
        mark = time.monotonic()
        known = self.known
        # while one thread reads again, the others continue the old reading
        if (known is None or mark - known[0] > CLOCK_SECONDS) and self.lock.acquire(blocking=known is None):
            try:
                if self.known is known:
                    # if it does not answer, the old reading is continued, and it is read again later
                    continued = known[1] + mark - known[0] if known else time.time()
                    self.known = self._read() or (mark, continued)
            finally:
                self.lock.release()
        known = self.known or (mark, time.time())
        return known[1] + (time.monotonic() - known[0])

    def _read(self) -> tuple[float, float] | None:
        """Reads both clocks, one right after the other."""
        try:
            with self.database.read(CLOCK_PATIENCE) as connection:
                mark = time.monotonic()
                return mark, float(connection.execute(select(MOMENT)).scalar_one())
        except Unavailable:
            return None  # the caller's own statement raises it again


MOMENT = cast(func.extract("epoch", func.clock_timestamp()), Double)
