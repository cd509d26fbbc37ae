"""What the event types of a provider mean, and rules that apply to all providers. Pure."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bridge.alert import REFUNDS, Effect
from bridge.providers.fields import NOT_FINAL, NOTE, REVIEW, AlertSchema, Constant, Resolution

if typing.TYPE_CHECKING:
    from bridge.providers.base import Item

ANY = "*"


@dataclass(frozen=True)
class Meaning:
    """What an event type requests, and the table for its body.

    `kinds` has other tables for kinds of case, by pattern of the item's words for them. `a&b` requires both.
    """

    effect: Effect
    table: AlertSchema | None = None
    kinds: Mapping[str, AlertSchema] = field(default_factory=dict)

    def table_for(self, item: Item) -> AlertSchema | None:
        """Returns the table for an item."""
        kinds = (table for kind, table in self.kinds.items() if all(map(item.is_like, kind.split("&"))))
        return next(kinds, self.table)

    def tables(self) -> list[AlertSchema]:
        """Returns all tables for the event type."""
        return [*([self.table] if self.table else []), *self.kinds.values()]

    def map(self, change: Callable[[AlertSchema], AlertSchema]) -> Meaning:
        """Returns the meaning with every table changed."""
        kinds = {kind: change(table) for kind, table in self.kinds.items()}
        return Meaning(self.effect, change(self.table) if self.table else None, kinds)


Table = type[AlertSchema]
Kinds = typing.Mapping[str, Table]


def opens(table: Table, kinds: Kinds | None = None) -> Meaning:
    """Returns the meaning of an event that opens a case. `kinds` has other tables, by pattern of subtype."""
    return _meaning(Effect.OPEN, table, kinds)


def matches(table: Table, kinds: Kinds | None = None) -> Meaning:
    """Returns the meaning of an event that names the payment. With the case's facts it opens the case too."""
    return _meaning(Effect.MATCH, table, kinds)


def resolves(table: Table, kinds: Kinds | None = None) -> Meaning:
    """Returns the meaning of an event with the outcome. With the case's facts it also opens the case."""
    return _meaning(Effect.RESOLVE, table, kinds)


def ends(table: Table, resolution: str) -> Meaning:
    """Returns the meaning of an event whose type alone says how the case ended."""
    ended = table.from_dict({"resolution": Constant(resolution)}, name=table.__name__)
    return resolves(typing.cast("Table", ended))


def withdraws(table: Table, kinds: Kinds | None = None) -> Meaning:
    """Returns the meaning of an event that revokes a case."""
    return _meaning(Effect.WITHDRAW, table, kinds)


def informs(table: Table | None = None, kinds: Kinds | None = None) -> Meaning:
    """Returns the meaning of an event that requests no refund. A policy may turn it into an opening."""
    return _meaning(Effect.INFORM, table, kinds)


def _meaning(effect: Effect, table: Table | None, kinds: Kinds | None) -> Meaning:
    others = {kind: other() for kind, other in (kinds or {}).items()}
    return Meaning(effect, table() if table else None, others)


ACCEPTS = ("accept", "accepted", "auto_accepted", "approved", "refunded", "resolved")
"""All providers' words for an RDR case that was accepted."""
DECLINES = (
    *("no", "no_*", "not_*", "*_not_*", "*cannot*", "*unable*", "*declin*", "*reject*"),
    *("*refus*", "*denied*", "*deny*", "*cancel*", "*revok*", "*chargeback*", "cb_proceeded"),
    *("*ineligib*", "*noteligib*", "*non_eligib*", "*notaccept*", "*unaccept*"),
    *("*notapprov*", "*unapprov*", "*disapprov*", "*unresolv*"),
)
"""Patterns of all providers' words for one that was declined: it stays open, and nothing was refunded."""


def rapid(
    data_key: str, values: Mapping[str, typing.Any] | None = None, *, by_type: bool = False
) -> Resolution:
    """Returns the field for the outcome of an RDR case: refunded if it was accepted, open if it was declined.

    `values` lists further words; any other is unknown. With `by_type` a case without any word counts as
    accepted.
    """
    refunded = "issued_full_refund"
    words = dict.fromkeys(DECLINES, NOT_FINAL) | dict.fromkeys(ACCEPTS, refunded) | dict(values or {})
    silence: dict[str, typing.Any] = {"load_default": refunded} if by_type else {}
    return Resolution(data_key=data_key, values=words, **silence)


def open_unless_refunded(values: Mapping[str, typing.Any], rest: str | None = None) -> dict[str, typing.Any]:
    """Returns an alert's table of outcomes for an RDR case: those that do not end it become `rest`."""
    stays = (*REFUNDS, "previously_refunded_nothing_to_do", REVIEW, NOTE, NOT_FINAL)
    return {word: ours if ours in stays else rest for word, ours in values.items()}


ignored = Meaning(Effect.IGNORE)
"""The meaning of an event that needs nothing done."""
