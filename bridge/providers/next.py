"""29next's own webhooks: they feed the local index of transactions and keep cases current.

The envelope and the signature are documented by 29next (doc): JSON `{object, data, event_id,
event_type, webhook: {id, store, ...}}`, answered with 200. The signature is a hex HMAC-SHA256 over the
body as Python's `json.dumps` writes it again (their published example); one over the raw bytes is
accepted as well. None of the events carries a time of change.

Of a transaction 29next sends who bought, and where they live: of that nothing is kept.
"""

from bridge.alert import DisputeType
from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.meanings import informs
from bridge.providers.signatures import NextSignature

ENVELOPE = ("object", "event_id", "event_type", "api_version", "webhook.id", "webhook.store")
OF_BOTH = ("id", "type", "status", "amount", "currency", "order", "date_created")
OF_A_DISPUTE = (
    "case_number",
    "arn",
    "transaction",
    "resolution",
    "resolution_other_message",
    "happened_at",
)
OF_A_TRANSACTION = (
    "auth_code",
    "external_id",
    "is_disputed",
    "is_external",
    "is_test",
    "network_transaction_id",
    "parent_id",
    "payment_details.bankcard_first_six",
    "payment_details.bankcard_last_four",
    "payment_details.gateway",
    "payment_details.is_3ds",
    "payment_method",
    "statement_descriptor",
)


class Dispute(fields.AlertSchema):
    """A dispute as 29next sends it."""

    case_number = fields.Identifier(data_key="data.case_number")
    type = fields.Word(data_key="data.type", values={kind.value: kind for kind in DisputeType})
    amount = fields.Money(data_key="data.amount")
    currency = fields.Currency(data_key="data.currency")
    arn = fields.Identifier(data_key="data.arn")


class Transaction(fields.AlertSchema):
    """A transaction is no alert. Its table names the identifiers, which are never cut as card numbers."""

    case_number = fields.Identifier(data_key="data.case_number")
    auth_code = fields.Identifier(data_key="data.auth_code")
    network_transaction_id = fields.Identifier(data_key="data.network_transaction_id")
    external_id = fields.Identifier(data_key="data.external_id")
    order = fields.Identifier(data_key="data.order")


PROVIDER = Provider(
    title="29next",
    proof=NextSignature(header="X-29Next-Signature"),
    event_id=("event_id",),
    event_type="event_type",
    events={
        "transaction.created": informs(Transaction),
        "transaction.updated": informs(Transaction),
        "dispute.created": informs(Dispute),
        "dispute.updated": informs(Dispute),
        "app.uninstalled": informs(),
    },
    keeps=frozenset((*ENVELOPE, *(f"data.{name}" for name in (*OF_BOTH, *OF_A_DISPUTE, *OF_A_TRANSACTION)))),
    object_path="data",
    store="webhook.store",
    variable="NEXT_WEBHOOK_SECRET",
)
