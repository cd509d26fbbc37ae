"""Shows a progress bar on a terminal, below the lines that a command prints."""

from __future__ import annotations

import contextlib
import itertools
import sys

import click

CLEAR_LINE = "\r\033[K"


class Progress(contextlib.ExitStack):
    """A progress bar on stderr, shown if stderr is a terminal and there is more than one step."""

    def __init__(self, label: str, length: int | None = None) -> None:
        """Shows a bar of so many steps; None if their number is not known."""
        super().__init__()
        self.shown = (length is None or length > 1) and sys.stderr.isatty()
        steps = itertools.count() if length is None else range(length)
        bar = click.progressbar(steps, label=label, show_pos=True, file=sys.stderr, hidden=not self.shown)
        self.bar = self.enter_context(bar)

    def print(self, line: str) -> None:
        """Prints a line of the command's output. The next step draws the bar again below it."""
        if self.shown:
            click.echo(CLEAR_LINE, nl=False, err=True)
        click.echo(line)

    def advance(self, steps: int = 1) -> None:
        """Moves the bar by some steps."""
        self.bar.update(steps)
