"""Looks at everything that can be wrong, each with its remedy in a sentence. Changes nothing at 29next.

Whether a token may write, or read orders, is asked with dispute, transaction and order 0, which no store
has: 29next, as its framework does, checks the scope before it looks for the thing, so 403 means that the
scope is missing and 404 that it is there (inferred, not documented).
"""

from __future__ import annotations

import json
import pathlib
import shutil
import time
import typing
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from urllib.parse import urlsplit

from bridge.cli import contract
from bridge.errors import BridgeError, NotFound, Refused, Unavailable
from bridge.next29.client import Answer, NextApi
from bridge.settings import address
from bridge.storage import migrate, stats
from bridge.storage.inbox import open_inbox
from bridge.storage.installations import with_installed
from bridge.storage.search import Search
from bridge.storage.stores import BY_HAND
from bridge.worker.client import client_of
from bridge.worker.notify import GONE_AFTER, url_called
from bridge.worker.subscriptions import events_of
from bridge.worker.subscriptions import problem as subscription_problem

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.providers.base import Provider
    from bridge.settings import Settings, Store
    from bridge.storage.database import Database

LEAST_FREE = 500_000_000
"""Bytes that the disk of an SQLite inbox should have left."""
CLOCK_TOLERANCE = 30.0
"""Seconds that clocks may differ; signatures are accepted within 300."""
SHORTEST_PASSWORD = 12
ALLOWED_RATE = 4.0
"""Calls a second that 29next allows one token (doc)."""
REFUSED_LATELY = timedelta(days=1)
NEW_EVENTS = timedelta(days=7)
MOST_NAMED = 20
REACH_SECONDS = 10.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; the remedy of a good one is advice."""

    what: str
    good: bool
    said: str
    remedy: str = ""


def examine(
    settings: Settings,
    database: Database,
    *,
    document: typing.Any = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Check]:
    """Look at the settings, the database, the processes, each store and provider, and the way in.

    Asks each store four times, at its pace. `document` is 29next's OpenAPI document, if it is to be
    compared; `clock` is this machine's.
    """
    yield from _settings(settings)
    if document is not None:
        yield _contract(document, settings.api_version)
    away = _unreachable(database)
    if away:
        yield away
    else:
        yield _durable(settings, database)
        yield from _on_postgres(database, clock)
        yield _worker(database)
        yield from _stores(with_installed(settings, database), database, clock)
        yield from _providers(settings, database, datetime.fromtimestamp(clock(), UTC))
    yield _reached(settings)


# the settings


def _settings(settings: Settings) -> Iterator[Check]:
    remedy = "Set NEXT_STORE and NEXT_ACCESS_TOKEN, or [stores.NAME] in config/bridge.toml."
    names = ", ".join(settings.stores)
    yield _judged("stores", settings.stores or settings.installs, names or "none is configured", remedy)
    on = [name for name in settings.providers if settings.secrets.get(name)]
    remedy = "Set <PROVIDER>_SECRET for each provider that will call, such as ETHOCA_SECRET=user:password."
    yield _judged("providers", on, f"on: {', '.join(on)}" if on else "all are switched off", remedy)
    yield _guessable("viewer", "BRIDGE_PASSWORD", settings.password, settings)
    yield _guessable("JSON API", "BRIDGE_API_TOKEN", settings.api_token, settings)
    yield _rate(settings)


def _guessable(what: str, variable: str, secret: str | None, settings: Settings) -> Check:
    if secret is None:
        said, remedy = f"off: {variable} is not set", f"Set {variable} to use it."
        if settings.is_local:
            said = "open to this machine"
            remedy = (
                f"Behind a proxy on this machine set {variable}: what comes through it may look like you."
            )
        return Check(what, good=True, said=said, remedy=remedy)
    long = len(secret) >= SHORTEST_PASSWORD
    remedy = f"Set {variable} to {SHORTEST_PASSWORD} characters or more, made by chance."
    return _judged(what, long, "on" if long else f"{variable} is short enough to be guessed", remedy)


def _rate(settings: Settings) -> Check:
    limited = 0 < settings.rate <= ALLOWED_RATE
    hosts = [urlsplit(store.base_url).hostname or "" for store in settings.stores.values()]
    pretended = all(map(address.is_loopback, hosts))
    said = f"{settings.rate:g} calls a second for each token" if settings.rate else "no limit"
    remedy = f"Take NEXT_RATE away: 29next allows {ALLOWED_RATE:g} calls a second."
    return _judged("rate", limited or pretended, f"{said}, API version {settings.api_version}", remedy)


def _contract(document: typing.Any, version: str) -> Check:
    try:
        found = list(contract.drift(document))
        theirs = str((document.get("info") or {}).get("version") or "unknown")
    except ValueError as error:
        remedy = "Give --spec the document that 29next publishes for its Admin API."
        return Check("contract", good=False, said=f"the document cannot be used: {error}", remedy=remedy)
    said = f"29next's document of version {theirs} allows all that the bridge sends and reads"
    if theirs != version:
        said += f" (NEXT_API_VERSION is {version})"
    remedy = "Look for a release of the bridge that fits, or stay at an API version that does."
    return _judged("contract", not found, "; ".join(found) or said, remedy)


def read_document(file: pathlib.Path) -> typing.Any:
    """Read an OpenAPI document, JSON or, where PyYAML is installed, YAML; raises BridgeError."""
    content = file.read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        pass
    try:
        import yaml  # noqa: PLC0415  only the developers' lock has it
    except ImportError:
        raise BridgeError(
            f"{file} is no JSON, and to read YAML PyYAML must be installed (`make test` does)."
        ) from None
    try:
        return yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  safe
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise BridgeError(f"{file} is neither JSON nor YAML.") from None


# the database


def _unreachable(database: Database) -> Check | None:
    """Say why the database takes no webhooks, or None where it does."""
    try:
        problem = migrate.problem(database)
    except Unavailable as error:
        remedy = "Check DATABASE_URL, and that the database runs and lets this machine in."
        return Check("database", good=False, said=str(error), remedy=remedy)
    remedy = "Run `bridge migrate`; on Heroku and Render the deploy does it."
    return Check("database", good=False, said=problem, remedy=remedy) if problem else None


def _durable(settings: Settings, database: Database) -> Check:
    """Say whether what is committed stays, as it is in force and not as it was asked for."""
    with database.read() as connection:

        def ask(question: str) -> str:
            return str(connection.exec_driver_sql(question).scalar()).lower()

        if not database.sqlite:
            found = {name: ask(f"SHOW {name}") for name in ("synchronous_commit", "fsync")}
            said = "Postgres, schema current, " + ", ".join(f"{k}={v}" for k, v in found.items())
            remedy = "Use a database with fsync and synchronous_commit on, without a pooler in between."
            return _judged("database", set(found.values()) <= {"on", "remote_apply"}, said, remedy)
        mode, level = ask("PRAGMA journal_mode"), ask("PRAGMA synchronous")
    file = address.sqlite_file(settings.database_url)
    free = shutil.disk_usage(file.resolve().parent).free
    said = f"SQLite, schema current, journal_mode={mode}, synchronous={level}, {free // 1_000_000} MB free"
    if (mode, level) != ("wal", "2"):
        remedy = "Put the file on a local disk (not a network one), on which SQLite can keep a WAL."
        return Check("database", good=False, said=said, remedy=remedy)
    return _judged("database", free >= LEAST_FREE, said, "Make room on the disk of the database.")


def _on_postgres(database: Database, clock: Callable[[], float]) -> Iterator[Check]:
    """Look at what a database on another machine adds: the way there, and its clock."""
    if database.sqlite:
        return
    with database.read() as connection:
        here = "host(inet_server_addr()) IN ('127.0.0.1', '::1') OR inet_server_addr() IS NULL"
        tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        local = bool(connection.exec_driver_sql(f"SELECT {here}").scalar())
        encrypted = bool(connection.exec_driver_sql(tls).scalar())
    said = "encrypted" if encrypted else "on this machine" if local else "in clear text"
    remedy = "Add ?sslmode=require to DATABASE_URL, if the network between is not your own."
    yield _judged("database's connection", encrypted or local, said, remedy)
    yield _clock("database's clock", clock() - database.now())


def _clock(what: str, ahead: float) -> Check:
    said = f"{abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} this machine's"
    remedy = "Set this machine's clock by NTP: signed webhooks are refused when it is five minutes off."
    return _judged(what, abs(ahead) <= CLOCK_TOLERANCE, said, remedy)


def _worker(database: Database) -> Check:
    with database.read() as connection:
        seen_at = stats.worker_seen_at(connection)
    silence = None if seen_at is None else database.now() - seen_at
    said = "none was ever seen" if silence is None else f"seen {silence:.0f} s ago"
    remedy = "Start `bridge worker` (on Heroku `heroku ps:scale worker=1`): nothing is forwarded without it."
    return _judged("worker", silence is not None and silence <= GONE_AFTER, said, remedy)


# the stores


def _stores(settings: Settings, database: Database, clock: Callable[[], float]) -> Iterator[Check]:
    inbox = open_inbox(database, settings)
    inbox.stores.register(settings.stores.values())
    with database.read() as connection:
        paused = stats.paused(connection)
    told = None
    for store in settings.stores.values():
        if store.name in paused and paused[store.name] != store.missing:
            remedy = "Remedy what it says: the bridge tries twice a minute, and goes on by itself."
            if paused[store.name] == BY_HAND:
                remedy = "Let it go on, on the page /stores of the log."
            yield Check(f"{store.name}: paused", good=False, said=paused[store.name], remedy=remedy)
        if store.missing:
            remedy = f"Have its merchant open /install?store={store.name}.29next.store."
            yield Check(f"{store.name}: token", good=False, said=store.missing, remedy=remedy)
            continue
        api = client_of(store, inbox, settings)
        try:
            for probe in (one for one in PROBES if one.method == "GET" or not store.observe):
                answer = Answer()
                check = probe.make(api, store, answer)
                yield check
                if told is None and answer.date is not None:
                    told = answer.date
                    yield _clock("29next's clock", clock() - told)
                if not check.good and answer.status != 403:
                    break  # whatever else is asked will end in the same way
            else:
                yield _subscription(settings, api, store)
        finally:
            api.close()


def _subscription(settings: Settings, api: NextApi, store: Store) -> Check:
    """Say whether 29next tells the bridge of a store's transactions and disputes."""
    what = f"{store.name}: webhooks"
    secret = settings.signing_secret(store)
    if secret is None or settings.public_url is None:
        remedy = "Set NEXT_WEBHOOK_SECRET and BRIDGE_PUBLIC_URL, then run `bridge subscribe`."
        return Check(what, good=True, said="off: every transaction is looked up at 29next", remedy=remedy)
    target = f"{settings.url_of('next')}/{store.name}"
    remedy = f"Run `bridge subscribe --store {store.name}`."
    try:
        wrong = subscription_problem(api.rows("webhooks/", {}), target, secret, events_of(store))
    except BridgeError as error:
        remedy = f"Give the token the scopes webhooks:read and webhooks:write. {remedy}"
        return Check(what, good=False, said=str(error), remedy=remedy)
    return _judged(what, wrong is None, wrong or f"29next tells {target}", remedy)


