"""A bridge at work in this process: front door, worker and a sandbox store, on a clock that tests move."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flask import Flask

from bridge import providers
from bridge.app import create_app
from bridge.database import Database
from bridge.forward import Forwarder
from bridge.inbox import Claim, Inbox
from bridge.judge import Judge
from bridge.sandbox import STORE, TOKEN, Sandbox
from bridge.search import Search
from bridge.settings import Settings, Store
from tests.support.by_name import ByName
from tests.support.running import PASSWORDS, Senders, Sent

Json = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = 3600.0, 86_400.0
NEXT_SECRET = "the-secret-of-29next"
API_TOKEN = "the-token-of-the-api"
ROUNDS = 300
"""How often the worker looks for more to do at one moment of the clock."""


@dataclass
class Clock:
    """The time that the bridge and 29next go by."""

    now: float = NOON.timestamp()

    def __call__(self) -> float:
        self.now += 0.001  # no two things happen at the same moment
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @property
    def iso(self) -> str:
        """The moment as 29next and providers write it."""
        return datetime.fromtimestamp(self.now, UTC).isoformat()


@dataclass
class Desk:
    """The bridge, its sandbox store and its clock."""

    settings: Settings
    app: Flask
    database: Database
    sandbox: Sandbox
    clock: Clock
    senders: Senders = field(default_factory=Senders)

    def __post_init__(self) -> None:
        self.inbox: Inbox = self.app.extensions["inbox"]
        self.search: Search = self.app.extensions["search"]
        self.judge = Judge(self.inbox, self.settings)
        self.forwarder = Forwarder(self.inbox, self.settings, sleep=self.clock.sleep)
        self.inbox.register(self.settings.stores.values())
        self.client = self.app.test_client()
        self.events = itertools.count(1)

    @property
    def store(self) -> Store:
        """The only store."""
        return self.settings.stores[STORE]

    @functools.cached_property
    def api(self) -> ByName:
        """The client of somebody who works in the store."""
        return ByName(self.store, version=self.settings.api_version, timeout=self.settings.timeout)

    # what comes in

    def post(self, sent: Sent) -> str:
        """Post a provider's webhook; returns the id of its delivery."""
        answer = self.client.post(sent.path, data=sent.body, headers=sent.headers)
        assert answer.status_code == 200, answer.text
        (row,) = self.deliveries(q=sent.event_id, provider=sent.provider, limit="1") or self.newest()
        return str(row["id"])

    def newest(self) -> list[Json]:
        """The delivery that was received last."""
        return self.search.deliveries({"limit": "1"}).results

    def tell(self, event: str, data: Json, *, path: str = "/webhooks/next", event_id: str = "") -> int:
        """Post one of 29next's own webhooks, signed; returns the status of the answer."""
        told = {
            "object": event.partition(".")[0],
            "data": data,
            "event_id": event_id or f"evt-{next(self.events)}",
            "event_type": event,
            "webhook": {"id": 1, "store": STORE, "target": "https://alerts.example.com", "events": [event]},
            "api_version": "2023-02-10",
        }
        body = json.dumps(told).encode()
        proof = self.settings.providers["next"].proof
        headers = proof.sign(body, NEXT_SECRET, datetime.now(UTC))
        return self.client.post(path, data=body, headers=headers).status_code

    def work(self) -> None:
        """Translate and forward until there is nothing more to do at this moment."""
        for _ in range(ROUNDS):
            translated = self.inbox.translate(self.judge.verdict, 50)
            claims = self.inbox.claim(list(self.settings.stores))
            work_off(self.forwarder, claims)
            if not translated and not claims:
                return
        raise AssertionError("the worker does not come to an end")

    def settle(self, seconds: float = 10.0, times: int = 4) -> None:
        """Work, let time pass, and work again: what waits for a second look gets it."""
        for _ in range(times):
            self.work()
            self.clock.sleep(seconds)
        self.work()

    # what became of it

    def deliveries(self, **filters: str) -> list[Json]:
        """Deliveries, newest first."""
        return self.search.deliveries(filters).results

    def delivery(self, ident: str) -> Json:
        """One delivery."""
        found = self.search.delivery(ident)
        assert found
        return found

    def case(self, sent: Sent | str, kind: str = "alert") -> Json:
        """The case of an alert, whole."""
        number = sent if isinstance(sent, str) else (sent.opens or ("", ""))[0]
        kind = kind if isinstance(sent, str) else (sent.opens or ("", kind))[1]
        (row,) = self.search.cases({"case_number": number, "type": kind}).results
        found = self.search.case(row["id"])
        assert found
        return found

    def disputes(self) -> list[Json]:
        """What 29next has, oldest first."""
        return sorted(self.api.list_disputes(), key=lambda row: int(row["id"]))

    def calls(self, since: int = 0) -> list[str]:
        """The calls that the store got, such as `POST /disputes/`."""
        return [f"{call.method} {call.path}" for call in self.sandbox.ledger.calls[since:]]

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """The calls that are made meanwhile."""
        made: list[str] = []
        before = len(self.sandbox.ledger.calls)
        yield made
        made += self.calls(before)


def work_off(forwarder: Forwarder, claims: Sequence[Claim]) -> None:
    """Do what is due for some claimed cases, one call after the other."""
    errands = forwarder.prepare(claims)
    for errand in errands:
        forwarder.send(errand)
    forwarder.settle(errands)


@contextmanager
def desk(
    url: str,
    *,
    clock: Clock | None = None,
    sandbox: Sandbox | None = None,
    transactions: Sequence[Json] = (),
    also: Json | None = None,
    **changes: Any,
) -> Iterator[Desk]:
    """A bridge over a migrated database; `changes` are of its store's settings, `also` of the others."""
    clock = clock or Clock()
    known = providers.built_in()
    passwords = {name: (f"{name}:{password}",) for name, password in PASSWORDS.items()}
    with sandbox or Sandbox(rate=0, transactions=transactions, clock=clock) as shop:
        store = replace(Store(STORE, shop.base_url, TOKEN), **changes)
        settings = Settings(
            database_url=url,
            stores={STORE: store},
            default_store=STORE,
            providers=known,
            secrets={**passwords, "next": (NEXT_SECRET,)},
            rate=0.0,
            timeout=5.0,
            settle_seconds=5.0,
            api_token=API_TOKEN,
            log_level="WARNING",
        )
        settings = replace(settings, **(also or {}))
        database = Database(url, clock=clock, pool_size=8)
        try:
            made = Desk(settings, create_app(settings, database), database, shop, clock)
            yield made
            for api in (made.api, *made.forwarder.apis.values()):
                api.close()
        finally:
            database.close()
