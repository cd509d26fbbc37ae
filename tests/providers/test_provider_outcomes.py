"""How cases end, at every provider: a word that is listed ends its case, and any other fails visibly.

A new provider inherits the first part of these tests; the rest says what the providers' words mean.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bridge.alert import (
    ALERT_RESOLUTIONS,
    RESOLUTIONS,
    Alert,
    Category,
    DisputeType,
    Effect,
    Network,
    Reason,
    Webhook,
)
from bridge.disputes.events import opens
from bridge.errors import UnknownEvent
from bridge.providers import fields
from bridge.providers.base import Item, Provider, Reading
from bridge.providers.custom_fields import changed_field
from bridge.providers.fields import AlertSchema, Resolution
from bridge.providers.meanings import Meaning
from bridge.tree import Tree, pick
from tests.support.fixtures import (
    PROVIDERS,
    TRANSLATED,
    TRANSLATED_ANY,
    WITH_CONFIGURED,
    Case,
    case_of,
    changed,
    check,
    each_translated_of,
    placed,
    put,
)
from tests.support.trying import tried_with


def said(tree: Tree, path: str, place: str, value: Tree) -> Tree:
    """A tree in which only one alternative of a path says something."""
    for one in path.split("|"):
        tree = put(tree, one, None)
    return placed(tree, place, value)


def resolution(table: AlertSchema | None) -> Resolution | None:
    one = table.load_fields.get("resolution") if table else None
    return one if isinstance(one, Resolution) else None


any_ending = each_translated_of([row for row in TRANSLATED_ANY if resolution(row[2])])


def places(case: Case, table: AlertSchema) -> Iterator[str]:
    """The places of an outcome, but for those that also say what kind of event it is."""
    types = str(case.provider.event_type).split("|")
    for one in table.path("resolution").split("|"):
        if one not in types and one not in table.path("case_number").split("|"):
            yield one


def fails_visibly(case: Case, item: Item, tree: Tree, word: str) -> None:
    """Check that an outcome is not understood, and that the case is opened all the same."""
    before, reading = case.provider.translate(item), case.provider.translate(replace(item, tree=tree))
    assert reading.alert
    assert reading.effect not in (Effect.IGNORE, Effect.INFORM) or before.effect is Effect.WITHDRAW
    assert reading.alert.unknown_outcome
    assert word in reading.alert.unknown_outcome
    assert reading.alert.resolution is None
    assert not reading.alert.refunded_by_gateway
    facts = before.alert is not None and before.alert.carries_facts
    assert opens(reading.effect, reading.alert) == (reading.effect is Effect.OPEN or facts)
    check(reading)


@any_ending
def test_a_word_that_nobody_listed_fails_visibly_and_still_opens(
    case: Case, item: Item, table: AlertSchema
) -> None:
    one = resolution(table)
    assert one
    for place, word in itertools.product(places(case, table), ("Zz_Odd", "refunded?", "<b>won</b>")):
        if one.look_up(word)[0] or {"type", "subtype"} & told_by(table, place):
            continue
        fails_visibly(case, item, said(item.tree, table.path("resolution"), place, word), word)


def told_by(table: AlertSchema, place: str) -> set[str]:
    """The fields of ours that a place tells."""
    return {name for name in table.load_fields if place in table.path(name).split("|")}


WRONG: tuple[Tree, ...] = ({"a": "1"}, ["refunded"], True)


@any_ending
def test_an_outcome_that_cannot_be_read_fails_visibly_and_still_opens(
    case: Case, item: Item, table: AlertSchema
) -> None:
    for place, value in itertools.product(places(case, table), WRONG):
        tree = said(item.tree, table.path("resolution"), place, value)
        fails_visibly(case, item, tree, "The outcome cannot be read: Expected text or a number, not a")
        assert place in case.provider.translate(replace(item, tree=tree)).errors


def of_the_other_type(case: Case, item: Item) -> tuple[Provider, DisputeType]:
    """A provider whose tables are of the other type of dispute than this item is."""
    alert = case.provider.translate(item).alert
    assert alert
    other = next(kind for kind in DisputeType if kind is not alert.type)

    def turned(table: AlertSchema) -> AlertSchema:
        made = {name: changed_field(old, table.path(name), {}) for name, old in table.load_fields.items()}
        turned = type(table).from_dict({**made, "type": fields.Constant(other)})()
        assert isinstance(turned, AlertSchema)
        return turned

    events = {word: meaning.map(turned) for word, meaning in case.provider.events.items()}
    return replace(case.provider, events=events), other


@any_ending
def test_an_outcome_that_does_not_suit_the_type_fails_visibly_and_still_opens(
    case: Case, item: Item, table: AlertSchema
) -> None:
    provider, other = of_the_other_type(case, item)
    one = resolution(table)
    assert one
    for word, ours in (one.values or {}).items():
        if not isinstance(ours, str) or ours in (fields.REVIEW, fields.NOTE, fields.NOT_FINAL):
            continue
        place = next(places(case, table))
        tree = said(item.tree, table.path("resolution"), place, example(word))
        reading = provider.translate(replace(item, tree=tree))
        assert reading.alert
        if reading.effect is Effect.WITHDRAW:
            continue
        assert reading.alert.unknown_outcome, word
        assert reading.alert.unknown_outcome.endswith(f"does not suit a dispute of type {other}.")
        assert reading.alert.resolution is None
        facts = reading.alert.carries_facts
        assert opens(reading.effect, reading.alert) == (reading.effect is Effect.OPEN or facts)


def example(word: str) -> str:
    """A word that a pattern of a table stands for."""
    return re.sub(r"\[(.)[^]]*\]", r"\1", word).replace("*", "zz" if word == "*" else "")


def tables(provider: Provider) -> Iterator[tuple[str, Meaning, AlertSchema]]:
    for word, meaning in provider.events.items():
        yield from ((word, meaning, table) for table in meaning.tables())


TELLING = {
    name: one for name, one in WITH_CONFIGURED.items() if any(resolution(row[2]) for row in tables(one))
}


@pytest.mark.parametrize("provider", TELLING.values(), ids=TELLING)
def test_every_listed_word_is_one_of_29nexts_for_its_type_or_is_not_final(provider: Provider) -> None:
    for event, _, table in tables(provider):
        one = resolution(table)
        for word, ours in ((one.values or {}) if one else {}).items():
            for place in table.path("resolution").split("|"):
                tree: Tree = placed({}, table.path("case_number").partition("|")[0], "7")
                tree = said(tree, table.path("resolution"), place, example(word))
                if place in table.path("case_number"):
                    continue
                alert, _errors = table.translate(tree)
                assert alert.unknown_outcome is None, (event, word, alert.unknown_outcome)
                final = alert.resolution in RESOLUTIONS[alert.type]
                loose = alert.resolution is None and ours in (
                    *(None, fields.REVIEW, fields.NOTE, fields.NOT_FINAL),
                )
                by_type = isinstance(ours, dict) and alert.resolution in (ours.get(alert.type), None)
                assert final or loose or by_type, (event, word)
                assert (alert.review is not None) == (ours == fields.REVIEW), (event, word)
                assert (alert.note is not None) == (ours == fields.NOTE), (event, word)
                assert alert.resolution != "other" or alert.message, (event, word)


def test_an_event_that_tells_an_outcome_never_ends_in_silence() -> None:
    silent = {
        f"{name} {event}": table.load_fields.get("resolution") or table.load_fields.get("review")
        for name, provider in PROVIDERS.items()
        for event, meaning, table in tables(provider)
        if meaning.effect is Effect.RESOLVE and resolution(table) is None
    }
    assert "midigator chargeback.dnf" in silent
    for event, fixed in silent.items():
        assert isinstance(fixed, fields.Constant), event


def results() -> list[tuple[Case, Item, AlertSchema]]:
    """The webhooks that tell how a chargeback ended."""
    alerts = [(row, row[0].provider.translate(row[1]).alert) for row in TRANSLATED]
    return [row for row, one in alerts if one and one.type is DisputeType.CHARGEBACK and one.resolution]


@each_translated_of(results())
def test_a_later_result_can_be_told_from_an_earlier_one(case: Case, item: Item, table: AlertSchema) -> None:
    assert "event_at" in table.load_fields
    alert = case.provider.translate(item).alert
    assert alert
    assert alert.event_at or case.provider.name == "solidgate"  # whose first version says it in a header


# --- what the words mean --------------------------------------------------------------------------

REVIEWED, NOTED, UNKNOWN = "-> review", "-> note", "-> unknown"

ACROSS: dict[str, dict[Any, str | None]] = {
    "chargeblast/alert_updated_final reasonCode": {
        "Resolved": "issued_full_refund",
        "ResolvedPartial": "issued_refund_for_remaining_amount",
        "AlreadyRefunded": "previously_refunded_nothing_to_do",
        **dict.fromkeys(
            ("ResolvedCancelled", "AccountCancelled", "CancellationProcessed"),
            "declined_or_canceled_nothing_to_do",
        ),
        **dict.fromkeys(("UnmatchedCannotFindTransaction", "UnmatchedGeneral"), "could_not_find_order"),
        "TDS": "3ds_authorized_successfully",
        "MIDLost": "unable_to_refund_merchant_account_closed",
        **dict.fromkeys(
            (
                *("Ineligible", "Duplicate", "AlreadyChargeback", "EscalateChargeback", "NotMyDescriptor"),
                *("CannotCancel", "MatchedWillShip", "Error"),
            ),
            "other",
        ),
        **dict.fromkeys(("WIP", "Unactioned", "None", "ContactedShipper", "", None)),
        "SomethingNew": UNKNOWN,
    },
    "chargeblast/alert_refunded_before_it_was_created reasonCode": {
        **dict.fromkeys(("Resolved", "WIP", "Unactioned", "None", None), "issued_full_refund"),
        "ResolvedPartial": "issued_refund_for_remaining_amount",
        "AlreadyRefunded": "previously_refunded_nothing_to_do",
        **dict.fromkeys(("Ineligible", "CannotCancel", "UnmatchedGeneral", "MIDLost"), REVIEWED),
        "SomethingNew": UNKNOWN,
    },
    "payshield/statusupdate_declined reason_code": {
        **dict.fromkeys(("100.001", "100", "103.001"), "issued_full_refund"),
        "101.001": "issued_refund_for_remaining_amount",
        "951.001": "previously_refunded_nothing_to_do",
        **dict.fromkeys(("102.003", "951.003", "100.003"), "declined_or_canceled_nothing_to_do"),
        "902.002": "could_not_find_order",
        "954.002": "3ds_authorized_successfully",
        "950.002": "unable_to_refund_merchant_account_closed",
        **dict.fromkeys(
            (
                *(
                    "900.002",
                    "901.002",
                    "910",
                    "940.001",
                    "952.001",
                    "953.002",
                    "954.001",
                    "956.003",
                    "957.002",
                ),
                *("102.001", "951.002", "103.002"),  # a suffix that nobody knows still ends the alert
            ),
            "other",
        ),
        **dict.fromkeys(("998.001", "999", "999.002")),
        **dict.fromkeys(
            ("777", "1000", "100,001", "9020", "9991"), UNKNOWN
        ),  # no code, though it begins as one
    },
    "payshield/statusupdate_declined status reason_code": {
        "WIP": None,
        **dict.fromkeys(("OTHER", "DUPLICATE", "CB_PROCEEDED"), "other"),
        **dict.fromkeys(("RESOLVED", "DECLINED", "NEWER"), UNKNOWN),  # does not say how
    },
    "solidgate/v2_received_and_reversed data.prevention_alert.outcome": {
        "REVERSED": "issued_full_refund",
        **dict.fromkeys(("PREVIOUSLY_REVERSED", "previously-reversed"), "previously_refunded_nothing_to_do"),
        "DECLINE": "declined_or_canceled_nothing_to_do",
        **dict.fromkeys(("NOT_FOUND", "not-found"), "could_not_find_order"),
        **dict.fromkeys(("DUPLICATE", "ERROR", "SHIPPED"), "other"),
        **dict.fromkeys(("REVERSE_ERROR", "reverse-error"), REVIEWED),
        **dict.fromkeys(("PENDING", "ACKNOWLEDGED")),
        "SOMETHING_NEW": UNKNOWN,
    },
    "solidgate/v1_chargeback chargeback.status": {
        "reversed": "won",
        "accepted": "accepted",
        **dict.fromkeys(("in_progress", "document_sent")),
        **dict.fromkeys(("resolved", "resolved_reversal"), REVIEWED),
        "something_new": UNKNOWN,
    },
    "trusto/alert_resolved_refunded payload.status": {
        "REFUNDED": "issued_full_refund",
        "NOT_FOUND": "could_not_find_order",
        **dict.fromkeys(
            ("RESOLVED", "CHARGEBACK", "OTHER", "EXPIRED", "PARTIALLY_REFUNDED", "DECLINED"), "other"
        ),
        **dict.fromkeys(("NEW", "OPEN", "PROCESSING")),
        "SOMETHING_NEW": UNKNOWN,
    },
    "stripe/dispute_closed_won data.object.status": {
        "won": "won",
        "lost": "lost",
        **dict.fromkeys(("needs_response", "under_review")),
        "warning_closed": "other",
        **dict.fromkeys(("warning_needs_response", "warning_under_review")),
        "charge_refunded": UNKNOWN,
        "warning_something_new": UNKNOWN,
    },
    "stripe/dispute_prevented_by_a_refund data.object.payment_method_details.card.case_type": {
        "resolution": "issued_full_refund",
        "block": "other",
        **dict.fromkeys(("chargeback", "something_new", None), UNKNOWN),
    },
    "midigator/chargeback_result_won result": {
        **dict.fromkeys(("won", "win", "Win"), "won"),
        **dict.fromkeys(("lost", "loss"), "lost"),
        **dict.fromkeys(("pre_arbitration", "pre-arb", "pending")),
        **dict.fromkeys(("something_new", None), UNKNOWN),
    },
    "chargebackstop/alert_updated_refunded data.object.transaction_refund_outcome": {
        "REFUNDED": "issued_full_refund",
        "PARTIALLY_REFUNDED": "other",
        "REFUND_FAILED": REVIEWED,
        "NOT_REFUNDED": None,
        "SOMETHING_NEW": UNKNOWN,
    },
    "chargeflow/alerts_updated_refunded data.outcome": {
        **dict.fromkeys(("refunded", "prevented"), "issued_full_refund"),
        "previously_refunded": "previously_refunded_nothing_to_do",
        **dict.fromkeys(("transaction_not_found", "not_found"), "could_not_find_order"),
        **dict.fromkeys(("duplicate", "decline", "chargebacked"), "other"),
        "error": REVIEWED,
        **dict.fromkeys(("pending", "acknowledged", None)),
        "something_new": UNKNOWN,
    },
    "justt/chargeback_status_updated data.pspStatus": {
        "won": "won",
        "lost": "lost",
        **dict.fromkeys(
            (
                *("needs_response", "under_review", "evidence_not_submitted_by_psp", "split"),
                *("not_applicable", "unknown"),
            )
        ),
        "something_new": UNKNOWN,
    },
    "checkout/dispute_resolved data.resolved_reason": {
        **dict.fromkeys(("rapid_dispute_resolution", "already_refunded", "negative_amount", None), NOTED),
        "something_new": UNKNOWN,
    },
    "adyen/chargeback_reversed NotificationRequestItem.additionalData.disputeStatus": {
        **dict.fromkeys(("Won", None), "won"),
        "Pending": None,
        **dict.fromkeys(("Lost", "Undefended"), UNKNOWN),
    },
    "adyen/chargeback_accepted NotificationRequestItem.additionalData.disputeStatus": {
        "Lost": "lost",
        "Accepted": "accepted",
        **dict.fromkeys(("Undefended", "Pending", None)),
        "SomethingNew": UNKNOWN,
    },
    "adyen/dispute_defense_period_ended NotificationRequestItem.additionalData.disputeStatus": {
        "Accepted": "accepted",
        **dict.fromkeys(
            ("Lost", "Undefended", "Pending", "Responded", "Unresponded", "Expired", None), "lost"
        ),
        "SomethingNew": UNKNOWN,
    },
    "adyen/prearbitration_issuer_withdrawn NotificationRequestItem.additionalData.disputeStatus": {
        "Won": "won",
        **dict.fromkeys(("Pending", None)),
        "SomethingNew": UNKNOWN,
    },
    "adyen/prearbitration_accepted NotificationRequestItem.additionalData.disputeStatus": {
        "Lost": "lost",
        **dict.fromkeys(("Pending", None)),
    },
}
"""What providers' words for an outcome are at 29next: a fixture, where the word stands, and what is blank."""


