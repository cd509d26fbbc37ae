"""A pretend API of Ethoca's on this machine: alerts to be pulled, and signatures that are really verified.

It keeps an alert until it is acknowledged, and takes faults. Another endpoint is one more entry of `answers`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Json = Any

BASE = "/ethoca/alerts/merchants/"
CONSUMER_KEY = "canary-consumer-key!0123456789abcdef"
TOLERANCE = 300.0
"""Seconds that the timestamp of a signature may be off."""
MOST = 25
"""Alerts of one page, however many are asked for."""

_P = int(
    "d83a92cea64c1c29e29ba3db17a35c4a3285a8189248d1d29eda7d98ae81baab4aebcf0c5528183f7f2f0b35c380bca9"
    "a87672e89b89a2a49aeb8988c13dec609c81f9f63ce0782d233dd0781d0c8bd89683f85380ecc3edc4ce0ef6dd548598"
    "547e166d16fc227a32db6bd33fec34c6b27293670e2e2fb47e6d2162a2daadc9",
    16,
)
_Q = int(
    "cf0d55684d9235af496b55369eac529ed6e227a412c9a861237a6016d66f413f3f34ee1e2c83a2bffe124599f34153e8"
    "53a187da857cd2e9ad38a75e621699e7c9d9f34f25a7eb78ca51506d9fa74a55d1f6aa5c9f9227e54d51d968081fc96f"
    "575226817ece6ef9c58deda21b93f6c51582d7338754220c78b961d956aeef79",
    16,
)


def _key() -> rsa.RSAPrivateKey:
    exponent = 65537
    private = pow(exponent, -1, (_P - 1) * (_Q - 1))
    by_p, by_q = rsa.rsa_crt_dmp1(private, _P), rsa.rsa_crt_dmq1(private, _Q)
    public = rsa.RSAPublicNumbers(exponent, _P * _Q)
    return rsa.RSAPrivateNumbers(_P, _Q, private, by_p, by_q, rsa.rsa_crt_iqmp(_P, _Q), public).private_key()


SIGNING_KEY = _key()
"""Made up, and the same each time: of two primes, so that no file here looks like anybody's key."""
PEM = SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
KEYS = {"ETHOCA_CONSUMER_KEY": CONSUMER_KEY, "ETHOCA_SIGNING_KEY": PEM}
SECRETS = (CONSUMER_KEY, *PEM.split("\n")[1:-2])
"""What must be found nowhere: the consumer key, and each line of the signing key."""


@dataclass(frozen=True)
class Call:
    """One request that the API got; `problem` says why it was refused as unsigned."""

    method: str
    path: str  # behind the base
    query: dict[str, str]
    body: Json
    authorization: str
    problem: str | None

    @property
    def said(self) -> str:
        return f"{self.method} {self.path}"


Answer = tuple[int, Json]
Fault = Callable[["Request"], bool]
"""What becomes of a request instead; False leaves it to be answered as usual."""


def alert(number: int = 1, **changes: Json) -> Json:
    """An alert as the Pull API may give it."""
    return {
        "alertId": f"PULLED{number:019d}",
        "alertType": "CUSTOMERDISPUTE",
        "customerName": "Jane Smith",
        "transactionAmount": "150.10",
        "transactionCurrency": "USD",
        "dateSubmitted": "2026-03-01T11:31:08Z",
        **changes,
    }


