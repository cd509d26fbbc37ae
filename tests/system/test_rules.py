"""The rules that matter, one by one, from outside: webhooks in, and what 29next has got in the end.

Each of these was written for a mutation of `tests.mutants` that nothing else noticed from outside.
"""

from __future__ import annotations

import base64
import hmac
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.storage import migrate
from bridge.storage.database import Database
from bridge.web.app import create_app
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, Json, bridge_in_process
from tests.support.clock import DAY, HOUR, Clock, WallClock, eventually
from tests.support.configuring import load
from tests.support.next29 import STORE, TOKEN, StandIn, fault
from tests.support.webhooks import FULL_CARD, Sent

CREATE, RESOLVE, ASK = "/disputes/", "/disputes/*/resolve/", "/transactions/"
CARD = {"bankcard_first_six": "424242", "bankcard_last_four": "0042"}
REFUSED = '{"currency": ["Unsupported."]}'


class Busy(StandIn):
    """A store in which something happens while a dispute is being created."""

    meanwhile: Callable[[], None] | None = None

    def admit(self, access: Any, method: str, path: str, *given: Any) -> Any:
        """Let the call in, and let happen what was planned, once."""
        admitted = super().admit(access, method, path, *given)
        if (method, path) == ("POST", CREATE) and self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return admitted


