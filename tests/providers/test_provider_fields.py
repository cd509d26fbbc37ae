"""What one field costs that says nothing or cannot be read: itself, at every provider, and never the alert.

A new provider inherits these tests with its module and its fixture folder; nothing is registered here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.alert import Effect, Reason, Webhook
from bridge.disputes.events import opens
from bridge.errors import Untranslatable
from bridge.providers import fields
from bridge.providers.base import Item, Provider, Reading
from bridge.providers.fields import AlertSchema
from bridge.tree import Number, Tree, locate, pick
from bridge.worker.explain import Explained, explain
from tests.support.configuring import load
from tests.support.fixtures import (
    NOW,
    TRANSLATED,
    TRANSLATED_ANY,
    WITH_CONFIGURED,
    Case,
    any_provider,
    any_translated,
    check,
    each_row,
    each_translated,
    each_translated_of,
    placed,
    put,
    table_of,
    told_by,
)

# Some of each sort; what else is a placeholder, what no kind can read, what is of a wrong type: test_fields.
PLACEHOLDERS: tuple[Tree, ...] = ("", "N/A", "--", "(null)", "\u2014")
OF_A_KIND: dict[type, tuple[Tree, ...]] = {
    fields.Money: ("0", "0.00", Number("0"), Number("0.0")),
    fields.Moment: ("0000-00-00", "0", Number("0")),
    fields.Identifier: ("0", "000000", Number("0")),
    fields.Card: ("****", "xxxx-xxxx-xxxx-xxxx"),
    fields.FirstSix: ("xxxxxx", "******"),
    fields.LastFour: ("XXXX", "****"),
}
LONG_AGO = ("0001-01-01T00:00:00", "1900-01-01", "1900/01/01 00:00:00", "Jan 1 1900 12:00AM")
GARBAGE: dict[type, tuple[Tree, ...]] = {
    fields.Money: ("a lot", "1,23", "(5.00)"),
    fields.Currency: ("dollars", "XXX"),
    fields.Moment: ("some day", "2026-02-30", "11282026"),
    fields.Identifier: ("x" * 256, Number("12.5")),
    fields.Card: ("visa", "411111**11**1111", Number("4111110000000000.0")),
    fields.FirstSix: ("4111", "4111x1"),
    fields.LastFour: ("42", "00042"),
}
WRONG: tuple[Tree, ...] = ({"a": "1"}, ["1"], True)

BEARS = {
    *(
        "type",
        "amount",
        "currency",
        "happened_at",
        "transaction_amount",
        "transaction_currency",
        "transaction_at",
    ),
    *(
        "arn",
        "card",
        "card_first_six",
        "card_last_four",
        "auth_code",
        "network_transaction_id",
        "external_id",
    ),
    *("order", "mid", "member_id", "merchant_id"),
}
"""Fields of ours that a match may rest on."""
DECORATES = {
    *(
        "case_number",
        "provider_id",
        "event_at",
        "subtype",
        "category",
        "network",
        "descriptor",
        "reason_code",
    ),
    *("resolution", "message", "review", "refunded_by_gateway", "withdrawn"),
}
MONEY = {"amount", "currency", "transaction_amount", "transaction_currency"}
TWO_AMOUNTS = {"amount", "transaction_amount"}
DERIVED = {*MONEY, "card", "card_first_six", "card_last_four", "type", "resolution", "refunded_by_gateway"}
"""Fields of ours that another place may tell."""


@functools.cache
def as_stored(case: Case) -> Webhook:
    """A fixture's request, read once."""
    return case.webhook()


def read(case: Case, tree: Tree) -> Reading:
    """What an item says whose tree was changed; its subtype is read again too."""
    (item,) = case.provider.read(as_stored(case), tree=tree)
    return case.provider.translate(item)


def leaves(case: Case, item: Item, table: AlertSchema) -> Iterator[tuple[str, Any, str]]:
    """The fields of a table that a body tells and can do without, each with its path."""
    needed = {*table.path("case_number").split("|"), *str(case.provider.event_type).split("|")}
    for name, one in table.load_fields.items():
        alternatives = set(table.path(name).split("|"))
        kinds = (fields.Constant, fields.Every, fields.Flag)
        if isinstance(one, kinds) or table.place(name, item.tree).value is None or alternatives & needed:
            continue
        yield name, one, table.path(name)


def table_by(case: Case, tree: Tree) -> AlertSchema:
    """The table that a changed tree is read by: its kind of case may be another."""
    (item,) = case.provider.read(as_stored(case), tree=tree)
    found = table_of(case.provider, item)
    assert found
    return found


def sharing(table: AlertSchema, path: str) -> list[Any]:
    """The fields that are read from one of a path's places."""
    places = set(path.split("|"))
    return [one for name, one in table.load_fields.items() if places & set(table.path(name).split("|"))]


def of_kind(one: Any, by_kind: dict[type, tuple[Tree, ...]]) -> tuple[Tree, ...]:
    return next((values for kind, values in by_kind.items() if isinstance(one, kind)), ())


