"""Options that several commands share: filters, `--json`, days and moments."""

from __future__ import annotations

import functools
import typing
from datetime import UTC, date, datetime

import click

from bridge.errors import BridgeError
from bridge.storage.filters import BadFilter, choices_of

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.storage.filters import Filters

Command = typing.Callable[..., int | None]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def filtered(filters: Filters, *names: str) -> Callable[[Command], Command]:
    """Give a command options that narrow a list; it gets those that were used as `filters`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def narrowed(**options: typing.Any) -> int | None:
            given = {name: value for name in names if (value := options.pop(name))}
            try:
                return command(filters=given, **options)
            except BadFilter as error:
                raise BridgeError(str(error)) from None

        words = choices_of(filters)
        for name in reversed(names):
            says: str = filters.fields[name].metadata["description"]
            help_ = says + (f" One of {', '.join(words[name])}." if words[name] else "")
            narrowed = click.option(f"--{name.replace('_', '-')}", metavar="VALUE", help=help_)(narrowed)
        return narrowed

    return decorate


def read_day(context: click.Context, option: click.Parameter, text: str) -> date:
    """Read an option's day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        said = f"expected a date such as 2026-01-31, not {text!r}"
        raise click.BadParameter(said, context, option) from None


def read_moment(context: click.Context, option: click.Parameter, text: str) -> datetime:
    """Read an option's moment, in UTC unless it names another zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        said = f"expected a time such as 2026-01-31T12:00:00+00:00, not {text!r}"
        raise click.BadParameter(said, context, option) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
