"""Tells providers how their alerts ended: read back where that is possible, and told in their own words.

What is owed, and to whom, is the inbox's; here it is sent, and told apart by what happens next: told,
again later, or a person.
"""

from __future__ import annotations

import random
import typing
from dataclasses import dataclass, field

import structlog

from bridge.cards import cut_text
from bridge.disputes import retry
from bridge.errors import (
    BridgeError,
    NotFound,
    PermanentError,
    StoreRefused,
    TemporaryError,
    Unavailable,
    Unclear,
)
from bridge.providers.outcomes import ByShipment, Facts
from bridge.storage.outcomes import Telling, waits_for_a_word
from bridge.tree import pick
from bridge.worker.client import client_of
from bridge.worker.provider_api import HasOne, ProviderApi, Request
from bridge.worker.sale import SaleReader, moment

if typing.TYPE_CHECKING:
    from bridge.next29.client import NextApi
    from bridge.providers.outcomes import Outcome, Word
    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox
    from bridge.storage.outcomes import PendingOutcome

Json = typing.Any

log = structlog.get_logger()

DEADLINE = retry.DAY
"""How long networks wait for an outcome; after it, it is tried hourly for seven days."""


class HasAnother(PermanentError):
    """The provider has another outcome of this alert already."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of one try, and when it is tried again."""

    state: Telling
    message: str | None = None
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """An outcome that only has to be sent."""

    pending: PendingOutcome
    word: Word
    item: Json


