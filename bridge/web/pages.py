"""The pages of deliveries and cases: their lists, and a page for each."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlencode

import structlog
from flask import Response, flash, redirect, render_template, request, url_for

from bridge.alert import State, Status, Webhook
from bridge.errors import PermanentError, Rejected
from bridge.storage.filters import CASE_FILTERS, DELIVERY_FILTERS, PAGING, BadFilter, Filters, choices_of
from bridge.storage.search import Page
from bridge.web import current, formatting, replays, timeline, viewer
from bridge.web.current import Json
from bridge.web.viewer import View
from bridge.worker.choice import choices, choose
from bridge.worker.explain import Explained, explain

log = structlog.get_logger()

routes = viewer.blueprint("pages")


# deliveries


@routes.get("/deliveries")
def deliveries() -> View:
    """Lists deliveries. If no delivery has the number searched for, it searches the bodies for it."""
    wanted = _wanted()
    page, problem = _listed(current.search().deliveries, wanted)
    in_bodies = not page.results and not problem and "q" in wanted and "cursor" not in wanted
    if in_bodies:
        text = {name: value for name, value in wanted.items() if name != "q"} | {"text": wanted["q"]}
        page, problem = _listed(current.search().deliveries, text)
    return _list(
        "deliveries.html",
        page,
        wanted,
        problem,
        in_bodies=in_bodies,
        older=_older(page, wanted, in_bodies=in_bodies),
        filters=_choices(DELIVERY_FILTERS),
        tabs=_tabs("pages.deliveries", "status", Status, wanted),
        replayable=replays.query(wanted),
    )


@routes.get("/deliveries/<ident>")
def delivery(ident: str) -> View:
    """Shows one delivery: its timeline, its payload, and how the bridge translates it."""
    delivery = current.delivery_or_404(ident)
    case = current.search().case(delivery["case_id"]) if delivery["case_id"] else None
    return render_template(
        "delivery.html",
        it=delivery,
        case=case,
        notes=_other_notes(case, delivery["errors"]) if case else [],
        steps=timeline.of_delivery(delivery),
        explained=_explained(delivery),
        meaning=formatting.MEANINGS.get(delivery["reason"]),
        fix=formatting.FIXES.get(delivery["reason"]) if delivery["status"] == Status.FAILED else None,
        curl=formatting.curl(delivery["webhook"], current.settings().base_url),
        at_next=_at_next(delivery["store"], delivery["dispute_id"]),
    )


def _other_notes(case: Json, errors: dict[str, list[str]]) -> list[str]:
    """Returns the notes of a case without those on a field's error, which the page shows anyway."""
    shown = [(path, " ".join(messages)) for path, messages in errors.items()]
    return [note for note in case["notes"] if not any(path in note and text in note for path, text in shown)]


@routes.post("/deliveries/<ident>/replay")
def replay(ident: str) -> View:
    """Puts a delivery back into the queue."""
    delivery = current.delivery_or_404(ident)
    if current.inbox().deliveries.replay([ident]):
        log.info("replayed by hand", delivery=ident)
        flash("Replayed. The bridge translates and forwards it again, with a new deadline.")
    elif delivery["webhook"]["body"] is None:
        flash("Retention has removed its body, so it cannot be replayed.")
    else:
        flash("It is pending already, or retention has removed its body.")
    return redirect(url_for("pages.delivery", ident=ident), 303)


@routes.post("/deliveries/<ident>/dismiss")
def dismiss(ident: str) -> View:
    """Dismisses a failed delivery."""
    current.delivery_or_404(ident)
    if current.inbox().deliveries.dismiss([ident]):
        log.info("dismissed by hand", delivery=ident)
        flash("Dismissed. You can still replay it.")
    else:
        flash("You can only dismiss a failed alert.")
    return redirect(url_for("pages.delivery", ident=ident), 303)


def _explained(delivery: Json) -> Explained | None:
    """Translates a delivery again with this release's tables; None if its body is gone."""
    provider = current.settings().providers.get(delivery["provider"])
    stored = delivery["webhook"]
    body = current.search().body(delivery["webhook_id"])
    if provider is None or body is None:
        return None
    query = stored.get("query") or {}
    webhook = Webhook(provider.name, stored["path"], body, stored["headers"], query, stored["store"])
    try:
        (explained,) = explain(
            current.settings(), provider, webhook, datetime.now(UTC), int(delivery["item"])
        )
    except Exception as error:  # the page is needed most where the translation has a bug
        log.error("explain failed", delivery=delivery["id"], exc_info=error)
        return None
    return explained


def _at_next(store: str | None, dispute_id: int | None) -> Json:
    """Returns the URL of a dispute at 29next, and whether it is the dispute's own page.

    29next documents only the URL of a store's dashboard, so that is the default.
    """
    settings = current.settings()
    if settings.dispute_url:
        url = settings.dispute_url.replace("{store}", store or "").replace("{dispute}", str(dispute_id))
        return {"url": url, "own": True}
    configured = settings.stores.get(store or "")
    base_url = configured.base_url if configured else ""
    has_dashboard = base_url.endswith(".29next.store/api/admin/")
    return {"url": base_url.replace("/api/admin/", "/dashboard/") if has_dashboard else None}


