"""The worker: a dispatcher that claims what has its turn, and threads that work on one case each.

No thread sleeps on a busy store: a case is claimed only when its store's next slot opens within one gap,
and a store whose calls hang keeps a few threads, never all.
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
from bridge.errors import Unavailable
from bridge.worker.results import Dropped, Idle, NotNow, Observed, Result, Unclear

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.storage.inbox import Inbox
    from bridge.storage.rows import Claim
    from bridge.worker.forward import Forwarder, Task
    from bridge.worker.translate import Translator

log = structlog.get_logger()

THREADS = 64
SHARE = 8
"""A store may take an eighth of the threads that are left: some are always left for another."""
TROUBLED_AFTER = 3
"""After so many calls of a store without an answer in a row, it gets one thread until it answers."""
BATCH = 32
"""Deliveries that are translated, and cases that are claimed, at once: webhooks may wait for them."""
IDLE_SECONDS = 0.05
BEAT_SECONDS = 10.0
DATABASE_SECONDS = 1.0
TEND_SECONDS = 1.0
DRAIN_SECONDS = 16.0
"""How long calls under way may take after SIGTERM; a platform kills after 30."""
LAST_SECONDS = 19
"""After as many whole seconds the process ends, whatever still hangs."""


class Jobs(typing.Protocol):
    """What a worker does beside forwarding, in a thread of its own."""

    def run(self, stopping: threading.Event) -> None:
        """Do it until told to stop; never raises."""


class Load:
    """How many threads each store has, and whether it answers; safe to share between threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.under_way: collections.Counter[str] = collections.Counter()
        self.waiting: collections.Counter[str] = collections.Counter()  # for their slots
        self.unanswered: collections.Counter[str] = collections.Counter()

    @property
    def total(self) -> int:
        """Threads that are at work."""
        with self.lock:
            return self.under_way.total()

    def begin(self, store: str, *, waits: bool) -> None:
        """Count a thread that begins; with `waits` its slot is still to be taken."""
        with self.lock:
            self.under_way[store] += 1
            self.waiting[store] += waits

    def has_slot(self, store: str) -> None:
        """Let the next case of a store be claimed."""
        with self.lock:
            self.waiting[store] -= 1

    def end(self, store: str, *, answered: bool | None) -> None:
        """Count a thread that ends; None where 29next was not asked."""
        with self.lock:
            self.under_way[store] -= 1
            if answered is not None:
                self.unanswered[store] = 0 if answered else self.unanswered[store] + 1

    def free(self, names: typing.Iterable[str]) -> list[str]:
        """Return the stores that may have another thread."""
        with self.lock:
            left = THREADS - self.under_way.total()
            share = max(left // SHARE, 1)
            most = {name: 1 if self.unanswered[name] >= TROUBLED_AFTER else share for name in names}
            return [
                name
                for name in names
                if left > 0 and self.under_way[name] < most[name] and not self.waiting[name]
            ]


class Worker:
    """Translates and forwards what the inbox owes, until it is told to stop."""

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
        self.newest = False  # which end of the untranslated deliveries has its turn
        self.tended_at = -TEND_SECONDS
        self.load = Load()
        self.changed = threading.Event()  # a slot was taken, or a thread has ended

    def run(self) -> bool:
        """Work until stopped; a database that is away is waited for. Returns whether all calls ended."""
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
                if not self.turn(pool):
                    self.changed.wait(IDLE_SECONDS)
            except Unavailable as error:
                log.warning("database unavailable", why=str(error))
                time.sleep(DATABASE_SECONDS)
            except Exception:  # nothing may stop the worker: it says so, and goes on
                log.exception("turn failed")
                time.sleep(DATABASE_SECONDS)
        self.stopping.set()
        drained = self._drain()
        pool.shutdown(wait=drained, cancel_futures=True)
        log.info("worker stopped", drained=drained)
        return drained

    def stop(self, *_: object) -> None:
        """Claim nothing more, finish what is under way."""
        if self.stopped_at is None:
            self.stopped_at = time.monotonic()

    def turn(self, pool: ThreadPoolExecutor) -> bool:
        """Translate a batch, and hand out what is about to have its turn; False where there was nothing."""
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
            self._tend_index(pool, free)
        return bool(translated or claims)

    def _beat(self) -> None:
        """Say that the loop which forwards is alive: a thread of its own would say so for a hung one."""
        if time.monotonic() >= self.beaten_at + BEAT_SECONDS:
            self.beat(self.name)
            self.beaten_at = time.monotonic()

    def _work(self, claim: Claim) -> None:
        """Do the next step of a case, from its plan to its settlement."""
        task = None
        try:
            try:
                task = self._begin(claim)
            finally:
                self.load.has_slot(claim.store)
                self.changed.set()
            if task:
                self.forwarder.send(task)
                self._settle(task)
        except Exception:  # its lease runs out, and it is looked up as after a crash
            log.exception("working on a case failed", case=claim.case_id)
        finally:
            self.load.end(claim.store, answered=_has_answered(task.result if task else None))
            self.changed.set()

    def _begin(self, claim: Claim) -> Task | None:
        """Begin a step; where the database fails, give the case back: it would rest for its whole lease."""
        try:
            return self.forwarder.begin(claim)
        except Unavailable as error:
            log.warning("database unavailable", case=claim.case_id, why=str(error))
        self._keep_trying(partial(self.inbox.queue.give_back, claim), claim)
        return None

    def _settle(self, task: Task) -> None:
        self._keep_trying(partial(self.forwarder.settle, task), task.claim)

    def _keep_trying(self, write: Callable[[], object], claim: Claim) -> None:
        """Write what the database does not take now as soon as it does, for as long as the lease holds.

        After that, the case is looked up as after a crash.
        """
        while True:
            try:
                write()
            except Unavailable as error:
                log.warning("database unavailable", case=claim.case_id, why=str(error))
                if self.inbox.now() >= claim.until:
                    return
                self.forwarder.sleep(DATABASE_SECONDS)
            else:
                return

    def _tend_index(self, pool: ThreadPoolExecutor, free: list[str]) -> None:
        """While no dispute wants a slot, read what 29next told contradictorily, and what is new there."""
        if time.monotonic() < self.tended_at + TEND_SECONDS:
            return
        self.tended_at = time.monotonic()
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
                pool.submit(self._tend, store, call)

    def _tend(self, store: str, call: Callable[[], bool | None]) -> None:
        answered = None
        try:
            answered = call()
        except Unavailable as error:
            log.warning("database unavailable", store=store, why=str(error))
        except Exception:
            log.exception("reading failed", store=store)
        self.load.end(store, answered=answered)

    def _drain(self) -> bool:
        """Let calls under way end; what does not is settled after its lease, as after a crash."""
        until = (self.stopped_at or time.monotonic()) + DRAIN_SECONDS
        while self.load.total and time.monotonic() < until:
            self.changed.clear()
            self.changed.wait(IDLE_SECONDS)
        return not self.load.total


def _has_answered(result: Result | None) -> bool | None:
    """Whether 29next answered a call; None where there was none."""
    if result is None or isinstance(result, Idle | Observed | Dropped):
        return None
    return not isinstance(result, NotNow | Unclear)


def run(worker: Worker) -> None:
    """Run until SIGTERM or SIGINT, and end in time even where a call or the database still hangs."""

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
