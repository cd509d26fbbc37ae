"""Prints lists, and the details of a delivery, case or webhook, for a person or as JSON."""

from __future__ import annotations

import json
import typing
from collections.abc import Sequence

import click

from bridge.tree import printable

Json = dict[str, typing.Any]

SECTIONS = ("webhook", "deliveries", "attempts", "alert", "facts")
"""What `print_details` prints in sections of their own, below the rest."""


def print_json(value: typing.Any) -> None:
    """Prints a value as JSON."""
    click.echo(json.dumps(value, indent=2))


def print_list(page: Json, columns: Sequence[str], *, as_json: bool) -> None:
    """Prints the rows of a page as a table, or the whole page as JSON."""
    if as_json:
        print_json(page)
        return
    values = [[row.get(name) for name in columns] for row in page["results"]]
    rows = [["-" if value in (None, "") else str(value) for value in row] for row in values]
    if not rows:
        _print("(none)")
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in [list(columns), *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _print(line.rstrip())
    if page["next"]:
        _print("(more: raise --limit, or filter)")


def print_details(item: Json) -> None:
    """Prints a delivery, case or webhook: first its plain fields, then its sections."""
    for name, value in item.items():
        if name not in SECTIONS and value not in (None, [], {}, ""):
            _print(f"{name:<15} {_readable(value)}")
    for name in ("alert", "facts"):
        if item.get(name):
            _print(f"{name}:")
            for fact, value in item[name].items():
                _print(f"  {fact:<24} {_readable(value)}")
    if webhook := item.get("webhook"):
        _print(f"webhook         {webhook['path']} ({webhook['id']})")
        _print("\n".join(f"  {line}" for line in (webhook["body"] or "(removed)").splitlines()))
    for delivery in item.get("deliveries", []):
        cells = (delivery[name] for name in ("id", "provider", "event_type", "status", "reason"))
        _print(" ".join(["delivery       ", *filter(None, cells)]))
    for attempt in item.get("attempts", []):
        _print(
            f"attempt         {attempt['started_at']} {attempt['method']} {attempt['path']}"
            f" -> {attempt['status']} {attempt['outcome']} ({attempt['seconds']} s)"
        )
        _print(f"  sent     {json.dumps(attempt['request'])}\n  answered {attempt['response']}")


def _readable(value: typing.Any) -> str:
    """Returns a value of JSON as one line of text, without empty lists in it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_readable, value))
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_readable(part)}" for name, part in value.items() if part != [])
    return "-" if value is None else str(value)


def _print(text: str) -> None:
    """Prints a text with its control characters escaped: others have sent it."""
    click.echo(printable(text, "\n\t"))
