"""Checkout.com: disputes of the merchant's own processor.

The events, the bodies and the signature are Checkout.com's own document (doc: checkout.com/docs, event
types `dispute_*` and "configure your webhook server", no dates; "calculating the amount", 2025-12-17;
read November 2026). Amounts are minor units as in ISO 4217, but CLP has two decimals there. Older bodies
have neither amount nor currency, and `reference` and `created_on` for newer names (doc).
`dispute_resolved` (refunded before, or settled by Visa's RDR) is neither won nor lost: it is noted. That
a canceled dispute is won, and an expired one lost, is inferred from the descriptions. Nothing marks test
traffic, which comes from an account of its own.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import ends, informs, opens, resolves
from bridge.providers.signatures import Hmac

DECIMALS = {"CLP": 2}


class Dispute(fields.AlertSchema):
    """A chargeback."""

    type = fields.CHARGEBACK
    case_number = fields.Identifier(data_key="data.id")
    subtype = fields.Word(data_key="data.category")
    category = fields.Word(
        data_key="data.category",
        values={
            "fraudulent": Category.FRAUD,
            **dict.fromkeys(("general", "unrecognized"), Category.UNKNOWN),
            "*": Category.DISPUTE,
        },
    )
    network = fields.Word(data_key="data.resolved_reason", values={"rapid_dispute_resolution": Network.RDR})
    event_at = fields.Moment(data_key="timestamp|created_on")
    amount = fields.Money(data_key="data.amount", unit="minor", decimals=DECIMALS)
    currency = fields.Currency(data_key="data.currency")
    happened_at = fields.Moment(data_key="data.date")
    external_id = fields.Identifier(data_key="data.payment_id")
    order = fields.Identifier(data_key="data.payment_reference|data.reference")
    merchant_id = fields.Identifier(data_key="data.entity_id|data.client_id")
    mid = fields.Identifier(data_key="data.processing_channel_id")
    reason_code = fields.Code(data_key="data.reason_code")


class Settled(Dispute):
    """A dispute that ended without a decision."""

    resolution = fields.Resolution(
        data_key="data.resolved_reason",
        values=dict.fromkeys(
            ("rapid_dispute_resolution", "already_refunded", "negative_amount"), fields.NOTE
        ),
        load_default=fields.ProviderOutcome("dispute_resolved", listed=True, ours=fields.NOTE),
    )


WON, LOST = ends(Dispute, "won"), ends(Dispute, "lost")

PROVIDER = Provider(
    title="Checkout.com",
    proof=Hmac(header="Cko-Signature", algorithm="sha256", encoding="hex"),
    event_id=("id",),
    event_type="type",
    events={
        "dispute_received": opens(Dispute),
        "dispute_evidence_required": opens(Dispute),
        "dispute_won": WON,
        "dispute_canceled": WON,
        "dispute_arbitration_won": WON,
        "dispute_lost": LOST,
        "dispute_expired": LOST,
        "dispute_arbitration_lost": LOST,
        "dispute_accepted": ends(Dispute, "accepted"),
        "dispute_resolved": resolves(Settled),
        "dispute_evidence_submitted": informs(Dispute),
        "dispute_evidence_acknowledged_by_scheme": informs(Dispute),
        "dispute_arbitration_evidence_submitted": informs(Dispute),
        "dispute_arbitration_sent_to_scheme": informs(Dispute),
        "request_for_information_received": informs(),
        "fraud_reported": informs(),
    },
    about=("dispute*", "request_for_information*", "fraud*"),
    deadline=timedelta(hours=72),
)
