"""The overview pages: today, the stores, the providers, and the rejected webhooks."""

from __future__ import annotations

import typing
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import structlog
from flask import current_app, flash, g, redirect, render_template, request, url_for

from bridge.alert import Status
from bridge.settings import Store, address
from bridge.storage import stats
from bridge.storage.database import Connection
from bridge.storage.pulls import pull_states
from bridge.storage.shapes import iso_of
from bridge.storage.stores import BY_HAND
from bridge.web import charts, current, viewer
from bridge.web.current import Json
from bridge.web.viewer import View
from bridge.worker import checks, notify
from bridge.worker.checks import Check
from bridge.worker.provider_checks import check_outcomes, check_refusals

log = structlog.get_logger()

DAYS = 14
DAY, WEEK = 86_400.0, 7 * 86_400.0
LATEST = "8"
URGENT = 8
SIX_HOURS, DEADLINE_BARS = 6 * 3600.0, 13
DURATIONS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
DURATION_LABELS = ("1 s", "2 s", "5 s", "10 s", "30 s", "1 m", "5 m", "more")
MINUTE, TEN_MINUTES = 60.0, 600.0

routes = viewer.blueprint("overview")


class Need(typing.NamedTuple):
    """One thing that needs attention, and how to fix it if that is known."""

    title: str
    text: str
    fix: str = ""
    path: str = ""
    grave: bool = True


@routes.get("/")
def today() -> View:
    """Shows what needs attention, what is due, and the figures of the day."""
    settings, now = current.settings(), current.database().now()
    with current.database().read() as connection:
        summary = stats.summary(connection, now - WEEK)
        picture = notify.take_snapshot(connection, settings, now, summary)
        days = _daily_counts(connection, now)
        durations = stats.seconds_to_dispute(connection, now - WEEK)
        deadlines = stats.deadlines(connection, now, SIX_HOURS, DEADLINE_BARS)
        stake, stake_is_whole = stats.at_stake(connection)
        urgent = stats.urgent(connection, URGENT)
    g.worker_seen_at = summary.worker_seen_at  # so that `viewer.context` need not read it
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
        median=charts.quantile(durations, 0.5),
        slowest=charts.quantile(durations, 0.95),
        waiting=sum(deadlines),
        stake=stake,
        stake_is_whole=stake_is_whole,
        daily=charts.stacked(days),
        ahead=charts.plain(_deadline_labels(), deadlines, first_series=1),
        took=charts.plain(DURATION_LABELS, charts.histogram(durations, DURATIONS)),
        latest=current.search().deliveries({"limit": LATEST}).results,
    )


def _needs(picture: notify.Snapshot) -> list[Need]:
    """Returns what needs attention: current problems, and whatever else the doctor would report."""
    bad = {check.name: check for check in _checks(picture) if not check.good}
    needs = []
    for condition in notify.conditions(picture):
        check = bad.pop(condition.check, None)
        fix = check.fix if check else ""
        needs.append(Need(condition.title, condition.text, fix, condition.path, condition.grave))
    needs += [Need(check.name, check.message, check.fix) for check in bad.values()]
    return sorted(needs, key=lambda need: not need.grave)


def _checks(picture: notify.Snapshot) -> Iterator[Check]:
    """Yields the doctor's checks that need no call to anybody."""
    settings, now = current.settings(), picture.now
    yield from checks.check_settings(settings)
    if problem := current_app.extensions["readiness"].problem():
        yield Check("database", good=False, message=problem, fix=checks.UNUSABLE)
    elif current.database().sqlite:
        yield checks.check_disk_space(settings)
    yield checks.check_worker(picture.worker_seen_at, now)
    yield from checks.check_pauses(settings.stores.values(), picture.paused)
    last = {name: datetime.fromtimestamp(times[0], UTC) for name, times in picture.times.items() if times}
    yield from check_refusals(settings, last, picture.refusals, datetime.fromtimestamp(now, UTC))
    yield from check_outcomes(settings, picture.failed_outcomes)


def _daily_counts(connection: Connection, now: float) -> list[tuple[date, dict[str, int]]]:
    counts: stats.DailyCounts = current_app.extensions["daily_counts"]
    return counts.read(connection, list(current.settings().providers), now, DAYS)


