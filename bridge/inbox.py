"""The inbox: what is owed, and the two queues that it is worked off by. Every write of the bridge.

Deliveries that nobody has translated yet are the first queue, cases with work the second. Both are
rows in the same database as the alerts, so nothing can fall between "stored" and "queued".
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Row, Update, and_, func, insert, or_, select, update
from sqlalchemy import case as either
from sqlalchemy.dialects import postgresql, sqlite

from bridge import match, words
from bridge.alert import Alert, DisputeType, Effect, Reason, Status
from bridge.case import Case, adopt, decide, merge, met, reconsider, recover
from bridge.fields import MAX_LENGTH
from bridge.index import Index
from bridge.retry import LONGEST_RETRY_AFTER
from bridge.tables import attempts, cases, deliveries, marks, paces, refusals, stores, webhooks

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Table

    from bridge.alert import Webhook
    from bridge.database import Database
    from bridge.provider import Reading
    from bridge.settings import Store

LEAD = 0.08
"""Seconds between taking a slot and its start, so that the intent can be committed meanwhile."""
HORIZON = 0.15
"""A slot is taken no earlier than so many seconds before it opens: never beyond the next one."""
PROBE_SECONDS = 30.0
"""How often a store that refuses the bridge is tried with one call."""
SET_BACK = 60.0
"""A lease or slot that lies further ahead than it could was made before the clock was set back."""
MOST_WOKEN = 500
"""Unmatched cases that one transaction may be compared with."""
NEVER = 0.0

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(kind: str, now: float) -> str:
    """Make an id that sorts by time: a letter for the kind, milliseconds, and chance."""
    number = (int(now * 1000) << 60) | secrets.randbits(60)
    digits = []
    for _ in range(21):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return f"{kind}_{''.join(reversed(digits))}"


@dataclass(frozen=True, slots=True)
class Owed:
    """A delivery about to be stored."""

    item: int
    event_id: str
    event_type: str | None
    fingerprint: str
    deadline: float  # seconds from receipt


@dataclass(frozen=True, slots=True)
class Claim:
    """One case to work on, for one call that may start at `slot_at`."""

    case_id: str
    store: str
    fence: int
    slot_at: float
    probes: bool = False  # the store is paused, and this call finds out whether it still refuses


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is owed, as the steps see it."""

    id: str
    webhook_id: str
    item: int
    provider: str
    store: str | None
    effect: Effect | None
    alert: Alert | None
    received_at: float
    deadline_at: float
    tries: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the translation of one delivery came to."""

    status: Status
    reason: Reason | None = None
    message: str | None = None
    errors: Mapping[str, Sequence[str]] | None = None
    reading: Reading | None = None
    store: Store | None = None
    again_at: float | None = None  # pending, and translated once more then
    told: tuple[str, dict[str, typing.Any]] | None = None  # what 29next tells: kind and object


@dataclass(slots=True)
class Ending:
    """How the deliveries of a case leave the queue after a step; those not named stay pending."""

    forwarded: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    failed: dict[str, tuple[Reason, str]] = field(default_factory=dict)


class Inbox:
    """The durable record of deliveries, cases and attempts."""

    def __init__(self, database: Database, *, gap: float, lease: float) -> None:
        self.database = database
        self.now = database.now
        self.gap = gap
        self.lease = lease
        self.index = Index(database)
        self._insert = sqlite.insert if database.sqlite else postgresql.insert

    # receiving

    def keep(self, webhook: Webhook, owed: Sequence[Owed]) -> str:
        """Store a webhook and what it owes, durably; a repeat adds nothing.

        Returns the id of the first delivery, the earlier one's where it is a repeat.
        """
        return self.database.gather(self._keep, (webhook, owed))

    def _keep(self, connection: Connection, arrived: list[tuple[Webhook, Sequence[Owed]]]) -> list[str]:
        """Store what arrived at the same time with two statements for all of it."""
        now = self.now()
        kept = [(new_id("w", now), webhook, owed) for webhook, owed in arrived]
        owed_rows = [
            self._delivery(webhook, ident, one, now) for ident, webhook, owed in kept for one in owed
        ]
        fresh = connection.execute(
            self._insert(deliveries)
            .on_conflict_do_nothing(index_elements=["fingerprint"])
            .returning(deliveries.c.fingerprint, deliveries.c.id, deliveries.c.webhook_id),
            owed_rows,
        ).all()
        if fresh:
            new = {row.webhook_id for row in fresh}
            rows = [self._webhook(ident, webhook, now) for ident, webhook, _ in kept if ident in new]
            connection.execute(insert(webhooks), rows)
        known = {row.fingerprint: str(row.id) for row in fresh}
        firsts = [owed[0].fingerprint for _, owed in arrived]
        if repeated := [one for one in firsts if one not in known]:
            earlier = select(deliveries.c.fingerprint, deliveries.c.id)
            found = connection.execute(earlier.where(deliveries.c.fingerprint.in_(repeated)))
            known |= {row.fingerprint: str(row.id) for row in found}
        return [known[one] for one in firsts]

    @staticmethod
    def _webhook(ident: str, webhook: Webhook, now: float) -> dict[str, typing.Any]:
        return {
            "id": ident,
            "provider": webhook.provider,
            "path": webhook.path,
            "store": webhook.store,
            "headers": dict(webhook.headers),
            "body": webhook.body,
            "received_at": now,
        }

    @staticmethod
    def _delivery(webhook: Webhook, webhook_id: str, one: Owed, now: float) -> dict[str, typing.Any]:
        return {
            "id": new_id("d", now),
            "webhook_id": webhook_id,
            "item": one.item,
            "fingerprint": one.fingerprint,
            "provider": webhook.provider,
            "store": webhook.store,
            "event_id": one.event_id,
            "event_type": one.event_type,
            "status": Status.PENDING,
            "received_at": now,
            "allowed": one.deadline,
            "deadline_at": now + one.deadline,
            "due_at": now,
            "late": False,
            "tries": 0,
        }

    def refuse(self, provider: str, reason: str, message: str) -> None:
        """Count a webhook that was refused, without anything of what it brought."""
        now = self.now()
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        row = {"provider": provider, "reason": reason, "day": day, "message": message, "last_at": now}
        statement = self._insert(refusals).values(count=1, **row)
        statement = statement.on_conflict_do_update(
            index_elements=["provider", "reason", "day"],
            set_={"count": refusals.c.count + 1, "message": message, "last_at": now},
        )
        self.database.write(lambda connection: connection.execute(statement))

    # the first queue: translation

    def translate(self, judge: Callable[[Row[typing.Any]], Verdict], most: int) -> int:
        """Have the oldest untranslated deliveries judged, and take in the verdicts; returns how many."""
        now = self.now()
        waiting = (
            select(
                deliveries,
                webhooks.c.path,
                webhooks.c.headers,
                webhooks.c.body,
                webhooks.c.store.label("named"),
            )
            .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
            .where(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
            .where(deliveries.c.due_at <= now)
            .order_by(deliveries.c.due_at)
            .limit(most)
            .with_for_update(of=deliveries, skip_locked=True)
        )

        def write(connection: Connection) -> int:
            judged = [(row, judge(row)) for row in connection.execute(waiting)]
            for row, verdict in sorted(judged, key=_case_order):  # one order for all, so no deadlock
                self._take_verdict(connection, row, verdict, now)
            return len(judged)

        if not self._any_untranslated(now):
            return 0
        return self.database.write(write)

    def _any_untranslated(self, now: float) -> bool:
        waiting = (
            select(deliveries.c.id)
            .where(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
            .where(deliveries.c.due_at <= now)
            .limit(1)
        )
        with self.database.read() as connection:
            return connection.execute(waiting).first() is not None

    def _take_verdict(
        self, connection: Connection, row: Row[typing.Any], verdict: Verdict, now: float
    ) -> None:
        reading = verdict.reading
        values: dict[str, typing.Any] = {
            "status": verdict.status,
            "reason": verdict.reason,
            "message": verdict.message,
            "errors": verdict.errors,
            "due_at": verdict.again_at,
            "tries": row.tries + (1 if verdict.again_at else 0),
        }
        found = {words.word(row.event_id)}
        if reading:
            values["effect"] = reading.effect
            values["alert"] = reading.alert.to_json() if reading.alert else None
        if reading and reading.alert:
            values["case_number"] = reading.alert.case_number
            found |= words.of_alert(reading.alert)
        if verdict.store:
            values["store"] = verdict.store.name
        if verdict.status is Status.PENDING and reading and reading.alert and verdict.store:
            case = self._attach(connection, row, reading.effect, reading.alert, verdict.store)
            values |= {"case_id": case.id, "due_at": now}
            found |= _numbers(case)
            if met(case, reading.effect, reading.alert):
                values |= {"status": Status.FORWARDED, "due_at": None}
            elif self._is_paused(connection, verdict.store):
                values["reason"] = Reason.STORE_PAUSED
        if verdict.told and verdict.store:
            self._tell(connection, verdict.store.name, *verdict.told, now)
        values["settled_at"] = None if values["status"] is Status.PENDING else now
        self._mark(connection, row.id, found)
        connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))

    def _tell(
        self, connection: Connection, store: str, kind: str, told: dict[str, typing.Any], now: float
    ) -> None:
        """Take in what 29next tells of a transaction or a dispute."""
        if kind == "transaction":
            self.index.heard(connection, store, now)
            if self.index.put(connection, store, told, now, certain=False):
                self._wake_unmatched(connection, store, told, now)
        elif kind == "dispute":
            self._tell_dispute(connection, store, told, now)

    @staticmethod
    def _wake_unmatched(connection: Connection, store: str, told: dict[str, typing.Any], now: float) -> None:
        """Let cases that wait for their transaction look again, where this may be it."""
        unmatched = (
            select(cases)
            .where(cases.c.store == store, cases.c.transaction_id.is_(None), cases.c.deadline_at >= now)
            .where(cases.c.dispute_id.is_not(None), cases.c.duplicate_of.is_(None))
            .limit(MOST_WOKEN)
        )
        for row in connection.execute(unmatched).all():
            case = _case(row)
            if case.facts and case.match and not case.found and match.is_kin(case.facts, told):
                again = {**case.match, "again": True}
                woken = update(cases).where(cases.c.id == case.id)
                connection.execute(woken.values(match=again, due_at=now))

    def _tell_dispute(
        self, connection: Connection, store: str, told: dict[str, typing.Any], now: float
    ) -> None:
        """Bring the case of a dispute up to date, or make one, so that its alert will find it.

        A webhook carries no time of change, so an old one must not undo a newer one: what contradicts
        the case is read again.
        """
        number, kind = told.get("case_number"), told.get("type")
        same = and_(cases.c.case_number == number, cases.c.type == kind)
        one = and_(cases.c.store == store, or_(cases.c.dispute_id == told["id"], same))
        row = connection.execute(select(cases).where(one).order_by(cases.c.id).with_for_update()).first()
        if row is None:
            if number and kind in set(DisputeType):
                self._adopt_unknown(connection, store, told, now)
            return
        case = _case(row)
        if not reconsider(case, told):
            return
        case.due_at = now
        connection.execute(update(cases).where(cases.c.id == case.id).values(**_case_values(case)))

    def _adopt_unknown(
        self, connection: Connection, store: str, told: dict[str, typing.Any], now: float
    ) -> None:
        """Make a case of a dispute that somebody else made: its alert adopts it."""
        case = Case(
            id=new_id("c", now),
            store=store,
            case_number=str(told["case_number"])[:MAX_LENGTH],
            type=DisputeType(told["type"]),
            provider="next",
            providers=["next"],
            opened_at=now,
            deadline_at=now,
        )
        adopt(case, told)
        fresh = self._insert(cases).values(**_case_values(case), id=case.id, lease_until=NEVER, fence=0)
        keys = ["store", "case_number", "type"]
        connection.execute(fresh.on_conflict_do_nothing(index_elements=keys))

    def decide(self, case_id: str, transaction_id: int | None) -> bool:
        """Take a person's word for a case's transaction; None says that there is none.

        Returns False where there is no such case, or its transaction is known to 29next already.
        """
        now = self.now()

        def write(connection: Connection) -> bool:
            row = connection.execute(select(cases).where(cases.c.id == case_id).with_for_update()).first()
            if row is None or row.transaction_id or row.duplicate_of:
                return False
            case = _case(row)
            decide(case, transaction_id)
            case.due_at = now
            connection.execute(update(cases).where(cases.c.id == case_id).values(**_case_values(case)))
            return True

        return self.database.write(write)

    def doubt(self, since: float, store: str | None = None) -> int:
        """Put every case that is unfinished, or was opened since, in doubt; returns how many.

        The recipe after a restored backup: each is looked up before anything is sent for it.
        """
        now = self.now()

        def write(connection: Connection) -> int:
            chosen = select(cases).where(cases.c.duplicate_of.is_(None))
            chosen = chosen.where(
                or_(cases.c.dispute_id.is_(None), cases.c.due_at.is_not(None), cases.c.opened_at >= since)
            )
            if store:
                chosen = chosen.where(cases.c.store == store)
            rows = connection.execute(chosen.with_for_update()).all()
            for row in rows:
                case = _case(row)
                recover(case)
                case.due_at = now
                connection.execute(update(cases).where(cases.c.id == case.id).values(**_case_values(case)))
            return len(rows)

        return self.database.write(write)

    def _mark(self, connection: Connection, ident: str, found: set[str]) -> None:
        """Let a delivery or a case be found by its words."""
        rows = [{"word": word, "id": ident} for word in sorted(found) if word]
        if rows:
            connection.execute(self._insert(marks).on_conflict_do_nothing(), rows)

    def _attach(
        self, connection: Connection, row: Row[typing.Any], effect: Effect, alert: Alert, store: Store
    ) -> Case:
        """Let a case take in an alert, making the case if it is the first."""
        fresh = Case(
            id=new_id("c", row.received_at),
            store=store.name,
            case_number=alert.case_number,
            type=alert.type,
            provider=row.provider,
            opened_at=row.received_at,
            deadline_at=row.deadline_at,
        )
        key = and_(
            cases.c.store == store.name,
            cases.c.case_number == alert.case_number,
            cases.c.type == alert.type,
        )
        connection.execute(
            self._insert(cases)
            .on_conflict_do_nothing(index_elements=["store", "case_number", "type"])
            .values(**_case_values(fresh), id=fresh.id, lease_until=NEVER, fence=0)
        )
        case = _case(connection.execute(select(cases).where(key).with_for_update()).one())
        merge(case, row.provider, effect, alert, look_first=store.look_first)
        if not met(case, effect, alert) or case.due_at is not None:
            idle = case.due_at is None
            case.tries = 0 if idle else case.tries
            case.deadline_at = row.deadline_at if idle else min(case.deadline_at, row.deadline_at)
            case.due_at = min(case.due_at or row.received_at, self.now())
        connection.execute(update(cases).where(cases.c.id == case.id).values(**_case_values(case)))
        self._mark(connection, case.id, words.of_alert(alert) | {words.reported_by(row.provider)})
        return case

    @staticmethod
    def _is_paused(connection: Connection, store: Store) -> bool:
        paused_at = select(stores.c.paused_at).where(stores.c.name == store.name)
        return connection.execute(paused_at).scalar() is not None

    # the second queue: forwarding

    def register(self, wanted: Iterable[Store]) -> None:
        """Let the inbox know the stores that are configured."""
        rows = [{"name": store.name, "token": token_key(store.token)} for store in wanted]
        if not rows:
            return

        def write(connection: Connection) -> None:
            for row in rows:
                names = insert_or_update(self._insert, stores, row, "name")
                connection.execute(names)
                pace = self._insert(paces).values(token=row["token"], next_at=0.0)
                connection.execute(pace.on_conflict_do_nothing(index_elements=["token"]))

        self.database.write(write)

    def claim(self, names: Sequence[str]) -> list[Claim]:
        """Take the next slot and the most urgent case of every named store whose slot opens now.

        Each case is leased with a new fence, so that a worker that comes too late changes nothing.
        """
        now = self.now()
        if not names or not self._ready(now, names):
            return []

        def write(connection: Connection) -> list[Claim]:
            claims: dict[str, Claim] = {}
            ready = connection.execute(self._ready_stores(now, names, lock=True)).all()
            for token, next_at, store, probes, case_id in ready:
                if case_id is None or token in claims:
                    continue
                if probes:
                    probe = update(stores).where(stores.c.name == store)
                    connection.execute(probe.values(probe_at=now + PROBE_SECONDS))
                opens = next_at if next_at <= now + HORIZON else now
                slot_at = max(opens, now + LEAD) if self.gap else now
                fence = connection.execute(
                    update(cases)
                    .where(cases.c.id == case_id, self._is_free(now))
                    .values(
                        lease_until=now + self.lease,
                        fence=cases.c.fence + 1,
                        lapses=cases.c.lapses + either((cases.c.lease_until > NEVER, 1), else_=0),
                    )
                    .returning(cases.c.fence)
                ).scalar()
                if fence is not None:
                    claims[token] = Claim(case_id, store, fence, slot_at, probes)
                    self._set_pace(connection, token, slot_at + self.gap)
            return list(claims.values())

        return self.database.write(write)

    def _ready(self, now: float, names: Sequence[str]) -> bool:
        with self.database.read() as connection:
            ready = connection.execute(self._ready_stores(now, names, lock=False)).all()
        return any(row.case_id is not None for row in ready)

    def _is_free(self, now: float) -> ColumnElement[bool]:
        """Whether no worker holds a case."""
        held = cases.c.lease_until
        return or_(held <= now, held > now + self.lease + SET_BACK)

    def _ready_stores(self, now: float, names: Sequence[str], *, lock: bool) -> typing.Any:
        due = (
            select(cases.c.id)
            .where(cases.c.store == stores.c.name, cases.c.due_at <= now)
            .where(self._is_free(now))
            .order_by(cases.c.deadline_at, cases.c.id)
            .limit(1)
            .scalar_subquery()
        )
        statement = (
            select(
                paces.c.token,
                paces.c.next_at,
                stores.c.name,
                stores.c.paused_at.is_not(None).label("probes"),
                due.label("case_id"),
            )
            .join(stores, stores.c.token == paces.c.token)
            .where(stores.c.name.in_(names))
            .where(
                or_(paces.c.next_at <= now + HORIZON, paces.c.next_at > now + LONGEST_RETRY_AFTER + SET_BACK)
            )
            .where(or_(stores.c.paused_at.is_(None), stores.c.probe_at <= now))
        )
        return statement.with_for_update(of=paces, skip_locked=True) if lock else statement

    def load(self, claim: Claim) -> tuple[Case, list[Delivery]] | None:
        """Return a claimed case and its pending deliveries, most urgent first; None if it was lost."""
        with self.database.read() as connection:
            row = connection.execute(
                select(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
            ).first()
            return (_case(row), _pending(connection, claim.case_id)) if row else None

    def find_holder(self, case: Case) -> None:
        """Link a case to the one that already holds the dispute of its transaction, if there is one.

        The other type is no duplicate: an alert that did not prevent its chargeback is said on both.
        """
        kin = select(cases).where(
            cases.c.store == case.store,
            cases.c.transaction_id == case.found,
            cases.c.id != case.id,
            cases.c.dispute_id.is_not(None),
            cases.c.duplicate_of.is_(None),
        )
        with self.database.read() as connection:
            for row in connection.execute(kin.order_by(cases.c.id)):
                if row.type == case.type:
                    case.duplicate_of = row.id
                    return

    def hold(self, claim: Claim) -> None:
        """Prolong a lease, for a step of several calls."""
        until = self.now() + self.lease
        held = update(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
        self.database.write(lambda connection: connection.execute(held.values(lease_until=until)))

    def intend(self, claim: Claim, case: Case, attempt: dict[str, typing.Any]) -> bool:
        """Commit that a write is about to be sent; False where the case is another worker's now."""

        def write(connection: Connection) -> bool:
            held = update(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
            values = {"doubt": case.doubt, "state": case.state, "match": case.match}
            if not connection.execute(held.values(**values)).rowcount:
                return False
            connection.execute(insert(attempts).values(**attempt))
            return True

        return self.database.write(write)

    def settle(
        self,
        claim: Claim,
        change: Callable[[Case, list[Delivery]], Ending],
        attempt: dict[str, typing.Any] | None = None,
    ) -> bool:
        """Record an attempt, let `change` bring the case up to date, and give the lease back.

        The case is read again under lock, for alerts may have been merged meanwhile. Returns False,
        having recorded the attempt only, where another worker holds the case now.
        """
        now = self.now()

        def write(connection: Connection) -> bool:
            if attempt:
                connection.execute(insert_or_update(self._insert, attempts, attempt, "id"))
            held = select(cases).where(cases.c.id == claim.case_id, cases.c.fence == claim.fence)
            row = connection.execute(held.with_for_update()).first()
            if row is None:
                return False
            case, owed = _case(row), _pending(connection, claim.case_id)
            before = (case.duplicate_of, case.transaction_id)
            known = _numbers(case)
            ending = change(case, owed)
            if fresh := _numbers(case) - known:
                for ident in (case.id, *(one.id for one in owed)):
                    self._mark(connection, ident, fresh)
            if before != (case.duplicate_of, case.transaction_id):
                self._relate(connection, case, now)
            connection.execute(
                update(cases)
                .where(cases.c.id == case.id)
                .values(**_case_values(case), lease_until=NEVER, fence=cases.c.fence)
            )
            self._end(connection, case, owed, ending, now)
            return True

        return self.database.write(write)

    def _relate(self, connection: Connection, case: Case, now: float) -> None:
        """Tell the other cases of the same payment of this one, and pass a duplicate's result on."""
        if case.duplicate_of:
            self._join(connection, case, now)
            return
        same = select(cases).where(
            cases.c.store == case.store,
            cases.c.transaction_id == case.transaction_id,
            cases.c.type != case.type,
        )
        for row in connection.execute(same.with_for_update()).all():
            other = _case(row)
            alert, chargeback = (other, case) if case.type is DisputeType.CHARGEBACK else (case, other)
            alert.note(f"The alert did not prevent chargeback {chargeback.case_number} ({chargeback.id}).")
            chargeback.note(f"Alert {alert.case_number} ({alert.id}) did not prevent it.")
            connection.execute(update(cases).where(cases.c.id == other.id).values(notes=other.notes))

    @staticmethod
    def _join(connection: Connection, case: Case, now: float) -> None:
        """Link a duplicate to the case that holds the dispute, and pass on what is wanted of it."""
        named = or_(
            cases.c.id == case.duplicate_of,
            and_(cases.c.store == case.store, cases.c.dispute_id == case.dispute_id),
        )
        others = named & (cases.c.id != case.id) & cases.c.duplicate_of.is_(None)
        row = connection.execute(select(cases).where(others).with_for_update()).first()
        if row is None:
            return  # 29next's dispute is none of ours
        holder = _case(row)
        case.duplicate_of, case.dispute_id = holder.id, holder.dispute_id
        case.transaction_id = holder.transaction_id
        holder.note(f"Case {case.id} ({case.provider} {case.case_number}) is a duplicate of this one.")
        result = case.wants.get("resolution")
        if result and case.facts:
            alert = dataclasses.replace(case.facts, resolution=result, message=case.wants.get("message"))
            merge(holder, case.provider, Effect.RESOLVE, alert)
            holder.due_at = now
        connection.execute(update(cases).where(cases.c.id == holder.id).values(**_case_values(holder)))

    @staticmethod
    def _end(connection: Connection, case: Case, owed: list[Delivery], ending: Ending, now: float) -> None:
        """Give each delivery of a case its status."""
        left = [one.id for one in owed]

        def give(ids: Sequence[str], **values: typing.Any) -> None:
            if ids:
                connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(**values))
                left[:] = [one for one in left if one not in ids]

        over = {"due_at": None, "message": None, "reason": None, "settled_at": now}
        give(ending.forwarded, status=Status.FORWARDED, **over)
        give(ending.ignored, status=Status.IGNORED, **over | {"reason": Reason.IGNORE})
        for one, (reason, message) in ending.failed.items():
            give([one], status=Status.FAILED, **over | {"reason": reason, "message": message})
        paused = either((deliveries.c.reason == Reason.STORE_PAUSED, Reason.STORE_PAUSED), else_=None)
        give(
            list(left),
            reason=Reason.WAITING_FOR_OPENING if case.wants.get("waiting") else paused,
            due_at=case.due_at,
            tries=case.tries,
            late=deliveries.c.deadline_at < now,
        )

    # pace and pause

    def take_slot(self, token: str) -> float:
        """Take the next slot of a token and return when it opens, for calls outside the queue."""
        now = self.now()
        if not self.gap:
            return now

        def write(connection: Connection) -> float:
            pace = select(paces.c.next_at).where(paces.c.token == token).with_for_update()
            slot_at = max(float(connection.execute(pace).scalar_one()), now)
            self._set_pace(connection, token, slot_at + self.gap)
            return slot_at

        return self.database.write(write)

    def cases_since(self, store: str, since: float) -> list[Case]:
        """Return a store's cases that were opened since a moment."""
        chosen = select(cases).where(cases.c.store == store, cases.c.opened_at >= since).order_by(cases.c.id)
        with self.database.read() as connection:
            return [_case(row) for row in connection.execute(chosen)]

    def is_wanted(self, store: str) -> bool:
        """Whether disputes of a store wait for its slots."""
        now = self.now()
        due = select(cases.c.id).where(cases.c.store == store, cases.c.due_at <= now, self._is_free(now))
        with self.database.read() as connection:
            return connection.execute(due.limit(1)).first() is not None

    def throttle(self, token: str, seconds: float) -> None:
        """Push a token's next slot forward, as 29next asked for."""
        until = self.now() + seconds
        self.database.write(
            lambda connection: connection.execute(
                update(paces).where(paces.c.token == token, paces.c.next_at < until).values(next_at=until)
            )
        )

    @staticmethod
    def _set_pace(connection: Connection, token: str, next_at: float) -> None:
        connection.execute(update(paces).where(paces.c.token == token).values(next_at=next_at))

    def pause(self, store: str, why: str, probe_after: float | None) -> None:
        """Stop calling a store but for a probe now and then; None waits for an operator to resume."""
        now = self.now()
        probe_at = None if probe_after is None else now + probe_after
        values = {
            "paused_at": func.coalesce(stores.c.paused_at, now),
            "paused_why": why,
            "probe_at": probe_at,
        }

        def write(connection: Connection) -> None:
            connection.execute(update(stores).where(stores.c.name == store).values(**values))
            connection.execute(_pending_of(store).values(reason=Reason.STORE_PAUSED))

        self.database.write(write)

    def resume(self, store: str) -> None:
        """Call a store again; the clocks of its alerts stood still while it was paused."""
        now = self.now()

        def write(connection: Connection) -> None:
            row = select(stores.c.paused_at).where(stores.c.name == store).with_for_update()
            paused_at = connection.execute(row).scalar()
            if paused_at is None:
                return
            stood = now - paused_at
            connection.execute(
                update(stores)
                .where(stores.c.name == store)
                .values(paused_at=None, paused_why=None, probe_at=None)
            )
            connection.execute(
                _pending_of(store).values(deadline_at=deliveries.c.deadline_at + stood, reason=None)
            )
            connection.execute(
                update(cases)
                .where(cases.c.store == store, cases.c.due_at.is_not(None))
                .values(deadline_at=cases.c.deadline_at + stood, due_at=now)
            )

        self.database.write(write)

    # replay

    def replay(self, ids: Sequence[str]) -> list[str]:
        """Put deliveries back into the first queue, each with a new deadline; returns which."""
        now = self.now()

        def write(connection: Connection) -> list[str]:
            chosen = select(deliveries.c.id).where(
                deliveries.c.id.in_(ids), deliveries.c.status != Status.PENDING
            )
            found = list(connection.execute(chosen).scalars())
            if not found:
                return []
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id.in_(found))
                .values(
                    status=Status.PENDING,
                    reason=None,
                    message=None,
                    errors=None,
                    case_id=None,
                    due_at=now,
                    deadline_at=now + deliveries.c.allowed,
                    late=False,
                    tries=0,
                    settled_at=None,
                )
            )
            return found

        return self.database.write(write)


