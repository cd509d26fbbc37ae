"""The referee: whether a call to 29next, and an answer of it, is what its API documents.

It judges by 29next's own OpenAPI documents where they lie beside the project, in a folder
../shared/29next; elsewhere by the few schemas at the end of this file, in the project's words. It is
stricter than either: a field or filter that nobody documents is an error, and so is sending a field that
is read-only.
"""

from __future__ import annotations

import functools
import re
from datetime import date, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.support.documents import ROOT
from tests.support.next29 import VERSIONS
from tests.support.next29.orders import OF_THE_ORDER

OFFICIAL = ROOT.parent / "shared" / "29next"  # admin-<version>.yaml

Json = dict[str, Any]


def validate_request(method: str, path: str, body: object = None, version: str = VERSIONS[0]) -> None:
    """Raise an AssertionError that lists all that is wrong with a call; `path` has its query."""
    referee(version).request(method, path, body)


def validate_response(
    method: str, path: str, status: int, body: object = None, version: str = VERSIONS[0]
) -> None:
    """Raise an AssertionError that lists all that is wrong with a successful answer."""
    referee(version).response(method, path, status, body)


@functools.cache
def referee(version: str = VERSIONS[0], *, official: bool | None = None) -> Referee:
    """The referee of a version: 29next's document, ours, or (None) the better of those at hand."""
    file = OFFICIAL / f"admin-{version}.yaml"
    if official is False or (official is None and not file.exists()):
        return Referee(own_document(version))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Referee(yaml.load(file.read_text(encoding="utf-8"), Loader=loader))  # noqa: S506 - safe


class Referee:
    """Judges calls and answers by one OpenAPI document."""

    def __init__(self, document: Json) -> None:
        self.paths: Json = document["paths"]
        both = {"requests": _strict(document, sent=True), "responses": _strict(document, sent=False)}
        self._registry: Registry[Any] = Registry().with_resources(
            (f"urn:{name}", DRAFT202012.create_resource(one)) for name, one in both.items()
        )

    def request(self, method: str, path: str, body: object = None) -> None:
        """Judge a call's path, query and body."""
        template, query = self._operation(method, path)
        operation = self.paths[template][method.lower()]
        known = {
            one["name"]: one["schema"] for one in operation.get("parameters", ()) if one["in"] == "query"
        }
        problems = [f"?{name}: nobody documents it" for name in query.keys() - known.keys()]
        for name in query.keys() & known.keys():
            schema = known[name]
            for text in query[name]:
                problems += _problems(
                    Draft202012Validator(schema.get("items", schema), format_checker=FORMATS),
                    _read(text, schema),
                    f"?{name}",
                )
        if "requestBody" in operation:
            at = f"urn:requests#/paths/{_escaped(template)}/{method.lower()}/requestBody"
            problems += self._judged(at, body)
        elif body is not None:
            problems.append("a body: nobody documents one")
        assert not problems, f"{method} {path}\n" + "\n".join(sorted(problems))

    def response(self, method: str, path: str, status: int, body: object = None) -> None:
        """Judge a successful answer."""
        template, _ = self._operation(method, path)
        answers = self.paths[template][method.lower()]["responses"]
        assert str(status) in answers, f"{method} {path}: {status} is not documented"
        if "content" not in answers[str(status)]:
            assert body is None, f"{method} {path}: {status} has no body"
            return
        at = f"urn:responses#/paths/{_escaped(template)}/{method.lower()}/responses/{status}"
        problems = self._judged(at, body)
        assert not problems, f"{method} {path} {status}\n" + "\n".join(sorted(problems))

    def _operation(self, method: str, path: str) -> tuple[str, dict[str, list[str]]]:
        """The document's template for a path, and the query."""
        parts = urlsplit(path)
        bare = parts.path.partition("/api/admin")[2] or parts.path
        for template, operations in self.paths.items():
            pattern = re.sub(r"\\\{\w+\\\}", r"\\d+", re.escape(template))
            if method.lower() in operations and re.fullmatch(pattern, bare):
                return template, parse_qs(parts.query, keep_blank_values=True)
        raise AssertionError(f"29next has no {method} {bare}")

    def _judged(self, at: str, body: object) -> list[str]:
        schema = {"$ref": f"{at}/content/application~1json/schema"}
        validator = Draft202012Validator(schema, registry=self._registry, format_checker=FORMATS)
        return _problems(validator, body, "body")


FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_moment(text: object) -> bool:
    return not isinstance(text, str) or ("T" in text and datetime.fromisoformat(text).tzinfo is not None)


@FORMATS.checks("date", raises=ValueError)
def _is_day(text: object) -> bool:
    return not isinstance(text, str) or bool(date.fromisoformat(text))


@FORMATS.checks("uri")
def _is_address(text: object) -> bool:
    return not isinstance(text, str) or bool(urlsplit(text).scheme and urlsplit(text).netloc)


def _problems(validator: Draft202012Validator, value: object, where: str) -> list[str]:
    return [f"{where}{error.json_path[1:]}: {error.message}" for error in validator.iter_errors(value)]


def _escaped(template: str) -> str:
    return template.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _read(text: str, schema: Json) -> object:
    """A query parameter's text as the JSON value that its schema speaks of."""
    try:
        match schema.get("type"):
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text]
    except (KeyError, ValueError):
        pass  # the schema refuses the text
    return text


def _strict(node: Any, *, sent: bool) -> Any:
    """The document as plain JSON Schema 2020-12, its objects closed.

    What is sent lacks the fields that are read-only, as OpenAPI wants it; `nullable` is read as
    OpenAPI 3.0 did, since 29next's documents still use it.
    """
    if isinstance(node, list):
        return [_strict(one, sent=sent) for one in node]
    if not isinstance(node, dict):
        return node
    strict = {name: _strict(one, sent=sent) for name, one in node.items()}
    if strict.get("nullable") is True and isinstance(strict.get("type"), str):
        strict["type"] = [strict["type"], "null"]
    if strict.get("type") == "object" and isinstance(strict.get("properties"), dict):
        fields = strict["properties"]
        if sent:
            fields = {name: one for name, one in fields.items() if not one.get("readOnly")}
        strict["properties"] = fields
        strict["required"] = [name for name in strict.get("required", ()) if name in fields]
        strict["additionalProperties"] = False
    return strict


# --- our own few schemas, where 29next's are not at hand ----------------------------------------


