"""Notes on cases that may be about one sale: they share an ARN or a network id, which proves nothing."""

from __future__ import annotations

import typing
from collections.abc import Iterable

from sqlalchemy import Connection, Select, bindparam, exists, func, select, tuple_, update

from bridge.disputes.case import Case
from bridge.storage import search_terms
from bridge.storage.rows import CASES, lock_cases
from bridge.storage.schema import cases, marks

MOST_HINTS = 5
"""How many other cases with the same ARN or network id are noted on one case."""
MOST_SHARED = 100
"""How many of the newest cases with one ARN or network id, of all stores, are searched for the store's."""
NAMES = {"arn": "ARN", "network_transaction_id": "network transaction id"}

_MARKED = (
    select(marks.c.id)
    .where(marks.c.word == bindparam("sought"), marks.c.id.between(*CASES))
    .order_by(marks.c.id.desc())
)
_BOUND = func.coalesce(_MARKED.offset(bindparam("most")).limit(1).correlate(None).scalar_subquery(), "")
_NEWEST = (
    _MARKED.join(cases, cases.c.id == marks.c.id)
    .where(cases.c.store == bindparam("of"), cases.c.id != bindparam("itself"), marks.c.id > _BOUND)
    .limit(MOST_HINTS)
)


_OTHERS = marks.alias()
_IS_SHARED: Select[typing.Any] = select(marks.c.id).where(
    tuple_(marks.c.word, marks.c.id).in_(bindparam("own", expanding=True)),
    exists().where(_OTHERS.c.word == marks.c.word, _OTHERS.c.id.between(*CASES), _OTHERS.c.id != marks.c.id),
)


def note_shared_ids(connection: Connection, changed: Iterable[Case]) -> None:
    """Notes on cases, and on the others, that they share an id: no proof, since rebills share them."""
    with_ids = {case.id: (case, ids) for case in changed if (ids := _shared_ids(case))}
    own = [
        (search_terms.normalize(value), ident)
        for ident, (_, ids) in with_ids.items()
        for value in ids.values()
    ]
    # few do: one query for all spares most of them their own
    sharing = set(connection.execute(_IS_SHARED, {"own": own}).scalars()) if own else set()
    for ident in sorted(sharing):
        _note_others(connection, *with_ids[ident])


def _note_others(connection: Connection, known: Case, ids: dict[str, str]) -> None:
    others = _sharing(connection, known, ids)
    if not others:
        return
    locked = lock_cases(connection, cases.c.id.in_([known.id, *others]))
    case = next(other for other in locked if other.id == known.id)
    for other in [other for other in locked if other is not case and other.facts][-MOST_HINTS:]:
        same = next((name for name in ids if getattr(other.facts, name) == ids[name]), None)
        if same:
            case.note(_note_on(same, other))
            other.note(_note_on(same, case))
            save_notes(connection, other)
    save_notes(connection, case)


def save_notes(connection: Connection, case: Case) -> None:
    """Writes the notes of a case."""
    connection.execute(update(cases).where(cases.c.id == case.id).values(notes=case.notes))


def _shared_ids(case: Case) -> dict[str, str]:
    return {name: value for name in NAMES if case.facts and (value := getattr(case.facts, name))}


def _sharing(connection: Connection, known: Case, ids: dict[str, str]) -> set[str]:
    """Returns the newest other cases of the store that have one of some ids.

    Every alert of every store may have the same placeholder, so only MOST_SHARED of them are searched.
    """
    given = {"of": known.store, "itself": known.id, "most": MOST_SHARED}
    newest: set[str] = set()
    for value in ids.values():  # one by one, so that each is answered from the end of its index
        sought = {"sought": search_terms.normalize(value)}
        newest |= set(connection.execute(_NEWEST, given | sought).scalars())
    return newest


def _note_on(name: str, other: Case) -> str:
    number = f"{other.type} {other.case_number} ({other.id})"
    return f"It has the same {NAMES[name]} as {number}: perhaps the same sale."
