"""What stands in the database as the API, the pages and the command line show it."""

from __future__ import annotations

import typing
from datetime import UTC, datetime

from bridge.alert import iso

if typing.TYPE_CHECKING:
    from sqlalchemy import Row

Json = dict[str, typing.Any]

DELIVERY_KEYS = (
    "id", "webhook_id", "provider", "store", "event_id", "event_type", "effect", "status", "reason",
    "message", "errors", "case_id", "case_number", "received_at", "deadline_at", "due_at", "settled_at",
    "late", "tries",
)  # fmt: skip
CASE_KEYS = (
    "id", "store", "case_number", "type", "state", "dispute_id", "transaction_id", "match", "resolution",
    "amount", "currency", "arn", "providers", "duplicate_of", "opened_at", "deadline_at", "notes",
)  # fmt: skip
ATTEMPT_KEYS = (
    "id", "case_id", "delivery_id", "method", "path", "request", "status", "response", "outcome",
    "started_at", "seconds",
)  # fmt: skip
OUTCOME_KEYS = (
    "provider", "state", "resolution", "word", "chosen_by", "message", "owed_at", "deadline_at", "due_at",
    "tries",
)  # fmt: skip


def iso_of(seconds: float | None) -> str | None:
    """Write a moment to the millisecond that it falls into, as its id has it."""
    return None if seconds is None else iso(datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC))


def shaped(row: Row[typing.Any], keys: tuple[str, ...]) -> Json:
    """Write some columns of a row; moments end in `_at`."""
    values = {key: getattr(row, key) for key in keys}
    return {key: iso_of(value) if key.endswith("_at") else value for key, value in values.items()}


def delivery_json(row: Row[typing.Any]) -> Json:
    """Write a delivery as the API answers it."""
    return shaped(row, DELIVERY_KEYS) | {"errors": row.errors or {}}


def listed_json(row: Row[typing.Any]) -> Json:
    """Write a delivery as it stands in a list: with the money it is about, and its dispute."""
    alert = row.alert or {}
    money = {"amount": alert.get("amount"), "currency": alert.get("currency")}
    return delivery_json(row) | {"dispute_id": row.dispute_id} | money


def case_json(row: Row[typing.Any]) -> Json:
    """Write a case as the API answers it."""
    found = row.match or {}
    match = {"rule": found.get("rule"), "candidates": found.get("candidates", [])}
    return shaped(row, CASE_KEYS) | {"match": match}


def attempt_json(row: Row[typing.Any]) -> Json:
    """Write an attempt as the API answers it."""
    return shaped(row, ATTEMPT_KEYS)


def outcome_json(row: Row[typing.Any], now: float) -> Json:
    """Write what a provider is told as the API answers it; late is what it waits for no longer."""
    late = row.state != "told" and row.deadline_at is not None and row.deadline_at < now
    return shaped(row, OUTCOME_KEYS) | {"late": late}


def webhook_json(row: Row[typing.Any]) -> Json:
    """Write a webhook as it was received, cut."""
    body = row.body.decode("utf-8", "backslashreplace") if row.body is not None else None
    keys = ("id", "provider", "path", "store", "headers", "query", "received_at")
    return shaped(row, keys) | {"body": body}
