"""What has no word by itself waits for a person, who chooses one by page, command or API; and in time."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge import cli
from bridge.storage.shapes import OpenOutcome, WholeCase
from tests.support.clock import DAY, HOUR
from tests.support.provider_apis import status
from tests.support.reporting import Reports

TOKEN = {"Authorization": "Bearer the-token-of-the-api"}


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


# --- the three ways -----------------------------------------------------------------------------


@pytest.mark.both_databases
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


def test_a_word_that_is_chosen_on_the_page_is_sent(reports: Reports) -> None:
    case = waiting(reports, "payshield", "fraud")
    path = f"/cases/{ident_of(reports, case)}"
    shown = reports.bridge.client.get(path).text
    offered = dict(re.findall(r'<option value="([^"]+)">([^<]+)</option>', shown))
    assert html.unescape(offered["902.002"]) == "902.002: You cannot find the payment."
    token = shown.split('name="form_token" value="')[1].split('"')[0]
    form = {"form_token": token, "provider": "payshield", "word": "900.002"}
    answer = reports.bridge.client.post(f"{path}/outcome", data=form)
    assert answer.status_code == 303
    reports.work()
    said = reports.sent(case)
    assert said
    assert (said["status"], said["reason_code"]) == ("DECLINED", "900.002")
    assert said["comments"] == "We called the customer."
    shown = reports.bridge.client.get(path).text
    assert '900.002</span> <span class="soft">chosen</span>' in shown
    assert "<select" not in shown
    assert reports.bridge.client.post(f"{path}/outcome", data={**form, "form_token": ""}).status_code == 400


def test_a_word_that_is_chosen_by_the_command_is_sent(
    reports: Reports, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = waiting(reports, "chargeflow")
    ident = ident_of(reports, case)
    monkeypatch.setenv("DATABASE_URL", reports.bridge.settings.database_url)
    monkeypatch.setattr("bridge.cli.access.read_settings", lambda: reports.bridge.settings)
    reports.bridge.clock.now = datetime.now(UTC).timestamp() + 60  # the command's clock is the world's
    assert cli.main(["outcome", ident]) == 0
    assert "chargeflow decline  You do not refund it. Expect a chargeback." in capsys.readouterr().out
    assert cli.main(["outcome", ident, "chargeflow", "declined"]) == 1
    assert "has no word declined for this alert; choose one of refunded," in capsys.readouterr().err
    assert cli.main(["outcome", ident, "chargeflow", "decline"]) == 0
    reports.work()
    assert reports.sent(case) == {"outcome": "decline"}
    assert reports.outcome(case)["chosen_by"] == "cli"
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
    reports: Reports, kind: str, word: str, status: int
) -> None:
    case = waiting(reports, "ethoca", kind)
    assert choose(reports, case, word) == status
    assert (reports.sent(case) is not None) == (status == 200)


def test_nothing_can_be_chosen_where_nothing_waits(reports: Reports) -> None:
    case = reports.alert("ethoca", "dispute")
    assert choose(reports, case, "RESOLVED/REFUNDED") == 400
    reports.resolve(case)
    assert reports.sent(case)
    assert choose(reports, case, "RESOLVED/REFUNDED") == 400
    assert choose(reports, case, "RESOLVED/REFUNDED", "trusto") == 400
    ident = ident_of(reports, case)
    bodies: list[Any] = [{}, [], {"provider": 1, "word": "x"}, {"provider": "ethoca"}]
    for body in bodies:
        answer = reports.bridge.client.post(f"/api/cases/{ident}/outcomes", json=body, headers=TOKEN)
        assert answer.status_code == 400
    assert reports.bridge.client.get("/api/cases/c_nobody/outcomes", headers=TOKEN).status_code == 404
    assert len(reports.apis.ledger.entries) == 1


def test_a_word_that_is_refused_can_be_replaced_by_another(reports: Reports) -> None:
    case = waiting(reports, "payshield")
    reports.apis.faults = [status(422)]
    choose(reports, case, "100.001", "payshield")
    assert reports.outcome(case)["state"] == "failed"
    choose(reports, case, "951.001", "payshield")
    assert (reports.sent(case) or {})["reason_code"] == "951.001"


def test_a_word_that_needs_another_alert_is_refused_without_one(reports: Reports) -> None:
    case = waiting(reports, "payshield")
    choose(reports, case, "940.001", "payshield")
    assert reports.sent(case) is None
    assert reports.outcome(case)["message"] == (
        "940.001 needs duplicate, which is not known. Choose another word."
    )


def test_a_duplicate_names_the_alert_that_it_repeats(reports: Reports) -> None:
    sale = reports.sell()
    first, second = reports.alert("payshield", "fraud", sale), reports.alert("payshield", "fraud", sale)
    assert reports.bridge.case(second)["state"] == "duplicate"
    reports.resolve(first, "other", resolution_other_message="Twice.")
    choose(reports, second, "940.002", "payshield")
    said = reports.sent(second)
    assert said
    assert said["tx_details"] == {"duplicate_alertid": first}


def test_a_word_chosen_for_one_resolution_is_not_sent_for_another(reports: Reports) -> None:
    case = waiting(reports)
    path = f"/api/cases/{ident_of(reports, case)}/outcomes"
    chosen = {"provider": "ethoca", "word": "RESOLVED/NOT_REFUNDED"}
    assert reports.bridge.client.post(path, json=chosen, headers=TOKEN).status_code == 200
    reports.change(case, resolution="issued_full_refund")
    reports.later(HOUR)
    one = reports.outcome(case)
    assert reports.sent(case) is None
    assert (one["state"], one["word"], one["chosen_by"]) == ("failed", None, None)
    assert "29next has it as issued_full_refund now" in one["message"]


def test_a_chosen_word_that_comes_back_is_no_contradiction(reports: Reports) -> None:
    case = waiting(reports, "chargeflow")
    choose(reports, case, "refunded", "chargeflow")
    assert reports.outcome(case)["state"] == "told"
    reports.end("chargeflow", case)
    rows = reports.bridge.deliveries(case_number=case, provider="chargeflow")
    assert {row["status"] for row in rows} == {"forwarded"}
    assert not [note for note in reports.bridge.case(case)["notes"] if "stands" in note]


def test_a_word_of_a_provider_s_own_contradicts_what_a_person_resolved(reports: Reports) -> None:
    case = waiting(reports, "chargeflow")
    reports.end("chargeflow", case)
    assert "contradicted" in {row["reason"] for row in reports.bridge.deliveries(case_number=case)}


def test_an_outcome_that_waited_for_its_shipment_can_be_chosen(reports: Reports) -> None:
    case = reports.alert("ethoca", "fraud")
    reports.resolve(case)
    assert "is not known" in reports.outcome(case)["message"]
    assert choose(reports, case, "MISSED/REFUNDED") == 200
    item = reports.sent(case)
    assert item
    assert (item["outcome"], item["refund"]["amount"]["value"]) == ("MISSED", 40)


# --- in time ------------------------------------------------------------------------------------


def test_what_waits_for_a_person_is_told_at_once(reports: Reports) -> None:
    case = waiting(reports)
    ((title, text, _),) = reports.alarms
    assert title == "1 outcome could not be sent to ethoca"
    assert "choose one here" in text
    choose(reports, case, "RESOLVED/NOT_REFUNDED")
    assert reports.alarms == []


@pytest.mark.both_databases
def test_an_outcome_that_does_not_get_through_is_told_before_the_provider_s_time_is_over(
    reports: Reports,
) -> None:
    case = reports.alert("ethoca", "dispute")
    reports.later(4 * HOUR)
    reports.apis.faults = [status(503)] * 1000
    reports.resolve(case)  # twenty of its hours are left
    reports.later(9 * HOUR)
    assert reports.outcome(case)["late"] is False
    assert reports.alarms == []
    reports.later(2 * HOUR)
    ((title, text, _),) = reports.alarms
    assert title == "1 outcome for ethoca not sent yet"
    assert text.startswith("The provider waits 9 h more. Ethoca answered 503")
    reports.later(10 * HOUR)
    one = reports.outcome(case)
    assert (one["state"], one["late"]) == ("owed", True)
    assert reports.alarms[0][1].startswith("Late: its time ended 60 min ago.")
    shown = reports.bridge.client.get(f"/cases/{ident_of(reports, case)}").text
    assert "late" in shown
    assert "The provider waited until" in shown
    reports.apis.faults = []
    reports.later(2 * HOUR)
    assert reports.outcome(case)["state"] == "told"
    assert reports.outcome(case)["late"] is False
    assert reports.alarms == []


def test_the_deadline_is_the_provider_s_own_from_receipt(reports: Reports) -> None:
    cases = {name: reports.alert(name, "dispute") for name in ("ethoca", "payshield")}
    received = {name: reports.bridge.case(case)["opened_at"] for name, case in cases.items()}
    reports.later(HOUR)
    for case in cases.values():
        reports.resolve(case)
    for name, hours in (("ethoca", 24), ("payshield", 72)):
        ends = datetime.fromisoformat(reports.outcome(cases[name])["deadline_at"])
        assert (ends - datetime.fromisoformat(received[name])).total_seconds() == hours * HOUR


def test_an_outcome_that_is_late_is_tried_for_days(reports: Reports) -> None:
    reports.apis.faults = [status(503)] * 3
    case = reports.alert("ethoca", "dispute")
    reports.resolve(case)
    reports.later(2 * DAY)
    assert reports.outcome(case)["late"] is True
    reports.later(3 * DAY)
    reports.later(HOUR)
    assert reports.outcome(case)["state"] == "told"
