"""Deliveries and cases as rows and back, and the search terms that find them.

Only this module reads and writes JSON columns of cases.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ARRAY, ColumnElement, Connection, Row, Text, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql

from bridge.alert import Alert, DisputeType, Effect, Reason, Status
from bridge.disputes.case import (
    CallKind,
    Case,
    Goal,
    Json,
    Match,
    OptionalPart,
    Pending,
    Refusal,
    Rule,
    Sale,
    Trouble,
    Unconfirmed,
)
from bridge.disputes.events import Settled, settled
from bridge.storage.schema import cases, deliveries, marks
from bridge.storage.upsert import insert_missing

SET_BACK = 60.0
"""Seconds: a lease or slot this much further ahead than possible is from before the clock was set back."""
NOT_LEASED = 0.0
"""`lease_until` of a case that no worker holds."""
ALLOWED = 86_400.0
"""Seconds until the deadline of what a person or 29next wants of a case whose own deadline is over."""

CASES = ("c_", "c_~")
"""All ids of cases lie between these two."""

Terms = tuple[str, set[str]]
"""An id, and the search terms that find it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A pending delivery, as the steps of its case see it."""

    id: str
    provider: str
    status: Status
    reason: str | None
    effect: Effect | None
    alert: Alert | None
    received_at: float
    deadline_at: float

    def settled(self, case: Case) -> Settled | None:
        """Returns how it ends with its case as it is now, or None while it is pending."""
        if self.effect is None or self.alert is None:
            return None
        return settled(case, self.provider, self.effect, self.alert, self.received_at)


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A case that one worker has leased, for its next step."""

    case: Case  # as it was claimed
    until: float  # when the lease is over
    delivery_id: str | None  # its most urgent pending delivery then
    probes: bool = False  # the store is paused; this call tests whether it still refuses

    @property
    def case_id(self) -> str:
        """The id of the case."""
        return self.case.id

    @property
    def store(self) -> str:
        """The store of the case."""
        return self.case.store


