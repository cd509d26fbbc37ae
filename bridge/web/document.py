"""The JSON API's own document (OpenAPI 3.1), generated from the schemas of what it answers. Pure."""

from __future__ import annotations

import functools
import typing

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import RAISE, Schema, fields, validate

from bridge import __version__
from bridge.alert import DisputeType, Effect, Reason, State, Status
from bridge.storage.search import CASE_FILTERS, DELIVERY_FILTERS, ID, LONGEST, MOST, PAGING

if typing.TYPE_CHECKING:
    from bridge.storage.search import Filter

Json = dict[str, typing.Any]


def _text(says: str = "", **given: typing.Any) -> fields.String:
    return fields.String(required=True, metadata={"description": says} if says else {}, **given)


def _maybe(says: str = "") -> fields.String:
    return _text(says, allow_none=True)


def _id(says: str = "", **given: typing.Any) -> fields.String:
    return _text(says, validate=validate.Regexp(f"^{ID.pattern}$"), **given)


def _word(words: typing.Iterable[str], says: str = "", *, none: bool = False) -> fields.String:
    allowed = [*map(str, words), *([None] if none else [])]
    return _text(says, validate=validate.OneOf(allowed), allow_none=none)


def _moment(says: str = "", *, none: bool = False) -> fields.Field[typing.Any]:
    known = {"description": says, "format": "date-time"}
    return fields.String(required=True, allow_none=none, metadata=known)


def _number(says: str = "", *, none: bool = True) -> fields.Integer:
    return fields.Integer(required=True, allow_none=none, metadata={"description": says})


def _anything(says: str = "") -> fields.Dict:
    return fields.Dict(required=True, allow_none=True, metadata={"description": says})


class Thing(Schema):
    """What is answered has exactly these keys."""

    class Meta:
        """Nothing beyond them."""

        unknown = RAISE


class AttemptSchema(Thing):
    """One call to 29next, or to a provider that is told an outcome; and how it went."""

    id = _id()
    case_id = _id()
    delivery_id = _id(allow_none=True)
    method = _text()
    path = _text("Below the store's base URL; of a provider, the whole URL.")
    request = _anything("The body of a write, the filters of a look-up.")
    status = _number("The HTTP status; none where no answer came.")
    response = _maybe("The beginning of the answer.")
    outcome = _text()
    started_at = _moment()
    seconds = fields.Float(required=True, allow_none=True)


class WebhookSchema(Thing):
    """One HTTP request as it arrived, card numbers and secrets cut."""

    id = _id()
    provider = _text()
    path = _text()
    store = _maybe("As the path names it.")
    headers = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    query = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        allow_none=True,
        metadata={"description": "What the provider's settings read of the URL's query."},
    )
    body = _maybe("None once retention has removed it.")
    received_at = _moment()


class DeliverySchema(Thing):
    """One event of one webhook: what was accepted, and is owed."""

    id = _id()
    webhook_id = _id()
    provider = _text()
    store = _maybe()
    event_id = _text("The provider's own; may be empty.")
    event_type = _maybe("The provider's own word.")
    effect = _word(Effect, "What it asks for; none before it is translated.", none=True)
    status = _word(Status)
    reason = _word(Reason, none=True)
    message = _maybe("The reason in a sentence, or 29next's own words.")
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        required=True,
        metadata={"description": "Messages by the provider's own field."},
    )
    case_id = _id(allow_none=True)
    case_number = _maybe()
    received_at = _moment()
    deadline_at = _moment()
    due_at = _moment("When it is tried next.", none=True)
    settled_at = _moment("When it left the queue.", none=True)
    late = fields.Boolean(required=True)
    tries = _number("Failed tries.", none=False)


class ListedDeliverySchema(DeliverySchema):
    """A delivery in a list, with the money that it is about."""

    dispute_id = _number("At 29next.")
    amount = _maybe("In major units.")
    currency = _maybe()