@dataclass
class EthocaApi:
    """The API, while it is served."""

    alerts: dict[str, Json] = field(default_factory=dict)  # by id, until acknowledged, the oldest first
    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)  # of the next requests, one each
    nonces: set[str] = field(default_factory=set)
    unsaid: list[Json] = field(default_factory=list)  # entries of every page that have no id
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    def __post_init__(self) -> None:
        self.answers: dict[str, Callable[[Call], Answer]] = {
            "GET alerts": self.page,
            "POST alerts/acknowledges": self.acknowledge,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{BASE}"

    @property
    def made(self) -> list[str]:
        return [call.said for call in self.calls]

    def add(self, *alerts: Json) -> None:
        """Let alerts wait to be pulled."""
        with self.lock:
            self.alerts |= {one["alertId"]: one for one in alerts}

    def page(self, call: Call) -> Answer:
        most = min(int(call.query.get("size", MOST)), MOST)
        return 200, {"alerts": [*self.unsaid, *self.alerts.values()][:most]}

    def acknowledge(self, call: Call) -> Answer:
        said = []
        for one in call.body["acknowledges"]:
            known = self.alerts.pop(one["alertId"], None) is not None
            said.append({"alertId": one["alertId"], "status": "SUCCESS" if known else "FAILURE"})
        return 200, {"acknowledgeResponses": said}

    def problem(self, method: str, url: str, authorization: str, body: bytes) -> str | None:
        """Say what is wrong with the OAuth 1.0a signature of a request."""
        scheme, _, rest = authorization.partition(" ")
        pairs = [one.strip().partition("=") for one in rest.split(",")]
        said = {name: value.strip('"') for name, _, value in pairs}  # as they came, and so are they signed
        signature = unquote(said.pop("oauth_signature", ""))
        if scheme != "OAuth" or said.get("oauth_consumer_key") != CONSUMER_KEY:
            return "not the consumer key"
        if said.get("oauth_signature_method") != "RSA-SHA256" or said.get("oauth_version") != "1.0":
            return "another method"
        if abs(time.time() - int(said["oauth_timestamp"])) > TOLERANCE:
            return "too old"
        if said["oauth_nonce"] in self.nonces:
            return "a nonce for the second time"
        self.nonces.add(said["oauth_nonce"])
        if said["oauth_body_hash"] != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return "the hash of another body"
        split = urlsplit(url)
        query = [(quote(name, safe=""), quote(value, safe="")) for name, value in parse_qsl(split.query)]
        signed = sorted([*query, *said.items()])
        parts = (method, f"http://{split.netloc}{split.path}", "&".join(f"{n}={v}" for n, v in signed))
        base_string = "&".join(quote(part, safe="") for part in parts)
        try:
            SIGNING_KEY.public_key().verify(
                base64.b64decode(signature), base_string.encode(), PKCS1v15(), SHA256()
            )
        except (InvalidSignature, ValueError):
            return "another signature"
        return None


class Request(BaseHTTPRequestHandler):
    """One request, as a fault gets it."""

    api: EthocaApi
    call: Call

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _serve(self, body: bytes) -> None:
        api, authorization = self.api, self.headers.get("Authorization", "")
        problem = api.problem(self.command, f"http://{self.headers['Host']}{self.path}", authorization, body)
        path, _, query = self.path.partition("?")
        self.call = Call(
            self.command,
            path.removeprefix(BASE),
            dict(parse_qsl(query)),
            json.loads(body) if body else None,
            authorization,
            problem,
        )
        with api.lock:
            api.calls.append(self.call)
            fault = api.faults.pop(0) if api.faults else None
        if fault and fault(self):
            return
        self.answer(*self.usual())

    def usual(self) -> Answer:
        """Do what is asked."""
        if self.call.problem:
            return 401, error("AUTHENTICATION_ERROR", self.call.problem)
        handle = self.api.answers.get(self.call.said)
        if handle is None:
            return 404, error("RESOURCE_UNKNOWN", "There is no such resource.")
        with self.api.lock:
            return handle(self.call)

    def answer(self, status: int, said: Json, **headers: str) -> None:
        self.write(status, json.dumps(said).encode(), headers=headers)

    def write(
        self, status: int, content: bytes, length: int | None = None, headers: Mapping[str, str] | None = None
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


def error(reason: str, description: str, *, recoverable: bool = False) -> Json:
    """An error in Mastercard's envelope."""
    one = {"Source": "alerts", "ReasonCode": reason, "Description": description, "Recoverable": recoverable}
    return {"Errors": {"Error": [one]}}


# --- faults -------------------------------------------------------------------------------------


def usual(_: Request) -> bool:
    """No fault, where one of several requests in a row has none."""
    return False


def status(number: int, **headers: str) -> Fault:
    """Answer with an error, which repeats what was sent."""

    def fault(request: Request) -> bool:
        request.answer(number, error("MADE_UP", f"You sent {request.call.authorization}"), **headers)
        return True

    return fault


def says(content: bytes, number: int = 200, length: int | None = None) -> Fault:
    """Answer with these bytes, or with fewer than are announced."""

    def fault(request: Request) -> bool:
        request.write(number, content, length)
        request.close_connection = True
        return True

    return fault


def hangs_up(request: Request) -> bool:
    """Take the request, do nothing, and hang up."""
    request.hang_up()
    return True


def does_and_hangs_up(request: Request) -> bool:
    """Do what is asked, and lose the answer."""
    request.usual()
    request.hang_up()
    return True


def forgets(request: Request) -> bool:
    """Confirm what is acknowledged, and forget it."""
    said = [{"alertId": one["alertId"], "status": "SUCCESS"} for one in request.call.body["acknowledges"]]
    request.answer(200, {"acknowledgeResponses": said})
    return True


@contextmanager
def ethoca_api() -> Iterator[EthocaApi]:
    """Serve the API on a free port of this machine."""
    api = EthocaApi()
    handler = type("Handler", (Request,), {"api": api})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        api.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
