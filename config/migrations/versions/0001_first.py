"""The first schema: webhooks, deliveries, cases, attempts, paces, stores, refusals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("store", sa.Text()),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("store", sa.Text()),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text()),
        sa.Column("effect", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("errors", sa.Text()),
        sa.Column("alert", sa.Text()),
        sa.Column("case_id", sa.Text()),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("allowed", sa.Double(), nullable=False),
        sa.Column("deadline_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double()),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.UniqueConstraint("fingerprint", name="uq_deliveries_fingerprint"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_webhook_id", "deliveries", ["webhook_id"])
    op.create_index("ix_deliveries_case_id", "deliveries", ["case_id"])
    op.create_index("ix_deliveries_status_id", "deliveries", ["status", "id"])
    op.create_index("ix_deliveries_provider_id", "deliveries", ["provider", "id"])
    op.create_index(
        "ix_deliveries_untranslated",
        "deliveries",
        ["due_at"],
        sqlite_where=sa.text("status = 'pending' AND case_id IS NULL"),
        postgresql_where=sa.text("status = 'pending' AND case_id IS NULL"),
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("case_number", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("providers", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("facts", sa.Text()),
        sa.Column("amount", sa.Text()),
        sa.Column("currency", sa.Text()),
        sa.Column("arn", sa.Text()),
        sa.Column("dispute_id", sa.BigInteger()),
        sa.Column("transaction_id", sa.BigInteger()),
        sa.Column("resolution", sa.Text()),
        sa.Column("refund", sa.Text()),
        sa.Column("duplicate_of", sa.Text()),
        sa.Column("wants", sa.Text(), nullable=False),
        sa.Column("match", sa.Text()),
        sa.Column("doubt", sa.Text()),
        sa.Column("left_out", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("deadline_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double()),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.UniqueConstraint("store", "case_number", "type", name="uq_cases_store_case_number_type"),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
    )
    op.create_index("ix_cases_arn", "cases", ["arn"])
    op.create_index("ix_cases_dispute_id", "cases", ["dispute_id"])
    op.create_index("ix_cases_state_id", "cases", ["state", "id"])
    op.create_index(
        "ix_cases_work",
        "cases",
        ["store", "deadline_at", "id"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text()),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("request", sa.Text()),
        sa.Column("status", sa.Integer()),
        sa.Column("response", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_case_id", "attempts", ["case_id", "id"])
    op.create_index("ix_attempts_delivery_id", "attempts", ["delivery_id"])
    op.create_table(
        "paces",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_paces"),
    )
    op.create_table(
        "stores",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.Double()),
        sa.Column("paused_why", sa.Text()),
        sa.Column("probe_at", sa.Double()),
        sa.PrimaryKeyConstraint("name", name="pk_stores"),
    )
    op.create_table(
        "refusals",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "reason", "day", name="pk_refusals"),
    )


def downgrade() -> None:
    op.drop_table("refusals")
    op.drop_table("stores")
    op.drop_table("paces")
    op.drop_table("attempts")
    op.drop_table("cases")
    op.drop_table("deliveries")
    op.drop_table("webhooks")
