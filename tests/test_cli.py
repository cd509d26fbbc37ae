"""The command line: what it prints, its exit statuses, and nothing secret in any of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row

from bridge import __version__, cli
from bridge.alert import Alert, DisputeType, Effect, Reason, Status, Webhook
from bridge.database import Database
from bridge.inbox import Inbox, Owed, Verdict
from bridge.provider import Reading
from bridge.sandbox import TOKEN, Sandbox
from bridge.search import CASE_KEYS, DELIVERY_KEYS
from bridge.settings import Store
from tests.conftest import MakeDatabase

SECRETS = {
    "ETHOCA_SECRET": "ethoca:canary-password",
    "MIDIGATOR_SECRET": "midigator:canary-password",
    "CHARGEBLAST_SECRET": "whsec_Y2FuYXJ5LWtleS1vZi10aGlz",
    "BRIDGE_PASSWORD": "canary-of-the-viewer",
    "BRIDGE_API_TOKEN": "canary-of-the-api",
    "SECRET_KEY": "canary-of-the-sessions",
    "NEXT_ACCESS_TOKEN": TOKEN,
}
CANARIES = ("canary", "Y2FuYXJ5", TOKEN)

DELIVERY = (
    *("id", "webhook_id", "provider", "store", "event_id", "event_type", "effect", "status", "reason"),
    *("errors", "case_id", "received_at", "deadline_at", "due_at", "late", "tries"),
)
CASE = (
    *("id", "store", "case_number", "type", "state", "dispute_id", "transaction_id", "match", "resolution"),
    *("amount", "currency", "arn", "providers", "duplicate_of", "deadline_at"),
)


class Said:
    """How a command ended, and what it printed."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        for canary in CANARIES:
            assert canary not in out + err, "nothing secret is ever printed"

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Bridge = Callable[..., Said]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, make_database: MakeDatabase) -> Iterator[pytest.MonkeyPatch]:
    """The environment of a bridge with one store, which nobody calls."""
    for name in ("NEXT_BASE_URL", "BRIDGE_CONFIG", "DYNO", "RENDER", "PORT", "BRIDGE_BIND"):
        monkeypatch.delenv(name, raising=False)
    with make_database("sqlite") as url:
        for name, value in {**SECRETS, "NEXT_STORE": "alpha", "DATABASE_URL": url}.items():
            monkeypatch.setenv(name, value)
        yield monkeypatch


