"""Chargeblast: alerts of Ethoca, Verifi and other networks, relayed.

The events, the body and the reason codes are Chargeblast's own document (doc). The body has no
envelope: the event's name stands in the header `X-Event-Type` alone, so a webhook without it opens its
alert where nothing has. `alert.refunded` may overtake `alert.created`; every event carries the whole
alert. That RDR alerts are refunded before anyone is told is Visa's rule; that Chargeblast marks them
by either of two fields is inferred from its lists of values.

Outcomes: "Update Alert" and "Fetch an Alert" of its API, version 2 (doc, docs.chargeblast.com/api-reference):
path, header and reason codes. That the code stands in `result` is known from an implementer (third party).
An alert that is final already refuses an update, so it is read first; that its `{id}` is the webhook's `id`
is inferred from the same schema.
"""

from datetime import timedelta

from bridge import fields
from bridge.proof import StandardWebhooks
from bridge.provider import Outcome, Provider, ignored, informs, matches, opens, resolves

RDR = ("DISPUTE_RDR", "RDR")
REASONS = {
    "Resolved": "issued_full_refund",
    "ResolvedPartial": "issued_refund_for_remaining_amount",
    "AlreadyRefunded": "previously_refunded_nothing_to_do",
    "ResolvedCancelled": "declined_or_canceled_nothing_to_do",
    "AccountCancelled": "declined_or_canceled_nothing_to_do",
    "UnmatchedCannotFindTransaction": "could_not_find_order",
    "UnmatchedGeneral": "could_not_find_order",
    "TDS": "3ds_authorized_successfully",
    "MIDLost": "unable_to_refund_merchant_account_closed",
    "Ineligible": "other",
    "Duplicate": "other",
    "AlreadyChargeback": "other",
    "EscalateChargeback": "other",
    "NotMyDescriptor": "other",
}
"""The final ones; any other (WIP, Unactioned, None) is not final."""

WORDS = {
    "issued_full_refund": "Resolved",
    "issued_refund_for_remaining_amount": "Resolved",  # ResolvedPartial is not said to stop the issuer
    "previously_refunded_nothing_to_do": "AlreadyRefunded",
    "declined_or_canceled_nothing_to_do": "ResolvedCancelled",
    "could_not_find_order": "UnmatchedCannotFindTransaction",
    "3ds_authorized_successfully": "TDS",
    "unable_to_refund_merchant_account_closed": "MIDLost",
}
"""29next's resolutions as Chargeblast's reason codes. `other` has none: its vague codes are declines, and
"declining an alert will result in a chargeback" (doc)."""


class ChargeblastAlert(fields.AlertSchema):
    """What every event tells of its alert."""

    case_number = fields.Identifier(data_key="alertId", required=True)
    provider_id = fields.Identifier(data_key="id|alertId")
    subtype = fields.Word(data_key="alertType")
    network = fields.Word(data_key="subprovider")
    amount = fields.Money(data_key="amount", required=True)
    currency = fields.Currency(data_key="currency", required=True)
    happened_at = fields.Moment(data_key="createdAt", required=True)
    transaction_at = fields.Moment(data_key="transactionDate")
    arn = fields.Identifier(data_key="arn")
    card = fields.Card(data_key="card")
    auth_code = fields.Identifier(data_key="authCode")
    network_transaction_id = fields.Identifier(data_key="networkId")
    external_id = fields.Identifier(data_key="externalOrder")
    order = fields.Identifier(data_key="attributes.order_number")
    descriptor = fields.Text(data_key="descriptor")
    merchant_id = fields.Identifier(data_key="merchantId")
    refunded_by_gateway = fields.Flag(data_key="alertType|subprovider", true=RDR)


class Created(ChargeblastAlert):
    """A new alert, which is resolved already where it is an RDR case."""

    resolution = fields.Word(
        data_key="alertType|subprovider", values=dict.fromkeys(RDR, "issued_full_refund"), strict=False
    )


class Updated(ChargeblastAlert):
    """An alert whose reason code may be final by now."""

    resolution = fields.Word(
        data_key="reasonCode|alertType|subprovider",
        values=REASONS | dict.fromkeys(RDR, "issued_full_refund"),
        strict=False,
    )


class Refunded(ChargeblastAlert):
    """An alert that was answered with a refund."""

    resolution = fields.Constant("issued_full_refund")


PROVIDER = Provider(
    title="Chargeblast",
    proof=StandardWebhooks(prefix="svix"),
    event_id=("header:svix-id|header:webhook-id",),
    event_type="header:X-Event-Type",
    events={
        "alert.created": opens(Created),
        "alert.matched": matches(Created),
        "alert.updated": resolves(Updated),
        "alert.refunded": resolves(Refunded),
        "alert.will_expire": informs(ChargeblastAlert),
        "alert.within_refund_rules": ignored,
        "": opens(Created),
    },
    subtype="subprovider",
    inform=frozenset({"tc40", "tc15", "safe"}),
    deadline=timedelta(hours=48),
    outcome=Outcome(
        url="https://api.chargeblast.com/",
        header="X-API-Key",
        scheme="",
        path="api/v2/alerts/update/{id}",
        word_in="result",
        words=WORDS,
        read=("api/v2/alert/{id}", "alert.reasonCode"),
        finals=REASONS,
    ),
)
