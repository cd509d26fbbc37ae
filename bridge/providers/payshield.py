"""PayShield (TxShield): alerts of Ethoca and Verifi, relayed.

The fields, the words and the reason codes are PayShield's own document (doc: docs.payshield.ai, webhooks,
api-endpoints and the reason codes of 18 June 2024; read November 2026); the body as a whole is reconstructed
from it: a form, with `txdetails` as JSON text inside. An alert has no time of its own, so its receipt
counts. Any body that comes back with a status would count as the merchant's outcome: the answer is an empty
200. An RDR case arrives with the action already taken (doc); it counts as accepted by its type where no word
beside it says something else (inferred), and RDR_DELETE revokes it, in whichever event. A status update of an
RDR case that names no type is read as any other. What a reason code means as a 29next resolution is ours: a
code of a declined alert that was refunded all the same (`.001`) is `other`, with the code.

Outcomes: "Alert Status Update", version 2 (doc: docs.payshield.ai, api-endpoints, read November 2026): the
path, the header `rcode`, the names of the body, all of them text, the statuses and the codes. Each merchant
gets its own host. 101 wants the amount, and 940 the alert that is repeated (doc); the object `tx_details`
around that id is the example's (doc), its table writes it with brackets. What a good answer or a repeat is
answered is not documented: any 2xx counts as reported, and the same code is sent again where no answer came.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Acknowledgement, Provider
from bridge.providers.credentials import Bearer
from bridge.providers.meanings import informs, open_unless_refunded, opens, rapid, resolves
from bridge.providers.outcomes import HeaderKey, Outcome, Word, in_every_category

REASONS = {
    "100": "issued_full_refund",
    "100.001": "issued_full_refund",
    "100.003": "declined_or_canceled_nothing_to_do",
    "101": "issued_refund_for_remaining_amount",
    "101.001": "issued_refund_for_remaining_amount",
    "102": "declined_or_canceled_nothing_to_do",
    "102.003": "declined_or_canceled_nothing_to_do",
    "103.001": "issued_full_refund",
    "103.002": "other",  # the account was suspended
    "103.003": "declined_or_canceled_nothing_to_do",
    "951": "previously_refunded_nothing_to_do",
    "951.001": "previously_refunded_nothing_to_do",
    "951.003": "declined_or_canceled_nothing_to_do",
    "954.001": "other",  # authenticated by 3-D Secure, and refunded all the same
    "950.001": "other",
    "902.001": "other",
    **dict.fromkeys(("902", "902.*"), "could_not_find_order"),
    **dict.fromkeys(("954", "954.*"), "3ds_authorized_successfully"),
    **dict.fromkeys(("950", "950.*"), "unable_to_refund_merchant_account_closed"),
    **dict.fromkeys(
        ("100.*", "101.*", "102.*", "103", "103.*", "951.*"), "other"
    ),  # with no result of the above
    **dict.fromkeys(("900", "900.*"), "other"),
    **dict.fromkeys(("901", "901.*"), "other"),  # not our descriptor
    **dict.fromkeys(("910", "910.*"), "other"),  # the 72 hours went by
    **dict.fromkeys(("940", "940.*"), "other"),  # a duplicate
    **dict.fromkeys(("952", "952.*"), "other"),  # a chargeback already
    **dict.fromkeys(("953", "953.*"), "other"),  # too old
    **dict.fromkeys(("956", "956.*"), "other"),  # could not stop the fulfilment
    **dict.fromkeys(("957", "957.*"), "other"),  # the merchant disagrees
    **dict.fromkeys(("998", "998.*"), fields.NOT_FINAL),  # the shipper was asked
    **dict.fromkeys(("999", "999.*"), fields.NOT_FINAL),  # in work
}
STATUSES = {
    **dict.fromkeys(("WIP", "RDR_DELETE"), None),
    **dict.fromkeys(("OTHER", "DUPLICATE", "CB_PROCEEDED"), "other"),  # of the older document
}
"""What a status says without a code. RESOLVED and DECLINED do not say how."""
RDR_WORDS = {
    "REFUND": "issued_full_refund",
    **dict.fromkeys(("REVIEW", "MATCHED", "WIP", "OTHER", "DUPLICATE")),
    "RDR_DELETE": fields.NOT_FINAL,
}
"""What a status or an action says of an RDR case, beside the words of all providers."""


RESOLVED, DECLINED = {"status": "RESOLVED"}, {"status": "DECLINED"}
DUPLICATE = ("duplicate",)
WORDS = (
    Word("100.001", "You refunded the payment, and stopped the loss.", fills=RESOLVED, refunds=True),
    Word(
        "101.001",
        "You refunded what was left, or a part, of the payment.",
        fills=RESOLVED,
        refunds=True,
        needs=("refund_amount",),
    ),
    Word("102.003", "The payment was declined or canceled, and not settled.", fills=RESOLVED),
    Word("103.001", "You suspended the account and refunded it.", fills=RESOLVED, refunds=True),
    Word("951.001", "You had refunded the payment before the alert.", fills=RESOLVED, refunds=True),
    Word("951.003", "The payment was canceled before the alert.", fills=RESOLVED),
    Word("900.002", "You do not refund it, with your reason.", fills=DECLINED, explains=True),
    Word("901.002", "The descriptor is not yours.", fills=DECLINED),
    Word("902.002", "You cannot find the payment.", fills=DECLINED),
    Word("940.001", "It repeats an alert that you refunded.", fills=DECLINED, needs=DUPLICATE),
    Word("940.002", "It repeats an alert that you did not refund.", fills=DECLINED, needs=DUPLICATE),
    Word("950.002", "A refund is not possible, as the account is closed.", fills=DECLINED),
    Word("952.002", "There is a chargeback already. You did not refund it.", fills=DECLINED),
    Word("953.002", "The payment is older than 120 days.", fills=DECLINED),
    Word("954.002", "3-D Secure authenticated the payment. You do not refund it.", fills=DECLINED),
    Word("956.001", "You could not stop the shipment, but refunded it.", fills=DECLINED, refunds=True),
    Word("956.002", "You could not stop the shipment, nor refund it.", fills=DECLINED),
)
"""The reason codes that end an alert, each with its result: refunded (001), not (002), not settled (003)."""


class PayShieldAlert(fields.AlertSchema):
    """A new alert."""

    case_number = fields.Identifier(data_key="alert_id")
    provider_id = fields.Identifier(data_key="alert_id")
    subtype = fields.Word(data_key="alert_type")
    category = fields.Word(
        data_key="alert_type",
        values={
            **dict.fromkeys(("Confirmed Fraud", "FRAUD_NOTICE"), Category.FRAUD),
            **dict.fromkeys(("Customer Dispute", "CANCEL"), Category.DISPUTE),
        },
    )
    network = fields.Word(data_key="provider", values={"ETHOCA": Network.ETHOCA, "VERIFI": Network.CDRN})
    amount = fields.Money(data_key="amount")
    currency = fields.Currency(data_key="currency")
    transaction_at = fields.Moment(data_key="transaction_timestamp")
    arn = fields.Identifier(data_key="arn")
    card = fields.Card(data_key="card")
    auth_code = fields.Identifier(data_key="auth_code")
    order = fields.Identifier(data_key="txdetails.0.orderid|txdetails.orderid")
    descriptor = fields.Text(data_key="descriptor")
    merchant_id = fields.Identifier(data_key="descriptor_id")


class RapidResolution(PayShieldAlert):
    """An RDR case, which the gateway has refunded already."""

    network = fields.RDR
    resolution = rapid("status|alert_action", RDR_WORDS, by_type=True)
    refunded_by_gateway = fields.Constant(True)
    withdrawn = fields.Flag(data_key="status", true=("RDR_DELETE",))


class StatusUpdate(fields.AlertSchema):
    """A change of an alert's status; its reason code says how it ended."""

    case_number = fields.Identifier(data_key="alert_id")
    subtype = fields.Word(data_key="status")
    event_at = fields.Moment(data_key="outcome_updated_on|merchant_update_on")
    resolution = fields.Resolution(data_key="reason_code|status", values=REASONS | STATUSES)
    reason_code = fields.Code(data_key="reason_code")
    withdrawn = fields.Flag(data_key="status", true=("RDR_DELETE",))


