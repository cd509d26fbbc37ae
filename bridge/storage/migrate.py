"""Brings the database to the schema of this release, one process at a time."""

from __future__ import annotations

import pathlib
import typing

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

if typing.TYPE_CHECKING:
    from bridge.storage.database import Database

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "config" / "migrations"
LOCK = 7_305_116_004_200_001
"""The advisory lock that migrations of this application take on Postgres."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def upgrade(database: Database) -> None:
    """Migrate to the newest schema; several at the same time wait for each other; raises Unavailable."""
    config = _config()
    with database.begin() as connection:
        if not database.sqlite:
            for limit in ("statement_timeout", "lock_timeout"):  # a large table takes its time
                connection.execute(text(f"SET LOCAL {limit} = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def problem(database: Database) -> str | None:
    """Say what keeps the database from taking webhooks, or None; raises Unavailable."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != newest:
        return f"The database's schema is {current or 'missing'}, not {newest}: run `bridge migrate`."
    database.write(
        lambda connection: connection.execute(text("UPDATE paces SET next_at = next_at WHERE 1 = 0"))
    )
    return None
