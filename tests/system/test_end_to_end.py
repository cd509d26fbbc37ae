"""From a provider's webhook to the dispute at 29next, through the real processes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests

from bridge import cli
from tests.conftest import KINDS, MakeDatabase
from tests.support.clock import eventually
from tests.support.processes import Process, RunningBridge, running_bridge
from tests.support.webhooks import FULL_CARD, PASSWORDS, Json, Senders, Sent, basic


@pytest.fixture(scope="module", params=KINDS)
def running(
    request: pytest.FixtureRequest, make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBridge]:
    folder = tmp_path_factory.mktemp("bridge")
    with (
        make_database(request.param) as url,
        running_bridge(folder, url, stores=("alpha", "beta"), rate=0) as running,
    ):
        running.environ = {"WEB_CONCURRENCY": "2", "VERIFI_SECRET_PREVIOUS": "verifi:the-password-before"}
        yield running.start()


NUMBERS = itertools.count(1)


@pytest.fixture
def senders() -> Senders:
    """Alerts whose cases no other test has: all tests share one bridge."""
    return Senders(prefix=f"E{next(NUMBERS)}")


def the_dispute(running: RunningBridge, sent: Sent) -> Json:
    running.wait(sent)
    (dispute,) = running.disputes(sent)
    return dispute


# --- alerts -------------------------------------------------------------------------------------


def test_an_ethoca_alert_becomes_a_dispute_without_its_full_card_number(
    running: RunningBridge, senders: Senders
) -> None:
    sent = senders.ethoca(amount=12.5, chargeback_amount=99.95, chargeback_currency="EUR")
    answer = running.post(sent)
    assert answer.json() == {"ethoca_id": sent.event_id, "status": "received"}
    dispute = the_dispute(running, sent)
    assert (dispute["amount"], dispute["currency"]) == ("99.95", "EUR")
    assert dispute["happened_at"] == "2026-03-01T10:11:12Z"
    assert FULL_CARD.encode() in sent.body
    running.audit()


def test_a_verifi_case_becomes_a_dispute(running: RunningBridge, senders: Senders) -> None:
    sent = senders.verifi(caseAmount={"amount": "1,234.50", "currency": "CAD"})
    assert running.post(sent).json()["status"] == "received"
    dispute = the_dispute(running, sent)
    assert (dispute["amount"], dispute["currency"], dispute["type"]) == ("1234.50", "CAD", "alert")


def test_a_verifi_case_in_xml_becomes_a_dispute(running: RunningBridge, senders: Senders) -> None:
    case = senders.case_number()
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
        <case xmlns="urn:example"><type>DISPUTE</type><number>{case}</number><date>2026-03-01T10:11:12Z</date>
        <amount>41.10</amount><currency>USD</currency><accountNumber>{FULL_CARD}</accountNumber></case>"""
    sent = Sent("verifi", f"{case}:DISPUTE", body.encode(), None, (case, "alert"), "application/xml")
    assert running.post(sent).status_code == 200
    assert the_dispute(running, sent)["amount"] == "41.10"
    running.audit()


def test_midigators_rdr_case_is_opened_and_resolved(running: RunningBridge, senders: Senders) -> None:
    sent = senders.rdr()
    assert running.post(sent).status_code == 200
    dispute = the_dispute(running, sent)
    assert (dispute["status"], dispute["resolution"]) == ("resolved", "issued_full_refund")


def test_a_chargeback_is_a_dispute_beside_the_alert_of_the_same_case(
    running: RunningBridge, senders: Senders
) -> None:
    alert = senders.prevention()
    assert alert.opens
    case = alert.opens[0]
    running.deliver(alert, senders.chargeback(case=case), senders.result(case))
    running.wait()
    disputes = {one["type"]: one for one in running.next29.disputes() if one["case_number"] == case}
    assert disputes.keys() == {"alert", "chargeback"}
    assert disputes["chargeback"]["resolution"] == "won"
    assert disputes["alert"]["resolution"] is None