class WholeDeliverySchema(DeliverySchema):
    """A delivery with its webhook, its alert and its calls."""

    item = _number("Its place in a batch.", none=False)
    alert = _anything("What it says, in the bridge's words.")
    dispute_id = _number("At 29next.")
    webhook = fields.Nested(WebhookSchema, required=True, allow_none=True)
    attempts = fields.List(fields.Nested(AttemptSchema), required=True)


class MatchSchema(Thing):
    """The rule that found the transaction, or the candidates."""

    rule = _maybe()
    candidates = fields.List(fields.Dict(), required=True)


class CaseSchema(Thing):
    """Everything that is known of one dispute."""

    id = _id()
    store = _text()
    case_number = _text()
    type = _word(DisputeType)
    state = _word(State)
    dispute_id = _number("At 29next.")
    transaction_id = _number("At 29next.")
    match = fields.Nested(MatchSchema, required=True)
    resolution = _maybe()
    amount = _maybe("In major units.")
    currency = _maybe()
    arn = _maybe()
    providers = fields.List(fields.String(), required=True)
    duplicate_of = _maybe("The case that has the dispute of the same sale.")
    opened_at = _moment()
    deadline_at = _moment()
    notes = fields.List(fields.String(), required=True)


class OutcomeSchema(Thing):
    """What a provider is told of how a case ended."""

    provider = _text()
    state = _word(("owed", "told", "failed"))
    resolution = _maybe("What was sent, or may have been.")
    word = _maybe("The provider's word that is sent, or that a person chose.")
    chosen_by = _maybe("Where a person chose the word: `viewer`, `api` or `cli`.")
    message = _maybe("Why it is not told, or how it is known.")
    owed_at = _moment()
    deadline_at = _moment("Until when the provider waits.", none=True)
    late = fields.Boolean(required=True, metadata={"description": "Not told in the provider's time."})
    due_at = _moment("When it is tried next.", none=True)
    tries = _number(none=False)


class ChoiceSchema(Thing):
    """A word that a person may choose."""

    word = _text()
    says = _text("What it means.")


class OpenOutcomeSchema(OutcomeSchema):
    """An outcome, with the words that a person may choose while it waits for that."""

    choices = fields.List(fields.Nested(ChoiceSchema), required=True)


class WholeCaseSchema(CaseSchema):
    """A case with its deliveries, its calls, and what providers are told of it."""

    facts = _anything("The alert that opens it.")
    refund = _maybe("`recorded` once 29next knows of the gateway's refund.")
    due_at = _moment("When it is worked on next.", none=True)
    deliveries = fields.List(fields.Nested(DeliverySchema), required=True)
    attempts = fields.List(fields.Nested(AttemptSchema), required=True)
    outcomes = fields.List(fields.Nested(OutcomeSchema), required=True)


class RefusalSchema(Thing):
    """Why a request was refused."""

    error = _text("One word.")
    message = _text("One sentence.")


@functools.cache
def document() -> Json:
    """Return the document."""
    spec = APISpec(
        title="dispute-bridge",
        version=__version__,
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin(schema_name_resolver=_name)],
        info={"description": "The log of the bridge, for programs; and replay."},
    )
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    spec.options["security"] = [{"token": []}]
    _list(spec, "/api/deliveries", "deliveries", ListedDeliverySchema, DELIVERY_FILTERS)
    _one(spec, "/api/deliveries/{id}", "delivery", WholeDeliverySchema)
    _one(spec, "/api/deliveries/{id}/replay", "replay", WholeDeliverySchema, method="post")
    _one(spec, "/api/deliveries/{id}/dismiss", "dismiss", WholeDeliverySchema, method="post")
    _list(spec, "/api/cases", "cases", CaseSchema, CASE_FILTERS)
    _one(spec, "/api/cases/{id}", "case", WholeCaseSchema)
    _one(spec, "/api/cases/{id}/match", "match", WholeCaseSchema, method="post", body=DECISION)
    _one(spec, "/api/cases/{id}/outcomes", "outcomes", _page(OpenOutcomeSchema))
    _one(spec, "/api/cases/{id}/outcomes", "choose_outcome", WholeCaseSchema, method="post", body=CHOICE)
    spec.path(
        "/api/openapi.json", operations={"get": _operation("document", "This document.", {"type": "object"})}
    )
    return spec.to_dict()


