"""The JSON API: the log for programs, replay, the review of matches, and the words of outcomes.

Its document (OpenAPI 3.1) is made of these routes, of the filters that they take and of the shapes that
they answer.
"""

from __future__ import annotations

import typing

from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Response, current_app, jsonify, request
from flask_smorest import Api, Blueprint, current_api
from marshmallow import EXCLUDE, RAISE, Schema, fields, missing, validate
from webargs.flaskparser import FlaskParser

from bridge import __version__
from bridge.errors import PermanentError, Rejected
from bridge.providers.proof import same
from bridge.storage import shapes
from bridge.storage.filters import BadFilter, CaseFilters, DeliveryFilters
from bridge.web import auth
from bridge.worker.choice import choices, choose

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request
    from marshmallow import ValidationError

    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox
    from bridge.storage.search import Search

Json = dict[str, typing.Any]
Route = typing.Callable[..., Response]

READING = ("GET", "HEAD", "OPTIONS")
ABOUT = "The log of the bridge, for programs; and replay."
REFUSALS = {
    400: "A filter that the list does not have, a value that it cannot have, or nothing left to decide.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such thing.",
}


class Refusal(shapes.Closed):
    """Why a request was refused."""

    error = shapes.text("One word.")
    message = shapes.text("One sentence.")


class Whole(fields.Integer):
    """A whole number of JSON, in which 1.0 is 1."""

    def _deserialize(self, value: typing.Any, *rest: typing.Any, **more: typing.Any) -> typing.Any:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        return super()._deserialize(whole, *rest, **more)


class Body(Schema):
    """The body of a request; further keys do not matter."""

    class Meta:
        unknown = EXCLUDE

    expected: typing.ClassVar[str]  # what to send, for the refusal of anything else


class Decision(Body):
    """A person's word for the transaction of a case."""

    expected = 'Send {"transaction": 123}, or null where there is none.'
    transaction = Whole(required=True, allow_none=True, strict=True, validate=validate.Range(1, 2**63 - 1))


class Choice(Body):
    """The word that a person chose for an outcome."""

    expected = 'Send {"provider": "ethoca", "word": "RESOLVED/REFUNDED"}.'
    provider = fields.String(required=True)
    word = fields.String(required=True)


class Arguments(FlaskParser):
    """Reads what a request asks for; what cannot be read is refused in the API's own shape."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION = {"query": RAISE, "json": None}  # noqa: RUF012  as webargs declares it

    def load_json(self, req: Request, schema: Schema) -> typing.Any:
        """Return the body; one that is no JSON says nothing."""
        try:
            found = req.get_json(silent=True)
        except RecursionError:  # nested too deep
            found = None
        return missing if found is None else found

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, **kwargs: typing.Any
    ) -> typing.NoReturn:
        """Say what a body should be; a list's filters have said so themselves."""
        raise Rejected("bad_request", 400, typing.cast("Body", schema).expected) from None


class Routes(Blueprint):
    """Routes that read their arguments as Arguments does."""

    ARGUMENTS_PARSER = Arguments()


