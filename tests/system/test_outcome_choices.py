"""What has no word by itself waits for a person, who chooses one by page, command or API; and in time."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge import cli
from bridge.storage.shapes import OpenOutcome, WholeCase
from bridge.worker.notify import conditions, read_picture
from tests.conftest import MakeDatabase
from tests.support.clock import DAY, HOUR
from tests.support.next29 import STORE
from tests.support.provider_apis import ProviderApis, provider_apis, status
from tests.support.reporting import Reports, reporting

pytestmark = pytest.mark.both_databases

TOKEN = {"Authorization": "Bearer the-token-of-the-api"}


@pytest.fixture(autouse=True)
def longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait is as long as chance allows, so that nothing is tried again while a test still looks."""
    monkeypatch.setattr("random.Random.uniform", lambda _, __, longest: longest)


@pytest.fixture
def apis() -> Iterator[ProviderApis]:
    with provider_apis() as made:
        yield made


@pytest.fixture
def reports(database_url: str, apis: ProviderApis) -> Iterator[Reports]:
    names = ("ethoca", "payshield", "chargeflow")
    with reporting(database_url, apis, *names) as made:
        yield made


@pytest.fixture
def small(make_database: MakeDatabase, apis: ProviderApis) -> Iterator[Reports]:
    names = ("ethoca", "payshield", "chargeflow")
    with make_database("sqlite") as url, reporting(url, apis, *names) as made:
        yield made


def waiting(reports: Reports, provider: str = "ethoca", kind: str = "dispute", **changes: Any) -> str:
    """A case that was resolved as `other`, and so waits for a person."""
    case = reports.alert(provider, kind, **changes)
    reports.resolve(case, "other", resolution_other_message="We called the customer.")
    assert reports.outcome(case)["state"] == "failed"
    return case


def ident_of(reports: Reports, case: str) -> str:
    return str(reports.bridge.case(case)["id"])


def choose(reports: Reports, case: str, word: str, provider: str = "ethoca") -> int:
    """Choose a word by the API; returns the status of its answer."""
    path = f"/api/cases/{ident_of(reports, case)}/outcomes"
    answer = reports.bridge.client.post(path, json={"provider": provider, "word": word}, headers=TOKEN)
    reports.work()
    return answer.status_code


def alarms(reports: Reports) -> list[tuple[str, str]]:
    """What a person is told about outcomes: title and text."""
    found = conditions(read_picture(reports.bridge.database, reports.bridge.settings))
    return [(one.title, one.text) for one in found if one.key.startswith("untold:")]


# --- the three ways -----------------------------------------------------------------------------


def test_a_word_that_is_chosen_by_the_api_is_sent(reports: Reports) -> None:
    case = waiting(reports)
    path = f"/api/cases/{ident_of(reports, case)}/outcomes"
    listed = reports.bridge.client.get(path, headers=TOKEN).get_json()
    (one,) = listed["results"]
    assert OpenOutcome().validate(one) == {}
    words = [choice["word"] for choice in one["choices"]]
    assert "RESOLVED/REFUNDED" in words
    assert "STOPPED/REFUNDED" not in words  # which is for fraud

    chosen = {"provider": "ethoca", "word": "UNRESOLVED_DISPUTE/NOT_REFUNDED"}
    answer = reports.bridge.client.post(path, json=chosen, headers=TOKEN)
    assert answer.status_code == 200
    assert WholeCase().validate(answer.get_json()) == {}
    reports.work()

    item = reports.sent(case)
    assert item
    assert (item["outcome"], item["refundStatus"]) == ("UNRESOLVED_DISPUTE", "NOT_REFUNDED")
    one = reports.outcome(case)
    assert (one["state"], one["word"], one["chosen_by"]) == ("told", chosen["word"], "api")
    assert reports.bridge.client.get(path, headers=TOKEN).get_json()["results"][0]["choices"] == []


def test_a_word_that_is_chosen_on_the_page_is_sent(small: Reports) -> None:
    case = waiting(small, "payshield", "fraud")
    path = f"/cases/{ident_of(small, case)}"
    shown = small.bridge.client.get(path).text
    offered = dict(re.findall(r'<option value="([^"]+)">([^<]+)</option>', shown))
    assert html.unescape(offered["902.002"]) == "902.002: You cannot find the payment."
    token = shown.split('name="form_token" value="')[1].split('"')[0]
    form = {"form_token": token, "provider": "payshield", "word": "900.002"}
    answer = small.bridge.client.post(f"{path}/outcome", data=form)
    assert answer.status_code == 303
    small.work()
    said = small.sent(case)
    assert said
    assert (said["status"], said["reason_code"]) == ("DECLINED", "900.002")
    assert said["comments"] == "We called the customer."
    shown = small.bridge.client.get(path).text
    assert '900.002</span> <span class="soft">chosen</span>' in shown
    assert "<select" not in shown
    assert small.bridge.client.post(f"{path}/outcome", data={**form, "form_token": ""}).status_code == 400


