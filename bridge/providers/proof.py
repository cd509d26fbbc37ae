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
import json
import re
import typing
from dataclasses import dataclass
from urllib.parse import urlsplit

from bridge import tree as trees
from bridge.alert import Webhook
from bridge.errors import Rejected
from bridge.tree import BadBody, Tree

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime


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

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the headers that a sender who knows the secret would add."""

    def seal(self, body: bytes, secret: str) -> bytes:
        """Return the body with the signatures that a sender would put inside it."""


class _InHeaders:
    """What nearly all proofs have in common: they stand in the headers, and leave the body alone."""

    def seal(self, body: bytes, secret: str) -> bytes:
        """Return the body as it is."""
        return body


def bad_proof(message: str) -> Rejected:
    """Build the one refusal of this module."""
    return Rejected("bad_proof", 401, message)


def same(given: str | bytes, expected: str | bytes) -> bool:
    """Compare in constant time, whatever characters the sender used."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _any(matches: Iterable[bool]) -> bool:
    """Whether any is true, after all were computed: which of them it was does not show in the time."""
    return any(list(matches))


@dataclass(frozen=True)
class Basic(_InHeaders):
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
        if scheme.lower() != "basic" or not _any(same(given, secret) for secret in secrets):
            raise bad_proof("The credentials are wrong.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the Authorization header."""
        return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


@dataclass(frozen=True)
class Bearer(_InHeaders):
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

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the Authorization header."""
        return {"Authorization": f"Bearer {secret}"}


@dataclass(frozen=True)
class Header(_InHeaders):
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

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the header."""
        return dict([self._split(secret)])

    def _split(self, secret: str) -> tuple[str, str]:
        if self.header:
            return self.header, secret
        name, _, value = secret.partition(":")
        return name.strip(), value.strip()


@dataclass(frozen=True)
class Url(_InHeaders):
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

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
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


class _Keyed(_InHeaders):
    """What every signature has in common: a key, and no secret among its headers."""

    secret_headers: typing.ClassVar[frozenset[str]] = frozenset()

    def problem(self, secret: str) -> str | None:
        """Want a key."""
        return None if secret else "must not be empty"


PLACE = re.compile(r"\{(body|timestamp|url|path|method|header:[A-Za-z0-9-]+)\}")
"""What a template of what is signed may hold."""


@dataclass(frozen=True)
class Hmac(_Keyed):
    """An HMAC in one header, in hex or base64, over what the template `signed` says.

    `parse` says how the header is split, such as `t=,s=`: the first name is the timestamp's, the last the
    signature's, of which several may stand there. Else the header is the signature, behind a `prefix`.
    """

    kind: typing.ClassVar[str] = "hmac"
    header: str = "X-Signature"
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    signed: str = "{body}"
    parse: str = ""

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare every signature of the header with that of every secret."""
        header = webhook.headers.get(self.header.lower(), "").strip()
        if not header:
            raise bad_proof(f"The header {self.header} is missing.")
        stamp, given = self._split(header)
        self.check(stamp, now)
        if self.encoding == "hex":
            given = [one.lower() for one in given]
        expected = [self._signature(webhook, stamp, secret) for secret in secrets]
        if not _any(same(one, right) for one in given for right in expected):
            raise bad_proof("The signature does not fit the body.")

    def check(self, stamp: str, now: datetime) -> None:
        """Take any timestamp: it may be a nonce."""

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the signature's header."""
        stamp = str(int(now.timestamp()))
        webhook = Webhook("", urlsplit(url).path, body, url=url)
        signature = self.prefix + self._signature(webhook, stamp, secret)
        if not self.parse:
            return {self.header: signature}
        first, last = self._names()
        return {self.header: f"{first}={stamp},{last}={signature}"}

    def wrong(self) -> list[str]:
        """Say all that is wrong with the options."""
        said, names = list[str](), self.parse.split(",")
        left = PLACE.sub("", self.signed)
        if "{" in left or "}" in left or "{body}" not in self.signed:
            places = "{body}, {timestamp}, {url}, {path}, {method} and {header:Name}"
            said.append(f"signed is a text with {places} in it, {{body}} among them")
        if self.parse and (len(names) != 2 or not all(re.fullmatch(r"\w{1,20}=", one) for one in names)):
            said.append('parse names the parts of the header, such as "t=,s="')
        if "{timestamp}" in self.signed and not self.parse:
            said.append('signed has a {timestamp}: say with parse where it stands, such as "t=,s="')
        return said

    def _names(self) -> tuple[str, str]:
        first, last = (one.removesuffix("=") for one in self.parse.split(","))
        return first, last

    def _split(self, header: str) -> tuple[str, list[str]]:
        """Return the timestamp and the signatures of a header; a part may hold commas itself."""
        malformed = bad_proof(f"The header {self.header} is malformed.")
        if not self.parse:
            if not header.startswith(self.prefix):
                raise malformed
            return "", [header.removeprefix(self.prefix)]
        parts: list[tuple[str, str]] = []
        for piece in header.split(","):
            name, equals, value = piece.strip().partition("=")
            if equals and re.fullmatch(r"\w{1,20}", name):
                parts.append((name, value))
            elif parts:
                parts[-1] = parts[-1][0], f"{parts[-1][1]},{piece}"
        first, last = self._names()
        stamps = [value for name, value in parts if name == first]
        given = [value.removeprefix(self.prefix) for name, value in parts if name == last]
        if len(stamps) != 1 or not given:
            raise malformed
        return stamps[0], given

    def _signature(self, webhook: Webhook, stamp: str, secret: str) -> str:
        values = {
            "body": webhook.body,
            "timestamp": _bytes(stamp),
            "url": _bytes(webhook.url),
            "path": _bytes(webhook.path),
            "method": _bytes(webhook.method),
        }
        message = b""
        for position, piece in enumerate(PLACE.split(self.signed)):
            if position % 2 == 0:
                message += _bytes(piece)
            elif piece in values:
                message += values[piece]
            else:
                message += _bytes(webhook.headers.get(piece.partition(":")[2].lower(), ""))
        return ENCODINGS[self.encoding](hmac.digest(secret.encode(), message, ALGORITHMS[self.algorithm]))


@dataclass(frozen=True)
class TimestampedHmac(Hmac):
    """The same with a timestamp that has to be new: `t=<unix>,v1=<hex>` over `{timestamp}.{body}`."""

    kind: typing.ClassVar[str] = "timestamped_hmac"
    signed: str = "{timestamp}.{body}"
    parse: str = "t=,v1="

    def check(self, stamp: str, now: datetime) -> None:
        """Refuse a timestamp that is old, or from the future."""
        check_age(stamp, now)


@dataclass(frozen=True)
class StandardWebhooks(_InHeaders):
    """The Standard Webhooks specification: three headers `<prefix>-id`, `-timestamp`, `-signature`.

    HMAC-SHA256 over `{id}.{timestamp}.{raw body}` with the base64 part of `whsec_...`. Svix sends the
    same under its own names, so where none of the `prefix`'s headers is there, the other's count.
    """

    kind: typing.ClassVar[str] = "standard_webhooks"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset()
    prefix: str = "webhook"
    key: str = "base64"  # or text, where the secret is the key as it stands
    PREFIXES: typing.ClassVar[tuple[str, ...]] = ("webhook", "svix")

    def problem(self, secret: str) -> str | None:
        """Want the base64 key that the provider shows."""
        try:
            return None if self._key_of(secret) else "must not be empty"
        except ValueError:
            return "must be whsec_ and base64"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Check the timestamp's age, then every v1 signature against every secret."""
        names = self._names(webhook.headers)
        ident, stamp, signatures = (webhook.headers.get(name, "") for name in names)
        if not (ident and stamp and signatures):
            raise bad_proof(f"One of the headers {', '.join(names)} is missing.")
        if not re.fullmatch(r"\w+,[\w+/=]+(?: \w+,[\w+/=]+)*", signatures):
            raise bad_proof(f"The header {names[2]} is malformed.")
        check_age(stamp, now)
        given = [part[3:] for part in signatures.split(" ") if part.startswith("v1,")]
        expected = [self._signature(ident, stamp, webhook.body, secret) for secret in secrets]
        if not _any(same(one, right) for one in given for right in expected):
            raise bad_proof("The signature does not fit the body.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return the three headers."""
        stamp = str(int(now.timestamp()))
        ident = "msg_" + hashlib.sha256(body + stamp.encode()).hexdigest()[:24]
        signature = self._signature(ident, stamp, body, secret)
        values = {"id": ident, "timestamp": stamp, "signature": f"v1,{signature}"}
        return {f"{self.prefix}-{name}": value for name, value in values.items()}

    def _names(self, headers: Mapping[str, str]) -> list[str]:
        families = [
            [f"{prefix}-{part}" for part in ("id", "timestamp", "signature")]
            for prefix in (self.prefix, *self.PREFIXES)
        ]
        return next((names for names in families if not headers.keys().isdisjoint(names)), families[0])

    def wrong(self) -> list[str]:
        """Say all that is wrong with the options."""
        prefix = f"prefix must be one of {', '.join(self.PREFIXES)}"
        said = [] if self.prefix in self.PREFIXES else [prefix]
        return said if self.key in ("base64", "text") else [*said, "key must be base64 or text"]

    def _key_of(self, secret: str) -> bytes:
        if self.key == "text":
            return secret.encode()
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)

    def _signature(self, ident: str, stamp: str, body: bytes, secret: str) -> str:
        message = _bytes(f"{ident}.{stamp}.") + body
        return ENCODINGS["base64"](hmac.digest(self._key_of(secret), message, hashlib.sha256))


@dataclass(frozen=True)
class BasicOrHeader(_InHeaders):
    """Basic where the secret is `user:password`, a static header where it is `Name: value`."""

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
        return Basic() if Basic().problem(secret) is None else Header()


@dataclass(frozen=True)
class Solidgate(_Keyed):
    """Solidgate's two signatures, told apart by the header `merchant`, which only the first has.

    Version 1: base64 of the hex text of an HMAC-SHA512 over public key, raw body, public key, where
    `merchant` is the public key. Version 2: base64 of an HMAC-SHA256 over the raw body.
    """

    kind: typing.ClassVar[str] = "solidgate"
    second: typing.ClassVar[Hmac] = Hmac(header="signature", algorithm="sha256", encoding="base64")

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the signature of the version that the headers show."""
        merchant = webhook.headers.get("merchant")
        if merchant is None:
            return self.second.verify(webhook, secrets, now)
        given = webhook.headers.get("signature", "").strip()
        if not given:
            raise bad_proof("The header signature is missing.")
        if not _any(same(given, self.first(webhook.body, merchant, secret)) for secret in secrets):
            raise bad_proof("The signature does not fit the body.")
        return None

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Return version 2's header."""
        return self.second.sign(body, secret, now)

    @staticmethod
    def first(body: bytes, merchant: str, secret: str) -> str:
        """Compute version 1's signature."""
        key = _bytes(merchant)
        return base64.b64encode(
            _bytes(hmac.digest(secret.encode(), key + body + key, "sha512").hex())
        ).decode()


@dataclass(frozen=True)
class AdyenItems:
    """Adyen's signature inside each item of a batch: base64 HMAC-SHA256 with a key in hex.

    Signed are eight fields, joined by colons, and nothing else of the item. Every item must be right.
    """

    kind: typing.ClassVar[str] = "adyen"
    secret_headers: typing.ClassVar[frozenset[str]] = frozenset()
    SIGNED: typing.ClassVar[tuple[str, ...]] = (
        "pspReference",
        "originalReference",
        "merchantAccountCode",
        "merchantReference",
        "amount.value",
        "amount.currency",
        "eventCode",
        "success",
    )
    SIGNATURE: typing.ClassVar[str] = "additionalData.hmacSignature"

    def problem(self, secret: str) -> str | None:
        """Want the key in hex, as Adyen shows it."""
        return None if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", secret) else "must be an HMAC key in hex"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compare the signature of each item."""
        for item in self._items(webhook.body):
            given = trees.pick(item, self.SIGNATURE)
            if not isinstance(given, str):
                raise bad_proof("An item of the batch has no signature.")
            if not _any(same(given, self._signature(item, secret)) for secret in secrets):
                raise bad_proof("The signature of an item does not fit it.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Add no header: the signatures stand inside the body."""
        return {}

    def seal(self, body: bytes, secret: str) -> bytes:
        """Return the body with each item signed."""
        tree = trees.parse(body, ("json",))
        for wrapped in tree["notificationItems"]:
            item = wrapped["NotificationRequestItem"]
            item.setdefault("additionalData", {})["hmacSignature"] = self._signature(item, secret)
        return trees.render(tree)

    @staticmethod
    def _items(body: bytes) -> list[Tree]:
        try:
            tree = trees.parse(body, ("json",))
        except BadBody as error:
            raise bad_proof(f"There is no signature to be found: {error}.") from None
        batch = trees.pick(tree, "notificationItems")
        wrapped = batch if isinstance(batch, list) else []
        items = [trees.pick(one, "NotificationRequestItem") for one in wrapped]
        if not items or not all(isinstance(item, dict) for item in items):
            raise bad_proof("The body has no notificationItems with signatures.")
        # A dotted name would be read in place of the nested value that is signed.
        if any("." in name for level in (tree, *wrapped, *items) for name in level):
            raise bad_proof("An item names a signed field twice.")
        return items

    def _signature(self, item: Tree, secret: str) -> str:
        message = ":".join(self._word(trees.pick(item, path)) for path in self.SIGNED)
        return ENCODINGS["base64"](hmac.digest(bytes.fromhex(secret), _bytes(message), "sha256"))

    @staticmethod
    def _word(value: Tree) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value or "")


def refusal(way: Proof, webhook: Webhook, secrets: Sequence[str], now: datetime) -> Rejected | None:
    """Return what a way of proof has against a webhook, if anything."""
    try:
        way.verify(webhook, secrets, now)
    except Rejected as error:
        return error
    return None


@dataclass(frozen=True)
class Resigned(Hmac):
    """29next's: an HMAC over the body as Python's `json.dumps` writes it again, or over the raw body."""

    kind: typing.ClassVar[str] = "resigned"
    header: str = "X-29Next-Signature"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Try the raw bytes, then the body written again."""
        try:
            super().verify(webhook, secrets, now)
        except Rejected:
            if self.header.lower() not in webhook.headers:
                raise
            try:
                again = json.dumps(json.loads(webhook.body)).encode()
            except (ValueError, RecursionError):
                raise bad_proof("The signature does not fit the body.") from None
            super().verify(dataclasses.replace(webhook, body=again), secrets, now)


def check_age(stamp: str, now: datetime) -> None:
    """Refuse a signed timestamp (unix seconds) that is older or newer than the tolerance.

    Whole seconds are compared, as they are signed: 300 pass and 301 do not, in either direction.
    """
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise bad_proof("The signed timestamp is malformed.")
    if abs(int(now.timestamp()) - int(stamp)) > TOLERANCE:
        raise bad_proof("The signed timestamp is more than five minutes off.")


KINDS: dict[str, type] = {
    proof.kind: proof for proof in (Basic, Bearer, Header, Url, Hmac, TimestampedHmac, StandardWebhooks)
}
"""Ways of proof by the word that `bridge.toml` uses."""


def build(table: Mapping[str, typing.Any]) -> Proof:
    """Build a proof from its table in `bridge.toml`; raises ValueError with all that is wrong, one by one."""
    options = {name: value for name, value in table.items() if name != "kind"}
    kind = KINDS.get(str(table.get("kind")))
    known = {one.name for each in ([kind] if kind else KINDS.values()) for one in dataclasses.fields(each)}
    wrong = [] if kind else [f"kind must be one of {', '.join(sorted(KINDS))}"]
    if unknown := sorted(set(options) - known):
        has = f"; expected one of {', '.join(sorted(known))}" if known else ""
        wrong.append(f"{table.get('kind')} has no option {', '.join(unknown)}{has}")
    for name in sorted(known & set(options)):
        if not isinstance(options[name], str):
            wrong.append(f"{name}: every option is text, in quotes")
        elif options[name] not in (words := WORDS.get(name, [options[name]])):
            wrong.append(f"{name} must be one of {', '.join(words)}")
    usable = {name: options[name] for name in known & set(options) if isinstance(options[name], str)}
    made = kind(**usable) if kind else None
    if isinstance(made, Hmac | StandardWebhooks):
        wrong += made.wrong()
    if wrong:
        raise ValueError(*wrong)
    return typing.cast("Proof", made)


WORDS: Mapping[str, typing.Iterable[str]] = {"algorithm": ALGORITHMS, "encoding": ENCODINGS}
"""Options that are one of some words."""
