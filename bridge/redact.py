"""Cuts card numbers out of webhooks before anything is written. Pure.

Fields that are named for cards are always cut. Elsewhere only what looks like a card number is cut:
13 to 19 digits, perhaps with blanks or dashes between, in an issuer's range and with a right check
digit. The identifiers that a provider declares are spared.
"""

from __future__ import annotations

import re
import typing
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from urllib.parse import urlencode

from defusedxml.ElementTree import tostring

from bridge import tree as trees
from bridge.tree import BadBody, Number, Tree

if typing.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

    from bridge.provider import Provider

CUT = "[cut]"
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
SHORTEST_SECRET = 4  # a shorter piece of a secret would cut half of the headers

# Names as `_squeezed` writes them.
_CARD_NAMES = re.compile(
    r"(?:credit|debit|payment)?card(?:number|num|no)?|[fd]?pan|(?:primary)?account(?:number|num|no)"
    r"|cc(?:number|num|no)"
)
_CODE_NAMES = re.compile(
    r"(?:card)?(?:cvv2?|cvc2?|cvn2?|csc|cid|cav2|securitycode|verification(?:value|code)|track[12]?(?:data)?)"
)
# Where nothing parses: a code beside a name that is nothing else's, as JSON, XML and forms write it.
_CODE_SAID = re.compile(
    r"((?<![a-z0-9])(?:card[_-]?)?(?:cvv2?|cvc2?|cvn2?|cav2|security[_-]?code)[\"']?\s*[:=>]\s*[\"']?)"
    r"[0-9]{3,4}(?![0-9])",
    re.IGNORECASE,
)
# Groups of digits with blanks or dashes between (`+` is a form's blank): the widest stretch to look
# into. UUIDs are stepped over: their groups of digits belong together with the letters.
_GAP = r" \t\xa0\u2000-\u200a\u202f\u205f\u3000\u2010-\u2015\u2212+-"
_DIGITS = re.compile(
    r"(?P<uuid>(?<!\w)(?=[0-9-]{0,35}[a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?!\w))"
    rf"|\d+(?:[{_GAP}]{{1,3}}\d+)*",
    re.IGNORECASE,
)
# A character as JSON, URLs and XML may write it, and those that a card number is written with.
_ESCAPED = re.compile(
    r"\\+u(?P<json>[0-9a-f]{4})|%(?P<url>[0-9a-f]{2})|&#x0*(?P<xml>[0-9a-f]{1,6});|&#0*(?P<decimal>[0-9]{1,7});",
    re.IGNORECASE,
)
_LAST_CHARACTER = 0x10FFFF
_PART = re.compile(rf"[\d{_GAP}]")
_MARK = "\uffff"  # between an escape that stays and what follows it: its digits belong to nothing else
_ISSUERS = re.compile(r"4|5|6|2(?:20[0-4]|2[2-9]|[3-6]|7[01]|720)|3(?:0[0-5]|09|[4-9])|8[12]")
_SHORTEST, _LONGEST = 13, 19
# What a text needs for a card number to be in it: almost none has it, so nothing else is looked into.
_MAY_HIDE_ONE = re.compile(rf"(?:\d[{_GAP}]{{0,3}}){{{_SHORTEST - 1}}}\d|[\\%&]")
_CARD_FIELD_LEAST = 12  # a field that is named for cards is cut from here on, whatever it looks like
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # Luhn's: a digit times two, and the sum of its digits

_STEP_LENGTH = 100  # as much of a name as tells what stands there, however a body is built


def cut_text(text: str) -> str:
    """Return a text with every stretch that looks like a card number cut, escapes or not."""
    if len(text) < _SHORTEST or not _MAY_HIDE_ONE.search(text):
        return text
    cut = _DIGITS.sub(_cut_stretch, text)
    plain = _ESCAPED.sub(_plainly, cut)
    plainly_cut = plain if plain == cut else _DIGITS.sub(_cut_stretch, plain)
    return cut if plainly_cut == plain else plainly_cut.replace(_MARK, "")


def cut_body(body: bytes, provider: Provider) -> bytes:
    """Return a body with its card numbers cut: the same bytes where there are none."""
    return cut(body, provider)[0]


def cut(body: bytes, provider: Provider) -> tuple[bytes, Tree | None]:
    """Return a body with its card numbers cut, and its tree where that is known without parsing it again.

    Cut on the parsed tree where the body parses, so that it still does; else on the bytes. Where a
    provider says what of its bodies may be kept, nothing else is.
    """
    cutter = _Cutter(provider)
    try:
        form = trees.format_of(body, provider.formats)
        if form == "xml":
            return _cut_xml(body, cutter), None
        tree = trees.parse(body, provider.formats)
        kept = cutter.cut(trees.only(tree, provider.keeps) if provider.keeps else tree)
    except BadBody:
        return _cut_bytes(body), None
    if cutter.found or provider.keeps:
        body = trees.render(kept) if form == "json" else urlencode(kept).encode()
    return body, kept


