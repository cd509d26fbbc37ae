"""What 29next itself and a person say of cases: webhooks about transactions and disputes, reviews."""

from __future__ import annotations

import typing
from dataclasses import replace

from sqlalchemy import Connection, and_, or_, select, update

from bridge.alert import Alert, Reason, Status
from bridge.disputes import matching
from bridge.disputes.case import Case, Match
from bridge.disputes.lookup import decide
from bridge.disputes.plan import recover
from bridge.storage import words
from bridge.storage.relating import Relating
from bridge.storage.rows import (
    Delivery,
    case_of,
    delivery_of,
    insert_or_update,
    json_of,
    open_anew,
    values_of,
)
from bridge.storage.schema import cases, deliveries, installations, memos
from bridge.storage.transactions import row_of

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Json = dict[str, typing.Any]

RECOVERED = "recovered"
"""The memo of when a backup was restored."""


class Hearing(Relating):
    """Takes in what is told of a case from elsewhere than its provider."""

    # 29next: transactions

    def hear_of(
        self, store: str, rows: Iterable[Json], *, certain: bool = False, asked_by: str | None = None
    ) -> int:
        """Take in transactions that were read from 29next; returns how many were new or changed.

        `certain` is what was read for the very purpose of settling a contradiction; a case that they
        were read for takes them in by itself.
        """
        now, told = self.now(), list(rows)

        def write(connection: Connection) -> int:
            fresh = self.index.put(connection, store, told, now, certain=certain)
            self._wake_unmatched(connection, store, fresh, now, asked_by)
            return len(fresh)

        return self.database.write(write)

    def _wake_unmatched(
        self, connection: Connection, store: str, fresh: list[Json], now: float, but: str | None = None
    ) -> None:
        """Let cases that wait for their transaction look again, where it may be among these."""
        unmatched = (
            cases.c.id != (but or ""),
            cases.c.transaction_id.is_(None),
            cases.c.duplicate_of.is_(None),
            cases.c.deadline_at >= now,
            or_(cases.c.dispute_id.is_not(None), cases.c.due_at.is_not(None)),  # else it has been ended
        )
        found = {word for one in fresh for word in words.of_transaction(row_of(store, one))}
        for case in self._marked(connection, store, found, *unmatched) if found else ():
            facts = case.facts
            if facts and not case.found and any(matching.is_kin(facts, one) for one in fresh):
                woken = replace(case.match or Match(), woken_at=now)
                again = {"match": json_of(woken), "due_at": min(case.due_at or now, now)}
                connection.execute(update(cases).where(cases.c.id == case.id).values(**again))

    # 29next: disputes

    def _tell(self, connection: Connection, store: str, kind: str, told: Json, now: float) -> None:
        """Take in what 29next tells of a transaction or a dispute."""
        if kind == "transaction":
            fresh = self.index.put(connection, store, [told], now, certain=False)
            self._wake_unmatched(connection, store, fresh, now)
        elif kind == "dispute":
            self._tell_dispute(connection, store, told, now)
        elif kind == "app":
            self._forget_token(connection, store, told["received_at"], now)

    @staticmethod
    def _forget_token(connection: Connection, store: str, received_at: float, now: float) -> None:
        """Forget the token of a store that has removed the bridge, unless it was installed anew since."""
        known = update(installations).where(
            installations.c.store == store, installations.c.installed_at < received_at
        )
        connection.execute(known.values(token=None, uninstalled_at=now))

    # a person

    def decide(self, case_id: str, transaction_id: int | None) -> bool:
        """Take a person's word for a case's transaction; None says that there is none.

        Returns False where there is no such case, or its transaction is known to 29next already.
        """
        now = self.now()

        def write(connection: Connection) -> bool:
            row = connection.execute(select(cases).where(cases.c.id == case_id).with_for_update()).first()
            if row is None or row.transaction_id or row.duplicate_of:
                return False
            case = case_of(row)
            if case.is_ended or (
                case.dispute_id and case.opened_at < self._recovered(connection)(case.store)
            ):
                recover(case)
            decide(case, transaction_id)
            open_anew(case, now)
            connection.execute(update(cases).where(cases.c.id == case_id).values(**values_of(case)))
            return True

        return self.database.write(write)

    def doubt(self, since: float, store: str | None = None) -> int:
        """Put every case that is unfinished, or was opened since, in doubt; returns how many.

        The recipe after a restored backup: each is looked up before anything is sent for it, and so is
        each that an alert opens which is older than this moment, for the backup may not know it, and
        each that was settled in the backup, for more may have been done for it since.
        """
        now = self.now()

        def write(connection: Connection) -> int:
            chosen = select(cases).where(cases.c.duplicate_of.is_(None))
            unmatched = and_(cases.c.transaction_id.is_(None), cases.c.deadline_at >= since)
            unfinished = or_(cases.c.dispute_id.is_(None), cases.c.due_at.is_not(None), unmatched)
            chosen = chosen.where(or_(unfinished, cases.c.opened_at >= since))
            if store:
                chosen = chosen.where(cases.c.store == store)
            rows = connection.execute(chosen.order_by(cases.c.id).with_for_update()).all()
            for row in rows:
                case = case_of(row)
                recover(case)
                open_anew(case, now)
                connection.execute(update(cases).where(cases.c.id == case.id).values(**values_of(case)))
            memo = {"name": f"{RECOVERED}:{store or ''}", "value": None, "at": now}
            connection.execute(insert_or_update(self._insert, memos, memo, "name"))
            return len(rows)

        return self.database.write(write)

    @staticmethod
    def _recovered(connection: Connection) -> Callable[[str], float]:
        """Return when a backup was restored, by store: 29next may know more of what is older than that."""
        memo = select(memos.c.name, memos.c.at).where(memos.c.name.startswith(f"{RECOVERED}:"))
        at = {row.name.partition(":")[2]: float(row.at) for row in connection.execute(memo)}
        return lambda store: max(at.get("", 0.0), at.get(store, 0.0))

    def cases_since(self, store: str, since: float) -> list[Case]:
        """Return a store's cases that were opened since a moment, or still have work."""
        chosen = select(cases).where(
            cases.c.store == store, or_(cases.c.opened_at >= since, cases.c.due_at.is_not(None))
        )
        with self.database.read() as connection:
            return [case_of(row) for row in connection.execute(chosen.order_by(cases.c.id))]

    def case_of_dispute(self, store: str, dispute_id: int) -> Case | None:
        """Return the case of a dispute, whenever it was opened."""
        one = select(cases).where(cases.c.store == store, cases.c.dispute_id == dispute_id)
        with self.database.read() as connection:
            row = connection.execute(one.where(cases.c.duplicate_of.is_(None))).first()
        return case_of(row) if row else None

    def unsettled_since(self, store: str, since: float) -> list[tuple[Delivery, Case | None]]:
        """Return the deliveries since a moment that failed, or that nobody has translated, and their cases.

        They are of a store, or of none.
        """
        pending = and_(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
        chosen = select(deliveries).where(
            or_(deliveries.c.status == Status.FAILED, pending),
            deliveries.c.received_at >= since,
            or_(
                deliveries.c.store == store,
                deliveries.c.store.is_(None),
                deliveries.c.reason == Reason.NO_STORE,  # the path named one that is not
            ),
        )
        with self.database.read() as connection:
            found = [delivery_of(row) for row in connection.execute(chosen.order_by(deliveries.c.id))]
            return [(one, self._case_of_alert(connection, store, one.alert)) for one in found]

    @staticmethod
    def _case_of_alert(connection: Connection, store: str, alert: Alert | None) -> Case | None:
        if alert is None:
            return None
        named = (cases.c.case_number == alert.case_number, cases.c.type == alert.type)
        row = connection.execute(select(cases).where(cases.c.store == store, *named)).first()
        return case_of(row) if row else None
