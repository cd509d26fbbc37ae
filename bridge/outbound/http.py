"""The HTTP client for the services that the bridge calls: 29next's API, and the providers'.

It retries nothing and follows no redirect. A request ends after `timeout` seconds of wall time, however
slowly its answer drips. The client reads an answer up to a limit.
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
"""No service answers more than this. An answer that announces more is not read at all."""
MOST_SHOWN = 2000
"""Characters of an answer that are kept, to be shown."""
LONGEST_CARD = 60
"""Characters that a card number may stretch over, at the place where an answer is cut off."""
USER_AGENT = f"dispute-bridge/{__version__}"


class HttpClient:
    """Calls one service and keeps its connections. `service` is the service's name in errors.

    If an answer echoes the `secret` of the request, it is cut.
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
        defaults = {"Accept": "application/json", "User-Agent": USER_AGENT}
        self.headers = {**requests.utils.default_headers(), **defaults, **(headers or {})}
        self.idle: collections.deque[Connection] = collections.deque()

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
        """Makes one request. Returns status, headers and content, which may exceed the limit by one byte.

        It calls `before` once it is connected, right before the first byte. Time spent in `before` does not
        count against the timeout, and an exception from it ends the request unsent. Raises TemporaryError if
        the request certainly was not sent, Unclear if no answer came.
        """
        request = requests.Request(
            method, url, params=params, json=body, data=form, headers=self.headers, auth=auth
        )
        with self._connection(before) as connection:
            try:
                response = connection.send(request)
                with response:
                    content = bytearray()
                    most = MOST_BYTES if (response.raw.length_remaining or 0) <= MOST_BYTES else -1
                    while len(content) <= most and (piece := response.raw.read1(65536, True)):
                        content += piece
                    if connection.is_late:
                        raise Unclear(self._late())
                    if self.secret:
                        content = content.replace(self.secret.encode(), CUT.encode())
                    return response.status_code, response.headers, bytes(content)
            except (RequestException, HTTPError, OSError) as error:
                if connection.deadline is None:
                    raise TemporaryError(f"{self.service} cannot be reached: {_cause(error)}") from None
                if connection.is_late:
                    raise Unclear(self._late()) from None
                raise Unclear(f"The connection to {self.service} broke: {_cause(error)}") from None

    def _late(self) -> str:
        return f"{self.service} did not answer within {self.timeout:g} s."

    @contextlib.contextmanager
    def _connection(self, before: Callable[[], None]) -> Iterator[Connection]:
        """Yields the connection used last, which is the most likely to be open still, or a new one."""
        try:
            connection = self.idle.pop()
        except IndexError:
            connection = Connection(self.timeout)
        connection.before = before
        try:
            yield connection
        finally:
            connection.end()
            self.idle.append(connection)

    def close(self) -> None:
        """Closes the idle connections."""
        while self.idle:
            self.idle.pop().session.close()


def error_messages(content: bytes) -> tuple[dict[str, list[str]], str]:
    """Returns the messages of an error answer by field, and as one text. Of HTML it only says "(no JSON)"."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return {}, "(no JSON)" if content else "(nothing)"
    if isinstance(tree, list):
        tree = {"": tree}
    if not isinstance(tree, dict):
        return {}, storable(str(tree))[:MOST_SHOWN]
    fields = {
        storable(name): [storable(str(item)) for item in (value if isinstance(value, list) else [value])]
        for name, value in tree.items()
    }
    text = "; ".join(
        " ".join(messages) if name in ("detail", "") else f"{name}: {' '.join(messages)}"
        for name, messages in fields.items()
    )
    return fields, text[:MOST_SHOWN]


def parse_json(content: bytes) -> typing.Any:
    """Returns an answer as JSON values, or None if it is too large or not JSON."""
    try:
        return json.loads(content) if len(content) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        return None


def excerpt(content: bytes) -> str:
    """Returns the beginning of an answer, as much as is kept, with card numbers cut."""
    return storable(content[: MOST_SHOWN + LONGEST_CARD].decode("utf-8", "replace"))[:MOST_SHOWN]


def storable(text: str) -> str:
    """Returns a text with card numbers cut, and without what a database rejects: NUL and lone surrogates."""
    return cut_text(text.replace("\0", "\ufffd").encode("utf-8", "replace").decode())


def _cause(error: BaseException) -> str:
    """Returns the cause of a library's error in plain words."""
    while inner := getattr(error, "reason", None) or (error.args[0] if error.args else None):
        if not isinstance(inner, BaseException):
            break
        error = inner
    for kinds, text in CAUSES:
        if isinstance(error, kinds):
            return text
    return type(error).__name__


CAUSES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((NameResolutionError, socket.gaierror), "host name not found"),
    ((NewConnectionError, ConnectionRefusedError), "connection refused"),  # a kind of the next
    ((ConnectTimeoutError,), "connection timed out"),
    ((ssl.SSLError, SSLError), "TLS or certificate error"),
    ((ReadTimeoutError, TimeoutError), "response timed out"),
    ((ProtocolError, OSError, HTTPException), "connection closed"),
)


class Connection:
    """One connection, and the request that uses it now."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy and no netrc decides where a token goes
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, Adapter(self))
        self.before: Callable[[], None]
        self.deadline: Deadline | None = None  # not None: a byte of the request may have left

    @property
    def is_late(self) -> bool:
        """Whether the request has taken longer than its timeout."""
        return self.deadline is not None and self.deadline.passed

    def send(self, request: requests.Request) -> requests.Response:
        """Sends a request. Returns its response with an unread body."""
        return self.session.send(
            request.prepare(),  # not by the session, which would send an earlier answer's cookies
            timeout=(min(CONNECT_SECONDS, self.timeout), self.timeout),
            allow_redirects=False,
            stream=True,
            proxies={},
        )

    def begin(self, opened: HTTPConnection) -> None:
        """Calls `before` on a connection that is open, and starts the timeout."""
        self.before()
        self.deadline = WATCH.begin(self.timeout, opened.sock)

    def end(self) -> None:
        """Stops the timeout, so that it no longer closes the connection."""
        if self.deadline:
            self.deadline.over = True
        self.deadline = None


class Adapter(HTTPAdapter):
    """requests' adapter for one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        """Calls `Connection.begin` at the very last moment, once nothing but the request is left to send."""
        super().init_poolmanager(*args, **kwargs)
        connection = self.connection

        class Http(HTTPConnection):
            def request(self, *args: typing.Any, **kwargs: typing.Any) -> None:
                if self.sock is None:
                    self.connect()
                connection.begin(self)
                super().request(*args, **kwargs)

        class Https(Http, HTTPSConnection):
            pass

        class HttpPool(HTTPConnectionPool):
            ConnectionCls = Http

        class HttpsPool(HTTPSConnectionPool):
            ConnectionCls = Https

        self.poolmanager.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
