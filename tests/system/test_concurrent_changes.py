"""What others do meanwhile: answers under way, people at 29next, restarts with other settings.

None of it loses an alert, doubles or mismatches a dispute, or holds up another alert.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from bridge.storage.database import Database
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY, HOUR, Clock, eventually
from tests.support.inside import break_step
from tests.support.next29 import STORE, Does, Fault, StandIn, fault
from tests.support.sales import prevented, refunds, sell, told_of
from tests.support.webhooks import Json, Sent

UNSUPPORTED = Fault(
    Does.ANSWER, method="POST", path="/disputes/", status=400, body='{"currency": ["Unsupported."]}'
)
NUMBER = "4111 1111 1111 1111"


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_in_process(database_url) as made:
        yield made


@pytest.fixture
def careful(database_url: str) -> Iterator[InProcessBridge]:
    """A store for which others write too, so that each write is looked up before."""
    with bridge_in_process(database_url, store={"look_first": True}) as made:
        yield made


def refused(bridge: InProcessBridge) -> Sent:
    """An alert whose dispute 29next refuses once."""
    bridge.next29.add_faults(fault("400", method="POST", path="/disputes/", count=1))
    sent = bridge.senders.prevention(**prevented())
    delivery = bridge.post(sent)
    bridge.settle()
    assert bridge.delivery(delivery)["reason"] == "refused"
    return sent


def withdraw(bridge: InProcessBridge, sent: Sent) -> str:
    """Let an alert be withdrawn by its provider."""
    assert sent.opens
    delivery = bridge.post(bridge.senders.prevention(case=sent.opens[0]))
    bridge.inside.translate_as_withdrawn(sent.opens[0], bridge.store)
    return delivery


def time_left(bridge: InProcessBridge, delivery: str) -> float:
    """Seconds to the deadline of a delivery."""
    return datetime.fromisoformat(bridge.delivery(delivery)["deadline_at"]).timestamp() - bridge.clock.now


# --- what 29next refuses ------------------------------------------------------------------------


def test_a_refused_alert_is_not_tried_again_when_a_transaction_arrives(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(UNSUPPORTED)
    bridge.post(bridge.senders.prevention(**prevented()))
    bridge.settle()
    with bridge.counted() as calls:
        bridge.tell("transaction.created", sell(bridge))
        bridge.settle()
    assert calls == []


def test_what_is_refused_where_nobody_waits_is_asked_once_and_noted(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention()
    bridge.post(sent)
    bridge.settle()
    bridge.next29.stores[STORE].disputes.remove(bridge.case(sent)["dispute_id"])
    with bridge.counted() as calls:
        bridge.inside.recover(bridge.clock() - DAY)
        bridge.settle()
    assert calls == [f"GET /disputes/{bridge.case(sent)['dispute_id']}/"]
    assert "29next answered 404" in bridge.case(sent)["notes"][-1]


def test_after_a_restored_backup_a_refused_alert_is_looked_up_and_tried_once(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(UNSUPPORTED)
    bridge.post(bridge.senders.prevention(**prevented()))
    bridge.settle()
    with bridge.counted() as calls:
        bridge.inside.recover(bridge.clock() - DAY)
        bridge.settle()
    assert [call for call in calls if "disputes" in call] == [
        "GET /disputes/",
        "GET /disputes/",
        "POST /disputes/",
    ]


def test_a_reading_that_is_refused_leaves_the_write_in_doubt(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    bridge.next29.add_faults(
        fault("reset_after", method="POST", path="*/resolve/", count=1),
        fault("404", method="GET", path="/disputes/1*", count=1),
    )
    delivery = bridge.post(bridge.senders.rdr(**told_of(sale)))
    bridge.settle(times=6)
    assert bridge.delivery(delivery)["reason"] == "refused"
    bridge.inside.replay(delivery)
    bridge.settle(times=6)
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert len(refunds(bridge)) == 1
    assert len([call for call in bridge.calls() if call.endswith("/resolve/")]) == 1


def test_a_look_up_of_more_than_can_be_looked_through_leaves_the_dispute_unmatched(
    make_database: MakeDatabase,
) -> None:
    clock = Clock()
    with (
        make_database("sqlite") as url,
        bridge_in_process(
            url, clock=clock, next29=StandIn(rate=0, transactions=(), clock=clock, page_size=1)
        ) as bridge,
    ):
        for _ in range(51):
            sell(bridge, auth_code="A1B2C3")
        sent = bridge.senders.rdr(**told_of({"auth_code": "A1B2C3"}))
        bridge.post(sent)
        bridge.settle()
        assert [one["transaction"] for one in bridge.disputes()] == [None]
        assert "too many" in bridge.case(sent)["notes"][0]


def test_a_store_that_always_answers_429_is_given_up_after_seven_days(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(fault("429"))
    delivery = bridge.post(bridge.senders.prevention())
    for _ in range(12):
        bridge.inside.step()
        bridge.inside.translate()
        bridge.clock.sleep(DAY)
    assert bridge.delivery(delivery)["reason"] == "expired"


# --- two networks about one sale ----------------------------------------------------------------


def test_a_second_report_finds_the_dispute_of_a_creation_that_is_unclear(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    bridge.next29.add_faults(fault("reset_after", method="POST", path="/disputes/", count=1))
    first, second = bridge.senders.prevention(**prevented()), bridge.senders.rdr(**told_of(sale))
    deliveries = [bridge.post(first)]
    bridge.work()
    assert bridge.case(first)["state"] == "unclear"
    deliveries.append(bridge.post(second))
    bridge.settle()
    assert [bridge.delivery(one)["status"] for one in deliveries] == ["forwarded", "forwarded"]
    assert bridge.case(second)["duplicate_of"] == bridge.case(first)["id"]
    assert [one["status"] for one in bridge.disputes()] == ["resolved"]
    assert len(refunds(bridge)) == 1


def test_a_second_report_is_quicker_than_the_answer_to_the_first(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    first, second = bridge.senders.prevention(**prevented()), bridge.senders.rdr(**told_of(sale))
    bridge.post(first)
    answered = bridge.inside.call_of("create")
    delivery = bridge.post(second)
    bridge.work()
    bridge.inside.settle(answered)
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert [one["status"] for one in bridge.disputes()] == ["resolved"]


def test_a_second_report_finds_the_dispute_that_a_person_made_for_a_refused_one(
    bridge: InProcessBridge,
) -> None:
    sale = sell(bridge)
    first = refused(bridge)
    assert first.opens
    by_hand = bridge.next29.add_dispute(
        STORE, type="alert", transaction=sale["id"], case_number=first.opens[0]
    )
    delivery = bridge.post(bridge.senders.rdr(**told_of(sale)))
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert bridge.case(first)["dispute_id"] == by_hand["id"]


@pytest.mark.both_databases
def test_a_second_report_finds_another_dispute_with_a_number_that_is_taken(bridge: InProcessBridge) -> None:
    first = bridge.senders.prevention()
    bridge.post(first)
    bridge.work()
    assert first.opens
    sale = sell(bridge)
    other = bridge.next29.add_dispute(STORE, type="alert", transaction=sale["id"], case_number=first.opens[0])
    second = bridge.senders.rdr(**told_of(sale))
    delivery = bridge.post(second)
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert bridge.case(second)["dispute_id"] == other["id"]


def until_duplicate(bridge: InProcessBridge) -> Any:
    """Work until a case is found to be a duplicate, which is not taken in yet."""
    return bridge.inside.call_until(lambda step: bool(step.claim.case.duplicate_of), 99)


def test_two_that_hear_of_a_dispute_at_once_make_one_case_of_it(make_database: MakeDatabase) -> None:
    with make_database("postgres") as url, bridge_in_process(url) as bridge:
        sale = sell(bridge)
        by_hand = bridge.next29.add_dispute(
            STORE, type="alert", transaction=sale["id"], case_number="BY-HAND"
        )
        delivery = bridge.post(bridge.senders.rdr(**told_of(sale)))
        answered = bridge.inside.call_of("find_holder")
        with closing(Database(url, clock=bridge.clock, pool_size=2)) as other, ThreadPoolExecutor(1) as pool:
            with other.begin() as connection:  # another worker takes in `dispute.created`
                bridge.inside.apply_dispute(connection, STORE, by_hand)
                settling = pool.submit(bridge.inside.settle, answered)
                waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                with bridge.database.read() as watching:
                    eventually(lambda: watching.exec_driver_sql(waits).scalar_one())
            settling.result(20)
        bridge.settle()
        assert bridge.delivery(delivery)["status"] == "forwarded"


def test_facts_that_contradict_a_match_undo_the_duplicate_that_it_made(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    bridge.post(bridge.senders.prevention(**prevented()))
    bridge.settle()
    second = bridge.senders.rdr(**told_of(sale))
    assert second.opens
    bridge.post(second)
    bridge.inside.translate()
    found = until_duplicate(bridge)
    other = told_of({"auth_code": "ZZZZZ9"}, amount=99.0, card_last_4="7777")
    bridge.post(bridge.senders.rdr(case=second.opens[0], event="rdr.match", **other))
    bridge.inside.translate()
    bridge.inside.settle(found)
    bridge.settle()
    assert bridge.case(second)["state"] != "duplicate"


# --- a dispute that a person made ---------------------------------------------------------------


def test_a_transaction_wakes_no_alert_that_was_refused_and_made_by_hand(bridge: InProcessBridge) -> None:
    sent = refused(bridge)
    assert sent.opens
    bridge.next29.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    bridge.tell("transaction.created", sell(bridge))
    bridge.settle()
    assert len(bridge.disputes()) == 1


def test_a_person_s_match_of_a_refused_alert_finds_the_dispute_made_by_hand(bridge: InProcessBridge) -> None:
    sent, sale = refused(bridge), sell(bridge)
    assert sent.opens
    by_hand = bridge.next29.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    assert bridge.inside.decide(bridge.case(sent)["id"], sale["id"])
    bridge.settle()
    assert [(one["id"], one["transaction"]) for one in bridge.disputes()] == [(by_hand["id"], sale["id"])]
    assert bridge.case(sent)["dispute_id"] == by_hand["id"]


@pytest.mark.parametrize("look_first", [True, False])
def test_an_alert_that_was_only_observed_is_not_opened_by_a_transaction(
    make_database: MakeDatabase, *, look_first: bool
) -> None:
    with make_database("sqlite") as url, bridge_in_process(url, store={"observe": True}) as bridge:
        sent = bridge.senders.prevention(**prevented())
        bridge.post(sent)
        bridge.settle()
        assert sent.opens
        bridge.next29.add_dispute(STORE, type="alert", case_number=sent.opens[0])
        bridge.restart(observe=False, look_first=look_first)
        bridge.tell("transaction.created", sell(bridge))
        bridge.settle()
        assert len(bridge.disputes()) == 1


def test_a_refund_that_a_person_recorded_with_the_resolution_is_not_recorded_again(
    bridge: InProcessBridge,
) -> None:
    sale = sell(bridge)
    sent = bridge.senders.rdr(**told_of(sale, amount=15.0, card_last_4=None))
    bridge.post(sent)
    bridge.inside.settle(bridge.inside.call_of("create"))
    here = f"disputes/{bridge.case(sent)['dispute_id']}/"
    bridge.api.call("PATCH", here, body={"transaction": sale["id"]})
    by_hand = {"resolution": "issued_full_refund", "create_external_refund": True}
    bridge.tell("dispute.updated", bridge.api.call("POST", f"{here}resolve/", body=by_hand))
    bridge.settle()
    assert len(refunds(bridge)) == 1


def test_what_waits_for_a_resolution_that_was_undone_is_failed_for_a_person(bridge: InProcessBridge) -> None:
    sent = bridge.senders.rdr(**told_of(sale={"auth_code": "A00001"}))
    assert sent.opens
    bridge.post(sent)
    bridge.settle()
    sale = sell(bridge)
    bridge.next29.add_faults(fault("503", path="*/refund/"))
    bridge.tell("transaction.created", sale)
    bridge.work()
    delivery = bridge.post(bridge.senders.rdr(case=sent.opens[0], event="rdr.match", **told_of(sale)))
    bridge.work()
    assert bridge.delivery(delivery)["status"] == "pending"
    row = bridge.next29.stores[STORE].disputes.by_id[bridge.case(sent)["dispute_id"]]
    bridge.tell("dispute.updated", dict(row, status="open", resolution=None))
    row |= {"status": "open", "resolution": None}
    bridge.settle()
    assert bridge.delivery(delivery)["reason"] == "refused"


def test_a_result_for_a_refused_alert_finds_the_dispute_made_by_hand(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(fault("400", method="POST", path="/disputes/", count=1))
    sent = bridge.senders.chargeback()
    assert sent.opens
    bridge.post(sent)
    bridge.settle()
    by_hand = bridge.next29.add_dispute(STORE, type="chargeback", case_number=sent.opens[0])
    delivery = bridge.post(bridge.senders.result(sent.opens[0]))
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert [one["id"] for one in bridge.disputes()] == [by_hand["id"]]


def test_a_withdrawal_of_a_refused_alert_finds_the_dispute_made_by_hand(bridge: InProcessBridge) -> None:
    sent = refused(bridge)
    assert sent.opens
    by_hand = bridge.next29.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    delivery = withdraw(bridge, sent)
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert [one["id"] for one in bridge.disputes()] == [bridge.case(sent)["dispute_id"]] == [by_hand["id"]]


@pytest.mark.parametrize("held_up", ["by 429", "by a pause"])
def test_a_duplicate_hears_of_the_holder_s_resolution_by_a_person(
    bridge: InProcessBridge, held_up: str
) -> None:
    sale = sell(bridge)
    first, second = bridge.senders.prevention(**prevented()), bridge.senders.rdr(**told_of(sale))
    bridge.post(first)
    bridge.settle()
    delivery = bridge.post(second)
    bridge.inside.translate()
    bridge.inside.settle(until_duplicate(bridge))
    if held_up == "by a pause":
        bridge.inside.pause(STORE)
    else:
        bridge.next29.add_faults(fault("429", method="POST", path="*/resolve/"))
    bridge.work()
    assert bridge.delivery(delivery)["status"] == "pending"
    here = f"disputes/{bridge.case(first)['dispute_id']}/"
    bridge.next29.faults.clear()
    by_hand = {"resolution": "issued_full_refund"}
    bridge.tell("dispute.updated", bridge.api.call("POST", f"{here}resolve/", body=by_hand))
    bridge.work()
    bridge.inside.resume(STORE)
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"


# --- look_first ---------------------------------------------------------------------------------


def test_a_creation_that_was_put_off_is_looked_up_again(careful: InProcessBridge) -> None:
    careful.next29.add_faults(fault("429", method="POST", path="/disputes/"))
    sent = careful.senders.prevention()
    assert sent.opens
    careful.post(sent)
    careful.settle()
    careful.next29.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    careful.clock.sleep(HOUR)
    careful.next29.faults.clear()
    careful.settle()
    assert len(careful.disputes()) == 1


def test_a_resolution_that_was_put_off_is_looked_up_again(careful: InProcessBridge) -> None:
    sale = sell(careful)
    sent = careful.senders.rdr(**told_of(sale))
    careful.next29.add_faults(fault("429", method="POST", path="*/resolve/"))
    careful.post(sent)
    careful.settle()
    here = f"disputes/{careful.case(sent)['dispute_id']}/"
    careful.next29.faults.clear()
    by_hand = {"resolution": "issued_full_refund", "create_external_refund": True}
    careful.api.call("POST", f"{here}resolve/", body=by_hand)
    careful.clock.sleep(HOUR)
    careful.settle()
    assert len(refunds(careful)) == 1


def test_each_write_is_looked_up_right_before_it(careful: InProcessBridge) -> None:
    sent = careful.senders.prevention(**prevented())
    assert sent.opens
    careful.post(sent)
    careful.settle()
    with careful.counted() as calls:
        careful.tell("transaction.created", sell(careful))
        careful.settle()
    here = f"/disputes/{careful.case(sent)['dispute_id']}/"
    assert calls[-2:] == [f"GET {here}", f"PATCH {here}"]


def hour_of(bridge: InProcessBridge) -> list[str]:
    """The calls of an hour, with a look every five seconds."""
    with bridge.counted() as calls:
        for _ in range(720):
            bridge.work()
            bridge.clock.sleep(5.0)
    return calls


def test_looking_first_backs_off_where_29next_is_in_trouble(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, bridge_in_process(url, store={"look_first": True}) as bridge:
        bridge.next29.add_faults(fault("503", method="GET", path="/transactions/"))
        bridge.post(bridge.senders.prevention(**prevented()))
        assert len(hour_of(bridge)) < 100


def test_looking_first_ends_with_a_bug_too(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_database("sqlite") as url, bridge_in_process(url, store={"look_first": True}) as bridge:
        break_step(monkeypatch, "create", 999)
        delivery = bridge.post(bridge.senders.prevention(**prevented()))
        hour_of(bridge)
        assert bridge.delivery(delivery)["reason"] == "bug"


@pytest.mark.parametrize("word", ["429", "401"])
def test_a_correction_that_comes_before_the_creation_is_taken(careful: InProcessBridge, word: str) -> None:
    careful.next29.add_faults(fault(word, method="POST", path="/disputes/"))
    sent = careful.senders.prevention(**prevented())
    assert sent.opens
    careful.post(sent)
    careful.settle()
    careful.post(careful.senders.prevention(case=sent.opens[0], **prevented(amount=45.0)))
    careful.work()
    careful.next29.faults.clear()
    careful.clock.sleep(HOUR)
    careful.settle()
    assert [one["amount"] for one in careful.disputes()] == ["45.00"]


# --- matches and refunds ------------------------------------------------------------------------


def test_a_person_s_match_while_another_is_under_way_leaves_what_29next_has(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.settle()
    right = sell(bridge, amount="77.00", bankcard_last_four="9999")
    bridge.tell("transaction.created", sell(bridge))
    answered = bridge.inside.call_of("attach")
    assert bridge.inside.decide(bridge.case(sent)["id"], right["id"])
    bridge.inside.settle(answered)
    bridge.settle()
    (dispute,) = bridge.disputes()
    assert bridge.case(sent)["transaction_id"] == dispute["transaction"] != right["id"]
    assert str(right["id"]) in bridge.case(sent)["notes"][-1]


def test_a_refund_of_a_person_s_match_is_recorded_in_the_currency_of_the_sale(
    bridge: InProcessBridge,
) -> None:
    unknown = told_of({"auth_code": "A09999"}, amount=6000.0, currency="JPY", card_last_4=None)
    sent = bridge.senders.rdr(**unknown)
    bridge.post(sent)
    bridge.settle()
    bridge.inside.decide(bridge.case(sent)["id"], sell(bridge)["id"])
    bridge.settle()
    assert [one["amount"] for one in refunds(bridge)] == ["40.00"]


def test_a_refund_of_a_match_made_at_29next_is_recorded_in_the_currency_of_the_sale(
    bridge: InProcessBridge,
) -> None:
    unknown = told_of({"auth_code": "A09999"}, amount=6000.0, currency="JPY", card_last_4=None)
    sent = bridge.senders.rdr(**unknown)
    bridge.post(sent)
    bridge.settle()
    here = f"disputes/{bridge.case(sent)['dispute_id']}/"
    bridge.tell("dispute.updated", bridge.api.call("PATCH", here, body={"transaction": sell(bridge)["id"]}))
    bridge.settle()
    assert [one["amount"] for one in refunds(bridge)] == ["40.00"]


def test_a_refund_of_a_sale_that_may_not_be_read_is_left_to_a_person(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(fault("403", method="GET", path="/transactions/*"))
    sent = bridge.senders.rdr(**told_of(sale={"auth_code": "A00001"}))
    bridge.post(sent)
    bridge.settle()
    bridge.inside.decide(bridge.case(sent)["id"], sell(bridge)["id"])
    bridge.settle()
    assert refunds(bridge) == []
    assert "transactions:read" in bridge.case(sent)["notes"][-1]


def decided(bridge: InProcessBridge, sent: Sent, answered: Any) -> Json:
    """The case for by a person's decision another sale, while an answer was under way; and that sale."""
    right = sell(bridge, amount="77.00", bankcard_last_four="9999")
    assert bridge.inside.decide(bridge.case(sent)["id"], right["id"])
    bridge.inside.settle(answered)
    bridge.settle()
    return {**bridge.case(sent), "right": right["id"]}


