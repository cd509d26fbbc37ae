"""The ladder: one transaction that fits and that nothing contradicts, or none."""

from __future__ import annotations

import dataclasses
import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.alert import Alert
from bridge.disputes import matching
from bridge.disputes.matching import Row, choose, queries, shares_fact
from tests.support.examples import examples
from tests.support.openapi import validate_request
from tests.support.trying import tried_with

SOLD = datetime(2026, 3, 1, 12, tzinfo=UTC)
HAPPENED = SOLD + timedelta(days=10)
FACTS: dict[str, Any] = {
    "amount": Decimal("40.00"),
    "currency": "USD",
    "happened_at": HAPPENED,
    "transaction_at": SOLD,
    "card_first_six": "411111",
    "card_last_four": "0042",
    "auth_code": "A1B2C3",
    "network_transaction_id": "300000000000001",
    "external_id": "pi_0000000000000001",
    "order": "1001",
}
CARD = ("card_first_six", "card_last_four")
WHEN = ("happened_at", "transaction_at")


def alert(*names: str, **changes: Any) -> Alert:
    """An alert with the sale's amount and dates, and with those of its facts that are named."""
    kept = {name: FACTS[name] for name in ("amount", "currency", *WHEN, *names)}
    return Alert(case_number="C-1", **{**kept, **changes})


def sale(**changes: Any) -> Row:
    """A transaction as 29next lists it, of the sale that FACTS are about."""
    details = {"bankcard_first_six": "411111", "bankcard_last_four": "0042"}
    row = {
        "id": 1,
        "type": "debit",
        "status": "succeeded",
        "amount": "40.00",
        "currency": "USD",
        "date_created": SOLD.isoformat(),
        "auth_code": "A1B2C3",
        "network_transaction_id": "300000000000001",
        "external_id": "pi_0000000000000001",
        "order": "1001",
        "parent_id": None,
        "payment_method": "bankcard",
        "payment_details": details,
    }
    card = {name: changes.pop(name) for name in list(changes) if name in details}
    return {**row, "payment_details": {**details, **card}, **changes}


def other(**changes: Any) -> Row:
    """A transaction that shares nothing with the sale but the shop."""
    strange = {
        "id": 2,
        "auth_code": "ZZZZZ9",
        "network_transaction_id": "300000000000999",
        "external_id": "pi_0000000000000999",
        "order": "1999",
        "bankcard_first_six": "555555",
        "bankcard_last_four": "9999",
    }
    return sale(**{**strange, **changes})


def why(found: matching.Choice) -> dict[int, str]:
    return {one["id"]: one["why"] for one in found.candidates}


# --- the rungs -----------------------------------------------------------------------------------


@tried_with(
    ("names", "rule"),
    [
        (("order", *CARD, "auth_code", "network_transaction_id", "external_id"), "order"),
        (("external_id", *CARD, "auth_code", "network_transaction_id"), "external_id"),
        (("network_transaction_id", *CARD, "auth_code"), "network_transaction_id"),
        (("auth_code", *CARD), "auth_code"),
        (("auth_code",), "auth_code"),
        (CARD, "card_and_amount"),
    ],
)
def test_the_strongest_rung_that_fits_names_the_rule(names: tuple[str, ...], rule: str) -> None:
    found = choose(alert(*names), [sale(), other()])
    assert (found.transaction_id, found.rule, found.candidates) == (1, rule, ())


@pytest.mark.parametrize("names", [(), ("card_first_six",), ("card_last_four",)])
def test_amount_and_date_alone_are_too_little(names: tuple[str, ...]) -> None:
    found = choose(alert(*names), [sale()])
    assert found.transaction_id is None
    assert why(found) == {1: "too little evidence"}


def test_nothing_to_choose_from_is_no_match() -> None:
    assert choose(alert(*CARD), []) == matching.Choice()


@pytest.mark.parametrize("name", ["card_first_six", "card_last_four"])
def test_half_a_card_is_no_rung(name: str) -> None:
    assert choose(alert(name), [sale()]).transaction_id is None


