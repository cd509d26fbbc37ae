"""The second queue: cases with work, claimed with a lease and a fencing token, and settled under it."""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection, Row, Select, and_, bindparam, exists, or_, select, true, update

from bridge.alert import Reason
from bridge.disputes.retry import LONGEST_RETRY_AFTER
from bridge.errors import TooLate
from bridge.pace import LATE, Moment
from bridge.storage.duplicates import link_cases, pass_to_duplicates
from bridge.storage.outcomes import add_outcomes
from bridge.storage.rows import (
    IS_FREE,
    NOT_LEASED,
    SET_BACK,
    Claim,
    Delivery,
    Settlement,
    add_search_terms,
    case_of,
    json_of,
    lease_parameters,
    numbers_of,
    pending_of,
    write_cases,
)
from bridge.storage.schema import attempts, cases, deliveries, paces, stores
from bridge.storage.upsert import insert_or_update

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.disputes.case import Case
    from bridge.pace import Slot
    from bridge.storage.database import Database
    from bridge.storage.outcomes import OutcomesOf
    from bridge.storage.rows import Terms
    from bridge.storage.slots import Slots

log = structlog.get_logger()

PROBE_SECONDS = 30.0
"""How often a store that refuses the bridge is tried with one call."""

Values = dict[str, typing.Any]
Attempt = Values


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
_LEASE = (
    update(cases)
    .where(cases.c.id == bindparam("ident"))
    .values(lease_until=bindparam("until"), fence=bindparam("taken"), lapses=bindparam("lapsed"))
)
_MOST_URGENT = (
    select(deliveries.c.case_id, deliveries.c.id)
    .where(deliveries.c.case_id.in_(bindparam("idents", expanding=True)), deliveries.c.settled_at.is_(None))
    .order_by(deliveries.c.deadline_at.desc(), deliveries.c.id.desc())
)


_IS_HELD = and_(cases.c.id == bindparam("ident"), cases.c.fence == bindparam("taken"))
_HELD = update(cases).where(_IS_HELD)
_LEASE_UNTIL = _HELD.values(lease_until=bindparam("until"))
_ANY = select(cases).where(cases.c.id.in_(bindparam("idents", expanding=True))).order_by(cases.c.id)
_WAITED_FOR, _AT_ONCE = _ANY.with_for_update(), _ANY.with_for_update(skip_locked=True)
_INTENDED = attempts.insert()
_TOLD = ("id", "case_id", "delivery_id", "store", "method", "path", "request", "outcome", "started_at")
"""What is known of an attempt before it is made."""
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
    """A step that was made for a claimed case: what it changes, and the record of its call."""

    claim: Claim
    change: Callable[[Case, list[Delivery]], Settlement]
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class _Settled:
    """What follows from a step beside its case's own row."""

    found: list[Terms]
    ended: list[Values]  # of the rows of deliveries
    waiting: list[Values]
    is_related: bool
    has_result: bool


