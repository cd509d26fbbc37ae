"""The inbox: all that is stored of alerts, and the two queues that they are worked off by.

Deliveries that nobody has translated yet are the first queue, cases with work the second. Both are
rows in the same database as the alerts, so nothing can fall between "stored" and "queued".
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from bridge.storage.cases import Cases
from bridge.storage.deliveries import Deliveries
from bridge.storage.outcomes import Outcomes
from bridge.storage.queue import Queue
from bridge.storage.slots import Slots
from bridge.storage.stores import Stores
from bridge.storage.transactions import Transactions

if typing.TYPE_CHECKING:
    from bridge.settings import Settings
    from bridge.storage.database import Database
    from bridge.storage.outcomes import Told


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
        """Return the time that all processes share."""
        return self.database.now()


def open_inbox(database: Database, settings: Settings) -> Inbox:
    """Return the inbox as the settings want it."""
    return make_inbox(database, gap=settings.gap, lease=settings.lease, told=settings.outcomes_of)


def make_inbox(database: Database, *, gap: float, lease: float, told: Told = lambda _: {}) -> Inbox:
    """Return the inbox: seconds between calls with one token, and for which a case is leased.

    `told` says whom the outcomes of a store's cases are told; nobody, if it is left out.
    """
    slots = Slots(database, gap)
    return Inbox(
        database=database,
        deliveries=Deliveries(database, told),
        cases=Cases(database),
        transactions=Transactions(database),
        stores=Stores(database, lease),
        slots=slots,
        queue=Queue(database, slots, lease, told),
        outcomes=Outcomes(database, lease, told),
    )
