"""The worker's jobs beside forwarding: bulk replays, notifications, retention, tokens.

Each job takes small steps and never delays forwarding: what fails is logged and tried again. One thread
runs them, and jobs that make calls have a thread each. The web process runs only one job: it notifies you
if the worker is gone.
"""

from __future__ import annotations

import threading
import time
import typing
from dataclasses import dataclass, field
from functools import partial

import structlog

from bridge.errors import Unavailable
from bridge.storage import stats
from bridge.storage.inbox import open_inbox
from bridge.storage.installations import WITHOUT_TOKEN, AllStores
from bridge.storage.search import Search
from bridge.storage.shared_state import SharedState
from bridge.storage.stores import BY_HAND
from bridge.worker.notify import WORKER, Notifier
from bridge.worker.outcomes import Reporter
from bridge.worker.pull import Puller

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.settings import Settings
    from bridge.storage.database import Database

log = structlog.get_logger()

A_SECOND = 20
"""How many deliveries a bulk replay puts back in a second, with any number of workers."""
BODIES = 500
"""How many bodies or transactions are removed in one step."""
TURN_SECONDS = 0.25


@dataclass
class Job:
    """A function that runs at intervals."""

    name: str
    every: float  # seconds
    do: Callable[[], object]
    apart: bool = False  # in a thread of its own, since it makes calls
    due_at: float = field(default=0.0)


class Jobs:
    """Runs the jobs of one process."""

    def __init__(self, settings: Settings, database: Database, *, worker: bool = True) -> None:
        self.settings = settings
        self.shared_state = SharedState(database)
        self.search = Search(database)
        self.inbox = open_inbox(database, settings)
        self.database = database
        self.jobs: list[Job] = []
        if worker:
            self.jobs.append(Job("bulk replay", 1.0, self.replay))
            self.jobs.append(Job("removed stores", 60.0, self.fail_removed_stores))
        if worker and settings.pulled:
            puller = Puller(self.inbox, settings)
            for name in settings.pulled:
                self.jobs.append(Job(f"pull of {name}", 1.0, partial(puller.pull, name), apart=True))
        if worker and settings.reporting:
            reporter = Reporter(self.inbox, settings)
            for name in settings.reporting:
                self.jobs.append(Job(f"outcomes of {name}", 1.0, partial(reporter.report, name), apart=True))
        if worker and isinstance(settings.stores, AllStores):
            self.jobs.append(Job("stores", 5.0, partial(self.refresh_stores, settings.stores)))
        if worker and settings.keep_bodies:
            self.jobs.append(Job("retention", 20.0, self.drop_bodies))
        if worker and settings.keep_index:
            self.jobs.append(Job("retention of the index", 20.0, self.drop_index))
        if settings.notify:
            notifier = Notifier(database, self.shared_state, settings, settings.notify)
            only = None if worker else WORKER
            self.jobs.append(Job("notifications", 30.0, lambda: notifier.send_new(only=only), apart=True))

    def run(self, stopping: threading.Event) -> None:
        """Runs due jobs until `stopping` is set."""
        for job in self.jobs:
            if job.apart:
                run = partial(self._repeat, [job], stopping)
                threading.Thread(target=run, name=job.name, daemon=True).start()
        self._repeat([job for job in self.jobs if not job.apart], stopping)

    def _repeat(self, jobs: Sequence[Job], stopping: threading.Event) -> None:
        while jobs and not stopping.wait(TURN_SECONDS):
            self.run_due(time.monotonic(), jobs)

    def run_due(self, now: float, jobs: Sequence[Job] | None = None) -> None:
        """Runs the jobs that are due at a moment, on any clock; never raises."""
        for job in self.jobs if jobs is None else jobs:
            if job.due_at <= now:
                job.due_at = now + job.every
                try:
                    job.do()
                except Unavailable as error:
                    log.warning("database unavailable", job=job.name, why=str(error))
                except Exception:  # the next turn tries again
                    log.exception("job failed", job=job.name)

    def replay(self) -> None:
        """Runs one step of each bulk replay.

        Its deliveries are put back before its progress is recorded: a crash between the two only puts them
        back twice, which changes nothing.
        """
        for replay in self.shared_state.replays(running=True):
            wanted = replay.filters | ({"cursor": replay.cursor} if replay.cursor else {})
            matching = self.search.ids(wanted, A_SECOND)
            ids = [ident for ident in matching if ident < replay.upto]
            if ids:
                self.inbox.deliveries.replay(ids)
                self.shared_state.advance_replay(replay, ids)
            if len(ids) < A_SECOND:
                self.shared_state.end_replay(replay.id, "done")
                log.info("bulk replay done", replay=replay.id)

    def fail_removed_stores(self) -> None:
        """Fails what waits for stores that are no longer configured."""
        if count := self.inbox.stores.fail_removed(self.settings.stores):
            log.error("deliveries failed", reason="no_store", count=count)

    def refresh_stores(self, stores: AllStores) -> None:
        """Pauses stores without a token, resumes those with one; encrypts tokens with the newest key."""
        with self.database.read() as connection:
            paused = stats.paused(connection)
        for store in stores.values():
            why = paused.get(store.name)
            if store.missing and why not in (store.missing, BY_HAND):
                self.inbox.stores.pause(store.name, store.missing, None)
            elif not store.missing and why in WITHOUT_TOKEN:
                self.inbox.stores.resume(store.name, by_hand=False)
        if count := stores.rotate():
            log.info("tokens encrypted again", count=count)

    def drop_bodies(self) -> None:
        """Removes bodies past their retention, BODIES at most."""
        if self.settings.keep_bodies:
            dropped = self.shared_state.drop_bodies(
                self.shared_state.now() - self.settings.keep_bodies, BODIES
            )
            if dropped:
                log.info("bodies removed", count=dropped)

    def drop_index(self) -> None:
        """Removes transactions past their retention from the index, BODIES of each store at most."""
        if self.settings.keep_index:
            before = self.shared_state.now() - self.settings.keep_index
            for store in self.settings.stores:
                if dropped := self.inbox.transactions.drop(store, before, BODIES):
                    log.info("transactions removed", store=store, count=dropped)