class Queue:
    """Gives out cases one call at a time, and records what came of it."""

    def __init__(self, database: Database, slots: Slots, lease: float, told: OutcomesOf) -> None:
        self.database = database
        self.slots = slots
        self.lease = lease
        self.told = told
        self._at_once = bool(slots.gap) and not database.sqlite
        self._intending = _by_one_statement(slots.near)
        self._settle_together = database.sharing(self._settle_all)

    def claim(self, names: Sequence[str], most: int) -> list[Claim]:
        """Take the most urgent case of some named stores whose next slot opens within one gap.

        The stores that have waited longest come first, and a token has one case at most. Each case is
        leased with a new fencing token, so that a worker that comes too late changes nothing.
        """
        now = self.database.now()
        asked = {
            **lease_parameters(now, self.lease),
            "names": names,
            "opens": now + self.slots.gap,
            "set_back": now + LONGEST_RETRY_AFTER + SET_BACK,
        }
        with self.database.read() as connection:
            ready = connection.execute(_READY, asked).all() if names else []
        by_token = {row.token: row for row in reversed(ready) if row.case_id is not None}
        found = {row.case_id: row for row in list(reversed(by_token.values()))[:most]}
        if not found:
            return []

        def write(connection: Connection) -> list[Claim]:
            rows = connection.execute(_CLAIMED, {**asked, "idents": list(found)}).all()
            if not rows:
                return []
            until = now + self.lease
            leases = [
                {
                    "ident": row.id,
                    "until": until,
                    "taken": row.fence + 1,
                    "lapsed": row.lapses + (row.lease_until > NOT_LEASED),
                }
                for row in rows
            ]
            connection.execute(_LEASE, leases)
            for row in rows:
                if found[row.id].probes:
                    probe = update(stores).where(stores.c.name == row.store)
                    connection.execute(probe.values(probe_at=now + PROBE_SECONDS))
            urgent = {
                row.case_id: row.id
                for row in connection.execute(_MOST_URGENT, {"idents": [row.id for row in rows]})
            }
            held = [(row, case) for row in rows if (case := _readable(row))]
            return [
                Claim(
                    replace(case, fence=row.fence + 1), until, urgent.get(row.id), bool(found[row.id].probes)
                )
                for row, case in held
            ]

        return self.database.write(write)

    def give_back(self, claim: Claim) -> None:
        """Let a case be claimed again at once, where nothing came of its claim."""
        self._lease_until(claim, NOT_LEASED)

    def hold(self, claim: Claim) -> None:
        """Prolong a lease, for a step of several calls."""
        self._lease_until(claim, self.database.now() + self.lease)

    def _lease_until(self, claim: Claim, until: float) -> None:
        held = {**_held(claim), "until": until}
        self.database.write(lambda connection: connection.execute(_LEASE_UNTIL, held))

    def take_slot(self, token: str) -> Slot | None:
        """Take a slot for a question; None where it opens too far ahead."""
        return self.database.write(lambda connection: self.slots.take_near(connection, token))

    def take_again(self, claim: Claim, token: str) -> Slot:
        """Take another slot for a call that missed its own; the lease is prolonged with it.

        Raises TooLate where the case is another worker's now, which may make the very same call, and
        where the slot opens too far ahead.
        """
        held = {**_held(claim), "until": self.database.now() + self.lease}

        def write(connection: Connection) -> Slot:
            if not connection.execute(_LEASE_UNTIL, held).rowcount:
                raise TooLate("Another worker holds the case.")
            if (slot := self.slots.take_near(connection, token)) is None:
                raise TooLate("The store's next time slot is too far away.")
            return slot

        return self.database.write(write)

    def intend(self, claim: Claim, attempt: Attempt, token: str) -> Slot | None:
        """Take a slot for a write, and commit that it is about to be sent; None leaves both undone.

        It is None where the slot opens too far ahead, or where the case is another worker's now.
        """
        if self._at_once:
            return self._intend_at_once(claim, attempt, token)
        doubt = _held(claim) | _doubt(claim.case)

        def write(connection: Connection) -> Slot | None:
            slot = self.slots.take_near(connection, token)
            if slot is None or not connection.execute(_HELD, doubt).rowcount:
                return None
            connection.execute(_INTENDED, attempt)
            return slot

        return self.database.write(write)

    def _intend_at_once(self, claim: Claim, attempt: Attempt, token: str) -> Slot | None:
        """Do the same by one statement: a transaction of three takes five round trips."""
        asked = {
            **self.slots.asked(token),
            **_held(claim),
            **{f"case_{name}": value for name, value in _doubt(claim.case).items()},
            **{f"call_{name}": attempt[name] for name in _TOLD},
        }

        def write(connection: Connection) -> Slot | None:
            before = Moment()
            seconds = connection.execute(self._intending, asked).scalar_one_or_none()
            return None if seconds is None else before.slot(float(seconds), LATE)

        return self.database.write(write, by_one_statement=True)

    def settle(
        self,
        claim: Claim,
        change: Callable[[Case, list[Delivery]], Settlement],
        attempt: Attempt | None = None,
    ) -> bool:
        """Record an attempt, let `change` bring its case up to date, and give the lease back.

        The case is read again under lock, for alerts may have been merged meanwhile. It is False, with
        the attempt only recorded, where another worker holds the case now.
        """
        step = _Step(claim, change, attempt)
        held = self._settle_together(step)
        if held is None:
            held = self.database.write(lambda connection: self._settle_all(connection, [step], waits=True)[0])
        return bool(held)

    def _settle_all(
        self, connection: Connection, steps: Sequence[_Step], *, waits: bool = False
    ) -> list[bool | None]:
        """Settle the cases of some steps; says of each whether its case was held, None where it is locked.

        One locked case holds up no other: unless it `waits`, it is left out.
        """
        now = self.database.now()
        insert_or_update(connection, attempts, *(step.attempt for step in steps if step.attempt))
        asked = {"idents": [step.claim.case_id for step in steps]}
        rows = {row.id: row for row in connection.execute(_WAITED_FOR if waits else _AT_ONCE, asked)}
        held = [_is_held(step.claim, rows.get(step.claim.case_id), waits=waits) for step in steps]
        ours = [
            (step, case_of(rows[step.claim.case_id]))
            for step, is_ours in zip(steps, held, strict=True)
            if is_ours
        ]
        owed = pending_of(connection, [case.id for _, case in ours])
        settled = [_settled(step, case, owed[case.id], now) for step, case in ours]
        write_cases(connection, [case for _, case in ours])
        add_search_terms(connection, [found for one in settled for found in one.found])
        for changed in (
            [row for one in settled for row in one.ended],
            [row for one in settled for row in one.waiting],
        ):
            if changed:
                connection.execute(_DELIVERY, changed)
        related = [case.id for (_, case), one in zip(ours, settled, strict=True) if one.is_related]
        shared = _shared(connection, related)
        for (_, case), one in zip(ours, settled, strict=True):
            is_related = one.is_related and (case.is_duplicate or case.id in shared)
            if is_related or one.has_result:
                self._tell_others(connection, case.id, now, is_related=is_related, has_result=one.has_result)
        return held

    def _tell_others(
        self, connection: Connection, case_id: str, now: float, *, is_related: bool, has_result: bool
    ) -> None:
        """Let the other cases of the same sale know, and owe the outcome to the providers."""
        case = case_of(connection.execute(select(cases).where(cases.c.id == case_id)).one())
        if is_related:
            link_cases(connection, case, now, self.told)
        if has_result:
            pass_to_duplicates(connection, case, now)
            add_outcomes(connection, case, now, self.told)
        write_cases(connection, [case])


