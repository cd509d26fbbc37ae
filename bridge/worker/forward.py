"""Does the next step of a case at 29next: slot and committed intent, one call, and its settlement.

`disputes.plan` decides the step, and `closing` what follows from it.
"""

from __future__ import annotations

import random
import threading
import time
import typing
from functools import partial

import structlog

from bridge.disputes import lookup, retry
from bridge.disputes.case import Call, CallKind, Case
from bridge.disputes.plan import mark_sent, next_step
from bridge.errors import (
    Bug,
    MissingScope,
    NotFound,
    PermanentError,
    Refused,
    StoreRefused,
    TemporaryError,
    Throttled,
    TooLate,
    Unavailable,
    Unclear,
    trace,
)
from bridge.pace import Moment, Turn
from bridge.storage.attempts import Attempt, outcome_of
from bridge.storage.ids import token_key
from bridge.storage.queue import PROBE_SECONDS
from bridge.worker.backfill import Backfill
from bridge.worker.client import client_of
from bridge.worker.closing import finish_step
from bridge.worker.results import Answered, Failure, Observed, Task

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.next29.client import NextApi
    from bridge.pace import Slot
    from bridge.settings import Settings, Store
    from bridge.storage.inbox import Inbox
    from bridge.storage.rows import Claim, Delivery, Settlement

log = structlog.get_logger()

LIST_CALLS = frozenset(
    {CallKind.FIND, CallKind.FIND_HOLDER, CallKind.SEARCH, CallKind.LIST_REFUNDS, CallKind.LIST_NOTES}
)
DISPUTE_CALLS = frozenset({CallKind.CREATE, CallKind.READ, CallKind.FIND, CallKind.FIND_HOLDER})
INTENT_SECONDS = 2.0
"""How long after its intent a write may still take a slot, which then opens and closes within as long.

The intent records until when 29next may be working on the write. After a crash nothing else does.
"""


