"""The worker: a dispatcher that translates and claims, and threads that work on one case each.

No thread sleeps on a busy store: a case is claimed only when its store's next slot opens within one gap.
A store whose calls hang occupies a few threads, never all.
"""

from __future__ import annotations

import collections
import os
import signal
import socket
import threading
import time
import typing
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from bridge import logs
from bridge.errors import TemporaryError, Throttled, Unavailable, Unclear
from bridge.worker.results import Observed

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.storage.inbox import Inbox
    from bridge.storage.rows import Claim
    from bridge.worker.forward import Forwarder
    from bridge.worker.jobs import Jobs
    from bridge.worker.results import Result, Task
    from bridge.worker.translate import Translator

log = structlog.get_logger()

THREADS = 64
SHARE = 8
"""A store may take an eighth of the free threads, so some are always left for another."""
UNANSWERED_LIMIT = 3
"""After this many calls without an answer in a row, a store gets one thread until it answers."""
BATCH = 32
"""How many deliveries are translated, and cases claimed, at once: webhooks may wait for them."""
IDLE_SECONDS = 0.05
BEAT_SECONDS = 10.0
DATABASE_SECONDS = 1.0
REFRESH_SECONDS = 1.0
DRAIN_SECONDS = 16.0
"""How long running calls may take after SIGTERM; platforms kill after 30 seconds."""
LAST_SECONDS = 19
"""Seconds after SIGTERM at which the process ends, even if something still hangs."""


