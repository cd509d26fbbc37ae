"""The database: durable, shared commits of which only the faulty one fails, and one clock for all."""

from __future__ import annotations

import contextlib
import socketserver
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DataError, IntegrityError

from bridge.errors import Unavailable
from bridge.storage.committer import MOST_TOGETHER
from bridge.storage.database import Database
from tests.conftest import MakeDatabase
from tests.support.clock import eventually
from tests.support.postgres import Postgres

Write = Callable[[Connection], Any]


@contextlib.contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database with a table of its own."""
    with contextlib.closing(Database(url, pool_size=3)) as database:
        database.write(
            lambda connection: connection.execute(text("CREATE TABLE things (name TEXT PRIMARY KEY)"))
        )
        yield database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


@pytest.fixture
def on_sqlite(make_database: MakeDatabase) -> Iterator[Database]:
    with make_database("sqlite") as url, opened(url) as database:
        yield database


@pytest.fixture
def on_postgres(make_database: MakeDatabase) -> Iterator[Database]:
    with make_database("postgres") as url, opened(url) as database:
        yield database


def adding(name: str) -> Write:
    def add(connection: Connection) -> str:
        connection.execute(text("INSERT INTO things VALUES (:name)"), {"name": name})
        return f"{name} added"

    return add


def add_all(connection: Connection, names: Sequence[str]) -> None:
    """Add some things by one statement."""
    rows = ", ".join(f"(:n{place})" for place, _ in enumerate(names))
    given = {f"n{place}": name for place, name in enumerate(names)}
    connection.execute(text(f"INSERT INTO things VALUES {rows}"), given)  # noqa: S608 - names only


def things(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(connection.execute(text("SELECT name FROM things")).scalars())


class Commits:
    """Counts what is committed, and holds the first one up until it is let go."""

    def __init__(self, database: Database) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.held = threading.Event()
        event.listen(database.engine, "commit", self.note)

    def hold(self, connection: Connection) -> None:
        """A write that takes until `go`."""
        self.held.set()
        assert self.go.wait(10)

    def note(self, _: Connection) -> None:
        self.sizes.append(1)


def together(database: Database, *writes: Write) -> list[Any]:
    """Have writes wait at the same time, so that they share a commit; results or exceptions."""
    commits = Commits(database)
    with ThreadPoolExecutor(len(writes) + 1) as pool:
        first = pool.submit(database.write, commits.hold)
        assert commits.held.wait(10)
        futures = []
        for write in writes:
            before = database.writer.waiting.qsize()
            futures.append(pool.submit(database.write, write))
            until = time.monotonic() + 10
            while database.writer.waiting.qsize() == before and time.monotonic() < until:
                time.sleep(0.001)
        commits.sizes.clear()
        commits.go.set()
        first.result(10)
        done = [one.exception(10) or one.result(10) for one in futures]
    event.remove(database.engine, "commit", commits.note)
    return [*done, len(commits.sizes)]


# --- writing and reading -------------------------------------------------------------------------


def test_what_is_written_is_there(database: Database) -> None:
    assert database.write(adding("a")) == "a added"
    assert things(database) == ["a"]


def test_writes_that_wait_together_are_committed_together(on_sqlite: Database) -> None:
    *done, commits = together(on_sqlite, *(adding(f"t{number:02}") for number in range(20)))
    assert done == [f"t{number:02} added" for number in range(20)]
    assert len(things(on_sqlite)) == 20
    assert commits == 2  # that of the one which held them up, and theirs


def test_no_commit_is_shared_by_too_many(on_sqlite: Database) -> None:
    *done, commits = together(on_sqlite, *(adding(f"t{number:03}") for number in range(MOST_TOGETHER + 5)))
    assert len(done) == MOST_TOGETHER + 5
    assert commits == 3  # that of the one which held them up, and two of theirs


def test_of_writes_that_share_a_commit_only_the_faulty_one_fails(on_sqlite: Database) -> None:
    on_sqlite.write(adding("b"))

    def wrong(_: Connection) -> None:
        raise ZeroDivisionError

    a, b, c, bug, *_ = together(on_sqlite, adding("a"), adding("b"), adding("c"), wrong)
    assert (a, c) == ("a added", "c added")
    assert isinstance(b, IntegrityError)
    assert isinstance(bug, ZeroDivisionError)
    assert things(on_sqlite) == ["a", "b", "c"]


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    def half(connection: Connection) -> None:
        adding("a")(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(half)
    assert things(database) == []
    assert database.write(adding("a")) == "a added"


def test_what_is_shared_is_written_by_one_call_for_all(database: Database) -> None:
    calls: list[list[str]] = []
    held, go = threading.Event(), threading.Event()

    def add(connection: Connection, names: Sequence[str]) -> list[str]:
        calls.append(sorted(names))
        if names == ["first"]:
            held.set()
            assert go.wait(10)
        add_all(connection, names)
        return [name.upper() for name in names]

    write = database.sharing(add, by_one_statement=True)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(write, "first")
        assert held.wait(10)
        futures = [pool.submit(write, name) for name in "abc"]
        eventually(lambda: database.committers[-1].waiting.qsize() == 3)
        go.set()
        assert first.result(10) == "FIRST"
        assert [one.result(10) for one in futures] == ["A", "B", "C"]
    assert calls == [["first"], ["a", "b", "c"]]
    assert things(database) == ["a", "b", "c", "first"]


def test_where_one_of_the_shared_is_at_fault_the_others_are_written(database: Database) -> None:
    database.write(adding("b"))

    def add(connection: Connection, names: Sequence[str]) -> Sequence[str]:
        add_all(connection, names)
        return names

    write = database.sharing(add, by_one_statement=True)

    def run(name: str) -> str:
        try:
            return write(name)
        except IntegrityError:
            return "refused"

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, "abc")) == ["a", "refused", "c"]
    assert things(database) == ["a", "b", "c"]


def test_of_writes_at_the_same_time_each_has_its_own_result(database: Database) -> None:
    database.write(adding("b"))

    def run(name: str) -> str:
        try:
            return str(database.write(adding(name)))
        except IntegrityError:
            return "refused"

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, "abc")) == ["a added", "refused", "c added"]
    assert things(database) == ["a", "b", "c"]


def test_on_postgres_no_write_waits_for_another(on_postgres: Database) -> None:
    held, go = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        held.set()
        assert go.wait(10)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(on_postgres.write, hold)
        assert held.wait(10)
        assert on_postgres.write(adding("a")) == "a added"
        go.set()
        first.result(10)


def test_many_threads_lose_nothing(database: Database) -> None:
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda number: database.write(adding(f"n{number:03}")), range(200)))
    assert len(set(done)) == 200
    assert len(things(database)) == 200


def test_a_value_that_the_database_cannot_hold_is_a_bug_and_no_outage(on_postgres: Database) -> None:
    with pytest.raises(DataError):
        on_postgres.write(adding("a\0b"))
    assert on_postgres.write(adding("a")) == "a added"


# --- what it cannot do just now ------------------------------------------------------------------


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/bridge.db", "sqlite:////proc/bridge.db"])
def test_a_file_that_cannot_be_opened_is_unavailable(url: str) -> None:
    with contextlib.closing(Database(url)) as database:
        with pytest.raises(Unavailable, match="unable to open"):
            database.write(adding("a"))
        with pytest.raises(Unavailable, match="unable to open"), database.read():
            pass


def test_a_server_that_is_not_there_is_unavailable() -> None:
    url = "postgresql+psycopg://bridge:hunter22@127.0.0.1:1/bridge"
    with contextlib.closing(Database(url)) as database:
        with pytest.raises(Unavailable, match="refused") as caught:
            database.write(adding("a"))
        assert "hunter22" not in str(caught.value)
        with pytest.raises(Unavailable, match="refused"), database.read():
            pass
        assert abs(database.now() - time.time()) < 60


def test_a_schema_that_is_not_there_yet_is_unavailable(database: Database) -> None:
    with pytest.raises(Unavailable, match="run `bridge migrate`"), database.read() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    with pytest.raises(Unavailable, match="run `bridge migrate`"):
        database.write(lambda connection: connection.execute(text("DELETE FROM no_such_table")))


def test_a_locked_file_is_unavailable_and_available_again(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.storage.engines.BUSY_SECONDS", 0.1)
    with make_database("sqlite") as url, contextlib.closing(Database(url)) as database:
        database.write(lambda c: c.execute(text("CREATE TABLE things (name TEXT PRIMARY KEY)")))
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                database.write(adding("a"))
            assert things(database) == []  # reading goes on
            other.rollback()
        assert database.write(adding("a")) == "a added"


def test_a_file_that_may_only_be_read_is_unavailable_for_writing(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url:
        read_only = f"sqlite:///file:{url.removeprefix('sqlite:///')}?mode=ro&uri=true"
        with (
            contextlib.closing(Database(read_only)) as database,
            pytest.raises(Unavailable, match="readonly"),
        ):
            database.write(lambda connection: connection.execute(text("DELETE FROM paces")))


def test_a_full_disk_is_unavailable(on_sqlite: Database) -> None:
    on_sqlite.write(lambda connection: connection.execute(text("PRAGMA max_page_count = 1")))
    with pytest.raises(Unavailable, match="full"):  # noqa: PT012 - which of them is the last, nobody knows
        for number in range(5000):
            on_sqlite.write(adding(f"{number} " + "x" * 4000))


def test_a_pool_whose_connections_are_all_lent_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.storage.database.PATIENCE", 0.1)
    with contextlib.ExitStack() as lent:
        for _ in range(3):
            lent.enter_context(database.read())
        with pytest.raises(Unavailable, match=r"in use|in time"):
            database.write(adding("a"))
        with pytest.raises(Unavailable, match="in use"), database.read():
            pass
    monkeypatch.undo()
    assert database.write(adding("a")) == "a added"


def test_who_waits_for_a_connection_has_it_before_whoever_comes_later(database_url: str) -> None:
    """As where more threads write than there are connections: none of them is left out for long."""
    came: list[str] = []

    def read(database: Database, name: str) -> None:
        with database.read():
            came.append(name)

    with closing(Database(database_url, pool_size=1)) as database, ThreadPoolExecutor(1) as pool:
        with database.read():
            waiting = pool.submit(read, database, "first")
            eventually(lambda: database.connections.waiting)
        read(database, "later")
        waiting.result(10)
    assert came == ["first", "later"]


def test_who_waits_too_long_for_a_commit_is_told_so(
    on_sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = Commits(on_sqlite)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(on_sqlite.write, commits.hold)
        assert commits.held.wait(10)
        monkeypatch.setattr("bridge.storage.database.PATIENCE", 0.1)
        with pytest.raises(Unavailable, match="in time"):
            on_sqlite.write(adding("a"))
        commits.go.set()
        first.result(10)
    monkeypatch.setattr("bridge.storage.database.PATIENCE", 10)
    on_sqlite.write(adding("b"))
    assert things(on_sqlite) == ["b"], "what nobody waits for any more is not written"


@pytest.mark.parametrize("asks", ["writes", "reads"])
def test_a_server_that_takes_too_long_is_waited_for_no_longer_than_that(
    on_postgres: Database, monkeypatch: pytest.MonkeyPatch, asks: str
) -> None:
    monkeypatch.setattr("bridge.storage.database.PATIENCE", 0.2)
    sleep = text("SELECT pg_sleep(5)")
    began = time.monotonic()
    if asks == "writes":
        with pytest.raises(Unavailable, match="in time"):
            on_postgres.write(lambda connection: connection.execute(sleep))
    else:
        with pytest.raises(Unavailable, match="in time"), on_postgres.read() as connection:
            connection.execute(sleep)
    assert time.monotonic() - began < 2
    monkeypatch.setattr("bridge.storage.database.PATIENCE", 10)
    assert on_postgres.write(adding("a")) == "a added"


def test_connections_that_the_server_ended_are_replaced(postgres: Postgres, on_postgres: Database) -> None:
    database = on_postgres
    database.write(adding("a"))
    with database.read() as connection:
        connection.execute(text("SELECT 1"))
    everyone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'bridge%'"
    postgres.run(everyone)
    assert database.write(adding("b")) == "b added"
    postgres.run(everyone)
    assert [database.write(adding(name)) for name in "cd"] == ["c added", "d added"]
    assert things(database) == ["a", "b", "c", "d"]


# --- durability ----------------------------------------------------------------------------------


def test_a_commit_is_on_the_disk_before_it_is_told(database: Database) -> None:
    with database.read() as connection:
        if database.sqlite:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
        else:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"


def test_a_frozen_process_does_not_hold_its_locks_for_ever(on_postgres: Database) -> None:
    with on_postgres.read() as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.execute(text(f"SHOW {name}")).scalar() not in ("0", None)


def test_on_sqlite_writers_wait_for_each_other_and_readers_for_nobody(make_database: MakeDatabase) -> None:
    with (
        make_database("sqlite") as url,
        contextlib.closing(Database(url)) as one,
        contextlib.closing(Database(url)) as other,
    ):
        one.write(lambda c: c.execute(text("CREATE TABLE things (name TEXT PRIMARY KEY)")))
        with ThreadPoolExecutor(8) as pool:
            both = [one, other]
            list(pool.map(lambda number: both[number % 2].write(adding(f"n{number:03}")), range(60)))
        assert len(things(one)) == 60
        with one.begin() as connection:
            adding("under way")(connection)
            assert len(things(other)) == 60
        assert len(things(other)) == 61


# --- the clock -----------------------------------------------------------------------------------


def test_the_clock_is_the_database_s_own(database: Database) -> None:
    first = database.now()
    assert abs(first - time.time()) < 5
    assert database.now() >= first


def test_all_processes_share_the_server_s_clock_whatever_their_own_says(
    on_postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = time.time()
    monkeypatch.setattr("bridge.storage.database.time.time", lambda: true - 600)
    assert abs(on_postgres.now() - true) < 5


def test_the_clock_goes_on_while_the_server_does_not_answer(
    on_postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = on_postgres.now()
    monkeypatch.setattr("bridge.storage.database.CLOCK_SECONDS", 0.0)

    def refuse(_: float) -> Any:
        raise Unavailable("no answer")

    monkeypatch.setattr(on_postgres, "read", refuse)
    assert before <= on_postgres.now() < before + 5


def test_the_clock_can_be_given(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, contextlib.closing(Database(url, clock=lambda: 5.0)) as database:
        assert database.now() == 5.0


def test_close_finishes_what_waits(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url:
        database = Database(url)
        database.write(lambda c: c.execute(text("CREATE TABLE things (name TEXT PRIMARY KEY)")))
        commits = Commits(database)
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(database.write, commits.hold)
            assert commits.held.wait(10)
            second = pool.submit(database.write, adding("a"))
            until = time.monotonic() + 10
            while not database.writer.waiting.qsize() and time.monotonic() < until:
                time.sleep(0.001)
            closing = pool.submit(database.close)
            commits.go.set()
            first.result(10)
            assert second.result(10) == "a added"
            closing.result(10)
        with contextlib.closing(Database(url)) as again:
            assert things(again) == ["a"]


def test_a_pooler_that_refuses_start_up_options_is_named_with_its_fix() -> None:
    """PgBouncer's words, as psycopg hands them on."""
    with one_refusal(b"unsupported startup parameter: options") as port:
        database = Database(f"postgresql+psycopg://u:p@127.0.0.1:{port}/bridge")
        with (
            closing(database),
            pytest.raises(Unavailable, match="ignore_startup_parameters = options") as told,
        ):
            database.write(lambda connection: connection.exec_driver_sql("SELECT 1"))
    assert "unsupported startup parameter" in str(told.value)


@contextlib.contextmanager
def one_refusal(words: bytes) -> Iterator[int]:
    """A server that greets every client of Postgres with an error."""
    body = b"SFATAL\0C08P01\0M" + words + b"\0\0"
    answer = b"E" + struct.pack("!i", len(body) + 4) + body

    class Refuse(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while (head := self.request.recv(4)) and (length := struct.unpack("!i", head)[0]) == 8:
                self.request.recv(length - 4)  # whether TLS or GSS is spoken here
                self.request.sendall(b"N")
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def test_a_new_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    file = tmp_path / "bridge.db"
    with closing(Database(f"sqlite:///{file}?timeout=5")) as database:
        database.write(lambda connection: connection.execute(text("CREATE TABLE t (a)")))
        beside = list(tmp_path.iterdir())
        assert len(beside) > 1
        assert {one.stat().st_mode & 0o777 for one in beside} == {0o600}


def test_a_clean_stop_leaves_one_file_that_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "bridge.db"
    with closing(Database(f"sqlite:///{file}")) as database:
        database.write(lambda connection: connection.execute(text("CREATE TABLE t (a)")))
        assert len(list(tmp_path.iterdir())) > 1
    assert list(tmp_path.iterdir()) == [file]
