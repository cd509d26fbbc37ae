"""Prints lists and single things, for a person or as JSON."""

from __future__ import annotations

import json
import typing

import click

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
        click.echo("(none)")
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in [list(columns), *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
    if page["next"]:
        click.echo("(more: raise --limit, or filter)")


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def print_thing(thing: Json) -> None:
    """Print one thing: its plain facts first, then what hangs on it."""
    for name, value in thing.items():
        if name not in PARTS and value not in (None, [], {}, ""):
            click.echo(f"{name:<15} {_words(value)}")
    for name in ("alert", "facts"):
        if thing.get(name):
            click.echo(f"{name}:")
            for fact, value in thing[name].items():
                click.echo(f"  {fact:<24} {_words(value)}")
    if webhook := thing.get("webhook"):
        click.echo(f"webhook         {webhook['path']} ({webhook['id']})")
        click.echo("\n".join(f"  {line}" for line in (webhook["body"] or "(removed)").splitlines()))
    for delivery in thing.get("deliveries", []):
        words = (delivery[name] for name in ("id", "provider", "event_type", "status", "reason"))
        click.echo(" ".join(["delivery       ", *filter(None, words)]))
    for attempt in thing.get("attempts", []):
        click.echo(
            f"attempt         {attempt['started_at']} {attempt['method']} {attempt['path']}"
            f" -> {attempt['status']} {attempt['outcome']} ({attempt['seconds']} s)"
        )
        click.echo(f"  sent     {json.dumps(attempt['request'])}\n  answered {attempt['response']}")


def _words(value: typing.Any) -> str:
    """Write a value for reading, whatever hangs on it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_words(part)}" for name, part in value.items())
    return "-" if value is None else str(value)
