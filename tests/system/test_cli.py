"""The command line: what it prints, its exit statuses, and nothing secret in any of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge import __version__, cli
from bridge.alert import Alert, Webhook
from bridge.settings import Store
from bridge.storage import shapes
from bridge.storage.database import Database
from bridge.worker.subscriptions import EVENTS
from tests.conftest import KINDS, MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import Clock, eventually
from tests.support.documents import ROOT
from tests.support.inside import Storage
from tests.support.next29 import STORE, TOKEN, fault

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


class ProviderOutcome:
    """How a command ended, and what it printed."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        for canary in CANARIES:
            assert canary not in out + err, "nothing secret is ever printed"

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Bridge = Callable[..., ProviderOutcome]


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
    def run(*words: str) -> ProviderOutcome:
        return ProviderOutcome(cli.main(words), *capsys.readouterr())

    return run


@pytest.fixture
def storage(environ: pytest.MonkeyPatch) -> Iterator[Storage]:  # noqa: ARG001
    url = os.environ["DATABASE_URL"]
    with contextlib.closing(Database(url)) as database:
        storage = Storage(database)
        storage.register(ALPHA)
        yield storage


ALPHA = Store(name="alpha", base_url="https://alpha.29next.store/api/admin/", token=TOKEN)


def keep(storage: Storage, number: str, provider: str = "ethoca") -> str:
    """Store a delivery, and translate it: those with an x in their number fail."""
    webhook = Webhook(provider, f"/webhooks/{provider}", b'{"a": 1}', {"host": "bridge.test"})
    ident = storage.keep(webhook, f"id-{number}", "issuer_alert", f"{provider}{number}")

    def read(row: Any) -> Alert | None:
        told = Alert(case_number=row.event_id[3:], amount=Decimal("19.90"), currency="USD", arn="74" * 11)
        return None if "x" in row.event_id else told

    storage.translate_as(read, ALPHA)
    return ident


# --- the log -------------------------------------------------------------------------------------


def test_deliveries_are_listed_for_a_person_and_as_json(bridge: Bridge, storage: Storage) -> None:
    assert bridge("deliveries").out == "(none)\n"
    ids = [keep(storage, number) for number in ("C-1", "x-2")]
    lines = bridge("deliveries").out.splitlines()
    assert lines[0].split()[:3] == ["received_at", "id", "provider"]
    assert len(lines) == 3
    page = bridge("deliveries", "--json").json
    assert set(page) == {"results", "next"}
    assert {one["id"] for one in page["results"]} == set(ids)
    assert all(set(DELIVERY) <= set(one) for one in page["results"])
    assert set(DELIVERY) <= set(shapes.Delivery().fields)
    failed = bridge("deliveries", "--json", "--status", "failed").json["results"]
    assert [(one["reason"], one["errors"]) for one in failed] == [
        ("untranslatable", {"amount": ["Odd."]}),
    ]
    assert bridge("deliveries", "--case-number", "C-1", "--provider", "ethoca", "--json").json["results"]


def test_cases_are_listed_for_a_person_and_as_json(bridge: Bridge, storage: Storage) -> None:
    keep(storage, "C-1")
    assert "C-1" in bridge("cases").out
    [case] = bridge("cases", "--json", "--type", "alert").json["results"]
    assert set(CASE) <= set(case)
    assert set(CASE) <= set(shapes.Case().fields)
    assert (case["case_number"], case["state"], case["amount"]) == ("C-1", "new", "19.90")
    assert case["match"] == {"rule": None, "candidates": []}
    assert bridge("cases", "--json", "--type", "chargeback").json["results"] == []


def test_a_match_without_candidates_shows_none(bridge: Bridge, storage: Storage) -> None:
    keep(storage, "C-1")
    [case] = bridge("cases", "--json").json["results"]
    assert "\nmatch           rule: -\n" in bridge("show", case["id"]).out


def test_a_list_that_goes_on_says_so(bridge: Bridge, storage: Storage) -> None:
    for number in range(3):
        keep(storage, f"C-{number}")
    assert "more" in bridge("deliveries", "--limit", "2").out
    assert bridge("deliveries", "--limit", "2", "--json").json["next"]
    assert bridge("deliveries", "--limit", "3", "--json").json["next"] is None


