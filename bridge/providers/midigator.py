"""Midigator (Kount): preventions, RDR cases and chargebacks.

The list of events is Midigator's own (doc: docs.midigator.com/api/events, four stored versions without
dates, read November 2026); the bodies are known from implementers (third party): flat JSON, HTTP Basic
with the credentials given at subscription. A chargeback's result comes bare in their samples, and again
whenever it changes (doc): the later one replaces the earlier. Amounts are decimal in the samples; one
implementer stores integers, hence the setting `amount_unit`. RDR cases say whether they were accepted.

Outcomes: the Prevention and Authentication APIs, version 1.0 (doc, docs.midigator.com/api/prevention and
/api/auth): a long-lived API secret is exchanged for a short-lived token. That the token stands in
`token` is known from two implementers (third party). No call that is documented reads a prevention back,
so a call whose answer did not come is repeated; what a repeat is answered is not documented. RDR cases
and chargebacks have no such call.
"""

from datetime import timedelta

from bridge.alert import Category, Network
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.credentials import Basic
from bridge.providers.meanings import ignored, informs, matches, opens, rapid, resolves
from bridge.providers.outcomes import Login, Outcome, Word, in_every_category

SAYS = {
    "could_not_find_order": "No order fits the alert.",
    "declined_or_canceled_nothing_to_do": "The payment was declined or canceled. There is nothing to refund.",
    "issued_full_refund": "You refunded the payment.",
    "issued_refund_for_remaining_amount": "You refunded what was left of the payment.",
    "3ds_authorized_successfully": "The payment was authenticated by 3-D Secure. You do not refund it.",
    "previously_refunded_nothing_to_do": "You had refunded the payment before the alert.",
    "unable_to_refund_merchant_account_closed": "The merchant account is closed. A refund is not possible.",
}
WORDS = (
    *(Word(name, says, fills={"comment": ""}) for name, says in SAYS.items()),
    Word("other", "Something else, with your reason at 29next.", explains=True),
)
"""29next's own resolutions."""


class Prevention(fields.AlertSchema):
    """A prevention alert of Ethoca, Verifi or, as `tc40`, a report that only informs."""

    case_number = fields.Identifier(data_key="prevention_case_number")
    provider_id = fields.Identifier(data_key="prevention_guid")
    subtype = fields.Word(data_key="prevention_type")
    category = fields.Word(data_key="prevention_type", values={"tc40": Category.FRAUD})
    network = fields.Word(
        data_key="prevention_type",
        values={"ethoca": Network.ETHOCA, "verifi": Network.CDRN, "rdr": Network.RDR},
    )
    event_at = fields.Moment(data_key="event_timestamp")
    amount = fields.Money(data_key="amount")
    currency = fields.Currency(data_key="currency")
    happened_at = fields.Moment(data_key="prevention_timestamp")
    transaction_at = fields.Moment(data_key="transaction_timestamp")
    arn = fields.Identifier(data_key="arn")
    card_first_six = fields.FirstSix(data_key="card_first_6")
    card_last_four = fields.LastFour(data_key="card_last_4")
    order = fields.Identifier(data_key="order_id")
    descriptor = fields.Text(data_key="merchant_descriptor")
    mid = fields.Identifier(data_key="mid")


class RapidResolution(fields.AlertSchema):
    """An RDR case; where it was accepted, the gateway has refunded already."""

    case_number = fields.Identifier(data_key="rdr_case_number")
    subtype = fields.Constant("rdr")
    network = fields.RDR
    event_at = fields.Moment(data_key="event_timestamp")
    amount = fields.Money(data_key="amount")
    currency = fields.Currency(data_key="currency")
    happened_at = fields.Moment(data_key="rdr_date")
    transaction_at = fields.Moment(data_key="transaction_date")
    arn = fields.Identifier(data_key="arn")
    card_first_six = fields.FirstSix(data_key="card_first_6")
    card_last_four = fields.LastFour(data_key="card_last_4")
    auth_code = fields.Identifier(data_key="auth_code")
    order = fields.Identifier(data_key="order_id")
    descriptor = fields.Text(data_key="merchant_descriptor")
    resolution = rapid("rdr_resolution")
    refunded_by_gateway = fields.Constant(True)


class Chargeback(fields.AlertSchema):
    """A chargeback; `result` and `dnf` (did not fight) end it."""

    type = fields.CHARGEBACK
    case_number = fields.Identifier(data_key="case_number")
    event_at = fields.Moment(data_key="event_timestamp")
    amount = fields.Money(data_key="amount")
    currency = fields.Currency(data_key="currency")
    happened_at = fields.Moment(data_key="chargeback_date")
    transaction_at = fields.Moment(data_key="processor_transaction_date")
    arn = fields.Identifier(data_key="arn")
    card_first_six = fields.FirstSix(data_key="card_first_6")
    card_last_four = fields.LastFour(data_key="card_last_4")
    auth_code = fields.Identifier(data_key="auth_code")
    external_id = fields.Identifier(data_key="processor_transaction_id")
    order = fields.Identifier(data_key="order_id|alternate_transaction_id")
    descriptor = fields.Text(data_key="merchant_descriptor")
    mid = fields.Identifier(data_key="mid")
    reason_code = fields.Code(data_key="reason_code")


class ChargebackResult(Chargeback):
    """A chargeback's result; pre-arbitration keeps it open."""

    resolution = fields.Resolution(
        data_key="result",
        required=True,
        values={
            **dict.fromkeys(("won", "win"), "won"),
            **dict.fromkeys(("lost", "loss"), "lost"),
            **dict.fromkeys(("pre_arbitration", "pre-arb", "pending"), None),
        },
    )


class NotFought(Chargeback):
    """A chargeback that the merchant did not fight."""

    resolution = fields.Constant("accepted")
    message = fields.Text(data_key="dnf_reason")


PROVIDER = Provider(
    title="Midigator",
    proof=Basic(),
    event_id=("event_guid",),
    event_type="event_type",
    events={
        "prevention.new": opens(Prevention),
        "prevention.match": matches(Prevention),
        "rdr.new": opens(RapidResolution),
        "rdr.match": matches(RapidResolution),
        "chargeback.new": opens(Chargeback),
        "chargeback.match": matches(Chargeback),
        "chargeback.result": resolves(ChargebackResult),
        "chargeback.dnf": resolves(NotFought),
        "chargeback.responded": informs(Chargeback),
        "chargeback.error": informs(Chargeback),
        "order_validation.new": informs(),
        "order_validation.match": informs(),
        "registration.new": ignored,
    },
    unrelated=("order.*",),
    subtype="prevention_type",
    inform=frozenset({"tc40"}),
    deadline=timedelta(hours=72),
    deadlines={"ethoca": timedelta(hours=24)},
    outcome=Outcome(
        url="https://api.midigator.com/",
        authentication=Login("auth/v1/auth"),
        path="prevention/v1/prevention/{id}/resolution",
        body={"resolution_type": "{word}", "other_description": "{comment}"},
        words=WORDS,
        table=in_every_category({word.name: word.name for word in WORDS}),
    ),
)
