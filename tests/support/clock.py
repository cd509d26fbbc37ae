"""The time of tests: a clock that they set, and waiting for what comes true in real time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pytest

T = TypeVar("T")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0


@dataclass
class Clock:
    """The time that the bridge and 29next go by in a test."""

    now: float = NOON.timestamp()
    step: float = 0.002
    """How far each look moves it: no two things happen in the same millisecond."""

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @property
    def iso(self) -> str:
        """The moment as 29next and providers write it."""
        return datetime.fromtimestamp(self.now, UTC).isoformat()


class WallClock(Clock):
    """The machine's own."""

    def __call__(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@contextmanager
def in_zone(name: str) -> Iterator[None]:
    """Puts the machine in another time zone."""
    here = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        os.environ.update({} if here is None else {"TZ": here})
        time.tzset()


def wait_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every wait as long as chance allows, so that nothing is tried again while a test still looks."""
    monkeypatch.setattr("random.Random.uniform", lambda _, __, longest: longest)


def eventually(check: Callable[[], T], seconds: float = 30, every: float = 0.02) -> T:
    """What `check` gives once it is true; an AssertionError if it does not come true in time."""
    end = time.monotonic() + seconds
    while not (outcome := check()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(every)
    return outcome
