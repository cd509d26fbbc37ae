"""What 29next tells back: transactions that come later, disputes that others made, and one dispute a sale."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bridge import cli
from tests.conftest import MakeDatabase
from tests.support import inside
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY, HOUR, Clock
from tests.support.next29 import STORE, TOKEN, Does, Fault, StandIn, fault
from tests.support.sales import prevented, refunds, sell, told_of
from tests.support.statements import Steps
from tests.support.webhooks import Json


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_in_process(database_url) as made:
        yield made


# --- a transaction that comes later -------------------------------------------------------------


def test_a_transaction_that_arrives_later_matches_an_open_case_by_itself(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    assert (bridge.case(sent)["state"], bridge.case(sent)["transaction_id"]) == ("review", None)
    sale = sell(bridge)
    bridge.tell("transaction.created", sale)
    bridge.work()
    case = bridge.case(sent)
    assert (case["state"], case["transaction_id"]) == ("open", sale["id"])
    assert case["match"] == {"rule": "card_and_amount", "candidates": []}
    (dispute,) = bridge.disputes()
    assert dispute["transaction"] == sale["id"]


def test_a_transaction_that_was_read_matches_an_open_case_as_well(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    sale = sell(bridge)
    bridge.inside.add_transactions(STORE, [sale])
    bridge.work()
    assert bridge.case(sent)["transaction_id"] == sale["id"]


def test_a_transaction_that_comes_after_the_deadline_matches_nothing(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    bridge.clock.sleep(25 * HOUR)
    with bridge.counted() as calls:
        bridge.tell("transaction.created", sell(bridge))
        bridge.work()
    assert calls == []
    assert bridge.case(sent)["transaction_id"] is None


def test_a_transaction_that_is_another_one_changes_nothing(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    before = bridge.case(sent)
    with bridge.counted() as calls:
        bridge.tell("transaction.created", sell(bridge, bankcard_last_four="1234"))
        bridge.work()
    assert calls == []
    bridge.tell("transaction.created", sell(bridge, amount="41.00"))
    bridge.work()
    after = bridge.case(sent)
    assert after["transaction_id"] is None
    assert [one["why"] for one in after["match"]["candidates"]] == ["too little evidence"]
    assert before["attempts"] != after["attempts"]


def test_the_refund_of_an_rdr_case_is_recorded_once_when_its_transaction_comes_later(
    bridge: InProcessBridge,
) -> None:
    sent = bridge.senders.rdr(**told_of(sale={"auth_code": "A00001"}))
    delivery = bridge.post(sent)
    bridge.work()
    assert bridge.case(sent)["resolution"] == "issued_full_refund"
    assert bridge.case(sent)["state"] == "review"  # its transaction is not known
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert refunds(bridge) == []
    sale = sell(bridge)
    for event in ("transaction.created", "transaction.updated", "transaction.updated"):
        bridge.tell(event, sale)
        bridge.work()
    bridge.settle()
    (refund,) = refunds(bridge)
    assert refund == {
        "id": refund["id"],
        "transaction": sale["id"],
        "amount": "40.00",
        "is_external": True,
        "notified": False,
    }
    assert f"POST /transactions/{sale['id']}/refund/" in bridge.calls()
    assert bridge.case(sent)["refund"] == "recorded"


def test_the_refund_of_an_alert_in_another_currency_is_of_the_transaction_s_amount(
    bridge: InProcessBridge,
) -> None:
    sent = bridge.senders.rdr(**told_of({"auth_code": "A00001"}, amount=6000.0, currency="JPY"))
    bridge.post(sent)
    bridge.work()
    bridge.tell("transaction.created", sell(bridge))
    bridge.work()
    assert [one["amount"] for one in refunds(bridge)] == ["40.00"]


def test_a_refund_that_comes_before_its_payment_leads_to_it(bridge: InProcessBridge) -> None:
    sale = sell(bridge, auth_code=None)
    refund = bridge.next29.add_transaction(
        STORE, type="refund", parent_id=sale["id"], auth_code="R00001", amount="40.00"
    )
    sent = bridge.senders.rdr(**told_of(refund, card_first_6=None, card_last_4=None))
    with bridge.counted() as calls:
        bridge.post(sent)
        bridge.work()
    assert calls[:2] == ["GET /transactions/", f"GET /transactions/{sale['id']}/"]
    assert bridge.case(sent)["transaction_id"] == sale["id"]


# --- one dispute a sale --------------------------------------------------------------------------


def test_the_same_sale_through_two_networks_is_one_dispute(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    first = bridge.senders.prevention(**prevented())
    bridge.post(first)
    bridge.work()
    bridge.clock.sleep(7 * DAY)
    second = bridge.senders.rdr(**told_of(sale, rdr_date="2026-03-08"))
    delivery = bridge.post(second)
    bridge.settle()
    (dispute,) = bridge.disputes()
    holder, duplicate = bridge.case(first), bridge.case(second)
    assert (duplicate["state"], duplicate["duplicate_of"]) == ("duplicate", holder["id"])
    assert duplicate["dispute_id"] == dispute["id"]
    # its result was passed on, and so was the refund that the gateway has made
    assert (dispute["status"], dispute["resolution"]) == ("resolved", "issued_full_refund")
    assert (holder["state"], duplicate["resolution"]) == ("resolved", "issued_full_refund")
    assert len(refunds(bridge)) == 1
    assert bridge.delivery(delivery)["status"] == "forwarded"
    # the evidence of both is kept
    assert [one["id"] for one in duplicate["deliveries"]] == [delivery]
    assert duplicate["facts"]["auth_code"] == sale["auth_code"]
    assert any(duplicate["id"] in note for note in holder["notes"])
    # and its page leads to the case that has the dispute
    page = bridge.client.get(f"/cases/{duplicate['id']}").text
    assert f'<a href="/cases/{holder["id"]}">Another case</a>' in page
    assert "<b>c_" not in page
    assert any(holder["id"] in note for note in duplicate["notes"])


def test_two_reports_of_a_sale_at_the_same_time_are_one_dispute(bridge: InProcessBridge) -> None:
    sell(bridge)
    one, other = bridge.senders.prevention(**prevented()), bridge.senders.prevention(**prevented())
    bridge.post(one)
    bridge.post(other)
    bridge.settle()
    assert len(bridge.disputes()) == 1
    assert bridge.case(other)["duplicate_of"] == bridge.case(one)["id"]


def test_a_result_that_comes_for_a_duplicate_later_is_passed_on(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    facts = {"processor_transaction_id": sale["external_id"], "amount": 40.0}
    first, second = bridge.senders.chargeback(**facts), bridge.senders.chargeback(**facts)
    for sent in (first, second):
        bridge.post(sent)
        bridge.work()
    assert second.opens
    delivery = bridge.post(bridge.senders.result(second.opens[0], result="won"))
    bridge.inside.translate()
    assert bridge.delivery(delivery)["status"] == "pending"  # 29next does not know of it yet
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert [one["resolution"] for one in bridge.disputes()] == ["won"]


def test_a_result_of_a_duplicate_that_29next_refuses_fails_with_its_words(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    facts = {"processor_transaction_id": sale["external_id"], "amount": 40.0}
    first, second = bridge.senders.chargeback(**facts), bridge.senders.chargeback(**facts)
    for sent in (first, second):
        bridge.post(sent)
        bridge.work()
    assert second.opens
    bridge.next29.add_faults(fault("400", path="*/resolve/"))
    delivery = bridge.post(bridge.senders.result(second.opens[0], result="won"))
    with bridge.counted() as calls:
        bridge.settle()
    told = bridge.delivery(delivery)
    assert (told["status"], told["reason"]) == ("failed", "refused")
    assert "Bad request" in told["message"]
    assert len(calls) == 1
    bridge.next29.faults.clear()
    bridge.inside.replay(delivery)
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert [one["resolution"] for one in bridge.disputes()] == ["won"]


def test_a_result_of_a_duplicate_that_29next_never_takes_expires_and_can_be_replayed(
    bridge: InProcessBridge,
) -> None:
    sale = sell(bridge)
    facts = {"processor_transaction_id": sale["external_id"], "amount": 40.0}
    first, second = bridge.senders.chargeback(**facts), bridge.senders.chargeback(**facts)
    for sent in (first, second):
        bridge.post(sent)
        bridge.work()
    bridge.clock.sleep(30 * DAY)  # the first deadlines are long over: the result has its own
    assert second.opens
    bridge.next29.add_faults(fault("503", path="*/resolve/"))
    delivery = bridge.post(bridge.senders.result(second.opens[0], result="won"))
    resolving = f"POST /disputes/{bridge.case(first, 'chargeback')['dispute_id']}/resolve/"
    with bridge.counted() as calls:
        daily(bridge, 9)
    assert bridge.delivery(delivery)["status"] == "pending"
    assert calls.count(resolving) >= 9
    with bridge.counted() as calls:
        daily(bridge, 2)
    told = bridge.delivery(delivery)
    assert (told["status"], told["reason"]) == ("failed", "expired")
    with bridge.counted() as calls:
        daily(bridge, 1)
    assert calls == []
    bridge.next29.faults.clear()
    bridge.inside.replay(delivery)
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert [one["resolution"] for one in bridge.disputes()] == ["won"]


def daily(bridge: InProcessBridge, days: int) -> None:
    """Let days pass with a try in each, and what looks for its outcome."""
    for _ in range(days):
        bridge.clock.sleep(DAY)
        bridge.settle(times=2)


@pytest.mark.parametrize("number", ["BY-HAND-1", None])
def test_a_second_dispute_that_29next_refuses_is_looked_up_and_linked(
    bridge: InProcessBridge, number: str | None
) -> None:
    sale = sell(bridge)
    by_hand = bridge.next29.add_dispute(STORE, type="alert", transaction=sale["id"], case_number=number)
    sent = bridge.senders.rdr(**told_of(sale))
    delivery = bridge.post(sent)
    bridge.settle()
    (dispute,) = bridge.disputes()
    assert dispute["id"] == by_hand["id"]
    case = bridge.case(sent)
    assert (case["state"], case["dispute_id"]) == ("duplicate", by_hand["id"])
    holder = bridge.case(number or f"29next-{by_hand['id']}")
    assert case["duplicate_of"] == holder["id"]
    assert dispute["resolution"] == holder["resolution"] == "issued_full_refund"
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert len(refunds(bridge)) == 1


def test_a_dispute_that_turns_out_to_be_of_a_disputed_sale_is_linked(bridge: InProcessBridge) -> None:
    first = bridge.senders.rdr(**told_of({"auth_code": "A00001"}))
    bridge.post(first)
    bridge.work()
    own = bridge.case(first)["dispute_id"]
    sale = sell(bridge)
    second = bridge.senders.chargeback(processor_transaction_id=sale["external_id"], amount=40.0)
    third = bridge.senders.prevention(**prevented())
    bridge.post(second)
    bridge.post(third)
    bridge.work()
    bridge.tell("transaction.created", sale)
    bridge.settle()
    case, holder = bridge.case(first), bridge.case(third)
    assert (case["state"], case["duplicate_of"], case["dispute_id"]) == ("duplicate", holder["id"], own)
    assert any(f"Its own dispute {own}" in note for note in case["notes"])
    assert holder["transaction_id"] == bridge.case(second)["transaction_id"] == sale["id"]


def test_an_attachment_that_29next_refuses_as_second_is_looked_up_and_linked(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    sale = sell(bridge)
    by_hand = bridge.next29.add_dispute(STORE, type="alert", transaction=sale["id"], case_number="BY-HAND-2")
    bridge.tell("transaction.created", sale)
    bridge.settle()
    case, holder = bridge.case(sent), bridge.case("BY-HAND-2")
    assert (case["duplicate_of"], holder["dispute_id"]) == (holder["id"], by_hand["id"])
    assert case["dispute_id"] != by_hand["id"]


@pytest.mark.both_databases
def test_a_chargeback_after_an_alert_is_its_own_dispute_and_both_say_so(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    alert = bridge.senders.prevention(**prevented())
    bridge.post(alert)
    bridge.work()
    chargeback = bridge.senders.chargeback(processor_transaction_id=sale["external_id"], amount=40.0)
    bridge.post(chargeback)
    bridge.work()
    assert [one["type"] for one in bridge.disputes()] == ["alert", "chargeback"]
    one, other = bridge.case(alert), bridge.case(chargeback)
    assert (one["duplicate_of"], other["duplicate_of"]) == (None, None)
    assert one["notes"] == [f"The alert did not prevent chargeback {other['case_number']} ({other['id']})."]
    assert other["notes"] == [f"Alert {one['case_number']} ({one['id']}) did not prevent it."]


def test_a_chargeback_that_somebody_else_made_after_an_alert_says_so_on_both(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    alert, chargeback = bridge.senders.prevention(**prevented()), bridge.senders.chargeback(amount=40.0)
    for sent in (alert, chargeback):
        bridge.post(sent)
        bridge.work()
    here = f"disputes/{bridge.case(chargeback)['dispute_id']}/"
    bridge.tell("dispute.updated", bridge.api.call("PATCH", here, body={"transaction": sale["id"]}))
    bridge.work()
    number = bridge.case(alert)["case_number"]
    assert bridge.case(chargeback)["notes"] == [
        f"Alert {number} ({bridge.case(alert)['id']}) did not prevent it."
    ]
    other = sell(bridge, amount="55.00")
    second = bridge.senders.prevention(**prevented(amount=55.0))
    bridge.post(second)
    bridge.work()
    by_hand = bridge.next29.add_dispute(
        STORE, type="chargeback", transaction=other["id"], case_number=bridge.case(second)["case_number"]
    )
    bridge.tell("dispute.created", by_hand)
    bridge.work()
    made = bridge.case(bridge.case(second)["case_number"], "chargeback")
    assert made["dispute_id"] == by_hand["id"] != bridge.case(second)["dispute_id"]
    number = bridge.case(second)["case_number"]
    assert made["notes"] == [f"Alert {number} ({bridge.case(second)['id']}) did not prevent it."]
    assert bridge.case(second)["notes"] == [
        f"The alert did not prevent chargeback {number} ({made['id']}).",
    ]


def test_the_result_of_a_second_report_of_a_resolved_sale_is_there_already(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    first, second = bridge.senders.rdr(**told_of(sale)), bridge.senders.rdr(**told_of(sale))
    bridge.post(first)
    bridge.work()
    delivery = bridge.post(second)
    with bridge.counted() as calls:
        bridge.settle()
    assert calls == ["GET /transactions/"]
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert bridge.case(second)["resolution"] == bridge.case(first)["resolution"] == "issued_full_refund"


def test_the_same_arn_only_suggests_the_same_sale(bridge: InProcessBridge) -> None:
    arn = "74537600000000000000017"
    one, other = bridge.senders.prevention(arn=arn), bridge.senders.prevention(arn=arn)
    for sent in (one, other, bridge.senders.prevention(arn="74537600000000000000025")):
        bridge.post(sent)
        bridge.work()
    assert len(bridge.disputes()) == 3
    first, second = bridge.case(one), bridge.case(other)
    assert first["duplicate_of"] is second["duplicate_of"] is None
    assert first["notes"] == [_same("ARN", second)]
    assert second["notes"] == [_same("ARN", first)]


def test_the_same_network_id_only_suggests_the_same_sale(bridge: InProcessBridge) -> None:
    one, other = (bridge.senders.ethoca(transaction_id="300000000000042") for _ in range(2))
    for sent in (one, other):
        bridge.post(sent)
    bridge.work()
    assert bridge.case(one)["notes"] == [_same("network transaction id", bridge.case(other))]


@pytest.mark.both_databases
@pytest.mark.parametrize(("others", "hinted"), [(10, True), (21, False)])
def test_cases_of_other_stores_hide_a_hint_only_where_they_are_many(
    database_url: str, monkeypatch: pytest.MonkeyPatch, others: int, *, hinted: bool
) -> None:
    monkeypatch.setattr(inside.LOOKED_THROUGH, 20)
    arn = "74537600000000000000017"
    with StandIn(rate=0) as next29:
        next29.add_token("other-token", "other")
        tokens = {TOKEN: STORE, "other-token": "other"}
        with bridge_in_process(database_url, next29=next29, tokens=tokens) as bridge:
            first, last = (bridge.senders.prevention(arn=arn) for _ in range(2))
            for sent in (first, *(bridge.senders.prevention("other", arn=arn) for _ in range(others)), last):
                bridge.post(sent)
                bridge.inside.translate()
            assert bridge.case(last)["notes"] == [_same("ARN", bridge.case(first))] * hinted


@pytest.mark.parametrize("shared", ["arn", "network id"])
def test_an_alert_costs_the_same_however_many_others_share_its_numbers(
    bridge: InProcessBridge, shared: str
) -> None:
    """Placeholders stand in ARNs and network ids of real alerts, thousands of times."""
    steps = Steps(bridge.database)

    def cost_of_ten() -> int:
        steps.taken()
        for _ in range(10):
            if shared == "arn":
                bridge.post(bridge.senders.prevention(arn="74537600000000000000017"))
            else:
                bridge.post(bridge.senders.ethoca(transaction_id="300000000000042"))
            bridge.inside.translate()
        return steps.taken()

    cost_of_ten()  # there are not as many hints yet as a case gets at most
    at_first, *_, at_last = [cost_of_ten() for _ in range(5)]
    assert at_last < 1.2 * at_first


def test_a_number_that_means_something_else_elsewhere_suggests_nothing(bridge: InProcessBridge) -> None:
    arn = "74537600000000000000017"
    one, other = bridge.senders.rdr(order_id=arn), bridge.senders.prevention(arn=arn)
    for sent in (one, other):
        bridge.post(sent)
        bridge.work()
    assert bridge.case(one)["notes"] == bridge.case(other)["notes"] == []


def _same(what: str, other: Json) -> str:
    return f"It has the same {what} as alert {other['case_number']} ({other['id']}): perhaps the same sale."


# --- what others do to disputes -------------------------------------------------------------------


def test_a_dispute_made_by_hand_that_29next_told_of_is_adopted(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    sent = bridge.senders.prevention(case="BY-HAND-3", **prevented())
    by_hand = bridge.next29.add_dispute(STORE, type="alert", case_number="BY-HAND-3")
    bridge.tell("dispute.created", by_hand)
    bridge.work()
    assert bridge.case(sent)["providers"] == ["next"]
    delivery = bridge.post(sent)
    bridge.work()
    case = bridge.case(sent)
    assert (case["dispute_id"], case["transaction_id"]) == (by_hand["id"], sale["id"])
    assert case["providers"] == ["next", "midigator"]
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert [one["id"] for one in bridge.disputes()] == [by_hand["id"]]


def test_a_dispute_of_another_number_that_29next_told_of_is_not_doubled(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    by_hand = bridge.next29.add_dispute(STORE, type="alert", transaction=sale["id"], case_number=None)
    bridge.tell("dispute.created", by_hand)
    sent = bridge.senders.prevention(**prevented())
    with bridge.counted() as calls:
        bridge.post(sent)
        bridge.work()
    assert "POST /disputes/" not in calls
    assert bridge.case(sent)["dispute_id"] == by_hand["id"]
    assert bridge.case(sent)["state"] == "duplicate"


def test_the_webhook_of_an_own_dispute_changes_nothing(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention()
    bridge.post(sent)
    bridge.work()
    before = bridge.case(sent)
    with bridge.counted() as calls:
        for event in ("dispute.created", "dispute.updated"):
            (dispute,) = bridge.next29.stores[STORE].disputes.by_id.values()
            bridge.tell(event, dispute)
        bridge.work()
    assert calls == []
    assert bridge.case(sent) == before


def test_what_is_done_at_29next_shows_on_the_case_that_holds_the_dispute(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    by_hand = bridge.next29.add_dispute(STORE, type="alert", transaction=sale["id"], case_number="BY-HAND-4")
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.settle()
    assert bridge.case(sent)["duplicate_of"] == bridge.case("BY-HAND-4")["id"]
    here = f"disputes/{by_hand['id']}/resolve/"
    resolved = bridge.api.call("POST", here, body={"resolution": "could_not_find_order"})
    bridge.tell("dispute.updated", resolved)
    bridge.work()
    assert bridge.case("BY-HAND-4")["resolution"] == "could_not_find_order"


def test_what_a_person_does_at_29next_shows_on_the_case(bridge: InProcessBridge) -> None:
    sale = sell(bridge, bankcard_last_four="7777")
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    here = f"disputes/{bridge.case(sent)['dispute_id']}/"
    bridge.tell("dispute.updated", bridge.api.call("PATCH", here, body={"transaction": sale["id"]}))
    bridge.work()
    assert bridge.case(sent)["transaction_id"] == sale["id"]
    resolved = bridge.api.call("POST", f"{here}resolve/", body={"resolution": "could_not_find_order"})
    bridge.tell("dispute.updated", resolved)
    bridge.work()
    case = bridge.case(sent)
    assert (case["state"], case["resolution"]) == ("resolved", "could_not_find_order")


def test_events_of_a_dispute_out_of_order_and_repeated_leave_the_newest_state(
    bridge: InProcessBridge,
) -> None:
    sent = bridge.senders.prevention()
    bridge.post(sent)
    bridge.work()
    here = f"disputes/{bridge.case(sent)['dispute_id']}/"
    first = bridge.api.call("GET", here)
    second = bridge.api.call("POST", f"{here}resolve/", body={"resolution": "could_not_find_order"})
    third = bridge.api.call("PATCH", here, body={"resolution": "previously_refunded_nothing_to_do"})
    for state in (third, first, second, third, first, second, first):
        bridge.tell("dispute.updated", state)
        bridge.work()
        assert bridge.case(sent)["resolution"] == "previously_refunded_nothing_to_do"
    assert f"GET /{here}" in bridge.calls()


def test_what_is_undone_at_29next_is_not_done_again(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    sent = bridge.senders.rdr(**told_of(sale))
    bridge.post(sent)
    bridge.work()
    assert bridge.case(sent)["state"] == "resolved"
    here = f"disputes/{bridge.case(sent)['dispute_id']}/"
    undone = bridge.api.call("PATCH", here, body={"resolution": None, "transaction": None})
    with bridge.counted() as calls:
        bridge.tell("dispute.updated", undone)
        bridge.settle()
    assert calls == [f"GET /{here}"]
    case = bridge.case(sent)
    assert (case["resolution"], case["transaction_id"]) == (None, None)
    assert len(case["notes"]) == 2


@pytest.mark.parametrize("body", ["{}", '{"id": null, "status": "new"}', '{"status": "resolved"}'])
def test_a_dispute_that_29next_answers_without_its_id_is_read_once_more(
    bridge: InProcessBridge, body: str
) -> None:
    sent = bridge.senders.prevention()
    bridge.post(sent)
    bridge.work()
    here = f"disputes/{bridge.case(sent)['dispute_id']}/"
    changed = bridge.api.call("POST", f"{here}resolve/", body={"resolution": "issued_full_refund"})
    opened = bridge.api.call("PATCH", here, body={"resolution": None})
    odd = Fault(Does.ANSWER, method="GET", path=f"/{here}", status=200, body=body, count=1)
    bridge.next29.add_faults(odd)
    bridge.tell("dispute.updated", changed)
    bridge.tell("dispute.updated", opened)
    bridge.settle(times=10)
    case = bridge.case(sent)
    assert (case["resolution"], case["dispute_id"]) == (None, opened["id"])
    assert [one["outcome"] for one in case["attempts"][-2:]] == ["temporary", "ok"]


def test_a_dispute_that_29next_tells_of_while_its_creation_is_unclear_ends_the_doubt(
    bridge: InProcessBridge,
) -> None:
    sent = bridge.senders.prevention()
    bridge.next29.add_faults(fault("503_after", method="POST", count=1))
    bridge.post(sent)
    bridge.work()
    assert bridge.case(sent)["state"] == "unclear"
    (made,) = bridge.next29.stores[STORE].disputes.by_id.values()
    with bridge.counted() as calls:
        bridge.tell("dispute.created", made)
        bridge.work()
    assert calls == []
    assert (bridge.case(sent)["state"], bridge.case(sent)["dispute_id"]) == ("review", made["id"])


def test_a_second_dispute_of_one_case_is_told(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention()
    bridge.post(sent)
    bridge.work()
    second = bridge.next29.add_dispute(STORE, type="alert", case_number=bridge.case(sent)["case_number"])
    bridge.tell("dispute.created", second)
    bridge.work()
    case = bridge.case(sent)
    assert case["dispute_id"] != second["id"]
    assert case["notes"] == [f"29next has more than one dispute of this case: also {second['id']}."]


# --- a person decides -----------------------------------------------------------------------------


def test_a_person_attaches_a_transaction(bridge: InProcessBridge) -> None:
    twins = [sell(bridge, auth_code=None), sell(bridge, auth_code=None)]
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    case = bridge.case(sent)
    assert case["state"] == "review"
    assert {one["id"]: one["why"] for one in case["match"]["candidates"]} == {
        one["id"]: "several fit" for one in twins
    }
    assert bridge.inside.decide(case["id"], twins[1]["id"])
    bridge.work()
    case = bridge.case(sent)
    assert (case["state"], case["transaction_id"], case["match"]["rule"]) == (
        "open",
        twins[1]["id"],
        "manual",
    )
    assert not bridge.inside.decide(case["id"], twins[0]["id"])


def post_match(bridge: InProcessBridge, case: str, body: object) -> tuple[int, Json]:
    answer = bridge.client.post(f"/api/cases/{case}/match", json=body)
    assert answer.json is not None
    return answer.status_code, answer.json


def test_a_match_that_is_nested_too_deep_is_refused(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    headers = {"Content-Type": "application/json"}
    path = f"/api/cases/{bridge.case(sent)['id']}/match"
    answer = bridge.client.post(path, data=b"[" * 100_000, headers=headers)
    assert answer.status_code == 400


def test_a_program_attaches_a_transaction(bridge: InProcessBridge) -> None:
    twins = [sell(bridge, auth_code=None), sell(bridge, auth_code=None)]
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    case = bridge.case(sent)
    status, answer = post_match(bridge, case["id"], {"transaction": twins[0]["id"]})
    assert (status, answer["id"], answer["match"]["rule"]) == (200, case["id"], "manual")
    with bridge.counted() as calls:
        bridge.work()
    assert calls == [f"PATCH /disputes/{case['dispute_id']}/"]
    assert bridge.disputes()[0]["transaction"] == twins[0]["id"]
    status, answer = post_match(bridge, case["id"], {"transaction": twins[1]["id"]})
    assert (status, answer["error"]) == (400, "bad_request")
    assert post_match(bridge, "c_nothing", {"transaction": 1})[0] == 404


def test_a_program_states_that_there_is_none(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    odds: tuple[object, ...] = ({}, [], None, {"transaction": "1"}, {"transaction": 0}, {"transaction": True})
    for odd in odds:
        status, answer = post_match(bridge, bridge.case(sent)["id"], odd)
        assert (status, answer["error"]) == (400, "bad_request")
    status, answer = post_match(bridge, bridge.case(sent)["id"], {"transaction": None})
    assert (status, answer["state"], answer["match"]["rule"]) == (200, "open", "none")
    with bridge.counted() as calls:
        bridge.work()
    assert calls == []


def test_a_person_s_match_that_29next_never_takes_is_given_up_in_the_end_and_said(
    bridge: InProcessBridge,
) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    bridge.clock.sleep(30 * DAY)
    sale = sell(bridge)
    bridge.next29.add_faults(fault("503", method="PATCH"))
    assert bridge.inside.decide(bridge.case(sent)["id"], sale["id"])
    daily(bridge, 7)
    assert bridge.case(sent)["notes"] == []
    daily(bridge, 2)
    with bridge.counted() as calls:
        daily(bridge, 1)
    assert calls == []
    assert "given up" in bridge.case(sent)["notes"][-1]
    bridge.next29.faults.clear()
    assert bridge.inside.decide(bridge.case(sent)["id"], sale["id"])
    bridge.settle()
    assert bridge.case(sent)["transaction_id"] == sale["id"]


def test_a_person_s_word_that_there_is_none_stands(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    assert bridge.inside.decide(bridge.case(sent)["id"], None)
    bridge.work()
    assert (bridge.case(sent)["state"], bridge.case(sent)["match"]["rule"]) == ("open", "none")
    with bridge.counted() as calls:
        bridge.tell("transaction.created", sell(bridge))
        bridge.work()
    assert calls == []
    assert bridge.case(sent)["transaction_id"] is None


def test_a_transaction_that_29next_refuses_is_said_on_the_case(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.work()
    assert bridge.inside.decide(bridge.case(sent)["id"], 999)
    bridge.work()
    case = bridge.case(sent)
    assert (case["state"], case["transaction_id"]) == ("review", None)
    assert "does not exist" in case["notes"][0]


# --- moving over, watching, recovering ------------------------------------------------------------


def test_a_store_that_looks_first_doubles_nothing_of_what_another_service_did(database_url: str) -> None:
    with bridge_in_process(database_url, store={"look_first": True}) as bridge:
        sale = sell(bridge)
        rdr = bridge.senders.rdr(**told_of(sale))
        assert rdr.opens
        theirs = bridge.next29.add_dispute(
            STORE, type="alert", case_number=rdr.opens[0], transaction=sale["id"]
        )
        here = f"disputes/{theirs['id']}/"
        body = {"resolution": "issued_full_refund", "create_external_refund": True}
        bridge.api.call("POST", f"{here}resolve/", body=body)
        bridge.post(rdr)
        bridge.settle()
        assert (bridge.case(rdr)["state"], bridge.case(rdr)["dispute_id"]) == ("resolved", theirs["id"])
        assert len(bridge.disputes()) == len(refunds(bridge)) == 1


def test_a_store_that_looks_first_looks_before_every_write(database_url: str) -> None:
    with bridge_in_process(database_url, store={"look_first": True}) as bridge:
        sale = sell(bridge)
        sent = bridge.senders.rdr(**told_of(sale))
        bridge.post(sent)
        bridge.settle()
        calls = bridge.calls()
        here = f"disputes/{bridge.case(sent)['dispute_id']}/"
        assert calls.index("GET /disputes/") < calls.index("POST /disputes/")
        assert calls.index(f"GET /{here}") < calls.index(f"POST /{here}resolve/")
        assert bridge.case(sent)["state"] == "resolved"
        assert len(refunds(bridge)) == 1


def test_a_store_that_observes_shows_what_would_be_sent_and_sends_nothing(database_url: str) -> None:
    with bridge_in_process(database_url, store={"observe": True}) as bridge:
        sale = sell(bridge)
        sent = bridge.senders.rdr(**told_of(sale))
        delivery = bridge.post(sent)
        bridge.settle()
        assert {call.partition(" ")[0] for call in bridge.calls()} == {"GET"}
        told = bridge.delivery(delivery)
        assert (told["status"], told["reason"]) == ("ignored", "ignore")
        case = bridge.case(sent)
        assert case["match"]["rule"] == "auth_code"
        assert any(f"'transaction': {sale['id']}" in note for note in case["notes"])


@pytest.mark.both_databases
def test_after_days_of_observing_a_replay_adopts_what_another_service_did_and_does_the_rest(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(time.time() - 3 * DAY)  # the command line has the machine's own
    monkeypatch.setenv("DATABASE_URL", database_url)
    with bridge_in_process(database_url, clock=clock, store={"observe": True}) as bridge:
        day = clock.iso[:10]
        sales = [sell(bridge, date_created=clock.iso) for _ in range(4)]
        told = {"rdr_date": day, "transaction_date": day}
        theirs, other, refunded, missed = (bridge.senders.rdr(**told_of(sale, **told)) for sale in sales)
        resolution = {"resolution": "issued_full_refund", "create_external_refund": True}
        for sent, sale in zip((theirs, other, refunded, missed), sales, strict=True):
            bridge.post(sent)
            bridge.settle()
            if sent is missed:
                continue
            number = "OF-THEIR-OWN" if sent is other else (sent.opens or ("",))[0]
            made = bridge.next29.add_dispute(STORE, type="alert", case_number=number, transaction=sale["id"])
            if sent is refunded:
                bridge.api.call("POST", f"disputes/{made['id']}/resolve/", body=resolution)
            clock.sleep(DAY / 2)
        bridge.post(bridge.senders.prevention(prevention_type="tc40"))  # which only tells
        bridge.settle()
        assert {row["status"] for row in bridge.deliveries()} == {"ignored"}
        assert (len(bridge.disputes()), len(refunds(bridge))) == (3, 1)

        assert cli.main(["replay", "--status", "ignored", "--since", day]) == 0
        clock.now = time.time()
        with bridge_in_process(
            database_url, clock=clock, next29=bridge.next29, store={"look_first": True}
        ) as moved:
            for _ in range(2):
                moved.settle()
                moved.inside.replay(*(row["id"] for row in moved.deliveries()))
            moved.settle()
            disputes = moved.disputes()
            assert len(disputes) == len(refunds(moved)) == 4
            assert sorted(one["transaction"] for one in disputes) == [sale["id"] for sale in sales]
            assert {one["resolution"] for one in disputes} == {"issued_full_refund"}
            ended = [(row["status"], row["reason"]) for row in moved.deliveries()]
            assert ended == [("ignored", "inform"), *[("forwarded", None)] * 4]


@pytest.fixture
def backed_up(
    tmp_path: Path, make_database: MakeDatabase
) -> Iterator[tuple[InProcessBridge, Callable[[], InProcessBridge]]]:
    """A bridge, and a way to put its database back to what it was before anything was forwarded."""
    with ExitStack() as stack:
        url = stack.enter_context(make_database("sqlite"))
        file = Path(url.removeprefix("sqlite:///"))
        bridge = stack.enter_context(bridge_in_process(url))

        def restore() -> InProcessBridge:
            bridge.database.close()
            for name in (f"{file}-wal", f"{file}-shm"):
                Path(name).unlink(missing_ok=True)
            shutil.copy(tmp_path / "backup", file)
            return stack.enter_context(bridge_in_process(url, clock=bridge.clock, next29=bridge.next29))

        yield bridge, restore


def back_up(bridge: InProcessBridge, folder: Path) -> None:
    with closing(sqlite3.connect(bridge.settings.database_url.removeprefix("sqlite:///"))) as source:
        source.execute("VACUUM INTO ?", [str(folder / "backup")])


def test_after_a_restored_backup_everything_runs_and_nothing_is_doubled(
    backed_up: tuple[InProcessBridge, Callable[[], InProcessBridge]], tmp_path: Path
) -> None:
    bridge, restore = backed_up
    sale, other = sell(bridge), sell(bridge, amount="55.00", bankcard_last_four="1111")
    rdr = bridge.senders.rdr(**told_of(sale))
    chargeback = bridge.senders.chargeback(processor_transaction_id=other["external_id"], amount=55.0)
    assert chargeback.opens
    won = bridge.senders.result(chargeback.opens[0])
    revoked = bridge.senders.verifi()
    withdrawal = bridge.senders.verifi(
        case=(revoked.opens or ("",))[0], caseStatus="REVOKED", eventId="evt-revoked"
    )
    done, resolved_later = bridge.senders.prevention(), bridge.senders.rdr()
    bridge.post(done)
    bridge.work()
    for sent in (rdr, chargeback, won, revoked, withdrawal):
        bridge.post(sent)
    bridge.inside.translate(3)  # the others are not even translated
    back_up(bridge, tmp_path)
    lost = bridge.senders.prevention()
    bridge.post(lost)
    bridge.post(resolved_later)
    bridge.settle()
    ledger = bridge.next29.ledger
    before = [(one.kind, one.facts) for one in ledger.commits]
    assert {kind for kind, _ in before} == {"dispute", "resolution", "refund"}

    since = bridge.clock.now
    restored = restore()
    assert restored.inside.recover(since, STORE) >= 1
    for sent in (lost, resolved_later, done):  # providers try again, or tell more of a case
        restored.post(replace(sent, body=sent.body.replace(b"SHOP*TEST", b"SHOP*AGAIN")))
    restored.settle(times=8)
    assert [(one.kind, one.facts) for one in ledger.commits] == before
    assert all(row["status"] == "forwarded" for row in restored.deliveries())
    assert restored.case(rdr)["refund"] == "recorded"
    assert restored.case(revoked)["state"] == "withdrawn"
    assert restored.inside.reconcile(restored.api, restored.store, date(2026, 1, 1)) == []
    # what is new since is no longer looked up
    restored.clock.sleep(HOUR)
    with restored.counted() as calls:
        restored.post(bridge.senders.prevention(prevention_timestamp=restored.clock.iso))
        restored.settle()
    assert calls == ["POST /disputes/"]


def test_what_was_done_since_for_a_case_that_the_backup_has_settled_is_not_done_again(
    backed_up: tuple[InProcessBridge, Callable[[], InProcessBridge]], tmp_path: Path
) -> None:
    bridge, restore = backed_up
    chargeback, revoked, reviewed = bridge.senders.chargeback(), bridge.senders.verifi(), bridge.senders.rdr()
    for sent in (chargeback, revoked, reviewed):
        bridge.post(sent)
    bridge.settle()
    bridge.clock.sleep(5 * DAY)  # the deadlines of all have passed
    fresh = bridge.senders.rdr(**told_of({"auth_code": "A00001"}))
    bridge.post(fresh)
    bridge.settle()
    back_up(bridge, tmp_path)
    since = bridge.clock.now
    assert chargeback.opens
    assert revoked.opens
    sale, other = sell(bridge), sell(bridge, amount="55.00", bankcard_last_four="1111")
    late = (
        bridge.senders.result(chargeback.opens[0]),
        bridge.senders.verifi(case=revoked.opens[0], caseStatus="REVOKED", eventId="evt-revoked"),
    )

    def again(bridge: InProcessBridge) -> None:
        for sent in late:
            bridge.post(sent)
        bridge.tell("transaction.created", sale)
        assert bridge.inside.decide(bridge.case(reviewed)["id"], other["id"])
        bridge.settle()

    again(bridge)
    ledger = bridge.next29.ledger
    before = [(one.kind, one.facts) for one in ledger.commits]
    assert {kind for kind, _ in before} == {"dispute", "resolution", "change", "refund"}
    assert len(refunds(bridge)) == 2

    restored = restore()
    restored.inside.recover(since)
    again(restored)
    assert [(one.kind, one.facts) for one in ledger.commits] == before
    assert restored.deliveries(status="pending") == restored.deliveries(status="failed") == []


def test_without_recovery_a_restored_backup_would_double(
    backed_up: tuple[InProcessBridge, Callable[[], InProcessBridge]], tmp_path: Path
) -> None:
    bridge, restore = backed_up
    bridge.post(bridge.senders.prevention())
    back_up(bridge, tmp_path)
    bridge.work()
    restored = restore()
    restored.settle()
    assert len(restored.disputes()) == 2
