"""Outcomes: what providers are told of how their alerts ended, whom, when, and how often."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bridge import cli, providers
from bridge.cli.doctor import examine
from bridge.errors import Unavailable
from bridge.providers.base import Provider
from bridge.storage.shapes import WholeCase
from bridge.worker.notify import conditions, read_picture
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import DAY, HOUR, eventually
from tests.support.configuring import load, problems
from tests.support.inside import KEPT_OUTCOMES
from tests.support.next29 import STORE
from tests.support.webhooks import PASSWORDS, Json, Sent

pytestmark = pytest.mark.both_databases

KEYS = {"midigator": "canary-api-secret-of-midigator", "chargeblast": "canary-api-key-of-chargeblast"}
WHSEC = "whsec_" + base64.b64encode(b"a made-up signing key of 32 byte").decode()
GUID = "pre_0001"


# --- a provider's API ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Called:
    """One request that the providers' API got."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Api(ThreadingHTTPServer):
    """What both providers have: a login, alerts with their state, and whatever faults are wanted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.calls: list[Called] = []
        self.states: dict[str, str] = {}  # Chargeblast's reason codes by alert
        self.faults: list[Callable[[_Request], bool]] = []  # for the next tellings; True: nothing more
        self.keys = set(KEYS.values())
        self.tokens: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def made(self) -> list[str]:
        return [f"{call.method} {call.path}" for call in self.calls]

    @property
    def tellings(self) -> list[Called]:
        """The calls that tell an outcome."""
        return [call for call in self.calls if call.method == "POST" and "auth" not in call.path]


class _Request(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._serve(json.loads(content) if content else None)

    def _serve(self, body: Any) -> None:
        api = self.server
        assert isinstance(api, Api)
        headers = {name.lower(): value for name, value in self.headers.items()}
        api.calls.append(Called(self.command, self.path, headers, body))
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if self.path == "/auth/v1/auth":
            if given not in api.keys:
                return self.answer(401, {"message": "Unauthorized"})
            api.tokens.append(f"canary-token-{len(api.tokens) + 1}")
            return self.answer(200, {"token": api.tokens[-1]})
        if given not in api.keys and given not in api.tokens[-1:]:
            return self.answer(401, {"message": "Unauthorized"})
        ident = self.path.rpartition("/")[2]
        if self.command == "GET":
            state = api.states.get(ident, "None")
            return self.answer(200, {"alert": {"id": ident, "reasonCode": state, "card": "4111111111111111"}})
        if api.faults and api.faults.pop(0)(self):
            return None
        if api.states.get(ident, "None") != "None":
            return self.answer(400, {"message": "The alert was actioned already"})
        if body and "result" in body:
            api.states[ident] = body["result"]
        return self.answer(200, 1)

    def answer(self, status: int, said: Any, **headers: str) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def status(number: int, **headers: str) -> Callable[[_Request], bool]:
    """Answer with an error."""

    def fault(request: _Request) -> bool:
        sent = request.headers.get("X-API-Key") or request.headers["Authorization"]
        request.answer(number, {"message": f"made-up {number}", "you sent": sent}, **headers)
        return True

    return fault


def cut_off(request: _Request) -> bool:
    """Take the request, and hang up."""
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)
    return True


def take_and_cut_off(request: _Request) -> bool:
    """Do what is asked, and hang up."""
    assert isinstance(request.server, Api)
    request.server.states[request.path.rpartition("/")[2]] = "Resolved"
    return cut_off(request)


@pytest.fixture(autouse=True)
def longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait is as long as chance allows, so that nothing is tried again while a test still looks."""
    monkeypatch.setattr("random.Random.uniform", lambda _, __, longest: longest)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# --- the bridge before it -----------------------------------------------------------------------


def told(api: Api, *names: str) -> Json:
    """Settings in which some providers are told."""
    known: dict[str, Provider] = providers.built_in()
    for name in names:
        outcome = known[name].outcome
        assert outcome
        known[name] = replace(known[name], outcome=replace(outcome, on=True, url=api.url))
    secrets = {name: (f"{name}:{password}",) for name, password in PASSWORDS.items()}
    secrets |= {"next": ("the-secret-of-29next",), "chargeblast": (WHSEC,)}
    return {"providers": known, "secrets": secrets, "api_keys": {name: KEYS[name] for name in names}}


