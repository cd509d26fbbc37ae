"""The sandbox store: a pretend 29next over HTTP, for newcomers (`bridge sandbox`) and for tests.

It serves the Admin API's disputes, transactions, store and webhooks below any prefix that ends in
/api/admin/, installs apps below /oauth2/, keeps a ledger of what was asked and of what was really
done, and lets faults happen.
What in it is 29next's documented behaviour and what is assumed stands in `store` for the rules and
in `server` for the way in. Standard library only, nothing of the rest of the bridge, and bound to
this machine unless told otherwise: its tokens and transactions are made up.
"""

from bridge.sandbox.faults import FAULTS, Does, Fault, Faults, fault
from bridge.sandbox.ledger import Call, Commit, Ledger
from bridge.sandbox.oauth import CLIENT_ID, CLIENT_SECRET
from bridge.sandbox.samples import SAMPLE_TRANSACTIONS
from bridge.sandbox.server import STORE, TOKEN, VERSIONS, Sandbox, serve
from bridge.sandbox.store import TRANSACTION_FACTS, Store

__all__ = [
    "CLIENT_ID",
    "CLIENT_SECRET",
    "FAULTS",
    "SAMPLE_TRANSACTIONS",
    "STORE",
    "TOKEN",
    "TRANSACTION_FACTS",
    "VERSIONS",
    "Call",
    "Commit",
    "Does",
    "Fault",
    "Faults",
    "Ledger",
    "Sandbox",
    "Store",
    "fault",
    "serve",
]
