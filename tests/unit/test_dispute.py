"""What 29next is sent: the true values in its own form, or nothing in their place."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.alert import CHARGEBACK_RESOLUTIONS, RESOLUTIONS, Alert, Category, DisputeType, Network
from bridge.disputes.payloads import (
    METADATA,
    amount_text,
    card_text,
    dispute_body,
    metadata_of,
    refund_body,
    resolution_body,
)
from bridge.providers.currencies import DECIMALS
from tests.support.examples import examples
from tests.support.next29 import VERSIONS
from tests.support.openapi import validate_request
from tests.support.trying import tried_with

RECEIVED = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ALERT: dict[str, Any] = {
    "case_number": "A-1",
    "amount": Decimal("340.6"),
    "currency": "USD",
    "happened_at": datetime(2026, 2, 28, 23, 30, tzinfo=timezone(timedelta(hours=-5))),
    "arn": "64738272371643523456435",
    "network": Network.ETHOCA,
    "reason_code": "10.4",
    "order": "1001",
    "descriptor": "SHOP*ALPHA",
    "auth_code": "A1B2C3",
    "card_first_six": "411111",
    "card_last_four": "1111",
}
EVERY_KEY = (
    *("bridge_provider", "bridge_network", "bridge_reason_code", "bridge_amount", "bridge_order"),
    *("bridge_descriptor", "bridge_auth_code", "bridge_card"),
)


def opened(**changes: Any) -> dict[str, Any]:
    metadata = changes.pop("metadata", METADATA)
    transaction = changes.pop("transaction_id", None)
    return dispute_body(
        Alert(**{**ALERT, **changes}),
        provider="acme",
        received_at=RECEIVED,
        transaction_id=transaction,
        metadata=metadata,
    )


def test_an_alert_becomes_a_dispute() -> None:
    assert opened(transaction_id=77) == {
        "type": "alert",
        "case_number": "A-1",
        "amount": "340.60",
        "currency": "USD",
        "happened_at": "2026-03-01T04:30:00Z",
        "arn": "64738272371643523456435",
        "transaction": 77,
        "metadata": {
            "bridge_provider": "acme",
            "bridge_network": "ethoca",
            "bridge_reason_code": "10.4",
        },
    }


def test_what_is_not_known_is_left_out() -> None:
    bare = dispute_body(Alert(case_number="A-1"), provider="acme", received_at=RECEIVED, metadata=())
    assert datetime.fromisoformat(bare.pop("happened_at")) == RECEIVED
    assert bare == {"type": "alert", "case_number": "A-1"}


def test_a_date_that_cannot_be_read_is_left_out_and_one_that_is_missing_is_that_of_the_receipt() -> None:
    unreadable = opened(happened_at=None, unreadable=("arn", "happened_at"))
    assert "happened_at" not in unreadable
    assert datetime.fromisoformat(opened(happened_at=None)["happened_at"]) == RECEIVED


def test_an_amount_without_its_currency_is_kept_beside_and_never_sent() -> None:
    body = opened(currency=None)
    assert not {"amount", "currency"} & set(body)
    assert body["metadata"]["bridge_amount"] == "340.6"


def test_every_key_of_the_metadata_is_a_setting() -> None:
    assert opened(metadata=EVERY_KEY)["metadata"] == {
        "bridge_provider": "acme",
        "bridge_network": "ethoca",
        "bridge_reason_code": "10.4",
        "bridge_order": "1001",
        "bridge_descriptor": "SHOP*ALPHA",
        "bridge_auth_code": "A1B2C3",
        "bridge_card": "411111******1111",
    }
    assert opened(metadata=["bridge_card", "no_such_key"])["metadata"] == {"bridge_card": "411111******1111"}
    assert "metadata" not in opened(metadata=[])
    assert "bridge_network" not in metadata_of(Alert(case_number="A", subtype="tc40"), "acme", METADATA)


def test_a_card_shows_no_more_than_its_ends() -> None:
    assert card_text(Alert(case_number="A", card_last_four="1111")) == "******1111"
    assert card_text(Alert(case_number="A", card_first_six="411111")) is None


AMOUNTS: list[tuple[str, str, str | None]] = [
    ("0", "USD", "0.00"),
    ("0.01", "USD", "0.01"),
    ("12.5", "USD", "12.50"),
    ("12.500000", "USD", "12.50"),
    ("999999.99", "USD", "999999.99"),
    ("5000", "JPY", "5000.00"),
    ("1000000", "KRW", None),
    ("1000000.00", "IDR", None),
    ("12.505", "USD", None),
    ("1.234", "KWD", None),
    ("999999999999999", "USD", None),
    ("999999999999999.999999", "USD", None),
    ("1E+30", "USD", None),
]


@tried_with(("amount", "currency", "text"), AMOUNTS)
def test_an_amount_is_sent_as_29next_takes_it_or_kept_beside(
    amount: str, currency: str, text: str | None
) -> None:
    body = opened(amount=Decimal(amount), currency=currency)
    assert body.get("amount") == text
    told = body["metadata"].get("bridge_amount")
    if text is None:
        assert told is not None
        number, _, unit = told.partition(" ")
        assert (Decimal(number), unit) == (Decimal(amount), currency)
    else:
        assert told is None


@examples(100)
@given(
    st.decimals(min_value=0, max_value=10**15, places=6, allow_nan=False) | st.decimals(0, 10**7, places=2)
)
def test_an_amount_that_is_sent_is_the_true_one(amount: Decimal) -> None:
    text = amount_text(amount)
    if text is not None:
        assert Decimal(text) == amount
        assert re.fullmatch(r"[0-9]{1,6}\.[0-9]{2}", text)
    else:
        assert amount >= 10**6 or amount != round(amount, 2)


texts = st.none() | st.text(max_size=255)
zones = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
alerts = st.builds(
    Alert,
    case_number=st.text(min_size=1, max_size=255),
    type=st.sampled_from(DisputeType),
    amount=st.none() | st.decimals(0, 10**9, places=3, allow_nan=False),
    currency=st.none() | st.sampled_from(sorted(DECIMALS)),
    happened_at=st.none() | st.datetimes(datetime(1970, 1, 2), timezones=zones),  # noqa: DTZ001
    arn=texts,
    category=st.sampled_from(Category),
    network=st.sampled_from(Network),
    event_at=st.none() | st.datetimes(datetime(2000, 1, 2), timezones=zones),  # noqa: DTZ001
    unknown_outcome=texts,
    review=texts,
    note=texts,
    unreadable=st.lists(st.sampled_from(["amount", "arn", "happened_at"]), unique=True).map(tuple),
    reason_code=texts,
    order=texts,
    descriptor=texts,
    auth_code=texts,
    card_first_six=st.none() | st.just("411111"),
    card_last_four=st.none() | st.just("1111"),
)


@pytest.mark.parametrize("version", VERSIONS)
@examples(10)
@given(alert=alerts, transaction=st.none() | st.integers(1, 2**53))
def test_every_body_is_one_that_29next_documents(version: str, alert: Alert, transaction: int | None) -> None:
    body = dispute_body(
        alert, provider="acme", received_at=RECEIVED, transaction_id=transaction, metadata=EVERY_KEY
    )
    assert None not in body.values()
    validate_request("POST", "/disputes/", json.loads(json.dumps(body)), version=version)


@tried_with("version", VERSIONS)
@tried_with("resolution", sorted({one for kind in RESOLUTIONS.values() for one in kind}))
def test_every_resolution_is_one_that_29next_documents(version: str, resolution: str) -> None:
    for body in (
        resolution_body(resolution),
        resolution_body(resolution, "so it was"),
        resolution_body(resolution, external_refund=True),
    ):
        validate_request("POST", "/disputes/7/resolve/", body, version=version)


def test_chargebacks_and_alerts_share_no_outcome_but_the_words_of_29next() -> None:
    assert not set(CHARGEBACK_RESOLUTIONS) & set(RESOLUTIONS[DisputeType.ALERT])


def test_a_resolution_says_only_what_is_wanted() -> None:
    assert resolution_body("won") == {"resolution": "won"}
    assert resolution_body("other", "so") == {"resolution": "other", "resolution_other_message": "so"}
    refunded = {"resolution": "won", "create_external_refund": True}
    assert resolution_body("won", external_refund=True) == refunded


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refund_that_the_gateway_made_moves_no_money_and_mails_nobody(version: str) -> None:
    body = refund_body("12.50")
    assert body == {"amount": "12.50", "is_external": True, "send_refund_notification": False}
    validate_request("POST", "/transactions/7/refund/", body, version=version)


# --- the alert itself, as the inbox keeps it -----------------------------------------------------


@examples(30)
@given(alerts)
def test_an_alert_is_read_back_as_it_was_written(alert: Alert) -> None:
    assert Alert.from_json(json.loads(json.dumps(alert.to_json()))) == alert


def test_every_field_of_an_alert_is_kept_and_nothing_that_it_does_not_say() -> None:
    of_a_type: dict[str, Any] = {
        **dict.fromkeys(("str", "str | None"), "x"),
        "bool": True,
        "Decimal | None": Decimal("1.50"),
        "datetime | None": RECEIVED,
        "tuple[str, ...]": ("a", "b"),
        "DisputeType": DisputeType.CHARGEBACK,
        "Category": Category.FRAUD,
        "Network": Network.RDR,
    }
    alert = Alert(**{one.name: of_a_type[str(one.type)] for one in dataclasses.fields(Alert)})
    assert Alert.from_json(json.loads(json.dumps(alert.to_json()))) == alert
    said = {"case_number": "A", "type": "alert", "category": "unknown", "network": "other"}
    assert Alert(case_number="A").to_json() == said


def test_what_another_release_has_written_is_no_obstacle() -> None:
    for network in ("verifi", "visa", "jcb"):
        assert Alert.from_json({"case_number": "A", "network": network}).network is Network.OTHER
    assert Alert.from_json({"case_number": "A", "phase_of_the_moon": "full"}) == Alert(case_number="A")


# --- currencies ----------------------------------------------------------------------------------


def test_currencies_have_their_decimals() -> None:
    assert {DECIMALS[code] for code in ("JPY", "KRW", "CLP", "ISK", "UGX", "VND", "XOF")} == {0}
    assert {DECIMALS[code] for code in ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")} == {3}
    assert {DECIMALS[code] for code in ("USD", "EUR", "GBP", "IDR", "HUF", "MRU", "CHF")} == {2}
    assert all(len(code) == 3 and code.isalpha() and code.isupper() for code in DECIMALS)
    assert not {"XXX", "XTS", "DEM", "BTC"} & set(DECIMALS)
