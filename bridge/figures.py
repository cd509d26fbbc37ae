"""The inbox in numbers, for the first page, the metrics and the notifications. Changes nothing.

Each figure is read from an index or from a bounded stretch of the newest rows, so that it costs
about the same at a thousand deliveries as at a million.
"""

from __future__ import annotations

import typing
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Integer, cast, func, literal, or_, select

from bridge.alert import Reason, State, Status
from bridge.search import Json, first_id
from bridge.tables import attempts, cases, deliveries, memos, refusals, stores

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.database import Database

DAY = 86_400.0
MINUTE = 60.0
FAILURES = (
    Reason.UNTRANSLATABLE,
    Reason.UNKNOWN_EVENT,
    Reason.NO_STORE,
    Reason.REFUSED,
    Reason.EXPIRED,
    Reason.NO_OPENING,
    Reason.BUG,
)
NEWEST_CALLS = 3000
"""How many of the newest calls the time to a dispute is taken from."""
RHYTHM = 100
"""How many of a provider's newest deliveries its rhythm is taken from."""
MOST_AMOUNTS = 5000
WORKER = "worker:"
"""How the memos begin that a worker's heart beats in."""


@dataclass(frozen=True)
class Urgent:
    """A case whose work is due, and until when."""

    case_id: str
    store: str
    case_number: str
    state: str
    deadline_at: float


class Figures:
    """Counts, times and sums."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._days: dict[tuple[str, date], int] = {}  # of days that are over

    def now(self) -> float:
        """Return the time that all processes share."""
        return self.database.now()

    # deliveries

    def by_day(self, providers: Iterable[str], days: int) -> list[tuple[date, dict[str, int]]]:
        """Return how many alerts each provider sent on each of the last days, in UTC, oldest first."""
        today = datetime.fromtimestamp(self.now(), UTC).date()
        wanted = [today - timedelta(days=back) for back in reversed(range(days))]
        return [(day, {p: n for p in providers if (n := self._on_day(p, day, today))}) for day in wanted]

    def _on_day(self, provider: str, day: date, today: date) -> int:
        if (provider, day) in self._days:
            return self._days[provider, day]
        begins = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        counted = self.received(begins, begins + DAY, provider)
        if day < today:
            self._days[provider, day] = counted
        return counted

    def received(self, since: float, until: float, provider: str | None = None) -> int:
        """Count the alerts that came in a stretch of time."""
        within = [deliveries.c.id >= first_id(deliveries, since), deliveries.c.id < first_id(deliveries, until)]
        if provider is not None:
            within.append(deliveries.c.provider == provider)
        return self._number(select(func.count()).select_from(deliveries).where(*within))

    def statuses(self, since: float) -> dict[Status, int]:
        """Count the alerts that came since a moment by how far they have come."""
        within = deliveries.c.id >= first_id(deliveries, since)
        return {
            status: self._number(
                select(func.count()).select_from(deliveries).where(deliveries.c.status == status, within)
            )
            for status in Status
        }

    def failed(self) -> dict[str, int]:
        """Count what failed by its reason."""
        counted = (
            select(deliveries.c.reason, func.count())
            .where(deliveries.c.reason.in_(FAILURES))
            .group_by(deliveries.c.reason)
            .order_by(func.count().desc())
        )
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(counted)}

    def by_provider_and_status(self) -> dict[tuple[str, str], int]:
        """Count every delivery, by provider and status."""
        statement = select(deliveries.c.provider, deliveries.c.status, func.count()).group_by(
            deliveries.c.provider, deliveries.c.status
        )
        with self.database.read() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(statement)}

    def oldest_pending(self) -> float | None:
        """Return when the oldest delivery that is still owed was received."""
        statement = (
            select(deliveries.c.received_at)
            .where(deliveries.c.status == Status.PENDING)
            .order_by(deliveries.c.id)
            .limit(1)
        )
        with self.database.read() as connection:
            return connection.execute(statement).scalar()

    def newest_times(self, provider: str) -> list[float]:
        """Return when a provider's newest deliveries were received, newest first."""
        statement = (
            select(deliveries.c.received_at)
            .where(deliveries.c.provider == provider)
            .order_by(deliveries.c.id.desc())
            .limit(RHYTHM)
        )
        with self.database.read() as connection:
            return list(connection.execute(statement).scalars())

    def newest_failed(self, after: str, most: int) -> list[Json]:
        """Return failed deliveries by when they failed... newest first."""
        raise NotImplementedError

    # cases

    def reviews(self) -> int:
        """Count the cases that a person decides."""
        return self._number(
            select(func.count()).select_from(cases).where(cases.c.state == State.REVIEW)
        )

    def urgent(self, most: int) -> list[Urgent]:
        """Return the cases with work due whose deadlines come first."""
        statement = (
            select(cases.c.id, cases.c.store, cases.c.case_number, cases.c.state, cases.c.deadline_at)
            .where(cases.c.due_at.is_not(None))
            .order_by(cases.c.deadline_at)
            .limit(most)
        )
        with self.database.read() as connection:
            return [Urgent(*row) for row in connection.execute(statement)]

    def deadlines(self, width: float, count: int) -> list[int]:
        """Count the cases with work due by the stretch of time that their deadline falls into.

        The first stretch holds what is late, the last what lies beyond the others.
        """
        now = self.now()
        place = cast(func.floor((cases.c.deadline_at - now) / width), Integer).label("place")
        statement = select(place, func.count()).where(cases.c.due_at.is_not(None)).group_by(place)
        counted: Counter[int] = Counter()
        with self.database.read() as connection:
            for where, number in connection.execute(statement):
                counted[min(max(where, -1), count - 2) + 1] += number
        return [counted[n] for n in range(count)]
