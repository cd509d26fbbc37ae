"""What every provider has to keep to: its fixtures say what each webhook means, the rest holds for all.

A new provider inherits these tests with its module and its fixture folder; nothing is registered here.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from random import Random
from typing import Any

import pytest

from bridge import tree as trees
from bridge.alert import Alert, Effect, Reason, Webhook
from bridge.cli import samples
from bridge.disputes import payloads
from bridge.errors import UnknownEvent, Untranslatable
from bridge.providers.base import HEADER, Item, Provider, Reading
from bridge.providers.fields import AlertSchema
from bridge.providers.meanings import ANY
from bridge.redact import cut_body
from tests.support.configuring import load
from tests.support.documents import ROOT
from tests.support.fixtures import (
    CASES,
    CONFIGURED,
    NOW,
    PROVIDERS,
    VERSIONS,
    Case,
    any_case,
    any_translated,
    case_of,
    check,
    each_case,
    each_provider,
    each_row,
    put,
    refusal,
    secret_of,
    told,
)
from tests.support.openapi import validate_request
from tests.support.trying import tried_with, try_each


def readings(case: Case) -> list[Reading]:
    """What the items of a fixture say."""
    return [case.provider.translate(item) for item in case.items()]


# --- what the fixtures say ------------------------------------------------------------------------


@each_case
def test_a_webhook_means_what_its_fixture_says(case: Case) -> None:
    rows = [told(case, item, reading) for item, reading in zip(case.items(), readings(case), strict=True)]

    assert [row[0] for row in rows] == case.expected("reading")
    assert [row[1] for row in rows] == case.expected("alert")
    assert [row[2] for row in rows] == case.expected("dispute")


@each_provider
def test_every_event_type_has_a_fixture(provider: Provider) -> None:
    seen = {
        (item.event_type or "").lower()
        for case in CASES
        if case.provider.name == provider.name
        for item in case.items()
    }

    assert set(provider.events) - {ANY} <= seen


@each_case
def test_every_call_that_a_webhook_asks_for_is_one_that_29next_documents(case: Case) -> None:
    for reading, body in zip(readings(case), case.expected("dispute"), strict=True):
        for version in VERSIONS:
            if body:
                validate_request("POST", "/disputes/", body, version)
            if reading.alert and reading.alert.resolution:
                asked = payloads.resolution_body(reading.alert.resolution, reading.alert.message)
                validate_request("POST", "/disputes/7/resolve/", asked, version)


@any_case
def test_an_alert_survives_being_written_down(case: Case) -> None:
    for reading in readings(case):
        if reading.alert:
            assert Alert.from_json(json.loads(json.dumps(reading.alert.to_json()))) == reading.alert


@each_case
def test_a_repeat_has_the_same_event_id_and_a_webhook_has_one(case: Case) -> None:
    again = [item.event_id for item in case.provider.read(case.webhook(case.encode(case.tree)))]

    assert again == [item.event_id for item in case.items()]
    assert all(again)
    assert len(set(again)) == len(again)


# --- what a body may hold -------------------------------------------------------------------------


@any_translated
def test_unknown_fields_are_ignored(case: Case, item: Item, table: AlertSchema) -> None:
    assert table.translate(item.tree).alert
    fuller = dataclasses.replace(item, tree=item.tree | {"zz_new": {"deep": [1, None]}, "zz": "x" * 999})

    assert case.provider.translate(fuller) == case.provider.translate(item)


@each_case
def test_an_array_at_the_top_is_a_batch_also_one_of_batches(case: Case) -> None:
    if case.body_file.suffix == ".xml":
        return
    alone = [one.tree for one in case.items()]
    tree = trees.parse(case.webhook().body, ("json", "form"))
    for times in (1, 2):
        webhook = case.webhook(trees.render([tree] * times), **{"content-type": "application/json"})
        items = case.provider.read(webhook)
        assert [item.tree for item in items] == alone * times
        assert [item.index for item in items] == list(range(len(items)))
        assert [item.event_id for item in items] == [one.event_id for one in case.items()] * times


def test_a_batch_of_nothing_is_one_empty_item() -> None:
    (item,) = PROVIDERS["kount"].read(Webhook("kount", "/", b"[]"))
    assert item.tree == {}


FLAT = {"requestID": "K-1", "eventType": "DISPUTE", "transactionAmount": 25.5, "transactionCurrency": "USD"}


@pytest.mark.parametrize("events", [[], None, [{}]], ids=str)
def test_a_case_that_stands_beside_an_empty_list_is_opened(events: Any) -> None:
    kount = PROVIDERS["kount"]
    (item,) = kount.read(Webhook("kount", "/", json.dumps({**FLAT, "events": events}).encode()))
    reading = kount.translate(item)
    assert (reading.effect, reading.alert and reading.alert.case_number) == (Effect.OPEN, "K-1")


@pytest.mark.parametrize(
    "envelope", [{}, {"requestID": "K-1"}, {"id": "evt_1", "eventType": "DISPUTE"}], ids=str
)
def test_an_empty_list_in_an_envelope_is_a_test(envelope: Any) -> None:
    kount = PROVIDERS["kount"]
    (item,) = kount.read(Webhook("kount", "/", json.dumps({**envelope, "events": []}).encode()))
    assert kount.translate(item).reason is Reason.TEST


@tried_with("data", [None, [], {}, "{}", {"id": "N/A"}, [{"id": "al_1"}], '{"id": "al_1"}'], ids=str)
@tried_with("event", ["alerts.created", "alerts.updated", "alerts.transaction.linked"])
def test_the_id_of_an_attempt_is_no_case_number(event: str, data: Any) -> None:
    body = {"id": "att-1", "event_id": "ev-1", "type": event, "livemode": True, "data": data}
    chargeflow = PROVIDERS["chargeflow"]
    (item,) = chargeflow.read(Webhook("chargeflow", "/", json.dumps(body).encode()))
    with pytest.raises(Untranslatable) as caught:
        chargeflow.translate(item)
    assert list(caught.value.fields) == ["data.id"]


# --- event types ----------------------------------------------------------------------------------


def with_event_type(case: Case, word: str) -> Webhook:
    """The fixture's request with another type of event."""
    provider = case.provider
    path = next(
        one for one in str(provider.event_type).split("|") if one.startswith(HEADER) or _has(case, one)
    )
    if path.startswith(HEADER):
        return case.webhook(None, **{path.removeprefix(HEADER).lower(): word})
    inside = [f"{provider.items}.{n}.{path}" for n in range(len(case.items()))] if provider.items else []
    tree = case.tree
    for one in (*inside, path):
        tree = put(tree, one, word)
    return case.webhook(case.encode(tree))


