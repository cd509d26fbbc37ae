"""Receiving: refused with a word and a sentence, or stored, cut, and only then acknowledged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from bridge.alert import Webhook
from bridge.errors import Unavailable
from bridge.web.app import READY_SECONDS
from bridge.web.webhooks import LARGEST, LONGEST_NAME, RETRY_SECONDS, normalized_path
from tests.conftest import MakeDatabase
from tests.support.door import OLD, PASSWORD, TOKEN, Door, basic, opened
from tests.support.inside import LONGEST_STORE, NO_NAME

pytestmark = pytest.mark.both_databases

CARD_NUMBER = "4000005556667773"  # of no one: made up, with a right check digit
ALERT: dict[str, Any] = {
    "ethoca_id": "E7K2M4Q8R1T5V9X3Z6B0D2F4H",
    "type": "issuer_alert",
    "alert_timestamp": "2026-03-01T12:00:00",
    "card_number": CARD_NUMBER,
    "amount": 19.90,
    "currency": "USD",
    "note": f"card {CARD_NUMBER}",
}


@pytest.fixture
def door(make_database: MakeDatabase) -> Iterator[Door]:
    with make_database("sqlite") as url, opened(url) as door:
        yield door


@pytest.fixture
def either(database_url: str) -> Iterator[Door]:
    with opened(database_url) as door:
        yield door


# --- taken ---------------------------------------------------------------------------------------


def test_a_webhook_is_stored_cut_and_then_acknowledged(either: Door) -> None:
    answer = either.post(ALERT, headers={"X-Note": f"{CARD_NUMBER} {PASSWORD}"})
    assert answer.status_code == 200
    assert answer.json == {"ethoca_id": ALERT["ethoca_id"], "status": "received"}
    [kept] = either.rows("webhooks")
    body = json.loads(kept.body)
    assert body["card_number"] == "400000******7773"
    assert body["note"] == "card 400000******7773"
    assert body["amount"] == 19.9
    assert kept.headers["authorization"] == "[cut]"
    assert kept.headers["x-note"] == "400000******7773 [cut]"
    [delivery] = either.rows("deliveries")
    assert (delivery.provider, delivery.event_type, delivery.status) == ("ethoca", "issuer_alert", "pending")
    assert delivery.event_id == ALERT["ethoca_id"]
    assert delivery.deadline_at == delivery.received_at + 24 * 3600
    stored = repr([tuple(row) for table in ("webhooks", "deliveries") for row in either.rows(table)])
    for secret in (CARD_NUMBER, PASSWORD, OLD, TOKEN):
        assert secret not in stored


def test_a_body_without_anything_to_cut_is_stored_byte_for_byte(door: Door) -> None:
    body = b'\xef\xbb\xbf{ "ethoca_id":"E1",\n  "amount" : 1.50e0 }'
    assert door.post(body).status_code == 200
    assert door.rows("webhooks")[0].body == body


@pytest.mark.parametrize("password", [PASSWORD, OLD])
def test_two_secrets_are_good_while_one_is_changed(door: Door, password: str) -> None:
    assert door.post(ALERT, headers={"Authorization": basic("ethoca", password)}).status_code == 200


def test_a_repeat_is_answered_alike_and_adds_nothing(either: Door) -> None:
    answers = [either.post(ALERT) for _ in range(3)]
    assert {(one.status_code, one.data) for one in answers} == {(200, answers[0].data)}
    assert len(either.rows("deliveries")) == len(either.rows("webhooks")) == 1


@pytest.mark.parametrize(
    "changes",
    [{"path": "/webhooks/ethoca/alpha"}, {"body": {**ALERT, "amount": 20}}, {"body": {**ALERT, "type": "x"}}],
)
def test_another_path_or_body_is_another_delivery(door: Door, changes: dict[str, Any]) -> None:
    door.post(ALERT)
    assert door.post(changes.get("body", ALERT), changes.get("path", "/webhooks/ethoca")).status_code == 200
    assert len(door.rows("deliveries")) == 2


def test_bodies_that_differ_only_in_what_is_cut_are_repeats(door: Door) -> None:
    """Nobody could tell them apart afterwards, and a card number's digest must not be kept."""
    door.post({**ALERT, "cvv": "123"})
    door.post({**ALERT, "cvv": "456"})
    assert len(door.rows("deliveries")) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'"x"', b"12", b"{}", b"<a/>", b"\0" * 1000]
)
def test_whatever_passes_its_proof_is_kept(door: Door, body: bytes) -> None:
    answer = door.post(body)
    assert (answer.status_code, answer.json["status"]) == (200, "success")
    [kept] = door.rows("webhooks")
    assert kept.body == body
    assert len(door.rows("deliveries")) == 1


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", "odd"]
)
def test_the_content_type_refuses_nothing(door: Door, kind: str) -> None:
    assert door.post(ALERT, content_type=kind).status_code == 200
    assert json.loads(door.rows("webhooks")[0].body)["ethoca_id"] == ALERT["ethoca_id"]


