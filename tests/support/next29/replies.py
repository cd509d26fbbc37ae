"""What a call asks of the stand-in, and what it answers: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One call that was admitted: the store's part of it, after the listener's."""

    url: str  # absolute and without its query: the pages' links begin with it
    query: Mapping[str, list[str]] = field(default_factory=dict)
    body: object = None  # parsed JSON
    hidden_for: float = 0.0  # seconds during which no list shows what is created
    loose: bool = False  # case_number filters nothing


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; a body of None is no body at all."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The store says no, in the form of Django REST framework."""

    def __init__(self, status: int, body: object, **headers: str) -> None:
        super().__init__(status, body)
        self.reply = Reply(status, body, headers)

    @classmethod
    def of_call(cls, status: int, detail: str, **headers: str) -> Refusal:
        """A refusal of the whole call: {"detail": "..."}."""
        return cls(status, {"detail": detail}, **headers)

    @classmethod
    def of_fields(cls, errors: Mapping[str, list[str]]) -> Refusal:
        """A refusal of some fields: {"field": ["...", ...]}."""
        return cls(400, dict(errors))
