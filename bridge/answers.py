"""What 29next answered, taken into a case. Pure."""

from __future__ import annotations

import typing

from bridge import dispute, match, refund
from bridge.case import WITHDRAWN_MESSAGE, Call, Case, Json, chosen, dated, is_decided
from bridge.redact import cut_text

LOOKS = 2
"""A doubt is settled by two empty look-ups."""
LOOK_GAP = 5.0
"""Seconds between them, since 29next's lists may lag behind its writes."""
HELD = ("id", "case_number", "type", "status", "transaction", "resolution")
"""What is kept of a dispute that holds the transaction of another."""
LOOKED_AT = {"read": ("attach", "resolve", "replace"), "refunds": ("refund",), "notes": ("note",)}
"""What each reading shows whether it was done already."""


def learn(case: Case, call: Call, answer: typing.Any, now: float) -> None:
    """Take in what 29next answered: one object, or the rows of a list."""
    if call.kind == "sale":
        refund.learn_sale(case, answer, now)
    else:
        _LEARN[call.kind](case, call, answer)
    if call.kind == "read":
        case.wants["read_at"] = now
    elif call.writes:
        case.wants.pop("read_at", None)
    if unseen := case.wants.get("unseen"):
        case.wants["unseen"] = [kind for kind in unseen if kind not in LOOKED_AT.get(call.kind, ())]
    if case.doubt and not call.writes:
        _doubt_after(case, now)
    elif call.writes:
        case.doubt = None


def _read(case: Case, _: Call, row: Json) -> None:
    """Take in a dispute as it is; what was undone at 29next is not done again."""
    _let_a_person_s_word_stand(case, row)
    if case.wants.pop("reread", None):
        if case.resolution and not _resolution(row):
            case.note(f"29next has it open again; it was resolved as {case.resolution}.")
            case.resolution = None
            case.wants.pop("resolution", None)
        if case.transaction_id and row.get("transaction") is None:
            case.note(f"29next has it without transaction {case.transaction_id} now.")
            case.transaction_id = None
            case.match = {**(case.match or {}), "asked": [], "candidates": [], "transaction_id": None}
            case.match |= {"rule": "none", "closed": True}
    adopt(case, row)


def _let_a_person_s_word_stand(case: Case, row: Json) -> None:
    """Give up the result that was to replace ours, where a person has replaced that at 29next."""
    ours, wanted, theirs = case.resolution, case.standing, _resolution(row)
    sent = (case.doubt or {}).get("body") or {"resolution": ours}
    if ours is None or wanted == ours or theirs in (ours, sent.get("resolution", ours)):
        return
    case.wants.pop("ours", None)
    if theirs == wanted:
        return
    case.wants["contradicted"] = case.wants.pop("resolution")
    case.wants["reread"] = True  # which takes in too that it is open again
    case.note(f"29next has {theirs or 'it open'} now, which a person decided: {wanted} does not replace it.")


def _learn_created(case: Case, call: Call, row: Json) -> None:
    adopt(case, row)
    _note_other(case, (call.body or {}).get("transaction"))


def _note_other(case: Case, sent: int | None) -> None:
    if sent is not None and sent != case.found:
        case.note(f"29next has transaction {sent} now: it was under way before {case.found} was decided.")


def _learn_attached(case: Case, call: Call, _: Json) -> None:
    case.transaction_id = (call.body or {})["transaction"]
    _note_other(case, case.transaction_id)


def _learn_refund(case: Case, _: Call, __: Json) -> None:
    case.refund = "recorded"


def _learn_note(case: Case, _: Call, __: Json) -> None:
    case.wants["withdrawn"] = True


def _replaced(case: Case, call: Call, _: object = None) -> None:
    """Take in that another resolution took the place of ours."""
    body = call.body or {}
    case.note(f"The result {body['resolution']} took the place of {case.resolution}.")
    case.resolution = case.wants["ours"] = body["resolution"]
    case.wants.pop("irreplaceable", None)


def _learn_refunds(case: Case, call: Call, rows: list[Json]) -> None:
    if any(row.get("parent_id") == case.transaction_id for row in rows):
        _learn_refund(case, call, {})


def _learn_notes(case: Case, call: Call, rows: list[Json]) -> None:
    if any(row.get("message") == WITHDRAWN_MESSAGE for row in rows):
        _learn_note(case, call, {})


def _doubt_after(case: Case, now: float) -> None:
    """End the doubt once what was in doubt is there, or after enough empty look-ups."""
    doubt = typing.cast("Json", case.doubt)
    there = {
        "create": case.dispute_id is not None,
        "attach": case.transaction_id is not None,
        "resolve": case.resolution is not None,
        "replace": case.resolution == (doubt.get("body") or {}).get("resolution"),
        "refund": case.refund is not None,
        "note": case.wants.get("withdrawn", False),
    }[doubt["kind"]]
    looks = doubt["looks"] + 1
    if there or looks >= LOOKS:
        if there and doubt["kind"] == "resolve":
            _resolved_after_all(case, doubt.get("body") or {})
        elif there and doubt["kind"] == "replace":
            case.wants["ours"] = case.resolution
        case.doubt = None
    else:
        case.doubt = {**doubt, "looks": looks, "until": now + LOOK_GAP}


