"""Stripe: disputes, inquiries and early fraud warnings of the merchant's own processor.

The events, the objects and the signature are Stripe's own document (doc). A dispute whose status begins
with `warning_` is an inquiry: no money has moved, so it is an alert; any other is a chargeback. An
inquiry that becomes a chargeback keeps its id, and opens a second dispute at 29next. How an inquiry
ended Stripe does not say: it is resolved as `other`, with the status. What `livemode: false` marks is
test traffic. Amounts are minor units, with Stripe's own exceptions from ISO 4217.
"""

from datetime import timedelta

from bridge import fields
from bridge.alert import DisputeType
from bridge.proof import TimestampedHmac
from bridge.provider import Provider, ignored, informs, opens, resolves

DECIMALS = {"ISK": 2, "UGX": 2, "MGA": 0}
"""Currencies that Stripe counts in another way than ISO 4217."""


class StripeDispute(fields.AlertSchema):
    """A dispute, or an inquiry before one."""

    type = fields.Word(
        data_key="data.object.status",
        values={"warning_*": DisputeType.ALERT, "*": DisputeType.CHARGEBACK},
        load_default=DisputeType.CHARGEBACK,
    )
    case_number = fields.Identifier(data_key="data.object.id", required=True)
    subtype = fields.Word(data_key="data.object.status")
    network = fields.Word(data_key="data.object.payment_method_details.card.brand")
    amount = fields.Money(data_key="data.object.amount", unit="minor", decimals=DECIMALS, required=True)
    currency = fields.Currency(data_key="data.object.currency", required=True)
    happened_at = fields.Moment(data_key="data.object.created|created", required=True)
    external_id = fields.Identifier(data_key="data.object.payment_intent|data.object.charge")
    merchant_id = fields.Identifier(data_key="account")
    reason_code = fields.Identifier(data_key="data.object.network_reason_code|data.object.reason")


class Closed(StripeDispute):
    """A dispute that is decided, or an inquiry that came to nothing."""

    resolution = fields.Word(
        data_key="data.object.status",
        values={"won": "won", "lost": "lost", "warning_closed": "other"},
        strict=False,
    )


class EarlyFraudWarning(fields.AlertSchema):
    """An issuer's report of fraud: it has no amount, and nobody asks for a refund."""

    case_number = fields.Identifier(data_key="data.object.id", required=True)
    subtype = fields.Word(data_key="data.object.fraud_type")
    happened_at = fields.Moment(data_key="data.object.created|created")
    external_id = fields.Identifier(data_key="data.object.payment_intent|data.object.charge")
    merchant_id = fields.Identifier(data_key="account")


PROVIDER = Provider(
    title="Stripe",
    proof=TimestampedHmac(header="Stripe-Signature", algorithm="sha256"),
    event_id=("id",),
    event_type="type",
    events={
        "charge.dispute.created": opens(StripeDispute),
        "charge.dispute.updated": opens(StripeDispute),
        "charge.dispute.closed": resolves(Closed),
        "charge.dispute.funds_withdrawn": ignored,
        "charge.dispute.funds_reinstated": ignored,
        "radar.early_fraud_warning.created": informs(EarlyFraudWarning),
        "radar.early_fraud_warning.updated": informs(EarlyFraudWarning),
    },
    test=("livemode", "false"),
    deadline=timedelta(hours=72),
)
