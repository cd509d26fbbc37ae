"""Chargeblast: alerts of Ethoca, Verifi and other networks, relayed.

The events, the body and the reason codes are Chargeblast's own document (doc: the source of
docs.chargeblast.com, api-reference/webhooks and reference/reason-codes, no dates, read November 2026). The
body has no envelope: the event's name stands in the header `X-Event-Type` alone, so a webhook without it
opens its alert where nothing has. `alert.refunded` may overtake `alert.created`; every event carries the
whole alert. `alertId` may be null, and equals `id` (doc).

An RDR alert says in `acquirerAction` (Resolved or Declined) and `responseAction` (Accepted) whether it was
accepted (doc); only an accepted one was refunded before the alert. That `alert.refunded` of an RDR
alert is an acceptance too follows from the event's description (inferred), and so does that a reason code
which says otherwise contradicts it: a person looks then, or the RDR alert stays open. What ContactedShipper,
CannotCancel, MatchedWillShip, CancellationProcessed and Error mean is not explained (inferred).

Outcomes: "Update Alert" and "Fetch an Alert" of its API, version 2 (doc, docs.chargeblast.com/api-reference):
path, header, reason codes, and that the code stands in `result`. An alert that is final already refuses an
update, so it is read first. Chargeblast wants an answer within 24 hours and declines by itself at 48 (doc).
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import (
    ACCEPTS,
    ignored,
    informs,
    matches,
    open_unless_refunded,
    opens,
    rapid,
    resolves,
)
from bridge.providers.outcomes import HeaderKey, Outcome, Word, in_every_category
from bridge.providers.signatures import StandardWebhooks

REASONS = {
    "Resolved": "issued_full_refund",
    "ResolvedPartial": "issued_refund_for_remaining_amount",
    "AlreadyRefunded": "previously_refunded_nothing_to_do",
    "ResolvedCancelled": "declined_or_canceled_nothing_to_do",
    "AccountCancelled": "declined_or_canceled_nothing_to_do",
    "CancellationProcessed": "declined_or_canceled_nothing_to_do",
    "UnmatchedCannotFindTransaction": "could_not_find_order",
    "UnmatchedGeneral": "could_not_find_order",
    "TDS": "3ds_authorized_successfully",
    "MIDLost": "unable_to_refund_merchant_account_closed",
    "Ineligible": "other",
    "Duplicate": "other",
    "AlreadyChargeback": "other",
    "EscalateChargeback": "other",
    "NotMyDescriptor": "other",
    "CannotCancel": "other",
    "MatchedWillShip": "other",
    "Error": "other",
}
"""The final ones."""
UNDECIDED = dict.fromkeys(("WIP", "Unactioned", "None", "ContactedShipper"))

TABLE = {
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
WORDS = (
    Word("Resolved", "You refunded the payment.", refunds=True),
    Word("AlreadyRefunded", "You had refunded the payment before the alert."),
    Word("ResolvedCancelled", "The payment was canceled. There is nothing to refund."),
    Word("AccountCancelled", "You canceled the customer's account."),
    Word("UnmatchedCannotFindTransaction", "You cannot find the payment. This declines the alert."),
    Word("TDS", "3-D Secure authenticated the payment. This declines the alert."),
    Word("MIDLost", "The merchant account is closed. This declines the alert."),
    Word("Duplicate", "It repeats another alert. This declines the alert."),
    Word("AlreadyChargeback", "There is a chargeback already. This declines the alert."),
    Word("NotMyDescriptor", "The descriptor is not yours. This declines the alert."),
    Word("Ineligible", "You do not refund it. This declines the alert: expect a chargeback."),
)
"""The reason codes that end an alert (doc); what each declines is said where a person chooses (inferred)."""


class ChargeblastAlert(fields.AlertSchema):
    """An alert, with its outcome once the reason code is final. All events have the same fields."""

    case_number = fields.Identifier(data_key="alertId|id")
    provider_id = fields.Identifier(data_key="id|alertId")
    subtype = fields.Word(data_key="alertType")
    category = fields.Word(
        data_key="alertType",
        values={"FRAUD": Category.FRAUD, "DISPUTE": Category.DISPUTE, "DISPUTE_RDR": Category.DISPUTE},
    )
    network = fields.Word(
        data_key="subprovider|alertType",
        values={
            "Ethoca": Network.ETHOCA,
            "CDRN": Network.CDRN,
            "RDR": Network.RDR,
            "DISPUTE_RDR": Network.RDR,
        },
    )
    amount = fields.Money(data_key="amount")
    currency = fields.Currency(data_key="currency")
    happened_at = fields.Moment(data_key="createdAt")
    transaction_at = fields.Moment(data_key="transactionDate")
    arn = fields.Identifier(data_key="arn")
    card = fields.Card(data_key="card")
    auth_code = fields.Identifier(data_key="authCode")
    network_transaction_id = fields.Identifier(data_key="networkId")
    external_id = fields.Identifier(data_key="externalOrder")
    order = fields.Identifier(data_key="attributes.order_number")
    descriptor = fields.Text(data_key="descriptor")
    merchant_id = fields.Identifier(data_key="merchantId")
    resolution = fields.Resolution(data_key="reasonCode", values=REASONS | UNDECIDED)


class RapidResolution(ChargeblastAlert):
    """An RDR alert, refunded by the gateway where a word says that it was accepted."""

    network = fields.RDR
    resolution = rapid(
        "acquirerAction|responseAction|reasonCode",
        {
            **open_unless_refunded(REASONS),
            **UNDECIDED,
            "RequiresResponse": None,
            **dict.fromkeys(("Ineligible", "AlreadyChargeback", "EscalateChargeback"), fields.NOT_FINAL),
        },
    )
    refunded_by_gateway = fields.Flag(data_key="acquirerAction|responseAction|reasonCode", true=ACCEPTS)


class Refunded(ChargeblastAlert):
    """An alert that was answered with a refund; where its reason code says otherwise, a person looks."""

    resolution = fields.Resolution(
        data_key="reasonCode",
        values=open_unless_refunded(REASONS, fields.REVIEW) | dict.fromkeys(UNDECIDED, "issued_full_refund"),
        load_default="issued_full_refund",
    )


class RapidlyRefunded(RapidResolution):
    """An RDR alert that counts as refunded, unless a word says something else."""

    resolution = rapid(
        "acquirerAction|responseAction|reasonCode",
        open_unless_refunded(REASONS, fields.NOT_FINAL) | dict.fromkeys(UNDECIDED, "issued_full_refund"),
        by_type=True,
    )
    refunded_by_gateway = fields.Word(  # a part of it: how much is not known
        data_key="acquirerAction|responseAction|reasonCode",
        values={"ResolvedPartial": False, "*": True},
        load_default=True,
    )


KINDS = {"*rdr*": RapidResolution}

PROVIDER = Provider(
    title="Chargeblast",
    proof=StandardWebhooks(prefix="svix"),
    event_id=("header:svix-id|header:webhook-id",),
    event_type="header:X-Event-Type",
    events={
        "alert.created": opens(ChargeblastAlert, KINDS),
        "alert.matched": matches(ChargeblastAlert, KINDS),
        "alert.updated": resolves(ChargeblastAlert, KINDS),
        "alert.refunded": resolves(Refunded, {"*rdr*": RapidlyRefunded}),
        "alert.will_expire": informs(ChargeblastAlert),
        "alert.within_refund_rules": ignored,
        "": opens(ChargeblastAlert, KINDS),
    },
    subtype="subprovider|alertType",
    inform=frozenset({"tc40", "tc15", "safe"}),
    deadline=timedelta(hours=24),
    outcome=Outcome(
        url="https://api.chargeblast.com/",
        authentication=HeaderKey("X-API-Key", ""),
        path="api/v2/alerts/update/{id}",
        body={"result": "{word}"},
        words=WORDS,
        table=in_every_category(TABLE),
        read=("api/v2/alert/{id}", "alert.reasonCode"),
        finals=REASONS,
    ),
)
