"""A case, and what is to be done for it next. Pure: the one place where that is decided.

`merge` takes in what an alert says, `next_step` names the one call to 29next that is due, `learn`
and `refusal.give_way` take in how it went. A crash between any two of them loses nothing, since
everything they know is in the case.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bridge import dispute, match, refund
from bridge.alert import Alert, DisputeType, Effect, Reason, State
from bridge.redact import cut_text

Json = dict[str, typing.Any]

LOOKS = 2
"""A doubt is settled by two empty look-ups."""
LOOK_GAP = 5.0
"""Seconds between them, since 29next's lists may lag behind its writes."""
WITHDRAWN_MESSAGE = "The alert was withdrawn by its provider."
HELD = ("id", "case_number", "type", "status", "transaction", "resolution")
"""What is kept of a dispute that holds the transaction of another."""

WRITES = frozenset({"create", "attach", "resolve", "refund", "note"})
LOOKED_AT = {"read": ("attach", "resolve"), "refunds": ("refund",), "notes": ("note",)}
"""What each reading shows whether it was done already."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to 29next; `path` is below the base URL."""

    kind: str
    method: str
    path: str
    params: Json | None = None
    body: Json | None = None
    rule: str | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes something at 29next, so that an unclear answer puts the case in doubt."""
        return self.kind in WRITES


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before a moment."""

    until: float
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """What waits on this case has waited in vain."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Done:
    """29next has everything that the case wants."""


Step = Call | Wait | Fail | Done


@dataclass
class Case:
    """Everything that is known of one dispute."""

    id: str
    store: str
    case_number: str
    type: DisputeType
    provider: str
    opened_at: float
    deadline_at: float
    providers: list[str] = field(default_factory=list)
    facts: Alert | None = None
    dispute_id: int | None = None
    transaction_id: int | None = None
    resolution: str | None = None
    refund: str | None = None
    duplicate_of: str | None = None
    wants: Json = field(default_factory=dict)
    match: Json | None = None
    doubt: Json | None = None
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    due_at: float | None = None
    lease_until: float = 0.0
    fence: int = 0
    tries: int = 0

    @property
    def state(self) -> State:
        """Where the case stands, as everybody may see it."""
        if self.duplicate_of:
            return State.DUPLICATE
        if self.doubt:
            return State.UNCLEAR
        if self.wants.get("withdrawn"):
            return State.WITHDRAWN
        if self.wants.get("contradicted"):
            return State.REVIEW
        if self.resolution:
            return State.RESOLVED
        if self.dispute_id is None:
            return State.NEW
        decided = self.match is not None and self.match.get("rule") == "none"
        return State.OPEN if self.transaction_id or decided else State.REVIEW

    @property
    def found(self) -> int | None:
        """The transaction that the ladder found, whether 29next knows of it yet or not."""
        return self.match.get("transaction_id") if self.match else None

    def note(self, text: str) -> None:
        """Say something that a person should know, once."""
        if text not in self.notes:
            self.notes.append(text)


def merge(case: Case, provider: str, effect: Effect, alert: Alert, *, look_first: bool = False) -> None:
    """Take in what an alert says of its case."""
    if provider not in case.providers:
        case.providers.append(provider)
    if effect is Effect.OPEN or (alert.carries_facts and effect is not Effect.WITHDRAW):
        _take_facts(case, provider, alert)
    elif effect is Effect.MATCH and case.facts is None:
        case.wants["ids"] = {**case.wants.get("ids", {}), **alert.to_json()}  # for the opening to come
    elif effect is Effect.MATCH:
        _take_ids(case, alert)
    if case.facts and (early := case.wants.pop("ids", None)):
        _take_ids(case, Alert.from_json(early))
    if alert.resolution:
        _take_resolution(case, alert)
    if alert.resolution or case.dispute_id is None:
        case.wants.pop("refusal", None)  # it is tried again
    if effect is Effect.WITHDRAW:
        case.wants["withdraw"] = True
    if case.facts is None:
        case.wants["looks"] = 0
    if look_first:
        case.wants.setdefault("unseen", _all_but_create())
        opens = case.facts and case.dispute_id is None and case.doubt is None
        if opens and not case.wants.get("looked_first"):  # also a case that was only observed so far
            case.wants["looked_first"] = True
            case.doubt = {"kind": "create", "until": 0.0, "looks": 0}


def _take_facts(case: Case, provider: str, alert: Alert) -> None:
    if case.dispute_id is None and "body" not in (case.doubt or {}):
        first = case.facts is None
        case.facts = alert if first else _over(typing.cast("Alert", case.facts), alert)
        case.provider = provider if first else case.provider
        case.match = None
    elif case.facts:
        _take_ids(case, alert)
    else:  # the dispute was found at 29next, before any alert told the facts
        case.facts = alert
        case.provider = provider


def _over(old: Alert, new: Alert) -> Alert:
    return Alert.from_json({**old.to_json(), **new.to_json()})


def _take_ids(case: Case, alert: Alert) -> None:
    """Take in what helps to find the payment, without touching what the dispute was opened with."""
    facts = typing.cast("Alert", case.facts)
    names = ("order", *match.IDS, "arn", "transaction_at", "card_first_six", "card_last_four")
    fresh = {n: getattr(alert, n) for n in names if getattr(alert, n) and not getattr(facts, n)}
    if fresh:
        case.facts = dataclasses.replace(facts, **fresh)
        if case.transaction_id is None and case.found is None and not is_decided(case):
            case.match = None  # look again


def _take_resolution(case: Case, alert: Alert) -> None:
    wanted = case.resolution or case.wants.get("resolution")
    if wanted is None:
        case.wants["resolution"] = alert.resolution
        case.wants["message"] = alert.message
        case.wants["refund"] = alert.refunded_by_gateway
    elif wanted != alert.resolution:
        case.wants["contradicted"] = alert.resolution
        case.note(f"A later result says {alert.resolution}; the first one, {wanted}, stands.")
    elif alert.refunded_by_gateway and not case.wants.get("refund"):
        case.note("The gateway says that it refunded this too: was the money given back twice?")


def met(case: Case, effect: Effect, alert: Alert) -> bool:
    """Whether 29next has what one delivery of the case asked for."""
    if case.duplicate_of:
        return not alert.resolution or case.resolution is not None
    if case.dispute_id is None or case.doubt:
        return False
    if effect is Effect.WITHDRAW and not case.wants.get("withdrawn"):
        return False
    if effect is Effect.MATCH and (_is_sought(case) or refund.is_due(case)):
        return False
    return not alert.resolution or (case.resolution is not None and not refund.is_due(case))


def next_step(case: Case, now: float, *, metadata: typing.Iterable[str] = dispute.METADATA) -> Step:
    """Name the one thing that is to be done for a case now."""
    if case.duplicate_of:
        return Done()
    if case.doubt:
        return _settle_doubt(case, now)
    if holder := case.wants.get("holder"):
        filters = {"transaction_id": str(holder), "type": case.type.value}
        return Call("holder", "GET", "disputes/", params=filters)
    step = _for_dispute(case) if case.dispute_id else _towards_opening(case, now, metadata)
    if isinstance(step, Call) and step.kind in case.wants.get("unseen", ()):
        return _reading(case, step.kind)
    return step


def _towards_opening(case: Case, now: float, metadata: typing.Iterable[str]) -> Step:
    if case.facts is None:
        looks = case.wants.get("looks", 0)
        if looks == 0 or (looks == 1 and now >= case.deadline_at):
            return _look(case)
        if looks == 1:
            return Wait(case.deadline_at, Reason.WAITING_FOR_OPENING)
        return Fail(Reason.NO_OPENING, "Nothing has opened this case, and 29next has no dispute of it.")
    if question := _question(case):
        return question
    return Call("create", "POST", "disputes/", body=_opening(case, metadata))


def wait_longer(case: Case, until: float) -> Wait:
    """Let a case wait for its opening beyond the deadline of what waited first."""
    case.deadline_at, case.wants["looks"] = until, 1
    return Wait(until, Reason.WAITING_FOR_OPENING)


def _for_dispute(case: Case) -> Step:
    here = f"disputes/{case.dispute_id}/"
    if case.wants.get("reread"):
        return Call("read", "GET", here)
    if case.facts and case.transaction_id is None and (question := _question(case)):
        return question
    if _unattached(case):
        return Call("attach", "PATCH", here, body={"transaction": case.found})
    wanted = case.wants.get("resolution")
    if wanted and case.resolution is None and "refusal" not in case.wants:
        body = dispute.resolving(wanted, case.wants.get("message"), external_refund=refund.is_wanted(case))
        return Call("resolve", "POST", f"{here}resolve/", body=body)
    if refund.is_due(case):
        sale = f"transactions/{case.transaction_id}/"
        if (amount := refund.amount(case)) is None:
            return Call("sale", "GET", sale)
        return Call("refund", "POST", f"{sale}refund/", body=dispute.refunding(amount))
    if case.wants.get("withdraw") and not case.wants.get("withdrawn"):
        if case.resolution is None and case.type is DisputeType.ALERT:  # chargebacks know no `other`
            body = dispute.resolving("other", WITHDRAWN_MESSAGE)
            return Call("resolve", "POST", f"{here}resolve/", body=body)
        return Call("note", "POST", f"{here}notes/", body={"message": WITHDRAWN_MESSAGE})
    return Done()


def _question(case: Case) -> Call | None:
    """Return the look-up for its transaction that is due, if any; none are due once one was found."""
    if "transaction" in case.left_out or case.facts is None:
        return None
    known = case.match or {"asked": []}
    if case.found or known.get("closed") or len(known["asked"]) >= match.LOOK_UPS:
        return None
    if behind := known.get("behind"):
        return Call("payment", "GET", f"transactions/{behind}/", rule="payment")
    left = [(rule, f) for rule, f in match.queries(dated(case)) if rule not in known["asked"]]
    return Call("ask", "GET", "transactions/", params=left[0][1], rule=left[0][0]) if left else None


def _is_sought(case: Case) -> bool:
    """Whether the case's transaction is still to be looked for, or to be attached."""
    if case.transaction_id is not None:
        return False
    return consults(case) or _question(case) is not None or _unattached(case)


