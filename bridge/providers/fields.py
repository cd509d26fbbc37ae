"""The kinds of value that providers send, as marshmallow fields, and the table that they stand in.

Pure: no I/O, no clock, no environment. A field's `data_key` is a dotted path into the provider's
body (`a|b` for the first of several that says something), and its errors come out under that path.

A value is one of three things. It says nothing (a placeholder), and is left out silently. It can be
read. Or it cannot, and is left out visibly: only the case number is indispensable.
"""

from __future__ import annotations

import re
import typing
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError, missing
from marshmallow import fields as marshmallow
from marshmallow.fields import Field

from bridge.alert import REFUNDS, Alert, Category, DisputeType, Network, resolvable
from bridge.errors import Untranslatable
from bridge.providers import placeholders
from bridge.providers.currencies import BY_NUMBER, DECIMALS, agrees, code_in
from bridge.providers.placeholders import plain_word
from bridge.tree import Number, Tree, holds, locate, pick, printable

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 255
EARLIEST, LATEST, NO_YEAR = 2000, 2100, 9999
"""Years: a time before the first says nothing, and so does the last; what lies between is a slip."""

REVIEW = "review"
"""In a table of outcomes: not final, but a person has to look."""
NOTE = "note"
"""In a table of outcomes: none of 29next's; it is noted on the case."""
NOT_FINAL = ""
"""In a table of outcomes: not final, whatever another place says. None is not final by itself."""


class Place(NamedTuple):
    """Where a value was looked for, and what stands there; None where nothing is said."""

    path: str
    value: Tree = None


class _Found:
    """Any field: how its value is found in a body."""

    bears = True
    """Whether a match may rest on the value, so that a person looks where it cannot be read."""
    spared = False
    """Whether the value is an identifier that must survive the cutting of card numbers."""

    def find(self, tree: Tree, path: str) -> Place:
        """Return the first alternative whose word is known, else the first that says something."""
        alternatives = path.split("|")
        places = [Place(one, pick(tree, one)) for one in alternatives]
        known = (one for one in places if self.knows(one.value))
        told = (one for one in places if not (self.says_nothing(one.value) or holds(*one, alternatives)))
        return next(known, None) or next(told, Place(alternatives[0]))

    def knows(self, value: Tree) -> bool:
        """Whether it is a word that a field has a list of."""
        return False

    def says_nothing(self, value: Tree) -> bool:
        """Whether a value is missing, or is what senders write for nothing."""
        return placeholders.says_nothing(value)


class Constant(_Found, marshmallow.Constant[Any]):
    """The same in every body."""

    def find(self, tree: Tree, path: str) -> Place:
        """Return no place: nothing is read."""
        return Place(path)


