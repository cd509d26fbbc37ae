"""Bulk replay: a plan over a filter, then a job that the worker does, seen and stopped here."""

from __future__ import annotations

import typing
from urllib.parse import urlencode

import structlog
from flask import redirect, render_template, request, url_for

from bridge.alert import Status
from bridge.errors import Rejected
from bridge.storage.filters import DELIVERY_FILTERS, ID, PAGING, BadFilter
from bridge.web import viewer
from bridge.worker.jobs import A_SECOND

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.web.viewer import Json, View

log = structlog.get_logger()

MOST_COUNTED = 100_000
"""How far a plan counts."""
SAMPLE = "10"

routes = viewer.blueprint("replays")


@routes.get("/replays")
def replays() -> View:
    """List the newest bulk replays."""
    return render_template("replays.html", rows=viewer.shared_state().replays())


@routes.get("/replays/new")
def plan() -> View:
    """Show what a bulk replay over a filter would put back."""
    wanted = _replay_filters(request.args)
    total = viewer.search().count(wanted, MOST_COUNTED)
    first = viewer.search().deliveries(wanted | {"limit": SAMPLE}, newest_first=False).results
    return render_template(
        "replay_plan.html", wanted=wanted, total=total, most=MOST_COUNTED, first=first, rate=A_SECOND
    )


@routes.post("/replays")
def start_replay() -> View:
    """Ask the worker for a bulk replay."""
    wanted = _replay_filters(request.form)
    total = viewer.search().count(wanted, MOST_COUNTED)
    ident = viewer.shared_state().start_replay(wanted, total)
    log.info("bulk replay asked for", replay=ident, filters=wanted, total=total)
    return redirect(url_for("replays.replaying", ident=ident), 303)


@routes.get("/replays/<ident>")
def replaying(ident: str) -> View:
    """Show how far a bulk replay is."""
    found = viewer.shared_state().replay(ident) if ID.fullmatch(ident) else None
    if found is None:
        raise Rejected("not_found", 404, "There is no such replay.")
    return render_template("replay.html", it=found, query=urlencode(found.filters))


@routes.post("/replays/<ident>/stop")
def stop_replay(ident: str) -> View:
    """Stop a bulk replay."""
    viewer.shared_state().end_replay(ident, "stopped")
    log.info("bulk replay stopped", replay=ident)
    return redirect(url_for("replays.replaying", ident=ident), 303)


def _replay_filters(given: Mapping[str, str]) -> Json:
    """Read the filters of a bulk replay; raises BadFilter."""
    known = set(DELIVERY_FILTERS.fields).difference(PAGING)
    wanted = {name: value for name, value in given.items() if name in known and value}
    if not wanted:
        raise BadFilter("A bulk replay needs a filter, such as status=failed.")
    if wanted.get("status") == Status.PENDING:
        raise BadFilter("Pending alerts are retried anyway.")
    return wanted


def query(wanted: Json) -> str | None:
    """Return the query of a bulk replay over the filters of a list, if one makes sense."""
    filters = {name: value for name, value in wanted.items() if name not in PAGING}
    if not filters or "text" in filters or filters.get("status") == Status.PENDING:
        return None
    return urlencode(filters)
