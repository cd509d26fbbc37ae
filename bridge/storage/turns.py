"""Turns: so many at once, and all others in the order in which they came.

A pool gives what comes back to whoever asks next: threads that ask again and again would leave one that
waits without any for seconds.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import typing

from bridge.errors import Unavailable

if typing.TYPE_CHECKING:
    from collections.abc import Iterator


class Turns:
    """Lets some threads in at once."""

    def __init__(self, most: int) -> None:
        self.free = most
        self.waiting: collections.deque[threading.Lock] = collections.deque()
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def turn(self, patience: float) -> Iterator[None]:
        """Wait for a turn and take it; raises Unavailable after so many seconds."""
        if not self._take(patience):
            raise Unavailable("All connections to the database are in use.")
        try:
            yield
        finally:
            self._pass_on()

    def _take(self, patience: float) -> bool:
        with self.lock:
            if self.free:  # then nobody waits
                self.free -= 1
                return True
            mine = threading.Lock()
            mine.acquire()
            self.waiting.append(mine)
        if mine.acquire(timeout=patience):
            return True
        with self.lock:
            if mine in self.waiting:
                self.waiting.remove(mine)
                return False
        return True  # it came at the last moment

    def _pass_on(self) -> None:
        with self.lock:
            if self.waiting:
                self.waiting.popleft().release()
            else:
                self.free += 1
