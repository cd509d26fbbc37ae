"""The metrics: counted in the database, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.app import create_app
from bridge.sandbox import STORE
from tests.support.logbook import OUTLET, OUTLET_TOKEN, Logbook, logbook, refuse, review, trouble

pytestmark = pytest.mark.both_databases

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def book(database_url: str) -> Iterator[Logbook]:
    with logbook(database_url) as made:
        yield made


def scraped(book: Logbook) -> Samples:
    answer = book.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for one in families for s in one.samples}


def one(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def test_an_empty_log_has_metrics(book: Logbook) -> None:
    samples = scraped(book)
    assert one(samples, "bridge_oldest_pending_age_seconds") == 0
    assert one(samples, "bridge_leases_expired_total") == 0
    assert one(samples, "bridge_store_paused", store=STORE) == 0
    assert one(samples, "bridge_throttles_total", store=STORE) == 0
    assert one(samples, "bridge_worker_heartbeat_age_seconds") is None


def test_deliveries_are_counted_by_provider_and_status(book: Logbook) -> None:
    book.send("ethoca")
    book.send("ethoca", change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    book.send("midigator", change=lambda tree: tree.update(prevention_type="tc40"))
    book.work()
    book.send("verifi")
    samples = scraped(book)
    assert one(samples, "bridge_deliveries", provider="ethoca", status="forwarded") == 1
    assert one(samples, "bridge_deliveries", provider="ethoca", status="failed") == 1
    assert one(samples, "bridge_deliveries", provider="midigator", status="ignored") == 1
    assert one(samples, "bridge_deliveries", provider="verifi", status="pending") == 1
    assert one(samples, "bridge_deliveries_received_total", provider="ethoca") == 2
    assert one(samples, "bridge_deliveries_failed", reason="untranslatable") == 1


def test_the_oldest_pending_delivery_has_an_age(book: Logbook) -> None:
    book.send()
    book.clock.now += 120
    book.send("verifi")
    assert one(scraped(book), "bridge_oldest_pending_age_seconds") == pytest.approx(120, abs=1)
    book.work()
    assert one(scraped(book), "bridge_oldest_pending_age_seconds") == 0


def test_the_time_to_a_dispute_is_told_in_quantiles(book: Logbook) -> None:
    for seconds in (1, 2, 30):
        book.send()
        book.clock.now += seconds
        book.work()
    samples = scraped(book)
    assert one(samples, "bridge_time_to_dispute_seconds", quantile="0.5") == pytest.approx(2, abs=0.5)
    assert one(samples, "bridge_time_to_dispute_seconds", quantile="0.99") == pytest.approx(30, abs=0.5)
    book.clock.now += 7200
    assert one(scraped(book), "bridge_time_to_dispute_seconds", quantile="0.5") is None


def test_calls_are_counted_by_store_outcome_and_status(book: Logbook) -> None:
    book.fail("429", count=3)
    book.send()
    for _ in range(5):
        book.work()
        book.clock.now += 5
    book.sandbox.revoke(OUTLET_TOKEN)
    book.send(store=OUTLET)
    book.work()
    samples = scraped(book)
    assert one(samples, "bridge_calls_total", store=STORE, outcome="throttled", status="429") == 3
    assert one(samples, "bridge_throttles_total", store=STORE) == 3
    assert one(samples, "bridge_calls_total", store=STORE, outcome="ok", status="201") == 1
    assert one(samples, "bridge_calls_total", store=OUTLET, outcome="store_refused", status="401") == 1
    assert one(samples, "bridge_store_paused", store=OUTLET) == 1


def test_a_lease_that_ran_out_is_counted(book: Logbook) -> None:
    book.send()
    book.inbox.translate(book.judge.verdict, 10)
    assert book.inbox.claim([STORE])  # and the worker dies
    assert one(scraped(book), "bridge_leases_expired_total") == 0
    book.clock.now += book.settings.lease + 1
    book.work()
    samples = scraped(book)
    assert one(samples, "bridge_leases_expired_total") == 1
    assert one(samples, "bridge_deliveries", provider="ethoca", status="forwarded") == 1


def test_refused_webhooks_and_reviews_are_counted(book: Logbook) -> None:
    refuse(book, "midigator", 3)
    review(book)
    samples = scraped(book)
    assert one(samples, "bridge_webhooks_refused_total", provider="midigator", reason="bad_proof") == 3
    assert one(samples, "bridge_reviews") == 1


def test_deadlines_are_counted_by_the_time_that_is_left(book: Logbook) -> None:
    book.fail("503")
    book.send("ethoca")  # 24 hours
    book.send("verifi")  # 72 hours
    book.work()
    book.clock.now += 21 * 3600
    samples = scraped(book)
    counts = {
        hours: one(samples, "bridge_deadlines_within", seconds=str(hours * 3600))
        for hours in (0, 1, 4, 48, 72)
    }
    assert counts == {0: 0, 1: 0, 4: 1, 48: 1, 72: 2}
    assert one(samples, "bridge_deadlines_within", seconds="+Inf") == 2
    book.clock.now += 6 * 3600
    assert one(scraped(book), "bridge_deadlines_within", seconds="0") == 1


def test_the_worker_is_heard_in_the_metrics(book: Logbook) -> None:
    book.chores.memos.beat("one")
    book.clock.now += 40
    assert one(scraped(book), "bridge_worker_heartbeat_age_seconds") == pytest.approx(40, abs=1)


def test_every_process_tells_the_same(book: Logbook) -> None:
    trouble(book)
    other = create_app(book.settings, book.database).test_client()
    mine, theirs = book.client.get("/metrics").text, other.get("/metrics").text
    timeless = [line for line in mine.splitlines() if "age" not in line]
    assert timeless == [line for line in theirs.splitlines() if "age" not in line]
