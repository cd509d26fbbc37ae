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
from typing import Any

import pytest

from bridge import cli
from bridge.reconcile import reconcile
from bridge.sandbox import STORE, Does, Fault, fault
from tests.conftest import MakeDatabase
from tests.support.desk import API_TOKEN, DAY, HOUR, Clock, Desk, Json, desk

CARD = {"bankcard_first_six": "424242", "bankcard_last_four": "0042"}


@pytest.fixture
def shop(database_url: str) -> Iterator[Desk]:
    with desk(database_url) as made:
        yield made


def sell(shop: Desk, **changes: Any) -> Json:
    """A sale of the day before, with facts of its own."""
    number = len(shop.sandbox.stores[STORE].transactions.by_id) + 1
    facts = {
        "amount": "40.00",
        "currency": "USD",
        "auth_code": f"A{number:05}",
        "network_transaction_id": f"30000000{number:07}",
        "external_id": f"pi_{number:016}",
        "order": str(1000 + number),
        "date_created": "2026-02-28T12:00:00+00:00",
        **CARD,
    }
    return shop.sandbox.add_transaction(STORE, **{**facts, **changes})


def told_of(sale: Json, **changes: Any) -> Json:
    """What Midigator says of a sale in an RDR case."""
    return {
        "rdr_date": "2026-03-01",
        "transaction_date": "2026-02-28",
        "amount": 40.0,
        "auth_code": sale["auth_code"],
        "card_first_6": CARD["bankcard_first_six"],
        "card_last_4": CARD["bankcard_last_four"],
        **changes,
    }


def prevented(**changes: Any) -> Json:
    """What Midigator says of a sale in a prevention alert."""
    return {
        "prevention_timestamp": "2026-03-01T10:00:00Z",
        "transaction_timestamp": "2026-02-28T12:00:00Z",
        "amount": 40.0,
        "card_first_6": CARD["bankcard_first_six"],
        "card_last_4": CARD["bankcard_last_four"],
        **changes,
    }


def refunds(shop: Desk) -> list[Json]:
    return shop.sandbox.ledger.refunds


# --- a transaction that comes later -------------------------------------------------------------


