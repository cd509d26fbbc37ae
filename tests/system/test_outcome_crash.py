"""Workers that are killed while they tell an outcome: nothing is lost, and nothing is told in two words."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge import providers
from bridge.cli import run
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import NEXT_SECRET
from tests.support.clock import eventually
from tests.support.ethoca import KEYS
from tests.support.processes import SHORT, RunningBridge, running_bridge
from tests.support.provider_apis import (
    API_KEYS,
    CAN_BE_ASKED,
    LOGS_IN,
    PROVIDERS,
    ProviderApis,
    provider_apis,
    state_after_a_repeat,
)
from tests.support.reporting import alert_of
from tests.support.webhooks import next_event

POINTS = ("before the POST", "after the POST")
SECRETS = {name: run.generate_secret(providers.built_in()[name]) for name in PROVIDERS}
CASES = {name: f"{name.upper():X<25}" for name in PROVIDERS}
BRIEF = {**SHORT, "SHUTDOWN_SECONDS": -4.0, "MOST_CALLS": 2}


@contextmanager
def reporting_bridge(folder: Path, url: str, apis: ProviderApis) -> Iterator[RunningBridge]:
    """A bridge of real processes that tells all providers."""
    environ = {**KEYS, "NEXT_WEBHOOK_SECRET": NEXT_SECRET}
    environ |= {f"{name.upper()}_SECRET": secret for name, secret in SECRETS.items()}
    environ |= {f"{name.upper()}_API_KEY": str(API_KEYS[name]) for name in PROVIDERS if name != "ethoca"}
    with running_bridge(
        folder, url, "--rate", "0", timeout=0.5, settle_seconds=0.5, constants=BRIEF, environ=environ
    ) as bridge:
        with (folder / "bridge.toml").open("a", encoding="utf-8") as file:
            for name in PROVIDERS:
                file.write(f'\n[providers.{name}]\noutcome = true\napi_url = "{apis.url(name)}"\n')
        yield bridge


def post(bridge: RunningBridge, provider: str, body: bytes, headers: dict[str, str], secret: str) -> None:
    proof = providers.built_in()[provider].proof
    signed = {**headers, **proof.sign(body, secret, datetime.now(UTC), "")}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{bridge.url}/webhooks/{provider}", data=body, headers=signed, timeout=10)
    assert answer.status_code == 200, answer.text


def resolve(bridge: RunningBridge, case: str) -> None:
    """Resolve the dispute of a case at 29next, which tells of it."""
    (row,) = (one for one in bridge.next29.disputes() if one["case_number"] == case)
    headers = {
        "Authorization": f"Bearer {bridge.tokens['alpha']}",
        "X-29next-API-Version": "2023-02-10",
    }
    url = f"{bridge.next29.base_url}disputes/{row['id']}/"
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{url}resolve/", json={"resolution": "issued_full_refund"}, headers=headers, timeout=10
        )
        assert answer.ok, answer.text
        data = session.get(url, headers=headers, timeout=10).json()
    event = next_event("dispute.updated", data, f"evt-{case}", store="alpha")
    post(bridge, "next", json.dumps(event).encode(), {}, NEXT_SECRET)


def outcome(bridge: RunningBridge, case: str) -> dict[str, Any]:
    (row,) = bridge.search.cases({"case_number": case}).results
    found = bridge.search.case(row["id"])
    assert found
    return dict(next(iter(found["outcomes"]), {}))


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_around_the_call_leaves_the_outcome_to_the_next(
    make_database: MakeDatabase, tmp_path: Path, point: str
) -> None:
    arrived = point == "after the POST"
    with (
        provider_apis() as apis,
        make_database("sqlite") as url,
        reporting_bridge(tmp_path, url, apis) as bridge,
    ):
        bridge.start()
        facts = {"amount": "40.00", "currency": "USD", "auth_code": None}
        for provider, case in CASES.items():
            post(bridge, provider, *alert_of(provider, case, "dispute", facts, {}), SECRETS[provider])
        eventually(lambda: len(bridge.next29.disputes()) == len(CASES), 20)
        bridge.wait()
        for provider, case in CASES.items():
            bridge.kill_workers()
            resolve(bridge, case)
            worker = bridge.start_worker(at=point, nth=2 if provider == LOGS_IN else 1)
            assert worker.wait(20) == -signal.SIGKILL, provider
            bridge.workers.remove(worker)
            assert (apis.ledger.standing(case) is not None) == arrived, provider
            assert outcome(bridge, case)["state"] == "owed", provider
            bridge.start_worker()
            eventually(lambda case=case: outcome(bridge, case)["state"] != "owed", 30)  # type: ignore[misc]

            # what may have arrived is looked up, or told again in the same word
            state, (first, *again) = outcome(bridge, case)["state"], apis.sent(provider)
            assert state == (state_after_a_repeat(provider) if arrived else "told"), provider
            assert again == ([first] if arrived and provider not in CAN_BE_ASKED else []), provider
