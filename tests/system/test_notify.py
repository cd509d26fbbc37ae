"""What a person is told: what is new, once, and by one process; and the worker's other jobs."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.alert import Reason, Status
from bridge.errors import Unavailable
from bridge.settings import Notify
from bridge.storage.stats import Refusal
from bridge.worker.notify import (
    AGAIN_AFTER,
    GONE_AFTER,
    REMIND_AFTER,
    Condition,
    Notification,
    Notifier,
    Snapshot,
    conditions,
    new_notifications,
    read_snapshot,
)
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge
from tests.support.clock import DAY, eventually
from tests.support.history import MONDAY, OUTLET, OUTLET_TOKEN, bridge_with_outlet, trouble
from tests.support.inside import CLAIMS, HEARTBEAT, REPLAYED_A_SECOND, change_row, rows
from tests.support.next29 import STORE

Json = dict[str, Any]
NOW = MONDAY
ALIVE: Json = {"now": NOW, "worker_seen_at": NOW}


def titles(**seen: Any) -> list[str]:
    return [one.title for one in conditions(Snapshot(**{**ALIVE, **seen}))]


# --- what is to be told: pure -------------------------------------------------------------------


def test_where_all_is_well_nothing_is_told() -> None:
    assert conditions(Snapshot(**ALIVE)) == []


@pytest.mark.parametrize(
    ("seen", "title"),
    [
        ({"failed": {"untranslatable": 1}}, "1 alert failed: untranslatable"),
        ({"failed": {"no_store": 3}}, "3 alerts failed: no store"),
        ({"used": [0.4, 0.5]}, "1 alert has used half of the deadline"),
        ({"paused": {"alpha": "29next answered 401"}}, "Store alpha is paused"),
        ({"reviews": 2}, "2 disputes to be reviewed"),
        ({"oldest_pending": NOW - 601}, "An alert has been waiting for 10 min"),
        ({"worker_seen_at": NOW - GONE_AFTER - 1}, "No worker is running"),
        ({"worker_seen_at": None}, "No worker is running"),
        (
            {"refusals": [Refusal("kount", "bad_proof", count, "", NOW) for count in (4, 5)]},
            "9 webhooks of kount rejected: bad proof",
        ),
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
        one.grave for one in conditions(Snapshot(now=NOW, failed={"bug": 1}, reviews=1, used=[0.6, 0.95]))
    ]
    assert graves == sorted(graves, reverse=True)
    assert set(graves) == {True, False}


FAILED = Condition("failed:bug", "1 alert failed: bug", "See.", "/deliveries", 1)


def told(now: float, found: list[Condition], before: dict[str, Any]) -> list[str]:
    return [one.title for one in new_notifications(now, found, before) if one.title]


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
    (one,) = new_notifications(NOW + 60, [FAILED], {"failed:bug": (NOW, {"count": 9})})
    assert (one.title, one.count, one.before) == ("", 1, NOW)


def test_what_has_ended_is_told_where_that_is_good_news() -> None:
    before = {
        "paused:alpha": (NOW, {"count": 1, "over": "Store alpha goes on."}),
        "failed:bug": (NOW, {"count": 2}),
    }
    ended = new_notifications(NOW + 60, [], before)
    assert [(one.key, one.title, one.ended) for one in ended] == [
        ("paused:alpha", "Store alpha goes on.", True),
        ("failed:bug", "", True),
    ]


def test_what_is_only_shown_is_not_told() -> None:
    assert new_notifications(NOW, conditions(Snapshot(**ALIVE, reviews=3)), {}) == []


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
        for one in new_notifications(now, found, memory):
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
        self.led_astray = 0
        """Requests that came by a redirect."""
        self.drops = 0
        """Bytes of an answer, of which one is sent every 50 ms."""
        self.drips, self.is_dry = threading.Event(), threading.Event()

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
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(hook.drops))
        self.end_headers()
        with contextlib.suppress(OSError):  # nobody waits for it any more
            for _ in range(hook.drops):
                self.wfile.write(b".")
                hook.drips.set()
                if hook.is_dry.wait(0.05):
                    break

    def do_GET(self) -> None:
        hook = self.server
        assert isinstance(hook, Hook)
        hook.led_astray += 1
        self.send_response(200)
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
        server.is_dry.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def bridge(database_url: str, hook: Hook) -> Iterator[InProcessBridge]:
    told = Notify(hook.url, form="json")
    with bridge_with_outlet(database_url, notify=told, public_url="https://alerts.example") as made:
        yield made


def notifier(bridge: InProcessBridge, url: str | None = None) -> Notifier:
    assert bridge.settings.notify
    given = Notify(url, form="json") if url else bridge.settings.notify
    return Notifier(bridge.database, bridge.inside.shared_state, bridge.settings, given)


def test_what_goes_wrong_is_told_once_and_its_end_too(bridge: InProcessBridge, hook: Hook) -> None:
    trouble(bridge)
    one = notifier(bridge)
    assert one.send_new() == 4
    assert sorted(hook.titles) == [
        "1 alert failed: no store",
        "1 alert failed: unknown event",
        "1 alert failed: untranslatable",
        f"Store {OUTLET} is paused",
    ]
    assert one.send_new() == 0
    paused = next(told for told in hook.told if told["key"] == f"paused:{OUTLET}")
    assert paused["url"] == "https://alerts.example/stores"
    assert paused["text"].startswith("29next answered 401")
    assert (paused["count"], paused["ended"]) == (1, False)
    assert paused["at"].startswith("2026-03-02T09:")
    bridge.next29.add_token(OUTLET_TOKEN, OUTLET)
    bridge.inside.resume(OUTLET)
    bridge.work()
    assert one.send_new() == 1
    assert (hook.titles[-1], hook.told[-1]["ended"]) == (f"Store {OUTLET} has resumed.", True)


def test_what_waits_for_another_alert_or_for_its_store_waits_rightly(bridge: InProcessBridge) -> None:
    def without_facts(tree: Json) -> None:
        del tree["amount"], tree["currency"]

    waiting = bridge.send_sample("midigator", "chargeback.result", change=without_facts)
    paused = bridge.send_sample("ethoca", store=OUTLET)
    bridge.inside.pause(OUTLET, "29next answered 401", None)
    bridge.work()
    reasons = [bridge.delivery(one)["reason"] for one in (waiting, paused)]
    assert reasons == ["waiting_for_opening", "store_paused"]
    bridge.clock.now += 20 * 3600
    bridge.inside.beat("one")
    seen = read_snapshot(bridge.database, bridge.settings)
    assert (list(seen.used), seen.oldest_pending) == ([], None)
    bridge.send_sample("ethoca")
    bridge.inside.translate(10)
    bridge.clock.now += 12.5 * 3600
    seen = read_snapshot(bridge.database, bridge.settings)
    assert [round(share, 1) for share in seen.used] == [0.5]
    assert seen.oldest_pending == pytest.approx(bridge.clock.now - 12.5 * 3600, abs=1)


@pytest.mark.both_databases
def test_of_several_processes_one_tells(
    bridge: InProcessBridge, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.inside.beat("one")
    bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    all_of_them = threading.Barrier(4)

    def seen_by_all(*seen: Any) -> list[Notification]:
        found = new_notifications(*seen)
        all_of_them.wait(10)  # so that nobody has told it when another one looks
        return found

    monkeypatch.setattr("bridge.worker.notify.new_notifications", seen_by_all)
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda one: one.send_new(), [notifier(bridge) for _ in range(4)]))
    assert sorted(told) == [0, 0, 0, 1]
    assert hook.titles == ["1 alert failed: untranslatable"]


def test_what_could_not_be_told_is_told_later(bridge: InProcessBridge, hook: Hook) -> None:
    bridge.inside.beat("one")
    bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    hook.status = 500
    assert notifier(bridge).send_new() == 0
    assert notifier(bridge, "http://127.0.0.1:9/nobody").send_new() == 0
    hook.status = 200
    assert notifier(bridge).send_new() == 1


def test_a_redirect_is_not_followed_and_counts_as_not_told(bridge: InProcessBridge, hook: Hook) -> None:
    bridge.inside.beat("one")
    bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    for status in (301, 302, 303, 307, 308):
        hook.status = status
        assert notifier(bridge).send_new() == 0
    assert (hook.told, hook.led_astray) == ([], 0)
    hook.status = 200
    assert notifier(bridge).send_new() == 1


def test_a_target_that_drips_is_given_up_in_time(
    bridge: InProcessBridge, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.inside.beat("one")
    bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    monkeypatch.setattr("bridge.worker.notify.TARGET_SECONDS", 0.3)
    hook.drops = 60
    assert notifier(bridge).send_new() == 0, "it would have answered in the end"
    hook.drops = 0
    assert notifier(bridge).send_new() == 1


def test_an_end_that_could_not_be_told_is_told_later(bridge: InProcessBridge, hook: Hook) -> None:
    trouble(bridge)
    notifier(bridge).send_new()
    bridge.next29.add_token(OUTLET_TOKEN, OUTLET)
    bridge.inside.resume(OUTLET)
    bridge.work()
    for status in (500, 500, 200, 200):
        hook.status = status
        notifier(bridge).send_new()
    assert hook.titles.count(f"Store {OUTLET} has resumed.") == 1


@pytest.mark.both_databases
def test_a_worker_that_is_gone_is_told_by_the_web_process(bridge: InProcessBridge, hook: Hook) -> None:
    bridge.inside.beat("one")
    bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    web = bridge.inside.make_jobs(worker=False)
    assert [job.name for job in web.jobs] == ["notifications"]
    web.run_due(1.0)
    assert hook.told == []
    bridge.clock.now += GONE_AFTER + 1
    web.run_due(100.0)
    assert hook.titles == ["No worker is running"]
    assert "forwarded" in hook.told[0]["text"]
    bridge.inside.beat("two")
    web.run_due(200.0)
    assert hook.titles[1:] == ["A worker is running again and forwards what was waiting."]


def test_a_web_process_watches_only_where_somebody_is_to_be_told(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, bridge_with_outlet(url, watch=True) as bridge:
        assert "watch" not in bridge.app.extensions
        assert bridge.inside.make_jobs(worker=False).jobs == []


def test_slack_reads_nothing_into_what_is_told(make_database: MakeDatabase, hook: Hook) -> None:
    told = Notify(hook.url, form="slack")
    with make_database("sqlite") as url, bridge_with_outlet(url, notify=told) as bridge:
        bridge.inside.beat("one")
        bridge.inside.pause(STORE, "<!channel> & <https://evil.example|click>", None)
        notifier(bridge).send_new()
        (message,) = hook.told
        assert list(message) == ["text"]
        assert message["text"].startswith(f"*Store {STORE} is paused*\n&lt;!channel&gt; &amp; &lt;https:")
        assert message["text"].endswith("\nhttp://127.0.0.1:8000/stores")


# --- the other jobs -----------------------------------------------------------------------------


def test_a_chore_that_fails_stops_no_other(bridge: InProcessBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def broken() -> None:
        done.append("broken")
        raise ZeroDivisionError

    def away() -> None:
        done.append("away")
        raise Unavailable

    monkeypatch.setattr(bridge.inside.jobs.jobs[0], "do", broken)
    monkeypatch.setattr(bridge.inside.jobs.jobs[1], "do", away)
    monkeypatch.setattr(bridge.inside.jobs.jobs[-1], "do", lambda: done.append("well"))
    bridge.inside.jobs.run_due(1000.0)
    assert done == ["broken", "away", "well"]
    bridge.inside.jobs.run_due(1000.1)
    assert len(done) == 3
    bridge.inside.jobs.run_due(2000.0)
    assert len(done) == 6


def send_what_fails(bridge: InProcessBridge) -> None:
    bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    eventually(lambda: bridge.deliveries(status="failed"))


def replay(bridge: InProcessBridge) -> Callable[[], bool]:
    """Ask for a bulk replay of what has failed; returns what says whether a job has done it."""
    ident = bridge.inside.shared_state.start_replay({"status": "failed"}, 1)

    def is_done() -> bool:
        found = bridge.inside.shared_state.replay(ident)
        return found is not None and found.ended_at is not None

    return is_done


def test_the_jobs_run_until_they_are_stopped(bridge: InProcessBridge, hook: Hook) -> None:
    trouble(bridge)
    is_replayed = replay(bridge)
    with bridge.inside.jobs_at_work():
        eventually(is_replayed)
        eventually(lambda: f"Store {OUTLET} is paused" in hook.titles)


def test_a_target_that_drips_holds_up_neither_heartbeat_nor_replay_nor_retention(
    make_database: MakeDatabase, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.worker.notify.TARGET_SECONDS", 600.0)
    monkeypatch.setattr(HEARTBEAT, 0.1)
    target = Notify(hook.url, form="json")
    with make_database("sqlite") as url, bridge_with_outlet(url, notify=target, keep_bodies=DAY) as bridge:
        trouble(bridge)
        sent = bridge.send_sample()
        hook.drops = 100_000
        with bridge.inside.at_work():
            assert hook.drips.wait(30)
            bridge.clock.now += 2 * DAY
            later = bridge.clock.now
            bridge.inside.hurry()
            eventually(replay(bridge))
            eventually(lambda: bridge.delivery(sent)["webhook"]["body"] is None)
            eventually(lambda: (bridge.inside.worker_seen_at() or 0.0) > later)
            assert hook.told, "it still drips"
            hook.is_dry.set()


def test_a_worker_whose_loop_hangs_looks_gone_though_its_jobs_go_on(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def hang(*_: object) -> list[Any]:
        hangs.set()
        goes_on.wait(60)
        return []

    monkeypatch.setattr(HEARTBEAT, 0.1)
    with make_database("sqlite") as url, bridge_with_outlet(url) as bridge:

        def looks_gone() -> bool:
            page = bridge.client.get("/")
            assert page.status_code == 200
            return "No worker is running" in page.text

        assert looks_gone()
        with bridge.inside.at_work():
            eventually(lambda: not looks_gone())
            send_what_fails(bridge)
            with monkeypatch.context() as patched:
                patched.setattr(*CLAIMS, hang)
                assert hangs.wait(30)
                bridge.clock.now += GONE_AFTER + 1
                try:
                    eventually(replay(bridge))
                    assert looks_gone()
                finally:
                    goes_on.set()
            eventually(lambda: not looks_gone())


def test_the_heart_of_a_worker_that_is_gone_for_a_day_is_forgotten(bridge: InProcessBridge) -> None:
    shared_state = bridge.inside.shared_state
    shared_state.record_heartbeat("old")
    first = bridge.inside.worker_seen_at()
    bridge.clock.now += 2 * DAY
    assert bridge.inside.worker_seen_at() == first
    shared_state.record_heartbeat("new")
    with bridge.database.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM memos WHERE kind = 'worker'").scalars().all()
    assert names == ["new"]


@pytest.mark.both_databases
def test_old_bodies_are_removed_in_small_steps(database_url: str) -> None:
    with bridge_with_outlet(database_url, keep_bodies=10 * DAY) as bridge:
        old = [bridge.send_sample() for _ in range(5)]
        bridge.work()
        bridge.clock.now += 11 * DAY
        young = bridge.send_sample()
        shared_state = bridge.inside.shared_state
        before = bridge.clock.now - 10 * DAY
        assert shared_state.drop_bodies(before, 3) == 3
        bodies = [bridge.delivery(one)["webhook"]["body"] is None for one in old]
        assert bodies == [True, True, True, False, False]
        bridge.inside.jobs.drop_bodies()
        assert shared_state.drop_bodies(before, 3) == 0
        for one in old:
            whole = bridge.delivery(one)
            assert whole["webhook"]["body"] is None
            assert whole["webhook"]["headers"] == {}
            assert whole["alert"]
            assert whole["attempts"]
            assert whole["dispute_id"]
        assert bridge.delivery(young)["webhook"]["body"]


@pytest.mark.both_databases
def test_a_replay_leaves_alone_what_has_no_body_any_more(database_url: str) -> None:
    with bridge_with_outlet(database_url, keep_bodies=10 * DAY) as bridge:
        old = bridge.send_sample()
        bridge.work()
        bridge.clock.now += 11 * DAY
        young = bridge.send_sample()
        bridge.work()
        bridge.inside.jobs.drop_bodies()
        before = bridge.delivery(old)
        assert before["status"] == "forwarded"
        assert bridge.inside.inbox.deliveries.replay([old, young]) == [young]
        bridge.work()
        assert bridge.delivery(old) == before
        assert bridge.delivery(young)["status"] == "forwarded"


@pytest.mark.both_databases
def test_old_transactions_are_removed_from_the_index_of_each_store(database_url: str) -> None:
    with bridge_with_outlet(database_url, keep_index=200 * DAY) as bridge:
        for store in (STORE, OUTLET):
            sale = bridge.next29.add_transaction(store, date_created="2026-02-01T00:00:00Z", order="77")
            bridge.inside.add_transactions(store, [sale])
        bridge.inside.jobs.run_due(1e9)
        assert sorted(row.store for row in rows(bridge.database, "transactions")) == [OUTLET, STORE]
        bridge.clock.now += 200 * DAY
        bridge.inside.jobs.run_due(2e9)
        assert rows(bridge.database, "transactions") == []


def test_nothing_is_removed_that_is_kept_forever(bridge: InProcessBridge) -> None:
    assert (bridge.settings.keep_bodies, bridge.settings.keep_index) == (None, None)
    delivery = bridge.send_sample()
    bridge.inside.add_transactions(
        STORE, [bridge.next29.add_transaction(STORE, date_created="2026-02-01T00:00:00Z")]
    )
    bridge.clock.now += 1000 * DAY
    bridge.inside.jobs.run_due(1e9)
    assert bridge.inside.index.drop(STORE, bridge.clock.now, 9) == 1
    assert bridge.delivery(delivery)["webhook"]["body"]


@pytest.mark.both_databases
def test_two_workers_put_back_no_more_than_one(bridge: InProcessBridge) -> None:
    for _ in range(REPLAYED_A_SECOND + 10):
        bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    shared_state = bridge.inside.shared_state
    ident = shared_state.start_replay({"status": "failed"}, REPLAYED_A_SECOND + 10)
    found = shared_state.replay(ident)
    assert found is not None
    bridge.inside.jobs.replay()
    assert (
        shared_state.advance_replay(found, ["d_" + "z" * 21]) is False
    )  # it was read before the other's step
    again = shared_state.replay(ident)
    assert again is not None
    assert again.done == REPLAYED_A_SECOND


def test_the_web_process_tells_by_itself(make_database: MakeDatabase, hook: Hook) -> None:
    with (
        make_database("sqlite") as url,
        bridge_with_outlet(url, notify=Notify(hook.url, form="json"), watch=True) as bridge,
    ):
        eventually(lambda: hook.titles == ["No worker is running"])
        bridge.app.extensions["watch"].set()


def test_whatever_failed_needs_a_person(bridge: InProcessBridge) -> None:
    reasons = set(Reason) - {"waiting_for_opening", "store_paused", "inform", "ignore", "test", "dismissed"}
    for reason in reasons:
        ident = bridge.send_sample()
        bridge.work()
        change_row(bridge.database, "deliveries", ident, {"status": Status.FAILED, "reason": reason})
    seen = conditions(read_snapshot(bridge.database, bridge.settings))
    assert {one.key for one in seen if one.key.startswith("failed:")} == {f"failed:{one}" for one in reasons}
