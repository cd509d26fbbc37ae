"""The second queue: cases with work, claimed with a lease and a fencing token, and settled under it."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from sqlalchemy import Connection, Row, Select, bindparam, exists, or_, select, true, update
from sqlalchemy import case as either

from bridge.alert import Reason
from bridge.disputes.case import Case
from bridge.disputes.retry import LONGEST_RETRY_AFTER
from bridge.errors import TooLate
from bridge.pace import Slot
from bridge.storage.attempts import Attempt, record_attempts
from bridge.storage.database import Database
from bridge.storage.duplicates import link_cases, pass_to_duplicates
from bridge.storage.outcomes import OutcomesOf, add_outcomes
from bridge.storage.rows import (
    IS_FREE,
    NOT_LEASED,
    SET_BACK,
    Claim,
    Delivery,
    Settlement,
    Terms,
    add_search_terms,
    case_of,
    json_of,
    lease_parameters,
    numbers_of,
    pending_of,
    write_cases,
)
from bridge.storage.schema import attempts, cases, deliveries, paces, stores
from bridge.storage.slots import Slots

log = structlog.get_logger()

PROBE_SECONDS = 30.0
"""Seconds between two probes of a paused store."""

Values = dict[str, typing.Any]


_DUE = (
    select(cases.c.id)
    .where(cases.c.store == stores.c.name, cases.c.due_at <= bindparam("now"))
    .where(IS_FREE)
    .order_by(cases.c.deadline_at, cases.c.id)
    .limit(1)
    .scalar_subquery()
)
_READY = (
    select(
        paces.c.token,
        stores.c.name,
        stores.c.paused_at.is_not(None).label("probes"),
        _DUE.label("case_id"),
    )
    .join(stores, stores.c.token == paces.c.token)
    .where(stores.c.name.in_(bindparam("names", expanding=True)))
    .where(or_(paces.c.next_at <= bindparam("opens"), paces.c.next_at > bindparam("set_back")))
    .where(or_(stores.c.paused_at.is_(None), stores.c.probe_at <= bindparam("now")))
    .order_by(paces.c.next_at)
)
_CLAIMED = (
    select(cases)
    .where(cases.c.id.in_(bindparam("idents", expanding=True)), IS_FREE)
    .order_by(cases.c.id)  # one order for all, so no deadlock
    .with_for_update(skip_locked=True)
)
_HAS_LAPSED = either((cases.c.lease_until > NOT_LEASED, 1), else_=0)
_LEASE = (
    update(cases)
    .where(cases.c.id.in_(bindparam("idents", expanding=True)))
    .values(lease_until=bindparam("until"), fence=cases.c.fence + 1, lapses=cases.c.lapses + _HAS_LAPSED)
)
_MOST_URGENT = (
    select(deliveries.c.case_id, deliveries.c.id)
    .where(deliveries.c.case_id.in_(bindparam("idents", expanding=True)), deliveries.c.settled_at.is_(None))
    .order_by(deliveries.c.deadline_at.desc(), deliveries.c.id.desc())
)


_UNDER_FENCE = update(cases).where(cases.c.id == bindparam("ident"), cases.c.fence == bindparam("taken"))
_LEASE_UNTIL = _UNDER_FENCE.values(lease_until=bindparam("until"))
_ANY = select(cases).where(cases.c.id.in_(bindparam("idents", expanding=True))).order_by(cases.c.id)
_WAIT_FOR_LOCK, _SKIP_LOCKED = _ANY.with_for_update(), _ANY.with_for_update(skip_locked=True)
_INTENDED = attempts.insert()

_DELIVERY = update(deliveries).where(deliveries.c.id == bindparam("ident"))
_OTHER = cases.alias("other")
_SHARED = select(cases.c.id).where(
    cases.c.id.in_(bindparam("idents", expanding=True)),
    exists().where(
        _OTHER.c.store == cases.c.store,
        _OTHER.c.transaction_id == cases.c.transaction_id,
        _OTHER.c.id != cases.c.id,
    ),
)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of a claimed case: how it changes the case, and the record of its call."""

    claim: Claim
    change: Callable[[Case, list[Delivery]], Settlement]
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class _Changes:
    """What a step changes: its case, and rows beside it."""

    case: Case
    terms: list[Terms]
    ended: list[Values]  # of the rows of deliveries
    waiting: list[Values]
    is_related: bool
    has_result: bool


