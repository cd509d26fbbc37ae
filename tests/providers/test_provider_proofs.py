"""What every provider's proof has to keep to, whatever its kind; the kinds themselves: see test_proof."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.alert import Webhook
from bridge.errors import Rejected
from bridge.providers import proof
from bridge.providers.base import Provider
from bridge.providers.credentials import Basic, BasicOrHeader, Bearer, Header, Url
from bridge.providers.signatures import AdyenItems, StandardWebhooks, TimestampedHmac
from tests.support.examples import examples
from tests.support.fixtures import (
    NOW,
    WITH_CONFIGURED,
    Case,
    any_case,
    any_provider,
    cases_of,
    other_secret,
    secret_of,
)

PLAIN = (Basic, BasicOrHeader, Bearer, Header, Url)
"""Ways of proof that show a secret and sign nothing."""


def sent(case: Case, secret: str, at: datetime = NOW) -> Webhook:
    """The request as a sender who knows a secret sends it."""
    body = case.provider.proof.seal(case.body, secret)
    added = {name.lower(): value for name, value in case.provider.proof.sign(body, secret, at).items()}
    return Webhook(case.provider.name, f"/webhooks/{case.provider.name}", body, case.headers | added)


def first_case(provider: Provider) -> Case:
    return cases_of(provider)[0]


def refused(provider: Provider, webhook: Webhook, now: datetime = NOW) -> bool:
    error = proof.refusal(provider.proof, webhook, [secret_of(provider)], now)
    assert error is None or (error.word, error.status) == ("bad_proof", 401)
    return error is not None


@any_case
def test_the_right_secret_proves_a_webhook(case: Case) -> None:
    provider = case.provider
    provider.proof.verify(sent(case, secret_of(provider)), [secret_of(provider)], NOW)


@any_provider
def test_the_previous_secret_is_good_while_a_new_one_is_brought_in(provider: Provider) -> None:
    webhook = sent(first_case(provider), secret_of(provider))

    provider.proof.verify(webhook, [other_secret(provider), secret_of(provider)], NOW)


@any_provider
def test_a_wrong_secret_is_refused(provider: Provider) -> None:
    assert refused(provider, sent(first_case(provider), other_secret(provider)))


@any_provider
def test_a_webhook_without_any_proof_is_refused(provider: Provider) -> None:
    case = first_case(provider)

    assert refused(provider, Webhook(provider.name, "/", case.body, case.headers))
    assert refused(provider, Webhook(provider.name, "/", b"", {}))


@any_provider
def test_no_secret_at_all_proves_nothing(provider: Provider) -> None:
    with pytest.raises(Rejected):
        provider.proof.verify(sent(first_case(provider), secret_of(provider)), [], NOW)


def proving_headers(provider: Provider) -> list[str]:
    case = first_case(provider)
    return [name.lower() for name in provider.proof.sign(case.body, secret_of(provider), NOW)]


IN_HEADERS = {name: one for name, one in WITH_CONFIGURED.items() if not isinstance(one.proof, AdyenItems)}
SIGNING = {name: one for name, one in IN_HEADERS.items() if not isinstance(one.proof, PLAIN)}


@pytest.mark.parametrize("provider", IN_HEADERS.values(), ids=IN_HEADERS)
def test_a_proof_that_came_twice_is_refused(provider: Provider) -> None:
    webhook, names = sent(first_case(provider), secret_of(provider)), proving_headers(provider)
    assert names
    for name in names:
        value = webhook.headers[name]
        for joined in (f"{value},{value}", f"{value}, {value}"):
            twice = dataclasses.replace(webhook, headers={**webhook.headers, name: joined})
            assert refused(provider, twice), name


@pytest.mark.parametrize("provider", SIGNING.values(), ids=SIGNING)
def test_a_signature_of_another_body_is_refused(provider: Provider) -> None:
    webhook = sent(first_case(provider), secret_of(provider))
    assert refused(provider, dataclasses.replace(webhook, body=b'{"of": "another"}'))
    assert refused(provider, dataclasses.replace(webhook, body=webhook.body[:-1]))


@any_provider
def test_a_signed_time_may_be_five_minutes_off(provider: Provider) -> None:
    webhook = sent(first_case(provider), secret_of(provider))
    timed = isinstance(provider.proof, TimestampedHmac | StandardWebhooks)

    for seconds, good in ((299, True), (300, True), (301, False), (86400, False)):
        for off in (timedelta(seconds=seconds), -timedelta(seconds=seconds)):
            assert refused(provider, webhook, NOW + off) == (timed and not good), off


ODD = st.text("\ud800\udcff\u00e9,=; v1t0:AQ", max_size=60)
LATIN = st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))  # as WSGI delivers headers


@any_provider
@given(data=st.data())
@examples(15)
def test_headers_of_any_kind_are_refused_and_never_crash(provider: Provider, data: st.DataObject) -> None:
    names = [*proving_headers(provider), "merchant", "authorization", "svix-id", "webhook-timestamp"]
    headers = data.draw(st.dictionaries(st.sampled_from(names), ODD | LATIN))

    assert refused(provider, Webhook(provider.name, "/", first_case(provider).body, headers))
