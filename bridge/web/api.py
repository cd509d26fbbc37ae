"""The JSON API: the log for programs, replay, the review of matches, and the words of outcomes."""

from __future__ import annotations

import typing

from flask import Blueprint, Response, current_app, jsonify, request

from bridge.errors import PermanentError, Rejected
from bridge.providers.proof import same
from bridge.storage.search import BadFilter
from bridge.web import auth
from bridge.web.document import document
from bridge.worker.choice import choices, choose

if typing.TYPE_CHECKING:
    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox
    from bridge.storage.search import Search

LARGEST_ID = 2**63 - 1
READING = ("GET", "HEAD", "OPTIONS")

routes = Blueprint("api", __name__, url_prefix="/api")


@routes.before_request
def authorize() -> None:
    """Let in who knows the token; where none is set, this machine alone."""
    settings: Settings = current_app.extensions["settings"]
    if settings.api_token is None:
        auth.require_this_machine("The API", "BRIDGE_API_TOKEN")
        _require_this_site()
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not same(given.strip(), settings.api_token):
        raise Rejected("unauthorized", 401, "The bearer token is missing or wrong.")


def _require_this_site() -> None:
    """Refuse to change anything for a page of another site, which a browser here may have open."""
    if request.method in READING:
        return
    origin = f"{request.scheme}://{request.host}"
    if auth.is_cross_site() or request.headers.get("Origin", origin) != origin:
        raise Rejected(
            "bad_request", 400, "A page of another site sent this. Set BRIDGE_API_TOKEN, and use it."
        )
    if request.mimetype and not request.is_json:  # a form of an old browser, which says nothing of its site
        raise Rejected("bad_request", 400, "Send JSON, with Content-Type: application/json.")


@routes.errorhandler(BadFilter)
def bad_filter(error: BadFilter) -> tuple[Response, int]:
    """Refuse a filter that the list does not have."""
    return jsonify(error="bad_request", message=str(error)), 400


@routes.get("/deliveries")
def deliveries() -> Response:
    """List deliveries, newest first."""
    return jsonify(_search().deliveries(request.args.to_dict()).to_json())


@routes.get("/deliveries/<ident>")
def delivery(ident: str) -> Response:
    """Return one delivery."""
    return jsonify(_found(_search().delivery(ident), "delivery"))


@routes.post("/deliveries/<ident>/replay")
def replay(ident: str) -> Response:
    """Put a delivery back into the queue, with a new deadline, unless it is pending or its body is gone."""
    _found(_search().delivery(ident), "delivery")
    inbox: Inbox = current_app.extensions["inbox"]
    inbox.deliveries.replay([ident])
    return jsonify(_found(_search().delivery(ident), "delivery"))


@routes.post("/deliveries/<ident>/dismiss")
def dismiss(ident: str) -> Response:
    """Put a failed delivery aside; any other is left as it is."""
    _found(_search().delivery(ident), "delivery")
    inbox: Inbox = current_app.extensions["inbox"]
    inbox.deliveries.dismiss([ident])
    return jsonify(_found(_search().delivery(ident), "delivery"))


@routes.get("/cases")
def cases() -> Response:
    """List cases, newest first."""
    return jsonify(_search().cases(request.args.to_dict()).to_json())


@routes.get("/cases/<ident>")
def case(ident: str) -> Response:
    """Return one case."""
    return jsonify(_found(_search().case(ident), "case"))


@routes.get("/openapi.json")
def openapi() -> Response:
    """Return the document of all this."""
    return jsonify(document())


@routes.post("/cases/<ident>/match")
def match(ident: str) -> Response:
    """Take a person's word for a case's transaction, or (null) for there being none."""
    _found(_search().case(ident), "case")
    wanted = _given().get("transaction", "")
    if wanted is not None and not (type(wanted) is int and 0 < wanted <= LARGEST_ID):
        raise Rejected("bad_request", 400, 'Send {"transaction": 123}, or null where there is none.')
    inbox: Inbox = current_app.extensions["inbox"]
    if not inbox.cases.decide(ident, wanted):
        raise Rejected("bad_request", 400, "This case has its transaction already.")
    return jsonify(_found(_search().case(ident), "case"))


@routes.get("/cases/<ident>/outcomes")
def outcomes(ident: str) -> Response:
    """List what providers are told of a case, with the words that a person may choose."""
    found = _found(_search().case(ident), "case")
    offered = choices(current_app.extensions["inbox"], current_app.extensions["settings"], found)
    words = {name: [{"word": one.name, "says": one.says} for one in some] for name, some in offered.items()}
    rows = [one | {"choices": words.get(one["provider"], [])} for one in found["outcomes"]]
    return jsonify(results=rows, next=None)


@routes.post("/cases/<ident>/outcomes")
def choose_outcome(ident: str) -> Response:
    """Have a provider told in the word that a person chose."""
    found = _found(_search().case(ident), "case")
    provider, word = _given().get("provider"), _given().get("word")
    if not isinstance(provider, str) or not isinstance(word, str):
        raise Rejected("bad_request", 400, 'Send {"provider": "ethoca", "word": "RESOLVED/REFUNDED"}.')
    extensions = current_app.extensions
    try:
        choose(extensions["inbox"], extensions["settings"], found, provider, word, "api")
    except PermanentError as error:
        raise Rejected("bad_request", 400, str(error)) from None
    return jsonify(_found(_search().case(ident), "case"))


def _given() -> dict[str, typing.Any]:
    """Return the object that was sent, or an empty one."""
    try:
        given = request.get_json(silent=True)
    except RecursionError:  # nested too deep
        given = None
    return given if isinstance(given, dict) else {}


def _search() -> Search:
    return typing.cast("Search", current_app.extensions["search"])


def _found(thing: dict[str, typing.Any] | None, kind: str) -> dict[str, typing.Any]:
    if thing is None:
        raise Rejected("not_found", 404, f"There is no such {kind}.")
    return thing
