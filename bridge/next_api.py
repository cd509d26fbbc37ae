"""The client of 29next's Admin API: one call in, an answer or one of the errors out.

It retries nothing: retries are durable and belong to the inbox. Every call carries the API version,
follows no redirect, and ends after `timeout` seconds of wall time, however slowly an answer drips.
Facts: 29next's OpenAPI documents (doc) for paths, versions and the limit of 4 calls a second.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import typing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

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

from bridge.deadline import WATCH, Deadline
from bridge.errors import (
    MissingScope,
    NotFound,
    Refused,
    StoreRefused,
    TemporaryError,
    Throttled,
    TooLate,
    Unclear,
)
from bridge.retry import parse_retry_after

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.settings import Store

Json = typing.Any

CONNECT_SECONDS = 5.0
MOST_BYTES = 2_000_000
"""An answer larger than this is none of 29next's."""
WORDS = 2000
"""How much of an answer is kept to be shown."""
MOST_PAGES = 50
USER_AGENT = "dispute-bridge/0.1"


@dataclass(slots=True)
class Answer:
    """What came back from one call, for the record; `status` is None where nothing did."""

    status: int | None = None
    text: str = ""
    seconds: float = 0.0
    date: float | None = None  # 29next's clock as it answered, seconds since the epoch


class NextApi:
    """One store's Admin API. `slot` is called before every call but the first, which has its own."""

    def __init__(
        self, store: Store, *, version: str, timeout: float, clock: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self.timeout = timeout
        self.clock = clock
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy and no netrc decides where a token goes
        self.session.headers.update(
            {
                "Authorization": f"Bearer {store.token}",
                "X-29next-API-Version": version,
                "Accept": "application/json",
                "User-Agent": USER_AGENT,
            }
        )
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, _Adapter(pool_connections=1, pool_maxsize=32))

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json = None,
        answer: Answer | None = None,
        send_by: float | None = None,
    ) -> Json:
        """Make one call and return its JSON; `answer` is filled in for the record, whatever happens.

        Past `send_by` (of the monotonic clock) not a byte of it leaves any more: TooLate.

        Raises Throttled or TemporaryError where it certainly did not happen, Unclear where a write
        may have, Refused (NotFound) with 29next's words, StoreRefused where the token or the store
        is the matter, and MissingScope where only transactions are forbidden.
        """
        record = answer if answer is not None else Answer()
        writes = method != "GET"
        started = time.monotonic()
        try:
            status, headers, content = self._exchange(method, path, params, body, send_by)
        except _NotConnected as error:
            raise TemporaryError(str(error)) from None
        except _NoAnswer as error:
            raise (Unclear(str(error)) if writes else TemporaryError(str(error))) from None
        finally:
            record.seconds = time.monotonic() - started
        record.status, record.text = status, _storable(content[:WORDS].decode("utf-8", "replace"))
        record.date = _moment(headers.get("Date"))
        if 200 <= status < 300:
            return self._readable(content, writes=writes)
        raise self._error(method, path, status, headers, content)

    def rows(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        answer: Answer | None = None,
        slot: Callable[[], None] | None = None,
        send_by: float | None = None,
    ) -> list[Json]:
        """Return the rows of a list, all its pages; `slot` waits for the turn of each further page."""
        found: list[Json] = []
        for page in self.pages(path, params, answer=answer, slot=slot, send_by=send_by):
            found += page
        return found

    def pages(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        answer: Answer | None = None,
        slot: Callable[[], None] | None = None,
        send_by: float | None = None,
    ) -> Iterator[list[Json]]:
        """Yield the pages of a list; a list that does not end is a TemporaryError."""
        wanted: Mapping[str, str] | None = params
        for _ in range(MOST_PAGES):
            rows, following = self.page(path, wanted, answer=answer, send_by=send_by)
            yield rows
            if following is None:
                return
            path, wanted, send_by = following, None, None
            if slot:
                slot()
        raise TemporaryError(f"29next's list has more than {MOST_PAGES} pages.")

    def page(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        answer: Answer | None = None,
        send_by: float | None = None,
    ) -> tuple[list[Json], str | None]:
        """Return the rows of one page of a list, and the path of the next one, if there is one."""
        page = self.call("GET", path, params=params, answer=answer, send_by=send_by)
        rows = page.get("results") if isinstance(page, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise TemporaryError("29next answered a list that is none.")
        following = page.get("next")
        return rows, _page_after(path, str(following)) if following else None

    def prepare(self) -> None:
        """Have a connection ready, so that a call leaves when its slot opens; raises TemporaryError."""
        request = self.session.prepare_request(requests.Request("GET", self.store.base_url))
        adapter = typing.cast("typing.Any", self.session.get_adapter(self.store.base_url))
        try:
            pool = adapter.get_connection_with_tls_context(request, verify=True)
            adapter.cert_verify(pool, self.store.base_url, verify=True, cert=None)
            connection = pool._get_conn(CONNECT_SECONDS)  # noqa: SLF001  urllib3 has no public way
            try:
                if connection.sock is None:
                    connection.timeout = min(CONNECT_SECONDS, self.timeout)
                    connection.connect()
            finally:
                pool._put_conn(connection)  # noqa: SLF001
        except (RequestException, HTTPError, OSError) as error:
            raise TemporaryError(f"29next cannot be reached: {_reason(error)}") from None

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    # disputes and transactions, by name

    def create_dispute(self, body: Json) -> Json:
        """Create a dispute; never call it twice for one case without looking."""
        return self.call("POST", "disputes/", body=body)

    def list_disputes(self, **filters: str) -> list[Json]:
        """Return the disputes that fit the filters."""
        return self.rows("disputes/", filters)

    def retrieve_dispute(self, dispute_id: int) -> Json:
        """Return one dispute."""
        return self.call("GET", f"disputes/{dispute_id}/")

    def update_dispute(self, dispute_id: int, body: Json) -> Json:
        """Change some fields of a dispute, such as its transaction."""
        return self.call("PATCH", f"disputes/{dispute_id}/", body=body)

    def resolve_dispute(self, dispute_id: int, body: Json) -> Json:
        """Resolve a dispute."""
        return self.call("POST", f"disputes/{dispute_id}/resolve/", body=body)

    def add_note(self, dispute_id: int, message: str) -> Json:
        """Add a note to a dispute."""
        return self.call("POST", f"disputes/{dispute_id}/notes/", body={"message": message})

    def list_notes(self, dispute_id: int) -> list[Json]:
        """Return the notes of a dispute."""
        return self.rows(f"disputes/{dispute_id}/notes/", {})

    def list_transactions(self, **filters: str) -> list[Json]:
        """Return the transactions that fit the filters."""
        return self.rows("transactions/", filters)

    def retrieve_transaction(self, transaction_id: int) -> Json:
        """Return one transaction."""
        return self.call("GET", f"transactions/{transaction_id}/")

    # the exchange

    def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Json,
        send_by: float | None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = urljoin(self.store.base_url, path)
        with WATCH.within(self.timeout) as deadline:
            _CURRENT.deadline, _CURRENT.send_by, _CURRENT.sent = deadline, send_by, False
            try:
                response = self.session.request(
                    method,
                    url,
                    params=params,
                    json=body,
                    timeout=(min(CONNECT_SECONDS, self.timeout), self.timeout),
                    allow_redirects=False,
                    stream=True,
                )
                with response:
                    content = bytearray()
                    while len(content) <= MOST_BYTES and (piece := response.raw.read1(65536, True)):
                        content += piece
                    if deadline.passed:
                        raise _NoAnswer(f"29next did not answer within {self.timeout:g} s.")
                    return response.status_code, response.headers, bytes(content)
            except (RequestException, HTTPError, OSError) as error:
                if not _CURRENT.sent:
                    raise _NotConnected(f"29next cannot be reached: {_reason(error)}") from None
                if deadline.passed:
                    raise _NoAnswer(f"29next did not answer within {self.timeout:g} s.") from None
                raise _NoAnswer(f"The connection to 29next broke: {_reason(error)}") from None

    @staticmethod
    def _readable(content: bytes, *, writes: bool) -> Json:
        try:
            if len(content) > MOST_BYTES:
                raise ValueError("too large")
            answer = json.loads(content)
            if isinstance(answer, dict):
                return answer
        except (ValueError, RecursionError):
            pass
        message = "29next said yes, but its answer cannot be read."
        raise Unclear(message) if writes else TemporaryError(message)

    def _error(
        self, method: str, path: str, status: int, headers: Mapping[str, str], content: bytes
    ) -> Exception:
        writes = method != "GET"
        collection = path in ("disputes/", "transactions/")
        fields, words = _words(content)
        said = f"29next answered {status}: {words}"
        if status == 429:
            return Throttled(
                said, retry_after=parse_retry_after(headers.get("Retry-After"), self.clock()) or 1.0
            )
        if status == 401 or (status == 403 and path.startswith("disputes/")):
            return StoreRefused(said)
        if status == 403:
            return MissingScope(said)
        if 300 <= status < 400:
            return StoreRefused(said) if collection else _unclear_or_later(said, writes=writes)
        if status == 404 and "?" in path:
            return TemporaryError(said)  # the cursor of a further page: the list is read anew
        if status == 404:
            return StoreRefused(said) if collection else NotFound(said, fields=fields)
        if 400 <= status < 500 and status != 408:
            return Refused(said, fields=fields)
        retry_after = parse_retry_after(headers.get("Retry-After"), self.clock())
        return Unclear(said) if writes else TemporaryError(said, retry_after=retry_after)


def _page_after(path: str, url: str) -> str:
    """Return the path of a further page: of its address only the query counts, the rest is ours."""
    try:
        query = urlsplit(url).query
    except ValueError:
        raise TemporaryError("29next answered a list whose next page has no proper address.") from None
    return f"{path.partition('?')[0]}?{query}"


class _NotConnected(Exception):
    """The request was certainly not sent."""


class _NoAnswer(Exception):
    """The request may have been sent; no answer came."""


def _unclear_or_later(message: str, *, writes: bool) -> Exception:
    return Unclear(message) if writes else TemporaryError(message)


def _moment(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError):
        return None


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
    ((ConnectTimeoutError,), "it does not take the connection in time"),
    ((NewConnectionError, ConnectionRefusedError), "the connection is refused"),
    ((ssl.SSLError, SSLError), "its certificate or TLS is not accepted"),
    ((ReadTimeoutError, TimeoutError), "it does not answer in time"),
    ((ProtocolError, OSError, HTTPException), "the connection was cut"),
)


def _words(content: bytes) -> tuple[dict[str, list[str]], str]:
    """Return 29next's complaint by field, and as one text; HTML pages are only named."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return {}, "(no JSON)" if content else "(nothing)"
    if isinstance(tree, list):
        tree = {"": tree}
    if not isinstance(tree, dict):
        return {}, _storable(str(tree)[:WORDS])
    fields = {
        _storable(name): [_storable(str(one)) for one in (value if isinstance(value, list) else [value])]
        for name, value in tree.items()
    }
    words = "; ".join(
        " ".join(said) if name in ("detail", "") else f"{name}: {' '.join(said)}"
        for name, said in fields.items()
    )
    return fields, words[:WORDS]


def _storable(text: str) -> str:
    """Replace what no database takes: NUL, and halves of characters."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class _Current(threading.local):
    """What the call that this thread is making must keep to."""

    deadline: Deadline | None = None
    send_by: float | None = None
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
        # the very last moment: a process that was stopped anywhere before sends nothing any more
        if _CURRENT.send_by is not None and time.monotonic() > _CURRENT.send_by:
            raise TooLate
        _CURRENT.sent = True
        super().request(*args, **kwargs)  # type: ignore[misc]  # the mixin's base is urllib3's


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
