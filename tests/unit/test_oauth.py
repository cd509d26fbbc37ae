"""OAuth 1.0a: requests are signed as Mastercard wants it, and keys are checked at boot and never shown."""

from __future__ import annotations

import base64
import itertools
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from time_machine import travel

from bridge.errors import SettingsError
from bridge.outbound.authorization import Key, OAuth
from bridge.outbound.http import HttpClient
from bridge.settings.oauth import OAuthKeys, signing_key
from tests.support.configuring import load, problems
from tests.support.ethoca import CONSUMER_KEY, KEYS, PEM, SECRETS, SIGNING_KEY, alert
from tests.support.provider_apis import ProviderApis, provider_apis
from tests.support.trying import tried_with

PASSWORD = "canary-password"
VARIABLE = "ETHOCA_SIGNING_KEY"


def pem(key: object, encryption: KeySerializationEncryption = NoEncryption()) -> str:  # noqa: B008
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def certificate() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made up")])
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(SIGNING_KEY.public_key())
    )
    first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    built = built.serial_number(1).not_valid_before(first).not_valid_after(last)
    return built.sign(SIGNING_KEY, SHA256())


def p12(password: str = PASSWORD, key: rsa.RSAPrivateKey | None = SIGNING_KEY) -> str:
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    content = pkcs12.serialize_key_and_certificates(b"key", key, certificate(), None, encryption)
    return base64.b64encode(content).decode()


# --- the signature ------------------------------------------------------------------------------


@pytest.fixture
def apis() -> Iterator[ProviderApis]:
    with provider_apis() as made:
        yield made


