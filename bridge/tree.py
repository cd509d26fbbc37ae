"""Bodies as trees: JSON, forms and XML become dicts, lists and text; numbers keep their digits.

Pure. Nothing here trusts the sender: whatever does not parse is a `BadBody`, never a crash.
"""

from __future__ import annotations

import json
import typing
from urllib.parse import parse_qsl

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

if typing.TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

Tree = typing.Any
"""Nested dicts and lists with `str`, `Number`, `bool` and None as leaves."""

MAX_DEPTH = 64
LONGEST_INT = 18
MAX_FORM_FIELDS = 2000
FORMATS = ("json", "form", "xml")


class BadBody(ValueError):
    """The body does not parse."""


class Number(str):
    """The literal text of a JSON number, so that no digit of an identifier or amount is lost."""

    __slots__ = ()


class _Pairs(dict[str, Tree]):
    """An object that named a key twice; the last value counts, as everywhere."""

    lost: list[Tree]


def parse(body: bytes, formats: Iterable[str] = FORMATS) -> Tree:
    """Parse a body in the first of the formats that its first character allows.

    Raises BadBody, with a sentence for the sender's developer.
    """
    parsers = {"json": _parse_json, "form": _parse_form, "xml": _parse_xml}
    return parsers[format_of(body, formats)](body)


def format_of(body: bytes, formats: Iterable[str] = FORMATS) -> str:
    """Return the format that a body is parsed in; raises BadBody where none of them can be meant."""
    allowed = tuple(formats)
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if not start:
        raise BadBody("the body is empty")
    if start == b"<" and "xml" in allowed:
        return "xml"
    if "json" in allowed and (start in b"{[" or "form" not in allowed):
        return "json"
    if "form" in allowed:
        return "form"
    raise BadBody("the body is not XML")


def render(tree: Tree) -> bytes:
    """Write a tree as JSON, its numbers digit for digit as they came."""
    return _render(tree).encode("utf-8", "surrogatepass")


def lost(tree: Tree) -> list[Tree]:
    """Return the pairs of an object that the tree lacks, since their key came again; each an object."""
    return tree.lost if isinstance(tree, _Pairs) else []


def only(tree: Tree, paths: Iterable[str]) -> Tree:
    """Return of an object what stands at some dotted paths; of anything else, all."""
    if not isinstance(tree, dict):
        return tree
    below: dict[str, list[str]] = {}
    for path in paths:
        name, _, rest = path.partition(".")
        below.setdefault(name, []).append(rest)
    return {
        name: child if "" in below[name] else only(child, below[name])
        for name, child in tree.items()
        if name in below
    }


def plain(tree: Tree) -> Tree:
    """Return a tree that can be stored: whole numbers are int again, others the text that they were."""
    if isinstance(tree, Number):
        return int(tree) if tree.lstrip("-").isdecimal() and len(tree) <= LONGEST_INT else str(tree)
    if isinstance(tree, str):
        return printable(tree)
    if isinstance(tree, dict):
        return {name: plain(child) for name, child in tree.items()}
    return [plain(child) for child in tree] if isinstance(tree, list) else tree


def pick(tree: Tree, path: str) -> Tree:
    """Return what stands at a dotted path, or None; `a|b` takes the first of several that is there.

    A step into a list is a number; a step that names the whole rest of a path wins over its parts.
    """
    return locate(tree, path)[1]


def locate(tree: Tree, path: str) -> tuple[str, Tree]:
    """Return the alternative of a path that was there, and its value; else the first one and None."""
    alternatives = path.split("|")
    for alternative in alternatives:
        value = _walk(tree, alternative)
        if value is not None:
            return alternative, value
    return alternatives[0], None


def _walk(tree: Tree, path: str) -> Tree:
    rest = path
    while True:
        if isinstance(tree, dict) and rest in tree:
            return tree[rest]
        step, dot, rest = rest.partition(".")
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and step.isdecimal() and int(step) < len(tree):
            tree = tree[int(step)]
        else:
            return None
        if not dot:
            return tree


def _render(tree: Tree) -> str:
    if isinstance(tree, Number):
        return str(tree)
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_render(v)}" for k, v in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_render, tree)) + "]"
    return json.dumps(tree)


def _parse_json(body: bytes) -> Tree:
    try:
        tree = _JSON.decode(body.decode("utf-8-sig"))
    except BadBody:
        raise
    except UnicodeDecodeError:
        raise BadBody("the body is not UTF-8") from None
    except RecursionError:
        raise BadBody("the body is nested too deeply") from None
    except ValueError as error:
        raise BadBody(f"the body is not JSON: {error}") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper_than(tree, MAX_DEPTH):
        raise BadBody("the body is nested too deeply")
    return tree


def _no_constant(word: str) -> typing.NoReturn:
    raise BadBody(f"the body is not JSON: {word} is not a number")


def _pairs(pairs: list[tuple[str, Tree]]) -> dict[str, Tree]:
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    twice = _Pairs(tree)
    last = {name: position for position, (name, _) in enumerate(pairs)}
    twice.lost = [{name: value} for position, (name, value) in enumerate(pairs) if last[name] != position]
    return twice


_JSON = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=_no_constant, object_pairs_hook=_pairs
)


def _deeper_than(tree: Tree, depth: int) -> bool:
    level: list[Tree] = [tree]
    for _ in range(depth):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in ([*node.values(), *lost(node)] if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True


def _parse_form(body: bytes) -> Tree:
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadBody(f"the body is not a form: {error}") from None
    return _pairs(list(pairs))


def _parse_xml(body: bytes) -> Tree:
    root = xml(body)
    tree = _element(root)
    return tree if isinstance(tree, dict) else {local(root.tag): tree}


def xml(body: bytes) -> Element:
    """Parse an XML document into its elements, without a document type or entities; raises BadBody."""
    try:
        root = fromstring(body, forbid_dtd=True)
    except DefusedXmlException:
        raise BadBody("the body is XML with a document type or entities, which are refused") from None
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise BadBody(f"the body is not XML: {error}") from None
    if _too_deep(root):
        raise BadBody("the body is nested too deeply")
    return root


def _too_deep(root: Element) -> bool:
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node]
        if not level:
            return False
    return True


def _element(element: Element) -> Tree:
    """Turn an element into a dict of its attributes and children, or into its text."""
    tree: dict[str, Tree] = {f"@{local(name)}": value for name, value in element.attrib.items()}
    for child in element:
        name, value = local(child.tag), _element(child)
        if name not in tree:
            tree[name] = value
        elif isinstance(tree[name], list):
            tree[name].append(value)
        else:
            tree[name] = [tree[name], value]
    text = (element.text or "").strip()
    if not tree:
        return text
    if text:
        tree["#text"] = text
    return tree


def local(name: str) -> str:
    """Return an XML name without its namespace."""
    return name.rpartition("}")[2]


def printable(text: str) -> str:
    """Make text safe to store and to show: no NUL, no control characters, no broken unicode."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
