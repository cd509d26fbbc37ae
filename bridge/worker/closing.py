"""Finishes a step of a case: which deliveries end, and when the case is due next. Pure."""

from __future__ import annotations

import typing

from bridge.alert import Reason, Status
from bridge.disputes import lookup, retry
from bridge.disputes.case import Call, Case, Refusal
from bridge.disputes.events import Settled
from bridge.disputes.plan import Done, Fail, Wait, look_again, next_step, wait_longer
from bridge.errors import Bug, StoreRefused
from bridge.storage.rows import Delivery, Settlement
from bridge.worker import results
from bridge.worker.results import Answered, Observed, Task

if typing.TYPE_CHECKING:
    from random import Random

ENDED_OTHERWISE = "Its case ended differently. The notes on the case say how."


def finish_step(task: Task, case: Case, pending: list[Delivery], now: float, chance: Random) -> Settlement:
    """Applies the result of a step to its case, ends deliveries, and sets when the case is due next."""
    if isinstance(task.result, Observed):
        case.note(task.result.message)
        case.due_at = None
        return Settlement({delivery.id: Settled(Status.IGNORED, Reason.IGNORE) for delivery in pending})
    was_unconfirmed, look_first = case.unconfirmed is not None, task.store.look_first
    results.apply(task, case, now)
    settlement = Settlement(message=results.message_of(task.result))
    refusal, case.pending.refusal = case.pending.refusal, None
    if refusal:
        case.trouble.refusal = refusal
    for delivery in pending:
        if end := delivery.settled(case):
            settlement.settled[delivery.id] = end
        elif refusal:
            settlement.settled[delivery.id] = Settled(Status.FAILED, refusal.reason, refusal.message)
    if refusal and not settlement.settled:  # no delivery is left that could show it
        case.note(refusal.message)
    left = settlement.left(pending)
    tries = case.tries
    _schedule(task, case, left, settlement, now, chance)
    if was_unconfirmed and task.has_read and look_first:  # a read alone is no progress
        case.tries = tries
    if refusal and not left:
        case.due_at = None
    if look_first and (case.due_at is None or not task.has_read):
        look_again(case)
    return settlement


def _schedule(
    task: Task, case: Case, left: list[Delivery], settlement: Settlement, now: float, chance: Random
) -> None:
    result, over = task.result, False
    tried = results.counts_as_try(result, late=now > case.deadline_at)
    if tried:
        case.tries += 1
        left, over = _give_up(case, left, result, settlement, now)
    elif isinstance(result, Answered):
        case.tries = 0
    case.deadline_at = min((delivery.deadline_at for delivery in left), default=case.deadline_at)
    is_bug = isinstance(result, Bug)  # it may be in `next_step` itself
    step = None if is_bug else next_step(case, now, metadata=task.store.metadata)
    if isinstance(step, Fail):
        end = Settled(Status.FAILED, step.reason, step.message)
        settlement.settled |= {delivery.id: end for delivery in left if delivery.deadline_at <= now}
        left = settlement.left(left)
        step = wait_longer(case, min(delivery.deadline_at for delivery in left)) if left else step
    elif isinstance(step, Done) and left:
        if lookup.needs_index(case):
            step = None  # the index has to be queried again
        elif not case.is_duplicate:
            end = Settled(Status.FAILED, Reason.REFUSED, ENDED_OTHERWISE)
            settlement.settled |= {delivery.id: end for delivery in left}
    # a bug is tried again even if no delivery waits
    idle = not (left or case.unconfirmed or is_bug or isinstance(step, Call))
    again_after = results.again_after(result)
    if over or idle or isinstance(step, Done):
        case.due_at = None
    elif isinstance(step, Wait):
        case.due_at = step.until
        settlement.waits_for_opening = step.reason is Reason.WAITING_FOR_OPENING
    elif not left and settlement.has_failed:
        case.due_at = None
    elif again_after is not None and not tried:
        case.due_at = now + again_after
    else:
        case.due_at = retry.next_try(now, case.tries, case.deadline_at, chance, again_after)


def _give_up(
    case: Case, left: list[Delivery], result: results.Result | None, settlement: Settlement, now: float
) -> tuple[list[Delivery], bool]:
    """Fails what was tried for long enough; returns the deliveries left, and whether the case is given up.

    Work that no delivery here waits for (a person's match, a duplicate's result) ends by the deadline of the
    case, and its duplicates get the reason.
    """
    if isinstance(result, StoreRefused):
        return left, False
    is_bug = isinstance(result, Bug) and case.tries >= retry.BUG_TRIES
    reason, sentence = Reason.EXPIRED, "29next has not accepted it seven days after its deadline."
    if is_bug:
        reason, sentence = Reason.BUG, str(result)
    failed = [delivery for delivery in left if is_bug or now > retry.expires_at(delivery.deadline_at)]
    settlement.settled |= {delivery.id: Settled(Status.FAILED, reason, sentence) for delivery in failed}
    left = settlement.left(left)
    over = not left and bool(is_bug or failed or now > retry.expires_at(case.deadline_at))
    if over and case.resolution is None and case.goal.resolution:
        case.trouble.refusal = Refusal(reason, sentence)
    elif over and not failed:
        case.note(f"The bridge has given up ({reason}): {sentence}")
    return left, over
