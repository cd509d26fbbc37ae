"""Group commit: a thread commits together what several threads write at the same time.

On SQLite that is every write: there is one writer at a time, and a write mostly waits for the lock and the
disk. Webhooks share their statements too, on both databases.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import typing
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field

from bridge.errors import Unavailable

Item = typing.TypeVar("Item")
T = typing.TypeVar("T")

MOST_TOGETHER = 128
"""How many items may share one commit."""


@dataclass
class _Waiting(typing.Generic[Item, T]):
    item: Item
    future: Future[T] = field(default_factory=Future)


class Committer(typing.Generic[Item, T]):
    """Commits together what waits together; an item that fails does not fail the others."""

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[T]], *, breath: float = 0.0) -> None:
        self.commit_all = commit  # in one transaction; returns a result for each
        self.breath = breath  # seconds after a commit in which the lock is free for other processes
        self.waiting: queue.SimpleQueue[_Waiting[Item, T] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def commit(self, item: Item, patience: float) -> T:
        """Commits an item and waits until it is durable; raises its error, or Unavailable."""
        entry: _Waiting[Item, T] = _Waiting(item)
        self._start()
        self.waiting.put(entry)
        try:
            return entry.future.result(patience)
        except Late:
            entry.future.cancel()  # unless its transaction runs already
            raise Unavailable("The database did not answer in time.") from None

    def close(self, patience: float) -> None:
        """Commits what waits, and ends the thread."""
        if self.thread:
            self.waiting.put(None)
            self.thread.join(patience)

    def _start(self) -> None:
        """Starts the thread with the first item: the process may have been forked before."""
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
            self._commit([entry for entry in group if entry.future.set_running_or_notify_cancel()])
            if self.breath:
                time.sleep(self.breath)

    def _commit(self, group: Sequence[_Waiting[Item, T]]) -> None:
        """Commits a group; if it fails, each item alone, so that each gets its own error."""
        try:
            results = self.commit_all([entry.item for entry in group]) if group else ()
        except Exception as error:  # noqa: BLE001  the callers' to handle
            if len(group) == 1 or isinstance(error, Unavailable):
                for entry in group:
                    entry.future.set_exception(error)
            else:
                for entry in group:
                    self._commit([entry])
            return
        for entry, result in zip(group, results, strict=True):
            entry.future.set_result(result)
