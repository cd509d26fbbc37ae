"""A bridge with a past: the web process and one worker in this process, on a clock that tests move.

Alerts come in through the front door and are forwarded to a sandbox store, so that what the viewer
shows is what it would show; nothing is written into the database behind its back.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flask import Flask

from bridge import local, providers, sample
from bridge.app import create_app
from bridge.chores import Chores
from bridge.database import Database
from bridge.forward import Forwarder
from bridge.inbox import Inbox
from bridge.judge import Judge
from bridge.sandbox import STORE, TOKEN, Sandbox, fault
from bridge.settings import Settings, Store
from tests.support.desk import work_off

Json = dict[str, Any]

BEGINS = datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp()
DAY = 86_400.0
OUTLET, OUTLET_TOKEN = "outlet", "outlet-token"
ROUNDS = 200
"""How often the worker looks for more to do at one moment of the clock."""


@dataclass
class Logbook:
    """The bridge, its sandbox store and its clock."""

    settings: Settings
    app: Flask
    database: Database
    sandbox: Sandbox
    clock: Clock
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    def __post_init__(self) -> None:
        self.inbox: Inbox = self.app.extensions["inbox"]
        self.judge = Judge(self.inbox, self.settings)
        self.forwarder = Forwarder(self.inbox, self.settings, sleep=lambda _: None)
        self.chores = Chores(self.settings, self.database)
        self.inbox.register(self.settings.stores.values())
        self.client = self.app.test_client()

    def send(
        self,
        provider: str = "ethoca",
        event: str | None = None,
        *,
        store: str | None = None,
        known: bool = True,
        change: Callable[[Json], Any] | None = None,
    ) -> str:
        """Post a signed sample; its payment is `known` to the store or not. Returns the delivery's id."""
        table = self.settings.providers[provider]
        now = datetime.fromtimestamp(self.clock.now, UTC)
        sale = sample.make_sale(self.chance, now)
        made = sample.make(table, event or sample.events(table)[0], sale, self.chance, now)
        if change:
            tree = json.loads(made.body)
            change(tree)
            made = sample.Sample(json.dumps(tree, indent=2).encode(), made.headers)
        if known:
            self.sandbox.add_transaction(store or STORE, **sale.to_transaction())
        signed = sample.sign(table, made, self.settings.secrets[provider][0], datetime.now(UTC))
        before = self._newest()
        path = f"/webhooks/{provider}" + (f"/{store}" if store else "")
        answer = self.client.post(path, data=signed.body, headers=signed.headers)
        assert answer.status_code == 200, answer.text
        newest = self._newest()
        assert newest
        assert newest != before
        return newest

    def _newest(self) -> str | None:
        found = self.app.extensions["search"].deliveries({"limit": "1"}).results
        return str(found[0]["id"]) if found else None

    def work(self) -> None:
        """Translate and forward until there is nothing more to do at this moment."""
        self.chores.memos.beat("logbook")
        for _ in range(ROUNDS):
            translated = self.inbox.translate(self.judge.verdict, 50)
            claims = self.inbox.claim(list(self.settings.stores))
            work_off(self.forwarder, claims)
            if not translated and not claims:
                return
        raise AssertionError("the worker does not come to an end")

    def settle(self) -> None:
        """Work, let time pass, and work again: what waits for a second look gets it."""
        for _ in range(3):
            self.work()
            self.clock.now += 10
        self.work()

    def fail(self, name: str, **changes: Any) -> None:
        """Put one of the sandbox's faults in force."""
        self.sandbox.add_faults(fault(name, **changes))


@dataclass
class Clock:
    """The time that everybody here goes by."""

    now: float = BEGINS

    def __call__(self) -> float:
        self.now += 0.002  # no two things happen in the same millisecond
        return self.now


