"""Options that several commands share: filters, `--json`, days and moments."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from datetime import UTC, date, datetime

import click

from bridge.storage.filters import Filters, choices_of

Command = typing.Callable[..., int | None]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def filtered(filters: Filters, *names: str) -> Callable[[Command], Command]:
    """Adds filter options to a command, which gets those in use as `filters`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_filters(**options: typing.Any) -> int | None:
            used = {name: value for name in names if (value := options.pop(name))}
            return command(filters=used, **options)

        words = choices_of(filters)
        for name in reversed(names):
            description: str = filters.fields[name].metadata["description"]
            values = f" One of {', '.join(words[name])}." if words[name] else ""
            option = click.option(f"--{name.replace('_', '-')}", metavar="VALUE", help=description + values)
            with_filters = option(with_filters)
        return with_filters

    return decorate


def read_day(context: click.Context, option: click.Parameter, text: str) -> date:
    """Returns an option's value as a date."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"expected a date such as 2026-01-31, not {text!r}"
        raise click.BadParameter(message, context, option) from None


def read_moment(context: click.Context, option: click.Parameter, text: str) -> datetime:
    """Returns an option's value as a time, in UTC unless it names another zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"expected a time such as 2026-01-31T12:00:00+00:00, not {text!r}"
        raise click.BadParameter(message, context, option) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
