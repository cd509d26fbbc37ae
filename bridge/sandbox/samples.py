"""The sales of a new sandbox store: the payments of the alerts in the providers' documents.

So an example that you copy from a provider's document matches a payment.
"""

from __future__ import annotations

from bridge.sandbox.forms import Json


def _sale(amount: str, at: str, card: str = "", code: str = "", network_id: str = "", **facts: str) -> Json:
    """Returns the facts of a `bodies.Sale`."""
    first_six, _, last_four = card.partition("-")
    known = {"bankcard_first_six": first_six, "bankcard_last_four": last_four}
    known |= {"auth_code": code, "network_transaction_id": network_id}
    return {"amount": amount, "date_created": at, **{name: known[name] or None for name in known}, **facts}


MASTERCARD = {"card_type": "mastercard"}
CHARGE = {"external_id": "ch_genericOrder789"}
PROCESSING, SHIPPED = {"fulfillment": "processing"}, {"fulfillment": "closed"}

SAMPLE_SALES = (
    # ethoca, verifi (CDRN, RDR), midigator (and the same card once more), kount
    _sale("340.60", "2018-02-28T04:33:04Z", "111122-4444", "12345678", "abcd1234567890", **MASTERCARD),
    _sale("39.99", "2012-01-17T12:00:00Z", "423234-3773", "387373"),
    _sale("39.99", "2024-07-17T09:17:28Z", "123121-2476", "300001", "2837347837383"),
    _sale("190.47", "2026-01-02T02:57:21Z", "534582-2790", **MASTERCARD, **PROCESSING),
    _sale("49.00", "2026-02-02T02:57:21Z", "534582-2790", **MASTERCARD, **SHIPPED),
    _sale("9.95", "2023-06-02T00:00:00Z", "535215-3404", "9YJPQ7", "1612231599281", **MASTERCARD),
    # chargeblast, trusto, payshield, chargebackstop, stripe
    _sale("500.00", "2024-09-30T00:00:00Z", "123456-7890", "ABC123", "542418161516789787", **CHARGE),
    _sale("100.12", "2015-02-28T04:33:04Z", "800012-1224", "123456", "TRANS123456789", currency="AED"),
    _sale("10.00", "2021-10-11T00:00:23Z", "411111-1111", external_id="7388"),
    _sale("10.00", "2024-01-01T00:00:00Z", external_id="pi_3MmlLrLkdIwHu7ix0snN0B15"),
    _sale("10.00", "2021-07-08T14:45:40Z", external_id="pi_1JAyTwJSZQVUcJYgBbsz0NuH"),
)
