"""Deliveries: a webhook and what it owes are stored before it is answered; refusals are only counted."""

from __future__ import annotations

import typing
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, bindparam, select, update

from bridge.alert import Reason, Status
from bridge.errors import Unavailable
from bridge.storage.arrivals import store
from bridge.storage.rows import case_of, write_cases
from bridge.storage.schema import cases, deliveries, refusals, webhooks
from bridge.storage.translation import take_in
from bridge.storage.upsert import insert_into

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.alert import Webhook
    from bridge.storage.arrivals import Arrival, Owed
    from bridge.storage.database import Database
    from bridge.storage.outcomes import Told
    from bridge.storage.translation import Judged

UNKNOWN = "unknown_provider"
MOST_UNKNOWN = 20
OTHERS, NO_NAME = "*", "-"
"""How many wrong names of a day are counted, and what the others and a URL without a name count as."""


_WAITING = (
    select(
        deliveries,
        webhooks.c.path,
        webhooks.c.headers,
        webhooks.c.query,
        webhooks.c.body,
        webhooks.c.store.label("named"),
    )
    .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
    .where(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
    .where(deliveries.c.due_at <= bindparam("now"))
    .limit(bindparam("most"))
)
_OLDEST, _NEWEST = _WAITING.order_by(deliveries.c.due_at), _WAITING.order_by(deliveries.c.due_at.desc())


class Deliveries:
    """Takes webhooks in, has their deliveries translated, and does with these what a person asks."""

    def __init__(self, database: Database, told: Told) -> None:
        self.database = database
        self.told = told
        self._store = database.sharing(self._store_all, by_one_statement=True)

    # receiving

    def keep(self, webhook: Webhook, owed: Sequence[Owed]) -> str:
        """Store a webhook and what it owes, durably; a repeat adds nothing.

        Returns the id of the first delivery, the earlier one's where it is a repeat.
        """
        return self._store((webhook, owed))

    def _store_all(self, connection: Connection, arrived: Sequence[Arrival]) -> list[str]:
        return store(connection, arrived, self.database.now())

    def refuse(self, provider: str, reason: str, message: str, *, known: bool = True) -> None:
        """Count a webhook that was refused, without anything of what it brought.

        Names that no provider has are counted too, but only MOST_UNKNOWN of a day by themselves.
        """
        now = self.database.now()
        day = datetime.fromtimestamp(now, UTC).date().isoformat()

        def write(connection: Connection) -> None:
            name = provider if known or _has_room(connection, provider, reason, day) else OTHERS
            row = {"provider": name, "reason": reason, "day": day, "message": message, "last_at": now}
            statement = insert_into(connection, refusals).values(count=1, **row)
            statement = statement.on_conflict_do_update(
                index_elements=["provider", "reason", "day"],
                set_={"count": refusals.c.count + 1, "message": message, "last_at": now},
            )
            connection.execute(statement)

        self.database.write(write)

    # translating

    def untranslated(self, most: int, *, newest: bool = False) -> list[Row[typing.Any]]:
        """Return some deliveries that are to be translated now, with their webhooks.

        The oldest of them or the newest: whoever alternates lets no flood hold up a single alert.
        """
        waiting = _NEWEST if newest else _OLDEST
        with self.database.read() as connection:
            return list(connection.execute(waiting, {"now": self.database.now(), "most": most}))

    def take_in(self, judged: Sequence[Judged]) -> list[tuple[Row[typing.Any], Exception]]:
        """Take in the verdicts on some deliveries; returns those that cannot be taken in, and why.

        Two workers may judge the same one, only the first of them is believed. What cannot be taken in
        holds up no other.
        """
        now = self.database.now()
        try:
            self.database.write(lambda connection: take_in(connection, judged, now, self.told))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  one of them is at fault; alone it says so itself
            if len(judged) == 1:
                return [(judged[0][0], error)]
            return [failed for one in judged for failed in self.take_in([one])]
        return []

    # what a person asks

    def replay(self, ids: Sequence[str]) -> list[str]:
        """Put deliveries back into the first queue, each with a new deadline; returns which.

        What is pending already is left alone, and so is what can be translated no more: its body is gone.
        """
        now = self.database.now()

        def write(connection: Connection) -> list[str]:
            chosen = (
                select(deliveries.c.id)
                .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
                .where(deliveries.c.id.in_(ids), deliveries.c.status != Status.PENDING)
                .where(webhooks.c.body.is_not(None))
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

    def dismiss(self, ids: Sequence[str]) -> list[str]:
        """Dismiss failed deliveries: they need nobody's attention any more; returns which.

        A case whose contradictions are all dismissed keeps the outcome that stands.
        """

        def write(connection: Connection) -> list[str]:
            chosen = select(deliveries).where(deliveries.c.id.in_(ids), deliveries.c.status == Status.FAILED)
            rows = connection.execute(chosen.order_by(deliveries.c.id).with_for_update()).all()
            found = [str(row.id) for row in rows]
            dismissed = update(deliveries).where(deliveries.c.id.in_(found))
            connection.execute(dismissed.values(status=Status.IGNORED, reason=Reason.DISMISSED))
            for case_id in sorted({row.case_id for row in rows if row.reason == Reason.CONTRADICTED}):
                _accept(connection, case_id)
            return found

        return self.database.write(write)


def _has_room(connection: Connection, name: str, reason: str, day: str) -> bool:
    """Whether a name that no provider has is counted by itself."""
    counted = select(refusals.c.provider).where(refusals.c.day == day, refusals.c.reason == reason)
    names = set(connection.execute(counted).scalars()) - {OTHERS}
    return name in names or len(names) < MOST_UNKNOWN


def _accept(connection: Connection, case_id: str) -> None:
    """Let what stands of a case stand, unless another delivery still contradicts it."""
    left = select(deliveries.c.id).where(
        deliveries.c.case_id == case_id, deliveries.c.reason == Reason.CONTRADICTED
    )
    row = connection.execute(select(cases).where(cases.c.id == case_id).with_for_update()).first()
    if row is not None and connection.execute(left.limit(1)).first() is None:
        case = case_of(row)
        case.trouble.contradicted = None
        write_cases(connection, [case])
