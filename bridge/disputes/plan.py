"""Decides the one next step of a case: the call to 29next that is due, a wait, or the end. Pure.

`events.merge` applies an alert, `next_step` returns the call that is due, and `answers.apply_response` or
`refusals.continue_without` applies how it went. A crash between any two of them loses nothing, since
everything they know is in the case.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.alert import Alert, DisputeType, Reason
from bridge.disputes import payloads, refunds
from bridge.disputes.case import LOOKED_UP_BEFORE, Call, CallKind, Case, Json, OptionalPart, Unconfirmed
from bridge.disputes.lookup import is_unattached, next_lookup

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

WITHDRAWN_MESSAGE = "The alert was withdrawn by its provider."


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do before a moment."""

    until: float
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The case will never get what its deliveries wait for."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Done:
    """29next has everything that the case should come to."""


Step = Call | Wait | Fail | Done


def next_step(case: Case, now: float, *, metadata: Iterable[str] = payloads.METADATA) -> Step:
    """Returns the one thing to do for a case now."""
    if case.is_duplicate:
        return Done()
    if case.unconfirmed and now < case.unconfirmed.until:  # 29next may still be working on it
        return Wait(case.unconfirmed.until)
    if case.unconfirmed:
        return _look_up(case, case.unconfirmed.kind)
    if holder := case.pending.holder:
        filters = {"transaction_id": str(holder), "type": case.type.value}
        return Call(CallKind.FIND_HOLDER, "GET", "disputes/", params=filters)
    step = _for_dispute(case, now) if case.dispute_id else _towards_opening(case, now, metadata)
    if isinstance(step, Call) and step.kind in case.pending.verify:
        return _look_up(case, step.kind)
    return step


def _towards_opening(case: Case, now: float, metadata: Iterable[str]) -> Step:
    if case.facts is None:
        looks = case.pending.looks
        if looks == 0 or (looks == 1 and now >= case.deadline_at):
            return _find(case)
        if looks == 1:
            return Wait(case.deadline_at, Reason.WAITING_FOR_OPENING)
        return Fail(Reason.NO_OPENING, "No alert opened this case, and 29next has no dispute for it.")
    return next_lookup(case) or Call(CallKind.CREATE, "POST", "disputes/", body=_opening(case, metadata))


def wait_longer(case: Case, until: float) -> Wait:
    """Makes a case wait for its opening beyond the deadline of its first delivery."""
    case.deadline_at, case.pending.looks = until, 1
    return Wait(until, Reason.WAITING_FOR_OPENING)


def _for_dispute(case: Case, now: float) -> Step:
    here = f"disputes/{case.dispute_id}/"
    if case.pending.reread:
        return Call(CallKind.READ, "GET", here)
    if case.facts and case.transaction_id is None and (search := next_lookup(case)):
        return search
    if is_unattached(case):
        return Call(CallKind.ATTACH, "PATCH", here, body={"transaction": case.matched_id})
    if case.standing and case.standing != case.resolution and case.trouble.refusal is None:
        return _resolve(case, case.standing, now)
    if refunds.is_due(case):
        if not refunds.is_sale_read(case, now):
            return _read_sale(case)
        body = payloads.refund_body(typing.cast("str", refunds.amount(case)))
        return Call(CallKind.REFUND, "POST", f"transactions/{case.transaction_id}/refund/", body=body)
    if case.goal.withdraw and not case.withdrawn:
        if case.resolution is None and case.type is DisputeType.ALERT:  # chargebacks know no `other`
            body = payloads.resolution_body("other", WITHDRAWN_MESSAGE)
            return Call(CallKind.RESOLVE, "POST", f"{here}resolve/", body=body)
        return Call(CallKind.NOTE, "POST", f"{here}notes/", body={"message": WITHDRAWN_MESSAGE})
    return Done()


def _resolve(case: Case, resolution: str, now: float) -> Call:
    here, message = f"disputes/{case.dispute_id}/", case.goal.message
    if case.resolution is not None:
        read_at = case.pending.read_at  # just now, so that no person's decision at 29next is overwritten
        if read_at is None or now - read_at > refunds.FRESH:
            return _look_up(case, CallKind.REPLACE)
        return Call(CallKind.REPLACE, "PATCH", here, body=payloads.resolution_body(resolution, message))
    if refunds.is_wanted(case) and not refunds.is_sale_read(case, now):
        return _read_sale(case)
    with_refund = refunds.is_wanted(case) and refunds.is_the_disputed_amount(case)
    body = payloads.resolution_body(resolution, message, external_refund=with_refund)
    return Call(CallKind.RESOLVE, "POST", f"{here}resolve/", body=body)


def _read_sale(case: Case) -> Call:
    """Returns the read of the sale, or a look-up if others may have recorded the refund."""
    if CallKind.REFUND in case.pending.verify:
        return _look_up(case, CallKind.REFUND)
    return Call(CallKind.SALE, "GET", f"transactions/{case.transaction_id}/")


def _opening(case: Case, metadata: Iterable[str]) -> Json:
    return payloads.dispute_body(
        typing.cast("Alert", case.facts),
        provider=case.provider,
        received_at=datetime.fromtimestamp(case.opened_at, UTC),
        transaction_id=None if OptionalPart.TRANSACTION in case.without else case.matched_id,
        metadata=() if OptionalPart.METADATA in case.without else metadata,
    )


def _find(case: Case) -> Call:
    return Call(CallKind.FIND, "GET", "disputes/", params={"case_number": case.case_number})


# --- writes whose answer is unclear -------------------------------------------------------------


def mark_sent(case: Case, call: Call, until: float) -> None:
    """Marks a write as about to be sent: from now on it may have happened."""
    case.unconfirmed = Unconfirmed(call.kind, until, body=call.body)


def mark_not_sent(case: Case) -> None:
    """Marks a write as certainly not done; before another try the dispute is read again."""
    case.unconfirmed = None
    case.pending.read_at = None


def _look_up(case: Case, kind: CallKind) -> Call:
    """Returns the call that shows whether a write has been done."""
    here = f"disputes/{case.dispute_id}/"
    match kind:
        case CallKind.CREATE:
            return _find(case)
        case CallKind.REFUND:
            return Call(CallKind.LIST_REFUNDS, "GET", "transactions/", params=refunds.filters(case))
        case CallKind.NOTE:
            return Call(CallKind.LIST_NOTES, "GET", f"{here}notes/")
        case _:
            return Call(CallKind.READ, "GET", here)


def recover(case: Case) -> None:
    """Makes a case look up what 29next has of it before it writes, as after a restored backup."""
    case.pending.verify = set(LOOKED_UP_BEFORE)
    if case.dispute_id is not None:
        case.pending.reread = True
    elif case.facts is None:
        case.pending.looks = 0
    else:
        case.unconfirmed = Unconfirmed(CallKind.CREATE)


def look_again(case: Case) -> None:
    """Makes a case look up its next write, since others may write for it too."""
    case.pending.verify = set(LOOKED_UP_BEFORE)
    is_open = case.due_at is not None and case.unconfirmed is None
    if case.facts and case.dispute_id is None and is_open:
        case.unconfirmed = Unconfirmed(CallKind.CREATE)
