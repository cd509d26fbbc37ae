"""Clocks that are ten minutes off, or set while the bridge runs, lose nothing and double nothing."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import bridge_in_process
from tests.support.clock import eventually
from tests.support.processes import RunningBridge, running_bridge
from tests.support.webhooks import Senders, Sent

pytestmark = pytest.mark.xdist_group("timing")


def set_clock(clock: Path, seconds: float) -> str:
    """Let the processes that look at this file be off by so much; returns its path."""
    new = clock.with_suffix(".new")
    new.write_text(str(seconds), encoding="ascii")
    new.replace(clock)
    return str(clock)


def how_far_off(bridge: RunningBridge, sent: Sent) -> float:
    """Seconds by which a webhook was received later than now."""
    return datetime.fromisoformat(bridge.delivery(sent)["received_at"]).timestamp() - time.time()


def test_workers_whose_own_clocks_are_off_share_the_database_s(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    senders, stores = Senders(), ("alpha", "beta")
    with make_database("postgres") as url, running_bridge(tmp_path, url, stores=stores) as bridge:
        for seconds in (-600, 0):
            bridge.start_worker(clock=set_clock(tmp_path / f"{seconds}", seconds))
        bridge.start_web(clock=set_clock(tmp_path / "web", 600))
        bridge.next29.add_faults(
            *({"name": name, "method": "POST", "count": 2} for name in ("hang_after", "429"))
        )
        several = [senders.any(store) for _ in range(3) for store in stores]
        bridge.deliver(*several)
        bridge.wait()
        bridge.audit()
        assert bridge.next29.summary()["by_fault"] == {"hang_after": 2, "429": 2}
        assert [how_far_off(bridge, one) for one in several] == [pytest.approx(0, abs=100)] * 6
        assert len(bridge.next29.disputes()) == 6


def more_than(calls: int, bridge: RunningBridge) -> bool:
    """Whether 29next was called more often than this."""
    return len(bridge.next29.ledger()["calls"]) > calls


def test_a_clock_that_is_set_while_calls_are_under_way_loses_and_doubles_nothing(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    senders, clock = Senders(), tmp_path / "clock"
    with make_database("sqlite") as url, running_bridge(tmp_path, url) as bridge:
        bridge.start_web(clock=set_clock(clock, 0))
        for _ in range(2):
            bridge.start_worker(clock=str(clock))
        bridge.next29.add_faults({"name": "latency", "seconds": 0.5})
        for seconds in (-600, 0, 600):
            bridge.deliver(*(senders.prevention() for _ in range(3)))
            calls = len(bridge.next29.ledger()["calls"])
            eventually(partial(more_than, calls, bridge))
            set_clock(clock, seconds)
            new = senders.prevention()
            bridge.deliver(new)
            assert how_far_off(bridge, new) == pytest.approx(seconds, abs=100)
            bridge.wait(new)  # though others may wait until the clock is there again
        bridge.wait()
        bridge.audit()
        assert len(bridge.next29.disputes()) == 12


def test_no_call_waits_for_the_clock_to_be_there_again(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, bridge_in_process(url) as light:
        light.post(light.senders.prevention())
        light.inside.translate(1)
        (claim,) = light.inside.claim()
        light.clock.now -= 600
        before = light.clock.now
        light.inside.work_off([claim])
        assert light.clock.now < before + 5
        light.work()
        light.clock.now += 600 + light.inside.lease
        light.work()
        assert len(light.disputes()) == 1
