"""The settings: the environment and `bridge.toml`, read once at boot. All problems are reported at once.

`load` takes the environment as an argument: nothing here reads a variable of the process.
"""

from __future__ import annotations

import hmac
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from pathlib import Path

from bridge import providers
from bridge.alert import Alert
from bridge.disputes import payloads
from bridge.errors import SettingsError
from bridge.providers.base import Provider
from bridge.providers.outcomes import Outcome
from bridge.providers.pull import Pull
from bridge.settings import address, environment, file
from bridge.settings.file import Route
from bridge.settings.oauth import OAuthKeys
from bridge.validation import checked

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, which has `config/` beside the package."""
PACE_MARGIN = 1.1
"""A gap of 0.275 s keeps any second below five calls, even if one of them leaves a tenth late."""
SHUTDOWN_SECONDS = 30.0
"""How long a platform waits between SIGTERM and SIGKILL."""
NOT_INSTALLED = "The app is not installed in this store yet."


@dataclass(frozen=True)
class Store:
    """A merchant's store at 29next, and how the bridge calls it."""

    name: str
    base_url: str
    token: str = field(repr=False)
    observe: bool = False  # translate, match and show; send nothing
    look_first: bool = False  # look the dispute up before every write
    metadata: tuple[str, ...] = payloads.METADATA
    installed: bool = False  # the merchant installed the app, which brought the token
    missing: str = ""  # why there is no token, so that nothing is sent; empty if there is one


@dataclass(frozen=True)
class Notify:
    """Where notifications go; times are seconds."""

    url: str = field(repr=False)
    form: str = "slack"  # or json
    queue_old: float = 600.0


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; times are seconds."""

    database_url: str = field(default="sqlite:///bridge.db", repr=False)
    stores: Mapping[str, Store] = field(default_factory=dict)  # storage.installations adds to them
    default_store: str | None = None
    routes: tuple[Route, ...] = ()
    providers: Mapping[str, Provider] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    api_keys: Mapping[str, str | OAuthKeys] = field(default_factory=dict, repr=False)  # by provider
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
    on_loopback: bool = False  # the server is bound to loopback
    proxy_hops: int = 0  # proxies in front that are trusted to name their clients
    notify: Notify | None = None
    keep_bodies: float | None = None  # seconds; None keeps them forever
    keep_index: float | None = None
    dispute_url: str | None = None  # a dispute's page at 29next: a pattern with {store} and {dispute}
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    encryption_keys: tuple[str, ...] = field(default=(), repr=False)  # the newest first
    metadata: tuple[str, ...] = payloads.METADATA  # of stores that are not configured
    sandbox_url: str | None = None  # replaces the base URL of every installed store

    @property
    def is_local(self) -> bool:
        """Whether only this machine should reach the server, which then needs no password."""
        named_here = self.public_url is None or address.is_local_url(self.public_url)
        return self.on_loopback and not self.proxy_hops and named_here

    @property
    def gap(self) -> float:
        """Seconds between two calls with one token; 0 where the limit is lifted."""
        return PACE_MARGIN / self.rate if self.rate else 0.0

    @property
    def lease(self) -> float:
        """Seconds of a worker's lease: one call with its slot, and a platform's shutdown."""
        return self.timeout + SHUTDOWN_SECONDS + 5.0

    @property
    def installs(self) -> bool:
        """Whether merchants may install the bridge in their stores."""
        return self.client_id is not None and self.client_secret is not None

    def base_url_of(self, store: str) -> str:
        """Returns the base URL of the Admin API of a store that is not configured."""
        return self.sandbox_url or _store_url(store)

    def store_name_of(self, provider: str, alert: Alert, named: str | None) -> str | None:
        """Returns the name of an alert's store: by its URL, its first fitting route, or the default."""
        routed = (route.store for route in self.routes if route.fits(provider, alert))
        return named if named is not None else next(routed, self.default_store)

    def store_of(self, provider: str, alert: Alert, named: str | None) -> Store | None:
        """Returns the store of an alert, or None if there is no such store."""
        name = self.store_name_of(provider, alert, named)
        return None if name is None else self.stores.get(name)

    def secrets_of(self, provider: str, store: str | None) -> tuple[str, ...]:
        """Returns the secrets that a provider may use at its URL, or at its URL of a store."""
        secrets = self.secrets.get(provider, ())
        if provider == "next" and store:
            return secrets + tuple(_own_secret(secret, store) for secret in secrets)
        return secrets

    def signing_secret(self, store: Store) -> str | None:
        """Returns the secret that 29next signs a store's webhooks with.

        An installed store has one of its own, since its merchant can read it.
        """
        secret = next(iter(self.secrets.get("next", ())), None)
        return _own_secret(secret, store.name) if secret and store.installed else secret

    def outcomes_of(self, store: str) -> Mapping[str, Outcome]:
        """Returns by provider how to report the outcomes of a store's alerts. An observed store has none."""
        if store not in self.stores or self.stores[store].observe:
            return {}
        outcomes = {name: provider.outcome for name, provider in self.providers.items()}
        return {name: outcome for name, outcome in outcomes.items() if outcome and outcome.on}

    @property
    def reporting(self) -> list[str]:
        """The names of the providers to which the bridge reports outcomes."""
        return [name for name, each in self.providers.items() if each.outcome and each.outcome.on]

    @property
    def pulled(self) -> Mapping[str, Pull]:
        """The providers whose alerts are pulled, and how."""
        pulls = {name: provider.pull for name, provider in self.providers.items()}
        return {name: pull for name, pull in pulls.items() if pull and pull.every is not None}

    def is_enabled(self, provider: str) -> bool:
        """Whether the bridge takes alerts of a provider, pushed or pulled."""
        return bool(self.secrets.get(provider)) or provider in self.pulled

    @property
    def base_url(self) -> str:
        """The URL of the bridge, without a slash at the end."""
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    def url_of(self, provider: str) -> str:
        """Returns the URL to register with a provider."""
        return f"{self.base_url}/webhooks/{provider}"