def test_the_store_in_the_path_gets_the_dispute(running: RunningBridge, senders: Senders) -> None:
    sent = senders.prevention("beta")
    running.deliver(sent)
    assert the_dispute(running, sent)["store"] == "beta"


# --- repeats, and several events of one case ----------------------------------------------------


def test_a_thousand_repeats_over_32_connections_are_one_delivery(
    running: RunningBridge, senders: Senders
) -> None:
    sent = senders.prevention()

    def repeat(_: int) -> set[str]:
        with requests.Session() as session:
            session.trust_env = False
            answers = [
                session.post(running.url + sent.path, sent.body, headers=sent.headers) for _ in range(32)
            ]
        assert {answer.status_code for answer in answers} == {200}
        return {answer.json()["id"] for answer in answers}

    running.deliver(sent)
    with ThreadPoolExecutor(32) as pool:
        ids = set().union(*pool.map(repeat, range(32)))
    assert len(ids) == 1
    running.wait(sent)
    running.audit()


def test_the_same_event_with_another_body_is_a_new_delivery_of_the_same_case(
    running: RunningBridge, senders: Senders
) -> None:
    first = senders.prevention()
    second = replace(first, body=first.body.replace(b"SHOP*TEST", b"SHOP*OTHER"))
    running.deliver(first, second)
    running.wait()
    rows = [row for row in running.deliveries() if row["event_id"] == first.event_id]
    assert len(rows) == 2
    assert len({row["case_id"] for row in rows}) == 1
    assert len({row["webhook_id"] for row in rows}) == 2
    running.audit()


def test_an_update_before_its_opening_leaves_one_dispute(running: RunningBridge, senders: Senders) -> None:
    opening = senders.chargeback()
    assert opening.opens
    result = senders.result(opening.opens[0], result="lost")
    running.deliver(result)
    eventually(lambda: running.delivery(result).get("reason") == "waiting_for_opening")
    running.deliver(opening)
    running.wait()
    assert the_dispute(running, opening)["resolution"] == "lost"
    running.audit()


def test_two_providers_with_one_case_leave_one_dispute(running: RunningBridge, senders: Senders) -> None:
    direct = senders.ethoca()
    relayed = senders.prevention(case=direct.event_id)
    running.deliver(direct, relayed)
    running.wait()
    (case,) = running.search.cases({"case_number": direct.event_id}).results
    assert sorted(case["providers"]) == ["ethoca", "midigator"]
    running.audit()


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
    running: RunningBridge, senders: Senders, status: int, word: str, change: dict[str, Any]
) -> None:
    sent = senders.prevention()
    path, body = change.get("path", sent.path), change.get("body", lambda: sent.body)()
    headers = {name: text for name, text in change.items() if name[0].isupper()}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(running.url + path, body, headers={**sent.headers, **headers}, timeout=20)
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "message"}
    assert answer.json()["error"] == word
    assert not running.delivery(sent)


def test_the_previous_secret_opens_during_a_rotation(running: RunningBridge, senders: Senders) -> None:
    sent = senders.verifi()
    headers = {**sent.headers, "Authorization": basic("verifi", "the-password-before")}
    running.offered.append(sent)
    with requests.Session() as session:
        session.trust_env = False
        assert session.post(running.url + sent.path, sent.body, headers=headers).status_code == 200
    running.wait(sent)


def test_what_cannot_be_translated_names_every_field_and_can_be_replayed(
    running: RunningBridge, senders: Senders
) -> None:
    bad = {"amount": "twelve", "currency": "XXZ", "prevention_timestamp": "yesterday"}
    sent = replace(senders.prevention(prevention_case_number="none", **bad), opens=None)
    assert running.post(sent).status_code == 200
    running.wait(sent)
    row = running.delivery(sent)
    assert row
    assert (row["status"], row["reason"]) == ("failed", "untranslatable")
    assert row["errors"].keys() == {"prevention_case_number", *bad}
    running.replay(row["id"])
    running.wait(sent)
    again = running.delivery(sent)
    assert again
    assert again["deadline_at"] > row["deadline_at"]
    running.dismiss(row["id"])