def outcome_of(reading: Reading) -> str | None:
    """What an outcome came to."""
    alert = reading.alert
    if alert is None:
        return None
    if alert.unknown_outcome:
        return UNKNOWN
    return REVIEWED if alert.review else NOTED if alert.note else alert.resolution


@tried_with(
    ("where", "word", "ours"),
    [(where, word, ours) for where, words in ACROSS.items() for word, ours in words.items()],
)
def test_a_providers_outcome_is_the_resolution_that_it_means(
    where: str, word: str | None, ours: str | None
) -> None:
    name, path, *blank = where.split()
    case = case_of(name)
    (item,) = case.items()
    for one in blank:
        item = changed(item, one, None)

    reading = with_value(case, item, path, word)

    assert outcome_of(reading) == ours
    assert reading.alert
    assert reading.effect is not Effect.IGNORE or (ours is None and not reading.alert.carries_facts)
    if ours == "other":
        assert reading.alert.message == word


def with_value(case: Case, item: Item, path: str, value: Tree) -> Reading:
    """What an item says with another value somewhere, which may be what tells its kind."""
    (again,) = case.provider.read(case.webhook(), tree=changed(item, path, value).tree)
    return case.provider.translate(again)


def test_every_alert_resolution_of_29next_can_be_told_by_some_provider() -> None:
    assert {ours for words in ACROSS.values() for ours in words.values()} >= set(ALERT_RESOLUTIONS)


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed"])
def test_an_inquiry_of_stripe_is_an_alert_and_anything_else_a_chargeback(status: str) -> None:
    case = case_of("stripe/dispute_created")
    (item,) = case.items()

    def kind(word: Tree) -> DisputeType:
        return with_value(case, item, "data.object.status", word).alert.type  # type: ignore[union-attr]

    assert kind(status) is DisputeType.ALERT
    for word in ("under_review", "something_new", None, "N/A", {"a": 1}, True):
        assert kind(word) is DisputeType.CHARGEBACK


