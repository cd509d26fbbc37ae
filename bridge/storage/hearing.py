"""What 29next's own webhooks and lists tell: transactions, disputes, and stores that it was removed from."""

from __future__ import annotations

import typing
from dataclasses import replace

from sqlalchemy import Connection, or_, select, update

from bridge.disputes import matching
from bridge.disputes.case import Match
from bridge.storage import words
from bridge.storage.relating import tell_dispute
from bridge.storage.rows import CASES, case_of, json_of
from bridge.storage.schema import cases, installations, marks
from bridge.storage.transactions import put, row_of

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.disputes.case import Case
    from bridge.storage.outcomes import Told

Json = dict[str, typing.Any]

MOST_WOKEN = 500
"""Cases that are looked through for one transaction."""


def hear(connection: Connection, store: str, kind: str, thing: Json, now: float, told: Told) -> None:
    """Take in what a webhook of 29next tells of something of a store."""
    if kind == "transaction":
        hear_of_transactions(connection, store, [thing], now)
    elif kind == "dispute":
        tell_dispute(connection, store, thing, now, told)
    elif kind == "app":
        _forget_token(connection, store, thing["received_at"], now)


def hear_of_transactions(
    connection: Connection,
    store: str,
    rows: Sequence[Json],
    now: float,
    *,
    certain: bool = False,
    asked_by: str | None = None,
) -> int:
    """Take in transactions, and wake the cases that may be about them; returns how many were news.

    `certain` is what was read for the very purpose of settling a contradiction; a case that they were
    read for takes them in by itself.
    """
    fresh = put(connection, store, rows, now, certain=certain)
    for case in _unmatched(connection, store, fresh, now):
        facts = case.facts
        if case.id != asked_by and facts and any(matching.is_kin(facts, one) for one in fresh):
            woken = replace(case.match or Match(), woken_at=now)
            again = {"match": json_of(woken), "due_at": min(case.due_at or now, now)}
            connection.execute(update(cases).where(cases.c.id == case.id).values(**again))
    return len(fresh)


def _unmatched(connection: Connection, store: str, fresh: Sequence[Json], now: float) -> list[Case]:
    """Return, locked, the cases that wait for their transaction and share a word with one of these."""
    found = sorted({word for one in fresh for word in words.of_transaction(row_of(store, one))})
    if not found:
        return []
    named = select(marks.c.id).where(marks.c.word.in_(found), marks.c.id.between(*CASES))
    waiting = select(cases).where(
        cases.c.id.in_(named),
        cases.c.store == store,
        cases.c.transaction_id.is_(None),
        cases.c.duplicate_of.is_(None),
        cases.c.deadline_at >= now,
        or_(cases.c.dispute_id.is_not(None), cases.c.due_at.is_not(None)),  # else it has been ended
    )
    rows = connection.execute(waiting.order_by(cases.c.id).limit(MOST_WOKEN).with_for_update())
    return [case for case in map(case_of, rows) if not case.found]


def _forget_token(connection: Connection, store: str, received_at: float, now: float) -> None:
    """Forget the token of a store that has removed the bridge, unless it was installed anew since."""
    known = update(installations).where(
        installations.c.store == store, installations.c.installed_at < received_at
    )
    connection.execute(known.values(token=None, uninstalled_at=now))
