"""Computes where the bars of a chart are, in per cent of the chart. Pure; templates draw them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

GAP = 0.25
"""The share of a bar's space that stays empty."""


@dataclass(frozen=True)
class Piece:
    """A part of a bar. Its series gives the colour."""

    y: float
    height: float
    series: int
    label: str


@dataclass(frozen=True)
class Bar:
    """One bar and its pieces, stacked from below."""

    x: float
    width: float
    label: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Chart:
    """Bars from left to right. `top` is the count at full height."""

    bars: tuple[Bar, ...]
    top: int
    series: tuple[tuple[str, int], ...] = ()  # name and sum, most first

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(bar.pieces for bar in self.bars)


def stacked(days: Sequence[tuple[date, dict[str, int]]]) -> Chart:
    """Returns a bar for each day, with a piece for each provider's count."""
    sums: dict[str, int] = {}
    for _, counts in days:
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count
    names = sorted(sums, key=lambda name: (-sums[name], name))
    rows = [
        (f"{day:%b} {day.day}", [(counts.get(name, 0), number, name) for number, name in enumerate(names)])
        for day, counts in days
    ]
    return Chart(*_bars(rows), tuple((name, sums[name]) for name in names))


def plain(labels: Sequence[str], counts: Sequence[int], first_series: int = 0) -> Chart:
    """Returns one bar for each count. The first may have a colour of its own."""
    rows = [
        (label, [(count, first_series if place == 0 else 0, "")])
        for place, (label, count) in enumerate(zip(labels, counts, strict=True))
    ]
    return Chart(*_bars(rows))


def histogram(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Counts the values below the first edge, between each two, and beyond the last."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return counts


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Returns the value that this share of the ordered values does not exceed."""
    if not ordered:
        return None
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _bars(rows: list[tuple[str, list[tuple[int, int, str]]]]) -> tuple[tuple[Bar, ...], int]:
    top = max((sum(count for count, _, _ in parts) for _, parts in rows), default=0)
    place = 100 / max(len(rows), 1)
    bars = []
    for number, (label, parts) in enumerate(rows):
        pieces, y = [], 100.0
        for count, series, name in parts:
            if count:
                height = 100 * count / top
                y -= height
                pieces.append(Piece(round(y, 3), round(height, 3), series, f"{label} {name}: {count}"))
        x = place * (number + GAP / 2)
        bars.append(Bar(round(x, 3), round(place * (1 - GAP), 3), label, tuple(pieces)))
    return tuple(bars), top
