"""Proofs that show a secret: passwords, tokens, headers, and a key in the URL. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import typing
from dataclasses import dataclass

from bridge.alert import Webhook
from bridge.errors import Rejected

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime


NAMES_OF_HEADERS = re.compile(r"(?i)x-.+|authorization|.+-(?:key|token|secret)")


class Proof(typing.Protocol):
    """A way of proof. `secrets` holds the current secret and, during a rotation, the previous one."""

    kind: typing.ClassVar[str]

    @property
    def secret_headers(self) -> frozenset[str]:
        """Headers, in lower case, whose values are never stored."""

    def problem(self, secret: str) -> str | None:
        """Say what is wrong with the form of a secret, without showing it."""

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Raise Rejected unless the webhook proves that its sender knows one of the secrets."""

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the headers that a sender who knows the secret would add."""

    def seal(self, body: bytes, secret: str) -> bytes:
        """Return the body with the signatures that a sender would put inside it."""


class InHeaders:
    """What nearly all proofs have in common: they stand in the headers, and leave the body alone."""

    def seal(self, body: bytes, secret: str) -> bytes:
        """Return the body as it is."""
        return body


def bad_proof(message: str) -> Rejected:
    """Build the one refusal of this module."""
    return Rejected("bad_proof", 401, message)


def same(given: str | bytes, expected: str | bytes) -> bool:
    """Compare in constant time, whatever characters the sender used."""
    return hmac.compare_digest(as_bytes(given), as_bytes(expected))


def as_bytes(text: str | bytes) -> bytes:
    """Return a text as bytes, whatever halves of characters are in it."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def any_of(matches: Iterable[bool]) -> bool:
    """Whether any is true, after all were computed: which of them it was does not show in the time."""
    return any(list(matches))


@dataclass(frozen=True)
class Basic(InHeaders):
    """HTTP Basic authentication; the secret is `user:password`."""

    kind: typing.ClassVar[str] = "basic"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset({"authorization"})

    def problem(self, secret: str) -> str | None:
        """Want a user and a password; `Name: value` is a header's secret in the wrong place."""
        user, _, password = secret.partition(":")
        return None if user and password and not password[0].isspace() else "must be user:password"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the credentials as bytes."""
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
        """Return the Authorization header."""
        return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


@dataclass(frozen=True)
class Bearer(InHeaders):
    """A bearer token in the Authorization header; the secret is the token."""

    kind: typing.ClassVar[str] = "bearer"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset({"authorization"})

    def problem(self, secret: str) -> str | None:
        """Want one word, as a header can carry it."""
        return None if secret and not re.search(r"\s", secret) else "must be one word"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the token."""
        scheme, _, given = webhook.headers.get("authorization", "").partition(" ")
        if not given:
            raise bad_proof("The bearer token is missing.")
        right = any_of(same(given.strip(), secret) for secret in secrets)
        if scheme.lower() != "bearer" or not right:
            raise bad_proof("The bearer token is wrong.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the Authorization header."""
        return {"Authorization": f"Bearer {secret}"}


@dataclass(frozen=True)
class Header(InHeaders):
    """One static header. The secret is `Name: value`, or the value where `header` names it."""

    kind: typing.ClassVar[str] = "header"
    header: str = ""

    @property
    def secret_headers(self) -> frozenset[str]:
        """The named header; where the secret names it, `receive` cuts it by its value."""
        return frozenset({self.header.lower()} - {""})

    def problem(self, secret: str) -> str | None:
        """Want a header that HTTP can carry."""
        name, value = self._split(secret)
        if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) and value and value.isprintable():
            return None
        return "must be a value" if self.header else "must be Name: value"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the header's value."""
        wanted = [self._split(secret) for secret in secrets]
        if not any(name.lower() in webhook.headers for name, _ in wanted):
            raise bad_proof("The agreed header is missing.")
        if not any_of(same(webhook.headers.get(name.lower(), ""), value) for name, value in wanted):
            raise bad_proof("The agreed header has a wrong value.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the header."""
        return dict([self._split(secret)])

    def _split(self, secret: str) -> tuple[str, str]:
        if self.header:
            return self.header, secret
        name, _, value = secret.partition(":")
        return name.strip(), value.strip()


@dataclass(frozen=True)
class Url(InHeaders):
    """A secret in the URL (`?key=`), for services that can send nothing else; never logged."""

    kind: typing.ClassVar[str] = "url"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset()

    def problem(self, secret: str) -> str | None:
        """Want something long enough not to be guessed."""
        return None if len(secret) >= 16 else "must have at least 16 characters"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the query's key."""
        if not any_of(same(webhook.query.get("key", ""), secret) for secret in secrets):
            raise bad_proof("The key in the URL is missing or wrong.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Add no header: the key stands in the URL."""
        return {}


def refusal(way: Proof, webhook: Webhook, secrets: Sequence[str], now: datetime) -> Rejected | None:
    """Return what a way of proof has against a webhook, if anything."""
    try:
        way.verify(webhook, secrets, now)
    except Rejected as error:
        return error
    return None


@dataclass(frozen=True)
class BasicOrHeader(InHeaders):
    """Basic where the secret is `user:password`, a static header where it is `Name: value`.

    The blank may be missing where the name is one that headers have, and no user.
    """

    kind: typing.ClassVar[str] = "basic or header"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset({"authorization"})

    def problem(self, secret: str) -> str | None:
        """Want either form."""
        return "must be user:password or Name: value" if self._way(secret).problem(secret) else None

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Verify each secret in its own way; one that fits is enough."""
        refusals = [refusal(self._way(secret), webhook, [secret], now) for secret in secrets]
        if None not in refusals:
            raise next(filter(None, refusals), bad_proof("There is no secret to compare with."))

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the header that the secret's form asks for."""
        return self._way(secret).sign(body, secret, now)

    @staticmethod
    def _way(secret: str) -> Basic | Header:
        named = NAMES_OF_HEADERS.fullmatch(secret.partition(":")[0])
        return Header() if named or Basic().problem(secret) else Basic()
