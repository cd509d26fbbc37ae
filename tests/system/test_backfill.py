"""Filling the index from 29next's list: whole, in the slots that are left, and again where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from bridge.backfill import Backfill
from bridge.errors import MissingScope, TemporaryError
from bridge.sandbox import STORE, TOKEN, Does, Fault, Sandbox, fault
from bridge.tables import transactions
from tests.conftest import MakeDatabase
from tests.support.desk import DAY, HOUR, NOON, Clock, Desk, desk

SALES = 57


@pytest.fixture
def shop(make_database: MakeDatabase) -> Iterator[Desk]:
    clock = Clock()
    sold = [
        {"date_created": (NOON - timedelta(hours=5 * number)).isoformat(), "auth_code": f"A{number:05}"}
        for number in range(SALES)
    ]
    sandbox = Sandbox(rate=0, page_size=5, transactions=sold, clock=clock)
    with make_database("sqlite") as url, desk(url, clock=clock, sandbox=sandbox) as made:
        yield made


def backfill(shop: Desk, days: int = 12) -> tuple[int, list[str]]:
    said: list[str] = []
    return Backfill(shop.inbox, shop.api, shop.store, tell=said.append, sleep=shop.clock.sleep).run(
        days
    ), said


def count(shop: Desk) -> int:
    with shop.database.read() as connection:
        return connection.execute(select(func.count()).select_from(transactions)).scalar_one()


def test_everything_is_read_and_covered_and_progress_is_shown(shop: Desk) -> None:
    fresh, said = backfill(shop)
    assert fresh == count(shop) == SALES
    ((since, until),) = shop.inbox.index.covered(STORE)
    assert since <= NOON.timestamp() - 12 * DAY
    assert NOON.timestamp() - HOUR < until <= shop.clock.now
    assert len(said) < 8
    assert "(12 of 12 days)" in said[-1]


def test_a_backfill_beside_what_was_removed_covers_nothing_that_is_not_there(shop: Desk) -> None:
    shop.sandbox.stores[STORE].transactions.by_id.clear()
    for hours in reversed(range(24 * 40)):
        sold_at = NOON - timedelta(hours=hours + 1)
        shop.sandbox.add_transaction(STORE, date_created=sold_at.isoformat(), auth_code=f"B{hours:05}")
    backfill(shop, 40)
    shop.clock.now = NOON.timestamp() + 21 * HOUR
    while shop.inbox.index.drop(STORE, shop.clock.now - 30 * DAY, 500):
        pass
    backfill(shop, 40)
    covered = shop.inbox.index.covered(STORE)
    with shop.database.read() as connection:
        kept = {round(moment) for moment in connection.execute(select(transactions.c.created_at)).scalars()}
    sold = [NOON.timestamp() - HOUR * (hours + 1) for hours in range(24 * 40)]
    within = [moment for moment in sold if any(since <= moment <= until for since, until in covered)]
    assert len(within) > 24 * 38
    assert [moment for moment in within if round(moment) not in kept] == []


def test_empty_days_cost_next_to_nothing(shop: Desk) -> None:
    with shop.counted() as calls:
        backfill(shop, 400)
    assert count(shop) == SALES
    assert len(calls) < SALES / 5 + 20
    assert shop.inbox.index.covered(STORE)[0][0] <= NOON.timestamp() - 400 * DAY


def test_of_a_stretch_with_too_many_pages_only_its_last_days_are_read_at_once(
    shop: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.backfill.MOST_PAGES", 4)
    for number in range(60):
        sold_at = NOON - timedelta(days=30 + number % 3, minutes=number)
        shop.sandbox.add_transaction(STORE, date_created=sold_at.isoformat())
    backfill(shop, 40)
    assert count(shop) == SALES + 60
    assert len(shop.inbox.index.covered(STORE)) == 1


def test_test_transactions_are_left_out(shop: Desk) -> None:
    shop.sandbox.add_transaction(STORE, is_test=True, date_created=NOON.isoformat())
    assert backfill(shop)[0] == SALES


def test_a_second_run_reads_only_what_is_new(shop: Desk) -> None:
    backfill(shop)
    with shop.counted() as calls:
        assert backfill(shop)[0] == 0
    assert len(calls) < 5
    with shop.counted() as calls:
        backfill(shop, 15)  # further back
    assert count(shop) == SALES
    assert len(calls) < 8


def test_a_run_that_was_stopped_goes_on_where_it_was(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("403", path="/transactions/", nth=8, count=1))
    with pytest.raises(MissingScope):
        backfill(shop)
    assert shop.inbox.index.covered(STORE)
    before = count(shop)
    assert 0 < before < SALES
    backfill(shop)
    assert count(shop) == SALES


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
def test_trouble_loses_nothing(shop: Desk, trouble: Fault) -> None:
    shop.sandbox.add_faults(trouble)
    backfill(shop)
    assert count(shop) == SALES
    assert len(shop.inbox.index.covered(STORE)) == 1


def test_trouble_without_end_ends_the_run_and_keeps_what_was_read(shop: Desk) -> None:
    backfill(shop, 3)
    before, covered = count(shop), shop.inbox.index.covered(STORE)
    shop.sandbox.add_faults(fault("500"))
    with pytest.raises(TemporaryError):
        backfill(shop)
    assert (count(shop), shop.inbox.index.covered(STORE)) == (before, covered)


def test_a_missing_scope_is_named(shop: Desk) -> None:
    shop.sandbox.add_token(TOKEN, STORE, scopes=["disputes:read", "disputes:write"])
    with pytest.raises(MissingScope, match="store sandbox lacks the scope transactions:read"):
        backfill(shop)


def test_a_list_that_goes_round_in_a_circle_is_left(shop: Desk) -> None:
    circle = '{"results": [], "next": "http://x/api/admin/transactions/?cursor=same"}'
    shop.sandbox.add_faults(Fault(Does.ANSWER, status=200, body=circle))
    with pytest.raises(TemporaryError, match="circle"):
        backfill(shop)


def test_disputes_go_before_every_page(shop: Desk) -> None:
    shop.inbox.gap = 0.26  # without a limit, pages are in nobody's way
    shop.post(shop.senders.prevention())
    shop.inbox.translate(shop.judge.verdict, 50)
    before = shop.clock.now

    def sleep(seconds: float) -> None:
        shop.clock.sleep(seconds)
        if shop.clock.now > before + 1:
            shop.work()  # the worker, in its own process

    with shop.counted() as calls:
        Backfill(shop.inbox, shop.api, shop.store, sleep=sleep).keep_up()
    assert calls[0] == "POST /disputes/"


def test_where_disputes_want_every_slot_a_page_takes_one_now_and_then(shop: Desk) -> None:
    shop.inbox.gap = 0.26
    shop.post(shop.senders.prevention())
    shop.inbox.translate(shop.judge.verdict, 50)  # and nobody works on it
    before = shop.clock.now
    with shop.counted() as calls:
        Backfill(shop.inbox, shop.api, shop.store, sleep=shop.clock.sleep).keep_up()
    assert shop.clock.now - before >= 10 * len(calls)


def test_what_is_new_is_read_every_hour_so_that_a_lost_webhook_leaves_no_gap(shop: Desk) -> None:
    backfill(shop)
    shop.clock.sleep(2 * HOUR)
    assert shop.inbox.index.behind(shop.clock.now) == [STORE]
    shop.sandbox.add_transaction(STORE, auth_code="NEW001", date_created=shop.clock.iso)
    assert shop.forwarder.keep_up(STORE, lambda: False) == "ok"
    assert shop.forwarder.keep_up(STORE, lambda: False) == "lost"  # another worker's turn
    assert count(shop) == SALES + 1
    assert shop.inbox.index.behind(shop.clock.now) == []


def test_after_a_gap_both_stretches_are_known_until_it_is_read(shop: Desk) -> None:
    backfill(shop, 2)
    shop.clock.sleep(8 * DAY)
    Backfill(shop.inbox, shop.api, shop.store, sleep=shop.clock.sleep).keep_up(
        (NOON + timedelta(days=7)).date()
    )
    assert len(shop.inbox.index.covered(STORE)) == 2
    backfill(shop, 10)
    assert len(shop.inbox.index.covered(STORE)) == 1
