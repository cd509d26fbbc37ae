"""When a call may leave: the slot that an access token was given, and a call's turn.

A token's slots are handed out by one row of the database, and what counts there is its clock. A slot
comes back from the statement as seconds until it opens. Nobody knows when during the statement the
clock was read: so a call leaves no earlier than counted from after it, and no later than counted from
before it, and no two clocks are ever compared.
"""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass

from bridge.errors import TooLate

if typing.TYPE_CHECKING:
    from collections.abc import Callable

AHEAD = 0.05
"""Seconds that a slot lies ahead at least: what is about to be sent is committed meanwhile."""
LATE = 0.03
"""Seconds after its opening at which a slot closes. Four gaps of 0.275 s leave 0.1 s by which the first of
five calls may be late, or the five would meet in one second; the rest is left to the way to 29next."""
UNPACED_LATE = 2.0
"""The same where no limit holds: a process that was stopped for as long may not own its case any more."""
MOST_TURNS = 20
"""How many slots a call may miss: a machine that never gets one out in time is too busy for it now."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A time to leave in: from `opens` to `closes` on the monotonic clock, and not after `closes_at`.

    That is by the wall clock, which goes on where a machine sleeps.
    """

    opens: float
    closes: float
    closes_at: float

    @property
    def is_over(self) -> bool:
        """Whether it has closed, by either clock."""
        return time.monotonic() > self.closes or time.time() > self.closes_at


class Moment:
    """A moment by both clocks, such as the one right before a slot is asked for."""

    def __init__(self) -> None:
        self.monotonic = time.monotonic()
        self.wall = time.time()

    @property
    def age(self) -> float:
        """Seconds since then, by the clock that says more."""
        return max(time.monotonic() - self.monotonic, time.time() - self.wall)

    def slot(self, seconds: float, late: float) -> Slot:
        """Returns the slot that was said to open in so many seconds, and to close `late` seconds after."""
        return Slot(
            time.monotonic() + seconds, self.monotonic + seconds + late, self.wall + max(seconds, 0.0) + late
        )


class Turn:
    """One call's turn: its slot, and another one each time that it was not ready while the slot was open."""

    def __init__(
        self,
        take: Callable[[], Slot],
        *,
        slot: Slot | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.take = take
        self.slot = slot
        self.sleep = sleep
        self.came_at: float | None = None  # monotonic

    def wait(self) -> None:
        """Returns once the call may leave; raises TooLate where it may not any more."""
        for _ in range(MOST_TURNS):
            self.slot = slot = self.slot or self.take()
            if (wait := slot.opens - time.monotonic()) > 0:
                self.sleep(wait)
            if not slot.is_over:
                self.came_at = time.monotonic()
                return
            self.slot = None
        raise TooLate("This machine is too busy to keep to its time slots.")
