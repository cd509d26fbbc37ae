"""The events of one webhook that is a batch, and the envelope that they share. Pure.

An item's fields are found both where its list stands and at the root, so each is laid over what the
envelope says for all of them. That is done for one item when it is asked for, never for all at once:
a thousand items of a large envelope would be a thousand copies of it.
"""

from __future__ import annotations

import hashlib
import typing
from dataclasses import dataclass
from functools import cached_property

from bridge import tree as trees

if typing.TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bridge.tree import Tree

MOST_ITEMS = 1000
"""Items of one webhook that are taken."""
MOST_WRITTEN = 256 * 1024
"""Bytes of envelopes that are written, beside the items themselves, to tell the items of a batch apart."""


def steps_of(paths: Iterable[str]) -> frozenset[str]:
    """Return all the keys that some dotted paths may be found by: each step, and each rest of a path."""
    found = set()
    for path in (one for joined in paths for one in joined.split("|")):
        steps = path.split(".")
        found |= set(steps) | {".".join(steps[n:]) for n in range(len(steps))}
    return frozenset(found)


class Envelope:
    """What a batch says for all its items: what each object on the way to their list holds beside it."""

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
        """What the envelope is told from others by."""
        return hashlib.sha256(self.written).hexdigest()

    @property
    def is_small(self) -> bool:
        """Whether it may be written for each of its items."""
        return len(self.written) * self.count <= MOST_WRITTEN


def _laid_over(levels: list[tuple[dict[str, Tree], str]], own: dict[str, Tree]) -> dict[str, Tree]:
    """Lay an item over the object that held its list, and over those around that."""
    (beside, _), *outer = reversed(levels)
    tree = {**beside, **own}
    for beside, step in outer:
        tree = {**beside, step: tree, **own}
    return tree


@dataclass(frozen=True, slots=True)
class Piece:
    """One event of a webhook, beside the envelope that it shares with others."""

    own: Tree
    envelope: Envelope | None = None

    def whole(self) -> Tree:
        """Return the event with all that its envelope says."""
        return _laid_over(self.envelope.levels, self.own) if self.envelope else self.own

    def brief(self) -> Tree:
        """Return the event with as much of its envelope as names it."""
        return _laid_over(self.envelope.brief, self.own) if self.envelope else self.own

    def content(self) -> bytes:
        """Return what the event is told from others by: all of it, or a digest of a large envelope."""
        if self.envelope is None or self.envelope.is_small:
            return trees.render(self.whole())
        return self.envelope.digest.encode() + b"\n" + trees.render(self.own)


def split(tree: Tree, path: str | None, wanted: Collection[str]) -> list[Piece]:
    """Return the events of a body whose list of them may stand at a path.

    What is no object is no event: a list without one is part of a single event that cannot be read.
    """
    found = trees.pick(tree, path) if path else None
    if isinstance(tree, list):  # a batch, whether it was said or not
        found, path = tree, None
    if isinstance(found, dict):
        found = [found]  # XML has no list of one
    if found == []:
        return [Piece({})]  # a batch of nothing
    if not isinstance(found, list) or not any(isinstance(one, dict) for one in found):
        return [Piece(tree)]
    shared = Envelope(tree, path, wanted, len(found)) if path else None
    return [Piece(one, shared if isinstance(one, dict) else None) for one in found]
