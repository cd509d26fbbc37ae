"""Links the cases of one sale: duplicates, alerts that did not prevent a chargeback, 29next's disputes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from bridge.alert import DisputeType, Effect
from bridge.disputes.answers import adopt, apply_webhook
from bridge.disputes.case import Case, Json
from bridge.disputes.events import merge
from bridge.providers.fields import MAX_LENGTH
from bridge.storage import search_terms
from bridge.storage.hints import save_notes
from bridge.storage.ids import new_id
from bridge.storage.outcomes import OutcomesOf, add_outcomes
from bridge.storage.rows import (
    add_search_terms,
    insert_cases,
    lock_case,
    lock_cases,
    numbers_of,
    reopen,
    write_cases,
)
from bridge.storage.schema import cases, deliveries


def link_cases(connection: Connection, case: Case, now: float, outcomes_of: OutcomesOf) -> None:
    """Links a case with the other cases of the same transaction."""
    if case.is_duplicate:
        _link_duplicate(connection, case, now, outcomes_of)
    if case.is_duplicate or case.transaction_id is None:
        return
    same_sale = (cases.c.store == case.store, cases.c.transaction_id == case.transaction_id)
    of_other_type = (cases.c.type != case.type, cases.c.duplicate_of.is_(None))
    for other in lock_cases(connection, *same_sale, *of_other_type):
        alert, chargeback = (other, case) if case.type is DisputeType.CHARGEBACK else (case, other)
        alert.note(f"The alert did not prevent chargeback {chargeback.case_number} ({chargeback.id}).")
        chargeback.note(f"Alert {alert.case_number} ({alert.id}) did not prevent it.")
        save_notes(connection, other)


# --- duplicates ---------------------------------------------------------------------------------


def _link_duplicate(connection: Connection, case: Case, now: float, outcomes_of: OutcomesOf) -> None:
    """Links a duplicate to the case that holds the dispute, and passes its result on."""
    holder = _holder(connection, case, now, outcomes_of)
    if holder is None:
        return
    case.duplicate_of, case.pending.held = holder.id, None
    if case.dispute_id in (None, holder.dispute_id):
        case.dispute_id, case.transaction_id = holder.dispute_id, holder.transaction_id
    else:
        case.note(f"Its own dispute {case.dispute_id} was created before the transaction was known.")
    if holder.resolution:
        case.due_at = now
    case.note(f"Dispute {holder.dispute_id} of case {holder.id} is about the same transaction.")
    holder.note(f"Case {case.id} ({case.provider} {case.case_number}) is a duplicate of this one.")
    _pass_result(holder, case, now)
    case.resolution = _settled_resolution(holder)
    write_cases(connection, [holder])


def _holder(connection: Connection, case: Case, now: float, outcomes_of: OutcomesOf) -> Case | None:
    """Returns the case that holds the dispute of a duplicate; it is made if there is none yet.

    The dispute that was read updates its own case too, whose creation may still be unclear.
    """
    held = case.pending.held
    if held is None:
        others = (cases.c.store == case.store, cases.c.id != case.id, cases.c.duplicate_of.is_(None))
        return lock_case(connection, cases.c.id == case.duplicate_of, *others)
    holder = apply_dispute(connection, case.store, held, now, outcomes_of)
    if holder and holder.dispute_id != held["id"]:  # a second one with its number
        return _adopt(connection, case.store, {**held, "case_number": None}, now, outcomes_of)
    return holder


def pass_to_holder(connection: Connection, case: Case, now: float) -> None:
    """Passes on a result that arrived after its case became a duplicate."""
    if holder := lock_case(connection, cases.c.id == case.duplicate_of):
        _pass_result(holder, case, now)
        case.resolution = _settled_resolution(holder)
        write_cases(connection, [holder])


def _pass_result(holder: Case, case: Case, now: float) -> None:
    """Gives the case that holds the dispute the result of its duplicate."""
    goal = case.goal
    if goal.resolution is None or case.facts is None:
        return
    event_at, received_at = goal.order or (case.opened_at, case.opened_at)
    alert = dataclasses.replace(
        case.facts,
        resolution=goal.resolution,
        message=goal.message,
        refunded_by_gateway=goal.refunded_by_gateway,
        event_at=datetime.fromtimestamp(event_at, UTC),
        unreadable=(),
    )
    merge(holder, goal.by or case.provider, Effect.RESOLVE, alert, received_at)
    holder.deadline_at = min(holder.deadline_at, case.deadline_at) if holder.due_at else case.deadline_at
    holder.due_at = now


def pass_to_duplicates(connection: Connection, holder: Case, now: float) -> None:
    """Gives the duplicates of a case its resolution, or the reason why it has none."""
    refusal = holder.trouble.refusal
    pending = select(deliveries.c.id).where(deliveries.c.case_id == cases.c.id)
    pending = pending.where(deliveries.c.settled_at.is_(None))
    for case in lock_cases(connection, cases.c.duplicate_of == holder.id, pending.exists()):
        case.resolution = _settled_resolution(holder)
        case.due_at = now
        case.pending.refusal = refusal or case.pending.refusal
        write_cases(connection, [case])


def _settled_resolution(holder: Case) -> str | None:
    """Returns the resolution of a dispute, unless another one is about to replace it."""
    return holder.resolution if holder.standing == holder.resolution else None


# --- disputes of 29next -------------------------------------------------------------------------


def apply_dispute(
    connection: Connection, store: str, dispute: Json, now: float, outcomes_of: OutcomesOf
) -> Case | None:
    """Updates the case of a dispute, or makes one for its alert to find.

    A webhook does not say when the dispute looked like this, and an old state must not undo a newer one:
    what contradicts the case is read again.
    """
    case = _case_of(connection, store, dispute)
    if case is None:
        if (made := _adopt(connection, store, dispute, now, outcomes_of)) is not None:
            return made
        if (case := _case_of(connection, store, dispute)) is None:
            return None  # else another worker has made it at the same moment
    before, resolution = case.transaction_id, case.resolution
    if apply_webhook(case, dispute):
        reopen(case, now)
    if case.transaction_id != before:
        link_cases(connection, case, now, outcomes_of)
    add_outcomes(connection, case, now, outcomes_of)
    write_cases(connection, [case])
    if case.resolution != resolution:
        pass_to_duplicates(connection, case, now)
    return case


def _case_of(connection: Connection, store: str, dispute: Json) -> Case | None:
    """Returns the case of a dispute, by its id, else by its number and type."""
    by_id = (cases.c.dispute_id == dispute["id"], cases.c.duplicate_of.is_(None))
    by_number = (cases.c.case_number == case_number_of(dispute), cases.c.type == str(dispute.get("type")))
    return lock_case(connection, cases.c.store == store, *by_id) or lock_case(
        connection, cases.c.store == store, *by_number
    )


def _adopt(
    connection: Connection, store: str, dispute: Json, now: float, outcomes_of: OutcomesOf
) -> Case | None:
    """Makes a case for a dispute that somebody else made: its alert finds it, or becomes its duplicate."""
    if dispute.get("type") not in set(DisputeType):
        return None
    case = Case(
        id=new_id("c", now),
        store=store,
        case_number=case_number_of(dispute),
        type=DisputeType(dispute["type"]),
        provider="next",
        providers=["next"],
        opened_at=now,
        deadline_at=now,
    )
    adopt(case, dispute)
    if not insert_cases(connection, [case]):
        return None
    terms = {search_terms.normalize(case.case_number), search_terms.reported_by("next"), *numbers_of(case)}
    add_search_terms(connection, [(case.id, terms)])
    if case.transaction_id:
        link_cases(connection, case, now, outcomes_of)
        save_notes(connection, case)
    return case


def case_number_of(dispute: Json) -> str:
    """Returns the case number of a dispute; one that has none is known by its id."""
    return str(dispute.get("case_number") or f"29next-{dispute['id']}").strip()[:MAX_LENGTH]
