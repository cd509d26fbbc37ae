"""Kinds of value: what each takes, digit for digit, and what each refuses in a sentence."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.alert import DisputeType, Network, iso
from bridge.errors import Untranslatable
from bridge.providers import fields
from bridge.providers.currencies import BY_NUMBER, DECIMALS
from bridge.providers.fields import AlertSchema
from bridge.providers.meanings import rapid
from bridge.tree import Number, parse
from tests.support.examples import examples
from tests.support.trying import tried_with

many = examples(50)


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


WRONG: dict[str, tuple[Any, ...]] = {
    "a truth value": (True, False),
    "an object": ({"a": "1"}, {}),
    "a list": (["1"], []),
}


@tried_with("field", LEAVES, ids=lambda field: type(field).__name__)
def test_a_leaf_takes_no_branch(field: Any) -> None:
    for kind, values in WRONG.items():
        for value in values:
            assert refusal(field, value) == f"Expected text or a number, not {kind}.", value


@many
@pytest.mark.parametrize("field", LEAVES, ids=lambda field: type(field).__name__)
@given(value=st.text(max_size=300) | st.text("0123456789.,-+eE:TZ ", max_size=40))
def test_no_text_breaks_a_leaf(field: Any, value: str) -> None:
    for spelled in (value, Number(value)):
        with contextlib.suppress(ValidationError):
            read(field, spelled)


# --- text, identifiers, words --------------------------------------------------------------------


@tried_with("field", [fields.Text(), fields.Identifier()])
@tried_with(
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


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a\0b", r"a\u0000b"), ("a\x1bb", r"a\u001bb"), ("a\ud800b", r"a\ud800b"), ("a\u202eb", r"a\u202eb")],
)
def test_hostile_text_is_made_harmless(value: str, shown: str) -> None:
    assert read(fields.Text(), value) == shown


@tried_with("value", ["a\0b", "a\nb", "a\u00a0b", "a\ud800b", "x" * 256])
def test_an_identifier_is_exact_or_refused(value: str) -> None:
    said = (
        "Longer than 255 characters." if len(value) > 255 else "Holds control characters or broken unicode."
    )
    assert refusal(fields.Identifier(), value) == said


UNSEEN = "\u200b\u200d\u2060\ufeff\u00ad\u200e\u202e\u2066\ufe0f\u034f\u3164\U000e0041\U000e0100"


@tried_with("unseen", [*UNSEEN, UNSEEN])
@tried_with("field", [fields.Identifier(), fields.Word()])
def test_characters_that_nobody_sees_make_no_other_identifier(field: Any, unseen: str) -> None:
    assert read(field, f"{unseen}ab{unseen}12 {unseen}") == "ab12"


@pytest.mark.parametrize("value", [UNSEEN, f"n/{UNSEEN}a", f"0{UNSEEN}0"])
def test_what_nobody_sees_names_nothing(value: str) -> None:
    assert fields.Identifier().says_nothing(value)


def test_what_was_decoded_to_nothing_known_is_no_identifier() -> None:
    assert "broken unicode" in refusal(fields.Identifier(), "a\N{REPLACEMENT CHARACTER}b")


@pytest.mark.parametrize("digits", ["64738272371643523456435", "9" * 25, "1"])
def test_an_identifier_that_came_as_a_number_keeps_every_digit(digits: str) -> None:
    tree = parse(f'{{"arn": {digits}}}'.encode())
    assert read(fields.Identifier(), tree["arn"]) == digits


@pytest.mark.parametrize("number", ["9.87e22", "1E5", "12.0", "-5", "1.5"])
def test_an_identifier_that_lost_its_digits_is_refused(number: str) -> None:
    assert "digits are lost" in refusal(fields.Identifier(), Number(number))
    assert read(fields.Identifier(), number) == number  # as text it is what the sender calls it


@tried_with("value", ["[object Object]", "[object Array]", "7.42349E+22", "1.23457e+19", "1E+5", " 7.4E+22 "])
def test_what_a_sender_has_lost_is_no_identifier(value: str) -> None:
    assert "the sender has lost what it was" in refusal(fields.Identifier(), value)


@tried_with("value", ["1E5", "12E10", "object Object", "[object]", "7.4E22", "A1E+5"])
def test_what_only_looks_alike_is_an_identifier(value: str) -> None:
    assert read(fields.Identifier(), value) == value


@pytest.mark.parametrize("value", ["411111******1111", " 411111***1111 ", "411111*********1111"])
def test_an_identifier_that_was_cut_fails_visibly(value: str) -> None:
    assert "looks like a card number" in refusal(fields.Identifier(), value)


def test_words_are_in_lower_case_or_ours() -> None:
    assert read(fields.Word(), " TC40 ") == "tc40"
    table = fields.Word(values={"Accepted": "issued_full_refund", "Declined": None})
    assert read(table, "ACCEPTED") == "issued_full_refund"
    assert read(table, "declined") is None
    assert read(table, "maybe") is None
    strict = fields.Word(values={"Accepted": "issued_full_refund", "Declined": None}, strict=True)
    assert refusal(strict, "maybe") == "'maybe' is not one of accepted, declined."


@pytest.mark.parametrize("word", ["pre-arb", "PRE_ARB", " Pre  Arb ", "pre arb", "Pre--Arb"])
def test_a_word_is_the_same_however_it_is_spelled(word: str) -> None:
    for listed in ("pre-arb", "Pre Arb", "PRE_ARB"):
        assert read(fields.Word(values={listed: "ours"}), word) == "ours"


def test_of_the_alternatives_the_first_word_that_is_known_counts() -> None:
    table = fields.Word(values={"RDR": "rdr", "ETHOCA": "ethoca"})
    assert table.find({"a": "Unknown", "b": "new", "c": "rdr"}, "a|b|c").value == "rdr"
    assert table.find({"a": "Unknown", "b": "new", "c": "newer"}, "a|b|c").value == "new"
    assert table.find({"a": "Unknown"}, "a|b|c") == ("a", None)


def test_patterns_of_words_come_after_the_word_itself() -> None:
    table = fields.Word(values={"warning_*": "alert", "warning_closed": "won", "*": "chargeback"})
    assert [read(table, word) for word in ("Warning_closed", "warning_new", "lost")] == [
        "won",
        "alert",
        "chargeback",
    ]


@tried_with(
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


# --- placeholders --------------------------------------------------------------------------------

PLACEHOLDERS = (
    *("", " ", "\u00a0", "N/A", "n/a", "NA", "na", "N.A.", "none", "None", "NONE", "null", "NULL", "nil"),
    *("unknown", "Unknown", "not available", "Not_Available", "-", "--", "----", " N/A ", "not provided"),
    *(
        "(null)",
        "\u2013",
        "\u2014",
        "****",
        "?",
        "???",
        "NaN",
        "nan",
        "n / a",
        "[null]",
        "undefined",
        "<none>",
    ),
    *("( n/a )", '"null"', "#N/A", "N-A", "\u2014\u2014", "*", "...", "not set", "\u2212", "_", "Undefined"),
)


@tried_with("field", LEAVES, ids=lambda field: type(field).__name__)
def test_a_placeholder_says_nothing_whatever_the_kind(field: Any) -> None:
    for value in (None, *PLACEHOLDERS):
        assert field.says_nothing(value), value
        assert field.find({"a": value, "b": None}, "a|b") == ("a", None), value


@tried_with("field", LEAVES, ids=lambda field: type(field).__name__)
def test_behind_a_placeholder_the_next_alternative_counts(field: Any) -> None:
    for value in PLACEHOLDERS:
        said = "2018-02-27" if isinstance(field, fields.Moment) else "1234"
        assert field.find({"a": value, "b": {"c": said}}, "a|b.c") == ("b.c", said)


@tried_with(
    ("field", "values"),
    [
        (
            fields.Identifier(),
            ["0", "000000", Number("0"), "0000-0000", "00000000-0000-0000-0000-000000000000"],
        ),
        (fields.Code(), ["0", "000"]),
        (fields.Money(), ["0", "0.00", "$0.00", "-0", Number("0.0"), Number("0e5"), "0.0000000"]),
        (fields.Money(), ["0,00", "0,000", "0.000,00", "$0,00", "-0,00", "0,00 EUR", "USD 0"]),
        (fields.Money(unit="minor"), ["0", Number("0")]),
        (
            fields.Card(),
            ["****", "XXXX", "xxxx-xxxx-xxxx-xxxx", "*" * 16, "####", "\u2022\u2022\u2022\u2022 ...."],
        ),
        (fields.FirstSix(), ["xxxxxx", "******", "......"]),
        (fields.LastFour(), ["xxxx", "****"]),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, list) else None,
)
def test_some_kinds_have_placeholders_of_their_own(field: Any, values: list[str]) -> None:
    for value in values:
        assert field.says_nothing(value), value


@tried_with(
    "value",
    [
        *(True, False, [], {}, "no", "nobody", "non-fraud", "NAB-1", "N/A-7", "0.1", "x", "nan-7"),
        *("***1", "(null", "null)", "[nothing]", "?x", "(1)", "\u20131"),
    ],
)
def test_what_is_no_placeholder_is_read_or_refused(value: Any) -> None:
    for field in (fields.Identifier(), fields.Text(), fields.Money(), fields.Moment(), fields.Card()):
        assert not field.says_nothing(value) or (type(field), value) == (fields.Card, "x")


# --- money ---------------------------------------------------------------------------------------


class Price(AlertSchema):
    case_number = fields.Identifier()
    amount = fields.Money()
    currency = fields.Currency()


class CommaPrice(Price):
    amount = fields.Money(decimal_comma=True)


class Cents(Price):
    type = fields.CHARGEBACK
    amount = fields.Money(unit="minor", decimals={"ISK": 2, "CLP": 2})


def price(value: Any, currency: Any = "USD", table: type[Price] = Price) -> Any:
    """The amount that is read, as text; else what is wrong with it, by the provider's name."""
    alert, errors = table().translate({"case_number": "1", "amount": value, "currency": currency})
    assert errors or alert.amount is None or alert.amount > 0
    return errors or (None if alert.amount is None else str(alert.amount))