def _own_secret(secret: str, store: str) -> str:
    """Returns the secret of one store's webhooks. It is no proof for another store."""
    return hmac.new(secret.encode(), f"webhooks of {store}".encode(), "sha256").hexdigest()


def load(environ: Mapping[str, str], root: Path) -> Settings:
    """Reads the settings; raises SettingsError with every problem.

    A variable that is empty counts as unset. BRIDGE_CONFIG is relative to `root`.
    """
    problems: list[str] = []
    env = checked(environment.Environment(), environ, problems)
    default, token, installs = env.get("store"), env.get("token"), bool(env.get("encryption_keys"))
    name, content = file.parse(root, env.get("config"), problems)
    built_in = providers.built_in()
    schema = file.schema(content, default, built_in, has_token=bool(token), installs=installs)
    config = checked(schema, content, problems, name)
    in_file = config.get("providers", {})  # what is invalid in it is no Provider
    valid = {slug: table for slug, table in in_file.items() if isinstance(table, Provider)}
    all_providers, notify = built_in | valid, config.get("notify", {})

    tables: dict[str, typing.Any] = config.get("stores", {})
    token_variables = {store: table.pop("token_env", None) for store, table in tables.items()}
    if default and not token_variables.get(default) and (token or default not in tables):
        token_variables[default] = "NEXT_ACCESS_TOKEN"
    of_providers = chain(*(environment.of_provider(provider, environ) for provider in all_providers.values()))
    of_stores = [environment.of_store(variable) for variable in token_variables.values() if variable]
    of_hooks = [environment.of_hook(notify["url_env"])] if notify.get("url_env") else []
    keys, tokens, hooks = (
        checked(environment.schema(variables), environ, problems)
        for variables in (of_providers, of_stores, of_hooks)
    )

    problems += _api_problems(all_providers, name)
    problems += _network_problems(all_providers, env)
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))  # two stores may have one variable
    metadata = config.get("metadata", payloads.METADATA)
    stores = {
        store: _store(store, tokens.get(variable, ""), {"metadata": metadata, **tables.get(store, {})})
        for store, variable in token_variables.items()
    }
    if default and env["base_url"]:
        stores[default] = replace(stores[default], base_url=env["base_url"])
    from_environment = {known.name: env[known.name] for known in fields(Settings) if known.name in env}
    from_environment["database_url"] = environment.database_url(env)
    from_environment["proxy_hops"] = environment.proxy_hops(env)
    return Settings(
        **from_environment,
        stores=stores,
        default_store=default,
        routes=tuple(config["routes"]),
        providers=all_providers,
        secrets={slug: _secrets(provider, keys) for slug, provider in all_providers.items()},
        api_keys={slug: _api_key(each, keys) for slug, each in all_providers.items() if each.calls_api},
        on_loopback=environment.on_loopback(env),
        notify=Notify(hooks[notify["url_env"]], notify["form"], notify["queue_old"]) if notify else None,
        keep_bodies=config["retention"]["bodies"],
        keep_index=config["retention"]["index"],
        dispute_url=config["dispute_url"],
        metadata=metadata,
        sandbox_url=environment.sandbox_url(env),
    )


def _store(name: str, token: str, table: Mapping[str, typing.Any]) -> Store:
    """Returns a store. Without a token it is not installed yet."""
    missing = "" if token else NOT_INSTALLED
    return Store(name=name, token=token, missing=missing, **{"base_url": _store_url(name), **table})


def _secrets(provider: Provider, values: Mapping[str, str | None]) -> tuple[str, ...]:
    """Returns a provider's current secret and, during a rotation, the previous one."""
    current = provider.secret_variable
    return tuple(filter(None, (values[current], values[f"{current}_PREVIOUS"])))


def _api_key(provider: Provider, values: Mapping[str, typing.Any]) -> str | OAuthKeys:
    """Returns what authorizes the calls to a provider's API: a key, or keys for OAuth."""
    key = values[provider.key_variable]
    return OAuthKeys(values[provider.consumer_variable], key) if provider.oauth else key


def _api_problems(all_providers: Mapping[str, Provider], file_name: str) -> Iterator[str]:
    """Yields a line for each provider whose API's URL is missing, or is not safe to send a key to."""
    expected = "expected https:// and a host's name (http:// only to this machine), without query"
    for slug, provider in all_providers.items():
        key = f"{file_name}: providers.{slug}.api_url"
        if provider.calls_api and provider.api_url is None:
            yield f"{key}: missing; {provider.title} gives each merchant its own"
        elif provider.calls_api and not address.is_service(provider.api_url or ""):
            yield f"{key}: {expected}"


def _network_problems(all_providers: Mapping[str, Provider], env: Mapping[str, typing.Any]) -> Iterator[str]:
    """Yields a line for each provider with `networks`, if a proxy on this machine hides their addresses."""
    if environment.on_loopback(env) and environment.is_public(env) and not environment.proxy_hops(env):
        for slug, provider in all_providers.items():
            if not provider.may_call_from("127.0.0.1"):
                expected = "expected at least 1: a proxy on this machine hides the addresses of"
                yield f"BRIDGE_PROXY_HOPS: {expected} providers.{slug}.networks"


def _store_url(name: str) -> str:
    return f"https://{name}.29next.store/api/admin/"
