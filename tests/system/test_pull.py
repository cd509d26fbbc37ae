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

from bridge import cli, providers
from bridge.cli.doctor import examine
from bridge.errors import Unavailable
from bridge.settings import OAuthKeys, Route
from bridge.worker.checks import Check
from bridge.worker.notify import conditions, read_picture
from tests.conftest import MakeDatabase
from tests.support import ethoca
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY, HOUR, eventually
from tests.support.configuring import load, problems
from tests.support.ethoca import CONSUMER_KEY, KEYS, SECRETS, SIGNING_KEY, EthocaApi, Fault, alert, ethoca_api
from tests.support.inside import KEPT_DELIVERIES
from tests.support.next29 import STORE
from tests.support.processes import SHORT, RunningBridge, running_bridge
from tests.support.webhooks import FULL_CARD, Json

pytestmark = pytest.mark.both_databases

MINUTE = 60.0
FETCH, CONFIRM = "GET alerts", "POST alerts/acknowledges"


def pulling(api: EthocaApi, **changes: Any) -> Json:
    """Settings with which Ethoca's alerts are pulled, and nothing of Ethoca's is taken from outside."""
    known = providers.built_in()
    pull = known["ethoca"].pull
    assert pull
    known["ethoca"] = replace(known["ethoca"], pull=replace(pull, every=MINUTE, url=api.url))
    keys = {"ethoca": OAuthKeys(CONSUMER_KEY, SIGNING_KEY)}
    return {"providers": known, "api_keys": keys, "secrets": {"midigator": ("user:password",)}, **changes}


@dataclass
class Desk:
    """A bridge that pulls, and the API that it pulls from."""

    bridge: InProcessBridge
    api: EthocaApi
    logger: CapturingLogger = field(default_factory=CapturingLogger)
    turns: float = 0.0
    jobs: Any = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = self.bridge.inside.jobs()

    def pull(self, seconds: float = 0.0) -> list[tuple[str, str, Json]]:
        """Let time pass, and have a worker do its jobs; returns what it logged: level, event, the rest."""
        self.bridge.clock.sleep(seconds)
        self.turns += 100.0
        before = len(self.logger.calls)
        self.jobs.turn(self.turns)
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
        found = conditions(read_picture(self.bridge.database, self.bridge.settings))
        return [(one.title, one.text) for one in found if one.key == "pull:ethoca"]

    @property
    def checked(self) -> Check:
        """What `bridge doctor` says of the pull."""
        clock = self.bridge.clock
        (one,) = [
            one
            for one in examine(self.bridge.settings, self.bridge.database, clock=clock)
            if one.what == "ethoca: pull"
        ]
        return one


@pytest.fixture
def api() -> Iterator[EthocaApi]:
    with ethoca_api() as api:
        yield api


