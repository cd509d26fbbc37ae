"""Who calls the stand-in for 29next by hand: a client, and one with a stand-in of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import requests

from tests.support.next29.server import TOKEN, VERSIONS, StandIn


class Caller:
    """A client of the Admin API, one connection kept alive: `call("POST", "/disputes/", {...})`."""

    def __init__(self, base_url: str, token: str = TOKEN, version: str = VERSIONS[0]) -> None:
        self.base_url = base_url.rstrip("/")
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy stands before the loopback
        self.session.headers["Authorization"] = f"Bearer {token}"
        self.session.headers["X-29next-API-Version"] = version

    def __call__(self, method: str, path: str, body: object = None, **options: Any) -> requests.Response:
        options = {"timeout": 10, "allow_redirects": False, "json": body, **options}
        return self.session.request(method, self.base_url + path, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()


@contextmanager
def stand_in_here(**options: Any) -> Iterator[tuple[StandIn, Caller]]:
    """A stand-in in this process without a rate limit, unless the options say so, and a caller."""
    with StandIn(**{"rate": 0, **options}) as next29, Caller(next29.base_url) as call:
        yield next29, call