def dated(case: Case) -> Alert:
    """Return the case's alert for matching: where it does not say when it happened, it was by receipt."""
    facts = typing.cast("Alert", case.facts)
    received = datetime.fromtimestamp(case.opened_at, UTC)
    return facts if facts.happened_at else dataclasses.replace(facts, happened_at=received)


def consults(case: Case) -> bool:
    """Whether the local index is to be asked: at first, and again once it has learned more."""
    return case.facts is not None and (case.match is None or "again" in case.match)


def consult(case: Case, rows: list[Json], *, complete: bool) -> None:
    """Take in what the local index knows; where several fit there already, 29next is not asked.

    A case that looks again asks 29next again too, unless the index is known to have everything.
    """
    known = dict(case.match or {"asked": [], "candidates": []})
    woken = known.pop("again", None)
    if is_decided(case) or "transaction" in case.left_out:
        case.match = {**known, "woken": woken}
        return
    found = match.choose(dated(case), rows, complete=complete)
    several = any(one["why"] == match.SEVERAL for one in found.candidates)
    asked = known["asked"] if complete else []
    case.match = {**_chosen(found, rows), "asked": asked, "closed": several, "woken": woken}


def is_claiming(case: Case) -> bool:
    """Whether a case is about to be the one that holds the dispute of its transaction."""
    return bool(case.found) and case.transaction_id is None and not (case.doubt or case.duplicate_of)


