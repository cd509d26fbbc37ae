"""Which cases are about the same sale: duplicates, alerts that prevented nothing, and what hints at it."""

from __future__ import annotations

import dataclasses
import typing
from datetime import UTC, datetime

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Text, select, update

from bridge.alert import DisputeType, Effect
from bridge.disputes.answers import adopt, reconsider
from bridge.disputes.case import Case
from bridge.disputes.events import merge
from bridge.providers.fields import MAX_LENGTH
from bridge.storage import words
from bridge.storage.bulk import Question
from bridge.storage.outcomes import Telling
from bridge.storage.rows import case_of, new_id, numbers_of, open_anew, values_of
from bridge.storage.schema import cases, deliveries, marks

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Json = dict[str, typing.Any]

MOST_RELATED = 500
"""Cases that are looked through for one word of theirs."""
MOST_HINTS = 5
"""Other cases with the same ARN or network id that one case is told of."""
CASES = ("c_", "c_~")
"""The ids of cases lie between."""


_HOLDER = Question(
    (("of", Text), ("sold", BigInteger), ("kind", Text), ("itself", Text)),
    lambda given: (
        select(cases.c.id)
        .where(cases.c.store == given.c.of, cases.c.transaction_id == given.c.sold)
        .where(cases.c.type == given.c.kind, cases.c.id != given.c.itself)
        .where(cases.c.dispute_id.is_not(None), cases.c.duplicate_of.is_(None))
        .order_by(cases.c.id)
    ),
    1,
)


