"""The client of 29next's Admin API: one call in, an answer or one of the errors out.

It retries nothing: retries are durable and belong to the inbox. Every call sends the API version, follows
no redirect, and ends after `timeout` seconds of wall time, however slowly the answer arrives.
Facts: 29next's OpenAPI documents (doc) for paths, versions and the limit of 4 calls a second.
"""

from __future__ import annotations

import contextlib
import re
import time
import typing
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from bridge.disputes.retry import parse_http_date, parse_retry_after
from bridge.errors import (
    MissingScope,
    NotFound,
    PermanentError,
    Refused,
    StoreRefused,
    TemporaryError,
    Throttled,
    TooLate,
    Unclear,
)
from bridge.outbound.http import HttpClient, error_messages, excerpt, parse_json
from bridge.pace import Turn

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.pace import Slot
    from bridge.settings import Store

Json = typing.Any

MOST_PAGES = 50
TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")
OAUTH_WORD = re.compile(r"[a-z_]{1,40}")
"""The form of OAuth 2's error codes; nothing else is shown."""


@dataclass(slots=True)
class Answer:
    """The answer to one call, for the record; `status` is None if there was none."""

    status: int | None = None
    text: str = ""
    seconds: float = 0.0
    date: float | None = None  # 29next's clock as it answered, seconds since the epoch


class NextApi:
    """One store's Admin API; every call waits for a slot, which `take` takes."""

    def __init__(
        self,
        store: Store,
        *,
        version: str,
        timeout: float,
        take: Callable[[], Slot] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.take = take
        self.sleep = sleep
        self.clock = clock
        headers = {"Authorization": f"Bearer {store.token}", "X-29next-API-Version": version}
        self.exchange = HttpClient("29next", timeout=timeout, headers=headers, secret=store.token)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json = None,
        answer: Answer | None = None,
        turn: Turn | None = None,
        kinds: tuple[type, ...] = (dict,),
    ) -> Json:
        """Makes one call and returns its JSON, of one of these kinds; `answer` is filled in in any case.

        It waits for its turn: the given one, or one of its own.

        Raises Throttled or TemporaryError if it certainly did not happen, Unclear if a write may have
        happened, Refused (NotFound) with 29next's message, StoreRefused if 29next rejects the token or the
        store, and MissingScope if the token lacks a scope that disputes do not need.
        """
        record, writes = answer or Answer(), method != "GET"
        if turn is None and self.take:
            turn = Turn(self.take, sleep=self.sleep)
        started = time.monotonic()
        try:
            status, headers, content = self.exchange.send(
                method,
                urljoin(self.store.base_url, path),
                params=params,
                body=body,
                before=turn.wait if turn else lambda: None,
            )
        except Unclear as error:
            raise (error if writes else TemporaryError(str(error))) from None
        except TooLate as error:
            raise TemporaryError(str(error)) from None
        finally:
            record.seconds = time.monotonic() - ((turn and turn.came_at) or started)
        record.status, record.text = status, excerpt(content)
        record.date = _moment(headers.get("Date"))
        if not 200 <= status < 300:
            raise self._error(path, status, headers, content, writes=writes)
        answered = parse_json(content)
        if not isinstance(answered, kinds):
            message = "29next reported success, but its response could not be parsed."
            raise _unclear_or_later(message, writes=writes)
        return answered

    def get_objects(self, path: str, *, answer: Answer | None = None) -> list[Json]:
        """Returns the objects at a path: 29next answers an array, a page of them, or a single one."""
        answered = self.call("GET", path, answer=answer, kinds=(dict, list))
        if isinstance(answered, dict):
            if answered.get("next"):
                raise Refused("29next's list has more than one page.")
            answered = answered.get("results", [answered])
        return _objects(answered)

    def find(self, path: str, *, answer: Answer | None = None, turn: Turn | None = None) -> Json:
        """Returns the object at a path, or None if 29next does not know it."""
        with contextlib.suppress(NotFound):
            return self.call("GET", path, answer=answer, turn=turn)
        return None

    def rows(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        answer: Answer | None = None,
        turn: Turn | None = None,
        before_more: Callable[[], None] = lambda: None,
        most: int = MOST_PAGES,
    ) -> list[Json]:
        """Returns the rows of all pages of a list; raises Refused if there are more than `most`.

        `turn` is the first page's; `before_more` is called before each further one.
        """
        collected: list[Json] = []
        wanted: Mapping[str, str] | None = params
        for _ in range(most):
            rows, following = self.page(path, wanted, answer=answer, turn=turn)
            collected += rows
            if following is None:
                return collected
            path, wanted, turn = following, None, None
            before_more()
        raise Refused(f"29next's list has more than {most} pages.")

    def page(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        answer: Answer | None = None,
        turn: Turn | None = None,
    ) -> tuple[list[Json], str | None]:
        """Returns the rows of one page of a list, and the path of the next page, if any."""
        page = self.call("GET", path, params=params, answer=answer, turn=turn)
        rows, following = _objects(page.get("results")), page.get("next")
        return rows, _page_after(path, str(following)) if following else None

    def close(self) -> None:
        """Closes the connections."""
        self.exchange.close()

    def _error(
        self, path: str, status: int, headers: Mapping[str, str], content: bytes, *, writes: bool
    ) -> Exception:
        """Returns the error that a status means."""
        collection = path in ("disputes/", "transactions/")
        fields, complaint_text = error_messages(content)
        message = f"29next answered {status}: {complaint_text}"
        retry_after = parse_retry_after(headers.get("Retry-After"), self.clock())
        if status == 429:
            return Throttled(message, retry_after=retry_after)
        if status == 401 or (status == 403 and path.startswith("disputes/")):
            return StoreRefused(message)
        if status == 403:
            return MissingScope(message)
        if 300 <= status < 400:
            return StoreRefused(message) if collection else _unclear_or_later(message, writes=writes)
        if status == 404 and "?" in path:
            return TemporaryError(message)  # the cursor of a further page: the list is read again
        if status == 404:
            return StoreRefused(message) if collection else NotFound(message, fields=fields)
        if 400 <= status < 500 and status != 408:
            return Refused(message, fields=fields)
        return (Unclear if writes else TemporaryError)(message, retry_after=retry_after)


