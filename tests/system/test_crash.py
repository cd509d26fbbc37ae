"""Processes that are killed, stopped, doubled and ended at any moment lose nothing and double nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.crashing import POINTS
from tests.support.running import SHORT, House, Senders, eventually, running

BRIEF = {**SHORT, "SHUTDOWN_SECONDS": -4.0, "LOOK_GAP": 0.5}
WEB_POINTS = [point for point in POINTS if "webhook" in point or "answer" in point]
WORKER_POINTS = [point for point in POINTS if point not in WEB_POINTS]
OUTSIDE_TRANSACTIONS = [point for point in WORKER_POINTS if "before" not in point or "POST" in point]


@pytest.fixture
def house(durable_url: str, tmp_path: Path) -> Iterator[House]:
    """A house where leases and settling are as short as may be."""
    # 29next lets every call in, so that nothing which comes twice hides behind its limit
    with running(
        tmp_path, durable_url, "--rate", "0", timeout=0.5, settle_seconds=0.5, constants=BRIEF
    ) as house:
        yield house


@pytest.fixture
def senders() -> Senders:
    return Senders()


def test_a_web_process_killed_at_any_point_acknowledges_nothing_that_is_not_stored(
    house: House, senders: Senders
) -> None:
    for point in WEB_POINTS:
        house.start_web(at=point)
        sent = senders.prevention()
        assert house.try_post(sent) is None, point
        house.start_web()
        house.deliver(sent)  # as the provider does, whose call was not answered
    house.start_worker()
    house.wait()
    house.audit()
    assert len(house.deliveries()) == len(WEB_POINTS)


def test_workers_killed_at_any_point_leave_one_dispute_for_each_alert(house: House, senders: Senders) -> None:
    house.start_web()
    for point in WORKER_POINTS:
        worker = house.start_worker(at=point)
        house.deliver(senders.prevention())
        assert worker.wait() == -signal.SIGKILL, point
    house.start_worker()
    house.wait()
    house.audit()
    assert len(house.next.disputes()) == len(WORKER_POINTS)


def test_a_worker_killed_in_its_call_leaves_one_dispute(house: House, senders: Senders) -> None:
    house.start(workers=1)
    house.next.add_faults({"name": "hang_after", "method": "POST", "count": 1})
    sent = senders.prevention()
    house.deliver(sent)
    eventually(lambda: house.disputes(sent))
    house.kill_workers()
    house.start_worker()
    house.wait()
    house.audit()


def test_workers_stopped_at_any_point_past_their_leases_do_nothing_twice_when_they_go_on(
    house: House, senders: Senders
) -> None:
    house.start_web()
    for point in OUTSIDE_TRANSACTIONS:
        worker = house.start_worker(at=point, signal="SIGSTOP")
        house.deliver(senders.prevention())
        eventually(worker.is_stopped)
    stopped, house.workers = house.workers, []
    house.start_worker()
    house.wait()
    house.workers += stopped
    for worker in stopped:
        worker.signal(signal.SIGCONT)
    house.workers.pop(0).terminate()
    for _ in stopped:
        house.deliver(senders.prevention())
    house.wait()
    for worker in stopped:
        worker.terminate()
    house.audit()


def test_a_worker_told_to_end_twice_finishes_its_call_first(house: House, senders: Senders) -> None:
    house.start()
    house.next.add_faults({"name": "latency", "seconds": 0.4, "count": 1})
    sent = senders.prevention()
    house.deliver(sent)
    (worker,) = house.workers
    eventually(lambda: house.next.summary()["calls"], every=0.005)
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    house.wait(sent)
    house.audit()


def test_a_web_process_told_to_end_twice_acknowledges_nothing_that_is_not_stored(
    house: House, senders: Senders
) -> None:
    house.start_web()
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(house.deliver, *(senders.prevention() for _ in range(150)))
        eventually(lambda: len(house.accepted) > 10, every=0.001)
        assert house.web
        house.web.signal(signal.SIGTERM)
        assert house.web.terminate() < 15
        assert not posting.done(), "it ended after all were posted"
        house.start_web()
        posting.result()
    house.audit(may_wait=lambda _: True)
    assert len(house.deliveries()) == 150


def test_a_call_that_hangs_holds_up_no_shutdown(house: House, senders: Senders) -> None:
    house.timeout = 60.0
    house.constants = {**BRIEF, "DRAIN_SECONDS": 0.5}
    house.start()
    house.next.add_faults({"name": "hang_after", "count": 1})
    sent = senders.prevention()
    house.deliver(sent)
    eventually(lambda: house.next.summary()["calls"])
    (worker,) = house.workers
    assert worker.terminate() < 15
    assert house.web
    assert house.web.terminate() < 15


def test_generations_that_overlap_and_deliveries_of_one_case_do_nothing_twice(
    house: House, senders: Senders
) -> None:
    house.start(workers=3)
    house.next.add_faults({"name": "latency", "seconds": 0.2})
    for generation in range(2):
        cases = [f"OVER-{generation}-{number}" for number in range(4)]
        house.deliver(
            *(senders.prevention(case=case) for case in cases),
            *(senders.rdr(case=case) for case in cases),
            *(senders.ethoca(case=case) for case in cases),
        )
        for worker in house.workers:
            worker.signal(signal.SIGTERM)
        house.leaving += house.workers
        house.workers = []
        house.start_worker()
        house.start_worker()
    house.wait()
    house.audit()
    assert len(house.next.disputes()) == 8
