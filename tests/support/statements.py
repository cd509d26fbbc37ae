"""What the bridge says to its database, overheard: what was said, what it cost, and what goes wrong with it.

All of it hangs on SQLAlchemy and SQLite, so that it stays as it is when the bridge's storage is rebuilt.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from bridge.storage.database import Database

CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA", "SAVEPOINT", "RELEASE")


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that are made until it is left, but for those that only hold transactions together."""
    said: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if not statement.startswith(CONTROL):
            said.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


@contextmanager
def away(database: Database, words: str, times: int, *, spared: int = 0) -> Iterator[list[str]]:
    """A database that fails statements with some words in them, but for the first few."""
    failed: list[str] = []
    made = itertools.count(1)

    def fail(_: object, __: object, said: str, *___: object) -> None:
        if words in said and next(made) > spared and len(failed) < times:
            failed.append(said)
            raise OperationalError(said, None, Exception("the database is away"))

    event.listen(database.engine, "before_cursor_execute", fail)
    try:
        yield failed
    finally:
        event.remove(database.engine, "before_cursor_execute", fail)


class Steps:
    """Counts what SQLite does, in hundreds of the instructions of its machine: the work, not the time."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        event.listen(database.engine, "checkout", self._watch)

    def _watch(self, connection: Any, *_: object) -> None:
        connection.set_progress_handler(self._step, 100)

    def _step(self) -> int:
        self.count += 1
        return 0

    def taken(self) -> int:
        """How many there were since the last time."""
        count, self.count = self.count, 0
        return count
