"""29next's own webhooks: they feed the local index of transactions and keep cases current.

The envelope and the signature are documented by 29next (doc): JSON `{object, data, event_id,
event_type, webhook: {id, store, ...}}`, answered with 200. The signature is a hex HMAC-SHA256 over the
body as Python's `json.dumps` writes it again (their published example); one over the raw bytes is
accepted as well. None of the events carries a time of change.
"""

from bridge.proof import Resigned
from bridge.provider import Provider, informs

PROVIDER = Provider(
    title="29next",
    proof=Resigned(header="X-29Next-Signature"),
    event_id=("event_id",),
    event_type="event_type",
    events={
        "transaction.created": informs(),
        "transaction.updated": informs(),
        "dispute.created": informs(),
        "dispute.updated": informs(),
    },
    tells="data",
    store="webhook.store",
    variable="NEXT_WEBHOOK_SECRET",
)
