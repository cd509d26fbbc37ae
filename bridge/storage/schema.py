"""The tables of the inbox. Times are seconds since the epoch (double precision, UTC)."""

from __future__ import annotations

import json
import typing
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
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


class Json(TypeDecorator[typing.Any]):
    """A JSON value as ASCII text: the same on every database, and whatever the sender's characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: typing.Any, dialect: Dialect) -> str | None:
        """Writes the value."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> typing.Any:
        """Reads the value."""
        return None if value is None else json.loads(value)


def _where(condition: str, name: str, *columns: str) -> Index:
    """Indexs only the rows that fulfil a condition."""
    return Index(name, *columns, sqlite_where=text(condition), postgresql_where=text(condition))


def _where_set(name: str, first: str, *others: str) -> Index:
    """Indexs only the rows whose first column is set."""
    return _where(f"{first} IS NOT NULL", name, first, *others)


class StateKind(StrEnum):
    """The kinds of rows in `shared_state`; a row's name says which of its kind it is."""

    WORKER = "worker"  # the heartbeat of a worker
    NOTIFIED = "told"  # what the operator was notified of
    SESSION = "session"  # a session that was signed out
    INSTALL = "install"  # the start of an installation, which can be finished once
    INDEX = "index"  # which worker reads a store's new transactions
    RECOVERED = "recovered"  # when a backup was restored: of one store, or without a name of all
    READY = "ready"  # when it was last checked that webhooks can be stored
    PULL = "pull"  # how the pulls of a provider are going, and when the next is due
    RETENTION = "retention"  # the last webhook whose body was removed


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
    Column("query", Json),  # the parameters that its provider reads; None if there are none
    Column("body", LargeBinary),  # None once retention has removed it
    Column("received_at", Double, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("webhook_id", Text, nullable=False),
    Column("item", Integer, nullable=False),  # its position in a batch
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
    Column("case_number", Text),  # of its alert; a delivery without a case has one too
    Column("received_at", Double, nullable=False),
    Column("allowed", Double, nullable=False),  # seconds from receipt to deadline
    Column("deadline_at", Double, nullable=False),
    Column("due_at", Double),
    Column("late", Boolean, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("settled_at", Double),  # when it left the queue; None while it is pending
    UniqueConstraint("fingerprint"),
    Index("ix_deliveries_webhook_id", "webhook_id"),
    Index("ix_deliveries_case_id", "case_id"),
    Index("ix_deliveries_status_id", "status", "id"),
    Index("ix_deliveries_provider_id", "provider", "id"),
    Index("ix_deliveries_provider_status_id", "provider", "status", "id"),
    # set by the translation, so receiving a webhook does not write these
    _where_set("ix_deliveries_store_id", "store", "id"),
    _where_set("ix_deliveries_effect_id", "effect", "id"),
    _where_set("ix_deliveries_reason_id", "reason", "id"),
    # the first queue: what is stored and not yet translated
    _where("case_id IS NULL", "ix_deliveries_waiting", "status", "due_at"),
)

cases = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("store", Text, nullable=False),
    Column("case_number", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("provider", Text, nullable=False),  # of the alert that opened it
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
    Column("resolved_by_us", Text),  # the resolution that the bridge wrote
    Column("refund_recorded", Boolean, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("duplicate_of", Text),  # the case that holds the dispute
    # what it should come to, and what prevents it: see bridge.disputes.case
    Column("goal", Json, nullable=False),
    Column("match", Json),  # None before the first look-up
    Column("unconfirmed", Json),  # a write that may have happened
    Column("pending", Json, nullable=False),
    Column("trouble", Json, nullable=False),
    Column("without", Json, nullable=False),  # what 29next would not take
    Column("notes", Json, nullable=False),  # what a person should know
    # the queue
    Column("deadline_at", Double, nullable=False),
    Column("due_at", Double),  # None: nothing to do
    Column("lease_until", Double, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("lapses", Integer, nullable=False, default=0),  # how often its lease ran out
    UniqueConstraint("store", "case_number", "type"),
    Index("ix_cases_case_number", "case_number"),
    Index("ix_cases_store_id", "store", "id"),
    Index("ix_cases_provider_id", "provider", "id"),
    _where_set("ix_cases_transaction_id", "transaction_id"),
    _where_set("ix_cases_duplicate_of", "duplicate_of"),
    _where("lapses > 0", "ix_cases_lapses", "lapses"),
    Index("ix_cases_arn", "arn"),
    Index("ix_cases_dispute_id", "dispute_id"),
    Index("ix_cases_state_id", "state", "id"),
    # cases that a later transaction may belong to
    _where("transaction_id IS NULL", "ix_cases_unmatched", "store", "deadline_at"),
    # the second queue: each store's work, most urgent first
    _where("due_at IS NOT NULL", "ix_cases_work", "store", "deadline_at", "id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("delivery_id", Text),
    Column("store", Text, nullable=False),
    Column("provider", Text),  # that an outcome is reported to; None for a call to 29next
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
    Index("ix_attempts_store_provider_outcome_status", "store", "provider", "outcome", "status"),
)

# the outbox: outcomes to report to providers
outcomes = Table(
    "outcomes",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("resolution", Text),  # what was sent, or may have been; None before
    Column("state", Text, nullable=False),  # owed, told, failed
    Column("message", Text),  # why it is not sent yet, or how the bridge knows that it was
    Column("word", Text),  # the provider's word that is sent, or that a person chose
    Column("chosen_by", Text),  # who chose the word; None: the resolution implies it
    Column("resolved_at", Double),  # when the resolution became known; None in rows of 0.2.0
    Column("deadline_at", Double),  # until when the provider waits
    Column("owed_at", Double, nullable=False),
    Column("due_at", Double),  # None: nothing to do; a claim moves it past its lease
    Column("tries", Integer, nullable=False),
    _where_set("ix_outcomes_due_at", "due_at", "provider"),
    Index("ix_outcomes_state_owed_at", "state", "owed_at"),
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

# where a merchant has installed the bridge
installations = Table(
    "installations",
    metadata,
    Column("store", Text, primary_key=True),
    Column("token", Text),  # encrypted; None once the merchant has removed the bridge
    Column("installed_at", Double, nullable=False),
    Column("uninstalled_at", Double),
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

# event types that are ignored; `listed` is False for those that no table lists
ignored_events = Table(
    "ignored_events",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("event_type", Text, primary_key=True),
    Column("listed", Boolean, nullable=False),
    Column("count", Integer, nullable=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
)

transactions = Table(
    "transactions",
    metadata,
    Column("store", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    # what matching needs, and nothing more of the customer
    Column("order", Text),
    Column("type", Text),
    Column("status", Text),
    Column("amount", Text),
    Column("currency", Text),
    Column("bankcard_first_six", Text),
    Column("bankcard_last_four", Text),
    Column("auth_code", Text),
    Column("network_transaction_id", Text),
    Column("external_id", Text),
    Column("payment_method", Text),
    Column("parent_id", BigInteger),
    Column("date_created", Text),
    Column("is_disputed", Boolean),
    Column("is_3ds", Boolean),
    Column("gateway", Text),
    Column("statement_descriptor", Text),
    Column("created_at", Double),
    Column("reread_at", Double),  # two versions contradict each other: when to read it again
    Index("ix_transactions_order", "store", "order"),
    Index("ix_transactions_auth_code", "store", "auth_code"),
    Index("ix_transactions_network_transaction_id", "store", "network_transaction_id"),
    Index("ix_transactions_external_id", "store", "external_id"),
    Index("ix_transactions_card", "store", "bankcard_last_four", "bankcard_first_six", "created_at"),
    Index("ix_transactions_parent_id", "store", "parent_id"),
    _where("reread_at IS NOT NULL", "ix_transactions_reread_at", "store", "reread_at"),
)

# the stretches of time for which the index has every transaction; those that touch are joined
coverage = Table(
    "coverage",
    metadata,
    Column("store", Text, primary_key=True),
    Column("since", Double, primary_key=True, autoincrement=False),
    Column("until", Double, nullable=False),
)

# search terms, and the deliveries and cases that have them
marks = Table(
    "marks",
    metadata,
    Column("word", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

# what processes share: heartbeats, notifications sent, how far a job is
shared_state = Table(
    "memos",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Json),
    Column("at", Double, nullable=False),
)


def named(kind: str, name: str) -> tuple[ColumnElement[bool], ...]:
    """Returns the conditions for the row of `shared_state` of a kind with a name."""
    return (shared_state.c.kind == kind, shared_state.c.name == name)


replays = Table(
    "replays",
    metadata,
    Column("id", Text, primary_key=True),
    Column("filters", Json, nullable=False),
    Column("total", Integer, nullable=False),  # as it was planned
    Column("done", Integer, nullable=False),
    Column("cursor", Text),  # the last delivery that was put back
    Column("upto", Text, nullable=False),  # an id above all deliveries that existed when it was started
    Column("state", Text, nullable=False),  # running, stopped, done
    Column("asked_at", Double, nullable=False),
    Column("ended_at", Double),
)
