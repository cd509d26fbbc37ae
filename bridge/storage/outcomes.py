"""The outbox: how the cases ended that providers reported, sent to each provider once."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, or_, select, update
from sqlalchemy import case as either

from bridge.alert import Alert, Category, DisputeType, Effect
from bridge.disputes.case import Case
from bridge.providers.outcomes import Outcome
from bridge.storage.attempts import Attempt, record_attempts
from bridge.storage.database import Database
from bridge.storage.rows import case_of
from bridge.storage.schema import cases, deliveries, outcomes
from bridge.storage.upsert import insert_missing

OutcomesOf = typing.Callable[[str], "Mapping[str, Outcome]"]
"""Returns the providers that take the outcomes of a store's cases, and how they take them."""
NO_WORD = "The provider has no word for this resolution, and a vague one could decline: choose one here."
NO_CATEGORY = "The alert does not say whether it is fraud or another dispute: choose the word here."
"""Why an outcome waits for a person at once."""
MOST_CALLS = 9
"""Calls that one try may take, each with the time of a lease: at the provider two logins, a read, and the
report twice; at 29next the sale, its order, and its shipments."""
URGENT_BEFORE = 2 * 3600.0
"""Seconds before its deadline when an outcome becomes urgent; it also does once half of its time is over."""


class OutcomeState(StrEnum):
    """How far the report of an outcome is."""

    OWED = "owed"
    SENT = "told"
    FAILED = "failed"  # if it has a due time too, the bridge retries by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingOutcome:
    """An outcome that a worker has claimed until `due_at`, which is its fencing token."""

    case_id: str
    store: str
    provider: str
    provider_id: str
    category: Category
    resolution: str
    message: str | None  # a person's reason at 29next
    word: str | None  # what was sent before, or what a person chose
    duplicate: str | None  # the provider's id of the alert that holds the dispute
    # the dispute
    amount: str | None
    currency: str | None
    transaction_id: int | None
    resolved_at: float
    # the queue
    owed_at: float
    due_at: float
    tries: int


@dataclass(frozen=True, slots=True)
class _Report:
    """What a provider reported of a case, and the id by which it takes the outcome."""

    case_id: str
    provider: str
    provider_id: str
    category: Category
    deadline_at: float