# cases


@routes.get("/cases")
def cases() -> View:
    """Lists cases."""
    wanted = _wanted()
    page, problem = _listed(current.search().cases, wanted)
    tabs, older = _tabs("pages.cases", "state", State, wanted), _older(page, wanted)
    return _list("cases.html", page, wanted, problem, older=older, filters=_choices(CASE_FILTERS), tabs=tabs)


@routes.get("/cases/<ident>")
def case(ident: str) -> View:
    """Shows one case: its timeline, its facts, its candidates and its outcomes."""
    case = current.case_or_404(ident)
    return render_template(
        "case.html",
        it=case,
        steps=timeline.of_case(case),
        choices=choices(current.inbox(), current.settings(), case),
        at_next=_at_next(case["store"], case["dispute_id"]),
    )


@routes.post("/cases/<ident>/match")
def match(ident: str) -> View:
    """Attaches the transaction that a person chose, or takes their word that there is none."""
    current.case_or_404(ident)
    chosen = request.form.get("transaction", "")
    if chosen != "none" and not (chosen.isdecimal() and len(chosen) <= 18 and int(chosen)):
        raise Rejected("bad_request", 400, "Expected a transaction number or none.")
    if current.inbox().cases.decide(ident, None if chosen == "none" else int(chosen)):
        log.info("match decided by hand", case=ident, transaction=chosen)
        flash("Saved. The worker updates 29next.")
    else:
        flash("This case no longer needs a decision.")
    return redirect(url_for("pages.case", ident=ident), 303)


@routes.post("/cases/<ident>/tell")
def resend_outcomes(ident: str) -> View:
    """Sends the outcomes again that a provider did not take."""
    current.case_or_404(ident)
    again = current.inbox().outcomes.send_again(ident)
    log.info("outcome replayed by hand", case=ident, outcomes=again)
    flash("The worker sends the outcome again." if again else "There is no outcome to send again.")
    return redirect(url_for("pages.case", ident=ident), 303)


@routes.post("/cases/<ident>/outcome")
def choose_outcome(ident: str) -> View:
    """Sends a provider the word that a person chose."""
    case = current.case_or_404(ident)
    provider, word = request.form.get("provider", ""), request.form.get("word", "")
    try:
        choose(current.inbox(), current.settings(), case, provider, word, "viewer")
        flash(f"Saved. The worker sends {word} to {provider}.")
    except PermanentError as error:
        flash(str(error))
    return redirect(url_for("pages.case", ident=ident), 303)


@routes.get("/cases/<ident>/evidence.json")
def evidence(ident: str) -> View:
    """Returns everything about a case as one file: its deliveries as received, its calls, its outcomes."""
    case = current.case_or_404(ident)
    deliveries = [current.search().delivery(row["id"]) for row in case["deliveries"]]
    content = json.dumps(case | {"deliveries": deliveries}, indent=2)
    headers = {"Content-Disposition": f'attachment; filename="{case["id"]}.json"'}
    return Response(content, headers=headers, content_type="application/json")


# lists


def _wanted() -> Json:
    """Returns the filters of a list. A form also sends the empty ones."""
    return {name: value.strip() for name, value in request.args.items() if value.strip()}


def _listed(search: Callable[[Json], Page], wanted: Json) -> tuple[Page, str | None]:
    """Returns a page of results and None, or no results and what is wrong with the filters."""
    try:
        return search(wanted), None
    except BadFilter as error:
        return Page([], None), str(error)


def _list(template: str, page: Page, wanted: Json, problem: str | None, **more: typing.Any) -> View:
    """Returns the page of a list, with status 400 if its filters are wrong."""
    narrowed = set(wanted).difference(PAGING)
    html = render_template(template, page=page, wanted=wanted, narrowed=narrowed, problem=problem, **more)
    return (html, 400) if problem else html


def _older(page: Page, wanted: Json, *, in_bodies: bool = False) -> str | None:
    """Returns the query of the next page."""
    if page.next is None:
        return None
    query = {name: value for name, value in wanted.items() if name != "cursor"}
    if in_bodies:
        query["text"] = query.pop("q")
    return urlencode(query | {"cursor": page.next})


def _choices(filters: Filters) -> dict[str, list[str]]:
    """Returns the values that each filter of a list offers."""
    return choices_of(filters) | {
        "provider": list(current.settings().providers),
        "store": list(current.settings().stores),
    }


def _tabs(endpoint: str, name: str, words: type[StrEnum], wanted: Json) -> list[Json]:
    """Returns the links that narrow a list to one status, or to none."""
    others = {key: value for key, value in wanted.items() if key not in (name, "cursor", "reason")}
    page = url_for(endpoint)  # without a query, which could set the arguments of url_for
    tabs = []
    for word in ("", *words):
        query = urlencode(others | {name: word} if word else others)
        url = f"{page}?{query}" if query else page
        label = formatting.plain(word) or "All"
        tabs.append({"label": label, "url": url, "current": wanted.get(name, "") == word})
    return tabs
