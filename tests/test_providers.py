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
from random import Random
from typing import Any

import pytest

from bridge import dispute, fields, sample
from bridge import tree as trees
from bridge.alert import ALERT_RESOLUTIONS, RESOLUTIONS, Alert, DisputeType, Effect, Reason, Webhook
from bridge.errors import UnknownEvent
from bridge.fields import AlertSchema
from bridge.provider import ANY, HEADER, Item, Provider, Reading
from bridge.redact import cut_body
from tests.configuring import load
from tests.fake_next import ROOT, validate_request
from tests.fixtures import (
    CASES,
    NOW,
    PROVIDERS,
    VERSIONS,
    Case,
    case_of,
    changed,
    check,
    each_case,
    each_provider,
    each_translated,
    put,
    refusal,
    required,
    secret_of,
    told,
)


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
                asked = dispute.resolving(reading.alert.resolution, reading.alert.message)
                validate_request("POST", "/disputes/7/resolve/", asked, version)


@each_case
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


@each_translated
def test_unknown_fields_are_ignored(case: Case, item: Item, table: AlertSchema) -> None:
    assert table.translate(item.tree)
    fuller = dataclasses.replace(item, tree=item.tree | {"zz_new": {"deep": [1, None]}, "zz": "x" * 999})

    assert case.provider.translate(fuller) == case.provider.translate(item)


@each_translated
@pytest.mark.parametrize("missing", [None, ""], ids=["null", "empty"])
def test_each_required_field_that_is_missing_is_named_as_the_provider_names_it(
    case: Case, item: Item, table: AlertSchema, missing: str | None
) -> None:
    for path in required(table, item):
        errors = refusal(case.provider, changed(item, path, missing))

        assert set(errors) & set(path.split("|")), (path, errors)


@each_translated
def test_all_that_is_missing_is_named_at_once(case: Case, item: Item, table: AlertSchema) -> None:
    paths = required(table, item)
    emptied = item
    for path in paths:
        emptied = changed(emptied, path, None)

    errors = refusal(case.provider, emptied)

    assert all(set(errors) & set(path.split("|")) for path in paths)
    assert all(messages for messages in errors.values())


@each_translated
@pytest.mark.parametrize("wrong", [{"a": "1"}, ["1"], True], ids=["object", "list", "truth"])
def test_each_field_of_another_type_is_named_as_the_provider_names_it(
    case: Case, item: Item, table: AlertSchema, wrong: Any
) -> None:
    # a word that the table does not know is no error where words may be unknown
    tested = (fields.Money, fields.Currency, fields.Moment, fields.Identifier, fields.Card, fields.FirstSix)
    for name, one in table.load_fields.items():
        used, value = trees.locate(item.tree, table.path(name))
        if value is None or not isinstance(one, tested):
            continue
        bare = dataclasses.replace(item, tree=put(item.tree, used, wrong))

        errors = refusal(case.provider, bare)

        assert any(path == used or path.startswith(f"{used}.") for path in errors), (used, errors)


@each_case
def test_an_event_type_that_nobody_listed_waits_for_a_person(case: Case) -> None:
    provider = case.provider
    path = next(
        one for one in str(provider.event_type).split("|") if one.startswith(HEADER) or _has(case, one)
    )
    if path.startswith(HEADER):
        webhook = case.webhook(None, **{path.removeprefix(HEADER).lower(): "zz.unheard_of"})
    else:
        inside = [f"{provider.items}.{n}.{path}" for n in range(len(case.items()))] if provider.items else []
        tree = case.tree
        for one in (*inside, path):
            tree = put(tree, one, "zz.unheard_of")
        webhook = case.webhook(case.encode(tree))

    for item in provider.read(webhook):
        if provider.test and case.expected("reading")[item.index]["reason"] == "test":
            assert provider.translate(item).reason is Reason.TEST
            continue
        with pytest.raises(UnknownEvent, match=r"zz\.unheard_of"):
            provider.translate(item)


def _has(case: Case, path: str) -> bool:
    return any(trees.pick(item.tree, path) is not None for item in case.items())


