"""The settings: the environment and `bridge.toml`, read once at boot, all problems told at once.

This module is handed the environment by the doors and reads no variable itself. `bridge.toml` names
variables and never holds a secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from bridge import providers, toml
from bridge.alert import Alert
from bridge.disputes import payloads
from bridge.errors import SettingsError
from bridge.providers import custom
from bridge.providers.base import Outcome, Provider
from bridge.settings import address

if typing.TYPE_CHECKING:
    from bridge.toml import Section

API_VERSIONS = ("2023-02-10", "2024-04-01")
LOG_LEVELS = ("INFO", "DEBUG", "WARNING", "ERROR")
DISPUTE_URL = re.compile(r"https://(?:[^\s{}]|\{store\})+\{dispute\}(?:[^\s{}]|\{store\})*")
STORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Z][A-Z0-9]{0,19}(?:_[A-Z0-9]{1,20})*")
HEADER_WORD = re.compile(r"[\x21-\x7e]+")
NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
KEY_BYTES = 32
MOST_HOPS = 9
PACE_MARGIN = 1.1
"""A gap of 0.275 s keeps four calls out of any second also where one of them leaves a tenth late."""
SHUTDOWN_SECONDS = 30.0
"""What a platform leaves a process between SIGTERM and SIGKILL."""
QUOTES = "\"'"
"""What `docker --env-file` and others keep around a value, so that it counts as a part of it."""
ROUTE_KEYS = ("mid", "member_id", "merchant_id", "descriptor")
METADATA_KEYS = (
    "bridge_provider",
    "bridge_network",
    "bridge_reason_code",
    "bridge_amount",
    "bridge_order",
    "bridge_descriptor",
    "bridge_auth_code",
    "bridge_card",
)
"""What `payloads.decoration` can say."""
SHORTEST_RETENTION = timedelta(days=8)
SHORTEST_INDEX = timedelta(days=30)
"""A delivery that failed stays replayable for a week."""
NOT_INSTALLED = "The app is not installed in this store yet."


@dataclass(frozen=True)
class Store:
    """A merchant's shop at 29next, and how the bridge reaches it."""

    name: str
    base_url: str
    token: str = field(repr=False)
    observe: bool = False  # translate, match and show; send nothing
    look_first: bool = False  # look before every write
    metadata: tuple[str, ...] = payloads.METADATA
    installed: bool = False  # by its merchant, who also gave the token
    missing: str = ""  # why there is no token: nothing is sent


@dataclass(frozen=True)
class Route:
    """Which alerts go to which store."""

    store: str
    provider: str | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)  # an alert's fact -> the value or pattern

    def fits(self, provider: str, alert: Alert) -> bool:
        """Whether an alert takes this route."""
        if self.provider not in (None, provider):
            return False
        facts = {name: getattr(alert, name) or "" for name in self.wanted}
        return all(
            _like(value, facts[name]) if name == "descriptor" else facts[name] == value
            for name, value in self.wanted.items()
        )


