"""The `fields` of a provider in `bridge.toml`: what may stand there, and the tables that they make. Pure.

A source is what one field is made with: its path (`data_key`) and the options of its kind, or a `value`
that is the same in every body.
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
from bridge.providers.currencies import DECIMALS
from bridge.providers.fields import REVIEW, AlertSchema
from bridge.providers.meanings import ANY
from bridge.providers.placeholders import plain_word
from bridge.validation import Reader, boolean, fitting, key, mapping, nearest, one_of, table, text

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
LONGEST_PATH = 200
TRUE = ("true", "yes", "1")
MOST_DECIMALS = 6
NO_WORD = "no outcome"
"""What is said of an outcome that is missing, where `*` takes it."""

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
"""The kind of each field of an Alert, and `card` for both halves of a card number."""

ENUMS: Mapping[str, type[DisputeType | Category | Network]] = {
    "type": DisputeType,
    "category": Category,
    "network": Network,
}


# what may stand there


def is_path(text: str) -> bool:
    """Whether a text is a path into a body, or several to be tried in turn."""
    return all(map(is_one_path, text.split("|")))


def is_one_path(text: str) -> bool:
    """Whether a text is one path: names with dots between them."""
    plain = text == text.strip() and "|" not in text and not text.startswith((HEADER, QUERY))
    return plain and all(text.split(".")) and len(text) <= LONGEST_PATH


def is_place(text: str) -> bool:
    """Whether a text is a path, or names a header or a part of the query, or several to be tried in turn."""
    return all(
        HEADER_NAME.fullmatch(one.removeprefix(HEADER).removeprefix(QUERY))
        if one.startswith((HEADER, QUERY))
        else is_one_path(one)
        for one in text.split("|")
    )


def zone(name: str) -> ZoneInfo:
    """Return a time zone by its name; raises ValueError or LookupError."""
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
"""The currencies whose minor units a provider counts in its own way."""


def _is_format(text: str) -> bool:
    """Whether a format of dates holds the whole date, and reads what it writes."""
    day = datetime(2023, 11, 30, tzinfo=UTC)
    try:
        return datetime.strptime(day.strftime(text), text).date() == day.date()  # noqa: DTZ007
    except (ValueError, re.error):
        return False


def _our_words(name: str, kind: DisputeType | None) -> dict[str, typing.Any] | None:
    """Return the words that a field may become, where 29next has a list of them."""
    if enum := ENUMS.get(name):
        return {one.value: one for one in enum}
    if name == "resolution":
        kinds = (kind,) if kind else tuple(RESOLUTIONS)
        return {word: word for one in kinds for word in RESOLUTIONS[one]}
    return None


def _values(name: str, kind: DisputeType | None) -> Reader:
    """Return the reader of the provider's words and ours; an empty one of ours says nothing."""
    known = _our_words(name, kind)
    ours = text("our word for it", lambda word: word or None, empty=True)
    if FIELDS[name] is fields.Flag:
        ours = boolean
    elif known:
        ours = one_of(known | ({REVIEW: REVIEW} if name == "resolution" else {}), empty=True)
    return mapping(
        lambda _, word: ours(word), 'their words and ours, such as { REFUNDED = "issued_full_refund" }'
    )


def _outcomes(kind: DisputeType | None) -> Reader:
    """Return the reader of the words for a resolution, which may be listed by type of dispute."""
    by_type = {str(one): _values("resolution", one) for one in DisputeType}

    def load(value: object) -> dict[str, typing.Any]:
        if isinstance(value, Mapping) and value and set(value) <= set(by_type):
            return fields.by_word(mapping(lambda one, words: by_type[one](words) if words else {})(value))
        return dict(_values("resolution", kind)(value))

    return load


def _options(name: str, kind: DisputeType | None) -> dict[str, Field[typing.Any]]:
    """Return what a field's table may say beside its path; `value` stands in the path's place."""
    of, words = FIELDS[name], _our_words(name, kind)
    if of is fields.Money:
        return {"unit": key(UNIT), "decimals": key(COUNTS), "decimal_comma": key(boolean)}
    if of is fields.Moment:
        return {
            "zone": key(ZONE),
            "format": key(text('a format such as "%d/%m/%Y %H:%M"', fitting(_is_format))),
        }
    if of is fields.Flag:
        return {"true": key(_values(name, kind), "values"), "value": key(boolean)}
    if of is fields.Resolution:
        return {"values": key(_outcomes(kind)), "value": key(one_of(words or ()))}
    if of is fields.Word:
        return {"values": key(_values(name, kind)), "value": key(one_of(words) if words else text("text"))}
    if of is fields.Currency:
        return {"value": key(text("an ISO 4217 currency code such as USD", fitting(DECIMALS.__contains__)))}
    return {"value": key(text("text"))} if of is fields.Text else {}


