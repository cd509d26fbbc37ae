"""What can go wrong with a call to the stand-in, as values, without any I/O.

A fault has two halves that do not depend on each other: what the caller gets to see (`does`), and
when the call's work is committed all the same (`commits_after`). "A reset after the commit",
"a 503 whose dispute appears two seconds later" and "a 503 that did nothing" are thus three values
of one type, and none of them is a special case.
"""

from __future__ import annotations

import fnmatch
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Does(StrEnum):
    """What the caller gets to see."""

    ANSWER = "answer"  # the fault's own status, headers and body
    REFUSE = "refuse"  # a reset before the body is read, as from a listener that dies
    RESET = "reset"  # a reset instead of an answer
    CLOSE = "close"  # an orderly end of the connection instead of an answer
    HANG = "hang"  # silence for `seconds`, then an orderly end
    DRIP = "drip"  # the store's own answer, a byte every `seconds`, from the status line on
    DRIP_BODY = "drip_body"  # the same, but the head comes at once
    LATENCY = "latency"  # `seconds` later, whatever else would have come
    LIST_LAG = "list_lag"  # what this call creates is in no list for `seconds`
    LOOSE = "loose"  # this list takes no notice of its filter by case_number


# These go together with each other and with one of the rest; of the rest the first that fits wins.
_MODIFIERS = frozenset({Does.LATENCY, Does.LIST_LAG, Does.LOOSE})

# These show the store's own answer, so its work is always done.
_TRUTHFUL = frozenset({Does.DRIP, Does.DRIP_BODY})


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the calls that it fits; only calls that the store admits are looked at."""

    does: Does
    name: str = ""  # how the ledger calls it; `does` when empty
    # Which calls. Paths begin after /api/admin; they are shell patterns whose * crosses slashes.
    method: str = "*"
    path: str = "*"
    token: str = "*"
    nth: int = 0  # only the nth call that fits, counted from 1; 0 is all of them
    probability: float = 1.0
    count: int = 0  # at most so many times; 0 is without end
    # Seconds until the call's work is done all the same; 0 is before the answer, None is never.
    commits_after: float | None = None
    seconds: float = 0.0  # of hanging, of latency, of lag, or between two dripping bytes
    # Of an answer:
    status: int = 500
    body: str = ""
    size: int = 0  # the body is repeated up to this many bytes; 0 leaves it as it is
    content_type: str = "application/json"
    location: str = ""
    retry_after: str = ""  # sent as it stands; "date" becomes the HTTP date two seconds ahead

    def __post_init__(self) -> None:
        """Turn `does` into its enum, so that a fault may come as JSON, and refuse nonsense."""
        object.__setattr__(self, "does", Does(self.does))
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError("probability lies between 0 and 1")
        if min(self.nth, self.count, self.size, self.seconds, self.commits_after or 0) < 0:
            raise ValueError("nth, count, size, seconds and commits_after are not negative")

    @property
    def label(self) -> str:
        """The name under which the ledger keeps this fault."""
        return self.name or str(self.does)

    @property
    def ends(self) -> bool:
        """Whether this decides what the caller sees, instead of only adding to it."""
        return self.does not in _MODIFIERS

    @property
    def truthful(self) -> bool:
        """Whether the caller sees the store's own answer in the end."""
        return self.does in _TRUTHFUL

    def fits(self, method: str, path: str, token: str) -> bool:
        """Whether a call is of the kind that this fault is for."""
        return (
            self.method in ("*", method)
            and fnmatch.fnmatchcase(path, self.path)
            and fnmatch.fnmatchcase(token, self.token)
        )


HTML = "<!doctype html><html><head><title>Error</title></head><body><h1>Error</h1></body></html>"


def _detail(status: int, detail: str, retry_after: str = "") -> Fault:
    return Fault(Does.ANSWER, status=status, body=f'{{"detail": "{detail}"}}', retry_after=retry_after)


def _html(status: int, commits_after: float | None = None) -> Fault:
    return Fault(
        Does.ANSWER,
        status=status,
        body=HTML,
        content_type="text/html",
        commits_after=commits_after,
    )