class Load:
    """How many threads each store has, and whether it answers; safe to share between threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.under_way: collections.Counter[str] = collections.Counter()
        self.waiting: collections.Counter[str] = collections.Counter()  # for their slots
        self.unanswered: collections.Counter[str] = collections.Counter()

    @property
    def total(self) -> int:
        """The number of busy threads."""
        with self.lock:
            return self.under_way.total()

    def begin(self, store: str, *, waits: bool) -> None:
        """Counts a thread that begins; `waits` says that it has to take its slot yet."""
        with self.lock:
            self.under_way[store] += 1
            self.waiting[store] += waits

    def has_slot(self, store: str) -> None:
        """Counts a thread that has its slot: the next case of the store may be claimed."""
        with self.lock:
            self.waiting[store] -= 1

    def end(self, store: str, *, answered: bool | None) -> None:
        """Counts a thread that ends; `answered` is None if 29next was not called."""
        with self.lock:
            self.under_way[store] -= 1
            if answered is not None:
                self.unanswered[store] = 0 if answered else self.unanswered[store] + 1

    def free(self, names: typing.Iterable[str]) -> list[str]:
        """Returns the stores that may have another thread."""
        with self.lock:
            left = THREADS - self.under_way.total()
            share = max(left // SHARE, 1)
            most = {name: 1 if self.unanswered[name] >= UNANSWERED_LIMIT else share for name in names}
            return [
                name
                for name in names
                if left > 0 and self.under_way[name] < most[name] and not self.waiting[name]
            ]


class Worker:
    """Translates and forwards the alerts of the inbox, until it is stopped."""

    def __init__(
        self,
        inbox: Inbox,
        translator: Translator,
        forwarder: Forwarder,
        jobs: Jobs | None = None,
        *,
        beat: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.inbox = inbox
        self.translator = translator
        self.forwarder = forwarder
        self.jobs = jobs
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.beat = beat
        self.beaten_at = -BEAT_SECONDS
        self.stopping = threading.Event()
        self.stopped_at: float | None = None  # a plain value: a signal's handler may take no lock
        self.newest = False  # whether the newest untranslated deliveries are next
        self.refreshed_at = -REFRESH_SECONDS
        self.load = Load()
        self.changed = threading.Event()  # a slot was taken, or a thread has ended

    def run(self) -> bool:
        """Works until stopped, and waits for a database that is away. Returns whether all calls ended."""
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="case")
        if self.jobs:
            threading.Thread(target=self.jobs.run, args=(self.stopping,), name="jobs", daemon=True).start()
        registered = False
        while self.stopped_at is None:
            try:
                if not registered:
                    self.inbox.stores.register(self.forwarder.settings.stores.values())
                    registered = True
                    log.info("worker started", stores=sorted(self.forwarder.settings.stores))
                if not self.run_once(pool):
                    self.changed.wait(IDLE_SECONDS)
            except Unavailable as error:
                log.warning("database unavailable", why=str(error))
                time.sleep(DATABASE_SECONDS)
            except Exception:  # no error may stop the worker
                log.exception("turn failed")
                time.sleep(DATABASE_SECONDS)
        self.stopping.set()
        drained = self._drain()
        pool.shutdown(wait=drained, cancel_futures=True)
        log.info("worker stopped", drained=drained)
        return drained

    def stop(self, *_: object) -> None:
        """Claims nothing more, and finishes the running calls."""
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()

    def run_once(self, pool: ThreadPoolExecutor) -> bool:
        """Translates a batch, and starts cases whose slots open soon; returns False if there were none."""
        self.changed.clear()
        self._beat()
        self.newest = not self.newest
        translated = self.translator.translate_batch(BATCH, newest=self.newest)
        free = self.load.free(
            [store.name for store in self.forwarder.settings.stores.values() if store.token]
        )
        claims = self.inbox.queue.claim(free, min(THREADS - self.load.total, BATCH))
        for claim in claims:
            self.load.begin(claim.store, waits=True)
            pool.submit(self._work, claim)
        if not claims and not translated:
            self._refresh_index(pool, free)
        return bool(translated or claims)

    def _beat(self) -> None:
        """Sends the heartbeat from the loop that forwards: another thread would do so even if this hangs."""
        if time.monotonic() >= self.beaten_at + BEAT_SECONDS:
            self.beat(self.name)
            self.beaten_at = time.monotonic()

    def _work(self, claim: Claim) -> None:
        """Does the next step of a case, from its plan to its settlement."""
        task = None
        try:
            try:
                task = self._begin(claim)
            finally:
                self.load.has_slot(claim.store)
                self.changed.set()
            if task:
                self.forwarder.send(task)
                self._keep_trying(partial(self.forwarder.settle, task), claim)
        except Exception:  # its lease runs out, and the case is looked up as after a crash
            log.exception("working on a case failed", case=claim.case_id)
        finally:
            self.load.end(claim.store, answered=_has_answered(task.result if task else None))
            self.changed.set()

    def _begin(self, claim: Claim) -> Task | None:
        """Begins a step; if the database fails, releases the case, or it would wait for its whole lease."""
        try:
            return self.forwarder.begin(claim)
        except Unavailable as error:
            log.warning("database unavailable", case=claim.case_id, why=str(error))
        self._keep_trying(partial(self.inbox.queue.release, claim), claim)
        return None

    def _keep_trying(self, write: Callable[[], object], claim: Claim) -> None:
        """Repeats a write until the database takes it, for as long as the lease holds.

        After that, the case is looked up as after a crash.
        """
        while True:
            try:
                write()
                return
            except Unavailable as error:
                log.warning("database unavailable", case=claim.case_id, why=str(error))
                if self.inbox.now() >= claim.until:
                    return
                self.forwarder.sleep(DATABASE_SECONDS)

    def _refresh_index(self, pool: ThreadPoolExecutor, free: list[str]) -> None:
        """While no dispute needs a slot, reads contradictory and new transactions into the index."""
        if time.monotonic() < self.refreshed_at + REFRESH_SECONDS:
            return
        self.refreshed_at = time.monotonic()
        index, now = self.inbox.transactions, self.inbox.now()
        calls: list[tuple[str, Callable[[], bool | None]]] = [
            (store, partial(self.forwarder.reread, store, ident))
            for store, ident in index.contradictory(now).items()
        ]
        calls += [
            (store, partial(self.forwarder.read_new, store, self.stopping.is_set))
            for store in index.stores_behind(now)
        ]
        for store, call in calls:
            if store in free and not self.load.under_way[store] and self.inbox.stores.is_idle(store):
                self.load.begin(store, waits=False)
                pool.submit(self._read_for_index, store, call)

    def _read_for_index(self, store: str, call: Callable[[], bool | None]) -> None:
        answered = None
        try:
            answered = call()
        except Unavailable as error:
            log.warning("database unavailable", store=store, why=str(error))
        except Exception:
            log.exception("reading failed", store=store)
        self.load.end(store, answered=answered)

    def _drain(self) -> bool:
        """Waits for running calls; what does not end is looked up after its lease, as after a crash."""
        until = (self.stopped_at or time.monotonic()) + DRAIN_SECONDS
        while self.load.total and time.monotonic() < until:
            self.changed.clear()
            self.changed.wait(IDLE_SECONDS)
        return not self.load.total


def _has_answered(result: Result | None) -> bool | None:
    """Whether 29next answered a call; None if there was no call."""
    if result is None or isinstance(result, Observed | Unavailable):
        return None
    return isinstance(result, Throttled) or not isinstance(result, TemporaryError | Unclear)


def run(worker: Worker) -> None:
    """Runs until SIGTERM or SIGINT, and ends in time even if a call or the database hangs."""

    def stop(*_: object) -> None:
        if worker.stopped_at is None:
            signal.alarm(LAST_SECONDS)
        worker.stop()

    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # as below
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if not worker.run():
        logs.drain()
        os._exit(0)  # its intents are committed: they are looked up, as after a crash
