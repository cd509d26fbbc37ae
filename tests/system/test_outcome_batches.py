"""Ethoca: calls are signed, several outcomes go in one call, and each is answered for itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.errors import Unavailable
from tests.conftest import MakeDatabase
from tests.support.clock import DAY, HOUR
from tests.support.inside import KEPT_OUTCOMES
from tests.support.provider_apis import (
    Fault,
    ProviderApis,
    cut_off,
    errors,
    lose,
    provider_apis,
    status,
)
from tests.support.reporting import Reports, reporting

pytestmark = pytest.mark.both_databases

BATCH = 25


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
    with reporting(database_url, apis, "ethoca") as made:
        yield made


@pytest.fixture
def small(make_database: MakeDatabase, apis: ProviderApis) -> Iterator[Reports]:
    """The same on SQLite only, for what does not depend on the database."""
    with make_database("sqlite") as url, reporting(url, apis, "ethoca", timeout=2.0) as made:
        yield made


def resolved_together(reports: Reports, count: int, kind: str = "dispute") -> list[str]:
    """Some cases whose outcomes become due at once."""
    cases = [reports.alert("ethoca", kind) for _ in range(count)]
    for case in cases:
        ident = reports.bridge.case(case)["dispute_id"]
        reports.bridge.api.resolve_dispute(ident, {"resolution": "issued_full_refund"})
        reports.bridge.tell("dispute.updated", reports.bridge.api.retrieve_dispute(ident))
    return cases


def states(reports: Reports, cases: list[str]) -> list[str]:
    return [reports.outcome(case)["state"] for case in cases]


# --- signatures ---------------------------------------------------------------------------------


def test_every_call_to_ethoca_is_signed_anew(small: Reports) -> None:
    small.apis.faults = [status(503)]
    case = small.alert("ethoca", "dispute")
    small.resolve(case)
    small.later(60)
    assert small.apis.refused == []
    assert len(small.apis.signatures.nonces) == len(small.apis.ledger.calls) == 2
    shown = json.dumps(small.bridge.case(case))
    assert "canary" not in shown
    assert "oauth_signature" not in shown


def test_a_signature_that_is_not_taken_is_said_and_tried_again(small: Reports) -> None:
    small.apis.faults = [status(401, errors("INVALID", recoverable=False))]
    case = small.alert("ethoca", "dispute")
    small.resolve(case)
    one = small.outcome(case)
    assert one["state"] == "failed"
    assert "is ETHOCA_SIGNING_KEY right?" in one["message"]
    assert one["due_at"]
    small.later(2 * HOUR)
    assert small.outcome(case)["state"] == "told"


# --- batches ------------------------------------------------------------------------------------


def test_outcomes_that_are_due_together_go_in_one_call_of_25_at_most(reports: Reports) -> None:
    cases = resolved_together(reports, BATCH + 3)
    reports.work()
    sizes = [len(call.body["outcomes"]) for call in reports.apis.ledger.calls]
    assert sorted(sizes) == [3, BATCH]
    assert set(states(reports, cases)) == {"told"}
    assert all(one.stands for one in reports.apis.ledger.entries)
    for case in cases:  # one attempt each, which shows its own outcome and no other's
        made = [one for one in reports.bridge.case(case)["attempts"] if "://" in one["path"]]
        assert [(one["request"]["alertId"], one["outcome"]) for one in made] == [(case, "ok")]


def test_each_outcome_of_a_call_ends_as_it_is_answered(reports: Reports) -> None:
    taken, later, never, silent = resolved_together(reports, 4)
    reports.apis.errors = {
        later: [errors("BUSY", "try later", recoverable=True)],
        never: [errors("NOT_YOURS", "no such alert", recoverable=False)],
    }
    reports.apis.silent = {silent}
    reports.work(1)
    assert len(reports.apis.ledger.calls) == 1
    assert states(reports, [taken, later, never, silent]) == ["told", "owed", "failed", "owed"]
    assert reports.outcome(later)["message"] == "Ethoca answered FAILURE: BUSY: try later"
    assert reports.outcome(never)["message"] == "Ethoca answered FAILURE: NOT_YOURS: no such alert"
    assert reports.outcome(never)["due_at"] is None
    assert "did not mention this outcome" in reports.outcome(silent)["message"]
    ends = [reports.bridge.case(case)["attempts"][-1]["outcome"] for case in (taken, later, never, silent)]
    assert ends == ["ok", "temporary", "refused", "unclear"]
    reports.later(60)
    reports.later(60)
    assert reports.outcome(later)["state"] == "told"
    # it was taken before; no documented code says so, and a person decides
    assert reports.outcome(silent)["state"] == "failed"
    assert "ALREADY_FINAL" in reports.outcome(silent)["message"]


@pytest.mark.parametrize("fault", [status(503), status(429), cut_off])
def test_a_call_that_does_not_get_through_is_made_again(small: Reports, fault: Fault) -> None:
    cases = resolved_together(small, 3)
    small.apis.faults = [fault]
    small.work(1)
    assert set(states(small, cases)) == {"owed"}
    small.restart()
    for _ in range(3):
        small.later(60)
    assert set(states(small, cases)) == {"told"}
    assert len(small.apis.ledger.entries) == 3


def test_one_that_spoils_a_call_holds_up_no_other(small: Reports) -> None:
    spoiling, *others = resolved_together(small, 3)

    def refuse_with(request: Any) -> bool:
        body = small.apis.ledger.calls[-1].body
        if spoiling not in {one["alertId"] for one in body["outcomes"]}:
            return False
        request.answer(400, errors("VALIDATION_FAILURE", "bad id", recoverable=False))
        return True

    small.apis.faults = [refuse_with] * 10
    small.work(1)
    for _ in range(3):
        small.later(60)
    assert states(small, others) == ["told", "told"]
    one = small.outcome(spoiling)
    assert one["state"] == "failed"
    assert one["message"] == "Ethoca answered 400: VALIDATION_FAILURE: bad id"


def test_a_whole_call_that_may_work_later_is_made_again(small: Reports) -> None:
    small.apis.faults = [status(400, errors("BUSY", recoverable=True))]
    case = small.alert("ethoca", "dispute")
    small.resolve(case)
    assert small.outcome(case)["state"] == "owed"
    small.later(60)
    assert small.outcome(case)["state"] == "told"


def test_an_answer_that_is_lost_is_sent_again_in_the_same_word(small: Reports) -> None:
    sale = small.sell([("on_hold", "pending")])
    case = small.alert("ethoca", "fraud", sale)
    small.apis.faults = [cut_off]
    small.resolve(case)
    assert small.outcome(case)["word"] == "STOPPED/REFUNDED"
    small.ships(sale, [])  # what is true now was not when it may have arrived
    small.later(60)
    assert [one["outcome"] for one in small.apis.sent("ethoca")] == ["STOPPED"]
    assert small.outcome(case)["state"] == "told"


def test_an_outcome_that_was_taken_unheard_is_a_person_s_once_ethoca_says_no(small: Reports) -> None:
    small.apis.faults = [lose]
    case = small.alert("ethoca", "dispute")
    small.resolve(case)
    assert small.sent(case)
    small.later(60)
    one = small.outcome(case)
    assert (one["state"], one["due_at"]) == ("failed", None)
    assert [entry.stands for entry in small.apis.ledger.entries] == [True, False]


def test_a_worker_that_dies_before_it_records_leaves_its_call_to_the_next(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> bool:
        raise Unavailable

    cases = resolved_together(reports, 2)
    reports.apis.faults = [cut_off]
    with monkeypatch.context() as dying:
        dying.setattr(*KEPT_OUTCOMES, die)
        reports.work()
    assert states(reports, cases) == ["owed", "owed"]
    reports.restart()
    reports.later(60)
    assert len(reports.apis.ledger.calls) == 1  # they are leased still
    for _ in range(3):
        reports.later(HOUR)
    assert states(reports, cases) == ["told", "told"]


def test_reads_of_29next_keep_to_the_slots_of_the_token(
    make_database: MakeDatabase, apis: ProviderApis
) -> None:
    with make_database("sqlite") as url, reporting(url, apis, "ethoca", rate=4.0) as made:
        case = made.alert("ethoca", "fraud", made.sell([("on_hold", "pending")]))
        made.bridge.settle(1.0)
        before = len(made.bridge.next29.ledger.calls)
        made.resolve(case)
        assert made.sent(case)
        paths = ("orders/", "transactions/")
        calls = made.bridge.next29.ledger.calls[before:]
        times = [call.at for call in calls if call.method == "GET" and call.path.strip("/").startswith(paths)]
    assert len(times) >= 3
    assert all(later - earlier >= 0.25 for earlier, later in itertools.pairwise(times))


def test_a_store_that_is_down_delays_an_outcome_and_nothing_else(small: Reports) -> None:
    fraud = small.alert("ethoca", "fraud", small.sell([("on_hold", "pending")]))
    other = small.alert("ethoca", "dispute")
    for case in (fraud, other):
        ident = small.bridge.case(case)["dispute_id"]
        small.bridge.api.resolve_dispute(ident, {"resolution": "issued_full_refund"})
        small.bridge.tell("dispute.updated", small.bridge.api.retrieve_dispute(ident))
    small.bridge.work()
    small.bridge.fail("503", method="GET")
    small.work(1)
    assert states(small, [other, fraud]) == ["told", "owed"]
    small.bridge.next29.faults.clear()
    small.later(60)
    assert small.outcome(fraud)["state"] == "told"


def test_a_paused_store_is_not_read(small: Reports) -> None:
    case = small.alert("ethoca", "fraud", small.sell([("on_hold", "pending")]))
    small.bridge.inside.pause("sandbox")
    small.resolve(case)
    one = small.outcome(case)
    assert (one["state"], one["message"]) == ("owed", "Store sandbox is paused.")
    assert not [path for path in small.reads(case) if path.startswith("orders/")]
    small.bridge.inside.resume("sandbox")
    small.later(60)
    assert small.outcome(case)["state"] == "told"


def test_after_seven_days_it_is_given_up(small: Reports) -> None:
    small.apis.faults = [status(503)]
    case = small.alert("ethoca", "dispute")
    small.resolve(case)
    small.later(9 * DAY)
    assert small.outcome(case)["state"] == "failed"
    assert small.apis.sent("ethoca") == []
