"""The bridge as it is run: real processes over one database, before a pretend 29next that judges them.

Tests post webhooks to a RunningBridge, do it harm, and have it audited: what was acknowledged is there,
nothing is doubled, the pace was kept, and no secret was written anywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests

from bridge.errors import Unavailable
from bridge.storage.database import Database
from bridge.storage.search import Search
from tests.support import crashing, inside
from tests.support.any_bridge import AnyBridge
from tests.support.clock import eventually
from tests.support.next29.process import StandInProcess, stand_in_process
from tests.support.webhooks import FULL_CARD, PASSWORDS, Json, Sent, basic

PORTS = range(20_000, 32_000, 2)
"""Below those that Linux gives to outgoing connections, one of which would take a free port again."""
TRACES = (
    "Traceback (most recent call last)",
    *(f'"message": "{said}"' for said in ("bug", "turn failed", "reading failed")),
    '"trace":',
)

SHORT: Mapping[str, float] = {
    "SHUTDOWN_SECONDS": -3.0,  # the lease is the timeout and two seconds
    "LOOK_GAP": 1.0,
    "EARLY_CEILING": 1.0,
    "LONGEST_RETRY_AFTER": 2.0,
    "PROBE_SECONDS": 1.0,
}
"""What tests cannot wait for, made short."""


# --- processes ----------------------------------------------------------------------------------


FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.support.crashing"])


class Process:
    """One process of the bridge, in a session of its own, with what it printed in a file."""

    def __init__(
        self, words: Sequence[str], environ: Mapping[str, str], log: Path, wanted: Mapping[str, Any]
    ) -> None:
        self.log = log
        self.process = FORKED.Process(
            target=crashing.run, args=(words, environ, str(log), wanted), daemon=True
        )
        self.process.start()

    @property
    def pid(self) -> int:
        """Its id, which is that of its group too."""
        assert self.process.pid
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.is_alive()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself."""
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut does, with all that it has started."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):  # it has no group yet
                os.killpg(self.pid, signal.SIGKILL)
            self.process.kill()
        self.wait()

    def terminate(self) -> float:
        """Ask it to end; returns how long that took."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        self.wait(25)
        return time.monotonic() - started

    def wait(self, seconds: float = 15) -> int:
        """Wait until it has ended; returns its status, a signal's number negated."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still runs after {seconds} s"
        return self.process.exitcode

    def is_stopped(self) -> bool:
        """Whether it is held by SIGSTOP."""
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] == "T"

    def said(self) -> str:
        """All that it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def family(self) -> list[int]:
        """Its own id, and those of the processes that it has started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [self.pid, *map(int, children.read_text(encoding="ascii").split())]

    def memory(self) -> int:
        """Kilobytes that it and its children hold."""
        status = "".join(Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in self.family())
        return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def open_files(self) -> int:
        """Files and sockets that it and its children have open."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.family())


def free_port() -> int:
    """A port of this machine that nobody listens on, nor on the next one, and that no connection is given."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as this, socket.socket() as next_one:
            this.bind(("127.0.0.1", port))
            next_one.bind(("127.0.0.1", port + 1))
            return port


def never(_: object) -> bool:
    """No delivery may."""
    return False


# --- the bridge ---------------------------------------------------------------------------------


