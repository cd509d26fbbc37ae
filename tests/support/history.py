"""A bridge with a past: two stores, two weeks of ordinary life, and most of what can go wrong.

Alerts come in over HTTP and are forwarded to a pretend 29next, so that what the pages show is what they
would show.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from bridge.cli import samples
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY, Clock
from tests.support.next29 import STORE, TOKEN

Json = dict[str, Any]

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp()
OUTLET, OUTLET_TOKEN = "outlet", "outlet-token"


def bridge_with_outlet(
    url: str, *, begins: float = MONDAY, **settings: Any
) -> AbstractContextManager[InProcessBridge]:
    """A bridge with two stores, one of which is the outlet."""
    tokens = {TOKEN: STORE, OUTLET_TOKEN: OUTLET}
    return bridge_in_process(url, clock=Clock(begins), tokens=tokens, **settings)


PROVIDERS = (("ethoca", 9), ("midigator", 6), ("verifi", 4), ("chargeblast", 3), ("kount", 2), ("trusto", 1))
"""Who sends how many alerts on an ordinary day."""


def fortnight(bridge: InProcessBridge) -> None:
    """Let two weeks of ordinary life happen, and on the last day most of what can go wrong."""
    for day in range(14):
        weekend = (day + 1) % 7 < 2  # the first day is a Monday
        counts = {
            name: bridge.chance.randint(most // 2, most) // (2 if weekend else 1) for name, most in PROVIDERS
        }
        moments = sorted(
            (bridge.chance.random(), name) for name, count in counts.items() for _ in range(count)
        )
        for share, provider in moments:
            bridge.clock.now = max(bridge.clock.now, MONDAY + (day + 0.3 * share) * DAY)
            bridge.send_sample(provider, known=bridge.chance.random() < 0.93)
            bridge.clock.now += bridge.chance.choice((0.4, 0.9, 1.6, 2.5, 4.0, 22.0))
            bridge.work()
    bridge.clock.now = MONDAY + 13 * DAY + 0.35 * DAY
    trouble(bridge)


def trouble(bridge: InProcessBridge) -> None:
    """Let most of what can go wrong go wrong."""
    refuse(bridge, "midigator", 3)
    bridge.send_sample(
        "ethoca", change=lambda tree: tree.update(ethoca_id="N/A", amount="12,50", currency="EURO")
    )
    bridge.send_sample(
        "midigator", "prevention.new", change=lambda tree: tree.update(event_type="prevention.renewed")
    )
    bridge.send_sample("midigator", "prevention.new", change=lambda tree: tree.update(prevention_type="tc40"))
    review(bridge)
    bridge.send_sample("ethoca", store="alfa", known=False)  # there is no such store
    bridge.fail("502", count=2)
    bridge.send_sample("verifi")
    bridge.work()
    for _ in range(5):
        bridge.clock.now += 90
        bridge.work()
    bridge.next29.revoke(OUTLET_TOKEN)
    bridge.send_sample("ethoca", store=OUTLET)
    bridge.send_sample("verifi", store=OUTLET)
    bridge.work()
    bridge.clock.now += 700
    bridge.fail("500_after", count=1, method="POST", path="/disputes/")
    bridge.send_sample("midigator")
    bridge.work()
    bridge.clock.now += 3
    bridge.send_sample("ethoca")
    bridge.work()
    bridge.clock.now += 20


def refuse(bridge: InProcessBridge, provider: str, count: int) -> None:
    """Send webhooks with a wrong password."""
    for _ in range(count):
        answer = bridge.client.post(
            f"/webhooks/{provider}", data=b"{}", headers={"Authorization": "Basic eDp5"}
        )
        assert answer.status_code == 401


def review(bridge: InProcessBridge) -> str:
    """Send an alert that two payments of one card fit; returns its delivery."""
    now = datetime.fromtimestamp(bridge.clock.now, UTC)
    sale = samples.make_sale(bridge.chance, now)
    twice = {**sale.to_transaction(), "auth_code": "", "external_id": "", "network_transaction_id": ""}
    for _ in range(2):
        bridge.next29.add_transaction(STORE, **twice)

    def ambiguous(tree: Json) -> None:
        tree.update(
            card_first_6=sale.first_six, card_last_4=sale.last_four, amount=sale.amount, currency="USD"
        )

    delivery = bridge.send_sample("midigator", "prevention.new", known=False, change=ambiguous)
    bridge.work()
    return delivery