def _header_free(provider: Provider) -> list[str]:
    return [one for one in str(provider.event_type).split("|") if not one.startswith(HEADER)]


@each_provider
def test_a_body_without_its_event_type_names_where_that_stands(provider: Provider) -> None:
    if not (paths := _header_free(provider)) or "" in provider.events:
        pytest.skip("the type stands in a header, or may be missing")
    body = b"zz=1" if provider.formats[0] == "form" else b'{"zz": 1}'
    (item,) = provider.read(Webhook(provider.name, "/", body))

    errors = refusal(provider, item)

    assert any(set(paths) & set(name.split("|")) for name in errors)


# --- policies, test traffic, answers, deadlines ---------------------------------------------------


@each_provider
def test_test_traffic_never_becomes_a_dispute(provider: Provider) -> None:
    if provider.test is None:
        pytest.skip("this provider does not mark test traffic")
    path, value = provider.test
    for case in CASES:
        if case.provider.name == provider.name:
            for marker in (value, value.upper(), json.loads(value)):
                for item in case.items():
                    reading = provider.translate(dataclasses.replace(item, tree=item.tree | {path: marker}))
                    assert (reading.effect, reading.reason) == (Effect.IGNORE, Reason.TEST)


@each_provider
def test_what_only_informs_opens_nothing_until_a_policy_says_so(provider: Provider) -> None:
    for case in (one for one in CASES if one.provider.name == provider.name):
        for item in case.items():
            reading = provider.translate(item)
            if reading.effect is not Effect.INFORM or reading.alert is None:
                continue
            word = str(item.subtype if item.subtype in provider.inform else item.event_type).lower()
            word = next(
                (w for w in (item.subtype, item.event_type) if w and w.lower() in provider.inform), word
            )
            opening = dataclasses.replace(provider, policy={word.lower(): Effect.OPEN})
            assert opening.translate(item).effect in (Effect.OPEN, Effect.RESOLVE)
            silent = dataclasses.replace(provider, policy={word.lower(): Effect.IGNORE})
            assert silent.translate(item).reason is Reason.IGNORE


ONLY_INFORMS = {
    "midigator/prevention_new prevention_type": ("tc40", "TC40"),
    "midigator/prevention_match prevention_type": ("tc40",),
    "chargeblast/alert_created subprovider": ("TC40", "TC15", "SAFE", "tc40"),
    "chargeblast/alert_refunded_before_it_was_created subprovider": ("TC40", "TC15", "SAFE"),
    "kount/dispute eventType": ("DISPUTE_NOTICE", "FRAUD_NOTICE"),
    "verifi/dispute_as_nested_json eventType": ("DISPUTE_NOTICE", "FRAUD_NOTICE"),
    "payshield/dispute alert_type": ("DISPUTE_NOTICE", "FRAUD_NOTICE"),
}
"""Reports by which nobody asks for a refund: where a word stands, and the words."""


@pytest.mark.parametrize(
    ("where", "word"), [(where, word) for where, words in ONLY_INFORMS.items() for word in words]
)
def test_a_report_is_kept_and_shown_and_opens_nothing(where: str, word: str) -> None:
    name, path = where.split()
    case = case_of(name)
    tree = put(case.tree, path, word)
    tree = put(tree, f"events.0.{path}", word) if case.provider.items else tree

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
    "chargeblast": {"ethoca": 48, "": 48},
    "trusto": {"": 24},
    "payshield": {"": 72},
    "chargebackstop": {"": 24},
    "solidgate": {"": 24},
    "stripe": {"": 72},
    "adyen": {"": 72},
}
"""Hours from receipt, by provider and kind of case."""


@pytest.mark.parametrize(
    ("name", "kind", "hours"),
    [(name, kind, hours) for name, kinds in DEADLINES.items() for kind, hours in kinds.items()],
)
def test_a_deadline_runs_from_receipt_by_provider_and_kind(name: str, kind: str, hours: int) -> None:
    provider = PROVIDERS[name]
    by_subtype = Item(0, {}, "e", "zz", kind.upper() or None)
    by_type = Item(0, {}, "e", kind.upper() or None)

    assert provider.deadline_of(by_subtype) == provider.deadline_of(by_type) == timedelta(hours=hours)


