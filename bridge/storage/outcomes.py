"""What providers are to be told: how the cases ended that they reported, each told once."""

from __future__ import annotations

import itertools
import typing
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update
from sqlalchemy import case as either

from bridge.alert import Alert, Category, DisputeType, Effect
from bridge.storage.rows import case_of
from bridge.storage.schema import attempts, cases, deliveries, outcomes
from bridge.storage.upsert import insert_missing, insert_or_update

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Row

    from bridge.disputes.case import Case
    from bridge.providers.outcomes import Outcome
    from bridge.storage.database import Database

Told = typing.Callable[[str], "Mapping[str, Outcome]"]
"""Whom the outcomes of a store's cases are told, and how; the settings know."""
NO_WORD = "The provider has no word for this resolution, and a vague one could decline: choose one here."
NO_CATEGORY = "The alert does not say whether it is fraud or another dispute: choose the word here."
"""Why an outcome waits for a person from the start."""
MOST_CALLS = 9
"""Calls that one try may take, each with a lease's time: at the provider two logins, a look, and the
telling twice; at 29next the sale, its order, and what is shipped of it."""
URGENT_BEFORE = 2 * 3600.0
"""An outcome that is not told is urgent so long before its deadline, or once half of its time is gone."""


class Telling(StrEnum):
    """How far an outcome is."""

    OWED = "owed"
    TOLD = "told"
    FAILED = "failed"  # one that is due all the same is tried again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingOutcome:
    """An outcome that a worker has claimed until `due_at`, which is its fence."""

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
    """What a provider reported of a case, and by which id it takes the outcome."""

    case_id: str
    provider: str
    provider_id: str
    category: Category
    deadline_at: float


