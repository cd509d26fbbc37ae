"""The kinds of fields, except amounts and times: texts, identifiers, words, flags, cards. Pure.

A value can be a placeholder, which is ignored. It can be readable. Or it is unreadable: then the alert goes
without it, and the error is shown. Only the case number is indispensable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from marshmallow import ValidationError
from marshmallow import fields as marshmallow
from marshmallow.fields import Field

from bridge.alert import DisputeType
from bridge.providers import placeholders
from bridge.providers.placeholders import plain_word
from bridge.tree import Number, Tree, holds, pick, printable

MAX_LENGTH = 255

REVIEW = "review"
"""In a table of outcomes: not final, but needs attention."""
NOTE = "note"
"""In a table of outcomes: final, but without a resolution at 29next. The case gets a note."""
NOT_FINAL = ""
"""In a table of outcomes: not final, whatever another path says. None is not final by itself."""


class Place(NamedTuple):
    """A path and the value at it, which is None if it says nothing."""

    path: str
    value: Tree = None


class BodyField:
    """A base for all fields: finds the field's value in a body."""

    is_evidence = True
    """Whether a match may rest on the value, so that an unreadable one needs attention."""
    is_never_cut = False
    """Whether the value is an identifier, which must not be cut as a card number."""

    def find(self, tree: Tree, path: str) -> Place:
        """Returns the first alternative whose word is listed, else the first that says something."""
        alternatives = path.split("|")
        places = [Place(alternative, pick(tree, alternative)) for alternative in alternatives]
        for place in places:
            if self.knows(place.value):
                return place
        for place in places:
            if not (self.says_nothing(place.value) or holds(*place, alternatives)):
                return place
        return Place(alternatives[0])

    def knows(self, value: Tree) -> bool:
        """Whether the value is a word that the field lists."""
        return False

    def says_nothing(self, value: Tree) -> bool:
        """Whether the value is missing, or a placeholder."""
        return placeholders.says_nothing(value)


class Constant(BodyField, marshmallow.Constant[Any]):
    """A field with the same value for every body."""

    def find(self, tree: Tree, path: str) -> Place:
        """Returns a place without a value: the body has none."""
        return Place(path)


