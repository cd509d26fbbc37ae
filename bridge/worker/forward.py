"""Brings each case to 29next: one slot, one call, one settlement.

What is to be done is decided in `case`; here it is done, and its outcome told apart by what happens
next: it worked, again later, look first, or a person.
"""

from __future__ import annotations

import random
import time
import typing
from dataclasses import dataclass, field
from functools import partial

import structlog

from bridge.alert import Reason, Status
from bridge.disputes import lookup, retry
from bridge.disputes.answers import apply_response
from bridge.disputes.case import Call, Case, Kind, Refusal
from bridge.disputes.events import Settled
from bridge.disputes.plan import Done, Fail, Wait, look_again, mark_sent, next_step, take_back, wait_longer
from bridge.disputes.refusals import continue_without
from bridge.errors import (
    MissingScope,
    NotFound,
    PermanentError,
    StoreRefused,
    TemporaryError,
    Throttled,
    TooLate,
    Unavailable,
    Unclear,
    trace,
)
from bridge.next29.client import Answer, NextApi
from bridge.storage.inbox import (
    LONGEST_LEAD,
    PROBE_SECONDS,
    Claim,
    Delivery,
    Ending,
    Settlement,
    new_id,
    token_key,
)
from bridge.worker.backfill import Backfill

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.settings import Settings, Store
    from bridge.storage.inbox import Inbox

log = structlog.get_logger()

LISTS = frozenset({Kind.FIND, Kind.FIND_HOLDER, Kind.SEARCH, Kind.LIST_REFUNDS, Kind.LIST_NOTES})
DISPUTES = frozenset({Kind.CREATE, Kind.READ, Kind.FIND, Kind.FIND_HOLDER})
IN_VAIN = "Nothing is left to do for its case, which ended otherwise than it asks: see the notes."


@dataclass
class Outcome:
    """How one step went, applied to the case under lock."""

    word: str
    change: Callable[[Case, float], None] | None = None
    again_after: float | None = None  # seconds; None: by the schedule
    failed: tuple[Reason, str] | None = None
    tried: bool = False  # whether it counts as a try that failed
    said: str | None = None  # why it did not work, in a sentence
    shows: bool = False  # whether it is a reading, after which what it showed may be written


@dataclass(eq=False)
class Errand:
    """One step of a claimed case: the call to be made, and then how it went."""

    claim: Claim
    store: Store
    call: Call | None = None
    attempt: dict[str, typing.Any] | None = None
    outcome: Outcome | None = None  # None: the call is still to be made
    answer: Answer = field(default_factory=Answer)

    @property
    def made(self) -> dict[str, typing.Any] | None:
        """The record of the call once it was tried; a question that was not even sent leaves none."""
        if self.attempt is None or self.attempt["outcome"] == "intended":
            return None
        asked = self.call is not None and not self.call.writes
        return None if asked and self.attempt["outcome"] == "dropped" else self.attempt


