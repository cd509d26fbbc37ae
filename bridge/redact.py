"""Cuts card numbers out of webhooks before anything is written. Pure.

A field that is named for a security code is always cut, and one that is named for cards wherever it
has 12 digits or more. The identifiers that a provider declares are spared. All other values, and the
names of fields, lose what looks like a card number; `cards` says what does.

The time grows with the length of a body alone: one walk, and then one look at all values together.
"""

from __future__ import annotations

import re
import typing
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from itertools import product

from defusedxml.ElementTree import tostring

from bridge import tree as trees
from bridge.cards import CUT, LONGEST, SHORTEST, cut_text, cut_texts, masked
from bridge.tree import BadBody, Number, Tree

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from xml.etree.ElementTree import Element

    from bridge.providers.base import Provider

    Put = Callable[[typing.Any, str], object]

__all__ = ["CUT", "cut", "cut_body", "cut_headers", "cut_text", "masked"]

SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
SHORTEST_SECRET = 4  # a shorter piece of a secret would cut half of the headers


def _names(kind: str, *parts: str) -> dict[bytes, str]:
    """Returns a kind of the names that the choices of each part make together."""
    return {"".join(name).encode(): kind for name in product(*(part.split("|") for part in parts))}


# Names without all but lower-case letters and digits, and what stands there.
_NUMBER, _VALUE = "|number|num|nbr|no|nr", "|value|text|raw|full|plain|content"
_KINDS = {
    **_names("card", "|credit|debit|payment|full", "card", _NUMBER, _VALUE),
    **_names("card", "|full|f|d", "pan", _NUMBER, _VALUE),
    **_names("card", "|primary", "account", _NUMBER, _VALUE),
    **_names("card", "cc", _NUMBER, _VALUE),
    **_names("account", "account|cc", _VALUE),  # cut as a card, unless the provider knows better
    **_names("code", "|card", "cvv|cvv2|cvc|cvc2|cvn|cvn2|csc|cid|cav2|securitycode"),
    **_names("code", "|card", "verificationvalue|verificationcode"),
    **_names("code", "|card", "track|track1|track2", "|data"),
}
_TELLING = 2  # letters that most names differ in from all of these
_BEGINNINGS = {name[:_TELLING] for name in _KINDS}
_LOWER = bytes(range(256)).lower()
_NO_NAME = bytes(code for code in range(256) if not chr(code).isalnum() or code > ord("z"))
# Where nothing parses: a code beside a name that is nothing else's, as JSON, XML and forms write it.
_CODE_SAID = re.compile(
    r"([cCsS](?<![a-zA-Z0-9].)(?i:(?:(?<=c)ard[_-]?[cs])?(?:(?<=c)(?:vv2?|vc2?|vn2?|av2)|(?<=s)ecurity[_-]?code))"
    r"[\\\"']*+\s*+[:=>]\s*+[\\\"']*+)[0-9]{3,4}(?![0-9])",
)
_ONE_CARD = re.compile(  # in one piece, in a card's groups, or with its middle masked
    r"[\W_]*(?:\d{12,19}|\d{4}(?:[\W_]+\d{4}){2,3}(?:[\W_]+\d{1,3})?|\d{4}[\W_]+\d{6}[\W_]+\d{4,5}"
    r"|\d{4}[\W_]*\d{4}[\W_xX]+\d{4})[\W_]*"
)
# Comments, instructions and namespaces; text may look like them in a section of its own.
_HIDDEN = re.compile(r"<!\[CDATA\[.*?\]\]>|(<!--.*?-->|<\?.*?\?>|xmlns[^<]*)", re.DOTALL)
_SHORTEST_JSON = 9  # that has a code: `{"csc":1}`
_MOST_JSON = 500  # values of a body that may be JSON themselves; any more are cut by their looks
_NAME_LENGTH = 100  # as much of a name as tells what stands there, however a body is built


def cut_body(body: bytes, provider: Provider, content_type: str = "") -> bytes:
    """Returns a body with its card numbers cut: the same bytes where there are none."""
    return cut(body, provider, content_type)[0]


