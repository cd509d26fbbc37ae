"""What the bridge promises, clause by clause, where no other test shows it from outside.

Webhooks come in over HTTP. What is judged is what 29next's ledger, the HTTP side, the log and the
database hold in the end. What the bridge promises to senders is in `test_promises_to_senders`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

import pytest
from requests.adapters import HTTPAdapter
from werkzeug.test import TestResponse

from bridge import cli
from bridge.settings import Store
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, Json, bridge_in_process
from tests.support.clock import DAY, HOUR, Clock
from tests.support.dying import dying, work_until_death
from tests.support.next29 import STORE, TOKEN, StandIn
from tests.support.sales import sell, told_of
from tests.support.trying import tried_with
from tests.support.webhooks import Sent

CREATE = "/disputes/"


@pytest.fixture
def shop(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_in_process(url) as made:
        yield made


def told(answer: TestResponse) -> Json:
    """The JSON of an answer."""
    return dict(answer.json or {})


def moment(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def shown(shop: InProcessBridge, delivery: str) -> Json:
    """A delivery as the API shows it."""
    answer = shop.client.get(f"/api/deliveries/{delivery}")
    assert answer.status_code == 200, answer.text
    return told(answer)


def act(shop: InProcessBridge, delivery: str, what: str) -> Json:
    """Replay or dismiss a delivery; returns the delivery."""
    answer = shop.client.post(f"/api/deliveries/{delivery}/{what}")
    assert answer.status_code == 200, answer.text
    return told(answer)


def two_stores(url: str) -> AbstractContextManager[InProcessBridge]:
    return bridge_in_process(url, tokens={TOKEN: STORE, "quiet-token": "quiet"})


# --- at most one, wherever a worker dies ----------------------------------------------------------


def matched_later(shop: InProcessBridge) -> Iterator[Sent]:
    """Created, resolved, then matched, with the gateway's refund on record."""
    sale = sell(shop)
    first = shop.senders.rdr(amount=40.0)
    assert first.opens
    yield first
    yield shop.senders.rdr(case=first.opens[0], event="rdr.match", **told_of(sale))


def withdrawn(shop: InProcessBridge) -> Iterator[Sent]:
    """Created, resolved, then withdrawn, which a note says."""
    first = shop.senders.verifi(eventType="RDR", caseStatus="ACCEPTED")
    assert first.opens
    yield first
    yield shop.senders.verifi(case=first.opens[0], eventType="RDR", caseStatus="REVOKED")


def fought(shop: InProcessBridge) -> Iterator[Sent]:
    """A chargeback that is won, and lost in the end."""
    first = shop.senders.chargeback()
    assert first.opens
    yield first
    for day, result in (("02", "won"), ("09", "lost")):
        yield shop.senders.result(first.opens[0], result=result, event_timestamp=f"2026-03-{day}T08:00:00Z")


def lived(shop: InProcessBridge, story: Callable[[InProcessBridge], Iterator[Sent]]) -> Json:
    """Let a story happen; returns what was done at 29next, and how its deliveries have ended."""
    before = len(shop.next29.ledger.commits)
    ended = []
    for sent in story(shop):
        delivery = shop.post(sent)
        work_until_death(shop)
        ended.append(shop.delivery(delivery)["status"])
    return {"done": Counter(one.kind for one in shop.next29.ledger.commits[before:]), "ended": ended}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("story", [matched_later, withdrawn, fought])
def test_a_worker_that_dies_at_any_write_leaves_it_done_once(
    shop: InProcessBridge,
    monkeypatch: pytest.MonkeyPatch,
    story: Callable[[InProcessBridge], Iterator[Sent]],
    when: Literal["before", "after"],
) -> None:
    with dying(monkeypatch, 0, when) as writes:
        whole = lived(shop, story)
    assert len(writes) >= 3
    assert set(whole["ended"]) == {"forwarded"}
    for nth in range(1, len(writes) + 1):
        with dying(monkeypatch, nth, when) as again:
            assert lived(shop, story) == whole, writes[nth - 1]
        assert len(again) >= nth, "it died"
    assert shop.next29.ledger.summary()["doubled"]["refund"] == []
    assert shop.next29.ledger.repeated_blindly() == []


