"""The statistics of the inbox, for the first page, the metrics and the notifications. Reads only.

Each number comes from an index or from a limited number of the newest rows, so it costs about the same
at a thousand deliveries as at a million. A page reads all its numbers over one connection, with one
statement for each.
"""

from __future__ import annotations

import itertools
import typing
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, and_, func, literal, null, or_, select, type_coerce, union_all
from sqlalchemy import case as either

from bridge.alert import Reason, State, Status
from bridge.storage.ids import first_id
from bridge.storage.outcomes import OutcomeState, is_urgent
from bridge.storage.schema import (
    StateKind,
    attempts,
    cases,
    deliveries,
    outcomes,
    refusals,
    shared_state,
    stores,
)
from bridge.storage.stores import PAUSED_STORES

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
"""How many of the newest calls the time to a dispute is measured over."""
RHYTHM = 100
"""How many of a provider's newest deliveries its usual rhythm is measured over."""
MOST_AMOUNTS = 1000
"""How many amounts of one kind are summed: more would make the first page slow."""
MOST_CALLS = 100_000
MOST_FAILED_OUTCOMES, FAILED_OUTCOMES_FOR = 500, 14 * DAY
"""How many outcomes are counted, and for how long: no network waits longer."""
_TRIED = or_(deliveries.c.reason.is_(None), deliveries.c.reason != Reason.WAITING_FOR_OPENING)
"""The deliveries that are tried: those that wait for the alert that opens their case are left out."""


@dataclass(frozen=True)
class Urgent:
    """A case whose work is due, and until when."""

    case_id: str
    store: str
    case_number: str
    state: str
    deadline_at: float


@dataclass(frozen=True)
class Summary:
    """The statistics that are one number each."""

    statuses: dict[Status, int]  # of the deliveries of some time
    reviews: int  # cases for a person to decide
    oldest_pending: float | None  # when the oldest delivery that is still tried was received
    worker_seen_at: float | None  # the newest heartbeat


@dataclass(frozen=True)
class Refusal:
    """The rejected webhooks of a provider on one day for one reason, with the message of the newest."""

    provider: str
    reason: str
    count: int
    message: str
    last_at: float


@dataclass
class DailyCounts:
    """How many alerts each provider sent on each day, in UTC; a past day is counted only once."""

    known: dict[date, dict[str, int]] = field(default_factory=dict)

    def read(
        self, connection: Connection, providers: Sequence[str], now: float, days: int
    ) -> list[tuple[date, dict[str, int]]]:
        """Returns the counts of the last days, the oldest first."""
        today = datetime.fromtimestamp(now, UTC).date()
        wanted = [today - timedelta(days=back) for back in reversed(range(days))]
        fresh = {day: dict[str, int]() for day in wanted if day not in self.known}
        counts = union_all(*(_on_day(day, providers) for day in fresh))
        for ordinal, provider, count in connection.execute(counts):
            fresh[date.fromordinal(ordinal)][provider] = count
        self.known = {day: n for day, n in (self.known | fresh).items() if wanted[0] <= day < today}
        return [(day, (self.known | fresh)[day]) for day in wanted]


def _on_day(day: date, providers: Sequence[str]) -> typing.Any:
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return (
        select(literal(day.toordinal()), deliveries.c.provider, func.count())
        .where(deliveries.c.provider.in_(list(providers)))  # so that an index alone answers it
        .where(deliveries.c.id >= first_id(deliveries, begins))
        .where(deliveries.c.id < first_id(deliveries, begins + DAY))
        .group_by(deliveries.c.provider)
    )


# --- deliveries ---------------------------------------------------------------------------------


def summary(connection: Connection, since: float) -> Summary:
    """Returns the single numbers; the statuses are those of the deliveries received since a moment."""
    within = deliveries.c.id >= first_id(deliveries, since)
    counted = [
        select(func.count()).select_from(deliveries).where(deliveries.c.status == status, within)
        for status in Status
    ]
    reviews = select(func.count()).select_from(cases).where(cases.c.state == State.REVIEW)
    oldest = (
        select(deliveries.c.received_at)
        .where(deliveries.c.status == Status.PENDING, _TRIED)
        .where(or_(deliveries.c.store.is_(None), deliveries.c.store.not_in(PAUSED_STORES)))
        .order_by(deliveries.c.id)
        .limit(1)
    )
    numbers = [column.scalar_subquery() for column in (*counted, reviews, oldest, _heartbeat())]
    *statuses, review_count, oldest_pending, seen_at = connection.execute(select(*numbers)).one()
    return Summary(dict(zip(Status, statuses, strict=True)), review_count, oldest_pending, seen_at)


def received(connection: Connection, providers: Sequence[str], since: float) -> dict[str, int]:
    """Counts the alerts that each provider has sent since a moment."""
    within = deliveries.c.id >= first_id(deliveries, since)
    counted = select(deliveries.c.provider, func.count()).where(
        deliveries.c.provider.in_(list(providers)), within
    )
    return {row[0]: row[1] for row in connection.execute(counted.group_by(deliveries.c.provider))}


