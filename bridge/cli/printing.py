"""Prints lists and single things, for a person or as JSON."""

from __future__ import annotations

import json
import typing

import click

from bridge.tree import printable

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, typing.Any]

PARTS = ("webhook", "deliveries", "attempts", "alert", "facts")
"""What hangs on a thing; everything else is a plain fact of it."""


def print_json(value: typing.Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2))


def print_list(page: Json, columns: Sequence[str], *, as_json: bool) -> None:
    """Print the rows of a page as a table, or the whole page as JSON."""
    if as_json:
        print_json(page)
        return
    rows = [[_cell(row.get(name)) for name in columns] for row in page["results"]]
    if not rows:
        _say("(none)")
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in [list(columns), *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say(line.rstrip())
    if page["next"]:
        _say("(more: raise --limit, or filter)")


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def print_thing(thing: Json) -> None:
    """Print one thing: its plain facts first, then what hangs on it."""
    for name, value in thing.items():
        if name not in PARTS and value not in (None, [], {}, ""):
            _say(f"{name:<15} {_words(value)}")
    for name in ("alert", "facts"):
        if thing.get(name):
            _say(f"{name}:")
            for fact, value in thing[name].items():
                _say(f"  {fact:<24} {_words(value)}")
    if webhook := thing.get("webhook"):
        _say(f"webhook         {webhook['path']} ({webhook['id']})")
        _say("\n".join(f"  {line}" for line in (webhook["body"] or "(removed)").splitlines()))
    for delivery in thing.get("deliveries", []):
        words = (delivery[name] for name in ("id", "provider", "event_type", "status", "reason"))
        _say(" ".join(["delivery       ", *filter(None, words)]))
    for attempt in thing.get("attempts", []):
        _say(
            f"attempt         {attempt['started_at']} {attempt['method']} {attempt['path']}"
            f" -> {attempt['status']} {attempt['outcome']} ({attempt['seconds']} s)"
        )
        _say(f"  sent     {json.dumps(attempt['request'])}\n  answered {attempt['response']}")


def _words(value: typing.Any) -> str:
    """Write a value for reading, whatever hangs on it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_words(part)}" for name, part in value.items())
    return "-" if value is None else str(value)


def _say(text: str) -> None:
    """Print what others have sent without what would steer a terminal."""
    click.echo(printable(text, "\n\t"))