@tried_with("event", ["charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"])
@tried_with("case_type", ["resolution", "block", "something_new"])
def test_a_prevented_dispute_of_stripe_is_an_alert_whatever_tells_of_it(event: str, case_type: str) -> None:
    case = case_of("stripe/dispute_prevented_by_a_refund")
    tree = put(put(case.tree, "type", event), "data.object.payment_method_details.card.case_type", case_type)
    (item,) = case.provider.read(case.webhook(case.encode(tree)))
    alert = case.provider.translate(item).alert
    assert alert
    assert alert.type is DisputeType.ALERT
    assert alert.refunded_by_gateway == (case_type == "resolution")
    wanted = {"resolution": "issued_full_refund", "block": "other"}.get(case_type)
    assert alert.resolution == wanted


# --- RDR ------------------------------------------------------------------------------------------

STATUS = "data.object.status"
ACCEPTED, OPEN, UNLISTED = ("issued_full_refund", True), (None, False), (UNKNOWN, False)

RDR: dict[str, dict[Any, tuple[str | None, bool]]] = {
    "chargeblast/alert_updated_rdr_declined acquirerAction,responseAction,reasonCode": {
        ("Declined", "Declined", "None"): OPEN,
        ("Declined", None, "Resolved"): OPEN,
        (None, "Declined", "Resolved"): OPEN,
        (None, "Declined", "WIP"): OPEN,
        (None, None, "Ineligible"): OPEN,
        ("Resolved", None, "None"): ACCEPTED,
        (None, "Accepted", "WIP"): ACCEPTED,
        ("Resolved", "Declined", None): OPEN,  # a word that says declined counts, wherever it stands
        (None, "Accepted", "Ineligible"): OPEN,
        (None, None, "Resolved"): ACCEPTED,
        (None, "RequiresResponse", "WIP"): OPEN,
        (None, None, "WIP"): OPEN,
        (None, None, None): OPEN,
        (None, None, "AlreadyRefunded"): ("previously_refunded_nothing_to_do", False),
        (None, None, "EscalateChargeback"): OPEN,
        (None, None, "MIDLost"): OPEN,
        ("Resolved", None, "UnmatchedGeneral"): ACCEPTED,
        ("Resolved", None, "EscalateChargeback"): OPEN,
        ("something_new", None, None): UNLISTED,
    },
    "chargeblast/alert_updated_final subprovider,alertType,acquirerAction,reasonCode": {
        **{
            (network, kind, said, None): ended
            for network in ("Verifi", "CDRN", "Ethoca", "Visa", "N/A", None)
            for kind in ("RDR", "DISPUTE_RDR", "dispute-rdr")
            for said, ended in (("Resolved", ACCEPTED), ("Declined", OPEN), (None, OPEN))
        },
        ("RDR", "N/A", "Resolved", "None"): ACCEPTED,
        ("Verifi", "DISPUTE", "Resolved", None): OPEN,  # no RDR case
    },
    "chargeblast/alert_refunded_rdr acquirerAction,responseAction,reasonCode": {
        (None, None, None): ACCEPTED,
        (None, None, "WIP"): ACCEPTED,
        (None, None, "Resolved"): ACCEPTED,
        ("Resolved", "Accepted", "WIP"): ACCEPTED,
        ("Declined", None, "Resolved"): OPEN,
        (None, "Declined", None): OPEN,
        (None, None, "Ineligible"): OPEN,
        ("Resolved", None, "AlreadyChargeback"): OPEN,
        (None, None, "AlreadyRefunded"): ("previously_refunded_nothing_to_do", False),
        (None, None, "ResolvedPartial"): ("issued_refund_for_remaining_amount", False),
        ("something_new", None, None): UNLISTED,
    },
    "midigator/rdr_new_accepted rdr_resolution": {
        ("Accepted",): ACCEPTED,
        ("accepted",): ACCEPTED,
        ("Declined",): OPEN,
        ("Ineligible",): OPEN,
        ("Not Accepted",): OPEN,
        (None,): OPEN,
        ("something_new",): UNLISTED,
    },
    "verifi/rdr_accepted rdrResolution,caseStatus": {
        ("ACCEPTED", None): ACCEPTED,
        ("Approved", "OPEN"): ACCEPTED,
        ("DECLINED", None): OPEN,
        ("DECLINED", "RESOLVED"): OPEN,
        ("ACCEPTED", "DECLINED"): OPEN,
        ("INELIGIBLE", None): OPEN,
        (None, None): OPEN,
        (None, "CLOSED"): OPEN,
        (None, "RESOLVED"): ACCEPTED,
        ("something_new", None): UNLISTED,
    },
    "verifi/rdr_accepted eventType,caseType,rdrResolution": {
        ("DISPUTE", "RDR", "ACCEPTED"): ACCEPTED,
        ("N/A", "DISPUTE_RDR", "refused"): OPEN,
        ("DISPUTE", "CDRN", "ACCEPTED"): OPEN,  # no RDR case
    },
    "kount/rdr_declined status,decision": {
        (None, None): ACCEPTED,
        ("Accepted", None): ACCEPTED,
        ("DECLINED", None): OPEN,
        (None, "auto-declined"): OPEN,
        ("Ineligible", None): OPEN,
        ("Not Accepted", None): OPEN,
        ("Accepted", "cancelled"): OPEN,
        ("Pending", None): UNLISTED,
        ("Accepted", "something_new"): ACCEPTED,
        ("something_new", "Accepted"): UNLISTED,
    },
    "payshield/dispute_rdr_declined status,alert_action": {
        (None, "REFUND"): ACCEPTED,
        (None, "RESOLVED"): ACCEPTED,
        (None, None): ACCEPTED,
        ("DECLINED", "REFUND"): OPEN,
        (None, "Declined"): OPEN,
        ("CB_PROCEEDED", None): OPEN,
        ("CB_PROCEEDED", "RESOLVED"): OPEN,
        ("WIP", None): OPEN,
        (None, "REVIEW"): OPEN,
        (None, "CANCEL"): OPEN,
        ("something_new", None): UNLISTED,
    },
    "payshield/dispute_rdr action,status,reason_code": {
        ("StatusUpdate", "RESOLVED", None): ACCEPTED,
        ("StatusUpdate", None, "100.001"): ACCEPTED,
        ("statusupdate", "RESOLVED", "957.002"): OPEN,
        ("statusupdate", "RESOLVED", "902.001"): OPEN,
        ("statusupdate", "DECLINED", None): OPEN,
        ("StatusUpdate", "CB_PROCEEDED", None): OPEN,
        ("StatusUpdate", "WIP", None): OPEN,
        ("StatusUpdate", None, "951.001"): ("previously_refunded_nothing_to_do", False),
        ("new_alert", None, None): ACCEPTED,
    },
    "justt/alert_transaction_matched data.provider,data.status": {
        ("VERIFI_RDR", None): ACCEPTED,
        ("VERIFI_RDR", "declined"): OPEN,
        ("Ethoca", None): OPEN,
    },
    "justt/alert_received_rdr data.provider,data.alertType,data.status": {
        ("RDR", "dispute_rdr", None): ACCEPTED,
        ("Verifi RDR", None, None): ACCEPTED,
        ("verifi", "dispute_rdr", None): ACCEPTED,
        ("RDR", "dispute_rdr", "declined"): OPEN,
        ("RDR", "dispute_rdr", "Rejected"): OPEN,
        ("RDR", "N/A", "not eligible"): OPEN,
        ("Verifi", "RDR", "Accepted"): ACCEPTED,
        ("RDR", "dispute_rdr", "Pending"): UNLISTED,
        ("Ethoca", "issuer_alert", None): OPEN,
        ("Verifi CDRN", None, None): OPEN,
    },
    "chargeflow/alerts_created_rdr data.outcome": {
        (None,): ACCEPTED,
        ("pending",): ACCEPTED,
        ("refunded",): ACCEPTED,
        ("decline",): OPEN,
        ("not_found",): OPEN,
        ("previously_refunded",): ("previously_refunded_nothing_to_do", False),
        ("refused",): OPEN,
        ("something_new",): UNLISTED,
    },
    "solidgate/v2_rdr_accepted data.prevention_alert.provider,data.prevention_alert.outcome": {
        ("VERIFI", "REVERSED"): ACCEPTED,
        ("VERIFI", "PREVIOUSLY_REVERSED"): ("previously_refunded_nothing_to_do", False),
        ("VERIFI", "PENDING"): OPEN,
        ("VERIFI", "DECLINE"): OPEN,
        ("VERIFI", "NOT_FOUND"): OPEN,
        ("Verifi", "not-found"): OPEN,
        ("VERIFI", "ERROR"): OPEN,
        ("VERIFI", "DUPLICATE"): OPEN,
        ("VERIFI", None): OPEN,
        ("VERIFI", "something_new"): UNLISTED,
        ("ETHOCA", "REVERSED"): ("issued_full_refund", False),
        ("ETHOCA", "DECLINE"): ("declined_or_canceled_nothing_to_do", False),
    },
    "trusto/alert_created_rdr_refunded payload.type,payload.status": {
        ("VERIFI_RDR", "REFUNDED"): ACCEPTED,
        ("VERIFI_RDR", "DECLINED"): OPEN,
        ("VERIFI_RDR", "NEW"): OPEN,
        ("VERIFI_RDR", "CHARGEBACK"): OPEN,
        ("VERIFI_RDR", "EXPIRED"): OPEN,
        ("VERIFI_RDR", "NOT_FOUND"): OPEN,
        ("VERIFI_RDR", None): OPEN,
        ("VERIFI_RDR", "something_new"): UNLISTED,
        ("VERIFI_RDR", "PARTIALLY_REFUNDED"): ("other", False),
        ("ETHOCA_CUSTOMER_DISPUTE", "REFUNDED"): ("issued_full_refund", False),
    },
    f"chargebackstop/alert_created_rdr_is_resolved {STATUS},data.object.transaction_refund_outcome": {
        ("RESOLVED", None): ACCEPTED,
        ("RESOLVED", "NOT_REFUNDED"): ACCEPTED,
        ("RESOLVED", "REFUNDED"): ("issued_full_refund", False),
        ("RESOLVED", "PARTIALLY_REFUNDED"): ("other", False),
        ("ACTION_REQUIRED", None): OPEN,
    },
}
"""RDR cases by the words beside them: how they end, and whether the gateway has refunded them."""


