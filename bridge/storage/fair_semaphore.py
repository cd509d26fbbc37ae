"""A semaphore that is fair: threads that wait get in in the order in which they came.

A connection pool gives a connection to the thread that asks next: threads that ask again and again would
leave a waiting thread without one for seconds.
"""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator

from bridge.errors import Unavailable


class FairSemaphore:
    """Lets `most` threads in at once."""

    def __init__(self, most: int) -> None:
        self.free = most
        self.waiting: collections.deque[threading.Lock] = collections.deque()
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def acquired(self, patience: float) -> Iterator[None]:
        """Holds the semaphore; raises Unavailable if it is not free within `patience` seconds."""
        if not self._acquire(patience):
            raise Unavailable("All connections to the database are in use.")
        try:
            yield
        finally:
            self._release()

    def _acquire(self, patience: float) -> bool:
        with self.lock:
            if self.free:  # then no thread waits
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
        return True  # it was passed on at the last moment

    def _release(self) -> None:
        with self.lock:
            if self.waiting:
                self.waiting.popleft().release()
            else:
                self.free += 1
