"""Providers without code, and built-in ones with changes: what the file says is what they do."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from bridge import providers, redact
from bridge.alert import Alert, DisputeType, Effect, Reason, Webhook
from bridge.errors import Rejected, UnknownEvent, Untranslatable
from bridge.providers.base import HEADER, Provider, Reading
from bridge.providers.custom_fields import FIELDS
from bridge.providers.fields import AlertSchema, Resolution
from bridge.storage.database import Database
from bridge.storage.schema import webhooks
from bridge.storage.search import Search
from bridge.web.app import create_app
from tests.conftest import MakeDatabase
from tests.support.clock import eventually
from tests.support.configured import ACME, ALL, FORM, NORTHBANK, PAPERLESS, Example
from tests.support.configuring import blocks, load, problems
from tests.support.documents import ROOT
from tests.support.fixtures import NOW, put
from tests.support.inside import Inside
from tests.support.next29 import StandIn
from tests.support.trying import tried_with

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text("utf-8")

DESIGNED = """
[providers.acme]
format = "json"
type = "alert"
items = "data.cases"
proof = { kind = "hmac", header = "X-Acme-Signature", algorithm = "sha256", encoding = "hex" }
event_id = "id"
event_type = "kind"
deadline = "24h"
[providers.acme.effects]
"alert.created" = "open"
"alert.closed" = "resolve"
[providers.acme.fields]
case_number = "data.case"
amount = { path = "data.cents", unit = "minor" }
currency = "data.currency"
happened_at = { path = "data.at", zone = "US/Eastern" }
card = "data.card"
resolution = { path = "data.outcome", values = { refunded = "issued_full_refund" } }
[providers.acme.acknowledgement]
body = '{"ok": true}'
"""

EXAMPLES = pytest.mark.parametrize("example", ALL, ids=lambda one: one.name)


# --- the whole way ------------------------------------------------------------------------------


class Bridge:
    """The web application and the forwarder over one database, before a pretend 29next."""

    def __init__(self, toml: str, environ: Mapping[str, str], url: str, next29: StandIn) -> None:
        here = {
            "NEXT_STORE": "sandbox",
            "NEXT_ACCESS_TOKEN": "sandbox-token",
            "NEXT_BASE_URL": next29.base_url,
            "NEXT_RATE": "0",
            "DATABASE_URL": url,
        }
        self.settings = load(toml, **here, **environ)
        self.database = Database(url)
        app = create_app(self.settings, self.database)
        self.client = app.test_client()
        self.inside = Inside(app, self.database, self.settings)

    def post(self, example: Example, body: bytes, headers: Mapping[str, str]) -> TestResponse:
        return self.client.post(f"/webhooks/{example.name}", data=body, headers=dict(headers))

    def work(self, *statuses: str) -> list[dict[str, Any]]:
        """Translate and forward until the deliveries have come so far; returns them, the oldest first."""

        def there() -> bool:
            self.inside.translate()
            self.inside.step()
            return [one["status"] for one in self.deliveries()] == list(statuses)

        eventually(there)
        return self.deliveries()

    def deliveries(self) -> list[dict[str, Any]]:
        """Everything that was stored, the oldest first."""
        found: list[dict[str, Any]] = Search(self.database).deliveries({}).to_json()["results"]
        return found[::-1]

    def close(self) -> None:
        self.inside.close()
        self.database.close()


OpenBridge = Callable[[Example], Any]


@pytest.fixture
def next29() -> Iterator[StandIn]:
    with StandIn(tokens={"sandbox-token": "sandbox"}, rate=0) as running:
        yield running


@pytest.fixture
def open_bridge(make_database: MakeDatabase, next29: StandIn) -> OpenBridge:
    @contextmanager
    def opened(example: Example) -> Iterator[Bridge]:
        with (
            make_database("sqlite") as url,
            closing(Bridge(example.toml, example.environ, url, next29)) as bridge,
        ):
            yield bridge

    return opened


def created(next29: StandIn) -> list[dict[str, Any]]:
    """The bodies of the disputes that 29next was asked for."""
    calls = (call for call in next29.ledger.calls if call.method == "POST")
    bodies: list[Any] = [call.body for call in calls if call.path.endswith("/disputes/")]
    return bodies


@EXAMPLES
def test_a_webhook_of_a_provider_without_code_becomes_the_dispute_that_is_promised(
    example: Example, open_bridge: OpenBridge, next29: StandIn
) -> None:
    with open_bridge(example) as bridge:
        answer = bridge.post(example, example.body, example.headers)
        assert answer.status_code == 200
        assert answer.text == example.answer or (not example.answer and answer.json["status"] == "received")
        [delivery] = bridge.work("forwarded")
        assert delivery["effect"] == "open"
    [body] = created(next29)
    happened_at = body.pop("happened_at")
    promised = dict(example.dispute)
    if "happened_at" in promised:
        assert happened_at == promised.pop("happened_at")
    else:  # the time of receipt
        received = datetime.fromisoformat(delivery["received_at"])
        assert abs(datetime.fromisoformat(happened_at) - received) < timedelta(seconds=2)
    assert body == promised


def test_what_stands_in_the_query_is_kept_and_read(open_bridge: OpenBridge) -> None:
    by_query = START.replace('"id"', '"query:id"').replace('"kind"', '"query:kind"')
    toml = f'{by_query}subtype = "query:part"\ninform = {{ quiet = "inform" }}\n{MEANT}{FOUND}'
    example = replace(ALL[0], name="acme", toml=toml, environ={"ACME_SECRET": "acme:sandbox-only"})
    body = json.dumps({"case": "C-1", "amount": "5.00", "currency": "USD"})
    with open_bridge(example) as bridge:
        for number, part in ((1, "loud"), (2, "quiet")):
            query = {"id": f"e-{number}", "kind": "new", "part": part, "else": "x"}
            answer = bridge.client.post(
                "/webhooks/acme", data=body, query_string=query, auth=("acme", "sandbox-only")
            )
            assert answer.status_code == 200, answer.text
        found = bridge.work("forwarded", "ignored")
    assert [(one["event_id"], one["event_type"], one["effect"]) for one in found] == [
        ("e-1", "new", "open"),
        ("e-2", "new", "inform"),
    ]


@EXAMPLES
def test_a_repeat_is_answered_alike_and_adds_nothing(example: Example, open_bridge: OpenBridge) -> None:
    with open_bridge(example) as bridge:
        first, again = (bridge.post(example, example.body, example.headers) for _ in range(2))
        assert (first.status_code, first.data) == (again.status_code, again.data)
        assert len(bridge.deliveries()) == 1


@EXAMPLES
def test_whoever_does_not_prove_to_be_the_provider_is_refused(
    example: Example, open_bridge: OpenBridge
) -> None:
    name = next(name for name in example.signed() if name not in {"Content-Type", "X-Event", "X-Delivery"})
    right = example.signed()[name]
    wrong = {
        "missing": None,
        "empty": "",
        "foreign": example.signed(secret="northbank:someone-elses-secret")[name],
        "cut short": right[:-3],
        "doubled": f"{right}, {right}",
        "longer": right + "0",
        "in unicode": "\u00e9" + right,
        "of another scheme": f"Digest {right}",
    }
    with open_bridge(example) as bridge:
        for what, value in wrong.items():
            headers = {k: v for k, v in example.headers.items() if k != name}
            answer = bridge.post(example, example.body, headers | ({} if value is None else {name: value}))
            assert (what, answer.status_code, answer.json["error"]) == (what, 401, "bad_proof")
        assert bridge.deliveries() == []


def test_a_signature_is_over_the_body_as_it_came(open_bridge: OpenBridge) -> None:
    with open_bridge(ACME) as bridge:
        assert bridge.post(ACME, ACME.body + b" ", ACME.headers).status_code == 401
        assert bridge.post(ACME, ACME.body.replace(b"8950", b"8951"), ACME.headers).status_code == 401


@EXAMPLES
def test_the_previous_secret_is_accepted_and_without_a_secret_there_is_no_provider(
    example: Example, open_bridge: OpenBridge
) -> None:
    variable = example.provider.secret_variable
    rotated = {variable: "northbank:the-next-secret", f"{variable}_PREVIOUS": example.secret}
    with open_bridge(replace(example, environ=rotated)) as bridge:
        assert bridge.post(example, example.body, example.headers).status_code == 200
    with open_bridge(replace(example, environ={})) as bridge:
        assert bridge.post(example, example.body, example.headers).status_code == 404


JUNK = [
    b"null",
    b'"text"',
    b"{",
    b"[" * 20_000,
    b"\xff\xfe\x00",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
    b"a=1&a=2",
    b'{"id": {"$ne": 1}, "kind": ["alert.created"], "data": 7}',
    b'{"kind": "alert.created", "data": {"case": "\\ud800", "cents": 1e400, "currency": "\\u0000"}}',
    b"<notice><cases><case/></cases></notice>",
    b"details=%7B%7B&ref=%00",
]


@EXAMPLES
def test_a_body_that_is_junk_is_kept_and_fails_with_a_reason(
    example: Example, open_bridge: OpenBridge
) -> None:
    with open_bridge(example) as bridge:
        for body in JUNK:
            assert bridge.post(example, body, example.signed(body)).status_code == 200, body[:60]
        for delivery in bridge.work(*["failed"] * len(JUNK)):
            assert delivery["reason"] in {"untranslatable", "unknown_event"}


def test_a_body_of_nothing_with_the_right_proof_is_a_portals_test(open_bridge: OpenBridge) -> None:
    nothings = (b"", b" ", b"{}")
    for example in ALL:
        with open_bridge(example) as bridge:
            for body in nothings:
                assert bridge.post(example, body, example.signed(body)).status_code == 200, body
            for delivery in bridge.work(*["ignored"] * len(nothings)):
                assert delivery["reason"] == "test"


def test_an_outcome_before_its_opening_waits_and_then_resolves(
    open_bridge: OpenBridge, next29: StandIn
) -> None:
    told = json.loads(ACME.body)
    closed = {"id": "evt-8", "kind": "alert.closed", "data": {"case": "AC-2044", "outcome": "REFUNDED"}}
    with open_bridge(ACME) as bridge:
        first, second = json.dumps(closed).encode(), json.dumps(told | {"id": "evt-9"}).encode()
        bridge.post(ACME, first, ACME.signed(first))
        eventually(lambda: bridge.work("pending")[0]["reason"] == "waiting_for_opening")
        bridge.post(ACME, second, ACME.signed(second))
        bridge.work("forwarded", "forwarded")
    [dispute] = next29.stores["sandbox"].disputes.by_id.values()
    assert dispute["resolution"] == "issued_full_refund"


# --- what a body says ---------------------------------------------------------------------------


def said(example: Example, changes: Mapping[str, Any] | None = None, *, event: str | None = None) -> Reading:
    """What the example means, with other values at some paths, as another event."""
    item = example.item(**({"X-Event": event} if event else {}))
    tree = item.tree
    for path, value in (changes or {}).items():
        tree = put(tree, path, value)
    return example.provider.translate(replace(item, tree=tree))


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {"data.cents": "12.5", "data.currency": "DOLLARS", "data.at": "soon", "data.card": "!"}
    reading = said(ACME, wrong)
    assert set(reading.errors) == set(wrong)
    assert reading.effect is Effect.OPEN
    with pytest.raises(Untranslatable) as caught:
        said(ACME, {**wrong, "data.case": "N/A"})
    assert set(caught.value.fields) == {*wrong, "data.case"}


def test_an_event_type_that_nobody_listed_is_unknown_unless_the_rest_has_an_effect() -> None:
    with pytest.raises(UnknownEvent):
        said(PAPERLESS, event="unheard-of")
    rest = replace(PAPERLESS, toml=FORM.replace("[providers.paperless.fields]", '"*" = "ignore"\n\\g<0>'))
    rest = replace(rest, toml=rest.toml.replace("\\g<0>", "[providers.paperless.fields]"))
    assert said(rest, event="unheard-of").reason is Reason.IGNORE
    assert said(rest, event="NEW").effect is Effect.OPEN


def test_a_placeholder_is_an_event_type_where_it_is_listed() -> None:
    listed = load(DESIGNED.replace("[providers.acme.effects]", '[providers.acme.effects]\nnone = "ignore"'))
    [reading] = _readings(listed.providers["acme"], "None", {"case": "C"})
    assert reading.reason is Reason.IGNORE
    with pytest.raises(Untranslatable) as caught:
        _readings(load(DESIGNED).providers["acme"], "None", {"case": "C"})
    assert list(caught.value.fields) == ["kind"]


def test_a_missing_event_type_is_named_by_its_place() -> None:
    item = ACME.item()
    with pytest.raises(Untranslatable) as caught:
        ACME.provider.translate(replace(item, event_type=None))
    assert list(caught.value.fields) == ["kind"]


def test_test_traffic_is_told_by_its_mark() -> None:
    assert said(ACME, {"mode": "TEST"}).reason is Reason.TEST
    assert said(ACME, {"mode": "live"}).effect is Effect.OPEN
    item = PAPERLESS.item()
    for mark in (True, "true"):
        marked = replace(item, tree={**item.tree, "demo": mark})
        assert PAPERLESS.provider.translate(marked).reason is Reason.TEST


def test_a_subtype_that_only_informs_opens_nothing() -> None:
    item = ACME.item()
    assert said(ACME).effect is Effect.OPEN
    assert ACME.provider.translate(replace(item, subtype="SAFE")).reason is Reason.INFORM
    opened = replace(PAPERLESS, toml=f'{FORM}\n[providers.paperless.inform]\nInquiry_New = "open"')
    assert said(PAPERLESS, event="inquiry_new").reason is Reason.INFORM
    assert said(opened, event="inquiry_new").effect is Effect.OPEN


def test_each_kind_of_field_is_read_as_the_file_says() -> None:
    alert = said(PAPERLESS).alert
    assert alert is not None
    assert (alert.subtype, alert.network, alert.order) == ("fraud", "cdrn", "5511")
    assert (alert.amount, alert.currency) == (Decimal(1999), "JPY")
    assert (alert.withdrawn, alert.refunded_by_gateway, alert.happened_at) == (False, False, None)
    alert = said(NORTHBANK).alert
    assert alert is not None
    assert (alert.type, alert.amount, alert.transaction_amount) == (
        DisputeType.CHARGEBACK,
        Decimal("40.00"),
        Decimal("1240.00"),
    )
    assert alert.transaction_at is not None
    assert alert.transaction_at.astimezone(UTC) == datetime(2026, 2, 20, 0, 20, tzinfo=UTC)
    assert (alert.card_first_six, alert.card_last_four) == ("457173", "0009")
    assert (alert.mid, alert.reason_code) == ("880012", "10.4")


def test_a_flag_is_true_for_its_own_words_only() -> None:
    assert said(PAPERLESS, {"state": "revoked"}).effect is Effect.WITHDRAW
    assert said(PAPERLESS, {"state": "OPEN"}).effect is Effect.OPEN
    item = PAPERLESS.item()
    for word, flag in (("yes", True), ("1", True), (True, True), ("no", False), ("0", False)):
        paid = {**item.tree, "refunded": word, "result": "PAID"}
        refunded = replace(item, event_type="over", tree=paid)
        alert = PAPERLESS.provider.translate(refunded).alert
        assert alert is not None
        assert alert.refunded_by_gateway is flag


def test_one_provider_may_send_both_types_of_dispute() -> None:
    both = DESIGNED.replace(
        "[providers.acme.fields]",
        "[providers.acme.fields]\n"
        'type = { path = "data.sort", values = { CB = "chargeback", AL = "alert" } }',
    ).replace('refunded = "issued_full_refund"', 'refunded = "issued_full_refund", kept = "won"')
    provider = load(both).providers["acme"]
    case = {"case": "C", "cents": "5", "currency": "USD"}
    assert _alert(provider, data=case).type is DisputeType.ALERT
    chargeback = _alert(provider, data={**case, "sort": "cb", "outcome": "kept"})
    assert (chargeback.type, chargeback.resolution) == (DisputeType.CHARGEBACK, "won")
    [odd] = _readings(provider, "alert.created", {**case, "sort": "!"})
    assert odd.alert is not None
    assert set(odd.errors) == {"data.sort"}
    assert (odd.alert.type, odd.alert.unreadable) == (DisputeType.ALERT, ("type",))


def test_the_type_of_a_body_that_says_none_is_the_providers() -> None:
    toml = DESIGNED.replace('type = "alert"', 'type = "chargeback"').replace("issued_full_refund", "won")
    paths = '[providers.acme.fields]\ntype = { path = "data.sort", values = { AL = "alert" } }'
    provider = load(toml.replace("[providers.acme.fields]", paths)).providers["acme"]
    case = {"case": "C", "cents": "5", "currency": "USD"}
    assert _alert(provider, data=case).type is DisputeType.CHARGEBACK
    assert _alert(provider, data={**case, "sort": "AL"}).type is DisputeType.ALERT
    assert _alert(provider, data={**case, "sort": "!"}).type is DisputeType.CHARGEBACK


def test_what_a_field_says_of_itself_goes_before_what_is_said_of_all() -> None:
    toml = DESIGNED.replace('deadline = "24h"', 'zone = "UTC"\namount_unit = "decimal"')
    case = {"case": "C", "cents": "1250", "currency": "USD", "at": "2026-01-02T03:04:05"}
    alert = _alert(load(toml).providers["acme"], data=case)
    assert alert.amount == Decimal("12.50")
    assert alert.happened_at == datetime(2026, 1, 2, 8, 4, 5, tzinfo=UTC)


def test_a_date_in_another_form_is_left_out_without_repeating_all_of_it() -> None:
    [(path, [message])] = said(NORTHBANK, {"opened": "2026-03-05" * 100}).errors.items()
    assert path == "opened"
    assert message.endswith("is not a date like %m/%d/%Y.")
    assert len(message) < 100


def test_an_unknown_outcome_costs_no_opening_and_fails_visibly() -> None:
    provider = load(DESIGNED).providers["acme"]
    case = {"case": "C", "cents": "5", "currency": "USD"}
    odd = _alert(provider, data={**case, "outcome": "unheard-of"})
    assert (odd.resolution, odd.unknown_outcome) == (None, "The outcome 'unheard-of' is not listed.")
    assert _alert(provider, data={**case, "outcome": "refunded"}).resolution == "issued_full_refund"
    assert _alert(provider, data=case).unknown_outcome is None
    for outcome in ("unheard-of", None, {"a": 1}):
        alert = _alert(provider, kind="alert.closed", data={"case": "C", "outcome": outcome})
        assert alert.resolution is None
        assert alert.unknown_outcome


def test_an_outcome_may_be_listed_for_a_person_to_look_at() -> None:
    toml = DESIGNED.replace('refunded = "issued_full_refund"', 'failed = "review", working = ""')
    provider = load(toml).providers["acme"]
    case = {"case": "C", "cents": "5", "currency": "USD"}
    for kind in ("alert.created", "alert.closed"):
        alert = _alert(provider, kind=kind, data={**case, "outcome": "Failed"})
        assert (alert.resolution, alert.review) == (None, "Failed is not final: a person has to look.")
        assert _alert(provider, kind=kind, data={**case, "outcome": "working"}).review is None


def by_type() -> Provider:
    section = DOCUMENT.split("#### Outcomes of a provider")[1].split("\n#### ")[0]
    return load(dict(blocks(section))["toml"]).providers["both"]


@tried_with(
    ("kind", "outcome", "resolution", "visible"),
    [
        ("PREARB", "CLOSED", "issued_full_refund", False),
        ("CB", "CLOSED", "lost", False),
        ("CB", "REVERSED", "won", False),
        ("CB", "OPEN", None, False),
        ("CB", "SPLIT", None, True),
        ("PREARB", "REVERSED", None, True),
        ("PREARB", "ODD", None, True),
    ],
)
def test_outcomes_may_be_listed_by_type(
    kind: str, outcome: str, resolution: str | None, visible: bool
) -> None:
    told = {"id": "e", "case": "C", "kind": kind, "amount": "5", "currency": "USD", "outcome": outcome}
    alert = one_alert(by_type(), told).alert
    assert alert is not None
    assert alert.resolution == resolution
    assert bool(alert.unknown_outcome or alert.review) is visible


def words_of(table: AlertSchema) -> Mapping[str, Any]:
    """The words of a table's outcomes."""
    one = table.load_fields.get("resolution")
    return (one.values if isinstance(one, Resolution) else None) or {}


