"""A bridge that reports outcomes to stand-ins of the providers' APIs, on a clock that tests move."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bridge import providers
from bridge.cli import run
from tests.support.bridge_in_process import NEXT_SECRET, InProcessBridge, bridge_in_process
from tests.support.next29 import STORE
from tests.support.next29.orders import fulfillment_order
from tests.support.provider_apis import API_KEYS, ProviderApis

Json = dict[str, Any]

KINDS = {
    "ethoca": {"fraud": "CONFIRMEDFRAUD", "dispute": "CUSTOMERDISPUTE"},
    "payshield": {"fraud": "Confirmed Fraud", "dispute": "Customer Dispute", "unknown": "DISPUTE"},
    "chargeflow": {"fraud": "fraud", "dispute": "service", "unknown": "something"},
}
"""Each provider's words for the kind of an alert."""
FORM = "application/x-www-form-urlencoded"


def alert_of(provider: str, ident: str, kind: str, facts: Json, changes: Json) -> tuple[bytes, str]:
    """The body of a provider's alert, and its content type."""
    return BODIES[provider](ident, KINDS[provider].get(kind, kind), facts, changes)


def _ethoca(ident: str, kind: str, facts: Json, changes: Json) -> tuple[bytes, str]:
    told = {
        "alertId": ident,
        "alertType": kind,
        "alertTimestamp": "2026-03-01T10:00:00Z",
        "chargebackAmount": float(facts["amount"]),
        "chargebackCurrency": facts["currency"],
        "authCode": facts["auth_code"],
        "cardBin": facts.get("first"),
        "cardLast4": facts.get("last"),
        "transactionTimestamp": facts.get("at"),
        **changes,
    }
    return json.dumps(told).encode(), "application/json"


def _payshield(ident: str, kind: str, facts: Json, changes: Json) -> tuple[bytes, str]:
    told = {
        "alert_id": ident,
        "alert_type": kind,
        "provider": "ETHOCA",
        "amount": facts["amount"],
        "currency": facts["currency"],
        "auth_code": facts["auth_code"] or "",
        "card": "424242xxxxxx0042" if "first" in facts else "",
        "transaction_timestamp": facts.get("at", ""),
        **changes,
    }
    return urlencode(told).encode(), FORM


def _chargeflow(ident: str, kind: str, facts: Json, changes: Json) -> tuple[bytes, str]:
    payment = {"auth_code": facts["auth_code"], "amount": facts["amount"], "currency": facts["currency"]}
    told = {
        "id": ident,
        "type": "ethoca",
        "reason": kind,
        "amount": facts["amount"],
        "currency": facts["currency"],
        "created_at": "2026-03-01T10:00:00Z",
        "network_transaction": payment,
        **changes,
    }
    kind = told.pop("event", "alerts.created")
    event = {"event_id": f"evt-{ident}-{kind}", "type": kind, "data": told}
    return json.dumps(event).encode(), "application/json"


BODIES = {"ethoca": _ethoca, "payshield": _payshield, "chargeflow": _chargeflow}


@dataclass
class Reports:
    """A bridge that reports outcomes, and the APIs that it reports to."""

    bridge: InProcessBridge
    apis: ProviderApis
    secrets: dict[str, str]
    turns: float = 0.0
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    jobs: Any = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start another worker, which knows only what the database knows."""
        self.jobs = self.bridge.inside.jobs()

    def work(self, times: int = 3) -> None:
        """Forward what there is, and take some turns of the jobs."""
        self.bridge.work()
        for _ in range(times):
            self.turns += 100.0
            self.jobs.turn(self.turns)

    def later(self, seconds: float) -> None:
        """Let time pass, and work."""
        self.bridge.clock.sleep(seconds)
        self.work()

    # what comes in

    def alert(self, provider: str, kind: str = "fraud", sale: Json | None = None, **changes: Any) -> str:
        """Post an alert and open its dispute; returns its case number."""
        ident = changes.pop("ident", None) or f"{provider.upper():X<15}{next(self.numbers):010}"
        facts = {"amount": "40.00", "currency": "USD", "auth_code": (sale or {}).get("auth_code")}
        if sale:
            facts |= {"first": "424242", "last": "0042", "at": "2026-02-28T12:00:00+00:00"}
        body, content_type = alert_of(provider, ident, kind, facts, changes)
        self._post(provider, body, content_type)
        return ident

    def _post(self, provider: str, body: bytes, content_type: str) -> None:
        table = self.bridge.settings.providers[provider]
        headers = table.proof.sign(body, self.secrets[provider], datetime.now(UTC), "")
        answer = self.bridge.client.post(
            f"/webhooks/{provider}", data=body, headers={**headers, "Content-Type": content_type}
        )
        assert answer.status_code == 200, answer.text
        self.work()

    def sell(self, fulfilled: list[tuple[str, str]] | None = None, **facts: Any) -> Json:
        """Add a sale with an order, and what is shipped of it: status and request status of each parcel."""
        number = next(self.numbers)
        sale = self.bridge.next29.add_transaction(
            STORE, amount="40.00", currency="USD", bankcard_first_six="424242", bankcard_last_four="0042",
            auth_code=f"A{number:05}", date_created="2026-02-28T12:00:00+00:00", order=str(5000 + number),
            **facts,
        )  # fmt: skip
        if fulfilled is not None:
            self.ships(sale, [fulfillment_order(5000 + number, *one) for one in fulfilled])
        return dict(sale)

    def ships(self, sale: Json, answer: Any) -> None:
        """Choose what 29next answers for the fulfilment orders of a sale."""
        self.bridge.next29.stores[STORE].fulfillment[sale["order"]] = answer

    def resolve(self, case: str, resolution: str = "issued_full_refund", **more: Any) -> Json:
        """Resolve the dispute of a case at 29next, which says so by its webhook."""
        ident = self.bridge.case(case)["dispute_id"]
        self.bridge.api.resolve_dispute(ident, {"resolution": resolution, **more})
        row: Json = self.bridge.api.retrieve_dispute(ident)
        self.bridge.tell("dispute.updated", row)
        self.work()
        return row

    # what came of it

    def outcome(self, case: str) -> Json:
        """The only outcome of a case."""
        (one,) = self.bridge.case(case)["outcomes"]
        return dict(one)

    def sent(self, case: str) -> Json | None:
        """The outcome of an alert that counts at its provider."""
        return self.apis.ledger.standing(case)

    def reads(self, case: str) -> list[str]:
        """The paths that were read at 29next for an outcome."""
        rows = self.bridge.case(case)["attempts"]
        paths = (one["path"] for one in rows if one["method"] == "GET" and "://" not in one["path"])
        return [path for path in paths if path.startswith("orders/") or path.count("/") == 2]


@contextmanager
def reporting(
    url: str, apis: ProviderApis, *names: str, changes: Json | None = None, **settings: Any
) -> Iterator[Reports]:
    """A bridge that reports outcomes to some providers."""
    known = providers.built_in()
    for name in names:
        outcome = known[name].outcome
        assert outcome
        known[name] = replace(known[name], outcome=replace(outcome, on=True, url=apis.url(name)))
    secrets = {name: run.made_up_secret(known[name]) for name in names}
    given: Json = {
        "providers": known,
        "secrets": {**{name: (secret,) for name, secret in secrets.items()}, "next": (NEXT_SECRET,)},
        "api_keys": {name: API_KEYS[name] for name in names},
    }
    with bridge_in_process(url, store=changes, **given, **settings) as made:
        yield Reports(made, apis, secrets)
