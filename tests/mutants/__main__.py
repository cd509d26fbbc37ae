"""Break each rule in a copy and print which tests noticed: `python -m tests.mutants [NAME...]`."""

from __future__ import annotations

import argparse
import queue
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.mutants.mutation import Mutation
from tests.mutants.rules import MUTATIONS
from tests.mutants.running import INVALID, KILLED, ROOT, SURVIVED, Copy, Verdict, copies, options_of

T = TypeVar("T")
Item = TypeVar("Item")


def say(text: str) -> None:
    """Print a line now."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    """Try the mutations that are asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="only these mutations, or those that contain it"
    )
    parser.add_argument("--list", action="store_true", help="print the mutations and try none")
    parser.add_argument("--jobs", type=int, default=2, help="how many are tried at once (default 2)")
    parser.add_argument("--all-tests", action="store_true", help="run the whole suite for those that survive")
    asked = parser.parse_args(words)
    chosen = [one for one in MUTATIONS if not asked.names or any(name in one.name for name in asked.names)]
    if asked.list:
        for one in chosen:
            say(f"{one.name}: {one.promise} ({one.file})")
        return 0
    stale = [f"{one.name}: {problem}" for one in chosen for problem in one.problems(ROOT)]
    for line in stale:
        say(f"stale     {line}")
    if stale or not chosen:
        say(
            "The list is older than the code: bring it up to date." if stale else "There is no such mutation."
        )
        return 1
    return _try(chosen, max(asked.jobs, 1), all_tests=asked.all_tests)


def _try(chosen: Sequence[Mutation], jobs: int, *, all_tests: bool) -> int:
    started = time.monotonic()
    with copies(jobs) as places:
        for problem in filter(None, (place.check() for place in places)):
            say(problem)
            return 1
        red = _red(places, chosen)
        verdicts = _each(places, chosen, lambda place, one: _judge(place, one, red, all_tests=all_tests))
    killed = sum(one.word == KILLED for one in verdicts)
    left = [(one, found) for one, found in zip(chosen, verdicts, strict=True) if found.word != KILLED]
    say(f"\n{killed}/{len(chosen)} killed in {time.monotonic() - started:.0f} s")
    for mutation, found in left:
        say(f"{found.word:9} {mutation.name}: {mutation.promise} {found.why}".rstrip())
    return 1 if left else 0


def _judge(place: Copy, mutation: Mutation, red: set[str], *, all_tests: bool) -> Verdict:
    """Try one mutation, and print what became of it."""
    known = [test for test in mutation.selection if test in red]
    if known:
        found = Verdict(INVALID, f"red, or not there, without it: {', '.join(known)}")
    else:
        found = place.try_out(mutation, mutation.selection, *options_of(mutation))
    if found.word == SURVIVED and all_tests:
        whole = place.try_out(mutation, ())
        found = Verdict(SURVIVED, f"(of all tests: {whole.word} {whole.why})", found.seconds + whole.seconds)
    say(f"{found.word:9} {mutation.name:44} {found.seconds:5.1f} s  {found.why}".rstrip())
    return found


def _red(places: Sequence[Copy], chosen: Iterable[Mutation]) -> set[str]:
    """Return the tests that do not pass where nothing is broken: what they say proves nothing."""
    wanted: dict[tuple[str, ...], set[str]] = {}
    for one in chosen:
        wanted.setdefault(options_of(one), set()).update(one.selection)
    parts = [
        (options, part)
        for options, tests in wanted.items()
        for number in range(len(places))
        if (part := sorted(tests)[number :: len(places)])
    ]
    red: set[str] = set()
    for (_, tests), run in zip(
        parts, _each(places, parts, lambda place, part: place.run(part[1], *part[0])), strict=True
    ):
        found = set(tests) - run.passed | run.failed | run.broken
        for test in sorted(found):
            say(f"red       {test}")
        red |= found
    return red


def _each(places: Sequence[Copy], items: Sequence[Item], do: Callable[[Copy, Item], T]) -> list[T]:
    """Do something with each item, in whatever copy is free."""
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for place in places:
        free.put(place)

    def in_turn(item: Item) -> T:
        place = free.get()
        try:
            return do(place, item)
        finally:
            free.put(place)

    with ThreadPoolExecutor(len(places)) as pool:
        return list(pool.map(in_turn, items))


if __name__ == "__main__":
    sys.exit(main())
