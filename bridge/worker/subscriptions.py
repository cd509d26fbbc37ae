"""Creates, repairs and checks the bridge's webhook subscription of a store at 29next."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.next29.client import NextApi
    from bridge.settings import Store

Json = dict[str, typing.Any]

EVENTS = ("transaction.created", "transaction.updated", "dispute.created", "dispute.updated")
APP_EVENTS = ("app.uninstalled",)
"""Events that only a store sends in which the bridge is installed."""
NAME = "dispute-bridge"


def find_subscription(hooks: list[Json], target: str) -> Json | None:
    """Returns the bridge's subscription among a store's webhooks: by its target, else by its name."""
    by_target = [hook for hook in hooks if hook.get("target") == target]
    return next(iter([*by_target, *(hook for hook in hooks if hook.get("name") == NAME)]), None)


def events_of(store: Store) -> tuple[str, ...]:
    """Returns the events that the bridge subscribes to in a store."""
    return EVENTS + APP_EVENTS if store.installed else EVENTS


def problem(
    hooks: list[Json], target: str, secret: str | None = None, events: Sequence[str] = EVENTS
) -> str | None:
    """Returns what is wrong with the bridge's subscription among a store's webhooks, or None."""
    hook = find_subscription(hooks, target)
    if hook is None:
        return "there is no webhook subscription for the bridge"
    if hook.get("target") != target:
        return f"the webhook subscription points to {hook.get('target')}, not to {target}"
    if hook.get("active") is False:
        return "the webhook subscription is switched off"
    if missing := sorted(set(events) - set(hook.get("events") or [])):
        return f"the webhook subscription lacks {', '.join(missing)}"
    if secret and hook.get("secret_key") not in (None, "", secret):
        return "the webhook subscription signs with another secret"
    return None


def subscribe(api: NextApi, target: str, secret: str, version: str, *, events: Sequence[str] = EVENTS) -> str:
    """Creates or repairs the subscription; returns a word for what was done."""
    hooks = api.rows("webhooks/", {})
    hook = find_subscription(hooks, target)
    body = {
        "name": NAME,
        "target": target,
        "events": list(events),
        "active": True,
        "secret_key": secret,
        "api_version": version,
    }
    if hook is None:
        api.call("POST", "webhooks/", body=body)
        return "created"
    api.call("PATCH", f"webhooks/{hook['id']}/", body=body)
    return "repaired" if problem(hooks, target, secret, events) else "renewed"