@dataclass(frozen=True)
class _Probe:
    """A call that shows whether a token has a scope; what is no list names a thing that is not."""

    scope: str
    method: str
    path: str
    params: typing.Mapping[str, str] | None = None
    without: str = ""  # what is lost without the scope, where the bridge goes on without it

    def make(self, api: NextApi, store: Store, answer: Answer) -> Check:
        what = f"{store.name}: {self.scope}"
        body: dict[str, str] | None = None if self.method == "GET" else {}
        try:
            api.call(self.method, self.path, params=self.params, body=body, answer=answer)
        except NotFound:
            pass  # the scope is there, and the thing is not meant to be
        except Refused as error:
            if self.method == "GET":
                remedy = "Compare what the bridge asks with 29next's document: `bridge doctor --spec FILE`."
                return Check(what, good=False, said=str(error), remedy=remedy)
        except BridgeError as error:
            if answer.status == 403 and self.without:
                remedy = f"Give the token the scope {self.scope}, or {self.without}."
                return Check(what, good=True, said="missing", remedy=remedy)
            return Check(what, good=False, said=str(error), remedy=self._remedy(answer.status, store))
        return Check(what, good=True, said=f"granted ({answer.seconds:.2f} s)")

    def _remedy(self, status: int | None, store: Store) -> str:
        if status == 401:
            return "Set this store's access token anew: 29next does not know the one that is set."
        if status == 403:
            return f"Give the store's token the scope {self.scope}, in 29next under Settings > API Access."
        if status == 404 or (status and 300 <= status < 400):
            return f"Check the store's name: there is no Admin API at {store.base_url}."
        return "Try again; if it stays, look at 29next's status and at this machine's way to the internet."


