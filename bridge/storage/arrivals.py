"""Inserts webhooks and their deliveries: a few statements for all that arrive at the same time.

A provider waits for this, so the SQL is written by hand: SQLAlchemy takes longer to build a statement
for each row than the database takes to store it.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from sqlalchemy import Connection, Row, Select, bindparam, select

from bridge.alert import Status, Webhook
from bridge.storage.ids import new_id
from bridge.storage.schema import deliveries

Values = dict[str, typing.Any]
Arrival = tuple["Webhook", "Sequence[NewDelivery]"]

WEBHOOK = "id, provider, path, store, headers, query, body, received_at"
DELIVERY = (
    "id, webhook_id, item, fingerprint, provider, store, event_id, event_type, status, received_at, "
    "allowed, deadline_at, due_at, late, tries"
)


def _insert_named(table: str, names: str) -> str:
    return f"INSERT INTO {table} ({names}) VALUES (:{names.replace(', ', ', :')})"  # noqa: S608  names only


ADD_DELIVERY = _insert_named("deliveries", DELIVERY) + " ON CONFLICT (fingerprint) DO NOTHING"
ADD_WEBHOOK = _insert_named("webhooks", WEBHOOK)
"""SQLite: row by row."""
ADD_BOTH = f"""
WITH fresh AS (
    INSERT INTO deliveries ({DELIVERY})
    SELECT {DELIVERY} FROM json_populate_recordset(NULL::deliveries, CAST(%s AS json))
    ON CONFLICT (fingerprint) DO NOTHING RETURNING fingerprint, id, webhook_id
), kept AS (
    INSERT INTO webhooks ({WEBHOOK})
    SELECT {WEBHOOK} FROM json_populate_recordset(NULL::webhooks, CAST(%s AS json))
    WHERE id IN (SELECT webhook_id FROM fresh)
)
SELECT fingerprint, id, webhook_id FROM fresh
"""  # noqa: S608  names of columns only
"""Postgres: all rows of each table as one JSON text."""
_KNOWN: Select[typing.Any] = select(deliveries.c.fingerprint, deliveries.c.id, deliveries.c.webhook_id).where(
    deliveries.c.fingerprint.in_(bindparam("fingerprints", expanding=True))
)


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery that is about to be stored."""

    item: int
    event_id: str
    event_type: str | None
    fingerprint: str
    deadline: float  # seconds from receipt


def insert_webhooks(connection: Connection, arrived: Sequence[Arrival], now: float) -> list[str]:
    """Stores webhooks and the deliveries that are not stored yet; returns the first delivery of each.

    A webhook that adds none is a repeat: it is not stored, and its first delivery is the earlier one.
    """
    with_ids = [(new_id("w", now), webhook, new) for webhook, new in arrived]
    webhook_rows = [_webhook(webhook, ident, now) for ident, webhook, _ in with_ids]
    delivery_rows = [
        _delivery(webhook, ident, delivery, now) for ident, webhook, new in with_ids for delivery in new
    ]
    # in one order for all processes: two that store the same deliveries would deadlock
    delivery_rows.sort(key=itemgetter("fingerprint"))
    insert = _in_sqlite if connection.dialect.name == "sqlite" else _in_postgres
    known = {row.fingerprint: str(row.id) for row in insert(connection, webhook_rows, delivery_rows)}
    firsts = [new[0].fingerprint for _, new in arrived]
    if repeated := [fingerprint for fingerprint in firsts if fingerprint not in known]:
        known |= {row.fingerprint: str(row.id) for row in _known(connection, repeated)}
    return [known[fingerprint] for fingerprint in firsts]


def _in_sqlite(
    connection: Connection, webhook_rows: list[Values], delivery_rows: list[Values]
) -> Iterable[Row[typing.Any]]:
    """Inserts what is new; returns new and earlier deliveries."""
    connection.exec_driver_sql(ADD_DELIVERY, delivery_rows)
    known = _known(connection, [row["fingerprint"] for row in delivery_rows])
    new = {row.webhook_id for row in known}
    if written := [row for row in webhook_rows if row["id"] in new]:
        connection.exec_driver_sql(ADD_WEBHOOK, written)
    return known


def _in_postgres(
    connection: Connection, webhook_rows: list[Values], delivery_rows: list[Values]
) -> Iterable[Row[typing.Any]]:
    """Inserts what is new; returns the new deliveries."""
    written = [{**row, "body": f"\\x{row['body'].hex()}"} for row in webhook_rows]
    return connection.exec_driver_sql(ADD_BOTH, (json.dumps(delivery_rows), json.dumps(written))).all()


def _known(connection: Connection, fingerprints: Sequence[str]) -> Sequence[Row[typing.Any]]:
    return connection.execute(_KNOWN, {"fingerprints": fingerprints}).all()


def _webhook(webhook: Webhook, ident: str, now: float) -> dict[str, typing.Any]:
    return {
        "id": ident,
        "provider": webhook.provider,
        "path": webhook.path,
        "store": webhook.store,
        "headers": json.dumps(dict(webhook.headers)),
        "query": json.dumps(dict(webhook.query)) if webhook.query else None,
        "body": webhook.body,
        "received_at": now,
    }


def _delivery(webhook: Webhook, webhook_id: str, delivery: NewDelivery, now: float) -> dict[str, typing.Any]:
    return {
        "id": new_id("d", now),
        "webhook_id": webhook_id,
        "item": delivery.item,
        "fingerprint": delivery.fingerprint,
        "provider": webhook.provider,
        "store": webhook.store,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "status": Status.PENDING,
        "received_at": now,
        "allowed": delivery.deadline,
        "deadline_at": now + delivery.deadline,
        "due_at": now,
        "late": False,
        "tries": 0,
    }