def _has(case: Case, path: str) -> bool:
    return any(trees.pick(item.tree, path) is not None for item in case.items())


def read_with(case: Case, word: str) -> list[Reading]:
    """What the items of a fixture say with another event type; test traffic is left out."""
    provider = case.provider
    items = provider.read(with_event_type(case, word))
    expected = case.expected("reading")
    return [provider.translate(item) for item in items if expected[item.index]["reason"] != "test"]


@each_case
def test_an_event_type_about_the_same_that_nobody_listed_waits_for_a_person(case: Case) -> None:
    for pattern in case.provider.about:
        word = pattern.replace("*", "zz.Unheard_of")
        if word in case.provider.events or fnmatchcase(word, "request_for_information*"):
            continue
        items = case.provider.read(with_event_type(case, word))
        for item in items:
            if case.expected("reading")[item.index]["reason"] == "test":
                assert case.provider.translate(item).reason is Reason.TEST
                continue
            with pytest.raises(UnknownEvent, match=re.escape(word)):
                case.provider.translate(item)


def unrelated(provider: Provider) -> list[str]:
    """Event types that are about something else, by the provider's rule."""
    beside = [] if provider.about == (ANY,) else ["zz.unheard_of"]
    return [*(pattern.replace("*", "zz") for pattern in provider.unrelated), *beside]


@each_row({str(case): (case,) for case in CASES if unrelated(case.provider)})
def test_an_event_type_about_something_else_is_ignored_by_a_rule_and_not_by_a_list(case: Case) -> None:
    provider = case.provider
    for word in unrelated(provider):
        for item in provider.read(with_event_type(case, word)):
            if case.expected("reading")[item.index]["reason"] == "test":
                continue
            reading = provider.translate(item)
            assert (reading.effect, reading.reason) == (Effect.IGNORE, Reason.IGNORE)
            assert not provider.is_listed(item)


INQUIRIES = (
    "order_inquiry",
    "ORDER_INSIGHT.new",
    "order_validation.zz",
    "Request_For_Information",
    "zz.Inquiry.zz",
)
"""Words for an issuer's question, whoever uses them."""


@each_case
def test_an_issuers_question_is_no_dispute_whoever_relays_it(case: Case) -> None:
    for word in INQUIRIES:
        for reading in read_with(case, word):
            assert (reading.effect, reading.reason) == (Effect.INFORM, Reason.INFORM), word


