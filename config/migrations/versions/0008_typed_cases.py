"""What a case wants, knows and is in doubt of has columns and shapes of its own.

Version 0.2.0 kept it in three JSON objects without a fixed shape, and what a memo is about, or which
provider a call went to, in the beginning of a text. Its code does not run on the result:
stop web and worker for this upgrade.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

Json = dict[str, Any]
BATCH = 500
OLD = ("refund", "wants", "doubt", "left_out")

NEW = (
    "resolved_by_us",
    "refund_recorded",
    "withdrawn",
    "goal",
    "unconfirmed",
    "pending",
    "trouble",
    "without",
)
KEPT = ("id", "store", "dispute_id", "duplicate_of", "match")

MEMOS = {"used:session:": "session", "used:install:": "install"}
"""How the names of memos began whose kind is not what stands before their first colon."""

cases = sa.table("cases", *(sa.column(name) for name in (*KEPT, *OLD, *NEW)))


def upgrade() -> None:
    for column in (
        sa.Column("resolved_by_us", sa.Text()),
        sa.Column("refund_recorded", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("goal", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("unconfirmed", sa.Text()),
        sa.Column("pending", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("trouble", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("without", sa.Text(), nullable=False, server_default="[]"),
    ):
        op.add_column("cases", column)
    connection = op.get_bind()
    last = ""
    while True:
        chosen = (
            sa.select(*(cases.c[name] for name in (*KEPT, *OLD)))
            .where(cases.c.id > last)
            .order_by(cases.c.id)
            .limit(BATCH)
        )
        rows = connection.execute(chosen).all()
        for row in rows:
            values = converted(row, connection)
            connection.execute(cases.update().where(cases.c.id == row.id).values(**values))
            last = row.id
        if len(rows) < BATCH:
            break
    for name in OLD:
        op.drop_column("cases", name)
    _give_attempts_a_provider()
    _give_memos_a_kind()


def _give_attempts_a_provider() -> None:
    op.add_column("attempts", sa.Column("provider", sa.Text()))
    op.execute(
        "UPDATE attempts SET provider = substr(store, 10),"
        " store = (SELECT store FROM cases WHERE cases.id = attempts.case_id)"
        " WHERE store LIKE 'provider:%'"
    )
    op.drop_index("ix_attempts_store_outcome_status", "attempts")
    columns = ["store", "provider", "outcome", "status"]
    op.create_index("ix_attempts_store_provider_outcome_status", "attempts", columns)


def _give_memos_a_kind() -> None:
    columns = (sa.Column("name", sa.Text()), sa.Column("value", sa.Text()), sa.Column("at", sa.Double()))
    kept = op.get_bind().execute(sa.select(sa.table("memos", *columns))).all()
    op.drop_table("memos")
    memos = op.create_table(
        "memos",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text()),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_memos"),
    )
    for row in kept:
        kind, _, name = row.name.partition(":")
        for begins, used in MEMOS.items():
            if row.name.startswith(begins):
                kind, name = used, row.name.removeprefix(begins)
        op.execute(memos.insert().values(kind=kind, name=name, value=row.value, at=row.at))


def converted(row: Any, connection: Any) -> Json:
    """Return the new columns of a case."""
    wants, doubt = json.loads(row.wants), json.loads(row.doubt or "null")
    left_out = json.loads(row.left_out)
    match = json.loads(row.match or "null")
    event_at, received_at = wants.get("order") or (None, None)
    goal = {
        "resolution": wants.get("resolution"),
        "message": wants.get("message"),
        "by": wants.get("by"),
        "event_at": event_at,
        "received_at": received_at,
        "refunded_by_gateway": wants.get("refund"),
        "withdraw": wants.get("withdraw"),
    }
    pending = {
        "verify": wants.get("unseen"),
        "reread": wants.get("reread"),
        "holder": wants.get("holder"),
        "held": wants.get("held"),
        "early": wants.get("ids"),
        "looks": wants.get("looks"),
        "looked_first": wants.get("looked_first"),
        "sale": _sale(wants.get("sale")),
        "read_at": wants.get("read_at"),
        "refused": _refusal(wants.get("refused")),
    }
    trouble = {
        "contradicted": wants.get("contradicted"),
        "irreplaceable": wants.get("irreplaceable"),
        "review": wants.get("review"),
        "refusal": _refusal(wants.get("refusal")),
        "unattached": wants.get("unattached"),
        "unrecorded": wants.get("unrecorded"),
        "unnoted": wants.get("unnoted"),
    }
    duplicate_of = row.duplicate_of
    if duplicate_of and duplicate_of.startswith("dispute "):  # it has the id of a case from now on
        number = int(duplicate_of.removeprefix("dispute "))
        holder = sa.select(cases.c.id).where(cases.c.store == row.store, cases.c.dispute_id == number)
        duplicate_of = connection.execute(holder.where(cases.c.duplicate_of.is_(None))).scalar()
        pending["held"] = pending["held"] or (None if duplicate_of else {"id": number})
    return {
        "resolved_by_us": wants.get("ours"),
        "refund_recorded": row.refund is not None,
        "withdrawn": bool(wants.get("withdrawn")),
        "goal": _said(goal),
        "match": _match(match),
        "unconfirmed": _said(doubt) if doubt else None,
        "pending": _said(pending),
        "trouble": _said(trouble),
        "without": json.dumps(sorted(set(left_out))),
        "duplicate_of": duplicate_of,
    }


def _said(values: Json) -> str:
    return json.dumps({name: value for name, value in values.items() if value not in (None, False, [], {})})


def _match(match: Json | None) -> str | None:
    """Return a match in its new shape; a sale whose money nobody had read has none in it."""
    if match is None:
        return None
    names = ("rule", "transaction_id", "amount", "currency", "candidates", "asked", "behind", "closed")
    kept = {name: match.get(name) for name in names}
    return _said({**kept, "woken_at": match.get("again"), "heeded_at": match.get("woken")})


def _sale(sale: Json | None) -> Json | None:
    """Return the reading of a sale; one of 0.2.0 tells no time, and is read again."""
    if not sale or "at" not in sale:
        return None
    return {name: sale.get(name) for name in ("transaction_id", "amount", "currency", "left", "at")}


def _refusal(refusal: list[str] | None) -> Json | None:
    return {"reason": refusal[0], "message": refusal[1]} if refusal else None


def downgrade() -> None:
    raise NotImplementedError("The cases of version 0.2.0 cannot be restored: take the backup made before.")
