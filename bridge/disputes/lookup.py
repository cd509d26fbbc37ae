"""Finds a case's transaction: in the index, at 29next, or by a person's decision. Pure."""

from __future__ import annotations

import dataclasses
import typing

from bridge.disputes import matching
from bridge.disputes.case import Call, CallKind, Case, Json, Match, OptionalPart, Rule

OF_TRANSACTIONS = frozenset({CallKind.SEARCH, CallKind.ORDER, CallKind.PAYMENT})
"""The look-ups that return transactions: see `rows_of`."""


def next_lookup(case: Case) -> Call | None:
    """Returns the next look-up for the transaction at 29next; None once it was found, or none is left."""
    if OptionalPart.TRANSACTION in case.without or case.facts is None:
        return None
    match = case.match or Match()
    if match.transaction_id or match.closed or len(match.asked) >= matching.LOOK_UPS:
        return None
    if match.behind:
        return Call(CallKind.PAYMENT, "GET", f"transactions/{match.behind}/", rule=Rule.PAYMENT)
    queries = matching.queries(case.dated_facts)
    return next((call for rule, call in queries.items() if rule not in match.asked), None)


def lacks_transaction(case: Case) -> bool:
    """Whether the transaction has still to be found, or to be attached."""
    if case.transaction_id is not None:
        return False
    return needs_index(case) or next_lookup(case) is not None or is_unattached(case)


def is_unattached(case: Case) -> bool:
    """Whether a transaction was matched that the dispute does not have yet."""
    return (
        case.matched_id is not None
        and case.transaction_id is None
        and OptionalPart.TRANSACTION not in case.without
    )


def needs_index(case: Case) -> bool:
    """Whether to query the local index: at first, and again once it has new transactions that may fit."""
    return case.facts is not None and (case.match is None or case.match.woken_at is not None)


def apply_index(case: Case, rows: list[Json], *, complete: bool) -> None:
    """Matches the case with transactions of the local index; if several fit there, 29next is not asked.

    A case that is matched again asks 29next again too, unless the index is complete.
    """
    known = case.match or Match()
    if case.is_decided or OptionalPart.TRANSACTION in case.without:
        case.match = dataclasses.replace(known, woken_at=None, heeded_at=known.woken_at)
        return
    choice = matching.choose(case.dated_facts, rows, complete=complete)
    case.match = dataclasses.replace(
        match_of(choice, rows),
        asked=list(known.asked) if complete else [],
        closed=any(candidate["why"] == matching.SEVERAL for candidate in choice.candidates),
        heeded_at=known.woken_at,
    )


def rows_of(call: Call, answer: typing.Any) -> list[Json]:
    """Returns the transactions of an answer: a list, a single one, or all of an order.

    An order that does not exist, has another number or cannot be read has none.
    """
    if call.kind is not CallKind.ORDER:
        return answer if isinstance(answer, list) else [answer]
    order = answer or {}
    number, rows = order.get("number"), order.get("transactions")
    if call.path != f"orders/{number}/" or not isinstance(rows, list):
        return []
    if not all(isinstance(row, dict) for row in rows):
        return []
    return [row | {"order": number, "is_test": order.get("is_test") or row.get("is_test")} for row in rows]


def apply_rows(case: Case, call: Call, rows: list[Json]) -> None:
    """Matches the case with transactions that 29next returned; candidates of earlier look-ups stay."""
    if case.is_decided:
        return
    before = case.match or Match()
    choice = matching.choose(case.dated_facts, rows, earlier=before.candidates)
    seen = {candidate["id"] for candidate in choice.candidates}
    kept = [
        candidate
        for candidate in before.candidates
        if candidate["id"] not in seen and not choice.transaction_id
    ]
    case.match = dataclasses.replace(
        match_of(choice, rows),
        asked=[*before.asked, typing.cast("Rule", call.rule)],
        behind=matching.payment_behind(case.dated_facts, rows),
        closed=before.closed,
        candidates=[*choice.candidates, *kept][: matching.MOST_CANDIDATES],
        woken_at=before.woken_at,
        heeded_at=before.heeded_at,
    )


def match_of(choice: matching.Choice, rows: list[Json]) -> Match:
    """Returns a choice as a match, with the transaction's amount: a refund is recorded in its currency."""
    row = next((row for row in rows if row["id"] == choice.transaction_id), {})
    return Match(
        rule=choice.rule,
        transaction_id=choice.transaction_id,
        amount=row.get("amount"),
        currency=row.get("currency"),
        candidates=list(choice.candidates),
    )


def decide_match(case: Case, transaction_id: int | None) -> None:
    """Applies a person's decision: a transaction, or None if there is none."""
    before = case.match or Match()
    row: Json = next((candidate for candidate in before.candidates if candidate["id"] == transaction_id), {})
    case.match = dataclasses.replace(
        before,
        transaction_id=transaction_id,
        amount=row.get("amount"),
        currency=row.get("currency"),
        rule=Rule.MANUAL if transaction_id else Rule.NONE,
        closed=True,
    )
    case.pending.holder = None
    if OptionalPart.TRANSACTION in case.without:
        case.without.remove(OptionalPart.TRANSACTION)


def claims_transaction(case: Case) -> bool:
    """Whether a case is about to open or attach the dispute of its transaction."""
    return (
        bool(case.matched_id) and case.transaction_id is None and not (case.unconfirmed or case.is_duplicate)
    )


def is_stale(case: Case, known: Case) -> bool:
    """Whether a case has changed since it was read as `known`, so that the match of that is out of date."""
    woken_at = case.match.woken_at if case.match else None
    heeded_at = known.match.heeded_at if known.match else None
    return case.facts != known.facts or woken_at != heeded_at
