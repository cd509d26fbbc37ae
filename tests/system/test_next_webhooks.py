"""29next's own webhooks: signed in either form, heard once, and believed only where nothing contradicts."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bridge_in_process import NEXT_SECRET, InProcessBridge, bridge_in_process
from tests.support.inside import rows
from tests.support.next29 import STORE, StandIn
from tests.support.sales import sold
from tests.support.webhooks import Json, next_event

ODD = {"naïve": "Zoë \u2028 ☂ 𝄞", "float": 10.10, "small": 1e-07, "large": 12345678901234567890, "none": None}
"""Values that another writer of JSON spells in another way."""


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_in_process(database_url) as made:
        yield made


@pytest.fixture
def light(make_database: Any) -> Iterator[InProcessBridge]:
    """A bridge for what no database has a part in."""
    with make_database("sqlite") as url, bridge_in_process(url) as made:
        yield made


def event(data: Json | None = None, kind: str = "transaction.created", **changes: Any) -> Json:
    ident = "a7a26ff2-0000-4000-8000-d595f45458b7"
    return next_event(kind, data or sold(), **{"event_id": ident, "store": STORE, **changes})


def signature(body: bytes, secret: str = NEXT_SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(bridge: InProcessBridge, body: bytes, signed: str | None, path: str = "/webhooks/next") -> int:
    headers = {"Content-Type": "application/json"} | (
        {} if signed is None else {"X-29Next-Signature": signed}
    )
    return bridge.client.post(path, data=body, headers=headers).status_code


def index(bridge: InProcessBridge) -> list[Json]:
    return [dict(row._mapping) for row in rows(bridge.database, "transactions")]


# --- signatures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["as it is", "compact", "unicode", "indented", "other floats"])
def test_a_body_signed_raw_or_as_python_writes_it_again_is_taken(
    light: InProcessBridge, spelling: str
) -> None:
    told = event(extra=ODD)
    sent = {
        "as it is": json.dumps(told),
        "compact": json.dumps(told, separators=(",", ":")),
        "unicode": json.dumps(told, ensure_ascii=False),
        "indented": json.dumps(told, indent=2, ensure_ascii=False),
        "other floats": json.dumps(told).replace("10.1,", "10.100,").replace("1e-07", "0.0000001"),
    }[spelling].encode()
    again = json.dumps(json.loads(sent)).encode()
    assert post(light, sent, signature(again)) == 200
    assert post(light, sent, signature(sent)) == 200
    assert post(light, sent, signature(sent).upper()) == 200


@pytest.mark.parametrize(
    ("signed", "message"),
    [
        (None, "The header X-29Next-Signature is missing."),
        ("", "The header X-29Next-Signature is missing."),
        ("0" * 64, "The signature does not fit the body."),
        ("Ω☂", "The signature does not fit the body."),
        ("f" * 63, "The signature does not fit the body."),
        ("sha256=" + "0" * 64, "The signature does not fit the body."),
        (signature(json.dumps(event()).encode(), "another secret"), "The signature does not fit the body."),
        (signature(json.dumps(event(event_id="other")).encode()), "The signature does not fit the body."),
    ],
)
def test_a_wrong_signature_is_refused(light: InProcessBridge, signed: str | None, message: str) -> None:
    headers = {} if signed is None else {"X-29Next-Signature": signed.encode().decode("latin-1")}
    answer = light.client.post("/webhooks/next", data=json.dumps(event()), headers=headers)
    assert answer.status_code == 401
    assert answer.json == {"error": "bad_proof", "message": message}
    assert light.deliveries() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff\xfe{}"])
def test_a_body_that_does_not_parse_is_judged_by_its_bytes(light: InProcessBridge, body: bytes) -> None:
    assert post(light, body, signature(b"{}")) == 401
    assert post(light, body, signature(body)) == 200


def test_the_previous_secret_is_taken_while_it_is_rotated(light: InProcessBridge) -> None:
    secrets = {**light.settings.secrets, "next": ("the-secret-that-is-new", NEXT_SECRET)}
    light.app.extensions["settings"] = dataclasses.replace(light.settings, secrets=secrets)
    body = json.dumps(event(), ensure_ascii=False).encode()
    assert post(light, body, signature(json.dumps(event()).encode())) == 200
    assert post(light, body, signature(body, "the-secret-that-is-new")) == 200
    assert post(light, body, signature(body, "the-secret-before-both")) == 401


def test_a_webhook_that_is_replayed_adds_nothing(bridge: InProcessBridge) -> None:
    body = json.dumps(event()).encode()
    newer = json.dumps(event(sold(is_disputed=True), "transaction.updated", event_id="newer")).encode()
    for sent in (body, newer, body, body, newer):
        assert post(bridge, sent, signature(sent)) == 200
    bridge.work()
    assert len(bridge.deliveries()) == 2
    (row,) = index(bridge)
    assert (row["is_disputed"], row["reread_at"]) == (True, None)


# --- what is kept ---------------------------------------------------------------------------------


def test_a_transaction_is_kept_as_far_as_matching_needs_it(bridge: InProcessBridge) -> None:
    bridge.tell("transaction.created", sold())
    bridge.work()
    assert index(bridge) == [
        {
            "store": STORE,
            "id": 7001,
            "order": "1701",
            "type": "debit",
            "status": "succeeded",
            "amount": "40.00",
            "currency": "USD",
            "bankcard_first_six": "424242",
            "bankcard_last_four": "0042",
            "auth_code": "A1B2C3",
            "network_transaction_id": "300000000007001",
            "external_id": "pi_0000000000007001",
            "payment_method": "bankcard",
            "parent_id": None,
            "date_created": "2026-02-28T12:00:00Z",
            "is_disputed": False,
            "is_3ds": True,
            "gateway": "A Gateway",
            "statement_descriptor": "SHOP*TEST",
            "created_at": 1772280000.0,
            "reread_at": None,
        }
    ]


def test_nothing_of_the_customer_is_kept_anywhere(bridge: InProcessBridge) -> None:
    bridge.tell("transaction.created", sold())
    bridge.work()
    (body,) = (row.body for row in rows(bridge.database, "webhooks"))
    told = json.dumps(sold()).encode()
    for private in (b"customer@example.com", b"198.51.100.7", b"agent@", b"newsletter", b"tok_0001", b"Zo"):
        assert private in told
        assert private not in body
    assert json.loads(body)["data"]["auth_code"] == "A1B2C3"


def test_an_identifier_that_looks_like_a_card_number_survives(bridge: InProcessBridge) -> None:
    looks = {"network_transaction_id": "371449635398431", "external_id": "4111111111111111"}
    bridge.tell("transaction.created", sold(**looks))
    bridge.work()
    (row,) = index(bridge)
    assert {name: row[name] for name in looks} == looks


@pytest.mark.both_databases
def test_a_test_transaction_is_left_out_and_one_that_turns_out_to_be_one_is_removed(
    bridge: InProcessBridge,
) -> None:
    bridge.tell("transaction.created", sold(is_test=True))
    bridge.work()
    assert index(bridge) == []
    bridge.tell("transaction.created", sold())
    bridge.work()
    bridge.tell("transaction.updated", sold(is_test=True))
    bridge.work()
    assert index(bridge) == []


@pytest.mark.parametrize(
    "data",
    [
        {"id": None},
        {"id": "x"},
        {"id": 10**18},
        {"id": -1},
        {},
    ],
)
def test_what_has_no_id_fails_visibly(light: InProcessBridge, data: Json) -> None:
    light.tell("transaction.created", data or {"nothing": 1})
    light.work()
    (row,) = light.deliveries()
    assert (row["status"], row["reason"]) == ("failed", "untranslatable")
    assert list(row["errors"]) == ["data.id"]


def test_odd_values_break_nothing(bridge: InProcessBridge) -> None:
    odd = {
        "amount": 40.0,
        "auth_code": 123,
        "currency": "U\u0000SD",
        "order": {"a": 1},
        "parent_id": 10**30,
        "is_disputed": "yes",
        "payment_details": [],
        "status": "\ud800",
        "date_created": "soon",
    }
    bridge.tell("transaction.created", sold(**odd))
    bridge.tell("dispute.created", {"id": 5, "type": "alert", "case_number": "\u0000", "resolution": []})
    bridge.tell("dispute.created", {"id": 6, "type": "question", "case_number": "C-6"})
    bridge.work()
    assert {row["status"] for row in bridge.deliveries()} == {"ignored"}
    (row,) = index(bridge)
    assert (row["auth_code"], row["parent_id"], row["is_disputed"]) == ("000123", None, None)


# --- the store -----------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [STORE, f"{STORE}.29next.store", "whatever"])
def test_with_a_single_store_every_webhook_is_its_own(light: InProcessBridge, named: str) -> None:
    body = json.dumps(event(webhook={"store": named})).encode()
    post(light, body, signature(body))
    light.work()
    assert [row["store"] for row in index(light)] == [STORE]


def test_among_several_stores_the_path_or_the_webhook_says_which(make_database: Any) -> None:
    with (
        make_database("sqlite") as url,
        StandIn(rate=0) as next29,
        bridge_in_process(url, next29=next29) as bridge,
    ):
        beta = dataclasses.replace(
            bridge.store, name="beta", base_url="https://shop-b.29next.store/api/admin/"
        )
        stores = {**bridge.settings.stores, "beta": beta}
        bridge.inside.translator.settings = dataclasses.replace(bridge.settings, stores=stores)
        told = [
            ("/webhooks/next/beta", "anything", "beta"),
            ("/webhooks/next", "shop-b", "beta"),
            ("/webhooks/next", "beta", "beta"),
            ("/webhooks/next", STORE, STORE),
            ("/webhooks/next", "unheard-of", None),
            ("/webhooks/next/unheard-of", STORE, None),
        ]
        for number, (path, named, _) in enumerate(told):
            body = json.dumps(event(event_id=str(number), webhook={"store": named})).encode()
            assert post(bridge, body, signature(body), path) == 200
        bridge.inside.translate()
        rows = {row["event_id"]: row for row in bridge.deliveries()}
        for number, (_, _, store) in enumerate(told):
            row = rows[str(number)]
            assert row["reason"] == ("inform" if store else "no_store")
            assert row["store"] == store or store is None


# --- order ---------------------------------------------------------------------------------------

LIFE = (
    sold(status="", auth_code=None),
    sold(),
    sold(is_disputed=True),
)
"""What happens to a transaction, one state after the other."""


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_events_in_any_order_and_repeated_leave_the_newest_state(
    light: InProcessBridge, order: tuple[int, ...]
) -> None:
    truth = {**LIFE[-1], "is_test": False}
    light.next29.add_transaction(STORE, id=7001, **_facts(truth))
    light.next29.add_dispute(STORE, type="alert", transaction=7001)
    for number in (*order, *order):
        light.tell("transaction.updated", LIFE[number])
        light.work()
        reread(light)
    (row,) = index(light)
    assert (row["status"], row["auth_code"], row["is_disputed"]) == ("succeeded", "A1B2C3", True)
    assert row["reread_at"] is None


def test_a_status_never_goes_backwards_before_it_was_read_again(light: InProcessBridge) -> None:
    for state in (LIFE[2], LIFE[0], LIFE[1]):
        light.tell("transaction.updated", state)
        light.work()
        (row,) = index(light)
        assert (row["status"], row["is_disputed"]) == ("succeeded", True)
    assert row["reread_at"] is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": "41.00"},
        {"currency": "EUR"},
        {"type": "authorize"},
        {"auth_code": "ZZZZZZ"},
        {"external_id": "pi_other"},
        {"date_created": "2026-02-27T12:00:00Z"},
        {"status": "failed"},
        {"is_disputed": False},
    ],
)
def test_a_contradiction_is_read_again_and_29next_is_believed(light: InProcessBridge, changes: Json) -> None:
    truth = sold(is_test=False)
    light.next29.add_transaction(STORE, id=7001, **_facts(truth))
    light.tell("transaction.created", sold(is_disputed=True))
    light.work()
    light.tell("transaction.updated", sold(**{"is_disputed": True, **changes}))
    light.work()
    (row,) = index(light)
    assert row["reread_at"] is not None
    assert row["amount"] == "40.00"
    with light.counted() as calls:
        reread(light)
    assert calls == ["GET /transactions/7001/"]
    (row,) = index(light)
    assert (row["reread_at"], row["is_disputed"], row["status"]) == (None, False, "succeeded")


def test_the_same_values_in_another_spelling_contradict_nothing(light: InProcessBridge) -> None:
    light.tell("transaction.created", sold())
    light.tell("transaction.updated", sold(amount="40.0", date_created="2026-02-28T12:00:00+00:00"))
    light.tell("transaction.updated", sold(auth_code=" a1b2c3", order="#1701"))
    light.work()
    assert index(light)[0]["reread_at"] is None


def test_an_agreeing_telling_does_not_end_a_doubt(light: InProcessBridge) -> None:
    for state in (sold(), sold(status="failed"), sold(), sold()):
        light.tell("transaction.updated", state)
        light.work()
    assert index(light)[0]["reread_at"] is not None


def test_a_transaction_that_29next_does_not_know_any_more_is_forgotten(light: InProcessBridge) -> None:
    for state in (sold(), sold(status="failed")):
        light.tell("transaction.updated", state)
        light.work()
    reread(light)
    assert index(light) == []


def test_a_contradiction_that_cannot_be_read_waits_and_is_not_asked_for_at_once(
    light: InProcessBridge,
) -> None:
    for state in (sold(), sold(status="failed")):
        light.tell("transaction.updated", state)
        light.work()
    light.next29.stop()
    assert light.inside.reread(STORE, 7001) is False
    assert light.inside.index.contradictory(light.clock.now) == {}
    light.tell("transaction.updated", sold(status="failed"))
    light.inside.translate()
    assert light.inside.index.contradictory(light.clock.now) == {}  # nor because it is told again
    assert light.inside.index.contradictory(light.clock.now + 3600) == {STORE: 7001}
    assert light.inside.reread(STORE, 7001) is None  # another worker has it in hand


def reread(bridge: InProcessBridge) -> None:
    """Read again what is in doubt, as the worker does in its spare time."""
    for store, ident in bridge.inside.index.contradictory(bridge.clock.now).items():
        assert bridge.inside.reread(store, ident) is True


def _facts(told: Json) -> Json:
    """What the stand-in wants to know of a transaction."""
    names = ("amount", "auth_code", "currency", "date_created", "external_id", "network_transaction_id")
    details = ("bankcard_first_six", "bankcard_last_four", "is_3ds")
    return {
        **{name: told[name] for name in (*names, "order", "status", "type", "is_test")},
        **{name: told["payment_details"][name] for name in details},
    }
