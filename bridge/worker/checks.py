"""Checks the settings, the database, the worker and the stores, for the doctor and the first page."""

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
EXAMPLES = frozenset(
    {
        "user:password",
        "northbank:a-long-password",
        "Name: value",
        "X-Key: the-key",
        "a-key-that-acme-shows",
        "whsec_the-endpoints-signing-secret",
        "a-long-password-made-by-chance",
        "a-long-token-made-by-chance",
    }
)
"""The secrets that the documentation shows."""
UNUSABLE = (
    "Check DATABASE_URL, and that the database is running, has space and accepts connections from here."
)
NOT_MIGRATED = "Run `bridge migrate`. On Heroku and Render, each deploy does this."
ALLOWED_RATE = 4.0
"""Calls a second that 29next allows one token (doc)."""


@dataclass(frozen=True)
class Check:
    """The result of one check; the fix of a good one is advice."""

    name: str
    good: bool
    message: str
    fix: str = ""

    def to_json(self) -> dict[str, typing.Any]:
        """Returns the check as the doctor prints it with `--json`."""
        return {"what": self.name, "good": self.good, "said": self.message, "remedy": self.fix}


def make_check(name: str, good: object, message: str, fix: str) -> Check:
    """Returns a check whose fix is left out if it is good."""
    return Check(name, bool(good), message, "" if good else fix)


def check_clock(name: str, ahead: float) -> Check:
    """Checks how many seconds this machine's clock is ahead of another one."""
    message = f"{abs(ahead):.1f} s {'behind' if ahead > 0 else 'ahead of'} this machine's"
    fix = "Synchronize this machine's clock (NTP). Signed webhooks are rejected if it is five minutes off."
    return make_check(name, abs(ahead) <= CLOCK_TOLERANCE, message, fix)


# the settings


def check_settings(settings: Settings) -> Iterator[Check]:
    """Checks what is configured: stores, providers, passwords, the rate."""
    fix = "Set NEXT_STORE and NEXT_ACCESS_TOKEN, or [stores.NAME] in config/bridge.toml."
    names = ", ".join(settings.stores)
    yield make_check("stores", settings.stores or settings.installs, names or "none is configured", fix)
    on = [name for name in settings.providers if settings.is_enabled(name)]
    fix = "Set <PROVIDER>_SECRET for each provider that will call, such as ETHOCA_SECRET=user:password."
    yield make_check("providers", on, f"on: {', '.join(on)}" if on else "all are switched off", fix)
    yield _check_secret("viewer", "BRIDGE_PASSWORD", settings.password, settings)
    yield _check_secret("JSON API", "BRIDGE_API_TOKEN", settings.api_token, settings)
    yield from _check_examples(settings)
    yield _check_rate(settings)


def _check_examples(settings: Settings) -> Iterator[Check]:
    """Returns a bad check for each secret that was copied from the documentation."""
    secrets: dict[str, tuple[str | None, ...]] = {
        "BRIDGE_PASSWORD": (settings.password,),
        "BRIDGE_API_TOKEN": (settings.api_token,),
        **{settings.providers[name].secret_variable: values for name, values in settings.secrets.items()},
    }
    for variable, values in secrets.items():
        if EXAMPLES.intersection(values):
            message = "an example from the documentation, which anyone may try"
            yield Check(variable, good=False, message=message, fix="Make up a secret of your own.")


def _check_secret(name: str, variable: str, secret: str | None, settings: Settings) -> Check:
    if secret is None:
        message, fix = f"off: {variable} is not set", f"Set {variable} to use it."
        if settings.is_local:
            message = "open to this machine"
            fix = (
                f"Behind a proxy on this machine, set {variable}. Requests through the proxy may look local."
            )
        return Check(name, good=True, message=message, fix=fix)
    long = len(secret) >= SHORTEST_PASSWORD
    fix = f"Set {variable} to {SHORTEST_PASSWORD} or more random characters."
    return make_check(name, long, "on" if long else f"{variable} is short enough to guess", fix)


