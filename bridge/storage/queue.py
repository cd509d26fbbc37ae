"""The second queue: cases with work, claimed with a slot and a lease, and settled under their fence."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection, Row, bindparam, func, or_, select, update

from bridge.alert import Reason
from bridge.disputes.case import Case
from bridge.disputes.retry import LONGEST_RETRY_AFTER
from bridge.errors import Unavailable
from bridge.storage.outcomes import owe
from bridge.storage.relating import pass_back, relate
from bridge.storage.rows import (
    IS_FREE,
    NEVER,
    PENDING,
    SET_BACK,
    Claim,
    Delivery,
    Ending,
    Marks,
    case_of,
    json_of,
    mark,
    moment,
    numbers_of,
    pending_of,
    write_cases,
)
from bridge.storage.schema import attempts, cases, deliveries, paces, stores
from bridge.storage.upsert import insert_missing, insert_or_update

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Table

    from bridge.storage.database import Database
    from bridge.storage.outcomes import Told
    from bridge.storage.slots import Slots

Item = typing.TypeVar("Item")


log = structlog.get_logger()

Attempt = dict[str, typing.Any]
Intent = tuple[Claim, Attempt]
Change = typing.Callable[[Case, list[Delivery]], Ending]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of a claim: the change of its case, and the call that was made, if there was one."""

    claim: Claim
    change: Change
    attempt: Attempt | None = None


_CASES = (
    select(cases)
    .where(cases.c.id.in_(bindparam("idents", expanding=True)))
    .order_by(cases.c.id)  # one order for all, so no deadlock
    .with_for_update()
)
_FREE = (
    select(cases)
    .where(cases.c.id.in_(bindparam("idents", expanding=True)), IS_FREE)
    .with_for_update(skip_locked=True)
)
_FENCES = (
    select(cases.c.id, cases.c.fence)
    .where(cases.c.id.in_(bindparam("idents", expanding=True)))
    .order_by(cases.c.id)
    .with_for_update()
)
_PENDING_IDS = PENDING.with_only_columns(deliveries.c.case_id, deliveries.c.id)
_SHARED = (  # sales that several cases are about
    select(cases.c.store, cases.c.transaction_id)
    .where(cases.c.transaction_id.in_(bindparam("sold", expanding=True)))
    .group_by(cases.c.store, cases.c.transaction_id)
    .having(func.count() > 1)
)
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
        paces.c.next_at,
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
_READY_LOCKED = _READY.with_for_update(of=paces, skip_locked=True)

LEAD, LONGEST_LEAD = 0.08, 1.0
"""Seconds between taking a slot and its start: the case is looked up and the intent committed meanwhile."""
SPREAD = 0.002
"""Seconds between calls that might leave at once: each needs the interpreter for its moment."""
MARGIN = 0.07
"""A slot is taken up to so much earlier, since nobody looks for open ones all the time."""
PROBE_SECONDS = 30.0
"""How often a store that refuses the bridge is tried with one call."""


class Lead:
    """How far ahead of its opening a slot is taken, so that the call is ready in time.

    One machine prepares a call in a millisecond, another's disk takes longer than a slot for one
    intent: the lead follows what was missed, or nothing would ever be sent.
    """

    def __init__(self) -> None:
        self.seconds = LEAD

    def met(self) -> None:
        """Come closer again, for a call that was ready."""
        self.seconds = max(self.seconds * 0.998, LEAD)

    def missed(self, took: float) -> None:
        """Keep as far off as a call took that was not ready in time."""
        self.seconds = min(max(self.seconds, took), LONGEST_LEAD)