@pytest.fixture(autouse=True)
def longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait is as long as chance allows, so that nothing is tried again while a test still looks."""
    monkeypatch.setattr("random.Random.uniform", lambda _, __, longest: longest)


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    logger = CapturingLogger()
    monkeypatch.setattr("bridge.worker.pull.log", logger)
    monkeypatch.setattr("bridge.storage.intake.log", logger)
    return logger


@pytest.fixture
def desk(database_url: str, api: EthocaApi, logger: CapturingLogger) -> Iterator[Desk]:
    with bridge_in_process(database_url, **pulling(api)) as bridge:
        yield Desk(bridge, api, logger)


@pytest.fixture
def small(make_database: MakeDatabase, api: EthocaApi, logger: CapturingLogger) -> Iterator[Desk]:
    """The same on SQLite only, for what does not depend on the database."""
    with make_database("sqlite") as url, bridge_in_process(url, **pulling(api), timeout=1.0) as bridge:
        yield Desk(bridge, api, logger)


# --- as if pushed -------------------------------------------------------------------------------


def test_a_pulled_alert_opens_its_dispute_and_is_acknowledged_once_stored(desk: Desk) -> None:
    desk.api.add(alert(1))
    logged = desk.pull()
    assert desk.api.made == [FETCH, CONFIRM, FETCH]
    assert desk.api.calls[0].query == {"size": "25"}
    assert desk.api.calls[1].body == {"acknowledges": [{"alertId": alert(1)["alertId"], "status": "success"}]}
    assert (desk.api.alerts, [call.problem for call in desk.api.calls]) == ({}, [None] * 3)
    (row,) = desk.bridge.deliveries()
    assert (row["event_id"], row["event_type"]) == (alert(1)["alertId"], "CUSTOMERDISPUTE")
    said = {"provider": "ethoca", "delivery": row["id"], "deliveries": 1}
    assert logged == [("info", "webhook stored", said)]
    desk.bridge.work()
    (dispute,) = desk.bridge.disputes()
    assert (dispute["case_number"], dispute["amount"]) == (alert(1)["alertId"], "150.10")
    assert desk.bridge.delivery(row["id"])["status"] == "forwarded"


def test_what_is_pushed_and_pulled_counts_once(small: Desk) -> None:
    body = json.dumps(alert(1), separators=(", ", ": ")).encode()
    small.bridge.settings.secrets["ethoca"] = ("user:password",)  # type: ignore[index]
    small.api.add(alert(1))
    small.pull()
    answer = small.bridge.client.post("/webhooks/ethoca", data=body, auth=("user", "password"))
    assert (answer.status_code, answer.get_json()) == (200, {"status": "success"})
    small.bridge.work()
    assert len(small.bridge.disputes()) == 1


def test_card_numbers_are_cut_as_in_a_webhook(small: Desk) -> None:
    small.api.add(alert(1, cardNumber=FULL_CARD, note=f"card {FULL_CARD}"))
    small.pull()
    (row,) = small.bridge.deliveries()
    shown = small.bridge.client.get(f"/deliveries/{row['id']}").text
    assert FULL_CARD not in shown
    assert FULL_CARD[:6] in shown


def test_every_digit_of_an_alert_stays(small: Desk) -> None:
    number = "12345678901234567890.10"
    content = json.dumps({"alerts": [alert(1)]}).replace('"150.10"', number).encode()
    small.api.faults = [ethoca.says(content)]
    small.pull()
    assert number in small.bridge.client.get(f"/deliveries/{small.bridge.newest()}").text


def test_amounts_may_be_objects(small: Desk) -> None:
    small.api.add(
        alert(1, transactionAmount={"value": 12.5, "currencyCode": "EUR"}, transactionCurrency=None)
    )
    small.pull()
    small.bridge.work()
    (dispute,) = small.bridge.disputes()
    assert (dispute["amount"], dispute["currency"]) == ("12.50", "EUR")


def test_an_alert_that_cannot_be_translated_is_stored_and_acknowledged(small: Desk) -> None:
    small.api.add(alert(1, alertType="SOMETHING_NEW"), alert(2))
    small.pull()
    small.bridge.work()
    assert small.api.alerts == {}
    rows = {row["event_id"]: (row["status"], row["reason"]) for row in small.bridge.deliveries()}
    assert rows == {
        alert(1)["alertId"]: ("failed", "unknown_event"),
        alert(2)["alertId"]: ("forwarded", None),
    }


def test_a_pulled_alert_takes_its_route(make_database: MakeDatabase, api: EthocaApi) -> None:
    routes = (Route("beta", "ethoca", {"member_id": "7"}),)
    tokens = {"token-a": STORE, "token-b": "beta"}
    api.add(alert(1, memberId="7"), alert(2, memberId="8"))
    with (
        make_database("sqlite") as url,
        bridge_in_process(url, tokens=tokens, **pulling(api, routes=routes)) as bridge,
    ):
        Desk(bridge, api).pull()
        bridge.work()
        stores = {row["event_id"]: row["store"] for row in bridge.deliveries()}
    assert stores == {alert(1)["alertId"]: "beta", alert(2)["alertId"]: STORE}


@pytest.mark.parametrize("around", [lambda rows: rows, lambda rows: {"count": 1, "items": rows}])
def test_the_list_may_stand_alone_or_under_any_name(small: Desk, around: Callable[[Any], Any]) -> None:
    small.api.faults = [ethoca.says(json.dumps(around([alert(1)])).encode())]
    small.pull()
    assert small.ids() == [alert(1)["alertId"]]


# --- how often ----------------------------------------------------------------------------------


def test_it_is_pulled_at_its_interval_and_at_once_while_there_is_more(desk: Desk) -> None:
    desk.api.add(*(alert(n) for n in range(60)))
    desk.pull()
    assert desk.api.made == [FETCH, CONFIRM] * 3 + [FETCH]
    assert len(desk.ids()) == 60
    desk.pull(MINUTE - 1)
    assert len(desk.api.calls) == 7
    desk.api.add(alert(99))
    desk.pull(2)
    assert desk.api.made[7:] == [FETCH, CONFIRM, FETCH]


def test_a_day_s_outage_is_worked_off_in_one_pull(small: Desk) -> None:
    small.pull()
    small.api.faults = [ethoca.status(503)] * 200
    for _ in range(100):
        small.pull(DAY / 100)
    small.api.faults.clear()
    small.api.add(*(alert(n) for n in range(500)))
    small.pull(HOUR)
    assert (len(small.ids()), small.api.alerts) == (500, {})


def test_of_two_workers_one_pulls(desk: Desk) -> None:
    other = Desk(desk.bridge, desk.api)
    desk.pull()
    other.pull()
    assert desk.api.made == [FETCH]
    other.pull(MINUTE + 1)
    desk.pull()
    assert desk.api.made == [FETCH, FETCH]


def test_a_worker_that_stalls_past_its_turn_changes_nothing_of_the_next_one_s(desk: Desk) -> None:
    other = Desk(desk.bridge, desk.api)

    def stalls(request: ethoca.Request) -> bool:
        desk.bridge.clock.sleep(HOUR)
        other.pull()
        request.answer(503, {})
        return True

    desk.api.add(alert(1))
    desk.api.faults = [stalls]
    logged = desk.pull()
    assert desk.api.made == [FETCH, FETCH, CONFIRM, FETCH]
    assert (desk.api.alerts, desk.ids()) == ({}, [alert(1)["alertId"]])
    assert not [event for _, event, _ in logged if event == "alerts not pulled"]
    assert "Last error" not in desk.page


def test_two_workers_that_pull_the_same_store_it_once(desk: Desk) -> None:
    other = Desk(desk.bridge, desk.api)

    def stalls(request: ethoca.Request) -> bool:
        answer = request.usual()
        desk.bridge.clock.sleep(HOUR)
        other.pull()
        request.answer(*answer)
        return True

    desk.api.add(alert(1))
    desk.api.faults = [stalls]
    desk.pull()
    desk.bridge.work()
    assert (len(desk.ids()), len(desk.bridge.disputes())) == (1, 1)
    assert desk.api.made == [FETCH, FETCH, CONFIRM, FETCH, CONFIRM]


def test_a_turn_from_before_the_clock_was_set_back_is_over(desk: Desk) -> None:
    desk.pull()
    desk.pull(-DAY)
    assert desk.api.made == [FETCH, FETCH]


# --- nothing is lost, whatever goes wrong -------------------------------------------------------


def test_nothing_is_acknowledged_that_could_not_be_stored(
    small: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(*_: object) -> str:
        raise Unavailable

    small.api.add(alert(1))
    with monkeypatch.context() as patch:
        patch.setattr(*KEPT_DELIVERIES, keep)
        small.pull()
    assert small.api.made == [FETCH]
    small.pull(MINUTE)
    assert (small.ids(), small.api.alerts) == ([alert(1)["alertId"]], {})


def test_one_alert_that_breaks_the_bridge_keeps_no_other(
    small: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = KEPT_DELIVERIES
    keep = getattr(owner, name)

    def some(self: Any, webhook: Any, owed: Any) -> Any:
        assert alert(1)["alertId"] not in str(webhook.body)
        return keep(self, webhook, owed)

    monkeypatch.setattr(owner, name, some)
    small.api.add(alert(1), alert(2))
    small.pull()
    assert (small.ids(), list(small.api.alerts)) == ([alert(2)["alertId"]], [alert(1)["alertId"]])
    assert "alerts could not be stored, see the log (1)" in small.page


@pytest.mark.parametrize("fault", [ethoca.does_and_hangs_up, ethoca.hangs_up, ethoca.status(500)])
def test_an_acknowledgement_whose_answer_is_lost_is_made_again(desk: Desk, fault: Fault) -> None:
    desk.api.add(alert(1))
    desk.api.faults = [ethoca.usual, fault]
    desk.pull()
    assert desk.api.made == [FETCH, CONFIRM]
    desk.pull(HOUR)
    assert (desk.api.alerts, desk.ids()) == ({}, [alert(1)["alertId"]])
    assert "Last error" not in desk.page


FAULTS: dict[str, tuple[Fault, str]] = {
    "down": (ethoca.status(503), "Ethoca answered 503: You sent "),
    "no key": (ethoca.status(401), "(are ETHOCA_CONSUMER_KEY and ETHOCA_SIGNING_KEY right?)"),
    "forbidden": (ethoca.status(403), "(are ETHOCA_CONSUMER_KEY and ETHOCA_SIGNING_KEY right?)"),
    "not there": (ethoca.status(404), "Ethoca answered 404: You sent "),
    "a redirect": (ethoca.status(302, Location="https://example.com/"), "Ethoca answered 302: "),
    "HTML": (ethoca.says(b"<html>"), "Ethoca answered 200 without readable JSON."),
    "an HTML error": (ethoca.says(b"<html>", 502), "Ethoca answered 502: (no JSON)"),
    "half of it": (ethoca.says(b'{"alerts": [', length=500), "The connection to Ethoca broke"),
    "half of the JSON": (
        ethoca.says(b'{"alerts": [{"alertId"'),
        "Ethoca answered 200 without readable JSON.",
    ),
    "no list": (ethoca.says(b'{"alerts": null}'), "Ethoca answered without a list of alerts."),
    "a text": (ethoca.says(b'"alerts"'), "Ethoca answered without a list of alerts."),
    "hung up": (ethoca.hangs_up, "The connection to Ethoca broke"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_fails_is_logged_once_and_shown_and_tried_again(small: Desk, name: str) -> None:
    fault, said = FAULTS[name]
    small.api.add(alert(1))
    small.api.faults = [fault] * 3
    # once, though an answer that repeats what was sent differs each time
    ((level, event, more),) = [one for _ in range(3) for one in small.pull(HOUR)]
    assert (level, event, more["provider"]) == ("warning", "alerts not pulled", "ethoca")
    assert said in more["why"]
    assert said.partition("(are")[0] in small.page
    assert not small.ids()
    recovered = [("info", "webhook stored"), ("info", "alerts pulled again")]
    assert [one[:2] for one in small.pull(HOUR)] == recovered
    assert "Last error" not in small.page
    assert small.ids() == [alert(1)["alertId"]]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"alerts": []}'])
def test_an_empty_answer_is_no_error(small: Desk, content: bytes) -> None:
    small.api.faults = [ethoca.says(content)]
    small.pull()
    assert "Last error" not in small.page
    assert not small.ids()


def test_a_pause_that_ethoca_asks_for_is_kept(small: Desk) -> None:
    small.api.faults = [ethoca.status(429, Retry_After="200")]
    small.pull()
    small.pull(190)
    assert small.api.made == [FETCH]
    small.pull(20)
    assert small.api.made == [FETCH, FETCH]


def test_what_goes_on_failing_is_tried_less_and_less(small: Desk) -> None:
    small.api.faults = [ethoca.status(503)] * 10_000
    for _ in range(4 * 60):
        small.pull(15)
    assert 9 <= len(small.api.calls) <= 14


def test_an_alert_without_an_id_is_stored_and_keeps_no_other(small: Desk) -> None:
    small.api.unsaid = [{"alertType": "CUSTOMERDISPUTE", "alertId": None}, "no alert"]
    small.api.add(alert(1), alert(2))
    small.pull()
    small.pull(HOUR)
    assert (len(small.ids()), small.api.alerts) == (4, {})
    assert "alerts have no id, so they cannot be acknowledged (2)" in small.page


def test_alerts_that_come_again_though_acknowledged_do_not_spin(small: Desk) -> None:
    small.api.add(alert(1))
    small.api.faults = [ethoca.usual, ethoca.forgets]
    small.pull()
    assert small.api.made == [FETCH, CONFIRM, FETCH]
    assert "alerts came again although they were acknowledged (1)" in small.page
    small.pull(HOUR)
    assert small.api.alerts == {}


def test_an_acknowledgement_that_is_not_taken_is_said(small: Desk) -> None:
    failed = {"alertId": "x", "status": "FAILURE", "errors": [{"ReasonCode": "TOO_EARLY"}]}
    small.api.add(alert(1))
    small.api.faults = [ethoca.usual, ethoca.says(json.dumps({"acknowledgeResponses": [failed]}).encode())]
    small.pull()
    assert "alerts were not accepted as acknowledged" in small.page
    assert "TOO_EARLY" in small.page
    assert len(small.api.calls) == 3


# --- what a person sees -------------------------------------------------------------------------


def test_the_page_and_the_doctor_say_when_the_last_pull_was(small: Desk) -> None:
    assert "Pulled every" in small.page
    assert not small.checked.good
    assert "the key works; last pull never" in small.checked.said
    calls = len(small.api.calls)
    small.api.add(alert(1))
    small.pull()
    checked = small.checked
    assert (checked.good, checked.said) == (True, "the key works; last pull 2026-03-01 12:00 UTC")
    assert {call.said for call in small.api.calls[:calls]} == {FETCH}
    assert "/webhooks/ethoca" not in small.page.partition("<h2>Verifi")[0]


def test_the_doctor_tries_the_key_and_takes_nothing(small: Desk) -> None:
    small.api.add(alert(1))
    small.api.faults = [ethoca.status(401)]
    checked = small.checked
    assert not checked.good
    assert "are ETHOCA_CONSUMER_KEY and ETHOCA_SIGNING_KEY right?" in checked.said
    assert (list(small.api.alerts), small.ids()) == ([alert(1)["alertId"]], [])


def test_a_pull_that_fails_for_long_is_told_and_its_end_too(small: Desk) -> None:
    small.pull()
    small.api.faults = [ethoca.status(503)] * 100
    small.pull(MINUTE + 1)
    small.pull(13 * MINUTE)
    assert small.alarms == []
    small.pull(3 * MINUTE)
    ((title, text),) = small.alarms
    assert title == "ethoca has not been pulled for 17 min"
    assert text.startswith("Ethoca answered 503")
    small.api.faults.clear()
    small.pull(HOUR)
    assert small.alarms == []


def test_no_key_stands_anywhere(small: Desk, capfd: pytest.CaptureFixture[str]) -> None:
    small.api.add(alert(1))
    small.api.faults = [ethoca.status(401), ethoca.status(500), ethoca.usual, ethoca.status(400)]
    logged = [small.pull(HOUR) for _ in range(4)]
    shown = [str(logged), small.page, small.checked.said, str(small.alarms), repr(small.bridge.settings)]
    file = Path(small.bridge.settings.database_url.removeprefix("sqlite:///"))
    shown += [path.read_bytes().decode("latin-1") for path in file.parent.glob(f"{file.name}*")]
    shown += capfd.readouterr()
    assert not [secret for secret in SECRETS for text in shown if secret in text]


# --- the settings -------------------------------------------------------------------------------

PULL = '[providers.ethoca]\npull = "1m"'


def test_a_pull_is_read_and_wants_its_keys() -> None:
    read = load(PULL, **KEYS)
    pull = read.pulled["ethoca"]
    assert (pull.every, pull.url) == (60.0, "https://api.ethocaweb.com/ethoca/alerts/merchants/")
    assert read.is_on("ethoca")
    assert (
        load(f'{PULL}\napi_url = "https://sandbox.example.com/x"', **KEYS)
        .pulled["ethoca"]
        .url.endswith("/x/")
    )
    assert load(**KEYS).pulled == {}
    assert load('[providers.ethoca]\npull = "1s"', **KEYS).pulled["ethoca"].every == 1.0
    assert problems(PULL) == [
        "ETHOCA_CONSUMER_KEY: missing, though providers.ethoca.pull is on",
        "ETHOCA_SIGNING_KEY: missing, though providers.ethoca.pull is on",
    ]


A_TIME = 'expected a time such as "30s", "1m" or "1h"'


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("pull = 60", f"providers.ethoca.pull: {A_TIME}, in quotes"),
        ("pull = true", f"providers.ethoca.pull: {A_TIME}, in quotes"),
        ('pull = "0s"', f"providers.ethoca.pull: {A_TIME}"),
        ('pull = "1.5s"', f"providers.ethoca.pull: {A_TIME}"),
        ('pull = "often"', f"providers.ethoca.pull: {A_TIME}"),
        ('deadline = "30s"', 'providers.ethoca.deadline: expected a time such as "20h", "90m" or "3d"'),
    ],
)
def test_a_mistake_about_the_pull_is_told(toml: str, said: str) -> None:
    assert problems(f"[providers.ethoca]\n{toml}", **KEYS) == [said]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('["{id}"]', ["1", "2"]),
        ('{"ids": ["{id}"], "by": "me"}', {"ids": ["1", "2"], "by": "me"}),
        ('{"a": {"b": [{"id": "x{id}", "n": 1, "l": ["{id}"]}]}}', None),
    ],
)
def test_the_acknowledgement_can_be_another(given: str, sent: Json | None) -> None:
    pull = load(f"{PULL}\npull_acknowledgement = '{given}'", **KEYS).pulled["ethoca"]
    rows = [{"id": f"x{one}", "n": 1, "l": [one]} for one in ("1", "2")]
    assert pull.body(["1", "2"]) == (sent or {"a": {"b": rows}})


@pytest.mark.parametrize("given", ["", "{id}", '{"id": "{id}"}', '{"ids": ["id"]}', "[", "[]", "1"])
def test_an_acknowledgement_that_names_no_alert_is_refused(given: str) -> None:
    (said,) = problems(f"{PULL}\npull_acknowledgement = '{given}'", **KEYS)
    assert said.startswith(
        "providers.ethoca.pull_acknowledgement: expected JSON with a list that has {id} in it"
    )


def test_a_provider_that_cannot_be_pulled_is_said_to() -> None:
    (said,) = problems('[providers.verifi]\npull = "1m"')
    assert said == (
        "providers.verifi.pull: not for this provider: the bridge does not know how to pull its alerts"
    )


def test_the_keys_go_nowhere_odd() -> None:
    (said,) = problems(f'{PULL}\napi_url = "http://example.com/"', **KEYS)
    assert said.startswith("providers.ethoca.api_url: expected https:// and a host's name")


def test_bridge_providers_says_what_is_pulled(
    make_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bridge.toml").write_text(PULL, encoding="utf-8")
    with make_database("sqlite") as url:
        given = {"DATABASE_URL": url, "BRIDGE_CONFIG": str(tmp_path / "bridge.toml"), **KEYS}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert cli.main(["providers", "--json"]) == 0
    rows = {row["provider"]: row["pulled"] for row in json.loads(capsys.readouterr().out)["results"]}
    assert (rows["ethoca"], rows["verifi"]) == ("every 60 s", None)


@pytest.mark.parametrize("command", ["worker", "doctor", "providers"])
def test_keys_that_do_not_work_end_every_command_at_once_and_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("ETHOCA_SIGNING_KEY", KEYS["ETHOCA_SIGNING_KEY"][:900])
    monkeypatch.setenv("ETHOCA_CONSUMER_KEY", f"{CONSUMER_KEY} ")
    monkeypatch.setenv("NEXT_RATE", "often")
    assert cli.main([command]) == 2
    said = capsys.readouterr()
    assert [line.partition(":")[0] for line in said.err.splitlines()[-2:]] == [
        "NEXT_RATE",
        "ETHOCA_SIGNING_KEY",
    ]
    assert not [secret for secret in SECRETS if secret in said.out + said.err]


# --- processes ----------------------------------------------------------------------------------

POINTS = ("before the webhook's commit", "after the webhook's commit", "before the POST", "after the POST")
BRIEF = {**SHORT, "SHUTDOWN_SECONDS": -4.5}


@pytest.fixture
def running(durable_url: str, tmp_path: Path, api: EthocaApi) -> Iterator[RunningBridge]:
    """Workers that pull, and no web process."""
    options = {"timeout": 1.0, "settle_seconds": 0.5, "constants": BRIEF, "environ": KEYS}
    with running_bridge(tmp_path, durable_url, "--rate", "0", **options) as bridge:
        with (tmp_path / "bridge.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[providers.ethoca]\npull = "1s"\napi_url = "{api.url}"\n')
        yield bridge


def each_is_there_once(bridge: RunningBridge, api: EthocaApi, count: int) -> None:
    """Wait until all is pulled and done; each alert has one delivery and one dispute."""
    eventually(lambda: len(bridge.deliveries()) >= count and not api.alerts)
    bridge.wait()
    wanted = sorted(alert(n)["alertId"] for n in range(count))
    assert sorted(row["event_id"] for row in bridge.deliveries()) == wanted
    assert sorted(one["case_number"] for one in bridge.disputes()) == wanted
    assert not [place for place, text in bridge.written() for one in SECRETS if one.encode() in text]


def test_workers_killed_between_pull_commit_and_acknowledgement_lose_and_double_nothing(
    running: RunningBridge, api: EthocaApi
) -> None:
    for number, point in enumerate(POINTS):
        worker = running.start_worker(at=point)
        api.add(alert(number))
        assert worker.wait() == -signal.SIGKILL, point
        stored = {row["event_id"] for row in running.deliveries()}
        gone = {alert(n)["alertId"] for n in range(number + 1)} - set(api.alerts)
        assert gone <= stored, point
    running.start_worker()
    each_is_there_once(running, api, len(POINTS))


def test_three_workers_and_a_restless_api_store_each_alert_once(
    running: RunningBridge, api: EthocaApi
) -> None:
    api.add(*(alert(n) for n in range(60)))
    api.faults = [ethoca.status(503), ethoca.usual, ethoca.does_and_hangs_up, ethoca.hangs_up] * 3
    for _ in range(3):
        running.start_worker()
    each_is_there_once(running, api, 60)
