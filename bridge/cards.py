"""Finds card numbers in texts, and cuts them. Pure.

This is a card number:

* 13 to 19 digits in an issuer's range with a valid check digit, or the 12 of a Maestro card.
* Blanks, dashes and `+` may part groups of any size. Invisible characters do not count.
* Line ends, middle dots and `. , : / _` part the digits of dates, amounts and addresses as well, so
  they part only groups as cards show them: 4-4-4-4 (the last may be shorter, or a fifth), 4-6-5, 4-6-4.
* Digits, and what parts them, may be escaped as in JSON, URLs and HTML, one in another up to three deep.
* They may also be bytes of UTF-8 that were read as Latin-1 or Windows-1252, which senders mix up.

The digits of UUIDs, of digests (32, 40, 64 or 128 hexadecimal digits, with letters among them), of a fraction
behind `0.`, and of numbers that are cut already, are no part of one.

The time depends on the length of a text alone, whatever stands in it.
"""

from __future__ import annotations

import re
import typing
from contextlib import suppress
from functools import cache, lru_cache, reduce
from html.entities import html5
from itertools import chain, compress, islice
from operator import and_

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CUT = "[cut]"
"""What stands where a secret was."""
SHORTEST, LONGEST = 12, 19
_STARS = "*" * (LONGEST - 10)

# Surrogates are bytes that are no UTF-8, as Latin-1 and Windows write these characters.
_INVISIBLE = (
    r"\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffc"
    r"\U000e0000-\U000e01ef\udcad"
)
_BLANKS = (
    r" \t\x0b\x0c\xa0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\udca0"
    r"+\u058a\u2010-\u2015\u2043\u207b\u2212\u2e3a\u2e3b\u301c\u3030\ufe58\ufe63\uff0d\udc96\udc97\-"
)
_POINTS = (
    r".,:/_\n\r\x85\u2028\u2029\xb7\u2022\u2027\u2044\u2215\u2219\u22c5\u30fb\uff0c\uff0e\uff0f\uff1a\uff3f"
    r"\udc95\udcb7"
)
_PARTING = _INVISIBLE + _BLANKS + _POINTS
# UTF-8 that was read as another charset: its bytes by the characters that they were taken for.
_WINDOWS = {ord(bytes((code,)).decode("cp1252", "ignore") or chr(code)): code for code in range(0x80, 0xA0)}
_LATIN_9 = {ord(bytes((code,)).decode("iso-8859-15")): code for code in range(0xA0, 0xC0)}
_BEHIND = r"\x80-\xbf" + "".join(map(chr, sorted({*_WINDOWS, *_LATIN_9} - {*range(0xC0)})))
_PART = re.compile(rf"[\d{_PARTING}]")
_FOREIGN = re.compile(rf"[^\0-\x7f\d{_PARTING}]")
# The percent sign may be escaped itself, and so may an ampersand. One set in front is found fastest, and then
# what may stand there most often.
_NEXT_BYTE = "%(?:25){0,3}[89abAB][HEX]"
_ESCAPE = re.compile(
    r"([\\%&\xc2-\xf4](?![%&])(?:"
    r"(?<=%)(?:25(?=[HEX]{2})){0,3}+(?:[0-7][HEX]|[cdCD][HEX]NEXT|[eE][HEX]NEXTNEXT|[fF][0-7]NEXTNEXTNEXT|[HEX]{2})"
    r"|(?i:(?<=&)(?=#[\dx]|[a-z])(?:amp;){0,3}(?:#x0{0,64}[0-9a-f]{1,6}|#0{0,64}[0-9]{1,7}|[a-z]{2,20}(?=;));?"
    r"|(?<=\\)(?<!\\\\)\\{0,63}(?:u(?:d[89ab][0-9a-f]{2}\\{1,64}ud[c-f][0-9a-f]{2}|[0-9a-f]{4})|[nrtfb/]))"
    r"|(?<=[\xc2-\xdf])[BEHIND]|(?<=[\xe0-\xef])[BEHIND]{2}|(?<=[\xf0-\xf4])[BEHIND]{3}))".replace(
        "NEXT", _NEXT_BYTE
    )
    .replace("HEX", "0-9a-fA-F")
    .replace("BEHIND", _BEHIND)
)
# What may be an escape that was escaped itself, once that is undone.
_NESTED = re.compile(
    rf"[\\%&\xc2-\xf4](?![%&])(?:(?<=%)[\da-fA-F]{{2}}|(?<=&)(?:#[\dxX]|[a-zA-Z]{{2}})"
    rf"|(?<=\\)[unrtfbUNRTFB/]|(?<![\\%&])[{_BEHIND}])"
)
# What may hold a number that is escaped so, and what each digit of it takes at least.
_STRETCH = re.compile(rf"[^|]{{{SHORTEST},}}")
_WORTH_A_LOOK = re.compile(
    rf"(?s:(?>.*?(?:\d|[\\%&\xc2-\xf4](?![%&])(?:(?<=%)[\da-fA-F]{{2}}|(?<=&)(?:#[\dxX]|[a-zA-Z]{{2}})"
    rf"|(?<=\\)[unrtfbUNRTFB/]|[{_BEHIND}]))){{{SHORTEST}}})"
)
_MEANT = re.compile(rf"[\0-\xff{_BEHIND}\d{_PARTING}]")  # part of a number, or of another escape
_DEEPEST = 3
_LAST = 0x10FFFF  # of all characters
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "b": "\b", "/": "/"}
_FILLER, _MARK = "\0", "|"  # what does not count; and what is no part of a number, nor of an escape

