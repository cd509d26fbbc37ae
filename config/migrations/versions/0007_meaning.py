"""What a webhook's query says, as far as its provider reads it; and the event types that are ignored."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("query", sa.Text()))
    op.create_table(
        "ignored_events",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "event_type", name="pk_ignored_events"),
    )


def downgrade() -> None:
    op.drop_table("ignored_events")
    with op.batch_alter_table("webhooks") as batch:
        batch.drop_column("query")
