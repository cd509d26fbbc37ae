"""The viewer: who may look, what the pages say, and what an operator can do there."""

from __future__ import annotations

import functools
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from html.parser import HTMLParser
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from bridge.providers import proof
from bridge.storage import stats
from bridge.web import auth, charts, formatting, pages, viewer
from bridge.web.app import create_app
from bridge.web.headers import HEADERS
from bridge.worker import checks, notify
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge
from tests.support.clock import DAY
from tests.support.history import OUTLET, bridge_with_outlet, refuse, review, trouble
from tests.support.next29 import STORE
from tests.support.pages import HOSTILE, PASSWORD, every_page, send_hostile_text
from tests.support.statements import away, statements
from tests.support.webhooks import PASSWORDS, Sent, basic

Json = dict[str, Any]
HTML = {"Accept": "text/html"}


@contextmanager
def opened(make_database: MakeDatabase, **changes: Any) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_with_outlet(url, **changes) as bridge:
        yield bridge


@pytest.fixture
def bridge(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    """A viewer without a password, on loopback."""
    with opened(make_database) as made:
        yield made


@pytest.fixture
def locked(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    """A viewer with a password, reached from everywhere."""
    with opened(make_database, password=PASSWORD, on_loopback=False, secret_key="k" * 32) as made:
        yield made


def page(client: FlaskClient, path: str, status: int = 200) -> str:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == status, (path, answer.text)
    return answer.text


def form_token(client: FlaskClient, path: str = "/stores") -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page(client, path))
    assert found
    return found[1]


def submit(client: FlaskClient, path: str, seen: str = "/stores", **values: str) -> TestResponse:
    """Post a form as its page would."""
    return client.post(path, data={"form_token": form_token(client, seen), **values}, headers=HTML)


def sign_in(client: FlaskClient, password: str = PASSWORD, onward: str = "/") -> TestResponse:
    return submit(client, "/sign-in", "/sign-in", password=password, next=onward)


class Reader(HTMLParser):
    """Reads a page's links, its elements and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "a":
            self.links.append(dict(attrs).get("href") or "")

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


# --- who may look -------------------------------------------------------------------------------


def test_without_a_password_the_viewer_is_off(make_database: MakeDatabase) -> None:
    with opened(make_database, on_loopback=False) as bridge:
        for path in ("/", "/deliveries", "/cases", "/stores", "/sign-in", "/static/style.css"):
            answer = bridge.client.get(path)
            assert answer.status_code == 404
            assert answer.json is not None
            assert answer.json["error"] == "not_found"
        assert "BRIDGE_PASSWORD is not set" in page(bridge.client, "/", 404)


def test_on_loopback_no_password_is_needed(bridge: InProcessBridge) -> None:
    for host in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
        assert bridge.client.get("/", headers={"Host": host}).status_code == 200
    assert bridge.client.get("/sign-in").status_code == 404


def test_the_right_password_opens_the_page_that_was_wanted(locked: InProcessBridge) -> None:
    wanted = locked.client.get("/deliveries?status=failed", headers=HTML)
    assert wanted.headers["Location"] == "/sign-in?next=/deliveries?status%3Dfailed"
    assert "Password" in page(locked.client, wanted.headers["Location"])
    answer = sign_in(locked.client, onward="/deliveries?status=failed")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/deliveries?status=failed")
    assert "Alerts" in page(locked.client, "/deliveries?status=failed")
    assert locked.client.get("/sign-in").headers["Location"] == "/"


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " ", PASSWORD.upper(), "pass\x00word", "å"])
def test_a_wrong_password_opens_nothing(locked: InProcessBridge, password: str) -> None:
    answer = sign_in(locked.client, password)
    assert answer.status_code == 401
    assert "Wrong password" in answer.text
    assert locked.client.get("/").status_code == 303


def test_who_guesses_waits_longer_every_time(locked: InProcessBridge) -> None:
    throttle: auth.Throttle = locked.app.extensions["throttle"]
    now = 1000.0
    throttle.clock = lambda: now
    for _ in range(auth.FREE_TRIES):
        assert sign_in(locked.client, "wrong").status_code == 401
    answer = sign_in(locked.client)  # the right one, too soon
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 4
    waits = []
    for _ in range(12):
        waits.append(throttle.admit("127.0.0.1"))
        now += waits[-1] + 0.1
        assert sign_in(locked.client, "wrong").status_code == 401
    assert waits[:3] == pytest.approx([2, 4, 8])
    assert waits[-1] == auth.LONGEST_WAIT
    now += auth.LONGEST_WAIT
    assert sign_in(locked.client).status_code == 303
    assert throttle.tries == {}


def test_the_throttle_forgets_who_tried_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_ADDRESSES", 3)
    throttle = auth.Throttle(clock=lambda: 0.0)
    for number in (1, 2, 3, 1, 4, 5):
        assert throttle.admit(f"10.0.0.{number}") == 0
    assert throttle.tries == {"10.0.0.1": (2, 0.0), "10.0.0.4": (1, 0.0), "10.0.0.5": (1, 0.0)}


def test_guesses_at_the_same_time_are_no_more_than_guesses_in_turn(
    locked: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(given: str, expected: str) -> bool:
        time.sleep(0.05)
        return proof.same(given, expected)

    def guess(client: FlaskClient, token: str) -> int:
        return client.post("/sign-in", data={"form_token": token, "password": "wrong"}).status_code

    clients = [locked.app.test_client() for _ in range(20)]
    tokens = [form_token(client, "/sign-in") for client in clients]
    monkeypatch.setattr(auth, "same", slow)
    with ThreadPoolExecutor(20) as pool:
        found = Counter(pool.map(guess, clients, tokens))
    assert found == {401: auth.FREE_TRIES, 429: 20 - auth.FREE_TRIES}


def test_many_addresses_guess_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_ADDRESSES", 50)
    throttle, often = auth.Throttle(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as pool:
            assert not any(pool.map(throttle.admit, (f"10.0.{n // 250}.{n % 250}" for n in range(5000))))
    finally:
        sys.setswitchinterval(often)
    assert len(throttle.tries) == 50


def test_an_address_of_a_network_counts_as_that_network() -> None:
    assert (
        auth.client_network("2001:db8:1:2:3::4")
        == auth.client_network("2001:db8:1:2:ffff::1")
        == "2001:db8:1:2::/64"
    )
    assert auth.client_network("192.0.2.7") == "192.0.2.7"
    assert auth.client_network(None) == auth.client_network("nonsense") == "unknown"


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_behind_proxies_each_client_is_throttled_alone(make_database: MakeDatabase, hops: int) -> None:
    proxies = "".join(f", 10.0.0.{number}" for number in range(1, hops))
    with opened(make_database, password=PASSWORD, proxy_hops=hops) as bridge:
        for number in range(auth.FREE_TRIES):
            client = bridge.app.test_client()
            token = form_token(client, "/sign-in")
            answer = client.post(
                "/sign-in",
                data={"form_token": token, "password": "wrong"},
                headers={
                    "X-Forwarded-For": f"203.0.113.{number}, 198.51.100.1{proxies}"
                },  # the first is the client's own say
            )
            assert answer.status_code == 401
        throttle: auth.Throttle = bridge.app.extensions["throttle"]
        assert list(throttle.tries) == ["198.51.100.1"]


def test_nobody_is_believed_where_no_proxy_stands(locked: InProcessBridge) -> None:
    token = form_token(locked.client, "/sign-in")
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    answer = locked.client.post("/sign-in", data={"form_token": token, "password": "x"}, headers=headers)
    assert "Secure" not in answer.headers.get("Set-Cookie", "")
    assert list(locked.app.extensions["throttle"].tries) == ["127.0.0.1"]


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
@pytest.mark.parametrize("hops", [1, 2])
def test_cookies_are_secure_when_the_request_came_by_https(
    make_database: MakeDatabase, scheme: str, secure: bool, hops: int
) -> None:
    with opened(make_database, password=PASSWORD, proxy_hops=hops) as bridge:
        answer = bridge.client.get("/sign-in", headers={"X-Forwarded-Proto": scheme})
        cookie = answer.headers["Set-Cookie"]
        assert ("Secure" in cookie) is secure
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert ("Strict-Transport-Security" in answer.headers) is secure


def test_a_session_ends_when_the_password_changes(locked: InProcessBridge) -> None:
    sign_in(locked.client)
    cookie = locked.client.get_cookie("bridge_session")
    assert cookie
    changed = create_app(replace(locked.settings, password="another"), locked.database)
    client = changed.test_client()
    client.set_cookie("bridge_session", cookie.value)
    assert client.get("/").status_code == 303
    same = create_app(locked.settings, locked.database).test_client()
    same.set_cookie("bridge_session", cookie.value)
    assert same.get("/").status_code == 200


def test_a_session_that_somebody_wrote_himself_opens_nothing(locked: InProcessBridge) -> None:
    sign_in(locked.client)
    cookie = locked.client.get_cookie("bridge_session")
    assert cookie
    for value in ("", "x", cookie.value[:-1], "e30." + cookie.value.partition(".")[2]):
        client = locked.app.test_client()
        client.set_cookie("bridge_session", value)
        assert client.get("/").status_code == 303


def test_without_a_secret_key_all_processes_make_the_same_one(locked: InProcessBridge) -> None:
    bare = replace(locked.settings, secret_key=None)
    keys = {create_app(bare, locked.database).secret_key for _ in range(2)}
    assert len(keys) == 1
    assert keys != {create_app(replace(bare, password="other"), locked.database).secret_key}


def test_signing_out_ends_the_session(locked: InProcessBridge) -> None:
    sign_in(locked.client)
    assert submit(locked.client, "/sign-out").headers["Location"] == "/sign-in"
    assert locked.client.get("/").status_code == 303


def copied(locked: InProcessBridge, client: FlaskClient) -> FlaskClient:
    """A browser in another process that has the same cookie."""
    cookie = client.get_cookie("bridge_session")
    assert cookie
    other = create_app(locked.settings, locked.database).test_client()
    other.set_cookie("bridge_session", cookie.value)
    return other


def test_signing_out_ends_the_session_for_whoever_has_copied_it(locked: InProcessBridge) -> None:
    stays = locked.app.test_client()
    sign_in(stays)
    sign_in(locked.client)
    copy = copied(locked, locked.client)
    assert copy.get("/").status_code == 200
    submit(locked.client, "/sign-out")
    assert copy.get("/").status_code == 303
    assert copy.get("/sign-in").status_code == 200
    assert copy.post(f"/stores/{STORE}/pause").status_code == 401
    assert stays.get("/").status_code == 200, "that of another browser goes on"
    locked.clock.now += 700  # as long as an answer to an installation is good for
    locked.inside.shared_state.redeem_once("install", "x", 600)
    assert copy.get("/").status_code == 303
    sign_in(locked.client)
    assert locked.client.get("/").status_code == 200


def test_a_session_ends_after_a_week_however_much_it_is_used(locked: InProcessBridge) -> None:
    sign_in(locked.client)
    form_token(locked.client)  # which the session keeps
    day = 86_400.0
    for _ in range(6):
        locked.clock.now += day
        answer = locked.client.get("/")
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    copy = copied(locked, locked.client)
    locked.clock.now += day - 60
    assert (locked.client.get("/").status_code, copy.get("/").status_code) == (200, 200)
    locked.clock.now += 120
    assert (locked.client.get("/").status_code, copy.get("/").status_code) == (303, 303)


def test_what_ended_sessions_leave_behind_is_removed(locked: InProcessBridge) -> None:
    for _ in range(3):
        sign_in(locked.client)
        submit(locked.client, "/sign-out")
        locked.clock.now += auth.SIGNED_IN_FOR.total_seconds() + 60
    with locked.database.read() as connection:
        used = connection.execute(text("SELECT name FROM memos WHERE kind = 'session'")).all()
    assert len(used) == 1


def test_a_session_that_cannot_be_ended_is_not_said_to_be(locked: InProcessBridge) -> None:
    sign_in(locked.client)
    token = form_token(locked.client)
    with locked.database.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("ALTER TABLE memos RENAME TO elsewhere"))
    for answer in (
        locked.client.post("/sign-out", data={"form_token": token}, headers=HTML),
        locked.client.get("/sign-in", headers=HTML),
    ):
        assert answer.status_code == 503
        assert "The database is not available" in answer.text


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/\t/evil.example",
        "http:evil.example",
        "",
    ],
)
def test_nobody_is_led_elsewhere(locked: InProcessBridge, elsewhere: str) -> None:
    assert sign_in(locked.client, onward=elsewhere).headers["Location"] == "/"


def test_a_form_without_its_token_changes_nothing(bridge: InProcessBridge) -> None:
    failed = bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    case = "c_" + "0" * 21
    forms = (
        f"/deliveries/{failed}/replay",
        f"/deliveries/{failed}/dismiss",
        f"/cases/{case}/match",
        f"/cases/{case}/tell",
        f"/cases/{case}/outcome",
        f"/stores/{STORE}/pause",
        f"/stores/{STORE}/resume",
        "/replays?status=failed",
        f"/replays/{case}/stop",
    )
    posts = {rule.rule for rule in bridge.app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    viewers = {one for one in posts if not one.startswith(("/webhooks", "/api", "/sign"))}
    assert len(viewers) == len(forms)
    token = form_token(bridge.client)
    for path in forms:
        for given in ({}, {"form_token": ""}, {"form_token": token + "x"}):
            assert bridge.client.post(path, data=given).status_code == 400, path
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert bridge.client.post(path, data={"form_token": token}, headers=foreign).status_code == 400
        stranger = bridge.app.test_client()
        assert stranger.post(path, data={"form_token": token}).status_code == 400
    assert bridge.delivery(failed)["status"] == "failed"
    assert bridge.search.stores()[0]["paused_at"] is None


# --- what every answer carries ------------------------------------------------------------------


def test_every_answer_carries_the_headers(bridge: InProcessBridge) -> None:
    answers = [
        bridge.client.get("/"),
        bridge.client.get("/nothing"),
        bridge.client.get("/deliveries/nothing"),
        bridge.client.get("/healthz"),
        bridge.client.get("/api/deliveries"),
        bridge.client.get("/api/deliveries?colour=red"),
        bridge.client.get("/metrics"),
        bridge.client.get("/static/style.css"),
        bridge.client.post("/webhooks/ethoca", data=b"{}"),
        bridge.client.delete("/"),
    ]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, answer.request.path
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        answer.close()


def test_what_has_its_content_in_its_address_is_kept(bridge: InProcessBridge) -> None:
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page(bridge.client, "/"))
    assert len(addresses) == 4
    for address in addresses:
        with bridge.client.get(address) as answer:
            assert answer.status_code == 200
            assert "immutable" in answer.headers["Cache-Control"]


def test_no_page_has_a_script_or_a_style_of_its_own(bridge: InProcessBridge) -> None:
    trouble(bridge)
    for path in every_page(bridge):
        for tag, attributes in Reader(page(bridge.client, path)).elements:
            assert "style" not in attributes, path
            assert not [name for name in attributes if name.startswith(("on", "hx-on", "hx-vals"))], path
            assert tag != "style", path
            assert tag != "script" or (attributes["src"] or "").startswith("/static/"), path


def test_what_providers_send_is_text_on_every_page(bridge: InProcessBridge) -> None:
    send_hostile_text(bridge)
    for path in [
        *every_page(bridge),
        f"/deliveries?q={HOSTILE}",
        f"/cases?q={HOSTILE}",
        f"/deliveries?status={HOSTILE}",
    ]:
        html = bridge.client.get(path, headers=HTML).text
        reader = Reader(html)
        assert "<script>alert" not in html, path
        assert not [a for t, a in reader.elements if t == "img" or "onerror" in a], path
    assert HOSTILE in Reader(page(bridge.client, "/deliveries")).text


# --- what the pages say -------------------------------------------------------------------------


def test_an_empty_log_opens_on_every_page(bridge: InProcessBridge) -> None:
    for path in every_page(bridge):
        page(bridge.client, path)
    said = Reader(page(bridge.client, "/")).text
    assert "No alerts yet" in said
    assert "No worker is running. No heartbeat received yet." in said


def test_a_log_with_nothing_to_do_says_so(bridge: InProcessBridge) -> None:
    bridge.send_sample()
    bridge.work()
    said = Reader(page(bridge.client, "/")).text
    assert "Nothing needs attention" in said
    assert "Alerts today 1" in said
    assert "Forwarded 100.0 %" in said


def test_the_first_page_says_what_needs_a_person(bridge: InProcessBridge) -> None:
    trouble(bridge)
    said = Reader(page(bridge.client, "/")).text
    for sentence in (
        f"Store {OUTLET} is paused",
        "1 alert failed: untranslatable",
        "1 alert failed: unknown event",
        "1 alert failed: no store",
        "1 dispute to be reviewed",
        "3 webhooks of midigator rejected: bad proof",
        "Most urgent",
        "USD",
    ):
        assert sentence in said, sentence
    bridge.clock.now += 600
    assert "No worker is running" in Reader(page(bridge.client, "/")).text


def test_the_first_page_says_how_to_fix_what_needs_a_person(bridge: InProcessBridge) -> None:
    trouble(bridge)
    refuse(bridge, "midigator", 1)
    bridge.inside.reject("kount", "unknown_provider", "This provider has no secret here.", known=True)
    bridge.inside.reject("etoca", "unknown_provider", "There is no such provider.", known=False)
    bridge.clock.now += 600
    said = Reader(page(bridge.client, "/")).text
    for sentence in (
        "No worker is running",
        "To fix it: Start `bridge worker` (on Heroku",
        "29next answered 401: Invalid token. To fix it: Correct what 29next reports. The bridge retries",
        "To fix it: Enter the value of MIDIGATOR_SECRET at the provider",
        "This provider is not enabled: KOUNT_SECRET is not set.",
    ):
        assert sentence in said, sentence


def test_the_first_page_says_what_the_doctor_says_of_the_setup(make_database: MakeDatabase) -> None:
    with opened(make_database, password="short", stores={}, secrets={}) as bridge:
        sign_in(bridge.client, "short")
        said = Reader(page(bridge.client, "/")).text
    for sentence in (
        "stores none is configured To fix it: Set NEXT_STORE and NEXT_ACCESS_TOKEN",
        "providers all are switched off To fix it: Set <PROVIDER>_SECRET for each provider",
        "viewer BRIDGE_PASSWORD is short enough to guess To fix it: Set BRIDGE_PASSWORD to 12",
    ):
        assert sentence in said, sentence


def test_the_first_page_says_that_no_webhook_can_be_stored(bridge: InProcessBridge) -> None:
    bridge.work()
    assert "Nothing needs attention" in Reader(page(bridge.client, "/")).text
    bridge.app.extensions["readiness"].until = 0.0
    with away(bridge.database, "INSERT INTO memos", 99):
        said = Reader(page(bridge.client, "/")).text
    assert "Nothing needs attention" not in said
    assert "has space and accepts connections" in said


def test_the_first_page_says_that_the_disk_is_full(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.work()
    monkeypatch.setattr(checks, "LEAST_FREE", 10**18)
    assert "To fix it: Free some space on the disk of the database." in Reader(page(bridge.client, "/")).text


def test_what_is_at_stake_of_very_many_is_said_to_be_more(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        bridge.send_sample(
            known=False,
            store="nowhere",
            change=lambda tree: tree.update(chargeback_amount="10.00", chargeback_currency="USD"),
        )
    bridge.work()
    assert "At stake 20.00 USD" in Reader(bridge.client.get("/").text).text
    monkeypatch.setattr(stats, "MOST_AMOUNTS", 1)
    assert "At stake over 10.00 USD" in Reader(bridge.client.get("/").text).text


def test_the_first_page_makes_few_statements_whatever_there_is_to_say(bridge: InProcessBridge) -> None:
    for day in range(3):
        trouble(bridge)
        bridge.clock.now += DAY
        for _ in ("that day's counts are new", "they are known"):
            with statements(bridge.database) as said:
                page(bridge.client, "/")
            assert 0 < len(said) <= 15, day


def test_three_clicks_lead_from_the_first_page_to_why_an_alert_failed(bridge: InProcessBridge) -> None:
    bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="12,50", currency="EURO"))
    for _ in range(5):
        bridge.send_sample()
    bridge.work()
    first = Reader(page(bridge.client, "/"))
    (failed,) = [link for link in first.links if "status=failed" in link]
    listed = Reader(page(bridge.client, failed))
    (alert,) = [link for link in listed.links if link.startswith("/deliveries/")]
    said = Reader(page(bridge.client, alert)).text
    assert "The body does not match this provider's format" in said
    assert "amount '12,50' is not an amount of money, such as 12.50." in said
    assert "currency 'EURO' is not an ISO 4217 currency code." in said
    assert "What to do:" in said


def test_a_delivery_is_told_from_received_to_settled(bridge: InProcessBridge) -> None:
    bridge.fail("502", count=1)
    delivery = bridge.send_sample("ethoca")
    bridge.work()
    bridge.clock.now += 60
    bridge.work()
    found = bridge.delivery(delivery)
    said = Reader(page(bridge.client, f"/deliveries/{delivery}")).text
    story = said[said.index("What happened") : said.index("Payload and mapping")]
    steps = (
        "Received",
        "Translated",
        "open a dispute",
        "Look for the transaction",
        "temporary",
        "502",
        "Look for the transaction",
        "ok",
        "Create the dispute",
        "201",
        "Forwarded to 29next",
    )
    place = 0
    for step in steps:
        place = story.index(step, place) + 1
    alert = found["alert"]
    for fact in (
        alert["case_number"],
        alert["arn"],
        str(found["dispute_id"]),
        f"{alert['amount']} USD",
        "found by",
    ):
        assert fact in said, fact
    assert "card_number 411111******" in said  # the table: theirs, value
    assert '"ethoca_id": "' in said  # the body
    assert "[cut]" in said  # the Authorization header


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        (None, "https://example.29next.store/dashboard/"),
        ("https://{store}.29next.store/x?id={dispute}", f"https://{STORE}.29next.store/x?id=NUMBER"),
    ],
)
def test_a_dispute_leads_to_29next(bridge: InProcessBridge, pattern: str | None, where: str) -> None:
    delivery = bridge.send_sample()
    bridge.work()
    found = bridge.delivery(delivery)
    real = replace(bridge.settings.stores[STORE], base_url="https://example.29next.store/api/admin/")
    bridge.app.extensions["settings"] = replace(bridge.settings, stores={STORE: real}, dispute_url=pattern)
    for page in (f"/deliveries/{delivery}", f"/cases/{found['case_id']}"):
        links = Reader(bridge.client.get(page).text).links
        assert where.replace("NUMBER", str(found["dispute_id"])) in links


def test_what_a_command_line_would_send_has_no_secret(bridge: InProcessBridge) -> None:
    sent = bridge.senders.ethoca()
    bridge.post(sent)
    html = page(bridge.client, f"/deliveries/{bridge.newest()}")
    said = Reader(html).text
    assert "curl -X POST http://127.0.0.1:8000/webhooks/ethoca" in said
    assert "authorization: YOUR SECRET" in said
    assert "--data-binary '{" in said, "whose line ends stay"
    for secret in (PASSWORDS["ethoca"], basic("ethoca")):
        assert secret not in html


def test_a_body_that_looks_like_the_name_of_a_file_is_sent_as_it_is() -> None:
    webhook = {"path": "/webhooks/acme", "headers": {}, "body": "@/etc/passwd"}
    assert str(formatting.curl(webhook, "http://127.0.0.1")).endswith("--data-raw @/etc/passwd")


def test_a_delivery_opens_when_its_body_is_gone(bridge: InProcessBridge) -> None:
    delivery = bridge.send_sample()
    bridge.work()
    bridge.clock.now += 10
    bridge.inside.shared_state.drop_bodies(bridge.clock.now, 10)
    said = Reader(page(bridge.client, f"/deliveries/{delivery}")).text
    assert "Retention has removed the body" in said
    assert "case number" in said


BASE = b'{"type":"issuer_alert","amount":"5","currency":"USD","ethoca_id":"'
BODIES = {
    "lone surrogates": BASE
    + rb'A1\udfff","\ud800":"\udc00","arn":"\ud800","merchant_descriptor":"x\ud83d","order_id":"\ude00"}',
    "a lone surrogate as its type": rb'{"type":"issuer_alert\ud800","ethoca_id":"A2"}',
    "a lone surrogate in a good alert": BASE + rb'A3","amount_\ud800":"\ud800","transaction_id":"\udead"}',
    "surrogates as bytes": BASE + b'A4\xed\xa0\x80","note":"\xed\xb0\x80"}',
    "a form of surrogates": b"ethoca_id=A5%ED%A0%80&type=issuer_alert%00&x=%FF",
    "NUL": BASE + rb'A6","note":"\u0000","arn":"\u0000"}',
    "NUL as it is": BASE + b'A7","note":"\0"}',
    "NUL alone": b"\0" * 1000,
    "no UTF-8": BASE + b'A8","note":"\xff\xfe\x80\xc0"}',
    "every byte": bytes(range(256)),
    "codes of a terminal": BASE + b'A9","note":"\x1b[2J\x9b31m\x07\xe2\x80\xae"}',
    "256 kB of text": BASE + b"A10" + b"a" * (256 * 1024 - len(BASE) - 5) + b'"}',
    "256 kB of numbers": b"[" + b"1," * (128 * 1024 - 2) + b"1]",
    "256 kB of keys": b"{" + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}",
    "256 kB of depth": b'{"a":' * 50_000,
    "256 kB of backslashes": b"\\" * 256 * 1024,
    "nothing": b"",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_stored_body_has_a_page_whatever_it_is(bridge: InProcessBridge, body: bytes) -> None:
    sent = Sent("ethoca", "", body)
    assert bridge.client.post(sent.path, data=sent.body, headers=sent.headers).status_code == 200
    delivery = bridge.newest()
    bridge.work()
    found = bridge.search.delivery(delivery)
    assert found
    paths = [f"/deliveries/{delivery}", f"/api/deliveries/{delivery}", "/deliveries", "/deliveries?text=A"]
    if case := found["case_id"]:
        paths += [f"/cases/{case}", f"/cases/{case}/evidence.json", f"/api/cases/{case}"]
    for path in paths:
        shown = page(bridge.client, path)
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e]", shown), path


def test_a_delivery_opens_when_translating_it_has_a_bug(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def broken(*given: object) -> None:
        asked.append(given)
        raise ZeroDivisionError

    delivery = bridge.send_sample()
    monkeypatch.setattr(pages, "explain", broken)
    assert "What happened" in page(bridge.client, f"/deliveries/{delivery}")
    assert len(asked) == 1


def test_a_pending_delivery_is_asked_for_again_and_a_settled_one_is_not(bridge: InProcessBridge) -> None:
    delivery = bridge.send_sample()
    assert 'hx-trigger="every 3s"' in page(bridge.client, f"/deliveries/{delivery}")
    bridge.work()
    assert "hx-trigger" not in page(bridge.client, f"/deliveries/{delivery}")


def test_a_number_that_is_nowhere_is_looked_for_in_the_bodies(bridge: InProcessBridge) -> None:
    bridge.send_sample(change=lambda tree: tree.update(note="customer 77-B"))
    said = Reader(page(bridge.client, "/deliveries?q=customer+77-B")).text
    assert "No number equals customer 77-B . These bodies contain it." in said
    assert "none of the newest bodies" in Reader(page(bridge.client, "/deliveries?q=customer+78")).text


def test_a_filter_that_cannot_be_is_explained(bridge: InProcessBridge) -> None:
    assert "status is one of" in page(bridge.client, "/deliveries?status=lost", 400)
    assert "There is no filter" in page(bridge.client, "/cases?colour=red", 400)
    assert "Alerts" in page(bridge.client, "/deliveries?status=&q=&since=")  # a form sends empty ones


def test_lists_go_on_where_they_end(bridge: InProcessBridge) -> None:
    sent = [bridge.send_sample() for _ in range(5)]
    first = Reader(page(bridge.client, "/deliveries?limit=3&provider=ethoca"))
    (older,) = [link for link in first.links if "cursor=" in link]
    assert "provider=ethoca" in older
    second = Reader(page(bridge.client, older))
    seen = [
        link.rpartition("/")[2] for link in (*first.links, *second.links) if link.startswith("/deliveries/")
    ]
    assert seen == sent[::-1]


def test_a_thing_that_is_not_there_has_a_page_that_says_so(bridge: InProcessBridge) -> None:
    for path in ("/deliveries/nothing", "/cases/d_" + "0" * 21, "/replays/nothing"):
        assert "There is no such" in page(bridge.client, path, 404)
        assert bridge.client.get(path).json["error"] == "not_found"  # type: ignore[index]


def test_a_database_that_is_away_has_a_page_that_says_so(bridge: InProcessBridge) -> None:
    with bridge.database.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("ALTER TABLE deliveries RENAME TO elsewhere"))
    assert "The database is not available" in page(bridge.client, "/deliveries", 503)


def test_a_page_with_a_bug_shows_nothing_of_it(
    bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the canary")

    monkeypatch.setattr(notify, "conditions", broken)
    said = page(bridge.client, "/", 500)
    assert "This page failed" in said
    assert "canary" not in said


def test_an_address_can_be_asked_for_its_headers_alone(
    bridge: InProcessBridge, locked: InProcessBridge
) -> None:
    assert bridge.client.head("/").status_code == 200
    assert locked.client.head("/").status_code == locked.client.get("/").status_code == 303
    sign_in(locked.client)
    assert locked.client.head("/").status_code == 200


def test_a_provider_that_is_off_names_the_variable_of_its_secret(bridge: InProcessBridge) -> None:
    bridge.app.extensions["settings"] = replace(bridge.settings, secrets={})
    said = Reader(page(bridge.client, "/providers")).text
    for provider in bridge.settings.providers.values():
        assert f"Set {provider.secret_variable} (" in said
    assert "NEXT_SECRET" not in said


@pytest.mark.both_databases
def test_ignored_event_types_are_counted_and_a_new_one_is_said_to_be_new(database_url: str) -> None:
    with bridge_with_outlet(database_url) as bridge:
        for kind in ("NOTIFICATIONTEST", "AUTORESCUE", "AUTORESCUE"):
            bridge.send_sample("adyen", change=partial(rename_event, kind))
            bridge.work()
        assert {one["status"] for one in bridge.deliveries()} == {"ignored"}
        said = Reader(page(bridge.client, "/providers")).text
    types = "AUTORESCUE 2, first now not listed NOTIFICATIONTEST 1, first now"
    assert f"Ignored event types (2) {types}" in said


def rename_event(kind: str, tree: Json) -> None:
    """Give Adyen's notification another event code."""
    tree["notificationItems"][0]["NotificationRequestItem"]["eventCode"] = kind


def test_stores_and_providers_say_how_they_are(bridge: InProcessBridge) -> None:
    trouble(bridge)
    said = Reader(page(bridge.client, "/stores")).text
    assert f"{OUTLET} paused" in said
    assert f"{STORE} active" in said
    assert "29next answered 401" in said
    said = Reader(page(bridge.client, "/providers")).text
    assert "http://127.0.0.1:8000/webhooks/ethoca" in said
    bridge.app.extensions["settings"] = replace(bridge.settings, secrets={"ethoca": ("a:b", "c:d")})
    said = Reader(page(bridge.client, "/providers")).text
    assert "Ethoca on two secrets" in said
    assert "Kount off: no secret Set KOUNT_SECRET" in said


def test_refused_webhooks_are_counted_by_reason(bridge: InProcessBridge) -> None:
    refuse(bridge, "midigator", 3)
    bridge.client.post("/webhooks/ethoca", data=b"x" * 300_000)
    said = Reader(page(bridge.client, "/refused")).text
    assert "midigator bad proof The credentials are wrong. 3" in said
    assert "ethoca too large" in said


def test_money_and_times_are_easy_to_read() -> None:
    assert formatting.money("1234567.50", "USD") == "1,234,567.50 USD"
    assert formatting.money("0.5") == "0.5"
    assert formatting.money(None, "USD") == ""
    assert formatting.money("nonsense", "USD") == "nonsense USD"
    moment = "2026-03-01T12:00:00.250000Z"
    assert formatting.stamp(moment) == "2026-03-01 12:00:00 UTC"
    assert formatting.stamp(moment, "milliseconds") == "2026-03-01 12:00:00.250 UTC"
    assert formatting.stamp("2026-03-01T12:00:00Z", "milliseconds") == "2026-03-01 12:00:00.000 UTC"
    at = 1_772_366_400.25
    assert formatting.ago(moment, at) == "now"
    assert formatting.ago(moment, at + 3600 * 5) == "5 h ago"
    assert formatting.ago(moment, at - 600) == "in 10 min"
    assert formatting.precise(0.0123) == "12 ms"
    assert formatting.precise(2.5) == "2.50 s"
    assert notify.span(86_400 * 5) == "5 days"


def test_json_is_shown_digit_for_digit() -> None:
    body = '{"amount": 10.10, "id": 00012345678901234567890, "big": 123456789012345678901234567890, "a": []}'
    assert formatting.pretty(body) == body  # not JSON: a leading zero
    shown = formatting.pretty(body.replace("000123", "123"))
    assert '"amount": 10.10,\n' in shown
    assert '"big": 123456789012345678901234567890' in shown
    assert formatting.pretty("<case/>") == "<case/>"


def test_charts_fill_their_height_and_no_more() -> None:
    chart = charts.plain(("a", "b", "c"), (5, 0, 10))
    assert chart.top == 10
    assert [[piece.height for piece in bar.pieces] for bar in chart.bars] == [[50], [], [100]]
    assert charts.plain(("a",), (0,)).empty
    assert charts.histogram([0.5, 1.0, 7, 9], (1, 5)) == [1, 1, 2]
    assert charts.quantile([1, 2, 3, 4], 0.5) == 3
    assert charts.quantile([], 0.5) is None


# --- what an operator can do --------------------------------------------------------------------


def test_a_failed_delivery_is_mended_and_replayed(bridge: InProcessBridge) -> None:
    bridge.fail("422", method="POST", path="/disputes/")
    delivery = bridge.send_sample()
    bridge.work()
    path = f"/deliveries/{delivery}"
    said = Reader(page(bridge.client, path)).text
    assert "29next rejected it" in said
    assert "Unprocessable" in said
    bridge.next29.faults.clear()
    answer = submit(bridge.client, f"{path}/replay", path)
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    assert "Replayed" in page(bridge.client, path)
    bridge.settle()
    assert "Forwarded to 29next" in page(bridge.client, path)
    assert "It is pending already" not in page(bridge.client, path)


@pytest.mark.parametrize("known", [True, False])
def test_a_replay_leaves_alone_what_has_no_body_any_more(bridge: InProcessBridge, known: bool) -> None:
    delivery = bridge.send_sample(change=None if known else lambda tree: tree.update(ethoca_id="N/A"))
    bridge.work()
    before = bridge.search.delivery(delivery)
    assert before
    assert before["status"] == ("forwarded" if known else "failed")
    bridge.clock.now += 10
    bridge.inside.shared_state.drop_bodies(bridge.clock.now, 10)
    path = f"/deliveries/{delivery}"
    assert "/replay" not in page(bridge.client, path)
    submit(bridge.client, f"{path}/replay")
    assert "Retention has removed its body" in page(bridge.client, path)
    bridge.client.post(f"/api{path}/replay", json={})
    assert submit(bridge.client, "/replays", status=before["status"]).status_code == 303
    bridge.inside.make_jobs().replay()
    bridge.work()
    after = bridge.search.delivery(delivery)
    assert after
    assert {**after, "webhook": 0} == {**before, "webhook": 0}


def test_a_pending_delivery_is_left_as_it_is(bridge: InProcessBridge) -> None:
    delivery = bridge.send_sample()
    submit(bridge.client, f"/deliveries/{delivery}/replay")
    assert "It is pending already" in page(bridge.client, f"/deliveries/{delivery}")


@pytest.mark.parametrize("query", ["endpoint=x", "_method=POST", "_external=1", "_scheme=ftp", "values=1"])
@pytest.mark.parametrize("path", ["/deliveries", "/cases"])
def test_a_query_chooses_nothing_of_a_page_s_links(bridge: InProcessBridge, path: str, query: str) -> None:
    said = page(bridge.client, f"{path}?{query}", 400)
    assert "There is no filter" in said
    assert "ftp://" not in said
    assert "http://localhost" not in said


@pytest.mark.parametrize("path", ["/deliveries", "/cases"])
def test_a_moment_after_all_others_bounds_a_list(bridge: InProcessBridge, path: str) -> None:
    review(bridge)
    for bound, found in (("since", False), ("until", True)):
        said = page(bridge.client, f"{path}?{bound}=3100-01-01")
        assert (f'href="{path}/' in said) is found


def test_transaction_0_is_none_that_a_person_may_choose(bridge: InProcessBridge) -> None:
    review(bridge)
    (case,) = bridge.search.cases({"state": "review"}).results
    path = f"/cases/{case['id']}"
    assert submit(bridge.client, f"{path}/match", path, transaction="0").status_code == 400


def test_what_is_at_stake_of_several_failed_alerts_of_a_case_is_counted_once(bridge: InProcessBridge) -> None:
    bridge.fail("400", method="POST", path="/disputes/")
    facts = {"ethoca_id": "E-1", "amount": "100.00", "currency": "USD"}
    facts |= {"chargeback_amount": "100.00", "chargeback_currency": "USD"}
    for issuer in ("one", "another"):
        bridge.send_sample(change=functools.partial(dict.update, issuer=issuer, **facts))
    bridge.work()
    assert len(bridge.search.deliveries({"status": "failed"}).results) == 2
    sums = bridge.inside.at_stake()
    assert sums == {"USD": Decimal("100.00")}


@pytest.mark.parametrize("which", ["first", "typed", "none"])
def test_a_match_is_decided_by_a_person(bridge: InProcessBridge, which: str) -> None:
    review(bridge)
    search = bridge.search
    (case,) = search.cases({"state": "review"}).results
    path = f"/cases/{case['id']}"
    said = Reader(page(bridge.client, path)).text
    assert "Which transaction is it?" in said
    assert "several fit" in said
    candidates = [str(one["id"]) for one in case["match"]["candidates"]]
    assert len(candidates) == 2
    chosen = {"first": candidates[0], "typed": candidates[1], "none": "none"}[which]
    answer = submit(bridge.client, f"{path}/match", path, transaction=chosen)
    assert answer.headers["Location"] == path
    assert "Saved" in page(bridge.client, path)
    bridge.work()
    case = bridge.case(case["case_number"])
    assert str(case["transaction_id"]).lower() == chosen
    assert case["state"] == "open"
    assert "Which transaction is it?" not in page(bridge.client, path)


@pytest.mark.parametrize("chosen", ["", "x", "1e3", "-1", "9" * 19])
def test_a_transaction_is_a_number_or_none(bridge: InProcessBridge, chosen: str) -> None:
    review(bridge)
    (case,) = bridge.search.cases({"state": "review"}).results
    assert submit(bridge.client, f"/cases/{case['id']}/match", transaction=chosen).status_code == 400


def test_a_store_is_paused_and_resumed(bridge: InProcessBridge) -> None:
    assert submit(bridge.client, f"/stores/{STORE}/pause").status_code == 303
    delivery = bridge.send_sample()
    bridge.work()
    assert bridge.delivery(delivery)["reason"] == "store_paused"
    assert "Paused by hand." in page(bridge.client, "/stores")
    bridge.clock.now += 3600
    submit(bridge.client, f"/stores/{STORE}/resume")
    bridge.work()
    assert bridge.delivery(delivery)["status"] == "forwarded"
    assert submit(bridge.client, "/stores/nowhere/pause").status_code == 404


def test_a_case_is_handed_out_whole(bridge: InProcessBridge) -> None:
    delivery = bridge.send_sample()
    bridge.work()
    case = bridge.delivery(delivery)["case_id"]
    answer = bridge.client.get(f"/cases/{case}/evidence.json")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{case}.json"'
    whole = json.loads(answer.text)
    assert whole["deliveries"][0]["webhook"]["body"].startswith("{")
    assert [one["path"] for one in whole["attempts"]] == ["transactions/", "disputes/"]
    assert whole["dispute_id"]


def test_many_are_replayed_by_a_plan_and_a_job(bridge: InProcessBridge) -> None:
    bridge.fail("422", method="POST", path="/disputes/")
    failed = [bridge.send_sample() for _ in range(25)]
    bridge.work()
    other = bridge.send_sample("verifi", change=lambda tree: tree.update(caseNumber="N/A"))
    bridge.work()
    bridge.next29.faults.clear()
    listed = Reader(page(bridge.client, "/deliveries?reason=refused"))
    (plan,) = [link for link in listed.links if link.startswith("/replays/new")]
    said = Reader(page(bridge.client, plan)).text
    assert "Replay 25 alerts?" in said
    assert "20 a second" in said
    late = bridge.client
    answer = submit(late, "/replays", plan, reason="refused")
    job = answer.headers["Location"]
    assert "0 of 25 replayed" in Reader(page(bridge.client, job)).text
    bridge.inside.jobs.replay()
    assert "20 of 25 replayed" in Reader(page(bridge.client, job)).text
    bridge.inside.jobs.replay()
    bridge.settle()
    assert "25 of 25 replayed" in Reader(page(bridge.client, job)).text
    assert "done" in Reader(page(bridge.client, "/replays")).text
    assert {bridge.delivery(one)["status"] for one in failed} == {"forwarded"}
    assert bridge.delivery(other)["status"] == "failed"
    assert len(bridge.next29.stores[STORE].disputes.by_id) == 25


def test_a_bulk_replay_puts_each_back_once_though_it_fails_again(bridge: InProcessBridge) -> None:
    failed = [
        bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x")) for _ in range(45)
    ]
    bridge.work()
    bridge.inside.shared_state.start_replay({"status": "failed"}, 45)
    came_later = bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    for _ in range(5):
        bridge.inside.jobs.replay()
        bridge.work()
    (job,) = bridge.inside.shared_state.replays()
    assert (job.done, job.state) == (45, "done")
    assert len(failed) == job.done
    assert came_later >= job.upto


def test_a_bulk_replay_stops_when_told(bridge: InProcessBridge) -> None:
    for _ in range(30):
        bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    ident = bridge.inside.shared_state.start_replay({"status": "failed"}, 30)
    bridge.inside.jobs.replay()
    submit(bridge.client, f"/replays/{ident}/stop")
    bridge.inside.jobs.replay()
    said = Reader(page(bridge.client, f"/replays/{ident}")).text
    assert "stopped" in said
    assert "20 of 30 replayed" in said


@pytest.mark.parametrize("query", ["", "status=pending", "status=lost", "text=a"])
def test_a_bulk_replay_without_a_sensible_filter_is_refused(bridge: InProcessBridge, query: str) -> None:
    assert bridge.client.get(f"/replays/new?{query}").status_code == 400
    values = dict([query.split("=")]) if query else {}
    assert submit(bridge.client, "/replays", **values).status_code == 400
    assert bridge.inside.shared_state.replays() == []


# --- how it looks -------------------------------------------------------------------------------

STYLE = (viewer.FOLDER / "style.css").read_text("utf-8")
PAIRS = [
    *((ink, ground, 4.5) for ink in ("text", "soft", "accent", "bad") for ground in ("bg", "card", "hover")),
    *((tone, f"{tone}-bg", 4.5) for tone in ("good", "wait", "bad", "quiet")),
    ("text", "bad-bg", 4.5),
    ("text", "quiet-bg", 4.5),
    ("on-accent", "accent", 4.5),
    *((f"s{number}", "card", 3.0) for number in range(8)),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_stands_out_enough(scheme: str) -> None:
    """WCAG AA: 4.5 for text, 3 for what is drawn."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))
    weak = {
        (a, b): contrast(colours[a], colours[b])
        for a, b, least in PAIRS
        if contrast(colours[a], colours[b]) < least
    }
    assert not weak


def contrast(one: str, other: str) -> float:
    """The ratio of two colours' luminances, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_a_forwarded_alert_with_a_field_that_cannot_be_read_says_so_once_and_calmly(
    bridge: InProcessBridge,
) -> None:
    ident = bridge.send_sample(
        change=lambda tree: tree.update(chargeback_amount="many", transaction_amount="many")
    )
    bridge.work()
    shown = page(bridge.client, f"/deliveries/{ident}")
    assert 'class="banner wait"' in shown
    assert 'class="bad"' not in shown
    assert 'class="bad-text"' not in shown
    (message,) = {" ".join(one) for one in bridge.delivery(ident)["errors"].values()}
    errors = bridge.delivery(ident)["errors"]
    assert Reader(shown).text.count(message) == len(errors)
    assert "not read" in Reader(shown).text


def test_what_cannot_be_parsed_has_no_heading_for_fields(bridge: InProcessBridge) -> None:
    ident = fail(bridge)
    shown = page(bridge.client, f"/deliveries/{ident}")
    assert "Field by field" not in shown
    assert re.search(r'<div class="buttons">\s*<form.*Replay.*\s*<form.*Dismiss', shown)


def fail(bridge: InProcessBridge) -> str:
    """Post what passes its proof and does not parse; returns its delivery's id."""
    secret = bridge.settings.secrets["ethoca"][0]
    headers = bridge.settings.providers["ethoca"].proof.sign(b"{", secret, datetime.now(UTC), "")
    assert bridge.client.post("/webhooks/ethoca", data=b"{", headers=headers).status_code == 200
    bridge.work()
    return str(bridge.newest())


def test_the_first_page_names_a_mistyped_url_and_how_to_end_a_failure(bridge: InProcessBridge) -> None:
    for name in ("etoca", "ethoca%20", ""):
        assert bridge.client.post(f"/webhooks/{name}").status_code == 404
    fail(bridge)
    said = Reader(page(bridge.client, "/")).text
    for sentence in (
        "1 webhook rejected: /webhooks/etoca",
        "No provider is called etoca: check the URL at your provider.",
        '"/webhooks/ethoca "',
        "/webhooks without a name",
        "Open each one to see why. Replay or dismiss it there.",
    ):
        assert sentence in said, sentence
    assert '"/webhooks/ethoca "' in Reader(page(bridge.client, "/refused")).text
