"""The vocabulary of provider tables: the kinds of fields, as marshmallow fields, and the table itself.

Pure: no I/O, no clock, no environment. A field's `data_key` is a dotted path into the provider's body
(`a|b` for the first of several that says something), and its errors are reported under that path.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError, missing
from marshmallow.fields import Field

from bridge.alert import REFUNDS, Alert, Category, DisputeType, Network, resolvable
from bridge.errors import Untranslatable
from bridge.providers.amounts import Currency, Money
from bridge.providers.currencies import code_in
from bridge.providers.kinds import (
    MAX_LENGTH,
    NOT_FINAL,
    NOTE,
    REVIEW,
    BodyField,
    Card,
    CardNumber,
    Code,
    Constant,
    Every,
    FirstSix,
    Flag,
    Identifier,
    LastFour,
    Place,
    ProviderOutcome,
    Resolution,
    Text,
    Word,
    by_word,
    shown,
)
from bridge.providers.moments import Moment
from bridge.tree import Tree, locate

__all__ = [
    "ALERT",
    "CHARGEBACK",
    "ETHOCA",
    "FRAUD",
    "MAX_LENGTH",
    "NOTE",
    "NOT_FINAL",
    "RDR",
    "REVIEW",
    "AlertSchema",
    "Card",
    "Code",
    "Constant",
    "Currency",
    "Every",
    "FirstSix",
    "Flag",
    "Identifier",
    "LastFour",
    "Moment",
    "Money",
    "ProviderOutcome",
    "Resolution",
    "Text",
    "Word",
    "by_word",
]

NO_EVIDENCE = frozenset({"case_number", "provider_id", "event_at"})
"""Fields that no match rests on, whatever their kind."""


class Translated(NamedTuple):
    """The alert of a body, and what could not be read, by the provider's path."""

    alert: Alert
    errors: dict[str, list[str]]


