"""What cutting the worst bodies takes: `python -m tests.bench.redact 500` tries 500 pairs of parts, too.

Behind the number, `0` or more, a part of a place's name takes only such places: `0 JSON`.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations

from bridge.redact import cut
from tests.support.hostile_bodies import PARTS, PLACES, body

SIZE = 256 * 1024 - 1024
ROUNDS = 5
SHOWN = 5


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the least CPU time of some rounds: the others were disturbed."""
    took = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        took.append(time.process_time() - started)
    return min(took)


def worst(pairs: int = 0, where: str = "") -> Iterator[str]:
    """Cut each part in each place, and some pairs of parts by turns; print the slowest bodies of all."""
    gc.freeze()  # as a web process does, and so is the next
    gc.set_threshold(20_000)
    chosen: list[tuple[str, ...]] = [(part,) for part in PARTS]
    chosen += random.Random(1).sample(list(permutations(PARTS, 2)), pairs)  # noqa: S311  no secret
    bodies = [(place, parts) for place in PLACES if where in place for parts in chosen]
    slow = sorted(((cutting(place, parts, 1), place, parts) for place, parts in bodies), reverse=True)
    slow = [(cutting(place, parts, ROUNDS), place, parts) for _, place, parts in slow[: 10 * SHOWN]]
    numbers = b"[" + b"4," * (SIZE // 2) + b"4]"
    plain = seconds(partial(json.loads, numbers), ROUNDS)
    yield f"the slowest of {len(bodies):,}; json.loads of as many bytes of numbers takes {plain * 1e3:.1f} ms"
    for took, place, parts in sorted(slow, reverse=True)[:SHOWN]:
        yield f"{took * 1e3:4.0f} ms = {took / plain:4.1f}  {place}: {' '.join(parts)!a}"


def cutting(place: str, parts: tuple[str, ...], rounds: int) -> float:
    """Return the time that a body takes."""
    return seconds(partial(cut, body(place, parts, SIZE), PLACES[place][0]), rounds)


def main() -> None:
    """Print the worst, also of some pairs if their number is said."""
    for line in worst(int(sys.argv[1]) if len(sys.argv) > 1 else 0, "".join(sys.argv[2:3])):
        print(line, flush=True)


if __name__ == "__main__":
    main()