def test_words_by_type_are_laid_over_those_that_a_provider_has() -> None:
    values = 'values = { alert = { LOST = "other", NEWER = "other" }, chargeback = { NEWER = "won" } }'
    stripe = changed("stripe", f"fields = {{ resolution = {{ {values} }} }}")
    trusto = changed(
        "trusto", "fields = { resolution = { values = { chargeback = { REFUNDED = 'lost' } } } }"
    )
    words = next(one for table in stripe.tables() if "won" in (one := words_of(table)))
    assert words["lost"] == {"alert": "other", "chargeback": "lost"}
    assert words["newer"] == {"alert": "other", "chargeback": "won"}
    assert words["won"] == {"chargeback": "won"}
    assert words_of(trusto.tables()[0])["refunded"] == {"alert": "issued_full_refund", "chargeback": "lost"}


def test_the_rest_of_the_outcomes_may_have_a_word_and_some_say_nothing_yet() -> None:
    assert _resolution(said(PAPERLESS, {"result": "WIN"}, event="over")) == "other"
    assert _resolution(said(PAPERLESS, {"result": "UNHEARD-OF"}, event="over")) == "could_not_find_order"
    assert _resolution(said(PAPERLESS, {"result": None}, event="over")) == "could_not_find_order"
    assert _resolution(said(PAPERLESS, {"result": "OPEN"}, event="over")) is None
    nothing = {"cents": None, "details.currency": None, "result": "OPEN"}
    assert said(PAPERLESS, nothing, event="over").reason is Reason.IGNORE
    assert _resolution(said(PAPERLESS, {"result": "UNHEARD-OF"})) is None  # it opens, and resolves nothing


