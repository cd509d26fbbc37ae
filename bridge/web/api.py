"""The JSON API: search and replay deliveries, decide matches, choose outcomes.

Its OpenAPI 3.1 document is generated from these routes, their filters, and the shapes of their answers.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable

from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, Request, Response, jsonify, request
from flask_smorest import Api, Blueprint
from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, missing, validate
from webargs.flaskparser import FlaskParser

from bridge import __version__
from bridge.errors import PermanentError, Rejected
from bridge.providers.proof import same
from bridge.storage import shapes
from bridge.storage.filters import CaseFilters, DeliveryFilters
from bridge.web import auth, current
from bridge.web.current import Json
from bridge.worker.choice import choices, choose

Route = typing.Callable[..., Response]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
DESCRIPTION = "The log of the bridge, for programs; and replay."
ERRORS = {
    400: "A filter that the list does not have, a value that it cannot have, or nothing left to decide.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such thing.",
}


class Refusal(shapes.Closed):
    """Why a request was refused."""

    error = shapes.text("One word.")
    message = shapes.text("One sentence.")


class WholeNumber(fields.Integer):
    """A whole number. JSON may write 1 as 1.0."""

    def _deserialize(self, value: typing.Any, *rest: typing.Any, **more: typing.Any) -> typing.Any:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        return super()._deserialize(number, *rest, **more)


class RequestBody(Schema):
    """The body of a request. It ignores unknown keys."""

    class Meta:
        unknown = EXCLUDE

    expected: typing.ClassVar[str]
    """The error message for any other body."""


class MatchDecision(RequestBody):
    """The transaction that a person attaches to a case, or null."""

    expected = 'Send {"transaction": 123}, or null where there is none.'
    transaction = WholeNumber(
        required=True, allow_none=True, strict=True, validate=validate.Range(1, 2**63 - 1)
    )


class OutcomeChoice(RequestBody):
    """The word that a person chose for an outcome."""

    expected = 'Send {"provider": "ethoca", "word": "RESOLVED/REFUNDED"}.'
    provider = fields.String(required=True)
    word = fields.String(required=True)


class ArgumentParser(FlaskParser):
    """Reads the query or the body of a request, and rejects invalid ones in the API's own shape."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION = {"query": RAISE, "json": None}  # noqa: RUF012  as webargs declares it

    def load_json(self, req: Request, schema: Schema) -> typing.Any:
        """Returns the body, or `missing` if it is not JSON."""
        try:
            body = req.get_json(silent=True)
        except RecursionError:  # nested too deep
            body = None
        return missing if body is None else body

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, **kwargs: typing.Any
    ) -> typing.NoReturn:
        """Rejects the body with an example of a valid one. Filters raise BadFilter before this is called."""
        raise Rejected("bad_request", 400, typing.cast("RequestBody", schema).expected) from None


class ApiBlueprint(Blueprint):
    """A blueprint whose routes use ArgumentParser."""

    ARGUMENTS_PARSER = ArgumentParser()


class DocumentedApi(Api):
    """The API and its document, in which each route lists its errors."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = Refusal


routes = ApiBlueprint("api", __name__, url_prefix="/api", description=DESCRIPTION)


@functools.cache
def openapi_document() -> Json:
    """Returns the OpenAPI document. Only a request for it takes the time to build it."""
    app = Flask(__name__, static_folder=None)
    app.config |= {
        "API_TITLE": "dispute-bridge",
        "API_VERSION": __version__,
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {"info": {"description": DESCRIPTION}, "security": [{"token": []}]},
    }
    api = DocumentedApi(app, spec_kwargs={"marshmallow_plugin": MarshmallowPlugin(_component_name)})
    api.spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    api.register_blueprint(routes)
    return dict(api.spec.to_dict())


def _component_name(schema: typing.Any) -> str:
    """Returns the name of an answer's shape in the document. Other schemas have none and stand inline."""
    schema_class = schema if isinstance(schema, type) else type(schema)
    return schema_class.__name__ if issubclass(schema_class, shapes.Closed) else ""


def answers(schema: type[Schema] | Json, *errors: int) -> Callable[[Route], Route]:
    """Documents a route's answer and its errors."""

    def decorate(route: Route) -> Route:
        first_line, *_ = str(route.__doc__).splitlines()
        documented = routes.response(200, schema, description=first_line)(route)
        for status in (*errors, 401):
            with_error = routes.alt_response(status, schema=Refusal, description=ERRORS[status])
            documented = with_error(documented)
        named: Route = routes.doc(operationId=route.__name__)(documented)
        return named

    return decorate