LETTERS = 6  # of a digest, at least: a number in hexadecimal notation of another kind has fewer
_DIGEST = re.compile(
    rf"\b(?=(?:[0-9]*+[a-f]){{{LETTERS}}})(?:[0-9a-f]{{128}}|[0-9a-f]{{64}}|[0-9a-f]{{40}}|[0-9a-f]{{32}})\b",
    re.IGNORECASE,
)
_HEXADECIMAL = bytes.maketrans(b"123456789abcdefABCDEF", b"0" * 21)
_LONG_AS_A_DIGEST = re.compile(b"0" * 32 + b"0*+")  # finds them many times as fast
# Others whose digits belong to nothing else: a pattern, and how many characters before it are of it too.
_NO_CARDS = (
    (re.compile(r"-(?<=[\da-f]{8}.)(?<!\w.{9})(?:[\da-f]{4}-){3}[\da-f]{12}(?!\w)", re.IGNORECASE), 8),
    (re.compile(r"\.(?<=0.)(?<![\w.,:/]0.)\d{12,}+(?![\w.])"), 1),
    (re.compile(r"\*(?<=\d{6}.)(?<!\d{7}.)\*{2,8}\d{4}(?!\d)"), 6),
)
# The following read what `_shape` writes.
_TOO_WIDE = re.compile(rb"[-.][-.]{3,}")  # one set in front is found fastest
_AS_ON_CARDS = re.compile(
    rb"\d{4}[-.](?<!\d.{5})(?:\d{4}(?:[-.]\d{4})+(?:[-.]\d{1,3})?|\d{6}[-.]\d{4,5})(?!\d)"
)
# How issuers' ranges begin: by one digit, or by one of eight longer prefixes, each a bit of a byte.
_TELLING = b"456"
_RANGES = [
    prefix.split()
    for prefix in (
        "2 2 0 01234",
        "2 2 23456789",
        "2 3456",
        "2 7 01",
        "2 7 2 0",
        "3 0 0123459",
        "3 456789",
        "8 12",
    )
]


def _allowed(place: int, digit: str) -> int:
    """Returns the bits of the ranges that may have a digit in a place."""
    return sum(
        1 << bit for bit, prefix in enumerate(_RANGES) if place >= len(prefix) or digit in prefix[place]
    )


_ALLOWED = [bytes(_allowed(place, chr(code)) for code in range(256)) for place in range(4)]
# Twelve digits stand in one piece, or alone as 4-4-4. Banks' references of 2026 begin with 60 to 63.
_MAESTRO = re.compile(
    rb"[56](?<!\d.)(?:(?<=5)(?=[0678])|(?<=6)(?=304|[4-9]))(?=\d{11}(?!\d)|(?<=\|.)\d{3}-\d{4}-\d{4}\|)"
)
_DIGITS = b"0123456789"
_NOT_ZERO = bytes(range(1, 256))
_ENOUGH = b"0" * SHORTEST
_LONG_ENOUGH = re.compile(rb"[^|]{%d,}" % SHORTEST)
_ZEROS = bytes.maketrans(_DIGITS, b"0" * 10)
_SINGLE = bytes.maketrans(_DIGITS, bytes(range(10)))
_DOUBLED = bytes.maketrans(_DIGITS, bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))  # twice, and its digits' sum
_TENS = bytes(range(0, 256, 10))
_KEPT = bytes(code > 0 for code in range(256))


def masked(digits: str) -> str:
    """Writes a card number the one way: first six, stars, last four."""
    return f"{digits[:6]}{_STARS[: max(len(digits) - 10, 3)]}{digits[-4:]}"


