"""Every fixture, from its webhook to 29next: the API shows what it expects, and 29next gets it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import HOUR, Clock
from tests.support.fixtures import NOW, PROVIDERS, Case, cases_of, secret_of

NAMES = sorted(set(PROVIDERS) - {"next"})
"""All providers but 29next itself: its webhooks open no dispute."""


def post(shop: InProcessBridge, case: Case, store: str) -> None:
    """Post the webhook of a fixture, for a store."""
    provider, secret = case.provider, secret_of(case.provider)
    body = provider.proof.seal(case.body, secret)
    headers = case.headers | provider.proof.sign(body, secret, datetime.now(UTC))
    answer = shop.client.post(f"/webhooks/{provider.name}/{store}", data=body, headers=headers)
    assert answer.status_code == 200, answer.text


def named(event_id: str) -> str:
    """The id of an event; only its prefix if the signature makes a new id each time."""
    return "msg_" if event_id.startswith("msg_") else event_id


def shown(shop: InProcessBridge, store: str) -> list[Any]:
    """What the API shows of a store's deliveries: the part that fixtures describe."""
    rows = (shop.client.get(f"/api/deliveries?store={store}").json or {})["results"]
    moment = datetime.fromisoformat
    return sorted(
        (
            named(row["event_id"]),
            row["event_type"],
            row["effect"],
            row["reason"] if row["status"] == "ignored" else None,
            (moment(row["deadline_at"]) - moment(row["received_at"])).total_seconds() / HOUR,
            sorted(row["errors"]),
        )
        for row in rows
    )


def expected(case: Case) -> list[Any]:
    """The same part, as the fixture describes it."""
    names = ("event_type", "effect", "reason", "deadline_hours")
    return sorted(
        (named(one["event_id"]), *(one[name] for name in names), sorted(one.get("errors", ())))
        for one in case.expected("reading")
    )


def created(shop: InProcessBridge, store: str) -> list[Any]:
    """The bodies of the POSTs that create disputes, in the order of their case numbers."""
    calls = shop.next29.ledger.calls
    made: list[Any] = [
        one.body for one in calls if (one.store, one.path, one.method) == (store, "/disputes/", "POST")
    ]
    return sorted(made, key=lambda one: str(one["case_number"]))


@pytest.mark.parametrize("name", NAMES)
def test_each_fixture_becomes_what_it_says(make_database: MakeDatabase, name: str) -> None:
    cases = {case.folder.name.replace("_", "-"): case for case in cases_of(PROVIDERS[name])}
    tokens = {f"token-of-{store}": store for store in cases}
    secrets = {name: (secret_of(PROVIDERS[name]),)}
    clock = Clock(NOW.timestamp(), step=0.0)
    with (
        make_database("sqlite") as url,
        bridge_in_process(url, clock=clock, tokens=tokens, secrets=secrets) as shop,
    ):
        for store, case in cases.items():
            post(shop, case, store)
        shop.work()
        for store, case in cases.items():
            assert shown(shop, store) == expected(case), case
            disputes = sorted(filter(None, case.expected("dispute")), key=lambda one: str(one["case_number"]))
            assert created(shop, store) == disputes, case