def of_a_case(route: Route) -> Route:
    """Gives a route the case of its path, or answers 404 before anything else is read."""

    @functools.wraps(route)
    def with_case(id: str) -> Response:
        return route(case=current.case_or_404(id))

    return with_case


@routes.before_request
def authorize() -> None:
    """Requires the API's token, or a request from this machine if no token is set."""
    settings = current.settings()
    if settings.api_token is None:
        auth.require_this_machine("The API", "BRIDGE_API_TOKEN")
        _require_this_site()
        return
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not same(given.strip(), settings.api_token):
        raise Rejected("unauthorized", 401, "The bearer token is missing or wrong.")


def _require_this_site() -> None:
    """Rejects changes by a page of another site that a browser on this machine has open."""
    if request.method in SAFE_METHODS:
        return
    origin = f"{request.scheme}://{request.host}"
    if auth.is_cross_site() or request.headers.get("Origin", origin) != origin:
        raise Rejected(
            "bad_request", 400, "A page of another site sent this. Set BRIDGE_API_TOKEN, and use it."
        )
    if request.mimetype and not request.is_json:  # a form of an old browser, which does not name its site
        raise Rejected("bad_request", 400, "Send JSON, with Content-Type: application/json.")


@routes.get("/deliveries")
@answers(shapes.DeliveryPage, 400)
@routes.arguments(DeliveryFilters, location="query")
def deliveries(filters: Json) -> Response:
    """List deliveries, newest first."""
    return jsonify(current.search().delivery_page(filters).to_json())


@routes.get("/deliveries/<id>")
@answers(shapes.WholeDelivery, 404)
def delivery(id: str) -> Response:
    """Return everything about one delivery."""
    return jsonify(current.delivery_or_404(id))


@routes.post("/deliveries/<id>/replay")
@answers(shapes.WholeDelivery, 404)
def replay(id: str) -> Response:
    """Put a delivery back into the queue, with a new deadline.

    It changes nothing if the delivery is pending, or if retention has removed its body.
    """
    current.delivery_or_404(id)
    current.inbox().deliveries.replay([id])
    return jsonify(current.delivery_or_404(id))


@routes.post("/deliveries/<id>/dismiss")
@answers(shapes.WholeDelivery, 404)
def dismiss(id: str) -> Response:
    """Dismiss a failed delivery: it no longer needs attention. You can still replay it.

    It changes nothing if the delivery has not failed.
    """
    current.delivery_or_404(id)
    current.inbox().deliveries.dismiss([id])
    return jsonify(current.delivery_or_404(id))


@routes.get("/cases")
@answers(shapes.CasePage, 400)
@routes.arguments(CaseFilters, location="query")
def cases(filters: Json) -> Response:
    """List cases, newest first."""
    return jsonify(current.search().case_page(filters).to_json())


@routes.get("/cases/<id>")
@answers(shapes.WholeCase, 404)
@of_a_case
def case(case: Json) -> Response:
    """Return everything about one case."""
    return jsonify(case)


@routes.post("/cases/<id>/match")
@answers(shapes.WholeCase, 400, 404)
@of_a_case
@routes.arguments(MatchDecision)
def match(decision: Json, case: Json) -> Response:
    """Attach a transaction to a case, or state (null) that there is none."""
    if not current.inbox().cases.decide(case["id"], decision["transaction"]):
        raise Rejected("bad_request", 400, "This case has its transaction already.")
    return jsonify(current.case_or_404(case["id"]))


@routes.get("/cases/<id>/outcomes")
@answers(shapes.OutcomePage, 404)
@of_a_case
def outcomes(case: Json) -> Response:
    """List the outcomes of a case, with the words that a person may choose."""
    offered = {
        provider: [{"word": word.name, "says": word.says} for word in words]
        for provider, words in choices(current.inbox(), current.settings(), case).items()
    }
    rows = [outcome | {"choices": offered.get(outcome["provider"], [])} for outcome in case["outcomes"]]
    return jsonify(results=rows, next=None)


@routes.post("/cases/<id>/outcomes")
@answers(shapes.WholeCase, 400, 404)
@of_a_case
@routes.arguments(OutcomeChoice)
def choose_outcome(choice: Json, case: Json) -> Response:
    """Send a provider the word that a person chose, if the outcome waits for one."""
    try:
        choose(current.inbox(), current.settings(), case, choice["provider"], choice["word"], "api")
    except PermanentError as error:
        raise Rejected("bad_request", 400, str(error)) from None
    return jsonify(current.case_or_404(case["id"]))


@routes.get("/openapi.json")
@answers({"type": "object"})
def document() -> Response:
    """Return this document."""
    return jsonify(openapi_document())
