"""The bodies of every write to 29next, and how its amounts and moments are read. Pure.

The shapes are those of 29next's OpenAPI document (doc): amount as text with at most six integer
digits and two decimals; `type` and `happened_at` cannot be changed after creation; id, status, order
and the reporting fields are read-only and never sent.
"""

from __future__ import annotations

import typing
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from bridge.alert import Alert, Network, iso

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

TOO_LARGE = 1_000_000
"""29next's amounts have six integer digits, and two decimals."""
CENT = Decimal("0.01")

METADATA = ("bridge_provider", "bridge_network", "bridge_reason_code", "bridge_amount")
"""The metadata keys that are sent by default."""


def dispute_body(
    alert: Alert,
    *,
    provider: str,
    received_at: datetime,
    transaction_id: int | None = None,
    metadata: Iterable[str] = METADATA,
) -> dict[str, typing.Any]:
    """Returns the body that creates the dispute; unknown fields are left out, never null."""
    happened_at = alert.happened_at
    if happened_at is None and "happened_at" not in alert.unreadable:  # it cannot be changed later
        happened_at = received_at
    known: dict[str, typing.Any] = {
        "type": alert.type.value,
        "case_number": alert.case_number,
        "amount": amount_text(alert.amount) if alert.currency else None,
        "currency": alert.currency,
        "happened_at": iso(happened_at) if happened_at else None,
        "arn": alert.arn,
    }
    body = {name: value for name, value in known.items() if value is not None}
    if transaction_id is not None:
        body["transaction"] = transaction_id
    if extra := metadata_of(alert, provider, metadata):
        body["metadata"] = extra
    return body


def metadata_of(alert: Alert, provider: str, keys: Iterable[str]) -> dict[str, str]:
    """Returns the metadata with the wanted keys; `bridge_amount` is set if `amount` cannot be sent."""
    values = {
        "bridge_provider": provider,
        "bridge_network": None if alert.network is Network.OTHER else alert.network.value,
        "bridge_reason_code": alert.reason_code,
        "bridge_amount": None,
        "bridge_order": alert.order,
        "bridge_descriptor": alert.descriptor,
        "bridge_auth_code": alert.auth_code,
        "bridge_card": card_text(alert),
    }
    if alert.amount is not None and (amount_text(alert.amount) is None or not alert.currency):
        values["bridge_amount"] = f"{alert.amount} {alert.currency or ''}".strip()
    return {key: value for key in keys if (value := values.get(key))}


def resolution_body(
    resolution: str, message: str | None = None, *, external_refund: bool = False
) -> dict[str, typing.Any]:
    """Returns the body of `POST /disputes/{id}/resolve/`."""
    body: dict[str, typing.Any] = {"resolution": resolution}
    if message:
        body["resolution_other_message"] = message
    if external_refund:
        body["create_external_refund"] = True
    return body


def refund_body(amount: str) -> dict[str, typing.Any]:
    """Returns the body that records a refund of the gateway: it moves no money and sends no mail."""
    return {"amount": amount, "is_external": True, "send_refund_notification": False}


def amount_text(amount: Decimal | None) -> str | None:
    """Returns an amount as 29next takes it, or None if that would change it."""
    if amount is None or not 0 <= amount < TOO_LARGE or amount != amount.quantize(CENT):
        return None
    return f"{amount:.2f}"


def read_amount(value: object) -> Decimal | None:
    """Reads an amount of 29next; None if it is not a finite number."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def read_moment(value: object) -> datetime | None:
    """Reads a moment of 29next, in UTC if it names no zone; None if it is none."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def card_text(alert: Alert) -> str | None:
    """Returns what is known of the card: first six and last four."""
    if not alert.card_last_four:
        return None
    return f"{alert.card_first_six or ''}******{alert.card_last_four}"