def is_overtaken(case: Case, known: Case) -> bool:
    """Whether a case was woken since its match, as `known` has it, was looked for."""
    again = (case.match or {}).get("again")
    return case.facts != known.facts or again != (known.match or {}).get("woken")


def decide(case: Case, transaction_id: int | None) -> None:
    """Take a person's word for the transaction, or for there being none."""
    before = case.match or {"asked": [], "candidates": []}
    rule = "manual" if transaction_id else "none"
    row: Json = next((one for one in before["candidates"] if one["id"] == transaction_id), {})
    case.match = {
        **before,
        "transaction_id": transaction_id,
        **refund.money(row),
        "rule": rule,
        "closed": True,
    }
    case.wants.pop("holder", None)
    if "transaction" in case.left_out:
        case.left_out.remove("transaction")


def is_decided(case: Case) -> bool:
    """Whether a person has said which transaction it is about, or that there is none."""
    return case.match is not None and case.match.get("rule") in ("none", "manual")


def _chosen(found: match.Match, rows: list[Json]) -> Json:
    """Write a match, with the money of the transaction: a refund of it is recorded in its currency."""
    row = next((row for row in rows if row["id"] == found.transaction_id), {})
    return {**found.to_json(), "transaction_id": found.transaction_id, **refund.money(row)}


