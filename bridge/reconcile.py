"""Compares the inbox with what 29next has: what is missing, doubled or different. Reads only."""

from __future__ import annotations

import time
import typing
from collections import defaultdict
from datetime import UTC, datetime

from bridge.dispute import amount_text
from bridge.inbox import token_key

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from bridge.case import Case
    from bridge.inbox import Inbox
    from bridge.next_api import NextApi
    from bridge.settings import Store

Json = dict[str, typing.Any]


def reconcile(
    inbox: Inbox,
    api: NextApi,
    store: Store,
    since: date,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Yield a line for each difference since a day; none means that the two are proven to agree.

    Disputes of 29next that the bridge knows nothing of are told too: another service or a person made
    them, or a backup was restored.
    """

    def wait() -> None:
        slot_at = inbox.take_slot(token_key(store.token))
        sleep(max(slot_at - inbox.now(), 0.0))

    wait()
    disputes = api.rows("disputes/", {"dispute_date_from": str(since)}, turn=wait)
    begins = datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp()
    known = inbox.cases_since(store.name, begins)
    yield from _doubled(disputes)
    failed = inbox.failed_since(store.name, begins)
    ours: dict[int | None, Case] = {}
    for one in known:  # a duplicate may have a dispute of its own, made before the transaction was known
        if one.dispute_id and not (one.duplicate_of and one.transaction_id):
            ours[one.dispute_id] = one
    theirs = {row["id"]: row for row in disputes}
    for one in known:
        if one.dispute_id is None or one.doubt:
            yield f"unfinished: case {one.id} ({one.type} {one.case_number}) is not settled at 29next yet"
    for delivery in failed:
        yield f"failed: delivery {delivery} asked for what 29next does not have"
    for ident, one in ours.items():
        if ident not in theirs:
            # it happened before `since`, or is gone: only asking for it tells
            wait()
            found = api.rows("disputes/", {"id": str(ident)}, turn=wait)
            theirs |= {row["id"]: row for row in found}
            if not found:
                yield f"missing: dispute {ident} of case {one.id} is not at 29next"
    for ident, dispute in theirs.items():
        case = ours.get(ident) or inbox.case_of_dispute(store.name, ident)
        if case is None:
            yield f"unknown: dispute {ident} ({dispute.get('type')} {dispute.get('case_number')}) has no case"
        else:
            yield from _different(case, dispute)


def _doubled(disputes: list[Json]) -> Iterator[str]:
    by_case: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in disputes:
        if row.get("case_number"):
            by_case[str(row["type"]), str(row["case_number"])].append(row["id"])
    for (kind, number), idents in sorted(by_case.items()):
        if len(idents) > 1:
            yield f"doubled: {kind} {number} is disputes {', '.join(map(str, sorted(idents)))}"


def _different(case: Case, dispute: Json) -> Iterator[str]:
    amount = amount_text(case.facts.amount) if case.facts else None
    number = dispute.get("case_number") or case.case_number  # one that was made by hand may have none
    pairs = (
        ("transaction", case.transaction_id, dispute.get("transaction")),
        ("resolution", case.resolution, dispute.get("resolution") or None),
        ("case number", case.case_number, number),
        ("type", case.type.value, dispute.get("type")),
        ("amount", amount or dispute.get("amount"), dispute.get("amount")),
    )
    for name, ours, theirs in pairs:
        if ours != theirs:
            yield f"differs: dispute {dispute['id']} has {name} {theirs}, case {case.id} has {ours}"
