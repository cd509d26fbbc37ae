"""Verifies OAuth 1.0a signatures with code of its own, as Mastercard's documents and RFC 5849 describe them."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
import time
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

CONSUMER_KEY = "canary-consumer-key!0123456789abcdef"
MINUTES_5 = 300


@functools.cache
def private_key() -> rsa.RSAPrivateKey:
    """A made-up signing key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def escape(text: str) -> str:
    """Percent-encoding of RFC 5849."""
    return quote(text, safe="-._~")


def base_string(method: str, url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """What is signed: the method, the URL without its query, and all parameters in order."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}[parts.scheme.lower()]
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    where = f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}{port}{parts.path or '/'}"
    everything = [*parse_qsl(parts.query, keep_blank_values=True), *parameters]
    ordered = sorted((escape(name), escape(value)) for name, value in everything)
    return "&".join(
        [method.upper(), escape(where), escape("&".join(f"{name}={value}" for name, value in ordered))]
    )


def body_hash(body: bytes) -> str:
    """The hash of a body, as `oauth_body_hash` has it."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def problem(method: str, url: str, header: str, body: bytes, nonces: set[str]) -> str | None:
    """Say what is wrong with a signed request; None where it is genuine. `nonces` are those of before."""
    if not header.startswith("OAuth "):
        return "no OAuth header"
    found = dict(re.findall(r'([a-z_]+)="([^"]*)"', header))
    given = {name: unquote(value) for name, value in found.items()}
    signature = given.pop("oauth_signature", "")
    wanted = {
        "oauth_consumer_key": CONSUMER_KEY,
        "oauth_signature_method": "RSA-SHA256",
        "oauth_version": "1.0",
        "oauth_body_hash": body_hash(body),
    }
    for name, value in wanted.items():
        if given.get(name) != value:
            return f"{name} is {given.get(name)!r}"
    if abs(time.time() - int(given.get("oauth_timestamp", "0"))) > MINUTES_5:
        return "the timestamp is not now"
    if given.get("oauth_nonce", "") in nonces | {""}:
        return "the nonce was used before"
    nonces.add(given["oauth_nonce"])
    signed = base_string(method, url, given.items()).encode()
    try:
        private_key().public_key().verify(base64.b64decode(signature), signed, padding.PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return "the signature does not fit"
    return None