def _resolution(reading: Reading) -> str | None:
    assert reading.alert is not None
    return reading.alert.resolution


def test_the_form_of_the_design_reads_single_cases_and_batches() -> None:
    provider = load(DESIGNED).providers["acme"]
    single = {"case": "C1", "cents": 1250, "currency": "usd", "at": "2026-01-02T03:04:05"}
    assert _alert(provider, data=single).amount == Decimal("12.50")
    assert _alert(provider, data=single).happened_at == datetime(2026, 1, 2, 8, 4, 5, tzinfo=UTC)
    batch = {"currency": "EUR", "cases": [{"case": "C1", "cents": 7}, {"case": "C2", "cents": 8}]}
    alerts = [reading.alert for reading in _readings(provider, "alert.created", batch)]
    assert [(one.case_number, one.amount, one.currency) for one in alerts if one] == [
        ("C1", Decimal("0.07"), "EUR"),
        ("C2", Decimal("0.08"), "EUR"),
    ]
    assert provider.deadline == timedelta(hours=24)
    acknowledged = provider.acknowledgement(provider.read(_webhook("alert.created", single))[0])
    assert acknowledged is not None
    assert (acknowledged[1], acknowledged[0].content_type) == ('{"ok": true}', "application/json")


def _webhook(kind: str, data: Mapping[str, Any]) -> Webhook:
    body = json.dumps({"id": "e1", "kind": kind, "data": data}).encode()
    return Webhook("acme", "/webhooks/acme", body)


def _readings(provider: Provider, kind: str, data: Mapping[str, Any]) -> list[Reading]:
    return [provider.translate(item) for item in provider.read(_webhook(kind, data))]


def _alert(provider: Provider, *, data: Mapping[str, Any], kind: str = "alert.created") -> Alert:
    [reading] = _readings(provider, kind, data)
    assert reading.alert is not None
    return reading.alert


def test_an_event_that_only_tells_or_revokes_needs_no_money() -> None:
    reading = said(PAPERLESS, {"cents": None, "details.currency": None}, event="gone")
    assert reading.effect is Effect.WITHDRAW


def test_a_deadline_may_depend_on_the_event() -> None:
    assert PAPERLESS.provider.deadline_of(PAPERLESS.item()) == timedelta(hours=24)
    inquiry = PAPERLESS.item(**{"X-Event": "INQUIRY_NEW"})
    assert PAPERLESS.provider.deadline_of(inquiry) == timedelta(hours=3)


