"""The command line: `bridge ...`. Wires the same parts as the processes, and prints for a person."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import sys
import typing
from datetime import UTC, date, datetime
from functools import partial
from urllib.parse import urlencode, urlsplit

from bridge import __version__, logs, settings
from bridge.alert import Status, Webhook
from bridge.cli import doctor, run, samples
from bridge.cli.send import post
from bridge.errors import BridgeError, SettingsError
from bridge.next29.client import NextApi
from bridge.storage import migrate
from bridge.storage.database import Database
from bridge.storage.inbox import Inbox, open_inbox
from bridge.storage.installations import with_installed
from bridge.storage.search import BadFilter, Search
from bridge.web.app import ROOT
from bridge.worker.backfill import Backfill
from bridge.worker.client import client_of
from bridge.worker.explain import Explained, explain
from bridge.worker.forward import Forwarder
from bridge.worker.jobs import Chores
from bridge.worker.reconcile import reconcile
from bridge.worker.subscriptions import events_of, subscribe
from bridge.worker.translate import Judge

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bridge.settings import Settings, Store

Json = dict[str, typing.Any]
WORKER_POOL = 12
"""Connections of a worker with many stores; 6 are enough for one, and each more takes one more."""
NOT_MIGRATED = re.compile(r"no such (table|column)|(relation|column) \S+ does not exist")
MOST_DAYS = 3650
LAST_PORT = 65_535


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors are one line on stderr and status 1, settings' are 2 and all of them."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has seen enough
        return 1
    except KeyboardInterrupt as error:
        print(f"bridge: stopped. {error}".rstrip(), file=sys.stderr)
        return 130
    except (BridgeError, BadFilter, OSError) as error:
        hint = " (run `bridge migrate`)" if NOT_MIGRATED.search(str(error)) else ""
        print(f"bridge: {str(error).splitlines()[0]}{hint}", file=sys.stderr)
        return 1


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with arguments as every other error is said: in one line."""

    def error(self, message: str) -> typing.NoReturn:
        self.exit(1, f"bridge: {message} (see `{self.prog} --help`)\n")


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= LAST_PORT):
        raise argparse.ArgumentTypeError(f"expected a number up to {LAST_PORT}, not {text!r}")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a date such as 2026-01-31, not {text!r}") from None


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        said = f"expected a time such as 2026-01-31T12:00:00+00:00, not {text!r}"
        raise argparse.ArgumentTypeError(said) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="bridge", description="Chargeback alerts become 29next disputes.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int | None], help_: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_)
        command.set_defaults(run=run)
        return command

    add("run", _run, "migrate, then web and worker on this machine; the sandbox where nothing is configured")
    add("worker", _worker, "translate and forward what the inbox owes")
    add("migrate", _migrate, "bring the database to this release's schema")
    sandbox = add("sandbox", _sandbox, "run a pretend 29next store")
    sandbox.add_argument("--port", type=_port, default=8001)
    sandbox.add_argument("--token", default=run.SANDBOX_TOKEN)
    send = add("send", _send, "post signed samples of a provider to the bridge")
    send.add_argument("provider")
    send.add_argument("--event", help="the provider's event type; the first one that opens by default")
    send.add_argument("--count", type=int, default=1)
    send.add_argument("--url", help="the webhook's URL, where it is not this machine's")
    deliveries = add("deliveries", _deliveries, "list what was received")
    _add_filters(
        deliveries, "status", "provider", "store", "reason", "effect", "case_number", "since", "until"
    )
    cases = add("cases", _cases, "list cases")
    _add_filters(cases, "state", "store", "type", "case_number", "arn", "provider")
    for command in (deliveries, cases):
        command.add_argument("--limit", default="50")
        command.add_argument("--json", action="store_true")
    show = add("show", _show, "show a delivery, a case or a webhook whole")
    show.add_argument("id")
    replay = add(
        "replay",
        _replay,
        "put deliveries back into the queue, by id or by filter; or tell the outcomes of a case again",
    )
    replay.add_argument("ids", nargs="*", metavar="ID")
    _add_filters(replay, "status", "provider", "store", "reason", "case_number", "since", "until")
    dismiss = add("dismiss", _dismiss, "put failed deliveries aside, by id or by filter")
    dismiss.add_argument("ids", nargs="*", metavar="ID")
    _add_filters(dismiss, "provider", "store", "reason", "case_number", "since", "until")
    explain_ = add("explain", _explain, "show what a body would become, field by field; makes no call")
    explain_.add_argument("provider", help="its name; or the id of a stored delivery, without a file")
    explain_.add_argument("file", nargs="?", help="the body as it arrives; - for standard input")
    explain_.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    _add_way_back(add)
    doctor_ = add("doctor", _doctor, "look at everything that can be wrong, each with its remedy")
    doctor_.add_argument(
        "--spec",
        type=pathlib.Path,
        metavar="FILE",
        help="also compare with 29next's OpenAPI document, in JSON (or in YAML, where PyYAML is installed)",
    )
    listed = (
        add("providers", _providers, "list the providers: URL, proof, secret, last delivery"),
        add("stores", _stores, "list the stores: address, backlog, pause"),
        doctor_,
    )
    for command in (show, explain_, *listed):
        command.add_argument("--json", action="store_true")
    return parser


