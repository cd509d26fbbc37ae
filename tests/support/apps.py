"""Lends the web application to tests: compiling its routes and templates takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from bridge import logs
from bridge.settings import Settings
from bridge.storage.database import Database
from bridge.web.app import equip, make_routes

RETURNED: list[Flask] = []
"""Applications that tests have given back."""


@contextmanager
def lent_app(settings: Settings, database: Database, *, watch: bool = False) -> Iterator[Flask]:
    """An application as `create_app` makes it, whose routes another test may have had before.

    If you change more of it than its extensions, undo that at the end.
    """
    logs.set_up(settings.log_level)
    app = RETURNED.pop() if RETURNED else make_routes()
    app.extensions.clear()
    equip(app, settings, database, watch=watch)
    yield app
    RETURNED.append(app)
