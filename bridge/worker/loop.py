"""The worker: one thread that speaks with the inbox, and many that make one call to 29next each.

No thread sleeps on a busy store: a case is claimed only when its store's slot is about to open, and
a store whose calls hang keeps a few threads, never all.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
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

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.storage.inbox import Inbox
    from bridge.storage.rows import Claim
    from bridge.worker.forward import Errand, Forwarder
    from bridge.worker.translate import Judge

log = structlog.get_logger()

THREADS = 96
MOST_PER_STORE = 16
"""Calls of one store under way at once in one process."""
TROUBLED_AFTER = 3
"""After so many calls of a store without an answer in a row, it gets one thread until it answers."""
BATCH_ON_SQLITE, BATCH_ON_POSTGRES = 16, 32
"""Deliveries that are translated, and cases that are claimed, at once: few, since calls that came back wait
behind them, and all that are claimed have to be ready in the time that one is given. On SQLite webhooks
wait for them too; on Postgres more of them share what is waited for the database's answers."""
IDLE_SECONDS = 0.05
BEAT_SECONDS = 10.0
DATABASE_SECONDS = 1.0
TEND_SECONDS = 1.0
CLOCK_SLACK = 0.2
"""Seconds by which the inbox's clock may run apart from this machine's before it counts as set."""
DRAIN_SECONDS = 16.0
"""How long calls under way may take after SIGTERM; a platform kills after 30."""
LAST_SECONDS = 19
"""After as many whole seconds the process ends, whatever still hangs."""
NO_ANSWER = frozenset({"unclear", "temporary"})


class Chores(typing.Protocol):
    """What a worker does beside forwarding, in a thread of its own."""

    def run(self, stopping: threading.Event) -> None:
        """Do it until told to stop; never raises."""