def _add_way_back(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands that compare and match with what 29next has."""
    match = add("match", _match, "attach a transaction to a case, or state that there is none")
    match.add_argument("case")
    match.add_argument("transaction", help="the transaction's id, or none")
    backfill = add("backfill", _backfill, "fill the local index of a store's transactions")
    backfill.add_argument("--store", required=True)
    backfill.add_argument("--days", type=int, default=200)
    subscribe_ = add("subscribe", _subscribe, "create or repair 29next's webhook subscription of a store")
    subscribe_.add_argument("--store", required=True)
    reconcile_ = add("reconcile", _reconcile, "compare with 29next; no output means that both agree")
    reconcile_.add_argument("--store", required=True)
    reconcile_.add_argument("--since", type=_day, required=True, metavar="YYYY-MM-DD")
    recover = add("recover", _recover, "after a restored backup: look every case up before going on")
    recover.add_argument("--since", type=_time, required=True, metavar="TIME")
    recover.add_argument("--store")


def _add_filters(command: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        command.add_argument(f"--{name.replace('_', '-')}", dest=f"filter_{name}", metavar="VALUE")


def _filters(options: argparse.Namespace) -> dict[str, str]:
    found = {k.removeprefix("filter_"): v for k, v in vars(options).items() if k.startswith("filter_") and v}
    return found | ({"limit": options.limit} if "limit" in options else {})


# what the commands stand on


def _environ() -> dict[str, str]:
    environ = dict(os.environ)
    return run.sandbox_surroundings(environ, ROOT) if run.is_unconfigured(environ, ROOT) else environ


def _settings() -> Settings:
    return settings.load(_environ(), ROOT)


@contextlib.contextmanager
def _database(chosen: Settings, pool_size: int = 2) -> Iterator[Database]:
    database = Database(chosen.database_url, pool_size=pool_size)
    try:
        yield database
    finally:
        database.close()


@contextlib.contextmanager
def _search() -> Iterator[Search]:
    with _database(_settings()) as database:
        yield Search(database)


# processes


def _run(_: argparse.Namespace) -> int:
    environ = dict(os.environ)
    sandbox = run.is_unconfigured(environ, ROOT)
    if sandbox:
        environ = run.sandbox_surroundings(environ, ROOT)
    chosen = settings.load(environ, ROOT)
    if not chosen.stores and not chosen.encryption_keys:
        raise SettingsError(["NEXT_STORE: missing; no store is configured, here or in config/bridge.toml"])
    with _database(chosen) as database:
        migrate.upgrade(database)
    _greet(chosen, sandbox=sandbox)
    return run.run(environ, sandbox=sandbox)


def _greet(chosen: Settings, *, sandbox: bool) -> None:
    if sandbox:
        print("*** SANDBOX: no store is configured, so this is a pretend one, with made-up secrets. ***")
        print("*** Nothing reaches 29next. Set NEXT_STORE and NEXT_ACCESS_TOKEN for the real thing. ***")
    print("Webhook URLs:")
    for name, known in chosen.providers.items():
        if chosen.secrets.get(name):
            print(f"  {known.title:<16} {chosen.url_of(name)}")
    off = [name for name in chosen.providers if not chosen.secrets.get(name)]
    if off:
        print(f"  switched off, for they have no secret: {', '.join(off)}")
    if sandbox:
        print("Try, in another terminal:\n  .venv/bin/bridge send ethoca && .venv/bin/bridge deliveries")
    sys.stdout.flush()


def worker_pool(stores: int) -> int:
    """Return how many connections a worker may take."""
    return min(5 + max(stores, 1), WORKER_POOL)


def _worker(_: argparse.Namespace) -> None:
    from bridge.worker import loop as worker  # noqa: PLC0415  threads and signals are the worker's alone

    chosen = _settings()
    logs.set_up(chosen.log_level)
    pool = WORKER_POOL if chosen.encryption_keys else worker_pool(len(chosen.stores))  # more may be installed
    with _database(chosen, pool) as database:
        chosen = with_installed(chosen, database)
        inbox = open_inbox(database, chosen)
        judge, forwarder = Judge(inbox, chosen), Forwarder(inbox, chosen)
        chores = Chores(chosen, database)
        worker.run(worker.Worker(inbox, judge, forwarder, chores, beat=chores.memos.beat))


def _migrate(_: argparse.Namespace) -> None:
    with _database(_settings()) as database:
        migrate.upgrade(database)
    print("The database is up to date.")


def _sandbox(options: argparse.Namespace) -> None:
    from bridge.sandbox import serve  # noqa: PLC0415  the pretend store is no part of the bridge

    serve("127.0.0.1", options.port, options.token)


# trying out


def _send(options: argparse.Namespace) -> int:
    chosen = _settings()
    provider = chosen.providers.get(options.provider)
    if provider is None:
        raise BridgeError(f"There is no provider {options.provider!r}; see `bridge providers`.")
    if provider.tells:
        raise BridgeError(f"{provider.title} sends no alerts; it tells of transactions and disputes.")
    if not chosen.secrets.get(provider.name):
        raise BridgeError(f"{provider.secret_variable} is not set.")
    event = (options.event or samples.events(provider)[0]).lower()
    if event not in provider.events:
        raise BridgeError(f"{provider.title} has {', '.join(samples.events(provider))}, not {event!r}.")
    url = options.url or chosen.url_of(provider.name)
    key = {"key": chosen.secrets[provider.name][0]} if provider.proof.kind == "url" else {}
    chance, accepted = random.Random(), 0  # noqa: S311  made-up values
    for _ in range(options.count):
        now = datetime.now(UTC)
        sale = samples.make_sale(chance, now)
        if run.is_unconfigured(os.environ, ROOT):
            store = chosen.stores[run.SANDBOX_STORE]
            post(
                urlsplit(store.base_url)._replace(path="/sandbox/transactions").geturl(),
                sale.to_transaction(),
            )
        for one in filter(None, (samples.opening(provider, event), event)):
            made = samples.make(provider, one, sale, chance, now)
            called = url + ("?" + urlencode(query) if (query := made.query | key) else "")
            path = called.removeprefix("{0.scheme}://{0.netloc}".format(urlsplit(called)))
            signed = samples.sign(
                provider, made, chosen.secrets[provider.name][0], now, chosen.base_url + path
            )
            status, text = post(called, signed.body, signed.headers)
            print(f"{status} {text}")
        accepted += 200 <= status < 300
    return 0 if accepted == options.count else 1


def _explain(options: argparse.Namespace) -> int:
    chosen = _settings()
    webhook = _webhook_to_explain(options, chosen)
    provider = chosen.providers.get(webhook.provider)
    if provider is None:
        raise BridgeError(f"There is no provider {webhook.provider!r}; see `bridge providers`.")
    with _database(chosen) as database:
        said = explain(with_installed(chosen, database), provider, webhook, datetime.now(UTC))
    if options.json:
        print(json.dumps([one.to_json() for one in said], indent=2))
    for one in [] if options.json else said:
        _print_explained(one)
    return 1 if any(one.problem for one in said) else 0


def _webhook_to_explain(options: argparse.Namespace, chosen: Settings) -> Webhook:
    """Return a body from a file as a webhook, or the stored webhook of a delivery."""
    if options.file is None:
        with _database(chosen) as database:
            found = Search(database).delivery(options.provider)
            body = Search(database).body(found["webhook_id"]) if found else None
        if found is None or body is None:
            raise BridgeError(f"{options.provider!r} is no delivery whose body is kept; name a FILE.")
        kept = found["webhook"]
        query = kept.get("query") or {}
        return Webhook(kept["provider"], kept["path"], body, kept["headers"], query, kept["store"])
    named = pathlib.Path(options.file)
    body = sys.stdin.buffer.read() if options.file == "-" else named.read_bytes()
    headers = dict(_header(one) for one in options.header)
    return Webhook(options.provider, f"/webhooks/{options.provider}", body, headers)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise BridgeError(f"{text!r} is no header, such as 'X-Event-Type: alert.created'.")
    return name.strip().lower(), value.strip()


def _print_explained(one: Explained) -> None:
    print(f"event   {one.event_type or '-'}  ({one.event_id or 'no id'})")
    for row in one.fields:
        verdict = "REFUSED: " + " ".join(row["refused"]) if row["refused"] else row["became"] or "-"
        print(f"  {row['path']:<28} {row['value']!s:<34.34} {row['field']:<24} {verdict}")
    shown = {row["path"] for row in one.fields}
    for path, messages in one.errors.items():
        if path not in shown:
            print(f"  {path:<28} {'':<34} {'':<24} REFUSED: {' '.join(messages)}")
    if one.problem:
        print(f"failed  {one.problem}")
        return
    print(f"effect  {one.effect}" + (f" ({one.reason})" if one.reason else ""))
    if one.outcome:
        print(f"outcome {one.outcome}")
    if one.case:
        print(f"case    {one.case['type']} {one.case['case_number']} in store {one.store or '- (no route)'}")
    for request in one.requests:
        sent = json.dumps(request["params"] or request["body"])
        print(f"would   {request['method']} {request['path']} {sent}")


# the way back from 29next


@contextlib.contextmanager
def _with_store(name: str) -> Iterator[tuple[Settings, Inbox, NextApi, Store]]:
    """Open the inbox and the client of one store, for calls outside the queue."""
    chosen = _settings()
    with _database(chosen) as database:
        store = with_installed(chosen, database).stores.get(name)
        if store is None:
            raise BridgeError(f"There is no store {name!r}; see `bridge stores`.")
        if store.missing:
            raise BridgeError(f"{name} cannot be called. {store.missing}")
        inbox = open_inbox(database, chosen)
        inbox.stores.register([store])
        api = client_of(store, inbox, chosen)
        try:
            yield chosen, inbox, api, store
        finally:
            api.close()


def _match(options: argparse.Namespace) -> None:
    if options.transaction != "none" and not options.transaction.isdecimal():
        raise BridgeError(f"A transaction is a number, or none; not {options.transaction!r}.")
    chosen = _settings()
    with _database(chosen) as database:
        inbox = open_inbox(database, chosen)
        wanted = None if options.transaction == "none" else int(options.transaction)
        if not inbox.cases.decide(options.case, wanted):
            raise BridgeError(f"{options.case!r} is no case that still wants a transaction.")
    print(f"{options.case} decided; the worker tells 29next.")


def _backfill(options: argparse.Namespace) -> None:
    if not 1 <= options.days <= MOST_DAYS:
        raise BridgeError(f"--days is a number from 1 to {MOST_DAYS}.")
    with _with_store(options.store) as (_, inbox, api, store):
        backfill = Backfill(inbox, api, store, tell=partial(print, flush=True))
        try:
            fresh = backfill.run(options.days)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Run it again, and it goes on where it was.") from None
    print(f"{fresh} transactions new or changed.")


def _subscribe(options: argparse.Namespace) -> None:
    with _with_store(options.store) as (chosen, _, api, store):
        secret = chosen.signing_secret(store)
        if secret is None or chosen.public_url is None:
            raise BridgeError("NEXT_WEBHOOK_SECRET and BRIDGE_PUBLIC_URL must be set to subscribe.")
        target = f"{chosen.url_of('next')}/{store.name}"
        done = subscribe(api, target, secret, chosen.api_version, events=events_of(store))
        print(f"{target} {done}")


def _reconcile(options: argparse.Namespace) -> int:
    with _with_store(options.store) as (_, inbox, api, store):
        lines = list(reconcile(inbox, api, store, options.since))
    for line in lines:
        print(line)
    return 1 if lines else 0


def _recover(options: argparse.Namespace) -> None:
    chosen = _settings()
    if options.store and options.store not in chosen.stores:
        raise BridgeError(f"There is no store {options.store!r}; see `bridge stores`.")
    with _database(chosen) as database:
        inbox = open_inbox(database, chosen)
        count = inbox.cases.doubt(options.since.timestamp(), options.store)
    print(f"Cases to be looked up before anything is sent for them: {count}")


# the log


def _deliveries(options: argparse.Namespace) -> None:
    with _search() as search:
        page = search.deliveries(_filters(options)).to_json()
    columns = (
        "received_at",
        "id",
        "provider",
        "event_type",
        "status",
        "reason",
        "store",
        "dispute_id",
        "case_number",
    )
    _print_list(page, columns, as_json=options.json)


def _cases(options: argparse.Namespace) -> None:
    with _search() as search:
        page = search.cases(_filters(options)).to_json()
    columns = (
        "id",
        "store",
        "case_number",
        "type",
        "state",
        "dispute_id",
        "transaction_id",
        "resolution",
        "amount",
        "currency",
    )
    _print_list(page, columns, as_json=options.json)


def _show(options: argparse.Namespace) -> None:
    with _search() as search:
        thing = search.thing(options.id)
    if thing is None:
        raise BridgeError(f"There is nothing with the id {options.id!r}.")
    if options.json:
        print(json.dumps(thing, indent=2))
    else:
        _print_thing(thing)


def _replay(options: argparse.Namespace) -> None:
    filters = _filters(options)
    if not options.ids and not filters:
        raise BridgeError("Name deliveries by id, or filter them, such as --status failed.")
    chosen = _settings()
    with _database(chosen) as database:
        ids = options.ids or Search(database).ids(filters, 500)
        inbox = open_inbox(database, chosen)
        replayed = inbox.deliveries.replay(ids) + [
            one for one in ids if one.startswith("c_") and inbox.outcomes.tell_again(one)
        ]
    for one in replayed:
        print(f"{one} replayed")
    left = [one for one in ids if one not in replayed]
    if left:
        raise BridgeError(f"Not replayed (pending, told, unknown or without a body): {', '.join(left)}")


def _dismiss(options: argparse.Namespace) -> None:
    filters = _filters(options)
    if not options.ids and not filters:
        raise BridgeError("Name deliveries by id, or filter them, such as --reason unknown_event.")
    chosen = _settings()
    with _database(chosen) as database:
        ids = options.ids or Search(database).ids({**filters, "status": Status.FAILED}, 500)
        dismissed = open_inbox(database, chosen).deliveries.dismiss(ids)
    for one in dismissed:
        print(f"{one} dismissed")
    if left := [one for one in ids if one not in dismissed]:
        raise BridgeError(f"Not dismissed, for they have not failed or are unknown: {', '.join(left)}")


def _providers(options: argparse.Namespace) -> None:
    chosen = _settings()
    with _database(chosen) as database:
        last = Search(database).last_deliveries()
    rows = [
        {
            "provider": name,
            "url": chosen.url_of(name),
            "proof": provider.proof.kind,
            "secret": "set" if chosen.secrets.get(name) else "missing (off)",
            "last_delivery": last.get(name),
        }
        for name, provider in chosen.providers.items()
    ]
    _print_list({"results": rows, "next": None}, tuple(rows[0]), as_json=options.json)


def _stores(options: argparse.Namespace) -> None:
    chosen = _settings()
    with _database(chosen) as database:
        known = {row["name"]: row for row in Search(database).stores()}
        stores = list(with_installed(chosen, database).stores.values())
    rows = [
        {"waiting": 0, "paused_at": None, "paused_why": None}
        | known.get(store.name, {})
        | {"name": store.name, "base_url": store.base_url}
        | {"token": store.missing or ("installed" if store.installed else "configured")}
        for store in stores
    ]
    columns = ("name", "base_url", "waiting", "paused_at", "paused_why", "token")
    _print_list({"results": rows, "next": None}, columns, as_json=options.json)


def _doctor(options: argparse.Namespace) -> int:
    document = doctor.read_document(options.spec) if options.spec else None
    chosen = _settings()
    checks = []
    with _database(chosen) as database:
        for check in doctor.examine(chosen, database, document=document):
            checks.append(check)
            if not options.json:
                _print_check(check)
    if options.json:
        print(json.dumps([vars(check) for check in checks], indent=2))
    return 0 if all(check.good for check in checks) else 1


def _print_check(check: doctor.Check) -> None:
    print(f"{'ok ' if check.good else 'BAD'}  {check.what}: {check.said}")
    if check.remedy:
        print(f"       {check.remedy}", flush=True)


# printing


def _print_list(page: Json, columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(page, indent=2))
        return
    rows = [[_cell(row.get(name)) for name in columns] for row in page["results"]]
    if not rows:
        print("(none)")
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in [list(columns), *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if page["next"]:
        print("(more: raise --limit, or filter)")


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def _said(value: typing.Any) -> str:
    """Write a value for reading, whatever hangs on it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_said(one)}" for name, one in value.items())
    return "-" if value is None else str(value)


def _print_thing(thing: Json) -> None:
    """Print one thing: its plain facts first, then what hangs on it."""
    parts = ("webhook", "deliveries", "attempts", "alert", "facts")
    for name, value in thing.items():
        if name not in parts and value not in (None, [], {}, ""):
            print(f"{name:<15} {_said(value)}")
    for name in ("alert", "facts"):
        if thing.get(name):
            print(f"{name}:")
            for fact, value in thing[name].items():
                print(f"  {fact:<24} {_said(value)}")
    if webhook := thing.get("webhook"):
        print(f"webhook         {webhook['path']} ({webhook['id']})")
        print("\n".join(f"  {line}" for line in (webhook["body"] or "(removed)").splitlines()))
    for one in thing.get("deliveries", []):
        words = (one["id"], one["provider"], one["event_type"], one["status"], one["reason"])
        print("delivery       ", *(word for word in words if word))
    for one in thing.get("attempts", []):
        print(
            f"attempt         {one['started_at']} {one['method']} {one['path']}"
            f" -> {one['status']} {one['outcome']} ({one['seconds']} s)"
        )
        print(f"  sent     {json.dumps(one['request'])}\n  answered {one['response']}")
