"""The viewer's pages, and hostile text on them."""

from __future__ import annotations

from tests.support.bridge_in_process import InProcessBridge
from tests.support.webhooks import Json

PASSWORD = "a made-up password"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'--"


def every_page(bridge: InProcessBridge) -> list[str]:
    """Every page that has something to show, and a bulk replay that was just started."""
    search = bridge.search
    rows = search.deliveries({}).results
    cases = search.cases({}).results
    job = bridge.inside.shared_state.start_replay({"status": "failed"}, 3)
    return [
        *("/", "/deliveries", "/cases", "/stores", "/providers", "/refused", "/replays"),
        "/deliveries?status=failed&q=nothing",
        "/deliveries?text=a",
        "/replays/new?status=failed",
        f"/replays/{job}",
        *(f"/deliveries/{row['id']}" for row in rows),
        *(f"/cases/{row['id']}" for row in cases),
    ]


def send_hostile_text(bridge: InProcessBridge) -> None:
    """Send alerts with hostile text in every field that takes any."""

    def everywhere(tree: Json) -> None:
        for name, value in tree.items():
            if isinstance(value, str) and name not in ("event_type", "type"):
                tree[name] = HOSTILE
        tree[HOSTILE] = HOSTILE

    def identified(tree: Json) -> None:
        for name in ("ethoca_id", "arn", "auth_code", "transaction_id", "merchant_descriptor", "order_id"):
            tree[name] = HOSTILE

    bridge.send_sample("ethoca", change=everywhere)
    bridge.send_sample("ethoca", change=identified)
    bridge.send_sample("midigator", change=lambda tree: tree.update(event_type=HOSTILE))
    bridge.send_sample("midigator", change=identified)
    bridge.work()
    bridge.fail("422", count=1)
    bridge.send_sample("verifi", change=lambda tree: tree.update(paymentDescriptor=HOSTILE, arn=HOSTILE))
    bridge.work()