@pytest.mark.parametrize(
    ("codec", "kind"),
    [
        ("utf-8", "application/json"),
        ("utf-8-sig", "application/json"),
        ("utf-16", "application/json; charset=utf-16"),
        ("utf-16-le", "application/json; charset=UTF-16"),
        ("utf-16", "application/json"),
        ("utf-16-be", "application/json"),
        ("utf-32", "application/json"),
        ("iso-8859-1", "application/json; charset=iso-8859-1"),
        ("iso-8859-15", 'application/json; charset="ISO-8859-15"'),
        ("windows-1252", "application/json"),
        ("windows-1252", "application/json; charset=klingon"),
    ],
)
def test_a_body_in_any_charset_is_read_and_its_cards_are_cut(door: Door, codec: str, kind: str) -> None:
    sent = json.dumps({**ALERT, "merchant_descriptor": "M\u00dcLLER"}, ensure_ascii=False).encode(codec)
    assert door.post(sent, content_type=kind).status_code == 200
    [kept] = door.rows("webhooks")
    for reading in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"):
        assert CARD_NUMBER not in kept.body.decode(reading, "replace")
    webhook = Webhook("ethoca", kept.path, kept.body, kept.headers)
    (item,) = door.app.extensions["settings"].providers["ethoca"].read(webhook)
    assert item.event_id == ALERT["ethoca_id"]
    assert (item.tree["card_number"], item.tree["merchant_descriptor"]) == ("400000******7773", "M\u00dcLLER")


def test_a_form_in_parts_is_read_and_its_cards_are_cut(make_database: MakeDatabase) -> None:
    fields = {
        "alert_id": "P-1",
        "alert_type": "DISPUTE",
        "card": CARD_NUMBER,
        "amount": "5",
        "currency": "USD",
        "cvv": "123",
    }
    with make_database("sqlite") as url, opened(url, PAYSHIELD_SECRET="a-token") as door:
        answer = door.client.post(
            "/webhooks/payshield",
            data=fields,
            content_type="multipart/form-data",
            headers={"Authorization": "Bearer a-token"},
        )
        assert answer.status_code == 200
        [kept] = door.rows("webhooks")
        assert CARD_NUMBER.encode() not in kept.body
        provider = door.app.extensions["settings"].providers["payshield"]
        (item,) = provider.read(Webhook("payshield", kept.path, kept.body, kept.headers))
        assert item.event_id == "P-1"
        assert (item.tree["card"], item.tree["cvv"]) == ("400000******7773", "[cut]")


def test_without_a_protocol_of_its_own_the_answer_is_the_delivery_s_id(door: Door) -> None:
    answer = door.post(
        {"event_type": "registration.new", "event_guid": "g1"},
        "/webhooks/midigator",
        headers={"Authorization": basic("midigator", PASSWORD)},
    )
    assert answer.json == {"id": door.rows("deliveries")[0].id, "status": "received"}
    assert answer.content_type == "application/json"


