"""Fills the local index from 29next's list of transactions, in the slots that no dispute wants.

The list is read by stretches of days, newest first, the longer the fewer pages they have. What was read
whole counts as covered, so that a run that was stopped goes on where it was. A page that fails is asked
for again; a list whose cursor is gone begins anew, and what was read of it before is kept.
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
"""Pages that a stretch of days should have: what is lost of a run that is stopped."""
MOST_PAGES = 100
"""Of a stretch that turns out to have more, only its last days are read."""
TRIES = 20
"""How often in a row a page is asked for before the run gives up."""
TRIES_OF_A_CURSOR = 3
"""How often of these with the same cursor, before the list is begun anew."""
LONGEST_REST = 30.0
"""Seconds between two tries."""
YIELD_SECONDS = 0.2
LONGEST_YIELD = 10.0
"""How long a page waits for disputes that want the store's slots; then it takes one slot among theirs."""


class Backfill:
    """Reads one store's transactions."""

    def __init__(
        self,
        inbox: Inbox,
        api: NextApi,
        store: Store,
        *,
        tell: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        stops: Callable[[], bool] = lambda: False,
    ) -> None:
        self.inbox = inbox
        self.api = api
        self.store = store
        self.tell = tell
        self.sleep = sleep
        self.stops = stops

    def run(self, days: int) -> int:
        """Read the last `days` days; returns how many transactions were new or changed.

        Days that are covered already are left out. Raises TemporaryError where 29next does not answer
        for long, MissingScope where the token may not read transactions.
        """
        today = _day(self.inbox.now())
        fresh = self.keep_up(since=today - timedelta(days=1))
        oldest, last = today - timedelta(days=days + 1), today - timedelta(days=2)
        width = 1
        while last >= oldest:
            first = self._first_of_stretch(oldest, last, width)
            if first <= last:
                found, pages, whole = self._read(first, last)
                fresh += found
                if not whole:
                    width = max(width // PAGES, 1)
                    continue
                begins, ends = _seconds(first) + ZONES, _seconds(last) + ZONES + DAY
                self.inbox.transactions.cover(self.store.name, begins, ends)
                self.tell(f"{first}  {found} new or changed  ({(today - first).days - 1} of {days} days)")
                width = max(min(2 * width, width * PAGES // pages), 1)
            last = min(first, last) - timedelta(days=1)
        return fresh

    def _first_of_stretch(self, oldest: date, last: date, width: int) -> date:
        """Return the first of at most `width` days up to the last that are not covered yet."""
        covered = self.inbox.transactions.covered(self.store.name)
        first = last + timedelta(days=1)
        for back in range(width):
            day = last - timedelta(days=back)
            begins = _seconds(day) + ZONES
            if day < oldest or any(low <= begins and begins + DAY <= high for low, high in covered):
                break
            first = day
        return first

    def keep_up(self, since: date | None = None) -> int:
        """Read what was created from a day on, or since the index was last sure to have everything."""
        now = self.inbox.now()
        covered = self.inbox.transactions.covered(self.store.name)
        day = since or _day(max((until for _, until in covered), default=now) - ZONES)
        fresh, _, _ = self._read(day, None)
        self.inbox.transactions.cover(self.store.name, _seconds(day) + ZONES, now - LAG)
        self.tell(f"{day}  {fresh} new or changed since")
        return fresh

    def _read(self, first: date, last: date | None) -> tuple[int, int, bool]:
        """Read the transactions of some days.

        Returns how many were new or changed, how many pages there were, and whether that was all.
        """
        filters = {"date_created_from": str(first), "is_test": "false"}
        if last:
            filters["date_created_to"] = str(last)
        path: str | None = None
        fresh = missed = begun = pages = 0
        while True:
            self._wait()
            try:
                rows, following = self.api.page(path or "transactions/", None if path else filters)
            except MissingScope as error:
                message = f"The access token of store {self.store.name} lacks the scope transactions:read"
                raise MissingScope(f"{message} ({error})") from None
            except TemporaryError as error:
                missed += 1
                if TRIES in (missed, begun):
                    raise
                if missed % TRIES_OF_A_CURSOR == 0 and path:
                    path, begun = None, begun + 1
                self._rest(error, missed)
                continue
            if following is not None and following == path:
                raise TemporaryError("29next's list of transactions repeats itself.")
            fresh += self.inbox.cases.add_transactions(self.store.name, rows)
            path, missed, pages = following, 0, pages + 1
            if path is None or (pages == MOST_PAGES and last and first < last):
                return fresh, pages, path is None

    def _rest(self, error: TemporaryError, missed: int) -> None:
        """Wait longer after each miss; that 29next asks for a pause concerns all calls with the token."""
        log.warning("backfill waits", store=self.store.name, missed=missed, why=str(error))
        if isinstance(error, Throttled):
            self.inbox.slots.throttle(token_key(self.store.token), error.retry_after or 1.0)
        self.sleep(min(2.0 ** (missed - 1), LONGEST_REST))

    def _wait(self) -> None:
        """Wait until no dispute wants the next slot; where they want all of them, take one now and then."""
        waited = 0.0
        if self.stops():
            raise TemporaryError("Stopped. Run it again to continue.")
        while (
            self.inbox.slots.gap
            and waited < LONGEST_YIELD
            and self.inbox.stores.has_due_cases(self.store.name)
        ):
            self.sleep(YIELD_SECONDS)
            waited += YIELD_SECONDS


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
