"""The worker and what it does for many cases at once: one that goes wrong holds up no other."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, StatementError

from bridge.disputes import lookup
from bridge.disputes.case import Case
from bridge.disputes.events import merge
from bridge.errors import Unavailable
from bridge.settings import ROOT
from bridge.storage.ids import token_key
from bridge.storage.queue import Queue
from bridge.storage.rows import Claim
from bridge.storage.slots import GAPS_AHEAD
from bridge.worker import forward, results
from bridge.worker import loop as working
from bridge.worker.loop import THREADS, UNANSWERED_LIMIT, Load, Worker
from bridge.worker.results import Task
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import WallClock
from tests.support.inside import AT_ONCE, call, work_off
from tests.support.next29 import STORE, TOKEN, StandIn


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_in_process(database_url) as made:
        yield made


@pytest.fixture
def worker(bridge: InProcessBridge) -> Worker:
    return bridge.inside.worker()


def claims(bridge: InProcessBridge, count: int) -> list[Claim]:
    """Post alerts, and claim their cases."""
    for _ in range(count):
        bridge.post(bridge.senders.prevention())
    bridge.inside.translate(count)
    return [claim for _ in range(count) for claim in bridge.inside.claim()]


def work(worker: Worker) -> None:
    """Take many turns."""
    for _ in range(20):
        worker.run_once(AT_ONCE)


def work_unsettled(bridge: InProcessBridge, worker: Worker, settles: Callable[[Task], None]) -> None:
    """Post an alert, and work until its call has come back; then it is settled so."""
    bridge.post(bridge.senders.prevention())
    worker.forwarder.settle = settles  # type: ignore[method-assign,assignment]
    while not bridge.next29.ledger.disputes:
        worker.run_once(AT_ONCE)


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


@pytest.mark.parametrize(
    ("module", "name"), [(lookup, "apply_index"), (forward, "next_step"), (results, "apply_response")]
)
def test_a_bug_with_one_case_holds_up_no_other(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    taken = claims(bridge, 3)
    wrong = taken[1].case.case_number
    monkeypatch.setattr(module, name, broken_for(wrong, getattr(module, name)))
    work_off(bridge.inside.forwarder, taken)
    statuses = {row["case_number"]: row["status"] for row in bridge.deliveries()}
    assert statuses.pop(wrong) == "pending"
    assert set(statuses.values()) == {"forwarded"}
    (case,) = [one for one in bridge.inside.inbox.cases.cases_since(STORE, 0) if one.case_number == wrong]
    assert case.tries == 1
    assert case.due_at, "it is tried again"
    bridge.settle(3600, times=5)
    assert bridge.case(wrong)["deliveries"][0]["reason"] == "bug", "a person looks in the end"


def test_a_bug_in_taking_one_alert_in_holds_up_no_other(
    bridge: InProcessBridge, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in "123":
        bridge.post(bridge.senders.prevention(case=f"C-{number}"))
    monkeypatch.setattr("bridge.storage.translation.merge", broken_for("C-2", merge))
    work(worker)
    rows = bridge.deliveries()
    assert sorted(row["status"] for row in rows) == ["forwarded", "forwarded", "pending"]
    assert {row["case_number"] for row in rows if row["status"] == "forwarded"} == {"C-1", "C-3"}
    for _ in range(8):
        bridge.clock.sleep(3600)
        work(worker)
    (failed,) = bridge.deliveries(status="failed")
    assert failed["reason"] == "bug", "a person looks in the end"


def test_a_case_that_cannot_be_read_holds_up_no_other(bridge: InProcessBridge, worker: Worker) -> None:
    for number in "123":
        bridge.post(bridge.senders.prevention(case=f"C-{number}"))
    bridge.inside.translate(10)
    facts = '{"case_number": "C-1", "type": "of a later release"}'
    broken = text("UPDATE cases SET facts = :facts WHERE case_number = 'C-1'")
    bridge.database.write(lambda connection: connection.execute(broken, {"facts": facts}))
    work(worker)
    statuses = {row["case_number"]: row["status"] for row in bridge.deliveries()}
    assert statuses == {"C-1": "pending", "C-2": "forwarded", "C-3": "forwarded"}
    assert bridge.inside.claim() == [], "it is held for as long as any other"


def test_a_value_that_the_database_does_not_take_holds_up_no_other(bridge: InProcessBridge) -> None:
    taken = claims(bridge, 3)
    tasks = call(bridge.inside.forwarder, taken)
    assert tasks[1].attempt
    no_time: Any = object() if bridge.database.sqlite else "no time at all"
    tasks[1].attempt.started_at = no_time
    for task in tasks:
        with contextlib.suppress(StatementError, DataError):  # its lease runs out
            bridge.inside.settle([task])
    assert sorted(row["status"] for row in bridge.deliveries()) == ["forwarded", "forwarded", "pending"]
    bridge.settle()
    assert {row["status"] for row in bridge.deliveries()} == {"forwarded"}
    assert len(bridge.disputes()) == 3


def test_a_case_that_somebody_else_has_taken_meanwhile_is_left_to_him(bridge: InProcessBridge) -> None:
    taken = claims(bridge, 2)
    bridge.clock.now += bridge.inside.lease + 1
    again = bridge.inside.claim()
    assert [one.case_id for one in again] == [taken[0].case_id]
    assert [one.claim for one in call(bridge.inside.forwarder, taken)] == [taken[1]]


def test_a_store_that_was_just_removed_holds_up_no_other(database_url: str) -> None:
    with bridge_in_process(database_url, tokens={TOKEN: STORE, "beta-token": "beta"}) as bridge:
        for store in (STORE, "beta"):
            bridge.post(bridge.senders.prevention(store=store))
        bridge.inside.translate(2)
        beta = bridge.settings.stores["beta"]
        bridge.inside.forwarder.settings = replace(bridge.settings, stores={"beta": beta})
        bridge.inside.work_off(bridge.inside.claim())
        assert {row["store"]: row["status"] for row in bridge.deliveries()} == {
            STORE: "pending",
            "beta": "forwarded",
        }


def test_what_came_back_is_settled_once_the_database_is_there_again(
    bridge: InProcessBridge, worker: Worker
) -> None:
    settle, failures = worker.forwarder.settle, iter([Unavailable()] * 3)

    def settles(task: Task) -> None:
        for error in failures:
            raise error
        settle(task)

    work_unsettled(bridge, worker, settles)
    assert next(failures, None) is None
    assert [row["status"] for row in bridge.deliveries()] == ["forwarded"]
    assert len(bridge.disputes()) == 1
    assert worker.load.total == 0


def test_what_came_back_is_not_settled_any_more_once_its_lease_is_over(
    bridge: InProcessBridge, worker: Worker
) -> None:
    settle = worker.forwarder.settle
    work_unsettled(bridge, worker, away)
    assert worker.load.total == 0
    worker.forwarder.settle = settle  # type: ignore[method-assign]
    bridge.settle()
    assert [row["status"] for row in bridge.deliveries()] == ["forwarded"]
    assert len(bridge.disputes()) == 1


@pytest.mark.parametrize("name", ["commit_intent", "take_slot"])
def test_a_database_that_fails_between_claim_and_call_gives_the_case_back_at_once(
    bridge: InProcessBridge, worker: Worker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bridge.post(bridge.senders.prevention())
    with monkeypatch.context() as gone:
        gone.setattr(Queue, name, away)
        for _ in range(3):
            worker.run_once(AT_ONCE)
    assert worker.load.total == 0
    before = bridge.clock.now
    work(worker)
    assert [row["status"] for row in bridge.deliveries()] == ["forwarded"]
    assert bridge.clock.now - before < 10, "it does not rest for its lease"


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_a_write_whose_intent_is_old_is_not_sent(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """What a crash leaves of it says until when 29next may be working on it, counted from the intent."""
    (claim,) = claims(bridge, 1)
    task = bridge.inside.forwarder.begin(claim)
    assert task
    now = getattr(time, clock)
    with monkeypatch.context() as stopped:
        stopped.setattr(f"bridge.pace.time.{clock}", lambda: now() + 3)
        bridge.inside.forwarder.send(task)
    assert bridge.next29.ledger.calls == []
    bridge.inside.settle([task])
    bridge.settle()
    assert len(bridge.disputes()) == 1


def test_a_store_has_one_case_at_most_that_waits_for_its_slot(
    bridge: InProcessBridge, worker: Worker
) -> None:
    for _ in range(3):
        bridge.post(bridge.senders.prevention())
    later: list[Callable[[], object]] = []
    submit = staticmethod(lambda function, *given: later.append(partial(function, *given)))
    waiting: Any = type("Pool", (), {"submit": submit})
    worker.run_once(waiting)
    worker.run_once(waiting)
    assert len(later) == 1
    later.pop()()
    worker.run_once(waiting)
    assert len(later) == 1


def test_a_case_whose_slot_lies_far_ahead_is_given_back_and_lets_a_more_urgent_one_go_first(
    database_url: str,
) -> None:
    with bridge_in_process(database_url, rate=4.0) as bridge:
        bridge.post(bridge.senders.rdr())  # in 72 hours
        bridge.inside.translate()
        (early,) = bridge.inside.claim()
        for _ in range(GAPS_AHEAD + 1):  # as other processes take them
            bridge.inside.inbox.slots.take(token_key(bridge.store.token))
        assert bridge.inside.forwarder.begin(early) is None
        bridge.post(bridge.senders.ethoca(case="URGENT"))  # in 24
        bridge.inside.translate()
        bridge.clock.sleep(1)
        assert [one.case.case_number for one in bridge.inside.claim()] == ["URGENT"]
        assert [one.case_id for one in bridge.inside.claim()] == [early.case_id]
        assert bridge.next29.ledger.calls == []


def fill(load: Load, store: str) -> int:
    """Have a store take as many threads as it may; returns how many it has then."""
    while load.free([store]):
        load.begin(store, waits=False)
    return load.under_way[store]


def test_a_store_has_a_share_of_the_threads_that_are_left() -> None:
    load = Load()
    taken = [fill(load, f"store{number}") for number in range(20)]
    assert taken[0] == 7, "an eighth of the 57 that are left"
    assert min(taken) == 1, "some are left for the twentieth, whatever hangs"
    for number in range(20, THREADS):
        fill(load, f"store{number}")
    assert load.total == THREADS, "none lies idle while there is work for it"


def test_a_store_that_does_not_answer_has_one_thread_until_it_does() -> None:
    load = Load()
    for _ in range(UNANSWERED_LIMIT):
        assert load.free(["silent"])
        load.begin("silent", waits=False)
        load.end("silent", answered=False)
    assert fill(load, "silent") == 1
    assert fill(load, "other") == 7
    load.end("silent", answered=None)  # nothing was asked
    assert fill(load, "silent") == 1
    load.end("silent", answered=True)
    assert fill(load, "silent") > 1


@pytest.mark.xdist_group("timing")
def test_however_long_a_lease_takes_to_be_prolonged_the_pages_of_a_list_keep_their_distance(
    database_url: str,
) -> None:
    next29 = StandIn(rate=0, page_size=1)
    with bridge_in_process(database_url, clock=WallClock(), next29=next29, rate=4.0) as bridge:
        for number in range(5):
            next29.add_dispute(case_number=f"A-{number}", type="alert")
        api = bridge.inside.forwarder.api(bridge.store)
        assert len(api.rows("disputes/", {}, before_more=lambda: time.sleep(0.15))) == 5
        at = [call.at for call in next29.ledger.calls]
        assert at[4] - at[0] > 1, "the fifth leaves more than a second after the first"


def test_a_signal_to_end_is_heard_at_any_moment(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above all when a wait for something to do is just over."""
    monkeypatch.setattr(working, "IDLE_SECONDS", 0.002)
    monkeypatch.setattr(worker, "run_once", lambda _: False)
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
from bridge.worker import loop as worker

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