def test_anything_is_shown_by_its_id(bridge: Bridge, storage: Storage) -> None:
    ident = keep(storage, "C-1")
    shown = bridge("show", ident, "--json").json
    assert (shown["id"], shown["alert"]["case_number"]) == (ident, "C-1")
    assert shown["webhook"]["body"] == '{"a": 1}'
    assert shown["attempts"] == []
    for other in (shown["case_id"], shown["webhook_id"]):
        assert bridge("show", other, "--json").json["id"] == other
        assert bridge("show", other).out
    said = bridge("show", ident).out
    assert "C-1" in said
    assert "late            no" in said
    assert not re.search(r"\[|\bFalse\b|\bNone\b", said)
    assert not re.search(r"\[|\bFalse\b|\bNone\b", bridge("show", shown["case_id"]).out)


def test_what_others_have_sent_steers_no_terminal(bridge: Bridge, storage: Storage) -> None:
    webhook = Webhook("ethoca", "/webhooks/ethoca", b"clear \x1b[2J and \x07 ring\x7f\ttab", {})
    ident = storage.keep(webhook, "id-\x1b]0;title\x07", "issuer_alert", "steers")
    for said in (bridge("show", ident).out, bridge("deliveries").out):
        assert all(one.isprintable() or one in "\n\t" for one in said)
    assert "clear \\u001b[2J" in bridge("show", ident).out


def test_replays_are_by_id_or_by_filter(bridge: Bridge, storage: Storage) -> None:
    ids = [keep(storage, number) for number in ("x-1", "x-2", "C-3")]
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
        ("send", "ethoca", "--url", "notaurl"),
        ("sandbox", "--port", "99999"),
        ("sandbox", "--port", "-5"),
        ("reconcile", "--store", "alpha", "--since", "2026-13-01"),
        ("recover", "--since", "x"),
        ("backfill",),
        ("dance",),
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


def test_commands_have_help(bridge: Bridge) -> None:
    commands = (
        *("run", "worker", "migrate", "sandbox", "send", "deliveries", "cases", "show", "replay", "explain"),
        *("providers", "stores", "doctor", "match", "backfill", "subscribe", "reconcile", "recover"),
        *("dismiss", "outcome"),
    )
    said = bridge("--help")
    assert said.status == 0
    assert bridge("-h").out == said.out
    lines = dict(re.findall(r"(?m)^  (\w+) +(.+)$", said.out.partition("Commands:")[2]))
    assert set(lines) == set(commands)
    for command in commands:
        page = bridge(command, "--help")
        assert (page.status, page.err) == (0, "")
        assert bridge(command, "-h").out == page.out
        assert page.out.startswith(f"Usage: bridge {command}")
        assert page.out.splitlines()[2].strip() == f"{lines[command]}."
    assert bridge("--version").out.strip() == __version__
    assert bridge().status == 1
    assert bridge("dance").status == 1


