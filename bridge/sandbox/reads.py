"""The sandbox's GET calls: single objects, and lists with filters and pages."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from urllib.parse import urlencode

from flask import Blueprint, current_app, request
from marshmallow import ValidationError
from werkzeug.exceptions import NotFound

from bridge.sandbox import forms
from bridge.sandbox.auth import store
from bridge.sandbox.forms import Json
from bridge.sandbox.store import Rows, Store

routes = Blueprint("reads", __name__)

FILTERS = {
    "disputes": (
        *("auth_code", "card_first_six", "card_last_four", "card_type", "case_number", "dispute_date_from"),
        *("dispute_date_to", "gateway_id", "id", "network_transaction_id", "order_number"),
        *("payment_method", "resolution", "status", "transaction_id", "type"),
    ),
    "transactions": (
        *("amount_max", "amount_min", "auth_code", "bankcard_first_six", "bankcard_last_four", "card_type"),
        *("currency", "date_created_from", "date_created_to", "external_id", "gateway_id", "is_3ds"),
        *("is_external", "is_test", "network_transaction_id", "payment_method", "status", "type"),
    ),
    "fulfillment-orders": ("order_number", "request_status", "status"),
    "webhooks": ("active", "name"),
}


@routes.get("/<any('disputes', 'transactions', 'fulfillment-orders', 'webhooks'):kind>/")
def list_things(kind: str) -> Json:
    """Returns a page of the objects that pass the filters."""
    wanted = {name: text for name in FILTERS[kind] if (text := request.args.get(name))}
    passing = []
    for row in _rows(kind):
        facts = row if kind != "disputes" else _facts_of_dispute(row)
        if all(_passes(facts, name, text) for name, text in wanted.items()):
            passing.append(row)
    return _page(passing)


@routes.get(
    "/<any('disputes', 'fulfillment-orders', 'subscriptions', 'transactions', 'webhooks'):kind>/<int:number>/"
)
def retrieve(kind: str, number: int) -> Json:
    """Returns one object."""
    row = _rows(kind).get(number)
    return shown(store(), row) if kind == "transactions" else row


@routes.get("/disputes/<int:number>/notes/")
def list_notes(number: int) -> Json:
    """Returns a page of the notes on a dispute."""
    store().disputes.get(number)
    return _page(list(store().notes[number]))


@routes.get("/orders/<number>/")
def retrieve_order(number: str) -> Json:
    """Returns an order, with its transactions and subscriptions."""
    rows = store().transactions.having(order=number)
    if not rows:
        raise NotFound("Not found.")
    (parcel,) = store().fulfillment_orders.having(order_number=number)
    return forms.order(rows[-1], [shown(store(), row) for row in rows], parcel["status"])


@routes.get("/orders/<number>/fulfillment-orders/")
def list_fulfillment_orders(number: str) -> list[Json]:
    """Returns an order's fulfilment orders: a list, as 29next's text says, though its schema does not."""
    if not (rows := store().fulfillment_orders.having(order_number=number)):
        raise NotFound("Not found.")
    return rows


def shown(where: Store, transaction: Json) -> Json:
    """Returns a transaction of a store in 29next's form."""
    disputed = bool(where.disputes.having(transaction=transaction["id"]))
    return forms.transaction(transaction, disputed=disputed)


def _rows(kind: str) -> Rows:
    rows: Rows = getattr(store(), kind.replace("-", "_"))
    return rows


def _page(rows: list[Json]) -> Json:
    """Returns the page of rows, newest first, that begins with the cursor's row."""
    size = current_app.config["PAGE_SIZE"]
    cursor = request.args.get("cursor", "")
    if cursor and not (cursor.isascii() and cursor.isdecimal()):
        raise NotFound("Invalid cursor")
    start = sum(row["id"] > int(cursor) for row in rows) if cursor else 0

    def link(position: int) -> str:
        return f"{request.base_url}?{urlencode({**request.args, 'cursor': rows[position]['id']})}"

    results = rows[start : start + size]
    if request.path.endswith("/transactions/"):
        results = [forms.without(forms.NOT_IN_LISTS, shown(store(), row)) for row in results]
    return {
        "next": link(start + size) if start + size < len(rows) else None,
        "previous": link(max(start - size, 0)) if start else None,
        "results": results,
    }


def _facts_of_dispute(row: Json) -> Json:
    """Returns the facts for a dispute's filters: its own, and those of its transaction."""
    number = row["transaction"]
    sale = {} if number is None else store().transactions.get(number)
    card = {f"card_{part}": sale.get(f"bankcard_{part}") for part in ("first_six", "last_four")}
    others = {"dispute_date": row["happened_at"], "order_number": sale.get("order"), "transaction_id": number}
    return {**sale, **card, **row, **others}


def _passes(facts: Json, name: str, text: str) -> bool:
    """Whether facts pass a filter; raises ValidationError if the filter's text is invalid."""
    stem, _, bound = name.rpartition("_")
    try:
        match bound:
            case "from":
                return date.fromisoformat(facts[stem][:10]) >= date.fromisoformat(text)
            case "to":
                return date.fromisoformat(facts[stem][:10]) <= date.fromisoformat(text)
            case "min":
                return Decimal(facts[stem]) >= Decimal(text)
            case "max":
                return Decimal(facts[stem]) <= Decimal(text)
    except (ValueError, ArithmeticError):
        raise ValidationError({name: ["Enter a valid value."]}) from None
    value = facts.get(name)
    return text == (str(value).lower() if isinstance(value, bool) else str(value))
