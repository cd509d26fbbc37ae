"""The inbox: everything stored of alerts, and the two queues.

Deliveries that are not translated yet are the first queue, cases with work are the second. Both are
rows in the same database as the alerts, so nothing can get lost between "stored" and "queued".
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.settings import Settings
from bridge.storage.cases import Cases
from bridge.storage.database import Database
from bridge.storage.deliveries import Deliveries
from bridge.storage.outcomes import Outcomes, OutcomesOf
from bridge.storage.queue import Queue
from bridge.storage.slots import Slots
from bridge.storage.stores import Stores
from bridge.storage.transactions import Transactions


@dataclass(frozen=True)
class Inbox:
    """The parts of the inbox over one database."""

    database: Database
    deliveries: Deliveries
    cases: Cases
    transactions: Transactions
    stores: Stores
    slots: Slots
    queue: Queue
    outcomes: Outcomes

    def now(self) -> float:
        """Returns the time that all processes share."""
        return self.database.now()


def open_inbox(database: Database, settings: Settings) -> Inbox:
    """Returns the inbox, set up by the settings."""
    return make_inbox(database, gap=settings.gap, lease=settings.lease, outcomes_of=settings.outcomes_of)


def make_inbox(
    database: Database, *, gap: float, lease: float, outcomes_of: OutcomesOf = lambda _: {}
) -> Inbox:
    """Returns the inbox. `gap` and `lease` are seconds: between calls with one token, and of a lease.

    `outcomes_of` says which providers take the outcomes of a store's cases; none, if it is left out.
    """
    slots = Slots(database, gap)
    return Inbox(
        database=database,
        deliveries=Deliveries(database, outcomes_of),
        cases=Cases(database),
        transactions=Transactions(database),
        stores=Stores(database, lease),
        slots=slots,
        queue=Queue(database, slots, lease, outcomes_of),
        outcomes=Outcomes(database, lease, outcomes_of),
    )
