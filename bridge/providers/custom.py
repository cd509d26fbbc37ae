"""Providers out of `bridge.toml`: new ones without code, and the built-in ones with changes. Pure.

A `[providers.NAME]` table becomes what a module of `bridge.providers` is: a Provider with a table of
fields for each event. Every mistake is noted in the Section that it stands in.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network

from bridge.alert import DisputeType, Effect
from bridge.providers import custom_fields, proof
from bridge.providers.base import (
    ANY,
    TOP,
    Acknowledgement,
    Meaning,
    Provider,
    ignored,
    informs,
    matches,
    opens,
    resolves,
    withdraws,
)
from bridge.providers.custom_fields import (
    A_PATH,
    A_PLACE,
    HEADER_NAME,
    Source,
    is_one_path,
    is_path,
    is_place,
)
from bridge.providers.fields import AlertSchema
from bridge.tree import FORMATS

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.toml import Section

SLUG = re.compile(r"[a-z][a-z0-9_]{1,39}")
RESERVED = "next_webhook"  # the variable of 29next's own signing secret
CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w-]+)*", re.ASCII)

SETTINGS = (
    "proof",
    "event_id",
    "event_type",
    "subtype",
    "test",
    "effects",
    "fields",
    "inform",
    "deadline",
    "deadlines",
    "acknowledgement",
    "zone",
    "amount_unit",
    "decimals",
    "decimal_comma",
    "networks",
)
"""Keys of every provider."""
OUTCOME = ("outcome", "outcome_url")
"""Keys of a provider that can be told how its alerts ended."""
DEFINITION = ("title", "format", "type", "items", "embedded")
"""Keys of a provider without code; a built-in one has them in its module."""

MEANINGS: Mapping[str, typing.Callable[[type[AlertSchema]], Meaning]] = {
    Effect.OPEN: opens,
    Effect.MATCH: matches,
    Effect.RESOLVE: resolves,
    Effect.WITHDRAW: withdraws,
    Effect.INFORM: informs,
    Effect.IGNORE: lambda _: ignored,
}
POLICIES = (Effect.OPEN, Effect.INFORM, Effect.IGNORE)


def configure(section: Section, built_in: Mapping[str, Provider]) -> dict[str, Provider]:
    """Return the providers: the built-in ones, changed where a table says so, and those without code."""
    found = dict(built_in)
    for name, one in section.sections():
        if name in built_in:
            found[name] = _changed(built_in[name], one)
        elif provider := _made(name, one, built_in):
            found[name] = provider
    return found


def _made(name: str, section: Section, built_in: Iterable[str]) -> Provider | None:
    """Make a provider without code, or None where it is too wrong to be one."""
    if not {"proof", "event_id", "effects", "fields"} & set(section):
        known = ", ".join(built_in)
        section.wrong("", f"no built-in provider ({known}), and a new one needs proof, event_id and fields")
        return None
    if not SLUG.fullmatch(name):
        section.wrong("", "a provider's name gives its URL and its variable: 2-40 of a-z, 0-9 and _")
    if name == RESERVED:
        section.wrong("", "this name's variable holds the secret of 29next's own webhooks")
    section.only(*SETTINGS, *DEFINITION)
    kind = DisputeType(section.word("type", list(DisputeType)) or DisputeType.ALERT)
    effects = _effects(section)
    common = _common(section)
    found = custom_fields.read(section, kind)
    _complete(section, {*effects.values(), *common.get("policy", {}).values()})
    subtype = common.pop("subtype", None)
    if subtype and is_path(subtype):
        found.setdefault("subtype", Source(subtype))
    common |= {
        "title": section.text("title") or name.replace("_", " ").title(),
        "event_type": _place(section, "event_type"),
        "formats": (section.word("format", FORMATS) or "json",),
        "items": section.text("items", 'a path such as "data.cases", or "." for the whole', fits=_is_batch),
        "embedded": section.texts("embedded", "a list of names of text fields that hold JSON") or (),
        "subtype": subtype or (found["subtype"].path if "subtype" in found else None),
    }
    proven = _proof(section, required=True)
    event_id = _event_id(section, required=True)
    if proven is None or event_id is None:
        return None
    tables = {effect: custom_fields.make_table(found, kind, effect) for effect in effects.values()}
    events = {word: MEANINGS[effect](tables[effect]) for word, effect in effects.items()}
    return Provider(name=name, proof=proven, event_id=event_id, events=events, **common)


def _changed(provider: Provider, section: Section) -> Provider:
    """Lay a table of settings over a built-in provider."""
    for name in sorted(set(section) & set(DEFINITION)):
        section.wrong(name, "not for a built-in provider, which has its own")
    section.only(*SETTINGS, *DEFINITION, *OUTCOME)
    changes = _common(section)
    if provider.outcome:
        url = section.text("outcome_url", "the base URL of its API") or provider.outcome.url
        on = section.truth("outcome")
        changes["outcome"] = replace(provider.outcome, on=on, url=url.rstrip("/") + "/")
    for name in sorted(set(section) & set(OUTCOME) if provider.outcome is None else ()):
        section.wrong(name, "not for this provider, which the bridge does not know how to tell of outcomes")
    if (proven := _proof(section)) is not None:
        changes["proof"] = proven
    if (event_id := _event_id(section)) is not None:
        changes["event_id"] = event_id
    if (event_type := _place(section, "event_type")) is not None:
        changes["event_type"] = event_type
    if "deadline" in changes:
        changes.setdefault("deadlines", {})
    adapted = provider.configured(**custom_fields.read_common(section))
    found = custom_fields.read(section)
    events = dict(adapted.events)
    for word, (effect, like) in _effects_like(section, events).items():
        events[word] = (
            ignored if effect is Effect.IGNORE else replace(_like(events, word, like), effect=effect)
        )
    events = {word: custom_fields.lay_over(meaning, found) for word, meaning in events.items()}
    return replace(adapted, **changes, events=events)


def _common(section: Section) -> dict[str, typing.Any]:
    """Read what is said in one way for both sorts of provider; what is not said is not there."""
    read: dict[str, typing.Any] = {
        "subtype": _place(section, "subtype"),
        "test": _test(section),
        "deadline": section.duration("deadline"),
        "deadlines": _deadlines(section),
        "policy": _policy(section),
        "acknowledgements": _acknowledgements(section),
        "networks": _networks(section),
    }
    return {name: value for name, value in read.items() if value is not None}


def _complete(section: Section, effects: set[Effect]) -> None:
    """Note the fields without which an effect cannot be had."""
    wanted = {"case_number": "every alert has one"}
    if Effect.OPEN in effects:
        wanted |= dict.fromkeys(("amount", "currency"), "an event opens cases")
    if Effect.RESOLVE in effects:
        wanted["resolution"] = "an event resolves cases"
    table = section.section("fields")
    for name, why in wanted.items():
        if name not in table:
            table.wrong(name, f"missing, and {why}; expected {A_PATH}")


# effects and policies


def _effects(section: Section) -> dict[str, Effect]:
    """Read what each event type means; without event types, every webhook opens unless `*` says."""
    table = section.section("effects", required="event_type" in section)
    if "effects" in section and not table.values:
        section.wrong("effects", 'expected their event types and what they mean, such as { new = "open" }')
    if "event_type" not in section:
        for word in (one for one in table if one != ANY):
            table.wrong(word, 'needs event_type, where the type stands; without it expected only "*"')
    found = {word.lower(): _effect(table, word) for word in _types(table)}
    return found or {ANY: Effect.OPEN}


def _types(table: Section) -> Iterator[str]:
    """Return the event types of a table; none of them is a pattern."""
    for word in table.words():
        if ANY in word and word != ANY:
            table.wrong(word, f'"{ANY}" stands alone, for all types that are not named')
        yield word


def _effect(table: Section, word: str) -> Effect:
    return Effect(table.word(word, list(MEANINGS)) or Effect.IGNORE)


def _effects_like(section: Section, events: Mapping[str, Meaning]) -> dict[str, tuple[Effect, str | None]]:
    """Read effects of a built-in provider: a word, or a table that says whose fields an event has."""
    table = section.section("effects")
    known = [name for name, meaning in events.items() if meaning.table]
    if table.values and not known:
        section.wrong("effects", "not for this provider, whose events carry no alerts")
        return {}
    found: dict[str, tuple[Effect, str | None]] = {}
    for word in _types(table):
        if not isinstance(table.values[word], Mapping):
            found[word.lower()] = _effect(table, word), None
            continue
        one = table.section(word)
        one.only("effect", "like")
        like = one.word("like", known)
        if "effect" not in one:
            one.wrong("effect", f"missing; expected one of {', '.join(MEANINGS)}")
        found[word.lower()] = _effect(one, "effect"), like
    return found


def _like(events: Mapping[str, Meaning], word: str, like: str | None) -> Meaning:
    """Return the event that is named, the same event so far, or the first that opens."""
    found = [events[one] for one in (like, word) if one is not None and one in events]
    found += sorted(events.values(), key=lambda one: one.effect is not Effect.OPEN)
    return next(one for one in found if one.table is not None)


def _policy(section: Section) -> dict[str, Effect] | None:
    if "inform" not in section:
        return None
    table = section.section("inform")
    return {word.lower(): Effect(table.word(word, POLICIES) or Effect.INFORM) for word in table.words()}


# the rest


def _proof(section: Section, *, required: bool = False) -> proof.Proof | None:
    table = section.section("proof", required=required)
    if not isinstance(section.values.get("proof"), Mapping):
        return None
    table.text("header", "the name of a header", fits=HEADER_NAME.fullmatch)
    try:
        return proof.build(table.values)
    except ValueError as error:
        for said in error.args:
            section.wrong("proof", said)
        return None


def _event_id(section: Section, *, required: bool = False) -> tuple[str, ...] | None:
    """Read where the event's id stands: one place, or several that are joined to one id."""
    if isinstance(section.values.get("event_id"), list):
        places = section.texts("event_id", f"a list, each {A_PLACE}", fits=is_place)
        if places == ():
            section.wrong("event_id", f"expected {A_PLACE}")
        return places or None
    place = _place(section, "event_id", required=required)
    return (place,) if place else None


