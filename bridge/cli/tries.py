"""The commands to try things out: `send` and `explain`."""

from __future__ import annotations

import json
import pathlib
import random
import re
import sys
import typing
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

import click

from bridge.alert import Webhook
from bridge.cli import samples
from bridge.cli.access import open_bridge, read_environ
from bridge.cli.options import as_json
from bridge.cli.printing import print_json
from bridge.cli.progress import Progress
from bridge.cli.run import SANDBOX_STORE
from bridge.errors import BridgeError
from bridge.providers.base import Provider
from bridge.settings import Settings
from bridge.storage.search import Search
from bridge.worker.explain import Explained
from bridge.worker.explain import explain as explain_webhook


@click.command()
@click.argument("provider")
@click.option(
    "--event", metavar="TYPE", help="The provider's event type; default: the first that opens a case."
)
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Samples to send.")
@click.option("--url", help="The webhook's URL, if not on this machine.")
def send(provider: str, event: str | None, count: int, url: str | None) -> int:
    """Post signed samples of a provider to the bridge."""
    _, settings, sandbox = read_environ()
    sender = _sender(settings, provider)
    event = (event or samples.events(sender)[0]).lower()
    if event not in sender.events:
        raise BridgeError(f"{sender.title} has {', '.join(samples.events(sender))}, not {event!r}.")
    sandbox_url = settings.stores[SANDBOX_STORE].base_url if sandbox else None
    chance, accepted = random.Random(), 0  # noqa: S311  not for secrets
    with Progress("sent", count) as progress:
        for _ in range(count):
            sale = samples.make_sale(chance, datetime.now(UTC))
            if sandbox_url:
                sales_url = urlsplit(sandbox_url)._replace(path="/sandbox/transactions").geturl()
                post(sales_url, sale.to_transaction())
            for status, text in _send(settings, sender, event, sale, chance, url):
                progress.print(f"{status} {text}")
            accepted += 200 <= status < 300  # of the last webhook, which is the requested event
            progress.advance()
    return 0 if accepted == count else 1


def _sender(settings: Settings, name: str) -> Provider:
    """Returns a provider that can send samples to the bridge; raises BridgeError."""
    provider = settings.providers.get(name)
    if provider is None:
        raise BridgeError(f"There is no provider {name!r}; see `bridge providers`.")
    if provider.object_path:
        raise BridgeError(f"{provider.title} does not send alerts. It reports transactions and disputes.")
    if not settings.secrets.get(provider.name):
        raise BridgeError(f"{provider.secret_variable} is not set.")
    return provider


def _send(
    settings: Settings,
    provider: Provider,
    event: str,
    sale: samples.Sale,
    chance: random.Random,
    url: str | None,
) -> Iterator[tuple[int, str]]:
    """Posts an event about a sale, after the one that opens its case if need be. Yields the answers."""
    secret, base = settings.secrets[provider.name][0], url or settings.url_of(provider.name)
    key = {"key": secret} if provider.proof.kind == "url" else {}
    for event_type in filter(None, (samples.opening(provider, event), event)):
        now = datetime.now(UTC)
        sample = samples.make(provider, event_type, sale, chance, now)
        target = base + ("?" + urlencode(query) if (query := sample.query | key) else "")
        path = target.removeprefix("{0.scheme}://{0.netloc}".format(urlsplit(target)))
        signed = samples.sign(provider, sample, secret, now, settings.base_url + path)
        yield post(target, signed.body, signed.headers)


def post(url: str, body: typing.Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Posts bytes, or a value as JSON. Returns the status and the text of the answer.

    It is a plain HTTP client, as a provider's is. Raises BridgeError for an invalid URL, OSError if nobody
    answers.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if not re.match(r"https?://[^/]", url):
        raise BridgeError(f"{url!r} is not a URL such as https://alerts.example.com/webhooks/ethoca.")
    request = urllib.request.Request(  # noqa: S310  the URL is the operator's own
        url, content, {"Content-Type": "application/json"} | (headers or {}), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read(4000).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(4000).decode("utf-8", "replace")


@click.command()
@click.argument("provider")
@click.argument("file", required=False)
@click.option("--header", multiple=True, metavar="NAME:VALUE", help="A header of the webhook.")
@as_json
def explain(provider: str, file: str | None, header: tuple[str, ...], *, as_json: bool) -> int:
    """Show how a body would be translated, without any call.

    FILE holds the body as it arrives; - is standard input. Without a file, PROVIDER is the id of a stored
    delivery.
    """
    with open_bridge() as (settings, database):
        webhook = _read(provider, file, header) if file else _stored(Search(database), provider)
        sender = settings.providers.get(webhook.provider)
        if sender is None:
            raise BridgeError(f"There is no provider {webhook.provider!r}; see `bridge providers`.")
        explained = explain_webhook(settings, sender, webhook, datetime.now(UTC))
    if as_json:
        print_json([item.to_json() for item in explained])
    else:
        for item in explained:
            _print_explained(item)
    return 1 if any(item.problem for item in explained) else 0


def _read(provider: str, file: str, headers: tuple[str, ...]) -> Webhook:
    """Returns a webhook of a provider whose body is in a file."""
    body = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
    return Webhook(provider, f"/webhooks/{provider}", body, dict(map(_header, headers)))


def _stored(search: Search, ident: str) -> Webhook:
    """Returns the webhook of a stored delivery."""
    delivery = search.delivery(ident)
    body = search.body(delivery["webhook_id"]) if delivery else None
    if delivery is None or body is None:
        raise BridgeError(f"{ident!r} is not a delivery with a stored body. Give a FILE.")
    stored = delivery["webhook"]
    query = stored.get("query") or {}
    return Webhook(stored["provider"], stored["path"], body, stored["headers"], query, stored["store"])


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise BridgeError(f"{text!r} is not a header such as 'X-Event-Type: alert.created'.")
    return name.strip().lower(), value.strip()


def _print_explained(item: Explained) -> None:
    click.echo(f"event   {item.event_type or '-'}  ({item.event_id or 'no id'})")
    for row in item.fields:
        result = "REFUSED: " + " ".join(row["refused"]) if row["refused"] else row["became"] or "-"
        click.echo(f"  {row['path']:<28} {row['value']!s:<34.34} {row['field']:<24} {result}")
    shown = {row["path"] for row in item.fields}
    for path, messages in item.errors.items():
        if path not in shown:
            click.echo(f"  {path:<28} {'':<34} {'':<24} REFUSED: {' '.join(messages)}")
    if item.problem:
        click.echo(f"failed  {item.problem}")
        return
    click.echo(f"effect  {item.effect}" + (f" ({item.reason})" if item.reason else ""))
    if item.outcome:
        click.echo(f"outcome {item.outcome}")
    if item.case:
        store = item.store or "- (no route)"
        click.echo(f"case    {item.case['type']} {item.case['case_number']} in store {store}")
    for request in item.requests:
        sent = json.dumps(request["params"] or request["body"])
        click.echo(f"would   {request['method']} {request['path']} {sent}")
