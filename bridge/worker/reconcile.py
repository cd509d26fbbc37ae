"""Compares the inbox with 29next: what is missing, doubled or different. Reads only."""

from __future__ import annotations

import typing
from collections import defaultdict
from datetime import UTC, datetime

from bridge.alert import Status
from bridge.disputes.answers import adopt
from bridge.disputes.case import Case
from bridge.disputes.payloads import amount_text

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from bridge.alert import Alert
    from bridge.next29.client import NextApi
    from bridge.settings import Store
    from bridge.storage.inbox import Inbox
    from bridge.storage.rows import Delivery

Json = dict[str, typing.Any]

MOST_PAGES = 100_000
"""The most pages of a list of disputes."""


def reconcile(inbox: Inbox, api: NextApi, store: Store, since: date) -> Iterator[str]:
    """Yields a line for each difference since a day; none means that the two agree.

    That includes disputes that the bridge does not know: another service or a person made them, or a backup
    was restored.
    """

    def ask(**filters: str) -> list[Json]:
        return api.rows("disputes/", filters, most=MOST_PAGES)

    disputes = ask(dispute_date_from=str(since))
    begins = datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp()
    known = {case.id: case for case in inbox.cases.cases_since(store.name, begins)}
    unsettled = inbox.cases.unsettled_since(store.name, begins)
    for delivery, stored in unsettled:
        if stored or delivery.alert:
            case = stored or _case_of(typing.cast("Alert", delivery.alert), store)
            known.setdefault(case.id, case)
    theirs = {row["id"]: row for row in disputes}
    for case in known.values():
        if case.dispute_id is None and case.due_at is None:
            theirs |= _adopted(case, ask(case_number=case.case_number))
    # a duplicate may have a dispute of its own, made before the transaction was known
    holding = (case for case in known.values() if not (case.duplicate_of and case.transaction_id))
    ours = {case.dispute_id: case for case in holding if case.dispute_id}
    missing: dict[int, Case] = {}
    for ident, case in ours.items():
        if ident not in theirs:
            # it is from before `since`, or gone, or doubled: look for it
            theirs |= {row["id"]: row for row in ask(case_number=case.case_number) if _is_of(row, case)}
            theirs |= {} if ident in theirs else {row["id"]: row for row in ask(id=str(ident))}
            missing |= {} if ident in theirs else {ident: case}
    yield from _doubled(theirs.values())
    yield from _unfinished(known, unsettled)
    for ident, case in missing.items():
        yield f"missing: dispute {ident} of case {case.id} is not at 29next"
    for ident, dispute in theirs.items():
        holder = ours.get(ident) or inbox.cases.case_of_dispute(store.name, ident)
        if holder is None:
            yield f"unknown: dispute {ident} ({dispute.get('type')} {dispute.get('case_number')}) has no case"
        else:
            yield from _different(holder, dispute)


def _adopted(case: Case, rows: list[Json]) -> dict[int, Json]:
    """Gives an ended case the dispute that somebody else made for it; returns all disputes of the case."""
    same = [row for row in rows if _is_of(row, case)]
    for row in sorted(same, key=lambda row: int(row["id"]))[:1]:
        adopt(case, row)
    return {row["id"]: row for row in same}


def _is_of(row: Json, case: Case) -> bool:
    return (row.get("case_number"), row.get("type")) == (case.case_number, case.type)


def _unfinished(known: dict[str, Case], unsettled: list[tuple[Delivery, Case | None]]) -> Iterator[str]:
    """Yields a line for each unfinished case, and for each delivery that 29next does not reflect."""
    for case in known.values():
        if case.provider and (case.dispute_id is None or case.unconfirmed or case.due_at is not None):
            yield f"unfinished: case {case.id} ({case.type} {case.case_number}) is not settled at 29next yet"
    for delivery, stored in unsettled:
        named = f"delivery {delivery.id} of {delivery.provider}"
        if delivery.status is Status.PENDING:
            yield f"unfinished: {named} is not translated yet"
        elif delivery.alert is None or delivery.effect is None:
            yield f"failed: {named} was not understood; nobody knows whether 29next has what it asked for"
        else:
            end = delivery.settled(known[stored.id if stored else _key(delivery.alert)])
            if end is None or end.status is Status.FAILED:
                yield f"failed: {named} asked for what 29next does not have"


def _case_of(alert: Alert, store: Store) -> Case:
    """Returns the case that an alert without a store would have in this one; it has no provider."""
    key = _key(alert)
    return Case(key, store.name, alert.case_number, alert.type, "", opened_at=0.0, deadline_at=0.0)


def _key(alert: Alert) -> str:
    return f"{alert.type} {alert.case_number}"


def _doubled(disputes: Iterable[Json]) -> Iterator[str]:
    by_case: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in disputes:
        if row.get("case_number"):
            by_case[str(row["type"]), str(row["case_number"])].append(row["id"])
    for (kind, number), idents in sorted(by_case.items()):
        if len(idents) > 1:
            yield f"doubled: {kind} {number} is disputes {', '.join(map(str, sorted(idents)))}"


def _different(case: Case, dispute: Json) -> Iterator[str]:
    amount = amount_text(case.facts.amount) if case.facts else None
    currency = case.facts.currency if case.facts and amount else None
    number = dispute.get("case_number") or case.case_number  # one that was made by hand may have none
    pairs = (
        ("transaction", case.transaction_id, dispute.get("transaction")),
        ("resolution", case.resolution, dispute.get("resolution") or None),
        ("case number", case.case_number, number),
        ("type", case.type.value, dispute.get("type")),
        ("amount", amount or dispute.get("amount"), dispute.get("amount")),
        ("currency", currency or dispute.get("currency"), dispute.get("currency") or currency),
    )
    for name, ours, theirs in pairs:
        if ours != theirs:
            yield f"differs: dispute {dispute['id']} has {name} {theirs}, case {case.id} has {ours}"
