"""Opens what the commands work with: the environment, the settings, the database."""

from __future__ import annotations

import contextlib
import os
import typing

from bridge import settings
from bridge.cli.run import ROOT, is_unconfigured, sandbox_surroundings
from bridge.storage.database import Database
from bridge.storage.search import Search

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.settings import Settings


def own_environ() -> dict[str, str]:
    """Return the environment as it is."""
    return dict(os.environ)


def read_environ() -> tuple[dict[str, str], bool]:
    """Return the environment, and whether it is the sandbox's because nothing is configured."""
    environ = own_environ()
    sandbox = is_unconfigured(environ, ROOT)
    return (sandbox_surroundings(environ, ROOT) if sandbox else environ), sandbox


def read_settings() -> Settings:
    """Return the settings, or the sandbox's; raises SettingsError."""
    environ, _ = read_environ()
    return settings.load(environ, ROOT)


@contextlib.contextmanager
def open_database(chosen: Settings, pool_size: int = 2) -> Iterator[Database]:
    """Open the database for as long as a command takes."""
    with contextlib.closing(Database(chosen.database_url, pool_size=pool_size)) as database:
        yield database


@contextlib.contextmanager
def open_search() -> Iterator[Search]:
    """Open the log for reading."""
    with open_database(read_settings()) as database:
        yield Search(database)
