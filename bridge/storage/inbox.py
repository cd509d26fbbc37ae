"""The inbox: what is owed, and the two queues that it is worked off by. Every write of the bridge.

Deliveries that nobody has translated yet are the first queue, cases with work the second. Both are
rows in the same database as the alerts, so nothing can fall between "stored" and "queued".
"""

from bridge.storage.deliveries import Receiving
from bridge.storage.queue import LONGEST_LEAD, PROBE_SECONDS, Forwarding, Settlement
from bridge.storage.rows import ALPHABET, Claim, Delivery, Ending, Owed, Verdict, new_id, token_key
from bridge.storage.slots import BY_HAND, TOO_OLD, Pace
from bridge.storage.translating import Translating

__all__ = [
    "ALPHABET",
    "BY_HAND",
    "LONGEST_LEAD",
    "PROBE_SECONDS",
    "TOO_OLD",
    "Claim",
    "Delivery",
    "Ending",
    "Inbox",
    "Owed",
    "Pace",
    "Settlement",
    "Verdict",
    "new_id",
    "token_key",
]


class Inbox(Receiving, Translating, Forwarding):
    """The durable record of deliveries, cases and attempts."""
