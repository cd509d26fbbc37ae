"""The stores in which a merchant has installed the bridge; their tokens are encrypted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "installations",
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("token", sa.Text()),
        sa.Column("installed_at", sa.Double(), nullable=False),
        sa.Column("uninstalled_at", sa.Double()),
        sa.PrimaryKeyConstraint("store", name="pk_installations"),
    )


def downgrade() -> None:
    op.drop_table("installations")