@contextmanager
def logbook(url: str, *, begins: float = BEGINS, **changes: Any) -> Iterator[Logbook]:
    """A bridge over a migrated database, bound to loopback unless the settings' changes say otherwise."""
    known = providers.built_in()
    clock = Clock(begins)
    tokens = {TOKEN: STORE, OUTLET_TOKEN: OUTLET}
    with Sandbox(rate=0, transactions=(), clock=clock, tokens=tokens) as sandbox:
        stores = {name: Store(name, sandbox.base_url, token) for token, name in tokens.items()}
        given: Json = {
            "database_url": url,
            "stores": stores,
            "default_store": STORE,
            "providers": known,
            "secrets": {name: (local.made_up_secret(one),) for name, one in known.items()},
            "rate": 0.0,
            "on_loopback": True,
        }
        settings = Settings(**{**given, **changes})
        database = Database(url, clock=clock, pool_size=8)
        try:
            made = Logbook(settings, create_app(settings, database), database, sandbox, clock)
            yield made
            for api in made.forwarder.apis.values():
                api.close()
        finally:
            database.close()


PROVIDERS = (("ethoca", 9), ("midigator", 6), ("verifi", 4), ("chargeblast", 3), ("kount", 2), ("trusto", 1))
"""Who sends how many alerts on an ordinary day."""


def fortnight(book: Logbook) -> None:
    """Let two weeks of ordinary life happen, and on the last day most of what can go wrong."""
    for day in range(14):
        weekend = (day + 1) % 7 < 2  # the first day is a Monday
        counts = {
            name: book.chance.randint(most // 2, most) // (2 if weekend else 1) for name, most in PROVIDERS
        }
        moments = sorted((book.chance.random(), name) for name, count in counts.items() for _ in range(count))
        for share, provider in moments:
            book.clock.now = max(book.clock.now, BEGINS + (day + 0.3 * share) * DAY)
            book.send(provider, known=book.chance.random() < 0.93)
            book.clock.now += book.chance.choice((0.4, 0.9, 1.6, 2.5, 4.0, 22.0))
            book.work()
    book.clock.now = BEGINS + 13 * DAY + 0.35 * DAY
    trouble(book)


def trouble(book: Logbook) -> None:
    """Let most of what can go wrong go wrong."""
    refuse(book, "midigator", 3)
    book.send("ethoca", change=lambda tree: tree.update(ethoca_id="N/A", amount="12,50", currency="EURO"))
    book.send("midigator", "prevention.new", change=lambda tree: tree.update(event_type="prevention.renewed"))
    book.send("midigator", "prevention.new", change=lambda tree: tree.update(prevention_type="tc40"))
    review(book)
    book.send("ethoca", store="alfa", known=False)  # there is no such store
    book.fail("502", count=2)
    book.send("verifi")
    book.work()
    for _ in range(5):
        book.clock.now += 90
        book.work()
    book.sandbox.revoke(OUTLET_TOKEN)
    book.send("ethoca", store=OUTLET)
    book.send("verifi", store=OUTLET)
    book.work()
    book.clock.now += 700
    book.fail("500_after", count=1, method="POST", path="/disputes/")
    book.send("midigator")
    book.work()
    book.clock.now += 3
    book.send("ethoca")
    book.work()
    book.clock.now += 20


def refuse(book: Logbook, provider: str, count: int) -> None:
    """Send webhooks with a wrong password."""
    for _ in range(count):
        answer = book.client.post(
            f"/webhooks/{provider}", data=b"{}", headers={"Authorization": "Basic eDp5"}
        )
        assert answer.status_code == 401


def review(book: Logbook) -> str:
    """Send an alert that two payments of one card fit; returns its delivery."""
    now = datetime.fromtimestamp(book.clock.now, UTC)
    sale = sample.make_sale(book.chance, now)
    twice = {**sale.to_transaction(), "auth_code": "", "external_id": "", "network_transaction_id": ""}
    for _ in range(2):
        book.sandbox.add_transaction(STORE, **twice)

    def ambiguous(tree: Json) -> None:
        tree.update(
            card_first_6=sale.first_six, card_last_4=sale.last_four, amount=sale.amount, currency="USD"
        )

    delivery = book.send("midigator", "prevention.new", known=False, change=ambiguous)
    book.work()
    return delivery
