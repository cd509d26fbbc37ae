"""What 29next itself and a person say of cases: webhooks about transactions and disputes, reviews."""

from __future__ import annotations

import typing

from sqlalchemy import Connection, and_, or_, select, update

from bridge import match
from bridge.alert import DisputeType
from bridge.case import Case, adopt, decide, reconsider, recover
from bridge.fields import MAX_LENGTH
from bridge.inbox.rows import (
    NEVER,
    Part,
    case_of,
    new_id,
    values_of,
)
from bridge.tables import cases

if typing.TYPE_CHECKING:
    pass

MOST_WOKEN = 500
"""Unmatched cases that one transaction may be compared with."""


class Hearing(Part):
    """Takes in what is told of a case from elsewhere than its provider."""

    def _tell(
        self, connection: Connection, store: str, kind: str, told: dict[str, typing.Any], now: float
    ) -> None:
        """Take in what 29next tells of a transaction or a dispute."""
        if kind == "transaction":
            self.index.heard(connection, store, now)
            if self.index.put(connection, store, told, now, certain=False):
                self._wake_unmatched(connection, store, told, now)
        elif kind == "dispute":
            self._tell_dispute(connection, store, told, now)

    @staticmethod
    def _wake_unmatched(connection: Connection, store: str, told: dict[str, typing.Any], now: float) -> None:
        """Let cases that wait for their transaction look again, where this may be it."""
        unmatched = (
            select(cases)
            .where(cases.c.store == store, cases.c.transaction_id.is_(None), cases.c.deadline_at >= now)
            .where(cases.c.dispute_id.is_not(None), cases.c.duplicate_of.is_(None))
            .limit(MOST_WOKEN)
        )
        for row in connection.execute(unmatched).all():
            case = case_of(row)
            if case.facts and case.match and not case.found and match.is_kin(case.facts, told):
                again = {**case.match, "again": True}
                woken = update(cases).where(cases.c.id == case.id)
                connection.execute(woken.values(match=again, due_at=now))

    def _tell_dispute(
        self, connection: Connection, store: str, told: dict[str, typing.Any], now: float
    ) -> None:
        """Bring the case of a dispute up to date, or make one, so that its alert will find it.

        A webhook carries no time of change, so an old one must not undo a newer one: what contradicts
        the case is read again.
        """
        number, kind = told.get("case_number"), told.get("type")
        same = and_(cases.c.case_number == number, cases.c.type == kind)
        one = and_(cases.c.store == store, or_(cases.c.dispute_id == told["id"], same))
        row = connection.execute(select(cases).where(one).order_by(cases.c.id).with_for_update()).first()
        if row is None:
            if number and kind in set(DisputeType):
                self._adopt_unknown(connection, store, told, now)
            return
        case = case_of(row)
        if not reconsider(case, told):
            return
        case.due_at = now
        connection.execute(update(cases).where(cases.c.id == case.id).values(**values_of(case)))

    def _adopt_unknown(
        self, connection: Connection, store: str, told: dict[str, typing.Any], now: float
    ) -> None:
        """Make a case of a dispute that somebody else made: its alert adopts it."""
        case = Case(
            id=new_id("c", now),
            store=store,
            case_number=str(told["case_number"])[:MAX_LENGTH],
            type=DisputeType(told["type"]),
            provider="next",
            providers=["next"],
            opened_at=now,
            deadline_at=now,
        )
        adopt(case, told)
        fresh = self._insert(cases).values(**values_of(case), id=case.id, lease_until=NEVER, fence=0)
        keys = ["store", "case_number", "type"]
        connection.execute(fresh.on_conflict_do_nothing(index_elements=keys))

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
            decide(case, transaction_id)
            case.due_at = now
            connection.execute(update(cases).where(cases.c.id == case_id).values(**values_of(case)))
            return True

        return self.database.write(write)

    def doubt(self, since: float, store: str | None = None) -> int:
        """Put every case that is unfinished, or was opened since, in doubt; returns how many.

        The recipe after a restored backup: each is looked up before anything is sent for it.
        """
        now = self.now()

        def write(connection: Connection) -> int:
            chosen = select(cases).where(cases.c.duplicate_of.is_(None))
            chosen = chosen.where(
                or_(cases.c.dispute_id.is_(None), cases.c.due_at.is_not(None), cases.c.opened_at >= since)
            )
            if store:
                chosen = chosen.where(cases.c.store == store)
            rows = connection.execute(chosen.with_for_update()).all()
            for row in rows:
                case = case_of(row)
                recover(case)
                case.due_at = now
                connection.execute(update(cases).where(cases.c.id == case.id).values(**values_of(case)))
            return len(rows)

        return self.database.write(write)

    def cases_since(self, store: str, since: float) -> list[Case]:
        """Return a store's cases that were opened since a moment."""
        chosen = select(cases).where(cases.c.store == store, cases.c.opened_at >= since).order_by(cases.c.id)
        with self.database.read() as connection:
            return [case_of(row) for row in connection.execute(chosen)]
