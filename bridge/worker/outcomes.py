"""Tells providers how their alerts ended: one outcome at a time for each, read back where that is possible.

What is owed, and to whom, is the inbox's; here it is sent, and told apart by what happens next: told,
again later, or a person.
"""

from __future__ import annotations

import json
import random
import typing
from dataclasses import dataclass, field
from urllib.parse import quote

import structlog

from bridge.cards import cut_text
from bridge.disputes import retry
from bridge.errors import BridgeError, PermanentError, StoreRefused, TemporaryError, Throttled, Unclear
from bridge.outbound.authorization import Key
from bridge.outbound.http import Exchange, beginning, complaint
from bridge.settings import HEADER_WORD
from bridge.storage.ids import new_id
from bridge.storage.outcomes import NO_WORD, Telling
from bridge.tree import pick

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.providers.base import Outcome
    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox
    from bridge.storage.outcomes import Owing

Json = typing.Any

log = structlog.get_logger()

DEADLINE = retry.DAY
"""How long networks wait for an outcome; after it, it is tried hourly for seven days."""
REFUSED = (401, 403)
"""What a wrong key is answered: a person looks, and it goes on by itself once the key is taken."""
CONFLICT, THROTTLED = 409, 429
AGAIN = (408, CONFLICT, 425, THROTTLED)


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of one try, and when it is tried again."""

    state: Telling
    message: str | None = None
    due_at: float | None = None


@dataclass
class Teller:
    """Tells the providers for which it is switched on."""

    inbox: Inbox
    settings: Settings
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Open the connections to each provider that is told."""
        known = self.settings.providers
        self.lines = {
            name: Exchange(known[name].title, timeout=self.settings.timeout)
            for name in self.settings.api_keys
        }
        self.tokens: dict[str, str] = {}

    def turn(self, provider: str) -> bool:
        """Tell a provider the outcome that is due longest; whether there was one."""
        owing = self.inbox.outcomes.claim(provider)
        if owing is None:
            return False
        ending = self._ending(owing)
        kept = self.inbox.outcomes.settle(owing, ending.state, ending.message, ending.due_at)
        level = log.info if ending.state == Telling.TOLD else log.warning
        level(
            "told outcome" if ending.state == Telling.TOLD else "outcome not told",
            provider=provider,
            case=owing.case_id,
            resolution=owing.resolution,
            state=ending.state,
            why=ending.message,
            **({} if kept else {"fence": "lost"}),
        )
        return True

    def _ending(self, owing: Owing) -> Ending:
        now, deadline = self.inbox.now(), owing.owed_at + DEADLINE
        outcome = self.settings.told(owing.store).get(owing.provider)
        if now > retry.expires(deadline):
            return Ending(Telling.FAILED, "Seven days past its time, it was still not told.")
        try:
            if outcome is None:
                raise TemporaryError(f"Nothing is told of store {owing.store} now.")
            return self._tell(owing, outcome)
        except (TemporaryError, Unclear) as error:
            wait = error.retry_after if isinstance(error, TemporaryError) else None
            due_at = retry.next_try(self.inbox.now(), owing.tries, deadline, self.chance, wait)
            return Ending(Telling.OWED, str(error), due_at)
        except _HasOne as error:
            return Ending(Telling.TOLD, str(error))
        except StoreRefused as error:
            return Ending(Telling.FAILED, str(error), self.inbox.now() + retry.LATE_INTERVAL)
        except BridgeError as error:
            return Ending(Telling.FAILED, str(error))

    def _tell(self, owing: Owing, outcome: Outcome) -> Ending:
        """Tell it, unless the provider has an outcome already: the first one stands there too."""
        if outcome.read:
            path, where = outcome.read
            has = pick(self._call(owing, outcome, "GET", path, kept=where), where)
            known = outcome.finals.get(has) if isinstance(has, str) else None
            if has is not None and has == outcome.words.get(owing.resolution):
                return Ending(Telling.TOLD, f"It has {has} already.")
            if known:
                raise PermanentError(f"It has {has} already, and 29next {owing.resolution}.")
        if owing.resolution not in outcome.words:
            raise PermanentError(NO_WORD)
        message = cut_text(owing.message) if owing.message else None
        self._call(owing, outcome, "POST", outcome.path, outcome.body(owing.resolution, message))
        return Ending(Telling.TOLD)

    def _call(
        self,
        owing: Owing,
        outcome: Outcome,
        method: str,
        path: str,
        body: Json = None,
        kept: str | None = None,
    ) -> Json:
        """Make one call; where the token of an earlier login is not taken any more, with a new one."""
        token = self.tokens.get(owing.provider)
        try:
            key = token or self._key(owing, outcome)
            return self._exchange(owing, outcome, method, path, body, key, kept)
        except StoreRefused:
            if token is None:
                raise
            return self._exchange(owing, outcome, method, path, body, self._key(owing, outcome), kept)

    def _key(self, owing: Owing, outcome: Outcome) -> str:
        """Return what a call is authorized by: the key itself, or what a login exchanges it for."""
        key = typing.cast("str", self.settings.api_keys[owing.provider])
        if outcome.login is None:
            return key
        self.tokens.pop(owing.provider, None)
        token = pick(self._exchange(owing, outcome, "POST", outcome.login, None, key, kept=""), "token")
        if not isinstance(token, str) or not HEADER_WORD.fullmatch(token):
            raise PermanentError("Its login was answered without a token.")
        self.tokens[owing.provider] = token
        return token

    def _exchange(
        self, owing: Owing, outcome: Outcome, method: str, path: str, body: Json, key: str, kept: str | None
    ) -> Json:
        """Make and record one request; where `kept` is a path, nothing else of a good answer is recorded."""
        url = outcome.url + path.format(id=quote(owing.provider_id, safe=""))
        now = self.inbox.now()
        attempt: Json = {"id": new_id("a", now), "case_id": owing.case_id, "outcome": "intended"}
        attempt |= {"store": owing.store, "provider": owing.provider, "started_at": now}
        attempt |= {"method": method, "path": url, "request": body}
        self.inbox.outcomes.record(attempt)
        answer: Json = None
        try:
            line = self.lines[owing.provider]
            line.secret = key
            status, answered, content = line.send(
                method, url, body=body, auth=Key(outcome.header, outcome.scheme, key)
            )
            answer, text = _read(content)
            error = self._error(owing.provider, method, status, answered, content)
            if status == CONFLICT and path == outcome.path:
                title = self.settings.providers[owing.provider].title
                error = _HasOne(f"{title} says that it has an outcome already.")
            if kept is not None and error is None:
                text = f"{kept}: {pick(answer, kept)}" if kept else ""
            attempt |= {"status": status, "response": cut_text(text)}
        except (TemporaryError, Unclear) as raised:
            error = raised
            attempt |= {"response": str(error)}
        attempt |= {"outcome": _word(error), "seconds": round(self.inbox.now() - now, 4)}
        self.inbox.outcomes.record(attempt)
        if error:
            raise error
        return answer

    def _error(
        self, provider: str, method: str, status: int, headers: Mapping[str, str], content: bytes
    ) -> BridgeError | None:
        """Tell apart what a status means; None where it is well."""
        known = self.settings.providers[provider]
        said = f"{known.title} answered {status}: {complaint(content)[1]}"
        if 200 <= status < 300:
            return None
        if status in REFUSED:
            return StoreRefused(f"{said} (is {known.key_variable} right?)")
        if 400 <= status < 500 and status not in AGAIN:
            return PermanentError(said)
        wait = retry.parse_retry_after(headers.get("Retry-After"), self.inbox.now())
        if status == THROTTLED:
            return Throttled(said, retry_after=wait or 1.0)
        return Unclear(said) if method == "POST" else TemporaryError(said, retry_after=wait)


class _HasOne(BridgeError):
    """The provider has an outcome of this alert already."""


def _read(content: bytes) -> tuple[Json, str]:
    """Return an answer as JSON, if it is that, and its beginning as text."""
    text = beginning(content)
    try:
        return json.loads(content), text
    except (ValueError, RecursionError):
        return None, text


def _word(error: BridgeError | None) -> str:
    words = {Throttled: "throttled", TemporaryError: "temporary", Unclear: "unclear", type(None): "ok"}
    return words.get(type(error), "refused")
