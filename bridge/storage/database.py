"""The connection to the inbox's database: durable, shared commits, and its clock.

Writes are functions of a connection. Those that wait at the same time are committed together, for
the commit and the wait for it are what a write costs.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import sqlite3
import threading
import time
import typing
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass

import psycopg
from sqlalchemy import ColumnElement, Connection, Double, cast, create_engine, event, func, literal, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bridge.deadline import WATCH
from bridge.errors import Unavailable

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

T = typing.TypeVar("T")
Item = typing.TypeVar("Item")
Write = typing.Callable[[Connection, list[typing.Any]], list[typing.Any]]

MOST_TOGETHER = 128
"""How many writes may share one commit."""
PATIENCE = 10.0
"""Seconds that a caller waits for its commit before it counts as unavailable."""
BUSY_SECONDS = 5
BUSY_STEP = 0.001
"""Between looks at SQLite's lock; who has committed leaves it free for as long."""
CLOCK_TRIES, CLOCK_APART = 20, 0.001
"""How often two clocks are read until there are at most so many seconds between them."""
CLOCK_SECONDS = 30.0
"""How long the database's clock is carried on by the machine's monotonic one."""


__all__ = ["Connection", "Database"]

FIXES = {
    "unsupported startup parameter": ". A pooler stands in between, and takes no start-up options: point"
    " DATABASE_URL at the database itself, or at the pooler in session mode with"
    " ignore_startup_parameters = options",
}
"""What to do about a database's words, where they do not say it."""


class Database:
    """One database, SQLite or Postgres; safe to share between threads, not across a fork."""

    def __init__(self, url: str, *, clock: Callable[[], float] | None = None, pool_size: int = 8) -> None:
        self.sqlite = url.startswith("sqlite")
        self.engine = _sqlite(url, pool_size) if self.sqlite else _postgres(url, pool_size)
        self._clock = clock or (time.time if self.sqlite else _PostgresClock(self.engine))
        self._writing = self.engine.execution_options(writes=True)
        # Postgres: a transaction around a read costs two more round trips, and what psycopg has prepared,
        # which it forgets at every rollback
        level = {} if self.sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reading = self.engine.execution_options(**level)
        self._committer = _Committer(
            self._writing,
            single=self._writing if self.sqlite else self._reading,
            breath=5 * BUSY_STEP if self.sqlite else 0.0,
        )

    def now(self) -> float:
        """Return the time that all processes share: the database's, on Postgres."""
        return self._clock()

    def moment(self) -> ColumnElement[float]:
        """Return the present time as an expression: on Postgres it is read by the statement that has it."""
        return _MOMENT if isinstance(self._clock, _PostgresClock) else literal(self.now(), Double)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection for reading; raises Unavailable."""
        with _told_apart(), self._reading.connect() as connection:
            if self.sqlite:  # which waits for a lock at most
                yield connection
                return
            with WATCH.within(PATIENCE, _socket_of(connection)) as deadline:
                try:
                    yield connection
                finally:
                    if deadline.sock:
                        deadline.over = True
                        deadline.sock.close()

    def write(self, function: Callable[[Connection], T]) -> T:
        """Run a function in a transaction and return once it is durable; raises Unavailable.

        The function may be run again, so it must do nothing but talk to the database.
        """
        return self.gather(_alone, function)

    def gather(
        self, function: Callable[[Connection, list[Item]], list[T]], item: Item, *, single: bool = False
    ) -> T:
        """Run a function once for the items of all who wait, and return this one's result.

        It is called with the items and returns as many results, under the rules of `write`. Where all
        that it writes is a `single` statement, Postgres needs no transaction around it.
        """
        (result,) = self._committer.commit(function, [item], single=single)
        if isinstance(result, Exception):
            raise result
        return result

    def write_each(
        self, function: Callable[[Connection, list[Item]], list[T]], items: Sequence[Item]
    ) -> list[T | Exception]:
        """Run a function once for some items, in one commit, and return their results.

        Where that fails, each of them is committed alone, and has its error for its result. Raises
        Unavailable where there is no database for any of them.
        """
        return self._committer.commit(function, items) if items else []

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """Lend a connection in a transaction of its own, for what must run once; raises Unavailable."""
        with _told_apart(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Finish what waits, and disconnect."""
        self._committer.close()
        self.engine.dispose()


def _alone(connection: Connection, functions: list[Callable[[Connection], T]]) -> list[T]:
    """Run writes that have nothing in common but their commit."""
    return [function(connection) for function in functions]


@dataclass
class _Waiting:
    function: Write
    item: typing.Any
    future: Future[typing.Any]
    single: bool


