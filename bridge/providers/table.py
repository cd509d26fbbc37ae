"""A provider's table: ours on the left, the path to theirs on the right, the kind between. Pure."""

from __future__ import annotations

import typing
from typing import Any, NamedTuple

from marshmallow import EXCLUDE, Schema, ValidationError, missing
from marshmallow.fields import Field

from bridge.alert import REFUNDS, Alert, Category, DisputeType, Network, resolvable
from bridge.errors import Untranslatable
from bridge.providers.amounts import Money
from bridge.providers.currencies import code_in
from bridge.providers.kinds import (
    NOT_FINAL,
    NOTE,
    REVIEW,
    CardNumber,
    Constant,
    Every,
    Found,
    Place,
    Said,
    shown,
)
from bridge.tree import Tree, locate

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

NOT_BEARING = frozenset({"case_number", "provider_id", "event_at"})
"""Fields of ours that no match rests on, whatever kind they are of."""


class Translated(NamedTuple):
    """What a table makes of a body: the alert, and what could not be read, by the provider's path."""

    alert: Alert
    errors: dict[str, list[str]]


class AlertSchema(Schema):
    """A provider's table: ours on the left, the path to theirs on the right, the kind between.

    Where a provider tells the disputed amount from the transaction's, `amount` is the former and
    may be missing: the transaction's then counts for both.
    """

    class Meta:
        """Fields that the table does not name are none of its business."""

        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: Field[Any]) -> None:
        """Keep the path aside: marshmallow takes a dotted key literally, and lets no two share one."""
        self.__dict__.setdefault("paths", {})[field_name] = field_obj.data_key or field_name
        field_obj.data_key = None

    def path(self, name: str) -> str:
        """Return the provider's path of a field of ours."""
        return str(self.__dict__["paths"].get(name, name))

    def place(self, name: str, tree: Tree) -> Place:
        """Return where the value of a field of ours stands in a body."""
        return typing.cast("Found", self.load_fields[name]).find(tree, self.path(name))

    def translate(self, tree: Tree) -> Translated:
        """Turn one parsed item into an alert; raises Untranslatable where no case number can be read."""
        alert, errors = self._alert(*self._read(tree))
        refused = {self.place(name, tree).path: said for name, said in errors.items()}
        if not alert.case_number:
            raise Untranslatable(fields=self._without_case_number(tree, errors) | refused)
        return Translated(alert, refused)

    def readable(self, tree: Tree) -> dict[str, str]:
        """Return what each field of ours becomes by itself, as text, as far as it can be read."""
        values, errors = self._read(tree)
        told = {"card": _masked(values)} | self._alert(values, errors).alert.to_json()
        return {name: value for name, value in told.items() if value != ""}

    def _read(self, tree: Tree) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Return the values that can be read, and what is wrong with the others, by our names."""
        places = {name: self.place(name, tree) for name in self.load_fields}
        found = {name: one.value for name, one in places.items() if one.value is not None}
        try:
            return dict(self.load(found)), {}
        except ValidationError as error:
            values = dict(typing.cast("dict[str, Any]", error.valid_data))
            if "type" in error.messages_dict and self.load_fields["type"].load_default is not missing:
                values["type"] = self.load_fields["type"].load_default  # which 29next never lets change
            return values, {name: list(said) for name, said in error.messages_dict.items()}

    def sources(self) -> dict[str, str]:
        """Return the provider's path of every field of ours that has one."""
        fields = self.load_fields.items()
        return {
            name: self.path(name) for name, a_field in fields if not isinstance(a_field, Constant | Every)
        }

    def _without_case_number(self, tree: Tree, errors: Mapping[str, Any]) -> dict[str, list[str]]:
        if "case_number" in errors:
            return {}
        at, written = locate(tree, self.path("case_number"))
        said = f"{shown(str(written))} names no case." if written else "Missing."
        return {at: [f"{said} Expected the number of the case."]}

    def _alert(self, values: dict[str, Any], errors: dict[str, list[str]]) -> Translated:
        """Bring together what was read; what does not suit the rest joins the errors, by our names."""
        values = {"case_number": "", **values}
        card: CardNumber | None = values.pop("card", None)
        if card:
            values["card_first_six"] = values.get("card_first_six") or card.first_six
            values["card_last_four"] = values.get("card_last_four") or card.last_four
        said: Said | str | None = values.pop("resolution", None)
        values = {name: value for name, value in values.items() if value is not None}
        self._add_up(values, errors)
        self._end(values, said, errors)
        alert = Alert(**values, unreadable=tuple(sorted(filter(self._bears, errors))))
        return Translated(alert, errors)

    def _bears(self, name: str) -> bool:
        """Whether a match may rest on a field of ours, or the very kind of the dispute."""
        bears = typing.cast("Found", self.load_fields[name]).bears
        return name == "type" or (bears and name not in NOT_BEARING)

    def _add_up(self, values: dict[str, Any], errors: dict[str, list[str]]) -> None:
        """Bring the amounts into major units; where only the transaction's is told, it counts for both.

        An amount that cannot be read is not replaced by another one: it may be a part of that.
        """
        pairs = (("amount", "currency"), ("transaction_amount", "transaction_currency"))
        for name, currency in pairs:
            code = code_in(values[name].marks) if name in values else None
            if code and currency not in errors:
                values.setdefault(currency, code)
        alone = "amount" not in values and "amount" not in errors
        if alone and values.get("transaction_currency"):
            values["currency"] = values["transaction_currency"]
        for one, other in (("currency", "transaction_currency"), ("transaction_currency", "currency")):
            if one not in errors and values.get(other):
                values.setdefault(one, values[other])
        for name, currency in pairs:
            if name in values:
                money = typing.cast("Money", self.load_fields[name])
                try:
                    values[name] = money.in_major_units(values[name], values.get(currency))
                except ValidationError as error:
                    del values[name]
                    errors[name] = [str(one) for one in error.messages]
        if "transaction_amount" in values and alone:
            values.setdefault("amount", values["transaction_amount"])

    @staticmethod
    def _end(values: dict[str, Any], said: Said | str | None, errors: Mapping[str, list[str]]) -> None:
        """Say how the case ended, if it did, or why that is not understood."""
        kind = values.get("type", DisputeType.ALERT)
        if isinstance(said, str):
            values["resolution"] = said
        elif said is not None:
            values |= _ending(said, kind)
        elif "resolution" in errors:
            values["unknown_outcome"] = f"The outcome cannot be read: {' '.join(errors['resolution'])}"
        if isinstance(said, Said) and values.get("resolution") == "other":
            values.setdefault("message", said.word)
        if values.get("resolution") not in REFUNDS:
            values.pop("refunded_by_gateway", None)


