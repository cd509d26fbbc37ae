"""Readers for the values of `bridge.toml`, on marshmallow, and a line for each mistake. Pure.

A reader takes a value, and returns what it means or raises ValidationError with what is expected. No
message quotes the value, which may be a secret in the wrong place.
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
    """Returns the valid part of the data, and adds a line for each mistake to the problems."""
    try:
        return dict(schema.load(typing.cast("Mapping[str, typing.Any]", data)))
    except ValidationError as error:
        problems += [f"{file}: {line}" if file else line for line in lines(error.messages)]
        return typing.cast("dict[str, typing.Any]", error.valid_data or {})


def lines(messages: object, path: str = "") -> Iterator[str]:
    """Yields each message after the path of its value, such as `routes[1].store`."""
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
    """A table of the file. An unknown key is a mistake."""

    error_messages = {"type": A_TABLE}  # noqa: RUF012  as marshmallow declares it
    elsewhere: typing.ClassVar[Mapping[str, str]] = {}
    """Messages for keys that only other tables have."""

    class Meta:
        unknown = RAISE

    def handle_error(
        self, error: ValidationError, data: typing.Any, *, many: bool, **kwargs: typing.Any
    ) -> None:
        """Replaces the messages of unknown keys with ones that list the expected keys."""
        if isinstance(data, Mapping):
            keys = [a_field.data_key or name for name, a_field in self.load_fields.items()]
            unknown = {name: [self._unknown(name, keys)] for name in sorted(set(data) - set(keys))}
            others = {name: text for name, text in error.messages_dict.items() if name not in unknown}
            error.messages = others | unknown

    def _unknown(self, name: str, keys: list[str]) -> str:
        if name in self.elsewhere:
            return self.elsewhere[name]
        hint = NO_SECRETS if SECRET_WORDS.search(name) else ""
        return f"unknown{hint}; expected one of {', '.join(keys)}{nearest(name, keys)}"


def key(
    read: Reader, name: str | None = None, *, default: typing.Any = missing, absent: str = ""
) -> Field[typing.Any]:
    """Returns the field of a key. `absent` is the message if a required key is missing."""
    return Function(
        deserialize=read,
        data_key=name,
        load_default=default,
        required=bool(absent),
        error_messages={"required": absent},
    )


def table(fields: Mapping[str, Field[typing.Any]]) -> Reader:
    """Returns the reader of a table with these keys."""
    return Table.from_dict(dict(fields))().load


def read_with(mistakes: Mapping[str, typing.Any], read: Reader, value: object) -> typing.Any:
    """Reads a value in which some mistakes are known already. Raises them together with those of `read`."""
    try:
        result = read(value)
    except ValidationError as error:
        more = error.messages if isinstance(error.messages, dict) else {SCHEMA: error.messages}
        raise ValidationError({**mistakes, **more}, valid_data=error.valid_data) from None
    if mistakes:
        raise ValidationError(dict(mistakes), valid_data=result)
    return result


def mapping(read: Callable[[str, typing.Any], typing.Any], example: str = "") -> Reader:
    """Returns the reader of a table with any keys, which calls `read` with each key and its value.

    With an example of what is expected, the table must not be empty.
    """

    def load(value: object) -> dict[str, typing.Any]:
        if not isinstance(value, Mapping) or (example and not value):
            raise ValidationError(f"expected {example}" if value == {} else A_TABLE)
        right, wrong = dict[str, typing.Any](), dict[str, typing.Any]()
        for name, item in value.items():
            try:
                if name.lower() in map(str.lower, right):
                    raise ValidationError("duplicate key (keys are case-insensitive)")
                right[name] = read(name, item)
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
    """Returns the reader of a text that `read` takes. `read` raises ValueError or LookupError for others.

    For any other text the message names the nearest of the `words`.
    """

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


def nearest(word: str, words: Collection[str]) -> str:
    """Returns a question that suggests the most similar of the words, or nothing if none is similar."""
    matches = difflib.get_close_matches(word.lower(), list(words), 1, 0.7)
    return f" (did you mean {matches[0]}?)" if matches else ""


def fitting(fits: Callable[[str], object]) -> Callable[[str], str]:
    """Returns a function that returns a text if it fits, and raises ValueError otherwise."""

    def read(text: str) -> str:
        if not fits(text):
            raise ValueError(text)
        return text

    return read


def one_of(words: Mapping[str, typing.Any] | Collection[str], *, empty: bool = False) -> Reader:
    """Returns the reader of one of the words, or of what it maps to. With `empty`, "" is read as None."""
    values = dict(words) if isinstance(words, Mapping) else {word: word for word in words}
    read = {**values, "": None} if empty else values
    return text(f"one of {', '.join(values)}", read.__getitem__, words=values, empty=empty)


def texts(expected: str, read: Callable[[str], typing.Any] = str) -> Reader:
    """Returns the reader of a list of texts that `read` takes."""

    def load(value: object) -> tuple[typing.Any, ...]:
        try:
            if isinstance(value, list):
                return tuple(text(expected, read)(item) for item in value)
        except ValidationError:
            pass
        raise ValidationError(f"expected {expected}")

    return load


def boolean(value: object) -> bool:
    """Reads true or false."""
    if not isinstance(value, bool):
        raise ValidationError("expected true or false")
    return value


def duration(days: int = 0, *, example: str = '"20h", "90m" or "3d"') -> Reader:
    """Returns the reader of a duration of at least so many days; in seconds only if the example is."""

    def read(text: str) -> timedelta:
        number, unit = fitting(DURATION.fullmatch)(text)[:-1], UNITS[text[-1]]
        if unit == "seconds" and 's"' not in example:
            raise ValueError(text)
        length = timedelta(**{unit: int(number)})
        if length < timedelta(days=days):
            raise ValidationError(f"expected at least {days} days")
        return length

    return text(f"a time such as {example}", read)