class _Committer:
    """A thread that commits together what waits together."""

    def __init__(self, engine: Engine, *, single: Engine, breath: float) -> None:
        self.engine = engine
        self.single = single  # for groups that need no transaction
        self.breath = breath  # seconds that the writer's lock is left to other processes
        self.waiting: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def commit(
        self,
        function: Callable[[Connection, list[Item]], list[T]],
        items: Sequence[Item],
        *,
        single: bool = False,
    ) -> list[T | Exception]:
        asked = [_Waiting(function, item, Future(), single) for item in items]
        self._start()
        self.waiting.put(asked)
        until = time.monotonic() + PATIENCE
        results: list[T | Exception] = []
        for one in asked:
            try:
                error = one.future.exception(max(until - time.monotonic(), 0.0))
            except Late:
                for left in asked:
                    left.future.cancel()
                raise Unavailable("The database does not answer in time.") from None
            if isinstance(error, Unavailable):
                raise error
            results.append(one.future.result() if error is None else typing.cast("Exception", error))
        return results

    def close(self) -> None:
        if self.thread:
            self.waiting.put(None)
            self.thread.join(PATIENCE)

    def _start(self) -> None:
        if self.thread is None:
            with self.lock:
                if self.thread is None:
                    self.thread = threading.Thread(target=self._run, name="commits", daemon=True)
                    self.thread.start()

    def _run(self) -> None:
        while (first := self.waiting.get()) is not None:
            group = [*first]
            with contextlib.suppress(queue.Empty):
                while len(group) < MOST_TOGETHER:
                    more = self.waiting.get_nowait()
                    if more is None:
                        self.waiting.put(None)
                        break
                    group += more
            self._commit([one for one in group if one.future.set_running_or_notify_cancel()])
            if self.breath:
                time.sleep(self.breath)

    def _commit(self, group: list[_Waiting]) -> None:
        """Commit a group; where it fails, each of it is committed alone, so that only one is at fault."""
        if len(group) > 1:
            try:
                with _told_apart():
                    results = self._transact(group)
            except Unavailable as error:
                for one in group:
                    one.future.set_exception(error)
                return
            except Exception:  # noqa: BLE001  one of them is at fault; alone it says so itself
                results = None
            if results is not None:
                for one, result in zip(group, results, strict=True):
                    one.future.set_result(result)
                return
        for one in group:
            try:
                with _told_apart():
                    one.future.set_result(self._transact([one])[0])
            except Exception as error:  # noqa: BLE001  the caller's to handle
                one.future.set_exception(error)

    def _transact(self, group: list[_Waiting]) -> list[typing.Any]:
        """Commit a group, with a fresh connection if the pooled one turns out to be dead."""
        try:
            return self._once(group)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return self._once(group)

    def _once(self, group: list[_Waiting]) -> list[typing.Any]:
        results: list[typing.Any] = [None] * len(group)
        engine = self.single if all(one.single for one in group) else self.engine
        with engine.begin() as connection:
            for function in dict.fromkeys(one.function for one in group):
                places = [place for place, one in enumerate(group) if one.function == function]
                found = function(connection, [group[place].item for place in places])
                for place, result in zip(places, found, strict=True):
                    results[place] = result
        return results


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Turn what a database cannot do just now into Unavailable; a wrong value is a bug."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except (DBAPIError, PoolTimeout) as error:
        # also one that is read-only, not migrated yet, or has taken our rights away
        said = _first_line(error)
        fix = next((fix for words, fix in FIXES.items() if words in said), "")
        raise Unavailable(f"The database is not available: {said}{fix}") from error


def _socket_of(connection: Connection) -> socket.socket | None:
    """Return a second handle on a Postgres connection's socket, so that it can be shut from outside."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        return None
    return socket.socket(fileno=os.dup(driver.fileno()))


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0][:200]


def _sqlite(url: str, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,  # no fact of an alert in an error's text
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: typing.Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin below, not in the driver
        _write_ahead(connection)
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
    """Wait for the writer's lock, and take it soon after another process gives it back.

    SQLite's own waiting grows to a tenth of a second, while a commit takes some milliseconds.
    """
    until = time.monotonic() + BUSY_SECONDS
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(BUSY_STEP)
        else:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
            return


def _is_busy(error: OperationalError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_BUSY)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, which SQLite does not wait for when two do so at the same time."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _postgres(url: str, pool_size: int) -> Engine:
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "tcp_user_timeout": 15_000,
            # a process that froze in a transaction must not hold its locks for ever
            "options": "-c synchronous_commit=on -c statement_timeout=15000 -c lock_timeout=5000"
            " -c idle_in_transaction_session_timeout=10000",
        },
    )


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
        """Read both clocks at once, or as nearly as a busy machine lets them be read.

        The database's is read after ours, so the least distance of some tries is the nearest to the true
        one. How late the answer is taken tells nothing: beside busy threads a tenth of a second.
        """
        best = (float("inf"), 0.0, 0.0)
        try:
            with self.engine.connect() as connection:
                for _ in range(CLOCK_TRIES):
                    before = time.monotonic()
                    seconds = float(connection.execute(select(_MOMENT)).scalar_one())
                    best = min(best, (seconds - before, before, seconds))
                    if time.monotonic() - before < CLOCK_APART:
                        break
        except (DBAPIError, PoolTimeout):
            return None  # whoever needs the database now finds out in its own words
        return best[1:]


_MOMENT = cast(func.extract("epoch", func.clock_timestamp()), Double)
