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

from bridge import forward
from bridge.alert import Alert, Effect, Status
from bridge.case import Call, Case, Step, next_step
from bridge.chores import Chores
from bridge.database import Database
from bridge.forward import Errand, Forwarder
from bridge.inbox import BY_HAND, Verdict
from bridge.judge import Judge
from bridge.provider import Reading
from bridge.sandbox import STORE, Does, Fault, Sandbox, fault
from tests.conftest import MakeDatabase
from tests.support.desk import DAY, HOUR, Clock, Desk, Json, desk, work_off
from tests.support.running import Sent, eventually
from tests.system.test_way_back import prevented, refunds, sell, told_of

UNSUPPORTED = Fault(
    Does.ANSWER, method="POST", path="/disputes/", status=400, body='{"currency": ["Unsupported."]}'
)
NUMBER = "4111 1111 1111 1111"


@pytest.fixture
def shop(database_url: str) -> Iterator[Desk]:
    with desk(database_url) as made:
        yield made


@pytest.fixture
def careful(database_url: str) -> Iterator[Desk]:
    """A store for which others write too, so that each write is looked up before."""
    with desk(database_url, look_first=True) as made:
        yield made


def refused(shop: Desk) -> Sent:
    """An alert whose dispute 29next refuses once."""
    shop.sandbox.add_faults(fault("400", method="POST", path="/disputes/", count=1))
    sent = shop.senders.prevention(**prevented())
    delivery = shop.post(sent)
    shop.settle()
    assert shop.delivery(delivery)["reason"] == "refused"
    return sent


def withdraw(shop: Desk, sent: Sent) -> str:
    """Let an alert be withdrawn by its provider."""
    assert sent.opens
    alert = Alert(case_number=sent.opens[0], withdrawn=True)
    delivery = shop.post(shop.senders.prevention(case=sent.opens[0]))
    verdict = Verdict(Status.PENDING, reading=Reading(Effect.WITHDRAW, alert), store=shop.store)
    shop.inbox.translate(lambda _: verdict, 50)
    return delivery


def under_way(shop: Desk, kind: str) -> list[Errand]:
    """Work until a call of some kind was made, whose answer is not taken in yet."""
    shop.inbox.translate(shop.judge.verdict, 50)
    for _ in range(9):
        errands = shop.forwarder.prepare(shop.inbox.claim([STORE]))
        for errand in errands:
            shop.forwarder.send(errand)
        if any(one.call and one.call.kind == kind for one in errands):
            return errands
        shop.forwarder.settle(errands)
    raise AssertionError(f"no {kind} was made")


def restarted(shop: Desk, **changes: object) -> None:
    """Let the worker start with other settings of its store, or without it."""
    stores = {STORE: replace(shop.store, **changes)} if changes else {}  # type: ignore[arg-type]
    shop.settings = replace(shop.settings, stores=stores)
    shop.inbox.register(stores.values())
    shop.judge = Judge(shop.inbox, shop.settings)
    shop.forwarder = Forwarder(shop.inbox, shop.settings, sleep=shop.clock.sleep)


def time_left(shop: Desk, delivery: str) -> float:
    """Seconds to the deadline of a delivery."""
    return datetime.fromisoformat(shop.delivery(delivery)["deadline_at"]).timestamp() - shop.clock.now


def is_paused(shop: Desk) -> bool:
    with shop.database.read() as connection:
        return shop.inbox._is_paused(connection, STORE)


# --- what 29next refuses ------------------------------------------------------------------------


def test_a_refused_alert_is_not_tried_again_when_a_transaction_arrives(shop: Desk) -> None:
    shop.sandbox.add_faults(UNSUPPORTED)
    shop.post(shop.senders.prevention(**prevented()))
    shop.settle()
    with shop.counted() as calls:
        shop.tell("transaction.created", sell(shop))
        shop.settle()
    assert calls == []


def test_what_is_refused_where_nobody_waits_is_asked_once_and_noted(shop: Desk) -> None:
    sent = shop.senders.prevention()
    shop.post(sent)
    shop.settle()
    shop.sandbox.stores[STORE].disputes.remove(shop.case(sent)["dispute_id"])
    with shop.counted() as calls:
        shop.inbox.doubt(shop.clock() - DAY)
        shop.settle()
    assert calls == [f"GET /disputes/{shop.case(sent)['dispute_id']}/"]
    assert "29next answered 404" in shop.case(sent)["notes"][-1]


