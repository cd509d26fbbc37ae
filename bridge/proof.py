"""How a provider shows that it is itself. Pure: raw bytes in, a refusal or nothing out.

Every malformation is the same refusal as a wrong proof, and nothing is compared in time that
depends on how much of it is right.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
import re
import typing
from dataclasses import dataclass

from bridge.errors import Rejected

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from bridge.alert import Webhook

TOLERANCE = 300
"""Seconds that a signed timestamp may lie in the past or in the future."""


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

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Return the headers that a sender who knows the secret would add."""


def bad_proof(message: str) -> Rejected:
    """Build the one refusal of this module."""
    return Rejected("bad_proof", 401, message)


def same(given: str | bytes, expected: str | bytes) -> bool:
    """Compare in constant time, whatever characters the sender used."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _any(matches: Iterable[bool]) -> bool:
    """Whether any is true, after all were computed: which of them it was does not show in the time."""
    return any(list(matches))


@dataclass(frozen=True)
class Basic:
    """HTTP Basic authentication; the secret is `user:password`."""

    kind: typing.ClassVar[str] = "basic"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset({"authorization"})

    def problem(self, secret: str) -> str | None:
        """Want a user and a password."""
        user, colon, password = secret.partition(":")
        return None if user and colon and password else "must be user:password"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the credentials as bytes."""
        scheme, _, encoded = webhook.headers.get("authorization", "").partition(" ")
        if not encoded:
            raise bad_proof("HTTP Basic credentials are missing.")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise bad_proof("The Authorization header is malformed.") from None
        if scheme.lower() != "basic" or not _any(same(given, secret) for secret in secrets):
            raise bad_proof("The credentials are wrong.")

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Return the Authorization header."""
        return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


@dataclass(frozen=True)
class Bearer:
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
        right = _any(same(given.strip(), secret) for secret in secrets)
        if scheme.lower() != "bearer" or not right:
            raise bad_proof("The bearer token is wrong.")

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Return the Authorization header."""
        return {"Authorization": f"Bearer {secret}"}


@dataclass(frozen=True)
class Header:
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
        if not _any(same(webhook.headers.get(name.lower(), ""), value) for name, value in wanted):
            raise bad_proof("The agreed header has a wrong value.")

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Return the header."""
        return dict([self._split(secret)])

    def _split(self, secret: str) -> tuple[str, str]:
        if self.header:
            return self.header, secret
        name, _, value = secret.partition(":")
        return name.strip(), value.strip()


@dataclass(frozen=True)
class Url:
    """A secret in the URL (`?key=`), for services that can send nothing else; never logged."""

    kind: typing.ClassVar[str] = "url"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset()

    def problem(self, secret: str) -> str | None:
        """Want something long enough not to be guessed."""
        return None if len(secret) >= 16 else "must have at least 16 characters"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the query's key."""
        if not _any(same(webhook.query.get("key", ""), secret) for secret in secrets):
            raise bad_proof("The key in the URL is missing or wrong.")

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Add no header: the key stands in the URL."""
        return {}


ALGORITHMS: dict[str, Callable[..., typing.Any]] = {
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}
ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "hex": lambda digest: digest.hex(),
    "base64": lambda digest: base64.b64encode(digest).decode(),
}


class _Keyed:
    """What every signature has in common: a key, and no secret among its headers."""

    secret_headers: typing.ClassVar[frozenset[str]] = frozenset()

    def problem(self, secret: str) -> str | None:
        """Want a key."""
        return None if secret else "must not be empty"


@dataclass(frozen=True)
class Hmac(_Keyed):
    """An HMAC over the raw body in one header, in hex or base64, perhaps behind a `prefix`."""

    kind: typing.ClassVar[str] = "hmac"
    header: str = "X-Signature"
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the signature over the raw bytes."""
        given = webhook.headers.get(self.header.lower(), "").strip()
        if not given:
            raise bad_proof(f"The header {self.header} is missing.")
        if self.encoding == "hex":
            given = given.lower()
        if not _any(same(given, self._signature(webhook.body, secret)) for secret in secrets):
            raise bad_proof("The signature does not fit the body.")

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Return the signature's header."""
        return {self.header: self._signature(body, secret)}

    def _signature(self, body: bytes, secret: str) -> str:
        digest = hmac.digest(secret.encode(), body, ALGORITHMS[self.algorithm])
        return self.prefix + ENCODINGS[self.encoding](digest)


