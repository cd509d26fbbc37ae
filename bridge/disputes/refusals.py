"""Decides what to leave out when 29next refuses a call, so that a refusal never costs the alert. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from bridge.disputes import refunds
from bridge.disputes.case import Call, CallKind, Case, Match, OptionalPart

Complaint = Mapping[str, list[str]]
"""29next's messages, by field."""

DUPLICATE_WORDS = ("already", "exists", "duplicate", "unique", "one alert", "one chargeback")


def continue_without(case: Case, call: Call, fields: Complaint) -> bool:
    """Continues without what 29next refused; returns False if the case cannot do without it."""
    if _is_outdated(case, call, fields):
        case.note("29next rejected a call that was under way before a person decided: " + _words(fields))
        return True
    handler = _HANDLERS.get(call.kind)
    return handler is not None and handler(case, call, fields)


def _is_outdated(case: Case, call: Call, fields: Complaint) -> bool:
    """Whether the call was about another transaction than a person has chosen meanwhile."""
    sent = (call.body or {}).get("transaction")
    other = sent is not None and sent != case.matched_id and "transaction" in fields
    return case.is_decided and (other or call.kind is CallKind.SEARCH)


def _create(case: Case, call: Call, fields: Complaint) -> bool:
    body = call.body or {}
    if "metadata" in fields and "metadata" in body:
        case.leave_out(OptionalPart.METADATA)
        without = "The bridge creates the dispute without it"
        case.note(f"29next rejected the metadata. {without}: {_words(fields)}")
        return True
    if "transaction" not in fields or "transaction" not in body:
        return False
    case.note(f"29next refused transaction {body['transaction']}: " + _words(fields))
    if _says_duplicate(fields):
        case.pending.holder = body["transaction"]
    else:
        case.leave_out(OptionalPart.TRANSACTION)
    return True


def _attach(case: Case, call: Call, fields: Complaint) -> bool:
    if _says_duplicate(fields):
        case.pending.holder = (call.body or {})["transaction"]
        return True
    case.leave_out(OptionalPart.TRANSACTION)
    case.match = dataclasses.replace(case.match or Match(), transaction_id=None)
    case.trouble.unattached = "29next refused the transaction: " + _words(fields)
    case.note(case.trouble.unattached)
    return True


def _resolve(case: Case, _: Call, fields: Complaint) -> bool:
    if "create_external_refund" not in fields:
        return False
    refunds.leave_out(case, "29next refused to record the gateway's refund: " + _words(fields))
    return True


def _replace(case: Case, call: Call, fields: Complaint) -> bool:
    """Keeps the former resolution, for a person to look at."""
    wanted = (call.body or {}).get("resolution")
    why = f"29next keeps {case.resolution}, and refused {wanted}: {_words(fields)}"
    case.trouble.contradicted, case.trouble.irreplaceable = wanted, why
    case.goal.resolution = case.resolution
    case.note(why)
    return True


def _sale(case: Case, _: Call, fields: Complaint) -> bool:
    what = "to show the sale whose refund was to be recorded" + _scope(fields, "transactions:read")
    refunds.leave_out(case, f"29next refused {what}: {_words(fields)}")
    return True


def _refund(case: Case, _: Call, fields: Complaint) -> bool:
    what = "the refund" + _scope(fields, "transactions:write")
    refunds.leave_out(case, f"29next refused {what}: {_words(fields)}")
    return True


def _note(case: Case, _: Call, fields: Complaint) -> bool:
    case.leave_out(OptionalPart.NOTE)
    case.withdrawn = True
    case.trouble.unnoted = "29next refused the note: " + _words(fields)
    case.note(case.trouble.unnoted)
    return True


def _order(case: Case, call: Call, fields: Complaint) -> bool:
    """Looks for the transaction by the alert's other facts."""
    case.note(f"29next refused to show the order{_scope(fields, 'orders:read')}: {_words(fields)}")
    return _payment(case, call, fields)


def _payment(case: Case, call: Call, _: Complaint) -> bool:
    known = case.match or Match()
    asked = [*known.asked, *([call.rule] if call.rule else [])]
    case.match = dataclasses.replace(known, asked=asked, behind=None)
    return True


def _search(case: Case, _: Call, fields: Complaint) -> bool:
    """Stops looking: the token lacks the scope, or there are too many transactions."""
    case.leave_out(OptionalPart.TRANSACTION)
    case.match = Match()
    scope = "The access token may not read transactions (scope transactions:read)."
    other = "29next refuses the look-up of its transaction, or shows too many to look through."
    case.note(scope if "detail" in fields else other)
    return True


_HANDLERS: Mapping[CallKind, Callable[[Case, Call, Complaint], bool]] = {
    CallKind.CREATE: _create,
    CallKind.ATTACH: _attach,
    CallKind.RESOLVE: _resolve,
    CallKind.REPLACE: _replace,
    CallKind.SALE: _sale,
    CallKind.REFUND: _refund,
    CallKind.NOTE: _note,
    CallKind.ORDER: _order,
    CallKind.PAYMENT: _payment,
    CallKind.SEARCH: _search,
}


def _says_duplicate(fields: Complaint) -> bool:
    said = " ".join(fields.get("transaction", ())).lower()
    return any(word in said for word in DUPLICATE_WORDS)


def _scope(fields: Complaint, scope: str) -> str:
    """Returns the scope that may be missing: 29next then sends `detail`."""
    return f" (scope {scope})" if "detail" in fields else ""


def _words(fields: Complaint) -> str:
    return "; ".join(f"{name}: {' '.join(messages)}" for name, messages in fields.items())[:500]
