"""Where the fields of an Alert come from, as `bridge.toml` says it, and the tables that they make. Pure."""

from __future__ import annotations

import copy
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bridge.alert import RESOLUTIONS, Category, DisputeType, Effect, Network
from bridge.providers import fields
from bridge.providers.base import ANY, HEADER, QUERY, Meaning
from bridge.providers.currencies import DECIMALS
from bridge.providers.fields import REVIEW, AlertSchema
from bridge.providers.placeholders import plain_word

if typing.TYPE_CHECKING:
    from marshmallow.fields import Field

    from bridge.toml import Section

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
LONGEST_PATH = 200
UNITS = ("decimal", "minor")
TRUE = ("true", "yes", "1")
MOST_DECIMALS = 6
NO_WORD = "no outcome"
"""What is said of an outcome that is missing, where `*` takes it."""

A_PATH = 'a path such as "data.case" ("a|b" for the first that is there)'
A_PLACE = f'{A_PATH}, "header:Name" or "query:name"'


FIELDS: Mapping[str, type[Field[typing.Any]]] = {
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

OPTIONS: Mapping[type[Field[typing.Any]], tuple[str, ...]] = {
    fields.Money: ("unit", "decimals", "decimal_comma"),
    fields.Moment: ("zone", "format"),
    fields.Word: ("values", "value"),
    fields.Resolution: ("values", "value"),
    fields.Flag: ("values", "value"),
    fields.Currency: ("value",),
    fields.Text: ("value",),
}
"""What a field's table may say beside its path; `value` stands in the path's place."""


@dataclass(frozen=True)
class Source:
    """Where a field comes from: a path, or a constant; and the options of its kind."""

    path: str | None = None
    constant: typing.Any = None
    options: Mapping[str, typing.Any] = field(default_factory=dict)

    def new(self, name: str, **defaults: typing.Any) -> Field[typing.Any]:
        """Make the field."""
        if self.constant is not None:
            return fields.Constant(self.constant)
        return FIELDS[name](**(defaults | dict(self.options)), data_key=self.path)

    def over(self, name: str, old: Field[typing.Any]) -> Field[typing.Any]:
        """Make the field in an old one's place, which counts where the source says nothing."""
        if isinstance(old, fields.Constant | fields.Every):
            return old  # what the event's type says already stands nowhere in its body
        if self.constant is not None or not self.options:
            changed = copy.copy(old)
            changed.data_key = self.path
            return changed if self.constant is None else fields.Constant(self.constant)
        kept = {one: getattr(old, one) for one in KEPT if hasattr(old, one)}
        for one in MERGED:
            if kept.get(one) and one in self.options:
                new = self.options[one]
                kept[one] = _merged(kept[one], new) if one == "values" else kept[one] | dict(new)
        options = {
            one: value for one, value in self.options.items() if one not in MERGED or not kept.get(one)
        }
        if isinstance(old, fields.Flag) and "true" in options:
            options["true"] = (*old.true, *options["true"])
        return replace(self, path=self.path or old.data_key, options=options).new(name, **kept)


KEPT = ("unit", "decimals", "decimal_comma", "zone", "format", "values", "strict", "required", "load_default")
MERGED = ("values", "decimals")
"""Options of a built-in field that `bridge.toml` adds to, so that one new word needs one line."""


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


# reading the file


def read(section: Section, kind: DisputeType | None = None) -> dict[str, Source]:
    """Read the `fields` of a provider: ours on the left, a path or a table on the right.

    `kind` is the type of a new provider's disputes; None where built-in tables are changed.
    """
    table = section.section("fields")
    for name in sorted(set(table) - set(FIELDS)):
        table.wrong(name, f"unknown; expected one of {', '.join(FIELDS)}")
    common = read_common(section) if kind else {}
    one_kind = None if "type" in table else kind
    found = {}
    for name in (one for one in table if one in FIELDS):
        if isinstance(table.values[name], Mapping):
            source = _read_table(name, table.section(name), one_kind, new=kind is not None)
        else:
            source = Source(table.text(name, f"{A_PATH}, or a table", fits=is_path))
        suited = {one: common[one] for one in common if one in _suited(name)}
        found[name] = replace(source, options=suited | dict(source.options))
    return found


def _suited(name: str) -> tuple[str, ...]:
    return OPTIONS.get(FIELDS[name], ())


def _read_table(name: str, table: Section, kind: DisputeType | None, *, new: bool) -> Source:
    suited = _suited(name)
    table.only("path", *suited)
    if "value" in table and "value" in suited:
        if len(table.values) > 1:
            table.wrong("value", "stands alone, for it is the same in every body")
        return Source(constant=_read_constant(name, table, kind))
    path = table.text("path", A_PATH, fits=is_path, required=new and "value" not in table)
    options: dict[str, typing.Any] = {}
    if "unit" in suited:
        options["unit"] = table.word("unit", UNITS)
        options["decimals"] = read_decimals(table)
        options["decimal_comma"] = table.truth("decimal_comma") if "decimal_comma" in table else None
    if "zone" in suited:
        options["zone"] = read_zone(table, "zone")
        options["format"] = table.text("format", 'a format such as "%d/%m/%Y %H:%M"', fits=_is_format)
    if "values" in suited and "values" in table:
        options |= _read_values(name, table.section("values"), kind)
    return Source(path, options={option: value for option, value in options.items() if value is not None})


def _read_values(name: str, values: Section, kind: DisputeType | None) -> dict[str, typing.Any]:
    """Read the provider's words and ours; an empty one of ours says nothing."""
    if not values.values:
        values.wrong("", 'expected their words and ours, such as { REFUNDED = "issued_full_refund" }')
    if FIELDS[name] is fields.Flag:
        return {"true": tuple(word for word in values if values.truth(word))}
    if name == "resolution" and set(values) <= set(DisputeType):
        tables = {one: values.section(one) for one in values}
        words = {one: _read_words(name, tables[one], DisputeType(one)) for one in tables}
        return {"values": fields.by_word(words)}
    return {"values": _read_words(name, values, kind)}


def _read_words(name: str, values: Section, kind: DisputeType | None) -> dict[str, typing.Any]:
    known = _our_words(name, kind)
    if known and name == "resolution":
        known = known | {REVIEW: REVIEW}
    expected = f"one of {', '.join(known)}" if known else "our word for it"
    found = {}
    for word in values.words():
        ours = values.text(word, expected, fits=_among(known), empty=True) or ""
        found[word] = known.get(ours) if known else ours or None
    return found


def _read_constant(name: str, table: Section, kind: DisputeType | None) -> typing.Any:
    if FIELDS[name] is fields.Flag:
        return table.truth("value") or None
    if FIELDS[name] is fields.Currency:
        return table.text("value", "an ISO 4217 currency code such as USD", fits=DECIMALS.__contains__)
    known = _our_words(name, kind)
    return known.get(table.word("value", known) or "") if known else table.text("value")


_ENUMS: Mapping[str, type[DisputeType | Category | Network]] = {
    "type": DisputeType,
    "category": Category,
    "network": Network,
}


def _our_words(name: str, kind: DisputeType | None) -> dict[str, typing.Any] | None:
    """Return the words that a field may become, where 29next has a list of them."""
    if enum := _ENUMS.get(name):
        return {one.value: one for one in enum}
    if name == "resolution":
        kinds = (kind,) if kind else tuple(RESOLUTIONS)
        return {word: word for one in kinds for word in RESOLUTIONS[one]}
    return None


def _among(known: Mapping[str, typing.Any] | None) -> typing.Callable[[str], bool]:
    return lambda word: known is None or word == "" or word in known


# the tables


def make_table(sources: Mapping[str, Source], kind: DisputeType, effect: Effect) -> type[AlertSchema]:
    """Make the table of the events of one effect."""
    made: dict[str, Field[typing.Any]] = {"type": fields.Constant(kind)}
    for name, source in sources.items():
        defaults = _defaults(name, kind)
        if name == "type":
            defaults |= {"strict": True, "load_default": kind}
        elif name == "resolution" and effect is Effect.RESOLVE:
            defaults |= _demanded(source)
        made[name] = _in_events(source, name, effect).new(name, **defaults)
    return declare(AlertSchema, made)


def _demanded(source: Source) -> dict[str, typing.Any]:
    """Return what an outcome is declared with where it is the point of the event: it must be told.

    Where `*` takes every other word, it takes no word too.
    """
    values = source.options.get("values", {})
    return {"load_default": fields.Said(NO_WORD, True, values[ANY])} if ANY in values else {"required": True}


def _in_events(source: Source, name: str, effect: Effect) -> Source:
    """Keep `*` from resolving what only opens: there no other word is final."""
    values = source.options.get("values", {})
    if name != "resolution" or effect is Effect.RESOLVE or ANY not in values:
        return source
    return replace(source, options={**source.options, "values": {**values, ANY: None}})


def lay_over(meaning: Meaning, sources: Mapping[str, Source]) -> Meaning:
    """Lay sources over the tables of a built-in provider's event."""
    return meaning.map(lambda table: _laid_over(table, meaning.effect, sources)) if sources else meaning


def _laid_over(old: AlertSchema, effect: Effect, sources: Mapping[str, Source]) -> AlertSchema:
    known, new = declared(old), dict[str, "Field[typing.Any]"]()
    for name, source in sources.items():
        suited = _in_events(source, name, effect)
        starred = ANY in suited.options.get("values", {})
        if name == "resolution" and effect is Effect.RESOLVE and (starred or name not in known):
            suited = replace(suited, options={**suited.options, **_demanded(suited)})
        if name in known:
            new[name] = suited.over(name, known[name])
        elif suited.path or suited.constant is not None:
            new[name] = suited.new(name, **_defaults(name, None))
    return declare(type(old), known | new)()


def _defaults(name: str, kind: DisputeType | None) -> dict[str, typing.Any]:
    if issubclass(FIELDS[name], fields.Word):
        return {"values": _our_words(name, kind)}
    return {"true": TRUE} if FIELDS[name] is fields.Flag else {}


def declared(table: AlertSchema) -> dict[str, Field[typing.Any]]:
    """Return a table's fields with their paths, as a class declares them."""
    found = {name: copy.copy(a_field) for name, a_field in table.load_fields.items()}
    for name, a_field in found.items():
        a_field.data_key = table.path(name)
    return found


def declare(base: type[AlertSchema], made: dict[str, Field[typing.Any]]) -> type[AlertSchema]:
    """Declare a class with these fields."""
    return typing.cast("type[AlertSchema]", base.from_dict(made, name=base.__name__))


# what the file may say


def read_zone(section: Section, name: str) -> ZoneInfo | None:
    """Read a zone's name."""
    text = section.text(name, 'a zone such as "US/Eastern"', fits=_is_zone)
    return ZoneInfo(text) if text else None


def read_common(section: Section) -> dict[str, typing.Any]:
    """Read the options of all amounts and times of a provider; what is not said is not there."""
    read = {
        "zone": read_zone(section, "zone"),
        "unit": section.word("amount_unit", UNITS),
        "decimals": read_decimals(section),
        "decimal_comma": section.truth("decimal_comma") if "decimal_comma" in section else None,
    }
    return {name: value for name, value in read.items() if value is not None}


def read_decimals(section: Section) -> dict[str, int] | None:
    """Read the currencies whose minor units a provider counts in a way of its own."""
    if "decimals" not in section:
        return None
    table, found = section.section("decimals"), dict[str, int]()
    for code in table:
        count = table.values[code]
        if code not in DECIMALS:
            table.wrong(code, "expected an ISO 4217 currency code such as CLP")
        elif not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_DECIMALS:
            table.wrong(code, f"expected how many decimals it has there, from 0 to {MOST_DECIMALS}")
        else:
            found[code] = count
    return found


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


def _is_zone(text: str) -> bool:
    try:
        return bool(ZoneInfo(text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _is_format(text: str) -> bool:
    """Whether a format of dates holds the whole date, and reads what it writes."""
    day = datetime(2023, 11, 30, tzinfo=UTC)
    try:
        return datetime.strptime(day.strftime(text), text).date() == day.date()  # noqa: DTZ007
    except (ValueError, re.error):
        return False
