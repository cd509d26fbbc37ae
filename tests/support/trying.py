"""Tries one test with many values: one item for pytest, and the name of each value with which it fails.

Every process collects all items, so each costs some milliseconds before it does anything.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

FAILURES = (Exception, pytest.fail.Exception)
"""What ends a test; the second is what `pytest.raises` raises where nothing was raised."""


def try_each(test: Callable[..., None], rows: Mapping[str, tuple[Any, ...]]) -> None:
    """Run a test with each row. Raise the first failure, with a note that names every row that fails."""
    failures: dict[str, BaseException] = {}
    for name, row in rows.items():
        try:
            test(*row)
        except FAILURES as error:  # whatever it is, the others are tried as well
            failures[name] = error
    if failures:
        first = next(iter(failures.values()))
        first.add_note(f"{len(failures)} of {len(rows)} fail: {', '.join(failures)}")
        raise first


def tried_with(
    names: str | tuple[str, ...],
    values: Iterable[Any],
    ids: Iterable[object] | Callable[[Any], str | None] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a test tried with values, written as for `pytest.mark.parametrize`.

    What the test shares with itself, such as its fixtures, is made once: it must not change that.
    """
    words = names.split(", ") if isinstance(names, str) else list(names)
    rows = named([one if len(words) > 1 or is_param(one) else (one,) for one in values], ids)

    def around(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)

        @functools.wraps(test)
        def each(**shared: Any) -> None:
            try_each(lambda *row: test(**dict(zip(words, row, strict=True)), **shared), rows)

        left = [one for name, one in signature.parameters.items() if name not in words]
        each.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return each

    return around


def is_param(value: Any) -> bool:
    """Whether a value is pytest's own, with an id."""
    return isinstance(value, type(pytest.param()))


def named(
    rows: Iterable[Any], ids: Iterable[object] | Callable[[Any], str | None]
) -> dict[str, tuple[Any, ...]]:
    """Rows by their names, with the number of each."""
    sets = [row if is_param(row) else pytest.param(*row) for row in rows]
    assert sets
    assert not any(one.marks for one in sets), "marks are of items"
    if not callable(ids):
        given = iter(ids)  # which may never end
        names = [one.id or str(next(given, "")) for one in sets]
    else:
        names = [one.id or "-".join(ids(value) or "" for value in one.values) for one in sets]
    return {
        f"{number} {name or '-'.join(map(brief, one.values))}": tuple(one.values)
        for number, (one, name) in enumerate(zip(sets, names, strict=True))
    }


def brief(value: Any) -> str:
    """The name of a value: itself if it is short, else its type."""
    said = str(value) if isinstance(value, str | int | float | None) else ""
    return said if 0 < len(said) < 60 else type(value).__name__
