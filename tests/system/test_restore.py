"""A database that was lost is restored from a backup, by the commands that docs/operating.md says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeDatabase, Postgres
from tests.support.fake_next import ROOT
from tests.support.running import SHORT, House, Senders, Sent, running
from tests.system.test_docs import BLOCK

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")


def documented(section: str, word: str) -> str:
    """The shell block of a section in which a word stands."""
    told = re.search(rf"(?ms)^## {section}$(.*?)^## ", PAGE)
    assert told
    (block,) = (body for _, kind, body in BLOCK.findall(told[1]) if kind == "sh" and word in body)
    return str(block)


@dataclass
class Keeper:
    """Backs up, loses and restores a house's database."""

    house: House
    postgres: Postgres | None
    folder: Path

    def back_up(self) -> None:
        self._shell(documented("Backup", "pg_dump" if self.postgres else "backup("))

    def lose(self) -> None:
        self.house.database.engine.dispose()
        if self.postgres:
            name = self._name()
            self.postgres.run(f"DROP DATABASE {name} WITH (FORCE)")
            self.postgres.run(f"CREATE DATABASE {name}")
        else:
            (self.folder / "bridge.db").write_bytes(b"what the fire left")

    def restore(self) -> None:
        self._shell(documented("Restore", "pg_restore" if self.postgres else "cp "))

    def bridge(self, *words: str) -> str:
        """Run a command of the bridge as the operator does; returns what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "bridge", *words],
            cwd=ROOT,
            env=self.house.surroundings(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _name(self) -> str:
        return str(self.house.database.engine.url.database)

    def _shell(self, commands: str) -> None:
        environ = {**os.environ, "DATABASE_URL": self.house.database_url.replace("+psycopg", "")}
        if self.postgres:
            environ["PATH"] = f"{self.postgres.server.bin_path}{os.pathsep}{environ['PATH']}"
        shell = ["bash", "-ec", commands]
        subprocess.run(shell, cwd=self.folder, env=environ, check=True, timeout=60)


@pytest.fixture(params=["sqlite", "postgres"])
def keeper(request: pytest.FixtureRequest, make_database: MakeDatabase, tmp_path: Path) -> Iterator[Keeper]:
    kind = request.param
    server = request.getfixturevalue("durable_postgres") if kind == "postgres" else None
    with (
        make_database(kind, durable=True) as url,
        running(
            tmp_path / "house",
            url,
            rate=0,
            timeout=0.5,
            settle_seconds=0.5,
            constants={**SHORT, "LOOK_GAP": 0.3},
        ) as house,
    ):
        folder = tmp_path if server else Path(url.removeprefix("sqlite:///")).parent
        yield Keeper(house, server, folder)


def committed(house: House) -> list[Any]:
    """What 29next was made to keep."""
    return [(one["kind"], one["facts"]) for one in house.next.ledger()["commits"]]


def test_a_restored_backup_knows_nothing_of_what_came_since_and_doubles_none_of_it(keeper: Keeper) -> None:
    house, senders = keeper.house, Senders(prefix="R")
    house.start()
    settled, chargeback, revoked = senders.prevention(), senders.chargeback(), senders.verifi()
    house.deliver(settled, chargeback, revoked)
    house.wait()
    house.kill_workers()
    waiting = [senders.rdr(), senders.ethoca()]
    house.deliver(*waiting)
    keeper.back_up()
    since = datetime.now(UTC).isoformat()

    house.start_worker()
    assert chargeback.opens
    assert revoked.opens
    of_known_cases = [
        senders.result(chargeback.opens[0]),
        senders.verifi(case=revoked.opens[0], caseStatus="REVOKED", eventId="evt-revoked"),
    ]
    of_new_cases: list[Sent] = [senders.prevention(), senders.rdr(), senders.chargeback(), senders.ethoca()]
    house.deliver(*of_known_cases, *of_new_cases)
    house.wait()
    before = committed(house)
    assert {kind for kind, _ in before} >= {"dispute", "resolution"}

    house.kill_workers()
    assert house.web
    house.web.kill()
    keeper.lose()
    keeper.restore()
    keeper.bridge("migrate")
    keeper.bridge("recover", "--since", since)
    house.start()
    house.wait()
    # providers send again what came since, and repeat some of what was known
    house.deliver(*of_known_cases, *of_new_cases, settled, *waiting)
    house.wait()
    keeper.bridge("replay", "--status", "forwarded")
    house.wait()
    assert committed(house) == before
    assert {row["status"] for row in house.deliveries()} == {"forwarded"}
    assert len(house.deliveries()) == len(set(house.accepted))
    assert keeper.bridge("reconcile", "--store", "alpha", "--since", since[:10]) == ""
