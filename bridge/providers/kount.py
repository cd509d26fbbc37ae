"""Kount Dispute and Chargeback Management (DCM): alerts of Ethoca and Verifi, relayed.

The fields and the event types are Kount's own document (doc: developer.kount.com, "Receiving and
Responding to Alerts", no date, read November 2026). Its example nests what concerns the event in
`events[]`, its table shows the same names flat: both are taken, and every event of the list.
Kount leaves out what is null. One static header proves it, its name and value chosen by the merchant.

No field of the document says whether an RDR case was accepted: by its type it counts as accepted
(inferred), unless a status beside it says something else. A newer page speaks of RDR cancellations and does
not name the event: it stays an unknown event until somebody sees one.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.credentials import Header
from bridge.providers.meanings import informs, opens, rapid


class KountAlert(fields.AlertSchema):
    """One event about a transaction."""

    case_number = fields.Identifier(data_key="requestID")
    subtype = fields.Word(data_key="eventType")
    category = fields.Word(
        data_key="eventType|disputeCode",
        values={
            **dict.fromkeys(("ETHOCA_FRAUD", "FRAUD_NOTICE", "10.*"), Category.FRAUD),
            **dict.fromkeys(("ETHOCA_DISPUTE", "CANCEL"), Category.DISPUTE),
        },
    )
    network = fields.Word(
        data_key="eventType",
        values={
            "ETHOCA_*": Network.ETHOCA,
            "RDR": Network.RDR,
            "DISPUTE": Network.CDRN,
            "CANCEL": Network.CDRN,
        },
    )
    event_at = fields.Moment(data_key="eventDateTime")
    amount = fields.Money(data_key="transactionAmount")
    currency = fields.Currency(data_key="transactionCurrency")
    happened_at = fields.Moment(data_key="eventDateTime")
    transaction_at = fields.Moment(data_key="transactionDateTime")
    arn = fields.Identifier(data_key="arn")
    card = fields.Card(data_key="accountNumber")
    auth_code = fields.Identifier(data_key="authorizationCode")
    network_transaction_id = fields.Identifier(data_key="transactionID")
    order = fields.Identifier(data_key="merchantOrderID")
    descriptor = fields.Text(data_key="descriptor")
    merchant_id = fields.Identifier(data_key="cardAcceptorID")
    reason_code = fields.Code(data_key="disputeCode")


class RapidResolution(KountAlert):
    """An RDR case."""

    resolution = rapid("rdrStatus|rdrResolution|status|decision|outcome", by_type=True)
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
        "order_inquiry": informs(KountAlert),
    },
    deadline=timedelta(hours=72),
    deadlines={"ethoca_*": timedelta(hours=24)},
)
