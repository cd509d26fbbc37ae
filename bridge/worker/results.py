"""How one step of a case went: a closed set of results, each with what it means for the case."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.alert import Reason
from bridge.disputes.answers import apply_response
from bridge.disputes.case import Call, Case, Refusal
from bridge.disputes.plan import mark_not_sent
from bridge.disputes.refusals import continue_without


class Word(StrEnum):
    """What the record of a call says of how it went."""

    INTENDED = "intended"
    OK = "ok"
    DROPPED = "dropped"
    THROTTLED = "throttled"
    TEMPORARY = "temporary"
    UNCLEAR = "unclear"
    STORE_REFUSED = "store_refused"
    REFUSED = "refused"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing was to be done."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The store is only watched: what would have been sent."""

    said: str


@dataclass(frozen=True, slots=True)
class Answered:
    """29next did what it was asked."""

    found: typing.Any
    word: typing.ClassVar[Word] = Word.OK


@dataclass(frozen=True, slots=True)
class Refused:
    """29next did not, and will not: the case goes on without it where it can."""

    said: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    word: typing.ClassVar[Word] = Word.REFUSED


@dataclass(frozen=True, slots=True)
class Dropped:
    """It was not sent: no slot was near, or each had closed before it was ready."""

    said: str | None = None
    word: typing.ClassVar[Word] = Word.DROPPED


@dataclass(frozen=True, slots=True)
class Throttled:
    """29next asks for a pause of so many seconds; it did not happen."""

    said: str
    seconds: float
    word: typing.ClassVar[Word] = Word.THROTTLED


@dataclass(frozen=True, slots=True)
class NotNow:
    """It certainly did not happen; it is tried again, after `seconds` at least."""

    said: str
    seconds: float | None = None
    word: typing.ClassVar[Word] = Word.TEMPORARY


@dataclass(frozen=True, slots=True)
class Unclear:
    """A write may have happened; 29next may still be working on it until a moment."""

    said: str
    until: float
    word: typing.ClassVar[Word] = Word.UNCLEAR


@dataclass(frozen=True, slots=True)
class StoreRefused:
    """The store refuses the bridge as such."""

    said: str
    word: typing.ClassVar[Word] = Word.STORE_REFUSED


@dataclass(frozen=True, slots=True)
class Bug:
    """An error of ours; its trace holds no value."""

    said: str
    word: typing.ClassVar[Word] = Word.BUG


Called = Answered | Refused | Dropped | Throttled | NotNow | Unclear | StoreRefused | Bug
Result = Idle | Observed | Called


def said(result: Result) -> str | None:
    """Return why it did not work, in a sentence."""
    return None if isinstance(result, Idle | Answered | Observed) else result.said


def counts_as_try(result: Result, *, late: bool) -> bool:
    """Whether it counts as a try that failed; a throttle only where the case is `late`."""
    return isinstance(result, NotNow | Unclear | StoreRefused | Bug) or (
        isinstance(result, Throttled) and late
    )


def apply(result: Result, case: Case, call: Call | None, now: float) -> None:
    """Let a case take in how its call went."""
    if call is None:
        return
    match result:
        case Answered(found):
            apply_response(case, call, found, now)
        case Refused(message, fields):
            if call.writes:
                mark_not_sent(case)
            if not continue_without(case, call, fields):
                case.pending.refused = Refusal(Reason.REFUSED, message)
        case Dropped() | Throttled() | NotNow() | StoreRefused() if call.writes:
            mark_not_sent(case)
        case Unclear(until=until) if case.unconfirmed:
            case.unconfirmed.until = until
        case _:
            pass


def again_after(result: Result) -> float | None:
    """Return in how many seconds the next step may follow; None: by the schedule of retries."""
    match result:
        case Answered() | Refused() | Dropped():
            return 0.0
        case Throttled(seconds=seconds) | NotNow(seconds=seconds):
            return seconds
        case _:
            return None
