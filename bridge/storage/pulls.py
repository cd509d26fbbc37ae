"""Whose turn it is to pull a provider's alerts, and how its last pull went."""

from __future__ import annotations

import typing
from dataclasses import asdict, dataclass, replace

from sqlalchemy import or_, select, update

from bridge.storage.rows import SET_BACK
from bridge.storage.schema import Memo, memos
from bridge.storage.upsert import insert_into

if typing.TYPE_CHECKING:
    from sqlalchemy import Connection

    from bridge.storage.database import Database


@dataclass(frozen=True)
class Pulled:
    """How the pulls of a provider go; times are seconds since the epoch."""

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
    pulled: Pulled


class Pulls:
    """Takes turns at pulling; a worker that comes back after its turn changes nothing."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take_turn(self, provider: str, seconds: float, longest: float) -> Turn | None:
        """Take the turn for so many seconds, if a pull is due and no other worker has it.

        One that is due later than in the longest time was due before the clock was set back.
        """
        now = self.database.now()
        until = now + seconds
        free = or_(memos.c.at <= now, memos.c.at > now + longest + SET_BACK)
        ours = select(memos.c.at).where(memos.c.kind == Memo.PULL, memos.c.name == provider)
        with self.database.read() as connection:
            if connection.execute(ours.where(~free)).first():
                return None

        def write(connection: Connection) -> Turn | None:
            fresh = asdict(Pulled(since=now))
            turn = insert_into(connection, memos).values(kind=Memo.PULL, name=provider, value=fresh, at=until)
            turn = turn.on_conflict_do_update(index_elements=["kind", "name"], set_={"at": until}, where=free)
            row = connection.execute(turn.returning(memos.c.value)).first()
            return Turn(provider, until, Pulled(**row.value)) if row else None

        return self.database.write(write)

    def extend(self, turn: Turn, seconds: float) -> Turn | None:
        """Keep the turn for so many seconds from now; None where another worker has it."""
        until = self.database.now() + seconds
        return replace(turn, until=until) if self._write(turn, at=until) else None

    def end(self, turn: Turn, pulled: Pulled, due_at: float) -> bool:
        """Record how it went, and when the next pull is due; False where another worker has the turn."""
        return self._write(turn, at=due_at, value=asdict(pulled))

    def _write(self, turn: Turn, **values: typing.Any) -> bool:
        held = update(memos).where(
            memos.c.kind == Memo.PULL, memos.c.name == turn.provider, memos.c.at == turn.until
        )
        return self.database.write(lambda connection: connection.execute(held.values(**values)).rowcount > 0)


def pulled(connection: Connection) -> dict[str, Pulled]:
    """Return how the pulls of each provider go that was ever pulled."""
    rows = connection.execute(select(memos.c.name, memos.c.value).where(memos.c.kind == Memo.PULL))
    return {row.name: Pulled(**row.value) for row in rows}
