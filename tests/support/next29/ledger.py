"""The ledger of the stand-in: every call and every write that really happened.

It is the auditor of whoever called: it says what was done twice, and how busy a second was.
"""

from __future__ import annotations

import contextlib
import json
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TextIO
from urllib.parse import parse_qs

from tests.support.next29.replies import Json


@dataclass(slots=True)
class Call:
    """One call as it arrived, and what became of it."""

    at: float  # time.monotonic() once its first line had been read
    wall: float  # seconds since 1970, by the stand-in's clock
    token: str  # empty for one that the stand-in was not given: it may be somebody's real token
    store: str
    method: str
    path: str  # after /api/admin
    query: str
    body: object = None  # JSON, or the text that is none
    status: int | None = None  # None: not answered, or not yet
    fault: str = ""  # the names of the faults that happened to it

    @property
    def is_clear(self) -> bool:
        """Whether its answer says what happened: it was carried out, or refused.

        A collection that redirects is another store's, where nothing has been done.
        """
        if self.status is None or self.status == 408 or self.status >= 500:
            return False
        if 300 <= self.status < 400:
            return self.path == "/disputes/"
        return self.status >= 400 or MODIFIERS.issuperset(filter(None, self.fault.split(", ")))

    @property
    def written(self) -> tuple[object, ...]:
        """What identifies a write: another one with the same values repeats it."""
        body = self.body if isinstance(self.body, dict) else {}
        told = (body.get(name) for name in ("case_number", "type", "message") if name in body)
        return (self.store, self.method, self.path, *told)

    def looks_for(self, written: tuple[object, ...]) -> bool:
        """Whether it is an answered look-up that shows whether a write was carried out."""
        store, _, path, *told = written
        if (self.method, self.store, self.status) != ("GET", store, 200):
            return False
        if path == "/disputes/":
            return self.path == path and parse_qs(self.query).get("case_number", []) == told[:1]
        kind, ident = str(path).split("/")[1:3]
        return self.path.startswith("/transactions/" if kind == "transactions" else f"/disputes/{ident}/")


@dataclass(frozen=True, slots=True)
class Commit:
    """One write that really happened."""

    at: float
    wall: float
    store: str
    kind: str  # dispute, change, resolution, note, refund, webhook
    facts: Json


# What must not happen twice within a store, by kind of commit: the facts that make it the same.
SAME: Mapping[str, tuple[str, ...]] = {
    "dispute": ("case_number", "type"),
    "resolution": ("dispute",),
    "refund": ("transaction",),
    "note": ("dispute", "message"),
}

MODIFIERS = frozenset({"latency", "list_lag", "loose"})
"""Faults that leave an answer to a write as it is."""
LOOKS = 2
"""How many look-ups an unclear write needs before it is sent again."""


class Ledger:
    """Calls and commits in their order; both lists only grow."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.calls: list[Call] = []
        self.commits: list[Commit] = []
        self._file = file
        self._lock = threading.Lock()

    def open_call(self, call: Call) -> None:
        """Add a call when it arrives; its body, status and faults follow."""
        self.calls.append(call)

    def close_call(self, call: Call) -> None:
        """Write a call to the file, once nothing more can become of it."""
        self._write("call", call)

    def commit(self, commit: Commit) -> None:
        """Add a write that has happened."""
        self.commits.append(commit)
        self._write("commit", commit)

    def committed(self, kind: str) -> list[Json]:
        """The facts of all commits of one kind."""
        return [one.facts for one in list(self.commits) if one.kind == kind]

    @property
    def disputes(self) -> list[Json]:
        """Every dispute created through the API, as it was then."""
        return self.committed("dispute")

    @property
    def refunds(self) -> list[Json]:
        """Every refund, whether created by itself or with a resolution."""
        return self.committed("refund")

    def doubled(self, kind: str = "dispute") -> dict[tuple[object, ...], int]:
        """What was committed more than once, (store, *SAME[kind]), and how often."""
        times = Counter(
            (one.store, *(one.facts[name] for name in SAME[kind]))
            for one in list(self.commits)
            if one.kind == kind
        )
        return {what: count for what, count in times.items() if count > 1}

    def repeated_blindly(self) -> list[Call]:
        """Writes that came again after an unclear answer, without two looks at 29next in between.

        Each is wrong even where nothing came of the first one: whoever called could not know.
        """
        looks: dict[tuple[object, ...], int] = {}  # since the last answer, by what was written
        blind = []
        for call in list(self.calls):
            if call.method == "GET":
                for what in looks:
                    looks[what] += call.looks_for(what)
                continue
            if call.path == "/disputes/" and call.body is None:
                continue  # it was not read, so nobody knows of which case it was
            if looks.pop(call.written, LOOKS) < LOOKS:
                blind.append(call)
            if not call.is_clear:
                looks[call.written] = 0
        return blind

    def busiest_second(self, token: str | None = None) -> int:
        """The most calls in any second, refused ones too, of one token or of the busiest one."""
        if token is None:
            tokens = {call.token for call in list(self.calls) if call.token}
            return max(map(self.busiest_second, tokens), default=0)
        at = sorted(call.at for call in list(self.calls) if call.token == token)
        return max((bisect_left(at, first + 1.0) - i for i, first in enumerate(at)), default=0)

    def summary(self) -> Json:
        """The ledger in numbers."""
        calls, commits = list(self.calls), list(self.commits)
        tokens = sorted({call.token for call in calls if call.token})
        return {
            "calls": len(calls),
            "by_status": Counter(str(call.status) for call in calls),
            "by_fault": Counter(call.fault for call in calls if call.fault),
            "committed": Counter(one.kind for one in commits),
            "busiest_second": {token: self.busiest_second(token) for token in tokens},
            "repeated_blindly": [f"{one.store} {one.method} {one.path}" for one in self.repeated_blindly()],
            "doubled": {
                kind: [[*what, count] for what, count in self.doubled(kind).items()] for kind in SAME
            },
        }

    def _write(self, what: str, row: Call | Commit) -> None:
        if self._file is None:
            return
        line = json.dumps({"what": what, **asdict(row)}) + "\n"
        with self._lock, contextlib.suppress(ValueError):  # closed: the stand-in is over
            self._file.write(line)
            self._file.flush()