@tried_with(
    ("where", "words", "expected"),
    [(where, words, expected) for where, rows in RDR.items() for words, expected in rows.items()],
)
def test_rdr_is_accepted_only_by_what_says_so(
    where: str, words: tuple[str | None, ...], expected: tuple[str | None, bool]
) -> None:
    name, paths = where.split()
    case = case_of(name)
    (item,) = case.items()
    tree = item.tree
    for path, word in zip(paths.split(","), words, strict=True):
        tree = said(tree, path, path, word)

    (again,) = case.provider.read(case.webhook(), tree=tree)
    reading = case.provider.translate(again)

    alert = reading.alert
    assert alert
    told = UNKNOWN if alert.unknown_outcome else alert.resolution
    assert (told, alert.refunded_by_gateway) == expected
    assert opens(reading.effect, alert)


def test_every_provider_that_knows_rdr_was_tried() -> None:
    knows = {
        name
        for name, provider in PROVIDERS.items()
        for _, _, table in tables(provider)
        if "refunded_by_gateway" in table.load_fields and name != "stripe"
    }
    assert knows == {where.partition("/")[0] for where in RDR}


@tried_with(
    ("name", "network"),
    [
        ("chargeblast/alert_updated_rdr_declined", Network.RDR),
        ("midigator/rdr_new_declined", Network.RDR),
        ("midigator/prevention_new_of_verifi", Network.CDRN),
        ("verifi/rdr_accepted", Network.RDR),
        ("verifi/cancel_as_xml", Network.CDRN),
        ("kount/rdr_declined", Network.RDR),
        ("justt/alert_received", Network.CDRN),
        ("chargeflow/flat_rdr", Network.RDR),
        ("solidgate/v2_rdr_accepted", Network.RDR),
        ("trusto/alert_created_rdr_refunded", Network.RDR),
        ("trusto/alert_created", Network.ETHOCA),
        ("stripe/dispute_prevented_by_a_refund", Network.RDR),
        ("stripe/dispute_created", Network.OTHER),
        ("ethoca/issuer_alert", Network.ETHOCA),
    ],
)
def test_the_network_is_the_programme_whoever_relays_it(name: str, network: Network) -> None:
    case = case_of(name)
    alert = case.provider.translate(case.items()[0]).alert
    assert alert
    assert alert.network is network


