"""Judges what a stored delivery means and where it belongs: its provider's table, then its store."""

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
from bridge.storage.translation import Verdict
from bridge.tree import LONGEST_INT, pick, plain

if typing.TYPE_CHECKING:
    from bridge.providers.base import Item, Items, Provider, Reading
    from bridge.settings import Settings, Store
    from bridge.storage.inbox import Inbox

log = structlog.get_logger()

MOST_BATCHES = 8
"""Webhooks that are kept split while their items are worked off: several may have come at one moment."""


@dataclass
class Judge:
    """Translates deliveries one by one; a mistake of ours costs none of them."""

    inbox: Inbox
    settings: Settings
    chance: random.Random = field(default_factory=random.Random)
    batches: dict[tuple[str, int], Items] = field(default_factory=dict)  # the one that was used last is last

    def turn(self, most: int, *, newest: bool = False) -> int:
        """Translate some deliveries, the oldest of them or the newest; returns how many there were."""
        rows = self.inbox.deliveries.untranslated(most, newest=newest)
        if not rows:
            return 0
        judged = [(row, self.verdict(row)) for row in rows]
        for row, error in self.inbox.deliveries.take_in(judged):
            self.inbox.deliveries.take_in([(row, self.bug(row, error))])
        return len(rows)

    def verdict(self, row: typing.Any) -> Verdict:
        """Say what a stored delivery means and where it belongs."""
        try:
            return self._verdict(row)
        except Untranslatable as error:
            message = str(error)
            return Verdict(Status.FAILED, Reason.UNTRANSLATABLE, message, errors=error.fields)
        except UnknownEvent as error:
            return Verdict(Status.FAILED, Reason.UNKNOWN_EVENT, str(error))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  a bug in one table must not stop the others
            return self.bug(row, error)

    def _verdict(self, row: typing.Any) -> Verdict:
        provider = self.settings.providers.get(row.provider)
        if provider is None:
            return Verdict(Status.FAILED, Reason.UNKNOWN_EVENT, f"{row.provider} is not configured.")
        if row.body is None:
            return Verdict(Status.FAILED, Reason.UNTRANSLATABLE, "The body was removed by retention.")
        webhook = Webhook(row.provider, row.path, row.body, row.headers, row.query or {}, row.named)
        items = self._items(row.webhook_id, provider, webhook)
        item = items[min(row.item, len(items) - 1)]
        reading = provider.translate(item)
        if provider.object_path:
            return self._tell(provider, item, row, reading)
        if reading.effect in (Effect.IGNORE, Effect.INFORM):
            return Verdict(Status.IGNORED, reading.reason, reading=reading, listed=provider.is_listed(item))
        alert = reading.alert
        if alert is None:
            raise Untranslatable
        if alert.unknown_outcome and not opens(reading.effect, alert):
            message = f"{alert.unknown_outcome} {HOW_TO_LIST}"
            return Verdict(
                Status.FAILED, Reason.UNKNOWN_OUTCOME, message, errors=reading.errors, reading=reading
            )
        store = self.settings.store_of(row.provider, alert, row.named)
        if store is None:
            message = _no_route(self.settings.store_name_of(row.provider, alert, row.named), alert)
            return Verdict(Status.FAILED, Reason.NO_STORE, message, reading=reading)
        return Verdict(Status.PENDING, reading=reading, store=store)

    def _items(self, webhook_id: str, provider: Provider, webhook: Webhook) -> Items:
        """Return the items of a webhook; a batch is kept split for those of its items that come next."""
        key = (webhook_id, id(provider))
        items = self.batches.pop(key, None)
        if items is None:
            items = provider.read(webhook)
        if len(items) > 1:
            if len(self.batches) >= MOST_BATCHES:
                del self.batches[next(iter(self.batches))]
            self.batches[key] = items
        return items

    def _tell(self, provider: Provider, item: Item, row: typing.Any, reading: Reading) -> Verdict:
        """Take in what 29next itself tells of a store's transactions and disputes, and of its removal."""
        domain = str(pick(item.tree, provider.store or "") or "").partition(".")[0]
        store = self._teller(row.named, domain)
        if store is None:
            message = f"There is no store {row.named or domain!r}."
            return Verdict(Status.FAILED, Reason.NO_STORE, message, reading=reading)
        kind = (item.event_type or "").partition(".")[0].lower()
        if kind == "app":
            told = (kind, {"received_at": row.received_at})
            return Verdict(Status.IGNORED, Reason.INFORM, reading=reading, store=store, told=told)
        told = plain(pick(item.tree, provider.object_path or ""))
        ident = str(told.get("id", "")) if isinstance(told, dict) else ""
        if not (ident.isdecimal() and len(ident) <= LONGEST_INT):
            raise Untranslatable(
                fields={f"{provider.object_path}.id": ["It tells of an object without an id."]}
            )
        told = (kind, {**told, "id": int(ident)})
        return Verdict(Status.IGNORED, Reason.INFORM, reading=reading, store=store, told=told)

    def _teller(self, named: str | None, domain: str) -> Store | None:
        """Return the store that a webhook of 29next is of: the path's, the one it names, or the only one."""
        stores = self.settings.stores
        if named is not None:
            return stores.get(named)
        hosts = (one for one in stores.values() if urlsplit(one.base_url).netloc.startswith(f"{domain}."))
        only = next((one for one in stores.values() if len(stores) == 1 and not one.installed), None)
        return stores.get(domain) or next(hosts, only)

    def bug(self, row: typing.Any, error: Exception) -> Verdict:
        """Have a delivery translated again that a bug of ours has met; in the end a person looks."""
        log.error("translation failed", delivery=row.id, provider=row.provider, trace=trace(error))
        if row.tries + 1 >= retry.BUG_TRIES:
            return Verdict(Status.FAILED, Reason.BUG, trace(error))
        again_at = retry.next_try(self.inbox.now(), row.tries + 1, row.deadline_at, self.chance)
        return Verdict(Status.PENDING, message=trace(error), again_at=again_at)


def _no_route(named: str | None, alert: typing.Any) -> str:
    if named is not None:
        return f"There is no store {named!r}, which the URL's path or a route names."
    facts = {n: getattr(alert, n) for n in ("mid", "member_id", "merchant_id", "descriptor")}
    told = ", ".join(f"{name} {value!r}" for name, value in facts.items() if value)
    return (
        f"No route matches ({told or 'the alert has no field to route by'}), and there is no default store."
    )
