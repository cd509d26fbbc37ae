"""Authorizes requests to providers' APIs with a key in a header, or with an OAuth 1.0a signature.

Mastercard's APIs want OAuth 1.0a with RSA-SHA256 and a SHA-256 hash of the body in `oauth_body_hash`
(doc: developer.mastercard.com/platform/documentation/authentication/using-oauth-1a-to-access-mastercard-apis,
read November 2026). Their own signers do not escape the OAuth parameters as RFC 5849 does, neither in
the header nor in what is signed, so a library for the RFC signs something else (oauthlib also hashes
bodies with SHA-1). Their signer for Python, mastercard-oauth1-signer, does not install on Python 3.13.
This module signs byte for byte what version 1.9.2 of it signs.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import typing
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qsl, quote, urlsplit

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from requests.auth import AuthBase

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest

    from bridge.settings.oauth import OAuthKeys

DEFAULT_PORTS = {"http": 80, "https": 443}

escaped = partial(quote, safe="")
Authorization = AuthBase
"""What authorizes a request."""


@dataclass(frozen=True)
class Key(AuthBase):
    """Sends a key, or a token, in a header."""

    header: str
    scheme: str  # what stands before the key, such as `Bearer `
    key: str = field(repr=False)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sets the header."""
        request.headers[self.header] = f"{self.scheme}{self.key}"
        return request


@dataclass(frozen=True)
class OAuth(AuthBase):
    """Signs a request and its body with these keys."""

    keys: OAuthKeys

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sets the Authorization header."""
        body = request.body or b""
        body_hash = hashlib.sha256(body.encode() if isinstance(body, str) else body).digest()
        parameters = {
            "oauth_body_hash": base64.b64encode(body_hash).decode(),
            "oauth_consumer_key": self.keys.consumer_key,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": "RSA-SHA256",
            "oauth_timestamp": str(int(time.time())),
            "oauth_version": "1.0",
        }
        signed = base_string(request.method or "", request.url or "", parameters)
        signature = self.keys.signing_key.sign(signed.encode(), PKCS1v15(), SHA256())
        parameters["oauth_signature"] = escaped(base64.b64encode(signature).decode())
        written = ",".join(f'{name}="{value}"' for name, value in parameters.items())
        request.headers["Authorization"] = f"OAuth {written}"
        return request


def base_string(method: str, url: str, parameters: Mapping[str, str]) -> str:
    """Returns the text to sign: the method, the URL, and the parameters of the query and of OAuth."""
    split = urlsplit(url)
    is_default_port = split.port in (None, DEFAULT_PORTS[split.scheme])
    host = (split.hostname or "") if is_default_port else split.netloc.lower()
    query = [
        (escaped(name), escaped(value)) for name, value in parse_qsl(split.query, keep_blank_values=True)
    ]
    pairs = sorted(f"{name}={value}" for name, value in [*query, *parameters.items()])
    return "&".join(map(escaped, (method, f"{split.scheme}://{host}{split.path or '/'}", "&".join(pairs))))
