"""The second queue: cases with work, claimed with a slot and a lease, and settled under their fence."""

from __future__ import annotations

import typing

from sqlalchemy import Connection, insert, or_, select, update
from sqlalchemy import case as either

from bridge.alert import Reason, Status
from bridge.case import Case
from bridge.inbox.pacing import Pacing
from bridge.inbox.relating import Relating
from bridge.inbox.rows import (
    NEVER,
    SET_BACK,
    Claim,
    Delivery,
    Ending,
    case_of,
    insert_or_update,
    numbers_of,
    pending_of,
    values_of,
)
from bridge.retry import LONGEST_RETRY_AFTER
from bridge.tables import attempts, cases, deliveries, paces, stores

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.database import Database


LEAD = 0.08
"""Seconds between taking a slot and its start, at least, so that the intent can be committed meanwhile."""
LONGEST_LEAD = 2.0
MOST_AHEAD, FEWEST_AHEAD = 32, 4
"""How many slots that have not opened yet one process holds."""
HORIZON = 0.15
"""A slot is taken no earlier than so many seconds before it opens: never beyond the next one."""
PROBE_SECONDS = 30.0
"""How often a store that refuses the bridge is tried with one call."""


class Lead:
    """How far ahead slots are taken, and how many of them at once, so that calls are ready in time.

    One machine prepares three hundred calls a second, another's disk takes longer than a slot for
    one intent: what is missed makes the lead follow, or nothing would ever be sent.
    """

    def __init__(self) -> None:
        self.seconds = LEAD
        self.most = float(MOST_AHEAD)
        self.changed_at = 0.0

    def met(self) -> None:
        """Come closer again, for a call that was ready."""
        self.most = min(self.most + 0.25, float(MOST_AHEAD))
        self.seconds = max(self.seconds * 0.99, LEAD)

    def missed(self, slot_at: float, now: float) -> None:
        """Keep farther off, for a call that was not; those of one batch count once."""
        if slot_at < self.changed_at + self.seconds:
            return
        self.changed_at = now
        if self.most > FEWEST_AHEAD:
            self.most = max(self.most / 2, FEWEST_AHEAD)
        else:
            self.seconds = min(self.seconds * 2, LONGEST_LEAD)


