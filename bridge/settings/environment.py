"""The environment as a marshmallow schema: our names on the left, its variables on the right.

No message shows a secret.
"""

from __future__ import annotations

import base64
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from marshmallow import EXCLUDE, Schema, ValidationError, pre_load, validates_schema
from marshmallow.fields import Field

from bridge.providers.base import Provider
from bridge.settings import address, oauth
from bridge.validation import fitting, key

STORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
HEADER_WORD = re.compile(r"[\x21-\x7e]+")
NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
KEY_BYTES = 32
A_KEY = "32 bytes in URL-safe base64 (44 characters), several of them with commas between"
A_PUBLIC_URL = "a URL such as https://alerts.example.com"
A_BIND = "a host and a port, such as 127.0.0.1:8000"
QUOTES = "\"'"
"""`docker --env-file` and others keep them around a value, as a part of it."""


def variable(
    name: str,
    expected: str = "",
    read: Callable[[str], typing.Any] | None = None,
    default: typing.Any = None,
    *,
    shown: bool = False,
) -> Field[typing.Any]:
    """Returns the field of a variable.

    `read` takes the text without blanks around it, and returns the value or raises ValueError. The message
    is `expected`, or else the error's. With `shown` it also quotes the text.
    """

    def load(value: str) -> typing.Any:
        text = value.strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES:
            raise ValidationError(f"the value is in quotes ({text[0]}); remove them")
        try:
            return read(text) if read else value
        except ValueError as error:
            actual = f", not {text[:40]!r}" if shown else ""
            raise ValidationError(f"expected {expected}{actual}" if expected else str(error)) from None

    return key(load, name, default=default)


def required(field: Field[typing.Any], absent: str) -> Field[typing.Any]:
    """Returns the field of a variable that must be set; `absent` is the message if it is not."""
    return key(field.deserialize, field.data_key, absent=absent)


def one_of(name: str, *words: str) -> Field[typing.Any]:
    """Returns a variable whose value is one of these words in capitals. The first is the default."""
    is_word = fitting(words.__contains__)
    expected = f"one of {', '.join(words)}"
    return variable(name, expected, lambda text: is_word(text.upper()), words[0], shown=True)


def number(name: str, default: float | None, least: float, most: float) -> Field[typing.Any]:
    """Returns a variable whose value is a number: a whole one, if `least` is an int."""
    is_whole = isinstance(least, int)

    def read(text: str) -> float:
        value = float(fitting(NUMBER.fullmatch)(text))
        if not least <= value <= most or (is_whole and not text.isdecimal()):
            raise ValueError(text)
        return int(value) if is_whole else value

    expected = f"a {'whole ' if is_whole else ''}number from {least:g} to {most:g}"
    return variable(name, expected, read, default, shown=True)


def header_word(name: str, what: str) -> Field[typing.Any]:
    """Returns a variable whose value is a secret for a header."""
    return variable(name, f"{what}: one word of plain characters", fitting(HEADER_WORD.fullmatch))


def _store(text: str) -> str:
    return fitting(STORE_NAME.fullmatch)(text.lower().removesuffix(".29next.store"))


def _keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    wrong = [position for position, key in enumerate(keys, start=1) if not _is_key(key)]
    if wrong:
        raise ValidationError(
            [f"key {position} of {len(keys)} is not a key; expected {A_KEY}" for position in wrong]
        )
    return keys


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_BYTES
    except ValueError:
        return False


class Variables(Schema):
    """A schema of variables. An empty one counts as unset."""

    class Meta:
        unknown = EXCLUDE

    @pre_load
    def drop_empty(self, environ: Mapping[str, str], **_: object) -> dict[str, str]:
        """Returns the variables of the schema that are not empty."""
        names = [str(field.data_key) for field in self.fields.values()]
        return {name: environ[name] for name in names if environ.get(name, "").strip()}


