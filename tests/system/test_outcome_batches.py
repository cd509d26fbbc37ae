"""Ethoca: calls are signed, several outcomes go in one call, and each is answered for itself."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from bridge.errors import Unavailable
from tests.conftest import MakeDatabase
from tests.support.clock import HOUR
from tests.support.ethoca import errors
from tests.support.inside import KEPT_OUTCOMES
from tests.support.provider_apis import Fault, ProviderApis, Request, cut_off, status
from tests.support.reporting import Reports, reporting

BATCH = 25


def resolved_together(reports: Reports, count: int, kind: str = "dispute") -> list[str]:
    """Some cases whose outcomes become due at once."""
    cases = [reports.alert("ethoca", kind) for _ in range(count)]
    for case in cases:
        reports.resolved(case)
    return cases


def states(reports: Reports, cases: list[str]) -> list[str]:
    return [reports.outcome(case)["state"] for case in cases]


# --- signatures ---------------------------------------------------------------------------------


def test_every_call_to_ethoca_is_signed_anew(reports: Reports) -> None:
    reports.apis.faults = [status(503, errors("DOWN", recoverable=True))]
    case = reports.alert("ethoca", "dispute")
    reports.resolve(case)
    reports.later(60)
    assert reports.apis.refused == []
    assert len(reports.apis.signatures.nonces) == len(reports.apis.ledger.calls) == 2
    shown = json.dumps(reports.bridge.case(case))
    assert "canary" not in shown
    assert "oauth_signature" not in shown


# --- batches ------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_outcomes_that_are_due_together_go_in_one_call_of_25_at_most(reports: Reports) -> None:
    cases = resolved_together(reports, BATCH + 3)
    reports.work()
    sizes = [len(call.body["outcomes"]) for call in reports.apis.ledger.calls]
    assert sorted(sizes) == [3, BATCH]
    assert set(states(reports, cases)) == {"told"}
    assert all(one.stands for one in reports.apis.ledger.entries)
    for case in cases:  # one attempt each, which shows its own outcome and no other's
        made = reports.calls(case)
        assert [(one["request"]["alertId"], one["outcome"]) for one in made] == [(case, "ok")]


@pytest.mark.both_databases
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
def test_a_call_that_does_not_get_through_is_made_again(reports: Reports, fault: Fault) -> None:
    cases = resolved_together(reports, 3)
    reports.apis.faults = [fault]
    reports.work(1)
    assert set(states(reports, cases)) == {"owed"}
    reports.restart()
    for _ in range(3):
        reports.later(60)
    assert set(states(reports, cases)) == {"told"}
    assert len(reports.apis.ledger.entries) == 3


def test_one_that_spoils_a_call_holds_up_no_other(reports: Reports) -> None:
    spoiling, *others = resolved_together(reports, 3)

    def refuse_with(request: Request) -> bool:
        if spoiling not in {one["alertId"] for one in request.call.body["outcomes"]}:
            return False
        request.answer(400, errors("VALIDATION_FAILURE", "bad id", recoverable=False))
        return True

    reports.apis.faults = [refuse_with] * 10
    reports.work(1)
    for _ in range(3):
        reports.later(60)
    assert states(reports, others) == ["told", "told"]
    one = reports.outcome(spoiling)
    assert one["state"] == "failed"
    assert one["message"] == "Ethoca answered 400: VALIDATION_FAILURE: bad id"


def test_a_whole_call_that_may_work_later_is_made_again(reports: Reports) -> None:
    reports.apis.faults = [status(400, errors("BUSY", recoverable=True))]
    case = reports.alert("ethoca", "dispute")
    reports.resolve(case)
    assert reports.outcome(case)["state"] == "owed"
    reports.later(60)
    assert reports.outcome(case)["state"] == "told"


def test_an_answer_that_is_lost_is_sent_again_in_the_same_word(reports: Reports) -> None:
    sale = reports.sell([("on_hold", "pending")])
    case = reports.alert("ethoca", "fraud", sale)
    reports.apis.faults = [cut_off]
    reports.resolve(case)
    assert reports.outcome(case)["word"] == "STOPPED/REFUNDED"
    reports.ships(sale, [])  # what is true now was not when it may have arrived
    reports.later(60)
    assert [one["outcome"] for one in reports.apis.sent("ethoca")] == ["STOPPED"]
    assert reports.outcome(case)["state"] == "told"


@pytest.mark.both_databases
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


def test_a_store_that_is_down_delays_an_outcome_and_nothing_else(reports: Reports) -> None:
    fraud = reports.alert("ethoca", "fraud", reports.sell([("on_hold", "pending")]))
    other = reports.alert("ethoca", "dispute")
    reports.resolved(fraud)
    reports.resolved(other)
    reports.bridge.work()
    reports.bridge.fail("503", method="GET")
    reports.work(1)
    assert states(reports, [other, fraud]) == ["told", "owed"]
    reports.bridge.next29.faults.clear()
    reports.later(60)
    assert reports.outcome(fraud)["state"] == "told"


def test_a_paused_store_is_not_read(reports: Reports) -> None:
    case = reports.alert("ethoca", "fraud", reports.sell([("on_hold", "pending")]))
    reports.bridge.inside.pause("sandbox")
    reports.resolve(case)
    one = reports.outcome(case)
    assert (one["state"], one["message"]) == ("owed", "Store sandbox is paused.")
    assert not [path for path in reports.reads(case) if path.startswith("orders/")]
    reports.bridge.inside.resume("sandbox")
    reports.later(60)
    assert reports.outcome(case)["state"] == "told"
