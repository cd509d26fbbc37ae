"""A bridge at work in this process: its HTTP side, a worker and a pretend 29next, on a clock that tests move.

Alerts come in over HTTP and are forwarded when a test says so; nothing is written into the database
behind the bridge's back. What it shares with a bridge in processes of its own is in `any_bridge`.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flask import Flask

from bridge import providers
from bridge.cli import run, samples
from bridge.settings import Settings, Store
from bridge.storage.database import Database
from tests.support import inside
from tests.support.any_bridge import AnyBridge
from tests.support.apps import lent_app
from tests.support.clock import Clock
from tests.support.next29 import STORE, TOKEN, StandIn, fault
from tests.support.webhooks import PASSWORDS, Senders, Sent, next_event

Json = dict[str, Any]

NEXT_SECRET = "the-secret-of-29next"


@dataclass
class InProcessBridge(AnyBridge):
    """The bridge, its pretend 29next and their clock."""

    settings: Settings
    app: Flask
    database: Database
    next29: StandIn
    clock: Clock
    senders: Senders = field(default_factory=Senders)
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    def __post_init__(self) -> None:
        self.inside = inside.Inside(self.app, self.database, self.settings, self.clock.sleep)
        self.search = self.inside.search
        self.client = self.app.test_client()
        self.events = itertools.count(1)

    @property
    def store(self) -> Store:
        """The first store."""
        return self.settings.stores[STORE]

    @functools.cached_property
    def api(self) -> inside.Client:
        """The client of somebody who works in the store."""
        return inside.Client(self.store, version=self.settings.api_version, timeout=self.settings.timeout)

    def close(self) -> None:
        """Close its connections to 29next."""
        self.inside.close()
        if "api" in self.__dict__:
            self.api.close()

    # what comes in

    def post(self, sent: Sent) -> str:
        """Post a provider's webhook; returns the id of its delivery."""
        answer = self.client.post(sent.path, data=sent.body, headers=sent.headers)
        assert answer.status_code == 200, answer.text
        if isinstance(said := answer.get_json(silent=True), dict) and "id" in said:
            return str(said["id"])
        # the provider wants another answer: ids of one moment do not sort, so newest is not good enough
        rows = self.deliveries(q=sent.event_id, provider=sent.provider, limit="1")
        return str(rows[0]["id"]) if rows else self.newest()

    def newest(self) -> str:
        """The id of the delivery that was received last; empty if there is none."""
        return "".join(str(row["id"]) for row in self.deliveries(limit="1"))

    def sample(
        self, provider: str, event: str | None = None, *, change: Callable[[Json], Any] | None = None
    ) -> tuple[samples.Sample, samples.Sale]:
        """A signed sample, and the sale that it is about."""
        table = self.settings.providers[provider]
        now = datetime.fromtimestamp(self.clock.now, UTC)
        sale = samples.make_sale(self.chance, now)
        made = samples.make(table, event or samples.events(table)[0], sale, self.chance, now)
        if change:
            tree = json.loads(made.body)
            change(tree)
            made = samples.Sample(json.dumps(tree, indent=2).encode(), made.headers)
        return samples.sign(table, made, self.settings.secrets[provider][0], datetime.now(UTC)), sale

    def send_sample(
        self,
        provider: str = "ethoca",
        event: str | None = None,
        *,
        store: str | None = None,
        known: bool = True,
        change: Callable[[Json], Any] | None = None,
    ) -> str:
        """Post a signed sample; its payment is `known` to the store or not. Returns the delivery's id."""
        signed, sale = self.sample(provider, event, change=change)
        if known:
            self.next29.add_transaction(store or STORE, **sale.to_transaction())
        before = self.newest()
        path = f"/webhooks/{provider}" + (f"/{store}" if store else "")
        answer = self.client.post(path, data=signed.body, headers=signed.headers)
        assert answer.status_code == 200, answer.text
        assert self.newest() != before
        return self.newest()

    def tell(self, event: str, data: Json, *, path: str = "/webhooks/next", event_id: str = "") -> None:
        """Post one of 29next's own webhooks, signed."""
        told = next_event(event, data, event_id or f"evt-{next(self.events)}", store=STORE)
        body = json.dumps(told).encode()
        proof = self.settings.providers["next"].proof
        headers = proof.sign(body, NEXT_SECRET, datetime.now(UTC))
        answer = self.client.post(path, data=body, headers=headers)
        assert answer.status_code == 200, answer.text

    # the worker

    def work(self) -> None:
        """Translate and forward until there is nothing more to do at this moment."""
        self.inside.beat("in process")
        self.inside.work()

    def settle(self, seconds: float = 10.0, times: int = 4) -> None:
        """Work, let time pass, and work again: what waits for a second look gets it."""
        for _ in range(times):
            self.work()
            self.clock.sleep(seconds)
        self.work()

    def restart(self, **changes: Any) -> None:
        """Start another worker, with other settings of its store; without changes, with no store."""
        stores = {STORE: replace(self.store, **changes)} if changes else {}
        self.settings = replace(self.settings, stores=stores)
        self.inside.start_worker(self.settings)

    # 29next

    def fail(self, name: str, **changes: Any) -> None:
        """Put one of 29next's faults in force."""
        self.next29.add_faults(fault(name, **changes))

    def disputes(self, sent: Sent | None = None) -> list[Json]:
        """What 29next has in the first store, or of one webhook, oldest first."""
        rows = self.api.list_disputes()
        if sent:
            rows = [row for row in rows if (row["case_number"], row["type"]) == sent.opens]
        return sorted(rows, key=lambda row: int(row["id"]))

    def calls(self, since: int = 0) -> list[str]:
        """The calls that 29next got, such as `POST /disputes/`."""
        return [f"{call.method} {call.path}" for call in self.next29.ledger.calls[since:]]

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """The calls that are made until it is left."""
        made: list[str] = []
        before = len(self.next29.ledger.calls)
        yield made
        made += self.calls(before)


