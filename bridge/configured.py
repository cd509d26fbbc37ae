"""Providers out of `bridge.toml`: new ones without code, and the built-in ones with changes. Pure.

A `[providers.NAME]` table becomes what a module of `bridge.providers` is: a Provider with a table of
fields for each event. Every mistake is noted in the Section that it stands in.
"""

from __future__ import annotations

import copy
import json
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import ValidationError

from bridge import fields, proof
from bridge.alert import RESOLUTIONS, DisputeType, Effect
from bridge.fields import AlertSchema
from bridge.provider import (
    ANY,
    HEADER,
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
from bridge.tree import FORMATS

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

    from marshmallow.fields import Field

    from bridge.toml import Section

SLUG = re.compile(r"[a-z][a-z0-9_]{1,39}")
RESERVED = "next_webhook"  # the variable of 29next's own signing secret
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w-]+)*", re.ASCII)
LONGEST_PATH = 200

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
)
"""Keys of every provider."""
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

A_PATH = 'a path such as "data.case" ("a|b" for the first that is there)'
A_PLACE = f'{A_PATH}, or "header:Name"'


# the fields


class Word(fields.Word):
    """A word whose table may say with `*` what the rest become."""

    def read(self, value: str) -> typing.Any:
        """Return our word for the provider's."""
        word = value.strip().lower()
        if self.values is not None and word not in self.values and ANY in self.values:
            return self.values[ANY]
        return super().read(value)


