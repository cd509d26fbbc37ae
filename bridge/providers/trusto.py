"""TrustO: alerts of Ethoca and Verifi, relayed.

The body and the statuses are TrustO's own document (doc), one misspelt name of the wire included. What
a status means as a 29next resolution is ours: only REFUNDED is taken for a refund, and RESOLVED, which
does not say how, is passed on as `other` with the word itself. The case number is the network's own.
"""

from datetime import timedelta

from bridge import fields
from bridge.proof import BasicOrHeader
from bridge.provider import Provider, opens, resolves


class TrustoAlert(fields.AlertSchema):
    """An alert with its status; the chargeback's amount is the disputed one."""

    case_number = fields.Identifier(data_key="payload.providerId", required=True)
    subtype = fields.Word(data_key="payload.type")
    network = fields.Word(data_key="payload.provider")
    amount = fields.Money(data_key="payload.chargebackAmount")
    currency = fields.Currency(data_key="payload.chargebackCurrency")
    transaction_amount = fields.Money(data_key="payload.amount", required=True)
    transaction_currency = fields.Currency(data_key="payload.currency", required=True)
    happened_at = fields.Moment(data_key="payload.alertTimeStamp", required=True)
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
    reason_code = fields.Identifier(data_key="payload.reasonCode")
    resolution = fields.Word(
        data_key="payload.status",
        values={
            "REFUNDED": "issued_full_refund",
            "NOT_FOUND": "could_not_find_order",
            "RESOLVED": "other",
            "CHARGEBACK": "other",
            "EXPIRED": "other",
            "OTHER": "other",
            "NEW": None,
            "OPEN": None,
            "PROCESSING": None,
        },
        strict=False,
    )


PROVIDER = Provider(
    title="TrustO",
    proof=BasicOrHeader(),
    event_id=("payload.id", "event"),
    event_type="event",
    events={
        "alert.created": opens(TrustoAlert),
        "alert.resolved": resolves(TrustoAlert),
    },
    deadline=timedelta(hours=24),
)