@each_row({str(case): (case,) for case in CASES if case.provider.subtype})
def test_an_issuers_question_that_is_a_kind_of_case_is_no_dispute_either(case: Case) -> None:
    provider = case.provider
    for item in case.items():
        meaning = provider.events.get((item.event_type or "").lower())
        if (
            meaning is None
            or meaning.effect is Effect.IGNORE
            or provider.translate(item).reason is Reason.TEST
        ):
            continue
        for word in ("INQUIRY", "inquiry_received", "Order_Insight"):
            assert provider.translate(dataclasses.replace(item, subtype=word)).effect is Effect.INFORM


@each_case
def test_events_that_are_listed_are_told_from_those_that_are_ignored_by_the_rule(case: Case) -> None:
    provider = case.provider
    for item in case.items():
        listed = (item.event_type or "").lower() in provider.events
        assert provider.is_listed(item) == listed
        assert listed or provider.about != (ANY,) or provider.unrelated


def _header_free(provider: Provider) -> list[str]:
    return [one for one in str(provider.event_type).split("|") if not one.startswith(HEADER)]


NAMING = {name: one for name, one in PROVIDERS.items() if _header_free(one) and "" not in one.events}
"""Providers whose bodies have to say what they are about."""


@pytest.mark.parametrize("provider", NAMING.values(), ids=NAMING)
def test_a_body_without_its_event_type_names_where_that_stands(provider: Provider) -> None:
    paths = _header_free(provider)
    body = b"zz=1" if provider.formats[0] == "form" else b'{"zz": 1}'
    (item,) = provider.read(Webhook(provider.name, "/", body))

    errors = refusal(provider, item)

    assert any(set(paths) & set(name.split("|")) for name in errors)


# --- policies, test traffic, answers, deadlines ---------------------------------------------------


@each_row({str(case): (case, case.provider.test) for case in CASES if case.provider.test})
def test_test_traffic_never_becomes_a_dispute(case: Case, mark: tuple[str, str]) -> None:
    path, value = mark
    for marker in (value, value.upper(), *({"true": [True], "false": [False]}.get(value, []))):
        for item in case.items():
            marked = dataclasses.replace(item, tree=item.tree | {path: marker})
            reading = case.provider.translate(marked)
            assert (reading.effect, reading.reason) == (Effect.IGNORE, Reason.TEST)


def informing() -> dict[str, tuple[Case, Item]]:
    """The items that name a case and only inform."""
    items = [(case, item) for case in (*CASES, *CONFIGURED) for item in case.items()]
    read = [(case, item, case.provider.translate(item)) for case, item in items]
    return {
        f"{case}#{item.index}": (case, item)
        for case, item, reading in read
        if reading.effect is Effect.INFORM and reading.alert
    }


@each_row(informing())
def test_what_only_informs_opens_nothing_until_a_policy_says_so(case: Case, item: Item) -> None:
    words = (item.subtype, item.event_type)
    word = next((one for one in words if one and one.lower() in case.provider.inform), str(item.event_type))
    opening = dataclasses.replace(case.provider, policy={word.lower(): Effect.OPEN})
    assert opening.translate(item).effect in (Effect.OPEN, Effect.RESOLVE)
    silent = dataclasses.replace(case.provider, policy={word.lower(): Effect.IGNORE})
    assert silent.translate(item).reason is Reason.IGNORE


ONLY_INFORMS = {
    "midigator/prevention_new prevention_type": ("tc40", "TC40"),
    "midigator/prevention_match prevention_type": ("tc40",),
    "chargeblast/alert_created subprovider": ("TC40", "TC15", "SAFE", "tc40"),
    "chargeblast/alert_refunded_before_it_was_created subprovider": ("TC40", "TC15", "SAFE"),
    "kount/dispute eventType": ("DISPUTE_NOTICE", "FRAUD_NOTICE"),
    "verifi/dispute_as_nested_json eventType": ("DISPUTE_NOTICE", "FRAUD_NOTICE"),
    "payshield/dispute alert_type": ("DISPUTE_NOTICE", "FRAUD_NOTICE"),
    "chargeflow/alerts_created data.type": ("tc40", "fraud_warning", "TC40"),
    "chargeflow/flat_ethoca type": ("tc40", "fraud_warning"),
    "justt/alert_received data.alertType": ("tc40", "safe"),
    "justt/chargeback_created data.lifecycleStage": ("alert", "claim", "inquiry"),
    "adyen/chargeback_accepted NotificationRequestItem.eventCode": (
        "NOTIFICATION_OF_FRAUD",
        "REQUEST_FOR_INFORMATION",
        "INFORMATION_SUPPLIED",
    ),
    "solidgate/v2_received_and_pending data.prevention_alert.alert_type": (
        "INQUIRY",
        "PREVENTED",
        "prevented",
    ),
    "midigator/chargeback_new event_type": ("chargeback.responded", "chargeback.error"),
    "checkout/dispute_received type": ("dispute_evidence_submitted",),
    "stripe/dispute_created type": ("radar.early_fraud_warning.created",),
}
"""Reports by which nobody asks for a refund: where a word stands, and the words."""