def cut_text(text: str) -> str:
    """Returns a text with every stretch that looks like a card number cut, escapes or not."""
    if len(text) < SHORTEST:
        return text
    text = _with_cuts(text, _numbers_in(text))
    return _with_cuts(text, sorted(_escaped_numbers(text)))


def cut_texts(texts: list[str]) -> list[str]:
    """Cuts many texts at once, which costs little more than one."""
    joined = _MARK.join(texts)
    cut = cut_text(joined)
    if cut == joined:
        return texts
    pieces = iter(cut.split(_MARK))
    return [
        next(pieces) if _MARK not in text else _MARK.join(islice(pieces, text.count(_MARK) + 1))
        for text in texts
    ]


def _with_cuts(text: str, cuts: Iterable[tuple[int, int, str]]) -> str:
    """Puts something else in the places of a text that are named by where they begin and end."""
    pieces = []
    done = 0
    for start, end, instead in cuts:
        pieces += [text[done:start], instead]
        done = end
    return "".join(pieces) + text[done:]


def _escaped_numbers(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields where a text has card numbers once its escapes are undone, and those that then come to light."""
    plain = text
    steps: list[tuple[bytes, list[tuple[int, int]]]] = []  # how what is plain now came from the text
    for _ in range(_DEEPEST):
        pieces = _ESCAPE.split(plain)
        if len(pieces) == 1:
            return
        pieces[1::2] = map(_meaning, pieces[1::2])
        plain = "".join(pieces)
        found = list(_numbers_in(plain))
        if found:
            places = _places(len(text), steps)
            yield from ((places[start], places[end], cut) for start, end, cut in found)
            plain = _with_cuts(plain, ((start, end, _MARK * (end - start)) for start, end, _ in found))
        kept = plain.encode("ascii", "replace").translate(_KEPT)
        plain = plain.replace(_FILLER, "")
        if not _NESTED.search(plain):
            return
        stretches = [match.span() for match in _STRETCH.finditer(plain) if _WORTH_A_LOOK.match(match[0])]
        steps.append((kept, stretches))
        plain = _MARK.join(plain[start:end] for start, end in stretches)


def _places(length: int, steps: list[tuple[bytes, list[tuple[int, int]]]]) -> Sequence[int]:
    """Returns where the characters left by some steps stood in a text; only a found number needs this."""
    places: Sequence[int] = range(length + 1)
    for kept, stretches in steps:
        shorter = [*compress(places, kept), places[-1]]
        places = [place for start, end in stretches for place in shorter[start : end + 1]]
    return places


@lru_cache(1024)
def _meaning(escape: str) -> str:
    """Returns the character that an escape means, or a mark if that is none; as long as the escape."""
    if escape[0] == "\\":
        name = escape.lstrip("\\")
        if len(name) > 5:
            character = bytes.fromhex(name[1:5] + name[-4:]).decode("utf-16-be")
        else:
            character = chr(int(name[1:], 16)) if len(name) > 1 else _LETTERS[name.lower()]
    elif escape[0] == "%":
        code = bytes.fromhex(re.sub("%(?:25)*(?=..)", "", escape))
        character = code.decode("utf-8", "surrogateescape")
    elif escape[0] == "&":
        name = escape.rstrip(";").rpartition(";")[2].lstrip("&")
        if name[0] == "#":
            number = int(f"0{name[1:]}", 16) if name[1] in "xX" else int(name[1:])
            character = chr(number) if number <= _LAST else ""
        else:
            character = html5.get(f"{name};", "")
    else:
        character = _misread(escape)
    return (character if _MEANT.fullmatch(character) else _MARK).ljust(len(escape), _FILLER)


def _misread(text: str) -> str:
    """Returns the character whose UTF-8 was read as another charset, if it may be part of a number."""
    for charset in (_WINDOWS, _LATIN_9):
        with suppress(UnicodeError):
            character = text.translate(charset).encode("latin-1").decode()
            if _PART.fullmatch(character):
                return character
    return ""


def _numbers_in(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields where a text has card numbers, with the rest of an escape behind them, and what to put there.

    Those that overlap are one.
    """
    classes = _classes(text)
    if _ENOUGH not in classes.translate(_ZEROS, b"-.\0"):  # whatever parts them
        return
    for start, end in _of_others(text):
        classes[start:end] = _MARK.encode() * (end - start)
    stretches = list(_LONG_ENOUGH.finditer(classes))  # the rest is left alone
    kept = b"|".join(stretch[0] for stretch in stretches)
    shape = _shape(kept)
    if _ENOUGH not in shape.translate(_ZEROS, b"-"):
        return
    digits = shape.translate(None, b"-|")
    together = _together(shape, digits)
    if not together:
        return
    edges = (together ^ together << 8).to_bytes(len(digits), "big")  # the first and the last of each number
    places = chain.from_iterable(range(stretch.start(), stretch.end() + 1) for stretch in stretches)
    positions = compress(compress(places, kept.translate(_table(_DIGITS))), edges)
    for first, last in zip(positions, positions, strict=True):
        end = last + 1
        number = classes[first:end].translate(None, b"-.\0")
        while text.startswith(_FILLER, end):
            end += 1
        yield first, end, masked(number.decode())


class _Classes(dict[int, str]):
    """Says of a character what it is to a number: a digit, `-`, `.`, a filler, or a mark for all else."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = str(int(character)) if character.isdecimal() else _MARK
        for name, characters in (("-", _BLANKS), (".", _POINTS), (_FILLER, _INVISIBLE)):
            if re.match(f"[{characters}]", character):
                kind = name
        self[code] = kind
        return kind


_CLASS_OF = _Classes()


def _classes(text: str) -> bytearray:
    """Returns the class of each character of a text."""
    known = text if text.isascii() else _FOREIGN.sub(_MARK, text)
    return bytearray(known.translate(_CLASS_OF), "ascii")


def _of_others(text: str) -> Iterator[tuple[int, int]]:
    """Yields where a text has digits that belong to something else."""
    for pattern, before in _NO_CARDS:
        for match in pattern.finditer(text):
            yield match.start() - before, match.end()
    for run in _LONG_AS_A_DIGEST.finditer(text.encode("ascii", "replace").translate(_HEXADECIMAL)):
        if digest := _DIGEST.match(text, run.start()):
            yield digest.span()


def _shape(classes: bytes) -> bytes:
    """Returns the digits of a text, with `-` where groups may belong to one number, and `|` where not."""
    shape = _TOO_WIDE.sub(b"|", b"|%b|" % classes.replace(b"\0", b""))
    for wide, narrow in 2 * ((b"--", b"-"), (b"-.", b"."), (b".-", b"."), (b"..", b".")):
        shape = shape.replace(wide, narrow)
    if b"." in shape:
        shape = _AS_ON_CARDS.sub(lambda groups: groups[0].replace(b".", b"-"), shape)
    return shape.replace(b".", b"|")


def _together(shape: bytes, digits: bytes) -> int:
    """Returns a row that has 1 for each digit that belongs to a card number with the digit before it.

    All lengths are tried everywhere at once, so that no text is slow. A row is an integer with a byte
    for each digit. Shifted by some bytes, and added, it adds to each digit one that stands before it:
    so come the check sums of all numbers of a length. That of 19 digits does not overflow its byte.
    """
    zeros = shape.translate(_ZEROS).replace(b"|-", b"|")  # a blank behind something else joins nothing
    # Of each digit what is before it: `b` for a blank, `a` for all that parts numbers, `0` for a digit.
    begun = zeros.replace(b"-0", b"b").replace(b"|0", b"a").translate(None, b"-|")
    first, apart = _row(begun, b"ab"), _row(begun, b"a")
    last = first << 8 | 1  # a group ends where the next one begins
    issuers = first & _issuers(digits)
    maestros = _row(_MAESTRO.sub(b"i", shape).translate(None, b"-|"), b"i")
    single, doubled = (int.from_bytes(digits.translate(table), "big") for table in (_SINGLE, _DOUBLED))
    sums, torn = single, 0
    ends = {}
    for length in range(2, LONGEST + 1):
        shift = 8 * (length - 1)
        sums += (single if length % 2 else doubled) >> shift
        torn |= apart >> shift - 8
        if length >= SHORTEST:
            ends[length] = last & ~torn & ((issuers if length > SHORTEST else maestros) >> shift)
            if ends[length]:
                ends[length] &= _row(sums.to_bytes(len(digits), "big"), _TENS)
    together = reaching = 0  # back from the ends: how far each reaches
    for length in range(LONGEST, 1, -1):
        reaching |= ends.get(length, 0)
        together = together << 8 | reaching
    return together


def _issuers(digits: bytes) -> int:
    """Returns a row that has 1 where an issuer's range begins."""
    bits = (int.from_bytes(digits.translate(table), "big") << 8 * at for at, table in enumerate(_ALLOWED))
    return _row(digits, _TELLING) | _row(reduce(and_, bits).to_bytes(len(digits), "big"), _NOT_ZERO)


@cache
def _table(characters: bytes) -> bytes:
    """Returns a table that turns some bytes into 1, all others into 0."""
    return bytes(code in characters for code in range(256))


def _row(text: bytes, characters: bytes) -> int:
    """Returns a row that has 1 where a text has one of some characters."""
    return int.from_bytes(text.translate(_table(characters)), "big")
