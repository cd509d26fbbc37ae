"""`bridge.toml` as checked tables: each mistake is noted with its key and what is expected. Pure."""

from __future__ import annotations

import json
import re
import tomllib
import typing
from collections.abc import Mapping
from datetime import timedelta

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
SECRET_WORDS = re.compile(r"secret|token|password|api_?key", re.IGNORECASE)
DURATION = re.compile(r"0*[1-9][0-9]{0,3}[mhd]", re.ASCII)
NO_SECRETS = "no secret stands in this file, but in a variable of the environment"


class Section:
    """One table of the file. Readers return None for what is missing or wrong, and note the latter."""

    def __init__(
        self, values: Mapping[str, typing.Any], problems: list[str], file: str, key: str = ""
    ) -> None:
        self.values = values
        self.problems = problems
        self.file = file
        self.key = key

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def wrong(self, name: str, said: str) -> None:
        """Note what is wrong with a key of this table, or with the table itself (no name)."""
        problem = f"{self.file}: {self._key(name) if name else self.key}: {said}"
        if problem not in self.problems:  # several may read the same key
            self.problems.append(problem)

    def only(self, *names: str) -> None:
        """Note every key that is none of the names."""
        for name in sorted(set(self.values) - set(names)):
            secret = f" ({NO_SECRETS})" if SECRET_WORDS.search(name) else ""
            self.wrong(name, f"unknown{secret}; expected one of {', '.join(names)}")

    def words(self) -> Iterator[str]:
        """Return the keys where they are a sender's words, of which upper and lower case are the same."""
        seen: set[str] = set()
        for name in self.values:
            if name.lower() in seen:
                self.wrong(name, "named twice, for upper and lower case are the same")
            seen.add(name.lower())
            yield name

    def text(
        self,
        name: str,
        expected: str = "text",
        *,
        fits: Callable[[str], object] = bool,
        required: bool = False,
        empty: bool = False,
    ) -> str | None:
        """Return a text that fits; the value itself is never shown, for it may be a misplaced secret."""
        value = self.values.get(name)
        if value is None:
            if required:
                self.wrong(name, f"missing; expected {expected}")
            return None
        if not isinstance(value, str):
            self.wrong(name, f"expected {expected}, in quotes")
            return None
        if not (value.strip() or empty) or not value.isprintable() or not fits(value):
            self.wrong(name, f"expected {expected}")
            return None
        return value

    def word(self, name: str, words: Iterable[str], default: str | None = None) -> str | None:
        """Return one of the words."""
        known = tuple(words)
        return self.text(name, f"one of {', '.join(known)}", fits=known.__contains__) or default

    def texts(
        self, name: str, expected: str, *, fits: Callable[[str], object] = bool
    ) -> tuple[str, ...] | None:
        """Return a list of texts that fit."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(one, str) and fits(one) for one in value):
            self.wrong(name, f"expected {expected}")
            return None
        return tuple(value)

    def truth(self, name: str) -> bool:
        """Return whether something is switched on."""
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            self.wrong(name, "expected true or false")
        return value is True

    def duration(self, name: str, *, least: timedelta = timedelta(minutes=1)) -> timedelta | None:
        """Return a length of time."""
        text = self.text(name, 'a time such as "20h", "90m" or "3d"', fits=DURATION.fullmatch)
        if text is None:
            return None
        unit = {"m": "minutes", "h": "hours", "d": "days"}[text[-1]]
        length = timedelta(**{unit: int(text[:-1])})
        if length < least:
            self.wrong(name, f"expected at least {least.days} days")
            return None
        return length

    def section(self, name: str, *, required: bool = False) -> Section:
        """Return the table below a key, empty where there is none."""
        value = self.values.get(name)
        if value is None and required:
            self.wrong(name, "missing; expected a table")
        elif value is not None and not isinstance(value, Mapping):
            self.wrong(name, "expected a table")
        values = value if isinstance(value, Mapping) else {}
        return Section(values, self.problems, self.file, self._key(name))

    def sections(self) -> Iterator[tuple[str, Section]]:
        """Return each key with the table below it."""
        for name in self.values:
            if isinstance(self.values[name], Mapping):
                yield name, self.section(name)
            else:
                self.wrong(name, "expected a table")

    def rows(self, name: str) -> Iterator[Section]:
        """Return the tables of a list, such as `[[routes]]`."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
            self.wrong(name, f"expected [[{name}]] tables")
            return
        for number, row in enumerate(value, 1):
            yield Section(row, self.problems, self.file, f"{self._key(name)}[{number}]")

    def _key(self, name: str) -> str:
        quoted = name if BARE_KEY.fullmatch(name) else json.dumps(name)
        return f"{self.key}.{quoted}" if self.key else quoted


def parse(content: bytes, file: str, problems: list[str]) -> Section:
    """Parse a file's content; an empty table where it is no TOML."""
    values: Mapping[str, typing.Any] = {}
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{file}: not TOML: {error}")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(f"{file}: not UTF-8 (at line {line})")
    return Section(values, problems, file)
