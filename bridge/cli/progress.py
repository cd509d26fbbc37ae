"""Shows a progress bar on a terminal, below the lines that a command prints."""

from __future__ import annotations

import itertools
import sys
import typing
from types import TracebackType

import click

CLEAR_LINE = "\r\033[K"


class Progress:
    """A progress bar on stderr, shown if stderr is a terminal and there is more than one step."""

    def __init__(self, label: str, length: int | None = None) -> None:
        """Set up a bar of so many steps; None if their number is not known."""
        self.shown = (length is None or length > 1) and sys.stderr.isatty()
        self.bar = click.progressbar(
            itertools.count() if length is None else range(length),
            label=label,
            show_pos=True,
            file=sys.stderr,
            hidden=not self.shown,
        )

    def __enter__(self) -> typing.Self:
        self.bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def print(self, line: str) -> None:
        """Print a line of the command's output. The next step draws the bar again below it."""
        if self.shown:
            click.echo(CLEAR_LINE, nl=False, err=True)
        click.echo(line)

    def advance(self, steps: int = 1) -> None:
        """Move the bar by some steps."""
        self.bar.update(steps)