def opened(case: Case, tree: Tree, reading: Reading, name: str) -> None:
    """Check that the dispute is opened all the same, as a body that 29next takes."""
    assert reading.alert
    tells = opens(reading.effect, reading.alert)
    assert tells or name in MONEY or not opens_at_all(case, tree), (name, reading)
    check(reading)


def opens_at_all(case: Case, tree: Tree) -> bool:
    """Whether a body's event opens by itself, or by its facts."""
    alert = read(case, tree).alert
    return alert is not None and alert.carries_facts


# --- what says nothing ----------------------------------------------------------------------------


@any_translated
def test_a_placeholder_is_the_same_as_nothing(case: Case, item: Item, table: AlertSchema) -> None:
    before = case.provider.translate(item)
    for name, one, path in leaves(case, item, table):
        if one.required:
            continue  # an outcome that is the point of its event
        without = read(case, put(item.tree, path, None))
        assert without.alert, name
        if name == "currency" and getattr(table.load_fields.get("amount"), "unit", "") == "minor":
            assert set(without.errors) <= set(table.path("amount").split("|"))  # minor units of what?
        else:
            assert without.errors == {}, name
            assert without.alert.unreadable == (), name
        assert name in DERIVED or getattr(without.alert, name) in (None, "other", "unknown"), name
        alone = all(type(one) is type(other) for other in sharing(table, path))
        values = [*PLACEHOLDERS, *(of_kind(one, OF_A_KIND) if alone else ())]
        if isinstance(one, fields.Moment):
            values += LONG_AGO
        for value in values:
            assert read(case, put(item.tree, path, value)) == without, (name, value)
        if before.alert and opens(before.effect, before.alert):
            opened(case, put(item.tree, path, None), without, name)


@each_translated_of([row for row in TRANSLATED_ANY if row[2].load_fields.keys() >= TWO_AMOUNTS])
def test_a_disputed_amount_of_zero_leaves_it_to_the_transaction_s(
    case: Case, item: Item, table: AlertSchema
) -> None:
    for value in (Number("0"), "0.00"):
        tree = put(item.tree, table.path("amount"), value)
        tree = placed(tree, table.path("amount").partition("|")[0], value)
        reading, without = read(case, tree), read(case, put(item.tree, table.path("amount"), None))
        assert reading.alert
        assert reading.alert == without.alert
        shared = set(table.path("amount").split("|")) & set(table.path("transaction_amount").split("|"))
        if table.place("transaction_amount", item.tree).value is not None and not shared:
            assert reading.alert.amount == reading.alert.transaction_amount is not None


# --- what cannot be read --------------------------------------------------------------------------


@any_translated
def test_what_cannot_be_read_costs_itself_and_is_named(case: Case, item: Item, table: AlertSchema) -> None:
    before = case.provider.translate(item)
    for name, one, path in leaves(case, item, table):
        if isinstance(one, fields.Resolution):
            continue  # an outcome that is not understood: see test_provider_outcomes
        for value in (*of_kind(one, GARBAGE), *WRONG):
            tree = put(item.tree, path, value)
            reading = read(case, tree)
            unreadable_one(reading, table_by(case, tree), name, path)
            if before.alert and opens(before.effect, before.alert):
                assert reading.alert
                assert opens(reading.effect, reading.alert), (name, value)
                check(reading)


def unreadable_one(reading: Reading, table: AlertSchema, name: str, path: str) -> None:
    """Check that a field is left out visibly, and nothing else is."""
    alert, alternatives = reading.alert, set(path.split("|"))
    assert alert
    named = alternatives & set(reading.errors)
    assert named, (name, reading)
    for said in (message for at in named for message in reading.errors[at]):
        assert re.search(r"Expected|is not|is negative|cannot be|Longer than|Holds|Not a card", said), said
    beside = {other for other in table.load_fields if alternatives & set(table.path(other).split("|"))}
    if "currency" in name:  # without which minor units cannot be read
        beside |= {"amount", "transaction_amount"}
    bad = {other for other in table.load_fields if set(table.path(other).split("|")) & set(reading.errors)}
    assert bad <= beside, (name, reading.errors)
    assert set(table.load_fields) <= BEARS | DECORATES
    assert (name in alert.unreadable) == (name in BEARS), name
    assert set(alert.unreadable) <= beside & BEARS


def decorations() -> dict[str, tuple[Case, Item, str]]:
    """Yields every word that decides nothing: its webhook, its item and its path."""
    return {
        f"{case}#{item.index} {name}": (case, item, path)
        for case, item, table in TRANSLATED_ANY
        for name, one, path in leaves(case, item, table)
        if isinstance(one, fields.Word) and not isinstance(one, fields.Resolution)
        if "resolution" not in table.load_fields or table.path("resolution") != path
    }


@each_row(decorations())
def test_a_word_that_only_decorates_may_be_any(case: Case, item: Item, path: str) -> None:
    reading = read(case, put(item.tree, path, "Zz Odd"))
    assert reading.errors == {}
    assert reading.alert


