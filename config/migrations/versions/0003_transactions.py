"""The local index of transactions, the stretch of time that it covers, and what it serves."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# index, table, columns, condition
INDEXES = (
    ("ix_transactions_order", "transactions", ["store", "order"], None),
    ("ix_transactions_auth_code", "transactions", ["store", "auth_code"], None),
    (
        "ix_transactions_network_transaction_id",
        "transactions",
        ["store", "network_transaction_id"],
        None,
    ),
    ("ix_transactions_external_id", "transactions", ["store", "external_id"], None),
    (
        "ix_transactions_card",
        "transactions",
        ["store", "bankcard_last_four", "bankcard_first_six", "created_at"],
        None,
    ),
    ("ix_transactions_parent_id", "transactions", ["store", "parent_id"], None),
    ("ix_transactions_reread_at", "transactions", ["store", "reread_at"], "reread_at IS NOT NULL"),
    ("ix_cases_unmatched", "cases", ["store", "deadline_at"], "transaction_id IS NULL"),
)
TEXTS = (
    "order",
    "type",
    "status",
    "amount",
    "currency",
    "bankcard_first_six",
    "bankcard_last_four",
    "auth_code",
    "network_transaction_id",
    "external_id",
    "payment_method",
)


def upgrade() -> None:
    op.create_table(
        "transactions",
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text()) for name in TEXTS),
        sa.Column("parent_id", sa.BigInteger()),
        sa.Column("date_created", sa.Text()),
        sa.Column("is_disputed", sa.Boolean()),
        sa.Column("is_3ds", sa.Boolean()),
        sa.Column("gateway", sa.Text()),
        sa.Column("statement_descriptor", sa.Text()),
        sa.Column("created_at", sa.Double()),
        sa.Column("reread_at", sa.Double()),
        sa.PrimaryKeyConstraint("store", "id", name="pk_transactions"),
    )
    op.create_table(
        "coverage",
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), autoincrement=False, nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("store", "since", name="pk_coverage"),
    )
    for name, table, columns, condition in INDEXES:
        where = sa.text(condition) if condition else None
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, table, _, _ in INDEXES:
        op.drop_index(name, table)
    op.drop_table("coverage")
    op.drop_table("transactions")
