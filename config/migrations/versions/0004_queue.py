"""What waits to be translated is found in its order, however much of it there is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    waits = sa.text("case_id IS NULL")
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["status", "due_at"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
    op.drop_index("ix_deliveries_untranslated", "deliveries")


def downgrade() -> None:
    waits = sa.text("status = 'pending' AND case_id IS NULL")
    op.create_index(
        "ix_deliveries_untranslated", "deliveries", ["due_at"], sqlite_where=waits, postgresql_where=waits
    )
    op.drop_index("ix_deliveries_waiting", "deliveries")