PROBES = (
    _Probe("disputes:read", "GET", "disputes/", {"case_number": "bridge-doctor"}),
    _Probe("disputes:write", "PATCH", "disputes/0/"),
    _Probe(
        "transactions:read",
        "GET",
        "transactions/",
        {"external_id": "bridge-doctor"},
        without="every dispute is created unmatched",
    ),
    _Probe(
        "orders:read",
        "GET",
        "orders/0/",
        without="no transaction is found by its order's number, and alerts that tell one cost a call more",
    ),
    _Probe(
        "transactions:write",
        "POST",
        "transactions/0/refund/",
        without="refunds that the gateway made are not recorded where a match is found later",
    ),
)


# the providers, and the way in


def _providers(settings: Settings, database: Database, now: datetime) -> Iterator[Check]:
    """Say of each provider that is on when it last got in, and whether it was turned away since."""
    search = Search(database)
    last = {name: datetime.fromisoformat(at) for name, at in search.last_deliveries().items()}
    refused: dict[str, dict[str, typing.Any]] = {}
    for row in search.refusals():
        refused.setdefault(row["provider"], row)
    for name, provider in settings.providers.items():
        if settings.secrets.get(name):
            yield _provider(provider, last.get(name), refused.get(name), now, settings.secrets[name])
    yield from _mistyped(settings, search, last, now)
    yield from _new_events(search, now)
    with database.read() as connection:
        untold = stats.failed_outcomes(connection, database.now())
    for name in settings.api_keys:
        count, case_id, why = untold.get(name, (0, "", ""))
        said = f"{count} could not be told; {why}" if count else "none that could not be told"
        remedy = f"See `bridge show {case_id}`; once mended, `bridge replay {case_id}` has it told again."
        yield _judged(f"{name}: outcomes", not count, said, remedy)


