"""Stand-ins for the APIs by which providers are told outcomes, and for Ethoca's pull, with a ledger.

As documented: the first final outcome of an alert stands. Each API is below its own path, and wants its own
authentication; what they answer beyond their documents is a guess, and says so in the tests.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from bridge.settings.oauth import OAuthKeys
from tests.support.ethoca import CONSUMER_KEY, SIGNING_KEY, Signatures, Waiting, errors
from tests.support.webhooks import FULL_CARD

Json = Any

API_KEYS: dict[str, str | OAuthKeys] = {
    "payshield": "canary-api-key-of-payshield",
    "chargeflow": "canary-api-key-of-chargeflow",
    "midigator": "canary-api-key-of-midigator",
    "chargeblast": "canary-api-key-of-chargeblast",
    "ethoca": OAuthKeys(CONSUMER_KEY, SIGNING_KEY),
}
PROVIDERS = ("ethoca", "payshield", "chargeflow", "midigator", "chargeblast")

# what tells the APIs apart, for the tests as well

KEY_HEADERS = {"payshield": "rcode", "chargeflow": "x-api-key", "chargeblast": "X-API-Key"}
"""Where the key stands; else it is in Authorization."""
CAN_BE_ASKED = {"chargeflow": "outcome", "chargeblast": "alert.reasonCode"}
"""Which say what they hold, and where in their answer."""
LOGS_IN = "midigator"
"""Which gives a token for the key."""
REFUSES_REPEATS = {
    "chargeflow": "The outcome was already submitted.",
    "chargeblast": "The alert was actioned already",
    "ethoca": "ALREADY_FINAL",
}
"""Which refuse a second outcome, and how; the others take it, and the first one stands."""
BATCHES = "ethoca"
"""Which takes several outcomes in one call."""
WORDS = {"chargeflow": "outcome", "chargeblast": "result"}
"""Of those that can be asked: where the word stands in what they are told."""
OWN_WORDS = {"midigator"}
"""Whose words are 29next's own, so that `other` is no decline there."""
FINALS = {"chargeflow": ("refunded", "decline"), "chargeblast": ("Resolved", "Ineligible")}
"""And their words for a refund and for none."""


def state_after_a_repeat(provider: str) -> str:
    """How an outcome ends that arrived unheard: one that can neither be read nor repeated is a person's."""
    return "failed" if provider in REFUSES_REPEATS and provider not in CAN_BE_ASKED else "told"


OUTCOMES_OF_FRAUD = (
    *("STOPPED", "PARTIALLY_STOPPED", "PREVIOUSLY_CANCELLED", "MISSED", "NOT_FOUND"),
    *("ACCOUNT_SUSPENDED", "OTHER"),
)
OUTCOMES_OF_DISPUTES = (
    *("RESOLVED", "RESOLVED_PREVIOUSLY_REFUNDED", "UNRESOLVED_DISPUTE", "NOT_FOUND", "OTHER"),
)
MOST = 25


@dataclass(frozen=True)
class Entry:
    """One outcome that arrived, as it was sent, and whether it was the first of its alert."""

    provider: str
    alert: str
    said: Json
    stands: bool


