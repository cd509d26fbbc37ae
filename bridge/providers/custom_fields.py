"""The `fields` of a provider in `bridge.toml`: reads them, and makes tables of them. Pure.

A source is how a field gets its value: its path (`data_key`) and the options of its kind, or a `value` that
is the same for every body.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from marshmallow import ValidationError
from marshmallow.fields import Field

from bridge.alert import RESOLUTIONS, Category, DisputeType, Effect, Network
from bridge.providers import fields
from bridge.providers.base import HEADER, QUERY
from bridge.providers.credentials import HEADER_NAME
from bridge.providers.currencies import DECIMALS
from bridge.providers.fields import REVIEW, AlertSchema
from bridge.providers.meanings import ANY
from bridge.providers.placeholders import plain_word
from bridge.validation import Reader, boolean, fitting, key, mapping, nearest, one_of, table, text

LONGEST_PATH = 200
TRUE = ("true", "yes", "1")
MOST_DECIMALS = 6
NO_WORD = "no outcome"
"""The word of a missing outcome, if `*` is listed."""

A_PATH = 'a path such as "data.case" ("a|b" for the first that is there)'
A_PLACE = f'{A_PATH}, "header:Name" or "query:name"'

AnyField = Field[typing.Any]
Source = Mapping[str, typing.Any]

FIELDS: Mapping[str, type[AnyField]] = {
    "case_number": fields.Identifier,
    "type": fields.Word,
    "subtype": fields.Word,
    "category": fields.Word,
    "network": fields.Word,
    "event_at": fields.Moment,
    "amount": fields.Money,
    "currency": fields.Currency,
    "happened_at": fields.Moment,
    "transaction_amount": fields.Money,
    "transaction_currency": fields.Currency,
    "transaction_at": fields.Moment,
    "arn": fields.Identifier,
    "card": fields.Card,
    "card_first_six": fields.FirstSix,
    "card_last_four": fields.LastFour,
    "auth_code": fields.Identifier,
    "network_transaction_id": fields.Identifier,
    "external_id": fields.Identifier,
    "order": fields.Identifier,
    "provider_id": fields.Identifier,
    "descriptor": fields.Text,
    "mid": fields.Identifier,
    "member_id": fields.Identifier,
    "merchant_id": fields.Identifier,
    "resolution": fields.Resolution,
    "message": fields.Text,
    "refunded_by_gateway": fields.Flag,
    "withdrawn": fields.Flag,
    "reason_code": fields.Code,
}
"""The kind of each field of an Alert, and `card` for both parts of a card number."""

ENUMS: Mapping[str, type[DisputeType | Category | Network]] = {
    "type": DisputeType,
    "category": Category,
    "network": Network,
}


# reading the file


def is_path(text: str) -> bool:
    """Whether a text is a path into a body, or several alternatives."""
    return all(map(is_one_path, text.split("|")))


def is_one_path(text: str) -> bool:
    """Whether a text is one path: names with dots between them."""
    plain = text == text.strip() and "|" not in text and not text.startswith((HEADER, QUERY))
    return plain and all(text.split(".")) and len(text) <= LONGEST_PATH


def is_place(text: str) -> bool:
    """Whether a text is a path, or names a header or a part of the query, or several alternatives."""
    return all(
        HEADER_NAME.fullmatch(place.removeprefix(HEADER).removeprefix(QUERY))
        if place.startswith((HEADER, QUERY))
        else is_one_path(place)
        for place in text.split("|")
    )


def zone(name: str) -> ZoneInfo:
    """Returns a time zone by its name; raises ValueError or LookupError."""
    try:
        return ZoneInfo(name)
    except OSError as error:  # a folder of zones
        raise ValueError(name) from error


def _decimals(code: str, count: object) -> int:
    if code not in DECIMALS:
        raise ValidationError("expected an ISO 4217 currency code such as CLP")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_DECIMALS:
        raise ValidationError(f"expected how many decimals it has there, from 0 to {MOST_DECIMALS}")
    return count


ZONE = text('a zone such as "US/Eastern"', zone)
UNIT = one_of(("decimal", "minor"))
COUNTS = mapping(_decimals)
"""The number of decimals of currencies that a provider counts in its own way."""


def _is_format(text: str) -> bool:
    """Whether a format has the whole date, and parses what it formats."""
    day = datetime(2023, 11, 30, tzinfo=UTC)
    try:
        return datetime.strptime(day.strftime(text), text).date() == day.date()  # noqa: DTZ007
    except (ValueError, re.error):
        return False


def _our_words(name: str, kind: DisputeType | None) -> dict[str, typing.Any] | None:
    """Returns the words that a field may have, if there is a list of them, and their values."""
    if enum := ENUMS.get(name):
        return {member.value: member for member in enum}
    if name == "resolution":
        kinds = (kind,) if kind else tuple(RESOLUTIONS)
        return {word: word for each in kinds for word in RESOLUTIONS[each]}
    return None


def _values(name: str, kind: DisputeType | None) -> Reader:
    """Returns the reader of a table from the provider's words to ours. An empty word of ours is None."""
    words = _our_words(name, kind)
    read_ours = text("our word for it", lambda word: word or None, empty=True)
    if FIELDS[name] is fields.Flag:
        read_ours = boolean
    elif words:
        read_ours = one_of(words | ({REVIEW: REVIEW} if name == "resolution" else {}), empty=True)
    return mapping(
        lambda _, word: read_ours(word), 'their words and ours, such as { REFUNDED = "issued_full_refund" }'
    )


