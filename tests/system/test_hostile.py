"""Whatever is sent, nothing is a 500, nothing stops a worker, and what passed its proof is kept."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from bridge import providers, settings
from bridge.alert import Webhook
from bridge.settings import ROOT
from bridge.storage.database import Database
from bridge.web.app import create_app
from bridge.web.arrival import Arriving, PatientWorker
from bridge.web.headers import HEADERS
from bridge.worker.explain import explain
from tests.conftest import KINDS, MakeDatabase
from tests.support.clock import eventually
from tests.support.examples import examples
from tests.support.inside import Inside
from tests.support.processes import SHORT, RunningBridge, running_bridge
from tests.support.webhooks import PASSWORDS, Senders, Sent, basic

EXAMPLES = examples(20, suppress_health_check=list(HealthCheck))
SECRET = "whsec_" + base64.b64encode(b"a key of this test").decode()
ENVIRON = {
    "BRIDGE_BIND": "127.0.0.1:1",  # the API is open to this machine
    "NEXT_ACCESS_TOKEN": "token",
    "NEXT_STORE": "alpha",
    "CHARGEBLAST_SECRET": SECRET,
    **{f"{name.upper()}_SECRET": f"{name}:{word}" for name, word in PASSWORDS.items()},
}

# --- in this process: anything at all ------------------------------------------------------------


class Door:
    """The web application over a database, and the worker's translation of what came through it."""

    def __init__(self, url: str) -> None:
        chosen = settings.load({**ENVIRON, "DATABASE_URL": url}, ROOT)
        self.database = Database(url)
        self.app: Flask = create_app(chosen, self.database)
        self.inside = Inside(self.app, self.database, chosen)
        self.search = self.inside.search

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def takes(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Post a webhook that is proven, and have it translated: it is kept, and nothing breaks."""
        answer = self.client.post(path, data=body, headers=headers)
        assert answer.status_code == 200, answer.text
        self.translate()

    def translate(self) -> None:
        """Have all that was kept translated: nothing breaks."""
        while self.inside.translate():
            pass
        assert not self.search.deliveries({"reason": "bug"}).results


@pytest.fixture(scope="module", params=KINDS)
def door(request: pytest.FixtureRequest, make_database: MakeDatabase) -> Iterator[Door]:
    with make_database(request.param) as url:
        door = Door(url)
        yield door
        door.database.close()


NASTY_TEXT = st.one_of(
    st.text(st.characters(codec=None, categories=None), max_size=40),
    st.sampled_from(
        [
            "\x00",
            "a\x00b",
            "\ud800",
            "\udfff tail",
            "\u202e reversed",
            "\ufeff",
            "'; DROP TABLE cases; --",
            "{{7*7}}",
            "<script>alert(1)</script>",
            "\r\nX-Injected: 1",
            "1e999999",
            "NaN",
            "١٢٣",
            "1_000",
            "9" * 5000,
            "-0.00",
            "2026-02-30",
            "9999-12-31T23:59:59+23:59",
            "0001-01-01T00:00:00-23:59",
            "ß" * 300,
        ]
    ),
)
NASTY = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from([10**400, -1, 2**63, 1e308, 0.1 + 0.2]),
        NASTY_TEXT,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NASTY_TEXT, inner, max_size=3)),
    max_leaves=6,
)
MAKERS = ("prevention", "rdr", "chargeback", "ethoca", "verifi")


@EXAMPLES
@given(maker=st.sampled_from(MAKERS), seed=st.integers(0, 2**32), data=st.data())
def test_an_alert_with_any_values_is_kept_and_translated_or_failed(
    door: Door, maker: str, seed: int, data: st.DataObject
) -> None:
    sent = getattr(Senders(seed, prefix=f"H{seed}"), maker)()
    tree = json.loads(sent.body)
    spoilt = data.draw(st.lists(st.sampled_from(sorted(tree)), min_size=1, max_size=4))
    tree.update({name: data.draw(NASTY) for name in spoilt})
    door.takes(sent.path, json.dumps(tree).encode(), sent.headers)


@EXAMPLES
@given(body=st.one_of(st.binary(max_size=300), NASTY.map(lambda tree: json.dumps(tree).encode())))
def test_any_bytes_are_kept(door: Door, body: bytes) -> None:
    door.takes("/webhooks/verifi", body, {"Authorization": basic("verifi"), "Content-Type": "text/odd"})


@EXAMPLES
@given(note=NASTY_TEXT, amount=NASTY, arn=NASTY_TEXT)
def test_what_is_explained_can_be_written_to_any_terminal(
    door: Door, note: str, amount: Any, arn: str
) -> None:
    told = {
        "ethoca_id": "E1",
        "type": "issuer_alert",
        "merchant_descriptor": note,
        "amount": amount,
        "arn": arn,
    }
    chosen = door.app.extensions["settings"]
    provider = chosen.providers["ethoca"]
    webhook = Webhook("ethoca", "/webhooks/ethoca", json.dumps(told).encode(), {})
    explained = explain(chosen, provider, webhook, datetime.now(UTC))
    assert len(explained) == 1
    for said in explained:
        assert said.fields
        for row in said.fields:
            assert str(row["value"]).isprintable()
        assert json.dumps(said.to_json(), ensure_ascii=False).isprintable()


def test_case_numbers_that_look_the_same_are_one_case(door: Door) -> None:
    sent = Senders(prefix="SEEN").ethoca()
    number = json.loads(sent.body)["ethoca_id"]
    for unseen in ("", "\u200b", "\ufeff\u00ad", "\ufe0f\u3164"):
        tree = json.loads(sent.body) | {"ethoca_id": f"{unseen}{number[:4]}{unseen}{number[4:]}{unseen}"}
        door.takes(sent.path, json.dumps(tree).encode(), sent.headers)
    assert len(door.search.deliveries({"case_number": number}).results) == 4
    [case] = door.search.cases({"q": number}).results
    assert case["case_number"] == number


SHORT_TEXT = st.text(max_size=20)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


@EXAMPLES
@given(authorization=HEADER, kind=HEADER, encoding=HEADER, tail=SHORT_TEXT, query=SHORT_TEXT)
def test_no_request_is_a_bug(
    door: Door, authorization: str, kind: str, encoding: str, tail: str, query: str
) -> None:
    headers = {"Authorization": authorization, "Content-Type": kind, "Content-Encoding": encoding}
    answer = door.client.post(
        f"/webhooks/midigator/{quote(tail)}", data=b"{}", headers=headers, query_string={"key": query}
    )
    assert answer.status_code < 500, answer.text
    assert answer.status_code != 200


def surface() -> dict[str, Any]:
    """The webhooks' own OpenAPI document, which is none that is published: any body, and odd headers."""
    names = sorted(providers.built_in())
    proofs = [basic(name) for name in PASSWORDS]
    odd = {name: {"type": "string"} for name in ("X-Signature", "svix-signature", "Stripe-Signature")}
    headers = {"Authorization": {"anyOf": [{"enum": proofs}, {"type": "string"}]}, **odd}
    bodies = (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    )

    def operation(*places: dict[str, Any]) -> dict[str, Any]:
        told = [{"name": name, "in": "header", "schema": schema} for name, schema in headers.items()]
        content = {kind: {"schema": {} if "json" in kind else {"type": "string"}} for kind in bodies}
        content["application/x-www-form-urlencoded"] = {"schema": {"type": "object"}}
        return {
            "post": {"parameters": [*places, *told], "requestBody": {"content": content}, "responses": {}}
        }

    provider = {"name": "provider", "in": "path", "required": True, "schema": {"enum": names}}
    store = {"name": "store", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    paths = {
        "/webhooks/{provider}": operation(provider),
        "/webhooks/{provider}/{store}": operation(provider, store),
    }
    return {"openapi": "3.1.0", "info": {"title": "webhooks", "version": "1"}, "paths": paths}


@pytest.mark.parametrize("path", surface()["paths"])
def test_schemathesis_finds_no_webhook_that_is_a_bug(door: Door, path: str) -> None:
    schema = schemathesis.openapi.from_dict(surface())
    schema.app = door.app
    seen = set()

    @EXAMPLES
    @given(case=schema[path]["post"].as_strategy(), proven=st.sampled_from([None, *PASSWORDS]))
    def check(case: schemathesis.Case[Any], proven: str | None) -> None:
        if proven:
            case.path_parameters["provider"] = proven
            case.headers["Authorization"] = basic(proven)
        answer = case.call()
        seen.add(answer.status_code)
        assert answer.status_code in (200, 400, 401, 404, 413, 415), answer.text
        if answer.status_code != 200:
            assert set(answer.json()) == {"error", "message"}

    check()
    door.translate()
    assert 200 in seen


PATHS = ["/api/deliveries", "/api/cases", "/api/deliveries/{}", "/api/cases/{}", "/cases/{}"]


@EXAMPLES
@given(
    path=st.sampled_from(PATHS),
    ident=st.one_of(st.text(max_size=20), NASTY_TEXT),
    query=st.dictionaries(
        st.sampled_from(["status", "limit", "cursor", "case_number", "since", "dispute_id", "search"]),
        st.one_of(st.text(max_size=20), NASTY_TEXT),
        max_size=3,
    ),
)
def test_no_question_is_a_bug(door: Door, path: str, ident: str, query: dict[str, str]) -> None:
    quoted = ident.encode("utf-8", "surrogatepass")
    asked = {name: text.encode("utf-8", "surrogatepass") for name, text in query.items()}
    answer = door.client.get(path.format(quote(quoted)), query_string=asked)
    assert answer.status_code < 500, answer.text


# --- clocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "status"),
    [(-301, 401), (-300, 200), (-299, 200), (0, 200), (299, 200), (300, 200), (301, 401)],
)
def test_a_signed_moment_counts_for_five_minutes(door: Door, late: int, status: int) -> None:
    now = datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC)  # a leap day's last second
    body = json.dumps({"alertId": f"clock{late}"}).encode()
    moment = str(int((now - timedelta(seconds=late)).timestamp()))
    signed = hmac.digest(b"a key of this test", f"id.{moment}.".encode() + body, hashlib.sha256)
    headers = {
        "svix-id": "id",
        "svix-timestamp": moment,
        "svix-signature": "v1," + base64.b64encode(signed).decode(),
    }
    with time_machine.travel(now, tick=False):
        answer = door.client.post("/webhooks/chargeblast", data=body, headers=headers)
    assert answer.status_code == status


