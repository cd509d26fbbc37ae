"""An alert that names its order is looked up by it: in one call, and by the rules of every other look-up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, Json, bridge_in_process
from tests.support.next29 import STORE, TOKEN
from tests.support.webhooks import Sent

ORDER, SEARCH, CREATE = "GET /orders/1001/", "GET /transactions/", "POST /disputes/"
WITHOUT_ORDERS = ("disputes:read", "disputes:write", "transactions:read", "transactions:write")


@pytest.fixture
def shop(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_in_process(url) as made:
        yield made


def sell(shop: InProcessBridge, **changes: Any) -> int:
    """A payment of the day before in order 1001; returns its id."""
    facts = {
        "order": "1001",
        "amount": "40.00",
        "date_created": "2026-02-28T12:00:00+00:00",
        "bankcard_first_six": "424242",
        "bankcard_last_four": "0042",
        **changes,
    }
    return int(shop.next29.add_transaction(STORE, **facts)["id"])


def disputed(shop: InProcessBridge, **changes: Any) -> Sent:
    """A chargeback that names order 1001, and neither a code nor an id of the payment."""
    told = {
        "order_id": "1001",
        "amount": 40.0,
        "processor_transaction_date": "2026-02-28",
        "card_first_6": "424242",
        "card_last_4": "0042",
        **changes,
    }
    return shop.senders.chargeback(**told)


def calls_for(shop: InProcessBridge, sent: Sent) -> list[str]:
    """The calls that an alert needs until nothing is left to do for it."""
    with shop.counted() as calls:
        shop.post(sent)
        shop.work()
    assert shop.delivery(sent)["status"] == "forwarded"
    return calls


def attached(shop: InProcessBridge, sent: Sent) -> int | None:
    """The transaction of an alert's dispute at 29next."""
    (row,) = shop.disputes(sent)
    found: int | None = row["transaction"]
    return found


def match(shop: InProcessBridge, sent: Sent) -> Json:
    """What the case says of its transaction."""
    found: Json = shop.case(sent)["match"]
    return found


@pytest.mark.parametrize("number", ["1001", "#1001"])
def test_a_sale_is_found_by_its_order_in_one_call(shop: InProcessBridge, number: str) -> None:
    sale = sell(shop)
    sell(shop, order="1002")
    sent = disputed(shop, order_id=number)
    assert calls_for(shop, sent) == [ORDER, CREATE]
    assert attached(shop, sent) == sale
    assert match(shop, sent)["rule"] == "order"


@pytest.mark.parametrize(
    ("sale", "told", "why"),
    [
        ({"amount": "39.00"}, {}, "its amount is 39.00, not 40.0"),
        ({"bankcard_last_four": "0043"}, {}, "another card"),
        ({"auth_code": "A1B2C3"}, {"auth_code": "Z9Y8X7"}, "another auth code"),
        ({"date_created": "2026-02-01T12:00:00+00:00"}, {}, "another date"),
        ({"status": "failed"}, {}, "it did not succeed"),
        ({"is_test": True}, {}, "a test"),
    ],
)
def test_a_sale_of_the_order_that_the_alert_contradicts_is_not_attached(
    shop: InProcessBridge, sale: Json, told: Json, why: str
) -> None:
    contradicted = sell(shop, **sale)
    sent = disputed(shop, **told)
    assert calls_for(shop, sent) == [ORDER, SEARCH, CREATE]
    assert attached(shop, sent) is None
    candidates = match(shop, sent)["candidates"]
    assert [(one["id"], one["by"], one["why"]) for one in candidates] == [(contradicted, "order", why)]


def test_of_two_sales_in_one_order_the_amount_decides(shop: InProcessBridge) -> None:
    sell(shop)
    upsell = sell(shop, amount="9.00")
    sent = disputed(shop, amount=9.0)
    assert calls_for(shop, sent) == [ORDER, CREATE]
    assert attached(shop, sent) == upsell


