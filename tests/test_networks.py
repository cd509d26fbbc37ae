"""A provider's networks: who calls from elsewhere is refused, and told so."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from bridge import migrate
from bridge.app import create_app
from bridge.database import Database
from tests.configuring import load, problems

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
    finally:
        database.close()


def test_what_is_no_network_is_told_at_boot() -> None:
    (said,) = problems('[providers.midigator]\nnetworks = ["203.0.113.0/40"]')
    assert "providers.midigator.networks" in said
    assert "203.0.113.0/24" in said