@tried_with(
    ("names", "changes"),
    [
        (("auth_code",), {"amount": None}),  # neither the amount nor a card
        (("auth_code",), {"happened_at": None, "transaction_at": None}),  # codes are used again
        (CARD, {"happened_at": None, "transaction_at": None}),
        (CARD, {"amount": None}),
        (CARD, {"currency": None}),
        (CARD, {"amount": Decimal("39.99")}),  # a part of it, and no id
        (("auth_code", *CARD), {"amount": Decimal("39.99")}),
    ],
)
def test_what_is_no_id_needs_amount_and_date_beside_it(
    names: tuple[str, ...], changes: dict[str, Any]
) -> None:
    assert choose(alert(*names, **changes), [sale()]).transaction_id is None


@pytest.mark.parametrize("names", [("auth_code",), CARD])
def test_a_transaction_without_a_date_is_found_by_an_id_only(names: tuple[str, ...]) -> None:
    undated = sale(date_created=None)
    assert choose(alert(*names), [undated]).transaction_id is None
    assert choose(alert(*names, "external_id"), [undated]).transaction_id == 1


@pytest.mark.parametrize("changes", [{"transaction_at": None}, {"happened_at": None}])
def test_one_of_the_two_dates_is_enough(changes: dict[str, Any]) -> None:
    assert choose(alert(*CARD, **changes), [sale()]).transaction_id == 1


@pytest.mark.parametrize(
    ("ours", "theirs"), [("1234", "001234"), ("ab12cd", "AB12CD"), (" A1B2C3 ", "A1B2C3")]
)
def test_a_code_is_compared_as_it_was_before_it_was_a_number(ours: str, theirs: str) -> None:
    assert choose(alert("auth_code", auth_code=ours), [sale(auth_code=theirs)]).rule == "auth_code"


def test_a_code_of_zeros_is_none() -> None:
    assert choose(alert("auth_code", auth_code="000000"), [sale(auth_code="000000")]).rule is None
    assert choose(alert(*CARD, auth_code="000000"), [sale()]).rule == "card_and_amount"


def test_facts_are_found_at_the_top_of_a_row_as_the_index_has_them() -> None:
    row = sale() | {"bankcard_first_six": "411111", "bankcard_last_four": "0042"}
    del row["payment_details"]
    assert choose(alert(*CARD), [row]).transaction_id == 1


# --- contradictions ------------------------------------------------------------------------------

EVERY_RUNG = [("order",), ("external_id",), ("network_transaction_id",), ("auth_code",), CARD]
CONTRADICTIONS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"transaction_amount": Decimal("40.01"), "transaction_currency": "USD"}, {}, "its amount is 40.00"),
    ({"transaction_amount": Decimal("39.99"), "transaction_currency": "USD"}, {}, "its amount is 40.00"),
    ({"amount": Decimal("40.01")}, {}, "its amount is 40.00, not 40.01"),
    ({"transaction_amount": Decimal("40.00"), "transaction_currency": "EUR"}, {}, "its currency is USD"),
    ({}, {"status": "failed"}, "it did not succeed"),
    ({}, {"status": ""}, "it did not succeed"),
    ({}, {"status": None}, "it did not succeed"),
    ({}, {"is_test": True}, "a test"),
    ({}, {"date_created": (SOLD - timedelta(days=4, seconds=1)).isoformat()}, "another date"),
    ({}, {"date_created": (SOLD + timedelta(days=4, seconds=1)).isoformat()}, "another date"),
    ({"happened_at": SOLD - timedelta(days=2, seconds=1)}, {}, "another date"),
    (
        {"transaction_at": None},
        {"date_created": (HAPPENED - timedelta(days=181)).isoformat()},
        "another date",
    ),
    ({"transaction_at": None}, {"date_created": (HAPPENED + timedelta(days=3)).isoformat()}, "another date"),
    ({"card_last_four": "0043"}, {}, "another card"),
    ({"card_first_six": "411112"}, {}, "another card"),
    ({"auth_code": "A1B2C4"}, {}, "another auth code"),
    ({"network_transaction_id": "300000000000002"}, {}, "another network transaction id"),
    ({"external_id": "pi_0000000000000002"}, {}, "another external id"),
]


