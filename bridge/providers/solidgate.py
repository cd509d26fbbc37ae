"""Solidgate: prevention alerts, fraud alerts and chargebacks, in both versions of its webhooks.

Version 2 is Solidgate's own document, body and signature (doc: api-docs.solidgate.com/api/v2, examples of
2026-04 and 2026-06). Of version 1 the headers, the event types and the chargeback are documented (doc), the
signature's form is known from implementers (third party), and the names inside `alert` and `order` are
inferred from version 2 and from Solidgate's report of the same alerts. Version 1 writes its words in lower
case with dashes (doc). What a prevention's type means: an inquiry is the issuer's question, a prevented one
ended it; a resolved one of Verifi's that was reversed is an accepted RDR case, whose refund no gateway
shows (doc: docs.solidgate.com/risks/prevention-alerts). What the status of a chargeback means as a 29next
resolution is inferred; `resolved` is probably an RDR case, and goes to a person.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import ignored, informs, opens, rapid
from bridge.providers.signatures import Solidgate

TYPE = "data.prevention_alert.alert_type|alert.alert_type|alert.type"
OUTCOME = "data.prevention_alert.outcome|alert.outcome"
SOURCE = "data.prevention_alert.provider|alert.provider|alert.provider_name"
OUTCOMES = {
    "REVERSED": "issued_full_refund",
    "PREVIOUSLY_REVERSED": "previously_refunded_nothing_to_do",
    "REVERSE_ERROR": fields.REVIEW,
    **dict.fromkeys(("PENDING", "ACKNOWLEDGED"), None),
}


class PreventionAlert(fields.AlertSchema):
    """A prevention alert with its outcome, where there is one."""

    case_number = fields.Identifier(data_key="data.prevention_alert.id|alert.id")
    subtype = fields.Word(data_key=TYPE)
    network = fields.Word(data_key=SOURCE, values={"ETHOCA": Network.ETHOCA, "VERIFI": Network.CDRN})
    event_at = fields.Moment(data_key="occurred_at|alert.updated_at")
    amount = fields.Money(data_key="data.prevention_alert.amount|alert.amount|order.amount", unit="minor")
    currency = fields.Currency(data_key="data.prevention_alert.currency|alert.currency|order.currency")
    happened_at = fields.Moment(
        data_key="data.prevention_alert.reported_at|alert.reported_at|alert.alert_date|alert.created_at"
    )
    arn = fields.Identifier(data_key="alert.arn")
    order = fields.Identifier(
        data_key="data.prevention_alert.merchant_order_id|order.merchant_order_id|order.order_id|order.id"
        "|alert.order_id"
    )
    resolution = fields.Resolution(
        data_key=OUTCOME,
        values={
            **OUTCOMES,
            "DECLINE": "declined_or_canceled_nothing_to_do",
            "NOT_FOUND": "could_not_find_order",
            **dict.fromkeys(("DUPLICATE", "ERROR", "SHIPPED"), "other"),
        },
    )


class RapidResolution(PreventionAlert):
    """A prevention that the network settled by crediting the cardholder, Verifi's: an RDR case."""

    network = fields.RDR
    resolution = rapid(OUTCOME, OUTCOMES | dict.fromkeys(("DUPLICATE", "ERROR", "SHIPPED"), fields.NOT_FINAL))
    refunded_by_gateway = fields.Constant(True)


class FraudAlert(fields.AlertSchema):
    """A network's report of fraud: nobody asks for a refund."""

    case_number = fields.Identifier(data_key="data.fraud_alert.id|id")
    category = fields.FRAUD
    event_at = fields.Moment(data_key="occurred_at")
    amount = fields.Money(data_key="data.fraud_alert.amount|fraud_amount", unit="minor")
    currency = fields.Currency(data_key="data.fraud_alert.currency|fraud_currency")
    happened_at = fields.Moment(data_key="occurred_at|fraud_report_date|created_at")
    order = fields.Identifier(data_key="data.fraud_alert.merchant_order_id|order_id")
    reason_code = fields.Code(data_key="data.fraud_alert.reason_code|fraud_type")


class Chargeback(fields.AlertSchema):
    """A chargeback of version 1."""

    type = fields.CHARGEBACK
    case_number = fields.Identifier(data_key="chargeback.id")
    subtype = fields.Word(data_key="chargeback.type")
    category = fields.Word(data_key="chargeback.reason_group", values={"*fraud*": Category.FRAUD})
    event_at = fields.Moment(data_key="occurred_at|updated_at")
    amount = fields.Money(data_key="chargeback.amount", unit="minor")
    currency = fields.Currency(data_key="chargeback.currency|order.currency")
    happened_at = fields.Moment(data_key="chargeback.dispute_date")
    arn = fields.Identifier(data_key="chargeback_flow.0.arn_code|chargeback.chargeback_flow.arn_code")
    order = fields.Identifier(data_key="order.order_id|order.merchant_order_id")
    reason_code = fields.Code(data_key="chargeback.reason_code")
    resolution = fields.Resolution(
        data_key="chargeback.status",
        values={
            "reversed": "won",
            "accepted": "accepted",
            **dict.fromkeys(("in_progress", "document_sent"), None),
            **dict.fromkeys(("resolved", "resolved_reversal"), fields.REVIEW),
        },
    )


KINDS = {"resolved&verifi": RapidResolution}

PROVIDER = Provider(
    title="Solidgate",
    proof=Solidgate(),
    event_id=("event_id|header:solidgate-event-id",),
    event_type="event_type|header:solidgate-event-type",
    events={
        "prevention_alert_received": opens(PreventionAlert, KINDS),
        "card_gate.prevention_alert.received": opens(PreventionAlert, KINDS),
        "fraud_alert_received": informs(FraudAlert),
        "card_gate.fraud_alert.received": informs(FraudAlert),
        "card_gate.chargeback.received": opens(Chargeback),
        "card_gate.order.updated": ignored,
    },
    about=("*chargeback*", "*dispute*", "*prevention*", "*alert*"),
    subtype=f"{TYPE}|{SOURCE}|chargeback.type",
    inform=frozenset({"prevented"}),
    deadline=timedelta(hours=24),
    deadlines={"*chargeback*": timedelta(hours=72)},
)
