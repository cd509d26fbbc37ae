"""Opens what commands work with: the environment, the settings, the database."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from bridge.cli.run import ROOT, is_unconfigured, sandbox_environ
from bridge.settings import Settings, load
from bridge.storage.database import Database
from bridge.storage.search import Search


def process_environ() -> dict[str, str]:
    """Return a copy of this process's environment."""
    return dict(os.environ)


def read_environ() -> tuple[dict[str, str], bool]:
    """Return the environment, and whether it is the sandbox's because nothing is configured."""
    environ = process_environ()
    sandbox = is_unconfigured(environ, ROOT)
    return (sandbox_environ(environ, ROOT) if sandbox else environ), sandbox


def read_settings() -> Settings:
    """Return the settings, or the sandbox's if nothing is configured; raises SettingsError."""
    environ, _ = read_environ()
    return load(environ, ROOT)


@contextlib.contextmanager
def open_database(settings: Settings, pool_size: int = 2) -> Iterator[Database]:
    """Open the database, and close it after the block."""
    with contextlib.closing(Database(settings.database_url, pool_size=pool_size)) as database:
        yield database


@contextlib.contextmanager
def open_search() -> Iterator[Search]:
    """Open the search over deliveries and cases."""
    with open_database(read_settings()) as database:
        yield Search(database)
