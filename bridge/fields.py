"""The kinds of value that providers send, as marshmallow fields, and the table that they stand in.

Pure: no I/O, no clock, no environment. A field's `data_key` is a dotted path into the provider's
body (`a|b` for the first of several that is there), and its errors come out under that path.
"""

from __future__ import annotations

import re
import typing
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError
from marshmallow.fields import Constant, Field

from bridge.alert import Alert, DisputeType
from bridge.currencies import DECIMALS
from bridge.errors import Untranslatable
from bridge.tree import Number, Tree, locate, pick, printable

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALERT",
    "CHARGEBACK",
    "FACTS",
    "AlertSchema",
    "Card",
    "CardNumber",
    "Constant",
    "Currency",
    "FirstSix",
    "Flag",
    "Identifier",
    "LastFour",
    "Moment",
    "Money",
    "Text",
    "Word",
]

FACTS = ("amount", "currency", "transaction_amount", "transaction_currency", "happened_at")
"""What opens a case; an event about a case that is open already may leave it out."""

MAX_LENGTH = 255
LONGEST_EPOCH_SECONDS = 100_000_000_000  # beyond it (year 5138) epoch numbers are milliseconds
EARLIEST, LATEST = 1970, 2100  # years; outside them a date is a slip of the sender's


class _Leaf(Field[Any]):
    """A field of one value: text or a number, never an object, a list or a truth value."""

    spared = False
    """Whether the value is an identifier that must survive the cutting of card numbers."""

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
    """Free text, for people: what cannot be shown or is too long never costs the alert."""

    def read(self, value: str) -> str:
        """Return the text with single blanks, what cannot be printed escaped, cut at 255 characters."""
        return printable(" ".join(value.split()))[:MAX_LENGTH]


class _Exact(_Leaf):
    """Text that has to be exactly right."""

    def read(self, value: str) -> str:
        """Return the text trimmed."""
        text = value.strip()
        if len(text) > MAX_LENGTH:
            raise ValidationError(f"Longer than {MAX_LENGTH} characters.")
        if not text.isprintable():
            raise ValidationError("Holds control characters or broken unicode.")
        return text


class Identifier(_Exact):
    """An identifier, digit for digit as it was sent; never cut as a card number."""

    spared = True
    CUT = re.compile(r"[0-9]{6}\*{3,9}[0-9]{4}|\[cut\]")  # as `redact` writes a card number, and a code

    def read(self, value: str) -> str:
        """Return the identifier, refusing a number that has lost its digits already."""
        if isinstance(value, Number) and not value.isdecimal():
            raise ValidationError(f"An identifier cannot be the number {value[:40]}: digits are lost.")
        if self.CUT.fullmatch(value.strip()):
            raise ValidationError(
                "This identifier was cut, for it looks like a card number, or is named as a code."
            )
        return super().read(value)


class _Knowing:
    """A field of words: of its alternatives, the first whose word it knows counts."""

    def knows(self, value: Tree) -> bool:
        """Whether the field has an entry for a value."""
        raise NotImplementedError