def _deadline_labels() -> list[str]:
    return ["late", *(f"{6 * n} h" for n in range(1, DEADLINE_BARS - 1)), "later"]


@routes.get("/stores")
def stores() -> View:
    """Shows each store's pace, backlog and pause."""
    settings, now = current.settings(), current.database().now()
    stored = {row["name"]: row for row in current.search().stores()}
    with current.database().read() as connection:
        in_minute = stats.newest_calls(connection, now - MINUTE)
        in_ten_minutes = stats.newest_calls(connection, now - TEN_MINUTES)
    calls = {name: sum(in_minute.get(name, {}).values()) for name in settings.stores}
    allowed = settings.rate * MINUTE
    rows = [
        stored.get(name, {"waiting": 0, "paused_at": None, "paused_why": None})
        | {
            "name": name,
            "store": store,
            "calls": calls[name],
            "share": min(calls[name] / allowed, 1.0) if allowed else None,
            "outcomes": in_ten_minutes.get(name, {}),
        }
        for name, store in settings.stores.items()
    ]
    wanted = request.args.get("install", "").strip().lower()
    invited = address.store_of(wanted if "." in wanted else f"{wanted}.29next.store")
    if wanted and not invited:
        flash("That is not a store. Expected a name such as example or example.29next.store.")
    return render_template(
        "stores.html",
        rows=rows,
        rate=settings.rate,
        installs=settings.installs,
        invited=invited,
        public_url=(settings.public_url or "").rstrip("/"),
    )


@routes.post("/stores/<name>/pause")
def pause(name: str) -> View:
    """Stops calling a store until a person resumes it."""
    current.inbox().stores.pause(_store(name).name, BY_HAND, None)
    log.info("store paused by hand", store=name)
    flash(f"{name} is paused. Its alerts wait, and their deadlines are paused.")
    return redirect(url_for("overview.stores"), 303)


@routes.post("/stores/<name>/resume")
def resume(name: str) -> View:
    """Calls a store again."""
    if missing := _store(name).missing:
        flash(f"{name} cannot be resumed. {missing}")
    else:
        current.inbox().stores.resume(name)
        log.info("store resumed by hand", store=name)
        flash(f"{name} has resumed.")
    return redirect(url_for("overview.stores"), 303)


def _store(name: str) -> Store:
    return current.or_404(current.settings().stores.get(name), "store")


@routes.get("/providers")
def providers() -> View:
    """Shows each provider's URL, whether it is enabled, and its last delivery."""
    settings, now = current.settings(), current.database().now()
    names = list(settings.providers)
    with current.database().read() as connection:
        days = _daily_counts(connection, now)
        day = stats.received(connection, names, now - DAY)
        times = stats.newest_times(connection, names)
        pulls = pull_states(connection)
        rejected = stats.refused(connection, (datetime.now(UTC) - timedelta(days=7)).date())
    last = current.search().last_deliveries()
    refused: Counter[str] = Counter()
    for (name, _), count in rejected.items():
        refused[name] += count
    ignored: defaultdict[str, list[Json]] = defaultdict(list)
    for row in current.search().ignored_events():
        ignored[row["provider"]].append(row)
    labels = [f"{date_:%b} {date_.day}" for date_, _ in days]
    rows = [
        {
            "name": name,
            "ignored": ignored[name],
            "provider": provider,
            "url": settings.url_of(name),
            "on": settings.is_enabled(name),
            "pushed": bool(settings.secrets.get(name)),
            "pull": settings.pulled.get(name),
            "pull_state": pulls.get(name),
            "pulled_at": iso_of(pulls[name].at) if name in pulls else None,
            "rotating": len(settings.secrets.get(name, ())) > 1,
            "last": last.get(name),
            "day": day.get(name, 0),
            "daily": charts.plain(labels, [counts.get(name, 0) for _, counts in days]),
            "refused": refused[name],
            "silent": _is_silent(times[name], now),
        }
        for name, provider in settings.providers.items()
    ]
    return render_template("providers.html", rows=sorted(rows, key=lambda row: not row["on"]))


def _is_silent(times: list[float], now: float) -> bool:
    longest = notify.usual_silence(times)
    return longest is not None and now - times[0] > longest


@routes.get("/refused")
def refused() -> View:
    """Shows the rejected webhooks, by provider and reason."""
    return render_template("refused.html", rows=current.search().refusals(), settings=current.settings())