@dataclass
class Office:
    """A bridge that tells outcomes, and the API that it tells."""

    bridge: InProcessBridge
    api: Api
    turns: float = 0.0
    chores: Any = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Be another worker, which knows only what the database knows."""
        self.chores = self.bridge.inside.jobs()

    def work(self, times: int = 3) -> None:
        """Forward what there is, and take some turns of the chores."""
        self.bridge.work()
        for _ in range(times):
            self.turns += 100.0
            self.chores.turn(self.turns)

    def later(self, seconds: float) -> None:
        """Let time pass, and work."""
        self.bridge.clock.sleep(seconds)
        self.work()

    def prevention(self, **changes: Any) -> Sent:
        """Post Midigator's alert and open its dispute."""
        sent = self.bridge.senders.prevention(**{"prevention_guid": GUID, **changes})
        self.bridge.post(sent)
        self.work()
        return sent

    def chargeblast(self, event: str = "alert.created", ident: str = "al_1", **changes: Any) -> str:
        """Post Chargeblast's alert and open its dispute; returns its case number."""
        body = {
            "id": ident,
            "alertId": ident,
            "alertType": "FRAUD",
            "subprovider": "Ethoca",
            "amount": 21.5,
            "currency": "usd",
            "createdAt": "2026-03-01 11:31:08.114000Z",
            **changes,
        }
        content = json.dumps(body).encode()
        proof = self.bridge.settings.providers["chargeblast"].proof
        name = f"msg_{event}_{ident}_{len(self.bridge.deliveries())}"
        signed = proof.sign(content, WHSEC, datetime.now(UTC))
        headers = {"X-Event-Type": event, **signed}
        answer = self.bridge.client.post("/webhooks/chargeblast", data=content, headers=headers)
        assert answer.status_code == 200, (name, answer.text)
        self.work()
        return ident

    def resolve(self, case: Sent | str, resolution: str = "issued_full_refund", **more: str) -> Json:
        """Resolve the dispute of a case at 29next, which says so by its webhook."""
        ident = self.bridge.case(case)["dispute_id"]
        self.bridge.api.resolve_dispute(ident, {"resolution": resolution, **more})
        row: Json = self.bridge.api.retrieve_dispute(ident)
        self.bridge.tell("dispute.updated", row)
        self.work()
        return row

    def outcome(self, case: Sent | str) -> Json:
        """The only outcome of a case."""
        (one,) = self.bridge.case(case)["outcomes"]
        return dict(one)

    @property
    def alarms(self) -> list[tuple[str, str, str]]:
        """What a person is told about outcomes."""
        found = conditions(read_picture(self.bridge.database, self.bridge.settings))
        return [(one.title, one.text, one.path) for one in found if one.key.startswith("untold:")]

    @property
    def checked(self) -> tuple[str, bool, str]:
        """What `bridge doctor` says of Midigator's outcomes."""
        (one,) = [
            one
            for one in examine(self.bridge.settings, self.bridge.database)
            if one.what.endswith("r: outcomes")
        ]
        return one.what, one.good, one.said


@pytest.fixture
def office(database_url: str, api: Api) -> Iterator[Office]:
    with bridge_in_process(database_url, **told(api, "midigator", "chargeblast")) as made:
        yield Office(made, api)


@pytest.fixture
def small(make_database: MakeDatabase, api: Api) -> Iterator[Office]:
    """The same on SQLite only, for what does not depend on the database."""
    with (
        make_database("sqlite") as url,
        bridge_in_process(url, **told(api, "midigator", "chargeblast"), timeout=2.0) as made,
    ):
        yield Office(made, api)


# --- told once ----------------------------------------------------------------------------------


def test_what_29next_resolved_is_told_to_midigator_once(office: Office) -> None:
    sent = office.prevention()
    assert office.bridge.case(sent)["outcomes"] == []
    row = office.resolve(sent)
    assert office.api.made == ["POST /auth/v1/auth", f"POST /prevention/v1/prevention/{GUID}/resolution"]
    login, telling = office.api.calls
    assert login.headers["authorization"] == f"Bearer {KEYS['midigator']}"
    assert telling.headers["authorization"] == "Bearer canary-token-1"
    assert telling.body == {"resolution_type": "issued_full_refund", "other_description": ""}
    one = office.outcome(sent)
    assert (one["provider"], one["state"], one["resolution"]) == ("midigator", "told", "issued_full_refund")
    assert (one["tries"], one["due_at"], one["message"]) == (1, None, None)
    office.bridge.tell("dispute.updated", row)
    office.restart()
    office.later(8 * DAY)
    assert len(office.api.calls) == 2
    assert office.alarms == []


