"""Bodies as trees: JSON, forms and XML become dicts, lists and text; numbers keep their digits.

Pure. The proof is over raw bytes, so reading leniently afterwards loses nothing. But nothing here
trusts the sender: whatever does not parse is a `BadBody`, never a crash.
"""

from __future__ import annotations

import base64
import codecs
import json
import quopri
import re
import typing
from contextlib import suppress
from json.encoder import encode_basestring
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from xml.etree.ElementTree import Element

Tree = typing.Any
"""Nested dicts and lists with `str`, `Number`, `bool` and None as leaves."""

CONTAINERS = (dict, list)
MAX_DEPTH = 64
LONGEST_INT = 18
MAX_FORM_FIELDS = 2000
MAX_JSON_PARTS = 30_000  # objects, lists and names, counted as brackets and colons: a batch has fewer
MAX_XML_PARTS = 10_000  # tags and attributes
FORMATS = ("json", "form", "xml")
CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8"), "utf-8-sig"),
    **dict.fromkeys(("utf-16", "utf16"), "utf-16"),
    **dict.fromkeys(("us-ascii", "ascii"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1"), "iso-8859-1"),
    **dict.fromkeys(("iso-8859-15", "latin-9", "latin9"), "iso-8859-15"),
    **dict.fromkeys(("windows-1252", "cp1252"), "windows-1252"),
}
"""Charsets that are heeded, and Python's codecs for them: the name is the sender's, and hostile too."""
CHARSET = re.compile(r"(?i);\s*charset\s*=\s*[\"']?([\w.:-]{1,40})")
MULTIPART = re.compile(r"(?i)\s*multipart/form-data\s*;")
_PARAMETER = re.compile(r";\s*([^\s;=\"]+)\s*=\s*(\"(?:[^\"\\]|\\.)*+\"|[^;]*)")
_TRANSFERRED: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64decode,
    "quoted-printable": quopri.decodestring,
}


class BadBody(ValueError):
    """The body does not parse."""


class Number(str):
    """The literal text of a JSON number, so that no digit of an identifier or amount is lost."""

    __slots__ = ()


class _Pairs(dict[str, Tree]):
    """An object that named a key twice; the last value counts, as everywhere."""

    __slots__ = ("sent",)
    sent: list[tuple[str, Tree]]


def parse(body: bytes | str, formats: Iterable[str] = FORMATS, content_type: str = "") -> Tree:
    """Parses a body in the first of the formats that its first character allows.

    Raises BadBody, with a sentence for the sender's developer.
    """
    text = body if isinstance(body, str) else decode(body, content_type)
    kind = format_of(text, formats)
    if kind == "form" and isinstance(body, bytes):
        if MULTIPART.match(content_type):
            return _parse_multipart(body, content_type)
        return _parse_form(text, codec_of(body, content_type))
    return {"json": _parse_json, "form": _parse_form, "xml": _parse_xml}[kind](text)


def is_empty(body: bytes) -> bool:
    """Whether nothing stands in a body, or an object of nothing, whatever its format is."""
    return body.strip(b"\xef\xbb\xbf\0 \t\r\n") in (b"", b"{}")


def decode(body: bytes, content_type: str = "") -> str:
    """Returns a body as text: in its declared charset, else as UTF-8 or UTF-16, else as windows-1252."""
    codec = codec_of(body, content_type)
    return body.decode(codec, "bridge.controls").lstrip("\ufeff").rstrip("\0")


def codec_of(body: bytes, content_type: str = "") -> str:
    """Names the codec that a body is read by; a charset that is none of CHARSETS counts as undeclared."""
    for codec in _meant(body, content_type):
        try:
            if codec:
                body.decode(codec)
                return codec
        except UnicodeDecodeError:
            continue
    return "windows-1252"


def wide_codecs_of(body: bytes, content_type: str = "") -> list[str]:
    """Names the codecs of several bytes that a body may be in, also where some of it is broken."""
    return [codec for codec in _meant(body, content_type) if codec and is_wide(codec)]