class Silent(StandIn):
    """A pretend 29next whose first store answers nothing until it is told to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.told_to = threading.Event()

    def admit(self, access: Any, *given: Any) -> Any:
        """Let the call in, in its time."""
        if access and access.store == STORE:
            self.told_to.wait(60)
        return super().admit(access, *given)


@pytest.fixture
def shop(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_in_process(url) as made:
        yield made


@pytest.fixture
def two(make_database: MakeDatabase) -> Iterator[tuple[InProcessBridge, InProcessBridge]]:
    """Two workers of one inbox, on one clock."""
    clock = Clock()
    busy = Busy(rate=0, transactions=(), clock=clock)
    with ExitStack() as stack:
        url = stack.enter_context(make_database("sqlite"))
        one, other = (
            stack.enter_context(bridge_in_process(url, clock=clock, next29=busy, timeout=30.0))
            for _ in range(2)
        )
        yield one, other


def sell(shop: InProcessBridge, **changes: Any) -> Json:
    """A sale of the day before, which 29next knows."""
    number = len(shop.next29.stores[STORE].transactions.by_id) + 1
    facts = {
        "amount": "40.00",
        "currency": "USD",
        "auth_code": f"A{number:05}",
        "external_id": f"pi_{number:016}",
        "date_created": "2026-02-28T12:00:00+00:00",
        **CARD,
    }
    return shop.next29.add_transaction(STORE, **{**facts, **changes})


def post(shop: InProcessBridge, sent: Sent) -> str:
    """Post a webhook; returns the id of its delivery as it was answered."""
    answer = shop.client.post(sent.path, data=sent.body, headers=sent.headers)
    assert answer.status_code == 200, answer.text
    return str((answer.json or {})["id"])


def about(sale: Json, **changes: Any) -> Json:
    """What a chargeback tells of a sale, by its own id."""
    return {
        "processor_transaction_id": sale["external_id"],
        "processor_transaction_date": "2026-02-28",
        "amount": 40.0,
        "card_first_6": CARD["bankcard_first_six"],
        "card_last_4": CARD["bankcard_last_four"],
        **changes,
    }


def done(shop: InProcessBridge) -> Counter[str]:
    """What was really done at 29next."""
    return Counter(commit.kind for commit in shop.next29.ledger.commits)


def ask(shop: InProcessBridge, path: str, body: Json | None = None) -> Json:
    """Post to the API as a program does."""
    answer = shop.client.post(f"/api/{path}", json=body or {})
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def left(shop: InProcessBridge, ident: str) -> float:
    """The seconds that a delivery has until its deadline."""
    return moment(shop.delivery(ident)["deadline_at"]) - shop.clock.now


# --- a write is never simply repeated -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *((name, path) for name in ("503_after", "reset_after", "201_empty") for path in (CREATE, RESOLVE)),
        ("201_without_id", CREATE),
        ("redirect", RESOLVE),
    ],
)
def test_a_write_whose_answer_is_lost_is_done_once(shop: InProcessBridge, name: str, path: str) -> None:
    shop.next29.add_faults(fault(name, method="POST", path=path, count=1, commits_after=0))
    delivery = post(shop, shop.senders.rdr())
    shop.settle()
    assert done(shop) == {"dispute": 1, "resolution": 1}
    assert shop.delivery(delivery)["status"] == "forwarded"


def test_a_dispute_that_is_late_in_lists_is_not_made_again(shop: InProcessBridge) -> None:
    lag = fault("list_lag", seconds=14, count=1)
    shop.next29.add_faults(lag, fault("503_after", method="POST", path=CREATE, count=1))
    delivery = post(shop, shop.senders.prevention())
    shop.settle(10, times=6)
    assert done(shop) == {"dispute": 1}
    assert shop.delivery(delivery)["status"] == "forwarded"


def test_a_write_in_doubt_is_looked_up_only_when_29next_must_be_done(shop: InProcessBridge) -> None:
    shop.next29.add_faults(fault("503", method="POST", path=CREATE, count=1))
    post(shop, shop.senders.prevention())
    shop.work()
    shop.clock.sleep(4)
    shop.work()
    assert shop.calls() == [f"POST {CREATE}"]
    shop.clock.sleep(2)
    shop.work()
    assert shop.calls() == [f"POST {CREATE}", f"GET {CREATE}"]


def test_a_chargeback_in_doubt_is_not_taken_for_the_alert_of_its_number(shop: InProcessBridge) -> None:
    alert = shop.senders.prevention()
    post(shop, alert)
    shop.work()
    assert alert.opens
    shop.next29.add_faults(fault("503", method="POST", path=CREATE, count=1))
    post(shop, shop.senders.chargeback(case=alert.opens[0]))
    shop.settle()
    assert [row["type"] for row in shop.disputes()] == ["alert", "chargeback"]


def test_a_second_dispute_of_a_sale_is_not_even_tried(shop: InProcessBridge) -> None:
    sale = sell(shop)
    first, second = (shop.senders.chargeback(**about(sale)) for _ in range(2))
    post(shop, first)
    shop.work()
    delivery = post(shop, second)
    with shop.counted() as calls:
        shop.work()
    assert not [call for call in calls if not call.startswith("GET ")]
    assert shop.delivery(delivery)["status"] == "forwarded"
    assert shop.case(second)["state"] == "duplicate"


# --- of two workers one has a case --------------------------------------------------------------


def take_over(one: InProcessBridge, other: InProcessBridge) -> None:
    """Let the lease of a worker run out, and another do its work."""
    one.clock.sleep(one.settings.lease + 1)
    other.settle()


def test_a_worker_whose_lease_was_over_changes_nothing_of_what_the_next_one_found_out(
    two: tuple[InProcessBridge, InProcessBridge],
) -> None:
    one, other = two
    busy = one.next29
    assert isinstance(busy, Busy)

    found_out = []

    def meanwhile() -> None:
        one.clock.sleep(one.settings.lease + one.settings.timeout)
        for _ in range(2):  # two looks, and then a creation of its own, whose answer is lost
            other.work()
            one.clock.sleep(6)
        found_out.append(done(other))

    busy.meanwhile = meanwhile
    # the later call meets the first of these, the earlier one, which stands until then, the second
    busy.add_faults(fault("503_after", method="POST", path=CREATE, count=1))
    busy.add_faults(fault("429", method="POST", path=CREATE, count=1))
    delivery = post(one, one.senders.prevention())
    one.work()
    assert found_out == [{"dispute": 1}]
    one.settle()
    assert done(one) == {"dispute": 1}
    assert one.delivery(delivery)["status"] == "forwarded"


def test_a_worker_whose_lease_was_over_sends_nothing(two: tuple[InProcessBridge, InProcessBridge]) -> None:
    one, other = two
    sent = one.senders.prevention()
    post(one, sent)
    one.inside.translate()
    claims = one.inside.claim()
    take_over(one, other)
    one.inside.work_off(claims)
    assert done(one) == {"dispute": 1}
    assert one.case(sent)["state"] == "review", "it is as the other has left it"


def test_a_case_that_one_worker_has_is_nobody_elses(two: tuple[InProcessBridge, InProcessBridge]) -> None:
    one, other = two
    post(one, one.senders.prevention())
    one.inside.translate()
    claims = one.inside.claim()
    other.work()
    assert one.calls() == []
    one.inside.work_off(claims)
    assert done(one) == {"dispute": 1}


def test_a_store_whose_calls_hang_leaves_threads_for_another(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, Silent(rate=0, transactions=()) as silent:
        silent.add_token("quiet-token", "quiet")
        tokens = {TOKEN: STORE, "quiet-token": "quiet"}
        with (
            bridge_in_process(url, clock=WallClock(), next29=silent, tokens=tokens, timeout=60.0) as shop,
            ThreadPoolExecutor(200) as pool,
        ):
            worker = shop.inside.worker()
            for _ in range(110):
                post(shop, shop.senders.prevention(STORE))
            while worker.run_once(pool):
                pass  # until as many calls hang as may
            quiet = post(shop, shop.senders.prevention("quiet"))

            def is_forwarded() -> bool:
                worker.run_once(pool)
                return bool(shop.delivery(quiet)["status"] == "forwarded")

            try:
                eventually(is_forwarded, 15)
            finally:
                silent.told_to.set()


# --- deadlines rule -----------------------------------------------------------------------------


def follow(shop: InProcessBridge, ident: str, until: float) -> int:
    """Let time pass from one try of a delivery to the next; returns how many there were."""
    tries = 0
    while (row := shop.delivery(ident))["status"] == "pending":
        due_at = moment(row["due_at"])
        if due_at > until:
            shop.clock.now = until
            break
        tries += 1
        assert tries < 200
        shop.clock.now = max(due_at, shop.clock.now) + 1
        shop.work()
        row = shop.delivery(ident)
        assert row["late"] == (moment(row["deadline_at"]) < shop.clock.now), row
    return tries


def test_what_29next_does_not_take_is_tried_until_a_week_after_its_deadline(shop: InProcessBridge) -> None:
    shop.next29.stop()
    delivery = post(shop, shop.senders.prevention())
    deadline = shop.clock.now + DAY
    shop.work()
    assert 10 < follow(shop, delivery, shop.clock.now + 2 * HOUR) < 40
    shop.clock.now = deadline - HOUR
    assert follow(shop, delivery, deadline + 60) >= 4, "every quarter of an hour at the latest"
    assert 6 <= follow(shop, delivery, deadline + 6 * HOUR) <= 12, "hourly, with some jitter"
    shop.clock.now = deadline + 7 * DAY - 2 * HOUR
    shop.work()
    assert shop.delivery(delivery)["status"] == "pending"
    follow(shop, delivery, deadline + 8 * DAY)
    row = shop.delivery(delivery)
    assert (row["status"], row["reason"]) == ("failed", "expired")
    assert 0 < shop.clock.now - deadline - 7 * DAY < 2 * HOUR


def test_calls_of_one_token_keep_their_distance_and_use_their_time(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, bridge_in_process(url, rate=4.0) as shop:
        several = [post(shop, shop.senders.prevention()) for _ in range(9)]
        for _ in range(100):
            shop.work()
            shop.clock.sleep(0.02)
        assert {shop.delivery(ident)["status"] for ident in several} == {"forwarded"}
        at = [call.wall for call in shop.next29.ledger.calls]
    apart = [later - earlier for earlier, later in pairwise(at)]
    assert len(apart) == 8
    assert min(later - first for first, later in zip(at, at[4:], strict=False)) > 1.0, "no five in a second"
    assert min(apart) > 0.2, "a slot is 0.275 s long, and a call may leave 30 ms late in it"
    assert len(apart) / (at[-1] - at[0]) >= 3.5, "of the four that 29next takes"


@pytest.mark.parametrize(
    ("method", "path", "made"),
    [
        ("GET", ASK, [f"GET {ASK}"] * 2),
        ("POST", CREATE, [f"POST {CREATE}", f"GET {CREATE}"]),  # a write may have happened: it is looked for
    ],
)
def test_a_wait_that_29next_asks_for_is_kept(
    shop: InProcessBridge, method: str, path: str, made: list[str]
) -> None:
    shop.next29.add_faults(fault("503", method=method, path=path, count=1, retry_after="120"))
    post(shop, shop.senders.rdr(auth_code="A1B2C3" if method == "GET" else None))
    shop.work()
    shop.clock.sleep(115)
    shop.work()
    assert shop.calls() == made[:1]
    shop.clock.sleep(10)
    shop.work()
    assert shop.calls()[:2] == made


def test_a_throttle_holds_for_the_whole_store(shop: InProcessBridge) -> None:
    shop.next29.add_faults(fault("429", method="POST", path=CREATE, count=1, retry_after="60"))
    both = [post(shop, shop.senders.prevention()) for _ in range(2)]
    shop.work()
    shop.clock.sleep(55)
    shop.work()
    assert shop.calls() == [f"POST {CREATE}"]
    shop.clock.sleep(10)
    shop.work()
    assert [shop.delivery(ident)["status"] for ident in both] == ["forwarded"] * 2


def test_a_refused_token_pauses_the_store_and_its_clock_until_it_is_good_again(shop: InProcessBridge) -> None:
    shop.next29.revoke(TOKEN)
    both = [post(shop, shop.senders.prevention()) for _ in range(2)]
    shop.work()
    for ident in both:
        row = shop.delivery(ident)
        assert (row["status"], row["reason"]) == ("pending", "store_paused")
    shop.clock.sleep(30 * HOUR)
    shop.next29.add_token(TOKEN)
    shop.work()
    assert [shop.delivery(ident)["status"] for ident in both] == ["forwarded"] * 2
    # the first one finds out that the token is good again, and the other has all its time still
    assert max(left(shop, ident) for ident in both) > 23 * HOUR


def test_the_most_urgent_alert_of_a_store_goes_first(shop: InProcessBridge) -> None:
    several = [shop.senders.verifi(), shop.senders.chargeback(), shop.senders.prevention()]
    for sent in several:
        post(shop, sent)
    shop.work()
    (first, *_) = shop.next29.ledger.committed("dispute")
    assert several[-1].opens
    assert first["case_number"] == several[-1].opens[0]


def test_what_is_replayed_has_its_whole_time_again(shop: InProcessBridge) -> None:
    shop.next29.add_faults(fault("400", method="POST", path=CREATE, count=1, body=REFUSED))
    delivery = post(shop, shop.senders.prevention())
    shop.work()
    assert shop.delivery(delivery)["reason"] == "refused"
    shop.clock.sleep(20 * HOUR)
    ask(shop, f"deliveries/{delivery}/replay")
    assert 23.9 * HOUR < left(shop, delivery) <= DAY
    shop.settle()
    assert shop.delivery(delivery)["status"] == "forwarded"


# --- a wrong match is worse than none -----------------------------------------------------------


def match_of(shop: InProcessBridge, sent: Sent) -> Json:
    """Post an alert, and say what was found for it."""
    post(shop, sent)
    shop.work()
    (dispute,) = shop.disputes()
    case = shop.case(sent)
    assert dispute["transaction"] == case["transaction_id"]
    return case


def test_a_sale_is_attached_by_its_own_id(shop: InProcessBridge) -> None:
    sale = sell(shop)
    assert match_of(shop, shop.senders.chargeback(**about(sale)))["transaction_id"] == sale["id"]


@pytest.mark.parametrize(
    ("sold", "told"),
    [
        ({}, {"card_last_4": "9999"}),
        ({}, {"card_first_6": "411111"}),
        ({}, {"auth_code": "ZZZZZ9"}),
        ({}, {"amount": 41.0}),
        ({}, {"processor_transaction_date": "2025-11-28"}),
        ({}, {"processor_transaction_date": "2026-03-20"}),
        ({"status": "failed"}, {}),
        ({"is_test": True}, {}),
        ({"type": "authorize", "status": "failed"}, {}),
    ],
    ids=["card", "first-six", "auth-code", "amount", "earlier", "later", "failed", "test", "authorization"],
)
@pytest.mark.parametrize("indexed", [False, True])
def test_a_sale_that_the_alert_contradicts_is_not_attached(
    shop: InProcessBridge, sold: Json, told: Json, *, indexed: bool
) -> None:
    sale = sell(shop, **sold)
    if indexed:  # 29next has told of it, so it is not asked
        shop.tell("transaction.created", sale)
        shop.work()
    case = match_of(shop, shop.senders.chargeback(**about(sale, **told)))
    assert (case["transaction_id"], case["state"]) == (None, "review")


def test_of_two_sales_that_fit_none_is_attached(shop: InProcessBridge) -> None:
    twins = [sell(shop, auth_code="A1B2C3", external_id=None) for _ in range(2)]
    told = about(twins[0], processor_transaction_id=None, auth_code="A1B2C3")
    case = match_of(shop, shop.senders.chargeback(**told))
    assert (case["transaction_id"], case["state"]) == (None, "review")
    assert {one["id"] for one in case["match"]["candidates"]} == {one["id"] for one in twins}


def test_the_same_number_in_another_currency_is_no_evidence(shop: InProcessBridge) -> None:
    sale = sell(shop)
    told = about(sale, processor_transaction_id=None, auth_code=sale["auth_code"], currency="EUR")
    told |= {"card_first_6": None, "card_last_4": None}
    assert match_of(shop, shop.senders.chargeback(**told))["transaction_id"] is None


@pytest.mark.parametrize("surely", [True, False])
def test_beside_what_cannot_be_read_only_the_surest_ids_attach(
    shop: InProcessBridge, *, surely: bool
) -> None:
    sale = sell(shop)
    told = about(sale, auth_code=sale["auth_code"], chargeback_date="the day before yesterday")
    if not surely:
        told["processor_transaction_id"] = None
    case = match_of(shop, shop.senders.chargeback(**told))
    assert case["transaction_id"] == (sale["id"] if surely else None)


# --- no silent meaning --------------------------------------------------------------------------


def fought(shop: InProcessBridge, *results: tuple[str, str]) -> tuple[Sent, list[str]]:
    """A chargeback and its results, each with the day of its event; returns their deliveries."""
    sent = shop.senders.chargeback()
    post(shop, sent)
    shop.work()
    assert sent.opens
    told = []
    for result, day in results:
        told.append(
            post(shop, shop.senders.result(sent.opens[0], result=result, event_timestamp=f"{day}T08:00:00Z"))
        )
        shop.work()
    return sent, told


def test_a_replay_of_an_earlier_result_replaces_nothing(shop: InProcessBridge) -> None:
    _, told = fought(shop, ("won", "2026-03-02"), ("lost", "2026-03-09"))
    assert shop.disputes()[0]["resolution"] == "lost"
    shop.clock.sleep(DAY)
    ask(shop, f"deliveries/{told[0]}/replay")
    shop.settle()
    assert shop.disputes()[0]["resolution"] == "lost"
    assert shop.delivery(told[0])["status"] == "ignored"


def test_a_persons_word_at_29next_is_not_overwritten(shop: InProcessBridge) -> None:
    sent, _ = fought(shop, ("won", "2026-03-02"))
    here = shop.case(sent, "chargeback")["dispute_id"]
    shop.tell("dispute.updated", shop.api.update_dispute(here, {"resolution": "accepted"}))
    shop.settle()
    assert sent.opens
    later = post(
        shop, shop.senders.result(sent.opens[0], result="lost", event_timestamp="2026-03-09T08:00:00Z")
    )
    shop.settle()
    assert shop.disputes()[0]["resolution"] == "accepted"
    assert shop.delivery(later)["reason"] == "contradicted"
    assert any("lost" in note and "accepted" in note for note in shop.case(sent, "chargeback")["notes"])


def test_an_outcome_that_contradicts_the_one_that_stands_fails_visibly(shop: InProcessBridge) -> None:
    sent = shop.senders.rdr()
    post(shop, sent)
    shop.work()
    assert sent.opens
    other = post(shop, shop.senders.trusto(sent.opens[0], "OTHER"))
    shop.work()
    row = shop.delivery(other)
    assert (row["status"], row["reason"]) == ("failed", "contradicted")
    assert shop.case(sent)["state"] == "review"
    assert shop.disputes()[0]["resolution"] == "issued_full_refund"


def test_the_first_outcome_of_an_alert_stands(shop: InProcessBridge) -> None:
    sent = shop.senders.prevention()
    post(shop, sent)
    shop.work()
    assert sent.opens
    post(shop, shop.senders.trusto(sent.opens[0], "OTHER"))
    shop.work()
    later = post(shop, shop.senders.trusto(sent.opens[0], "REFUNDED"))
    shop.settle()
    assert shop.disputes()[0]["resolution"] == "other"
    assert shop.delivery(later)["reason"] == "contradicted"


def test_an_outcome_that_nobody_listed_opens_its_case_and_fails_visibly(shop: InProcessBridge) -> None:
    delivery = post(shop, shop.senders.rdr(rdr_resolution="Perhaps"))
    shop.work()
    row = shop.delivery(delivery)
    assert (row["status"], row["reason"]) == ("failed", "unknown_outcome")
    assert "'Perhaps'" in row["message"]
    assert [one["status"] for one in shop.disputes()] == ["new"]


def test_what_cannot_be_read_is_named_on_its_delivery(shop: InProcessBridge) -> None:
    sent = shop.senders.prevention(amount="a lot")
    row = shop.delivery(post(shop, sent))
    shop.work()
    row = shop.delivery(row["id"])
    assert row["status"] == "forwarded"
    assert list(row["errors"]) == ["amount"]
    assert shop.case(sent)["state"] == "review"


def test_an_alert_for_a_store_that_is_not_there_goes_to_no_other(shop: InProcessBridge) -> None:
    delivery = post(shop, shop.senders.prevention("nowhere"))
    shop.work()
    assert shop.delivery(delivery)["reason"] == "no_store"
    assert shop.calls() == []


# --- a refund is recorded once ------------------------------------------------------------------


def refunded(shop: InProcessBridge, sale: Json, amount: float = 40.0) -> Sent:
    """An RDR case of a sale that was accepted: the gateway has given the amount back."""
    return shop.senders.verifi(
        eventType="RDR",
        caseStatus="ACCEPTED",
        caseAmount={"amount": amount, "currency": "USD"},
        transactionAmount={"amount": 40.0, "currency": "USD"},
        transactionDate="2026-02-28",
        authCode=sale["auth_code"],
    )


def test_a_part_that_the_gateway_gave_back_is_recorded_once(shop: InProcessBridge) -> None:
    sale = sell(shop)
    post(shop, refunded(shop, sale, 10.0))
    shop.settle()
    assert done(shop)["refund"] == 1
    (row,) = shop.next29.ledger.refunds
    assert row["amount"] == "10.00"


def test_a_refund_that_the_sale_has_no_room_for_is_not_even_tried(shop: InProcessBridge) -> None:
    sale = sell(shop)
    body = {"amount": "35.00", "is_external": True, "send_refund_notification": False}
    shop.api.call("POST", f"transactions/{sale['id']}/refund/", body=body)
    before = len(shop.next29.ledger.calls)
    post(shop, refunded(shop, sale))
    shop.settle()
    writes = [call for call in shop.next29.ledger.calls[before:] if call.method != "GET"]
    assert [call.path for call in writes][1:] == [f"/disputes/{shop.disputes()[0]['id']}/resolve/"]
    assert "create_external_refund" not in str(writes)


def test_what_a_sale_has_left_is_read_right_before_its_refund_is_recorded(shop: InProcessBridge) -> None:
    sale = sell(shop)
    shop.next29.add_faults(fault("429", method="POST", path=RESOLVE, count=1, retry_after="200"))
    post(shop, refunded(shop, sale))
    shop.work()
    shop.clock.sleep(201)
    with shop.counted() as calls:
        shop.work()
    assert calls[0] == f"GET /transactions/{sale['id']}/"
    assert done(shop)["refund"] == 1


# --- the front door -----------------------------------------------------------------------------

ACME = """
[providers.acme]
proof = { kind = "basic" }
event_id = "query:id"
[providers.acme.fields]
case_number = "case"
amount = "sum"
currency = { value = "EUR" }
"""


SIGNED = """
[providers.acme]
proof = { kind = "hmac", header = "X-Signature" }
event_id = "id"
[providers.acme.fields]
case_number = "case"
amount = "sum"
currency = { value = "EUR" }
"""


@contextmanager
def kept(folder: Path, toml: str, secret: str) -> Iterator[tuple[Any, Callable[[], bytes]]]:
    """A front door for a provider whose events have their id in the URL, and what lies on its disk."""
    file = folder / "inbox.db"
    settings = load(toml, ACME_SECRET=secret, DATABASE_URL=f"sqlite:///{file}")
    with closing(Database(settings.database_url)) as database:
        migrate.upgrade(database)
        read = lambda: b"".join(path.read_bytes() for path in folder.glob("inbox.db*"))  # noqa: E731
        yield create_app(settings, database).test_client(), read


def test_a_signature_is_compared_whole(tmp_path: Path) -> None:
    body = b'{"id": "1", "case": "C-1", "sum": "1.00"}'
    right = hmac.new(b"a-key", body, "sha256").hexdigest()
    wrong = [right[:8], right[:-1], right + "0", right[:-8] + "00000000", "00000000" + right[8:]]
    with kept(tmp_path, SIGNED, "a-key") as (client, _):
        for given in wrong:
            answer = client.post("/webhooks/acme", data=body, headers={"X-Signature": given})
            assert answer.status_code == 401, given
        assert client.post("/webhooks/acme", data=body, headers={"X-Signature": right}).status_code == 200


def test_a_card_number_in_the_query_of_a_webhook_is_cut(tmp_path: Path) -> None:
    headers = {"Authorization": "Basic " + base64.b64encode(b"user:password").decode()}
    with kept(tmp_path, ACME, "user:password") as (client, disk):
        for ident in (f"a-{FULL_CARD}", "an-id-that-is-none"):
            body = b'{"case": "C-1", "sum": "1.00"}'
            assert client.post(f"/webhooks/acme?id={ident}", data=body, headers=headers).status_code == 200
        assert b"an-id-that-is-none" in disk()
        assert FULL_CARD.encode() not in disk()


def test_an_identifier_that_looks_like_a_card_number_is_sent_as_it_came(shop: InProcessBridge) -> None:
    post(shop, shop.senders.prevention(case=FULL_CARD))
    shop.work()
    assert [row["case_number"] for row in shop.disputes()] == [FULL_CARD]