@dataclass(frozen=True)
class Notify:
    """Where the operator is told what needs a person; times are seconds."""

    url: str = field(repr=False)
    form: str = "slack"  # or json
    queue_old: float = 600.0


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; times are seconds."""

    database_url: str = field(default="sqlite:///bridge.db", repr=False)
    stores: Mapping[str, Store] = field(default_factory=dict)
    default_store: str | None = None
    routes: tuple[Route, ...] = ()
    providers: Mapping[str, Provider] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the providers that are told
    api_version: str = API_VERSIONS[0]
    rate: float = 4.0
    timeout: float = 20.0
    settle_seconds: float = 60.0
    password: str | None = field(default=None, repr=False)
    api_token: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    public_url: str | None = None
    port: int = 8000
    log_level: str = LOG_LEVELS[0]
    on_loopback: bool = False  # the server itself is bound to loopback
    proxy_hops: int = 0  # proxies in front, each of which is trusted to name its client
    notify: Notify | None = None
    keep_bodies: float | None = None  # None keeps them for ever
    keep_index: float | None = None
    dispute_url: str | None = None  # where a person sees a dispute: a pattern with {store} and {dispute}
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    encryption_keys: tuple[str, ...] = field(default=(), repr=False)  # the newest first
    metadata: tuple[str, ...] = payloads.METADATA  # of stores that are not configured
    sandbox_url: str | None = None  # takes the place of every installed store's base URL

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine is meant to reach the server: it needs no password then."""
        named_here = self.public_url is None or address.leads_here(self.public_url)
        return self.on_loopback and not self.proxy_hops and named_here

    @property
    def gap(self) -> float:
        """Seconds between two calls with one token; 0 where the limit is lifted."""
        return PACE_MARGIN / self.rate if self.rate else 0.0

    @property
    def lease(self) -> float:
        """Seconds that a worker holds a case: one call and its slot, and a platform's shutdown."""
        return self.timeout + SHUTDOWN_SECONDS + 5.0

    @property
    def sqlite(self) -> bool:
        """Whether the inbox is a file on this machine."""
        return self.database_url.startswith("sqlite")

    @property
    def installs(self) -> bool:
        """Whether merchants may install the bridge in their stores."""
        return self.client_id is not None and self.client_secret is not None

    def base_url_of(self, store: str) -> str:
        """Return the base URL of the Admin API of a store that is not configured."""
        return self.sandbox_url or _store_url(store)

    def goes_to(self, provider: str, alert: Alert, named: str | None) -> str | None:
        """Name an alert's store: the path's, else the first route's that fits, else the default."""
        routed = (one.store for one in self.routes if one.fits(provider, alert))
        return named if named is not None else next(routed, self.default_store)

    def route(self, provider: str, alert: Alert, named: str | None) -> Store | None:
        """Return the store of an alert, if there is such a store."""
        name = self.goes_to(provider, alert, named)
        return None if name is None else self.stores.get(name)

    def secrets_of(self, provider: str, store: str | None) -> tuple[str, ...]:
        """Return what a provider may prove itself with at the URL of a store, or at that of all."""
        known = self.secrets.get(provider, ())
        return known + tuple(_own_secret(one, store) for one in known if provider == "next" and store)

    def signing_secret(self, store: Store) -> str | None:
        """Return what 29next signs a store's webhooks with: one of its own where a merchant can read it."""
        secret = next(iter(self.secrets.get("next", ())), None)
        return _own_secret(secret, store.name) if secret and store.installed else secret

    def told(self, store: str) -> Mapping[str, Outcome]:
        """Return the providers that are told how a store's alerts ended; an observed store tells none."""
        if store not in self.stores or self.stores[store].observe:
            return {}
        known = {name: one.outcome for name, one in self.providers.items() if one.outcome}
        return {name: outcome for name, outcome in known.items() if outcome.on}

    @property
    def base_url(self) -> str:
        """Where the bridge is reached, without a slash at the end."""
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    def url_of(self, provider: str) -> str:
        """Return the URL to register with a provider."""
        return f"{self.base_url}/webhooks/{provider}"


def _own_secret(secret: str, store: str) -> str:
    """Derive the secret of one store's webhooks, which proves nothing for another store."""
    return hmac.new(secret.encode(), f"webhooks of {store}".encode(), "sha256").hexdigest()


