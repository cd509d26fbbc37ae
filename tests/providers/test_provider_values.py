"""Values in every provider's fields: junk, money, identifiers, cards."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import tree as trees
from bridge.alert import Webhook
from bridge.disputes import payloads
from bridge.errors import PermanentError
from bridge.providers import fields
from bridge.providers.base import Item, Provider
from bridge.providers.fields import AlertSchema
from bridge.redact import cut_body
from tests.support.examples import examples
from tests.support.fixtures import (
    CARD_NUMBER,
    NOW,
    TRANSLATED,
    TRANSLATED_ANY,
    VERSIONS,
    Case,
    any_provider,
    any_translated,
    case_of,
    cases_of,
    changed,
    check,
    each_case,
    each_row,
    leaves,
    placed,
    put,
    refusal,
)
from tests.support.openapi import validate_request
from tests.support.trying import tried_with, try_each

# --- junk -----------------------------------------------------------------------------------------


JUNK = (
    b"",
    b"   \r\n",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b'"text"',
    b"12",
    b"hello",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1e999999}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": "\\ud800"}',
    b'{"a": "\\u0000"}',
    b'{"a": "\x00"}',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"a": "\xe9"}',
    b'{"a": "\x01\t\n"}',
    b'{"a": 1}\x00',
    b'{"a": 1,}',
    b'[{"a": 1}, {"a": 2}]',
    b"[1, null, [], {}]",
    b"a=1&b&&c=%",
    b"[" * 20_000,
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b"<case>",
    b"<!DOCTYPE case [<!ENTITY a 'b'>]><case>&a;</case>",
    b"<?xml version='1.0' encoding='utf-7'?><case/>",
    b"a=%ff&b=%00",
    b"a" * 3000 + b"&" * 3000,
)


def swallow(provider: Provider, webhook: Webhook) -> None:
    """Do all that is done with a webhook whose proof was right; only a verdict may come of it."""
    kept = dataclasses.replace(webhook, body=cut_body(webhook.body, provider))
    items = provider.read(kept)
    assert items
    for item in items:
        assert item.event_id.isprintable()
        assert provider.deadline_of(item) > timedelta(0)
        swallow_item(provider, item)
    own = provider.acknowledgement(items[0])
    assert own is None or own[1].encode() is not None


@any_provider
def test_junk_ends_in_a_verdict_and_never_in_a_crash(provider: Provider) -> None:
    webhooks = {repr(body[:20]): Webhook(provider.name, "/", body) for body in JUNK}
    assert len(webhooks) == len(JUNK)
    try_each(swallow, {body: (provider, webhook) for body, webhook in webhooks.items()})


@any_provider
@given(body=st.binary(max_size=200))
@examples(10)
def test_bytes_of_any_kind_end_in_a_verdict(provider: Provider, body: bytes) -> None:
    swallow(provider, Webhook(provider.name, "/", body))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=30)
    | st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,9})?(e[+-]?[0-9]{1,6})?", fullmatch=True).map(trees.Number)
    | st.sampled_from(
        ["1e3", "\u0661\u0662", "1_000", "NaN", "2026-02-29", "9999-12-31T23:59:59+14:00", "0042"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@any_provider
@given(data=st.data())
@examples(15)
def test_any_value_in_any_field_ends_in_a_verdict(provider: Provider, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases_of(provider)))
    tree = case.tree
    for _ in range(data.draw(st.integers(1, 3))):
        if places := list(leaves(tree)):
            tree = put(tree, data.draw(st.sampled_from(places)), data.draw(VALUES))
    if case.body_file.suffix == ".json":
        swallow(provider, case.webhook(case.encode(tree)))
    for item in case.items():
        swallow_item(provider, dataclasses.replace(item, tree=tree))


def swallow_item(provider: Provider, item: Item) -> None:
    """Translate an item of any shape."""
    with contextlib.suppress(PermanentError):
        check(provider.translate(item))


# --- money ----------------------------------------------------------------------------------------


def openings() -> list[tuple[Case, Item, AlertSchema]]:
    """One fixture of each provider's table that tells an amount."""
    rows = [row for row in TRANSLATED if row[2].translate(row[1].tree).alert.carries_facts]
    return list(
        {(case.provider.name, type(table)): (case, item, table) for case, item, table in rows}.values()
    )