@dataclass(slots=True)
class Settlement:
    """How a step ends the deliveries of its case; those that are not in `settled` stay pending."""

    settled: dict[str, Settled] = field(default_factory=dict)
    message: str | None = None  # why the others are still pending
    waits_for_opening: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether a delivery has failed."""
        return any(end.status is Status.FAILED for end in self.settled.values())

    def left(self, pending: Iterable[Delivery]) -> list[Delivery]:
        """Returns those that stay pending."""
        return [delivery for delivery in pending if delivery.id not in self.settled]


IS_FREE = or_(cases.c.lease_until <= bindparam("now"), cases.c.lease_until > bindparam("latest"))
"""The condition that no worker holds a case; its parameters are `lease_parameters`."""


def lease_parameters(now: float, lease: float) -> dict[str, float]:
    """Returns the parameters of IS_FREE."""
    return {"now": now, "latest": now + lease + SET_BACK}


_REFUSAL = "refused"
"""The JSON key of a pending refusal."""
_TYPED = ("type", "facts", "goal", "match", "unconfirmed", "pending", "trouble", "without")
_SAME = tuple(part.name for part in dataclasses.fields(Case) if part.name not in _TYPED)
"""The fields that a case and its row have in the same form."""


def case_of(row: Row[typing.Any]) -> Case:
    """Reads a case from its row."""
    return Case(
        **{name: getattr(row, name) for name in _SAME},
        type=DisputeType(row.type),
        facts=_alert(row.facts),
        goal=Goal(**row.goal),
        match=_match(row.match),
        unconfirmed=_unconfirmed(row.unconfirmed),
        pending=_pending(row.pending),
        trouble=_trouble(row.trouble),
        without=[OptionalPart(name) for name in row.without],
    )


def lock_case(connection: Connection, *conditions: ColumnElement[bool]) -> Case | None:
    """Returns the case that meets some conditions, if there is one, and locks its row."""
    row = connection.execute(select(cases).where(*conditions).with_for_update()).first()
    return case_of(row) if row else None


def lock_cases(
    connection: Connection, *conditions: ColumnElement[bool], most: int | None = None
) -> list[Case]:
    """Returns the cases that meet some conditions, and locks them: in one order, so that none deadlock."""
    chosen = select(cases).where(*conditions).order_by(cases.c.id).limit(most).with_for_update()
    return [case_of(row) for row in connection.execute(chosen)]


def _alert(values: Json | None) -> Alert | None:
    return Alert.from_json(values) if values else None


def _match(values: Json | None) -> Match | None:
    if values is None:
        return None
    rule = Rule(values["rule"]) if values.get("rule") else None
    return Match(**{**values, "rule": rule, "asked": [Rule(name) for name in values.get("asked", ())]})


def _unconfirmed(values: Json | None) -> Unconfirmed | None:
    return Unconfirmed(**{**values, "kind": CallKind(values["kind"])}) if values else None


def _pending(values: Json) -> Pending:
    read = {
        "verify": {CallKind(name) for name in values.get("verify", ())},
        "early": _alert(values.get("early")),
        "sale": Sale(**values["sale"]) if values.get("sale") else None,
        "refusal": _refusal(values.get(_REFUSAL)),
    }
    same = {name: value for name, value in values.items() if name != _REFUSAL}
    return Pending(**{**same, **read})


def _pending_json(pending: Pending) -> Json:
    values = json_of(pending)
    return {_REFUSAL if name == "refusal" else name: value for name, value in values.items()}


def _trouble(values: Json) -> Trouble:
    return Trouble(**{**values, "refusal": _refusal(values.get("refusal"))})


def _refusal(values: Json | None) -> Refusal | None:
    return Refusal(Reason(values["reason"]), values["message"]) if values else None


def json_of(value: typing.Any) -> typing.Any:
    """Returns a part of a case as JSON values, without what is not set."""
    if isinstance(value, Alert):
        return value.to_json()
    if isinstance(value, set):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = ((attribute.name, getattr(value, attribute.name)) for attribute in dataclasses.fields(value))
        return {name: json_of(part) for name, part in parts if part not in (None, False, [], set())}
    return value


def values_of(case: Case) -> dict[str, typing.Any]:
    """Returns the columns that a step may change."""
    facts = case.facts
    same = {n: getattr(case, n) for n in _SAME if n not in ("id", "fence")}
    return same | {
        **{name: json_of(getattr(case, name)) for name in _TYPED},
        "pending": _pending_json(case.pending),
        "state": case.state,
        "amount": str(facts.amount) if facts and facts.amount is not None else None,
        "currency": facts.currency if facts else None,
        "arn": facts.arn if facts else None,
    }


_DELIVERY_COLUMNS = ("case_id", *(part.name for part in dataclasses.fields(Delivery)))
_PENDING = (
    select(*(deliveries.c[name] for name in _DELIVERY_COLUMNS))
    .where(deliveries.c.case_id.in_(bindparam("idents", expanding=True)))
    .where(deliveries.c.settled_at.is_(None))  # not by its status: SQLite would read all that is pending
    .order_by(deliveries.c.deadline_at, deliveries.c.id)
)


def reopen(case: Case, now: float) -> None:
    """Makes a case due now, with a deadline in the future."""
    case.due_at, case.tries = now, 0
    if case.deadline_at < now:
        case.deadline_at = now + ALLOWED


_STORED = select(cases.c.id).where(cases.c.id.in_(bindparam("idents", expanding=True)))


def insert_cases(connection: Connection, new: Iterable[Case]) -> set[str]:
    """Stores new cases; returns the ids of those that no other process has made at the same moment."""
    rows = [{"id": case.id, "fence": 0, **values_of(case)} for case in new]
    insert_missing(connection, cases, rows)
    ours = {"idents": [row["id"] for row in rows]}
    return set(connection.execute(_STORED, ours).scalars()) if rows else set()


_CHANGE = update(cases).where(cases.c.id == bindparam("ident"))


def write_cases(connection: Connection, changed: Sequence[Case]) -> None:
    """Writes changed cases, which this transaction has locked."""
    if changed:
        connection.execute(_CHANGE, [{"ident": case.id, **values_of(case)} for case in changed])


_MARK_ALL = (
    postgresql.insert(marks)
    .from_select(
        ["word", "id"],
        select(*(func.unnest(bindparam(f"{name}s", type_=ARRAY(Text))) for name in ("word", "id"))),
    )
    .on_conflict_do_nothing()
)
"""Postgres: one statement, however many rows."""


def add_search_terms(connection: Connection, searchable: Iterable[Terms]) -> None:
    """Stores the search terms of deliveries and cases."""
    rows = [{"word": term, "id": ident} for ident, terms in searchable for term in sorted(terms) if term]
    if rows and connection.dialect.name == "postgresql":
        columns = {f"{name}s": [row[name] for row in rows] for name in ("word", "id")}
        connection.execute(_MARK_ALL, columns)
    else:
        insert_missing(connection, marks, rows)


def numbers_of(case: Case) -> set[str]:
    """Returns the numbers of a case's dispute and transaction, which are search terms too."""
    return {str(number) for number in (case.dispute_id, case.transaction_id) if number is not None}


def pending_of(connection: Connection, idents: Collection[str]) -> dict[str, list[Delivery]]:
    """Returns the pending deliveries of some cases, the most urgent of each first."""
    pending: dict[str, list[Delivery]] = {ident: [] for ident in idents}
    for row in connection.execute(_PENDING, {"idents": list(idents)}) if idents else ():
        pending[row.case_id].append(delivery_of(row))
    return pending


def delivery_of(row: Row[typing.Any]) -> Delivery:
    """Reads a delivery from its row."""
    return Delivery(
        id=row.id,
        provider=row.provider,
        status=Status(row.status),
        reason=row.reason,
        effect=Effect(row.effect) if row.effect else None,
        alert=Alert.from_json(row.alert) if row.alert else None,
        received_at=row.received_at,
        deadline_at=row.deadline_at,
    )
