"""How providers authenticate their webhooks. Pure: raw bytes in, a rejection or nothing out.

A malformed proof is rejected like a wrong one. The time of a comparison does not show how much is right.
"""

from __future__ import annotations

import hmac
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime

from bridge.alert import Webhook
from bridge.errors import Rejected


class Proof(ABC):
    """How a provider authenticates its webhooks. By default the secret is a key, which is not sent itself.

    `secrets` holds the current secret and, during a rotation, the previous one.
    """

    kind: typing.ClassVar[str]

    @property
    def secret_headers(self) -> frozenset[str]:
        """Headers, in lower case, whose values are never stored."""
        return frozenset()

    def problem(self, secret: str) -> str | None:
        """Returns what is wrong with the form of a secret, without quoting it; None if nothing is."""
        return None if secret else "must not be empty"

    @abstractmethod
    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Verifies that the sender knows one of the secrets; raises Rejected if not."""

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Returns the headers that a sender with this secret adds."""
        return {}

    def seal(self, body: bytes, secret: str) -> bytes:
        """Returns the body with the signatures that a sender puts inside it."""
        return body


def bad_proof(message: str) -> Rejected:
    """Returns the rejection of a webhook whose proof is missing or wrong."""
    return Rejected("bad_proof", 401, message)


def same(given: str | bytes, expected: str | bytes) -> bool:
    """Compares two texts in constant time, whatever characters the sender used."""
    return hmac.compare_digest(as_bytes(given), as_bytes(expected))


def as_bytes(text: str | bytes) -> bytes:
    """Returns a text as bytes, even if it has lone surrogates."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def any_of(matches: Iterable[bool]) -> bool:
    """Whether any is true. It computes all of them, so that the time does not show which one was."""
    return any(list(matches))


def refusal(proof: Proof, webhook: Webhook, secrets: Sequence[str], now: datetime) -> Rejected | None:
    """Returns why a proof rejects a webhook, or None if it accepts it."""
    try:
        proof.verify(webhook, secrets, now)
    except Rejected as error:
        return error
    return None