class Queue:
    """Gives out cases one call at a time, and records what came of it."""

    def __init__(self, database: Database, slots: Slots, lease: float, told: Told) -> None:
        self.database = database
        self.now = database.now
        self.slots = slots
        self.lease = lease
        self.told = told
        self.lead = Lead()

    def claim(self, names: Sequence[str], most: int | None = None) -> list[Claim]:
        """Take the next slot and the most urgent case of some named stores whose slot opens now.

        The stores that have waited longest come first. Each case is leased with a new fence, so that
        a worker that comes too late changes nothing.
        """
        now, lead = self.now(), self.lead.seconds  # read once: calls under way change it
        likely = self._ready(self._asked(now, lead, names))[:most] if names else []
        if not likely:
            return []
        asked = self._asked(now, lead, likely)

        def write(connection: Connection) -> list[Claim]:
            slots: dict[str, tuple[str, float, bool]] = {}  # by case: its token, its slot, whether it probes
            tokens: set[str] = set()
            ready = connection.execute(_READY_LOCKED, asked).all()
            for token, next_at, store, probes, case_id in ready:
                if case_id is None or token in tokens:
                    continue
                if probes:
                    probe = update(stores).where(stores.c.name == store)
                    connection.execute(probe.values(probe_at=now + PROBE_SECONDS))
                opens = now if next_at > asked["set_back"] else next_at
                soon = now + lead + SPREAD * len(slots)
                slot_at = max(opens, soon) if self.slots.gap else now
                slots[case_id] = (token, slot_at, probes)
                tokens.add(token)
            held = self._hold(connection, list(slots), now)
            urgent = self._most_urgent(connection, list(held))
            taken = [(slots[ident][0], slots[ident][1] + self.slots.gap) for ident in held]
            self.slots.set(connection, taken)
            return [
                Claim(
                    case_id=ident,
                    store=case.store,
                    fence=case.fence,
                    taken_at=now,
                    slot_at=slots[ident][1],
                    case=case,
                    delivery_id=urgent.get(ident),
                    probes=slots[ident][2],
                )
                for ident, case in held.items()
            ]

        return self.database.write(write)

    def _hold(self, connection: Connection, idents: Sequence[str], now: float) -> dict[str, Case]:
        """Lease those of some cases that are free, each with a new fence."""
        if not idents:
            return {}
        rows = connection.execute(_FREE, {"idents": idents, **moment(now, self.lease)}).all()
        leased = [
            {
                "ident": row.id,
                "lease_until": now + self.lease,
                "fence": row.fence + 1,
                "lapses": row.lapses + (row.lease_until > NEVER),
            }
            for row in rows
        ]
        _change(connection, cases, leased)
        held = {row.id: _readable(row) for row in rows}
        return {ident: replace(case, fence=case.fence + 1) for ident, case in held.items() if case}

    @staticmethod
    def _most_urgent(connection: Connection, idents: list[str]) -> dict[str, str]:
        """Return the ids of the most urgent deliveries of cases that have any."""
        rows = connection.execute(_PENDING_IDS, {"idents": idents}).all() if idents else []
        return {row.case_id: row.id for row in reversed(rows)}

    def _ready(self, asked: dict[str, typing.Any]) -> list[str]:
        """Return the stores that have something to do and a slot that opens now; nothing is locked yet."""
        with self.database.read() as connection:
            ready = connection.execute(_READY, asked)
            return [row.name for row in ready if row.case_id is not None]

    def _asked(self, now: float, lead: float, names: Sequence[str]) -> dict[str, typing.Any]:
        """Return what is asked of slots: those that open soon, never one beyond a store's next one."""
        return {
            **moment(now, self.lease),
            "names": names,
            "opens": now + lead + MARGIN,
            "set_back": now + LONGEST_RETRY_AFTER + SET_BACK,
        }

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Let cases be claimed again at once, where nothing came of their claims."""

        def write(connection: Connection) -> None:
            for claim in claims:
                held = update(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
                connection.execute(held.values(lease_until=NEVER))

        self.database.write(write)

    def hold(self, claim: Claim) -> None:
        """Prolong a lease, for a step of several calls."""
        until = self.now() + self.lease
        held = update(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
        self.database.write(lambda connection: connection.execute(held.values(lease_until=until)))

    def intend(self, intents: Sequence[Intent]) -> list[bool | Exception]:
        """Commit that some writes are about to be sent; False where a case is another worker's now."""
        return _each(self.database, self._intend, intents)

    @staticmethod
    def _intend(connection: Connection, intents: list[Intent]) -> list[bool]:
        fences = connection.execute(_FENCES, {"idents": [claim.case_id for claim, _ in intents]})
        held = {(row.id, row.fence) for row in fences}
        is_held = [(claim.case_id, claim.fence) in held for claim, _ in intents]
        sent = [intent for intent, ours in zip(intents, is_held, strict=True) if ours]
        doubts = [
            {
                "ident": case.id,
                "unconfirmed": json_of(case.unconfirmed),
                "state": case.state,
                "match": json_of(case.match),
            }
            for case in (claim.case for claim, _ in sent)
        ]
        _change(connection, cases, doubts)
        insert_missing(connection, attempts, [attempt for _, attempt in sent])
        return is_held

    def settle(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        """Record attempts, let their changes bring the cases up to date, and give the leases back.

        Each case is read again under lock, for alerts may have been merged meanwhile. It is False,
        with the attempt only recorded, where another worker holds the case now.
        """
        return _each(self.database, self._settle, settlements)

    def _settle(self, connection: Connection, settlements: list[Settlement]) -> list[bool]:
        """Settle cases together: all that is read of them first, then all that is written."""
        now = self.now()
        made = [one.attempt for one in settlements if one.attempt]
        for attempt in made:
            insert_or_update(connection, attempts, attempt)
        held = self._held(connection, [one.claim for one in settlements])
        owed = pending_of(connection, [case.id for case in held.values()])
        steps = [
            _step(held[one.claim], owed[one.claim.case_id], one.change)
            for one in settlements
            if one.claim in held
        ]
        write_cases(connection, [step.case for step in steps])
        mark(connection, [marked for step in steps for marked in step.marked])
        self._tell_others(connection, [step for step in steps if step.is_related or step.has_result], now)
        _change(connection, deliveries, [row for step in steps for row in _ended(step, now)])
        _change(connection, deliveries, [row for step in steps for row in _waiting(step, now)])
        return [one.claim in held for one in settlements]

    def _tell_others(self, connection: Connection, news: list[_Step], now: float) -> None:
        """Let the other cases of the same sales know, one after the other: one may be of these too."""
        sold = [step.case.transaction_id for step in news if step.case.transaction_id is not None]
        shared = {tuple(row) for row in connection.execute(_SHARED, {"sold": sold})} if sold else set()
        for step in news:
            one = step.case
            is_related = step.is_related and (one.is_duplicate or (one.store, one.transaction_id) in shared)
            if not (is_related or step.has_result):
                continue
            step.case = case_of(connection.execute(_CASES, {"idents": [one.id]}).one())
            if is_related:
                relate(connection, step.case, now, self.told)
            if step.has_result:
                pass_back(connection, step.case, now)
                owe(connection, step.case, now, self.told)
            write_cases(connection, [step.case])

    def _held(self, connection: Connection, claims: Sequence[Claim]) -> dict[Claim, Case]:
        """Return, locked, the cases of claims that still hold them."""
        rows = connection.execute(_CASES, {"idents": [claim.case_id for claim in claims]})
        found = {row.id: row for row in rows}
        return {
            claim: case_of(found[claim.case_id])
            for claim in claims
            if claim.case_id in found and found[claim.case_id].fence == claim.fence
        }


def _change(connection: Connection, table: Table, rows: Sequence[Attempt]) -> None:
    if rows:
        connection.execute(update(table).where(table.c.id == bindparam("ident")), rows)


def _each(
    database: Database, function: Callable[[Connection, list[Item]], list[bool]], items: Sequence[Item]
) -> list[bool | Exception]:
    """Run a function for some items in one transaction; where that fails, for each in its own."""
    try:
        return [*database.write(lambda connection: function(connection, list(items)))] if items else []
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001  one of them is at fault; alone it says so itself
        return (
            [error]
            if len(items) == 1
            else [one for item in items for one in _each(database, function, [item])]
        )


@dataclass
class _Step:
    """A case after a step, how its deliveries leave the queue, and what of it others have to know."""

    case: Case
    owed: list[Delivery]
    ending: Ending
    is_related: bool  # to other cases of its transaction, as it was not before
    has_result: bool
    marked: list[Marks] = field(default_factory=list)


def _readable(row: Row[typing.Any]) -> Case | None:
    """Read a case, or say that it cannot be read: leased all the same, it holds up no other."""
    try:
        return case_of(row)
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        log.error("case cannot be read", case=row.id, why=type(error).__name__)
        return None


def _step(case: Case, owed: list[Delivery], change: Change) -> _Step:
    numbers, relations, result = numbers_of(case), _relations(case), _result(case)
    ending = change(case, owed)
    case.lease_until = NEVER
    step = _Step(case, owed, ending, _relations(case) != relations, _result(case) != result)
    if fresh := numbers_of(case) - numbers:
        step.marked = [(ident, fresh) for ident in (case.id, *(one.id for one in owed))]
    return step


def _relations(case: Case) -> tuple[object, ...]:
    return (case.is_duplicate, case.transaction_id)


def _result(case: Case) -> tuple[object, ...]:
    return (case.resolution, case.trouble.refusal)


def _ended(step: _Step, now: float) -> Iterator[dict[str, typing.Any]]:
    """Yield what the rows of deliveries say that are owed no more."""
    for ident, one in step.ending.settled.items():
        over = {"ident": ident, "due_at": None, "settled_at": now}
        yield over | {"status": one.status, "reason": one.reason, "message": one.message}


def _waiting(step: _Step, now: float) -> Iterator[dict[str, typing.Any]]:
    """Yield what the rows of deliveries say that are still owed."""
    case, ending = step.case, step.ending
    for one in step.owed:
        if one.id not in ending.settled:
            paused = Reason.STORE_PAUSED if one.reason == Reason.STORE_PAUSED else None
            yield {
                "ident": one.id,
                "reason": Reason.WAITING_FOR_OPENING if ending.waits_for_opening else paused,
                "message": ending.said,
                "due_at": case.due_at,
                "tries": case.tries,
                "late": one.deadline_at < now,
            }