def adopt(case: Case, row: Json) -> None:
    """Take over a dispute as 29next shows it; of two disputes of one case, the first known stays."""
    if case.dispute_id not in (None, int(row["id"])):
        case.note(f"29next has more than one dispute of this case: also {row['id']}.")
        return
    case.dispute_id = int(row["id"])
    if isinstance(row.get("transaction"), int):
        case.transaction_id = row["transaction"]
    if resolution := _resolution(row):
        if case.resolution is None:  # whoever resolved it may have recorded the refund too
            case.wants["unseen"] = sorted({*case.wants.get("unseen", ()), "refund"})
        case.resolution = resolution
        message = row.get("resolution_other_message")
        if message and case.standing == resolution:
            case.wants["message"] = cut_text(message)
        if message == WITHDRAWN_MESSAGE:
            case.wants["withdrawn"] = True


def _resolution(row: Json) -> str | None:
    return row.get("resolution") or None if row.get("status") == "resolved" else None


def reconsider(case: Case, told: Json) -> bool:
    """Take in what 29next's webhook tells of the case's dispute; whether the case is to be worked on.

    What only adds to the case is taken. What contradicts it may be old, and is read again.
    """
    if case.dispute_id is None:
        if case.doubt is None or case.doubt["kind"] == "create":
            adopt(case, told)
            case.doubt = None
        return True
    if int(told["id"]) != case.dispute_id:
        adopt(case, told)  # which only says so
        return False
    theirs = (_resolution(told), told.get("transaction"))
    ours = (case.resolution, case.transaction_id)
    sent = (case.doubt or {}).get("body") or {}  # what is under way is no news either
    if theirs in (ours, (sent.get("resolution") or ours[0], sent.get("transaction") or ours[1])):
        return False
    if not case.doubt and all(known in (None, new) for known, new in zip(ours, theirs, strict=True)):
        adopt(case, told)
    else:
        case.wants["reread"] = True
    return True


def _looked(case: Case, _: Call, rows: list[Json]) -> None:
    ours = sorted(
        (row for row in rows if row.get("case_number") == case.case_number and row.get("type") == case.type),
        key=lambda row: int(row["id"]),
    )
    if "looks" in case.wants and case.doubt is None:
        case.wants["looks"] += 1
    if not ours:
        return
    adopt(case, ours[0])
    if len(ours) > 1:
        others = ", ".join(str(row["id"]) for row in ours[1:])
        case.note(f"29next has more than one dispute of this case: also {others}.")
    amount = dispute.amount_text(case.facts.amount) if case.facts else None
    if amount and ours[0].get("amount") not in (None, amount):
        case.note(f"The dispute found at 29next says {ours[0]['amount']}, the alert {amount}.")


def _held(case: Case, _: Call, rows: list[Json]) -> None:
    """Link the case to the dispute that holds its transaction, or go on without the transaction."""
    holder = case.wants.pop("holder")
    held = [row for row in rows if row.get("transaction") == holder and row.get("type") == case.type]
    if not held:
        case.left_out.append("transaction")
    elif (
        held[0]["id"] == case.dispute_id or str(held[0].get("case_number") or "").strip() == case.case_number
    ):
        adopt(case, held[0])  # our own, which 29next made after all
    else:
        case.duplicate_of = f"dispute {held[0]['id']}"  # its case, once the inbox knows it
        case.wants["held"] = {name: held[0].get(name) for name in HELD}


def _asked(case: Case, call: Call, rows: list[Json]) -> None:
    if is_decided(case):
        return
    before = case.match or {"asked": [], "candidates": []}
    alert = dated(case)
    found = match.choose(alert, rows)
    seen = {one["id"] for one in found.candidates}
    kept = [one for one in before["candidates"] if one["id"] not in seen and not found.transaction_id]
    case.match = {
        **before,
        **chosen(found, rows),
        "asked": [*before["asked"], call.rule],
        "behind": match.payment_behind(alert, rows),
        "candidates": [*found.candidates, *kept][: match.MOST_CANDIDATES],
    }


def _resolved(case: Case, call: Call, _: object = None) -> None:
    body = call.body or {}
    case.resolution = body.get("resolution") or case.resolution
    case.wants["ours"] = case.resolution
    case.wants.pop("review", None)
    if body.get("create_external_refund"):
        case.refund = "recorded"
    if body.get("resolution_other_message") == WITHDRAWN_MESSAGE:
        case.wants["withdrawn"] = True
        case.note("Withdrawn by the provider: the customer's block-list entry stays at 29next.")


def _resolved_after_all(case: Case, body: Json) -> None:
    """Take in that a dispute in doubt is resolved: by our call, unless it says something else."""
    if case.resolution == body.get("resolution"):
        _resolved(case, Call("resolve", "POST", "", body=body))
    else:
        case.wants["contradicted"] = body.get("resolution")
        case.note(f"29next has it resolved as {case.resolution}; the alert said {body.get('resolution')}.")


_LEARN: dict[str, typing.Callable[[Case, Call, typing.Any], None]] = {
    "create": _learn_created,
    "read": _read,
    "attach": _learn_attached,
    "resolve": _resolved,
    "replace": _replaced,
    "refund": _learn_refund,
    "note": _learn_note,
    "look": _looked,
    "holder": _held,
    "ask": _asked,
    "payment": _asked,
    "refunds": _learn_refunds,
    "notes": _learn_notes,
}
