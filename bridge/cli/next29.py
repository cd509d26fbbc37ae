"""The commands that compare and synchronize with 29next: `backfill`, `subscribe`, `reconcile`, `recover`."""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Callable, Iterator
from datetime import date, datetime

import click

from bridge.cli.access import open_bridge
from bridge.cli.options import read_day, read_moment
from bridge.cli.progress import Progress
from bridge.errors import BridgeError
from bridge.next29.client import NextApi
from bridge.settings import Settings, Store
from bridge.storage.inbox import Inbox, open_inbox
from bridge.storage.transactions import DAY
from bridge.worker.backfill import Backfill
from bridge.worker.client import client_of
from bridge.worker.reconcile import reconcile as differences
from bridge.worker.subscriptions import events_of
from bridge.worker.subscriptions import subscribe as keep_subscription

MOST_DAYS = 3650

T = typing.TypeVar("T")


@contextlib.contextmanager
def open_store(name: str) -> Iterator[tuple[Settings, Inbox, NextApi, Store]]:
    """Opens a store for calls; raises BridgeError if there is no such store, or no token for it."""
    with open_bridge() as (settings, database):
        store = settings.stores.get(name)
        if store is None:
            raise BridgeError(f"There is no store {name!r}; see `bridge stores`.")
        if store.missing:
            raise BridgeError(f"{name} cannot be called. {store.missing}")
        inbox = open_inbox(database, settings)
        inbox.stores.register([store])
        with contextlib.closing(client_of(store, inbox, settings)) as api:
            yield settings, inbox, api, store


@click.command()
@click.option("--store", "name", required=True, metavar="STORE")
@click.option("--days", type=int, default=200, show_default=True, help="How far back the index reaches.")
def backfill(name: str, days: int) -> None:
    """Fill the local index of a store's transactions."""
    if not 1 <= days <= MOST_DAYS:
        raise BridgeError(f"--days must be a number from 1 to {MOST_DAYS}.")
    with open_store(name) as (_, inbox, api, store), Progress("days", days) as progress:

        def show(line: str) -> None:
            progress.print(line)
            progress.advance(_covered_days(inbox, store, days) - progress.bar.pos)

        try:
            count = Backfill(inbox, api, store, report=show).run(days)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Run it again to continue.") from None
    click.echo(f"{count} transactions new or changed.")


def _covered_days(inbox: Inbox, store: Store, days: int) -> int:
    """Returns how many of the last days the index covers."""
    now = inbox.now()
    start = now - days * DAY
    periods = inbox.transactions.covered(store.name)
    seconds = sum(max(min(until, now) - max(since, start), 0) for since, until in periods)
    return round(seconds / DAY)


@click.command()
@click.option("--store", "name", required=True, metavar="STORE")
def subscribe(name: str) -> None:
    """Create or repair 29next's webhook subscription of a store."""
    with open_store(name) as (settings, _, api, store):
        secret = settings.signing_secret(store)
        if secret is None or settings.public_url is None:
            raise BridgeError("NEXT_WEBHOOK_SECRET and BRIDGE_PUBLIC_URL must be set to subscribe.")
        target = f"{settings.url_of('next')}/{store.name}"
        done = keep_subscription(api, target, secret, settings.api_version, events=events_of(store))
    click.echo(f"{target} {done}")


@click.command()
@click.option("--store", "name", required=True, metavar="STORE")
@click.option("--since", required=True, metavar="YYYY-MM-DD", callback=read_day, help="The first day.")
def reconcile(name: str, since: date) -> int:
    """Compare with 29next; no output means no difference."""
    with open_store(name) as (_, inbox, api, store), Progress("calls to 29next") as progress:
        if api.take:
            api.take = _counted(api.take, progress)
        lines = list(differences(inbox, api, store, since))
    for line in lines:
        click.echo(line)
    return 1 if lines else 0


def _counted(take: Callable[[], T], progress: Progress) -> Callable[[], T]:
    """Returns a function that takes a slot and moves the bar: each call takes one slot."""

    def take_counted() -> T:
        progress.advance()
        return take()

    return take_counted


@click.command()
@click.option("--since", required=True, metavar="TIME", callback=read_moment, help="When it was made.")
@click.option("--store", "name", metavar="STORE", help="Only the cases of this store.")
def recover(since: datetime, name: str | None) -> None:
    """After restoring a backup: look up every case at 29next first."""
    with open_bridge() as (settings, database):
        if name and name not in settings.stores:
            raise BridgeError(f"There is no store {name!r}; see `bridge stores`.")
        count = open_inbox(database, settings).cases.recover(since.timestamp(), name)
    click.echo(f"Cases to be looked up before anything is sent for them: {count}")
