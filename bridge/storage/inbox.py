"""The inbox: everything stored of alerts, and the two queues.

Deliveries that are not translated yet are the first queue, cases with work are the second. Both are
rows in the same database as the alerts, so nothing can get lost between "stored" and "queued".
"""

from __future__ import annotations

from bridge.settings import Settings
from bridge.storage.cases import Cases
from bridge.storage.database import Database
from bridge.storage.deliveries import Deliveries
from bridge.storage.outcomes import Outcomes, OutcomesOf
from bridge.storage.queue import Queue
from bridge.storage.slots import Slots
from bridge.storage.stores import Stores
from bridge.storage.transactions import Transactions


class Inbox:
    """The parts of the inbox over one database.

    `gap` and `lease` are seconds: between two calls with one token, and of a lease.
    """

    def __init__(
        self, database: Database, *, gap: float, lease: float, outcomes_of: OutcomesOf = lambda _: {}
    ) -> None:
        self.database = database
        self.now = database.now
        self.deliveries = Deliveries(database, outcomes_of)
        self.cases = Cases(database)
        self.transactions = Transactions(database)
        self.stores = Stores(database, lease)
        self.slots = Slots(database, gap)
        self.queue = Queue(database, self.slots, lease, outcomes_of)
        self.outcomes = Outcomes(database, lease, outcomes_of)


def open_inbox(database: Database, settings: Settings) -> Inbox:
    """Returns the inbox, set up by the settings."""
    return Inbox(database, gap=settings.gap, lease=settings.lease, outcomes_of=settings.outcomes_of)
