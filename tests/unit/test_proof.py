"""Ways of proof, each against values that others computed: RFCs, specifications, vendors, and openssl."""

from __future__ import annotations

import base64
import dataclasses
import hmac
import inspect
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.alert import Webhook
from bridge.errors import Rejected
from bridge.providers import credentials, proof, signatures
from bridge.providers.credentials import Basic, BasicOrHeader, Bearer, Header, Url
from bridge.providers.custom import build_proof
from bridge.providers.proof import Proof
from bridge.providers.signatures import (
    AdyenItems,
    Hmac,
    NextSignature,
    Solidgate,
    StandardWebhooks,
    TimestampedHmac,
)
from tests.support.trying import tried_with

SIGNED = 1614265330  # the moment of the Standard Webhooks specification's example
NOW = datetime.fromtimestamp(SIGNED, UTC)
BODY = b'{"id": "evt_1", "amount": 1250}'


URL = "https://alerts.example.com/webhooks/acme?a=1"


def webhook(headers: dict[str, str], body: bytes = BODY, **query: str) -> Webhook:
    return Webhook("acme", "/webhooks/acme", body, headers, query, url=URL)


def good(way: Proof, request: Webhook, *secrets: str, now: datetime = NOW) -> bool:
    error = proof.refusal(way, request, secrets, now)
    assert error is None or (error.word, error.status) == ("bad_proof", 401)
    return error is None


# --- known answers --------------------------------------------------------------------------------

JEFE = b"what do ya want for nothing?"
ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
ADYEN_ITEM = {
    "pspReference": "7914073381342284",
    "merchantAccountCode": "TestMerchant",
    "merchantReference": "TestPayment-1407325143704",
    "amount": {"value": 1130, "currency": "EUR"},
    "eventCode": "AUTHORISATION",
    "success": "true",
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
}


def batch(*items: Any) -> bytes:
    wrapped = [{"NotificationRequestItem": item} for item in items]
    return json.dumps({"live": "true", "notificationItems": wrapped}).encode()