def test_a_person_s_reason_goes_with_other(small: Office) -> None:
    sent = small.prevention()
    small.resolve(sent, "other", resolution_other_message="The customer has written to us.")
    (telling,) = small.api.tellings
    assert telling.body == {
        "resolution_type": "other",
        "other_description": "The customer has written to us.",
    }


def test_chargeblast_is_asked_first_and_told_in_its_own_words(small: Office) -> None:
    case = small.chargeblast()
    small.resolve(case, "could_not_find_order")
    assert small.api.made == ["GET /api/v2/alert/al_1", "POST /api/v2/alerts/update/al_1"]
    assert small.api.calls[1].headers["x-api-key"] == KEYS["chargeblast"]
    assert small.api.calls[1].body == {"result": "UnmatchedCannotFindTransaction"}
    assert small.outcome(case)["state"] == "told"


def test_a_vague_resolution_is_never_told_as_a_decline_and_waits_for_a_person(office: Office) -> None:
    case = office.chargeblast()
    office.resolve(case, "other", resolution_other_message="The customer has written to us.")
    office.later(8 * DAY)
    assert office.api.tellings == []
    one = office.outcome(case)
    assert (one["state"], one["due_at"]) == ("failed", None)
    assert "could decline" in one["message"]
    assert len(office.alarms) == 1

    office.bridge.inside.tell_again(office.bridge.case(case)["id"])
    office.work()

    assert office.api.tellings == []
    assert office.outcome(case)["state"] == "failed"


def test_the_rest_refunded_is_told_as_a_refund_which_alone_stops_the_issuer(small: Office) -> None:
    case = small.chargeblast()
    small.resolve(case, "issued_refund_for_remaining_amount")
    assert [call.body for call in small.api.tellings] == [{"result": "Resolved"}]

    small.api.states = {"al_2": "Resolved"}
    again = small.chargeblast(ident="al_2")
    small.resolve(again, "issued_refund_for_remaining_amount")

    assert len(small.api.tellings) == 1
    assert small.outcome(again)["state"] == "told"


def test_every_call_is_shown_without_its_secrets(small: Office) -> None:
    sent, other = small.prevention(), small.chargeblast()
    small.resolve(sent)
    small.resolve(other)
    case = small.bridge.case(sent)
    calls = [one for one in case["attempts"] if "://" in one["path"]]
    assert [(one["method"], one["outcome"], one["status"]) for one in calls] == [("POST", "ok", 200)] * 2
    assert calls[1]["path"] == f"{small.api.url}prevention/v1/prevention/{GUID}/resolution"
    assert calls[1]["request"]["resolution_type"] == "issued_full_refund"
    read = next(one for one in small.bridge.case(other)["attempts"] if "/alert/" in one["path"])
    assert read["response"] == "alert.reasonCode: None"  # and nothing else of the customer
    assert "canary" not in json.dumps(case)
    answer = small.bridge.client.get(
        f"/api/cases/{case['id']}", headers={"Authorization": "Bearer the-token-of-the-api"}
    )
    assert answer.json
    assert answer.json["outcomes"] == case["outcomes"]
    assert WholeCase().validate(answer.json) == {}


def test_a_key_that_a_provider_echoes_is_shown_nowhere(small: Office) -> None:
    small.api.faults += [status(400), status(400)]
    for sent in (small.prevention(), small.chargeblast()):
        small.resolve(sent)
        case = small.bridge.case(sent)
        assert "made-up 400" in json.dumps(case["attempts"])
        assert "canary" not in json.dumps(case)


