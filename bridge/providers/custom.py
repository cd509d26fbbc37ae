"""Providers from `bridge.toml`: new ones without code, and changes of built-in ones. Pure.

A `[providers.NAME]` table becomes a Provider with a table of fields for each event, as a module of
`bridge.providers` declares it.
"""

from __future__ import annotations

import dataclasses
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
from bridge.providers import custom_fields
from bridge.providers.base import TOP, Acknowledgement, Provider
from bridge.providers.credentials import HEADER_NAME, Basic, Bearer, Header, Url
from bridge.providers.custom_fields import A_PATH, A_PLACE, is_one_path, is_path, is_place
from bridge.providers.meanings import ANY, Meaning, ignored
from bridge.providers.proof import Proof
from bridge.providers.pull import names_each
from bridge.providers.signatures import ALGORITHMS, ENCODINGS, Hmac, StandardWebhooks, TimestampedHmac
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
"""Keys of a provider to which the bridge can report outcomes."""
PULL = ("pull", "pull_acknowledgement")
"""Keys of a provider whose alerts the bridge can pull."""
DEFINITION = ("title", "format", "type", "items", "embedded")
"""Keys of a provider without code. A built-in one has them in its module."""
A_BATCH = 'a path such as "data.cases", or "." for the whole'
A_BODY = 'JSON with a list that has {id} in it, such as {"alerts": [{"alertId": "{id}"}]}'
A_MARK = 'the value that marks test traffic, such as true or "test"'
A_STATUS = "a number from 200 to 299 (204 and 205 have no body)"
COMMON = ("zone", "unit", "decimals", "decimal_comma")
"""Options of all amounts and times of a provider."""

POLICY = one_of((Effect.OPEN, Effect.INFORM, Effect.IGNORE))
KINDS = {str(kind): kind for kind in DisputeType}
PLACE = text(A_PLACE, fitting(is_place))

PROOFS: dict[str, type] = {
    proof.kind: proof for proof in (Basic, Bearer, Header, Url, Hmac, TimestampedHmac, StandardWebhooks)
}
"""The kinds of proof by their words in `bridge.toml`."""
CHOICES: Mapping[str, typing.Iterable[str]] = {"algorithm": ALGORITHMS, "encoding": ENCODINGS}
"""The options that are one of some words."""


def read(name: str, value: object, built_in: Mapping[str, Provider]) -> Provider:
    """Returns a new provider, or a changed built-in one; raises ValidationError with all problems."""
    if not isinstance(value, Mapping):
        raise ValidationError(A_TABLE)
    if name in built_in:
        return _changed_provider(built_in[name], value)
    if not {"proof", "event_id", "effects", "fields"} & set(value):
        problem = f"no built-in provider ({', '.join(built_in)}){nearest(name, built_in)}"
        raise ValidationError(f"{problem}, and a new one needs proof, event_id and fields")
    problems = {}
    if not SLUG.fullmatch(name):
        problems = {SCHEMA: ["a provider's name gives its URL and its variable: 2-40 of a-z, 0-9 and _"]}
    elif name == RESERVED:
        problems = {SCHEMA: ["this name's variable holds the secret of 29next's own webhooks"]}
    provider: Provider = read_with(problems, partial(_new_provider, name), value)
    return provider


def _new_provider(name: str, value: Mapping[str, typing.Any]) -> Provider:
    """Returns a provider without code."""
    kind = KINDS.get(str(value.get("type")), DisputeType.ALERT)
    typed, fields = "event_type" in value, value.get("fields", {})
    only_kind = None if isinstance(fields, Mapping) and "type" in fields else kind
    keys = {
        "proof": key(_proof, absent=f"missing; {A_TABLE}"),
        "event_id": key(_event_id, absent=f"missing; expected {A_PLACE}"),
        "event_type": key(PLACE, default=None),
        "effects": key(_effects(typed=typed), absent=f"missing; {A_TABLE}" if typed else ""),
        "fields": key(partial(_fields, value, only_kind)),
        "title": key(text("text"), default=name.replace("_", " ").title()),
        "formats": key(one_of({name: (name,) for name in FORMATS}), "format", default=("json",)),
        "type": key(one_of(KINDS)),
        "items": key(text(A_BATCH, fitting(lambda path: path == TOP or is_one_path(path)))),
        "embedded": key(texts("a list of names of text fields that hold JSON")),
    }
    options = table({**KEYS, **keys})({"fields": {}, **value})
    sources = options.pop("fields")
    common = {option: options.pop(option) for option in COMMON if option in options}
    effects = options.pop("effects", {ANY: Effect.OPEN})
    options.pop("type", None)
    if is_path(options.get("subtype", "")):
        sources.setdefault("subtype", {"data_key": options["subtype"]})
    options.setdefault("subtype", sources.get("subtype", {}).get("data_key"))
    events = {
        word.lower(): ignored
        if effect is Effect.IGNORE
        else Meaning(effect, custom_fields.new_table(sources, common, kind, effect))
        for word, effect in effects.items()
    }
    return Provider(name=name, events=events, **options)


