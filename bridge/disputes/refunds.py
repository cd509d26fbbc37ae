"""Decides how a refund that a gateway has made is recorded at 29next. Pure.

It is recorded once, with the resolution or after it, in the currency of the sale, and only while the
sale has that amount left: 29next is asked right before. If that is not certain, a person decides.
"""

from __future__ import annotations

from decimal import Decimal

from bridge.disputes import payloads
from bridge.disputes.case import Case, Json, OptionalPart, Sale

FRESH = 120.0
"""Seconds for which a read of the sale counts."""


def is_wanted(case: Case) -> bool:
    """Whether a refund of the case's sale has still to be recorded."""
    is_open = not case.refund_recorded and OptionalPart.REFUND not in case.without
    return bool(case.goal.refunded_by_gateway and case.transaction_id and is_open)


def is_due(case: Case) -> bool:
    """Whether it has to be recorded by a call of its own, after the resolution."""
    return case.resolution is not None and is_wanted(case)


def is_the_disputed_amount(case: Case) -> bool:
    """Whether 29next can take the amount from the dispute: in another currency it would be a wrong number."""
    facts, (_, currency) = case.facts, _money(case)
    return bool(facts and currency and facts.currency == currency.upper())


def is_sale_read(case: Case, now: float) -> bool:
    """Whether the case's sale was read just now."""
    sale = case.pending.sale
    return sale is not None and sale.transaction_id == case.transaction_id and now - sale.at <= FRESH


def apply_sale(case: Case, row: Json, now: float) -> None:
    """Applies a read of the sale; leaves out a refund larger than what is left, or of an uncertain amount."""
    if case.transaction_id is None:
        return
    left = row.get("amount_available_for_refund")
    case.pending.sale = Sale(case.transaction_id, now, row.get("amount"), row.get("currency"), left)
    ours, room = amount(case), payloads.read_amount(left)
    if ours is None:
        leave_out(case, "The gateway's refund is not recorded at 29next, because its amount is not certain.")
    elif room is not None and room < Decimal(ours):
        case.leave_out(OptionalPart.REFUND)
        case.note(f"29next has {left} of the sale left to refund, so it already has the gateway's {ours}.")


def leave_out(case: Case, why: str) -> None:
    """Leaves the refund out, and notes why."""
    case.leave_out(OptionalPart.REFUND)
    case.trouble.unrecorded = why
    case.note(why)


def amount(case: Case) -> str | None:
    """Returns what the gateway refunded, in the currency of the sale; None if that is not certain.

    An alert in another currency than the sale's is about all of it. An alert without a readable amount may
    be about a part.
    """
    facts, (whole, currency) = case.facts, _money(case)
    if not currency or facts is None or facts.amount is None or facts.currency is None:
        return None
    is_same = facts.currency == currency.upper()
    return payloads.amount_text(facts.amount if is_same else payloads.read_amount(whole))


def filters(case: Case) -> Json:
    """Returns the filters that find it at 29next: by its amount, or that of the whole sale."""
    found: Json = {"type": "refund", "is_external": "true"}
    if (ours := amount(case)) is None:
        return found
    both = sorted({Decimal(ours), Decimal(_money(case)[0] or ours)})
    return found | {"amount_min": f"{both[0]:.2f}", "amount_max": f"{both[-1]:.2f}"}


def _money(case: Case) -> tuple[str | None, str | None]:
    """Returns the amount and currency of the sale, as it was read, else from the match."""
    for known in (case.pending.sale, case.match):
        if known is not None and known.transaction_id == case.transaction_id:
            return known.amount, known.currency
    return None, None
