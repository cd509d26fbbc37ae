"""The bodies that the sandbox takes, as marshmallow schemas."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from flask import request
from marshmallow import Schema, ValidationError, fields, validate

from bridge.sandbox.forms import Json
from bridge.sandbox.store import moment

RESOLUTIONS = {
    "alert": (
        *("could_not_find_order", "declined_or_canceled_nothing_to_do", "issued_full_refund"),
        *("issued_refund_for_remaining_amount", "3ds_authorized_successfully"),
        *("previously_refunded_nothing_to_do", "unable_to_refund_merchant_account_closed", "other"),
    ),
    "chargeback": ("won", "lost", "accepted"),
}
HOLD_REASONS = ("address_incorrect", "out_of_stock", "high_risk", "awaiting_payment", "other")
CANCEL_REASONS = (
    *("not_satisfied_with_product", "product_too_expensive", "cancel_recurring", "unwanted_subscription"),
    *("recurring_payment_declined", "disputed_cancel_recurring", "schedule_ended", "other"),
)


def body_by(schema: Schema, *, partial: bool = False) -> Json:
    """Returns the call's body as the schema reads it; raises ValidationError, or HTTPException."""
    loaded: Json = schema.load(request.get_json() if request.get_data() else {}, partial=partial)
    return loaded


class Amount(fields.String):
    """An amount as text, read as text with two decimals."""

    def __init__(self, digits: int, **options: Any) -> None:
        super().__init__(**options)
        self.digits = digits

    def _deserialize(self, value: Any, attr: str | None, data: Any, **rest: Any) -> str:
        text = super()._deserialize(value, attr, data, **rest)
        if not re.fullmatch(rf"-?[0-9]{{1,{self.digits}}}(\.[0-9]{{0,2}})?", text):
            raise ValidationError("A valid number, such as 12.50, is required.")
        return f"{Decimal(text):.2f}"


class Moment(fields.AwareDateTime):
    """A date-time with a zone, read as text in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **rest: Any) -> Any:
        return moment(super()._deserialize(value, attr, data, **rest))


def text(**options: Any) -> fields.String:
    """Returns a field for text or null."""
    return fields.String(**{"allow_none": True, "load_default": None, **options})


def word(*words: str, **options: Any) -> fields.String:
    """Returns a field for one of some words."""
    return fields.String(validate=validate.OneOf(words), **options)


CURRENCY = validate.Regexp(r"[A-Z]{3}\Z")
ANY_RESOLUTION = (*RESOLUTIONS["alert"], *RESOLUTIONS["chargeback"])


class DisputeChange(Schema):
    """The fields of a dispute that may change."""

    amount = Amount(6, allow_none=True, load_default=None)
    arn = text()
    case_number = text()
    currency = text(validate=CURRENCY)
    metadata = fields.Dict(load_default=dict)
    resolution = word("", *ANY_RESOLUTION, allow_none=True, load_default=None)
    resolution_other_message = text()
    transaction = fields.Integer(strict=True, allow_none=True, load_default=None)


class NewDispute(DisputeChange):
    """A new dispute, also with the fields that never change."""

    happened_at = Moment(load_default=moment)
    type = word(*RESOLUTIONS, load_default="alert")


class Resolution(Schema):
    """How a dispute ends."""

    resolution = word(*ANY_RESOLUTION, required=True)
    resolution_other_message = text()
    create_external_refund = fields.Boolean(allow_none=True, load_default=False)


class Note(Schema):
    """A note on a dispute."""

    message = fields.String(required=True, validate=validate.Length(min=1))


class Refund(Schema):
    """A refund of a sale."""

    amount = Amount(7, required=True)
    is_external = fields.Boolean(load_default=False)
    send_refund_notification = fields.Boolean(load_default=True)


class Hold(Schema):
    """Why a fulfilment order is on hold."""

    reason = word(*HOLD_REASONS, required=True)
    reason_message = text()


class CancellationRequest(Schema):
    """A request to a location that is already packing."""

    message = text()


class SubscriptionEnd(Schema):
    """Why a subscription ends."""

    cancel_reason = word(*CANCEL_REASONS, required=True)
    cancel_reason_other_message = text()
    send_cancel_notification = fields.Boolean(load_default=True)


class Webhook(Schema):
    """A webhook of the store. No event is ever sent to it."""

    active = fields.Boolean(load_default=True)
    api_version = text()
    events = fields.List(fields.String(), required=True, validate=validate.Length(min=1))
    name = text()
    secret_key = text()
    target = fields.Url(required=True, require_tld=False, schemes={"http", "https"})


class Sale(Schema):
    """A customer's payment, with its order. This body is the sandbox's own, not 29next's."""

    amount = Amount(10, load_default="10.00")
    auth_code = text()
    bankcard_first_six = text()
    bankcard_last_four = text()
    card_type = text(load_default="visa")
    currency = fields.String(validate=CURRENCY, load_default="USD")
    date_created = Moment(load_default=moment)
    external_id = text()
    fulfillment = word("open", "processing", "closed", load_default="open")
    gateway_id = fields.Integer(load_default=1)
    is_3ds = fields.Boolean(load_default=False)
    is_test = fields.Boolean(load_default=False)
    network_transaction_id = text()
    order = text(validate=validate.Regexp(r"[0-9]+\Z"))
    payment_method = fields.String(load_default="bankcard")
    statement_descriptor = text()
    status = word("succeeded", "failed", load_default="succeeded")
    subscription = fields.Boolean(load_default=True)
    type = word("authorize", "debit", load_default="debit")
