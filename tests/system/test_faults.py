"""Whatever 29next does to a call, each alert gets its one dispute, resolution, refund and note.

All trials run at the same time, each in a store of its own, in one run of the real processes; what
became of each is judged trial by trial.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.support.clock import eventually
from tests.support.processes import RunningBridge, running_bridge
from tests.support.survived import BROKEN, LATE, SURVIVED, THROTTLED, Fault
from tests.support.trying import try_each
from tests.support.webhooks import Json, Senders, Sent

pytestmark = pytest.mark.timeout(400)  # all trials at once are much for a busy machine

Phases = Sequence[Sequence[Sent]]

AMOUNT, CODE = 77.5, "CODE77"  # of the payment that each store has
OPENED = "OPENED-1"  # the case of the chargeback that each store has

OF_THE_STORE = ("401", "403", "404", "redirect")
REFUSALS = ("400", "409", "422")


WORDS = {"400": "Bad request.", "404": "Not found."}
"""What 29next says beside a refusal."""


@dataclass(frozen=True)
class Trial:
    """One kind of call, what happens to it, and how its last delivery ends."""

    kind: str
    faults: tuple[Fault, ...]
    ends: str = "forwarded"
    count: int = 2
    costs: frozenset[str] = frozenset()  # what is not done at 29next then

    @property
    def name(self) -> str:
        """The name of its store."""
        words = [one if isinstance(one, str) else one["name"] for one in self.faults]
        return "-".join([self.kind, *words]).replace("_", "-")


def _opening(senders: Senders, store: str) -> Phases:
    return [[senders.prevention(store)]]


def _resolution(senders: Senders, store: str) -> Phases:
    return [[senders.rdr(store)]]


def _resolution_with_refund(senders: Senders, store: str) -> Phases:
    return [[senders.rdr(store, amount=AMOUNT, auth_code=CODE)]]


def _found_later(senders: Senders, store: str) -> Phases:
    first = senders.rdr(store, amount=AMOUNT)
    assert first.opens
    return [[first], [senders.rdr(store, first.opens[0], "rdr.match", amount=AMOUNT, auth_code=CODE)]]


def _withdrawal(senders: Senders, store: str) -> Phases:
    first = senders.verifi(store, eventType="RDR", caseStatus="ACCEPTED")
    assert first.opens
    return [[first], [senders.verifi(store, first.opens[0], eventType="RDR", caseStatus="REVOKED")]]


def _result(senders: Senders, store: str) -> Phases:
    """A result whose dispute somebody else has opened."""
    return [[senders.result(OPENED, store)]]


@dataclass(frozen=True)
class Kind:
    """One kind of call: which it is, and what is posted so that it is made."""

    method: str
    path: str
    phases: Callable[[Senders, str], Phases]


CALLS = {
    "create": Kind("POST", "/disputes/", _opening),
    "resolve": Kind("POST", "/disputes/*/resolve/", _resolution),
    "resolve-and-refund": Kind("POST", "/disputes/*/resolve/", _resolution_with_refund),
    "attach": Kind("PATCH", "/disputes/*/", _found_later),
    "refund": Kind("POST", "/transactions/*/refund/", _found_later),
    "note": Kind("POST", "/disputes/*/notes/", _withdrawal),
    "ask": Kind("GET", "/transactions/", _resolution_with_refund),
    "look": Kind("GET", "/disputes/", _result),
}
UNDONE = {*THROTTLED, *BROKEN, *OF_THE_STORE} - {"drip", "drip_body"}
"""Faults that leave the work undone, so that the next call meets them too."""
UNSEEN: Fault = {"name": "list_lag", "seconds": 1.4, "count": 0}

SOME: tuple[Fault, ...] = (
    *("429", "503", "503_after", "reset_after", "hang", "hang_after", "201_empty"),
    *LATE[1:],
)

TRIALS = [
    *(Trial(kind, (fault,)) for kind in ("create", "resolve-and-refund") for fault in SURVIVED),
    *(Trial(kind, (fault,)) for kind in ("resolve", "attach", "refund", "note") for fault in SOME),
    *(Trial(kind, (fault,)) for kind in ("ask", "look") for fault in ("429", "503", "reset", "hang", "drip")),
    *(Trial(kind, (fault,)) for kind in ("create", "look") for fault in OF_THE_STORE),
    *(Trial(kind, (fault,)) for kind in ("resolve", "attach", "note") for fault in ("401", "redirect")),
    Trial("ask", ("403",), count=0, costs=frozenset({"refund"})),  # created all the same, unmatched
    *(Trial("create", (fault,), "failed", 1, costs=frozenset({"dispute"})) for fault in REFUSALS),
    *(
        Trial("resolve", (fault,), "failed", 1, costs=frozenset({"resolution"}))
        for fault in (*REFUSALS, "404")
    ),
    *(
        Trial(kind, (fault,), "failed", 1, costs=frozenset(costs))
        for kind, costs in (("attach", {"change", "refund"}), ("refund", {"refund"}), ("note", {"note"}))
        for fault in ("400", "404")
    ),
    *(Trial("create", (fault, UNSEEN)) for fault in ("reset_after", "hang_after")),
    *(Trial("create", (fault, "loose")) for fault in ("503_after", "503")),
]


COMMITS = {
    "create": {"dispute": 1},
    "resolve": {"dispute": 1, "resolution": 1},
    "resolve-and-refund": {"dispute": 1, "resolution": 1, "refund": 1},
    "attach": {"dispute": 1, "resolution": 1, "change": 1, "refund": 1},
    "refund": {"dispute": 1, "resolution": 1, "change": 1, "refund": 1},
    "note": {"dispute": 1, "resolution": 1, "note": 1},
    "ask": {"dispute": 1, "resolution": 1, "refund": 1},
    "look": {"resolution": 1},
}
"""What is really done at 29next in a trial of each kind."""


@dataclass(frozen=True)
class Outcome:
    """What the trials have come to, before and after failed deliveries were replayed."""

    bridge: RunningBridge
    first: list[Json]
    last: list[Json]
    commits: list[Json]
    calls: list[Json]


@pytest.fixture(scope="module")
def outcome(make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """All trials, run at the same time."""
    folder = tmp_path_factory.mktemp("faults")
    stores = [trial.name for trial in TRIALS]
    with (
        make_database("sqlite") as url,
        running_bridge(folder, url, "--page-size", "2", stores=stores) as bridge,
    ):
        bridge.start()
        payment = {"amount": f"{AMOUNT:.2f}", "auth_code": CODE, "date_created": "2026-02-27T00:00:00Z"}
        bridge.next29.control("POST", "transactions", [{"store": store, **payment} for store in stores])
        dispute = {"case_number": OPENED, "type": "chargeback", "amount": "5.00", "currency": "USD"}
        bridge.next29.control("POST", "disputes", [{"store": store, **dispute} for store in stores])
        bridge.next29.add_faults(*(fault for trial in TRIALS for fault in _planned(trial, bridge)))
        senders = Senders()
        phases = [CALLS[trial.kind].phases(senders, trial.name) for trial in TRIALS]
        for phase in itertools.zip_longest(*phases, fillvalue=()):
            bridge.deliver(*(sent for several in phase for sent in several))
            bridge.wait(seconds=150)
        first, commits = bridge.deliveries(), bridge.next29.ledger()["commits"]
        bridge.replay(*(row["id"] for row in first if row["status"] == "failed"))
        bridge.wait()
        yield Outcome(bridge, first, bridge.deliveries(), commits, bridge.next29.ledger()["calls"])


def _planned(trial: Trial, bridge: RunningBridge) -> Iterator[Json]:
    kind = CALLS[trial.kind]
    for fault in trial.faults:
        whole = {"name": fault} if isinstance(fault, str) else dict(fault)
        if whole["name"] not in ("loose", "list_lag"):
            whole |= {"method": kind.method, "path": kind.path}
        yield {"count": trial.count, "token": bridge.tokens[trial.name], **whole}


def test_nothing_is_lost_or_doubled_under_any_fault(outcome: Outcome) -> None:
    outcome.bridge.audit()


def trials(outcome: Outcome, kind: str) -> dict[str, tuple[Outcome, Trial]]:
    """The trials of a kind of call, by name, with what they have come to."""
    found = {trial.name: (outcome, trial) for trial in TRIALS if trial.kind == kind}
    assert found
    return found


@pytest.mark.parametrize("kind", CALLS)
def test_each_alert_is_forwarded_or_refused_with_29nexts_words(outcome: Outcome, kind: str) -> None:
    try_each(forwarded_or_refused, trials(outcome, kind))


def forwarded_or_refused(outcome: Outcome, trial: Trial) -> None:
    """Check how the deliveries of a trial have ended."""
    rows = sorted((row for row in outcome.first if row["store"] == trial.name), key=lambda row: row["id"])
    *before, last = rows
    assert {row["status"] for row in before} <= {"forwarded"}
    assert last["status"] == trial.ends, last
    if trial.ends == "failed":
        assert last["reason"] == "refused"
        fault = str(trial.faults[0])
        assert fault in last["message"] or WORDS[fault] in last["message"]
    assert {row["status"] for row in outcome.last if row["store"] == trial.name} == {"forwarded"}


@pytest.mark.parametrize("kind", CALLS)
def test_every_fault_has_happened_to_the_calls_that_it_is_for(outcome: Outcome, kind: str) -> None:
    try_each(happened, trials(outcome, kind))


def happened(outcome: Outcome, trial: Trial) -> None:
    """Check that the faults of a trial have happened: those that leave the work undone each time."""
    struck = Counter(
        name
        for call in outcome.calls
        if call["store"] == trial.name and call["fault"]
        for name in call["fault"].split(", ")
    )
    assert set(struck) == {one if isinstance(one, str) else one["name"] for one in trial.faults}
    for name in set(struck) & UNDONE:
        assert struck[name] == (trial.count or 1), name


@pytest.mark.parametrize("kind", CALLS)
def test_what_is_done_at_29next_is_done_once(outcome: Outcome, kind: str) -> None:
    try_each(done_once, trials(outcome, kind))


def done_once(outcome: Outcome, trial: Trial) -> None:
    """Check what a trial has led to at 29next."""
    done = Counter(one["kind"] for one in outcome.commits if one["store"] == trial.name)
    assert done == {kind: times for kind, times in COMMITS[trial.kind].items() if kind not in trial.costs}
    refunds = [
        one["facts"] for one in outcome.commits if one["store"] == trial.name and one["kind"] == "refund"
    ]
    assert all(one["is_external"] and not one["notified"] for one in refunds)


def test_a_refused_token_pauses_its_store_alone_until_it_is_good_again(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    with make_database("sqlite") as url, running_bridge(tmp_path, url, stores=("alpha", "beta")) as bridge:
        bridge.start()
        senders = Senders()
        bridge.next29.control("POST", "tokens", {"token": bridge.tokens["alpha"], "revoke": True})
        waiting, other = [senders.prevention("alpha") for _ in range(2)], senders.prevention("beta")
        bridge.deliver(*waiting, other)
        bridge.wait(other)
        eventually(lambda: len(bridge.deliveries(reason="store_paused")) == 2)
        said = {store["name"]: store["paused_why"] for store in bridge.search.stores()}
        assert "401" in said["alpha"]
        assert said["beta"] is None
        # the one that was claimed before the pause has been refused too
        eventually(lambda: [call["status"] for call in bridge.next29.ledger()["calls"]].count(401) >= 2)
        before = max(row["deadline_at"] for row in bridge.deliveries(store="alpha"))
        bridge.next29.control("POST", "tokens", {"token": bridge.tokens["alpha"], "store": "alpha"})
        bridge.wait()
        after = max(row["deadline_at"] for row in bridge.deliveries(store="alpha"))
        assert after > before  # its clock stood still
        assert {store["paused_why"] for store in bridge.search.stores()} == {None}
        bridge.audit()
