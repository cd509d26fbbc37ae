"""`bridge sandbox`, the product's own pretend 29next: a small store as 29next documents it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bridge import sandbox
from tests.support.clock import eventually
from tests.support.documents import ROOT
from tests.support.next29.callers import Caller
from tests.support.openapi import validate_request, validate_response
from tests.support.processes import free_port

TOKEN = "a-token-of-the-tests"
ALERT = {"amount": "19.90", "case_number": "A-1", "currency": "USD", "type": "alert"}


class Judged(Caller):
    """A caller whose every call and answer has to be as 29next documents it, and that waits its turn."""

    def __call__(self, method: str, path: str, body: object = None, **options: Any) -> requests.Response:
        ask = super().__call__
        (answer,) = eventually(lambda: unless_throttled(ask(method, path, body, **options)))
        validate_request(method, path, body)
        assert answer.ok, answer.text
        validate_response(method, path, answer.status_code, answer.json() if answer.content else None)
        return answer


def unless_throttled(answer: requests.Response) -> list[requests.Response]:
    """The answer, unless it asks for patience: the store keeps 29next's limit."""
    return [] if answer.status_code == 429 else [answer]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The address of a store that `bridge sandbox` runs."""
    port = free_port()
    command = [sys.executable, "-m", "bridge", "sandbox", "--port", str(port), "--token", TOKEN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}/api/admin/"
        try:
            eventually(lambda: listens(url))
            yield url
        finally:
            process.terminate()


def listens(url: str) -> bool:
    try:
        return Caller(url, TOKEN)("GET", "/store/").ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def call(base_url: str) -> Iterator[Caller]:
    with Judged(base_url, TOKEN) as call:
        yield call


def test_a_dispute_is_opened_matched_noted_and_resolved(call: Caller) -> None:
    sale = call("GET", "/transactions/?currency=USD&type=debit").json()["results"][0]
    made = call("POST", "/disputes/", ALERT).json()
    assert (made["status"], made["transaction"]) == ("new", None)
    assert [row["id"] for row in call("GET", "/disputes/?case_number=A-1").json()["results"]] == [made["id"]]
    path = f"/disputes/{made['id']}/"
    assert call("PATCH", path, {"transaction": sale["id"]}).json()["status"] == "open"
    call("POST", f"{path}notes/", {"message": "Seen."})
    assert call("GET", f"{path}notes/").json()["results"][0]["message"] == "Seen."
    resolved = call("POST", f"{path}resolve/", {"resolution": "issued_full_refund"}).json()
    assert (resolved["status"], resolved["resolution"]) == ("resolved", "issued_full_refund")


@pytest.mark.parametrize("version", sandbox.VERSIONS)
def test_only_its_token_opens_it(base_url: str, version: str) -> None:
    for token, status in ((TOKEN, 200), ("another", 401)):
        with Caller(base_url, token, version) as caller:
            (answer,) = eventually(lambda: unless_throttled(caller("GET", "/disputes/")))
            assert answer.status_code == status


def test_a_sample_s_payment_is_added_where_bridge_send_adds_it(base_url: str, call: Caller) -> None:
    added = base_url.replace("/api/admin/", "/sandbox/transactions")
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(added, json=[{"amount": "12.34", "auth_code": "SALE12"}], timeout=10)
    assert answer.ok, answer.text
    (found,) = call("GET", "/transactions/?auth_code=SALE12").json()["results"]
    assert found["amount"] == "12.34"


def test_it_keeps_the_limit_of_a_token() -> None:
    with sandbox.Sandbox() as store, Caller(store.base_url, sandbox.TOKEN) as caller:
        answers = [caller("GET", "/store/") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    assert answers[-1].headers["Retry-After"] == "1"


def test_it_lets_merchants_install_an_app() -> None:
    with sandbox.Sandbox(rate=0) as store:
        asked = {
            "response_type": "code",
            "client_id": sandbox.CLIENT_ID,
            "redirect_uri": "http://127.0.0.1:9/authorize",
            "scope": "disputes:read",
            "store": "gamma.29next.store",
            "state": "s",
        }
        url = store.base_url.replace("/api/admin/", "/oauth2/authorize/")
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, params=asked, timeout=10, allow_redirects=False)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith("http://127.0.0.1:9/authorize?")
