"""What a provider declares about outcomes: its words, where to send them, how to read its answer. Pure."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal

from bridge.alert import Category, Network
from bridge.tree import pick

Json = typing.Any
Template = Mapping[str, typing.Any]
"""A body in which `{name}` is replaced by a value, see `PLACEHOLDERS`. Objects may be nested."""

PLACEHOLDERS = frozenset(
    {
        "id",  # the provider's own id of the alert
        "word",  # its word for what happened: the name up to the slash
        "status",  # the name after the slash
        "at",  # when that was
        "comment",  # why, in a sentence
        "duplicate",  # its id of the alert that this one repeats
        "refund_amount",
        "refund_amount_text",
        "refund_currency",
        "refund_at",
        "refund_id",  # at 29next
        "stopped_amount",
        "stopped_currency",
    }
)
"""The placeholders of a template, besides those that its words fill in themselves."""
LONGEST_COMMENT = 1000
NO_REASON = "No reason was given."
REASONS = {
    "3ds_authorized_successfully": "The payment was authenticated by 3-D Secure. It was not refunded.",
    "unable_to_refund_merchant_account_closed": "The merchant account is closed. A refund is not possible.",
}
"""The reason for a resolution, if the provider's word needs one."""


@dataclass(frozen=True, kw_only=True)
class Refund:
    """A refund of the payment."""

    amount: Decimal
    currency: str
    at: str
    id: str | None = None  # of the refund at 29next, if it was read


@dataclass(frozen=True, kw_only=True)
class Facts:
    """How an alert ended: the values for the template."""

    id: str
    at: str
    resolution: str
    message: str | None = None  # a person's reason at 29next
    refund: Refund | None = None
    duplicate: str | None = None


@dataclass(frozen=True)
class Word:
    """One outcome that the provider takes. A person chooses it by its name, such as `STOPPED/REFUNDED`."""

    name: str
    says: str  # what it means, for the person who chooses
    _: KW_ONLY
    fills: Mapping[str, str] = field(default_factory=dict)  # further placeholders that it sets
    categories: frozenset[Category] = frozenset(Category)
    refunds: bool = False  # it says that the payment was refunded
    stops: bool = False  # it says that the loss was stopped, by the amount of the refund
    explains: bool = False  # it needs a reason
    needs: tuple[str, ...] = ()  # placeholders without whose values it cannot be sent

    def values(self, facts: Facts) -> dict[str, typing.Any]:
        """Returns the values of the placeholders, without those that are unknown."""
        word, slash, status = self.name.partition("/")
        values: dict[str, typing.Any] = {"id": facts.id, "word": word, "at": facts.at}
        if slash:
            values["status"] = status
        if facts.duplicate and "duplicate" in self.needs:
            values["duplicate"] = facts.duplicate
        if self.explains:
            reason = REASONS.get(facts.resolution) or facts.message or NO_REASON
            values["comment"] = reason[:LONGEST_COMMENT]
        if self.refunds and (refund := facts.refund):
            values |= {"at": refund.at, "refund_at": refund.at, "refund_currency": refund.currency}
            values |= {"refund_amount": _number(refund.amount), "refund_amount_text": str(refund.amount)}
            if refund.id:
                values["refund_id"] = refund.id
            if self.stops:
                values |= {"stopped_amount": _number(refund.amount), "stopped_currency": refund.currency}
        return values | dict(self.fills)


@dataclass(frozen=True)
class ByShipment:
    """The names of three words: which is right depends on how much of the order was held back."""

    whole: str
    part: str
    nothing: str  # nothing was held back, or there was nothing to ship


WordName = str | ByShipment
Table = Mapping[str, WordName]
"""29next's resolutions -> the name of a word. For a missing resolution a person has to choose."""


@dataclass(frozen=True)
class HeaderKey:
    """The key is in a header of every call."""

    header: str = "Authorization"
    scheme: str = "Bearer "


@dataclass(frozen=True)
class Login:
    """A POST exchanges the key for a token, which is the Bearer token of every call."""

    path: str
    token: str = "token"  # its path in the answer  # noqa: S105


@dataclass(frozen=True)
class Signature:
    """OAuth 1.0a signs every call, with the hash of its body."""


