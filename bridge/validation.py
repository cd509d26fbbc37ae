"""Marshmallow in our words: what a table of `bridge.toml` may hold, and a line for each mistake. Pure.

A kind of value is a reader: it returns what a value means, or raises ValidationError with what is
expected. The value is never shown, for it may be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
import json
import re
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta

from marshmallow import RAISE, Schema, ValidationError, missing
from marshmallow.exceptions import SCHEMA
from marshmallow.fields import Field, Function

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
SECRET_WORDS = re.compile(r"secret|token|password|api_?key", re.IGNORECASE)
DURATION = re.compile(r"0*([1-9][0-9]{0,3})([smhd])", re.ASCII)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
A_TABLE = "expected a table"
NO_SECRETS = " (secrets belong in environment variables, not in this file)"

Reader = Callable[[typing.Any], typing.Any]


def checked(schema: Schema, data: object, problems: list[str], file: str = "") -> dict[str, typing.Any]:
    """Return what is right in the data, and add a line for each mistake to the problems."""
    try:
        return dict(schema.load(typing.cast("Mapping[str, typing.Any]", data)))
    except ValidationError as error:
        problems += [f"{file}: {line}" if file else line for line in lines(error.messages)]
        return typing.cast("dict[str, typing.Any]", error.valid_data or {})


def lines(messages: object, path: str = "") -> Iterator[str]:
    """Yield each message behind the path of its value, such as `routes[1].store`."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from lines(inner, path if key == SCHEMA else _joined(path, key))
    elif isinstance(messages, list):
        yield from (f"{path}: {message}" for message in messages)


def _joined(path: str, key: object) -> str:
    if isinstance(key, int):
        return f"{path}[{key + 1}]"
    name = str(key) if BARE_KEY.fullmatch(str(key)) else json.dumps(key)
    return f"{path}.{name}" if path else name


class Table(Schema):
    """A table of the file. A key that it does not know is a mistake."""

    error_messages = {"type": A_TABLE}  # noqa: RUF012  as marshmallow declares it
    elsewhere: typing.ClassVar[Mapping[str, str]] = {}
    """Why this table does not take a key that others do."""

    class Meta:
        unknown = RAISE

    def handle_error(
        self, error: ValidationError, data: typing.Any, *, many: bool, **kwargs: typing.Any
    ) -> None:
        """Name the keys that were expected in the place of an unknown one."""
        if isinstance(data, Mapping):
            known = [a_field.data_key or name for name, a_field in self.load_fields.items()]
            unknown = {name: [self._unknown(name, known)] for name in sorted(set(data) - set(known))}
            kept = {name: said for name, said in error.messages_dict.items() if name not in unknown}
            error.messages = kept | unknown

    def _unknown(self, name: str, known: list[str]) -> str:
        if name in self.elsewhere:
            return self.elsewhere[name]
        said = f"unknown{NO_SECRETS if SECRET_WORDS.search(name) else ''}"
        return f"{said}; expected one of {', '.join(known)}{nearest(name, known)}"


def key(
    read: Reader, name: str | None = None, *, default: typing.Any = missing, absent: str = ""
) -> Field[typing.Any]:
    """Return the field for a key; `absent` says that it has to be there."""
    return Function(
        deserialize=read,
        data_key=name,
        load_default=default,
        required=bool(absent),
        error_messages={"required": absent},
    )


def table(fields: Mapping[str, Field[typing.Any]]) -> Reader:
    """Return the reader of a table with these keys."""
    return Table.from_dict(dict(fields))().load


def beside(wrong: Mapping[str, typing.Any], read: Reader, value: object) -> typing.Any:
    """Return what is read, unless a mistake in it is known already; all of them are raised together."""
    try:
        found = read(value)
    except ValidationError as error:
        inner = error.messages if isinstance(error.messages, dict) else {SCHEMA: error.messages}
        raise ValidationError({**wrong, **inner}, valid_data=error.valid_data) from None
    if wrong:
        raise ValidationError(dict(wrong), valid_data=found)
    return found


def mapped(read: Callable[[str, typing.Any], typing.Any], example: str = "") -> Reader:
    """Return the reader of a table with any keys: `read` is given each of them and its value.

    With an example of what is expected, the table must not be empty.
    """

    def load(value: object) -> dict[str, typing.Any]:
        if not isinstance(value, Mapping) or (example and not value):
            raise ValidationError(f"expected {example}" if value == {} else A_TABLE)
        right, wrong = dict[str, typing.Any](), dict[str, typing.Any]()
        for name, one in value.items():
            try:
                if name.lower() in map(str.lower, right):
                    raise ValidationError("duplicate key (keys are case-insensitive)")
                right[name] = read(name, one)
            except ValidationError as error:
                wrong[name] = error.messages
                if error.valid_data is not None:
                    right[name] = error.valid_data
        if wrong:
            raise ValidationError(wrong, valid_data=right)
        return right

    return load


def text(
    expected: str,
    read: Callable[[str], typing.Any] = str,
    *,
    words: Collection[str] = (),
    empty: bool = False,
) -> Reader:
    """Return the reader of a text that `read` takes, which raises ValueError or LookupError else."""

    def load(value: object) -> typing.Any:
        if not isinstance(value, str):
            raise ValidationError(f"expected {expected}, in quotes")
        try:
            if value.isprintable() and (value.strip() or empty):
                return read(value)
        except (ValueError, LookupError):
            pass
        raise ValidationError(f"expected {expected}{nearest(value, words)}")

    return load


def nearest(word: str, known: Collection[str]) -> str:
    """Ask for the known word that a mistyped one is most like, if it is like any."""
    found = difflib.get_close_matches(word.lower(), list(known), 1, 0.7)
    return f" (did you mean {found[0]}?)" if found else ""


def that(fits: Callable[[str], object]) -> Callable[[str], str]:
    """Return what takes a text that fits, as it is."""

    def read(given: str) -> str:
        if not fits(given):
            raise ValueError(given)
        return given

    return read


def one_of(words: Mapping[str, typing.Any] | Collection[str], *, empty: bool = False) -> Reader:
    """Return the reader of one of the words, which may stand for something; the empty text is None."""
    known = dict(words) if isinstance(words, Mapping) else {word: word for word in words}
    read = {**known, "": None} if empty else known
    return text(f"one of {', '.join(known)}", read.__getitem__, words=known, empty=empty)


def texts(expected: str, read: Callable[[str], typing.Any] = str) -> Reader:
    """Return the reader of a list of texts that `read` takes."""

    def load(value: object) -> tuple[typing.Any, ...]:
        try:
            if isinstance(value, list):
                return tuple(text(expected, read)(one) for one in value)
        except ValidationError:
            pass
        raise ValidationError(f"expected {expected}")

    return load


def truth(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValidationError("expected true or false")
    return value


def duration(days: int = 0, *, example: str = '"20h", "90m" or "3d"') -> Reader:
    """Return the reader of a length of time, of so many days at least; in seconds only if an example is."""

    def read(given: str) -> timedelta:
        number, unit = that(DURATION.fullmatch)(given)[:-1], UNITS[given[-1]]
        if unit == "seconds" and 's"' not in example:
            raise ValueError(given)
        length = timedelta(**{unit: int(number)})
        if length < timedelta(days=days):
            raise ValidationError(f"expected at least {days} days")
        return length

    return text(f"a time such as {example}", read)