@tried_with(
    ("value", "expected"),
    [
        ("34.5", "34.5"),
        ("12.50", "12.50"),
        ("1,234.56", "1234.56"),
        ("1 234.56", "1234.56"),
        ("1\u00a0234.56", "1234.56"),
        ("1\u202f234.56", "1234.56"),
        ("1,234,567.89", "1234567.89"),
        ("1,234.5", "1234.5"),
        (".50", "0.50"),
        ("34.", "34"),
        ("+34.00", "34.00"),
        ("34.0000000", "34.0000000"),
        ("007.5", "7.5"),
        (" 340.600 ", "340.600"),
        ("999999999999999", "999999999999999"),
        (Number("340.60"), "340.60"),
        (Number("10"), "10"),
        (Number("1e3"), "1000"),  # a JSON number may be written so
        (Number("1.5E2"), "150"),
        (Number("1e-2"), "0.01"),
    ],
)
def test_an_amount_is_read_as_a_person_would(value: str, expected: str) -> None:
    assert price(value) == expected
    assert price(value, table=CommaPrice) == expected or not isinstance(value, Number)


@tried_with(
    ("value", "currency", "expected"),
    [
        (Number("19.990000000000002"), "USD", "19.99"),
        (Number("19.989999999999998"), "USD", "19.99"),
        ("19.990000000000002", "USD", "19.99"),
        (Number("1.2340000000000001"), "KWD", "1.234"),
        (Number("5000.0000000001"), "JPY", "5000"),
        (Number("19.990001"), "USD", "19.990001"),  # no artefact
        (Number("12.505"), "USD", "12.505"),
        (Number("19.990000000000002"), None, "19.990000000000002"),  # of which currency?
        (Number("5.551115123125783e-17"), "USD", None),  # 0.1 + 0.2 - 0.3
    ],
)
def test_what_binary_arithmetic_leaves_behind_is_rounded_away(
    value: str, currency: str | None, expected: str | None
) -> None:
    assert price(value, currency) == expected