class Worker:
    """Translates and forwards what the inbox owes, until it is told to stop."""

    def __init__(
        self,
        inbox: Inbox,
        judge: Judge,
        forwarder: Forwarder,
        chores: Chores | None = None,
        *,
        beat: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.inbox = inbox
        self.judge = judge
        self.forwarder = forwarder
        self.chores = chores
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.beat = beat
        self.beaten_at = -BEAT_SECONDS
        self.batch = BATCH_ON_SQLITE if inbox.database.sqlite else BATCH_ON_POSTGRES
        self.stopping = threading.Event()
        self.stopped_at: float | None = None  # a plain value: a signal's handler may take no lock
        self.newest = False  # which end of the untranslated deliveries has its turn
        self.tended_at = -TEND_SECONDS
        self.offset: float | None = None  # of the inbox's clock to the monotonic one
        self.still_until = 0.0
        # no SimpleQueue: a signal in the last moment of its wait makes it wait for ever (CPython 3.11)
        self.back: queue.Queue[Errand | tuple[str, str]] = queue.Queue()
        self.unsettled: list[Errand] = []
        self.unprepared: list[Claim] = []  # the database failed before anything was known of them
        self.under_way: collections.Counter[str] = collections.Counter()
        self.unanswered: collections.Counter[str] = collections.Counter()

    def run(self) -> bool:
        """Work until stopped; a database that is away is waited for. Returns whether all calls ended."""
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="call")
        if self.chores:
            threading.Thread(
                target=self.chores.run, args=(self.stopping,), name="chores", daemon=True
            ).start()
        registered = False
        while self.stopped_at is None:
            try:
                if not registered:
                    self.inbox.stores.register(self.forwarder.settings.stores.values())
                    registered = True
                    log.info("worker started", stores=sorted(self.forwarder.settings.stores))
                if not self.turn(pool):
                    self._take_back(IDLE_SECONDS)
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
        """Settle what came back, translate a batch, send what has its turn; False where there is nothing."""
        self._beat()
        self._give_back()
        settled = self._settle()
        self.newest = not self.newest
        translated = self.judge.turn(self.batch, newest=self.newest)
        left = THREADS - self.under_way.total()
        free = [] if self._clock_was_set(self.inbox.now()) else self._free(left)
        claims = self.inbox.queue.claim(free, min(left, self.batch))
        self.unprepared = list(claims)
        errands = self.forwarder.prepare(claims)
        self.unprepared = []
        for errand in errands:
            self.under_way[errand.store.name] += 1
            if errand.outcome:
                self.unsettled.append(errand)
            else:
                pool.submit(self._send, errand)
        if not claims and not translated:
            self._tend_index(pool, free)
        return bool(settled or translated or claims)

    def _beat(self) -> None:
        """Say that the loop which forwards is alive: a thread of its own would say so for a hung one."""
        if time.monotonic() >= self.beaten_at + BEAT_SECONDS:
            self.beat(self.name)
            self.beaten_at = time.monotonic()

    def _give_back(self) -> None:
        """Give back what was claimed when the database failed, else it would rest for its whole lease."""
        if self.unprepared:
            self.inbox.queue.give_back(self.unprepared)
            self.unprepared = []

    def _settle(self) -> int:
        """Settle what has come back; what the database does not take now is kept for the next time."""
        self._take_back()
        errands, self.unsettled = self.unsettled, []
        try:
            self.forwarder.settle(errands)
        except Unavailable:
            now = self.inbox.now()  # with its lease over, a case is looked up as after a crash
            self.unsettled = [one for one in errands if now < one.claim.slot_at + self.inbox.queue.lease]
            raise
        finally:
            for one in errands:
                if one not in self.unsettled:
                    self._ended(one.store.name, one.outcome.word if one.outcome else "lost")
        return len(errands)

    def _take_back(self, seconds: float = 0.0) -> None:
        """Take what threads have done, after waiting for something if need be."""
        with contextlib.suppress(queue.Empty):
            one = self.back.get(timeout=seconds) if seconds else self.back.get_nowait()
            while True:
                if isinstance(one, tuple):
                    self._ended(*one)
                else:
                    self.unsettled.append(one)
                one = self.back.get_nowait()

    def _ended(self, store: str, outcome: str) -> None:
        """Count a call as over."""
        self.under_way[store] -= 1
        if outcome in NO_ANSWER:
            self.unanswered[store] += 1
        elif outcome in ("ok", "refused", "throttled", "store_refused"):
            self.unanswered[store] = 0

    def _clock_was_set(self, now: float) -> bool:
        """Whether slots of the last second cannot be told any more, since the clock was set meanwhile."""
        offset, self.offset = self.offset, now - time.monotonic()
        if abs(self.offset - (offset or self.offset)) > CLOCK_SLACK:
            self.still_until = time.monotonic() + 1.0
        return time.monotonic() < self.still_until

    def _tend_index(self, pool: ThreadPoolExecutor, free: list[str]) -> None:
        """While no dispute wants a slot, read what 29next told contradictorily, and what is new there."""
        if time.monotonic() < self.tended_at + TEND_SECONDS:
            return
        self.tended_at = time.monotonic()
        index, now = self.inbox.transactions, self.inbox.now()
        calls: list[tuple[str, Callable[[], str]]] = [
            (store, partial(self.forwarder.reread, store, ident))
            for store, ident in index.doubted(now).items()
        ]
        calls += [
            (store, partial(self.forwarder.keep_up, store, self.stopping.is_set))
            for store in index.behind(now)
        ]
        for store, call in calls:
            if store in free and not self.under_way[store] and self.inbox.stores.is_idle(store):
                self.under_way[store] += 1
                pool.submit(self._tend, store, call)

    def _free(self, left: int) -> list[str]:
        """Return the stores that may have another call under way; one without a token has none.

        The fewer threads are left, the fewer one store may take: some are always left for another.
        """
        names = [store.name for store in self.forwarder.settings.stores.values() if store.token]
        share = min(MOST_PER_STORE, max(left // 8, 1))
        most = {name: 1 if self.unanswered[name] >= TROUBLED_AFTER else share for name in names}
        return [name for name in names if left > 0 and self.under_way[name] < most[name]]

    def _send(self, errand: Errand) -> None:
        try:
            self.forwarder.send(errand)
        finally:
            self.back.put(errand)

    def _tend(self, store: str, call: Callable[[], str]) -> None:
        outcome = "lost"
        try:
            outcome = call()
        except Unavailable as error:
            log.warning("database unavailable", store=store, why=str(error))
        except Exception:
            log.exception("reading failed", store=store)
        self.back.put((store, outcome))

    def _drain(self) -> bool:
        """Let calls under way end; what does not is settled after its lease, as after a crash."""
        until = (self.stopped_at or time.monotonic()) + DRAIN_SECONDS
        while self.under_way.total() and time.monotonic() < until:
            try:
                self._take_back(IDLE_SECONDS)
                self._settle()
            except Unavailable as error:
                log.warning("database unavailable", why=str(error))
                time.sleep(IDLE_SECONDS)
        return not self.under_way.total()


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
