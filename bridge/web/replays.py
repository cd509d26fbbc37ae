"""The pages of bulk replays: plan one over a filter, start it, watch it, stop it. The worker does the job."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import structlog
from flask import redirect, render_template, request, url_for

from bridge.alert import Status
from bridge.storage.filters import DELIVERY_FILTERS, ID, PAGING, BadFilter
from bridge.storage.shared_state import Replay
from bridge.web import current, viewer
from bridge.web.current import Json
from bridge.web.viewer import View
from bridge.worker.jobs import A_SECOND

log = structlog.get_logger()

MOST_COUNTED = 100_000
"""A plan counts no further than this."""
SAMPLE = "10"

routes = viewer.blueprint("replays")


@routes.get("/replays")
def replays() -> View:
    """Lists the newest bulk replays."""
    return render_template("replays.html", rows=current.shared_state().replays())


@routes.get("/replays/new")
def plan() -> View:
    """Shows which deliveries a bulk replay over a filter would replay."""
    wanted = _replay_filters(request.args)
    total = current.search().count(wanted, MOST_COUNTED)
    first = current.search().deliveries(wanted | {"limit": SAMPLE}, newest_first=False).results
    return render_template(
        "replay_plan.html", wanted=wanted, total=total, most=MOST_COUNTED, first=first, rate=A_SECOND
    )


@routes.post("/replays")
def start_replay() -> View:
    """Requests a bulk replay, which the worker then does."""
    wanted = _replay_filters(request.form)
    total = current.search().count(wanted, MOST_COUNTED)
    ident = current.shared_state().start_replay(wanted, total)
    log.info("bulk replay asked for", replay=ident, filters=wanted, total=total)
    return redirect(url_for("replays.replay", ident=ident), 303)


@routes.get("/replays/<ident>")
def replay(ident: str) -> View:
    """Shows the progress of a bulk replay."""
    return render_template("replay.html", it=_replay_or_404(ident))


@routes.post("/replays/<ident>/stop")
def stop_replay(ident: str) -> View:
    """Stops a bulk replay."""
    current.shared_state().end_replay(_replay_or_404(ident).id, "stopped")
    log.info("bulk replay stopped", replay=ident)
    return redirect(url_for("replays.replay", ident=ident), 303)


def _replay_or_404(ident: str) -> Replay:
    """Returns a bulk replay; raises Rejected if there is none."""
    return current.or_404(current.shared_state().replay(ident) if ID.fullmatch(ident) else None, "replay")


def _replay_filters(given: Mapping[str, str]) -> Json:
    """Reads the filters of a bulk replay; raises BadFilter."""
    names = set(DELIVERY_FILTERS.fields).difference(PAGING)
    wanted = {name: value for name, value in given.items() if name in names and value}
    if not wanted:
        raise BadFilter("A bulk replay needs a filter, such as status=failed.")
    if wanted.get("status") == Status.PENDING:
        raise BadFilter("Pending alerts are retried anyway.")
    return wanted


def query(wanted: Json) -> str | None:
    """Returns the query of a bulk replay over a list's filters, or None if they cannot be replayed."""
    filters = {name: value for name, value in wanted.items() if name not in PAGING}
    if not filters or "text" in filters or filters.get("status") == Status.PENDING:
        return None
    return urlencode(filters)
