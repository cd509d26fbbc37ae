"""Clocks that are ten minutes off, or set while the bridge runs, lose nothing and double nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.support.desk import desk, work_off
from tests.support.running import House, Senders, eventually, running

pytestmark = pytest.mark.xdist_group("timing")


def set_clock(clock: Path, seconds: float) -> str:
    """Let the processes that look at this file be off by so much; returns its path."""
    new = clock.with_suffix(".new")
    new.write_text(str(seconds), encoding="ascii")
    new.replace(clock)
    return str(clock)


def test_workers_whose_own_clocks_are_off_share_the_database_s(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    senders, stores = Senders(), ("alpha", "beta")
    with make_database("postgres") as url, running(tmp_path, url, stores=stores) as house:
        for seconds in (-600, 0):
            house.start_worker(clock=set_clock(tmp_path / f"{seconds}", seconds))
        house.start_web(clock=set_clock(tmp_path / "web", 600))
        house.next.add_faults(
            *({"name": name, "method": "POST", "count": 2} for name in ("hang_after", "429"))
        )
        house.deliver(*(senders.any(store) for _ in range(3) for store in stores))
        house.wait()
        house.audit()
        assert len(house.next.disputes()) == 6


def more_than(calls: int, house: House) -> bool:
    """Whether 29next was called more often than this."""
    return len(house.next.ledger()["calls"]) > calls


def test_a_clock_that_is_set_while_calls_are_under_way_loses_and_doubles_nothing(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    senders, clock = Senders(), tmp_path / "clock"
    with make_database("sqlite") as url, running(tmp_path, url) as house:
        house.start_web(clock=set_clock(clock, 0))
        for _ in range(2):
            house.start_worker(clock=str(clock))
        house.next.add_faults({"name": "latency", "seconds": 0.5})
        for seconds in (-600, 0, 600):
            house.deliver(*(senders.prevention() for _ in range(3)))
            calls = len(house.next.ledger()["calls"])
            eventually(partial(more_than, calls, house))
            set_clock(clock, seconds)
            new = senders.prevention()
            house.deliver(new)
            house.wait(new)  # though others may wait until the clock is there again
        house.wait()
        house.audit()
        assert len(house.next.disputes()) == 12


def test_no_call_waits_for_the_clock_to_be_there_again(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, desk(url) as light:
        light.post(light.senders.prevention())
        light.inbox.translate(light.judge.verdict, 1)
        (claim,) = light.inbox.claim(list(light.settings.stores))
        light.clock.now -= 600
        before = light.clock.now
        work_off(light.forwarder, [claim])
        assert not light.disputes()
        assert light.clock.now < before + 5
        light.clock.now += 600 + light.inbox.lease
        light.work()
        assert len(light.disputes()) == 1
