"""Cuts card numbers out of webhooks before anything is written. Pure.

Fields that are named for cards are always cut. Elsewhere only what looks like a card number is cut:
13 to 19 digits, perhaps with blanks or dashes between, in an issuer's range and with a right check
digit. The identifiers that a provider declares are spared.
"""

from __future__ import annotations

import re
import typing
from urllib.parse import urlencode

from bridge import tree as trees
from bridge.tree import BadBody, Tree

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.provider import Provider

CUT = "[cut]"
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})

_CARD_NAMES = re.compile(
    r"(?:card_?(?:number|no|num)|pan|primary_?account_?number|account_?number|card|cc_?(?:number|num))",
    re.IGNORECASE,
)
_CODE_NAMES = re.compile(
    r"(?:card_?)?(?:cvv2?|cvc2?|cid|cav2|security_?code|verification_?value|track_?[12]?(?:_?data)?)",
    re.IGNORECASE,
)
# Groups of digits with at most one blank or dash between them: the widest stretch to look into.
_DIGITS = re.compile(r"[0-9]+(?:[ -][0-9]+)*")
_ISSUERS = re.compile(r"4|5[1-5]|2(?:2[2-9]|[3-6]|7[01]|720)|3[47]|3(?:0[0-5]|09|[689])|35|6")
_SHORTEST, _LONGEST = 13, 19
_CARD_FIELD_LEAST = 12  # a field that is named for cards is cut from here on, whatever it looks like


def cut_text(text: str) -> str:
    """Return a text with every stretch that looks like a card number cut."""
    return _DIGITS.sub(lambda found: _cut_groups(found[0]), text)


def cut_body(body: bytes, provider: Provider) -> bytes:
    """Return a body with its card numbers cut: the same bytes where there are none.

    Cut on the parsed tree where the body parses, so that it still does; else on the bytes.
    """
    try:
        tree = trees.parse(body, provider.formats)
    except BadBody:
        return cut_text(body.decode("latin-1")).encode("latin-1")
    cut = _Cutter(provider).cut(tree, "", "")
    if cut == tree and not trees.names_twice(tree):
        return body
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"<":
        return _cut_xml(body, tree, cut)
    if start not in b"{[":
        return urlencode(cut).encode()
    return trees.render(cut)


def cut_headers(headers: Mapping[str, str], provider: Provider, secrets: list[str]) -> dict[str, str]:
    """Return headers (lower case) without secrets and card numbers."""
    hidden = SECRET_HEADERS | provider.proof.secret_headers
    kept = {}
    for name, value in headers.items():
        secret = name in hidden or any(value and value in one for one in secrets if len(value) > 3)
        kept[name] = CUT if secret else cut_text(value)
    return kept


def masked(digits: str) -> str:
    """Write a card number the one way: first six, stars, last four."""
    return digits[:6] + "*" * (len(digits) - 10) + digits[-4:]


class _Cutter:
    """Walks a tree along its paths; list positions are no part of a path."""

    def __init__(self, provider: Provider) -> None:
        self.cards = provider.cards
        self.spared = provider.identifiers
        self.embedded = provider.embedded

    def cut(self, tree: Tree, path: str, name: str) -> Tree:
        if isinstance(tree, dict):
            return {k: self.cut(v, f"{path}.{k}" if path else k, k) for k, v in tree.items()}
        if isinstance(tree, list):
            return [self.cut(child, path, name) for child in tree]
        return self._leaf(tree, path, name) if isinstance(tree, str) else tree

    def _leaf(self, value: str, path: str, name: str) -> Tree:
        if _CODE_NAMES.fullmatch(name):
            return CUT
        if _ends_in(path, self.cards) or _CARD_NAMES.fullmatch(name):
            return _cut_card_field(value)
        if name in self.embedded:
            return self._embedded(value)
        if _ends_in(path, self.spared):
            return value
        cut = cut_text(value)
        return value if cut == value else cut

    def _embedded(self, value: str) -> str:
        try:
            tree = trees.parse(value.encode("utf-8", "surrogatepass"), ("json",))
        except BadBody:
            return cut_text(value)
        cut = self.cut(tree, "", "")
        return value if cut == tree else trees.render(cut).decode("utf-8", "surrogatepass")


def _ends_in(path: str, declared: frozenset[str]) -> bool:
    """Whether a path, or its part below a batch's envelope, is among the declared ones."""
    if path in declared:
        return True
    while "." in path:
        path = path.partition(".")[2]
        if path in declared:
            return True
    return False


def _cut_card_field(value: str) -> str:
    digits = re.sub(r"[^0-9]", "", value)
    if len(digits) < _CARD_FIELD_LEAST:
        return value  # masked already, or not a card
    return masked(digits)


def _cut_groups(text: str) -> str:
    """Cut the first stretch of whole groups that is a card number, and look on behind it."""
    groups = list(re.finditer(r"[0-9]+", text))
    for first in range(len(groups)):
        digits = ""
        for last in range(first, len(groups)):
            digits += groups[last][0]
            if len(digits) > _LONGEST:
                break
            if len(digits) >= _SHORTEST and _is_card(digits):
                start, end = groups[first].start(), groups[last].end()
                return text[:start] + masked(digits) + _cut_groups(text[end:])
    return text


def _is_card(digits: str) -> bool:
    return _ISSUERS.match(digits) is not None and _luhn(digits)


def _luhn(digits: str) -> bool:
    odd = sum(int(d) for d in digits[-1::-2])
    even = sum(sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (odd + even) % 10 == 0


def _cut_xml(body: bytes, tree: Tree, cut: Tree) -> bytes:
    """Replace in the text of an XML document each value that was cut in its tree."""
    pairs: dict[str, str] = {}

    def compare(before: Tree, after: Tree) -> None:
        if isinstance(before, dict):
            for name in before:
                compare(before[name], after[name])
        elif isinstance(before, list):
            for old, new in zip(before, after, strict=True):
                compare(old, new)
        elif before != after:
            pairs[before] = after

    compare(tree, cut)
    text = body.decode("latin-1")
    for before, after in sorted(pairs.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(before.encode().decode("latin-1"), after.encode().decode("latin-1"))
    return text.encode("latin-1")
