"""Comparing with 29next: silence where both agree, and a line for every difference."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from bridge.errors import TemporaryError
from bridge.reconcile import reconcile
from bridge.sandbox import STORE, fault
from bridge.subscribe import problem, subscribe
from tests.desk import Desk, Json, desk

SINCE = date(2026, 2, 1)
TARGET = "https://alerts.example.com/webhooks/next/sandbox"


@pytest.fixture
def shop(database_url: str) -> Iterator[Desk]:
    with desk(database_url) as made:
        yield made


def lines(shop: Desk) -> list[str]:
    return list(reconcile(shop.inbox, shop.api, shop.store, SINCE, sleep=shop.clock.sleep))


def test_nothing_is_said_where_both_agree(shop: Desk) -> None:
    assert lines(shop) == []
    chargeback = shop.senders.chargeback()
    assert chargeback.opens
    old = shop.senders.verifi(caseDate="2025-06-01T00:00:00Z")  # its dispute lies before the day
    sent = (shop.senders.prevention(), shop.senders.rdr(), chargeback, old)
    for one in (*sent, shop.senders.result(chargeback.opens[0])):
        shop.post(one)
    shop.settle()
    assert lines(shop) == []


def test_each_kind_of_difference_is_told(shop: Desk) -> None:
    kinds = [shop.senders.prevention() for _ in range(5)]
    for sent in kinds:
        shop.post(sent)
    shop.work()
    missing, doubled, resolved, amount, _ = (shop.case(sent) for sent in kinds)
    disputes = shop.sandbox.stores[STORE].disputes
    disputes.by_id.pop(missing["dispute_id"])
    shop.sandbox.add_dispute(STORE, type="alert", case_number=doubled["case_number"])
    unknown = shop.sandbox.add_dispute(STORE, type="chargeback", case_number="BY-HAND")
    shop.api.resolve_dispute(resolved["dispute_id"], {"resolution": "could_not_find_order"})
    shop.api.update_dispute(amount["dispute_id"], {"amount": "1.00"})
    shop.post(shop.senders.prevention(amount="much"))
    shop.sandbox.add_faults(fault("503", method="POST"))
    waiting = shop.senders.prevention()
    shop.post(waiting)
    shop.work()
    said = lines(shop)
    kinds_told = sorted(line.partition(":")[0] for line in said)
    assert kinds_told == [
        *("differs", "differs", "doubled", "failed", "missing", "unfinished", "unknown", "unknown"),
    ]
    text = "\n".join(said)
    assert f"dispute {missing['dispute_id']} of case {missing['id']} is not at 29next" in text
    assert f"alert {doubled['case_number']} is disputes {doubled['dispute_id']}, " in text
    assert f"dispute {resolved['dispute_id']} has resolution could_not_find_order" in text
    assert f"dispute {amount['dispute_id']} has amount 1.00" in text
    assert f"dispute {unknown['id']} (chargeback BY-HAND) has no case" in text


def test_a_list_that_cannot_be_read_is_no_silence(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("500"))
    with pytest.raises(TemporaryError):
        lines(shop)


# --- the subscription -----------------------------------------------------------------------------


def hooks(shop: Desk) -> list[Json]:
    return shop.api.rows("webhooks/", {})


def test_the_subscription_is_created_once_and_repaired(shop: Desk) -> None:
    assert problem(hooks(shop), TARGET) == "there is no webhook subscription for the bridge"
    assert subscribe(shop.api, TARGET, "a-secret", "2023-02-10") == "created"
    assert problem(hooks(shop), TARGET, "a-secret") is None
    assert subscribe(shop.api, TARGET, "a-secret", "2023-02-10") == "renewed"
    (hook,) = hooks(shop)
    for change, said in (
        ({"active": False}, "is switched off"),
        ({"target": "https://elsewhere.example.com/"}, "points to https://elsewhere.example.com/"),
        ({"events": ["transaction.created"]}, "lacks dispute.created, dispute.updated, transaction.updated"),
        ({"secret_key": "other"}, "signs with another secret"),
    ):
        shop.api.call("PATCH", f"webhooks/{hook['id']}/", body=change)
        assert said in (problem(hooks(shop), TARGET, "a-secret") or "")
        assert subscribe(shop.api, TARGET, "a-secret", "2023-02-10") == "repaired"
        assert problem(hooks(shop), TARGET, "a-secret") is None
    assert len(hooks(shop)) == 1


def test_somebody_else_s_subscription_is_left_alone(shop: Desk) -> None:
    theirs = {"name": "theirs", "target": "https://theirs.example.com/", "events": ["order.created"]}
    shop.api.call("POST", "webhooks/", body=theirs)
    subscribe(shop.api, TARGET, "a-secret", "2023-02-10")
    assert {hook["name"] for hook in hooks(shop)} == {"theirs", "dispute-bridge"}
