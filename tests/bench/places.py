"""What the benchmark stands on: databases, the bridge's processes, alerts to post, and CPU seconds."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bridge.cli.samples import Sale, make_sale
from bridge.storage import migrate
from bridge.storage.database import Database
from tests.support.load import post
from tests.support.next29.process import StandInProcess
from tests.support.postgres import Postgres, new_server
from tests.support.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
SECRET = "bench:bench-password"
PATH = "/webhooks/ethoca"
HEADERS = {
    "Authorization": "Basic " + base64.b64encode(SECRET.encode()).decode(),
    "Content-Type": "application/json",
}
STORES = 100
NUMBERS = itertools.count(1)
TICKS = os.sysconf("SC_CLK_TCK")


# --- alerts -------------------------------------------------------------------------------------


def alert(number: int, sale: Sale | None = None) -> bytes:
    """An Ethoca alert of about 700 bytes for the store of that number; of a sale, with its facts."""
    body = {
        "ethoca_id": f"BENCH{number:020d}",
        "type": "issuer_alert",
        "alert_timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "age": "24",
        "issuer": "BANK OF THE BENCH",
        "card_number": "411111******1111",
        "card_bin": "411111",
        "card_last4": "1111",
        "arn": f"7{number:022d}",
        "transaction_timestamp": "2026-01-26T04:33:04.000Z",
        "merchant_descriptor": "BENCH*SHOP",
        "member_id": 1000 + number % STORES,  # a zero would say nothing
        "mcc": "5734",
        "amount": 49.9,
        "currency": "USD",
        "transaction_type": "eCommerce",
        "initiated_by": "issuer",
        "is_3d_secure": "not_available",
        "source": "Issuer",
    }
    if sale:
        body |= {
            "amount": sale.amount,
            "card_number": f"{sale.first_six}******{sale.last_four}",
            "card_last4": sale.last_four,
            "auth_code": sale.auth_code,
            "transaction_id": sale.network_transaction_id,
            "transaction_timestamp": sale.sold_at.isoformat(),
        }
    return json.dumps(body).encode()


def requests(first: int, count: int, step: int = 1) -> Iterator[bytes]:
    """Alerts that nobody has sent before, as bytes on the wire."""
    return (post(PATH, alert(number), HEADERS) for number in range(first, first + count * step, step))


def sales(count: int) -> list[Sale]:
    """Payments of two days ago."""
    chance = random.Random(5)  # noqa: S311 - made up, and the same every time
    return [make_sale(chance, datetime.now(UTC)) for _ in range(count)]


# --- processes ----------------------------------------------------------------------------------


@dataclass
class Process:
    """One process and those that it has started."""

    popen: subprocess.Popen[bytes]
    address: tuple[str, int] = ("127.0.0.1", 0)

    def cpu(self) -> float:
        """The CPU seconds that they have used."""
        return sum(map(cpu_of, family(self.popen.pid)))


def family(pid: int) -> list[int]:
    """The ids of a process and its children."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
        return [pid, *map(int, children.split())]
    return [pid]


def cpu_of(pid: int) -> float:
    """The CPU seconds of one process; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / TICKS
    return 0.0


@contextmanager
def process(words: list[str], environ: Mapping[str, str], log: Path) -> Iterator[Process]:
    """Run `python -m ...` from the checkout until the block ends."""
    with (
        log.open("ab") as out,
        subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, env=environ, stdout=out, stderr=out
        ) as one,
    ):
        try:
            yield Process(one)
        finally:
            one.terminate()
            one.wait(30)


@dataclass
class Place:
    """A folder, the databases in it, and the environment of the processes; everything goes with it."""

    folder: Path
    environ: dict[str, str]
    postgres: Postgres | None  # there is no wheel of it for the newest Pythons

    @property
    def kinds(self) -> list[str]:
        """The kinds of databases that there are here."""
        return ["SQLite", "Postgres"] if self.postgres else ["SQLite"]

    def database(self, kind: str) -> str:
        """Make an empty database of the present schema and return its URL."""
        name = f"bench{next(NUMBERS)}"
        url = f"sqlite:///{self.folder}/{name}.db"
        if kind == "Postgres" and self.postgres:
            self.postgres.run(f"CREATE DATABASE {name}")
            url = self.postgres.url(name)
        with closing(Database(url)) as database:
            migrate.upgrade(database)
        return url

    def drop(self, url: str) -> None:
        """Remove a database."""
        if url.startswith("sqlite"):
            for file in self.folder.glob(Path(url).name + "*"):
                file.unlink()
        elif self.postgres:
            name = url.partition("?")[0].rpartition("/")[2]
            self.postgres.run(f"DROP DATABASE {name} WITH (FORCE)")

    def postgres_cpu(self) -> float:
        """The CPU seconds of the Postgres server's present processes."""
        return sum(map(cpu_of, self.postgres.pids())) if self.postgres else 0.0

    @contextmanager
    def web(self, application: str, database_url: str, **environ: str) -> Iterator[Process]:
        """Run an application under the project's gunicorn settings."""
        address = ("127.0.0.1", free_port())
        environ |= {"BRIDGE_BIND": f"{address[0]}:{address[1]}", "DATABASE_URL": database_url}
        words = ["gunicorn", "--config", "config/gunicorn.py", application]
        with process(words, self.environ | environ, self.folder / "web.log") as one:
            one.address = address
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(address, 0.2):
                    break
                time.sleep(0.05)
            yield one

    @contextmanager
    def worker(self, database_url: str, **environ: str) -> Iterator[Process]:
        """Run a worker."""
        environ |= {"DATABASE_URL": database_url}
        with process(["bridge", "worker"], self.environ | environ, self.folder / "worker.log") as one:
            yield one

    def stores(self, next29: StandInProcess, count: int) -> dict[str, str]:
        """Open stores at the stand-in for 29next and return the environment that makes the bridge know them.

        An alert belongs to the store of its number, modulo 100.
        """
        tables, routes, environ = [], [], {}
        for number in range(count):
            store, token = f"s{number}", f"bench-token-{number}"
            next29.control("POST", "tokens", {"token": token, "store": store})
            environ[f"TOKEN_{number}"] = token
            tables.append(f'[stores.{store}]\ntoken_env = "TOKEN_{number}"\nbase_url = "{next29.base_url}"\n')
            routes.append(
                f'[[routes]]\nprovider = "ethoca"\nmember_id = "{1000 + number}"\nstore = "{store}"\n'
            )
        file = self.folder / f"stores{next(NUMBERS)}.toml"
        file.write_text("\n".join([*tables, *routes]), "utf-8")
        return {**environ, "BRIDGE_CONFIG": str(file)}


@contextmanager
def place() -> Iterator[Place]:
    """Make the place, with a Postgres server where there is a wheel of it."""
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "none.toml").write_text("", "utf-8")
        names = ("PATH", "HOME", "LANG", "NEXT_RATE", "WEB_CONCURRENCY", "LOG_LEVEL", "VIRTUAL_ENV")
        environ = {name: os.environ[name] for name in names if name in os.environ}
        environ |= {"ETHOCA_SECRET": SECRET, "BRIDGE_CONFIG": str(folder / "none.toml")}
        yield Place(folder, environ, _postgres(stack))


def _postgres(stack: ExitStack) -> Postgres | None:
    try:
        return Postgres(stack.enter_context(new_server()))
    except ModuleNotFoundError:
        return None