OPENINGS = openings()


def money(table: AlertSchema, item: Item) -> tuple[str, fields.Money, str]:
    """Where the disputed amount stands, its field, and where its currency stands."""
    for amount, currency in (("amount", "currency"), ("transaction_amount", "transaction_currency")):
        one = table.load_fields.get(amount)
        used, value = trees.locate(item.tree, table.path(amount))
        if isinstance(one, fields.Money) and value is not None:
            return used, one, trees.locate(item.tree, table.path(currency))[0]
    raise AssertionError(item)


def dear(item: Item, where: str, amount: str, beside: str, currency: str) -> Item:
    """An item of another amount and currency."""
    return dataclasses.replace(item, tree=placed(placed(item.tree, where, amount), beside, currency))


def opened(case: Case, item: Item, amount: str, currency: str, table: AlertSchema) -> dict[str, Any]:
    """The dispute that an amount of a currency opens; the amount in major units."""
    where, one, beside = money(table, item)
    scale = one.decimals[currency] if one.unit == "minor" else 0
    written = f"{Decimal(amount).scaleb(scale):f}" if scale else amount
    priced = dear(item, where, trees.Number(written), beside, currency.lower())
    alert = case.provider.translate(priced).alert
    assert alert is not None
    return payloads.dispute_body(alert, provider=case.provider.name, received_at=NOW)


@tried_with(
    ("amount", "currency", "sent", "told_beside"),
    [
        ("340.60", "USD", "340.60", None),
        ("0.01", "EUR", "0.01", None),
        ("1000", "JPY", "1000.00", None),
        ("999999.99", "USD", "999999.99", None),
        ("1.230", "KWD", "1.23", None),
        ("1.234", "KWD", None, "1.234 KWD"),
        ("1000000", "JPY", None, "1000000 JPY"),
        ("1000000.00", "USD", None, "1000000.00 USD"),
        ("12500000", "KRW", None, "12500000 KRW"),
    ],
)
def test_an_amount_is_sent_as_29next_takes_it_or_told_beside_it_and_never_wrong(
    amount: str, currency: str, sent: str | None, told_beside: str | None
) -> None:
    for case, item, table in OPENINGS:
        body = opened(case, item, amount, currency, table)
        beside = body["metadata"].get("bridge_amount")

        assert (body.get("amount"), body["currency"]) == (sent, currency), case
        assert (beside is None) == (told_beside is None), case
        if beside and told_beside:
            assert Decimal(beside.split()[0]) == Decimal(told_beside.split()[0]), case
            assert beside.endswith(f" {currency}")
        for version in VERSIONS:
            validate_request("POST", "/disputes/", body, version)


NO_AMOUNTS = (
    *("1e3", "-5", "1,23", "1,234", "1 000", "1_000", "0x10", "12.50 XYZ", "\u0661\u0662", "9" * 16),
)


@tried_with("amount", NO_AMOUNTS)
def test_what_is_no_plain_amount_costs_itself_and_is_named_as_the_provider_names_it(amount: str) -> None:
    for case, item, table in OPENINGS:
        where, _, _ = money(table, item)
        for kind in (str, trees.Number):
            if (kind, amount) == (trees.Number, "1e3"):
                continue  # a JSON number may be written so
            reading = case.provider.translate(changed(item, where, kind(amount)))
            assert where in reading.errors, case
            assert reading.alert
            assert not {"amount", "transaction_amount"}.isdisjoint(reading.alert.unreadable), case
            assert reading.alert.carries_facts, case


