"""Reports to providers how their alerts ended, in their own words; reads an outcome back where it can.

`storage.outcomes` has the pending outcomes. This module sends them and decides what is next: sent, again
later, or a person decides.
"""

from __future__ import annotations

import random
import typing
from dataclasses import dataclass, field
from functools import partial

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
from bridge.storage.outcomes import OutcomeState, why_to_choose
from bridge.tree import pick
from bridge.worker.client import client_of
from bridge.worker.provider_api import HasOne, ProviderApi, Request
from bridge.worker.sale import SaleReader, moment

if typing.TYPE_CHECKING:
    from bridge.next29.client import NextApi
    from bridge.providers.outcomes import Batch, Outcome, Word
    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox
    from bridge.storage.outcomes import PendingOutcome

Json = typing.Any

log = structlog.get_logger()

DEADLINE = retry.DAY
"""How long networks wait for an outcome; after that it is tried hourly for seven days."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An outcome that is ready to be sent."""

    pending: PendingOutcome
    word: Word
    item: Json


@dataclass
class Reporter:
    """Reports outcomes to the providers for which that is switched on."""

    inbox: Inbox
    settings: Settings
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Makes the API of each provider that takes outcomes."""
        self.apis = {
            name: ProviderApi(self.settings.providers[name], key, self.inbox, timeout=self.settings.timeout)
            for name, key in self.settings.api_keys.items()
            if name in self.settings.reporting
        }
        self.stores: dict[str, NextApi] = {}

    def report(self, provider: str) -> bool:
        """Reports to a provider the outcomes due longest, in one call; returns whether there were any."""
        outcome = self.settings.providers[provider].outcome
        claimed = self.inbox.outcomes.claim(provider, outcome.most) if outcome else []
        begun, ready = self.inbox.now(), list[Ready]()
        for pending in claimed:
            if self.inbox.now() > begun + self.settings.lease:
                self.inbox.outcomes.release(pending)  # the rest of the time is for the call
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
        """Returns what is to be sent; raises why it cannot be sent."""
        if self.inbox.now() > retry.expires_at(pending.owed_at + DEADLINE):
            raise PermanentError("It could not be sent within seven days after its time.")
        outcome = self.settings.outcomes_of(pending.store).get(pending.provider)
        if outcome is None:
            raise TemporaryError(f"Outcomes of store {pending.store} are switched off.")
        store = self.settings.stores[pending.store]
        # a repeat, or a person's choice, keeps its word
        chosen = pending.word or outcome.word_name(pending.category, pending.resolution)
        if existing := self._existing(outcome, pending, chosen):
            raise existing
        if chosen is None:
            raise PermanentError(why_to_choose(pending.category, pending.resolution))
        if store.name not in self.stores or self.stores[store.name].store != store:
            self.stores[store.name] = client_of(store, self.inbox, self.settings)
        reader = SaleReader(self.inbox, self.stores[store.name], pending)
        word = outcome.word(reader.word(chosen) if isinstance(chosen, ByShipment) else chosen)
        if word is None:
            raise PermanentError(f"The word {chosen} is no longer known. Choose another one.")
        facts = Facts(
            id=pending.provider_id,
            at=moment(pending.resolved_at),
            resolution=pending.resolution,
            message=cut_text(pending.message) if pending.message else None,
            refund=reader.refund() if word.refunds and outcome.reports_refunds else None,
            duplicate=pending.duplicate,
        )
        item, missing = outcome.item(word, facts)
        if missing:
            names = ", ".join(name.replace("_", " ") for name in missing)
            raise PermanentError(f"{word.name} needs {names}, which is not known. Choose another word.")
        return Ready(pending, word, item)

    def _existing(
        self, outcome: Outcome, pending: PendingOutcome, chosen: str | ByShipment | None
    ) -> BridgeError | None:
        """Returns the error if the provider has an outcome already: there too the first one stands."""
        if outcome.read is None:
            return None
        path, field_path = outcome.read
        request = Request(outcome, "GET", path, [pending], kept=field_path)
        try:
            answer = self.apis[pending.provider].call(request)
        except NotFound:
            return None
        present = pick(answer, field_path)
        if present is not None and present == chosen:
            return HasOne(f"It has {present} already.")
        if isinstance(present, str) and present in outcome.finals:
            return PermanentError(f"It has {present} already, and 29next {pending.resolution}.")
        return None

    # sending

    def _send(self, outcome: Outcome, ready: list[Ready]) -> None:
        """Sends outcomes in one call, and settles each by its part of the answer."""
        batch = outcome.batch
        items = [report.item for report in ready]
        request = Request(
            outcome,
            "POST",
            outcome.path,
            [report.pending for report in ready],
            body={batch.items: items} if batch else items[0],
            parts=items,
            words={report.pending.case_id: report.word.name for report in ready},
            read_result=partial(self._result_error, outcome.batch),
        )
        provider = ready[0].pending.provider
        try:
            errors = self.apis[provider].call(request)
        except (PermanentError, HasOne) as error:
            alone = TemporaryError(f"{error} (sent with others; next alone)") if len(ready) > 1 else error
            for report in ready:
                self._settle(report.pending, self._error_of_refusal(outcome, report, alone))
        except BridgeError as error:
            for report in ready:
                self._settle(report.pending, error)
        else:
            for report in ready:
                self._settle(report.pending, errors[report.pending.case_id])

    def _result_error(self, batch: Batch | None, answer: Json, pending: PendingOutcome) -> BridgeError | None:
        """Returns the error of one outcome in an answer, or None if it was accepted."""
        if batch is None:
            return None
        title = self.settings.providers[pending.provider].title
        row = batch.answer_for(answer, pending.provider_id)
        status = row.get(batch.status) if row else None
        if status == batch.taken:
            return None
        complaint, may_work_later = batch.error_messages(row, batch.errors)
        message = f"{title} answered {status}: {complaint or 'without a reason'}"
        if row is None or not isinstance(status, str):
            return Unclear(f"{title} did not mention this outcome in its answer.")
        return TemporaryError(message) if may_work_later else PermanentError(message)

    def _error_of_refusal(self, outcome: Outcome, report: Ready, error: BridgeError) -> BridgeError:
        """Returns the error of a refused outcome, or that the provider has it (or another one) already."""
        try:
            return self._existing(outcome, report.pending, report.word.name) or error
        except BridgeError:
            return error

    # after it

    def _settle(self, pending: PendingOutcome, error: BridgeError | None) -> None:
        if isinstance(error, Unavailable):
            raise error  # nothing can be recorded: it is tried again once its lease is over
        state, message, due_at = self._result_of(pending, error)
        kept = self.inbox.outcomes.settle(pending, state, message, due_at)
        facts = {
            "provider": pending.provider,
            "case": pending.case_id,
            "resolution": pending.resolution,
            "state": state,
            "why": message,
            **({} if kept else {"fence": "lost"}),
        }
        if state == OutcomeState.SENT:
            log.info("outcome sent", **facts)
        else:
            log.warning("outcome not sent", **facts)

    def _result_of(
        self, pending: PendingOutcome, error: BridgeError | None
    ) -> tuple[OutcomeState, str | None, float | None]:
        """Returns the state after a try, why it is not sent, and when it is tried again."""
        if error is None:
            return OutcomeState.SENT, None, None
        if isinstance(error, (TemporaryError, Unclear)):
            deadline = pending.owed_at + DEADLINE
            due_at = retry.next_try(self.inbox.now(), pending.tries, deadline, self.chance, error.retry_after)
            return OutcomeState.OWED, str(error), due_at
        if isinstance(error, HasOne):
            return OutcomeState.SENT, str(error), None
        again_at = self.inbox.now() + retry.LATE_INTERVAL if isinstance(error, StoreRefused) else None
        return OutcomeState.FAILED, str(error), again_at
