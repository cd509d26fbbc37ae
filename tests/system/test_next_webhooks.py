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
from sqlalchemy import select

from bridge.sandbox import STORE, Sandbox
from bridge.tables import transactions, webhooks
from tests.support.desk import NEXT_SECRET, Desk, Json, desk

ODD = {"naïve": "Zoë \u2028 ☂ 𝄞", "float": 10.10, "small": 1e-07, "large": 12345678901234567890, "none": None}
"""Values that another writer of JSON spells in another way."""


@pytest.fixture
def shop(database_url: str) -> Iterator[Desk]:
    with desk(database_url) as made:
        yield made


@pytest.fixture
def light(make_database: Any) -> Iterator[Desk]:
    """A bridge for what no database has a part in."""
    with make_database("sqlite") as url, desk(url) as made:
        yield made


def sold(**changes: Any) -> Json:
    """A transaction as 29next tells it, with all that it says of the customer."""
    return {
        "id": 7001,
        "amount": "40.00",
        "amount_available_for_refund": "40.00",
        "attribution": {"utm_source": "newsletter"},
        "auth_code": "A1B2C3",
        "currency": "USD",
        "date_created": "2026-02-28T12:00:00Z",
        "external_id": "pi_0000000000007001",
        "initiator": {"id": 3, "email": "agent@example.com"},
        "is_disputed": False,
        "is_external": False,
        "is_test": None,
        "network_transaction_id": "300000000007001",
        "order": "1701",
        "parent_id": None,
        "payment_details": {
            "bankcard_first_six": "424242",
            "bankcard_last_four": "0042",
            "card_token": "tok_0001",
            "gateway": {"id": 1, "name": "A Gateway", "type": "test"},
            "is_3ds": True,
        },
        "payment_method": "bankcard",
        "response_code": 100,
        "statement_descriptor": "SHOP*TEST",
        "status": "succeeded",
        "subscription": {"id": 5},
        "type": "debit",
        "user": {"id": 9, "email": "customer@example.com", "first_name": "Zoë", "ip": "198.51.100.7"},
        **changes,
    }


def event(data: Json | None = None, kind: str = "transaction.created", **changes: Any) -> Json:
    return {
        "object": kind.partition(".")[0],
        "data": data or sold(),
        "event_id": "a7a26ff2-0000-4000-8000-d595f45458b7",
        "event_type": kind,
        "webhook": {"id": 1, "store": STORE, "target": "https://alerts.example.com/webhooks/next"},
        "api_version": "2023-02-10",
        **changes,
    }


def signature(body: bytes, secret: str = NEXT_SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(shop: Desk, body: bytes, signed: str | None, path: str = "/webhooks/next") -> int:
    headers = {"Content-Type": "application/json"} | (
        {} if signed is None else {"X-29Next-Signature": signed}
    )
    return shop.client.post(path, data=body, headers=headers).status_code


def index(shop: Desk) -> list[Json]:
    with shop.database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(transactions))]


# --- signatures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["as it is", "compact", "unicode", "indented", "other floats"])
def test_a_body_signed_raw_or_as_python_writes_it_again_is_taken(light: Desk, spelling: str) -> None:
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
def test_a_wrong_signature_is_refused(light: Desk, signed: str | None, message: str) -> None:
    headers = {} if signed is None else {"X-29Next-Signature": signed.encode().decode("latin-1")}
    answer = light.client.post("/webhooks/next", data=json.dumps(event()), headers=headers)
    assert answer.status_code == 401
    assert answer.json == {"error": "bad_proof", "message": message}
    assert light.deliveries() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff\xfe{}"])
def test_a_body_that_does_not_parse_is_judged_by_its_bytes(light: Desk, body: bytes) -> None:
    assert post(light, body, signature(b"{}")) == 401
    assert post(light, body, signature(body)) == 200


