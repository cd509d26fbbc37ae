"""Keeps 29next's webhook subscription of a store: made, repaired, and looked at by the doctor."""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.next_api import NextApi

Json = dict[str, typing.Any]

EVENTS = ("transaction.created", "transaction.updated", "dispute.created", "dispute.updated")
NAME = "dispute-bridge"


def problem(hooks: list[Json], target: str) -> str | None:
    """Say what is wrong with the bridge's subscription among a store's webhooks, or None."""
    ours = [hook for hook in hooks if hook.get("name") == NAME or hook.get("target") == target]
    if not ours:
        return "there is no webhook subscription for the bridge"
    hook = ours[0]
    if hook.get("target") != target:
        return f"the webhook subscription points to {hook.get('target')}, not to {target}"
    if hook.get("active") is False:
        return "the webhook subscription is switched off"
    if missing := sorted(set(EVENTS) - set(hook.get("events") or [])):
        return f"the webhook subscription lacks {', '.join(missing)}"
    return None


def subscribe(
    api: NextApi, target: str, secret: str, version: str, *, slot: Callable[[], None] = lambda: None
) -> str:
    """Create or repair the subscription; returns what was done in a word."""
    slot()
    hooks = api.rows("webhooks/", {}, slot=slot)
    ours = [hook for hook in hooks if hook.get("name") == NAME or hook.get("target") == target]
    body = {
        "name": NAME,
        "target": target,
        "events": list(EVENTS),
        "active": True,
        "secret_key": secret,
        "api_version": version,
    }
    slot()
    if not ours:
        api.call("POST", "webhooks/", body=body)
        return "created"
    api.call("PATCH", f"webhooks/{ours[0]['id']}/", body=body)
    return "repaired" if problem(hooks, target) else "renewed"
