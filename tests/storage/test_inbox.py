"""The inbox: nothing stored twice, nothing claimed twice, the most urgent first, and 29next's pace kept."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, event, select, text, update

from bridge.alert import Alert, DisputeType, Effect, Reason, State, Status, Webhook
from bridge.disputes.case import CallKind, Case, Unconfirmed
from bridge.disputes.events import FORWARDED, Settled
from bridge.errors import TooLate
from bridge.pace import AHEAD, LATE
from bridge.providers.base import Reading
from bridge.settings import Store
from bridge.storage.arrivals import NewDelivery
from bridge.storage.attempts import Attempt, CallOutcome
from bridge.storage.database import Database
from bridge.storage.ids import new_id, token_key
from bridge.storage.inbox import Inbox
from bridge.storage.queue import PROBE_SECONDS
from bridge.storage.rows import Claim, Delivery, Settlement, case_of
from bridge.storage.schema import attempts, cases, deliveries, paces, refusals, stores, webhooks
from bridge.storage.slots import GAPS_AHEAD
from bridge.storage.translation import Translation
from tests.conftest import MakeDatabase
from tests.support.clock import Clock, eventually
from tests.support.inside import translate
from tests.support.statements import statements

START = 1_772_366_400.0
HOUR = 3600.0
LEASE = 55.0
GAP = 0.275
MOST = 50

Change = Callable[[Case, list[Delivery]], Settlement]
ALPHA, BETA, TWIN = (
    Store(name=name, base_url=f"https://{name}.29next.store/api/admin/", token=token)
    for name, token in (("alpha", "token-a"), ("beta", "token-b"), ("twin", "token-a"))
)


@pytest.fixture
def clock() -> Clock:
    """Stands still until a test moves it; all inboxes share it."""
    return Clock(START, step=0.0)


@contextlib.contextmanager
def opened(url: str, clock: Callable[[], float], gap: float = 0.0) -> Iterator[Inbox]:
    """An inbox as a process of its own would have it."""
    with contextlib.closing(Database(url, clock=clock, pool_size=4)) as database:
        inbox = Inbox(database, gap=gap, lease=LEASE)
        inbox.stores.register([ALPHA, BETA, TWIN])
        yield inbox


@pytest.fixture
def inbox(database_url: str, clock: Clock) -> Iterator[Inbox]:
    with opened(database_url, clock) as inbox:
        yield inbox


@pytest.fixture
def paced(database_url: str, clock: Clock) -> Iterator[Inbox]:
    """An inbox that keeps 29next's pace."""
    with opened(database_url, clock, GAP) as inbox:
        yield inbox


@pytest.fixture
def both(database_url: str, clock: Clock) -> Iterator[tuple[Inbox, Inbox]]:
    """Two inboxes over one database."""
    with opened(database_url, clock) as one, opened(database_url, clock) as other:
        yield one, other


@pytest.fixture
def on_postgres(make_database: MakeDatabase, clock: Clock) -> Iterator[tuple[Inbox, Inbox]]:
    """Two inboxes over a database that locks rows."""
    with make_database("postgres") as url, opened(url, clock) as one, opened(url, clock) as other:
        yield one, other


# --- what is put in ------------------------------------------------------------------------------


def webhook(body: bytes = b"{}", **changes: Any) -> Webhook:
    given = {"provider": "acme", "path": "/webhooks/acme", "body": body, "headers": {"host": "bridge.test"}}
    return Webhook(**{**given, **changes})


def owed(fingerprint: str, *, item: int = 0, deadline: float = 24 * HOUR) -> NewDelivery:
    return NewDelivery(item, f"id-{fingerprint}", "created", fingerprint, deadline)


def store_webhook(inbox: Inbox, *fingerprints: str, deadline: float = 24 * HOUR) -> str:
    several = [owed(one, item=item, deadline=deadline) for item, one in enumerate(fingerprints)]
    return inbox.deliveries.add(webhook(), several)


def alert(case_number: str, **changes: Any) -> Alert:
    given: dict[str, Any] = {"amount": Decimal("40.00"), "currency": "USD"}
    given["happened_at"] = datetime.fromtimestamp(START, UTC)
    return Alert(case_number=case_number, **{**given, **changes})


def opening(row: Row[Any]) -> Translation:
    """Translate a delivery to open the case that its event id names: `id-<case number>[.<which>]`."""
    number = row.event_id.removeprefix("id-").partition(".")[0]
    return Translation(Status.PENDING, reading=Reading(Effect.OPEN, alert(number)), store=store_of(number))


def store_of(number: str) -> Store:
    return next((one for one in (BETA, TWIN) if number.startswith(one.name[0])), ALPHA)


def receive(inbox: Inbox, *numbers: str, deadline: float = 24 * HOUR) -> list[str]:
    """Store an opening of each case, and translate all of them."""
    ids = [store_webhook(inbox, number, deadline=deadline) for number in numbers]
    while translate(inbox, opening, 50):
        pass
    return ids


def rows(inbox: Inbox, table: Any, **wanted: Any) -> list[Row[Any]]:
    chosen = select(table)
    for name, value in wanted.items():
        chosen = chosen.where(table.c[name] == value)
    with inbox.database.read() as connection:
        return list(connection.execute(chosen.order_by(*table.primary_key.columns)))


def row(inbox: Inbox, table: Any, **wanted: Any) -> Row[Any]:
    [one] = rows(inbox, table, **wanted)
    return one


def claim(inbox: Inbox, *names: str) -> Claim | None:
    found = inbox.queue.claim(names or ("alpha",), MOST)
    assert len(found) <= 1
    return found[0] if found else None


def taken(inbox: Inbox, *names: str) -> Claim:
    found = claim(inbox, *names)
    assert found
    return found


def numbers(inbox: Inbox, claims: list[Claim]) -> list[str]:
    known = {one.id: str(one.case_number) for one in rows(inbox, cases)}
    return [known[one.case_id] for one in claims]


