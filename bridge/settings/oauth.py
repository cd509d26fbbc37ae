"""The keys of an API that uses OAuth 1.0a: read and checked at boot, never shown.

The message for an invalid key says what is wrong, and quotes nothing of the key.
"""

from __future__ import annotations

import base64
import re
import typing
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

FEWEST_BITS = 2048
EXPECTED = "a PEM private key (-----BEGIN PRIVATE KEY-----), or a PKCS#12 file (.p12) in base64"
CONSUMER_KEY = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""Characters that need no escape in a quoted value of a header."""
PEM = "-----BEGIN "


@dataclass(frozen=True)
class OAuthKeys:
    """The keys that sign the calls to an API. Neither is ever shown."""

    consumer_key: str = field(repr=False)
    signing_key: RSAPrivateKey = field(repr=False)


def signing_key(given: str, password: str, variable: str) -> RSAPrivateKey:
    r"""Returns the private key of a variable; raises ValueError with what is wrong.

    Line breaks may be written as `\n`, as platforms store them. The password opens an encrypted key.
    """
    text = given.replace("\\n", "\n").replace("\\r", "")
    key = _of_pem(text, password, variable) if PEM in text else _of_pkcs12(text, password, variable)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("expected an RSA key; this is another kind")  # noqa: TRY004  a setting, not a bug
    if key.key_size < FEWEST_BITS:
        raise ValueError(f"expected an RSA key of {FEWEST_BITS} bits or more; this has {key.key_size}")
    return key


def _of_pem(text: str, password: str, variable: str) -> typing.Any:
    if "PRIVATE KEY-----" not in text:
        kinds = {"CERTIFICATE": "a certificate", "PUBLIC KEY": "a public key"}
        actual = next((name for kind, name in kinds.items() if f"{PEM}{kind}" in text), "something else")
        raise ValueError(f"expected the private key; this is {actual}")
    is_encrypted = "ENCRYPTED" in text
    if is_encrypted and not password:
        raise ValueError(f"the key is encrypted; set {variable}_PASSWORD")
    try:
        return load_pem_private_key(text.encode(), password.encode() if is_encrypted else None)
    except UnsupportedAlgorithm:
        raise ValueError("expected an RSA key; this is another kind") from None
    except (ValueError, TypeError) as error:
        if "password" in str(error).lower():
            raise ValueError(f"{variable}_PASSWORD does not open the key") from None
        raise ValueError(
            "the PEM cannot be read; check that it is complete, with line breaks (or \\n)"
        ) from None


def _of_pkcs12(text: str, password: str, variable: str) -> typing.Any:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ValueError(f"expected {EXPECTED}; this is neither (a file's name, or cut off?)") from None
    try:
        key = load_pkcs12(content, password.encode() or None).key
    except (ValueError, UnsupportedAlgorithm) as error:
        if "password" not in str(error).lower():
            actual = "this is base64, but not of a PKCS#12 file, or it is cut off"
            raise ValueError(f"expected {EXPECTED}; {actual}") from None
        does_not = "does not open the PKCS#12 file" if password else "is missing; a PKCS#12 file needs it"
        raise ValueError(f"{variable}_PASSWORD {does_not}") from None
    if key is None:
        raise ValueError("the PKCS#12 file holds no private key, only certificates")
    return key