class Queue:
    """Gives cases to workers, one call at a time, and records how the calls went."""

    def __init__(self, database: Database, slots: Slots, lease: float, outcomes_of: OutcomesOf) -> None:
        self.database = database
        self.slots = slots
        self.lease = lease
        self.outcomes_of = outcomes_of
        self._one_statement = bool(slots.gap) and not database.sqlite
        self._intent_statement = _intent_statement(slots.near)
        self._settle_together = database.sharing(self._settle_all)

    def claim(self, names: Sequence[str], most: int) -> list[Claim]:
        """Claims the most urgent case of each named store whose next slot opens within one gap.

        The stores that have waited longest come first, and each token gets one case at most. Each case is
        leased with a new fencing token, so a worker with an older one cannot write.
        """
        now = self.database.now()
        parameters = {
            **lease_parameters(now, self.lease),
            "names": names,
            "opens": now + self.slots.gap,
            "set_back": now + LONGEST_RETRY_AFTER + SET_BACK,
        }
        ready = self.database.rows(_READY, parameters) if names else []
        by_token = {row.token: row for row in reversed(ready) if row.case_id is not None}
        chosen = {row.case_id: row for row in list(reversed(by_token.values()))[:most]}
        if not chosen:
            return []

        def write(connection: Connection) -> list[Claim]:
            rows = connection.execute(_CLAIMED, {**parameters, "idents": list(chosen)}).all()
            if not rows:
                return []
            until, idents = now + self.lease, [row.id for row in rows]
            connection.execute(_LEASE, {"idents": idents, "until": until})
            for row in rows:
                if chosen[row.id].probes:
                    probe = update(stores).where(stores.c.name == row.store)
                    connection.execute(probe.values(probe_at=now + PROBE_SECONDS))
            pending = connection.execute(_MOST_URGENT, {"idents": idents})
            urgent = {row.case_id: row.id for row in pending}  # the last of a case is the most urgent
            return [
                Claim(
                    replace(case, fence=row.fence + 1), until, urgent.get(row.id), bool(chosen[row.id].probes)
                )
                for row in rows
                if (case := _read_case(row))
            ]

        return self.database.write(write)

    def release(self, claim: Claim) -> None:
        """Gives back the lease of a case for which nothing was done."""
        self._lease_until(claim, NOT_LEASED)

    def extend_lease(self, claim: Claim) -> None:
        """Extends a lease, for a step of several calls."""
        self._lease_until(claim, self.database.now() + self.lease)

    def _lease_until(self, claim: Claim, until: float) -> None:
        parameters = {**_fence_of(claim), "until": until}
        self.database.write(lambda connection: connection.execute(_LEASE_UNTIL, parameters))

    def take_slot(self, token: str) -> Slot | None:
        """Takes a slot for a read; returns None if it opens too far ahead."""
        return self.database.write(lambda connection: self.slots.take_near(connection, token))

    def take_another_slot(self, claim: Claim, token: str) -> Slot:
        """Takes another slot for a call that missed its slot, and extends the lease with it.

        Raises TooLate if another worker has the case now, which may make the same call, or if the slot
        opens too far ahead.
        """
        parameters = {**_fence_of(claim), "until": self.database.now() + self.lease}

        def write(connection: Connection) -> Slot:
            if not connection.execute(_LEASE_UNTIL, parameters).rowcount:
                raise TooLate("Another worker holds the case.")
            if (slot := self.slots.take_near(connection, token)) is None:
                raise TooLate("The store's next time slot is too far away.")
            return slot

        return self.database.write(write)

    def commit_intent(self, claim: Claim, attempt: Attempt, token: str) -> Slot | None:
        """Takes a slot for a write, and commits that it is about to be sent.

        Returns None, with neither done, if the slot opens too far ahead or another worker has the case now.
        """
        if self._one_statement:
            return self._commit_intent_by_one_statement(claim, attempt, token)
        values = _fence_of(claim) | _unconfirmed_values(claim.case)

        def write(connection: Connection) -> Slot | None:
            slot = self.slots.take_near(connection, token)
            if slot is None or not connection.execute(_UNDER_FENCE, values).rowcount:
                return None
            connection.execute(_INTENDED, attempt.row())
            return slot

        return self.database.write(write)

    def _commit_intent_by_one_statement(self, claim: Claim, attempt: Attempt, token: str) -> Slot | None:
        """Commits the intent in one statement: a transaction with three takes five round trips."""
        values = {
            **_fence_of(claim),
            **{f"case_{name}": value for name, value in _unconfirmed_values(claim.case).items()},
            **{f"call_{name}": value for name, value in attempt.row().items()},
        }

        def write(connection: Connection) -> Slot | None:
            return self.slots.timed(connection, self._intent_statement, token, values)

        return self.database.write(write, by_one_statement=True)

    def settle(
        self,
        claim: Claim,
        change: Callable[[Case, list[Delivery]], Settlement],
        attempt: Attempt | None = None,
    ) -> bool:
        """Records an attempt, lets `change` update its case, and gives the lease back.

        The case is read again under lock, since alerts may have been merged meanwhile. Returns False if
        another worker has the case now; then only the attempt is recorded.
        """
        step = _Step(claim, change, attempt)
        is_ours = self._settle_together(step)
        if is_ours is None:
            waiting = partial(self._settle_all, steps=[step], waits=True)
            [is_ours] = self.database.write(waiting)
        return bool(is_ours)

    def _settle_all(
        self, connection: Connection, steps: Sequence[_Step], *, waits: bool = False
    ) -> list[bool | None]:
        """Settles the cases of some steps; returns whether each claim was valid, or None for a locked case.

        A locked case delays no other: it is left out, unless this `waits`.
        """
        now = self.database.now()
        record_attempts(connection, [step.attempt for step in steps if step.attempt])
        parameters = {"idents": [step.claim.case_id for step in steps]}
        rows = {
            row.id: row for row in connection.execute(_WAIT_FOR_LOCK if waits else _SKIP_LOCKED, parameters)
        }
        are_valid = [_is_valid(step.claim, rows.get(step.claim.case_id), waits=waits) for step in steps]
        ours = [step for step, is_valid in zip(steps, are_valid, strict=True) if is_valid]
        pending = pending_of(connection, [step.claim.case_id for step in ours])
        made = [
            _apply_step(step, case_of(rows[step.claim.case_id]), pending[step.claim.case_id], now)
            for step in ours
        ]
        write_cases(connection, [changes.case for changes in made])
        add_search_terms(connection, [terms for changes in made for terms in changes.terms])
        for values in (
            [row for changes in made for row in changes.ended],
            [row for changes in made for row in changes.waiting],
        ):
            if values:
                connection.execute(_DELIVERY, values)
        shared = _shared(connection, [changes.case.id for changes in made if changes.is_related])
        for changes in made:
            case, has_result = changes.case, changes.has_result
            is_related = changes.is_related and (case.is_duplicate or case.id in shared)
            if is_related or has_result:
                self._update_related(connection, case.id, now, is_related=is_related, has_result=has_result)
        return are_valid

    def _update_related(
        self, connection: Connection, case_id: str, now: float, *, is_related: bool, has_result: bool
    ) -> None:
        """Updates the other cases of the same sale, and adds the outcome for the providers."""
        case = case_of(connection.execute(select(cases).where(cases.c.id == case_id)).one())
        if is_related:
            link_cases(connection, case, now, self.outcomes_of)
        if has_result:
            pass_to_duplicates(connection, case, now)
            add_outcomes(connection, case, now, self.outcomes_of)
        write_cases(connection, [case])


