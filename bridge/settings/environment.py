"""The environment, as a marshmallow schema over its mapping: ours on the left, a variable on the right.

A secret is never shown.
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
from bridge.validation import key, that

STORE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
HEADER_WORD = re.compile(r"[\x21-\x7e]+")
NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
KEY_BYTES = 32
KEYS = "32 bytes in URL-safe base64 (44 characters), several of them with commas between"
A_PUBLIC_URL = "a URL such as https://alerts.example.com"
A_BIND = "a host and a port, such as 127.0.0.1:8000"
QUOTES = "\"'"
"""What `docker --env-file` and others keep around a value, so that it counts as a part of it."""


def variable(
    name: str,
    expected: str = "",
    read: Callable[[str], typing.Any] | None = None,
    default: typing.Any = None,
    *,
    shown: bool = False,
) -> Field[typing.Any]:
    """Return the field of a variable, without the blanks around it.

    `read` returns its value, or raises ValueError: with what is wrong, unless `expected` says that.
    """

    def load(value: str) -> typing.Any:
        given = value.strip()
        if len(given) > 1 and given[0] == given[-1] and given[0] in QUOTES:
            raise ValidationError(f"the value stands in quotes ({given[0]}); remove them")
        try:
            return read(given) if read else value
        except ValueError as error:
            but = f", not {given[:40]!r}" if shown else ""
            raise ValidationError(f"expected {expected}{but}" if expected else str(error)) from None

    return key(load, name, default=default)


def needed(field: Field[typing.Any], absent: str) -> Field[typing.Any]:
    """Return the field of a variable that has to be set."""
    return key(field.deserialize, field.data_key, absent=absent)


def one_of(name: str, *words: str) -> Field[typing.Any]:
    """Return a variable that is one of some words in capitals; the first is the default."""
    expected = f"one of {', '.join(words)}"
    return variable(
        name, expected, lambda given: that(words.__contains__)(given.upper()), words[0], shown=True
    )


def number(name: str, default: float | None, least: float, most: float) -> Field[typing.Any]:
    """Return a variable that is a number, and a whole one where the least is."""
    whole = isinstance(least, int)

    def read(given: str) -> float:
        value = float(that(NUMBER.fullmatch)(given))
        if not least <= value <= most or (whole and not given.isdecimal()):
            raise ValueError(given)
        return int(value) if whole else value

    expected = f"a {'whole ' if whole else ''}number from {least:g} to {most:g}"
    return variable(name, expected, read, default, shown=True)


def header_word(name: str, what: str) -> Field[typing.Any]:
    """Return a variable with a secret that a header can carry."""
    return variable(name, f"{what}: one word of plain characters", that(HEADER_WORD.fullmatch))


def _store(text: str) -> str:
    return that(STORE_NAME.fullmatch)(text.lower().removesuffix(".29next.store"))


def _keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    wrong = [place for place, key in enumerate(keys, start=1) if not _is_key(key)]
    if wrong:
        raise ValidationError([f"key {one} of {len(keys)} is not a key; expected {KEYS}" for one in wrong])
    return keys


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_BYTES
    except ValueError:
        return False


class Variables(Schema):
    """Some variables, of which an empty one counts as unset."""

    class Meta:
        unknown = EXCLUDE

    @pre_load
    def leave_out(self, environ: Mapping[str, str], **_: object) -> dict[str, str]:
        """Leave out what is empty."""
        given = {str(field.data_key): environ.get(str(field.data_key), "") for field in self.fields.values()}
        return {name: value for name, value in given.items() if value.strip()}


class Environment(Variables):
    """The variables of every bridge."""

    database_url = variable("DATABASE_URL", "", address.database_url, "sqlite:///bridge.db")
    store = variable("NEXT_STORE", "a name such as example or example.29next.store", _store)
    token = header_word("NEXT_ACCESS_TOKEN", "an access token")
    base_url = variable("NEXT_BASE_URL", address.A_BASE_URL, that(address.is_base_url))
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
    public_url = variable("BRIDGE_PUBLIC_URL", A_PUBLIC_URL, that(address.is_url))
    bind = variable("BRIDGE_BIND", A_BIND, that(address.is_bind), "", shown=True)
    port = number("PORT", 8000, 1, 65535)
    proxy_hops = number("BRIDGE_PROXY_HOPS", None, 0, 9)
    log_level = one_of("LOG_LEVEL", "INFO", "DEBUG", "WARNING", "ERROR")
    web_concurrency = number("WEB_CONCURRENCY", None, 1, 1000)  # gunicorn's own complaint is a traceback
    config = variable("BRIDGE_CONFIG")
    ephemeral = variable("ALLOW_EPHEMERAL_SQLITE", "1, or nothing", that(("0", "1").__contains__), "0")
    dyno = variable("DYNO", default="")
    render = variable("RENDER", default="")
    pgsslmode = variable("PGSSLMODE", default="")

    @validates_schema(skip_on_field_errors=False)
    def check(self, read: dict[str, typing.Any], **_: object) -> None:
        """Want variables that go together; `read` lacks what is wrong by itself."""
        wrong = {self.fields[name].data_key: [said] for name, said in (*_missing(read), *_at_odds(read))}
        if wrong:
            raise ValidationError(wrong)


def _missing(read: Mapping[str, typing.Any]) -> Iterator[tuple[str, str]]:
    """Yield what is not set, and why it should be."""

    def is_set(name: str) -> bool:
        return bool(read.get(name, True))

    pretends = bool(read.get("encryption_keys"))  # then NEXT_BASE_URL may be that of installed stores
    installs = is_set("client_id") or is_set("client_secret")
    is_open = is_public(read) and on_loopback(read)
    needs = [
        ("store", is_set("base_url") and not pretends, "missing, though NEXT_BASE_URL is set"),
        ("store", is_set("token"), "missing, though NEXT_ACCESS_TOKEN is set"),
        ("client_id", is_set("client_secret"), "missing, though NEXT_CLIENT_SECRET is set"),
        ("client_secret", is_set("client_id"), "missing, though NEXT_CLIENT_ID is set"),
        ("encryption_keys", installs, f"missing; expected a key for the tokens of installed stores: {KEYS}"),
        ("password", is_open, "missing; set a long one, since BRIDGE_PUBLIC_URL leads others here"),
    ]
    yield from ((name, said) for name, needed, said in needs if needed and not is_set(name))


def _at_odds(read: Mapping[str, typing.Any]) -> Iterator[tuple[str, str]]:
    """Yield what does not do for what the rest asks of it."""
    public = urlsplit(read.get("public_url", "https:") or "")
    is_secure = public.scheme == "https" or address.is_loopback(public.hostname or "")
    if not is_secure and (read.get("client_id", True) or read.get("client_secret", True)):
        yield "public_url", "expected an https:// URL, to which stores send their merchants back"
    url = read.get("database_url", "")
    if url.startswith("sqlite") and read.get("ephemeral") != "1":
        folders = [one for one in address.sqlite_file(url).resolve().parents if one != one.parent]
        if read.get("dyno") or (read.get("render") and not any(map(Path.is_mount, folders))):
            said = "this platform throws the disk away at every restart, and acknowledged alerts with it"
            yield "database_url", f"{said}; add Postgres (or set ALLOW_EPHEMERAL_SQLITE=1 for a trial)"


def schema(variables: Iterable[Field[typing.Any]]) -> Schema:
    """Return the schema of some variables, each of which has its own name."""
    return Variables.from_dict({str(one.data_key): one for one in variables})()


def of_provider(provider: Provider, environ: Mapping[str, str]) -> list[Field[typing.Any]]:
    """Return the variables of a provider: its secret, the one before, and the keys of its API."""

    def read(given: str) -> str:
        if problem := provider.proof.problem(given):
            raise ValueError(f"{problem} (proof: {provider.proof.kind})")
        return given

    name = provider.secret_variable
    current, previous = variable(name, "", read), variable(f"{name}_PREVIOUS", "", read)
    if environ.get(f"{name}_PREVIOUS", "").strip():
        current = needed(current, f"missing, though {name}_PREVIOUS is set")
    return [current, previous, *_of_api(provider, environ)]


def _of_api(provider: Provider, environ: Mapping[str, str]) -> Iterator[Field[typing.Any]]:
    """Yield the variables that hold the keys of a provider's API, if the bridge calls one."""
    if provider.oauth:
        name, password = provider.key_variable, environ.get(f"{provider.key_variable}_PASSWORD", "").strip()
        that_key = partial(oauth.signing_key, password=password, variable=name)
        fits = that(oauth.CONSUMER_KEY.fullmatch)
        consumer = variable(
            provider.consumer_variable, "the consumer key, as the developer portal shows it", fits
        )
        keys = [consumer, variable(name, "", that_key)]
    elif provider.outcome:
        keys = [header_word(provider.key_variable, "the key of its API")]
    else:
        return
    given = [str(one.data_key) for one in keys if environ.get(str(one.data_key), "").strip()]
    why = f"providers.{provider.name}.{provider.calls_api} is on" if provider.calls_api else ""
    why = why or (f"{given[0]} is set" if given else "")
    yield from (needed(one, f"missing, though {why}") if why else one for one in keys)


