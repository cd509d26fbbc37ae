"""Ethoca's alerts are pulled: stored as if pushed, acknowledged once they are committed, and never lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from bridge import providers
from bridge.cli.doctor import examine
from bridge.errors import Unavailable
from bridge.settings.file import Route
from bridge.settings.oauth import OAuthKeys
from bridge.worker.checks import Check
from bridge.worker.notify import conditions, read_snapshot
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY, HOUR, eventually, wait_longest
from tests.support.ethoca import CONSUMER_KEY, KEYS, SECRETS, SIGNING_KEY, alert
from tests.support.inside import KEPT_DELIVERIES
from tests.support.next29 import STORE
from tests.support.processes import SHORT, RunningBridge, running_bridge
from tests.support.provider_apis import (
    Fault,
    ProviderApis,
    Request,
    cut_off,
    forget,
    lose,
    says,
    status,
    usual,
)
from tests.support.webhooks import FULL_CARD, Json

MINUTE = 60.0
FETCH, CONFIRM = "GET alerts", "POST alerts/acknowledges"


def pulling(apis: ProviderApis, **changes: Any) -> Json:
    """Settings with which Ethoca's alerts are pulled, and nothing of Ethoca's is taken from outside."""
    known = providers.built_in()
    pull = known["ethoca"].pull
    assert pull
    known["ethoca"] = replace(known["ethoca"], pull=replace(pull, every=MINUTE, url=apis.url("ethoca")))
    keys = {"ethoca": OAuthKeys(CONSUMER_KEY, SIGNING_KEY)}
    return {"providers": known, "api_keys": keys, "secrets": {"midigator": ("user:password",)}, **changes}


@dataclass
class Desk:
    """A bridge that pulls, and the API that it pulls from."""

    bridge: InProcessBridge
    apis: ProviderApis
    logger: CapturingLogger = field(default_factory=CapturingLogger)
    turns: float = 0.0
    jobs: Any = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = self.bridge.inside.make_jobs()

    def pull(self, seconds: float = 0.0) -> list[tuple[str, str, Json]]:
        """Let time pass, and have a worker do its jobs; returns what it logged: level, event, the rest."""
        self.bridge.clock.sleep(seconds)
        self.turns += 100.0
        before = len(self.logger.calls)
        self.jobs.run_due(self.turns)
        return [(one.method_name, one.args[0], one.kwargs) for one in self.logger.calls[before:]]

    def ids(self) -> list[str]:
        """The event ids of all deliveries, sorted."""
        return sorted(row["event_id"] for row in self.bridge.deliveries())

    @property
    def page(self) -> str:
        """The page of the providers."""
        return self.bridge.client.get("/providers").text

    @property
    def alarms(self) -> list[tuple[str, str]]:
        """What a person is told about the pull."""
        found = conditions(read_snapshot(self.bridge.database, self.bridge.settings))
        return [(one.title, one.text) for one in found if one.key == "pull:ethoca"]

    @property
    def checked(self) -> Check:
        """What `bridge doctor` says of the pull."""
        clock = self.bridge.clock
        (one,) = [
            one
            for one in examine(self.bridge.settings, self.bridge.database, clock=clock)
            if one.name == "ethoca: pull"
        ]
        return one


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    logger = CapturingLogger()
    monkeypatch.setattr("bridge.worker.pull.log", logger)
    monkeypatch.setattr("bridge.storage.intake.log", logger)
    return logger


@pytest.fixture
def desk(
    database_url: str, apis: ProviderApis, logger: CapturingLogger, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    wait_longest(monkeypatch)
    with bridge_in_process(database_url, **pulling(apis), timeout=1.0) as bridge:
        yield Desk(bridge, apis, logger)


# --- as if pushed -------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_a_pulled_alert_opens_its_dispute_and_is_acknowledged_once_stored(desk: Desk) -> None:
    desk.apis.add(alert(1))
    logged = desk.pull()
    assert desk.apis.ledger.made == [FETCH, CONFIRM, FETCH]
    assert desk.apis.ledger.calls[0].query == {"size": "25"}
    assert desk.apis.ledger.calls[1].body == {
        "acknowledges": [{"alertId": alert(1)["alertId"], "status": "success"}]
    }
    assert (desk.apis.waiting.alerts, desk.apis.refused) == ({}, [])
    (row,) = desk.bridge.deliveries()
    assert (row["event_id"], row["event_type"]) == (alert(1)["alertId"], "CUSTOMERDISPUTE")
    said = {"provider": "ethoca", "delivery": row["id"], "deliveries": 1}
    assert logged == [("info", "webhook stored", said)]
    desk.bridge.work()
    (dispute,) = desk.bridge.disputes()
    assert (dispute["case_number"], dispute["amount"]) == (alert(1)["alertId"], "150.10")
    assert desk.bridge.delivery(row["id"])["status"] == "forwarded"


def test_what_is_pushed_and_pulled_counts_once(desk: Desk) -> None:
    body = json.dumps(alert(1), separators=(", ", ": ")).encode()
    desk.bridge.settings.secrets["ethoca"] = ("user:password",)  # type: ignore[index]
    desk.apis.add(alert(1))
    desk.pull()
    answer = desk.bridge.client.post("/webhooks/ethoca", data=body, auth=("user", "password"))
    assert (answer.status_code, answer.get_json()) == (200, {"status": "success"})
    desk.bridge.work()
    assert len(desk.bridge.disputes()) == 1


def test_card_numbers_are_cut_as_in_a_webhook(desk: Desk) -> None:
    desk.apis.add(alert(1, cardNumber=FULL_CARD, note=f"card {FULL_CARD}"))
    desk.pull()
    (row,) = desk.bridge.deliveries()
    shown = desk.bridge.client.get(f"/deliveries/{row['id']}").text
    assert FULL_CARD not in shown
    assert FULL_CARD[:6] in shown


def test_every_digit_of_an_alert_stays(desk: Desk) -> None:
    number = "12345678901234567890.10"
    content = json.dumps({"alerts": [alert(1)]}).replace('"150.10"', number).encode()
    desk.apis.faults = [says(content)]
    desk.pull()
    assert number in desk.bridge.client.get(f"/deliveries/{desk.bridge.newest()}").text


def test_amounts_may_be_objects(desk: Desk) -> None:
    desk.apis.add(
        alert(1, transactionAmount={"value": 12.5, "currencyCode": "EUR"}, transactionCurrency=None)
    )
    desk.pull()
    desk.bridge.work()
    (dispute,) = desk.bridge.disputes()
    assert (dispute["amount"], dispute["currency"]) == ("12.50", "EUR")


def test_an_alert_that_cannot_be_translated_is_stored_and_acknowledged(desk: Desk) -> None:
    desk.apis.add(alert(1, alertType="SOMETHING_NEW"), alert(2))
    desk.pull()
    desk.bridge.work()
    assert desk.apis.waiting.alerts == {}
    rows = {row["event_id"]: (row["status"], row["reason"]) for row in desk.bridge.deliveries()}
    assert rows == {
        alert(1)["alertId"]: ("failed", "unknown_event"),
        alert(2)["alertId"]: ("forwarded", None),
    }


def test_a_pulled_alert_takes_its_route(make_database: MakeDatabase, apis: ProviderApis) -> None:
    routes = (Route("beta", "ethoca", {"member_id": "7"}),)
    tokens = {"token-a": STORE, "token-b": "beta"}
    apis.add(alert(1, memberId="7"), alert(2, memberId="8"))
    with (
        make_database("sqlite") as url,
        bridge_in_process(url, tokens=tokens, **pulling(apis, routes=routes)) as bridge,
    ):
        Desk(bridge, apis).pull()
        bridge.work()
        stores = {row["event_id"]: row["store"] for row in bridge.deliveries()}
    assert stores == {alert(1)["alertId"]: "beta", alert(2)["alertId"]: STORE}


@pytest.mark.parametrize("around", [lambda rows: rows, lambda rows: {"count": 1, "items": rows}])
def test_the_list_may_stand_alone_or_under_any_name(desk: Desk, around: Callable[[Any], Any]) -> None:
    desk.apis.faults = [says(json.dumps(around([alert(1)])).encode())]
    desk.pull()
    assert desk.ids() == [alert(1)["alertId"]]


# --- how often ----------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_it_is_pulled_at_its_interval_and_at_once_while_there_is_more(desk: Desk) -> None:
    desk.apis.add(*(alert(n) for n in range(60)))
    desk.pull()
    assert desk.apis.ledger.made == [FETCH, CONFIRM] * 3 + [FETCH]
    assert len(desk.ids()) == 60
    desk.pull(MINUTE - 1)
    assert len(desk.apis.ledger.calls) == 7
    desk.apis.add(alert(99))
    desk.pull(2)
    assert desk.apis.ledger.made[7:] == [FETCH, CONFIRM, FETCH]


def test_a_day_s_outage_is_worked_off_in_one_pull(desk: Desk) -> None:
    desk.pull()
    desk.apis.faults = [status(503)] * 200
    for _ in range(100):
        desk.pull(DAY / 100)
    desk.apis.faults.clear()
    desk.apis.add(*(alert(n) for n in range(500)))
    desk.pull(HOUR)
    assert (len(desk.ids()), desk.apis.waiting.alerts) == (500, {})


@pytest.mark.both_databases
def test_of_two_workers_one_pulls(desk: Desk) -> None:
    other = Desk(desk.bridge, desk.apis)
    desk.pull()
    other.pull()
    assert desk.apis.ledger.made == [FETCH]
    other.pull(MINUTE + 1)
    desk.pull()
    assert desk.apis.ledger.made == [FETCH, FETCH]


@pytest.mark.both_databases
def test_a_worker_that_stalls_past_its_turn_changes_nothing_of_the_next_one_s(desk: Desk) -> None:
    other = Desk(desk.bridge, desk.apis)

    def stalls(request: Request) -> bool:
        desk.bridge.clock.sleep(HOUR)
        other.pull()
        request.answer(503, {})
        return True

    desk.apis.add(alert(1))
    desk.apis.faults = [stalls]
    logged = desk.pull()
    assert desk.apis.ledger.made == [FETCH, FETCH, CONFIRM, FETCH]
    assert (desk.apis.waiting.alerts, desk.ids()) == ({}, [alert(1)["alertId"]])
    assert not [event for _, event, _ in logged if event == "alerts not pulled"]
    assert "Last error" not in desk.page


@pytest.mark.both_databases
def test_two_workers_that_pull_the_same_store_it_once(desk: Desk) -> None:
    other = Desk(desk.bridge, desk.apis)

    def stalls(request: Request) -> bool:
        answer = request.usual()
        desk.bridge.clock.sleep(HOUR)
        other.pull()
        request.answer(*answer)
        return True

    desk.apis.add(alert(1))
    desk.apis.faults = [stalls]
    desk.pull()
    desk.bridge.work()
    assert (len(desk.ids()), len(desk.bridge.disputes())) == (1, 1)
    assert desk.apis.ledger.made == [FETCH, FETCH, CONFIRM, FETCH, CONFIRM]


@pytest.mark.both_databases
def test_a_turn_from_before_the_clock_was_set_back_is_over(desk: Desk) -> None:
    desk.pull()
    desk.pull(-DAY)
    assert desk.apis.ledger.made == [FETCH, FETCH]


# --- nothing is lost, whatever goes wrong -------------------------------------------------------


def test_nothing_is_acknowledged_that_could_not_be_stored(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(*_: object) -> str:
        raise Unavailable

    desk.apis.add(alert(1))
    with monkeypatch.context() as patch:
        patch.setattr(*KEPT_DELIVERIES, keep)
        desk.pull()
    assert desk.apis.ledger.made == [FETCH]
    desk.pull(MINUTE)
    assert (desk.ids(), desk.apis.waiting.alerts) == ([alert(1)["alertId"]], {})


def test_one_alert_that_breaks_the_bridge_keeps_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name = KEPT_DELIVERIES
    keep = getattr(owner, name)

    def some(self: Any, webhook: Any, owed: Any) -> Any:
        assert alert(1)["alertId"] not in str(webhook.body)
        return keep(self, webhook, owed)

    monkeypatch.setattr(owner, name, some)
    desk.apis.add(alert(1), alert(2))
    desk.pull()
    assert (desk.ids(), list(desk.apis.waiting.alerts)) == ([alert(2)["alertId"]], [alert(1)["alertId"]])
    assert "alerts could not be stored, see the log (1)" in desk.page


@pytest.mark.both_databases
@pytest.mark.parametrize("fault", [lose, cut_off, status(500)])
def test_an_acknowledgement_whose_answer_is_lost_is_made_again(desk: Desk, fault: Fault) -> None:
    desk.apis.add(alert(1))
    desk.apis.faults = [usual, fault]
    desk.pull()
    assert desk.apis.ledger.made == [FETCH, CONFIRM]
    desk.pull(HOUR)
    assert (desk.apis.waiting.alerts, desk.ids()) == ({}, [alert(1)["alertId"]])
    assert "Last error" not in desk.page


FAULTS: dict[str, tuple[Fault, str]] = {
    "down": (status(503), "Ethoca answered 503: made-up "),
    "no key": (status(401), "(are ETHOCA_CONSUMER_KEY and ETHOCA_SIGNING_KEY right?)"),
    "forbidden": (status(403), "(are ETHOCA_CONSUMER_KEY and ETHOCA_SIGNING_KEY right?)"),
    "not there": (status(404), "Ethoca answered 404: made-up "),
    "a redirect": (status(302, Location="https://example.com/"), "Ethoca answered 302: "),
    "HTML": (says(b"<html>"), "Ethoca answered 200 without readable JSON."),
    "an HTML error": (says(b"<html>", 502), "Ethoca answered 502: (no JSON)"),
    "half of it": (says(b'{"alerts": [', length=500), "The connection to Ethoca broke"),
    "half of the JSON": (
        says(b'{"alerts": [{"alertId"'),
        "Ethoca answered 200 without readable JSON.",
    ),
    "no list": (says(b'{"alerts": null}'), "Ethoca answered without a list of alerts."),
    "a text": (says(b'"alerts"'), "Ethoca answered without a list of alerts."),
    "hung up": (cut_off, "The connection to Ethoca broke"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_fails_is_logged_once_and_shown_and_tried_again(desk: Desk, name: str) -> None:
    fault, said = FAULTS[name]
    desk.apis.add(alert(1))
    desk.apis.faults = [fault] * 3
    # once, though an answer that repeats what was sent differs each time
    ((level, event, more),) = [one for _ in range(3) for one in desk.pull(HOUR)]
    assert (level, event, more["provider"]) == ("warning", "alerts not pulled", "ethoca")
    assert said in more["why"]
    assert said.partition("(are")[0] in desk.page
    assert not desk.ids()
    recovered = [("info", "webhook stored"), ("info", "alerts pulled again")]
    assert [one[:2] for one in desk.pull(HOUR)] == recovered
    assert "Last error" not in desk.page
    assert desk.ids() == [alert(1)["alertId"]]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"alerts": []}'])
def test_an_empty_answer_is_no_error(desk: Desk, content: bytes) -> None:
    desk.apis.faults = [says(content)]
    desk.pull()
    assert "Last error" not in desk.page
    assert not desk.ids()


def test_a_pause_that_ethoca_asks_for_is_kept(desk: Desk) -> None:
    desk.apis.faults = [status(429, Retry_After="200")]
    desk.pull()
    desk.pull(190)
    assert desk.apis.ledger.made == [FETCH]
    desk.pull(20)
    assert desk.apis.ledger.made == [FETCH, FETCH]


def test_what_goes_on_failing_is_tried_less_and_less(desk: Desk) -> None:
    desk.apis.faults = [status(503)] * 10_000
    for _ in range(4 * 60):
        desk.pull(15)
    assert 9 <= len(desk.apis.ledger.calls) <= 14


def test_an_alert_without_an_id_is_stored_and_keeps_no_other(desk: Desk) -> None:
    desk.apis.waiting.unsaid = [{"alertType": "CUSTOMERDISPUTE", "alertId": None}, "no alert"]
    desk.apis.add(alert(1), alert(2))
    desk.pull()
    desk.pull(HOUR)
    assert (len(desk.ids()), desk.apis.waiting.alerts) == (4, {})
    assert "alerts have no id, so they cannot be acknowledged (2)" in desk.page


def test_alerts_that_come_again_though_acknowledged_do_not_spin(desk: Desk) -> None:
    desk.apis.add(alert(1))
    desk.apis.faults = [usual, forget]
    desk.pull()
    assert desk.apis.ledger.made == [FETCH, CONFIRM, FETCH]
    assert "alerts came again although they were acknowledged (1)" in desk.page
    desk.pull(HOUR)
    assert desk.apis.waiting.alerts == {}


def test_an_acknowledgement_that_is_not_taken_is_said(desk: Desk) -> None:
    failed = {"alertId": "x", "status": "FAILURE", "errors": [{"ReasonCode": "TOO_EARLY"}]}
    desk.apis.add(alert(1))
    desk.apis.faults = [usual, says(json.dumps({"acknowledgeResponses": [failed]}).encode())]
    desk.pull()
    assert "alerts were not accepted as acknowledged" in desk.page
    assert "TOO_EARLY" in desk.page
    assert len(desk.apis.ledger.calls) == 3


# --- what a person sees -------------------------------------------------------------------------


def test_the_page_and_the_doctor_say_when_the_last_pull_was(desk: Desk) -> None:
    assert "Pulled every" in desk.page
    assert not desk.checked.good
    assert "the key works; last pull never" in desk.checked.message
    calls = len(desk.apis.ledger.calls)
    desk.apis.add(alert(1))
    desk.pull()
    checked = desk.checked
    assert (checked.good, checked.message) == (True, "the key works; last pull 2026-03-01 12:00 UTC")
    assert {call.said for call in desk.apis.ledger.calls[:calls]} == {FETCH}
    assert "/webhooks/ethoca" not in desk.page.partition("<h2>Verifi")[0]


def test_the_doctor_tries_the_key_and_takes_nothing(desk: Desk) -> None:
    desk.apis.add(alert(1))
    desk.apis.faults = [status(401)]
    checked = desk.checked
    assert not checked.good
    assert "are ETHOCA_CONSUMER_KEY and ETHOCA_SIGNING_KEY right?" in checked.message
    assert "the key works" in desk.checked.message
    assert [(call.method, call.query) for call in desk.apis.ledger.calls] == [("GET", {"size": "1"})] * 2
    assert (list(desk.apis.waiting.alerts), desk.ids()) == ([alert(1)["alertId"]], [])


def test_a_pull_that_fails_for_long_is_told_and_its_end_too(desk: Desk) -> None:
    desk.pull()
    desk.apis.faults = [status(503)] * 100
    desk.pull(MINUTE + 1)
    desk.pull(13 * MINUTE)
    assert desk.alarms == []
    desk.pull(3 * MINUTE)
    ((title, text),) = desk.alarms
    assert title == "ethoca has not been pulled for 17 min"
    assert text.startswith("Ethoca answered 503")
    desk.apis.faults.clear()
    desk.pull(HOUR)
    assert desk.alarms == []


def test_no_key_stands_anywhere(desk: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    desk.apis.add(alert(1))
    desk.apis.faults = [status(401), status(500), usual, status(400)]
    logged = [desk.pull(HOUR) for _ in range(4)]
    shown = [str(logged), desk.page, desk.checked.message, str(desk.alarms), repr(desk.bridge.settings)]
    file = Path(desk.bridge.settings.database_url.removeprefix("sqlite:///"))
    shown += [path.read_bytes().decode("latin-1") for path in file.parent.glob(f"{file.name}*")]
    shown += capfd.readouterr()
    assert not [secret for secret in SECRETS for text in shown if secret in text]


# --- processes ----------------------------------------------------------------------------------

POINTS = {
    "before the webhook's commit": (0, 1),
    "after the webhook's commit": (1, 2),
    "before the acknowledgement": (3, 3),
    "after the acknowledgement": (4, 0),
}
"""How many alerts are stored, and how many still wait, when a worker has been killed there."""
BRIEF = {**SHORT, "SHUTDOWN_SECONDS": -4.5}


@pytest.fixture
def running(durable_url: str, tmp_path: Path, apis: ProviderApis) -> Iterator[RunningBridge]:
    """Workers that pull, and no web process."""
    options: Json = {
        "timeout": 1.0,
        "settle_seconds": 0.5,
        "constants": BRIEF,
        "environ": KEYS | {"NEXT_RATE": "0"},
    }
    with running_bridge(tmp_path, durable_url, "--rate", "0", **options) as bridge:
        with (tmp_path / "bridge.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[providers.ethoca]\npull = "1s"\napi_url = "{apis.url("ethoca")}"\n')
        yield bridge


def each_is_there_once(bridge: RunningBridge, apis: ProviderApis, count: int) -> None:
    """Wait until all is pulled and done; each alert has one delivery and one dispute."""
    eventually(lambda: len(bridge.deliveries()) >= count and not apis.waiting.alerts)
    bridge.wait()
    wanted = sorted(alert(n)["alertId"] for n in range(count))
    assert sorted(row["event_id"] for row in bridge.deliveries()) == wanted
    assert sorted(one["case_number"] for one in bridge.disputes()) == wanted
    assert not [place for place, text in bridge.written() for one in SECRETS if one.encode() in text]


def test_workers_killed_between_pull_commit_and_acknowledgement_lose_and_double_nothing(
    running: RunningBridge, apis: ProviderApis
) -> None:
    for number, point in enumerate(POINTS):
        apis.add(alert(number))
        assert running.start_worker(at=point).wait() == -signal.SIGKILL, point
        assert (len(running.deliveries()), len(apis.waiting.alerts)) == POINTS[point], point
    running.start_worker()
    each_is_there_once(running, apis, len(POINTS))


def test_three_workers_and_a_restless_api_store_each_alert_once(
    running: RunningBridge, apis: ProviderApis
) -> None:
    apis.add(*(alert(n) for n in range(60)))
    apis.faults = [status(503), usual, lose, cut_off] * 2
    for _ in range(3):
        running.start_worker()
    each_is_there_once(running, apis, 60)
    assert apis.faults == []
