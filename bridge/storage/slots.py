"""The pace of each access token: one row in the database gives the next slot to any process."""

from __future__ import annotations

import threading
import time
import typing
from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, Double, bindparam, case, or_, update

from bridge.disputes.retry import LONGEST_RETRY_AFTER
from bridge.pace import AHEAD, LATE, UNPACED_LATE, Moment, Slot
from bridge.storage.database import MOMENT, Database
from bridge.storage.rows import SET_BACK
from bridge.storage.schema import paces

CLOCK_SLACK = 0.2
"""Seconds that this machine's clock may differ from its monotonic one before it counts as set."""
GAPS_AHEAD = 2
"""How many gaps ahead a slot for a dispute may open: one that lies further is left to the most urgent case
of that time."""


class Slots:
    """Gives calls their slots, `gap` seconds apart for each token; with no gap there is no limit."""

    def __init__(self, database: Database, gap: float) -> None:
        self.database = database
        self.gap = gap
        now = MOMENT if database.tells_time else bindparam("now", type_=Double)
        self._any = _next(now, gap)
        self.near = self._any.where(or_(paces.c.next_at <= now + GAPS_AHEAD * gap, _was_set_back(now)))
        self.lock = threading.Lock()
        self.offset = time.time() - time.monotonic()
        self.paused_until = 0.0  # monotonic

    def take(self, token: str) -> Slot:
        """Takes the next slot of a token, whenever it opens; raises Unavailable."""
        if not self.gap:
            return Moment().slot(0.0, UNPACED_LATE)

        def write(connection: Connection) -> Slot:
            before, parameters = Moment(), self.parameters(token)
            return before.slot(float(connection.execute(self._any, parameters).scalar_one()), LATE)

        return self.database.write(write)

    def take_near(self, connection: Connection, token: str) -> Slot | None:
        """Takes the next slot of a token within a transaction; returns None if it opens too far ahead."""
        if not self.gap:
            return Moment().slot(0.0, UNPACED_LATE)
        return self.timed(connection, self.near, token, {})

    def timed(
        self, connection: Connection, statement: typing.Any, token: str, values: Mapping[str, typing.Any]
    ) -> Slot | None:
        """Returns the slot of a token that a statement takes; its row is the seconds until the slot opens."""
        before = Moment()  # also before the clock is read: a slot must not outlast a stall between the two
        seconds = connection.execute(statement, {**self.parameters(token), **values}).scalar_one_or_none()
        return None if seconds is None else before.slot(float(seconds), LATE)

    def parameters(self, token: str) -> dict[str, typing.Any]:
        """Returns the parameters of the statements that take a slot of a token."""
        own_clock = {} if self.database.tells_time else {"now": self.database.now()}
        return {"of": token, "ahead": max(self._seconds_to_wait(), AHEAD), **own_clock}

    def _seconds_to_wait(self) -> float:
        """Returns the seconds until calls from before a change of the clock no longer count."""
        with self.lock:
            before, self.offset = self.offset, time.time() - time.monotonic()
            if abs(self.offset - before) > CLOCK_SLACK:
                self.paused_until = time.monotonic() + 1.0
            return max(self.paused_until - time.monotonic(), 0.0)

    def throttle(self, token: str, seconds: float) -> None:
        """Moves a token's next slot into the future, as 29next asked for."""
        until = self.database.now() + seconds
        later = update(paces).where(paces.c.token == token, paces.c.next_at < until).values(next_at=until)
        self.database.change(later)


def _next(now: ColumnElement[float], gap: float) -> typing.Any:
    """Returns the statement that takes a token's next slot and returns the seconds until it opens."""
    soonest = now + bindparam("ahead", type_=Double)
    opens = case((or_(paces.c.next_at < soonest, _was_set_back(now)), soonest), else_=paces.c.next_at)
    taken = update(paces).where(paces.c.token == bindparam("of")).values(next_at=opens + gap)
    return taken.returning((paces.c.next_at - gap - now).label("seconds"))


def _was_set_back(now: ColumnElement[float]) -> ColumnElement[bool]:
    """Returns the condition that a slot is further ahead than possible: the clock was set back since."""
    return paces.c.next_at > now + (LONGEST_RETRY_AFTER + SET_BACK)
