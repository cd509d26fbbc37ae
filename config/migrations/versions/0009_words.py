"""Which word a provider is told, who chose it, and how long the provider waits."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

NEW = {"word": sa.Text, "chosen_by": sa.Text, "resolved_at": sa.Double, "deadline_at": sa.Double}


def upgrade() -> None:
    for name, kind in NEW.items():
        op.add_column("outcomes", sa.Column(name, kind()))
    op.execute("UPDATE outcomes SET resolved_at = owed_at")
    op.execute(
        "UPDATE outcomes SET deadline_at = (SELECT min(received_at + allowed) FROM deliveries"
        " WHERE deliveries.case_id = outcomes.case_id AND deliveries.provider = outcomes.provider)"
    )


def downgrade() -> None:
    for name in NEW:
        op.drop_column("outcomes", name)