@tried_with(
    ("rung", "of_alert", "of_row", "reason"),
    [
        (rung, *contradiction)
        for rung, contradiction in itertools.product(EVERY_RUNG, CONTRADICTIONS)
        if not set(rung) & set(contradiction[0])  # the rung itself
        # a wallet, for the network knows the payment: see below
        and (rung, contradiction[2]) != (("network_transaction_id",), "another card")
    ],
)
def test_a_contradiction_blocks_every_rung(
    rung: tuple[str, ...], of_alert: dict[str, Any], of_row: dict[str, Any], reason: str
) -> None:
    assert choose(alert(*rung), [sale()]).transaction_id == 1
    found = choose(alert(*rung, **of_alert), [sale(**of_row)])
    assert found.transaction_id is None
    assert why(found)[1].startswith(reason)


@tried_with("rung", EVERY_RUNG)
@tried_with(
    ("of_alert", "of_row"),
    [
        ({}, {"date_created": (SOLD - timedelta(days=4)).isoformat()}),
        ({}, {"date_created": (SOLD + timedelta(days=4)).isoformat()}),
        ({"happened_at": SOLD - timedelta(days=2)}, {}),
        ({"transaction_at": None}, {"date_created": (HAPPENED - timedelta(days=180)).isoformat()}),
        ({"transaction_at": None}, {"date_created": (HAPPENED + timedelta(days=2)).isoformat()}),
        ({}, {"date_created": SOLD.replace(tzinfo=None).isoformat()}),
        ({}, {"currency": "usd"}),
        ({}, {"is_disputed": True}),
        ({"external_id": "ch_0000000000000002"}, {}),  # of a charge, not of a payment
        ({"network_transaction_id": "MCC123456"}, {}),  # of another network's form
    ],
)
def test_what_is_no_contradiction_blocks_none(
    rung: tuple[str, ...], of_alert: dict[str, Any], of_row: dict[str, Any]
) -> None:
    told = alert(*(name for name in rung if name not in of_alert), *CARD, **of_alert)
    assert choose(told, [sale(**of_row)]).transaction_id == 1


@pytest.mark.parametrize("rung", [("order",), ("external_id",), ("network_transaction_id",)])
def test_a_part_of_the_amount_may_be_disputed_where_an_id_is_known(rung: tuple[str, ...]) -> None:
    assert choose(alert(*rung, amount=Decimal("15.00")), [sale(), other()]).transaction_id == 1


@pytest.mark.parametrize("rung", [("order",), ("external_id",), ("network_transaction_id",)])
def test_across_currencies_the_disputed_amount_is_no_evidence(rung: tuple[str, ...]) -> None:
    abroad = {"amount": Decimal("9000.00"), "currency": "JPY"}
    assert choose(alert(*rung, **abroad), [sale()]).transaction_id == 1
    assert choose(alert("auth_code", **abroad), [sale()]).transaction_id is None
    assert choose(alert("auth_code", *CARD, **abroad), [sale()]).rule == "auth_code"
    assert choose(alert(*CARD, **abroad), [sale()]).transaction_id is None


def test_where_both_amounts_are_told_the_transaction_s_is_compared() -> None:
    told = {
        "transaction_amount": Decimal("40.00"),
        "transaction_currency": "USD",
        "amount": Decimal("340.60"),
    }
    assert choose(alert(*CARD, **told), [sale()]).transaction_id == 1


@tried_with("amount", [None, "", "NaN", "Infinity", "x", 40, 40.0])
def test_an_odd_amount_of_a_row_breaks_nothing(amount: object) -> None:
    found = choose(alert(*CARD), [sale(amount=amount, currency=None)])
    assert found.transaction_id is None


@pytest.mark.parametrize("ident", [None, "1", 1.5])
def test_a_row_without_a_proper_id_is_none(ident: object) -> None:
    assert choose(alert(*CARD), [sale(id=ident)]) == matching.Choice()


# --- wallets -------------------------------------------------------------------------------------

VIRTUAL = {"bankcard_first_six": "489537", "bankcard_last_four": "7777"}


@tried_with("method", ["apple_pay", "google_pay"])
@tried_with("rung", [("order",), ("external_id",), ("network_transaction_id",), ("auth_code",)])
def test_a_wallet_s_virtual_card_is_no_contradiction(method: str, rung: tuple[str, ...]) -> None:
    found = choose(alert(*rung, *CARD), [sale(payment_method=method, **VIRTUAL), other()])
    assert (found.transaction_id, found.rule) == (1, rung[0])