def load(environ: Mapping[str, str], root: Path) -> Settings:
    """Read the settings; raises SettingsError with every problem.

    A variable that is empty counts as unset. BRIDGE_CONFIG is relative to `root`.
    """
    problems: list[str] = []
    env = _Environment(environ, problems)
    file = _file(env, root)
    file.only("metadata", "stores", "routes", "providers", "notify", "retention", "dispute_url")
    client = _client(env)
    keys = _encryption_keys(env, required=client is not None)
    stores, default = _stores(env, file, installs=bool(keys))
    known = custom.configure(file.section("providers"), providers.built_in())
    settings = Settings(
        database_url=_database_url(env),
        stores=stores,
        default_store=default,
        routes=_routes(file, stores, {*known, *file.section("providers")}, installs=bool(keys)),
        providers=known,
        secrets={name: _secrets(env, provider) for name, provider in known.items()},
        api_keys=_api_keys(env, file.section("providers"), known),
        api_version=env.one_of("NEXT_API_VERSION", API_VERSIONS),
        rate=env.number("NEXT_RATE", 4.0, least=0.0, most=100.0),
        timeout=env.number("NEXT_TIMEOUT", 20.0, least=0.1, most=300.0),
        settle_seconds=env.number("NEXT_SETTLE_SECONDS", 60.0, least=0.0, most=3600.0),
        password=_password(env),
        api_token=env.header_word("BRIDGE_API_TOKEN", "a bearer token"),
        secret_key=env.secret("SECRET_KEY"),
        public_url=_public_url(env),
        port=env.integer("PORT", 8000, least=1, most=65535),
        log_level=env.one_of("LOG_LEVEL", LOG_LEVELS, upper=True),
        on_loopback=_bound_to_loopback(env),
        proxy_hops=env.integer("BRIDGE_PROXY_HOPS", _platform_hops(env), least=0, most=MOST_HOPS),
        notify=_notify(env, file),
        keep_bodies=_retention(file, "bodies", SHORTEST_RETENTION),
        keep_index=_retention(file, "index", SHORTEST_INDEX),
        dispute_url=file.text(
            "dispute_url",
            "a URL with {dispute} in it, such as https://{store}.29next.store/.../{dispute}/",
            fits=DISPUTE_URL.fullmatch,
        ),
        client_id=client[0] if client else None,
        client_secret=client[1] if client else None,
        encryption_keys=keys,
        metadata=_metadata(file, payloads.METADATA),
        sandbox_url=_sandbox_url(env),
    )
    env.integer("WEB_CONCURRENCY", 1, least=1, most=1000)  # gunicorn's, whose own complaint is a traceback
    if problems:
        raise SettingsError(problems)
    return settings


class _Environment:
    """The variables, and what is wrong with them; a secret's value is never said."""

    def __init__(self, environ: Mapping[str, str], problems: list[str]) -> None:
        self.environ = environ
        self.problems = problems
        self.quoted: set[str] = set()

    def wrong(self, name: str, said: str) -> None:
        self.problems.append(f"{name}: {said}")

    def text(self, name: str, default: str = "") -> str:
        return (self.secret(name) or "").strip() or default

    def secret(self, name: str) -> str | None:
        value = self.environ.get(name, "")
        plain = value.strip()
        if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in QUOTES and name not in self.quoted:
            self.quoted.add(name)
            self.wrong(name, f"the value stands in quotes ({plain[0]}); take them away")
        return value if plain else None

    def header_word(self, name: str, what: str) -> str | None:
        """Return a secret that a header can carry."""
        value = self.text(name)
        if value and not HEADER_WORD.fullmatch(value):
            self.wrong(name, f"expected {what}: one word of plain characters")
        return value or None

    def one_of(self, name: str, words: tuple[str, ...], *, upper: bool = False) -> str:
        value = self.text(name, words[0])
        value = value.upper() if upper else value
        if value not in words:
            self.wrong(name, f"expected one of {', '.join(words)}, not {value[:40]!r}")
        return value

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        text = self.text(name)
        if not text:
            return default
        value = float(text) if NUMBER.fullmatch(text) else -1.0
        if not least <= value <= most:
            self.wrong(name, f"expected a number from {least:g} to {most:g}, not {text[:40]!r}")
            return default
        return value

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        text = self.text(name, str(default))
        value = int(text) if NUMBER.fullmatch(text) and text.isdecimal() else -1
        if not least <= value <= most:
            self.wrong(name, f"expected a whole number from {least} to {most}, not {text[:40]!r}")
            return default
        return value


