"""What tests of the whole bridge share: the providers' APIs, and a bridge that reports outcomes to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clock import wait_longest
from tests.support.provider_apis import PROVIDERS, ProviderApis, provider_apis
from tests.support.reporting import Reports, reporting


@pytest.fixture
def apis() -> Iterator[ProviderApis]:
    """The providers' APIs."""
    with provider_apis() as made:
        yield made


@pytest.fixture
def reports(database_url: str, apis: ProviderApis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reports]:
    """A bridge that reports outcomes to all of them."""
    wait_longest(monkeypatch)
    with reporting(database_url, apis, *PROVIDERS, timeout=2.0) as made:
        yield made
