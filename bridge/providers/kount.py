"""Kount Dispute and Chargeback Management (DCM): alerts of Ethoca and Verifi, relayed.

The fields and the event types are Kount's own document (doc). Its example nests what concerns the
event in `events[]`, its table shows the same names flat: both are taken, and every event of the list.
Kount leaves out what is null. One static header proves it, its name and value chosen by the merchant.
"""

from datetime import timedelta

from bridge import fields
from bridge.proof import Header
from bridge.provider import Provider, ignored, informs, opens


class KountAlert(fields.AlertSchema):
    """One event about a transaction."""

    case_number = fields.Identifier(data_key="requestID", required=True)
    subtype = fields.Word(data_key="eventType")
    network = fields.Word(data_key="eventType", values={"ETHOCA_*": "ethoca", "RDR": "rdr", "*": "verifi"})
    amount = fields.Money(data_key="transactionAmount", required=True)
    currency = fields.Currency(data_key="transactionCurrency", required=True)
    happened_at = fields.Moment(data_key="eventDateTime", required=True)
    transaction_at = fields.Moment(data_key="transactionDateTime")
    arn = fields.Identifier(data_key="arn")
    card = fields.Card(data_key="accountNumber")
    auth_code = fields.Identifier(data_key="authorizationCode")
    network_transaction_id = fields.Identifier(data_key="transactionID")
    order = fields.Identifier(data_key="merchantOrderID")
    descriptor = fields.Text(data_key="descriptor")
    merchant_id = fields.Identifier(data_key="cardAcceptorID")
    reason_code = fields.Identifier(data_key="disputeCode")


class RapidResolution(KountAlert):
    """An RDR case, which the gateway has refunded already."""

    resolution = fields.Constant("issued_full_refund")
    refunded_by_gateway = fields.Constant(True)


PROVIDER = Provider(
    title="Kount",
    proof=Header(),
    items="events",
    event_id=("requestID", "eventType"),
    event_type="eventType",
    events={
        "ethoca_fraud": opens(KountAlert),
        "ethoca_dispute": opens(KountAlert),
        "dispute": opens(KountAlert),
        "cancel": opens(KountAlert),
        "rdr": opens(RapidResolution),
        "dispute_notice": informs(KountAlert),
        "fraud_notice": informs(KountAlert),
        "order_inquiry": ignored,
    },
    deadline=timedelta(hours=72),
    deadlines={"ethoca_*": timedelta(hours=24)},
)
