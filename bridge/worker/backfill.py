"""Fills the local index from 29next's list of transactions, in slots that no dispute needs.

It reads the list in stretches of days, newest first: the fewer pages they have, the longer they get. A
stretch that was read completely counts as covered, so a stopped run continues where it was. A page that
fails is read again; a list whose cursor is gone starts again, and what was read of it stays.
"""

from __future__ import annotations

import time
import typing
from datetime import UTC, date, datetime, timedelta

import structlog

from bridge.errors import MissingScope, TemporaryError, Throttled
from bridge.storage.ids import token_key
from bridge.storage.transactions import DAY, ZONES

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.next29.client import NextApi
    from bridge.settings import Store
    from bridge.storage.inbox import Inbox

log = structlog.get_logger()

LAG = 60.0
"""Seconds by which 29next's lists may lag behind its transactions."""
PAGES = 10
"""Pages that a stretch of days should have; a stopped run loses no more than this."""
MOST_PAGES = 100
"""If a stretch turns out to have more pages, it is cut to its last days."""
TRIES = 20
"""How often in a row a page is tried before the run gives up."""
TRIES_OF_A_CURSOR = 3
"""How many of these tries use the same cursor, before the list starts again."""
LONGEST_WAIT = 30.0
"""The longest wait between two tries, in seconds."""
YIELD_SECONDS = 0.2
LONGEST_YIELD = 10.0
"""How long a page waits while disputes need the store's slots; then it takes one of them."""


class Backfill:
    """Reads one store's transactions."""

    def __init__(
        self,
        inbox: Inbox,
        api: NextApi,
        store: Store,
        *,
        report: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.inbox = inbox
        self.api = api
        self.store = store
        self.report = report
        self.sleep = sleep
        self.is_stopped = is_stopped

    def run(self, days: int) -> int:
        """Reads the last `days` days; returns how many transactions were new or changed.

        Days that are covered already are left out. Raises TemporaryError if 29next does not answer for a
        long time, MissingScope if the token may not read transactions.
        """
        today = _day(self.inbox.now())
        changed = self.read_new(since=today - timedelta(days=1))
        oldest, last = today - timedelta(days=days + 1), today - timedelta(days=2)
        width = 1
        while last >= oldest:
            first = self._first_of_stretch(oldest, last, width)
            if first <= last:
                changed_now, pages, whole = self._read(first, last)
                changed += changed_now
                if not whole:
                    width = max(width // PAGES, 1)
                    continue
                begins, ends = _seconds(first) + ZONES, _seconds(last) + ZONES + DAY
                self.inbox.transactions.cover(self.store.name, begins, ends)
                read = (today - first).days - 1
                self.report(f"{first}  {changed_now} new or changed  ({read} of {days} days)")
                width = max(min(2 * width, width * PAGES // pages), 1)
            last = min(first, last) - timedelta(days=1)
        return changed

    def _first_of_stretch(self, oldest: date, last: date, width: int) -> date:
        """Returns the first of at most `width` days up to the last that are not covered yet."""
        covered = self.inbox.transactions.covered(self.store.name)
        first = last + timedelta(days=1)
        for back in range(width):
            day = last - timedelta(days=back)
            begins = _seconds(day) + ZONES
            if day < oldest or any(low <= begins and begins + DAY <= high for low, high in covered):
                break
            first = day
        return first

    def read_new(self, since: date | None = None) -> int:
        """Reads what was created since a day, or since the end of what the index covers."""
        now = self.inbox.now()
        covered = self.inbox.transactions.covered(self.store.name)
        day = since or _day(max((until for _, until in covered), default=now) - ZONES)
        changed, _, _ = self._read(day, None)
        self.inbox.transactions.cover(self.store.name, _seconds(day) + ZONES, now - LAG)
        self.report(f"{day}  {changed} new or changed since")
        return changed

    def _read(self, first: date, last: date | None) -> tuple[int, int, bool]:
        """Reads the transactions of some days.

        Returns how many were new or changed, how many pages were read, and whether these were all.
        """
        filters = {"date_created_from": str(first), "is_test": "false"}
        if last:
            filters["date_created_to"] = str(last)
        path: str | None = None
        changed = failures = restarts = pages = 0
        while True:
            self._yield_to_disputes()
            try:
                rows, following = self.api.page(path or "transactions/", None if path else filters)
            except MissingScope as error:
                message = f"The access token of store {self.store.name} lacks the scope transactions:read"
                raise MissingScope(f"{message} ({error})") from None
            except TemporaryError as error:
                failures += 1
                if TRIES in (failures, restarts):
                    raise
                if failures % TRIES_OF_A_CURSOR == 0 and path:
                    path, restarts = None, restarts + 1
                self._wait_after_failure(error, failures)
                continue
            if following is not None and following == path:
                raise TemporaryError("29next's list of transactions repeats itself.")
            changed += self.inbox.cases.add_transactions(self.store.name, rows)
            path, failures, pages = following, 0, pages + 1
            if path is None or (pages == MOST_PAGES and last and first < last):
                return changed, pages, path is None

    def _wait_after_failure(self, error: TemporaryError, failures: int) -> None:
        """Waits longer after each failure; a pause that 29next asks for holds for the whole token."""
        log.warning("backfill waits", store=self.store.name, missed=failures, why=str(error))
        if isinstance(error, Throttled):
            self.inbox.slots.throttle(token_key(self.store.token), error.retry_after or 1.0)
        self.sleep(min(2.0 ** (failures - 1), LONGEST_WAIT))

    def _yield_to_disputes(self) -> None:
        """Waits until no dispute needs the next slot, for LONGEST_YIELD at most."""
        waited = 0.0
        if self.is_stopped():
            raise TemporaryError("Stopped. Run it again to continue.")
        is_paced, stores = self.inbox.slots.gap, self.inbox.stores
        while is_paced and waited < LONGEST_YIELD and stores.has_due_cases(self.store.name):
            self.sleep(YIELD_SECONDS)
            waited += YIELD_SECONDS


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