# --- at the real server: the named list -----------------------------------------------------------


def request(
    body: bytes, *lines: str, provider: str = "verifi", start: str = "", length: str | None = ""
) -> bytes:
    """A webhook as bytes; its length is told rightly unless something else is given, or None."""
    told = [f"Content-Length: {length or len(body)}"] if length is not None else []
    head = [
        start or f"POST /webhooks/{provider} HTTP/1.1",
        "Host: bridge",
        f"Authorization: {basic(provider)}",
        *told,
        *lines,
    ]
    return "\r\n".join([*head, "\r\n"]).encode("latin-1") + body


def chunked(*chunks: bytes) -> bytes:
    """A body without its length."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


ENTITIES = [b'<!ENTITY e%d "%b">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"bomb") for n in range(10)]
BOMB = b"<!DOCTYPE case [%b]><case><number>&e9;</number></case>" % b"".join(ENTITIES)
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY out SYSTEM "file://%b">]>
<case><type>DISPUTE</type><number>&out;</number><date>2026-03-01</date>
<amount>1.00</amount><currency>USD</currency></case>"""
DEEP = 100_000
KEPT: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \r\n\t",
    "a broken object": b'{"caseNumber": ',
    "not utf-8": b'{"caseNumber": "\xff\xfe"}',
    "utf-16": '{"caseNumber": "1"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"caseNumber": "1"}',
    "a raw NUL": b'{"caseNumber": "\x00"}',
    "a NUL": b'{"caseNumber": "a\\u0000", "eventType": "DISPUTE\\u0000"}',
    "half a surrogate": b'{"caseNumber": "\\ud800", "eventType": "\\udfff"}',
    "no number": b'{"caseAmount": NaN, "caseNumber": Infinity}',
    "a long number": b'{"caseNumber": %b}' % (b"9" * 100_000),
    "the same name twice": b'{"caseNumber": "1", "caseNumber": "2"}',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep lists without end": b"[" * 200_000,
    "deep objects": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    "no object": b'["caseNumber"]',
    "a bare word": b"true",
    "a bomb of entities": BOMB,
    "an outer entity": OUTSIDE % b"/etc/passwd",
    "deep elements": b"<a>" * 30_000 + b"</a>" * 30_000,
    "many attributes": b"<case %b/>" % b" ".join(b'a%d="1"' % n for n in range(20_000)),
    "an unknown encoding": b'<?xml version="1.0" encoding="klingon"?><case/>',
    "a form": b"caseNumber=1&amount=2",
    "256 kB": b'{"a": "%b"}' % (b"x" * (256 * 1024 - 9)),
}
TYPES = ("", "text/plain", "application/xml; charset=klingon", "multipart/form-data; boundary=x", "\xff")
REFUSED: dict[str, tuple[bytes, int]] = {
    "256 kB and a byte": (request(b"x" * (256 * 1024 + 1)), 413),
    "1 MB": (request(b"x" * 2**20), 413),
    "10 MB": (request(b"x" * 10 * 2**20), 413),
    "1 MB without its length": (
        request(chunked(*[b"x" * 1024] * 1024), "Transfer-Encoding: chunked", length=None),
        413,
    ),
    "a length that is too long": (request(b"{}", length="200"), 400),
    "a length that is none": (request(b"{}", length="two"), 400),
    "a negative length": (request(b"{}", length="-2"), 400),
    "two lengths": (request(b"{}", "Content-Length: 1"), 400),
    "a length and chunks": (request(chunked(b"{}"), "Transfer-Encoding: chunked", length="2"), 400),
    "chunks that are none": (request(b"zz\r\n{}\r\n", "Transfer-Encoding: chunked", length=None), 400),
    "chunks without end": (request(b"ff\r\n{}", "Transfer-Encoding: chunked", length=None), 400),
    "an unknown transfer": (request(b"{}", "Transfer-Encoding: sideways", length=None), 501),
    "gzip": (request(b"{}", "Content-Encoding: gzip"), 415),
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a long line": (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 414),
    "a long header": (request(b"{}", "X-Long: " + "a" * 10_000), 431),
    "many headers": (request(b"{}", *[f"X-{n}: 1" for n in range(200)]), 431),
    "a header with NUL": (request(b"{}", "X-Nul: a\x00b"), 400),
    "an unknown method": (request(b"{}", start="BREW /webhooks/verifi HTTP/1.1"), 405),
    "a GET": (request(b"", start="GET /webhooks/verifi HTTP/1.1"), 405),
    "a TRACE": (request(b"", start="TRACE /webhooks/verifi HTTP/1.1"), 405),
    "a NUL in the provider": (request(b"{}", start="POST /webhooks/verifi%00 HTTP/1.1"), 404),
    "a step up": (request(b"{}", start="POST /webhooks/../webhooks/nobody HTTP/1.1"), 404),
    "a line for the log as a provider": (
        request(b"{}", start="POST /webhooks/x%0a%7b%22message%22:%22injected%22%7d%1b[2J HTTP/1.1"),
        404,
    ),
    "a line for the log beside wrong credentials": (
        request(
            b"{}",
            "User-Agent: \x1b[2J",
            start="POST /webhooks/ethoca/%0d%0a%7b%22message%22:%22injected%22%7d%e2%80%a8 HTTP/1.1",
        ),
        400,
    ),
    "credentials twice": (request(b"{}", f"Authorization: {basic('verifi')}"), 401),
    "a header with an escape": (request(b"{}", "X-Odd: \x1b[2J"), 400),
    "a header on a second line": (request(b"{}", "X-Odd: a\r\n b"), 400),
    "credentials that are none": (
        b"POST /webhooks/verifi HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \xff\xfe\r\n\r\n",
        401,
    ),
}