class Outcomes:
    """Gives pending outcomes to workers, and records how their reports went."""

    def __init__(self, database: Database, lease: float, outcomes_of: OutcomesOf = lambda _: {}) -> None:
        self.database = database
        self.lease = lease
        self.outcomes_of = outcomes_of

    def claim(self, provider: str, most: int = 1) -> list[PendingOutcome]:
        """Claims the outcomes of a provider that have been due longest, as many as fit in one call.

        One that was tried before goes alone, so that it cannot fail the others. An outcome is dropped if
        its case is open again, or if the provider itself has reported how it ended.
        """
        now = self.database.now()
        due = select(outcomes).where(outcomes.c.provider == provider, outcomes.c.due_at <= now)
        due = due.order_by(outcomes.c.due_at).limit(most)
        if self.database.first(due) is None:
            return []

        def write(connection: Connection) -> list[PendingOutcome]:
            rows = connection.execute(due.with_for_update(skip_locked=True)).all()
            together = rows[:1] if rows and rows[0].tries else [row for row in rows if not row.tries]
            claimed = [self._claim(connection, row, now) for row in together]
            return [pending for pending in claimed if pending is not None]

        return self.database.write(write)

    def _claim(self, connection: Connection, row: Row[typing.Any], now: float) -> PendingOutcome | None:
        this = _is(row.case_id, row.provider)
        mine = connection.execute(select(cases).where(cases.c.id == row.case_id)).one()
        case = case_of(mine)
        holder = connection.execute(select(cases).where(cases.c.id == case.duplicate_of)).first()
        ended = case_of(holder) if holder else case
        by_provider = {row.provider: self.outcomes_of(case.store).get(row.provider)}
        reports = {
            report.case_id: report for report in _reports(connection, [case.id, ended.id], by_provider)
        }
        report, first = reports.get(case.id), reports.get(ended.id) if holder else None
        if ended.resolution is None or report is None:
            connection.execute(delete(outcomes).where(this))
            return None
        claimed = {
            "resolution": ended.resolution,
            "due_at": now + MOST_CALLS * self.lease,
            "tries": row.tries + 1,
        }
        connection.execute(update(outcomes).where(this).values(**claimed))
        return PendingOutcome(
            case_id=case.id,
            store=case.store,
            provider=row.provider,
            provider_id=report.provider_id,
            category=report.category,
            message=ended.goal.message,
            word=row.word,
            duplicate=first.provider_id if first else None,
            amount=mine.amount,
            currency=mine.currency,
            transaction_id=ended.transaction_id,
            resolved_at=row.owed_at if row.resolved_at is None else row.resolved_at,
            owed_at=row.owed_at,
            **claimed,
        )

    def record(self, made: Sequence[Attempt], words: Mapping[str, str] | None = None) -> None:
        """Records calls to a provider: first that they are about to be made, then how they went.

        `words` are the words sent, by case: a repeat sends the same word.
        """

        def write(connection: Connection) -> None:
            record_attempts(connection, made)
            for attempt in made:
                if word := (words or {}).get(attempt.case_id):
                    this = _is(attempt.case_id, attempt.provider)
                    connection.execute(update(outcomes).where(this).values(word=word))

        self.database.write(write)

    def settle(
        self, pending: PendingOutcome, state: OutcomeState, message: str | None, due_at: float | None
    ) -> bool:
        """Records how far an outcome is; returns False if another worker has it now."""
        return self._change(pending, {"state": state, "message": message, "due_at": due_at})

    def release(self, pending: PendingOutcome) -> bool:
        """Gives back an outcome untried; returns False if another worker has it now."""
        return self._change(pending, {"due_at": self.database.now(), "tries": pending.tries - 1})

    def _change(self, pending: PendingOutcome, values: dict[str, typing.Any]) -> bool:
        ours = (_is(pending.case_id, pending.provider), outcomes.c.due_at == pending.due_at)
        return self.database.change(update(outcomes).where(*ours).values(**values)) > 0

    # a person

    def send_again(self, case_id: str) -> int:
        """Makes the failed outcomes of a case pending again; returns how many."""
        failed = update(outcomes).where(outcomes.c.case_id == case_id)
        failed = failed.where(outcomes.c.state == OutcomeState.FAILED)
        word = either((outcomes.c.chosen_by.is_not(None), outcomes.c.word))  # else by the resolution again
        return self.database.change(failed.values(**self._pending_again() | {"word": word}))

    def choose_word(self, case_id: str, provider: str, word: str, by: str) -> bool:
        """Makes an outcome pending with the word that a person chose; returns False if it waits for none."""
        waits = update(outcomes).where(_is(case_id, provider), outcomes.c.state == OutcomeState.FAILED)
        holder = cases.alias()
        joined = cases.outerjoin(holder, holder.c.id == cases.c.duplicate_of)
        resolution = select(func.coalesce(holder.c.resolution, cases.c.resolution)).select_from(joined)
        values = self._pending_again() | {"word": word, "chosen_by": by, "message": None}
        # with what it was chosen for: a later resolution needs another word
        values["resolution"] = resolution.where(cases.c.id == case_id).scalar_subquery()
        return self.database.change(waits.values(**values)) > 0

    def _pending_again(self) -> dict[str, typing.Any]:
        now = self.database.now()
        return {"state": OutcomeState.OWED, "resolution": None, "owed_at": now, "due_at": now, "tries": 0}

    def category(self, case_id: str, provider: str) -> Category:
        """Returns the category of a case by a provider's alerts."""
        with self.database.read() as connection:
            rows = _alerts(connection, [case_id], [provider])
        return next((_category(group) for _, group in rows), Category.UNKNOWN)


def _is(case_id: str, provider: str | None) -> ColumnElement[bool]:
    """Returns the condition for the outcome of a case for a provider."""
    return and_(outcomes.c.case_id == case_id, outcomes.c.provider == provider)


