"""Decides when to try again. Pure: time and randomness are arguments.

Times are seconds since the epoch, in the inbox's clock.
"""

from __future__ import annotations

import re
import typing
from datetime import UTC
from email.utils import parsedate_to_datetime

if typing.TYPE_CHECKING:
    from random import Random

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

EARLY_TRIES = 5
EARLY_CEILING = 30.0
"""The first five retries come within thirty seconds each."""
CEILING = 15 * MINUTE
LATE_INTERVAL = HOUR
GIVE_UP_AFTER = 7 * DAY
"""How long after its deadline a delivery is still tried."""
LONGEST_RETRY_AFTER = 5 * MINUTE
"""The longest Retry-After that is obeyed; a longer one is a mistake, and a deadline runs."""
BUG_TRIES = 5
"""How often a bug of ours is tried again before it fails."""


def next_try(
    now: float, tries: int, deadline: float, chance: Random, retry_after: float | None = None
) -> float:
    """Returns when to try again after the `tries`-th failed try, with full jitter.

    Before the deadline the waits grow; one try is made right before it; after it they are hourly.
    """
    if now >= deadline:
        wait = chance.uniform(0.5, 1.0) * LATE_INTERVAL
    else:
        ceiling = min(2.0 ** min(tries, EARLY_TRIES), EARLY_CEILING)
        if tries > EARLY_TRIES:
            ceiling = min(EARLY_CEILING * 2.0 ** min(tries - EARLY_TRIES, 10), CEILING)
        wait = min(chance.uniform(0, ceiling), max(deadline - now, 0.0))
    return now + max(wait, retry_after or 0.0)


def expires_at(deadline: float) -> float:
    """Returns when a delivery that still does not succeed expires."""
    return deadline + GIVE_UP_AFTER


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Returns the seconds of a Retry-After header, which has seconds or a date; None if it is unreadable.

    Negative values and past dates are no wait; absurd ones are cut to five minutes.
    """
    text = (value or "").strip()
    if not text:
        return None
    if re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", text):
        seconds = float(text[:20])
    else:
        try:
            seconds = parse_http_date(text) - now
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def parse_http_date(text: str) -> float:
    """Returns the moment of a date in a header; without a zone it is in UTC.

    Raises ValueError, TypeError or OverflowError if it is unreadable.
    """
    moment = parsedate_to_datetime(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
