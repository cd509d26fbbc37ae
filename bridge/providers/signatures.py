"""Proofs by a signature: HMACs over the raw body and whatever else each provider signs. Pure."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from bridge import tree as trees
from bridge.alert import Webhook
from bridge.errors import Rejected
from bridge.providers.proof import Proof, any_of, as_bytes, bad_proof, same
from bridge.tree import BadBody, Tree

ALGORITHMS = ("sha1", "sha256", "sha512")
ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "hex": lambda digest: digest.hex(),
    "base64": lambda digest: base64.b64encode(digest).decode(),
}
TOLERANCE = 300
"""Seconds that a signed timestamp may lie in the past or in the future."""
PLACE = re.compile(r"\{(body|timestamp|url|path|method|header:[A-Za-z0-9-]+)\}")
"""The places in a template of the signed text."""


@dataclass(frozen=True)
class Hmac(Proof):
    """An HMAC in one header, in hex or base64. The template `signed` says what is signed.

    `parse` says how the header is split, such as `t=,s=`: the first name is the timestamp's, the last the
    signature's, which may come several times. Without it the header is the signature, after a `prefix`.
    """

    kind: typing.ClassVar[str] = "hmac"
    header: str = "X-Signature"
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    signed: str = "{body}"
    parse: str = ""

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compares each signature in the header with the right one by each secret."""
        header = webhook.headers.get(self.header.lower(), "").strip()
        if not header:
            raise bad_proof(f"The header {self.header} is missing.")
        stamp, given = self._split(header)
        self.check_timestamp(stamp, now)
        if self.encoding == "hex":
            given = [signature.lower() for signature in given]
        expected = [self._signature(webhook, stamp, secret) for secret in secrets]
        if not any_of(same(signature, right) for signature in given for right in expected):
            raise bad_proof("The signature does not fit the body.")

    def check_timestamp(self, stamp: str, now: datetime) -> None:
        """Accepts any timestamp, since it may be a nonce."""

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Returns the header with the signature."""
        stamp = str(int(now.timestamp()))
        webhook = Webhook("", urlsplit(url).path, body, url=url)
        signature = self.prefix + self._signature(webhook, stamp, secret)
        if not self.parse:
            return {self.header: signature}
        first, last = self._names()
        return {self.header: f"{first}={stamp},{last}={signature}"}

    def problems(self) -> list[str]:
        """Returns all that is wrong with the options."""
        problems, names = list[str](), self.parse.split(",")
        rest = PLACE.sub("", self.signed)
        if "{" in rest or "}" in rest or "{body}" not in self.signed:
            places = "{body}, {timestamp}, {url}, {path}, {method} and {header:Name}"
            problems.append(f"signed is a text with {places} in it, {{body}} among them")
        if self.parse and (len(names) != 2 or not all(re.fullmatch(r"\w{1,20}=", name) for name in names)):
            problems.append('parse names the parts of the header, such as "t=,s="')
        if "{timestamp}" in self.signed and not self.parse:
            problems.append('signed has a {timestamp}: say with parse where it stands, such as "t=,s="')
        return problems

    def _names(self) -> tuple[str, str]:
        first, last = (name.removesuffix("=") for name in self.parse.split(","))
        return first, last

    def _split(self, header: str) -> tuple[str, list[str]]:
        """Returns the timestamp and the signatures of a header. A part may itself contain commas."""
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
            "timestamp": as_bytes(stamp),
            "url": as_bytes(webhook.url),
            "path": as_bytes(webhook.path),
            "method": as_bytes(webhook.method),
        }
        message = b""
        for position, piece in enumerate(PLACE.split(self.signed)):
            if position % 2 == 0:
                message += as_bytes(piece)
            elif piece in values:
                message += values[piece]
            else:
                message += as_bytes(webhook.headers.get(piece.partition(":")[2].lower(), ""))
        return ENCODINGS[self.encoding](hmac.digest(secret.encode(), message, self.algorithm))


@dataclass(frozen=True)
class TimestampedHmac(Hmac):
    """An Hmac with a timestamp that must be recent: `t=<unix>,v1=<hex>` over `{timestamp}.{body}`."""

    kind: typing.ClassVar[str] = "timestamped_hmac"
    signed: str = "{timestamp}.{body}"
    parse: str = "t=,v1="

    def check_timestamp(self, stamp: str, now: datetime) -> None:
        """Rejects a timestamp that is old, or in the future."""
        check_age(stamp, now)


@dataclass(frozen=True)
class StandardWebhooks(Proof):
    """The Standard Webhooks specification: three headers `<prefix>-id`, `-timestamp`, `-signature`.

    HMAC-SHA256 over `{id}.{timestamp}.{raw body}` with the base64 part of `whsec_...`. Svix sends the
    same with its own prefix, so if no header has this `prefix`, the other prefix counts.
    """

    kind: typing.ClassVar[str] = "standard_webhooks"
    prefix: str = "webhook"
    key: str = "base64"  # or "text", if the secret is the key as it is
    PREFIXES: typing.ClassVar[tuple[str, ...]] = ("webhook", "svix")

    def problem(self, secret: str) -> str | None:
        """Requires the base64 key that the provider shows."""
        try:
            return None if self._key_of(secret) else "must not be empty"
        except ValueError:
            return "must be whsec_ and base64"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Checks the timestamp's age, then compare each v1 signature with the right one by each secret."""
        names = self._names(webhook.headers)
        ident, stamp, signatures = (webhook.headers.get(name, "") for name in names)
        if not (ident and stamp and signatures):
            raise bad_proof(f"One of the headers {', '.join(names)} is missing.")
        if not re.fullmatch(r"\w+,[\w+/=]+(?: \w+,[\w+/=]+)*", signatures):
            raise bad_proof(f"The header {names[2]} is malformed.")
        check_age(stamp, now)
        given = [part[3:] for part in signatures.split(" ") if part.startswith("v1,")]
        expected = [self._signature(ident, stamp, webhook.body, secret) for secret in secrets]
        if not any_of(same(signature, right) for signature in given for right in expected):
            raise bad_proof("The signature does not fit the body.")

    def sign(self, body: bytes, secret: str, now: datetime, url: str = "") -> dict[str, str]:
        """Returns the three headers."""
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

    def problems(self) -> list[str]:
        """Returns all that is wrong with the options."""
        problems = []
        if self.prefix not in self.PREFIXES:
            problems.append(f"prefix must be one of {', '.join(self.PREFIXES)}")
        if self.key not in ("base64", "text"):
            problems.append("key must be base64 or text")
        return problems

    def _key_of(self, secret: str) -> bytes:
        if self.key == "text":
            return secret.encode()
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)

    def _signature(self, ident: str, stamp: str, body: bytes, secret: str) -> str:
        message = as_bytes(f"{ident}.{stamp}.") + body
        return ENCODINGS["base64"](hmac.digest(self._key_of(secret), message, "sha256"))