@dataclass
class Forwarder:
    """Works on cases, one call of each at a time.

    One thread prepares and settles many cases together; each call is sent by a thread of its own.
    """

    inbox: Inbox
    settings: Settings
    chance: random.Random = field(default_factory=random.Random)
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Make room for a client of each store."""
        self.index = self.inbox.index
        self.inbox.told = self.settings.told
        self.apis: dict[str, NextApi] = {}

    def api(self, store: Store) -> NextApi:
        """Return the client of a store, with its connections: another one once its token is another."""
        known = self.apis.get(store.name)
        if known is None or known.store != store:
            version, timeout = self.settings.api_version, self.settings.timeout
            pace = self.inbox.pace(store, self.sleep)
            known = self.apis[store.name] = NextApi(store, version=version, timeout=timeout, pace=pace)
        return known

    def prepare(self, claims: Sequence[Claim]) -> list[Errand]:
        """Find out what is due for some claimed cases, and commit what is about to be written at 29next.

        Those that nobody holds any more are left out. An errand without an outcome waits for `send`.
        """
        stores = self.settings.stores  # one that was just removed gets its lease's time to come back
        errands = [Errand(claim, stores[claim.store]) for claim in claims if claim.store in stores]
        self._consult(errands)
        for errand in errands:
            try:
                self._plan(errand)
            except Exception as error:  # noqa: BLE001  kept with its trace; a person looks in the end
                errand.outcome = self._bug(errand.claim, error)
        writes = [one for one in errands if one.attempt and one.call and one.call.writes and not one.outcome]
        intents = self.inbox.intend([(one.claim, one.attempt) for one in writes if one.attempt])
        lost = set()
        for errand, held in zip(writes, intents, strict=True):
            if isinstance(held, Exception):
                errand.outcome = self._bug(errand.claim, held)
            elif not held:
                lost.add(errand)
        return [one for one in errands if one not in lost]

    def _consult(self, errands: Sequence[Errand]) -> None:
        """Ask the local index for the transactions of cases, and the inbox for who else has them."""
        try:
            claimed = [one.claim.case for one in errands]
            asking = [case for case in claimed if lookup.asks_index(case)]
            found = self.index.look_up([(case.store, case.dated_facts) for case in asking], self.inbox.now())
            for case, (rows, complete) in zip(asking, found, strict=True):
                lookup.apply_index(case, rows, complete=complete)
            self.inbox.find_holders([case for case in claimed if lookup.claims_transaction(case)])
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  as above; the others are not held up by it
            for errand in errands if len(errands) > 1 else ():
                self._consult([errand])
            if len(errands) == 1:
                errands[0].outcome = self._bug(errands[0].claim, error)

    def _plan(self, errand: Errand) -> None:
        """Say what is to be done for a case now, unless there is an outcome already."""
        claim, store, now = errand.claim, errand.store, self.inbox.now()
        if errand.outcome:
            return
        step = next_step(claim.case, now, metadata=store.metadata)
        if not isinstance(step, Call):
            errand.outcome = Outcome("idle")
        elif step.writes and store.observe:
            errand.outcome = Outcome("observed", said=f"Observed: {step.method} {step.path} {step.body}")
        else:
            errand.call, errand.attempt = step, _attempt(claim, step, now)
            if step.writes:
                until = max(now, claim.slot_at) + self.settings.timeout + self.settings.settle_seconds
                mark_sent(claim.case, step, until)

    def send(self, errand: Errand) -> None:
        """Make the call of an errand in its slot, and tell apart what came of it."""
        if errand.call is None or errand.attempt is None or errand.outcome:
            return
        claim, call, answer = errand.claim, errand.call, errand.answer
        try:
            errand.outcome = self._send(errand, call, errand.attempt)
        except Unavailable as error:  # while the pages of a list were read
            errand.outcome = Outcome("temporary", again_after=1.0, said=str(error))
        except Exception as error:  # noqa: BLE001  as above
            errand.outcome = self._bug(claim, error)
        errand.attempt |= {
            "status": answer.status,
            "response": answer.text or errand.outcome.said,
            "outcome": errand.outcome.word,
            "seconds": round(answer.seconds, 4),
        }
        if errand.outcome.word == "dropped":
            self.inbox.lead.missed(self.inbox.now() - claim.taken_at)
        else:
            self.inbox.lead.met()

    def _send(self, errand: Errand, call: Call, attempt: dict[str, typing.Any]) -> Outcome:
        claim, store, answer, now = errand.claim, errand.store, errand.answer, self.inbox.now()
        if claim.slot_at > now + 2 * LONGEST_LEAD:  # the clock was set back, and nobody knows when it opens
            return Outcome("dropped", _undo(call), again_after=0.0)
        attempt["started_at"] = max(claim.slot_at, now)
        slot = self.inbox.pace(store, self.sleep).slot(claim.slot_at)
        api = self.api(store)
        found: typing.Any
        try:
            api.prepare()
            if call.kind in LISTS:
                hold = partial(self.inbox.hold, claim)
                found = api.rows(call.path, call.params or {}, answer=answer, slot=slot, before_more=hold)
            else:
                found = (
                    api.find(call.path, answer=answer, slot=slot)
                    if call.kind is Kind.ORDER
                    else api.call(call.method, call.path, body=call.body, answer=answer, slot=slot)
                )
            if call.kind in DISPUTES:
                _tell_ids(call, found)
            elif call.kind in lookup.OF_TRANSACTIONS:
                found = self._with_family(claim, lookup.rows_of(call, found))
            return Outcome(
                "ok",
                lambda case, now: apply_response(case, call, found, now),
                again_after=0.0,
                shows=not call.writes,
            )
        except TooLate:
            return Outcome("dropped", _undo(call), again_after=0.0)
        except Throttled as error:
            wait = error.retry_after or 1.0
            return Outcome("throttled", _undo(call), again_after=wait, said=str(error))
        except TemporaryError as error:
            wait_at_least = error.retry_after
            return Outcome("temporary", _undo(call), wait_at_least, tried=True, said=str(error))
        except Unclear as error:
            until = self.inbox.now() + self.settings.settle_seconds
            return Outcome("unclear", lambda case, _: _put_off(case, until), tried=True, said=str(error))
        except StoreRefused as error:
            return Outcome("store_refused", _undo(call), tried=True, said=str(error))
        except MissingScope as error:
            return self._given_way(call, {"detail": [str(error)]}, error)
        except PermanentError as error:
            return self._given_way(call, error.fields, error)

    def settle(self, errands: Sequence[Errand]) -> None:
        """Settle the cases of errands as they are now in the inbox, with what was found out meanwhile."""
        kept = self.inbox.settle([self._settlement(one) for one in errands])
        for errand, held in zip(errands, kept, strict=True):
            if isinstance(held, Exception):
                errand.outcome = self._bug(errand.claim, held)
                self.inbox.settle([self._settlement(errand)])  # else its lease runs out
            self._say(errand, held=held is True)
            try:
                self._of_the_store(errand)
            except Unavailable as error:  # the next call finds out the same
                log.warning("database unavailable", store=errand.store.name, why=str(error))

    def _settlement(self, errand: Errand) -> Settlement:
        outcome, known, store = errand.outcome or Outcome("idle"), errand.claim.case, errand.store

        def change(case: Case, owed: list[Delivery]) -> Ending:
            if outcome.word == "observed":
                return _observed(case, owed, outcome.said or "")
            stale = lookup.asks_index(case) and lookup.is_stale(case, known)
            if lookup.asks_index(case) and not stale:
                case.match = known.match
            same = not stale and case.found == known.found
            case.duplicate_of = case.duplicate_of or (known.duplicate_of if same else None)
            return self._close(case, owed, outcome, store)

        return Settlement(errand.claim, change, errand.made)

    @staticmethod
    def _say(errand: Errand, *, held: bool) -> None:
        """Write the log's line of a call."""
        if errand.call is None or (attempt := errand.attempt) is None or attempt["outcome"] == "intended":
            return
        log.info(
            "called 29next",
            store=errand.store.name,
            case=errand.claim.case_id,
            delivery=attempt["delivery_id"],
            attempt=attempt["id"],
            call=errand.call.kind,
            outcome=attempt["outcome"],
            status=attempt["status"],
            seconds=attempt["seconds"],
            **({} if held else {"fence": "lost"}),
        )

    def _given_way(self, call: Call, fields: dict[str, list[str]], error: Exception) -> Outcome:
        """Go on without what was refused, if that is possible; else a person looks."""

        def change(case: Case, now: float) -> None:
            if call.writes:
                _not_sent(case, now)
            if not continue_without(case, call, fields):
                case.pending.refused = Refusal(Reason.REFUSED, str(error))

        return Outcome("refused", change, again_after=0.0)

    def _with_family(self, claim: Claim, rows: list[dict[str, typing.Any]]) -> list[dict[str, typing.Any]]:
        """Keep transactions that were read, and add what the index knows of the same payments."""
        self.inbox.hear_of(claim.store, rows, asked_by=claim.case_id)
        return self.index.with_family(claim.store, rows)

    # the index's own calls, while no dispute wants the slots

    def reread(self, store: str, ident: int) -> str:
        """Read a transaction again of which 29next's webhooks told contradictory things."""
        now = self.inbox.now()
        if not self.index.put_off(store, ident, now, now + retry.CEILING):
            return "lost"
        try:
            row = self.api(self.settings.stores[store]).call("GET", f"transactions/{ident}/")
        except NotFound:
            self.index.forget(store, ident)
            return "ok"
        except TemporaryError:
            return "temporary"
        except (StoreRefused, MissingScope, PermanentError):
            return "refused"
        self.inbox.hear_of(store, [row], certain=True)
        return "ok"

    def keep_up(self, store: str, stops: Callable[[], bool]) -> str:
        """Read what 29next has created since the index was last sure to have everything."""
        if not self.index.take_turn(store, self.inbox.now()):
            return "lost"
        shop = self.settings.stores[store]
        try:
            Backfill(self.inbox, self.api(shop), shop, sleep=self.sleep, stops=stops).keep_up()
        except TemporaryError:
            return "temporary"
        except (StoreRefused, MissingScope, PermanentError):
            return "refused"
        return "ok"

    def _close(self, case: Case, owed: list[Delivery], outcome: Outcome, store: Store) -> Ending:
        """Bring the case up to date, end what is met, and say when it is worked on next."""
        now = self.inbox.now()
        looked_up = case.unconfirmed is not None and outcome.shows
        if outcome.change:
            outcome.change(case, now)
        ending = Ending(said=outcome.said)
        refused, case.pending.refused = case.pending.refused, None
        if refused:
            case.trouble.refusal = refused
        for one in owed:
            if end := one.settled(case):
                ending.settled[one.id] = end
            elif refused:
                ending.settled[one.id] = Settled(Status.FAILED, refused.reason, refused.message)
        if refused and not ending.settled:  # nobody waits, whom it could be told
            case.note(refused.message)
        left = [one for one in owed if one.id not in ending.settled]
        tries = case.tries
        self._schedule(case, left, outcome, ending, store, now)
        if looked_up and store.look_first:  # which is no progress
            case.tries = tries
        if refused and not left:
            case.due_at = None
        if store.look_first and (case.due_at is None or not outcome.shows):
            look_again(case)
        return ending

    def _schedule(
        self, case: Case, left: list[Delivery], outcome: Outcome, ending: Ending, store: Store, now: float
    ) -> None:
        over = False
        tried = outcome.tried or (outcome.word == "throttled" and now > case.deadline_at)
        if tried:
            case.tries += 1
            left, over = _give_up(case, left, outcome, ending, now)
        elif outcome.word == "ok":
            case.tries = 0
        case.deadline_at = min((one.deadline_at for one in left), default=case.deadline_at)
        # a bug may be in the very finding of the next step
        step = None if outcome.failed else next_step(case, now, metadata=store.metadata)
        if isinstance(step, Fail):
            end = Settled(Status.FAILED, step.reason, step.message)
            ending.settled |= {one.id: end for one in left if one.deadline_at <= now}
            left = [one for one in left if one.id not in ending.settled]
            step = wait_longer(case, min(one.deadline_at for one in left)) if left else step
        elif isinstance(step, Done) and left:
            if lookup.asks_index(case):
                step = None  # it asks once more
            elif not case.is_duplicate:
                end = Settled(Status.FAILED, Reason.REFUSED, IN_VAIN)
                ending.settled |= {one.id: end for one in left}
        is_bug = outcome.failed is not None  # which is tried again, also where nobody waits
        idle = not (left or case.unconfirmed or is_bug or isinstance(step, Call))
        if over or idle or isinstance(step, Done):
            case.due_at = None
        elif isinstance(step, Wait):
            case.due_at = step.until
            if step.reason is Reason.WAITING_FOR_OPENING:
                ending.waits_for_opening = True
        elif not left and ending.has_failed:
            case.due_at = None
        elif outcome.again_after is not None and not tried:
            case.due_at = now + outcome.again_after
        else:
            case.due_at = retry.next_try(now, case.tries, case.deadline_at, self.chance, outcome.again_after)

    def _of_the_store(self, errand: Errand) -> None:
        """Let a refusal or a throttle hold for the whole store, and an answer end a pause."""
        outcome, store = errand.outcome or Outcome("idle"), errand.store
        if outcome.word == "store_refused":
            log.error("store paused", store=store.name, why=outcome.said)
            self.inbox.pause(store.name, outcome.said or "", PROBE_SECONDS)
        elif outcome.word == "throttled":
            self.inbox.throttle(token_key(store.token), outcome.again_after or 1.0)
        elif errand.claim.probes and outcome.word in ("ok", "refused") and errand.answer.status != 403:
            log.info("store goes on", store=store.name)
            self.inbox.resume(store.name, by_hand=False)

    @staticmethod
    def _bug(claim: Claim, error: Exception) -> Outcome:
        log.error("working on a case failed", case=claim.case_id, trace=trace(error))
        return Outcome("bug", failed=(Reason.BUG, trace(error)), tried=True)