@tried_with(("where", "word"), [(where, word) for where, words in ONLY_INFORMS.items() for word in words])
def test_a_report_is_kept_and_shown_and_opens_nothing(where: str, word: str) -> None:
    name, path = where.split()
    case = case_of(name)
    tree = put(case.tree, path, word)
    tree = put(tree, f"{case.provider.items}.0.{path}", word) if case.provider.items else tree

    (item,) = case.provider.read(case.webhook(case.encode(tree)))
    reading = case.provider.translate(item)

    assert (reading.effect, reading.reason) == (Effect.INFORM, Reason.INFORM)
    assert reading.alert is not None


ANSWERS = {
    "ethoca/issuer_alert": '{"ethoca_id": "QWJ7TRK20MZLX4P8VN3HS9DYC", "status": "received"}',
    "ethoca/confirmedfraud_in_camel_case": '{"status": "success"}',
    "payshield/dispute": "",
    "payshield/statusupdate_in_work": "",
    "adyen/chargebacks_as_a_batch": "[accepted]",
    "adyen/test_traffic": "[accepted]",
}
"""The answers that a provider's protocol wants; whoever is not here is content with the bridge's own."""


@each_case
def test_a_webhook_is_answered_as_its_provider_wants_it(case: Case) -> None:
    own = case.provider.acknowledgement(case.items()[0])
    named = {str(one).partition("/")[0] for one in ANSWERS}

    if str(case) in ANSWERS:
        assert own is not None
        assert own[1] == ANSWERS[str(case)]
        assert own[0].status == 200
    elif case.provider.name not in named:
        assert own is None


DEADLINES = {
    "ethoca": {"": 24},
    "verifi": {"": 72},
    "midigator": {"ethoca": 24, "verifi": 72, "": 72},
    "kount": {"ethoca_fraud": 24, "ethoca_dispute": 24, "dispute": 72, "rdr": 72},
    "chargeblast": {"ethoca": 24, "": 24},
    "trusto": {"": 24},
    "payshield": {"": 72},
    "chargebackstop": {"": 24},
    "solidgate": {"": 24, "card_gate.chargeback.received": 72},
    "stripe": {"": 72},
    "adyen": {"": 72},
    "justt": {"": 24, "chargeback.created": 72, "chargeback.status.updated": 72},
    "chargeflow": {"": 24, "ethoca": 24, "rdr": 72, "cdrn": 72},
    "checkout": {"": 72},
    "nmi": {"": 72},
}
"""Hours from receipt, by provider and kind of case."""


@tried_with(
    ("name", "kind", "hours"),
    [(name, kind, hours) for name, kinds in DEADLINES.items() for kind, hours in kinds.items()],
)
def test_a_deadline_runs_from_receipt_by_provider_and_kind(name: str, kind: str, hours: int) -> None:
    provider = PROVIDERS[name]
    by_subtype = Item(0, {}, "e", "zz", kind.upper() or None)
    by_type = Item(0, {}, "e", kind.upper() or None)

    assert provider.deadline_of(by_subtype) == provider.deadline_of(by_type) == timedelta(hours=hours)


# --- samples --------------------------------------------------------------------------------------


@each_provider
def test_a_sample_is_accepted_and_means_its_event(provider: Provider) -> None:
    events = samples.events(provider)
    assert events
    try_each(means_its_event, {event: (provider, event) for event in events})


def means_its_event(provider: Provider, event: str) -> None:
    """Check that the sample of an event is accepted, and read as that event."""
    chance, secret = Random(7), secret_of(provider)  # noqa: S311  made-up values
    sale = samples.make_sale(chance, NOW)
    made = samples.sign(provider, samples.make(provider, event, sale, chance, NOW), secret, NOW)
    headers = {name.lower(): value for name, value in made.headers.items()}
    webhook = Webhook(provider.name, f"/webhooks/{provider.name}", made.body, headers)

    provider.proof.verify(webhook, [secret], NOW)
    (item,) = provider.read(dataclasses.replace(webhook, body=cut_body(made.body, provider)))
    reading = provider.translate(item)

    assert (item.event_type or "").lower() == event
    assert item.event_id
    assert reading.effect is provider.events[event].effect
    if reading.alert and reading.alert.carries_facts:
        assert reading.alert.amount == Decimal(sale.amount)
        assert reading.alert.currency == "USD"
    check(reading)


