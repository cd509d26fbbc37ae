"""The worker: hands claimed cases to threads, store by store, until it is told to stop.

No thread sleeps on a busy store: a case is claimed only when its store's slot is about to open, and
a store whose calls hang keeps a few threads, never all.
"""

from __future__ import annotations

import collections
import os
import signal
import threading
import time
import typing
from concurrent.futures import ThreadPoolExecutor

import structlog

from bridge.errors import Unavailable

if typing.TYPE_CHECKING:
    from bridge.forward import Forwarder
    from bridge.inbox import Claim, Inbox

log = structlog.get_logger()

THREADS = 96
MOST_PER_STORE = 16
"""Calls of one store under way at once in one process."""
TROUBLED_AFTER = 3
"""After so many calls of a store without an answer in a row, it gets one thread until it answers."""
BATCH = 50
"""Deliveries that are translated in one transaction."""
IDLE_SECONDS = 0.05
DATABASE_SECONDS = 1.0
DRAIN_SECONDS = 16.0
"""How long calls under way may take after SIGTERM; a platform kills after 30."""
NO_ANSWER = frozenset({"unclear", "temporary"})


class Worker:
    """Translates and forwards what the inbox owes."""

    def __init__(self, inbox: Inbox, forwarder: Forwarder) -> None:
        self.inbox = inbox
        self.forwarder = forwarder
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.under_way: collections.Counter[str] = collections.Counter()
        self.unanswered: collections.Counter[str] = collections.Counter()

    def run(self) -> bool:
        """Work until stopped; a database that is away is waited for. Returns whether all calls ended."""
        log.info("worker started", stores=sorted(self.forwarder.settings.stores))
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="call")
        registered = False
        while not self.stopping.is_set():
            try:
                if not registered:
                    self.inbox.register(self.forwarder.settings.stores.values())
                    registered = True
                if not self.turn(pool):
                    self.stopping.wait(IDLE_SECONDS)
            except Unavailable as error:
                log.warning("database unavailable", why=str(error))
                self.stopping.wait(DATABASE_SECONDS)
        drained = self._drain()
        pool.shutdown(wait=drained, cancel_futures=True)
        log.info("worker stopped", drained=drained)
        return drained

    def stop(self, *_: object) -> None:
        """Claim nothing more, finish what is under way."""
        self.stopping.set()

    def turn(self, pool: ThreadPoolExecutor) -> bool:
        """Translate a batch and claim what can be sent; returns whether there was anything."""
        translated = self.inbox.translate(self.forwarder.judge, BATCH)
        claims = self.inbox.claim(self._free())
        for claim in claims:
            with self.lock:
                self.under_way[claim.store] += 1
            pool.submit(self._work, claim)
        return bool(translated or claims)

    def _free(self) -> list[str]:
        """Return the stores that may have another call under way."""
        with self.lock:
            if sum(self.under_way.values()) >= THREADS:
                return []
            return [store for store in self.forwarder.settings.stores if self._may(store)]

    def _may(self, store: str) -> bool:
        most = 1 if self.unanswered[store] >= TROUBLED_AFTER else MOST_PER_STORE
        return self.under_way[store] < most

    def _work(self, claim: Claim) -> None:
        outcome = "lost"
        try:
            outcome = self.forwarder.work(claim)
        except Unavailable as error:
            log.warning("database unavailable", case=claim.case_id, why=str(error))
        except Exception:  # the lease runs out, and the case is tried again
            log.exception("work failed", case=claim.case_id)
        finally:
            with self.lock:
                self.under_way[claim.store] -= 1
                if outcome in NO_ANSWER:
                    self.unanswered[claim.store] += 1
                elif outcome in ("ok", "refused", "throttled", "store_refused"):
                    self.unanswered[claim.store] = 0

    def _drain(self) -> bool:
        """Let calls under way end; what does not is settled after its lease, as after a crash."""
        until = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < until:
            with self.lock:
                if not sum(self.under_way.values()):
                    return True
            time.sleep(0.05)
        return False


def run(worker: Worker) -> None:
    """Run until SIGTERM or SIGINT, and end in time even where a call still hangs."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    if not worker.run():
        os._exit(0)  # its intents are committed: they are looked up, as after a crash