class Forwarder:
    """Works on cases, one call at a time for each; safe to share between threads."""

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
        """Returns the client of a store, with its connections; a new token gets a new client."""
        with self.lock:
            known = self.apis.get(store.name)
            if known is None or known.store != store:
                known = client_of(store, self.inbox, self.settings, sleep=self.sleep)
                self.apis[store.name] = known
            return known

    def begin(self, claim: Claim) -> Task | None:
        """Plans the step of a claimed case, takes its slot, and commits what is about to be written.

        Returns None if there is nothing to do now: another worker has the case, or the store's next slot is
        far ahead. A task without a result is for `send`. Raises Unavailable.
        """
        store = self.settings.stores.get(claim.store)
        if store is None:  # a store that was just removed may come back within the lease
            return None
        task = Task(claim, store)
        try:
            self._plan(task)
            if task.call and not self._take_slot(task, task.call):
                self.inbox.queue.release(claim)
                return None
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  recorded with its trace; a person looks in the end
            task.result = _bug(claim, error)
        return task

    def _plan(self, task: Task) -> None:
        """Decides what to do for a case now; first queries the index, and who else has the sale."""
        case, store, now = task.claim.case, task.store, self.inbox.now()
        if lookup.needs_index(case):
            rows, complete = self.inbox.transactions.look_up(case.store, case.dated_facts, now)
            lookup.apply_index(case, rows, complete=complete)
        if lookup.claims_transaction(case):
            case.duplicate_of = self.inbox.cases.find_holder(case)
        step = next_step(case, now, metadata=store.metadata)
        if isinstance(step, Call):
            if step.writes and store.observe:
                task.result = Observed(f"Observed: {step.method} {step.path} {step.body}")
            else:
                task.call = step

    def _take_slot(self, task: Task, call: Call) -> bool:
        """Takes the slot of a call, and with it commits the intent of a write."""
        claim, now, token = task.claim, self.inbox.now(), token_key(task.store.token)
        task.attempt = Attempt(
            case_id=claim.case_id,
            delivery_id=claim.delivery_id,
            store=claim.store,
            method=call.method,
            path=call.path,
            request=call.body if call.writes else call.params,
            started_at=now,
        )
        begun = Moment()
        if call.writes:
            until = now + 2 * INTENT_SECONDS + self.settings.timeout + self.settings.settle_seconds
            mark_sent(claim.case, call, until)
            slot = self.inbox.queue.commit_intent(claim, task.attempt, token)
        else:
            slot = self.inbox.queue.take_slot(token)

        def take() -> Slot:
            if call.writes and begun.age > INTENT_SECONDS:
                raise TooLate("The intent of this write is too old.")
            return self.inbox.queue.take_another_slot(claim, token)

        task.turn = Turn(take, slot=slot, sleep=self.sleep)
        return slot is not None

    def send(self, task: Task) -> None:
        """Makes the call of a task in its slot, and records its result."""
        attempt, answer = task.attempt, task.answer
        if task.call is None or attempt is None or task.result:
            return  # there is nothing to call, or planning it failed
        try:
            task.result = result = self._send(task, task.call)
        except Exception as error:  # noqa: BLE001  as above
            task.result = result = _bug(task.claim, error)
        failure = None if isinstance(result, Answered) else result
        attempt.status, attempt.outcome = answer.status, outcome_of(failure)
        attempt.response = answer.text or (str(failure) if failure else None)
        attempt.started_at = self.inbox.now() - answer.seconds
        attempt.seconds = round(answer.seconds, 4)

    def _send(self, task: Task, call: Call) -> Answered | Failure:
        claim, api, answer = task.claim, self.api(task.store), task.answer
        answered: typing.Any
        try:
            if call.kind in LIST_CALLS:
                filters, hold = call.params or {}, partial(self.inbox.queue.extend_lease, claim)
                answered = api.rows(call.path, filters, answer=answer, turn=task.turn, before_more=hold)
            elif call.kind is CallKind.ORDER:
                answered = api.find(call.path, answer=answer, turn=task.turn)
            else:
                answered = api.call(call.method, call.path, body=call.body, answer=answer, turn=task.turn)
            if call.kind in DISPUTE_CALLS:
                _require_ids(call, answered)
            elif call.kind in lookup.OF_TRANSACTIONS:
                answered = self._with_family(claim, lookup.rows_of(call, answered))
            return Answered(answered)
        except MissingScope as error:
            return Refused(str(error), fields={"detail": [str(error)]})
        except Unclear as error:
            task.busy_until = self.inbox.now() + max(self.settings.settle_seconds, error.retry_after)
            return error
        except (PermanentError, TemporaryError, StoreRefused, Unavailable) as error:
            return error

    def settle(self, task: Task) -> None:
        """Settles the case of a task as it is in the inbox now, with the result of the task.

        Raises Unavailable, and may be called again then.
        """
        try:
            held = self.inbox.queue.settle(task.claim, partial(self._apply, task), task.made)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  as above
            task.result = _bug(task.claim, error)
            held = self.inbox.queue.settle(task.claim, partial(self._apply, task), task.made)
        _log_call(task, held=held)
        try:
            self._apply_to_store(task)
        except Unavailable as error:  # the next call of the store does this too
            log.warning("database unavailable", store=task.store.name, why=str(error))

    def _apply(self, task: Task, case: Case, pending: list[Delivery]) -> Settlement:
        planned = task.claim.case
        if not isinstance(task.result, Observed):
            stale = lookup.needs_index(case) and lookup.is_stale(case, planned)
            if lookup.needs_index(case) and not stale:
                case.match = planned.match
            same = not stale and case.matched_id == planned.matched_id
            case.duplicate_of = case.duplicate_of or (planned.duplicate_of if same else None)
        return finish_step(task, case, pending, self.inbox.now(), self.chance)

    def _apply_to_store(self, task: Task) -> None:
        """Applies a refusal or a throttle to the whole store, and ends a pause after an answer."""
        result, store = task.result, task.store
        if isinstance(result, StoreRefused):
            log.error("store paused", store=store.name, why=str(result))
            self.inbox.stores.pause(store.name, str(result), PROBE_SECONDS)
        elif isinstance(result, Throttled):
            self.inbox.slots.throttle(token_key(store.token), result.retry_after)
        elif (
            task.claim.probes and isinstance(result, Answered | PermanentError) and task.answer.status != 403
        ):
            log.info("store resumed", store=store.name)
            self.inbox.stores.resume(store.name, by_hand=False)

    def _with_family(self, claim: Claim, rows: list[dict[str, typing.Any]]) -> list[dict[str, typing.Any]]:
        """Adds transactions to the index; returns them with the known ones of the same payments."""
        self.inbox.cases.add_transactions(claim.store, rows, asked_by=claim.case_id)
        return self.inbox.transactions.with_family(claim.store, rows)

    # calls for the index, while no dispute needs the slots

    def reread(self, store: str, ident: int) -> bool | None:
        """Reads a transaction again, since 29next's webhooks contradict each other about it.

        Returns whether 29next answered, or None if it was not asked.
        """
        now = self.inbox.now()
        if not self.inbox.transactions.postpone(store, ident, now, now + retry.CEILING):
            return None

        def read() -> None:
            try:
                row = self.api(self.settings.stores[store]).call("GET", f"transactions/{ident}/")
                self.inbox.cases.add_transactions(store, [row], certain=True)
            except NotFound:
                self.inbox.transactions.forget(store, ident)

        return _is_answered(read)

    def read_new(self, store: str, is_stopped: Callable[[], bool]) -> bool | None:
        """Reads the transactions since the end of what the index covers; returns the same as `reread`."""
        if not self.inbox.transactions.take_turn(store, self.inbox.now()):
            return None
        target = self.settings.stores[store]
        backfill = Backfill(self.inbox, self.api(target), target, sleep=self.sleep, is_stopped=is_stopped)
        return _is_answered(backfill.read_new)


def _is_answered(read: Callable[[], object]) -> bool:
    """Reads something for the index; returns whether 29next answered."""
    try:
        read()
    except TemporaryError:
        return False
    except (StoreRefused, MissingScope, PermanentError):
        pass
    return True


def _require_ids(call: Call, answered: typing.Any) -> None:
    """Raises if 29next returned a dispute without its id."""
    disputes = answered if isinstance(answered, list) else [answered]
    if not all(isinstance(row.get("id"), int) for row in disputes):
        if call.writes:
            raise Unclear("29next reported a new dispute without its id.")
        raise TemporaryError("29next returned a dispute without an id.")


def _log_call(task: Task, *, held: bool) -> None:
    if task.call is None or (attempt := task.made) is None:
        return
    log.info(
        "called 29next",
        store=task.store.name,
        case=task.claim.case_id,
        delivery=attempt.delivery_id,
        attempt=attempt.id,
        call=task.call.kind,
        outcome=attempt.outcome,
        status=attempt.status,
        seconds=attempt.seconds,
        **({} if held else {"fence": "lost"}),
    )


def _bug(claim: Claim, error: Exception) -> Bug:
    log.error("working on a case failed", case=claim.case_id, trace=trace(error))
    return Bug(trace(error))