def test_after_a_restored_backup_a_refused_alert_is_looked_up_and_tried_once(shop: Desk) -> None:
    shop.sandbox.add_faults(UNSUPPORTED)
    shop.post(shop.senders.prevention(**prevented()))
    shop.settle()
    with shop.counted() as calls:
        shop.inbox.doubt(shop.clock() - DAY)
        shop.settle()
    assert [call for call in calls if "disputes" in call] == [
        "GET /disputes/",
        "GET /disputes/",
        "POST /disputes/",
    ]


def test_a_reading_that_is_refused_leaves_the_write_in_doubt(shop: Desk) -> None:
    sale = sell(shop)
    shop.sandbox.add_faults(
        fault("reset_after", method="POST", path="*/resolve/", count=1),
        fault("404", method="GET", path="/disputes/1*", count=1),
    )
    delivery = shop.post(shop.senders.rdr(**told_of(sale)))
    shop.settle(times=6)
    assert shop.delivery(delivery)["reason"] == "refused"
    shop.inbox.replay([delivery])
    shop.settle(times=6)
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert len(refunds(shop)) == 1
    assert len([call for call in shop.calls() if call.endswith("/resolve/")]) == 1


def test_a_look_up_of_more_than_can_be_looked_through_leaves_the_dispute_unmatched(
    make_database: MakeDatabase,
) -> None:
    clock = Clock()
    with (
        make_database("sqlite") as url,
        desk(url, clock=clock, sandbox=Sandbox(rate=0, transactions=(), clock=clock, page_size=1)) as shop,
    ):
        for _ in range(51):
            sell(shop, auth_code="A1B2C3")
        sent = shop.senders.rdr(**told_of({"auth_code": "A1B2C3"}))
        shop.post(sent)
        shop.settle()
        assert [one["transaction"] for one in shop.disputes()] == [None]
        assert "too many" in shop.case(sent)["notes"][0]


def test_a_store_that_always_answers_429_is_given_up_after_seven_days(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("429"))
    delivery = shop.post(shop.senders.prevention())
    for _ in range(12):
        work_off(shop.forwarder, shop.inbox.claim([STORE]))
        shop.inbox.translate(shop.judge.verdict, 50)
        shop.clock.sleep(DAY)
    assert shop.delivery(delivery)["reason"] == "expired"


# --- two networks about one sale ----------------------------------------------------------------


def test_a_second_report_finds_the_dispute_of_a_creation_that_is_unclear(shop: Desk) -> None:
    sale = sell(shop)
    shop.sandbox.add_faults(fault("reset_after", method="POST", path="/disputes/", count=1))
    first, second = shop.senders.prevention(**prevented()), shop.senders.rdr(**told_of(sale))
    deliveries = [shop.post(first)]
    shop.work()
    assert shop.case(first)["state"] == "unclear"
    deliveries.append(shop.post(second))
    shop.settle()
    assert [shop.delivery(one)["status"] for one in deliveries] == ["forwarded", "forwarded"]
    assert shop.case(second)["duplicate_of"] == shop.case(first)["id"]
    assert [one["status"] for one in shop.disputes()] == ["resolved"]
    assert len(refunds(shop)) == 1


def test_a_second_report_is_quicker_than_the_answer_to_the_first(shop: Desk) -> None:
    sale = sell(shop)
    first, second = shop.senders.prevention(**prevented()), shop.senders.rdr(**told_of(sale))
    shop.post(first)
    answered = under_way(shop, "create")
    delivery = shop.post(second)
    shop.work()
    shop.forwarder.settle(answered)
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert [one["status"] for one in shop.disputes()] == ["resolved"]


def test_a_second_report_finds_the_dispute_that_a_person_made_for_a_refused_one(shop: Desk) -> None:
    sale = sell(shop)
    first = refused(shop)
    assert first.opens
    by_hand = shop.sandbox.add_dispute(
        STORE, type="alert", transaction=sale["id"], case_number=first.opens[0]
    )
    delivery = shop.post(shop.senders.rdr(**told_of(sale)))
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert shop.case(first)["dispute_id"] == by_hand["id"]