@dataclass(frozen=True)
class Call:
    """One request."""

    provider: str
    method: str
    path: str  # behind the provider's base
    query: dict[str, str]
    body: Json

    @property
    def said(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Ledger:
    """What arrived."""

    calls: list[Call] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    @property
    def made(self) -> list[str]:
        """The calls, in words."""
        return [call.said for call in self.calls]

    def take(self, provider: str, alert: str, said: Json) -> bool:
        """Write an outcome down; whether it is the first of its alert."""
        stands = self.standing(alert) is None
        self.entries.append(Entry(provider, alert, said, stands))
        return stands

    def standing(self, alert: str) -> Json | None:
        """The outcome of an alert that counts."""
        return next((one.said for one in self.entries if one.alert == alert and one.stands), None)


Answer = tuple[int, Json]
Handler = Callable[[Call, str], Answer]
"""Does what a call asks for, about the alert that its path names."""
Fault = Callable[["Request"], bool]
"""Does something else with a request; True: and nothing more."""


class ProviderApis(ThreadingHTTPServer):
    """All of the APIs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.ledger = Ledger()
        self.faults: list[Fault] = []  # of the next requests, one each, but for those of `aside`
        self.faults_aside: list[Fault] = []  # of the next logins, and looks at an alert
        self.struck = 0  # how many of them have happened
        self.errors: dict[str, list[Json]] = {}  # Ethoca's, for the next outcomes of an alert
        self.silent: set[str] = set()  # alerts that Ethoca leaves out of its answer, having taken them
        self.locked: set[str] = set()  # providers whose key counts no more
        self.refused: list[str] = []  # why a call was not let in
        self.tokens: list[str] = []  # that Midigator has given; the last one counts
        self.signatures = Signatures()
        self.waiting = Waiting()
        self.lock = threading.Lock()
        self.aside: dict[str, Handler] = {
            "POST midigator/auth/v1/auth": self._log_in,
            "GET chargeflow/public/2025-04-01/alerts/{}": self._show,
            "GET chargeblast/api/v2/alert/{}": self._show,
        }
        self.routes: dict[str, Handler] = {
            "GET ethoca/alerts": lambda call, _: (200, self.waiting.page(call.query)),
            "POST ethoca/alerts/acknowledges": self._acknowledge,
            "POST ethoca/outcomes": self._take_several,
            "POST payshield/secure/alert/update/v2/": self._take,
            "POST chargeflow/public/2025-04-01/alerts/{}/outcome": self._take,
            "POST midigator/prevention/v1/prevention/{}/resolution": self._take,
            "POST chargeblast/api/v2/alerts/update/{}": self._take,
        }

    def url(self, provider: str) -> str:
        """The base URL of one of them."""
        return f"http://127.0.0.1:{self.server_port}/{provider}/"

    def add(self, *alerts: Json) -> None:
        """Let alerts of Ethoca's wait to be pulled."""
        with self.lock:
            self.waiting.alerts |= {one["alertId"]: one for one in alerts}

    def sent(self, provider: str) -> list[Json]:
        """What one of them was told, in the order in which it arrived."""
        return [one.said for one in self.ledger.entries if one.provider == provider]

    def tries(self, provider: str) -> int:
        """How often one of them was called to be told something."""
        return len([one for one in self.ledger.calls if one.provider == provider and self.is_main(one)])

    def is_main(self, call: Call) -> bool:
        """Whether a call is neither a login nor a look."""
        return self._route(self.aside, call) is None

    def answer_to(self, call: Call) -> Answer:
        """Do what is asked."""
        found = self._route({**self.routes, **self.aside}, call)
        if found is None:
            said = (
                errors("NOT_FOUND", recoverable=False)
                if call.provider == "ethoca"
                else {"message": "Not found"}
            )
            return 404, said
        handle, ident = found
        with self.lock:
            return handle(call, ident)

    @staticmethod
    def _route(routes: dict[str, Handler], call: Call) -> tuple[Handler, str] | None:
        said = f"{call.method} {call.provider}/{call.path}"
        for route, handle in routes.items():
            if found := re.fullmatch(route.replace("{}", "([^/]+)"), said):
                return handle, "".join(found.groups())
        return None

    # the APIs

    def _log_in(self, _: Call, __: str) -> Answer:
        self.tokens.append(f"canary-token-{len(self.tokens) + 1}")
        return 200, {"token": self.tokens[-1]}

    def _show(self, call: Call, ident: str) -> Answer:
        standing = self.ledger.standing(ident)
        word = standing and standing[WORDS[call.provider]]
        if call.provider == "chargeflow":
            return 200, {"id": ident, "outcome": word, "card": FULL_CARD}
        return 200, {"alert": {"id": ident, "reasonCode": word or "None", "card": FULL_CARD}}

    def _take(self, call: Call, ident: str) -> Answer:
        stands = self.ledger.take(call.provider, ident or call.body["alert_id"], call.body)
        refusal = REFUSES_REPEATS.get(call.provider)
        return (200, {"status": "success"}) if stands or not refusal else (400, {"message": refusal})

    def _acknowledge(self, call: Call, _: str) -> Answer:
        return 200, self.waiting.acknowledge(call.body["acknowledges"])

    def _take_several(self, call: Call, _: str) -> Answer:
        items = call.body["outcomes"]
        if not 1 <= len(items) <= MOST or set(call.body) != {"outcomes"}:
            return 400, errors("TOO_MANY", recoverable=False)
        return 200, {"outcomeResponses": list(self._responses(items))}

    def _responses(self, items: list[Json]) -> Iterator[Json]:
        for item in items:
            ident = item["alertId"]
            failed = {"alertId": ident, "status": "FAILURE"}
            if wrong := invalid(item):
                yield failed | {"errors": errors("VALIDATION_FAILURE", wrong, recoverable=False)["Errors"]}
            elif waiting := self.errors.get(ident):
                yield failed | {"errors": waiting.pop(0)["Errors"]}
            elif not self.ledger.take("ethoca", ident, item):
                yield failed | {"errors": errors(REFUSES_REPEATS["ethoca"], recoverable=False)["Errors"]}
            elif ident not in self.silent:
                yield {"alertId": ident, "status": "SUCCESS"}


class Request(BaseHTTPRequestHandler):
    """One request, as a fault gets it."""

    server: ProviderApis
    call: Call

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    @property
    def authorization(self) -> str:
        """The header by which the call is let in."""
        return str(self.headers.get(KEY_HEADERS.get(self.call.provider, "Authorization"), ""))

    def _serve(self, content: bytes) -> None:
        api = self.server
        path, _, query = self.path.partition("?")
        _, provider, path = path.split("/", 2)
        body = json.loads(content) if content else None
        self.call = Call(provider, self.command, path, dict(parse_qsl(query)), body)
        with api.lock:
            api.ledger.calls.append(self.call)
            problem = self._problem(content)
            if problem:
                api.refused.append(problem)
                return self.answer(401, self.error(problem))
            faults = api.faults if api.is_main(self.call) else api.faults_aside
            fault = faults.pop(0) if faults else None
            api.struck += fault is not None
        if not (fault and fault(self)):
            self.answer(*self.usual())
        return None

    def _problem(self, content: bytes) -> str | None:
        """Say why a call is not let in."""
        api, provider = self.server, self.call.provider
        if provider in api.locked:
            return "Unauthorized"
        if provider == "ethoca":
            url = f"http://{self.headers['Host']}{self.path}"
            return api.signatures.problem(self.command, url, self.authorization, content)
        wanted = [API_KEYS[provider]]
        if provider == LOGS_IN:
            token = api.tokens[-1:] if api.is_main(self.call) else wanted
            wanted = [f"Bearer {one}" for one in token]
        return None if self.authorization in wanted else "Unauthorized"

    def usual(self) -> Answer:
        """Do what is asked."""
        return self.server.answer_to(self.call)

    def error(self, said: str) -> Json:
        """An error as this provider writes it."""
        return (
            errors("MADE_UP", said, recoverable=False)
            if self.call.provider == "ethoca"
            else {"message": said}
        )

    def answer(self, status: int, said: Json, **headers: str) -> None:
        self.write(status, json.dumps(said).encode(), headers)

    def write(
        self, status: int, content: bytes, headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


def invalid(item: Json) -> str | None:
    """What an outcome has that Mastercard's schema does not allow, beside what is left out knowingly."""
    if len(item["alertId"]) != MOST:
        return "alertId"
    if item["outcome"] not in {*OUTCOMES_OF_FRAUD, *OUTCOMES_OF_DISPUTES}:
        return "outcome"
    if item["refundStatus"] not in ("REFUNDED", "NOT_REFUNDED", "NOT_SETTLED"):
        return "refundStatus"
    times = [item.get("actionTimestamp"), item.get("refund", {}).get("timestamp")]
    if any(one is not None and not 10 <= len(one) <= 25 for one in times):
        return "timestamp"
    amounts = [item.get("refund", {}).get("amount"), item.get("amountStopped")]
    if any(one and not isinstance(one["value"], int | float) for one in amounts):
        return "value"
    return None


# --- faults -------------------------------------------------------------------------------------


def usual(_: Request) -> bool:
    """No fault, where one of several requests in a row has none."""
    return False


def status(number: int, said: Json = None, **headers: str) -> Fault:
    """Answer with an error, and take nothing; without other words it repeats what authorized the call."""

    def fault(request: Request) -> bool:
        made_up = request.error(f"made-up {number} (you sent {request.authorization})")
        request.answer(number, said or made_up, **headers)
        return True

    return fault


def says(content: bytes, number: int = 200, length: int | None = None) -> Fault:
    """Answer with these bytes, or with fewer than are announced, and take nothing."""

    def fault(request: Request) -> bool:
        request.write(number, content, length=length)
        request.close_connection = True
        return True

    return fault


def cut_off(request: Request) -> bool:
    """Hang up, and take nothing."""
    request.hang_up()
    return True


def lose(request: Request) -> bool:
    """Take what is sent, and lose the answer."""
    request.usual()
    request.hang_up()
    return True


def conflict(request: Request) -> bool:
    """Take what is sent, and answer as if it had been there before."""
    request.usual()
    request.answer(409, request.error("There is one."))
    return True


def forget(request: Request) -> bool:
    """Confirm what is acknowledged, and forget it."""
    said = [{"alertId": one["alertId"], "status": "SUCCESS"} for one in request.call.body["acknowledges"]]
    request.answer(200, {"acknowledgeResponses": said})
    return True


@contextmanager
def provider_apis() -> Iterator[ProviderApis]:
    """The APIs, listening."""
    with ProviderApis() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
            left = server.faults + server.faults_aside
            assert server.struck or not left, "a fault that happens to nothing shows nothing"
        finally:
            server.shutdown()
            thread.join()
