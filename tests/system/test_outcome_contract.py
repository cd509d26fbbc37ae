"""What holds for the outcomes of every provider, whatever its API looks like."""

from __future__ import annotations

import json

import pytest

from bridge import providers
from bridge.cli.doctor import examine
from bridge.storage.shapes import WholeCase
from tests.conftest import MakeDatabase
from tests.support.clock import DAY, HOUR
from tests.support.provider_apis import (
    BATCHES,
    CAN_BE_ASKED,
    FINALS,
    LOGS_IN,
    OWN_WORDS,
    PROVIDERS,
    WORDS,
    Fault,
    ProviderApis,
    Request,
    conflict,
    cut_off,
    lose,
    state_after_a_repeat,
    status,
)
from tests.support.reporting import ENDS, Reports, reporting
from tests.support.webhooks import FULL_CARD

TOKEN = {"Authorization": "Bearer the-token-of-the-api"}

each_provider = pytest.mark.parametrize("provider", PROVIDERS)
each_that_can_be_asked = pytest.mark.parametrize("provider", CAN_BE_ASKED)


def test_every_provider_that_takes_outcomes_is_tried() -> None:
    assert set(PROVIDERS) == {name for name, one in providers.built_in().items() if one.outcome}


# --- told once ----------------------------------------------------------------------------------


@pytest.mark.both_databases
@each_provider
def test_an_outcome_is_told_once_and_shown_without_secrets(reports: Reports, provider: str) -> None:
    case = reports.alert(provider, "dispute")
    assert reports.bridge.case(case)["outcomes"] == []
    row = reports.resolve(case)
    calls = list(reports.apis.ledger.calls)
    reports.say_again(row["id"])
    reports.restart()
    reports.later(8 * DAY)
    assert len(reports.apis.ledger.entries) == 1
    assert reports.apis.ledger.calls == calls
    assert reports.apis.refused == []
    one = reports.outcome(case)
    assert (one["provider"], one["state"], one["resolution"]) == (provider, "told", "issued_full_refund")
    assert (one["tries"], one["due_at"], one["message"]) == (1, None, None)
    assert reports.alarms == []

    whole = reports.bridge.case(case)
    shown = reports.calls(case)
    assert [(made["outcome"], made["status"]) for made in shown] == [("ok", 200)] * len(calls)
    base = reports.apis.url(provider)
    assert [f"{made['method']} {made['path']}" for made in shown] == [
        f"{call.method} {base}{call.path}" for call in calls
    ]
    assert shown[-1]["request"] == reports.apis.sent(provider)[0]
    answer = reports.bridge.client.get(f"/api/cases/{whole['id']}", headers=TOKEN).get_json()
    assert answer["outcomes"] == whole["outcomes"]
    assert WholeCase().validate(answer) == {}
    assert "canary" not in json.dumps(whole)
    assert FULL_CARD not in json.dumps(whole)


@each_provider
def test_an_alert_that_comes_after_its_dispute_was_resolved_is_told_of(
    reports: Reports, provider: str
) -> None:
    facts = {"type": "alert", "amount": "5.00", "currency": "USD"}
    number = f"{provider.upper():X<25}"
    row = reports.bridge.api.create_dispute({**facts, "case_number": number})
    reports.bridge.api.resolve_dispute(row["id"], {"resolution": "issued_full_refund"})
    reports.say_again(row["id"])
    reports.work()
    assert reports.apis.ledger.calls == []
    reports.alert(provider, "dispute", ident=number)
    assert reports.outcome(number)["state"] == "told"


@each_provider
def test_a_provider_whose_alert_is_a_duplicate_is_told_as_well(reports: Reports, provider: str) -> None:
    sale = reports.sell()
    first, second = (reports.alert(provider, "dispute", sale) for _ in range(2))
    assert reports.bridge.case(first)["transaction_id"] == sale["id"]
    assert reports.bridge.case(second)["state"] == "duplicate"
    reports.resolve(first)
    assert sorted(one.alert for one in reports.apis.ledger.entries) == [first, second]
    assert {reports.outcome(case)["state"] for case in (first, second)} == {"told"}


# --- not told -----------------------------------------------------------------------------------


