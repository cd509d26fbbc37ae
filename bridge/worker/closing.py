"""What follows from a step for its case: which deliveries end, and when the case is worked on next. Pure."""

from __future__ import annotations

import typing

from bridge.alert import Reason, Status
from bridge.disputes import lookup, retry
from bridge.disputes.case import Call, Case, Refusal
from bridge.disputes.events import Settled
from bridge.disputes.plan import Done, Fail, Wait, look_again, next_step, wait_longer
from bridge.storage.rows import Delivery, Settlement
from bridge.worker import results
from bridge.worker.results import Answered, Bug, Observed, Result, StoreRefused

if typing.TYPE_CHECKING:
    from random import Random

    from bridge.settings import Store

IN_VAIN = "Its case ended differently. The notes on the case say how."


def close(
    case: Case,
    owed: list[Delivery],
    result: Result,
    call: Call | None,
    *,
    store: Store,
    now: float,
    chance: Random,
) -> Settlement:
    """Bring a case up to date after a step, end what is met, and say when it is worked on next."""
    if isinstance(result, Observed):
        return _observed(case, owed, result.said)
    was_unconfirmed = case.unconfirmed is not None
    results.apply(result, case, call, now)
    ending = Settlement(message=results.said(result))
    refused, case.pending.refused = case.pending.refused, None
    if refused:
        case.trouble.refusal = refused
    for one in owed:
        if end := one.settled(case):
            ending.settled[one.id] = end
        elif refused:
            ending.settled[one.id] = Settled(Status.FAILED, refused.reason, refused.message)
    if refused and not ending.settled:  # nobody waits, whom it could be told
        case.note(refused.message)
    left = [one for one in owed if one.id not in ending.settled]
    tries = case.tries
    _schedule(case, left, result, ending, store=store, now=now, chance=chance)
    has_read = isinstance(result, Answered) and call is not None and not call.writes
    if was_unconfirmed and has_read and store.look_first:  # which is no progress
        case.tries = tries
    if refused and not left:
        case.due_at = None
    if store.look_first and (case.due_at is None or not has_read):
        look_again(case)
    return ending


def _schedule(
    case: Case,
    left: list[Delivery],
    result: Result,
    ending: Settlement,
    *,
    store: Store,
    now: float,
    chance: Random,
) -> None:
    over = False
    tried = results.counts_as_try(result, late=now > case.deadline_at)
    if tried:
        case.tries += 1
        left, over = _give_up(case, left, result, ending, now)
    elif isinstance(result, Answered):
        case.tries = 0
    case.deadline_at = min((one.deadline_at for one in left), default=case.deadline_at)
    # a bug may be in the very finding of the next step
    step = None if isinstance(result, Bug) else next_step(case, now, metadata=store.metadata)
    if isinstance(step, Fail):
        end = Settled(Status.FAILED, step.reason, step.message)
        ending.settled |= {one.id: end for one in left if one.deadline_at <= now}
        left = [one for one in left if one.id not in ending.settled]
        step = wait_longer(case, min(one.deadline_at for one in left)) if left else step
    elif isinstance(step, Done) and left:
        if lookup.needs_index(case):
            step = None  # it asks once more
        elif not case.is_duplicate:
            end = Settled(Status.FAILED, Reason.REFUSED, IN_VAIN)
            ending.settled |= {one.id: end for one in left}
    is_bug = isinstance(result, Bug)  # which is tried again, also where nobody waits
    idle = not (left or case.unconfirmed or is_bug or isinstance(step, Call))
    again_after = results.again_after(result)
    if over or idle or isinstance(step, Done):
        case.due_at = None
    elif isinstance(step, Wait):
        case.due_at = step.until
        ending.waits_for_opening = step.reason is Reason.WAITING_FOR_OPENING
    elif not left and ending.has_failed:
        case.due_at = None
    elif again_after is not None and not tried:
        case.due_at = now + again_after
    else:
        case.due_at = retry.next_try(now, case.tries, case.deadline_at, chance, again_after)


def _give_up(
    case: Case, left: list[Delivery], result: Result, ending: Settlement, now: float
) -> tuple[list[Delivery], bool]:
    """Fail what was tried for long enough; returns what is left, and whether the case is given up.

    What nobody's delivery waits for here (a person's match, the result of a duplicate) ends by the
    deadline of the case, and the duplicates are told.
    """
    if isinstance(result, StoreRefused):
        return left, False
    is_bug = isinstance(result, Bug) and case.tries >= retry.BUG_TRIES
    reason, sentence = Reason.EXPIRED, "29next has not accepted it seven days after its deadline."
    if isinstance(result, Bug) and is_bug:
        reason, sentence = Reason.BUG, result.said
    failed = [one for one in left if is_bug or now > retry.expires_at(one.deadline_at)]
    ending.settled |= {one.id: Settled(Status.FAILED, reason, sentence) for one in failed}
    left = [one for one in left if one not in failed]
    over = not left and bool(is_bug or failed or now > retry.expires_at(case.deadline_at))
    if over and case.resolution is None and case.goal.resolution:
        case.trouble.refusal = Refusal(reason, sentence)
    elif over and not failed:
        case.note(f"The bridge has given up ({reason}): {sentence}")
    return left, over


def _observed(case: Case, owed: list[Delivery], would: str) -> Settlement:
    case.note(would)
    case.due_at = None
    return Settlement({one.id: Settled(Status.IGNORED, Reason.IGNORE) for one in owed})