def _opening(case: Case, metadata: typing.Iterable[str]) -> Json:
    facts = typing.cast("Alert", case.facts)
    return dispute.opening(
        facts,
        provider=case.provider,
        received_at=datetime.fromtimestamp(case.opened_at, UTC),
        transaction_id=None if "transaction" in case.left_out else case.found,
        metadata=() if "metadata" in case.left_out else metadata,
    )


def _look(case: Case) -> Call:
    return Call("look", "GET", "disputes/", params={"case_number": case.case_number})


def _settle_doubt(case: Case, now: float) -> Step:
    doubt = typing.cast("Json", case.doubt)
    if now < doubt["until"]:
        return Wait(doubt["until"])
    return _reading(case, doubt["kind"])


def _reading(case: Case, kind: str) -> Call:
    """Return the call that shows whether a write of some kind has been done."""
    here = f"disputes/{case.dispute_id}/"
    match kind:
        case "create":
            return _look(case)
        case "refund":
            return Call("refunds", "GET", "transactions/", params=refund.filters(case))
        case "note":
            return Call("notes", "GET", f"{here}notes/")
        case _:
            return Call("read", "GET", here)


def learn(case: Case, call: Call, answer: typing.Any, now: float) -> None:
    """Take in what 29next answered: one object, or the rows of a list."""
    _LEARN[call.kind](case, call, answer)
    if unseen := case.wants.get("unseen"):
        case.wants["unseen"] = [kind for kind in unseen if kind not in LOOKED_AT.get(call.kind, ())]
    if case.doubt and not call.writes:
        _doubt_after(case, now)
    elif call.writes:
        case.doubt = None


def _read(case: Case, _: Call, row: Json) -> None:
    """Take in a dispute as it is; what was undone at 29next is not done again."""
    if case.wants.pop("reread", None):
        if case.resolution and not _resolution(row):
            case.note(f"29next has it open again; it was resolved as {case.resolution}.")
            case.resolution = None
            case.wants.pop("resolution", None)
        if case.transaction_id and row.get("transaction") is None:
            case.note(f"29next has it without transaction {case.transaction_id} now.")
            case.transaction_id = None
            case.match = {**(case.match or {}), "asked": [], "candidates": [], "transaction_id": None}
            case.match |= {"rule": "none", "closed": True}
    adopt(case, row)


def _learn_created(case: Case, call: Call, row: Json) -> None:
    adopt(case, row)
    _note_other(case, (call.body or {}).get("transaction"))


def _note_other(case: Case, sent: int | None) -> None:
    if sent is not None and sent != case.found:
        case.note(f"29next has transaction {sent} now: it was under way before {case.found} was decided.")


def _learn_attached(case: Case, call: Call, _: Json) -> None:
    case.transaction_id = (call.body or {})["transaction"]
    _note_other(case, case.transaction_id)
    refund.note_unsure(case)


def _learn_sale(case: Case, _: Call, row: Json) -> None:
    case.wants["sale"] = {"transaction_id": case.transaction_id, **refund.money(row)}
    refund.note_unsure(case)