def sources(kind: DisputeType | None, *, new: bool = False) -> Callable[[str, object], Source]:
    """Return what reads the right of each field: a path, or a table.

    `kind` is the type of a provider's disputes, if they have one. A new provider has no paths yet.
    """

    def read(name: str, value: object) -> Source:
        if name not in FIELDS:
            raise ValidationError(f"unknown; expected one of {', '.join(FIELDS)}{nearest(name, FIELDS)}")
        if not isinstance(value, Mapping):
            return {"data_key": text(f"{A_PATH}, or a table", fitting(is_path))(value)}
        absent = f"missing; expected {A_PATH}" if new and "value" not in value else ""
        path = key(text(A_PATH, fitting(is_path)), "path", absent=absent)
        found: Source = table({"data_key": path, **_options(name, kind)})(value)
        if "value" in found and len(found) > 1:
            raise ValidationError({"value": ["stands alone, for it is the same in every body"]})
        return found

    return read


# the tables


def new_table(found: Mapping[str, Source], common: Source, kind: DisputeType, effect: Effect) -> AlertSchema:
    """Return the table of the events of one effect; `common` has the options of all amounts and times."""
    made = {} if "type" in found else {"type": fields.Constant(kind)}
    return changed_table(_declared(AlertSchema, made), effect, found, common, kind)


def changed_table(
    old: AlertSchema,
    effect: Effect,
    found: Mapping[str, Source],
    common: Source,
    kind: DisputeType | None = None,
) -> AlertSchema:
    """Return a table with other sources and options; fields that it lacks are added."""
    made = {
        name: again(one, old.path(name), _suited(type(one), common)) for name, one in old.load_fields.items()
    }
    for name, source in found.items():
        options = dict(source)
        if name == "resolution" and ANY in options.get("values", {}):
            options |= _with_star(options["values"], effect)
        elif name == "resolution" and effect is Effect.RESOLVE and name not in made:
            options["required"] = True  # it is the point of the event
        if name in made:
            made[name] = again(made[name], made[name].data_key, options)
        elif "data_key" in options or "value" in options:
            made[name] = _new(name, options, common, kind)
    return _declared(type(old), made)


def _with_star(values: Mapping[str, typing.Any], effect: Effect) -> Source:
    """Have `*` take every other word, and none; but where a case is only opened, no other word is final."""
    if effect is not Effect.RESOLVE:
        return {"values": {**values, ANY: None}}
    return {"load_default": fields.ProviderOutcome(NO_WORD, True, values[ANY])}


def _declared(base: type[AlertSchema], made: Mapping[str, AnyField]) -> AlertSchema:
    return typing.cast("AlertSchema", base.from_dict(dict(made), name=base.__name__)())


KEPT = (
    *("beside", "unit", "decimals", "decimal_comma", "zone", "format", "values", "strict", "true"),
    *("required", "load_default"),
)
"""What a field was made with, beside its path."""


def again(old: AnyField, path: str | None, options: Source) -> AnyField:
    """Make a field again with other options; words and decimals are added to those that it has.

    What an event's type says already stays: it stands nowhere in the body.
    """
    if isinstance(old, fields.Constant):
        return fields.Constant(old.constant)
    if isinstance(old, fields.Every):
        return fields.Every({at: tuple(flag.true) for at, flag in old.flags.items()}, then=old.then)
    if "value" in options:
        return fields.Constant(options["value"])
    kept = {name: getattr(old, name) for name in KEPT if hasattr(old, name)}
    made = {"data_key": path, **kept, **options}
    if isinstance(old, fields.Word):
        words = made.pop("true", None) or options.get("values")  # a flag may be read by words, too
        made["values"] = _merged(old.values or {}, words) if words else old.values
    elif isinstance(old, fields.Flag):
        made["true"] = (*old.true, *_yes(options))
    elif isinstance(old, fields.Money):
        made["decimals"] = old.decimals | options.get("decimals", {})
    if "load_default" in options:
        made["required"] = False
    return type(old)(**made)


def _merged(old: Mapping[str, typing.Any], new: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Lay new words over old ones; one that is said by type of dispute stays what it was for the other."""
    found = dict(old)
    for word, ours in ((plain_word(name), value) for name, value in new.items()):
        before = found.get(word)
        if isinstance(ours, dict) and word in found:
            by_type = before if isinstance(before, dict) else dict.fromkeys(DisputeType, before)
            found[word] = by_type | ours
        else:
            found[word] = ours
    return found


def _new(name: str, options: Source, common: Source, kind: DisputeType | None) -> AnyField:
    """Make a field that a table lacks."""
    if "value" in options:
        return fields.Constant(options["value"])
    of = FIELDS[name]
    made = _suited(of, common) | dict(options)
    if issubclass(of, fields.Word):
        made.setdefault("values", _our_words(name, kind))
    elif of is fields.Flag:
        made["true"] = _yes(options) if "true" in options else TRUE
    if name == "type":
        made |= {"strict": True, "load_default": kind or DisputeType.ALERT}
    return of(**made)


def _yes(options: Source) -> tuple[str, ...]:
    """Return the words of a flag that mean yes."""
    return tuple(word for word, yes in options.get("true", {}).items() if yes)


def _suited(of: type[AnyField], common: Source) -> dict[str, typing.Any]:
    """Return the options of all amounts and times that are some of a kind of field."""
    names = {fields.Money: ("unit", "decimals", "decimal_comma"), fields.Moment: ("zone",)}.get(of, ())
    return {name: common[name] for name in names if name in common}