def _objects(rows: Json) -> list[Json]:
    """Returns the rows of a list, checked."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TemporaryError("29next returned an invalid list.")
    return rows


def fetch_token(url: str, form: Mapping[str, str], *, timeout: float) -> str:
    """Returns the access token of a store for the code of its installation, by OAuth 2.

    Raises TemporaryError if 29next does not answer, PermanentError if it issues no token.
    """
    exchange = HttpClient("29next", timeout=timeout)
    try:
        status, _, content = exchange.send("POST", url, form=form)
    except Unclear as error:
        raise TemporaryError(str(error)) from None
    finally:
        exchange.close()
    answered = parse_json(content)
    response = answered if isinstance(answered, dict) else {}
    token, kind = str(response.get("access_token", "")), str(response.get("token_type", ""))
    if status == 200 and TOKEN.fullmatch(token) and kind.lower() == "bearer":
        return token
    code = str(response.get("error", ""))
    why = f"{status}: {code}" if OAUTH_WORD.fullmatch(code) else str(status)
    again = status == 429 or status >= 500
    raise (TemporaryError if again else PermanentError)(f"29next did not issue a token ({why}).")


def _page_after(path: str, url: str) -> str:
    """Returns the path of a further page; only the query of 29next's URL is used."""
    try:
        query = urlsplit(url).query
    except ValueError:
        raise TemporaryError("29next returned a list with an invalid next page.") from None
    return f"{path.partition('?')[0]}?{query}"


def _unclear_or_later(message: str, *, writes: bool) -> Exception:
    return Unclear(message) if writes else TemporaryError(message)


def _moment(text: str | None) -> float | None:
    try:
        return parse_http_date(text or "")
    except (ValueError, TypeError, OverflowError):
        return None
