"""`bridge sandbox`, the product's own pretend 29next: what a person tries with it, as 29next documents it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge import sandbox
from bridge.cli import samples
from tests.support.clock import eventually
from tests.support.documents import ROOT
from tests.support.next29.callers import Caller
from tests.support.openapi import OFFICIAL, referee
from tests.support.processes import free_port

Json = dict[str, Any]

ALERT = {"amount": "19.90", "case_number": "A-1", "currency": "USD", "type": "alert"}
DISPUTED = {"cancel_reason": "disputed_cancel_recurring", "send_cancel_notification": False}
REFEREES = [False, True] if OFFICIAL.exists() else [False]  # ours, and 29next's where it lies


class Person:
    """Somebody with a token, whose calls and answers have to be as 29next documents them if they succeed."""

    def __init__(self, client: FlaskClient, token: str = sandbox.TOKEN, version: str = "2023-02-10") -> None:
        self.client = client
        self.version = version
        self.headers = {"Authorization": f"Bearer {token}", "X-29next-API-Version": version}

    def ask(self, method: str, path: str, body: object = None) -> TestResponse:
        """Call, whatever the answer."""
        return self.client.open(f"/api/admin{path}", method=method, json=body, headers=self.headers)

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.status_code < 300, answer.text
        given = answer.get_json()
        for official in REFEREES:
            judge = referee(self.version, official=official)
            judge.request(method, path, body)
            # 29next calls the fulfilment orders of an order a list, and its schema has one of them
            for one in given if isinstance(given, list) else [given]:
                judge.response(method, path, answer.status_code, one)
        return given


@pytest.fixture
def client() -> FlaskClient:
    return sandbox.create_app(rate=0, page_size=3).test_client()


@pytest.fixture
def call(client: FlaskClient) -> Person:
    return Person(client)


def sell(client: FlaskClient, **facts: object) -> Json:
    """What a customer has just bought."""
    answer = client.post("/sandbox/transactions", json=facts)
    assert answer.status_code == 201, answer.text
    made: Json = answer.get_json()
    return made


def ids(page: Json) -> list[int]:
    return [row["id"] for row in page["results"]]


def below(link: str) -> str:
    """The path of a page's link, as a call has it."""
    return link.partition("/api/admin")[2]


# --- disputes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", sandbox.VERSIONS)
def test_a_dispute_is_opened_matched_noted_and_resolved(client: FlaskClient, version: str) -> None:
    call = Person(client, version=version)
    sale = call("GET", "/transactions/?currency=USD&type=debit")["results"][0]
    made = call("POST", "/disputes/", ALERT)
    assert (made["status"], made["transaction"], made["order"]) == ("new", None, None)
    path = f"/disputes/{made['id']}/"
    matched = call("PATCH", path, {"transaction": sale["id"]})
    assert (matched["status"], matched["order"]) == ("open", int(sale["order"]))
    assert call("GET", f"/transactions/{sale['id']}/")["is_disputed"]
    call("POST", f"{path}notes/", {"message": "Seen."})
    assert [note["message"] for note in call("GET", f"{path}notes/")["results"]] == ["Seen."]
    resolved = call("POST", f"{path}resolve/", {"resolution": "issued_full_refund"})
    assert (resolved["status"], resolved["resolution"]) == ("resolved", "issued_full_refund")
    assert call("GET", path) == resolved


def test_a_dispute_is_found_by_its_own_facts_and_those_of_its_transaction(
    client: FlaskClient, call: Person
) -> None:
    facts = {"auth_code": "SALE12", "bankcard_first_six": "411111", "bankcard_last_four": "1111"}
    sale = sell(client, **facts)
    made = call("POST", "/disputes/", {**ALERT, "happened_at": "2026-03-01T23:00:00+01:00"})
    call("POST", "/disputes/", {**ALERT, "case_number": "A-2"})
    call("PATCH", f"/disputes/{made['id']}/", {"transaction": sale["id"]})
    for query in (
        "case_number=A-1",
        f"id={made['id']}",
        f"transaction_id={sale['id']}",
        f"order_number={sale['order']}",
        "auth_code=SALE12",
        "card_first_six=411111&card_last_four=1111",
        "dispute_date_from=2026-03-01&dispute_date_to=2026-03-01",
        "status=open&type=alert",
    ):
        assert ids(call("GET", f"/disputes/?{query}")) == [made["id"]], query
    assert not ids(call("GET", "/disputes/?case_number=A-1&status=new"))