@dataclass(frozen=True)
class Solidgate(Hmac):
    """Solidgate's two signatures. Only a webhook with the first has the header `merchant`.

    Version 1: base64 of the hex text of an HMAC-SHA512 over public key, raw body, public key, where
    `merchant` is the public key. Version 2: base64 of an HMAC-SHA256 over the raw body.
    """

    kind: typing.ClassVar[str] = "solidgate"
    header: str = "signature"
    encoding: str = "base64"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compares the signature of the webhook's version."""
        merchant = webhook.headers.get("merchant")
        if merchant is None:
            return super().verify(webhook, secrets, now)
        given = webhook.headers.get("signature", "").strip()
        if not given:
            raise bad_proof("The header signature is missing.")
        if not any_of(same(given, self.version_1(webhook.body, merchant, secret)) for secret in secrets):
            raise bad_proof("The signature does not fit the body.")
        return None

    @staticmethod
    def version_1(body: bytes, merchant: str, secret: str) -> str:
        """Returns version 1's signature."""
        key = as_bytes(merchant)
        signature = hmac.digest(secret.encode(), key + body + key, "sha512").hex()
        return ENCODINGS["base64"](signature.encode())


@dataclass(frozen=True)
class AdyenItems(Proof):
    """Adyen's signature inside each item of a batch: base64 HMAC-SHA256 with a key in hex.

    It signs eight fields of the item, joined by colons. Every item must have the right signature.
    """

    kind: typing.ClassVar[str] = "adyen"
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
        """Requires the key in hex, as Adyen shows it."""
        return None if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", secret) else "must be an HMAC key in hex"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Compares the signature of each item."""
        for item in self._items(webhook.body):
            given = trees.pick(item, self.SIGNATURE)
            if not isinstance(given, str):
                raise bad_proof("An item of the batch has no signature.")
            if not any_of(same(given, self._signature(item, secret)) for secret in secrets):
                raise bad_proof("The signature of an item does not fit it.")

    def seal(self, body: bytes, secret: str) -> bytes:
        """Returns the body with each item signed."""
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
        items = [trees.pick(wrapper, "NotificationRequestItem") for wrapper in wrapped]
        if not items or not all(isinstance(item, dict) for item in items):
            raise bad_proof("The body has no notificationItems with signatures.")
        # A dotted name would be read in place of the nested value that is signed.
        if any("." in name for level in (tree, *wrapped, *items) for name in level):
            raise bad_proof("An item names a signed field twice.")
        return items

    def _signature(self, item: Tree, secret: str) -> str:
        message = ":".join(self._word(trees.pick(item, path)) for path in self.SIGNED)
        return ENCODINGS["base64"](hmac.digest(bytes.fromhex(secret), as_bytes(message), "sha256"))

    @staticmethod
    def _word(value: Tree) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value or "")


@dataclass(frozen=True)
class NextSignature(Hmac):
    """29next's signature: an HMAC over the body as Python's `json.dumps` writes it, or over the raw body."""

    kind: typing.ClassVar[str] = "29next signature"
    header: str = "X-29Next-Signature"

    def verify(self, webhook: Webhook, secrets: Sequence[str], now: datetime) -> None:
        """Tries the raw body, then the body as `json.dumps` writes it."""
        try:
            super().verify(webhook, secrets, now)
        except Rejected:
            if self.header.lower() not in webhook.headers:
                raise
            try:
                rewritten = json.dumps(json.loads(webhook.body)).encode()
            except (ValueError, RecursionError):
                raise bad_proof("The signature does not fit the body.") from None
            super().verify(dataclasses.replace(webhook, body=rewritten), secrets, now)


def check_age(stamp: str, now: datetime) -> None:
    """Rejects a signed timestamp (unix seconds) that is further off than the tolerance, in either direction.

    It compares whole seconds, as they are signed: 300 pass and 301 do not.
    """
    if not re.fullmatch(r"[0-9]{1,12}", stamp):
        raise bad_proof("The signed timestamp is malformed.")
    if abs(int(now.timestamp()) - int(stamp)) > TOLERANCE:
        raise bad_proof("The signed timestamp is more than five minutes off.")
