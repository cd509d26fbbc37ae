"""What all pages share: access, the values and filters of templates, static files, and error pages."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import typing

import structlog
from flask import Blueprint, g, jsonify, render_template, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from bridge.errors import Rejected, Unavailable
from bridge.storage import stats
from bridge.web import auth, current, formatting
from bridge.web.current import Json
from bridge.worker import notify

log = structlog.get_logger()

View = str | AnyResponse | tuple[str | AnyResponse, int]

FOLDER = pathlib.Path(__file__).parent / "static"

routes = Blueprint(
    "viewer", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)
"""Style and scripts: open to everybody if the viewer is on."""


@routes.before_request
def require_viewer_on() -> None:
    """Serves style and scripts only where there are pages to see."""
    if current.settings().password is None and not current.settings().installs:
        auth.require_this_machine("The viewer", "BRIDGE_PASSWORD")


@routes.after_request
def set_cache_control(response: AnyResponse) -> AnyResponse:
    """Lets browsers cache a file whose URL has its version, and nothing else."""
    policy = "public, max-age=31536000, immutable" if "v" in request.args else "no-store"
    response.headers["Cache-Control"] = policy
    return response


def blueprint(name: str, guard: typing.Any = auth.require_sign_in) -> Blueprint:
    """Returns a blueprint for pages, behind a guard and with error pages."""
    pages = Blueprint(name, __name__)
    pages.before_request(guard)
    pages.register_error_handler(Unavailable, error_page)
    pages.register_error_handler(Rejected, error_page)
    pages.register_error_handler(Exception, _bug)
    return pages


@routes.app_context_processor
def context() -> Json:
    """Returns the values that every template may use."""
    database = current.database()
    now = database.now()
    try:
        if "worker_seen_at" not in g:
            with database.read() as connection:
                g.worker_seen_at = stats.worker_seen_at(connection)
        seen = g.worker_seen_at
    except Unavailable:
        seen = now  # the page itself reports that the database is away
    return {
        "now": now,
        "form_token": auth.form_token,
        "asset": asset,
        "signs_in": current.settings().password is not None,
        "worker_gone": seen is None or now - seen > notify.GONE_AFTER,
        "worker_seen_at": seen,
    }


for _filter in (
    formatting.ago,
    formatting.stamp,
    formatting.tone,
    formatting.plain,
    formatting.money,
    formatting.precise,
    formatting.pretty,
    notify.span,
    notify.url_called,
):
    routes.add_app_template_filter(_filter)


@routes.record_once
def escape_unprintable_text(state: BlueprintSetupState) -> None:
    """Escapes what cannot be printed in every text that a template shows."""
    state.app.jinja_env.finalize = formatting.escaped


@functools.cache
def asset(name: str) -> str:
    """Returns the URL of a static file, which changes with its content."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
    return url_for("viewer.static", filename=name, v=digest)


def rejection_of(error: Rejected | Unavailable) -> Rejected:
    """Returns the rejection to answer an error with. The log says why the database is unavailable."""
    if isinstance(error, Rejected):
        return error
    log.warning("database unavailable", why=str(error))
    return Rejected("unavailable", 503, "The database is not available. The log says why.")


def _bug(error: Exception) -> View:
    """Answers that a page failed, without showing why."""
    if isinstance(error, HTTPException):
        word = "not_found" if error.code == 404 else "bad_request"
        return error_page(Rejected(word, error.code or 500, error.description or ""))
    log.error("bug", page=request.endpoint, exc_info=error)
    return error_page(Rejected("bug", 500, "This page failed. The log says why."))


def error_page(error: Rejected | Unavailable) -> View:
    """Returns the error as a page for a browser, and as JSON for a program."""
    error = rejection_of(error)
    if "text/html" not in request.headers.get("Accept", ""):
        return jsonify(error=error.word, message=str(error)), error.status
    return render_template("refusal.html", error=error), error.status


auth.routes.register_error_handler(Rejected, error_page)
auth.routes.register_error_handler(Unavailable, error_page)
routes.register_error_handler(Rejected, error_page)
