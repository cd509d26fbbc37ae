"""The pages of single things, and the lists that lead to them: deliveries and cases."""

from __future__ import annotations

import json
import typing
from datetime import UTC, datetime
from urllib.parse import urlencode

import structlog
from flask import Response, flash, redirect, render_template, request, url_for

from bridge.alert import State, Status, Webhook
from bridge.errors import PermanentError, Rejected
from bridge.storage.filters import CASE_FILTERS, DELIVERY_FILTERS, PAGING, BadFilter, Filters, choices_of
from bridge.storage.search import Page
from bridge.web import formatting, replays, timeline, viewer
from bridge.worker.choice import choices, choose
from bridge.worker.explain import Explained, explain

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.web.viewer import Json, View

log = structlog.get_logger()

routes = viewer.blueprint("pages")


# deliveries


@routes.get("/deliveries")
def deliveries() -> View:
    """List deliveries; what is found by no word is looked for in the bodies."""
    wanted = _wanted()
    page, problem = _listed(viewer.search().deliveries, wanted)
    in_bodies = not page.results and not problem and "q" in wanted and "cursor" not in wanted
    if in_bodies:
        text = {name: value for name, value in wanted.items() if name != "q"} | {"text": wanted["q"]}
        page, problem = _listed(viewer.search().deliveries, text)
    shown = render_template(
        "deliveries.html",
        page=page,
        wanted=wanted,
        narrowed=set(wanted).difference(PAGING),
        problem=problem,
        in_bodies=in_bodies,
        older=_older(page, wanted, in_bodies=in_bodies),
        filters=_choices(DELIVERY_FILTERS),
        tabs=_tabs("pages.deliveries", "status", list(Status), wanted),
        replayable=replays.query(wanted),
    )
    return (shown, 400) if problem else shown


@routes.get("/deliveries/<ident>")
def delivery(ident: str) -> View:
    """Show one delivery's way, what came and what it became."""
    found = viewer.found(viewer.search().delivery(ident), "delivery")
    said = _explained(found)
    case = viewer.search().case(found["case_id"]) if found["case_id"] else None
    return render_template(
        "delivery.html",
        it=found,
        case=case,
        notes=_other_notes(case, found["errors"]) if case else [],
        steps=timeline.of_delivery(found),
        said=said,
        meaning=formatting.MEANINGS.get(found["reason"]),
        remedy=formatting.REMEDIES.get(found["reason"]) if found["status"] == Status.FAILED else None,
        curl=_curl(found["webhook"]),
        at_next=_at_next(found["store"], found["dispute_id"]),
    )


def _other_notes(case: Json, errors: dict[str, list[str]]) -> list[str]:
    """Return the notes of a case that do not repeat what the page says of a delivery's own fields."""
    told = [(path, " ".join(messages)) for path, messages in errors.items()]
    return [note for note in case["notes"] if not any(path in note and said in note for path, said in told)]


@routes.post("/deliveries/<ident>/replay")
def replay(ident: str) -> View:
    """Put a delivery back into the queue."""
    found = viewer.found(viewer.search().delivery(ident), "delivery")
    if viewer.inbox().deliveries.replay([ident]):
        log.info("replayed by hand", delivery=ident)
        flash("Replayed. The bridge translates and forwards it again, with a new deadline.")
    elif found["webhook"]["body"] is None:
        flash("Retention has removed its body, so it cannot be replayed.")
    else:
        flash("It is pending already, or retention has removed its body.")
    return redirect(url_for("pages.delivery", ident=ident), 303)


@routes.post("/deliveries/<ident>/dismiss")
def dismiss(ident: str) -> View:
    """Put a failed delivery aside."""
    viewer.found(viewer.search().delivery(ident), "delivery")
    if viewer.inbox().deliveries.dismiss([ident]):
        log.info("dismissed by hand", delivery=ident)
        flash("Dismissed. You can still replay it.")
    else:
        flash("You can only dismiss a failed alert.")
    return redirect(url_for("pages.delivery", ident=ident), 303)


def _explained(found: Json) -> Explained | None:
    """Explain a delivery by the tables of this release, unless its body is gone."""
    provider = viewer.settings().providers.get(found["provider"])
    webhook = found["webhook"]
    body = viewer.search().body(found["webhook_id"])
    if provider is None or body is None:
        return None
    query = webhook.get("query") or {}
    arrived = Webhook(provider.name, webhook["path"], body, webhook["headers"], query, webhook["store"])
    try:
        (said,) = explain(viewer.settings(), provider, arrived, datetime.now(UTC), int(found["item"]))
    except Exception as error:  # the page is needed most where the translation has a bug
        log.error("explain failed", delivery=found["id"], exc_info=error)
        return None
    return said


def _curl(webhook: Json | None) -> str | None:
    if webhook is None or webhook["body"] is None:
        return None
    settings = viewer.settings()
    return formatting.curl(webhook, settings.public_url or f"http://127.0.0.1:{settings.port}")