# --- events ---------------------------------------------------------------------------------------


def event(provider: str, word: str, **body: str) -> Reading:
    """What a body says that has little more than its type of event."""
    known = PROVIDERS[provider]
    path = str(known.event_type).partition("|")[0]
    tree, headers = {"zz": "1", **body}, {}
    if path.startswith("header:"):
        headers[path.removeprefix("header:").lower()] = word
    else:
        tree = said(tree, path, path, word)
    (item,) = known.read(Webhook(provider, "/", b'{"x": 1}', headers), tree=tree)
    return known.translate(item)


IGNORED = {
    "adyen": (
        "EXPIRE",
        "AUTHORISATION",
        "REFUND_WITH_DATA",
        "OFFER_CLOSED",
        "REPORT_AVAILABLE",
        "ANY_NEW_ONE",
    ),
    "stripe": ("payment_intent.succeeded", "charge.refunded", "issuing_dispute.created", "review.opened"),
    "solidgate": ("card_gate.order.updated", "subscription.updated.v2", "taxer.tax.calculated", "ANY_NEW"),
    "midigator": ("order.refund", "order.anything"),
    "checkout": ("payment_captured", "issuing_dispute_closed", "authentication_failed"),
    "nmi": ("transaction.sale.success", "settlement.batch.complete", "acu.summary.closedaccount"),
    "justt": ("subscription.cancel_immediately.success", "subscription.anything"),
}
UNKNOWN_EVENTS = {
    "adyen": (
        "CHARGEBACK_ANY_NEW",
        "NEW_DISPUTE",
        "THIRD_ARBITRATION",
        "NOTIFICATION_OF_DEFENCE",
        "ISSUER_RESPONSE_X",
    ),
    "stripe": ("charge.dispute.escalated", "radar.early_fraud_warning.closed", "v1.charge.dispute.created"),
    "solidgate": ("CHARGEBACK_RECEIVED", "card_gate.dispute.received", "FRAUD_ALERT_UPDATED"),
    "midigator": ("chargeback.reopened", "prevention.closed", "rdr.reversed"),
    "checkout": ("dispute_reopened", "dispute_anything"),
    "nmi": ("chargeback.batch.failure",),
    "justt": ("chargeback.reopened", "pre_chargeback_alert.expired"),
    "chargeblast": ("alert.expired",),
    "chargeflow": ("dispute.created", "alerts.deleted"),
    "kount": ("RDR_CANCELED",),
    "chargebackstop": ("alert.deleted",),
}
INFORMING = {
    "adyen": ("REQUEST_FOR_INFORMATION", "INFORMATION_SUPPLIED", "NOTIFICATION_OF_FRAUD", "ISSUER_COMMENTS"),
    "midigator": (
        "order_validation.new",
        "order_validation.match",
        "chargeback.responded",
        "chargeback.error",
    ),
    "kount": ("ORDER_INQUIRY", "FRAUD_NOTICE"),
    "verifi": ("ORDER_INQUIRY", "ORDER_INSIGHT"),
    "solidgate": ("FRAUD_ALERT_RECEIVED",),
    "checkout": (
        "request_for_information_received",
        "request_for_information_updated",
        "fraud_reported",
        "dispute_evidence_submitted",
    ),
    "stripe": ("radar.early_fraud_warning.created",),
    "chargeblast": ("alert.will_expire",),
    "chargebackstop": ("scheme_notice.created",),
}