def of_store(name: str) -> Field[typing.Any]:
    """Return the variable of a store's token."""
    return needed(header_word(name, "an access token"), "missing; expected the store's access token")


def of_hook(name: str) -> Field[typing.Any]:
    """Return the variable of the URL to notify."""
    expected = "the URL to notify, https:// and a host's name"
    return needed(variable(name, expected, that(address.is_hook)), f"expected {expected}")


def is_public(read: Mapping[str, typing.Any]) -> bool:
    """Whether others are told to reach the server."""
    url = read.get("public_url")
    return bool(url) and not address.leads_here(str(url))


def on_loopback(read: Mapping[str, typing.Any]) -> bool:
    """Whether the server is bound to an address of this machine only."""
    return address.is_loopback(read.get("bind", "").rpartition(":")[0])


def database_url(read: Mapping[str, typing.Any]) -> str:
    """Return the database's URL; on Heroku it asks for TLS, unless something else is said."""
    url = str(read.get("database_url", ""))
    return address.with_tls(url) if read.get("dyno") and not read.get("pgsslmode") else url


def proxy_hops(read: Mapping[str, typing.Any]) -> int:
    """Return how many proxies stand in front: Heroku's router, Render's edge and its router."""
    platform = 1 if read.get("dyno") else 2 if read.get("render") else 0
    hops = read.get("proxy_hops")
    return platform if hops is None else int(hops)


def sandbox_url(read: Mapping[str, typing.Any]) -> str | None:
    """Return where installed stores are pretended: only on this machine, so that no token leaves it."""
    url = read.get("base_url")
    return url if url and address.is_loopback(urlsplit(url).hostname or "") else None
