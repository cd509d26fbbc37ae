"""Group commit for SQLite, which has one writer at a time: writes that wait together share a commit.

The commit is what a write costs there, and waiting for the lock. A write that fails costs only itself.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import typing
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field

from bridge.errors import Unavailable
from bridge.storage.engines import BUSY_STEP, told_apart

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

T = typing.TypeVar("T")
Write = typing.Callable[["Connection"], typing.Any]
Transact = typing.Callable[["Sequence[Write]"], list[typing.Any]]

MOST_TOGETHER = 128
"""How many writes may share one commit."""
BREATH = 5 * BUSY_STEP
"""Seconds after a commit in which other processes find the lock free."""


@dataclass
class _Waiting:
    write: Write
    future: Future[typing.Any] = field(default_factory=Future)


class Committer:
    """A thread that commits together what waits together."""

    def __init__(self, transact: Transact) -> None:
        self.transact = transact  # runs some writes in one transaction
        self.waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def commit(self, write: Callable[[Connection], T], patience: float) -> T:
        """Hand over a write and wait until it is durable; raises what it raised, or Unavailable."""
        one = _Waiting(write)
        self._start()
        self.waiting.put(one)
        try:
            return typing.cast("T", one.future.result(patience))
        except Late:
            one.future.cancel()  # unless its transaction runs already
            raise Unavailable("The database does not answer in time.") from None

    def close(self, patience: float) -> None:
        """Commit what waits, and end."""
        if self.thread:
            self.waiting.put(None)
            self.thread.join(patience)

    def _start(self) -> None:
        """Start the thread with the first write: a process may have been forked before it."""
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="commits", daemon=True)
                self.thread.start()

    def _run(self) -> None:
        while (first := self.waiting.get()) is not None:
            group = [first]
            with contextlib.suppress(queue.Empty):
                while len(group) < MOST_TOGETHER:
                    more = self.waiting.get_nowait()
                    if more is None:
                        self.waiting.put(None)
                        break
                    group.append(more)
            self._commit([one for one in group if one.future.set_running_or_notify_cancel()])
            time.sleep(BREATH)

    def _commit(self, group: Sequence[_Waiting]) -> None:
        """Commit a group; where one of it is at fault, each is committed alone and has its own error."""
        try:
            with told_apart():
                results = self.transact([one.write for one in group])
        except Exception as error:  # noqa: BLE001  the callers' to handle
            if len(group) == 1 or isinstance(error, Unavailable):
                for one in group:
                    one.future.set_exception(error)
            else:
                for one in group:
                    self._commit([one])
            return
        for one, result in zip(group, results, strict=True):
            one.future.set_result(result)
