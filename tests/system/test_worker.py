"""The worker and what it does for many cases at once: one that goes wrong holds up no other."""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any

import pytest
from sqlalchemy import select, text

import bridge.worker
from bridge import forward
from bridge.app import ROOT
from bridge.case import Case, merge
from bridge.errors import Unavailable
from bridge.inbox import TOO_OLD, Claim, Inbox
from bridge.sandbox import STORE, Sandbox
from bridge.tables import paces
from bridge.worker import Worker
from tests.support.desk import Clock, Desk, desk, work_off

pytestmark = pytest.mark.both_databases


class WallClock(Clock):
    """The machine's own."""

    def __call__(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


AT_ONCE: Any = type("AtOnce", (), {"submit": staticmethod(lambda function, *given: function(*given))})()
"""A pool whose threads are done as soon as they are asked."""


@pytest.fixture
def office(database_url: str) -> Iterator[Desk]:
    with desk(database_url) as made:
        yield made


@pytest.fixture
def worker(office: Desk) -> Worker:
    return Worker(office.inbox, office.judge, office.forwarder)


def claims(office: Desk, count: int) -> list[Claim]:
    """Post alerts, and claim their cases."""
    for _ in range(count):
        office.post(office.senders.prevention())
    office.inbox.translate(office.judge.verdict, count)
    return [claim for _ in range(count) for claim in office.inbox.claim([STORE])]


def work(worker: Worker) -> None:
    """Take many turns."""
    worker.offset = None  # the clock of these tests was not set, it is theirs
    for _ in range(20):
        worker.turn(AT_ONCE)


def bring_back(office: Desk, worker: Worker) -> None:
    """Post an alert, and work until its call has come back and is not settled yet."""
    office.post(office.senders.prevention())
    while not worker.unsettled:
        worker.turn(AT_ONCE)
        worker._take_back()


def away(*_: object) -> None:
    """Be a database that is not there."""
    raise Unavailable


def broken_for(number: str, function: Any) -> Any:
    """A function of a case that has a bug where one case is concerned."""

    def instead(case: Case, *given: Any, **named: Any) -> Any:
        if case.case_number == number:
            raise ZeroDivisionError
        return function(case, *given, **named)

    return instead


@pytest.mark.parametrize("name", ["consult", "next_step", "learn"])
def test_a_bug_with_one_case_holds_up_no_other(
    office: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    taken = claims(office, 3)
    wrong = taken[1].case.case_number
    monkeypatch.setattr(forward, name, broken_for(wrong, getattr(forward, name)))
    work_off(office.forwarder, taken)
    statuses = {row["case_number"]: row["status"] for row in office.deliveries()}
    assert statuses.pop(wrong) == "pending"
    assert set(statuses.values()) == {"forwarded"}
    (case,) = [one for one in office.inbox.cases_since(STORE, 0) if one.case_number == wrong]
    assert case.tries == 1
    assert case.due_at, "it is tried again"
    office.settle(3600, times=5)
    assert office.case(wrong)["deliveries"][0]["reason"] == "bug", "a person looks in the end"


def test_a_bug_in_taking_one_alert_in_holds_up_no_other(
    office: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in "123":
        office.post(office.senders.prevention(case=f"C-{number}"))
    monkeypatch.setattr("bridge.inbox.translating.merge", broken_for("C-2", merge))
    work(worker)
    rows = office.deliveries()
    assert sorted(row["status"] for row in rows) == ["forwarded", "forwarded", "pending"]
    assert {row["case_number"] for row in rows if row["status"] == "forwarded"} == {"C-1", "C-3"}
    for _ in range(8):
        office.clock.sleep(3600)
        work(worker)
    (failed,) = office.deliveries(status="failed")
    assert failed["reason"] == "bug", "a person looks in the end"


def test_a_case_that_cannot_be_read_holds_up_no_other(office: Desk, worker: Worker) -> None:
    for number in "123":
        office.post(office.senders.prevention(case=f"C-{number}"))
    office.inbox.translate(office.judge.verdict, 10)
    facts = '{"case_number": "C-1", "type": "of a later release"}'
    broken = text("UPDATE cases SET facts = :facts WHERE case_number = 'C-1'")
    office.database.write(lambda connection: connection.execute(broken, {"facts": facts}))
    work(worker)
    statuses = {row["case_number"]: row["status"] for row in office.deliveries()}
    assert statuses == {"C-1": "pending", "C-2": "forwarded", "C-3": "forwarded"}
    assert office.inbox.claim([STORE]) == [], "it is held for as long as any other"


def test_a_value_that_the_database_does_not_take_holds_up_no_other(office: Desk) -> None:
    taken = claims(office, 3)
    errands = office.forwarder.prepare(taken)
    for errand in errands:
        office.forwarder.send(errand)
    assert errands[1].attempt
    errands[1].attempt["started_at"] = "no time at all" if not office.database.sqlite else object()
    office.forwarder.settle(errands)
    assert sorted(row["status"] for row in office.deliveries()) == ["forwarded", "forwarded", "pending"]
    office.settle()
    assert {row["status"] for row in office.deliveries()} == {"forwarded"}
    assert len(office.disputes()) == 3


def test_a_case_that_somebody_else_has_taken_meanwhile_is_left_to_him(office: Desk) -> None:
    taken = claims(office, 2)
    office.clock.now += office.inbox.lease + 1
    again = office.inbox.claim([STORE])
    assert [one.case_id for one in again] == [taken[0].case_id]
    assert [one.claim for one in office.forwarder.prepare(taken)] == [taken[1]]


def test_a_store_that_was_just_removed_holds_up_no_other(office: Desk) -> None:
    taken = claims(office, 1)
    office.forwarder.settings = replace(office.settings, stores={})
    assert office.forwarder.prepare(taken) == []


def test_what_came_back_is_settled_once_the_database_is_there_again(
    office: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_back(office, worker)
    with monkeypatch.context() as gone:
        gone.setattr(Inbox, "settle", away)
        for _ in range(3):
            with pytest.raises(Unavailable):
                worker.turn(AT_ONCE)
    assert worker.under_way.total() == 1
    work(worker)
    assert [row["status"] for row in office.deliveries()] == ["forwarded"]
    assert len(office.disputes()) == 1
    assert worker.under_way.total() == 0


def test_what_came_back_is_not_settled_any_more_once_its_lease_is_over(
    office: Desk, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_back(office, worker)
    office.clock.now += office.inbox.lease + 1
    with monkeypatch.context() as gone:
        gone.setattr(Inbox, "settle", away)
        with pytest.raises(Unavailable):
            worker.turn(AT_ONCE)
    assert (worker.unsettled, worker.under_way.total()) == ([], 0)
    office.settle()
    assert [row["status"] for row in office.deliveries()] == ["forwarded"]
    assert len(office.disputes()) == 1


@pytest.mark.xdist_group("timing")
def test_a_call_that_leaves_late_pushes_the_next_ones_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a thread waits for its interpreter between its last look at the clock and the bytes."""
    send = HTTPConnection.send

    def late(connection: HTTPConnection, data: Any) -> None:
        time.sleep(0.05)
        send(connection, data)

    def next_at(office: Desk) -> float:
        with office.database.read() as connection:
            return float(connection.execute(select(paces.c.next_at)).scalar_one())

    with desk(database_url, also={"rate": 4.0}) as office:
        office.forwarder.sleep = time.sleep
        taken = claims(office, 1)
        before = next_at(office)
        monkeypatch.setattr(HTTPConnection, "send", late)
        work_off(office.forwarder, taken)
        assert next_at(office) >= before + 0.05 - TOO_OLD


@pytest.mark.xdist_group("timing")
def test_however_long_a_lease_takes_to_be_prolonged_the_pages_of_a_list_keep_their_distance(
    database_url: str,
) -> None:
    shop = Sandbox(rate=0, page_size=1)
    with desk(database_url, clock=WallClock(), sandbox=shop, also={"rate": 4.0}) as office:
        for number in range(5):
            shop.add_dispute(case_number=f"A-{number}", type="alert")
        api = office.forwarder.api(office.store)
        assert len(api.rows("disputes/", {}, before_more=lambda: time.sleep(0.15))) == 5
        at = [call.at for call in shop.ledger.calls]
        assert min(b - a for a, b in itertools.pairwise(at)) > 0.25 - TOO_OLD


@pytest.mark.xdist_group("timing")
def test_who_is_held_up_between_two_clocks_reads_them_again(
    office: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([0.05, 0.05])

    def now() -> float:
        time.sleep(next(waits, 0))
        return time.monotonic() + 1000

    monkeypatch.setattr(office.inbox, "now", now)
    opens = office.inbox.pace(office.store).slot(2000.0).opens
    assert opens == pytest.approx(1000.0, rel=0, abs=0.01)


def test_a_signal_to_end_is_heard_at_any_moment(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above all when a wait for something to do is just over."""
    monkeypatch.setattr(bridge.worker, "IDLE_SECONDS", 0.002)
    monkeypatch.setattr(worker, "turn", lambda _: False)
    main, chance = threading.get_ident(), random.Random(1)  # noqa: S311 - not secret

    def end() -> None:
        time.sleep(0.01 + chance.uniform(0, 0.002))
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, worker.stop)
    try:
        for _ in range(100):
            worker.stopped_at = None
            threading.Thread(target=end).start()
            worker.run()
    finally:
        signal.signal(signal.SIGUSR1, before)


HANGS = """
import time
from bridge import worker

class Hanging(worker.Worker):
    def __init__(self):
        self.stopped_at = None

    def run(self):
        print("at work", flush=True)
        while True:
            time.sleep(60)

worker.LAST_SECONDS = 1
worker.run(Hanging())
"""


def test_a_worker_that_hangs_ends_all_the_same_once_it_is_told_to() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGS], cwd=ROOT, stdout=-1, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "at work\n"
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
