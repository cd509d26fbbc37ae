"""What is Ethoca's own in tests: its keys, signatures that are really verified, and alerts to be pulled."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Json = Any

CONSUMER_KEY = "canary-consumer-key!0123456789abcdef"
TOLERANCE = 300.0
"""Seconds that the timestamp of a signature may be off."""
MOST = 25
"""Alerts of one page, however many are asked for."""

_P = int(
    "d83a92cea64c1c29e29ba3db17a35c4a3285a8189248d1d29eda7d98ae81baab4aebcf0c5528183f7f2f0b35c380bca9"
    "a87672e89b89a2a49aeb8988c13dec609c81f9f63ce0782d233dd0781d0c8bd89683f85380ecc3edc4ce0ef6dd548598"
    "547e166d16fc227a32db6bd33fec34c6b27293670e2e2fb47e6d2162a2daadc9",
    16,
)
_Q = int(
    "cf0d55684d9235af496b55369eac529ed6e227a412c9a861237a6016d66f413f3f34ee1e2c83a2bffe124599f34153e8"
    "53a187da857cd2e9ad38a75e621699e7c9d9f34f25a7eb78ca51506d9fa74a55d1f6aa5c9f9227e54d51d968081fc96f"
    "575226817ece6ef9c58deda21b93f6c51582d7338754220c78b961d956aeef79",
    16,
)


def _key() -> rsa.RSAPrivateKey:
    exponent = 65537
    private = pow(exponent, -1, (_P - 1) * (_Q - 1))
    by_p, by_q = rsa.rsa_crt_dmp1(private, _P), rsa.rsa_crt_dmq1(private, _Q)
    public = rsa.RSAPublicNumbers(exponent, _P * _Q)
    return rsa.RSAPrivateNumbers(_P, _Q, private, by_p, by_q, rsa.rsa_crt_iqmp(_P, _Q), public).private_key()


SIGNING_KEY = _key()
"""Made up, and the same each time: of two primes, so that no file here looks like anybody's key."""
PEM = SIGNING_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
KEYS = {"ETHOCA_CONSUMER_KEY": CONSUMER_KEY, "ETHOCA_SIGNING_KEY": PEM}
SECRETS = (CONSUMER_KEY, *PEM.split("\n")[1:-2])
"""What must be found nowhere: the consumer key, and each line of the signing key."""


def alert(number: int = 1, **changes: Json) -> Json:
    """An alert as the Pull API may give it."""
    return {
        "alertId": f"PULLED{number:019d}",
        "alertType": "CUSTOMERDISPUTE",
        "customerName": "Jane Smith",
        "transactionAmount": "150.10",
        "transactionCurrency": "USD",
        "dateSubmitted": "2026-03-01T11:31:08Z",
        **changes,
    }


@dataclass
class Waiting:
    """The alerts that wait to be pulled, each until it is acknowledged."""

    alerts: dict[str, Json] = field(default_factory=dict)  # by id, the oldest first
    unsaid: list[Json] = field(default_factory=list)  # entries of every page that have no id

    def page(self, query: Mapping[str, str]) -> Json:
        """The oldest of them, as many as are asked for and go on a page."""
        most = min(int(query.get("size", MOST)), MOST)
        return {"alerts": [*self.unsaid, *self.alerts.values()][:most]}

    def acknowledge(self, acknowledges: Sequence[Json]) -> Json:
        """Let those go that are acknowledged."""
        known = [self.alerts.pop(one["alertId"], None) is not None for one in acknowledges]
        said = zip(acknowledges, known, strict=True)
        rows = [{"alertId": one["alertId"], "status": "SUCCESS" if ok else "FAILURE"} for one, ok in said]
        return {"acknowledgeResponses": rows}


@dataclass
class Signatures:
    """Verifies OAuth 1.0a signatures; each nonce counts once."""

    nonces: set[str] = field(default_factory=set)

    def problem(self, method: str, url: str, authorization: str, body: bytes) -> str | None:
        """Say what is wrong with the OAuth 1.0a signature of a request."""
        scheme, _, rest = authorization.partition(" ")
        pairs = [one.strip().partition("=") for one in rest.split(",")]
        said = {name: value.strip('"') for name, _, value in pairs}  # as they came, and so are they signed
        signature = unquote(said.pop("oauth_signature", ""))
        if scheme != "OAuth" or said.get("oauth_consumer_key") != CONSUMER_KEY:
            return "not the consumer key"
        if said.get("oauth_signature_method") != "RSA-SHA256" or said.get("oauth_version") != "1.0":
            return "another method"
        if abs(time.time() - int(said["oauth_timestamp"])) > TOLERANCE:
            return "too old"
        if said["oauth_nonce"] in self.nonces:
            return "a nonce for the second time"
        self.nonces.add(said["oauth_nonce"])
        if said["oauth_body_hash"] != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return "the hash of another body"
        split = urlsplit(url)
        query = [(quote(name, safe=""), quote(value, safe="")) for name, value in parse_qsl(split.query)]
        signed = sorted([*query, *said.items()])
        parts = (method, f"http://{split.netloc}{split.path}", "&".join(f"{n}={v}" for n, v in signed))
        base_string = "&".join(quote(part, safe="") for part in parts)
        try:
            SIGNING_KEY.public_key().verify(
                base64.b64decode(signature), base_string.encode(), PKCS1v15(), SHA256()
            )
        except (InvalidSignature, ValueError):
            return "another signature"
        return None


def errors(reason: str, said: str = "made up", *, recoverable: bool) -> Json:
    """Mastercard's envelope of an error."""
    error = {"Source": "Service", "ReasonCode": reason, "Description": said, "Recoverable": recoverable}
    return {"Errors": {"Error": [error]}}