def test_an_identifier_that_looks_like_a_card_is_spared_and_a_card_is_cut(open_bridge: OpenBridge) -> None:
    """4000056655665556 passes every test of a card number; as a case number it must stay whole."""
    told = json.loads(ACME.body)
    told["data"] |= {"case": "4000056655665556", "card": "4242424242424242", "descriptor": "4242424242424242"}
    body = json.dumps(told).encode()
    with open_bridge(ACME) as bridge:
        bridge.post(ACME, body, ACME.signed(body))
        [delivery] = bridge.work("forwarded")
        shown = json.dumps(Search(bridge.database).delivery(delivery["id"]))
    assert "4000056655665556" in shown
    assert "4242424242424242" not in shown
    assert "424242******4242" in shown


def test_every_field_of_an_alert_can_be_configured() -> None:
    ours = {
        "equals",
        "unknown_outcome",
        "review",
        "note",
        "not_final",
        "unreadable",
    }  # what the bridge says of it
    known = {*Alert.__dataclass_fields__, "card"} - ours
    assert set(FIELDS) == known
    paths = "\n".join(f'{name} = "at.{name}"' for name in sorted(known))
    start, heading, _ = DESIGNED.partition("[providers.acme.fields]\n")
    provider = load(start + heading + paths)
    [table, *_] = provider.providers["acme"].tables()
    assert table.sources() == {name: f"at.{name}" for name in known}


# --- built-in providers with changes ------------------------------------------------------------


def changed(name: str, toml: str) -> Provider:
    """A built-in provider with a table of settings."""
    return load(f"[providers.{name}]\n{toml}").providers[name]


def one_alert(provider: Provider, body: Mapping[str, Any], **headers: str) -> Reading:
    [item] = provider.read(Webhook(provider.name, "/", json.dumps(body).encode(), headers))
    return provider.translate(item)


CDRN = {
    "eventType": "DISPUTE",
    "caseNumber": "V-1",
    "caseAmount": "19.90",
    "caseCurrency": "USD",
    "caseDate": "2026-03-01T10:00:00",
    "arn": "74537606062000049988877",
}


def test_the_example_of_the_documentation_changes_verifi_only_where_it_says_so() -> None:
    section = DOCUMENT.split("## Changing a built-in provider")[1]
    [toml] = [inside for kind, inside in blocks(section) if kind == "toml"]
    verifi = load(toml).providers["verifi"]
    theirs = {
        "reference": {"number": "R-5", "openedAt": "2026-03-01T10:00:00"},
        "merchantReference": "1042",
        **{name: CDRN[name] for name in ("caseAmount", "caseCurrency", "arn")},
    }
    reading = one_alert(verifi, theirs, **{"x-case-kind": "Dispute"})
    assert reading.alert is not None
    assert (reading.alert.case_number, reading.alert.order, reading.alert.arn) == ("R-5", "1042", CDRN["arn"])
    assert reading.alert.happened_at == datetime(2026, 3, 1, 18, tzinfo=UTC)
    opened = one_alert(verifi, theirs, **{"x-case-kind": "RDR_CASE"}).alert
    assert opened is not None
    assert opened.resolution is None
    accepted = one_alert(verifi, theirs | {"decision": "ACCEPTED"}, **{"x-case-kind": "RDR_CASE"}).alert
    assert accepted is not None
    assert (accepted.resolution, accepted.refunded_by_gateway) == ("issued_full_refund", True)
    assert one_alert(verifi, theirs, **{"x-case-kind": "REMINDER"}).reason is Reason.IGNORE
    assert (verifi.proof.kind, verifi.deadline) == ("header", timedelta(hours=48))
    with pytest.raises(Untranslatable) as caught:
        one_alert(verifi, CDRN, **{"x-case-kind": "DISPUTE"})
    assert set(caught.value.fields) == {"reference.number"}


def test_a_name_is_replaced_in_all_tables_of_a_built_in_provider() -> None:
    midigator = changed("midigator", 'fields = { case_number = "ref", amount = { unit = "minor" } }')
    for meaning in midigator.events.values():
        if meaning.table:
            assert meaning.table.path("case_number") == "ref"
    body = {"event_type": "chargeback.new", "ref": "C9", "amount": 1250, "currency": "USD"}
    alert = one_alert(midigator, {**body, "chargeback_date": "2026-03-01"}).alert
    assert alert is not None
    assert (alert.case_number, alert.amount, alert.type) == ("C9", Decimal("12.50"), DisputeType.CHARGEBACK)


def test_a_changed_amount_is_still_counted_as_its_provider_counts() -> None:
    stripe = changed("stripe", 'fields = { amount = { path = "data.object.sum", unit = "minor" } }')
    dispute = {"id": "dp_1", "sum": 5000, "currency": "isk", "created": 1625755540, "status": "won"}
    body = {"id": "evt_1", "type": "charge.dispute.created", "data": {"object": dispute}}
    alert = one_alert(stripe, body).alert
    assert alert is not None
    assert alert.amount == Decimal("50.00")


RESULTS = """
fields = { resolution = { path = "outcome", values = { REFUNDED = "issued_full_refund"%s } } }
effects = { CASE_CLOSED = "resolve" }
"""


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("DECLINED", "The outcome 'DECLINED' is not listed."),
        (None, "The outcome cannot be read: Missing data for required field."),
    ],
)
def test_an_outcome_of_an_added_event_that_is_unknown_fails_or_is_taken_by_a_star(
    outcome: str | None, why: str
) -> None:
    body = {**CDRN, "eventType": "CASE_CLOSED", "outcome": outcome}
    starred = one_alert(changed("verifi", RESULTS % ', "*" = "other"'), body)
    assert starred.alert is not None
    assert (starred.effect, starred.alert.resolution) == (Effect.RESOLVE, "other")
    unknown = one_alert(changed("verifi", RESULTS % ""), body)
    assert unknown.alert is not None
    assert (unknown.alert.resolution, unknown.alert.unknown_outcome) == (None, why)


@pytest.mark.parametrize("outcome", ["unheard-of", None])
def test_an_outcome_of_a_built_in_event_that_is_unknown_is_taken_by_a_star(outcome: str | None) -> None:
    toml = (
        'fields = { resolution = { path = "end", values = { done = "issued_full_refund", "*" = "other" } } }'
    )
    trusto = changed("trusto", toml)
    facts = {"id": 7, "providerId": "T-7", "chargebackAmount": 5, "chargebackCurrency": "EUR"}
    body = {"event": "alert.resolved", "payload": facts, "end": outcome}
    alert = one_alert(trusto, body).alert
    assert alert is not None
    assert alert.resolution == "other"


NAMED_AS_A_CODE = """
[providers.acme]
proof = { kind = "bearer" }
event_id = "id"
[providers.acme.fields]
case_number = "case.cid"
amount = "amount"
currency = "currency"
"""


def test_a_case_number_that_was_cut_as_a_code_fails_visibly() -> None:
    acme = load(NAMED_AS_A_CODE).providers["acme"]
    body = {"id": "e1", "case": {"cid": "A-1001"}, "amount": 10, "currency": "USD"}
    kept = redact.cut_body(json.dumps(body).encode(), acme)
    (item,) = acme.read(Webhook("acme", "/", kept))
    with pytest.raises(Untranslatable) as caught:
        acme.translate(item)
    assert "cut" in caught.value.fields["case.cid"][0]


def test_what_an_events_type_says_already_stays() -> None:
    midigator = changed("midigator", 'fields = { resolution = { path = "how", values = { won = "won" } } }')
    body = {"event_type": "chargeback.dnf", "case_number": "C9", "how": "won"}
    alert = one_alert(midigator, body).alert
    assert alert is not None
    assert alert.resolution == "accepted"


def test_a_result_without_the_facts_still_needs_none_after_a_change() -> None:
    midigator = changed("midigator", 'fields = { case_number = "ref" }\nzone = "US/Eastern"')
    alert = one_alert(midigator, {"event_type": "chargeback.result", "ref": "C9", "result": "won"}).alert
    assert alert is not None
    assert alert.resolution == "won"
    opened = one_alert(midigator, {"event_type": "chargeback.new", "ref": "C9"})
    assert (opened.effect, opened.errors) == (Effect.OPEN, {})


