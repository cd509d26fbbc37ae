"""Stripe: disputes, inquiries and early fraud warnings of the merchant's own processor.

The events, the objects and the signature are Stripe's own document (doc: docs.stripe.com/api/disputes/object,
/api/events/types, and the changelog of 2025-08-27.basil; read November 2026). A dispute whose status begins
with `warning_` is an inquiry: no money has moved, so it is an alert; any other is a chargeback, but for
`prevented`, which is an alert: its case type says whether the merchant's rules refunded it (`resolution`,
Visa's RDR or Ethoca) or the network turned it away (`block`). An inquiry that becomes a chargeback keeps its
id, and opens a second dispute at 29next. How an inquiry ended Stripe does not say: it is resolved as
`other`, with the status. What `livemode: false` marks is test traffic. Amounts are minor units, with
Stripe's own exceptions from ISO 4217 (docs.stripe.com/currencies).

`funds_reinstated` says nothing of the outcome: it can come while the dispute is lost (third party). Thin
events (`v1.charge.dispute.*`) hold no dispute to read: have Stripe send snapshot payloads.
"""

from datetime import timedelta

from bridge.alert import Category, DisputeType, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import ignored, informs, opens, resolves
from bridge.providers.signatures import TimestampedHmac

DECIMALS = {"ISK": 2, "UGX": 2, "MGA": 0}
"""Currencies that Stripe counts in another way than ISO 4217."""


class EarlyFraudWarning(fields.AlertSchema):
    """An issuer's report of fraud: it has no amount, and nobody asks for a refund."""

    case_number = fields.Identifier(data_key="data.object.id")
    subtype = fields.Word(data_key="data.object.fraud_type")
    category = fields.FRAUD
    event_at = fields.Moment(data_key="created")
    happened_at = fields.Moment(data_key="data.object.created|created")
    external_id = fields.Identifier(
        data_key="data.object.payment_intent.id|data.object.payment_intent"
        "|data.object.charge.id|data.object.charge"
    )
    merchant_id = fields.Identifier(data_key="account")


class StripeDispute(EarlyFraudWarning):
    """A dispute, or an inquiry before one, with its outcome once there is one."""

    type = fields.Word(
        data_key="data.object.status",
        values={"warning_*": DisputeType.ALERT, "*": DisputeType.CHARGEBACK},
        load_default=DisputeType.CHARGEBACK,
    )
    subtype = fields.Word(data_key="data.object.status")
    category = fields.Word(
        data_key="data.object.reason",
        values={
            "fraudulent": Category.FRAUD,
            **dict.fromkeys(("general", "customer_initiated", "unrecognized"), Category.UNKNOWN),
            "*": Category.DISPUTE,
        },
    )
    amount = fields.Money(data_key="data.object.amount", unit="minor", decimals=DECIMALS)
    currency = fields.Currency(data_key="data.object.currency")
    reason_code = fields.Code(
        data_key="data.object.payment_method_details.card.network_reason_code"
        "|data.object.network_reason_code|data.object.reason"
    )
    resolution = fields.Resolution(
        data_key="data.object.status",
        values={
            "alert": {
                "warning_closed": "other",
                **dict.fromkeys(("warning_needs_response", "warning_under_review"), None),
            },
            "chargeback": {
                "won": "won",
                "lost": "lost",
                **dict.fromkeys(("needs_response", "under_review"), None),
            },
        },
    )


class Prevented(StripeDispute):
    """A dispute that did not become one: refunded by the merchant's rules, or turned away."""

    type = fields.ALERT
    network = fields.Every(  # by inference: Visa resolves by RDR
        {
            "data.object.payment_method_details.card.case_type": ("resolution",),
            "data.object.payment_method_details.card.brand": ("visa",),
        },
        then=Network.RDR,
    )
    resolution = fields.Resolution(
        data_key="data.object.payment_method_details.card.case_type",
        values={"resolution": "issued_full_refund", "block": "other"},
        required=True,
    )
    refunded_by_gateway = fields.Flag(
        data_key="data.object.payment_method_details.card.case_type", true=("resolution",)
    )


KINDS = {"prevented": Prevented}

PROVIDER = Provider(
    title="Stripe",
    proof=TimestampedHmac(header="Stripe-Signature", algorithm="sha256"),
    event_id=("id",),
    event_type="type",
    events={
        "charge.dispute.created": opens(StripeDispute, KINDS),
        "charge.dispute.updated": resolves(StripeDispute, KINDS),
        "charge.dispute.closed": resolves(StripeDispute, KINDS),
        "charge.dispute.funds_withdrawn": ignored,
        "charge.dispute.funds_reinstated": ignored,
        "radar.early_fraud_warning.created": informs(EarlyFraudWarning),
        "radar.early_fraud_warning.updated": informs(EarlyFraudWarning),
    },
    about=("charge.dispute.*", "radar.early_fraud_warning.*", "v1.charge.dispute.*"),
    subtype="data.object.status",
    test=("livemode", "false"),
    deadline=timedelta(hours=72),
)
