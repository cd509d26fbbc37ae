"""The commands that run or prepare processes: `run`, `worker`, `migrate`, `sandbox`."""

from __future__ import annotations

import click

from bridge import logs
from bridge.cli.access import open_database, process_environ, read_environ, read_settings
from bridge.cli.run import SANDBOX_TOKEN, become_web
from bridge.cli.run import run as run_processes
from bridge.errors import SettingsError
from bridge.settings import ROOT, Settings, address, load
from bridge.storage import migrate as migrations
from bridge.storage.inbox import open_inbox
from bridge.storage.installations import with_installed
from bridge.worker import loop
from bridge.worker.forward import Forwarder
from bridge.worker.jobs import Jobs
from bridge.worker.notify import span
from bridge.worker.translate import Translator

WORKER_POOL = 12
"""Connections of a worker with many stores; 6 are enough for one, and each more takes one more."""


@click.command()
@click.option("--web", is_flag=True, help="Run the web process alone, and do not migrate: for platforms.")
def run(*, web: bool) -> None:
    """Migrate, then run web and worker on this machine.

    If nothing is configured, it also runs the sandbox as the store.
    """
    if web:
        environ = process_environ()
        settings = load(environ, ROOT)  # reports a wrong WEB_CONCURRENCY, where gunicorn shows a traceback
        become_web(environ | {"DATABASE_URL": address.absolute(settings.database_url)})
    environ, settings, sandbox = read_environ()
    if not settings.stores and not settings.encryption_keys:
        raise SettingsError(["NEXT_STORE: missing; no store is configured, here or in config/bridge.toml"])
    with open_database(settings) as database:
        migrations.upgrade(database)
    _print_urls(settings, sandbox=sandbox)
    environ["DATABASE_URL"] = address.absolute(settings.database_url)  # the processes begin in ROOT
    run_processes(environ, settings.port, sandbox=sandbox)


def _print_urls(settings: Settings, *, sandbox: bool) -> None:
    """Prints where each provider should send its webhooks, and how to try the sandbox."""
    if sandbox:
        click.echo("*** SANDBOX: no store is configured. This is a simulated one with generated secrets. ***")
        click.echo("*** Nothing reaches 29next. Set NEXT_STORE and NEXT_ACCESS_TOKEN for the real thing. ***")
    click.echo("Webhook URLs:")
    for name, provider in settings.providers.items():
        if settings.secrets.get(name):
            click.echo(f"  {provider.title:<16} {settings.url_of(name)}")
    for name, pull in settings.pulled.items():
        click.echo(
            f"  {settings.providers[name].title:<16} pulled every {span(pull.every or 0.0)} by the worker"
        )
    off = [name for name in settings.providers if not settings.is_enabled(name)]
    if off:
        click.echo(f"  not enabled (no secret): {', '.join(off)}")
    if sandbox:
        bridge = ".venv/bin/bridge" if (ROOT / ".venv/bin/bridge").exists() else "python -m bridge"
        click.echo(f"Try, in another terminal:\n  {bridge} send ethoca && {bridge} deliveries")


def worker_pool(stores: int) -> int:
    """Returns how many connections a worker with so many stores may open."""
    return min(5 + max(stores, 1), WORKER_POOL)


@click.command()
def worker() -> None:
    """Translate the stored alerts and forward them to 29next."""
    settings = read_settings()
    logs.set_up(settings.log_level)
    may_grow = bool(settings.encryption_keys)  # more stores may be installed
    pool = WORKER_POOL if may_grow else worker_pool(len(settings.stores))
    with open_database(settings, pool) as database:
        settings = with_installed(settings, database)
        inbox = open_inbox(database, settings)
        translator, forwarder = Translator(inbox, settings), Forwarder(inbox, settings)
        jobs = Jobs(settings, database)
        loop.run(loop.Worker(inbox, translator, forwarder, jobs, beat=jobs.shared_state.record_heartbeat))


@click.command()
def migrate() -> None:
    """Bring the database to this release's schema."""
    with open_database(read_settings()) as database:
        migrations.upgrade(database)
    click.echo("The database is up to date.")


@click.command()
@click.option("--port", type=click.IntRange(0, address.LAST_PORT), default=8001, show_default=True)
@click.option("--token", default=SANDBOX_TOKEN, show_default=True, help="The access token that it takes.")
def sandbox(port: int, token: str) -> None:
    """Run a simulated 29next store."""
    from bridge.sandbox import serve  # noqa: PLC0415  the sandbox is not part of the bridge

    serve("127.0.0.1", port, token)