class Moment(fields.Moment):
    """A moment that may be written in a form of the provider's own, as `strptime` reads it."""

    def __init__(self, *, form: str | None = None, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.form = form

    def read(self, value: str) -> datetime:
        """Return the moment, with its zone."""
        if self.form is None:
            return super().read(value)
        try:
            moment = datetime.strptime(value.strip(), self.form)  # noqa: DTZ007  the zone comes below
        except ValueError:
            raise ValidationError(f"{value.strip()[:40]!r} is not a date like {self.form}.") from None
        return super().read(moment.isoformat())


TRUE = ("true", "yes", "1")

FIELDS: Mapping[str, type[Field[typing.Any]]] = {
    "case_number": fields.Identifier,
    "type": Word,
    "subtype": Word,
    "network": Word,
    "amount": fields.Money,
    "currency": fields.Currency,
    "happened_at": Moment,
    "transaction_amount": fields.Money,
    "transaction_currency": fields.Currency,
    "transaction_at": Moment,
    "arn": fields.Identifier,
    "card": fields.Card,
    "card_first_six": fields.FirstSix,
    "card_last_four": fields.LastFour,
    "auth_code": fields.Identifier,
    "network_transaction_id": fields.Identifier,
    "external_id": fields.Identifier,
    "order": fields.Identifier,
    "descriptor": fields.Text,
    "mid": fields.Identifier,
    "member_id": fields.Identifier,
    "merchant_id": fields.Identifier,
    "resolution": Word,
    "message": fields.Text,
    "refunded_by_gateway": fields.Flag,
    "withdrawn": fields.Flag,
    "reason_code": fields.Identifier,
}
"""The kind of each field of an Alert, and `card` for both halves of a card number."""

OPTIONS: Mapping[type[Field[typing.Any]], tuple[str, ...]] = {
    fields.Money: ("unit",),
    Moment: ("zone", "form"),
    Word: ("values", "value"),
    fields.Flag: ("values", "value"),
    fields.Currency: ("value",),
    fields.Text: ("value",),
}
"""What a field's table may say beside its path."""

NEEDED = ("case_number", "amount", "currency")
"""Fields that a body must have; one that does not open may lack the money (`provider.FACTS`)."""


@dataclass(frozen=True)
class Source:
    """Where a field comes from: a path, or a constant; and the options of its kind."""

    path: str | None = None
    constant: typing.Any = None
    options: Mapping[str, typing.Any] = field(default_factory=dict)

    def made(self, name: str, old: Field[typing.Any] | None = None, **more: typing.Any) -> Field[typing.Any]:
        """Make the field, with what the old one in its place says where the source says nothing."""
        if isinstance(old, fields.Constant):
            return old
        if self.constant is not None:
            return fields.Constant(self.constant)
        if old is not None and not self.options:
            changed = copy.copy(old)
            changed.data_key = self.path
            return changed
        kind = FIELDS[name]
        kept = {one: getattr(old, one) for one in ("unit", "zone", "values", "strict") if hasattr(old, one)}
        if old is not None:
            kept |= {"required": old.required, "load_default": old.load_default}
        return kind(
            **(kept | more | dict(self.options)), data_key=self.path or getattr(old, "data_key", None)
        )


# providers


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
    """Make a provider without code; what is wrong with it is noted, and nothing of it is used then."""
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
    sources = _sources(section, kind)
    policy = common.get("policy", {}).values()
    _complete(section, {*effects.values(), *policy})
    subtype = common.pop("subtype", None)
    if subtype and not subtype.startswith(HEADER):
        sources.setdefault("subtype", Source(subtype))
    proven = _proof(section, required=True)
    event_id = _event_id(section, required=True)
    if proven is None or event_id is None:
        return None
    words = section.word("format", FORMATS, "json")
    return Provider(
        name=name,
        title=section.text("title") or name.replace("_", " ").title(),
        proof=proven,
        event_id=event_id,
        event_type=_place(section, "event_type"),
        events={word: MEANINGS[one](_table(sources, kind, one)) for word, one in effects.items()},
        formats=(str(words),),
        items=section.text("items", 'a path such as "data.cases"', fits=_is_one_path),
        embedded=section.texts("embedded", "a list of names of text fields that hold JSON") or (),
        subtype=subtype or (sources["subtype"].path if "subtype" in sources else None),
        **common,
    )


def _changed(provider: Provider, section: Section) -> Provider:
    """Lay a table of settings over a built-in provider."""
    for name in sorted(set(section) & set(DEFINITION)):
        section.wrong(name, "not for a built-in provider, which has its own")
    section.only(*SETTINGS, *DEFINITION)
    changes = _common(section)
    if (proven := _proof(section)) is not None:
        changes["proof"] = proven
    if (event_id := _event_id(section)) is not None:
        changes["event_id"] = event_id
    if (event_type := _place(section, "event_type")) is not None:
        changes["event_type"] = event_type
    if "deadline" in changes:
        changes.setdefault("deadlines", {})
    zone, unit = _zone(section, "zone"), section.word("amount_unit", ("decimal", "minor"))
    adapted = provider.configured(zone=zone, unit=unit)
    sources = _sources(section, None)
    events = {word: _over(meaning, sources) for word, meaning in adapted.events.items()}
    for word, (effect, like) in _effects_like(section, events).items():
        events[word] = MEANINGS[effect](_like(events, word, like))
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


# the tables of fields


def _sources(section: Section, kind: DisputeType | None) -> dict[str, Source]:
    """Read `fields`: ours on the left, a path or a table on the right."""
    table = section.section("fields")
    for name in sorted(set(table) - set(FIELDS)):
        table.wrong(name, f"unknown; expected one of {', '.join(FIELDS)}")
    zone, unit = _zone(section, "zone"), section.word("amount_unit", ("decimal", "minor"))
    found = {}
    for name in (one for one in table if one in FIELDS):
        if isinstance(table.values[name], Mapping):
            source = _source(name, table.section(name), kind)
        else:
            source = Source(table.text(name, f"{A_PATH}, or a table", fits=_is_path))
        given = {"zone": zone, "unit": unit} if kind else {}
        found[name] = replace(source, options=_suited(name, given) | dict(source.options))
    return found


def _suited(name: str, given: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    suited = OPTIONS.get(FIELDS[name], ())
    return {option: value for option, value in given.items() if option in suited and value is not None}


def _source(name: str, table: Section, kind: DisputeType | None) -> Source:
    suited = OPTIONS.get(FIELDS[name], ())
    table.only("path", *suited)
    path = table.text("path", A_PATH, fits=_is_path, required=kind is not None and "value" not in table)
    constant = _constant(name, table, kind) if "value" in table else None
    if "value" in table and len(table.values) > 1:
        table.wrong("value", "stands alone: it is the same for every body")
    options: dict[str, typing.Any] = {}
    if "unit" in suited:
        options["unit"] = table.word("unit", ("decimal", "minor"))
    if "zone" in suited:
        options["zone"] = _zone(table, "zone")
        options["form"] = table.text("form", 'a form such as "%d/%m/%Y %H:%M"', fits=_is_form)
    if "values" in suited and "values" in table:
        options |= _values(name, table, kind)
    return Source(path, constant, {option: value for option, value in options.items() if value is not None})


def _values(name: str, table: Section, kind: DisputeType | None) -> dict[str, typing.Any]:
    """Read the provider's words and ours; an empty one of ours says nothing."""
    values = table.section("values")
    if FIELDS[name] is fields.Flag:
        return {"true": tuple(word for word in values if values.truth(word))}
    read = {word.lower(): _our_word(name, values, word, kind) for word in values}
    if not read:
        table.wrong("values", 'expected a table of their words and ours, such as { won = "won" }')
    return {"values": read}


def _our_word(name: str, values: Section, word: str, kind: DisputeType | None) -> typing.Any:
    known = _our_words(name, kind)
    if known is None:
        return values.text(word, "our word for it", required=True) or None
    ours = values.text(word, f"one of {', '.join(known)}", fits=(*known, "").__contains__, empty=True)
    return known.get(ours or "")


def _our_words(name: str, kind: DisputeType | None) -> dict[str, typing.Any] | None:
    """Return the words that a field may become, where they are 29next's; None where any will do."""
    if name == "type":
        return {one.value: one for one in DisputeType}
    if name == "resolution":
        kinds = (kind,) if kind else tuple(RESOLUTIONS)
        return {word: word for one in kinds for word in RESOLUTIONS[one]}
    return None


def _constant(name: str, table: Section, kind: DisputeType | None) -> typing.Any:
    if FIELDS[name] is fields.Flag:
        return table.truth("value") or None
    known = _our_words(name, kind)
    if known:
        return known.get(table.word("value", known) or "")
    if FIELDS[name] is fields.Currency:
        code = table.text("value", "an ISO 4217 currency code such as USD", fits=_is_currency)
        return code and code.upper()
    return table.text("value")


def _table(sources: Mapping[str, Source], kind: DisputeType, effect: Effect) -> type[AlertSchema]:
    """Build the table of one effect out of the fields' sources."""
    built: dict[str, Field[typing.Any]] = {"type": fields.Constant(kind)}
    for name, source in sources.items():
        more: dict[str, typing.Any] = {}
        if FIELDS[name] is Word:
            more["strict"] = name == "type" or (name == "resolution" and effect is Effect.RESOLVE)
            more["values"] = _our_words(name, kind)
        if FIELDS[name] is fields.Flag:
            more["true"] = TRUE
        if name == "type":
            more["load_default"] = kind
        elif name in NEEDED:
            more["required"] = True
        built[name] = source.made(name, **more)
    return _schema(AlertSchema, built)


def _over(meaning: Meaning, sources: Mapping[str, Source]) -> Meaning:
    """Lay the sources over the table of a built-in provider's event."""
    if meaning.table is None or not sources:
        return meaning
    old = _unbound(meaning.table)
    laid = {
        name: source.made(name, old.get(name), **_defaults(name, old))
        for name, source in sources.items()
        if source.path or name in old
    }
    table = _schema(type(meaning.table), old | laid)
    return replace(meaning, table=table(partial=meaning.table.partial))


def _defaults(name: str, old: Mapping[str, Field[typing.Any]]) -> dict[str, typing.Any]:
    """Return what a field needs that the built-in table did not have."""
    if name in old:
        return {}
    if FIELDS[name] is Word:
        return {"strict": False, "values": _our_words(name, None)}
    return {"true": TRUE} if FIELDS[name] is fields.Flag else {}


def _unbound(table: AlertSchema) -> dict[str, Field[typing.Any]]:
    """Return a table's fields with their paths, as a class declares them."""
    found = {}
    for name, a_field in table.load_fields.items():
        found[name] = copy.copy(a_field)
        found[name].data_key = table.path(name)
    return found


def _schema(base: type[AlertSchema], declared: dict[str, Field[typing.Any]]) -> type[AlertSchema]:
    return typing.cast("type[AlertSchema]", base.from_dict(declared, name=base.__name__))


# effects and policies


def _effects(section: Section) -> dict[str, Effect]:
    """Read what each event type means; without event types, every webhook opens unless `*` says."""
    table = section.section("effects", required="event_type" in section)
    if "effects" in section and not table.values:
        section.wrong("effects", 'expected their event types and what they mean, such as { new = "open" }')
    if "event_type" not in section:
        for word in (one for one in table if one != ANY):
            table.wrong(word, 'needs event_type, where the type stands; without it expected only "*"')
    found = {word.lower(): _effect(table, word) for word in table}
    return found or {ANY: Effect.OPEN}


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
    for word in table:
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


def _like(events: Mapping[str, Meaning], word: str, like: str | None) -> type[AlertSchema]:
    """Return the fields of the event that is named, of the same event so far, or of the first that opens."""
    tables = [events[one].table for one in (like, word) if one is not None and one in events]
    tables += [one.table for one in sorted(events.values(), key=lambda one: one.effect is not Effect.OPEN)]
    table = next(one for one in tables if one is not None)
    return _schema(type(table), _unbound(table))


def _policy(section: Section) -> dict[str, Effect] | None:
    if "inform" not in section:
        return None
    table = section.section("inform")
    return {word.lower(): Effect(table.word(word, POLICIES) or Effect.INFORM) for word in table}


# the rest


def _proof(section: Section, *, required: bool = False) -> proof.Proof | None:
    table = section.section("proof", required=required)
    if not isinstance(section.values.get("proof"), Mapping):
        return None
    header = table.text("header", "the name of a header", fits=HEADER_NAME.fullmatch)
    if "header" in table and header is None:
        return None
    try:
        return proof.build(table.values)
    except ValueError as error:
        section.wrong("proof", str(error))
        return None


def _event_id(section: Section, *, required: bool = False) -> tuple[str, ...] | None:
    """Read where the event's id stands: one place, or several that are joined to one id."""
    if isinstance(section.values.get("event_id"), list):
        places = section.texts("event_id", f"a list, each {A_PLACE}", fits=_is_place)
        if places == ():
            section.wrong("event_id", f"expected {A_PLACE}")
        return places or None
    place = _place(section, "event_id", required=required)
    return (place,) if place else None


def _place(section: Section, name: str, *, required: bool = False) -> str | None:
    return section.text(name, A_PLACE, fits=_is_place, required=required)


def _test(section: Section) -> tuple[str, str] | None:
    """Read what marks test traffic, which never becomes a dispute."""
    if "test" not in section:
        return None
    table = section.section("test")
    table.only("path", "value")
    path = table.text("path", A_PATH, fits=_is_path, required=True)
    value = table.values.get("value")
    if not isinstance(value, str | bool | int) or value == "":
        table.wrong("value", 'expected the value that marks test traffic, such as true or "test"')
        return None
    return (path, str(value).lower()) if path else None


def _deadlines(section: Section) -> dict[str, timedelta] | None:
    if "deadlines" not in section:
        return None
    table = section.section("deadlines")
    read = {word.lower(): table.duration(word) for word in table}
    return {word: one for word, one in read.items() if one}


def _acknowledgements(section: Section) -> tuple[Acknowledgement, ...] | None:
    if "acknowledgement" not in section:
        return None
    table = section.section("acknowledgement")
    table.only("body", "content_type", "status", "echo")
    body = table.values.get("body", "")
    if not isinstance(body, str):
        table.wrong("body", "expected text, in quotes")
        body = ""
    echo = table.texts("echo", "a list of paths whose values the answer repeats", fits=_is_one_path) or ()
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


def _zone(section: Section, name: str) -> ZoneInfo | None:
    text = section.text(name, 'a zone such as "US/Eastern"', fits=_is_zone)
    return ZoneInfo(text) if text else None


def _is_zone(text: str) -> bool:
    try:
        return bool(ZoneInfo(text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _is_path(text: str) -> bool:
    return all(_is_one_path(one) for one in text.split("|"))


def _is_one_path(text: str) -> bool:
    plain = text == text.strip() and "|" not in text and not text.startswith(HEADER)
    return plain and all(text.split(".")) and len(text) <= LONGEST_PATH


def _is_place(text: str) -> bool:
    if text.startswith(HEADER):
        return HEADER_NAME.fullmatch(text.removeprefix(HEADER)) is not None
    return _is_path(text)


def _is_form(text: str) -> bool:
    """Whether a form of dates holds the whole date, and reads what it writes."""
    moment = datetime(2023, 11, 30, 0, 0, tzinfo=UTC)
    try:
        return datetime.strptime(moment.strftime(text), text).date() == moment.date()  # noqa: DTZ007
    except (ValueError, re.error):
        return False


def _is_currency(text: str) -> bool:
    try:
        return bool(fields.Currency().read(text))
    except ValidationError:
        return False