@pytest.mark.both_databases
def test_a_second_report_finds_another_dispute_with_a_number_that_is_taken(shop: Desk) -> None:
    first = shop.senders.prevention()
    shop.post(first)
    shop.work()
    assert first.opens
    sale = sell(shop)
    other = shop.sandbox.add_dispute(STORE, type="alert", transaction=sale["id"], case_number=first.opens[0])
    second = shop.senders.rdr(**told_of(sale))
    delivery = shop.post(second)
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert shop.case(second)["dispute_id"] == other["id"]


def until_duplicate(shop: Desk) -> list[Errand]:
    """Work until a case is found to be a duplicate, which is not taken in yet."""
    found: list[Errand] = []
    while not (found and found[0].claim.case.duplicate_of):
        shop.forwarder.settle(found)
        found = shop.forwarder.prepare(shop.inbox.claim([STORE]))
        for errand in found:
            shop.forwarder.send(errand)
    return found


def test_two_that_hear_of_a_dispute_at_once_make_one_case_of_it(make_database: MakeDatabase) -> None:
    with make_database("postgres") as url, desk(url) as shop:
        sale = sell(shop)
        by_hand = shop.sandbox.add_dispute(STORE, type="alert", transaction=sale["id"], case_number="BY-HAND")
        delivery = shop.post(shop.senders.rdr(**told_of(sale)))
        answered = under_way(shop, "holder")
        with closing(Database(url, clock=shop.clock, pool_size=2)) as other, ThreadPoolExecutor(1) as pool:
            with other.begin() as connection:  # another worker takes in `dispute.created`
                shop.inbox._tell_dispute(connection, STORE, by_hand, shop.clock())
                settling = pool.submit(shop.forwarder.settle, answered)
                waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                with shop.database.read() as watching:
                    eventually(lambda: watching.exec_driver_sql(waits).scalar_one())
            settling.result(20)
        shop.settle()
        assert shop.delivery(delivery)["status"] == "forwarded"


def test_facts_that_contradict_a_match_undo_the_duplicate_that_it_made(shop: Desk) -> None:
    sale = sell(shop)
    shop.post(shop.senders.prevention(**prevented()))
    shop.settle()
    second = shop.senders.rdr(**told_of(sale))
    assert second.opens
    shop.post(second)
    shop.inbox.translate(shop.judge.verdict, 50)
    found = until_duplicate(shop)
    other = told_of({"auth_code": "ZZZZZ9"}, amount=99.0, card_last_4="7777")
    shop.post(shop.senders.rdr(case=second.opens[0], event="rdr.match", **other))
    shop.inbox.translate(shop.judge.verdict, 50)
    shop.forwarder.settle(found)
    shop.settle()
    assert shop.case(second)["state"] != "duplicate"


# --- a dispute that a person made ---------------------------------------------------------------


def test_a_transaction_wakes_no_alert_that_was_refused_and_made_by_hand(shop: Desk) -> None:
    sent = refused(shop)
    assert sent.opens
    shop.sandbox.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    shop.tell("transaction.created", sell(shop))
    shop.settle()
    assert len(shop.disputes()) == 1


def test_a_person_s_match_of_a_refused_alert_finds_the_dispute_made_by_hand(shop: Desk) -> None:
    sent = refused(shop)
    assert sent.opens
    by_hand = shop.sandbox.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    assert shop.inbox.decide(shop.case(sent)["id"], sell(shop)["id"])
    shop.settle()
    assert [one["id"] for one in shop.disputes()] == [by_hand["id"]]


@pytest.mark.parametrize("look_first", [True, False])
def test_an_alert_that_was_only_observed_is_not_opened_by_a_transaction(
    make_database: MakeDatabase, *, look_first: bool
) -> None:
    with make_database("sqlite") as url, desk(url, observe=True) as shop:
        sent = shop.senders.prevention(**prevented())
        shop.post(sent)
        shop.settle()
        assert sent.opens
        shop.sandbox.add_dispute(STORE, type="alert", case_number=sent.opens[0])
        restarted(shop, observe=False, look_first=look_first)
        shop.tell("transaction.created", sell(shop))
        shop.settle()
        assert len(shop.disputes()) == 1