def test_effects_of_a_built_in_provider_are_changed_and_added() -> None:
    ethoca = changed("ethoca", 'effects = { issuer_alert = "ignore", Late_Alert = "open" }')
    body = {
        "ethoca_id": "E1",
        "amount": 5,
        "currency": "EUR",
        "alert_timestamp": "2026-03-01T10:00:00",
    }
    assert one_alert(ethoca, {**body, "type": "issuer_alert"}).reason is Reason.IGNORE
    assert one_alert(ethoca, {**body, "type": "late_alert"}).effect is Effect.OPEN
    assert one_alert(ethoca, {**body, "type": "customerdispute_alert"}).effect is Effect.OPEN


def test_an_added_event_has_the_fields_of_the_first_that_opens_or_of_the_one_it_is_like() -> None:
    adyen = changed("adyen", 'effects = { CHARGEBACK_NEW = "open" }')
    opening = next(one for one in adyen.events.values() if one.effect is Effect.OPEN)
    added = adyen.events["chargeback_new"]
    assert opening.table is not None
    assert added.table is not None
    assert added.table.sources() == opening.table.sources()
    assert added.effect is Effect.OPEN
    verifi = changed("verifi", 'effects = { dispute = { effect = "open", like = "rdr" } }')
    alert = one_alert(verifi, CDRN | {"decision": "ACCEPTED"}).alert
    assert alert is not None
    assert alert.resolution == "issued_full_refund"


def test_the_settings_of_a_built_in_provider_take_the_place_of_its_own() -> None:
    midigator = changed(
        "midigator",
        'zone = "US/Eastern"\namount_unit = "minor"\ndeadline = "20h"\n'
        'acknowledgement = { body = "thanks", status = 202, echo = [] }\n'
        'inform = { tc40 = "open" }\nproof = { kind = "bearer" }',
    )
    body = {
        "event_type": "prevention.new",
        "prevention_type": "tc40",
        "prevention_case_number": "P1",
        "amount": 1990,
        "currency": "USD",
        "prevention_timestamp": "2026-01-05T08:00:00",
    }
    reading = one_alert(midigator, body)
    assert reading.effect is Effect.OPEN
    assert reading.alert is not None
    assert reading.alert.amount == Decimal("19.90")
    assert reading.alert.happened_at == datetime(2026, 1, 5, 13, tzinfo=UTC)
    item = midigator.read(Webhook("midigator", "/", json.dumps(body).encode()))[0]
    assert midigator.deadline_of(replace(item, subtype="ethoca")) == timedelta(hours=20)
    acknowledged = midigator.acknowledgement(item)
    assert acknowledged is not None
    assert (acknowledged[1], acknowledged[0].status, acknowledged[0].content_type) == (
        "thanks",
        202,
        "text/plain; charset=utf-8",
    )


def test_an_acknowledgement_may_repeat_what_came() -> None:
    ethoca = changed("ethoca", 'acknowledgement = { body = \'{"status": "success"}\', echo = ["ethoca_id"] }')
    item = ethoca.read(Webhook("ethoca", "/", b'{"ethoca_id": "E7"}'))[0]
    acknowledged = ethoca.acknowledgement(item)
    assert acknowledged is not None
    assert json.loads(acknowledged[1]) == {"ethoca_id": "E7", "status": "success"}


@tried_with("name", sorted(providers.built_in()))
def test_an_empty_table_changes_nothing_of_a_built_in_provider(name: str) -> None:
    before, after = providers.built_in()[name], changed(name, "")
    assert replace(after, events=before.events) == before
    for event, meaning in before.events.items():
        kept = after.events[event]
        assert kept.effect is meaning.effect
        assert list(kept.kinds) == list(meaning.kinds)
        for table, same in zip(meaning.tables(), kept.tables(), strict=True):
            assert table.sources() == same.sources()


# --- what signatures, places, amounts and times may be ------------------------------------------


def by_title(title: str) -> Provider:
    """A provider of the examples of other signatures."""
    section = DOCUMENT.split("### Examples: other signatures")[1].split("\n## ")[0]
    return load("\n".join(inside for kind, inside in blocks(section) if kind == "toml")).providers[title]


URL = "https://alerts.example.com/webhooks/{}?event=evt%2F7&x=1"


def sent(provider: Provider, told: Any, **changes: Any) -> Webhook:
    """A webhook that a sender signs by hand, as its document says."""
    body, key = json.dumps(told).encode(), b"a-key-that-is-shown"
    url = URL.format(provider.name)
    signed = {
        "plaza": url.encode() + body,
        "ledger": f"POST\n/webhooks/{provider.name}\n".encode() + body,
        "harbour": b"n0nce,1." + body,
        "quay": f"msg_1.{int(NOW.timestamp())}.".encode() + body,
    }[provider.name]
    digest = hmac.new(key, signed, "sha256")
    base = base64.b64encode(digest.digest()).decode()
    headers = {
        "plaza": {"x-plaza-signature": base},
        "ledger": {"x-ledger-hmac": digest.hexdigest()},
        "harbour": {"webhook-signature": f"t=n0nce,1,s={digest.hexdigest()}"},
        "quay": {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(NOW.timestamp())),
            "webhook-signature": f"v1,{base}",
        },
    }[provider.name]
    path = f"/webhooks/{provider.name}"
    query = {"event": "evt/7", "x": "1"}
    return replace(Webhook(provider.name, path, body, headers, query, url=url), **changes)


DUE: dict[str, tuple[Any, dict[str, Any]]] = {
    "plaza": (
        {"case": "P-1", "sum": "1.234,56"},
        {"amount": Decimal("1234.56"), "currency": "EUR"},
    ),
    "ledger": (
        [{"id": "e1", "case": "L-1", "sum": 1299000, "currency": "CLP"}],
        {"amount": Decimal("12990.00"), "currency": "CLP"},
    ),
    "harbour": (
        {"id": "e1", "case": "H-1", "sum": "5", "currency": "978", "day": "04/05/2026"},
        {"amount": Decimal(5), "currency": "EUR", "happened_at": datetime(2026, 5, 4, tzinfo=UTC)},
    ),
    "quay": ({"case": "Q-1", "sum": "$34.00", "currency": "USD"}, {"amount": Decimal("34.00")}),
}


@pytest.mark.parametrize("title", DUE)
def test_a_documented_signature_is_proven_and_its_webhook_read(title: str) -> None:
    provider, (told, expected) = by_title(title), DUE[title]
    webhook = sent(provider, told)
    provider.proof.verify(webhook, ["a-key-that-is-shown"], NOW)
    for wrong in (replace(webhook, body=webhook.body + b" "), replace(webhook, headers={})):
        with pytest.raises(Rejected):
            provider.proof.verify(wrong, ["a-key-that-is-shown"], NOW)
    with pytest.raises(Rejected):
        provider.proof.verify(webhook, ["another-key"], NOW)

    (item,) = provider.read(webhook)
    reading = provider.translate(item)
    assert (reading.effect, reading.errors) == (Effect.OPEN, {})
    assert {name: getattr(reading.alert, name) for name in expected} == expected
    assert item.event_id == {"plaza": "evt/7", "quay": "msg_1"}.get(title, "e1")


def test_what_is_signed_may_be_the_url_as_the_provider_calls_it(make_database: MakeDatabase) -> None:
    section = DOCUMENT.split("### Examples: other signatures")[1].split("\n## ")[0]
    toml = "\n".join(inside for kind, inside in blocks(section) if kind == "toml")
    key = "a-key-that-is-shown"
    with make_database("sqlite") as url:
        secrets = {f"{name.upper()}_SECRET": key for name in DUE}
        given = load(
            toml,
            **{**secrets, "BRIDGE_PUBLIC_URL": "https://alerts.example.com", "DATABASE_URL": url},
        )
        database = Database(url)
        client = create_app(given, database).test_client()
        for title in ("plaza", "ledger", "harbour"):
            webhook = sent(given.providers[title], DUE[title][0])
            called = URL.format(title).removeprefix("https://alerts.example.com")
            for path, status in (
                (called, 200),
                (called.replace("x=1", "x=2"), 401 if title == "plaza" else 200),
            ):
                answer = client.post(path, data=webhook.body, headers=webhook.headers)
                assert answer.status_code == status, (title, path)
        with database.read() as connection:
            kept = connection.execute(select(webhooks.c.query).order_by(webhooks.c.received_at)).scalars()
            assert next(kept) == {"event": "evt/7"}  # of the query no more than what is read
        database.close()


