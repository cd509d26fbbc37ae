"""What a provider declares about pulling: where its alerts are fetched, and acknowledged. Pure."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

if typing.TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Pull:
    """How a provider's alerts are fetched, where it does not push them, and acknowledged once stored."""

    url: str  # the base of its API, with a slash at its end
    path: str  # of the GET of what is not acknowledged yet
    acknowledge: str  # of the POST that acknowledges it
    ident: str  # the key of an alert's id in the acknowledgement
    listed_in: str  # the key of the list of acknowledged alerts
    acknowledged: Mapping[str, str] = field(default_factory=dict)  # what is said of each, beside its id
    most: int = 25  # alerts that are asked for, and acknowledged, at once
    every: float | None = None  # seconds, the operator's; None: not pulled
