"""Calls a provider's API: authorizes each call, records it on its cases, and tells apart what came back."""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass, field
from urllib.parse import quote

from bridge.cards import cut_text
from bridge.disputes import retry
from bridge.errors import (
    BridgeError,
    NotFound,
    PermanentError,
    StoreRefused,
    TemporaryError,
    Throttled,
    Unclear,
)
from bridge.outbound.authorization import Authorization, Key, OAuth
from bridge.outbound.http import HttpClient, error_messages, excerpt
from bridge.providers.outcomes import HeaderKey, Login, Signature
from bridge.settings import HEADER_WORD, OAuthKeys
from bridge.storage.ids import new_id
from bridge.tree import pick

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.providers.base import Provider
    from bridge.providers.outcomes import Outcome
    from bridge.storage.inbox import Inbox
    from bridge.storage.outcomes import PendingOutcome

Json = typing.Any

REFUSED = (401, 403)
"""What a wrong key is answered: a person looks, and it goes on by itself once the key is taken."""
CONFLICT, THROTTLED = 409, 429
AGAIN = (408, CONFLICT, 425, THROTTLED)


class HasOne(BridgeError):
    """The provider has an outcome of this alert already."""


@dataclass(frozen=True)
class Request:
    """One call about some cases; `parts` are what it says of each of them."""

    method: str
    path: str
    cases: Sequence[PendingOutcome]
    body: Json = None
    parts: Sequence[Json] = ()
    words: Mapping[str, str] = field(default_factory=dict)  # that it sends, by case
    kept: str | None = None  # a path: nothing else of a good answer is recorded; empty: nothing at all
    tells: bool = False  # it tells the outcome


Judge = typing.Callable[[Json, "PendingOutcome"], "BridgeError | None"]
"""What a good answer says of one case: None where its outcome was taken."""


class ProviderApi:
    """One provider's API."""

    def __init__(
        self, provider: Provider, credentials: str | OAuthKeys, inbox: Inbox, *, timeout: float
    ) -> None:
        self.provider = provider
        self.credentials = credentials
        self.inbox = inbox
        self.exchange = HttpClient(provider.title, timeout=timeout)
        self.token: str | None = None

    def call(self, outcome: Outcome, request: Request, judge: Judge | None = None) -> Json:
        """Make one call, and return its answer; a token that is not taken any more is replaced.

        With a judge the answer is what it says of each case, by its id. Raises what went wrong with the
        call as a whole.
        """
        had_token = self.token is not None
        try:
            return self._send(outcome, request, self._authorized(outcome, request), judge)
        except StoreRefused:
            if not had_token:
                raise
            self.token = None
            return self._send(outcome, request, self._authorized(outcome, request), judge)

    def _authorized(self, outcome: Outcome, request: Request) -> Authorization:
        """Return what authorizes a call: a key, a token that a login gives for it, or a signature."""
        how, key = outcome.authentication, self.credentials
        if isinstance(key, OAuthKeys):
            self.exchange.secret = key.consumer_key
            return OAuth(key)
        if isinstance(how, Signature):
            raise PermanentError("Its calls need a signature, but no signing key is set.")
        if isinstance(how, HeaderKey):
            self.exchange.secret = key
            return Key(how.header, how.scheme, key)
        if self.token is None:
            self.exchange.secret = key
            self.token = self._log_in(outcome, how, Key("Authorization", "Bearer ", key), request)
        self.exchange.secret = self.token
        return Key("Authorization", "Bearer ", self.token)

    def _log_in(self, outcome: Outcome, how: Login, auth: Authorization, request: Request) -> str:
        login = Request("POST", how.path, request.cases[:1], kept="")
        token = pick(self._send(outcome, login, auth, None), how.token)
        if not isinstance(token, str) or not HEADER_WORD.fullmatch(token):
            raise PermanentError("Its login returned no token.")
        return token

    def _send(self, outcome: Outcome, request: Request, auth: Authorization, judge: Judge | None) -> Json:
        """Make and record one call."""
        url = (outcome.url or "") + request.path.format(id=quote(request.cases[0].provider_id, safe=""))
        now = self.inbox.now()
        made = [self._attempt(request, place, url, now) for place in range(len(request.cases))]
        self.inbox.outcomes.record(made, request.words)
        answer: Json = None
        found: BridgeError | None = None
        said: dict[str, BridgeError | None] = {}
        try:
            status, headers, content = self.exchange.send(request.method, url, body=request.body, auth=auth)
            answer, text = _read(content)
            found = self._error(outcome, request, status, headers, content)
            said = {one.case_id: judge(answer, one) for one in request.cases} if judge and not found else {}
            if request.kept is not None and found is None:
                text = f"{request.kept}: {pick(answer, request.kept)}" if request.kept else ""
            ended: Json = {"status": status, "response": cut_text(text)}
        except (TemporaryError, Unclear) as error:
            found, ended = error, {"response": str(error)}
        ended["seconds"] = round(self.inbox.now() - now, 4)
        for attempt in made:
            attempt |= {**ended, "outcome": _word(found or said.get(attempt["case_id"]))}
        self.inbox.outcomes.record(made)
        if found:
            raise found
        return said if judge else answer

    def _attempt(self, request: Request, place: int, url: str, now: float) -> Json:
        """Begin the record of a call on one of its cases."""
        about = request.cases[place]
        attempt: Json = {"id": new_id("a", now), "case_id": about.case_id, "outcome": "intended"}
        attempt |= {"store": about.store, "provider": self.provider.name, "started_at": now}
        part = request.parts[place] if request.parts else request.body
        attempt |= {"method": request.method, "path": url, "request": part}
        return attempt

    def _error(
        self, outcome: Outcome, request: Request, status: int, headers: Mapping[str, str], content: bytes
    ) -> BridgeError | None:
        """Tell apart what a status means; None where it is well."""
        if 200 <= status < 300:
            return None
        words, may_work_later = error_messages(content)[1], False
        if outcome.batch:
            listed, may_work_later = outcome.batch.error_messages(
                _read(content)[0], outcome.batch.call_errors
            )
            words = listed or words
        said = f"{self.provider.title} answered {status}: {words}"
        tells_one = request.tells and outcome.batch is None and 400 <= status < 500
        if tells_one and (status == CONFLICT or outcome.is_duplicate_error(words)):
            return HasOne(f"{self.provider.title} says that it has an outcome already.")
        wait = retry.parse_retry_after(headers.get("Retry-After"), self.inbox.now())
        if status in REFUSED:
            return StoreRefused(f"{said} (is {self.provider.key_variable} right?)")
        if may_work_later and 400 <= status < 500 and status != THROTTLED:
            return TemporaryError(said, retry_after=wait)
        if 400 <= status < 500 and status not in AGAIN:
            return NotFound(said) if status == 404 else PermanentError(said)
        if status == THROTTLED:
            return Throttled(said, retry_after=wait or 1.0)
        return Unclear(said) if request.method == "POST" else TemporaryError(said, retry_after=wait)


def _read(content: bytes) -> tuple[Json, str]:
    """Return an answer as JSON, if it is that, and its beginning as text."""
    text = excerpt(content)
    try:
        return json.loads(content), text
    except (ValueError, RecursionError):
        return None, text


def _word(error: BridgeError | None) -> str:
    words = {Throttled: "throttled", TemporaryError: "temporary", Unclear: "unclear", type(None): "ok"}
    return words.get(type(error), "refused")