def rows(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(name, word) for name, words in table.items() for word in words]


@tried_with(("provider", "word"), rows(IGNORED))
def test_what_is_not_about_disputes_is_ignored(provider: str, word: str) -> None:
    reading = event(provider, word)
    assert (reading.effect, reading.reason) == (Effect.IGNORE, Reason.IGNORE)


@tried_with(("provider", "word"), rows(UNKNOWN_EVENTS))
def test_what_looks_like_a_dispute_and_is_not_known_waits_for_a_person(provider: str, word: str) -> None:
    with pytest.raises(UnknownEvent, match=re.escape(word)):
        event(provider, word)


@tried_with(("provider", "word"), rows(INFORMING))
def test_what_only_informs_is_shown(provider: str, word: str) -> None:
    reading = event(provider, word)
    assert (reading.effect, reading.reason) == (Effect.INFORM, Reason.INFORM)


QUESTIONS = (
    *(
        "Order Insight",
        "order-insight",
        "ORDER_INSIGHT",
        "order inquiry",
        "Order-Inquiry",
        "Order Validation",
    ),
    *("order_validation", "INQUIRY", "request for information", "Verifi Order Insight"),
    *("Retrieval", "retrieval_request"),
)
REPORTS = ("TC40", "tc40", "SAFE", "TC15")
KIND_IN = {
    "chargeblast/alert_created": ("subprovider", "alertType"),
    "chargeblast/alert_updated_final": ("alertType", "subprovider"),
    "chargeblast/alert_matched": ("alertType", "subprovider"),
    "chargeblast/alert_refunded_before_it_was_created": ("alertType", "subprovider"),
    "chargeflow/alerts_created": ("data.type",),
    "ethoca/issuer_alert": ("type", "alertType"),
    "justt/alert_received": ("data.alertType", "data.provider", "data.providerName"),
    "kount/dispute": ("eventType",),
    "midigator/prevention_new": ("prevention_type",),
    "payshield/dispute": ("alert_type",),
    "solidgate/v1_received": ("alert.alert_type", "alert.type"),
    "solidgate/v1_chargeback": ("chargeback.type",),
    "solidgate/v2_received_and_reversed": ("data.prevention_alert.alert_type",),
    "trusto/alert_created": ("payload.type",),
    "verifi/dispute_as_flat_json": ("eventType", "caseType", "type"),
    "checkout/dispute_received": ("type",),
    "adyen/chargeback_accepted": ("NotificationRequestItem.eventCode",),
}
"""Alerts by where they say what kind of case they are of."""