def _outcomes(kind: DisputeType | None) -> Reader:
    """Returns the reader of a table of outcomes, which may be given by type of dispute."""
    by_type = {str(each): _values("resolution", each) for each in DisputeType}

    def load(value: object) -> dict[str, typing.Any]:
        if isinstance(value, Mapping) and value and set(value) <= set(by_type):
            return fields.by_word(mapping(lambda each, words: by_type[each](words) if words else {})(value))
        return dict(_values("resolution", kind)(value))

    return load


def _options(name: str, kind: DisputeType | None) -> dict[str, Field[typing.Any]]:
    """Returns the keys of a field's table besides its path. `value` takes the place of the path."""
    field, words = FIELDS[name], _our_words(name, kind)
    if field is fields.Money:
        return {"unit": key(UNIT), "decimals": key(COUNTS), "decimal_comma": key(boolean)}
    if field is fields.Moment:
        a_format = text('a format such as "%d/%m/%Y %H:%M"', fitting(_is_format))
        return {"zone": key(ZONE), "format": key(a_format)}
    if field is fields.Flag:
        return {"true": key(_values(name, kind), "values"), "value": key(boolean)}
    if field is fields.Resolution:
        return {"values": key(_outcomes(kind)), "value": key(one_of(words or ()))}
    if field is fields.Word:
        return {"values": key(_values(name, kind)), "value": key(one_of(words) if words else text("text"))}
    if field is fields.Currency:
        return {"value": key(text("an ISO 4217 currency code such as USD", fitting(DECIMALS.__contains__)))}
    return {"value": key(text("text"))} if field is fields.Text else {}


def source_reader(kind: DisputeType | None, *, new: bool = False) -> Callable[[str, object], Source]:
    """Returns the reader of a field: a path, or a table.

    `kind` is the type of the provider's disputes, if they all have the same. A new provider needs a path.
    """

    def read(name: str, value: object) -> Source:
        if name not in FIELDS:
            raise ValidationError(f"unknown; expected one of {', '.join(FIELDS)}{nearest(name, FIELDS)}")
        if not isinstance(value, Mapping):
            return {"data_key": text(f"{A_PATH}, or a table", fitting(is_path))(value)}
        absent = f"missing; expected {A_PATH}" if new and "value" not in value else ""
        path = key(text(A_PATH, fitting(is_path)), "path", absent=absent)
        source: Source = table({"data_key": path, **_options(name, kind)})(value)
        if "value" in source and len(source) > 1:
            raise ValidationError({"value": ["stands alone, for it is the same in every body"]})
        return source

    return read


# making tables


def new_table(
    sources: Mapping[str, Source], common: Source, kind: DisputeType, effect: Effect
) -> AlertSchema:
    """Returns the table for the events of an effect. `common` has the options of all amounts and times."""
    declared = {} if "type" in sources else {"type": fields.Constant(kind)}
    return changed_table(_table_with(AlertSchema, declared), effect, sources, common, kind)


