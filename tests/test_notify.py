"""What a person is told: what is new, once, and by one process; and the worker's other chores."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from bridge.alert import Reason, Status
from bridge.chores import A_SECOND, Chores
from bridge.errors import Unavailable
from bridge.notify import (
    AGAIN_AFTER,
    GONE_AFTER,
    REMIND_AFTER,
    Condition,
    Notifier,
    Picture,
    conditions,
    news,
    picture,
)
from bridge.sandbox import STORE
from bridge.settings import Notify
from bridge.tables import deliveries
from tests.conftest import MakeDatabase
from tests.fake_next import eventually
from tests.logbook import BEGINS, DAY, OUTLET, OUTLET_TOKEN, Logbook, logbook, trouble

Json = dict[str, Any]
NOW = BEGINS
ALIVE: Json = {"now": NOW, "worker_seen_at": NOW}


def titles(**seen: Any) -> list[str]:
    return [one.title for one in conditions(Picture(**{**ALIVE, **seen}))]


# --- what is to be told: pure -------------------------------------------------------------------


def test_where_all_is_well_nothing_is_told() -> None:
    assert conditions(Picture(**ALIVE)) == []


@pytest.mark.parametrize(
    ("seen", "title"),
    [
        ({"failed": {"untranslatable": 1}}, "1 alert failed: untranslatable"),
        ({"failed": {"no_store": 3}}, "3 alerts failed: no store"),
        ({"used": [0.4, 0.5]}, "1 alert has used half of the deadline"),
        ({"paused": {"alpha": "29next answered 401"}}, "Store alpha is paused"),
        ({"reviews": 2}, "2 disputes to be reviewed"),
        ({"oldest_pending": NOW - 601}, "An alert has waited for 10 min"),
        ({"worker_seen_at": NOW - GONE_AFTER - 1}, "The worker is gone"),
        ({"worker_seen_at": None}, "The worker is gone"),
        ({"refused": {("kount", "bad_proof"): 9}}, "9 webhooks of kount refused: bad proof"),
        (
            {"times": {"ethoca": [NOW - 90_000 - n * 3600 for n in range(10)]}},
            "ethoca has been silent for 25 h",
        ),
    ],
)
def test_each_condition_is_named(seen: Json, title: str) -> None:
    assert titles(**seen) == [title]


@pytest.mark.parametrize(
    "seen",
    [
        {"used": [0.49, -3.0]},
        {"oldest_pending": NOW - 600},
        {"oldest_pending": NOW - 5000, "queue_old": 6000.0},
        {"worker_seen_at": NOW - GONE_AFTER},
        {"times": {"ethoca": [NOW - 90_000 - n for n in range(9)]}},  # no rhythm yet
        {"times": {"ethoca": [NOW - 5 * 3600 - n for n in range(50)]}},  # a short night
        {"times": {"ethoca": [NOW - 29 * 3600 - n * 10 * 3600 for n in range(10)]}},  # it is always slow
        {"times": {"ethoca": []}},
    ],
)
def test_what_is_usual_is_not_told(seen: Json) -> None:
    assert titles(**seen) == []


def test_a_deadline_is_told_of_at_half_and_again_at_nine_tenths() -> None:
    found = titles(used=[0.5, 0.95, 1.4])
    assert found == [
        "2 alerts have used nine tenths of the deadline",
        "3 alerts have used half of the deadline",
    ]


def test_the_gravest_comes_first() -> None:
    graves = [
        one.grave for one in conditions(Picture(now=NOW, failed={"bug": 1}, reviews=1, used=[0.6, 0.95]))
    ]
    assert graves == sorted(graves, reverse=True)
    assert graves[0]


FAILED = Condition("failed:bug", "1 alert failed: bug", "See.", "/deliveries", 1)


def told(now: float, found: list[Condition], before: dict[str, Any]) -> list[str]:
    return [one.title for one in news(now, found, before) if one.title]


def test_news_is_told_once() -> None:
    assert told(NOW, [FAILED], {}) == [FAILED.title]
    assert told(NOW + 60, [FAILED], {"failed:bug": (NOW, {"count": 1})}) == []


def test_growth_is_told_but_not_every_minute() -> None:
    more = Condition("failed:bug", "5 alerts failed: bug", "See.", "/deliveries", 5)
    before = {"failed:bug": (NOW, {"count": 1})}
    assert told(NOW + AGAIN_AFTER - 1, [more], before) == []
    assert told(NOW + AGAIN_AFTER, [more], before) == [more.title]


def test_what_stands_for_a_day_is_told_again() -> None:
    before = {"failed:bug": (NOW, {"count": 1})}
    assert told(NOW + REMIND_AFTER - 1, [FAILED], before) == []
    assert told(NOW + REMIND_AFTER, [FAILED], before) == [FAILED.title]


def test_what_has_shrunk_is_remembered_so_that_its_growth_is_told() -> None:
    (one,) = news(NOW + 60, [FAILED], {"failed:bug": (NOW, {"count": 9})})
    assert (one.title, one.count, one.before) == ("", 1, NOW)


def test_what_has_ended_is_told_where_that_is_good_news() -> None:
    before = {
        "paused:alpha": (NOW, {"count": 1, "over": "Store alpha goes on."}),
        "failed:bug": (NOW, {"count": 2}),
    }
    ended = news(NOW + 60, [], before)
    assert [(one.key, one.title, one.ended) for one in ended] == [
        ("paused:alpha", "Store alpha goes on.", True),
        ("failed:bug", "", True),
    ]


def test_what_is_only_shown_is_not_told() -> None:
    assert news(NOW, conditions(Picture(**ALIVE, reviews=3)), {}) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=30), st.integers(0, 200_000))
def test_whatever_happens_nothing_is_told_twice_within_a_quarter_of_an_hour(
    steps: list[tuple[str, int]], pause: int
) -> None:
    now = NOW
    memory: dict[str, Any] = {}
    last: dict[str, float] = {}
    for key, count in steps:
        now += pause / 50
        found = [Condition(key, f"{count}", "", "/", count)]
        for one in news(now, found, memory):
            if one.ended:
                memory.pop(one.key)
                last.pop(one.key, None)
                continue
            if one.title:
                assert now - last.get(one.key, -1e9) >= AGAIN_AFTER
                last[one.key] = now
            memory[one.key] = (now, {"count": one.count})


# --- telling it ---------------------------------------------------------------------------------


class Hook(HTTPServer):
    """A chat service that remembers what it is told, or is down."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HookRequest)
        self.told: list[Json] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.told]