class Described(Api):
    """The API and its document, in which each route lists how it refuses."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = Refusal


routes = Routes("api", __name__, url_prefix="/api", description=ABOUT)


def register(app: Flask) -> Api:
    """Add the API to the application; returns it, with its document."""
    app.config |= {
        "API_TITLE": "dispute-bridge",
        "API_VERSION": __version__,
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {"info": {"description": ABOUT}, "security": [{"token": []}]},
    }
    described = Described(app, spec_kwargs={"marshmallow_plugin": MarshmallowPlugin(_name)})
    described.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    described.register_blueprint(routes)
    return described


def _name(schema: typing.Any) -> str:
    """Name what is answered; anything else has no name, and is described where it is asked for."""
    known = schema if isinstance(schema, type) else type(schema)
    return known.__name__ if issubclass(known, shapes.Closed) else ""


def answers(schema: type[Schema] | Json, *refusals: int) -> Callable[[Route], Route]:
    """Document what a route answers, and how it refuses."""

    def decorate(route: Route) -> Route:
        says, *_ = str(route.__doc__).splitlines()
        documented = routes.response(200, schema, description=says)(route)
        for status in (*refusals, 401):
            refused = routes.alt_response(status, schema=Refusal, description=REFUSALS[status])
            documented = refused(documented)
        named: Route = routes.doc(operationId=route.__name__)(documented)
        return named

    return decorate


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
@answers(shapes.DeliveryPage, 400)
@routes.arguments(DeliveryFilters, location="query")
def deliveries(filters: Json) -> Response:
    """List deliveries, newest first."""
    return jsonify(_search().delivery_page(filters).to_json())


@routes.get("/deliveries/<id>")
@answers(shapes.WholeDelivery, 404)
def delivery(id: str) -> Response:
    """Return one delivery whole."""
    return jsonify(_found(_search().delivery(id), "delivery"))


@routes.post("/deliveries/<id>/replay")
@answers(shapes.WholeDelivery, 404)
def replay(id: str) -> Response:
    """Put a delivery back into the queue, with a new deadline.

    One that is pending, or whose body retention has removed, is left as it is.
    """
    _found(_search().delivery(id), "delivery")
    _inbox().deliveries.replay([id])
    return jsonify(_found(_search().delivery(id), "delivery"))


@routes.post("/deliveries/<id>/dismiss")
@answers(shapes.WholeDelivery, 404)
def dismiss(id: str) -> Response:
    """Put a failed delivery aside: it needs nobody's attention any more, and can be replayed.

    Any other is left as it is.
    """
    _found(_search().delivery(id), "delivery")
    _inbox().deliveries.dismiss([id])
    return jsonify(_found(_search().delivery(id), "delivery"))


@routes.get("/cases")
@answers(shapes.CasePage, 400)
@routes.arguments(CaseFilters, location="query")
def cases(filters: Json) -> Response:
    """List cases, newest first."""
    return jsonify(_search().case_page(filters).to_json())


@routes.get("/cases/<id>")
@answers(shapes.WholeCase, 404)
def case(id: str) -> Response:
    """Return one case whole."""
    return jsonify(_found(_search().case(id), "case"))


@routes.post("/cases/<id>/match")
@answers(shapes.WholeCase, 400, 404)
@routes.arguments(Decision)
def match(decision: Json, id: str) -> Response:
    """Take a person's word for a case's transaction, or (null) for there being none."""
    _found(_search().case(id), "case")
    if not _inbox().cases.decide(id, decision["transaction"]):
        raise Rejected("bad_request", 400, "This case has its transaction already.")
    return jsonify(_found(_search().case(id), "case"))


@routes.get("/cases/<id>/outcomes")
@answers(shapes.OutcomePage, 404)
def outcomes(id: str) -> Response:
    """List the outcomes of a case, with the words that a person may choose."""
    found = _found(_search().case(id), "case")
    offered = choices(_inbox(), current_app.extensions["settings"], found)
    words = {name: [{"word": one.name, "says": one.says} for one in some] for name, some in offered.items()}
    rows = [one | {"choices": words.get(one["provider"], [])} for one in found["outcomes"]]
    return jsonify(results=rows, next=None)


@routes.post("/cases/<id>/outcomes")
@answers(shapes.WholeCase, 400, 404)
@routes.arguments(Choice)
def choose_outcome(choice: Json, id: str) -> Response:
    """Send a provider the word that a person chose, if the outcome waits for one."""
    found = _found(_search().case(id), "case")
    settings: Settings = current_app.extensions["settings"]
    try:
        choose(_inbox(), settings, found, choice["provider"], choice["word"], "api")
    except PermanentError as error:
        raise Rejected("bad_request", 400, str(error)) from None
    return jsonify(_found(_search().case(id), "case"))


@routes.get("/openapi.json")
@answers({"type": "object"})
def document() -> Response:
    """Return the document of all this."""
    return jsonify(current_api.spec.to_dict())


def _search() -> Search:
    return typing.cast("Search", current_app.extensions["search"])


def _inbox() -> Inbox:
    return typing.cast("Inbox", current_app.extensions["inbox"])


def _found(thing: Json | None, kind: str) -> Json:
    if thing is None:
        raise Rejected("not_found", 404, f"There is no such {kind}.")
    return thing