def test_a_word_that_is_chosen_by_the_command_is_sent(
    small: Reports, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = waiting(small, "chargeflow")
    ident = ident_of(small, case)
    monkeypatch.setenv("DATABASE_URL", small.bridge.settings.database_url)
    monkeypatch.setattr("bridge.cli.changes.read_settings", lambda: small.bridge.settings)
    small.bridge.clock.now = datetime.now(UTC).timestamp() + 60  # the command's clock is the world's
    assert cli.main(["outcome", ident]) == 0
    assert "chargeflow decline  You do not refund it. Expect a chargeback." in capsys.readouterr().out
    assert cli.main(["outcome", ident, "chargeflow", "declined"]) == 1
    assert "has no word declined for this alert; choose one of refunded," in capsys.readouterr().err
    assert cli.main(["outcome", ident, "chargeflow", "decline"]) == 0
    small.work()
    assert small.sent(case) == {"outcome": "decline"}
    assert small.outcome(case)["chosen_by"] == "cli"
    capsys.readouterr()
    assert cli.main(["outcome", ident]) == 1
    assert capsys.readouterr().err == f"bridge: No outcome of {ident} waits for a word.\n"
    assert cli.main(["outcome", "c_0"]) == 1


# --- what may be chosen -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "word", "status"),
    [
        ("fraud", "MISSED/NOT_REFUNDED", 200),
        ("fraud", "RESOLVED/REFUNDED", 400),
        ("dispute", "RESOLVED/NOT_REFUNDED", 200),
        ("dispute", "STOPPED/REFUNDED", 400),
        ("dispute", "SOMETHING", 400),
    ],
)
def test_only_the_words_of_the_alert_s_kind_may_be_chosen(
    small: Reports, kind: str, word: str, status: int
) -> None:
    case = waiting(small, "ethoca", kind)
    assert choose(small, case, word) == status
    assert (small.sent(case) is not None) == (status == 200)


def test_nothing_can_be_chosen_where_nothing_waits(small: Reports) -> None:
    case = small.alert("ethoca", "dispute")
    assert choose(small, case, "RESOLVED/REFUNDED") == 400
    small.resolve(case)
    assert small.sent(case)
    assert choose(small, case, "RESOLVED/REFUNDED") == 400
    assert choose(small, case, "RESOLVED/REFUNDED", "trusto") == 400
    ident = ident_of(small, case)
    bodies: list[Any] = [{}, [], {"provider": 1, "word": "x"}, {"provider": "ethoca"}]
    for body in bodies:
        answer = small.bridge.client.post(f"/api/cases/{ident}/outcomes", json=body, headers=TOKEN)
        assert answer.status_code == 400
    assert small.bridge.client.get("/api/cases/c_nobody/outcomes", headers=TOKEN).status_code == 404
    assert len(small.apis.ledger.entries) == 1


def test_a_word_that_is_refused_can_be_replaced_by_another(small: Reports) -> None:
    case = waiting(small, "payshield")
    small.apis.faults = [status(422)]
    choose(small, case, "100.001", "payshield")
    assert small.outcome(case)["state"] == "failed"
    choose(small, case, "951.001", "payshield")
    assert (small.sent(case) or {})["reason_code"] == "951.001"


def test_a_word_that_needs_another_alert_is_refused_without_one(small: Reports) -> None:
    case = waiting(small, "payshield")
    choose(small, case, "940.001", "payshield")
    assert small.sent(case) is None
    assert small.outcome(case)["message"] == (
        "940.001 needs duplicate, which is not known. Choose another word."
    )


def test_a_duplicate_names_the_alert_that_it_repeats(small: Reports) -> None:
    sale = small.sell()
    first, second = small.alert("payshield", "fraud", sale), small.alert("payshield", "fraud", sale)
    assert small.bridge.case(second)["state"] == "duplicate"
    small.resolve(first, "other", resolution_other_message="Twice.")
    choose(small, second, "940.002", "payshield")
    said = small.sent(second)
    assert said
    assert said["tx_details"] == {"duplicate_alertid": first}