def test_version_and_help_import_no_library_but_click() -> None:
    asked = "import sys; from bridge import cli; cli.main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    for words in (["--version"], ["--help"], ["dance"]):
        done = subprocess.run(
            [sys.executable, "-c", asked, *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
        libraries = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
        assert "click" in libraries
        assert not libraries & {"flask", "sqlalchemy", "requests", "marshmallow", "structlog", "alembic"}


def test_whoever_has_read_enough_is_not_complained_to(environ: pytest.MonkeyPatch) -> None:
    environ.delenv("PYTHONUNBUFFERED", raising=False)
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "bridge", "stores", "--help"]
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=-1, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_that_was_never_migrated_is_told_with_its_remedy(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, make_database: MakeDatabase, kind: str
) -> None:
    with make_database(kind, migrated=False) as url:
        monkeypatch.setenv("DATABASE_URL", url.replace("postgresql+psycopg", "postgres"))
        said = bridge("deliveries")
        assert said.status == 1
        assert re.fullmatch(r"bridge: [^\n]+: run `bridge migrate`\n", said.err)
        assert bridge("migrate").out == "The database is up to date.\n"
        assert bridge("deliveries").out == "(none)\n"


# --- what is set up ------------------------------------------------------------------------------


def test_providers_are_listed_with_their_urls_and_whether_they_are_on(
    bridge: Bridge, storage: Storage
) -> None:
    keep(storage, "C-1")
    listed = {one["provider"]: one for one in bridge("providers", "--json").json["results"]}
    assert listed["ethoca"]["url"].endswith("/webhooks/ethoca")
    assert (listed["ethoca"]["proof"], listed["ethoca"]["secret"]) == ("basic", "set")
    assert listed["ethoca"]["last_delivery"]
    assert listed["verifi"]["secret"].startswith("missing")
    assert "ethoca" in bridge("providers").out


def test_stores_are_listed_with_their_backlog_and_pause(bridge: Bridge, storage: Storage) -> None:
    keep(storage, "C-1")
    storage.pause("alpha", "29next answered 401: no")
    [store] = bridge("stores", "--json").json["results"]
    assert (store["name"], store["waiting"]) == ("alpha", 1)
    assert store["paused_why"] == "29next answered 401: no"
    assert "alpha" in bridge("stores").out


# --- the way back --------------------------------------------------------------------------------


@pytest.fixture
def at_work(environ: pytest.MonkeyPatch) -> Iterator[InProcessBridge]:
    """The bridge whose commands are run, at work beside them, with its store."""
    with bridge_in_process(os.environ["DATABASE_URL"], clock=Clock(time.time())) as made:
        for name, value in {
            "NEXT_STORE": STORE,
            "NEXT_BASE_URL": made.next29.base_url,
            "NEXT_RATE": "0",
            "NEXT_WEBHOOK_SECRET": "canary-of-29next",
            "BRIDGE_PUBLIC_URL": "https://alerts.example.com",
        }.items():
            environ.setenv(name, value)
        yield made


def go_on(at_work: InProcessBridge) -> None:
    """Let the worker do what a command has asked for, by the clock on the wall."""
    at_work.clock.now = time.time() + 1
    at_work.work()


def in_review(at_work: InProcessBridge) -> tuple[str, list[int]]:
    """A case that two sales fit, and these."""
    day = datetime.now(UTC) - timedelta(days=1)
    card = {"bankcard_first_six": "424242", "bankcard_last_four": "0042"}
    twins = [
        at_work.next29.add_transaction(STORE, amount="40.00", date_created=day.isoformat(), **card)["id"]
        for _ in range(2)
    ]
    sent = at_work.senders.prevention(
        amount=40.0,
        card_first_6="424242",
        card_last_4="0042",
        transaction_timestamp=day.isoformat(),
        prevention_timestamp=datetime.now(UTC).isoformat(),
    )
    at_work.post(sent)
    at_work.work()
    case = at_work.case(sent)
    assert (case["state"], len(case["match"]["candidates"])) == ("review", 2)
    return case["id"], twins


def test_a_transaction_is_matched_by_hand_once(bridge: Bridge, at_work: InProcessBridge) -> None:
    case, twins = in_review(at_work)
    assert bridge("cases", "--state", "review", "--json").json["results"][0]["id"] == case
    [match] = [line for line in bridge("show", case).out.splitlines() if line.startswith("match ")]
    assert match.split()[1:4] == ["rule:", "-;", "candidates:"]
    said = bridge("match", case, str(twins[1]))
    assert (said.status, said.out) == (0, f"{case} saved. The worker updates 29next.\n")
    with at_work.counted() as calls:
        go_on(at_work)
    assert calls == [f"PATCH /disputes/{at_work.disputes()[0]['id']}/"]
    assert at_work.disputes()[0]["transaction"] == twins[1]
    again = bridge("match", case, str(twins[0]))
    assert (again.status, again.out) == (1, "")
    assert "does not need a transaction" in again.err


def test_that_there_is_no_transaction_is_said_by_hand(bridge: Bridge, at_work: InProcessBridge) -> None:
    case, _ = in_review(at_work)
    assert bridge("match", case, "none").status == 0
    with at_work.counted() as calls:
        go_on(at_work)
    assert calls == []
    shown = bridge("show", case, "--json").json
    assert (shown["state"], shown["match"]["rule"], shown["transaction_id"]) == ("open", "none", None)


def test_the_index_is_filled_and_what_is_known_is_not_read_again(
    bridge: Bridge, at_work: InProcessBridge
) -> None:
    for days in (1, 3, 9):
        day = datetime.now(UTC) - timedelta(days=days)
        at_work.next29.add_transaction(STORE, date_created=day.isoformat())
    said = bridge("backfill", "--store", STORE, "--days", "10")
    assert (said.status, said.err) == (0, "")
    assert "(10 of 10 days)" in said.out
    assert said.out.endswith("\n3 transactions new or changed.\n")
    assert bridge("backfill", "--store", STORE, "--days", "10").out.endswith(
        "\n0 transactions new or changed.\n"
    )


@pytest.mark.parametrize("days", ["0", "-1", "1000000000"])
def test_a_backfill_of_no_days_or_of_ages_is_refused(
    bridge: Bridge, at_work: InProcessBridge, days: str
) -> None:
    said = bridge("backfill", "--store", STORE, "--days", days)
    assert (said.status, said.err) == (1, "bridge: --days must be a number from 1 to 3650.\n")
    assert at_work.calls() == []


def test_a_backfill_without_its_scope_says_which_is_missing(bridge: Bridge, at_work: InProcessBridge) -> None:
    at_work.next29.add_token(TOKEN, STORE, scopes=["disputes:read", "disputes:write"])
    said = bridge("backfill", "--store", STORE)
    assert said.status == 1
    assert re.fullmatch(r"bridge: [^\n]*store sandbox lacks the scope transactions:read[^\n]*\n", said.err)


def test_a_backfill_that_is_interrupted_says_in_one_line_that_it_goes_on(at_work: InProcessBridge) -> None:
    at_work.next29.add_faults(fault("hang", path="/transactions/"))
    words = [sys.executable, "-m", "bridge", "backfill", "--store", STORE]
    with subprocess.Popen(words, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        eventually(at_work.calls)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert err == "bridge: stopped. Run it again to continue.\n"
    assert process.returncode == 130


def test_the_subscription_is_made_and_repaired_with_its_own_secret(
    bridge: Bridge, at_work: InProcessBridge, environ: pytest.MonkeyPatch
) -> None:
    target = f"https://alerts.example.com/webhooks/next/{STORE}"

    def subscribed(word: str) -> None:
        said = bridge("subscribe", "--store", STORE)
        assert (said.status, said.out, said.err) == (0, f"{target} {word}\n", "")
        (hook,) = at_work.api.rows("webhooks/", {})
        assert (hook["target"], hook["active"], hook["secret_key"]) == (target, True, "canary-of-29next")
        assert set(hook["events"]) == set(EVENTS)

    subscribed("created")
    subscribed("renewed")
    (hook,) = at_work.api.rows("webhooks/", {})
    for change in ({"active": False}, {"target": "https://elsewhere.example.com/"}, {"secret_key": "other"}):
        at_work.api.call("PATCH", f"webhooks/{hook['id']}/", body=change)
        subscribed("repaired")
    environ.delenv("NEXT_WEBHOOK_SECRET")
    said = bridge("subscribe", "--store", STORE)
    assert (said.status, said.out) == (1, "")
    assert said.err == "bridge: NEXT_WEBHOOK_SECRET and BRIDGE_PUBLIC_URL must be set to subscribe.\n"


def test_reconcile_is_silent_where_both_agree_and_else_tells_each_difference(
    bridge: Bridge, at_work: InProcessBridge
) -> None:
    words = ("reconcile", "--store", STORE, "--since", f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}")
    in_review(at_work)
    said = bridge(*words)
    assert (said.status, said.out, said.err) == (0, "", "")
    by_hand = at_work.next29.add_dispute(STORE, type="chargeback", case_number="BY-HAND")
    said = bridge(*words)
    assert said.status == 1
    assert said.out == f"unknown: dispute {by_hand['id']} (chargeback BY-HAND) has no case\n"


def test_after_a_restored_backup_every_case_is_looked_up_first(
    bridge: Bridge, at_work: InProcessBridge
) -> None:
    case, _ = in_review(at_work)
    assert bridge("recover", "--since", "2020-01-01", "--store", "nobody").status == 1
    said = bridge("recover", "--since", "2020-01-01T00:00:00Z")
    assert (said.status, said.out) == (0, "Cases to be looked up before anything is sent for them: 1\n")
    with at_work.counted() as calls:
        go_on(at_work)
    assert calls == [f"GET /disputes/{bridge('show', case, '--json').json['dispute_id']}/"]
    assert bridge("recover", "--since", f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}").out.endswith(
        ": 0\n"
    )


# --- progress ------------------------------------------------------------------------------------


def day(days: int) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}"


