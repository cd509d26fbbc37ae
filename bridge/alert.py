"""The vocabulary of the bridge: alerts, their effects, and the states of deliveries and cases. No I/O."""

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
    MATCH = "match"  # the provider has sent which order or transaction it is
    RESOLVE = "resolve"  # the case has an outcome
    WITHDRAW = "withdraw"  # the case was revoked
    INFORM = "inform"  # nobody asks for a refund; a dispute would block a customer for nothing
    IGNORE = "ignore"  # handshakes and events that we know and do not act on


class DisputeType(StrEnum):
    """29next's two types of dispute; neither becomes the other."""

    ALERT = "alert"
    CHARGEBACK = "chargeback"


class Category(StrEnum):
    """The cardholder's complaint."""

    FRAUD = "fraud"  # the cardholder did not buy
    DISPUTE = "dispute"  # the cardholder bought, and wants the money back
    UNKNOWN = "unknown"


class Network(StrEnum):
    """The programme that an alert comes from, even if another service relays it."""

    ETHOCA = "ethoca"
    CDRN = "cdrn"  # Verifi's alerts
    RDR = "rdr"  # Visa's Rapid Dispute Resolution: the acquirer refunds by rule
    OTHER = "other"


class Status(StrEnum):
    """The status of a delivery; every delivery ends with one of the last three."""

    PENDING = "pending"  # it is tried until its deadline, and after
    FORWARDED = "forwarded"  # 29next has what the delivery asked for
    IGNORED = "ignored"  # by rule; the reason says which
    FAILED = "failed"  # a person has to look; it can be replayed


class Reason(StrEnum):
    """Why a delivery has its status."""

    WAITING_FOR_OPENING = "waiting_for_opening"  # pending: no alert has opened its case yet
    STORE_PAUSED = "store_paused"  # pending: the store refuses us, or an operator paused it
    INFORM = "inform"  # ignored: only informs
    IGNORE = "ignore"  # ignored: nothing to do for this event
    TEST = "test"  # ignored: test traffic must not block a real customer
    DISMISSED = "dismissed"  # ignored: it had failed, and a person dismissed it
    UNTRANSLATABLE = "untranslatable"  # failed: the body does not fit the provider's table
    UNKNOWN_EVENT = "unknown_event"  # failed: an event type that no table lists
    UNKNOWN_OUTCOME = "unknown_outcome"  # failed: an outcome that no table lists; its case was opened
    CONTRADICTED = "contradicted"  # failed: 29next has another outcome
    NO_STORE = "no_store"  # failed: no route leads to a store
    REFUSED = "refused"  # failed: 29next refused it
    EXPIRED = "expired"  # failed: seven days past the deadline
    NO_OPENING = "no_opening"  # failed: an outcome arrived, but never the alert it belongs to
    BUG = "bug"  # failed: a bug of ours; the traceback is kept


class State(StrEnum):
    """The state of a case."""

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
"""The resolutions of an alert that refund money."""

CHARGEBACK_RESOLUTIONS = ("won", "lost", "accepted")
"""29next's resolutions of a chargeback (its OpenAPI document)."""

RESOLUTIONS = {
    DisputeType.ALERT: ALERT_RESOLUTIONS,
    DisputeType.CHARGEBACK: CHARGEBACK_RESOLUTIONS,
}
"""29next's resolutions, by type of dispute."""


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
    """What a delivery says. Amounts are Decimal in major units, times have a zone, identifiers are text."""

    case_number: str
    type: DisputeType = DisputeType.ALERT
    subtype: str | None = None  # the provider's own word for the kind of case
    category: Category = Category.UNKNOWN
    network: Network = Network.OTHER
    event_at: datetime | None = None  # when the event happened: later outcomes replace earlier ones
    # what is disputed, and when
    amount: Decimal | None = None
    currency: str | None = None
    happened_at: datetime | None = None
    # the disputed payment
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
    provider_id: str | None = None  # the provider's own id of the alert, under which it takes the outcome
    # which merchant and store it belongs to
    descriptor: str | None = None
    mid: str | None = None
    member_id: str | None = None
    merchant_id: str | None = None
    # how it ended
    resolution: str | None = None
    message: str | None = None
    refunded_by_gateway: bool = False  # RDR: the money was refunded before anyone was informed
    not_final: str | None = None  # the word by which it is not, whatever another place says: RDR was declined
    withdrawn: bool = False
    reason_code: str | None = None
    equals: tuple[str, ...] = ()  # resolutions that were reported to the provider by the same word
    unknown_outcome: str | None = None  # why the outcome is not understood
    review: str | None = None  # why a person has to look, though the outcome is not final
    note: str | None = None  # what a person should know
    unreadable: tuple[str, ...] = ()  # our fields that could not be read, and might contradict a match

    @property
    def carries_facts(self) -> bool:
        """Whether the alert has what opens its case: the disputed amount and currency, readable or not."""
        return all(
            getattr(self, name) is not None or not {name, f"transaction_{name}"}.isdisjoint(self.unreadable)
            for name in ("amount", "currency")
        )

    def agrees(self, resolution: str | None) -> bool:
        """Whether the alert's outcome is this resolution, or was reported by the same word."""
        return resolution is not None and resolution in (self.resolution, *self.equals)

    def to_json(self) -> dict[str, typing.Any]:
        """Returns the alert as JSON values, without what is not known."""
        return {
            name: _plain(value)
            for name in _READERS
            if (value := getattr(self, name)) is not None and value is not False and value != ()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, typing.Any]) -> Alert:
        """Returns an alert from what `to_json` returned."""
        return cls(**{name: _READERS[name](value) for name, value in values.items() if name in _READERS})


def _plain(value: typing.Any) -> typing.Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool) else str(value)


def _network(value: str) -> Network:
    """Returns the network; an earlier release wrote `verifi` or a card's brand if it knew no more."""
    return Network(value) if value in set(Network) else Network.OTHER


_BY_TYPE: dict[str, typing.Callable[[typing.Any], typing.Any]] = {
    "Decimal | None": Decimal,
    "datetime | None": datetime.fromisoformat,
    "DisputeType": DisputeType,
    "Category": Category,
    "Network": _network,
    "tuple[str, ...]": tuple,
}
_READERS = {f.name: _BY_TYPE.get(str(f.type), lambda value: value) for f in dataclasses.fields(Alert)}


def iso(moment: datetime) -> str:
    """Returns a moment in UTC as RFC 3339, with `Z` and only the digits it needs."""
    micros = moment.microsecond
    precision = "microseconds" if micros % 1000 else "milliseconds" if micros else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def resolvable(kind: DisputeType, resolution: str) -> bool:
    """Whether 29next takes a resolution for a type of dispute."""
    return resolution in RESOLUTIONS[kind]