class Word(_Knowing, _Exact):
    """A word of the provider's vocabulary, in lower case or as the table `values` has it in ours.

    The table's words may be patterns (`warning_*`, `*` for the rest); the word itself goes before them.
    A word that the table lacks is an error where `strict`, and unknown (None) elsewhere; a table may
    hold None for words that say nothing yet.
    """

    def __init__(
        self, *, values: Mapping[str, Any] | None = None, strict: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.values = None if values is None else {k.lower(): v for k, v in values.items()}
        self.strict = strict

    def knows(self, value: Tree) -> bool:
        """Whether a word is in the table."""
        return isinstance(value, str) and self._look_up(value.strip().lower())[0]

    def read(self, value: str) -> Any:
        """Return our word for the provider's."""
        word = super().read(value).lower()
        if self.values is None:
            return word
        known, ours = self._look_up(word)
        if not known and self.strict:
            raise ValidationError(f"{value!r} is not one of {', '.join(sorted(self.values))}.")
        return ours

    def _look_up(self, word: str) -> tuple[bool, Any]:
        """Return whether the table knows a word, and ours for it."""
        values = self.values or {}
        entries = [word, *(one for one in values if fnmatchcase(word, one))]
        return next(((True, values[one]) for one in entries if one in values), (False, None))


class Flag(_Knowing, Field[bool]):
    """True where the provider's value is one of `true`, in any spelling of case; else False."""

    def __init__(self, *, true: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.true = {word.lower() for word in true}

    def knows(self, value: Tree) -> bool:
        """Whether a value means true."""
        return str(value).strip().lower() in self.true

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        return self.knows(value)


class Money(_Leaf):
    """An amount that is not negative, as Decimal; `unit` is `decimal` (major units) or `minor`.

    Minor units are divided in `AlertSchema`, where the currency is known. `decimals` holds those of the
    currencies that the provider counts in another way than ISO 4217 does.
    """

    PLAIN = re.compile(r"(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{1,6})?")

    def __init__(
        self, *, unit: str = "decimal", decimals: Mapping[str, int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.unit = unit
        self.decimals = DECIMALS | dict(decimals or {})

    def read(self, value: str) -> Decimal:
        """Return the amount as it was written: no exponents, no signs, no rounding."""
        text = value.strip()
        if not self.PLAIN.fullmatch(text):
            raise ValidationError(f"{text[:40]!r} is not an amount of money, such as 12.50.")
        amount = Decimal(text.replace(",", ""))
        if self.unit == "minor" and amount != amount.to_integral_value():
            raise ValidationError(f"{text[:40]!r} is not a whole number of minor units.")
        return amount


class Currency(_Leaf):
    """A currency in use, as its ISO 4217 code in upper case."""

    def read(self, value: str) -> str:
        """Return the code."""
        code = value.strip().upper()
        if code not in DECIMALS:
            raise ValidationError(f"{value[:40]!r} is not an ISO 4217 currency code.")
        return code


class Moment(_Leaf):
    """A moment: ISO 8601 in its common forms, a date, or epoch seconds.

    `zone` is the zone of a moment that names none (UTC by default); a date is its midnight.
    """

    def __init__(self, *, zone: tzinfo = UTC, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.zone = zone

    def read(self, value: str) -> datetime:
        """Return the moment, with its zone."""
        text = value.strip()
        try:
            moment = self._epoch(text) if self._is_epoch(text) else datetime.fromisoformat(text)
        except (ValueError, OverflowError, OSError):
            raise ValidationError(f"{text[:40]!r} is not a date and time.") from None
        if not EARLIEST <= moment.year < LATEST:
            raise ValidationError(f"{text[:40]!r} is not a plausible date.")
        return moment if moment.tzinfo else moment.replace(tzinfo=self.zone)

    @staticmethod
    def _is_epoch(text: str) -> bool:
        return re.fullmatch(r"[0-9]{9,13}(?:\.[0-9]{1,9})?", text) is not None

    @staticmethod
    def _epoch(text: str) -> datetime:
        seconds = Decimal(text)
        if seconds >= LONGEST_EPOCH_SECONDS:
            seconds /= 1000
        whole = int(seconds)
        micros = int((seconds - whole) * 1_000_000)
        return datetime.fromtimestamp(whole, UTC).replace(microsecond=micros)


class CardNumber(NamedTuple):
    """What the bridge keeps of a card number."""

    first_six: str | None
    last_four: str | None


class Card(_Leaf):
    """A card number, masked in whatever way; first six and last four are kept."""

    MASKED = re.compile(r"(?P<first>[0-9]{6,8})?[^0-9]*(?P<last>[0-9]{4})")
    FULL = re.compile(r"[0-9]{12,19}")

    def read(self, value: str) -> CardNumber:
        """Return first six and last four, as far as the mask shows them."""
        text = re.sub(r"[ -]", "", value.strip())
        if self.FULL.fullmatch(text):
            return CardNumber(text[:6], text[-4:])
        shown = self.MASKED.fullmatch(text)
        if not shown:
            raise ValidationError("Not a card number with its middle masked.")
        first = shown["first"]
        return CardNumber(first[:6] if first else None, shown["last"])


class _CardDigits(_Leaf):
    """Digits of a card, padded where a JSON number has dropped leading zeros."""

    wanted = 0
    longest = 0

    def read(self, value: str) -> str:
        """Return the digits."""
        digits = value.strip()
        if isinstance(value, Number):
            digits = digits.rjust(self.wanted, "0")
        if not re.fullmatch(rf"[0-9]{{{self.wanted},{self.longest}}}", digits):
            raise ValidationError(f"Expected {self.wanted} digits of a card number.")
        return digits[: self.wanted]


class FirstSix(_CardDigits):
    """The first digits of a card: six of them are kept, eight may come."""

    wanted, longest = 6, 8


class LastFour(_CardDigits):
    """The last four digits of a card."""

    wanted, longest = 4, 4


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

    def translate(self, tree: Tree) -> Alert:
        """Turn one parsed item into an Alert; raises Untranslatable with every bad field."""
        located = {name: self._locate(name, tree) for name in self.load_fields}
        named = {name: path for name, (path, _) in located.items()}
        found = {name: value for name, (_, value) in located.items() if value not in (None, "")}
        try:
            values = self.load(found, partial=FACTS if self._is_withdrawn(found) else None)
        except ValidationError as error:
            messages = typing.cast("dict[str, list[str]]", error.messages_dict)
            errors = {named.get(name, name): list(said) for name, said in messages.items()}
            raise Untranslatable(fields=errors) from None
        return self._alert(values, named, found)

    def sources(self) -> dict[str, str]:
        """Return the provider's path of every field of ours that has one."""
        fields = self.load_fields.items()
        return {name: self.path(name) for name, a_field in fields if not isinstance(a_field, Constant)}

    def _locate(self, name: str, tree: Tree) -> tuple[str, Tree]:
        """Find a field's value: the first alternative that is there, or of words that is known."""
        a_field, path = self.load_fields[name], self.path(name)
        if isinstance(a_field, _Knowing):
            for alternative in path.split("|"):
                if a_field.knows(value := pick(tree, alternative)):
                    return alternative, value
        return locate(tree, path)

    def _is_withdrawn(self, found: Mapping[str, Tree]) -> bool:
        a_field = self.load_fields.get("withdrawn")
        return isinstance(a_field, Flag) and a_field.knows(found.get("withdrawn"))

    def _alert(self, values: dict[str, Any], named: dict[str, str], found: Mapping[str, Tree]) -> Alert:
        card: CardNumber | None = values.pop("card", None)
        if card:
            values["card_first_six"] = values.get("card_first_six") or card.first_six
            values["card_last_four"] = values.get("card_last_four") or card.last_four
        values = {name: value for name, value in values.items() if value not in (None, "")}
        self._add_up(values, named)
        if values.get("resolution") == "other" and "resolution" in found:
            values.setdefault("message", f"{named['resolution']}: {str(found['resolution'])[:MAX_LENGTH]}")
        if "resolution" not in values:
            values.pop("refunded_by_gateway", None)  # what is not resolved was not refunded
        return Alert(**values)

    def _add_up(self, values: dict[str, Any], named: dict[str, str]) -> None:
        """Bring the amounts into major units; where only the transaction's is told, it counts for both."""
        if "amount" not in values and "transaction_amount" in values:
            values["currency"] = values.get("transaction_currency") or values.get("currency")
        values.setdefault("currency", values.get("transaction_currency"))
        values.setdefault("transaction_currency", values["currency"])
        for name, currency in (("amount", "currency"), ("transaction_amount", "transaction_currency")):
            if name in values:
                values[name] = self._in_major_units(name, values[name], values[currency], named)
        if "transaction_amount" in values:
            values.setdefault("amount", values["transaction_amount"])

    def _in_major_units(
        self, name: str, amount: Decimal, currency: str | None, named: dict[str, str]
    ) -> Decimal:
        a_field = self.load_fields[name]
        if not isinstance(a_field, Money) or a_field.unit != "minor":
            return amount
        if currency is None:
            raise Untranslatable(fields={named[name]: ["Minor units need a currency, and there is none."]})
        return amount.scaleb(-a_field.decimals[currency])


ALERT, CHARGEBACK = Constant(DisputeType.ALERT), Constant(DisputeType.CHARGEBACK)
