"""How fast the log is with very many deliveries in it: `python -m tests.bench.log [ROWS]`.

Fills a database of each kind, asks for each page and search many times, and prints the 95th percentiles.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Table, text

from bridge.alert import Alert
from bridge.storage import schema, search_terms
from bridge.storage.database import Database
from bridge.storage.ids import new_id
from bridge.storage.schema import attempts, cases, deliveries, marks, webhooks
from tests.bench.places import Place, place
from tests.support.history import OUTLET, bridge_with_outlet
from tests.support.next29 import STORE

Json = dict[str, Any]

ROWS = 1_000_000
DAYS = 90
BATCH = 20_000
TIMES = 40
PROVIDERS = ("ethoca",) * 6 + ("midigator",) * 4 + ("verifi",) * 3 + ("chargeblast",) * 2 + ("kount",)
LIMIT = 0.2
"""Seconds that a page may take, but for one in twenty."""
BEGINS = 1_770_000_000.0


def fill(database: Database, rows: int, until: float) -> None:
    """Write deliveries as the bridge would have: most forwarded, a few failed, ignored and pending."""
    chance = random.Random(3)  # noqa: S311
    moment = until - DAYS * 86_400
    filled = (webhooks, deliveries, cases, attempts, marks)
    indexes = [index for table in filled for index in table.indexes]
    with database.begin() as connection:
        for index in indexes:  # made afterwards, which takes a fraction of the time
            index.drop(connection)
    for first in range(0, rows, BATCH):
        made: dict[Table, list[Json]] = {table: [] for table in filled}
        for number in range(first, min(first + BATCH, rows)):
            moment += DAYS * 86_400 / rows
            _one(made, number, moment, chance)
        with database.begin() as connection:
            for table, values in made.items():
                _pour(connection, table, values)
    with database.begin() as connection:
        for index in indexes:
            index.create(connection)
    if not database.sqlite:
        with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _pour(connection: Connection, table: Table, rows: list[Json]) -> None:
    """Write many rows past SQLAlchemy, which takes longer for them than the database does."""
    names = ", ".join(f'"{name}"' for name in rows[0])
    nested = [name for name in rows[0] if isinstance(table.c[name].type, schema.Json)]
    for row in rows:
        row.update({name: json.dumps(row[name]) for name in nested})
    values = sorted(tuple(row.values()) for row in rows)  # near each other in the table, too
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" for _ in rows[0])
        driver.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", values)  # noqa: S608
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for value in values:
            copy.write_row(value)


def _one(made: dict[Any, list[Json]], number: int, moment: float, chance: random.Random) -> None:
    provider = chance.choice(PROVIDERS)
    store = STORE if chance.random() < 0.9 else OUTLET
    luck = chance.random()
    status, reason = ("forwarded", None) if luck < 0.97 else ("ignored", "inform")
    if luck > 0.995:
        status, reason = chance.choice(
            (("failed", "untranslatable"), ("failed", "refused"), ("pending", None))
        )
    alert = Alert.from_json(
        {
            "case_number": f"CASE{number:012d}",
            "amount": chance.choice(("29.99", "49.00", f"{chance.randint(900, 20000) / 100:.2f}")),
            "currency": "USD",
            "arn": f"7{chance.randint(0, 10**22):022d}",
            "card_first_six": "411111",
            "card_last_four": f"{chance.randint(0, 9999):04d}",
            "auth_code": f"{chance.randint(0, 999999):06d}",
            "order": str(100_000 + number),
            "descriptor": "SANDBOX*SHOP",
        }
    )
    one = new_id("", moment)
    ids = {kind: kind + one for kind in "wdca"}
    body = f'{{"case": "{alert.case_number}", "arn": "{alert.arn}", "note": "{"x" * 600}{number}"}}'
    made[webhooks].append(
        {
            "id": ids["w"],
            "provider": provider,
            "path": f"/webhooks/{provider}",
            "store": None,
            "headers": {"content-type": "application/json", "user-agent": "bench"},
            "body": body.encode(),
            "received_at": moment,
        }
    )
    made[deliveries].append(
        {
            "id": ids["d"],
            "webhook_id": ids["w"],
            "item": 0,
            "fingerprint": f"{number:064d}",
            "provider": provider,
            "store": store,
            "event_id": f"evt-{number}",
            "event_type": "issuer_alert",
            "effect": "inform" if status == "ignored" else chance.choice(("open",) * 50 + ("withdraw",)),
            "status": status,
            "reason": reason,
            "alert": alert.to_json(),
            "case_id": ids["c"],
            "case_number": alert.case_number,
            "received_at": moment,
            "allowed": 86_400.0,
            "deadline_at": moment + 86_400,
            "due_at": moment if status == "pending" else None,
            "late": False,
            "tries": 0,
            "settled_at": None if status == "pending" else moment + 1.5,
        }
    )
    made[cases].append(
        {
            "id": ids["c"],
            "store": store,
            "case_number": alert.case_number,
            "type": "alert",
            "state": "review" if chance.random() < 0.01 else "open",
            "provider": provider,
            "providers": [provider],
            "opened_at": moment,
            "facts": alert.to_json(),
            "amount": str(alert.amount),
            "currency": alert.currency,
            "arn": alert.arn,
            "dispute_id": 1000 + number,
            "transaction_id": 5_000_000 + number,
            "wants": {},
            "match": {
                "asked": [],
                "rule": "auth_code",
                "candidates": [],
                "transaction_id": 5_000_000 + number,
            },
            "left_out": [],
            "notes": [],
            "deadline_at": moment + 86_400,
            "due_at": moment if status == "pending" else None,
            "lease_until": 0.0,
            "fence": 1,
            "tries": 0,
            "lapses": 0,
        }
    )
    made[attempts].append(
        {
            "id": ids["a"],
            "case_id": ids["c"],
            "delivery_id": ids["d"],
            "store": store,
            "method": "POST",
            "path": "disputes/",
            "request": {"case_number": alert.case_number},
            "status": 201,
            "response": '{"id": 1}',
            "outcome": "ok",
            "started_at": moment + 1.0,
            "seconds": 0.3,
        }
    )
    found = {*search_terms.of_alert(alert), f"evt-{number}", str(1000 + number), str(5_000_000 + number)}
    made[marks] += [{"word": word, "id": ids["d"]} for word in found]
    made[marks] += [{"word": word, "id": ids["c"]} for word in {*found, search_terms.reported_by(provider)}]


def questions(rows: int) -> Iterator[tuple[str, Callable[[int], str]]]:
    """Each page and search by its name; what is looked for differs from one time to the next."""
    middle = rows // 2
    yield "today", lambda _: "/"
    for path in ("/deliveries", "/cases", "/stores", "/providers", "/refused"):
        yield path, lambda _, path=path: path  # type: ignore[misc]
    for query in (
        "status=failed", "status=pending", "status=ignored", "provider=kount", "store=outlet",
        "effect=withdraw", "reason=refused", "provider=kount&status=failed", "store=outlet&status=failed",
        "store=outlet&provider=kount", "effect=withdraw&store=outlet", "since=2026-01-20&until=2026-01-22",
        "status=failed&since=2026-01-20&until=2026-01-22",
    ):  # fmt: skip
        yield f"/deliveries?{query}", lambda _, query=query: f"/deliveries?{query}"  # type: ignore[misc]
    for query in (
        "state=review",
        "state=review&store=outlet",
        "provider=kount",
        "store=outlet",
        "type=alert",
    ):
        yield f"/cases?{query}", lambda _, query=query: f"/cases?{query}"  # type: ignore[misc]
    yield "by case number", lambda n: f"/deliveries?q=CASE{(middle + n * 997) % rows:012d}"
    yield "by order", lambda n: f"/deliveries?q={100_000 + (middle + n * 997) % rows}"
    yield "by last four", lambda n: f"/deliveries?q={n * 211 % 10_000:04d}"
    yield "by a common amount", lambda _: "/deliveries?q=29.99"
    yield "by a common amount, failed", lambda _: "/deliveries?q=29.99&status=failed"
    yield "by dispute", lambda n: f"/deliveries?q={1000 + (middle + n * 997) % rows}"
    yield "cases by last four", lambda n: f"/cases?q={n * 211 % 10_000:04d}"
    yield "by nothing that is there", lambda n: f"/deliveries?q=nothing{n}"
    yield "text in a body", lambda n: f"/deliveries?text=xxx{rows - 1 - n}"


def pages(url: str, rows: int) -> Iterator[str]:
    """Ask a filled database's log for each page and search; the slowest, and whatever is too slow."""
    with bridge_with_outlet(url, begins=BEGINS, log_level="WARNING") as bridge:
        search = bridge.search
        middle = search.deliveries({"until": "2026-01-05", "limit": "1"}).results[0]
        asked = [
            *questions(rows),
            ("a delivery", lambda _: f"/deliveries/{middle['id']}"),
            ("a case", lambda _: f"/cases/{middle['case_id']}"),
        ]
        slow = 0
        for name, path in asked:
            _time(bridge.client, path(TIMES))  # what is read for the first time comes from the disk
            took = sorted(_time(bridge.client, path(n)) for n in range(TIMES))
            p95 = took[int(TIMES * 0.95)]
            slow += p95 > LIMIT
            mark = " TOO SLOW" if p95 > LIMIT else ""
            yield f"{name:<58} p50 {took[TIMES // 2] * 1e3:6.1f} p95 {p95 * 1e3:6.1f} ms{mark}"
        yield f"{slow} of {len(asked)} pages and searches above {LIMIT * 1000:.0f} ms"


def section(here: Place, kind: str, rows: int) -> Iterator[str]:
    """Fill a database and ask for every page of its log."""
    url = here.database(kind)
    with closing(Database(url)) as database:
        fill(database, rows, BEGINS)
    yield f"{kind}, {rows:,} deliveries"
    yield from pages(url, rows)
    here.drop(url)


def _time(client: Any, path: str) -> float:
    started = time.perf_counter()
    assert client.get(path).status_code == 200, path
    return time.perf_counter() - started


if __name__ == "__main__":
    with place() as here:
        for kind in here.kinds:
            for line in section(here, kind, int(sys.argv[1]) if len(sys.argv) > 1 else ROWS):
                print(line, flush=True)
