"""Merges a provider's event into its case, and decides how its delivery ends. Pure."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass

from bridge.alert import Alert, DisputeType, Effect, Reason, Status
from bridge.disputes import matching, refunds
from bridge.disputes.case import LOOKED_UP_BEFORE, CallKind, Case, OptionalPart, Unconfirmed
from bridge.disputes.lookup import lacks_transaction

if typing.TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Settled:
    """How a delivery ends."""

    status: Status
    reason: Reason | None = None
    message: str | None = None


FORWARDED = Settled(Status.FORWARDED)
REOPENED = "29next has reopened the dispute, so it stays open."
RECORDED = "The case was withdrawn, but the gateway's refund is on record at 29next: check it."
NOT_RECORDED = "The gateway's refund is not recorded at 29next, because the case was withdrawn."
HOW_TO_LIST = "List it in bridge.toml, under values of the field resolution, and replay this."
MATCH_FACTS = ("order", *matching.IDS, "arn", "transaction_at", "card_first_six", "card_last_four")
"""What a later alert may add to find the transaction, without changing what the dispute says."""


def merge(
    case: Case,
    provider: str,
    effect: Effect,
    alert: Alert,
    received_at: float,
    *,
    errors: Mapping[str, list[str]] | None = None,
    look_first: bool = False,
) -> None:
    """Merges an alert into its case; `errors` are the fields that could not be read."""
    if provider not in case.providers:
        case.providers.append(provider)
    _add_notes(case, provider, alert, errors or {})
    if opens(effect, alert):
        _merge_facts(case, provider, alert)
    elif effect is Effect.MATCH and case.facts is None:
        early = case.pending.early
        case.pending.early = _combined(early, alert) if early else alert
    elif effect is Effect.MATCH:
        _add_ids(case, alert)
    if case.facts and case.pending.early:
        _add_ids(case, case.pending.early)
        case.pending.early = None
    if alert.resolution and not (case.goal.withdraw and alert.refunded_by_gateway):
        _apply_resolution(case, provider, alert, received_at)
    if _takes_acceptance_back(case, alert, received_at):
        case.trouble.contradicted = alert.not_final
        case.note(_contradicts(provider, alert, case.standing))
    if alert.resolution or case.dispute_id is None:
        case.trouble.refusal = None  # try again
    if effect is Effect.WITHDRAW:
        case.goal.withdraw = True
    _try_again(case, effect, alert)
    if case.goal.withdraw and case.goal.refunded_by_gateway:
        _leave_refund_out(case)
    if case.facts is None:
        case.pending.looks = 0
    if look_first:
        _look_first(case)


def opens(effect: Effect, alert: Alert) -> bool:
    """Whether an alert opens its case if no other has."""
    return effect is Effect.OPEN or (alert.carries_facts and effect is not Effect.WITHDRAW)


def _try_again(case: Case, effect: Effect, alert: Alert) -> None:
    """Clears what 29next refused of such an alert before, since this one asks for it again."""
    trouble = case.trouble
    if effect is Effect.WITHDRAW and trouble.unnoted:
        trouble.unnoted, case.withdrawn = None, False
    if effect is Effect.MATCH and trouble.unattached:
        trouble.unattached = None
        case.without.remove(OptionalPart.TRANSACTION)
        case.match = None
    if alert.refunded_by_gateway and trouble.unrecorded:
        trouble.unrecorded = None
        case.without.remove(OptionalPart.REFUND)


def _leave_refund_out(case: Case) -> None:
    """Records no refund of a withdrawn case; notes one that is on record."""
    if case.refund_recorded:
        case.note(RECORDED)
    elif OptionalPart.REFUND not in case.without:
        case.leave_out(OptionalPart.REFUND)
        case.note(NOT_RECORDED)


def _add_notes(case: Case, provider: str, alert: Alert, errors: Mapping[str, list[str]]) -> None:
    """Notes for people what cannot be read in an alert, and what is not final."""
    for path, messages in errors.items():
        case.note(f"{provider} sent {path}, which cannot be read: {' '.join(messages)}")
    for text in filter(None, (alert.review, alert.note)):
        case.note(f"{provider}: {text}")
    if alert.review:
        case.trouble.review = alert.review


def _look_first(case: Case) -> None:
    """Makes the case look up every write before it is made, also if it was only observed so far."""
    if not case.pending.verify:
        case.pending.verify = set(LOOKED_UP_BEFORE)
    opening = case.facts and case.dispute_id is None and case.unconfirmed is None
    if opening and not case.pending.looked_first:
        case.pending.looked_first = True
        case.unconfirmed = Unconfirmed(CallKind.CREATE)


def _merge_facts(case: Case, provider: str, alert: Alert) -> None:
    is_sent = case.unconfirmed is not None and case.unconfirmed.body is not None
    if case.dispute_id is None and not is_sent:
        case.provider = case.provider if case.facts else provider
        case.facts = _combined(case.facts, alert) if case.facts else alert
        case.match = None
    elif case.facts:
        _add_ids(case, alert)
    else:  # the dispute was found at 29next before any alert had the facts
        case.facts = alert
        case.provider = provider


def _combined(old: Alert, new: Alert) -> Alert:
    """Returns an earlier alert with the fields of a later one over it; what can be read now is readable."""
    still_unreadable = (name for name in old.unreadable if getattr(new, name, None) is None)
    unreadable = tuple(sorted({*still_unreadable, *new.unreadable}))
    return dataclasses.replace(Alert.from_json({**old.to_json(), **new.to_json()}), unreadable=unreadable)


def _add_ids(case: Case, alert: Alert) -> None:
    """Adds the ids that help to find the transaction, without changing what the dispute was opened with."""
    facts = typing.cast("Alert", case.facts)
    fresh = {n: getattr(alert, n) for n in MATCH_FACTS if getattr(alert, n) and not getattr(facts, n)}
    if fresh:
        case.facts = dataclasses.replace(facts, **fresh)
        if case.transaction_id is None and case.matched_id is None and not case.is_decided:
            case.match = None  # look again


def _apply_resolution(case: Case, provider: str, alert: Alert, received_at: float) -> None:
    """Applies an outcome: the first one stands, except a chargeback's that the same provider replaces."""
    stands, goal = case.standing, case.goal
    if stands is None or _replaces(case, provider, alert, received_at):
        goal.resolution, goal.message, goal.by = alert.resolution, alert.message, provider
        goal.refunded_by_gateway = alert.refunded_by_gateway
        goal.event_at, goal.received_at = _order(alert, received_at)
        if case.trouble.contradicted == alert.resolution:
            case.trouble.contradicted = None
    elif alert.agrees(stands):
        if alert.refunded_by_gateway and not case.refund_recorded:
            goal.refunded_by_gateway = True
    elif not _is_superseded(case, provider, alert, received_at):
        case.trouble.contradicted = alert.resolution
        case.note(_contradicts(provider, alert, stands))


