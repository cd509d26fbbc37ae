"""Ids that sort by time: their table's first letter, 45 bits of milliseconds, and 60 of chance."""

from __future__ import annotations

import hashlib
import random
import typing

if typing.TYPE_CHECKING:
    from sqlalchemy import Table

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
DIGITS, CHANCE_BITS = 21, 60
LAST_MOMENT = (1 << (5 * DIGITS - CHANCE_BITS)) - 1
"""The last moment, in milliseconds, that an id can hold: in the year 3084."""


def new_id(letter: str, now: float) -> str:
    """Returns a new id that sorts by time."""
    return _encode(letter, (int(now * 1000) << CHANCE_BITS) | random.getrandbits(CHANCE_BITS))


def first_id(table: Table, seconds: float) -> str:
    """Returns an id below all those that were made at a moment or later, to the millisecond."""
    return _encode(table.name[0], min(max(round(seconds * 1000), 0), LAST_MOMENT) << CHANCE_BITS)


def _encode(letter: str, number: int) -> str:
    digits = [ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(DIGITS))]
    return f"{letter}_{''.join(digits)}"


def token_key(token: str) -> str:
    """Returns a digest that stands for an access token."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]
