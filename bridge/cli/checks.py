"""What the doctor says of one thing, and what it looks at on this machine: settings, database, way in."""

from __future__ import annotations

import json
import shutil
import typing
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from bridge.errors import Unavailable
from bridge.settings import address
from bridge.storage import migrate, stats
from bridge.worker.notify import GONE_AFTER

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.settings import Settings
    from bridge.storage.database import Database

LEAST_FREE = 500_000_000
"""Bytes that the disk of an SQLite inbox should have left."""
CLOCK_TOLERANCE = 30.0
"""Seconds that clocks may differ; signatures are accepted within 300."""
SHORTEST_PASSWORD = 12
ALLOWED_RATE = 4.0
"""Calls a second that 29next allows one token (doc)."""
REACH_SECONDS = 10.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; the remedy of a good one is advice."""

    what: str
    good: bool
    said: str
    remedy: str = ""


def judged(what: str, good: object, said: str, remedy: str) -> Check:
    """Make a check whose remedy is for the bad case."""
    return Check(what, bool(good), said, "" if good else remedy)


def check_clock(what: str, ahead: float) -> Check:
    """Judge by how many seconds this machine's clock is ahead of another one."""
    said = f"{abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} this machine's"
    remedy = "Set this machine's clock by NTP: signed webhooks are refused when it is five minutes off."
    return judged(what, abs(ahead) <= CLOCK_TOLERANCE, said, remedy)


# the settings


def check_settings(settings: Settings) -> Iterator[Check]:
    """Look at what is configured: stores, providers, passwords, the rate."""
    remedy = "Set NEXT_STORE and NEXT_ACCESS_TOKEN, or [stores.NAME] in config/bridge.toml."
    names = ", ".join(settings.stores)
    yield judged("stores", settings.stores or settings.installs, names or "none is configured", remedy)
    on = [name for name in settings.providers if settings.is_on(name)]
    remedy = "Set <PROVIDER>_SECRET for each provider that will call, such as ETHOCA_SECRET=user:password."
    yield judged("providers", on, f"on: {', '.join(on)}" if on else "all are switched off", remedy)
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
    return judged(what, long, "on" if long else f"{variable} is short enough to be guessed", remedy)


def _rate(settings: Settings) -> Check:
    limited = 0 < settings.rate <= ALLOWED_RATE
    hosts = [urlsplit(store.base_url).hostname or "" for store in settings.stores.values()]
    pretended = all(map(address.is_loopback, hosts))
    said = f"{settings.rate:g} calls a second for each token" if settings.rate else "no limit"
    remedy = f"Take NEXT_RATE away: 29next allows {ALLOWED_RATE:g} calls a second."
    return judged("rate", limited or pretended, f"{said}, API version {settings.api_version}", remedy)


# the database


def unreachable(database: Database) -> Check | None:
    """Say why the database takes no webhooks, or None where it does."""
    try:
        problem = migrate.problem(database)
    except Unavailable as error:
        remedy = "Check DATABASE_URL, and that the database runs and lets this machine in."
        return Check("database", good=False, said=str(error), remedy=remedy)
    remedy = "Run `bridge migrate`; on Heroku and Render the deploy does it."
    return Check("database", good=False, said=problem, remedy=remedy) if problem else None


def check_commits(settings: Settings, database: Database) -> Check:
    """Say whether what is committed stays, as it is in force and not as it was asked for."""
    with database.read() as connection:

        def ask(question: str) -> str:
            return str(connection.exec_driver_sql(question).scalar()).lower()

        if not database.sqlite:
            found = {name: ask(f"SHOW {name}") for name in ("synchronous_commit", "fsync")}
            said = "Postgres, schema current, " + ", ".join(f"{k}={v}" for k, v in found.items())
            remedy = "Use a database with fsync and synchronous_commit on, without a pooler in between."
            return judged("database", set(found.values()) <= {"on", "remote_apply"}, said, remedy)
        mode, level = ask("PRAGMA journal_mode"), ask("PRAGMA synchronous")
    file = address.sqlite_file(settings.database_url)
    free = shutil.disk_usage(file.resolve().parent).free
    said = f"SQLite, schema current, journal_mode={mode}, synchronous={level}, {free // 1_000_000} MB free"
    if (mode, level) != ("wal", "2"):
        remedy = "Put the file on a local disk (not a network one), on which SQLite can keep a WAL."
        return Check("database", good=False, said=said, remedy=remedy)
    return judged("database", free >= LEAST_FREE, said, "Make room on the disk of the database.")


def check_postgres(database: Database, clock: Callable[[], float]) -> Iterator[Check]:
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
    yield judged("database's connection", encrypted or local, said, remedy)
    yield check_clock("database's clock", clock() - database.now())


def check_worker(database: Database) -> Check:
    """Say when a worker was last heard."""
    with database.read() as connection:
        seen_at = stats.worker_seen_at(connection)
    silence = None if seen_at is None else database.now() - seen_at
    said = "none was ever seen" if silence is None else f"seen {silence:.0f} s ago"
    remedy = "Start `bridge worker` (on Heroku `heroku ps:scale worker=1`): nothing is forwarded without it."
    return judged("worker", silence is not None and silence <= GONE_AFTER, said, remedy)


# the way in


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer: no provider follows one."""

    def redirect_request(self, *_: typing.Any) -> None:
        return None


def check_way_in(settings: Settings) -> Check:
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
    return judged(what, healthy, f"{url}: {said}", remedy)
