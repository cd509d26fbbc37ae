"""What a provider declares about pulling: how to fetch its alerts and acknowledge them. Pure."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass

Json = typing.Any

IDENT = "{id}"
"""The placeholder of an alert's id."""


@dataclass(frozen=True, kw_only=True)
class Pull:
    """How to fetch a provider's alerts, and acknowledge them once they are stored."""

    url: str  # the base of its API, with a slash at its end
    path: str  # of the GET that returns alerts not yet acknowledged
    acknowledge: str  # the path of the POST that acknowledges them
    acknowledgement: Json  # the body of the POST: the rows of its lists are repeated for each alert
    most: int = 25  # alerts in one call
    every: float | None = None  # seconds between two pulls, the operator's; None: not pulled

    def body(self, idents: Sequence[str]) -> Json:
        """Returns the body that acknowledges these alerts."""
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
        return [_filled(item, ident) for item in tree]
    if isinstance(tree, dict):
        return {name: _filled(value, ident) for name, value in tree.items()}
    return tree.replace(IDENT, ident) if isinstance(tree, str) else tree
