"""Whatever ails the database: no webhook is acknowledged that is not stored, and no worker ends."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text

from bridge.storage import migrate
from bridge.storage.database import Database
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import bridge_in_process
from tests.support.clock import WallClock, eventually
from tests.support.postgres import Postgres
from tests.support.processes import SHORT, RunningBridge, running_bridge
from tests.support.statements import away
from tests.support.webhooks import Senders

HASTY: Mapping[str, Any] = {
    **SHORT,
    "PATIENCE": 1.0,
    "BUSY_SECONDS": 1,
    "CLOCK_SECONDS": 0.2,
    "READY_SECONDS": 0.0,
}
"""Patience is short, and the database and its clock are asked all the time."""
MOST_SECONDS = 10
"""How long a webhook waits for its 503 at most."""
SOON = 12.0
"""Seconds in which a case goes on after a failure: far fewer than its lease has."""


@pytest.fixture
def senders() -> Senders:
    return Senders()


@pytest.fixture
def sqlite(make_database: MakeDatabase, tmp_path: Path) -> Iterator[RunningBridge]:
    with make_database("sqlite") as url, running_bridge(tmp_path, url, constants=HASTY) as bridge:
        yield bridge


@pytest.fixture
def on_postgres(make_database: MakeDatabase, tmp_path: Path) -> Iterator[RunningBridge]:
    with (
        make_database("postgres", durable=True) as url,
        running_bridge(tmp_path, url, constants=HASTY) as bridge,
    ):
        yield bridge


def refused_for_now(answer: requests.Response) -> bool:
    """Whether a webhook was told to come again."""
    assert answer.status_code in (200, 503), answer.text
    if answer.ok:
        return False
    assert answer.json()["error"] == "unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.elapsed.total_seconds() < MOST_SECONDS
    return True


def goes_on(bridge: RunningBridge, senders: Senders) -> None:
    """Have what was refused delivered after all, and all that is owed forwarded."""
    acknowledged = {one.event_id for one in bridge.accepted}
    bridge.deliver(*(one for one in set(bridge.offered) if one.event_id not in acknowledged))
    bridge.deliver(senders.prevention())
    bridge.wait()
    assert all(worker.alive for worker in bridge.workers)
    bridge.audit()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_before_the_migration_no_webhook_is_taken_or_unknown(
    make_database: MakeDatabase, tmp_path: Path, senders: Senders, kind: str
) -> None:
    with (
        make_database(kind, migrated=False, durable=True) as url,
        running_bridge(tmp_path, url, constants=HASTY) as bridge,
    ):
        bridge.start_worker()
        bridge.start_web(ready=False)
        sent = senders.prevention()
        assert eventually(lambda: bridge.try_post(sent)) == 503  # until it listens, there is no answer
        assert bridge.get("/healthz").status_code == 200
        assert bridge.get("/readyz").status_code == 503
        with closing(Database(url)) as database:
            migrate.upgrade(database)
        eventually(bridge.is_ready)
        goes_on(bridge, senders)


def test_postgres_down_and_up_again(
    on_postgres: RunningBridge, senders: Senders, durable_postgres: Postgres
) -> None:
    bridge = on_postgres.start()
    bridge.next29.add_faults({"name": "latency", "seconds": 0.4})
    bridge.deliver(*(senders.prevention() for _ in range(5)))
    durable_postgres.stop()
    try:
        for _ in range(3):
            assert refused_for_now(bridge.post(senders.prevention()))
        assert bridge.get("/readyz").status_code == 503
    finally:
        durable_postgres.start()
    goes_on(bridge, senders)


@pytest.mark.both_databases
@pytest.mark.parametrize(
    "statement", ["transactions.bankcard_last_four =", "INSERT INTO attempts"], ids=["index", "intent"]
)
def test_a_short_failure_between_claim_and_intent_parks_no_case(
    database_url: str, senders: Senders, statement: str
) -> None:
    """Which was claimed for half a minute: it is given back at once."""
    with bridge_in_process(database_url, clock=WallClock()) as bridge, bridge.inside.at_work():
        assert bridge.inside.lease > 2 * SOON
        with away(bridge.database, statement, 2) as failed:
            sent = senders.ethoca()
            bridge.post(sent)
            eventually(lambda: len(failed) == 2, SOON)
            eventually(lambda: bridge.disputes(sent), SOON)


@contextmanager
def frozen(postgres: Postgres) -> Iterator[None]:
    """Postgres takes connections and answers nothing."""
    with ExitStack() as stack:
        for pid in postgres.pids():
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:  # the one that told the ids
                continue
            stack.callback(os.kill, pid, signal.SIGCONT)
        yield


def test_postgres_that_answers_nothing_hangs_no_webhook(
    on_postgres: RunningBridge, senders: Senders, durable_postgres: Postgres
) -> None:
    bridge = on_postgres.start()
    bridge.deliver(*(senders.prevention() for _ in range(3)))
    with frozen(durable_postgres), ThreadPoolExecutor(20) as pool:
        # more ask for what the database would have to answer than it has connections
        asked = [pool.submit(bridge.get, path) for path in ("/readyz", "/api/deliveries") for _ in range(5)]
        posted = [pool.submit(bridge.post, senders.prevention()) for _ in range(5)]
        assert all(refused_for_now(one.result()) for one in posted)
        assert {one.result().status_code for one in asked} == {503}
    goes_on(bridge, senders)


def test_postgres_that_only_reads(
    on_postgres: RunningBridge, senders: Senders, durable_postgres: Postgres
) -> None:
    bridge = on_postgres.start()
    name = bridge.database_url.partition("?")[0].rpartition("/")[2]
    for value in ("on", "off"):
        durable_postgres.run(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
        durable_postgres.run(ended)
        if value == "on":
            assert eventually(lambda: refused_for_now(bridge.post(senders.prevention())))
            assert bridge.get("/readyz").status_code == 503
    goes_on(bridge, senders)


def test_a_table_that_is_locked_on_postgres(on_postgres: RunningBridge, senders: Senders) -> None:
    bridge = on_postgres.start()
    engine = create_engine(bridge.database_url)
    with engine.begin() as connection, ThreadPoolExecutor(8) as pool:
        connection.execute(text("LOCK TABLE deliveries, cases"))
        answers = pool.map(bridge.post, [senders.prevention() for _ in range(8)])
        assert all(refused_for_now(answer) for answer in answers)
    engine.dispose()
    goes_on(bridge, senders)


def test_sqlite_locked_by_another_process(sqlite: RunningBridge, senders: Senders) -> None:
    bridge = sqlite.start()
    bridge.deliver(senders.prevention())
    with closing(sqlite3.connect(bridge.database_url.removeprefix("sqlite:///"))) as other:
        other.execute("BEGIN IMMEDIATE")
        assert refused_for_now(bridge.post(senders.prevention()))
        assert bridge.get("/readyz").status_code == 503
    goes_on(bridge, senders)


def test_sqlite_that_only_reads(sqlite: RunningBridge, senders: Senders) -> None:
    bridge = sqlite
    file = bridge.database_url.removeprefix("sqlite:///")
    bridge.environ = {"DATABASE_URL": f"sqlite:///file:{file}?mode=ro&uri=true"}
    bridge.start_web(ready=False)
    eventually(lambda: bridge.try_post(senders.prevention()) == 503)
    assert refused_for_now(bridge.post(senders.prevention()))
    bridge.environ = {}
    bridge.start()
    goes_on(bridge, senders)


def test_sqlite_on_a_full_disk(sqlite: RunningBridge, senders: Senders) -> None:
    bridge = sqlite.start()
    assert bridge.web
    processes = [pid for one in (bridge.web, *bridge.workers) for pid in one.family()]
    for pid in processes:  # no file may grow: to SQLite that is an error of the disk
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    assert eventually(lambda: refused_for_now(bridge.post(senders.prevention())))
    assert eventually(lambda: bridge.get("/readyz").status_code == 503)  # it writes less than a webhook
    for pid in processes:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    goes_on(bridge, senders)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk; the other test of a full disk needs none")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607


def test_sqlite_on_a_disk_without_space_goes_on_once_there_is_some(
    small_disk: Path, make_database: MakeDatabase, tmp_path: Path, senders: Senders
) -> None:
    with make_database("sqlite") as url:
        shutil.copy(url.removeprefix("sqlite:///"), small_disk / "bridge.db")
    with running_bridge(tmp_path / "bridge", f"sqlite:///{small_disk}/bridge.db", constants=HASTY) as bridge:
        bridge.start()
        bridge.next29.add_faults({"name": "latency", "seconds": 0.4})
        bridge.deliver(*(senders.prevention() for _ in range(3)))
        junk = small_disk / "junk"
        with junk.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert eventually(lambda: refused_for_now(bridge.post(senders.prevention())))
        assert eventually(lambda: "database unavailable" in bridge.workers[0].said())
        junk.unlink()
        goes_on(bridge, senders)
