"""What providers send in tests: webhooks with their authentication, and what must come of them."""

from __future__ import annotations

import base64
import itertools
import json
import random
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

PASSWORDS = {name: f"canary-password-of-{name}" for name in ("ethoca", "verifi", "midigator", "trusto")}
FULL_CARD = "4111111111111111"  # the number that every test environment of the world knows


@dataclass(frozen=True)
class Sent:
    """One webhook, and the dispute (case number, type) that must come of it, if any."""

    provider: str
    event_id: str
    body: bytes
    store: str | None = None
    opens: tuple[str, str] | None = None
    content_type: str = "application/json"

    @property
    def path(self) -> str:
        """Where it is posted to."""
        return f"/webhooks/{self.provider}" + (f"/{self.store}" if self.store else "")

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it."""
        return {"Content-Type": self.content_type, "Authorization": basic(self.provider)}


def basic(provider: str, password: str | None = None) -> str:
    """The Authorization header of a provider."""
    credentials = f"{provider}:{password or PASSWORDS[provider]}"
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def next_event(kind: str, data: Json, event_id: str, *, store: str, **changes: Any) -> Json:
    """What 29next's own webhook says of one of its objects."""
    target = "https://alerts.example.com/webhooks/next"
    return {
        "object": kind.partition(".")[0],
        "data": data,
        "event_id": event_id,
        "event_type": kind,
        "webhook": {"id": 1, "store": store, "target": target, "events": [kind]},
        "api_version": "2023-02-10",
        **changes,
    }


class Senders:
    """Makes alerts that differ; with a seed, the same ones again."""

    def __init__(self, seed: int = 0, prefix: str = "T") -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.prefix = prefix
        self.numbers = itertools.count(1)

    def case_number(self) -> str:
        """A case number that nobody has yet."""
        return f"{self.prefix}-{next(self.numbers):05d}"

    def amount(self) -> float:
        """Some money."""
        return self.chance.randint(1_00, 900_00) / 100

    def prevention(self, store: str | None = None, case: str | None = None, **changes: Any) -> Sent:
        """Midigator's prevention alert; without a card or code, so that no payment is looked up."""
        facts = {
            "prevention_type": "ethoca",
            "prevention_timestamp": "2026-03-01T10:11:12Z",
            "mid": "700100200",
            "merchant_descriptor": "SHOP*TEST",
        }
        case = case or self.case_number()
        return self._midigator(
            "prevention.new", "prevention", case, {**facts, **changes}, store, opens=(case, "alert")
        )

    def rdr(
        self,
        store: str | None = None,
        case: str | None = None,
        event: str = "rdr.new",
        **changes: Any,
    ) -> Sent:
        """Midigator's RDR case that was accepted: the gateway has refunded it already."""
        facts = {"rdr_date": "2026-03-01", "rdr_resolution": "Accepted"}
        case = case or self.case_number()
        return self._midigator(event, "rdr", case, {**facts, **changes}, store, opens=(case, "alert"))

    def chargeback(self, store: str | None = None, case: str | None = None, **changes: Any) -> Sent:
        """Midigator's chargeback."""
        case = case or self.case_number()
        facts = {"chargeback_date": "2026-03-01", "reason_code": "10.4"}
        return self._midigator(
            "chargeback.new", "", case, {**facts, **changes}, store, opens=(case, "chargeback")
        )

    def result(self, case: str, store: str | None = None, result: str = "won", **changes: Any) -> Sent:
        """The end of a chargeback, without the facts of the case."""
        told = {"result": result, "amount": None, "currency": None, **changes}
        return self._midigator("chargeback.result", "", case, told, store)

    def _midigator(
        self,
        event: str,
        kind: str,
        case: str,
        facts: Json,
        store: str | None,
        opens: tuple[str, str] | None = None,
    ) -> Sent:
        guid = f"{event}-{case}-{next(self.numbers)}"
        told = {
            "event_type": event,
            "event_guid": guid,
            "event_timestamp": "2026-03-01T10:11:13Z",
            f"{kind}_case_number" if kind else "case_number": case,
            "amount": self.amount(),
            "currency": "USD",
            **facts,
        }
        return Sent("midigator", guid, json.dumps(told).encode(), store, opens)

    def ethoca(self, store: str | None = None, case: str | None = None, **changes: Any) -> Sent:
        """Ethoca's alert, which carries a full card number."""
        case = case or self.case_number()
        told = {
            "ethoca_id": case,
            "type": "issuer_alert",
            "alert_timestamp": "2026-03-01T10:11:12.000",
            "age": "12",
            "issuer": "A Bank",
            "card_number": FULL_CARD,
            "transaction_timestamp": "2026-02-27T01:02:03.000",
            "merchant_descriptor": "SHOP*TEST",
            "member_id": "members-1",
            "amount": self.amount(),
            "currency": "USD",
            "transaction_type": "keyed",
            "initiated_by": "issuer",
            "is_3d_secure": "no",
            **changes,
        }
        return Sent("ethoca", case, json.dumps(told).encode(), store, (case, "alert"))

    def verifi(self, store: str | None = None, case: str | None = None, **changes: Any) -> Sent:
        """Verifi's CDRN case as JSON."""
        case = case or self.case_number()
        told = {
            "eventId": f"evt-{case}",
            "eventType": "DISPUTE",
            "caseNumber": case,
            "caseDate": "2026-03-01T10:11:12Z",
            "caseAmount": {"amount": self.amount(), "currency": "USD"},
            **changes,
        }
        words = (told["eventId"], told["eventType"], told.get("caseStatus"))
        event_id = ":".join(word for word in words if word)
        return Sent("verifi", event_id, json.dumps(told).encode(), store, (case, "alert"))

    def trusto(self, case: str, status: str, store: str | None = None) -> Sent:
        """TrustO's update of an alert."""
        told = {"id": f"tr-{case}-{status}", "providerId": case, "status": status}
        body = json.dumps({"event": "alert.resolved", "timestamp": "2026-03-01T10:11:12Z", "payload": told})
        return Sent("trusto", f"tr-{case}-{status}:alert.resolved", body.encode(), store)

    def any(self, store: str | None = None) -> Sent:
        """An alert of any provider that opens a case."""
        make = self.chance.choice([self.prevention, self.chargeback, self.ethoca, self.verifi])
        return make(store)
