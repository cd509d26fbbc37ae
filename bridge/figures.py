"""The inbox in numbers, for the first page, the metrics and the notifications. Changes nothing.

Each figure is read from an index or from a bounded stretch of the newest rows, so that it costs
about the same at a thousand deliveries as at a million.
"""

from __future__ import annotations

import itertools
import typing
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import and_, func, or_, select
from sqlalchemy import case as either

from bridge.alert import Reason, State, Status
from bridge.search import first_id
from bridge.tables import attempts, cases, deliveries, memos, outcomes, refusals, stores

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select

    from bridge.database import Database

DAY = 86_400.0
FAILURES = (
    Reason.UNTRANSLATABLE,
    Reason.UNKNOWN_EVENT,
    Reason.UNKNOWN_OUTCOME,
    Reason.CONTRADICTED,
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
MOST_AMOUNTS = 1000
"""How many amounts of one kind are summed: more would keep the first page waiting."""
MOST_CALLS = 100_000
MOST_UNTOLD, UNTOLD = 500, 14 * DAY
"""How many outcomes are looked at, and for how long: no network waits any longer."""
WORKER = "worker:"
"""How the memos begin that a worker's heart beats in."""
_TRIED = or_(deliveries.c.reason.is_(None), deliveries.c.reason != Reason.WAITING_FOR_OPENING)
"""What waits for another alert waits rightly; its deadline ends it."""


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
        within = [
            deliveries.c.id >= first_id(deliveries, since),
            deliveries.c.id < first_id(deliveries, until),
        ]
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

    def oldest_pending(self, paused: Iterable[str] = ()) -> float | None:
        """Return when the oldest delivery that is still owed was received, but for the paused stores'."""
        statement = (
            select(deliveries.c.received_at)
            .where(deliveries.c.status == Status.PENDING)
            .where(_TRIED, or_(deliveries.c.store.is_(None), deliveries.c.store.not_in(list(paused))))
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

    # cases

    def reviews(self) -> int:
        """Count the cases that a person decides."""
        return self._number(select(func.count()).select_from(cases).where(cases.c.state == State.REVIEW))

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

    def deadlines_used(self, most: int, paused: Iterable[str]) -> list[float]:
        """Return which share of its deadline each delivery of the most urgent cases has used.

        Those of paused stores are left out: their clocks stand still.
        """
        first = (
            select(cases.c.id)
            .where(cases.c.due_at.is_not(None), cases.c.store.not_in(list(paused)))
            .order_by(cases.c.deadline_at)
            .limit(most)
            .subquery()
        )
        owed = (
            select(deliveries.c.deadline_at, deliveries.c.allowed)
            .join(first, first.c.id == deliveries.c.case_id)
            .where(deliveries.c.status == Status.PENDING, _TRIED)
        )
        now = self.now()
        with self.database.read() as connection:
            return [1 - (row.deadline_at - now) / row.allowed for row in connection.execute(owed)]

    def deadlines(self, width: float, count: int) -> list[int]:
        """Count the cases with work due by the stretch of `width` seconds that their deadline falls into.

        The first stretch holds what is late, the last one all that lies beyond the others.
        """
        now = self.now()
        deadline = cases.c.deadline_at
        edges = [now + n * width for n in range(count - 1)]
        within = [
            deadline < edges[0],
            *(and_(deadline >= low, deadline < high) for low, high in itertools.pairwise(edges)),
            deadline >= edges[-1],
        ]
        sums = [func.coalesce(func.sum(either((one, 1), else_=0)), 0) for one in within]
        with self.database.read() as connection:
            return list(connection.execute(select(*sums).where(cases.c.due_at.is_not(None))).one())

    def at_stake(self) -> tuple[dict[str, Decimal], bool]:
        """Sum what is disputed where the bridge or a person has something to do yet, by currency.

        Says too whether that is all: of very many only some are summed.
        """
        money = select(cases.c.id, cases.c.amount, cases.c.currency).limit(MOST_AMOUNTS)
        failing = (deliveries.c.id, deliveries.c.case_id, deliveries.c.alert)
        lost = select(*failing).where(deliveries.c.status == Status.FAILED)
        with self.database.read() as connection:
            due = connection.execute(money.where(cases.c.due_at.is_not(None))).all()
            doubtful = connection.execute(money.where(cases.c.state == State.REVIEW)).all()
            failed = connection.execute(lost.order_by(deliveries.c.id.desc()).limit(MOST_AMOUNTS)).all()
        found = {row.id: (row.amount, row.currency) for row in (*due, *doubtful)}
        for row in failed:
            told = ((row.alert or {}).get("amount"), (row.alert or {}).get("currency"))
            found.setdefault(row.case_id or row.id, told)  # several alerts of a case are about one dispute
        whole = max(map(len, (due, doubtful, failed))) < MOST_AMOUNTS
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for amount, currency in found.values():
            if amount and currency:
                sums[currency] += Decimal(amount)
        return dict(sorted(sums.items(), key=lambda pair: -pair[1])), whole

    def seconds_to_dispute(self, since: float) -> list[float]:
        """Return how long the newest disputes took, from the webhook to 29next's answer, shortest first."""
        newest = select(attempts).order_by(attempts.c.id.desc()).limit(NEWEST_CALLS).subquery()
        took = (newest.c.started_at + func.coalesce(newest.c.seconds, 0.0) - cases.c.opened_at).label("took")
        statement = (
            select(took)
            .join(cases, cases.c.id == newest.c.case_id)
            .where(newest.c.method == "POST", newest.c.path == "disputes/", newest.c.outcome == "ok")
            .where(newest.c.started_at >= since)
        )
        with self.database.read() as connection:
            return sorted(connection.execute(statement).scalars())

    def lapses(self) -> int:
        """Count the leases that ran out: a worker was killed, or took too long."""
        return self._number(select(func.coalesce(func.sum(cases.c.lapses), 0)).where(cases.c.lapses > 0))

    # stores

    def calls(self) -> dict[tuple[str, str, int | None], int]:
        """Count every call to 29next, by store, outcome and HTTP status."""
        by = (attempts.c.store, attempts.c.outcome, attempts.c.status)
        with self.database.read() as connection:
            counted = connection.execute(select(*by, func.count()).group_by(*by))
            return {(row[0], row[1], row[2]): row[3] for row in counted}

    def newest_calls(self, seconds: float) -> dict[str, dict[str, int]]:
        """Count the calls of the last seconds, by store and outcome."""
        newest = (  # with a limit, so that SQLite walks along the ids and not along the stores
            select(attempts.c.store, attempts.c.outcome)
            .where(attempts.c.id >= first_id(attempts, self.now() - seconds))
            .order_by(attempts.c.id.desc())
            .limit(MOST_CALLS)
            .subquery()
        )
        by = (newest.c.store, newest.c.outcome)
        statement = select(*by, func.count()).group_by(*by)
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        with self.database.read() as connection:
            for store, outcome, count in connection.execute(statement):
                found[store][outcome] = count
        return dict(found)

    # what is small

    def refused(self, since: date) -> dict[tuple[str, str], int]:
        """Count the refused webhooks since a day, by provider and reason."""
        statement = (
            select(refusals.c.provider, refusals.c.reason, func.sum(refusals.c.count))
            .where(refusals.c.day >= since.isoformat())
            .group_by(refusals.c.provider, refusals.c.reason)
        )
        with self.database.read() as connection:
            return {(row[0], row[1]): int(row[2]) for row in connection.execute(statement)}

    def untold(self) -> dict[str, tuple[int, str, str]]:
        """Count what providers could not be told lately, with the case and the words of the newest."""
        lately = outcomes.c.owed_at >= self.now() - UNTOLD
        newest = select(outcomes).where(outcomes.c.state == "failed", lately)
        newest = newest.order_by(outcomes.c.owed_at.desc()).limit(MOST_UNTOLD)
        found: dict[str, tuple[int, str, str]] = {}
        with self.database.read() as connection:
            for row in connection.execute(newest):
                count, case_id, said = found.get(row.provider, (0, row.case_id, row.message or ""))
                found[row.provider] = (count + 1, case_id, said)
        return found

    def paused(self) -> dict[str, str]:
        """Return the stores that are paused, and why."""
        statement = select(stores.c.name, stores.c.paused_why).where(stores.c.paused_at.is_not(None))
        with self.database.read() as connection:
            return {row.name: row.paused_why or "" for row in connection.execute(statement)}

    def worker_seen_at(self) -> float | None:
        """Return when a worker's heart last beat, or None if none ever did."""
        beats = memos.c.name.startswith(WORKER, autoescape=True)
        with self.database.read() as connection:
            return connection.execute(select(func.max(memos.c.at)).where(beats)).scalar()

    def _number(self, statement: Select[typing.Any]) -> int:
        with self.database.read() as connection:
            return int(connection.execute(statement).scalar_one())