def changed_table(
    old: AlertSchema,
    effect: Effect,
    sources: Mapping[str, Source],
    common: Source,
    kind: DisputeType | None = None,
) -> AlertSchema:
    """Returns a table with these sources and options, which also add fields that it lacks."""
    declared = {
        name: changed_field(field, old.path(name), _options_for(type(field), common))
        for name, field in old.load_fields.items()
    }
    for name, source in sources.items():
        options = dict(source)
        if name == "resolution" and ANY in options.get("values", {}):
            options |= _rest_options(options["values"], effect)
        elif name == "resolution" and effect is Effect.RESOLVE and name not in declared:
            options["required"] = True  # it is the point of the event
        if name in declared:
            declared[name] = changed_field(declared[name], declared[name].data_key, options)
        elif "data_key" in options or "value" in options:
            declared[name] = _new_field(name, options, common, kind)
    return _table_with(type(old), declared)


def _rest_options(values: Mapping[str, typing.Any], effect: Effect) -> Source:
    """Returns the options for `*` in a table of outcomes.

    It stands for every other word and a missing one. If the event only opens a case, it is not final.
    """
    if effect is not Effect.RESOLVE:
        return {"values": {**values, ANY: None}}
    return {"load_default": fields.ProviderOutcome(NO_WORD, True, values[ANY])}


def _table_with(base: type[AlertSchema], declared: Mapping[str, AnyField]) -> AlertSchema:
    return typing.cast("AlertSchema", base.from_dict(dict(declared), name=base.__name__)())


OPTIONS = (
    *("beside", "unit", "decimals", "decimal_comma", "zone", "format", "values", "strict", "true"),
    *("required", "load_default"),
)
"""The options of a field that it keeps as attributes, besides its path."""


def changed_field(old: AnyField, path: str | None, options: Source) -> AnyField:
    """Returns a field with other options. Words and decimals are added to those that it has.

    A constant, or a field of several places, stays as it is.
    """
    if isinstance(old, fields.Constant):
        return fields.Constant(old.constant)
    if isinstance(old, fields.Every):
        return fields.Every({at: tuple(flag.true) for at, flag in old.flags.items()}, then=old.then)
    if "value" in options:
        return fields.Constant(options["value"])
    unchanged = {name: getattr(old, name) for name in OPTIONS if hasattr(old, name)}
    arguments = {"data_key": path, **unchanged, **options}
    if isinstance(old, fields.Word):
        words = arguments.pop("true", None) or options.get("values")  # a built-in may read a flag as a Word
        arguments["values"] = _merged(old.values or {}, words) if words else old.values
    elif isinstance(old, fields.Flag):
        arguments["true"] = (*old.true, *_true_words(options))
    elif isinstance(old, fields.Money):
        arguments["decimals"] = old.decimals | options.get("decimals", {})
    if "load_default" in options:
        arguments["required"] = False
    return type(old)(**arguments)


def _merged(old: Mapping[str, typing.Any], new: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Returns old words with new ones. A new value for one type of dispute leaves the other type's."""
    merged = dict(old)
    for word, ours in ((plain_word(name), value) for name, value in new.items()):
        before = merged.get(word)
        if isinstance(ours, dict) and word in merged:
            by_type = before if isinstance(before, dict) else dict.fromkeys(DisputeType, before)
            merged[word] = by_type | ours
        else:
            merged[word] = ours
    return merged


def _new_field(name: str, options: Source, common: Source, kind: DisputeType | None) -> AnyField:
    """Returns a field that a table lacks."""
    if "value" in options:
        return fields.Constant(options["value"])
    field = FIELDS[name]
    arguments = _options_for(field, common) | dict(options)
    if issubclass(field, fields.Word):
        arguments.setdefault("values", _our_words(name, kind))
    elif field is fields.Flag:
        arguments["true"] = _true_words(options) if "true" in options else TRUE
    if name == "type":
        arguments |= {"strict": True, "load_default": kind or DisputeType.ALERT}
    return field(**arguments)


def _true_words(options: Source) -> tuple[str, ...]:
    """Returns the words of a flag that mean true."""
    return tuple(word for word, is_true in options.get("true", {}).items() if is_true)


def _options_for(field: type[AnyField], common: Source) -> dict[str, typing.Any]:
    """Returns the common options that apply to a kind of field."""
    names = {fields.Money: ("unit", "decimals", "decimal_comma"), fields.Moment: ("zone",)}.get(field, ())
    return {name: common[name] for name in names if name in common}