def test_a_replay_of_all_that_was_done_does_nothing_again(shop: InProcessBridge) -> None:
    given = []
    for story in (matched_later, withdrawn, fought):
        for sent in story(shop):
            given.append(shop.post(sent))
            shop.settle(times=2)
    assert {shop.delivery(one)["status"] for one in given} == {"forwarded"}
    before = len(shop.next29.ledger.calls)
    for order in (given, given[::-1]):
        for one in order:
            assert act(shop, one, "replay")["status"] == "pending"
        shop.settle()
        assert "pending" not in {shop.delivery(one)["status"] for one in given}
    assert [call for call in shop.calls(before) if not call.startswith("GET")] == []


def test_a_case_number_that_two_stores_have_is_a_dispute_in_each(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, two_stores(url) as shop:
        both = [shop.post(shop.senders.prevention(store, case="SAME-1")) for store in (STORE, "quiet")]
        shop.settle()
        assert {shop.delivery(one)["status"] for one in both} == {"forwarded"}
        made = [(one.store, one.facts["case_number"]) for one in shop.next29.ledger.commits]
    assert sorted(made) == [("quiet", "SAME-1"), (STORE, "SAME-1")]


def set_environment(shop: InProcessBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands work on the same inbox and store."""
    given = {
        "DATABASE_URL": shop.settings.database_url,
        "NEXT_STORE": STORE,
        "NEXT_ACCESS_TOKEN": TOKEN,
        "NEXT_BASE_URL": shop.next29.base_url,
        "NEXT_RATE": "0",
        "NEXT_WEBHOOK_SECRET": "a-long-secret-of-webhooks",
        "BRIDGE_PUBLIC_URL": "https://alerts.example.com",
        "BRIDGE_PASSWORD": "a made-up password",
        "BRIDGE_CONFIG": "",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def test_a_subscription_whose_answer_is_lost_is_looked_for_and_not_made_twice(
    shop: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(shop, monkeypatch)
    shop.fail("reset_after", method="POST", path="/webhooks/", count=1)
    assert cli.main(["subscribe", "--store", STORE]) == 1
    assert cli.main(["subscribe", "--store", STORE]) == 0
    assert len(shop.api.rows("webhooks/", {})) == 1
    assert [call for call in shop.calls() if call.startswith("POST")] == ["POST /webhooks/"]


# --- every delivery ends --------------------------------------------------------------------------


def fail_untranslatable(shop: InProcessBridge) -> str:
    return shop.post(shop.senders.prevention(prevention_case_number="none"))


def fail_unknown_event(shop: InProcessBridge) -> str:
    return shop.post(shop.senders.prevention(event_type="prevention.renewed"))


def fail_unknown_outcome(shop: InProcessBridge) -> str:
    return shop.post(shop.senders.rdr(rdr_resolution="Perhaps"))


def fail_contradicted(shop: InProcessBridge) -> str:
    sent = shop.senders.rdr()
    shop.post(sent)
    shop.work()
    assert sent.opens
    return shop.post(shop.senders.trusto(sent.opens[0], "OTHER"))


def fail_no_store(shop: InProcessBridge) -> str:
    return shop.post(shop.senders.prevention("nowhere"))


def fail_refused(shop: InProcessBridge) -> str:
    shop.fail("400", method="POST", path=CREATE, count=1, body='{"currency": ["Unsupported."]}')
    return shop.post(shop.senders.prevention())


def fail_expired(shop: InProcessBridge) -> str:
    shop.fail("429", method="POST", path=CREATE, count=2)
    delivery = shop.post(shop.senders.prevention())
    shop.work()
    shop.clock.sleep(9 * DAY)
    return delivery


def fail_no_opening(shop: InProcessBridge) -> str:
    delivery = shop.post(shop.senders.result("NOBODY-OPENED-IT"))
    shop.work()
    assert shop.delivery(delivery)["reason"] == "waiting_for_opening"
    shop.clock.sleep(4 * DAY)
    return delivery


def fail_bug(shop: InProcessBridge) -> str:
    """A library that raises what nobody expects."""
    delivery = shop.post(shop.senders.prevention())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HTTPAdapter, "send", broken)
        for _ in range(8):
            shop.work()
            shop.clock.sleep(HOUR)
    return delivery


def broken(*_: object, **__: object) -> Any:
    raise ZeroDivisionError


FAILURES: Mapping[str, Callable[[InProcessBridge], str]] = {
    "untranslatable": fail_untranslatable,
    "unknown_event": fail_unknown_event,
    "unknown_outcome": fail_unknown_outcome,
    "contradicted": fail_contradicted,
    "no_store": fail_no_store,
    "refused": fail_refused,
    "expired": fail_expired,
    "no_opening": fail_no_opening,
    "bug": fail_bug,
}
MENDED = ("refused", "expired", "bug")
"""Troubles that pass."""


@tried_with("reason", FAILURES)
def test_whatever_failed_says_why_and_can_be_replayed_and_dismissed(
    shop: InProcessBridge, reason: str
) -> None:
    delivery = FAILURES[reason](shop)
    shop.settle()
    row = shown(shop, delivery)
    assert (row["status"], row["reason"]) == ("failed", reason)
    assert re.search(r"\w+ \w+", row["message"]), "a sentence"
    assert delivery in shop.client.get("/deliveries?status=failed").text

    again = act(shop, delivery, "replay")
    assert (again["status"], again["reason"]) == ("pending", None)
    assert moment(again["deadline_at"]) > max(moment(row["deadline_at"]), shop.clock.now)
    shop.settle()
    if reason in MENDED:
        assert shown(shop, delivery)["status"] == "forwarded"
        return
    if reason == "no_opening":  # it waits for it again
        shop.clock.sleep(4 * DAY)
        shop.settle()
    assert shown(shop, delivery)["reason"] == reason
    put_aside = act(shop, delivery, "dismiss")
    assert (put_aside["status"], put_aside["reason"]) == ("ignored", "dismissed")
    assert act(shop, delivery, "replay")["status"] == "pending"


@pytest.mark.parametrize("name", ["503", "reset", "429", "404", "201_html"])
def test_what_29next_answers_for_ever_ends_nothing_in_silence(shop: InProcessBridge, name: str) -> None:
    """A delivery fails in the end. Where its whole store waits, it says so."""
    if name not in ("429", "404"):  # a write in doubt is looked up, in vain
        shop.fail("503", method="GET")
    shop.fail(name, method="POST")
    delivery = shop.post(shop.senders.prevention())
    for _ in range(12):
        shop.settle(times=1)
        shop.clock.sleep(DAY)
    row = shown(shop, delivery)
    if name == "404":
        assert (row["status"], row["reason"]) == ("pending", "store_paused")
        assert "404" in shop.client.get("/stores").text
    else:
        assert (row["status"], row["reason"]) == ("failed", "expired")


@tried_with(
    ("reason", "provider", "kind", "changes"),
    [
        ("inform", "midigator", "prevention.new", {"prevention_type": "tc40"}),
        ("inform", "midigator", "prevention.new", {"prevention_type": "SAFE"}),
        ("inform", "midigator", "prevention.new", {"prevention_type": "TC-15 report"}),
        ("ignore", "midigator", "registration.new", {}),
        ("test", "chargeflow", "alerts.created", {"livemode": False}),
    ],
)
def test_what_a_rule_ignores_says_by_which_and_costs_no_call(
    shop: InProcessBridge, reason: str, provider: str, kind: str, changes: Json
) -> None:
    before = len(shop.calls())
    delivery = shop.send_sample(provider, kind, change=lambda tree: tree.update(changes))
    shop.settle(times=1)
    row = shown(shop, delivery)
    assert (row["status"], row["reason"]) == ("ignored", reason)
    assert len(shop.calls()) == before


# --- deadlines rule -------------------------------------------------------------------------------

HOURS = {"ethoca": 24, "verifi": 72, "chargeblast": 24, "stripe": 72}
"""What some providers give; that of each kind of event stands in its fixture."""


def test_a_deadline_runs_from_receipt_by_provider(shop: InProcessBridge) -> None:
    given = {provider: shop.send_sample(provider) for provider in HOURS}
    shop.clock.sleep(2 * HOUR)  # in which no worker is there
    for _ in range(2):  # before it is translated, and after it was forwarded
        for provider, delivery in given.items():
            row = shown(shop, delivery)
            assert moment(row["deadline_at"]) - moment(row["received_at"]) == HOURS[provider] * HOUR
        shop.work()
    assert {shop.delivery(one)["status"] for one in given.values()} == {"forwarded"}


def test_retries_are_spread_over_the_whole_of_their_wait(shop: InProcessBridge) -> None:
    shop.next29.stop()
    delivery = shop.post(shop.senders.chargeback())
    waits: list[float] = []
    while len(waits) < 55:
        shop.work()
        due_at = moment(shown(shop, delivery)["due_at"])
        waits.append(due_at - shop.clock.now)
        shop.clock.now = due_at + 0.1
    assert max(waits[:5]) < 31, "the first ones come soon"
    grown = sorted(waits[15:])
    assert grown[-1] < 15 * 60
    # by chance, one run in some five million is outside these bounds
    assert grown[0] < 5 * 60
    assert grown[-1] > 10 * 60
    assert 3 * 60 < sum(grown) / len(grown) < 12 * 60


def test_a_try_is_made_right_before_the_deadline(shop: InProcessBridge) -> None:
    shop.next29.stop()
    several = [shop.post(shop.senders.prevention()) for _ in range(2)]
    deadline = moment(shown(shop, several[0])["deadline_at"])
    shop.clock.now = deadline - HOUR / 2
    while shop.clock.now < deadline + 60:
        shop.work()
        rows = [shown(shop, one) for one in several]
        shop.clock.now = min(moment(row["due_at"]) for row in rows) + 0.05
    for row in rows:
        tries = [moment(attempt["started_at"]) for attempt in row["attempts"]]
        assert any(deadline - 1 < at < deadline + 1 for at in tries), [at - deadline for at in tries]


def press(shop: InProcessBridge, path: str) -> None:
    """Press a button of the page of stores."""
    found = re.search(r'name="form_token" value="([^"]+)"', shop.client.get("/stores").text)
    assert found
    assert shop.client.post(path, data={"form_token": found[1]}).status_code == 303


def test_the_deadlines_of_a_store_that_a_person_has_paused_stand_still(shop: InProcessBridge) -> None:
    waits = [shop.post(shop.senders.prevention())]
    press(shop, f"/stores/{STORE}/pause")
    waits.append(shop.post(shop.senders.prevention()))
    for _ in range(10):
        shop.work()
        shop.clock.sleep(3 * HOUR)
    assert shop.calls() == []
    press(shop, f"/stores/{STORE}/resume")
    for one in waits:
        row = shown(shop, one)
        assert row["status"] == "pending"
        assert 0 <= DAY - (moment(row["deadline_at"]) - shop.clock.now) < 60
    shop.work()
    assert [shop.delivery(one)["late"] for one in waits] == [False, False]
    assert {shop.delivery(one)["status"] for one in waits} == {"forwarded"}


@pytest.mark.parametrize("name", ["429", "503", "reset", "404", "401", "redirect", "201_empty", "400"])
def test_whatever_29next_does_to_one_store_another_goes_on_at_once(
    make_database: MakeDatabase, name: str
) -> None:
    with make_database("sqlite") as url, two_stores(url) as shop:
        shop.fail(name, token=TOKEN, **({"retry_after": "120"} if name in ("429", "503") else {}))
        for _ in range(3):
            shop.post(shop.senders.prevention(STORE))
            quiet = shop.post(shop.senders.prevention("quiet"))
            before = shop.clock.now
            shop.work()
            row = shop.delivery(quiet)
            assert row["status"] == "forwarded"
            assert moment(row["settled_at"]) - before < 1.0


# --- the limit of a token -------------------------------------------------------------------------


def test_stores_of_one_token_keep_its_distance_together(make_database: MakeDatabase) -> None:
    clock = Clock()
    with make_database("sqlite") as url, StandIn(rate=4, transactions=(), clock=clock) as next29:
        both = {name: Store(name, next29.base_url, TOKEN) for name in (STORE, "twin")}
        with bridge_in_process(url, clock=clock, next29=next29, stores=both, rate=4.0) as shop:
            begins = clock.now
            several = [shop.post(shop.senders.prevention(name)) for _ in range(3) for name in both]
            while any(shop.delivery(ident)["status"] != "forwarded" for ident in several):
                shop.work()
                clock.sleep(0.1)
                assert clock.now < begins + 30
            at = [call.wall for call in next29.ledger.calls]
    assert min(later - earlier for earlier, later in pairwise(at)) > 0.2


# --- an unreadable field costs that field ---------------------------------------------------------

KEPT = ("event_type", "event_guid", "type", "eventId", "eventType", "caseStatus", "rdr_resolution")
"""What tells which event it is."""


@tried_with(
    "name",
    ["prevention", "rdr", "chargeback", "ethoca", "verifi"],
)
def test_an_alert_of_which_only_the_case_number_can_be_read_becomes_its_dispute(
    shop: InProcessBridge, name: str
) -> None:
    sent = getattr(shop.senders, name)()
    assert sent.opens
    tree = json.loads(sent.body)
    odd = [key for key, value in tree.items() if key not in KEPT and value != sent.opens[0]]
    for number, key in enumerate(odd):
        tree[key] = [{"odd": True}, "\N{SNOWMAN} ?", -1.5, [[1]]][number % 4]
    delivery = shop.post(replace(sent, body=json.dumps(tree).encode()))
    shop.settle(times=1)
    row = shown(shop, delivery)
    assert row["status"] == "forwarded"
    assert len(row["errors"]) >= 2, "each is named"
    assert set(row["errors"]) <= set(odd)
    (dispute,) = shop.disputes(sent)
    assert dispute["transaction"] is None
    assert shop.case(sent)["state"] == "review"


# --- a wrong match is worse than none -------------------------------------------------------------


def told_by_ids(sale: Json, **changes: Any) -> Json:
    """What a chargeback says of a sale that it names by one id alone."""
    return {"processor_transaction_id": sale["external_id"], "amount": 40.0, **changes}


def two_ids(shop: InProcessBridge) -> Json:
    """Two ids of an alert name two payments."""
    one, other = sell(shop), sell(shop)
    return told_by_ids(one, order_id=other["order"])


def two_ids_that_are_known(shop: InProcessBridge) -> Json:
    """The same, without a call to 29next."""
    one, other = sell(shop), sell(shop)
    for sale in (one, other):
        shop.tell("transaction.created", sale)
    return told_by_ids(one, order_id=other["order"])


def a_twin_that_is_not_known(shop: InProcessBridge) -> Json:
    """Two payments fit, of which 29next has told one."""
    facts = {"auth_code": "TWIN01", "external_id": None, "network_transaction_id": None}
    shop.tell("transaction.created", sell(shop, **facts, order="7001"))
    sell(shop, **facts, order="7002")
    return told_of({"auth_code": "TWIN01"})


@pytest.mark.parametrize("ambiguous", [two_ids, two_ids_that_are_known, a_twin_that_is_not_known])
def test_where_more_than_one_payment_may_be_meant_none_is_attached(
    shop: InProcessBridge, ambiguous: Callable[[InProcessBridge], Json]
) -> None:
    sent = shop.senders.chargeback(**ambiguous(shop))
    shop.post(sent)
    shop.settle()
    assert [one["transaction"] for one in shop.disputes(sent)] == [None]
    assert shop.case(sent)["state"] == "review"


# --- no silent meaning ----------------------------------------------------------------------------


def in_minor_units(provider: str, amount: int, currency: str) -> Callable[[InProcessBridge], str]:
    """Send a provider's amount in minor units."""

    def change(tree: Json) -> None:
        data = tree["data"]
        data.get("object", data).update(amount=amount, currency=currency)

    return lambda shop: shop.send_sample(provider, change=change)


def as_written(amount: Any, currency: str | None) -> Callable[[InProcessBridge], str]:
    """Send Midigator's amount as it is written."""
    return lambda shop: shop.post(shop.senders.prevention(amount=amount, currency=currency))


@tried_with(
    ("send", "amount", "currency"),
    [
        (as_written("1234.50", "USD"), "1234.50", "USD"),
        (as_written("1,234", "USD"), None, "USD"),  # a thousand more in another country
        (as_written("1,234.50", "USD"), "1234.50", "USD"),
        (as_written("1.234", "KWD"), None, "KWD"),  # 29next holds two decimals
        (as_written("12.50", None), None, None),
        (in_minor_units("stripe", 12900, "usd"), "129.00", "USD"),
        (in_minor_units("stripe", 12900, "jpy"), "12900.00", "JPY"),
        (in_minor_units("stripe", 12900, "kwd"), "12.90", "KWD"),
        (in_minor_units("stripe", 12900, "ugx"), "129.00", "UGX"),  # by ISO 4217 it has no decimals
        (in_minor_units("checkout", 1299000, "CLP"), "12990.00", "CLP"),
    ],
)
def test_an_amount_is_sent_as_it_is_meant_or_not_at_all(
    shop: InProcessBridge, send: Callable[[InProcessBridge], str], amount: str | None, currency: str | None
) -> None:
    before = len(shop.next29.ledger.disputes)
    delivery = send(shop)
    shop.work()
    assert shop.delivery(delivery)["status"] == "forwarded"
    (dispute,) = shop.next29.ledger.disputes[before:]
    assert (dispute.get("amount"), dispute.get("currency")) == (amount, currency)


@tried_with("date", ["1899-12-30T00:00:00Z", "0001-01-01T00:00:00", "1970-01-01T00:00:00Z", "1900-01-01"])
def test_a_date_that_stands_for_none_is_no_date(shop: InProcessBridge, date: str) -> None:
    sent = shop.senders.prevention(prevention_timestamp=date)
    delivery = shop.post(sent)
    shop.work()
    assert shown(shop, delivery)["errors"] == {}
    (dispute,) = shop.disputes(sent)
    assert abs(moment(dispute["happened_at"]) - shop.clock.now) < DAY


@pytest.mark.parametrize("number", ["N/A", "null", "0", "-", "undefined", "[object Object]"])
def test_alerts_without_a_case_number_are_no_case_together(shop: InProcessBridge, number: str) -> None:
    both = [shop.post(shop.senders.prevention(prevention_case_number=number)) for _ in range(2)]
    shop.settle(times=1)
    assert [shop.delivery(one)["reason"] for one in both] == ["untranslatable"] * 2
    assert shop.calls() == []


def verifi_rdr(status: str | None) -> Callable[[InProcessBridge, Json], Sent]:
    """Verifi's RDR case with a word for how it ended, or none."""
    facts: Json = {"eventType": "RDR", "transactionDate": "2026-02-28"}
    facts |= {"caseAmount": {"amount": 40.0, "currency": "USD"}}
    facts |= {"caseStatus": status} if status else {}
    return lambda shop, sale: shop.senders.verifi(authCode=sale["auth_code"], **facts)


def midigator_rdr(resolution: str) -> Callable[[InProcessBridge, Json], Sent]:
    """Midigator's, the same."""
    return lambda shop, sale: shop.senders.rdr(**told_of(sale, rdr_resolution=resolution))


@tried_with(
    "make",
    [
        *map(verifi_rdr, (None, "DECLINED", "NEW", "PENDING", "CLOSED")),
        *map(midigator_rdr, ("", "Declined", "Not accepted")),
    ],
)
def test_an_rdr_case_that_nobody_accepted_is_never_a_refund(
    shop: InProcessBridge, make: Callable[[InProcessBridge, Json], Sent]
) -> None:
    sent = make(shop, sell(shop))
    delivery = shop.post(sent)
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"
    (dispute,) = shop.disputes(sent)
    assert dispute["transaction"]
    assert "refund" not in str(dispute["resolution"])
    assert shop.next29.ledger.refunds == []
    assert not [call for call in shop.next29.ledger.calls if "refund" in str(call.body)]


# --- what happened can be seen --------------------------------------------------------------------


def test_every_call_to_29next_is_shown_with_its_answer(shop: InProcessBridge) -> None:
    shop.fail("503", method="GET", path="/transactions/", count=1)
    shop.fail("reset_after", method="POST", path=CREATE, count=1)
    shop.fail("429", method="POST", path="*/resolve/", count=1)
    shop.fail("400", method="POST", path="*/notes/", count=1)
    for story in (matched_later, withdrawn, fought):
        for sent in story(shop):
            shop.post(sent)
            shop.settle(times=6)
    made = Counter((call.method, call.path, call.status) for call in shop.next29.ledger.calls)
    cases = told(shop.client.get("/api/cases?limit=500"))["results"]
    listed: Counter[Any] = Counter()
    for case in cases:
        whole = told(shop.client.get(f"/api/cases/{case['id']}"))
        listed.update((one["method"], f"/{one['path']}", one["status"]) for one in whole["attempts"])
    assert len(made) > 8
    assert listed == made


def test_an_alert_is_found_by_whatever_names_it(shop: InProcessBridge) -> None:
    for number in range(40):  # so that the ids of 29next and the amounts are nobody else's numbers
        shop.next29.add_dispute(STORE, case_number=f"THEIRS-{number}", type="alert")
    shop.send_sample("verifi")
    wanted = shop.send_sample("midigator", "chargeback.new")
    shop.send_sample("ethoca")
    shop.work()
    whole = shown(shop, wanted)
    case = told(shop.client.get(f"/api/cases/{whole['case_id']}"))
    facts = ("case_number", "arn", "order", "auth_code", "external_id", "amount", "card_last_four")
    names = [whole["alert"][fact] for fact in facts]
    names += [wanted, whole["webhook_id"], whole["case_id"], whole["event_id"], str(case["dispute_id"])]
    assert all(names)
    for name in names:
        found = told(shop.client.get("/api/deliveries", query_string={"q": name}))["results"]
        assert [row["id"] for row in found] == [wanted], name
        page = shop.client.get("/deliveries", query_string={"q": name}, follow_redirects=True).text
        assert wanted in page, name
