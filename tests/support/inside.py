"""The inside of the bridge, as far as tests need it: no other module of tests/support knows these classes.

Whoever rebuilds the inside rewrites this file, and the tests in tests/unit and tests/storage; all others
go through HTTP, the command line, the search, 29next's ledger and the methods here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any

import pytest
from alembic import command
from flask import Flask
from sqlalchemy import Connection, select, update

from bridge.alert import Alert, Effect, Reason, Status, Webhook
from bridge.disputes.case import Call, Case
from bridge.disputes.lookup import apply_index
from bridge.disputes.plan import Step, next_step
from bridge.next29.client import NextApi
from bridge.providers.base import Reading
from bridge.settings import Settings, Store
from bridge.storage import deliveries, intake, migrate, stats
from bridge.storage.arrivals import NewDelivery
from bridge.storage.database import Database
from bridge.storage.duplicates import apply_dispute
from bridge.storage.ids import token_key
from bridge.storage.inbox import Inbox
from bridge.storage.outcomes import Outcomes
from bridge.storage.queue import Queue
from bridge.storage.rows import Claim
from bridge.storage.schema import attempts, metadata
from bridge.storage.search import Search
from bridge.storage.shared_state import SharedState
from bridge.storage.stores import BY_HAND
from bridge.storage.transactions import Transactions, row_of
from bridge.storage.translation import Translation
from bridge.worker.backfill import Backfill
from bridge.worker.forward import Forwarder
from bridge.worker.jobs import A_SECOND, Jobs
from bridge.worker.loop import Worker
from bridge.worker.reconcile import reconcile
from bridge.worker.results import Task
from bridge.worker.translate import Translator

Json = dict[str, Any]

MOST_CLAIMS = 50
ROUNDS = 300
"""How often the worker looks for more to do at one moment of the clock."""
CLAIMS = (Queue, "claim")
COMMITS = (Database, "_once")
KEPT_OUTCOMES = (Outcomes, "settle")
KEPT_DELIVERIES = (deliveries.Deliveries, "add")
"""Methods that a crash is set at: cases are leased, a transaction is made, and how telling
a provider went is stored."""
HEARTBEAT = "bridge.worker.loop.BEAT_SECONDS"
"""How often a worker is heard."""
LOOKED_THROUGH = "bridge.storage.hints.MOST_SHARED"
"""How many cases of all stores are looked through for those that share a number."""
PAUSED_BY_HAND = BY_HAND
TABLES = [table.name for table in metadata.sorted_tables]
LONGEST_STORE = intake.LONGEST_STORE
NO_NAME, OTHER_NAMES = deliveries.NO_NAME, deliveries.OTHERS
REPLAYED_A_SECOND = A_SECOND
AT_ONCE: Any = type("AtOnce", (), {"submit": staticmethod(lambda function, *given: function(*given))})()
"""A pool of threads that are done as soon as they are asked."""


class Storage:
    """What is stored, as an operator and the webhooks' side change it."""

    def __init__(self, database: Database, inbox: Inbox | None = None, lease: float = 60.0) -> None:
        self.database = database
        self.inbox = inbox or Inbox(database, gap=0.0, lease=lease)
        self.shared_state = SharedState(database)
        self.search = Search(database)

    def register(self, *stores: Store) -> None:
        """Make stores known."""
        self.inbox.stores.register(stores)

    def keep(self, webhook: Webhook, event_id: str = "e", kind: str | None = None, key: str = "f") -> str:
        """Store a webhook of one event, which is due in an hour; returns the delivery's id."""
        return self.inbox.deliveries.add(webhook, [NewDelivery(0, event_id, kind, key, 3600.0)])

    def translate_as(self, judge: Callable[[Any], Alert | None], store: Store) -> None:
        """Translate all deliveries as openings of these alerts; without an alert, one has failed."""

        def verdict(row: Any) -> Translation:
            alert = judge(row)
            if alert is None:
                return Translation(Status.FAILED, Reason.UNTRANSLATABLE, "Bad.", errors={"amount": ["Odd."]})
            return Translation(Status.PENDING, reading=Reading(Effect.OPEN, alert), store=store)

        translate(self.inbox, verdict, 50)

    def reject(self, provider: str, reason: str, message: str, *, known: bool = True) -> None:
        """Count a webhook that was rejected."""
        self.inbox.deliveries.count_refusal(provider, reason, message, known=known)

    def beat(self, name: str = "one") -> None:
        """Let a worker be heard."""
        self.shared_state.record_heartbeat(name)

    def beat_earlier(self, seconds: float, name: str = "one") -> None:
        """Let a worker have been heard some time ago, and never since."""
        self.shared_state.now = lambda: self.database.now() - seconds
        self.shared_state.record_heartbeat(name)

    def worker_seen_at(self) -> float | None:
        """When a worker was last heard."""
        with self.database.read() as connection:
            return stats.worker_seen_at(connection)

    def at_stake(self) -> Any:
        """What is disputed where something is still to be done, by currency."""
        with self.database.read() as connection:
            return stats.at_stake(connection)[0]

    def set_gap(self, seconds: float) -> None:
        """Keep so many seconds between two calls, as where there is a limit."""
        self.inbox.slots.gap = seconds

    def throttle(self, store: Store, seconds: float) -> None:
        """Have 29next ask for a pause, after a call of its own kind."""
        key = token_key(store.token)
        self.inbox.slots.take(key)
        self.inbox.slots.throttle(key, seconds)

    # what an operator does, where neither HTTP nor a command does it

    def pause(self, store: str, why: str = BY_HAND, probe_after: float | None = None) -> None:
        """Pause a store: by a person, or because 29next refuses."""
        self.inbox.stores.pause(store, why, probe_after)

    def resume(self, store: str) -> None:
        """Let a store go on."""
        self.inbox.stores.resume(store)

    def is_paused(self, store: str) -> bool:
        """Whether a store is paused."""
        return any(row["paused_at"] for row in self.search.stores() if row["name"] == store)

    def replay(self, *deliveries: str) -> list[str]:
        """Put deliveries back into the queue; returns those that were."""
        return self.inbox.deliveries.replay(deliveries)

    def dismiss(self, *deliveries: str) -> list[str]:
        """Dismiss failed deliveries; returns those that were."""
        return self.inbox.deliveries.dismiss(deliveries)

    def decide(self, case: str, transaction: int | None) -> bool:
        """Match a case with a transaction by hand, or with none."""
        return self.inbox.cases.decide(case, transaction)

    def recover(self, since: float, store: str | None = None) -> int:
        """Look everything up that was written since, as after a restored backup; returns how many cases."""
        return self.inbox.cases.recover(since, store)

    def send_again(self, case: str) -> int:
        """Tell the outcome of a case to its providers again."""
        return self.inbox.outcomes.send_again(case)

    def apply_dispute(self, connection: Connection, store: str, dispute: Json) -> None:
        """Take in a dispute that 29next tells of, in a transaction that somebody else waits for."""
        apply_dispute(connection, store, dispute, self.database.now(), lambda _: {})

    # the index of transactions

    @property
    def index(self) -> Transactions:
        """The transactions that the bridge knows."""
        return self.inbox.transactions

    def add_transactions(self, store: str, rows: Sequence[Json]) -> None:
        """Take transactions in."""
        self.inbox.cases.add_transactions(store, list(rows))


