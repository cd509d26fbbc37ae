"""Proofs by a secret that the webhook carries: passwords, tokens, headers, a key in the URL. Pure."""

from __future__ import annotations

import base64
import binascii
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bridge.alert import Webhook
from bridge.providers.proof import Proof, any_of, bad_proof, refusal, same

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
NAMES_OF_HEADERS = re.compile(r"(?i)x-.+|authorization|.+-(?:key|token|secret)")


@dataclass(frozen=True)
class Basic(Proof):
    """HTTP Basic authentication; the secret is `user:password`."""

    kind: typing.ClassVar[str] = "basic"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset({"authorization"})

    def problem(self, secret: str) -> str | None:
        """Requires `user:password`. `Name: value` is the secret of a header."""
        user, _, password = secret.partition(":")
        return None if user and password and not password[0].isspace() else "must be user:password"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compares the credentials as bytes."""
        scheme, _, encoded = webhook.headers.get("authorization", "").partition(" ")
        if not encoded:
            raise bad_proof("HTTP Basic credentials are missing.")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise bad_proof("The Authorization header is malformed.") from None
        if scheme.lower() != "basic" or not any_of(same(given, secret) for secret in secrets):
            raise bad_proof("The credentials are wrong.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Returns the Authorization header."""
        return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


@dataclass(frozen=True)
class Bearer(Proof):
    """A bearer token in the Authorization header; the secret is the token."""

    kind: typing.ClassVar[str] = "bearer"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset({"authorization"})

    def problem(self, secret: str) -> str | None:
        """Requires one word."""
        return None if secret and not re.search(r"\s", secret) else "must be one word"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compares the token."""
        scheme, _, given = webhook.headers.get("authorization", "").partition(" ")
        if not given:
            raise bad_proof("The bearer token is missing.")
        is_right = any_of(same(given.strip(), secret) for secret in secrets)
        if scheme.lower() != "bearer" or not is_right:
            raise bad_proof("The bearer token is wrong.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Returns the Authorization header."""
        return {"Authorization": f"Bearer {secret}"}


@dataclass(frozen=True)
class Header(Proof):
    """One static header. The secret is `Name: value`, or the value where `header` names it."""

    kind: typing.ClassVar[str] = "header"
    header: str = ""

    @property
    def secret_headers(self) -> frozenset[str]:
        """The header, if it is declared. If the secret names it, its value is cut wherever it occurs."""
        return frozenset({self.header.lower()} - {""})

    def problem(self, secret: str) -> str | None:
        """Requires a valid header."""
        name, value = self._split(secret)
        if HEADER_NAME.fullmatch(name) and value and value.isprintable():
            return None
        return "must be a value" if self.header else "must be Name: value"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compares the header's value."""
        wanted = [self._split(secret) for secret in secrets]
        if not any(name.lower() in webhook.headers for name, _ in wanted):
            raise bad_proof("The agreed header is missing.")
        if not any_of(same(webhook.headers.get(name.lower(), ""), value) for name, value in wanted):
            raise bad_proof("The agreed header has a wrong value.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Returns the header."""
        return dict([self._split(secret)])

    def _split(self, secret: str) -> tuple[str, str]:
        if self.header:
            return self.header, secret
        name, _, value = secret.partition(":")
        return name.strip(), value.strip()


@dataclass(frozen=True)
class Url(Proof):
    """A secret in the URL (`?key=`), for services that can send nothing else. It is never logged."""

    kind: typing.ClassVar[str] = "url"

    def problem(self, secret: str) -> str | None:
        """Requires a secret that is too long to guess."""
        return None if len(secret) >= 16 else "must have at least 16 characters"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compares the query's key."""
        if not any_of(same(webhook.query.get("key", ""), secret) for secret in secrets):
            raise bad_proof("The key in the URL is missing or wrong.")


@dataclass(frozen=True)
class BasicOrHeader(Proof):
    """Basic if the secret is `user:password`, a static header if it is `Name: value`.

    The blank may be missing if the name is typical of a header, such as `X-Key`.
    """

    kind: typing.ClassVar[str] = "basic or header"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset({"authorization"})

    def problem(self, secret: str) -> str | None:
        """Requires either form."""
        return "must be user:password or Name: value" if self._proof_by(secret).problem(secret) else None

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Verifies with each secret as its form says; one that fits is enough."""
        refusals = [refusal(self._proof_by(secret), webhook, [secret], now) for secret in secrets]
        if None not in refusals:
            raise next(filter(None, refusals), bad_proof("There is no secret to compare with."))

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Returns the header that the secret's form requires."""
        return self._proof_by(secret).sign(body, secret, now)

    @staticmethod
    def _proof_by(secret: str) -> Basic | Header:
        named = NAMES_OF_HEADERS.fullmatch(secret.partition(":")[0])
        return Header() if named or Basic().problem(secret) else Basic()
