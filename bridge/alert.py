"""The vocabulary of the bridge: what a provider's webhook says, in our words. No I/O, no libraries."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum


class Effect(StrEnum):
    """What an alert asks the bridge to do at 29next."""

    OPEN = "open"  # create the dispute
    MATCH = "match"  # the provider has told which order or transaction it is
    RESOLVE = "resolve"  # the case has an outcome
    WITHDRAW = "withdraw"  # the case was revoked
    INFORM = "inform"  # nobody asks for a refund; a dispute would block a customer for nothing
    IGNORE = "ignore"  # handshakes and events that we know and do not act on


class DisputeType(StrEnum):
    """29next's two kinds of dispute; neither ever turns into the other."""

    ALERT = "alert"
    CHARGEBACK = "chargeback"


class Category(StrEnum):
    """What a cardholder complains of."""

    FRAUD = "fraud"  # the cardholder did not buy
    DISPUTE = "dispute"  # the cardholder bought, and wants the money back
    UNKNOWN = "unknown"


class Network(StrEnum):
    """The programme that an alert comes from, whoever relays it."""

    ETHOCA = "ethoca"
    CDRN = "cdrn"  # Verifi's alerts
    RDR = "rdr"  # Visa's Rapid Dispute Resolution: the acquirer refunds by rule
    OTHER = "other"


class Status(StrEnum):
    """How far a delivery has come; every delivery ends in one of the last three."""

    PENDING = "pending"  # owed: it is tried until its deadline and after
    FORWARDED = "forwarded"  # 29next has what the delivery asked for
    IGNORED = "ignored"  # by rule; the reason says which
    FAILED = "failed"  # a person has to look; can be replayed


class Reason(StrEnum):
    """Why a delivery is where it is, in one word."""

    WAITING_FOR_OPENING = "waiting_for_opening"  # pending: nothing has opened its case yet
    STORE_PAUSED = "store_paused"  # pending: the store refuses us, or an operator paused it
    INFORM = "inform"  # ignored: only informs
    IGNORE = "ignore"  # ignored: nothing to do for this event
    TEST = "test"  # ignored: test traffic must not block a real customer
    DISMISSED = "dismissed"  # ignored: it had failed, and a person has put it aside
    UNTRANSLATABLE = "untranslatable"  # failed: the body does not fit the provider's table
    UNKNOWN_EVENT = "unknown_event"  # failed: an event type that nobody listed
    UNKNOWN_OUTCOME = "unknown_outcome"  # failed: an outcome that nobody listed; its case was opened
    CONTRADICTED = "contradicted"  # failed: another outcome stands at 29next
    NO_STORE = "no_store"  # failed: no route leads to a store
    REFUSED = "refused"  # failed: 29next said no, in its own words
    EXPIRED = "expired"  # failed: seven days past the deadline
    NO_OPENING = "no_opening"  # failed: a result came, its opening never did
    BUG = "bug"  # failed: an error of ours; the traceback is kept


class State(StrEnum):
    """Where a case stands."""

    NEW = "new"  # nothing at 29next yet
    UNCLEAR = "unclear"  # a write may or may not have happened: look before anything else
    OPEN = "open"  # the dispute exists
    RESOLVED = "resolved"  # the dispute has its resolution
    WITHDRAWN = "withdrawn"  # revoked by the provider; the block-list entry stays
    DUPLICATE = "duplicate"  # another case holds the dispute of this sale
    REVIEW = "review"  # a person decides: no certain match, or results that contradict each other


ALERT_RESOLUTIONS = (
    "could_not_find_order",
    "declined_or_canceled_nothing_to_do",
    "issued_full_refund",
    "issued_refund_for_remaining_amount",
    "3ds_authorized_successfully",
    "previously_refunded_nothing_to_do",
    "unable_to_refund_merchant_account_closed",
    "other",
)
"""29next's resolutions of an alert, word for word (its OpenAPI document)."""

REFUNDS = ("issued_full_refund", "issued_refund_for_remaining_amount")
"""Those by which money went back."""

CHARGEBACK_RESOLUTIONS = ("won", "lost", "accepted")
"""29next's resolutions of a chargeback (its OpenAPI document)."""

