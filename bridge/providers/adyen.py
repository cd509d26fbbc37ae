"""Adyen: disputes and fraud notices of the merchant's own processor.

The envelope, the signature and the event codes are Adyen's own document (doc). A webhook is a batch;
each item is signed for itself, over eight of its fields. All events of one dispute have the same
pspReference. `live: "false"` is test traffic. Adyen wants `[accepted]` for an answer. Amounts are minor
units, with Adyen's own exceptions from ISO 4217. An endpoint for disputes is sent payments too; those
event codes are known and not acted on.
"""

from datetime import timedelta

from bridge import fields
from bridge.proof import AdyenItems
from bridge.provider import Acknowledgement, Provider, ignored, informs, opens, resolves

DECIMALS = {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}
"""Currencies that Adyen counts in another way than ISO 4217."""


class FraudNotice(fields.AlertSchema):
    """A report of fraud, or a question: nobody asks for a refund yet."""

    case_number = fields.Identifier(data_key="NotificationRequestItem.pspReference", required=True)
    network = fields.Word(data_key="NotificationRequestItem.paymentMethod")
    amount = fields.Money(
        data_key="NotificationRequestItem.amount.value", unit="minor", decimals=DECIMALS, required=True
    )
    currency = fields.Currency(data_key="NotificationRequestItem.amount.currency", required=True)
    happened_at = fields.Moment(data_key="NotificationRequestItem.eventDate", required=True)
    arn = fields.Identifier(data_key="NotificationRequestItem.additionalData.arn")
    external_id = fields.Identifier(data_key="NotificationRequestItem.originalReference")
    order = fields.Identifier(data_key="NotificationRequestItem.merchantReference")
    merchant_id = fields.Identifier(data_key="NotificationRequestItem.merchantAccountCode")


class Chargeback(FraudNotice):
    """A chargeback, announced or made."""

    type = fields.CHARGEBACK
    reason_code = fields.Identifier(data_key="NotificationRequestItem.additionalData.chargebackReasonCode")


class Won(Chargeback):
    """A chargeback that was decided for the merchant."""

    resolution = fields.Constant("won")


class Lost(Chargeback):
    """A chargeback that was decided for the cardholder."""

    resolution = fields.Constant("lost")


PROVIDER = Provider(
    title="Adyen",
    proof=AdyenItems(),
    items="notificationItems",
    event_id=("NotificationRequestItem.pspReference", "NotificationRequestItem.eventCode"),
    event_type="NotificationRequestItem.eventCode",
    events={
        "notification_of_fraud": informs(FraudNotice),
        "request_for_information": informs(FraudNotice),
        "notification_of_chargeback": opens(Chargeback),
        "chargeback": opens(Chargeback),
        "chargeback_reversed": resolves(Won),
        "prearbitration_won": resolves(Won),
        "second_chargeback": resolves(Lost),
        "prearbitration_lost": resolves(Lost),
        **dict.fromkeys(
            (
                "authorisation",
                "authorisation_adjustment",
                "cancellation",
                "cancel_or_refund",
                "capture",
                "capture_failed",
                "refund",
                "refund_failed",
                "refunded_reversed",
                "report_available",
            ),
            ignored,
        ),
    },
    test=("live", "false"),
    deadline=timedelta(hours=72),
    acknowledgements=(Acknowledgement("[accepted]", content_type="text/plain"),),
)
