"""A case: everything the bridge knows of one dispute, what it should come to, and what is pending. Pure."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from bridge.alert import Alert, DisputeType, Reason, State

Json = dict[str, typing.Any]


class CallKind(StrEnum):
    """The calls to 29next, by what each is for."""

    # writes
    CREATE = "create"  # the dispute
    ATTACH = "attach"  # its transaction
    RESOLVE = "resolve"
    REPLACE = "replace"  # an earlier resolution of ours by a later one
    REFUND = "refund"  # record a refund that the gateway made
    NOTE = "note"
    # reads
    FIND = "find"  # disputes with the case's number
    READ = "read"  # the dispute
    FIND_HOLDER = "find_holder"  # the dispute that already holds the transaction
    SEARCH = "search"  # transactions that may be the disputed one
    ORDER = "order"  # the order that the alert names, with its transactions
    PAYMENT = "payment"  # the payment of a refund that the alert names
    SALE = "sale"  # the matched transaction, right before its refund is recorded
    LIST_REFUNDS = "list_refunds"
    LIST_NOTES = "list_notes"


WRITES = frozenset(
    {CallKind.CREATE, CallKind.ATTACH, CallKind.RESOLVE, CallKind.REPLACE, CallKind.REFUND, CallKind.NOTE}
)
LOOKED_UP_BEFORE = WRITES - {CallKind.CREATE}
"""The writes that can be looked up right before they are made; a creation becomes unconfirmed instead."""


class Rule(StrEnum):
    """How a case was matched with its transaction."""

    ORDER = "order"
    EXTERNAL_ID = "external_id"
    NETWORK_TRANSACTION_ID = "network_transaction_id"
    AUTH_CODE = "auth_code"
    CARD_AND_AMOUNT = "card_and_amount"
    PAYMENT = "payment"  # read because a refund that the alert names belongs to it; never a match by itself
    MANUAL = "manual"  # a person chose the transaction
    NONE = "none"  # a person said that there is none


class OptionalPart(StrEnum):
    """What the bridge leaves out of a dispute if 29next refuses it."""

    METADATA = "metadata"
    TRANSACTION = "transaction"
    REFUND = "refund"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Call:
    """One call to 29next; `path` is below the base URL."""

    kind: CallKind
    method: str
    path: str
    params: Json | None = None
    body: Json | None = None
    rule: Rule | None = None  # for a look-up of transactions

    @property
    def writes(self) -> bool:
        """Whether it changes something at 29next, so that an unclear answer has to be looked up."""
        return self.kind in WRITES


@dataclass(slots=True)
class Goal:
    """What the case should come to at 29next."""

    resolution: str | None = None
    message: str | None = None
    by: str | None = None  # the provider that sent the resolution
    event_at: float | None = None  # when it happened, by the event's own time
    received_at: float | None = None  # when its delivery was received first
    refunded_by_gateway: bool = False  # a refund that 29next should have on record
    withdraw: bool = False

    @property
    def order(self) -> tuple[float, float] | None:
        """What decides which of two resolutions is later: the event's own time, then the first receipt."""
        if self.event_at is None or self.received_at is None:
            return None
        return self.event_at, self.received_at


@dataclass(slots=True)
class Match:
    """The transaction of the case and the rule that found it; else the candidates, and why none was taken."""

    rule: Rule | None = None
    transaction_id: int | None = None
    amount: str | None = None  # of the transaction, in its currency
    currency: str | None = None
    candidates: list[Json] = field(default_factory=list)
    asked: list[Rule] = field(default_factory=list)  # the look-ups that 29next has answered
    behind: int | None = None  # the payment of a refund that the alert names, not read yet
    closed: bool = False  # no look-up is left
    woken_at: float | None = None  # when the local index last got a transaction that may fit
    heeded_at: float | None = None  # the `woken_at` that this match has taken into account


@dataclass(slots=True)
class Unconfirmed:
    """A write that may have happened: the bridge looks it up at 29next before it does anything else."""

    kind: CallKind
    until: float = 0.0  # 29next may still be working on it
    looks: int = 0  # look-ups that did not find it
    body: Json | None = None  # what was sent; None if only others may have written it


