"""Inserts that may meet a row of the same key: SQLite and Postgres have them both, each in its dialect."""

from __future__ import annotations

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
    statement = insert_into(connection, table).on_conflict_do_nothing()
    if not found:
        connection.execute(statement, rows)
        return ()
    return connection.execute(statement.returning(*found), rows).all()


def insert_or_update(connection: Connection, table: Table, row: Mapping[str, typing.Any]) -> None:
    """Write a row, over an earlier one with the same primary key."""
    keys = [column.name for column in table.primary_key]
    statement = insert_into(connection, table).values(**row)
    others = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=others))
