"""One request to a service that the bridge calls, and its answer: 29next's API, and the providers'.

It retries nothing and follows no redirect; an exchange ends after `timeout` seconds of wall time,
however slowly an answer drips, and an answer is read up to a bound.
"""

from __future__ import annotations

import collections
import contextlib
import json
import socket
import ssl
import typing
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
from bridge.errors import TemporaryError, Unclear

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from requests.auth import AuthBase

CONNECT_SECONDS = 5.0
MOST_BYTES = 2_000_000
"""No service answers more than this; what says that it is more is not read at all."""
WORDS = 2000
"""How much of an answer is kept to be shown."""
LONGEST_CARD = 60
"""Characters that a card number may stretch over, one that stands where an answer is cut off."""
USER_AGENT = f"dispute-bridge/{__version__}"


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
        own = {"Accept": "application/json", "User-Agent": USER_AGENT}
        self.headers = {**requests.utils.default_headers(), **own, **(headers or {})}
        self.idle: collections.deque[_Line] = collections.deque()

    def send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: typing.Any = None,
        form: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Make one request; returns status, headers and content, a byte over the bound at most.

        `before` is called right before the first byte, when the connection is there: while it waits, no
        time of the request's runs, and what it raises ends the request unsent. Raises TemporaryError where
        it certainly was not sent, Unclear where no answer came.
        """
        request = requests.Request(
            method, url, params=params, json=body, data=form, headers=self.headers, auth=auth
        )
        with self._line(before) as line:
            try:
                response = line.send(request)
                with response:
                    content = bytearray()
                    most = MOST_BYTES if (response.raw.length_remaining or 0) <= MOST_BYTES else -1
                    while len(content) <= most and (piece := response.raw.read1(65536, True)):
                        content += piece
                    if line.is_late:
                        raise Unclear(self._late())
                    if self.secret:
                        content = content.replace(self.secret.encode(), CUT.encode())
                    return response.status_code, response.headers, bytes(content)
            except (RequestException, HTTPError, OSError) as error:
                if line.deadline is None:
                    raise TemporaryError(f"{self.service} cannot be reached: {_reason(error)}") from None
                if line.is_late:
                    raise Unclear(self._late()) from None
                raise Unclear(f"The connection to {self.service} broke: {_reason(error)}") from None

    def _late(self) -> str:
        return f"{self.service} did not answer within {self.timeout:g} s."

    @contextlib.contextmanager
    def _line(self, before: Callable[[], None]) -> Iterator[_Line]:
        """Lend a connection to one request; the one that was used last is the likeliest to be there still."""
        try:
            line = self.idle.pop()
        except IndexError:
            line = _Line(self.timeout)
        line.before = before
        try:
            yield line
        finally:
            line.end()
            self.idle.append(line)

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        while self.idle:
            self.idle.pop().session.close()


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


class _Line:
    """One connection, and the request that has it now."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy and no netrc decides where a token goes
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, _Adapter(self))
        self.before: Callable[[], None]
        self.deadline: Deadline | None = None  # from when on a byte of the request may have left

    @property
    def is_late(self) -> bool:
        return self.deadline is not None and self.deadline.passed

    def send(self, request: requests.Request) -> requests.Response:
        return self.session.send(
            request.prepare(),  # by itself: nothing that an earlier answer set goes with it
            timeout=(min(CONNECT_SECONDS, self.timeout), self.timeout),
            allow_redirects=False,
            stream=True,
            proxies={},
        )

    def leave(self, connection: HTTPConnection) -> None:
        """Let the request leave over a connection that is there, and count its time from now on."""
        self.before()
        self.deadline = WATCH.begin(self.timeout, connection.sock)

    def end(self) -> None:
        """Let nobody shut the connection any more."""
        if self.deadline:
            self.deadline.over = True
        self.deadline = None


class _Adapter(HTTPAdapter):
    """requests' adapter for one line."""

    def __init__(self, line: _Line) -> None:
        self.line = line
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        """Have the line asked at the very last moment, when nothing but the bytes is left to be sent."""
        super().init_poolmanager(*args, **kwargs)
        line = self.line

        class Http(HTTPConnection):
            def request(self, *args: typing.Any, **kwargs: typing.Any) -> None:
                if self.sock is None:
                    self.connect()
                line.leave(self)
                super().request(*args, **kwargs)

        class Https(HTTPSConnection):
            def request(self, *args: typing.Any, **kwargs: typing.Any) -> None:
                if self.sock is None:
                    self.connect()
                line.leave(self)
                super().request(*args, **kwargs)

        class HttpPool(HTTPConnectionPool):
            ConnectionCls = Http

        class HttpsPool(HTTPSConnectionPool):
            ConnectionCls = Https

        self.poolmanager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
