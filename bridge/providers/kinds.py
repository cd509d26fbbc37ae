"""The kinds of value that providers send but money and moments: texts, ids, words, flags, cards. Pure.

A value is one of three things. It says nothing (a placeholder), and is left out silently. It can be
read. Or it cannot, and is left out visibly: only the case number is indispensable.
"""

from __future__ import annotations

import re
import typing
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from marshmallow import ValidationError
from marshmallow import fields as marshmallow
from marshmallow.fields import Field

from bridge.alert import DisputeType
from bridge.providers import placeholders
from bridge.providers.placeholders import plain_word
from bridge.tree import Number, Tree, holds, pick, printable

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 255

REVIEW = "review"
"""In a table of outcomes: not final, but a person has to look."""
NOTE = "note"
"""In a table of outcomes: none of 29next's; it is noted on the case."""
NOT_FINAL = ""
"""In a table of outcomes: not final, whatever another place says. None is not final by itself."""


class Place(NamedTuple):
    """Where a value was looked for, and what stands there; None where nothing is said."""

    path: str
    value: Tree = None


class Found:
    """Any field: how its value is found in a body."""

    bears = True
    """Whether a match may rest on the value, so that a person looks where it cannot be read."""
    spared = False
    """Whether the value is an identifier that must survive the cutting of card numbers."""

    def find(self, tree: Tree, path: str) -> Place:
        """Return the first alternative whose word is known, else the first that says something."""
        alternatives = path.split("|")
        places = [Place(one, pick(tree, one)) for one in alternatives]
        known = (one for one in places if self.knows(one.value))
        told = (one for one in places if not (self.says_nothing(one.value) or holds(*one, alternatives)))
        return next(known, None) or next(told, Place(alternatives[0]))

    def knows(self, value: Tree) -> bool:
        """Whether it is a word that a field has a list of."""
        return False

    def says_nothing(self, value: Tree) -> bool:
        """Whether a value is missing, or is what senders write for nothing."""
        return placeholders.says_nothing(value)


class Constant(Found, marshmallow.Constant[Any]):
    """The same in every body."""

    def find(self, tree: Tree, path: str) -> Place:
        """Return no place: nothing is read."""
        return Place(path)