@pytest.mark.parametrize(
    "amount", ["1,234,500.00", "1 234 500.00", "$1,234,500.00", "$1234500", "+1234500", "1234500.00 USD"]
)
def test_an_amount_may_be_written_as_people_do(amount: str) -> None:
    for case, item, table in OPENINGS:
        where, one, beside = money(table, item)
        priced = dear(item, where, amount, beside, "USD")
        reading = case.provider.translate(priced)

        assert reading.errors == {}, case
        assert reading.alert
        scale = one.decimals["USD"] if one.unit == "minor" else 0
        assert reading.alert.amount == Decimal(1234500).scaleb(-scale), case


def test_a_sign_that_contradicts_the_currency_costs_the_amount() -> None:
    for case, item, table in OPENINGS:
        where, _, beside = money(table, item)
        reading = case.provider.translate(dear(item, where, "$1234500", beside, "EUR"))
        assert reading.errors[where] == ["'$' beside the amount is not EUR."], case


@pytest.mark.parametrize("name", ["chargeback", "transaction"])
def test_the_currency_inside_an_amount_goes_before_the_one_beside_it(name: str) -> None:
    case = case_of("ethoca/confirmedfraud_in_camel_case")
    (item,) = case.items()
    told = {f"{name}Amount": {"value": "34.50", "currencyCode": "EUR"}, f"{name}Currency": "USD"}
    (again,) = case.provider.read(case.webhook(), tree=item.tree | told)
    alert = case.provider.translate(again).alert
    assert alert
    prefix = "transaction_" if name == "transaction" else ""
    assert (getattr(alert, f"{prefix}amount"), getattr(alert, f"{prefix}currency")) == (
        Decimal("34.50"),
        "EUR",
    )


def test_currencies_that_a_processor_counts_in_its_own_way_come_out_right() -> None:
    case = case_of("stripe/dispute_created")
    (item,) = case.items()

    def amount(code: str) -> Decimal | None:
        return case.provider.translate(changed(item, "data.object.currency", code)).alert.amount  # type: ignore[union-attr]

    assert amount("isk") == Decimal("129.00")
    assert amount("mga") == Decimal(12900)
    assert amount("ugx") == Decimal("129.00")
    assert amount("840") == Decimal("129.00")
    assert amount("jpy") == Decimal(12900)
    assert amount("kwd") == Decimal("12.900")


@pytest.mark.parametrize("name", ["checkout/dispute_received", "adyen/chargeback_accepted"])
def test_chilean_pesos_have_decimals_where_a_processor_gives_them_some(name: str) -> None:
    case = case_of(name)
    (item,) = case.items()
    ((_, _, table),) = [row for row in TRANSLATED if row[0] == case]
    where, _, beside = money(table, item)
    pesos = dear(item, where, trees.Number("1299000"), beside, "CLP")
    alert = case.provider.translate(pesos).alert
    assert alert
    assert alert.amount == Decimal("12990.00")


# --- identifiers and cards ------------------------------------------------------------------------


@any_translated
def test_identifiers_keep_their_digits_when_they_come_as_numbers(
    case: Case, item: Item, table: AlertSchema
) -> None:
    for name, one in table.load_fields.items():
        used, value = trees.locate(item.tree, table.path(name))
        if value is None or not isinstance(one, fields.Identifier):
            continue
        if used in table.path("case_number").split("|") and name != "case_number":
            continue
        alert = case.provider.translate(changed(item, used, trees.Number("90071992547409931234567"))).alert
        assert getattr(alert, name) == "90071992547409931234567"

        lossy = changed(item, used, trees.Number("9.87e22"))
        if name == "case_number":
            assert used in refusal(case.provider, lossy)
        else:
            assert used in case.provider.translate(lossy).errors


def digits_of_cards() -> dict[str, tuple[Case, Item, AlertSchema, str]]:
    """Every place of a card's first six or last four digits."""
    return {
        f"{case}#{item.index} {name}": (case, item, table, name)
        for case, item, table in TRANSLATED_ANY
        for name, one in table.load_fields.items()
        if isinstance(one, fields.FirstSix | fields.LastFour)
        if trees.pick(item.tree, table.path(name)) is not None
    }


