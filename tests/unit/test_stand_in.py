"""The stand-in for 29next: its rules, its ledger and its faults, seen through HTTP, and the referee."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.clock import Clock, eventually
from tests.support.next29 import (
    FAULTS,
    SAMPLE_TRANSACTIONS,
    STORE,
    TOKEN,
    VERSIONS,
    Call,
    Commit,
    Does,
    Fault,
    Faults,
    Ledger,
    StandIn,
    fault,
)
from tests.support.next29.callers import Caller, stand_in_here
from tests.support.next29.process import StandInProcess, stand_in_process
from tests.support.next29.replies import Refusal
from tests.support.openapi import OFFICIAL, Referee, referee, validate_request, validate_response
from tests.support.webhooks import Json

ALERT: Json = {
    "amount": "340.60",
    "arn": "64738272371643523456435",
    "case_number": "A-1",
    "currency": "USD",
    "happened_at": "2026-03-01T12:00:00Z",
    "metadata": {"provider": "ethoca"},
    "type": "alert",
}

REFEREES = [False, True] if OFFICIAL.exists() else [False]  # ours, and 29next's where it lies


class Judged(Caller):
    """A caller that shows every call which succeeds to the referees."""

    def __call__(self, method: str, path: str, body: object = None, **options: Any) -> requests.Response:
        answer = super().__call__(method, path, body, **options)
        if answer.ok:
            for official in REFEREES:
                judge = referee(str(self.session.headers["X-29next-API-Version"]), official=official)
                judge.request(method, path, body)
                given = answer.json() if answer.content else None
                judge.response(method, path, answer.status_code, given)
        return answer


@pytest.fixture
def clock() -> Clock:
    """Stands still until a test moves it."""
    return Clock(datetime(2026, 3, 1, tzinfo=UTC).timestamp(), step=0.0)


@pytest.fixture
def next29(clock: Clock) -> Iterator[StandIn]:
    with StandIn(rate=0, page_size=3, clock=clock) as next29:
        yield next29


@pytest.fixture
def call(next29: StandIn) -> Iterator[Caller]:
    with Judged(next29.base_url) as call:
        yield call


@pytest.fixture
def plain(next29: StandIn) -> Iterator[Caller]:
    """A caller for what no referee would let pass."""
    with Caller(next29.base_url) as call:
        yield call


@pytest.fixture
def sale(next29: StandIn) -> int:
    """A transaction to dispute."""
    return int(next29.add_transaction(amount="340.60", order="77", auth_code="SALE01")["id"])


def created(call: Caller, **fields: Any) -> Json:
    answer = call("POST", "/disputes/", {**ALERT, **fields})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def found(call: Caller, path: str) -> list[int]:
    """The ids that a list gives, over all its pages."""
    ids = []
    page = call("GET", path).json()
    while True:
        ids += [row["id"] for row in page["results"]]
        if page["next"] is None:
            return ids
        page = call("GET", page["next"].removeprefix(call.base_url)).json()


# --- the way in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Token " + TOKEN])
def test_without_a_known_bearer_token_every_call_is_401(
    next29: StandIn, call: Caller, header: str | None
) -> None:
    answer = call("GET", "/store/", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Invalid token."}
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert next29.ledger.calls[-1].token == ""


@pytest.mark.parametrize("version", [None, "2022-01-01", "latest"])
def test_a_missing_or_unknown_version_is_400(call: Caller, version: str | None) -> None:
    answer = call("GET", "/store/", headers={"X-29next-API-Version": version})
    assert answer.status_code == 400
    assert "X-29next-API-Version" in answer.json()["detail"]


@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_give_the_same(next29: StandIn, version: str) -> None:
    with Judged(next29.base_url, version=version) as call:
        made = created(call)
        assert call("GET", f"/disputes/{made['id']}/").json() == made


def test_the_api_lies_below_any_prefix(next29: StandIn, plain: Caller) -> None:
    plain.base_url = f"http://127.0.0.1:{next29.port}/stores/alpha/api/admin"
    page = plain("GET", "/transactions/").json()
    assert page["next"].startswith(plain.base_url)
    assert plain("GET", page["next"].removeprefix(plain.base_url)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/orders/", 404),
        ("GET", "/disputes", 404),
        ("GET", "/disputes/x/", 404),
        ("GET", "/disputes/1/", 404),
        ("GET", f"/disputes/{'9' * 5000}/", 404),
        ("PATCH", "/disputes/1/", 404),
        ("POST", "/disputes/1/resolve/", 404),
        ("POST", "/disputes/1/notes/", 404),
        ("GET", "/disputes/1/notes/", 404),
        ("GET", "/transactions/1/", 404),
        ("GET", "/orders/1/", 404),
        ("POST", "/transactions/1/refund/", 404),
        ("DELETE", "/webhooks/1/", 404),
        ("PUT", "/disputes/1/", 405),
        ("DELETE", "/disputes/", 405),
        ("POST", "/transactions/", 405),
    ],
)
def test_what_is_not_there_is_404_and_a_method_that_is_not_405(
    call: Caller, method: str, path: str, status: int
) -> None:
    answer = call(method, path, {})
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]


def test_beside_the_api_there_is_nothing(next29: StandIn) -> None:
    answer = requests.get(f"http://127.0.0.1:{next29.port}/admin/", timeout=10)
    assert answer.status_code == 404


def test_the_fifth_call_of_a_second_is_429(next29: StandIn, call: Caller) -> None:
    next29.rate = 4
    answers = [call("GET", "/store/")]
    while answers[-1].ok and len(answers) < 40:  # one after the other, many a second on any machine
        answers.append(call("GET", "/store/"))
    assert len(answers) >= 5
    assert answers[-1].status_code == 429
    assert answers[-1].headers["Retry-After"] == "1"
    assert list(answers[-1].json()) == ["detail"]


def test_the_second_of_the_limit_slides_and_each_token_has_its_own(next29: StandIn) -> None:
    next29.rate = 4
    next29.add_token("other")

    def answered(at: float, token: str = TOKEN) -> int:
        headers = Message()
        headers["Authorization"] = f"Bearer {token}"
        headers["X-29next-API-Version"] = VERSIONS[0]
        try:
            next29.admit(next29.access(headers), "GET", "/store/", headers, at)
        except Refusal as refusal:
            return refusal.reply.status
        return 200

    assert [answered(at) for at in (0.0, 0.5, 0.6, 0.7, 0.9)] == [200, 200, 200, 200, 429]
    assert answered(0.95, "other") == 200
    # At 1.0 the call at 0.0 has left the window, and the refused one at 0.9 never was in it.
    assert [answered(at) for at in (1.0, 1.49, 1.5)] == [200, 429, 200]


@pytest.mark.parametrize(
    ("scopes", "statuses"),
    [
        (["disputes:read"], [200, 403, 403, 403]),
        (["disputes:write"], [403, 201, 403, 403]),
        (["transactions:read"], [403, 403, 200, 403]),
        (["orders:read"], [403, 403, 403, 200]),
        (["admin:read"], [200, 403, 200, 200]),
        ([], [403, 403, 403, 403]),
    ],
)
def test_a_call_without_its_scope_is_403(next29: StandIn, scopes: list[str], statuses: list[int]) -> None:
    next29.add_token("narrow", scopes=scopes)
    with Judged(next29.base_url, "narrow") as call:
        answers = [
            call("GET", "/disputes/"),
            call("POST", "/disputes/", ALERT),
            call("GET", "/transactions/"),
            call("GET", "/orders/100001/"),
        ]
    assert [answer.status_code for answer in answers] == statuses
    assert all("permission" in one.json()["detail"] for one in answers if not one.ok)


def test_a_revoked_token_is_401(next29: StandIn, call: Caller) -> None:
    next29.revoke(TOKEN)
    assert call("GET", "/store/").status_code == 401


# --- disputes -----------------------------------------------------------------------------------


def test_a_dispute_is_created_and_retrieved(call: Caller, clock: Clock, sale: int) -> None:
    made = created(call, transaction=sale, amount="340.6", happened_at="2026-03-01T14:00:00+02:00")
    assert made == {
        **ALERT,
        "date_created": "2026-03-01T00:00:00Z",
        "id": made["id"],
        "order": 77,
        "report_amount": "340.60",
        "report_currency": "USD",
        "resolution": None,
        "resolution_other_message": None,
        "status": "open",
        "transaction": sale,
    }
    assert call("GET", f"/disputes/{made['id']}/").json() == made
    assert clock() == datetime.fromisoformat(made["date_created"]).timestamp()


def test_all_fields_of_a_dispute_are_optional(call: Caller) -> None:
    made = call("POST", "/disputes/", {}).json()
    assert (made["type"], made["status"], made["happened_at"]) == (
        "alert",
        "new",
        "2026-03-01T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("amount", [10, 10.5, "1234567", "1.005", "1e3", "1,00", " 1", "", "-", "\u0661", True]),
        ("arn", [12345678901234567890123, [], "a\0b", "\ud800"]),
        ("case_number", [7, {}, "a\0b"]),
        ("currency", ["usd", "US", "USDT", 840, ""]),
        ("happened_at", [None, "", "today", "2026-03-01", "2026-03-01T12:00:00", 1772366400]),
        ("happened_at", ["2026-02-30T12:00:00Z", "0001-01-01T00:00:00+23:00"]),
        ("metadata", [None, "x", [], 1]),
        ("resolution", ["won", "refunded", 1]),
        ("resolution_other_message", [1, {}]),
        ("transaction", [999, "1001", 10.0, True, [1001]]),
        ("type", [None, "", "Alert", "retrieval", []]),
        ("id", [1]),
        ("status", ["new"]),
        ("order", [1]),
        ("date_created", ["2026-03-01T12:00:00Z"]),
        ("report_amount", ["1.00"]),
        ("report_currency", ["USD"]),
        ("idempotency_key", ["x"]),
    ],
)
def test_a_bad_read_only_or_unknown_field_is_400_by_its_name(
    next29: StandIn, call: Caller, field: str, values: list[object]
) -> None:
    for value in values:
        answer = call("POST", "/disputes/", {**ALERT, field: value})
        assert answer.status_code == 400, value
        assert list(answer.json()) == [field]
        assert all(isinstance(text, str) for text in answer.json()[field])
    assert next29.ledger.disputes == []


def test_all_bad_fields_are_named_at_once(call: Caller) -> None:
    bad = {"amount": "x", "currency": "usd", "id": 1, "transaction": 5}
    assert call("POST", "/disputes/", bad).json().keys() == bad.keys()


@pytest.mark.parametrize(
    ("body", "kind", "status", "where"),
    [
        (b"[]", "application/json", 400, "non_field_errors"),
        (b'"x"', "application/json", 400, "non_field_errors"),
        (b"{", "application/json", 400, "detail"),
        (b'{"amount": NaN}', "application/json", 400, "detail"),
        (b"\xff", "application/json", 400, "detail"),
        (b"[" * 100_000, "application/json", 400, "detail"),
        (b"amount=1", "application/x-www-form-urlencoded", 415, "detail"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    call: Caller, body: bytes, kind: str, status: int, where: str
) -> None:
    answer = call("POST", "/disputes/", data=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert list(answer.json()) == [where]
    assert call("GET", "/store/").status_code == 200  # on the same connection


def test_a_body_without_a_length_is_refused(call: Caller) -> None:
    assert call("POST", "/disputes/", data=iter([b"{}"])).status_code == 411


def test_a_transaction_takes_one_alert_and_one_chargeback(call: Caller, sale: int) -> None:
    created(call, transaction=sale)
    created(call, transaction=sale, type="chargeback")
    for kind in ("alert", "chargeback"):
        again = call("POST", "/disputes/", {**ALERT, "transaction": sale, "type": kind})
        assert again.status_code == 400
        assert list(again.json()) == ["transaction"]
    other = created(call)
    assert call("PATCH", f"/disputes/{other['id']}/", {"transaction": sale}).status_code == 400


def test_metadata_keys_can_be_constrained(next29: StandIn, call: Caller) -> None:
    next29.add_token(TOKEN, metadata_keys=["provider"])
    assert created(call)["metadata"] == {"provider": "ethoca"}
    answer = call("POST", "/disputes/", {**ALERT, "metadata": {"provider": "x", "mood": "bad"}})
    assert answer.json() == {"metadata": ["Unknown key: mood."]}
    next29.reset()
    assert call("POST", "/disputes/", {**ALERT, "metadata": {"mood": 1}}).status_code == 400


def test_a_dispute_is_matched_later(call: Caller, sale: int) -> None:
    made = created(call)
    assert (made["status"], made["order"]) == ("new", None)
    later = call("PATCH", f"/disputes/{made['id']}/", {"transaction": sale}).json()
    assert later == {**made, "transaction": sale, "status": "open", "order": 77}
    assert call("GET", f"/transactions/{sale}/").json()["is_disputed"]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "chargeback"},
        {"type": "alert"},
        {"happened_at": ALERT["happened_at"]},
        {"status": "resolved"},
        {"id": 5},
        {"mood": "bad"},
        {"amount": 3},
    ],
)
def test_what_cannot_change_is_refused(call: Caller, change: Json) -> None:
    made = created(call)
    answer = call("PATCH", f"/disputes/{made['id']}/", change)
    assert answer.status_code == 400
    assert answer.json().keys() == change.keys()
    assert call("GET", f"/disputes/{made['id']}/").json() == made


@pytest.mark.parametrize(
    ("kind", "resolution", "refused"),
    [
        ("alert", "issued_full_refund", []),
        ("alert", "3ds_authorized_successfully", []),
        ("alert", "won", ["resolution"]),
        ("alert", "accepted", ["resolution"]),
        ("alert", "refunded", ["resolution"]),
        ("alert", None, ["resolution"]),
        ("alert", "", ["resolution"]),
        ("alert", "other", ["resolution_other_message"]),
        ("chargeback", "won", []),
        ("chargeback", "lost", []),
        ("chargeback", "accepted", []),
        ("chargeback", "issued_full_refund", ["resolution"]),
        ("chargeback", "other", ["resolution", "resolution_other_message"]),
    ],
)
def test_a_resolution_fits_the_type(
    call: Caller, kind: str, resolution: str | None, refused: list[str]
) -> None:
    made = created(call, type=kind)
    answer = call("POST", f"/disputes/{made['id']}/resolve/", {"resolution": resolution})
    if refused:
        assert (answer.status_code, list(answer.json())) == (400, refused)
    else:
        resolved = {**made, "status": "resolved", "resolution": resolution}
        assert (answer.status_code, answer.json()) == (200, resolved)


def test_other_is_resolved_with_its_message(call: Caller) -> None:
    made = created(call)
    body = {"resolution": "other", "resolution_other_message": "withdrawn"}
    assert call("POST", f"/disputes/{made['id']}/resolve/", body).json()["status"] == "resolved"


def test_resolving_with_an_external_refund_records_one(next29: StandIn, call: Caller, sale: int) -> None:
    made = created(call, transaction=sale, amount="300.00")
    body = {"resolution": "issued_full_refund", "create_external_refund": True}
    assert call("POST", f"/disputes/{made['id']}/resolve/", body).json()["status"] == "resolved"
    refund = call("GET", "/transactions/?type=refund").json()["results"][0]
    assert (refund["parent_id"], refund["amount"], refund["is_external"]) == (sale, "300.00", True)
    assert call("GET", f"/transactions/{sale}/").json()["amount_available_for_refund"] == "40.60"
    assert next29.ledger.refunds == [
        {
            "id": refund["id"],
            "transaction": sale,
            "amount": "300.00",
            "is_external": True,
            "notified": False,
        }
    ]


def test_there_is_no_external_refund_without_a_transaction(next29: StandIn, call: Caller) -> None:
    made = created(call)
    body = {"resolution": "issued_full_refund", "create_external_refund": True}
    answer = call("POST", f"/disputes/{made['id']}/resolve/", body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["create_external_refund"]
    assert next29.ledger.committed("resolution") == []


def test_notes_are_added_and_listed(call: Caller) -> None:
    path = f"/disputes/{created(call)['id']}/notes/"
    first = call("POST", path, {"message": "Reported by Ethoca"}).json()
    second = call("POST", path, {"message": "Late"}).json()
    assert call("GET", path).json()["results"] == [second, first]
    assert call("POST", path, {"message": " "}).json().keys() == {"message"}
    assert call("POST", path, {}).json().keys() == {"message"}


# --- lists --------------------------------------------------------------------------------------

FACTS: Json = {
    "amount": "12.34",
    "auth_code": "AC0001",
    "bankcard_first_six": "455555",
    "bankcard_last_four": "0042",
    "card_type": "jcb",
    "currency": "EUR",
    "date_created": "2026-02-10T23:59:59Z",
    "external_id": "pi_1",
    "gateway_id": 9,
    "is_3ds": True,
    "is_external": True,
    "is_test": True,
    "network_transaction_id": "00123",
    "order": "4711",
    "payment_method": "apple_pay",
    "status": "failed",
    "type": "authorize",
}


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("auth_code=AC0001", True),
        ("auth_code=AC0002", False),
        ("network_transaction_id=00123", True),
        ("network_transaction_id=123", False),
        ("bankcard_first_six=455555&bankcard_last_four=0042", True),
        ("bankcard_first_six=455555&bankcard_last_four=42", False),
        ("amount_min=12.34&amount_max=12.34", True),
        ("amount_min=12.35", False),
        ("amount_max=12.33", False),
        ("currency=EUR", True),
        ("currency=USD", False),
        ("date_created_from=2026-02-10&date_created_to=2026-02-10", True),
        ("date_created_from=2026-02-11", False),
        ("date_created_to=2026-02-09", False),
        ("external_id=pi_1", True),
        ("external_id=pi_2", False),
        ("type=authorize", True),
        ("type=debit", False),
        ("status=failed", True),
        ("status=succeeded", False),
        ("is_test=true", True),
        ("is_test=false", False),
        ("is_external=true", True),
        ("is_external=false", False),
        ("is_3ds=true", True),
        ("card_type=visa&card_type=jcb", True),
        ("card_type=visa", False),
        ("gateway_id=9", True),
        ("gateway_id=8", False),
        ("payment_method=apple_pay", True),
        ("payment_method=bankcard", False),
    ],
)
def test_transactions_are_found_by_each_filter(
    next29: StandIn, call: Caller, query: str, there: bool
) -> None:
    wanted = next29.add_transaction(**FACTS)["id"]
    assert (wanted in found(call, f"/transactions/?{query}")) is there


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("case_number=A-1", True),
        ("case_number=A", False),
        ("case_number=a-1", False),
        ("type=alert", True),
        ("type=chargeback", False),
        ("status=open", True),
        ("status=new", False),
        ("resolution=won", False),
        ("auth_code=AC0001", True),
        ("auth_code=AC0002", False),
        ("network_transaction_id=00123", True),
        ("network_transaction_id=9", False),
        ("order_number=4711", True),
        ("order_number=4712", False),
        ("card_first_six=455555&card_last_four=0042", True),
        ("card_last_four=0043", False),
        ("card_type=jcb", True),
        ("card_type=visa", False),
        ("gateway_id=9", True),
        ("gateway_id=1", False),
        ("payment_method=apple_pay", True),
        ("payment_method=bankcard", False),
        ("dispute_date_from=2026-03-01&dispute_date_to=2026-03-01", True),
        ("dispute_date_from=2026-03-02", False),
        ("dispute_date_to=2026-02-28", False),
    ],
)
def test_disputes_are_found_by_each_filter(next29: StandIn, call: Caller, query: str, there: bool) -> None:
    wanted = created(call, transaction=next29.add_transaction(**FACTS)["id"])["id"]
    assert (wanted in found(call, f"/disputes/?{query}")) is there


def test_disputes_are_found_by_their_ids(call: Caller, sale: int) -> None:
    unmatched, matched = created(call)["id"], created(call, transaction=sale)["id"]
    assert found(call, f"/disputes/?id={unmatched}") == [unmatched]
    assert found(call, f"/disputes/?transaction_id={sale}") == [matched]


def test_an_unmatched_dispute_is_not_found_by_facts_of_transactions(call: Caller) -> None:
    created(call)
    for query in ("card_type=visa", "gateway_id=1", "payment_method=bankcard"):
        assert found(call, f"/disputes/?{query}") == []


def test_a_changed_case_number_is_found_under_the_new_one(call: Caller) -> None:
    made = created(call)["id"]
    call("PATCH", f"/disputes/{made}/", {"case_number": "B-2"})
    assert found(call, "/disputes/?case_number=A-1") == []
    assert found(call, "/disputes/?case_number=B-2") == [made]


@pytest.mark.parametrize("query", ["arn=1", "auth_code=", "order=4711", "statement_descriptor=x"])
def test_an_empty_or_unknown_filter_filters_nothing(plain: Caller, query: str) -> None:
    assert len(found(plain, f"/transactions/?{query}")) == len(SAMPLE_TRANSACTIONS)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/transactions/", "amount_min=ten"),
        ("/transactions/", "amount_max=NaN"),
        ("/transactions/", "date_created_from=yesterday"),
        ("/transactions/", "type=sale"),
        ("/transactions/", "is_test=maybe"),
        ("/transactions/", "gateway_id=x"),
        ("/disputes/", "status=closed"),
        ("/disputes/", "resolution=gone"),
        ("/disputes/", "dispute_date_to=2026-02-30"),
    ],
)
def test_a_filter_that_does_not_read_is_400_by_its_name(plain: Caller, path: str, query: str) -> None:
    answer = plain("GET", f"{path}?{query}")
    assert answer.status_code == 400
    assert list(answer.json()) == [query.partition("=")[0]]


def test_pages_lead_forward_and_back_and_keep_the_filters(call: Caller) -> None:
    ids = [created(call, case_number="same")["id"] for _ in range(8)]
    created(call, case_number="other")
    pages = [call("GET", "/disputes/?case_number=same").json()]
    while pages[-1]["next"]:
        pages.append(call("GET", pages[-1]["next"].removeprefix(call.base_url)).json())
    assert [row["id"] for page in pages for row in page["results"]] == ids[::-1]
    assert [len(page["results"]) for page in pages] == [3, 3, 2]

    back = call("GET", pages[2]["previous"].removeprefix(call.base_url)).json()
    assert back["results"] == pages[1]["results"]
    first = call("GET", back["previous"].removeprefix(call.base_url)).json()
    assert (first["results"], first["previous"]) == (pages[0]["results"], None)
    assert pages[0]["previous"] is None


@pytest.mark.parametrize("cursor", ["x", "cD0=", "\u00e4", "cD1hYmM="])
def test_an_invalid_cursor_is_404(call: Caller, cursor: str) -> None:
    answer = call("GET", "/disputes/", params={"cursor": cursor})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Invalid cursor"})


# --- transactions, webhooks, the store ----------------------------------------------------------


def test_list_rows_say_less_than_a_transaction(next29: StandIn, call: Caller) -> None:
    made = next29.add_transaction(**FACTS, statement_descriptor="SHOP*1")
    assert call("GET", f"/transactions/{made['id']}/").json() == made
    row = call("GET", "/transactions/?auth_code=AC0001").json()["results"][0]
    assert made.keys() - row.keys() == {"statement_descriptor", "is_test", "report_values"}
    assert row.items() <= made.items()


def test_an_order_shows_its_transactions_and_says_for_all_of_them_what_they_share(
    next29: StandIn, call: Caller, sale: int
) -> None:
    next29.add_transaction(order="78")
    call("POST", f"/transactions/{sale}/refund/", {"amount": "1.00"})
    order = call("GET", "/orders/77/").json()
    assert (order["number"], order["is_test"]) == ("77", False)
    assert [row["type"] for row in order["transactions"]] == ["refund", "debit"]
    debit = order["transactions"][1]
    alone = call("GET", f"/transactions/{sale}/").json()
    assert debit.items() <= alone.items()
    assert not {"order", "amount_available_for_refund"} & debit.keys()


def test_the_samples_are_there_at_first(call: Caller) -> None:
    assert len(found(call, "/transactions/")) == len(SAMPLE_TRANSACTIONS)
    assert len(found(call, "/transactions/?auth_code=12345678&currency=USD")) == 1


def test_an_external_refund_is_recorded(next29: StandIn, call: Caller, sale: int) -> None:
    body = {"amount": "340.60", "is_external": True, "send_refund_notification": False}
    refund = call("POST", f"/transactions/{sale}/refund/", body).json()
    assert (refund["type"], refund["parent_id"], refund["is_external"]) == ("refund", sale, True)
    assert refund["order"] == "77"
    assert next29.ledger.refunds[0]["notified"] is False
    # A record of what the gateway did: taken again, so that doing it twice is seen.
    assert call("POST", f"/transactions/{sale}/refund/", body).status_code == 200
    assert next29.ledger.doubled("refund") == {(STORE, sale): 2}


def test_a_refund_notifies_the_customer_unless_told_not_to(next29: StandIn, call: Caller, sale: int) -> None:
    call("POST", f"/transactions/{sale}/refund/", {"amount": "1.00"})
    assert next29.ledger.refunds[0]["notified"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": "0.00"}, "amount"),
        ({"amount": "-1.00"}, "amount"),
        ({"amount": "340.61"}, "amount"),
        ({"amount": 5}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "1.00", "is_external": "yes"}, "is_external"),
        ({"amount": "1.00", "currency": "USD"}, "currency"),
    ],
)
def test_a_bad_refund_is_400(call: Caller, sale: int, body: Json, field: str) -> None:
    answer = call("POST", f"/transactions/{sale}/refund/", body)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_only_a_debit_that_succeeded_is_refunded(next29: StandIn, call: Caller) -> None:
    for facts in ({"type": "authorize"}, {"type": "refund"}, {"status": "failed"}):
        number = next29.add_transaction(**facts)["id"]
        answer = call("POST", f"/transactions/{number}/refund/", {"amount": "1.00"})
        assert (answer.status_code, "non_field_errors" in answer.json()) == (400, True)


def test_the_store_shows_itself(call: Caller) -> None:
    assert call("GET", "/store/").json()[0]["name"] == STORE


def test_webhooks_are_created_listed_changed_and_deleted(call: Caller) -> None:
    body = {"target": "https://bridge.example.com/webhooks/next", "events": ["dispute.created"]}
    made = call("POST", "/webhooks/", body).json()
    assert made["active"]
    assert made["secret_key"]
    path = f"/webhooks/{made['id']}/"
    changed = call("PATCH", path, {"active": False}).json()
    assert changed == {**made, "active": False}
    assert call("GET", path).json() == changed
    assert found(call, "/webhooks/?active=false") == [made["id"]]
    assert found(call, "/webhooks/?active=true") == []
    answer = call("DELETE", path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert call("GET", path).status_code == 404
    assert call("POST", "/webhooks/", {"target": "ftp://x"}).json().keys() == {"target", "events"}
    assert call("POST", "/webhooks/", {**body, "events": []}).json().keys() == {"events"}


def test_stores_share_nothing(next29: StandIn, call: Caller) -> None:
    next29.add_token("beta-token", "beta")
    created(call)
    with Judged(next29.base_url, "beta-token") as beta:
        assert found(beta, "/disputes/") == []
        assert beta("GET", "/store/").json()[0]["name"] == "beta"
        created(beta)
    assert next29.ledger.doubled() == {}


# --- the ledger ---------------------------------------------------------------------------------


def test_the_ledger_has_every_call_and_what_became_of_it(
    next29: StandIn, plain: Caller, clock: Clock
) -> None:
    before = time.monotonic()
    plain("POST", "/disputes/", ALERT)
    plain("GET", "/disputes/?case_number=A-1")
    plain("POST", "/disputes/", data="{", headers={"Content-Type": "application/json"})
    plain("POST", "/disputes/", {"a": 1}, headers={"Authorization": "Bearer secret"})
    calls = next29.ledger.calls
    assert [(one.method, one.path, one.query, one.body, one.status) for one in calls] == [
        ("POST", "/disputes/", "", ALERT, 201),
        ("GET", "/disputes/", "case_number=A-1", None, 200),
        ("POST", "/disputes/", "", "{", 400),
        ("POST", "/disputes/", "", {"a": 1}, 401),
    ]
    assert [(one.token, one.store) for one in calls] == [(TOKEN, STORE)] * 3 + [("", "")]
    assert before < calls[0].at < calls[-1].at < time.monotonic()
    assert calls[0].wall == clock()


def test_the_ledger_tells_what_was_done_twice(next29: StandIn, call: Caller) -> None:
    first = created(call)["id"]
    created(call, type="chargeback")
    created(call, case_number="A-2")
    assert next29.ledger.doubled() == {}
    created(call, amount="1.00")
    assert next29.ledger.doubled() == {(STORE, "A-1", "alert"): 2}
    for _ in range(2):
        call("POST", f"/disputes/{first}/resolve/", {"resolution": "issued_full_refund"})
        call("POST", f"/disputes/{first}/notes/", {"message": "Late"})
    assert next29.ledger.doubled("resolution") == {(STORE, first): 2}
    assert next29.ledger.doubled("note") == {(STORE, first, "Late"): 2}
    assert next29.ledger.doubled("refund") == {}


LOOK = "/disputes/?case_number=A-1"


@pytest.mark.parametrize(
    ("first", "looks", "blind"),
    [
        ("503", (), True),
        ("503", (LOOK,), True),
        ("503", (LOOK, LOOK), False),
        ("503", (LOOK, "/disputes/?case_number=A-2"), True),
        ("503", ("/transactions/", "/transactions/"), True),
        ("201_empty", (LOOK,), True),
        ("429", (), False),
        ("400", (), False),
    ],
)
def test_the_ledger_tells_what_came_again_without_two_looks(
    next29: StandIn, plain: Caller, first: str, looks: Sequence[str], *, blind: bool
) -> None:
    next29.add_faults(fault(first, method="POST", count=1))
    plain("POST", "/disputes/", ALERT)
    for path in looks:
        plain("GET", path)
    plain("POST", "/disputes/", ALERT)
    assert [one.path for one in next29.ledger.repeated_blindly()] == ["/disputes/"] * blind


def test_two_creations_whose_bodies_were_not_read_may_be_of_two_cases() -> None:
    unread = Call(0, 0, TOKEN, STORE, "POST", "/disputes/", "", fault="refuse")
    change = replace(unread, method="PATCH", path="/disputes/7/")
    ledger = Ledger()
    for call in (unread, unread, change, change):
        ledger.open_call(call)
    assert ledger.repeated_blindly() == [change]


def test_what_somebody_else_did_is_not_in_the_ledger(next29: StandIn, call: Caller) -> None:
    there = next29.add_dispute(**ALERT)
    assert found(call, "/disputes/?case_number=A-1") == [there["id"]]
    assert next29.ledger.disputes == []


def test_the_busiest_second_is_of_one_token_and_slides() -> None:
    ledger = Ledger()
    for token, at in [("a", [0.0, 0.5, 0.99, 1.0, 1.4, 3.0]), ("b", [0.2, 0.4]), ("", [0.0] * 9)]:
        for one in at:
            ledger.open_call(Call(one, 0.0, token, "s", "GET", "/", "", status=429))
    assert ledger.busiest_second("a") == 4  # 0.5, 0.99, 1.0, 1.4
    assert ledger.busiest_second("b") == 2
    assert ledger.busiest_second("c") == 0
    assert ledger.busiest_second() == 4
    assert Ledger().busiest_second() == 0


def test_the_ledger_can_be_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with StandIn(rate=0, ledger_path=path) as next29, Judged(next29.base_url) as call:
        made = created(call)
        call("GET", f"/disputes/{made['id']}/")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["what"], one.get("kind") or one["status"]) for one in rows] == [
        ("commit", "dispute"),
        ("call", 201),
        ("call", 200),
    ]
    assert rows[0]["facts"] == made


# --- faults -------------------------------------------------------------------------------------


def outcome(call: Caller, **options: Any) -> str | int:
    """The status of a new dispute's answer, or what came instead of one."""
    try:
        return call("POST", "/disputes/", ALERT, **options).status_code
    except requests.Timeout:
        return "timeout"
    except requests.ConnectionError as error:
        return "reset" if "ConnectionResetError" in repr(error) else "closed"


