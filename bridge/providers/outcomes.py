"""What a provider declares about outcomes: where they go, in which words, how its answer is read. Pure."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from bridge.alert import Category, Network
from bridge.tree import pick

Json = typing.Any
Template = Mapping[str, typing.Any]
"""A body in which `{name}` stands for a value, see `PLACEHOLDERS`; objects may be nested."""

PLACEHOLDERS = frozenset(
    {
        "id",  # the provider's own id of the alert
        "word",  # its word for what happened: the name's, as far as a slash
        "status",  # and what stands behind the slash
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
"""What a template may name, beside what its words fill in themselves."""
LONGEST_COMMENT = 1000
NO_REASON = "No reason was given."
REASONS = {
    "3ds_authorized_successfully": "The payment was authenticated by 3-D Secure. It was not refunded.",
    "unable_to_refund_merchant_account_closed": "The merchant account is closed. A refund is not possible.",
}
"""What is said of a resolution where the provider's word needs a reason."""


@dataclass(frozen=True, kw_only=True)
class Refund:
    """The money that went back."""

    amount: Decimal
    currency: str
    at: str
    id: str | None = None  # of the refund at 29next, where it was read


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of how an alert ended, for the template."""

    id: str
    at: str
    resolution: str
    message: str | None = None  # a person's reason at 29next
    refund: Refund | None = None
    duplicate: str | None = None


@dataclass(frozen=True, kw_only=True)
class Word:
    """One answer that the provider takes; a person chooses it by its name, such as `STOPPED/REFUNDED`."""

    name: str
    says: str  # what it means, for the person who chooses
    fills: Mapping[str, str] = field(default_factory=dict)  # further placeholders that it sets
    categories: frozenset[Category] = frozenset(Category)
    refunds: bool = False  # it says that money went back
    stops: bool = False  # it says that the loss was stopped, as far as money went back
    explains: bool = False  # it goes with a reason
    needs: tuple[str, ...] = ()  # values without which it cannot be sent

    def values(self, facts: Facts) -> dict[str, typing.Any]:
        """Return the values of the placeholders; those that are not known are left out."""
        word, slash, status = self.name.partition("/")
        values: dict[str, typing.Any] = {"id": facts.id, "word": word, "at": facts.at}
        if slash:
            values["status"] = status
        if facts.duplicate and "duplicate" in self.needs:
            values["duplicate"] = facts.duplicate
        if self.explains:
            reason = REASONS.get(facts.resolution) or facts.message or NO_REASON
            values["comment"] = reason[:LONGEST_COMMENT]
        refund = facts.refund if self.refunds else None
        if refund:
            values |= {"at": refund.at, "refund_at": refund.at, "refund_currency": refund.currency}
            values |= {"refund_amount": _number(refund.amount), "refund_amount_text": str(refund.amount)}
            if refund.id:
                values["refund_id"] = refund.id
            if self.stops:
                values |= {"stopped_amount": _number(refund.amount), "stopped_currency": refund.currency}
        return values | dict(self.fills)


@dataclass(frozen=True)
class ByShipment:
    """Which word is right depends on how much of the order was held back."""

    whole: str
    part: str
    nothing: str  # nothing was held back, or there was nothing to ship


Said = str | ByShipment
Table = Mapping[str, Said]
"""29next's resolutions -> the name of a word; a resolution that is missing waits for a person."""


@dataclass(frozen=True)
class HeaderKey:
    """The key stands in a header of every call."""

    header: str = "Authorization"
    scheme: str = "Bearer "


@dataclass(frozen=True)
class Login:
    """The key is exchanged for a token by a POST, and that is the Bearer of every call."""

    path: str
    token: str = "token"  # where it stands in the answer  # noqa: S105


@dataclass(frozen=True)
class Signature:
    """Every call is signed by OAuth 1.0a, with the hash of its body."""