class Outcomes:
    """Gives outcomes out, and keeps how telling them went."""

    def __init__(self, database: Database, lease: float, told: Told = lambda _: {}) -> None:
        self.database = database
        self.lease = lease
        self.told = told

    def claim(self, provider: str, most: int = 1) -> list[PendingOutcome]:
        """Take the outcomes of a provider that have been due longest, as many as go in one call.

        One that was tried before goes alone, so that it cannot spoil the others. What is owed no more is
        dropped: the case is open again, or the provider has told how it ended.
        """
        now = self.database.now()
        due = select(outcomes).where(outcomes.c.provider == provider, outcomes.c.due_at <= now)
        due = due.order_by(outcomes.c.due_at).limit(most)
        with self.database.read() as connection:
            if connection.execute(due).first() is None:
                return []

        def write(connection: Connection) -> list[PendingOutcome]:
            rows = connection.execute(due.with_for_update(skip_locked=True)).all()
            together = rows[:1] if rows and rows[0].tries else [row for row in rows if not row.tries]
            claimed = [self._claim(connection, row, now) for row in together]
            return [one for one in claimed if one is not None]

        return self.database.write(write)

    def _claim(self, connection: Connection, row: Row[typing.Any], now: float) -> PendingOutcome | None:
        this = and_(outcomes.c.case_id == row.case_id, outcomes.c.provider == row.provider)
        mine = connection.execute(select(cases).where(cases.c.id == row.case_id)).one()
        case = case_of(mine)
        holder = connection.execute(select(cases).where(cases.c.id == case.duplicate_of)).first()
        ended = case_of(holder) if holder else case
        told = {row.provider: self.told(case.store).get(row.provider)}
        report = next(iter(_reports(connection, [case.id], told)), None)
        if ended.resolution is None or report is None:
            connection.execute(delete(outcomes).where(this))
            return None
        first = next(iter(_reports(connection, [holder.id], told)), None) if holder else None
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

    def record(self, made: Sequence[dict[str, typing.Any]], words: Mapping[str, str] | None = None) -> None:
        """Record calls to a provider: that they are about to be made, and again what came of them.

        `words` are those that are sent, by case: whatever happens, a repeat has the same one.
        """

        def write(connection: Connection) -> None:
            for attempt in made:
                insert_or_update(connection, attempts, attempt)
                if word := (words or {}).get(attempt["case_id"]):
                    this = (
                        outcomes.c.case_id == attempt["case_id"],
                        outcomes.c.provider == attempt["provider"],
                    )
                    connection.execute(update(outcomes).where(*this).values(word=word))

        self.database.write(write)

    def settle(
        self, pending: PendingOutcome, state: Telling, message: str | None, due_at: float | None
    ) -> bool:
        """Record how far an outcome is; False where another worker has it now."""
        return self._change(pending, {"state": state, "message": message, "due_at": due_at})

    def release(self, pending: PendingOutcome) -> bool:
        """Give an outcome back that nothing was done for; False where another worker has it now."""
        return self._change(pending, {"due_at": self.database.now(), "tries": pending.tries - 1})

    def _change(self, pending: PendingOutcome, values: dict[str, typing.Any]) -> bool:
        held = update(outcomes).where(
            outcomes.c.case_id == pending.case_id,
            outcomes.c.provider == pending.provider,
            outcomes.c.due_at == pending.due_at,
        )
        return self.database.write(lambda connection: connection.execute(held.values(**values)).rowcount > 0)

    # a person

    def tell_again(self, case_id: str) -> int:
        """Owe again what a provider could not be told of a case; returns how many outcomes."""
        failed = update(outcomes).where(outcomes.c.case_id == case_id, outcomes.c.state == Telling.FAILED)
        word = either((outcomes.c.chosen_by.is_not(None), outcomes.c.word))  # else by the resolution again
        values = self._owed() | {"word": word}
        return self.database.write(lambda connection: connection.execute(failed.values(**values)).rowcount)

    def choose(self, case_id: str, provider: str, word: str, by: str) -> bool:
        """Owe an outcome in the word that a person chose; False where none waits for that."""
        this = (outcomes.c.case_id == case_id, outcomes.c.provider == provider)
        waits = update(outcomes).where(*this, outcomes.c.state == Telling.FAILED)
        holder = cases.alias()
        joined = cases.outerjoin(holder, holder.c.id == cases.c.duplicate_of)
        resolution = select(func.coalesce(holder.c.resolution, cases.c.resolution)).select_from(joined)
        resolution = resolution.where(cases.c.id == case_id)
        values = self._owed() | {"word": word, "chosen_by": by, "message": None}

        def write(connection: Connection) -> bool:
            # with what it was chosen for: another resolution of later needs another word
            chosen_for = connection.execute(resolution).scalar()
            return connection.execute(waits.values(**values | {"resolution": chosen_for})).rowcount > 0

        return self.database.write(write)

    def _owed(self) -> dict[str, typing.Any]:
        now = self.database.now()
        return {"state": Telling.OWED, "resolution": None, "owed_at": now, "due_at": now, "tries": 0}

    def category(self, case_id: str, provider: str) -> Category:
        """Return what a provider's alerts say a cardholder complains of."""
        with self.database.read() as connection:
            rows = _alerts(connection, [case_id], [provider])
        return next((_category(group) for _, group in rows), Category.UNKNOWN)


def owe(connection: Connection, case: Case, now: float, told: Told) -> None:
    """Owe the outcome of a case to whom it is told; its duplicates end as it does.

    The first one stands: where another was sent already, a person decides.
    """
    tells = told(case.store)
    if not tells or case.resolution is None or case.goal.withdraw:
        return
    twins = connection.execute(select(cases.c.id).where(cases.c.duplicate_of == case.id)).scalars().all()
    if case.type is DisputeType.ALERT:
        for report in _reports(connection, [case.id, *twins], tells):
            row = {"case_id": report.case_id, "provider": report.provider, "owed_at": now, "tries": 0}
            row |= {"resolved_at": now, "deadline_at": report.deadline_at}
            if tells[report.provider].word_name(report.category, case.resolution) is not None:
                row |= {"state": Telling.OWED, "due_at": now}
            else:
                row |= {
                    "state": Telling.FAILED,
                    "message": waits_for_a_word(report.category, case.resolution),
                }
            insert_missing(connection, outcomes, [row])
    ended = outcomes.c.case_id.in_([case.id, *twins])
    other = and_(ended, outcomes.c.resolution.is_not(None), outcomes.c.resolution != case.resolution)
    said = f"29next has it as {case.resolution} now. The first outcome stands. Report the new one yourself."
    failed = {"state": Telling.FAILED, "message": said, "due_at": None, "word": None, "chosen_by": None}
    connection.execute(update(outcomes).where(other).values(**failed))