@pytest.fixture
def bridge(environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bridge:  # noqa: ARG001
    def run(*words: str) -> Said:
        try:
            status = cli.main(words)
        except SystemExit as end:  # of argparse
            status = int(str(end.code or 0))
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def inbox(environ: pytest.MonkeyPatch) -> Iterator[Inbox]:  # noqa: ARG001
    url = os.environ["DATABASE_URL"]
    with contextlib.closing(Database(url)) as database:
        inbox = Inbox(database, gap=0.0, lease=60.0)
        inbox.register([ALPHA])
        yield inbox


ALPHA = Store(name="alpha", base_url="https://alpha.29next.store/api/admin/", token=TOKEN)


def keep(inbox: Inbox, number: str, provider: str = "ethoca") -> str:
    """Store a delivery, and translate it: those with an x in their number fail."""
    webhook = Webhook(provider, f"/webhooks/{provider}", b'{"a": 1}', {"host": "bridge.test"})
    ident = inbox.keep(webhook, [Owed(0, f"id-{number}", "issuer_alert", f"{provider}{number}", 3600.0)])

    def judge(row: Row[Any]) -> Verdict:
        told = Alert(case_number=row.event_id[3:], amount=Decimal("19.90"), currency="USD", arn="74" * 11)
        reading = Reading(Effect.OPEN, told)
        if "x" in row.event_id:
            return Verdict(Status.FAILED, Reason.UNTRANSLATABLE, "Bad.", errors={"amount": ["Odd."]})
        return Verdict(Status.PENDING, reading=reading, store=ALPHA)

    inbox.translate(judge, 50)
    return ident


# --- the log -------------------------------------------------------------------------------------


def test_deliveries_are_listed_for_a_person_and_as_json(bridge: Bridge, inbox: Inbox) -> None:
    assert bridge("deliveries").out == "(none)\n"
    ids = [keep(inbox, number) for number in ("C-1", "x-2")]
    lines = bridge("deliveries").out.splitlines()
    assert lines[0].split()[:3] == ["received_at", "id", "provider"]
    assert len(lines) == 3
    page = bridge("deliveries", "--json").json
    assert set(page) == {"results", "next"}
    assert {one["id"] for one in page["results"]} == set(ids)
    assert all(set(DELIVERY) <= set(one) for one in page["results"])
    assert set(DELIVERY) <= set(DELIVERY_KEYS)
    failed = bridge("deliveries", "--json", "--status", "failed").json["results"]
    assert [(one["reason"], one["errors"]) for one in failed] == [
        ("untranslatable", {"amount": ["Odd."]}),
    ]
    assert bridge("deliveries", "--case-number", "C-1", "--provider", "ethoca", "--json").json["results"]


def test_cases_are_listed_for_a_person_and_as_json(bridge: Bridge, inbox: Inbox) -> None:
    keep(inbox, "C-1")
    assert "C-1" in bridge("cases").out
    [case] = bridge("cases", "--json", "--type", "alert").json["results"]
    assert set(CASE) <= set(case)
    assert set(CASE) <= set(CASE_KEYS)
    assert (case["case_number"], case["state"], case["amount"]) == ("C-1", "new", "19.90")
    assert case["match"] == {"rule": None, "candidates": []}
    assert bridge("cases", "--json", "--type", "chargeback").json["results"] == []


def test_a_list_that_goes_on_says_so(bridge: Bridge, inbox: Inbox) -> None:
    for number in range(3):
        keep(inbox, f"C-{number}")
    assert "more" in bridge("deliveries", "--limit", "2").out
    assert bridge("deliveries", "--limit", "2", "--json").json["next"]
    assert bridge("deliveries", "--limit", "3", "--json").json["next"] is None


def test_anything_is_shown_by_its_id(bridge: Bridge, inbox: Inbox) -> None:
    ident = keep(inbox, "C-1")
    shown = bridge("show", ident, "--json").json
    assert (shown["id"], shown["alert"]["case_number"]) == (ident, "C-1")
    assert shown["webhook"]["body"] == '{"a": 1}'
    assert shown["attempts"] == []
    for other in (shown["case_id"], shown["webhook_id"]):
        assert bridge("show", other, "--json").json["id"] == other
        assert bridge("show", other).out
    assert "C-1" in bridge("show", ident).out


def test_replays_are_by_id_or_by_filter(bridge: Bridge, inbox: Inbox) -> None:
    ids = [keep(inbox, number) for number in ("x-1", "x-2", "C-3")]
    assert bridge("replay", ids[0]).out == f"{ids[0]} replayed\n"
    said = bridge("replay", "--status", "failed")
    assert (said.status, said.out) == (0, f"{ids[1]} replayed\n")
    left = bridge("replay", ids[2], "d_nothing")
    assert left.status == 1
    assert all(one in left.err for one in (ids[2], "d_nothing"))


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("show", "d_nothing"),
        ("show", "c_nothing"),
        ("show", "\u00fc"),
        ("deliveries", "--status", "odd"),
        ("deliveries", "--limit", "0"),
        ("deliveries", "--since", "yesterday"),
        ("cases", "--type", "odd"),
        ("replay",),
        ("explain", "nobody", "file.json"),
        ("explain", "ethoca", "/no/such/file.json"),
        ("send", "nobody"),
        ("send", "verifi"),
        ("send", "ethoca", "--event", "odd"),
        ("send", "ethoca", "--url", "http://127.0.0.1:1/webhooks/ethoca"),
        ("match", "c_nothing", "1"),
        ("backfill", "--store", "nobody"),
        ("reconcile", "--store", "nobody", "--since", "2026-01-01"),
    ],
)
def test_an_error_is_one_line_and_exit_status_1(bridge: Bridge, words: tuple[str, ...]) -> None:
    said = bridge(*words)
    assert said.status == 1
    assert said.out == ""
    assert re.fullmatch(r"bridge: [^\n]+\n", said.err)


def test_settings_that_do_not_work_are_all_told_and_exit_status_2(
    bridge: Bridge, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("NEXT_TIMEOUT", "soon")
    environ.setenv("NEXT_STORE", "http://evil.test")
    environ.setenv("ETHOCA_SECRET", "canary")
    for words in (("deliveries",), ("doctor",), ("worker",), ("migrate",), ("providers", "--json"), ("run",)):
        said = bridge(*words)
        assert said.status == 2
        assert said.out == ""
        told = said.err.splitlines()
        assert len(told) == 3
        for name in ("NEXT_TIMEOUT", "NEXT_STORE", "ETHOCA_SECRET"):
            assert any(line.startswith(name) for line in told)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://bridge:canary@127.0.0.1:1/bridge",
        "sqlite:////nowhere/at/all/bridge.db",
    ],
)
@pytest.mark.parametrize(
    "words", [("deliveries",), ("migrate",), ("replay", "--status", "failed"), ("stores",)]
)
def test_a_database_that_is_not_there_is_one_line(
    bridge: Bridge, environ: pytest.MonkeyPatch, url: str, words: tuple[str, ...]
) -> None:
    environ.setenv("DATABASE_URL", url)
    said = bridge(*words)
    assert said.status == 1
    assert re.fullmatch(r"bridge: [^\n]+\n", said.err)