def _learn_refund(case: Case, _: Call, __: Json) -> None:
    case.refund = "recorded"


def _learn_note(case: Case, _: Call, __: Json) -> None:
    case.wants["withdrawn"] = True


def _learn_refunds(case: Case, call: Call, rows: list[Json]) -> None:
    if any(row.get("parent_id") == case.transaction_id for row in rows):
        _learn_refund(case, call, {})


def _learn_notes(case: Case, call: Call, rows: list[Json]) -> None:
    if any(row.get("message") == WITHDRAWN_MESSAGE for row in rows):
        _learn_note(case, call, {})


def _doubt_after(case: Case, now: float) -> None:
    """End the doubt once what was in doubt is there, or after enough empty look-ups."""
    doubt = typing.cast("Json", case.doubt)
    there = {
        "create": case.dispute_id is not None,
        "attach": case.transaction_id is not None,
        "resolve": case.resolution is not None,
        "refund": case.refund is not None,
        "note": case.wants.get("withdrawn", False),
    }[doubt["kind"]]
    looks = doubt["looks"] + 1
    if there or looks >= LOOKS:
        if there and doubt["kind"] == "resolve":
            _resolved_after_all(case, doubt.get("body") or {})
        case.doubt = None
    else:
        case.doubt = {**doubt, "looks": looks, "until": now + LOOK_GAP}


def adopt(case: Case, row: Json) -> None:
    """Take over a dispute as 29next shows it; of two disputes of one case, the first known stays."""
    if case.dispute_id not in (None, int(row["id"])):
        case.note(f"29next has more than one dispute of this case: also {row['id']}.")
        return
    case.dispute_id = int(row["id"])
    if isinstance(row.get("transaction"), int):
        case.transaction_id = row["transaction"]
    if resolution := _resolution(row):
        if case.resolution is None:  # whoever resolved it may have recorded the refund too
            case.wants["unseen"] = sorted({*case.wants.get("unseen", ()), "refund"})
        case.resolution = resolution
        if message := row.get("resolution_other_message"):
            case.wants["message"] = cut_text(message)
        if message == WITHDRAWN_MESSAGE:
            case.wants["withdrawn"] = True


def _resolution(row: Json) -> str | None:
    return row.get("resolution") or None if row.get("status") == "resolved" else None


def reconsider(case: Case, told: Json) -> bool:
    """Take in what 29next's webhook tells of the case's dispute; whether the case is to be worked on.

    What only adds to the case is taken. What contradicts it may be old, and is read again.
    """
    if case.dispute_id is None:
        if case.doubt is None or case.doubt["kind"] == "create":
            adopt(case, told)
            case.doubt = None
        return True
    if int(told["id"]) != case.dispute_id:
        adopt(case, told)  # which only says so
        return False
    theirs = (_resolution(told), told.get("transaction"))
    ours = (case.resolution, case.transaction_id)
    sent = (case.doubt or {}).get("body") or {}  # what is under way is no news either
    if theirs in (ours, (sent.get("resolution") or ours[0], sent.get("transaction") or ours[1])):
        return False
    if not case.doubt and all(known in (None, new) for known, new in zip(ours, theirs, strict=True)):
        adopt(case, told)
    else:
        case.wants["reread"] = True
    return True


def recover(case: Case) -> None:
    """Put a case in doubt: what 29next has of it is looked up before anything is sent."""
    case.wants["unseen"] = _all_but_create()
    if case.dispute_id is not None:
        case.wants["reread"] = True
    elif case.facts is None:
        case.wants["looks"] = 0
    else:
        case.doubt = {"kind": "create", "until": 0.0, "looks": 0}


def look_again(case: Case) -> None:
    """Let nothing be written for a case before it is looked up, since others may write for it too."""
    case.wants["unseen"] = _all_but_create()
    if case.facts and case.dispute_id is None and case.doubt is None and case.due_at is not None:
        case.doubt = {"kind": "create", "until": 0.0, "looks": 0}


