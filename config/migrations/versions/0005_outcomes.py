"""What providers are told of their cases."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

SET = (
    ("ix_outcomes_due_at", "outcomes", "due_at", "provider"),
    ("ix_cases_duplicate_of", "cases", "duplicate_of"),
)


def upgrade() -> None:
    op.create_table(
        "outcomes",
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("resolution", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("owed_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "provider", name="pk_outcomes"),
    )
    op.create_index("ix_outcomes_state_owed_at", "outcomes", ["state", "owed_at"])
    for name, table, first, *others in SET:
        where = sa.text(f"{first} IS NOT NULL")
        op.create_index(name, table, [first, *others], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, table, *_ in SET:
        op.drop_index(name, table)
    op.drop_index("ix_outcomes_state_owed_at", "outcomes")
    op.drop_table("outcomes")
