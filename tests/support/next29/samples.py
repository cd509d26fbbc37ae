"""The transactions that a stand-in store begins with: edit, add, delete.

They are the facts of the alerts that the providers' documents print, so that a newcomer's sample
finds its one transaction.
"""

from __future__ import annotations

from tests.support.next29.replies import Json


def _sample(order: str, amount: str, at: str, card: str = "", **facts: str) -> Json:
    """Order, amount, time and card, then any others of store.TRANSACTION_FACTS."""
    if card:
        facts["bankcard_first_six"], _, facts["bankcard_last_four"] = card.partition("-")
    return {"order": order, "amount": amount, "date_created": at, **facts}


SAMPLE_TRANSACTIONS: tuple[Json, ...] = (
    _sample(  # ethoca
        *("100001", "340.60", "2018-02-28T04:33:04Z", "111122-4444"),
        auth_code="12345678",
        network_transaction_id="abcd1234567890",
        card_type="mastercard",
    ),
    _sample(  # verifi, CDRN
        *("100002", "39.99", "2012-01-17T12:00:00Z", "423234-3773"),
        auth_code="387373",
    ),
    _sample(  # verifi, RDR
        *("100003", "39.99", "2024-07-17T09:17:28Z", "123121-2476"),
        auth_code="300001",
        network_transaction_id="2837347837383",
    ),
    _sample(  # midigator
        *("100004", "190.47", "2026-01-02T02:57:21Z", "534582-2790"),
        card_type="mastercard",
    ),
    _sample(  # the same card's next payment: the amount tells them apart
        *("100005", "49.00", "2026-02-02T02:57:21Z", "534582-2790"),
        card_type="mastercard",
    ),
    _sample(  # kount
        *("100006", "9.95", "2023-06-02T00:00:00Z", "535215-3404"),
        auth_code="9YJPQ7",
        network_transaction_id="1612231599281",
        card_type="mastercard",
    ),
    _sample(  # chargeblast
        *("100007", "500.00", "2024-09-30T00:00:00Z", "123456-7890"),
        auth_code="ABC123",
        network_transaction_id="542418161516789787",
        external_id="ch_genericOrder789",
    ),
    _sample(  # trusto
        *("100008", "100.12", "2015-02-28T04:33:04Z", "800012-1224"),
        currency="AED",
        auth_code="123456",
        network_transaction_id="TRANS123456789",
    ),
    _sample(  # payshield
        *("100009", "10.00", "2021-10-11T00:00:23Z", "411111-1111"),
        external_id="7388",
    ),
    _sample(  # chargebackstop
        *("100010", "10.00", "2024-01-01T00:00:00Z"),
        external_id="pi_3MmlLrLkdIwHu7ix0snN0B15",
    ),
    _sample(  # stripe
        *("100011", "10.00", "2021-07-08T14:45:40Z"),
        external_id="pi_1JAyTwJSZQVUcJYgBbsz0NuH",
    ),
)
