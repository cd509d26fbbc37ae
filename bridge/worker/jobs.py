"""What the worker does beside its alerts: bulk replays, notifications, retention, tokens.

Small steps, never in the way of forwarding: whatever goes wrong here is logged and tried again. One
thread does them all, but what calls a provider or a person has one of its own. The web process runs the
same for one thing only: to tell that the worker is gone.
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
from bridge.storage.memos import Memos
from bridge.storage.search import Search
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
"""Deliveries that a bulk replay puts back in a second, all workers together or not."""
BODIES = 500
"""Bodies that are removed in one step."""
TURN_SECONDS = 0.25


@dataclass
class Chore:
    """One thing to do again and again."""

    name: str
    every: float  # seconds
    do: Callable[[], object]
    apart: bool = False  # in a thread of its own, for it may have to wait
    due_at: float = field(default=0.0)


class Chores:
    """The chores of one process."""

    def __init__(self, settings: Settings, database: Database, *, worker: bool = True) -> None:
        self.settings = settings
        self.memos = Memos(database)
        self.search = Search(database)
        self.inbox = open_inbox(database, settings)
        self.database = database
        self.chores: list[Chore] = []
        if worker:
            self.chores.append(Chore("bulk replay", 1.0, self.replay))
            self.chores.append(Chore("stores that are gone", 60.0, self.give_up))
        if worker and settings.pulled:
            puller = Puller(self.inbox, settings)
            for name in settings.pulled:
                self.chores.append(Chore(f"pull of {name}", 1.0, partial(puller.turn, name), apart=True))
        if worker and settings.reporting:
            reporter = Reporter(self.inbox, settings)
            for name in settings.reporting:
                self.chores.append(
                    Chore(f"outcomes of {name}", 1.0, partial(reporter.turn, name), apart=True)
                )
        if worker and isinstance(settings.stores, AllStores):
            self.chores.append(Chore("stores", 5.0, partial(self.tend, settings.stores)))
        if worker and settings.keep_bodies:
            self.chores.append(Chore("retention", 20.0, self.drop_bodies))
        if worker and settings.keep_index:
            self.chores.append(Chore("retention of the index", 20.0, self.drop_index))
        if settings.notify:
            notifier = Notifier(database, self.memos, settings, settings.notify)
            only = None if worker else WORKER
            self.chores.append(Chore("notifications", 30.0, lambda: notifier.turn(only=only), apart=True))

    def run(self, stopping: threading.Event) -> None:
        """Do what is due until told to stop."""
        for one in self.chores:
            if one.apart:
                run = partial(self._repeat, [one], stopping)
                threading.Thread(target=run, name=one.name, daemon=True).start()
        self._repeat([one for one in self.chores if not one.apart], stopping)

    def _repeat(self, chores: Sequence[Chore], stopping: threading.Event) -> None:
        while chores and not stopping.wait(TURN_SECONDS):
            self.turn(time.monotonic(), chores)

    def turn(self, now: float, chores: Sequence[Chore] | None = None) -> None:
        """Do what is due at a moment, on any clock; never raises."""
        for chore in self.chores if chores is None else chores:
            if chore.due_at <= now:
                chore.due_at = now + chore.every
                try:
                    chore.do()
                except Unavailable as error:
                    log.warning("database unavailable", chore=chore.name, why=str(error))
                except Exception:  # the next turn tries again
                    log.exception("chore failed", chore=chore.name)

    def replay(self) -> None:
        """Take each bulk replay one step further.

        Its deliveries are put back before it is written down, so that a crash between the two only
        puts them back twice, which changes nothing.
        """
        for one in self.memos.replays(running=True):
            wanted = one.filters | ({"cursor": one.cursor} if one.cursor else {})
            found = self.search.ids(wanted, A_SECOND)
            ids = [ident for ident in found if ident < one.upto]
            if ids:
                self.inbox.deliveries.replay(ids)
                self.memos.advance_replay(one, ids)
            if len(ids) < A_SECOND:
                self.memos.end_replay(one.id)
                log.info("bulk replay done", replay=one.id)

    def give_up(self) -> None:
        """End what waits for stores that are not configured any more."""
        if count := self.inbox.stores.give_up(self.settings.stores):
            log.error("deliveries failed", reason="no_store", count=count)

    def tend(self, stores: AllStores) -> None:
        """Let the alerts of stores without a token wait, and tell why; keep tokens by the newest key."""
        with self.database.read() as connection:
            paused = stats.paused(connection)
        for store in stores.values():
            why = paused.get(store.name)
            if store.missing and why not in (store.missing, BY_HAND):
                self.inbox.stores.pause(store.name, store.missing, None)
            elif not store.missing and why in WITHOUT_TOKEN:
                self.inbox.stores.resume(store.name, by_hand=False)
        if count := stores.rotate():
            log.info("tokens encrypted anew", count=count)

    def drop_bodies(self) -> None:
        """Remove the bodies that are older than they are kept for, one step of them."""
        if self.settings.keep_bodies:
            dropped = self.memos.drop_bodies(self.memos.now() - self.settings.keep_bodies, BODIES)
            if dropped:
                log.info("bodies removed", count=dropped)

    def drop_index(self) -> None:
        """Remove the transactions that are older than the index keeps them for, one step of them."""
        if self.settings.keep_index:
            before = self.memos.now() - self.settings.keep_index
            for store in self.settings.stores:
                if dropped := self.inbox.transactions.drop(store, before, BODIES):
                    log.info("transactions removed", store=store, count=dropped)