def test_a_refund_that_a_person_recorded_with_the_resolution_is_not_recorded_again(shop: Desk) -> None:
    sale = sell(shop)
    sent = shop.senders.rdr(**told_of(sale, amount=15.0, card_last_4=None))
    shop.post(sent)
    shop.forwarder.settle(under_way(shop, "create"))
    here = f"disputes/{shop.case(sent)['dispute_id']}/"
    shop.api.call("PATCH", here, body={"transaction": sale["id"]})
    by_hand = {"resolution": "issued_full_refund", "create_external_refund": True}
    shop.tell("dispute.updated", shop.api.call("POST", f"{here}resolve/", body=by_hand))
    shop.settle()
    assert len(refunds(shop)) == 1


def test_what_waits_for_a_resolution_that_was_undone_is_failed_for_a_person(shop: Desk) -> None:
    sent = shop.senders.rdr(**told_of(sale={"auth_code": "A00001"}))
    assert sent.opens
    shop.post(sent)
    shop.settle()
    sale = sell(shop)
    shop.sandbox.add_faults(fault("503", path="*/refund/"))
    shop.tell("transaction.created", sale)
    shop.work()
    delivery = shop.post(shop.senders.rdr(case=sent.opens[0], event="rdr.match", **told_of(sale)))
    shop.work()
    assert shop.delivery(delivery)["status"] == "pending"
    row = shop.sandbox.stores[STORE].disputes.by_id[shop.case(sent)["dispute_id"]]
    shop.tell("dispute.updated", dict(row, status="open", resolution=None))
    row |= {"status": "open", "resolution": None}
    shop.settle()
    assert shop.delivery(delivery)["reason"] == "refused"


def test_a_result_for_a_refused_alert_finds_the_dispute_made_by_hand(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("400", method="POST", path="/disputes/", count=1))
    sent = shop.senders.chargeback()
    assert sent.opens
    shop.post(sent)
    shop.settle()
    by_hand = shop.sandbox.add_dispute(STORE, type="chargeback", case_number=sent.opens[0])
    delivery = shop.post(shop.senders.result(sent.opens[0]))
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert [one["id"] for one in shop.disputes()] == [by_hand["id"]]


def test_a_withdrawal_of_a_refused_alert_finds_the_dispute_made_by_hand(shop: Desk) -> None:
    sent = refused(shop)
    assert sent.opens
    shop.sandbox.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    withdraw(shop, sent)
    shop.settle()
    assert len(shop.disputes()) == 1


@pytest.mark.parametrize("held_up", ["by 429", "by a pause"])
def test_a_duplicate_hears_of_the_holder_s_resolution_by_a_person(shop: Desk, held_up: str) -> None:
    sale = sell(shop)
    first, second = shop.senders.prevention(**prevented()), shop.senders.rdr(**told_of(sale))
    shop.post(first)
    shop.settle()
    shop.sandbox.add_faults(fault("429", method="POST", path="*/resolve/"))
    delivery = shop.post(second)
    shop.inbox.translate(shop.judge.verdict, 50)
    shop.forwarder.settle(until_duplicate(shop))
    if held_up == "by a pause":
        shop.inbox.pause(STORE, BY_HAND, None)
    shop.work()
    assert shop.delivery(delivery)["status"] == "pending"
    here = f"disputes/{shop.case(first)['dispute_id']}/"
    shop.sandbox.faults.clear()
    by_hand = {"resolution": "issued_full_refund"}
    shop.tell("dispute.updated", shop.api.call("POST", f"{here}resolve/", body=by_hand))
    shop.work()
    shop.inbox.resume(STORE)
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"


# --- look_first ---------------------------------------------------------------------------------


def test_a_creation_that_was_put_off_is_looked_up_again(careful: Desk) -> None:
    careful.sandbox.add_faults(fault("429", method="POST", path="/disputes/"))
    sent = careful.senders.prevention()
    assert sent.opens
    careful.post(sent)
    careful.settle()
    careful.sandbox.add_dispute(STORE, type="alert", case_number=sent.opens[0])
    careful.clock.sleep(HOUR)
    careful.sandbox.faults.clear()
    careful.settle()
    assert len(careful.disputes()) == 1