def test_a_sale_has_one_alert_and_one_chargeback_at_most(client: FlaskClient, call: Person) -> None:
    matched = {**ALERT, "transaction": sell(client)["id"]}
    call("POST", "/disputes/", matched)
    call("POST", "/disputes/", {**matched, "type": "chargeback"})
    answer = call.ask("POST", "/disputes/", {**matched, "case_number": "A-2"})
    assert answer.status_code == 400
    assert list(answer.get_json()) == ["transaction"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({**ALERT, "amount": 19.9}, ["amount"]),
        ({**ALERT, "amount": "1,50"}, ["amount"]),
        ({**ALERT, "amount": "1234567.00"}, ["amount"]),
        ({**ALERT, "currency": "usd"}, ["currency"]),
        ({**ALERT, "happened_at": "2026-03-01T12:00:00"}, ["happened_at"]),
        ({**ALERT, "id": 5, "status": "open"}, ["id", "status"]),
        ({**ALERT, "metadata": "none"}, ["metadata"]),
        ({**ALERT, "resolution": "won"}, ["resolution"]),
        ({**ALERT, "resolution": "other"}, ["resolution_other_message"]),
        ({**ALERT, "transaction": 5}, ["transaction"]),
        ({**ALERT, "type": "retrieval"}, ["type"]),
        ([ALERT], ["non_field_errors"]),
    ],
)
def test_what_is_wrong_with_a_body_is_said_by_field(call: Person, body: object, fields: list[str]) -> None:
    answer = call.ask("POST", "/disputes/", body)
    assert answer.status_code == 400
    problems = answer.get_json()
    assert sorted(problems) == fields
    assert all(isinstance(words, list) and words[0] for words in problems.values())
    assert not ids(call("GET", "/disputes/"))


@pytest.mark.parametrize("field", ["type", "happened_at"])
def test_what_a_dispute_is_about_never_changes(call: Person, field: str) -> None:
    made = call("POST", "/disputes/", ALERT)
    answer = call.ask("PATCH", f"/disputes/{made['id']}/", {field: made[field]})
    assert (answer.status_code, list(answer.get_json())) == (400, [field])


# --- transactions and refunds -------------------------------------------------------------------


def test_a_list_comes_in_pages_that_lead_to_each_other(client: FlaskClient, call: Person) -> None:
    sold = [sell(client, auth_code="PAGES")["id"] for _ in range(7)][::-1]
    first = call("GET", "/transactions/?auth_code=PAGES")
    second = call("GET", below(first["next"]))
    third = call("GET", below(second["next"]))
    assert [ids(page) for page in (first, second, third)] == [sold[:3], sold[3:6], sold[6:]]
    assert (first["previous"], third["next"]) == (None, None)
    assert call("GET", below(second["previous"])) == first
    sell(client, auth_code="PAGES")  # moves no page that is read on from
    assert ids(call("GET", below(second["next"]))) == sold[6:]
    assert ids(call("GET", below(third["previous"]))) == sold[3:6]
    assert call.ask("GET", "/transactions/?cursor=nowhere").status_code == 404


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("amount_min=12.34&amount_max=12.34", True),
        ("amount_min=12.35", False),
        ("amount_max=12.33", False),
        ("bankcard_first_six=411111&bankcard_last_four=1111", True),
        ("card_type=mastercard", False),
        ("date_created_from=2026-03-01&date_created_to=2026-03-01", True),
        ("date_created_from=2026-03-02", False),
        ("date_created_to=2026-02-28", False),
        ("external_id=pi_1", True),
        ("is_test=false&is_3ds=true", True),
        ("is_test=true", False),
        ("network_transaction_id=N1", True),
        ("status=succeeded&type=debit", True),
    ],
)
def test_a_sale_is_found_by_its_facts(client: FlaskClient, call: Person, query: str, *, finds: bool) -> None:
    sale = sell(
        client,
        amount="12.34",
        auth_code="SALE12",
        bankcard_first_six="411111",
        bankcard_last_four="1111",
        date_created="2026-03-01T12:00:00Z",
        external_id="pi_1",
        is_3ds=True,
        network_transaction_id="N1",
    )
    found = ids(call("GET", f"/transactions/?auth_code=SALE12&{query}"))
    assert found == ([sale["id"]] if finds else [])


