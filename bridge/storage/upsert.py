"""Inserts that may meet a row of the same key: SQLite and Postgres have them both, each in its dialect.

The statements are kept: to build one costs more than to run it.
"""

from __future__ import annotations

import functools
import typing

from sqlalchemy.dialects import postgresql, sqlite

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Column, Connection, Row, Table

_INSERTS: dict[str, typing.Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_into(connection: Connection, table: Table) -> typing.Any:
    """Begin an insert that can say what becomes of a conflict."""
    return _INSERTS[connection.dialect.name](table)


def insert_missing(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, typing.Any]],
    *found: Column[typing.Any],
) -> Sequence[Row[typing.Any]]:
    """Write the rows whose keys are not there yet; returns what was asked for of these."""
    if not rows:
        return ()
    result = connection.execute(_missing(connection.dialect.name, table, found), rows)
    return result.all() if found else ()


def insert_or_update(connection: Connection, table: Table, *rows: Mapping[str, typing.Any]) -> None:
    """Write rows of the same columns, each over an earlier one with the same primary key."""
    if rows:
        connection.execute(_over(connection.dialect.name, table, tuple(rows[0])), rows)


@functools.cache
def _missing(dialect: str, table: Table, found: tuple[Column[typing.Any], ...]) -> typing.Any:
    statement = _INSERTS[dialect](table).on_conflict_do_nothing()
    return statement.returning(*found) if found else statement


@functools.cache
def _over(dialect: str, table: Table, names: tuple[str, ...]) -> typing.Any:
    statement = _INSERTS[dialect](table)
    keys = [column.name for column in table.primary_key]
    others = {name: statement.excluded[name] for name in names if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)