def test_a_resolution_that_was_put_off_is_looked_up_again(careful: Desk) -> None:
    sale = sell(careful)
    sent = careful.senders.rdr(**told_of(sale))
    careful.sandbox.add_faults(fault("429", method="POST", path="*/resolve/"))
    careful.post(sent)
    careful.settle()
    here = f"disputes/{careful.case(sent)['dispute_id']}/"
    careful.sandbox.faults.clear()
    by_hand = {"resolution": "issued_full_refund", "create_external_refund": True}
    careful.api.call("POST", f"{here}resolve/", body=by_hand)
    careful.clock.sleep(HOUR)
    careful.settle()
    assert len(refunds(careful)) == 1


def test_each_write_is_looked_up_right_before_it(careful: Desk) -> None:
    sent = careful.senders.prevention(**prevented())
    assert sent.opens
    careful.post(sent)
    careful.settle()
    with careful.counted() as calls:
        careful.tell("transaction.created", sell(careful))
        careful.settle()
    here = f"/disputes/{careful.case(sent)['dispute_id']}/"
    assert calls[-2:] == [f"GET {here}", f"PATCH {here}"]


def hour_of(shop: Desk) -> list[str]:
    """The calls of an hour, with a look every second."""
    with shop.counted() as calls:
        for _ in range(3600):
            shop.work()
            shop.clock.sleep(1.0)
    return calls