class _HookRequest(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hook = self.server
        assert isinstance(hook, Hook)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if hook.status == 200:
            hook.told.append(json.loads(body))
        self.send_response(hook.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def book(database_url: str, hook: Hook) -> Iterator[Logbook]:
    told = Notify(hook.url, form="json")
    with logbook(database_url, notify=told, public_url="https://alerts.example") as made:
        made.app.extensions["watch"].set()  # tests take its turns themselves
        yield made


def notifier(book: Logbook, url: str | None = None) -> Notifier:
    assert book.settings.notify
    given = Notify(url, form="json") if url else book.settings.notify
    return Notifier(book.app.extensions["figures"], book.app.extensions["memos"], book.settings, given)


def test_what_goes_wrong_is_told_once_and_its_end_too(book: Logbook, hook: Hook) -> None:
    trouble(book)
    one = notifier(book)
    assert one.turn() == 4
    assert sorted(hook.titles) == [
        "1 alert failed: no store",
        "1 alert failed: unknown event",
        "1 alert failed: untranslatable",
        f"Store {OUTLET} is paused",
    ]
    assert one.turn() == 0
    paused = next(told for told in hook.told if told["key"] == f"paused:{OUTLET}")
    assert paused["url"] == "https://alerts.example/stores"
    assert paused["text"].startswith("29next answered 401")
    assert (paused["count"], paused["ended"]) == (1, False)
    assert paused["at"].startswith("2026-03-02T09:")
    book.sandbox.add_token(OUTLET_TOKEN, OUTLET)
    book.inbox.resume(OUTLET)
    book.work()
    assert one.turn() == 1
    assert (hook.titles[-1], hook.told[-1]["ended"]) == (f"Store {OUTLET} goes on.", True)


def test_what_waits_for_another_alert_or_for_its_store_waits_rightly(book: Logbook) -> None:
    def without_facts(tree: Json) -> None:
        del tree["amount"], tree["currency"]

    waiting = book.send("midigator", "chargeback.result", change=without_facts)
    paused = book.send("ethoca", store=OUTLET)
    book.inbox.pause(OUTLET, "29next answered 401", None)
    book.work()
    reasons = [book.app.extensions["search"].delivery(one)["reason"] for one in (waiting, paused)]
    assert reasons == ["waiting_for_opening", "store_paused"]
    book.clock.now += 20 * 3600
    book.chores.memos.beat("one")
    seen = picture(book.app.extensions["figures"], book.settings)
    assert (list(seen.used), seen.oldest_pending) == ([], None)
    book.send("ethoca")
    book.inbox.translate(book.judge.verdict, 10)
    book.clock.now += 12.5 * 3600
    seen = picture(book.app.extensions["figures"], book.settings)
    assert [round(share, 1) for share in seen.used] == [0.5]
    assert seen.oldest_pending == pytest.approx(book.clock.now - 12.5 * 3600, abs=1)


def test_of_several_processes_one_tells(book: Logbook, hook: Hook) -> None:
    book.chores.memos.beat("one")
    book.send(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    book.work()
    threads = [threading.Thread(target=notifier(book).turn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hook.titles == ["1 alert failed: untranslatable"]


def test_what_could_not_be_told_is_told_later(book: Logbook, hook: Hook) -> None:
    book.chores.memos.beat("one")
    book.send(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    book.work()
    hook.status = 500
    assert notifier(book).turn() == 0
    assert notifier(book, "http://127.0.0.1:9/nobody").turn() == 0
    hook.status = 200
    assert notifier(book).turn() == 1


def test_an_end_that_could_not_be_told_is_told_later(book: Logbook, hook: Hook) -> None:
    trouble(book)
    notifier(book).turn()
    book.sandbox.add_token(OUTLET_TOKEN, OUTLET)
    book.inbox.resume(OUTLET)
    book.work()
    for status in (500, 500, 200, 200):
        hook.status = status
        notifier(book).turn()
    assert hook.titles.count(f"Store {OUTLET} goes on.") == 1


def test_a_worker_that_is_gone_is_told_by_the_web_process(book: Logbook, hook: Hook) -> None:
    book.chores.memos.beat("one")
    book.send(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    book.work()
    web = Chores(book.settings, book.database, worker=False)
    assert [chore.name for chore in web.chores] == ["notifications"]
    web.turn(1.0)
    assert hook.told == []
    book.clock.now += GONE_AFTER + 1
    web.turn(100.0)
    assert hook.titles == ["The worker is gone"]
    assert "forwarded" in hook.told[0]["text"]
    book.chores.memos.beat("two")
    web.turn(200.0)
    assert hook.titles[1:] == ["A worker runs again: what waited is being forwarded."]


def test_a_web_process_watches_only_where_somebody_is_to_be_told(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, logbook(url) as book:
        assert "watch" not in book.app.extensions
        assert Chores(book.settings, book.database, worker=False).chores == []


def test_slack_reads_nothing_into_what_is_told(make_database: MakeDatabase, hook: Hook) -> None:
    told = Notify(hook.url, form="slack")
    with make_database("sqlite") as url, logbook(url, notify=told) as book:
        book.app.extensions["watch"].set()
        book.chores.memos.beat("one")
        book.inbox.pause(STORE, "<!channel> & <https://evil.example|click>", None)
        notifier(book).turn()
        (message,) = hook.told
        assert list(message) == ["text"]
        assert message["text"].startswith(f"*Store {STORE} is paused*\n&lt;!channel&gt; &amp; &lt;https:")
        assert message["text"].endswith("\nhttp://127.0.0.1:8000/stores")


# --- the other chores ---------------------------------------------------------------------------


def test_a_chore_that_fails_stops_no_other(book: Logbook, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def broken() -> None:
        done.append("broken")
        raise ZeroDivisionError

    def away() -> None:
        done.append("away")
        raise Unavailable

    monkeypatch.setattr(book.chores.chores[0], "do", broken)
    monkeypatch.setattr(book.chores.chores[1], "do", away)
    monkeypatch.setattr(book.chores.chores[-1], "do", lambda: done.append("well"))
    book.chores.turn(1000.0)
    assert done == ["broken", "away", "well"]
    book.chores.turn(1000.1)
    assert len(done) == 3
    book.chores.turn(2000.0)
    assert len(done) == 6


def test_the_chores_run_until_they_are_stopped(book: Logbook) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=book.chores.run, args=(stopping,))
    thread.start()
    figures = book.app.extensions["figures"]
    eventually(lambda: figures.worker_seen_at() is not None)
    stopping.set()
    thread.join(5)
    assert not thread.is_alive()


def test_the_heart_of_a_worker_that_is_gone_for_a_day_is_forgotten(book: Logbook) -> None:
    memos, figures = book.chores.memos, book.app.extensions["figures"]
    memos.beat("old")
    first = figures.worker_seen_at()
    book.clock.now += 2 * DAY
    assert figures.worker_seen_at() == first
    memos.beat("new")
    with book.database.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM memos").scalars().all()
    assert [name for name in names if name.startswith("worker:")] == ["worker:new"]


def test_old_bodies_are_removed_in_small_steps(database_url: str) -> None:
    with logbook(database_url, keep_bodies=10 * DAY) as book:
        old = [book.send() for _ in range(5)]
        book.work()
        book.clock.now += 11 * DAY
        young = book.send()
        memos, search = book.chores.memos, book.app.extensions["search"]
        before = book.clock.now - 10 * DAY
        assert memos.drop_bodies(before, 3) == 3
        bodies = [search.delivery(one)["webhook"]["body"] is None for one in old]
        assert bodies == [True, True, True, False, False]
        book.chores.drop_bodies()
        assert memos.drop_bodies(before, 3) == 0
        for one in old:
            whole = search.delivery(one)
            assert whole["webhook"]["body"] is None
            assert whole["webhook"]["headers"] == {}
            assert whole["alert"]
            assert whole["attempts"]
            assert search.case(whole["case_id"])["dispute_id"]
        assert search.delivery(young)["webhook"]["body"]


def test_old_transactions_are_removed_from_the_index_of_each_store(database_url: str) -> None:
    with logbook(database_url, keep_index=200 * DAY) as book:
        for store in (STORE, OUTLET):
            sale = book.sandbox.add_transaction(store, date_created="2026-02-01T00:00:00Z", order="77")
            book.inbox.hear_of(store, [sale])
        book.chores.turn(1e9)
        book.clock.now += 200 * DAY
        book.chores.turn(2e9)
        assert [book.inbox.index.drop(store, book.clock.now, 9) for store in (STORE, OUTLET)] == [0, 0]


def test_without_a_setting_nothing_is_removed(book: Logbook) -> None:
    assert (book.settings.keep_bodies, book.settings.keep_index) == (None, None)
    delivery = book.send()
    book.inbox.hear_of(STORE, [book.sandbox.add_transaction(STORE, date_created="2026-02-01T00:00:00Z")])
    book.clock.now += 1000 * DAY
    book.chores.turn(1e9)
    assert book.inbox.index.drop(STORE, book.clock.now, 9) == 1
    assert book.app.extensions["search"].delivery(delivery)["webhook"]["body"]


def test_two_workers_put_back_no_more_than_one(book: Logbook) -> None:
    for _ in range(A_SECOND + 10):
        book.send(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    book.work()
    memos = book.chores.memos
    ident = memos.start_replay({"status": "failed"}, A_SECOND + 10)
    found = memos.replay(ident)
    assert found is not None
    book.chores.replay()
    assert memos.advance_replay(found, ["d_" + "z" * 21]) is False  # it was read before the other's step
    again = memos.replay(ident)
    assert again is not None
    assert again.done == A_SECOND


def test_the_web_process_tells_by_itself(make_database: MakeDatabase, hook: Hook) -> None:
    with make_database("sqlite") as url, logbook(url, notify=Notify(hook.url, form="json")) as book:
        eventually(lambda: hook.titles == ["The worker is gone"])
        book.app.extensions["watch"].set()


def test_whatever_failed_needs_a_person(book: Logbook) -> None:
    reasons = set(Reason) - {"waiting_for_opening", "store_paused", "inform", "ignore", "test", "dismissed"}
    for reason in reasons:
        ident = book.send()
        book.work()
        with book.database.begin() as connection:
            row = update(deliveries).where(deliveries.c.id == ident)
            connection.execute(row.values(status=Status.FAILED, reason=reason))
    seen = conditions(picture(book.app.extensions["figures"], book.settings))
    assert {f"failed:{reason}" for reason in reasons} <= {one.key for one in seen}
