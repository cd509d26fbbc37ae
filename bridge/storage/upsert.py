"""Inserts that may meet a row with the same key, for SQLite and Postgres.

The statements are cached: building one costs more than running it.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Row, Table
from sqlalchemy.dialects import postgresql, sqlite

from bridge.storage.schema import shared_state

_INSERTS: dict[str, typing.Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_into(connection: Connection, table: Table) -> typing.Any:
    """Returns an insert that can say what to do on a conflict."""
    return _INSERTS[connection.dialect.name](table)


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, typing.Any]]) -> None:
    """Inserts the rows whose keys are new."""
    if rows:
        connection.execute(_missing(connection.dialect.name, table), rows)


def insert_or_update(connection: Connection, table: Table, *rows: Mapping[str, typing.Any]) -> None:
    """Inserts rows of the same columns; each replaces an earlier one with the same primary key."""
    if rows:
        connection.execute(_upsert(connection.dialect.name, table, tuple(rows[0])), rows)


def claim_state(
    connection: Connection,
    kind: str,
    name: str,
    at: float,
    free: ColumnElement[bool],
    value: typing.Any = None,
) -> Row[typing.Any] | None:
    """Inserts a row of the shared state, or moves the time of a `free` one; returns it, or None without."""
    new = insert_into(connection, shared_state).values(kind=kind, name=name, value=value, at=at)
    claimed = new.on_conflict_do_update(index_elements=["kind", "name"], set_={"at": at}, where=free)
    row: Row[typing.Any] | None = connection.execute(claimed.returning(shared_state)).first()
    return row


@functools.cache
def _missing(dialect: str, table: Table) -> typing.Any:
    return _INSERTS[dialect](table).on_conflict_do_nothing()


@functools.cache
def _upsert(dialect: str, table: Table, names: tuple[str, ...]) -> typing.Any:
    statement = _INSERTS[dialect](table)
    keys = [column.name for column in table.primary_key]
    others = {name: statement.excluded[name] for name in names if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)
