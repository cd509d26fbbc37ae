"""What a case goes on without where 29next refuses a call, so that it never costs the alert. Pure."""

from __future__ import annotations

import typing

from bridge import refund
from bridge.case import is_decided

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.case import Call, Case

Complaint = typing.Mapping[str, list[str]]
"""29next's words, by field."""

DUPLICATE_WORDS = ("already", "exists", "duplicate", "unique", "one alert", "one chargeback")
LEFT_OUT = {
    "sale": ("refund", "to show the sale whose refund was to be recorded", "transactions:read"),
    "refund": ("refund", "the refund", "transactions:write"),
    "note": ("note", "the note", ""),
}
"""By call: what a case does without, how that is said, and the scope that it may take."""


def give_way(case: Case, call: Call, fields: Complaint) -> bool:
    """Go on without what 29next refused, where that never costs the alert; False where it would."""
    if _is_outdated(case, call, fields):
        case.note("29next refused what was under way before a person decided: " + _words(fields))
        return True
    give = _GIVE.get(call.kind)
    return give is not None and give(case, call, fields)


def _is_outdated(case: Case, call: Call, fields: Complaint) -> bool:
    """Whether it was about another transaction than a person has decided meanwhile."""
    sent = (call.body or {}).get("transaction")
    other = sent is not None and sent != case.found and "transaction" in fields
    return is_decided(case) and (other or call.kind == "ask")


def _create(case: Case, call: Call, fields: Complaint) -> bool:
    body = call.body or {}
    if "metadata" in fields and "metadata" in body:
        case.left_out.append("metadata")
        case.note("29next refused the metadata; the dispute is made without it: " + _words(fields))
        return True
    if "transaction" not in fields or "transaction" not in body:
        return False
    case.note(f"29next refused transaction {body['transaction']}: " + _words(fields))
    if _says_duplicate(fields):
        case.wants["holder"] = body["transaction"]
    else:
        case.left_out.append("transaction")
    return True


def _attach(case: Case, call: Call, fields: Complaint) -> bool:
    if _says_duplicate(fields):
        case.wants["holder"] = (call.body or {})["transaction"]
        return True
    case.left_out.append("transaction")
    case.match = {**(case.match or {"asked": [], "candidates": []}), "transaction_id": None}
    case.wants["unattached"] = "29next refused the transaction: " + _words(fields)
    case.note(case.wants["unattached"])
    return True


def _resolve(case: Case, _: Call, fields: Complaint) -> bool:
    if "create_external_refund" not in fields:
        return False
    refund.leave_out(case, "29next refused to record the gateway's refund: " + _words(fields))
    return True


def _replace(case: Case, call: Call, fields: Complaint) -> bool:
    """Let the former result stand, and a person look."""
    wanted = (call.body or {}).get("resolution")
    why = f"29next keeps {case.resolution}, and refused {wanted}: {_words(fields)}"
    case.wants |= {"contradicted": wanted, "irreplaceable": why, "resolution": case.resolution}
    case.note(why)
    return True


def _leave_out(case: Case, call: Call, fields: Complaint) -> bool:
    wish, what, scope = LEFT_OUT[call.kind]
    lacking = f" (scope {scope})" if scope and "detail" in fields else ""
    why = f"29next refused {what}{lacking}: " + _words(fields)
    if wish == "refund":
        refund.leave_out(case, why)
        return True
    case.left_out.append(wish)
    case.wants |= {"withdrawn": True, "unnoted": why}
    case.note(why)
    return True


def _payment(case: Case, call: Call, _: Complaint) -> bool:
    known = case.match or {"asked": [], "candidates": []}
    case.match = {**known, "asked": [*known["asked"], call.rule], "behind": None}
    return True


def _ask(case: Case, _: Call, fields: Complaint) -> bool:
    """Look no further: the token lacks the scope, or there is more than can be looked through."""
    case.left_out.append("transaction")
    case.match = {"asked": [], "rule": None, "candidates": []}
    scope = "The access token may not read transactions (scope transactions:read)."
    other = "29next refuses the look-up of its transaction, or shows too many to look through."
    case.note(scope if "detail" in fields else other)
    return True


_GIVE: Mapping[str, typing.Callable[[Case, Call, Complaint], bool]] = {
    "create": _create,
    "attach": _attach,
    "resolve": _resolve,
    "replace": _replace,
    "payment": _payment,
    "ask": _ask,
    **dict.fromkeys(LEFT_OUT, _leave_out),
}


def _says_duplicate(fields: Complaint) -> bool:
    said = " ".join(fields.get("transaction", ())).lower()
    return any(word in said for word in DUPLICATE_WORDS)


def _words(fields: Complaint) -> str:
    return "; ".join(f"{name}: {' '.join(messages)}" for name, messages in fields.items())[:500]