class AlertSchema(Schema):
    """A provider's table: our fields, their kinds, and the paths of the provider's values.

    If a provider sends both the disputed amount and the transaction's, `amount` is the disputed one. If it is
    missing, the transaction's counts for both.
    """

    class Meta:
        """Ignores values that the table does not name."""

        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: Field[Any]) -> None:
        """Stores the path: marshmallow would take a dotted key literally, and let no two fields share it."""
        self.__dict__.setdefault("paths", {})[field_name] = field_obj.data_key or field_name
        field_obj.data_key = None

    def path(self, name: str) -> str:
        """Returns the provider's path of a field."""
        return str(self.__dict__["paths"].get(name, name))

    def place(self, name: str, tree: Tree) -> Place:
        """Returns where the value of a field is in a body."""
        return typing.cast("BodyField", self.load_fields[name]).find(tree, self.path(name))

    def translate(self, tree: Tree) -> Translated:
        """Returns the alert of a parsed item; raises Untranslatable if it has no readable case number."""
        alert, errors = self._alert(*self._read(tree))
        by_path = {self.place(name, tree).path: messages for name, messages in errors.items()}
        if not alert.case_number:
            raise Untranslatable(fields=self._without_case_number(tree, errors) | by_path)
        return Translated(alert, by_path)

    def readable(self, tree: Tree) -> dict[str, str]:
        """Returns the readable fields of a body as text."""
        values, errors = self._read(tree)
        card: CardNumber | None = values.get("card")
        masked = f"{card.first_six or ''}******{card.last_four or ''}" if card else ""
        fields = {"card": masked} | self._alert(values, errors).alert.to_json()
        return {name: value for name, value in fields.items() if value != ""}

    def _read(self, tree: Tree) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Returns the readable values, and the errors of the others, both by our names."""
        places = {name: self.place(name, tree) for name in self.load_fields}
        raw = {name: place.value for name, place in places.items() if place.value is not None}
        try:
            return dict(self.load(raw)), {}
        except ValidationError as error:
            values = dict(typing.cast("dict[str, Any]", error.valid_data))
            if "type" in error.messages_dict and self.load_fields["type"].load_default is not missing:
                values["type"] = self.load_fields["type"].load_default  # 29next lets nobody change it later
            return values, {name: list(messages) for name, messages in error.messages_dict.items()}

    def sources(self) -> dict[str, str]:
        """Returns the provider's path of every field that has one."""
        fields = self.load_fields.items()
        return {
            name: self.path(name) for name, a_field in fields if not isinstance(a_field, Constant | Every)
        }

    def _without_case_number(self, tree: Tree, errors: Mapping[str, Any]) -> dict[str, list[str]]:
        if "case_number" in errors:
            return {}
        path, value = locate(tree, self.path("case_number"))
        problem = f"{shown(str(value))} names no case." if value else "Missing."
        return {path: [f"{problem} Expected the number of the case."]}

    def _alert(self, values: dict[str, Any], errors: dict[str, list[str]]) -> Translated:
        """Returns the alert of the readable values. A value that does not fit the others joins the errors."""
        values = {"case_number": "", **values}
        card: CardNumber | None = values.pop("card", None)
        if card:
            values["card_first_six"] = values.get("card_first_six") or card.first_six
            values["card_last_four"] = values.get("card_last_four") or card.last_four
        outcome: ProviderOutcome | str | None = values.pop("resolution", None)
        values = {name: value for name, value in values.items() if value is not None}
        self._complete_amounts(values, errors)
        self._set_outcome(values, outcome, errors)
        alert = Alert(**values, unreadable=tuple(sorted(filter(self._is_evidence, errors))))
        return Translated(alert, errors)

    def _is_evidence(self, name: str) -> bool:
        """Whether a match may rest on a field, or the type of the dispute on it."""
        is_evidence = typing.cast("BodyField", self.load_fields[name]).is_evidence
        return name == "type" or (is_evidence and name not in NO_EVIDENCE)

    def _complete_amounts(self, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
        """Turns the amounts into major units. If there is only the transaction's, it counts for both.

        An unreadable amount is not replaced by the other, of which it may be a part.
        """
        pairs = (("amount", "currency"), ("transaction_amount", "transaction_currency"))
        for name, currency in pairs:
            code = code_in(values[name].marks) if name in values else None
            if code and currency not in errors:
                values.setdefault(currency, code)
        no_amount = "amount" not in values and "amount" not in errors
        if no_amount and values.get("transaction_currency"):
            values["currency"] = values["transaction_currency"]
        for name, other in (("currency", "transaction_currency"), ("transaction_currency", "currency")):
            if name not in errors and values.get(other):
                values.setdefault(name, values[other])
        for name, currency in pairs:
            if name in values:
                money = typing.cast("Money", self.load_fields[name])
                try:
                    values[name] = money.in_major_units(values[name], values.get(currency))
                except ValidationError as error:
                    del values[name]
                    errors[name] = [str(message) for message in error.messages]
        if "transaction_amount" in values and no_amount:
            values.setdefault("amount", values["transaction_amount"])

    @staticmethod
    def _set_outcome(
        values: dict[str, Any], outcome: ProviderOutcome | str | None, errors: Mapping[str, list[str]]
    ) -> None:
        """Sets how the case ended, or why its outcome is not understood; nothing if it has not ended."""
        kind = values.get("type", DisputeType.ALERT)
        if isinstance(outcome, str):
            values["resolution"] = outcome
        elif outcome is not None:
            values |= _outcome_fields(outcome, kind)
        elif "resolution" in errors:
            values["unknown_outcome"] = f"The outcome cannot be read: {' '.join(errors['resolution'])}"
        if isinstance(outcome, ProviderOutcome) and values.get("resolution") == "other":
            values.setdefault("message", outcome.word)
        if values.get("resolution") not in REFUNDS:
            values.pop("refunded_by_gateway", None)


def _outcome_fields(outcome: ProviderOutcome, kind: DisputeType) -> dict[str, str]:
    """Returns the fields of an Alert that an outcome sets, for a type of dispute."""
    word, ours = outcome.word, outcome.ours
    if isinstance(ours, dict):
        ours = ours.get(kind, kind)
    if not outcome.listed:
        return {"unknown_outcome": f"The outcome {word!r} is not listed."}
    if ours == REVIEW:
        return {"review": f"{word} is not final: a person has to look."}
    if ours == NOTE:
        return {"note": f"{word} is an end that 29next has no resolution for."}
    if ours == NOT_FINAL:
        return {"not_final": word}
    if ours and not resolvable(kind, ours):
        means = "" if ours in (kind, word) else f" ({ours})"
        return {"unknown_outcome": f"The outcome {word!r}{means} does not suit a dispute of type {kind}."}
    return {"resolution": ours} if ours else {}


ALERT, CHARGEBACK = Constant(DisputeType.ALERT), Constant(DisputeType.CHARGEBACK)
FRAUD = Constant(Category.FRAUD)
ETHOCA, RDR = Constant(Network.ETHOCA), Constant(Network.RDR)