def _mistyped(
    settings: Settings, search: Search, last: dict[str, datetime], now: datetime
) -> Iterator[Check]:
    """Name the URLs that were called lately and that no provider has.

    Anybody can call them, so that is bad only where one looks like an enabled provider that sends nothing.
    """
    silent = [
        name
        for name, secrets in settings.secrets.items()
        if secrets and (name not in last or now - last[name] > REFUSED_LATELY)
    ]
    counts: Counter[str] = Counter()
    for row in search.refusals():
        lately = now - datetime.fromisoformat(row["last_at"]) < REFUSED_LATELY
        if row["provider"] not in settings.providers and lately:
            counts[row["provider"]] += row["count"]
    if counts:
        said = ", ".join(f"{url_called(name)} ({count})" for name, count in counts.most_common(MOST_NAMED))
        remedy = "Correct the URL at the provider that calls there: `bridge providers` prints the right ones."
        meant = {one for name in counts for one in get_close_matches(name.partition("/")[0].strip(), silent)}
        if meant:
            said += f"; nothing arrives from {' and '.join(sorted(meant))}"
        yield Check("mistyped URLs", good=not meant, said=said, remedy=remedy)


def _new_events(search: Search, now: datetime) -> Iterator[Check]:
    """Name the event types that nobody listed, are ignored by rule, and came for the first time lately."""
    rows = [row for row in search.ignored_events() if not row["listed"]]
    new = [row for row in rows if now - datetime.fromisoformat(row["first_at"]) < NEW_EVENTS]
    if new:
        said = ", ".join(
            f"{row['provider']} {row['event_type']} ({row['count']})" for row in new[:MOST_NAMED]
        )
        remedy = "If one of them is about a dispute, list it under [providers.NAME.effects] in bridge.toml."
        yield Check("new event types, ignored", good=True, said=said, remedy=remedy)


