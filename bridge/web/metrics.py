"""`/metrics` for Prometheus. Each request reads every value from the database.

So processes share nothing, and a restart loses nothing. A value that only grows in the database is a
counter; one that can fall is a gauge.
"""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date

from flask import Blueprint, Response
from prometheus_client.core import CounterMetricFamily as Count
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from bridge.settings import Settings
from bridge.storage import stats
from bridge.storage.database import Connection
from bridge.web import current
from bridge.web.api import authorize
from bridge.web.charts import quantile

WINDOW = 3600.0
"""Seconds: the time to a dispute is that of the disputes within them."""
QUANTILES = (0.5, 0.95, 0.99)
DEADLINE_HOURS = (1, 4, 12, 24, 48, 72)

routes = Blueprint("metrics", __name__)
routes.before_request(authorize)


@routes.get("/metrics")
def metrics() -> Response:
    """Returns every metric in Prometheus' text format."""
    database = current.database()
    with database.read() as connection:
        text = generate_latest(BridgeMetrics(connection, database.now(), current.settings()))
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


class BridgeMetrics(Collector):
    """Computes all metrics of one request."""

    def __init__(self, connection: Connection, now: float, settings: Settings) -> None:
        self.connection = connection
        self.now = now
        self.summary = stats.summary(connection, now)
        self.settings = settings

    def collect(self) -> Iterable[Metric]:
        """Yields all metrics."""
        yield from self._deliveries()
        yield from self._times()
        yield from self._stores()
        yield from self._problems()

    def _deliveries(self) -> Iterable[Metric]:
        counts = stats.by_provider_and_status(self.connection)
        text = "Deliveries by how far they have come."
        yield _metric(Gauge, "bridge_deliveries", text, ("provider", "status"), counts)
        received: Counter[tuple[str, ...]] = Counter()
        for (provider, _), count in counts.items():
            received[(provider,)] += count
        yield _metric(Count, "bridge_deliveries_received", "Deliveries received.", ("provider",), received)
        failed = {(reason,): count for reason, count in stats.failed(self.connection).items()}
        yield _metric(Gauge, "bridge_deliveries_failed", "Failed deliveries by reason.", ("reason",), failed)

    def _times(self) -> Iterable[Metric]:
        oldest = self.summary.oldest_pending
        age = {(): 0.0 if oldest is None else self.now - oldest}
        text = "Age of the oldest delivery that is owed."
        yield _metric(Gauge, "bridge_oldest_pending_age_seconds", text, (), age)
        took = stats.seconds_to_dispute(self.connection, self.now - WINDOW)
        quantiles = {(str(share),): q for share in QUANTILES if (q := quantile(took, share)) is not None}
        text = "From the webhook to 29next's answer, of the newest disputes of an hour."
        yield _metric(Gauge, "bridge_time_to_dispute_seconds", text, ("quantile",), quantiles)
        hourly = stats.deadlines(self.connection, self.now, 3600.0, max(DEADLINE_HOURS) + 2)
        left = {(str(hours * 3600),): sum(hourly[: hours + 1]) for hours in DEADLINE_HOURS}
        left |= {("0",): hourly[0], ("+Inf",): sum(hourly)}
        text = "Cases with work due whose deadline comes within so many seconds."
        yield _metric(Gauge, "bridge_deadlines_within", text, ("seconds",), left)

    def _stores(self) -> Iterable[Metric]:
        calls = stats.calls(self.connection)
        labelled = {
            (store, outcome, "none" if status is None else str(status)): count
            for (store, outcome, status), count in calls.items()
            if outcome != "intended"  # which becomes another outcome
        }
        text = "Calls to 29next and their answers; those to providers have the store `provider:NAME`."
        yield _metric(Count, "bridge_calls", text, ("store", "outcome", "status"), labelled)
        throttled: Counter[tuple[str, ...]] = Counter({(store,): 0 for store in self.settings.stores})
        for (store, outcome, _), count in calls.items():
            throttled[(store,)] += count if outcome == "throttled" else 0
        text = "Calls that 29next answered with 429."
        yield _metric(Count, "bridge_throttles", text, ("store",), throttled)
        paused = stats.paused(self.connection)
        states = {(store,): int(store in paused) for store in self.settings.stores}
        yield _metric(Gauge, "bridge_store_paused", "1 while a store is paused.", ("store",), states)

    def _problems(self) -> Iterable[Metric]:
        lapses = {(): stats.lapses(self.connection)}
        yield _metric(Count, "bridge_leases_expired", "Leases that a worker let run out.", (), lapses)
        refused = stats.refused(self.connection, date.min)
        yield _metric(Count, "bridge_webhooks_refused", "Refused webhooks.", ("provider", "reason"), refused)
        reviews = {(): self.summary.reviews}
        yield _metric(Gauge, "bridge_reviews", "Cases that a person decides.", (), reviews)
        if (seen := self.summary.worker_seen_at) is not None:
            text = "Seconds since the last heartbeat of a worker."
            yield _metric(Gauge, "bridge_worker_heartbeat_age_seconds", text, (), {(): self.now - seen})


def _metric(
    kind: type[Gauge | Count],
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Mapping[typing.Any, float],
) -> Metric:
    """Returns a metric with a value for each of its labels' values."""
    family = kind(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
