"""The web process: wires settings, inbox, receiver and API together."""

from __future__ import annotations

import atexit
import math
import os
import pathlib
import threading
import time
import typing

import structlog
from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge import logs, settings
from bridge.errors import Rejected, Unavailable
from bridge.storage import migrate
from bridge.storage.database import Database
from bridge.storage.inbox import open_inbox
from bridge.storage.installations import with_installed
from bridge.storage.search import Search
from bridge.storage.shared_state import SharedState
from bridge.storage.stats import DailyCounts
from bridge.web import api, auth, install, metrics, overview, pages, replays, viewer, webhooks
from bridge.web.headers import HEADERS
from bridge.worker.jobs import Jobs

if typing.TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

ROOT = pathlib.Path(__file__).resolve().parents[2]
"""The checkout: `config/` stands beside the package."""
WEB_POOL = 3
"""Connections of one web process: commits share one, reads and probes the rest."""
READY_SECONDS = 1.0
"""How long it is known whether webhooks can be stored."""


def create_app(
    given: settings.Settings | None = None, database: Database | None = None, *, watch: bool = True
) -> Flask:
    """Build the application; the settings come from the environment unless they are given.

    With `watch` a thread of its own tells the operator what a dead worker cannot tell.
    """
    chosen = given or settings.load(os.environ, ROOT)
    logs.set_up(chosen.log_level)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = webhooks.LARGEST + 1  # werkzeug refuses what is just as long, too
    store = database or Database(chosen.database_url, pool_size=WEB_POOL)
    if store is not database:  # what the process opens, it closes: only then is SQLite's file whole alone
        atexit.register(store.close)
    auth.set_up(app, chosen)
    app.extensions["settings"] = chosen = with_installed(chosen, store)
    app.extensions["inbox"] = open_inbox(store, chosen)
    app.extensions["search"] = Search(store)
    app.extensions["daily_counts"] = DailyCounts()
    app.extensions["shared_state"] = SharedState(store)
    api.register(app)
    rooms = (webhooks, metrics, overview, pages, replays, install)
    for one in (*(room.routes for room in rooms), auth.gate, viewer.viewer):
        app.register_blueprint(one)
    if watch and chosen.notify:
        jobs = Jobs(chosen, store, worker=False)
        app.extensions["watch"] = stopping = threading.Event()
        threading.Thread(target=jobs.run, args=(stopping,), name="watch", daemon=True).start()
    app.add_url_rule("/healthz", view_func=healthz)
    app.extensions["readiness"] = readiness = Readiness(store)
    app.add_url_rule("/readyz", "readyz", readiness.answer)
    app.register_error_handler(Rejected, _rejected)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _bug)
    app.wsgi_app = _guarded(app.wsgi_app)  # type: ignore[method-assign,assignment]
    if chosen.proxy_hops:  # each proxy adds to X-Forwarded-For; X-Forwarded-Proto is the last one's
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=chosen.proxy_hops, x_proto=1, x_host=0, x_port=0, x_prefix=0
        )
    return app


def _guarded(answer: WSGIApplication) -> WSGIApplication:
    """Add HEADERS to every answer at the edge, where that costs next to nothing."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], error: typing.Any = None) -> typing.Any:
            more = list(HEADERS.items())
            if environ["wsgi.url_scheme"] == "https":
                more.append(("Strict-Transport-Security", "max-age=31536000"))
            if not any(name == "Cache-Control" for name, _ in headers):
                more.append(("Cache-Control", "no-store"))
            return start_response(status, headers + more, error)

        environ["PATH_INFO"] = webhooks.plainly(environ.get("PATH_INFO", ""))
        return answer(environ, start)

    return application


def healthz() -> Response:
    """Say that the process answers."""
    return jsonify(status="ok")


class Readiness:
    """Whether webhooks can be stored, asked of the database once in READY_SECONDS however many want to know.

    Anybody may ask: what is wrong is for the log.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = time.monotonic
        self.lock = threading.Lock()
        self.until = -math.inf
        self.problem: str | None = None

    def why_not(self) -> str | None:
        """Say what keeps webhooks from being stored; None where nothing does."""
        with self.lock:
            if self.clock() >= self.until:
                self._look()
                self.until = self.clock() + READY_SECONDS
            return self.problem

    def answer(self) -> tuple[Response, int]:
        """Say whether webhooks can be stored."""
        ready = self.why_not() is None
        return jsonify(status="ready" if ready else "unavailable"), 200 if ready else 503

    def _look(self) -> None:
        before = self.problem
        try:
            self.problem = migrate.problem(self.database)
        except Unavailable as error:
            self.problem = str(error)
        if self.problem and self.problem != before:
            log.error("not ready", why=self.problem)


def _rejected(error: Rejected) -> tuple[Response, int]:
    response = jsonify(error=error.word, message=str(error))
    if error.status == 503:
        response.headers["Retry-After"] = str(webhooks.RETRY_SECONDS)
    if error.status == 401:
        scheme = "Bearer" if error.word == "unauthorized" else 'Basic realm="bridge", charset="UTF-8"'
        response.headers["WWW-Authenticate"] = scheme
    return response, error.status


def _unavailable(error: Unavailable) -> tuple[Response, int]:
    return _rejected(viewer.away(error))


_WORDS = {404: "not_found", 405: "bad_request", 413: "too_large"}


def _http(error: HTTPException) -> tuple[Response, int]:
    status = error.code or 500
    word = _WORDS.get(status, "bad_request")
    response = jsonify(error=word, message=error.description or word)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response, status


def _bug(error: Exception) -> tuple[Response, int]:
    """Answer a bug without showing it; a webhook that met one is not acknowledged."""
    log.error("bug", exc_info=error)
    return _rejected(Rejected("unavailable", 503, "Internal error. Send it again later."))
