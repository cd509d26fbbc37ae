"""The viewer's pages: the log for a person. Reads through Search and Figures, and replays."""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
import typing
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import structlog
from flask import Blueprint, Response, current_app, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from bridge import notify
from bridge.alert import State, Status, Webhook
from bridge.chores import A_SECOND
from bridge.errors import Rejected, Unavailable
from bridge.explain import Explained, explain
from bridge.search import CASE_FILTERS, DELIVERY_FILTERS, ID, BadFilter, Page
from bridge.viewer import charts, gate, show, story

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from werkzeug.wrappers import Response as AnyResponse

    from bridge.figures import Figures
    from bridge.inbox import Inbox
    from bridge.memos import Memos
    from bridge.search import Filter, Search
    from bridge.settings import Settings

log = structlog.get_logger()

Json = dict[str, typing.Any]
View = typing.Union[str, "AnyResponse", tuple[str, int]]

FOLDER = pathlib.Path(__file__).parent / "static"
DAYS = 14
WEEK = 7 * 86_400.0
LATEST = "8"
URGENT = 8
SIX_HOURS, STRETCHES = 6 * 3600.0, 13
TOOK = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
TOOK_LABELS = ("1 s", "2 s", "5 s", "10 s", "30 s", "1 m", "5 m", "more")
LAST_MINUTE, LAST_TEN = 60.0, 600.0
MOST_COUNTED = 100_000
"""How far a bulk replay's plan counts."""
SAMPLE = "10"
PAGED = {"cursor", "limit"}

viewer = Blueprint(
    "viewer", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)


@viewer.before_request
def guard() -> AnyResponse | None:
    """Let in who may look; style and scripts are everybody's, where there is a viewer."""
    if request.endpoint == "viewer.static" and gate.is_on(_settings()):
        return None
    return gate.guard()


@viewer.app_context_processor
def context() -> Json:
    """Return what every page needs."""
    now = _figures().now()
    try:
        seen = _figures().worker_seen_at()
    except Unavailable:
        seen = now  # what keeps the page from being made says so itself
    return {
        "now": now,
        "form_token": gate.form_token,
        "asset": asset,
        "signs_in": _settings().password is not None,
        "worker_gone": seen is None or now - seen > notify.GONE_AFTER,
        "worker_seen_at": seen,
    }


for _said in (
    show.ago,
    show.stamp,
    show.instant,
    show.tone,
    show.plain,
    show.money,
    show.precise,
    show.pretty,
):
    viewer.add_app_template_filter(_said)
viewer.add_app_template_filter(notify.span)


@functools.cache
def asset(name: str) -> str:
    """Return the URL of a static file, which changes with its content."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
    return url_for("viewer.static", filename=name, v=digest)


# today


@viewer.get("/")
def today() -> View:
    """Show what needs a person, what is due, and how it goes."""
    figures, settings = _figures(), _settings()
    now = figures.now()
    days = figures.by_day(settings.providers, DAYS)
    ordered = figures.seconds_to_dispute(now - WEEK)
    statuses = figures.statuses(now - WEEK)
    settled = statuses[Status.FORWARDED] + statuses[Status.FAILED]
    return render_template(
        "today.html",
        needs=notify.conditions(notify.picture(figures, settings)),
        urgent=figures.urgent(URGENT),
        alerts=sum(days[-1][1].values()),
        yesterday=sum(days[-2][1].values()),
        statuses=statuses,
        share=statuses[Status.FORWARDED] / settled if settled else None,
        median=charts.quantile(ordered, 0.5),
        slowest=charts.quantile(ordered, 0.95),
        waiting=sum(figures.deadlines(SIX_HOURS, STRETCHES)),
        stake=figures.at_stake(),
        daily=charts.stacked(days),
        ahead=charts.plain(_ahead_labels(), figures.deadlines(SIX_HOURS, STRETCHES), first_series=1),
        took=charts.plain(TOOK_LABELS, charts.spread(ordered, TOOK)),
        latest=_search().deliveries({"limit": LATEST}).results,
    )


def _ahead_labels() -> list[str]:
    return ["late", *(f"{6 * n} h" for n in range(1, STRETCHES - 1)), "later"]


# deliveries


@viewer.get("/deliveries")
def deliveries() -> View:
    """List deliveries; what is found by no word is looked for in the bodies."""
    wanted = _wanted()
    page, problem = _listed(_search().deliveries, wanted)
    in_bodies = not page.results and not problem and "q" in wanted and "cursor" not in wanted
    if in_bodies:
        text = {name: value for name, value in wanted.items() if name != "q"} | {"text": wanted["q"]}
        page, problem = _listed(_search().deliveries, text)
    shown = render_template(
        "deliveries.html",
        page=page,
        wanted=wanted,
        narrowed=set(wanted) - PAGED,
        problem=problem,
        in_bodies=in_bodies,
        older=_older(page, wanted, in_bodies=in_bodies),
        filters=_choices(DELIVERY_FILTERS),
        tabs=_tabs("viewer.deliveries", "status", list(Status), wanted),
        replayable=_replayable(wanted),
    )
    return (shown, 400) if problem else shown


@viewer.get("/deliveries/<ident>")
def delivery(ident: str) -> View:
    """Show one delivery's way, what came and what it became."""
    found = _found(_search().delivery(ident), "delivery")
    said = _explained(found)
    case = _search().case(found["case_id"]) if found["case_id"] else None
    return render_template(
        "delivery.html",
        it=found,
        case=case,
        steps=story.of_delivery(found),
        said=said,
        meaning=show.MEANINGS.get(found["reason"]),
        remedy=show.REMEDIES.get(found["reason"]) if found["status"] == Status.FAILED else None,
        curl=_curl(found["webhook"]),
        next_url=_next_url(found["store"]),
    )