@tried_with(
    ("value", "currency"),
    [
        *(("$34.00", code) for code in ("USD", "CAD", "AUD", "MXN", "BRL", "HKD")),
        *(
            ("34.00 USD", "USD"),
            ("USD 34.00", "USD"),
            ("34.00usd", "USD"),
            ("US$34.00", "USD"),
            ("34.00 $", "USD"),
        ),
        *(("\u20ac34.00", "EUR"), ("34.00 \u20ac", "EUR"), ("\u00a3 34.00", "GBP"), ("\u20b934.00", "INR")),
        *(
            ("34.00 kr", "SEK"),
            ("kr 34.00", "DKK"),
            ("34.00 z\u0142", "PLN"),
            ("CA$34.00", "CAD"),
            ("R$34.00", "BRL"),
        ),
        *(("$34.00 USD", "USD"), ("USD $34.00", "USD"), ("+$34.00", "USD"), ("$+34.00", "USD")),
    ],
)
def test_a_sign_or_code_beside_an_amount_may_agree_with_its_currency(value: str, currency: str) -> None:
    assert price(value, currency) == "34.00"


@tried_with(
    ("value", "currency", "mark"),
    [
        *(
            ("$34.00", "EUR", "$"),
            ("$34.00", "JPY", "$"),
            ("\u20ac34.00", "USD", "\u20ac"),
            ("34.00 EUR", "USD", "EUR"),
        ),
        *(
            ("CA$34.00", "USD", "CA$"),
            ("R$34.00", "USD", "R$"),
            ("34.00 kr", "USD", "kr"),
            ("\u00a334", "EUR", "\u00a3"),
        ),
        *(("$34.00 EUR", "USD", "EUR"), ("EUR $34.00", "USD", "EUR"), ("34.00 XYZ", "USD", "XYZ")),
    ],
)
def test_a_sign_or_code_that_contradicts_the_currency_costs_the_amount(
    value: str, currency: str, mark: str
) -> None:
    assert price(value, currency) == {"amount": [f"{mark!r} beside the amount is not {currency}."]}


def test_a_code_beside_an_amount_tells_its_currency_and_a_sign_does_not() -> None:
    for value in ("34.00 USD", "usd 34.00"):
        alert, errors = Price().translate({"case_number": "1", "amount": value})
        assert (alert.amount, alert.currency, errors) == (Decimal("34.00"), "USD", {})
    alert, errors = Price().translate({"case_number": "1", "amount": "$34.00"})
    assert (alert.amount, alert.currency, errors) == (Decimal("34.00"), None, {})


@tried_with(
    "value",
    [
        *(
            "1e3",
            "1E3",
            "12,50",
            "1,23",
            "1,234",
            "1 234",
            "1,23,456",
            "1234,567",
            "1,234,567",
            "12,34.56",
            "1,234.",
        ),
        *(
            "1_000",
            "12 50",
            "1,234 567.89",
            "1'234.56",
            "(five)",
            "Infinity",
            "0x10",
            "five",
            "1.2.3",
        ),
        *("\u0661\u0662", "\uff11", "\u00bd", "9" * 16, ".", "+", "$", "USD", "34.00 $ USD", "5 %"),
        *(Number("NaN"), Number("Infinity"), Number("1E+999999"), Number("1e100")),
    ],
)
def test_what_is_not_plainly_money_is_refused(value: str) -> None:
    (said,) = price(value)["amount"]
    assert said == f"{str(value)[:40]!r} is not an amount of money, such as 12.50."


@tried_with(
    "value",
    [
        *("-5", "\u22125", "$-5", "-$5", "-1,234.56", Number("-5"), Number("-5.5e1"), "-$34.00"),
        *("(5.00)", "5-", "34.00-", "34.00 -", "(34.00)", "($34.00)", "$(34.00)", "34.00- USD", "34.00 USD-"),
        *("(34.00) USD", "USD (34.00)", "(1,234.56)", "\u201334.00", "( 34.00 )", ".5-"),
    ],
)
def test_a_negative_amount_is_said_to_be_one(value: str) -> None:
    assert price(value) == {"amount": [f"{str(value)!r} is negative, and an amount of money is not."]}


def test_an_amount_beyond_all_money_is_refused() -> None:
    assert price(Number("1e15")) == {"amount": ["'1e15' is too large an amount."]}


@tried_with(
    ("value", "expected"),
    [
        *(("1.234,56", "1234.56"), ("1 234,56", "1234.56"), ("1.234.567,89", "1234567.89"), ("1,23", "1.23")),
        *(("34,5", "34.5"), ("34", "34"), (",50", "0.50"), ("34,", "34"), ("34,00 \u20ac", "34.00")),
        *((Number("34.5"), "34.5"), (Number("1234.56"), "1234.56")),  # a JSON number has its point
    ],
)
def test_with_a_decimal_comma_both_signs_change_their_parts(value: str, expected: str) -> None:
    assert price(value, "EUR", CommaPrice) == expected


@pytest.mark.parametrize("value", ["1.234", "34.5", "1,234.56", "1.23,4.5", "1,2,3"])
def test_with_a_decimal_comma_a_point_parts_thousands_only(value: str) -> None:
    assert price(value, "EUR", CommaPrice) == {
        "amount": [f"{value!r} is not an amount of money, such as 12,50."]
    }


@many
@given(st.decimals(min_value="0.01", max_value=999_999_999, places=2), st.sampled_from([",", " ", "\u00a0"]))
def test_every_amount_is_read_back_as_it_was_written(amount: Decimal, blank: str) -> None:
    parted = f"{amount:,.2f}".replace(",", blank)
    assert Decimal(price(parted)) == Decimal(price(Number(amount))) == amount
    turned = f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))
    assert Decimal(price(turned, "EUR", CommaPrice)) == amount
    for written in (f"${parted}", f"{parted} USD"):
        assert Decimal(price(written)) == amount


@many
@given(st.integers(1, 10**9), st.sampled_from(sorted(DECIMALS)))
def test_minor_units_come_out_by_the_currency_whatever_it_is(cents: int, currency: str) -> None:
    places = {"ISK": 2, "CLP": 2}.get(currency, DECIMALS[currency])
    for written in (str(cents), Number(cents)):
        assert Decimal(price(written, currency, Cents)) * 10**places == cents


