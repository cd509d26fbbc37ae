"""A database that was lost is restored from a backup, by the commands that docs/operating.md says."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from bridge import cli
from tests.conftest import MakeDatabase
from tests.support.documents import BLOCK, ROOT
from tests.support.postgres import Postgres
from tests.support.processes import SHORT, RunningBridge, running_bridge
from tests.support.webhooks import Senders, Sent

PAGE = (ROOT / "docs" / "operating.md").read_text("utf-8")


def documented(section: str, word: str) -> str:
    """The shell block of a section in which a word stands."""
    told = re.search(rf"(?ms)^## {section}$(.*?)^## ", PAGE)
    assert told
    (block,) = (body for _, kind, body in BLOCK.findall(told[1]) if kind == "sh" and word in body)
    return str(block)


@dataclass
class Keeper:
    """Backs up, loses and restores the database of a running bridge."""

    running: RunningBridge
    postgres: Postgres | None
    folder: Path

    def back_up(self) -> None:
        self._shell(documented("Backup", "pg_dump" if self.postgres else "backup("))

    def lose(self) -> None:
        self.running.database.engine.dispose()
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
        said = io.StringIO()
        with (
            mock.patch.dict(os.environ, self.running.surroundings(), clear=True),
            contextlib.redirect_stdout(said),
        ):
            assert cli.main(words) == 0, said.getvalue()
        return said.getvalue()

    def _name(self) -> str:
        return str(self.running.database.engine.url.database)

    def _shell(self, commands: str) -> None:
        environ = {**os.environ, "DATABASE_URL": self.running.database_url.replace("+psycopg", "")}
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
        running_bridge(
            tmp_path / "bridge",
            url,
            rate=0,
            timeout=0.5,
            settle_seconds=0.5,
            constants={**SHORT, "LOOK_GAP": 0.3},
        ) as running,
    ):
        folder = tmp_path if server else Path(url.removeprefix("sqlite:///")).parent
        yield Keeper(running, server, folder)


def committed(running: RunningBridge) -> list[Any]:
    """What 29next was made to keep."""
    return [(one["kind"], one["facts"]) for one in running.next29.ledger()["commits"]]


def test_a_restored_backup_knows_nothing_of_what_came_since_and_doubles_none_of_it(keeper: Keeper) -> None:
    running, senders = keeper.running, Senders(prefix="R")
    running.start()
    settled, chargeback, revoked = senders.prevention(), senders.chargeback(), senders.verifi()
    running.deliver(settled, chargeback, revoked)
    running.wait()
    running.kill_workers()
    waiting = [senders.rdr(), senders.ethoca()]
    running.deliver(*waiting)
    keeper.back_up()
    since = datetime.now(UTC).isoformat()

    running.start_worker()
    assert chargeback.opens
    assert revoked.opens
    of_known_cases = [
        senders.result(chargeback.opens[0]),
        senders.verifi(case=revoked.opens[0], caseStatus="REVOKED", eventId="evt-revoked"),
    ]
    of_new_cases: list[Sent] = [senders.prevention(), senders.rdr(), senders.chargeback(), senders.ethoca()]
    running.deliver(*of_known_cases, *of_new_cases)
    running.wait()
    before = committed(running)
    assert {kind for kind, _ in before} >= {"dispute", "resolution"}

    running.kill_workers()
    assert running.web
    running.web.kill()
    keeper.lose()
    keeper.restore()
    keeper.bridge("migrate")
    keeper.bridge("recover", "--since", since)
    running.start()
    running.wait()
    # providers send again what came since, and repeat some of what was known
    running.deliver(*of_known_cases, *of_new_cases, settled, *waiting)
    running.wait()
    keeper.bridge("replay", "--status", "forwarded")
    running.wait()
    assert committed(running) == before
    assert {row["status"] for row in running.deliveries()} == {"forwarded"}
    assert len(running.deliveries()) == len(set(running.accepted))
    assert keeper.bridge("reconcile", "--store", "alpha", "--since", since[:10]) == ""