def _changed_provider(provider: Provider, value: Mapping[str, typing.Any]) -> Provider:
    """Returns a built-in provider with the changes of its table."""
    events_with_table = [name for name, meaning in provider.events.items() if meaning.table]
    keys = {
        "effects": key(_effects_like(events_with_table), default=dict),
        "fields": key(mapping(custom_fields.source_reader(None)), default=dict),
    }
    if provider.outcome:
        keys["outcome"] = key(boolean, default=False)
    if provider.pull:
        keys["pull"] = key(duration(example='"30s", "1m" or "1h"'), default=None)
        default = provider.pull.acknowledgement
        keys["pull_acknowledgement"] = key(text(A_BODY, _pull_acknowledgement), default=default)
    if provider.outcome or provider.pull:
        base = text("the base URL of its API", lambda url: url.rstrip("/") + "/")
        keys["api_url"] = key(base, default=provider.api_url)
    changes = ChangesTable.from_dict({**KEYS, **keys})().load(value)
    effects, sources = changes.pop("effects"), changes.pop("fields")
    common = {option: changes.pop(option) for option in COMMON if option in changes}
    url = changes.pop("api_url", None)
    if provider.outcome:
        changes["outcome"] = replace(provider.outcome, on=changes["outcome"], url=url)
    if provider.pull:
        every = changes["pull"].total_seconds() if changes["pull"] else None
        body = changes.pop("pull_acknowledgement")
        changes["pull"] = replace(provider.pull, every=every, url=url, acknowledgement=body)
    if "deadline" in changes:
        changes.setdefault("deadlines", {})
    events = dict(provider.events)
    for word, (effect, like) in effects.items():
        events[word.lower()] = _like(events, [like or word.lower(), word.lower()], effect)
    if common or sources:
        for word, meaning in events.items():
            change = partial(
                custom_fields.changed_table, effect=meaning.effect, sources=sources, common=common
            )
            events[word] = meaning.map(change)
    return replace(provider, **changes, events=events)


class ChangesTable(Table):
    """The table of a built-in provider."""

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
    """Returns the reader of the effect of each event type. `typed` says whether events have a type."""

    def read(word: str, value: object) -> Effect:
        if word != ANY and not typed:
            raise ValidationError(
                f'needs event_type, where the type stands; without it expected only "{ANY}"'
            )
        return _effect(word, value)

    return mapping(read, 'their event types and what they mean, such as { new = "open" }')


def _effect(word: str, value: object) -> Effect:
    if ANY in word and word != ANY:
        raise ValidationError(f'"{ANY}" stands alone, for all types that are not named')
    return Effect(one_of(tuple(Effect))(value))


def _effects_like(events: list[str]) -> Reader:
    """Returns the reader of an effect, or of a table that also names the event with the same fields."""
    effect = key(one_of(tuple(Effect)), absent=f"missing; expected one of {', '.join(Effect)}")
    read_table = table({"effect": effect, "like": key(one_of(events))})

    def read(word: str, value: object) -> tuple[Effect, str | None]:
        if not events:
            raise ValidationError("not for this provider, whose events carry no alerts")
        if not isinstance(value, Mapping):
            return _effect(word, value), None
        row = read_table(value)
        return _effect(word, row["effect"]), row.get("like")

    return mapping(read)


def _like(events: Mapping[str, Meaning], names: list[str], effect: Effect) -> Meaning:
    """Returns a meaning with the table of the first of these events that has one, else of one that opens."""
    if effect is Effect.IGNORE:
        return ignored
    meanings = [events[name] for name in names if name in events]
    meanings += sorted(events.values(), key=lambda meaning: meaning.effect is not Effect.OPEN)
    return replace(next(meaning for meaning in meanings if meaning.table is not None), effect=effect)


def _fields(provider: Mapping[str, typing.Any], kind: DisputeType | None, value: object) -> object:
    """Reads the fields of a provider without code; reports those that its effects require."""
    required = {"case_number": "every alert has one"}
    effects = _values(provider.get("effects", {ANY: Effect.OPEN}))
    if Effect.OPEN in (*effects, *_values(provider.get("inform"))):
        required |= dict.fromkeys(("amount", "currency"), "an event opens cases")
    if Effect.RESOLVE in effects:
        required["resolution"] = "an event resolves cases"
    names = value if isinstance(value, Mapping) else required
    missing = {
        name: [f"missing, and {why}; expected {A_PATH}"]
        for name, why in required.items()
        if name not in names
    }
    return read_with(missing, mapping(custom_fields.source_reader(kind, new=True)), value)