@dataclass(frozen=True)
class TimestampedHmac(_Keyed):
    """`t=<unix>,v1=<hex>` in one header, an HMAC over `{t}.{raw body}`; several v1 may stand there."""

    kind: typing.ClassVar[str] = "timestamped_hmac"
    header: str = "X-Signature"
    algorithm: str = "sha256"
    encoding: str = "hex"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Check the timestamp's age, then every v1 against every secret."""
        header = webhook.headers.get(self.header.lower())
        if header is None:
            raise bad_proof(f"The header {self.header} is missing.")
        parts = [part.strip().partition("=") for part in header.split(",")]
        times = [value for name, _, value in parts if name == "t"]
        given = [value for name, _, value in parts if name == "v1"]
        if len(times) != 1 or not given:
            raise bad_proof(f"The header {self.header} is malformed.")
        check_age(times[0], now)
        expected = [self._signature(times[0], webhook.body, secret) for secret in secrets]
        if not _any(same(one, right) for one in given for right in expected):
            raise bad_proof("The signature does not fit the body.")

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Return the signature's header."""
        stamp = str(int(now.timestamp()))
        return {self.header: f"t={stamp},v1={self._signature(stamp, body, secret)}"}

    def _signature(self, stamp: str, body: bytes, secret: str) -> str:
        message = stamp.encode("utf-8", "surrogateescape") + b"." + body
        return ENCODINGS[self.encoding](hmac.digest(secret.encode(), message, ALGORITHMS[self.algorithm]))


@dataclass(frozen=True)
class StandardWebhooks:
    """The Standard Webhooks specification: three headers `<prefix>-id`, `-timestamp`, `-signature`.

    HMAC-SHA256 over `{id}.{timestamp}.{raw body}` with the base64 part of `whsec_...`.
    """

    kind: typing.ClassVar[str] = "standard_webhooks"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset()
    prefix: str = "webhook"

    def problem(self, secret: str) -> str | None:
        """Want the base64 key that the provider shows."""
        try:
            return None if self._key(secret) else "must not be empty"
        except ValueError:
            return "must be whsec_ and base64"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Check the timestamp's age, then every v1 signature against every secret."""
        names = [f"{self.prefix}-{part}" for part in ("id", "timestamp", "signature")]
        ident, stamp, signatures = (webhook.headers.get(name, "") for name in names)
        if not (ident and stamp and signatures):
            raise bad_proof(f"One of the headers {', '.join(names)} is missing.")
        check_age(stamp, now)
        given = [part[3:] for part in signatures.split(" ") if part.startswith("v1,")]
        expected = [self._signature(ident, stamp, webhook.body, secret) for secret in secrets]
        if not _any(same(one, right) for one in given for right in expected):
            raise bad_proof("The signature does not fit the body.")

    def sign(self, body: bytes, secret: str, now: datetime) -> dict[str, str]:
        """Return the three headers."""
        stamp = str(int(now.timestamp()))
        ident = "msg_" + hashlib.sha256(body + stamp.encode()).hexdigest()[:24]
        signature = self._signature(ident, stamp, body, secret)
        values = {"id": ident, "timestamp": stamp, "signature": f"v1,{signature}"}
        return {f"{self.prefix}-{name}": value for name, value in values.items()}

    @staticmethod
    def _key(secret: str) -> bytes:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)

    def _signature(self, ident: str, stamp: str, body: bytes, secret: str) -> str:
        message = f"{ident}.{stamp}.".encode("utf-8", "surrogateescape") + body
        return ENCODINGS["base64"](hmac.digest(self._key(secret), message, hashlib.sha256))


def check_age(stamp: str, now: datetime) -> None:
    """Refuse a signed timestamp (unix seconds) that is older or newer than the tolerance."""
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise bad_proof("The signed timestamp is malformed.")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE:
        raise bad_proof("The signed timestamp is more than five minutes off.")


KINDS: dict[str, type] = {
    proof.kind: proof for proof in (Basic, Bearer, Header, Url, Hmac, TimestampedHmac, StandardWebhooks)
}
"""Ways of proof by the word that `bridge.toml` uses."""


def build(table: Mapping[str, typing.Any]) -> Proof:
    """Build a proof from its table in `bridge.toml`; raises ValueError with what is wrong."""
    options = {name: value for name, value in table.items() if name != "kind"}
    kind = KINDS.get(str(table.get("kind")))
    if kind is None:
        raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}")
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"{table['kind']} has no option {', '.join(unknown)}")
    if not all(isinstance(value, str) for value in options.values()):
        raise ValueError("every option is text")
    for name, words in (("algorithm", ALGORITHMS), ("encoding", ENCODINGS)):
        if name in options and options[name] not in words:
            raise ValueError(f"{name} must be one of {', '.join(words)}")
    return typing.cast("Proof", kind(**options))