class Leaf(Found, Field[Any]):
    """A field of one value: text or a number, never an object, a list or a truth value.

    With `beside` it is read only where something is said at that path too.
    """

    def __init__(self, *, beside: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beside = beside

    def find(self, tree: Tree, path: str) -> Place:
        """Return the first alternative that says something."""
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
        """Turn the sender's text (a `Number` where it was a JSON number) into our value."""
        raise NotImplementedError


class Text(Leaf):
    """Free text, for people: what cannot be shown is escaped, what is too long is cut."""

    bears = False

    def read(self, value: str) -> str:
        """Return the text with single blanks, cut at 255 characters."""
        return printable(" ".join(value.split()))[:MAX_LENGTH]


class _Exact(Leaf):
    """Text that has to be exactly right."""

    def read(self, value: str) -> Any:
        """Return the text trimmed, and without what nobody sees."""
        text = placeholders.visible(value).strip()
        if len(text) > MAX_LENGTH:
            raise ValidationError(f"Longer than {MAX_LENGTH} characters.")
        if not text.isprintable() or "\ufffd" in text:
            raise ValidationError("Holds control characters or broken unicode.")
        return text


class Identifier(_Exact):
    """An identifier, digit for digit as it was sent; never cut as a card number."""

    spared = True
    CUT = re.compile(r"[0-9]{6}\*{3,9}[0-9]{4}|\[cut\]")  # as `redact` writes a card number, and a code
    LOST = re.compile(r"\[object \w+\]|[0-9](?:\.[0-9]+)?[eE]\+[0-9]+")
    """What a script writes for an object, and a spreadsheet for a long number: the same for many cases."""

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder: zeros alone name nothing either."""
        return placeholders.names_nothing(value)

    def read(self, value: str) -> Any:
        """Return the identifier, refusing a number that has lost its digits already."""
        if isinstance(value, Number) and not value.isdecimal():
            raise ValidationError(f"An identifier cannot be the number {value[:40]}: digits are lost.")
        text = placeholders.visible(value).strip()
        if self.LOST.fullmatch(text):
            raise ValidationError(f"{shown(text)} is no identifier: the sender has lost what it was.")
        if self.CUT.fullmatch(text):
            raise ValidationError(
                "This identifier was cut, for it looks like a card number, or is named as a code."
            )
        return super().read(value)


class Code(Identifier):
    """A code that only decorates, such as a network's reason code."""

    bears = False


class Word(_Exact):
    """A word of the provider's vocabulary, in lower case or as the table `values` has it in ours.

    The table's words may be patterns (`warning_*`, `*` for the rest); the word itself goes before them.
    A word that the table lacks is an error where `strict`, and unknown (None) elsewhere; a table may
    hold None for words that say nothing. Of its alternatives, the first whose word it knows counts.
    """

    bears = False

    def __init__(
        self, *, values: Mapping[str, Any] | None = None, strict: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.values = None if values is None else {plain_word(k): v for k, v in values.items()}
        self.spelled = {plain_word(word): word for word in values or {}}  # for people
        self.strict = strict

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder that the table does not list as a word; a pattern lists none."""
        listed = isinstance(value, str) and plain_word(value) in (self.values or {})
        return super().says_nothing(value) and not listed

    def knows(self, value: Tree) -> bool:
        """Whether a word is in the table."""
        return isinstance(value, str) and not self.says_nothing(value) and self.look_up(value)[0]

    def read(self, value: str) -> Any:
        """Return our word for the provider's."""
        word = super().read(value)
        if self.values is None:
            return word.lower()
        known, ours = self.look_up(word)
        if not known and self.strict:
            raise ValidationError(f"{value!r} is not one of {', '.join(sorted(self.values))}.")
        return ours

    def look_up(self, word: str) -> tuple[bool, Any]:
        """Return whether the table knows a word, and ours for it."""
        values, word = self.values or {}, plain_word(word)
        entries = [word, *(one for one in values if fnmatchcase(word, one))]
        return next(((True, values[one]) for one in entries if one in values), (False, None))


class Said(NamedTuple):
    """An outcome as the provider said it: the word, whether a table lists it, and ours for it.

    Ours is a resolution, REVIEW, NOT_FINAL, None, or one of these by type of dispute.
    """

    word: str
    known: bool
    ours: Any


class Resolution(Word):
    """How a case ended. Every word has to be listed, also those that are not final.

    Of its alternatives, one that is NOT_FINAL counts before all others, then the first that is final or
    that nobody listed. `values` may be given by type of dispute: `{"alert": {...}, "chargeback": {...}}`.
    """

    def __init__(self, *, values: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(values=by_word(values or {}), **kwargs)

    def find(self, tree: Tree, path: str) -> Place:
        """Return the alternative that decides, else one that is listed as not final."""
        places = [Place(one, pick(tree, one)) for one in path.split("|")]
        told = [one for one in places if not self.says_nothing(one.value)]
        meant = [(one, self.look_up(one.value) if self.knows(one.value) else (False, None)) for one in told]
        stops = (one for one, (known, ours) in meant if known and ours == NOT_FINAL)
        decides = (one for one, (known, ours) in meant if not known or ours is not None)
        return next(stops, None) or next(decides, told[0] if told else Place(places[0].path))

    def read(self, value: str) -> Said:
        """Return what was said; a word that nobody listed is no error here, but fails visibly later."""
        return Said(printable(value.strip())[:MAX_LENGTH], *self.look_up(value))


def by_word(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a table by type of dispute into one by word; any other is returned as it is."""
    if not set(values) <= set(DisputeType) or not all(isinstance(one, dict) for one in values.values()):
        return dict(values)
    words = {plain_word(word) for table in values.values() for word in table}
    tables = {
        DisputeType(kind): {plain_word(word): ours for word, ours in table.items()}
        for kind, table in values.items()
    }
    return {
        word: {kind: table[word] for kind, table in tables.items() if word in table} for word in sorted(words)
    }


class Flag(Found, Field[bool]):
    """True where the provider's value is one of `true`, in any spelling of case; else False."""

    bears = False

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


class Every(Found, Field[Any]):
    """True, or `then`, where each of several places holds one of its words; else it says nothing."""

    bears = False

    def __init__(self, places: Mapping[str, tuple[str, ...]], *, then: Any = True, **kwargs: Any) -> None:
        super().__init__(data_key="&".join(places), **kwargs)
        self.then = then
        self.flags = {path: Flag(true=words) for path, words in places.items()}

    def find(self, tree: Tree, path: str) -> Place:
        """Return what holds where all of them do."""
        found = all(one.knows(one.find(tree, at).value) for at, one in self.flags.items())
        return Place(path, self.then if found else None)


class CardNumber(NamedTuple):
    """What the bridge keeps of a card number."""

    first_six: str | None
    last_four: str | None


class _OfCard(Leaf):
    """Digits of a card, some of them perhaps masked."""

    def says_nothing(self, value: Tree) -> bool:
        """Whether it is a placeholder, or nothing but masks."""
        return placeholders.shows_nothing(value)


class Card(_OfCard):
    """A card number with its middle masked; a full one is read only as far as it is kept."""

    MASK = r"[^0-9A-WYZa-wyz/]"
    MASKED = re.compile(
        rf"(?P<bin>[0-9]{{6,8}}){MASK}*"  # nothing but its beginning
        rf"|(?P<first>[0-9]{{1,8}}){MASK}+(?P<last>[0-9]{{4}})"
        r"|(?P<six>[0-9]{6})(?P<both>[0-9]{4})|[^0-9]*(?P<four>[0-9]{4})"
    )
    FULL = re.compile(r"[0-9]{12,19}")

    def read(self, value: str) -> CardNumber:
        """Return first six and last four, as far as the mask shows them."""
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


class _CardDigits(_OfCard):
    """Digits of a card, padded where a JSON number has dropped leading zeros."""

    wanted = 0
    longest = 0

    def read(self, value: str) -> str:
        """Return the digits."""
        digits = placeholders.MASKS.sub("", value)
        if isinstance(value, Number):
            digits = value.rjust(self.wanted, "0")
        if not re.fullmatch(rf"[0-9]{{{self.wanted},{self.longest}}}", digits):
            raise ValidationError(f"Expected {self.wanted} digits of a card number.")
        return digits[: self.wanted]


class FirstSix(_CardDigits):
    """The first digits of a card: six of them are kept, eight may come."""

    wanted, longest = 6, 8


class LastFour(_CardDigits):
    """The last four digits of a card."""

    wanted, longest = 4, 4


def shown(value: str) -> str:
    """Return the beginning of what was sent, for a message."""
    return repr(str(value.strip()[:40]))