@viewer.post("/deliveries/<ident>/replay")
def replay(ident: str) -> View:
    """Put a delivery back into the queue."""
    _found(_search().delivery(ident), "delivery")
    if _inbox().replay([ident]):
        log.info("replayed by hand", delivery=ident)
        flash("Replayed: it is translated and forwarded anew, with a new deadline.")
    else:
        flash("It is pending already.")
    return redirect(url_for("viewer.delivery", ident=ident), 303)


def _explained(found: Json) -> Explained | None:
    """Explain a delivery by the tables of this release, unless its body is gone."""
    provider = _settings().providers.get(found["provider"])
    webhook = found["webhook"]
    body = _search().body(found["webhook_id"])
    if provider is None or body is None:
        return None
    arrived = Webhook(provider.name, webhook["path"], body, webhook["headers"], store=webhook["store"])
    try:
        said = explain(_settings(), provider, arrived, datetime.now(UTC))
    except Exception as error:  # noqa: BLE001  the page is needed most where the translation has a bug
        log.error("explain failed", delivery=found["id"], error=type(error).__name__)
        return None
    return said[min(int(found["item"]), len(said) - 1)]


def _curl(webhook: Json | None) -> str | None:
    if webhook is None or webhook["body"] is None:
        return None
    settings = _settings()
    return show.curl(webhook, settings.public_url or f"http://127.0.0.1:{settings.port}")


def _next_url(store: str | None) -> str:
    known = _settings().stores.get(store or "")
    return known.base_url if known else ""


# cases


@viewer.get("/cases")
def cases() -> View:
    """List cases."""
    wanted = _wanted()
    page, problem = _listed(_search().cases, wanted)
    shown = render_template(
        "cases.html",
        page=page,
        wanted=wanted,
        narrowed=set(wanted) - PAGED,
        problem=problem,
        older=_older(page, wanted),
        filters=_choices(CASE_FILTERS),
        tabs=_tabs("viewer.cases", "state", list(State), wanted),
    )
    return (shown, 400) if problem else shown


@viewer.get("/cases/<ident>")
def case(ident: str) -> View:
    """Show one dispute's whole story."""
    found = _found(_search().case(ident), "case")
    return render_template(
        "case.html", it=found, steps=story.of_case(found), next_url=_next_url(found["store"])
    )


@viewer.post("/cases/<ident>/match")
def match(ident: str) -> View:
    """Take a person's word for a case's transaction, or that there is none."""
    _found(_search().case(ident), "case")
    chosen = request.form.get("transaction", "")
    if chosen != "none" and not (chosen.isdecimal() and len(chosen) <= 18):
        raise Rejected("bad_request", 400, "A transaction is a number, or none.")
    if _inbox().decide(ident, None if chosen == "none" else int(chosen)):
        log.info("match decided by hand", case=ident, transaction=chosen)
        flash("Decided: the worker tells 29next.")
    else:
        flash("There is nothing to decide on this case any more.")
    return redirect(url_for("viewer.case", ident=ident), 303)


@viewer.get("/cases/<ident>/evidence.json")
def evidence(ident: str) -> View:
    """Hand out a case whole, as one file: its deliveries as received, its calls, its outcome."""
    found = _found(_search().case(ident), "case")
    whole = found | {"deliveries": [_search().delivery(one["id"]) for one in found["deliveries"]]}
    answer = Response(json.dumps(whole, indent=2), content_type="application/json")
    answer.headers["Content-Disposition"] = f'attachment; filename="{found["id"]}.json"'
    return answer


