"""Which worker pulls a provider's alerts now, and how the last pull went."""

from __future__ import annotations

import typing
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, or_, select, update

from bridge.storage.database import Database
from bridge.storage.rows import SET_BACK
from bridge.storage.schema import StateKind, named, shared_state
from bridge.storage.upsert import claim_state


@dataclass(frozen=True)
class PullState:
    """How the pulls of a provider are going; times are seconds since the epoch."""

    since: float  # the first one
    at: float | None = None  # the last one that worked
    error: str | None = None  # why the last one did not
    failures: int = 0  # in a row

    @property
    def last(self) -> float:
        """When the last one worked, or the first one was tried."""
        return self.since if self.at is None else self.at


@dataclass(frozen=True)
class Turn:
    """A provider that this worker alone pulls, until a moment."""

    provider: str
    until: float
    pulled: PullState


class Pulls:
    """Gives one worker at a time the turn to pull; a worker whose turn is over cannot write."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take_turn(self, provider: str, seconds: float, longest: float) -> Turn | None:
        """Takes the turn for some seconds, if a pull is due and no other worker has the turn.

        A pull due further ahead than `longest` was scheduled before the clock was set back: it is due now.
        """
        now = self.database.now()
        until = now + seconds
        free = or_(shared_state.c.at <= now, shared_state.c.at > now + longest + SET_BACK)
        if self.database.first(select(shared_state.c.at).where(*named(StateKind.PULL, provider), ~free)):
            return None

        def write(connection: Connection) -> Turn | None:
            row = claim_state(connection, StateKind.PULL, provider, until, free, asdict(PullState(since=now)))
            return Turn(provider, until, PullState(**row.value)) if row else None

        return self.database.write(write)

    def extend(self, turn: Turn, seconds: float) -> Turn | None:
        """Keeps the turn for some seconds from now; returns None if another worker has it."""
        until = self.database.now() + seconds
        return replace(turn, until=until) if self._write(turn, at=until) else None

    def end(self, turn: Turn, pulled: PullState, due_at: float) -> bool:
        """Records how the pull went and when the next is due; False if another worker has the turn."""
        return self._write(turn, at=due_at, value=asdict(pulled))

    def _write(self, turn: Turn, **values: typing.Any) -> bool:
        ours = (*named(StateKind.PULL, turn.provider), shared_state.c.at == turn.until)
        return self.database.change(update(shared_state).where(*ours).values(**values)) > 0


def pull_states(connection: Connection) -> dict[str, PullState]:
    """Returns how the pulls of each provider are going."""
    rows = connection.execute(
        select(shared_state.c.name, shared_state.c.value).where(shared_state.c.kind == StateKind.PULL)
    )
    return {row.name: PullState(**row.value) for row in rows}
