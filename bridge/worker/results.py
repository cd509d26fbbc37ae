"""One step of a case, how its call ended, and what that means for the case."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

from bridge.alert import Reason
from bridge.disputes.answers import apply_response
from bridge.disputes.case import Refusal
from bridge.disputes.plan import mark_not_sent
from bridge.disputes.refusals import continue_without
from bridge.errors import (
    BridgeError,
    Bug,
    PermanentError,
    StoreRefused,
    TemporaryError,
    Throttled,
    Unavailable,
    Unclear,
)
from bridge.next29.client import Answer
from bridge.storage.attempts import CallOutcome

if typing.TYPE_CHECKING:
    from bridge.disputes.case import Call, Case
    from bridge.pace import Turn
    from bridge.settings import Store
    from bridge.storage.attempts import Attempt
    from bridge.storage.rows import Claim


@dataclass(frozen=True, slots=True)
class Observed:
    """The store is only observed: `message` is what would have been sent."""

    message: str


@dataclass(frozen=True, slots=True)
class Answered:
    """29next accepted the call."""

    answer: typing.Any


Failure = PermanentError | TemporaryError | Unclear | StoreRefused | Unavailable | Bug
"""How a call failed. Unavailable: it was not sent, since the database gave it no slot in time."""
Result = Observed | Answered | Failure


@dataclass(eq=False)
class Task:
    """One step of a claimed case: the call to make, and then its result."""

    claim: Claim
    store: Store
    call: Call | None = None
    turn: Turn | None = None
    attempt: Attempt | None = None
    result: Result | None = None  # None: the call is not made yet, or there is none to make
    answer: Answer = field(default_factory=Answer)
    busy_until: float = 0.0  # 29next may still be working on a call whose answer is unclear

    @property
    def made(self) -> Attempt | None:
        """The record of the call, once it was made."""
        return self.attempt if self.attempt and self.attempt.outcome != CallOutcome.INTENDED else None

    @property
    def has_read(self) -> bool:
        """Whether it has read something at 29next."""
        return isinstance(self.result, Answered) and self.call is not None and not self.call.writes


def message_of(result: Result | None) -> str | None:
    """Returns why a step failed, in a sentence, or None."""
    return str(result) if isinstance(result, BridgeError) else None


def counts_as_try(result: Result | None, *, late: bool) -> bool:
    """Whether a result counts as a failed try; a throttle does only if the case is `late`."""
    if isinstance(result, Throttled):
        return late
    return isinstance(result, TemporaryError | Unclear | StoreRefused | Bug)


def apply(task: Task, case: Case, now: float) -> None:
    """Applies the result of a call to its case."""
    result, call = task.result, task.call
    if call is None:
        return
    match result:
        case Answered(answer):
            apply_response(case, call, answer, now)
        case PermanentError():
            if call.writes:
                mark_not_sent(case)
            if not continue_without(case, call, result.fields):
                case.pending.refusal = Refusal(Reason.REFUSED, str(result))
        case TemporaryError() | StoreRefused() | Unavailable() if call.writes:
            mark_not_sent(case)
        case Unclear() if case.unconfirmed:
            case.unconfirmed.until = task.busy_until


def again_after(result: Result | None) -> float | None:
    """Returns the seconds until the next step, or None for the schedule of retries."""
    if isinstance(result, TemporaryError):
        return result.retry_after
    return 0.0 if isinstance(result, Answered | PermanentError | Unavailable) else None