def is_seen(outcome: str | int, seen: str | int) -> bool:
    """Whether it is what was to be seen; how a cut shows depends on what is still being sent."""
    return outcome in ("reset", "closed") if seen == "cut" else outcome == seen


# What a caller sees of each named fault, and how many disputes there are soon and in the end.
SEEN: dict[str, tuple[str | int, int, int]] = {
    **{name: (int(name[:3]), 0, 0) for name in FAULTS if name[0] == "4"},
    **{name: (int(name), 0, 0) for name in ("500", "502", "503")},
    **{f"{status}_after": (status, 1, 1) for status in (500, 502, 503)},
    "503_late": (503, 0, 1),
    "201_html": (201, 1, 1),
    "201_empty": (201, 1, 1),
    "201_10mb": (201, 1, 1),
    "201_without_id": (201, 1, 1),
    "redirect": (302, 0, 0),
    "refuse": ("cut", 0, 0),
    "reset": ("reset", 0, 0),
    "reset_after": ("reset", 1, 1),
    "close": ("closed", 0, 0),
    "close_after": ("closed", 1, 1),
    "hang": ("timeout", 0, 0),
    "hang_after": ("timeout", 1, 1),
    "late": ("closed", 0, 1),
    "late_hang": ("timeout", 0, 1),
    "drip": ("timeout", 1, 1),
    "drip_body": (201, 1, 1),
    "latency": (201, 1, 1),
    "list_lag": (201, 1, 1),
    "loose": (201, 1, 1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_shows_one_thing_and_does_another(next29: StandIn, plain: Caller, name: str) -> None:
    seen, soon, later = SEEN[name]
    late = FAULTS[name].commits_after
    next29.add_faults(fault(name, **({"commits_after": 0.2} if late else {})))
    # Of what drips or hangs it is enough to see that nothing whole comes.
    timeout = (10, 0.1 if seen == "timeout" else 10)
    assert is_seen(outcome(plain, stream=True, timeout=timeout), seen)
    struck = "" if name == "loose" else name  # which is for lists only
    eventually(lambda: [call.fault for call in next29.ledger.calls] == [struck])
    if soon or not late:
        eventually(lambda: len(next29.ledger.disputes) == soon)
    eventually(lambda: len(next29.ledger.disputes) == later)


def test_every_fault_is_shown() -> None:
    assert SEEN.keys() == FAULTS.keys()


@pytest.mark.parametrize(
    ("name", "header"),
    [("429", "1"), ("429_absent", None), ("429_huge", "31536000"), ("429_negative", "-5")],
)
def test_retry_after_comes_in_every_form(
    next29: StandIn, plain: Caller, name: str, header: str | None
) -> None:
    next29.add_faults(fault(name))
    assert plain("POST", "/disputes/", ALERT).headers.get("Retry-After") == header


def test_retry_after_comes_as_a_date(next29: StandIn, plain: Caller) -> None:
    next29.add_faults(fault("429_date"))
    text = plain("POST", "/disputes/", ALERT).headers["Retry-After"]
    assert -5 < parsedate_to_datetime(text).timestamp() - time.time() <= 2


def test_unreadable_201s_are_unreadable(next29: StandIn, plain: Caller) -> None:
    names = ("201_html", "201_empty", "201_10mb", "201_without_id")
    next29.add_faults(*(fault(name, count=1) for name in names))
    html, empty, huge, without = (plain("POST", "/disputes/", ALERT) for _ in names)
    assert html.headers["Content-Type"] == "text/html"
    assert html.text.startswith("<!doctype html>")
    assert empty.content == b""
    assert len(huge.content) == 10_000_000
    assert "id" not in without.json()


def test_a_redirect_leads_elsewhere(next29: StandIn, plain: Caller) -> None:
    next29.add_faults(fault("redirect"))
    answer = plain("GET", "/disputes/")
    assert answer.is_redirect
    assert ".invalid/" in answer.headers["Location"]


def test_a_fault_fits_by_method_path_and_token(next29: StandIn, plain: Caller) -> None:
    next29.add_token("beta-token", "beta")
    next29.add_faults(
        fault("409", method="POST", path="/disputes/*/resolve/"),
        fault("422", method="GET", path="/transactions/*"),
        fault("502", path="/store/", token="beta-*"),
    )
    number = created(plain)["id"]
    body = {"resolution": "issued_full_refund"}
    assert plain("POST", f"/disputes/{number}/resolve/", body).status_code == 409
    assert plain("GET", f"/disputes/{number}/").status_code == 200
    assert plain("GET", "/transactions/1001/").status_code == 422
    assert plain("GET", "/store/").status_code == 200
    beta = {"Authorization": "Bearer beta-token"}
    assert plain("GET", "/store/", headers=beta).status_code == 502


def test_a_fault_comes_at_the_nth_call_or_so_many_times(next29: StandIn, plain: Caller) -> None:
    next29.add_faults(fault("500", nth=2), fault("503", count=1))
    assert [outcome(plain) for _ in range(4)] == [503, 500, 201, 201]


def test_a_refused_call_uses_up_no_fault(next29: StandIn, plain: Caller) -> None:
    next29.add_faults(fault("503", nth=1))
    plain("GET", "/store/", headers={"Authorization": "Bearer wrong"})
    assert plain("GET", "/store/").status_code == 503


def test_chance_repeats_with_its_seed() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(fault("503", probability=0.3))
        return [bool(faults.strike("GET", "/", TOKEN)) for _ in range(1000)]

    assert struck(7) == struck(7)
    assert struck(7) != struck(8)
    assert 200 < sum(struck(7)) < 400


def test_faults_end(next29: StandIn, plain: Caller) -> None:
    next29.add_faults(fault("503"))
    assert outcome(plain) == 503
    next29.faults.clear()
    assert outcome(plain) == 201


def test_modifiers_go_together_with_an_ending(next29: StandIn, plain: Caller) -> None:
    next29.add_faults(fault("latency", seconds=0.05), fault("503_after"), fault("400"))
    before = time.monotonic()
    assert outcome(plain) == 503
    assert time.monotonic() - before >= 0.05
    assert next29.ledger.calls[0].fault == "latency, 503_after"


def test_a_new_dispute_can_be_late_in_lists(next29: StandIn, call: Caller, clock: Clock) -> None:
    next29.add_faults(fault("list_lag", seconds=3))
    number = created(call)["id"]
    assert found(call, "/disputes/?case_number=A-1") == []
    assert call("GET", f"/disputes/{number}/").status_code == 200
    clock.now += 2.9
    assert found(call, "/disputes/") == []
    clock.now += 0.2
    assert found(call, "/disputes/?case_number=A-1") == [number]


def test_a_filter_can_match_loosely(next29: StandIn, call: Caller) -> None:
    numbers = [created(call, case_number=one)["id"] for one in ("A-1", "A-10")]
    created(call, case_number="B", type="chargeback")
    next29.add_faults(fault("loose"))
    assert found(call, "/disputes/?case_number=A-1&type=alert") == numbers[::-1]


@pytest.mark.parametrize(("name", "begins"), [("drip", b"H"), ("drip_body", b"{")])
def test_a_dripping_answer_comes_byte_by_byte(next29: StandIn, name: str, begins: bytes) -> None:
    next29.add_faults(fault(name, seconds=3600, nth=1), fault(name, seconds=0))
    request = (
        f"GET /api/admin/transactions/1001/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {TOKEN}\r\nX-29next-API-Version: {VERSIONS[0]}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", next29.port), timeout=10) as connection:
        connection.sendall(request.encode())
        if name == "drip_body":  # the head comes at once
            head = bytearray()
            while not head.endswith(b"\r\n\r\n"):
                head += (byte := connection.recv(1))
                assert byte
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert connection.recv(1) == begins
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    with socket.create_connection(("127.0.0.1", next29.port), timeout=10) as connection:
        connection.sendall(request.encode())
        with connection.makefile("rb") as whole:
            assert json.loads(whole.read().partition(b"\r\n\r\n")[2])["id"] == 1001


def test_a_reset_drops_what_is_still_to_be_committed(next29: StandIn, plain: Caller) -> None:
    next29.add_faults(fault("late", commits_after=0.05, nth=1), fault("late", commits_after=0.1))
    old = next29.ledger
    assert outcome(plain) == "closed"
    next29.reset()
    next29.add_faults(fault("late", commits_after=0.2))
    assert outcome(plain) == "closed"
    eventually(lambda: next29.ledger.disputes)  # it was sent last and is due last
    assert len(next29.ledger.disputes) == 1
    assert old.disputes == []


@pytest.mark.parametrize(
    "bad",
    [
        {"does": "explode"},
        {"does": "reset", "probability": 1.5},
        {"does": "reset", "count": -1},
        {"does": "close", "commits_after": -1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(bad: Json) -> None:
    with pytest.raises(ValueError, match=r"not a valid Does|probability|not negative"):
        Fault(**bad)


# --- its life -----------------------------------------------------------------------------------


def test_a_stopped_stand_in_refuses_and_a_restarted_one_remembers(next29: StandIn, plain: Caller) -> None:
    number = created(plain)["id"]
    next29.stop()
    with pytest.raises(requests.ConnectionError):
        plain("GET", "/store/")
    next29.start()
    assert plain("GET", f"/disputes/{number}/").status_code == 200


def test_stopping_ends_what_hangs(next29: StandIn) -> None:
    next29.add_faults(fault("hang", seconds=3600, commits_after=0))
    with socket.create_connection(("127.0.0.1", next29.port), timeout=10) as connection:
        body = b"{}"
        connection.sendall(
            f"POST /api/admin/disputes/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"X-29next-API-Version: {VERSIONS[0]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        eventually(lambda: next29.ledger.disputes)
        next29.stop()
        assert connection.recv(1) == b""


def test_a_reset_begins_anew_with_the_same_tokens(next29: StandIn, call: Caller) -> None:
    next29.add_token("narrow", "beta", scopes=["disputes:read"])
    next29.add_transaction(amount="1.00")
    next29.add_faults(fault("503", path="/store/"))
    created(call)
    next29.reset()
    assert next29.ledger.calls == []
    assert call("GET", "/store/").status_code == 200
    assert found(call, "/disputes/") == []
    assert len(found(call, "/transactions/")) == len(SAMPLE_TRANSACTIONS)
    narrow = {"Authorization": "Bearer narrow"}
    assert call("GET", "/disputes/", headers=narrow).status_code == 200
    assert call("GET", "/transactions/", headers=narrow).status_code == 403


def test_many_connections_are_served_at_once(next29: StandIn) -> None:
    next29.add_faults(fault("hang", path="/store/", seconds=3600))
    hanging = [socket.create_connection(("127.0.0.1", next29.port), 10) for _ in range(100)]
    try:
        for one in hanging:
            one.sendall(
                b"GET /api/admin/store/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                + TOKEN.encode()
                + b"\r\nX-29next-API-Version: 2023-02-10\r\n\r\n"
            )
        eventually(lambda: len(next29.ledger.calls) == len(hanging))
        with Judged(next29.base_url) as call:
            created(call)
    finally:
        for one in hanging:
            one.close()


# --- a process of its own, and the control surface ----------------------------------------------


@pytest.fixture(scope="module")
def process() -> Iterator[StandInProcess]:
    with stand_in_process("--token", "process-token", "--rate", "0") as process:
        yield process


@pytest.fixture
def far(process: StandInProcess) -> Iterator[Caller]:
    process.control("POST", "reset")
    with Judged(process.base_url, process.token) as call:
        yield call


def test_a_process_of_its_own_takes_options(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    options = ("--page-size", "2", "--seed", "7", "--fault", "503", "--ledger", str(ledger))
    with stand_in_process(*options) as process, Caller(process.base_url) as call:
        assert call("GET", "/transactions/").status_code == 503
        process.clear_faults()
        assert len(call("GET", "/transactions/").json()["results"]) == 2
    assert [json.loads(line)["status"] for line in ledger.read_text().splitlines()] == [503, 200]


def test_another_process_shows_its_ledger_and_disputes(process: StandInProcess, far: Caller) -> None:
    made = created(far)
    created(far)
    summary = process.summary()
    assert summary == {
        "calls": 2,
        "by_status": {"201": 2},
        "by_fault": {},
        "committed": {"dispute": 2},
        "busiest_second": {"process-token": 2},
        "repeated_blindly": [],
        "doubled": {
            "dispute": [[STORE, "A-1", "alert", 2]],
            "resolution": [],
            "refund": [],
            "note": [],
        },
    }
    ledger = process.ledger()
    assert ledger["summary"] == summary
    assert [one["body"] for one in ledger["calls"]] == [ALERT, ALERT]
    assert ledger["commits"][0]["facts"] == made
    assert process.disputes()[0] == {"store": STORE, **made}


def test_another_process_takes_transactions_disputes_and_tokens(process: StandInProcess, far: Caller) -> None:
    process.control("POST", "tokens", {"token": "beta-token", "store": "beta"})
    there = process.control("POST", "transactions", [{"store": "beta", "auth_code": "BETA01"}])
    process.control("POST", "disputes", {"store": "beta", "case_number": "theirs"})
    with Judged(process.base_url, "beta-token") as beta:
        assert found(beta, "/transactions/?auth_code=BETA01") == [there[0]["id"]]
        assert len(found(beta, "/disputes/?case_number=theirs")) == 1
        process.control("POST", "tokens", [{"token": "beta-token", "revoke": True}])
        assert beta("GET", "/store/").status_code == 401
    assert far("GET", "/store/").status_code == 200


def test_another_process_takes_and_ends_faults(process: StandInProcess, far: Caller) -> None:
    process.add_faults(
        {"name": "503_after", "method": "POST", "count": 1},
        {"does": "answer", "status": 418, "path": "/store/"},
        "hang",
    )
    assert outcome(far) == 503
    assert far("GET", "/store/").status_code == 418
    process.clear_faults()
    assert far("GET", "/store/").status_code == 200
    assert process.summary()["by_fault"] == {"503_after": 1, "answer": 1}
    assert len(process.disputes()) == 1


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("faults", {"add": [{"name": "no such"}]}),
        ("faults", {"add": [{"does": "answer", "mood": "bad"}]}),
        ("faults", 5),
        ("transactions", {"mood": "bad"}),
        ("transactions", {"amount": "much"}),
        ("transactions", {"store": "no such"}),
        ("disputes", {"amount": 1}),
        ("tokens", {}),
    ],
)
def test_nonsense_for_the_control_surface_is_400(process: StandInProcess, name: str, body: object) -> None:
    answer = requests.post(process.control_url + name, json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()


def test_the_control_surface_says_what_there_is(process: StandInProcess) -> None:
    answer = requests.get(process.control_url + "nothing", timeout=10)
    assert answer.status_code == 404
    assert "GET /sandbox/ledger" in answer.json()["detail"]


# --- the referee --------------------------------------------------------------------------------


@pytest.fixture(params=REFEREES, ids={False: "ours", True: "29next"}.get)
def judge(request: pytest.FixtureRequest) -> Referee:
    return referee(official=request.param)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/disputes/", {**ALERT, "amount": 10}),
        ("POST", "/disputes/", {**ALERT, "amount": "1e3"}),
        ("POST", "/disputes/", {**ALERT, "amount": "1234567.00"}),
        ("POST", "/disputes/", {**ALERT, "id": 5}),
        ("POST", "/disputes/", {**ALERT, "status": "new"}),
        ("POST", "/disputes/", {**ALERT, "mood": "bad"}),
        ("POST", "/disputes/", {**ALERT, "happened_at": "2026-03-01T12:00:00"}),
        ("POST", "/disputes/", {**ALERT, "happened_at": None}),
        ("POST", "/disputes/", {**ALERT, "transaction": "5"}),
        ("POST", "/disputes/", {**ALERT, "resolution": "refunded"}),
        ("POST", "/disputes/", {**ALERT, "type": "retrieval"}),
        ("PATCH", "/disputes/5/", {"type": "alert"}),
        ("PATCH", "/disputes/5/", {"happened_at": ALERT["happened_at"]}),
        ("POST", "/disputes/5/resolve/", {"create_external_refund": "yes"}),
        ("POST", "/disputes/5/notes/", {}),
        ("POST", "/disputes/5/notes/", None),
        ("POST", "/transactions/5/refund/", {"amount": 5}),
        ("POST", "/webhooks/", {"target": "https://x.example.com/"}),
        ("GET", "/disputes/?arn=1", None),
        ("GET", "/disputes/?type=retrieval", None),
        ("GET", "/disputes/?gateway_id=x", None),
        ("GET", "/transactions/?order=1", None),
        ("GET", "/transactions/?amount_min=ten", None),
        ("GET", "/transactions/?date_created_from=yesterday", None),
        ("GET", "/transactions/?is_test=1", None),
        ("GET", "/disputes/5/", {"x": 1}),
        ("GET", "/nothing/", None),
        ("PUT", "/transactions/5/", {}),
    ],
)
def test_the_referee_refuses_wrong_calls(judge: Referee, method: str, path: str, body: object) -> None:
    with pytest.raises(AssertionError):
        judge.request(method, path, body)


def test_the_referee_at_hand_judges_what_the_stand_in_answers() -> None:
    with stand_in_here(page_size=2) as (next29, call):
        validate_request("POST", "/disputes/", ALERT)
        made = created(call)
        validate_response("POST", "/disputes/", 201, made)
        for page in (call("GET", "/disputes/"), call("GET", "/transactions/?currency=USD")):
            validate_request("GET", page.url)  # an address will do
            validate_response("GET", page.url, page.status_code, page.json(), VERSIONS[1])
        assert next29.ledger.disputes == [made]


def test_the_referee_refuses_wrong_answers(judge: Referee, call: Caller) -> None:
    made = created(call)
    path = f"/disputes/{made['id']}/"
    judge.response("GET", path, 200, made)
    wrong = [
        {**made, "id": None},
        {**made, "status": "closed"},
        {**made, "mood": "bad"},
        {**made, "date_created": "today"},
        {name: value for name, value in made.items() if name != "order"},
        None,
    ]
    for one in wrong:
        with pytest.raises(AssertionError):
            judge.response("GET", path, 200, one)
    with pytest.raises(AssertionError, match="not documented"):
        judge.response("GET", path, 201, made)
    with pytest.raises(AssertionError, match="has no body"):
        judge.response("DELETE", "/webhooks/5/", 204, {})
    with pytest.raises(AssertionError):
        judge.response("GET", "/disputes/", 200, {"next": None, "previous": None})


def test_commits_and_faults_are_plain_values() -> None:
    assert replace(fault("reset"), count=2) == fault("reset", count=2)
    assert Fault(Does.RESET).label == "reset"
    assert Commit(0.0, 0.0, "s", "note", {}) == Commit(0.0, 0.0, "s", "note", {})
