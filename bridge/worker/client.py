"""Makes 29next clients that take their token's slots, for the worker, the commands and the pages."""

from __future__ import annotations

import time
import typing
from functools import partial

from bridge.next29.client import NextApi
from bridge.storage.ids import token_key

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.settings import Settings, Store
    from bridge.storage.inbox import Inbox


def client_of(
    store: Store,
    inbox: Inbox,
    settings: Settings,
    *,
    timeout: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> NextApi:
    """Returns a client of a store; `timeout` replaces the settings'."""
    return NextApi(
        store,
        version=settings.api_version,
        timeout=timeout or settings.timeout,
        take=partial(inbox.slots.take, token_key(store.token)),
        sleep=sleep,
        clock=inbox.now,
    )
