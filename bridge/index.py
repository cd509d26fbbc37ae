"""The local index of each store's transactions: what matching needs of them, and nothing more.

It is fed by 29next's webhooks and by `bridge backfill`, and knows of which stretch of time it has
every transaction: only inside it does "exactly one fits" mean what it says for facts that are no id.
"""

from __future__ import annotations

import typing
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bridge.match import AFTER, BEFORE, OLDEST
from bridge.tables import coverage, transactions

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.alert import Alert
    from bridge.database import Database

Row = dict[str, typing.Any]

KEPT = tuple(
    column.name for column in transactions.columns if column.name not in ("store", "created_at", "reread_at")
)
FIXED = ("amount", "currency", "type", "auth_code", "external_id", "parent_id", "date_created")
"""What 29next never changes of a transaction: two tellings that differ here contradict each other."""
MOST_FOUND = 200
WEBHOOK_PATIENCE = 86_400.0
"""Seconds without a transaction webhook after which the covered stretch no longer grows by itself."""


class Index:
    """Transactions by store; reads and writes are functions of a connection, to share transactions."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._insert = sqlite.insert if database.sqlite else postgresql.insert

    def find(self, store: str, alert: Alert) -> list[Row]:
        """Return the transactions that share an id, a code or the card with an alert, and their parents."""
        with self.database.read() as connection:
            found = self._rows(connection, store, _kin(alert))
            related = [ident for row in found for ident in (row["parent_id"], row["id"]) if ident]
            if related:
                kin = or_(transactions.c.id.in_(related), transactions.c.parent_id.in_(related))
                found += self._rows(connection, store, [kin])
        return list({row["id"]: row for row in found}.values())

    def covers(self, store: str, alert: Alert, now: float) -> bool:
        """Whether the index has every transaction that an alert may be about."""
        around = alert.transaction_at
        told = alert.happened_at or datetime.fromtimestamp(now, UTC)
        since = (around - BEFORE if around else told - OLDEST).timestamp()
        until = min((around + AFTER if around else told).timestamp(), now)
        with self.database.read() as connection:
            row = connection.execute(select(coverage).where(coverage.c.store == store)).first()
        return row is not None and row.since <= since and row.until >= until

    def put(self, connection: Connection, store: str, told: Row, now: float, *, certain: bool) -> bool:
        """Take in a transaction as 29next tells it; returns whether anything is new.

        Webhooks carry no time of change and may overtake each other. A telling that contradicts the
        earlier one is not believed but marked, to be read again; what was read (`certain`) is believed.
        """
        if not isinstance(told.get("id"), int) or told.get("is_test") is True:
            return False
        row = _kept(told)
        one = and_(transactions.c.store == store, transactions.c.id == row["id"])
        known = connection.execute(select(transactions).where(one)).first()
        if known is None:
            values = row | {"store": store, "created_at": _seconds(row["date_created"]), "reread_at": None}
            fresh = self._insert(transactions).values(**values)
            connection.execute(fresh.on_conflict_do_nothing(index_elements=["store", "id"]))
            return True
        if not certain and _contradicts(dict(known._mapping), row):  # noqa: SLF001
            connection.execute(update(transactions).where(one).values(reread_at=now))
            return False
        # a list's row lacks what a single one has: nothing known is forgotten
        values = {name: value for name, value in row.items() if value is not None and name != "id"}
        connection.execute(update(transactions).where(one).values(**values, reread_at=None))
        return any(getattr(known, name) != value for name, value in values.items())

    def heard(self, connection: Connection, store: str, now: float) -> None:
        """Let the covered stretch grow up to now: 29next's webhooks still arrive."""
        connection.execute(
            update(coverage)
            .where(coverage.c.store == store, coverage.c.until >= now - WEBHOOK_PATIENCE)
            .values(until=now)
        )

    def cover(self, store: str, since: float, until: float) -> None:
        """Note that a stretch was read without a gap; it is joined to the known one where they meet."""

        def write(connection: Connection) -> None:
            row = connection.execute(
                select(coverage).where(coverage.c.store == store).with_for_update()
            ).first()
            meets = row is not None and row.since <= until and row.until >= since
            low, high = (min(row.since, since), max(row.until, until)) if row and meets else (since, until)
            values = {"since": low, "until": high}
            statement = self._insert(coverage).values(store=store, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["store"], set_=values))

        self.database.write(write)

    def covered(self, store: str) -> tuple[float, float] | None:
        """Return the stretch of time (since, until) of which the index has every transaction."""
        with self.database.read() as connection:
            row = connection.execute(select(coverage).where(coverage.c.store == store)).first()
        return (row.since, row.until) if row else None

    def store_page(self, store: str, rows: Iterable[Row], now: float) -> int:
        """Take in a page that was read from 29next; returns how many transactions were new or changed."""

        def write(connection: Connection) -> int:
            return sum(self.put(connection, store, row, now, certain=True) for row in rows)

        return self.database.write(write)

    def doubted(self, now: float) -> dict[str, int]:
        """Return, by store, the id of a transaction that is to be read again."""
        marked = select(transactions.c.store, func.min(transactions.c.id).label("id"))
        marked = marked.where(transactions.c.reread_at <= now).group_by(transactions.c.store)
        with self.database.read() as connection:
            return {row.store: int(row.id) for row in connection.execute(marked)}

    def put_off(self, store: str, ident: int, until: float | None) -> None:
        """Read a transaction again at a later time; None: it was read."""
        one = and_(transactions.c.store == store, transactions.c.id == ident)
        self.database.write(
            lambda connection: connection.execute(update(transactions).where(one).values(reread_at=until))
        )

    @staticmethod
    def _rows(connection: Connection, store: str, kin: list[ColumnElement[bool]]) -> list[Row]:
        found: list[Row] = []
        for condition in kin:  # one by one, so that each is answered by its own index
            statement = select(transactions).where(transactions.c.store == store, condition).limit(MOST_FOUND)
            found += [dict(row._mapping) for row in connection.execute(statement)]  # noqa: SLF001
        return found


