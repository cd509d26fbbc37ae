"""The schemas that dump rows for the API, the pages and the command line.

The API's document is made of them: the description of a key here is what a caller reads.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable
from datetime import UTC, datetime

from marshmallow import RAISE, Schema, fields, pre_dump, validate

from bridge.alert import DisputeType, Effect, Reason, State, Status, iso
from bridge.storage.filters import IDS

Json = dict[str, typing.Any]


def iso_of(seconds: float | None) -> str | None:
    """Returns a moment as text, cut to the millisecond as in ids."""
    return None if seconds is None else iso(datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC))


class Moment(fields.String):
    """A moment, kept in seconds and shown in UTC."""

    def _serialize(self, value: typing.Any, *rest: typing.Any, **more: typing.Any) -> str | None:
        return iso_of(value)


def text(says: str = "", **options: typing.Any) -> fields.String:
    """Returns a field for text."""
    return fields.String(required=True, metadata=_described(says), **options)


def text_or_none(says: str = "", **options: typing.Any) -> fields.String:
    """Returns a field for text that may be missing."""
    return text(says, allow_none=True, **options)


def ident(says: str = "", **options: typing.Any) -> fields.String:
    """Returns a field for an id of the bridge."""
    return text(says, validate=validate.Regexp(IDS), **options)


def word(words: Iterable[str], says: str = "") -> fields.String:
    """Returns a field for one of some words."""
    return text(says, validate=validate.OneOf([*map(str, words)]))


def word_or_none(words: Iterable[str], says: str = "") -> fields.String:
    """Returns a field for one of some words, or none of them yet."""
    return text_or_none(says, validate=validate.OneOf([*map(str, words), None]))


def moment(says: str = "", **options: typing.Any) -> Moment:
    """Returns a field for a moment."""
    return Moment(required=True, metadata={**_described(says), "format": "date-time"}, **options)


def moment_or_none(says: str) -> Moment:
    """Returns a field for a moment that may be missing."""
    return moment(says, allow_none=True)


def number(says: str) -> fields.Integer:
    """Returns a field for a number."""
    return fields.Integer(required=True, metadata=_described(says))


def number_or_none(says: str) -> fields.Integer:
    """Returns a field for a number that may be missing."""
    return fields.Integer(required=True, allow_none=True, metadata=_described(says))


def texts() -> fields.List[typing.Any]:
    """Returns a field for a list of texts."""
    return fields.List(fields.String(), required=True)


def named_texts(says: str = "", **options: typing.Any) -> fields.Dict:
    """Returns a field for texts by their names."""
    return fields.Dict(fields.String(), fields.String(), required=True, metadata=_described(says), **options)


def anything(says: str) -> fields.Dict:
    """Returns a field for an object whose keys are others' words, or none."""
    return fields.Dict(required=True, allow_none=True, metadata=_described(says))


def many(schema: type[Schema]) -> fields.List[typing.Any]:
    """Returns a field for a list of things."""
    return fields.List(fields.Nested(schema), required=True)


def _described(says: str) -> Json:
    return {"description": says} if says else {}


class Closed(Schema):
    """A schema with exactly these keys."""

    class Meta:
        unknown = RAISE


class Thing(Closed):
    """A schema of a row."""

    @pre_dump
    def from_row(self, row: typing.Any, **_: typing.Any) -> Json:
        """Returns the values of a row, or of a mapping, with the derived ones."""
        return self.derived(row if isinstance(row, dict) else row._asdict())

    def derived(self, values: Json) -> Json:
        """Returns the values with those that are no columns."""
        return values


class Attempt(Thing):
    """One call to 29next, or to a provider to report an outcome, and how it went."""

    id = ident()
    case_id = ident()
    delivery_id = ident(allow_none=True)
    method = text()
    path = text("Below the store's base URL; of a provider, the whole URL.")
    request = anything("The body of a write, the filters of a look-up.")
    status = number_or_none("The HTTP status; none where no answer came.")
    response = text_or_none("The beginning of the answer.")
    outcome = text()
    started_at = moment()
    seconds = fields.Float(required=True, allow_none=True)


class Webhook(Thing):
    """One HTTP request as it arrived, card numbers and secrets cut."""

    id = ident()
    provider = text()
    path = text()
    store = text_or_none("As the path names it.")
    headers = named_texts()
    query = named_texts("What the provider's settings read of the URL's query.", allow_none=True)
    received_at = moment()
    body = text_or_none("None once retention has removed it.")

    def derived(self, values: Json) -> Json:
        """Returns the body as text, whatever its bytes are."""
        body = values["body"]
        return values | {"body": None if body is None else body.decode("utf-8", "backslashreplace")}


