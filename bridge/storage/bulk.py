"""Many rows at once: written by one statement, or each asked about in one.

For Postgres a statement costs more than its row, so it gets the rows as one JSON text; SQLite writes
them one by one.
"""

from __future__ import annotations

import functools
import json
import typing
from dataclasses import dataclass

from sqlalchemy import (
    JSON,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from bridge.storage.schema import Json

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import FromClause, Row, Table

Rows = typing.Sequence[typing.Mapping[str, typing.Any]]
Names = tuple[str, ...]
Columns = tuple[tuple[str, typing.Any], ...]
"""Names, and the types of their values."""


def add(
    connection: Connection,
    table: Table,
    rows: Rows,
    *,
    key: Names = (),
    over: bool = False,
    found: Names = (),
) -> Sequence[Row[typing.Any]]:
    """Insert rows, all with the same columns; returns what was asked for of the new ones.

    One that is there by its key stays, or is written over.
    """
    if not rows:
        return ()
    insert = _insert(connection.dialect.name, table, tuple(rows[0]), key=key, over=over, found=found)
    written = connection.execute(insert, _parameters(connection, table, rows))
    return written.all() if found else ()


def change(connection: Connection, table: Table, rows: Rows) -> None:
    """Update the same columns of some rows; `ident` says which."""
    if rows:
        statement = _update(connection.dialect.name, table, tuple(rows[0]))
        connection.execute(statement, _parameters(connection, table, rows))


@dataclass(frozen=True)
class Question:
    """What fits a given row, and at most how many; asked of many rows at once."""

    given: Columns
    wanted: typing.Callable[[FromClause], Select[typing.Any]]
    most: int

    def ask(self, connection: Connection, rows: Rows) -> list[list[Mapping[str, typing.Any]]]:
        """Return what fits each of the rows."""
        found: list[list[Mapping[str, typing.Any]]] = [[] for _ in rows]
        if not rows:
            return found
        numbered = json.dumps([{**row, "place": place} for place, row in enumerate(rows)])
        most = self.most * len(rows) + 1
        statement = _asking(connection.dialect.name, self)
        answer = connection.execute(statement, {"rows": numbered, "most": most}).mappings().all()
        if len(answer) == most and len(rows) > 1:  # one of them has more than its share
            return [self.ask(connection, [row])[0] for row in rows]
        for one in answer:
            found[one["place"]].append(one)
        return [several[: self.most] for several in found]


@functools.cache
def _asking(dialect: str, question: Question) -> Select[typing.Any]:
    """Build the statement once: building it costs more than running it."""
    given = _given(dialect, (*question.given, ("place", Integer)))
    wanted = question.wanted(given)
    if dialect == "sqlite":
        return wanted.add_columns(given.c.place).limit(bindparam("most"))
    # each by itself, by its index: as one join, Postgres may read the whole table for a few rows
    each = wanted.limit(question.most).lateral("each")
    return select(each, given.c.place).select_from(given.join(each, true())).limit(bindparam("most"))


@functools.cache
def _insert(dialect: str, table: Table, names: Names, *, key: Names, over: bool, found: Names) -> typing.Any:
    if dialect == "sqlite":
        insert: typing.Any = sqlite.insert(table)
    else:
        given = _given(dialect, _columns(table, names))
        insert = postgresql.insert(table).from_select(names, select(*(given.c[name] for name in names)))
    if over:
        others = {name: insert.excluded[name] for name in names if name not in key}
        insert = insert.on_conflict_do_update(index_elements=key, set_=others)
    elif key:
        insert = insert.on_conflict_do_nothing(index_elements=key)
    return insert.returning(*(table.c[name] for name in found)) if found else insert


@functools.cache
def _update(dialect: str, table: Table, names: Names) -> typing.Any:
    if dialect == "sqlite":
        return update(table).where(table.c.id == bindparam("ident"))
    given = _given(dialect, _columns(table, names))
    changed = {name: given.c[name] for name in names if name != "ident"}
    return update(table).where(table.c.id == given.c.ident).values(changed)


def _columns(table: Table, names: Names) -> Columns:
    return tuple((name, table.c["id" if name == "ident" else name].type) for name in names)


def _given(dialect: str, columns: Columns) -> FromClause:
    """Return the database's view of rows in a JSON text."""
    if dialect == "sqlite":
        each = func.json_each(bindparam("rows", type_=Text)).table_valued("value")
        values = (
            func.json_extract(each.c.value, f"$.{name}", type_=kind).label(name) for name, kind in columns
        )
        return select(*values).subquery("given")
    rows = func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    typed = (column(name, kind) for name, kind in columns)
    return rows.table_valued(*typed).render_derived(name="given", with_types=True)


def _parameters(connection: Connection, table: Table, rows: Rows) -> typing.Any:
    if connection.dialect.name == "sqlite":
        return rows
    nested = [name for name in rows[0] if name in table.c and isinstance(table.c[name].type, Json)]
    if nested:
        rows = [{**row, **{name: _text(row[name]) for name in nested}} for row in rows]
    return {"rows": json.dumps(rows)}


def _text(value: typing.Any) -> str | None:
    return None if value is None else json.dumps(value)