def _place(section: Section, name: str, *, required: bool = False) -> str | None:
    return section.text(name, A_PLACE, fits=is_place, required=required)


def _is_batch(text: str) -> bool:
    return text == TOP or is_one_path(text)


def _test(section: Section) -> tuple[str, str] | None:
    """Read what marks test traffic, which never becomes a dispute."""
    if "test" not in section:
        return None
    table = section.section("test")
    table.only("path", "value")
    path = table.text("path", A_PATH, fits=is_path, required=True)
    value = table.values.get("value")
    if not isinstance(value, str | bool | int) or value == "":
        table.wrong("value", 'expected the value that marks test traffic, such as true or "test"')
        return None
    return (path, str(value).lower()) if path else None


def _deadlines(section: Section) -> dict[str, timedelta] | None:
    if "deadlines" not in section:
        return None
    table = section.section("deadlines")
    read = {word.lower(): table.duration(word) for word in table.words()}
    return {word: one for word, one in read.items() if one}


def _networks(section: Section) -> tuple[IPv4Network | IPv6Network, ...] | None:
    expected = 'a list of networks, such as ["203.0.113.0/24"]'
    found = section.texts("networks", expected, fits=_is_network)
    return None if found is None else tuple(map(ip_network, found))


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _acknowledgements(section: Section) -> tuple[Acknowledgement, ...] | None:
    if "acknowledgement" not in section:
        return None
    table = section.section("acknowledgement")
    table.only("body", "content_type", "status", "echo")
    body = table.values.get("body", "")
    if not isinstance(body, str):
        table.wrong("body", "expected text, in quotes")
        body = ""
    echo = table.texts("echo", "a list of paths whose values the answer repeats", fits=is_one_path) or ()
    if echo and not isinstance(_json(body or "{}"), dict):
        table.wrong("body", "expected a JSON object, for echo adds to it")
    status = table.values.get("status", 200)
    if not isinstance(status, int) or not 200 <= status <= 299 or (status in (204, 205) and (body or echo)):
        table.wrong("status", "expected a number from 200 to 299 (204 and 205 have no body)")
        status = 200
    is_json = echo or _json(body) is not None or not body
    content_type = table.text("content_type", 'such as "text/plain"', fits=CONTENT_TYPE.fullmatch)
    default = "application/json" if is_json else "text/plain; charset=utf-8"
    text = body or ("{}" if echo else "")
    return (Acknowledgement(text, content_type or default, status, echo),)


def _json(text: str) -> typing.Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
