"""The stores of the inbox: registers, pauses, resumes and forgets them, and fails what a removed one left."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, Update, case, delete, func, or_, select, update

from bridge.alert import Reason, Status
from bridge.settings import Store
from bridge.storage.database import Database
from bridge.storage.ids import token_key
from bridge.storage.rows import IS_FREE, lease_parameters
from bridge.storage.schema import cases, deliveries, installations, paces, stores
from bridge.storage.upsert import insert_missing, insert_or_update

MOST_FAILED_AT_ONCE = 500
"""How many cases of a removed store are ended at once."""
BY_HAND = "Paused by hand."
"""Why a store is paused that a person has paused."""
PAUSED_STORES = select(stores.c.name).where(stores.c.paused_at.is_not(None))
_NOT_BY_HAND = func.coalesce(stores.c.paused_why, "") != BY_HAND


class Stores:
    """Keeps the state of each store: known, paused, or removed."""

    def __init__(self, database: Database, lease: float) -> None:
        self.database = database
        self.lease = lease

    def register(self, wanted: Iterable[Store]) -> None:
        """Adds the stores that are configured."""
        rows = [{"name": store.name, "token": token_key(store.token)} for store in wanted]

        def write(connection: Connection) -> None:
            insert_or_update(connection, stores, *rows)
            insert_missing(connection, paces, [{"token": row["token"], "next_at": 0.0} for row in rows])

        if rows:
            self.database.write(write)

    # pauses

    def pause(self, store: str, why: str, probe_after: float | None) -> None:
        """Stops calling a store, except for a probe now and then; without probes an operator must resume it.

        A store that a person has paused stays as it is.
        """
        now = self.database.now()
        values = {
            "paused_at": func.coalesce(stores.c.paused_at, now),
            "paused_why": why,
            "probe_at": None if probe_after is None else now + probe_after,
        }

        def write(connection: Connection) -> None:
            ours = () if why == BY_HAND else (_NOT_BY_HAND,)
            connection.execute(update(stores).where(stores.c.name == store, *ours).values(**values))
            connection.execute(_pending(store).values(reason=Reason.STORE_PAUSED))

        self.database.write(write)

    def resume(self, store: str, *, by_hand: bool = True) -> None:
        """Calls a store again; the deadlines of its alerts were paused with it.

        Only a person resumes what a person has paused.
        """
        now = self.database.now()

        def write(connection: Connection) -> None:
            ours = () if by_hand else (_NOT_BY_HAND,)
            row = select(stores.c.paused_at).where(stores.c.name == store, *ours).with_for_update()
            paused_at = connection.execute(row).scalar()
            if paused_at is None:
                return
            running = {"paused_at": None, "paused_why": None, "probe_at": None}
            connection.execute(update(stores).where(stores.c.name == store).values(**running))
            _move_deadlines(connection, store, paused_at, now)

        self.database.write(write)

    def is_paused(self, store: str) -> bool:
        """Whether a store is paused."""
        return self.database.first(PAUSED_STORES.where(stores.c.name == store)) is not None

    def has_due_cases(self, store: str) -> bool:
        """Whether cases of a store wait for its slots; none does while it is paused."""
        now = self.database.now()
        due = select(cases.c.id).join(stores, stores.c.name == cases.c.store)
        due = due.where(cases.c.store == store, stores.c.paused_at.is_(None), cases.c.due_at <= now, IS_FREE)
        return self.database.first(due.limit(1), lease_parameters(now, self.lease)) is not None

    def is_idle(self, store: str) -> bool:
        """Whether a store has slots left for calls that no dispute waits for."""
        return not self.is_paused(store) and not self.has_due_cases(store)

    # removed stores

    def fail_removed(self, configured: Collection[str]) -> int:
        """Fails the pending deliveries of stores that are no longer configured, once their deadline is over.

        Until then a store may come back, as when two deploys overlap. Returns how many failed.
        """
        now = self.database.now()
        gone = select(stores.c.name).where(stores.c.name.not_in(list(configured)))
        return sum(self._fail_removed(row.name, now) for row in self.database.rows(gone))

    def forget(self, store: str) -> int | None:
        """Dismisses the pending deliveries of a store that cannot be called; forgets it and its installation.

        Its cases and deliveries stay, and can be replayed once it is back. Returns how many deliveries were
        dismissed, or None if there is no such store.
        """
        now = self.database.now()
        dismissed = {"status": Status.IGNORED, "reason": Reason.DISMISSED, "due_at": None, "settled_at": now}
        pending = update(deliveries).where(deliveries.c.settled_at.is_(None))
        of_cases = select(cases.c.id).where(cases.c.store == store)

        def write(connection: Connection) -> int | None:
            removed = (
                connection.execute(delete(stores).where(stores.c.name == store)).rowcount
                + connection.execute(delete(installations).where(installations.c.store == store)).rowcount
            )
            if not removed:
                return None
            of_store = or_(deliveries.c.store == store, deliveries.c.case_id.in_(of_cases))
            message = f"The store {store!r} was forgotten."
            ended = connection.execute(pending.where(of_store).values(**dismissed, message=message))
            connection.execute(update(cases).where(cases.c.store == store).values(due_at=None))
            return ended.rowcount

        return self.database.write(write)

    def _fail_removed(self, store: str, now: float) -> int:
        overdue = select(cases.c.id).where(cases.c.store == store, cases.c.due_at.is_not(None), IS_FREE)
        overdue = overdue.where(cases.c.deadline_at < now).limit(MOST_FAILED_AT_ONCE).with_for_update()
        message = f"There is no store {store!r} any more."
        ended = {"status": Status.FAILED, "reason": Reason.NO_STORE, "message": message, "settled_at": now}

        def write(connection: Connection) -> int:
            idents = list(connection.execute(overdue, lease_parameters(now, self.lease)).scalars())
            twins = connection.execute(select(cases.c.id).where(cases.c.duplicate_of.in_(idents))).scalars()
            both = [*idents, *twins]
            pending = update(deliveries).where(deliveries.c.settled_at.is_(None))
            pending = pending.where(deliveries.c.case_id.in_(both)).values(**ended, due_at=None)
            connection.execute(update(cases).where(cases.c.id.in_(idents)).values(due_at=None))
            return connection.execute(pending).rowcount

        return self.database.write(write)


def _pending(store: str) -> Update:
    """Returns an update of all pending deliveries of a store."""
    return update(deliveries).where(deliveries.c.store == store, deliveries.c.status == Status.PENDING)


def _move_deadlines(connection: Connection, store: str, paused_at: float, now: float) -> None:
    """Moves the deadlines of a store by the time that it was paused, and makes its cases due."""
    began = deliveries.c.deadline_at - deliveries.c.allowed  # a replay's own
    since = case((began > paused_at, began), else_=paused_at)
    connection.execute(
        _pending(store).values(deadline_at=deliveries.c.deadline_at + now - since, reason=None)
    )
    waiting = select(func.min(deliveries.c.deadline_at)).where(
        deliveries.c.case_id == cases.c.id, deliveries.c.settled_at.is_(None)
    )
    deadline_at = func.coalesce(waiting.scalar_subquery(), cases.c.deadline_at + now - paused_at)
    work = update(cases).where(cases.c.store == store, cases.c.due_at.is_not(None))
    connection.execute(work.values(deadline_at=deadline_at, due_at=now))