class RapidUpdate(RapidResolution):
    """The same of an RDR case, with the facts of its alert where they come again."""

    event_at = fields.Moment(data_key="outcome_updated_on|merchant_update_on")
    reason_code = fields.Code(data_key="reason_code")
    resolution = rapid("reason_code|status", open_unless_refunded(REASONS, fields.NOT_FINAL) | RDR_WORDS)


PROVIDER = Provider(
    title="PayShield",
    proof=Bearer(),
    formats=("form", "json"),
    embedded=("txdetails",),
    event_id=("alert_id", "action|alert_action", "status"),
    event_type="action|alert_type",
    events={
        "dispute": opens(PayShieldAlert),
        "cancel": opens(PayShieldAlert),
        "confirmed fraud": opens(PayShieldAlert),
        "customer dispute": opens(PayShieldAlert),
        "dispute_rdr": opens(RapidResolution),
        "dispute_notice": informs(PayShieldAlert),
        "fraud_notice": informs(PayShieldAlert),
        "statusupdate": resolves(StatusUpdate, {"*rdr*": RapidUpdate}),
    },
    subtype="alert_type",
    deadline=timedelta(hours=72),
    acknowledgements=(Acknowledgement("", content_type="text/plain"),),
    outcome=Outcome(
        url=None,
        authentication=HeaderKey("rcode", ""),
        path="secure/alert/update/v2/",
        body={
            "alert_id": "{id}",
            "status": "{status}",
            "reason_code": "{word}",
            "alert_outcome_amount": "{refund_amount_text}",
            "alert_outcome_currency": "{refund_currency}",
            "alert_outcome_action_date": "{at}",
            "comments": "{comment}",
            "tx_details": {"duplicate_alertid": "{duplicate}"},
        },
        words=WORDS,
        table=in_every_category(
            {
                "issued_full_refund": "100.001",
                "issued_refund_for_remaining_amount": "101.001",
                "previously_refunded_nothing_to_do": "951.001",
                "declined_or_canceled_nothing_to_do": "102.003",
                "could_not_find_order": "902.002",
                "3ds_authorized_successfully": "954.002",
                "unable_to_refund_merchant_account_closed": "950.002",
            }
        ),
    ),
)