@each_row(digits_of_cards())
def test_leading_zeros_that_a_number_lost_are_put_back(
    case: Case, item: Item, table: AlertSchema, name: str
) -> None:
    used, _ = trees.locate(item.tree, table.path(name))
    alert = case.provider.translate(changed(item, used, trees.Number("42"))).alert
    assert getattr(alert, name) == {"card_first_six": "000042", "card_last_four": "0042"}[name]


def spot(case: Case, item: Item, table: AlertSchema, name: str) -> str | None:
    """Where a field of ours stands in the body as it arrives, if it is there."""
    used, value = trees.locate(item.tree, table.path(name)) if name in table.load_fields else ("", None)
    if value is None:
        return None
    inside = f"{case.provider.items}.{item.index}.{used}"
    return inside if case.provider.items and trees.pick(case.tree, inside) is not None else used


# Lengths and digits of all kinds, and numbers that look like cards: of 16, 19 and 13 digits.
ARNS = ("1", "74" * 6, "7" * 22, "2" * 23, "24692161070000622606414", "5" * 24, "9" * 30, CARD_NUMBER)
LOOKS_LIKE_CARDS = ("6011000990139424", "4222222222222", "6304000000000000000")


@tried_with("arn", [*ARNS, *LOOKS_LIKE_CARDS])
def test_an_arn_of_any_length_survives_the_cutting(arn: str) -> None:
    tried = set()
    for case, item, table in OPENINGS:
        if where := spot(case, item, table, "arn"):
            body = case.encode(put(case.tree, where, arn))

            alert = case.provider.translate(case.provider.read(case.webhook(body))[item.index]).alert

            assert alert is not None
            assert alert.arn == arn, case
            tried.add(case.provider.name)
    assert tried >= {"ethoca", "verifi", "midigator", "kount", "chargeblast", "trusto", "payshield", "adyen"}


def test_a_full_card_number_is_cut_and_its_ends_are_read() -> None:
    tried = set()
    for case, item, table in OPENINGS:
        where = spot(case, item, table, "card")
        if where is None:
            continue
        tree = put(case.tree, where, "4222 2222-2222 2226")
        for name in ("card_first_six", "card_last_four"):
            if beside := spot(case, item, table, name):
                tree = put(tree, beside, None if case.body_file.suffix == ".json" else "")
        webhook = case.webhook(case.encode(tree))

        alert = case.provider.translate(case.provider.read(webhook)[item.index]).alert

        assert alert is not None
        assert (alert.card_first_six, alert.card_last_four) == ("422222", "2226"), case
        assert not re.search(rb"4222\D?2222\D?2222\D?2226", webhook.body)
        tried.add(case.provider.name)
    assert tried >= {"ethoca", "verifi", "kount", "chargeblast", "payshield"}


@each_case
def test_no_full_card_number_is_stored_wherever_it_stands(case: Case) -> None:
    tree = case.tree
    spared = case.provider.identifiers
    for path in leaves(tree):
        place = ".".join(step for step in path.split(".") if not step.isdecimal())
        if (
            isinstance(trees.pick(tree, path), str)
            and place not in spared
            and not place.startswith("txdetails")
        ):
            tree = put(tree, path, f"it is {CARD_NUMBER}")
    tree = tree | {"note": f"card {CARD_NUMBER[:4]} 1111-1111 1111", "cardNumber": CARD_NUMBER}
    tree = tree | {"nested": json.dumps([{"pan": CARD_NUMBER}])}

    body = cut_body(case.encode(tree), case.provider)

    assert CARD_NUMBER.encode() not in re.sub(rb"[ +-]|%20", b"", body)
    assert b"411111" in body
    assert trees.parse(body, case.provider.formats) is not None