class Delivery(Thing):
    """One event of one webhook that was accepted."""

    id = ident()
    webhook_id = ident()
    provider = text()
    store = text_or_none()
    event_id = text("The provider's own; may be empty.")
    event_type = text_or_none("The provider's own word.")
    effect = word_or_none(Effect, "What it asks for; none before it is translated.")
    status = word(Status)
    reason = word_or_none(Reason)
    message = text_or_none("The reason in a sentence, or 29next's own words.")
    errors = fields.Dict(
        fields.String(),
        fields.List(fields.String()),
        required=True,
        metadata={"description": "Messages by the provider's own field."},
    )
    case_id = ident(allow_none=True)
    case_number = text_or_none()
    received_at = moment()
    deadline_at = moment()
    due_at = moment_or_none("When it is tried next.")
    settled_at = moment_or_none("When it left the queue.")
    late = fields.Boolean(required=True)
    tries = number("Failed tries.")

    def derived(self, values: Json) -> Json:
        """Returns the values with errors, if only an empty object."""
        return values | {"errors": values["errors"] or {}}


class ListedDelivery(Delivery):
    """A delivery in a list, with the money that it is about."""

    dispute_id = number_or_none("At 29next.")
    amount = text_or_none("In major units.")
    currency = text_or_none()

    def derived(self, values: Json) -> Json:
        """Returns the values with the amount of the alert."""
        alert = values["alert"] or {}
        money = {name: alert.get(name) for name in ("amount", "currency")}
        return super().derived(values) | money


class WholeDelivery(Delivery):
    """A delivery with its webhook, its alert and its calls."""

    item = number("Its place in a batch.")
    alert = anything("What it says, in the bridge's words.")
    dispute_id = number_or_none("At 29next.")
    webhook = fields.Nested(Webhook, required=True, allow_none=True)
    attempts = many(Attempt)


class Match(Closed):
    """The rule that found the transaction, or the candidates."""

    rule = text_or_none(dump_default=None)
    candidates = fields.List(fields.Dict(), required=True, dump_default=list)


class Case(Thing):
    """Everything that is known of one dispute."""

    id = ident()
    store = text()
    case_number = text()
    type = word(DisputeType)
    state = word(State)
    dispute_id = number_or_none("At 29next.")
    transaction_id = number_or_none("At 29next.")
    match = fields.Nested(Match, required=True)
    resolution = text_or_none()
    amount = text_or_none("In major units.")
    currency = text_or_none()
    arn = text_or_none()
    providers = texts()
    duplicate_of = text_or_none("The case that has the dispute of the same sale.")
    opened_at = moment()
    deadline_at = moment()
    notes = texts()

    def derived(self, values: Json) -> Json:
        """Returns the values with a match, if only an empty one."""
        return values | {"match": values["match"] or {}}


class Outcome(Thing):
    """The report to a provider of how a case ended."""

    provider = text()
    state = word(("owed", "told", "failed"))
    resolution = text_or_none("What was sent, or may have been.")
    word = text_or_none("The provider's word that is sent, or that a person chose.")
    chosen_by = text_or_none("Where a person chose the word: `viewer`, `api` or `cli`.")
    message = text_or_none("Why it is not sent, or how it is known.")
    owed_at = moment()
    deadline_at = moment_or_none("Until when the provider waits.")
    late = fields.Boolean(required=True, metadata={"description": "Not sent in the provider's time."})
    due_at = moment_or_none("When it is tried next.")
    tries = number("")


class Choice(Closed):
    """A word that a person may choose."""

    word = text()
    says = text("What it means.")


class OpenOutcome(Outcome):
    """An outcome, with the words that a person may choose while it waits for one."""

    choices = many(Choice)


class WholeCase(Case):
    """A case with its deliveries, its calls and its outcomes."""

    facts = anything("The alert that opens it.")
    refund = text_or_none("`recorded` once 29next knows of the gateway's refund.")
    due_at = moment_or_none("When it is worked on next.")
    deliveries = many(Delivery)
    attempts = many(Attempt)
    outcomes = many(Outcome)

    def derived(self, values: Json) -> Json:
        """Returns the values with a word for the recorded refund."""
        refund = "recorded" if values["refund_recorded"] else None
        return super().derived(values) | {"refund": refund}


class Page(Closed):
    """Some rows of a list, and where the next ones begin."""

    next = text_or_none("Where the next page begins.")


class DeliveryPage(Page):
    """Some deliveries, the newest first."""

    results = many(ListedDelivery)


class OutcomePage(Page):
    """The outcomes of a case."""

    results = many(OpenOutcome)


class CasePage(Page):
    """Some cases, the newest first."""

    results = many(Case)