def _order(alert: Alert, received_at: float) -> tuple[float, float]:
    return (alert.event_at.timestamp() if alert.event_at else received_at, received_at)


def _replaces(case: Case, provider: str, alert: Alert, received_at: float) -> bool:
    """Whether an outcome replaces an earlier one that nobody at 29next has changed."""
    is_ours = case.resolution is None or case.resolution == case.resolved_by_us
    order = case.goal.order
    is_later = order is None or _order(alert, received_at) > order
    return _may_follow(case, provider, alert) and is_ours and is_later


def _is_superseded(case: Case, provider: str, alert: Alert, received_at: float) -> bool:
    """Whether a later outcome of the same provider has replaced this one."""
    order = case.goal.order
    is_earlier = order is not None and _order(alert, received_at) < order
    return _may_follow(case, provider, alert) and case.standing == case.goal.resolution and is_earlier


def _may_follow(case: Case, provider: str, alert: Alert) -> bool:
    """Whether an outcome of a chargeback may replace another: both are of the same provider."""
    differs = not alert.agrees(case.standing)
    return case.type is DisputeType.CHARGEBACK and provider == case.goal.by and differs


def _contradicts(provider: str, alert: Alert, stands: str | None) -> str:
    return f"{provider} says {alert.resolution or alert.not_final}, but {stands} stands."


def _takes_acceptance_back(case: Case, alert: Alert, received_at: float) -> bool:
    """Whether an RDR case is declined after it was accepted: its refund is on record, and stays there."""
    order = case.goal.order
    is_later = order is not None and _order(alert, received_at) > order
    declines = alert.not_final and not alert.withdrawn
    return bool(declines and case.goal.refunded_by_gateway and is_later)


def settled(case: Case, provider: str, effect: Effect, alert: Alert, received_at: float) -> Settled | None:
    """Returns how a delivery of a case ends, or None while 29next lacks what it asks for."""
    if case.is_duplicate:
        if alert.resolution and case.resolution is None:
            return None
    elif case.dispute_id is None or case.unconfirmed:
        return None
    if effect is Effect.WITHDRAW and not (case.withdrawn or case.is_duplicate):
        return None
    if effect is Effect.MATCH and not case.is_duplicate and (lacks_transaction(case) or refunds.is_due(case)):
        return None
    if alert.unknown_outcome:
        return Settled(Status.FAILED, Reason.UNKNOWN_OUTCOME, f"{alert.unknown_outcome} {HOW_TO_LIST}")
    if _takes_acceptance_back(case, alert, received_at):
        return Settled(Status.FAILED, Reason.CONTRADICTED, _contradicts(provider, alert, case.standing))
    if alert.resolution and (end := _ended(case, provider, alert, received_at)) is not FORWARDED:
        return end
    refused = {Effect.WITHDRAW: case.trouble.unnoted, Effect.MATCH: case.trouble.unattached}
    why = refused.get(effect)
    return Settled(Status.FAILED, Reason.REFUSED, why) if why else FORWARDED


def _ended(case: Case, provider: str, alert: Alert, received_at: float) -> Settled | None:
    """Returns how the delivery of an outcome ends."""
    stands = case.resolution if case.is_duplicate else case.standing
    if stands is None:  # 29next has reopened it
        is_given_up = case.trouble.contradicted == alert.resolution
        return Settled(Status.FAILED, Reason.CONTRADICTED, REOPENED) if is_given_up else None
    if alert.agrees(stands):
        if not alert.agrees(case.resolution) or (refunds.is_due(case) and not case.is_duplicate):
            return None
        if alert.refunded_by_gateway and (why := case.trouble.unrecorded):
            return Settled(Status.FAILED, Reason.REFUSED, why)
        return FORWARDED
    if _is_superseded(case, provider, alert, received_at):
        later = f"A later result of {provider} stands: {stands}."
        return Settled(Status.IGNORED, Reason.IGNORE, later)
    why = case.trouble.irreplaceable or _contradicts(provider, alert, stands)
    return Settled(Status.FAILED, Reason.CONTRADICTED, why)
