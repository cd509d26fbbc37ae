"""The pace of each access token, and stores that are paused."""

from __future__ import annotations

import contextlib
import time
import typing
from functools import partial

from sqlalchemy import Connection, Update, bindparam, case, func, select, update

from bridge.alert import Reason, Status
from bridge.errors import Unavailable
from bridge.outbound.http import Slot
from bridge.storage.database import CLOCK_APART, CLOCK_TRIES
from bridge.storage.rows import IS_FREE, Part, insert_or_update, token_key
from bridge.storage.schema import cases, deliveries, paces, stores

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from bridge.settings import Store

MOST_GIVEN_UP = 500
"""Cases of a store that is gone that are ended at once."""
BY_HAND = "Paused by hand."
"""What is noted of a store that a person has paused."""


TOO_OLD = 0.01
"""Seconds after its slot beyond which a call is not sent, so that five never meet in one second.

Of the 0.04 that four slots last longer than a second, the others are left to the way to 29next.
"""
UNPACED_TOO_OLD = 5.0
"""The same where no limit holds: its worker was stopped meanwhile."""
COMMIT_SECONDS = 0.05
"""What a slot that is taken outside the queue lies ahead, at least."""

_NOT_BY_HAND = func.coalesce(stores.c.paused_why, "") != BY_HAND
_SET_PACE = update(paces).where(paces.c.token == bindparam("of"))


class Pace:
    """The slots of one access token, on the clock that its calls leave by."""

    def __init__(self, inbox: Pacing, token: str, sleep: Callable[[float], None]) -> None:
        self.inbox = inbox
        self.clock = inbox.now
        self.token = token
        self.sleep = sleep

    def turn(self) -> Slot:
        """Take the next slot, for a call outside the queue; raises Unavailable."""
        return self.slot(self.inbox.take_slot(self.token))

    def slot(self, moment: float) -> Slot:
        """Return the slot that opens at a moment of the inbox's clock.

        That clock and the monotonic one are to be read at once: a thread that is held up in between
        would take its slot for another.
        """
        best = (float("inf"), moment)
        for _ in range(CLOCK_TRIES):
            before, now, after = time.monotonic(), self.inbox.now(), time.monotonic()
            best = min(best, (after - before, before + moment - now))
            if best[0] < CLOCK_APART:
                break
        tolerance = TOO_OLD if self.inbox.gap else UNPACED_TOO_OLD
        return Slot(best[1], best[1] + tolerance, self.sleep)

    def used(self, slot: Slot) -> None:
        """Let the next slots wait for as long as a call left later than it is allowed to."""
        if self.inbox.gap and slot.late > TOO_OLD:
            with contextlib.suppress(Unavailable):
                self.inbox.defer(self.token, slot.late - TOO_OLD)