def _values(table: object) -> list[object]:
    return list(table.values()) if isinstance(table, Mapping) else []


# the rest


def _proof(value: object) -> Proof:
    """Reads how webhooks are authenticated."""
    if not isinstance(value, Mapping):
        raise ValidationError(A_TABLE)
    problems: dict[str, list[str]] = {}
    header = value.get("header")
    if isinstance(header, str) and not HEADER_NAME.fullmatch(header):
        problems["header"] = ["expected the name of a header"]
    try:
        built = build_proof(value)
    except ValueError as error:
        problems[SCHEMA] = list(error.args)
    if problems:
        raise ValidationError(problems)
    return built


def build_proof(table: Mapping[str, typing.Any]) -> Proof:
    """Returns the proof of a table in `bridge.toml`; raises ValueError with all problems as arguments."""
    options = {name: value for name, value in table.items() if name != "kind"}
    kind = PROOFS.get(str(table.get("kind")))
    kinds = [kind] if kind else PROOFS.values()
    names = {field.name for each in kinds for field in dataclasses.fields(each)}
    problems = [] if kind else [f"kind must be one of {', '.join(sorted(PROOFS))}"]
    if unknown := sorted(set(options) - names):
        expected = f"; expected one of {', '.join(sorted(names))}" if names else ""
        problems.append(f"{table.get('kind')} has no option {', '.join(unknown)}{expected}")
    for name in sorted(names & set(options)):
        if not isinstance(options[name], str):
            problems.append(f"{name}: every option is text, in quotes")
        elif options[name] not in (words := CHOICES.get(name, [options[name]])):
            problems.append(f"{name} must be one of {', '.join(words)}")
    usable = {name: options[name] for name in names & set(options) if isinstance(options[name], str)}
    proof = kind(**usable) if kind else None
    if isinstance(proof, Hmac | StandardWebhooks):
        problems += proof.problems()
    if problems:
        raise ValueError(*problems)
    return typing.cast("Proof", proof)


def _event_id(value: object) -> tuple[str, ...]:
    """Reads where the event's id is: one place, or several that are joined to one id."""
    if isinstance(value, list) and value:
        places: tuple[str, ...] = texts(f"a list, each {A_PLACE}", fitting(is_place))(value)
        return places
    return (PLACE(value),)


def _mark(value: object) -> str:
    """Reads the value that marks test traffic, which never becomes a dispute."""
    if not isinstance(value, str | bool | int) or value == "":
        raise ValidationError(f"expected {A_MARK}")
    return str(value).lower()


def _json(text: str) -> typing.Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _test(value: object) -> tuple[str, str]:
    """Reads the path and value that mark test traffic."""
    path = key(text(A_PATH, fitting(is_path)), absent=f"missing; expected {A_PATH}")
    row = table({"path": path, "value": key(_mark, absent=f"missing; expected {A_MARK}")})(value)
    return row["path"], row["value"]


def _acknowledgement(value: object) -> tuple[Acknowledgement, ...]:
    """Reads the answer that the provider's protocol requires."""
    options = table(
        {
            "body": String(load_default="", error_messages={"invalid": "expected text, in quotes"}),
            "content_type": key(text('such as "text/plain"', fitting(CONTENT_TYPE.fullmatch))),
            "status": key(_status, default=200),
            "echo": key(
                texts("a list of paths whose values the answer repeats", fitting(is_one_path)), default=()
            ),
        }
    )(value)
    body, echo = options["body"], options["echo"]
    if echo and not isinstance(_json(body or "{}"), dict):
        raise ValidationError({"body": ["expected a JSON object, for echo adds to it"]})
    if (body or echo) and options["status"] in (204, 205):
        raise ValidationError({"status": [f"expected {A_STATUS}"]})
    is_json = echo or not body or _json(body) is not None
    options.setdefault("content_type", "application/json" if is_json else "text/plain; charset=utf-8")
    return (Acknowledgement(**{**options, "body": body or ("{}" if echo else "")}),)


def _pull_acknowledgement(text: str) -> typing.Any:
    """Reads the body that acknowledges pulled alerts."""
    body = json.loads(text)
    if not names_each(body):
        raise ValueError(text)
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
"""The keys of every provider, under the names that `Provider` has for them."""
