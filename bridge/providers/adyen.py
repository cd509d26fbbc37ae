"""Adyen: disputes and fraud notices of the merchant's own processor.

The envelope, the signature, the event codes and their dispute statuses are Adyen's own document (doc:
docs.adyen.com, dispute-notifications, webhook-types and api-explorer/Webhooks, copies of 2026-09-15). A
webhook is a batch; each item is signed for itself, over eight of its fields. `live: "false"` is test
traffic. Adyen wants `[accepted]` for an answer. Amounts are minor units, with Adyen's own exceptions from
ISO 4217. An endpoint for disputes is sent payments too: codes that are about no dispute are ignored.

All events of one dispute have the same pspReference, provided that the setting "Include the
originalReference for CHARGEBACK_REVERSED events" is on. Without it a result carries the payment's
pspReference and no originalReference (doc): it opens nothing then, and fails visibly.

A later result replaces an earlier one (a second chargeback, an arbitration). CHARGEBACK_REVERSED is won
only where its status says so or is missing; Pending is not final. That a closed defence period is lost
whatever its status but Accepted, and CHARGEBACK with Lost or Accepted is final, is inferred. Visa's RDR
(`rapidDisputeResolution`, an optional setting) is not read: the form of its value is not documented.
"""

from datetime import timedelta

from bridge.alert import Category
from bridge.providers import fields
from bridge.providers.base import Acknowledgement, Provider
from bridge.providers.meanings import ends, ignored, informs, opens, resolves
from bridge.providers.signatures import AdyenItems

DECIMALS = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}
"""Currencies that Adyen counts in another way than ISO 4217 (currency-codes, 2025-09-05)."""
PAYMENT = "NotificationRequestItem.originalReference"
STATUS = "NotificationRequestItem.additionalData.disputeStatus"
OPEN = dict.fromkeys(("Undefended", "Pending", "Responded", "Unresponded", "Expired"))


class FraudNotice(fields.AlertSchema):
    """A report of fraud."""

    case_number = fields.Identifier(data_key="NotificationRequestItem.pspReference")
    category = fields.FRAUD
    event_at = fields.Moment(data_key="NotificationRequestItem.eventDate")
    amount = fields.Money(data_key="NotificationRequestItem.amount.value", unit="minor", decimals=DECIMALS)
    currency = fields.Currency(data_key="NotificationRequestItem.amount.currency")
    happened_at = fields.Moment(data_key="NotificationRequestItem.eventDate")
    arn = fields.Identifier(data_key="NotificationRequestItem.additionalData.arn")
    external_id = fields.Identifier(data_key=PAYMENT)
    order = fields.Identifier(data_key="NotificationRequestItem.merchantReference")
    merchant_id = fields.Identifier(data_key="NotificationRequestItem.merchantAccountCode")
    reason_code = fields.Code(
        data_key="NotificationRequestItem.additionalData.chargebackReasonCode"
        "|NotificationRequestItem.additionalData.nofReasonCode"
        "|NotificationRequestItem.additionalData.rfiReasonCode"
    )


class Question(FraudNotice):
    """An issuer's question, or a step of a dispute that decides nothing."""

    category = fields.Word(  # the networks' codes for fraud: inferred
        data_key="NotificationRequestItem.additionalData.chargebackReasonCode",
        values=dict.fromkeys(("10.*", "4837", "4863", "4870", "4871"), Category.FRAUD),
    )


class Chargeback(Question):
    """A chargeback, announced or made."""

    type = fields.CHARGEBACK
    resolution = fields.Resolution(data_key=STATUS, values={**OPEN, "Lost": "lost", "Accepted": "accepted"})


class Result(Chargeback):
    """The result of a chargeback; without its payment's reference it opens none."""

    amount = fields.Money(
        data_key="NotificationRequestItem.amount.value", unit="minor", decimals=DECIMALS, beside=PAYMENT
    )
    currency = fields.Currency(data_key="NotificationRequestItem.amount.currency", beside=PAYMENT)


class Reversed(Result):
    """A chargeback that was taken back, for now or for good."""

    resolution = fields.Resolution(
        data_key=STATUS, values={"Won": "won", "Pending": None}, load_default="won"
    )


class Withdrawn(Result):
    """A pre-arbitration that the issuer took back."""

    resolution = fields.Resolution(data_key=STATUS, values={"Won": "won", "Pending": None})


class DefenseEnded(Result):
    """A chargeback that can be defended no longer."""

    resolution = fields.Resolution(
        data_key=STATUS,
        values={"Accepted": "accepted", **dict.fromkeys(("Lost", *OPEN), "lost")},
        load_default="lost",
    )


class ArbitrationAccepted(Result):
    """A pre-arbitration that the merchant accepted."""

    resolution = fields.Resolution(data_key=STATUS, values={"Lost": "lost", "Pending": None})


WON, LOST = ends(Result, "won"), ends(Result, "lost")

PROVIDER = Provider(
    title="Adyen",
    proof=AdyenItems(),
    items="notificationItems",
    event_id=("NotificationRequestItem.pspReference", "NotificationRequestItem.eventCode"),
    event_type="NotificationRequestItem.eventCode",
    events={
        "notification_of_fraud": informs(FraudNotice),
        "request_for_information": informs(Question),
        "information_supplied": informs(Question),
        "issuer_comments": informs(Question),
        "prearbitration_open": informs(Question),
        "prearbitration_declined": informs(Question),
        "scheme_arbitration": informs(Question),
        "notification_of_chargeback": opens(Chargeback),
        "chargeback": opens(Chargeback),
        "dispute_opened_with_chargeback": opens(Chargeback),
        "chargeback_reversed": resolves(Reversed),
        "prearbitration_issuer_withdrawn": resolves(Withdrawn),
        "prearbitration_accepted": resolves(ArbitrationAccepted),
        "prearbitration_won": WON,
        "scheme_arbitration_won": WON,
        "issuer_response_timeframe_expired": WON,
        "dispute_defense_period_ended": resolves(DefenseEnded),
        "second_chargeback": LOST,
        "prearbitration_lost": LOST,
        "scheme_arbitration_lost": LOST,
        "ach_notification_of_change": ignored,  # about a bank account
        "notificationtest": ignored,
    },
    about=(
        "*chargeback*",
        "*dispute*",
        "*arbitration*",
        "*notification_of*",
        "*information*",
        "*issuer_response*",
    ),
    test=("live", "false"),
    deadline=timedelta(hours=72),
    acknowledgements=(Acknowledgement("[accepted]", content_type="text/plain"),),
)
