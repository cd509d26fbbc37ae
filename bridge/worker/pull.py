"""Pulls the alerts of a provider that does not push them: stores each, commits, and then acknowledges it.

If a worker dies in between, the next pull gets the same alerts again, and they count as repeats. Two pulls
at the same time do no harm; the turn only saves useless calls.
"""

from __future__ import annotations

import math
import random
import typing
from collections import Counter
from dataclasses import dataclass, field, replace

import structlog

from bridge.alert import Webhook
from bridge.cards import cut_text
from bridge.disputes import retry
from bridge.errors import BridgeError, PermanentError, StoreRefused, TemporaryError, Unavailable
from bridge.outbound.authorization import OAuth
from bridge.outbound.http import MOST_SHOWN, HttpClient, error_messages, storable
from bridge.storage.intake import store_webhook, without_secrets
from bridge.storage.pulls import Pulls, PullState, Turn
from bridge.tree import BadBody, parse, pick, render

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bridge.providers.base import Provider
    from bridge.providers.pull import Pull
    from bridge.settings import Settings
    from bridge.settings.oauth import OAuthKeys
    from bridge.storage.inbox import Inbox
    from bridge.tree import Tree

log = structlog.get_logger()

CALLS = 2
"""Calls of a page: the alerts, and their acknowledgement. Each may take the time of a lease."""
UNAUTHORIZED = (401, 403)
FAILED = "fail"
"""How the status of an acknowledgement that was not accepted begins."""