class Environment(Variables):
    """The variables that do not depend on `bridge.toml`."""

    database_url = variable("DATABASE_URL", "", address.database_url, "sqlite:///bridge.db")
    store = variable("NEXT_STORE", "a name such as example or example.29next.store", _store)
    token = header_word("NEXT_ACCESS_TOKEN", "an access token")
    base_url = variable("NEXT_BASE_URL", address.A_BASE_URL, fitting(address.is_base_url))
    api_version = one_of("NEXT_API_VERSION", "2023-02-10", "2024-04-01")
    rate = number("NEXT_RATE", 4.0, 0.0, 100.0)
    timeout = number("NEXT_TIMEOUT", 20.0, 0.1, 300.0)
    settle_seconds = number("NEXT_SETTLE_SECONDS", 60.0, 0.0, 3600.0)
    client_id = header_word("NEXT_CLIENT_ID", "the app's, as 29next shows it")
    client_secret = header_word("NEXT_CLIENT_SECRET", "the app's, as 29next shows it")
    encryption_keys = variable("BRIDGE_ENCRYPTION_KEYS", "", _keys, ())
    password = variable("BRIDGE_PASSWORD")
    api_token = header_word("BRIDGE_API_TOKEN", "a bearer token")
    secret_key = variable("SECRET_KEY")
    public_url = variable("BRIDGE_PUBLIC_URL", A_PUBLIC_URL, fitting(address.is_url))
    bind = variable("BRIDGE_BIND", A_BIND, fitting(address.is_bind), "", shown=True)
    port = number("PORT", 8000, 1, 65535)
    proxy_hops = number("BRIDGE_PROXY_HOPS", None, 0, 9)
    log_level = one_of("LOG_LEVEL", "INFO", "DEBUG", "WARNING", "ERROR")
    web_concurrency = number("WEB_CONCURRENCY", None, 1, 1000)  # gunicorn's own complaint is a traceback
    config = variable("BRIDGE_CONFIG")
    ephemeral = variable("ALLOW_EPHEMERAL_SQLITE", "1, or nothing", fitting(("0", "1").__contains__), "0")
    dyno = variable("DYNO", default="")
    render = variable("RENDER", default="")
    pgsslmode = variable("PGSSLMODE", default="")

    @validates_schema(skip_on_field_errors=False)
    def check(self, read: dict[str, typing.Any], **_: object) -> None:
        """Checks variables against one another; `read` lacks those that are invalid by themselves."""
        problems = (*_missing(read), *_conflicting(read))
        if problems:
            raise ValidationError({self.fields[name].data_key: [message] for name, message in problems})


def _missing(read: Mapping[str, typing.Any]) -> Iterator[tuple[str, str]]:
    """Yields each variable that is not set but should be, and why."""

    def is_set(name: str) -> bool:
        return bool(read.get(name, True))

    may_install = bool(read.get("encryption_keys"))  # then NEXT_BASE_URL may be for installed stores
    installs = is_set("client_id") or is_set("client_secret")
    is_open = is_public(read) and on_loopback(read)
    conditions = [
        ("store", is_set("base_url") and not may_install, "missing, though NEXT_BASE_URL is set"),
        ("store", is_set("token"), "missing, though NEXT_ACCESS_TOKEN is set"),
        ("client_id", is_set("client_secret"), "missing, though NEXT_CLIENT_SECRET is set"),
        ("client_secret", is_set("client_id"), "missing, though NEXT_CLIENT_ID is set"),
        ("encryption_keys", installs, f"missing; expected a key for the tokens of installed stores: {A_KEY}"),
        ("password", is_open, "missing; set a long one, since BRIDGE_PUBLIC_URL makes this server public"),
    ]
    yield from ((name, message) for name, needed, message in conditions if needed and not is_set(name))


def _conflicting(read: Mapping[str, typing.Any]) -> Iterator[tuple[str, str]]:
    """Yields each variable whose value does not suit the others, and why."""
    public = urlsplit(read.get("public_url", "https:") or "")
    is_secure = public.scheme == "https" or address.is_loopback(public.hostname or "")
    if not is_secure and (read.get("client_id", True) or read.get("client_secret", True)):
        yield "public_url", "expected an https:// URL, to which stores send their merchants back"
    url = read.get("database_url", "")
    if url.startswith("sqlite") and read.get("ephemeral") != "1":
        folders = [folder for folder in address.sqlite_file(url).resolve().parents if folder != folder.parent]
        if read.get("dyno") or (read.get("render") and not any(map(Path.is_mount, folders))):
            reason = "this platform deletes the disk at every restart, with all acknowledged alerts"
            yield "database_url", f"{reason}; add Postgres (or set ALLOW_EPHEMERAL_SQLITE=1 for a trial)"


