"""Errors by what happens next: refuse, try again, look first, or a person decides. Stdlib only."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence


class BridgeError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])


class Rejected(BridgeError):
    """The request is refused, and nothing is stored."""

    def __init__(self, word: str, status: int, message: str) -> None:
        super().__init__(message)
        self.word = word
        self.status = status


class SettingsError(BridgeError):
    """The settings are invalid; every problem is listed."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Unavailable(BridgeError):
    """The database is not available now."""


class TemporaryError(BridgeError):
    """It certainly did not happen, and is tried again later."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds


class Throttled(TemporaryError):
    """29next asks for a pause: too many calls for this access token. It is a second if none is named."""

    retry_after: float

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after or 1.0)


class TooLate(BridgeError):
    """The slot of the call has passed, so it was not sent."""


class Unclear(BridgeError):
    """A write may or may not have happened: look before anything else."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after or 0.0  # seconds


class PermanentError(BridgeError):
    """It will not work as it is, so a person has to decide."""

    def __init__(
        self, message: str | None = None, *, fields: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__(message)
        self.fields = {name: list(messages) for name, messages in (fields or {}).items()}


class Untranslatable(PermanentError):
    """The body does not fit the provider's table; every bad field is listed by the provider's name."""


class UnknownEvent(PermanentError):
    """The provider sent an event type that its table does not list."""


class Refused(PermanentError):
    """29next refused the call; its message is kept."""


class NotFound(Refused):
    """29next does not know the dispute or transaction."""


class StoreRefused(BridgeError):
    """The store refuses the bridge as such: its alerts wait until it accepts a call again."""


class MissingScope(BridgeError):
    """The access token lacks a scope that the bridge can do without."""


class Bug(BridgeError):
    """A bug of ours; its message is a trace."""


def trace(error: BaseException) -> str:
    """Returns a traceback without local values, and without the error's message."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__} at {places}"
