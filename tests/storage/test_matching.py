"""The made-up made_up in small: no wrong match, nearly every decidable one, and one call for each alert."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest

from bridge.storage.database import Database
from tests.conftest import MakeDatabase
from tests.support.made_up_sales import (
    SHARE,
    Figures,
    MadeUpSales,
    Oracle,
    fill,
    forward_all,
    match_all,
    read,
)


@pytest.fixture(scope="module")
def matched(make_database: MakeDatabase) -> tuple[MadeUpSales, Figures]:
    made_up = MadeUpSales(6_000, seed=29)
    with make_database("sqlite") as url, closing(Database(url)) as database:
        fill(database, made_up)
        return made_up, match_all(database, made_up, 800)


def test_no_match_is_wrong_and_the_decidable_ones_are_found(matched: tuple[MadeUpSales, Figures]) -> None:
    _, figures = matched
    assert figures.alerts == 800
    assert figures.decidable > 600
    assert [told.sent.body for told, _ in figures.wrong] == []
    assert figures.share >= SHARE
    assert set(figures.rules) == {
        *("order", "external_id", "network_transaction_id", "auth_code", "card_and_amount"),
        "none",
    }


def test_the_shop_has_what_makes_matching_hard(matched: tuple[MadeUpSales, Figures]) -> None:
    made_up, _ = matched
    sales = made_up.payments
    assert any(sale.wallet and sale.card != sale.real for sale in sales)
    assert any(sale.type == "authorize" for sale in sales)
    for name in ("auth_code", "network_id", "order", "card"):
        assert max(Counter(getattr(sale, name) for sale in sales if getattr(sale, name)).values()) > 1
    captured = Counter(sale.parent.id for sale in sales if sale.parent)
    assert max(captured.values()) == 2
    alerts = made_up.alerts(300)
    assert any(told.truth is None for told in alerts)
    assert all(read(told) for told in alerts)
    assert not all(Oracle(sales).decides(told) for told in alerts)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_match_from_the_index_costs_no_call(make_database: MakeDatabase, kind: str) -> None:
    with make_database(kind) as url:
        calls, forwarded, alerts = forward_all(url, MadeUpSales(1_500, seed=7), 30)
    assert forwarded == alerts > 15
    assert calls == Counter({"POST /disputes/": alerts})
