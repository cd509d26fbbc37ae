"""Fills the local index from 29next's list of transactions, a day at a time, behind the disputes.

A day counts as covered once its last page was read, so a run that stops goes on with the day it was
at, and a half-read page costs nothing but reading it again.
"""

from __future__ import annotations

import time
import typing
from datetime import UTC, date, datetime, timedelta

import structlog

from bridge.errors import TemporaryError
from bridge.inbox import token_key

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.inbox import Inbox
    from bridge.next_api import NextApi
    from bridge.settings import Store

log = structlog.get_logger()

DAY = 86_400.0
TRIES = 20
"""How often in a row one day is tried again before the run gives up."""
YIELD_SECONDS = 0.2
"""How long a page waits while disputes want the store's slots."""


class Backfill:
    """One run over one store."""

    def __init__(
        self,
        inbox: Inbox,
        api: NextApi,
        store: Store,
        *,
        tell: Callable[[str], None] = print,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.inbox = inbox
        self.api = api
        self.store = store
        self.tell = tell
        self.sleep = sleep

    def run(self, days: int) -> int:
        """Read the last `days` days, newest first; returns how many transactions were new or changed.

        Days that are covered already are left out. Raises TemporaryError where 29next does not answer
        for long, MissingScope where the token may not read transactions.
        """
        started = self.inbox.now()
        today = datetime.fromtimestamp(started, UTC).date()
        fresh = 0
        for back in range(days + 1):
            day = today - timedelta(days=back)
            begins = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
            if self._is_covered(begins, min(begins + DAY, started)):
                continue
            found = self._day(day)
            fresh += found
            self.inbox.index.cover(self.store.name, begins, min(begins + DAY, started))
            self.tell(f"{day} {found} new or changed ({back + 1} of {days + 1} days)")
        return fresh

    def _is_covered(self, since: float, until: float) -> bool:
        known = self.inbox.index.covered(self.store.name)
        return known is not None and known[0] <= since and until <= known[1]

    def _day(self, day: date) -> int:
        """Read a day whole; a page that fails lets the day begin again."""
        filters = {"date_created_from": str(day), "date_created_to": str(day), "is_test": "false"}
        for left in reversed(range(TRIES)):
            try:
                self._wait()
                return sum(
                    self.inbox.index.store_page(self.store.name, page, self.inbox.now())
                    for page in self.api.pages("transactions/", filters, slot=self._wait)
                )
            except TemporaryError as error:
                if not left:
                    raise
                log.warning("backfill waits", store=self.store.name, day=str(day), why=str(error))
                self.inbox.throttle(token_key(self.store.token), error.retry_after or 1.0)
        return 0

    def _wait(self) -> None:
        """Wait for a slot that no dispute wants."""
        while self.inbox.is_wanted(self.store.name):
            self.sleep(YIELD_SECONDS)
        slot_at = self.inbox.take_slot(token_key(self.store.token))
        self.sleep(max(slot_at - self.inbox.now(), 0.0))
