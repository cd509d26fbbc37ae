"""What providers write where they have nothing to say, and how their words are compared. Pure."""

from __future__ import annotations

import re
import typing

if typing.TYPE_CHECKING:
    from bridge.tree import Tree

PLACEHOLDER = re.compile(
    r"(?:n[./\\]?\s?a\.?|none|null|nil|undefined|unknown|-+"
    r"|(?:not|un)[ _-]?(?:available|applicable|provided|known))?",
    re.IGNORECASE,
)
MASKS = re.compile(r"[*xX#.\u2022\u00b7\u25cf\s-]+")
ZEROS = re.compile(r"[0\s.:/TZ+-]*0[0\s.:/TZ+-]*")


def says_nothing(value: Tree) -> bool:
    """Whether a value is missing, or is what senders write for nothing."""
    return value is None or (isinstance(value, str) and PLACEHOLDER.fullmatch(value.strip()) is not None)


def names_nothing(value: Tree) -> bool:
    """Whether a value is no identifier: zeros alone are none either."""
    return says_nothing(value) or (isinstance(value, str) and not value.strip().strip("0-"))


def shows_nothing(value: Tree) -> bool:
    """Whether of a card's number nothing is left but masks."""
    return says_nothing(value) or (isinstance(value, str) and MASKS.fullmatch(value) is not None)


def plain_word(text: str) -> str:
    """Return the one spelling of a provider's word: case, blanks and dashes make no difference."""
    return re.sub(r"[\s_-]+", "_", text.strip().lower())