def test_an_array_at_the_top_is_a_batch_whether_it_was_said_or_not() -> None:
    told = [{"id": n, "case": f"C-{n}", "sum": "5", "currency": "USD"} for n in (1, 2)]
    for title in ("ledger", "harbour"):
        provider = by_title(title)
        items = provider.read(Webhook(title, "/", json.dumps(told).encode()))
        assert [item.event_id for item in items] == ["1", "2"]
        assert [provider.translate(item).alert.case_number for item in items] == ["C-1", "C-2"]  # type: ignore[union-attr]


def test_currencies_may_have_other_decimals_at_one_provider_or_in_one_field() -> None:
    of_all = changed("stripe", "decimals = { CLP = 2, JPY = 1 }")
    of_one = changed("stripe", "[providers.stripe.fields.amount]\ndecimals = { CLP = 2 }")
    dispute = {"id": "dp_1", "amount": 5000, "created": 1795860672, "status": "needs_response"}

    def amount(provider: Provider, currency: str) -> Decimal | None:
        told = {"id": "evt_1", "type": "charge.dispute.created"}
        alert = one_alert(provider, told | {"data": {"object": dispute | {"currency": currency}}}).alert
        assert alert is not None
        return alert.amount

    assert amount(changed("stripe", ""), "clp") == 5000
    assert amount(of_all, "clp") == amount(of_one, "clp") == 50
    assert amount(of_all, "jpy") == 500
    assert amount(of_one, "jpy") == 5000
    assert amount(of_all, "isk") == amount(of_one, "isk") == 50  # what Stripe has of its own stays


def test_a_decimal_comma_may_be_that_of_one_provider_or_of_one_field() -> None:
    body = {"ethoca_id": "E1", "type": "issuer_alert", "amount": "1.234,56", "currency": "EUR"}
    for toml in ("decimal_comma = true", "fields = { transaction_amount = { decimal_comma = true } }"):
        reading = one_alert(changed("ethoca", toml), body)
        assert reading.alert is not None
        assert (reading.errors, reading.alert.amount) == ({}, Decimal("1234.56"))
    assert set(one_alert(changed("ethoca", ""), body).errors) == {"amount"}


def test_a_currency_of_nmi_is_a_setting() -> None:
    entry = {"id": "1", "date": "5/3/2026", "amount": "5.00"}
    body = {
        "event_id": "e",
        "event_type": "chargeback.batch.complete",
        "event_body": {"chargebacks": [entry]},
    }
    euros = changed("nmi", 'fields = { currency = { value = "EUR" } }')
    for provider, currency in ((changed("nmi", ""), "USD"), (euros, "EUR")):
        alert = one_alert(provider, body).alert
        assert alert is not None
        assert (alert.amount, alert.currency) == (Decimal("5.00"), currency)


def test_a_new_word_of_a_built_in_providers_needs_one_line() -> None:
    trusto = changed("trusto", 'fields = { resolution = { values = { VOIDED = "issued_full_refund" } } }')
    facts = {"id": 7, "providerId": "T-7", "chargebackAmount": 5, "chargebackCurrency": "EUR"}

    def outcome(status: str, kind: str = "ETHOCA_CONFIRMED_FRAUD") -> str | None:
        payload = facts | {"status": status, "type": kind}
        alert = one_alert(trusto, {"event": "alert.resolved", "payload": payload}).alert
        assert alert is not None
        return alert.resolution

    assert outcome("VOIDED") == outcome("VOIDED", "VERIFI_RDR") == "issued_full_refund"
    assert outcome("NOT_FOUND") == "could_not_find_order"


def test_a_word_of_an_rdr_case_may_be_added_with_its_refund() -> None:
    verifi = changed(
        "verifi",
        "[providers.verifi.fields]\n"
        'resolution = { values = { GRANTED = "issued_full_refund" } }\n'
        "refunded_by_gateway = { values = { GRANTED = true } }",
    )
    for word, expected in (("Granted", True), ("ACCEPTED", True), ("DECLINED", False)):
        alert = one_alert(verifi, CDRN | {"eventType": "RDR", "decision": word}).alert
        assert alert is not None
        assert (alert.resolution == "issued_full_refund", alert.refunded_by_gateway) == (expected, expected)


def test_a_word_of_a_refund_may_be_added_where_words_say_so() -> None:
    stop = changed("chargebackstop", "fields = { refunded_by_gateway = { values = { SETTLED = true } } }")
    for word, expected in (("Settled", True), ("RESOLVED", True), ("REFUNDED", False)):
        told = {"id": "c-1", "status": "RESOLVED", "transaction_refund_outcome": word}
        alert = one_alert(stop, {"type": "alert.created", "data": {"object": told}}).alert
        assert alert is not None
        known = word != "Settled"  # as an outcome nobody has listed it
        assert (alert.refunded_by_gateway, alert.unknown_outcome is None) == (expected and known, known)


@pytest.mark.parametrize("name", ["midigator", "stripe"])
def test_a_star_may_stand_for_an_outcome_that_had_to_be_said(name: str) -> None:
    provider = changed(name, 'fields = { resolution = { values = { "*" = "lost" } } }')
    starred = [table for table in provider.tables() if words_of(table).get("*") == "lost"]
    assert [table.load_fields["resolution"].required for table in starred] == [False] * len(starred)
    assert starred


def test_the_zone_of_a_provider_is_that_of_a_field_that_is_added() -> None:
    toml = 'zone = "US/Eastern"\nfields = { transaction_at = "data.object.sold_at" }'
    stop = changed("chargebackstop", toml)
    told = {"id": "c-1", "status": "ACTION_REQUIRED", "sold_at": "2026-01-05T08:00:00"}
    alert = one_alert(stop, {"type": "alert.created", "data": {"object": told}}).alert
    assert alert is not None
    assert alert.transaction_at == datetime(2026, 1, 5, 13, tzinfo=UTC)


def test_a_cancellation_that_nobody_listed_may_be_a_withdrawal() -> None:
    kount = changed("kount", 'effects = { RDR_CANCELED = { effect = "withdraw", like = "rdr" } }')
    assert one_alert(kount, {"requestID": "r-1", "eventType": "RDR_CANCELED"}).effect is Effect.WITHDRAW


def test_the_older_signature_of_chargeflow_can_be_said() -> None:
    page = (ROOT / "docs/providers/chargeflow.md").read_text("utf-8")
    older = re.search(r'(?m)^ *(proof = \{ .*\{body\}" \})$', page)
    assert older
    chargeflow = changed("chargeflow", older[1])
    body = b'{"id": "a"}'
    digest = hmac.new(b"key", b"POST\n/webhooks/chargeflow\n" + body, "sha256").hexdigest()
    headers = {"x-chargeflow-hmac-sha256": digest}
    webhook = Webhook("chargeflow", "/webhooks/chargeflow", body, headers)
    chargeflow.proof.verify(webhook, ["key"], NOW)


# --- mistakes in the file -----------------------------------------------------------------------

START = """
[providers.acme]
proof = { kind = "basic" }
event_id = "id"
event_type = "kind"
"""
MEANT = '[providers.acme.effects]\nnew = "open"\n'
FOUND = '[providers.acme.fields]\ncase_number = "case"\namount = "amount"\ncurrency = "currency"\n'


def test_a_provider_needs_no_more_than_this() -> None:
    assert load(START + MEANT + FOUND).providers["acme"].title == "Acme"


