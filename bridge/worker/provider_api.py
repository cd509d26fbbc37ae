"""Calls a provider's API: authorizes each call, records it on its cases, and classifies its answer."""

from __future__ import annotations

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
from bridge.outbound.http import HttpClient, error_messages, excerpt, parse_json
from bridge.providers.outcomes import HeaderKey, Login, Signature
from bridge.settings.environment import HEADER_WORD
from bridge.settings.oauth import OAuthKeys
from bridge.storage.attempts import Attempt, CallOutcome, outcome_of
from bridge.tree import pick

if typing.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.providers.base import Provider
    from bridge.providers.outcomes import Outcome
    from bridge.storage.inbox import Inbox
    from bridge.storage.outcomes import PendingOutcome

Json = typing.Any

UNAUTHORIZED = (401, 403)
"""The statuses for a wrong key: a person has to fix it; calls continue once the key is accepted."""
CONFLICT, THROTTLED = 409, 429
RETRIED = (408, CONFLICT, 425, THROTTLED)


class HasOne(BridgeError):
    """The provider has an outcome of this alert already."""


ReadResult = typing.Callable[[Json, "PendingOutcome"], "BridgeError | None"]
"""Returns the error of one case in a successful answer, or None if its outcome was accepted."""


@dataclass(frozen=True)
class Request:
    """One call about some cases; `parts` are its content for each of them."""

    outcome: Outcome
    method: str
    path: str
    cases: Sequence[PendingOutcome]
    body: Json = None
    parts: Sequence[Json] = ()
    words: Mapping[str, str] = field(default_factory=dict)  # the words that it sends, by case
    kept: str | None = None  # a path: of a successful answer only this is recorded; empty: nothing
    read_result: ReadResult | None = None  # of a call that reports the outcome


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

    def call(self, request: Request) -> Json:
        """Makes one call and returns its answer; a token that is no longer accepted is replaced.

        With `read_result` it returns the error of each case, by the case's id. Raises the error of the call
        as a whole.
        """
        had_token = self.token is not None
        try:
            return self._send(request, self._authorized(request))
        except StoreRefused:
            if not had_token:
                raise
            self.token = None
            return self._send(request, self._authorized(request))

    def _authorized(self, request: Request) -> Authorization:
        """Returns the authorization of a call: a key, a token from a login, or a signature."""
        how, key = request.outcome.authentication, self.credentials
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
            self.token = self._log_in(how, Key("Authorization", "Bearer ", key), request)
        self.exchange.secret = self.token
        return Key("Authorization", "Bearer ", self.token)

    def _log_in(self, how: Login, auth: Authorization, request: Request) -> str:
        login = Request(request.outcome, "POST", how.path, request.cases[:1], kept="")
        token = pick(self._send(login, auth), how.token)
        if not isinstance(token, str) or not HEADER_WORD.fullmatch(token):
            raise PermanentError("Its login returned no token.")
        return token

    def _send(self, request: Request, auth: Authorization) -> Json:
        """Makes and records one call."""
        path = request.path.format(id=quote(request.cases[0].provider_id, safe=""))
        url, now = (request.outcome.url or "") + path, self.inbox.now()
        parts = request.parts or [request.body] * len(request.cases)
        made = [
            Attempt(
                case_id=case.case_id,
                store=case.store,
                provider=self.provider.name,
                method=request.method,
                path=url,
                request=part,
                started_at=now,
            )
            for case, part in zip(request.cases, parts, strict=True)
        ]
        self.inbox.outcomes.record(made, request.words)
        answer: Json = None
        status: int | None
        errors: dict[str, BridgeError | None] = {}
        try:
            status, headers, content = self.exchange.send(request.method, url, body=request.body, auth=auth)
            answer, text = parse_json(content), excerpt(content)
            found = self._error(request, status, headers, content)
            if found is None:
                if request.read_result:
                    errors = {case.case_id: request.read_result(answer, case) for case in request.cases}
                if request.kept is not None:
                    text = f"{request.kept}: {pick(answer, request.kept)}" if request.kept else ""
            text = cut_text(text)
        except (TemporaryError, Unclear) as error:
            found, status, text = error, None, str(error)
        for attempt in made:
            attempt.status, attempt.response = status, text
            attempt.outcome = _outcome_of(found or errors.get(attempt.case_id))
            attempt.seconds = round(self.inbox.now() - now, 4)
        self.inbox.outcomes.record(made)
        if found:
            raise found
        return errors if request.read_result else answer

    def _error(
        self, request: Request, status: int, headers: Mapping[str, str], content: bytes
    ) -> BridgeError | None:
        """Returns the error that a status means, or None."""
        if 200 <= status < 300:
            return None
        complaint_text, may_work_later = error_messages(content)[1], False
        batch = request.outcome.batch
        if batch:
            listed, may_work_later = batch.error_messages(parse_json(content), batch.call_errors)
            complaint_text = listed or complaint_text
        message = f"{self.provider.title} answered {status}: {complaint_text}"
        is_single_report = request.read_result and batch is None and 400 <= status < 500
        if is_single_report and (status == CONFLICT or request.outcome.is_duplicate_error(complaint_text)):
            return HasOne(f"{self.provider.title} says that it has an outcome already.")
        wait = retry.parse_retry_after(headers.get("Retry-After"), self.inbox.now())
        if status in UNAUTHORIZED:
            return StoreRefused(f"{message} (is {self.provider.key_variable} right?)")
        if may_work_later and 400 <= status < 500 and status != THROTTLED:
            return TemporaryError(message, retry_after=wait)
        if 400 <= status < 500 and status not in RETRIED:
            return NotFound(message) if status == 404 else PermanentError(message)
        if status == THROTTLED:
            return Throttled(message, retry_after=wait)
        return (Unclear if request.method == "POST" else TemporaryError)(message, retry_after=wait)


def _outcome_of(error: BridgeError | None) -> CallOutcome:
    return CallOutcome.REFUSED if isinstance(error, StoreRefused) else outcome_of(error)