def _provider(
    provider: Provider,
    last: datetime | None,
    refused: dict[str, typing.Any] | None,
    now: datetime,
    secrets: tuple[str, ...],
) -> Check:
    variable = provider.secret_variable
    said = f"last delivery {last:%Y-%m-%d %H:%M} UTC" if last else "nothing received yet"
    if refused:
        refused_at = datetime.fromisoformat(refused["last_at"])
        if now - refused_at < REFUSED_LATELY and (last is None or refused_at > last):
            said += f"; refused since, {refused_at:%H:%M} UTC: {refused['reason']}: {refused['message']}"
            remedy = _REFUSED.get(refused["reason"], _BAD_PROOF)
            remedy = next((one for word, one in _IN_WORDS.items() if word in refused["message"]), remedy)
            return Check(provider.name, good=False, said=said, remedy=remedy.format(variable))
    rotating = (
        f"Remove {variable}_PREVIOUS once the provider uses the new secret." if len(secrets) > 1 else ""
    )
    return Check(provider.name, good=True, said=said, remedy=rotating)


_BAD_PROOF = (
    "Enter in its console what {0} says; while it still sends the former secret, put that into {0}_PREVIOUS."
)
_REFUSED = {
    "too_large": "Have it send fewer alerts in one webhook.",
    "unsupported_encoding": "Have it send bodies as they are: switch compression off in its console.",
    "bad_request": "Look at what stands between it and the bridge: the body did not arrive as it was sent.",
}
_IN_WORDS = {
    "five minutes": "Set this machine's clock by NTP; where that is right, its sender's is wrong.",
    "networks": "Add this address to networks in bridge.toml if it is the provider's; "
    "if it is your proxy's, set BRIDGE_PROXY_HOPS.",
}
"""Remedies by the word of a refusal, and before those by what stands in its sentence."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer: no provider follows one."""

    def redirect_request(self, *_: typing.Any) -> None:
        return None


def _reached(settings: Settings) -> Check:
    """Ask for the bridge at its public address, from this machine and through the internet."""
    what = "public URL"
    if settings.public_url is None:
        remedy = "Set BRIDGE_PUBLIC_URL, so that the way in is checked and printed URLs can be copied."
        return Check(what, good=True, said="unknown: BRIDGE_PUBLIC_URL is not set", remedy=remedy)
    url = f"{settings.public_url.rstrip('/')}/healthz"
    try:
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(url, timeout=REACH_SECONDS) as answer:
            healthy = json.loads(answer.read(1000)) == {"status": "ok"}
            said = "the bridge answers" if healthy else "something else answers"
    except urllib.error.HTTPError as error:
        with error:
            healthy, said = False, f"answered with {error.code}"
    except (OSError, ValueError) as error:
        healthy, said = False, f"no answer: {getattr(error, 'reason', None) or type(error).__name__}"
    remedy = "Let this address lead to the web process by HTTPS, with no redirect and no sign-in before it."
    return _judged(what, healthy, f"{url}: {said}", remedy)


def _judged(what: str, good: object, said: str, remedy: str) -> Check:
    """Make a check whose remedy is for the bad case."""
    return Check(what, bool(good), said, "" if good else remedy)
