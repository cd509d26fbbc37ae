"""How pulling is set: what the file and the environment say, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge import cli
from tests.conftest import MakeDatabase
from tests.support.configuring import load, problems
from tests.support.ethoca import CONSUMER_KEY, KEYS, SECRETS
from tests.support.trying import tried_with
from tests.support.webhooks import Json

PULL = '[providers.ethoca]\npull = "1m"'


def test_a_pull_is_read_and_wants_its_keys() -> None:
    read = load(PULL, **KEYS)
    pull = read.pulled["ethoca"]
    assert (pull.every, pull.url) == (60.0, "https://api.ethocaweb.com/ethoca/alerts/merchants/")
    assert read.is_enabled("ethoca")
    elsewhere = load(f'{PULL}\napi_url = "https://sandbox.example.com/x"', **KEYS)
    assert elsewhere.pulled["ethoca"].url == "https://sandbox.example.com/x/"
    assert load(**KEYS).pulled == {}
    assert load('[providers.ethoca]\npull = "1s"', **KEYS).pulled["ethoca"].every == 1.0
    assert problems(PULL) == [
        "ETHOCA_CONSUMER_KEY: missing, though providers.ethoca.pull is on",
        "ETHOCA_SIGNING_KEY: missing, though providers.ethoca.pull is on",
    ]


A_TIME = 'expected a time such as "30s", "1m" or "1h"'


@tried_with(
    ("toml", "said"),
    [
        ("pull = 60", f"providers.ethoca.pull: {A_TIME}, in quotes"),
        ("pull = true", f"providers.ethoca.pull: {A_TIME}, in quotes"),
        ('pull = "0s"', f"providers.ethoca.pull: {A_TIME}"),
        ('pull = "1.5s"', f"providers.ethoca.pull: {A_TIME}"),
        ('pull = "often"', f"providers.ethoca.pull: {A_TIME}"),
        ('deadline = "30s"', 'providers.ethoca.deadline: expected a time such as "20h", "90m" or "3d"'),
    ],
)
def test_a_mistake_about_the_pull_is_told(toml: str, said: str) -> None:
    assert problems(f"[providers.ethoca]\n{toml}", **KEYS) == [said]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('["{id}"]', ["1", "2"]),
        ('{"ids": ["{id}"], "by": "me"}', {"ids": ["1", "2"], "by": "me"}),
        ('{"a": {"b": [{"id": "x{id}", "n": 1, "l": ["{id}"]}]}}', None),
    ],
)
def test_the_acknowledgement_can_be_another(given: str, sent: Json | None) -> None:
    pull = load(f"{PULL}\npull_acknowledgement = '{given}'", **KEYS).pulled["ethoca"]
    rows = [{"id": f"x{one}", "n": 1, "l": [one]} for one in ("1", "2")]
    assert pull.body(["1", "2"]) == (sent or {"a": {"b": rows}})


@tried_with("given", ["", "{id}", '{"id": "{id}"}', '{"ids": ["id"]}', "[", "[]", "1"])
def test_an_acknowledgement_that_names_no_alert_is_refused(given: str) -> None:
    (said,) = problems(f"{PULL}\npull_acknowledgement = '{given}'", **KEYS)
    assert said.startswith(
        "providers.ethoca.pull_acknowledgement: expected JSON with a list that has {id} in it"
    )


def test_a_provider_that_cannot_be_pulled_is_said_to() -> None:
    (said,) = problems('[providers.verifi]\npull = "1m"')
    assert said == (
        "providers.verifi.pull: not for this provider: the bridge does not know how to pull its alerts"
    )


def test_the_keys_go_nowhere_odd() -> None:
    (said,) = problems(f'{PULL}\napi_url = "http://example.com/"', **KEYS)
    assert said.startswith("providers.ethoca.api_url: expected https:// and a host's name")


def test_bridge_providers_says_what_is_pulled(
    make_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bridge.toml").write_text(PULL, encoding="utf-8")
    with make_database("sqlite") as url:
        given = {"DATABASE_URL": url, "BRIDGE_CONFIG": str(tmp_path / "bridge.toml"), **KEYS}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert cli.main(["providers", "--json"]) == 0
    rows = {row["provider"]: row["pulled"] for row in json.loads(capsys.readouterr().out)["results"]}
    assert (rows["ethoca"], rows["verifi"]) == ("every 60 s", None)


@pytest.mark.parametrize("command", ["worker", "doctor", "providers"])
def test_keys_that_do_not_work_end_every_command_at_once_and_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("ETHOCA_SIGNING_KEY", KEYS["ETHOCA_SIGNING_KEY"][:900])
    monkeypatch.setenv("ETHOCA_CONSUMER_KEY", f"{CONSUMER_KEY} ")
    monkeypatch.setenv("NEXT_RATE", "often")
    assert cli.main([command]) == 2
    said = capsys.readouterr()
    assert [line.partition(":")[0] for line in said.err.splitlines()[-2:]] == [
        "NEXT_RATE",
        "ETHOCA_SIGNING_KEY",
    ]
    assert not [secret for secret in SECRETS if secret in said.out + said.err]
