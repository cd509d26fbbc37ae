"""From a provider's webhook to the dispute at 29next, through the real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge import cli
from tests.conftest import KINDS, MakeDatabase
from tests.support.fake_next import ROOT, Json
from tests.support.running import FULL_CARD, House, Senders, Sent, basic, eventually, free_port, running, say


@pytest.fixture(scope="module", params=KINDS)
def house(
    request: pytest.FixtureRequest, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with make_database(request.param) as url, running(folder, url, stores=("alpha", "beta"), rate=0) as house:
        house.environ = {"WEB_CONCURRENCY": "2", "VERIFI_SECRET_PREVIOUS": "verifi:the-password-before"}
        yield house.start()


@pytest.fixture
def senders(request: pytest.FixtureRequest) -> Senders:
    return Senders(prefix=f"E{abs(hash(request.node.name)) % 100_000}")


def the_dispute(house: House, sent: Sent) -> Json:
    house.wait(sent)
    (dispute,) = house.disputes(sent)
    return dispute


# --- alerts -------------------------------------------------------------------------------------


def test_an_ethoca_alert_becomes_a_dispute_without_its_full_card_number(
    house: House, senders: Senders
) -> None:
    sent = senders.ethoca(amount=12.5, chargeback_amount=99.95, chargeback_currency="EUR")
    answer = house.post(sent)
    assert answer.json() == {"ethoca_id": sent.event_id, "status": "received"}
    dispute = the_dispute(house, sent)
    assert (dispute["amount"], dispute["currency"]) == ("99.95", "EUR")
    assert dispute["happened_at"] == "2026-03-01T10:11:12Z"
    assert FULL_CARD.encode() in sent.body
    house.audit()


def test_a_verifi_case_becomes_a_dispute(house: House, senders: Senders) -> None:
    sent = senders.verifi(caseAmount={"amount": "1,234.50", "currency": "CAD"})
    assert house.post(sent).json()["status"] == "received"
    dispute = the_dispute(house, sent)
    assert (dispute["amount"], dispute["currency"], dispute["type"]) == ("1234.50", "CAD", "alert")


def test_a_verifi_case_in_xml_becomes_a_dispute(house: House, senders: Senders) -> None:
    case = senders.case_number()
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
        <case xmlns="urn:example"><type>DISPUTE</type><number>{case}</number><date>2026-03-01T10:11:12Z</date>
        <amount>41.10</amount><currency>USD</currency><accountNumber>{FULL_CARD}</accountNumber></case>"""
    sent = Sent("verifi", f"{case}:DISPUTE", body.encode(), None, (case, "alert"), "application/xml")
    assert house.post(sent).status_code == 200
    assert the_dispute(house, sent)["amount"] == "41.10"
    house.audit()


def test_midigators_rdr_case_is_opened_and_resolved(house: House, senders: Senders) -> None:
    sent = senders.rdr()
    assert house.post(sent).status_code == 200
    dispute = the_dispute(house, sent)
    assert (dispute["status"], dispute["resolution"]) == ("resolved", "issued_full_refund")


def test_a_chargeback_is_a_dispute_beside_the_alert_of_the_same_case(house: House, senders: Senders) -> None:
    alert = senders.prevention()
    assert alert.opens
    case = alert.opens[0]
    house.deliver(alert, senders.chargeback(case=case), senders.result(case))
    house.wait()
    disputes = {one["type"]: one for one in house.next.disputes() if one["case_number"] == case}
    assert disputes.keys() == {"alert", "chargeback"}
    assert disputes["chargeback"]["resolution"] == "won"
    assert disputes["alert"]["resolution"] is None


def test_the_store_in_the_path_gets_the_dispute(house: House, senders: Senders) -> None:
    sent = senders.prevention("beta")
    house.deliver(sent)
    assert the_dispute(house, sent)["store"] == "beta"


# --- repeats, and several events of one case ----------------------------------------------------


