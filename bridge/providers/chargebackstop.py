"""ChargebackStop: alerts of Ethoca and RDR cases of Verifi, relayed.

The event types, the statuses and the way of signing are ChargebackStop's own document (doc). The
envelope and the object's fields are known from an implementer in production (third party), and are few:
neither card nor ARN is among them, so the gateway's id alone leads to the payment. What a scheme notice
or an early fraud notice holds is not known; both are only shown.

An RDR case arrives as RESOLVED; an Ethoca alert arrives as ACTION_REQUIRED, and becomes REFUNDED by its
refund's outcome. INVALID takes either back.
"""

from datetime import timedelta

from bridge import fields
from bridge.proof import TimestampedHmac
from bridge.provider import Provider, ignored, informs, opens, resolves


class Updated(fields.AlertSchema):
    """An alert whose outcome may be known."""

    case_number = fields.Identifier(data_key="data.object.id", required=True)
    subtype = fields.Word(data_key="data.object.status")
    amount = fields.Money(data_key="data.object.transaction_amount_in_cents", unit="minor", required=True)
    currency = fields.Currency(data_key="data.object.transaction_currency_code", required=True)
    happened_at = fields.Moment(data_key="data.object.created_at", required=True)
    external_id = fields.Identifier(data_key="data.object.integration_transaction_id")
    resolution = fields.Word(
        data_key="data.object.transaction_refund_outcome",
        values={"REFUNDED": "issued_full_refund", "NOT_REFUNDED": None},
        strict=False,
    )
    withdrawn = fields.Flag(data_key="data.object.status", true=("INVALID",))


class Created(Updated):
    """A new alert; one that is RESOLVED from the start, with no refund of ours, is an RDR case."""

    resolution = fields.Word(
        data_key="data.object.transaction_refund_outcome|data.object.status",
        values=dict.fromkeys(("REFUNDED", "RESOLVED"), "issued_full_refund"),
        strict=False,
    )
    refunded_by_gateway = fields.Word(
        data_key="data.object.transaction_refund_outcome|data.object.status",
        values={"REFUNDED": False, "RESOLVED": True},
        strict=False,
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