# the environment's own


def _database_url(env: _Environment) -> str:
    given = env.text("DATABASE_URL", "sqlite:///bridge.db")
    tls = bool(env.text("DYNO")) and not env.text("PGSSLMODE")
    try:
        url = address.database_url(given, require_tls=tls)
    except ValueError as error:
        env.wrong("DATABASE_URL", str(error))
        return given
    if url.startswith("sqlite") and _loses_its_disk(env, address.sqlite_file(url)):
        env.wrong(
            "DATABASE_URL",
            "this platform throws the disk away at every restart, and acknowledged alerts with it; "
            "add Postgres (or set ALLOW_EPHEMERAL_SQLITE=1 for a trial)",
        )
    return url


def _loses_its_disk(env: _Environment, file: Path) -> bool:
    allowed = env.text("ALLOW_EPHEMERAL_SQLITE")
    if allowed not in ("", "0", "1"):
        env.wrong("ALLOW_EPHEMERAL_SQLITE", "expected 1, or nothing")
    if allowed == "1":
        return False
    return bool(env.text("DYNO")) or (bool(env.text("RENDER")) and not _on_a_mounted_disk(file))


def _on_a_mounted_disk(file: Path) -> bool:
    folders = file.resolve().parents
    return any(folder.is_mount() for folder in folders if folder != folder.parent)


def _public_url(env: _Environment) -> str | None:
    url = env.text("BRIDGE_PUBLIC_URL")
    if url and not address.is_url(url):
        env.wrong("BRIDGE_PUBLIC_URL", "expected a URL such as https://alerts.example.com")
    return url or None


def _bound_to_loopback(env: _Environment) -> bool:
    if (bound := env.text("BRIDGE_BIND")) and not address.is_bind(bound):
        env.wrong("BRIDGE_BIND", f"expected a host and a port, such as 127.0.0.1:8000, not {bound!r}")
    return _on_loopback(env)


def _on_loopback(env: _Environment) -> bool:
    return address.is_loopback(env.text("BRIDGE_BIND").rpartition(":")[0])


def _password(env: _Environment) -> str | None:
    """Return the viewer's password; a server on loopback that a proxy makes public must have one."""
    password, url = env.secret("BRIDGE_PASSWORD"), env.text("BRIDGE_PUBLIC_URL")
    if password is None and url and _on_loopback(env) and not address.leads_here(url):
        env.wrong("BRIDGE_PASSWORD", "missing; set a long one, since BRIDGE_PUBLIC_URL leads others here")
    return password


def _platform_hops(env: _Environment) -> int:
    """Return how many proxies stand before the server: Heroku's router, Render's edge and its router."""
    return 1 if env.text("DYNO") else 2 if env.text("RENDER") else 0


def _secrets(env: _Environment, provider: Provider) -> tuple[str, ...]:
    """Return a provider's current secret and, during a rotation, the previous one."""
    current, previous = provider.secret_variable, f"{provider.secret_variable}_PREVIOUS"
    found = {name: env.text(name) for name in (current, previous) if env.text(name)}
    for name, secret in found.items():
        if problem := provider.proof.problem(secret):
            env.wrong(name, f"{problem} (proof: {provider.proof.kind})")
    if previous in found and current not in found:
        env.wrong(current, f"missing, though {previous} is set")
    return tuple(found.values())


def _api_keys(env: _Environment, file: Section, known: Mapping[str, Provider]) -> dict[str, str]:
    """Return the key for each provider that is told of outcomes; its API may be another, as trusted."""
    keys = {}
    for name, one in known.items():
        key = env.header_word(one.key_variable, "the key of its API") if one.outcome else None
        if one.outcome is None or not one.outcome.on:
            continue
        if not address.is_service(one.outcome.url):
            said = "expected https:// and a host's name (http:// only to this machine), without query"
            file.section(name).wrong("outcome_url", said)
        keys[name] = key or ""
        if key is None:
            env.wrong(one.key_variable, f"missing, though providers.{name}.outcome is on")
    return keys


