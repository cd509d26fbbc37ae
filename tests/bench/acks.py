"""Durable acknowledgements against a bare Flask hello, under the same gunicorn and the same load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from tests.bench.apps import STEPS
from tests.bench.forwarding import disputes, wait
from tests.bench.places import STORES, Place, Process, requests
from tests.support.load import Figures, load
from tests.support.next29.process import stand_in_process

WARM = 400
"""Requests that are not counted, so that connections and caches are there."""
AHEAD = 10**9
"""Numbers of alerts that warm up begin here."""


@dataclass(frozen=True)
class Seen:
    """What one load saw; times are seconds, CPU is for one request."""

    figures: Figures
    cpu: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.figures.rate


class Acks:
    """Posts alerts, numbered on, to one application after the other."""

    def __init__(self, here: Place, count: int) -> None:
        self.here = here
        self.count = count
        self.next_number = 1

    def measure(self, application: str, database_url: str, **environ: str) -> Seen:
        """Start an application, warm it up and load it."""
        with self.here.web(f"tests.bench.apps:{application}()", database_url, **environ) as web:
            self._post(web, WARM)
            before = web.cpu()
            figures = self._post(web, self.count)
            used = web.cpu() - before
        assert figures.statuses == {200: self.count}, (application, figures.statuses)
        return Seen(figures, used / self.count)

    def _post(self, web: Process, count: int) -> Figures:
        first, self.next_number = self.next_number, self.next_number + count
        return load(web.address, requests(first, count))


def against_hello(here: Place, kind: str, count: int, rounds: int) -> Iterator[str]:
    """Acks with the worker idle, then beside one that forwards for a hundred stores; then the profile."""
    acks, url = Acks(here, count), here.database(kind)
    pairs = [(acks.measure("hello", url), acks.measure("whole", url)) for _ in range(rounds)]
    yield _compared(f"{kind}, worker idle", pairs)
    with stand_in_process() as next29:
        environ = here.stores(next29, STORES)
        with here.worker(url, **environ):
            wait(lambda: disputes(next29) > 0)
            acks.count = count // 2
            began, before = time.monotonic(), disputes(next29)
            busy = [
                (acks.measure("hello", url), acks.measure("whole", url, **environ)) for _ in range(rounds)
            ]
            made = (disputes(next29) - before) / (time.monotonic() - began)
    yield _compared(f"{kind}, worker busy", busy) + f"   beside {made:.0f} disputes/s"
    here.drop(url)


def _compared(name: str, pairs: list[tuple[Seen, Seen]]) -> str:
    hello, ours = ([pair[side] for pair in pairs] for side in (0, 1))

    def middle(of: Callable[[Seen], float]) -> tuple[float, float, float]:
        theirs, mine = median(map(of, hello)), median(map(of, ours))
        return mine, theirs, mine / theirs if theirs else 0.0

    rate = middle(lambda seen: seen.rate)
    half = middle(lambda seen: seen.figures.percentile(0.5) * 1e3)
    most = middle(lambda seen: seen.figures.percentile(0.99) * 1e3)
    cpu = middle(lambda seen: seen.cpu * 1e6)
    return (
        f"{name:<22} {rate[0]:5.0f}/s of hello's {rate[1]:5.0f}/s = {rate[2]:.2f}"
        f"   p50 {half[0]:5.1f} of {half[1]:4.1f} ms = {half[2]:.1f}"
        f"   p99 {most[0]:5.1f} of {most[1]:4.1f} ms = {most[2]:.1f}"
        f"   CPU {cpu[0]:4.0f} of {cpu[1]:3.0f} µs = {cpu[2]:.1f}"
    )


def profile(here: Place, kind: str, count: int, rounds: int) -> Iterator[str]:
    """Where the CPU of an ack goes: each application does one step more than the one before."""
    acks, url = Acks(here, count), here.database(kind)
    seen: dict[str, list[Seen]] = {name: [] for name in STEPS}
    for _ in range(rounds):
        for name, several in seen.items():
            several.append(acks.measure(name, url))
    here.drop(url)
    whole = median(one.cpu for one in seen["whole"])
    before = 0.0
    for name, said in STEPS.items():
        cpu, rate = median(one.cpu for one in seen[name]), median(one.rate for one in seen[name])
        step = cpu - before
        yield f"{kind:<9} {step * 1e6:5.0f} µs {step / whole:5.0%}  {said:<50} (so far {rate:5.0f}/s)"
        before = cpu