@pytest.mark.parametrize(
    ("rung", "changes", "expected"),
    [
        (("network_transaction_id",), {}, 1),
        (("auth_code",), {}, 1),
        (("auth_code",), {"amount": Decimal("39.99")}, None),
        (("order",), {}, None),
        (("external_id",), {}, None),
    ],
)
def test_where_nobody_says_that_it_was_a_wallet_code_and_amount_or_the_network_have_to(
    rung: tuple[str, ...], changes: dict[str, Any], expected: int | None
) -> None:
    row = sale(payment_method=None, **VIRTUAL)
    assert choose(alert(*rung, *CARD, **changes), [row]).transaction_id == expected


def test_a_code_that_was_used_again_on_another_card_is_no_match() -> None:
    found = choose(alert("auth_code", *CARD), [sale(payment_method="bankcard", **VIRTUAL)])
    assert why(found) == {1: "another card"}


@pytest.mark.parametrize("rung", [("order",), ("auth_code",), ("order", "auth_code")])
def test_a_wallet_is_no_match_where_the_card_alone_speaks_against_another_payment(
    rung: tuple[str, ...],
) -> None:
    """Nobody knows the wallet's real card, and the alert's may be wrong: two may be meant."""
    told = alert(*rung, *CARD, card_last_four="1234")
    rows = [sale(payment_method="bankcard"), sale(id=2, external_id="pi_2", payment_method="apple_pay")]
    assert why(choose(told, rows)) == {1: "another card", 2: "several fit"}
    assert choose(told, rows[1:]).transaction_id == 2
    elsewhere = sale(payment_method="bankcard", order="2002", auth_code="B00002")
    assert choose(told, [elsewhere, rows[1]]).transaction_id == 2


@pytest.mark.parametrize("theirs", ["40.00", "55.00"])
def test_an_amount_in_another_currency_is_no_match_where_one_in_the_alert_s_may_be_meant(theirs: str) -> None:
    """41.41 USD may be 40.00 EUR, a part of 55.00 USD, or a mistake for 40.00 USD."""
    told = alert("auth_code", *CARD, amount=Decimal("41.41"), currency="USD")
    rows = [
        sale(amount=theirs, currency="USD"),
        sale(id=2, external_id="pi_2", amount="40.00", currency="EUR"),
    ]
    assert choose(told, rows).transaction_id is None
    assert choose(told, rows[1:]).transaction_id == 2


def test_the_date_of_a_wallet_counts_all_the_same() -> None:
    row = sale(payment_method="apple_pay", date_created=(SOLD - timedelta(days=30)).isoformat(), **VIRTUAL)
    assert why(choose(alert("auth_code", *CARD), [row])) == {1: "another date"}


# --- refunds, captures, voids --------------------------------------------------------------------


def refund(**changes: Any) -> Row:
    facts = {"id": 7, "type": "refund", "parent_id": 1, "auth_code": "R00001", "external_id": "re_1"}
    return sale(**{**facts, "network_transaction_id": "300000000000777", **changes})


def test_a_refund_leads_to_its_parent() -> None:
    found = choose(alert("external_id", external_id="re_1"), [refund(), sale()])
    assert (found.transaction_id, found.rule) == (1, "external_id")
    assert choose(alert("auth_code", auth_code="R00001"), [refund(), sale()]).transaction_id == 1
    assert choose(alert("auth_code", auth_code="R00001"), [refund()]) == matching.Choice()


def test_a_refund_s_parent_must_fit_as_any_other() -> None:
    found = choose(alert("external_id", external_id="re_1"), [refund(), sale(status="failed")])
    assert why(found) == {1: "it did not succeed"}


def test_only_a_refund_that_the_alert_names_leads_to_a_payment_that_is_not_there_yet() -> None:
    assert matching.payment_behind(alert("external_id", external_id="re_1"), [refund()]) == 1
    assert matching.payment_behind(alert("external_id", external_id="re_2"), [refund()]) is None
    assert matching.payment_behind(alert("external_id", external_id="re_1"), [refund(), sale()]) is None


def test_an_authorization_counts_while_it_has_no_debit() -> None:
    authorized = sale(type="authorize")
    assert choose(alert("auth_code"), [authorized]).transaction_id == 1
    failed = sale(id=2, parent_id=1, status="failed")
    assert choose(alert("auth_code"), [authorized, failed]).transaction_id == 1
    captured = sale(id=3, parent_id=1)
    assert choose(alert("auth_code"), [authorized, failed, captured]).transaction_id == 3