def _client(env: _Environment) -> tuple[str, str] | None:
    """Read what the bridge is known by at 29next; with it, merchants may install it."""
    names = ("NEXT_CLIENT_ID", "NEXT_CLIENT_SECRET")
    words = [env.header_word(name, "the app's, as 29next shows it") for name in names]
    if not any(map(env.text, names)):
        return None
    for name, word, other in zip(names, words, reversed(names), strict=True):
        if word is None and not env.text(name):
            env.wrong(name, f"missing, though {other} is set")
    public = urlsplit(env.text("BRIDGE_PUBLIC_URL"))
    if public.scheme != "https" and not address.is_loopback(public.hostname or ""):
        env.wrong("BRIDGE_PUBLIC_URL", "expected an https:// URL, to which stores send their merchants back")
    return words[0] or "", words[1] or ""


def _encryption_keys(env: _Environment, *, required: bool) -> tuple[str, ...]:
    """Read the keys of the tokens that are kept: the newest first; none is ever shown."""
    name = "BRIDGE_ENCRYPTION_KEYS"
    keys = tuple(key.strip() for key in env.text(name).split(",")) if env.text(name) else ()
    expected = "32 bytes in URL-safe base64 (44 characters), several of them with commas between"
    if required and not keys:
        env.wrong(name, f"missing; expected a key for the tokens of installed stores: {expected}")
    for number, key in enumerate(keys, start=1):
        if not _is_key(key):
            env.wrong(name, f"key {number} of {len(keys)} is none; expected {expected}")
    return keys


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_BYTES
    except (ValueError, binascii.Error):
        return False


def _sandbox_url(env: _Environment) -> str | None:
    """Return where installed stores are pretended: only on this machine, so that no token leaves it."""
    url = env.text("NEXT_BASE_URL")
    here = not address.bad_base_url(url) and address.is_loopback(urlsplit(url).hostname or "")
    return url if here else None


# bridge.toml


def _file(env: _Environment, root: Path) -> Section:
    file = env.text("BRIDGE_CONFIG", "config/bridge.toml")
    content = b""
    try:
        content = (root / file).read_bytes()
    except FileNotFoundError:
        if env.text("BRIDGE_CONFIG"):
            env.wrong("BRIDGE_CONFIG", f"there is no file {file}")
    except (OSError, ValueError) as error:
        env.wrong("BRIDGE_CONFIG", f"{file} cannot be read ({type(error).__name__})")
    return toml.parse(content, file, env.problems)


def _stores(env: _Environment, file: Section, *, installs: bool) -> tuple[dict[str, Store], str | None]:
    """Read every store, and the name of the one that takes whatever no route claims.

    With `installs`, a store's token may come by its installation.
    """
    common = _metadata(file, payloads.METADATA)
    for name in ("NEXT_STORE", "NEXT_ACCESS_TOKEN", "NEXT_BASE_URL"):
        env.text(name)  # so that quotes are named all at once
    default = _default_name(env, installs=installs)
    found = {
        name: _store(env, name, table, default, common, installs=installs)
        for name, table in file.section("stores").sections()
    }
    if default and default not in found:
        url, token = _default_url(env) or _store_url(default), _token(env, "NEXT_ACCESS_TOKEN")
        found[default] = Store(default, url, token, metadata=common)
    return found, default


def _default_name(env: _Environment, *, installs: bool) -> str | None:
    given = env.text("NEXT_STORE").lower()
    if not given:
        for name in ("NEXT_ACCESS_TOKEN", "NEXT_BASE_URL"):
            if env.text(name) and not (installs and name == "NEXT_BASE_URL"):
                env.wrong("NEXT_STORE", f"missing, though {name} is set")
        return None
    name = given.removesuffix(".29next.store")
    if not STORE_NAME.fullmatch(name):
        env.wrong("NEXT_STORE", "expected a name such as example or example.29next.store")
        return None
    return name


