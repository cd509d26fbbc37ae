"""Brings each case to 29next: what is due, a slot and a committed intent, one call, and what came of it.

What is to be done is decided in `disputes.plan`, and what follows from it in `closing`.
"""

from __future__ import annotations

import random
import threading
import time
import typing
from dataclasses import dataclass, field
from functools import partial

import structlog

from bridge import errors
from bridge.disputes import lookup, retry
from bridge.disputes.case import Call, Case, Kind
from bridge.disputes.plan import mark_sent, next_step
from bridge.errors import MissingScope, NotFound, PermanentError, TemporaryError, TooLate, Unavailable, trace
from bridge.next29.client import Answer
from bridge.pace import Moment, Turn
from bridge.storage.ids import new_id, token_key
from bridge.storage.queue import PROBE_SECONDS
from bridge.worker import results
from bridge.worker.backfill import Backfill
from bridge.worker.client import client_of
from bridge.worker.closing import finish_step
from bridge.worker.results import (
    Answered,
    Bug,
    CallOutcome,
    Dropped,
    Idle,
    NotNow,
    Observed,
    Refused,
    Result,
    StoreRefused,
    Throttled,
    Unclear,
)

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.next29.client import NextApi
    from bridge.pace import Slot
    from bridge.settings import Settings, Store
    from bridge.storage.inbox import Inbox
    from bridge.storage.rows import Claim, Delivery, Settlement

log = structlog.get_logger()

LISTS = frozenset({Kind.FIND, Kind.FIND_HOLDER, Kind.SEARCH, Kind.LIST_REFUNDS, Kind.LIST_NOTES})
DISPUTES = frozenset({Kind.CREATE, Kind.READ, Kind.FIND, Kind.FIND_HOLDER})
INTENT_SECONDS = 2.0
"""How long after its intent a write may still take a slot, which opens and closes within as long again.

The intent says until when 29next may be busy with the write. After a crash nothing else does.
"""


@dataclass(eq=False)
class Task:
    """One step of a claimed case: the call to be made, and then how it went."""

    claim: Claim
    store: Store
    call: Call | None = None
    turn: Turn | None = None
    attempt: dict[str, typing.Any] | None = None
    result: Result | None = None  # None: the call is still to be made
    answer: Answer = field(default_factory=Answer)

    @property
    def made(self) -> dict[str, typing.Any] | None:
        """The record of the call, once it was tried."""
        return self.attempt if self.attempt and self.attempt["outcome"] != CallOutcome.INTENDED else None


