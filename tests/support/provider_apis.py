"""Stand-ins for the APIs by which Ethoca, PayShield and Chargeflow are told outcomes, with a ledger.

As documented: the first final outcome of an alert stands. Each is below its own path, and wants its own
authentication; what they answer beyond their documents is a guess, and says so in the tests.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bridge.settings import OAuthKeys
from tests.support.ethoca import CONSUMER_KEY, SIGNING_KEY, EthocaApi

Json = Any

API_KEYS: dict[str, str | OAuthKeys] = {
    "payshield": "canary-api-key-of-payshield",
    "chargeflow": "canary-api-key-of-chargeflow",
    "midigator": "canary-api-key-of-midigator",
    "chargeblast": "canary-api-key-of-chargeblast",
    "ethoca": OAuthKeys(CONSUMER_KEY, SIGNING_KEY),
}
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

    method: str
    path: str
    body: Json


@dataclass
class Ledger:
    """What arrived."""

    calls: list[Call] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def take(self, provider: str, alert: str, said: Json) -> bool:
        """Write an outcome down; whether it is the first of its alert."""
        stands = self.standing(alert) is None
        self.entries.append(Entry(provider, alert, said, stands))
        return stands

    def standing(self, alert: str) -> Json | None:
        """The outcome of an alert that counts."""
        return next((one.said for one in self.entries if one.alert == alert and one.stands), None)


Fault = Callable[["_Request"], bool]
"""Does something else to a call; True: and nothing more."""


class ProviderApis(ThreadingHTTPServer):
    """All of the APIs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.ledger = Ledger()
        self.faults: list[Fault] = []  # for the next outcomes that are sent
        self.errors: dict[str, list[Json]] = {}  # Ethoca's, for the next outcomes of an alert
        self.silent: set[str] = set()  # alerts that Ethoca leaves out of its answer, having taken them
        self.refused: list[str] = []  # why a call was not let in
        self.signatures = EthocaApi()
        self.keys = dict(API_KEYS)
        self.lock = threading.Lock()

    def url(self, provider: str) -> str:
        """The base URL of one of them."""
        return f"http://127.0.0.1:{self.server_port}/{provider}/"

    def sent(self, provider: str) -> list[Json]:
        """What one of them was told, in the order in which it arrived."""
        return [one.said for one in self.ledger.entries if one.provider == provider]


class _Request(BaseHTTPRequestHandler):
    server: ProviderApis

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _serve(self, content: bytes) -> None:
        api = self.server
        with api.lock:
            body = json.loads(content) if content else None
            api.ledger.calls.append(Call(self.command, self.path, body))
            _, provider, path = self.path.split("/", 2)
            if problem := self._problem(provider, content):
                api.refused.append(problem)
                return self.answer(401, {"message": problem})
            if self.command == "POST" and api.faults and api.faults.pop(0)(self):
                return None
            getattr(self, f"_{provider}")(path, body)
        return None

    def _problem(self, provider: str, content: bytes) -> str | None:
        """Say why a call is not let in."""
        if provider == "ethoca":
            url = f"http://{self.headers['Host']}{self.path}"
            given = self.headers.get("Authorization", "")
            return self.server.signatures.problem(self.command, url, given, content)
        name = {"payshield": "rcode", "chargeflow": "x-api-key"}[provider]
        return None if self.headers.get(name) == self.server.keys[provider] else "Unauthorized"

    # the APIs

    def _ethoca(self, path: str, body: Json) -> None:
        if path != "outcomes" or not isinstance(body, dict) or set(body) != {"outcomes"}:
            return self.answer(404, errors("NOT_FOUND", recoverable=False))
        items = body["outcomes"]
        if not 1 <= len(items) <= MOST:
            return self.answer(400, errors("TOO_MANY", recoverable=False))
        return self.answer(200, {"outcomeResponses": list(self._responses(items))})

    def _responses(self, items: list[Json]) -> Iterator[Json]:
        for item in items:
            ident = item["alertId"]
            failed = {"alertId": ident, "status": "FAILURE"}
            if wrong := invalid(item):
                yield failed | {"errors": errors("VALIDATION_FAILURE", wrong, recoverable=False)["Errors"]}
            elif waiting := self.server.errors.get(ident):
                yield failed | {"errors": waiting.pop(0)["Errors"]}
            elif not self.server.ledger.take("ethoca", ident, item):
                yield failed | {"errors": errors("ALREADY_FINAL", recoverable=False)["Errors"]}
            elif ident not in self.server.silent:
                yield {"alertId": ident, "status": "SUCCESS"}

    def _payshield(self, path: str, body: Json) -> None:
        if path != "secure/alert/update/v2/":
            return self.answer(404, {"message": "Not found"})
        self.server.ledger.take("payshield", body["alert_id"], body)
        return self.answer(200, {"status": "success"})

    def _chargeflow(self, path: str, body: Json) -> None:
        found = re.fullmatch(r"public/2025-04-01/alerts/([^/]+)(/outcome)?", path)
        if not found or (self.command == "POST") != bool(found[2]):
            return self.answer(404, {"message": "Not found"})
        ident = found[1]
        standing = self.server.ledger.standing(ident)
        if self.command == "GET":
            return self.answer(200, {"id": ident, "outcome": standing and standing["outcome"]})
        if not self.server.ledger.take("chargeflow", ident, body):
            return self.answer(400, {"message": "The outcome was already submitted."})
        return self.answer(200, None)

    # answers

    def answer(self, status: int, said: Json) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


def errors(reason: str, said: str = "made up", *, recoverable: bool) -> Json:
    """Mastercard's envelope of an error."""
    error = {"Source": "Service", "ReasonCode": reason, "Description": said, "Recoverable": recoverable}
    return {"Errors": {"Error": [error]}}


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


def status(number: int, said: Json = None) -> Fault:
    """Answer with an error, and take nothing."""

    def fault(request: _Request) -> bool:
        request.answer(number, said or {"message": f"made-up {number}"})
        return True

    return fault


def cut_off(request: _Request) -> bool:
    """Hang up, and take nothing."""
    request.hang_up()
    return True


def lose(request: _Request) -> bool:
    """Take what is sent, and lose the answer."""
    request.answer = lambda *_: request.hang_up()  # type: ignore[method-assign]
    return False


@contextmanager
def provider_apis() -> Iterator[ProviderApis]:
    """The APIs, listening."""
    with ProviderApis() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