def answers(method: str, path: str, said: str) -> Fault:
    """A refusal, once."""
    return Fault(Does.ANSWER, method=method, path=path, status=400, body=said, count=1)


def test_a_person_s_match_outlasts_a_look_up_that_was_refused_meanwhile(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.next29.add_faults(fault("403", method="GET", path="/transactions/", count=1))
    bridge.post(sent)
    case = decided(bridge, sent, bridge.inside.call_of("search"))
    assert case["transaction_id"] == case["right"]


@pytest.mark.both_databases
@pytest.mark.parametrize("said", ["Invalid pk.", "It already exists."])
def test_a_person_s_match_outlasts_one_that_was_refused_meanwhile(bridge: InProcessBridge, said: str) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.settle()
    bridge.next29.add_faults(answers("PATCH", "/disputes/*", json.dumps({"transaction": [said]})))
    bridge.tell("transaction.created", sell(bridge))
    case = decided(bridge, sent, bridge.inside.call_of("attach"))
    assert case["transaction_id"] == case["right"]


def test_a_person_s_match_outlasts_a_creation_that_was_refused_meanwhile(bridge: InProcessBridge) -> None:
    sell(bridge)
    sent = bridge.senders.prevention(**prevented())
    bridge.next29.add_faults(answers("POST", "/disputes/", '{"transaction": ["Invalid pk."]}'))
    bridge.post(sent)
    case = decided(bridge, sent, bridge.inside.call_of("create"))
    assert case["transaction_id"] == case["right"]


def test_a_creation_under_way_with_another_match_than_a_person_s_is_noted(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    case = decided(bridge, sent, bridge.inside.call_of("create"))
    assert case["transaction_id"] == sale["id"]
    assert str(case["right"]) in case["notes"][-1]


def test_a_person_s_match_outlasts_a_duplicate_that_was_found_meanwhile(bridge: InProcessBridge) -> None:
    sale = sell(bridge)
    bridge.post(bridge.senders.prevention(**prevented()))
    bridge.settle()
    second = bridge.senders.rdr(**told_of(sale))
    bridge.post(second)
    bridge.inside.translate()
    case = decided(bridge, second, until_duplicate(bridge))
    assert case["transaction_id"] == case["right"]
    assert case["state"] != "duplicate"


def test_a_person_s_match_outlasts_the_question_who_holds_another(bridge: InProcessBridge) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.settle()
    sale = sell(bridge)
    bridge.next29.add_dispute(STORE, type="alert", transaction=sale["id"], case_number="BY-HAND")
    bridge.tell("transaction.created", sale)
    bridge.inside.settle(bridge.inside.call_of("attach"))
    case = decided(bridge, sent, [])
    assert case["transaction_id"] == case["right"]


def test_a_dispute_that_holds_its_own_transaction_is_no_duplicate(bridge: InProcessBridge) -> None:
    row = bridge.next29.add_dispute(STORE, type="alert", case_number=None)
    bridge.tell("dispute.created", row)
    bridge.settle()
    number, sale = f"29next-{row['id']}", sell(bridge)
    bridge.api.call("PATCH", f"disputes/{row['id']}/", body={"transaction": sale["id"]})
    bridge.next29.add_faults(answers("PATCH", "/disputes/*", '{"transaction": ["It already has an alert."]}'))
    assert bridge.inside.decide(bridge.case(number)["id"], sale["id"])
    bridge.settle()
    assert (bridge.case(number)["transaction_id"], bridge.case(number)["duplicate_of"]) == (sale["id"], None)


# --- bugs of ours -------------------------------------------------------------------------------


def test_a_bug_at_a_person_s_match_is_tried_again(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = bridge.senders.prevention(**prevented())
    bridge.post(sent)
    bridge.settle()
    sale = sell(bridge, amount="77.00", bankcard_last_four="9999")
    left = break_step(monkeypatch, "attach", 1)
    assert bridge.inside.decide(bridge.case(sent)["id"], sale["id"])
    bridge.settle(60, 10)
    assert left == [0]
    assert bridge.case(sent)["transaction_id"] == sale["id"]


@pytest.mark.parametrize(("times", "status"), [(1, "forwarded"), (99, "failed")])
def test_a_bug_at_the_holder_reaches_the_duplicate_that_waits_for_it(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch, times: int, status: str
) -> None:
    sale = sell(bridge)
    bridge.post(bridge.senders.prevention(**prevented()))
    bridge.settle()
    left = break_step(monkeypatch, "resolve", times)
    delivery = bridge.post(bridge.senders.rdr(**told_of(sale)))
    bridge.settle(60, 10)
    assert left[0] < times
    assert bridge.delivery(delivery)["status"] == status


# --- card numbers in what 29next answers --------------------------------------------------------


def test_card_numbers_in_29next_s_answers_are_cut(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, bridge_in_process(url) as bridge:
        said = json.dumps({"detail": f"no {NUMBER}"})
        bridge.next29.add_faults(
            Fault(Does.ANSWER, method="POST", path="/disputes/", status=400, body=said, count=1)
        )
        bridge.post(bridge.senders.prevention())
        bridge.settle()
        resolved, withdrawn = bridge.senders.prevention(), bridge.senders.rdr(**told_of(sell(bridge)))
        for sent in (resolved, withdrawn):
            bridge.post(sent)
        bridge.settle()
        paths = [f"disputes/{bridge.case(sent)['dispute_id']}/" for sent in (resolved, withdrawn)]
        by_hand = {"resolution": "other", "resolution_other_message": f"paid by {NUMBER}"}
        bridge.api.call("POST", f"{paths[0]}resolve/", body=by_hand)
        bridge.api.call("POST", f"{paths[1]}notes/", body={"message": f"paid by {NUMBER}"})
        bridge.next29.add_faults(fault("reset_after", method="POST", path="*/notes/", count=1))
        withdraw(bridge, withdrawn)
        bridge.inside.recover(bridge.clock() - DAY)
        bridge.settle()
        assert f"GET /{paths[1]}notes/" in bridge.calls()
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            dump = "\n".join(connection.iterdump())
    assert "411111" in dump
    assert NUMBER not in dump


# --- pauses -------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_an_answer_to_a_probe_does_not_end_the_pause_that_a_person_made_meanwhile(
    bridge: InProcessBridge,
) -> None:
    bridge.inside.pause(STORE, "29next answered 401", 30.0)
    bridge.post(bridge.senders.prevention())
    bridge.inside.translate()
    bridge.clock.sleep(31)
    answered = bridge.inside.call_of("create")
    bridge.inside.pause(STORE)
    bridge.inside.settle(answered)
    assert bridge.inside.is_paused(STORE)
    bridge.inside.resume(STORE)
    assert not bridge.inside.is_paused(STORE)


def test_a_refusal_does_not_turn_a_person_s_pause_into_one_that_ends_by_itself(
    bridge: InProcessBridge,
) -> None:
    bridge.next29.add_faults(fault("401", count=1))
    bridge.post(bridge.senders.prevention())
    answered = bridge.inside.call_of("create")
    bridge.inside.pause(STORE)
    bridge.inside.settle(answered)
    bridge.clock.sleep(40)
    bridge.settle()
    assert bridge.inside.is_paused(STORE)


def test_a_deadline_stands_still_only_while_its_alert_waits_through_the_pause(
    bridge: InProcessBridge,
) -> None:
    bridge.inside.pause(STORE)
    before = bridge.senders.chargeback()
    waited = [bridge.post(before)]
    allowed = [time_left(bridge, waited[0])]
    bridge.inside.translate()
    bridge.clock.sleep(50 * HOUR)
    late = bridge.senders.prevention()
    assert late.opens
    waited.append(bridge.post(late))
    allowed.append(time_left(bridge, waited[1]))
    bridge.inside.translate()
    bridge.clock.sleep(60)
    bridge.inside.resume(STORE)
    assert [time_left(bridge, one) for one in waited] == [pytest.approx(one, abs=1) for one in allowed]
    (claim,) = bridge.inside.claim()
    assert claim.case.case_number == late.opens[0]


def test_a_replay_in_a_pause_has_its_whole_deadline_ahead_and_no_more(bridge: InProcessBridge) -> None:
    bridge.next29.add_faults(fault("400", method="POST", path="/disputes/", count=1))
    delivery = bridge.post(bridge.senders.prevention())
    allowed = time_left(bridge, delivery)
    bridge.settle()
    bridge.inside.pause(STORE)
    bridge.clock.sleep(50 * HOUR)
    bridge.inside.replay(delivery)
    bridge.clock.sleep(60)
    bridge.inside.resume(STORE)
    assert time_left(bridge, delivery) == pytest.approx(allowed, abs=1)


# --- deadlines ----------------------------------------------------------------------------------


def test_each_result_waits_for_its_opening_until_its_own_deadline(bridge: InProcessBridge) -> None:
    first = bridge.post(bridge.senders.result("X-1"))
    bridge.settle()
    over = datetime.fromisoformat(bridge.delivery(first)["deadline_at"]).timestamp()
    bridge.clock.now = over - 60
    second = bridge.post(bridge.senders.result("X-1", result="won", note="2"))
    bridge.settle(5, 2)
    bridge.clock.sleep(120)
    bridge.settle()
    assert bridge.delivery(first)["reason"] == "no_opening"
    assert bridge.delivery(second)["reason"] == "waiting_for_opening"
    bridge.clock.sleep(4 * DAY)
    bridge.settle()
    assert bridge.delivery(second)["reason"] == "no_opening"


# --- a store that is gone -----------------------------------------------------------------------


@pytest.mark.both_databases
def test_what_a_store_is_owed_that_is_gone_fails_at_its_deadline_and_can_be_replayed(
    bridge: InProcessBridge,
) -> None:
    bridge.next29.add_faults(fault("503"))
    sent = bridge.senders.prevention()
    delivery = bridge.post(sent)
    bridge.work()
    back: Json = {"name": STORE, "base_url": bridge.store.base_url}
    store = bridge.store
    bridge.restart()
    jobs = bridge.inside.make_jobs()
    jobs.fail_removed_stores()
    assert bridge.delivery(delivery)["status"] == "pending"  # it may come back
    bridge.clock.sleep(25 * HOUR)
    jobs.fail_removed_stores()
    assert bridge.delivery(delivery)["reason"] == "no_store"
    assert STORE in bridge.delivery(delivery)["message"]
    bridge.settings = replace(bridge.settings, stores={STORE: store})
    bridge.restart(**back)
    bridge.next29.faults.clear()
    assert bridge.inside.replay(delivery) == [delivery]
    bridge.settle()
    assert bridge.delivery(delivery)["status"] == "forwarded"


@pytest.mark.both_databases
def test_a_duplicate_that_waits_for_a_store_that_is_gone_fails_with_its_holder(
    bridge: InProcessBridge,
) -> None:
    sale = sell(bridge)
    bridge.post(bridge.senders.prevention(**prevented()))
    bridge.settle()
    bridge.next29.add_faults(fault("503", method="POST", path="*/resolve/"))
    second = bridge.senders.rdr(**told_of(sale))
    delivery = bridge.post(second)
    bridge.settle()
    assert bridge.case(second)["state"] == "duplicate"
    settings = bridge.settings
    bridge.restart()
    bridge.clock.sleep(4 * DAY)
    bridge.inside.make_jobs().fail_removed_stores()
    bridge.settings = settings
    assert bridge.delivery(delivery)["reason"] == "no_store"
