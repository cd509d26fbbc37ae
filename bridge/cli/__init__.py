"""The command line: `bridge ...`. It imports only what a command needs, so that help answers at once."""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Sequence
from importlib import import_module

import click

from bridge import __version__
from bridge.errors import BridgeError, SettingsError

COMMANDS = {
    "run": ("serve", "Migrate, then run web and worker on this machine"),
    "worker": ("serve", "Translate the stored alerts and forward them to 29next"),
    "migrate": ("serve", "Bring the database to this release's schema"),
    "sandbox": ("serve", "Run a simulated 29next store"),
    "send": ("tries", "Post signed samples of a provider to the bridge"),
    "explain": ("tries", "Show how a body would be translated, without any call"),
    "deliveries": ("lists", "List the alerts received"),
    "cases": ("lists", "List cases"),
    "show": ("lists", "Show everything about a delivery, a case or a webhook"),
    "providers": ("lists", "List the providers: URL, authentication, secret, last delivery"),
    "stores": ("lists", "List the stores: address, backlog, pause"),
    "replay": ("changes", "Process deliveries again, or send the outcomes of a case again"),
    "dismiss": ("changes", "Dismiss failed deliveries"),
    "outcome": ("changes", "Choose the word to send to a provider as an outcome"),
    "match": ("changes", "Attach a transaction to a case, or state that there is none"),
    "backfill": ("next29", "Fill the local index of a store's transactions"),
    "subscribe": ("next29", "Create or repair 29next's webhook subscription of a store"),
    "reconcile": ("next29", "Compare with 29next; no output means no difference"),
    "recover": ("next29", "After restoring a backup: look up every case at 29next first"),
    "doctor": ("doctor", "Check your setup: every problem, and how to fix it"),
}
"""Each command's module in this package, and its line in the list of commands."""


class Commands(click.Group):
    """Imports a command's module only when you run the command or ask for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, or None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"bridge.cli.{COMMANDS[cmd_name][0]}")
        return typing.cast("click.Command", getattr(module, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def commands() -> None:
    """Turn chargeback alerts into 29next disputes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit status.

    It prints an error as one line on stderr (status 1), but the errors of settings all at once (status 2).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with commands.make_context("bridge", list(arguments)) as context:
            return commands.invoke(context) or 0
    except click.exceptions.Exit as end:  # of --help and --version
        return end.exit_code
    except SettingsError as error:
        click.echo("\n".join(error.problems), err=True)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still flushes
        return 1
    except KeyboardInterrupt as error:
        click.echo(f"bridge: stopped. {error}".rstrip(), err=True)
        return 130
    except (click.ClickException, BridgeError, OSError) as error:
        click.echo(f"bridge: {_line(error)}", err=True)
        return 1


def _line(error: Exception) -> str:
    """Returns an error as one line; that of wrong arguments says where to look."""
    if isinstance(error, click.ClickException):
        line = error.format_message().splitlines()[0]
        context = error.ctx if isinstance(error, click.UsageError) else None
        return f"{line} (see `{context.command_path} --help`)" if context else line
    return str(error).splitlines()[0]
