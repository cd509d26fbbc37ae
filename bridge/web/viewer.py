"""What every page stands on: who may look, what each template is given, and how a page says no."""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
import typing

import structlog
from flask import Blueprint, Response, current_app, g, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from bridge.errors import Rejected, Unavailable
from bridge.storage import stats
from bridge.storage.filters import BadFilter
from bridge.web import auth, formatting
from bridge.worker import notify

if typing.TYPE_CHECKING:
    from flask.sansio.blueprints import BlueprintSetupState
    from werkzeug.wrappers import Response as AnyResponse

    from bridge.settings import Settings
    from bridge.storage.database import Database
    from bridge.storage.inbox import Inbox
    from bridge.storage.search import Search
    from bridge.storage.shared_state import SharedState

log = structlog.get_logger()

Json = dict[str, typing.Any]
View = typing.Union[str, "AnyResponse", tuple[str, int]]

FOLDER = pathlib.Path(__file__).parent / "static"

viewer = Blueprint(
    "viewer", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)
"""Style and scripts: everybody's, where there is a viewer."""


@viewer.before_request
def only_where_it_is_on() -> None:
    """Know no style where there is nothing to look at."""
    if settings().password is None and not settings().installs:
        auth.require_this_machine("The viewer", "BRIDGE_PASSWORD")


@viewer.after_request
def kept_while_it_is_the_same(response: AnyResponse) -> AnyResponse:
    """Let a browser keep what has its content in its address, and nothing else."""
    kept = "public, max-age=31536000, immutable" if "v" in request.args else "no-store"
    response.headers["Cache-Control"] = kept
    return response


def blueprint(name: str, guard: typing.Any = auth.guard) -> Blueprint:
    """Make room for some pages, into which only those get who may look."""
    made = Blueprint(name, __name__)
    made.before_request(guard)
    made.register_error_handler(BadFilter, _bad_filter)
    made.register_error_handler(Unavailable, _unavailable)
    made.register_error_handler(Rejected, refusal)
    made.register_error_handler(Exception, _bug)
    return made


@viewer.app_context_processor
def context() -> Json:
    """Return what every page needs."""
    now = database().now()
    try:
        if "worker_seen_at" not in g:
            with database().read() as connection:
                g.worker_seen_at = stats.worker_seen_at(connection)
        seen = g.worker_seen_at
    except Unavailable:
        seen = now  # what keeps the page from being made says so itself
    return {
        "now": now,
        "form_token": auth.form_token,
        "asset": asset,
        "signs_in": settings().password is not None,
        "worker_gone": seen is None or now - seen > notify.GONE_AFTER,
        "worker_seen_at": seen,
    }


for _said in (
    formatting.ago,
    formatting.stamp,
    formatting.instant,
    formatting.tone,
    formatting.plain,
    formatting.money,
    formatting.precise,
    formatting.pretty,
):
    viewer.add_app_template_filter(_said)
viewer.add_app_template_filter(notify.span)
viewer.add_app_template_filter(notify.url_called)


@viewer.record_once
def show_any_text(state: BlueprintSetupState) -> None:
    """Let nothing that is filled into a template break the page."""
    state.app.jinja_env.finalize = formatting.shown


@functools.cache
def asset(name: str) -> str:
    """Return the URL of a static file, which changes with its content."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
    return url_for("viewer.static", filename=name, v=digest)


def _bad_filter(error: BadFilter) -> AnyResponse | tuple[str, int]:
    """Say what is wrong with a filter."""
    return refusal(Rejected("bad_request", 400, str(error)))


def _unavailable(error: Unavailable) -> AnyResponse | tuple[str, int]:
    """Say that the database is away."""
    return refusal(away(error))


def away(error: Unavailable) -> Rejected:
    """Return what anybody may know of a database that is away; its address and user are for the log."""
    log.warning("database unavailable", why=str(error))
    return Rejected("unavailable", 503, "The database is not available. The log says why.")


def _bug(error: Exception) -> AnyResponse | tuple[str, int]:
    """Say that a page could not be made, without showing why."""
    if isinstance(error, HTTPException):
        word = "not_found" if error.code == 404 else "bad_request"
        return refusal(Rejected(word, error.code or 500, error.description or ""))
    log.error("bug", page=request.endpoint, exc_info=error)
    return refusal(Rejected("bug", 500, "This page failed. The log says why."))


def refusal(error: Rejected) -> AnyResponse | tuple[str, int]:
    """Say no: on a page for a person, in JSON for a program."""
    if "text/html" not in request.headers.get("Accept", ""):
        answer = Response(json.dumps({"error": error.word, "message": str(error)}), error.status)
        answer.content_type = "application/json"
        return answer
    return render_template("refusal.html", error=error), error.status


auth.gate.register_error_handler(Rejected, refusal)
auth.gate.register_error_handler(Unavailable, _unavailable)
viewer.register_error_handler(Rejected, refusal)


def found(thing: Json | None, kind: str) -> Json:
    """Return a thing that was looked for, or say that it is not there."""
    if thing is None:
        raise Rejected("not_found", 404, f"There is no such {kind}.")
    return thing


def settings() -> Settings:
    """Return the settings."""
    return typing.cast("Settings", current_app.extensions["settings"])


def search() -> Search:
    """Return the log."""
    return typing.cast("Search", current_app.extensions["search"])


def database() -> Database:
    """Return the database."""
    return inbox().database


def shared_state() -> SharedState:
    """Return what the processes remember for one another."""
    return typing.cast("SharedState", current_app.extensions["shared_state"])


def inbox() -> Inbox:
    """Return the inbox."""
    return typing.cast("Inbox", current_app.extensions["inbox"])