class _Leaf(_Found, Field[Any]):
    """A field of one value: text or a number, never an object, a list or a truth value.

    With `beside` it is read only where something is said at that path too.
    """

    def __init__(self, *, beside: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beside = beside

    def find(self, tree: Tree, path: str) -> Place:
        """Return the first alternative that says something."""
        if self.beside and placeholders.names_nothing(pick(tree, self.beside)):
            return Place(path.partition("|")[0])
        return super().find(tree, path)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if not isinstance(value, str):
            kind = {bool: "a truth value", dict: "an object", list: "a list"}.get(type(value), "that")
            raise ValidationError(f"Expected text or a number, not {kind}.")
        return self.read(value)

    def read(self, value: str) -> Any:
        """Turn the sender's text (a `Number` where it was a JSON number) into our value."""
        raise NotImplementedError


class Text(_Leaf):
    """Free text, for people: what cannot be shown is escaped, what is too long is cut."""

    bears = False

    def read(self, value: str) -> str:
        """Return the text with single blanks, cut at 255 characters."""
        return printable(" ".join(value.split()))[:MAX_LENGTH]


class _Exact(_Leaf):
    """Text that has to be exactly right."""

    def read(self, value: str) -> Any:
        """Return the text trimmed."""
        text = value.strip()
        if len(text) > MAX_LENGTH:
            raise ValidationError(f"Longer than {MAX_LENGTH} characters.")
        if not text.isprintable() or "\ufffd" in text:
            raise ValidationError("Holds control characters or broken unicode.")
        return text


class Identifier(_Exact):
    """An identifier, digit for digit as it was sent; never cut as a card number."""

    spared = True
    CUT = re.compile(r"[0-9]{6}\*{3,9}[0-9]{4}|\[cut\]")  # as `redact` writes a card number, and a code

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder: zeros alone name nothing either."""
        return placeholders.names_nothing(value)

    def read(self, value: str) -> Any:
        """Return the identifier, refusing a number that has lost its digits already."""
        if isinstance(value, Number) and not value.isdecimal():
            raise ValidationError(f"An identifier cannot be the number {value[:40]}: digits are lost.")
        if self.CUT.fullmatch(value.strip()):
            raise ValidationError(
                "This identifier was cut, for it looks like a card number, or is named as a code."
            )
        return super().read(value)


class Code(Identifier):
    """A code that only decorates, such as a network's reason code."""

    bears = False


class Word(_Exact):
    """A word of the provider's vocabulary, in lower case or as the table `values` has it in ours.

    The table's words may be patterns (`warning_*`, `*` for the rest); the word itself goes before them.
    A word that the table lacks is an error where `strict`, and unknown (None) elsewhere; a table may
    hold None for words that say nothing. Of its alternatives, the first whose word it knows counts.
    """

    bears = False

    def __init__(
        self, *, values: Mapping[str, Any] | None = None, strict: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.values = None if values is None else {plain_word(k): v for k, v in values.items()}
        self.spelled = {plain_word(word): word for word in values or {}}  # for people
        self.strict = strict

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder that the table does not list as a word; a pattern lists none."""
        listed = isinstance(value, str) and plain_word(value) in (self.values or {})
        return super().says_nothing(value) and not listed

    def knows(self, value: Tree) -> bool:
        """Whether a word is in the table."""
        return isinstance(value, str) and not self.says_nothing(value) and self.look_up(value)[0]

    def read(self, value: str) -> Any:
        """Return our word for the provider's."""
        word = super().read(value)
        if self.values is None:
            return word.lower()
        known, ours = self.look_up(word)
        if not known and self.strict:
            raise ValidationError(f"{value!r} is not one of {', '.join(sorted(self.values))}.")
        return ours

    def look_up(self, word: str) -> tuple[bool, Any]:
        """Return whether the table knows a word, and ours for it."""
        values, word = self.values or {}, plain_word(word)
        entries = [word, *(one for one in values if fnmatchcase(word, one))]
        return next(((True, values[one]) for one in entries if one in values), (False, None))


class Said(NamedTuple):
    """An outcome as the provider said it: the word, whether a table lists it, and ours for it.

    Ours is a resolution, REVIEW, NOT_FINAL, None, or one of these by type of dispute.
    """

    word: str
    known: bool
    ours: Any


class Resolution(Word):
    """How a case ended. Every word has to be listed, also those that are not final.

    Of its alternatives, one that is NOT_FINAL counts before all others, then the first that is final or
    that nobody listed. `values` may be given by type of dispute: `{"alert": {...}, "chargeback": {...}}`.
    """

    def __init__(self, *, values: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(values=by_word(values or {}), **kwargs)

    def find(self, tree: Tree, path: str) -> Place:
        """Return the alternative that decides, else one that is listed as not final."""
        places = [Place(one, pick(tree, one)) for one in path.split("|")]
        told = [one for one in places if not self.says_nothing(one.value)]
        meant = [(one, self.look_up(one.value) if self.knows(one.value) else (False, None)) for one in told]
        stops = (one for one, (known, ours) in meant if known and ours == NOT_FINAL)
        decides = (one for one, (known, ours) in meant if not known or ours is not None)
        return next(stops, None) or next(decides, told[0] if told else Place(places[0].path))

    def read(self, value: str) -> Said:
        """Return what was said; a word that nobody listed is no error here, but fails visibly later."""
        return Said(printable(value.strip())[:MAX_LENGTH], *self.look_up(value))


def by_word(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a table by type of dispute into one by word; any other is returned as it is."""
    if not set(values) <= set(DisputeType) or not all(isinstance(one, dict) for one in values.values()):
        return dict(values)
    words = {plain_word(word) for table in values.values() for word in table}
    tables = {
        DisputeType(kind): {plain_word(word): ours for word, ours in table.items()}
        for kind, table in values.items()
    }
    return {
        word: {kind: table[word] for kind, table in tables.items() if word in table} for word in sorted(words)
    }


class Flag(_Found, Field[bool]):
    """True where the provider's value is one of `true`, in any spelling of case; else False."""

    bears = False

    def __init__(self, *, true: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.true = {plain_word(word) for word in true}

    def knows(self, value: Tree) -> bool:
        """Whether a value means true."""
        return plain_word(str(value)) in self.true

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        return self.knows(value)


class Every(_Found, Field[Any]):
    """True, or `then`, where each of several places holds one of its words; else it says nothing."""

    bears = False

    def __init__(self, places: Mapping[str, tuple[str, ...]], *, then: Any = True, **kwargs: Any) -> None:
        super().__init__(data_key="&".join(places), **kwargs)
        self.then = then
        self.flags = {path: Flag(true=words) for path, words in places.items()}

    def find(self, tree: Tree, path: str) -> Place:
        """Return what holds where all of them do."""
        found = all(one.knows(one.find(tree, at).value) for at, one in self.flags.items())
        return Place(path, self.then if found else None)


class Sum(NamedTuple):
    """An amount as it was written, and the signs and codes of a currency beside it."""

    value: Decimal
    marks: tuple[str, ...] = ()


class Money(_Leaf):
    """An amount, read as a person would; `unit` is `decimal` (major units) or `minor`.

    A comma or blank parts thousands only before exactly three digits and with a decimal point behind:
    `1,23` and `1,234` mean different things in different countries. `decimal_comma` turns both around.
    Minor units are divided in `AlertSchema`, where the currency is known. `decimals` holds those of the
    currencies that the provider counts in another way than ISO 4217 does.
    """

    JSON = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?")
    MARK = r"[A-Za-z]{0,3}[$\u20a0-\u20bf\u00a3\u00a5\u0e3f]|[A-Za-z]{3}|kr|z\u0142"
    BLANKS = " \u00a0\u2009\u202f"
    MINUS = "\u2212\u2013-"  # in a set, where the last one is itself
    WRITTEN = re.compile(
        rf"(?P<before>{MARK})?\s*(?P<sign>[+{MINUS}]?)\s*(?P<inner>{MARK})?\s*"
        rf"(?P<number>(?:[0-9]{{1,15}}|[0-9]{{1,3}}(?P<parts>[,{BLANKS}])[0-9]{{3}}(?:(?P=parts)[0-9]{{3}}){{0,4}}(?=\.[0-9]))?"
        rf"(?:\.[0-9]{{0,40}})?)\s*(?P<behind>[{MINUS}]?)\s*(?P<after>{MARK})?(?P<last>[{MINUS}]?)"
    )
    BRACKETS = re.compile(rf"^((?:{MARK})?\s*)\(([^()]*)\)(\s*(?:{MARK})?)$")  # as accountants write a minus
    TURNED = str.maketrans(".,", ",.")
    ARTEFACT = Decimal("1e-6")
    """What binary arithmetic leaves behind is smaller than this."""

    def __init__(
        self,
        *,
        unit: str = "decimal",
        decimals: Mapping[str, int] | None = None,
        decimal_comma: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.unit = unit
        self.decimals = DECIMALS | dict(decimals or {})
        self.decimal_comma = decimal_comma

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder, or zero."""
        if super().says_nothing(value):
            return True
        try:
            return isinstance(value, str) and self.read(value).value < self.ARTEFACT
        except ValidationError:
            return False

    def read(self, value: str) -> Sum:
        """Return the amount as it was written."""
        is_number = isinstance(value, Number) and self.JSON.fullmatch(value)
        number, marks = (Decimal(f"{Decimal(value):f}"), ()) if is_number else self._written(value)
        if number < 0:
            raise ValidationError(f"{_shown(value)} is negative, and an amount of money is not.")
        if number >= 10**15:
            raise ValidationError(f"{_shown(value)} is too large an amount.")
        return Sum(number, marks)

    def _written(self, value: str) -> tuple[Decimal, tuple[str, ...]]:
        text, in_brackets = self.BRACKETS.subn(r"\1\2\3", value.strip())
        shape = self.WRITTEN.fullmatch(text.translate(self.TURNED) if self.decimal_comma else text)
        digits = re.sub(r"[^0-9.]", "", shape["number"]) if shape else ""
        if not shape or not digits.strip("."):
            example = "12,50" if self.decimal_comma else "12.50"
            raise ValidationError(f"{_shown(value)} is not an amount of money, such as {example}.")
        marks = tuple(one for name in ("before", "inner", "after") if (one := shape[name]))
        minus = in_brackets or shape["sign"] not in ("", "+") or shape["behind"] or shape["last"]
        return Decimal(digits) * (-1 if minus else 1), marks

    def in_major_units(self, amount: Sum, currency: str | None) -> Decimal:
        """Return an amount of a currency in its major units; raises ValidationError."""
        for mark in amount.marks:
            if currency and not agrees(mark, currency):
                raise ValidationError(f"{mark!r} beside the amount is not {currency}.")
        if self.unit == "minor":
            whole = amount.value.to_integral_value()
            if abs(whole - amount.value) >= self.ARTEFACT:
                raise ValidationError(f"{amount.value} is not a whole number of minor units.")
            if currency is None:
                raise ValidationError("Minor units need a currency, and none can be read.")
            return whole.scaleb(-self.decimals[currency])
        rounded = amount.value.quantize(Decimal(1).scaleb(-DECIMALS[currency])) if currency else amount.value
        return rounded if 0 < abs(rounded - amount.value) < self.ARTEFACT else amount.value


class Currency(_Leaf):
    """A currency in use, by its ISO 4217 code or number."""

    def read(self, value: str) -> str:
        """Return the code."""
        text = value.strip().upper()
        code = BY_NUMBER.get(text.rjust(3, "0"), text) if text.isdecimal() else text
        if code not in DECIMALS:
            raise ValidationError(f"{_shown(value)} is not an ISO 4217 currency code.")
        return code


class Moment(_Leaf):
    """A moment: ISO 8601 in its common forms, RFC 2822, a date, epoch seconds, or a `format` of its own.

    `format` is written as `strptime` reads it. `zone` is the zone of a moment that names none (UTC by
    default); a date is its midnight. Twelve digits, or 11/20/2026, cannot be read without a format.
    """

    EPOCH = re.compile(r"[0-9]{9,10}(?:\.[0-9]{1,9})?|[0-9]{13}")
    ZONED = re.compile(r"(.*[0-9])\s*(UTC|GMT|Z|[+-][0-9]{2}:?[0-9]{2})", re.IGNORECASE)
    RFC_2822 = re.compile(r"(?:[A-Za-z]{3,9},?\s+)?[0-9]{1,2}\s+[A-Za-z]{3,9}\.?,?\s+[0-9]{4}\s.*")

    def __init__(self, *, zone: tzinfo = UTC, format: str | None = None, **kwargs: Any) -> None:  # noqa: A002
        super().__init__(**kwargs)
        self.zone = zone
        self.format = format

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder, zeros, or a time that no card payment can have."""
        if not isinstance(value, str) or super().says_nothing(value):
            return super().says_nothing(value)
        text = value.strip()
        ways = (self._year, placeholders.year_of) if self.format else (placeholders.year_of, self._year)
        year = next((found for way in ways if (found := way(text)) is not None), EARLIEST)
        return year < EARLIEST or year == NO_YEAR

    def _year(self, text: str) -> int | None:
        """Return the year of a moment that can be read."""
        try:
            return self._parsed(text).year
        except ValidationError:
            return None

    def read(self, value: str) -> datetime:
        """Return the moment, with its zone."""
        moment = self._parsed(value.strip())
        if moment.year >= LATEST:
            raise ValidationError(f"{_shown(value)} is not a plausible date.")
        return moment if moment.tzinfo else moment.replace(tzinfo=self.zone)

    def _parsed(self, text: str) -> datetime:
        try:
            if self.format is not None:
                return datetime.strptime(text, self.format)  # noqa: DTZ007  the zone comes later
            return self._in_a_common_form(text)
        except (ValueError, OverflowError, OSError, TypeError, IndexError):
            like = f"like {self.format}" if self.format else "and time"
            raise ValidationError(f"{_shown(text)} is not a date {like}.") from None

    def _in_a_common_form(self, text: str) -> datetime:
        if self.EPOCH.fullmatch(text):
            return self._epoch(Decimal(text) / (1 if len(text.partition(".")[0]) < 13 else 1000))
        if self.RFC_2822.fullmatch(text):
            return parsedate_to_datetime(text)
        if re.fullmatch(
            r"[0-9]{1,7}|(?!20)[0-9]{8}|[0-9]{9,}", text
        ):  # parts of a date, in an order that nobody told
            raise ValueError(text)
        if zoned := self.ZONED.fullmatch(text):
            zone = "+00:00" if zoned[2].isalpha() else zoned[2]
            return datetime.fromisoformat(zoned[1] + zone)
        return datetime.fromisoformat(text)

    @staticmethod
    def _epoch(seconds: Decimal) -> datetime:
        whole = int(seconds)
        micros = int((seconds - whole) * 1_000_000)
        return datetime.fromtimestamp(whole, UTC).replace(microsecond=micros)


class CardNumber(NamedTuple):
    """What the bridge keeps of a card number."""

    first_six: str | None
    last_four: str | None


class _OfCard(_Leaf):
    """Digits of a card, some of them perhaps masked."""

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder, or nothing but masks."""
        return placeholders.shows_nothing(value)


class Card(_OfCard):
    """A card number with its middle masked; a full one is read only as far as it is kept."""

    MASK = r"[^0-9A-WYZa-wyz/]"
    MASKED = re.compile(
        rf"(?P<bin>[0-9]{{6,8}}){MASK}*"  # nothing but its beginning
        rf"|(?P<first>[0-9]{{1,8}}){MASK}+(?P<last>[0-9]{{4}})"
        r"|(?P<six>[0-9]{6})(?P<both>[0-9]{4})|[^0-9]*(?P<four>[0-9]{4})"
    )
    FULL = re.compile(r"[0-9]{12,19}")

    def read(self, value: str) -> CardNumber:
        """Return first six and last four, as far as the mask shows them."""
        text = re.sub(r"[\s-]", "", value)
        if self.FULL.fullmatch(text):
            return CardNumber(text[:6], text[-4:])
        shown = self.MASKED.fullmatch(text)
        if not shown or (isinstance(value, Number) and not value.isdecimal()):
            raise ValidationError("Not a card number with its middle masked.")
        first = shown["first"] or shown["bin"] or shown["six"] or ""
        return CardNumber(
            first[:6] if len(first) >= 6 else None, shown["last"] or shown["both"] or shown["four"]
        )


class _CardDigits(_OfCard):
    """Digits of a card, padded where a JSON number has dropped leading zeros."""

    wanted = 0
    longest = 0

    def read(self, value: str) -> str:
        """Return the digits."""
        digits = placeholders.MASKS.sub("", value)
        if isinstance(value, Number):
            digits = value.rjust(self.wanted, "0")
        if not re.fullmatch(rf"[0-9]{{{self.wanted},{self.longest}}}", digits):
            raise ValidationError(f"Expected {self.wanted} digits of a card number.")
        return digits[: self.wanted]


class FirstSix(_CardDigits):
    """The first digits of a card: six of them are kept, eight may come."""

    wanted, longest = 6, 8


class LastFour(_CardDigits):
    """The last four digits of a card."""

    wanted, longest = 4, 4


def _shown(value: str) -> str:
    return repr(str(value.strip()[:40]))


# the table

NOT_BEARING = frozenset({"case_number", "provider_id", "event_at"})
"""Fields of ours that no match rests on, whatever kind they are of."""


class Translated(NamedTuple):
    """What a table makes of a body: the alert, and what could not be read, by the provider's path."""

    alert: Alert
    errors: dict[str, list[str]]


class AlertSchema(Schema):
    """A provider's table: ours on the left, the path to theirs on the right, the kind between.

    Where a provider tells the disputed amount from the transaction's, `amount` is the former and
    may be missing: the transaction's then counts for both.
    """

    class Meta:
        """Fields that the table does not name are none of its business."""

        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: Field[Any]) -> None:
        """Keep the path aside: marshmallow takes a dotted key literally, and lets no two share one."""
        self.__dict__.setdefault("paths", {})[field_name] = field_obj.data_key or field_name
        field_obj.data_key = None

    def path(self, name: str) -> str:
        """Return the provider's path of a field of ours."""
        return str(self.__dict__["paths"].get(name, name))

    def place(self, name: str, tree: Tree) -> Place:
        """Return where the value of a field of ours stands in a body."""
        return typing.cast("_Found", self.load_fields[name]).find(tree, self.path(name))

    def translate(self, tree: Tree) -> Translated:
        """Turn one parsed item into an alert; raises Untranslatable where no case number can be read."""
        alert, errors = self._alert(*self._read(tree))
        refused = {self.place(name, tree).path: said for name, said in errors.items()}
        if not alert.case_number:
            raise Untranslatable(fields=self._without_case_number(tree, errors) | refused)
        return Translated(alert, refused)

    def readable(self, tree: Tree) -> dict[str, str]:
        """Return what each field of ours becomes by itself, as text, as far as it can be read."""
        values, errors = self._read(tree)
        told = {"card": _masked(values)} | self._alert(values, errors).alert.to_json()
        return {name: value for name, value in told.items() if value != ""}

    def _read(self, tree: Tree) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Return the values that can be read, and what is wrong with the others, by our names."""
        places = {name: self.place(name, tree) for name in self.load_fields}
        found = {name: one.value for name, one in places.items() if one.value is not None}
        try:
            return dict(self.load(found)), {}
        except ValidationError as error:
            values = dict(typing.cast("dict[str, Any]", error.valid_data))
            if "type" in error.messages_dict and self.load_fields["type"].load_default is not missing:
                values["type"] = self.load_fields["type"].load_default  # which 29next never lets change
            return values, {name: list(said) for name, said in error.messages_dict.items()}

    def sources(self) -> dict[str, str]:
        """Return the provider's path of every field of ours that has one."""
        fields = self.load_fields.items()
        return {
            name: self.path(name) for name, a_field in fields if not isinstance(a_field, Constant | Every)
        }

    def _without_case_number(self, tree: Tree, errors: Mapping[str, Any]) -> dict[str, list[str]]:
        if "case_number" in errors:
            return {}
        at, written = locate(tree, self.path("case_number"))
        said = f"{_shown(str(written))} names no case." if written else "Missing."
        return {at: [f"{said} Expected the number of the case."]}

    def _alert(self, values: dict[str, Any], errors: dict[str, list[str]]) -> Translated:
        """Bring together what was read; what does not suit the rest joins the errors, by our names."""
        values = {"case_number": "", **values}
        card: CardNumber | None = values.pop("card", None)
        if card:
            values["card_first_six"] = values.get("card_first_six") or card.first_six
            values["card_last_four"] = values.get("card_last_four") or card.last_four
        said: Said | str | None = values.pop("resolution", None)
        values = {name: value for name, value in values.items() if value is not None}
        self._add_up(values, errors)
        self._end(values, said, errors)
        alert = Alert(**values, unreadable=tuple(sorted(filter(self._bears, errors))))
        return Translated(alert, errors)

    def _bears(self, name: str) -> bool:
        """Whether a match may rest on a field of ours, or the very kind of the dispute."""
        bears = typing.cast("_Found", self.load_fields[name]).bears
        return name == "type" or (bears and name not in NOT_BEARING)

    def _add_up(self, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
        """Bring the amounts into major units; where only the transaction's is told, it counts for both.

        An amount that cannot be read is not replaced by another one: it may be a part of that.
        """
        pairs = (("amount", "currency"), ("transaction_amount", "transaction_currency"))
        for name, currency in pairs:
            code = code_in(values[name].marks) if name in values else None
            if code and currency not in errors:
                values.setdefault(currency, code)
        alone = "amount" not in values and "amount" not in errors
        if alone and values.get("transaction_currency"):
            values["currency"] = values["transaction_currency"]
        for one, other in (("currency", "transaction_currency"), ("transaction_currency", "currency")):
            if one not in errors and values.get(other):
                values.setdefault(one, values[other])
        for name, currency in pairs:
            if name in values:
                money = typing.cast("Money", self.load_fields[name])
                try:
                    values[name] = money.in_major_units(values[name], values.get(currency))
                except ValidationError as error:
                    del values[name]
                    errors[name] = [str(one) for one in error.messages]
        if "transaction_amount" in values and alone:
            values.setdefault("amount", values["transaction_amount"])

    @staticmethod
    def _end(values: dict[str, Any], said: Said | str | None, errors: Mapping[str, list[str]]) -> None:
        """Say how the case ended, if it did, or why that is not understood."""
        kind = values.get("type", DisputeType.ALERT)
        if isinstance(said, str):
            values["resolution"] = said
        elif said is not None:
            values |= _ending(said, kind)
        elif "resolution" in errors:
            values["unknown_outcome"] = f"The outcome cannot be read: {' '.join(errors['resolution'])}"
        if isinstance(said, Said) and values.get("resolution") == "other":
            values.setdefault("message", said.word)
        if values.get("resolution") not in REFUNDS:
            values.pop("refunded_by_gateway", None)


def _masked(values: Mapping[str, Any]) -> str:
    card: CardNumber | None = values.get("card")
    return f"{card.first_six or ''}******{card.last_four or ''}" if card else ""


def _ending(said: Said, kind: DisputeType) -> dict[str, str]:
    """Return what an outcome means for a type of dispute, under the Alert's name for it."""
    ours = said.ours.get(kind, kind) if isinstance(said.ours, dict) else said.ours
    if not said.known:
        return {"unknown_outcome": f"The outcome {said.word!r} is not listed."}
    if ours == REVIEW:
        return {"review": f"{said.word} is not final: a person has to look."}
    if ours == NOTE:
        return {"note": f"{said.word} is an end that 29next has no resolution for."}
    if ours and not resolvable(kind, ours):
        means = "" if ours in (kind, said.word) else f" ({ours})"
        return {
            "unknown_outcome": f"The outcome {said.word!r}{means} does not suit a dispute of type {kind}."
        }
    return {"resolution": ours} if ours else {}


ALERT, CHARGEBACK = Constant(DisputeType.ALERT), Constant(DisputeType.CHARGEBACK)
FRAUD, DISPUTE = Constant(Category.FRAUD), Constant(Category.DISPUTE)
ETHOCA, CDRN, RDR = Constant(Network.ETHOCA), Constant(Network.CDRN), Constant(Network.RDR)