def exchange(bridge: RunningBridge, raw: bytes) -> int | None:
    """Send bytes, say that no more come, and return the status of the answer, if there is one."""
    answer = answered(bridge, raw)
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else None


def answered(bridge: RunningBridge, raw: bytes) -> bytes:
    """Send bytes, say that no more come, and return the answer."""
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as sock:
        try:
            sock.sendall(raw)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has said all that it has to say
        try:
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        except ConnectionResetError:
            return b""
    return answer


@pytest.fixture(scope="module")
def bridge(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBridge]:
    with make_database("postgres") as url, running_bridge(tmp_path_factory.mktemp("hostile"), url) as bridge:
        yield bridge.start()


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_what_is_proven_is_kept_whatever_it_is(bridge: RunningBridge, body: bytes) -> None:
    before = len(bridge.deliveries(provider="verifi"))
    assert exchange(bridge, request(body, "Content-Type: application/json")) == 200
    assert len(bridge.deliveries(provider="verifi")) == before + 1


@pytest.mark.parametrize("kind", TYPES)
def test_the_content_type_never_refuses(bridge: RunningBridge, kind: str) -> None:
    assert exchange(bridge, request(b'{"content": "type"}', f"Content-Type: {kind}")) == 200


def test_a_webhook_without_its_length_is_kept(bridge: RunningBridge) -> None:
    body = chunked(b'{"caseNumber"', b': "1"}')
    assert exchange(bridge, request(body, "Transfer-Encoding: chunked", length=None)) == 200
    assert exchange(bridge, request(b"", length=None)) == 200