def cut(body: bytes, provider: Provider, content_type: str = "") -> tuple[bytes, Tree | None]:
    """Returns a body with its card numbers cut, and its tree where that is known without parsing it again.

    Cut on the parsed tree where the body parses, so that it still does, in the charset that its content
    type declares; else on the bytes. Where a provider says what of its bodies may be kept, nothing else is.
    A form in parts is always written again: of what is around its fields nothing is kept.
    """
    codec = trees.codec_of(body, content_type)
    in_parts = trees.MULTIPART.match(content_type) is not None
    try:
        if trees.is_wide(codec) and _hides_in_bytes(body):
            raise BadBody  # no digits stand side by side in it, if that is what it is
        form = trees.format_of(trees.decode(body, content_type), provider.formats)
        if form == "xml":
            return _cut_xml(body, provider, content_type), None
        tree = trees.parse(body, provider.formats, content_type)
    except BadBody:
        return _cut_bytes(body, content_type), None
    holder = [trees.only(tree, provider.keeps) if provider.keeps else tree]
    cutter = _Cutter()
    cutter.todo.append((holder, _root(provider.cards, provider.identifiers), cutter.body))
    if cutter.finish() or provider.keeps or (in_parts and form == "form"):
        body = trees.rewritten(holder[0], form, codec, cut_text(content_type))
    return body, holder[0]


def cut_headers(headers: Mapping[str, str], provider: Provider, secrets: list[str]) -> dict[str, str]:
    """Returns headers (lower case) without secrets, card numbers and codes."""
    hidden = SECRET_HEADERS | provider.proof.secret_headers
    kept = {}
    for name, value in headers.items():
        part = len(value) >= SHORTEST_SECRET and any(value in secret for secret in secrets)
        code = _CODE_SAID.search(f"{name}:{value}")
        kept[cut_text(name)] = CUT if part or code or name in hidden else cut_text(_without(secrets, value))
    return kept