def test_a_body_that_is_no_json_is_kept_and_fails(running: RunningBridge) -> None:
    sent = Sent("midigator", "", b"{never ended")
    ident = running.post(sent).json()["id"]
    running.wait()
    row = running.search.delivery(ident)
    assert row
    assert (row["reason"], row["event_type"]) == ("untranslatable", None)
    running.dismiss(row["id"])


def test_an_unknown_store_in_the_path_is_kept_and_fails(running: RunningBridge, senders: Senders) -> None:
    sent = replace(senders.prevention(), store="gamma", opens=None)
    assert running.post(sent).status_code == 200
    running.wait(sent)
    row = running.delivery(sent)
    assert row
    assert (row["status"], row["reason"]) == ("failed", "no_store")
    running.dismiss(row["id"])


# --- looking at it ------------------------------------------------------------------------------


def test_the_process_and_its_readiness_can_be_asked_for(running: RunningBridge) -> None:
    assert running.get("/healthz").status_code == 200
    assert running.get("/readyz").status_code == 200


def test_the_process_of_the_worker_is_heard(running: RunningBridge) -> None:
    eventually(lambda: "\nbridge_worker_heartbeat_age_seconds " in running.get("/metrics").text)


def test_the_api_and_the_command_line_show_the_same(
    running: RunningBridge,
    senders: Senders,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent = senders.prevention()
    running.deliver(sent)
    dispute = the_dispute(running, sent)
    for name, value in running.surroundings().items():
        monkeypatch.setenv(name, value)

    def bridge(*words: str) -> Json:
        assert cli.main(words) == 0
        printed: Json = json.loads(capsys.readouterr().out)
        return printed

    filters = f"case_number={dispute['case_number']}"
    listed = running.get(f"/api/deliveries?{filters}").json()
    assert listed == bridge("deliveries", "--json", "--case-number", dispute["case_number"])
    (row,) = listed["results"]
    assert row["dispute_id"] == dispute["id"]
    cases = running.get(f"/api/cases?{filters}").json()
    assert cases == bridge("cases", "--json", "--case-number", dispute["case_number"])
    shown = running.get(f"/api/deliveries/{row['id']}").json()
    assert shown == bridge("show", row["id"], "--json")
    assert [(one["method"], one["path"], one["status"]) for one in shown["attempts"]] == [
        ("POST", "disputes/", 201)
    ]


def test_the_log_s_lines_have_the_ids_by_which_all_else_is_found(
    running: RunningBridge, senders: Senders
) -> None:
    sent = senders.prevention()
    running.deliver(sent)
    the_dispute(running, sent)
    (row,) = running.get(f"/api/deliveries?q={sent.event_id}").json()["results"]
    (attempt,) = running.get(f"/api/cases/{row['case_id']}").json()["attempts"]

    def lines(process: Process, message: str, **fields: Any) -> list[Json]:
        said = [json.loads(line) for line in process.said().splitlines() if f'"{message}"' in line]
        return [line for line in said if fields.items() <= line.items()]

    web, (worker,) = running.web, running.workers
    assert web
    stored = eventually(lambda: lines(web, "webhook stored", delivery=row["id"]), 10)
    assert [(line["level"], line["provider"], line["deliveries"]) for line in stored] == [
        ("info", sent.provider, 1)
    ]
    called = eventually(lambda: lines(worker, "called 29next", case=row["case_id"]), 10)
    names = ("level", "store", "call", "attempt", "delivery", "outcome", "status")
    assert [tuple(line[name] for name in names) for line in called] == [
        ("info", "alpha", "create", attempt["id"], row["id"], attempt["outcome"], 201)
    ]


# --- what nobody is to see ----------------------------------------------------------------------

CODE = "canary-code"  # no code looks like this, so it can be told from the digits of ids and times
PARTED = " ".join(FULL_CARD[n : n + 4] for n in range(0, 16, 4))


def carrying(sent: Sent) -> list[dict[str, Any]]:
    """Requests that carry the card, its code and the secret in each of their parts."""
    password = PASSWORDS[sent.provider]
    more = {"cvv": CODE, "cardNumber": PARTED, "note": f"card {FULL_CARD}", FULL_CARD: "1"}
    body = json.dumps(json.loads(sent.body) | more).encode()
    right = {**sent.headers, "X-Note": f"{FULL_CARD} {password}", "X-Card": PARTED}
    wrong = {**right, "Authorization": basic(sent.provider, "wrong")}
    url = f"{sent.path}?card={PARTED}&pan={FULL_CARD}"
    return [
        {"url": url, "data": body, "headers": right},
        {"url": url, "data": body, "headers": wrong},
        {"url": url, "data": body.replace(CODE.encode(), b"")[:-1], "headers": right},
        {"url": f"{sent.path}/{FULL_CARD}?x={FULL_CARD}", "data": body, "headers": right},
        {"url": f"/webhooks/{FULL_CARD}?x={FULL_CARD}", "data": body, "headers": right},
        {"url": url, "data": body, "headers": {**right, "Content-Encoding": FULL_CARD}},
        {"url": url, "data": body + SPACES * 300, "headers": right},
    ]


def asked_for(running: RunningBridge) -> Iterator[str]:
    """Every page, list and metric, and what is no address with a card number in it.

    A page shows its operator again what that operator looks for, which is no leak.
    """
    yield from ("/", "/deliveries", "/cases", "/stores", "/providers", "/refused", "/replays", "/metrics")
    for kind in ("deliveries", "cases"):
        yield from (f"/api/{kind}", f"/api/{kind}?q={FULL_CARD}")
        yield from (f"/{kind}/{FULL_CARD}", f"/api/{kind}/{FULL_CARD}")
        for filters in (f"status={FULL_CARD}", f"limit={FULL_CARD}", f"{FULL_CARD}=1", f"cursor={FULL_CARD}"):
            yield f"/api/{kind}?{filters}"
        for row in running.get(f"/api/{kind}?limit=50").json()["results"]:
            yield from (f"/{kind}/{row['id']}", f"/api/{kind}/{row['id']}")
    yield from (f"/{FULL_CARD}", f"/api/{FULL_CARD}", f"/sign-in?next=/{FULL_CARD}", "/healthz", "/readyz")


def test_no_card_number_code_or_secret_is_seen_anywhere(running: RunningBridge, senders: Senders) -> None:
    echo = f"The token {running.tokens['alpha']} may not use {FULL_CARD}."
    refusal = {"name": "400", "method": "POST", "path": "/disputes/", "count": 1}
    running.next29.add_faults({**refusal, "body": json.dumps({"currency": [echo]})})
    sent = senders.prevention()
    told = []
    with requests.Session() as session:
        session.trust_env = False
        for one in carrying(sent):
            answer = session.post(**{**one, "url": running.url + one["url"]}, timeout=20)
            told.append((f"the answer {answer.status_code} to {one['url']}", answer.content))
    running.wait()
    row = running.delivery(sent)
    shown = running.get(f"/api/deliveries/{row['id']}").text
    assert "[cut]" in shown, "it is the one that was refused, and its body is there"
    for path in asked_for(running):
        answer = running.get(path)
        assert answer.status_code < 500, path
        told.append((f"the answer {answer.status_code} to GET {path}", answer.content))
    also = [CODE.encode(), PARTED.encode()]
    problems = list(running.leaked(*told, also=also))
    assert not problems, "\n".join(problems)
