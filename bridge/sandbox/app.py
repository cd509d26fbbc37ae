"""The sandbox as a Flask app, and the server that runs it."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from bridge.sandbox import auth, reads, writes
from bridge.sandbox.forms import Json


def create_app(token: str = auth.TOKEN, *, rate: int = 4, page_size: int = 100) -> Flask:
    """Returns a 29next with one store for this token. `rate` is in calls a second; 0 means no limit."""
    app = Flask(__name__, static_folder=None)
    app.config.update(RATE=rate, PAGE_SIZE=page_size)
    app.extensions["sandbox"] = stores = auth.Stores()
    stores.open(token, auth.STORE)
    app.before_request(auth.admit)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(ValidationError, _invalid)
    for routes in (reads.routes, writes.routes):
        app.register_blueprint(routes, url_prefix=auth.API)
    app.register_blueprint(auth.oauth)
    app.add_url_rule("/sandbox/transactions", view_func=writes.sell, methods=["POST"])
    return app


def create_served_app(token: str) -> WSGIApplication:
    """Returns the app for a threaded server. It takes one call at a time: its stores have no locks."""
    app, turn = create_app(token), threading.Lock()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with turn:
            return app(environ, start_response)

    return answer


def serve(host: str = "127.0.0.1", port: int = 8001, token: str = auth.TOKEN) -> None:
    """Replaces this process by gunicorn with the sandbox; raises OSError if it cannot listen."""
    listener = socket.create_server((host, port))  # gunicorn would try five times
    listener.set_inheritable(True)
    server = f"-m gunicorn --bind fd://{listener.fileno()} --log-level warning --no-control-socket".split()
    # One process holds the stores, whatever WEB_CONCURRENCY says, and keeps connections open as 29next does.
    server += ["--workers", "1", "--threads", "8", "--keep-alive", "95"]
    app = f"bridge.sandbox.app:create_served_app({token!r})"
    os.execv(sys.executable, [sys.executable, *server, app])  # noqa: S606  no shell is wanted


def _http_error(error: HTTPException) -> Response:
    """Answers an error as Django REST framework does."""
    response = error.get_response()
    response.data = json.dumps({"detail": error.description})
    response.content_type = "application/json"
    return response


def _invalid(error: ValidationError) -> tuple[Json, int]:
    """Answers invalid fields as Django REST framework does."""
    problems = error.messages_dict
    return {"non_field_errors" if name == "_schema" else name: problems[name] for name in problems}, 400
