"""Applies 29next's own webhooks and lists: transactions, disputes, and stores that removed the bridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, or_, select, update

from bridge.disputes import matching
from bridge.disputes.case import Case, Json, Match
from bridge.storage import search_terms
from bridge.storage.duplicates import apply_dispute
from bridge.storage.outcomes import OutcomesOf
from bridge.storage.rows import CASES, json_of, lock_cases
from bridge.storage.schema import cases, installations, marks
from bridge.storage.transactions import row_of, upsert_transactions

MOST_WOKEN = 500
"""How many cases are compared with new transactions at once."""


def apply_event(
    connection: Connection, store: str, kind: str, thing: Json, now: float, outcomes_of: OutcomesOf
) -> None:
    """Applies a webhook of 29next about a transaction, a dispute or the installation of a store."""
    if kind == "transaction":
        add_transactions(connection, store, [thing], now)
    elif kind == "dispute":
        apply_dispute(connection, store, thing, now, outcomes_of)
    elif kind == "app":
        _forget_token(connection, store, thing["received_at"], now)


def add_transactions(
    connection: Connection,
    store: str,
    rows: Sequence[Json],
    now: float,
    *,
    certain: bool = False,
    asked_by: str | None = None,
) -> int:
    """Adds transactions to the index, and wakes the cases they may belong to; returns how many changed it.

    `certain` rows were read to settle a contradiction, so they win. The case `asked_by` is not woken: it
    takes its rows in by itself.
    """
    fresh = upsert_transactions(connection, store, rows, now, certain=certain)
    for case in _unmatched(connection, store, fresh, now):
        facts = case.facts
        if case.id != asked_by and facts and any(matching.shares_fact(facts, row) for row in fresh):
            woken = replace(case.match or Match(), woken_at=now)
            again = {"match": json_of(woken), "due_at": min(case.due_at or now, now)}
            connection.execute(update(cases).where(cases.c.id == case.id).values(**again))
    return len(fresh)


def _unmatched(connection: Connection, store: str, fresh: Sequence[Json], now: float) -> list[Case]:
    """Returns, locked, the cases that wait for a transaction and share a search term with one of these."""
    terms = sorted({term for row in fresh for term in search_terms.of_transaction(row_of(store, row))})
    if not terms:
        return []
    named = select(marks.c.id).where(marks.c.word.in_(terms), marks.c.id.between(*CASES))
    waiting = lock_cases(
        connection,
        cases.c.id.in_(named),
        cases.c.store == store,
        cases.c.transaction_id.is_(None),
        cases.c.duplicate_of.is_(None),
        cases.c.deadline_at >= now,
        or_(cases.c.dispute_id.is_not(None), cases.c.due_at.is_not(None)),  # else it has been ended
        most=MOST_WOKEN,
    )
    return [case for case in waiting if not case.matched_id]


def _forget_token(connection: Connection, store: str, received_at: float, now: float) -> None:
    """Removes the token of a store that has removed the bridge, unless it was installed again since."""
    known = update(installations).where(
        installations.c.store == store, installations.c.installed_at < received_at
    )
    connection.execute(known.values(token=None, uninstalled_at=now))