@each_provider
@pytest.mark.parametrize("why", ["off", "observed"])
def test_nobody_is_told_by_default_or_of_an_observed_store(
    make_database: MakeDatabase, apis: ProviderApis, provider: str, why: str
) -> None:
    is_observed = why == "observed"
    names = PROVIDERS if is_observed else [name for name in PROVIDERS if name != provider]
    with (
        make_database("sqlite") as url,
        reporting(url, apis, *names, changes={"observe": is_observed}) as made,
    ):
        case = made.alert(provider, "dispute")
        if is_observed:  # another service opens it
            facts = {"type": "alert", "case_number": case, "amount": "5.00", "currency": "USD"}
            made.bridge.api.create_dispute(facts)
        (row,) = made.bridge.disputes()
        made.bridge.api.resolve_dispute(row["id"], {"resolution": "issued_full_refund"})
        made.say_again(row["id"])
        made.later(60)
        assert made.bridge.case(case)["resolution"] == "issued_full_refund"
        assert made.bridge.case(case)["outcomes"] == []
    assert apis.ledger.calls == []


@pytest.mark.parametrize("provider", ENDS)
def test_a_provider_is_not_told_what_it_told_itself(reports: Reports, provider: str) -> None:
    case = reports.alert(provider, "dispute")
    reports.end(provider, case)
    reports.later(60)
    assert reports.bridge.case(case)["resolution"] == "issued_full_refund"
    assert reports.bridge.case(case)["outcomes"] == []
    assert reports.apis.ledger.calls == []


@pytest.mark.parametrize("provider", ENDS)
def test_a_provider_that_answers_for_itself_meanwhile_is_not_told(reports: Reports, provider: str) -> None:
    reports.apis.faults = [status(503)]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    reports.end(provider, case)
    reports.later(HOUR)
    assert reports.apis.tries(provider) == 1
    assert reports.bridge.case(case)["outcomes"] == []


@each_that_can_be_asked
def test_an_outcome_that_the_provider_has_stands(reports: Reports, provider: str) -> None:
    same, other = reports.alert(provider), reports.alert(provider)
    ours, theirs = FINALS[provider]
    reports.apis.ledger.take(provider, same, {WORDS[provider]: ours})
    reports.apis.ledger.take(provider, other, {WORDS[provider]: theirs})
    reports.resolve(same)
    reports.resolve(other)
    assert reports.apis.tries(provider) == 0
    one = reports.outcome(same)
    assert (one["state"], one["message"]) == ("told", f"It has {ours} already.")
    one = reports.outcome(other)
    assert (one["state"], one["due_at"]) == ("failed", None)
    assert one["message"] == f"It has {theirs} already, and 29next issued_full_refund."


@each_that_can_be_asked
def test_of_an_alert_that_is_looked_at_only_the_word_is_kept(reports: Reports, provider: str) -> None:
    case = reports.alert(provider)
    reports.resolve(case)
    (look,) = [one for one in reports.calls(case) if one["method"] == "GET"]
    assert look["response"].startswith(f"{CAN_BE_ASKED[provider]}: ")
    assert "card" not in look["response"]


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name not in OWN_WORDS])
def test_a_vague_resolution_is_never_told_as_a_decline_and_waits_for_a_person(
    reports: Reports, provider: str
) -> None:
    case = reports.alert(provider, "dispute")
    reports.resolve(case, "other", resolution_other_message="The customer has written to us.")
    reports.later(8 * DAY)
    one = reports.outcome(case)
    assert (one["state"], one["due_at"]) == ("failed", None)
    assert "could decline" in one["message"]
    assert len(reports.alarms) == 1

    assert reports.bridge.inside.send_again(reports.bridge.case(case)["id"]) == 1
    reports.work()

    assert reports.outcome(case)["state"] == "failed"
    assert reports.apis.tries(provider) == 0


# --- again --------------------------------------------------------------------------------------


@each_provider
@pytest.mark.parametrize("fault", [status(503), status(429, Retry_After="30"), cut_off])
def test_what_does_not_arrive_is_sent_again(reports: Reports, provider: str, fault: Fault) -> None:
    reports.apis.faults = [fault, fault]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    one = reports.outcome(case)
    assert one["state"] == "owed"
    assert one["due_at"]
    assert one["message"]
    reports.restart()
    for _ in range(5):
        reports.later(60)
    assert reports.outcome(case)["state"] == "told"
    assert (reports.apis.tries(provider), len(reports.apis.ledger.entries)) == (3, 1)
    first, second, last = (one["outcome"] for one in reports.calls(case) if one["request"])
    assert {first, second} <= {"unclear", "throttled"}
    assert last == "ok"


