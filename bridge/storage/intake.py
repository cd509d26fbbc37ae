"""Stores webhooks, pushed or pulled: cuts them, recognizes repeats, and commits the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import structlog

from bridge.alert import Webhook
from bridge.providers.base import Item, Items, Provider
from bridge.redact import cut, cut_headers, cut_text
from bridge.storage.arrivals import NewDelivery
from bridge.storage.deliveries import Deliveries
from bridge.tree import printable

log = structlog.get_logger()

LONGEST_STORE = 100


def without_secrets(
    provider: Provider, webhook: Webhook, path: str, secrets: Sequence[str] = ()
) -> tuple[Webhook, Items]:
    """Returns a webhook as it may be stored, under a path without card numbers, and its items."""
    body, tree = cut(webhook.body, provider, webhook.headers.get("content-type", ""))
    parts = [part for secret in secrets for part in (secret, *_parts(secret))]
    kept = Webhook(
        provider=provider.name,
        path=path,
        body=body,
        headers=cut_headers(webhook.headers, provider, parts),
        query={name: cut_text(webhook.query[name]) for name in provider.query_names & set(webhook.query)},
        store=printable(cut_text(webhook.store))[:LONGEST_STORE] if webhook.store else None,
    )
    return kept, provider.read(kept, tree)


def store_webhook(deliveries: Deliveries, provider: Provider, kept: Webhook, items: Items) -> str:
    """Stores a webhook without secrets, with a delivery for each item; returns the first one's id."""
    single = len(items) == 1
    new = [
        _delivery(provider, kept, item, kept.body if single else piece.content())
        for item, piece in items.heads()
    ]
    delivery = deliveries.add(kept, new)
    log.info("webhook stored", provider=provider.name, delivery=delivery, deliveries=len(new))
    return delivery


def _parts(secret: str) -> list[str]:
    """Returns the parts of a secret that are secret by themselves: a password, a header's value."""
    return [part.strip() for part in secret.split(":", 1)[1:] if part.strip()]


def _delivery(provider: Provider, kept: Webhook, item: Item, content: bytes) -> NewDelivery:
    """Returns the delivery of an item; a repeat has the same provider, path, event id and (cut) content."""
    parts = (provider.name, kept.path, item.event_id, hashlib.sha256(content).hexdigest())
    return NewDelivery(
        item=item.index,
        event_id=item.event_id,
        event_type=cut_text(item.event_type) if item.event_type else None,
        fingerprint=hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest(),
        deadline=provider.deadline_of(item).total_seconds(),
    )
