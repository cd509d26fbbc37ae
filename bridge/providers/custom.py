"""Providers out of `bridge.toml`: new ones without code, and the built-in ones with changes. Pure.

A `[providers.NAME]` table becomes what a module of `bridge.providers` is: a Provider with a table of
fields for each event.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA
from marshmallow.fields import String

from bridge.alert import DisputeType, Effect
from bridge.providers import custom_fields, proof
from bridge.providers.base import TOP, Acknowledgement, Provider
from bridge.providers.custom_fields import A_PATH, A_PLACE, HEADER_NAME, is_one_path, is_path, is_place
from bridge.providers.meanings import ANY, Meaning, ignored
from bridge.providers.pull import names_each
from bridge.tree import FORMATS
from bridge.validation import (
    A_TABLE,
    Reader,
    Table,
    boolean,
    duration,
    fitting,
    key,
    mapping,
    nearest,
    one_of,
    read_with,
    table,
    text,
    texts,
)

SLUG = re.compile(r"[a-z][a-z0-9_]{1,39}")
RESERVED = "next_webhook"  # the variable of 29next's own signing secret
CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w-]+)*", re.ASCII)

OUTCOME = ("outcome", "api_url")
"""Keys of a provider that can be told how its alerts ended."""
PULL = ("pull", "pull_acknowledgement")
"""Keys of a provider whose alerts can be pulled."""
A_BODY = 'JSON with a list that has {id} in it, such as {"alerts": [{"alertId": "{id}"}]}'
DEFINITION = ("title", "format", "type", "items", "embedded")
"""Keys of a provider without code; a built-in one has them in its module."""
A_MARK = 'the value that marks test traffic, such as true or "test"'
A_STATUS = "a number from 200 to 299 (204 and 205 have no body)"
COMMON = ("zone", "unit", "decimals", "decimal_comma")
"""Options of all amounts and times of a provider."""

EFFECTS = {str(effect): effect for effect in Effect}
POLICY = one_of({str(effect): effect for effect in (Effect.OPEN, Effect.INFORM, Effect.IGNORE)})
KINDS = {str(kind): kind for kind in DisputeType}
PLACE = text(A_PLACE, fitting(is_place))


def read(name: str, value: object, built_in: Mapping[str, Provider]) -> Provider:
    """Return the provider that a table makes, or changes; raises ValidationError with all that is wrong."""
    if not isinstance(value, Mapping):
        raise ValidationError(A_TABLE)
    if name in built_in:
        return _changed(built_in[name], value)
    if not {"proof", "event_id", "effects", "fields"} & set(value):
        known = f"no built-in provider ({', '.join(built_in)}){nearest(name, built_in)}"
        raise ValidationError(f"{known}, and a new one needs proof, event_id and fields")
    wrong = {}
    if not SLUG.fullmatch(name):
        wrong = {SCHEMA: ["a provider's name gives its URL and its variable: 2-40 of a-z, 0-9 and _"]}
    elif name == RESERVED:
        wrong = {SCHEMA: ["this name's variable holds the secret of 29next's own webhooks"]}
    made: Provider = read_with(wrong, partial(_made, name), value)
    return made


def _made(name: str, value: Mapping[str, typing.Any]) -> Provider:
    """Make a provider without code."""
    kind = KINDS.get(str(value.get("type")), DisputeType.ALERT)
    typed, fields = "event_type" in value, value.get("fields", {})
    one_kind = None if isinstance(fields, Mapping) and "type" in fields else kind
    keys = {
        "proof": key(_proof, absent=f"missing; {A_TABLE}"),
        "event_id": key(_event_id, absent=f"missing; expected {A_PLACE}"),
        "event_type": key(PLACE, default=None),
        "effects": key(_effects(typed=typed), absent=f"missing; {A_TABLE}" if typed else ""),
        "fields": key(partial(_fields, value, one_kind)),
        "title": key(text("text"), default=name.replace("_", " ").title()),
        "formats": key(one_of({one: (one,) for one in FORMATS}), "format", default=("json",)),
        "type": key(one_of(KINDS)),
        "items": key(text('a path such as "data.cases", or "." for the whole', fitting(_is_batch))),
        "embedded": key(texts("a list of names of text fields that hold JSON")),
    }
    made = table({**KEYS, **keys})({"fields": {}, **value})
    found = made.pop("fields")
    common = {option: made.pop(option) for option in COMMON if option in made}
    effects = made.pop("effects", {ANY: Effect.OPEN})
    made.pop("type", None)
    if is_path(made.get("subtype", "")):
        found.setdefault("subtype", {"data_key": made["subtype"]})
    made.setdefault("subtype", found.get("subtype", {}).get("data_key"))
    events = {
        word.lower(): ignored
        if effect is Effect.IGNORE
        else Meaning(effect, custom_fields.new_table(found, common, kind, effect))
        for word, effect in effects.items()
    }
    return Provider(name=name, events=events, **made)


def _changed(provider: Provider, value: Mapping[str, typing.Any]) -> Provider:
    """Change a built-in provider."""
    known = [name for name, meaning in provider.events.items() if meaning.table]
    keys = {
        "effects": key(_effects_like(known), default=dict),
        "fields": key(mapping(custom_fields.sources(None)), default=dict),
    }
    if provider.outcome:
        keys["outcome"] = key(boolean, default=False)
    if provider.pull:
        keys["pull"] = key(duration(example='"30s", "1m" or "1h"'), default=None)
        known = provider.pull.acknowledgement
        keys["pull_acknowledgement"] = key(text(A_BODY, _pull_acknowledgement), default=known)
    if provider.outcome or provider.pull:
        keys["api_url"] = key(text("the base URL of its API"), default=provider.api_url)
    changes = _Changes.from_dict({**KEYS, **keys})().load(value)
    effects, found = changes.pop("effects"), changes.pop("fields")
    common = {option: changes.pop(option) for option in COMMON if option in changes}
    url = changes.pop("api_url", None)
    url = url and url.rstrip("/") + "/"
    if provider.outcome:
        changes["outcome"] = replace(provider.outcome, on=changes["outcome"], url=url)
    if provider.pull:
        every = changes["pull"].total_seconds() if changes["pull"] else None
        said = changes.pop("pull_acknowledgement")
        changes["pull"] = replace(provider.pull, every=every, url=url, acknowledgement=said)
    if "deadline" in changes:
        changes.setdefault("deadlines", {})
    events = dict(provider.events)
    for word, (effect, like) in effects.items():
        events[word.lower()] = _like(events, [like or word.lower(), word.lower()], effect)
    if common or found:
        for word, meaning in events.items():
            change = partial(custom_fields.changed_table, effect=meaning.effect, found=found, common=common)
            events[word] = meaning.map(change)
    return replace(provider, **changes, events=events)


class _Changes(Table):
    """The keys of a built-in provider."""

    elsewhere: typing.ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(DEFINITION, "not for a built-in provider, which has its own"),
        **dict.fromkeys(
            OUTCOME, "not for this provider: the bridge does not know how to report outcomes to it"
        ),
        **dict.fromkeys(PULL, "not for this provider: the bridge does not know how to pull its alerts"),
        "outcome_url": "renamed; expected api_url",
    }


# effects and fields


def _effects(*, typed: bool) -> Reader:
    """Return the reader of what each event type means; `typed` says that events have one."""

    def read(word: str, value: object) -> Effect:
        if word != ANY and not typed:
            said = f'needs event_type, where the type stands; without it expected only "{ANY}"'
            raise ValidationError(said)
        return _effect(word, value)

    return mapping(read, 'their event types and what they mean, such as { new = "open" }')


def _effect(word: str, value: object) -> Effect:
    if ANY in word and word != ANY:
        raise ValidationError(f'"{ANY}" stands alone, for all types that are not named')
    return Effect(one_of(EFFECTS)(value))


def _effects_like(known: list[str]) -> Reader:
    """Return the reader of an effect, or of a table that says whose fields an event has, too."""
    effect = key(one_of(EFFECTS), absent=f"missing; expected one of {', '.join(EFFECTS)}")
    both = table({"effect": effect, "like": key(one_of(known))})

    def read(word: str, value: object) -> tuple[Effect, str | None]:
        if not known:
            raise ValidationError("not for this provider, whose events carry no alerts")
        if not isinstance(value, Mapping):
            return _effect(word, value), None
        said = both(value)
        return _effect(word, said["effect"]), said.get("like")

    return mapping(read)


def _like(events: Mapping[str, Meaning], names: list[str], effect: Effect) -> Meaning:
    """Return a meaning with the fields of the first event that is there, else of the first that opens."""
    if effect is Effect.IGNORE:
        return ignored
    found = [events[name] for name in names if name in events]
    found += sorted(events.values(), key=lambda one: one.effect is not Effect.OPEN)
    return replace(next(one for one in found if one.table is not None), effect=effect)


def _fields(provider: Mapping[str, typing.Any], kind: DisputeType | None, value: object) -> object:
    """Read the fields of a provider without code, and say which are missing for its effects."""
    wanted = {"case_number": "every alert has one"}
    effects = _words(provider.get("effects", {ANY: Effect.OPEN}))
    if Effect.OPEN in (*effects, *_words(provider.get("inform"))):
        wanted |= dict.fromkeys(("amount", "currency"), "an event opens cases")
    if Effect.RESOLVE in effects:
        wanted["resolution"] = "an event resolves cases"
    given = value if isinstance(value, Mapping) else wanted
    wrong = {
        name: [f"missing, and {why}; expected {A_PATH}"] for name, why in wanted.items() if name not in given
    }
    return read_with(wrong, mapping(custom_fields.sources(kind, new=True)), value)


def _words(given: object) -> list[object]:
    return list(given.values()) if isinstance(given, Mapping) else []


# the rest


def _proof(value: object) -> proof.Proof:
    """Read how webhooks are proven."""
    if not isinstance(value, Mapping):
        raise ValidationError(A_TABLE)
    wrong: dict[str, list[str]] = {}
    header = value.get("header")
    if isinstance(header, str) and not HEADER_NAME.fullmatch(header):
        wrong["header"] = ["expected the name of a header"]
    try:
        made = proof.build(value)
    except ValueError as error:
        wrong[SCHEMA] = list(error.args)
    if wrong:
        raise ValidationError(wrong)
    return made


def _event_id(value: object) -> tuple[str, ...]:
    """Read where the event's id stands: one place, or several that are joined to one id."""
    if isinstance(value, list) and value:
        places: tuple[str, ...] = texts(f"a list, each {A_PLACE}", fitting(is_place))(value)
        return places
    return (PLACE(value),)


