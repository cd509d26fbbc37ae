"""Wall-clock deadlines for what blocks on a socket: past them the socket is shut, wherever it hangs.

A socket's own timeout starts anew with every byte, so a peer that drips could stretch it for hours.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import socket
import threading
import time
import typing

if typing.TYPE_CHECKING:
    from collections.abc import Iterator


class Deadline:
    """The end of one exchange's time, and the socket that it is about."""

    def __init__(self, seconds: float, sock: socket.socket | None) -> None:
        self.at = time.monotonic() + seconds
        self.sock = sock
        self.over = False

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.at

    def shut(self) -> None:
        """Ends the exchange: a thread that reads or writes on the socket gets an end or an error."""
        if self.sock is not None and not self.over:
            with contextlib.suppress(OSError):  # closed already
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class Watch:
    """One thread that shuts the socket of every exchange whose time is over."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Deadline]] = []
        self.count = itertools.count()
        self.changed = threading.Condition()
        self.thread: threading.Thread | None = None

    def begin(self, seconds: float, sock: socket.socket | None) -> Deadline:
        """Watches over an exchange from now on, until it is marked as over."""
        deadline = Deadline(seconds, sock)
        with self.changed:
            heapq.heappush(self.heap, (deadline.at, next(self.count), deadline))
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self.thread.start()
            if self.heap[0][2] is deadline:
                self.changed.notify()
        return deadline

    @contextlib.contextmanager
    def within(self, seconds: float, sock: socket.socket | None) -> Iterator[Deadline]:
        """Watches over an exchange for as long as the block runs."""
        deadline = self.begin(seconds, sock)
        try:
            yield deadline
        finally:
            deadline.over = True

    def _run(self) -> None:
        with self.changed:
            while True:
                while self.heap and self.heap[0][2].over:
                    heapq.heappop(self.heap)
                wait = self.heap[0][0] - time.monotonic() if self.heap else None
                if wait is not None and wait <= 0:
                    heapq.heappop(self.heap)[2].shut()
                else:
                    self.changed.wait(wait)


WATCH = Watch()
"""The process's own."""
