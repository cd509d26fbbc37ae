"""`bridge doctor`: checks the whole setup, and says how to fix each problem. It changes nothing at 29next."""

from __future__ import annotations

import json
import time
import typing
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import click

from bridge.cli.access import open_database, read_settings
from bridge.cli.options import as_json
from bridge.cli.printing import print_json
from bridge.cli.store_checks import check_stores
from bridge.settings import Settings
from bridge.storage import stats
from bridge.storage.database import Database
from bridge.storage.installations import with_installed
from bridge.worker import checks
from bridge.worker.checks import Check
from bridge.worker.provider_checks import check_providers

REACH_SECONDS = 10.0


def examine(
    settings: Settings, database: Database, *, clock: Callable[[], float] = time.time
) -> Iterator[Check]:
    """Checks the settings, the database, the worker, each store and provider, and the public URL.

    It calls each store a few times, at the store's pace. `clock` is this machine's.
    """
    yield from checks.check_settings(settings)
    problem = checks.check_database(database)
    if problem:
        yield problem
    else:
        yield checks.check_commits(settings, database)
        yield from checks.check_postgres(database, clock)
        with database.read() as connection:
            seen_at = stats.worker_seen_at(connection)
        yield checks.check_worker(seen_at, database.now())
        yield from check_stores(with_installed(settings, database), database, clock)
        yield from check_providers(settings, database, datetime.fromtimestamp(clock(), UTC))
    yield check_public_url(settings)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, as providers follow none."""

    def redirect_request(self, *_: typing.Any) -> None:
        """Returns None, so that the redirect is an error."""


def check_public_url(settings: Settings) -> Check:
    """Requests the bridge's `/healthz` at its public URL, from this machine and through the internet."""
    what = "public URL"
    if settings.public_url is None:
        fix = "Set BRIDGE_PUBLIC_URL, so that doctor can check it and printed URLs are complete."
        return Check(what, good=True, message="unknown: BRIDGE_PUBLIC_URL is not set", fix=fix)
    url = f"{settings.public_url.rstrip('/')}/healthz"
    try:
        opener = urllib.request.build_opener(NoRedirect)
        with opener.open(url, timeout=REACH_SECONDS) as answer:
            healthy = json.loads(answer.read(1000)) == {"status": "ok"}
            said = "the bridge answers" if healthy else "something else answers"
    except urllib.error.HTTPError as error:
        with error:
            healthy, said = False, f"answered with {error.code}"
    except (OSError, ValueError) as error:
        healthy, said = False, f"no answer: {getattr(error, 'reason', None) or type(error).__name__}"
    fix = "Make this address reach the web process over HTTPS, without a redirect or a sign-in."
    return checks.make_check(what, healthy, f"{url}: {said}", fix)


@click.command()
@as_json
def doctor(*, as_json: bool) -> int:
    """Check your setup: every problem, and how to fix it."""
    settings = read_settings()
    results = []
    with open_database(settings) as database:
        for check in examine(settings, database):
            results.append(check)
            if not as_json:
                click.echo(f"{'ok ' if check.good else 'BAD'}  {check.name}: {check.message}")
                if check.fix:
                    click.echo(f"       {check.fix}")
    if as_json:
        print_json([check.to_json() for check in results])
    return 0 if all(check.good for check in results) else 1
