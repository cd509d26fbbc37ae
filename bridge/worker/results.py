"""The possible results of one step of a case, and what each means for the case."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

from bridge.alert import Reason
from bridge.disputes.answers import apply_response
from bridge.disputes.case import Call, Case, Refusal
from bridge.disputes.plan import mark_not_sent
from bridge.disputes.refusals import continue_without
from bridge.storage.attempts import CallOutcome


@dataclass(frozen=True, slots=True)
class Idle:
    """There was nothing to do."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The store is only observed: `message` is what would have been sent."""

    message: str


@dataclass(frozen=True, slots=True)
class Answered:
    """29next accepted the call."""

    answer: typing.Any
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.OK


@dataclass(frozen=True, slots=True)
class Refused:
    """29next refused the call: the case continues without it if it can."""

    message: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.REFUSED


@dataclass(frozen=True, slots=True)
class Dropped:
    """The call was not sent: it got no slot in time."""

    message: str | None = None
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.DROPPED


@dataclass(frozen=True, slots=True)
class Throttled:
    """29next asks for a pause of some seconds; the call did not happen."""

    message: str
    seconds: float
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.THROTTLED


@dataclass(frozen=True, slots=True)
class NotNow:
    """The call certainly did not happen; it is tried again, after `seconds` at least."""

    message: str
    seconds: float | None = None
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.TEMPORARY


@dataclass(frozen=True, slots=True)
class Unclear:
    """A write may have happened; 29next may still be working on it until `until`."""

    message: str
    until: float
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.UNCLEAR


@dataclass(frozen=True, slots=True)
class StoreRefused:
    """The store refuses the bridge as a whole."""

    message: str
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.STORE_REFUSED


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug of ours; its trace holds no values."""

    message: str
    outcome: typing.ClassVar[CallOutcome] = CallOutcome.BUG


Called = Answered | Refused | Dropped | Throttled | NotNow | Unclear | StoreRefused | Bug
Result = Idle | Observed | Called


def message_of(result: Result) -> str | None:
    """Return why a step failed, in a sentence, or None."""
    return None if isinstance(result, Idle | Answered | Observed) else result.message


def counts_as_try(result: Result, *, late: bool) -> bool:
    """Whether a result counts as a failed try; a throttle does only if the case is `late`."""
    return isinstance(result, NotNow | Unclear | StoreRefused | Bug) or (
        isinstance(result, Throttled) and late
    )


def apply(result: Result, case: Case, call: Call | None, now: float) -> None:
    """Apply the result of a call to its case."""
    if call is None:
        return
    match result:
        case Answered(answer):
            apply_response(case, call, answer, now)
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
    """Return the seconds until the next step, or None for the schedule of retries."""
    match result:
        case Answered() | Refused() | Dropped():
            return 0.0
        case Throttled(seconds=seconds) | NotNow(seconds=seconds):
            return seconds
        case _:
            return None