MISTAKES = {
    # key: (the file, where it says what is wrong, what it says)
    "no proof": (START.replace("proof", "#") + MEANT + FOUND, "proof", "missing"),
    "no event id": (START.replace("event_id", "#") + MEANT + FOUND, "event_id", "missing"),
    "no effects": (START + FOUND, "effects", "missing"),
    "empty effects": (START + "effects = {}\n" + FOUND, "effects", "expected their event types"),
    "unknown effect": (START + MEANT.replace("open", "create") + FOUND, "effects.new", "one of open, match"),
    "an effect that is no text": (
        START + MEANT.replace('"open"', "true") + FOUND,
        "effects.new",
        "in quotes",
    ),
    "an effect of a pattern": (
        START + MEANT + '"new.*" = "open"\n' + FOUND,
        'effects."new.*"',
        "stands alone",
    ),
    "an effect named twice": (START + MEANT + 'NEW = "ignore"\n' + FOUND, "effects.NEW", "duplicate key"),
    "types without their place": (
        START.replace("event_type", "#") + MEANT + FOUND,
        "effects.new",
        "needs event_type",
    ),
    "no fields": (START + MEANT.replace("open", "ignore"), "fields.case_number", "missing"),
    "no amount to open with": (
        START + MEANT + FOUND.replace("amount", "#", 1),
        "fields.amount",
        "opens cases",
    ),
    "no currency to open with": (
        START
        + 'inform = { x = "open" }\n'
        + MEANT.replace("open", "inform")
        + FOUND.replace("currency", "#", 1),
        "fields.currency",
        "opens cases",
    ),
    "no outcome to resolve with": (
        START + MEANT + 'over = "resolve"\n' + FOUND,
        "fields.resolution",
        "resolves cases",
    ),
    "unknown field": (
        START + MEANT + FOUND + 'amnt = "x"',
        "fields.amnt",
        "expected one of case_number, type",
    ),
    "empty path": (START + MEANT + FOUND + 'arn = ""', "fields.arn", "expected a path"),
    "blank path": (START + MEANT + FOUND + 'arn = " "', "fields.arn", "expected a path"),
    "a path that cannot be printed": (START + MEANT + FOUND + 'arn = "a\\u0007"', "fields.arn", "a path"),
    "a step without a name": (START + MEANT + FOUND + 'arn = "data..arn"', "fields.arn", "expected a path"),
    "an alternative without a name": (START + MEANT + FOUND + 'arn = "a|"', "fields.arn", "expected a path"),
    "a header in a field": (START + MEANT + FOUND + 'arn = "header:X"', "fields.arn", "expected a path"),
    "a path that is no text": (START + MEANT + FOUND + "arn = 7", "fields.arn", "in quotes"),
    "a field without a path": (START + MEANT + FOUND + "arn = {}", "fields.arn.path", "missing"),
    "unknown option": (
        START + MEANT + FOUND + 'arn = { path = "a", unit = "minor" }',
        "fields.arn.unit",
        "unknown; expected one of path",
    ),
    "unknown unit": (
        START + MEANT + FOUND.replace('"amount"', '{ path = "a", unit = "cents" }'),
        "fields.amount.unit",
        "one of decimal, minor",
    ),
    "unknown zone": (
        START + MEANT + FOUND + 'happened_at = { path = "a", zone = "Mars/Base" }',
        "fields.happened_at.zone",
        "expected a zone",
    ),
    "a zone outside": (START + 'zone = "../../etc/passwd"\n' + MEANT + FOUND, "zone", "expected a zone"),
    "a format without a year": (
        START + MEANT + FOUND + 'happened_at = { path = "a", format = "%d/%m" }',
        "fields.happened_at.format",
        'expected a format such as "%d/%m/%Y %H:%M"',
    ),
    "a format that is none": (
        START + MEANT + FOUND + 'happened_at = { path = "a", format = "%Q" }',
        "fields.happened_at.format",
        "expected a format",
    ),
    "a body's format in a field": (
        START + MEANT + FOUND.replace('"amount"', '{ path = "a", format = "json" }'),
        "fields.amount.format",
        "unknown; expected one of path, unit, decimals, decimal_comma",
    ),
    "decimals that are no table": (START + "decimals = 2\n" + MEANT + FOUND, "decimals", "expected a table"),
    "decimals of no currency": (
        START + "decimals = { PESO = 2 }\n" + MEANT + FOUND,
        "decimals.PESO",
        "expected an ISO 4217 currency code such as CLP",
    ),
    "decimals that are none": (
        START + 'decimals = { CLP = "2" }\n' + MEANT + FOUND,
        "decimals.CLP",
        "expected how many decimals it has there, from 0 to 6",
    ),
    "too many decimals": (
        START + MEANT + FOUND.replace('"amount"', '{ path = "a", decimals = { CLP = 7 } }'),
        "fields.amount.decimals.CLP",
        "from 0 to 6",
    ),
    "decimals that are a truth": (
        START + "decimals = { CLP = true }\n" + MEANT + FOUND,
        "decimals.CLP",
        "from 0 to 6",
    ),
    "a decimal comma that is no truth": (
        START + 'decimal_comma = "yes"\n' + MEANT + FOUND,
        "decimal_comma",
        "expected true or false",
    ),
    "a field's decimal comma that is no truth": (
        START + MEANT + FOUND.replace('"amount"', '{ path = "a", decimal_comma = "," }'),
        "fields.amount.decimal_comma",
        "expected true or false",
    ),
    "a query in a field": (START + MEANT + FOUND + 'arn = "query:arn"', "fields.arn", "expected a path"),
    "a part of the query without a name": (
        START.replace('"id"', '"query:"') + MEANT + FOUND,
        "event_id",
        '"query:name"',
    ),
    "unknown network": (
        START + MEANT + FOUND + 'network = { value = "verifi" }',
        "fields.network.value",
        "one of ethoca, cdrn, rdr, other",
    ),
    "unknown category": (
        START + MEANT + FOUND + 'category = { path = "a", values = { x = "theft" } }',
        "fields.category.values.x",
        "one of fraud, dispute, unknown",
    ),
    "a result by a type that there is not": (
        START + MEANT + FOUND + 'resolution = { path = "a", values = { inquiry = { x = "other" } } }',
        "fields.resolution.values.inquiry",
        "in quotes",
    ),
    "a result that does not suit its type": (
        START + MEANT + FOUND + 'resolution = { path = "a", values = { chargeback = { x = "other" } } }',
        "fields.resolution.values.chargeback.x",
        "one of won, lost, accepted, review",
    ),
    "a result to note": (
        START + MEANT + FOUND + 'resolution = { path = "a", values = { x = "note" } }',
        "fields.resolution.values.x",
        "issued_full_refund",
    ),
    "nothing of the body signed": (
        START.replace('"basic" }', '"hmac", signed = "{url}" }') + MEANT + FOUND,
        "proof",
        "{body} among them",
    ),
    "something unknown signed": (
        START.replace('"basic" }', '"hmac", signed = "{body}{nonce}" }') + MEANT + FOUND,
        "proof",
        "signed is a text with {body}, {timestamp}, {url}, {path}, {method} and {header:Name} in it",
    ),
    "a timestamp without its place": (
        START.replace('"basic" }', '"hmac", signed = "{timestamp}{body}" }') + MEANT + FOUND,
        "proof",
        'say with parse where it stands, such as "t=,s="',
    ),
    "a header that is split by nothing": (
        START.replace('"basic" }', '"hmac", parse = "t s" }') + MEANT + FOUND,
        "proof",
        'parse names the parts of the header, such as "t=,s="',
    ),
    "a key in another form": (
        START.replace('"basic" }', '"standard_webhooks", key = "hex" }') + MEANT + FOUND,
        "proof",
        "key must be base64 or text",
    ),
    "unknown resolution": (
        START + MEANT + FOUND + 'resolution = { path = "a", values = { x = "refunded" } }',
        "fields.resolution.values.x",
        "issued_full_refund",
    ),
    "a resolution of the other type": (
        START + MEANT + FOUND + 'resolution = { path = "a", values = { x = "won" } }',
        "fields.resolution.values.x",
        "issued_full_refund",
    ),
    "no values": (
        START + MEANT + FOUND + 'resolution = { path = "a", values = {} }',
        "fields.resolution.values",
        "their words and ours",
    ),
    "a flag's value that is no truth": (
        START + MEANT + FOUND + 'withdrawn = { path = "a", values = { R = "yes" } }',
        "fields.withdrawn.values.R",
        "true or false",
    ),
    "a constant that is no currency": (
        START + MEANT + FOUND.replace('"currency"', '{ value = "dollars" }'),
        "fields.currency.value",
        "ISO 4217",
    ),
    "a constant beside a path": (
        START + MEANT + FOUND.replace('"currency"', '{ value = "USD", path = "c" }'),
        "fields.currency.value",
        "stands alone",
    ),
    "a constant where none can be": (
        START + MEANT + FOUND + 'order = { value = "1" }',
        "fields.order.value",
        "unknown",
    ),
    "unknown format": (START + 'format = "yaml"\n' + MEANT + FOUND, "format", "one of json, form, xml"),
    "unknown type": (START + 'type = "inquiry"\n' + MEANT + FOUND, "type", "one of alert, chargeback"),
    "unknown key": (START + 'colour = "red"\n' + MEANT + FOUND, "colour", "unknown"),
    "items that are two paths": (START + 'items = "a|b"\n' + MEANT + FOUND, "items", '"." for the whole'),
    "embedded that is no list": (START + 'embedded = "a"\n' + MEANT + FOUND, "embedded", "expected a list"),
    "a header without a name": (
        START.replace('"id"', '"header:"') + MEANT + FOUND,
        "event_id",
        "header:Name",
    ),
    "a header that is none": (
        START.replace('"kind"', '"header:X Y"') + MEANT + FOUND,
        "event_type",
        "header:Name",
    ),
    "an empty list of places": (START.replace('"id"', "[]") + MEANT + FOUND, "event_id", "expected a path"),
    "unknown proof": (START.replace("basic", "magic") + MEANT + FOUND, "proof", "kind must be one of"),
    "a proof that is no table": (
        START.replace('{ kind = "basic" }', '"basic"') + MEANT + FOUND,
        "proof",
        "expected a table",
    ),
    "unknown option of a proof": (
        START.replace('"basic" }', '"hmac", salt = "x" }') + MEANT + FOUND,
        "proof",
        "no option salt",
    ),
    "unknown algorithm": (
        START.replace('"basic" }', '"hmac", algorithm = "md5" }') + MEANT + FOUND,
        "proof",
        "algorithm must be one of",
    ),
    "unknown encoding": (
        START.replace('"basic" }', '"hmac", encoding = "base58" }') + MEANT + FOUND,
        "proof",
        "encoding must be one of",
    ),
    "a proof's header that is none": (
        START.replace('"basic" }', '"hmac", header = "X-Key: abc" }') + MEANT + FOUND,
        "proof.header",
        "the name of a header",
    ),
    "a time without a unit": (START + 'deadline = "24"\n' + MEANT + FOUND, "deadline", 'such as "20h"'),
    "a time that is no text": (START + "deadline = 24\n" + MEANT + FOUND, "deadline", 'such as "20h"'),
    "no time at all": (START + 'deadline = "0h"\n' + MEANT + FOUND, "deadline", 'such as "20h"'),
    "a deadline of an event": (
        START + 'deadlines = { new = "soon" }\n' + MEANT + FOUND,
        "deadlines.new",
        'such as "20h"',
    ),
    "unknown policy": (START + 'inform = { x = "resolve" }\n' + MEANT + FOUND, "inform.x", "one of open"),
    "a mark without a value": (START + 'test = { path = "a" }\n' + MEANT + FOUND, "test.value", "expected"),
    "a mark without a path": (START + "test = { value = true }\n" + MEANT + FOUND, "test.path", "missing"),
    "a status that refuses": (
        START + "acknowledgement = { status = 404 }\n" + MEANT + FOUND,
        "acknowledgement.status",
        "200 to 299",
    ),
    "a body where there is none": (
        START + 'acknowledgement = { status = 204, body = "ok" }\n' + MEANT + FOUND,
        "acknowledgement.status",
        "have no body",
    ),
    "an echo into plain text": (
        START + 'acknowledgement = { body = "ok", echo = ["id"] }\n' + MEANT + FOUND,
        "acknowledgement.body",
        "JSON object",
    ),
    "a content type that is none": (
        START + 'acknowledgement = { content_type = "text" }\n' + MEANT + FOUND,
        "acknowledgement.content_type",
        "text/plain",
    ),
}