def about(moment: float) -> Any:
    """A moment, but for what a float loses: approx by itself allows half an hour to a date of these years."""
    return pytest.approx(moment, rel=0, abs=1e-5)


def settle(inbox: Inbox, claimed: Claim, change: Change, attempt: Attempt | None = None) -> bool:
    """Settle one claim."""
    return inbox.queue.settle(claimed, change, attempt)


def intend(inbox: Inbox, claimed: Claim, attempt: Attempt) -> bool:
    """Commit one intent; whether it was."""
    return inbox.queue.commit_intent(claimed, attempt, token_key(ALPHA.token)) is not None


def take(inbox: Inbox, store: Store = ALPHA) -> float | None:
    """Take a slot for a question; when it opens by the inbox's clock, None where that is too far ahead."""
    key = token_key(store.token)
    if inbox.queue.take_slot(key) is None:
        return None
    return float(row(inbox, paces, token=key).next_at) - GAP


def forward(case: Case, owed: list[Delivery]) -> Settlement:
    """End a case as if 29next had its dispute now."""
    case.dispute_id = 7
    case.due_at = None
    return Settlement({one.id: FORWARDED for one in owed})


def postpone(until: float | None) -> Callable[[Case, list[Delivery]], Settlement]:
    def change(case: Case, _: list[Delivery]) -> Settlement:
        case.due_at = until
        return Settlement()

    return change


def attempt(ident: str, claimed: Claim, outcome: str = "intended", **changes: Any) -> Attempt:
    return Attempt(
        id=ident,
        case_id=claimed.case_id,
        store=claimed.store,
        method="POST",
        path="disputes/",
        request={"a": 1},
        outcome=CallOutcome(outcome),
        started_at=START,
        **changes,
    )


# --- ids -----------------------------------------------------------------------------------------


def test_ids_sort_by_time_and_never_meet() -> None:
    moments = [START + number / 1000 for number in range(500)]
    ids = [new_id("d", moment) for moment in moments]
    assert ids == sorted(ids)
    assert len({new_id("d", START) for _ in range(10_000)}) == 10_000
    assert all(len(one) == len("d_") + 21 and one.startswith("d_") for one in ids)
    assert new_id("d", START) < new_id("d", START + 50 * 365 * 24 * HOUR)


def test_a_token_is_named_without_being_held() -> None:
    assert "token-a" not in token_key("token-a")
    assert token_key("token-a") != token_key("token-b")


# --- receiving -----------------------------------------------------------------------------------


def test_what_is_kept_is_there_as_it_came(inbox: Inbox, clock: Clock) -> None:
    body = bytes(range(256))
    headers = {"x-note": "\u00fc\ud800\0", "host": "a"}
    ident = inbox.deliveries.add(webhook(body, headers=headers, store="beta"), [owed("1", deadline=5 * HOUR)])
    kept = row(inbox, webhooks)
    assert (kept.body, kept.headers, kept.store) == (body, headers, "beta")
    delivery = row(inbox, deliveries)
    assert (delivery.id, delivery.webhook_id) == (ident, kept.id)
    assert (delivery.status, delivery.event_id, delivery.item) == (Status.PENDING, "id-1", 0)
    assert delivery.received_at == clock.now
    assert delivery.deadline_at == clock.now + 5 * HOUR
    assert delivery.case_id is None


def test_a_repeat_adds_nothing_and_answers_with_the_first_s_id(inbox: Inbox, clock: Clock) -> None:
    first = store_webhook(inbox, "1")
    clock.now += 5
    assert store_webhook(inbox, "1") == first
    assert len(rows(inbox, deliveries)) == len(rows(inbox, webhooks)) == 1


def test_a_repeat_of_what_is_done_leaves_it_done(inbox: Inbox) -> None:
    [first] = receive(inbox, "1")
    settle(inbox, taken(inbox), forward)
    assert store_webhook(inbox, "1") == first
    assert row(inbox, deliveries).status == Status.FORWARDED


def test_another_body_is_another_delivery(inbox: Inbox) -> None:
    assert store_webhook(inbox, "1") != store_webhook(inbox, "2")
    assert len(rows(inbox, webhooks)) == 2


def test_a_batch_shares_its_webhook(inbox: Inbox) -> None:
    store_webhook(inbox, "1", "2", "3")
    kept = row(inbox, webhooks)
    found = sorted((one.item, one.webhook_id) for one in rows(inbox, deliveries))
    assert found == [(item, kept.id) for item in range(3)]


def test_of_a_batch_only_what_is_new_is_added(inbox: Inbox) -> None:
    first = store_webhook(inbox, "1", "2")
    assert store_webhook(inbox, "1", "2", "3") == first
    assert Counter(one.fingerprint for one in rows(inbox, deliveries)) == {"1": 1, "2": 1, "3": 1}
    assert len(rows(inbox, webhooks)) == 2
    assert store_webhook(inbox, "3", "1") == row(inbox, deliveries, fingerprint="3").id
    assert len(rows(inbox, webhooks)) == 2


def test_the_same_event_twice_in_a_batch_is_one_delivery(inbox: Inbox) -> None:
    assert store_webhook(inbox, "1", "1", "1") == row(inbox, deliveries).id


def test_a_thousand_repeats_at_once_are_one_delivery(both: tuple[Inbox, Inbox]) -> None:
    with ThreadPoolExecutor(32) as pool:
        ids = set(pool.map(lambda number: store_webhook(both[number % 2], "1"), range(1000)))
    assert len(ids) == 1
    assert len(rows(both[0], deliveries)) == len(rows(both[0], webhooks)) == 1


