"""What strangers find: every route there is, walked, so that a new one cannot be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge.web.headers import HEADERS
from tests.support.bridge_in_process import InProcessBridge
from tests.support.history import bridge_with_outlet
from tests.support.next29 import STORE
from tests.support.trying import tried_with

PASSWORD, TOKEN = "a made-up password", "a-made-up-token"
OPEN = {
    "/install": 404,  # where the bridge is no app of 29next's
    "/authorize": 404,
    "/healthz": 200,
    "/readyz": 200,
    "/sign-in": 200,
    "/sign-out": 400,
    "/static/<path:filename>": 404,
    "/webhooks": 404,
    "/webhooks/<provider>": 401,
    "/webhooks/<provider>/<store>": 401,
    "/webhooks/<path:rest>": 401,
}
"""The routes that need no sign-in and no token, and what they answer a stranger."""
PLACES = {
    "id": "d_" + "0" * 21,
    "ident": "d_" + "0" * 21,
    "name": STORE,
    "provider": "ethoca",
    "store": STORE,
    "rest": "ethoca",
    "filename": "x.css",
}


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    """A bridge that is reached from everywhere, with all its doors."""
    doors: dict[str, Any] = {"password": PASSWORD, "api_token": TOKEN, "secret_key": "k" * 32}
    with bridge_with_outlet(database_url, on_loopback=False, **doors) as made:
        yield made


def every_answer(
    bridge: InProcessBridge, client: FlaskClient, *methods: str, **environ: str
) -> Iterator[tuple[str, TestResponse]]:
    """Each route and what it answers to each of its methods, or to those that are named."""
    for rule in bridge.app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda place: PLACES[place[1]], rule.rule)
        for method in sorted((rule.methods or set()) & set(methods or rule.methods or ())):
            yield (
                rule.rule,
                client.open(path, method=method, environ_overrides=environ, buffered=True),
            )


def test_every_route_is_closed_to_strangers_but_those_that_are_named(bridge: InProcessBridge) -> None:
    seen = set()
    for rule, answer in every_answer(bridge, bridge.app.test_client()):
        seen.add(rule)
        if answer.request.method == "OPTIONS" and answer.status_code == 200:
            assert not answer.data, rule
        elif rule in OPEN:
            assert answer.status_code in (OPEN[rule], 400), rule  # 400: a form without its token
        elif answer.request.method in ("GET", "HEAD") and not rule.startswith(("/api/", "/metrics")):
            assert answer.status_code == 303, rule
            assert answer.headers["Location"].startswith("/sign-in?next="), rule
        else:
            assert answer.status_code == 401, rule
    assert set(OPEN) < seen


@pytest.mark.parametrize(
    ("came", "closed"),
    [
        ({}, False),  # from this machine itself
        ({"HTTP_X_FORWARDED_FOR": "203.0.113.7"}, True),
        ({"HTTP_VIA": "1.1 proxy"}, True),
        ({"HTTP_HOST": "alerts.example.com"}, True),
        ({"REMOTE_ADDR": "203.0.113.7"}, True),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, True),
    ],
)
def test_without_secrets_every_route_is_closed_to_who_comes_through_a_proxy(
    database_url: str, came: dict[str, str], *, closed: bool
) -> None:
    with bridge_with_outlet(database_url) as bridge:
        opened = {
            rule
            for rule, answer in every_answer(bridge, bridge.app.test_client(), **came)
            if answer.status_code != 404 and (answer.data or answer.request.method != "OPTIONS")
        }
    if closed:  # a webhook is another matter: its sender proves who it is
        assert opened == {rule for rule in OPEN if rule.startswith(("/healthz", "/readyz", "/webhooks/"))}
    else:
        assert opened > {"/", "/deliveries", "/cases", "/stores", "/api/deliveries", "/api/cases", "/metrics"}


def form_token(client: FlaskClient, path: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def signed_in(bridge: InProcessBridge) -> FlaskClient:
    client = bridge.app.test_client()
    token = form_token(client, "/sign-in")
    answer = client.post("/sign-in", data={"form_token": token, "password": PASSWORD})
    assert (answer.status_code, client.get("/").status_code) == (303, 200)
    return client


def test_every_form_that_an_operator_can_send_needs_its_token(bridge: InProcessBridge) -> None:
    seen = 0
    for rule, answer in every_answer(bridge, signed_in(bridge), "POST"):
        if rule.startswith("/api/"):
            assert answer.status_code == 401, "a program's token it is, not the browser's session"
        elif not rule.startswith("/webhooks"):
            assert answer.status_code == 400, rule
            assert "form" in answer.text, rule
            seen += 1
    assert seen > 6


def test_every_answer_of_every_route_carries_the_headers(bridge: InProcessBridge) -> None:
    for client in (bridge.app.test_client(), signed_in(bridge)):
        for rule, answer in every_answer(bridge, client):
            assert set(HEADERS.items()) <= set(answer.headers.items()), rule


def test_a_bug_on_any_page_carries_the_headers_and_shows_nothing(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(bridge)
    for name in bridge.app.view_functions:
        monkeypatch.setitem(bridge.app.view_functions, name, broken)
    for rule, answer in every_answer(bridge, client, "GET", HTTP_AUTHORIZATION=f"Bearer {TOKEN}"):
        assert answer.status_code in (500, 503) or rule in ("/install", "/authorize"), rule
        assert set(HEADERS.items()) <= set(answer.headers.items()), rule
        assert "a secret" not in answer.text, rule


def broken(**_: object) -> str:
    raise ZeroDivisionError("a secret")


@pytest.mark.both_databases
@tried_with(
    "name", ["x", "d_" + "0" * 21, "%00", "x%00y", "9" * 300, "%F0%9F%98%80", "%ED%A0%80", "'--", "%25"]
)
def test_what_is_not_there_is_not_found_whatever_its_name(bridge: InProcessBridge, name: str) -> None:
    client = signed_in(bridge)
    given = {"form_token": form_token(client, "/stores")}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    asked = 0
    for rule in bridge.app.url_map.iter_rules():
        if rule.arguments and rule.rule not in OPEN:
            path = re.sub(r"<.*?>", name, rule.rule)
            for method in (rule.methods or set()) & {"GET", "POST"}:
                answer = client.open(path, method=method, headers=headers, data=given)
                assert answer.status_code == 404, (method, path, answer.text)
                asked += 1
    assert asked > 12


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https:///evil.example",
        "/\r\nSet-Cookie: bridge_session=x",
        "/\u2028/evil.example",
        "@evil.example",
    ],
)
def test_who_is_signed_in_is_led_nowhere_else(bridge: InProcessBridge, elsewhere: str) -> None:
    client = signed_in(bridge)
    answer = client.get("/sign-in", query_string={"next": elsewhere})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "bridge_session=x" not in str(answer.headers)
    stranger = bridge.app.test_client().get("/sign-in", query_string={"next": elsewhere})
    assert "evil.example" not in stranger.text