@tried_with("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_key_and_what_is_expected(mistake: str) -> None:
    toml, key, expected = MISTAKES[mistake]
    [problem] = problems(toml)
    assert problem.startswith(f"providers.acme.{key}: ")
    assert expected in problem


def test_all_that_is_wrong_with_a_proof_is_told_at_once() -> None:
    table = 'salt = "x", algorithm = "md5", encoding = "base58", signed = "{bod}", parse = "t", prefix = 7'
    said = problems(START.replace('"basic" }', f'"hmac", {table}, header = "X: y" }}') + MEANT + FOUND)
    assert all(one.startswith("providers.acme.proof") for one in said)
    for expected in (
        *("no option salt; expected one of", "algorithm must be one of sha1", "encoding must be one of hex"),
        *("signed is a text with {body}", "parse names the parts", "prefix: every option is text"),
        "proof.header: expected the name of a header",
    ):
        assert sum(expected in one for one in said) == 1, expected
    assert len(said) == 7
    said = problems(START.replace('"basic" }', '"magic", salt = "x", algorithm = "md5" }') + MEANT + FOUND)
    assert len(said) == 3
    said = problems(
        START.replace('"basic" }', '"standard_webhooks", key = "hex", prefix = "x", a = 1 }') + MEANT + FOUND
    )
    assert len(said) == 3


def test_all_mistakes_of_all_providers_are_told_at_once() -> None:
    start = START.replace("basic", "magic") + 'format = "yaml"\ndecimal_comma = 1\ndecimals = { X = 2 }\n'
    toml = start + MEANT.replace("open", "create") + FOUND.replace('"case"', '""')
    said = problems(toml + '[providers.ethoca]\ndeadline = "x"\n[providers.verifi.fields]\nnumber = "x"')
    assert [problem.partition(": ")[0] for problem in said] == [
        "providers.acme.proof",
        "providers.acme.decimals.X",
        "providers.acme.decimal_comma",
        "providers.acme.effects.new",
        "providers.acme.fields.case_number",
        "providers.acme.format",
        "providers.ethoca.deadline",
        "providers.verifi.fields.number",
    ]


@tried_with(
    "name", ["Acme", "acme-alerts", "acme.alerts", "a", "1acme", "acme/x", "\u00e4cme", "a" * 41, "", "a b"]
)
def test_a_providers_name_must_fit_its_url_and_its_variable(name: str) -> None:
    key = json.dumps(name, ensure_ascii=False)
    [problem] = problems((START + MEANT + FOUND).replace("providers.acme", f"providers.{key}"))
    assert "gives its URL and its variable" in problem


def test_a_name_must_not_take_the_variable_of_29nexts_own_secret() -> None:
    [problem] = problems((START + MEANT + FOUND).replace("providers.acme", "providers.next_webhook"))
    assert "29next's own" in problem


def test_a_misspelt_built_in_provider_is_one_mistake_that_names_the_others() -> None:
    [problem] = problems('[providers.ethoka]\ndeadline = "20h"')
    assert problem.startswith("providers.ethoka: no built-in provider (")
    assert "ethoca" in problem


@pytest.mark.parametrize("key", ['format = "xml"', 'type = "chargeback"', 'items = "x"', 'title = "X"'])
def test_what_a_built_in_provider_is_cannot_be_changed(key: str) -> None:
    [problem] = problems(f"[providers.ethoca]\n{key}")
    assert problem.startswith(f"providers.ethoca.{key.partition(' ')[0]}: not for a built-in provider")


@tried_with(
    ("toml", "key", "expected"),
    [
        ('fields = { case_nr = "x" }', "fields.case_nr", "expected one of"),
        ('effects = { rdr = "refund" }', "effects.rdr", "one of open"),
        ('effects = { x = { effect = "open", like = "unheard-of" } }', "effects.x.like", "one of dispute"),
        ('effects = { x = { like = "rdr" } }', "effects.x.effect", "missing"),
        ('fields = { amount = { unit = "cents" } }', "fields.amount.unit", "one of decimal"),
        ('zone = "Eastern"', "zone", "expected a zone"),
        ('amount_unit = "cents"', "amount_unit", "one of decimal, minor"),
    ],
)
def test_a_mistake_in_a_built_in_providers_table_is_told_alike(toml: str, key: str, expected: str) -> None:
    [problem] = problems(f"[providers.verifi]\n{toml}")
    assert problem.startswith(f"providers.verifi.{key}: ")
    assert expected in problem


def test_a_secret_does_not_fit_its_proof_is_told_without_showing_it() -> None:
    [problem] = problems(START + MEANT + FOUND, ACME_SECRET="canary-without-a-colon")
    assert problem == "ACME_SECRET: must be user:password (proof: basic)"


def test_a_header_is_where_it_is_said() -> None:
    assert base64.b64encode(NORTHBANK.secret.encode()).decode() in NORTHBANK.headers["Authorization"]
    assert PAPERLESS.item().event_id == "P-9:77"
    assert PAPERLESS.provider.event_type == f"{HEADER}X-Event"