def _masked(values: Mapping[str, Any]) -> str:
    card: CardNumber | None = values.get("card")
    return f"{card.first_six or ''}******{card.last_four or ''}" if card else ""


def _ending(said: Said, kind: DisputeType) -> dict[str, str]:
    """Return what an outcome means for a type of dispute, under the Alert's name for it."""
    ours = said.ours.get(kind, kind) if isinstance(said.ours, dict) else said.ours
    if not said.known:
        return {"unknown_outcome": f"The outcome {said.word!r} is not listed."}
    if ours == REVIEW:
        return {"review": f"{said.word} is not final: a person has to look."}
    if ours == NOTE:
        return {"note": f"{said.word} is an end that 29next has no resolution for."}
    if ours == NOT_FINAL:
        return {"not_final": said.word}
    if ours and not resolvable(kind, ours):
        means = "" if ours in (kind, said.word) else f" ({ours})"
        return {
            "unknown_outcome": f"The outcome {said.word!r}{means} does not suit a dispute of type {kind}."
        }
    return {"resolution": ours} if ours else {}


ALERT, CHARGEBACK = Constant(DisputeType.ALERT), Constant(DisputeType.CHARGEBACK)
FRAUD, DISPUTE = Constant(Category.FRAUD), Constant(Category.DISPUTE)
ETHOCA, CDRN, RDR = Constant(Network.ETHOCA), Constant(Network.CDRN), Constant(Network.RDR)
