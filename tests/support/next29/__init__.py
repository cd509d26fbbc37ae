"""The stand-in for 29next: a pretend Admin API over HTTP, with faults, and a ledger of what was really done.

It serves the Admin API's disputes, transactions, store and webhooks below any prefix that ends in
/api/admin/, installs apps below /oauth2/, keeps a ledger of what was asked and of what was really
done, and lets faults happen.
What in it is 29next's documented behaviour and what is assumed stands in `store` for the rules and
in `server` for the way in; `tests/unit/test_stand_in.py` holds it to 29next's documents. Standard library
only, nothing of the bridge, and bound to this machine. `bridge sandbox` is the product's own, and another.
"""

from tests.support.next29.faults import FAULTS, Does, Fault, Faults, fault
from tests.support.next29.ledger import Call, Commit, Ledger
from tests.support.next29.oauth import CLIENT_ID, CLIENT_SECRET
from tests.support.next29.samples import SAMPLE_TRANSACTIONS
from tests.support.next29.server import STORE, TOKEN, VERSIONS, StandIn, serve
from tests.support.next29.store import TRANSACTION_FACTS, Store

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
    "StandIn",
    "Store",
    "fault",
    "serve",
]
