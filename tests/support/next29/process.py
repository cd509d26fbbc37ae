"""The stand-in for 29next in a process of its own, used through its control surface."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.support.documents import ROOT

Json = dict[str, Any]


class StandInProcess:
    """A stand-in that outlives the tests' other processes; used through its control surface."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        self.process = process
        self.base_url: str = where["base_url"]
        self.control_url: str = where["control_url"]
        self.token: str = where["token"]
        self._session = requests.Session()
        self._session.trust_env = False

    def control(self, method: str, name: str, body: object = None) -> Any:
        """Call the control surface; an HTTPError if it refuses."""
        url = self.control_url + name
        answer = self._session.request(method, url, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def ledger(self) -> Json:
        """The whole ledger: summary, calls, commits."""
        ledger: Json = self.control("GET", "ledger")
        return ledger

    def summary(self) -> Json:
        """The ledger in numbers."""
        summary: Json = self.control("GET", "summary")
        return summary

    def disputes(self) -> list[Json]:
        """All disputes of all stores, each with its `store`."""
        disputes: list[Json] = self.control("GET", "disputes")
        return disputes

    def add_faults(self, *faults: str | Json) -> None:
        """Put faults in force: a name of FAULTS, that and changes, or a whole fault."""
        added = [{"name": one} if isinstance(one, str) else one for one in faults]
        self.control("POST", "faults", {"add": added})

    def unmet(self) -> list[str]:
        """The faults that no call has met."""
        unmet: list[str] = self.control("GET", "unmet")
        return unmet

    def clear_faults(self) -> None:
        """End all faults."""
        self.control("POST", "faults", {"clear": True})

    def stop(self) -> None:
        """End the process."""
        self._session.close()
        self.process.terminate()
        self.process.communicate(timeout=10)


@contextmanager
def stand_in_process(*arguments: str) -> Iterator[StandInProcess]:
    """A stand-in in a process of its own; the arguments are those of `python -m tests.support.next29`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.next29", "--port", "0", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    next29 = StandInProcess(process)
    try:
        yield next29
    finally:
        next29.stop()
