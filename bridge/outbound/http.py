"""One request to a service that the bridge calls, and its answer: 29next's API, and the providers'.

It retries nothing and follows no redirect; an exchange ends after `timeout` seconds of wall time,
however slowly an answer drips, and an answer is read up to a bound.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import typing
from dataclasses import dataclass
from http.client import HTTPException

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from bridge import __version__
from bridge.cards import CUT, cut_text
from bridge.deadline import WATCH, Deadline
from bridge.errors import TemporaryError, TooLate, Unclear

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONNECT_SECONDS = 5.0
MOST_BYTES = 2_000_000
"""No service answers more than this; what says that it is more is not read at all."""
WORDS = 2000
"""How much of an answer is kept to be shown."""
LONGEST_CARD = 60
"""Characters that a card number may stretch over, one that stands where an answer is cut off."""
USER_AGENT = f"dispute-bridge/{__version__}"


@dataclass(slots=True)
class Slot:
    """When a call may leave, on the monotonic clock: not a byte before it opens, none once it has closed."""

    opens: float
    closes: float
    sleep: Callable[[float], None] = time.sleep
    left_at: float | None = None

    @property
    def late(self) -> float:
        """Seconds after its opening at which the call left: after the last look a process may still stand."""
        return max(self.left_at - self.opens, 0.0) if self.left_at else 0.0

    def wait(self) -> None:
        """Wait until it opens; raises TooLate where it has closed, as for a process that was stopped."""
        if (wait := self.opens - time.monotonic()) > 0:
            self.sleep(wait)
        if time.monotonic() > self.closes:
            raise TooLate


class Exchange:
    """The connections to one service; `service` is what it is called in errors.

    The `secret` that goes with a request is cut from an answer that echoes it.
    """

    def __init__(
        self,
        service: str,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
    ) -> None:
        self.service = service
        self.timeout = timeout
        self.secret = secret
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy and no netrc decides where a token goes
        own = {"Accept": "application/json", "User-Agent": USER_AGENT}
        self.headers = {**self.session.headers, **own, **(headers or {})}
        self.readied: dict[str, requests.PreparedRequest] = {}
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, _Adapter(pool_connections=1, pool_maxsize=32))

    def send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: typing.Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        slot: Slot | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Make one request, in its slot; returns status, headers and content, a byte over the bound at most.

        Everything is ready when the slot opens, so that nothing but the bytes is left to be done.
        Raises TooLate where the slot has closed, TemporaryError where it certainly was not sent,
        Unclear where no answer came.
        """
        wait = max(slot.opens - time.monotonic(), 0.0) if slot else 0.0
        with WATCH.within(wait + self.timeout) as deadline:
            _CURRENT.deadline, _CURRENT.slot, _CURRENT.sent = deadline, slot, False
            try:
                request = requests.Request(
                    method,
                    url,
                    params=params,
                    json=body,
                    data=form,
                    headers={**self.headers, **(headers or {})},
                )
                response = self.session.send(
                    request.prepare(),  # by itself: what a session would merge into it is in it already
                    timeout=(min(CONNECT_SECONDS, self.timeout), self.timeout),
                    allow_redirects=False,
                    stream=True,
                    proxies={},
                )
                with response:
                    content = bytearray()
                    most = MOST_BYTES if (response.raw.length_remaining or 0) <= MOST_BYTES else -1
                    while len(content) <= most and (piece := response.raw.read1(65536, True)):
                        content += piece
                    if deadline.passed:
                        raise Unclear(self._late())
                    if self.secret:
                        content = content.replace(self.secret.encode(), CUT.encode())
                    return response.status_code, response.headers, bytes(content)
            except (RequestException, HTTPError, OSError) as error:
                if not _CURRENT.sent:
                    raise TemporaryError(f"{self.service} cannot be reached: {_reason(error)}") from None
                if deadline.passed:
                    raise Unclear(self._late()) from None
                raise Unclear(f"The connection to {self.service} broke: {_reason(error)}") from None

    def _late(self) -> str:
        return f"{self.service} did not answer within {self.timeout:g} s."

    def prepare(self, url: str) -> None:
        """Have a connection ready, so that a call leaves when its slot opens; raises TemporaryError."""
        if url not in self.readied:
            self.readied[url] = requests.Request("GET", url).prepare()
        request = self.readied[url]
        adapter = typing.cast("typing.Any", self.session.get_adapter(url))
        try:
            pool = adapter.get_connection_with_tls_context(request, verify=True)
            adapter.cert_verify(pool, url, verify=True, cert=None)
            connection = pool._get_conn(CONNECT_SECONDS)  # noqa: SLF001  urllib3 has no public way
            try:
                if connection.sock is None:
                    connection.timeout = min(CONNECT_SECONDS, self.timeout)
                    connection.connect()
            finally:
                pool._put_conn(connection)  # noqa: SLF001
        except (RequestException, HTTPError, OSError) as error:
            raise TemporaryError(f"{self.service} cannot be reached: {_reason(error)}") from None

    def close(self) -> None:
        """Close the connections."""
        self.session.close()