def _pending_of(store: str) -> Update:
    return update(deliveries).where(deliveries.c.store == store, deliveries.c.status == Status.PENDING)


def token_key(token: str) -> str:
    """Name an access token without holding it."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def insert_or_update(
    dialect_insert: typing.Any, table: Table, row: Mapping[str, typing.Any], key: str
) -> typing.Any:
    """Build a statement that writes a row, over an earlier one with the same key."""
    others = {name: value for name, value in row.items() if name != key}
    return dialect_insert(table).values(**row).on_conflict_do_update(index_elements=[key], set_=others)


def _case_order(pair: tuple[Row[typing.Any], Verdict]) -> tuple[str, ...]:
    verdict = pair[1]
    if not (verdict.reading and verdict.reading.alert and verdict.store):
        return ("",)
    alert = verdict.reading.alert
    return (verdict.store.name, alert.case_number, alert.type.value)


_SAME = tuple(one.name for one in dataclasses.fields(Case) if one.name not in ("type", "facts"))
"""What a case and its row call by the same name, in the same form."""


def _case(row: Row[typing.Any]) -> Case:
    values = {name: getattr(row, name) for name in _SAME}
    facts = Alert.from_json(row.facts) if row.facts else None
    return Case(**values, type=DisputeType(row.type), facts=facts)


def _case_values(case: Case) -> dict[str, typing.Any]:
    """Return the columns that a step may change."""
    facts = case.facts
    same = {n: getattr(case, n) for n in _SAME if n not in ("id", "fence", "lease_until")}
    return same | {
        "type": case.type,
        "state": case.state,
        "facts": facts.to_json() if facts else None,
        "amount": str(facts.amount) if facts and facts.amount is not None else None,
        "currency": facts.currency if facts else None,
        "arn": facts.arn if facts else None,
    }


def _numbers(case: Case) -> set[str]:
    """Return 29next's numbers of a case, by which it is looked for too."""
    return {str(number) for number in (case.dispute_id, case.transaction_id) if number is not None}


def _pending(connection: Connection, case_id: str) -> list[Delivery]:
    rows = connection.execute(
        select(deliveries)
        .where(deliveries.c.case_id == case_id, deliveries.c.status == Status.PENDING)
        .order_by(deliveries.c.deadline_at, deliveries.c.id)
    )
    return [
        Delivery(
            id=row.id,
            webhook_id=row.webhook_id,
            item=row.item,
            provider=row.provider,
            store=row.store,
            effect=Effect(row.effect) if row.effect else None,
            alert=Alert.from_json(row.alert) if row.alert else None,
            received_at=row.received_at,
            deadline_at=row.deadline_at,
            tries=row.tries,
        )
        for row in rows
    ]
