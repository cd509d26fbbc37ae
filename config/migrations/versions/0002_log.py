"""What the log needs: words to search by, when a delivery settled, memos, bulk replays, indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# index, table, columns, condition
INDEXES = (
    ("ix_deliveries_provider_status_id", "deliveries", ["provider", "status", "id"], None),
    ("ix_deliveries_store_id", "deliveries", ["store", "id"], "store IS NOT NULL"),
    ("ix_deliveries_effect_id", "deliveries", ["effect", "id"], "effect IS NOT NULL"),
    ("ix_deliveries_reason_id", "deliveries", ["reason", "id"], "reason IS NOT NULL"),
    ("ix_cases_case_number", "cases", ["case_number"], None),
    ("ix_cases_store_id", "cases", ["store", "id"], None),
    ("ix_cases_provider_id", "cases", ["provider", "id"], None),
    ("ix_cases_transaction_id", "cases", ["transaction_id"], "transaction_id IS NOT NULL"),
    ("ix_cases_lapses", "cases", ["lapses"], "lapses > 0"),
    ("ix_attempts_store_outcome_status", "attempts", ["store", "outcome", "status"], None),
)


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("case_number", sa.Text()))
    op.add_column("deliveries", sa.Column("settled_at", sa.Double()))
    op.add_column("cases", sa.Column("lapses", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "marks",
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("word", "id", name="pk_marks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "memos",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text()),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_memos"),
    )
    op.create_table(
        "replays",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("filters", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.Text()),
        sa.Column("upto", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_replays"),
    )
    for name, table, columns, condition in INDEXES:
        where = sa.text(condition) if condition else None
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, table, _, _ in INDEXES:
        op.drop_index(name, table)
    op.drop_table("replays")
    op.drop_table("memos")
    op.drop_table("marks")
    op.drop_column("cases", "lapses")
    op.drop_column("deliveries", "settled_at")
    op.drop_column("deliveries", "case_number")