def failed(connection: Connection) -> dict[str, int]:
    """Counts the failed deliveries by reason, the most frequent first."""
    counted = (
        select(deliveries.c.reason, func.count())
        .where(deliveries.c.reason.in_(FAILURES))
        .group_by(deliveries.c.reason)
        .order_by(func.count().desc())
    )
    return {row[0]: row[1] for row in connection.execute(counted)}


def by_provider_and_status(connection: Connection) -> dict[tuple[str, str], int]:
    """Counts every delivery, by provider and status."""
    by = (deliveries.c.provider, deliveries.c.status)
    return {(row[0], row[1]): row[2] for row in connection.execute(select(*by, func.count()).group_by(*by))}


def newest_times(connection: Connection, providers: Iterable[str]) -> dict[str, list[float]]:
    """Returns when each provider's newest deliveries were received, the newest first."""
    times: dict[str, list[float]] = {provider: [] for provider in providers}
    newest = [
        select(deliveries.c.id, deliveries.c.provider, deliveries.c.received_at)
        .where(deliveries.c.provider == provider)
        .order_by(deliveries.c.id.desc())
        .limit(RHYTHM)
        .subquery()
        for provider in times
    ]
    if newest:
        union = union_all(*(select(rows) for rows in newest)).subquery()
        for row in connection.execute(select(union).order_by(union.c.id.desc())):
            times[row.provider].append(row.received_at)
    return times


# --- cases --------------------------------------------------------------------------------------


def urgent(connection: Connection, most: int) -> list[Urgent]:
    """Returns the cases with work due whose deadlines come first."""
    statement = (
        select(cases.c.id, cases.c.store, cases.c.case_number, cases.c.state, cases.c.deadline_at)
        .where(cases.c.due_at.is_not(None))
        .order_by(cases.c.deadline_at)
        .limit(most)
    )
    return [Urgent(*row) for row in connection.execute(statement)]


def deadlines_used(connection: Connection, most: int, now: float) -> list[float]:
    """Returns the share of its deadline that each delivery of the most urgent cases has used.

    Paused stores are left out, since their deadlines are paused.
    """
    first = (
        select(cases.c.id)
        .where(cases.c.due_at.is_not(None), cases.c.store.not_in(PAUSED_STORES))
        .order_by(cases.c.deadline_at)
        .limit(most)
        .subquery()
    )
    pending = (
        select(deliveries.c.deadline_at, deliveries.c.allowed)
        .join(first, first.c.id == deliveries.c.case_id)
        .where(deliveries.c.status == Status.PENDING, _TRIED)
    )
    return [1 - (row.deadline_at - now) / row.allowed for row in connection.execute(pending)]


def deadlines(connection: Connection, now: float, width: float, count: int) -> list[int]:
    """Counts the cases with work due by how far their deadline is away, in steps of `width` seconds.

    The first count is of late cases, the last one of all beyond the steps.
    """
    deadline = cases.c.deadline_at
    edges = [now + n * width for n in range(count - 1)]
    within = [
        deadline < edges[0],
        *(and_(deadline >= low, deadline < high) for low, high in itertools.pairwise(edges)),
        deadline >= edges[-1],
    ]
    sums = [func.coalesce(func.sum(either((condition, 1), else_=0)), 0) for condition in within]
    return list(connection.execute(select(*sums).where(cases.c.due_at.is_not(None))).one())


def at_stake(connection: Connection) -> tuple[dict[str, Decimal], bool]:
    """Sums the disputed amounts of unfinished cases, by currency; returns too whether the sums are complete.

    Of very many amounts only some are summed.
    """
    money = select(cases.c.id, cases.c.amount, cases.c.currency, type_coerce(null(), deliveries.c.alert.type))
    money = money.limit(MOST_AMOUNTS)
    failed_alerts = select(
        func.coalesce(deliveries.c.case_id, deliveries.c.id), null(), null(), deliveries.c.alert
    ).where(deliveries.c.status == Status.FAILED)
    parts = (
        money.where(cases.c.due_at.is_not(None)),
        money.where(cases.c.state == State.REVIEW),
        failed_alerts.order_by(deliveries.c.id.desc()).limit(MOST_AMOUNTS),
    )
    both = union_all(*(select(literal(n), part.subquery()) for n, part in enumerate(parts)))
    counts = dict.fromkeys(range(len(parts)), 0)
    amounts: dict[str, tuple[str | None, str | None]] = {}
    for part, ident, amount, currency, alert in connection.execute(both):
        counts[part] += 1
        facts = alert or {}
        # several alerts of a case are about one dispute
        amounts.setdefault(ident, (amount or facts.get("amount"), currency or facts.get("currency")))
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for amount, currency in amounts.values():
        if amount and currency:
            sums[currency] += Decimal(amount)
    is_whole = max(counts.values()) < MOST_AMOUNTS
    return dict(sorted(sums.items(), key=lambda pair: -pair[1])), is_whole


