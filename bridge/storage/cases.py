"""Cases: a person's decisions, recovery after a restored backup, and the queries about cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Connection, and_, bindparam, or_, select

from bridge.alert import Alert, Reason, Status
from bridge.disputes.case import Case, Json
from bridge.disputes.lookup import decide_match
from bridge.disputes.plan import recover
from bridge.storage.database import Database
from bridge.storage.next_events import add_transactions
from bridge.storage.rows import Delivery, case_of, delivery_of, lock_case, lock_cases, reopen, write_cases
from bridge.storage.schema import StateKind, cases, deliveries, shared_state
from bridge.storage.upsert import insert_or_update

_HOLDER = (
    select(cases.c.id)
    .where(cases.c.store == bindparam("of"), cases.c.transaction_id == bindparam("sold"))
    .where(cases.c.type == bindparam("kind"), cases.c.id != bindparam("itself"))
    .where(cases.c.dispute_id.is_not(None), cases.c.duplicate_of.is_(None))
    .order_by(cases.c.id)
    .limit(1)
)


class Cases:
    """Reads and changes cases outside the queue."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def decide(self, case_id: str, transaction_id: int | None) -> bool:
        """Matches a case with the transaction that a person chose; None says that there is none.

        Returns False if there is no such case, or if 29next knows its transaction already.
        """
        now = self.database.now()

        def write(connection: Connection) -> bool:
            case = lock_case(connection, cases.c.id == case_id)
            if case is None or case.transaction_id or case.duplicate_of:
                return False
            if case.is_ended or (case.dispute_id and case.opened_at < restore_times(connection)(case.store)):
                recover(case)
            decide_match(case, transaction_id)
            reopen(case, now)
            write_cases(connection, [case])
            return True

        return self.database.write(write)

    def recover(self, since: float, store: str | None = None) -> int:
        """Has each case looked up, after a restored backup, before anything is sent for it; returns how many.

        These are the cases that are unfinished or were opened since a moment: 29next may have more of them
        than the backup. The same holds for a case that an older alert opens from now on.
        """
        now = self.database.now()
        unmatched = and_(cases.c.transaction_id.is_(None), cases.c.deadline_at >= since)
        unfinished = or_(cases.c.dispute_id.is_(None), cases.c.due_at.is_not(None), unmatched)
        chosen = [cases.c.duplicate_of.is_(None), or_(unfinished, cases.c.opened_at >= since)]
        if store:
            chosen.append(cases.c.store == store)

        def write(connection: Connection) -> int:
            unsure = lock_cases(connection, *chosen)
            for case in unsure:
                recover(case)
                reopen(case, now)
            write_cases(connection, unsure)
            restored = {"kind": StateKind.RECOVERED, "name": store or "", "value": None, "at": now}
            insert_or_update(connection, shared_state, restored)
            return len(unsure)

        return self.database.write(write)

    def add_transactions(
        self, store: str, rows: Iterable[Json], *, certain: bool = False, asked_by: str | None = None
    ) -> int:
        """Adds transactions that were read from 29next; returns how many were new or changed.

        `certain` rows were read to settle a contradiction, so they win. The case `asked_by` is not woken.
        """
        now, read = self.database.now(), list(rows)
        return self.database.write(
            lambda connection: add_transactions(
                connection, store, read, now, certain=certain, asked_by=asked_by
            )
        )

    # queries

    def find_holder(self, case: Case) -> str | None:
        """Returns the id of the case that already holds the dispute of a case's transaction, if there is one.

        A case of the other type does not count: it has its own dispute.
        """
        sale = {"of": case.store, "sold": case.matched_id, "kind": case.type, "itself": case.id}
        holder = self.database.first(_HOLDER, sale)
        return holder.id if holder else None

    def cases_since(self, store: str, since: float) -> list[Case]:
        """Returns a store's cases that were opened since a moment, or that still have work."""
        chosen = select(cases).where(
            cases.c.store == store, or_(cases.c.opened_at >= since, cases.c.due_at.is_not(None))
        )
        return [case_of(row) for row in self.database.rows(chosen.order_by(cases.c.id))]

    def case_of_dispute(self, store: str, dispute_id: int) -> Case | None:
        """Returns the case of a dispute, whenever it was opened."""
        holder = select(cases).where(cases.c.store == store, cases.c.dispute_id == dispute_id)
        row = self.database.first(holder.where(cases.c.duplicate_of.is_(None)))
        return case_of(row) if row else None

    def unsettled_since(self, store: str, since: float) -> list[tuple[Delivery, Case | None]]:
        """Returns the failed and the untranslated deliveries since a moment, with their cases.

        They belong to a store, or to none.
        """
        pending = and_(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
        chosen = select(deliveries).where(
            or_(deliveries.c.status == Status.FAILED, pending),
            deliveries.c.received_at >= since,
            or_(
                deliveries.c.store == store,
                deliveries.c.store.is_(None),
                deliveries.c.reason == Reason.NO_STORE,  # the path names a store that does not exist
            ),
        )
        with self.database.read() as connection:
            unsettled = [delivery_of(row) for row in connection.execute(chosen.order_by(deliveries.c.id))]
            return [(delivery, _case_of_alert(connection, store, delivery.alert)) for delivery in unsettled]


def restore_times(connection: Connection) -> Callable[[str], float]:
    """Returns when a backup was restored, by store: 29next may have more of older cases than the database."""
    restored = select(shared_state.c.name, shared_state.c.at).where(
        shared_state.c.kind == StateKind.RECOVERED
    )
    at = {row.name: float(row.at) for row in connection.execute(restored)}
    return lambda store: max(at.get("", 0.0), at.get(store, 0.0))


def _case_of_alert(connection: Connection, store: str, alert: Alert | None) -> Case | None:
    if alert is None:
        return None
    named = (cases.c.case_number == alert.case_number, cases.c.type == alert.type)
    row = connection.execute(select(cases).where(cases.c.store == store, *named)).first()
    return case_of(row) if row else None
