"""The web process: wires settings, database, pages and API together."""

from __future__ import annotations

import atexit
import functools
import math
import os
import threading
import time
import typing
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from flask import Flask, Response, current_app, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from bridge import logs
from bridge.errors import Rejected, Unavailable
from bridge.settings import ROOT, Settings, load
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

log = structlog.get_logger()

WEB_POOL = 3
"""Connections of one web process: commits share one, reads and probes the rest."""
READY_SECONDS = 1.0
"""How long the answer of `/readyz` is cached."""


def create_app(
    settings: Settings | None = None, database: Database | None = None, *, watch: bool = True
) -> Flask:
    """Builds the application. Without `settings` it reads them from the environment.

    With `watch` a thread notifies the operator when the worker is gone and cannot do it itself.
    """
    settings = settings or load(os.environ, ROOT)
    logs.set_up(settings.log_level)
    if database is None:
        database = Database(settings.database_url, pool_size=WEB_POOL)
        atexit.register(database.close)  # which merges SQLite's WAL into its file
    app = make_routes()
    equip(app, settings, database, watch=watch)
    return app


def make_routes() -> Flask:
    """Builds what all applications have in common: routes, pages, and answers to errors."""
    app = Flask(__name__, static_folder=None)
    for module in (webhooks, metrics, overview, pages, replays, install, auth, viewer, api):
        app.register_blueprint(module.routes)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.register_error_handler(Rejected, _rejected)
    app.register_error_handler(Unavailable, _rejected)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)
    return app


def equip(app: Flask, settings: Settings, database: Database, *, watch: bool) -> None:
    """Gives an application its settings and its database."""
    app.config["MAX_CONTENT_LENGTH"] = webhooks.LARGEST + 1  # werkzeug also refuses a body of exactly this
    auth.set_up(app, settings)
    app.extensions["settings"] = settings = with_installed(settings, database)
    app.extensions["inbox"] = open_inbox(database, settings)
    app.extensions["search"] = Search(database)
    app.extensions["daily_counts"] = DailyCounts()
    app.extensions["shared_state"] = SharedState(database)
    app.extensions["readiness"] = Readiness(database)
    if watch and settings.notify:
        jobs = Jobs(settings, database, worker=False)
        app.extensions["watch"] = stopping = threading.Event()
        threading.Thread(target=jobs.run, args=(stopping,), name="watch", daemon=True).start()
    answer = _with_headers(functools.partial(Flask.wsgi_app, app))
    if settings.proxy_hops:  # each proxy adds to X-Forwarded-For; X-Forwarded-Proto is the last one's
        answer = ProxyFix(answer, x_for=settings.proxy_hops, x_proto=1, x_host=0, x_port=0, x_prefix=0)
    app.wsgi_app = answer  # type: ignore[method-assign,assignment]


def _with_headers(answer: WSGIApplication) -> WSGIApplication:
    """Adds HEADERS to every answer, below Flask, where that costs next to nothing."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], error: typing.Any = None) -> typing.Any:
            more = list(HEADERS.items())
            if environ["wsgi.url_scheme"] == "https":
                more.append(("Strict-Transport-Security", "max-age=31536000"))
            if not any(name == "Cache-Control" for name, _ in headers):
                more.append(("Cache-Control", "no-store"))
            return start_response(status, headers + more, error)

        environ["PATH_INFO"] = webhooks.normalized_path(environ.get("PATH_INFO", ""))
        return answer(environ, start)

    return application


def healthz() -> Response:
    """Answers that the process is running."""
    return jsonify(status="ok")


def readyz() -> tuple[Response, int]:
    """Answers whether webhooks can be stored."""
    ready = current_app.extensions["readiness"].problem() is None
    return jsonify(status="ready" if ready else "unavailable"), 200 if ready else 503


class Readiness:
    """Whether webhooks can be stored. It asks the database at most once in READY_SECONDS.

    Anybody may ask, so the reason goes to the log only.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = time.monotonic
        self.lock = threading.Lock()
        self.until = -math.inf
        self.last_problem: str | None = None

    def problem(self) -> str | None:
        """Returns why webhooks cannot be stored, or None if they can."""
        with self.lock:
            if self.clock() >= self.until:
                self._check()
                self.until = self.clock() + READY_SECONDS
            return self.last_problem

    def _check(self) -> None:
        before = self.last_problem
        try:
            self.last_problem = migrate.problem(self.database)
        except Unavailable as error:
            self.last_problem = str(error)
        if self.last_problem and self.last_problem != before:
            log.error("not ready", why=self.last_problem)


def _rejected(error: Rejected | Unavailable) -> tuple[Response, int]:
    error = viewer.rejection_of(error)
    response = jsonify(error=error.word, message=str(error))
    if error.status == 503:
        response.headers["Retry-After"] = str(webhooks.RETRY_SECONDS)
    if error.status == 401:
        scheme = "Bearer" if error.word == "unauthorized" else 'Basic realm="bridge", charset="UTF-8"'
        response.headers["WWW-Authenticate"] = scheme
    return response, error.status


ERROR_WORDS = {404: "not_found", 405: "bad_request", 413: "too_large"}


def _http_error(error: HTTPException) -> tuple[Response, int]:
    status = error.code or 500
    word = ERROR_WORDS.get(status, "bad_request")
    response = jsonify(error=word, message=error.description or word)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response, status


def _bug(error: Exception) -> tuple[Response, int]:
    """Answers 503 to a bug, so that a provider sends its webhook again. The traceback goes to the log."""
    log.error("bug", exc_info=error)
    return _rejected(Rejected("unavailable", 503, "Internal error. Send it again later."))
