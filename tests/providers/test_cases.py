"""What providers really send, from the webhook to 29next: each posted, forwarded, and asked for by the API.

The rules are those of docs/providers.md; the values are made up, modelled on documents and reports.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import Clock
from tests.support.configuring import load
from tests.support.documents import ROOT
from tests.support.fixtures import secret_of
from tests.support.next29 import STORE

Json = Any

BILLING = """
[providers.billing]
proof = { kind = "header", header = "X-Billing-Key" }
event_id = ["data.id", "event"]
event_type = "event"
[providers.billing.effects]
ALERT_CREATED = "open"
[providers.billing.fields]
case_number = "data.caseId"
amount = "data.amount"
currency = "data.currency_name"
happened_at = "data.received"
transaction_at = "data.transDate"
arn = "data.arn"
card = "data.ccNum"
order = "data.orderId"
"""
"""A provider without code, whose dates say 1899 where there is none."""

NOW = datetime(2026, 6, 20, 12, tzinfo=UTC)
SALE = {"status": "succeeded", "type": "debit", "date_created": "2026-06-01T10:00:00Z"}


@dataclass(frozen=True)
class Posted:
    """One webhook, before its sender signs it."""

    provider: str
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Right:
    """What has to become of a webhook, and of its case once all of them were taken."""

    status: str = "forwarded"
    reason: str | None = None
    errors: tuple[str, ...] = ()
    case: str | None = None
    type: str = "alert"
    amount: str | None = None
    currency: str | None = None
    resolution: str | None = None
    message: str | None = None
    refunded: bool = False  # the gateway has, so that it is recorded once
    priced: bool = True  # 29next is sent the amount


@contextmanager
def bridge(make_database: MakeDatabase, at: datetime, sale: Json = None) -> Iterator[InProcessBridge]:
    """A bridge with the secrets of all providers, before a store that knows one sale at most."""
    known = load(BILLING).providers
    secrets = {name: (secret_of(one),) for name, one in known.items()}
    also: Json = {"providers": known, "secrets": secrets}
    with (
        make_database("sqlite") as url,
        bridge_in_process(url, clock=Clock(at.timestamp()), **also) as found,
    ):
        if sale:
            found.next29.add_transaction(**{**SALE, **sale})
        found.inside.backfill(found.api, found.store, report=lambda _: None).run(200)
        yield found


def post(at_work: InProcessBridge, posted: Posted) -> str:
    """Post a webhook as its provider signs it; returns the id of its first delivery."""
    provider = at_work.settings.providers[posted.provider]
    secret = at_work.settings.secrets[posted.provider][0]
    path = f"/webhooks/{posted.provider}"
    body = provider.proof.seal(json.dumps(posted.body).encode(), secret)
    proven = provider.proof.sign(body, secret, datetime.now(UTC), at_work.settings.base_url + path)
    headers = {"Content-Type": "application/json", **posted.headers, **proven}
    before = {row["id"] for row in deliveries(at_work)}
    answer = at_work.client.post(path, data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    fresh = [row["id"] for row in deliveries(at_work) if row["id"] not in before]
    return str(min(fresh))


def asked(at_work: InProcessBridge, path: str) -> list[Json]:
    """The rows that the API gives."""
    answer = at_work.client.get(path)
    assert answer.status_code == 200, answer.text
    return list(json.loads(answer.text)["results"])


def deliveries(at_work: InProcessBridge) -> list[Json]:
    """What providers sent, newest first."""
    return asked(at_work, "/api/deliveries?limit=100")


def check(at_work: InProcessBridge, posted: Posted, ident: str, right: Right) -> None:
    """Compare the API and 29next with what has to be."""
    (row,) = [one for one in deliveries(at_work) if one["id"] == ident]
    assert (row["status"], row["reason"]) == (right.status, right.reason), row
    assert sorted(row["errors"] or {}) == sorted(right.errors), row
    if right.case is None:
        assert asked(at_work, "/api/cases") == []
        assert at_work.disputes() == []
        return
    (case,) = asked(at_work, f"/api/cases?case_number={right.case}")
    told = (case["type"], case["amount"] and Decimal(case["amount"]), case["currency"], case["resolution"])
    wanted = right.amount and Decimal(right.amount)
    assert told == (right.type, wanted, right.currency, right.resolution), case
    assert case["providers"] == [posted.provider]
    assert bool(right.errors) == any("cannot be read" in note for note in case["notes"])
    (dispute,) = [one for one in at_work.disputes() if one["case_number"] == right.case]
    sent = (dispute["type"], Decimal(dispute["amount"]) if dispute["amount"] else None, dispute["currency"])
    assert sent == (right.type, wanted if right.priced else None, right.currency), dispute
    assert dispute["resolution"] == right.resolution, dispute
    if right.message is not None:
        assert dispute["resolution_other_message"] == right.message


def refunds(at_work: InProcessBridge) -> list[Json]:
    """The refunds that were recorded at 29next as made elsewhere."""
    rows = at_work.next29.stores[STORE].transactions.by_id.values()
    return [row for row in rows if row["type"] == "refund" and row["is_external"]]


# --- the bodies -----------------------------------------------------------------------------------


def stripe(event: str = "charge.dispute.created", **changes: Json) -> Posted:
    card = {"brand": "visa", "case_type": "resolution", "network_reason_code": "10.4"}
    dispute = {
        "id": "du_9Kx",
        "amount": 7450,
        "charge": "ch_9Kx",
        "currency": "usd",
        "created": 1781900000,
        "payment_intent": "pi_9Kx",
        "payment_method_details": {"card": card, "type": "card"},
        "reason": "fraudulent",
        "status": "prevented",
        **changes,
    }
    envelope = {"id": "evt_9Kx", "created": 1781900000, "livemode": True, "type": event}
    return Posted("stripe", envelope | {"data": {"object": dispute}})


def adyen(code: str, day: int, status: str | None, dispute: str = "DSP7700000000A1") -> Posted:
    item = {
        "additionalData": {"chargebackReasonCode": "10.4"} | ({"disputeStatus": status} if status else {}),
        "amount": {"currency": "EUR", "value": 3180},
        "eventCode": code,
        "eventDate": f"2026-06-{day:02}T08:30:00+02:00",
        "merchantAccountCode": "LumenECOM",
        "merchantReference": "order-5512",
        "originalReference": "PAY7700000000A1",
        "pspReference": dispute,
        "success": "true",
    }
    return Posted("adyen", {"live": "true", "notificationItems": [{"NotificationRequestItem": item}]})


def chargeblast(ident: str, **changes: Json) -> Posted:
    body = {
        "alertId": ident,
        "alertType": "DISPUTE",
        "amount": 41.9,
        "arn": "24692166160000077001122",
        "attributes": {"order_number": "#7712"},
        "card": "424242******4242",
        "createdAt": "2026-06-19 21:57:23.601000Z",
        "currency": "USD",
        "descriptor": "LUMEN",
        "id": ident,
        "reasonCode": "WIP",
        "responseAction": None,
        "subprovider": "CDRN",
        "transactionDate": "2026-06-01 00:00:00.000000Z",
        **changes,
    }
    return Posted("chargeblast", body, {"X-Event-Type": "alert.updated", "svix-id": f"msg_{ident}"})


def ethoca(ident: str, **changes: Json) -> Posted:
    body = {
        "ethoca_id": ident,
        "type": "issuer_alert",
        "alert_timestamp": "2026-06-19T10:11:12.123",
        "card_number": "411111******1111",
        "card_bin": "411111",
        "card_last4": "1111",
        "transaction_timestamp": "2026-06-01T10:00:00",
        "merchant_descriptor": "LUMEN",
        "member_id": "7",
        "amount": 23.4,
        "currency": "USD",
        "arn": "",
        "auth_code": "77B2C3",
        **changes,
    }
    return Posted("ethoca", body)


def midigator(event: str, number: str, **changes: Json) -> Posted:
    body = {
        "event_type": event,
        "event_guid": f"g-{number}",
        "event_timestamp": "2026-06-19T10:00:00Z",
        "case_number": number,
        "chargeback_date": "2026-06-15",
        "amount": 88.2,
        "currency": "USD",
        "card_first_6": "411111",
        "card_last_4": "1111",
        "arn": "24692166160000077001133",
        "reason_code": "10.4",
        "processor_transaction_id": "pt-7",
        "processor_transaction_date": "2026-06-01",
        **changes,
    }
    return Posted("midigator", body)


def solidgate(ident: str, kind: str, outcome: str, source: str = "VERIFI") -> Posted:
    alert = {
        "id": ident,
        "merchant_order_id": "019ef938-5513",
        "provider": source,
        "alert_type": kind,
        "outcome": outcome,
        "amount": 3320,
        "currency": "USD",
        "reported_at": "2026-06-19T10:00:00.000000Z",
    }
    envelope = {"event_id": f"e-{ident}", "event_type": "PREVENTION_ALERT_RECEIVED"}
    return Posted(
        "solidgate",
        envelope | {"occurred_at": "2026-06-19T10:05:00.000000Z", "data": {"prevention_alert": alert}},
    )


def chargebackstop(event: str, ident: str, **changes: Json) -> Posted:
    alert = {
        "id": ident,
        "status": "RESOLVED",
        "transaction_amount_in_cents": 2150,
        "transaction_currency_code": "USD",
        "created_at": "2026-06-19T00:00:00Z",
        "integration_transaction_id": "pi_cbs",
        **changes,
    }
    return Posted("chargebackstop", {"id": f"evt-{ident}", "type": event, "data": {"object": alert}})


def trusto(number: str, kind: str, status: str) -> Posted:
    payload = {
        "id": f"t-{number}",
        "providerId": number,
        "provider": "VERIFI",
        "type": kind,
        "alertTimeStamp": "2026-06-19T04:33:04.328Z",
        "cardBin": "400012",
        "cardLastFour": "1224",
        "status": status,
        "transactionTimeStamp": "2026-06-01T10:00:00.328Z",
        "amount": 61.77,
        "currency": "USD",
        "authCode": "77D8E9",
        "ruleName": "Above 10 USD",
    }
    return Posted(
        "trusto", {"event": "alert.created", "timestamp": "2026-06-19T05:00:00Z", "payload": payload}
    )


def justt(number: str, network: str, event: str = "pre_chargeback_alert.received", **changes: Json) -> Posted:
    data = {
        "alertTimestamp": "2026-06-19T03:04:05Z",
        "alertType": "issuer_alert",
        "type": "Fraud",
        "arn": "24692166160000077001144",
        "authorizationCode": "77F1A2",
        "internalAlertId": f"in-{number}",
        "provider": network,
        "providerAlertId": number,
        "transaction": {
            "transactionId": "txn_7",
            "amount": 52.35,
            "currency": "USD",
            "card": {"bin": "411111", "last4": "1111"},
            "timestamp": "2026-06-01T10:00:00Z",
        },
        **changes,
    }
    return Posted("justt", {"type": event, "timestamp": "2026-06-19T09:39:24.514Z", "data": data})


def chargeflow(event: str, ident: str, **changes: Json) -> Posted:
    data = {
        "id": ident,
        "type": "ethoca",
        "amount": 19.5,
        "currency": "USD",
        "statement_descriptor": "LUMEN",
        "created_at": "2026-06-19T09:00:00Z",
        **changes,
    }
    envelope = {
        "id": f"att-{event}-{ident}",
        "event_id": f"ev-{event}-{ident}",
        "published_at": "2026-06-19T10:00:00Z",
        "type": event,
        "livemode": True,
        "merchant_id": "m_7",
    }
    return Posted("chargeflow", envelope | {"data": data})


def checkout(event: str, ident: str, **changes: Json) -> Posted:
    data = {
        "id": ident,
        "date": "2026-06-19T15:20:31.5042702+00:00",
        "category": "fraudulent",
        "amount": 6420,
        "currency": "GBP",
        "reason_code": "10.4",
        "payment_id": "pay_7",
        "payment_reference": "order-5514",
        "payment_method": "VISA",
        "entity_id": "ent_7",
        **changes,
    }
    stamp = {"timestamp": "2026-06-19T15:20:32.582+00:00"}
    return Posted("checkout", {"id": f"evt_{ident}_{event}", "type": event, "data": data} | stamp)


def nmi(*entries: Json) -> Posted:
    body = {
        "merchant": {"id": "77", "name": "Lumen"},
        "processor": {"id": "proc7"},
        "count": len(entries),
        "chargebacks": list(entries),
    }
    return Posted("nmi", {"event_id": "nmi-7", "event_type": "chargeback.batch.complete", "event_body": body})


def billing(**changes: Json) -> Posted:
    data = {
        "id": 7,
        "caseId": "BL-7",
        "amount": "77.10",
        "currency_name": "USD",
        "received": "2026-06-19 21:52:14",
        "transDate": "1899-11-30T00:00:00.000Z",
        "arn": "98278274829743294525435",
        "ccNum": "411111xxxxxx1111",
        "orderId": "A7712",
        **changes,
    }
    return Posted("billing", {"event": "ALERT_CREATED", "data": data})


CBS_SALE = {"external_id": "pi_cbs", "amount": "21.50", "currency": "USD"}
STRIPE_SALE = {"external_id": "pi_9Kx", "amount": "74.50", "currency": "USD"}
CARD = {"bankcard_first_six": "400012", "bankcard_last_four": "1224"}
TRUSTO_SALE = {"amount": "61.77", "currency": "USD", "auth_code": "77D8E9", **CARD}
JUSTT_CARD = {"bankcard_first_six": "411111", "bankcard_last_four": "1111"}
JUSTT_SALE = {"amount": "52.35", "currency": "USD", "auth_code": "77F1A2", **JUSTT_CARD}
SOLIDGATE_SALE = {"amount": "33.20", "currency": "USD", "order": "019ef938-5513"}

USD: dict[str, Any] = {"currency": "USD"}
GOOD_ETHOCA: dict[str, Any] = {"amount": "23.40", **USD}

VARIANTS: dict[str, dict[str, Json]] = {
    "a date of 1899": {"transaction_timestamp": "1899-12-30T00:00:00"},
    "a date of year one": {"transaction_timestamp": "0001-01-01T00:00:00"},
    "a date of zeros": {"transaction_timestamp": "0000-00-00 00:00:00"},
    "no card": {"card_number": "N/A", "auth_code": "none", "arn": "000000"},
    "a card of masks": {"card_number": "************", "card_bin": "xxxxxx"},
    "a float's artefact": {"amount": 23.400000000000002},
    "a dollar sign": {"amount": "$23.40"},
    "a code beside the amount": {"amount": "23.40 USD"},
    "a number for the currency": {"currency": 840},
    "no disputed amount": {"chargeback_amount": 0, "chargeback_currency": "USD"},
    "a time in RFC 2822": {"alert_timestamp": "Fri, 19 Jun 2026 10:11:12 GMT"},
}
"""What says nothing, or is read as a person would, in an alert of Ethoca's."""