def cut_headers(headers: Mapping[str, str], provider: Provider, secrets: list[str]) -> dict[str, str]:
    """Return headers (lower case) without secrets and card numbers."""
    hidden = SECRET_HEADERS | provider.proof.secret_headers
    kept = {}
    for name, value in headers.items():
        part = len(value) >= SHORTEST_SECRET and any(value in one for one in secrets)
        kept[cut_text(name)] = CUT if part or name in hidden else cut_text(_without(secrets, value))
    return kept


def _without(secrets: list[str], value: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            value = value.replace(secret, CUT)
    return value


def masked(digits: str) -> str:
    """Write a card number the one way: first six, stars, last four."""
    return digits[:6] + "*" * min(max(len(digits) - 10, 3), 9) + digits[-4:]


class _Place(typing.NamedTuple):
    """Where something stands; list positions are no part of a path."""

    path: tuple[str, ...] = ()
    kind: str = ""  # code, card, identifier, or nothing of these, as far as names tell
    name: str = ""  # its own, cut


ROOT = _Place()


class _Cutter:
    """Walks a tree along its paths."""

    def __init__(self, provider: Provider) -> None:
        self.cards = provider.cards
        self.spared = provider.identifiers
        self.found = False

    def cut(self, tree: Tree, place: _Place = ROOT) -> Tree:
        """Return the tree with its card numbers cut; `found` says whether there were any."""
        if isinstance(tree, str):
            return self.leaf(tree, place)
        if isinstance(tree, list):
            return [self.cut(child, place) for child in tree]
        if not isinstance(tree, dict):
            return tree
        for pair in trees.lost(tree):
            self.cut(pair, place)
        cut = {}
        for key, value in tree.items():
            below = self.below(place, key)
            self.found = self.found or below.name != key
            cut[below.name] = self.cut(value, below)
        return cut

    def below(self, place: _Place, name: str) -> _Place:
        """Return the place of what stands at a name below a place."""
        below = _below if len(name) <= _STEP_LENGTH else _below.__wrapped__  # no long name is remembered
        return below(place.path, name, self.cards, self.spared)

    def leaf(self, value: str, place: _Place) -> str:
        """Cut one value, by its place and by its looks."""
        if place.kind == "code":
            return self._changed(value, CUT)
        if value.lstrip()[:1] in ("{", "["):
            return self._embedded(value, place)
        if place.kind == "card":
            return self._changed(value, _cut_card_field(value))
        if place.kind == "identifier":
            return value
        written = _written_out(value)
        return self._changed(value, cut_text(written), written)

    def text(self, value: str) -> str:
        """Cut what has no place of its own, by its looks."""
        return self._changed(value, cut_text(value))

    def _embedded(self, value: str, place: _Place) -> str:
        """Cut a text that is JSON itself."""
        before, self.found = self.found, False
        try:
            cut = self.cut(trees.parse(value.encode("utf-8", "surrogatepass"), ("json",)), place)
        except BadBody:
            cut_field = _cut_card_field if place.kind == "card" else cut_text
            return self._changed(value, cut_field(value))
        else:
            return trees.render(cut).decode() if self.found else value
        finally:
            self.found = self.found or before

    def _changed(self, value: str, cut: str, written: str | None = None) -> str:
        if cut == (value if written is None else written):
            return value
        self.found = True
        return cut


@lru_cache(1024)
def _below(path: tuple[str, ...], name: str, cards: frozenset[str], spared: frozenset[str]) -> _Place:
    """Say what stands at a name below a path: a provider's are always the same."""
    below = (*path, name[:_STEP_LENGTH])
    return _Place(below, _kind(below, cards, spared), cut_text(name))


def _kind(path: tuple[str, ...], cards: frozenset[str], spared: frozenset[str]) -> str:
    """Say in a word what stands at a path, as far as names tell."""
    whole = ".".join(path)
    parent, name = ("", "", *(_squeezed(step) for step in path[-3:] if step != "#text"))[-2:]
    if any(map(_CODE_NAMES.fullmatch, (name, parent, parent + name))):
        return "code"
    if whole in cards or any(map(_CARD_NAMES.fullmatch, (name, parent + name))):
        return "card"
    return "identifier" if whole in spared else ""


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _written_out(value: str) -> str:
    """Write a JSON number such as 4.1e15 with all its digits."""
    if isinstance(value, Number) and "e" in value.lower():
        number = Decimal(value)
        if abs(number.adjusted()) <= _LONGEST:
            return f"{number:f}"
    return value


def _cut_card_field(value: str) -> str:
    digits = re.sub(r"\D", "", _written_out(value))
    if len(digits) < _CARD_FIELD_LEAST:
        return value  # masked already, or not a card
    return masked(digits)


def _cut_xml(body: bytes, cutter: _Cutter) -> bytes:
    """Cut an XML document; one that hides something where no value stands is written anew as well."""
    root = trees.xml(body)
    _cut_element(root, cutter, ROOT)
    if not cutter.found and _cut_bytes(body) == body:
        return body
    return typing.cast("bytes", tostring(root, encoding="utf-8"))


def _cut_element(element: Element, cutter: _Cutter, place: _Place) -> None:
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        attribute = cutter.below(place, f"@{trees.local(name)}")
        element.attrib[_cut_name(name, cutter)] = cutter.leaf(value, attribute)
    element.tag = _cut_name(element.tag, cutter)
    if element.text and element.text.strip():
        whole = not element.attrib and not len(element)
        element.text = cutter.leaf(element.text, place if whole else cutter.below(place, "#text"))
    for child in element:
        _cut_element(child, cutter, cutter.below(place, trees.local(child.tag)))
        if child.tail:
            child.tail = cutter.text(child.tail)


def _cut_name(name: str, cutter: _Cutter) -> str:
    return cutter.text(name).replace("*", "x")  # a star is no part of a name


def _cut_bytes(body: bytes) -> bytes:
    """Cut what does not parse; NULs, as UTF-16 has them between digits, go where they hide something."""
    text = body.decode("utf-8", "surrogateescape").replace("\0", "")
    cut = _CODE_SAID.sub(rf"\1{CUT}", cut_text(text))
    return body if cut == text else cut.encode("utf-8", "surrogateescape")


def _plainly(found: re.Match[str]) -> str:
    """Write an escape as the character that it means, if that may be a part of a card number."""
    kind = found.lastgroup or ""
    code = int(found[kind], 10 if kind == "decimal" else 16)
    character = chr(code) if code <= _LAST_CHARACTER else ""
    return character if _PART.fullmatch(character) else found[0] + _MARK


def _cut_stretch(found: re.Match[str]) -> str:
    """Cut the card numbers in a stretch of groups of digits; those that overlap are cut as one."""
    text = found[0]
    if found["uuid"] or len(text) < _SHORTEST:
        return text
    groups = [group.span() for group in re.finditer(r"\d+", text)]
    digits = "".join(str(int(one)) for one in re.sub(r"\D", "", text))
    starts = list(accumulate((end - start for start, end in groups), initial=0))
    pieces: list[str] = []
    done = 0
    for first, last in _together(_cards(digits, starts)):
        pieces += [text[done : groups[first][0]], masked(digits[starts[first] : starts[last + 1]])]
        done = groups[last][1]
    return "".join(pieces) + text[done:]


def _cards(digits: str, starts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield each first and last group that together are a card number; `starts` ends with the end."""
    sums: tuple[list[int], list[int]] | None = None
    for first, start in enumerate(starts[:-1]):
        if not _ISSUERS.match(digits, start):
            continue
        for last in range(first, min(first + _LONGEST, len(starts) - 1)):
            end = starts[last + 1]
            if end - start > _LONGEST:
                break
            if end - start >= _SHORTEST:
                sums = sums or _luhn_sums(digits)
                of_last = sums[end % 2]
                if (of_last[end] - of_last[start]) % 10 == 0:
                    yield first, last


def _luhn_sums(digits: str) -> tuple[list[int], list[int]]:
    """Return the check sums of every beginning, for numbers that end at an even and an odd position.

    With them the check digit of any stretch costs one subtraction, however many overlap.
    """
    values = [int(one) for one in digits]
    even = (_DOUBLED[v] if position % 2 == 0 else v for position, v in enumerate(values))
    odd = (v if position % 2 == 0 else _DOUBLED[v] for position, v in enumerate(values))
    return list(accumulate(even, initial=0)), list(accumulate(odd, initial=0))


def _together(spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join spans that overlap; they come in the order of their beginnings."""
    current: tuple[int, int] | None = None
    for first, last in spans:
        if current and first <= current[1]:
            current = current[0], max(current[1], last)
        else:
            if current:
                yield current
            current = first, last
    if current:
        yield current
