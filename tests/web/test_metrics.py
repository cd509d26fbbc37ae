"""The metrics: counted in the database, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.web.app import create_app
from tests.support.bridge_in_process import InProcessBridge
from tests.support.history import OUTLET, OUTLET_TOKEN, bridge_with_outlet, refuse, review, trouble
from tests.support.next29 import STORE

pytestmark = pytest.mark.both_databases

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_with_outlet(database_url) as made:
        yield made


def scraped(bridge: InProcessBridge) -> Samples:
    answer = bridge.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for one in families for s in one.samples}


def one(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_an_empty_log_has_metrics(bridge: InProcessBridge) -> None:
    samples = scraped(bridge)
    assert one(samples, "bridge_oldest_pending_age_seconds") == 0
    assert one(samples, "bridge_leases_expired_total") == 0
    assert one(samples, "bridge_store_paused", store=STORE) == 0
    assert one(samples, "bridge_throttles_total", store=STORE) == 0
    assert one(samples, "bridge_worker_heartbeat_age_seconds") is None


def test_deliveries_are_counted_by_provider_and_status(bridge: InProcessBridge) -> None:
    bridge.send_sample("ethoca")
    bridge.send_sample("ethoca", change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.send_sample("midigator", change=lambda tree: tree.update(prevention_type="tc40"))
    bridge.work()
    bridge.send_sample("verifi")
    samples = scraped(bridge)
    assert one(samples, "bridge_deliveries", provider="ethoca", status="forwarded") == 1
    assert one(samples, "bridge_deliveries", provider="ethoca", status="failed") == 1
    assert one(samples, "bridge_deliveries", provider="midigator", status="ignored") == 1
    assert one(samples, "bridge_deliveries", provider="verifi", status="pending") == 1
    assert one(samples, "bridge_deliveries_received_total", provider="ethoca") == 2
    assert one(samples, "bridge_deliveries_failed", reason="untranslatable") == 1


def test_the_oldest_pending_delivery_has_an_age(bridge: InProcessBridge) -> None:
    bridge.send_sample()
    bridge.clock.now += 120
    bridge.send_sample("verifi")
    assert one(scraped(bridge), "bridge_oldest_pending_age_seconds") == pytest.approx(120, abs=1)
    bridge.work()
    assert one(scraped(bridge), "bridge_oldest_pending_age_seconds") == 0


def test_the_time_to_a_dispute_is_told_in_quantiles(bridge: InProcessBridge) -> None:
    for seconds in (1, 2, 30):
        bridge.send_sample()
        bridge.clock.now += seconds
        bridge.work()
    samples = scraped(bridge)
    assert one(samples, "bridge_time_to_dispute_seconds", quantile="0.5") == pytest.approx(2, abs=0.5)
    assert one(samples, "bridge_time_to_dispute_seconds", quantile="0.99") == pytest.approx(30, abs=0.5)
    bridge.clock.now += 7200
    assert one(scraped(bridge), "bridge_time_to_dispute_seconds", quantile="0.5") is None


def test_calls_are_counted_by_store_outcome_and_status(bridge: InProcessBridge) -> None:
    bridge.fail("429", count=3)
    bridge.send_sample()
    for _ in range(5):
        bridge.work()
        bridge.clock.now += 5
    bridge.next29.revoke(OUTLET_TOKEN)
    bridge.send_sample(store=OUTLET)
    bridge.work()
    samples = scraped(bridge)
    assert one(samples, "bridge_calls_total", store=STORE, outcome="throttled", status="429") == 3
    assert one(samples, "bridge_throttles_total", store=STORE) == 3
    assert one(samples, "bridge_calls_total", store=STORE, outcome="ok", status="201") == 1
    assert one(samples, "bridge_calls_total", store=OUTLET, outcome="store_refused", status="401") == 1
    assert one(samples, "bridge_store_paused", store=OUTLET) == 1


def test_a_lease_that_ran_out_is_counted(bridge: InProcessBridge) -> None:
    bridge.send_sample()
    bridge.inside.translate(10)
    assert bridge.inside.claim()  # and the worker dies
    assert one(scraped(bridge), "bridge_leases_expired_total") == 0
    bridge.clock.now += bridge.settings.lease + 1
    bridge.work()
    samples = scraped(bridge)
    assert one(samples, "bridge_leases_expired_total") == 1
    assert one(samples, "bridge_deliveries", provider="ethoca", status="forwarded") == 1


def test_refused_webhooks_and_reviews_are_counted(bridge: InProcessBridge) -> None:
    refuse(bridge, "midigator", 3)
    review(bridge)
    samples = scraped(bridge)
    assert one(samples, "bridge_webhooks_refused_total", provider="midigator", reason="bad_proof") == 3
    assert one(samples, "bridge_reviews") == 1


def test_deadlines_are_counted_by_the_time_that_is_left(bridge: InProcessBridge) -> None:
    bridge.fail("503")
    bridge.send_sample("ethoca")  # 24 hours
    bridge.send_sample("verifi")  # 72 hours
    bridge.work()
    bridge.clock.now += 21 * 3600
    samples = scraped(bridge)
    counts = {
        hours: one(samples, "bridge_deadlines_within", seconds=str(hours * 3600))
        for hours in (0, 1, 4, 48, 72)
    }
    assert counts == {0: 0, 1: 0, 4: 1, 48: 1, 72: 2}
    assert one(samples, "bridge_deadlines_within", seconds="+Inf") == 2
    bridge.clock.now += 6 * 3600
    assert one(scraped(bridge), "bridge_deadlines_within", seconds="0") == 1


def test_the_worker_is_heard_in_the_metrics(bridge: InProcessBridge) -> None:
    bridge.inside.beat("one")
    bridge.clock.now += 40
    assert one(scraped(bridge), "bridge_worker_heartbeat_age_seconds") == pytest.approx(40, abs=1)


def test_every_process_tells_the_same(bridge: InProcessBridge) -> None:
    trouble(bridge)
    other = create_app(bridge.settings, bridge.database).test_client()
    mine, theirs = bridge.client.get("/metrics").text, other.get("/metrics").text
    timeless = [line for line in mine.splitlines() if "age" not in line]
    assert timeless == [line for line in theirs.splitlines() if "age" not in line]
