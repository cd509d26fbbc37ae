"""Dates and times as providers write them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from marshmallow import ValidationError

from bridge.providers import placeholders
from bridge.providers.kinds import Leaf, shown
from bridge.tree import Tree

EARLIEST, LATEST, NO_YEAR = 2000, 2100, 9999
"""Years: before EARLIEST and in NO_YEAR a time says nothing; from LATEST on it is a mistake."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(Leaf):
    """A time: ISO 8601 in its common forms, RFC 2822, a date, epoch seconds, or a `format` for `strptime`.

    A time without a zone is in `zone` (UTC by default). A date means its midnight. Twelve digits, or
    11/20/2026, cannot be read without a format.
    """

    SECONDS = re.compile(r"[0-9]{9,10}(?:\.[0-9]{1,9})?|[0-9]{13}")
    DIGITS = re.compile(r"[0-9]{1,7}|(?!20)[0-9]{8}|[0-9]{9,}")  # the parts of a date in an unknown order
    ZONED = re.compile(r"(.*[0-9])\s*(UTC|GMT|Z|[+-][0-9]{2}:?[0-9]{2})", re.IGNORECASE)
    RFC_2822 = re.compile(r"(?:[A-Za-z]{3,9},?\s+)?[0-9]{1,2}\s+[A-Za-z]{3,9}\.?,?\s+[0-9]{4}\s.*")

    def __init__(self, *, zone: tzinfo = UTC, format: str | None = None, **kwargs: Any) -> None:  # noqa: A002
        super().__init__(**kwargs)
        self.zone = zone
        self.format = format

    def says_nothing(self, value: Tree) -> bool:
        """Whether the value is missing, a placeholder, zeros, or a time that no card payment can have."""
        if not isinstance(value, str) or super().says_nothing(value):
            return super().says_nothing(value)
        text = value.strip()
        readers = (self._year, placeholders.year_of) if self.format else (placeholders.year_of, self._year)
        years = (read(text) for read in readers)
        year = next((year for year in years if year is not None), EARLIEST)
        return year < EARLIEST or year == NO_YEAR

    def _year(self, text: str) -> int | None:
        """Returns the year of a readable time, or None."""
        try:
            return self._parsed(text).year
        except ValidationError:
            return None

    def read(self, value: str) -> datetime:
        """Returns the time, with its zone."""
        moment = self._parsed(value.strip())
        if moment.year >= LATEST:
            raise ValidationError(f"{shown(value)} is not a plausible date.")
        return moment if moment.tzinfo else moment.replace(tzinfo=self.zone)

    def _parsed(self, text: str) -> datetime:
        try:
            if self.format is not None:
                return datetime.strptime(text, self.format)  # noqa: DTZ007  the zone comes later
            return self._in_a_common_form(text)
        except (ValueError, OverflowError, OSError, TypeError, IndexError):
            like = f"like {self.format}" if self.format else "and time"
            raise ValidationError(f"{shown(text)} is not a date {like}.") from None

    def _in_a_common_form(self, text: str) -> datetime:
        if self.SECONDS.fullmatch(text):
            seconds = Decimal(text) / (1 if len(text.partition(".")[0]) < 13 else 1000)
            return EPOCH + timedelta(microseconds=int(seconds * 1_000_000))
        if self.RFC_2822.fullmatch(text):
            return parsedate_to_datetime(re.sub(r"-0000\b", "+0000", text))  # both are UTC
        if self.DIGITS.fullmatch(text):
            raise ValueError(text)
        if zoned := self.ZONED.fullmatch(text):
            zone = "+00:00" if zoned[2].isalpha() else zoned[2]
            return datetime.fromisoformat(zoned[1] + zone)
        return datetime.fromisoformat(text)