def _give_up(
    case: Case, left: list[Delivery], outcome: Outcome, ending: Ending, now: float
) -> tuple[list[Delivery], bool]:
    """Fail what was tried for long enough; returns what is left, and whether the case is given up.

    What nobody's delivery waits for here (a person's match, the result of a duplicate) ends by the
    deadline of the case, and the duplicates are told.
    """
    bug = outcome.failed if case.tries >= retry.BUG_TRIES else None
    if outcome.word == "store_refused":
        return left, False
    reason, sentence = bug or (Reason.EXPIRED, "Seven days past its deadline, 29next still has not taken it.")
    failed = [one for one in left if bug or now > retry.expires(one.deadline_at)]
    ending.settled |= {one.id: Settled(Status.FAILED, reason, sentence) for one in failed}
    left = [one for one in left if one not in failed]
    over = not left and bool(bug or failed or now > retry.expires(case.deadline_at))
    if over and case.resolution is None and case.goal.resolution:
        case.trouble.refusal = Refusal(reason, sentence)
    elif over and not failed:
        case.note(f"What was left to do is given up ({reason}): {sentence}")
    return left, over


def _undo(call: Call) -> Callable[[Case, float], None] | None:
    return _not_sent if call.writes else None


def _not_sent(case: Case, _: float) -> None:
    take_back(case)


def _put_off(case: Case, until: float) -> None:
    """Wait until 29next must be done with a write whose answer did not come."""
    if case.unconfirmed:
        case.unconfirmed.until = until


def _tell_ids(call: Call, found: typing.Any) -> None:
    """Take disputes only where 29next says which they are."""
    if not all(isinstance(row.get("id"), int) for row in (found if isinstance(found, list) else [found])):
        if call.writes:
            raise Unclear("29next said that it created a dispute, but not which.")
        raise TemporaryError("29next answered a dispute without its id.")


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
        "outcome": "intended",
        "started_at": now,
        "seconds": None,
    }


def _observed(case: Case, owed: list[Delivery], would: str) -> Ending:
    case.note(would)
    case.due_at = None
    return Ending({one.id: Settled(Status.IGNORED, Reason.IGNORE) for one in owed})
