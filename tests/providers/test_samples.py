"""Whatever `bridge send` can make ends as forwarded or ignored, at a store that has the sale."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from bridge import providers
from bridge.alert import Status
from bridge.cli import samples
from bridge.cli.run import generate_secret
from bridge.providers.base import Provider
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import bridge_in_process
from tests.support.clock import Clock

ALERTING = {name: one for name, one in providers.built_in().items() if not one.object_path}
DAYS_AFTER = 12


@pytest.mark.parametrize("provider", ALERTING.values(), ids=list(ALERTING))
def test_no_sample_of_any_event_ends_as_failed(make_database: MakeDatabase, provider: Provider) -> None:
    chance, clock, secret = Random(3), Clock(), generate_secret(provider)  # noqa: S311  made-up values
    now = datetime.fromtimestamp(clock(), UTC)
    sales = {event: samples.make_sale(chance, now) for event in samples.events(provider)}
    sold = [sale.to_transaction() for sale in sales.values()]
    secrets = {provider.name: (secret,)}
    with (
        make_database("sqlite") as url,
        bridge_in_process(url, clock=clock, transactions=sold, secrets=secrets) as at_work,
    ):
        sent = [
            (one, sale)
            for event, sale in sales.items()
            for one in (samples.opening(provider, event), event)
            if one
        ]
        for event, sale in sent:
            made = samples.make(provider, event, sale, chance, now)
            made = samples.sign(
                provider, made, secret, datetime.now(UTC), at_work.settings.url_of(provider.name)
            )
            answer = at_work.client.post(
                f"/webhooks/{provider.name}", data=made.body, headers=made.headers, query_string=made.query
            )
            assert answer.status_code == 200, (event, answer.text)
        at_work.settle()
        for _ in range(DAYS_AFTER):
            at_work.clock.sleep(86_400)
            at_work.settle(times=1)
        rows = at_work.deliveries(limit="100")
    assert len(rows) == len(sent)
    failed = [row for row in rows if row["status"] not in (Status.FORWARDED, Status.IGNORED)]
    assert not failed