def _meant(body: bytes, content_type: str) -> tuple[str | None, str]:
    """Returns the codec that is declared, if it is one of CHARSETS, and the one that the bytes look like."""
    said = CHARSET.search(content_type)
    declared = CHARSETS.get(said[1].lower()) if said else None
    if declared == "utf-16" and body[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        declared = "utf-16-be" if body[:1] == b"\0" else "utf-16-le"
    return declared, json.detect_encoding(body)


def format_of(text: str, formats: Iterable[str] = FORMATS) -> str:
    """Returns the format that a body is parsed in; raises BadBody where none of them can be meant."""
    allowed = tuple(formats)
    start = text.lstrip("\ufeff\0 \t\r\n")[:1]
    if not start:
        raise BadBody("the body is empty")
    if start == "<" and "xml" in allowed:
        return "xml"
    if "json" in allowed and (start in "{[" or "form" not in allowed):
        return "json"
    if "form" in allowed:
        return "form"
    raise BadBody("the body is not XML")


def render(tree: Tree, codec: str = "utf-8") -> bytes:
    """Writes a tree as JSON, its numbers digit for digit as they came; only what a codec lacks is escaped."""
    return in_codec(_render(tree), codec, "bridge.json")


def rewritten(tree: Tree, kind: str, codec: str, content_type: str = "") -> bytes:
    """Writes a tree again in its format and codec, so that it is read as before."""
    if kind == "json":
        return render(tree, codec)
    if MULTIPART.match(content_type):
        return _in_parts(tree, content_type)
    try:
        return in_codec(urlencode(tree, encoding=_escaping(codec), errors="strict"), codec)
    except UnicodeEncodeError:  # it came from the codec that is tried next
        return in_codec(urlencode(tree), codec)


def in_codec(text: str, codec: str, lacking: str = "strict") -> bytes:
    """Writes a text in a codec; `lacking` names how to write what the codec lacks."""
    return text.encode(codec.removesuffix("-sig"), lacking)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Writes as JSON escapes what a codec lacks, or UTF-8: a lone surrogate."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _controls(error: UnicodeError) -> tuple[str, int]:
    """Reads bytes that windows-1252 lacks as the control characters of their numbers, as browsers do."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("bridge.json", _escaped)
codecs.register_error("bridge.controls", _controls)


def is_wide(codec: str) -> bool:
    """Whether a codec has several bytes for every character."""
    return codec.startswith(("utf-16", "utf-32"))


def sent(tree: dict[str, Tree]) -> Iterable[tuple[str, Tree]]:
    """Returns the keys and values of an object as they were sent, also where a key came again."""
    return tree.sent if isinstance(tree, _Pairs) else tree.items()


def only(tree: Tree, paths: Iterable[str]) -> Tree:
    """Returns of an object what stands at some dotted paths; of anything else, all."""
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
    """Returns a tree that can be stored: whole numbers are int again, others the text that they were."""
    if isinstance(tree, Number):
        return int(tree) if tree.lstrip("-").isdecimal() and len(tree) <= LONGEST_INT else str(tree)
    if isinstance(tree, str):
        return printable(tree)
    if isinstance(tree, dict):
        return {printable(name): plain(child) for name, child in tree.items()}
    return [plain(child) for child in tree] if isinstance(tree, list) else tree


def pick(tree: Tree, path: str) -> Tree:
    """Returns what stands at a dotted path, or None; `a|b` takes the first of several that is there.

    A step into a list is a number; a step that names the whole rest of a path wins over its parts.
    """
    return locate(tree, path)[1]


def locate(tree: Tree, path: str) -> tuple[str, Tree]:
    """Returns the alternative of a path that was there, and its value; else the first one and None."""
    alternatives = path.split("|")
    for alternative in alternatives:
        value = _walk(tree, alternative)
        if value is not None:
            return alternative, value
    return alternatives[0], None


def holds(path: str, value: Tree, alternatives: list[str]) -> bool:
    """Whether a value is an object that stands at its path only to hold another of the alternatives."""
    keys = (one.removeprefix(f"{path}.") for one in alternatives if one.startswith(f"{path}."))
    return isinstance(value, dict) and any(key in value for key in keys)


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
    if isinstance(tree, str):
        return str(tree) if isinstance(tree, Number) else encode_basestring(tree)
    if isinstance(tree, dict):
        return "{" + ", ".join([f"{encode_basestring(k)}: {_render(v)}" for k, v in tree.items()]) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_render, tree)) + "]"
    return _CONSTANTS[tree]


_CONSTANTS = {None: "null", True: "true", False: "false"}


def _parse_json(text: str) -> Tree:
    if sum(map(text.count, "[{:")) > MAX_JSON_PARTS:
        raise BadBody("the body has too many objects, lists and names")
    try:
        tree = _JSON.decode(text.strip("\0 \t\r\n"))
    except RecursionError:
        raise BadBody("the body is nested too deeply") from None
    except ValueError as error:
        raise BadBody(f"the body is not JSON: {error}") from None
    if _is_too_deep(text):
        raise BadBody("the body is nested too deeply")
    return tree


def _pairs(pairs: list[tuple[str, Tree]]) -> dict[str, Tree]:
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    twice = _Pairs(tree)
    twice.sent = pairs
    return twice


_JSON = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=_pairs, strict=False
)
"""Takes control characters inside strings; NaN is a number that no field can read."""
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes({*range(256)} - {*b"[]{}"})


def _is_too_deep(json_text: str) -> bool:
    """Whether JSON that parses is nested too deeply: removes the innermost pairs of brackets, level by level.

    The text is faster to look through than the tree.
    """
    if json_text.count("{") + json_text.count("[") <= MAX_DEPTH:
        return False
    outside_strings = json_text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    brackets = "".join(outside_strings).encode("ascii", "ignore").translate(_SQUARE, _NO_BRACKET)
    for _ in range(MAX_DEPTH - 1):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _parse_form(text: str, codec: str = "utf-8") -> Tree:
    """Reads a form; what it escapes is in its declared charset too, else UTF-8, else windows-1252."""
    for one in (_escaping(codec), "utf-8", "windows-1252", "latin-1"):
        try:
            return _pairs(_pairs_of(text.strip("\0\r\n"), one))
        except UnicodeDecodeError:
            continue
        except ValueError as error:
            raise BadBody(f"the body is not a form: {error}") from None
    raise BadBody("the body is not a form")


def _escaping(codec: str) -> str:
    """Names the codec of what a form escapes."""
    return "utf-8" if is_wide(codec) else codec.removesuffix("-sig")


def _pairs_of(text: str, codec: str) -> list[tuple[str, str]]:
    most = MAX_FORM_FIELDS
    return parse_qsl(text, keep_blank_values=True, encoding=codec, errors="strict", max_num_fields=most)


def _parse_multipart(body: bytes, content_type: str) -> Tree:
    """Reads `multipart/form-data` as the form that it is; a file is its text, and so are parts in a part.

    What stands around the parts, and those that have no name, are left out.
    """
    line = b"--" + _boundary(content_type).encode("utf-8", "surrogateescape")
    parts, start = [], None
    for between in re.finditer(rb"(?:^|\r?\n)%b(--|[ \t]*(?=\r?\n|$))" % re.escape(line), body):
        if start is not None:
            parts.append(body[start : between.start()])
        start = between.end()
        if between[1][:2] == b"--":
            break
    else:
        parts += [] if start is None else [body[start:]]
    if line == b"--" or not parts or len(parts) > MAX_FORM_FIELDS:
        raise BadBody("the body is not a form in parts")
    fields = (_field(part) for part in parts)
    pairs = [(name, content) for name, content in fields if name is not None]
    if not pairs:
        raise BadBody("the body is a form in parts, and none of them has a name")
    return _pairs(pairs)


def _boundary(content_type: str) -> str:
    return _parameters(content_type).get("boundary", "").rstrip()


def _field(part: bytes) -> tuple[str | None, str]:
    """Returns the name of a part and its content, as text."""
    head, _, content = re.sub(rb"^\r?\n", b"", part).replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n")
    lines = re.sub(r"\r?\n[ \t]+", " ", decode(head)).splitlines()
    headers = {name.strip().lower(): value for name, _, value in (line.partition(":") for line in lines)}
    named = _parameters(headers.get("content-disposition", ""))
    encoding = headers.get("content-transfer-encoding", "").strip().lower()
    if encoding in _TRANSFERRED:
        with suppress(ValueError):
            content = _TRANSFERRED[encoding](content)
    return named.get("name"), decode(content, headers.get("content-type", ""))


def _parameters(header: str) -> dict[str, str]:
    """Returns what a header says behind its first semicolon, by names in lower case."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(header):
        name, value = match[1].lower(), match[2].strip()
        if value[:1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elif name.endswith("*"):  # RFC 2231: a charset, a language, and what is escaped
            name, value = name[:-1], unquote_to_bytes(value.rpartition("'")[2]).decode("utf-8", "replace")
        found.setdefault(name, value)
    return found


def _in_parts(tree: Tree, content_type: str) -> bytes:
    """Writes the fields of a form in parts again, between the same lines."""
    line = _boundary(content_type)
    parts = []
    for name, value in tree.items():
        shown = re.sub(r'([\\"])', r"\\\1", re.sub(r"[\r\n]", " ", name))
        head = f'Content-Disposition: form-data; name="{shown}"\r\nContent-Type: text/plain; charset=utf-8'
        parts.append(f"--{line}\r\n{head}\r\n\r\n{value.replace(f'--{line}', '')}\r\n")
    return f"{''.join(parts)}--{line}--\r\n".encode("utf-8", "replace")


def _parse_xml(text: str) -> Tree:
    root = xml(text)
    tree = _element(root)
    return tree if isinstance(tree, dict) else {local(root.tag): tree}


def xml(text: str) -> Element:
    """Parses an XML document into its elements, without a document type or entities; raises BadBody."""
    try:
        root = fromstring(text.strip("\0 \t\r\n"), forbid_dtd=True)
    except DefusedXmlException:
        raise BadBody("the body is XML with a document type or entities, which are refused") from None
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise BadBody(f"the body is not XML: {error}") from None
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
    if level:
        raise BadBody("the body is nested too deeply")
    if text.count("<") + text.count("=") > MAX_XML_PARTS:
        raise BadBody("the body has too many elements")
    return root


def _element(element: Element) -> Tree:
    """Turns an element into a dict of its attributes and children, or into its text."""
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
    """Returns an XML name without its namespace."""
    return name.rpartition("}")[2]


def printable(text: str, keep: str = "") -> str:
    """Makes text safe to store and to show: no NUL, no control characters but some, no broken unicode."""
    if text.translate(dict.fromkeys(map(ord, keep))).isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else f"\\u{ord(c):04x}" for c in text)
