"""ChargebackStop: alerts of Ethoca and RDR cases of Verifi, relayed.

The event types, the envelope, the statuses and the way of signing are ChargebackStop's own document (doc:
docs.chargebackstop.com/developer, no date, read November 2026). The object's fields are known from an
implementer in production (third party), and are few: neither card nor ARN is among them, so the gateway's
id alone leads to the payment. PARTIALLY_REFUNDED and REFUND_FAILED are known from implementers only. What
a scheme notice or an early fraud notice holds is not known; both are only shown.

An RDR case is RESOLVED from the start (doc: such alerts "arrive RESOLVED or INVALID"); an Ethoca alert
arrives as ACTION_REQUIRED, and ends as RESOLVED too, so that an update's status says nothing of a refund.
INVALID takes either back.
"""

from datetime import timedelta

from bridge.alert import Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import ignored, informs, opens, resolves
from bridge.providers.signatures import TimestampedHmac

OUTCOMES = {
    "REFUNDED": "issued_full_refund",
    "PARTIALLY_REFUNDED": "other",
    "REFUND_FAILED": fields.REVIEW,
    "NOT_REFUNDED": None,
}


class Updated(fields.AlertSchema):
    """An alert whose outcome may be known."""

    case_number = fields.Identifier(data_key="data.object.id")
    subtype = fields.Word(data_key="data.object.status")
    network = fields.Word(data_key="data.object.status", values={"ACTION_REQUIRED": Network.ETHOCA})
    event_at = fields.Moment(data_key="created_at")
    amount = fields.Money(data_key="data.object.transaction_amount_in_cents", unit="minor")
    currency = fields.Currency(data_key="data.object.transaction_currency_code")
    happened_at = fields.Moment(data_key="data.object.created_at")
    external_id = fields.Identifier(data_key="data.object.integration_transaction_id")
    resolution = fields.Resolution(data_key="data.object.transaction_refund_outcome", values=OUTCOMES)
    withdrawn = fields.Flag(data_key="data.object.status", true=("INVALID",))


class Created(Updated):
    """A new alert; one that is RESOLVED from the start, with no refund of ours, is an RDR case."""

    network = fields.Word(
        data_key="data.object.status",
        values={
            "ACTION_REQUIRED": Network.ETHOCA,
            **dict.fromkeys(("RESOLVED", "INVALID"), Network.RDR),
        },
    )
    resolution = fields.Resolution(
        data_key="data.object.transaction_refund_outcome|data.object.status",
        values={
            **OUTCOMES,
            "RESOLVED": "issued_full_refund",
            **dict.fromkeys(("ACTION_REQUIRED", "INVALID"), None),
        },
    )
    refunded_by_gateway = fields.Word(
        data_key="data.object.transaction_refund_outcome|data.object.status",
        values={
            **dict.fromkeys(("REFUNDED", "PARTIALLY_REFUNDED", "REFUND_FAILED"), False),
            "RESOLVED": True,
        },
    )


PROVIDER = Provider(
    title="ChargebackStop",
    proof=TimestampedHmac(header="X-Signature", algorithm="sha512"),
    event_id=("id",),
    event_type="type",
    events={
        "alert.created": opens(Created),
        "alert.updated": resolves(Updated),
        "scheme_notice.created": informs(),
        "scheme_notice.updated": informs(),
        "fraud_notification.created": informs(),
        "representment.created": ignored,
        "representment.updated": ignored,
        "enrolment.created": ignored,
        "enrolment.updated": ignored,
        "lookup.created": ignored,
        "lookup.updated": ignored,
    },
    deadline=timedelta(hours=24),
)
