"""Checks what can be wrong, each with its remedy in a sentence."""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass

from bridge import migrate
from bridge.errors import BridgeError, MissingScope, StoreRefused, Unavailable
from bridge.inbox import Inbox, token_key
from bridge.next_api import NextApi

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.database import Database
    from bridge.settings import Settings, Store


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    good: bool
    said: str
    remedy: str = ""


def examine(settings: Settings, database: Database) -> Iterator[Check]:
    """Look at the settings, the database and each store; makes two reading calls a store."""
    yield _has_stores(settings)
    yield _has_secrets(settings)
    checked = _database(database)
    yield checked
    if checked.good:
        inbox = Inbox(database, gap=settings.gap, lease=settings.lease)
        inbox.register(settings.stores.values())
        for store in settings.stores.values():
            yield from _store(settings, inbox, store)


def _has_stores(settings: Settings) -> Check:
    names = ", ".join(settings.stores) or "none"
    remedy = "Set NEXT_STORE and NEXT_ACCESS_TOKEN, or [stores.NAME] in config/bridge.toml."
    return Check("stores", bool(settings.stores), names, "" if settings.stores else remedy)


def _has_secrets(settings: Settings) -> Check:
    on = [name for name in settings.providers if settings.secrets.get(name)]
    remedy = "Set <PROVIDER>_SECRET for each provider that will call, such as ETHOCA_SECRET=user:password."
    return Check("providers", bool(on), ", ".join(on) or "all switched off", "" if on else remedy)


def _database(database: Database) -> Check:
    kind = "SQLite" if database.sqlite else "Postgres"
    try:
        problem = migrate.problem(database)
    except Unavailable as error:
        return Check("database", good=False, said=str(error), remedy="Check DATABASE_URL, and that it runs.")
    remedy = "Run `bridge migrate`." if problem else ""
    return Check("database", not problem, problem or f"{kind}, durable, schema current", remedy)


def _store(settings: Settings, inbox: Inbox, store: Store) -> Iterator[Check]:
    api = NextApi(store, version=settings.api_version, timeout=settings.timeout, clock=inbox.now)
    scopes = {"disputes/": "disputes:read and disputes:write", "transactions/": "transactions:read"}
    for path, scope in scopes.items():
        what = f"{store.name}: {path.rstrip('/')}"
        time.sleep(max(inbox.take_slot(token_key(store.token)) - inbox.now(), 0.0))
        params = {"case_number": "bridge-doctor"} if path == "disputes/" else {"external_id": "bridge-doctor"}
        try:
            api.call("GET", path, params=params)
        except (StoreRefused, MissingScope) as error:
            yield Check(
                what, good=False, said=str(error), remedy=f"Give the store's token the scopes {scope}."
            )
        except BridgeError as error:
            yield Check(what, good=False, said=str(error), remedy="Check the store's name, then try again.")
        else:
            yield Check(what, good=True, said=f"readable at {store.base_url}")
    api.close()
