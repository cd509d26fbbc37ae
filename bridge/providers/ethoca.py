"""Ethoca alerts (Mastercard), pushed to the merchant or pulled from its API, and their outcomes.

The classic push body, flat JSON in snake_case, is known from implementers (third party); its fields
equal those of Ethoca's SOAP description one for one. Of Mastercard Developers' API (read November 2026:
developer.mastercard.com/ethoca-alerts-for-merchants) this is known:

* doc, push-api-ref: HTTPS, mutual TLS, answered within 30 s with a `status` of `success`.
* doc, data-explanations: the types `CONFIRMEDFRAUD` and `CUSTOMERDISPUTE`, and the names alertId,
  alertType, transactionAmount (text) and dateSubmitted (a date). The other camelCase twins are inferred,
  and so are amounts as objects of `value` and `currencyCode`, which is how its outcomes have them.
* doc, pull-api-tutorial (the API was released in August 2026): `GET alerts`, which may be narrowed by
  `alert_type` and `size`, returns what is not acknowledged; `POST alerts/acknowledges` acknowledges it.
  Both are signed by OAuth 1.0a. The page pull-api-ref writes `merchant/alerts` where the tutorial and the
  specification of outcomes write `merchants/`: the plural is the default, `api_url` changes it.
* inferred: whether the alerts stand in an array or in an object around it (both are read), and the body of
  an acknowledgement, `{"acknowledges": [{"alertId", "status": "success"}]}`, and of its answer, after those
  of outcomes and of the push. `pull_acknowledgement` changes the body.

Mutual TLS ends at the platform's proxy; Basic authentication on top is usual. The zone of a
timestamp that names none is not documented: UTC, unless the setting `zone` says otherwise.

Outcomes: the Outcome API (doc: its OpenAPI 1.0.0, outcome-api-ref, code-and-formats, data-explanations and
outcome-api-tutorial, read November 2026), signed by OAuth 1.0a: the path, the names of the body, up to 25
in one call, an answer for each, the words by kind of alert, and `Recoverable`, which says whether the same
may work later. Amounts are JSON numbers; times have 25 characters at most, with a zone. The first outcome
that is final stands, and is wanted within 24 hours. No documented code says that there is one already, so
such a refusal is a person's.
The documents contradict themselves: the schema requires `refund` and `amountStopped` in every outcome,
with a value of 1 at least, but its text shows 0.34, and neither suits an outcome without a refund. So
`refund` goes with a refund. `amountStopped`, "the fraud stopped", has the same amount where the loss was
stopped whole, also of a customer's dispute, for the schema wants it; with MISSED nothing was stopped, and
how much PARTIALLY_STOPPED stopped is not known (inferred). Which word goes with which 29next resolution is
ours.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from bridge.alert import Category
from bridge.providers import fields
from bridge.providers.base import Acknowledgement, Provider
from bridge.providers.credentials import Basic
from bridge.providers.meanings import opens
from bridge.providers.outcomes import Batch, ByShipment, Outcome, Signature, Table, Word
from bridge.providers.pull import Pull

API = "https://api.ethocaweb.com/ethoca/alerts/merchants/"

fraud = partial(Word, categories=frozenset({Category.FRAUD}))
dispute = partial(Word, categories=frozenset({Category.DISPUTE}))
WORDS = (
    fraud("STOPPED/REFUNDED", "You held the whole order back and refunded it.", refunds=True, stops=True),
    fraud("STOPPED/NOT_SETTLED", "You held the whole order back before the payment was settled."),
    fraud("PARTIALLY_STOPPED/REFUNDED", "You held a part of the order back and refunded it.", refunds=True),
    fraud(
        "PREVIOUSLY_CANCELLED/REFUNDED",
        "You had refunded the order before the alert.",
        refunds=True,
        stops=True,
    ),
    fraud("PREVIOUSLY_CANCELLED/NOT_SETTLED", "The payment was canceled before it was settled."),
    fraud("MISSED/REFUNDED", "The order was shipped or used, and you refunded it.", refunds=True),
    fraud("MISSED/NOT_REFUNDED", "The order was shipped or used, and you do not refund it."),
    fraud(
        "ACCOUNT_SUSPENDED/REFUNDED",
        "You suspended the account and refunded the order.",
        refunds=True,
        stops=True,
    ),
    fraud("ACCOUNT_SUSPENDED/NOT_REFUNDED", "You suspended the account and do not refund the order."),
    dispute("RESOLVED/REFUNDED", "You refunded the payment.", refunds=True, stops=True),
    dispute("RESOLVED/NOT_REFUNDED", "You settled it with the customer without a refund."),
    dispute("RESOLVED/NOT_SETTLED", "The payment was never settled. There is nothing to refund."),
    dispute(
        "RESOLVED_PREVIOUSLY_REFUNDED/REFUNDED",
        "You had refunded the payment before the alert.",
        refunds=True,
        stops=True,
    ),
    dispute("UNRESOLVED_DISPUTE/NOT_REFUNDED", "You disagree with the dispute, and do not refund it."),
    Word("NOT_FOUND/NOT_REFUNDED", "You cannot find the payment."),
    Word(
        "OTHER/REFUNDED",
        "Something else, with a reason. You refunded the payment.",
        refunds=True,
        stops=True,
        explains=True,
    ),
    Word(
        "OTHER/NOT_REFUNDED", "Something else, with a reason. You do not refund the payment.", explains=True
    ),
    Word("OTHER/NOT_SETTLED", "Something else, with a reason. The payment was never settled.", explains=True),
)
"""Mastercard's outcomes (doc), each with what became of the money."""
STOPPED = ByShipment("STOPPED/REFUNDED", "PARTIALLY_STOPPED/REFUNDED", "MISSED/REFUNDED")
TABLE: Mapping[Category, Table] = {
    Category.FRAUD: {
        "issued_full_refund": STOPPED,
        "issued_refund_for_remaining_amount": STOPPED,
        "previously_refunded_nothing_to_do": "PREVIOUSLY_CANCELLED/REFUNDED",
        "could_not_find_order": "NOT_FOUND/NOT_REFUNDED",
        "declined_or_canceled_nothing_to_do": "PREVIOUSLY_CANCELLED/NOT_SETTLED",
        "3ds_authorized_successfully": "OTHER/NOT_REFUNDED",
        "unable_to_refund_merchant_account_closed": "OTHER/NOT_REFUNDED",
    },
    Category.DISPUTE: {
        "issued_full_refund": "RESOLVED/REFUNDED",
        "issued_refund_for_remaining_amount": "RESOLVED/REFUNDED",
        "previously_refunded_nothing_to_do": "RESOLVED_PREVIOUSLY_REFUNDED/REFUNDED",
        "could_not_find_order": "NOT_FOUND/NOT_REFUNDED",
        "declined_or_canceled_nothing_to_do": "RESOLVED/NOT_SETTLED",
        "3ds_authorized_successfully": "UNRESOLVED_DISPUTE/NOT_REFUNDED",
        "unable_to_refund_merchant_account_closed": "UNRESOLVED_DISPUTE/NOT_REFUNDED",
    },
}
"""An alert that is not known to be fraud or a dispute has no word: a person chooses."""