def seconds_to_dispute(connection: Connection, since: float) -> list[float]:
    """Returns how long the newest disputes took, from the webhook to 29next's answer, shortest first."""
    newest = select(attempts).order_by(attempts.c.id.desc()).limit(NEWEST_CALLS).subquery()
    took = (newest.c.started_at + func.coalesce(newest.c.seconds, 0.0) - cases.c.opened_at).label("took")
    statement = (
        select(took)
        .join(cases, cases.c.id == newest.c.case_id)
        .where(newest.c.method == "POST", newest.c.path == "disputes/", newest.c.outcome == "ok")
        .where(newest.c.started_at >= since)
    )
    return sorted(connection.execute(statement).scalars())


def lapses(connection: Connection) -> int:
    """Counts the leases that ran out: a worker was killed, or took too long."""
    counted = select(func.coalesce(func.sum(cases.c.lapses), 0)).where(cases.c.lapses > 0)
    return int(connection.execute(counted).scalar_one())


# --- calls --------------------------------------------------------------------------------------


def calls(connection: Connection) -> dict[tuple[str, str, int | None], int]:
    """Counts every call by target (a store, or `provider:NAME`), outcome and HTTP status."""
    by = (attempts.c.store, attempts.c.provider, attempts.c.outcome, attempts.c.status)
    counts: Counter[tuple[str, str, int | None]] = Counter()
    for store, provider, outcome, status, count in connection.execute(
        select(*by, func.count()).group_by(*by)
    ):
        counts[f"provider:{provider}" if provider else store, outcome, status] += count
    return dict(counts)


def newest_calls(connection: Connection, since: float) -> dict[str, dict[str, int]]:
    """Counts the calls to 29next since a moment, by store and outcome."""
    newest = (  # with a limit, so that SQLite walks along the ids and not along the stores
        select(attempts.c.store, attempts.c.outcome)
        .where(attempts.c.id >= first_id(attempts, since), attempts.c.provider.is_(None))
        .order_by(attempts.c.id.desc())
        .limit(MOST_CALLS)
        .subquery()
    )
    by = (newest.c.store, newest.c.outcome)
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for store, outcome, count in connection.execute(select(*by, func.count()).group_by(*by)):
        counts[store][outcome] = count
    return dict(counts)


# --- rejected webhooks, outcomes, stores, the worker ---------------------------------------------


def refused(connection: Connection, since: date) -> dict[tuple[str, str], int]:
    """Counts the rejected webhooks since a day, by provider and reason."""
    statement = (
        select(refusals.c.provider, refusals.c.reason, func.sum(refusals.c.count))
        .where(refusals.c.day >= since.isoformat())
        .group_by(refusals.c.provider, refusals.c.reason)
    )
    return {(row[0], row[1]): int(row[2]) for row in connection.execute(statement)}


def refusals_since(connection: Connection, since: date) -> list[Refusal]:
    """Returns the rejected webhooks since a day, by provider, reason and day, the newest first."""
    message = func.coalesce(refusals.c.message, "")
    columns = (refusals.c.provider, refusals.c.reason, refusals.c.count, message, refusals.c.last_at)
    newest = select(*columns).where(refusals.c.day >= since.isoformat()).order_by(refusals.c.last_at.desc())
    return [Refusal(*row) for row in connection.execute(newest)]


def failed_outcomes(connection: Connection, now: float) -> dict[str, tuple[int, str, str]]:
    """Counts each provider's recent failed outcomes; returns with them the newest one's case and reason."""
    recent = outcomes.c.owed_at >= now - FAILED_OUTCOMES_FOR
    newest = select(outcomes).where(outcomes.c.state == OutcomeState.FAILED, recent)
    newest = newest.order_by(outcomes.c.owed_at.desc()).limit(MOST_FAILED_OUTCOMES)
    by_provider: dict[str, tuple[int, str, str]] = {}
    for row in connection.execute(newest):
        count, case_id, message = by_provider.get(row.provider, (0, row.case_id, row.message or ""))
        by_provider[row.provider] = (count + 1, case_id, message)
    return by_provider


def urgent_outcomes(connection: Connection, now: float) -> dict[str, tuple[int, str, str, float]]:
    """Counts each provider's urgent outcomes.

    Returns with them the case, reason and deadline of the one whose deadline comes first.
    """
    recent = outcomes.c.owed_at >= now - FAILED_OUTCOMES_FOR
    soon = select(outcomes).where(is_urgent(now), recent)
    soon = soon.order_by(outcomes.c.deadline_at).limit(MOST_FAILED_OUTCOMES)
    by_provider: dict[str, tuple[int, str, str, float]] = {}
    for row in connection.execute(soon):
        count, *first = by_provider.get(row.provider, (0, row.case_id, row.message or "", row.deadline_at))
        by_provider[row.provider] = (count + 1, *first)
    return by_provider


def paused(connection: Connection) -> dict[str, str]:
    """Returns why each paused store is paused."""
    statement = select(stores.c.name, stores.c.paused_why).where(stores.c.paused_at.is_not(None))
    return {row.name: row.paused_why or "" for row in connection.execute(statement)}


def worker_seen_at(connection: Connection) -> float | None:
    """Returns when the last heartbeat was received, or None if there was none."""
    return connection.execute(_heartbeat()).scalar()


def _heartbeat() -> typing.Any:
    return select(func.max(shared_state.c.at)).where(shared_state.c.kind == StateKind.WORKER)
