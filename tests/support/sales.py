"""Sales of a store in tests: as 29next has them, and as it and providers tell of them."""

from __future__ import annotations

from typing import Any

from tests.support.bridge_in_process import InProcessBridge
from tests.support.next29 import STORE
from tests.support.webhooks import Json

CARD = {"bankcard_first_six": "424242", "bankcard_last_four": "0042"}


def sold(**changes: Any) -> Json:
    """A transaction as 29next tells it, with all that it says of the customer."""
    return {
        "id": 7001,
        "amount": "40.00",
        "amount_available_for_refund": "40.00",
        "attribution": {"utm_source": "newsletter"},
        "auth_code": "A1B2C3",
        "currency": "USD",
        "date_created": "2026-02-28T12:00:00Z",
        "external_id": "pi_0000000000007001",
        "initiator": {"id": 3, "email": "agent@example.com"},
        "is_disputed": False,
        "is_external": False,
        "is_test": None,
        "network_transaction_id": "300000000007001",
        "order": "1701",
        "parent_id": None,
        "payment_details": {
            "bankcard_first_six": "424242",
            "bankcard_last_four": "0042",
            "card_token": "tok_0001",
            "gateway": {"id": 1, "name": "A Gateway", "type": "test"},
            "is_3ds": True,
        },
        "payment_method": "bankcard",
        "response_code": 100,
        "statement_descriptor": "SHOP*TEST",
        "status": "succeeded",
        "subscription": {"id": 5},
        "type": "debit",
        "user": {"id": 9, "email": "customer@example.com", "first_name": "Zoë", "ip": "198.51.100.7"},
        **changes,
    }


def sell(bridge: InProcessBridge, **changes: Any) -> Json:
    """A sale of the day before, with facts of its own."""
    number = len(bridge.next29.stores[STORE].transactions.by_id) + 1
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
    return bridge.next29.add_transaction(STORE, **{**facts, **changes})


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


def prevented(**changes: Any) -> Json:
    """What Midigator says of a sale in a prevention alert."""
    return {
        "prevention_timestamp": "2026-03-01T10:00:00Z",
        "transaction_timestamp": "2026-02-28T12:00:00Z",
        "amount": 40.0,
        "card_first_6": CARD["bankcard_first_six"],
        "card_last_4": CARD["bankcard_last_four"],
        **changes,
    }


def refunds(bridge: InProcessBridge) -> list[Json]:
    return bridge.next29.ledger.refunds
