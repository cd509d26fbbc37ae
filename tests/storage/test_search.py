"""The log is searched: by filters, by numbers, by text; in pages that meet without gap or repeat."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from bridge.storage import search as searching
from bridge.storage import search_terms
from bridge.storage.filters import CASE_FILTERS, DELIVERY_FILTERS, BadFilter, Filters, Text, choices_of
from bridge.storage.search import Search
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge
from tests.support.clock import DAY
from tests.support.history import MONDAY, OUTLET, bridge_with_outlet, review

Json = dict[str, Any]


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_with_outlet(database_url) as made:
        yield made


@pytest.fixture
def lite(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_with_outlet(url) as made:
        yield made


def searched(bridge: InProcessBridge) -> Search:
    search: Search = bridge.search
    return search


def ids(bridge: InProcessBridge, **filters: str) -> list[str]:
    return [row["id"] for row in searched(bridge).deliveries(filters).results]


def walked(bridge: InProcessBridge, kind: str = "deliveries", **filters: str) -> list[str]:
    """Every id of a list, page by page."""
    found: list[str] = []
    cursor: Json = {}
    for _ in range(100):
        page = getattr(searched(bridge), kind)({**filters, "limit": "2", **cursor})
        found += [row["id"] for row in page.results]
        if page.next is None:
            return found
        cursor = {"cursor": page.next}
    raise AssertionError("the pages do not end")


# --- by numbers ---------------------------------------------------------------------------------


def test_an_alert_is_found_by_each_of_its_numbers(bridge: InProcessBridge) -> None:
    bridge.send_sample("verifi")
    wanted = bridge.send_sample("midigator", "chargeback.new")
    bridge.send_sample("ethoca")
    bridge.work()
    whole = searched(bridge).delivery(wanted)
    assert whole is not None
    alert = whole["alert"]
    facts = ("case_number", "arn", "order", "card_last_four", "auth_code", "external_id", "amount")
    numbers = [alert[name] for name in facts] + [whole["event_id"]]
    for number in (*numbers, alert["case_number"].lower(), f" {alert['arn']} "):
        assert ids(bridge, q=number) == [wanted], number
        found = [row["id"] for row in searched(bridge).cases({"q": number}).results]
        assert found == ([] if number == whole["event_id"] else [whole["case_id"]]), number
    (case,) = searched(bridge).cases({"q": alert["case_number"]}).results
    for number in (case["dispute_id"], case["transaction_id"]):  # the stand-in counts both from 1001
        assert wanted in ids(bridge, q=str(number))
        assert case["id"] in [row["id"] for row in searched(bridge).cases({"q": str(number)}).results]


def test_an_alert_is_found_by_the_ids_of_the_bridge(lite: InProcessBridge) -> None:
    lite.send_sample()
    wanted = lite.send_sample()
    lite.work()
    whole = searched(lite).delivery(wanted)
    assert whole is not None
    for ident in (wanted, whole["case_id"], whole["webhook_id"]):
        assert ids(lite, q=ident) == [wanted]
    assert [row["id"] for row in searched(lite).cases({"q": whole["case_id"]}).results] == [whole["case_id"]]


@pytest.mark.parametrize("written", ["120.50", "120.5", "$120.50", "120.500", " 120.50 "])
def test_an_amount_is_found_however_it_is_written(lite: InProcessBridge, written: str) -> None:
    wanted = lite.send_sample(change=lambda tree: tree.update(amount="120.50", chargeback_amount="120.50"))
    lite.send_sample()
    lite.work()
    assert ids(lite, q=written) == [wanted]


@pytest.mark.parametrize(
    ("text", "word"),
    [("1,250.00", "1250"), ("0.00", "0"), ("100", "100"), ("0042", "0042"), ("A-1.0", "a-1.0"), ("€5", "5")],
)
def test_a_word_has_one_spelling(text: str, word: str) -> None:
    assert search_terms.from_query(text) == word


def test_what_failed_or_only_informs_is_found_by_its_case_number(bridge: InProcessBridge) -> None:
    failed = bridge.send_sample("ethoca", store="nowhere", known=False)
    told = bridge.send_sample("midigator", change=lambda tree: tree.update(prevention_type="tc40"))
    bridge.work()
    for ident, status in ((failed, "failed"), (told, "ignored")):
        row = searched(bridge).delivery(ident)
        assert row is not None
        assert row["status"] == status
        assert row["case_id"] is None
        assert ids(bridge, case_number=row["case_number"]) == [ident]
        assert ids(bridge, q=row["case_number"].lower()) == [ident]
        assert ids(bridge, case_number=row["case_number"].lower()) == []


def test_a_case_is_found_by_every_provider_that_reports_it(bridge: InProcessBridge) -> None:
    bridge.send_sample("ethoca", change=lambda tree: tree.update(ethoca_id="SAME1"))
    bridge.send_sample(
        "midigator", "prevention.new", change=lambda tree: tree.update(prevention_case_number="SAME1")
    )
    bridge.send_sample("verifi")
    bridge.work()
    (case,) = searched(bridge).cases({"case_number": "SAME1"}).results
    assert case["providers"] == ["ethoca", "midigator"]
    for provider in case["providers"]:
        assert [row["id"] for row in searched(bridge).cases({"provider": provider}).results] == [case["id"]]


# --- by text ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["100% sure_", "O'Brien \\ Söhne", 'say "no"', "--; DROP TABLE", "日本"])
def test_text_in_a_body_is_found_letter_for_letter(bridge: InProcessBridge, hidden: str) -> None:
    def hide(tree: Json) -> None:
        tree["comment"] = f"<<{hidden}>>"

    wanted = bridge.send_sample(change=hide)
    bridge.send_sample()
    body = searched(bridge).body(searched(bridge).delivery(wanted)["webhook_id"])  # type: ignore[index]
    assert body is not None
    written = body.decode().split("<<")[1].split(">>")[0]  # as JSON escapes it
    assert ids(bridge, text=written) == [wanted]
    assert ids(bridge, text=written, provider="verifi") == []
    assert ids(bridge, text=written[:-1] + "?") == []


def test_text_is_looked_for_stretch_by_stretch(
    lite: InProcessBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "STRETCH", 3)
    monkeypatch.setattr(searching, "STRETCHES", 2)
    sent = [lite.send_sample(change=lambda tree: tree.update(note="far back"))]
    sent += [lite.send_sample() for _ in range(10)]
    first = searched(lite).deliveries({"text": "far back"})
    assert first.results == []
    assert first.next == sent[5]  # six were read, newest first
    assert walked(lite, text="far back") == [sent[0]]
    assert walked(lite, text="ethoca_id") == sent[::-1]


def test_a_body_that_retention_removed_is_not_found(lite: InProcessBridge) -> None:
    lite.send_sample(change=lambda tree: tree.update(note="gone soon"))
    lite.clock.now += 10
    lite.inside.shared_state.drop_bodies(lite.clock.now, 10)
    assert ids(lite, text="gone soon") == []


# --- by filters ---------------------------------------------------------------------------------


def test_each_filter_narrows_the_list(bridge: InProcessBridge) -> None:
    forwarded = bridge.send_sample("ethoca")
    failed = bridge.send_sample("ethoca", change=lambda tree: tree.update(ethoca_id="N/A"))
    other = bridge.send_sample("verifi", store=OUTLET)
    told = bridge.send_sample("midigator", change=lambda tree: tree.update(prevention_type="tc40"))
    bridge.work()
    waiting = bridge.send_sample("kount")
    row = searched(bridge).delivery(forwarded)
    assert row is not None
    expected = {
        ("status", "forwarded"): [other, forwarded],
        ("status", "pending"): [waiting],
        ("provider", "ethoca"): [failed, forwarded],
        ("store", OUTLET): [other],
        ("reason", "untranslatable"): [failed],
        ("reason", "inform"): [told],
        ("effect", "inform"): [told],
        ("event_type", "issuer_alert"): [failed, forwarded],
        ("case_id", row["case_id"]): [forwarded],
        ("webhook_id", row["webhook_id"]): [forwarded],
    }
    for (name, value), wanted in expected.items():
        assert ids(bridge, **{name: value}) == wanted, name
    assert ids(bridge, provider="ethoca", status="failed", reason="untranslatable") == [failed]
    assert ids(bridge, provider="verifi", status="failed") == []


def test_cases_are_narrowed_too(bridge: InProcessBridge) -> None:
    bridge.send_sample("ethoca", store=OUTLET)
    bridge.send_sample("midigator", "chargeback.new")
    bridge.send_sample("midigator", "rdr.new", change=lambda tree: tree.update(rdr_resolution="Accepted"))
    review(bridge)
    bridge.work()
    everything = searched(bridge).cases({}).results
    assert len(everything) == 4
    for one in everything:
        for name in ("state", "store", "type", "case_number", "arn", "dispute_id", "transaction_id"):
            if one[name] is not None:
                same = [row["id"] for row in everything if row[name] == one[name]]
                found = [row["id"] for row in searched(bridge).cases({name: str(one[name])}).results]
                assert found == same, name
    (resolved,) = searched(bridge).cases({"resolution": "issued_full_refund"}).results
    assert resolved["state"] == "resolved"


def test_dates_bound_a_list(bridge: InProcessBridge) -> None:
    sent = []
    for day in range(4):
        bridge.clock.now = MONDAY + day * DAY
        sent.append(bridge.send_sample())
    bridge.work()
    assert ids(bridge, since="2026-03-04") == sent[:1:-1]
    assert ids(bridge, until="2026-03-04") == sent[1::-1]
    assert ids(bridge, since="2026-03-03", until="2026-03-05") == sent[2:0:-1]
    received = datetime.fromisoformat(str(searched(bridge).delivery(sent[2])["received_at"]))  # type: ignore[index]
    assert ids(bridge, since=received.isoformat()) == sent[:1:-1]
    assert ids(bridge, until=received.isoformat()) == sent[1::-1]
    zoned = received.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert ids(bridge, since=zoned) == sent[:1:-1]
    assert len(searched(bridge).cases({"since": "2026-03-05"}).results) == 1


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"colour": "red"}, "There is no filter 'colour'"),
        ({"status": "lost"}, "status is one of pending"),
        ({"status": ""}, "status is one of pending"),
        ({"store": ""}, "store is a text of 1 to 200 characters"),
        ({"store": "\x00"}, "store is a text"),
        ({"store": "x" * 201}, "store is a text"),
        ({"since": "yesterday"}, "not a date or a time"),
        ({"since": "20260301"}, "not a date or a time"),
        ({"until": "2026-02-30"}, "not a date or a time"),
        ({"limit": "0"}, "limit is a number from 1 to 500"),
        ({"limit": "501"}, "limit is a number from 1 to 500"),
        ({"limit": "many"}, "limit is a number"),
        ({"limit": "٣"}, "limit is a number"),  # an Arabic digit
        ({"cursor": "d_1"}, "cursor is an id of the bridge"),
        ({"cursor": "d_" + "0" * 21 + "\n"}, "cursor is an id of the bridge"),
        ({"colour": "red", "limit": "0"}, "limit is a number from 1 to 500, not 0. There is no filter"),
        ({"case_id": "1' OR '1'='1"}, "case_id is an id of the bridge"),
    ],
)
def test_a_filter_that_cannot_be_is_named(lite: InProcessBridge, filters: dict[str, str], said: str) -> None:
    with pytest.raises(BadFilter, match=said):
        searched(lite).deliveries(filters)


@pytest.mark.parametrize("value", ["x", "-1", "1e3", "9" * 19])
def test_a_dispute_is_a_number(lite: InProcessBridge, value: str) -> None:
    with pytest.raises(BadFilter, match="dispute_id is a number"):
        searched(lite).cases({"dispute_id": value})


@pytest.mark.parametrize(
    "ident", ["", "d_", "nothing", "d_" + "u" * 21, "\x00", "c_" + "0" * 21, "d_" + "0" * 21]
)
def test_what_is_no_id_is_nothing(bridge: InProcessBridge, ident: str) -> None:
    assert searched(bridge).delivery(ident) is None
    assert searched(bridge).case(ident) is None
    assert searched(bridge).find(ident) is None


# --- in pages -----------------------------------------------------------------------------------


def test_pages_meet_without_gap_or_repeat(bridge: InProcessBridge) -> None:
    sent = [bridge.send_sample(provider) for provider in ("ethoca", "verifi", "ethoca", "ethoca", "verifi")]
    bridge.work()
    assert walked(bridge) == sent[::-1]
    assert walked(bridge, provider="ethoca") == [sent[3], sent[2], sent[0]]
    assert walked(bridge, text="411111") == sent[::-1]
    assert walked(bridge, "cases") == sorted(walked(bridge, "cases"), reverse=True)
    assert len(walked(bridge, "cases", provider="ethoca")) == 3
    assert searched(bridge).ids({"provider": "ethoca"}, 2) == [sent[0], sent[2]]


def test_a_page_of_a_common_number_ends_where_the_next_begins(lite: InProcessBridge) -> None:
    def cheap(tree: Json) -> None:
        tree.update(amount="29.99", chargeback_amount="29.99")

    sent = [lite.send_sample(change=cheap) for _ in range(5)]
    lite.work()
    assert walked(lite, q="29.99") == sent[::-1]
    assert len(walked(lite, "cases", q="29.99")) == 5


def test_deliveries_are_counted_as_far_as_asked(lite: InProcessBridge) -> None:
    for _ in range(3):
        lite.send_sample()
    lite.work()
    assert searched(lite).count({"status": "forwarded"}, 100) == 3
    assert searched(lite).count({"status": "forwarded"}, 2) == 2
    with pytest.raises(BadFilter, match="not counted by the text"):
        searched(lite).count({"text": "x"}, 2)


def by_text(filters: Filters) -> Iterator[dict[str, str]]:
    """Each filter alone, where it takes a text or a word."""
    for name, known in choices_of(filters).items():
        if known or type(filters.fields[name]) is Text:
            yield {name: known[0] if known else "x"}


PLANS: list[tuple[str, dict[str, str]]] = [
    *(("deliveries", given) for given in by_text(DELIVERY_FILTERS)),
    *(("cases", given) for given in by_text(CASE_FILTERS)),
    ("deliveries", {}),
    ("cases", {}),
    ("deliveries", {"provider": "x", "status": "forwarded"}),
    ("deliveries", {"store": "x", "status": "failed"}),
    ("deliveries", {"store": "x", "reason": "refused", "status": "failed"}),
    ("deliveries", {"effect": "open", "store": "x", "since": "2026-01-01"}),
    ("deliveries", {"q": "29.99", "status": "failed", "provider": "x"}),
    ("deliveries", {"since": "2026-01-01", "until": "2026-01-02"}),
    ("cases", {"q": "29.99", "store": "x", "state": "open"}),
    ("cases", {"dispute_id": "1"}),
    ("cases", {"transaction_id": "1"}),
    ("cases", {"state": "review", "store": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "filters"), PLANS, ids=[f"{kind} {' '.join(given)}" for kind, given in PLANS]
)
def test_a_list_is_walked_along_an_index(lite: InProcessBridge, kind: str, filters: dict[str, str]) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    engine = lite.database.engine
    event.listen(engine, "before_cursor_execute", note)
    getattr(searched(lite), kind)(filters)
    event.remove(engine, "before_cursor_execute", note)
    assert asked
    with engine.connect() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            steps = [str(row[-1]) for row in plan]
            few = {"case_number", "arn", "dispute_id", "transaction_id"} & set(filters)  # a handful of rows
            assert few or not any("TEMP B-TREE" in step for step in steps), steps
            scans = [step for step in steps if step.startswith("SCAN")]
            assert not [step for step in scans if "INDEX" not in step], steps


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"store": "x", "status": "failed"}, "ix_deliveries_status_id"),
        ({"store": "x", "status": "forwarded"}, "ix_deliveries_store_id"),
        ({"store": "x", "status": "failed", "reason": "refused"}, "ix_deliveries_reason_id"),
        ({"provider": "x", "status": "failed"}, "ix_deliveries_provider_status_id"),
        ({"effect": "open", "provider": "x"}, "ix_deliveries_effect_id"),
        ({"store": "x", "webhook_id": "w_" + "0" * 21}, "ix_deliveries_webhook_id"),
    ],
)
def test_what_leaves_least_to_read_leads(lite: InProcessBridge, filters: dict[str, str], index: str) -> None:
    """SQLite counts no values, so it cannot know that few deliveries have failed."""
    asked: list[tuple[str, Any]] = []
    engine = lite.database.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _k, said, given, *_: asked.append((said, given)))
    searched(lite).deliveries(filters)
    statement, parameters = asked[-1]
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    assert f" {index} " in str(plan[0][-1])


def test_the_plans_are_seen(lite: InProcessBridge) -> None:
    """A list without its index would be seen by the test above."""
    with lite.database.engine.connect() as connection:
        plan = connection.execute(
            text("EXPLAIN QUERY PLAN SELECT * FROM deliveries WHERE tries = 1 ORDER BY received_at")
        ).all()
    steps = [str(row[-1]) for row in plan]
    assert any(step.startswith("SCAN") for step in steps)
    assert any("TEMP B-TREE" in step for step in steps)
