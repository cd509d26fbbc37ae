"""What a provider declares about outcomes: where it is told how its alerts ended, and in which words."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

if typing.TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a provider is told how its alert ended; `{id}` in a path is the alert's `provider_id`."""

    url: str  # the base of its API, with a slash at its end
    path: str  # of the POST that tells it
    words: Mapping[str, str]  # 29next's resolutions -> theirs; what is not here waits for a person
    word_in: str  # where their word stands in the body
    message_in: str | None = None  # where the reason of `other` stands
    header: str = "Authorization"  # what carries the key, or the token that it is exchanged for
    scheme: str = "Bearer "
    login: str | None = None  # the path where the key is exchanged: a POST, whose answer has `token`
    read: tuple[str, str] | None = None  # where the alert is read, and the path of their word in the answer
    finals: Mapping[str, str] = field(default_factory=dict)  # their words that end an alert -> 29next's
    on: bool = False  # the operator's policy

    def equals(self, resolution: str | None) -> tuple[str, ...]:
        """Return the resolutions that are told by a word that comes back as this one."""
        if not self.on or resolution is None:
            return ()
        told = {ours: self.finals.get(theirs, ours) for ours, theirs in self.words.items()}
        return tuple(ours for ours, back in told.items() if back == resolution and ours != resolution)

    def body(self, resolution: str, message: str | None) -> dict[str, str]:
        """Write what tells a resolution."""
        said = {self.word_in: self.words[resolution]}
        if self.message_in:
            said[self.message_in] = (message or "No reason was given.") if resolution == "other" else ""
        return said
