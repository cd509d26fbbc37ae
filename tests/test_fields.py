"""Kinds of value: what each takes, digit for digit, and what each refuses in a sentence."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge import fields
from bridge.alert import DisputeType, iso
from bridge.errors import Untranslatable
from bridge.fields import AlertSchema
from bridge.tree import Number, parse

many = settings(max_examples=150, deadline=None)


def read(field: Any, value: Any) -> Any:
    return field.deserialize(value)


def refusal(field: Any, value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        field.deserialize(value)
    [said] = caught.value.messages
    return str(said)


LEAVES = (
    *(fields.Text(), fields.Identifier(), fields.Word(), fields.Money(), fields.Currency()),
    *(fields.Moment(), fields.Card(), fields.FirstSix(), fields.LastFour()),
)


@pytest.mark.parametrize("field", LEAVES, ids=lambda field: type(field).__name__)
@pytest.mark.parametrize(
    ("value", "kind"), [(True, "a truth value"), ({"a": "1"}, "an object"), (["1"], "a list")]
)
def test_a_leaf_takes_no_branch(field: Any, value: Any, kind: str) -> None:
    assert refusal(field, value) == f"Expected text or a number, not {kind}."


@many
@pytest.mark.parametrize("field", LEAVES, ids=lambda field: type(field).__name__)
@given(value=st.text(max_size=300) | st.text("0123456789.,-+eE:TZ ", max_size=40))
def test_no_text_breaks_a_leaf(field: Any, value: str) -> None:
    for spelled in (value, Number(value)):
        with contextlib.suppress(ValidationError):
            read(field, spelled)


# --- text, identifiers, words --------------------------------------------------------------------


@pytest.mark.parametrize("field", [fields.Text(), fields.Identifier()])
@pytest.mark.parametrize(
    ("value", "expected"),
    [("  a b ", "a b"), ("0042", "0042"), (Number("0042"), "0042"), ("\u00fc\u4e2d", "\u00fc\u4e2d")],
)
def test_text_is_trimmed_and_nothing_else(field: Any, value: str, expected: str) -> None:
    assert read(field, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("SHOP\t*ALPHA", "SHOP *ALPHA"),
        ("did\r\nnot  fight", "did not fight"),
        ("a\u00a0b\u3000c", "a b c"),
        ("x" * 300, "x" * 255),
    ],
)
def test_decoration_never_costs_an_alert(value: str, expected: str) -> None:
    assert read(fields.Text(), value) == expected


@pytest.mark.parametrize("value", ["a\0b", "a\x1bb", "a\ud800b", "a\u202eb"])
def test_hostile_text_is_made_harmless(value: str) -> None:
    text = read(fields.Text(), value)
    assert text.isprintable()
    text.encode()


@pytest.mark.parametrize("value", ["a\0b", "a\nb", "a\u00a0b", "a\ud800b", "x" * 256])
def test_an_identifier_is_exact_or_refused(value: str) -> None:
    assert refusal(fields.Identifier(), value)


@pytest.mark.parametrize("digits", ["64738272371643523456435", "0" * 23, "9" * 25, "1"])
def test_an_identifier_that_came_as_a_number_keeps_every_digit(digits: str) -> None:
    tree = parse(f'{{"arn": {digits}}}'.encode()) if digits[0] != "0" else {"arn": digits}
    assert read(fields.Identifier(), tree["arn"]) == digits


@pytest.mark.parametrize("number", ["9.87e22", "1E5", "12.0", "-5", "1.5"])
def test_an_identifier_that_lost_its_digits_is_refused(number: str) -> None:
    assert "digits are lost" in refusal(fields.Identifier(), Number(number))
    assert read(fields.Identifier(), number) == number  # as text it is what the sender calls it


@pytest.mark.parametrize("value", ["411111******1111", " 411111***1111 ", "411111*********1111"])
def test_an_identifier_that_was_cut_fails_visibly(value: str) -> None:
    assert "looks like a card number" in refusal(fields.Identifier(), value)


def test_words_are_in_lower_case_or_ours() -> None:
    assert read(fields.Word(), " TC40 ") == "tc40"
    table = fields.Word(values={"Accepted": "issued_full_refund", "Declined": None})
    assert read(table, "ACCEPTED") == "issued_full_refund"
    assert read(table, "declined") is None
    assert refusal(table, "maybe") == "'maybe' is not one of accepted, declined."
    assert read(fields.Word(values={"a": "b"}, strict=False), "maybe") is None


def test_patterns_of_words_come_after_the_word_itself() -> None:
    table = fields.Word(values={"warning_*": "alert", "warning_closed": "won", "*": "chargeback"})
    assert [read(table, word) for word in ("Warning_closed", "warning_new", "lost")] == [
        "won",
        "alert",
        "chargeback",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("REVOKED", True),
        ("revoked ", True),
        ("open", False),
        (True, False),
        (["revoked"], False),
        ({}, False),
    ],
)
def test_a_flag_is_true_for_its_words_only(value: Any, expected: bool) -> None:
    assert read(fields.Flag(true=("REVOKED",)), value) is expected


# --- money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12.50", "12.50"),
        ("0", "0"),
        ("0.00", "0.00"),
        ("1,234.56", "1234.56"),
        ("1,234,567", "1234567"),
        ("007.5", "7.5"),
        (" 340.600 ", "340.600"),
        ("999999999999999", "999999999999999"),
        (Number("340.60"), "340.60"),
        (Number("10"), "10"),
    ],
)
def test_money_is_taken_as_it_was_written(value: str, expected: str) -> None:
    amount = read(fields.Money(), value)
    assert isinstance(amount, Decimal)
    assert str(amount) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("-1", "+1", "1e3", "1E3", ".5", "5.", "", " ", "12,50", "1,23,456", "1234,567", "1_000", "12 50"),
        *("USD 5", "$5", "NaN", "Infinity", "0x10", "\u0661\u0662", "\uff11", "1.2.3", "9" * 16, "0.1234567"),
        *(Number("1e3"), Number("-1"), Number("1E+999999")),
    ],
)
def test_what_is_not_plainly_money_is_refused(value: str) -> None:
    assert "is not an amount of money" in refusal(fields.Money(), value)


def test_money_in_minor_units_is_whole() -> None:
    assert read(fields.Money(unit="minor"), "1250.00") == 1250
    assert "whole number of minor units" in refusal(fields.Money(unit="minor"), "12.50")


@pytest.mark.parametrize("code", ["usd", "USD", " Usd "])
def test_a_currency_is_its_iso_code(code: str) -> None:
    assert read(fields.Currency(), code) == "USD"


@pytest.mark.parametrize("code", ["", "US", "USDX", "XXX", "DEM", "BTC", "840", "U\u015aD", Number("840")])
def test_what_is_no_currency_is_refused(code: str) -> None:
    assert "is not an ISO 4217 currency code" in refusal(fields.Currency(), code)


# --- moments -------------------------------------------------------------------------------------

EASTERN = ZoneInfo("US/Eastern")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2018-02-27T04:33:04.000Z", "2018-02-27T04:33:04Z"),
        ("2018-02-27T04:33:04", "2018-02-27T04:33:04Z"),
        ("2018-02-27 04:33:04", "2018-02-27T04:33:04Z"),
        ("2018-02-27T04:33:04+02:00", "2018-02-27T02:33:04Z"),
        ("2018-02-27T04:33:04-0500", "2018-02-27T09:33:04Z"),
        ("2018-02-27", "2018-02-27T00:00:00Z"),
        ("20180227T043304Z", "2018-02-27T04:33:04Z"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
        ("1519706000", "2018-02-27T04:33:20Z"),
        (Number("1519706000"), "2018-02-27T04:33:20Z"),
        ("1519706000.5", "2018-02-27T04:33:20.5"),
        ("1519706000123", "2018-02-27T04:33:20.123"),
        ("2018-02-27T04:33:04.1234567Z", "2018-02-27T04:33:04.123456"),
    ],
)
def test_a_moment_comes_in_many_forms(value: str, expected: str) -> None:
    moment = read(fields.Moment(), value)
    assert moment.tzinfo is not None
    wanted = datetime.fromisoformat(expected)
    assert moment == (wanted if wanted.tzinfo else wanted.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "value",
    [
        *("", "yesterday", "27/02/2018", "2018-02-30", "2023-02-29", "2018-13-01", "24:00", "12"),
        *("0001-01-01", "1969-12-31T23:59:59Z", "2100-01-01", "9999-12-31", "2018-02-27T25:00:00Z"),
        *("99999999999999", "-1519706000", "1e9", "\u0661\u0665\u0661\u0669\u0667\u0660\u0666\u0660\u0660"),
    ],
)
def test_what_is_no_plausible_moment_is_refused(value: str) -> None:
    assert "is not a" in refusal(fields.Moment(), value)


def test_a_moment_that_names_no_zone_has_the_provider_s() -> None:
    field = fields.Moment(zone=EASTERN)
    assert iso(read(field, "2018-02-27T04:33:04")).startswith("2018-02-27T09:33:04")
    assert iso(read(field, "2018-07-27T04:33:04")).startswith("2018-07-27T08:33:04")  # in summer
    assert iso(read(field, "2018-02-27T04:33:04Z")).startswith("2018-02-27T04:33:04")
    assert iso(read(field, "2018-02-27")).startswith("2018-02-27T05:00:00")
    assert iso(read(field, "1519706000")).startswith("2018-02-27T04:33:20")


@many
@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30)),  # noqa: DTZ001 - the zone follows
    st.integers(-14, 14),
)
def test_every_moment_is_read_back_as_it_was_written(naive: datetime, hours: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert read(fields.Moment(), moment.isoformat()) == moment
    assert read(fields.Moment(), iso(moment)) == moment.replace(
        microsecond=read(fields.Moment(), iso(moment)).microsecond
    )
    assert read(fields.Moment(), naive.date().isoformat()).date() == date.fromisoformat(
        naive.date().isoformat()
    )


# --- cards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "first_six", "last_four"),
    [
        ("411111******1111", "411111", "1111"),
        ("411111xxxxxx0042", "411111", "0042"),
        ("411111XXXXXXXXX0042", "411111", "0042"),
        ("41111122****0042", "411111", "0042"),
        ("4111 11** **** 0042", "411111", "0042"),
        ("4111-11XX-XXXX-0042", "411111", "0042"),
        ("4111111111", "411111", "1111"),
        ("************0042", None, "0042"),
        ("XXXX0042", None, "0042"),
        ("ending in 0042", None, "0042"),
        ("0042", None, "0042"),
        ("123456789012", "123456", "9012"),
        ("1234567890123456789", "123456", "6789"),
    ],
)
def test_of_a_card_the_first_six_and_last_four_are_kept(
    value: str, first_six: str | None, last_four: str
) -> None:
    assert read(fields.Card(), value) == (first_six, last_four)


@pytest.mark.parametrize("value", ["", "visa", "42", "411111******", "411111**11**1111", "4" * 20])
def test_what_is_no_masked_card_is_refused_without_showing_it(value: str) -> None:
    assert refusal(fields.Card(), value) == "Not a card number with its middle masked."


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (fields.FirstSix(), "411111", "411111"),
        (fields.FirstSix(), "41111122", "411111"),
        (fields.FirstSix(), Number("411111"), "411111"),
        (fields.FirstSix(), Number("4111"), "004111"),
        (fields.LastFour(), "0042", "0042"),
        (fields.LastFour(), Number("42"), "0042"),
        (fields.LastFour(), Number("0"), "0000"),
    ],
)
def test_digits_of_a_card_regain_the_zeros_that_a_number_lost(field: Any, value: str, expected: str) -> None:
    assert read(field, value) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((fields.FirstSix(), value) for value in ("41111", "411111222", "4111x1", "", "\u0664" * 6)),
        *((fields.LastFour(), value) for value in ("42", "00042", "xx42", "", Number("42.0"), Number("-42"))),
    ],
)
def test_what_are_no_digits_of_a_card_is_refused(field: Any, value: str) -> None:
    assert "digits of a card number" in refusal(field, value)


# --- tables --------------------------------------------------------------------------------------


class Table(AlertSchema):
    case_number = fields.Identifier(data_key="case.id|caseId", required=True)
    amount = fields.Money(data_key="disputed.value")
    currency = fields.Currency(data_key="disputed.currency")
    transaction_amount = fields.Money(data_key="paid.value", required=True)
    transaction_currency = fields.Currency(data_key="paid.currency", required=True)
    happened_at = fields.Moment(data_key="at", required=True)
    card = fields.Card(data_key="card")
    card_first_six = fields.FirstSix(data_key="bin")
    card_last_four = fields.LastFour(data_key="last4")
    resolution = fields.Word(data_key="outcome", values={"REFUNDED": "issued_full_refund", "ODD": "other"})
    refunded_by_gateway = fields.Constant(True)
    withdrawn = fields.Flag(data_key="status", true=("REVOKED",))


class Minor(AlertSchema):
    type = fields.CHARGEBACK
    case_number = fields.Identifier(required=True)
    amount = fields.Money(data_key="cents", unit="minor", decimals={"ISK": 2})
    currency = fields.Currency()


GOOD: dict[str, Any] = {
    "case": {"id": "C-1"},
    "paid": {"value": Number("10.00"), "currency": "usd"},
    "at": "2026-03-01T12:00:00Z",
}


def test_a_table_reads_nested_paths_and_alternatives() -> None:
    alert = Table().translate(GOOD)
    assert (alert.case_number, alert.type, alert.amount, alert.currency) == (
        "C-1",
        DisputeType.ALERT,
        Decimal("10.00"),
        "USD",
    )
    assert Table().translate({**GOOD, "case": None, "caseId": "C-2"}).case_number == "C-2"
    assert Table().translate({**GOOD, "whatever": {"x": 1}}) == alert


def test_every_bad_field_is_listed_by_the_sender_s_own_name() -> None:
    bad = {"paid": {"value": "1e3"}, "at": "soon", "bin": "x", "caseId": ["1"], "outcome": "maybe"}
    with pytest.raises(Untranslatable) as caught:
        Table().translate(bad)
    assert caught.value.fields == {
        "caseId": ["Expected text or a number, not a list."],
        "paid.value": ["'1e3' is not an amount of money, such as 12.50."],
        "paid.currency": ["Missing data for required field."],
        "at": ["'soon' is not a date and time."],
        "bin": ["Expected 6 digits of a card number."],
        "outcome": ["'maybe' is not one of odd, refunded."],
    }


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_what_is_null_or_empty_is_missing(nothing: Any) -> None:
    with pytest.raises(Untranslatable) as caught:
        Table().translate({**GOOD, "case": {"id": nothing}} if nothing != {} else {**GOOD, "case": {}})
    assert caught.value.fields == {"case.id": ["Missing data for required field."]}


@pytest.mark.parametrize("tree", [None, [], "text", Number("1"), True])
def test_what_is_no_object_lacks_everything(tree: Any) -> None:
    with pytest.raises(Untranslatable) as caught:
        Table().translate(tree)
    assert set(caught.value.fields) == {"case.id", "paid.value", "paid.currency", "at"}


@pytest.mark.parametrize(
    ("disputed", "amount", "currency"),
    [
        ({"value": "340.60", "currency": "EUR"}, "340.60", "EUR"),
        ({"value": "340.60"}, "340.60", "USD"),
        ({"currency": "EUR"}, "10.00", "USD"),  # never one's number with the other's currency
        ({"value": None, "currency": "EUR"}, "10.00", "USD"),
        ({}, "10.00", "USD"),
    ],
)
def test_the_disputed_amount_goes_before_the_transaction_s(
    disputed: dict[str, Any], amount: str, currency: str
) -> None:
    alert = Table().translate({**GOOD, "disputed": disputed})
    assert (alert.amount, alert.currency) == (Decimal(amount), currency)
    assert (alert.transaction_amount, alert.transaction_currency) == (Decimal("10.00"), "USD")


def test_a_card_s_own_digits_go_before_those_of_its_mask() -> None:
    alert = Table().translate({**GOOD, "card": "411111******1111", "bin": "555555"})
    assert (alert.card_first_six, alert.card_last_four) == ("555555", "1111")


def test_an_other_outcome_says_which() -> None:
    alert = Table().translate({**GOOD, "outcome": "odd"})
    assert (alert.resolution, alert.message) == ("other", "outcome: odd")


def test_only_what_is_resolved_was_refunded() -> None:
    assert not Table().translate(GOOD).refunded_by_gateway
    assert Table().translate({**GOOD, "outcome": "refunded"}).refunded_by_gateway


def test_what_is_withdrawn_may_lack_the_facts() -> None:
    alert = Table().translate({"caseId": "C-1", "status": "revoked"})
    assert (alert.case_number, alert.withdrawn, alert.amount) == ("C-1", True, None)


@pytest.mark.parametrize(
    ("cents", "currency", "amount"),
    [
        ("1050", "USD", "10.50"),
        (Number("5"), "USD", "0.05"),
        ("1050", "JPY", "1050"),
        ("1050", "KWD", "1.050"),
        ("1050", "ISK", "10.50"),  # as this provider counts it
        ("1,050", "USD", "10.50"),
        ("0", "USD", "0"),
    ],
)
def test_minor_units_follow_the_currency(cents: str, currency: str, amount: str) -> None:
    alert = Minor().translate({"case_number": "1", "cents": cents, "currency": currency})
    assert alert.amount == Decimal(amount)
    assert alert.type is DisputeType.CHARGEBACK


def test_minor_units_without_a_currency_are_no_amount() -> None:
    with pytest.raises(Untranslatable) as caught:
        Minor().translate({"case_number": "1", "cents": "1050"})
    assert caught.value.fields == {"cents": ["Minor units need a currency, and there is none."]}


def test_the_paths_of_a_table_can_be_told() -> None:
    sources = Table().sources()
    assert sources["case_number"] == "case.id|caseId"
    assert "refunded_by_gateway" not in sources
    assert Table().path("card_first_six") == "bin"
    assert Minor().path("case_number") == "case_number"
