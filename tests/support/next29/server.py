"""The stand-in itself: stores, tokens, faults and ledger, and their life as a server.

Documented by 29next: the Bearer token, the version header and its two values, scopes, 4 calls a
second for each token, and the 429 with Retry-After: 1. Assumed: that the second slides and that
only calls which were let through count in it, a 400 for a missing or unknown version, a 403 for a
missing scope, and that the token is looked at before the rest.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, Self

from tests.support.next29.faults import Fault, Faults
from tests.support.next29.ledger import Commit, Ledger
from tests.support.next29.listener import Listener
from tests.support.next29.oauth import OAuth
from tests.support.next29.replies import Json, Refusal, Reply, Request
from tests.support.next29.samples import SAMPLE_TRANSACTIONS
from tests.support.next29.store import Route, Store, find_route

TOKEN = "sandbox-token"
STORE = "sandbox"
VERSIONS = ("2023-02-10", "2024-04-01")


@dataclass(slots=True)
class Access:
    """What one token opens, and when it was used in the last second."""

    token: str
    store: str
    scopes: frozenset[str] | None  # None: all of them
    recent: deque[float] = field(default_factory=deque)

    def permits(self, scope: str) -> bool:
        """Whether the token may do what needs this scope; admin:read and admin:write are wide."""
        wide = "admin:" + scope.partition(":")[2]
        return self.scopes is None or scope in self.scopes or wide in self.scopes


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that can only be refused for what it holds."""

    store: Store
    route: Route
    number: int  # the id in its path

    def answer(self, request: Request) -> Reply:
        """The store's answer; the work is done when it returns."""
        return self.store.answer(self.route, self.number, request)