@dataclass
class Reporter:
    """Tells the providers for which it is switched on."""

    inbox: Inbox
    settings: Settings
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Open the connections to each provider that is told."""
        self.apis = {
            name: ProviderApi(self.settings.providers[name], key, self.inbox, timeout=self.settings.timeout)
            for name, key in self.settings.api_keys.items()
            if name in self.settings.reporting
        }
        self.stores: dict[str, NextApi] = {}

    def turn(self, provider: str) -> bool:
        """Tell a provider the outcomes that are due longest, in one call; whether there were any."""
        outcome = self.settings.providers[provider].outcome
        claimed = self.inbox.outcomes.claim(provider, outcome.most) if outcome else []
        begun, ready = self.inbox.now(), list[Ready]()
        for pending in claimed:
            if self.inbox.now() > begun + self.settings.lease:
                self.inbox.outcomes.release(pending)  # the rest of the time is the call's
                continue
            try:
                ready.append(self._prepare(pending))
            except BridgeError as error:
                self._settle(pending, error)
        if outcome and ready:
            self._send(outcome, ready)
        return bool(claimed)

    # before it is sent

    def _prepare(self, pending: PendingOutcome) -> Ready:
        """Find out what is to be sent; raises what stands in the way."""
        if self.inbox.now() > retry.expires(pending.owed_at + DEADLINE):
            raise PermanentError("It could not be sent within seven days after its time.")
        outcome = self.settings.outcomes_of(pending.store).get(pending.provider)
        if outcome is None:
            raise TemporaryError(f"Outcomes of store {pending.store} are switched off.")
        store = self.settings.stores[pending.store]
        said = self._said(outcome, pending)
        self._look(outcome, pending, said)
        if said is None:
            raise PermanentError(waits_for_a_word(pending.category, pending.resolution))
        if store.name not in self.stores or self.stores[store.name].store != store:
            self.stores[store.name] = client_of(store, self.inbox, self.settings)
        reader = SaleReader(self.inbox, self.stores[store.name], pending)
        word = outcome.word(reader.word(said) if isinstance(said, ByShipment) else said)
        if word is None:
            raise PermanentError(f"The word {said} is no longer known. Choose another one.")
        reads_refund = word.refunds and outcome.reports_refunds
        facts = Facts(
            id=pending.provider_id,
            at=moment(pending.resolved_at),
            resolution=pending.resolution,
            message=cut_text(pending.message) if pending.message else None,
            refund=reader.refund() if reads_refund else None,
            duplicate=pending.duplicate,
        )
        item, lacking = outcome.item(word, facts)
        if lacking:
            what = ", ".join(name.replace("_", " ") for name in lacking)
            raise PermanentError(f"{word.name} needs {what}, which is not known. Choose another word.")
        return Ready(pending, word, item)

    def _said(self, outcome: Outcome, pending: PendingOutcome) -> str | ByShipment | None:
        """Return the word that was sent before or chosen, else the one that goes with the resolution."""
        return pending.word or outcome.word_name(pending.category, pending.resolution)

    def _look(self, outcome: Outcome, pending: PendingOutcome, said: str | ByShipment | None) -> None:
        """Raise where the provider has an outcome already: the first one stands there too."""
        if outcome.read is None:
            return
        path, where = outcome.read
        try:
            answer = self.apis[pending.provider].call(outcome, Request("GET", path, [pending], kept=where))
        except NotFound:
            return
        has = pick(answer, where)
        if has is not None and has == said:
            raise HasOne(f"It has {has} already.")
        if isinstance(has, str) and has in outcome.finals:
            raise HasAnother(f"It has {has} already, and 29next {pending.resolution}.")

    # sending

    def _send(self, outcome: Outcome, ready: list[Ready]) -> None:
        """Send outcomes in one call, and settle each by what is answered for it."""
        batch = outcome.batch
        items = [one.item for one in ready]
        request = Request(
            "POST",
            outcome.path,
            [one.pending for one in ready],
            body={batch.items: items} if batch else items[0],
            parts=items,
            words={one.pending.case_id: one.word.name for one in ready},
            tells=True,
        )
        provider = ready[0].pending.provider

        def judge(answer: Json, pending: PendingOutcome) -> BridgeError | None:
            return self._judge(outcome, answer, pending)

        try:
            said = self.apis[provider].call(outcome, request, judge)
        except (PermanentError, HasOne) as error:
            alone = TemporaryError(f"{error} (sent with others; next alone)") if len(ready) > 1 else error
            for one in ready:
                self._settle(one.pending, self._if_it_stands(outcome, one, alone))
        except BridgeError as error:
            for one in ready:
                self._settle(one.pending, error)
        else:
            for one in ready:
                self._settle(one.pending, said[one.pending.case_id])

    def _judge(self, outcome: Outcome, answer: Json, pending: PendingOutcome) -> BridgeError | None:
        """Say what the answer to a call means for one outcome: None where it was taken."""
        batch = outcome.batch
        if batch is None:
            return None
        title = self.settings.providers[pending.provider].title
        row = batch.answer_for(answer, pending.provider_id)
        status = row.get(batch.status) if row else None
        if status == batch.taken:
            return None
        words, may_work_later = batch.error_messages(row, batch.errors)
        said = f"{title} answered {status}: {words or 'without a reason'}"
        if row is None or not isinstance(status, str):
            return Unclear(f"{title} did not mention this outcome in its answer.")
        return TemporaryError(said) if may_work_later else PermanentError(said)

    def _if_it_stands(self, outcome: Outcome, one: Ready, error: BridgeError) -> BridgeError:
        """Look what stands where an outcome was refused: ours may have arrived before, or another one."""
        try:
            self._look(outcome, one.pending, one.word.name)
        except (HasOne, HasAnother) as stands:
            return stands
        except BridgeError:
            pass
        return error

    # after it

    def _settle(self, pending: PendingOutcome, error: BridgeError | None) -> None:
        if isinstance(error, Unavailable):
            raise error  # nothing can be recorded: once its lease is over it is tried again
        ending = self._ending(pending, error)
        kept = self.inbox.outcomes.settle(pending, ending.state, ending.message, ending.due_at)
        level = log.info if ending.state == Telling.TOLD else log.warning
        level(
            "outcome sent" if ending.state == Telling.TOLD else "outcome not sent",
            provider=pending.provider,
            case=pending.case_id,
            resolution=pending.resolution,
            state=ending.state,
            why=ending.message,
            **({} if kept else {"fence": "lost"}),
        )

    def _ending(self, pending: PendingOutcome, error: BridgeError | None) -> Ending:
        """Say what comes of a try: told, again later, or a person."""
        if error is None:
            return Ending(Telling.TOLD)
        if isinstance(error, (TemporaryError, Unclear)):
            wait = error.retry_after if isinstance(error, TemporaryError) else None
            deadline = pending.owed_at + DEADLINE
            due_at = retry.next_try(self.inbox.now(), pending.tries, deadline, self.chance, wait)
            return Ending(Telling.OWED, str(error), due_at)
        if isinstance(error, HasOne):
            return Ending(Telling.TOLD, str(error))
        if isinstance(error, StoreRefused):
            return Ending(Telling.FAILED, str(error), self.inbox.now() + retry.LATE_INTERVAL)
        return Ending(Telling.FAILED, str(error))