@pytest.mark.both_databases
@each_provider
def test_an_answer_that_is_lost_leads_to_no_other_word(reports: Reports, provider: str) -> None:
    reports.apis.faults = [lose]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    assert reports.outcome(case)["state"] == "owed"
    reports.later(60)
    first, *others = reports.apis.sent(provider)
    assert others == ([] if provider in CAN_BE_ASKED else [first])
    one = reports.outcome(case)
    assert one["state"] == state_after_a_repeat(provider)
    assert one["due_at"] is None


@each_provider
def test_a_conflict_counts_as_told_where_it_means_the_outcome(reports: Reports, provider: str) -> None:
    reports.apis.faults = [cut_off, conflict]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    for _ in range(3):
        reports.later(60)
    one = reports.outcome(case)
    assert one["state"] == state_after_a_repeat(provider)
    is_told = provider != BATCHES  # there a conflict is of several outcomes, and means none of them
    assert ("already" in one["message"]) == is_told
    assert len(reports.apis.ledger.entries) == (1 if is_told else 2)


@pytest.mark.parametrize("provider", [LOGS_IN, *CAN_BE_ASKED])
def test_a_conflict_of_another_call_is_no_word_of_the_outcome(reports: Reports, provider: str) -> None:
    reports.apis.faults_aside = [status(409)]
    case = reports.alert(provider)
    reports.resolve(case)
    assert reports.outcome(case)["state"] == "owed"
    reports.later(HOUR)
    assert reports.outcome(case)["state"] == "told"
    assert reports.apis.tries(provider) == 1


@each_that_can_be_asked
def test_a_refusal_because_somebody_answered_meanwhile_counts_as_told_where_the_word_is_ours(
    reports: Reports, provider: str
) -> None:
    ours, theirs = FINALS[provider]
    case, other = reports.alert(provider), reports.alert(provider)
    for ident, word in ((case, ours), (other, theirs)):
        reports.apis.faults = [answered_meanwhile(ident, word)]
        reports.resolve(ident)
    assert reports.outcome(case)["state"] == "told"
    one = reports.outcome(other)
    assert (one["state"], one["due_at"]) == ("failed", None)
    assert f"It has {theirs} already, and 29next issued_full_refund." in one["message"]


def answered_meanwhile(case: str, word: str) -> Fault:
    """Let somebody else answer between the look and the call."""

    def fault(request: Request) -> bool:
        provider = request.call.provider
        request.server.ledger.take(provider, case, {WORDS[provider]: word})
        return False

    return fault


# --- a person -----------------------------------------------------------------------------------


@each_provider
def test_what_is_refused_is_a_person_s_and_can_be_sent_again(reports: Reports, provider: str) -> None:
    reports.apis.faults = [status(422)]
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    reports.later(8 * DAY)
    one = reports.outcome(case)
    assert (one["state"], one["due_at"]) == ("failed", None)
    assert "answered 422: " in one["message"]
    assert "made-up 422 (you sent " in one["message"]
    assert "canary" not in json.dumps(reports.bridge.case(case))  # which the refusal repeats
    assert reports.apis.tries(provider) == 1
    assert reports.bridge.inside.send_again(reports.bridge.case(case)["id"]) == 1
    reports.work()
    assert reports.outcome(case)["state"] == "told"


@each_provider
def test_a_wrong_key_is_said_and_it_goes_on_by_itself_once_it_is_right(
    reports: Reports, provider: str
) -> None:
    reports.apis.locked = {provider}
    case = reports.alert(provider, "dispute")
    reports.resolve(case)
    one = reports.outcome(case)
    assert one["state"] == "failed"
    assert " answered 401: " in one["message"]
    assert f"(is {reports.bridge.settings.providers[provider].key_variable} right?)" in one["message"]
    path = f"/cases/{reports.bridge.case(case)['id']}"
    assert reports.alarms == [(f"1 outcome could not be sent to {provider}", one["message"], path)]
    assert checked(reports, provider) == (False, f"1 could not be sent; {one['message']}")
    reports.apis.locked = set()
    reports.later(2 * HOUR)
    assert reports.outcome(case)["state"] == "told"
    assert reports.alarms == []
    assert checked(reports, provider) == (True, "all sent")


def checked(reports: Reports, provider: str) -> tuple[bool, str]:
    """What `bridge doctor` says of a provider's outcomes."""
    rows = examine(reports.bridge.settings, reports.bridge.database)
    (one,) = [row for row in rows if row.name == f"{provider}: outcomes"]
    return one.good, one.message
