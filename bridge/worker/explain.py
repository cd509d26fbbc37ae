"""Explains what the bridge would make of a webhook, field by field, without a call. Pure.

It shows each field of the provider, its value (cut), our field and the result or why it was refused; then
the effect, the case, the store, and the requests that 29next would get.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from bridge import tree as trees
from bridge.alert import Alert, Effect
from bridge.disputes.answers import apply_response
from bridge.disputes.case import Call, Case
from bridge.disputes.events import merge
from bridge.disputes.plan import next_step
from bridge.errors import PermanentError
from bridge.providers.meanings import ANY
from bridge.redact import cut_body

if typing.TYPE_CHECKING:
    from bridge.alert import Webhook
    from bridge.providers.base import Item, Provider
    from bridge.settings import Settings, Store

Json = dict[str, typing.Any]


@dataclass
class Explained:
    """What one item of a webhook would become."""

    event_id: str
    event_type: str | None
    fields: list[Json] = field(default_factory=list)
    effect: Effect | None = None
    reason: str | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)
    problem: str | None = None
    outcome: str | None = None  # why the outcome resolves nothing
    case: Json | None = None
    store: str | None = None
    requests: list[Json] = field(default_factory=list)

    def to_json(self) -> Json:
        """Returns it as JSON values."""
        return dict(vars(self))


def explain(
    settings: Settings, provider: Provider, webhook: Webhook, now: datetime, item: int | None = None
) -> list[Explained]:
    """Explains each item of a webhook, or the one at an index; it is cut first, as it would be stored."""
    cut = cut_body(webhook.body, provider, webhook.headers.get("content-type", ""))
    kept = replace(webhook, provider=provider.name, body=cut)
    items = provider.read(kept)
    chosen = items if item is None else [items[min(item, len(items) - 1)]]
    return [_explain(settings, provider, kept, chosen_item, now) for chosen_item in chosen]


def _explain(
    settings: Settings, provider: Provider, webhook: Webhook, item: Item, now: datetime
) -> Explained:
    explained = Explained(item.event_id, item.event_type)
    try:
        reading = provider.translate(item)
    except PermanentError as error:
        explained.problem, explained.errors = str(error), error.fields
        explained.fields = _fields(provider, item, explained.errors)
        return explained
    explained.effect, explained.reason = reading.effect, reading.reason
    explained.errors = dict(reading.errors)
    explained.fields = _fields(provider, item, explained.errors)
    alert = reading.alert
    if alert is None:
        return explained
    explained.outcome = alert.unknown_outcome or alert.review
    if reading.effect in (Effect.INFORM, Effect.IGNORE):
        return explained
    explained.case = {"case_number": alert.case_number, "type": alert.type}
    if store := settings.store_of(provider.name, alert, webhook.store):
        explained.store = store.name
        explained.requests = _requests(provider, alert, reading.effect, store, now.timestamp())
    return explained


def _fields(provider: Provider, item: Item, errors: Mapping[str, list[str]]) -> list[Json]:
    """Returns a row for each field of the item, readable or not."""
    meaning = provider.events.get((item.event_type or "").lower()) or provider.events.get(ANY)
    table = meaning.table_for(item) if meaning else None
    if table is None or item.tree is None:
        return []
    readable = table.readable(item.tree)
    rows = []
    for name, path in table.sources().items():
        path_used, value = table.place(name, item.tree)
        if value is None:  # it may hold a placeholder
            path_used, value = trees.locate(item.tree, path)
        refused = errors.get(path_used)
        if value is not None or refused:
            became = None if refused or name not in readable else str(readable[name])
            text = trees.printable(value) if isinstance(value, str) else trees.plain(value)
            rows.append(
                {"path": path_used, "value": text, "field": name, "became": became, "refused": refused}
            )
    return rows


def _requests(provider: Provider, alert: Alert, effect: Effect, store: Store, now: float) -> list[Json]:
    """Returns the requests for a new case, as if 29next found no transaction and accepted every call."""
    case = Case("", store.name, alert.case_number, alert.type, provider.name, opened_at=now, deadline_at=now)
    merge(case, provider.name, effect, alert, now)
    requests: list[Json] = []
    for _ in range(8):
        step = next_step(case, now, metadata=store.metadata)
        if not isinstance(step, Call):
            break
        requests.append({"method": step.method, "path": step.path, "params": step.params, "body": step.body})
        created = {"id": 1, "case_number": case.case_number, "type": case.type}
        answer: typing.Any = [] if step.method == "GET" else created
        apply_response(case, step, answer, now)
    return requests