@pytest.mark.parametrize(("raw", "status"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_webhook_is_refused(bridge: RunningBridge, raw: bytes, status: int) -> None:
    assert exchange(bridge, raw) == status


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(b"{}", "Transfer-Encoding: zz-echoed", length=None), 501),
        (b"GET / zz-echoed\r\n\r\n", 400),
        (b"zz-echoed / HTTP/1.1\r\n\r\n", 400),
        (request(b"{}", "zz-echoed: a\x00b"), 400),
        (request(b"{}", "zz echoed: b"), 400),
        (b"GET /" + b"zz-echoed" * 1000 + b" HTTP/1.1\r\n\r\n", 414),
        (request(b"{}", "X-Long: " + "zz-echoed" * 2000), 431),
    ],
)
def test_what_is_no_request_is_told_nothing_and_carries_the_headers_too(
    bridge: RunningBridge, raw: bytes, status: int
) -> None:
    head, _, body = answered(bridge, raw).decode().partition("\r\n\r\n")
    assert head.split()[1] == str(status)
    assert {**HEADERS, "Cache-Control": "no-store"}.items() <= dict(
        line.split(": ", 1) for line in head.splitlines()[1:]
    ).items()
    assert set(json.loads(body)) == {"error", "message"}
    assert "echoed" not in (head + body).lower()


