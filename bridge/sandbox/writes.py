"""The sandbox's POST and PATCH calls, and the rules by which it rejects them."""

from __future__ import annotations

from decimal import Decimal

from flask import Blueprint
from marshmallow import ValidationError

from bridge.sandbox import bodies
from bridge.sandbox.auth import STORE, store, stores
from bridge.sandbox.bodies import RESOLUTIONS, body_by
from bridge.sandbox.forms import Json
from bridge.sandbox.reads import shown
from bridge.sandbox.store import moment

routes = Blueprint("writes", __name__)


def sell() -> tuple[Json, int]:
    """Adds a sale to the sandbox's first store, as if a customer had just bought something."""
    shop = stores().named(STORE)
    return shown(shop, shop.sell(body_by(bodies.Sale()))), 201


@routes.post("/disputes/")
def create_dispute() -> tuple[Json, int]:
    """Opens a dispute."""
    row = _completed({"id": None, "date_created": moment(), **body_by(bodies.NewDispute())})
    return store().disputes.add(row), 201


@routes.patch("/disputes/<int:number>/")
def change_dispute(number: int) -> Json:
    """Changes a dispute, such as to match it later."""
    row = store().disputes.get(number)
    row |= _completed({**row, **body_by(bodies.DisputeChange(), partial=True)})
    return row


@routes.post("/disputes/<int:number>/resolve/")
def resolve_dispute(number: int) -> Json:
    """Resolves a dispute, and records an external refund."""
    row = store().disputes.get(number)
    wanted = body_by(bodies.Resolution())
    refund = wanted.pop("create_external_refund")
    if refund and row["transaction"] is None:
        raise ValidationError({"create_external_refund": ["The dispute has no transaction."]})
    row |= _completed({**row, **wanted})
    if refund:
        sale = store().transactions.get(row["transaction"])
        store().refund(sale, row["amount"] or f"{sale['left']:.2f}", external=True)
    return row


@routes.post("/disputes/<int:number>/notes/")
def create_note(number: int) -> Json:
    """Adds a note to a dispute, which 29next answers with 200."""
    store().disputes.get(number)
    made = {"created_at": moment(), "updated_at": moment(), "author": {"id": 1}}
    app = {"client_id": "sandbox", "name": "Sandbox"}
    return store().notes[number].add({**made, "app": app, **body_by(bodies.Note())})


@routes.post("/transactions/<int:number>/refund/")
def refund(number: int) -> Json:
    """Refunds a sale, and returns the refund."""
    sale = store().transactions.get(number)
    wanted = body_by(bodies.Refund())
    amount, external = Decimal(wanted["amount"]), wanted["is_external"]
    if amount <= 0 or (amount > sale["left"] and not external):
        raise ValidationError({"amount": [f"Must be more than zero and at most {sale['left']:.2f}."]})
    if (sale["type"], sale["status"]) != ("debit", "succeeded"):
        raise ValidationError({"non_field_errors": ["Only a debit that succeeded can be refunded."]})
    return shown(store(), store().refund(sale, wanted["amount"], external=external))


@routes.post("/fulfillment-orders/<int:number>/hold/")
def hold(number: int) -> Json:
    """Holds a fulfilment order that nobody packs yet."""
    row = _fulfillment_order(number, "open")
    held = {**body_by(bodies.Hold()), "created_at": moment()}
    row |= {"status": "on_hold", "fulfillment_holds": [held], "updated_at": moment()}
    return row


@routes.post("/fulfillment-orders/<int:number>/release-hold/")
def release_hold(number: int) -> Json:
    """Releases a held fulfilment order."""
    row = _fulfillment_order(number, "on_hold")
    row |= {"status": "open", "fulfillment_holds": [], "updated_at": moment()}
    return row


@routes.post("/fulfillment-orders/<int:number>/cancellation-request/")
def request_cancellation(number: int) -> Json:
    """Asks the location to stop packing. In the sandbox it never answers."""
    row = _fulfillment_order(number, "processing")
    cancellation = {**body_by(bodies.CancellationRequest()), "notify": True, "type": "cancel_request"}
    row |= {"request_status": "cancel_requested", "updated_at": moment()}
    row["merchant_requests"].append(cancellation)
    return row


@routes.post("/subscriptions/<int:number>/cancel/")
def cancel_subscription(number: int) -> Json:
    """Ends a subscription."""
    row = store().subscriptions.get(number)
    wanted = body_by(bodies.SubscriptionEnd())
    if row["status"] == "canceled":
        raise ValidationError({"non_field_errors": ["This subscription is canceled."]})
    del wanted["send_cancel_notification"]
    row |= {**wanted, "status": "canceled"}
    return row


@routes.post("/webhooks/")
def create_webhook() -> tuple[Json, int]:
    """Adds a webhook. The sandbox never sends an event to it."""
    made = {"created_at": moment(), "updated_at": moment(), "next_check_date": None, "warning_count": 0}
    return store().webhooks.add({**made, **body_by(bodies.Webhook())}), 201


@routes.patch("/webhooks/<int:number>/")
def change_webhook(number: int) -> Json:
    """Changes a webhook."""
    row = store().webhooks.get(number)
    row |= {**body_by(bodies.Webhook(), partial=True), "updated_at": moment()}
    return row


def _completed(row: Json) -> Json:
    """Returns a dispute with its derived fields; raises ValidationError if its facts are inconsistent."""
    number, resolution, order = row["transaction"], row["resolution"], None
    if number is not None:
        others = store().disputes.having(transaction=number, type=row["type"])
        if number not in store().transactions:
            raise ValidationError({"transaction": [f'Invalid pk "{number}" - object does not exist.']})
        if any(other["id"] != row["id"] for other in others):
            raise ValidationError(
                {"transaction": [f"This transaction already has a dispute: {row['type']}."]}
            )
        order = int(store().transactions.get(number)["order"])
    if resolution and resolution not in RESOLUTIONS[row["type"]]:
        raise ValidationError({"resolution": [f'"{resolution}" is no resolution of type {row["type"]}.']})
    if resolution == "other" and not row["resolution_other_message"]:
        raise ValidationError({"resolution_other_message": ["This field is required."]})
    status = "resolved" if resolution else "new" if number is None else "open"
    copies = {"report_amount": row["amount"], "report_currency": row["currency"]}
    return {**row, **copies, "order": order, "status": status}


def _fulfillment_order(number: int, status: str) -> Json:
    """Returns a fulfilment order; raises ValidationError unless it has this status."""
    row = store().fulfillment_orders.get(number)
    if row["status"] != status:
        raise ValidationError(
            {"non_field_errors": [f"It is {row['status']}, and would have to be {status}."]}
        )
    return row