wherever_its_kind_stands = tried_with(
    ("name", "path"), [(name, path) for name, paths in KIND_IN.items() for path in paths], str
)


def readings_of_kind(name: str, path: str, word: str) -> list[Reading]:
    """What an alert means once a word for the kind of case stands at a path."""
    case = case_of(name)
    return [
        case.provider.translate(again)
        for item in case.items()
        for again in case.provider.read(case.webhook(), tree=placed(item.tree, path, word))
    ]


@tried_with("word", QUESTIONS)
@wherever_its_kind_stands
def test_an_issuer_s_question_informs_however_it_is_spelled_and_wherever_it_stands(
    name: str, path: str, word: str
) -> None:
    for reading in readings_of_kind(name, path, word):
        assert (reading.effect, reading.reason) == (Effect.INFORM, Reason.INFORM)


@tried_with(
    "word", [*REPORTS, "tc-40", "TC 40", "Visa TC40", "TC40_REPORT", "tc_15", "Safe", "Mastercard SAFE"]
)
@wherever_its_kind_stands
def test_a_report_informs_however_it_is_spelled_and_whoever_relays_it(
    name: str, path: str, word: str
) -> None:
    for reading in readings_of_kind(name, path, word):
        assert (reading.effect, reading.reason) == (Effect.INFORM, Reason.INFORM)


