"""The cases: what a person decides of them, what was read for them at 29next, and what is asked of them."""

from __future__ import annotations

import typing

from sqlalchemy import Connection, and_, bindparam, or_, select

from bridge.alert import Alert, Reason, Status
from bridge.disputes.lookup import decide
from bridge.disputes.plan import recover
from bridge.storage.hearing import hear_of_transactions
from bridge.storage.rows import Delivery, case_of, delivery_of, open_anew, write_cases
from bridge.storage.schema import Memo, cases, deliveries, memos
from bridge.storage.upsert import insert_or_update

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.disputes.case import Case
    from bridge.storage.database import Database

Json = dict[str, typing.Any]

_HOLDER = (
    select(cases.c.id)
    .where(cases.c.store == bindparam("of"), cases.c.transaction_id == bindparam("sold"))
    .where(cases.c.type == bindparam("kind"), cases.c.id != bindparam("itself"))
    .where(cases.c.dispute_id.is_not(None), cases.c.duplicate_of.is_(None))
    .order_by(cases.c.id)
    .limit(1)
)


class Cases:
    """Decides, doubts and finds cases."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # a person

    def decide(self, case_id: str, transaction_id: int | None) -> bool:
        """Take a person's word for a case's transaction; None says that there is none.

        Returns False where there is no such case, or its transaction is known to 29next already.
        """
        now = self.database.now()

        def write(connection: Connection) -> bool:
            row = connection.execute(select(cases).where(cases.c.id == case_id).with_for_update()).first()
            if row is None or row.transaction_id or row.duplicate_of:
                return False
            case = case_of(row)
            if case.is_ended or (case.dispute_id and case.opened_at < recovered(connection)(case.store)):
                recover(case)
            decide(case, transaction_id)
            open_anew(case, now)
            write_cases(connection, [case])
            return True

        return self.database.write(write)

    def doubt(self, since: float, store: str | None = None) -> int:
        """Put every case that is unfinished, or was opened since, in doubt; returns how many.

        The recipe after a restored backup: each is looked up before anything is sent for it, and so is
        each that an alert opens which is older than this moment, for the backup may not know it, and
        each that was settled in the backup, for more may have been done for it since.
        """
        now = self.database.now()
        unmatched = and_(cases.c.transaction_id.is_(None), cases.c.deadline_at >= since)
        unfinished = or_(cases.c.dispute_id.is_(None), cases.c.due_at.is_not(None), unmatched)
        chosen = select(cases).where(cases.c.duplicate_of.is_(None))
        chosen = chosen.where(or_(unfinished, cases.c.opened_at >= since))
        if store:
            chosen = chosen.where(cases.c.store == store)

        def write(connection: Connection) -> int:
            rows = connection.execute(chosen.order_by(cases.c.id).with_for_update())
            doubted = [case_of(row) for row in rows]
            for case in doubted:
                recover(case)
                open_anew(case, now)
            write_cases(connection, doubted)
            memo = {"kind": Memo.RECOVERED, "name": store or "", "value": None, "at": now}
            insert_or_update(connection, memos, memo)
            return len(doubted)

        return self.database.write(write)

    # 29next

    def hear_of(
        self, store: str, rows: Iterable[Json], *, certain: bool = False, asked_by: str | None = None
    ) -> int:
        """Take in transactions that were read from 29next; returns how many were new or changed.

        `certain` is what was read for the very purpose of settling a contradiction; a case that they
        were read for takes them in by itself.
        """
        now, told = self.database.now(), list(rows)
        return self.database.write(
            lambda connection: hear_of_transactions(
                connection, store, told, now, certain=certain, asked_by=asked_by
            )
        )

    # asking

    def find_holder(self, case: Case) -> str | None:
        """Return the case that already holds the dispute of a case's transaction, if there is one.

        A case of the other type is none: what it becomes is its own dispute.
        """
        sale = {"of": case.store, "sold": case.found, "kind": case.type, "itself": case.id}
        with self.database.read() as connection:
            return connection.execute(_HOLDER, sale).scalar()

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
            return [(one, _case_of_alert(connection, store, one.alert)) for one in found]


def recovered(connection: Connection) -> Callable[[str], float]:
    """Return when a backup was restored, by store: 29next may know more of what is older than that."""
    memo = select(memos.c.name, memos.c.at).where(memos.c.kind == Memo.RECOVERED)
    at = {row.name: float(row.at) for row in connection.execute(memo)}
    return lambda store: max(at.get("", 0.0), at.get(store, 0.0))


def _case_of_alert(connection: Connection, store: str, alert: Alert | None) -> Case | None:
    if alert is None:
        return None
    named = (cases.c.case_number == alert.case_number, cases.c.type == alert.type)
    row = connection.execute(select(cases).where(cases.c.store == store, *named)).first()
    return case_of(row) if row else None