class Forwarding(Pacing, Relating):
    """Gives out cases one call at a time, and records what came of it."""

    def __init__(self, database: Database, *, gap: float, lease: float) -> None:
        super().__init__(database, gap=gap, lease=lease)
        self.lead = Lead()

    def claim(self, names: Sequence[str], most: int = MOST_AHEAD) -> list[Claim]:
        """Take the next slot and the most urgent case of some named stores whose slot opens now.

        The stores that have waited longest come first. Each case is leased with a new fence, so that
        a worker that comes too late changes nothing.
        """
        now = self.now()
        if not names or most < 1 or not self._ready(now, names):
            return []

        def write(connection: Connection) -> list[Claim]:
            claims: dict[str, Claim] = {}
            ready = connection.execute(self._ready_stores(now, names, lock=True)).all()
            for token, next_at, store, probes, case_id in ready:
                if case_id is None or token in claims:
                    continue
                if len(claims) == most:
                    break
                if probes:
                    probe = update(stores).where(stores.c.name == store)
                    connection.execute(probe.values(probe_at=now + PROBE_SECONDS))
                opens = next_at if next_at <= now + HORIZON else now
                slot_at = max(opens, now + self.lead.seconds) if self.gap else now
                fence = connection.execute(
                    update(cases)
                    .where(cases.c.id == case_id, self._is_free(now))
                    .values(
                        lease_until=now + self.lease,
                        fence=cases.c.fence + 1,
                        lapses=cases.c.lapses + either((cases.c.lease_until > NEVER, 1), else_=0),
                    )
                    .returning(cases.c.fence)
                ).scalar()
                if fence is not None:
                    claims[token] = Claim(case_id, store, fence, slot_at, probes)
                    self._set_pace(connection, token, slot_at + self.gap)
            return list(claims.values())

        return self.database.write(write)

    def _ready(self, now: float, names: Sequence[str]) -> bool:
        with self.database.read() as connection:
            ready = connection.execute(self._ready_stores(now, names, lock=False)).all()
        return any(row.case_id is not None for row in ready)

    def _ready_stores(self, now: float, names: Sequence[str], *, lock: bool) -> typing.Any:
        due = (
            select(cases.c.id)
            .where(cases.c.store == stores.c.name, cases.c.due_at <= now)
            .where(self._is_free(now))
            .order_by(cases.c.deadline_at, cases.c.id)
            .limit(1)
            .scalar_subquery()
        )
        statement = (
            select(
                paces.c.token,
                paces.c.next_at,
                stores.c.name,
                stores.c.paused_at.is_not(None).label("probes"),
                due.label("case_id"),
            )
            .join(stores, stores.c.token == paces.c.token)
            .where(stores.c.name.in_(names))
            .where(
                or_(paces.c.next_at <= now + HORIZON, paces.c.next_at > now + LONGEST_RETRY_AFTER + SET_BACK)
            )
            .where(or_(stores.c.paused_at.is_(None), stores.c.probe_at <= now))
            .order_by(paces.c.next_at)
        )
        return statement.with_for_update(of=paces, skip_locked=True) if lock else statement

    def load(self, claim: Claim) -> tuple[Case, list[Delivery]] | None:
        """Return a claimed case and its pending deliveries, most urgent first; None if it was lost."""
        with self.database.read() as connection:
            row = connection.execute(
                select(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
            ).first()
            return (case_of(row), pending_of(connection, claim.case_id)) if row else None

    def hold(self, claim: Claim) -> None:
        """Prolong a lease, for a step of several calls."""
        until = self.now() + self.lease
        held = update(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
        self.database.write(lambda connection: connection.execute(held.values(lease_until=until)))

    def intend(self, claim: Claim, case: Case, attempt: dict[str, typing.Any]) -> bool:
        """Commit that a write is about to be sent; False where the case is another worker's now."""

        def write(connection: Connection) -> bool:
            held = update(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
            values = {"doubt": case.doubt, "state": case.state, "match": case.match}
            if not connection.execute(held.values(**values)).rowcount:
                return False
            connection.execute(insert(attempts).values(**attempt))
            return True

        return self.database.write(write)

    def settle(
        self,
        claim: Claim,
        change: Callable[[Case, list[Delivery]], Ending],
        attempt: dict[str, typing.Any] | None = None,
    ) -> bool:
        """Record an attempt, let `change` bring the case up to date, and give the lease back.

        The case is read again under lock, for alerts may have been merged meanwhile. Returns False,
        having recorded the attempt only, where another worker holds the case now.
        """
        now = self.now()

        def write(connection: Connection) -> bool:
            if attempt:
                connection.execute(insert_or_update(self._insert, attempts, attempt, "id"))
            held = select(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
            row = connection.execute(held.with_for_update()).first()
            if row is None:
                return False
            case, owed = case_of(row), pending_of(connection, claim.case_id)
            before = (case.duplicate_of, case.transaction_id)
            result = (case.resolution, case.wants.get("refusal"))
            known = numbers_of(case)
            ending = change(case, owed)
            if fresh := numbers_of(case) - known:
                idents = (case.id, *(one.id for one in owed))
                self._mark(connection, [(ident, fresh) for ident in idents])
            if before != (case.duplicate_of, case.transaction_id):
                self._relate(connection, case, now)
            if result != (case.resolution, case.wants.get("refusal")):
                self._pass_back(connection, case, now)
                self._owe(connection, case, now)
            connection.execute(
                update(cases)
                .where(cases.c.id == case.id)
                .values(**values_of(case), lease_until=NEVER, fence=cases.c.fence)
            )
            self._end(connection, case, owed, ending, now)
            return True

        return self.database.write(write)

    @staticmethod
    def _end(connection: Connection, case: Case, owed: list[Delivery], ending: Ending, now: float) -> None:
        """Give each delivery of a case its status."""
        left = [one.id for one in owed]

        def give(ids: Sequence[str], **values: typing.Any) -> None:
            if ids:
                connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(**values))
                left[:] = [one for one in left if one not in ids]

        over = {"due_at": None, "message": None, "reason": None, "settled_at": now}
        give(ending.forwarded, status=Status.FORWARDED, **over)
        give(ending.ignored, status=Status.IGNORED, **over | {"reason": Reason.IGNORE})
        for one, (reason, message) in ending.failed.items():
            give([one], status=Status.FAILED, **over | {"reason": reason, "message": message})
        paused = either((deliveries.c.reason == Reason.STORE_PAUSED, Reason.STORE_PAUSED), else_=None)
        give(
            list(left),
            reason=Reason.WAITING_FOR_OPENING if case.wants.get("waiting") else paused,
            message=ending.said,
            due_at=case.due_at,
            tries=case.tries,
            late=deliveries.c.deadline_at < now,
        )