def test_a_thousand_repeats_over_32_connections_are_one_delivery(house: House, senders: Senders) -> None:
    sent = senders.prevention()

    def repeat(_: int) -> set[str]:
        with requests.Session() as session:
            session.trust_env = False
            answers = [
                session.post(house.url + sent.path, sent.body, headers=sent.headers) for _ in range(32)
            ]
        assert {answer.status_code for answer in answers} == {200}
        return {answer.json()["id"] for answer in answers}

    house.deliver(sent)
    with ThreadPoolExecutor(32) as pool:
        ids = set().union(*pool.map(repeat, range(32)))
    assert len(ids) == 1
    house.wait(sent)
    house.audit()


def test_the_same_event_with_another_body_is_a_new_delivery_of_the_same_case(
    house: House, senders: Senders
) -> None:
    first = senders.prevention()
    second = replace(first, body=first.body.replace(b"SHOP*TEST", b"SHOP*OTHER"))
    house.deliver(first, second)
    house.wait()
    rows = [row for row in house.deliveries() if row["event_id"] == first.event_id]
    assert len(rows) == 2
    assert len({row["case_id"] for row in rows}) == 1
    assert len({row["webhook_id"] for row in rows}) == 2
    house.audit()


def test_an_update_before_its_opening_leaves_one_dispute(house: House, senders: Senders) -> None:
    opening = senders.chargeback()
    assert opening.opens
    result = senders.result(opening.opens[0], result="lost")
    house.deliver(result)
    eventually(lambda: (house.delivery(result) or {}).get("reason") == "waiting_for_opening")
    house.deliver(opening)
    house.wait()
    assert the_dispute(house, opening)["resolution"] == "lost"
    house.audit()


def test_two_providers_with_one_case_leave_one_dispute(house: House, senders: Senders) -> None:
    direct = senders.ethoca()
    relayed = senders.prevention(case=direct.event_id)
    house.deliver(direct, relayed)
    house.wait()
    (case,) = house.search.cases({"case_number": direct.event_id}).results
    assert sorted(case["providers"]) == ["ethoca", "midigator"]
    house.audit()


# --- what is not taken, and what cannot be translated --------------------------------------------


SPACES = b" " * 1024


@pytest.mark.parametrize(
    ("status", "word", "change"),
    [
        (404, "unknown_provider", {"path": "/webhooks/nobody"}),
        (404, "unknown_provider", {"path": "/webhooks/stripe"}),
        (401, "bad_proof", {"Authorization": None}),
        (401, "bad_proof", {"Authorization": basic("midigator", "wrong")}),
        (401, "bad_proof", {"Authorization": basic("ethoca")}),
        (401, "bad_proof", {"Authorization": "Basic ???"}),
        (401, "bad_proof", {"Authorization": "Basic"}),
        (401, "bad_proof", {"Authorization": "Bearer " + basic("midigator")}),
        (415, "unsupported_encoding", {"Content-Encoding": "gzip"}),
        (413, "too_large", {"body": lambda: SPACES * 300}),
        (413, "too_large", {"body": lambda: iter([SPACES] * 300)}),  # without its length
        (413, "too_large", {"body": lambda: SPACES * 1000}),
    ],
)
def test_a_refusal_says_why_and_keeps_nothing(
    house: House, senders: Senders, status: int, word: str, change: dict[str, Any]
) -> None:
    sent = senders.prevention()
    path, body = change.get("path", sent.path), change.get("body", lambda: sent.body)()
    headers = {name: text for name, text in change.items() if name[0].isupper()}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(house.url + path, body, headers={**sent.headers, **headers}, timeout=20)
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "message"}
    assert answer.json()["error"] == word
    assert house.delivery(sent) is None


def test_the_previous_secret_opens_during_a_rotation(house: House, senders: Senders) -> None:
    sent = senders.verifi()
    headers = {**sent.headers, "Authorization": basic("verifi", "the-password-before")}
    house.offered.append(sent)
    with requests.Session() as session:
        session.trust_env = False
        assert session.post(house.url + sent.path, sent.body, headers=headers).status_code == 200
    house.wait(sent)