class EthocaAlert(fields.AlertSchema):
    """An alert of any of Ethoca's types; the chargeback's amount is the disputed one."""

    case_number = fields.Identifier(data_key="ethoca_id|alertId")
    provider_id = fields.Identifier(data_key="ethoca_id|alertId")
    subtype = fields.Word(data_key="type|alertType")
    category = fields.Word(
        data_key="type|alertType",
        values={
            **dict.fromkeys(("issuer_alert", "fraudreporter_alert", "CONFIRMEDFRAUD"), Category.FRAUD),
            **dict.fromkeys(("customerdispute_alert", "CUSTOMERDISPUTE"), Category.DISPUTE),
        },
    )
    network = fields.ETHOCA
    event_at = fields.Moment(data_key="alert_timestamp|alertTimestamp|dateSubmitted")
    amount = fields.Money(data_key="chargeback_amount|chargebackAmount.value|chargebackAmount")
    currency = fields.Currency(
        data_key="chargeback_currency|chargebackAmount.currencyCode|chargebackCurrency"
    )
    transaction_amount = fields.Money(data_key="amount|transactionAmount.value|transactionAmount")
    transaction_currency = fields.Currency(
        data_key="currency|transactionAmount.currencyCode|transactionCurrency"
    )
    happened_at = fields.Moment(data_key="alert_timestamp|alertTimestamp|dateSubmitted")
    transaction_at = fields.Moment(data_key="transaction_timestamp|transactionTimestamp")
    card = fields.Card(data_key="card_number|cardNumber")
    card_first_six = fields.FirstSix(data_key="card_bin|cardBin")
    card_last_four = fields.LastFour(data_key="card_last4|cardLast4")
    arn = fields.Identifier(data_key="arn")
    auth_code = fields.Identifier(data_key="auth_code|authCode")
    network_transaction_id = fields.Identifier(data_key="transaction_id|transactionId")
    descriptor = fields.Text(data_key="merchant_descriptor|merchantDescriptor")
    member_id = fields.Identifier(data_key="member_id|memberId")
    reason_code = fields.Code(data_key="chargeback_reason_code|chargebackReasonCode")


PROVIDER = Provider(
    title="Ethoca",
    proof=Basic(),
    oauth=True,
    pull=Pull(
        url=API,
        path="alerts",
        acknowledge="alerts/acknowledges",
        acknowledgement={"acknowledges": [{"alertId": "{id}", "status": "success"}]},
    ),
    event_id=("ethoca_id|alertId",),
    event_type="type|alertType",
    events={
        "issuer_alert": opens(EthocaAlert),
        "fraudreporter_alert": opens(EthocaAlert),
        "customerdispute_alert": opens(EthocaAlert),
        "confirmedfraud": opens(EthocaAlert),
        "customerdispute": opens(EthocaAlert),
    },
    deadline=timedelta(hours=24),
    acknowledgements=(
        Acknowledgement('{"status": "received"}', echo=("ethoca_id",), when="ethoca_id"),
        Acknowledgement('{"status": "success"}'),
    ),
    outcome=Outcome(
        url=API,
        authentication=Signature(),
        path="outcomes",
        body={
            "alertId": "{id}",
            "outcome": "{word}",
            "refundStatus": "{status}",
            "refund": {
                "amount": {"value": "{refund_amount}", "currencyCode": "{refund_currency}"},
                "type": "REFUND",
                "timestamp": "{refund_at}",
                "transactionId": "{refund_id}",
            },
            "amountStopped": {"value": "{stopped_amount}", "currencyCode": "{stopped_currency}"},
            "comments": "{comment}",
            "actionTimestamp": "{at}",
        },
        words=WORDS,
        table=TABLE,
        batch=Batch(
            items="outcomes",
            most=25,
            answers="outcomeResponses",
            id="alertId",
            status="status",
            taken="SUCCESS",
            errors="errors.Error|errors.Errors.Error|errors",
            call_errors="Errors.Error",
            again="Recoverable",
            says=("ReasonCode", "Description"),
        ),
    ),
)