def complaint(content: bytes) -> tuple[dict[str, list[str]], str]:
    """Return a service's complaint by field, and as one text; HTML pages are only named."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return {}, "(no JSON)" if content else "(nothing)"
    if isinstance(tree, list):
        tree = {"": tree}
    if not isinstance(tree, dict):
        return {}, storable(str(tree))[:WORDS]
    fields = {
        storable(name): [storable(str(one)) for one in (value if isinstance(value, list) else [value])]
        for name, value in tree.items()
    }
    words = "; ".join(
        " ".join(said) if name in ("detail", "") else f"{name}: {' '.join(said)}"
        for name, said in fields.items()
    )
    return fields, words[:WORDS]


def beginning(content: bytes) -> str:
    """Return as much of an answer as is kept to be shown, its card numbers cut."""
    return storable(content[: WORDS + LONGEST_CARD].decode("utf-8", "replace"))[:WORDS]


def storable(text: str) -> str:
    """Replace what no database takes, NUL and halves of characters, and cut card numbers."""
    return cut_text(text.replace("\0", "\ufffd").encode("utf-8", "replace").decode())


def _reason(error: BaseException) -> str:
    """Say in plain words what lies at the bottom of a library's error."""
    while inner := getattr(error, "reason", None) or (error.args[0] if error.args else None):
        if not isinstance(inner, BaseException):
            break
        error = inner
    for kinds, words in _REASONS:
        if isinstance(error, kinds):
            return words
    return type(error).__name__


_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((NameResolutionError, socket.gaierror), "its name is not found"),
    ((NewConnectionError, ConnectionRefusedError), "the connection is refused"),  # a kind of the next
    ((ConnectTimeoutError,), "it does not take the connection in time"),
    ((ssl.SSLError, SSLError), "its certificate or TLS is not accepted"),
    ((ReadTimeoutError, TimeoutError), "it does not answer in time"),
    ((ProtocolError, OSError, HTTPException), "the connection was cut"),
)


class _Current(threading.local):
    """What the call that this thread is making must keep to."""

    deadline: Deadline | None = None
    slot: Slot | None = None
    sent: bool = False  # whether a byte of it may have left


_CURRENT = _Current()


class _Bounded:
    """A connection that tells the current call's deadline which socket is its own."""

    def request(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        connection = typing.cast("HTTPConnection", self)
        if connection.sock is None:
            connection.connect()
        if _CURRENT.deadline is not None:
            _CURRENT.deadline.sock = connection.sock
        super().request(*args, **kwargs)  # type: ignore[misc]  # the mixin's base is urllib3's

    def send(self, data: typing.Any) -> None:
        connection = typing.cast("HTTPConnection", self)
        slot = None if _CURRENT.sent else _CURRENT.slot
        patience = connection.sock.gettimeout()
        if slot:
            # With a timeout of its own, Python asks whether the socket is free before it sends, and then
            # waits for its interpreter once more, for long where many threads are busy. The deadline holds.
            connection.sock.settimeout(None)
            slot.wait()  # the very last moment: who was held up anywhere before sends nothing any more
        _CURRENT.sent = True
        super().send(data)  # type: ignore[misc]
        if slot:
            slot.left_at = time.monotonic()
            connection.sock.settimeout(patience)


class _Http(_Bounded, HTTPConnection):
    pass


class _Https(_Bounded, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    """requests' adapter over connections that end with their call."""

    def init_poolmanager(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        """Use the bounded connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
