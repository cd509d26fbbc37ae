"""Amounts and currencies as providers write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from marshmallow import ValidationError

from bridge.providers.currencies import BY_NUMBER, DECIMALS, agrees
from bridge.providers.kinds import Leaf, shown
from bridge.tree import Number, Tree


class Sum(NamedTuple):
    """An amount as it was written, and the signs and codes of currencies next to it."""

    value: Decimal
    marks: tuple[str, ...] = ()


class Money(Leaf):
    """An amount, read as a person would. `unit` is `decimal` (major units) or `minor`.

    A comma or blank separates thousands only if three digits and a decimal point follow: `1,23` and `1,234`
    mean different things in different countries. `decimal_comma` swaps point and comma. `AlertSchema`
    divides minor units, once it has the currency. `decimals` is for currencies that the provider counts
    differently from ISO 4217.
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
    ZERO = re.compile(rf"(?:{MARK})?\s*[+{MINUS}]?\s*(?:{MARK})?\s*0[0.,{BLANKS}]*(?:{MARK})?")
    """Nothing in every country, wherever the decimals begin."""
    TURNED = str.maketrans(".,", ",.")
    ARTEFACT = Decimal("1e-6")
    """Rounding errors of binary arithmetic are smaller than this."""

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
        """Whether the value is missing, a placeholder, or zero."""
        if super().says_nothing(value) or (isinstance(value, str) and self.ZERO.fullmatch(value.strip())):
            return True
        try:
            return isinstance(value, str) and self.read(value).value < self.ARTEFACT
        except ValidationError:
            return False

    def read(self, value: str) -> Sum:
        """Returns the amount as it was written."""
        is_number = isinstance(value, Number) and self.JSON.fullmatch(value)
        number, marks = (Decimal(f"{Decimal(value):f}"), ()) if is_number else self._written(value)
        if number < 0:
            raise ValidationError(f"{shown(value)} is negative, and an amount of money is not.")
        if number >= 10**15:
            raise ValidationError(f"{shown(value)} is too large an amount.")
        return Sum(number, marks)

    def _written(self, value: str) -> tuple[Decimal, tuple[str, ...]]:
        """Returns the number in a text, and the signs and codes of currencies next to it."""
        text, in_brackets = self.BRACKETS.subn(r"\1\2\3", value.strip())
        shape = self.WRITTEN.fullmatch(text.translate(self.TURNED) if self.decimal_comma else text)
        digits = re.sub(r"[^0-9.]", "", shape["number"]) if shape else ""
        if not shape or not digits.strip("."):
            example = "12,50" if self.decimal_comma else "12.50"
            raise ValidationError(f"{shown(value)} is not an amount of money, such as {example}.")
        marks = tuple(mark for name in ("before", "inner", "after") if (mark := shape[name]))
        minus = in_brackets or shape["sign"] not in ("", "+") or shape["behind"] or shape["last"]
        return Decimal(digits) * (-1 if minus else 1), marks

    def in_major_units(self, amount: Sum, currency: str | None) -> Decimal:
        """Returns an amount in the major units of its currency; raises ValidationError."""
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


class Currency(Leaf):
    """A currency in use, by its ISO 4217 code or number."""

    def read(self, value: str) -> str:
        """Returns the code."""
        text = value.strip().upper()
        code = BY_NUMBER.get(text.rjust(3, "0"), text) if text.isdecimal() else text
        if code not in DECIMALS:
            raise ValidationError(f"{shown(value)} is not an ISO 4217 currency code.")
        return code
