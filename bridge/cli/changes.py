"""The commands by which a person decides: `replay`, `dismiss`, `match`, `outcome`."""

from __future__ import annotations

import typing

import click

from bridge.alert import Status
from bridge.cli.access import open_database, read_settings
from bridge.cli.options import filtered
from bridge.cli.progress import Progress
from bridge.errors import BridgeError
from bridge.storage.filters import DELIVERY_FILTERS
from bridge.storage.inbox import open_inbox
from bridge.storage.search import Search
from bridge.worker.choice import choices, choose

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.storage.inbox import Inbox

MOST = 500
"""Deliveries that one command changes by filter; the log's pages change more."""
AT_ONCE = 50
"""Of these in one transaction: webhooks may wait for it."""


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@filtered(DELIVERY_FILTERS, "status", "provider", "store", "reason", "case_number", "since", "until")
def replay(ids: tuple[str, ...], filters: dict[str, str]) -> None:
    """Process deliveries again, or send the outcomes of a case again.

    Name deliveries or cases by id, or filter deliveries.
    """
    if not ids and not filters:
        raise BridgeError("Give ids of deliveries, or a filter such as --status failed.")

    def change(inbox: Inbox, some: Sequence[str]) -> list[str]:
        cases = [ident for ident in some if ident.startswith("c_") and inbox.outcomes.send_again(ident)]
        return inbox.deliveries.replay(some) + cases

    left = _change(ids, filters, change, "replayed")
    if left:
        raise BridgeError(
            f"Not replayed (pending, already sent, unknown or without a body): {', '.join(left)}"
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

    def change(inbox: Inbox, some: Sequence[str]) -> list[str]:
        return inbox.deliveries.dismiss(some)

    left = _change(ids, {**filters, "status": Status.FAILED}, change, "dismissed")
    if left:
        raise BridgeError(f"Not dismissed (unknown, or not failed): {', '.join(left)}")


def _change(
    ids: Sequence[str],
    filters: dict[str, str],
    change: Callable[[Inbox, Sequence[str]], list[str]],
    word: str,
) -> list[str]:
    """Change what is named, or else what the filters find, some at a time; returns what was left as it is."""
    chosen = read_settings()
    with open_database(chosen) as database:
        inbox = open_inbox(database, chosen)
        ids = ids or Search(database).ids(filters, MOST)
        changed: set[str] = set()
        with Progress(word, len(ids)) as progress:
            for start in range(0, len(ids), AT_ONCE):
                some = ids[start : start + AT_ONCE]
                for ident in change(inbox, some):
                    progress.say(f"{ident} {word}")
                    changed.add(ident)
                progress.advance(len(some))
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
    chosen = read_settings()
    with open_database(chosen) as database:
        wanted = None if transaction == "none" else int(transaction)
        if not open_inbox(database, chosen).cases.decide(case, wanted):
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
    settings = read_settings()
    with open_database(settings) as database:
        inbox = open_inbox(database, settings)
        found = Search(database).case(case)
        if found is None:
            raise BridgeError(f"There is no case {case!r}.")
        if provider and word:
            choose(inbox, settings, found, provider, word, "cli")
            click.echo(f"{case} saved. The worker sends {word} to {provider}.")
            return
        offered = choices(inbox, settings, found)
        names = [name for name in offered if provider in (None, name)]
        if not names:
            raise BridgeError(f"No outcome of {case} waits for a word.")
        for name in names:
            for one in offered[name]:
                click.echo(f"{name} {one.name}  {one.says}")
