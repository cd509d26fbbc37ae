"""The pages that show how it goes: today, the stores, the providers, and what was refused."""

from __future__ import annotations

import typing
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import structlog
from flask import current_app, flash, g, redirect, render_template, request, url_for

from bridge.alert import Status
from bridge.errors import Rejected
from bridge.settings import address
from bridge.storage import stats
from bridge.storage.pulls import pull_states
from bridge.storage.shapes import iso_of
from bridge.storage.stores import BY_HAND
from bridge.web import charts, viewer
from bridge.worker import checks, notify
from bridge.worker.checks import Check
from bridge.worker.provider_checks import check_outcomes, check_refusals

if typing.TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from bridge.settings import Store
    from bridge.storage.database import Connection
    from bridge.web.viewer import Json, View

log = structlog.get_logger()

DAYS = 14
DAY, WEEK = 86_400.0, 7 * 86_400.0
LATEST = "8"
URGENT = 8
SIX_HOURS, STRETCHES = 6 * 3600.0, 13
TOOK = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
TOOK_LABELS = ("1 s", "2 s", "5 s", "10 s", "30 s", "1 m", "5 m", "more")
LAST_MINUTE, LAST_TEN = 60.0, 600.0

routes = viewer.blueprint("overview")


class Need(typing.NamedTuple):
    """One thing that needs a person, and how to fix it where that is known."""

    title: str
    text: str
    fix: str = ""
    path: str = ""
    grave: bool = True


@routes.get("/")
def today() -> View:
    """Show what needs a person, what is due, and how it goes."""
    settings, now = viewer.settings(), viewer.database().now()
    with viewer.database().read() as connection:
        summary = stats.summary(connection, now - WEEK)
        picture = notify.take_snapshot(connection, settings, now, summary)
        days = _daily_counts(connection, now)
        ordered = stats.seconds_to_dispute(connection, now - WEEK)
        deadlines = stats.deadlines(connection, now, SIX_HOURS, STRETCHES)
        stake, whole = stats.at_stake(connection)
        urgent = stats.urgent(connection, URGENT)
    g.worker_seen_at = summary.worker_seen_at  # for the frame around the page
    statuses = summary.statuses
    settled = statuses[Status.FORWARDED] + statuses[Status.FAILED]
    return render_template(
        "today.html",
        needs=_needs(picture),
        urgent=urgent,
        alerts=sum(days[-1][1].values()),
        yesterday=sum(days[-2][1].values()),
        statuses=statuses,
        share=statuses[Status.FORWARDED] / settled if settled else None,
        median=charts.quantile(ordered, 0.5),
        slowest=charts.quantile(ordered, 0.95),
        waiting=sum(deadlines),
        stake=stake,
        stake_is_whole=whole,
        daily=charts.stacked(days),
        ahead=charts.plain(_ahead_labels(), deadlines, first_series=1),
        took=charts.plain(TOOK_LABELS, charts.spread(ordered, TOOK)),
        latest=viewer.search().deliveries({"limit": LATEST}).results,
    )


def _needs(picture: notify.Snapshot) -> list[Need]:
    """Return what needs a person: first what has happened, then what else the doctor would call bad."""
    bad = {check.name: check for check in _checks(picture) if not check.good}
    needs = []
    for one in notify.conditions(picture):
        check = bad.pop(one.check, None)
        needs.append(Need(one.title, one.text, check.fix if check else "", one.path, one.grave))
    needs += [Need(check.name, check.message, check.fix) for check in bad.values()]
    return sorted(needs, key=lambda need: not need.grave)


def _checks(picture: notify.Snapshot) -> Iterator[Check]:
    """Return what the doctor says of what is known here, without a call to anybody."""
    settings, now = viewer.settings(), picture.now
    yield from checks.check_settings(settings)
    if why := current_app.extensions["readiness"].why_not():
        yield Check("database", good=False, message=why, fix=checks.UNUSABLE)
    elif viewer.database().sqlite:
        yield checks.check_disk_space(settings)
    yield checks.check_worker(picture.worker_seen_at, now)
    yield from checks.check_pauses(settings.stores.values(), picture.paused)
    last = {name: datetime.fromtimestamp(times[0], UTC) for name, times in picture.times.items() if times}
    yield from check_refusals(settings, last, picture.refusals, datetime.fromtimestamp(now, UTC))
    yield from check_outcomes(settings, picture.failed_outcomes)


def _daily_counts(connection: Connection, now: float) -> list[tuple[date, dict[str, int]]]:
    counts: stats.DailyCounts = current_app.extensions["daily_counts"]
    return counts.read(connection, list(viewer.settings().providers), now, DAYS)


