"""Splits a webhook that is a batch into its events, which share an envelope. Pure.

A table may read an item's fields at the item and at the root, so each item is joined with the envelope.
That happens when the item is accessed, never for all items at once: a thousand items of a large envelope
would be a thousand copies of it.
"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from bridge import tree as trees
from bridge.tree import Tree

MOST_ITEMS = 1000
"""The limit of items in one webhook."""
MOST_WRITTEN = 256 * 1024
"""Bytes of all copies of an envelope together, up to which `Piece.content` has the envelope itself."""


def steps_of(paths: Iterable[str]) -> frozenset[str]:
    """Returns all keys that may lie on some dotted paths: each step, and each rest of a path."""
    keys = set()
    for path in "|".join(paths).split("|"):
        steps = path.split(".")
        keys |= set(steps) | {".".join(steps[n:]) for n in range(len(steps))}
    return frozenset(keys)


class Envelope:
    """What a batch has for all its items: the other values of each object on the path to their list."""

    def __init__(self, tree: dict[str, Tree], path: str, wanted: Collection[str], count: int) -> None:
        self.count = count
        self.levels: list[tuple[dict[str, Tree], str]] = []
        rest, dot, inner = path, ".", typing.cast("Tree", tree)
        while dot and isinstance(inner, dict):
            step, dot, after = (rest, "", "") if rest in inner else rest.partition(".")
            beside = {name: value for name, value in inner.items() if name != step}
            self.levels.append((beside, step))
            inner, rest = inner.get(step), after
        self.brief = [
            ({name: beside[name] for name in wanted if name in beside}, step) for beside, step in self.levels
        ]

    @cached_property
    def written(self) -> bytes:
        """The envelope as JSON."""
        return trees.render([beside for beside, _ in self.levels])

    @cached_property
    def digest(self) -> str:
        """The digest of the envelope."""
        return hashlib.sha256(self.written).hexdigest()

    @property
    def is_small(self) -> bool:
        """Whether each of its items may have a copy of it."""
        return len(self.written) * self.count <= MOST_WRITTEN


def _laid_over(levels: list[tuple[dict[str, Tree], str]], own: dict[str, Tree]) -> dict[str, Tree]:
    """Returns an item joined with the object that held its list, and with those around it."""
    (beside, _), *outer = reversed(levels)
    tree = {**beside, **own}
    for beside, step in outer:
        tree = {**beside, step: tree, **own}
    return tree


@dataclass(frozen=True, slots=True)
class Piece:
    """One event of a webhook, and the envelope that it shares with others."""

    own: Tree
    envelope: Envelope | None = None

    def whole(self) -> Tree:
        """Returns the event joined with its whole envelope."""
        return _laid_over(self.envelope.levels, self.own) if self.envelope else self.own

    def brief(self) -> Tree:
        """Returns the event joined with the part of its envelope that has its id and types."""
        return _laid_over(self.envelope.brief, self.own) if self.envelope else self.own

    def content(self) -> bytes:
        """Returns bytes that only the same event has: all of it, or with a large envelope its digest."""
        if self.envelope is None or self.envelope.is_small:
            return trees.render(self.whole())
        return self.envelope.digest.encode() + b"\n" + trees.render(self.own)


def split(tree: Tree, path: str | None, wanted: Collection[str]) -> list[Piece]:
    """Returns the events of a body, which may have a list of them at a path.

    An event is an object. A list without any object is part of a single event, which cannot be read.
    """
    items = trees.pick(tree, path) if path else None
    if isinstance(tree, list):  # a batch, even if that is not declared
        items, path = tree, None
    if isinstance(items, dict):
        items = [items]  # XML cannot tell a list of one item from the item
    if items == []:
        return [Piece({})]  # an empty batch
    if not isinstance(items, list) or not any(isinstance(item, dict) for item in items):
        return [Piece(tree)]
    shared = Envelope(tree, path, wanted, len(items)) if path else None
    return [Piece(item, shared if isinstance(item, dict) else None) for item in items]