def test_the_path_names_a_store_known_or_not(door: Door) -> None:
    for store in ("alpha", "nowhere"):
        assert door.post(ALERT, f"/webhooks/ethoca/{store}").status_code == 200
    assert {one.store for one in door.rows("deliveries")} == {"alpha", "nowhere"}


def test_the_name_of_a_store_in_the_path_is_kept_only_so_long(door: Door) -> None:
    for store in ("a" * LONGEST_STORE, "b" * (LONGEST_STORE + 1), "c" * 3000):
        assert door.post(ALERT, f"/webhooks/ethoca/{store}").status_code == 200
    assert {one.store for one in door.rows("deliveries")} == {letter * LONGEST_STORE for letter in "abc"}


def test_a_card_number_in_the_path_is_cut_too(door: Door) -> None:
    assert door.post(ALERT, f"/webhooks/ethoca/{CARD_NUMBER}").status_code == 200
    assert CARD_NUMBER not in repr([tuple(row) for row in door.rows("webhooks") + door.rows("deliveries")])


# --- refused -------------------------------------------------------------------------------------


def refused(door: Door, answer: Any, status: int, word: str) -> str:
    """What a refusal says; nothing of the webhook is kept."""
    assert (answer.status_code, answer.json["error"]) == (status, word)
    assert set(answer.json) == {"error", "message"}
    assert door.rows("webhooks") == door.rows("deliveries") == []
    for secret in (PASSWORD, OLD, TOKEN, CARD_NUMBER):
        assert secret not in answer.text
    return str(answer.json["message"])


@pytest.mark.parametrize(
    "header",
    [
        *("", "Basic", "Basic ", "Basic !!!", "Basic \xff", "Bearer x", basic("ethoca", "wrong")),
        *(basic("verifi", PASSWORD), basic("", ""), basic("ethoca", PASSWORD) + "x", "basic " + "A" * 4000),
        basic("ethoca", PASSWORD[:-1]),
    ],
)
def test_without_the_right_credentials_it_is_401(door: Door, header: str) -> None:
    answer = door.post(ALERT, headers={"Authorization": header})
    assert refused(door, answer, 401, "bad_proof")
    [counted] = door.rows("refusals")
    assert (counted.provider, counted.reason, counted._mapping["count"]) == ("ethoca", "bad_proof", 1)


def test_without_any_header_it_is_401(door: Door) -> None:
    answer = door.client.post("/webhooks/ethoca", data=b"{}")
    assert "missing" in refused(door, answer, 401, "bad_proof")


@pytest.mark.parametrize(
    "path",
    [
        *("/webhooks/nobody", "/webhooks/chargeblast", "/webhooks/..", "/webhooks/%00", "/webhooks/\u00fc"),
        *("/webhooks", "/webhooks/", "/Webhooks/NoBody/", "/webhooks/nobody/alpha/more", "/webhooks/a%0Ab"),
    ],
)
def test_an_unknown_provider_and_one_without_a_secret_are_404_and_counted(door: Door, path: str) -> None:
    refused(door, door.post(ALERT, path), 404, "unknown_provider")
    [counted] = door.rows("refusals")
    assert counted.reason == "unknown_provider"
    assert counted.provider.isprintable()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/webhooks/etoca", "etoca"),
        ("/webhooks/etoca/alpha", "etoca/alpha"),
        ("/webhooks/ETOCA/", "etoca"),
        (f"/webhooks/{'x' * 99}", "x" * LONGEST_NAME),
        (f"/webhooks/{CARD_NUMBER}", "400000******7773"),
        ("/webhooks/ethoca%20", "ethoca "),
        ("/webhooks", NO_NAME),
        ("/webhooks//", NO_NAME),
    ],
)
def test_a_mistyped_url_is_counted_by_its_name(door: Door, path: str, name: str) -> None:
    assert door.post(ALERT, path).status_code == 404
    [counted] = door.rows("refusals")
    assert counted.provider == name