def test_an_alert_that_comes_after_its_dispute_was_resolved_is_told_of(office: Office) -> None:
    row = office.bridge.api.create_dispute(
        {
            "type": "alert",
            "case_number": "M-1",
            "amount": "5.00",
            "currency": "USD",
        }
    )
    office.bridge.api.resolve_dispute(row["id"], {"resolution": "issued_full_refund"})
    office.bridge.tell("dispute.updated", office.bridge.api.retrieve_dispute(row["id"]))
    office.work()
    assert office.api.calls == []
    sent = office.prevention(case="M-1")
    assert office.outcome(sent)["state"] == "told"


def test_what_another_provider_tells_is_told_on(small: Office) -> None:
    sent = small.prevention(case="V-1")
    small.bridge.post(small.bridge.senders.verifi(case="V-1", eventType="RDR", caseStatus="ACCEPTED"))
    small.bridge.settle()
    small.work()
    assert small.bridge.case(sent)["providers"] == ["midigator", "verifi"]
    assert [call.body["resolution_type"] for call in small.api.tellings] == ["issued_full_refund"]


def test_a_provider_whose_alert_is_a_duplicate_is_told_as_well(office: Office) -> None:
    sale = office.bridge.next29.add_transaction(
        STORE, amount="40.00", currency="USD", bankcard_first_six="424242", bankcard_last_four="0042",
        auth_code="A00001", date_created="2026-02-28T12:00:00+00:00",
    )  # fmt: skip
    facts = {"amount": 40.0, "card_first_6": "424242", "card_last_4": "0042"}
    facts |= {"prevention_timestamp": "2026-03-01T10:00:00Z", "transaction_timestamp": "2026-02-28T12:00:00Z"}
    first = office.prevention(**facts)
    second = office.prevention(**facts, prevention_guid="pre_0002")
    assert office.bridge.case(first)["transaction_id"] == sale["id"]
    assert office.bridge.case(second)["state"] == "duplicate"
    office.resolve(first)
    assert sorted(call.path.split("/")[4] for call in office.api.tellings) == [GUID, "pre_0002"]
    assert office.outcome(second)["state"] == "told"


# --- not told -----------------------------------------------------------------------------------


def test_a_provider_is_not_told_what_it_told_itself(small: Office) -> None:
    small.bridge.post(small.bridge.senders.rdr(prevention_guid=GUID))
    small.chargeblast("alert.refunded", "al_1")
    small.chargeblast("alert.created", "al_2")
    small.chargeblast("alert.updated", "al_2", reasonCode="Resolved")
    small.later(60)
    assert small.bridge.case("al_2")["resolution"]
    assert small.api.calls == []


def test_a_provider_that_answers_for_itself_meanwhile_is_not_told(office: Office) -> None:
    office.api.faults = [status(503)]
    case = office.chargeblast()
    office.resolve(case)
    before = len(office.api.calls)
    office.chargeblast("alert.updated", reasonCode="Resolved")
    office.later(HOUR)
    assert len(office.api.calls) == before
    assert office.bridge.case(case)["outcomes"] == []


def test_a_chargeback_and_an_alert_without_its_id_are_not_told(small: Office) -> None:
    chargeback = small.bridge.senders.chargeback()
    small.bridge.post(chargeback)
    bare = small.bridge.senders.prevention()
    small.bridge.post(bare)
    small.bridge.work()
    small.resolve(bare)
    dispute = small.bridge.case(chargeback)["dispute_id"]
    small.bridge.api.resolve_dispute(dispute, {"resolution": "won"})
    small.bridge.tell("dispute.updated", small.bridge.api.retrieve_dispute(dispute))
    small.later(60)
    assert small.bridge.case(chargeback)["resolution"] == "won"
    assert small.api.calls == []


@pytest.mark.parametrize("why", ["off", "observed"])
def test_nobody_is_told_by_default_or_of_an_observed_store(
    make_database: MakeDatabase, api: Api, why: str
) -> None:
    also = told(api, "midigator") if why == "observed" else told(api)
    with (
        make_database("sqlite") as url,
        bridge_in_process(url, **also, store={"observe": why == "observed"}) as made,
    ):
        office = Office(made, api)
        sent = office.prevention()
        facts = {"amount": "5.00", "currency": "USD"}
        number = office.bridge.case(sent)["case_number"]
        if why == "observed":  # another service opens it
            made.api.create_dispute({"type": "alert", "case_number": number, **facts})
        (row,) = made.disputes()
        made.api.resolve_dispute(row["id"], {"resolution": "issued_full_refund"})
        made.tell("dispute.updated", made.api.retrieve_dispute(row["id"]))
        office.later(60)
        assert made.case(sent)["resolution"] == "issued_full_refund"
        assert made.case(sent)["outcomes"] == []
    assert api.calls == []