@pytest.mark.parametrize("query", ["amount_min=ten", "date_created_from=yesterday"])
def test_a_filter_that_cannot_be_read_is_refused_by_name(call: Person, query: str) -> None:
    answer = call.ask("GET", f"/transactions/?{query}")
    assert (answer.status_code, list(answer.get_json())) == (400, [query.partition("=")[0]])


def test_a_payment_that_bridge_send_makes_up_is_a_sale_here(client: FlaskClient, call: Person) -> None:
    made = samples.make_sale(random.Random(1), datetime(2026, 3, 1, tzinfo=UTC))  # noqa: S311
    sell(client, **made.to_transaction())
    (found,) = call("GET", f"/transactions/?auth_code={made.auth_code}")["results"]
    assert (found["amount"], found["order"]) == (made.amount, made.order)
    assert found["date_created"] == "2026-02-27T00:00:00Z"


def test_a_refund_lowers_what_is_left_and_stands_in_the_order(client: FlaskClient, call: Person) -> None:
    sale = sell(client, amount="30.00")
    path = f"/transactions/{sale['id']}/"
    given = call("POST", f"{path}refund/", {"amount": "12.5", "send_refund_notification": False})
    assert (given["type"], given["status"], given["parent_id"]) == ("refund", "succeeded", sale["id"])
    assert (given["amount"], given["is_external"]) == ("12.50", False)
    assert call("GET", path)["amount_available_for_refund"] == "17.50"
    order = call("GET", f"/orders/{sale['order']}/")
    assert [row["id"] for row in order["transactions"]] == [given["id"], sale["id"]]
    assert order["payment_status"] == "partially_refunded"
    call("POST", f"{path}refund/", {"amount": "17.50"})
    assert call("GET", f"/orders/{sale['order']}/")["payment_status"] == "refunded"


@pytest.mark.parametrize(
    ("facts", "body", "field"),
    [
        ({}, {}, "amount"),
        ({}, {"amount": "0.00"}, "amount"),
        ({}, {"amount": "10.01"}, "amount"),
        ({"type": "authorize"}, {"amount": "1.00"}, "non_field_errors"),
        ({"status": "failed"}, {"amount": "1.00"}, "non_field_errors"),
    ],
)
def test_a_refund_that_may_not_be_is_refused(
    client: FlaskClient, call: Person, facts: Json, body: Json, field: str
) -> None:
    path = f"/transactions/{sell(client, **facts)['id']}/"
    answer = call.ask("POST", f"{path}refund/", body)
    assert (answer.status_code, list(answer.get_json())) == (400, [field])
    assert call("GET", path)["amount_available_for_refund"] == "10.00"


def test_a_refund_that_the_gateway_made_is_recorded_with_the_resolution(
    client: FlaskClient, call: Person
) -> None:
    sale = sell(client, amount="19.90")
    made = call("POST", "/disputes/", {**ALERT, "transaction": sale["id"]})
    resolution = {"resolution": "issued_full_refund", "create_external_refund": True}
    call("POST", f"/disputes/{made['id']}/resolve/", resolution)
    refund, _ = call("GET", f"/orders/{sale['order']}/")["transactions"]
    assert (refund["type"], refund["is_external"], refund["amount"]) == ("refund", True, "19.90")
    again = call("POST", f"/transactions/{sale['id']}/refund/", {"amount": "1.00", "is_external": True})
    assert again["is_external"]


def test_no_refund_is_recorded_where_no_sale_is_known(call: Person) -> None:
    made = call("POST", "/disputes/", ALERT)
    resolution = {"resolution": "issued_full_refund", "create_external_refund": True}
    answer = call.ask("POST", f"/disputes/{made['id']}/resolve/", resolution)
    assert (answer.status_code, list(answer.get_json())) == (400, ["create_external_refund"])
    assert call("GET", f"/disputes/{made['id']}/")["status"] == "new"


# --- stopping the loss --------------------------------------------------------------------------