def _doubt(case: Case) -> Values:
    """Return what the row of a case says while a write of it may have happened."""
    return {"unconfirmed": json_of(case.unconfirmed), "state": case.state, "match": json_of(case.match)}


def _by_one_statement(near: typing.Any) -> Select[typing.Any]:
    """Make one statement of an intent (Postgres); it answers the slot where all of it was done."""
    slot = near.cte("slot")
    doubt = {
        name: bindparam(f"case_{name}", type_=cases.c[name].type)
        for name in ("unconfirmed", "state", "match")
    }
    held = _HELD.where(select(slot).exists()).values(doubt).returning(cases.c.id).cte("held")
    told = (bindparam(f"call_{name}", type_=attempts.c[name].type) for name in _TOLD)
    row = select(*told).select_from(held)
    noted = _INTENDED.from_select(_TOLD, row).returning(attempts.c.id).cte("noted")
    return select(slot.c.seconds).join(noted, true())


def _held(claim: Claim) -> dict[str, typing.Any]:
    """Return what tells the case that a claim still holds."""
    return {"ident": claim.case_id, "taken": claim.fence}


def _is_held(claim: Claim, row: Row[typing.Any] | None, *, waits: bool) -> bool | None:
    """Whether the row of a claimed case still says so; None where another transaction has it locked."""
    if row is None:
        return False if waits else None
    return bool(row.fence == claim.fence)


def _settled(step: _Step, case: Case, owed: list[Delivery], now: float) -> _Settled:
    """Let a step change its case, and give the lease back."""
    numbers, relations, result = numbers_of(case), _relations(case), _result(case)
    ending = step.change(case, owed)
    case.lease_until = NOT_LEASED
    fresh = numbers_of(case) - numbers
    return _Settled(
        found=[(ident, fresh) for ident in (case.id, *(one.id for one in owed))] if fresh else [],
        ended=[_ended(ending, one, now) for one in owed if one.id in ending.settled],
        waiting=[_waiting(case, ending, one, now) for one in owed if one.id not in ending.settled],
        is_related=_relations(case) != relations,
        has_result=_result(case) != result,
    )


def _readable(row: Row[typing.Any]) -> Case | None:
    """Read a case, or say that it cannot be read: leased all the same, it holds up no other."""
    try:
        return case_of(row)
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        log.error("case cannot be read", case=row.id, why=type(error).__name__)
        return None


def _shared(connection: Connection, idents: list[str]) -> set[str]:
    """Return those of some cases whose sale another case is about, too."""
    return set(connection.execute(_SHARED, {"idents": idents}).scalars()) if idents else set()


def _relations(case: Case) -> tuple[object, ...]:
    return (case.is_duplicate, case.transaction_id)


def _result(case: Case) -> tuple[object, ...]:
    return (case.resolution, case.trouble.refusal)


def _ended(ending: Settlement, one: Delivery, now: float) -> dict[str, typing.Any]:
    """Return what the row of a delivery says that is owed no more."""
    end = ending.settled[one.id]
    over = {"ident": one.id, "due_at": None, "settled_at": now}
    return over | {"status": end.status, "reason": end.reason, "message": end.message}


def _waiting(case: Case, ending: Settlement, one: Delivery, now: float) -> dict[str, typing.Any]:
    """Return what the row of a delivery says that is still owed."""
    paused = Reason.STORE_PAUSED if one.reason == Reason.STORE_PAUSED else None
    return {
        "ident": one.id,
        "reason": Reason.WAITING_FOR_OPENING if ending.waits_for_opening else paused,
        "message": ending.message,
        "due_at": case.due_at,
        "tries": case.tries,
        "late": one.deadline_at < now,
    }
