"""A bridge that reports outcomes to stand-ins of the providers' APIs, on a clock that tests move."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bridge import providers
from bridge.worker.notify import conditions, read_snapshot
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.next29 import STORE
from tests.support.next29.orders import fulfillment_order
from tests.support.provider_apis import API_KEYS, ProviderApis
from tests.support.webhooks import Sent

Json = dict[str, Any]

KINDS = {
    "ethoca": {"fraud": "CONFIRMEDFRAUD", "dispute": "CUSTOMERDISPUTE"},
    "payshield": {"fraud": "Confirmed Fraud", "dispute": "Customer Dispute", "unknown": "DISPUTE"},
    "chargeflow": {"fraud": "fraud", "dispute": "service", "unknown": "something"},
    "midigator": {"fraud": "ethoca", "dispute": "ethoca"},
    "chargeblast": {"fraud": "FRAUD", "dispute": "DISPUTE"},
}
"""Each provider's words for the kind of an alert; Midigator has none."""
ENDS: dict[str, Json] = {
    "payshield": {"action": "statusupdate", "status": "RESOLVED", "reason_code": "100.001"},
    "chargeflow": {"event": "alerts.updated", "outcome": "refunded"},
    "chargeblast": {"event": "alert.updated", "reasonCode": "Resolved"},
}
"""What makes an alert into word of how it ended; Ethoca and Midigator do not say so of what they are told."""
Alert = tuple[Json, dict[str, str]]
"""What an alert says, and the headers that say more of it."""


def alert_of(
    provider: str, ident: str, kind: str, facts: Json, changes: Json
) -> tuple[bytes, dict[str, str]]:
    """The body of a provider's alert, and its headers but for the authentication."""
    tree, headers = BODIES[provider](ident, KINDS[provider].get(kind, kind), facts, dict(changes))
    if provider == "payshield":
        return urlencode(tree).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    return json.dumps(tree).encode(), {"Content-Type": "application/json", **headers}


def _ethoca(ident: str, kind: str, facts: Json, changes: Json) -> Alert:
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
    return told, {}


def _payshield(ident: str, kind: str, facts: Json, changes: Json) -> Alert:
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
    return told, {}


def _chargeflow(ident: str, kind: str, facts: Json, changes: Json) -> Alert:
    event = changes.pop("event", "alerts.created")
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
    return {"event_id": f"evt-{ident}-{event}", "type": event, "data": told}, {}


def _midigator(ident: str, kind: str, facts: Json, changes: Json) -> Alert:
    told = {
        "event_type": "prevention.new",
        "event_guid": f"evt-{ident}",
        "event_timestamp": "2026-03-01T10:00:00Z",
        "prevention_case_number": ident,
        "prevention_guid": ident,
        "prevention_type": kind,
        "prevention_timestamp": "2026-03-01T10:00:00Z",
        "amount": float(facts["amount"]),
        "currency": facts["currency"],
        "card_first_6": facts.get("first"),
        "card_last_4": facts.get("last"),
        "transaction_timestamp": facts.get("at"),
        **changes,
    }
    return told, {}


def _chargeblast(ident: str, kind: str, facts: Json, changes: Json) -> Alert:
    event = changes.pop("event", "alert.created")
    told = {
        "id": ident,
        "alertId": ident,
        "alertType": kind,
        "subprovider": "Ethoca",
        "amount": float(facts["amount"]),
        "currency": facts["currency"].lower(),
        "createdAt": "2026-03-01 10:00:00.000000Z",
        "authCode": facts["auth_code"],
        "card": "424242******0042" if "first" in facts else None,
        "transactionDate": facts.get("at"),
        **changes,
    }
    return told, {"X-Event-Type": event}


BODIES: dict[str, Callable[[str, str, Json, Json], Alert]] = {
    "ethoca": _ethoca,
    "payshield": _payshield,
    "chargeflow": _chargeflow,
    "midigator": _midigator,
    "chargeblast": _chargeblast,
}


@dataclass
class Reports:
    """A bridge that reports outcomes, and the APIs that it reports to."""

    bridge: InProcessBridge
    apis: ProviderApis
    turns: float = 0.0
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    jobs: Any = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start another worker, which knows only what the database knows."""
        self.jobs = self.bridge.inside.make_jobs()

    def work(self, times: int = 3) -> None:
        """Forward what there is, and take some turns of the jobs."""
        self.bridge.work()
        for _ in range(times):
            self.turns += 100.0
            self.jobs.run_due(self.turns)

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
        body, headers = alert_of(provider, ident, kind, facts, changes)
        proof, secret = (
            self.bridge.settings.providers[provider].proof,
            self.bridge.settings.secrets[provider][0],
        )
        headers |= proof.sign(body, secret, datetime.now(UTC), "")
        answer = self.bridge.client.post(f"/webhooks/{provider}", data=body, headers=headers)
        assert answer.status_code == 200, answer.text
        self.work()
        return str(ident)

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

    def end(self, provider: str, case: str) -> None:
        """Have a provider say itself how its alert ended."""
        self.alert(provider, ident=case, **ENDS[provider])

    def resolve(self, case: Sent | str, resolution: str = "issued_full_refund", **more: Any) -> Json:
        """Resolve the dispute of a case at 29next, which says so by its webhook."""
        row = self.resolved(case, resolution, **more)
        self.work()
        return row

    def resolved(self, case: Sent | str, resolution: str = "issued_full_refund", **more: Any) -> Json:
        """The same, before the bridge has done anything about it."""
        ident = self.bridge.case(case)["dispute_id"]
        self.bridge.api.resolve_dispute(ident, {"resolution": resolution, **more})
        return self.say_again(ident)

    def change(self, case: Sent | str, **changes: Any) -> None:
        """Have the dispute of a case changed at 29next, which says so."""
        ident = self.bridge.case(case)["dispute_id"]
        self.bridge.next29.stores[STORE].disputes.by_id[ident] |= changes
        self.say_again(ident)

    def say_again(self, dispute: int) -> Json:
        """Have 29next say how a dispute is."""
        row: Json = self.bridge.api.retrieve_dispute(dispute)
        self.bridge.tell("dispute.updated", row)
        return row

    # what came of it

    def outcome(self, case: Sent | str) -> Json:
        """The only outcome of a case."""
        (one,) = self.bridge.case(case)["outcomes"]
        return dict(one)

    def sent(self, case: str) -> Json | None:
        """The outcome of an alert that counts at its provider."""
        return self.apis.ledger.standing(case)

    def calls(self, case: Sent | str) -> list[Json]:
        """The calls to providers that a case shows."""
        return [one for one in self.bridge.case(case)["attempts"] if "://" in one["path"]]

    @property
    def alarms(self) -> list[tuple[str, str, str]]:
        """What a person is told about outcomes: title, text and where to look."""
        found = conditions(read_snapshot(self.bridge.database, self.bridge.settings))
        return [(one.title, one.text, one.path) for one in found if one.key.startswith("untold:")]

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
    keys = {name: API_KEYS[name] for name in names}
    with bridge_in_process(url, store=changes, providers=known, api_keys=keys, **settings) as made:
        yield Reports(made, apis)