def echoed(connection: Connection, store: str, provider: str, alert: Alert) -> tuple[str, ...]:
    """Return the resolution for which a person chose what a provider was told, if it was told so.

    The first outcome stands there, so whatever the provider says of its alert now is our own word.
    """
    case = (cases.c.store == store, cases.c.case_number == alert.case_number, cases.c.type == alert.type)
    chosen = select(outcomes.c.resolution).join(cases, cases.c.id == outcomes.c.case_id).where(*case)
    told = (outcomes.c.state == Telling.TOLD, outcomes.c.chosen_by.is_not(None))
    return tuple(connection.execute(chosen.where(outcomes.c.provider == provider, *told)).scalars())


def waits_for_a_word(category: Category, resolution: str) -> str:
    """Say why a person has to choose the word."""
    return NO_CATEGORY if category is Category.UNKNOWN and resolution != "other" else NO_WORD


def is_urgent(now: float) -> ColumnElement[bool]:
    """Whether an outcome is still owed though its provider will not wait much longer."""
    left = outcomes.c.deadline_at - now
    half = (outcomes.c.deadline_at - outcomes.c.resolved_at) / 2
    return and_(outcomes.c.state == Telling.OWED, or_(left <= URGENT_BEFORE, left <= half))


Alerts = list[tuple[Alert | None, typing.Any]]


def _reports(
    connection: Connection, of_cases: Sequence[str], told: Mapping[str, Outcome | None]
) -> list[_Report]:
    """Return who takes the outcomes of some cases, and by which ids."""
    found = []
    for (case_id, provider), group in _alerts(connection, of_cases, told):
        outcome = told[provider]
        provider_id = _taken_by(group, outcome)
        if provider_id is not None:
            deadline_at = min(row.received_at + row.allowed for _, row in group)
            found.append(_Report(case_id, provider, provider_id, _category(group), deadline_at))
    return found


def _alerts(
    connection: Connection, of_cases: Sequence[str], providers: Iterable[str]
) -> list[tuple[tuple[str, str], Alerts]]:
    """Return what some providers reported of cases, by case and provider, the newest last."""
    known = deliveries.c
    columns = (known.case_id, known.provider, known.effect, known.alert, known.received_at, known.allowed)
    chosen = select(*columns).where(known.case_id.in_(list(of_cases)), known.provider.in_(list(providers)))
    rows = connection.execute(chosen.order_by(known.case_id, known.provider, known.id))
    by_both = itertools.groupby(rows, key=lambda row: (row.case_id, row.provider))
    return [
        (key, [(Alert.from_json(row.alert) if row.alert else None, row) for row in group])
        for key, group in by_both
    ]


def _taken_by(group: Alerts, outcome: Outcome | None) -> str | None:
    """Return the id by which a provider takes an outcome; None where it told one itself, or takes none."""
    if any((alert and alert.resolution) or row.effect == Effect.WITHDRAW for alert, row in group):
        return None
    named = [alert for alert, _ in reversed(group) if alert and alert.provider_id]
    if not named or (outcome and named[0].network not in outcome.networks):
        return None
    return named[0].provider_id


def _category(group: Alerts) -> Category:
    known = (alert.category for alert, _ in reversed(group) if alert)
    return next((one for one in known if one is not Category.UNKNOWN), Category.UNKNOWN)