RESOLUTIONS = {
    DisputeType.ALERT: ALERT_RESOLUTIONS,
    DisputeType.CHARGEBACK: CHARGEBACK_RESOLUTIONS,
}
"""What a dispute of each type may be resolved as."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One HTTP request as it arrived; header names are lower case."""

    provider: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    store: str | None = None  # as named in the path
    method: str = "POST"
    url: str = ""  # as the provider called it, its query included


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What a delivery says. Money is Decimal in major units, time has a zone, identifiers are text."""

    case_number: str
    type: DisputeType = DisputeType.ALERT
    subtype: str | None = None  # the provider's own word for the kind of case
    category: Category = Category.UNKNOWN
    network: Network = Network.OTHER
    event_at: datetime | None = None  # when the event happened, by which later results replace earlier ones
    # what is disputed, and when
    amount: Decimal | None = None
    currency: str | None = None
    happened_at: datetime | None = None
    # the payment that it is about
    transaction_amount: Decimal | None = None
    transaction_currency: str | None = None
    transaction_at: datetime | None = None
    arn: str | None = None
    card_first_six: str | None = None
    card_last_four: str | None = None
    auth_code: str | None = None
    network_transaction_id: str | None = None
    external_id: str | None = None  # the payment gateway's id, `external_id` at 29next
    order: str | None = None
    provider_id: str | None = None  # the provider's own id of the alert, by which it takes the outcome
    # whose it is
    descriptor: str | None = None
    mid: str | None = None
    member_id: str | None = None
    merchant_id: str | None = None
    # how it ended
    resolution: str | None = None
    message: str | None = None
    refunded_by_gateway: bool = False  # RDR: the money went back before anyone was told
    not_final: str | None = None  # the word by which it is not, whatever another place says: RDR was declined
    withdrawn: bool = False
    reason_code: str | None = None
    equals: tuple[str, ...] = ()  # resolutions that the provider was told by the same word
    unknown_outcome: str | None = None  # why the outcome that came is not understood
    review: str | None = None  # why a person has to look, though nothing is final
    note: str | None = None  # what a person should know of it
    unreadable: tuple[str, ...] = ()  # facts of ours that could not be read, and might contradict a match

    @property
    def carries_facts(self) -> bool:
        """Whether the alert tells of its case what opens it: what is disputed, readable or not."""
        return all(
            getattr(self, name) is not None or not {name, f"transaction_{name}"}.isdisjoint(self.unreadable)
            for name in ("amount", "currency")
        )

    def agrees(self, resolution: str | None) -> bool:
        """Whether the alert's outcome is this resolution, or the echo of it."""
        return resolution is not None and resolution in (self.resolution, *self.equals)

    def to_json(self) -> dict[str, typing.Any]:
        """Write the alert as plain JSON values, leaving out what is not known."""
        return {
            name: _plain(value)
            for name in _TYPES
            if (value := getattr(self, name)) is not None and value is not False and value != ()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, typing.Any]) -> Alert:
        """Read an alert back from what `to_json` wrote."""
        return cls(**{k: _READ.get(_TYPES[k], _same)(v) for k, v in values.items() if k in _TYPES})


def _plain(value: typing.Any) -> typing.Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool) else str(value)


def _same(value: typing.Any) -> typing.Any:
    return value


def _network(value: str) -> Network:
    """Return the network; an earlier release wrote `verifi`, or a card's brand, where it knew no more."""
    return Network(value) if value in set(Network) else Network.OTHER


_TYPES: dict[str, str] = {f.name: str(f.type) for f in dataclasses.fields(Alert)}
_READ: dict[str, typing.Callable[[typing.Any], typing.Any]] = {
    "Decimal | None": Decimal,
    "datetime | None": datetime.fromisoformat,
    "DisputeType": DisputeType,
    "Category": Category,
    "Network": _network,
    "tuple[str, ...]": tuple,
}


def iso(moment: datetime) -> str:
    """Write a moment in UTC as RFC 3339, with `Z`, and with no more digits than it has."""
    micros = moment.microsecond
    precision = "microseconds" if micros % 1000 else "milliseconds" if micros else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def resolvable(kind: DisputeType, resolution: str) -> bool:
    """Whether 29next takes a resolution for a type of dispute."""
    return resolution in RESOLUTIONS[kind]
