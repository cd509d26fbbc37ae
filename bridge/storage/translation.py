"""The first queue: applies the translations of deliveries, and makes or updates their cases.

The worker translates outside of any transaction, and this module writes a batch at once: webhooks and
intents to send wait no longer for it than its rows take to write.
"""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Row, Select, bindparam, select, tuple_, update

from bridge.alert import Alert, Reason, Status
from bridge.disputes.case import Case
from bridge.disputes.events import Settled, merge, settled
from bridge.disputes.lookup import needs_index
from bridge.providers.base import Reading
from bridge.settings import Store
from bridge.storage import search_terms
from bridge.storage.cases import restore_times
from bridge.storage.duplicates import pass_to_holder
from bridge.storage.hints import note_shared_ids
from bridge.storage.ids import new_id
from bridge.storage.next_events import apply_event
from bridge.storage.outcomes import OutcomesOf, add_outcomes, echoed_resolutions
from bridge.storage.rows import Terms, add_search_terms, case_of, insert_cases, numbers_of, write_cases
from bridge.storage.schema import cases, deliveries, ignored_events
from bridge.storage.stores import PAUSED_STORES
from bridge.storage.upsert import insert_into

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
class Translation:
    """What one delivery means, and where it belongs."""

    status: Status
    reason: Reason | None = None
    message: str | None = None
    errors: Mapping[str, Sequence[str]] | None = None
    reading: Reading | None = None
    store: Store | None = None
    again_at: float | None = None  # pending, and due for another translation then
    next_event: tuple[str, dict[str, typing.Any]] | None = None  # of 29next's webhook: kind and object
    listed: bool = True  # whether the provider's table lists the event type


Translated = tuple[Row[typing.Any], Translation]
_Key = tuple[str, str, str]


class _Reported(typing.NamedTuple):
    """A delivery that belongs to a case, with its alert."""

    row: Row[typing.Any]
    reading: Reading
    alert: Alert
    store: Store

    def settled(self, case: Case) -> Settled | None:
        """Returns how it ends with its case as it is now, or None while it is pending."""
        return settled(case, self.row.provider, self.reading.effect, self.alert, self.row.received_at)

    @property
    def key(self) -> _Key:
        """The store, case number and type: what identifies a case."""
        return (self.store.name, self.alert.case_number, self.alert.type.value)


_Locked = tuple[Row[typing.Any], Translation, _Reported | None]


def apply_translations(
    connection: Connection, translated: Sequence[Translated], now: float, outcomes_of: OutcomesOf
) -> None:
    """Applies the translations of those deliveries that no other worker has translated meanwhile."""
    paused = set(connection.execute(PAUSED_STORES).scalars())
    restored = restore_times(connection)
    taken: list[tuple[dict[str, typing.Any], list[Terms]]] = []
    changed: dict[str, Case] = {}
    mine = _untranslated(connection, translated, now)
    for _, translation, _ in mine:
        if translation.next_event and translation.store:
            apply_event(connection, translation.store.name, *translation.next_event, now, outcomes_of)
    new = _new_cases(connection, [reported for *_, reported in mine if reported])
    for row, translation, received in mine:
        reported, case = received, None
        if reported:
            if reported.alert.resolution and row.provider in outcomes_of(reported.store.name):
                echoes = echoed_resolutions(connection, reported.store.name, row.provider, reported.alert)
                alert = replace(reported.alert, equals=(*reported.alert.equals, *echoes))
                reported = reported._replace(alert=alert)
            case = _merge_into_case(connection, reported, new.get(reported.key), restored, now)
            changed[case.id] = case
        terms = list(_search_terms(row, translation, reported, case))
        taken.append((_values(row, translation, reported, case, paused, now), terms))
    lost = {case.id for case in new.values()} - insert_cases(connection, new.values())
    for ident in lost:  # another worker is making them: the next batch finds them
        del changed[ident]
    taken = [(values, terms) for values, terms in taken if values["case_id"] not in lost]
    if taken:
        connection.execute(_CHANGE, [values for values, _ in taken])
    add_search_terms(connection, [found for _, terms in taken for found in terms])
    _count_ignored(connection, mine, now)
    note_shared_ids(connection, changed.values())
    for case in changed.values():
        add_outcomes(connection, case, now, outcomes_of)  # it may be resolved already


def _untranslated(connection: Connection, translated: Sequence[Translated], now: float) -> list[_Locked]:
    """Returns, locked, those that are still untranslated, in the same order in all processes.

    29next's own events come first, then case by case, and for each case what was received first.
    """
    ids = [row.id for row, _ in translated]  # by id only: the primary key answers it
    again = select(deliveries.c.id, deliveries.c.status, deliveries.c.case_id, deliveries.c.due_at)
    again = again.where(deliveries.c.id.in_(ids)).with_for_update(skip_locked=True)
    ours = {
        row.id
        for row in connection.execute(again)
        if row.status == Status.PENDING and row.case_id is None and row.due_at <= now
    }

    def order(locked: _Locked) -> tuple[typing.Any, ...]:
        row, _, reported = locked
        return (reported.key if reported else (), row.received_at, row.id)

    return sorted(((*pair, _reported(*pair)) for pair in translated if pair[0].id in ours), key=order)


