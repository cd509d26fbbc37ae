"""Verifi (Visa): CDRN and RDR cases.

The documents of Verifi's push to merchants are under a non-disclosure agreement. The XML `case` is
the issuer's side of CDRN, verbatim (third party). The JSON names are those of Verifi's RDR decision
request (the names are documented, their arrangement partly inferred); amounts are taken nested or
flat. The event words are Verifi's, as two of its resellers document them (doc, at second hand; read
November 2026). Names and proof can be overridden in `bridge.toml` by a merchant who holds Verifi's document.

An RDR case is accepted only where a word says so: merchants decline ordinary ones (doc: Verifi's FAQ on the
RDR decision API). The words are inferred from its resellers', to whom Resolved is Declined's opposite.

The bridge takes notifications. It is no decision endpoint: an RDR question posted to it is recorded
as a dispute and not answered with a decision.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.credentials import Basic
from bridge.providers.meanings import informs, opens, rapid


class Case(fields.AlertSchema):
    """A CDRN case; the case's amount is the disputed one, the transaction's may differ."""

    case_number = fields.Identifier(data_key="caseNumber|caseId|number|decisionId")
    subtype = fields.Word(data_key="eventType|caseType|type")
    category = fields.Word(
        data_key="eventType|caseType|type|reasonCode",
        values={
            **dict.fromkeys(("FRAUD_NOTICE", "10.*"), Category.FRAUD),
            "CANCEL": Category.DISPUTE,
        },
    )
    network = fields.Word(
        data_key="source|eventType|caseType|type",
        values={
            **dict.fromkeys(("VMPI", "RDR", "DISPUTE_RDR"), Network.RDR),
            **dict.fromkeys(("DISPUTE", "CANCEL"), Network.CDRN),
        },
    )
    event_at = fields.Moment(data_key="generationTimestamp|caseDate|date")
    amount = fields.Money(data_key="caseAmount.amount|caseAmount|amount")
    currency = fields.Currency(
        data_key="caseAmount.currency|caseCurrency|currency|transactionAmount.currency|transactionCurrency",
    )
    transaction_amount = fields.Money(
        data_key="transactionAmount.amount|transactionAmount|referenceTransactionAmount"
    )
    transaction_currency = fields.Currency(
        data_key="transactionAmount.currency|transactionCurrency|referenceTransactionCurrency"
    )
    happened_at = fields.Moment(data_key="caseDate|date")
    transaction_at = fields.Moment(data_key="transactionDate|referenceTransactionDate")
    arn = fields.Identifier(data_key="arn|acquirerReferenceNumber")
    card = fields.Card(data_key="accountNumber|cardNumber|token")
    card_first_six = fields.FirstSix(data_key="cardBin|bin")
    card_last_four = fields.LastFour(data_key="cardLast4|lastFour")
    auth_code = fields.Identifier(data_key="authCode|authorizationCode")
    network_transaction_id = fields.Identifier(data_key="transactionId")
    descriptor = fields.Text(data_key="paymentDescriptor|networkDescriptor|descriptor")
    merchant_id = fields.Identifier(data_key="cardAcceptorId|uniqueMerchantIdentifier")
    reason_code = fields.Code(data_key="reasonCode")
    withdrawn = fields.Flag(data_key="caseStatus|status", true=("REVOKED",))


class RapidResolution(Case):
    """An RDR case: refunded by the gateway already where a word says that it was accepted."""

    network = fields.RDR
    resolution = rapid(
        "rdrResolution|decision|caseStatus|status",
        dict.fromkeys(("NEW", "OPEN", "PENDING", "EXPORTING", "CLOSED")),
    )
    refunded_by_gateway = fields.Constant(True)


PROVIDER = Provider(
    title="Verifi",
    proof=Basic(),
    formats=("json", "xml"),
    event_id=(
        "eventId|caseNumber|caseId|number|decisionId",
        "eventType|caseType|type",
        "caseStatus|status",
    ),
    event_type="eventType|caseType|type",
    events={
        "dispute": opens(Case, {"*rdr*": RapidResolution}),
        "cancel": opens(Case, {"*rdr*": RapidResolution}),
        "rdr": opens(RapidResolution),
        "dispute_rdr": opens(RapidResolution),
        "dispute_notice": informs(Case),
        "fraud_notice": informs(Case),
        "order_inquiry": informs(Case),
    },
    subtype="eventType|caseType|type",
    deadline=timedelta(hours=72),
)