# stores, providers, refused


@viewer.get("/stores")
def stores() -> View:
    """Show each store's pace, backlog and pause."""
    figures, settings = _figures(), _settings()
    known = {row["name"]: row for row in _search().stores()}
    minute, ten = figures.newest_calls(LAST_MINUTE), figures.newest_calls(LAST_TEN)
    most = settings.rate * LAST_MINUTE
    rows = [
        known.get(name, {"waiting": 0, "paused_at": None, "paused_why": None})
        | {
            "name": name,
            "base_url": store.base_url,
            "observe": store.observe,
            "look_first": store.look_first,
            "calls": sum(minute.get(name, {}).values()),
            "share": min(sum(minute.get(name, {}).values()) / most, 1.0) if most else None,
            "outcomes": ten.get(name, {}),
        }
        for name, store in settings.stores.items()
    ]
    return render_template("stores.html", rows=rows, rate=settings.rate)


@viewer.post("/stores/<name>/pause")
def pause(name: str) -> View:
    """Stop calling a store until a person resumes it."""
    _inbox().pause(_store(name), "Paused by hand.", None)
    log.info("store paused by hand", store=name)
    flash(f"{name} is paused. Its alerts wait, and their clocks stand still.")
    return redirect(url_for("viewer.stores"), 303)


@viewer.post("/stores/<name>/resume")
def resume(name: str) -> View:
    """Call a store again."""
    _inbox().resume(_store(name))
    log.info("store resumed by hand", store=name)
    flash(f"{name} goes on.")
    return redirect(url_for("viewer.stores"), 303)


def _store(name: str) -> str:
    if name not in _settings().stores:
        raise Rejected("not_found", 404, "There is no such store.")
    return name


@viewer.get("/providers")
def providers() -> View:
    """Show each provider's URL, whether it is switched on, and when it was last heard."""
    figures, settings = _figures(), _settings()
    now = figures.now()
    last = _search().last_deliveries()
    days = figures.by_day(settings.providers, DAYS)
    refused: defaultdict[str, int] = defaultdict(int)
    for (name, _), count in figures.refused((datetime.now(UTC) - timedelta(days=7)).date()).items():
        refused[name] += count
    rows = [
        {
            "name": name,
            "title": known.title,
            "url": settings.url_of(name),
            "proof": known.proof.kind,
            "on": bool(settings.secrets.get(name)),
            "rotating": len(settings.secrets.get(name, ())) > 1,
            "deadline": known.deadline.total_seconds(),
            "last": last.get(name),
            "day": figures.received(now - 86_400, now, name),
            "daily": charts.plain(
                [f"{day:%b} {day.day}" for day, _ in days], [counts.get(name, 0) for _, counts in days]
            ),
            "refused": refused.get(name, 0),
            "silent": _is_silent(figures.newest_times(name), now),
        }
        for name, known in settings.providers.items()
    ]
    return render_template("providers.html", rows=sorted(rows, key=lambda row: not row["on"]))


def _is_silent(times: list[float], now: float) -> bool:
    usual = notify.usual_silence(times)
    return usual is not None and now - times[0] > usual


@viewer.get("/refused")
def refused() -> View:
    """Show the refused webhooks, by provider and reason."""
    return render_template("refused.html", rows=_search().refusals(), settings=_settings())


# bulk replay


@viewer.get("/replays")
def replays() -> View:
    """List the newest bulk replays."""
    return render_template("replays.html", rows=_memos().replays())


@viewer.get("/replays/new")
def plan() -> View:
    """Show what a bulk replay over a filter would put back."""
    wanted = _replay_filters(request.args)
    total = _search().count(wanted, MOST_COUNTED)
    first = _search().deliveries(wanted | {"limit": SAMPLE}, newest_first=False).results
    return render_template(
        "replay_plan.html", wanted=wanted, total=total, most=MOST_COUNTED, first=first, rate=A_SECOND
    )


@viewer.post("/replays")
def start_replay() -> View:
    """Ask the worker for a bulk replay."""
    wanted = _replay_filters(request.form)
    total = _search().count(wanted, MOST_COUNTED)
    ident = _memos().start_replay(wanted, total)
    log.info("bulk replay asked for", replay=ident, filters=wanted, total=total)
    return redirect(url_for("viewer.replaying", ident=ident), 303)


@viewer.get("/replays/<ident>")
def replaying(ident: str) -> View:
    """Show how far a bulk replay is."""
    found = _memos().replay(ident) if ID.fullmatch(ident) else None
    if found is None:
        raise Rejected("not_found", 404, "There is no such replay.")
    return render_template("replay.html", it=found, query=urlencode(found.filters))


