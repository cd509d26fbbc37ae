"""A provider's networks: who calls from elsewhere is refused, and told so."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from bridge.storage import migrate
from bridge.storage.database import Database
from bridge.web.app import create_app
from tests.support.configuring import load, problems

BODY = b'{"event_type": "registration.new", "event_guid": "evr_networks_1"}'
BASIC = {"Authorization": "Basic " + base64.b64encode(b"user:password").decode()}


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        ('["203.0.113.0/24"]', "203.0.113.7", 200),
        ('["203.0.113.0/24", "2001:db8::/32"]', "2001:db8::7", 200),
        ('["203.0.113.0/24"]', "198.51.100.7", 401),
        ('["203.0.113.0/24"]', "", 401),
        ("[]", "198.51.100.7", 200),
    ],
)
def test_a_provider_may_call_only_from_its_networks(
    tmp_path: Path, networks: str, address: str, status: int
) -> None:
    settings = load(
        f"[providers.midigator]\nnetworks = {networks}",
        MIDIGATOR_SECRET="user:password",
        DATABASE_URL=f"sqlite:///{tmp_path}/inbox.db",
    )
    database = Database(settings.database_url)
    try:
        migrate.upgrade(database)
        client = create_app(settings, database).test_client()
        answer = client.post(
            "/webhooks/midigator", data=BODY, headers=BASIC, environ_base={"REMOTE_ADDR": address}
        )
        assert answer.status_code == status
        if status == 401:
            assert answer.json is not None
            assert f"The address {address or 'unknown'} is not" in answer.json["message"]
    finally:
        database.close()


@pytest.mark.parametrize(
    ("hops", "forwarded", "named"),
    [
        ("0", "203.0.113.7", "127.0.0.1"),
        ("1", "203.0.113.7, 198.51.100.1", "198.51.100.1"),
        ("2", "192.0.2.1, 203.0.113.7, 198.51.100.1", None),
        ("2", "2001:db8::7, 198.51.100.1", "2001:db8::7"),
        ("2", "198.51.100.1", "127.0.0.1"),
        ("1", "4111111111111111", "unknown"),
        ("1", "fe80::1%4111111111111111", "fe80::1"),
        ("1", "<script>", "unknown"),
    ],
)
def test_behind_proxies_the_client_s_own_address_counts_and_is_named(
    tmp_path: Path, hops: str, forwarded: str, named: str | None
) -> None:
    settings = load(
        '[providers.midigator]\nnetworks = ["203.0.113.0/24"]',
        MIDIGATOR_SECRET="user:password",
        DATABASE_URL=f"sqlite:///{tmp_path}/inbox.db",
        BRIDGE_PROXY_HOPS=hops,
    )
    database = Database(settings.database_url)
    try:
        migrate.upgrade(database)
        app = create_app(settings, database)
        headers = {**BASIC, "X-Forwarded-For": forwarded}
        answer = app.test_client().post("/webhooks/midigator", data=BODY, headers=headers)
        refusals = app.extensions["search"].refusals()
    finally:
        database.close()
    said = [row["message"] for row in refusals]
    assert said == ([] if named is None else [f"The address {named} is not among the provider's networks."])
    assert answer.status_code == (200 if named is None else 401)


def test_a_proxy_on_this_machine_must_not_hide_who_calls() -> None:
    toml = '[providers.midigator]\nnetworks = ["203.0.113.0/24"]'
    behind = {
        "BRIDGE_BIND": "127.0.0.1:8000",
        "BRIDGE_PUBLIC_URL": "https://alerts.example.com",
        "BRIDGE_PASSWORD": "p",
    }
    (said,) = problems(toml, **behind)
    assert said.startswith("BRIDGE_PROXY_HOPS: expected at least 1")
    assert said.endswith("providers.midigator.networks")
    for known in (
        load(toml, **behind, BRIDGE_PROXY_HOPS="1"),
        load(toml),
        load(toml.replace("203.0.113.0/24", "127.0.0.0/8"), **behind),
    ):
        assert known.providers["midigator"].networks


def test_what_is_no_network_is_told_at_boot() -> None:
    (said,) = problems('[providers.midigator]\nnetworks = ["203.0.113.0/40"]')
    assert "providers.midigator.networks" in said
    assert "203.0.113.0/24" in said