@dataclass
class RunningBridge(AnyBridge):
    """Web, workers, database and 29next."""

    folder: Path
    database_url: str
    next29: StandInProcess
    stores: Sequence[str] = ("alpha",)
    timeout: float = 1.0
    settle_seconds: float = 1.0
    rate: float = 4.0
    constants: Mapping[str, Any] = field(default_factory=lambda: SHORT)
    environ: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    web: Process | None = None
    workers: list[Process] = field(default_factory=list)
    leaving: list[Process] = field(default_factory=list)  # workers that were asked to end
    offered: list[Sent] = field(default_factory=list)
    accepted: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write the configuration, and open the stores at 29next."""
        self.database = Database(self.database_url, pool_size=2)
        self.search = Search(self.database)
        self.names = itertools.count(1)
        tables = [
            f'[stores.{name}]\ntoken_env = "TOKEN_{number}"\nbase_url = "{self.next29.base_url}"\n'
            for number, name in enumerate(self.stores)
        ]
        (self.folder / "bridge.toml").write_text("\n".join(tables), encoding="utf-8")
        self.tokens = {name: f"canary-token-of-{name}" for name in self.stores}
        self.next29.control("POST", "tokens", [{"token": t, "store": s} for s, t in self.tokens.items()])

    def surroundings(self) -> dict[str, str]:
        """The environment of its processes."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "BRIDGE_BIND": f"127.0.0.1:{self.port}",
            "BRIDGE_CONFIG": str(self.folder / "bridge.toml"),
            "DATABASE_URL": self.database_url,
            "NEXT_STORE": self.stores[0],
            "NEXT_RATE": str(self.rate),
            "NEXT_SETTLE_SECONDS": str(self.settle_seconds),
            "NEXT_TIMEOUT": str(self.timeout),
            "WEB_CONCURRENCY": "1",
            **{f"TOKEN_{number}": self.tokens[name] for number, name in enumerate(self.stores)},
            **{f"{name.upper()}_SECRET": f"{name}:{word}" for name, word in PASSWORDS.items()},
            **self.environ,
        }

    def start(self, workers: int = 1) -> Self:
        """Start web and workers, and wait for the web process."""
        for _ in range(workers):
            self.start_worker()
        return self.start_web()

    def start_web(self, *options: str, ready: bool = True, **wanted: Any) -> Self:
        """Start gunicorn in the place of another, with options; `at`, `nth`, `signal` as in `crashing`."""
        if self.web:
            self.web.kill()
        words = ["gunicorn", "--config", "config/gunicorn.py", *options, "bridge.web.app:create_app()"]
        self.web = self._process(words, wanted)
        if ready:
            eventually(self.is_ready, every=0.05)
        return self

    def start_worker(self, **wanted: Any) -> Process:
        """Start one more worker; `at`, `nth` and `signal` as in `crashing`."""
        worker = self._process(["bridge", "worker"], wanted)
        self.workers.append(worker)
        return worker

    def start_command(self, *words: str) -> Process:
        """Start a command that ends by itself; it is ended with the workers if it does not."""
        command = self._process(["bridge", *words], {})
        self.leaving.append(command)
        return command

    def _process(self, words: Sequence[str], wanted: Mapping[str, Any]) -> Process:
        log = self.folder / f"{next(self.names)}-{words[-1].partition(':')[0]}.log"
        return Process(words, self.surroundings(), log, {"constants": dict(self.constants), **wanted})

    def kill_workers(self) -> None:
        """End all workers as a power cut does."""
        for worker in (*self.workers, *self.leaving):
            worker.kill()
        self.workers.clear()
        self.leaving.clear()

    def close(self) -> None:
        """End all processes, by force."""
        self.kill_workers()
        if self.web:
            self.web.kill()
        self.database.close()

    @property
    def url(self) -> str:
        """Where the web process listens."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask the web process for something."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, timeout=30, **options)

    def is_ready(self) -> bool:
        """Whether webhooks can be stored."""
        try:
            return self.get("/readyz").status_code == 200
        except requests.ConnectionError:
            return False

    # providers

    def post(self, sent: Sent) -> requests.Response:
        """Post a webhook once, and remember whether it was acknowledged."""
        self.offered.append(sent)
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(self.url + sent.path, data=sent.body, headers=sent.headers, timeout=30)
        if answer.ok:
            self.accepted.append(sent)
        return answer

    def try_post(self, sent: Sent) -> int | None:
        """Post a webhook to a bridge that may not answer; returns the status, if there is one."""
        try:
            return self.post(sent).status_code
        except requests.RequestException:
            return None

    def deliver(self, *several: Sent) -> None:
        """Post webhooks as providers do: at the same time, and again until each is acknowledged."""
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda one: eventually(lambda: self.try_post(one) == 200), several))

    # what has become of it

    def is_done(self, *several: Sent) -> bool:
        """Whether these webhooks have ended, or all have, with all that they led to."""
        try:
            if not several:
                owed = self.search.deliveries({"status": "pending", "limit": "1"}).results
                return not owed and not any(store["waiting"] for store in self.search.stores())
            found = [self.delivery(one) for one in several]
        except Unavailable:
            return False
        return all(one and one["status"] != "pending" for one in found)

    def wait(self, *several: Sent, seconds: float = 20) -> None:
        """Wait until these webhooks, or all, have ended."""
        try:
            eventually(lambda: self.is_done(*several), seconds, every=0.05)
        except AssertionError:
            left = [one for one in self.deliveries() if one["status"] == "pending"]
            told = "\n".join(str(one) for one in left[:5])
            raise AssertionError(f"{len(left)} are not done within {seconds} s, such as\n{told}") from None

    def disputes(self, sent: Sent | None = None) -> list[Json]:
        """What 29next has in all stores, or of one webhook."""
        if sent is None:
            return self.next29.disputes()
        assert sent.opens
        wanted = (sent.store or self.stores[0], *sent.opens)
        return [one for one in self.next29.disputes() if key(one) == wanted]

    # the audit

    def replay(self, *ids: str) -> None:
        """Put deliveries back into the queue."""
        with requests.Session() as session:
            session.trust_env = False
            for one in ids:
                session.post(f"{self.url}/api/deliveries/{one}/replay", timeout=30).raise_for_status()

    def dismiss(self, delivery: str) -> None:
        """Dismiss what failed on purpose, so that no other test finds it."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{self.url}/api/deliveries/{delivery}/dismiss", timeout=30)
        assert answer.json()["status"] == "ignored", answer.text

    def audit(
        self,
        *,
        may_wait: Callable[[Json], bool] = never,
        may_fail: Callable[[Json], bool] = never,
        may_trace: bool = False,
    ) -> None:
        """Judge all that happened so far; raises an AssertionError with everything that is wrong."""
        ledger = self.next29.ledger()
        rows = self.deliveries()
        problems = [
            *self._lost(rows),
            *(f"never ended: {row}" for row in rows if row["status"] == "pending" and not may_wait(row)),
            *(f"failed: {row}" for row in rows if row["status"] == "failed" and not may_fail(row)),
            *self._undisputed(rows),
            *_doubled(ledger["summary"]),
            *(f"{one} came again without two looks" for one in ledger["summary"]["repeated_blindly"]),
            *self._too_fast(ledger),
            *self._unrecorded(ledger["calls"]),
            *self.leaked(),
            *(() if may_trace else self._traced()),
        ]
        assert not problems, "\n".join(problem[:1000] for problem in problems[:10])

    def _lost(self, rows: list[Json]) -> Iterator[str]:
        """What was acknowledged and is not there, and what is there twice."""
        stored = Counter((row["provider"], row["event_id"]) for row in rows)
        acknowledged = Counter((one.provider, one.event_id) for one in set(self.accepted))
        offered = Counter((one.provider, one.event_id) for one in set(self.offered))
        for what, times in acknowledged.items():
            if stored[what] < times:
                yield f"{what} was acknowledged, and is not there"
        for what, times in stored.items():
            if times > offered[what]:
                yield f"{what} was stored {times} times, and sent {offered[what]} times"

    def _undisputed(self, rows: list[Json]) -> Iterator[str]:
        """Openings without their one dispute, and cases with more than one."""
        disputes: dict[tuple[str, str, str], list[int]] = {}
        for one in self.next29.disputes():
            disputes.setdefault(key(one), []).append(one["id"])
        for what, ids in disputes.items():
            if len(ids) > 1:
                yield f"{what} has {len(ids)} disputes"
        forwarded = {(one["provider"], one["event_id"]): one for one in rows if one["status"] == "forwarded"}
        for sent in self.accepted:
            row = forwarded.get((sent.provider, sent.event_id))
            if sent.opens and row:
                what = (sent.store or self.stores[0], *sent.opens)
                if disputes.get(what) != [row["dispute_id"]]:
                    yield f"{what} is forwarded as {row['dispute_id']}; 29next has {disputes.get(what)}"

    def _too_fast(self, ledger: Json) -> Iterator[str]:
        """The busiest second of each token that had too many calls, with what was called and when.

        One call may have been noted late, by a stand-in that the machine held up: two make it too fast.
        """
        for token, count in ledger["summary"]["busiest_second"].items():
            if not self.rate or count <= self.rate:
                continue
            calls = sorted(
                (one for one in ledger["calls"] if one["token"] == token), key=lambda one: one["at"]
            )
            starts = [one["at"] for one in calls]
            most = int(self.rate)
            crowded = [n for n in range(len(starts) - most) if starts[n + most] < starts[n] + 1.0]
            if not crowded or crowded[-1] - crowded[0] <= most:  # one call stands in all of them
                continue
            first = next(n for n, one in enumerate(calls) if calls[n + count - 1]["at"] < one["at"] + 1.0)
            began = calls[first]["at"]
            told = (f"{one['at'] - began:.3f} {one['method']} {one['path']}" for one in calls[first:][:count])
            wall = calls[first]["wall"]
            yield f"{count} calls in one second with {token} from {wall:.3f} on: {', '.join(told)}"

    def _unrecorded(self, calls: Iterable[Json]) -> Iterator[str]:
        """Writes that reached 29next and stand in no attempt."""
        recorded = Counter(inside.written_calls(self.database))
        writes = (one for one in calls if one["method"] != "GET" and one["store"])
        made = Counter((one["store"], one["method"], one["path"]) for one in writes)
        for what, times in made.items():
            if times > recorded[what]:
                yield f"{what} was called {times} times, and recorded {recorded[what]} times"

    @property
    def canaries(self) -> list[bytes]:
        """What must not be seen anywhere: secrets, plain and as they are sent, and a card number."""
        sent = [basic(name).removeprefix("Basic ") for name in PASSWORDS]
        words = [*PASSWORDS.values(), *sent, *self.tokens.values(), FULL_CARD]
        return [word.encode() for word in words]

    def leaked(self, *told: tuple[str, bytes], also: Sequence[bytes] = ()) -> Iterator[str]:
        """Secrets and card numbers in files, logs and rows, and in what was told: (place, bytes)."""
        for place, content in (*self.written(), *told):
            for secret in (*self.canaries, *also):
                if secret in content:
                    yield f"{secret.decode()} stands in {place}"

    def written(self) -> Iterator[tuple[str, bytes]]:
        """All that the bridge has written anywhere: (place, bytes)."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes()
        if self.database.sqlite:
            file = Path(self.database_url.removeprefix("sqlite:///"))
            for path in sorted(file.parent.glob(file.name + "*")):
                yield str(path), path.read_bytes()
        else:
            for table, rows in inside.written_rows(self.database):
                yield table, rows.encode()

    def _traced(self) -> Iterator[str]:
        """What a process said of an error that nobody had foreseen."""
        for path in sorted(self.folder.glob("*.log")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if any(trace in line for trace in TRACES):
                    yield f"{path.name}: {line[:2000]}"


def key(dispute: Json) -> tuple[str, str, str]:
    """What no two disputes have in common."""
    return dispute["store"], dispute["case_number"], dispute["type"]


def _doubled(summary: Json) -> Iterator[str]:
    for kind, rows in summary["doubled"].items():
        for row in rows:
            yield f"{kind} {row[:-1]} was written {row[-1]} times"


@contextmanager
def running_bridge(
    folder: Path, database_url: str, *options_of_29next: str, may_miss: bool = False, **options: Any
) -> Iterator[RunningBridge]:
    """A bridge with its own 29next; nothing of the bridge is started yet.

    Each fault of 29next that is planned must happen, unless it is a matter of chance and `may_miss`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rate = str(int(options.get("rate", 4)))
    with ExitStack() as stack:
        next29 = stack.enter_context(stand_in_process("--rate", rate, *options_of_29next))
        bridge = RunningBridge(folder, database_url, next29, **options)
        stack.callback(bridge.close)
        yield bridge
        assert may_miss or next29.unmet() == [], "a fault that happens to nothing shows nothing"


def say(text: str) -> None:
    """Print a figure; pytest shows it with -s, and where the test fails."""
    sys.stdout.write(text + "\n")