def own_document(version: str) -> Json:
    """What the bridge's tests rely on of 29next's API, in the form of an OpenAPI document."""
    text: Json = {"type": ["string", "null"]}
    number: Json = {"type": ["integer", "null"]}
    flag: Json = {"type": "boolean"}
    fixed: Json = {"readOnly": True}
    moment: Json = {"type": "string", "format": "date-time"}
    day: Json = {"type": "string", "format": "date"}
    kind: Json = {"enum": ["alert", "chargeback"]}
    resolution: Json = {
        "enum": [
            *("could_not_find_order", "declined_or_canceled_nothing_to_do", "issued_full_refund"),
            *("issued_refund_for_remaining_amount", "3ds_authorized_successfully"),
            *("previously_refunded_nothing_to_do", "unable_to_refund_merchant_account_closed"),
            *("other", "won", "lost", "accepted", "", None),
        ]
    }

    def money(digits: int, *types: str) -> Json:
        pattern = rf"^-?\d{{0,{digits}}}(?:\.\d{{0,2}})?$"
        return {"type": ["string", *types], "pattern": pattern}

    def thing(required: str = "", /, **properties: Json) -> Json:
        return {"type": "object", "properties": properties, "required": required.split()}

    def page(row: Json) -> Json:
        link = {"type": ["string", "null"], "format": "uri"}
        rows = {"type": "array", "items": row}
        return thing("results", next=link, previous=link, results=rows)

    dispute_change = {
        "amount": money(6, "null"),
        "arn": text,
        "case_number": text,
        "currency": text,
        "metadata": {"type": "object"},
        "resolution": resolution,
        "resolution_other_message": text,
        "transaction": number,
    }
    dispute = thing(
        "id status type happened_at date_created order report_amount report_currency",
        **dispute_change,
        date_created=moment | fixed,
        happened_at=moment,
        id={"type": "integer"} | fixed,
        order=number | fixed,
        report_amount=money(6, "null") | fixed,
        report_currency=text | fixed,
        status={"enum": ["new", "open", "resolved"]} | fixed,
        type=kind,
    )
    resolve = thing(
        create_external_refund={"type": ["boolean", "null"]},
        resolution=resolution,
        resolution_other_message=text,
    )
    note = thing(
        "id message",
        app=thing(client_id=text, name=text) | fixed,
        author=thing("id", id=number) | fixed,
        created_at=moment | fixed,
        id=number | fixed,
        message={"type": "string"},
        updated_at=moment | fixed,
    )
    gateway = thing("id name type", id=number, name=text, type=text)
    transaction_row = {
        "amount": money(10),
        "amount_available_for_refund": money(10),
        "attribution": {"type": "object"},
        "auth_code": text,
        "currency": text,
        "date_created": moment,
        "external_id": text,
        "id": {"type": "integer"},
        "initiator": {"type": "object"},
        "is_disputed": flag,
        "is_external": flag,
        "network_transaction_id": text,
        "order": text,
        "parent_id": number,
        "payment_details": thing(
            "bankcard_first_six bankcard_last_four",
            bankcard_first_six=text,
            bankcard_last_four=text,
            card_token=text,
            gateway=gateway,
            is_3ds=flag,
            optimized_3ds=flag,
            paypal_vault_id=text,
            sca_flow=text,
        ),
        "payment_method": text,
        "response_code": {"type": "integer"},
        "status": {"enum": ["succeeded", "failed", ""]},
        "subscription": {"type": "object"},
        "type": {"type": "string"},
        "user": {"type": "object"},
    }
    always = "id type amount date_created order parent_id payment_details response_code"
    transaction = thing(
        always,
        **transaction_row,
        is_test={"type": ["boolean", "null"]},
        report_values=thing("amount currency", amount=money(10), currency=text),
        statement_descriptor=text,
    )
    in_order = {name: one for name, one in transaction["properties"].items() if name not in OF_THE_ORDER}
    order: Json = {  # without a type, since that would close it: it has much more
        "properties": {
            "number": {"type": "string"},
            "is_test": flag,
            "transactions": {"type": "array", "items": thing(always.replace("order ", ""), **in_order)},
        },
        "required": ["number", "is_test", "transactions"],
    }
    refund = thing("amount", amount=money(7), is_external=flag, send_refund_notification=flag)
    webhook_change = {
        "active": flag,
        "api_version": text,
        "events": {"type": "array", "items": text},
        "name": text,
        "secret_key": text,
        "target": {"type": "string", "format": "uri", "maxLength": 255},
    }
    webhook = thing(
        "id target events",
        **webhook_change,
        created_at=moment | fixed,
        id=number | fixed,
        next_check_date=text | fixed,
        updated_at=moment | fixed,
        warning_count=number | fixed,
    )

    def call(status: int, answer: Json | None, body: Json | None = None, /, **query: Json) -> Json:
        def json_of(schema: Json) -> Json:
            return {"content": {"application/json": {"schema": schema}}}

        operation: Json = {
            "parameters": [{"in": "query", "name": name, "schema": query[name]} for name in query],
            "responses": {str(status): {} if answer is None else json_of(answer)},
        }
        return operation | ({} if body is None else {"requestBody": json_of(body)})

    some, whole, amount = {"type": "string"}, {"type": "integer"}, {"type": "number"}
    dispute_filters = {
        "dispute_date_from": day,
        "dispute_date_to": day,
        "gateway_id": whole,
        "resolution": resolution,
        "status": {"enum": ["new", "open", "resolved"]},
        "type": kind,
        **dict.fromkeys(("auth_code", "card_first_six", "card_last_four", "card_type"), some),
        **dict.fromkeys(("case_number", "cursor", "id", "network_transaction_id"), some),
        **dict.fromkeys(("order_number", "payment_method", "transaction_id"), some),
    }
    transaction_filters = {
        "amount_max": amount,
        "amount_min": amount,
        "date_created_from": day,
        "date_created_to": day,
        "gateway_id": whole,
        "status": {"enum": ["succeeded", "failed"]},
        "type": {"enum": ["authorize", "debit", "refund", "void"]},
        **dict.fromkeys(("auth_code", "bankcard_first_six", "bankcard_last_four"), some),
        **dict.fromkeys(("card_type", "currency", "cursor", "external_id"), some),
        **dict.fromkeys(("network_transaction_id", "payment_method"), some),
        **dict.fromkeys(("is_3ds", "is_external", "is_test"), flag),
    }
    new_dispute = thing(**dispute_change, happened_at=moment, type=kind)

    def seen(required: str) -> Json:
        """An object of which only these fields matter."""
        return {"type": "object", "required": required.split()}

    parcel = seen("id order_number status request_status")
    subscription = seen("id status cancel_reason")
    hold = thing(
        "reason",
        reason={"enum": ["address_incorrect", "out_of_stock", "high_risk", "awaiting_payment", "other"]},
        reason_message=text,
    )
    cancel = thing(
        "cancel_reason",
        cancel_reason=some,
        cancel_reason_other_message=text,
        send_cancel_notification=flag,
    )
    rows = thing(always, **transaction_row)
    return {
        "info": {"version": version},
        "paths": {
            "/disputes/": {
                "get": call(200, page(dispute), **dispute_filters),
                "post": call(201, dispute, new_dispute),
            },
            "/disputes/{id}/": {
                "get": call(200, dispute),
                "patch": call(200, dispute, thing(**dispute_change)),
            },
            "/disputes/{id}/resolve/": {"post": call(200, dispute, resolve)},
            "/disputes/{id}/notes/": {
                "get": call(200, page(note), cursor=some),
                "post": call(200, note, thing("message", message=some)),
            },
            "/transactions/": {"get": call(200, page(rows), **transaction_filters)},
            "/transactions/{id}/": {"get": call(200, transaction)},
            "/transactions/{id}/refund/": {"post": call(200, transaction, refund)},
            "/orders/{number}/": {"get": call(200, order)},
            "/orders/{number}/fulfillment-orders/": {"get": call(200, parcel)},
            "/fulfillment-orders/": {"get": call(200, page(parcel), order_number=some, cursor=some)},
            "/fulfillment-orders/{id}/hold/": {"post": call(200, parcel, hold)},
            "/fulfillment-orders/{id}/release-hold/": {"post": call(200, parcel)},
            "/fulfillment-orders/{id}/cancellation-request/": {
                "post": call(200, parcel, thing(message=text))
            },
            "/subscriptions/{id}/": {"get": call(200, subscription)},
            "/subscriptions/{id}/cancel/": {"post": call(200, subscription, cancel)},
            "/store/": {"get": call(200, {"type": "array", "items": {"type": "object"}})},
            "/webhooks/": {
                "get": call(200, page(webhook), active=flag, name=some, cursor=some),
                "post": call(201, webhook, webhook),
            },
            "/webhooks/{id}/": {
                "get": call(200, webhook),
                "patch": call(200, webhook, thing(**webhook_change)),
                "delete": call(204, None),
            },
        },
    }