@pytest.mark.parametrize(
    ("method", "url", "body", "body_hash", "signature"),
    [
        (
            "GET",
            "https://api.ethocaweb.com/ethoca/alerts/merchants/alerts?size=25",
            None,
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            (
                "kYx15180jNsb9jA7tMqy9a4XZEVwvR518JiJlWf38RIKyusn6PgqagjM8cTPAPv%2FwHJfH4QcoMlkQZKZBXUk5rG46EamE0eq6N"
                "PfZs4GnyB1l5pjBLMPOFSr97qFP7ILohibiYNj5I5aSNlYRZfBLquhD08q8%2F0NyVszjkwU%2BjIiYtlgYg5CivarxzLjH0UClCK"
                "7yTdkeP7GsNCEZV1YDlpuLZZMMEjhQ7jeso1VcppfUSZZSi9glgJU3xhvWqxbWI6QGJ1FFXwCVvANlMLoZYNJSky1l2mogH6s1eIE"
                "7x%2F9vZMc1Tbdqudfb79%2F%2FjqTcicDnq%2BSr5BCQ%2BxSOEMVaA%3D%3D"
            ),
        ),
        (
            "POST",
            "https://API.ethocaweb.com:443/ethoca/alerts/merchants/alerts/acknowledges",
            b'{"a": "\xc3\xa9"}',
            "xsCiacPVpV6caH0TjMH80Tli3C2Wwbn/HqAf9K1AR9M=",
            (
                "ppvQ7P26KkjnSnrxCLpro8o12uUBiTSxZIetD%2Fax%2FdhJc2KazXWS1yz66FIZeK8ZiXgX5gW1kp6VRYfp3Ons1rwNz3KEMzJYU"
                "p3ilZZgYcv0Ya4n0nzHaVkFhGtX3aRxZ%2BqEFAoen0qUariBVzkz6nHW84s%2ByncK8FONctsFr8yI1llNDkDTBhP%2BQidUTWio"
                "V%2FP4ffUavpCE4Gs%2FsEmKwjOOTc5G7DrrlZNKDPV6qhgiCQJ8ZZkLZUXeGdUCSW9lO8vVKcIeWJRRwdyNSN8v%2FDvwGRE%2Fs"
                "sHe8y1xqocWtZSQI2xdcGFnJXopaM%2BErhM816i0bzD2UM%2Fq%2Fq5SGBIUwA%3D%3D"
            ),
        ),
    ],
)
def test_a_request_is_signed_to_the_letter_as_mastercards_own_signer_does_it(
    monkeypatch: pytest.MonkeyPatch, method: str, url: str, body: bytes | None, body_hash: str, signature: str
) -> None:
    """The expected values are what mastercard-oauth1-signer 1.9.2 writes for this key, nonce and moment."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "8f3kA0zQpL2nXv7b")
    keys = OAuthKeys("abc-DEF_1!0123456789abcdef", SIGNING_KEY)
    with travel(1793000000, tick=False):
        prepared = requests.Request(method, url, data=body, auth=OAuth(keys)).prepare()
    header = prepared.headers["Authorization"]
    assert set(header.removeprefix("OAuth ").split(",")) == {
        'oauth_consumer_key="abc-DEF_1!0123456789abcdef"',
        'oauth_nonce="8f3kA0zQpL2nXv7b"',
        'oauth_timestamp="1793000000"',
        'oauth_signature_method="RSA-SHA256"',
        'oauth_version="1.0"',
        f'oauth_body_hash="{body_hash}"',
        f'oauth_signature="{signature}"',
    }


def test_the_api_takes_signed_requests_with_a_query_and_with_a_body(apis: ProviderApis) -> None:
    exchange = HttpClient("Ethoca", timeout=5.0)
    auth = OAuth(OAuthKeys(CONSUMER_KEY, SIGNING_KEY))
    apis.add(alert(1))
    status, _, content = exchange.send("GET", f"{apis.url('ethoca')}alerts", params={"size": "10"}, auth=auth)
    assert (status, b"PULLED" in content) == (200, True)
    body = {"acknowledges": [{"alertId": alert(1)["alertId"], "note": "é+ &=%"}]}
    status, _, content = exchange.send(
        "POST", f"{apis.url('ethoca')}alerts/acknowledges", body=body, auth=auth
    )
    assert (status, b"SUCCESS" in content, apis.waiting.alerts) == (200, True, {})
    exchange.close()


def test_another_key_is_refused(apis: ProviderApis) -> None:
    exchange = HttpClient("Ethoca", timeout=5.0)
    other = rsa.generate_private_key(65537, 2048)
    for keys in (OAuthKeys(CONSUMER_KEY, other), OAuthKeys("another", SIGNING_KEY)):
        assert exchange.send("GET", f"{apis.url('ethoca')}alerts", auth=OAuth(keys))[0] == 401
    assert apis.refused == ["another signature", "not the consumer key"]
    exchange.close()


def test_a_key_goes_in_its_header_and_into_no_repr() -> None:
    auth = Key("X-Api-Key", "Token ", "canary")
    assert (
        requests.Request("GET", "http://127.0.0.1/", auth=auth).prepare().headers["X-Api-Key"]
        == "Token canary"
    )
    assert "canary" not in repr(auth)
    keys = OAuthKeys(CONSUMER_KEY, SIGNING_KEY)
    for shown in (repr(keys), repr(OAuth(keys)), str(keys)):
        assert not any(secret in shown for secret in SECRETS)


# --- the keys -----------------------------------------------------------------------------------

ENCRYPTED = pem(SIGNING_KEY, BestAvailableEncryption(PASSWORD.encode()))
TRADITIONAL = SIGNING_KEY.private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
).decode()


@tried_with(
    ("given", "password"),
    [
        pytest.param(PEM, "", id="PEM"),
        pytest.param(PEM.replace("\n", "\\n"), "", id="PEM with \\n"),
        pytest.param(PEM.replace("\n", "\\r\\n"), "", id="PEM with \\r\\n"),
        pytest.param(PEM.replace("\n", "\r\n"), "", id="PEM with CRLF"),
        pytest.param(PEM.replace("\n", " "), "", id="PEM with blanks"),
        pytest.param(PEM, PASSWORD, id="PEM that needs no password"),
        pytest.param(TRADITIONAL, "", id="PKCS#1"),
        pytest.param(ENCRYPTED, PASSWORD, id="encrypted PEM"),
        pytest.param(certificate().public_bytes(Encoding.PEM).decode() + PEM, "", id="with its certificate"),
        pytest.param(p12(), PASSWORD, id="PKCS#12"),
        pytest.param(base64.encodebytes(base64.b64decode(p12())).decode(), PASSWORD, id="PKCS#12 in lines"),
        pytest.param(p12(""), "", id="PKCS#12 without a password"),
    ],
)
def test_a_key_is_read_in_every_form_in_which_platforms_keep_it(given: str, password: str) -> None:
    assert signing_key(given, password, VARIABLE).private_numbers() == SIGNING_KEY.private_numbers()


PUBLIC = SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
NEITHER = (
    "expected a PEM private key (-----BEGIN PRIVATE KEY-----), or a PKCS#12 file (.p12) in base64; this is "
)


@tried_with(
    ("given", "password", "said"),
    [
        (
            certificate().public_bytes(Encoding.PEM).decode(),
            "",
            "expected the private key; this is a certificate",
        ),
        (PUBLIC, "", "expected the private key; this is a public key"),
        ("-----BEGIN DH PARAMETERS-----", "", "expected the private key; this is something else"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "", "expected an RSA key; this is another kind"),
        (pem(ed25519.Ed25519PrivateKey.generate()), "", "expected an RSA key; this is another kind"),
        (
            pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505  it is what is refused
            "",
            "expected an RSA key of 2048 bits or more; this has 1024",
        ),
        (PEM[:300], "", "the PEM cannot be read; check that it is complete, with line breaks (or \\n)"),
        (ENCRYPTED, "", "the key is encrypted; set ETHOCA_SIGNING_KEY_PASSWORD"),
        (ENCRYPTED, "wrong", "ETHOCA_SIGNING_KEY_PASSWORD does not open the key"),
        (p12(), "", "ETHOCA_SIGNING_KEY_PASSWORD is missing; a PKCS#12 file needs it"),
        (p12(), "wrong", "ETHOCA_SIGNING_KEY_PASSWORD does not open the PKCS#12 file"),
        (p12()[:1000], PASSWORD, NEITHER + "base64, but not of a PKCS#12 file, or it is cut off"),
        (p12()[:1001], PASSWORD, NEITHER + "neither (a file's name, or cut off?)"),
        ("/etc/keys/ethoca.p12", PASSWORD, NEITHER + "neither (a file's name, or cut off?)"),
        (p12(key=None), PASSWORD, "the PKCS#12 file holds no private key, only certificates"),
    ],
    ids=itertools.count(),
)
def test_a_key_that_does_not_work_is_refused_at_boot_and_not_shown(
    given: str, password: str, said: str
) -> None:
    environ = {"ETHOCA_CONSUMER_KEY": CONSUMER_KEY, VARIABLE: given}
    with pytest.raises(SettingsError) as caught:
        load(**environ, **({f"{VARIABLE}_PASSWORD": password} if password else {}))
    assert caught.value.problems == [f"{VARIABLE}: {said}"]
    shown = "".join(traceback.format_exception(caught.value))
    parts = [line for line in given.replace(" ", "\n").split("\n") if len(line) > 30 and "BEGIN" not in line]
    assert not any(part in shown for part in [*parts, CONSUMER_KEY, PASSWORD, "MII"])


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({VARIABLE: PEM}, "ETHOCA_CONSUMER_KEY: missing, though ETHOCA_SIGNING_KEY is set"),
        ({"ETHOCA_CONSUMER_KEY": "a!b"}, "ETHOCA_SIGNING_KEY: missing, though ETHOCA_CONSUMER_KEY is set"),
        (
            {"ETHOCA_CONSUMER_KEY": 'a"b', VARIABLE: PEM},
            "ETHOCA_CONSUMER_KEY: expected the consumer key, as the developer portal shows it",
        ),
    ],
)
def test_one_key_wants_the_other(environ: dict[str, str], said: str) -> None:
    assert problems(**environ) == [said]


def test_both_keys_are_complained_of_at_once() -> None:
    said = problems(ETHOCA_CONSUMER_KEY="two words", ETHOCA_SIGNING_KEY=PUBLIC, PORT="0")
    assert [line.partition(":")[0] for line in said] == ["PORT", "ETHOCA_CONSUMER_KEY", VARIABLE]


def test_the_settings_show_no_key() -> None:
    read = load(**KEYS)
    assert not any(secret in repr(read) for secret in SECRETS)
