"""Processes that are killed, stopped, doubled and ended at any moment lose nothing and double nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.clock import eventually
from tests.support.crashing import POINTS
from tests.support.processes import SHORT, RunningBridge, running_bridge
from tests.support.webhooks import Json, Senders

BRIEF = {**SHORT, "SHUTDOWN_SECONDS": -4.0, "LOOK_GAP": 0.5}
WEB_POINTS = [point for point in POINTS if "webhook" in point or "answer" in point]
REACHED = {
    "before the translation's commit": [],
    "after the translation's commit": ["case"],
    "after the claim": ["case"],
    "before the intent's commit": ["case"],
    "after the intent's commit": ["case", "attempt"],
    "before the POST": ["case", "attempt"],
    "after the POST": ["case", "attempt", "dispute"],
    "before the settlement's commit": ["case", "attempt", "dispute"],
    "after the settlement's commit": ["case", "attempt", "dispute", "answer"],
}
"""What is stored once workers were killed at a point and at all points before it."""
OUTSIDE_TRANSACTIONS = [point for point in REACHED if "before" not in point or "POST" in point]


@pytest.fixture
def bridge(durable_url: str, tmp_path: Path) -> Iterator[RunningBridge]:
    """A bridge where leases and settling are as short as may be."""
    # 29next lets every call in, so that nothing which comes twice hides behind its limit
    with running_bridge(
        tmp_path, durable_url, "--rate", "0", timeout=0.5, settle_seconds=0.5, constants=BRIEF
    ) as bridge:
        yield bridge


@pytest.fixture
def senders() -> Senders:
    return Senders()


def test_a_web_process_killed_at_any_point_acknowledges_nothing_that_is_not_stored(
    bridge: RunningBridge, senders: Senders
) -> None:
    several = [senders.prevention() for _ in WEB_POINTS]
    for point, sent in zip(WEB_POINTS, several, strict=True):
        web = bridge.start_web(at=point).web
        assert bridge.try_post(sent) is None, point
        assert web
        eventually(lambda web=web: "was sent SIGKILL" in web.said())  # type: ignore[misc]
        assert bool(bridge.delivery(sent)) == (point != "before the webhook's commit"), point
    bridge.start_web()
    bridge.deliver(*several)  # as providers do, whose calls were not answered
    bridge.start_worker()
    bridge.wait()
    bridge.audit()
    assert len(bridge.deliveries()) == len(WEB_POINTS)


def reached(bridge: RunningBridge) -> list[str]:
    """How far workers have come with any alert."""
    cases = [bridge.search.case(row["id"]) or {} for row in bridge.search.cases({}).results]
    writes = [call for case in cases for call in case["attempts"] if call["method"] == "POST"]
    there = {
        "case": cases,
        "attempt": writes,
        "dispute": bridge.next29.disputes(),
        "answer": [call for call in writes if call["status"]],
    }
    return [name for name, rows in there.items() if rows]


def test_workers_killed_at_any_point_leave_one_dispute_for_each_alert(
    bridge: RunningBridge, senders: Senders
) -> None:
    bridge.start_web()
    for point, there in REACHED.items():
        worker = bridge.start_worker(at=point)
        bridge.deliver(senders.prevention())
        assert worker.wait() == -signal.SIGKILL, point
        assert reached(bridge) == there, point
    bridge.start_worker()
    bridge.wait()
    bridge.audit()
    assert len(bridge.next29.disputes()) == len(REACHED)


def test_a_worker_killed_in_its_call_leaves_one_dispute(bridge: RunningBridge, senders: Senders) -> None:
    bridge.start(workers=1)
    bridge.next29.add_faults({"name": "hang_after", "method": "POST", "count": 1})
    sent = senders.prevention()
    bridge.deliver(sent)
    eventually(lambda: bridge.disputes(sent))
    bridge.kill_workers()
    assert bridge.next29.summary()["by_fault"] == {"hang_after": 1}
    assert bridge.delivery(sent)["status"] == "pending"
    bridge.start_worker()
    bridge.wait()
    bridge.audit()


def test_workers_stopped_at_any_point_past_their_leases_do_nothing_twice_when_they_go_on(
    bridge: RunningBridge, senders: Senders
) -> None:
    bridge.start_web()
    for point in OUTSIDE_TRANSACTIONS:
        worker = bridge.start_worker(at=point, signal="SIGSTOP")
        bridge.deliver(senders.prevention())
        eventually(worker.is_stopped)
    stopped, bridge.workers = bridge.workers, []
    bridge.start_worker()
    bridge.wait()
    bridge.workers += stopped
    for worker in stopped:
        worker.signal(signal.SIGCONT)
    bridge.workers.pop(0).terminate()
    for _ in stopped:
        bridge.deliver(senders.prevention())
    bridge.wait()
    for worker in stopped:
        worker.terminate()
    bridge.audit()


def test_a_worker_told_to_end_twice_finishes_its_call_first(bridge: RunningBridge, senders: Senders) -> None:
    bridge.timeout = 5.0
    bridge.start()
    bridge.next29.add_faults({"name": "latency", "seconds": 1.0, "count": 1})
    sent = senders.prevention()
    bridge.deliver(sent)
    (worker,) = bridge.workers

    def at_work() -> Json:
        told = bridge.next29.summary()
        return told if told["by_fault"].get("latency") else {}

    assert eventually(at_work, every=0.005)["committed"] == {}
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    bridge.wait(sent)
    bridge.audit()


def test_a_web_process_told_to_end_twice_acknowledges_nothing_that_is_not_stored(
    bridge: RunningBridge, senders: Senders
) -> None:
    bridge.start_web()
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(bridge.deliver, *(senders.prevention() for _ in range(150)))
        eventually(lambda: len(bridge.accepted) > 10, every=0.001)
        assert bridge.web
        bridge.web.signal(signal.SIGTERM)
        assert bridge.web.terminate() < 15
        assert not posting.done(), "it ended after all were posted"
        bridge.start_web()
        posting.result()
    bridge.audit(may_wait=lambda _: True)
    assert len(bridge.deliveries()) == 150


def test_calls_that_hang_hold_up_no_shutdown(bridge: RunningBridge, senders: Senders) -> None:
    bridge.timeout = 60.0
    bridge.constants = {**BRIEF, "DRAIN_SECONDS": 0.5}
    bridge.start()
    bridge.next29.add_faults({"name": "hang_after"})
    bridge.deliver(*(senders.prevention() for _ in range(3)))
    eventually(lambda: bridge.next29.summary()["calls"] == 3)
    (worker,) = bridge.workers
    assert worker.terminate() < 15
    assert bridge.web
    assert bridge.web.terminate() < 15


def test_generations_that_overlap_and_deliveries_of_one_case_do_nothing_twice(
    bridge: RunningBridge, senders: Senders
) -> None:
    bridge.start(workers=3)
    bridge.next29.add_faults({"name": "latency", "seconds": 0.2})
    for generation in range(2):
        cases = [f"OVER-{generation}-{number}" for number in range(4)]
        bridge.deliver(
            *(senders.prevention(case=case) for case in cases),
            *(senders.rdr(case=case) for case in cases),
            *(senders.ethoca(case=case) for case in cases),
        )
        for worker in bridge.workers:
            worker.signal(signal.SIGTERM)
        bridge.leaving += bridge.workers
        bridge.workers = []
        bridge.start_worker()
        bridge.start_worker()
    bridge.wait()
    bridge.audit()
    assert len(bridge.next29.disputes()) == 8