SAYS = {
    "deliveries": "List deliveries, newest first.",
    "delivery": "Return one delivery whole.",
    "replay": "Put a delivery back into the queue, with a new deadline; one that is pending, "
    "or whose body retention has removed, is left as it is.",
    "dismiss": "Put a failed delivery aside: it needs nobody's attention any more, and can be replayed.",
    "cases": "List cases, newest first.",
    "case": "Return one case whole.",
    "match": "Take a person's word for a case's transaction, or (null) for there being none.",
    "outcomes": "List what providers are told of a case, with the words that a person may choose.",
    "choose_outcome": "Have a provider told in the word that a person chose, while it waits for one.",
}
DECISION: Json = {
    "type": "object",
    "required": ["transaction"],
    "properties": {"transaction": {"type": ["integer", "null"], "minimum": 1, "maximum": 2**63 - 1}},
}
CHOICE: Json = {
    "type": "object",
    "required": ["provider", "word"],
    "properties": {"provider": {"type": "string"}, "word": {"type": "string"}},
}
REFUSALS = {
    400: "A filter that the list does not have, a value that it cannot have, or nothing left to decide.",
    401: "The bearer token is missing or wrong.",
    404: "There is no such thing.",
}


def _name(schema: type[Schema]) -> str:
    name = schema if isinstance(schema, str) else getattr(schema, "__name__", type(schema).__name__)
    return str(name).removesuffix("Schema")


def _list(spec: APISpec, path: str, name: str, row: type[Schema], filters: tuple[Filter, ...]) -> None:
    operation = _operation(name, SAYS[name], _page(row), 400, 401)
    operation["parameters"] = [_parameter(one) for one in (*filters, *PAGING)]
    spec.path(path, operations={"get": operation})


def _page(row: type[Schema]) -> Json:
    cursor = {"type": ["string", "null"], "description": "Where the next page begins."}
    return {
        "type": "object",
        "required": ["results", "next"],
        "additionalProperties": False,
        "properties": {"results": {"type": "array", "items": row}, "next": cursor},
    }


def _one(
    spec: APISpec,
    path: str,
    name: str,
    row: type[Schema] | Json,
    *,
    method: str = "get",
    body: Json | None = None,
) -> None:
    operation = _operation(name, SAYS[name], row, *([400] if body else []), 401, 404)
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    ident = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    spec.path(path, operations={method: operation | {"parameters": [ident]}})


def _operation(name: str, says: str, answer: typing.Any, *refusals: int) -> Json:
    refused = {
        str(status): {
            "description": REFUSALS[status],
            "content": {"application/json": {"schema": RefusalSchema}},
        }
        for status in refusals or (401,)
    }
    content = {"application/json": {"schema": answer}}
    return {
        "operationId": name,
        "summary": says,
        "responses": {"200": {"description": says, "content": content}} | refused,
    }


def _parameter(one: Filter) -> Json:
    return {"name": one.name, "in": "query", "description": one.says, "schema": _schema(one)}


def _schema(one: Filter) -> Json:
    if one.words:
        return {"type": "string", "enum": [str(word) for word in one.words]}
    if one.name == "limit":
        return {"type": "integer", "minimum": 1, "maximum": MOST}
    kinds: dict[str, Json] = {
        "number": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
        "moment": {"anyOf": [{"type": "string", "format": kind} for kind in ("date", "date-time")]},
        "id": {"type": "string", "pattern": f"^{ID.pattern}$"},
        "text": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[^\\u0000]*$"},
    }
    return kinds[one.kind]
