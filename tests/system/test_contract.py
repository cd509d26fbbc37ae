"""Every request that the bridge makes of 29next is one that its documents allow, with as much in it as ever.

What it reads of the answers is documented because the stand-in's answers are (tests/unit/test_stand_in.py).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest

from bridge import cli
from bridge.alert import RESOLUTIONS, Alert, DisputeType, Network
from bridge.disputes import matching
from bridge.disputes.case import Call, CallKind, Case, Goal, Match, Pending, Rule, Sale, Unconfirmed
from bridge.disputes.plan import next_step
from bridge.web.formatting import purpose
from tests.conftest import MakeDatabase
from tests.support.next29 import STORE, TOKEN, VERSIONS, StandIn
from tests.support.openapi import OFFICIAL, Referee, own_document, referee

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
EVERYTHING = Alert(
    case_number="contract",
    amount=Decimal("123456.78"),
    currency="USD",
    happened_at=NOW,
    transaction_at=NOW,
    arn="7" * 23,
    card_first_six="411111",
    card_last_four="0042",
    auth_code="A1B2C3",
    network_transaction_id="3" * 15,
    external_id="pi_contract",
    order="1",
    descriptor="CONTRACT",
    network=Network.ETHOCA,
    reason_code="10.4",
)
"""An alert that knows everything, so that nothing which may be sent is left out."""
FEWER = [
    EVERYTHING,
    replace(EVERYTHING, external_id=None),
    replace(EVERYTHING, external_id=None, auth_code=None),
    replace(EVERYTHING, external_id=None, auth_code=None, network_transaction_id=None),
]
"""Alerts that lead to every question after a payment: only the best two are asked for each."""
JUDGES = [
    pytest.param(version, official, id=f"{version} of {'29next' if official else 'ours'}")
    for version in VERSIONS
    for official in ([False, True] if OFFICIAL.exists() else [False])
]


def states() -> Iterator[Case]:
    """A case before each of the calls that it may ever need."""
    settled = Match(rule=Rule.ORDER, transaction_id=1, closed=True)
    for kind in DisputeType:
        fresh = case(kind)
        for facts in FEWER:
            for asked, _ in enumerate(rules := list(matching.queries(facts))):
                yield replace(fresh, facts=facts, match=Match(asked=rules[:asked]))
        yield replace(fresh, match=Match(behind=1))  # a refund that leads to its payment
        yield replace(fresh, facts=None)  # a look-up by its case number
        yield replace(fresh, match=settled)  # the opening, matched
        yield replace(fresh, match=replace(settled, transaction_id=None))
        yield replace(fresh, match=settled, pending=Pending(holder=1))
        opened = replace(fresh, dispute_id=1, match=settled)
        yield opened  # a match that comes later
        matched = replace(opened, transaction_id=1)
        yield replace(matched, pending=Pending(reread=True))
        for word in RESOLUTIONS[kind]:
            refunded = word == "issued_full_refund"
            yield replace(matched, goal=Goal(word, "contract", refunded_by_gateway=refunded))
        resolved = replace(matched, resolution=RESOLUTIONS[kind][0])
        for sale in (None, Sale(1, NOW.timestamp(), "123456.78", "USD", "123456.78")):
            yield replace(resolved, goal=Goal(refunded_by_gateway=True), pending=Pending(sale=sale))
        yield replace(resolved, goal=Goal(withdraw=True))
        later = Goal(RESOLUTIONS[kind][-1], "contract")  # takes the other's place
        read = Pending(read_at=NOW.timestamp())
        yield replace(resolved, resolved_by_us=resolved.resolution, goal=later, pending=read)
        yield replace(matched, goal=Goal(withdraw=True))
        for written in (CallKind.CREATE, CallKind.RESOLVE, CallKind.REFUND, CallKind.NOTE):
            yield replace(resolved, unconfirmed=Unconfirmed(written))


def case(kind: DisputeType) -> Case:
    return Case(
        id="contract",
        store="contract",
        case_number=EVERYTHING.case_number,
        type=kind,
        provider="contract",
        opened_at=NOW.timestamp(),
        deadline_at=NOW.timestamp(),
        facts=replace(EVERYTHING, type=kind),
    )


def calls() -> list[Call]:
    """Every call that a case makes."""
    steps = [next_step(one, NOW.timestamp()) for one in states()]
    return [step for step in steps if isinstance(step, Call)]


def judge(referee: Referee, call: Call) -> None:
    """Raise an AssertionError where a call is not as documented."""
    query = f"?{urlencode(call.params)}" if call.params else ""
    body = json.loads(json.dumps(call.body))
    referee.request(call.method, f"/{call.path}{query}", body)


def form(method: str, path: str) -> str:
    return f"{method} {re.sub('[0-9]+', '1', path)}"


@pytest.mark.parametrize(("version", "official"), JUDGES)
def test_every_call_of_a_case_is_documented(version: str, *, official: bool) -> None:
    for call in calls():
        judge(referee(version, official=official), call)


def test_every_call_of_a_case_has_its_words_on_the_pages() -> None:
    unnamed = [
        call
        for call in calls()
        if purpose({"method": call.method, "path": call.path, "request": call.body}) == "Call"
    ]
    assert unnamed == []


def test_a_case_has_every_kind_of_call() -> None:
    assert {call.kind for call in calls()} == set(CallKind)
    assert {form(call.method, call.path) for call in calls()} == {
        *("GET disputes/", "GET disputes/1/", "GET disputes/1/notes/", "GET orders/1/", "GET transactions/"),
        *("GET transactions/1/", "POST disputes/", "PATCH disputes/1/", "POST disputes/1/resolve/"),
        *("POST disputes/1/notes/", "POST transactions/1/refund/"),
    }


def test_every_call_of_a_command_is_documented(
    monkeypatch: pytest.MonkeyPatch, make_database: MakeDatabase
) -> None:
    with make_database("sqlite") as url, StandIn(rate=0) as next29:
        for name, value in {
            "DATABASE_URL": url,
            "NEXT_STORE": STORE,
            "NEXT_ACCESS_TOKEN": TOKEN,
            "NEXT_BASE_URL": next29.base_url,
            "NEXT_RATE": "0",
            "NEXT_WEBHOOK_SECRET": "a-long-random-text",
            "BRIDGE_PUBLIC_URL": "http://127.0.0.1:9",
        }.items():
            monkeypatch.setenv(name, value)
        next29.add_dispute(STORE, case_number="T-1", type="alert")
        for words in ("subscribe", "subscribe", "backfill --days 1", "reconcile --since 2026-01-31"):
            name, *rest = words.split()
            cli.main([name, "--store", STORE, *rest])
        cli.main(["doctor"])
        made = [call for call in next29.ledger.calls if call.status and call.status < 300]
    # those that are refused are the doctor's, which asks with things that are not whether it might
    assert {form(call.method, call.path) for call in made} == {
        *("GET /disputes/", "GET /transactions/", "GET /webhooks/", "POST /webhooks/", "PATCH /webhooks/1/"),
    }
    for official in {param.values[1] for param in JUDGES}:
        for call in made:
            path = f"{call.path}?{call.query}" if call.query else call.path
            referee(official=bool(official)).request(call.method, path, call.body)


def body_of(document: Any, path: str, method: str = "post") -> Any:
    return document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d: d["paths"]["/disputes/{id}/notes/"].pop("post"),
            "29next has no POST /disputes/1/notes/",
        ),
        (
            lambda d: d["paths"]["/transactions/"]["get"]["parameters"].clear(),
            "?auth_code: nobody documents it",
        ),
        (
            lambda d: body_of(d, "/disputes/")["properties"].pop("arn"),
            "'arn' was unexpected",
        ),
        (
            lambda d: body_of(d, "/disputes/{id}/", "patch")["properties"]["transaction"].update(
                readOnly=True
            ),
            "'transaction' was unexpected",
        ),
        (
            lambda d: body_of(d, "/disputes/")["properties"]["amount"].update(pattern=r"^\d{0,4}$"),
            "body.amount: '123456.78' does not match",
        ),
        (
            lambda d: body_of(d, "/disputes/{id}/resolve/")["properties"].update(
                resolution={"enum": ["won"]}
            ),
            "body.resolution: 'lost' is not one of",
        ),
        (
            lambda d: body_of(d, "/disputes/")["required"].append("resolution"),
            "'resolution' is a required property",
        ),
    ],
)
def test_what_29next_has_changed_is_noticed(change: Callable[[Any], Any], said: str) -> None:
    document = copy.deepcopy(own_document(VERSIONS[0]))
    change(document)
    changed = Referee(document)
    problems = []
    for call in calls():
        try:
            judge(changed, call)
        except AssertionError as error:
            problems.append(str(error))
    assert any(said in problem for problem in problems)
