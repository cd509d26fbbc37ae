"""Brings the database to the schema of this release, one process at a time."""

from __future__ import annotations

import functools
import pathlib
import typing

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from bridge.storage.schema import StateKind, shared_state
from bridge.storage.upsert import insert_or_update

if typing.TYPE_CHECKING:
    from bridge.storage.database import Database

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "config" / "migrations"
LOCK = 7_305_116_004_200_001
"""The advisory lock that migrations of this application take on Postgres."""


def make_config() -> Config:
    """Returns alembic's configuration: where the migrations are."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def upgrade(database: Database) -> None:
    """Migrates to the newest schema; raises Unavailable. Of several at the same time, each waits its turn."""
    config = make_config()
    with database.begin() as connection:
        if not database.sqlite:
            for limit in ("statement_timeout", "lock_timeout"):  # a large table takes its time
                connection.execute(text(f"SET LOCAL {limit} = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@functools.cache
def _newest() -> str | None:
    return ScriptDirectory.from_config(make_config()).get_current_head()


def problem(database: Database) -> str | None:
    """Returns why the database cannot store webhooks, or None; raises Unavailable.

    It writes a row, to notice a full disk.
    """
    newest = _newest()
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current is None:
        return "The database has no tables yet: run `bridge migrate`."
    if current != newest:
        return f"The database has the schema {current}, this release needs {newest}: run `bridge migrate`."
    row = {"kind": StateKind.READY, "name": "", "value": None, "at": database.now()}
    database.write(lambda connection: insert_or_update(connection, shared_state, row))
    return None
