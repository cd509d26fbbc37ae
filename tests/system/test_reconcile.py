"""Comparing with 29next: silence where both agree, and a line for every difference."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from bridge.errors import TemporaryError
from bridge.worker.subscriptions import problem, subscribe
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY
from tests.support.next29 import STORE, StandIn, fault
from tests.support.webhooks import Json

SINCE = date(2026, 2, 1)
TARGET = "https://alerts.example.com/webhooks/next/sandbox"


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_in_process(database_url) as made:
        yield made


def lines(bridge: InProcessBridge) -> list[str]:
    return bridge.inside.reconcile(bridge.api, bridge.store, SINCE)


def test_nothing_is_said_where_both_agree(bridge: InProcessBridge) -> None:
    assert lines(bridge) == []
    chargeback = bridge.senders.chargeback()
    assert chargeback.opens
    old = bridge.senders.verifi(caseDate="2025-06-01T00:00:00Z")  # its dispute lies before the day
    sent = (bridge.senders.prevention(), bridge.senders.rdr(), chargeback, old)
    for one in (*sent, bridge.senders.result(chargeback.opens[0])):
        bridge.post(one)
    bridge.settle()
    assert lines(bridge) == []


@pytest.mark.both_databases
def test_each_kind_of_difference_is_told(bridge: InProcessBridge) -> None:
    kinds = [bridge.senders.prevention() for _ in range(5)]
    for sent in kinds:
        bridge.post(sent)
    bridge.work()
    missing, doubled, resolved, amount, _ = (bridge.case(sent) for sent in kinds)
    disputes = bridge.next29.stores[STORE].disputes
    disputes.remove(missing["dispute_id"])
    bridge.next29.add_dispute(STORE, type="alert", case_number=doubled["case_number"])
    unknown = bridge.next29.add_dispute(STORE, type="chargeback", case_number="BY-HAND")
    bridge.api.resolve_dispute(resolved["dispute_id"], {"resolution": "could_not_find_order"})
    bridge.api.update_dispute(amount["dispute_id"], {"amount": "1.00"})
    bridge.post(bridge.senders.prevention(prevention_case_number="N/A"))
    bridge.next29.add_faults(fault("503", method="POST"))
    waiting = bridge.senders.prevention()
    bridge.post(waiting)
    bridge.work()
    said = lines(bridge)
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


def test_a_double_of_before_is_found_with_its_case(bridge: InProcessBridge) -> None:
    sent = bridge.senders.verifi(caseDate="2026-02-27T00:00:00Z")
    bridge.post(sent)
    bridge.work()
    case, (first,) = bridge.case(sent), bridge.disputes()
    again = {name: first[name] for name in ("case_number", "happened_at", "amount")}
    bridge.next29.add_dispute(STORE, type="alert", **again)
    told = bridge.inside.reconcile(bridge.api, bridge.store, date(2026, 3, 1))
    assert any(line.startswith(f"doubled: alert {case['case_number']}") for line in told)


def test_another_currency_is_a_difference(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention()
    bridge.post(sent)
    bridge.work()
    bridge.api.update_dispute(bridge.case(sent)["dispute_id"], {"currency": "EUR"})
    (line,) = lines(bridge)
    assert "has currency EUR" in line


def kinds(bridge: InProcessBridge) -> list[str]:
    return [line.partition(":")[0] for line in lines(bridge)]


def test_a_failed_alert_is_told_until_somebody_has_made_its_dispute_and_is_not_doubled_then(
    bridge: InProcessBridge,
) -> None:
    bridge.next29.add_faults(fault("400", method="POST", path="/disputes/"))
    sent, rdr = bridge.senders.prevention(amount=40.0), bridge.senders.rdr(amount=40.0)
    delivery = bridge.post(sent)
    bridge.clock.sleep(1)
    accepted = bridge.post(rdr)
    bridge.work()
    assert kinds(bridge) == ["unfinished", "unfinished", "failed", "failed"]
    bridge.next29.faults.clear()
    for one in (sent, rdr):
        assert one.opens
        bridge.next29.add_dispute(STORE, type="alert", case_number=one.opens[0], amount="40.00")
    (line,) = lines(bridge)  # the accepted one is not resolved yet
    assert line == f"failed: delivery {accepted} of midigator asked for what 29next does not have"
    by_hand = bridge.disputes()[1]
    bridge.api.resolve_dispute(by_hand["id"], {"resolution": "issued_full_refund"})
    assert lines(bridge) == []
    bridge.inside.replay(delivery, accepted)
    bridge.settle()
    assert len(bridge.disputes()) == 2
    assert bridge.delivery(delivery)["status"] == bridge.delivery(accepted)["status"] == "forwarded"
    assert lines(bridge) == []


def test_a_failed_alert_of_no_store_is_told_until_its_dispute_is_there(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(store="unheard-of", amount=40.0)
    assert sent.opens
    bridge.post(sent)
    bridge.work()
    assert kinds(bridge) == ["failed"]
    bridge.next29.add_dispute(STORE, type="alert", case_number=sent.opens[0], amount="40.00")
    assert lines(bridge) == []


def test_what_is_still_to_be_done_is_told(bridge: InProcessBridge) -> None:
    old = bridge.senders.chargeback()
    assert old.opens
    bridge.clock.sleep(-60 * DAY)  # before the day
    bridge.post(old)
    bridge.work()
    bridge.clock.sleep(60 * DAY)
    bridge.next29.add_faults(fault("429", path="*/resolve/"))
    rdr = bridge.senders.rdr()
    bridge.post(rdr)
    bridge.post(bridge.senders.result(old.opens[0]))
    bridge.work()
    bridge.post(bridge.senders.prevention())
    said = lines(bridge)
    assert [line.partition(":")[0] for line in said] == ["unfinished"] * 3
    assert "is not translated yet" in said[-1]
    for sent, kind in ((rdr, "alert"), (old, "chargeback")):
        assert any(f"case {bridge.case(sent, kind)['id']} " in line for line in said)


def test_a_long_list_is_read_to_its_end(make_database: MakeDatabase) -> None:
    next29 = StandIn(rate=0, page_size=1)
    with make_database("sqlite") as url, bridge_in_process(url, next29=next29) as bridge:
        for number in range(52):
            bridge.next29.add_dispute(STORE, type="alert", case_number=f"BY-HAND-{number}")
        assert kinds(bridge) == ["unknown"] * 52


def test_a_list_that_cannot_be_read_is_no_silence(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(fault("500"))
    with pytest.raises(TemporaryError, match="answered 500"):
        lines(bridge)


# --- the subscription -----------------------------------------------------------------------------


def hooks(bridge: InProcessBridge) -> list[Json]:
    return bridge.api.rows("webhooks/", {})


def test_the_subscription_is_created_once_and_repaired(bridge: InProcessBridge) -> None:
    assert problem(hooks(bridge), TARGET) == "there is no webhook subscription for the bridge"
    assert subscribe(bridge.api, TARGET, "a-secret", "2023-02-10") == "created"
    assert problem(hooks(bridge), TARGET, "a-secret") is None
    assert subscribe(bridge.api, TARGET, "a-secret", "2023-02-10") == "renewed"
    (hook,) = hooks(bridge)
    for change, said in (
        ({"active": False}, "is switched off"),
        ({"target": "https://elsewhere.example.com/"}, "points to https://elsewhere.example.com/"),
        ({"events": ["transaction.created"]}, "lacks dispute.created, dispute.updated, transaction.updated"),
        ({"secret_key": "other"}, "signs with another secret"),
    ):
        bridge.api.call("PATCH", f"webhooks/{hook['id']}/", body=change)
        assert said in (problem(hooks(bridge), TARGET, "a-secret") or "")
        assert subscribe(bridge.api, TARGET, "a-secret", "2023-02-10") == "repaired"
        assert problem(hooks(bridge), TARGET, "a-secret") is None
    assert len(hooks(bridge)) == 1


def test_somebody_else_s_subscription_is_left_alone(bridge: InProcessBridge) -> None:
    theirs = {"name": "theirs", "target": "https://theirs.example.com/", "events": ["order.created"]}
    bridge.api.call("POST", "webhooks/", body=theirs)
    subscribe(bridge.api, TARGET, "a-secret", "2023-02-10")
    assert {hook["name"] for hook in hooks(bridge)} == {"theirs", "dispute-bridge"}
