"""What a claim and a search of the log cost among a thousand deliveries, and among a million."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from statistics import median

from sqlalchemy import select, update

from bridge.settings import Store
from bridge.storage.database import Database
from bridge.storage.inbox import Inbox
from bridge.storage.rows import NOT_LEASED
from bridge.storage.schema import cases
from bridge.storage.search import Search
from tests.bench import log as bench_log
from tests.bench.places import Place
from tests.support.next29 import STORE

TIMES = 60
DUE = 200
"""Cases that wait to be claimed, at every size."""

Question = Callable[[int], object]


def cost(here: Place, kind: str, sizes: tuple[int, ...]) -> Iterator[str]:
    """Median milliseconds of each question at the smallest size, and the ratios of the others to it."""
    found = {size: _at(here, kind, size) for size in sizes}
    heads = "".join(f"{size:>12,}" for size in sizes[1:])
    yield f"{kind:<9} {'':<44} {sizes[0]:>9,} {heads}"
    for name, least in found[sizes[0]].items():
        ratios = "".join(f"{found[size][name] / least:>11.1f}x" for size in sizes[1:])
        yield f"{kind:<9} {name:<44} {least * 1e3:>6.2f} ms {ratios}"


def _at(here: Place, kind: str, size: int) -> dict[str, float]:
    url = here.database(kind)
    with closing(Database(url)) as database:
        inbox = Inbox(database, gap=0.0, lease=60.0)
        inbox.stores.register([Store(STORE, "http://127.0.0.1:9/api/admin/", "bench-token")])
        bench_log.fill(database, size, inbox.now())
        _make_due(database, inbox.now())
        costs = {name: _median(ask) for name, ask in _questions(database, inbox, size).items()}
    here.drop(url)
    return costs


def _make_due(database: Database, now: float) -> None:
    """Let the newest cases of a store wait for a call, and none of the others."""
    newest = select(cases.c.id).where(cases.c.store == STORE).order_by(cases.c.id.desc()).limit(DUE)
    with database.begin() as connection:
        connection.execute(update(cases).where(cases.c.due_at.is_not(None)).values(due_at=None))
        due = update(cases).where(cases.c.id.in_(newest.scalar_subquery()))
        connection.execute(due.values(due_at=now, deadline_at=now + 3600, lease_until=NOT_LEASED))


def _questions(database: Database, inbox: Inbox, size: int) -> dict[str, Question]:
    search, middle = Search(database), size // 2

    def claim(_: int) -> None:
        assert inbox.queue.claim([STORE], 1), "nothing was claimed"

    return {
        "claim the most urgent case": claim,
        "look for untranslated deliveries": lambda _: inbox.deliveries.untranslated(10),
        "log: the newest page": lambda _: search.deliveries({}),
        "log: failed ones": lambda _: search.deliveries({"status": "failed"}),
        "log: of a store, failed": lambda _: search.deliveries({"store": STORE, "status": "failed"}),
        "log: by case number": lambda n: search.deliveries({"q": f"CASE{(middle + n * 7) % size:012d}"}),
        "log: by last four of the card": lambda n: search.deliveries({"q": f"{n * 211 % 10_000:04d}"}),
        "log: by what is not there": lambda n: search.deliveries({"q": f"nothing{n}"}),
        "cases: of a store, in review": lambda _: search.cases({"store": STORE, "state": "review"}),
    }


def _median(ask: Question) -> float:
    took = []
    for number in range(TIMES):
        began = time.perf_counter()
        ask(number)
        took.append(time.perf_counter() - began)
    return median(took)
