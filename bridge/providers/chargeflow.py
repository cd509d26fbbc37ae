"""Chargeflow: alerts of Ethoca and Verifi, relayed.

The events, the outcomes and the v3 envelope are Chargeflow's own document (doc: docs.chargeflow.io,
api/v3/ webhook-events, merchants/webhook-events and the public API 2025-04-01; no dates, read November
2026): `t=..., v1=...` is an HMAC-SHA256 with the whole secret. The name of its header is not in the text
that could be read: `X-Chargeflow-Signature` is inferred, and a setting. Another page shows alert events
flat, without an envelope, where `type` is the alert's kind (doc): both are taken. An envelope's own `id`
names the attempt, and every retry has another (doc). The alert's names are those of the API's example (doc);
`descriptor` and `transaction_id` stand for older versions (third party). Words of an older page, such as
`prevented` and `chargebacked`, are listed too.

RDR alerts "are automatically refunded" and tc40 ones need no answer (doc): RDR is accepted by its type,
unless the outcome says otherwise. `dispute.created` is not read, for its fields are not known: it fails
visibly.

Outcomes: "Update Alert Outcome" and "Get Alert by Id" of its public API, 2025-04-01 (doc: docs.chargeflow.io,
read November 2026), for merchants who refund themselves, and there mandatory. Taken of alerts of type `cdrn`
and `ethoca` alone, final once sent; "any duplicate submission will result in an error". That error's status
is not documented, nor that `outcome` stands at the top of what is read: so the alert is read before and after
a refusal, and a refusal that speaks of a duplicate counts as reported (inferred). `decline` and `error` say
that nothing was refunded, so only a person chooses them.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import informs, matches, opens, rapid, resolves
from bridge.providers.outcomes import HeaderKey, Outcome, Word, in_every_category
from bridge.providers.signatures import TimestampedHmac

FINALS = {
    "refunded": "issued_full_refund",
    "previously_refunded": "previously_refunded_nothing_to_do",
    "transaction_not_found": "could_not_find_order",
    **dict.fromkeys(("duplicate", "decline", "error"), "other"),
}
WORDS = (
    Word("refunded", "You refunded the payment.", refunds=True),
    Word("previously_refunded", "You had refunded the payment before the alert."),
    Word("transaction_not_found", "You cannot find the payment."),
    Word("duplicate", "It repeats another alert."),
    Word("decline", "You do not refund it. Expect a chargeback."),
    Word("error", "A refund is not possible, for another reason."),
)


class ChargeflowAlert(fields.AlertSchema):
    """An alert, in its envelope or flat, with its outcome once there is one."""

    case_number = fields.Identifier(data_key="data.id")  # never the envelope's, which names the attempt
    provider_id = fields.Identifier(data_key="data.id")
    subtype = fields.Word(data_key="data.type|type")
    category = fields.Word(
        data_key="data.reason|reason",
        values={
            "fraud": Category.FRAUD,
            **dict.fromkeys(("service", "processing", "authorization"), Category.DISPUTE),
        },
    )
    network = fields.Word(
        data_key="data.type|type",
        values={"ethoca": Network.ETHOCA, "cdrn": Network.CDRN, "rdr": Network.RDR},
    )
    event_at = fields.Moment(data_key="published_at|status_date|created_at")
    amount = fields.Money(data_key="data.amount|amount")
    currency = fields.Currency(data_key="data.currency|currency")
    transaction_amount = fields.Money(data_key="data.network_transaction.amount|network_transaction.amount")
    transaction_currency = fields.Currency(
        data_key="data.network_transaction.currency|network_transaction.currency"
    )
    happened_at = fields.Moment(data_key="data.created_at|created_at")
    transaction_at = fields.Moment(
        data_key="data.network_transaction.created_at|network_transaction.created_at"
    )
    arn = fields.Identifier(data_key="data.network_transaction.arn|network_transaction.arn")
    card_first_six = fields.FirstSix(data_key="data.network_transaction.bin|network_transaction.bin")
    card_last_four = fields.LastFour(data_key="data.network_transaction.last4|network_transaction.last4")
    auth_code = fields.Identifier(data_key="data.network_transaction.auth_code|network_transaction.auth_code")
    external_id = fields.Identifier(data_key="data.transaction_id|transaction_id")
    descriptor = fields.Text(
        data_key="data.statement_descriptor|data.descriptor|statement_descriptor|descriptor"
    )
    merchant_id = fields.Identifier(data_key="merchant_id|data.account_id|account_id")
    resolution = fields.Resolution(
        data_key="data.outcome|outcome",
        values={
            **dict.fromkeys(("refunded", "prevented"), "issued_full_refund"),
            "previously_refunded": "previously_refunded_nothing_to_do",
            **dict.fromkeys(("transaction_not_found", "not_found"), "could_not_find_order"),
            **dict.fromkeys(("duplicate", "decline", "chargebacked"), "other"),
            "error": fields.REVIEW,
            **dict.fromkeys(("pending", "acknowledged"), None),
        },
    )


class RapidResolution(ChargeflowAlert):
    """An RDR alert, which is refunded automatically."""

    network = fields.RDR
    resolution = rapid(
        "data.outcome|outcome",
        {
            "transaction_not_found": fields.NOT_FINAL,
            "error": fields.REVIEW,
            **dict.fromkeys(("prevented", "pending", "acknowledged", "duplicate"), "issued_full_refund"),
            "previously_refunded": "previously_refunded_nothing_to_do",
        },
        by_type=True,
    )
    refunded_by_gateway = fields.Constant(True)


class FlatAlert(ChargeflowAlert):
    """An alert without an envelope."""

    case_number = fields.Identifier(data_key="id")
    provider_id = fields.Identifier(data_key="id")


class FlatRapidResolution(RapidResolution):
    """An RDR alert without an envelope."""

    case_number = fields.Identifier(data_key="id")
    provider_id = fields.Identifier(data_key="id")


KINDS = {"*rdr*": RapidResolution}

PROVIDER = Provider(
    title="Chargeflow",
    proof=TimestampedHmac(header="X-Chargeflow-Signature", algorithm="sha256"),
    event_id=("event_id|id",),
    event_type="type",
    events={
        "alerts.created": opens(ChargeflowAlert, KINDS),
        "alerts.updated": resolves(ChargeflowAlert, KINDS),
        "alerts.outcome.updated": resolves(ChargeflowAlert, KINDS),
        "alerts.transaction.linked": matches(ChargeflowAlert, KINDS),
        # the flat form
        "ethoca": opens(FlatAlert),
        "cdrn": opens(FlatAlert),
        "other": opens(FlatAlert),
        "rdr": opens(FlatRapidResolution),
        "tc40": informs(FlatAlert),
        "fraud_warning": informs(FlatAlert),
    },
    subtype="data.type|type",
    inform=frozenset({"tc40", "fraud_warning"}),
    test=("livemode", "false"),
    deadline=timedelta(hours=24),
    deadlines={"rdr": timedelta(hours=72), "cdrn": timedelta(hours=72)},
    outcome=Outcome(
        url="https://api.chargeflow.io/",
        authentication=HeaderKey("x-api-key", ""),
        path="public/2025-04-01/alerts/{id}/outcome",
        body={"outcome": "{word}"},
        words=WORDS,
        table=in_every_category(
            {
                "issued_full_refund": "refunded",
                "issued_refund_for_remaining_amount": "refunded",
                "previously_refunded_nothing_to_do": "previously_refunded",
                "could_not_find_order": "transaction_not_found",
            }
        ),
        read=("public/2025-04-01/alerts/{id}", "outcome"),
        finals=FINALS,
        duplicate_error="duplicate|already",
        networks=frozenset({Network.CDRN, Network.ETHOCA}),
    ),
)