@dataclass
class Puller:
    """Pulls providers, one worker at a time each."""

    inbox: Inbox
    settings: Settings
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Makes the API of each provider that is pulled."""
        self.pulls = Pulls(self.inbox.database)
        self.lease = CALLS * self.settings.lease
        self.apis = {name: Api(self.settings, name, self.inbox.now) for name in self.settings.pulled}

    def pull(self, name: str) -> bool:
        """Pulls all alerts of a provider, if a pull is due; returns whether it was."""
        longest = max(self.lease, retry.CEILING, self.settings.pulled[name].every or 0.0)
        turn = self.pulls.take_turn(name, self.lease, longest)
        if turn is None:
            return False
        api, done, problems = self.apis[name], set[str](), Counter[str]()
        error: BridgeError | None = None
        try:
            while turn and self._take_page(api, done, problems):
                turn = self.pulls.extend(turn, self.lease)
        except BridgeError as raised:
            error = raised
        if problems:
            message = "; ".join(f"alerts {what} ({count})" for what, count in problems.items())
            error = error or PermanentError(message)
        if turn:
            self._end(turn, error)
        return True

    def _end(self, turn: Turn, error: BridgeError | None) -> None:
        """Records how the pull went; the same failure again is not logged again."""
        now, before = self.inbox.now(), turn.pulled
        if error is None:
            after = PullState(before.since, at=now)
            due_at = now + (self.settings.pulled[turn.provider].every or 0.0)
        else:
            after = replace(before, error=str(error)[:MOST_SHOWN], failures=before.failures + 1)
            wait = error.retry_after if isinstance(error, TemporaryError) else None
            due_at = retry.next_try(now, after.failures, math.inf, self.chance, wait)
        is_news = _without_details(after.error) != _without_details(before.error)
        if self.pulls.end(turn, after, due_at) and is_news:
            if after.error:
                log.warning("alerts not pulled", provider=turn.provider, why=after.error)
            else:
                log.info("alerts pulled again", provider=turn.provider)

    def _take_page(self, api: Api, done: set[str], problems: Counter[str]) -> bool:
        """Stores a page of alerts and acknowledges them; returns whether any was new.

        Counts in `problems` why some could not be acknowledged.
        """
        problems_here = Counter[str]()
        stored = list(self._store(api, problems_here))
        is_new = not done.issuperset(stored)
        if is_new:
            problems_here += api.acknowledge(stored)
            done.update(stored)
        elif stored and not problems:
            problems_here["came again although they were acknowledged"] = len(stored)
        problems |= problems_here  # what is on two pages counts once
        return is_new

    def _store(self, api: Api, problems: Counter[str]) -> Iterator[str]:
        """Stores the alerts of the next page, each as if it had been pushed; yields their ids."""
        provider = api.provider
        path, headers = f"/webhooks/{provider.name}", {"content-type": "application/json"}
        for alert in api.page():
            pushed = Webhook(provider.name, path, render(alert), headers)
            try:
                store_webhook(self.inbox.deliveries, provider, *without_secrets(provider, pushed, path))
            except Unavailable:
                raise
            except Exception:  # one that cannot be stored stops no other
                log.exception("alert not stored", provider=provider.name)
                problems["could not be stored, see the log"] += 1
                continue
            ident = pick(alert, provider.event_id[0])
            if isinstance(ident, str) and ident.strip():
                yield ident
            else:
                problems["have no id, so they cannot be acknowledged"] += 1


class Api:
    """The API from which a provider's alerts are pulled."""

    def __init__(self, settings: Settings, name: str, now: Callable[[], float]) -> None:
        self.provider: Provider = settings.providers[name]
        self.pull: Pull = settings.pulled[name]
        keys = typing.cast("OAuthKeys", settings.api_keys[name])  # every provider that is pulled has these
        self.auth = OAuth(keys)
        self.exchange = HttpClient(self.provider.title, timeout=settings.timeout, secret=keys.consumer_key)
        self.now = now

    def page(self, most: int | None = None) -> Sequence[Tree]:
        """Returns alerts that are not acknowledged yet, `most` at most."""
        asked = {"size": str(most or self.pull.most)}
        answer = self._call("GET", self.pull.path, params=asked)
        alerts = _list_of(answer) if answer is not None else []
        if alerts is None:
            raise TemporaryError(f"{self.provider.title} answered without a list of alerts.")
        return alerts

    def acknowledge(self, idents: Sequence[str]) -> Counter[str]:
        """Acknowledges stored alerts; returns how many acknowledgements were not accepted, by reason."""
        refused = Counter[str]()
        for start in range(0, len(idents), self.pull.most):
            some = idents[start : start + self.pull.most]
            answer = self._call("POST", self.pull.acknowledge, body=self.pull.body(some))
            for result in _list_of(answer) or ():
                if str(pick(result, "status")).lower().startswith(FAILED):
                    why = cut_text(render(pick(result, "errors") or "no reason given").decode())
                    refused[f"were not accepted as acknowledged ({storable(why)[:MOST_SHOWN]})"] += 1
        return refused

    def _call(self, method: str, path: str, **sent: typing.Any) -> Tree | None:
        """Makes one call; returns its answer as JSON, or None if it is empty."""
        status, headers, content = self.exchange.send(method, self.pull.url + path, auth=self.auth, **sent)
        message = f"{self.provider.title} answered {status}: {_complaint(content)}"
        if status in UNAUTHORIZED:
            names = f"{self.provider.consumer_variable} and {self.provider.key_variable}"
            raise StoreRefused(f"{message} (are {names} right?)")
        if not 200 <= status < 300:
            wait = retry.parse_retry_after(headers.get("Retry-After"), self.now())
            raise TemporaryError(message, retry_after=wait)
        if not content.strip():
            return None
        try:
            return parse(content, ("json",))
        except BadBody:
            raise TemporaryError(f"{self.provider.title} answered {status} without readable JSON.") from None


def _without_details(error: str | None) -> str | None:
    """Returns an error without its details, which may differ each time."""
    return error and error.partition(":")[0]


def _list_of(tree: Tree | None) -> Sequence[Tree] | None:
    """Returns an array at the top, or the first one in an object (inferred: no document shows which)."""
    if isinstance(tree, list):
        return tree
    values = tree.values() if isinstance(tree, dict) else ()
    return next((value for value in values if isinstance(value, list)), None)


def _complaint(content: bytes) -> str:
    """Returns the message of an error, in Mastercard's envelope or any other."""
    try:
        errors = pick(parse(content, ("json",)), "Errors.Error")
    except BadBody:
        errors = None
    rows = errors if isinstance(errors, list) else []
    texts = [pick(row, "Description") or pick(row, "ReasonCode") for row in rows]
    text = "; ".join(str(part) for part in texts if part)
    return storable(text)[:MOST_SHOWN] if text else error_messages(content)[1]
