"""`bridge doctor` finds what is wrong, names the remedy, and changes nothing."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import event

from bridge import cli
from bridge.alert import Webhook
from bridge.cli.doctor import examine
from bridge.storage.database import Database
from bridge.worker import checks
from bridge.worker.checks import Check
from bridge.worker.notify import GONE_AFTER
from bridge.worker.subscriptions import subscribe
from tests.conftest import MakeDatabase
from tests.support.configuring import load
from tests.support.documents import ROOT
from tests.support.inside import NO_NAME, OTHER_NAMES, PAUSED_BY_HAND, Client, Storage, insert_rows
from tests.support.next29 import StandIn, fault
from tests.support.next29.callers import stand_in_here

SECRET = "ethoca:long-enough"


class Patient:
    """A bridge with one store, where all is well until a test changes it."""

    def __init__(self, url: str, next_store: StandIn) -> None:
        self.url = url
        self.next29 = next_store
        self.database = Database(url)
        self.storage = Storage(self.database, lease=55.0)
        self.toml = ""
        self.environ = {
            "DATABASE_URL": url,
            "NEXT_STORE": "alpha",
            "NEXT_ACCESS_TOKEN": "token",
            "NEXT_BASE_URL": next_store.base_url,
            "NEXT_RATE": "0",
            "ETHOCA_SECRET": SECRET,
        }
        self.scopes()
        self.storage.beat("a worker")

    def scopes(self, *scopes: str) -> None:
        """Let the token have these scopes; all of them where none is named."""
        self.next29.add_token("token", "alpha", scopes or None)

    def examined(self, **options: Any) -> dict[str, Check]:
        """What the doctor says, by what it is about."""
        chosen = load(self.toml, **self.environ)
        return {check.name: check for check in examine(chosen, self.database, **options)}

    def bad(self, **options: Any) -> dict[str, Check]:
        """What the doctor calls bad."""
        return {what: check for what, check in self.examined(**options).items() if not check.good}


@pytest.fixture
def next_store() -> Iterator[StandIn]:
    with stand_in_here() as (next29, _):
        yield next29


@pytest.fixture
def patient(make_database: MakeDatabase, next_store: StandIn) -> Iterator[Patient]:
    with make_database("sqlite") as url:
        patient = Patient(url, next_store)
        with closing(patient.database):
            yield patient


def test_nothing_is_bad_where_all_is_well(durable_url: str, next_store: StandIn) -> None:
    patient = Patient(durable_url, next_store)
    with closing(patient.database):
        assert patient.bad() == {}


def test_nothing_is_changed_at_29next(patient: Patient) -> None:
    patient.examined()
    assert patient.next29.ledger.calls
    assert patient.next29.ledger.commits == []


def test_the_pace_is_kept(patient: Patient) -> None:
    patient.next29.rate = 4
    patient.environ["NEXT_RATE"] = "4"
    assert patient.bad() == {}
    assert 429 not in [call.status for call in patient.next29.ledger.calls]


# --- settings ------------------------------------------------------------------------------------


def test_no_store_and_no_provider_are_bad(patient: Patient) -> None:
    patient.environ = {"DATABASE_URL": patient.url}
    bad = patient.bad()
    assert set(bad) == {"stores", "providers"}
    assert "NEXT_STORE" in bad["stores"].fix
    assert "ETHOCA_SECRET=user:password" in bad["providers"].fix


@pytest.mark.parametrize(
    ("variable", "what"), [("BRIDGE_PASSWORD", "viewer"), ("BRIDGE_API_TOKEN", "JSON API")]
)
def test_a_password_that_can_be_guessed_is_bad(patient: Patient, variable: str, what: str) -> None:
    patient.environ[variable] = "secret"
    assert list(patient.bad()) == [what]
    patient.environ[variable] = "nobody guesses this one".replace(" ", "-")
    assert patient.bad() == {}


def test_a_secret_that_was_copied_from_the_documentation_is_bad(patient: Patient) -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    given = re.compile(r"\b(?!NEXT_)[A-Z]+_(?:SECRET|PASSWORD|API_TOKEN)=(?:'(.+?)'|([\w:-]+))")
    examples = {quoted or plain for text in texts for quoted, plain in given.findall(text)}
    assert {"user:password", "a-long-password-made-by-chance"} <= examples <= checks.EXAMPLES
    patient.environ |= {"ETHOCA_SECRET": "user:password", "BRIDGE_PASSWORD": "a-long-password-made-by-chance"}
    assert set(patient.bad()) == {"ETHOCA_SECRET", "BRIDGE_PASSWORD"}
    patient.environ |= {"ETHOCA_SECRET": SECRET, "ETHOCA_SECRET_PREVIOUS": "user:password"}
    assert "ETHOCA_SECRET" in patient.bad()


HERE = {"BRIDGE_BIND": "127.0.0.1:8000"}
PUBLIC = {"BRIDGE_PUBLIC_URL": "https://alerts.invalid"}
LONG = "nobody-guesses-this-one"


@pytest.mark.parametrize(
    ("environ", "viewer", "api"),
    [
        ({}, "off", "off"),
        (HERE, "open", "open"),
        ({**HERE, "BRIDGE_PUBLIC_URL": "http://localhost:8000"}, "open", "open"),
        ({**HERE, "BRIDGE_PROXY_HOPS": "1"}, "off", "off"),
        ({**HERE, "DYNO": "web.1", "ALLOW_EPHEMERAL_SQLITE": "1"}, "off", "off"),
        ({**HERE, **PUBLIC, "BRIDGE_PASSWORD": LONG}, "on", "off"),
        ({**HERE, "BRIDGE_PASSWORD": LONG}, "on", "open"),
        ({**HERE, "BRIDGE_API_TOKEN": LONG}, "open", "on"),
        ({**PUBLIC, "BRIDGE_API_TOKEN": LONG}, "off", "on"),
    ],
)
def test_it_is_said_whom_the_viewer_and_the_api_are_open_to(
    patient: Patient, environ: dict[str, str], viewer: str, api: str
) -> None:
    patient.environ |= environ
    found = patient.examined()
    for what, variable, how in (("viewer", "BRIDGE_PASSWORD", viewer), ("JSON API", "BRIDGE_API_TOKEN", api)):
        said = {"off": f"off: {variable} is not set", "open": "open to this machine"}.get(how, how)
        assert (found[what].good, found[what].message) == (True, said)


def test_what_is_off_is_said_and_advised(patient: Patient) -> None:
    found = patient.examined()["viewer"]
    assert (found.good, found.message) == (True, "off: BRIDGE_PASSWORD is not set")
    patient.environ["BRIDGE_BIND"] = "127.0.0.1:8000"
    found = patient.examined()["viewer"]
    assert (found.good, found.message) == (True, "open to this machine")
    assert "Behind a proxy on this machine, set BRIDGE_PASSWORD" in found.fix


@pytest.mark.parametrize(("rate", "good"), [("0", False), ("4", True), ("4.5", False)])
def test_a_rate_that_29next_does_not_allow_is_bad_but_for_a_pretended_store(
    patient: Patient, rate: str, *, good: bool
) -> None:
    patient.environ["NEXT_RATE"] = rate
    assert patient.examined()["rate"].good
    patient.environ["NEXT_BASE_URL"] = "https://alpha.invalid/api/admin/"
    assert patient.examined()["rate"].good is good


# --- the database --------------------------------------------------------------------------------


def test_a_database_that_is_away_is_bad_and_no_store_is_asked(patient: Patient) -> None:
    away = Database("sqlite:////nowhere/at/all/bridge.db")
    with closing(away):
        chosen = load("", **patient.environ)
        found = {check.name: check for check in examine(chosen, away)}
    assert not found["database"].good
    assert "DATABASE_URL" in found["database"].fix
    assert patient.next29.ledger.calls == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_database_that_is_not_migrated_is_bad(
    kind: str, make_database: MakeDatabase, patient: Patient
) -> None:
    with make_database(kind, migrated=False) as url, closing(Database(url)) as database:
        found = {check.name: check for check in examine(load("", **patient.environ), database)}
    assert "bridge migrate" in found["database"].fix


@pytest.mark.parametrize(
    ("kind", "setting", "said"),
    [
        ("sqlite", "PRAGMA synchronous=NORMAL", "synchronous=1"),
        ("sqlite", "PRAGMA journal_mode=DELETE", "journal_mode=delete"),
        ("postgres", "SET synchronous_commit = off", "synchronous_commit=off"),
    ],
)
def test_commits_that_may_be_lost_are_bad(
    kind: str, setting: str, said: str, make_database: MakeDatabase, next_store: StandIn
) -> None:
    with make_database(kind, durable=True) as url:
        patient = Patient(url, next_store)

        @event.listens_for(patient.database.engine, "checkout")
        def weaken(connection: Any, *_: object) -> None:
            connection.cursor().execute(setting)
            connection.commit()

        patient.database.engine.dispose()
        with closing(patient.database):
            bad = patient.bad()
    assert list(bad) == ["database"]
    assert said in bad["database"].message


@pytest.mark.parametrize(("mode", "good"), [("prefer", False), ("disable", True)])
def test_a_connection_in_clear_text_is_bad_unless_it_is_asked_for(
    mode: str, good: bool, make_database: MakeDatabase
) -> None:
    with (
        make_database("postgres", migrated=False) as url,
        closing(Database(f"{url}&sslmode={mode}")) as database,
    ):

        @event.listens_for(database.engine, "connect")
        def move_away(connection: Any, *_: object) -> None:
            """Let the server, which is on this machine, say that it is on another one."""
            elsewhere = "RETURNS inet LANGUAGE sql AS $$ SELECT inet '192.0.2.1' $$"
            connection.execute(f"CREATE OR REPLACE FUNCTION public.inet_server_addr() {elsewhere}")
            connection.execute("SET search_path = public, pg_catalog")
            connection.commit()

        check = next(checks.check_postgres(database, time.time))
    assert (check.name, check.message, check.good) == ("database's connection", "in clear text", good)


def test_a_full_disk_is_bad(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LEAST_FREE", 10**18)
    assert patient.bad()["database"].fix == "Free some space on the disk of the database."


def test_a_clock_that_is_off_is_bad(durable_url: str, next_store: StandIn) -> None:
    patient = Patient(durable_url, next_store)
    with closing(patient.database):
        bad = patient.bad(clock=lambda: time.time() + 45)
        clocks = {"29next's clock"} | ({"database's clock"} if not patient.database.sqlite else set())
        assert set(bad) == clocks
        assert "behind" in bad["29next's clock"].message
        assert patient.bad(clock=lambda: time.time() + 20) == {}
        assert "ahead of" in patient.bad(clock=lambda: time.time() - 45)["29next's clock"].message


def test_a_worker_that_is_gone_is_bad(patient: Patient) -> None:
    patient.storage.beat_earlier(GONE_AFTER + 5, "a worker")
    bad = patient.bad()
    assert list(bad) == ["worker"]
    assert "bridge worker" in bad["worker"].fix


# --- stores --------------------------------------------------------------------------------------

READ = ("disputes:read", "orders:read", "transactions:read")


def test_a_token_that_is_not_known_is_bad_and_not_asked_again(patient: Patient) -> None:
    patient.next29.revoke("token")
    bad = patient.bad()
    assert list(bad) == ["alpha: disputes:read"]
    assert "access token" in bad["alpha: disputes:read"].fix
    assert len(patient.next29.ledger.calls) == 1


def test_a_token_that_may_not_write_disputes_is_bad(patient: Patient) -> None:
    patient.scopes(*READ, "transactions:write")
    bad = patient.bad()
    assert list(bad) == ["alpha: disputes:write"]
    assert "disputes:write" in bad["alpha: disputes:write"].fix


@pytest.mark.parametrize("scope", ["transactions:read", "transactions:write", "orders:read"])
def test_a_scope_that_the_bridge_can_do_without_is_advised(patient: Patient, scope: str) -> None:
    patient.scopes(*{*READ, "disputes:write", "transactions:write"} - {scope})
    found = patient.examined()[f"alpha: {scope}"]
    assert (found.good, found.message) == (True, "missing")
    assert scope in found.fix


def test_a_store_that_is_only_observed_is_not_asked_whether_it_may_be_written_to(patient: Patient) -> None:
    patient.scopes(*READ)
    patient.toml = "[stores.alpha]\nobserve = true"
    assert patient.bad() == {}
    assert {call.method for call in patient.next29.ledger.calls} == {"GET"}


@pytest.mark.parametrize(
    ("name", "remedy"), [("redirect", "store's name"), ("refuse", "Try again"), ("html_500", "Try again")]
)
def test_a_store_that_does_not_answer_as_29next_does_is_bad(patient: Patient, name: str, remedy: str) -> None:
    made = {"html_500": fault("redirect", status=500, body="<html>")}.get(name) or fault(name)
    patient.next29.add_faults(made)
    assert remedy in patient.bad()["alpha: disputes:read"].fix


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "there is no webhook subscription for the bridge"),
        ({"active": False}, "the webhook subscription is switched off"),
        (
            {"target": "https://elsewhere.example.com/"},
            "the webhook subscription points to https://elsewhere.example.com/, not to ",
        ),
        ({"events": ["transaction.created"]}, "the webhook subscription lacks dispute.created, "),
        ({"secret_key": "another"}, "the webhook subscription signs with another secret"),
    ],
)
def test_a_subscription_that_does_not_tell_the_bridge_is_bad_and_repaired_by_subscribe(
    patient: Patient, change: Any, said: str
) -> None:
    patient.environ |= {"NEXT_WEBHOOK_SECRET": "a-secret", "BRIDGE_PUBLIC_URL": "http://127.0.0.1:9"}
    target = "http://127.0.0.1:9/webhooks/next/alpha"
    store = load(**patient.environ).stores["alpha"]
    with closing(Client(store, version="2023-02-10", timeout=5.0)) as api:
        if change:
            subscribe(api, target, "a-secret", "2023-02-10")
            (hook,) = api.rows("webhooks/", {})
            api.call("PATCH", f"webhooks/{hook['id']}/", body=change)
        check = patient.bad()["alpha: webhooks"]
        assert check.message.startswith(said)
        assert check.fix == "Run `bridge subscribe --store alpha`."
        subscribe(api, target, "a-secret", "2023-02-10")
    assert patient.examined()["alpha: webhooks"] == Check(
        "alpha: webhooks", True, f"29next sends webhooks to {target}"
    )


def test_a_subscription_that_may_not_be_looked_at_names_the_scopes(patient: Patient) -> None:
    patient.environ |= {"NEXT_WEBHOOK_SECRET": "a-secret", "BRIDGE_PUBLIC_URL": "http://127.0.0.1:9"}
    patient.scopes("disputes:read", "disputes:write", "transactions:read", "transactions:write")
    check = patient.bad()["alpha: webhooks"]
    assert "webhooks:read and webhooks:write" in check.fix


def test_a_subscription_list_that_fails_for_another_reason_names_no_scopes(patient: Patient) -> None:
    patient.environ |= {"NEXT_WEBHOOK_SECRET": "a-secret", "BRIDGE_PUBLIC_URL": "http://127.0.0.1:9"}
    patient.next29.add_faults(fault("redirect", path="/webhooks/", status=500, body="<html>"))
    check = patient.bad()["alpha: webhooks"]
    assert "scopes" not in check.fix
    assert "Try again" in check.fix


def test_what_asks_for_a_scope_is_a_body_that_29next_could_take(patient: Patient) -> None:
    patient.examined()
    sent = {call.path: call.body for call in patient.next29.ledger.calls if call.method != "GET"}
    assert sent == {"/disputes/0/": {"amount": "0.00"}, "/transactions/0/refund/": {"amount": "0.00"}}


@pytest.mark.parametrize(
    ("why", "remedy"), [("29next answered 401", "by itself"), (PAUSED_BY_HAND, "/stores")]
)
def test_a_paused_store_is_bad(patient: Patient, why: str, remedy: str) -> None:
    patient.storage.register(*load("", **patient.environ).stores.values())
    patient.storage.pause("alpha", why)
    bad = patient.bad()
    assert list(bad) == ["alpha: paused"]
    assert bad["alpha: paused"].message == why
    assert remedy in bad["alpha: paused"].fix


# --- providers -----------------------------------------------------------------------------------


def test_a_provider_that_is_refused_since_its_last_delivery_is_bad(patient: Patient) -> None:
    patient.storage.reject("ethoca", "bad_proof", "The credentials are wrong.")
    bad = patient.bad()
    assert list(bad) == ["ethoca"]
    assert "bad_proof: The credentials are wrong." in bad["ethoca"].message
    assert "ETHOCA_SECRET_PREVIOUS" in bad["ethoca"].fix
    day_after = time.time() + 2 * 86_400
    assert "ethoca" not in patient.bad(clock=lambda: day_after)
    patient.storage.keep(Webhook("ethoca", "/webhooks/ethoca", b"{}"))
    assert patient.bad() == {}
    assert "last delivery" in patient.examined()["ethoca"].message


@pytest.mark.parametrize(
    ("reason", "message", "remedy"),
    [
        ("too_large", "A webhook has at most 256 kB.", "fewer alerts"),
        ("unsupported_encoding", "Send the body as it is, without Content-Encoding.", "compression"),
        ("bad_request", "The body is incomplete.", "between"),
        ("bad_proof", "The signed timestamp is more than five minutes off.", "NTP"),
        ("bad_proof", "This address is not among the provider's networks.", "networks"),
        ("bad_proof", "The signature is wrong.", "ETHOCA_SECRET"),
    ],
)
def test_the_remedy_is_for_the_reason_of_a_refusal(
    patient: Patient, reason: str, message: str, remedy: str
) -> None:
    patient.storage.reject("ethoca", reason, message)
    said = patient.bad()["ethoca"].fix
    assert remedy in said
    assert ("ETHOCA_SECRET" in said) is (remedy == "ETHOCA_SECRET")


def test_a_former_secret_is_remembered(patient: Patient) -> None:
    patient.environ["ETHOCA_SECRET_PREVIOUS"] = "ethoca:the-former-one"
    found = patient.examined()["ethoca"]
    assert found.good
    assert "ETHOCA_SECRET_PREVIOUS" in found.fix


# --- the way in ----------------------------------------------------------------------------------


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that answers everything in one way; its address."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "good", "said"),
    [
        (200, b'{"status": "ok"}', True, "the bridge answers"),
        (200, b"<html>Welcome</html>", False, "no answer: JSONDecodeError"),
        (200, b'{"hello": 1}', False, "something else answers"),
        (404, b"", False, "answered with 404"),
        (302, b"", False, "answered with 302"),
    ],
)
def test_the_public_address_must_lead_to_the_bridge(
    patient: Patient, status: int, body: bytes, *, good: bool, said: str
) -> None:
    with answering(status, body) as url:
        patient.environ["BRIDGE_PUBLIC_URL"] = url
        found = patient.examined()["public URL"]
    assert (found.good, found.message) == (good, f"{url}/healthz: {said}")


def test_a_public_address_that_nobody_answers_at_is_bad(patient: Patient) -> None:
    patient.environ["BRIDGE_PUBLIC_URL"] = "http://127.0.0.1:9"
    assert "Connection refused" in patient.bad()["public URL"].message


# --- the command ---------------------------------------------------------------------------------


def test_the_command_prints_for_people_and_programs_and_ends_with_a_status(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in patient.environ.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "ok   alpha: disputes:read: granted" in said
    assert "BAD" not in said
    patient.next29.revoke("token")
    assert cli.main(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in found if not one["good"]] == ["alpha: disputes:read"]
    assert set(found[0]) == {"what", "good", "said", "remedy"}
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "BAD  alpha: disputes:read: 29next answered 401" in said
    monkeypatch.setenv("NEXT_TIMEOUT", "soon")
    assert cli.main(["doctor"]) == 2


def test_mistyped_urls_are_named_until_a_day_has_passed(patient: Patient) -> None:
    assert "mistyped URLs" not in patient.examined()
    for name in ("etoca", "etoca", "kount2"):
        patient.storage.reject(name, "unknown_provider", "There is no such provider.", known=False)
    check = patient.bad()["mistyped URLs"]
    assert check.message == "/webhooks/etoca (2), /webhooks/kount2 (1); nothing arrives from ethoca"
    assert "bridge providers" in check.fix
    assert "mistyped URLs" not in patient.examined(clock=lambda: time.time() + 86_401.0)


def test_a_mistyped_url_is_bad_where_a_provider_that_is_much_like_it_sends_nothing(patient: Patient) -> None:
    patient.environ["ETHOCA_SECRET"] = "ethoca:a-password"
    for name in ("etoca/alpha", "ethoca ", "zzz"):
        patient.storage.reject(name, "unknown_provider", "There is no such provider.", known=False)
    check = patient.bad()["mistyped URLs"]
    assert '"/webhooks/ethoca " (1)' in check.message
    assert check.message.endswith("; nothing arrives from ethoca")
    webhook = Webhook("ethoca", "/webhooks/ethoca", b"{}", {})
    patient.storage.keep(webhook)
    assert patient.examined()["mistyped URLs"].good


def test_what_stands_for_other_names_and_for_none_is_said_in_words(patient: Patient) -> None:
    for name in (OTHER_NAMES, NO_NAME):
        patient.storage.reject(name, "unknown_provider", "There is no such provider.", known=True)
    said = patient.examined()["mistyped URLs"].message
    assert set(said.split(", ")) == {"/webhooks/ and any other name (1)", "/webhooks without a name (1)"}


def test_ignored_event_types_that_nobody_listed_are_named_for_a_week(patient: Patient) -> None:
    now = time.time()
    row = {"provider": "adyen", "count": 3, "first_at": now, "last_at": now}
    rows = [row | {"event_type": "AUTORESCUE", "listed": False}, row | {"event_type": "X", "listed": True}]
    insert_rows(patient.database, "ignored_events", rows)
    check = patient.examined()["new event types, ignored"]
    assert (check.good, check.message) == (True, "adyen AUTORESCUE (3)")
    assert "providers.NAME.effects" in check.fix
    assert "new event types, ignored" not in patient.examined(clock=lambda: now + 7 * 86_400.0 + 1)
