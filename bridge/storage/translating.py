"""The first queue: deliveries that nobody has translated yet, and the cases that they become.

They are judged outside of any transaction and taken in together: webhooks and intents to send wait
no longer for a batch than its rows take to write.
"""

from __future__ import annotations

import typing
from collections import Counter

from sqlalchemy import Connection, Row, bindparam, select

from bridge.alert import Alert, Reason, Status
from bridge.disputes.case import Case
from bridge.disputes.events import Settled, merge, settled
from bridge.disputes.lookup import asks_index
from bridge.storage import bulk, words
from bridge.storage.hearing import Hearing
from bridge.storage.rows import Marks, Verdict, case_of, new_id, numbers_of, values_of, write_cases
from bridge.storage.schema import cases, deliveries, ignored_events, stores, webhooks

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.providers.base import Reading
    from bridge.settings import Store

Judge = typing.Callable[[Row[typing.Any]], Verdict]
Bug = typing.Callable[[Row[typing.Any], Exception], Verdict]
Judged = tuple[Row[typing.Any], Verdict]
Key = tuple[str, str, str]

_WAITING = (
    select(
        deliveries,
        webhooks.c.path,
        webhooks.c.headers,
        webhooks.c.query,
        webhooks.c.body,
        webhooks.c.store.label("named"),
    )
    .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
    .where(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
    .where(deliveries.c.due_at <= bindparam("now"))
    .limit(bindparam("most"))
)
_OLDEST = _WAITING.order_by(deliveries.c.due_at)
_NEWEST = _WAITING.order_by(deliveries.c.due_at.desc())
_AGAIN = (  # told apart here: by their ids alone they are found at once
    select(deliveries.c.id, deliveries.c.status, deliveries.c.case_id, deliveries.c.due_at)
    .where(deliveries.c.id.in_(bindparam("idents", expanding=True)))
    .with_for_update(skip_locked=True)
)
_PAUSED = select(stores.c.name).where(stores.c.paused_at.is_not(None))
_KNOWN = (  # and those of other stores with the same number, which do not matter
    select(cases)
    .where(cases.c.case_number.in_(bindparam("numbers", expanding=True)))
    .order_by(cases.c.store, cases.c.case_number, cases.c.type)  # one order for all, so no deadlock
    .with_for_update()
)


class _Alert(typing.NamedTuple):
    """A delivery that belongs to a case, and what it says."""

    row: Row[typing.Any]
    verdict: Verdict
    reading: Reading
    alert: Alert
    store: Store

    def settled(self, case: Case) -> Settled | None:
        """Say how it ends with its case as it is now, or None while it is owed."""
        return settled(case, self.row.provider, self.reading.effect, self.alert, self.row.received_at)

    @property
    def key(self) -> Key:
        return (self.store.name, self.alert.case_number, self.alert.type.value)


class Translating(Hearing):
    """Has deliveries judged, and lets cases take in what they say."""

    def translate(self, judge: Judge, most: int, *, newest: bool = False, bug: Bug | None = None) -> int:
        """Have some untranslated deliveries judged, and take in the verdicts; returns how many.

        Two workers may judge the same one, only the first of them is believed.
        The oldest of them or the newest: whoever alternates lets no flood hold up a single alert.
        What cannot be taken in holds up no other: it is judged by `bug`.
        """
        now = self.now()
        with self.database.read() as connection:
            rows = connection.execute(_NEWEST if newest else _OLDEST, {"now": now, "most": most}).all()
        if not rows:
            return 0
        judged = [(row, judge(row)) for row in rows]
        taken = self.database.write_each(self._take_in, judged)
        failed = [(row, one) for row, one in zip(rows, taken, strict=True) if isinstance(one, Exception)]
        for row, error in failed:
            if bug is None:
                raise error
            self.database.gather(self._take_in, (row, bug(row, error)))
        return len(judged)

    def _take_in(self, connection: Connection, judged: list[Judged]) -> list[None]:
        """Take in the verdicts of those that nobody else has taken in meanwhile."""
        now = self.now()
        found_again = connection.execute(_AGAIN, {"idents": [row.id for row, _ in judged]})
        ours = {
            row.id
            for row in found_again
            if row.status == Status.PENDING and row.case_id is None and row.due_at <= now
        }
        mine = [(row, verdict) for row, verdict in judged if row.id in ours]
        paused = set(connection.execute(_PAUSED).scalars())
        written: list[dict[str, typing.Any]] = []
        found: list[Marks] = []
        for _, verdict in sorted(mine, key=lambda pair: (pair[0].received_at, pair[0].id)):
            if verdict.told and verdict.store:
                self._tell(connection, verdict.store.name, *verdict.told, now)
        alerts = [one for row, verdict in mine if (one := _alert_of(row, verdict))]
        taken = self._attach(connection, alerts, now)
        for row, verdict in mine:
            one = _alert_of(row, verdict)
            case = taken.get(one.key) if one else None
            if one and case is None:
                continue  # its case is being made by another worker: the next batch finds it
            written.append(_values(row, verdict, one, case, paused, now))
            found += _marks(row, verdict, one, case)
        bulk.change(connection, deliveries, written)
        self._count_ignored(connection, mine, now)
        self._mark(connection, found)
        self._hint(connection, taken.values())
        for case in taken.values():
            self._owe(connection, case, now)  # it may be resolved already
        return [None for _ in judged]

    def _count_ignored(self, connection: Connection, judged: list[Judged], now: float) -> None:
        """Count the event types by which nothing is done, so that a new one is seen."""
        ignored = Counter(
            (row.provider, row.event_type, verdict.listed)
            for row, verdict in judged
            if verdict.reason is Reason.IGNORE and row.event_type
        )
        for (provider, event_type, listed), count in sorted(ignored.items()):
            row = {"provider": provider, "event_type": event_type, "listed": listed, "count": count}
            fresh = self._insert(ignored_events).values(**row, first_at=now, last_at=now)
            again = {"count": ignored_events.c.count + count, "listed": listed, "last_at": now}
            connection.execute(
                fresh.on_conflict_do_update(index_elements=["provider", "event_type"], set_=again)
            )

    def _attach(self, connection: Connection, alerts: Sequence[_Alert], now: float) -> dict[Key, Case]:
        """Let cases take in alerts, making those that there are none of; returns them by their key."""
        if not alerts:
            return {}
        keys = sorted({one.key for one in alerts})
        by_key: dict[Key, Case] = {
            (row.store, row.case_number, row.type): case_of(row)
            for row in connection.execute(_KNOWN, {"numbers": sorted({number for _, number, _ in keys})})
            if (row.store, row.case_number, row.type) in keys
        }
        fresh = [key for key in keys if key not in by_key]
        recovered = self._recovered(connection)
        passed_on: list[Case] = []
        for one in sorted(alerts, key=lambda one: (one.key, one.row.received_at, one.row.id)):
            case = by_key.setdefault(one.key, _new_case(one))
            if ended := case.is_ended:
                case.pending.looked_first = False
            unknown = _is_known_since(case, one) < recovered(one.store.name)
            look_first = one.store.look_first or ended or unknown
            merge(
                case,
                one.row.provider,
                one.reading.effect,
                one.alert,
                one.row.received_at,
                errors=one.reading.errors,
                look_first=look_first,
            )
            if case.duplicate_of and one.alert.resolution:
                case.deadline_at = one.row.deadline_at
                passed_on.append(case)
            _make_due(case, one, now)
        made = self._make(connection, [by_key[key] for key in fresh])
        write_cases(connection, (case for key, case in by_key.items() if key not in fresh))
        for case in passed_on:
            self._tell_holder(connection, case, now)
            write_cases(connection, [case])
        return {key: case for key, case in by_key.items() if key not in fresh or case.id in made}

    @staticmethod
    def _make(connection: Connection, fresh: Sequence[Case]) -> set[str]:
        """Store new cases; returns the ids of those that nobody else has made at the same moment."""
        rows = [{"id": case.id, "fence": 0, **values_of(case)} for case in fresh]
        made = bulk.add(connection, cases, rows, key=("store", "case_number", "type"), found=("id",))
        return {row.id for row in made}


def _alert_of(row: Row[typing.Any], verdict: Verdict) -> _Alert | None:
    """Return a delivery that is to be brought to 29next, for a case of a store."""
    reading, store = verdict.reading, verdict.store
    if verdict.status is Status.PENDING and reading and reading.alert and store:
        return _Alert(row, verdict, reading, reading.alert, store)
    return None


def _new_case(one: _Alert) -> Case:
    return Case(
        id=new_id("c", one.row.received_at),
        store=one.store.name,
        case_number=one.alert.case_number,
        type=one.alert.type,
        provider=one.row.provider,
        opened_at=one.row.received_at,
        deadline_at=one.row.deadline_at,
    )


def _is_known_since(case: Case, one: _Alert) -> float:
    """Return when 29next may first have heard of a case."""
    if case.facts:
        return case.opened_at
    received_at = float(one.row.received_at)
    return min(one.alert.happened_at.timestamp() if one.alert.happened_at else received_at, received_at)


def _make_due(case: Case, one: _Alert, now: float) -> None:
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
    one: _Alert | None,
    case: Case | None,
    paused: Iterable[str],
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


def _marks(row: Row[typing.Any], verdict: Verdict, one: _Alert | None, case: Case | None) -> Iterable[Marks]:
    """Yield the words by which a delivery and its case are found."""
    found = {words.word(row.event_id)}
    if verdict.reading and verdict.reading.alert:
        found |= words.of_alert(verdict.reading.alert)
    if one and case:
        yield case.id, words.of_alert(one.alert) | {words.reported_by(row.provider)}
        found |= numbers_of(case)
    yield row.id, found