Authentication = HeaderKey | Login | Signature


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How several outcomes go in one call, and how each is answered; paths are those of the answer."""

    items: str  # the key of their list in the body
    most: int
    answers: str  # the list
    id: str  # within an answer: which outcome it is about
    status: str
    taken: str  # the status of one that was taken
    errors: str  # the list of what is wrong with one
    call_errors: str  # the same, of the call as a whole
    again: str  # within an error: whether the same may work later
    says: tuple[str, ...]  # within an error: its words

    def answer_for(self, answer: Json, ident: str) -> Json | None:
        """Return what an answer says of one outcome."""
        answers = pick(answer, self.answers)
        rows = answers if isinstance(answers, list) else []
        return next((row for row in rows if isinstance(row, dict) and row.get(self.id) == ident), None)

    def complaints(self, answer: Json, where: str) -> tuple[str, bool]:
        """Return the errors in words, and whether the same may work later: all of them say so."""
        errors = pick(answer, where)
        rows = [row for row in errors if isinstance(row, dict)] if isinstance(errors, list) else []
        words = (": ".join(str(row[key]) for key in self.says if row.get(key)) for row in rows)
        return "; ".join(filter(None, words)), bool(rows) and all(row.get(self.again) is True for row in rows)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a provider is told how its alert ended; `{id}` in a path is the alert's `provider_id`."""

    url: str | None  # the base of its API, with a slash at its end; None: each merchant has another
    path: str  # of the POST that tells it
    body: Template  # of one outcome
    words: tuple[Word, ...]
    table: Mapping[Category, Table]  # which word goes with a resolution
    authentication: Authentication = field(default_factory=HeaderKey)
    batch: Batch | None = None
    read: tuple[str, str] | None = None  # where the alert is read, and the path of their word in the answer
    finals: Mapping[str, str] = field(default_factory=dict)  # their words that end an alert -> 29next's
    has_one: str = ""  # a pattern: in a refusal it means that there is an outcome already
    networks: frozenset[Network] = frozenset(Network)  # whose alerts it takes outcomes of
    on: bool = False  # the operator's policy

    @property
    def most(self) -> int:
        """How many outcomes one call takes."""
        return self.batch.most if self.batch else 1

    @property
    def tells_refunds(self) -> bool:
        """Whether the body says anything of a refund."""
        return any(name.startswith(("refund_", "stopped_")) for name in names_in(self.body))

    def says(self, category: Category, resolution: str) -> Said | None:
        """Return what tells a resolution; None where a person has to choose."""
        return self.table.get(category, {}).get(resolution)

    def word(self, name: str) -> Word | None:
        """Return a word by its name."""
        return next((one for one in self.words if one.name == name), None)

    def choices(self, category: Category) -> tuple[Word, ...]:
        """Return the words that suit a kind of alert; all of them where the kind is not known."""
        is_known = category is not Category.UNKNOWN
        return tuple(one for one in self.words if not is_known or category in one.categories)

    def equals(self, resolution: str | None) -> tuple[str, ...]:
        """Return the resolutions that are told by a word that comes back as this one."""
        if not self.on or resolution is None:
            return ()
        said = {(ours, one) for table in self.table.values() for ours, one in table.items()}
        back = {ours for ours, one in said if self._comes_back_as(one, ours) == resolution}
        return tuple(sorted(back - {resolution}))

    def _comes_back_as(self, said: Said, ours: str) -> str:
        return self.finals.get(said, ours) if isinstance(said, str) else ours

    def item(self, word: Word, facts: Facts) -> tuple[Json, list[str]]:
        """Write one outcome, and name the values that its word needs and nobody knows."""
        values = word.values(facts)
        return filled(self.body, values) or {}, [name for name in word.needs if name not in values]

    def has_one_already(self, text: str) -> bool:
        """Whether the words of a refusal say that there is an outcome already."""
        return bool(self.has_one) and re.search(self.has_one, text, re.IGNORECASE) is not None


def in_every_category(table: Table) -> Mapping[Category, Table]:
    """Return the table of a provider that has the same words for fraud and for other disputes."""
    return dict.fromkeys(Category, table)


def filled(template: Json, values: Mapping[str, typing.Any]) -> Json | None:
    """Fill a template in: a key without its value is left out, and an object of which no value is known."""
    if isinstance(template, Mapping):
        whole = {key: filled(one, values) for key, one in template.items()}
        wanted = set(names_in(template))
        is_empty = bool(wanted) and wanted.isdisjoint(values)
        return None if is_empty else {key: one for key, one in whole.items() if one is not None}
    name = _name(template)
    return template if name is None else values.get(name)


def names_in(template: Json) -> Iterable[str]:
    """Yield the placeholders of a template."""
    if isinstance(template, Mapping):
        for one in template.values():
            yield from names_in(one)
    elif (name := _name(template)) is not None:
        yield name


def _name(text: object) -> str | None:
    found = re.fullmatch(r"\{([a-z_]+)\}", text) if isinstance(text, str) else None
    return found and found[1]


def _number(amount: Decimal) -> int | float:
    """Return an amount as a number of JSON, which has the same digits."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