@viewer.post("/replays/<ident>/stop")
def stop_replay(ident: str) -> View:
    """Stop a bulk replay."""
    _memos().stop_replay(ident)
    log.info("bulk replay stopped", replay=ident)
    return redirect(url_for("viewer.replaying", ident=ident), 303)


def _replay_filters(given: Mapping[str, str]) -> Json:
    """Read the filters of a bulk replay; raises BadFilter."""
    known = {one.name for one in DELIVERY_FILTERS}
    wanted = {name: value for name, value in given.items() if name in known and value}
    if not wanted:
        raise BadFilter("A bulk replay needs a filter, such as status=failed.")
    if wanted.get("status") == Status.PENDING:
        raise BadFilter("What is pending is tried anyway.")
    return wanted


def _replayable(wanted: Json) -> str | None:
    """Return the query of a bulk replay over the filters of a list, if one makes sense."""
    filters = {name: value for name, value in wanted.items() if name not in PAGED}
    if not filters or "text" in filters or filters.get("status") == Status.PENDING:
        return None
    return urlencode(filters)


# what the pages stand on


@viewer.errorhandler(BadFilter)
def bad_filter(error: BadFilter) -> AnyResponse | tuple[str, int]:
    """Say what is wrong with a filter."""
    return refusal(Rejected("bad_request", 400, str(error)))


@viewer.errorhandler(Unavailable)
def unavailable(error: Unavailable) -> AnyResponse | tuple[str, int]:
    """Say that the database is away."""
    return refusal(Rejected("unavailable", 503, str(error)))


@viewer.errorhandler(Exception)
def bug(error: Exception) -> AnyResponse | tuple[str, int]:
    """Say that a page could not be made, without showing why."""
    if isinstance(error, HTTPException):
        return refusal(Rejected("not_found", error.code or 500, error.description or ""))
    log.error("bug", page=request.endpoint, error=type(error).__name__, exc_info=error)
    return refusal(Rejected("bug", 500, "This page could not be made. The log has the reason."))


@viewer.errorhandler(Rejected)
@gate.gate.errorhandler(Rejected)
def refusal(error: Rejected) -> AnyResponse | tuple[str, int]:
    """Say no: on a page for a person, in JSON for a program."""
    if "text/html" not in request.headers.get("Accept", ""):
        answer = Response(json.dumps({"error": error.word, "message": str(error)}), error.status)
        answer.content_type = "application/json"
        return answer
    return render_template("refusal.html", error=error), error.status


def _wanted() -> Json:
    """Return the filters of a list; a form sends the empty ones too."""
    return {name: value.strip() for name, value in request.args.items() if value.strip()}


def _listed(ask: Callable[[Json], Page], wanted: Json) -> tuple[Page, str | None]:
    try:
        return ask(wanted), None
    except BadFilter as error:
        return Page([], None), str(error)


def _older(page: Page, wanted: Json, *, in_bodies: bool = False) -> str | None:
    """Return the query of the next page."""
    if page.next is None:
        return None
    query = {name: value for name, value in wanted.items() if name != "cursor"}
    if in_bodies:
        query["text"] = query.pop("q")
    return urlencode(query | {"cursor": page.next})


def _choices(filters: tuple[Filter, ...]) -> dict[str, list[str]]:
    """Return the values that each filter of a list offers."""
    offered = {one.name: list(one.words) for one in filters}
    return offered | {"provider": list(_settings().providers), "store": list(_settings().stores)}


def _tabs(endpoint: str, name: str, words: list[typing.Any], wanted: Json) -> list[Json]:
    """Return the links that narrow a list to one status, or to none."""
    others = {key: value for key, value in wanted.items() if key not in (name, "cursor", "reason")}
    chosen = wanted.get(name)
    rows: list[Json] = [{"label": "All", "url": url_for(endpoint, **others), "current": chosen is None}]
    for word in words:
        url = url_for(endpoint, **others, **{name: word.value})
        rows.append({"label": show.plain(word), "url": url, "current": chosen == word})
    return rows


def _found(thing: Json | None, kind: str) -> Json:
    if thing is None:
        raise Rejected("not_found", 404, f"There is no such {kind}.")
    return thing


def _settings() -> Settings:
    return typing.cast("Settings", current_app.extensions["settings"])


def _search() -> Search:
    return typing.cast("Search", current_app.extensions["search"])


def _figures() -> Figures:
    return typing.cast("Figures", current_app.extensions["figures"])


def _memos() -> Memos:
    return typing.cast("Memos", current_app.extensions["memos"])


def _inbox() -> Inbox:
    return typing.cast("Inbox", current_app.extensions["inbox"])
