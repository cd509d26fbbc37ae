"""Recognizes the placeholders that providers send, and normalizes their words. Pure."""

from __future__ import annotations

import re

from bridge.tree import Number, Tree

_WORD = (
    r"(?:n\s?[./\\-]?\s?a\.?|none|null|nil|nan|undefined|unknown|[-_\u2010-\u2015\u2212]+|\*+|\?+|\.{2,}"
    r"|(?:not|un)[ _-]?(?:available|applicable|provided|known|defined|set))"
)
PLACEHOLDER = re.compile(rf"""(?:#?{_WORD}|[(\[<{{"']\s*{_WORD}\s*[)\]>}}"'])?""", re.IGNORECASE)
MASKS = re.compile(r"[*xX#.\u2022\u00b7\u25cf\s-]+")
EARLY = re.compile(  # a date whose parts cannot be told apart, but for its year
    r"""(?x)
    (?P<minus>-)[0-9]{4}-[0-9]{2}-[0-9]{2}.*                                      # PHP's -0001-11-30
    | (?P<a>[0-9]{4})(?P<part>[/.-])[0-9]{1,2}(?P=part)[0-9]{1,2}(?![0-9]).*           # 1899/12/30
    | [0-9]{1,2}(?P<mark>[/.-])[0-9]{1,2}(?P=mark)(?P<b>[0-9]{4})(?![0-9]).*         # 12/30/1899
    | (?:[A-Za-z]{3,9}\.?,?\s+)?[0-9]{1,2}(?:st|nd|rd|th)?[\s-]+
      [A-Za-z]{3,9}\.?,?[\s-]+(?P<c>[0-9]{4})(?![0-9]).*                              # 30-Dec-1899
    | (?:[A-Za-z]{3,9}\.?,?\s+)?[A-Za-z]{3,9}\.?\s+[0-9]{1,2}(?:st|nd|rd|th)?,?\s+
      (?:[0-9:]{5,8}\s+(?:[A-Z]{2,4}\s+)?)?(?P<d>[0-9]{4})(?![0-9]).*                 # Jan 1 1900 12:00AM
    """
)
COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[0-9]{4}|[0-9]{6}|[0-9]{9})?")
SERIAL = re.compile(r"/Date\((-?[0-9]{1,18})(?:[+-][0-9]{4})?\)/")
BEFORE_1970 = re.compile(r"-[0-9]{1,17}(?:\.[0-9]{1,9})?")
NO_DATE = re.compile(r"[0-9]{1,3}|0001|0?1([/.-])0?1\1(?:0{0,3}1)(?![0-9]).*")
ZEROS = re.compile(r"[0\s.:/TZ+-]*0[0\s.:/TZ+-]*")


INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
FIRST_YEAR = 1700
"""A date in digits alone is not older than this."""
MILLENNIUM = 946_684_800
"""The year 2000, in epoch seconds."""


def visible(text: str) -> str:
    """Returns a text without invisible characters."""
    return text if text.isascii() else INVISIBLE.sub("", text)


def says_nothing(value: Tree) -> bool:
    """Whether a value is missing, or a placeholder."""
    if value is None:
        return True
    is_text = isinstance(value, str) and not isinstance(value, Number)
    return is_text and PLACEHOLDER.fullmatch(visible(value).strip()) is not None


def names_nothing(value: Tree) -> bool:
    """Whether a value cannot be an identifier: it is missing, a placeholder, or only zeros."""
    return says_nothing(value) or (isinstance(value, str) and not visible(value).strip().strip("0-"))


def shows_nothing(value: Tree) -> bool:
    """Whether a card number is missing, a placeholder, or all masked."""
    return says_nothing(value) or (isinstance(value, str) and MASKS.fullmatch(value) is not None)


def year_of(text: str) -> int | None:
    """Returns the year of an unreadable date, or None if it is not certain; 0 if the text is no date at all.

    Digits without separators count only if they cannot be a later day in another order.
    """
    if ZEROS.fullmatch(text) or BEFORE_1970.fullmatch(text) or NO_DATE.fullmatch(text):
        return 0
    if serial := SERIAL.fullmatch(text):
        return 0 if int(serial[1]) < MILLENNIUM * 1000 else None
    if digits := COMPACT.fullmatch(text):
        year, month, day = map(int, digits.groups())
        ambiguous = len(text) == 12 and 1 <= int(text[2:4]) <= 12 and not text.startswith("00010101")
        plain = year in (1, 9999) or FIRST_YEAR <= year < 2000
        return year if plain and 1 <= month <= 12 and 1 <= day <= 31 and not ambiguous else None
    shown = EARLY.fullmatch(text)
    if not shown:
        return None
    return 0 if shown["minus"] else int(next(filter(None, map(shown.group, "abcd"))))


def plain_word(text: str) -> str:
    """Returns a provider's word in lower case, with `_` for blanks and dashes."""
    return re.sub(r"[\s_-]+", "_", text.strip().lower())