def test_a_database_that_is_not_migrated_is_one_line_and_migrate_helps(
    bridge: Bridge, environ: pytest.MonkeyPatch, make_database: MakeDatabase
) -> None:
    with make_database("postgres", migrated=False) as url:
        environ.setenv("DATABASE_URL", url.replace("postgresql+psycopg", "postgres"))
        assert bridge("deliveries").status == 1
        assert bridge("migrate").out == "The database is up to date.\n"
        assert bridge("deliveries").out == "(none)\n"


def test_commands_have_help(bridge: Bridge) -> None:
    said = bridge("--help")
    assert said.status == 0
    commands = (
        *("run", "worker", "migrate", "sandbox", "send", "deliveries", "cases", "show", "replay", "explain"),
        *("providers", "stores", "doctor", "match", "backfill", "subscribe", "reconcile", "recover"),
    )
    for command in commands:
        assert command in said.out
        assert bridge(command, "--help").status == 0
    assert bridge("--version").out.strip() == __version__
    assert bridge().status == 2
    assert bridge("dance").status == 2


# --- what is set up ------------------------------------------------------------------------------


def test_providers_are_listed_with_their_urls_and_whether_they_are_on(bridge: Bridge, inbox: Inbox) -> None:
    keep(inbox, "C-1")
    listed = {one["provider"]: one for one in bridge("providers", "--json").json["results"]}
    assert listed["ethoca"]["url"].endswith("/webhooks/ethoca")
    assert (listed["ethoca"]["proof"], listed["ethoca"]["secret"]) == ("basic", "set")
    assert listed["ethoca"]["last_delivery"]
    assert listed["verifi"]["secret"].startswith("missing")
    assert "ethoca" in bridge("providers").out


def test_stores_are_listed_with_their_backlog_and_pause(bridge: Bridge, inbox: Inbox) -> None:
    keep(inbox, "C-1")
    inbox.pause("alpha", "29next answered 401: no", None)
    [store] = bridge("stores", "--json").json["results"]
    assert (store["name"], store["waiting"]) == ("alpha", 1)
    assert store["paused_why"] == "29next answered 401: no"
    assert "alpha" in bridge("stores").out


def test_the_doctor_s_exit_status_says_whether_all_is_well(
    bridge: Bridge, environ: pytest.MonkeyPatch
) -> None:
    with Sandbox(rate=0) as shop:
        environ.setenv("NEXT_BASE_URL", shop.base_url)
        assert "alpha" in bridge("doctor").out
        shop.add_token(TOKEN, scopes=["transactions:read"])
        said = bridge("doctor", "--json")
        assert said.status == 1
        assert any(not check["good"] and check["remedy"] for check in said.json)


# --- explain -------------------------------------------------------------------------------------

BODY = {
    "ethoca_id": "E7K2M4Q8R1T5V9X3Z6B0D2F4H",
    "type": "issuer_alert",
    "alert_timestamp": "2026-03-01T12:00:00",
    "card_number": "4000005556667773",
    "amount": "19.90",
    "currency": "USD",
}


def test_a_body_is_explained_without_any_call(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "body.json"
    file.write_text(json.dumps(BODY), "utf-8")
    [said] = bridge("explain", "ethoca", str(file), "--json").json
    assert (said["effect"], said["store"]) == ("open", "alpha")
    assert said["case"]["case_number"] == BODY["ethoca_id"]
    create = said["requests"][-1]
    assert (create["method"], create["path"]) == ("POST", "disputes/")
    assert create["body"]["amount"] == "19.90"
    by_path = {one["path"]: one for one in said["fields"]}
    assert by_path["amount"]["value"] == "19.90"
    told = bridge("explain", "ethoca", str(file))
    assert BODY["card_number"] not in told.out
    assert "POST disputes/" in told.out

    class Piped(io.StringIO):
        buffer = io.BytesIO(json.dumps(BODY | {"amount": "odd"}).encode())

    monkeypatch.setattr(sys, "stdin", Piped())
    wrong = bridge("explain", "ethoca", "-")
    assert wrong.status == 1
    assert "REFUSED" in wrong.out


def test_what_is_told_of_cases_is_of_our_types() -> None:
    assert {kind.value for kind in DisputeType} == {"alert", "chargeback"}