UNREADABLE: list[tuple[str, dict[str, Json], Right]] = [
    (
        "a descriptor that is an object",
        {"merchant_descriptor": {"x": 1}},
        Right(errors=("merchant_descriptor",), case="ETB-0", **GOOD_ETHOCA),
    ),
    (
        "an amount that is none",
        {"amount": "1,23"},
        Right(errors=("amount",), case="ETB-1", **USD),
    ),
    (
        "a currency that is none",
        {"currency": "DOLLARS"},
        Right(errors=("currency",), case="ETB-2", amount="23.40", priced=False),
    ),
    (
        "a negative amount",
        {"amount": -23.4},
        Right(errors=("amount",), case="ETB-3", **USD),
    ),
    (
        "an identifier that lost its digits",
        {"arn": 9.87e22},
        Right(errors=("arn",), case="ETB-4", **GOOD_ETHOCA),
    ),
]
"""What costs itself, and is named."""

CASES: dict[str, tuple[Sequence[tuple[Posted, Right]], Json]] = {
    "stripe, prevented and refunded": (
        [
            (
                stripe(),
                Right(case="du_9Kx", amount="74.50", resolution="issued_full_refund", refunded=True, **USD),
            )
        ],
        STRIPE_SALE,
    ),
    "stripe, prevented and refunded, told when it is closed": (
        [
            (
                stripe("charge.dispute.closed"),
                Right(case="du_9Kx", amount="74.50", resolution="issued_full_refund", refunded=True, **USD),
            )
        ],
        STRIPE_SALE,
    ),
    "stripe, prevented by a block": (
        [
            (
                stripe(payment_method_details={"card": {"case_type": "block", "brand": "visa"}}),
                Right(case="du_9Kx", amount="74.50", resolution="other", message="block", **USD),
            )
        ],
        STRIPE_SALE,
    ),
    "stripe, prevented in a way that nobody listed": (
        [
            (
                stripe(payment_method_details={"card": {"case_type": "zz"}}),
                Right("failed", "unknown_outcome", case="du_9Kx", amount="74.50", **USD),
            )
        ],
        None,
    ),
    "adyen, a life of three events": (
        [
            (adyen("CHARGEBACK", 10, "Undefended"), Right()),
            (adyen("CHARGEBACK_REVERSED", 15, "Won"), Right()),
            (adyen("SECOND_CHARGEBACK", 18, "Lost"), Right()),
        ],
        None,
    ),
    "adyen, reversed for now": (
        [
            (adyen("CHARGEBACK", 10, "Undefended"), Right()),
            (
                adyen("CHARGEBACK_REVERSED", 15, "Pending"),
                Right(case="DSP7700000000A1", type="chargeback", amount="31.80", currency="EUR"),
            ),
        ],
        None,
    ),
    "adyen, opened with a chargeback": (
        [
            (
                adyen("DISPUTE_OPENED_WITH_CHARGEBACK", 10, None),
                Right(case="DSP7700000000A1", type="chargeback", amount="31.80", currency="EUR"),
            )
        ],
        None,
    ),
    "adyen, no dispute": ([(adyen("EXPIRE", 10, None), Right("ignored", "ignore"))], None),
    "adyen, a question": (
        [(adyen("REQUEST_FOR_INFORMATION", 10, "Unresponded"), Right("ignored", "inform"))],
        None,
    ),
    "chargeblast, a cancellation": (
        [
            (
                chargeblast("al_71", subprovider="Cancel", reasonCode="CancellationProcessed"),
                Right(
                    case="al_71",
                    amount="41.90",
                    resolution="declined_or_canceled_nothing_to_do",
                    **USD,
                ),
            )
        ],
        None,
    ),
    "chargeblast, an RDR case that was declined": (
        [
            (
                chargeblast("al_72", subprovider="RDR", alertType="DISPUTE_RDR", acquirerAction="Declined"),
                Right(case="al_72", amount="41.90", **USD),
            )
        ],
        {"order": "#7712", "amount": "41.90", "currency": "USD"},
    ),
    "chargeblast, without an alertId": (
        [(chargeblast("al_73", alertId=None), Right(case="al_73", amount="41.90", **USD))],
        None,
    ),
    "chargeblast, a word that nobody listed": (
        [
            (
                chargeblast("al_74", reasonCode="Vanished"),
                Right("failed", "unknown_outcome", case="al_74", amount="41.90", **USD),
            )
        ],
        None,
    ),
    **{
        f"ethoca, {name}": ([(ethoca(f"ETH-{n}", **changes), Right(case=f"ETH-{n}", **GOOD_ETHOCA))], None)
        for n, (name, changes) in enumerate(VARIANTS.items())
    },
    **{
        f"ethoca, {name}": ([(ethoca(f"ETB-{n}", **changes), right)], None)
        for n, (name, changes, right) in enumerate(UNREADABLE)
    },
    "ethoca, no case number": (
        [(ethoca("N/A"), Right("failed", "untranslatable", errors=("ethoca_id",)))],
        None,
    ),
    "midigator, a chargeback that was won": (
        [
            (
                midigator("chargeback.result", "MC-71", result="win"),
                Right(case="MC-71", type="chargeback", amount="88.20", resolution="won", **USD),
            )
        ],
        None,
    ),
    "midigator, an answer that was sent": (
        [(midigator("chargeback.responded", "MC-72"), Right("ignored", "inform"))],
        None,
    ),
    "solidgate, an inquiry": (
        [(solidgate("pral_71", "INQUIRY", "ACKNOWLEDGED"), Right("ignored", "inform"))],
        None,
    ),
    "solidgate, an RDR case that was accepted": (
        [
            (
                solidgate("pral_72", "RESOLVED", "REVERSED"),
                Right(case="pral_72", amount="33.20", resolution="issued_full_refund", refunded=True, **USD),
            )
        ],
        SOLIDGATE_SALE,
    ),
    "solidgate, a refund that failed": (
        [
            (
                solidgate("pral_73", "INIT_REFUND", "REVERSE_ERROR"),
                Right(case="pral_73", amount="33.20", **USD),
            )
        ],
        None,
    ),
    "chargebackstop, refunded in part": (
        [
            (
                chargebackstop("alert.updated", "cbs-71", transaction_refund_outcome="PARTIALLY_REFUNDED"),
                Right(case="cbs-71", amount="21.50", resolution="other", message="PARTIALLY_REFUNDED", **USD),
            )
        ],
        CBS_SALE,
    ),
    "chargebackstop, an RDR case": (
        [
            (
                chargebackstop("alert.created", "cbs-72"),
                Right(case="cbs-72", amount="21.50", resolution="issued_full_refund", refunded=True, **USD),
            )
        ],
        CBS_SALE,
    ),
    "trusto, an RDR case that was accepted": (
        [
            (
                trusto("TR-71", "VERIFI_RDR", "REFUNDED"),
                Right(case="TR-71", amount="61.77", resolution="issued_full_refund", refunded=True, **USD),
            )
        ],
        TRUSTO_SALE,
    ),
    "trusto, an RDR case that was declined": (
        [(trusto("TR-72", "VERIFI_RDR", "DECLINED"), Right(case="TR-72", amount="61.77", **USD))],
        TRUSTO_SALE,
    ),
    "justt, an alert": ([(justt("JA-71", "Ethoca"), Right(case="JA-71", amount="52.35", **USD))], None),
    "justt, an RDR case": (
        [
            (
                justt("JA-72", "RDR", alertType="dispute_rdr"),
                Right(case="JA-72", amount="52.35", resolution="issued_full_refund", refunded=True, **USD),
            )
        ],
        JUSTT_SALE,
    ),
    "justt, an alert and its refund": (
        [
            (justt("JA-73", "Ethoca"), Right()),
            (
                justt("JA-73", "Ethoca", "pre_chargeback_alert.refund.succeeded"),
                Right(case="JA-73", amount="52.35", resolution="issued_full_refund", **USD),
            ),
        ],
        None,
    ),
    "chargeflow, an alert that was refunded": (
        [
            (chargeflow("alerts.created", "cf-71"), Right()),
            (
                chargeflow("alerts.updated", "cf-71", outcome="refunded"),
                Right(case="cf-71", amount="19.50", resolution="issued_full_refund", **USD),
            ),
        ],
        None,
    ),
    "chargeflow, a test": (
        [
            (
                Posted("chargeflow", chargeflow("alerts.created", "cf-72").body | {"livemode": False}),
                Right("ignored", "test"),
            )
        ],
        None,
    ),
    "checkout, a dispute": (
        [
            (
                checkout("dispute_evidence_required", "dsp_71"),
                Right(case="dsp_71", type="chargeback", amount="64.20", currency="GBP"),
            )
        ],
        None,
    ),
    "checkout, a dispute in Chilean pesos": (
        [
            (
                checkout("dispute_evidence_required", "dsp_72", amount=845000, currency="CLP"),
                Right(case="dsp_72", type="chargeback", amount="8450.00", currency="CLP"),
            )
        ],
        None,
    ),
    "checkout, a dispute that was settled": (
        [
            (checkout("dispute_received", "dsp_73"), Right()),
            (
                checkout("dispute_resolved", "dsp_73", resolved_reason="rapid_dispute_resolution"),
                Right(case="dsp_73", type="chargeback", amount="64.20", currency="GBP"),
            ),
        ],
        None,
    ),
    "nmi, a batch": (
        [
            (
                nmi(
                    {"id": "77101", "date": "6/9/2026", "cc_number": "411111******1111", "amount": "12.34"},
                    {"id": "77102", "date": "06/09/2026", "cc_number": "************0004", "amount": "56.78"},
                ),
                Right(case="77101", type="chargeback", amount="12.34", **USD),
            )
        ],
        None,
    ),
    "a provider without code, and a date of 1899": (
        [(billing(), Right(case="BL-7", amount="77.10", **USD))],
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_providers_send_means_what_it_says(name: str, make_database: MakeDatabase) -> None:
    steps, sale = CASES[name]
    with bridge(make_database, NOW, sale) as at_work:
        for posted, right in steps:
            ident = post(at_work, posted)
            at_work.settle()
            (row,) = [one for one in deliveries(at_work) if one["id"] == ident]
            assert (row["status"], row["reason"]) == (right.status, right.reason), row
        if name == "adyen, a life of three events":
            right = Right(
                case="DSP7700000000A1", type="chargeback", amount="31.80", currency="EUR", resolution="lost"
            )
        check(at_work, posted, ident, right)
        if sale and right.refunded:
            [made] = refunds(at_work)
            assert Decimal(made["amount"]) == Decimal(right.amount or 0)
        else:
            assert refunds(at_work) == []
        for again, _ in steps:  # a repeat adds nothing
            post_again(at_work, again)
        at_work.settle()
        check(at_work, posted, ident, right)
        assert len(refunds(at_work)) == (1 if sale and right.refunded else 0)


def post_again(at_work: InProcessBridge, posted: Posted) -> None:
    """Post a webhook once more, signed anew, as a provider that got no answer does."""
    provider = at_work.settings.providers[posted.provider]
    secret = at_work.settings.secrets[posted.provider][0]
    body = provider.proof.seal(json.dumps(posted.body).encode(), secret)
    proven = provider.proof.sign(body, secret, datetime.now(UTC))
    headers = {"Content-Type": "application/json", **posted.headers, **proven}
    assert at_work.client.post(f"/webhooks/{posted.provider}", data=body, headers=headers).status_code == 200


def test_of_a_batch_every_entry_is_a_case_of_its_own(make_database: MakeDatabase) -> None:
    ((posted, _),), _ = CASES["nmi, a batch"]
    with bridge(make_database, NOW) as at_work:
        post(at_work, posted)
        at_work.settle()
        found = {row["case_number"]: row["amount"] for row in asked(at_work, "/api/cases")}
        assert found == {"77101": "12.34", "77102": "56.78"}
        assert {one["case_number"] for one in at_work.disputes()} == set(found)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_last_result_of_a_chargeback_counts_in_whatever_order_they_come(
    make_database: MakeDatabase, order: Sequence[int]
) -> None:
    steps, _ = CASES["adyen, a life of three events"]
    with bridge(make_database, NOW) as at_work:
        for n in order:
            post(at_work, steps[n][0])
            at_work.settle()
        (dispute,) = at_work.disputes()
        assert dispute["resolution"] == "lost"


@pytest.mark.parametrize("word", ["accepted", "won"])
def test_a_person_s_word_at_29next_is_not_replaced_by_a_later_result(
    make_database: MakeDatabase, word: str
) -> None:
    steps, _ = CASES["adyen, a life of three events"]
    with bridge(make_database, NOW) as at_work:
        for posted, _ in steps[:2]:
            post(at_work, posted)
            at_work.settle()
        (dispute,) = at_work.disputes()
        at_work.next29.stores[STORE].disputes.by_id[int(dispute["id"])]["resolution"] = word
        with at_work.counted() as calls:
            ident = post(at_work, steps[2][0])
            at_work.settle()
        (row,) = [one for one in deliveries(at_work) if one["id"] == ident]
        (case,) = asked(at_work, "/api/cases")
        (dispute,) = at_work.disputes()
        replaced = word == "won"
        assert dispute["resolution"] == case["resolution"] == ("lost" if replaced else word)
        assert (row["status"], row["reason"]) == (
            ("forwarded", None) if replaced else ("failed", "contradicted")
        )
        assert case["state"] == "review"  # it has no transaction either
        assert sum(call.startswith("PATCH") for call in calls) == replaced
        assert sum(call.startswith("GET /disputes/") for call in calls) == 1


def test_what_cannot_be_read_but_could_contradict_sends_the_case_to_review(
    make_database: MakeDatabase,
) -> None:
    sale = {"amount": "23.40", "currency": "USD", "auth_code": "77B2C3", **JUSTT_CARD}
    with bridge(make_database, NOW, sale) as at_work:
        post(at_work, ethoca("ETR-1"))
        post(at_work, ethoca("ETR-2", arn={"x": 1}, transaction_timestamp="2026-06-01T11:00:00"))
        at_work.settle()
        (good,) = asked(at_work, "/api/cases?case_number=ETR-1")
        (bad,) = asked(at_work, "/api/cases?case_number=ETR-2")
        assert good["transaction_id"] is not None
        assert (bad["transaction_id"], bad["state"]) == (None, "review")


@pytest.mark.parametrize("amount", ["a lot", "(33.20)", None, "N/A", {"value": 3320}])
def test_an_rdr_case_without_a_readable_amount_records_no_refund(
    make_database: MakeDatabase, amount: Json
) -> None:
    posted = solidgate("pral_75", "RESOLVED", "REVERSED")
    posted.body["data"]["prevention_alert"]["amount"] = amount
    with bridge(make_database, NOW, SOLIDGATE_SALE) as at_work:
        ident = post(at_work, posted)
        at_work.settle()
        (row,) = [one for one in deliveries(at_work) if one["id"] == ident]
        (case,) = asked(at_work, "/api/cases")
        assert refunds(at_work) == []
        assert case["resolution"] == "issued_full_refund"
        assert case["transaction_id"] is not None  # by the order's number
        assert any("refund is not recorded" in note for note in case["notes"])
        assert (row["status"], row["reason"]) == ("failed", "refused")


@pytest.mark.parametrize("date", ["11282025", "28112026", "202611", "2026", 2026, "112826"])
def test_a_date_that_cannot_be_read_is_named_and_sends_the_case_to_review(
    make_database: MakeDatabase, date: Json
) -> None:
    sale = {"amount": "23.40", "currency": "USD", "auth_code": "77B2C3", **JUSTT_CARD}
    with bridge(make_database, NOW, sale) as at_work:
        ident = post(at_work, ethoca("ETR-3", transaction_timestamp=date))
        at_work.settle()
        (row,) = [one for one in deliveries(at_work) if one["id"] == ident]
        (case,) = asked(at_work, "/api/cases")
        assert sorted(row["errors"]) == ["transaction_timestamp"]
        assert (case["state"], case["transaction_id"]) == ("review", None)


@pytest.mark.parametrize("body", [b"", b"{}", b" \r\n"])
def test_the_test_button_of_a_portal_opens_nothing(make_database: MakeDatabase, body: bytes) -> None:
    with bridge(make_database, NOW) as at_work:
        known = at_work.settings.providers
        # Adyen's signature stands in the body, and 29next has no such button.
        pressed = {name: one for name, one in known.items() if name != "adyen" and not one.object_path}
        for name, provider in pressed.items():
            secret = at_work.settings.secrets[name][0]
            headers = provider.proof.sign(body, secret, datetime.now(UTC))
            answer = at_work.client.post(f"/webhooks/{name}", data=body, headers=headers)
            assert answer.status_code == 200, name
        at_work.work()
        ended = {row["provider"]: (row["status"], row["reason"]) for row in deliveries(at_work)}
        assert ended == dict.fromkeys(pressed, ("ignored", "test"))
        assert at_work.disputes() == []


# --- the inputs that fell short -------------------------------------------------------------------

SHARED = ROOT.parent / "shared" / "cases"
AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
ADYEN_25: dict[str, Any] = {"type": "chargeback", "amount": "25.00", "currency": "EUR"}
TEN: dict[str, Any] = {"amount": "10.00", **USD}

FELL_SHORT: dict[str, tuple[str, Right]] = {
    "stripe-prevented-created": (
        "stripe",
        Right(case="du_prev_0001", amount="49.99", resolution="issued_full_refund", refunded=True, **USD),
    ),
    "adyen-DISPUTE_OPENED_WITH_CHARGEBACK": ("adyen", Right(case="DISP000000000A01", **ADYEN_25)),
    "adyen-nondispute-EXPIRE": ("adyen", Right("ignored", "ignore")),
    "chargeblast-cancel-updated-CancellationProcessed": (
        "chargeblast",
        Right(case="al_c1", amount="64.99", resolution="declined_or_canceled_nothing_to_do", **USD),
    ),
    "chargeblast-iso-rdr-declined": ("chargeblast", Right(case="al_iso20", amount="60.25", **USD)),
    "ethoca-transaction_timestamp-1899": ("ethoca", Right(case="PLACEHOLDER04", **TEN)),
    "ethoca-card_number-NA": ("ethoca", Right(case="PLACEHOLDER08", **TEN)),
    "ethoca-amount-float-artifact": ("ethoca", Right(case="PLACEHOLDER29", amount="19.99", **USD)),
    "ethoca-amount-dollar": ("ethoca", Right(case="PLACEHOLDER30", amount="34.00", **USD)),
    "ethoca-chargeback_amount-zero": ("ethoca", Right(case="PLACEHOLDER19", **TEN)),
    "ethoca-descriptor-obj": (
        "ethoca",
        Right(errors=("merchant_descriptor",), case="PLACEHOLDER26", **TEN),
    ),
    "midigator-result-win": (
        "midigator",
        Right(case="CASE-M2", type="chargeback", amount="59.99", resolution="won", **USD),
    ),
    "midigator-responded": ("midigator", Right("ignored", "inform")),
    "solidgate-inquiry": ("solidgate", Right("ignored", "inform")),
    "cbs-partial": (
        "chargebackstop",
        Right(case="cbs-partial", resolution="other", message="PARTIALLY_REFUNDED", **TEN),
    ),
    "trusto-verifi-rdr": (
        "trusto",
        Right(case="TR-verifi-rdr", amount="100.12", resolution="issued_full_refund", refunded=True, **USD),
    ),
    "justt-pre_chargeback_alert": ("justt", Right(case="ALERT-900001", amount="123.45", **USD)),
    "justt-rdr": (
        "justt",
        Right(case="ALERT-900002", amount="123.45", resolution="issued_full_refund", refunded=True, **USD),
    ),
    "chargeflow-created": ("chargeflow", Right(case="al_cf_1", amount="27.50", **USD)),
    "chargeflow-updated-refunded": (
        "chargeflow",
        Right(case="al_cf_1", amount="27.50", resolution="issued_full_refund", **USD),
    ),
    "checkout-evidence_required": (
        "checkout",
        Right(case="dsp_0001", type="chargeback", amount="81.50", currency="GBP"),
    ),
    "checkout-clp": (
        "checkout",
        Right(case="dsp_clp1", type="chargeback", amount="12990.00", currency="CLP"),
    ),
    "nmi-chargeback.batch": ("nmi", Right(case="8675001", type="chargeback", amount="34.99", **USD)),
    "cb911-zero-transDate": ("billing", Right(case="PS1", amount="49.98", **USD)),
}
LIFE = ("adyen-life1-CHARGEBACK", "adyen-life2-CHARGEBACK_REVERSED", "adyen-life3-SECOND_CHARGEBACK")
NOVEMBER = {"date_created": "2026-11-10T04:00:00Z"}
SALES: dict[str, Json] = {
    "stripe-prevented-created": {
        "external_id": "pi_aaa",
        "amount": "49.99",
        "currency": "USD",
        "date_created": "2026-08-01T10:00:00Z",
    },
    "trusto-verifi-rdr": {"amount": "100.12", "auth_code": "777888", **CARD, **USD, **NOVEMBER},
    "justt-rdr": {"amount": "123.45", "auth_code": "301008", "bankcard_last_four": "1234", **USD, **NOVEMBER},
}


def read(name: str, provider: str) -> Posted:
    headers = {"X-Event-Type": "alert.updated", "svix-id": name} if provider == "chargeblast" else {}
    return Posted(provider, json.loads((SHARED / f"{name}.json").read_text("utf-8")), headers)


fell_short = pytest.mark.skipif(not SHARED.is_dir(), reason="the inputs are not here")


@fell_short
@pytest.mark.parametrize(
    ("name", "sale"),
    [*((name, None) for name in FELL_SHORT), *SALES.items()],
    ids=[*FELL_SHORT, *(f"{name} with its sale" for name in SALES)],
)
def test_what_fell_short_once_is_right(name: str, sale: Json, make_database: MakeDatabase) -> None:
    provider, right = FELL_SHORT[name]
    with bridge(make_database, AT, sale) as at_work:
        posted = read(name, provider)
        ident = post(at_work, posted)
        at_work.settle()
        check(at_work, posted, ident, right)
        assert len(refunds(at_work)) == (1 if sale and right.refunded else 0)


@fell_short
def test_a_life_that_fell_short_once_is_right(make_database: MakeDatabase) -> None:
    with bridge(make_database, AT) as at_work:
        for name, resolution in zip(LIFE, (None, "won", "lost"), strict=True):
            posted = read(name, "adyen")
            ident = post(at_work, posted)
            at_work.settle()
            check(at_work, posted, ident, Right(case="DISP000000000B01", resolution=resolution, **ADYEN_25))


@fell_short
def test_a_batch_that_fell_short_once_is_right(make_database: MakeDatabase) -> None:
    with bridge(make_database, AT) as at_work:
        post(at_work, read("nmi-chargeback.batch", "nmi"))
        at_work.settle()
        found = {row["case_number"]: row["amount"] for row in asked(at_work, "/api/cases")}
        assert found == {"8675001": "34.99", "8675002": "99.99"}


@fell_short
def test_an_alert_and_its_refund_that_fell_short_once_are_right(make_database: MakeDatabase) -> None:
    with bridge(make_database, AT) as at_work:
        for name in ("chargeflow-created", "chargeflow-updated-refunded"):
            posted = read(name, "chargeflow")
            ident = post(at_work, posted)
            at_work.settle()
            check(at_work, posted, ident, FELL_SHORT[name][1])


@fell_short
def test_every_input_that_fell_short_was_tried() -> None:
    assert {path.stem for path in SHARED.glob("*.json")} == {*FELL_SHORT, *LIFE}
