"""The settings: the environment and `bridge.toml`, read once at boot, all problems told at once.

This module is handed the environment by the doors and reads no variable itself.
"""

from __future__ import annotations

import hmac
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from bridge import providers
from bridge.alert import Alert
from bridge.disputes import payloads
from bridge.errors import SettingsError
from bridge.providers.base import Provider
from bridge.providers.outcomes import Outcome
from bridge.providers.pull import Pull
from bridge.settings import address, environment, file
from bridge.settings.environment import HEADER_WORD
from bridge.settings.file import METADATA_KEYS, Route
from bridge.settings.oauth import OAuthKeys
from bridge.validation import checked

__all__ = [
    "HEADER_WORD",
    "METADATA_KEYS",
    "NOT_INSTALLED",
    "Notify",
    "OAuthKeys",
    "Route",
    "Settings",
    "Store",
    "load",
]

PACE_MARGIN = 1.1
"""A gap of 0.275 s keeps four calls out of any second also where one of them leaves a tenth late."""
SHUTDOWN_SECONDS = 30.0
"""What a platform leaves a process between SIGTERM and SIGKILL."""
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
    api_keys: Mapping[str, str | OAuthKeys] = field(default_factory=dict, repr=False)  # of called providers
    api_version: str = "2023-02-10"
    rate: float = 4.0
    timeout: float = 20.0
    settle_seconds: float = 60.0
    password: str | None = field(default=None, repr=False)
    api_token: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    public_url: str | None = None
    port: int = 8000
    log_level: str = "INFO"
    on_loopback: bool = False  # the server itself is bound to loopback
    proxy_hops: int = 0  # proxies in front, each of which is trusted to name its client
    notify: Notify | None = None
    keep_bodies: float | None = None  # seconds; None keeps them forever
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
    def reported(self) -> list[str]:
        """Return the providers that are told how their alerts ended."""
        return [name for name, one in self.providers.items() if one.outcome and one.outcome.on]

    @property
    def pulled(self) -> Mapping[str, Pull]:
        """Return the providers whose alerts are pulled, and how."""
        known = {name: one.pull for name, one in self.providers.items() if one.pull}
        return {name: pull for name, pull in known.items() if pull.every is not None}

    def is_on(self, provider: str) -> bool:
        """Whether alerts of a provider come in, pushed or pulled."""
        return bool(self.secrets.get(provider)) or provider in self.pulled

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
    env = checked(environment.Environment(), environ, problems)
    default, token, installs = env.get("store"), env.get("token"), bool(env.get("encryption_keys"))
    name, content = file.parse(root, env.get("config"), problems)
    built_in = providers.built_in()
    schema = file.schema(content, default, built_in, has_token=bool(token), installs=installs)
    said = checked(schema, content, problems, name)
    changed = {slug: one for slug, one in said.get("providers", {}).items() if isinstance(one, Provider)}
    known, notify = built_in | changed, said.get("notify", {})

    tables: dict[str, typing.Any] = said.get("stores", {})
    names = {store: table.pop("token_env", None) for store, table in tables.items()}
    if default and not names.get(default) and (token or default not in tables):
        names[default] = "NEXT_ACCESS_TOKEN"
    of_providers = [one for provider in known.values() for one in environment.of_provider(provider, environ)]
    of_stores = [environment.of_store(one) for one in names.values() if one]
    of_hooks = [environment.of_hook(one) for one in [notify.get("url_env")] if one]
    keys, tokens, hooks = (
        checked(environment.schema(variables), environ, problems)
        for variables in (of_providers, of_stores, of_hooks)
    )

    problems += _of_apis(known, name)
    problems += _of_networks(known, env)
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))  # two stores may have one variable
    metadata = said.get("metadata", payloads.METADATA)
    stores = {
        store: _store(
            store, tokens[variable] if variable else "", {"metadata": metadata, **tables.get(store, {})}
        )
        for store, variable in names.items()
    }
    if default and env["base_url"]:
        stores[default] = replace(stores[default], base_url=env["base_url"])
    own = {one.name: env[one.name] for one in fields(Settings) if one.name in env}
    own |= {"database_url": environment.database_url(env), "proxy_hops": environment.proxy_hops(env)}
    called = [one for one in known.values() if one.calls_api]
    return Settings(
        **own,
        stores=stores,
        default_store=default,
        routes=tuple(said["routes"]),
        providers=known,
        secrets={slug: _secrets(one, keys) for slug, one in known.items()},
        api_keys={one.name: _api_key(one, keys) for one in called},
        on_loopback=environment.on_loopback(env),
        notify=Notify(hooks[notify["url_env"]], notify["form"], notify["queue_old"]) if notify else None,
        keep_bodies=said["retention"]["bodies"],
        keep_index=said["retention"]["index"],
        dispute_url=said["dispute_url"],
        metadata=metadata,
        sandbox_url=environment.sandbox_url(env),
    )


def _store(name: str, token: str, table: Mapping[str, typing.Any]) -> Store:
    """Make a store of its token and its table; without a token it is not installed yet."""
    missing = "" if token else NOT_INSTALLED
    return Store(name=name, token=token, missing=missing, **{"base_url": _store_url(name), **table})


def _secrets(provider: Provider, values: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return a provider's current secret and, during a rotation, the previous one."""
    current = provider.secret_variable
    return tuple(filter(None, (values[current], values[f"{current}_PREVIOUS"])))


def _api_key(provider: Provider, values: Mapping[str, typing.Any]) -> str | OAuthKeys:
    """Return what the calls to a provider's API are authorized by."""
    key = values[provider.key_variable]
    return OAuthKeys(values[provider.consumer_variable], key) if provider.oauth else key


def _of_apis(known: Mapping[str, Provider], name: str) -> Iterator[str]:
    """Name the providers whose API is not known, or may be somewhere that no key should go."""
    said = "expected https:// and a host's name (http:// only to this machine), without query"
    for slug, one in known.items():
        if one.calls_api and one.api_url is None:
            yield f"{name}: providers.{slug}.api_url: missing; {one.title} tells each merchant its own"
        elif one.calls_api and not address.is_service(one.api_url or ""):
            yield f"{name}: providers.{slug}.api_url: {said}"


def _of_networks(known: Mapping[str, Provider], env: Mapping[str, typing.Any]) -> Iterator[str]:
    """Name the providers that are known by their address, where a proxy on this machine hides it."""
    if environment.on_loopback(env) and environment.is_public(env) and not environment.proxy_hops(env):
        for slug, one in known.items():
            if not one.may_call_from("127.0.0.1"):
                said = "expected at least 1: a proxy on this machine hides the addresses of"
                yield f"BRIDGE_PROXY_HOPS: {said} providers.{slug}.networks"


def _store_url(name: str) -> str:
    return f"https://{name}.29next.store/api/admin/"
