"""Cases of one sale: duplicates, alerts that prevented nothing, and disputes that 29next tells of."""

from __future__ import annotations

import dataclasses
import typing
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, select

from bridge.alert import DisputeType, Effect
from bridge.disputes.answers import adopt, reconsider
from bridge.disputes.case import Case
from bridge.disputes.events import merge
from bridge.providers.fields import MAX_LENGTH
from bridge.storage import words
from bridge.storage.hints import save_notes
from bridge.storage.ids import new_id
from bridge.storage.outcomes import owe
from bridge.storage.rows import case_of, insert_cases, mark, numbers_of, open_anew, write_cases
from bridge.storage.schema import cases, deliveries

if typing.TYPE_CHECKING:
    from bridge.storage.outcomes import Told

Json = dict[str, typing.Any]


def relate(connection: Connection, case: Case, now: float, told: Told) -> None:
    """Tell the other cases of the same transaction of this one."""
    if case.is_duplicate:
        _join(connection, case, now, told)
    if case.is_duplicate or case.transaction_id is None:
        return
    same = select(cases).where(
        cases.c.store == case.store,
        cases.c.transaction_id == case.transaction_id,
        cases.c.type != case.type,
        cases.c.duplicate_of.is_(None),
    )
    for row in connection.execute(same.order_by(cases.c.id).with_for_update()).all():
        other = case_of(row)
        alert, chargeback = (other, case) if case.type is DisputeType.CHARGEBACK else (case, other)
        alert.note(f"The alert did not prevent chargeback {chargeback.case_number} ({chargeback.id}).")
        chargeback.note(f"Alert {alert.case_number} ({alert.id}) did not prevent it.")
        save_notes(connection, other)


# --- duplicates ---------------------------------------------------------------------------------


def _join(connection: Connection, case: Case, now: float, told: Told) -> None:
    """Link a duplicate to the case that holds the dispute, and pass on what is wanted of it."""
    holder = _holder(connection, case, now, told)
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
    _pass_on(holder, case, now)
    case.resolution = _settled_resolution(holder)
    write_cases(connection, [holder])


def _holder(connection: Connection, case: Case, now: float, told: Told) -> Case | None:
    """Return the case that holds the dispute of a duplicate, making one where nobody knew of it.

    A dispute that was read is news of its own case too, whose creation may still be unclear.
    """
    held = case.pending.held
    if held is None:
        one = select(cases).where(cases.c.id == case.duplicate_of, cases.c.store == case.store)
        one = one.where(cases.c.id != case.id, cases.c.duplicate_of.is_(None))
        row = connection.execute(one.with_for_update()).first()
        return case_of(row) if row else None
    holder = tell_dispute(connection, case.store, held, now, told)
    if holder and holder.dispute_id != held["id"]:  # a second one with its number
        return _adopt(connection, case.store, {**held, "case_number": None}, now, told)
    return holder


def tell_holder(connection: Connection, case: Case, now: float) -> None:
    """Pass a result on that came after its case was found to be a duplicate."""
    one = select(cases).where(cases.c.id == case.duplicate_of).with_for_update()
    if row := connection.execute(one).first():
        holder = case_of(row)
        _pass_on(holder, case, now)
        case.resolution = _settled_resolution(holder)
        write_cases(connection, [holder])


def _pass_on(holder: Case, case: Case, now: float) -> None:
    """Let the case that holds the dispute want the result of its duplicate."""
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


def pass_back(connection: Connection, holder: Case, now: float) -> None:
    """Let the duplicates of a case know how its dispute was resolved, or why it is not."""
    refusal = holder.trouble.refusal
    owed = select(deliveries.c.id).where(deliveries.c.case_id == cases.c.id)
    owed = owed.where(deliveries.c.settled_at.is_(None))
    waiting = select(cases).where(cases.c.duplicate_of == holder.id, owed.exists())
    for row in connection.execute(waiting.order_by(cases.c.id).with_for_update(of=cases)).all():
        case = case_of(row)
        case.resolution = _settled_resolution(holder)
        case.due_at = now
        case.pending.refused = refusal or case.pending.refused
        write_cases(connection, [case])


def _settled_resolution(holder: Case) -> str | None:
    """Return how a dispute is resolved, unless another result is about to take its place."""
    return holder.resolution if holder.standing == holder.resolution else None


# --- disputes of 29next -------------------------------------------------------------------------


def tell_dispute(connection: Connection, store: str, dispute: Json, now: float, told: Told) -> Case | None:
    """Bring the case of a dispute up to date, or make one, so that its alert will find it.

    Nothing says when it was so, and what is old must not undo what is newer: what contradicts the
    case is read again.
    """
    row = _case_of(connection, store, dispute)
    if row is None:
        if (made := _adopt(connection, store, dispute, now, told)) is not None:
            return made
        if (row := _case_of(connection, store, dispute)) is None:
            return None  # else another worker has made it at the same moment
    case = case_of(row)
    before, resolution = case.transaction_id, case.resolution
    if reconsider(case, dispute):
        open_anew(case, now)
    if case.transaction_id != before:
        relate(connection, case, now, told)
    owe(connection, case, now, told)
    write_cases(connection, [case])
    if case.resolution != resolution:
        pass_back(connection, case, now)
    return case


def _case_of(connection: Connection, store: str, dispute: Json) -> Row[typing.Any] | None:
    """Find the case of a dispute, by its id, else by its number and type."""
    held = (cases.c.dispute_id == dispute["id"], cases.c.duplicate_of.is_(None))
    named = (cases.c.case_number == number_of(dispute), cases.c.type == str(dispute.get("type")))
    for conditions in (held, named):
        one = select(cases).where(cases.c.store == store, *conditions).with_for_update()
        if row := connection.execute(one).first():
            return row
    return None


def _adopt(connection: Connection, store: str, dispute: Json, now: float, told: Told) -> Case | None:
    """Make a case of a dispute that somebody else made: its alert finds it, or becomes its duplicate."""
    if dispute.get("type") not in set(DisputeType):
        return None
    case = Case(
        id=new_id("c", now),
        store=store,
        case_number=number_of(dispute),
        type=DisputeType(dispute["type"]),
        provider="next",
        providers=["next"],
        opened_at=now,
        deadline_at=now,
    )
    adopt(case, dispute)
    if not insert_cases(connection, [case]):
        return None
    found = {words.word(case.case_number), words.reported_by("next"), *numbers_of(case)}
    mark(connection, [(case.id, found)])
    if case.transaction_id:
        relate(connection, case, now, told)
        save_notes(connection, case)
    return case


def number_of(dispute: Json) -> str:
    """Return the case number of a dispute as 29next tells it; one that has none is known by its id."""
    return str(dispute.get("case_number") or f"29next-{dispute['id']}").strip()[:MAX_LENGTH]
