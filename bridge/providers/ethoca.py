"""Ethoca alerts (Mastercard), pushed to the merchant or pulled from its API.

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
"""

from datetime import timedelta

from bridge.alert import Category
from bridge.providers import fields
from bridge.providers.base import Acknowledgement, Provider
from bridge.providers.meanings import opens
from bridge.providers.proof import Basic
from bridge.providers.pull import Pull

API = "https://api.ethocaweb.com/ethoca/alerts/merchants/"


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
    amount = fields.Money(data_key="chargeback_amount|chargebackAmount.value|chargebackAmount")
    currency = fields.Currency(
        data_key="chargeback_currency|chargebackCurrency|chargebackAmount.currencyCode"
    )
    transaction_amount = fields.Money(data_key="amount|transactionAmount.value|transactionAmount")
    transaction_currency = fields.Currency(
        data_key="currency|transactionCurrency|transactionAmount.currencyCode"
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
)
