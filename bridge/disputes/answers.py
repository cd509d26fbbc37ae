"""Applies 29next's answers to a case. Pure."""

from __future__ import annotations

import typing
from collections.abc import Callable

from bridge.cards import cut_text
from bridge.disputes import lookup, payloads, refunds
from bridge.disputes.case import Call, CallKind, Case, Json, Match, OptionalPart, Rule, Unconfirmed
from bridge.disputes.plan import WITHDRAWN_MESSAGE

LOOKS = 2
"""A write counts as not done after two empty look-ups."""
LOOK_GAP = 5.0
"""Seconds between the two, since 29next's lists may lag behind its writes."""
HELD = ("id", "case_number", "type", "status", "transaction", "resolution")
"""The fields kept of a dispute that holds the transaction of another."""
SHOWS = {
    CallKind.READ: {CallKind.ATTACH, CallKind.RESOLVE, CallKind.REPLACE},
    CallKind.LIST_REFUNDS: {CallKind.REFUND},
    CallKind.LIST_NOTES: {CallKind.NOTE},
}
"""The writes that each read shows as done or not."""


def apply_response(case: Case, call: Call, answer: typing.Any, now: float) -> None:
    """Applies 29next's answer to a call: an object, or the rows of a list."""
    if call.kind is CallKind.SALE:
        refunds.apply_sale(case, answer, now)
    else:
        _APPLY[call.kind](case, call, answer)
    if call.kind is CallKind.READ:
        case.pending.read_at = now
    elif call.writes:
        case.pending.read_at = None
    case.pending.verify -= SHOWS.get(call.kind, set())
    if call.writes:
        case.unconfirmed = None
    elif case.unconfirmed:
        _confirm(case, case.unconfirmed, now)


def _confirm(case: Case, unconfirmed: Unconfirmed, now: float) -> None:
    """Applies the look-up of an unconfirmed write: done, not done after LOOKS empty ones, or looks again."""
    body = unconfirmed.body or {}
    is_done = {
        CallKind.CREATE: case.dispute_id is not None,
        CallKind.ATTACH: case.transaction_id is not None,
        CallKind.RESOLVE: case.resolution is not None,
        CallKind.REPLACE: case.resolution == body.get("resolution"),
        CallKind.REFUND: case.refund_recorded,
        CallKind.NOTE: case.withdrawn,
    }[unconfirmed.kind]
    looks = unconfirmed.looks + 1
    if not is_done and looks < LOOKS:
        unconfirmed.looks, unconfirmed.until = looks, now + LOOK_GAP
        return
    if is_done and unconfirmed.kind is CallKind.RESOLVE:
        _confirm_resolution(case, body)
    elif is_done and unconfirmed.kind is CallKind.REPLACE:
        case.resolved_by_us = case.resolution
    case.unconfirmed = None


# --- disputes -----------------------------------------------------------------------------------


def adopt(case: Case, row: Json) -> None:
    """Adopts a dispute as 29next shows it; of two disputes of one case, the first known stays."""
    if case.dispute_id not in (None, int(row["id"])):
        case.note(f"29next has more than one dispute of this case: also {row['id']}.")
        return
    case.dispute_id = int(row["id"])
    if isinstance(row.get("transaction"), int):
        case.transaction_id = row["transaction"]
    if resolution := _resolution(row):
        if case.resolution is None:  # the person who resolved it may have recorded the refund, too
            case.pending.verify.add(CallKind.REFUND)
        case.resolution = resolution
        message = row.get("resolution_other_message")
        if message and case.standing == resolution:
            case.goal.message = cut_text(message)
        if message == WITHDRAWN_MESSAGE:
            case.withdrawn = True


def apply_webhook(case: Case, row: Json) -> bool:
    """Applies a dispute from a webhook of 29next; returns whether the case has work to do.

    What only adds to the case is adopted. What contradicts it may be old, so the dispute is read again.
    """
    if case.dispute_id is None:
        if case.unconfirmed is None or case.unconfirmed.kind is CallKind.CREATE:
            adopt(case, row)
            case.unconfirmed = None
        return True
    if int(row["id"]) != case.dispute_id:
        adopt(case, row)  # which only adds a note
        return False
    theirs = (_resolution(row), row.get("transaction"))
    ours = (case.resolution, case.transaction_id)
    # the echo of our own write is nothing new
    sent = (case.unconfirmed.body if case.unconfirmed else None) or {}
    if theirs in (ours, (sent.get("resolution") or ours[0], sent.get("transaction") or ours[1])):
        return False
    if not case.unconfirmed and all(known in (None, new) for known, new in zip(ours, theirs, strict=True)):
        adopt(case, row)
    else:
        case.pending.reread = True
    return True


def _resolution(row: Json) -> str | None:
    return row.get("resolution") or None if row.get("status") == "resolved" else None


def _read(case: Case, _: Call, row: Json) -> None:
    """Adopts a dispute as it is now; the bridge does not repeat what 29next has undone."""
    _yield_to_person(case, row)
    if case.pending.reread:
        case.pending.reread = False
        if case.resolution and not _resolution(row):
            case.note(f"29next has reopened it. It was resolved as {case.resolution}.")
            case.resolution = case.goal.resolution = None
        if case.transaction_id and row.get("transaction") is None:
            case.note(f"29next has it without transaction {case.transaction_id} now.")
            case.transaction_id = None
            case.match = Match(rule=Rule.NONE, closed=True)
    adopt(case, row)