@contextmanager
def bridge_in_process(
    url: str,
    *,
    clock: Clock | None = None,
    next29: StandIn | None = None,
    transactions: Sequence[Json] = (),
    tokens: Mapping[str, str] | None = None,
    store: Json | None = None,
    watch: bool = False,
    **settings: Any,
) -> Iterator[InProcessBridge]:
    """A bridge over a migrated database, whose pages and API are open to this machine.

    It has a store for each of the `tokens` (token to name); `store` are changes to the settings of each,
    `settings` those of the bridge. Only with `watch` does it notify by itself; else a test takes the turns.
    """
    clock = clock or Clock()
    tokens = tokens or {TOKEN: STORE}
    known = providers.built_in()
    with next29 or StandIn(rate=0, transactions=transactions, clock=clock, tokens=tokens) as stand_in:
        given: Json = {
            "database_url": url,
            "stores": {
                name: replace(Store(name, stand_in.base_url, token), **(store or {}))
                for token, name in tokens.items()
            },
            "default_store": STORE,
            "providers": known,
            "secrets": {
                **{name: (run.generate_secret(table),) for name, table in known.items()},
                **{name: (f"{name}:{password}",) for name, password in PASSWORDS.items()},
                "next": (NEXT_SECRET,),
            },
            "rate": 0.0,
            "timeout": 5.0,
            "settle_seconds": 5.0,
            "on_loopback": True,
            "log_level": "WARNING",
        }
        chosen = Settings(**{**given, **settings})
        database = Database(url, clock=clock, pool_size=8)
        try:
            with lent_app(chosen, database, watch=watch) as app:
                made = InProcessBridge(chosen, app, database, stand_in, clock)
                yield made
                made.close()
                assert stand_in.faults.unmet == [], "a fault that happens to nothing shows nothing"
        finally:
            database.close()
