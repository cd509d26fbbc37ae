"""What providers are to be told: how the cases ended that they reported, each told once."""

from __future__ import annotations

import itertools
import typing
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from bridge.alert import DisputeType, Effect
from bridge.storage.rows import case_of
from bridge.storage.schema import attempts, cases, deliveries, outcomes
from bridge.storage.upsert import insert_missing, insert_or_update

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.disputes.case import Case
    from bridge.providers.outcomes import Outcome
    from bridge.storage.database import Database

Told = typing.Callable[[str], "Mapping[str, Outcome]"]
"""Whom the outcomes of a store's cases are told, and how; the settings know."""
NO_WORD = "The provider has no word for this resolution, and a vague one could decline: choose one there."
"""Why an outcome waits for a person from the start."""
MOST_CALLS = 5
"""Calls that one try may take: two logins, a look, and the telling twice. Each has a lease's time."""


class Telling(StrEnum):
    """How far an outcome is."""

    OWED = "owed"
    TOLD = "told"
    FAILED = "failed"  # one that is due all the same is tried again by itself


@dataclass(frozen=True, slots=True)
class Owing:
    """An outcome that a worker has claimed until `due_at`, which is its fence."""

    case_id: str
    store: str
    provider: str
    provider_id: str
    resolution: str
    message: str | None
    owed_at: float
    due_at: float
    tries: int


class Outcomes:
    """Gives outcomes out one by one, and keeps how telling them went."""

    def __init__(self, database: Database, lease: float) -> None:
        self.database = database
        self.lease = lease

    def claim(self, provider: str) -> Owing | None:
        """Take the outcome of a provider that has been due longest, if there is one to tell.

        What is owed no more is dropped: the case is open again, or the provider has told how it ended.
        """
        now = self.database.now()
        due = select(outcomes).where(outcomes.c.provider == provider, outcomes.c.due_at <= now)
        due = due.order_by(outcomes.c.due_at).limit(1)
        with self.database.read() as connection:
            if connection.execute(due).first() is None:
                return None

        def write(connection: Connection) -> Owing | None:
            row = connection.execute(due.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            this = and_(outcomes.c.case_id == row.case_id, outcomes.c.provider == provider)
            case = case_of(connection.execute(select(cases).where(cases.c.id == row.case_id)).one())
            holder = connection.execute(select(cases).where(cases.c.id == case.duplicate_of)).first()
            ended = case_of(holder) if holder else case
            reports = _reports(connection, deliveries.c.case_id == row.case_id, [provider])
            provider_id = next((_taken_by(rows) for _, rows in reports), None)
            if ended.resolution is None or provider_id is None:
                connection.execute(delete(outcomes).where(this))
                return None
            claimed = {
                "resolution": ended.resolution,
                "due_at": now + MOST_CALLS * self.lease,
                "tries": row.tries + 1,
            }
            connection.execute(update(outcomes).where(this).values(**claimed))
            message = ended.goal.message
            names = {"case_id": case.id, "store": case.store, "provider": provider, "owed_at": row.owed_at}
            return Owing(provider_id=provider_id, message=message, **names, **claimed)

        return self.database.write(write)

    def record(self, attempt: dict[str, typing.Any]) -> None:
        """Record a call to a provider: that it is about to be made, and again what came of it."""
        self.database.write(lambda connection: insert_or_update(connection, attempts, attempt))

    def settle(self, owing: Owing, state: Telling, message: str | None, due_at: float | None) -> bool:
        """Record how far an outcome is; False where another worker has it now."""
        held = update(outcomes).where(
            outcomes.c.case_id == owing.case_id,
            outcomes.c.provider == owing.provider,
            outcomes.c.due_at == owing.due_at,
        )
        values = {"state": state, "message": message, "due_at": due_at}
        return self.database.write(lambda connection: connection.execute(held.values(**values)).rowcount > 0)

    def tell_again(self, case_id: str) -> int:
        """Owe anew what a provider could not be told of a case; returns how many outcomes."""
        now = self.database.now()
        failed = update(outcomes).where(outcomes.c.case_id == case_id, outcomes.c.state == Telling.FAILED)
        values = {"state": Telling.OWED, "resolution": None, "owed_at": now, "due_at": now, "tries": 0}
        return self.database.write(lambda connection: connection.execute(failed.values(**values)).rowcount)


def owe(connection: Connection, case: Case, now: float, told: Told) -> None:
    """Owe the outcome of a case to whom it is told; its duplicates end as it does.

    The first one stands: where another was sent already, a person decides.
    """
    tells = told(case.store)
    if not tells or case.resolution is None or case.goal.withdraw:
        return
    twins = select(cases.c.id).where(cases.c.duplicate_of == case.id)
    reported = or_(deliveries.c.case_id == case.id, deliveries.c.case_id.in_(twins))
    for (case_id, provider), rows in _reports(connection, reported, tells):
        if _taken_by(rows) and case.type is DisputeType.ALERT:
            row = {"case_id": case_id, "provider": provider, "owed_at": now, "tries": 0}
            if case.resolution in tells[provider].words:
                row |= {"state": Telling.OWED, "due_at": now}
            else:
                row |= {"state": Telling.FAILED, "message": NO_WORD}
            insert_missing(connection, outcomes, [row])
    ended = or_(outcomes.c.case_id == case.id, outcomes.c.case_id.in_(twins))
    other = and_(ended, outcomes.c.resolution.is_not(None), outcomes.c.resolution != case.resolution)
    said = f"29next has it as {case.resolution} now. What was sent first stands; tell the other by hand."
    failed = {"state": Telling.FAILED, "message": said, "due_at": None}
    connection.execute(update(outcomes).where(other).values(**failed))


def _reports(
    connection: Connection, reported: ColumnElement[bool], providers: Iterable[str]
) -> list[tuple[tuple[str, str], list[typing.Any]]]:
    """Return what some providers reported of cases, by case and provider, the newest last."""
    columns = (deliveries.c.case_id, deliveries.c.provider, deliveries.c.effect, deliveries.c.alert)
    chosen = select(*columns).where(reported, deliveries.c.provider.in_(list(providers)))
    rows = connection.execute(chosen.order_by(deliveries.c.case_id, deliveries.c.provider, deliveries.c.id))
    by_both = itertools.groupby(rows, key=lambda row: (row.case_id, row.provider))
    return [(key, list(group)) for key, group in by_both]


def _taken_by(rows: list[typing.Any]) -> str | None:
    """Return the id by which a provider takes an outcome; None where it told one itself."""
    alerts = [row.alert or {} for row in rows]
    if any(one.get("resolution") for one in alerts) or any(row.effect == Effect.WITHDRAW for row in rows):
        return None
    return next((one["provider_id"] for one in reversed(alerts) if one.get("provider_id")), None)