def schema(variables: Iterable[Field[typing.Any]]) -> Schema:
    """Returns the schema of these variables, each under its own name."""
    return Variables.from_dict({str(field.data_key): field for field in variables})()


def of_provider(provider: Provider, environ: Mapping[str, str]) -> list[Field[typing.Any]]:
    """Returns the variables of a provider: its secret, the previous secret, and the keys of its API."""

    def read(secret: str) -> str:
        if problem := provider.proof.problem(secret):
            raise ValueError(f"{problem} (proof: {provider.proof.kind})")
        return secret

    name = provider.secret_variable
    current, previous = variable(name, "", read), variable(f"{name}_PREVIOUS", "", read)
    if environ.get(f"{name}_PREVIOUS", "").strip():
        current = required(current, f"missing, though {name}_PREVIOUS is set")
    return [current, previous, *_of_api(provider, environ)]


def _of_api(provider: Provider, environ: Mapping[str, str]) -> Iterator[Field[typing.Any]]:
    """Yields the variables of the keys of a provider's API, if the bridge can call it."""
    if provider.oauth:
        name, password = provider.key_variable, environ.get(f"{provider.key_variable}_PASSWORD", "").strip()
        consumer_key = variable(
            provider.consumer_variable,
            "the consumer key, as the developer portal shows it",
            fitting(oauth.CONSUMER_KEY.fullmatch),
        )
        signing_key = partial(oauth.signing_key, password=password, variable=name)
        keys = [consumer_key, variable(name, "", signing_key)]
    elif provider.outcome:
        keys = [header_word(provider.key_variable, "the key of its API")]
    else:
        return
    names = [str(key.data_key) for key in keys]
    set_names = [name for name in names if environ.get(name, "").strip()]
    why = f"{set_names[0]} is set" if set_names else ""
    if provider.calls_api:
        why = f"providers.{provider.name}.{provider.calls_api} is on"
    yield from (required(key, f"missing, though {why}") if why else key for key in keys)


def of_store(name: str) -> Field[typing.Any]:
    """Returns the variable of a store's token."""
    return required(header_word(name, "an access token"), "missing; expected the store's access token")


def of_hook(name: str) -> Field[typing.Any]:
    """Returns the variable of the URL to notify."""
    expected = "the URL to notify, https:// and a host's name"
    return required(variable(name, expected, fitting(address.is_hook)), f"expected {expected}")


def is_public(read: Mapping[str, typing.Any]) -> bool:
    """Whether BRIDGE_PUBLIC_URL is one that other machines can reach."""
    url = read.get("public_url")
    return bool(url) and not address.is_local_url(str(url))


def on_loopback(read: Mapping[str, typing.Any]) -> bool:
    """Whether the server is bound to an address of this machine only."""
    return address.is_loopback(read.get("bind", "").rpartition(":")[0])


def database_url(read: Mapping[str, typing.Any]) -> str:
    """Returns the database's URL. On Heroku it requires TLS, unless PGSSLMODE or the URL says otherwise."""
    url = str(read.get("database_url", ""))
    return address.with_tls(url) if read.get("dyno") and not read.get("pgsslmode") else url


def proxy_hops(read: Mapping[str, typing.Any]) -> int:
    """Returns how many proxies are in front: on Heroku its router, on Render its edge and its router."""
    platform = 1 if read.get("dyno") else 2 if read.get("render") else 0
    hops = read.get("proxy_hops")
    return platform if hops is None else int(hops)


def sandbox_url(read: Mapping[str, typing.Any]) -> str | None:
    """Returns the URL that simulates installed stores. It is on this machine, so that no token leaves it."""
    url = read.get("base_url")
    return url if url and address.is_loopback(urlsplit(url).hostname or "") else None