def test_the_previous_secret_is_taken_while_it_is_rotated(light: Desk) -> None:
    secrets = {**light.settings.secrets, "next": ("the-secret-that-is-new", NEXT_SECRET)}
    light.app.extensions["settings"] = dataclasses.replace(light.settings, secrets=secrets)
    body = json.dumps(event(), ensure_ascii=False).encode()
    assert post(light, body, signature(json.dumps(event()).encode())) == 200
    assert post(light, body, signature(body, "the-secret-that-is-new")) == 200
    assert post(light, body, signature(body, "the-secret-before-both")) == 401


def test_a_webhook_that_is_replayed_adds_nothing(shop: Desk) -> None:
    body = json.dumps(event()).encode()
    newer = json.dumps(event(sold(is_disputed=True), "transaction.updated", event_id="newer")).encode()
    for sent in (body, newer, body, body, newer):
        assert post(shop, sent, signature(sent)) == 200
    shop.work()
    assert len(shop.deliveries()) == 2
    (row,) = index(shop)
    assert (row["is_disputed"], row["reread_at"]) == (True, None)


# --- what is kept ---------------------------------------------------------------------------------


def test_a_transaction_is_kept_as_far_as_matching_needs_it(shop: Desk) -> None:
    assert shop.tell("transaction.created", sold()) == 200
    shop.work()
    assert index(shop) == [
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


def test_nothing_of_the_customer_is_kept_anywhere(shop: Desk) -> None:
    shop.tell("transaction.created", sold())
    shop.work()
    with shop.database.read() as connection:
        (body,) = connection.execute(select(webhooks.c.body)).scalars()
    for private in (b"customer@example.com", b"198.51.100.7", b"agent@", b"newsletter", b"tok_0001", b"Zo"):
        assert private not in body
    assert json.loads(body)["data"]["auth_code"] == "A1B2C3"


def test_an_identifier_that_looks_like_a_card_number_survives(shop: Desk) -> None:
    looks = {"network_transaction_id": "371449635398431", "external_id": "4111111111111111"}
    shop.tell("transaction.created", sold(**looks))
    shop.work()
    (row,) = index(shop)
    assert {name: row[name] for name in looks} == looks


@pytest.mark.both_databases
def test_a_test_transaction_is_left_out_and_one_that_turns_out_to_be_one_is_removed(shop: Desk) -> None:
    shop.tell("transaction.created", sold(is_test=True))
    shop.work()
    assert index(shop) == []
    shop.tell("transaction.created", sold())
    shop.work()
    shop.tell("transaction.updated", sold(is_test=True))
    shop.work()
    assert index(shop) == []


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
def test_what_has_no_id_fails_visibly(light: Desk, data: Json) -> None:
    assert light.tell("transaction.created", data or {"nothing": 1}) == 200
    light.work()
    (row,) = light.deliveries()
    assert (row["status"], row["reason"]) == ("failed", "untranslatable")
    assert list(row["errors"]) == ["data.id"]


def test_odd_values_break_nothing(shop: Desk) -> None:
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
    shop.tell("transaction.created", sold(**odd))
    shop.tell("dispute.created", {"id": 5, "type": "alert", "case_number": "\u0000", "resolution": []})
    shop.tell("dispute.created", {"id": 6, "type": "question", "case_number": "C-6"})
    shop.work()
    assert {row["status"] for row in shop.deliveries()} == {"ignored"}
    (row,) = index(shop)
    assert (row["auth_code"], row["parent_id"], row["is_disputed"]) == ("000123", None, None)


# --- the store -----------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [STORE, f"{STORE}.29next.store", "whatever"])
def test_with_a_single_store_every_webhook_is_its_own(light: Desk, named: str) -> None:
    body = json.dumps(event(webhook={"store": named})).encode()
    post(light, body, signature(body))
    light.work()
    assert [row["store"] for row in index(light)] == [STORE]


def test_among_several_stores_the_path_or_the_webhook_says_which(make_database: Any) -> None:
    with make_database("sqlite") as url, Sandbox(rate=0) as sandbox, desk(url, sandbox=sandbox) as shop:
        beta = dataclasses.replace(shop.store, name="beta", base_url="https://shop-b.29next.store/api/admin/")
        stores = {**shop.settings.stores, "beta": beta}
        shop.judge.settings = dataclasses.replace(shop.settings, stores=stores)
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
            assert post(shop, body, signature(body), path) == 200
        shop.inbox.translate(shop.judge.verdict, 50)
        rows = {row["event_id"]: row for row in shop.deliveries()}
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
def test_events_in_any_order_and_repeated_leave_the_newest_state(light: Desk, order: tuple[int, ...]) -> None:
    truth = {**LIFE[-1], "is_test": False}
    light.sandbox.add_transaction(STORE, id=7001, **_facts(truth))
    light.sandbox.add_dispute(STORE, type="alert", transaction=7001)
    for number in (*order, *order):
        light.tell("transaction.updated", LIFE[number])
        light.work()
        reread(light)
    (row,) = index(light)
    assert (row["status"], row["auth_code"], row["is_disputed"]) == ("succeeded", "A1B2C3", True)
    assert row["reread_at"] is None


def test_a_status_never_goes_backwards_before_it_was_read_again(light: Desk) -> None:
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
def test_a_contradiction_is_read_again_and_29next_is_believed(light: Desk, changes: Json) -> None:
    truth = sold(is_test=False)
    light.sandbox.add_transaction(STORE, id=7001, **_facts(truth))
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


def test_the_same_values_in_another_spelling_contradict_nothing(light: Desk) -> None:
    light.tell("transaction.created", sold())
    light.tell("transaction.updated", sold(amount="40.0", date_created="2026-02-28T12:00:00+00:00"))
    light.tell("transaction.updated", sold(auth_code=" a1b2c3", order="#1701"))
    light.work()
    assert index(light)[0]["reread_at"] is None


def test_an_agreeing_telling_does_not_end_a_doubt(light: Desk) -> None:
    for state in (sold(), sold(status="failed"), sold(), sold()):
        light.tell("transaction.updated", state)
        light.work()
    assert index(light)[0]["reread_at"] is not None


def test_a_transaction_that_29next_does_not_know_any_more_is_forgotten(light: Desk) -> None:
    for state in (sold(), sold(status="failed")):
        light.tell("transaction.updated", state)
        light.work()
    reread(light)
    assert index(light) == []


def test_a_contradiction_that_cannot_be_read_waits_and_is_not_asked_for_at_once(light: Desk) -> None:
    for state in (sold(), sold(status="failed")):
        light.tell("transaction.updated", state)
        light.work()
    light.sandbox.stop()
    assert light.forwarder.reread(STORE, 7001) == "temporary"
    assert light.inbox.index.doubted(light.clock.now) == {}
    light.tell("transaction.updated", sold(status="failed"))
    light.inbox.translate(light.judge.verdict, 50)
    assert light.inbox.index.doubted(light.clock.now) == {}  # nor because it is told again
    assert light.inbox.index.doubted(light.clock.now + 3600) == {STORE: 7001}
    assert light.forwarder.reread(STORE, 7001) == "lost"  # another worker has it in hand


def reread(shop: Desk) -> None:
    """Read again what is in doubt, as the worker does in its spare time."""
    for store, ident in shop.inbox.index.doubted(shop.clock.now).items():
        assert shop.forwarder.reread(store, ident) == "ok"


def _facts(told: Json) -> Json:
    """What the sandbox wants to know of a transaction."""
    names = ("amount", "auth_code", "currency", "date_created", "external_id", "network_transaction_id")
    details = ("bankcard_first_six", "bankcard_last_four", "is_3ds")
    return {
        **{name: told[name] for name in (*names, "order", "status", "type", "is_test")},
        **{name: told["payment_details"][name] for name in details},
    }
