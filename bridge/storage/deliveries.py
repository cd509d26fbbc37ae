"""Receiving: what a webhook owes is stored before it is answered; refusals are only counted."""

from __future__ import annotations

import json
import typing
from datetime import UTC, datetime
from operator import itemgetter

from sqlalchemy import Connection, Row, Select, bindparam, select, update

from bridge.alert import Reason, Status
from bridge.storage.rows import Owed, Part, case_of, new_id, write_cases
from bridge.storage.schema import cases, deliveries, refusals

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.alert import Webhook


Values = dict[str, typing.Any]

KEPT = "id, provider, path, store, headers, query, body, received_at"
OWED = (
    "id, webhook_id, item, fingerprint, provider, store, event_id, event_type, status, received_at, "
    "allowed, deadline_at, due_at, late, tries"
)


def _insert_named(table: str, names: str) -> str:
    return f"INSERT INTO {table} ({names}) VALUES (:{names.replace(', ', ', :')})"  # noqa: S608  names only


ADD_OWED = _insert_named("deliveries", OWED) + " ON CONFLICT (fingerprint) DO NOTHING"
ADD_KEPT = _insert_named("webhooks", KEPT)
"""SQLite: deliveries that are not there yet, and webhooks, row by row."""
STORE = f"""
WITH fresh AS (
    INSERT INTO deliveries ({OWED})
    SELECT {OWED} FROM json_populate_recordset(NULL::deliveries, CAST(%s AS json))
    ON CONFLICT (fingerprint) DO NOTHING RETURNING fingerprint, id, webhook_id
), kept AS (
    INSERT INTO webhooks ({KEPT})
    SELECT {KEPT} FROM json_populate_recordset(NULL::webhooks, CAST(%s AS json))
    WHERE id IN (SELECT webhook_id FROM fresh)
)
SELECT fingerprint, id, webhook_id FROM fresh
"""  # noqa: S608  names of columns only
"""Postgres: deliveries that are not there yet, and their webhooks, each from one JSON text."""
_KNOWN: Select[typing.Any] = select(deliveries.c.fingerprint, deliveries.c.id, deliveries.c.webhook_id).where(
    deliveries.c.fingerprint.in_(bindparam("fingerprints", expanding=True))
)


UNKNOWN = "unknown_provider"
MOST_UNKNOWN = 20
OTHERS, NO_NAME = "*", "-"
"""How many wrong names of a day are counted, and what the others and a URL without a name count as."""


def _has_room(connection: Connection, name: str, reason: str, day: str) -> bool:
    """Whether a name that no provider has is counted by itself."""
    counted = select(refusals.c.provider).where(refusals.c.day == day, refusals.c.reason == reason)
    names = set(connection.execute(counted).scalars()) - {OTHERS}
    return name in names or len(names) < MOST_UNKNOWN


def _as_json(row: Values) -> Values:
    return {name: None if row[name] is None else json.dumps(row[name]) for name in ("headers", "query")}


class Receiving(Part):
    """Stores webhooks and their deliveries."""

    def keep(self, webhook: Webhook, owed: Sequence[Owed]) -> str:
        """Store a webhook and what it owes, durably; a repeat adds nothing.

        Returns the id of the first delivery, the earlier one's where it is a repeat.
        """
        return self.database.gather(self._keep, (webhook, owed), single=True)

    def _keep(self, connection: Connection, arrived: list[tuple[Webhook, Sequence[Owed]]]) -> list[str]:
        """Store what arrived at the same time with a few statements for all of it, or one on Postgres."""
        now = self.now()
        kept = [(new_id("w", now), webhook, owed) for webhook, owed in arrived]
        webhook_rows = [self._webhook(ident, webhook, now) for ident, webhook, _ in kept]
        owed_rows = [
            self._delivery(webhook, ident, one, now) for ident, webhook, owed in kept for one in owed
        ]
        # in one order for all processes: two that store the same ones would wait for each other for ever
        owed_rows.sort(key=itemgetter("fingerprint"))
        store = self._store_in_sqlite if self.database.sqlite else self._store_in_postgres
        known = {row.fingerprint: str(row.id) for row in store(connection, webhook_rows, owed_rows)}
        firsts = [owed[0].fingerprint for _, owed in arrived]
        if repeated := [one for one in firsts if one not in known]:
            found = connection.execute(_KNOWN, {"fingerprints": repeated})
            known |= {row.fingerprint: str(row.id) for row in found}
        return [known[one] for one in firsts]

    @staticmethod
    def _store_in_sqlite(
        connection: Connection, webhook_rows: list[Values], owed_rows: list[Values]
    ) -> Sequence[Row[typing.Any]]:
        """Store the deliveries that are not there yet and their webhooks; returns the earlier ones too."""
        connection.exec_driver_sql(ADD_OWED, owed_rows)
        known = connection.execute(_KNOWN, {"fingerprints": [row["fingerprint"] for row in owed_rows]}).all()
        new = {row.webhook_id for row in known}
        written = [{**row, **_as_json(row)} for row in webhook_rows if row["id"] in new]
        if written:
            connection.exec_driver_sql(ADD_KEPT, written)
        return known

    @staticmethod
    def _store_in_postgres(
        connection: Connection, webhook_rows: list[Values], owed_rows: list[Values]
    ) -> Sequence[Row[typing.Any]]:
        """Do the same in one round trip: the building of a statement for each row costs more than it."""
        written = [{**row, **_as_json(row), "body": f"\\x{row['body'].hex()}"} for row in webhook_rows]
        return connection.exec_driver_sql(STORE, (json.dumps(owed_rows), json.dumps(written))).all()

    @staticmethod
    def _webhook(ident: str, webhook: Webhook, now: float) -> dict[str, typing.Any]:
        return {
            "id": ident,
            "provider": webhook.provider,
            "path": webhook.path,
            "store": webhook.store,
            "headers": dict(webhook.headers),
            "query": dict(webhook.query) or None,
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

    def refuse(self, provider: str, reason: str, message: str, *, known: bool = True) -> None:
        """Count a webhook that was refused, without anything of what it brought.

        Names that no provider has are counted too, but only MOST_UNKNOWN of a day by themselves.
        """
        now = self.now()
        day = datetime.fromtimestamp(now, UTC).date().isoformat()

        def write(connection: Connection) -> None:
            name = provider if known or _has_room(connection, provider, reason, day) else OTHERS
            row = {"provider": name, "reason": reason, "day": day, "message": message, "last_at": now}
            statement = self._insert(refusals).values(count=1, **row)
            statement = statement.on_conflict_do_update(
                index_elements=["provider", "reason", "day"],
                set_={"count": refusals.c.count + 1, "message": message, "last_at": now},
            )
            connection.execute(statement)

        self.database.write(write)

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

    def dismiss(self, ids: Sequence[str]) -> list[str]:
        """Put failed deliveries aside: they need nobody's attention any more; returns which.

        A case whose contradictions are all dismissed keeps the outcome that stands.
        """

        def write(connection: Connection) -> list[str]:
            chosen = select(deliveries).where(deliveries.c.id.in_(ids), deliveries.c.status == Status.FAILED)
            rows = connection.execute(chosen.order_by(deliveries.c.id).with_for_update()).all()
            found = [str(row.id) for row in rows]
            dismissed = update(deliveries).where(deliveries.c.id.in_(found))
            connection.execute(dismissed.values(status=Status.IGNORED, reason=Reason.DISMISSED))
            for case_id in sorted({row.case_id for row in rows if row.reason == Reason.CONTRADICTED}):
                self._accept(connection, case_id)
            return found

        return self.database.write(write)

    @staticmethod
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
