"""The doctor's checks of each store: its token's scopes, its clock, its webhook subscription.

To find out whether a token may write, or read orders, it calls dispute, transaction and order 0, which no
store has. 29next checks the scope before it looks for the object, so 403 means that the scope is missing,
and 404 that it is granted (inferred from its framework, not documented).
"""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bridge.errors import BridgeError, NotFound, Refused
from bridge.next29.client import Answer, NextApi
from bridge.settings import Settings, Store
from bridge.storage import stats
from bridge.storage.database import Database
from bridge.storage.inbox import open_inbox
from bridge.worker.checks import Check, check_clock, check_pauses, make_check
from bridge.worker.client import client_of
from bridge.worker.subscriptions import events_of, problem


def check_stores(settings: Settings, database: Database, clock: Callable[[], float]) -> Iterator[Check]:
    """Checks each store: whether it is paused, what its token may do, its clock, its webhooks."""
    inbox = open_inbox(database, settings)
    inbox.stores.register(settings.stores.values())
    with database.read() as connection:
        paused = stats.paused(connection)
    clock_is_checked = False
    for store in settings.stores.values():
        yield from check_pauses([store], paused)
        if store.missing:
            continue
        with contextlib.closing(client_of(store, inbox, settings)) as api:
            for probe in PROBES:
                if store.observe and probe.method != "GET":
                    continue
                answer = Answer()
                check = probe.make(api, store, answer)
                yield check
                if not clock_is_checked and answer.date is not None:
                    clock_is_checked = True
                    yield check_clock("29next's clock", clock() - answer.date)
                if not check.good and answer.status != 403:
                    break  # every further call would fail in the same way
            else:
                yield _subscription(settings, api, store)


def _subscription(settings: Settings, api: NextApi, store: Store) -> Check:
    """Checks whether 29next sends the bridge a store's transactions and disputes."""
    what = f"{store.name}: webhooks"
    secret = settings.signing_secret(store)
    if secret is None or settings.public_url is None:
        fix = "Set NEXT_WEBHOOK_SECRET and BRIDGE_PUBLIC_URL, then run `bridge subscribe`."
        return Check(
            what, good=True, message="off: the bridge searches 29next for every transaction", fix=fix
        )
    target = f"{settings.url_of('next')}/{store.name}"
    fix = f"Run `bridge subscribe --store {store.name}`."
    answer = Answer()
    try:
        wrong = problem(api.rows("webhooks/", {}, answer=answer), target, secret, events_of(store))
    except BridgeError as error:
        if answer.status == 403:
            fix = f"Give the token the scopes webhooks:read and webhooks:write. {fix}"
        else:
            fix = _fix_for(answer.status, store, "webhooks:read")
        return Check(what, good=False, message=str(error), fix=fix)
    return make_check(what, wrong is None, wrong or f"29next sends webhooks to {target}", fix)


PROBE_BODY = {"amount": "0.00"}
"""A body that 29next would accept if the dispute or transaction existed."""


@dataclass(frozen=True)
class Probe:
    """A call that shows whether a token has a scope. It calls a list, or an object that does not exist."""

    scope: str
    method: str
    path: str
    params: typing.Mapping[str, str] | None = None
    without: str = ""  # what the bridge cannot do without the scope, if it can work without it

    def make(self, api: NextApi, store: Store, answer: Answer) -> Check:
        """Makes the call. Returns the check of its scope."""
        what = f"{store.name}: {self.scope}"
        body = None if self.method == "GET" else PROBE_BODY
        try:
            api.call(self.method, self.path, params=self.params, body=body, answer=answer)
        except NotFound:
            pass  # the scope is granted; the object does not exist, as expected
        except Refused as error:
            if self.method == "GET":
                fix = "29next may have changed its API. Look for a newer release of the bridge."
                return Check(what, good=False, message=str(error), fix=fix)
        except BridgeError as error:
            if answer.status == 403 and self.without:
                fix = f"Give the token the scope {self.scope}, or {self.without}."
                return Check(what, good=True, message="missing", fix=fix)
            return Check(what, good=False, message=str(error), fix=_fix_for(answer.status, store, self.scope))
        return Check(what, good=True, message=f"granted ({answer.seconds:.2f} s)")


def _fix_for(status: int | None, store: Store, scope: str) -> str:
    """Returns how to fix a call that failed."""
    if status == 401:
        return "Set this store's access token again: 29next does not accept the current one."
    if status == 403:
        return f"Give the store's token the scope {scope}, in 29next under Settings > API Access."
    if status == 404 or (status and 300 <= status < 400):
        return f"Check the store's name: there is no Admin API at {store.base_url}."
    return "Try again later. If it stays, check 29next's status and this machine's internet connection."


PROBES = (
    Probe("disputes:read", "GET", "disputes/", {"case_number": "bridge-doctor"}),
    Probe("disputes:write", "PATCH", "disputes/0/"),
    Probe(
        "transactions:read",
        "GET",
        "transactions/",
        {"external_id": "bridge-doctor"},
        without="the bridge creates every dispute without a transaction",
    ),
    Probe("orders:read", "GET", "orders/0/", without="the bridge cannot find a transaction by order number"),
    Probe(
        "transactions:write",
        "POST",
        "transactions/0/refund/",
        without="the bridge does not record gateway refunds for late matches",
    ),
)