@many
@given(st.integers(1, 10**9), st.integers(1, 3))
def test_a_sum_of_floats_is_the_sum_that_was_meant(cents: int, times: int) -> None:
    summed = sum([cents / 100] * times)
    assert Decimal(price(Number(repr(summed)))) == Decimal(cents * times) / 100


@pytest.mark.parametrize("code", ["usd", "USD", " Usd "])
def test_a_currency_is_its_iso_code(code: str) -> None:
    assert read(fields.Currency(), code) == "USD"


@tried_with(
    ("number", "code"),
    [
        ("840", "USD"),
        (Number("840"), "USD"),
        (" 978 ", "EUR"),
        ("036", "AUD"),
        (Number("36"), "AUD"),
        ("8", "ALL"),
    ],
)
def test_a_currency_may_be_its_iso_number(number: str, code: str) -> None:
    assert read(fields.Currency(), number) == code


def test_every_number_of_a_currency_leads_to_its_code_and_back() -> None:
    numbers = {code: number for number, code in BY_NUMBER.items()}
    assert len(numbers) == len(BY_NUMBER)  # no code has two
    assert set(DECIMALS) - set(numbers) == {"ANG"}  # whose number its successor has
    assert all(number.isdecimal() and len(number) == 3 for number in BY_NUMBER)


@tried_with(
    "code",
    ["US", "USDX", "XXX", "DEM", "BTC", "999", "1840", "U\u015aD", "$", Number("84.0"), Number("-840")],
)
def test_what_is_no_currency_is_refused(code: str) -> None:
    assert "is not an ISO 4217 currency code" in refusal(fields.Currency(), code)


# --- moments -------------------------------------------------------------------------------------

EASTERN = ZoneInfo("US/Eastern")


@tried_with(
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
        ("2018-02-27 04:33:04 UTC", "2018-02-27T04:33:04Z"),
        ("2018-02-27 04:33:04 utc", "2018-02-27T04:33:04Z"),
        ("2018-02-27 04:33:04 GMT", "2018-02-27T04:33:04Z"),
        ("2018-02-27 04:33:04 +02:00", "2018-02-27T02:33:04Z"),
        ("2018-02-27T04:33:04 +0200", "2018-02-27T02:33:04Z"),
        ("2018-02-27t04:33:04z", "2018-02-27T04:33:04Z"),
        ("2018-02-27t04:33:04.5+02:00", "2018-02-27T02:33:04.5Z"),
        ("2024-10-31 21:57:23.601000Z", "2024-10-31T21:57:23.601Z"),
        ("Tue, 27 Feb 2018 04:33:04 GMT", "2018-02-27T04:33:04Z"),
        ("Tue, 27 Feb 2018 04:33:04 -0500", "2018-02-27T09:33:04Z"),
        ("27 Feb 2018 04:33:04 +0000", "2018-02-27T04:33:04Z"),
        ("20180227", "2018-02-27T00:00:00Z"),
        ("2000-01-01", "2000-01-01T00:00:00Z"),
        ("2099-12-31", "2099-12-31T00:00:00Z"),
    ],
)
def test_a_moment_comes_in_many_forms(value: str, expected: str) -> None:
    moment = read(fields.Moment(), value)
    assert moment.tzinfo is not None
    wanted = datetime.fromisoformat(expected)
    assert moment == (wanted if wanted.tzinfo else wanted.replace(tzinfo=UTC))


@tried_with(
    "value",
    [
        *("yesterday", "27/02/2018", "11/20/2026", "2018-02-30", "2023-02-29", "2018-13-01", "24:00"),
        *("2100-01-01", "2018-02-27T25:00:00Z", "27 Foo 2018 04:33:04", "Tue, 30 Feb 2018 04:33:04 GMT"),
        *(
            "201802270433",
            "20180227043304",
            "180227043304",
            "20180227013304123",
            "1519706000123456",
            "9" * 14,
        ),
        *("11282025", "11282026", "28112026", "261128", "202611", "112826", "2026", Number("2026"), "1128"),
        *(
            "20261",
            "2026112",
            "10111213",
            "26111012",
            "86400",
            "1999",
            "181011121314",
            "190112101112",
            "11282026Z",
        ),
        *("261128-0500", "2026/11/28", "28 Nov 2026", "/Date(1519706000000)/", "30/12/99"),
        *("1e9", Number("1.519706E9"), "\u0661\u0665\u0661\u0669\u0667\u0660\u0666\u0660\u0660"),
    ],
)
def test_what_is_no_plausible_moment_is_refused(value: str) -> None:
    assert "is not a" in refusal(fields.Moment(), value)


EARLY: tuple[str, ...] = (
    *("-0001-11-30T00:00:00+00:00", "-0001-11-30 00:00:00", "-0001-11-30", "1899/12/30", "1970/01/01"),
    *(
        "1900/01/01 00:00:00",
        "0001/01/01",
        "18991130000000",
        "19700101000000",
        "18991231000000",
        "000101010000",
        "190001010000",
    ),
    *(
        "01 Jan 1900",
        "Mon, 01 Jan 1900",
        "30-Dec-1899",
        "30-DEC-1899 00.00.00",
        "Jan 1 1900 12:00AM",
        "1/1/1",
    ),
    *(
        "/Date(-62135596800000)/",
        "/Date(0)/",
        "/Date(-62135596800000+0000)/",
        "01/01/0001 00:00:00",
        "1/1/0001",
    ),
    *("Thu Jan 01 1970 00:00:00 GMT+0000", "Thu Jan  1 00:00:00 1970", "January 1, 1970", "30.12.1899 0:00"),
    *(
        "Monday, January 1, 0001 12:00:00 AM",
        "1st January 1900",
        "1900-1-1",
        "1899-11-30T24:00:00",
        "00010101",
    ),
    *("1970-01-01T00:00:00.000+0000", "1969-12-31 19:00:00 EST", "0000/00/00", "0001", "-62135596800000"),
)
"""Dates before all card payments, as databases and languages write one that is missing."""