def test_an_authorization_leads_to_the_debit_that_knows_less() -> None:
    bare = sale(id=3, parent_id=1, auth_code=None, network_transaction_id=None, external_id=None)
    found = choose(alert("network_transaction_id"), [sale(type="authorize"), bare])
    assert found.transaction_id == 3


def test_of_several_captures_the_one_of_the_amount_is_taken() -> None:
    rows = [
        sale(type="authorize", amount="100.00"),
        sale(id=3, parent_id=1, amount="40.00"),
        sale(id=4, parent_id=1, amount="60.00"),
    ]
    for rung in (("network_transaction_id",), ("order",), ("auth_code",), CARD):
        assert choose(alert(*rung), rows).transaction_id == 3
    assert choose(alert("network_transaction_id", amount=Decimal("15.00")), rows).transaction_id is None


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_voided_authorization_was_no_payment(status: str) -> None:
    rows = [sale(type="authorize"), sale(id=2, type="void", parent_id=1, status=status)]
    found = choose(alert("auth_code"), rows)
    assert found.transaction_id == (None if status == "succeeded" else 1)


def test_a_voided_debit_was_no_payment() -> None:
    voided = [sale(), sale(id=2, type="void", parent_id=1)]
    assert choose(alert(*CARD), voided) == matching.Choice()
    assert choose(alert(*CARD), [*voided, sale(id=3)]).transaction_id == 3
    failed = [sale(), sale(id=2, type="void", parent_id=1, status="failed")]
    assert choose(alert(*CARD), failed).transaction_id == 1


@pytest.mark.parametrize("kind", ["refund", "void", "verify", "", None])
def test_nothing_but_debits_and_authorizations_is_a_payment(kind: str | None) -> None:
    assert choose(alert(*FACTS), [sale(type=kind)]) == matching.Choice()


# --- several -------------------------------------------------------------------------------------


def test_several_that_fit_are_no_match_and_all_shown() -> None:
    found = choose(alert(*CARD), [sale(), sale(id=2), other(id=3)])
    assert found.transaction_id is None
    assert why(found) == {1: "several fit", 2: "several fit"}
    assert found.rule is None
    assert found.candidates[0] == {
        "id": 1,
        "order": "1001",
        "amount": "40.00",
        "currency": "USD",
        "date_created": SOLD.isoformat(),
        "by": "card_and_amount",
        "why": "several fit",
    }


def test_a_try_that_failed_shares_no_id_with_the_payment_that_succeeded() -> None:
    paid = sale(id=2)
    for changes in ({"amount": Decimal("10.00")}, {"amount": Decimal("37.00"), "currency": "EUR"}):
        for name in ("order", "external_id"):
            found = choose(alert(name, **changes), [sale(status="failed"), paid])
            assert found.transaction_id == 2


def test_two_ids_that_name_two_payments_are_no_match() -> None:
    named, charged = sale(external_id="txn-77"), other(external_id="ch_1")
    for rows in ([named, charged], [charged, named]):
        found = choose(alert("order", external_id="ch_1"), rows)
        assert found.transaction_id is None
        assert why(found) == {1: "several fit", 2: "several fit"}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (sale(amount="1.00"), other(external_id="pi_9")),
        (other(external_id="pi_9", amount="1.00"), sale()),
    ],
)
def test_two_ids_that_name_two_payments_in_two_look_ups_are_no_match(first: Row, then: Row) -> None:
    told = alert("order", external_id="pi_9")
    earlier = choose(told, [first]).candidates
    assert [one["why"] for one in earlier] == ["its amount is 1.00, not 40.00"]
    assert choose(told, [then]).transaction_id == then["id"]
    assert why(choose(told, [then], earlier=earlier)) == {then["id"]: "several fit"}


@pytest.mark.parametrize(
    "before",
    [
        sale(status="failed"),  # a try, which another payment may have followed
        sale(order="1999", amount="1.00"),  # named by its code
        other(external_id="pi_9", amount="1.00"),  # the same
    ],
)
def test_what_an_earlier_look_up_showed_is_no_other_payment_unless_an_id_names_it(before: Row) -> None:
    told = alert("order", external_id="pi_9")
    found = choose(told, [other(external_id="pi_9")], earlier=choose(told, [before]).candidates)
    assert (found.transaction_id, found.rule) == (2, "external_id")


