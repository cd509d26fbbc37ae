"""What the doctor and the first page judge here: the settings, the database, the worker, pauses."""

from __future__ import annotations

import shutil
import typing
from dataclasses import dataclass
from urllib.parse import urlsplit

from bridge.errors import Unavailable
from bridge.settings import address
from bridge.storage import migrate
from bridge.storage.stores import BY_HAND
from bridge.worker.notify import GONE_AFTER

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bridge.settings import Settings, Store
    from bridge.storage.database import Database

LEAST_FREE = 500_000_000
"""Bytes that the disk of an SQLite inbox should have left."""
CLOCK_TOLERANCE = 30.0
"""Seconds that clocks may differ; signatures are accepted within 300."""
SHORTEST_PASSWORD = 12
UNUSABLE = (
    "Check DATABASE_URL, and that the database is running, has space and accepts connections from here."
)
NOT_MIGRATED = "Run `bridge migrate`. On Heroku and Render, each deploy does this."
ALLOWED_RATE = 4.0
"""Calls a second that 29next allows one token (doc)."""


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
    remedy = "Synchronize this machine's clock (NTP). Signed webhooks are rejected if it is five minutes off."
    return judged(what, abs(ahead) <= CLOCK_TOLERANCE, said, remedy)


# the settings


def check_settings(settings: Settings) -> Iterator[Check]:
    """Look at what is configured: stores, providers, passwords, the rate."""
    remedy = "Set NEXT_STORE and NEXT_ACCESS_TOKEN, or [stores.NAME] in config/bridge.toml."
    names = ", ".join(settings.stores)
    yield judged("stores", settings.stores or settings.installs, names or "none is configured", remedy)
    on = [name for name in settings.providers if settings.is_enabled(name)]
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
                f"Behind a proxy on this machine, set {variable}. Requests through the proxy may look local."
            )
        return Check(what, good=True, said=said, remedy=remedy)
    long = len(secret) >= SHORTEST_PASSWORD
    remedy = f"Set {variable} to {SHORTEST_PASSWORD} or more random characters."
    return judged(what, long, "on" if long else f"{variable} is short enough to guess", remedy)


def _rate(settings: Settings) -> Check:
    limited = 0 < settings.rate <= ALLOWED_RATE
    hosts = [urlsplit(store.base_url).hostname or "" for store in settings.stores.values()]
    pretended = all(map(address.is_loopback, hosts))
    said = f"{settings.rate:g} calls a second for each token" if settings.rate else "no limit"
    remedy = f"Remove NEXT_RATE: 29next allows {ALLOWED_RATE:g} calls a second."
    return judged("rate", limited or pretended, f"{said}, API version {settings.api_version}", remedy)


# the database


def unreachable(database: Database) -> Check | None:
    """Say why the database takes no webhooks, or None where it does."""
    try:
        problem = migrate.problem(database)
    except Unavailable as error:
        return Check("database", good=False, said=str(error), remedy=UNUSABLE)
    return Check("database", good=False, said=problem, remedy=NOT_MIGRATED) if problem else None


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
    said = f"SQLite, schema current, journal_mode={mode}, synchronous={level}"
    if (mode, level) != ("wal", "2"):
        remedy = "Put the file on a local disk, not a network one: SQLite needs it for its WAL."
        return Check("database", good=False, said=said, remedy=remedy)
    return check_room(settings, said)


def check_room(settings: Settings, said: str = "SQLite") -> Check:
    """Say how much room the disk of an SQLite inbox has left."""
    free = shutil.disk_usage(address.sqlite_file(settings.database_url).resolve().parent).free
    said = f"{said}, {free // 1_000_000} MB free"
    return judged("database", free >= LEAST_FREE, said, "Free some space on the disk of the database.")


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
    remedy = "Add ?sslmode=require to DATABASE_URL, unless the network in between is your own."
    yield judged("database's connection", encrypted or local, said, remedy)
    yield check_clock("database's clock", clock() - database.now())


def check_worker(seen_at: float | None, now: float) -> Check:
    """Say when a worker was last heard."""
    silence = None if seen_at is None else now - seen_at
    said = "no heartbeat received yet" if silence is None else f"last heartbeat {silence:.0f} s ago"
    remedy = "Start `bridge worker` (on Heroku `heroku ps:scale worker=1`): nothing is forwarded without it."
    return judged("worker", silence is not None and silence <= GONE_AFTER, said, remedy)


# the stores


def check_pauses(stores: Iterable[Store], paused: Mapping[str, str]) -> Iterator[Check]:
    """Name the stores that are not called, and those without a token."""
    for store in stores:
        why = paused.get(store.name)
        if why is not None and why != store.missing:
            remedy = (
                "Correct what 29next reports. The bridge retries twice a minute and then continues by itself."
            )
            if why == BY_HAND:
                remedy = "Resume it on the page /stores."
            yield Check(f"{store.name}: paused", good=False, said=why, remedy=remedy)
        if store.missing:
            remedy = f"Ask its merchant to open /install?store={store.name}.29next.store"
            remedy += f", or run `bridge stores --forget {store.name}` if it is gone."
            yield Check(f"{store.name}: token", good=False, said=store.missing, remedy=remedy)
