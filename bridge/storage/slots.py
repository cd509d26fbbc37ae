"""The pace of each access token."""

from __future__ import annotations

import contextlib
import time
import typing

from sqlalchemy import Connection, bindparam, select, update

from bridge.errors import Unavailable
from bridge.outbound.http import Slot
from bridge.storage.ids import token_key
from bridge.storage.schema import paces

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.settings import Store
    from bridge.storage.database import Database

TOO_OLD = 0.01
"""Seconds after its slot beyond which a call is not sent, so that five never meet in one second.

Of the 0.04 that four slots last longer than a second, the others are left to the way to 29next.
"""
UNPACED_TOO_OLD = 5.0
"""The same where no limit holds: its worker was stopped meanwhile."""
COMMIT_SECONDS = 0.05
"""What a slot that is taken outside the queue lies ahead, at least."""

_SET_PACE = update(paces).where(paces.c.token == bindparam("of"))


class Pace:
    """The slots of one access token, on the clock that its calls leave by."""

    def __init__(self, slots: Slots, token: str, sleep: Callable[[float], None]) -> None:
        self.slots = slots
        self.clock = slots.now
        self.token = token
        self.sleep = sleep

    def turn(self) -> Slot:
        """Take the next slot, for a call outside the queue; raises Unavailable."""
        return self.slot(self.slots.take_slot(self.token))

    def slot(self, moment: float) -> Slot:
        """Return the slot that opens at a moment of the inbox's clock."""
        opens = time.monotonic() + moment - self.slots.now()
        tolerance = TOO_OLD if self.slots.gap else UNPACED_TOO_OLD
        return Slot(opens, opens + tolerance, self.sleep)

    def used(self, slot: Slot) -> None:
        """Let the next slots wait for as long as a call left later than it is allowed to."""
        if self.slots.gap and slot.late > TOO_OLD:
            with contextlib.suppress(Unavailable):
                self.slots.defer(self.token, slot.late - TOO_OLD)


class Slots:
    """Hands out slots for calls."""

    def __init__(self, database: Database, gap: float) -> None:
        self.database = database
        self.now = database.now
        self.gap = gap

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
            self.set(connection, [(token, slot_at + self.gap)])
            return slot_at

        return self.database.write(write)

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

    def set(self, connection: Connection, taken: Iterable[tuple[str, float]]) -> None:
        """Write when the next slots of some tokens open."""
        if rows := [{"of": token, "next_at": next_at} for token, next_at in taken]:
            connection.execute(_SET_PACE, rows)