def test_a_weaker_rung_decides_between_several_of_a_stronger_one() -> None:
    upsell = sale(id=2, amount="9.00", auth_code="UPSELL", network_transaction_id="300000000000002")
    upsell["external_id"] = "pi_0000000000000002"
    assert choose(alert("order", amount=Decimal("9.00")), [sale(), upsell]).transaction_id == 2
    assert choose(alert("order"), [sale(), upsell]).transaction_id == 1
    twin = sale(id=2, auth_code="TWIN01")
    assert choose(alert("order", "auth_code"), [sale(), twin]).transaction_id == 1


def test_a_weaker_rung_takes_none_that_is_not_among_the_several_of_a_stronger_one() -> None:
    bare = {"bankcard_first_six": None, "bankcard_last_four": None, "auth_code": None}
    rows = [sale(**bare), sale(id=2, **bare), sale(id=3, order="1999")]
    assert choose(alert(*CARD), rows).transaction_id == 3
    assert choose(alert("order", *CARD), rows).transaction_id is None


def test_a_shared_id_with_a_part_of_the_amount_is_no_match() -> None:
    rebill = sale(id=2, amount="100.00", order="1002")
    found = choose(alert("network_transaction_id", amount=Decimal("15.00")), [sale(), rebill])
    assert found.transaction_id is None


def test_the_same_row_twice_is_one_transaction() -> None:
    assert choose(alert(*CARD), [sale(), sale()]).transaction_id == 1


def test_of_many_candidates_some_are_shown() -> None:
    rows = [sale(id=number) for number in range(1, 100)]
    assert len(choose(alert(*CARD), rows).candidates) == matching.MOST_CANDIDATES


# --- rows that are not all -----------------------------------------------------------------------


@pytest.mark.parametrize("rung", [("auth_code",), CARD])
def test_where_rows_may_be_missing_only_an_id_counts(rung: tuple[str, ...]) -> None:
    assert choose(alert(*rung), [sale()], complete=False).transaction_id is None
    assert choose(alert(*rung, "external_id"), [sale()], complete=False).transaction_id == 1


@pytest.mark.parametrize("rung", [("order",), ("network_transaction_id",)])
def test_where_rows_may_be_missing_an_id_that_others_may_share_needs_amount_and_date(
    rung: tuple[str, ...],
) -> None:
    assert choose(alert(*rung), [sale()], complete=False).transaction_id == 1
    part = alert(*rung, amount=Decimal("15.00"))
    assert choose(part, [sale()], complete=False).transaction_id is None
    undated = alert(*rung, transaction_at=None)
    assert choose(undated, [sale()], complete=False).transaction_id is None
    of_its_own = alert("external_id", amount=Decimal("15.00"), transaction_at=None)
    assert choose(of_its_own, [sale()], complete=False).transaction_id == 1


# --- what 29next is asked ------------------------------------------------------------------------


@tried_with(
    ("names", "asked"),
    [
        (tuple(FACTS), ["order", "external_id"]),
        (("order", "auth_code", "network_transaction_id", *CARD), ["order", "auth_code"]),
        (("external_id", "auth_code", *CARD), ["external_id", "auth_code"]),
        (("auth_code", "network_transaction_id", *CARD), ["auth_code", "network_transaction_id"]),
        (("network_transaction_id", *CARD), ["network_transaction_id", "card_and_amount"]),
        (("auth_code", *CARD), ["auth_code", "card_and_amount"]),
        (CARD, ["card_and_amount"]),
        (("card_last_four", "order"), ["order"]),
        (("card_last_four",), []),
    ],
)
def test_29next_is_asked_twice_at_most_and_for_the_best_first(
    names: tuple[str, ...], asked: list[str]
) -> None:
    assert list(queries(alert(*set(names) - {"amount", "currency", *WHEN}))) == asked