class Relating(Telling):
    """Ties cases of one sale to one another."""

    def find_holders(self, found: Sequence[Case]) -> None:
        """Link cases to those that already hold the disputes of their transactions, if there are any.

        A case of the other type is none: what it becomes is its own dispute.
        """
        sales = [{"of": one.store, "sold": one.found, "kind": one.type, "itself": one.id} for one in found]
        with self.database.read() as connection:
            for case, holders in zip(found, _HOLDER.ask(connection, sales), strict=True):
                case.duplicate_of = holders[0]["id"] if holders else None

    def _marked(
        self, connection: Connection, store: str, found: Iterable[str], *conditions: ColumnElement[bool]
    ) -> list[Case]:
        """Return, locked, the cases of a store that are marked with one of some words, oldest first."""
        named = select(marks.c.id).where(marks.c.word.in_(sorted(found)), marks.c.id.between(*CASES))
        wanted = select(cases).where(cases.c.id.in_(named), cases.c.store == store, *conditions)
        rows = connection.execute(wanted.order_by(cases.c.id).limit(MOST_RELATED).with_for_update())
        return [case_of(row) for row in rows]

    def _hint(self, connection: Connection, found: Iterable[Case]) -> None:
        """Say on both where another case has the same ARN or network id: no proof, for rebills share them."""
        told = {case.id: set(map(words.word, _shared(case).values())) for case in found}
        if not any(told.values()):
            return
        other = marks.alias()
        another = select(other.c.id).where(
            other.c.word == marks.c.word, other.c.id != marks.c.id, other.c.id.between(*CASES)
        )  # one is enough; as a join, Postgres may read all there are
        hinted = select(marks.c.id).where(
            marks.c.word.in_(sorted(set().union(*told.values()))),
            marks.c.id.in_(sorted(told)),
            another.limit(1).scalar_subquery().is_not(None),
        )
        for ident in sorted(set(connection.execute(hinted).scalars())):
            self._hint_at(connection, ident)

    def _hint_at(self, connection: Connection, case_id: str) -> None:
        case = case_of(connection.execute(select(cases).where(cases.c.id == case_id)).one())
        told = _shared(case)
        for other in self._sharing(connection, case, told.values()):
            same = [name for name, value in told.items() if getattr(other.facts, name) == value]
            if same:
                case.note(_hinted(same[0], other))
                other.note(_hinted(same[0], case))
                self._save_notes(connection, case)
                self._save_notes(connection, other)

    @staticmethod
    def _sharing(connection: Connection, case: Case, values: Iterable[str]) -> list[Case]:
        """Return, locked, the newest other cases with one of some facts: a placeholder may be in all."""
        newest: set[str] = set()
        for value in values:  # one by one, so that each is answered from the end of its index
            shared = select(marks.c.id).where(marks.c.word == words.word(value), marks.c.id.between(*CASES))
            shared = shared.where(marks.c.id != case.id).order_by(marks.c.id.desc()).limit(MOST_HINTS)
            newest |= set(connection.execute(shared).scalars())
        chosen = select(cases).where(cases.c.id.in_(sorted(newest)), cases.c.store == case.store)
        rows = connection.execute(chosen.order_by(cases.c.id).with_for_update()) if newest else ()
        return [one for one in map(case_of, rows) if one.facts][-MOST_HINTS:]

    def _relate(self, connection: Connection, case: Case, now: float) -> None:
        """Tell the other cases of the same transaction of this one."""
        if case.is_duplicate:
            self._join(connection, case, now)
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
            self._save_notes(connection, other)

    def _join(self, connection: Connection, case: Case, now: float) -> None:
        """Link a duplicate to the case that holds the dispute, and pass on what is wanted of it."""
        holder = self._holder(connection, case, now)
        if holder is None:
            return
        case.duplicate_of, case.pending.held = holder.id, None
        if case.dispute_id in (None, holder.dispute_id):
            case.dispute_id, case.transaction_id = holder.dispute_id, holder.transaction_id
        else:
            case.note(f"Its own dispute {case.dispute_id} was made before the transaction was known.")
        if holder.resolution:
            case.due_at = now
        case.note(f"Dispute {holder.dispute_id} of case {holder.id} is about the same transaction.")
        holder.note(f"Case {case.id} ({case.provider} {case.case_number}) is a duplicate of this one.")
        self._pass_on(holder, case, now)
        case.resolution = _settled_resolution(holder)
        connection.execute(update(cases).where(cases.c.id == holder.id).values(**values_of(holder)))

    def _holder(self, connection: Connection, case: Case, now: float) -> Case | None:
        """Return the case that holds the dispute of a duplicate, making one where nobody knew of it.

        A dispute that was read is news of its own case too, whose creation may still be unclear.
        """
        held = case.pending.held
        if held is None:
            one = select(cases).where(cases.c.id == case.duplicate_of, cases.c.store == case.store)
            one = one.where(cases.c.id != case.id, cases.c.duplicate_of.is_(None))
            row = connection.execute(one.with_for_update()).first()
            return case_of(row) if row else None
        holder = self._tell_dispute(connection, case.store, held, now)
        if holder and holder.dispute_id != held["id"]:  # a second one with its number
            return self._adopt(connection, case.store, {**held, "case_number": None}, now)
        return holder

    def _tell_holder(self, connection: Connection, case: Case, now: float) -> None:
        """Pass a result on that came after its case was found to be a duplicate."""
        one = select(cases).where(cases.c.id == case.duplicate_of).with_for_update()
        if row := connection.execute(one).first():
            holder = case_of(row)
            self._pass_on(holder, case, now)
            case.resolution = _settled_resolution(holder)
            connection.execute(update(cases).where(cases.c.id == holder.id).values(**values_of(holder)))

    @staticmethod
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

    def _pass_back(self, connection: Connection, holder: Case, now: float) -> None:
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
            connection.execute(update(cases).where(cases.c.id == row.id).values(**values_of(case)))

    def _tell_dispute(self, connection: Connection, store: str, told: Json, now: float) -> Case | None:
        """Bring the case of a dispute up to date, or make one, so that its alert will find it.

        Nothing says when it was so, and what is old must not undo what is newer: what contradicts the
        case is read again.
        """
        row = self._case_told_of(connection, store, told)
        if row is None:
            if (made := self._adopt(connection, store, told, now)) is not None:
                return made
            if (row := self._case_told_of(connection, store, told)) is None:
                return None  # else another worker has made it at the same moment
        case = case_of(row)
        before, resolution = case.transaction_id, case.resolution
        if reconsider(case, told):
            open_anew(case, now)
        if case.transaction_id != before:
            self._relate(connection, case, now)
        self._owe(connection, case, now)
        connection.execute(update(cases).where(cases.c.id == case.id).values(**values_of(case)))
        if case.resolution != resolution:
            self._pass_back(connection, case, now)
        return case

    @staticmethod
    def _case_told_of(connection: Connection, store: str, told: Json) -> Row[typing.Any] | None:
        """Find the case of a dispute, by its id, else by its number and type."""
        held = (cases.c.dispute_id == told["id"], cases.c.duplicate_of.is_(None))
        named = (cases.c.case_number == number_of(told), cases.c.type == str(told.get("type")))
        for conditions in (held, named):
            one = select(cases).where(cases.c.store == store, *conditions).with_for_update()
            if row := connection.execute(one).first():
                return row
        return None

    def _adopt(self, connection: Connection, store: str, told: Json, now: float) -> Case | None:
        """Make a case of a dispute that somebody else made: its alert finds it, or becomes its duplicate."""
        if told.get("type") not in set(DisputeType):
            return None
        case = Case(
            id=new_id("c", now),
            store=store,
            case_number=number_of(told),
            type=DisputeType(told["type"]),
            provider="next",
            providers=["next"],
            opened_at=now,
            deadline_at=now,
        )
        adopt(case, told)
        fresh = self._insert(cases).values(**values_of(case), id=case.id, fence=0)
        keys = ["store", "case_number", "type"]
        made = fresh.on_conflict_do_nothing(index_elements=keys).returning(cases.c.id)
        if connection.execute(made).first() is None:
            return None
        found = {words.word(case.case_number), words.reported_by("next"), *numbers_of(case)}
        self._mark(connection, [(case.id, found)])
        if case.transaction_id:
            self._relate(connection, case, now)
            self._save_notes(connection, case)
        return case

    @staticmethod
    def _save_notes(connection: Connection, case: Case) -> None:
        connection.execute(update(cases).where(cases.c.id == case.id).values(notes=case.notes))


def _settled_resolution(holder: Case) -> str | None:
    """Return how a dispute is resolved, unless another result is about to take its place."""
    return holder.resolution if holder.standing == holder.resolution else None


def number_of(told: Json) -> str:
    """Return the case number of a dispute as 29next tells it; one that has none is known by its id."""
    return str(told.get("case_number") or f"29next-{told['id']}").strip()[:MAX_LENGTH]


def _shared(case: Case) -> dict[str, str]:
    """Return the facts by which two cases may be found to be about the same sale."""
    names = ("arn", "network_transaction_id")
    return {name: value for name in names if case.facts and (value := getattr(case.facts, name))}


def _hinted(name: str, other: Case) -> str:
    what = {"arn": "ARN", "network_transaction_id": "network transaction id"}[name]
    number = f"{other.type} {other.case_number} ({other.id})"
    return f"It has the same {what} as {number}: perhaps the same sale."