# --- resolutions ----------------------------------------------------------------------------------


@each_provider
def test_no_table_tells_a_resolution_that_29next_refuses(provider: Provider) -> None:
    for case in (one for one in CASES if one.provider.name == provider.name):
        for item in case.items():
            meaning = provider.events[(item.event_type or "").lower()]
            one = meaning.table.load_fields.get("resolution") if meaning.table else None
            if meaning.table is None or not isinstance(one, fields.Word):
                continue
            for word in one.values or {}:
                path = meaning.table.path("resolution").partition("|")[0]
                said = dataclasses.replace(item, tree=_said(item.tree, path, word))
                alert = meaning.table.translate(said.tree)
                assert alert.resolution is None or alert.resolution in RESOLUTIONS[alert.type], word
                assert alert.resolution != "other" or alert.message


def _said(tree: Any, path: str, word: str) -> Any:
    if trees.pick(tree, path) is not None:
        return put(tree, path, word)
    node = tree = put(tree, "", None)
    *parents, last = path.split(".")
    for step in parents:
        node = node.setdefault(step, {})
    node[last] = word
    return tree


ACROSS = {
    "chargeblast/alert_updated_final reasonCode": {
        "Resolved": "issued_full_refund",
        "ResolvedPartial": "issued_refund_for_remaining_amount",
        "AlreadyRefunded": "previously_refunded_nothing_to_do",
        "ResolvedCancelled": "declined_or_canceled_nothing_to_do",
        "AccountCancelled": "declined_or_canceled_nothing_to_do",
        "UnmatchedCannotFindTransaction": "could_not_find_order",
        "UnmatchedGeneral": "could_not_find_order",
        "TDS": "3ds_authorized_successfully",
        "MIDLost": "unable_to_refund_merchant_account_closed",
        "Ineligible": "other",
        "Duplicate": "other",
        "AlreadyChargeback": "other",
        "EscalateChargeback": "other",
        "NotMyDescriptor": "other",
        "WIP": None,
        "Unactioned": None,
        "None": None,
        "SomethingNew": None,
    },
    "payshield/statusupdate_declined reason_code": {
        "100.001": "issued_full_refund",
        "100": "issued_full_refund",
        "101.001": "issued_refund_for_remaining_amount",
        "951.001": "previously_refunded_nothing_to_do",
        "102.003": "declined_or_canceled_nothing_to_do",
        "951.003": "declined_or_canceled_nothing_to_do",
        "902.002": "could_not_find_order",
        "954.002": "3ds_authorized_successfully",
        "950.002": "unable_to_refund_merchant_account_closed",
        "900.002": "other",
        "940.001": "other",
        "910": "other",
        "999": None,
        "999.002": None,
        "777": None,
    },
    "solidgate/v2_received_and_reversed data.prevention_alert.outcome": {
        "REVERSED": "issued_full_refund",
        "PREVIOUSLY_REVERSED": "previously_refunded_nothing_to_do",
        "DECLINE": "declined_or_canceled_nothing_to_do",
        "NOT_FOUND": "could_not_find_order",
        "REVERSE_ERROR": "unable_to_refund_merchant_account_closed",
        "DUPLICATE": "other",
        "ERROR": "other",
        "PENDING": None,
        "ACKNOWLEDGED": None,
        "SOMETHING_NEW": None,
    },
    "trusto/alert_resolved_refunded payload.status": {
        "REFUNDED": "issued_full_refund",
        "NOT_FOUND": "could_not_find_order",
        "OTHER": "other",
        "EXPIRED": "other",
        "PROCESSING": None,
        "SOMETHING_NEW": None,
    },
    "stripe/dispute_closed_won data.object.status": {"won": "won", "lost": "lost", "charge_refunded": None},
    "midigator/chargeback_result_won result": {"won": "won", "lost": "lost", "pre_arbitration": None},
}
"""What providers' words for an outcome are at 29next."""


