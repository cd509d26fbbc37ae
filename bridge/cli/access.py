"""Opens what commands work with: the environment, the settings, the database."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from bridge.cli.run import is_unconfigured, sandbox_environ
from bridge.settings import ROOT, Settings, load
from bridge.storage.database import Database
from bridge.storage.installations import with_installed


def process_environ() -> dict[str, str]:
    """Returns a copy of the environment, without an empty WEB_CONCURRENCY, which gunicorn cannot read."""
    return {name: value for name, value in os.environ.items() if value or name != "WEB_CONCURRENCY"}


def read_environ() -> tuple[dict[str, str], Settings, bool]:
    """Returns the environment, its settings, and whether they are the sandbox's: nothing is configured."""
    environ = process_environ()
    sandbox = is_unconfigured(environ, ROOT)
    if sandbox:
        environ = sandbox_environ(environ, ROOT)
    return environ, load(environ, ROOT), sandbox


def read_settings() -> Settings:
    """Returns the settings, or the sandbox's if nothing is configured; raises SettingsError."""
    return read_environ()[1]


@contextlib.contextmanager
def open_database(settings: Settings, pool_size: int = 2) -> Iterator[Database]:
    """Opens the database, and closes it after the block."""
    with contextlib.closing(Database(settings.database_url, pool_size=pool_size)) as database:
        yield database


@contextlib.contextmanager
def open_bridge() -> Iterator[tuple[Settings, Database]]:
    """Opens the database, and reads the settings, with the installed stores among theirs."""
    settings = read_settings()
    with open_database(settings) as database:
        yield with_installed(settings, database), database