@tried_with(
    "value",
    [
        *(
            "0000-00-00",
            "0000-00-00 00:00:00",
            "0000-00-00T00:00:00Z",
            "00/00/0000",
            "00:00:00",
            "0",
            "000000",
        ),
        *(
            "0001-01-01",
            "0001-01-01T00:00:00Z",
            "1899-11-30",
            "1899-11-30T00:00:00.000Z",
            "1899-12-30T00:00:00",
        ),
        *(
            "1900-01-01",
            "19000101",
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1999-12-31",
            "946684799",
        ),
        *("-1", "-62135596800", Number("0"), Number("-62135596800"), Number("-2209161600"), "12"),
        *("Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "9999-12-31T23:59:59"),
        *("01/01/1900", "1/1/0001 12:00:00 AM", "30.11.1899", "31-12-1969"),
        *EARLY,
    ],
)
def test_a_time_before_all_card_payments_says_nothing(value: str) -> None:
    assert fields.Moment().says_nothing(value)
    assert fields.Moment().find({"a": value, "b": "2018-02-27"}, "a|b") == ("b", "2018-02-27")


def test_a_format_reads_what_cannot_be_read_without_one() -> None:
    digits = fields.Moment(format="%y%m%d%H%M%S")
    assert iso(read(digits, "180227043304")) == "2018-02-27T04:33:04Z"
    assert digits.says_nothing("000000000000")
    american = fields.Moment(format="%m/%d/%Y", zone=EASTERN)
    assert iso(read(american, "2/27/2018")) == iso(read(american, "02/27/2018")) == "2018-02-27T05:00:00Z"
    assert american.says_nothing("11/30/1899")
    for missing in ("1899-11-30", "1970-01-01T00:00:00Z", "0000-00-00", "0", Number("0"), *EARLY):
        assert american.says_nothing(missing), missing
    assert iso(read(fields.Moment(format="%y%m%d%H%M%S"), "181011121314")) == "2018-10-11T12:13:14Z"
    assert not fields.Moment(format="%m%d%Y").says_nothing("11282026")
    assert refusal(american, "2018-02-27") == "'2018-02-27' is not a date like %m/%d/%Y."


def test_a_moment_that_names_no_zone_has_the_provider_s() -> None:
    field = fields.Moment(zone=EASTERN)
    assert iso(read(field, "2018-02-27T04:33:04")) == "2018-02-27T09:33:04Z"
    assert iso(read(field, "2018-07-27T04:33:04")) == "2018-07-27T08:33:04Z"  # in summer
    assert iso(read(field, "2018-02-27T04:33:04Z")) == "2018-02-27T04:33:04Z"
    for utc in ("-0000", "-0000 (UTC)"):
        assert iso(read(field, f"Tue, 27 Feb 2018 04:33:04 {utc}")) == "2018-02-27T04:33:04Z"
    assert iso(read(field, "2018-02-27")) == "2018-02-27T05:00:00Z"
    assert iso(read(field, "1519706000")) == "2018-02-27T04:33:20Z"


@many
@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)),  # noqa: DTZ001 - the zone follows
    st.integers(-14, 14),
)
def test_every_moment_is_read_back_as_it_was_written(naive: datetime, hours: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert read(fields.Moment(), moment.isoformat()) == moment
    assert read(fields.Moment(), iso(moment)) == moment
    assert read(fields.Moment(), naive.date().isoformat()).date() == naive.date()


# --- cards ---------------------------------------------------------------------------------------


@tried_with(
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
        ("424242****1234", "424242", "1234"),
        ("411111******", "411111", None),
        ("411111", "411111", None),  # its beginning alone
        ("41111122", "411111", None),
        (Number("411111"), "411111", None),
        ("411111xxxxxx", "411111", None),
        ("411111...0042", "411111", "0042"),
        ("41111122XXXXXXXX", "411111", None),
        ("XXXX0042", None, "0042"),
        ("ending in 0042", None, "0042"),
        ("0042", None, "0042"),
        ("123456789012", "123456", "9012"),
        ("1234567890123456789", "123456", "6789"),
    ],
)
def test_of_a_card_the_first_six_and_last_four_are_kept(
    value: str, first_six: str | None, last_four: str | None
) -> None:
    assert read(fields.Card(), value) == (first_six, last_four)


@tried_with(
    "value",
    [
        *("visa", "42", "411111**11**1111", "4" * 20, "4111******", "41111", "411111222", "41111111111"),
        *("411111xxxxxx1111 exp 12/26", "411111 exp 1226", "411111xxxxxx1111 12/26", "1111 exp 12/26"),
        *(Number("4111110000000000.0"), Number("4.11111e15"), Number("1111.0"), "411111******[cut]"),
    ],
)
def test_what_is_no_masked_card_is_refused_without_showing_it(value: str) -> None:
    assert refusal(fields.Card(), value) == "Not a card number with its middle masked."


@tried_with(
    ("field", "value", "expected"),
    [
        (fields.FirstSix(), "411111", "411111"),
        (fields.FirstSix(), "41111122", "411111"),
        (fields.FirstSix(), Number("411111"), "411111"),
        (fields.FirstSix(), Number("4111"), "004111"),
        (fields.LastFour(), "0042", "0042"),
        (fields.LastFour(), Number("42"), "0042"),
        (fields.LastFour(), Number("0"), "0000"),
        (fields.LastFour(), "****0042", "0042"),
        (fields.FirstSix(), "411111**", "411111"),
    ],
)
def test_digits_of_a_card_regain_the_zeros_that_a_number_lost(field: Any, value: str, expected: str) -> None:
    assert read(field, value) == expected


@tried_with(
    ("field", "value"),
    [
        *((fields.FirstSix(), value) for value in ("41111", "411111222", "4111x1", "\u0664" * 6)),
        *((fields.LastFour(), value) for value in ("42", "00042", "xx42", Number("42.0"), Number("-42"))),
    ],
)
def test_what_are_no_digits_of_a_card_is_refused(field: Any, value: str) -> None:
    assert "digits of a card number" in refusal(field, value)


# --- outcomes ------------------------------------------------------------------------------------

WORDS = {
    "refunded": "issued_full_refund",
    "other": "other",
    "refund-failed": fields.REVIEW,
    "settled": fields.NOTE,
    "pending": None,
    "declined": fields.NOT_FINAL,
}


