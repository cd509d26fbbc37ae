"""What the running application works with, for its routes: settings, inbox, search and the rest."""

from __future__ import annotations

import typing

from flask import current_app

from bridge.errors import Rejected
from bridge.settings import Settings
from bridge.storage.database import Database
from bridge.storage.inbox import Inbox
from bridge.storage.search import Search
from bridge.storage.shared_state import SharedState

Json = dict[str, typing.Any]
T = typing.TypeVar("T")


def settings() -> Settings:
    """Returns the settings."""
    return typing.cast("Settings", current_app.extensions["settings"])


def inbox() -> Inbox:
    """Returns the inbox."""
    return typing.cast("Inbox", current_app.extensions["inbox"])


def database() -> Database:
    """Returns the database."""
    return inbox().database


def search() -> Search:
    """Returns the search over deliveries and cases."""
    return typing.cast("Search", current_app.extensions["search"])


def shared_state() -> SharedState:
    """Returns what the processes share."""
    return typing.cast("SharedState", current_app.extensions["shared_state"])


def delivery_or_404(id: str) -> Json:
    """Returns a delivery; raises Rejected where there is no such delivery."""
    return or_404(search().delivery(id), "delivery")


def case_or_404(id: str) -> Json:
    """Returns a case; raises Rejected where there is no such case."""
    return or_404(search().case(id), "case")


def or_404(result: T | None, kind: str) -> T:
    """Returns what a search has found; raises Rejected if that is nothing."""
    if result is None:
        raise Rejected("not_found", 404, f"There is no such {kind}.")
    return result
