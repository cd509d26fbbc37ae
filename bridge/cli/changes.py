"""The commands that change deliveries and cases: `replay`, `dismiss`, `match`, `outcome`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from bridge.alert import Status
from bridge.cli.access import open_bridge
from bridge.cli.options import filtered
from bridge.cli.progress import Progress
from bridge.errors import BridgeError
from bridge.storage.filters import DELIVERY_FILTERS
from bridge.storage.inbox import Inbox, open_inbox
from bridge.storage.search import Search
from bridge.worker.choice import choices, choose

MOST = 500
"""Deliveries that one command changes by filter. A bulk replay in the viewer changes more."""
CHUNK = 50
"""Deliveries that it changes in one transaction, for which webhooks may have to wait."""


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filtered(DELIVERY_FILTERS, "status", "provider", "store", "reason", "case_number", "since", "until")
def replay(ids: tuple[str, ...], filters: dict[str, str]) -> None:
    """Process deliveries again, or send the outcomes of a case again.

    Name deliveries or cases by id, or filter deliveries.
    """
    if not ids and not filters:
        raise BridgeError("Give ids of deliveries, or a filter such as --status failed.")

    def change(inbox: Inbox, chunk: Sequence[str]) -> list[str]:
        cases = [ident for ident in chunk if ident.startswith("c_") and inbox.outcomes.send_again(ident)]
        return inbox.deliveries.replay(chunk) + cases

    unchanged = _change(ids, filters, change, "replayed")
    if unchanged:
        raise BridgeError(
            f"Not replayed (pending, already sent, unknown or without a body): {', '.join(unchanged)}"
        )


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filtered(DELIVERY_FILTERS, "provider", "store", "reason", "case_number", "since", "until")
def dismiss(ids: tuple[str, ...], filters: dict[str, str]) -> None:
    """Dismiss failed deliveries.

    Name deliveries by id, or filter them.
    """
    if not ids and not filters:
        raise BridgeError("Give ids of deliveries, or a filter such as --reason unknown_event.")

    def change(inbox: Inbox, chunk: Sequence[str]) -> list[str]:
        return inbox.deliveries.dismiss(chunk)

    unchanged = _change(ids, {**filters, "status": Status.FAILED}, change, "dismissed")
    if unchanged:
        raise BridgeError(f"Not dismissed (unknown, or not failed): {', '.join(unchanged)}")


def _change(
    ids: Sequence[str],
    filters: dict[str, str],
    change: Callable[[Inbox, Sequence[str]], list[str]],
    done: str,
) -> list[str]:
    """Changes the deliveries with these ids, or those that pass the filters. Returns the unchanged ids."""
    with open_bridge() as (settings, database):
        inbox = open_inbox(database, settings)
        ids = ids or Search(database).ids(filters, MOST)
        changed: set[str] = set()
        with Progress(done, len(ids)) as progress:
            for start in range(0, len(ids), CHUNK):
                chunk = ids[start : start + CHUNK]
                for ident in change(inbox, chunk):
                    progress.print(f"{ident} {done}")
                    changed.add(ident)
                progress.advance(len(chunk))
    return [ident for ident in ids if ident not in changed]


@click.command()
@click.argument("case")
@click.argument("transaction")
def match(case: str, transaction: str) -> None:
    """Attach a transaction to a case, or state that there is none.

    TRANSACTION is the transaction's id at 29next, or the word none.
    """
    if transaction != "none" and not transaction.isdecimal():
        raise BridgeError(f"Expected a transaction number or none, not {transaction!r}.")
    number = None if transaction == "none" else int(transaction)
    with open_bridge() as (settings, database):
        if not open_inbox(database, settings).cases.decide(case, number):
            raise BridgeError(f"{case!r} does not need a transaction, or does not exist.")
    click.echo(f"{case} saved. The worker updates 29next.")


@click.command()
@click.argument("case")
@click.argument("provider", required=False)
@click.argument("word", required=False)
def outcome(case: str, provider: str | None, word: str | None) -> None:
    """Choose the word to send to a provider as an outcome.

    Without WORD, list the words that you may choose from. The first outcome stands at the provider.
    """
    with open_bridge() as (settings, database):
        inbox = open_inbox(database, settings)
        stored = Search(database).case(case)
        if stored is None:
            raise BridgeError(f"There is no case {case!r}.")
        if provider and word:
            choose(inbox, settings, stored, provider, word, "cli")
            click.echo(f"{case} saved. The worker sends {word} to {provider}.")
            return
        offered = choices(inbox, settings, stored)
        names = [name for name in offered if provider in (None, name)]
        if not names:
            raise BridgeError(f"No outcome of {case} waits for a word.")
        for name in names:
            for choice in offered[name]:
                click.echo(f"{name} {choice.name}  {choice.says}")
