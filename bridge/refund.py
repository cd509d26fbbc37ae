"""The refund that a gateway has made by itself, and that 29next is to have on record. Pure.

It is recorded once, with the resolution or after it, in the currency of the sale; where its amount
cannot be told for sure, a person is told instead.
"""

from __future__ import annotations

import typing
from decimal import Decimal

from bridge import dispute

if typing.TYPE_CHECKING:
    from bridge.case import Case

Json = dict[str, typing.Any]


def is_wanted(case: Case) -> bool:
    """Whether a refund of the case's sale is still to be recorded."""
    left_out = "refund" in case.left_out
    return bool(case.wants.get("refund") and case.transaction_id and case.refund is None and not left_out)


def is_due(case: Case) -> bool:
    """Whether it is to be recorded by a call of its own, once its sale was read if need be."""
    if case.resolution is None or not is_wanted(case):
        return False
    return sold(case) is None or amount(case) is not None


def money(row: Json) -> Json:
    """Return what is kept of a sale: its amount and its currency."""
    return {name: row.get(name) for name in ("amount", "currency")}


def sold(case: Case) -> Json | None:
    """Return the money of the case's sale; None where it is to be read for it."""
    read, found = case.wants.get("sale") or {}, case.match or {}
    if read.get("transaction_id") == case.transaction_id:
        return typing.cast("Json", read)
    return found if found.get("transaction_id") == case.transaction_id and found.get("currency") else None


def amount(case: Case) -> str | None:
    """Return what the gateway gave back, in the currency of the sale; None where that is not sure."""
    sale = sold(case) or {}
    if not (currency := sale.get("currency")):
        return None
    told = case.facts.amount if case.facts else None
    if told is None or (case.facts and case.facts.currency != currency.upper()):
        told = Decimal(sale["amount"]) if sale.get("amount") else None
    return dispute.amount_text(told)


def filters(case: Case) -> Json:
    """Return what finds it at 29next: its amount, or the whole sale's where somebody else recorded it."""
    found: Json = {"type": "refund", "is_external": "true"}
    if (ours := amount(case)) is None:
        return found
    both = sorted({Decimal(ours), Decimal((sold(case) or {}).get("amount") or ours)})
    return found | {"amount_min": f"{both[0]:.2f}", "amount_max": f"{both[-1]:.2f}"}


def note_unsure(case: Case) -> None:
    """Tell a person of a refund that the bridge cannot record."""
    if is_wanted(case) and sold(case) is not None and amount(case) is None:
        case.note("The gateway's refund is not recorded at 29next: its amount cannot be told for sure.")
