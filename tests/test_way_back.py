"""What 29next tells back: transactions that come later, disputes that others made, and one dispute a sale."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bridge.sandbox import STORE
from tests.desk import DAY, HOUR, Desk, Json, desk

CARD = {"bankcard_first_six": "424242", "bankcard_last_four": "0042"}


@pytest.fixture
def shop(database_url: str) -> Iterator[Desk]:
    with desk(database_url) as made:
        yield made


def sell(shop: Desk, **changes: Any) -> Json:
    """A sale of the day before, with facts of its own."""
    number = len(shop.sandbox.stores[STORE].transactions.by_id) + 1
    facts = {
        "amount": "40.00",
        "currency": "USD",
        "auth_code": f"A{number:05}",
        "network_transaction_id": f"30000000{number:07}",
        "external_id": f"pi_{number:016}",
        "order": str(1000 + number),
        "date_created": "2026-02-28T12:00:00+00:00",
        **CARD,
    }
    return shop.sandbox.add_transaction(STORE, **{**facts, **changes})


def told_of(sale: Json, **changes: Any) -> Json:
    """What Midigator says of a sale in an RDR case."""
    return {
        "rdr_date": "2026-03-01",
        "transaction_date": "2026-02-28",
        "amount": 40.0,
        "auth_code": sale["auth_code"],
        "card_first_6": CARD["bankcard_first_six"],
        "card_last_4": CARD["bankcard_last_four"],
        **changes,
    }


def prevented(sale: Json, **changes: Any) -> Json:
    """What Midigator says of a sale in a prevention alert."""
    return {
        "prevention_timestamp": "2026-03-01T10:00:00Z",
        "transaction_timestamp": "2026-02-28T12:00:00Z",
        "amount": 40.0,
        "card_first_6": CARD["bankcard_first_six"],
        "card_last_4": CARD["bankcard_last_four"],
        **changes,
    }


# --- a transaction that comes later -------------------------------------------------------------


def test_a_transaction_that_arrives_later_matches_an_open_case_by_itself(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented({}))
    shop.post(sent)
    shop.work()
    assert (shop.case(sent)["state"], shop.case(sent)["transaction_id"]) == ("review", None)

    sale = sell(shop)
    shop.tell("transaction.created", sale)
    shop.work()
    case = shop.case(sent)
    assert (case["state"], case["transaction_id"], case["match"]["rule"]) == ("open", sale["id"], "card_and_amount")
    (dispute,) = shop.disputes()
    assert dispute["transaction"] == sale["id"]
