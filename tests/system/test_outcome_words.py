"""Every word of every table: what each provider is told of each resolution, and what its body says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge import providers
from bridge.alert import ALERT_RESOLUTIONS, Category
from bridge.providers.outcomes import PLACEHOLDERS, ByShipment, Outcome, names_in
from tests.support.provider_apis import OWN_WORDS
from tests.support.reporting import Reports

OUTCOMES: dict[str, Outcome] = {
    name: one.outcome for name, one in providers.built_in().items() if one.outcome
}
WAITING = {"chargeflow": {"declined_or_canceled_nothing_to_do", "3ds_authorized_successfully",
                          "unable_to_refund_merchant_account_closed"}}  # fmt: skip
"""Resolutions beside `other` for which a provider has only a word that declines."""
REFUNDS = ("issued_full_refund", "issued_refund_for_remaining_amount")

FRAUD = {
    "previously_refunded_nothing_to_do": ("PREVIOUSLY_CANCELLED", "REFUNDED"),
    "could_not_find_order": ("NOT_FOUND", "NOT_REFUNDED"),
    "declined_or_canceled_nothing_to_do": ("PREVIOUSLY_CANCELLED", "NOT_SETTLED"),
    "3ds_authorized_successfully": ("OTHER", "NOT_REFUNDED"),
    "unable_to_refund_merchant_account_closed": ("OTHER", "NOT_REFUNDED"),
}
DISPUTE = {
    "issued_full_refund": ("RESOLVED", "REFUNDED"),
    "issued_refund_for_remaining_amount": ("RESOLVED", "REFUNDED"),
    "previously_refunded_nothing_to_do": ("RESOLVED_PREVIOUSLY_REFUNDED", "REFUNDED"),
    "could_not_find_order": ("NOT_FOUND", "NOT_REFUNDED"),
    "declined_or_canceled_nothing_to_do": ("RESOLVED", "NOT_SETTLED"),
    "3ds_authorized_successfully": ("UNRESOLVED_DISPUTE", "NOT_REFUNDED"),
    "unable_to_refund_merchant_account_closed": ("UNRESOLVED_DISPUTE", "NOT_REFUNDED"),
}
PAYSHIELD = {
    "issued_full_refund": ("RESOLVED", "100.001"),
    "issued_refund_for_remaining_amount": ("RESOLVED", "101.001"),
    "previously_refunded_nothing_to_do": ("RESOLVED", "951.001"),
    "declined_or_canceled_nothing_to_do": ("RESOLVED", "102.003"),
    "could_not_find_order": ("DECLINED", "902.002"),
    "3ds_authorized_successfully": ("DECLINED", "954.002"),
    "unable_to_refund_merchant_account_closed": ("DECLINED", "950.002"),
}
CHARGEFLOW = {
    "issued_full_refund": "refunded",
    "issued_refund_for_remaining_amount": "refunded",
    "previously_refunded_nothing_to_do": "previously_refunded",
    "could_not_find_order": "transaction_not_found",
}
CHARGEBLAST = {
    "issued_full_refund": "Resolved",
    "issued_refund_for_remaining_amount": "Resolved",  # for ResolvedPartial is not said to stop the issuer
    "previously_refunded_nothing_to_do": "AlreadyRefunded",
    "declined_or_canceled_nothing_to_do": "ResolvedCancelled",
    "could_not_find_order": "UnmatchedCannotFindTransaction",
    "3ds_authorized_successfully": "TDS",
    "unable_to_refund_merchant_account_closed": "MIDLost",
}
HELD, GONE, CANCELED = ("on_hold", "pending"), ("closed", "closed"), ("processing", "cancel_accepted")


# --- the declarations ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_resolution_but_other_has_a_word_and_other_only_where_it_is_29next_s_own(name: str) -> None:
    outcome = OUTCOMES[name]
    assert outcome.table
    for table in outcome.table.values():
        assert {*table, *WAITING.get(name, ()), "other"} == set(ALERT_RESOLUTIONS)
        assert ("other" in table) == (name in OWN_WORDS)
    assert not outcome.on


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_word_of_a_table_is_one_that_a_person_could_choose_for_such_an_alert(name: str) -> None:
    outcome = OUTCOMES[name]
    for category, table in outcome.table.items():
        offered = {word.name for word in outcome.choices(category)}
        for said in table.values():
            parts = (said.whole, said.part, said.nothing) if isinstance(said, ByShipment) else (said,)
            assert offered.issuperset(parts), category
    assert len({word.name for word in outcome.words}) == len(outcome.words)
    assert all(word.says.endswith(".") for word in outcome.words)


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_placeholder_of_a_body_is_known(name: str) -> None:
    outcome = OUTCOMES[name]
    filled = {key for word in outcome.words for key in word.fills}
    assert set(names_in(outcome.body)) <= PLACEHOLDERS | filled
    assert {need for word in outcome.words for need in word.needs} <= PLACEHOLDERS


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_word_means_the_same_coming_back_but_the_rest_refunded_is_a_refund(name: str) -> None:
    outcome = replace(OUTCOMES[name], on=True)
    echoes = {ours: outcome.equals(ours) for ours in ALERT_RESOLUTIONS}
    differing = {ours: told for ours, told in echoes.items() if told}
    assert differing in ({}, {"issued_full_refund": ("issued_refund_for_remaining_amount",)})


# --- Ethoca -------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", DISPUTE)
def test_ethoca_is_told_of_a_customer_s_dispute(reports: Reports, resolution: str) -> None:
    case = reports.alert("ethoca", "dispute")
    reports.resolve(case, resolution)
    item = reports.sent(case)
    assert item
    assert (item["outcome"], item["refundStatus"]) == DISPUTE[resolution]
    assert ("refund" in item) == (item["refundStatus"] == "REFUNDED")
    assert "comments" not in item
    assert reports.outcome(case)["state"] == "told"
    assert reports.reads(case) == []  # the sale is not known, and nothing is to be read


@pytest.mark.parametrize("resolution", FRAUD)
def test_ethoca_is_told_of_a_confirmed_fraud(reports: Reports, resolution: str) -> None:
    case = reports.alert("ethoca", "fraud")
    reports.resolve(case, resolution)
    item = reports.sent(case)
    assert item
    assert (item["outcome"], item["refundStatus"]) == FRAUD[resolution]
    assert ("comments" in item) == (item["outcome"] == "OTHER")
    assert reports.reads(case) == []


@pytest.mark.parametrize("resolution", REFUNDS)
@pytest.mark.parametrize(
    ("parcels", "word"),
    [
        ([HELD], "STOPPED"),
        ([HELD, CANCELED, ("canceled", "closed")], "STOPPED"),
        ([HELD, ("not_required", "pending")], "STOPPED"),
        ([HELD, GONE], "PARTIALLY_STOPPED"),
        ([CANCELED, ("processing", "cancel_rejected")], "PARTIALLY_STOPPED"),
        ([GONE], "MISSED"),
        ([("open", "pending")], "MISSED"),
        ([("processing", "cancel_requested")], "MISSED"),
        ([("not_required", "pending")], "MISSED"),
        ([], "MISSED"),
    ],
)
def test_ethoca_is_told_how_much_of_a_refunded_fraud_was_held_back(
    reports: Reports, resolution: str, parcels: list[tuple[str, str]], word: str
) -> None:
    sale = reports.sell(parcels)
    case = reports.alert("ethoca", "fraud", sale)
    reports.resolve(case, resolution)
    item = reports.sent(case)
    assert item
    assert (item["outcome"], item["refundStatus"]) == (word, "REFUNDED")
    assert ("amountStopped" in item) == (word == "STOPPED")
    assert reports.reads(case).count(f"orders/{sale['order']}/fulfillment-orders/") == 1


def test_what_ethoca_is_told_of_a_refund_is_the_refund_at_29next(reports: Reports) -> None:
    sale = reports.sell([HELD])
    case = reports.alert("ethoca", "fraud", sale)
    assert reports.bridge.case(case)["transaction_id"] == sale["id"]
    refund = reports.bridge.api.call("POST", f"transactions/{sale['id']}/refund/", body={"amount": "39.50"})
    rows = reports.bridge.api.call("GET", f"orders/{sale['order']}/")["transactions"]
    row = next(one for one in rows if one["type"] == "refund")
    assert refund["id"]
    reports.resolve(case)
    at = row["date_created"].replace("Z", "+00:00")[:19]
    assert reports.sent(case) == {
        "alertId": case,
        "outcome": "STOPPED",
        "refundStatus": "REFUNDED",
        "refund": {
            "amount": {"value": 39.5, "currencyCode": "USD"},
            "type": "REFUND",
            "timestamp": f"{at}+00:00",
            "transactionId": str(row["id"]),
        },
        "amountStopped": {"value": 39.5, "currencyCode": "USD"},
        "actionTimestamp": f"{at}+00:00",
    }


def test_a_refund_that_failed_or_is_of_another_payment_is_not_told(reports: Reports) -> None:
    sale = reports.sell()
    other = reports.sell()
    more = {"type": "refund", "currency": "USD", "order": sale["order"]}
    for facts in ({"parent_id": sale["id"], "status": "failed"}, {"parent_id": other["id"]}):
        reports.bridge.next29.add_transaction("sandbox", amount="11.00", **more, **facts)
    case = reports.alert("ethoca", "dispute", sale)
    reports.resolve(case)
    item = reports.sent(case)
    assert item
    assert item["refund"]["amount"]["value"] == 40
    assert "transactionId" not in item["refund"]


def test_where_no_refund_is_known_ethoca_is_told_what_is_disputed_as_of_the_resolution(
    reports: Reports,
) -> None:
    case = reports.alert("ethoca", "dispute")
    reports.resolve(case)
    item = reports.sent(case)
    assert item
    assert item["refund"]["amount"] == {"value": 40, "currencyCode": "USD"}
    assert "transactionId" not in item["refund"]
    assert item["refund"]["timestamp"] == item["actionTimestamp"]
    assert item["actionTimestamp"].endswith("+00:00")


@pytest.mark.parametrize("shape", ["array", "page", "object"])
def test_fulfilment_orders_are_read_in_each_form_that_29next_may_answer(reports: Reports, shape: str) -> None:
    sale = reports.sell([HELD])
    (row,) = reports.bridge.next29.stores["sandbox"].fulfillment[sale["order"]]
    answers: dict[str, Any] = {"array": [row], "page": {"next": None, "results": [row]}, "object": row}
    reports.ships(sale, answers[shape])
    case = reports.alert("ethoca", "fraud", sale)
    reports.resolve(case)
    assert (reports.sent(case) or {})["outcome"] == "STOPPED"


def test_a_scope_that_is_missing_makes_a_refunded_fraud_a_person_s(reports: Reports) -> None:
    sale = reports.sell([HELD])
    case = reports.alert("ethoca", "fraud", sale)
    scopes = ("disputes:read", "disputes:write", "transactions:read")
    reports.bridge.next29.add_token(reports.bridge.store.token, scopes=scopes)
    reports.resolve(case)
    assert reports.sent(case) is None
    one = reports.outcome(case)
    assert one["state"] == "failed"
    assert "Choose the word here" in one["message"]
    # where nothing has to be known of the shipment, the dispute's amount does
    other = reports.alert("ethoca", "dispute", reports.sell())
    reports.resolve(other)
    assert (reports.sent(other) or {})["refund"]["amount"]["value"] == 40


def test_a_refunded_fraud_whose_payment_is_not_known_is_a_person_s(reports: Reports) -> None:
    case = reports.alert("ethoca", "fraud")
    reports.resolve(case)
    assert reports.sent(case) is None
    assert "is not known" in reports.outcome(case)["message"]


def test_an_alert_of_which_nobody_knows_the_kind_waits_at_ethoca() -> None:
    outcome = OUTCOMES["ethoca"]
    assert outcome.word_name(Category.UNKNOWN, "issued_full_refund") is None
    names = {word.name for word in outcome.choices(Category.UNKNOWN)}
    assert {"RESOLVED/REFUNDED", "STOPPED/REFUNDED"} <= names
    fraud = {word.name.partition("/")[0] for word in outcome.choices(Category.FRAUD)}
    assert "RESOLVED" not in fraud
    assert "STOPPED" in fraud


# --- the others -------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", PAYSHIELD)
@pytest.mark.parametrize("kind", ["fraud", "dispute", "unknown"])
def test_payshield_is_told_by_status_and_code(reports: Reports, kind: str, resolution: str) -> None:
    case = reports.alert("payshield", kind)
    reports.resolve(case, resolution)
    said = reports.sent(case)
    assert said
    assert (said["status"], said["reason_code"]) == PAYSHIELD[resolution]
    is_refund = said["reason_code"].endswith(".001")
    amounts = {"alert_outcome_amount": "40.00", "alert_outcome_currency": "USD"} if is_refund else {}
    date = said["alert_outcome_action_date"]
    status, code = PAYSHIELD[resolution]
    rest = {"alert_id": case, "status": status, "reason_code": code, "alert_outcome_action_date": date}
    assert said == rest | amounts
    assert reports.outcome(case)["state"] == "told"


@pytest.mark.parametrize("resolution", CHARGEFLOW)
def test_chargeflow_is_read_and_told_in_its_own_words(reports: Reports, resolution: str) -> None:
    case = reports.alert("chargeflow")
    reports.resolve(case, resolution)
    assert reports.sent(case) == {"outcome": CHARGEFLOW[resolution]}
    base = f"public/2025-04-01/alerts/{case}"
    assert reports.apis.ledger.made == [f"GET {base}", f"POST {base}/outcome"]


@pytest.mark.parametrize("resolution", sorted(WAITING["chargeflow"]))
def test_chargeflow_is_not_told_by_itself_that_a_refund_was_declined(
    reports: Reports, resolution: str
) -> None:
    case = reports.alert("chargeflow")
    reports.resolve(case, resolution)
    assert reports.sent(case) is None
    assert reports.outcome(case)["state"] == "failed"


def test_chargeflow_is_told_only_of_alerts_of_ethoca_and_cdrn(reports: Reports) -> None:
    known = {kind: reports.alert("chargeflow", type=kind) for kind in ("ethoca", "cdrn", "other")}
    for case in known.values():
        reports.resolve(case)
    assert {kind for kind, case in known.items() if reports.sent(case)} == {"ethoca", "cdrn"}
    assert reports.bridge.case(known["other"])["outcomes"] == []


@pytest.mark.parametrize("resolution", CHARGEBLAST)
def test_chargeblast_is_read_and_told_in_its_own_words(reports: Reports, resolution: str) -> None:
    case = reports.alert("chargeblast")
    reports.resolve(case, resolution)
    assert reports.sent(case) == {"result": CHARGEBLAST[resolution]}
    assert reports.apis.ledger.made == [f"GET api/v2/alert/{case}", f"POST api/v2/alerts/update/{case}"]


def test_the_rest_refunded_is_told_already_where_chargeblast_has_a_refund(reports: Reports) -> None:
    case = reports.alert("chargeblast")
    reports.apis.ledger.take("chargeblast", case, {"result": "Resolved"})
    reports.resolve(case, "issued_refund_for_remaining_amount")
    assert reports.apis.tries("chargeblast") == 0
    assert reports.outcome(case)["state"] == "told"


@pytest.mark.parametrize("resolution", ALERT_RESOLUTIONS)
def test_midigator_is_told_29next_s_own_word_and_a_person_s_reason(reports: Reports, resolution: str) -> None:
    case = reports.alert("midigator", prevention_guid="pre_0001")
    reason = "The customer has written to us." if resolution == "other" else ""
    reports.resolve(case, resolution, **({"resolution_other_message": reason} if reason else {}))
    assert reports.sent("pre_0001") == {"resolution_type": resolution, "other_description": reason}
    resolved = "POST prevention/v1/prevention/pre_0001/resolution"
    assert reports.apis.ledger.made == ["POST auth/v1/auth", resolved]
