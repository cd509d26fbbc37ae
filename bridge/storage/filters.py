"""The filters of the lists: one schema for each list reads its query and documents it."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from datetime import UTC, datetime

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from bridge.alert import RESOLUTIONS, DisputeType, Effect, Reason, State, Status
from bridge.cards import cut_text
from bridge.errors import Rejected
from bridge.storage.ids import ALPHABET, DIGITS

LIMIT, MOST = 50, 500
LONGEST = 200
"""The longest value of a filter, in characters; nothing that can be searched is longer."""
ID = re.compile(rf"[acdrw]_[{ALPHABET}]{{{DIGITS}}}")
IDS = f"^{ID.pattern}$"
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ]|$)")
A_TEXT = f"a text of 1 to {LONGEST} characters"
INPUT = "{input!r:.42}"
"""The part of a refused value that a message shows."""
NO_MOMENT = f"not a date or a time, such as 2026-01-31: {INPUT}"


class BadFilter(Rejected):
    """A filter or cursor that the list does not know."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_request", 400, cut_text(message))


class Text(fields.String):
    """Any text that the inbox may hold."""

    def __init__(self, says: str) -> None:
        bounded = validate.Length(1, LONGEST, error=A_TEXT)
        storable = validate.Regexp("^[^\\u0000]*$", error=A_TEXT)
        super().__init__(metadata={"description": says}, validate=[bounded, storable])


class Choice(fields.String):
    """One of some values."""

    def __init__(self, says: str, choices: Iterable[str]) -> None:
        self.choices = tuple(map(str, choices))
        known = validate.OneOf(self.choices, error=f"one of {{choices}}, not {INPUT}")
        super().__init__(metadata={"description": says}, validate=known)


class Ident(fields.String):
    """An id of the bridge."""

    default_error_messages = {"invalid": f"an id of the bridge, not {INPUT}"}  # noqa: RUF012

    def __init__(self, says: str) -> None:
        super().__init__(metadata={"description": says, "pattern": IDS})

    def _deserialize(self, value: typing.Any, *rest: typing.Any, **more: typing.Any) -> str:
        if not ID.fullmatch(value):
            raise self.make_error("invalid", input=value)
        return str(value)


class Number(fields.Integer):
    """A whole number in plain digits."""

    default_error_messages = {"invalid": f"a number, not {INPUT}"}  # noqa: RUF012

    def __init__(self, says: str, **options: typing.Any) -> None:
        options.setdefault("validate", validate.Range(0, 10**18 - 1))
        super().__init__(metadata={"description": says}, **options)

    def _deserialize(self, value: typing.Any, *rest: typing.Any, **more: typing.Any) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


class Moment(fields.String):
    """A date, which is its midnight in UTC, or a time; loads as seconds."""

    default_error_messages = {"invalid": NO_MOMENT}  # noqa: RUF012

    def __init__(self, says: str) -> None:
        known = {"description": says, "anyOf": [{"format": "date"}, {"format": "date-time"}]}
        super().__init__(metadata=known)

    def _deserialize(self, value: typing.Any, *rest: typing.Any, **more: typing.Any) -> typing.Any:
        try:
            if not MOMENT.match(value):
                raise ValueError
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise self.make_error("invalid", input=value) from None


def _without_cards(message: str, value: str) -> str:
    """Cuts a refused value before it is shortened and quoted, which can hide a card number from the cut."""
    return message.replace(f"{value!r:.42}", f"{cut_text(value)!r:.42}")


class Filters(Schema):
    """The query of a list. Loading it raises BadFilter, which names every mistake."""

    class Meta:
        unknown = RAISE

    def handle_error(
        self, error: ValidationError, data: typing.Any, *, many: bool, **kwargs: typing.Any
    ) -> None:
        """Raises BadFilter with a sentence about each wrong filter."""
        said = []
        for name, messages in error.messages_dict.items():
            if name in self.fields:
                said.append(f"{name} is {_without_cards(messages[0], data[name])}.")
            else:
                shown = cut_text(name)[:40]
                said.append(f"There is no filter {shown!r}; there are {', '.join(self.fields)}.")
        raise BadFilter(" ".join(said)) from None


RESOLVED = tuple(dict.fromkeys(word for kind in RESOLUTIONS.values() for word in kind))
SOUGHT = "A case number, ARN, order, card's last four, amount, dispute id, event id, or an id of ours."
SINCE = Moment("Received at this moment or later; a date is its midnight in UTC.")
UNTIL = Moment("Received before this moment; a date is its midnight in UTC.")
PAGE_LENGTH = Number(
    f"Rows of a page: {LIMIT} by default, {MOST} at most.",
    validate=validate.Range(1, MOST, error=f"a number from 1 to {MOST}, not {{input}}"),
    load_default=LIMIT,
)
CURSOR = Ident("Where the page begins: `next` of the page before.")
PAGING = ("limit", "cursor")
"""The parameters that choose the page, and filter nothing."""


class DeliveryFilters(Filters):
    """The filters of deliveries."""

    status = Choice("Its status.", Status)
    provider = Text("Who sent it, such as `ethoca`.")
    store = Text("The store that it belongs to.")
    reason = Choice("Why it has its status.", Reason)
    effect = Choice("What it asks for.", Effect)
    event_type = Text("The provider's own word for the kind of event.")
    case_id = Ident("The case that it belongs to.")
    webhook_id = Ident("The webhook that it came with.")
    case_number = Text("The case number, letter for letter.")
    since = SINCE
    until = UNTIL
    q = Text(SOUGHT)
    text = Text("Text in the body as it was received, letter for letter.")
    limit = PAGE_LENGTH
    cursor = CURSOR


class CaseFilters(Filters):
    """The filters of cases."""

    state = Choice("Its state.", State)
    store = Text("The store that it belongs to.")
    type = Choice("The kind of dispute.", DisputeType)
    provider = Text("Who reports it, alone or among others.")
    case_number = Text("The case number, letter for letter.")
    arn = Text("The acquirer's reference number.")
    dispute_id = Number("The dispute at 29next.")
    transaction_id = Number("The transaction at 29next.")
    resolution = Choice("How it was resolved.", RESOLVED)
    since = SINCE
    until = UNTIL
    q = Text(SOUGHT)
    limit = PAGE_LENGTH
    cursor = CURSOR


DELIVERY_FILTERS = DeliveryFilters()
CASE_FILTERS = CaseFilters()


def choices_of(filters: Filters) -> dict[str, list[str]]:
    """Returns the values that each filter of a list can have; an empty list if it takes any."""
    return {name: list(getattr(field, "choices", ())) for name, field in filters.fields.items()}