@any_translated
def test_all_that_cannot_be_read_is_named_at_once_and_the_case_is_opened(
    case: Case, item: Item, table: AlertSchema
) -> None:
    before, tree, broken = case.provider.translate(item), item.tree, []
    for name, one, _ in leaves(case, item, table):
        if not isinstance(one, fields.Word):
            used = table.place(name, item.tree).path
            tree = put(tree, used, {"odd": "1"})
            broken.append(used)

    reading = read(case, tree)

    assert all(set(path.split("|")) & set(reading.errors) for path in broken)
    assert reading.alert
    if before.alert and opens(before.effect, before.alert):
        assert opens(reading.effect, reading.alert)
        check(reading)


# --- the case number ------------------------------------------------------------------------------


NO_CASES: tuple[Tree, ...] = (None, *PLACEHOLDERS, "0", "000", Number("0"), *WRONG, Number("9.87e22"))


@any_translated
def test_only_a_case_number_is_indispensable(case: Case, item: Item, table: AlertSchema) -> None:
    path = table.path("case_number")
    for value in NO_CASES:
        with pytest.raises(Untranslatable) as caught:
            read(case, put(item.tree, path, value))

        named = set(caught.value.fields) & set(path.split("|"))
        assert named, caught.value.fields
        (said,) = caught.value.fields[named.pop()]
        assert re.search(r"Expected (the number of the case|text or a number)|digits are lost", said), value


@any_translated
def test_without_a_case_number_all_else_that_is_wrong_is_named_too(
    case: Case, item: Item, table: AlertSchema
) -> None:
    tree, broken = put(item.tree, table.path("case_number"), "N/A"), [table.path("case_number")]
    for name, one, _ in leaves(case, item, table):
        if not isinstance(one, fields.Word):
            used = table.place(name, item.tree).path
            tree = put(tree, used, ["odd"])
            broken.append(used)

    with pytest.raises(Untranslatable) as caught:
        read(case, tree)

    assert all(set(path.split("|")) & set(caught.value.fields) for path in broken)


# --- what a person is shown -----------------------------------------------------------------------

SETTINGS = load("", NEXT_STORE="alpha", NEXT_ACCESS_TOKEN="a-token")


def explained(case: Case, item: Item, tree: Tree) -> Explained:
    return explain(SETTINGS, case.provider, case.webhook(case.encode(tree)), NOW)[item.index]


def in_body(case: Case, item: Item, path: str) -> str:
    """Where a path of an item stands in the whole body."""
    items = case.provider.items
    inside = f"{items}.{item.index}.{path}"
    return inside if items and pick(case.tree, inside) is not None else path


@each_translated
def test_good_fields_are_shown_beside_bad_ones(case: Case, item: Item, table: AlertSchema) -> None:
    for case_number in ("N/A", None):
        shown_beside_bad_ones(case, item, table, case_number)


def shown_beside_bad_ones(case: Case, item: Item, table: AlertSchema, case_number: str | None) -> None:
    """Check what a person is shown where money and moments are odd, and perhaps the case number too."""
    before = explained(case, item, case.tree)
    tree, bad = case.tree, set()
    for name, one, path in leaves(case, item, table):
        if isinstance(one, fields.Money | fields.Moment):
            used = locate(item.tree, path)[0]
            tree = put(tree, in_body(case, item, used), "odd")
            bad |= {other for other in table.load_fields if used in table.path(other).split("|")} | {name}
    for used in table.path("case_number").split("|") if case_number else ():
        tree = put(tree, in_body(case, item, used), case_number)
        bad |= {other for other in table.load_fields if used in table.path(other).split("|")}

    after = explained(case, item, tree)

    rows = {row["field"]: row for row in after.fields}
    assert (after.problem is not None) == (case_number is not None)
    for row in before.fields:
        name = row["field"]
        if name in bad:
            assert rows[name]["became"] is None, (name, rows[name])
        elif name not in DERIVED or (name == "card" and row["became"]):
            became = str(rows[name]["became"])
            assert rows[name] | {"became": became} == row | {"became": str(row["became"])} or (
                became,
                row["became"],
            ) in (("None", "unknown"), ("None", "other")), name


# --- bodies of nothing ----------------------------------------------------------------------------


NOTHINGS_OF_ALL = (b"", b" ", b"{}")
NOTHINGS = (*NOTHINGS_OF_ALL, b"  \r\n\t", b"\xef\xbb\xbf", b"\0", b" {}\n", b"[]", b"{}\0")


@any_provider
def test_a_body_of_nothing_is_a_portals_test(provider: Provider) -> None:
    for body in NOTHINGS if "json" in provider.formats else NOTHINGS_OF_ALL:
        (item,) = provider.read(Webhook(provider.name, "/", body, {"content-type": "application/json"}))

        reading = provider.translate(item)

        assert (reading.effect, reading.reason, reading.alert) == (Effect.IGNORE, Reason.TEST, None), body


def test_every_provider_and_each_of_its_fields_is_tried() -> None:
    told = {(case.provider.name, field) for case, item, table in TRANSLATED for field in told_by(table, item)}
    tried = {
        (case.provider.name, field) for case, item, table in TRANSLATED_ANY for field in told_by(table, item)
    }
    assert told <= tried
    assert {name for name, _ in tried} == set(WITH_CONFIGURED) - {"next"}  # which tells of no alert
