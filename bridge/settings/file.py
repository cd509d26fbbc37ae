"""`bridge.toml`: the tables for stores, routes, notifications and the rest, checked by marshmallow.

The file names variables and never holds a secret. `bridge.providers.custom` reads the providers' tables.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from marshmallow import Schema, ValidationError
from marshmallow.exceptions import SCHEMA
from marshmallow.fields import List

from bridge.alert import Alert
from bridge.providers import custom
from bridge.providers.base import Provider
from bridge.settings import address
from bridge.settings.environment import STORE_NAME
from bridge.validation import (
    Reader,
    Table,
    boolean,
    duration,
    fitting,
    key,
    mapping,
    one_of,
    read_with,
    table,
    text,
    texts,
)

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
METADATA = texts(f"a list of some of {', '.join(METADATA_KEYS)}", fitting(METADATA_KEYS.__contains__))
A_VARIABLE = "the name of an environment variable, such as ALPHA_TOKEN, never the secret itself"
VARIABLE = text(A_VARIABLE, fitting(re.compile(r"[A-Z][A-Z0-9]{0,19}(?:_[A-Z0-9]{1,20})*").fullmatch))


@dataclass(frozen=True)
class Route:
    """Which alerts go to which store."""

    store: str
    provider: str | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)  # an alert's field -> its value or pattern

    def fits(self, provider: str, alert: Alert) -> bool:
        """Whether this route is for an alert."""
        if self.provider not in (None, provider):
            return False
        for name, value in self.wanted.items():
            fact = getattr(alert, name) or ""
            if not (_is_like(fact, value) if name == "descriptor" else fact == value):
                return False
        return True


def _is_like(text: str, pattern: str) -> bool:
    """Whether a text fits a pattern, in which `*` is any text. Case does not matter."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.IGNORECASE) is not None


def parse(root: Path, given: str | None, problems: list[str]) -> tuple[str, dict[str, typing.Any]]:
    """Returns the name of the file and its content, which is empty if the file is missing or invalid."""
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
    """Returns the reader of a duration in seconds, of at least so many days."""
    return lambda value: duration(days)(value).total_seconds()


NOTIFY = table(
    {
        "url_env": key(VARIABLE, absent=f"missing; expected {A_VARIABLE}"),
        "form": key(one_of(("slack", "json")), default="slack"),
        "queue_old": key(seconds(), default=600.0),
    }
)


def retention(days: int) -> Reader:
    """Returns the reader of how long something is kept, at least so many days; None means forever."""

    def read(value: object) -> float | None:
        try:
            return None if value == "forever" else seconds(days)(value)
        except ValidationError as error:
            raise ValidationError(f'{error.messages[0]}, or "forever"') from None

    return read


KEEP_BODIES, KEEP_INDEX = 90 * 86400.0, 200 * 86400.0
"""The defaults. A dispute comes up to 180 days after its sale, so older sales are rarely searched for."""
RETENTION = table(
    {
        "bodies": key(retention(days=8), default=KEEP_BODIES),  # failed alerts can be replayed for a week
        "index": key(retention(days=30), default=KEEP_INDEX),
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
    """Returns the schema for a file with this content: its routes may name the stores and providers in it.

    `default` is the store of NEXT_STORE, and `has_token` says whether its token is in the environment. With
    `installs` a store may get its token when it is installed.
    """

    def store(name: str, value: object) -> typing.Any:
        return _store(name, value, needs_token=not installs and not (has_token and name == default))

    stores = {**_table(content, "stores"), **({default: {}} if default else {})}
    route = _route(stores, {**built_in, **_table(content, "providers")}, installs=installs)
    rows = "expected [[routes]] tables"
    return Table.from_dict(
        {
            "metadata": key(METADATA),
            "stores": key(mapping(store), default=dict),
            "routes": List(key(route), load_default=list, error_messages={"invalid": rows}),
            "providers": key(mapping(partial(custom.read, built_in=built_in)), default=dict),
            "notify": key(NOTIFY, default=dict),
            "retention": key(RETENTION, default=lambda: RETENTION({})),
            "dispute_url": key(text(A_DISPUTE_URL, fitting(DISPUTE_URL.fullmatch)), default=None),
        }
    )()


def _table(content: Mapping[str, typing.Any], name: str) -> Mapping[str, typing.Any]:
    value = content.get(name)
    return value if isinstance(value, Mapping) else {}


def _store(name: str, value: object, *, needs_token: bool) -> typing.Any:
    """Reads the table of a store."""
    keys = {
        "token_env": key(VARIABLE, absent=f"missing; expected {A_VARIABLE}" if needs_token else ""),
        "base_url": key(text(address.A_BASE_URL, fitting(address.is_base_url))),
        "observe": key(boolean),
        "look_first": key(boolean),
        "metadata": key(METADATA),
    }
    expected = "a store's name is its subdomain: lower-case letters, digits and dashes"
    return read_with({} if STORE_NAME.fullmatch(name) else {SCHEMA: [expected]}, table(keys), value)


def _route(stores: Collection[str], providers: Collection[str], *, installs: bool) -> Reader:
    """Returns the reader of a route, which may name these stores and providers."""
    a_store = f"the name of a store ({', '.join(stores) or 'no store is configured'})"
    is_store = STORE_NAME.fullmatch if installs else stores.__contains__
    is_provider = fitting(providers.__contains__)
    keys = {
        "provider": key(text("the name of a provider", is_provider, words=providers)),
        "store": key(text(a_store, fitting(is_store)), absent=f"missing; expected {a_store}"),
        **{name: key(text("the value to route by")) for name in ROUTE_KEYS},
    }

    def read(value: object) -> Route:
        wanted = table(keys)(value)
        return Route(wanted.pop("store"), wanted.pop("provider", None), wanted)

    return read