def _ahead_labels() -> list[str]:
    return ["late", *(f"{6 * n} h" for n in range(1, STRETCHES - 1)), "later"]


@routes.get("/stores")
def stores() -> View:
    """Show each store's pace, backlog and pause."""
    settings, now = viewer.settings(), viewer.database().now()
    known = {row["name"]: row for row in viewer.search().stores()}
    with viewer.database().read() as connection:
        minute = stats.newest_calls(connection, now - LAST_MINUTE)
        ten = stats.newest_calls(connection, now - LAST_TEN)
    most = settings.rate * LAST_MINUTE
    rows = [
        known.get(name, {"waiting": 0, "paused_at": None, "paused_why": None})
        | {
            "name": name,
            "base_url": store.base_url,
            "observe": store.observe,
            "look_first": store.look_first,
            "installed": store.installed,
            "missing": store.missing,
            "calls": sum(minute.get(name, {}).values()),
            "share": min(sum(minute.get(name, {}).values()) / most, 1.0) if most else None,
            "outcomes": ten.get(name, {}),
        }
        for name, store in settings.stores.items()
    ]
    wanted = request.args.get("install", "").strip().lower()
    invited = address.store_of(wanted if "." in wanted else f"{wanted}.29next.store")
    if wanted and not invited:
        flash("That is not a store. Expected a name such as example or example.29next.store.")
    here = (settings.public_url or "").rstrip("/")
    offer = {"installs": settings.installs, "invited": invited, "public_url": here}
    return render_template("stores.html", rows=rows, rate=settings.rate, **offer)


@routes.post("/stores/<name>/pause")
def pause(name: str) -> View:
    """Stop calling a store until a person resumes it."""
    viewer.inbox().stores.pause(_store(name).name, BY_HAND, None)
    log.info("store paused by hand", store=name)
    flash(f"{name} is paused. Its alerts wait, and their deadlines are paused.")
    return redirect(url_for("overview.stores"), 303)


@routes.post("/stores/<name>/resume")
def resume(name: str) -> View:
    """Call a store again."""
    if missing := _store(name).missing:
        flash(f"{name} cannot be resumed. {missing}")
        return redirect(url_for("overview.stores"), 303)
    viewer.inbox().stores.resume(name)
    log.info("store resumed by hand", store=name)
    flash(f"{name} has resumed.")
    return redirect(url_for("overview.stores"), 303)


def _store(name: str) -> Store:
    store = viewer.settings().stores.get(name)
    if store is None:
        raise Rejected("not_found", 404, "There is no such store.")
    return store


@routes.get("/providers")
def providers() -> View:
    """Show each provider's URL, whether it is switched on, and when it was last heard."""
    settings, now = viewer.settings(), viewer.database().now()
    names = list(settings.providers)
    with viewer.database().read() as connection:
        days = _daily_counts(connection, now)
        day = stats.received(connection, names, now - DAY)
        times = stats.newest_times(connection, names)
        pulls = pull_states(connection)
        rejected = stats.refused(connection, (datetime.now(UTC) - timedelta(days=7)).date())
    last = viewer.search().last_deliveries()
    refused: defaultdict[str, int] = defaultdict(int)
    for (name, _), count in rejected.items():
        refused[name] += count
    ignored: defaultdict[str, list[Json]] = defaultdict(list)
    for row in viewer.search().ignored_events():
        ignored[row["provider"]].append(row)
    rows = [
        {
            "name": name,
            "ignored": ignored[name],
            "title": known.title,
            "url": settings.url_of(name),
            "proof": known.proof.kind,
            "variable": known.secret_variable,
            "on": settings.is_on(name),
            "pushed": bool(settings.secrets.get(name)),
            "pull": settings.pulled.get(name),
            "how": pulls.get(name),
            "pulled_at": iso_of(pulls[name].at) if name in pulls else None,
            "rotating": len(settings.secrets.get(name, ())) > 1,
            "deadline": known.deadline.total_seconds(),
            "last": last.get(name),
            "day": day.get(name, 0),
            "daily": charts.plain(
                [f"{one:%b} {one.day}" for one, _ in days], [counts.get(name, 0) for _, counts in days]
            ),
            "refused": refused.get(name, 0),
            "silent": _is_silent(times[name], now),
        }
        for name, known in settings.providers.items()
    ]
    return render_template("providers.html", rows=sorted(rows, key=lambda row: not row["on"]))


def _is_silent(times: list[float], now: float) -> bool:
    usual = notify.usual_silence(times)
    return usual is not None and now - times[0] > usual


@routes.get("/refused")
def refused() -> View:
    """Show the refused webhooks, by provider and reason."""
    return render_template("refused.html", rows=viewer.search().refusals(), settings=viewer.settings())