class Leaf(BodyField, Field[Any]):
    """A field of one value: text or a number, never an object, a list or a boolean.

    With `beside` it is read only if there is a value at that path too.
    """

    def __init__(self, *, beside: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beside = beside

    def find(self, tree: Tree, path: str) -> Place:
        """Returns the first alternative that says something."""
        if self.beside and placeholders.names_nothing(pick(tree, self.beside)):
            return Place(path.partition("|")[0])
        return super().find(tree, path)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        if not isinstance(value, str):
            kind = {bool: "a truth value", dict: "an object", list: "a list"}.get(type(value), "that")
            raise ValidationError(f"Expected text or a number, not {kind}.")
        return self.read(value)

    def read(self, value: str) -> Any:
        """Returns our value for the sender's text, which is a `Number` if it was a number in JSON."""
        raise NotImplementedError


class Text(Leaf):
    """Free text for people. It is escaped where it cannot be shown, and cut if it is too long."""

    is_evidence = False

    def read(self, value: str) -> str:
        """Returns the text with single blanks, cut at 255 characters."""
        return printable(" ".join(value.split()))[:MAX_LENGTH]


class ExactText(Leaf):
    """Text in which every character counts."""

    def read(self, value: str) -> Any:
        """Returns the text trimmed, and without invisible characters."""
        text = placeholders.visible(value).strip()
        if len(text) > MAX_LENGTH:
            raise ValidationError(f"Longer than {MAX_LENGTH} characters.")
        if not text.isprintable() or "\ufffd" in text:
            raise ValidationError("Holds control characters or broken unicode.")
        return text


class Identifier(ExactText):
    """An identifier, digit for digit as it was sent. It is never cut as a card number."""

    is_never_cut = True
    CUT = re.compile(r"[0-9]{6}\*{3,9}[0-9]{4}|\[cut\]")  # as `redact` writes a card number, and a code
    LOST = re.compile(r"\[object \w+\]|[0-9](?:\.[0-9]+)?[eE]\+[0-9]+")
    """What a script writes for an object, and a spreadsheet for a long number: the same for many cases."""

    def says_nothing(self, value: Tree) -> bool:
        """Whether the value is missing, a placeholder, or only zeros."""
        return placeholders.names_nothing(value)

    def read(self, value: str) -> Any:
        """Returns the identifier. Rejects a number that has already lost digits."""
        if isinstance(value, Number) and not value.isdecimal():
            raise ValidationError(f"An identifier cannot be the number {value[:40]}: digits are lost.")
        text: str = super().read(value)
        if self.LOST.fullmatch(text):
            raise ValidationError(f"{shown(text)} is no identifier: the sender has lost what it was.")
        if self.CUT.fullmatch(text):
            raise ValidationError(
                "This identifier was cut, for it looks like a card number, or is named as a code."
            )
        return text


class Code(Identifier):
    """A code that no match rests on, such as a network's reason code."""

    is_evidence = False


class Word(ExactText):
    """A word of the provider, in lower case or turned into ours by the table `values`.

    The table may hold patterns (`warning_*`, `*` for the rest); a word itself goes before them. With
    `strict` a word that the table lacks is an error, otherwise it is None. The table may hold None for
    words that mean nothing. Of several alternatives, the first with a listed word counts.
    """

    is_evidence = False

    def __init__(
        self, *, values: Mapping[str, Any] | None = None, strict: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.values = None if values is None else {plain_word(k): v for k, v in values.items()}
        self.spelled = {plain_word(word): word for word in values or {}}  # for people
        self.strict = strict

    def says_nothing(self, value: Tree) -> bool:
        """Whether the value is a placeholder that the table does not list as a word, patterns aside."""
        listed = isinstance(value, str) and plain_word(value) in (self.values or {})
        return super().says_nothing(value) and not listed

    def knows(self, value: Tree) -> bool:
        """Whether a word is in the table."""
        return isinstance(value, str) and not self.says_nothing(value) and self.look_up(value)[0]

    def read(self, value: str) -> Any:
        """Returns our word for the provider's."""
        word = super().read(value)
        if self.values is None:
            return word.lower()
        listed, ours = self.look_up(word)
        if not listed and self.strict:
            raise ValidationError(f"{value!r} is not one of {', '.join(sorted(self.values))}.")
        return ours

    def look_up(self, word: str) -> tuple[bool, Any]:
        """Returns whether the table lists a word, and ours for it."""
        values, word = self.values or {}, plain_word(word)
        if word in values:
            return True, values[word]
        patterns = (pattern for pattern in values if fnmatchcase(word, pattern))
        return next(((True, values[pattern]) for pattern in patterns), (False, None))


class ProviderOutcome(NamedTuple):
    """An outcome as the provider sent it: its word, whether the table lists it, and ours for it.

    Ours is a resolution, REVIEW, NOTE, NOT_FINAL, None, or one of these by type of dispute.
    """

    word: str
    listed: bool
    ours: Any


class Resolution(Word):
    """How a case ended. Every word must be listed, also those that are not final.

    Of several alternatives, one that is NOT_FINAL counts first, then the first that is final or not listed.
    `values` may be given by type of dispute: `{"alert": {...}, "chargeback": {...}}`.
    """

    def __init__(self, *, values: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(values=by_word(values or {}), **kwargs)

    def find(self, tree: Tree, path: str) -> Place:
        """Returns the alternative that decides, else the first that is listed as not final."""
        places = [Place(alternative, pick(tree, alternative)) for alternative in path.split("|")]
        given = [place for place in places if not self.says_nothing(place.value)]
        looked_up = [
            (place, self.look_up(place.value) if self.knows(place.value) else (False, None))
            for place in given
        ]
        stops = (place for place, (listed, ours) in looked_up if listed and ours == NOT_FINAL)
        decides = (place for place, (listed, ours) in looked_up if not listed or ours is not None)
        return next(stops, None) or next(decides, given[0] if given else Place(places[0].path))

    def read(self, value: str) -> ProviderOutcome:
        """Returns the outcome. A word that is not listed is no error here, but fails visibly later."""
        return ProviderOutcome(printable(value.strip())[:MAX_LENGTH], *self.look_up(value))


def by_word(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns a table by type of dispute into one by word; any other table stays as it is."""
    if not set(values) <= set(DisputeType):
        return dict(values)
    words = {plain_word(word) for table in values.values() for word in table}
    tables = {
        DisputeType(kind): {plain_word(word): ours for word, ours in table.items()}
        for kind, table in values.items()
    }
    return {
        word: {kind: table[word] for kind, table in tables.items() if word in table} for word in sorted(words)
    }


class Flag(BodyField, Field[bool]):
    """True if the provider's value is one of `true`, in any case; else False."""

    is_evidence = False

    def __init__(self, *, true: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.true = {plain_word(word) for word in true}

    def knows(self, value: Tree) -> bool:
        """Whether a value means true."""
        return plain_word(str(value)) in self.true

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        return self.knows(value)


class Every(BodyField, Field[Any]):
    """True, or `then`, if each of several paths holds one of its words; else it has no value."""

    is_evidence = False

    def __init__(self, places: Mapping[str, tuple[str, ...]], *, then: Any = True, **kwargs: Any) -> None:
        super().__init__(data_key="&".join(places), **kwargs)
        self.then = then
        self.flags = {path: Flag(true=words) for path, words in places.items()}

    def find(self, tree: Tree, path: str) -> Place:
        """Returns `then` if each path holds one of its words."""
        all_true = all(flag.knows(flag.find(tree, at).value) for at, flag in self.flags.items())
        return Place(path, self.then if all_true else None)


class CardNumber(NamedTuple):
    """What the bridge keeps of a card number."""

    first_six: str | None
    last_four: str | None


class MaskedDigits(Leaf):
    """A base for digits of a card, some of them perhaps masked."""

    def says_nothing(self, value: Tree) -> bool:
        """Whether the value is missing, a placeholder, or all masked."""
        return placeholders.shows_nothing(value)


class Card(MaskedDigits):
    """A card number with its middle masked. Of a full one, only first six and last four are read."""

    MASK = r"[^0-9A-WYZa-wyz/]"
    MASKED = re.compile(
        rf"(?P<bin>[0-9]{{6,8}}){MASK}*"  # nothing but its beginning
        rf"|(?P<first>[0-9]{{1,8}}){MASK}+(?P<last>[0-9]{{4}})"
        r"|(?P<six>[0-9]{6})(?P<both>[0-9]{4})|[^0-9]*(?P<four>[0-9]{4})"
    )
    FULL = re.compile(r"[0-9]{12,19}")

    def read(self, value: str) -> CardNumber:
        """Returns the first six and last four, as far as they are not masked."""
        text = re.sub(r"[\s-]", "", value)
        if self.FULL.fullmatch(text):
            return CardNumber(text[:6], text[-4:])
        shown = self.MASKED.fullmatch(text)
        if not shown or (isinstance(value, Number) and not value.isdecimal()):
            raise ValidationError("Not a card number with its middle masked.")
        first = shown["first"] or shown["bin"] or shown["six"] or ""
        return CardNumber(
            first[:6] if len(first) >= 6 else None, shown["last"] or shown["both"] or shown["four"]
        )


class CardDigits(MaskedDigits):
    """A base for digits of a card. A number in JSON is padded, since it has lost leading zeros."""

    wanted = 0
    longest = 0

    def read(self, value: str) -> str:
        """Returns the digits."""
        digits = placeholders.MASKS.sub("", value)
        if isinstance(value, Number):
            digits = value.rjust(self.wanted, "0")
        if not re.fullmatch(rf"[0-9]{{{self.wanted},{self.longest}}}", digits):
            raise ValidationError(f"Expected {self.wanted} digits of a card number.")
        return digits[: self.wanted]


class FirstSix(CardDigits):
    """The first six digits of a card. The provider may send eight."""

    wanted, longest = 6, 8


class LastFour(CardDigits):
    """The last four digits of a card."""

    wanted, longest = 4, 4


def shown(value: str) -> str:
    """Returns the beginning of a value for a message, in quotes."""
    return repr(str(value.strip()[:40]))
