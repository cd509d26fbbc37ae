"""What past releases said to their databases, so that every later schema is held to still understand it.

A release's code runs on for a while on the database that the next one has migrated, and may be deployed
again. `python -m tests.support.releases` records the present code: a life with alerts of every status,
twice, as the statements that it makes. It is done once, when a version is released; the recordings are
never written anew.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from bridge.storage.database import Database

FOLDER = Path(__file__).parent
Json = dict[str, Any]


@dataclass
class Recording:
    """Statements in their order: the number of the text, its parameters, whether they are many rows."""

    revision: str
    texts: list[str] = field(default_factory=list)
    halves: list[list[tuple[int, Any, bool]]] = field(default_factory=lambda: [[], []])

    def play(self, database: Database, half: int) -> None:
        """Make the statements of one half again, each in a transaction of its own."""
        engine = database.engine.execution_options(writes=True)
        with engine.connect() as connection:
            for number, parameters, many in self.halves[half]:
                given = [_values(one) for one in parameters] if many else _values(parameters)
                with connection.begin():
                    done = connection.exec_driver_sql(self.texts[number], given)
                    if done.returns_rows:
                        done.fetchall()

    @contextmanager
    def listen(self, half: int) -> Iterator[None]:
        """Record what all databases of this process are told; of what is only read, each text once."""
        seen: set[tuple[int, bool]] = set()

        def heard(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, many: bool) -> None:
            if statement.split(maxsplit=1)[0] in ("PRAGMA", "BEGIN"):
                return
            many = many and isinstance(parameters, list)  # rows in one statement's VALUES are one tuple
            if statement not in self.texts:
                self.texts.append(statement)
            number = self.texts.index(statement)
            reads = statement.startswith("SELECT")
            if not (reads and (number, many) in seen):
                seen.add((number, many))
                self.halves[half].append((number, parameters, many))

        event.listen(Engine, "before_cursor_execute", heard)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", heard)

    def save(self, path: Path) -> None:
        """Write it: JSON, a statement a line."""
        lines = [
            json.dumps({"revision": self.revision}),
            *(json.dumps({"text": text}) for text in self.texts),
            *(
                json.dumps({"half": half, "said": said}, default=_plain)
                for half, several in enumerate(self.halves)
                for said in several
            ),
        ]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def load(path: Path) -> Recording:
    """Read a recording."""
    first, *lines = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    made = Recording(first["revision"], [line["text"] for line in lines if "text" in line])
    for line in lines:
        if "said" in line:
            made.halves[line["half"]].append(tuple(line["said"]))
    return made


def versions() -> list[str]:
    """The releases that were recorded, the oldest first."""
    names = (path.name for path in FOLDER.iterdir() if path.is_dir() and path.name[0].isdigit())
    return sorted(names, key=lambda name: tuple(map(int, name.split("."))))


def _plain(value: Any) -> Json:
    return {"bytes": bytes(getattr(value, "obj", value)).decode()}  # psycopg wraps them


def _values(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: _value(value) for name, value in given.items()}
    return tuple(map(_value, given))


def _value(value: Any) -> Any:
    return value["bytes"].encode() if isinstance(value, dict) else value