def is_ended(case: Case) -> bool:
    """Whether a case was ended without a dispute, which a person may have made meanwhile."""
    return case.facts is not None and case.dispute_id is None and case.due_at is None


def _all_but_create() -> list[str]:
    """Return the writes that are to be looked up before they are made; a creation is put in doubt."""
    return sorted(WRITES - {"create"})


def _looked(case: Case, _: Call, rows: list[Json]) -> None:
    ours = sorted(
        (row for row in rows if row.get("case_number") == case.case_number and row.get("type") == case.type),
        key=lambda row: int(row["id"]),
    )
    if "looks" in case.wants and case.doubt is None:
        case.wants["looks"] += 1
    if not ours:
        return
    adopt(case, ours[0])
    if len(ours) > 1:
        others = ", ".join(str(row["id"]) for row in ours[1:])
        case.note(f"29next has more than one dispute of this case: also {others}.")
    amount = dispute.amount_text(case.facts.amount) if case.facts else None
    if amount and ours[0].get("amount") not in (None, amount):
        case.note(f"The dispute found at 29next says {ours[0]['amount']}, the alert {amount}.")


def _held(case: Case, _: Call, rows: list[Json]) -> None:
    """Link the case to the dispute that holds its transaction, or go on without the transaction."""
    holder = case.wants.pop("holder")
    held = [row for row in rows if row.get("transaction") == holder and row.get("type") == case.type]
    if not held:
        case.left_out.append("transaction")
    elif (
        held[0]["id"] == case.dispute_id or str(held[0].get("case_number") or "").strip() == case.case_number
    ):
        adopt(case, held[0])  # our own, which 29next made after all
    else:
        case.duplicate_of = f"dispute {held[0]['id']}"  # its case, once the inbox knows it
        case.wants["held"] = {name: held[0].get(name) for name in HELD}


def _asked(case: Case, call: Call, rows: list[Json]) -> None:
    if is_decided(case):
        return
    before = case.match or {"asked": [], "candidates": []}
    alert = dated(case)
    found = match.choose(alert, rows)
    seen = {one["id"] for one in found.candidates}
    kept = [one for one in before["candidates"] if one["id"] not in seen and not found.transaction_id]
    case.match = {
        **before,
        **_chosen(found, rows),
        "asked": [*before["asked"], call.rule],
        "behind": match.payment_behind(alert, rows),
        "candidates": [*found.candidates, *kept][: match.MOST_CANDIDATES],
    }


def _resolved(case: Case, call: Call, _: object = None) -> None:
    body = call.body or {}
    case.resolution = body.get("resolution") or case.resolution
    if body.get("create_external_refund"):
        case.refund = "recorded"
    if body.get("resolution_other_message") == WITHDRAWN_MESSAGE:
        case.wants["withdrawn"] = True
        case.note("Withdrawn by the provider: the customer's block-list entry stays at 29next.")


def _resolved_after_all(case: Case, body: Json) -> None:
    """Take in that a dispute in doubt is resolved: by our call, unless it says something else."""
    if case.resolution == body.get("resolution"):
        _resolved(case, Call("resolve", "POST", "", body=body))
    else:
        case.wants["contradicted"] = body.get("resolution")
        case.note(f"29next has it resolved as {case.resolution}; the alert said {body.get('resolution')}.")


_LEARN: dict[str, typing.Callable[[Case, Call, typing.Any], None]] = {
    "create": _learn_created,
    "read": _read,
    "attach": _learn_attached,
    "resolve": _resolved,
    "sale": _learn_sale,
    "refund": _learn_refund,
    "note": _learn_note,
    "look": _looked,
    "holder": _held,
    "ask": _asked,
    "payment": _asked,
    "refunds": _learn_refunds,
    "notes": _learn_notes,
}


def intend(case: Case, call: Call, until: float) -> None:
    """Put the case in doubt before a write is sent: from now on it may have happened."""
    case.doubt = {"kind": call.kind, "until": until, "looks": 0, "body": call.body}


def _unattached(case: Case) -> bool:
    return case.found is not None and case.transaction_id is None and "transaction" not in case.left_out
