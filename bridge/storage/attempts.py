"""Attempts: what is recorded of each call, to 29next or to a provider, before it is made and after it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from bridge.errors import (
    BridgeError,
    Bug,
    StoreRefused,
    TemporaryError,
    Throttled,
    Unavailable,
    Unclear,
)
from bridge.storage.ids import new_id
from bridge.storage.schema import attempts
from bridge.storage.upsert import insert_or_update


class CallOutcome(StrEnum):
    """How a call ended, as its record says it."""

    INTENDED = "intended"
    OK = "ok"
    DROPPED = "dropped"
    THROTTLED = "throttled"
    TEMPORARY = "temporary"
    UNCLEAR = "unclear"
    STORE_REFUSED = "store_refused"
    REFUSED = "refused"
    BUG = "bug"


_OUTCOMES: dict[type, CallOutcome] = {
    Unavailable: CallOutcome.DROPPED,  # the database gave it no slot in time
    Throttled: CallOutcome.THROTTLED,
    TemporaryError: CallOutcome.TEMPORARY,
    Unclear: CallOutcome.UNCLEAR,
    StoreRefused: CallOutcome.STORE_REFUSED,
    Bug: CallOutcome.BUG,
}


def outcome_of(error: BridgeError | None) -> CallOutcome:
    """Returns the outcome of a call by its error; None: it was accepted."""
    return CallOutcome.OK if error is None else _OUTCOMES.get(type(error), CallOutcome.REFUSED)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """The record of one call; `seconds` is how long it took."""

    case_id: str
    store: str
    method: str
    path: str
    started_at: float
    delivery_id: str | None = None
    provider: str | None = None  # None for a call to 29next
    request: typing.Any = None
    status: int | None = None
    response: str | None = None
    outcome: CallOutcome = CallOutcome.INTENDED
    seconds: float | None = None
    id: str = ""

    def __post_init__(self) -> None:
        self.id = self.id or new_id("a", self.started_at)

    def row(self) -> dict[str, typing.Any]:
        """Returns its row in the database."""
        return {name: getattr(self, name) for name in _COLUMNS}


_COLUMNS = tuple(column.name for column in dataclasses.fields(Attempt))


def record_attempts(connection: Connection, made: Iterable[Attempt]) -> None:
    """Records calls; a later record of the same call replaces the earlier one."""
    insert_or_update(connection, attempts, *(attempt.row() for attempt in made))