def test_looking_first_backs_off_where_29next_is_in_trouble(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, desk(url, look_first=True) as shop:
        shop.sandbox.add_faults(fault("503", method="GET", path="/transactions/"))
        shop.post(shop.senders.prevention(**prevented()))
        assert len(hour_of(shop)) < 100


def test_looking_first_ends_with_a_bug_too(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_database("sqlite") as url, desk(url, look_first=True) as shop:
        broken(monkeypatch, "create", 999)
        delivery = shop.post(shop.senders.prevention(**prevented()))
        hour_of(shop)
        assert shop.delivery(delivery)["reason"] == "bug"


@pytest.mark.parametrize("word", ["429", "401"])
def test_a_correction_that_comes_before_the_creation_is_taken(careful: Desk, word: str) -> None:
    careful.sandbox.add_faults(fault(word, method="POST", path="/disputes/"))
    sent = careful.senders.prevention(**prevented())
    assert sent.opens
    careful.post(sent)
    careful.settle()
    careful.post(careful.senders.prevention(case=sent.opens[0], **prevented(amount=45.0)))
    careful.work()
    careful.sandbox.faults.clear()
    careful.clock.sleep(HOUR)
    careful.settle()
    assert [one["amount"] for one in careful.disputes()] == ["45.00"]


# --- matches and refunds ------------------------------------------------------------------------


def test_a_person_s_match_while_another_is_under_way_leaves_what_29next_has(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.settle()
    right = sell(shop, amount="77.00", bankcard_last_four="9999")
    shop.tell("transaction.created", sell(shop))
    answered = under_way(shop, "attach")
    assert shop.inbox.decide(shop.case(sent)["id"], right["id"])
    shop.forwarder.settle(answered)
    shop.settle()
    (dispute,) = shop.disputes()
    assert shop.case(sent)["transaction_id"] == dispute["transaction"] != right["id"]
    assert str(right["id"]) in shop.case(sent)["notes"][-1]


def test_a_refund_of_a_person_s_match_is_recorded_in_the_currency_of_the_sale(shop: Desk) -> None:
    unknown = told_of({"auth_code": "A09999"}, amount=6000.0, currency="JPY", card_last_4=None)
    sent = shop.senders.rdr(**unknown)
    shop.post(sent)
    shop.settle()
    shop.inbox.decide(shop.case(sent)["id"], sell(shop)["id"])
    shop.settle()
    assert [one["amount"] for one in refunds(shop)] == ["40.00"]


def test_a_refund_of_a_match_made_at_29next_is_recorded_in_the_currency_of_the_sale(shop: Desk) -> None:
    unknown = told_of({"auth_code": "A09999"}, amount=6000.0, currency="JPY", card_last_4=None)
    sent = shop.senders.rdr(**unknown)
    shop.post(sent)
    shop.settle()
    here = f"disputes/{shop.case(sent)['dispute_id']}/"
    shop.tell("dispute.updated", shop.api.call("PATCH", here, body={"transaction": sell(shop)["id"]}))
    shop.settle()
    assert [one["amount"] for one in refunds(shop)] == ["40.00"]


def test_a_refund_of_a_sale_that_may_not_be_read_is_left_to_a_person(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("403", method="GET", path="/transactions/*"))
    sent = shop.senders.rdr(**told_of(sale={"auth_code": "A00001"}))
    shop.post(sent)
    shop.settle()
    shop.inbox.decide(shop.case(sent)["id"], sell(shop)["id"])
    shop.settle()
    assert refunds(shop) == []
    assert "transactions:read" in shop.case(sent)["notes"][-1]


def decided(shop: Desk, sent: Sent, answered: list[Errand]) -> Json:
    """The case for which a person decided another sale, while an answer was under way; and that sale."""
    right = sell(shop, amount="77.00", bankcard_last_four="9999")
    assert shop.inbox.decide(shop.case(sent)["id"], right["id"])
    shop.forwarder.settle(answered)
    shop.settle()
    return {**shop.case(sent), "right": right["id"]}


def answers(method: str, path: str, said: str) -> Fault:
    """A refusal, once."""
    return Fault(Does.ANSWER, method=method, path=path, status=400, body=said, count=1)


def test_a_person_s_match_outlasts_a_look_up_that_was_refused_meanwhile(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.sandbox.add_faults(fault("403", method="GET", path="/transactions/", count=1))
    shop.post(sent)
    case = decided(shop, sent, under_way(shop, "ask"))
    assert case["transaction_id"] == case["right"]


@pytest.mark.both_databases
@pytest.mark.parametrize("said", ["Invalid pk.", "It already exists."])
def test_a_person_s_match_outlasts_one_that_was_refused_meanwhile(shop: Desk, said: str) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.settle()
    shop.sandbox.add_faults(answers("PATCH", "/disputes/*", json.dumps({"transaction": [said]})))
    shop.tell("transaction.created", sell(shop))
    case = decided(shop, sent, under_way(shop, "attach"))
    assert case["transaction_id"] == case["right"]


def test_a_person_s_match_outlasts_a_creation_that_was_refused_meanwhile(shop: Desk) -> None:
    sell(shop)
    sent = shop.senders.prevention(**prevented())
    shop.sandbox.add_faults(answers("POST", "/disputes/", '{"transaction": ["Invalid pk."]}'))
    shop.post(sent)
    case = decided(shop, sent, under_way(shop, "create"))
    assert case["transaction_id"] == case["right"]


def test_a_creation_under_way_with_another_match_than_a_person_s_is_noted(shop: Desk) -> None:
    sale = sell(shop)
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    case = decided(shop, sent, under_way(shop, "create"))
    assert case["transaction_id"] == sale["id"]
    assert str(case["right"]) in case["notes"][-1]


def test_a_person_s_match_outlasts_a_duplicate_that_was_found_meanwhile(shop: Desk) -> None:
    sale = sell(shop)
    shop.post(shop.senders.prevention(**prevented()))
    shop.settle()
    second = shop.senders.rdr(**told_of(sale))
    shop.post(second)
    shop.inbox.translate(shop.judge.verdict, 50)
    case = decided(shop, second, until_duplicate(shop))
    assert case["transaction_id"] == case["right"]
    assert case["state"] != "duplicate"


def test_a_person_s_match_outlasts_the_question_who_holds_another(shop: Desk) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.settle()
    sale = sell(shop)
    shop.sandbox.add_dispute(STORE, type="alert", transaction=sale["id"], case_number="BY-HAND")
    shop.tell("transaction.created", sale)
    shop.forwarder.settle(under_way(shop, "attach"))
    case = decided(shop, sent, [])
    assert case["transaction_id"] == case["right"]


def test_a_dispute_that_holds_its_own_transaction_is_no_duplicate(shop: Desk) -> None:
    row = shop.sandbox.add_dispute(STORE, type="alert", case_number=None)
    shop.tell("dispute.created", row)
    shop.settle()
    number, sale = f"29next-{row['id']}", sell(shop)
    shop.api.call("PATCH", f"disputes/{row['id']}/", body={"transaction": sale["id"]})
    shop.sandbox.add_faults(answers("PATCH", "/disputes/*", '{"transaction": ["It already has an alert."]}'))
    assert shop.inbox.decide(shop.case(number)["id"], sale["id"])
    shop.settle()
    assert (shop.case(number)["transaction_id"], shop.case(number)["duplicate_of"]) == (sale["id"], None)


# --- bugs of ours -------------------------------------------------------------------------------


def broken(monkeypatch: pytest.MonkeyPatch, kind: str, times: int) -> None:
    """Let the worker stumble over a step some times."""
    real, left = next_step, [times]

    def stumble(case: Case, now: float, **more: Any) -> Step:
        step = real(case, now, **more)
        if left[0] and isinstance(step, Call) and step.kind == kind:
            left[0] -= 1
            raise ValueError("a bug of ours")
        return step

    monkeypatch.setattr(forward, "next_step", stumble)


def test_a_bug_at_a_person_s_match_is_tried_again(shop: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = shop.senders.prevention(**prevented())
    shop.post(sent)
    shop.settle()
    sale = sell(shop, amount="77.00", bankcard_last_four="9999")
    broken(monkeypatch, "attach", 1)
    assert shop.inbox.decide(shop.case(sent)["id"], sale["id"])
    shop.settle(60, 10)
    assert shop.case(sent)["transaction_id"] == sale["id"]


@pytest.mark.parametrize(("times", "status"), [(1, "forwarded"), (99, "failed")])
def test_a_bug_at_the_holder_reaches_the_duplicate_that_waits_for_it(
    shop: Desk, monkeypatch: pytest.MonkeyPatch, times: int, status: str
) -> None:
    sale = sell(shop)
    shop.post(shop.senders.prevention(**prevented()))
    shop.settle()
    broken(monkeypatch, "resolve", times)
    delivery = shop.post(shop.senders.rdr(**told_of(sale)))
    shop.settle(60, 10)
    assert shop.delivery(delivery)["status"] == status


# --- card numbers in what 29next answers --------------------------------------------------------


def test_card_numbers_in_29next_s_answers_are_cut(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, desk(url) as shop:
        said = json.dumps({"detail": f"no {NUMBER}"})
        shop.sandbox.add_faults(
            Fault(Does.ANSWER, method="POST", path="/disputes/", status=400, body=said, count=1)
        )
        shop.post(shop.senders.prevention())
        shop.settle()
        resolved, withdrawn = shop.senders.prevention(), shop.senders.rdr(**told_of(sell(shop)))
        for sent in (resolved, withdrawn):
            shop.post(sent)
        shop.settle()
        paths = [f"disputes/{shop.case(sent)['dispute_id']}/" for sent in (resolved, withdrawn)]
        by_hand = {"resolution": "other", "resolution_other_message": f"paid by {NUMBER}"}
        shop.api.call("POST", f"{paths[0]}resolve/", body=by_hand)
        shop.api.call("POST", f"{paths[1]}notes/", body={"message": f"paid by {NUMBER}"})
        shop.sandbox.add_faults(fault("reset_after", method="POST", path="*/notes/", count=1))
        withdraw(shop, withdrawn)
        shop.inbox.doubt(shop.clock() - DAY)
        shop.settle()
        assert f"GET /{paths[1]}notes/" in shop.calls()
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            dump = "\n".join(connection.iterdump())
    assert "411111" in dump
    assert NUMBER not in dump


# --- pauses -------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_an_answer_to_a_probe_does_not_end_the_pause_that_a_person_made_meanwhile(shop: Desk) -> None:
    shop.inbox.pause(STORE, "29next answered 401", 30.0)
    shop.post(shop.senders.prevention())
    shop.inbox.translate(shop.judge.verdict, 50)
    shop.clock.sleep(31)
    answered = under_way(shop, "create")
    shop.inbox.pause(STORE, BY_HAND, None)
    shop.forwarder.settle(answered)
    assert is_paused(shop)
    shop.inbox.resume(STORE)
    assert not is_paused(shop)


def test_a_refusal_does_not_turn_a_person_s_pause_into_one_that_ends_by_itself(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("401", count=1))
    shop.post(shop.senders.prevention())
    answered = under_way(shop, "create")
    shop.inbox.pause(STORE, BY_HAND, None)
    shop.forwarder.settle(answered)
    shop.clock.sleep(40)
    shop.settle()
    assert is_paused(shop)


def test_a_deadline_stands_still_only_while_its_alert_waits_through_the_pause(shop: Desk) -> None:
    shop.inbox.pause(STORE, BY_HAND, None)
    before = shop.senders.chargeback()
    waited = [shop.post(before)]
    allowed = [time_left(shop, waited[0])]
    shop.inbox.translate(shop.judge.verdict, 50)
    shop.clock.sleep(50 * HOUR)
    late = shop.senders.prevention()
    assert late.opens
    waited.append(shop.post(late))
    allowed.append(time_left(shop, waited[1]))
    shop.inbox.translate(shop.judge.verdict, 50)
    shop.clock.sleep(60)
    shop.inbox.resume(STORE)
    assert [time_left(shop, one) for one in waited] == [pytest.approx(one, abs=1) for one in allowed]
    (claim,) = shop.inbox.claim([STORE])
    assert claim.case.case_number == late.opens[0]


def test_a_replay_in_a_pause_has_its_whole_deadline_ahead_and_no_more(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("400", method="POST", path="/disputes/", count=1))
    delivery = shop.post(shop.senders.prevention())
    allowed = time_left(shop, delivery)
    shop.settle()
    shop.inbox.pause(STORE, BY_HAND, None)
    shop.clock.sleep(50 * HOUR)
    shop.inbox.replay([delivery])
    shop.clock.sleep(60)
    shop.inbox.resume(STORE)
    assert time_left(shop, delivery) == pytest.approx(allowed, abs=1)


# --- deadlines ----------------------------------------------------------------------------------


def test_each_result_waits_for_its_opening_until_its_own_deadline(shop: Desk) -> None:
    first = shop.post(shop.senders.result("X-1"))
    shop.settle()
    over = datetime.fromisoformat(shop.delivery(first)["deadline_at"]).timestamp()
    shop.clock.now = over - 60
    second = shop.post(shop.senders.result("X-1", result="won", note="2"))
    shop.settle(5, 2)
    shop.clock.sleep(120)
    shop.settle()
    assert shop.delivery(first)["reason"] == "no_opening"
    assert shop.delivery(second)["reason"] == "waiting_for_opening"
    shop.clock.sleep(4 * DAY)
    shop.settle()
    assert shop.delivery(second)["reason"] == "no_opening"


# --- a store that is gone -----------------------------------------------------------------------


@pytest.mark.both_databases
def test_what_a_store_is_owed_that_is_gone_fails_at_its_deadline_and_can_be_replayed(shop: Desk) -> None:
    shop.sandbox.add_faults(fault("503"))
    sent = shop.senders.prevention()
    delivery = shop.post(sent)
    shop.work()
    back: Json = {"name": STORE, "base_url": shop.store.base_url}
    store = shop.store
    restarted(shop)
    chores = Chores(shop.settings, shop.database)
    chores.give_up()
    assert shop.delivery(delivery)["status"] == "pending"  # it may come back
    shop.clock.sleep(25 * HOUR)
    chores.give_up()
    assert shop.delivery(delivery)["reason"] == "no_store"
    assert STORE in shop.delivery(delivery)["message"]
    shop.settings = replace(shop.settings, stores={STORE: store})
    restarted(shop, **back)
    shop.sandbox.faults.clear()
    assert shop.inbox.replay([delivery]) == [delivery]
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"


@pytest.mark.both_databases
def test_a_duplicate_that_waits_for_a_store_that_is_gone_fails_with_its_holder(shop: Desk) -> None:
    sale = sell(shop)
    shop.post(shop.senders.prevention(**prevented()))
    shop.settle()
    shop.sandbox.add_faults(fault("503", method="POST", path="*/resolve/"))
    second = shop.senders.rdr(**told_of(sale))
    delivery = shop.post(second)
    shop.settle()
    assert shop.case(second)["state"] == "duplicate"
    settings = shop.settings
    restarted(shop)
    shop.clock.sleep(4 * DAY)
    Chores(shop.settings, shop.database).give_up()
    shop.settings = settings
    assert shop.delivery(delivery)["reason"] == "no_store"
