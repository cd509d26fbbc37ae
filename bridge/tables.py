"""The tables of the inbox. Times are seconds since the epoch (double precision, UTC)."""

from __future__ import annotations

import json
import typing

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

if typing.TYPE_CHECKING:
    from sqlalchemy import Dialect


class Json(TypeDecorator[typing.Any]):
    """A JSON value as ASCII text: the same on every database, and whatever the sender's characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: typing.Any, dialect: Dialect) -> str | None:
        """Write the value."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> typing.Any:
        """Read the value."""
        return None if value is None else json.loads(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("store", Text),  # as named in the path
    Column("headers", Json, nullable=False),
    Column("body", LargeBinary),  # None once retention has removed it
    Column("received_at", Double, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("webhook_id", Text, nullable=False),
    Column("item", Integer, nullable=False),  # its place in a batch
    Column("fingerprint", Text, nullable=False),  # of provider, path, event id and body
    Column("provider", Text, nullable=False),
    Column("store", Text),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text),
    Column("effect", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("message", Text),  # the reason in a sentence, or 29next's own words
    Column("errors", Json),
    Column("alert", Json),
    Column("case_id", Text),
    Column("received_at", Double, nullable=False),
    Column("allowed", Double, nullable=False),  # seconds from receipt to deadline
    Column("deadline_at", Double, nullable=False),
    Column("due_at", Double),
    Column("late", Boolean, nullable=False),
    Column("tries", Integer, nullable=False),
    UniqueConstraint("fingerprint"),
    Index("ix_deliveries_webhook_id", "webhook_id"),
    Index("ix_deliveries_case_id", "case_id"),
    Index("ix_deliveries_status_id", "status", "id"),
    Index("ix_deliveries_provider_id", "provider", "id"),
    # what is stored and not yet translated: the first of the two queues
    Index(
        "ix_deliveries_untranslated",
        "due_at",
        sqlite_where=text("status = 'pending' AND case_id IS NULL"),
        postgresql_where=text("status = 'pending' AND case_id IS NULL"),
    ),
)

cases = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("store", Text, nullable=False),
    Column("case_number", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("provider", Text, nullable=False),  # whose alert opened it
    Column("providers", Json, nullable=False),
    Column("opened_at", Double, nullable=False),  # when the first alert was received
    Column("facts", Json),  # the alert that opens it, none while only others have come
    Column("amount", Text),
    Column("currency", Text),
    Column("arn", Text),
    # at 29next
    Column("dispute_id", BigInteger),
    Column("transaction_id", BigInteger),
    Column("resolution", Text),
    Column("refund", Text),  # `recorded` once 29next knows of the gateway's refund
    Column("duplicate_of", Text),
    # what is wanted there
    Column("wants", Json, nullable=False),
    Column("match", Json),  # None while nobody has looked
    Column("doubt", Json),  # a write that may have happened
    Column("left_out", Json, nullable=False),  # what 29next would not take
    Column("notes", Json, nullable=False),  # what a person should know
    # the queue
    Column("deadline_at", Double, nullable=False),
    Column("due_at", Double),  # None: nothing to do
    Column("lease_until", Double, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    UniqueConstraint("store", "case_number", "type"),
    Index("ix_cases_arn", "arn"),
    Index("ix_cases_dispute_id", "dispute_id"),
    Index("ix_cases_state_id", "state", "id"),
    # the second queue: each store's work, most urgent first
    Index(
        "ix_cases_work",
        "store",
        "deadline_at",
        "id",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("delivery_id", Text),
    Column("store", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("request", Json),
    Column("status", Integer),
    Column("response", Text),
    Column("outcome", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seconds", Double),
    Index("ix_attempts_case_id", "case_id", "id"),
    Index("ix_attempts_delivery_id", "delivery_id"),
)

paces = Table(
    "paces",
    metadata,
    Column("token", Text, primary_key=True),  # a digest of the access token
    Column("next_at", Double, nullable=False),  # when the next call may start
)

stores = Table(
    "stores",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False),
    Column("paused_at", Double),
    Column("paused_why", Text),
    Column("probe_at", Double),  # None while an operator has paused it
)

refusals = Table(
    "refusals",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("message", Text),
    Column("last_at", Double, nullable=False),
)