class Ended(AlertSchema):
    case_number = fields.Identifier(data_key="id")
    type = fields.Word(data_key="kind", values={"cb": DisputeType.CHARGEBACK}, load_default=DisputeType.ALERT)
    resolution = fields.Resolution(data_key="first|second", values=WORDS)


class EndedByType(Ended):
    resolution = fields.Resolution(
        data_key="first|second",
        values={
            "alert": {"closed": "other", "open": None, "Charge-Back": "other"},
            "chargeback": {"closed": "won", "open": None, "lost": "lost"},
        },
    )


def ended(table: type[AlertSchema] = Ended, **tree: Any) -> dict[str, str]:
    """What an outcome came to, under the Alert's names for it."""
    alert, errors = table().translate({"id": "1", **tree})
    names = ("resolution", "message", "unknown_outcome", "review", "note")
    said = {name: value for name in names if (value := getattr(alert, name))}
    assert not errors or "unknown_outcome" in said
    return said


@tried_with(
    ("word", "expected"),
    [
        ("refunded", {"resolution": "issued_full_refund"}),
        ("REFUNDED ", {"resolution": "issued_full_refund"}),
        ("Other", {"resolution": "other", "message": "Other"}),
        ("pending", {}),
        ("declined", {}),
        ("N/A", {}),
        (None, {}),
        ("refund_failed", {"review": "refund_failed is not final: a person has to look."}),
        ("settled", {"note": "settled is an end that 29next has no resolution for."}),
        ("odd", {"unknown_outcome": "The outcome 'odd' is not listed."}),
        ("o\nd", {"unknown_outcome": "The outcome 'o\\\\u000ad' is not listed."}),
    ],
)
def test_every_word_of_an_outcome_is_listed_or_said_to_be_none(word: str | None, expected: Any) -> None:
    assert ended(first=word) == expected


@tried_with("value", [{"a": "1"}, ["refunded"], True, False, [], {}])
def test_an_outcome_that_cannot_be_read_is_no_silence(value: Any) -> None:
    said = ended(first=value)["unknown_outcome"]
    assert said.startswith("The outcome cannot be read: Expected text or a number, not a")


@tried_with(
    ("first", "second", "expected"),
    [
        ("pending", "refunded", "issued_full_refund"),  # what is not final leaves it to the other
        ("refunded", "other", "issued_full_refund"),
        ("N/A", "refunded", "issued_full_refund"),
        ("declined", "refunded", None),  # what says so stops all others, wherever it stands
        ("refunded", "declined", None),
        ("pending", None, None),
    ],
)
def test_of_two_places_of_an_outcome_the_one_that_decides_counts(
    first: str, second: str | None, expected: str | None
) -> None:
    assert ended(first=first, second=second).get("resolution") == expected


def test_a_word_that_nobody_listed_is_not_hidden_by_another_place() -> None:
    assert "'odd'" in ended(first="pending", second="odd")["unknown_outcome"]
    assert "'odd'" in ended(first="odd", second="refunded")["unknown_outcome"]


def test_an_outcome_that_does_not_suit_the_type_is_not_understood() -> None:
    said = "The outcome 'refunded' (issued_full_refund) does not suit a dispute of type chargeback."
    assert ended(kind="cb", first="refunded") == {"unknown_outcome": said}
    assert ended(kind="cb", first="refund failed") == {
        "review": "refund failed is not final: a person has to look."
    }


@tried_with(
    ("kind", "word", "expected"),
    [
        (None, "closed", {"resolution": "other", "message": "closed"}),
        ("cb", "closed", {"resolution": "won"}),
        ("cb", "lost", {"resolution": "lost"}),
        (None, "open", {}),
        ("cb", "open", {}),
        (None, "charge_back", {"resolution": "other", "message": "charge_back"}),
        (None, "lost", {"unknown_outcome": "The outcome 'lost' does not suit a dispute of type alert."}),
        (
            "cb",
            "charge back",
            {"unknown_outcome": "The outcome 'charge back' does not suit a dispute of type chargeback."},
        ),
        (None, "odd", {"unknown_outcome": "The outcome 'odd' is not listed."}),
    ],
)
def test_the_words_of_an_outcome_may_be_given_by_type(kind: str | None, word: str, expected: Any) -> None:
    assert ended(EndedByType, kind=kind, first=word) == expected


SAID_ACCEPTED = ("Accepted", "ACCEPT", "Auto-Accepted", "approved", "Refunded", "RESOLVED")
SAID_DECLINED = (
    *("Declined", "auto-declined", "REJECTED", "Ineligible", "not eligible", "NOT_ELIGIBLE", "NotEligible"),
    *(
        "Not Accepted",
        "not-accepted",
        "notAccepted",
        "Unaccepted",
        "refused",
        "Denied",
        "CANCELLED",
        "canceled",
    ),
    *("Not Refunded", "rdr_not_resolved", "unresolved", "not approved", "no", "No Refund", "cannot accept"),
    *(
        "Unable to refund",
        "non-eligible",
        "chargebacked",
        "CB_PROCEEDED",
        "revoked",
        "in-eligible-not_accepted",
    ),
)
SAID_OTHERWISE = ("whatever", "Pending", "under review", "new", "RDR", "accepted?", "partially refunded", "7")
"""What a word beside an RDR case may say of it."""


@tried_with(
    ("word", "resolution"),
    [
        *((word, "issued_full_refund") for word in (*SAID_ACCEPTED, None, "N/A", "-", "")),
        *((word, None) for word in SAID_DECLINED),
        *((word, "unknown") for word in SAID_OTHERWISE),
    ],
)
def test_a_rapid_resolution_is_accepted_by_its_type_only_where_no_word_is_said(
    word: str | None, resolution: str | None
) -> None:
    class Rapid(AlertSchema):
        case_number = fields.Identifier(data_key="id")
        resolution = rapid("a|b", {"In-Work": None}, by_type=True)
        refunded_by_gateway = fields.Constant(True)

    for tree in ({"a": word}, {"b": word}, {"a": "N/A", "b": word}):
        alert, errors = Rapid().translate({"id": "1", **tree})
        refunded = resolution == "issued_full_refund"
        assert (alert.resolution, alert.refunded_by_gateway) == (
            "issued_full_refund" if refunded else None,
            refunded,
        )
        assert (alert.unknown_outcome is not None) == (resolution == "unknown")
        assert errors == {}
    alert, _ = Rapid().translate({"id": "1", "a": word, "b": "in work"})
    assert alert.refunded_by_gateway == (word in SAID_ACCEPTED)


