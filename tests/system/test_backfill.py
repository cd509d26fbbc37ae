"""Filling the index from 29next's list: whole, in the slots that are left, and again where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bridge.errors import MissingScope, TemporaryError
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY, HOUR, NOON, Clock
from tests.support.inside import rows
from tests.support.next29 import STORE, TOKEN, Does, Fault, StandIn, fault

SALES = 57
WHOLE = 13
"""Pages in which all of them are read, five on each."""


@pytest.fixture
def bridge(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    clock = Clock()
    sold = [
        {"date_created": (NOON - timedelta(hours=5 * number)).isoformat(), "auth_code": f"A{number:05}"}
        for number in range(SALES)
    ]
    next29 = StandIn(rate=0, page_size=5, transactions=sold, clock=clock)
    with make_database("sqlite") as url, bridge_in_process(url, clock=clock, next29=next29) as made:
        yield made


def backfill(bridge: InProcessBridge, days: int = 12) -> tuple[int, list[str]]:
    said: list[str] = []
    return bridge.inside.backfill(bridge.api, bridge.store, report=said.append).run(days), said


def count(bridge: InProcessBridge) -> int:
    return len(rows(bridge.database, "transactions"))


def test_everything_is_read_and_covered_and_progress_is_shown(bridge: InProcessBridge) -> None:
    with bridge.counted() as calls:
        fresh, said = backfill(bridge)
    assert fresh == count(bridge) == SALES
    assert len(calls) == WHOLE
    ((since, until),) = bridge.inside.index.covered(STORE)
    assert since <= NOON.timestamp() - 12 * DAY
    assert NOON.timestamp() - HOUR < until <= bridge.clock.now
    assert len(said) < 8
    assert "(12 of 12 days)" in said[-1]


def test_a_backfill_beside_what_was_removed_covers_nothing_that_is_not_there(bridge: InProcessBridge) -> None:
    bridge.next29.stores[STORE].transactions.by_id.clear()
    for hours in reversed(range(24 * 40)):
        sold_at = NOON - timedelta(hours=hours + 1)
        bridge.next29.add_transaction(STORE, date_created=sold_at.isoformat(), auth_code=f"B{hours:05}")
    backfill(bridge, 40)
    bridge.clock.now = NOON.timestamp() + 21 * HOUR
    while bridge.inside.index.drop(STORE, bridge.clock.now - 30 * DAY, 500):
        pass
    backfill(bridge, 40)
    covered = bridge.inside.index.covered(STORE)
    kept = {round(row.created_at) for row in rows(bridge.database, "transactions")}
    sold = [NOON.timestamp() - HOUR * (hours + 1) for hours in range(24 * 40)]
    within = [moment for moment in sold if any(since <= moment <= until for since, until in covered)]
    assert len(within) > 24 * 38
    assert [moment for moment in within if round(moment) not in kept] == []


def test_empty_days_cost_next_to_nothing(bridge: InProcessBridge) -> None:
    with bridge.counted() as calls:
        backfill(bridge, 400)
    assert count(bridge) == SALES
    assert len(calls) <= WHOLE + 5
    assert bridge.inside.index.covered(STORE)[0][0] <= NOON.timestamp() - 400 * DAY


def test_of_a_stretch_with_too_many_pages_only_its_last_days_are_read_at_once(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.worker.backfill.MOST_PAGES", 4)
    for number in range(60):
        sold_at = NOON - timedelta(days=30 + number % 3, minutes=number)
        bridge.next29.add_transaction(STORE, date_created=sold_at.isoformat())
    backfill(bridge, 40)
    assert count(bridge) == SALES + 60
    assert len(bridge.inside.index.covered(STORE)) == 1


def test_test_transactions_are_left_out(bridge: InProcessBridge) -> None:
    bridge.next29.add_transaction(STORE, is_test=True, date_created=NOON.isoformat())
    assert backfill(bridge)[0] == SALES


def test_a_second_run_reads_only_what_is_new(bridge: InProcessBridge) -> None:
    backfill(bridge)
    with bridge.counted() as calls:
        assert backfill(bridge)[0] == 0
    assert len(calls) == 2
    with bridge.counted() as calls:
        backfill(bridge, 15)  # further back
    assert count(bridge) == SALES
    assert len(calls) == 4


def test_a_run_that_was_stopped_goes_on_where_it_was(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(fault("403", path="/transactions/", nth=8, count=1))
    with pytest.raises(MissingScope, match="transactions:read"):
        backfill(bridge)
    assert bridge.inside.index.covered(STORE)
    before = count(bridge)
    assert 0 < before < SALES
    with bridge.counted() as calls:
        assert backfill(bridge)[0] == SALES - before
    assert count(bridge) == SALES
    assert len(calls) == WHOLE - 3  # the day of today is read anew


@pytest.mark.parametrize(
    "trouble",
    [
        fault("429", probability=0.5),
        fault("429_huge", nth=3, count=1),
        fault("500", probability=0.3),
        fault("reset", probability=0.3),
        Fault(Does.ANSWER, status=200, body='{"next": null, "resul', probability=0.3),
        Fault(Does.ANSWER, status=200, body='{"results": "none"}', probability=0.3),
        Fault(Does.ANSWER, status=404, body='{"detail": "Invalid cursor"}', nth=2),
        Fault(Does.ANSWER, status=200, body='{"results": [], "next": "http://x/?cursor=gone"}', nth=1),
    ],
    ids=["429 storm", "429 huge", "500", "reset", "half a page", "no page", "cursor lost", "cursor gone"],
)
def test_trouble_loses_nothing(bridge: InProcessBridge, trouble: Fault) -> None:
    bridge.next29.add_faults(trouble)
    backfill(bridge)
    assert trouble.label in {call.fault for call in bridge.next29.ledger.calls}
    assert count(bridge) == SALES
    assert len(bridge.inside.index.covered(STORE)) == 1


def test_trouble_without_end_ends_the_run_and_keeps_what_was_read(bridge: InProcessBridge) -> None:
    backfill(bridge, 3)
    before, covered = count(bridge), bridge.inside.index.covered(STORE)
    bridge.next29.add_faults(fault("500"))
    with pytest.raises(TemporaryError, match="answered 500"):
        backfill(bridge)
    assert (count(bridge), bridge.inside.index.covered(STORE)) == (before, covered)


def test_a_missing_scope_is_named(bridge: InProcessBridge) -> None:
    bridge.next29.add_token(TOKEN, STORE, scopes=["disputes:read", "disputes:write"])
    with pytest.raises(MissingScope, match="store sandbox lacks the scope transactions:read"):
        backfill(bridge)


def test_a_list_that_goes_round_in_a_circle_is_left(bridge: InProcessBridge) -> None:
    circle = '{"results": [], "next": "http://x/api/admin/transactions/?cursor=same"}'
    bridge.next29.add_faults(Fault(Does.ANSWER, status=200, body=circle))
    with pytest.raises(TemporaryError, match="repeats itself"):
        backfill(bridge)


def test_disputes_go_before_every_page(bridge: InProcessBridge) -> None:
    bridge.inside.set_gap(0.26)  # without a limit, pages are in nobody's way
    bridge.post(bridge.senders.prevention())
    bridge.inside.translate()
    before = bridge.clock.now

    def sleep(seconds: float) -> None:
        bridge.clock.sleep(seconds)
        if bridge.clock.now > before + 1:
            bridge.work()  # the worker, in its own process

    with bridge.counted() as calls:
        bridge.inside.backfill(bridge.api, bridge.store, sleep=sleep).read_new()
    assert calls[0] == "POST /disputes/"


def test_where_disputes_want_every_slot_a_page_takes_one_now_and_then(bridge: InProcessBridge) -> None:
    bridge.inside.set_gap(0.26)
    bridge.post(bridge.senders.prevention())
    bridge.inside.translate()  # and nobody works on it
    before = bridge.clock.now
    with bridge.counted() as calls:
        bridge.inside.backfill(bridge.api, bridge.store).read_new()
    assert bridge.clock.now - before >= 10 * len(calls)


def test_what_is_new_is_read_every_hour_so_that_a_lost_webhook_leaves_no_gap(bridge: InProcessBridge) -> None:
    backfill(bridge)
    bridge.clock.sleep(2 * HOUR)
    assert bridge.inside.index.stores_behind(bridge.clock.now) == [STORE]
    bridge.next29.add_transaction(STORE, auth_code="NEW001", date_created=bridge.clock.iso)
    assert bridge.inside.read_new(STORE) is True
    assert bridge.inside.read_new(STORE) is None  # another worker's turn
    assert count(bridge) == SALES + 1
    assert bridge.inside.index.stores_behind(bridge.clock.now) == []


def test_after_a_gap_both_stretches_are_known_until_it_is_read(bridge: InProcessBridge) -> None:
    backfill(bridge, 2)
    bridge.clock.sleep(8 * DAY)
    bridge.inside.backfill(bridge.api, bridge.store).read_new((NOON + timedelta(days=7)).date())
    assert len(bridge.inside.index.covered(STORE)) == 2
    backfill(bridge, 10)
    assert len(bridge.inside.index.covered(STORE)) == 1