class Forwarder:
    """Works on cases, one call of each at a time; safe to share between threads."""

    def __init__(
        self,
        inbox: Inbox,
        settings: Settings,
        *,
        chance: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.inbox = inbox
        self.settings = settings
        self.chance = chance or random.Random()  # noqa: S311  spreads retries
        self.sleep = sleep
        self.apis: dict[str, NextApi] = {}
        self.lock = threading.Lock()

    def api(self, store: Store) -> NextApi:
        """Return the client of a store, with its connections: another one once its token is another."""
        with self.lock:
            known = self.apis.get(store.name)
            if known is None or known.store != store:
                known = client_of(store, self.inbox, self.settings, sleep=self.sleep)
                self.apis[store.name] = known
            return known

    def begin(self, claim: Claim) -> Task | None:
        """Find out what is due for a claimed case, take its slot, and commit what is about to be written.

        None where nothing follows now: the case is another worker's, or its store's slots lie far ahead.
        An task without a result waits for `send`. Raises Unavailable.
        """
        store = self.settings.stores.get(claim.store)
        if store is None:  # one that was just removed gets its lease's time to come back
            return None
        task = Task(claim, store)
        try:
            self._plan(task)
            if task.call and task.result is None and not self._take_slot(task, task.call):
                self.inbox.queue.give_back(claim)
                return None
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  kept with its trace; a person looks in the end
            task.result = _bug(claim, error)
        return task

    def _plan(self, task: Task) -> None:
        """Say what is to be done for a case now; first ask the local index, and who else has the sale."""
        case, store, now = task.claim.case, task.store, self.inbox.now()
        if lookup.needs_index(case):
            rows, complete = self.inbox.transactions.look_up(case.store, case.dated_facts, now)
            lookup.apply_index(case, rows, complete=complete)
        if lookup.claims_transaction(case):
            case.duplicate_of = self.inbox.cases.find_holder(case)
        step = next_step(case, now, metadata=store.metadata)
        if not isinstance(step, Call):
            task.result = Idle()
        elif step.writes and store.observe:
            task.result = Observed(f"Observed: {step.method} {step.path} {step.body}")
        else:
            task.call = step

    def _take_slot(self, task: Task, call: Call) -> bool:
        """Take the slot of a call, and with it commit the intent to write."""
        claim, now, token = task.claim, self.inbox.now(), token_key(task.store.token)
        task.attempt = _attempt(claim, call, now)
        begun = Moment()
        if call.writes:
            until = now + 2 * INTENT_SECONDS + self.settings.timeout + self.settings.settle_seconds
            mark_sent(claim.case, call, until)
            slot = self.inbox.queue.intend(claim, task.attempt, token)
        else:
            slot = self.inbox.queue.take_slot(token)

        def take() -> Slot:
            if call.writes and begun.age > INTENT_SECONDS:
                raise TooLate("Too long ago it was said that this would be sent.")
            return self.inbox.queue.take_again(claim, token)

        task.turn = Turn(take, slot=slot, sleep=self.sleep)
        return slot is not None

    def send(self, task: Task) -> None:
        """Make the call of an task in its slot, and tell apart what came of it."""
        if task.call is None or task.attempt is None or task.result:
            return
        answer = task.answer
        try:
            result = self._send(task, task.call)
        except Unavailable as error:  # while a later slot was taken, or the pages of a list were read
            result = Dropped(str(error))
        except Exception as error:  # noqa: BLE001  as above
            result = _bug(task.claim, error)
        task.result = result
        task.attempt |= {
            "status": answer.status,
            "response": answer.text or results.message_of(result),
            "outcome": result.outcome,
            "started_at": self.inbox.now() - answer.seconds,
            "seconds": round(answer.seconds, 4),
        }

    def _send(self, task: Task, call: Call) -> results.Called:
        claim, api, answer = task.claim, self.api(task.store), task.answer
        found: typing.Any
        try:
            if call.kind in LISTS:
                hold = partial(self.inbox.queue.hold, claim)
                found = api.rows(
                    call.path, call.params or {}, answer=answer, turn=task.turn, before_more=hold
                )
            elif call.kind is Kind.ORDER:
                found = api.find(call.path, answer=answer, turn=task.turn)
            else:
                found = api.call(call.method, call.path, body=call.body, answer=answer, turn=task.turn)
            if call.kind in DISPUTES:
                _tell_ids(call, found)
            elif call.kind in lookup.OF_TRANSACTIONS:
                found = self._with_family(claim, lookup.rows_of(call, found))
            return Answered(found)
        except errors.Throttled as error:
            return Throttled(str(error), error.retry_after or 1.0)
        except TemporaryError as error:
            return NotNow(str(error), error.retry_after)
        except errors.Unclear as error:
            return Unclear(str(error), self.inbox.now() + self.settings.settle_seconds)
        except errors.StoreRefused as error:
            return StoreRefused(str(error))
        except MissingScope as error:
            return Refused(str(error), {"detail": [str(error)]})
        except PermanentError as error:
            return Refused(str(error), error.fields)

    def settle(self, task: Task) -> None:
        """Settle the case of an task as it is now in the inbox, with what was found out meanwhile.

        Raises Unavailable, and may be called again then.
        """
        try:
            held = self.inbox.queue.settle(task.claim, partial(self._change, task), task.made)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  as above
            task.result = _bug(task.claim, error)
            held = self.inbox.queue.settle(task.claim, partial(self._change, task), task.made)
        _say(task, held=held)
        try:
            self._of_the_store(task)
        except Unavailable as error:  # the next call finds out the same
            log.warning("database unavailable", store=task.store.name, why=str(error))

    def _change(self, task: Task, case: Case, owed: list[Delivery]) -> Settlement:
        known, result = task.claim.case, task.result or Idle()
        if not isinstance(result, Observed):
            stale = lookup.needs_index(case) and lookup.is_stale(case, known)
            if lookup.needs_index(case) and not stale:
                case.match = known.match
            same = not stale and case.matched_id == known.matched_id
            case.duplicate_of = case.duplicate_of or (known.duplicate_of if same else None)
        return finish_step(
            case,
            owed,
            result,
            task.call,
            store=task.store,
            now=self.inbox.now(),
            chance=self.chance,
        )

    def _of_the_store(self, task: Task) -> None:
        """Let a refusal or a throttle hold for the whole store, and an answer end a pause."""
        result, store = task.result, task.store
        if isinstance(result, StoreRefused):
            log.error("store paused", store=store.name, why=result.message)
            self.inbox.stores.pause(store.name, result.message, PROBE_SECONDS)
        elif isinstance(result, Throttled):
            self.inbox.slots.throttle(token_key(store.token), result.seconds)
        elif task.claim.probes and isinstance(result, Answered | Refused) and task.answer.status != 403:
            log.info("store goes on", store=store.name)
            self.inbox.stores.resume(store.name, by_hand=False)

    def _with_family(self, claim: Claim, rows: list[dict[str, typing.Any]]) -> list[dict[str, typing.Any]]:
        """Keep transactions that were read, and add what the index knows of the same payments."""
        self.inbox.cases.add_transactions(claim.store, rows, asked_by=claim.case_id)
        return self.inbox.transactions.with_family(claim.store, rows)

    # the index's own calls, while no dispute wants the slots

    def reread(self, store: str, ident: int) -> bool | None:
        """Read a transaction again of which 29next's webhooks told contradictory things.

        Returns whether 29next answered; None where it was not asked.
        """
        now = self.inbox.now()
        if not self.inbox.transactions.postpone(store, ident, now, now + retry.CEILING):
            return None
        try:
            row = self.api(self.settings.stores[store]).call("GET", f"transactions/{ident}/")
        except NotFound:
            self.inbox.transactions.forget(store, ident)
            return True
        except TemporaryError:
            return False
        except (errors.StoreRefused, MissingScope, PermanentError):
            return True
        self.inbox.cases.add_transactions(store, [row], certain=True)
        return True

    def read_new(self, store: str, stops: Callable[[], bool]) -> bool | None:
        """Read what 29next has created since the index was last sure to have everything; returns the same."""
        if not self.inbox.transactions.take_turn(store, self.inbox.now()):
            return None
        shop = self.settings.stores[store]
        try:
            Backfill(self.inbox, self.api(shop), shop, sleep=self.sleep, is_stopped=stops).read_new()
        except TemporaryError:
            return False
        except (errors.StoreRefused, MissingScope, PermanentError):
            return True
        return True


def _tell_ids(call: Call, found: typing.Any) -> None:
    """Take disputes only where 29next says which they are."""
    if not all(isinstance(row.get("id"), int) for row in (found if isinstance(found, list) else [found])):
        if call.writes:
            raise errors.Unclear("29next reported a new dispute without its id.")
        raise TemporaryError("29next returned a dispute without an id.")


def _attempt(claim: Claim, call: Call, now: float) -> dict[str, typing.Any]:
    """Begin the record of a call."""
    return {
        "id": new_id("a", now),
        "case_id": claim.case_id,
        "delivery_id": claim.delivery_id,
        "store": claim.store,
        "method": call.method,
        "path": call.path,
        "request": call.body if call.writes else call.params,
        "status": None,
        "response": None,
        "outcome": CallOutcome.INTENDED,
        "started_at": now,
        "seconds": None,
    }


def _say(task: Task, *, held: bool) -> None:
    """Write the log's line of a call."""
    if task.call is None or (attempt := task.made) is None:
        return
    log.info(
        "called 29next",
        store=task.store.name,
        case=task.claim.case_id,
        delivery=attempt["delivery_id"],
        attempt=attempt["id"],
        call=task.call.kind,
        outcome=attempt["outcome"],
        status=attempt["status"],
        seconds=attempt["seconds"],
        **({} if held else {"fence": "lost"}),
    )


def _bug(claim: Claim, error: Exception) -> Bug:
    log.error("working on a case failed", case=claim.case_id, trace=trace(error))
    return Bug(trace(error))