@pytest.mark.parametrize("value", [True, False, {}, {"a": "accepted"}, ["accepted"]])
def test_a_word_of_a_rapid_resolution_that_cannot_be_read_accepts_nothing(value: Any) -> None:
    class Rapid(AlertSchema):
        case_number = fields.Identifier(data_key="id")
        resolution = rapid("a|b", by_type=True)

    alert, _ = Rapid().translate({"id": "1", "a": value})
    assert (alert.resolution, alert.unknown_outcome is None) == (None, False)


def test_a_rapid_resolution_without_a_word_is_not_accepted_where_words_are_sent() -> None:
    class Rapid(AlertSchema):
        case_number = fields.Identifier(data_key="id")
        resolution = rapid("a")

    for tree in ({}, {"a": None}, {"a": "N/A"}):
        alert, _ = Rapid().translate({"id": "1", **tree})
        assert (alert.resolution, alert.unknown_outcome) == (None, None)


def test_what_holds_in_every_place_is_true() -> None:
    every = fields.Every({"type|kind": ("RESOLVED",), "source": ("VERIFI",)})
    assert every.find({"kind": "resolved", "source": "Verifi"}, "at") == ("at", True)
    assert every.find({"kind": "resolved", "source": "Ethoca"}, "at") == ("at", None)
    assert every.find({"source": "VERIFI"}, "at") == ("at", None)
    assert fields.Every({"a": ("x",)}, then="y").find({"a": "X"}, "at").value == "y"


# --- tables --------------------------------------------------------------------------------------


class Table(AlertSchema):
    case_number = fields.Identifier(data_key="case.id|caseId")
    amount = fields.Money(data_key="disputed.value")
    currency = fields.Currency(data_key="disputed.currency")
    transaction_amount = fields.Money(data_key="paid.value")
    transaction_currency = fields.Currency(data_key="paid.currency")
    happened_at = fields.Moment(data_key="at")
    card = fields.Card(data_key="card")
    card_first_six = fields.FirstSix(data_key="bin")
    card_last_four = fields.LastFour(data_key="last4")
    order = fields.Identifier(data_key="order")
    descriptor = fields.Text(data_key="shop")
    reason_code = fields.Code(data_key="reason")
    network = fields.Word(data_key="network", values={"RDR": Network.RDR})
    provider_id = fields.Identifier(data_key="uuid")
    event_at = fields.Moment(data_key="sent")
    resolution = fields.Resolution(
        data_key="outcome", values={"REFUNDED": "issued_full_refund", "ODD": "other"}
    )
    refunded_by_gateway = fields.Constant(True)
    withdrawn = fields.Flag(data_key="status", true=("REVOKED",))


GOOD: dict[str, Any] = {
    "case": {"id": "C-1"},
    "paid": {"value": Number("10.00"), "currency": "usd"},
    "at": "2026-03-01T12:00:00Z",
}


def test_a_table_reads_nested_paths_and_alternatives() -> None:
    alert, errors = Table().translate(GOOD)
    assert errors == {}
    assert (alert.case_number, alert.type, alert.amount, alert.currency) == (
        "C-1",
        DisputeType.ALERT,
        Decimal("10.00"),
        "USD",
    )
    assert Table().translate({**GOOD, "case": None, "caseId": "C-2"}).alert.case_number == "C-2"
    assert Table().translate({**GOOD, "whatever": {"x": 1}}).alert == alert


BAD: dict[str, Any] = {
    "paid": {"value": "1e3", "currency": "US"},
    "at": "soon",
    "bin": "x1",
    "order": {"id": 1},
    "uuid": Number("9.87e22"),
    "sent": "later",
    "reason": Number("10.4"),
    "shop": {"name": "x"},
    "network": True,
}
SAID = {
    "paid.value": ["'1e3' is not an amount of money, such as 12.50."],
    "paid.currency": ["'US' is not an ISO 4217 currency code."],
    "at": ["'soon' is not a date and time."],
    "bin": ["Expected 6 digits of a card number."],
    "order": ["Expected text or a number, not an object."],
    "uuid": ["An identifier cannot be the number 9.87e22: digits are lost."],
    "sent": ["'later' is not a date and time."],
    "reason": ["An identifier cannot be the number 10.4: digits are lost."],
    "shop": ["Expected text or a number, not an object."],
    "network": ["Expected text or a number, not a truth value."],
}


def test_what_cannot_be_read_costs_itself_and_is_listed_by_the_sender_s_own_name() -> None:
    alert, errors = Table().translate({"caseId": "C-1", "last4": "1111", **BAD})
    assert errors == SAID
    assert (alert.case_number, alert.card_last_four, alert.amount, alert.happened_at) == (
        "C-1",
        "1111",
        None,
        None,
    )


def test_only_what_a_match_may_rest_on_bears() -> None:
    alert, _ = Table().translate({"caseId": "C-1", **BAD})
    assert alert.unreadable == (
        "card_first_six",
        "happened_at",
        "order",
        "transaction_amount",
        "transaction_currency",
    )
    assert alert.carries_facts


def test_without_a_case_number_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(Untranslatable) as caught:
        Table().translate({"caseId": ["1"], **BAD})
    assert caught.value.fields == {"caseId": ["Expected text or a number, not a list."], **SAID}


@tried_with("nothing", [*PLACEHOLDERS, None, "0", "000", Number("0")])
def test_a_placeholder_is_no_case_number(nothing: Any) -> None:
    with pytest.raises(Untranslatable) as caught:
        Table().translate({**GOOD, "case": {"id": nothing}})
    ((path, (said,)),) = caught.value.fields.items()
    assert path == "case.id"
    assert said in (
        "Missing. Expected the number of the case.",
        f"{str(nothing).strip()!r} names no case. Expected the number of the case.",
    )