def _at_next(store: str | None, dispute_id: int | None) -> Json:
    """Return where a person sees a dispute at 29next, and whether that is its own page.

    29next documents the address of a store's dashboard, and none of the pages in it.
    """
    settings = viewer.settings()
    known = settings.stores.get(store or "")
    if settings.dispute_url:
        url = settings.dispute_url.replace("{store}", store or "").replace("{dispute}", str(dispute_id))
        return {"url": url, "own": True}
    dashboard = known and known.base_url.endswith(".29next.store/api/admin/")
    return {"url": known.base_url.replace("/api/admin/", "/dashboard/") if known and dashboard else None}


# cases


@routes.get("/cases")
def cases() -> View:
    """List cases."""
    wanted = _wanted()
    page, problem = _listed(viewer.search().cases, wanted)
    shown = render_template(
        "cases.html",
        page=page,
        wanted=wanted,
        narrowed=set(wanted).difference(PAGING),
        problem=problem,
        older=_older(page, wanted),
        filters=_choices(CASE_FILTERS),
        tabs=_tabs("pages.cases", "state", list(State), wanted),
    )
    return (shown, 400) if problem else shown


@routes.get("/cases/<ident>")
def case(ident: str) -> View:
    """Show one dispute's whole story."""
    found = viewer.found(viewer.search().case(ident), "case")
    return render_template(
        "case.html",
        it=found,
        steps=timeline.of_case(found),
        choices=choices(viewer.inbox(), viewer.settings(), found),
        at_next=_at_next(found["store"], found["dispute_id"]),
    )


@routes.post("/cases/<ident>/match")
def match(ident: str) -> View:
    """Take a person's word for a case's transaction, or that there is none."""
    viewer.found(viewer.search().case(ident), "case")
    chosen = request.form.get("transaction", "")
    if chosen != "none" and not (chosen.isdecimal() and len(chosen) <= 18 and int(chosen)):
        raise Rejected("bad_request", 400, "Expected a transaction number or none.")
    if viewer.inbox().cases.decide(ident, None if chosen == "none" else int(chosen)):
        log.info("match decided by hand", case=ident, transaction=chosen)
        flash("Saved. The worker updates 29next.")
    else:
        flash("This case no longer needs a decision.")
    return redirect(url_for("pages.case", ident=ident), 303)


@routes.post("/cases/<ident>/tell")
def tell(ident: str) -> View:
    """Owe anew what a provider could not be told of a case."""
    viewer.found(viewer.search().case(ident), "case")
    again = viewer.inbox().outcomes.send_again(ident)
    log.info("outcome replayed by hand", case=ident, outcomes=again)
    flash("The worker sends the outcome again." if again else "There is no outcome to send again.")
    return redirect(url_for("pages.case", ident=ident), 303)


@routes.post("/cases/<ident>/outcome")
def outcome(ident: str) -> View:
    """Have a provider told in the word that a person chose."""
    found = viewer.found(viewer.search().case(ident), "case")
    provider, word = request.form.get("provider", ""), request.form.get("word", "")
    try:
        choose(viewer.inbox(), viewer.settings(), found, provider, word, "viewer")
        flash(f"Saved. The worker sends {word} to {provider}.")
    except PermanentError as error:
        flash(str(error))
    return redirect(url_for("pages.case", ident=ident), 303)


@routes.get("/cases/<ident>/evidence.json")
def evidence(ident: str) -> View:
    """Hand out a case whole, as one file: its deliveries as received, its calls, its outcome."""
    found = viewer.found(viewer.search().case(ident), "case")
    whole = found | {"deliveries": [viewer.search().delivery(one["id"]) for one in found["deliveries"]]}
    answer = Response(json.dumps(whole, indent=2), content_type="application/json")
    answer.headers["Content-Disposition"] = f'attachment; filename="{found["id"]}.json"'
    return answer


# lists


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


def _choices(filters: Filters) -> dict[str, list[str]]:
    """Return the values that each filter of a list offers."""
    return choices_of(filters) | {
        "provider": list(viewer.settings().providers),
        "store": list(viewer.settings().stores),
    }


def _tabs(endpoint: str, name: str, words: list[typing.Any], wanted: Json) -> list[Json]:
    """Return the links that narrow a list to one status, or to none."""
    others = {key: value for key, value in wanted.items() if key not in (name, "cursor", "reason")}
    chosen, page = wanted.get(name), url_for(endpoint)  # whose own arguments are not for a query to choose

    def link(**more: str) -> str:
        query = urlencode({**others, **more})
        return f"{page}?{query}" if query else page

    return [
        {"label": "All", "url": link(), "current": chosen is None},
        *(
            {"label": formatting.plain(word), "url": link(**{name: word.value}), "current": chosen == word}
            for word in words
        ),
    ]