def _new_cases(connection: Connection, reported: Sequence[_Reported]) -> dict[_Key, Case]:
    """Returns a new case for each alert that has no stored case."""
    first = {delivery.key: delivery for delivery in reversed(reported)}
    known = {tuple(row) for row in connection.execute(_NAMES, {"keys": list(first)})} if first else set()
    return {key: _new_case(delivery) for key, delivery in sorted(first.items()) if key not in known}


def _merge_into_case(
    connection: Connection,
    reported: _Reported,
    new: Case | None,
    restored: Callable[[str], float],
    now: float,
) -> Case:
    """Merges an alert into its case, a `new` one or the stored one; returns the case."""
    store, number, kind = reported.key
    case = new or case_of(connection.execute(_KNOWN, {"of": store, "number": number, "kind": kind}).one())
    if ended := case.is_ended:
        case.pending.looked_first = False
    unknown = _known_since(case, reported) < restored(store)
    merge(
        case,
        reported.row.provider,
        reported.reading.effect,
        reported.alert,
        reported.row.received_at,
        errors=reported.reading.errors,
        look_first=reported.store.look_first or ended or unknown,
    )
    passes_on = case.duplicate_of is not None and reported.alert.resolution is not None
    if passes_on:
        case.deadline_at = reported.row.deadline_at
    _make_due(case, reported, now)
    if passes_on:
        pass_to_holder(connection, case, now)
    if not new:
        write_cases(connection, [case])
    return case


def _count_ignored(connection: Connection, translated: Sequence[_Locked], now: float) -> None:
    """Counts the ignored event types, so that a new one is noticed."""
    ignored = Counter(
        (row.provider, row.event_type, translation.listed)
        for row, translation, _ in translated
        if translation.reason is Reason.IGNORE and row.event_type
    )
    for (provider, event_type, listed), count in sorted(ignored.items()):
        row = {"provider": provider, "event_type": event_type, "listed": listed, "count": count}
        fresh = insert_into(connection, ignored_events).values(**row, first_at=now, last_at=now)
        again = {"count": ignored_events.c.count + count, "listed": listed, "last_at": now}
        connection.execute(fresh.on_conflict_do_update(index_elements=["provider", "event_type"], set_=again))


def _reported(row: Row[typing.Any], translation: Translation) -> _Reported | None:
    """Returns the delivery with its alert if it is to be forwarded to a store, else None."""
    reading, store = translation.reading, translation.store
    if translation.status is Status.PENDING and reading and reading.alert and store:
        return _Reported(row, reading, reading.alert, store)
    return None


def _new_case(reported: _Reported) -> Case:
    return Case(
        id=new_id("c", reported.row.received_at),
        store=reported.store.name,
        case_number=reported.alert.case_number,
        type=reported.alert.type,
        provider=reported.row.provider,
        opened_at=reported.row.received_at,
        deadline_at=reported.row.deadline_at,
    )


def _known_since(case: Case, reported: _Reported) -> float:
    """Returns since when 29next may know of a case."""
    if case.facts:
        return case.opened_at
    received_at, happened_at = float(reported.row.received_at), reported.alert.happened_at
    return min(happened_at.timestamp(), received_at) if happened_at else received_at


def _make_due(case: Case, reported: _Reported, now: float) -> None:
    """Makes a case due if the alert needs something of it, by the more urgent of the deadlines."""
    unmatched = case.transaction_id is None and needs_index(case)
    if unmatched or case.due_at is not None or reported.settled(case) is None:
        if case.due_at is None:
            case.tries, case.deadline_at = 0, reported.row.deadline_at
        case.deadline_at = min(case.deadline_at, reported.row.deadline_at)
        case.due_at = min(case.due_at or reported.row.received_at, now)


def _values(
    row: Row[typing.Any],
    translation: Translation,
    reported: _Reported | None,
    case: Case | None,
    paused: Collection[str],
    now: float,
) -> dict[str, typing.Any]:
    """Returns the new values of a delivery's row."""
    reading, store = translation.reading, translation.store
    alert = reading.alert if reading else None
    status, reason, due_at = translation.status, translation.reason, translation.again_at
    message, errors = translation.message, translation.errors or (reading.errors if reading else None) or None
    if reported and case:
        due_at = now
        if end := reported.settled(case):
            status, reason, message, due_at = end.status, end.reason, end.message, None
        elif reported.store.name in paused:
            reason = Reason.STORE_PAUSED
    return {
        "ident": row.id,
        "status": status,
        "reason": reason,
        "message": message,
        "errors": errors,
        "due_at": due_at,
        "tries": row.tries + (1 if translation.again_at else 0),
        "effect": reading.effect if reading else row.effect,
        "alert": alert.to_json() if alert else None if reading else row.alert,
        "case_id": case.id if case else None,
        "case_number": alert.case_number if alert else row.case_number,
        "store": store.name if store else row.store,
        "settled_at": None if status is Status.PENDING else now,
    }


def _search_terms(
    row: Row[typing.Any], translation: Translation, reported: _Reported | None, case: Case | None
) -> Iterable[Terms]:
    """Yields the search terms of a delivery and its case."""
    terms = {search_terms.normalize(row.event_id)}
    if translation.reading and translation.reading.alert:
        terms |= search_terms.of_alert(translation.reading.alert)
    if reported and case:
        yield case.id, search_terms.of_alert(reported.alert) | {search_terms.reported_by(row.provider)}
        terms |= numbers_of(case)
    yield row.id, terms
