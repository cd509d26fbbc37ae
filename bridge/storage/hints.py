"""What hints at two cases being about one sale, where nothing proves it: the same ARN or network id."""

from __future__ import annotations

import typing

from sqlalchemy import Connection, Select, bindparam, exists, func, select, tuple_, update

from bridge.storage import words
from bridge.storage.rows import CASES, case_of
from bridge.storage.schema import cases, marks

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.disputes.case import Case

MOST_HINTS = 5
"""Other cases with the same ARN or network id that one case is told of."""
MOST_SHARED = 100
"""Newest cases of all stores with one ARN or network id among which those of the store are looked for."""
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


def hint(connection: Connection, known: Iterable[Case]) -> None:
    """Say on cases and on others that they share an id: no proof, for rebills share them."""
    told = {case.id: (case, shared) for case in known if (shared := _shared(case))}
    own = [(words.word(value), ident) for ident, (_, shared) in told.items() for value in shared.values()]
    # few are: one question for all spares most of them their own
    found = set(connection.execute(_IS_SHARED, {"own": own}).scalars()) if own else set()
    for ident in sorted(found):
        _hint(connection, *told[ident])


def _hint(connection: Connection, known: Case, told: dict[str, str]) -> None:
    others = _sharing(connection, known, told)
    if not others:
        return
    chosen = select(cases).where(cases.c.id.in_([known.id, *others]))
    found = [case_of(row) for row in connection.execute(chosen.order_by(cases.c.id).with_for_update())]
    case = next(one for one in found if one.id == known.id)
    for other in [one for one in found if one is not case and one.facts][-MOST_HINTS:]:
        same = next((name for name in told if getattr(other.facts, name) == told[name]), None)
        if same:
            case.note(_hinted(same, other))
            other.note(_hinted(same, case))
            save_notes(connection, other)
    save_notes(connection, case)


def save_notes(connection: Connection, case: Case) -> None:
    """Write what a person should know of a case."""
    connection.execute(update(cases).where(cases.c.id == case.id).values(notes=case.notes))


def _shared(case: Case) -> dict[str, str]:
    return {name: value for name in NAMES if case.facts and (value := getattr(case.facts, name))}


def _sharing(connection: Connection, known: Case, told: dict[str, str]) -> set[str]:
    """Return the newest other cases of the store with one of some facts.

    A placeholder may stand in every alert of every store: so only so many of them are looked through.
    """
    newest: set[str] = set()
    for value in told.values():  # one by one, so that each is answered from the end of its index
        given = {"sought": words.word(value), "of": known.store, "itself": known.id, "most": MOST_SHARED}
        newest |= set(connection.execute(_NEWEST, given).scalars())
    return newest


def _hinted(name: str, other: Case) -> str:
    number = f"{other.type} {other.case_number} ({other.id})"
    return f"It has the same {NAMES[name]} as {number}: perhaps the same sale."
