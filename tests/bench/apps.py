"""The applications that the benchmark loads: a bare Flask hello, and the bridge cut short.

What the bridge answers without one of its steps says what that step costs, waiting and all.
"""

from __future__ import annotations

import typing

from flask import Flask, Response, jsonify

from bridge.storage.committer import Committer
from bridge.storage.deliveries import Deliveries
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
    return _without(Deliveries, "add", lambda *_: "d_unstored")


def unwritten() -> Flask:
    """The bridge, which hands over what it received, and nothing is done with it."""
    return _without(Committer, "_commit", _answer)


def empty() -> Flask:
    """The bridge, which commits, but nothing."""
    return _without(Deliveries, "_store_all", lambda _, __, arrived: ["d_empty"] * len(arrived))


def _answer(_: Committer[typing.Any, str], group: typing.Any) -> None:
    for one in group:
        one.future.set_result("d_unwritten")


def _without(owner: type, step: str, instead: typing.Callable[..., typing.Any]) -> Flask:
    setattr(owner, step, instead)
    return create_app()
