"""What the processes remember for one another beside the alerts: heartbeats, what was told, bulk replays.

Also removes old bodies. Each write is small and ends by itself; nothing waits for another process.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from bridge.storage.ids import first_id, new_id
from bridge.storage.schema import Memo, deliveries, memos, replays, webhooks
from bridge.storage.upsert import insert_missing, insert_or_update

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from bridge.storage.database import Database

FORGOTTEN_AFTER = 86_400.0
"""Seconds after which the last heartbeat of a worker that is gone is removed."""
MOST_REPLAYS = 20
"""How many bulk replays are listed."""


@dataclass(frozen=True)
class Replay:
    """A bulk replay: which deliveries, how far it is."""

    id: str
    filters: dict[str, str]
    total: int
    done: int
    cursor: str | None
    upto: str
    state: str
    asked_at: float
    ended_at: float | None

    @property
    def runs(self) -> bool:
        """Whether the worker still puts deliveries back for it."""
        return self.state == "running"


class Memos:
    """The small tables beside the inbox."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = database.now

    # the worker's heart

    def beat(self, worker: str) -> None:
        """Say that a worker is alive."""
        now = self.now()

        def write(connection: Connection) -> None:
            _set(connection, Memo.WORKER, worker, None, now)
            old = memos.c.kind == Memo.WORKER, memos.c.at < now - FORGOTTEN_AFTER
            connection.execute(delete(memos).where(*old))

        self.database.write(write)

    # what was told

    def told(self) -> dict[str, tuple[float, typing.Any]]:
        """Return what was told, by key: when, and what was known then."""
        statement = select(memos).where(memos.c.kind == Memo.TOLD)
        with self.database.read() as connection:
            return {row.name: (row.at, row.value) for row in connection.execute(statement)}

    def tell(self, key: str, known: typing.Any, before: float | None) -> bool:
        """Take it on oneself to tell something; False where another process was faster.

        `before` is when it was told last, as `told` says, or None.
        """
        now = self.now()

        def write(connection: Connection) -> bool:
            if before is None:
                return _is_first(connection, Memo.TOLD, key, known, now)
            ours = update(memos).where(*_named(Memo.TOLD, key), memos.c.at == before)
            return connection.execute(ours.values(value=known, at=now)).rowcount > 0

        return self.database.write(write)

    def forget(self, key: str) -> bool:
        """Let something be told anew; False where another process was faster."""
        gone = delete(memos).where(*_named(Memo.TOLD, key))
        return self.database.write(lambda connection: connection.execute(gone).rowcount > 0)

    # what is good for once

    def use_up(self, kind: str, mark: str, seconds: float) -> bool:
        """Use up what is good for once, and not longer than `seconds`; False where it is used up already."""
        now = self.now()

        def write(connection: Connection) -> bool:
            connection.execute(delete(memos).where(memos.c.kind == kind, memos.c.at < now - seconds))
            return _is_first(connection, kind, mark, None, now)

        return self.database.write(write)

    def is_used_up(self, kind: str, mark: str) -> bool:
        """Whether something was used up, as `use_up` says; known for the seconds that were named there."""
        statement = select(memos.c.name).where(*_named(kind, mark))
        with self.database.read() as connection:
            return connection.execute(statement).first() is not None

    # bulk replays

    def start_replay(self, filters: Mapping[str, str], total: int) -> str:
        """Ask for the replay of all deliveries that fit now; returns its id."""
        now = self.now()
        row = {
            "id": new_id("r", now),
            "filters": dict(filters),
            "total": total,
            "done": 0,
            "upto": first_id(deliveries, now),
            "state": "running",
            "asked_at": now,
        }
        self.database.write(lambda connection: connection.execute(replays.insert().values(**row)))
        return str(row["id"])

    def stop_replay(self, ident: str) -> None:
        """Stop a bulk replay; what was put back already stays so."""
        self._end_replay(ident, "stopped")

    def end_replay(self, ident: str) -> None:
        """Close a bulk replay that has put everything back."""
        self._end_replay(ident, "done")

    def _end_replay(self, ident: str, state: str) -> None:
        ended = update(replays).where(replays.c.id == ident, replays.c.state == "running")
        values = {"state": state, "ended_at": self.now()}
        self.database.write(lambda connection: connection.execute(ended.values(**values)))

    def advance_replay(self, replay: Replay, ids: Sequence[str]) -> bool:
        """Take the next deliveries on oneself; False where another process took them, or it was stopped."""
        mine = update(replays).where(
            replays.c.id == replay.id,
            replays.c.state == "running",
            replays.c.cursor.is_not_distinct_from(replay.cursor),
        )
        values = {"cursor": ids[-1], "done": replays.c.done + len(ids)}
        return self.database.write(lambda connection: connection.execute(mine.values(**values)).rowcount > 0)

    def replays(self, *, running: bool = False) -> list[Replay]:
        """List the newest bulk replays."""
        statement = select(replays).order_by(replays.c.id.desc()).limit(MOST_REPLAYS)
        if running:
            statement = statement.where(replays.c.state == "running")
        with self.database.read() as connection:
            return [_replay(row) for row in connection.execute(statement)]

    def replay(self, ident: str) -> Replay | None:
        """Return one bulk replay."""
        with self.database.read() as connection:
            row = connection.execute(select(replays).where(replays.c.id == ident)).first()
        return _replay(row) if row else None

    # retention

    def drop_bodies(self, before: float, most: int) -> int:
        """Remove the headers and bodies of the oldest webhooks received before a moment.

        Goes on where it stopped last time; returns how many, `most` at most.
        """
        now = self.now()

        def write(connection: Connection) -> int:
            memo = select(memos.c.value).where(*_named(Memo.RETENTION, ""))
            done = connection.execute(memo).scalar() or ""
            old = (
                select(webhooks.c.id)
                .where(webhooks.c.id > done, webhooks.c.id < first_id(webhooks, before))
                .order_by(webhooks.c.id)
                .limit(most)
            )
            ids = list(connection.execute(old).scalars())
            if ids:
                emptied = update(webhooks).where(webhooks.c.id.in_(ids))
                connection.execute(emptied.values(body=None, headers={}))
                _set(connection, Memo.RETENTION, "", ids[-1], now)
            return len(ids)

        return self.database.write(write)


def _named(kind: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return (memos.c.kind == kind, memos.c.name == name)


def _set(connection: Connection, kind: str, name: str, value: typing.Any, now: float) -> None:
    insert_or_update(connection, memos, {"kind": kind, "name": name, "value": value, "at": now})


def _is_first(connection: Connection, kind: str, name: str, value: typing.Any, now: float) -> bool:
    """Write a memo that is not there yet; False where it is."""
    row = {"kind": kind, "name": name, "value": value, "at": now}
    return bool(insert_missing(connection, memos, [row], memos.c.name))


def _replay(row: Row[typing.Any]) -> Replay:
    return Replay(**row._asdict())