def _unconfirmed_values(case: Case) -> Values:
    """Returns the values of a case while a write of it may have happened."""
    return {"unconfirmed": json_of(case.unconfirmed), "state": case.state, "match": json_of(case.match)}


def _intent_statement(near: typing.Any) -> Select[typing.Any]:
    """Returns the statement that commits an intent on Postgres; it returns a row only if all was done."""
    slot = near.cte("slot")
    values = {
        name: bindparam(f"case_{name}", type_=cases.c[name].type)
        for name in ("unconfirmed", "state", "match")
    }
    case = _UNDER_FENCE.where(select(slot).exists()).values(values).returning(cases.c.id).cte("ours")
    call_values = (bindparam(f"call_{column.name}", type_=column.type) for column in attempts.columns)
    row = select(*call_values).select_from(case)
    recorded = _INTENDED.from_select(attempts.columns.keys(), row).returning(attempts.c.id).cte("recorded")
    return select(slot.c.seconds).join(recorded, true())


def _fence_of(claim: Claim) -> Values:
    """Returns the parameters of _UNDER_FENCE."""
    return {"ident": claim.case_id, "taken": claim.case.fence}


def _is_valid(claim: Claim, row: Row[typing.Any] | None, *, waits: bool) -> bool | None:
    """Whether no other worker has claimed the case since; None if its row is locked."""
    if row is None:
        return False if waits else None
    return bool(row.fence == claim.case.fence)