Authentication = HeaderKey | Login | Signature


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How one call sends several outcomes, and how its answer lists the results. Paths are in the answer."""

    items: str  # the key of the outcomes' list in the body
    most: int
    answers: str  # the list of results
    id: str  # in a result: the id of its outcome
    status: str
    taken: str  # the status of an accepted outcome
    errors: str  # in a result: the list of its errors
    call_errors: str  # the list of errors of the whole call
    again: str  # in an error: whether the same call may work later
    says: tuple[str, ...]  # in an error: its texts

    def answer_for(self, answer: Json, ident: str) -> Json | None:
        """Returns the result of one outcome in an answer, or None."""
        answers = pick(answer, self.answers)
        rows = answers if isinstance(answers, list) else []
        return next((row for row in rows if isinstance(row, dict) and row.get(self.id) == ident), None)

    def error_messages(self, answer: Json, path: str) -> tuple[str, bool]:
        """Returns the errors at a path as text, and whether all of them say that it may work later."""
        errors = pick(answer, path)
        rows = [row for row in errors if isinstance(row, dict)] if isinstance(errors, list) else []
        texts = (": ".join(str(row[key]) for key in self.says if row.get(key)) for row in rows)
        may_work_later = bool(rows) and all(row.get(self.again) is True for row in rows)
        return "; ".join(filter(None, texts)), may_work_later


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How to report the outcome of an alert to a provider. `{id}` in a path is the alert's `provider_id`."""

    url: str | None  # the base of its API, with a slash at its end; None: each merchant has its own
    path: str  # of the POST that reports it
    body: Template  # of one outcome
    words: tuple[Word, ...]
    table: Mapping[Category, Table]  # the word for each resolution
    authentication: Authentication = field(default_factory=HeaderKey)
    batch: Batch | None = None
    read: tuple[str, str] | None = None  # the path of the GET of an alert, and that of its word in the answer
    finals: Mapping[str, str] = field(default_factory=dict)  # their words that end an alert -> 29next's
    duplicate_error: str = ""  # a pattern of the error for an alert that has an outcome already
    networks: frozenset[Network] = frozenset(Network)  # it takes outcomes for alerts of these networks
    on: bool = False  # the operator's policy

    @property
    def most(self) -> int:
        """How many outcomes one call takes."""
        return self.batch.most if self.batch else 1

    @property
    def reports_refunds(self) -> bool:
        """Whether the body has a placeholder for a refund."""
        return any(name.startswith(("refund_", "stopped_")) for name in names_in(self.body))

    def word_name(self, category: Category, resolution: str) -> WordName | None:
        """Returns the name of the word for a resolution, or None if a person has to choose."""
        return self.table.get(category, {}).get(resolution)

    def word(self, name: str) -> Word | None:
        """Returns a word by its name."""
        return next((word for word in self.words if word.name == name), None)

    def choices(self, category: Category) -> tuple[Word, ...]:
        """Returns the words for alerts of a category; all of them if the category is unknown."""
        if category is Category.UNKNOWN:
            return self.words
        return tuple(word for word in self.words if category in word.categories)

    def equals(self, resolution: str | None) -> tuple[str, ...]:
        """Returns the other resolutions whose word the provider sends back as this one."""
        if not self.on:
            return ()
        pairs = {pair for table in self.table.values() for pair in table.items()}
        equal = {ours for ours, name in pairs if self._sent_back_as(name, ours) == resolution}
        return tuple(sorted(equal - {resolution}))

    def _sent_back_as(self, name: WordName, ours: str) -> str:
        return self.finals.get(name, ours) if isinstance(name, str) else ours

    def item(self, word: Word, facts: Facts) -> tuple[Json, list[str]]:
        """Returns the body of one outcome, and the names of the unknown values that its word needs."""
        values = word.values(facts)
        return filled(self.body, values) or {}, [name for name in word.needs if name not in values]

    def is_duplicate_error(self, text: str) -> bool:
        """Whether the text of an error says that the alert has an outcome already."""
        return bool(self.duplicate_error) and re.search(self.duplicate_error, text, re.IGNORECASE) is not None


def in_every_category(table: Table) -> Mapping[Category, Table]:
    """Returns the table of a provider that has the same words for all categories."""
    return dict.fromkeys(Category, table)


def filled(template: Json, values: Mapping[str, typing.Any]) -> Json | None:
    """Returns a template with its values, without keys whose value is unknown.

    An object with placeholders but without any of their values is None.
    """
    if isinstance(template, Mapping):
        names = set(names_in(template))
        if names and names.isdisjoint(values):
            return None
        whole = {key: filled(part, values) for key, part in template.items()}
        return {key: part for key, part in whole.items() if part is not None}
    name = _name(template)
    return template if name is None else values.get(name)


def names_in(template: Json) -> Iterable[str]:
    """Yields the placeholders of a template."""
    if isinstance(template, Mapping):
        for part in template.values():
            yield from names_in(part)
    elif (name := _name(template)) is not None:
        yield name


def _name(text: object) -> str | None:
    match = re.fullmatch(r"\{([a-z_]+)\}", text) if isinstance(text, str) else None
    return match and match[1]


def _number(amount: Decimal) -> int | float:
    """Returns an amount as a number for JSON, with the same digits."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
