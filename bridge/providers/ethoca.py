"""Ethoca alerts (Mastercard), pushed to the merchant.

The classic push body, flat JSON in snake_case, is known from implementers (third party); its fields
equal those of Ethoca's SOAP description one for one. Of Mastercard Developers' push (read November 2026:
developer.mastercard.com/ethoca-alerts-for-merchants, push-api-ref and data-explanations) the transport is
known (HTTPS, mutual TLS, answered within 30 s with a `status` of `success`), the types `CONFIRMEDFRAUD`
and `CUSTOMERDISPUTE`, and the names alertId, alertType, transactionAmount (text) and dateSubmitted (doc);
the other camelCase twins below are inferred.

Mutual TLS ends at the platform's proxy; Basic authentication on top is usual. The zone of a
timestamp that names none is not documented: UTC, unless the setting `zone` says otherwise.
"""

from datetime import timedelta

from bridge.alert import Category
from bridge.providers import fields
from bridge.providers.base import Acknowledgement, Provider
from bridge.providers.meanings import opens
from bridge.providers.proof import Basic


class EthocaAlert(fields.AlertSchema):
    """An alert of any of Ethoca's types; the chargeback's amount is the disputed one."""

    case_number = fields.Identifier(data_key="ethoca_id|alertId")
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
    amount = fields.Money(data_key="chargeback_amount|chargebackAmount")
    currency = fields.Currency(data_key="chargeback_currency|chargebackCurrency")
    transaction_amount = fields.Money(data_key="amount|transactionAmount")
    transaction_currency = fields.Currency(data_key="currency|transactionCurrency")
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
)