@pytest.mark.parametrize(
    "path",
    [
        *("/webhooks/ethoca/", "/webhooks/ETHOCA", "/Webhooks/Ethoca/", "/WEBHOOKS/ethoca"),
        *("/webhooks/ethoca//", "/webhooks//ethoca", "/webhooks///Ethoca/"),
    ],
)
def test_letters_case_and_further_slashes_of_a_url_do_not_matter(door: Door, path: str) -> None:
    assert door.post(ALERT, "/webhooks/ethoca").status_code == 200
    assert door.post(ALERT, path).status_code == 200
    [kept] = door.rows("webhooks")  # it is a repeat
    assert kept.path == "/webhooks/ethoca"


@pytest.mark.parametrize("path", ["//webhooks/ethoca", "/webhooks//ethoca/", "/Webhooks///ETHOCA//"])
def test_a_path_of_a_webhook_is_routed_with_single_slashes(path: str) -> None:
    assert normalized_path(path) == "/webhooks/ethoca"
    assert normalized_path("//deliveries//x/") == "//deliveries//x/"


def test_a_store_in_the_path_may_be_written_in_any_case(door: Door) -> None:
    assert door.post(ALERT, "/webhooks/ethoca/Alpha/").status_code == 200
    assert door.rows("deliveries")[0].store == "alpha"