class Pacing(Part):
    """Hands out slots for calls, and holds a store still while it refuses the bridge."""

    def register(self, wanted: Iterable[Store]) -> None:
        """Let the inbox know the stores that are configured."""
        rows = [{"name": store.name, "token": token_key(store.token)} for store in wanted]
        if not rows:
            return

        def write(connection: Connection) -> None:
            for row in rows:
                names = insert_or_update(self._insert, stores, row, "name")
                connection.execute(names)
                pace = self._insert(paces).values(token=row["token"], next_at=0.0)
                connection.execute(pace.on_conflict_do_nothing(index_elements=["token"]))

        self.database.write(write)

    def give_up(self, known: Collection[str]) -> int:
        """Fail what is owed to stores that are not configured any more, once its deadline is over.

        Until then a store may come back, as in a deploy that overlaps another. Returns how many.
        """
        now, count = self.now(), 0
        gone = select(stores.c.name).where(stores.c.name.not_in(list(known)))
        with self.database.read() as connection:
            names = connection.execute(gone).scalars().all()
        for name in names:
            count += self.database.write(partial(self._give_up, store=name, now=now))
        return count

    def _give_up(self, connection: Connection, *, store: str, now: float) -> int:
        over = select(cases.c.id).where(cases.c.store == store, cases.c.due_at.is_not(None), IS_FREE)
        over = over.where(cases.c.deadline_at < now).limit(MOST_GIVEN_UP).with_for_update()
        idents = list(connection.execute(over, self._moment(now)).scalars())
        twins = connection.execute(select(cases.c.id).where(cases.c.duplicate_of.in_(idents))).scalars()
        both = [*idents, *twins]
        owed = update(deliveries).where(deliveries.c.case_id.in_(both), deliveries.c.settled_at.is_(None))
        ended = {"status": Status.FAILED, "due_at": None, "settled_at": now}
        said = f"There is no store {store!r} any more."
        failed = connection.execute(owed.values(**ended, reason=Reason.NO_STORE, message=said))
        connection.execute(update(cases).where(cases.c.id.in_(idents)).values(due_at=None))
        return failed.rowcount

    def pace(self, store: Store, sleep: Callable[[float], None] = time.sleep) -> Pace:
        """Return the pace that all calls with a store's token keep, in whatever process."""
        return Pace(self, token_key(store.token), sleep)

    def take_slot(self, token: str) -> float:
        """Take the next slot of a token and return when it opens, for calls outside the queue.

        It lies far enough ahead to be committed before it opens, mostly.
        """
        if not self.gap:
            return self.now()

        def write(connection: Connection) -> float:
            pace = select(paces.c.next_at).where(paces.c.token == token).with_for_update()
            slot_at = max(float(connection.execute(pace).scalar_one()), self.now() + COMMIT_SECONDS)
            self._set_paces(connection, [(token, slot_at + self.gap)])
            return slot_at

        return self.database.write(write)

    def is_wanted(self, store: str) -> bool:
        """Whether disputes of a store wait for its slots; while it is paused, they do not."""
        now = self.now()
        due = select(cases.c.id).where(cases.c.store == store, cases.c.due_at <= now, IS_FREE)
        with self.database.read() as connection:
            return not self._is_paused(connection, store) and bool(
                connection.execute(due.limit(1), self._moment(now)).first()
            )

    def is_idle(self, store: str) -> bool:
        """Whether a store may be asked for what no dispute waits for."""
        with self.database.read() as connection:
            paused = self._is_paused(connection, store)
        return not paused and not self.is_wanted(store)

    def throttle(self, token: str, seconds: float) -> None:
        """Push a token's next slot forward, as 29next asked for."""
        until = self.now() + seconds
        self.database.write(
            lambda connection: connection.execute(
                update(paces).where(paces.c.token == token, paces.c.next_at < until).values(next_at=until)
            )
        )

    def defer(self, token: str, seconds: float) -> None:
        """Push a token's slots on, since a call that left late is nearer to them than its own slot was."""
        later = update(paces).where(paces.c.token == token).values(next_at=paces.c.next_at + seconds)
        self.database.write(lambda connection: connection.execute(later))

    @staticmethod
    def _set_paces(connection: Connection, taken: Iterable[tuple[str, float]]) -> None:
        if rows := [{"of": token, "next_at": next_at} for token, next_at in taken]:
            connection.execute(_SET_PACE, rows)

    def pause(self, store: str, why: str, probe_after: float | None) -> None:
        """Stop calling a store but for a probe now and then; None waits for an operator to resume.

        What a person has paused stays as it is.
        """
        now = self.now()
        probe_at = None if probe_after is None else now + probe_after
        values = {
            "paused_at": func.coalesce(stores.c.paused_at, now),
            "paused_why": why,
            "probe_at": probe_at,
        }

        def write(connection: Connection) -> None:
            ours = () if why == BY_HAND else (_NOT_BY_HAND,)
            connection.execute(update(stores).where(stores.c.name == store, *ours).values(**values))
            connection.execute(pending_deliveries(store).values(reason=Reason.STORE_PAUSED))

        self.database.write(write)

    def resume(self, store: str, *, by_hand: bool = True) -> None:
        """Call a store again; the clocks of its alerts stood still while it was paused.

        What a person has paused, only a person resumes.
        """
        now = self.now()

        def write(connection: Connection) -> None:
            ours = () if by_hand else (_NOT_BY_HAND,)
            row = select(stores.c.paused_at).where(stores.c.name == store, *ours).with_for_update()
            paused_at = connection.execute(row).scalar()
            if paused_at is None:
                return
            connection.execute(
                update(stores)
                .where(stores.c.name == store)
                .values(paused_at=None, paused_why=None, probe_at=None)
            )
            began = deliveries.c.deadline_at - deliveries.c.allowed  # a replay's own
            since = case((began > paused_at, began), else_=paused_at)
            connection.execute(
                pending_deliveries(store).values(
                    deadline_at=deliveries.c.deadline_at + now - since, reason=None
                )
            )
            waiting = select(func.min(deliveries.c.deadline_at)).where(
                deliveries.c.case_id == cases.c.id, deliveries.c.settled_at.is_(None)
            )
            deadline_at = func.coalesce(waiting.scalar_subquery(), cases.c.deadline_at + now - paused_at)
            connection.execute(
                update(cases)
                .where(cases.c.store == store, cases.c.due_at.is_not(None))
                .values(deadline_at=deadline_at, due_at=now)
            )

        self.database.write(write)


def pending_deliveries(store: str) -> Update:
    """Begin a change to all that is owed to a store."""
    return update(deliveries).where(deliveries.c.store == store, deliveries.c.status == Status.PENDING)