def test_a_shipment_is_held_and_released(client: FlaskClient, call: Person) -> None:
    number = sell(client)["order"]
    (parcel,) = call("GET", f"/orders/{number}/fulfillment-orders/")
    assert call("GET", f"/fulfillment-orders/?order_number={number}")["results"] == [parcel]
    path = f"/fulfillment-orders/{parcel['id']}/"
    held = call("POST", f"{path}hold/", {"reason": "other", "reason_message": "Disputed: case A-1"})
    assert (parcel["status"], held["status"]) == ("open", "on_hold")
    assert [hold["reason_message"] for hold in held["fulfillment_holds"]] == ["Disputed: case A-1"]
    assert call("GET", f"/orders/{number}/")["fulfillment_status"] == "on_hold"
    released = call("POST", f"{path}release-hold/")
    assert (released["status"], released["fulfillment_holds"]) == ("open", [])


def test_a_location_that_packs_already_is_asked_to_stop(client: FlaskClient, call: Person) -> None:
    number = sell(client, fulfillment="processing")["order"]
    (parcel,) = call("GET", f"/orders/{number}/fulfillment-orders/")
    path = f"/fulfillment-orders/{parcel['id']}/cancellation-request/"
    asked = call("POST", path, {"message": "Disputed"})
    assert (parcel["request_status"], asked["request_status"]) == ("accepted", "cancel_requested")
    assert [request["message"] for request in asked["merchant_requests"]] == ["Disputed"]


@pytest.mark.parametrize(
    ("state", "word", "body"),
    [
        ("closed", "hold", {"reason": "other"}),
        ("processing", "hold", {"reason": "other"}),
        ("open", "release-hold", None),
        ("open", "cancellation-request", {"message": "Disputed"}),
        ("open", "hold", {"reason": "disputed"}),
        ("open", "hold", {}),
    ],
)
def test_a_shipment_that_cannot_be_stopped_so_stays_as_it_is(
    client: FlaskClient, call: Person, state: str, word: str, body: object
) -> None:
    path = f"/orders/{sell(client, fulfillment=state)['order']}/fulfillment-orders/"
    (parcel,) = call("GET", path)
    answer = call.ask("POST", f"/fulfillment-orders/{parcel['id']}/{word}/", body)
    assert answer.status_code == 400, answer.text
    assert call("GET", path) == [parcel]


def test_a_subscription_is_canceled_once(client: FlaskClient, call: Person) -> None:
    sale = sell(client)
    number = call("GET", f"/transactions/{sale['id']}/")["subscription"]["id"]
    assert [one["id"] for one in call("GET", f"/orders/{sale['order']}/")["subscriptions"]] == [number]
    path = f"/subscriptions/{number}/"
    assert call("GET", path)["status"] == "active"
    call("POST", f"{path}cancel/", DISPUTED)
    ended = call("GET", path)
    assert (ended["status"], ended["cancel_reason"]) == ("canceled", "disputed_cancel_recurring")
    assert call.ask("POST", f"{path}cancel/", DISPUTED).status_code == 400


def test_a_sale_without_a_subscription_has_none(client: FlaskClient, call: Person) -> None:
    sale = sell(client, subscription=False)
    assert not call("GET", f"/transactions/{sale['id']}/")["subscription"]["id"]
    assert not call("GET", f"/orders/{sale['order']}/")["subscriptions"]


# --- who may, and how much ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer another"}, 401),
        ({"Authorization": f"Basic {sandbox.TOKEN}"}, 401),
        ({"Authorization": ""}, 401),
        ({"X-29next-API-Version": ""}, 400),
        ({"X-29next-API-Version": "2020-01-01"}, 400),
    ],
)
def test_a_call_needs_a_token_and_a_version(call: Person, headers: dict[str, str], status: int) -> None:
    call.headers |= headers
    answer = call.ask("GET", "/disputes/")
    assert (answer.status_code, list(answer.get_json())) == (status, ["detail"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/", 404),
        ("GET", "/disputes/5/", 404),
        ("GET", "/orders/5/", 404),
        ("GET", "/orders/5/fulfillment-orders/", 404),
        ("POST", "/disputes/5/resolve/", 404),
        ("POST", "/transactions/0/refund/", 404),
        ("PUT", "/disputes/5/", 405),
    ],
)
def test_what_is_not_there_is_said_as_29next_says_it(
    call: Person, method: str, path: str, status: int
) -> None:
    answer = call.ask(method, path, None if method == "GET" else {})
    assert (answer.status_code, list(answer.get_json())) == (status, ["detail"])


