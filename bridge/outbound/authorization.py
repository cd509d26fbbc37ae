"""Authorizes requests to providers' APIs: by a key in a header, or by an OAuth 1.0a signature.

Mastercard's APIs want OAuth 1.0a with RSA-SHA256 and a SHA-256 hash of the body in `oauth_body_hash`
(doc: developer.mastercard.com/platform/documentation/authentication/using-oauth-1a-to-access-mastercard-apis,
read November 2026). Their own signer for Python refuses Python 3.13 and later. So oauthlib collects and
orders what is signed, and cryptography signs it. oauthlib's own body hash is SHA-1, so it does not see
the body.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import typing
from dataclasses import dataclass, field
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from oauthlib.common import Request
from oauthlib.oauth1 import SIGNATURE_RSA_SHA256, Client
from requests.auth import AuthBase

if typing.TYPE_CHECKING:
    from requests import PreparedRequest

    from bridge.settings.oauth import OAuthKeys

logging.getLogger("oauthlib").setLevel(logging.INFO)  # in detail it would log the consumer key


@dataclass(frozen=True)
class Key(AuthBase):
    """Sends a key, or a token, in a header."""

    header: str
    scheme: str  # what stands before the key, such as `Bearer `
    key: str = field(repr=False)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set the header."""
        request.headers[self.header] = f"{self.scheme}{self.key}"
        return request


def oauth(keys: OAuthKeys) -> AuthBase:
    """Return what signs each request with these keys."""
    return _Signed(keys)


@dataclass(frozen=True)
class _Signed(AuthBase):
    """Signs a request, with its body as it is sent."""

    keys: OAuthKeys

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign it."""
        body = request.body or b""
        body_hash = hashlib.sha256(body.encode() if isinstance(body, str) else body).digest()
        client = Client(
            self.keys.consumer_key, signature_method=SIGNATURE_RSA_SHA256, rsa_key=self.keys.signing_key
        )
        described = Request(request.url, request.method)
        described.oauth_params = [
            *client.get_oauth_params(described),
            ("oauth_body_hash", base64.b64encode(body_hash).decode()),
        ]
        signature = quote(client.get_oauth_signature(described), safe="")
        parameters = [*described.oauth_params, ("oauth_signature", signature)]
        # only the signature is escaped, as Mastercard's own signers do it
        request.headers["Authorization"] = "OAuth " + ",".join(
            f'{name}="{said}"' for name, said in parameters
        )
        return request


def _sign(base_string: str, client: typing.Any) -> str:
    return base64.b64encode(client.rsa_key.sign(base_string.encode(), PKCS1v15(), SHA256())).decode()


Client.register_signature_method(SIGNATURE_RSA_SHA256, _sign)  # oauthlib's own needs one more library