KNOWN: dict[str, tuple[Proof, str, Webhook]] = {
    "Basic, RFC 7617": (
        Basic(),
        "Aladdin:open sesame",
        webhook({"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}),
    ),
    "Basic, RFC 7617 in UTF-8": (
        Basic(),
        "test:123\u00a3",
        webhook({"authorization": "basic dGVzdDoxMjPCow=="}),
    ),
    "Bearer, RFC 6750": (Bearer(), "mF_9.B5f-4.1JqM", webhook({"authorization": "Bearer mF_9.B5f-4.1JqM"})),
    "header": (Header(), "X-Acme-Key: open sesame", webhook({"x-acme-key": "open sesame"})),
    "header that is named": (Header("X-Acme-Key"), "open: sesame", webhook({"x-acme-key": "open: sesame"})),
    "URL": (Url(), "0123456789abcdef", webhook({}, key="0123456789abcdef")),
    "SHA-1, RFC 2202": (
        Hmac(header="X-Sig", algorithm="sha1"),
        "Jefe",
        webhook({"x-sig": "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"}, JEFE),
    ),
    "SHA-256, RFC 4231": (
        Hmac(header="X-Sig"),
        "Jefe",
        webhook({"x-sig": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"}, JEFE),
    ),
    "SHA-256, RFC 4231, upper case behind a prefix": (
        Hmac(header="X-Sig", prefix="SHA256="),
        "Jefe",
        webhook({"x-sig": "SHA256=5BDCC146BF60754E6A042426089575C75A003F089D2739839DEC58B964EC3843"}, JEFE),
    ),
    "SHA-512, RFC 4231": (
        Hmac(header="X-Sig", algorithm="sha512"),
        "Jefe",
        webhook(
            {
                "x-sig": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
            },
            JEFE,
        ),
    ),
    "SHA-256 in base64, openssl": (
        Hmac(header="signature", encoding="base64"),
        "wh_sk_fixture",
        webhook({"signature": "7jCKJ3MAbZ0SmZfCZ6cRLbe2170Cwa0p26a9XJwL+EM="}),
    ),
    "Standard Webhooks, the specification's example": (
        StandardWebhooks(),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        webhook(
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
        ),
    ),
    "Standard Webhooks under Svix's names, among other signatures": (
        StandardWebhooks(prefix="svix"),
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        webhook(
            {
                "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "svix-timestamp": "1614265330",
                "svix-signature": "v1,AAAA v1a,BBBB= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
        ),
    ),
    "timestamped SHA-256 as Stripe's, openssl": (
        TimestampedHmac(header="Stripe-Signature"),
        "whsec_stripe_takes_this_whole",
        webhook(
            {
                "stripe-signature": "t=1614265330,v0=11,v1=00ff,"
                "v1=bbf832376005f6d28bc042b024af206ba40801e5f85ec7e428f9926aa0979574"
            }
        ),
    ),
    "timestamped SHA-512 as ChargebackStop's, openssl": (
        TimestampedHmac(algorithm="sha512"),
        "cbs-secret-\u00e4",
        webhook(
            {
                "x-signature": "t=1614265330,v1="
                "d58838c6fc8ad3d544a2c5489140a54a628980b6c4bec2d000a0f686d8ec512f"
                "7f1501d68674a7a8d4f85c51901c880c25cd2dc16601ec689dcbba7e174635f2"
            }
        ),
    ),
    "Solidgate's first, openssl": (
        Solidgate(),
        "wh_sk_fixture",
        webhook(
            {
                "merchant": "wh_pk_fixture",
                "signature": "YmZmNDRmMDYwN2QwOWRmZGVkZDFkOWMzODJiNjY5ZTdh"
                "NGViZmRlOTZmOTMwMjgxYmE0NzI5Yzc1MzhmNzY0YmQ5MmExOThiZTU0ZjhmN2JmNzIyNjg0ODBiMDUyZWE5MWM0YmI3NzA0MWEwZjk5MzhiMGYzYTJiYWNhMGQ3Y2M=",
            }
        ),
    ),
    "Solidgate's second, openssl": (
        Solidgate(),
        "wh_sk_fixture",
        webhook({"signature": "7jCKJ3MAbZ0SmZfCZ6cRLbe2170Cwa0p26a9XJwL+EM="}),
    ),
    "Adyen's own example": (AdyenItems(), ADYEN_KEY, webhook({}, batch(ADYEN_ITEM))),
    "Adyen's with an original reference, openssl": (
        AdyenItems(),
        ADYEN_KEY.lower(),
        webhook(
            {},
            batch(
                ADYEN_ITEM,
                {
                    "pspReference": "9915471200449001",
                    "originalReference": "8835471200449103",
                    "merchantAccountCode": "LumenCandlesECOM",
                    "merchantReference": "LC:40077",
                    "amount": {"value": 5495, "currency": "EUR"},
                    "eventCode": "CHARGEBACK",
                    "success": True,
                    "additionalData": {
                        "hmacSignature": "pEdCWhQhSBvycZLswSg1uYdGsF3KSGSkukq46TAi9rg=",
                        "checkout.cardAddedBrand": "visa",
                    },
                },
            ),
        ),
    ),
    "a template of URL and body, openssl": (
        Hmac("X-Sig", encoding="base64", signed="{url}{body}"),
        "square-key",
        webhook({"x-sig": "rS80Dt7T+DF6LAzxG7xPEQjbz3M+H6dm1Oniq1xLMCw="}),
    ),
    "a template of method, path and body, openssl": (
        Hmac("X-Sig", signed="{method}\n{path}\n{body}"),
        "account-key",
        webhook({"x-sig": "486d610af5b64d493967521e0a9badabb2aa3f445764a4564c76da77c6a638cf"}),
    ),
    "a template with a header, openssl": (
        Hmac("X-Sig", algorithm="sha1", signed="{header:X-Request-Id}|{body}"),
        "header-key",
        webhook({"x-sig": "9711b8216df4ce83b6556b1cbc25f4b285fdf773", "x-request-id": "req-77"}),
    ),
    "a nonce beside the signature, openssl": (
        Hmac("X-Sig", parse="t=,s=", signed="{timestamp}.{body}"),
        "0123456789abcdef0123456789abcdef",
        webhook({"x-sig": "t=6f1c-9a,2b,s=7a926754007504a427c454834e223809e33feb655a7393e26667e15944693ce0"}),
    ),
    "timestamped, of a template and names of its own, openssl": (
        TimestampedHmac("X-Sig", algorithm="sha512", signed="{timestamp}{body}", parse="ts=,h1="),
        "stamp-key",
        webhook(
            {
                "x-sig": f"ts={SIGNED},h1="
                "50964efc69fe3f1e3df46f3ec6e364431679d8e1619063f9e015ab90ba154217"
                "7fbed0e1a7e3fec97769255d6c2035b3c90167e9360be25a13bd4eb6c1bffae4"
            }
        ),
    ),
    "Standard Webhooks, whose key is text, openssl": (
        StandardWebhooks(key="text"),
        "a key as it stands",
        webhook(
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": str(SIGNED),
                "webhook-signature": "v1,ec6d639/eRuaGlZoGsZ7GIL/+JoYwx1O1QDEaRU6IqU=",
            }
        ),
    ),
    "29next's, over the body written again, openssl": (
        NextSignature(),
        "next-secret",
        webhook(
            {"x-29next-signature": "21e9441d0b86773914cbeb897fd9b7e3a9243c03988b0bd3024c6b2a6c0bc344"},
            '{"id":"evt_1","name":"Zo\u00eb"}'.encode(),
        ),
    ),
    "Basic, where the secret is user:password": (
        BasicOrHeader(),
        "Aladdin:open sesame",
        webhook({"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}),
    ),
    "a header, where the secret is Name: value": (
        BasicOrHeader(),
        "X-Acme-Key: open sesame",
        webhook({"x-acme-key": "open sesame"}),
    ),
}
each_known = pytest.mark.parametrize(("way", "secret", "request_"), KNOWN.values(), ids=KNOWN)


@each_known
def test_a_known_answer_is_right(way: Proof, secret: str, request_: Webhook) -> None:
    assert way.problem(secret) is None
    assert good(way, request_, secret)
    assert good(way, request_, "0f" * 16 if isinstance(way, AdyenItems) else secret, secret)


@each_known
def test_one_byte_less_or_another_secret_is_wrong(way: Proof, secret: str, request_: Webhook) -> None:
    other = {AdyenItems: "0f" * 16, StandardWebhooks: "whsec_AAAA"}.get(type(way), secret + "x")
    assert not good(way, request_, other)
    for name, value in request_.headers.items():
        assert not good(
            way, dataclasses.replace(request_, headers={**request_.headers, name: value[:-1]}), secret
        )
        assert not good(way, dataclasses.replace(request_, headers={**request_.headers, name: ""}), secret)
    for name, value in request_.query.items():
        for wrong in (value[:-1], ""):
            assert not good(way, dataclasses.replace(request_, query={name: wrong}), secret)


@each_known
def test_what_is_signed_here_is_proven_here(way: Proof, secret: str, request_: Webhook) -> None:
    body = way.seal(request_.body, secret)
    headers = {name.lower(): value for name, value in way.sign(body, secret, NOW, request_.url).items()}

    assert good(way, webhook(headers, body, **request_.query), secret)


def test_headers_that_carry_a_secret_are_never_stored() -> None:
    assert Basic().secret_headers == Bearer().secret_headers == BasicOrHeader().secret_headers
    assert "authorization" in Basic().secret_headers
    assert "x-acme-key" in Header("X-Acme-Key").secret_headers


# --- what is refused ------------------------------------------------------------------------------

BASIC, BEARER = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Bearer mF_9.B5f-4.1JqM"
STRIPE = "bbf832376005f6d28bc042b024af206ba40801e5f85ec7e428f9926aa0979574"
SVIX = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


@tried_with(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        "Basic =",
        "Basic ====",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==x",
        f"{BASIC}, {BASIC}",
        f"{BASIC},{BASIC}",
        "Basic QWxhZGRpbg==",
        "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Basic Aladdin:open sesame",
        "Basic \u00e4\u00f6",
        "Basic \udcff",
        "\ud800",
    ],
)
def test_malformed_credentials_are_wrong_ones(value: str) -> None:
    assert not good(Basic(), webhook({"authorization": value}), "Aladdin:open sesame")


@tried_with("value", ["", "Bearer", "Bearer ", "Basic x", f"{BEARER}, {BEARER}", "Bearer mF_9.B5f-4.1JqMM"])
def test_a_malformed_token_is_a_wrong_one(value: str) -> None:
    assert not good(Bearer(), webhook({"authorization": value}), "mF_9.B5f-4.1JqM")


@tried_with(
    "value",
    [
        "",
        ",",
        "=",
        "t",
        f"v1={STRIPE}",
        "t=1614265330",
        f"t=1614265330,t=1614265330,v1={STRIPE}",
        f"t=1614265330,v1={STRIPE},t=1614265330,v1={STRIPE}",
        f"t=,v1={STRIPE}",
        f"t=1614265330.0,v1={STRIPE}",
        f"t=-1614265330,v1={STRIPE}",
        f"t=+1614265330,v1={STRIPE}",
        f"t=\u0661\u0666,v1={STRIPE}",
        f"t={'9' * 5000},v1={STRIPE}",
        f"t=1614265331,v1={STRIPE}",
        f"t=1614265330,v0={STRIPE}",
        "t=1614265330,v1=",
        f"t=1614265330,v1={STRIPE}\u00e9",
        f"t=1614265330,v1=\udcff{STRIPE}",
    ],
)
def test_a_malformed_signature_header_is_a_wrong_signature(value: str) -> None:
    way = TimestampedHmac(header="Stripe-Signature")

    assert not good(way, webhook({"stripe-signature": value}), "whsec_stripe_takes_this_whole")


@tried_with(
    ("name", "value"),
    [
        ("webhook-id", "msg_other"),
        ("webhook-id", "\u00e9\udcff\ud800"),
        ("webhook-timestamp", "1614265331"),
        ("webhook-timestamp", "1614265330 "),
        ("webhook-timestamp", "1.6e9"),
        ("webhook-signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ("webhook-signature", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1,%%%"),
        ("webhook-signature", f"{SVIX['webhook-signature']},{SVIX['webhook-signature']}"),
        ("webhook-signature", f"{SVIX['webhook-signature']}, {SVIX['webhook-signature']}"),
        ("webhook-signature", "v1,\u00e9"),
    ],
)
def test_malformed_standard_webhooks_are_wrong_ones(name: str, value: str) -> None:
    request = webhook({**SVIX, name: value}, b'{"test": 2432232314}')

    assert not good(StandardWebhooks(), request, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a template of URL and body, openssl", {"url": URL + "&b=2"}),
        ("a template of URL and body, openssl", {"url": URL.replace("https", "http")}),
        ("a template of method, path and body, openssl", {"method": "PUT"}),
        ("a template of method, path and body, openssl", {"path": "/webhooks/acme/"}),
        ("a template of method, path and body, openssl", {"body": BODY + b" "}),
    ],
)
def test_what_a_template_names_is_signed(name: str, change: dict[str, Any]) -> None:
    way, secret, request = KNOWN[name]
    assert not good(way, dataclasses.replace(request, **change), secret)


NONCE = "7a926754007504a427c454834e223809e33feb655a7393e26667e15944693ce0"


@tried_with(
    "value",
    [
        *("", NONCE, f"s={NONCE}", "t=6f1c-9a,2b", f"t=6f1c-9a,2b;s={NONCE}", f"t=6f1c-9a,s={NONCE}"),
        *(f"t=6f1c-9a,2b,t=6f1c-9a,2b,s={NONCE}", f"t=6f1c-9a,2b,s={NONCE}0", f"t=6f1c-9a,2b,v1={NONCE}"),
        *(f"T=6f1c-9a,2b,S={NONCE}", "t=6f1c-9a,2b,s=", "t=,s=", f"t=6f1c-9a,2b,s={NONCE}\udcff"),
    ],
)
def test_a_malformed_header_of_a_nonce_is_a_wrong_signature(value: str) -> None:
    way, secret, request = KNOWN["a nonce beside the signature, openssl"]
    assert not good(way, dataclasses.replace(request, headers={"x-sig": value}), secret)


def test_a_nonce_has_no_age_and_may_stand_beside_several_signatures() -> None:
    way, secret, request = KNOWN["a nonce beside the signature, openssl"]
    assert good(way, request, secret, now=datetime(2031, 1, 1, tzinfo=UTC))
    for value in (f"t=6f1c-9a,2b,s={'0' * 64},s={NONCE}", f"s={NONCE},t=6f1c-9a,2b"):
        assert good(way, dataclasses.replace(request, headers={"x-sig": value}), secret)


def test_a_key_as_text_is_not_decoded() -> None:
    way, secret, request = KNOWN["Standard Webhooks, whose key is text, openssl"]
    encoded = base64.b64encode(secret.encode()).decode()
    assert good(StandardWebhooks(), request, f"whsec_{encoded}")
    assert not good(way, request, encoded)
    assert StandardWebhooks().problem(secret) == "must be whsec_ and base64"
    assert way.problem(secret) is None
    assert way.problem("") == "must not be empty"


def test_either_family_of_headers_serves_but_no_mixture() -> None:
    svix = {name.replace("webhook", "svix"): value for name, value in SVIX.items()}
    body, secret = b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    mixed = {"svix-id": SVIX["webhook-id"], **{k: v for k, v in SVIX.items() if k != "webhook-id"}}

    for prefix in ("webhook", "svix"):
        assert good(StandardWebhooks(prefix), webhook(SVIX, body), secret)
        assert good(StandardWebhooks(prefix), webhook(svix, body), secret)
        assert not good(StandardWebhooks(prefix), webhook(mixed, body), secret)


def test_a_signature_behind_another_prefix_is_a_wrong_one() -> None:
    way, secret, request = KNOWN["SHA-256, RFC 4231, upper case behind a prefix"]
    for prefix in ("SHA999=", "", "SHA256"):
        value = request.headers["x-sig"].replace("SHA256=", prefix)
        assert not good(way, dataclasses.replace(request, headers={"x-sig": value}), secret)


@tried_with(("seconds", "right"), [(0, True), (299, True), (300, True), (301, False)])
@tried_with("direction", [1, -1], ids=["old", "future"])
@tried_with("name", [name for name in KNOWN if "Standard" in name or "timestamped" in name])
def test_a_signature_is_good_for_five_minutes_in_either_direction(
    name: str, seconds: int, right: bool, direction: int
) -> None:
    way, secret, request = KNOWN[name]
    at = SIGNED + direction * seconds

    assert good(way, request, secret, now=datetime.fromtimestamp(at, UTC)) == right
    assert good(way, request, secret, now=datetime.fromtimestamp(at + 0.999, UTC)) == right


def test_solidgates_versions_are_told_apart_by_their_headers() -> None:
    _, secret, first = KNOWN["Solidgate's first, openssl"]
    _, _, second = KNOWN["Solidgate's second, openssl"]
    of_the_second = {**second.headers, "merchant": "wh_pk_fixture"}
    of_the_first = {"signature": first.headers["signature"]}

    assert not good(Solidgate(), dataclasses.replace(first, headers=of_the_first), secret)
    assert not good(Solidgate(), dataclasses.replace(second, headers=of_the_second), secret)
    assert not good(
        Solidgate(), dataclasses.replace(first, headers={**first.headers, "merchant": "other"}), secret
    )
    assert not good(Solidgate(), dataclasses.replace(first, headers={"merchant": "wh_pk_fixture"}), secret)


def item(**changes: Any) -> dict[str, Any]:
    return {**ADYEN_ITEM, **changes}


@tried_with(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"notificationItems": []}',
        b'{"notificationItems": {}}',
        b'{"notificationItems": [null]}',
        b'{"notificationItems": [{"NotificationRequestItem": []}]}',
        b'{"notificationItems": [{"NotificationRequestItem": {}}]}',
        b"[" * 20_000,
        batch(ADYEN_ITEM, item(additionalData={})),
        batch(ADYEN_ITEM, item(pspReference="7914073381342285")),
        batch(item(amount={"value": 1131, "currency": "EUR"})),
        batch(item(amount={"value": [1130], "currency": "EUR"})),
        batch(item(amount=None)),
        batch(item(success=False)),
        batch(item(originalReference="8313547924770610")),
        batch(item(additionalData={"hmacSignature": ["coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="]})),
        batch(item(additionalData={"hmacSignature": "coqCmt"})),
        batch(item(pspReference="\ud800")),
        # a dotted name would be signed, and the nested value beside it read
        batch({**item(amount={"value": 999999, "currency": "EUR"}), "amount.value": 1130}),
        json.dumps(
            {
                "notificationItems": [
                    {"NotificationRequestItem": ADYEN_ITEM, "NotificationRequestItem.pspReference": "other"}
                ]
            }
        ).encode(),
    ],
    ids=range(23),
)
def test_every_item_of_adyens_must_be_signed_and_no_more_than_what_is_signed_is_read(body: bytes) -> None:
    assert not good(AdyenItems(), webhook({}, body), ADYEN_KEY)


def test_29nexts_signature_of_a_body_that_cannot_be_written_again_is_of_the_body_as_it_came() -> None:
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000):
        right = hmac.new(b"next-secret", body, "sha256").hexdigest()
        assert good(NextSignature(), webhook({"x-29next-signature": right}, body), "next-secret")
        assert not good(NextSignature(), webhook({"x-29next-signature": "0" * 64}, body), "next-secret")


def test_only_the_form_of_the_secret_says_which_of_two_ways_counts() -> None:
    basic = webhook({"authorization": BASIC, "aladdin": "open sesame"})
    header = webhook({"aladdin": "open sesame"})

    assert good(BasicOrHeader(), basic, "Aladdin:open sesame")
    assert not good(BasicOrHeader(), header, "Aladdin:open sesame")
    assert good(BasicOrHeader(), header, "Aladdin: open sesame")
    assert good(BasicOrHeader(), header, "Aladdin:other", "Aladdin: open sesame")


@pytest.mark.parametrize("name", ["X-Api-Key", "x-acme", "Authorization", "Api-Key", "acme-token"])
def test_a_header_s_name_tells_a_header_where_the_blank_is_missing(name: str) -> None:
    way, secret = BasicOrHeader(), f"{name}:abc"
    assert way.problem(secret) is None
    assert way.sign(b"", secret, NOW) == {name: "abc"}
    assert good(way, webhook({name.lower(): "abc"}), secret)
    assert not good(way, webhook({name.lower(): "abd"}), secret)
    assert not good(way, webhook({k.lower(): v for k, v in Basic().sign(b"", secret, NOW).items()}), secret)


@tried_with("user", ["acme", "my-shop", "token", "key", "x", "authorizations"])
def test_a_user_s_name_stays_one(user: str) -> None:
    assert BasicOrHeader().sign(b"", f"{user}:abc", NOW) == Basic().sign(b"", f"{user}:abc", NOW)


@tried_with(
    ("way", "secret"),
    [
        (Basic(), ""),
        (Basic(), "s3cr3t"),
        (Basic(), ":s3cr3t"),
        (Basic(), "s3cr3t:"),
        (Basic(), "X-Key: s3cr3t"),
        (Bearer(), ""),
        (Bearer(), "two words"),
        (Header(), "s3cr3t"),
        (Header(), "X Key: s3cr3t"),
        (Header(), "X-Key: a\r\nb"),
        (Header("X-Key"), ""),
        (BasicOrHeader(), "neither"),
        (BasicOrHeader(), ""),
        (Url(), "short"),
        (Hmac(), ""),
        (TimestampedHmac(), ""),
        (Solidgate(), ""),
        (StandardWebhooks(), ""),
        (StandardWebhooks(), "whsec_"),
        (StandardWebhooks(), "whsec_not base64"),
        (AdyenItems(), ""),
        (AdyenItems(), "xyz"),
        (AdyenItems(), "abc"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_a_secret_of_another_form_is_told_at_boot_and_not_shown(way: Proof, secret: str) -> None:
    said = way.problem(secret)

    assert said
    assert not secret.strip() or secret not in said


def test_of_two_secrets_both_are_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[object] = []
    right = proof.same

    def watched(given: str | bytes, expected: str | bytes) -> bool:
        compared.append(expected)
        return right(given, expected)

    monkeypatch.setattr(credentials, "same", watched)

    assert good(Basic(), webhook({"authorization": BASIC}), "Aladdin:open sesame", "someone:else")
    assert compared == ["Aladdin:open sesame", "someone:else"]


def test_nothing_secret_is_compared_by_an_operator() -> None:
    source = "".join(map(inspect.getsource, (proof, credentials, signatures)))

    assert source.count("compare_digest") == 1
    assert "== secret" not in source
    assert "== expected" not in source


ODD = st.text(st.characters()) | st.text("\ud800\udcff\udc80\u00e9,=; v1t0:", max_size=40)


@each_known
@given(value=ODD, other=ODD)
def test_no_header_and_no_query_is_odd_enough_for_another_error(
    way: Proof, secret: str, request_: Webhook, value: str, other: str
) -> None:
    names = [*request_.headers, "authorization", "signature"]
    for name in names:
        headers = {**request_.headers, name: value, other.lower(): value}
        proof.refusal(
            way, dataclasses.replace(request_, headers=headers, query={"key": value}), [secret], NOW
        )


@tried_with(
    ("table", "said"),
    [
        ({}, "kind must be one of"),
        ({"kind": "magic"}, "kind must be one of"),
        ({"kind": "basic", "header": "X"}, "no option header"),
        ({"kind": "hmac", "algorithm": "md5"}, "algorithm must be one of"),
        ({"kind": "hmac", "encoding": "base32"}, "encoding must be one of"),
        ({"kind": "hmac", "header": 7}, "every option is text"),
        ({"kind": "hmac", "signed": "{url}"}, "{body} among them"),
        ({"kind": "hmac", "signed": "{body}{query}"}, "signed is a text with {body}, {timestamp}"),
        ({"kind": "hmac", "signed": "{body}{header:}"}, "signed is a text with"),
        ({"kind": "hmac", "signed": "{body"}, "signed is a text with"),
        ({"kind": "hmac", "signed": "{timestamp}{body}"}, "say with parse where it stands"),
        ({"kind": "hmac", "parse": "t="}, "parse names the parts of the header"),
        ({"kind": "hmac", "parse": "t=,s"}, "parse names the parts of the header"),
        ({"kind": "hmac", "parse": "t=,n=,s="}, "parse names the parts of the header"),
        ({"kind": "timestamped_hmac", "parse": ""}, "say with parse where it stands"),
        ({"kind": "timestamped_hmac", "signed": "{timestamp}"}, "{body} among them"),
        ({"kind": "standard_webhooks", "key": "hex"}, "key must be base64 or text"),
        ({"kind": "standard_webhooks", "prefix": "acme"}, "prefix must be one of webhook, svix"),
        ({"kind": "standard_webhooks", "signed": "{body}"}, "no option signed"),
    ],
)
def test_a_proof_in_the_file_that_cannot_be_is_said_to_be(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        build_proof(table)


def test_every_kind_of_the_file_can_be_built() -> None:
    for kind in ("basic", "bearer", "header", "url", "standard_webhooks", "hmac", "timestamped_hmac"):
        assert build_proof({"kind": kind}).kind == kind


def test_a_refusal_says_what_is_wrong_in_a_sentence() -> None:
    with pytest.raises(Rejected) as caught:
        Basic().verify(webhook({}), ["user:password"], NOW)

    assert str(caught.value) == "HTTP Basic credentials are missing."
