"""Putting failed deliveries aside: out of what needs attention, not notified again, and still replayable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge import cli
from bridge.worker.notify import conditions, read_snapshot
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.history import bridge_with_outlet

pytestmark = pytest.mark.both_databases

TOKEN = "a-made-up-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def bridge(database_url: str) -> Iterator[InProcessBridge]:
    with bridge_with_outlet(database_url, api_token=TOKEN) as made:
        yield made


def failing(bridge: InProcessBridge, count: int = 1) -> list[str]:
    """Deliveries whose case number cannot be read."""
    sent = [bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A")) for _ in range(count)]
    bridge.work()
    return sent


def dismissed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The ids that the command says it has dismissed."""
    lines = capsys.readouterr().out.splitlines()
    return [line.removesuffix(" dismissed") for line in lines if line.endswith(" dismissed")]


def needs(bridge: InProcessBridge) -> list[str]:
    return [one.key for one in conditions(read_snapshot(bridge.database, bridge.settings))]


def test_a_dismissed_delivery_needs_nobody_any_more_and_can_be_replayed(bridge: InProcessBridge) -> None:
    first, second = failing(bridge, 2)
    assert needs(bridge) == ["failed:untranslatable"]

    answer = bridge.client.post(f"/api/deliveries/{first}/dismiss", headers=BEARER)

    assert answer.status_code == 200
    assert answer.json
    assert (answer.json["status"], answer.json["reason"]) == ("ignored", "dismissed")
    assert answer.json["errors"].keys() == {"ethoca_id"}
    assert needs(bridge) == ["failed:untranslatable"]
    assert bridge.inside.dismiss(second) == [second]
    assert needs(bridge) == []
    assert bridge.inside.replay(first) == [first]
    bridge.work()
    assert bridge.delivery(first)["status"] == "failed"


def test_only_what_has_failed_is_dismissed(bridge: InProcessBridge) -> None:
    forwarded, pending = bridge.send_sample(), None
    bridge.work()
    pending = bridge.send_sample()
    assert bridge.inside.dismiss(forwarded, pending, "d_" + "0" * 21) == []
    rows = {one: bridge.delivery(one)["status"] for one in (forwarded, pending)}
    assert rows == {forwarded: "forwarded", pending: "pending"}
    path = f"/api/deliveries/{forwarded}/dismiss"
    assert bridge.client.post(path, headers=BEARER).json["status"] == "forwarded"  # type: ignore[index]
    assert bridge.client.post(path).status_code == 401
    assert bridge.client.post("/api/deliveries/d_nowhere/dismiss", headers=BEARER).status_code == 404


def test_what_was_dismissed_is_not_notified_again(bridge: InProcessBridge) -> None:
    sent = failing(bridge)
    bridge.inside.dismiss(*sent)
    bridge.clock.now += 3600
    assert needs(bridge) == ["worker"]  # which has not been seen for an hour


def test_the_command_dismisses_by_id_and_by_filter(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_database("sqlite") as url, bridge_with_outlet(url) as bridge:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("NEXT_STORE", "sandbox")
        monkeypatch.setenv("NEXT_ACCESS_TOKEN", "a-token")
        one, *others = failing(bridge, 3)
        assert cli.main(["dismiss", one]) == 0
        assert dismissed(capsys) == [one]
        assert cli.main(["dismiss", "--reason", "untranslatable", "--provider", "ethoca"]) == 0
        assert sorted(dismissed(capsys)) == sorted(others)
        assert cli.main(["dismiss", one]) == 1
        assert "unknown, or not failed" in capsys.readouterr().err
        assert cli.main(["dismiss"]) == 1
        assert "Give ids of deliveries" in capsys.readouterr().err


def test_dismissing_a_contradiction_lets_what_stands_stand(database_url: str) -> None:
    with bridge_in_process(database_url) as bridge:
        sent = bridge.senders.prevention()
        bridge.post(sent)
        bridge.work()
        case = bridge.case(sent)
        bridge.inside.decide(case["id"], None)
        assert sent.opens
        number = sent.opens[0]
        for status in ("REFUNDED", "NOT_FOUND"):
            bridge.post(bridge.senders.trusto(number, status))
            bridge.settle()
        contradicted = [row for row in bridge.deliveries() if row["reason"] == "contradicted"]
        assert len(contradicted) == 1
        assert "issued_full_refund stands" in contradicted[0]["message"]
        assert bridge.case(sent)["state"] == "review"
        assert bridge.inside.dismiss(contradicted[0]["id"])
        assert bridge.case(sent)["state"] == "resolved"
        # a replay contradicts again
        bridge.inside.replay(contradicted[0]["id"])
        bridge.settle()
        assert bridge.delivery(contradicted[0]["id"])["reason"] == "contradicted"
        assert bridge.case(sent)["state"] == "review"
        # and another contradiction is not dismissed with it
        bridge.post(bridge.senders.trusto(number, "OTHER"))
        bridge.settle()
        others = [row["id"] for row in bridge.deliveries() if row["reason"] == "contradicted"]
        assert len(others) == 2
        assert bridge.inside.dismiss(others[0])
        assert bridge.case(sent)["state"] == "review"
        assert bridge.inside.dismiss(others[1])
        assert bridge.case(sent)["state"] == "resolved"