def _check_rate(settings: Settings) -> Check:
    limited = 0 < settings.rate <= ALLOWED_RATE
    hosts = [urlsplit(store.base_url).hostname or "" for store in settings.stores.values()]
    is_sandbox = all(map(address.is_loopback, hosts))
    message = f"{settings.rate:g} calls a second for each token" if settings.rate else "no limit"
    fix = f"Remove NEXT_RATE: 29next allows {ALLOWED_RATE:g} calls a second."
    return make_check("rate", limited or is_sandbox, f"{message}, API version {settings.api_version}", fix)


# the database


def check_database(database: Database) -> Check | None:
    """Returns why the database cannot store webhooks, or None if it can."""
    try:
        problem = migrate.problem(database)
    except Unavailable as error:
        return Check("database", good=False, message=str(error), fix=UNUSABLE)
    return Check("database", good=False, message=problem, fix=NOT_MIGRATED) if problem else None


def check_commits(settings: Settings, database: Database) -> Check:
    """Checks that commits are durable, by the settings that the database really uses."""
    with database.read() as connection:

        def ask(question: str) -> str:
            return str(connection.exec_driver_sql(question).scalar()).lower()

        if not database.sqlite:
            values = {name: ask(f"SHOW {name}") for name in ("synchronous_commit", "fsync")}
            message = "Postgres, schema current, " + ", ".join(f"{k}={v}" for k, v in values.items())
            fix = "Use a database with fsync and synchronous_commit on, without a pooler in between."
            return make_check("database", set(values.values()) <= {"on", "remote_apply"}, message, fix)
        mode, level = ask("PRAGMA journal_mode"), ask("PRAGMA synchronous")
    message = f"SQLite, schema current, journal_mode={mode}, synchronous={level}"
    if (mode, level) != ("wal", "2"):
        fix = "Put the file on a local disk, not a network one: SQLite needs it for its WAL."
        return Check("database", good=False, message=message, fix=fix)
    return check_disk_space(settings, message)


def check_disk_space(settings: Settings, message: str = "SQLite") -> Check:
    """Checks how much space the disk of an SQLite inbox has left."""
    free = shutil.disk_usage(address.sqlite_file(settings.database_url).resolve().parent).free
    message = f"{message}, {free // 1_000_000} MB free"
    return make_check("database", free >= LEAST_FREE, message, "Free some space on the disk of the database.")


def check_postgres(database: Database, clock: Callable[[], float]) -> Iterator[Check]:
    """Checks the connection to a Postgres database, and its clock."""
    if database.sqlite:
        return
    with database.read() as connection:
        here = "host(inet_server_addr()) IN ('127.0.0.1', '::1') OR inet_server_addr() IS NULL"
        tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        local = bool(connection.exec_driver_sql(f"SELECT {here}").scalar())
        encrypted = bool(connection.exec_driver_sql(tls).scalar())
    message = "encrypted" if encrypted else "on this machine" if local else "in clear text"
    on_purpose = database.engine.url.query.get("sslmode") == "disable"
    fix = "Add ?sslmode=require to DATABASE_URL, or ?sslmode=disable if the network in between is your own."
    yield make_check("database's connection", encrypted or local or on_purpose, message, fix)
    yield check_clock("database's clock", clock() - database.now())


def check_worker(seen_at: float | None, now: float) -> Check:
    """Checks when the last heartbeat of a worker was received."""
    silence = None if seen_at is None else now - seen_at
    message = "no heartbeat received yet" if silence is None else f"last heartbeat {silence:.0f} s ago"
    fix = "Start `bridge worker` (on Heroku `heroku ps:scale worker=1`): nothing is forwarded without it."
    return make_check("worker", silence is not None and silence <= GONE_AFTER, message, fix)


# the stores


def check_pauses(stores: Iterable[Store], paused: Mapping[str, str]) -> Iterator[Check]:
    """Returns a bad check for each paused store, and for each store without a token."""
    for store in stores:
        why = paused.get(store.name)
        if why is not None and why != store.missing:
            again = "The bridge retries twice a minute and then continues by itself."
            fix = f"Correct what 29next reports. {again}"
            if why == BY_HAND:
                fix = "Resume it on the page /stores."
            yield Check(f"{store.name}: paused", good=False, message=why, fix=fix)
        if store.missing:
            fix = f"Ask its merchant to open /install?store={store.name}.29next.store"
            fix += f", or run `bridge stores --forget {store.name}` if it is gone."
            yield Check(f"{store.name}: token", good=False, message=store.missing, fix=fix)