@contextmanager
def _beside(run: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    """Runs something in its own thread. After `stop` it must end within 30 seconds."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(30)
    assert not thread.is_alive()


class Inside(Storage):
    """What works behind an app: its inbox, and a worker that is asked step by step."""

    def __init__(
        self,
        app: Flask,
        database: Database,
        settings: Settings,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(database, app.extensions["inbox"])
        self.app = app
        self.sleep = sleep

        self.start_worker(settings)

    def start_worker(self, settings: Settings) -> None:
        """Have another worker, with these settings, which knows only what the database knows."""
        self.settings = settings
        self.translator = Translator(self.inbox, settings)
        self.forwarder = Forwarder(self.inbox, settings, sleep=self.sleep)
        self.jobs = Jobs(settings, self.database)
        self.inbox.stores.register(settings.stores.values())

    def close(self) -> None:
        """Close its connections to 29next."""
        for api in self.forwarder.apis.values():
            api.close()

    # the worker, step by step

    def translate(self, most: int = 50) -> int:
        """Translate deliveries; returns how many there were."""
        return translate(self.inbox, self.translator.translate, most)

    def translate_as_withdrawn(self, case_number: str, store: Store) -> None:
        """Translate what there is as a withdrawal of a case, whatever its provider's table says."""
        alert = Alert(case_number=case_number, withdrawn=True)
        verdict = Translation(Status.PENDING, reading=Reading(Effect.WITHDRAW, alert), store=store)
        translate(self.inbox, lambda _: verdict, 50)

    def claim(self) -> list[Claim]:
        """Lease the most urgent case of each store."""
        return self.inbox.queue.claim(list(self.settings.stores), MOST_CLAIMS)

    def call(self) -> list[Task]:
        """Claim cases and make the next call of each; its answer is not taken in yet."""
        return call(self.forwarder, self.claim())

    def call_until(self, done: Callable[[Task], bool], rounds: int = 9) -> list[Task]:
        """Work until a step is done whose answer is not taken in yet."""
        for _ in range(rounds):
            tasks = self.call()
            if any(done(task) for task in tasks):
                return tasks
            self.settle(tasks)
        raise AssertionError("no such step was made")

    def call_of(self, kind: str) -> list[Task]:
        """Translate, and work until a call of some kind was made, whose answer is not taken in yet."""
        self.translate()
        return self.call_until(lambda task: bool(task.call and task.call.kind == kind))

    def settle(self, tasks: Sequence[Task]) -> None:
        """Take in the answers to calls."""
        for task in tasks:
            self.forwarder.settle(task)

    def work_off(self, claims: Sequence[Claim]) -> None:
        """Do what is due for some claimed cases, one call after the other."""
        work_off(self.forwarder, claims)

    def reread(self, store: str, transaction: int) -> bool | None:
        """Read a transaction that is in doubt; returns whether 29next answered, None if it was not asked."""
        return self.forwarder.reread(store, transaction)

    def read_new(self, store: str) -> bool | None:
        """Read the newest transactions of a store; returns the same."""
        return self.forwarder.read_new(store, lambda: False)

    def step(self) -> bool:
        """Make one call for each store that wants one; whether there was any."""
        tasks = self.call()
        self.settle(tasks)
        return bool(tasks)

    def work(self) -> None:
        """Translate and forward until there is nothing more to do at this moment."""
        for _ in range(ROUNDS):
            translated = self.translate()
            claims = self.claim()
            self.work_off(claims)
            if not translated and not claims:
                return
        raise AssertionError("the worker does not come to an end")

    def worker(self) -> Worker:
        """A whole worker of the same parts."""
        return Worker(self.inbox, self.translator, self.forwarder)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A whole worker as its process runs it, in threads: it forwards, does its jobs, and is heard."""
        worker = Worker(
            self.inbox, self.translator, self.forwarder, self.jobs, beat=self.shared_state.record_heartbeat
        )
        with _beside(worker.run, worker.stop):
            yield

    @contextmanager
    def jobs_at_work(self) -> Iterator[None]:
        """The jobs of a worker that has just started, in threads as its process runs them."""
        stopping = threading.Event()
        with _beside(partial(self.make_jobs().run, stopping), stopping.set):
            yield

    def hurry(self) -> None:
        """Have each of the jobs done many times a second."""
        for job in self.jobs.jobs:
            job.every = job.due_at = 0.0

    def make_jobs(self, *, worker: bool = True) -> Jobs:
        """What another process does beside its alerts: one that works, or the web process."""
        return Jobs(self.settings, self.database, worker=worker)

    @property
    def lease(self) -> float:
        """Seconds that a claimed case is held."""
        return self.inbox.queue.lease

    # reading a store at 29next

    def backfill(self, api: NextApi, store: Store, **options: Any) -> Backfill:
        """A reading of a store's transactions."""
        return Backfill(self.inbox, api, store, **{"sleep": self.sleep, **options})

    def reconcile(self, api: NextApi, store: Store, since: date) -> list[str]:
        """What differs between the bridge and a store."""
        return list(reconcile(self.inbox, api, store, since))


def translator(app: Flask) -> Callable[[int], int]:
    """What translates deliveries of an app that no worker stands behind, and says how many there were."""
    inbox: Inbox = app.extensions["inbox"]
    translator = Translator(inbox, app.extensions["settings"])
    return lambda most: translate(inbox, translator.translate, most)


def translate(inbox: Inbox, translate_row: Callable[[Any], Translation], most: int) -> int:
    """Have some deliveries translated; returns how many there were, raises what went wrong."""
    translated = [(row, translate_row(row)) for row in inbox.deliveries.untranslated(most)]
    for _, error in inbox.deliveries.apply_translations(translated) if translated else ():
        raise error
    return len(translated)


def call(forwarder: Forwarder, claims: Sequence[Claim]) -> list[Task]:
    """Make the next call of some claimed cases; their answers are not taken in yet."""
    tasks = [task for claim in claims if (task := forwarder.begin(claim))]
    for task in tasks:
        forwarder.send(task)
    return tasks


def work_off(forwarder: Forwarder, claims: Sequence[Claim]) -> None:
    """Do what is due for some claimed cases, one call after the other."""
    for claim in claims:
        for task in call(forwarder, [claim]):
            forwarder.settle(task)


class Client(NextApi):
    """29next's Admin API as somebody who works there by hand would call it."""

    def create_dispute(self, body: Json) -> Any:
        """Create a dispute; never call it twice for one case without looking."""
        return self.call("POST", "disputes/", body=body)

    def list_disputes(self, **filters: str) -> list[Any]:
        """Return the disputes that fit the filters."""
        return self.rows("disputes/", filters)

    def retrieve_dispute(self, dispute_id: int) -> Any:
        """Return one dispute."""
        return self.call("GET", f"disputes/{dispute_id}/")

    def update_dispute(self, dispute_id: int, body: Json) -> Any:
        """Change some fields of a dispute, such as its transaction."""
        return self.call("PATCH", f"disputes/{dispute_id}/", body=body)

    def resolve_dispute(self, dispute_id: int, body: Json) -> Any:
        """Resolve a dispute."""
        return self.call("POST", f"disputes/{dispute_id}/resolve/", body=body)

    def add_note(self, dispute_id: int, message: str) -> Any:
        """Add a note to a dispute."""
        return self.call("POST", f"disputes/{dispute_id}/notes/", body={"message": message})

    def list_notes(self, dispute_id: int) -> list[Any]:
        """Return the notes of a dispute."""
        return self.rows(f"disputes/{dispute_id}/notes/", {})

    def list_transactions(self, **filters: str) -> list[Any]:
        """Return the transactions that fit the filters."""
        return self.rows("transactions/", filters)

    def retrieve_transaction(self, transaction_id: int) -> Any:
        """Return one transaction."""
        return self.call("GET", f"transactions/{transaction_id}/")


def break_step(monkeypatch: pytest.MonkeyPatch, kind: str, times: int) -> list[int]:
    """Makes a step of the worker fail a few times, as a bug would; returns how many failures are left."""
    left = [times]

    def stumble(case: Case, now: float, **more: Any) -> Step:
        step = next_step(case, now, **more)
        if left[0] and isinstance(step, Call) and step.kind == kind:
            left[0] -= 1
            raise ValueError("a bug of ours")
        return step

    for module in ("forward", "closing"):
        monkeypatch.setattr(f"bridge.worker.{module}.next_step", stumble)
    return left


# --- what is written in a database ----------------------------------------------------------------


def rows(database: Database, table: str) -> list[Any]:
    """The rows of a table."""
    with database.read() as connection:
        return list(connection.execute(select(metadata.tables[table])))


def insert_rows(database: Database, table: str, new: Sequence[Mapping[str, Any]]) -> None:
    """Write rows behind the bridge's back."""
    made = [dict(row) for row in new]
    database.write(lambda connection: connection.execute(metadata.tables[table].insert(), made))


def change_row(database: Database, table: str, ident: str, values: Mapping[str, Any]) -> None:
    """Change a row behind the bridge's back."""
    changed = metadata.tables[table]
    database.write(
        lambda connection: connection.execute(update(changed).where(changed.c.id == ident).values(**values))
    )


def kept_token(token: str) -> str:
    """A store's token as it stands beside its pace."""
    return token_key(token)


def written_calls(database: Database) -> list[tuple[str, str, str]]:
    """The store, method and path of all attempts."""
    with database.read() as connection:
        rows = connection.execute(select(attempts.c.store, attempts.c.method, attempts.c.path)).all()
    return [(row.store, row.method, "/" + row.path) for row in rows]


def written_rows(database: Database) -> Iterator[tuple[str, str]]:
    """All that stands in a database, by table."""
    with database.read() as connection:
        for table in metadata.sorted_tables:
            yield table.name, repr(connection.execute(select(table)).all())


# --- matching from the index alone ----------------------------------------------------------------


def fill_index(database: Database, store: str, new: Sequence[Mapping[str, Any]]) -> None:
    """Put transactions into the index."""
    insert_rows(database, "transactions", [row_of(store, dict(row)) for row in new])


def cover(database: Database, store: str, since: float, until: float) -> None:
    """Note that the index has all transactions of some days."""
    Transactions(database).cover(store, since, until)


class Matcher:
    """Matches alerts as the worker does before it asks 29next."""

    def __init__(self, database: Database, store: str, now: float) -> None:
        self.index = Transactions(database)
        self.store = store
        self.now = now

    def case(self, alert: Alert, provider: str) -> Case:
        """A case that was just opened."""
        number, kind = alert.case_number, alert.type
        return Case("", self.store, number, kind, provider, self.now, self.now, facts=alert)

    def look_up(self, case: Case) -> tuple[Any, bool]:
        """The rows of the index that may be what a case is about, and whether those are all."""
        return self.index.look_up(self.store, case.dated_facts, self.now)

    def match(self, case: Case, rows: Any, *, complete: bool) -> None:
        """Match a case with one of them."""
        apply_index(case, rows, complete=complete)


# --- migrations -----------------------------------------------------------------------------------


def migrate_to(database: Database, revision: str, *, down: bool = False) -> None:
    """Migrate to one release's schema."""
    config = migrate.make_config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)
