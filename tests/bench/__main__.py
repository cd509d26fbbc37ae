"""`make bench`: the figures of this machine, in one run and as ratios. It starts everything itself.

What is printed, and what it means, stands in docs/speed.md. BENCH_SMALL=1 leaves out the million,
BENCH_ONLY=acks,rate (names of SECTIONS) all but these.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench import acks as bench_acks
from tests.bench import forwarding as bench_forwarding
from tests.bench import index as bench_index
from tests.bench import log as bench_log
from tests.bench import redact as bench_redact
from tests.bench import scale as bench_scale
from tests.bench.places import STORES, Place, place

REQUESTS = 4000
ROUNDS = 5
SECONDS = 20
SIZES = (1_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Section:
    """One figure, for each kind of database."""

    title: str
    lines: Callable[[Place, str], Iterator[str]]


def sizes() -> tuple[int, ...]:
    """How many deliveries the log holds."""
    return SIZES[:-1] if os.environ.get("BENCH_SMALL") == "1" else SIZES


SECTIONS = {
    "acks": Section(
        "Durable acknowledgements, against a bare Flask hello under the same gunicorn",
        lambda here, kind: bench_acks.against_hello(here, kind, REQUESTS, ROUNDS),
    ),
    "profile": Section(
        "Where the CPU of an acknowledgement goes",
        lambda here, kind: bench_acks.profile(here, kind, REQUESTS, 3),
    ),
    "redact": Section(
        "Cutting the worst bodies of 255 kB",
        lambda here, kind: bench_redact.worst() if kind == here.kinds[0] else iter(()),
    ),
    "calls": Section("Calls to 29next for each new alert", bench_forwarding.calls_per_alert),
    "rate": Section(
        "Use of one token's rate",
        lambda here, kind: bench_forwarding.one_token(here, kind, SECONDS),
    ),
    "disputes": Section(
        f"Disputes a second over {STORES} stores, one worker beside 29next's stand-in",
        lambda here, kind: bench_forwarding.many_stores(here, kind, SECONDS),
    ),
    "scale": Section(
        "Cost among many deliveries: median at the fewest, and ratios to it",
        lambda here, kind: bench_scale.cost(here, kind, sizes()),
    ),
    "index": Section(
        "Look-ups in the local index of transactions",
        lambda here, kind: bench_index.look_ups(here, kind, 2 * sizes()[-1]),
    ),
    "pages": Section(
        "Every page and search of the log: milliseconds, of which 95 in 100 take no more",
        lambda here, kind: bench_log.section(here, kind, sizes()[-1]),
    ),
}


def main() -> None:
    """Print every section."""
    only = os.environ.get("BENCH_ONLY")
    wanted = only.split(",") if only else list(SECTIONS)
    python, load = platform.python_version(), os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {python}; load {load:.2f}", flush=True)
    began = time.monotonic()
    with place() as here:
        for name in wanted:
            print(f"\n{SECTIONS[name].title} ({name})", flush=True)
            for kind in here.kinds:
                for line in SECTIONS[name].lines(here, kind):
                    print("  " + line, flush=True)
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