def _without(secrets: list[str], value: str) -> str:
    """Returns a header's value without any of the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            value = value.replace(secret, CUT)
    return value


@dataclass(eq=False, slots=True)
class _Place:
    """Where a value stands, as far as names tell what it is; positions in lists are no part of it."""

    declared: dict[str, str]  # the kinds of the provider's paths; none for those that only lead to one
    path: str | None = ""  # None where no declared path leads on
    name: bytes = b""  # as in `_KINDS`: the last, or the last two where that is a name too
    kind: str = ""  # code, card, identifier, or nothing of these


_NOWHERE = _Place({}, None)


@lru_cache(64)
def _root(cards: frozenset[str], spared: frozenset[str]) -> _Place:
    """Returns the place of a whole body, from which all others are reached."""
    leading = {path[: dot.start()]: "" for path in cards | spared for dot in re.finditer(r"\.", path)}
    return _Place({**leading, **dict.fromkeys(spared, "identifier"), **dict.fromkeys(cards, "card")})


def _below(place: _Place, name: str) -> _Place:
    """Returns the place at a name below a place."""
    return _remembered_below(place, name[:_NAME_LENGTH])


@lru_cache(1024)
def _remembered_below(place: _Place, name: str) -> _Place:
    """Returns the place at a name below a place: those of a provider are always the same."""
    path = f"{place.path}.{name}" if place.path else name
    stated = None if place.path is None else place.declared.get(path)
    squeezed, kind = place.name, place.kind
    if name != "#text":
        squeezed = name.encode("ascii", "ignore").translate(_LOWER, _NO_NAME)
        if not (kind or place.name) and stated is None and squeezed[:_TELLING] not in _BEGINNINGS:
            return _NOWHERE
        both = place.name + squeezed
        kind = _KINDS.get(both) or _KINDS.get(squeezed, "")
        squeezed = both if both in _KINDS else squeezed
    if _KINDS.get(place.name) == "code":
        kind = "code"
    elif kind != "code":
        kind = "card" if "card" in (kind, stated) else stated or kind.replace("account", "card")
    return _Place(place.declared, None if stated is None else path, squeezed, kind)


class _Document:
    """A body, or a value that is JSON itself: what is written anew where something in it is cut."""

    def __init__(self, tree: Tree = None, star: str = "*") -> None:
        self.tree = tree
        self.star = star  # what stands in the middle of a cut name
        self.changed = False
        self.renamed: dict[int, tuple[dict[str, Tree], dict[str, str]]] = {}

    def rename(self, entry: tuple[dict[str, Tree], str], cut: str) -> None:
        """Notes the cut name of an entry."""
        mapping, name = entry
        self.renamed.setdefault(id(mapping), (mapping, {}))[1][name] = cut.replace("*", self.star)

    def write_names(self) -> None:
        """Writes the cut names where they stand."""
        for mapping, names in self.renamed.values():
            entries = [(names.get(name, name), value) for name, value in mapping.items()]
            mapping.clear()
            mapping.update(entries)


class _Cutter:
    """Walks a body, cuts what names give away, and gathers all else to cut it at once."""

    def __init__(self, star: str = "*") -> None:
        self.body = _Document(star=star)
        self.todo: list[tuple[Tree, _Place, _Document]] = []
        self.gathered: list[tuple[Put, typing.Any, str, _Document]] = []
        self.json: list[tuple[Put, typing.Any, _Document, _Document]] = []
        self.tried = 0

    def finish(self) -> bool:
        """Cuts all there is, and returns whether there was anything to cut."""
        while self.todo:
            self._walk(*self.todo.pop())
        cuts = cut_texts([text for _, _, text, _ in self.gathered])
        for (put, key, text, document), cut in zip(self.gathered, cuts, strict=True):
            if cut != text:
                put(key, cut)
                document.changed = True
        for put, key, inner, outer in reversed(self.json):
            if inner.changed:
                inner.write_names()
                put(key, trees.render(inner.tree).decode())
                outer.changed = True
        self.body.write_names()
        return self.body.changed

    def _walk(self, tree: Tree, place: _Place, document: _Document) -> None:
        """Cuts what stands in an object or a list, but for the objects and lists in it."""
        below, named = place, isinstance(tree, dict)
        entries: Iterable[tuple[typing.Any, Tree]] = trees.sent(tree) if named else enumerate(tree)
        for key, value in entries:
            if named:
                below = _remembered_below(place, key[:_NAME_LENGTH])
                if len(key) >= SHORTEST:
                    self.gathered.append((document.rename, (tree, key), key, document))
            if isinstance(value, str):
                if below.kind or len(value) >= _SHORTEST_JSON:
                    kept = tree if tree[key] is value else {}  # of a key that came again the last value
                    self.value(kept.__setitem__, key, value, below, document)
            elif value and isinstance(value, trees.CONTAINERS):
                self.todo.append((value, below, document))

    def value(self, put: Put, key: typing.Any, value: str, place: _Place, document: _Document) -> None:
        """Cuts a value by its place, or gathers it."""
        kind, cut = place.kind, value
        if kind == "code":
            cut = CUT
        elif value.lstrip()[:1] in ("{", "["):
            inner = self._parsed(value)
            if inner:
                self.json.append((put, key, inner, document))
                self.todo.append((inner.tree, place, inner))
                return
            kind = kind.replace("identifier", "")
            cut = _without_codes(value)
        if kind == "card":
            cut = _cut_card_field(cut)
        if cut != value:
            put(key, cut)
            document.changed = True
        if not kind and len(cut) >= SHORTEST and not _is_fraction(cut):
            self.gathered.append((put, key, _written_out(cut), document))

    def _parsed(self, value: str) -> _Document | None:
        """Returns a value as JSON, if it is any and not too many were tried."""
        self.tried += 1
        if self.tried <= _MOST_JSON:
            with suppress(BadBody):
                return _Document(trees.parse(value, ("json",)))
        return None


def _is_fraction(value: str) -> bool:
    """Whether a value is a JSON number with a point behind a few digits, which no card number has."""
    return isinstance(value, Number) and "." in value[:SHORTEST] and "e" not in value.lower()


def _written_out(value: str) -> str:
    """Writes a JSON number such as 4.1e15 with all its digits."""
    if isinstance(value, Number) and "e" in value.lower():
        with suppress(InvalidOperation):  # no exponent may have more than 18 digits
            number = Decimal(value)
            if abs(number.adjusted()) <= LONGEST:
                return f"{number:f}"
    return value


def _cut_card_field(value: str) -> str:
    """Returns what is kept of a field that is named for cards."""
    if len(value) < SHORTEST and "e" not in value.lower():
        return value  # too short, and written out already
    digits = re.sub(r"\D", "", _written_out(value))
    if len(digits) < SHORTEST:
        return value  # masked already, or not a card
    # of more than one number, or of a float, nobody can say which digits are the card's last
    return masked(digits) if _ONE_CARD.fullmatch(value) else f"{digits[:6]}******{CUT}"


def _cut_xml(body: bytes, provider: Provider, content_type: str) -> bytes:
    """Cuts an XML document. Writes it again also where a comment or an instruction hides a number."""
    text = trees.decode(body, content_type)
    root = trees.xml(text)
    cutter = _Cutter(star="x")  # a star is no part of a name
    document = cutter.body
    place = _root(provider.cards, provider.identifiers)
    todo = [(root, place if root.attrib or len(root) else _below(place, trees.local(root.tag)))]
    while todo:
        element, place = todo.pop()
        if len(element.tag) >= SHORTEST:
            cutter.gathered.append((_rename, element, element.tag, document))
        for name, value in element.items():
            if len(name) >= SHORTEST:
                cutter.gathered.append((document.rename, (element.attrib, name), name, document))
            cutter.value(element.set, name, value, _below(place, f"@{trees.local(name)}"), document)
        if element.text and not element.text.isspace():
            here = _below(place, "#text") if element.attrib or len(element) else place
            cutter.value(partial(setattr, element), "text", element.text, here, document)
        for child in element:
            todo.append((child, _below(place, trees.local(child.tag))))
            if child.tail and not child.tail.isspace():
                cutter.value(partial(setattr, child), "tail", child.tail, _NOWHERE, document)
    if not cutter.finish() and cut_text(hidden := _hidden(text)) == hidden:
        return body
    written = tostring(root, encoding="unicode")
    return trees.in_codec(written, trees.codec_of(body, content_type), "xmlcharrefreplace")


def _hidden(text: str) -> str:
    """Returns what the elements of an XML document do not show."""
    return "|".join(match[1] or "" for match in _HIDDEN.finditer(text))


def _rename(element: Element, cut: str) -> None:
    """Writes an element's cut name; a star is no part of a name."""
    element.tag = cut.replace("*", "x")


def _without_codes(text: str) -> str:
    """Returns a text without the codes that stand beside their names."""
    return _CODE_SAID.sub(lambda match: match[1] + CUT, text)


def _text(body: bytes) -> str:
    """Returns a body as text, without the NULs that UTF-16 has between digits."""
    return body.decode("utf-8", "surrogateescape").replace("\0", "")


def _cut_bytes(body: bytes, content_type: str = "") -> bytes:
    """Cuts what does not parse, in each of its readings; where something is cut, the NULs go too."""
    for codec in trees.wide_codecs_of(body, content_type):
        text = body.decode(codec, "replace")
        if (cut := _without_codes(cut_text(text))) != text:
            body = cut.encode(codec, "replace")
    text = _text(body)
    cut = _without_codes(cut_text(text))
    return body if cut == text else cut.encode("utf-8", "surrogateescape")


def _hides_in_bytes(body: bytes) -> bool:
    """Whether a card number stands in the bytes themselves, whatever they are decoded to."""
    text = body.decode("latin-1").replace("\0", "|")
    return cut_text(text) != text