def _yield_to_person(case: Case, row: Json) -> None:
    """Gives up the outcome that should replace ours if a person has replaced ours at 29next."""
    ours, wanted, theirs = case.resolution, case.standing, _resolution(row)
    sent = (case.unconfirmed.body if case.unconfirmed else None) or {"resolution": ours}
    if ours is None or wanted == ours or theirs in (ours, sent.get("resolution", ours)):
        return
    case.resolved_by_us = None
    if theirs == wanted:
        return
    case.trouble.contradicted, case.goal.resolution = case.goal.resolution, None
    case.pending.reread = True  # so that `_read` sees that it is open again
    case.note(f"29next has {theirs or 'it open'} now, by a person's decision. {wanted} does not replace it.")


def _created(case: Case, call: Call, row: Json) -> None:
    adopt(case, row)
    _note_overtaken(case, (call.body or {}).get("transaction"))


def _attached(case: Case, call: Call, _: Json) -> None:
    case.transaction_id = (call.body or {})["transaction"]
    _note_overtaken(case, case.transaction_id)


def _note_overtaken(case: Case, sent: int | None) -> None:
    if sent is not None and sent != case.matched_id:
        decided = f"it was under way before {case.matched_id} was decided."
        case.note(f"29next has transaction {sent} now: {decided}")


def _found(case: Case, _: Call, rows: list[Json]) -> None:
    ours = sorted(
        (row for row in rows if row.get("case_number") == case.case_number and row.get("type") == case.type),
        key=lambda row: int(row["id"]),
    )
    if case.unconfirmed is None:
        case.pending.looks += 1
    if not ours:
        return
    adopt(case, ours[0])
    if len(ours) > 1:
        others = ", ".join(str(row["id"]) for row in ours[1:])
        case.note(f"29next has more than one dispute of this case: also {others}.")
    amount = payloads.amount_text(case.facts.amount) if case.facts else None
    if amount and ours[0].get("amount") not in (None, amount):
        case.note(f"The dispute found at 29next says {ours[0]['amount']}, the alert {amount}.")


def _found_holder(case: Case, _: Call, rows: list[Json]) -> None:
    """Links the case with the dispute that holds its transaction, or leaves the transaction out."""
    holder, case.pending.holder = case.pending.holder, None
    held = [row for row in rows if row.get("transaction") == holder and row.get("type") == case.type]
    if not held:
        case.leave_out(OptionalPart.TRANSACTION)
        return
    dispute, number = held[0], str(held[0].get("case_number") or "").strip()
    if dispute["id"] == case.dispute_id or number == case.case_number:
        adopt(case, dispute)  # our own, which 29next made after all
    else:
        case.pending.held = {name: dispute.get(name) for name in HELD}


# --- resolutions --------------------------------------------------------------------------------


def _apply_resolution(case: Case, body: Json) -> None:
    case.resolution = body.get("resolution") or case.resolution
    case.resolved_by_us = case.resolution
    case.trouble.review = None
    if body.get("create_external_refund"):
        case.refund_recorded = True
    if body.get("resolution_other_message") == WITHDRAWN_MESSAGE:
        case.withdrawn = True
        case.note("Withdrawn by the provider: the customer's block-list entry stays at 29next.")


def _confirm_resolution(case: Case, body: Json) -> None:
    """Applies that an unconfirmed dispute is resolved: by our call, unless the resolution differs."""
    if case.resolution == body.get("resolution"):
        _apply_resolution(case, body)
    else:
        case.trouble.contradicted = body.get("resolution")
        case.note(f"29next has it resolved as {case.resolution}; the alert said {body.get('resolution')}.")


def _replaced(case: Case, call: Call, _: Json) -> None:
    body = call.body or {}
    case.note(f"The outcome {body['resolution']} has replaced {case.resolution}.")
    case.resolution = case.resolved_by_us = body["resolution"]
    case.trouble.irreplaceable = None


# --- refunds and notes --------------------------------------------------------------------------


def _refunded(case: Case, call: Call, answer: typing.Any) -> None:
    """Applies that the refund was recorded, or a list that shows it."""
    if call.writes or any(row.get("parent_id") == case.transaction_id for row in answer):
        case.refund_recorded = True


def _noted(case: Case, call: Call, answer: typing.Any) -> None:
    """Applies that the note was written, or a list that shows it."""
    if call.writes or any(row.get("message") == WITHDRAWN_MESSAGE for row in answer):
        case.withdrawn = True


_APPLY: dict[CallKind, Callable[[Case, Call, typing.Any], None]] = {
    CallKind.CREATE: _created,
    CallKind.ATTACH: _attached,
    CallKind.RESOLVE: lambda case, call, _: _apply_resolution(case, call.body or {}),
    CallKind.REPLACE: _replaced,
    CallKind.REFUND: _refunded,
    CallKind.NOTE: _noted,
    CallKind.FIND: _found,
    CallKind.READ: _read,
    CallKind.FIND_HOLDER: _found_holder,
    CallKind.SEARCH: lookup.apply_rows,
    CallKind.ORDER: lookup.apply_rows,
    CallKind.PAYMENT: lookup.apply_rows,
    CallKind.LIST_REFUNDS: _refunded,
    CallKind.LIST_NOTES: _noted,
}
