"""What the bridge promises, clause by clause, where no other test shows it from outside.

Webhooks come in over HTTP. What is judged is what 29next's ledger, the HTTP side, the log and the
database hold in the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, Json, bridge_in_process
from tests.support.sales import sell, told_of
from tests.support.webhooks import Sent


@pytest.fixture
def shop(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_in_process(url) as made:
        yield made


# --- at most one, wherever a worker dies ----------------------------------------------------------


class Died(BaseException):
    """The end of a worker: nothing that it might still do is done."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, nth: int, when: str) -> Iterator[list[str]]:
    """A worker that dies before or after its nth write to 29next; with 0 it lives."""
    writes: list[str] = []
    send = HTTPAdapter.send

    def sent(self: HTTPAdapter, request: Any, *given: Any, **named: Any) -> Any:
        if request.method == "GET":
            return send(self, request, *given, **named)
        writes.append(request.url)
        if len(writes) == nth and when == "before":
            raise Died
        answer = send(self, request, *given, **named)
        if len(writes) == nth:
            raise Died
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(HTTPAdapter, "send", sent)
        yield writes


def work_until_death(shop: InProcessBridge) -> None:
    """Work; where the worker dies, let another one take its place once the lease is over."""
    try:
        shop.settle()
    except Died:
        shop.close()
        shop.clock.sleep(shop.settings.lease + 1)
        shop.restart(observe=False)
        shop.settle(times=8)


def matched_later(shop: InProcessBridge) -> Iterator[Sent]:
    """Created, resolved, then matched, with the gateway's refund on record."""
    sale = sell(shop)
    first = shop.senders.rdr(amount=40.0)
    assert first.opens
    yield first
    yield shop.senders.rdr(case=first.opens[0], event="rdr.match", **told_of(sale))


def withdrawn(shop: InProcessBridge) -> Iterator[Sent]:
    """Created, resolved, then withdrawn, which a note says."""
    first = shop.senders.verifi(eventType="RDR", caseStatus="ACCEPTED")
    assert first.opens
    yield first
    yield shop.senders.verifi(case=first.opens[0], eventType="RDR", caseStatus="REVOKED")


def fought(shop: InProcessBridge) -> Iterator[Sent]:
    """A chargeback that is won, and lost in the end."""
    first = shop.senders.chargeback()
    assert first.opens
    yield first
    for day, result in (("02", "won"), ("09", "lost")):
        yield shop.senders.result(first.opens[0], result=result, event_timestamp=f"2026-03-{day}T08:00:00Z")


def lived(shop: InProcessBridge, story: Callable[[InProcessBridge], Iterator[Sent]]) -> Json:
    """Let a story happen; returns what was done at 29next, and how its deliveries have ended."""
    before = len(shop.next29.ledger.commits)
    ended = []
    for sent in story(shop):
        delivery = shop.post(sent)
        work_until_death(shop)
        ended.append(shop.delivery(delivery)["status"])
    return {"done": Counter(one.kind for one in shop.next29.ledger.commits[before:]), "ended": ended}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("story", [matched_later, withdrawn, fought])
def test_a_worker_that_dies_at_any_write_leaves_it_done_once(
    shop: InProcessBridge,
    monkeypatch: pytest.MonkeyPatch,
    story: Callable[[InProcessBridge], Iterator[Sent]],
    when: str,
) -> None:
    with dying(monkeypatch, 0, when) as writes:
        whole = lived(shop, story)
    assert len(writes) >= 3
    assert set(whole["ended"]) == {"forwarded"}
    for nth in range(1, len(writes) + 1):
        with dying(monkeypatch, nth, when) as again:
            assert lived(shop, story) == whole, writes[nth - 1]
        assert len(again) >= nth, "it died"
    assert shop.next29.ledger.summary()["doubled"]["refund"] == []
    assert shop.next29.ledger.repeated_blindly() == []
