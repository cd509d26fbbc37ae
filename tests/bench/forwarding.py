"""What a worker makes of what it owes: calls for each alert, one token's rate, a hundred stores."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import func, select

from bridge.alert import Status
from bridge.cli.samples import Sale
from bridge.storage.database import Database
from bridge.storage.inbox import Inbox
from bridge.storage.schema import deliveries
from tests.bench.places import HEADERS, PATH, ROOT, STORES, Place, alert, cpu_of, sales
from tests.support.load import load, post
from tests.support.next29.process import StandInProcess, stand_in_process
from tests.support.webhooks import Json

RATE = 4
"""Calls a second that 29next takes of one token."""
START = 5.0
"""Seconds that are not counted: the start, and the first translations."""
ALERTS = 60
"""Alerts that the calls for each are counted over."""
SPARE = 1.1
"""How much more than the worker can make of it is waiting."""


@dataclass
class Made:
    """What happened at 29next in some seconds."""

    disputes: float
    calls: float
    busiest: int  # calls in the busiest second of any token


def disputes(next29: StandInProcess) -> int:
    """How many disputes there are at 29next."""
    return int(next29.summary()["committed"].get("dispute", 0))


def wait(check: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


# --- calls for each alert -------------------------------------------------------------------------


def calls_per_alert(here: Place, kind: str) -> Iterator[str]:
    """Calls to 29next for each new alert that has a payment: with the local index, and without."""
    for name, indexed in (("the local index answers", True), ("29next has to be asked", False)):
        url, paid = here.database(kind), sales(ALERTS)
        with stand_in_process("--rate", "0") as next29:
            environ = {
                "NEXT_STORE": "sandbox",
                "NEXT_ACCESS_TOKEN": next29.token,
                "NEXT_BASE_URL": next29.base_url,
                "NEXT_RATE": "0",
            }
            next29.control("POST", "transactions", [one.to_transaction() for one in paid])
            if indexed:
                words = ["-m", "bridge", "backfill", "--store", "sandbox", "--days", "10"]
                env = here.environ | environ | {"DATABASE_URL": url}
                subprocess.run(
                    [sys.executable, *words], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL
                )
            before = next29.summary()["calls"]
            with here.web("tests.bench.apps:whole()", url, **environ) as web:
                bodies = (alert(number, sale) for number, sale in enumerate(paid))
                load(web.address, (post(PATH, body, HEADERS) for body in bodies))
            with here.worker(url, **environ):
                wait(lambda url=url: pending(url) == 0)  # type: ignore[misc]
            calls = next29.summary()["calls"] - before
            matched = sum(one["transaction"] is not None for one in next29.disputes())
        here.drop(url)
        yield f"{kind:<9} {calls / ALERTS:.2f} where {name} ({matched} of {ALERTS} matched)"


def pending(url: str) -> int:
    """How many deliveries are owed."""
    with closing(Database(url, pool_size=1)) as database, database.read() as connection:
        owed = select(func.count()).where(deliveries.c.status == Status.PENDING)
        return int(connection.execute(owed).scalar_one())


# --- rate ---------------------------------------------------------------------------------------


def one_token(here: Place, kind: str, seconds: int) -> Iterator[str]:
    """What is made of one token's calls a second while alerts wait."""
    made, _ = _backlog(here, kind, 1, seconds)
    yield (
        f"{kind:<9} {made.calls:.2f} of {RATE} calls a second = {made.calls / RATE:.1%};"
        f" busiest second of it: {made.busiest}"
    )


def many_stores(here: Place, kind: str, seconds: int) -> Iterator[str]:
    """Disputes a second over a hundred stores, each with a token of its own, and what they cost."""
    made, cpu = _backlog(here, kind, STORES, seconds)
    costs = "  ".join(f"{name} {used * 1e3:.1f}" for name, used in cpu.items())
    yield (
        f"{kind:<9} {made.disputes:.0f} disputes/s over {STORES} stores"
        f" = {made.calls / RATE / STORES:.0%} of their limits; busiest second of a token: {made.busiest};"
        f" CPU ms for each dispute: {costs}"
    )


def _backlog(here: Place, kind: str, stores: int, seconds: int) -> tuple[Made, dict[str, float]]:
    """Let a worker work on more than it can finish; returns a second of it, and CPU for each dispute."""
    url = here.database(kind)
    with stand_in_process("--rate", str(RATE)) as next29:
        environ = here.stores(next29, stores)
        count = int(RATE * stores * (seconds + START) * SPARE)
        sold = stock(next29, url, count, [f"s{number}" for number in range(stores)])
        with here.web("tests.bench.apps:whole()", url, **environ) as web:
            step = STORES // stores
            bodies = (alert(number * step, sale) for number, sale in enumerate(sold))
            load(web.address, (post(PATH, body, HEADERS) for body in bodies))
        with here.worker(url, **environ) as worker:
            used = {
                "worker": worker.cpu,
                "29next": lambda: cpu_of(next29.process.pid),
                "Postgres": here.postgres_cpu,
            }
            time.sleep(START)
            began, before = time.monotonic(), {name: cpu() for name, cpu in used.items()}
            time.sleep(seconds)
            ended, after = time.monotonic(), {name: cpu() for name, cpu in used.items()}
        ledger = next29.ledger()
    here.drop(url)
    made = _between(ledger, began, ended)
    total = max(made.disputes * (ended - began), 1.0)
    return made, {name: (after[name] - before[name]) / total for name in used if after[name]}


def stock(next29: StandInProcess, url: str, count: int, names: list[str]) -> list[Sale]:
    """Sell something for each alert, and let the index know it as the webhooks of 29next would."""
    sold = sales(count)
    with closing(Database(url, pool_size=1)) as database:
        inbox = Inbox(database, gap=0.0, lease=60.0)
        for number, name in enumerate(names):
            own = [{"store": name, **sale.to_transaction()} for sale in sold[number :: len(names)]]
            inbox.cases.add_transactions(name, next29.control("POST", "transactions", own))
            inbox.transactions.cover(name, time.time() - 30 * 86400, time.time())
    return sold


def _between(ledger: Json, began: float, ended: float) -> Made:
    """The ledger's clock is this machine's monotonic one, as ours is."""

    def each_second(rows: list[Json]) -> float:
        return len([row for row in rows if began <= row["at"] < ended]) / (ended - began)

    commits = [one for one in ledger["commits"] if one["kind"] == "dispute"]
    busiest = max(ledger["summary"]["busiest_second"].values(), default=0)
    return Made(each_second(commits), each_second(ledger["calls"]), busiest)