def _is_batch(given: str) -> bool:
    return given == TOP or is_one_path(given)


def _mark(value: object) -> str:
    """Read a value that marks test traffic, which never becomes a dispute."""
    if not isinstance(value, str | bool | int) or value == "":
        raise ValidationError(f"expected {A_MARK}")
    return str(value).lower()


def _json(given: str) -> typing.Any:
    try:
        return json.loads(given)
    except ValueError:
        return None


def _test(value: object) -> tuple[str, str]:
    """Read what marks test traffic."""
    path = key(text(A_PATH, fitting(is_path)), absent=f"missing; expected {A_PATH}")
    found = table({"path": path, "value": key(_mark, absent=f"missing; expected {A_MARK}")})(value)
    return found["path"], found["value"]


def _acknowledgement(value: object) -> tuple[Acknowledgement, ...]:
    """Read the answer that the provider's protocol wants."""
    found = table(
        {
            "body": String(load_default="", error_messages={"invalid": "expected text, in quotes"}),
            "content_type": key(text('such as "text/plain"', fitting(CONTENT_TYPE.fullmatch))),
            "status": key(_status, default=200),
            "echo": key(
                texts("a list of paths whose values the answer repeats", fitting(is_one_path)), default=()
            ),
        }
    )(value)
    body, echo = found["body"], found["echo"]
    if echo and not isinstance(_json(body or "{}"), dict):
        raise ValidationError({"body": ["expected a JSON object, for echo adds to it"]})
    if (body or echo) and found["status"] in (204, 205):
        raise ValidationError({"status": [f"expected {A_STATUS}"]})
    is_json = echo or not body or _json(body) is not None
    found.setdefault("content_type", "application/json" if is_json else "text/plain; charset=utf-8")
    return (Acknowledgement(**{**found, "body": body or ("{}" if echo else "")}),)


def _pull_acknowledgement(given: str) -> typing.Any:
    """Read the body by which pulled alerts are acknowledged."""
    body = json.loads(given)
    if not names_each(body):
        raise ValueError(given)
    return body


def _status(value: object) -> int:
    if not isinstance(value, int) or not 200 <= value <= 299:
        raise ValidationError(f"expected {A_STATUS}")
    return value


KEYS = {
    "proof": key(_proof),
    "event_id": key(_event_id),
    "event_type": key(PLACE),
    "subtype": key(PLACE),
    "test": key(_test),
    "policy": key(mapping(lambda _, word: POLICY(word)), "inform"),
    "deadline": key(duration()),
    "deadlines": key(mapping(lambda _, time: duration()(time))),
    "acknowledgements": key(_acknowledgement, "acknowledgement"),
    "networks": key(texts('a list of networks, such as ["203.0.113.0/24"]', ip_network)),
    "zone": key(custom_fields.ZONE),
    "unit": key(custom_fields.UNIT, "amount_unit"),
    "decimals": key(custom_fields.COUNTS),
    "decimal_comma": key(boolean),
}
"""The keys of every provider, by what a Provider calls them."""