def _apply_step(step: _Step, case: Case, pending: list[Delivery], now: float) -> _Changes:
    """Applies a step to its case, and gives the lease back."""
    numbers, relations, result = numbers_of(case), _relations(case), _result(case)
    settlement = step.change(case, pending)
    case.lease_until = NOT_LEASED
    fresh = numbers_of(case) - numbers
    idents = [case.id, *(delivery.id for delivery in pending)] if fresh else []
    ended = settlement.settled
    return _Changes(
        case=case,
        terms=[(ident, fresh) for ident in idents],
        ended=[_ended(settlement, delivery, now) for delivery in pending if delivery.id in ended],
        waiting=[
            _waiting(case, settlement, delivery, now) for delivery in pending if delivery.id not in ended
        ],
        is_related=_relations(case) != relations,
        has_result=_result(case) != result,
    )


def _read_case(row: Row[typing.Any]) -> Case | None:
    """Reads a case; None if it cannot be read: it stays leased, so that it delays no other."""
    try:
        return case_of(row)
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        log.error("case cannot be read", case=row.id, why=type(error).__name__)
        return None


def _shared(connection: Connection, idents: list[str]) -> set[str]:
    """Returns those of some cases whose sale another case is about, too."""
    return set(connection.execute(_SHARED, {"idents": idents}).scalars()) if idents else set()


def _relations(case: Case) -> tuple[object, ...]:
    return (case.is_duplicate, case.transaction_id)


def _result(case: Case) -> tuple[object, ...]:
    return (case.resolution, case.trouble.refusal)


def _ended(settlement: Settlement, delivery: Delivery, now: float) -> Values:
    """Returns the new values of a delivery that has ended."""
    end = settlement.settled[delivery.id]
    over = {"ident": delivery.id, "due_at": None, "settled_at": now}
    return over | {"status": end.status, "reason": end.reason, "message": end.message}


def _waiting(case: Case, settlement: Settlement, delivery: Delivery, now: float) -> Values:
    """Returns the new values of a delivery that is still pending."""
    paused = Reason.STORE_PAUSED if delivery.reason == Reason.STORE_PAUSED else None
    return {
        "ident": delivery.id,
        "reason": Reason.WAITING_FOR_OPENING if settlement.waits_for_opening else paused,
        "message": settlement.message,
        "due_at": case.due_at,
        "tries": case.tries,
        "late": delivery.deadline_at < now,
    }