def test_a_transaction_that_arrives_later_matches_an_open_case_by_itself(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    assert (shop.case(sent)["state"], shop.case(sent)["transaction_id"]) == ("review", None)
    sale = sell(shop)
    shop.tell("transaction.created", sale)
    shop.work()
    case = shop.case(sent)
    assert (case["state"], case["transaction_id"]) == ("open", sale["id"])
    assert case["match"] == {"rule": "card_and_amount", "candidates": []}
    (dispute,) = shop.disputes()
    assert dispute["transaction"] == sale["id"]


def test_a_transaction_that_was_read_matches_an_open_case_as_well(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    sale = sell(shop)
    shop.inbox.hear_of(STORE, [sale])
    shop.work()
    assert shop.case(sent)["transaction_id"] == sale["id"]


def test_a_transaction_that_comes_after_the_deadline_matches_nothing(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    shop.clock.sleep(25 * HOUR)
    with shop.counted() as calls:
        shop.tell("transaction.created", sell(shop))
        shop.work()
    assert calls == []
    assert shop.case(sent)["transaction_id"] is None


def test_a_transaction_that_is_another_one_changes_nothing(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    before = shop.case(sent)
    with shop.counted() as calls:
        shop.tell("transaction.created", sell(shop, bankcard_last_four="1234"))
        shop.work()
    assert calls == []
    shop.tell("transaction.created", sell(shop, amount="41.00"))
    shop.work()
    after = shop.case(sent)
    assert after["transaction_id"] is None
    assert [one["why"] for one in after["match"]["candidates"]] == ["too little evidence"]
    assert before["attempts"] != after["attempts"]


def test_the_refund_of_an_rdr_case_is_recorded_once_when_its_transaction_comes_later(shop: Desk) -> None:
    sent = shop.senders.rdr(**told_of(sale={"auth_code": "A00001"}))
    delivery = shop.post(sent)
    shop.work()
    assert shop.case(sent)["resolution"] == "issued_full_refund"
    assert shop.case(sent)["state"] == "review"  # its transaction is not known
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert refunds(shop) == []
    sale = sell(shop)
    for event in ("transaction.created", "transaction.updated", "transaction.updated"):
        shop.tell(event, sale)
        shop.work()
    shop.settle()
    (refund,) = refunds(shop)
    assert refund == {
        "id": refund["id"],
        "transaction": sale["id"],
        "amount": "40.00",
        "is_external": True,
        "notified": False,
    }
    assert f"POST /transactions/{sale['id']}/refund/" in shop.calls()
    assert shop.case(sent)["refund"] == "recorded"


def test_the_refund_of_an_alert_in_another_currency_is_of_the_transaction_s_amount(shop: Desk) -> None:
    sent = shop.senders.rdr(**told_of({"auth_code": "A00001"}, amount=6000.0, currency="JPY"))
    shop.post(sent)
    shop.work()
    shop.tell("transaction.created", sell(shop))
    shop.work()
    assert [one["amount"] for one in refunds(shop)] == ["40.00"]


def test_a_refund_that_comes_before_its_payment_leads_to_it(shop: Desk) -> None:
    sale = sell(shop, auth_code=None)
    refund = shop.sandbox.add_transaction(
        STORE, type="refund", parent_id=sale["id"], auth_code="R00001", amount="40.00"
    )
    sent = shop.senders.rdr(**told_of(refund, card_first_6=None, card_last_4=None))
    with shop.counted() as calls:
        shop.post(sent)
        shop.work()
    assert calls[:2] == ["GET /transactions/", f"GET /transactions/{sale['id']}/"]
    assert shop.case(sent)["transaction_id"] == sale["id"]


# --- one dispute a sale --------------------------------------------------------------------------


def test_the_same_sale_through_two_networks_is_one_dispute(shop: Desk) -> None:
    sale = sell(shop)
    first = shop.senders.prevention(**prevented())
    shop.post(first)
    shop.work()
    shop.clock.sleep(7 * DAY)
    second = shop.senders.rdr(**told_of(sale, rdr_date="2026-03-08"))
    delivery = shop.post(second)
    shop.settle()
    (dispute,) = shop.disputes()
    holder, duplicate = shop.case(first), shop.case(second)
    assert (duplicate["state"], duplicate["duplicate_of"]) == ("duplicate", holder["id"])
    assert duplicate["dispute_id"] == dispute["id"]
    # its result was passed on, and so was the refund that the gateway has made
    assert (dispute["status"], dispute["resolution"]) == ("resolved", "issued_full_refund")
    assert (holder["state"], duplicate["resolution"]) == ("resolved", "issued_full_refund")
    assert len(refunds(shop)) == 1
    assert shop.delivery(delivery)["status"] == "forwarded"
    # the evidence of both is kept
    assert [one["id"] for one in duplicate["deliveries"]] == [delivery]
    assert duplicate["facts"]["auth_code"] == sale["auth_code"]
    assert any(duplicate["id"] in note for note in holder["notes"])
    assert any(holder["id"] in note for note in duplicate["notes"])


def test_two_reports_of_a_sale_at_the_same_time_are_one_dispute(shop: Desk) -> None:
    sell(shop)
    one, other = shop.senders.prevention(**prevented()), shop.senders.prevention(**prevented())
    shop.post(one)
    shop.post(other)
    shop.settle()
    assert len(shop.disputes()) == 1
    assert shop.case(other)["duplicate_of"] == shop.case(one)["id"]


def test_a_result_that_comes_for_a_duplicate_later_is_passed_on(shop: Desk) -> None:
    sale = sell(shop)
    facts = {"processor_transaction_id": sale["external_id"], "amount": 40.0}
    first, second = shop.senders.chargeback(**facts), shop.senders.chargeback(**facts)
    for sent in (first, second):
        shop.post(sent)
        shop.work()
    assert second.opens
    delivery = shop.post(shop.senders.result(second.opens[0], result="won"))
    shop.inbox.translate(shop.judge.verdict, 50)
    assert shop.delivery(delivery)["status"] == "pending"  # 29next does not know of it yet
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert [one["resolution"] for one in shop.disputes()] == ["won"]


def test_a_result_of_a_duplicate_that_29next_refuses_fails_with_its_words(shop: Desk) -> None:
    sale = sell(shop)
    facts = {"processor_transaction_id": sale["external_id"], "amount": 40.0}
    first, second = shop.senders.chargeback(**facts), shop.senders.chargeback(**facts)
    for sent in (first, second):
        shop.post(sent)
        shop.work()
    assert second.opens
    shop.sandbox.add_faults(fault("400", path="*/resolve/"))
    delivery = shop.post(shop.senders.result(second.opens[0], result="won"))
    with shop.counted() as calls:
        shop.settle()
    told = shop.delivery(delivery)
    assert (told["status"], told["reason"]) == ("failed", "refused")
    assert "Bad request" in told["message"]
    assert len(calls) == 1
    shop.sandbox.faults.clear()
    shop.inbox.replay([delivery])
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert [one["resolution"] for one in shop.disputes()] == ["won"]


def test_a_result_of_a_duplicate_that_29next_never_takes_expires_and_can_be_replayed(shop: Desk) -> None:
    sale = sell(shop)
    facts = {"processor_transaction_id": sale["external_id"], "amount": 40.0}
    first, second = shop.senders.chargeback(**facts), shop.senders.chargeback(**facts)
    for sent in (first, second):
        shop.post(sent)
        shop.work()
    shop.clock.sleep(30 * DAY)  # the first deadlines are long over: the result has its own
    assert second.opens
    shop.sandbox.add_faults(fault("503", path="*/resolve/"))
    delivery = shop.post(shop.senders.result(second.opens[0], result="won"))
    resolving = f"POST /disputes/{shop.case(first, 'chargeback')['dispute_id']}/resolve/"
    with shop.counted() as calls:
        daily(shop, 9)
    assert shop.delivery(delivery)["status"] == "pending"
    assert calls.count(resolving) >= 9
    with shop.counted() as calls:
        daily(shop, 2)
    told = shop.delivery(delivery)
    assert (told["status"], told["reason"]) == ("failed", "expired")
    with shop.counted() as calls:
        daily(shop, 1)
    assert calls == []
    shop.sandbox.faults.clear()
    shop.inbox.replay([delivery])
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert [one["resolution"] for one in shop.disputes()] == ["won"]


def daily(shop: Desk, days: int) -> None:
    """Let days pass with a try in each, and what looks for its outcome."""
    for _ in range(days):
        shop.clock.sleep(DAY)
        shop.settle(times=2)


@pytest.mark.parametrize("number", ["BY-HAND-1", None])
def test_a_second_dispute_that_29next_refuses_is_looked_up_and_linked(shop: Desk, number: str | None) -> None:
    sale = sell(shop)
    by_hand = shop.sandbox.add_dispute(STORE, type="alert", transaction=sale["id"], case_number=number)
    sent = shop.senders.rdr(**told_of(sale))
    delivery = shop.post(sent)
    shop.settle()
    (dispute,) = shop.disputes()
    assert dispute["id"] == by_hand["id"]
    case = shop.case(sent)
    assert (case["state"], case["dispute_id"]) == ("duplicate", by_hand["id"])
    holder = shop.case(number or f"29next-{by_hand['id']}")
    assert case["duplicate_of"] == holder["id"]
    assert dispute["resolution"] == holder["resolution"] == "issued_full_refund"
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert len(refunds(shop)) == 1


def test_a_dispute_that_turns_out_to_be_of_a_disputed_sale_is_linked(shop: Desk) -> None:
    first = shop.senders.rdr(**told_of({"auth_code": "A00001"}))
    shop.post(first)
    shop.work()
    own = shop.case(first)["dispute_id"]
    sale = sell(shop)
    second = shop.senders.chargeback(processor_transaction_id=sale["external_id"], amount=40.0)
    third = shop.senders.prevention(**prevented())
    shop.post(second)
    shop.post(third)
    shop.work()
    shop.tell("transaction.created", sale)
    shop.settle()
    case, holder = shop.case(first), shop.case(third)
    assert (case["state"], case["duplicate_of"], case["dispute_id"]) == ("duplicate", holder["id"], own)
    assert any(f"Its own dispute {own}" in note for note in case["notes"])
    assert holder["transaction_id"] == shop.case(second)["transaction_id"] == sale["id"]


def test_an_attachment_that_29next_refuses_as_second_is_looked_up_and_linked(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    sale = sell(shop)
    by_hand = shop.sandbox.add_dispute(STORE, type="alert", transaction=sale["id"], case_number="BY-HAND-2")
    shop.tell("transaction.created", sale)
    shop.settle()
    case, holder = shop.case(sent), shop.case("BY-HAND-2")
    assert (case["duplicate_of"], holder["dispute_id"]) == (holder["id"], by_hand["id"])
    assert case["dispute_id"] != by_hand["id"]


@pytest.mark.both_databases
def test_a_chargeback_after_an_alert_is_its_own_dispute_and_both_say_so(shop: Desk) -> None:
    sale = sell(shop)
    alert = shop.senders.prevention(**prevented())
    shop.post(alert)
    shop.work()
    chargeback = shop.senders.chargeback(processor_transaction_id=sale["external_id"], amount=40.0)
    shop.post(chargeback)
    shop.work()
    assert [one["type"] for one in shop.disputes()] == ["alert", "chargeback"]
    one, other = shop.case(alert), shop.case(chargeback)
    assert (one["duplicate_of"], other["duplicate_of"]) == (None, None)
    assert one["notes"] == [f"The alert did not prevent chargeback {other['case_number']} ({other['id']})."]
    assert other["notes"] == [f"Alert {one['case_number']} ({one['id']}) did not prevent it."]


def test_a_chargeback_that_somebody_else_made_after_an_alert_says_so_on_both(shop: Desk) -> None:
    sale = sell(shop)
    alert, chargeback = shop.senders.prevention(**prevented()), shop.senders.chargeback(amount=40.0)
    for sent in (alert, chargeback):
        shop.post(sent)
        shop.work()
    here = f"disputes/{shop.case(chargeback)['dispute_id']}/"
    shop.tell("dispute.updated", shop.api.call("PATCH", here, body={"transaction": sale["id"]}))
    shop.work()
    number = shop.case(alert)["case_number"]
    assert shop.case(chargeback)["notes"] == [
        f"Alert {number} ({shop.case(alert)['id']}) did not prevent it."
    ]
    other = sell(shop, amount="55.00")
    second = shop.senders.prevention(**prevented(amount=55.0))
    shop.post(second)
    shop.work()
    by_hand = shop.sandbox.add_dispute(
        STORE, type="chargeback", transaction=other["id"], case_number=shop.case(second)["case_number"]
    )
    shop.tell("dispute.created", by_hand)
    shop.work()
    made = shop.case(shop.case(second)["case_number"], "chargeback")
    assert made["dispute_id"] == by_hand["id"] != shop.case(second)["dispute_id"]
    number = shop.case(second)["case_number"]
    assert made["notes"] == [f"Alert {number} ({shop.case(second)['id']}) did not prevent it."]
    assert shop.case(second)["notes"] == [
        f"The alert did not prevent chargeback {number} ({made['id']}).",
    ]


def test_the_result_of_a_second_report_of_a_resolved_sale_is_there_already(shop: Desk) -> None:
    sale = sell(shop)
    first, second = shop.senders.rdr(**told_of(sale)), shop.senders.rdr(**told_of(sale))
    shop.post(first)
    shop.work()
    delivery = shop.post(second)
    with shop.counted() as calls:
        shop.settle()
    assert calls == ["GET /transactions/"]
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert shop.case(second)["resolution"] == shop.case(first)["resolution"] == "issued_full_refund"


def test_the_same_arn_only_suggests_the_same_sale(shop: Desk) -> None:
    arn = "74537600000000000000017"
    one, other = shop.senders.prevention(arn=arn), shop.senders.prevention(arn=arn)
    for sent in (one, other, shop.senders.prevention(arn="74537600000000000000025")):
        shop.post(sent)
        shop.work()
    assert len(shop.disputes()) == 3
    first, second = shop.case(one), shop.case(other)
    assert first["duplicate_of"] is second["duplicate_of"] is None
    assert first["notes"] == [_same("ARN", second)]
    assert second["notes"] == [_same("ARN", first)]


def test_the_same_network_id_only_suggests_the_same_sale(shop: Desk) -> None:
    one, other = (shop.senders.ethoca(transaction_id="300000000000042") for _ in range(2))
    for sent in (one, other):
        shop.post(sent)
    shop.work()
    assert shop.case(one)["notes"] == [_same("network transaction id", shop.case(other))]


def test_a_number_that_means_something_else_elsewhere_suggests_nothing(shop: Desk) -> None:
    arn = "74537600000000000000017"
    one, other = shop.senders.rdr(order_id=arn), shop.senders.prevention(arn=arn)
    for sent in (one, other):
        shop.post(sent)
        shop.work()
    assert shop.case(one)["notes"] == shop.case(other)["notes"] == []


def _same(what: str, other: Json) -> str:
    return f"It has the same {what} as alert {other['case_number']} ({other['id']}): perhaps the same sale."


# --- what others do to disputes -------------------------------------------------------------------


def test_a_dispute_made_by_hand_that_29next_told_of_is_adopted(shop: Desk) -> None:
    sale = sell(shop)
    sent = shop.senders.prevention(case="BY-HAND-3", **prevented())
    by_hand = shop.sandbox.add_dispute(STORE, type="alert", case_number="BY-HAND-3")
    shop.tell("dispute.created", by_hand)
    shop.work()
    assert shop.case(sent)["providers"] == ["next"]
    delivery = shop.post(sent)
    shop.work()
    case = shop.case(sent)
    assert (case["dispute_id"], case["transaction_id"]) == (by_hand["id"], sale["id"])
    assert case["providers"] == ["next", "midigator"]
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert [one["id"] for one in shop.disputes()] == [by_hand["id"]]


def test_a_dispute_of_another_number_that_29next_told_of_is_not_doubled(shop: Desk) -> None:
    sale = sell(shop)
    by_hand = shop.sandbox.add_dispute(STORE, type="alert", transaction=sale["id"], case_number=None)
    shop.tell("dispute.created", by_hand)
    sent = shop.senders.prevention(**prevented())
    with shop.counted() as calls:
        shop.post(sent)
        shop.work()
    assert "POST /disputes/" not in calls
    assert shop.case(sent)["dispute_id"] == by_hand["id"]
    assert shop.case(sent)["state"] == "duplicate"


def test_the_webhook_of_an_own_dispute_changes_nothing(shop: Desk) -> None:
    sent = shop.senders.prevention()
    shop.post(sent)
    shop.work()
    before = shop.case(sent)
    with shop.counted() as calls:
        for event in ("dispute.created", "dispute.updated"):
            (dispute,) = shop.sandbox.stores[STORE].disputes.by_id.values()
            shop.tell(event, dispute)
        shop.work()
    assert calls == []
    assert shop.case(sent) == before


def test_what_is_done_at_29next_shows_on_the_case_that_holds_the_dispute(shop: Desk) -> None:
    sale = sell(shop)
    by_hand = shop.sandbox.add_dispute(STORE, type="alert", transaction=sale["id"], case_number="BY-HAND-4")
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.settle()
    assert shop.case(sent)["duplicate_of"] == shop.case("BY-HAND-4")["id"]
    here = f"disputes/{by_hand['id']}/resolve/"
    resolved = shop.api.call("POST", here, body={"resolution": "could_not_find_order"})
    shop.tell("dispute.updated", resolved)
    shop.work()
    assert shop.case("BY-HAND-4")["resolution"] == "could_not_find_order"


def test_what_a_person_does_at_29next_shows_on_the_case(shop: Desk) -> None:
    sale = sell(shop, bankcard_last_four="7777")
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    here = f"disputes/{shop.case(sent)['dispute_id']}/"
    shop.tell("dispute.updated", shop.api.call("PATCH", here, body={"transaction": sale["id"]}))
    shop.work()
    assert shop.case(sent)["transaction_id"] == sale["id"]
    resolved = shop.api.call("POST", f"{here}resolve/", body={"resolution": "could_not_find_order"})
    shop.tell("dispute.updated", resolved)
    shop.work()
    case = shop.case(sent)
    assert (case["state"], case["resolution"]) == ("resolved", "could_not_find_order")


def test_events_of_a_dispute_out_of_order_and_repeated_leave_the_newest_state(shop: Desk) -> None:
    sent = shop.senders.prevention()
    shop.post(sent)
    shop.work()
    here = f"disputes/{shop.case(sent)['dispute_id']}/"
    first = shop.api.call("GET", here)
    second = shop.api.call("POST", f"{here}resolve/", body={"resolution": "could_not_find_order"})
    third = shop.api.call("PATCH", here, body={"resolution": "previously_refunded_nothing_to_do"})
    for state in (third, first, second, third, first, second, first):
        shop.tell("dispute.updated", state)
        shop.work()
        assert shop.case(sent)["resolution"] == "previously_refunded_nothing_to_do"
    assert f"GET /{here}" in shop.calls()


def test_what_is_undone_at_29next_is_not_done_again(shop: Desk) -> None:
    sale = sell(shop)
    sent = shop.senders.rdr(**told_of(sale))
    shop.post(sent)
    shop.work()
    assert shop.case(sent)["state"] == "resolved"
    here = f"disputes/{shop.case(sent)['dispute_id']}/"
    undone = shop.api.call("PATCH", here, body={"resolution": None, "transaction": None})
    with shop.counted() as calls:
        shop.tell("dispute.updated", undone)
        shop.settle()
    assert calls == [f"GET /{here}"]
    case = shop.case(sent)
    assert (case["resolution"], case["transaction_id"]) == (None, None)
    assert len(case["notes"]) == 2


@pytest.mark.parametrize("body", ["{}", '{"id": null, "status": "new"}', '{"status": "resolved"}'])
def test_a_dispute_that_29next_answers_without_its_id_is_read_once_more(shop: Desk, body: str) -> None:
    sent = shop.senders.prevention()
    shop.post(sent)
    shop.work()
    here = f"disputes/{shop.case(sent)['dispute_id']}/"
    changed = shop.api.call("POST", f"{here}resolve/", body={"resolution": "issued_full_refund"})
    opened = shop.api.call("PATCH", here, body={"resolution": None})
    odd = Fault(Does.ANSWER, method="GET", path=f"/{here}", status=200, body=body, count=1)
    shop.sandbox.add_faults(odd)
    shop.tell("dispute.updated", changed)
    shop.tell("dispute.updated", opened)
    shop.settle(times=10)
    case = shop.case(sent)
    assert (case["resolution"], case["dispute_id"]) == (None, opened["id"])
    assert [one["outcome"] for one in case["attempts"][-2:]] == ["temporary", "ok"]


def test_a_dispute_that_29next_tells_of_while_its_creation_is_unclear_ends_the_doubt(shop: Desk) -> None:
    sent = shop.senders.prevention()
    shop.sandbox.add_faults(fault("503_after", method="POST", count=1))
    shop.post(sent)
    shop.work()
    assert shop.case(sent)["state"] == "unclear"
    (made,) = shop.sandbox.stores[STORE].disputes.by_id.values()
    with shop.counted() as calls:
        shop.tell("dispute.created", made)
        shop.work()
    assert calls == []
    assert (shop.case(sent)["state"], shop.case(sent)["dispute_id"]) == ("review", made["id"])


def test_a_second_dispute_of_one_case_is_told(shop: Desk) -> None:
    sent = shop.senders.prevention()
    shop.post(sent)
    shop.work()
    second = shop.sandbox.add_dispute(STORE, type="alert", case_number=shop.case(sent)["case_number"])
    shop.tell("dispute.created", second)
    shop.work()
    case = shop.case(sent)
    assert case["dispute_id"] != second["id"]
    assert case["notes"] == [f"29next has more than one dispute of this case: also {second['id']}."]


# --- a person decides -----------------------------------------------------------------------------


def test_a_person_attaches_a_transaction(shop: Desk) -> None:
    twins = [sell(shop, auth_code=None), sell(shop, auth_code=None)]
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    case = shop.case(sent)
    assert case["state"] == "review"
    assert {one["id"]: one["why"] for one in case["match"]["candidates"]} == {
        one["id"]: "several fit" for one in twins
    }
    assert shop.inbox.decide(case["id"], twins[1]["id"])
    shop.work()
    case = shop.case(sent)
    assert (case["state"], case["transaction_id"], case["match"]["rule"]) == (
        "open",
        twins[1]["id"],
        "manual",
    )
    assert not shop.inbox.decide(case["id"], twins[0]["id"])


def post_match(shop: Desk, case: str, body: object) -> tuple[int, Json]:
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = shop.client.post(f"/api/cases/{case}/match", json=body, headers=headers)
    assert answer.json is not None
    return answer.status_code, answer.json


def test_a_match_that_is_nested_too_deep_is_refused(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    headers = {"Authorization": f"Bearer {API_TOKEN}", "Content-Type": "application/json"}
    path = f"/api/cases/{shop.case(sent)['id']}/match"
    answer = shop.client.post(path, data=b"[" * 100_000, headers=headers)
    assert answer.status_code == 400


def test_a_program_attaches_a_transaction(shop: Desk) -> None:
    twins = [sell(shop, auth_code=None), sell(shop, auth_code=None)]
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    case = shop.case(sent)
    status, answer = post_match(shop, case["id"], {"transaction": twins[0]["id"]})
    assert (status, answer["id"], answer["match"]["rule"]) == (200, case["id"], "manual")
    with shop.counted() as calls:
        shop.work()
    assert calls == [f"PATCH /disputes/{case['dispute_id']}/"]
    assert shop.disputes()[0]["transaction"] == twins[0]["id"]
    status, answer = post_match(shop, case["id"], {"transaction": twins[1]["id"]})
    assert (status, answer["error"]) == (400, "bad_request")
    assert post_match(shop, "c_nothing", {"transaction": 1})[0] == 404


def test_a_program_states_that_there_is_none(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    odds: tuple[object, ...] = ({}, [], None, {"transaction": "1"}, {"transaction": 0}, {"transaction": True})
    for odd in odds:
        status, answer = post_match(shop, shop.case(sent)["id"], odd)
        assert (status, answer["error"]) == (400, "bad_request")
    status, answer = post_match(shop, shop.case(sent)["id"], {"transaction": None})
    assert (status, answer["state"], answer["match"]["rule"]) == (200, "open", "none")
    with shop.counted() as calls:
        shop.work()
    assert calls == []


def test_a_person_s_match_that_29next_never_takes_is_given_up_in_the_end_and_said(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    shop.clock.sleep(30 * DAY)
    sale = sell(shop)
    shop.sandbox.add_faults(fault("503", method="PATCH"))
    assert shop.inbox.decide(shop.case(sent)["id"], sale["id"])
    daily(shop, 7)
    assert shop.case(sent)["notes"] == []
    daily(shop, 2)
    with shop.counted() as calls:
        daily(shop, 1)
    assert calls == []
    assert "given up" in shop.case(sent)["notes"][-1]
    shop.sandbox.faults.clear()
    assert shop.inbox.decide(shop.case(sent)["id"], sale["id"])
    shop.settle()
    assert shop.case(sent)["transaction_id"] == sale["id"]


def test_a_person_s_word_that_there_is_none_stands(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    assert shop.inbox.decide(shop.case(sent)["id"], None)
    shop.work()
    assert (shop.case(sent)["state"], shop.case(sent)["match"]["rule"]) == ("open", "none")
    with shop.counted() as calls:
        shop.tell("transaction.created", sell(shop))
        shop.work()
    assert calls == []
    assert shop.case(sent)["transaction_id"] is None


def test_a_transaction_that_29next_refuses_is_said_on_the_case(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.work()
    assert shop.inbox.decide(shop.case(sent)["id"], 999)
    shop.work()
    case = shop.case(sent)
    assert (case["state"], case["transaction_id"]) == ("review", None)
    assert "does not exist" in case["notes"][0]


# --- moving over, watching, recovering ------------------------------------------------------------


def test_a_store_that_looks_first_doubles_nothing_of_what_another_service_did(database_url: str) -> None:
    with desk(database_url, look_first=True) as shop:
        sale = sell(shop)
        rdr = shop.senders.rdr(**told_of(sale))
        assert rdr.opens
        theirs = shop.sandbox.add_dispute(
            STORE, type="alert", case_number=rdr.opens[0], transaction=sale["id"]
        )
        here = f"disputes/{theirs['id']}/"
        body = {"resolution": "issued_full_refund", "create_external_refund": True}
        shop.api.call("POST", f"{here}resolve/", body=body)
        shop.post(rdr)
        shop.settle()
        assert (shop.case(rdr)["state"], shop.case(rdr)["dispute_id"]) == ("resolved", theirs["id"])
        assert len(shop.disputes()) == len(refunds(shop)) == 1


def test_a_store_that_looks_first_looks_before_every_write(database_url: str) -> None:
    with desk(database_url, look_first=True) as shop:
        sale = sell(shop)
        sent = shop.senders.rdr(**told_of(sale))
        shop.post(sent)
        shop.settle()
        calls = shop.calls()
        here = f"disputes/{shop.case(sent)['dispute_id']}/"
        assert calls.index("GET /disputes/") < calls.index("POST /disputes/")
        assert calls.index(f"GET /{here}") < calls.index(f"POST /{here}resolve/")
        assert shop.case(sent)["state"] == "resolved"
        assert len(refunds(shop)) == 1


def test_a_store_that_observes_shows_what_would_be_sent_and_sends_nothing(database_url: str) -> None:
    with desk(database_url, observe=True) as shop:
        sale = sell(shop)
        sent = shop.senders.rdr(**told_of(sale))
        delivery = shop.post(sent)
        shop.settle()
        assert {call.partition(" ")[0] for call in shop.calls()} == {"GET"}
        told = shop.delivery(delivery)
        assert (told["status"], told["reason"]) == ("ignored", "ignore")
        case = shop.case(sent)
        assert case["match"]["rule"] == "auth_code"
        assert any(f"'transaction': {sale['id']}" in note for note in case["notes"])


@pytest.mark.both_databases
def test_after_days_of_observing_a_replay_adopts_what_another_service_did_and_does_the_rest(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(time.time() - 3 * DAY)  # the command line has the machine's own
    monkeypatch.setenv("DATABASE_URL", database_url)
    with desk(database_url, clock=clock, observe=True) as shop:
        day = clock.iso[:10]
        sales = [sell(shop, date_created=clock.iso) for _ in range(4)]
        told = {"rdr_date": day, "transaction_date": day}
        theirs, other, refunded, missed = (shop.senders.rdr(**told_of(sale, **told)) for sale in sales)
        resolution = {"resolution": "issued_full_refund", "create_external_refund": True}
        for sent, sale in zip((theirs, other, refunded, missed), sales, strict=True):
            shop.post(sent)
            shop.settle()
            if sent is missed:
                continue
            number = "OF-THEIR-OWN" if sent is other else (sent.opens or ("",))[0]
            made = shop.sandbox.add_dispute(STORE, type="alert", case_number=number, transaction=sale["id"])
            if sent is refunded:
                shop.api.call("POST", f"disputes/{made['id']}/resolve/", body=resolution)
            clock.sleep(DAY / 2)
        shop.post(shop.senders.prevention(prevention_type="tc40"))  # which only tells
        shop.settle()
        assert {row["status"] for row in shop.deliveries()} == {"ignored"}
        assert (len(shop.disputes()), len(refunds(shop))) == (3, 1)

        assert cli.main(["replay", "--status", "ignored", "--since", day]) == 0
        clock.now = time.time()
        with desk(database_url, clock=clock, sandbox=shop.sandbox, look_first=True) as moved:
            for _ in range(2):
                moved.settle()
                moved.inbox.replay([row["id"] for row in moved.deliveries()])
            moved.settle()
            disputes = moved.disputes()
            assert len(disputes) == len(refunds(moved)) == 4
            assert sorted(one["transaction"] for one in disputes) == [sale["id"] for sale in sales]
            assert {one["resolution"] for one in disputes} == {"issued_full_refund"}
            ended = [(row["status"], row["reason"]) for row in moved.deliveries()]
            assert ended == [("ignored", "inform"), *[("forwarded", None)] * 4]


@pytest.fixture
def backed_up(tmp_path: Path, make_database: MakeDatabase) -> Iterator[tuple[Desk, Callable[[], Desk]]]:
    """A bridge, and a way to put its database back to what it was before anything was forwarded."""
    with ExitStack() as stack:
        url = stack.enter_context(make_database("sqlite"))
        file = Path(url.removeprefix("sqlite:///"))
        shop = stack.enter_context(desk(url))

        def restore() -> Desk:
            shop.database.close()
            for name in (f"{file}-wal", f"{file}-shm"):
                Path(name).unlink(missing_ok=True)
            shutil.copy(tmp_path / "backup", file)
            return stack.enter_context(desk(url, clock=shop.clock, sandbox=shop.sandbox))

        yield shop, restore


def back_up(shop: Desk, folder: Path) -> None:
    with closing(sqlite3.connect(shop.settings.database_url.removeprefix("sqlite:///"))) as source:
        source.execute("VACUUM INTO ?", [str(folder / "backup")])


def test_after_a_restored_backup_everything_runs_and_nothing_is_doubled(
    backed_up: tuple[Desk, Callable[[], Desk]], tmp_path: Path
) -> None:
    shop, restore = backed_up
    sale, other = sell(shop), sell(shop, amount="55.00", bankcard_last_four="1111")
    rdr = shop.senders.rdr(**told_of(sale))
    chargeback = shop.senders.chargeback(processor_transaction_id=other["external_id"], amount=55.0)
    assert chargeback.opens
    won = shop.senders.result(chargeback.opens[0])
    revoked = shop.senders.verifi()
    withdrawal = shop.senders.verifi(
        case=(revoked.opens or ("",))[0], caseStatus="REVOKED", eventId="evt-revoked"
    )
    done, resolved_later = shop.senders.prevention(), shop.senders.rdr()
    shop.post(done)
    shop.work()
    for sent in (rdr, chargeback, won, revoked, withdrawal):
        shop.post(sent)
    shop.inbox.translate(shop.judge.verdict, 3)  # the others are not even translated
    back_up(shop, tmp_path)
    lost = shop.senders.prevention()
    shop.post(lost)
    shop.post(resolved_later)
    shop.settle()
    ledger = shop.sandbox.ledger
    before = [(one.kind, one.facts) for one in ledger.commits]
    assert {kind for kind, _ in before} == {"dispute", "resolution", "refund"}

    since = shop.clock.now
    restored = restore()
    assert restored.inbox.doubt(since, STORE) >= 1
    for sent in (lost, resolved_later, done):  # providers try again, or tell more of a case
        restored.post(replace(sent, body=sent.body.replace(b"SHOP*TEST", b"SHOP*AGAIN")))
    restored.settle(times=8)
    assert [(one.kind, one.facts) for one in ledger.commits] == before
    assert all(row["status"] == "forwarded" for row in restored.deliveries())
    assert restored.case(rdr)["refund"] == "recorded"
    assert restored.case(revoked)["state"] == "withdrawn"
    assert list(reconcile(restored.inbox, restored.api, restored.store, date(2026, 1, 1))) == []
    # what is new since is no longer looked up
    restored.clock.sleep(HOUR)
    with restored.counted() as calls:
        restored.post(shop.senders.prevention(prevention_timestamp=restored.clock.iso))
        restored.settle()
    assert calls == ["POST /disputes/"]


def test_what_was_done_since_for_a_case_that_the_backup_has_settled_is_not_done_again(
    backed_up: tuple[Desk, Callable[[], Desk]], tmp_path: Path
) -> None:
    shop, restore = backed_up
    chargeback, revoked, reviewed = shop.senders.chargeback(), shop.senders.verifi(), shop.senders.rdr()
    for sent in (chargeback, revoked, reviewed):
        shop.post(sent)
    shop.settle()
    shop.clock.sleep(5 * DAY)  # the deadlines of all have passed
    fresh = shop.senders.rdr(**told_of({"auth_code": "A00001"}))
    shop.post(fresh)
    shop.settle()
    back_up(shop, tmp_path)
    since = shop.clock.now
    assert chargeback.opens
    assert revoked.opens
    sale, other = sell(shop), sell(shop, amount="55.00", bankcard_last_four="1111")
    late = (
        shop.senders.result(chargeback.opens[0]),
        shop.senders.verifi(case=revoked.opens[0], caseStatus="REVOKED", eventId="evt-revoked"),
    )

    def again(shop: Desk) -> None:
        for sent in late:
            shop.post(sent)
        shop.tell("transaction.created", sale)
        assert shop.inbox.decide(shop.case(reviewed)["id"], other["id"])
        shop.settle()

    again(shop)
    ledger = shop.sandbox.ledger
    before = [(one.kind, one.facts) for one in ledger.commits]
    assert {kind for kind, _ in before} == {"dispute", "resolution", "change", "refund"}
    assert len(refunds(shop)) == 2

    restored = restore()
    restored.inbox.doubt(since)
    again(restored)
    assert [(one.kind, one.facts) for one in ledger.commits] == before
    assert restored.deliveries(status="pending") == restored.deliveries(status="failed") == []


def test_without_recovery_a_restored_backup_would_double(
    backed_up: tuple[Desk, Callable[[], Desk]], tmp_path: Path
) -> None:
    shop, restore = backed_up
    shop.post(shop.senders.prevention())
    back_up(shop, tmp_path)
    shop.work()
    restored = restore()
    restored.settle()
    assert len(restored.disputes()) == 2