def test_refusals_are_counted_by_provider_reason_and_day(inbox: Inbox, clock: Clock) -> None:
    for _ in range(3):
        inbox.deliveries.count_refusal("acme", "bad_proof", "The credentials are wrong.")
    inbox.deliveries.count_refusal("acme", "too_large", "Too large.")
    clock.now += 24 * HOUR
    inbox.deliveries.count_refusal("acme", "bad_proof", "The credentials are missing.")
    counted = [(one.reason, one.day, one._mapping["count"], one.message) for one in rows(inbox, refusals)]
    assert sorted(counted) == [
        ("bad_proof", "2026-03-01", 3, "The credentials are wrong."),
        ("bad_proof", "2026-03-02", 1, "The credentials are missing."),
        ("too_large", "2026-03-01", 1, "Too large."),
    ]


# --- translating ---------------------------------------------------------------------------------


def test_an_opening_makes_a_case_that_is_due(inbox: Inbox, clock: Clock) -> None:
    [ident] = receive(inbox, "7")
    case = row(inbox, cases)
    assert (case.store, case.case_number, case.type, case.state) == ("alpha", "7", "alert", State.NEW)
    assert (case.amount, case.currency, case.providers) == ("40.00", "USD", ["acme"])
    assert case.due_at <= clock.now
    delivery = row(inbox, deliveries)
    assert (delivery.id, delivery.case_id, delivery.effect) == (ident, case.id, Effect.OPEN)
    assert (delivery.store, delivery.case_number, delivery.status) == ("alpha", "7", Status.PENDING)
    assert Alert.from_json(delivery.alert) == alert("7")


def test_the_oldest_are_translated_first_and_no_more_than_asked_for(inbox: Inbox, clock: Clock) -> None:
    for number in range(5):
        clock.now += 1
        store_webhook(inbox, str(number))
    seen: list[str] = []

    def judge(one: Row[Any]) -> Translation:
        seen.append(one.event_id)
        return opening(one)

    assert translate(inbox, judge, 2) == 2
    assert seen == ["id-0", "id-1"]
    assert translate(inbox, judge, 50) == 3
    assert translate(inbox, judge, 50) == 0


@pytest.mark.parametrize(
    "verdict",
    [
        Translation(Status.IGNORED, Reason.INFORM, reading=Reading(Effect.INFORM, alert("9"))),
        Translation(Status.FAILED, Reason.UNTRANSLATABLE, "Bad.", errors={"a.b": ["Odd."]}),
        Translation(Status.FAILED, Reason.NO_STORE, "None.", reading=Reading(Effect.OPEN, alert("9"))),
    ],
)
def test_what_is_decided_at_once_owes_nothing(inbox: Inbox, clock: Clock, verdict: Translation) -> None:
    store_webhook(inbox, "1")
    clock.now += 3
    translate(inbox, lambda _: verdict, 50)
    delivery = row(inbox, deliveries)
    assert (delivery.status, delivery.reason, delivery.message) == (
        verdict.status,
        verdict.reason,
        verdict.message,
    )
    assert (delivery.errors, delivery.due_at) == (verdict.errors, None)
    assert (delivery.settled_at, delivery.case_id) == (clock.now, None)
    assert rows(inbox, cases) == []
    assert translate(inbox, opening, 50) == 0


def test_what_could_not_be_translated_is_tried_again_at_its_time(inbox: Inbox, clock: Clock) -> None:
    store_webhook(inbox, "1")
    again = Translation(Status.PENDING, message="A bug.", again_at=clock.now + 30)
    assert translate(inbox, lambda _: again, 50) == 1
    assert row(inbox, deliveries).tries == 1
    assert translate(inbox, opening, 50) == 0
    clock.now += 30
    assert translate(inbox, opening, 50) == 1
    assert row(inbox, deliveries).case_id


def test_a_judge_that_fails_leaves_everything_as_it_was(inbox: Inbox) -> None:
    for number in ("1", "2"):
        store_webhook(inbox, number)

    def judge(one: Row[Any]) -> Translation:
        if one.event_id == "id-2":
            raise ZeroDivisionError
        return opening(one)

    with pytest.raises(ZeroDivisionError):
        translate(inbox, judge, 50)
    assert rows(inbox, cases) == []
    assert translate(inbox, opening, 50) == 2


def test_deliveries_of_one_case_share_it_whoever_reports_it(inbox: Inbox) -> None:
    store_webhook(inbox, "7.1", "7.2")
    inbox.deliveries.add(webhook(provider="umbrella"), [owed("7.3")])
    translate(inbox, opening, 50)
    case = row(inbox, cases)
    assert {one.case_id for one in rows(inbox, deliveries)} == {case.id}
    assert sorted(case.providers) == ["acme", "umbrella"]


@pytest.mark.parametrize(
    "changes",
    [
        {"case_number": "8"},
        {"type": DisputeType.CHARGEBACK},
    ],
)
def test_cases_differ_by_number_type_and_store(inbox: Inbox, changes: dict[str, Any]) -> None:
    receive(inbox, "7")
    store_webhook(inbox, "other")
    told = alert(**{"case_number": "7", **changes})
    reading = Reading(Effect.OPEN, told)
    translate(inbox, lambda _: Translation(Status.PENDING, reading=reading, store=ALPHA), 50)
    assert len(rows(inbox, cases)) == 2
    store_webhook(inbox, "another")
    translate(inbox, lambda _: Translation(Status.PENDING, reading=reading, store=BETA), 50)
    assert len(rows(inbox, cases)) == 3


def test_of_several_translators_one_is_believed_for_each_delivery(
    both: tuple[Inbox, Inbox], clock: Clock
) -> None:
    for number in range(40):
        store_webhook(both[0], f"{number % 8}.{number}")
    once_more = Translation(Status.PENDING, again_at=clock.now + HOUR)

    def run(judge: Callable[[Row[Any]], Translation]) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda one: [None for _ in iter(lambda: translate(one, judge, 3), 0)], both * 2))

    run(lambda _: once_more)
    assert [one.tries for one in rows(both[0], deliveries)] == [1] * 40
    clock.now += HOUR
    run(opening)
    assert len(rows(both[0], cases)) == 8
    assert all(one.case_id for one in rows(both[0], deliveries))


