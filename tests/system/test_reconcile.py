"""Comparing with 29next: silence where both agree, and a line for every difference."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from bridge.errors import TemporaryError
from bridge.reconcile import reconcile
from bridge.sandbox import STORE, Sandbox, fault
from bridge.subscribe import problem, subscribe
from tests.conftest import MakeDatabase
from tests.support.desk import DAY, Desk, Json, desk

SINCE = date(2026, 2, 1)
TARGET = "https://alerts.example.com/webhooks/next/sandbox"


@pytest.fixture
def shop(database_url: str) -> Iterator[Desk]:
    with desk(database_url) as made:
        yield made


def lines(shop: Desk) -> list[str]:
    return list(reconcile(shop.inbox, shop.api, shop.store, SINCE))


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


@pytest.mark.both_databases
def test_each_kind_of_difference_is_told(shop: Desk) -> None:
    kinds = [shop.senders.prevention() for _ in range(5)]
    for sent in kinds:
        shop.post(sent)
    shop.work()
    missing, doubled, resolved, amount, _ = (shop.case(sent) for sent in kinds)
    disputes = shop.sandbox.stores[STORE].disputes
    disputes.remove(missing["dispute_id"])
    shop.sandbox.add_dispute(STORE, type="alert", case_number=doubled["case_number"])
    unknown = shop.sandbox.add_dispute(STORE, type="chargeback", case_number="BY-HAND")
    shop.api.resolve_dispute(resolved["dispute_id"], {"resolution": "could_not_find_order"})
    shop.api.update_dispute(amount["dispute_id"], {"amount": "1.00"})
    shop.post(shop.senders.prevention(prevention_case_number="N/A"))
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


def test_a_double_of_before_is_found_with_its_case(shop: Desk) -> None:
    sent = shop.senders.verifi(caseDate="2026-02-27T00:00:00Z")
    shop.post(sent)
    shop.work()
    case, (first,) = shop.case(sent), shop.disputes()
    again = {name: first[name] for name in ("case_number", "happened_at", "amount")}
    shop.sandbox.add_dispute(STORE, type="alert", **again)
    told = list(reconcile(shop.inbox, shop.api, shop.store, date(2026, 3, 1)))
    assert any(line.startswith(f"doubled: alert {case['case_number']}") for line in told)


def test_another_currency_is_a_difference(shop: Desk) -> None:
    sent = shop.senders.prevention()
    shop.post(sent)
    shop.work()
    shop.api.update_dispute(shop.case(sent)["dispute_id"], {"currency": "EUR"})
    (line,) = lines(shop)
    assert "has currency EUR" in line


def kinds(shop: Desk) -> list[str]:
    return [line.partition(":")[0] for line in lines(shop)]


def test_a_failed_alert_is_told_until_somebody_has_made_its_dispute_and_is_not_doubled_then(
    shop: Desk,
) -> None:
    shop.sandbox.add_faults(fault("400", method="POST", path="/disputes/"))
    sent, rdr = shop.senders.prevention(amount=40.0), shop.senders.rdr(amount=40.0)
    delivery = shop.post(sent)
    shop.clock.sleep(1)
    accepted = shop.post(rdr)
    shop.work()
    assert kinds(shop) == ["unfinished", "unfinished", "failed", "failed"]
    shop.sandbox.faults.clear()
    for one in (sent, rdr):
        assert one.opens
        shop.sandbox.add_dispute(STORE, type="alert", case_number=one.opens[0], amount="40.00")
    (line,) = lines(shop)  # the accepted one is not resolved yet
    assert line == f"failed: delivery {accepted} of midigator asked for what 29next does not have"
    by_hand = shop.disputes()[1]
    shop.api.resolve_dispute(by_hand["id"], {"resolution": "issued_full_refund"})
    assert lines(shop) == []
    shop.inbox.replay([delivery, accepted])
    shop.settle()
    assert len(shop.disputes()) == 2
    assert shop.delivery(delivery)["status"] == shop.delivery(accepted)["status"] == "forwarded"
    assert lines(shop) == []


def test_a_failed_alert_of_no_store_is_told_until_its_dispute_is_there(shop: Desk) -> None:
    sent = shop.senders.prevention(store="unheard-of", amount=40.0)
    assert sent.opens
    shop.post(sent)
    shop.work()
    assert kinds(shop) == ["failed"]
    shop.sandbox.add_dispute(STORE, type="alert", case_number=sent.opens[0], amount="40.00")
    assert lines(shop) == []


def test_what_is_still_to_be_done_is_told(shop: Desk) -> None:
    old = shop.senders.chargeback()
    assert old.opens
    shop.clock.sleep(-60 * DAY)  # before the day
    shop.post(old)
    shop.work()
    shop.clock.sleep(60 * DAY)
    shop.sandbox.add_faults(fault("429", path="*/resolve/"))
    rdr = shop.senders.rdr()
    shop.post(rdr)
    shop.post(shop.senders.result(old.opens[0]))
    shop.work()
    shop.post(shop.senders.prevention())
    said = lines(shop)
    assert [line.partition(":")[0] for line in said] == ["unfinished"] * 3
    assert "is not translated yet" in said[-1]
    for sent, kind in ((rdr, "alert"), (old, "chargeback")):
        assert any(f"case {shop.case(sent, kind)['id']} " in line for line in said)


def test_a_long_list_is_read_to_its_end(make_database: MakeDatabase) -> None:
    sandbox = Sandbox(rate=0, page_size=1)
    with make_database("sqlite") as url, desk(url, sandbox=sandbox) as shop:
        for number in range(52):
            shop.sandbox.add_dispute(STORE, type="alert", case_number=f"BY-HAND-{number}")
        assert kinds(shop) == ["unknown"] * 52


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