@dataclass(eq=False)
class StandIn:
    """A pretend 29next with one store or many; `stop` and another `start` keep state and port."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one, chosen at the first start
    tokens: Mapping[str, str] = field(default_factory=lambda: {TOKEN: STORE})  # token → store
    transactions: Iterable[Mapping[str, Any]] = SAMPLE_TRANSACTIONS  # what a store begins with
    rate: int = 4  # calls a second for one token; 0: no limit
    page_size: int = 100
    seed: int = 0  # of the faults' probabilities
    ledger_path: Path | None = None  # where the ledger is written too, as lines of JSON
    clock: Callable[[], float] = time.time

    ledger: Ledger = field(init=False)
    faults: Faults = field(init=False)
    stores: dict[str, Store] = field(init=False)
    oauth: OAuth = field(init=False)

    def __post_init__(self) -> None:
        """Make the stores; nothing listens yet."""
        self.transactions = [dict(facts) for facts in self.transactions]
        self._file = self.ledger_path.open("a", encoding="utf-8") if self.ledger_path else None
        self.ledger = Ledger(self._file)
        self.faults = Faults(self.seed)
        self.stores = {}
        self.oauth = OAuth(self.add_token)
        self._access: dict[str, Access] = {}
        self._listener: Listener | None = None
        self._late: set[threading.Timer] = set()
        self._lock = threading.RLock()
        for token, store in self.tokens.items():
            self.add_token(token, store)

    # its life

    def start(self) -> Self:
        """Listen, in threads of its own."""
        if self._listener is None:
            self._listener = Listener(self, (self.host, self.port))
            self.port = self._listener.server_port
            self._listener.start()
        return self

    def stop(self) -> None:
        """Refuse and end all connections; commits that are still to come are dropped."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()
        self._drop_late()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._file is not None:
            self._file.close()

    @property
    def base_url(self) -> str:
        """The admin base URL, as NEXT_BASE_URL wants it."""
        return f"http://{self.host}:{self.port}/api/admin/"

    @property
    def control_url(self) -> str:
        """Where the control surface begins."""
        return f"http://{self.host}:{self.port}/sandbox/"

    # its state

    def add_token(
        self,
        token: str,
        store: str = STORE,
        scopes: Iterable[str] | None = None,
        metadata_keys: Iterable[str] | None = None,
    ) -> None:
        """Accept a token, with these scopes only, for a store, with these metadata keys only."""
        with self._lock:
            if store not in self.stores:
                # Bound to its ledger: a call that a reset overtakes counts in the old one.
                committed = functools.partial(self._committed, self.ledger)
                self.stores[store] = made = Store(store, committed, self.clock, self.page_size)
                for facts in self.transactions:
                    made.add_transaction(**facts)
            if metadata_keys is not None:
                self.stores[store].metadata_keys = frozenset(metadata_keys)
            allowed = None if scopes is None else frozenset(scopes)
            self._access[token] = Access(token, store, allowed)

    def revoke(self, token: str) -> None:
        """Answer this token with 401 from now on."""
        with self._lock:
            self._access.pop(token, None)

    def add_transaction(self, store: str = STORE, **facts: Any) -> Json:
        """Add a transaction with some of TRANSACTION_FACTS, and give it in 29next's form."""
        return self.stores[store].add_transaction(**facts)

    def add_dispute(self, store: str = STORE, **fields: Any) -> Json:
        """Add a dispute as somebody else would; the ledger takes no notice."""
        return self.stores[store].add_dispute(fields)

    def add_faults(self, *faults: Fault) -> None:
        """Put more faults in force."""
        self.faults.add(*faults)

    def reset(self) -> None:
        """Begin anew with the first transactions, no dispute, fault or call; tokens stay."""
        with self._lock:
            self._drop_late()
            self.faults.clear()
            self.ledger = Ledger(self._file)
            before, self.stores = self.stores, {}
            for one in list(self._access.values()):
                self.add_token(one.token, one.store, one.scopes, before[one.store].metadata_keys)

    # what the listener asks

    def access(self, headers: Message) -> Access | None:
        """What the call's Bearer token opens, if it opens anything."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return self._access.get(token.strip()) if scheme.lower() == "bearer" else None

    def admit(self, access: Access | None, method: str, path: str, headers: Message, at: float) -> Admitted:
        """Let a call in that arrived `at` that time, or raise the Refusal that it gets."""
        if access is None:
            raise Refusal.of_call(401, "Invalid token.", **{"WWW-Authenticate": "Bearer"})
        with self._lock:
            while access.recent and at - access.recent[0] >= 1.0:
                access.recent.popleft()
            if self.rate and len(access.recent) >= self.rate:
                raise Refusal.of_call(429, "Request was throttled.", **{"Retry-After": "1"})
            access.recent.append(at)
            store = self.stores[access.store]
        if headers.get("X-29next-API-Version") not in VERSIONS:
            raise Refusal.of_call(400, "X-29next-API-Version is missing or unknown.")
        route, number = find_route(method, path)
        if not access.permits(route.scope):
            raise Refusal.of_call(403, "You do not have permission to perform this action.")
        return Admitted(store, route, number)

    def commit_later(self, seconds: float, work: Callable[[], object]) -> None:
        """Do a call's work when its caller has given up."""

        def late() -> None:
            with self._lock:
                owed = timer in self._late
                self._late.discard(timer)
            if owed:
                work()

        timer = threading.Timer(seconds, late)
        timer.daemon = True
        with self._lock:
            self._late.add(timer)
        timer.start()

    def _committed(self, ledger: Ledger, store: str, kind: str, facts: Json) -> None:
        ledger.commit(Commit(time.monotonic(), self.clock(), store, kind, dict(facts)))

    def _drop_late(self) -> None:
        with self._lock:
            dropped, self._late = self._late, set()
        for timer in dropped:
            timer.cancel()


def serve(
    host: str = "127.0.0.1",
    port: int = 8029,
    token: str = TOKEN,
    *,
    ready: Callable[[StandIn], object] = lambda _: None,
    **options: Any,
) -> None:
    """Run a stand-in with one token until Ctrl-C; `ready` is called once it listens.

    The options are StandIn's: rate, page_size, seed, ledger_path ...
    """
    with (
        contextlib.suppress(KeyboardInterrupt),
        StandIn(host, port, {token: STORE}, **options) as next29,
    ):
        ready(next29)
        threading.Event().wait()