@pytest.mark.parametrize(
    ("words", "label", "steps"),
    [
        (f"backfill --store {STORE} --days 3", "days", ["0/3", "3/3"]),
        (f"reconcile --store {STORE} --since {day(2)}", "calls to 29next", ["0", "1"]),
        ("replay --status forwarded", "replayed", ["0/2", "2/2"]),
        ("send ethoca --count 3", "sent", ["0/3", "1/3", "2/3", "3/3"]),
    ],
)
def test_long_work_shows_how_far_it_has_come_on_a_terminal_only(
    bridge: Bridge, at_work: InProcessBridge, environ: pytest.MonkeyPatch, words: str, label: str, steps: Any
) -> None:
    environ.setattr("bridge.cli.tries.post", lambda *_: (200, "stored"))
    in_review(at_work)
    at_work.post(at_work.senders.prevention())
    at_work.work()
    environ.setattr(sys.stderr, "isatty", lambda: True)
    shown = bridge(*words.split())
    assert shown.status == 0
    assert "\r" not in shown.out
    for step in steps:
        assert re.search(rf"{label}  \[.{{36}}\]  {step}(?!\d)", shown.err), step
    environ.setattr(sys.stderr, "isatty", lambda: False)
    piped = bridge(*words.split())
    assert (piped.status, piped.err) == (0, "")


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
        buffer = io.BytesIO()

    def piped(**changes: str) -> Any:
        Piped.buffer = io.BytesIO(json.dumps(BODY | changes).encode())
        monkeypatch.setattr(sys, "stdin", Piped())
        return bridge("explain", "ethoca", "-")

    odd = piped(amount="odd")
    assert odd.status == 0  # what cannot be read costs itself only
    assert "REFUSED: 'odd' is not an amount of money" in odd.out
    assert "POST disputes/" in odd.out
    wrong = piped(ethoca_id="N/A", amount="odd")
    assert wrong.status == 1
    assert "REFUSED: 'N/A' names no case." in wrong.out
    assert re.search(r"currency +USD +transaction_currency +USD", wrong.out)  # the good ones beside them


def test_an_outcome_that_is_not_understood_is_explained(bridge: Bridge, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text(json.dumps({"id": "CB-1", "amount": 5, "currency": "EUR", "reasonCode": "Odd"}), "utf-8")
    told = bridge("explain", "chargeblast", str(file), "--header", "X-Event-Type: alert.updated")
    assert "outcome The outcome 'Odd' is not listed." in told.out


def test_a_header_is_given_to_explain_as_it_is_sent(bridge: Bridge, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    told = {"alertId": "CB-1", "amount": 5, "currency": "EUR", "createdAt": "2026-03-01 12:00:00.000000Z"}
    file.write_text(json.dumps(told), "utf-8")
    headers = ("--header", "X-Event-Type: alert.created", "--header", "svix-id: MSG-1")
    [said] = bridge("explain", "chargeblast", str(file), *headers, "--json").json
    assert (said["effect"], said["event_id"]) == ("open", "MSG-1")
    wrong = bridge("explain", "chargeblast", str(file), "--header", "X-Event-Type")
    assert (wrong.status, wrong.out) == (1, "")
    assert re.fullmatch(r"bridge: 'X-Event-Type' is not a header such as[^\n]+\n", wrong.err)