# Every fault of the battery by its name; `fault("reset_after", method="POST")` makes one's own.
_NAMED: Mapping[str, Fault] = {
    "400": _detail(400, "Bad request."),
    "401": _detail(401, "Invalid token."),
    "403": _detail(403, "You do not have permission to perform this action."),
    "404": _detail(404, "Not found."),
    "409": _detail(409, "Conflict."),
    "422": _detail(422, "Unprocessable."),
    "429": _detail(429, "Request was throttled.", "1"),
    "429_date": _detail(429, "Request was throttled.", "date"),
    "429_absent": _detail(429, "Request was throttled."),
    "429_huge": _detail(429, "Request was throttled.", "31536000"),
    "429_negative": _detail(429, "Request was throttled.", "-5"),
    "500": _html(500),
    "502": _html(502),
    "503": _html(503),
    "500_after": _html(500, commits_after=0),
    "502_after": _html(502, commits_after=0),
    "503_after": _html(503, commits_after=0),
    "503_late": _html(503, commits_after=2),
    "201_html": replace(_html(201, commits_after=0), method="POST"),
    "201_empty": Fault(Does.ANSWER, method="POST", status=201, commits_after=0),
    "201_10mb": replace(_html(201, commits_after=0), method="POST", size=10_000_000),
    "201_without_id": Fault(
        Does.ANSWER, method="POST", status=201, body='{"status": "new"}', commits_after=0
    ),
    "redirect": Fault(Does.ANSWER, status=302, location="https://elsewhere.invalid/api/admin/disputes/"),
    "refuse": Fault(Does.REFUSE),
    "reset": Fault(Does.RESET),
    "reset_after": Fault(Does.RESET, commits_after=0),
    "close": Fault(Does.CLOSE),
    "close_after": Fault(Does.CLOSE, commits_after=0),
    "hang": Fault(Does.HANG, seconds=60),
    "hang_after": Fault(Does.HANG, seconds=60, commits_after=0),
    "late": Fault(Does.CLOSE, commits_after=2),
    "late_hang": Fault(Does.HANG, seconds=60, commits_after=2),
    "drip": Fault(Does.DRIP, seconds=1),
    "drip_body": Fault(Does.DRIP_BODY, seconds=1),
    "latency": Fault(Does.LATENCY, seconds=0.2),
    "list_lag": Fault(Does.LIST_LAG, method="POST", path="/disputes/", seconds=3),
    "loose": Fault(Does.LOOSE, method="GET", path="/disputes/"),
}
FAULTS: Mapping[str, Fault] = {name: replace(one, name=name) for name, one in _NAMED.items()}


def fault(name: str, **changes: Any) -> Fault:
    """A named fault of FAULTS with some of its fields changed; an unknown name is a KeyError."""
    return replace(FAULTS[name], **changes)


class _Planned:
    """One fault and how often it was looked at and used."""

    __slots__ = ("fault", "seen", "used")

    def __init__(self, planned: Fault) -> None:
        self.fault, self.seen, self.used = planned, 0, 0

    def strikes(self, rng: random.Random) -> bool:
        """Whether this call, which fits, is one that the fault happens to."""
        one = self.fault
        self.seen += 1
        if (one.nth and self.seen != one.nth) or (one.count and self.used >= one.count):
            return False
        if one.probability < 1.0 and rng.random() >= one.probability:
            return False
        self.used += 1
        return True


class Faults:
    """The faults in force, in the order in which they were added."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self._unmet: list[str] = []
        self.clear()

    def add(self, *faults: Fault) -> None:
        """Put more faults in force."""
        with self._lock:
            self._planned.extend(_Planned(one) for one in faults)

    def clear(self) -> None:
        """End all faults and begin the seed anew."""
        with self._lock:
            self._unmet, self._planned = self.unmet, []
            self._random = random.Random(self._seed)  # noqa: S311 - repeatable, not secret

    @property
    def unmet(self) -> list[str]:
        """The faults that no call has met, also those that were ended."""
        return [*self._unmet, *(one.fault.label for one in self._planned if not one.used)]

    def strike(self, method: str, path: str, token: str) -> list[Fault]:
        """The faults that happen to this call: any modifiers, and at most one of the rest."""
        if not self._planned:  # most calls of most runs
            return []
        struck: list[Fault] = []
        ended = False
        with self._lock:
            for planned in self._planned:
                one = planned.fault
                if (one.ends and ended) or not one.fits(method, path, token):
                    continue
                if planned.strikes(self._random):
                    struck.append(one)
                    ended = ended or one.ends
        return struck