@pytest.mark.parametrize(
    ("where", "word", "ours"),
    [(where, word, ours) for where, words in ACROSS.items() for word, ours in words.items()],
)
def test_a_providers_outcome_is_the_resolution_that_it_means(where: str, word: str, ours: str | None) -> None:
    name, path = where.split()
    case = case_of(name)
    (item,) = case.items()

    reading = case.provider.translate(changed(item, path, word))

    assert reading.alert is not None
    assert reading.alert.resolution == ours
    assert (reading.effect is Effect.RESOLVE) == (ours is not None) or reading.effect is Effect.OPEN


def test_every_alert_resolution_of_29next_can_be_told_by_some_provider() -> None:
    assert {ours for words in ACROSS.values() for ours in words.values() if ours} >= set(ALERT_RESOLUTIONS)


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed"])
def test_an_inquiry_of_stripe_is_an_alert_and_anything_else_a_chargeback(status: str) -> None:
    case = case_of("stripe/dispute_created")
    (item,) = case.items()

    def kind(word: str | None) -> DisputeType:
        return case.provider.translate(changed(item, "data.object.status", word)).alert.type  # type: ignore[union-attr]

    assert kind(status) is DisputeType.ALERT
    assert kind("under_review") is DisputeType.CHARGEBACK
    assert kind("something_new") is DisputeType.CHARGEBACK
    assert kind(None) is DisputeType.CHARGEBACK


# --- samples --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "event"),
    [(provider, event) for provider in PROVIDERS.values() for event in sample.events(provider)],
    ids=[f"{provider.name}-{event}" for provider in PROVIDERS.values() for event in sample.events(provider)],
)
def test_a_sample_is_accepted_and_means_its_event(provider: Provider, event: str) -> None:
    chance, secret = Random(7), secret_of(provider)  # noqa: S311  made-up values
    sale = sample.make_sale(chance, NOW)
    made = sample.sign(provider, sample.make(provider, event, sale, chance, NOW), secret, NOW)
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


def test_a_sample_of_a_rapid_resolution_says_that_the_gateway_refunded() -> None:
    chance, provider = Random(7), PROVIDERS["verifi"]  # noqa: S311  made-up values
    made = sample.make(provider, "rdr", sample.make_sale(chance, NOW), chance, NOW)
    (item,) = provider.read(Webhook("verifi", "/webhooks/verifi", made.body))

    alert = provider.translate(item).alert

    assert alert
    assert alert.resolution == "issued_full_refund"
    assert alert.refunded_by_gateway


def test_a_sample_of_a_batch_in_xml_has_the_attributes_of_its_items() -> None:
    guide = (ROOT / "docs/configuration.md").read_text("utf-8")
    (toml,) = re.findall(r"```toml\n(\[providers\.northbank\].*?)```", guide, re.DOTALL)
    northbank, chance = load(toml).providers["northbank"], Random(7)  # noqa: S311  made-up values
    event = sample.events(northbank)[0]
    made = sample.make(northbank, event, sample.make_sale(chance, NOW), chance, NOW)
    (item,) = northbank.read(Webhook("northbank", "/webhooks/northbank", made.body))
    alert = northbank.translate(item).alert
    assert alert
    assert alert.case_number


@pytest.mark.parametrize(
    ("code", "resolution"),
    [("102.001", "other"), ("951.002", "other"), ("100.003", "declined_or_canceled_nothing_to_do")],
)
def test_a_final_code_of_payshield_whose_suffix_is_unknown_still_ends_the_alert(
    code: str, resolution: str
) -> None:
    payshield = PROVIDERS["payshield"]
    body = f"action=statusupdate&alert_id=P-1&status=RESOLVED&reason_code={code}".encode()
    (item,) = payshield.read(Webhook("payshield", "/webhooks/payshield", body))
    alert = payshield.translate(item).alert
    assert alert
    assert alert.resolution == resolution


def test_two_samples_are_two_cases() -> None:
    chance = Random(7)  # noqa: S311  made-up values
    provider = PROVIDERS["ethoca"]
    bodies = {
        sample.make(provider, "issuer_alert", sample.make_sale(chance, NOW), chance, NOW).body
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