@tried_with("tree", [None, [], "text", Number("1"), True, {}, {"case": {}}])
def test_what_is_no_object_lacks_its_case_number_only(tree: Any) -> None:
    with pytest.raises(Untranslatable) as caught:
        Table().translate(tree)
    assert caught.value.fields == {"case.id": ["Missing. Expected the number of the case."]}


def test_all_else_may_be_missing() -> None:
    alert, errors = Table().translate({"caseId": "C-1"})
    assert (errors, alert.unreadable, alert.carries_facts) == ({}, (), False)


@tried_with(
    ("disputed", "amount", "currency"),
    [
        ({"value": "340.60", "currency": "EUR"}, "340.60", "EUR"),
        ({"value": "340.60"}, "340.60", "USD"),
        ({"currency": "EUR"}, "10.00", "USD"),  # never one's number with the other's currency
        ({"value": None, "currency": "EUR"}, "10.00", "USD"),
        ({"value": "0.00", "currency": "EUR"}, "10.00", "USD"),
        ({"value": "N/A"}, "10.00", "USD"),
        ({}, "10.00", "USD"),
    ],
)
def test_the_disputed_amount_goes_before_the_transaction_s(
    disputed: dict[str, Any], amount: str, currency: str
) -> None:
    alert, errors = Table().translate({**GOOD, "disputed": disputed})
    assert errors == {}
    assert (alert.amount, alert.currency) == (Decimal(amount), currency)
    assert (alert.transaction_amount, alert.transaction_currency) == (Decimal("10.00"), "USD")


def test_a_disputed_amount_that_cannot_be_read_is_not_replaced_by_the_transaction_s() -> None:
    alert, errors = Table().translate({**GOOD, "disputed": {"value": "1,23", "currency": "USD"}})
    assert (alert.amount, alert.transaction_amount) == (None, Decimal("10.00"))
    assert set(errors) == {"disputed.value"}
    assert alert.unreadable == ("amount",)


def test_a_currency_that_cannot_be_read_is_not_replaced_by_the_transaction_s() -> None:
    alert, errors = Table().translate({**GOOD, "disputed": {"value": "5.00", "currency": "bitcoin"}})
    assert (alert.amount, alert.currency, alert.transaction_currency) == (Decimal("5.00"), None, "USD")
    assert set(errors) == {"disputed.currency"}


def test_a_card_s_own_digits_go_before_those_of_its_mask() -> None:
    alert, _ = Table().translate({**GOOD, "card": "411111******1111", "bin": "555555"})
    assert (alert.card_first_six, alert.card_last_four) == ("555555", "1111")


def test_an_other_outcome_says_which() -> None:
    alert, _ = Table().translate({**GOOD, "outcome": "odd"})
    assert (alert.resolution, alert.message) == ("other", "odd")


def test_only_what_is_resolved_was_refunded() -> None:
    assert not Table().translate(GOOD).alert.refunded_by_gateway
    assert not Table().translate({**GOOD, "outcome": "odd"}).alert.refunded_by_gateway
    assert Table().translate({**GOOD, "outcome": "refunded"}).alert.refunded_by_gateway


def test_what_is_withdrawn_may_lack_the_facts() -> None:
    alert, _ = Table().translate({"caseId": "C-1", "status": "revoked"})
    assert (alert.case_number, alert.withdrawn, alert.amount) == ("C-1", True, None)


@tried_with(
    ("cents", "currency", "amount"),
    [
        ("1050", "USD", "10.50"),
        (Number("5"), "USD", "0.05"),
        ("1050", "JPY", "1050"),
        ("1050", "KWD", "1.050"),
        ("1050", "ISK", "10.50"),  # as this provider counts it
        ("1299000", "CLP", "12990.00"),
        ("1050.00", "USD", "10.50"),
        (Number("1050.0000000001"), "USD", "10.50"),
        ("1,050.00", "USD", "10.50"),
        ("1050", "840", "10.50"),
        ("1050 USD", None, "10.50"),
        ("$1050", "USD", "10.50"),
    ],
)
def test_minor_units_follow_the_currency(cents: str, currency: str | None, amount: str) -> None:
    alert, errors = Cents().translate({"case_number": "1", "amount": cents, "currency": currency})
    assert errors == {}
    assert alert.amount == Decimal(amount)
    assert alert.type is DisputeType.CHARGEBACK


def test_money_in_minor_units_is_whole() -> None:
    assert price("1050.5", table=Cents) == {"amount": ["1050.5 is not a whole number of minor units."]}


@pytest.mark.parametrize("currency", [None, "N/A", "XXX"])
def test_minor_units_without_a_currency_are_no_amount(currency: str | None) -> None:
    alert, errors = Cents().translate({"case_number": "1", "amount": "1050", "currency": currency})
    assert errors["amount"] == ["Minor units need a currency, and none can be read."]
    assert (alert.amount, "amount" in alert.unreadable) == (None, True)


def test_a_field_beside_another_is_read_with_it_only() -> None:
    class Beside(AlertSchema):
        case_number = fields.Identifier(data_key="id")
        amount = fields.Money(data_key="amount", beside="payment")

    read_beside = [
        Beside().translate({"id": "1", "amount": "5", "payment": one}).alert.amount
        for one in ("p-1", None, "N/A", "")
    ]
    assert read_beside == [Decimal(5), None, None, None]


def test_the_paths_of_a_table_can_be_told() -> None:
    sources = Table().sources()
    assert sources["case_number"] == "case.id|caseId"
    assert "refunded_by_gateway" not in sources
    assert Table().path("card_first_six") == "bin"
    assert Cents().path("case_number") == "case_number"


def test_what_can_be_read_is_told_field_by_field_with_or_without_a_case_number() -> None:
    told = Table().readable({"caseId": "C-1", "card": "411111******1111", "at": "soon", "order": "7"})
    assert (told["card"], told["order"], told["case_number"]) == ("411111******1111", "7", "C-1")
    assert "happened_at" not in told
    bare = Table().readable({"caseId": "N/A", "order": "7", "at": "soon", "paid": {"value": "5 USD"}})
    assert (bare["order"], bare["amount"], bare["currency"]) == ("7", "5", "USD")
    assert not {"case_number", "happened_at", "card"} & set(bare)