def test_who_waits_to_be_told_to_go_on_is_told_once(bridge: RunningBridge) -> None:
    head = request(b"", "Expect: 100-continue", length="13")
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as sock:
        sock.sendall(head)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b'{"told": true}'[:13])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "raw",
    [
        request(b'{"pieces": "measured"}'),
        request(
            chunked(b'{"pieces":', b' "\r\n\r\n', b'chunked"}'), "Transfer-Encoding: chunked", length=None
        ),
    ],
    ids=["measured", "chunked"],
)
def test_a_webhook_that_comes_byte_by_byte_is_kept(bridge: RunningBridge, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in raw:
            sock.send(bytes([byte]))
            time.sleep(0.004)  # the network's, so that it arrives in pieces
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_nothing_that_is_sent_makes_a_line_of_the_log(bridge: RunningBridge) -> None:
    sent = replace(Senders(prefix="LOG").prevention(), store='a\r\n{"message":"injected"}\x1b[2J\u2028')
    raw = request(sent.body, start=f"POST {quote(sent.path)} HTTP/1.1", provider="midigator")
    bridge.offered.append(sent)
    assert exchange(bridge, raw) == 200
    assert bridge.web
    for line in bridge.web.said().replace("\r", "\n").split("\n"):
        assert line.isprintable(), line
        assert not line or line.startswith("[") or json.loads(line)["message"] != "injected"


def test_two_requests_in_one_breath_are_both_answered(bridge: RunningBridge) -> None:
    first, second = request(b'{"breath": 1}'), request(b'{"breath": 2}', "Connection: close")
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as sock:
        sock.sendall(first + second)
        answers = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200 ") == 2


def test_nothing_of_all_this_has_broken_anything(bridge: RunningBridge) -> None:
    assert bridge.web
    family = bridge.web.family()
    sent = Senders(prefix="LAST").prevention()
    bridge.deliver(sent)
    bridge.wait()
    assert bridge.disputes(sent)
    assert bridge.web.family() == family
    assert bridge.workers[0].alive
    junk = {"untranslatable", "unknown_event", "no_store"}
    there = bridge.deliveries(provider="verifi")
    bridge.offered += [Sent("verifi", row["event_id"], row["id"].encode()) for row in there]
    bridge.audit(may_fail=lambda row: row["reason"] in junk)
    assert not [place for place, content in bridge.written() if b"root:x:0" in content]


# --- clients that stall --------------------------------------------------------------------------

STALLED: dict[str, bytes] = {
    "says nothing": b"",
    "stops in its head": request(b"")[:40],
    "stops in its body": request(b"{", length="200"),
    "stops in a chunk": request(b"ff\r\n{", "Transfer-Encoding: chunked", length=None),
    "stops between chunks": request(b"3\r\n\r\n\r\n\r\n", "Transfer-Encoding: chunked", length=None),
    "says that more comes than may": request(b"{", length="10000000"),
    "waits to be told to go on": request(b"", "Expect: 100-continue", length="200"),
    "leaves its connection open": request(b"{", "Connection: close", start="POST /webhooks/nobody HTTP/1.1"),
}


@pytest.fixture
def stalling(
    make_database: MakeDatabase, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[RunningBridge, list[socket.socket]]]:
    """A bridge that bears so many seconds, and a hundred and sixty stalled clients of all kinds."""
    constants = {**SHORT, "ARRIVAL_SECONDS": request.param, "LINGER_SECONDS": 1.0}
    with (
        make_database("sqlite") as url,
        running_bridge(tmp_path, url, constants=constants, rate=0) as bridge,
        contextlib.ExitStack() as stack,
    ):
        bridge.start_web()
        stalled = []
        for begun in [*STALLED.values()] * 20:
            stalled.append(stack.enter_context(socket.create_connection(("127.0.0.1", bridge.port))))
            stalled[-1].sendall(begun)
        yield bridge, stalled


def drip(sock: socket.socket) -> bool:
    """Send one byte more; returns whether the other side still bears it."""
    try:
        sock.send(b"1", socket.MSG_DONTWAIT)
        return sock.recv(65536, socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.mark.xdist_group("timing")
@pytest.mark.parametrize("stalling", [1.5], indirect=True)
@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_clients_that_stall_hold_up_nobody_and_are_left_in_time(
    stalling: tuple[RunningBridge, list[socket.socket]], drips: bool
) -> None:
    bridge, stalled = stalling
    assert bridge.web
    family, senders, end = bridge.web.family(), Senders(prefix="SLOW"), time.monotonic() + 10
    while stalled:
        assert time.monotonic() < end, f"{len(stalled)} are still borne"
        assert bridge.post(senders.prevention()).elapsed.total_seconds() < 2
        if drips:
            stalled = [sock for sock in stalled if drip(sock)]
        else:
            stalled = [sock for sock in stalled if not closed(sock)]
        time.sleep(0.05)
    assert bridge.web.family() == family
    bridge.start_worker()
    bridge.wait()
    bridge.audit()


@pytest.mark.parametrize("begun", [b"POST / HTTP/1.1", b""])
def test_an_event_of_a_request_that_was_given_up_with_the_same_look_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """Both stand in one list of what is ready; an error there would end the process."""
    refused: list[object] = []
    monkeypatch.setattr(ThreadWorker, "enqueue_req", lambda _, conn: refused.append(conn))
    ours, theirs = socket.socketpair()
    with ours, theirs, DefaultSelector() as poller:
        worker = object.__new__(PatientWorker)
        conn = SimpleNamespace(sock=ours, arriving=Arriving(begun), close=ours.close)
        worker.poller, worker.pending_conns, worker.nr_conns = poller, deque([conn]), 1
        worker.alive = True
        poller.register(ours, EVENT_READ, partial(worker.on_pending_socket_readable, conn))
        theirs.sendall(b"more")
        ready = poller.select(5)
        worker.give_up(conn)
        for key, _ in ready:
            key.data(key.fileobj)
        worker.linger(conn, None)
    assert refused == ([conn] if begun else [])


def closed(sock: socket.socket) -> bool:
    """Whether the other side has ended a connection, whatever it has said before."""
    try:
        while sock.recv(65536, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.xdist_group("timing")
@pytest.mark.parametrize("stalling", [60.0], indirect=True)
def test_clients_that_stall_hold_up_no_shutdown(stalling: tuple[RunningBridge, list[socket.socket]]) -> None:
    bridge, _ = stalling
    assert bridge.web
    bridge.web.signal(signal.SIGTERM)
    assert bridge.web.terminate() < 10


# --- more clients than there may be ---------------------------------------------------------------


@pytest.fixture
def crowded(make_database: MakeDatabase, tmp_path: Path) -> Iterator[RunningBridge]:
    """A bridge that has room for four connections, and one thread: what comes first is handled first."""
    constants = {**SHORT, "ARRIVAL_SECONDS": 60.0}
    with (
        make_database("sqlite") as url,
        running_bridge(tmp_path, url, constants=constants, rate=0) as bridge,
    ):
        # nobody looks whether it is ready: who did would be one of the four for a moment more
        yield bridge.start_web("--worker-connections", "4", "--threads", "1", ready=False)


def connected(bridge: RunningBridge, raw: bytes) -> socket.socket:
    """A connection over which something has been sent, as soon as there is somebody who listens."""

    def connect() -> socket.socket | None:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", bridge.port), timeout=30)
        return None

    sock = eventually(connect)
    assert sock
    sock.sendall(raw)
    return sock


def answer(sock: socket.socket) -> int:
    """Read one whole answer, and nothing of what comes after it; returns its status."""
    with HTTPResponse(sock) as response:
        response.begin()
        response.read()
    return response.status


ASK = b"GET /healthz HTTP/1.1\r\nHost: bridge\r\n\r\n"


def test_at_the_limit_the_connection_that_has_been_idle_longest_makes_room(crowded: RunningBridge) -> None:
    with contextlib.ExitStack() as stack:
        idle = []
        for _ in range(3):
            idle.append(stack.enter_context(connected(crowded, ASK)))
            assert answer(idle[-1]) == 200
        arriving = stack.enter_context(connected(crowded, request(b"{", length="2")))
        assert exchange(crowded, request(b'{"crowd": "idle"}')) == 200
        assert [sock.recv(65536) for sock in idle[:2]] == [b"", b""]
        idle[2].sendall(ASK)
        arriving.sendall(b"}")
        assert (answer(idle[2]), answer(arriving)) == (200, 200)


def test_without_an_idle_one_the_request_that_has_been_arriving_longest_makes_room(
    crowded: RunningBridge,
) -> None:
    with contextlib.ExitStack() as stack:
        begun = request(b"{", length="2")
        arriving = [stack.enter_context(connected(crowded, begun)) for _ in range(4)]
        assert exchange(crowded, request(b'{"crowd": "arriving"}')) == 200
        assert [sock.recv(65536) for sock in arriving[:2]] == [b"", b""]
        for sock in arriving[2:]:
            sock.sendall(b"}")
            assert answer(sock) == 200


# --- another gunicorn -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("del worker.murder_pending", "no ThreadWorker.murder_pending"),
        ("worker.finish_request = lambda self, conn: None", "other arguments of ThreadWorker.finish_request"),
        ("worker.__init__ = lambda self, *words: None", "no ThreadWorker.pending_conns"),
    ],
)
def test_a_gunicorn_without_what_is_overridden_does_not_start_and_says_why(change: str, said: str) -> None:
    other = f"""
from gunicorn.app.wsgiapp import run
from gunicorn.workers.gthread import ThreadWorker as worker
{change}
run()
"""
    words = ["--config", "config/gunicorn.py", "--bind", "127.0.0.1:0", "bridge.web.app:create_app()"]
    ended = subprocess.run(
        [sys.executable, "-c", other, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "\nError: gunicorn " in ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
