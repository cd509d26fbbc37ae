"""Justt: pre-chargeback alerts of Ethoca and Verifi, and the chargebacks of the merchant's processor.

The events, the fields and the signature are Justt's own document (doc: developers.justt.ai, OpenAPI
"Webhook Events" 1.0.0, harvested 2026-08-23): Standard Webhooks, `{type, timestamp, data}`; an older
guide has `event` for `type`. An alert has the transaction's amount and not the disputed one, so it
counts for both. The names of the networks are free text there; those below are the ones of its outcome
API (doc). No field says whether an RDR case was accepted: by its name it counts as accepted (inferred),
unless a word beside it says something else. After `refund.succeeded` Justt has refunded at the processor.
The processor `justt_sandbox` marks test traffic (inferred from its place in the list of processors).
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import ends, informs, matches, opens, rapid, resolves
from bridge.providers.signatures import StandardWebhooks

NETWORK = "data.provider|data.providerName|data.alertType"


class JusttAlert(fields.AlertSchema):
    """A pre-chargeback alert."""

    case_number = fields.Identifier(data_key="data.providerAlertId")
    provider_id = fields.Identifier(data_key="data.internalAlertId")
    subtype = fields.Word(data_key="data.alertType")
    category = fields.Word(
        data_key="data.type|data.alertType",
        values={
            **dict.fromkeys(("Fraud", "issuer_alert"), Category.FRAUD),
            **dict.fromkeys(("Non-Fraud", "Dispute", "customerdispute_alert"), Category.DISPUTE),
        },
    )
    network = fields.Word(
        data_key=NETWORK,
        values={"*rdr*": Network.RDR, "*cdrn*": Network.CDRN, "*ethoca*": Network.ETHOCA},
    )
    event_at = fields.Moment(data_key="timestamp")
    transaction_amount = fields.Money(data_key="data.transaction.amount|data.amount")
    transaction_currency = fields.Currency(data_key="data.transaction.currency|data.currency")
    happened_at = fields.Moment(data_key="data.alertTimestamp")
    transaction_at = fields.Moment(data_key="data.transaction.timestamp")
    arn = fields.Identifier(data_key="data.arn")
    card_first_six = fields.FirstSix(data_key="data.transaction.card.bin")
    card_last_four = fields.LastFour(data_key="data.transaction.card.last4")
    auth_code = fields.Identifier(data_key="data.authorizationCode")
    external_id = fields.Identifier(data_key="data.matchedTransaction.transactionId|data.psp.transactionId")
    descriptor = fields.Text(data_key="data.merchantDescriptor")
    merchant_id = fields.Identifier(data_key="data.referenceAccountId")


class RapidResolution(JusttAlert):
    """An RDR case, which is refunded already."""

    network = fields.RDR
    resolution = rapid("data.status|data.outcome", by_type=True)
    refunded_by_gateway = fields.Constant(True)


class RefundFailed(JusttAlert):
    """An alert whose sale Justt could not refund."""

    review = fields.Constant("Justt could not refund the sale: a person has to look.")


class Chargeback(fields.AlertSchema):
    """A chargeback, with what the processor says of its end."""

    type = fields.CHARGEBACK
    case_number = fields.Identifier(data_key="data.chargebackId|data.id")
    subtype = fields.Word(data_key="data.lifecycleStage")
    category = fields.Word(
        data_key="data.reasonGroup",
        values={"fraud": Category.FRAUD, "service": Category.DISPUTE, "processingError": Category.DISPUTE},
    )
    event_at = fields.Moment(data_key="timestamp")
    amount = fields.Money(data_key="data.amount")
    currency = fields.Currency(data_key="data.currency")
    transaction_amount = fields.Money(data_key="data.transactionAmount")
    transaction_currency = fields.Currency(data_key="data.transactionCurrency")
    happened_at = fields.Moment(data_key="data.postingDate")
    transaction_at = fields.Moment(data_key="data.transactionCreatedDate")
    arn = fields.Identifier(data_key="data.arn")
    card_first_six = fields.FirstSix(data_key="data.bin")
    card_last_four = fields.LastFour(data_key="data.cardLastFourDigits")
    external_id = fields.Identifier(data_key="data.transactionId")
    merchant_id = fields.Identifier(data_key="data.referenceAccountId")
    reason_code = fields.Code(data_key="data.reasonCode")
    resolution = fields.Resolution(
        data_key="data.pspStatus",
        values={
            "won": "won",
            "lost": "lost",
            "needs_response": None,
            "under_review": None,
            "evidence_not_submitted_by_psp": None,
            "split": None,
            "not_applicable": None,
            "unknown": None,
        },
    )


PROVIDER = Provider(
    title="Justt",
    proof=StandardWebhooks(),
    event_id=("header:webhook-id|header:svix-id|webhookId",),
    event_type="type|event",
    events={
        "pre_chargeback_alert.received": opens(JusttAlert, {"*rdr*": RapidResolution}),
        "pre_chargeback_alert.transaction_matched": matches(JusttAlert, {"*rdr*": RapidResolution}),
        "pre_chargeback_alert.refund.succeeded": ends(JusttAlert, "issued_full_refund"),
        "pre_chargeback_alert.refund.failed": resolves(RefundFailed),
        "chargeback.created": opens(Chargeback),
        "chargeback.status.updated": resolves(Chargeback),
        "chargeback.updated": informs(Chargeback),
        "chargeback.accepted": informs(Chargeback),
        "chargeback.evidence.submitted": informs(Chargeback),
    },
    unrelated=("subscription.*",),
    subtype=f"data.lifecycleStage|data.alertType|{NETWORK}",
    inform=frozenset({"alert", "claim", "tc40", "safe"}),
    test=("data.psp", "justt_sandbox"),
    deadline=timedelta(hours=24),
    deadlines={"chargeback*": timedelta(hours=72)},
)
