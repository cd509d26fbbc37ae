"""The first queue: what the deliveries that nobody had translated yet turn out to say, and their cases.

They are judged outside of any transaction and taken in together: webhooks and intents to send wait
no longer for a batch than its rows take to write.
"""

from __future__ import annotations

import typing
from collections import Counter
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Row, Select, bindparam, select, tuple_, update

from bridge.alert import Alert, Reason, Status
from bridge.disputes.case import Case
from bridge.disputes.events import Settled, merge, settled
from bridge.disputes.lookup import asks_index
from bridge.storage import words
from bridge.storage.cases import recovered
from bridge.storage.hearing import hear
from bridge.storage.hints import hint
from bridge.storage.ids import new_id
from bridge.storage.outcomes import echoed, owe
from bridge.storage.relating import tell_holder
from bridge.storage.rows import case_of, insert_cases, mark, numbers_of, write_cases
from bridge.storage.schema import cases, deliveries, ignored_events, stores
from bridge.storage.upsert import insert_into

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from bridge.providers.base import Reading
    from bridge.settings import Store
    from bridge.storage.outcomes import Told
    from bridge.storage.rows import Marks

_PAUSED = select(stores.c.name).where(stores.c.paused_at.is_not(None))
_NAMES: Select[typing.Any] = select(cases.c.store, cases.c.case_number, cases.c.type).where(
    tuple_(cases.c.store, cases.c.case_number, cases.c.type).in_(bindparam("keys", expanding=True))
)
_KNOWN = (
    select(cases)
    .where(cases.c.store == bindparam("of"), cases.c.case_number == bindparam("number"))
    .where(cases.c.type == bindparam("kind"))
    .with_for_update()
)
_CHANGE = update(deliveries).where(deliveries.c.id == bindparam("ident"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the translation of one delivery came to."""

    status: Status
    reason: Reason | None = None
    message: str | None = None
    errors: Mapping[str, Sequence[str]] | None = None
    reading: Reading | None = None
    store: Store | None = None
    again_at: float | None = None  # pending, and translated once more then
    told: tuple[str, dict[str, typing.Any]] | None = None  # what 29next tells: kind and object
    listed: bool = True  # whether the event type is listed, or only about something else


Judged = tuple[Row[typing.Any], Verdict]
_Key = tuple[str, str, str]


class _Reported(typing.NamedTuple):
    """A delivery that belongs to a case, and what it says."""

    row: Row[typing.Any]
    reading: Reading
    alert: Alert
    store: Store

    def settled(self, case: Case) -> Settled | None:
        """Say how it ends with its case as it is now, or None while it is owed."""
        return settled(case, self.row.provider, self.reading.effect, self.alert, self.row.received_at)

    @property
    def key(self) -> _Key:
        """What no two cases share."""
        return (self.store.name, self.alert.case_number, self.alert.type.value)


def take_in(connection: Connection, judged: Sequence[Judged], now: float, told: Told) -> None:
    """Take in the verdicts on those deliveries that nobody else has taken in meanwhile."""
    paused = set(connection.execute(_PAUSED).scalars())
    restored = recovered(connection)
    taken: list[tuple[dict[str, typing.Any], list[Marks]]] = []
    changed: dict[str, Case] = {}
    mine = _untaken(connection, judged, now)
    for _, verdict in mine:
        if verdict.told and verdict.store:
            hear(connection, verdict.store.name, *verdict.told, now, told)
    new = _new_cases(connection, [one for pair in mine if (one := _reported(*pair))])
    for row, verdict in mine:
        one, case = _reported(row, verdict), None
        if one:
            if one.alert.resolution and row.provider in told(one.store.name):
                echoes = echoed(connection, one.store.name, row.provider, one.alert)
                one = one._replace(alert=replace(one.alert, equals=(*one.alert.equals, *echoes)))
            case = _attach(connection, one, new.get(one.key), restored, now)
            changed[case.id] = case
        taken.append((_values(row, verdict, one, case, paused, now), list(_marks(row, verdict, one, case))))
    lost = {case.id for case in new.values()} - insert_cases(connection, new.values())
    for ident in lost:  # another worker makes them just now: the next batch finds them
        del changed[ident]
    taken = [one for one in taken if one[0]["case_id"] not in lost]
    if taken:
        connection.execute(_CHANGE, [values for values, _ in taken])
    mark(connection, [found for _, marks in taken for found in marks])
    _count_ignored(connection, mine, now)
    hint(connection, changed.values())
    for case in changed.values():
        owe(connection, case, now, told)  # it may be resolved already


def _untaken(connection: Connection, judged: Sequence[Judged], now: float) -> list[Judged]:
    """Return, locked, those that are still to be taken in, in the order in which all processes do so.

    What 29next tells comes first, then case by case, and of each case what was received first.
    """
    ids = [row.id for row, _ in judged]  # and nothing else, so that they are found at once
    again = select(deliveries.c.id, deliveries.c.status, deliveries.c.case_id, deliveries.c.due_at)
    again = again.where(deliveries.c.id.in_(ids)).with_for_update(skip_locked=True)
    ours = {
        row.id
        for row in connection.execute(again)
        if row.status == Status.PENDING and row.case_id is None and row.due_at <= now
    }

    def order(pair: Judged) -> tuple[typing.Any, ...]:
        row, one = pair[0], _reported(*pair)
        return (one.key if one else (), row.received_at, row.id)

    return sorted((pair for pair in judged if pair[0].id in ours), key=order)


def _new_cases(connection: Connection, reported: Sequence[_Reported]) -> dict[_Key, Case]:
    """Return a case for each of the alerts that none is stored for."""
    first = {one.key: one for one in reversed(reported)}
    known = {tuple(row) for row in connection.execute(_NAMES, {"keys": list(first)})} if first else set()
    return {key: _new_case(one) for key, one in sorted(first.items()) if key not in known}


def _attach(
    connection: Connection, one: _Reported, new: Case | None, restored: Callable[[str], float], now: float
) -> Case:
    """Let a case take in an alert: a `new` one that is about to be stored, or the one that is."""
    store, number, kind = one.key
    case = new or case_of(connection.execute(_KNOWN, {"of": store, "number": number, "kind": kind}).one())
    if ended := case.is_ended:
        case.pending.looked_first = False
    unknown = _is_known_since(case, one) < restored(store)
    merge(
        case,
        one.row.provider,
        one.reading.effect,
        one.alert,
        one.row.received_at,
        errors=one.reading.errors,
        look_first=one.store.look_first or ended or unknown,
    )
    passes_on = case.duplicate_of is not None and one.alert.resolution is not None
    if passes_on:
        case.deadline_at = one.row.deadline_at
    _make_due(case, one, now)
    if passes_on:
        tell_holder(connection, case, now)
    if not new:
        write_cases(connection, [case])
    return case


def _count_ignored(connection: Connection, judged: Sequence[Judged], now: float) -> None:
    """Count the event types by which nothing is done, so that a new one is seen."""
    ignored = Counter(
        (row.provider, row.event_type, verdict.listed)
        for row, verdict in judged
        if verdict.reason is Reason.IGNORE and row.event_type
    )
    for (provider, event_type, listed), count in sorted(ignored.items()):
        row = {"provider": provider, "event_type": event_type, "listed": listed, "count": count}
        fresh = insert_into(connection, ignored_events).values(**row, first_at=now, last_at=now)
        again = {"count": ignored_events.c.count + count, "listed": listed, "last_at": now}
        connection.execute(fresh.on_conflict_do_update(index_elements=["provider", "event_type"], set_=again))


def _reported(row: Row[typing.Any], verdict: Verdict) -> _Reported | None:
    """Return a delivery that is to be brought to 29next, for a case of a store."""
    reading, store = verdict.reading, verdict.store
    if verdict.status is Status.PENDING and reading and reading.alert and store:
        return _Reported(row, reading, reading.alert, store)
    return None


def _new_case(one: _Reported) -> Case:
    return Case(
        id=new_id("c", one.row.received_at),
        store=one.store.name,
        case_number=one.alert.case_number,
        type=one.alert.type,
        provider=one.row.provider,
        opened_at=one.row.received_at,
        deadline_at=one.row.deadline_at,
    )


def _is_known_since(case: Case, one: _Reported) -> float:
    """Return when 29next may first have heard of a case."""
    if case.facts:
        return case.opened_at
    received_at = float(one.row.received_at)
    return min(one.alert.happened_at.timestamp() if one.alert.happened_at else received_at, received_at)


def _make_due(case: Case, one: _Reported, now: float) -> None:
    """Let a case that an alert wants something of be worked on, by the more urgent of its deadlines."""
    unmatched = case.transaction_id is None and asks_index(case)
    if unmatched or case.due_at is not None or one.settled(case) is None:
        idle = case.due_at is None
        case.tries = 0 if idle else case.tries
        case.deadline_at = one.row.deadline_at if idle else min(case.deadline_at, one.row.deadline_at)
        case.due_at = min(case.due_at or one.row.received_at, now)


def _values(
    row: Row[typing.Any],
    verdict: Verdict,
    one: _Reported | None,
    case: Case | None,
    paused: Collection[str],
    now: float,
) -> dict[str, typing.Any]:
    """Return what a delivery's row says once it has its verdict."""
    reading, store = verdict.reading, verdict.store
    alert = reading.alert if reading else None
    status, reason, due_at = verdict.status, verdict.reason, verdict.again_at
    message, errors = verdict.message, verdict.errors or (reading.errors if reading else None) or None
    if one and case:
        due_at = now
        if end := one.settled(case):
            status, reason, message, due_at = end.status, end.reason, end.message, None
        elif one.store.name in paused:
            reason = Reason.STORE_PAUSED
    return {
        "ident": row.id,
        "status": status,
        "reason": reason,
        "message": message,
        "errors": errors,
        "due_at": due_at,
        "tries": row.tries + (1 if verdict.again_at else 0),
        "effect": reading.effect if reading else row.effect,
        "alert": alert.to_json() if alert else None if reading else row.alert,
        "case_id": case.id if case else None,
        "case_number": alert.case_number if alert else row.case_number,
        "store": store.name if store else row.store,
        "settled_at": None if status is Status.PENDING else now,
    }


def _marks(
    row: Row[typing.Any], verdict: Verdict, one: _Reported | None, case: Case | None
) -> Iterable[Marks]:
    """Yield the words by which a delivery and its case are found."""
    found = {words.word(row.event_id)}
    if verdict.reading and verdict.reading.alert:
        found |= words.of_alert(verdict.reading.alert)
    if one and case:
        yield case.id, words.of_alert(one.alert) | {words.reported_by(row.provider)}
        found |= numbers_of(case)
    yield row.id, found
