"""A thread that does together what several ask for at the same time: what that costs, they share.

On SQLite it is every write, for there is one writer at a time, and waiting for the lock and the disk is
what a write costs. Webhooks share their statements too, on both databases.
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

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = typing.TypeVar("Item")
T = typing.TypeVar("T")

MOST_TOGETHER = 128
"""How many may share one commit."""


@dataclass
class _Waiting(typing.Generic[Item, T]):
    item: Item
    future: Future[T] = field(default_factory=Future)


class Committer(typing.Generic[Item, T]):
    """Commits together what waits together; what fails costs only itself."""

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[T]], *, breath: float = 0.0) -> None:
        self.together = commit  # in one transaction; returns a result for each
        self.breath = breath  # seconds after it in which other processes find the lock free
        self.waiting: queue.SimpleQueue[_Waiting[Item, T] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def commit(self, item: Item, patience: float) -> T:
        """Hand over an item and wait until it is durable; raises what it raised, or Unavailable."""
        one: _Waiting[Item, T] = _Waiting(item)
        self._start()
        self.waiting.put(one)
        try:
            return one.future.result(patience)
        except Late:
            one.future.cancel()  # unless its transaction runs already
            raise Unavailable("The database did not answer in time.") from None

    def close(self, patience: float) -> None:
        """Commit what waits, and end."""
        if self.thread:
            self.waiting.put(None)
            self.thread.join(patience)

    def _start(self) -> None:
        """Start the thread with the first item: a process may have been forked before it."""
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
            if self.breath:
                time.sleep(self.breath)

    def _commit(self, group: Sequence[_Waiting[Item, T]]) -> None:
        """Commit a group; where one of it is at fault, each is committed alone and has its own error."""
        try:
            results = self.together([one.item for one in group]) if group else ()
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