def test_what_cannot_be_translated_names_every_field_and_can_be_replayed(
    house: House, senders: Senders
) -> None:
    bad = {"amount": "twelve", "currency": "XXZ", "prevention_timestamp": "yesterday"}
    sent = replace(senders.prevention(prevention_case_number="none", **bad), opens=None)
    assert house.post(sent).status_code == 200
    house.wait(sent)
    row = house.delivery(sent)
    assert row
    assert (row["status"], row["reason"]) == ("failed", "untranslatable")
    assert row["errors"].keys() == {"prevention_case_number", *bad}
    house.replay(row["id"])
    house.wait(sent)
    again = house.delivery(sent)
    assert again
    assert again["deadline_at"] > row["deadline_at"]
    house.accepted.remove(sent)


def test_a_body_that_is_no_json_is_kept_and_fails(house: House) -> None:
    sent = Sent("midigator", "", b"{never ended")
    assert house.post(sent).status_code == 200
    eventually(lambda: [one for one in house.deliveries(reason="untranslatable") if not one["event_type"]])


def test_an_unknown_store_in_the_path_is_kept_and_fails(house: House, senders: Senders) -> None:
    sent = replace(senders.prevention(), store="gamma", opens=None)
    assert house.post(sent).status_code == 200
    house.wait(sent)
    row = house.delivery(sent)
    assert row
    assert (row["status"], row["reason"]) == ("failed", "no_store")


# --- looking at it ------------------------------------------------------------------------------


def test_the_process_and_its_readiness_can_be_asked_for(house: House) -> None:
    assert house.get("/healthz").status_code == 200
    assert house.get("/readyz").status_code == 200


def test_the_api_and_the_command_line_show_the_same(
    house: House, senders: Senders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = senders.prevention()
    house.deliver(sent)
    dispute = the_dispute(house, sent)
    for name, value in house.surroundings().items():
        monkeypatch.setenv(name, value)

    def bridge(*words: str) -> Json:
        assert cli.main(words) == 0
        printed: Json = json.loads(capsys.readouterr().out)
        return printed

    filters = f"case_number={dispute['case_number']}"
    listed = house.get(f"/api/deliveries?{filters}").json()
    assert listed == bridge("deliveries", "--json", "--case-number", dispute["case_number"])
    (row,) = listed["results"]
    assert row["dispute_id"] == dispute["id"]
    cases = house.get(f"/api/cases?{filters}").json()
    assert cases == bridge("cases", "--json", "--case-number", dispute["case_number"])
    shown = house.get(f"/api/deliveries/{row['id']}").json()
    assert shown == bridge("show", row["id"], "--json")
    assert [(one["method"], one["path"], one["status"]) for one in shown["attempts"]] == [
        ("POST", "disputes/", 201)
    ]


# --- a newcomer ---------------------------------------------------------------------------------


def bridge(environ: dict[str, str], *words: str) -> Any:
    """What a command prints, as JSON if it is."""
    command = [sys.executable, "-m", "bridge", *words]
    said = subprocess.check_output(command, cwd=ROOT, env=environ, text=True, timeout=30)
    return json.loads(said) if "--json" in words else said


def test_a_newcomers_three_samples_are_three_disputes_in_a_moment(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db",
    }
    with (tmp_path / "log").open("w+b") as out:
        run = subprocess.Popen([sys.executable, "-m", "bridge", "run"], cwd=ROOT, env=environ, stdout=out)
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60)
            started = time.monotonic()
            for provider in ("ethoca", "verifi", "midigator"):
                assert bridge(environ, "send", provider).startswith("200 ")
            eventually(lambda: forwarded(asked(f"http://127.0.0.1:{port}/api/deliveries")), 60)
            say(f"three samples sent and forwarded in {time.monotonic() - started:.1f} s; the aim is 10")
            rows = forwarded(bridge(environ, "deliveries", "--json"))
        finally:
            run.send_signal(signal.SIGTERM)
            assert run.wait(25) == 0
        out.seek(0)
        said = out.read().decode()
    assert len({row["dispute_id"] for row in rows}) == 3
    assert f"http://127.0.0.1:{port}/webhooks/ethoca" in said
    assert "SANDBOX" in said


def asked(url: str) -> Json:
    """What the web process answers."""
    with requests.Session() as session:
        session.trust_env = False
        found: Json = session.get(url, timeout=5).json()
        return found


def answers(url: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def forwarded(page: Json) -> list[Json]:
    rows: list[Json] = page["results"]
    return rows if len(rows) == 3 and all(row["status"] == "forwarded" for row in rows) else []
