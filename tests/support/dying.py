"""Workers that die in this process, at any of their writes to 29next, and those that take their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from requests.adapters import HTTPAdapter

from tests.support.bridge_in_process import InProcessBridge


class Died(BaseException):
    """The end of a worker: nothing that it might still do is done."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, nth: int, when: Literal["before", "after"]) -> Iterator[list[str]]:
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
        shop.restart(observe=False)  # with its store as it was
        shop.settle(times=8)
