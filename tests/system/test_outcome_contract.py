"""What holds for the outcomes of every provider, whatever its API looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conftest import MakeDatabase
from tests.support.clock import HOUR
from tests.support.provider_apis import Fault, ProviderApis, cut_off, lose, provider_apis, status
from tests.support.reporting import Reports, reporting

PROVIDERS = ("ethoca", "payshield", "chargeflow")
CAN_BE_ASKED = ("chargeflow",)


@pytest.fixture(autouse=True)
def longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait is as long as chance allows, so that nothing is tried again while a test still looks."""
    monkeypatch.setattr("random.Random.uniform", lambda _, __, longest: longest)


@pytest.fixture
def apis() -> Iterator[ProviderApis]:
    with provider_apis() as made:
        yield made


@pytest.fixture
def reports(make_database: MakeDatabase, apis: ProviderApis) -> Iterator[Reports]:
    with make_database("sqlite") as url, reporting(url, apis, *PROVIDERS, timeout=2.0) as made:
        yield made


each_provider = pytest.mark.parametrize("provider", PROVIDERS)


@each_provider
def test_an_outcome_is_told_once_and_shown_without_secrets(reports: Reports, provider: str) -> None:
    case = reports.alert(provider, "dispute")
    assert reports.bridge.case(case)["outcomes"] == []
    row = reports.resolve(case)
    reports.bridge.tell("dispute.updated", row)
    reports.restart()
    reports.later(8 * 24 * HOUR)
    assert len(reports.apis.ledger.entries) == 1
    assert reports.apis.refused == []
    whole = reports.bridge.case(case)
    (made,) = [one for one in whole["attempts"] if one["method"] == "POST" and "://" in one["path"]]
    assert (made["outcome"], made["status"]) == ("ok", 200)
    assert made["request"] == reports.apis.sent(provider)[0]
    assert "canary" not in json.dumps(whole)


@each_provider
@pytest.mark.parametrize("fault", [status(503), status(429), status(409), cut_off])
def test_what_does_not_arrive_is_sent_again(reports: Reports, provider: str, fault: Fault) -> None:
    reports.apis.faults = [fault]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    for _ in range(3):
        reports.later(60)
    assert reports.outcome(case)["state"] == "told"


@each_provider
def test_what_is_refused_is_a_person_s_and_can_be_sent_again(reports: Reports, provider: str) -> None:
    reports.apis.faults = [status(422)]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    reports.later(HOUR)
    one = reports.outcome(case)
    assert (one["state"], one["due_at"]) == ("failed", None)
    assert "answered 422: message: made-up 422" in one["message"]
    assert reports.bridge.inside.tell_again(reports.bridge.case(case)["id"]) == 1
    reports.work()
    assert reports.outcome(case)["state"] == "told"


@each_provider
def test_a_wrong_key_is_said_and_it_goes_on_by_itself(reports: Reports, provider: str) -> None:
    reports.apis.faults = [status(401)]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    one = reports.outcome(case)
    assert one["state"] == "failed"
    assert f"(is {reports.bridge.settings.providers[provider].key_variable} right?)" in one["message"]
    reports.later(2 * HOUR)
    assert reports.outcome(case)["state"] == "told"


@each_provider
def test_an_answer_that_is_lost_leads_to_no_other_word(reports: Reports, provider: str) -> None:
    reports.apis.faults = [lose]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    assert reports.outcome(case)["state"] == "owed"
    reports.later(60)
    told = reports.apis.sent(provider)
    assert told[1:] == ([] if provider in CAN_BE_ASKED else told[:1])
    assert reports.outcome(case)["state"] == ("failed" if provider == "ethoca" else "told")


@each_provider
def test_a_provider_that_is_switched_off_is_told_nothing(
    make_database: MakeDatabase, apis: ProviderApis, provider: str
) -> None:
    others = [name for name in PROVIDERS if name != provider]
    with make_database("sqlite") as url, reporting(url, apis, *others) as made:
        made.secrets[provider] = made.bridge.settings.secrets.get(provider, ("",))[0] or ""
        case = made.alert(others[0], "dispute")
        made.resolve(case)
        assert made.outcome(case)["provider"] == others[0]
        assert made.apis.sent(provider) == []


def test_a_duplicate_that_chargeflow_refuses_counts_as_told_where_the_word_is_ours(reports: Reports) -> None:
    case, other = reports.alert("chargeflow"), reports.alert("chargeflow")
    # somebody answers between the look and the call
    for ident, word in ((case, "refunded"), (other, "decline")):
        reports.apis.faults = [answered_meanwhile(reports, ident, word)]
        reports.resolve(ident)
    assert reports.outcome(case)["state"] == "told"
    assert reports.outcome(other)["state"] == "failed"
    assert "It has decline already, and 29next issued_full_refund." in reports.outcome(other)["message"]


def answered_meanwhile(reports: Reports, ident: str, word: str) -> Fault:
    """Let somebody else answer right before a call arrives."""

    def fault(_: object) -> bool:
        reports.apis.ledger.take("chargeflow", ident, {"outcome": word})
        return False

    return fault


def test_an_outcome_that_chargeflow_has_is_not_sent(reports: Reports) -> None:
    case, other = reports.alert("chargeflow"), reports.alert("chargeflow")
    reports.apis.ledger.take("chargeflow", case, {"outcome": "refunded"})
    reports.apis.ledger.take("chargeflow", other, {"outcome": "decline"})
    reports.resolve(case)
    reports.resolve(other)
    assert not [call for call in reports.apis.ledger.calls if call.method == "POST"]
    assert reports.outcome(case)["state"] == "told"
    assert reports.outcome(other)["state"] == "failed"
