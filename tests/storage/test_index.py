"""The local index: what it finds for an alert, and when that is everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from bridge.alert import Alert
from bridge.storage.database import Database
from bridge.storage.inbox import Inbox
from bridge.storage.transactions import MOST_FOUND, UNDISPUTED, Transactions
from tests.support.clock import DAY, HOUR, NOON
from tests.support.sales import sold
from tests.support.webhooks import Json

STORE = "example"
NOW = NOON.timestamp()


@pytest.fixture
def inbox(database_url: str) -> Iterator[Inbox]:
    with closing(Database(database_url, clock=lambda: NOW)) as database:
        yield Inbox(database, gap=0.0, lease=60.0)


@pytest.fixture
def index(inbox: Inbox) -> Transactions:
    return inbox.transactions


def alert(**facts: Any) -> Alert:
    known = {"amount": Decimal("40.00"), "currency": "USD", "happened_at": NOON, **facts}
    return Alert(case_number="C-1", **known)


def found(index: Transactions, store: str = STORE, **facts: Any) -> list[int]:
    return sorted(row["id"] for row in index.look_up(store, alert(**facts), NOW)[0])


@pytest.mark.parametrize(
    "facts",
    [
        {"order": "1701"},
        {"order": "#1701"},
        {"external_id": "pi_0000000000007001"},
        {"network_transaction_id": "300000000007001"},
        {"auth_code": "a1b2c3"},
        {"card_first_six": "424242", "card_last_four": "0042"},
    ],
)
def test_a_transaction_is_found_by_each_of_its_facts(inbox: Inbox, facts: Json) -> None:
    inbox.cases.add_transactions(
        STORE,
        [
            sold(),
            sold(
                id=1,
                order="1",
                auth_code="Z",
                external_id="z",
                network_transaction_id="3",
                payment_details={},
            ),
        ],
    )
    assert found(inbox.transactions, **facts) == [7001]
    assert found(inbox.transactions, "another", **facts) == []


def test_half_a_card_finds_nothing(inbox: Inbox) -> None:
    inbox.cases.add_transactions(STORE, [sold()])
    assert found(inbox.transactions, card_last_four="0042") == []


def test_the_whole_payment_is_found_by_any_part_of_it(inbox: Inbox) -> None:
    bare: Json = {
        "auth_code": None,
        "external_id": None,
        "network_transaction_id": None,
        "payment_details": {},
    }
    payment = [
        sold(id=1, type="authorize"),
        sold(id=2, parent_id=1, **bare, order=None),
        sold(id=3, parent_id=1, **bare, order=None),
        sold(id=4, type="refund", parent_id=3, **{**bare, "external_id": "re_1"}, order=None),
    ]
    inbox.cases.add_transactions(STORE, payment)
    assert found(inbox.transactions, auth_code="A1B2C3") == [1, 2, 3, 4]
    assert found(inbox.transactions, external_id="re_1") == [1, 2, 3, 4]
    (read,) = [row for row in payment if row["id"] == 4]
    assert sorted(row["id"] for row in inbox.transactions.with_family(STORE, [read])) == [1, 2, 3, 4]


def covers(index: Transactions, **facts: Any) -> bool:
    return index.look_up(STORE, alert(**facts), NOW)[1]


def test_without_anything_read_nothing_is_certain(index: Transactions) -> None:
    assert not covers(index, transaction_at=NOON - timedelta(days=10))


def test_only_a_stretch_that_holds_all_the_days_counts(index: Transactions) -> None:
    index.cover(STORE, NOW - 20 * DAY, NOW - 10 * DAY)
    assert covers(index, transaction_at=NOON - timedelta(days=15))
    assert not covers(index, transaction_at=NOON - timedelta(days=17))
    assert not covers(index, transaction_at=NOON - timedelta(days=13))
    assert not covers(index)  # 180 days, where the sale's day is not told
    index.cover(STORE, NOW - 9 * DAY, NOW)  # a gap of a day
    assert not covers(index, transaction_at=NOON - timedelta(days=12))
    index.cover(STORE, NOW - 10 * DAY, NOW - 9 * DAY)
    assert index.covered(STORE) == [(NOW - 20 * DAY, NOW)]
    assert covers(index, transaction_at=NOON - timedelta(days=12))
    index.cover(STORE, NOW - 200 * DAY, NOW - 20 * DAY)
    assert covers(index)


@pytest.mark.parametrize(("behind", "certain"), [(UNDISPUTED - 1, True), (UNDISPUTED + 1, False)])
def test_a_sale_of_the_last_hours_is_not_disputed_yet(
    index: Transactions, behind: float, certain: bool
) -> None:
    index.cover(STORE, NOW - 30 * DAY, NOW - behind)
    assert covers(index, transaction_at=NOON - timedelta(days=1)) is certain


def test_what_is_in_doubt_is_left_out_and_makes_the_rest_uncertain(inbox: Inbox) -> None:
    inbox.transactions.cover(STORE, NOW - 300 * DAY, NOW)
    inbox.cases.add_transactions(STORE, [sold()])
    assert covers(inbox.transactions, auth_code="A1B2C3")
    inbox.cases.add_transactions(STORE, [sold(status="failed")])
    assert found(inbox.transactions, auth_code="A1B2C3") == []
    assert not covers(inbox.transactions, auth_code="A1B2C3")
    inbox.cases.add_transactions(STORE, [sold()], certain=True)
    assert found(inbox.transactions, auth_code="A1B2C3") == [7001]


def test_of_a_fact_that_too_many_share_nothing_is_certain(inbox: Inbox) -> None:
    inbox.transactions.cover(STORE, NOW - 300 * DAY, NOW)
    inbox.cases.add_transactions(STORE, [sold(id=number, order=None) for number in range(1, MOST_FOUND + 2)])
    assert not covers(inbox.transactions, auth_code="A1B2C3")


def test_each_alert_gets_what_its_own_facts_name_in_its_own_store(inbox: Inbox) -> None:
    other: Json = {"external_id": None, "network_transaction_id": None, "payment_details": {}}
    inbox.transactions.cover(STORE, NOW - 300 * DAY, NOW)
    inbox.cases.add_transactions(STORE, [sold(), sold(id=1, order="1", auth_code="Z", **other)])
    inbox.cases.add_transactions("another", [sold(id=2)])
    inbox.cases.add_transactions(
        STORE, [sold(id=3, type="refund", parent_id=1, order=None, auth_code=None, **other)]
    )
    sought = [
        (STORE, alert(auth_code="A1B2C3")),
        ("another", alert(auth_code="A1B2C3")),
        (STORE, alert()),
        (STORE, alert(order="1", auth_code="Z")),
    ]
    answers = [inbox.transactions.look_up(store, one, NOW) for store, one in sought]
    assert [sorted(row["id"] for row in rows) for rows, _ in answers] == [[7001], [2], [], [1, 3]]
    assert [whole for _, whole in answers] == [True, False, True, True]


def test_of_what_too_many_share_only_some_are_shown(inbox: Inbox) -> None:
    inbox.transactions.cover(STORE, NOW - 300 * DAY, NOW)
    inbox.cases.add_transactions(
        STORE, [sold(id=number, order=None) for number in range(1, 2 * MOST_FOUND + 9)]
    )
    many, is_whole = inbox.transactions.look_up(STORE, alert(auth_code="A1B2C3"), NOW)
    assert (len(many), is_whole) == (MOST_FOUND, False)


def test_a_card_s_many_transactions_of_long_ago_do_not_count_but_those_of_an_id_do(inbox: Inbox) -> None:
    inbox.transactions.cover(STORE, NOW - 300 * DAY, NOW)
    old = {"date_created": "2020-02-28T12:00:00Z", "order": None, "auth_code": "OLD001"}
    inbox.cases.add_transactions(STORE, [sold(id=number, **old) for number in range(1, MOST_FOUND + 2)])
    inbox.cases.add_transactions(STORE, [sold()])
    card = {"card_first_six": "424242", "card_last_four": "0042"}
    assert found(inbox.transactions, **card) == [7001]
    assert covers(inbox.transactions, **card)
    assert (
        len(found(inbox.transactions, auth_code="OLD001")) == MOST_FOUND
    )  # to be shown, and why they are not it


def test_what_another_store_has_whole_is_nothing_to_this_one(index: Transactions) -> None:
    index.cover("another", NOW - 300 * DAY, NOW)
    assert not covers(index)


def test_of_a_payment_that_was_read_the_parts_in_doubt_are_left_out(inbox: Inbox) -> None:
    inbox.cases.add_transactions(STORE, [sold(id=3)])
    inbox.cases.add_transactions(STORE, [sold(id=3, status="failed")])
    refund = sold(id=4, type="refund", parent_id=3)
    assert [row["id"] for row in inbox.transactions.with_family(STORE, [refund])] == [4]


def test_a_turn_is_taken_by_one(index: Transactions) -> None:
    assert [index.take_turn(STORE, NOW), index.take_turn(STORE, NOW)] == [True, False]
    assert index.take_turn(STORE, NOW + HOUR)
    assert index.take_turn("another", NOW)


def test_old_transactions_are_removed_in_small_steps_and_are_no_longer_thought_to_be_all(
    inbox: Inbox, index: Transactions
) -> None:
    rows = [
        sold(id=7000 + day, date_created=(NOON - timedelta(days=90 - day)).isoformat()) for day in range(90)
    ]
    inbox.cases.add_transactions(STORE, rows)
    index.cover(STORE, NOW - 90 * DAY, NOW - 60 * DAY)
    index.cover(STORE, NOW - 50 * DAY, NOW)
    before = NOW - 40 * DAY
    assert [index.drop(STORE, before, 30) for _ in range(3)] == [30, 20, 0]
    ((since, until),) = index.covered(STORE)
    assert (until, since % DAY) == (NOW, 12 * HOUR)  # whole days, wherever the store's begin
    assert before + 26 * HOUR <= since <= before + 50 * HOUR
    assert index.drop("another", NOW, 30) == 0
    assert found(index, order="1701") == [7000 + day for day in range(50, 90)]