@pytest.mark.parametrize(
    "name",
    [
        CARD_NUMBER,
        "x" * 30 + CARD_NUMBER,
        "4111%201111%201111%201111",
        "%34111-1111-1111-1111",
        "4%2531" + "1" * 14,
    ],
)
def test_the_log_of_a_refusal_names_no_card(door: Door, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CapturingLogger()
    monkeypatch.setattr("bridge.web.webhooks.log", log)
    refused(door, door.post(ALERT, f"/webhooks/{name}"), 404, "unknown_provider")
    [line] = log.calls
    assert re.search(r"\d{6}\*", line.kwargs["provider"])
    assert not re.search(r"\d[\d -]{6}", line.kwargs["provider"])


@pytest.mark.parametrize("size", [LARGEST, LARGEST + 1, 10_000_000])
def test_more_than_256_kb_are_413(door: Door, size: int) -> None:
    answer = door.post(b" " * size)
    if size > LARGEST:
        assert "256 kB" in refused(door, answer, 413, "too_large")
    else:
        assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
def test_a_compressed_body_is_415(door: Door, encoding: str) -> None:
    answer = door.post(ALERT, headers={"Content-Encoding": encoding})
    refused(door, answer, 415, "unsupported_encoding")
    assert door.post(ALERT, headers={"Content-Encoding": "identity"}).status_code == 200


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_a_webhook_is_posted(door: Door, method: str) -> None:
    answer = getattr(door.client, method)("/webhooks/ethoca")
    assert (answer.status_code, answer.json["error"]) == (405, "bad_request")


def test_what_cannot_be_stored_is_503_and_asks_to_come_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> str:
        raise Unavailable

    monkeypatch.setattr(door.inbox, "add", away)
    answer = door.post(ALERT)
    refused(door, answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == str(RETRY_SECONDS)
    assert door.rows("refusals") == [], "it is no fault of the sender's"


def test_a_bug_is_503_and_shows_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> str:
        raise ZeroDivisionError(CARD_NUMBER)

    monkeypatch.setattr(door.inbox, "add", bug)
    answer = door.post(ALERT)
    refused(door, answer, 503, "unavailable")
    assert "ZeroDivision" not in answer.text


def test_refusals_are_counted_even_while_that_cannot_be_stored(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable

    monkeypatch.setattr(door.inbox, "count_refusal", away)
    answer = door.post(ALERT, headers={"Authorization": "Basic x"})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/nothing", "/webhook/ethoca", "/ethoca"])
def test_elsewhere_there_is_nothing(door: Door, path: str) -> None:
    answer = door.client.post(path, data=b"{}")
    assert (answer.status_code, (answer.json or {})["error"]) == (404, "not_found")


# --- health --------------------------------------------------------------------------------------


def test_the_process_is_healthy_and_ready(either: Door) -> None:
    assert either.client.get("/healthz").json == {"status": "ok"}
    answer = either.client.get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"status": "ready"})


def stop_its_clock(door: Door) -> list[float]:
    """What the web process takes for the time: the last of these."""
    past = [1000.0]
    door.app.extensions["readiness"].clock = lambda: past[-1]
    return past


def test_without_its_schema_it_is_healthy_but_not_ready(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr("bridge.web.app.log", log)
    with make_database("sqlite", migrated=False) as url, opened(url) as door:
        assert door.client.get("/healthz").status_code == 200
        moments = stop_its_clock(door)
        for _ in range(3):
            moments.append(moments[-1] + READY_SECONDS)
            answer = door.client.get("/readyz")
            assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
        [line] = log.calls
        assert "bridge migrate" in line.kwargs["why"]
        assert door.post(ALERT).status_code == 503


@pytest.mark.parametrize("path", ["/readyz", "/api/deliveries", "/deliveries"])
def test_of_a_database_that_is_away_no_answer_says_where_it_is(path: str) -> None:
    url = "postgresql+psycopg://somebody:something@127.0.0.1:1/somewhere"
    with opened(url, BRIDGE_BIND="127.0.0.1:8000") as door:
        answer = door.client.get(path)
    assert answer.status_code == 503
    assert not re.search("some|127|port", answer.text)


def test_whoever_asks_whether_it_is_ready_makes_it_look_once_a_second(
    either: Door,
) -> None:
    moments = stop_its_clock(either)

    def written() -> list[float]:
        return [row.at for row in either.rows("memos") if row.kind == "ready"]

    assert {either.client.get("/readyz").status_code for _ in range(5)} == {200}
    [first] = written()
    moments.append(moments[-1] + 0.99)
    either.client.get("/readyz")
    assert written() == [first]
    moments.append(moments[-1] + 0.02)
    either.client.get("/readyz")
    assert written() > [first]


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/webhooks/ethoca", "/Webhooks/nobody/", "/webhooks"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_other_methods_are_refused_on_every_address_of_webhooks(door: Door, path: str, method: str) -> None:
    assert door.app.test_client().open(path, method=method).status_code == 405


def refused_names(door: Door) -> dict[str, int]:
    return {row.provider: row.count for row in door.rows("refusals")}


def test_a_provider_that_is_not_enabled_is_counted_by_its_name(door: Door) -> None:
    assert door.post(ALERT, path="/webhooks/adyen/alpha").status_code == 404
    assert refused_names(door) == {"adyen": 1}


def test_only_twenty_unknown_names_of_a_day_are_counted_by_themselves(either: Door) -> None:
    for n in range(25):
        either.post(b"", path=f"/webhooks/nobody{n:02d}")
    either.post(b"", path="/webhooks/nobody03")
    either.post(b"", path="/webhooks/ethoca", headers={"Authorization": "Basic no"})
    counted = refused_names(either)
    assert counted == {
        **{f"nobody{n:02d}": 1 for n in range(20)},
        "nobody03": 2,
        "*": 5,
        "ethoca": 1,
    }


def test_a_name_in_an_address_is_cut_before_it_is_written(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (CARD_NUMBER, f"x{'%0a' * 3}y", "z" * 300, "\u202eabc"):
        door.post(b"", path=f"/webhooks/{name}")
    names = refused_names(door)
    assert all(name.isprintable() and len(name) <= 40 for name in names)
    assert CARD_NUMBER not in "".join(names) + capsys.readouterr().out
    assert "z" * 40 in names