@pytest.mark.parametrize(("sent", "status"), [(b"{", 400), (b"amount=1", 415)])
def test_a_body_is_json(client: FlaskClient, call: Person, sent: bytes, status: int) -> None:
    kind = "application/json" if status == 400 else "application/x-www-form-urlencoded"
    answer = client.post("/api/admin/disputes/", data=sent, headers=call.headers, content_type=kind)
    assert (answer.status_code, list(answer.get_json())) == (status, ["detail"])


def test_it_keeps_the_limit_of_a_token() -> None:
    call = Person(sandbox.create_app().test_client())
    answers = [call.ask("GET", "/disputes/") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    assert answers[-1].headers["Retry-After"] == "1"
    eventually(lambda: call.ask("GET", "/disputes/").status_code == 200)


def test_a_merchant_installs_an_app_which_gets_that_store_and_those_scopes_only(client: FlaskClient) -> None:
    app = {"client_id": sandbox.CLIENT_ID, "redirect_uri": "https://bridge.example.com/authorize"}
    asked = {"response_type": "code", "scope": "disputes:read disputes:write", "state": "s"}
    answer = client.get("/oauth2/authorize/", query_string={**app, **asked, "store": "gamma.29next.store"})
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith("https://bridge.example.com/authorize?")
    back = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
    assert (back["store"], back["state"]) == ("gamma.29next.store", "s")
    form = {**app, "grant_type": "authorization_code", "code": back["code"]}
    assert client.post("/oauth2/token/", data=form).status_code == 401
    form["client_secret"] = sandbox.CLIENT_SECRET
    token = client.post("/oauth2/token/", data=form).get_json()
    assert (token["token_type"], token["scope"]) == ("Bearer", asked["scope"])
    assert client.post("/oauth2/token/", data=form).get_json() == {"error": "invalid_grant"}
    gamma = Person(client, token["access_token"])
    gamma("POST", "/disputes/", ALERT)
    assert not ids(Person(client)("GET", "/disputes/"))
    assert gamma.ask("GET", "/transactions/").status_code == 403


def test_an_app_that_nobody_knows_is_not_installed(client: FlaskClient) -> None:
    assert client.get("/oauth2/authorize/?client_id=another").status_code == 400


def test_a_webhook_is_added_and_changed(call: Person) -> None:
    made = call("POST", "/webhooks/", {"target": "http://127.0.0.1:8000/webhooks/next", "events": ["a.b"]})
    changed = call("PATCH", f"/webhooks/{made['id']}/", {"active": False})
    assert (changed["active"], changed["events"]) == (False, ["a.b"])
    assert call("GET", "/webhooks/?active=false")["results"] == [changed]
    assert call.ask("POST", "/webhooks/", {"target": "nowhere"}).status_code == 400


# --- the command --------------------------------------------------------------------------------


TOKEN = "a-token-of-the-tests"


@dataclass
class Served:
    """A sandbox that `bridge sandbox` runs."""

    command: list[str]
    process: subprocess.Popen[str]
    base_url: str

    def answers(self) -> bool:
        try:
            with Caller(self.base_url, TOKEN) as call:
                return call("GET", "/disputes/").ok
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "bridge", "sandbox", "--port", str(port), "--token", TOKEN]
    environ = {**os.environ, "WEB_CONCURRENCY": "3"}  # as platforms set it by themselves
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as process:
        running = Served(command, process, f"http://127.0.0.1:{port}/api/admin/")
        try:
            eventually(running.answers)
            yield running
        finally:
            process.terminate()
            _, said = process.communicate(timeout=10)
        assert not said


def test_one_process_has_the_stores(served: Served) -> None:
    pid = served.process.pid
    assert len(Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()) == 1


def test_connections_are_kept_and_those_that_are_idle_hold_nobody_up(served: Served) -> None:
    address = urlsplit(served.base_url)
    with (
        socket.create_connection((address.hostname, address.port)),
        Caller(served.base_url, "another") as call,
    ):
        answer = call("GET", "/disputes/")
    assert (answer.status_code, answer.headers["Connection"]) == (401, "keep-alive")


def test_a_port_that_is_taken_is_said_in_one_line(served: Served) -> None:
    second = subprocess.run(served.command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 1
    assert second.stderr.startswith("bridge: ")
    assert second.stderr.count("\n") == 1