@dataclass(slots=True)
class Sale:
    """The money of the matched transaction, read right before its refund is recorded."""

    transaction_id: int
    at: float
    amount: str | None = None
    currency: str | None = None
    left: str | None = None  # what is left to refund


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the bridge gave up the goal of the case, in a word and a sentence."""

    reason: Reason
    message: str


@dataclass(slots=True)
class Pending:
    """What has to be read or settled before the case continues."""

    verify: set[CallKind] = field(default_factory=set)  # writes to look up before they are made
    reread: bool = False  # read the dispute again: a webhook contradicts the case
    holder: int | None = None  # a transaction that another dispute holds: find that dispute
    held: Json | None = None  # the dispute that holds it, as 29next lists it
    early: Alert | None = None  # an alert with ids, received before the opening
    looks: int = 0  # look-ups for a dispute while nothing has opened the case
    looked_first: bool = False  # the creation was looked up before it was made
    sale: Sale | None = None
    read_at: float | None = None  # when the dispute was read, so that no person's decision is overwritten
    refusal: Refusal | None = None  # a refusal that the next settlement passes on


@dataclass(slots=True)
class Trouble:
    """What needs a person's attention."""

    contradicted: str | None = None  # an outcome that differs from the standing one
    irreplaceable: str | None = None  # why a later outcome could not replace an earlier one
    review: str | None = None  # what a provider said that is not final and needs a person
    refusal: Refusal | None = None  # the resolution was given up
    unattached: str | None = None  # 29next refused the transaction
    unrecorded: str | None = None  # the gateway's refund is not on record
    unnoted: str | None = None  # 29next refused the note of a withdrawal


@dataclass
class Case:
    """Everything that is known of one dispute."""

    id: str
    store: str
    case_number: str
    type: DisputeType
    provider: str  # that sent the alert that opened it
    opened_at: float
    deadline_at: float
    providers: list[str] = field(default_factory=list)
    facts: Alert | None = None  # the alert that opens it; None while only others were received
    # at 29next
    dispute_id: int | None = None
    transaction_id: int | None = None
    resolution: str | None = None
    resolved_by_us: str | None = None  # the resolution that the bridge wrote
    refund_recorded: bool = False
    withdrawn: bool = False
    duplicate_of: str | None = None  # the id of the case that holds the dispute
    # what it should come to, and what prevents it
    goal: Goal = field(default_factory=Goal)
    match: Match | None = None  # None before the first look-up
    unconfirmed: Unconfirmed | None = None
    pending: Pending = field(default_factory=Pending)
    trouble: Trouble = field(default_factory=Trouble)
    without: list[OptionalPart] = field(default_factory=list)  # what 29next refused
    notes: list[str] = field(default_factory=list)
    # the queue
    due_at: float | None = None  # None: nothing to do
    lease_until: float = 0.0
    fence: int = 0
    tries: int = 0

    @property
    def state(self) -> State:
        """The state of the case: the first that applies."""
        if self.is_duplicate:
            return State.DUPLICATE
        if self.unconfirmed:
            return State.UNCLEAR
        if self.withdrawn:
            return State.WITHDRAWN
        if self._needs_a_person:
            return State.REVIEW
        if self.resolution:
            return State.RESOLVED
        return State.NEW if self.dispute_id is None else State.OPEN

    @property
    def is_duplicate(self) -> bool:
        """Whether another case holds the dispute of this sale, or is about to."""
        return self.duplicate_of is not None or self.pending.held is not None

    @property
    def is_decided(self) -> bool:
        """Whether a person has chosen the transaction, or said that there is none."""
        return self.match is not None and self.match.rule in (Rule.MANUAL, Rule.NONE)

    @property
    def is_ended(self) -> bool:
        """Whether the case ended without a dispute; a person may have made one meanwhile."""
        return self.facts is not None and self.dispute_id is None and self.due_at is None

    @property
    def standing(self) -> str | None:
        """The standing outcome: what a person resolved at 29next, else the last one that the bridge wants."""
        if self.resolution is not None and self.resolution != self.resolved_by_us:
            return self.resolution
        return self.goal.resolution or self.resolution

    @property
    def matched_id(self) -> int | None:
        """The id of the transaction that was matched, whether 29next knows of it yet or not."""
        return self.match.transaction_id if self.match else None

    @property
    def dated_facts(self) -> Alert:
        """The opening alert for matching; without a date of its own it has that of its receipt."""
        facts = typing.cast("Alert", self.facts)
        received = datetime.fromtimestamp(self.opened_at, UTC)
        return facts if facts.happened_at else dataclasses.replace(facts, happened_at=received)

    @property
    def _needs_a_person(self) -> bool:
        unreadable = self.facts is not None and self.facts.unreadable and not self.is_decided
        unfinished = self.trouble.review and self.resolution is None
        has_none = self.match is not None and self.match.rule is Rule.NONE
        unmatched = self.dispute_id is not None and self.transaction_id is None and not has_none
        return bool(self.trouble.contradicted or unreadable or unfinished or unmatched)

    def note(self, text: str) -> None:
        """Adds a note for people, once."""
        if text not in self.notes:
            self.notes.append(text)

    def leave_out(self, part: OptionalPart) -> None:
        """Leaves out something that 29next refused."""
        if part not in self.without:
            self.without.append(part)