def test_a_dispute_that_is_open_again_is_not_told_of_until_it_is_resolved(small: Office) -> None:
    small.api.faults = [status(503)]
    sent = small.prevention()
    row = small.resolve(sent)
    small.bridge.next29.stores[STORE].disputes.by_id[row["id"]] |= {
        "status": "open",
        "resolution": None,
    }
    small.bridge.tell("dispute.updated", small.bridge.api.retrieve_dispute(row["id"]))
    small.later(HOUR)
    assert len(small.api.tellings) == 1
    assert small.bridge.case(sent)["outcomes"] == []
    small.resolve(sent, "could_not_find_order")
    assert small.outcome(sent)["resolution"] == "could_not_find_order"


# --- again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [status(503), status(429, Retry_After="30"), cut_off])
def test_what_does_not_work_is_tried_again_until_it_is_told(
    office: Office, fault: Callable[[_Request], bool]
) -> None:
    office.api.faults = [fault, fault]
    sent = office.prevention()
    office.resolve(sent)
    one = office.outcome(sent)
    assert one["state"] == "owed"
    assert one["due_at"]
    assert one["message"]
    office.restart()
    for _ in range(5):
        office.later(60)
    assert office.outcome(sent)["state"] == "told"
    assert len(office.api.tellings) == 3
    said = [one["outcome"] for one in office.bridge.case(sent)["attempts"] if "prevention" in one["path"]]
    assert said[-1] == "ok"
    assert set(said[:-1]) <= {"unclear", "throttled"}


def test_retry_after_is_heeded(small: Office) -> None:
    small.api.faults = [status(429, Retry_After="120")]
    sent = small.prevention()
    small.resolve(sent)
    small.later(100)
    assert len(small.api.tellings) == 1
    small.later(60)
    assert small.outcome(sent)["state"] == "told"


def test_an_api_that_hangs_is_left_in_time_and_that_cannot_be_reached_is_tried_again(small: Office) -> None:
    release = threading.Event()
    small.api.faults = [lambda _: release.wait(20)]
    sent = small.prevention()
    small.resolve(sent)
    release.set()
    assert small.outcome(sent)["message"] == "Midigator did not answer within 2 s."
    small.later(60)
    assert small.outcome(sent)["state"] == "told"
    small.api.server_close()
    other = small.prevention(prevention_guid="pre_9")
    small.resolve(other)
    assert small.outcome(other)["state"] == "owed"
    assert "cannot be reached" in small.outcome(other)["message"]


def test_an_answer_that_was_lost_is_read_back_and_nothing_is_doubled(office: Office) -> None:
    office.api.faults = [take_and_cut_off]
    case = office.chargeblast()
    office.resolve(case)
    assert office.outcome(case)["state"] == "owed"
    office.later(60)
    assert len(office.api.tellings) == 1
    one = office.outcome(case)
    assert (one["state"], one["message"]) == ("told", "It has Resolved already.")


