"""NMI: chargebacks of the merchant's gateway, a day's batch in one webhook.

NMI's pages on webhooks are behind a login. The body is its published example, as an implementer keeps it,
and the signature is what ten implementers verify alike (third party, read November 2026): `t` is a nonce
and no time, so that its age cannot be checked. Dates are `MM/DD/YYYY`, not always padded; cards come
masked; there is no currency: USD, unless `[providers.nmi.fields] currency = { value = "EUR" }` says
otherwise. No event has a result. White labels of NMI send the same.
"""

from datetime import timedelta

from bridge.alert import Category
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import opens
from bridge.providers.signatures import Hmac


class Chargeback(fields.AlertSchema):
    """One entry of a batch."""

    type = fields.CHARGEBACK
    case_number = fields.Identifier(data_key="id")
    category = fields.Word(data_key="reason", values={"*fraud*": Category.FRAUD})
    amount = fields.Money(data_key="amount")
    currency = fields.Currency(data_key="currency", load_default="USD")
    happened_at = fields.Moment(data_key="date", format="%m/%d/%Y")
    card = fields.Card(data_key="cc_number")
    merchant_id = fields.Identifier(data_key="event_body.merchant.id")
    mid = fields.Identifier(data_key="event_body.processor.id")
    reason_code = fields.Code(data_key="reason")


PROVIDER = Provider(
    title="NMI",
    proof=Hmac(header="Webhook-Signature", parse="t=,s=", signed="{timestamp}.{body}"),
    items="event_body.chargebacks",
    event_id=("event_id", "id"),
    event_type="event_type",
    events={"chargeback.batch.complete": opens(Chargeback)},
    about=("chargeback*",),
    deadline=timedelta(hours=72),
)
