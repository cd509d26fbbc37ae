"""Outcomes, beside what holds for every provider by itself: the queue, the worker, a person, the settings."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge import cli
from bridge.errors import Unavailable
from tests.support.clock import DAY, HOUR, eventually
from tests.support.configuring import load, problems
from tests.support.inside import KEPT_OUTCOMES
from tests.support.provider_apis import Request, status
from tests.support.reporting import Reports

# --- whom ---------------------------------------------------------------------------------------


def test_what_another_provider_tells_is_told_on(reports: Reports) -> None:
    case = reports.alert("midigator", ident="V-1")
    bridge = reports.bridge
    bridge.post(bridge.senders.verifi(case=case, eventType="RDR", caseStatus="ACCEPTED"))
    bridge.settle()
    reports.work()
    assert bridge.case(case)["providers"] == ["midigator", "verifi"]
    assert [said["resolution_type"] for said in reports.apis.sent("midigator")] == ["issued_full_refund"]


def test_a_case_that_comes_refunded_is_not_told(reports: Reports) -> None:
    rapid = reports.bridge.senders.rdr(prevention_guid="pre_0001")
    reports.bridge.post(rapid)
    refunded = reports.alert("chargeblast", event="alert.refunded")
    reports.later(60)
    for case in (rapid, refunded):
        assert reports.bridge.case(case)["resolution"] == "issued_full_refund"
    assert reports.apis.ledger.calls == []


def test_a_chargeback_and_an_alert_without_its_id_are_not_told(reports: Reports) -> None:
    chargeback = reports.bridge.senders.chargeback()
    reports.bridge.post(chargeback)
    bare = reports.bridge.senders.prevention()
    reports.bridge.post(bare)
    reports.bridge.work()
    reports.resolve(bare)
    reports.resolve(chargeback, "won")
    reports.later(60)
    assert reports.bridge.case(chargeback)["resolution"] == "won"
    assert reports.apis.ledger.calls == []


def test_a_dispute_that_is_open_again_is_not_told_of_until_it_is_resolved(reports: Reports) -> None:
    reports.apis.faults = [status(503)]
    case = reports.alert("midigator")
    reports.resolve(case)
    reports.change(case, status="open", resolution=None)
    reports.later(HOUR)
    assert reports.apis.tries("midigator") == 1
    assert reports.bridge.case(case)["outcomes"] == []
    reports.resolve(case, "could_not_find_order")
    assert reports.outcome(case)["resolution"] == "could_not_find_order"


@pytest.mark.both_databases
def test_a_later_outcome_that_differs_is_a_person_s(reports: Reports) -> None:
    case = reports.alert("midigator")
    reports.resolve(case)
    reports.change(case, resolution="could_not_find_order")
    reports.later(60)
    one = reports.outcome(case)
    assert (one["state"], one["resolution"]) == ("failed", "issued_full_refund")
    assert "29next has it as could_not_find_order now" in one["message"]
    assert len(reports.apis.sent("midigator")) == 1
    assert reports.bridge.inside.send_again(reports.bridge.case(case)["id"]) == 1
    reports.work()
    assert reports.apis.sent("midigator")[1]["resolution_type"] == "could_not_find_order"


# --- when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [429, 503])
def test_retry_after_is_heeded(reports: Reports, answered: int) -> None:
    reports.apis.faults = [status(answered, Retry_After="120")]
    case = reports.alert("midigator")
    reports.resolve(case)
    reports.later(100)
    assert reports.apis.tries("midigator") == 1
    reports.later(60)
    assert reports.outcome(case)["state"] == "told"


def test_an_api_that_hangs_is_left_in_time_and_that_cannot_be_reached_is_tried_again(
    reports: Reports,
) -> None:
    release = threading.Event()
    reports.apis.faults = [lambda _: release.wait(20)]
    case = reports.alert("midigator")
    reports.resolve(case)
    release.set()
    assert reports.outcome(case)["message"] == "Midigator did not answer within 2 s."
    reports.later(60)
    assert reports.outcome(case)["state"] == "told"
    reports.apis.server_close()
    other = reports.alert("midigator")
    reports.resolve(other)
    assert reports.outcome(other)["state"] == "owed"
    assert "cannot be reached" in reports.outcome(other)["message"]


def test_after_seven_days_it_is_given_up_and_not_sent(reports: Reports) -> None:
    reports.apis.faults = [status(503)]
    case = reports.alert("midigator")
    reports.resolve(case)
    reports.later(9 * DAY)
    assert reports.apis.tries("midigator") == 1
    assert reports.outcome(case)["state"] == "failed"
    assert reports.outcome(case)["due_at"] is None
    assert reports.alarms


def test_a_token_that_has_run_out_is_replaced_at_once(reports: Reports) -> None:
    reports.resolve(reports.alert("midigator"))
    reports.apis.tokens.append("another")  # the one before counts no more
    second = reports.alert("midigator")
    reports.resolve(second)
    assert reports.outcome(second)["state"] == "told"
    assert reports.apis.ledger.made.count("POST auth/v1/auth") == 2


# --- workers ------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_a_worker_that_dies_after_the_telling_leaves_it_to_the_next(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> bool:
        raise Unavailable

    case = reports.alert("chargeblast")
    with monkeypatch.context() as dying:
        dying.setattr(*KEPT_OUTCOMES, die)
        reports.resolve(case)
    assert reports.outcome(case)["state"] == "owed"
    reports.restart()
    reports.later(30)
    assert len(reports.apis.ledger.calls) == 2  # it is leased still
    reports.later(HOUR)
    assert reports.apis.tries("chargeblast") == 1
    assert reports.outcome(case)["state"] == "told"


def test_two_workers_tell_it_once(reports: Reports) -> None:
    release, started = threading.Event(), threading.Event()

    def slow(_: Request) -> bool:
        started.set()
        release.wait(10)
        return False

    case = reports.alert("midigator")
    reports.apis.faults = [slow]
    reports.bridge.settings = replace(reports.bridge.settings, timeout=10.0)
    reports.restart()
    reports.resolved(case)
    reports.bridge.work()
    first = threading.Thread(target=reports.work, daemon=True)
    first.start()
    assert started.wait(10)
    other = reports.bridge.inside.make_jobs()
    other.run_due(0.0)
    release.set()
    first.join()
    assert reports.apis.tries("midigator") == 1
    assert reports.outcome(case)["state"] == "told"


def test_the_worker_s_own_threads_tell_it(reports: Reports) -> None:
    case = reports.alert("midigator")
    reports.resolved(case)
    reports.bridge.work()
    with reports.bridge.inside.jobs_at_work():
        eventually(lambda: reports.outcome(case)["state"] == "told", 10)
    assert reports.apis.tries("midigator") == 1


# --- a person -----------------------------------------------------------------------------------


def test_what_is_refused_can_be_sent_again_on_the_page_and_by_the_command(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports.apis.faults = [status(400), status(400)]
    case = reports.alert("midigator")
    reports.resolve(case)
    bridge, path = reports.bridge, f"/cases/{reports.bridge.case(case)['id']}"
    shown = bridge.client.get(path).text
    assert "Midigator answered 400: message: made-up 400" in shown
    token = shown.split('name="form_token" value="')[1].split('"')[0]
    assert bridge.client.post(f"{path}/tell", data={"form_token": token}).status_code == 303
    reports.work()
    assert reports.apis.tries("midigator") == 2
    assert reports.outcome(case)["state"] == "failed"
    monkeypatch.setenv("DATABASE_URL", bridge.settings.database_url)
    bridge.clock.now = datetime.now(UTC).timestamp() + 60  # the command's clock is the world's
    ident = path.rpartition("/")[2]
    assert cli.main(["replay", ident]) == 0
    reports.work()
    assert reports.outcome(case)["state"] == "told"
    assert cli.main(["replay", ident]) == 1
    assert "Send again" not in bridge.client.get(path).text


# --- the settings -------------------------------------------------------------------------------


def test_a_provider_is_told_where_the_file_says_so_and_its_key_is_there() -> None:
    read = load(
        "[providers.midigator]\noutcome = true", MIDIGATOR_API_KEY="k", NEXT_STORE="a", NEXT_ACCESS_TOKEN="t"
    )
    assert list(read.outcomes_of("a")) == ["midigator"]
    assert read.outcomes_of("a")["midigator"].url == "https://api.midigator.com/"
    assert read.api_keys == {"midigator": "k"}
    assert "'k'" not in repr(read)
    assert load(NEXT_STORE="a", NEXT_ACCESS_TOKEN="t", MIDIGATOR_API_KEY="k").outcomes_of("a") == {}


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("outcome = true", "CHARGEBLAST_API_KEY: missing, though providers.chargeblast.outcome is on"),
        ('outcome = "yes"', "providers.chargeblast.outcome: expected true or false"),
        (
            'outcome_url = "https://example.com/"',
            "providers.chargeblast.outcome_url: renamed; expected api_url",
        ),
        ("api_url = 1", "providers.chargeblast.api_url: expected the base URL of its API, in quotes"),
    ],
)
def test_a_mistake_about_outcomes_is_told(toml: str, problem: str) -> None:
    assert problems(f"[providers.chargeblast]\n{toml}") == [problem]


@pytest.mark.parametrize(
    "url",
    [
        "http://api.chargeblast.com/",
        "https://169.254.169.254/",
        "https://user@api.chargeblast.com/",
        "https://[::1%25eth0]/",
        "https://metadata.internal/",
        "https://api.chargeblast.com/?x=1",
    ],
)
def test_a_key_goes_nowhere_odd(url: str) -> None:
    [said] = problems(f'[providers.chargeblast]\noutcome = true\napi_url = "{url}"', CHARGEBLAST_API_KEY="k")
    assert said.startswith("providers.chargeblast.api_url: expected https:// and a host's name")


def test_a_provider_that_takes_no_outcomes_is_said_to() -> None:
    [said] = problems("[providers.trusto]\noutcome = true")
    assert said.startswith("providers.trusto.outcome: not for this provider")