def test_a_worker_that_dies_after_the_telling_leaves_it_to_the_next(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> bool:
        raise Unavailable

    case = office.chargeblast()
    with monkeypatch.context() as dying:
        dying.setattr(*KEPT_OUTCOMES, die)
        office.resolve(case)
    assert office.outcome(case)["state"] == "owed"
    office.restart()
    office.later(30)
    assert len(office.api.calls) == 2  # it is leased still
    office.later(HOUR)
    assert len(office.api.tellings) == 1
    assert office.outcome(case)["state"] == "told"


def test_two_workers_tell_it_once(small: Office) -> None:
    release, started = threading.Event(), threading.Event()

    def slow(_: _Request) -> bool:
        started.set()
        release.wait(10)
        return False

    sent = small.prevention()
    small.api.faults = [slow]
    small.bridge.settings = replace(small.bridge.settings, timeout=10.0)
    small.restart()
    dispute = small.bridge.case(sent)["dispute_id"]
    small.bridge.api.resolve_dispute(dispute, {"resolution": "issued_full_refund"})
    small.bridge.tell("dispute.updated", small.bridge.api.retrieve_dispute(dispute))
    small.bridge.work()
    first = threading.Thread(target=small.work)
    first.start()
    assert started.wait(10)
    other = small.bridge.inside.jobs()
    other.turn(0.0)
    release.set()
    first.join()
    assert len(small.api.tellings) == 1
    assert small.outcome(sent)["state"] == "told"


def test_the_worker_s_own_threads_tell_it(small: Office) -> None:
    sent = small.prevention()
    stopping = threading.Event()
    thread = threading.Thread(target=small.chores.run, args=(stopping,))
    thread.start()
    small.turns = -1e9  # the threads are to do it
    small.resolve(sent)
    eventually(lambda: small.outcome(sent)["state"] == "told", 10)
    stopping.set()
    thread.join(10)
    assert len(small.api.tellings) == 1


# --- a person -----------------------------------------------------------------------------------


def test_a_wrong_key_is_said_and_it_goes_on_by_itself_once_it_is_right(small: Office) -> None:
    small.api.keys = set()
    sent = small.prevention()
    small.resolve(sent)
    one = small.outcome(sent)
    assert one["state"] == "failed"
    assert one["message"] == "Midigator answered 401: message: Unauthorized (is MIDIGATOR_API_KEY right?)"
    path = f"/cases/{small.bridge.case(sent)['id']}"
    assert small.alarms == [("1 outcome could not be sent to midigator", one["message"], path)]
    assert small.checked == ("midigator: outcomes", False, f"1 could not be sent; {one['message']}")
    small.api.keys = set(KEYS.values())
    small.later(2 * HOUR)
    assert small.outcome(sent)["state"] == "told"
    assert small.alarms == []
    assert small.checked == ("midigator: outcomes", True, "all sent")


def test_a_token_that_has_run_out_is_replaced_at_once(small: Office) -> None:
    small.resolve(small.prevention())
    small.api.tokens.append("another")  # the one before counts no more
    second = small.prevention(prevention_guid="pre_2")
    small.resolve(second)
    assert small.outcome(second)["state"] == "told"
    assert [path for path in small.api.made if "auth" in path] == ["POST /auth/v1/auth"] * 2


def test_what_is_refused_is_a_person_s_and_can_be_told_again(
    make_database: MakeDatabase, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.faults = [status(400), status(400)]
    also = told(api, "midigator") | {"on_loopback": True}
    with make_database("sqlite") as url, bridge_in_process(url, **also) as made:
        office = Office(made, api)
        sent = office.prevention()
        office.resolve(sent)
        office.later(8 * DAY)
        assert len(api.tellings) == 1
        ident = made.case(sent)["id"]
        shown = made.client.get(f"/cases/{ident}", headers={"Accept": "text/html"}).text
        assert "Midigator answered 400: message: made-up 400" in shown
        token = shown.split('name="form_token" value="')[1].split('"')[0]
        answer = made.client.post(f"/cases/{ident}/tell", data={"form_token": token})
        assert answer.status_code == 303
        office.work()
        assert len(api.tellings) == 2
        assert office.outcome(sent)["state"] == "failed"
        monkeypatch.setenv("DATABASE_URL", url)
        made.clock.now = datetime.now(UTC).timestamp() + 60  # the command's clock is the world's
        assert cli.main(["replay", ident]) == 0
        office.work()
        assert office.outcome(sent)["state"] == "told"
        assert cli.main(["replay", ident]) == 1
        assert "Send again" not in made.client.get(f"/cases/{ident}").text


def test_an_outcome_that_the_provider_has_stands(small: Office) -> None:
    small.api.states = {"al_1": "Resolved", "al_2": "Ineligible"}
    same, other = small.chargeblast(ident="al_1"), small.chargeblast(ident="al_2")
    small.resolve(same)
    small.resolve(other)
    assert small.api.tellings == []
    assert small.outcome(same)["state"] == "told"
    one = small.outcome(other)
    assert one["state"] == "failed"
    assert one["message"] == "It has Ineligible already, and 29next issued_full_refund."


def test_a_conflict_counts_as_told_and_says_so(small: Office) -> None:
    small.api.faults = [cut_off, status(409)]
    sent = small.prevention()
    small.resolve(sent)
    small.later(60)
    one = small.outcome(sent)
    assert (one["state"], one["message"]) == ("told", "Midigator says that it has an outcome already.")


@pytest.mark.parametrize("provider", ["midigator", "chargeblast"])
def test_a_conflict_of_another_call_is_no_word_of_the_outcome(
    small: Office, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    serve = _Request._serve

    def conflicted(self: _Request, body: Any) -> None:
        if self.command == "GET" or self.path == "/auth/v1/auth":
            self.answer(409, {"message": "Busy"})
        else:
            serve(self, body)

    with monkeypatch.context() as away:
        away.setattr(_Request, "_serve", conflicted)
        sent = small.prevention() if provider == "midigator" else small.chargeblast()
        small.resolve(sent)
        assert small.outcome(sent)["state"] == "owed"
    small.later(HOUR)
    assert small.outcome(sent)["state"] == "told"
    assert len(small.api.tellings) == 1


def test_a_later_outcome_that_differs_is_a_person_s(office: Office) -> None:
    sent = office.prevention()
    row = office.resolve(sent)
    office.bridge.next29.stores[STORE].disputes.by_id[row["id"]] |= {"resolution": "could_not_find_order"}
    office.bridge.tell("dispute.updated", office.bridge.api.retrieve_dispute(row["id"]))
    office.later(60)
    one = office.outcome(sent)
    assert (one["state"], one["resolution"]) == ("failed", "issued_full_refund")
    assert "29next has it as could_not_find_order now" in one["message"]
    assert len(office.api.tellings) == 1
    assert office.bridge.inside.tell_again(office.bridge.case(sent)["id"]) == 1
    office.work()
    assert [call.body["resolution_type"] for call in office.api.tellings][1:] == ["could_not_find_order"]


def test_after_seven_days_it_is_given_up_and_not_sent(small: Office) -> None:
    small.api.faults = [status(503)]
    sent = small.prevention()
    small.resolve(sent)
    small.later(9 * DAY)
    assert len(small.api.tellings) == 1
    assert small.outcome(sent)["state"] == "failed"
    assert small.outcome(sent)["due_at"] is None
    assert small.alarms


# --- the settings -------------------------------------------------------------------------------


def test_a_provider_is_told_where_the_file_says_so_and_its_key_is_there() -> None:
    read = load(
        "[providers.midigator]\noutcome = true", MIDIGATOR_API_KEY="k", NEXT_STORE="a", NEXT_ACCESS_TOKEN="t"
    )
    assert list(read.told("a")) == ["midigator"]
    assert read.told("a")["midigator"].url == "https://api.midigator.com/"
    assert read.api_keys == {"midigator": "k"}
    assert "'k'" not in repr(read)
    assert load(NEXT_STORE="a", NEXT_ACCESS_TOKEN="t", MIDIGATOR_API_KEY="k").told("a") == {}


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("outcome = true", "CHARGEBLAST_API_KEY: missing, though providers.chargeblast.outcome is on"),
        ('outcome = "yes"', "providers.chargeblast.outcome: expected true or false"),
        (
            'outcome_url = "https://example.com/"',
            "providers.chargeblast.outcome_url: renamed; expected api_url",
        ),
        ("api_url = 1", "providers.chargeblast.api_url: expected the base URL of its API, in quotes"),
    ],
)
def test_a_mistake_about_outcomes_is_told(toml: str, problem: str) -> None:
    assert problems(f"[providers.chargeblast]\n{toml}") == [problem]


@pytest.mark.parametrize(
    "url",
    [
        "http://api.chargeblast.com/",
        "https://169.254.169.254/",
        "https://user@api.chargeblast.com/",
        "https://[::1%25eth0]/",
        "https://metadata.internal/",
        "https://api.chargeblast.com/?x=1",
    ],
)
def test_a_key_goes_nowhere_odd(url: str) -> None:
    [said] = problems(f'[providers.chargeblast]\noutcome = true\napi_url = "{url}"', CHARGEBLAST_API_KEY="k")
    assert said.startswith("providers.chargeblast.api_url: expected https:// and a host's name")


def test_a_provider_that_takes_no_outcomes_is_said_to() -> None:
    [said] = problems("[providers.trusto]\noutcome = true")
    assert said.startswith("providers.trusto.outcome: not for this provider")