@tried_with(
    ("order", "path"),
    [
        ("1001", "orders/1001/"),
        ("#1001", "orders/1001/"),
        (" 100001 ", "orders/100001/"),
        ("123456789012", "orders/123456789012/"),
        *((order, None) for order in ("1234567890123", "0", "01001", "-1", "1001-A", "pi_1001", "R2D2")),
        *((order, None) for order in ("#", "", "1001/../../disputes", "1001?x=1", "\u0661\u0662")),
    ],
)
def test_29next_is_asked_for_an_order_only_by_what_can_be_its_number(order: str, path: str | None) -> None:
    asked = queries(alert("order", "auth_code", order=order))
    assert [call.path for call in asked.values()] == [*([path] if path else []), "transactions/"]


def test_beside_what_cannot_be_read_29next_is_asked_for_the_surest_ids_only() -> None:
    unsure = alert("order", "external_id", "auth_code", *CARD, unreadable=("amount",))
    assert list(queries(unsure)) == ["order", "external_id"]
    assert list(queries(alert("auth_code", *CARD, unreadable=("amount",)))) == []


def test_the_card_is_asked_for_within_the_days_and_with_the_transaction_s_own_amount() -> None:
    card = {"bankcard_first_six": "411111", "bankcard_last_four": "0042", "is_test": "false"}

    def asked(**changes: Any) -> Any:
        (call,) = queries(alert(*CARD, **changes)).values()
        return call.params

    assert asked() == card | {"date_created_from": "2026-02-25", "date_created_to": "2026-03-05"}
    told = {"transaction_amount": Decimal("40.00"), "transaction_currency": "USD", "transaction_at": None}
    assert asked(**told) == card | {
        "amount_min": "40.00",
        "amount_max": "40.00",
        "currency": "USD",
        "date_created_from": "2025-09-12",
        "date_created_to": "2026-03-13",
    }
    assert asked(happened_at=None, transaction_at=None) == card


@tried_with("version", ["2023-02-10", "2024-04-01"])
@tried_with(
    "names", [("order", "external_id"), ("external_id", "auth_code"), ("network_transaction_id", *CARD)]
)
def test_every_look_up_is_one_that_29next_documents(version: str, names: tuple[str, ...]) -> None:
    told = {"transaction_amount": Decimal("40.00"), "transaction_currency": "USD"}
    for call in queries(alert(*names, **told)).values():
        query = "&".join(f"{name}={value}" for name, value in (call.params or {}).items())
        validate_request(call.method, f"/{call.path}?{query}", call.body, version=version)


@pytest.mark.parametrize("rung", EVERY_RUNG)
def test_kin_share_an_id_a_code_or_the_card(rung: tuple[str, ...]) -> None:
    assert shares_fact(alert(*rung), sale(status="failed", amount="1.00"))
    assert not shares_fact(alert(*rung), other())


# --- whole shops ---------------------------------------------------------------------------------

CARDS = [("411111", "0042"), ("411111", "0043"), ("555555", "0042")]
AMOUNTS = ["40.00", "40.00", "15.00", "55.00"]
DAYS = [-60, -30, -5, -1, 0, 0, 1]


def shop(chance: Random) -> list[Row]:
    """A small shop in which everything comes again: cards, amounts, days, codes, orders, network ids."""
    rows: list[Row] = []
    for ident in range(1, chance.randint(3, 8)):
        six, four = chance.choice(CARDS)
        row = sale(
            id=ident,
            amount=chance.choice(AMOUNTS),
            currency=chance.choice(["USD", "USD", "EUR"]),
            date_created=(SOLD + timedelta(days=chance.choice(DAYS))).isoformat(),
            auth_code=f"A0000{chance.randint(1, 2)}",
            network_transaction_id=f"30000000000000{chance.randint(1, 3)}",
            external_id=f"pi_{ident:016}",
            order=str(1000 + chance.randint(1, 2)),
            payment_method=chance.choice(["bankcard", "bankcard", "apple_pay"]),
            status=chance.choice(["succeeded"] * 4 + ["failed"]),
            bankcard_first_six=six,
            bankcard_last_four=four,
        )
        rows.append(row)
        if chance.randint(0, 4) == 0:
            rows.append(row | {"id": 100 + ident, "type": "refund", "parent_id": ident})
        if chance.randint(0, 4) == 0:
            rows.append(row | {"id": 200 + ident, "type": "authorize"})
            row["parent_id"] = 200 + ident
    return rows


chances = st.integers(0, 2**32).map(Random)
"""Shops by their seeds: of shops that hypothesis draws bit by bit, too few hold payments that are alike."""


