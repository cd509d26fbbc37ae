"""Solidgate: prevention alerts, in both versions of its webhooks.

Version 2 is Solidgate's own document, body and signature (doc). Of version 1 the headers are documented
(doc), the signature's form is known from implementers (third party), and the names inside `alert` and
`order` are inferred from version 2 and Solidgate's other bodies. What Solidgate counts as the alert's
outcome resolves it; that the outcome may be there from the start is its own example.
"""

from datetime import timedelta

from bridge import fields
from bridge.proof import Solidgate
from bridge.provider import Provider, ignored, informs, opens


class PreventionAlert(fields.AlertSchema):
    """A prevention alert with its outcome, where there is one."""

    case_number = fields.Identifier(data_key="data.prevention_alert.id|alert.id", required=True)
    subtype = fields.Word(data_key="data.prevention_alert.alert_type|alert.alert_type|alert.type")
    network = fields.Word(data_key="data.prevention_alert.provider|alert.provider")
    amount = fields.Money(
        data_key="data.prevention_alert.amount|alert.amount|order.amount", unit="minor", required=True
    )
    currency = fields.Currency(
        data_key="data.prevention_alert.currency|alert.currency|order.currency", required=True
    )
    happened_at = fields.Moment(
        data_key="data.prevention_alert.reported_at|alert.reported_at|alert.created_at", required=True
    )
    arn = fields.Identifier(data_key="alert.arn")
    order = fields.Identifier(
        data_key="data.prevention_alert.merchant_order_id|order.merchant_order_id|order.order_id|order.id"
    )
    resolution = fields.Word(
        data_key="data.prevention_alert.outcome|alert.outcome",
        values={
            "REVERSED": "issued_full_refund",
            "PREVIOUSLY_REVERSED": "previously_refunded_nothing_to_do",
            "DECLINE": "declined_or_canceled_nothing_to_do",
            "NOT_FOUND": "could_not_find_order",
            "REVERSE_ERROR": "unable_to_refund_merchant_account_closed",
            "DUPLICATE": "other",
            "ERROR": "other",
            "PENDING": None,
            "ACKNOWLEDGED": None,
        },
        strict=False,
    )


PROVIDER = Provider(
    title="Solidgate",
    proof=Solidgate(),
    event_id=("event_id|header:solidgate-event-id",),
    event_type="event_type|header:solidgate-event-type",
    events={
        "prevention_alert_received": opens(PreventionAlert),
        "card_gate.prevention_alert.received": opens(PreventionAlert),
        "card_gate.fraud_alert.received": informs(),
        "card_gate.order.updated": ignored,
    },
    deadline=timedelta(hours=24),
)
