"""What a look-up of an alert's transaction costs in a large index: its median, and what 99 in 100 take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from sqlalchemy import text

from bridge.storage.database import Database
from bridge.storage.schema import transactions
from tests.bench.places import Place
from tests.support.made_up_sales import MadeUpSales, fill, match_all

SEEDS = 20_000
"""Transactions that are made up one by one; the others are copies with ids, codes and cards of their own."""
WARM, ASKED = 300, 2_000

COLUMNS = {
    "id": f"id + n * {10 * SEEDS}",
    "parent_id": f"parent_id + n * {10 * SEEDS}",
    "order": "\"order\" || '-' || n",
    "external_id": "external_id || n",
    "network_transaction_id": "network_transaction_id || n",
    "auth_code": "CASE WHEN n % 20 = 0 THEN auth_code ELSE auth_code || n END",  # some are used again
    "bankcard_last_four": (
        "substr(CAST(10000 + (CAST(bankcard_last_four AS INTEGER) + n * 37) % 10000 AS TEXT), 2)"
    ),
}


def look_ups(here: Place, kind: str, size: int) -> Iterator[str]:
    """Print what a look-up takes in an index of a size."""
    url = here.database(kind)
    with closing(Database(url)) as database:
        made_up = MadeUpSales(SEEDS, seed=1)
        fill(database, made_up)
        _multiply(database, size // SEEDS)
        match_all(database, made_up, WARM)  # what a running bridge has in its memory
        figures = match_all(database, made_up, ASKED)
        with database.read() as connection:
            rows = connection.execute(text("SELECT count(*) FROM transactions")).scalar_one()
    here.drop(url)
    median, most = figures.look_up(50) * 1e3, figures.look_up(99) * 1e3
    yield f"{kind:<9} {rows:,} transactions, {ASKED:,} alerts: median {median:.2f} ms, p99 {most:.2f} ms"


def _multiply(database: Database, times: int) -> None:
    """Fill the index up with copies; its indexes are made afterwards, which takes a fraction of the time."""
    columns = [column.name for column in transactions.columns]
    copied = ", ".join(COLUMNS.get(name, f'"{name}"') for name in columns)
    statement = f"""
        WITH RECURSIVE copies(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < {times - 1})
        INSERT INTO transactions ({", ".join(f'"{name}"' for name in columns)})
        SELECT {copied} FROM copies CROSS JOIN (SELECT * FROM transactions) AS made
    """  # noqa: S608  all of it stands above
    with database.engine.connect() as connection:
        for index in transactions.indexes:
            index.drop(connection)
        connection.execute(text(statement))
        for index in transactions.indexes:
            index.create(connection)
        connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
