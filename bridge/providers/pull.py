"""What a provider declares about pulling: where its alerts are fetched, and acknowledged. Pure."""

from __future__ import annotations

import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

Json = typing.Any

IDENT = "{id}"
"""What stands for the id of an alert."""


@dataclass(frozen=True, kw_only=True)
class Pull:
    """How a provider's alerts are fetched, where it does not push them, and acknowledged once stored."""

    url: str  # the base of its API, with a slash at its end
    path: str  # of the GET of what is not acknowledged yet
    acknowledge: str  # of the POST that acknowledges it
    acknowledgement: Json  # its body, in which what stands in a list stands there for each alert
    most: int = 25  # alerts that are asked for, and acknowledged, at once
    every: float | None = None  # seconds, the operator's; None: not pulled

    def body(self, idents: Sequence[str]) -> Json:
        """Write what acknowledges some alerts."""
        return _repeated(self.acknowledgement, idents)


def names_each(acknowledgement: Json) -> bool:
    """Whether a body has a list that names each alert by its id."""
    return bool(_repeated(acknowledgement, ["1"]) != _repeated(acknowledgement, ["2"]))


def _repeated(tree: Json, idents: Sequence[str]) -> Json:
    if isinstance(tree, list):
        return [_filled(row, ident) for ident in idents for row in tree]
    if isinstance(tree, dict):
        return {name: _repeated(value, idents) for name, value in tree.items()}
    return tree


def _filled(tree: Json, ident: str) -> Json:
    if isinstance(tree, list):
        return [_filled(one, ident) for one in tree]
    if isinstance(tree, dict):
        return {name: _filled(value, ident) for name, value in tree.items()}
    return tree.replace(IDENT, ident) if isinstance(tree, str) else tree