# --- claiming ------------------------------------------------------------------------------------


def test_the_most_urgent_case_goes_first(inbox: Inbox, clock: Clock) -> None:
    for number, hours in (("1", 72), ("2", 5), ("3", 24), ("4", 5)):
        receive(inbox, number, deadline=hours * HOUR)
        clock.now += 1
    claims = [taken(inbox) for _ in range(4)]
    assert numbers(inbox, claims) == ["2", "4", "3", "1"]
    assert claim(inbox) is None


def test_a_more_urgent_delivery_makes_its_case_more_urgent(inbox: Inbox) -> None:
    receive(inbox, "1", deadline=48 * HOUR)
    receive(inbox, "2", deadline=24 * HOUR)
    receive(inbox, "1.b", deadline=5 * HOUR)
    assert numbers(inbox, [taken(inbox), taken(inbox)]) == ["1", "2"]


def test_what_is_not_due_is_not_claimed(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1", "2")
    first = taken(inbox)
    settle(inbox, first, postpone(clock.now + 30))
    second = taken(inbox)
    settle(inbox, second, postpone(None))
    assert claim(inbox) is None
    clock.now += 29.9
    assert claim(inbox) is None
    clock.now += 0.1
    assert taken(inbox).case_id == first.case_id
    clock.now += 365 * 24 * HOUR
    assert {one.case_id for one in (claim(inbox), claim(inbox)) if one} == {first.case_id}


def test_a_claimed_case_is_nobody_else_s_until_its_lease_is_over(
    both: tuple[Inbox, Inbox], clock: Clock
) -> None:
    one, other = both
    receive(one, "1")
    first = taken(one)
    assert claim(other) is None
    clock.now += LEASE - 0.1
    assert claim(other) is None
    clock.now += 0.2
    second = taken(other)
    assert second.case_id == first.case_id
    assert second.case.fence > first.case.fence


def test_a_lease_can_be_prolonged_by_its_holder_only(both: tuple[Inbox, Inbox], clock: Clock) -> None:
    one, other = both
    receive(one, "1")
    first = taken(one)
    clock.now += LEASE - 1
    one.queue.extend_lease(first)
    clock.now += 2
    assert claim(other) is None
    clock.now += LEASE
    second = taken(other)
    one.queue.extend_lease(first)  # it is not its own any more
    clock.now += LEASE + 1
    assert taken(one).case.fence > second.case.fence


def test_claimers_never_get_one_case_twice(both: tuple[Inbox, Inbox]) -> None:
    receive(both[0], *map(str, range(30)))

    def run(inbox: Inbox) -> list[str]:
        found = []
        empty = 0
        while empty < 3:
            claimed = inbox.queue.claim(["alpha"], MOST)
            found += [one.case_id for one in claimed]
            empty = 0 if claimed else empty + 1
        return found

    with ThreadPoolExecutor(6) as pool:
        claimed = list(itertools.chain(*pool.map(run, both * 3)))
    assert Counter(claimed) == dict.fromkeys((one.id for one in rows(both[0], cases)), 1)


def test_each_store_gives_one_case_at_a_time(inbox: Inbox) -> None:
    receive(inbox, "1", "2", "b1", "b2")
    claims = inbox.queue.claim(["alpha", "beta"], MOST)
    assert sorted(one.store for one in claims) == ["alpha", "beta"]
    assert inbox.queue.claim([], MOST) == []
    assert inbox.queue.claim(["gamma"], MOST) == []
    assert len(inbox.queue.claim(["alpha", "beta"], 1)) == 1


def test_stores_of_one_token_share_its_slots_and_none_starves(paced: Inbox, clock: Clock) -> None:
    receive(paced, "1", "t1", deadline=24 * HOUR)
    receive(paced, "t2", deadline=1 * HOUR)
    found: list[Claim] = []
    starts: list[float] = []
    for _ in range(40):
        claims = paced.queue.claim(["alpha", "twin"], MOST)
        assert len(claims) <= 1, "of one token one case at a time"
        found += claims
        starts += [start for _ in claims if (start := take(paced))]
        clock.now += 0.05
    assert sorted(numbers(paced, found)) == ["1", "t1", "t2"]
    assert all(later - earlier >= GAP - 1e-6 for earlier, later in itertools.pairwise(starts))


def test_a_clock_that_was_set_back_holds_up_nothing(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1")
    clock.now += 1000
    first = taken(inbox)
    clock.now -= 600
    again = taken(inbox)
    assert again.case_id == first.case_id
    assert again.case.fence > first.case.fence


def test_a_case_that_another_worker_makes_just_now_takes_the_alert_in_next_time(
    on_postgres: tuple[Inbox, Inbox],
) -> None:
    one, other = on_postgres
    store_webhook(one, "7.a"), store_webhook(one, "7.b"), store_webhook(one, "8")
    judged = [(row, opening(row)) for row in one.deliveries.untranslated(50)]
    theirs = [pair for pair in judged if pair[0].event_id == "id-7.b"]

    def overtake(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("INSERT INTO cases"):
            other.deliveries.apply_translations(theirs)

    ours = [pair for pair in judged if pair not in theirs]
    event.listen(one.database.engine, "before_cursor_execute", overtake)
    assert one.deliveries.apply_translations(ours) == []
    event.remove(one.database.engine, "before_cursor_execute", overtake)
    assert sorted(case.case_number for case in rows(one, cases)) == ["7", "8"]
    assert [row.event_id for row in one.deliveries.untranslated(50)] == ["id-7.a"]
    translate(one, opening, 50)
    assert len({row.case_id for row in rows(one, deliveries, case_number="7")}) == 1


# --- settling ------------------------------------------------------------------------------------


def test_a_settled_case_is_free_and_its_deliveries_are_done(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1")
    claimed = taken(inbox)
    assert claimed.case.case_number == "1"
    assert claimed.delivery_id == row(inbox, deliveries).id
    clock.now += 2
    assert settle(inbox, claimed, forward, attempt("a_1", claimed, outcome="ok", status=201))
    case_row = row(inbox, cases)
    assert (case_row.dispute_id, case_row.lease_until, case_row.due_at) == (7, 0.0, None)
    delivery = row(inbox, deliveries)
    assert (delivery.status, delivery.due_at, delivery.settled_at) == (Status.FORWARDED, None, clock.now)
    assert (row(inbox, attempts).outcome, row(inbox, attempts).status) == ("ok", 201)


def test_what_fails_keeps_its_reason(inbox: Inbox) -> None:
    [ident] = receive(inbox, "1")
    ending = Settlement({ident: Settled(Status.FAILED, Reason.REFUSED, "29next answered 400: no")})
    settle(inbox, taken(inbox), lambda _, __: ending)
    delivery = row(inbox, deliveries)
    assert (delivery.status, delivery.reason, delivery.message) == (
        Status.FAILED,
        Reason.REFUSED,
        "29next answered 400: no",
    )


def test_what_stays_pending_shows_when_it_is_tried_again(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1", deadline=HOUR)

    def later(case: Case, _: list[Delivery]) -> Settlement:
        case.due_at, case.tries = clock.now + 30, 4
        return Settlement(message="29next cannot be reached")

    settle(inbox, taken(inbox), later)
    delivery = row(inbox, deliveries)
    assert (delivery.due_at, delivery.tries, delivery.late) == (clock.now + 30, 4, False)
    assert delivery.message == "29next cannot be reached"
    clock.now += 2 * HOUR
    settle(inbox, taken(inbox), later)
    assert row(inbox, deliveries).late is True


def settle_together(
    inbox: Inbox, pool: ThreadPoolExecutor, first: Claim, others: dict[Claim, Change]
) -> list[Future[bool]]:
    """Settle one claim, and the others once that has begun and all of them wait."""
    held, go = threading.Event(), threading.Event()

    def slowly(case: Case, owed: list[Delivery]) -> Settlement:
        held.set()
        assert go.wait(10)
        return forward(case, owed)

    ends = [pool.submit(settle, inbox, first, slowly)]
    assert held.wait(10)
    ends += [pool.submit(settle, inbox, one, change) for one, change in others.items()]
    eventually(lambda: inbox.database.committers[-1].waiting.qsize() == len(others))
    go.set()
    return ends


def test_cases_that_end_at_the_same_moment_share_a_commit(on_postgres: tuple[Inbox, Inbox]) -> None:
    inbox, _ = on_postgres
    receive(inbox, "1", "2", "3", "4")
    first, *others = [taken(inbox) for _ in range(4)]
    with statements(inbox.database) as said, ThreadPoolExecutor(4) as pool:
        ends = settle_together(inbox, pool, first, dict.fromkeys(others, forward))
        assert [one.result(10) for one in ends] == [True] * 4
    assert len([one for one in said if one.startswith("UPDATE cases")]) == 2
    assert {one.status for one in rows(inbox, deliveries)} == {Status.FORWARDED}


def test_a_case_at_fault_leaves_those_that_end_with_it_alone(on_postgres: tuple[Inbox, Inbox]) -> None:
    inbox, _ = on_postgres
    receive(inbox, "1", "2", "3")
    first, wrong, right = [taken(inbox) for _ in range(3)]

    def fail(case: Case, _: list[Delivery]) -> Settlement:
        raise ZeroDivisionError(case.id)

    with ThreadPoolExecutor(3) as pool:
        _, bad, good = settle_together(inbox, pool, first, {wrong: fail, right: forward})
        assert good.result(10)
        with pytest.raises(ZeroDivisionError):
            bad.result(10)
    assert [one.dispute_id for one in rows(inbox, cases)] == [7, None, 7]


def waits(inbox: Inbox) -> bool:
    """Whether somebody waits for a lock (Postgres)."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with inbox.database.read() as connection:
        return bool(connection.execute(waiting).scalar_one())


def test_a_case_that_somebody_has_locked_holds_up_no_other(on_postgres: tuple[Inbox, Inbox]) -> None:
    inbox, other = on_postgres
    receive(inbox, "1", "2")
    locked, free = taken(inbox), taken(inbox)
    with ThreadPoolExecutor(1) as pool:
        with other.database.begin() as connection:
            connection.execute(select(cases).where(cases.c.id == locked.case_id).with_for_update())
            end = pool.submit(settle, inbox, locked, forward)
            eventually(lambda: waits(inbox))
            assert settle(inbox, free, forward)
            assert not end.done()
        assert end.result(10)
    assert [one.dispute_id for one in rows(inbox, cases)] == [7, 7]


def test_who_comes_too_late_changes_nothing_but_says_what_it_did(
    both: tuple[Inbox, Inbox], clock: Clock
) -> None:
    one, other = both
    receive(one, "1")
    late = taken(one)
    clock.now += LEASE + 1
    current = taken(other)
    assert not intend(one, late, attempt("a_1", late))
    assert rows(one, attempts) == []
    assert not settle(one, late, forward, attempt("a_2", late, outcome="ok"))
    assert [one.id for one in rows(one, attempts)] == ["a_2"]
    case_row = row(one, cases)
    assert (case_row.dispute_id, case_row.fence) == (None, current.case.fence)
    assert row(one, deliveries).status == Status.PENDING
    assert settle(other, current, forward)


def test_an_intent_is_there_before_anything_is_sent(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1")
    claimed = taken(inbox)
    case = claimed.case
    case.unconfirmed = Unconfirmed(CallKind.CREATE, clock.now + 80, body={"a": 1})
    assert intend(inbox, claimed, attempt("a_1", claimed))
    assert case_of(row(inbox, cases)).unconfirmed == case.unconfirmed
    assert row(inbox, cases).state == State.UNCLEAR
    assert row(inbox, attempts).outcome == "intended"
    settle(inbox, claimed, forward, attempt("a_1", claimed, outcome="ok", seconds=0.5))
    assert row(inbox, attempts).outcome == "ok"


def test_a_paced_intent_is_there_too_but_for_who_comes_too_late(paced: Inbox, clock: Clock) -> None:
    receive(paced, "1")
    late = taken(paced)
    clock.now += LEASE + 1
    claimed = taken(paced)
    for one in (late, claimed):
        one.case.unconfirmed = Unconfirmed(CallKind.CREATE, clock.now + 80, body={"a": one.case.fence})
    assert not intend(paced, late, attempt("a_1", late))
    assert rows(paced, attempts) == []
    assert case_of(row(paced, cases)).unconfirmed is None
    clock.now += AHEAD + GAP
    made = attempt("a_2", claimed)
    assert intend(paced, claimed, made)
    assert dict(row(paced, attempts)._mapping) == made.row()
    assert case_of(row(paced, cases)).unconfirmed == claimed.case.unconfirmed
    assert row(paced, cases).state == State.UNCLEAR


@pytest.mark.parametrize("is_lost", [False, True])
def test_an_intent_waits_for_who_is_changing_its_case(
    make_database: MakeDatabase, clock: Clock, is_lost: bool
) -> None:
    with (
        make_database("postgres") as url,
        opened(url, clock, GAP) as inbox,
        opened(url, clock) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        receive(inbox, "1")
        claimed = taken(inbox)
        claimed.case.unconfirmed = Unconfirmed(CallKind.CREATE, clock.now + 80)
        with other.database.begin() as connection:
            fence = claimed.case.fence + is_lost
            connection.execute(update(cases).values(fence=fence, notes=["an alert came"]))
            end = pool.submit(intend, inbox, claimed, attempt("a_1", claimed))
            eventually(lambda: waits(other))
        assert end.result(10) is not is_lost
        assert len(rows(inbox, attempts)) == (0 if is_lost else 1)
        assert row(inbox, cases).notes == ["an alert came"]
        assert row(inbox, cases).state == (State.NEW if is_lost else State.UNCLEAR)


def test_what_arrives_during_a_call_is_not_lost(inbox: Inbox) -> None:
    receive(inbox, "1")
    claimed = taken(inbox)
    store_webhook(inbox, "1.b")
    told = alert("1", resolution="issued_full_refund")
    translate(
        inbox, lambda _: Translation(Status.PENDING, reading=Reading(Effect.RESOLVE, told), store=ALPHA), 50
    )
    seen: list[int] = []

    def change(case: Case, owed: list[Delivery]) -> Settlement:
        seen.append(len(owed))
        case.dispute_id, case.due_at = 7, START
        assert case.goal.resolution == "issued_full_refund"
        return Settlement({one.id: FORWARDED for one in owed if one.effect is Effect.OPEN})

    assert settle(inbox, claimed, change)
    assert seen == [2]
    assert Counter(one.status for one in rows(inbox, deliveries)) == {
        Status.FORWARDED: 1,
        Status.PENDING: 1,
    }
    assert claim(inbox)


def test_a_change_that_fails_leaves_the_case_held(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1")
    claimed = taken(inbox)

    def change(_: Case, __: list[Delivery]) -> Settlement:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        settle(inbox, claimed, change, attempt("a_1", claimed))
    assert rows(inbox, attempts) == []
    assert claim(inbox) is None
    clock.now += LEASE + 1
    assert claim(inbox)


# --- pace ----------------------------------------------------------------------------------------


def test_never_more_than_four_calls_start_in_a_second_and_nearly_four_do(
    database_url: str, clock: Clock
) -> None:
    with opened(database_url, clock, GAP) as one, opened(database_url, clock, GAP) as other:
        receive(one, *map(str, range(40)))
        starts: list[float] = []
        for turn in range(400):
            inbox = (one, other)[turn % 2]
            for _ in inbox.queue.claim(["alpha"], MOST):
                start = take(inbox)
                assert start
                assert clock.now <= start <= clock.now + AHEAD + GAP + 1e-5
                starts.append(start)
            clock.now += 0.04
            if len(starts) == 30:
                break
    assert len(starts) == len(set(starts)) == 30
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert min(gaps) >= GAP - 1e-6
    assert 4 * min(gaps) > 1 + LATE  # the fifth leaves more than a second after the first, even late
    assert 29 / (max(starts) - min(starts)) > 3.5


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("took", [0.0, 0.06])
def test_a_call_leaves_neither_before_its_slot_opens_nor_after_it_has_closed(
    paced: Inbox, monkeypatch: pytest.MonkeyPatch, took: float, near: bool
) -> None:
    """Whenever the clock was read while the slot was taken, which `took` so long."""
    key, take = token_key(ALPHA.token), paced.queue.take_slot if near else paced.slots.take
    asked = paced.slots.parameters

    def slowly(token: str) -> dict[str, Any]:
        time.sleep(took)
        return asked(token)

    monkeypatch.setattr(paced.slots, "parameters", slowly)
    for wait in (AHEAD, AHEAD + GAP) if near else (AHEAD, AHEAD + GAP, AHEAD + 2 * GAP):
        before = time.monotonic()
        slot = take(key)
        after = time.monotonic()
        assert slot
        assert before + took + wait <= slot.opens <= after + wait + 1e-5
        assert before + wait + LATE <= slot.closes + 1e-5 <= after - took + wait + LATE + 1e-4


def test_a_case_is_claimed_once_the_next_slot_of_its_store_opens_within_one_gap(
    paced: Inbox, clock: Clock
) -> None:
    receive(paced, "1", "2", "3")
    assert taken(paced)
    assert take(paced) == about(START + AHEAD)
    assert claim(paced) is None
    clock.now += AHEAD - 0.001
    assert claim(paced) is None
    clock.now += 0.002
    assert taken(paced), "the next one opens in a gap"
    assert take(paced) == about(START + AHEAD + GAP)
    assert claim(paced) is None
    clock.now += GAP - 0.002
    assert claim(paced) is None
    clock.now += 0.002
    assert taken(paced)


def test_a_slot_that_opens_far_ahead_is_left_to_what_is_the_most_urgent_then(
    paced: Inbox, clock: Clock
) -> None:
    receive(paced, "1")
    claimed = taken(paced)
    for _ in range(GAPS_AHEAD):
        assert take(paced)
    assert take(paced) is None
    assert not intend(paced, claimed, attempt("a_1", claimed))
    assert rows(paced, attempts) == []
    paced.queue.release(claimed)
    assert claim(paced) is None
    clock.now += AHEAD + GAPS_AHEAD * GAP
    assert taken(paced).case_id == claimed.case_id


def test_a_late_call_gets_no_other_slot_once_the_case_is_another_worker_s(paced: Inbox, clock: Clock) -> None:
    receive(paced, "1")
    first, key = taken(paced), token_key(ALPHA.token)
    assert paced.queue.take_another_slot(first, key)
    clock.now += LEASE + 1
    assert paced.queue.take_another_slot(first, key), "nobody has taken it meanwhile"
    assert claim(paced) is None, "and it is leased anew"
    clock.now += LEASE + 1
    assert taken(paced).case.fence > first.case.fence
    with pytest.raises(TooLate):
        paced.queue.take_another_slot(first, key)


def test_what_becomes_urgent_takes_the_very_next_slot(paced: Inbox, clock: Clock) -> None:
    receive(paced, *map(str, range(50)), deadline=72 * HOUR)
    taken(paced)
    take(paced)
    receive(paced, "urgent", deadline=HOUR)
    clock.now += GAP
    assert numbers(paced, [taken(paced)]) == ["urgent"]


def test_slots_outside_the_queue_count_too(paced: Inbox, clock: Clock) -> None:
    receive(paced, "1", "2")
    key = token_key(ALPHA.token)
    for _ in range(2):
        paced.slots.take(key)
    assert claim(paced) is None
    clock.now += AHEAD + GAP + 0.001
    assert taken(paced)
    assert take(paced) == about(START + AHEAD + 2 * GAP)


def test_a_token_s_pace_is_nobody_else_s(paced: Inbox) -> None:
    receive(paced, "1", "b1")
    for _ in range(20):
        paced.slots.take(token_key(ALPHA.token))
    assert taken(paced, "alpha", "beta").store == "beta"


def test_a_throttle_pushes_the_next_slot_forward_and_never_back(paced: Inbox, clock: Clock) -> None:
    receive(paced, "1", "2")
    key = token_key(ALPHA.token)
    paced.slots.throttle(key, 30)
    paced.slots.throttle(key, 5)
    clock.now += 29
    assert claim(paced) is None
    clock.now += 1
    assert taken(paced)
    assert take(paced) == about(START + 30 + AHEAD)


def test_a_pace_from_before_the_clock_was_set_back_holds_up_nothing(paced: Inbox, clock: Clock) -> None:
    take(paced)
    clock.now -= HOUR
    receive(paced, "1")
    paced.queue.release(taken(paced))
    assert taken(paced)
    assert take(paced) == about(START - HOUR + AHEAD)


@pytest.mark.parametrize("off", [-HOUR, HOUR])
def test_after_a_clock_was_set_the_calls_of_the_last_second_still_count(
    paced: Inbox, clock: Clock, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    key, wall = token_key(ALPHA.token), time.time
    paced.slots.take(key)
    monkeypatch.setattr(time, "time", lambda: wall() + off)
    clock.now += off
    before = time.monotonic()
    assert paced.slots.take(key).opens >= before + 1.0


def test_without_a_limit_nobody_waits(inbox: Inbox) -> None:
    receive(inbox, "1", "2", "3")
    for _ in range(3):
        assert taken(inbox)
        slot = inbox.queue.take_slot(token_key(ALPHA.token))
        assert slot
        assert slot.opens <= time.monotonic()


def test_what_follows_a_failure_of_the_database_is_given_back_at_once(inbox: Inbox) -> None:
    receive(inbox, "1")
    first = taken(inbox)
    inbox.queue.release(first)
    again = taken(inbox)
    assert again.case.fence > first.case.fence
    inbox.queue.release(first)  # it is not its own any more
    assert claim(inbox) is None


# --- pauses --------------------------------------------------------------------------------------


def test_a_paused_store_gets_one_call_now_and_then(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1", "2", "b1")
    inbox.stores.pause("alpha", "401: no", PROBE_SECONDS)
    assert taken(inbox, "alpha", "beta").store == "beta"
    clock.now += PROBE_SECONDS - 1
    assert claim(inbox) is None
    clock.now += 1
    probe = taken(inbox)
    assert probe.probes
    assert claim(inbox) is None, "one probe at a time"
    settle(inbox, probe, postpone(clock.now))
    assert claim(inbox) is None
    clock.now += PROBE_SECONDS
    assert taken(inbox).probes


def test_what_an_operator_has_paused_waits_for_the_operator(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1")
    inbox.stores.pause("alpha", "by hand", None)
    clock.now += 30 * 24 * HOUR
    assert claim(inbox) is None
    inbox.stores.resume("alpha")
    assert not taken(inbox).probes


def test_a_pause_says_why_and_since_when(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1")
    inbox.stores.pause("alpha", "401: no", PROBE_SECONDS)
    clock.now += 100
    inbox.stores.pause("alpha", "403: no", PROBE_SECONDS)
    paused = row(inbox, stores, name="alpha")
    assert (paused.paused_at, paused.paused_why) == (START, "403: no")
    assert row(inbox, deliveries).reason == Reason.STORE_PAUSED
    receive(inbox, "2")
    assert {one.reason for one in rows(inbox, deliveries)} == {Reason.STORE_PAUSED}


def test_a_paused_store_s_clock_stands_still(inbox: Inbox, clock: Clock) -> None:
    receive(inbox, "1", "b1", deadline=HOUR)
    first = taken(inbox)
    settle(inbox, first, postpone(clock.now + 900))
    clock.now += 600
    inbox.stores.pause("alpha", "401", PROBE_SECONDS)
    clock.now += 5 * HOUR
    receive(inbox, "2", deadline=HOUR)
    clock.now += HOUR
    inbox.stores.resume("alpha")
    stood = 6 * HOUR
    by_number = {one.case_number: one for one in rows(inbox, cases)}
    assert by_number["1"].deadline_at == START + HOUR + stood
    assert by_number["1"].due_at == clock.now
    assert by_number["b1"].deadline_at == START + HOUR
    told = {one.case_number: one for one in rows(inbox, deliveries)}
    assert told["1"].deadline_at == START + HOUR + stood
    assert told["1"].reason is None
    assert told["2"].deadline_at > clock.now
    inbox.stores.resume("alpha")  # once more changes nothing
    assert {one.case_number: one.deadline_at for one in rows(inbox, cases)}["1"] == START + HOUR + stood


def test_registering_again_forgets_no_pause(inbox: Inbox) -> None:
    inbox.stores.pause("alpha", "401", None)
    inbox.stores.register([ALPHA, BETA])
    assert row(inbox, stores, name="alpha").paused_why == "401"
    renewed = Store(name="alpha", base_url=ALPHA.base_url, token="another")
    inbox.stores.register([renewed])
    assert row(inbox, stores, name="alpha").token == token_key("another")


# --- replay --------------------------------------------------------------------------------------


def test_a_replay_goes_back_into_the_first_queue_with_a_new_deadline(inbox: Inbox, clock: Clock) -> None:
    [ident] = receive(inbox, "1", deadline=HOUR)
    case = row(inbox, cases)

    def expire(case: Case, _: list[Delivery]) -> Settlement:
        case.due_at = None
        return Settlement({ident: Settled(Status.FAILED, Reason.EXPIRED, "Too late.")})

    settle(inbox, taken(inbox), expire)
    clock.now += 30 * 24 * HOUR
    assert inbox.deliveries.replay([ident]) == [ident]
    delivery = row(inbox, deliveries)
    assert (delivery.status, delivery.reason, delivery.message) == (Status.PENDING, None, None)
    assert (delivery.deadline_at, delivery.due_at) == (clock.now + HOUR, clock.now)
    assert (delivery.tries, delivery.late, delivery.settled_at) == (0, False, None)
    assert translate(inbox, opening, 50) == 1
    assert row(inbox, cases).id == case.id
    assert row(inbox, cases).deadline_at == clock.now + HOUR
    assert taken(inbox).case_id == case.id


def test_what_is_pending_or_unknown_is_not_replayed(inbox: Inbox) -> None:
    pending, done = receive(inbox, "1", "2")
    while claimed := claim(inbox):
        settle(
            inbox,
            claimed,
            lambda case, owed: forward(case, owed) if case.case_number == "2" else postpone(None)(case, owed),
        )
    assert inbox.deliveries.replay([pending, done, "d_nothing", "\u00fc"]) == [done]
    assert inbox.deliveries.replay([]) == []


def test_a_replay_of_what_is_done_asks_for_nothing_more(inbox: Inbox) -> None:
    [ident] = receive(inbox, "1")
    settle(inbox, taken(inbox), forward)
    inbox.deliveries.replay([ident])
    translate(inbox, opening, 50)
    assert row(inbox, deliveries).status == Status.FORWARDED
    assert row(inbox, cases).dispute_id == 7


# --- several databases at once -------------------------------------------------------------------


def test_postgres_hands_different_stores_to_different_workers_at_the_same_time(
    make_database: MakeDatabase, clock: Clock
) -> None:
    """A worker that is stopped in the middle of claiming one store holds up no other."""
    with make_database("postgres") as url, opened(url, clock) as one, opened(url, clock) as other:
        receive(one, "1", "b1")
        frozen, go = threading.Event(), threading.Event()

        def freeze(connection: Any) -> None:
            connection.execute(select(cases).where(cases.c.store == "alpha").with_for_update()).all()
            frozen.set()
            assert go.wait(10)

        with ThreadPoolExecutor(1) as pool:
            frozen_claim = pool.submit(one.database.write, freeze)
            assert frozen.wait(10)
            assert [each.store for each in other.queue.claim(["alpha", "beta"], MOST)] == ["beta"]
            go.set()
            frozen_claim.result(10)
        assert taken(other).store == "alpha"


def test_a_case_s_number_may_be_any_text(inbox: Inbox) -> None:
    odd = ["\u00fc", "a'b", "x" * 255, "%", "A", "a"]
    for number in odd:
        store_webhook(inbox, number)
    told = {f"id-{number}": number for number in odd}

    def judge(one: Row[Any]) -> Translation:
        reading = Reading(Effect.OPEN, alert(told[one.event_id]))
        return Translation(Status.PENDING, reading=reading, store=ALPHA)

    translate(inbox, judge, 50)
    assert sorted(one.case_number for one in rows(inbox, cases)) == sorted(odd)


def test_retention_may_have_removed_a_body(inbox: Inbox) -> None:
    store_webhook(inbox, "1")
    inbox.database.write(lambda connection: connection.execute(update(webhooks).values(body=None)))
    bodies: list[bytes | None] = []

    def judge(one: Row[Any]) -> Translation:
        bodies.append(one.body)
        return opening(one)

    translate(inbox, judge, 50)
    assert bodies == [None]