def _kin(alert: Alert) -> list[ColumnElement[bool]]:
    """Return the conditions under which a transaction may be an alert's, each with an index."""
    conditions = [
        transactions.c[theirs] == value
        for ours, theirs in (
            ("order", "order"),
            ("external_id", "external_id"),
            ("network_transaction_id", "network_transaction_id"),
            ("auth_code", "auth_code"),
        )
        if (value := getattr(alert, ours))
    ]
    if alert.card_first_six and alert.card_last_four:
        card = [
            transactions.c.bankcard_last_four == alert.card_last_four,
            transactions.c.bankcard_first_six == alert.card_first_six,
        ]
        if alert.transaction_at:
            card.append(transactions.c.created_at >= (alert.transaction_at - BEFORE).timestamp())
            card.append(transactions.c.created_at <= (alert.transaction_at + AFTER).timestamp())
        conditions.append(and_(*card))
    return conditions


def _kept(told: Row) -> Row:
    """Return a transaction's row of the index, out of 29next's nested one."""
    details = told.get("payment_details")
    details = details if isinstance(details, dict) else {}
    gateway = details.get("gateway")
    row = {name: told.get(name, details.get(name)) for name in KEPT}
    row["gateway"] = gateway.get("name") if isinstance(gateway, dict) else None
    texts = [name for name in KEPT if name not in ("id", "parent_id", "is_disputed", "is_3ds")]
    return row | {name: None if row[name] is None else str(row[name]) for name in texts}


def _contradicts(known: Row, told: Row) -> bool:
    """Whether a telling cannot simply be a later one: it changes what is fixed, or goes backwards."""
    changed = any(
        known[name] is not None and told[name] is not None and known[name] != told[name] for name in FIXED
    )
    backwards = (known["is_disputed"] is True and told["is_disputed"] is False) or (
        known["status"] != told["status"] and None not in (known["status"], told["status"])
    )
    return changed or backwards


def _seconds(text: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