def derived(row: Row) -> Alert:
    """What an issuer could tell of a transaction: everything, and the real card behind a wallet."""
    wallet = row["payment_method"] == "apple_pay"
    card = row["payment_details"]
    return Alert(
        case_number="C-1",
        amount=Decimal(row["amount"]),
        currency=row["currency"],
        transaction_amount=Decimal(row["amount"]),
        transaction_currency=row["currency"],
        happened_at=HAPPENED,
        transaction_at=datetime.fromisoformat(row["date_created"]),
        card_first_six="601100" if wallet else card["bankcard_first_six"],
        card_last_four="8888" if wallet else card["bankcard_last_four"],
        auth_code=row["auth_code"],
        network_transaction_id=row["network_transaction_id"],
        external_id=row["external_id"],
        order=row["order"],
    )


FORGETTABLE = (*CARD, "auth_code", "network_transaction_id", "external_id", "order", "transaction_at")
STRANGE: dict[str, Any] = {
    "amount": Decimal("41.41"),
    "transaction_amount": Decimal("41.41"),
    "transaction_currency": "CHF",
    "transaction_at": SOLD + timedelta(days=400),
    "happened_at": SOLD - timedelta(days=400),
    "card_first_six": "622222",
    "card_last_four": "1234",
    "auth_code": "STRANG",
    "network_transaction_id": "399999999999999",
    "external_id": "pi_9999999999999999",
    "order": "9999",
}


def sold(rows: list[Row]) -> list[Row]:
    """The sales that somebody may dispute: those that succeeded."""
    return [row for row in rows if (row["type"], row["status"]) == ("debit", "succeeded")]


def forgotten(chance: Random) -> set[str]:
    """Facts that an alert does not tell; an own id of the payment nearly never."""
    return {one for one in FORGETTABLE if chance.random() < (0.9 if one == "external_id" else 0.5)}


def changed(told: Alert, **changes: Any) -> Alert:
    return dataclasses.replace(told, **changes)


def with_amounts(told: Alert, *, apart: bool) -> Alert:
    """Most providers tell one amount only: the disputed one."""
    return told if apart else changed(told, transaction_amount=None, transaction_currency=None)


@examples(100)
@given(chances)
def test_an_alert_with_facts_left_out_never_matches_another_transaction(chance: Random) -> None:
    rows = shop(chance)
    for truth in sold(rows):
        assert choose(derived(truth), rows).transaction_id == truth["id"]
        told = changed(derived(truth), **dict.fromkeys(forgotten(chance)))
        found = choose(with_amounts(told, apart=chance.random() < 0.5), rows)
        assert found.transaction_id in (None, truth["id"])


@examples(100)
@given(chances)
def test_an_alert_with_strange_facts_never_matches_another_transaction(chance: Random) -> None:
    rows = shop(chance)
    for truth in sold(rows):
        strange = dict(chance.sample(sorted(STRANGE.items()), chance.randint(1, 3)))
        told = with_amounts(derived(truth), apart=chance.random() < 0.5)
        told = changed(told, **strange | dict.fromkeys(forgotten(chance)))
        assert choose(told, rows).transaction_id in (None, truth["id"])


@examples(50)
@given(chances)
def test_a_row_that_is_missing_leads_to_no_other_where_that_is_known(chance: Random) -> None:
    rows = shop(chance)
    for truth in sold(rows):
        kin = {truth["id"], truth["parent_id"], truth["id"] + 100}
        left = [row for row in rows if row["id"] not in kin]
        told = with_amounts(derived(truth), apart=chance.random() < 0.5)
        # everything is told but the own id, and the others of the shop differ from it in something
        found = choose(changed(told, external_id=None), left, complete=False)
        if found.transaction_id is not None:
            taken = next(row for row in left if row["id"] == found.transaction_id)
            same = ("amount", "currency", "auth_code", "network_transaction_id")
            assert all(taken[name] == truth[name] for name in same)


@examples(30)
@given(chances)
def test_the_order_of_the_rows_does_not_matter(chance: Random) -> None:
    rows = shop(chance)
    told = changed(derived(rows[0]), external_id=None)
    before = choose(told, rows)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    after = choose(told, shuffled)
    assert (after.transaction_id, after.rule) == (before.transaction_id, before.rule)
    assert why(after) == why(before)