def test_a_word_chosen_for_one_resolution_is_not_sent_for_another(small: Reports) -> None:
    case = waiting(small)
    path = f"/api/cases/{ident_of(small, case)}/outcomes"
    chosen = {"provider": "ethoca", "word": "RESOLVED/NOT_REFUNDED"}
    assert small.bridge.client.post(path, json=chosen, headers=TOKEN).status_code == 200
    dispute = small.bridge.case(case)["dispute_id"]
    small.bridge.next29.stores[STORE].disputes.by_id[dispute] |= {"resolution": "issued_full_refund"}
    small.bridge.tell("dispute.updated", small.bridge.api.retrieve_dispute(dispute))
    small.later(HOUR)
    one = small.outcome(case)
    assert small.sent(case) is None
    assert (one["state"], one["word"], one["chosen_by"]) == ("failed", None, None)
    assert "29next has it as issued_full_refund now" in one["message"]


def test_a_chosen_word_that_comes_back_is_no_contradiction(small: Reports) -> None:
    case = waiting(small, "chargeflow")
    choose(small, case, "refunded", "chargeflow")
    assert small.outcome(case)["state"] == "told"
    small.alert("chargeflow", "fraud", ident=case, event="alerts.updated", outcome="refunded")
    rows = small.bridge.deliveries(case_number=case, provider="chargeflow")
    assert {row["status"] for row in rows} == {"forwarded"}
    assert not [note for note in small.bridge.case(case)["notes"] if "stands" in note]


def test_a_word_of_a_provider_s_own_contradicts_what_a_person_resolved(small: Reports) -> None:
    case = waiting(small, "chargeflow")
    small.alert("chargeflow", "fraud", ident=case, event="alerts.updated", outcome="refunded")
    assert "contradicted" in {row["reason"] for row in small.bridge.deliveries(case_number=case)}


def test_an_outcome_that_waited_for_its_shipment_can_be_chosen(small: Reports) -> None:
    case = small.alert("ethoca", "fraud")
    small.resolve(case)
    assert "is not known" in small.outcome(case)["message"]
    assert choose(small, case, "MISSED/REFUNDED") == 200
    item = small.sent(case)
    assert item
    assert (item["outcome"], item["refund"]["amount"]["value"]) == ("MISSED", 40)


# --- in time ------------------------------------------------------------------------------------


def test_what_waits_for_a_person_is_told_at_once(small: Reports) -> None:
    case = waiting(small)
    ((title, text),) = alarms(small)
    assert title == "1 outcome could not be sent to ethoca"
    assert "choose one here" in text
    choose(small, case, "RESOLVED/NOT_REFUNDED")
    assert alarms(small) == []


def test_an_outcome_that_does_not_get_through_is_told_before_the_provider_s_time_is_over(
    reports: Reports,
) -> None:
    case = reports.alert("ethoca", "dispute")
    reports.later(4 * HOUR)
    reports.apis.faults = [status(503)] * 1000
    reports.resolve(case)  # twenty of its hours are left
    reports.later(9 * HOUR)
    assert reports.outcome(case)["late"] is False
    assert alarms(reports) == []
    reports.later(2 * HOUR)
    ((title, text),) = alarms(reports)
    assert title == "1 outcome for ethoca not sent yet"
    assert text.startswith("The provider waits 9 h more. Ethoca answered 503")
    reports.later(10 * HOUR)
    one = reports.outcome(case)
    assert (one["state"], one["late"]) == ("owed", True)
    assert alarms(reports)[0][1].startswith("Late: its time ended 60 min ago.")
    shown = reports.bridge.client.get(f"/cases/{ident_of(reports, case)}").text
    assert "late" in shown
    assert "The provider waited until" in shown
    reports.apis.faults = []
    reports.later(2 * HOUR)
    assert reports.outcome(case)["state"] == "told"
    assert reports.outcome(case)["late"] is False
    assert alarms(reports) == []


def test_the_deadline_is_the_provider_s_own_from_receipt(small: Reports) -> None:
    cases = {name: small.alert(name, "dispute") for name in ("ethoca", "payshield")}
    received = {name: small.bridge.case(case)["opened_at"] for name, case in cases.items()}
    small.later(HOUR)
    for case in cases.values():
        small.resolve(case)
    for name, hours in (("ethoca", 24), ("payshield", 72)):
        ends = datetime.fromisoformat(small.outcome(cases[name])["deadline_at"])
        assert (ends - datetime.fromisoformat(received[name])).total_seconds() == hours * HOUR


def test_an_outcome_that_is_late_is_tried_for_days(small: Reports) -> None:
    small.apis.faults = [status(503)] * 3
    case = small.alert("ethoca", "dispute")
    small.resolve(case)
    small.later(2 * DAY)
    assert small.outcome(case)["late"] is True
    small.later(3 * DAY)
    small.later(HOUR)
    assert small.outcome(case)["state"] == "told"
