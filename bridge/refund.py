"""The refund that a gateway has made by itself, and that 29next is to have on record. Pure.

It is recorded once, with the resolution or after it, in the currency of the sale, and only while the
sale still has the amount: 29next is asked right before. Where that is not sure, a person is told.
"""

from __future__ import annotations

import typing
from decimal import Decimal, InvalidOperation

from bridge import dispute

if typing.TYPE_CHECKING:
    from bridge.case import Case

Json = dict[str, typing.Any]

FRESH = 120.0
"""Seconds that a reading of the sale holds."""


def is_wanted(case: Case) -> bool:
    """Whether a refund of the case's sale is still to be recorded."""
    left_out = "refund" in case.left_out
    return bool(case.wants.get("refund") and case.transaction_id and case.refund is None and not left_out)


def is_due(case: Case) -> bool:
    """Whether it is to be recorded by a call of its own, after the resolution."""
    return case.resolution is not None and is_wanted(case)


def is_read(case: Case, now: float) -> bool:
    """Whether the case's sale was read just now."""
    read = case.wants.get("sale") or {}
    return read.get("transaction_id") == case.transaction_id and now - read["at"] <= FRESH


def learn_sale(case: Case, row: Json, now: float) -> None:
    """Take in the case's sale; a refund that it has no room for, or of an unsure amount, is not recorded."""
    left = row.get("amount_available_for_refund")
    sale = {"transaction_id": case.transaction_id, **money(row), "at": now, "left": left}
    case.wants["sale"] = sale
    ours, room = amount(case), _decimal(left)
    if ours is None:
        leave_out(case, "The gateway's refund is not recorded at 29next: its amount cannot be told for sure.")
    elif room is not None and room < Decimal(ours):
        case.left_out.append("refund")
        case.note(
            f"29next has {left} of the sale left to refund, so it was told of the gateway's {ours} already."
        )


def leave_out(case: Case, why: str) -> None:
    """Go on without recording the refund, and let a person know."""
    case.left_out.append("refund")
    case.wants["unrecorded"] = why
    case.note(why)


def money(row: Json) -> Json:
    """Return what is kept of a sale: its amount and its currency."""
    return {name: row.get(name) for name in ("amount", "currency")}


def amount(case: Case) -> str | None:
    """Return what the gateway gave back, in the currency of the sale; None where that is not sure.

    An alert in another currency than the sale's was of all of it. One without a readable amount may be of
    a part.
    """
    sale, facts = _sold(case), case.facts
    currency = sale.get("currency")
    if not currency or facts is None or facts.amount is None or facts.currency is None:
        return None
    told = facts.amount if facts.currency == currency.upper() else _decimal(sale.get("amount"))
    return dispute.amount_text(told)


def filters(case: Case) -> Json:
    """Return what finds it at 29next: its amount, or the whole sale's where somebody else recorded it."""
    found: Json = {"type": "refund", "is_external": "true"}
    if (ours := amount(case)) is None:
        return found
    both = sorted({Decimal(ours), Decimal(_sold(case).get("amount") or ours)})
    return found | {"amount_min": f"{both[0]:.2f}", "amount_max": f"{both[-1]:.2f}"}


def _sold(case: Case) -> Json:
    """Return the money of the case's sale, as it was read or as the match knows it."""
    read, found = case.wants.get("sale") or {}, case.match or {}
    known = read if read.get("transaction_id") == case.transaction_id else found
    return known if known.get("transaction_id") == case.transaction_id else {}


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
