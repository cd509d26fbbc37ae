"""The first queue: deliveries that nobody has translated yet, and the cases that they become."""

from __future__ import annotations

import typing

from sqlalchemy import Connection, Row, and_, select, update

from bridge import words
from bridge.alert import Alert, Effect, Reason, Status
from bridge.case import Case, consults, merge, met
from bridge.inbox.hearing import Hearing
from bridge.inbox.rows import NEVER, Marks, Verdict, case_of, new_id, numbers_of, values_of
from bridge.tables import cases, deliveries, stores, webhooks

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.settings import Store


class Translating(Hearing):
    """Has deliveries judged, and lets cases take in what they say."""

    def translate(
        self, judge: Callable[[Row[typing.Any]], Verdict], most: int, *, newest: bool = False
    ) -> int:
        """Have some untranslated deliveries judged, and take in the verdicts; returns how many.

        The oldest of them or the newest: whoever alternates lets no flood hold up a single alert.
        """
        now = self.now()
        waiting = (
            select(
                deliveries,
                webhooks.c.path,
                webhooks.c.headers,
                webhooks.c.body,
                webhooks.c.store.label("named"),
            )
            .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
            .where(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
            .where(deliveries.c.due_at <= now)
            .order_by(deliveries.c.due_at.desc() if newest else deliveries.c.due_at)
            .limit(most)
            .with_for_update(of=deliveries, skip_locked=True)
        )

        def write(connection: Connection) -> int:
            judged = [(row, judge(row)) for row in connection.execute(waiting)]
            paused = self._paused(connection)
            found: list[Marks] = []
            for row, verdict in sorted(judged, key=_case_order):  # one order for all, so no deadlock
                found += self._take_verdict(connection, row, verdict, paused, now)
            self._mark(connection, found)
            for ident in sorted({ident for ident, _ in found if ident.startswith("c_")}):
                self._hint(connection, ident)
            return len(judged)

        if not self._any_untranslated(now):
            return 0
        return self.database.write(write)

    def _any_untranslated(self, now: float) -> bool:
        waiting = (
            select(deliveries.c.id)
            .where(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
            .where(deliveries.c.due_at <= now)
            .limit(1)
        )
        with self.database.read() as connection:
            return connection.execute(waiting).first() is not None

    def _take_verdict(
        self,
        connection: Connection,
        row: Row[typing.Any],
        verdict: Verdict,
        paused: set[str],
        now: float,
    ) -> list[Marks]:
        """Let a delivery have its verdict; returns the words by which it and its case are found."""
        reading = verdict.reading
        values: dict[str, typing.Any] = {
            "status": verdict.status,
            "reason": verdict.reason,
            "message": verdict.message,
            "errors": verdict.errors,
            "due_at": verdict.again_at,
            "tries": row.tries + (1 if verdict.again_at else 0),
        }
        found = {words.word(row.event_id)}
        case: Case | None = None
        marks: list[Marks] = []
        if reading:
            values["effect"] = reading.effect
            values["alert"] = reading.alert.to_json() if reading.alert else None
        if reading and reading.alert:
            values["case_number"] = reading.alert.case_number
            found |= words.of_alert(reading.alert)
        if verdict.store:
            values["store"] = verdict.store.name
        if verdict.status is Status.PENDING and reading and reading.alert and verdict.store:
            case = self._attach(connection, row, reading.effect, reading.alert, verdict.store)
            values |= {"case_id": case.id, "due_at": now}
            marks.append((case.id, words.of_alert(reading.alert) | {words.reported_by(row.provider)}))
            found |= numbers_of(case)
            if met(case, reading.effect, reading.alert):
                values |= {"status": Status.FORWARDED, "due_at": None}
            elif verdict.store.name in paused:
                values["reason"] = Reason.STORE_PAUSED
        if verdict.told and verdict.store:
            self._tell(connection, verdict.store.name, *verdict.told, now)
        values["settled_at"] = None if values["status"] is Status.PENDING else now
        connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))
        if case:
            self._owe(connection, case, now)  # it may be resolved already
        return [*marks, (row.id, found)]

    @staticmethod
    def _paused(connection: Connection) -> set[str]:
        return set(connection.execute(select(stores.c.name).where(stores.c.paused_at.is_not(None))).scalars())

    def _attach(
        self, connection: Connection, row: Row[typing.Any], effect: Effect, alert: Alert, store: Store
    ) -> Case:
        """Let a case take in an alert, making the case if it is the first."""
        fresh = Case(
            id=new_id("c", row.received_at),
            store=store.name,
            case_number=alert.case_number,
            type=alert.type,
            provider=row.provider,
            opened_at=row.received_at,
            deadline_at=row.deadline_at,
        )
        key = and_(
            cases.c.store == store.name,
            cases.c.case_number == alert.case_number,
            cases.c.type == alert.type,
        )
        known = select(cases).where(key).with_for_update()
        found = connection.execute(known).first()
        if found is None:
            connection.execute(
                self._insert(cases)
                .on_conflict_do_nothing(index_elements=["store", "case_number", "type"])
                .values(**values_of(fresh), id=fresh.id, lease_until=NEVER, fence=0)
            )
            found = connection.execute(known).one()
        case = case_of(found)
        happened = alert.happened_at.timestamp() if alert.happened_at else row.received_at
        since = case.opened_at if case.facts else min(happened, row.received_at)
        if ended := bool(case.facts) and case.dispute_id is None and case.due_at is None:
            case.wants.pop("looked_first", None)  # a person may have made its dispute meanwhile
        look_first = store.look_first or ended or self._may_be_known(connection, store.name, since)
        merge(case, row.provider, effect, alert, look_first=look_first)
        if case.duplicate_of and alert.resolution:
            case.deadline_at = row.deadline_at
            self._tell_holder(connection, case, self.now())
        unmatched = case.transaction_id is None and consults(case)
        if unmatched or case.due_at is not None or not met(case, effect, alert):
            idle = case.due_at is None
            case.tries = 0 if idle else case.tries
            case.deadline_at = row.deadline_at if idle else min(case.deadline_at, row.deadline_at)
            case.due_at = min(case.due_at or row.received_at, self.now())
        connection.execute(update(cases).where(cases.c.id == case.id).values(**values_of(case)))
        return case


def _case_order(pair: tuple[Row[typing.Any], Verdict]) -> tuple[str, ...]:
    """Order deliveries by their case, and those of one case as they were received."""
    row, verdict = pair
    if not (verdict.reading and verdict.reading.alert and verdict.store):
        return ("",)
    alert = verdict.reading.alert
    return (verdict.store.name, alert.case_number, alert.type.value, row.id)
