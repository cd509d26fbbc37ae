"""`bridge.toml`: the tables for stores, routes, notifications and the rest, checked by marshmallow.

It names variables and never holds a secret. The tables of providers are read by `bridge.providers.custom`.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from marshmallow import Schema, ValidationError, post_load
from marshmallow.exceptions import SCHEMA
from marshmallow.fields import List, Nested

from bridge.providers import custom
from bridge.settings import address
from bridge.settings.environment import STORE_NAME
from bridge.validation import (
    Reader,
    Table,
    beside,
    duration,
    key,
    mapped,
    one_of,
    table,
    text,
    texts,
    that,
    truth,
)

if typing.TYPE_CHECKING:
    from bridge.alert import Alert
    from bridge.providers.base import Provider

DISPUTE_URL = re.compile(r"https://(?:[^\s{}]|\{store\})+\{dispute\}(?:[^\s{}]|\{store\})*")
A_DISPUTE_URL = "a URL with {dispute} in it, such as https://{store}.29next.store/.../{dispute}/"
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
"""What `payloads.metadata_of` can say."""


METADATA = texts(f"a list of some of {', '.join(METADATA_KEYS)}", that(METADATA_KEYS.__contains__))
A_VARIABLE = "the name of an environment variable, such as ALPHA_TOKEN, never the secret itself"
VARIABLE = text(A_VARIABLE, that(re.compile(r"[A-Z][A-Z0-9]{0,19}(?:_[A-Z0-9]{1,20})*").fullmatch))


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
        for name, value in self.wanted.items():
            fact = getattr(alert, name) or ""
            if not (_like(value, fact) if name == "descriptor" else fact == value):
                return False
        return True


def _like(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern, in which `*` is any text; upper and lower case are the same."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.IGNORECASE) is not None


def parse(root: Path, given: str | None, problems: list[str]) -> tuple[str, dict[str, typing.Any]]:
    """Return the name of the file and what is in it; nothing where there is no file, or no TOML."""
    file, content = given or "config/bridge.toml", b""
    try:
        content = (root / file).read_bytes()
        return file, tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError:
        if given:
            problems.append(f"BRIDGE_CONFIG: there is no file {file}")
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{file}: not TOML: {error}")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(f"{file}: not UTF-8 (at line {line})")
    except (OSError, ValueError) as error:
        problems.append(f"BRIDGE_CONFIG: {file} cannot be read ({type(error).__name__})")
    return file, {}


def seconds(days: int = 0) -> Reader:
    """Return the reader of a length of time in seconds, of so many days at least."""
    return lambda value: duration(days)(value).total_seconds()


NOTIFY = table(
    {
        "url_env": key(VARIABLE, absent=f"missing; expected {A_VARIABLE}"),
        "form": key(one_of(("slack", "json")), default="slack"),
        "queue_old": key(seconds(), default=600.0),
    }
)


def kept(days: int) -> Reader:
    """Return the reader of how long something is kept, of so many days at least; None is forever."""

    def read(value: object) -> float | None:
        try:
            return None if value == "forever" else seconds(days)(value)
        except ValidationError as error:
            raise ValidationError(f'{error.messages[0]}, or "forever"') from None

    return read


KEEP_BODIES, KEEP_INDEX = 90 * 86400.0, 200 * 86400.0
"""Where nothing is said. A dispute comes up to 180 days after its sale: older ones are rarely looked for."""
RETENTION = table(
    {
        "bodies": key(kept(days=8), default=KEEP_BODIES),  # what failed stays replayable for a week
        "index": key(kept(days=30), default=KEEP_INDEX),
    }
)


def schema(
    content: Mapping[str, typing.Any],
    default: str | None,
    built_in: Mapping[str, Provider],
    *,
    has_token: bool,
    installs: bool,
) -> Schema:
    """Return the schema of a file with this content, whose routes may name its own stores and providers.

    `default` is the store of NEXT_STORE, and `has_token` whether its token is in the environment. With
    `installs`, a store's token may come by its installation.
    """

    def store(name: str, value: object) -> typing.Any:
        return _store(name, value, needs_token=not installs and not (has_token and name == default))

    stores = {**_named(content, "stores"), **({default: {}} if default else {})}
    route = _route(stores, {**built_in, **_named(content, "providers")}, installs=installs)
    rows = "expected [[routes]] tables"
    return Table.from_dict(
        {
            "metadata": key(METADATA),
            "stores": key(mapped(store), default=dict),
            "routes": List(Nested(route), load_default=list, error_messages={"invalid": rows}),
            "providers": key(mapped(partial(custom.read, built_in=built_in)), default=dict),
            "notify": key(NOTIFY, default=dict),
            "retention": key(RETENTION, default=lambda: RETENTION({})),
            "dispute_url": key(text(A_DISPUTE_URL, that(DISPUTE_URL.fullmatch)), default=None),
        }
    )()


def _named(content: Mapping[str, typing.Any], name: str) -> Mapping[str, typing.Any]:
    given = content.get(name)
    return given if isinstance(given, Mapping) else {}


def _store(name: str, value: object, *, needs_token: bool) -> typing.Any:
    """Read the table of a store."""
    keys = {
        "token_env": key(VARIABLE, absent=f"missing; expected {A_VARIABLE}" if needs_token else ""),
        "base_url": key(text(address.A_BASE_URL, that(address.is_base_url))),
        "observe": key(truth),
        "look_first": key(truth),
        "metadata": key(METADATA),
    }
    odd = "a store's name is its subdomain: lower-case letters, digits and dashes"
    return beside({} if STORE_NAME.fullmatch(name) else {SCHEMA: [odd]}, table(keys), value)


def _route(stores: Collection[str], known: Collection[str], *, installs: bool) -> type[Schema]:
    """Return the schema of a row of the routes."""
    a_store = f"the name of a store ({', '.join(stores) or 'no store is configured'})"
    is_store = STORE_NAME.fullmatch if installs else stores.__contains__
    return _Row.from_dict(
        {
            "provider": key(text("the name of a provider", that(known.__contains__), words=known)),
            "store": key(text(a_store, that(is_store)), absent=f"missing; expected {a_store}"),
            **{name: key(text("the value to route by")) for name in ROUTE_KEYS},
        }
    )


class _Row(Table):
    """A row of the routes."""

    @post_load
    def make(self, read: dict[str, str], **_: object) -> Route:
        """Return the route."""
        wanted = {name: read[name] for name in ROUTE_KEYS if name in read}
        return Route(read["store"], read.get("provider"), wanted)
