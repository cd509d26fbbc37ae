"""The applications that the benchmark loads: a bare Flask hello, and the bridge cut short.

What the bridge answers without one of its steps says what that step costs, waiting and all.
"""

from __future__ import annotations

import typing

from flask import Flask, Response, jsonify

from bridge.storage.database import _Committer
from bridge.storage.inbox import Inbox
from bridge.web.app import create_app

STEPS = {
    "hello": "a bare Flask hello",
    "unstored": "proof, cutting, splitting, answer and log",
    "unwritten": "handing over to the thread that commits, and back",
    "empty": "an empty transaction",
    "whole": "writing the rows, durably",
}
"""Each application, and what it does beyond the one before."""


def hello() -> Flask:
    """What acknowledgements are measured by."""
    app = Flask("hello")

    @app.post("/webhooks/ethoca")
    def say() -> Response:
        return jsonify(status="ok")

    return app


def whole() -> Flask:
    """The bridge."""
    return create_app()


def unstored() -> Flask:
    """The bridge, which forgets what it received."""
    return _without(Inbox, "keep", lambda *_: "d_unstored")


def unwritten() -> Flask:
    """The bridge, which hands over what it received, and nothing is done with it."""
    return _without(_Committer, "_once", lambda _, group: ["d_unwritten"] * len(group))


def empty() -> Flask:
    """The bridge, which commits, but nothing."""
    return _without(Inbox, "_keep", lambda _, __, arrived: ["d_empty"] * len(arrived))


def _without(owner: type, step: str, instead: typing.Callable[..., typing.Any]) -> Flask:
    setattr(owner, step, instead)
    return create_app()
