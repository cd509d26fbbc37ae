"""Putting failed deliveries aside: out of what needs attention, not notified again, and still replayable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge import cli
from bridge.figures import Figures
from bridge.notify import conditions, picture
from tests.conftest import MakeDatabase
from tests.support.desk import desk
from tests.support.logbook import Logbook, logbook

pytestmark = pytest.mark.both_databases

TOKEN = "a-made-up-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def book(database_url: str) -> Iterator[Logbook]:
    with logbook(database_url, api_token=TOKEN) as made:
        yield made


def failing(book: Logbook, count: int = 1) -> list[str]:
    """Deliveries whose case number cannot be read."""
    sent = [book.send(change=lambda tree: tree.update(ethoca_id="N/A")) for _ in range(count)]
    book.work()
    return sent


def dismissed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The ids that the command says it has dismissed."""
    lines = capsys.readouterr().out.splitlines()
    return [line.removesuffix(" dismissed") for line in lines if line.endswith(" dismissed")]


def needs(book: Logbook) -> list[str]:
    return [one.key for one in conditions(picture(Figures(book.database), book.settings))]


def test_a_dismissed_delivery_needs_nobody_any_more_and_can_be_replayed(book: Logbook) -> None:
    first, second = failing(book, 2)
    assert needs(book) == ["failed:untranslatable"]

    answer = book.client.post(f"/api/deliveries/{first}/dismiss", headers=BEARER)

    assert answer.status_code == 200
    assert answer.json
    assert (answer.json["status"], answer.json["reason"]) == ("ignored", "dismissed")
    assert answer.json["errors"].keys() == {"ethoca_id"}
    assert needs(book) == ["failed:untranslatable"]
    assert book.inbox.dismiss([second]) == [second]
    assert needs(book) == []
    assert book.inbox.replay([first]) == [first]
    book.work()
    assert book.app.extensions["search"].delivery(first)["status"] == "failed"


def test_only_what_has_failed_is_dismissed(book: Logbook) -> None:
    forwarded, pending = book.send(), None
    book.work()
    pending = book.send()
    assert book.inbox.dismiss([forwarded, pending, "d_" + "0" * 21]) == []
    rows = {one: book.app.extensions["search"].delivery(one)["status"] for one in (forwarded, pending)}
    assert rows == {forwarded: "forwarded", pending: "pending"}
    path = f"/api/deliveries/{forwarded}/dismiss"
    assert book.client.post(path, headers=BEARER).json["status"] == "forwarded"  # type: ignore[index]
    assert book.client.post(path).status_code == 401
    assert book.client.post("/api/deliveries/d_nowhere/dismiss", headers=BEARER).status_code == 404


def test_what_was_dismissed_is_not_notified_again(book: Logbook) -> None:
    sent = failing(book)
    book.inbox.dismiss(sent)
    book.clock.now += 3600
    assert needs(book) == ["worker"]  # which has not been seen for an hour


def test_the_command_dismisses_by_id_and_by_filter(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_database("sqlite") as url, logbook(url) as book:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("NEXT_STORE", "sandbox")
        monkeypatch.setenv("NEXT_ACCESS_TOKEN", "a-token")
        one, *others = failing(book, 3)
        assert cli.main(["dismiss", one]) == 0
        assert dismissed(capsys) == [one]
        assert cli.main(["dismiss", "--reason", "untranslatable", "--provider", "ethoca"]) == 0
        assert sorted(dismissed(capsys)) == sorted(others)
        assert cli.main(["dismiss", one]) == 1
        assert "have not failed or are unknown" in capsys.readouterr().err
        assert cli.main(["dismiss"]) == 1
        assert "Name deliveries by id" in capsys.readouterr().err


def test_dismissing_a_contradiction_lets_what_stands_stand(database_url: str) -> None:
    with desk(database_url) as shop:
        sent = shop.senders.prevention()
        shop.post(sent)
        shop.work()
        case = shop.case(sent)
        shop.inbox.decide(case["id"], None)
        assert sent.opens
        number = sent.opens[0]
        for status in ("REFUNDED", "NOT_FOUND"):
            shop.post(shop.senders.trusto(number, status))
            shop.settle()
        contradicted = [row for row in shop.deliveries() if row["reason"] == "contradicted"]
        assert len(contradicted) == 1
        assert "issued_full_refund stands" in contradicted[0]["message"]
        assert shop.case(sent)["state"] == "review"
        inbox = shop.inbox
        assert inbox.dismiss([contradicted[0]["id"]])
        assert shop.case(sent)["state"] == "resolved"
        # a replay contradicts again
        inbox.replay([contradicted[0]["id"]])
        shop.settle()
        assert shop.delivery(contradicted[0]["id"])["reason"] == "contradicted"
        assert shop.case(sent)["state"] == "review"
