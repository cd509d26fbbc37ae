"""Bodies made to be slow to cut: what the patterns look for, over and over, in every place."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape, quoteattr

from bridge.providers import fields
from bridge.providers.base import Provider
from bridge.providers.credentials import Basic
from bridge.providers.meanings import opens
from bridge.tree import MAX_XML_PARTS

_WORDS = r"""
0 1 4 35 81 2720 4111 411111 12345678 411111111111 676770000006 4111111111111111 400000000000000000
4e15 4.111111111111e15 411111******1111 * *** - + . , : / _ | ; # = < > ' " x a
\ \\ \n \u \u0034 \u200b \u0041 \ud835 % %25 %34 %41 %E2%80%8B %E2 & &# &#52; &#x000 &#x34; &amp; &nbsp; &aa;
%26%2352%3B %26%2334 %5Cu0034 &#37;34 &#92; &percnt; \u0026
4111%201111 4&#52;%34\u0034 41%u200b %26%2337%3B34 \u0025\u0033\u0034 4%20 4&nbsp; &bsol;u0034
2221.0000.0000.0009 4111.1111. 5018-0000- 2720 3782.822463.10005 411111111111x 41111111111.
0. 0.1 0.411111111111 a1b2c3d4e5f6 deadbeefdeadbeefdeadbeefdeadbee
abcdef01-abcd-abcd-abcd- abcdef01-abcd-abcd-abcd-abcdef012345 12345678-1234-1234-1234-
cvv cvv= cvv:123 card card_cvv null [ { [1 {} ["4"] {"cvv":1} {"a":
"""
_MARKS = "\n\t\x01\u00a0\u00b7\u200b\u2013\u0664\u00e9\U0001f4b3\u00c2"
PARTS = (
    *_WORDS.split(),
    *_MARKS,
    " ",
    "   ",
    "\u00c2\u00a0",
    "\u00ef\u00bc\u0094",
    "4\u200b",
    "4111\u00a0",
    "4\u4e2d",
)
"""What the patterns look for, and what is nearly that."""

CARD = "4111111111111111"  # something to cut, so that the body is written anew


class _Table(fields.AlertSchema):
    case_number = fields.Identifier(data_key="case.number", required=True)


def _provider(form: str) -> Provider:
    return Provider(
        title="Acme",
        name="acme",
        proof=Basic(),
        event_id=("id",),
        event_type="kind",
        events={"*": opens(_Table)},
        formats=(form,),
    )


JSON, FORM, XML = map(_provider, ("json", "form", "xml"))


def _times(unit: str, size: int) -> str:
    """Repeat a unit up to a number of bytes."""
    return unit * (size // len(unit.encode()))


def _json(tree: object) -> str:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


def _inside(unit: str, size: int, depth: int = 1) -> str:
    """Repeat a unit up to a number of bytes of JSON, or of JSON in JSON."""
    written, nothing = unit, ""
    for _ in range(depth):
        written, nothing = _json(written), _json(nothing)
    return unit * (size // len(written.encode()[len(nothing) :]))


def _items(unit: str, size: int) -> str:
    """Return JSON texts, behind commas, up to a number of bytes."""
    return _times(f",{_json(unit)}", size)


def _at_least(unit: str, length: int) -> str:
    return unit * (length // len(unit) + 1)


def _numbered(unit: str, size: int, write: Callable[[str, int], str]) -> str:
    """Return what is written for each number, up to a number of bytes."""
    count = size // len(write(unit, size).encode())
    return "".join(write(unit, number) for number in range(count))


def _parts(unit: str, size: int) -> str:
    """Repeat a unit of XML as often as a document may have one, and fill it up."""
    some = unit * min(size // len(unit.encode()), MAX_XML_PARTS // (unit.count("<") + unit.count("=")) - 1)
    return some + "4 " * ((size - len(some.encode())) // 2)


def _in_xml(unit: str) -> str:
    return escape("".join(one for one in unit if one >= " " or one in "\n\t"))


PLACES: dict[str, tuple[Provider, Callable[[str, int], str]]] = {
    "a value": (JSON, lambda u, n: _json({"a": _inside(u, n)})),
    "a value beside a card": (JSON, lambda u, n: _json({"a": _inside(u, n), "b": CARD})),
    "a value of ever new escapes": (
        JSON,
        lambda u, n: _json({"a": _numbered(u, n * 5 // 6, lambda u, i: f"{u}{i:04x}"), "b": CARD}),
    ),
    "a value that is escaped once": (JSON, lambda u, n: _json({"a": _times(quote(u, ""), n), "b": CARD})),
    "a name": (JSON, lambda u, n: _json({_inside(u, n): CARD})),
    "short values": (JSON, lambda u, n: f'["{CARD}"{_items(u, n)}]'),
    "values": (JSON, lambda u, n: f'["{CARD}"{_items(_at_least(u, 12), n)}]'),
    "card fields": (JSON, lambda u, n: f'{{"card":["{CARD}"{_items(_at_least(u, 12), n)}]}}'),
    "names": (
        JSON,
        lambda u, n: (
            f'{{"a":"{CARD}"{_numbered(u, n, lambda u, i: f",{_json(_at_least(u, 8) + str(i))}:1")}}}'
        ),
    ),
    "one name": (JSON, lambda u, n: f'{{"a":"{CARD}"{_times(f",{_json(u)}:1", n)}}}'),
    "objects": (JSON, lambda u, n: f'["{CARD}"{_times(f",{_json({u: u})}", n)}]'),
    "objects that repeat a name": (
        JSON,
        lambda u, n: f'["{CARD}"{_times(f",{{{_json(u)}:1,{_json(u)}:[1]}}", n)}]',
    ),
    "bare values": (JSON, lambda u, n: f'["{CARD}"{_times(f",{u}", n)}]'),
    "depth": (JSON, lambda u, n: '{"a":[' * 30 + _json(_inside(u, n)) + "]}" * 30),
    "JSON in a value": (JSON, lambda u, n: _json([_json([_inside(u, n, 2), CARD])])),
    "JSON in values": (JSON, lambda u, n: f'["{CARD}"{_items(_json([u]), n)}]'),
    "nearly JSON in values": (JSON, lambda u, n: f'["{CARD}"{_items(f"[{u}]", n)}]'),
    "no JSON": (JSON, lambda u, n: "{" + _times(u, n)),
    "no JSON with a card": (JSON, lambda u, n: f"{{{CARD} {_times(u, n)}"),
    "no UTF-8": (JSON, lambda u, n: "{\udce9" + _times(u, n)),
    "a form's value": (FORM, lambda u, n: f"a={_times(quote_plus(u), n)}&b={CARD}"),
    "a form's fields": (FORM, lambda u, n: f"b={CARD}" + _times(f"&a={quote_plus(_at_least(u, 140))}", n)),
    "a form's names": (
        FORM,
        lambda u, n: f"b={CARD}" + _numbered(u, n, lambda u, i: f"&{quote_plus(_at_least(u, 140))}{i}=1"),
    ),
    "an element": (XML, lambda u, n: f"<a><b>{_times(_in_xml(u) or 'x', n)}</b>{CARD}</a>"),
    "an element of CDATA": (
        XML,
        lambda u, n: f"<a><![CDATA[{_times(u if ']' not in u and u != chr(1) else 'x', n)}]]>{CARD}</a>",
    ),
    # Its letters may look like the beginning of a comment.
    "UTF-16": (XML, lambda u, n: f"<a>{_times(_in_xml(u) + chr(0x3C21) + chr(0x2D2D), n)}{CARD}</a>"),
    "elements": (XML, lambda u, n: f"<a>{_parts(f'<b>{_in_xml(u)}</b>', n)}{CARD}</a>"),
    "attributes": (
        XML,
        lambda u, n: f"<a>{_parts(f'<b c={quoteattr(u.replace(chr(1), chr(9)))}/>', n)}{CARD}</a>",
    ),
    "names of attributes": (
        XML,
        lambda u, n: f"<a {_numbered(u, n, lambda u, i: f'_{i}={quoteattr(u.replace(chr(1), chr(9)))} ')}/>",
    ),
    "an element that is escaped twice": (
        XML,
        lambda u, n: f"<a><b>{_times(escape(escape(escape(_in_xml(u)))) or 'x', n)}</b>{CARD}</a>",
    ),
    "JSON of UTF-16 that ends early": (
        JSON,
        lambda u, n: f'{{"a":"{CARD}","b":"{_times(u, n // 2)}',
    ),
    "JSON of UTF-32 that ends early": (
        JSON,
        lambda u, n: f'{{"a":"{CARD}","b":"{_times(u, n // 4)}',
    ),
    "comments": (XML, lambda u, n: f"<a>{_times(f'<!--{_in_xml(u)}-->'.replace('--->', '-->'), n)}</a>"),
}


def body(place: str, parts: tuple[str, ...], size: int) -> bytes:
    """Return a body of about a size that has parts by turns in a place."""
    text = PLACES[place][1]("".join(parts), size)
    for codec in ("utf-16", "utf-32"):
        if codec.upper() in place:
            return text.encode(codec)
    return text.encode("utf-8", "surrogateescape")
