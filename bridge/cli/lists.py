"""The commands that list and show: `deliveries`, `cases`, `show`, `providers`, `stores`."""

from __future__ import annotations

import click

from bridge.cli.access import open_bridge, open_database, read_settings
from bridge.cli.options import as_json, filtered
from bridge.cli.printing import print_details, print_json, print_list
from bridge.errors import BridgeError
from bridge.settings import Settings
from bridge.storage.database import Database
from bridge.storage.filters import CASE_FILTERS, DELIVERY_FILTERS
from bridge.storage.inbox import open_inbox
from bridge.storage.installations import with_installed
from bridge.storage.search import Search
from bridge.worker.notify import span

DELIVERY_COLUMNS = (
    *("received_at", "id", "provider", "event_type", "status", "reason"),
    *("store", "dispute_id", "case_number"),
)
CASE_COLUMNS = (
    *("id", "store", "case_number", "type", "state", "dispute_id"),
    *("transaction_id", "resolution", "amount", "currency"),
)
STORE_COLUMNS = ("name", "base_url", "waiting", "paused_at", "paused_why", "token")
DELIVERY_OPTIONS = (
    *("status", "provider", "store", "reason", "effect"),
    *("case_number", "since", "until", "limit"),
)
CASE_OPTIONS = ("state", "store", "type", "case_number", "arn", "provider", "limit")


@click.command()
@filtered(DELIVERY_FILTERS, *DELIVERY_OPTIONS)
@as_json
def deliveries(filters: dict[str, str], *, as_json: bool) -> None:
    """List the alerts received."""
    with open_bridge() as (_, database):
        page = Search(database).deliveries(filters).to_json()
    print_list(page, DELIVERY_COLUMNS, as_json=as_json)


@click.command()
@filtered(CASE_FILTERS, *CASE_OPTIONS)
@as_json
def cases(filters: dict[str, str], *, as_json: bool) -> None:
    """List cases."""
    with open_bridge() as (_, database):
        page = Search(database).cases(filters).to_json()
    print_list(page, CASE_COLUMNS, as_json=as_json)


@click.command()
@click.argument("ident", metavar="ID")
@as_json
def show(ident: str, *, as_json: bool) -> None:
    """Show everything about a delivery, a case or a webhook."""
    with open_bridge() as (_, database):
        stored = Search(database).find(ident)
    if stored is None:
        raise BridgeError(f"Nothing has the id {ident!r}.")
    if as_json:
        print_json(stored)
    else:
        print_details(stored)


@click.command()
@as_json
def providers(*, as_json: bool) -> None:
    """List the providers: URL, authentication, secret, last delivery."""
    with open_bridge() as (settings, database):
        last, pulled = Search(database).last_deliveries(), settings.pulled
    rows = [
        {
            "provider": name,
            "url": settings.url_of(name),
            "proof": provider.proof.kind,
            "secret": "set" if settings.secrets.get(name) else "missing (off)",
            "pulled": f"every {span(pulled[name].every or 0.0)}" if name in pulled else None,
            "last_delivery": last.get(name),
        }
        for name, provider in settings.providers.items()
    ]
    print_list({"results": rows, "next": None}, tuple(rows[0]), as_json=as_json)


@click.command()
@click.option("--forget", metavar="NAME", help="Forget a store that is gone, and dismiss what waits for it.")
@as_json
def stores(*, forget: str | None, as_json: bool) -> None:
    """List the stores: address, backlog, pause."""
    settings = read_settings()
    with open_database(settings) as database:
        if forget is not None:
            click.echo(_forget(settings, database, forget))
            return
        stored = {row["name"]: row for row in Search(database).stores()}
        all_stores = list(with_installed(settings, database).stores.values())
    rows = [
        {"waiting": 0, "paused_at": None, "paused_why": None}
        | stored.get(store.name, {})
        | {"name": store.name, "base_url": store.base_url}
        | {"token": store.missing or ("installed" if store.installed else "configured")}
        for store in all_stores
    ]
    print_list({"results": rows, "next": None}, STORE_COLUMNS, as_json=as_json)


def _forget(settings: Settings, database: Database, name: str) -> str:
    """Forgets a store that is neither configured nor installed any more. Returns what was done."""
    if name in settings.stores:
        raise BridgeError(f"{name} is configured. Remove it from the settings first.")
    store = with_installed(settings, database).stores.get(name)
    if store is not None and not store.missing:
        raise BridgeError(f"{name} is installed. Its merchant must remove the app first.")
    count = open_inbox(database, settings).stores.forget(name)
    if count is None:
        raise BridgeError(f"There is no store {name!r}; see `bridge stores`.")
    return f"{name} is forgotten. Put aside: {count}, to be replayed if the store comes back."