def test_of_two_sales_in_one_order_that_both_fit_none_is_attached(shop: InProcessBridge) -> None:
    both = {sell(shop), sell(shop)}
    sent = disputed(shop)
    calls_for(shop, sent)
    assert attached(shop, sent) is None
    assert {(one["id"], one["why"]) for one in match(shop, sent)["candidates"]} == {
        (ident, "several fit") for ident in both
    }


def test_refunds_and_voids_in_an_order_lead_to_the_one_payment_in_it(shop: InProcessBridge) -> None:
    voided = sell(shop, type="authorize")
    sell(shop, type="void", parent_id=voided)
    reversed_sale = sell(shop)
    sell(shop, type="void", parent_id=reversed_sale)
    authorized = sell(shop, type="authorize")
    captured = sell(shop, parent_id=authorized, bankcard_first_six=None, bankcard_last_four=None)
    sell(shop, type="refund", parent_id=captured, amount="10.00")
    sent = disputed(shop)
    assert calls_for(shop, sent) == [ORDER, CREATE]
    assert attached(shop, sent) == captured


def test_what_an_order_shows_is_known_to_the_next_alert(shop: InProcessBridge) -> None:
    sell(shop)
    upsell = sell(shop, amount="9.00")
    calls_for(shop, disputed(shop))
    sent = disputed(shop, amount=9.0)
    assert calls_for(shop, sent) == [CREATE]
    assert attached(shop, sent) == upsell


def test_an_order_that_29next_does_not_have_is_followed_by_one_search(shop: InProcessBridge) -> None:
    sale = sell(shop, order="77", auth_code="A1B2C3")
    sent = disputed(shop, auth_code="A1B2C3")
    assert calls_for(shop, sent) == [ORDER, SEARCH, CREATE]
    assert (attached(shop, sent), match(shop, sent)["rule"]) == (sale, "auth_code")


def test_what_is_found_nowhere_costs_three_calls(shop: InProcessBridge) -> None:
    sent = disputed(shop, auth_code="A1B2C3", processor_transaction_id="pi_1")
    assert calls_for(shop, sent) == [ORDER, SEARCH, CREATE]


def test_without_the_scope_for_orders_the_sale_is_searched_and_the_case_says_so(
    shop: InProcessBridge,
) -> None:
    shop.next29.add_token(TOKEN, STORE, WITHOUT_ORDERS)
    sale = sell(shop, auth_code="A1B2C3")
    sent = disputed(shop, auth_code="A1B2C3")
    assert calls_for(shop, sent) == [ORDER, SEARCH, CREATE]
    assert (attached(shop, sent), match(shop, sent)["rule"]) == (sale, "order")
    (note,) = shop.case(sent)["notes"]
    assert "orders:read" in note


@pytest.mark.parametrize("number", ["300000000000001", "pi_1001", "M-1001", "1001/lines"])
def test_a_number_that_is_no_order_s_is_not_looked_up(shop: InProcessBridge, number: str) -> None:
    sale = sell(shop, auth_code="A1B2C3")
    sent = disputed(shop, order_id=number, auth_code="A1B2C3")
    assert calls_for(shop, sent) == [SEARCH, CREATE]
    assert attached(shop, sent) == sale


def test_a_number_that_is_another_customer_s_order_does_not_hide_the_sale(shop: InProcessBridge) -> None:
    sell(shop, bankcard_last_four="9999")
    sale = sell(shop, order="77", auth_code="A1B2C3")
    sent = disputed(shop, auth_code="A1B2C3")
    assert calls_for(shop, sent) == [ORDER, SEARCH, CREATE]
    assert attached(shop, sent) == sale


def test_an_order_that_cannot_be_read_just_now_is_read_again(shop: InProcessBridge) -> None:
    sale = sell(shop)
    shop.fail("503", path="/orders/*", count=1)
    sent = disputed(shop)
    shop.post(sent)
    shop.settle()
    assert shop.calls()[:3] == [ORDER, ORDER, CREATE]
    assert attached(shop, sent) == sale
