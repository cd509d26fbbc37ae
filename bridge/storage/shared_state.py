"""What processes share beside the alerts: heartbeats, notifications sent, bulk replays.

It also removes old bodies. Each write is small and ends by itself: no process waits for another.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, false, select, update

from bridge.storage.database import Database
from bridge.storage.ids import first_id, new_id
from bridge.storage.schema import StateKind, deliveries, named, replays, shared_state, webhooks
from bridge.storage.upsert import claim_state, insert_or_update

FORGOTTEN_AFTER = 86_400.0
"""Seconds after which the last heartbeat of a worker that is gone is removed."""
MOST_REPLAYS = 20
"""How many bulk replays are listed."""


@dataclass(frozen=True)
class Replay:
    """A bulk replay: which deliveries, and how far it is."""

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
        """Whether it is still running."""
        return self.state == "running"


class SharedState:
    """Reads and writes what the processes share."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = database.now

    # the worker's heartbeat

    def record_heartbeat(self, worker: str) -> None:
        """Records that a worker is alive."""
        now = self.now()

        def write(connection: Connection) -> None:
            _set(connection, StateKind.WORKER, worker, None, now)
            old = shared_state.c.kind == StateKind.WORKER, shared_state.c.at < now - FORGOTTEN_AFTER
            connection.execute(delete(shared_state).where(*old))

        self.database.write(write)

    # notifications

    def notifications(self) -> dict[str, tuple[float, typing.Any]]:
        """Returns the notifications that were sent, by key: when, and with which value."""
        statement = select(shared_state).where(shared_state.c.kind == StateKind.NOTIFIED)
        return {row.name: (row.at, row.value) for row in self.database.rows(statement)}

    def claim_notification(self, key: str, value: typing.Any, before: float | None) -> bool:
        """Claims the sending of a notification; returns False if another process was faster.

        `before` is when it was sent last, as `notifications` says, or None.
        """
        now = self.now()

        def write(connection: Connection) -> bool:
            if before is None:
                return _is_first(connection, StateKind.NOTIFIED, key, value, now)
            ours = update(shared_state).where(*named(StateKind.NOTIFIED, key), shared_state.c.at == before)
            return connection.execute(ours.values(value=value, at=now)).rowcount > 0

        return self.database.write(write)

    def forget_notification(self, key: str) -> bool:
        """Forgets that a notification was sent; returns False if another process was faster."""
        return self.database.change(delete(shared_state).where(*named(StateKind.NOTIFIED, key))) > 0

    # what is valid once

    def redeem_once(self, kind: str, mark: str, seconds: float) -> bool:
        """Redeems a mark that is valid once, within `seconds`; returns False if it was redeemed already."""
        now = self.now()

        def write(connection: Connection) -> bool:
            connection.execute(
                delete(shared_state).where(shared_state.c.kind == kind, shared_state.c.at < now - seconds)
            )
            return _is_first(connection, kind, mark, None, now)

        return self.database.write(write)

    def is_redeemed(self, kind: str, mark: str) -> bool:
        """Whether a mark was redeemed; known for the seconds that `redeem_once` was given."""
        return self.database.first(select(shared_state.c.name).where(*named(kind, mark))) is not None

    # bulk replays

    def start_replay(self, filters: Mapping[str, str], total: int) -> str:
        """Starts the replay of all deliveries that match now; returns its id."""
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

    def end_replay(self, ident: str, state: str) -> None:
        """Ends a bulk replay that is `done` or `stopped`; what was replayed so far stays replayed."""
        ended = update(replays).where(replays.c.id == ident, replays.c.state == "running")
        self.database.change(ended.values(state=state, ended_at=self.now()))

    def advance_replay(self, replay: Replay, ids: Sequence[str]) -> bool:
        """Claims the next deliveries; returns False if another process has them, or the replay is stopped."""
        mine = update(replays).where(
            replays.c.id == replay.id,
            replays.c.state == "running",
            replays.c.cursor.is_not_distinct_from(replay.cursor),
        )
        return self.database.change(mine.values(cursor=ids[-1], done=replays.c.done + len(ids))) > 0

    def replays(self, *, running: bool = False) -> list[Replay]:
        """Lists the newest bulk replays."""
        statement = select(replays).order_by(replays.c.id.desc()).limit(MOST_REPLAYS)
        if running:
            statement = statement.where(replays.c.state == "running")
        return [Replay(**row._asdict()) for row in self.database.rows(statement)]

    def replay(self, ident: str) -> Replay | None:
        """Returns one bulk replay."""
        row = self.database.first(select(replays).where(replays.c.id == ident))
        return Replay(**row._asdict()) if row else None

    # retention

    def drop_bodies(self, before: float, most: int) -> int:
        """Removes the headers and bodies of the oldest webhooks received before a moment.

        Continues where it stopped last time; returns how many, `most` at most.
        """
        now = self.now()

        def write(connection: Connection) -> int:
            last = select(shared_state.c.value).where(*named(StateKind.RETENTION, ""))
            done = connection.execute(last).scalar() or ""
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
                _set(connection, StateKind.RETENTION, "", ids[-1], now)
            return len(ids)

        return self.database.write(write)


def _set(connection: Connection, kind: str, name: str, value: typing.Any, now: float) -> None:
    insert_or_update(connection, shared_state, {"kind": kind, "name": name, "value": value, "at": now})


def _is_first(connection: Connection, kind: str, name: str, value: typing.Any, now: float) -> bool:
    """Inserts a row; returns False if it exists already."""
    return claim_state(connection, kind, name, now, false(), value) is not None