def add_outcomes(connection: Connection, case: Case, now: float, outcomes_of: OutcomesOf) -> None:
    """Adds the outcome of a case, and of its duplicates, for each provider that takes it.

    The first outcome stands: if another one was sent already, a person decides.
    """
    by_provider = outcomes_of(case.store)
    if not by_provider or case.resolution is None or case.goal.withdraw:
        return
    duplicates = connection.execute(select(cases.c.id).where(cases.c.duplicate_of == case.id)).scalars().all()
    if case.type is DisputeType.ALERT:
        for report in _reports(connection, [case.id, *duplicates], by_provider):
            row = {"case_id": report.case_id, "provider": report.provider, "owed_at": now, "tries": 0}
            row |= {"resolved_at": now, "deadline_at": report.deadline_at}
            if by_provider[report.provider].word_name(report.category, case.resolution) is not None:
                row |= {"state": OutcomeState.OWED, "due_at": now}
            else:
                why = why_to_choose(report.category, case.resolution)
                row |= {"state": OutcomeState.FAILED, "message": why}
            insert_missing(connection, outcomes, [row])
    ended = outcomes.c.case_id.in_([case.id, *duplicates])
    differs = and_(ended, outcomes.c.resolution.is_not(None), outcomes.c.resolution != case.resolution)
    why = f"29next has it as {case.resolution} now. The first outcome stands. Report the new one yourself."
    failed = {"state": OutcomeState.FAILED, "message": why}
    connection.execute(
        update(outcomes).where(differs).values(**failed, due_at=None, word=None, chosen_by=None)
    )


def echoed_resolutions(connection: Connection, store: str, provider: str, alert: Alert) -> tuple[str, ...]:
    """Returns the resolution for which a person chose the word that was sent to a provider, if one was.

    The first outcome stands there, so what the provider says of its alert now is our own word.
    """
    case = (cases.c.store == store, cases.c.case_number == alert.case_number, cases.c.type == alert.type)
    chosen = select(outcomes.c.resolution).join(cases, cases.c.id == outcomes.c.case_id).where(*case)
    sent = (outcomes.c.state == OutcomeState.SENT, outcomes.c.chosen_by.is_not(None))
    return tuple(connection.execute(chosen.where(outcomes.c.provider == provider, *sent)).scalars())


def why_to_choose(category: Category, resolution: str) -> str:
    """Returns why a person has to choose the word."""
    return NO_CATEGORY if category is Category.UNKNOWN and resolution != "other" else NO_WORD


def is_urgent(now: float) -> ColumnElement[bool]:
    """Returns the condition that an outcome is pending though its provider will not wait much longer."""
    left = outcomes.c.deadline_at - now
    half = (outcomes.c.deadline_at - outcomes.c.resolved_at) / 2
    return and_(outcomes.c.state == OutcomeState.OWED, or_(left <= URGENT_BEFORE, left <= half))


Alerts = list[tuple[Alert | None, typing.Any]]


def _reports(
    connection: Connection, of_cases: Sequence[str], by_provider: Mapping[str, Outcome | None]
) -> list[_Report]:
    """Returns which providers take the outcomes of some cases, and by which ids."""
    reports = []
    for (case_id, provider), group in _alerts(connection, of_cases, by_provider):
        outcome = by_provider[provider]
        provider_id = _provider_id(group, outcome)
        if provider_id is not None:
            deadline_at = min(row.received_at + row.allowed for _, row in group)
            reports.append(_Report(case_id, provider, provider_id, _category(group), deadline_at))
    return reports


def _alerts(
    connection: Connection, of_cases: Sequence[str], providers: Iterable[str]
) -> list[tuple[tuple[str, str], Alerts]]:
    """Returns the alerts of some providers about cases, by case and provider, the newest last."""
    known = deliveries.c
    columns = (known.case_id, known.provider, known.effect, known.alert, known.received_at, known.allowed)
    chosen = select(*columns).where(known.case_id.in_(list(of_cases)), known.provider.in_(list(providers)))
    rows = connection.execute(chosen.order_by(known.case_id, known.provider, known.id))
    by_both = itertools.groupby(rows, key=lambda row: (row.case_id, row.provider))
    return [
        (key, [(Alert.from_json(row.alert) if row.alert else None, row) for row in group])
        for key, group in by_both
    ]


def _provider_id(group: Alerts, outcome: Outcome | None) -> str | None:
    """Returns the id by which a provider takes an outcome; None if it sent one itself, or takes none."""
    if any((alert and alert.resolution) or row.effect == Effect.WITHDRAW for alert, row in group):
        return None
    named = [alert for alert, _ in reversed(group) if alert and alert.provider_id]
    if not named or (outcome and named[0].network not in outcome.networks):
        return None
    return named[0].provider_id


def _category(group: Alerts) -> Category:
    categories = (alert.category for alert, _ in reversed(group) if alert)
    return next((category for category in categories if category is not Category.UNKNOWN), Category.UNKNOWN)