@pytest.mark.parametrize(
    ("name", "event"), [("kount", "rdr"), ("payshield", "dispute_rdr"), ("chargeflow", "rdr")]
)
def test_a_sample_of_a_rapid_resolution_says_that_the_gateway_refunded(name: str, event: str) -> None:
    chance, provider = Random(7), PROVIDERS[name]  # noqa: S311  made-up values
    made = samples.make(provider, event, samples.make_sale(chance, NOW), chance, NOW)
    (item,) = provider.read(Webhook(name, f"/webhooks/{name}", made.body))

    alert = provider.translate(item).alert

    assert alert
    assert alert.resolution == "issued_full_refund"
    assert alert.refunded_by_gateway


ODDLY = """
[providers.oddly]
proof = { kind = "hmac", signed = "{url}{body}" }
items = "."
event_id = "query:id"
decimal_comma = true
[providers.oddly.fields]
case_number = "case"
amount = "sum"
currency = { value = "EUR" }
happened_at = { path = "day", format = "%d.%m.%Y" }
"""


def test_a_sample_has_the_forms_that_its_provider_was_given() -> None:
    oddly, chance, secret = load(ODDLY).providers["oddly"], Random(7), "a-secret"  # noqa: S311
    sale = samples.make_sale(chance, NOW)
    made = samples.make(oddly, samples.events(oddly)[0], sale, chance, NOW)
    url = f"https://alerts.example.com/webhooks/oddly?id={made.query['id']}"
    made = samples.sign(oddly, made, secret, NOW, url)
    headers = {name.lower(): value for name, value in made.headers.items()}
    webhook = Webhook("oddly", "/webhooks/oddly", made.body, headers, made.query, url=url)

    oddly.proof.verify(webhook, [secret], NOW)
    (item,) = oddly.read(webhook)
    alert, errors = oddly.translate(item).alert, oddly.translate(item).errors

    assert alert
    assert (errors, item.event_id) == ({}, made.query["id"])
    assert (alert.amount, alert.currency) == (Decimal(sale.amount), "EUR")
    assert alert.happened_at == NOW.replace(hour=0)


def test_a_sample_of_a_batch_in_xml_has_the_attributes_of_its_items() -> None:
    guide = (ROOT / "docs/configuration.md").read_text("utf-8")
    (toml,) = re.findall(r"```toml\n(\[providers\.northbank\].*?)```", guide, re.DOTALL)
    northbank, chance = load(toml).providers["northbank"], Random(7)  # noqa: S311  made-up values
    event = samples.events(northbank)[0]
    made = samples.make(northbank, event, samples.make_sale(chance, NOW), chance, NOW)
    (item,) = northbank.read(Webhook("northbank", "/webhooks/northbank", made.body))
    alert = northbank.translate(item).alert
    assert alert
    assert alert.case_number


def test_two_samples_are_two_cases() -> None:
    chance = Random(7)  # noqa: S311  made-up values
    provider = PROVIDERS["ethoca"]
    bodies = {
        samples.make(provider, "issuer_alert", samples.make_sale(chance, NOW), chance, NOW).body
        for _ in range(5)
    }

    assert len(bodies) == 5


# --- the documentation ----------------------------------------------------------------------------


def test_the_provider_of_the_contributors_guide_works() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    code, body = (re.findall(rf"```{kind}\n(.*?)```", guide, re.DOTALL)[0] for kind in ("python", "json"))
    module: dict[str, Any] = {}
    exec(code, module)  # noqa: S102  the guide is the project's own
    acme = dataclasses.replace(module["PROVIDER"], name="acme")

    (item,) = acme.read(Webhook("acme", "/webhooks/acme", body.encode()))
    reading = acme.translate(item)

    assert reading.effect is Effect.OPEN
    assert reading.alert == Alert(
        case_number="AC-1",
        amount=Decimal("12.50"),
        currency="USD",
        transaction_currency="USD",
        happened_at=datetime(2026, 5, 4, 9, 30, tzinfo=UTC),
        card_first_six="411111",
        card_last_four="1111",
    )


def test_no_provider_decides_anything_by_itself() -> None:
    for name in PROVIDERS:
        tree = ast.parse((ROOT / "bridge" / "providers" / f"{name}.py").read_text("utf-8"))
        branches = (ast.If, ast.IfExp, ast.Match, ast.For, ast.While, ast.FunctionDef, ast.Lambda, ast.BoolOp)

        assert not [node for node in ast.walk(tree) if isinstance(node, branches)], name
        assert re.search(r"doc\)|third party|inferred", ast.get_docstring(tree) or ""), name