@tried_with("network", ["Verifi", "CDRN", "Ethoca", "Visa", "N/A", None])
@tried_with("word", [*REPORTS, "ORDER_INQUIRY"])
@tried_with("name", [name for name in KIND_IN if name.startswith("chargeblast")])
def test_a_report_is_one_by_either_field(name: str, word: str, network: str | None) -> None:
    case = case_of(name)
    (item,) = case.items()
    for one, other in (("alertType", "subprovider"), ("subprovider", "alertType")):
        tree = placed(placed(item.tree, one, word), other, network)
        (again,) = case.provider.read(case.webhook(), tree=tree)
        assert case.provider.translate(again).effect is Effect.INFORM


TWO_PLACES = {
    "ethoca/issuer_alert": ("type", "alertType"),
    "verifi/dispute_as_nested_json": ("eventType", "caseType"),
    "solidgate/v1_received": ("alert.alert_type", "alert.type"),
    "chargeblast/alert_created_rdr_undecided": ("subprovider", "alertType"),
    "justt/alert_received": ("type", "event"),
}
"""Alerts by the two places of their type, or of their kind of case."""


def of_any_kind(alert: Alert | None) -> Alert | None:
    """An alert without its kind and network, whose words count wherever they stand."""
    return alert and replace(alert, subtype=None, category=Category.UNKNOWN, network=Network.OTHER)


@tried_with("nothing", ["N/A", "n/a", "none", "null", "", "-", "unknown"])
@tried_with("name", TWO_PLACES)
def test_a_placeholder_of_a_type_is_skipped_for_the_next_place(name: str, nothing: str) -> None:
    first, second = TWO_PLACES[name]
    case = case_of(name)
    (item,) = case.items()
    own = next((found for one in (first, second) if (found := pick(item.tree, one))), "inquiry")
    for word in (own, "Order Insight"):  # the second is in no provider's list
        (again,) = case.provider.read(
            case.webhook(), tree=placed(placed(item.tree, first, nothing), second, word)
        )
        (before,) = case.provider.read(case.webhook(), tree=placed(item.tree, first, word))
        assert (again.event_type, again.subtype) == (before.event_type, before.subtype)
        read, wanted = case.provider.translate(again), case.provider.translate(before)
        assert read.effect is wanted.effect
        assert of_any_kind(read.alert) == of_any_kind(wanted.alert)
        assert case.provider.deadline_of(again) == case.provider.deadline_of(before)


@pytest.mark.parametrize("body", [{"alert_type": "DISPUTE_RDR"}, {"alert_type": "dispute"}, {}])
def test_a_status_update_is_one_whatever_alert_it_is_of(body: dict[str, str]) -> None:
    told = event("payshield", "StatusUpdate", **body, status="RDR_DELETE", alert_id="7")
    assert told.effect is Effect.WITHDRAW
    assert told.alert
    assert not told.alert.refunded_by_gateway
    assert event("payshield", "StatusUpdate", **body, status="WIP", alert_id="7").effect is Effect.IGNORE


def test_an_rdr_case_that_is_deleted_is_withdrawn_in_whatever_event() -> None:
    case = case_of("payshield/dispute_rdr")
    (item,) = case.items()
    (again,) = case.provider.read(case.webhook(), tree=placed(item.tree, "status", "rdr-delete"))
    reading = case.provider.translate(again)
    assert reading.alert
    assert (reading.effect, reading.alert.resolution) == (Effect.WITHDRAW, None)


def test_an_event_type_is_known_however_it_is_spelled() -> None:
    assert event("payshield", "Confirmed-Fraud", alert_id="7").effect is Effect.OPEN
    assert event("kount", "ethoca-fraud", requestID="7").effect is Effect.OPEN


def test_a_result_of_adyen_without_its_payment_opens_no_second_dispute() -> None:
    case = case_of("adyen/chargeback_reversed_without_its_payment")
    (item,) = case.items()
    reading = case.provider.translate(item)
    assert reading.alert
    assert reading.alert.resolution == "won"
    assert not opens(reading.effect, reading.alert)


def test_no_vague_word_of_29next_becomes_a_decline_of_a_providers() -> None:
    """Only a provider whose words are 29next's own is told `other`."""
    for name, provider in PROVIDERS.items():
        for table in provider.outcome.table.values() if provider.outcome else ():
            assert table.get("other") in (None, "other"), name
            if "other" in table:
                assert table == {word: word for word in ALERT_RESOLUTIONS}, name


def test_the_remaining_amount_is_told_to_chargeblast_by_the_word_that_stops_the_issuer() -> None:
    outcome = PROVIDERS["chargeblast"].outcome
    assert outcome
    for table in outcome.table.values():
        assert table["issued_refund_for_remaining_amount"] == table["issued_full_refund"] == "Resolved"
    told = replace(outcome, on=True).equals("issued_full_refund")
    assert told == ("issued_refund_for_remaining_amount",)
    assert outcome.equals("issued_full_refund") == ()  # it was told nothing


def test_the_echo_of_what_a_provider_was_told_is_no_contradiction() -> None:
    case = case_of("chargeblast/alert_updated_final")
    chargeblast = case.provider
    assert chargeblast.outcome
    telling = replace(chargeblast, outcome=replace(chargeblast.outcome, on=True))
    (item,) = case.items()
    alert = telling.translate(changed(item, "reasonCode", "Resolved")).alert
    assert alert
    assert alert.agrees("issued_refund_for_remaining_amount")
    assert alert.agrees("issued_full_refund")
    assert not alert.agrees("could_not_find_order")
    assert not Alert(case_number="1", resolution="won").agrees(None)
