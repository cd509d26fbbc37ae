"""Translates stored deliveries by their provider's table, and chooses their store."""

from __future__ import annotations

import random
import typing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from bridge.alert import Effect, Reason, Status, Webhook
from bridge.disputes import retry
from bridge.disputes.events import HOW_TO_LIST, opens
from bridge.errors import Unavailable, UnknownEvent, Untranslatable, trace
from bridge.storage.translation import Translation
from bridge.tree import LONGEST_INT, pick, plain

if typing.TYPE_CHECKING:
    from bridge.providers.base import Item, Items, Provider, Reading
    from bridge.settings import Settings, Store
    from bridge.storage.inbox import Inbox

log = structlog.get_logger()

MOST_BATCHES = 8
"""How many batches are kept in memory, split into items, while their deliveries are translated."""


@dataclass
class Translator:
    """Translates deliveries one by one; a bug of ours loses none of them."""

    inbox: Inbox
    settings: Settings
    chance: random.Random = field(default_factory=random.Random)
    batches: dict[tuple[str, int], Items] = field(default_factory=dict)  # the last used is last

    def translate_batch(self, most: int, *, newest: bool = False) -> int:
        """Translates some deliveries, the oldest of them or the newest; returns how many there were."""
        rows = self.inbox.deliveries.untranslated(most, newest=newest)
        if not rows:
            return 0
        translated = [(row, self.translate(row)) for row in rows]
        for row, error in self.inbox.deliveries.apply_translations(translated):
            self.inbox.deliveries.apply_translations([(row, self.after_bug(row, error))])
        return len(rows)

    def translate(self, row: typing.Any) -> Translation:
        """Returns what a stored delivery means and where it belongs."""
        try:
            return self._translate(row)
        except Untranslatable as error:
            return Translation(Status.FAILED, Reason.UNTRANSLATABLE, str(error), errors=error.fields)
        except UnknownEvent as error:
            return Translation(Status.FAILED, Reason.UNKNOWN_EVENT, str(error))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  a bug in one table must not stop the others
            return self.after_bug(row, error)

    def _translate(self, row: typing.Any) -> Translation:
        provider = self.settings.providers.get(row.provider)
        if provider is None:
            return Translation(Status.FAILED, Reason.UNKNOWN_EVENT, f"{row.provider} is not configured.")
        if row.body is None:
            return Translation(Status.FAILED, Reason.UNTRANSLATABLE, "The body was removed by retention.")
        webhook = Webhook(row.provider, row.path, row.body, row.headers, row.query or {}, row.named)
        items = self._items(row.webhook_id, provider, webhook)
        item = items[min(row.item, len(items) - 1)]
        reading = provider.translate(item)
        if provider.object_path:
            return self._translate_next_event(provider, item, row, reading)
        if reading.effect in (Effect.IGNORE, Effect.INFORM):
            return Translation(
                Status.IGNORED, reading.reason, reading=reading, listed=provider.is_listed(item)
            )
        alert = reading.alert
        if alert is None:
            raise Untranslatable
        if alert.unknown_outcome and not opens(reading.effect, alert):
            message = f"{alert.unknown_outcome} {HOW_TO_LIST}"
            return Translation(
                Status.FAILED, Reason.UNKNOWN_OUTCOME, message, errors=reading.errors, reading=reading
            )
        store = self.settings.store_of(row.provider, alert, row.named)
        if store is None:
            message = _no_route(self.settings.store_name_of(row.provider, alert, row.named), alert)
            return Translation(Status.FAILED, Reason.NO_STORE, message, reading=reading)
        return Translation(Status.PENDING, reading=reading, store=store)

    def _items(self, webhook_id: str, provider: Provider, webhook: Webhook) -> Items:
        """Returns the items of a webhook; a batch is cached for its next items."""
        key = (webhook_id, id(provider))
        items = self.batches.pop(key, None)
        if items is None:
            items = provider.read(webhook)
        if len(items) > 1:
            if len(self.batches) >= MOST_BATCHES:
                del self.batches[next(iter(self.batches))]
            self.batches[key] = items
        return items

    def _translate_next_event(
        self, provider: Provider, item: Item, row: typing.Any, reading: Reading
    ) -> Translation:
        """Translates a webhook of 29next: a transaction, a dispute, or the removal of the app."""
        domain = str(pick(item.tree, provider.store or "") or "").partition(".")[0]
        store = self._store_of(row.named, domain)
        if store is None:
            message = f"There is no store {row.named or domain!r}."
            return Translation(Status.FAILED, Reason.NO_STORE, message, reading=reading)
        kind = (item.event_type or "").partition(".")[0].lower()
        if kind == "app":
            content: typing.Any = {"received_at": row.received_at}
        else:
            content = plain(pick(item.tree, provider.object_path or ""))
            ident = str(content.get("id", "")) if isinstance(content, dict) else ""
            if not (ident.isdecimal() and len(ident) <= LONGEST_INT):
                raise Untranslatable(fields={f"{provider.object_path}.id": ["The object has no id."]})
            content = {**content, "id": int(ident)}
        event = (kind, content)
        return Translation(Status.IGNORED, Reason.INFORM, reading=reading, store=store, next_event=event)

    def _store_of(self, named: str | None, domain: str) -> Store | None:
        """Returns the store of a webhook of 29next: the path's, the one it names, or the only one."""
        stores = self.settings.stores
        if named is not None:
            return stores.get(named)
        hosts = (
            store for store in stores.values() if urlsplit(store.base_url).netloc.startswith(f"{domain}.")
        )
        only = next((store for store in stores.values() if len(stores) == 1 and not store.installed), None)
        return stores.get(domain) or next(hosts, only)

    def after_bug(self, row: typing.Any, error: Exception) -> Translation:
        """Returns the translation after a bug of ours: it is tried again, and fails in the end."""
        log.error("translation failed", delivery=row.id, provider=row.provider, trace=trace(error))
        if row.tries + 1 >= retry.BUG_TRIES:
            return Translation(Status.FAILED, Reason.BUG, trace(error))
        again_at = retry.next_try(self.inbox.now(), row.tries + 1, row.deadline_at, self.chance)
        return Translation(Status.PENDING, message=trace(error), again_at=again_at)


def _no_route(named: str | None, alert: typing.Any) -> str:
    if named is not None:
        return f"There is no store {named!r}, which the URL's path or a route names."
    facts = {n: getattr(alert, n) for n in ("mid", "member_id", "merchant_id", "descriptor")}
    routable = ", ".join(f"{name} {value!r}" for name, value in facts.items() if value)
    matched_by = routable or "the alert has no field to route by"
    return f"No route matches ({matched_by}), and there is no default store."