def _default_url(env: _Environment) -> str | None:
    url = env.text("NEXT_BASE_URL")
    if url and (problem := address.bad_base_url(url)):
        env.wrong("NEXT_BASE_URL", problem)
    return url or None


def _store(
    env: _Environment,
    name: str,
    table: Section,
    default: str | None,
    metadata: tuple[str, ...],
    *,
    installs: bool,
) -> Store:
    table.only("token_env", "base_url", "observe", "look_first", "metadata")
    if not STORE_NAME.fullmatch(name):
        table.wrong("", "a store's name is its subdomain: small letters, digits and dashes")
    is_default = name == default
    spared = is_default and bool(env.text("NEXT_ACCESS_TOKEN"))
    variable = _variable(table, "token_env", required=not spared and not installs)
    if variable is None and spared:
        variable = "NEXT_ACCESS_TOKEN"
    url = table.text("base_url", "a URL that ends in /api/admin/")
    if url and (problem := address.bad_base_url(url)):
        table.wrong("base_url", problem)
    return Store(
        name=name,
        base_url=(_default_url(env) if is_default else None) or url or _store_url(name),
        token=_token(env, variable) if variable else "",
        observe=table.truth("observe"),
        look_first=table.truth("look_first"),
        metadata=_metadata(table, metadata),
        missing="" if variable else NOT_INSTALLED,
    )


def _variable(table: Section, name: str, *, required: bool) -> str | None:
    """Return a variable's name; a secret in its place is refused, and not shown."""
    expected = "the name of an environment variable, such as ALPHA_TOKEN, never the secret itself"
    return table.text(name, expected, fits=VARIABLE.fullmatch, required=required)


def _token(env: _Environment, variable: str) -> str:
    token = env.header_word(variable, "an access token")
    if not token:
        env.wrong(variable, "missing; expected the store's access token")
    return token or ""


def _store_url(name: str) -> str:
    return f"https://{name}.29next.store/api/admin/"


def _metadata(table: Section, default: tuple[str, ...]) -> tuple[str, ...]:
    expected = f"a list of some of {', '.join(METADATA_KEYS)}"
    keys = table.texts("metadata", expected, fits=METADATA_KEYS.__contains__)
    return default if keys is None else keys


def _routes(
    file: Section, stores: Mapping[str, Store], known: set[str], *, installs: bool
) -> tuple[Route, ...]:
    found = []
    fits = STORE_NAME.fullmatch if installs else stores.__contains__
    for row in file.rows("routes"):
        row.only("provider", "store", *ROUTE_KEYS)
        names = ", ".join(stores) or "no store is configured"
        store = row.text("store", f"the name of a store ({names})", fits=fits, required=True)
        provider = row.text("provider", "the name of a provider", fits=known.__contains__)
        wanted = {name: row.text(name, "the value to route by") for name in ROUTE_KEYS}
        found.append(Route(store or "", provider, {name: value for name, value in wanted.items() if value}))
    return tuple(found)


def _like(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern, in which `*` is any text; upper and lower case are the same."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.IGNORECASE) is not None


def _notify(env: _Environment, file: Section) -> Notify | None:
    if "notify" not in file:
        return None
    table = file.section("notify")
    table.only("url_env", "form", "queue_old")
    variable = _variable(table, "url_env", required=True)
    form = table.word("form", ("slack", "json"), "slack")
    queue_old = table.duration("queue_old") or timedelta(minutes=10)
    url = env.text(variable) if variable else ""
    if variable and not address.is_hook(url):
        env.wrong(variable, "expected the URL to notify, https:// and a host's name")
    return Notify(url, str(form), queue_old.total_seconds())


def _retention(file: Section, name: str, least: timedelta) -> float | None:
    table = file.section("retention")
    table.only("bodies", "index")
    length = table.duration(name, least=least)
    return length.total_seconds() if length else None
