"""TrustO: alerts of Ethoca and Verifi, relayed.

The body and the statuses are TrustO's own document (doc: docs.trusto.io/api-reference, "Find alert by id",
no date, read November 2026), one misspelt name of the wire included; VERIFI_RDR, PARTIALLY_REFUNDED and
DECLINED are known from its webhooks (third party). What a status means as a 29next resolution is ours:
REFUNDED is taken for a refund, which the gateway made where the type is RDR; RESOLVED and others, which
do not say how, are passed on as `other` with the word itself. The case number is the network's own.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.credentials import BasicOrHeader
from bridge.providers.meanings import opens, rapid, resolves

STATUSES = {
    "REFUNDED": "issued_full_refund",
    "NOT_FOUND": "could_not_find_order",
    **dict.fromkeys(
        ("RESOLVED", "CHARGEBACK", "EXPIRED", "OTHER", "PARTIALLY_REFUNDED", "DECLINED"), "other"
    ),
    **dict.fromkeys(("NEW", "OPEN", "PROCESSING"), None),
}


class TrustoAlert(fields.AlertSchema):
    """An alert with its status; the chargeback's amount is the disputed one."""

    case_number = fields.Identifier(data_key="payload.providerId")
    subtype = fields.Word(data_key="payload.type")
    category = fields.Word(
        data_key="payload.type",
        values={"*FRAUD*": Category.FRAUD, "*CUSTOMER_DISPUTE*": Category.DISPUTE},
    )
    network = fields.Word(
        data_key="payload.type|payload.provider",
        values={"*RDR*": Network.RDR, "ETHOCA": Network.ETHOCA, "VERIFI": Network.CDRN},
    )
    event_at = fields.Moment(data_key="timestamp")
    amount = fields.Money(data_key="payload.chargebackAmount")
    currency = fields.Currency(data_key="payload.chargebackCurrency")
    transaction_amount = fields.Money(data_key="payload.amount")
    transaction_currency = fields.Currency(data_key="payload.currency")
    happened_at = fields.Moment(data_key="payload.alertTimeStamp")
    transaction_at = fields.Moment(data_key="payload.transactionTimeStamp")
    arn = fields.Identifier(data_key="payload.acquirerReferenceNumber")
    card_first_six = fields.FirstSix(data_key="payload.cardBin")
    card_last_four = fields.LastFour(data_key="payload.cardLastFour")
    auth_code = fields.Identifier(data_key="payload.authCode")
    network_transaction_id = fields.Identifier(data_key="payload.transactionId")
    order = fields.Identifier(data_key="payload.merchantOrderId")
    descriptor = fields.Text(data_key="payload.merchantDescriptor")
    merchant_id = fields.Identifier(data_key="payload.merchantId")
    member_id = fields.Identifier(data_key="payload.companyId")
    reason_code = fields.Code(data_key="payload.reasonCode")
    resolution = fields.Resolution(data_key="payload.status", values=STATUSES)


class RapidResolution(TrustoAlert):
    """An RDR case: accepted where its status says that it was refunded."""

    network = fields.RDR
    resolution = rapid(
        "payload.status",
        STATUSES | dict.fromkeys(("DECLINED", "CHARGEBACK", "EXPIRED", "NOT_FOUND"), fields.NOT_FINAL),
    )
    refunded_by_gateway = fields.Constant(True)


PROVIDER = Provider(
    title="TrustO",
    proof=BasicOrHeader(),
    event_id=("payload.id", "event"),
    event_type="event",
    events={
        "alert.created": opens(TrustoAlert, {"*rdr*": RapidResolution}),
        "alert.resolved": resolves(TrustoAlert, {"*rdr*": RapidResolution}),
    },
    subtype="payload.type",
    deadline=timedelta(hours=24),
)
