"""A case's search for its transaction: what the index and 29next know, and what a person decides. Pure."""

from __future__ import annotations

import dataclasses
import typing

from bridge.disputes import matching
from bridge.disputes.case import Call, Case, Json, Kind, Match, Part, Rule

OF_TRANSACTIONS = frozenset({Kind.SEARCH, Kind.ORDER, Kind.PAYMENT})
"""The look-ups that show transactions: see `rows_of`."""


def question(case: Case) -> Call | None:
    """Return the look-up for the transaction that is due at 29next; None once one was found."""
    if Part.TRANSACTION in case.without or case.facts is None:
        return None
    match = case.match or Match()
    if match.transaction_id or match.closed or len(match.asked) >= matching.LOOK_UPS:
        return None
    if match.behind:
        return Call(Kind.PAYMENT, "GET", f"transactions/{match.behind}/", rule=Rule.PAYMENT)
    queries = matching.queries(case.dated_facts)
    return next((call for rule, call in queries.items() if rule not in match.asked), None)


def is_sought(case: Case) -> bool:
    """Whether the transaction is still to be looked for, or to be attached."""
    if case.transaction_id is not None:
        return False
    return asks_index(case) or question(case) is not None or is_unattached(case)


def is_unattached(case: Case) -> bool:
    """Whether a transaction was found that the dispute does not have yet."""
    return case.found is not None and case.transaction_id is None and Part.TRANSACTION not in case.without


def asks_index(case: Case) -> bool:
    """Whether the local index should be asked: at first, and again once it has learned more."""
    return case.facts is not None and (case.match is None or case.match.woken_at is not None)


def apply_index(case: Case, rows: list[Json], *, complete: bool) -> None:
    """Take in what the local index knows; where several fit there already, 29next is not asked.

    A case that looks again asks 29next again too, unless the index is known to have everything.
    """
    known = case.match or Match()
    if case.is_decided or Part.TRANSACTION in case.without:
        case.match = dataclasses.replace(known, woken_at=None, heeded_at=known.woken_at)
        return
    choice = matching.choose(case.dated_facts, rows, complete=complete)
    case.match = dataclasses.replace(
        chosen(choice, rows),
        asked=list(known.asked) if complete else [],
        closed=any(one["why"] == matching.SEVERAL for one in choice.candidates),
        heeded_at=known.woken_at,
    )


def rows_of(call: Call, answer: typing.Any) -> list[Json]:
    """Return the transactions that a look-up answered: those of a list, one alone, or all of an order.

    An order that is not there, that is another one, or that cannot be read has none.
    """
    if call.kind is not Kind.ORDER:
        return answer if isinstance(answer, list) else [answer]
    order = answer or {}
    number, rows = order.get("number"), order.get("transactions")
    if call.path != f"orders/{number}/" or not isinstance(rows, list):
        return []
    if not all(isinstance(row, dict) for row in rows):
        return []
    return [row | {"order": number, "is_test": order.get("is_test") or row.get("is_test")} for row in rows]


def apply_rows(case: Case, call: Call, rows: list[Json]) -> None:
    """Take in transactions that 29next answered; candidates of earlier look-ups stay."""
    if case.is_decided:
        return
    before = case.match or Match()
    choice = matching.choose(case.dated_facts, rows, earlier=before.candidates)
    seen = {one["id"] for one in choice.candidates}
    kept = [one for one in before.candidates if one["id"] not in seen and not choice.transaction_id]
    case.match = dataclasses.replace(
        chosen(choice, rows),
        asked=[*before.asked, typing.cast("Rule", call.rule)],
        behind=matching.payment_behind(case.dated_facts, rows),
        closed=before.closed,
        candidates=[*choice.candidates, *kept][: matching.MOST_CANDIDATES],
        woken_at=before.woken_at,
        heeded_at=before.heeded_at,
    )


def chosen(choice: matching.Choice, rows: list[Json]) -> Match:
    """Return a choice as a match, with the money of the transaction: a refund is recorded in its currency."""
    row = next((row for row in rows if row["id"] == choice.transaction_id), {})
    return Match(
        rule=choice.rule,
        transaction_id=choice.transaction_id,
        amount=row.get("amount"),
        currency=row.get("currency"),
        candidates=list(choice.candidates),
    )


def decide(case: Case, transaction_id: int | None) -> None:
    """Take a person's word for the transaction, or for there being none."""
    before = case.match or Match()
    row: Json = next((one for one in before.candidates if one["id"] == transaction_id), {})
    case.match = dataclasses.replace(
        before,
        transaction_id=transaction_id,
        amount=row.get("amount"),
        currency=row.get("currency"),
        rule=Rule.MANUAL if transaction_id else Rule.NONE,
        closed=True,
    )
    case.pending.holder = None
    if Part.TRANSACTION in case.without:
        case.without.remove(Part.TRANSACTION)


def claims_transaction(case: Case) -> bool:
    """Whether a case is about to be the one that holds the dispute of its transaction."""
    return bool(case.found) and case.transaction_id is None and not (case.unconfirmed or case.is_duplicate)


def is_stale(case: Case, known: Case) -> bool:
    """Whether a case learned more since its match, as `known` has it, was looked for."""
    woken_at = case.match.woken_at if case.match else None
    heeded_at = known.match.heeded_at if known.match else None
    return case.facts != known.facts or woken_at != heeded_at
