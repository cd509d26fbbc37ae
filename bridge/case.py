"""A case, and what is to be done for it next. Pure: the one place where that is decided.

`merge` takes in what an alert says, `next_step` names the one call to 29next that is due,
`answers.learn` and `refusal.give_way` take in how it went. A crash between any two of them loses
nothing, since everything they know is in the case.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bridge import dispute, match, refund
from bridge.alert import Alert, DisputeType, Effect, Reason, State, Status

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, typing.Any]

WITHDRAWN_MESSAGE = "The alert was withdrawn by its provider."

WRITES = frozenset({"create", "attach", "resolve", "replace", "refund", "note"})


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


@dataclass(frozen=True, slots=True)
class Settled:
    """How a delivery of a case ends: nothing more is done for it."""

    status: Status
    reason: Reason | None = None
    message: str | None = None


FORWARDED = Settled(Status.FORWARDED)


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
        if self._needs_a_person:
            return State.REVIEW
        if self.resolution:
            return State.RESOLVED
        return State.NEW if self.dispute_id is None else State.OPEN

    @property
    def _needs_a_person(self) -> bool:
        """Whether what came contradicts itself or cannot be read, or whether no transaction was found."""
        unreadable = self.facts is not None and self.facts.unreadable and not is_decided(self)
        unfinished = self.wants.get("review") and self.resolution is None
        has_none = self.match is not None and self.match.get("rule") == "none"
        unmatched = self.dispute_id is not None and self.transaction_id is None and not has_none
        return bool(self.wants.get("contradicted") or unreadable or unfinished or unmatched)

    @property
    def standing(self) -> str | None:
        """The outcome that stands: what a person resolved at 29next, else the last that replaced another."""
        if self.resolution is not None and self.resolution != self.wants.get("ours"):
            return self.resolution
        return self.wants.get("resolution") or self.resolution

    @property
    def found(self) -> int | None:
        """The transaction that the ladder found, whether 29next knows of it yet or not."""
        return self.match.get("transaction_id") if self.match else None

    def note(self, text: str) -> None:
        """Say something that a person should know, once."""
        if text not in self.notes:
            self.notes.append(text)


def merge(
    case: Case,
    provider: str,
    effect: Effect,
    alert: Alert,
    received_at: float,
    *,
    errors: Mapping[str, list[str]] | None = None,
    look_first: bool = False,
) -> None:
    """Take in what an alert says of its case; `errors` is what could not be read of it."""
    if provider not in case.providers:
        case.providers.append(provider)
    _take_notes(case, provider, alert, errors or {})
    if opens(effect, alert):
        _take_facts(case, provider, alert)
    elif effect is Effect.MATCH and case.facts is None:
        case.wants["ids"] = {**case.wants.get("ids", {}), **alert.to_json()}  # for the opening to come
    elif effect is Effect.MATCH:
        _take_ids(case, alert)
    if case.facts and (early := case.wants.pop("ids", None)):
        _take_ids(case, Alert.from_json(early))
    if alert.resolution:
        _take_resolution(case, provider, alert, received_at)
    if alert.resolution or case.dispute_id is None:
        case.wants.pop("refusal", None)  # it is tried again
    if effect is Effect.WITHDRAW:
        case.wants["withdraw"] = True
    _try_again(case, effect, alert)
    if case.facts is None:
        case.wants["looks"] = 0
    if look_first:
        _look_first(case)


def _try_again(case: Case, effect: Effect, alert: Alert) -> None:
    """Forget what 29next refused of such an alert before: it asks for it once more."""
    wants = case.wants
    if effect is Effect.WITHDRAW and wants.pop("unnoted", None):
        wants["withdrawn"] = False
    if effect is Effect.MATCH and wants.pop("unattached", None):
        case.left_out.remove("transaction")
        case.match = None
    if alert.refunded_by_gateway and wants.pop("unrecorded", None):
        case.left_out.remove("refund")


def _take_notes(case: Case, provider: str, alert: Alert, errors: Mapping[str, list[str]]) -> None:
    """Let a person know what cannot be read of an alert, and what is not final in it."""
    for path, messages in errors.items():
        case.note(f"{provider} sent {path}, which cannot be read: {' '.join(messages)}")
    for said in filter(None, (alert.review, alert.note)):
        case.note(f"{provider}: {said}")
    if alert.review:
        case.wants["review"] = alert.review


def _look_first(case: Case) -> None:
    """Let every write be looked up before it is made; also of a case that was only observed so far."""
    case.wants.setdefault("unseen", _all_but_create())
    opening = case.facts and case.dispute_id is None and case.doubt is None
    if opening and not case.wants.get("looked_first"):
        case.wants["looked_first"] = True
        case.doubt = {"kind": "create", "until": 0.0, "looks": 0}


def opens(effect: Effect, alert: Alert) -> bool:
    """Whether an alert opens its case where nothing has."""
    return effect is Effect.OPEN or (alert.carries_facts and effect is not Effect.WITHDRAW)


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
    """Lay what a later alert says over an earlier one; what can be read now is unreadable no more."""
    still = tuple(name for name in old.unreadable if getattr(new, name, None) is None)
    unreadable = tuple(sorted({*still, *new.unreadable}))
    return dataclasses.replace(Alert.from_json({**old.to_json(), **new.to_json()}), unreadable=unreadable)


def _take_ids(case: Case, alert: Alert) -> None:
    """Take in what helps to find the payment, without touching what the dispute was opened with."""
    facts = typing.cast("Alert", case.facts)
    names = ("order", *match.IDS, "arn", "transaction_at", "card_first_six", "card_last_four")
    fresh = {n: getattr(alert, n) for n in names if getattr(alert, n) and not getattr(facts, n)}
    if fresh:
        case.facts = dataclasses.replace(facts, **fresh)
        if case.transaction_id is None and case.found is None and not is_decided(case):
            case.match = None  # look again


def _take_resolution(case: Case, provider: str, alert: Alert, received_at: float) -> None:
    """Take in an outcome: the first one stands, but for a chargeback's that the same provider replaces."""
    stands = case.standing
    if stands is None or _replaces(case, provider, alert, received_at):
        case.wants |= {
            "resolution": alert.resolution,
            "message": alert.message,
            "refund": alert.refunded_by_gateway,
            "by": provider,
            "order": _order(alert, received_at),
        }
        if case.wants.get("contradicted") == alert.resolution:
            del case.wants["contradicted"]
    elif alert.agrees(stands):
        if alert.refunded_by_gateway and not case.refund:  # recorded if the sale still has the amount
            case.wants["refund"] = True
    elif not _is_superseded(case, provider, alert, received_at):
        case.wants["contradicted"] = alert.resolution
        case.note(_contradicts(provider, alert, stands))


def _order(alert: Alert, received_at: float) -> list[float]:
    """Return what tells which of two results is later: the events' own time, then the first receipt."""
    return [alert.event_at.timestamp() if alert.event_at else received_at, received_at]


def _replaces(case: Case, provider: str, alert: Alert, received_at: float) -> bool:
    """Whether a result takes the place of an earlier one, which nobody at 29next has changed."""
    ours = case.resolution is None or case.resolution == case.wants.get("ours")
    later = _order(alert, received_at) > case.wants.get("order", [received_at])
    return _is_in_turn(case, provider, alert) and ours and later


def _is_superseded(case: Case, provider: str, alert: Alert, received_at: float) -> bool:
    """Whether a later result of the same provider has taken the place of this one."""
    earlier = _order(alert, received_at) < case.wants.get("order", [])
    return _is_in_turn(case, provider, alert) and case.standing == case.wants.get("resolution") and earlier


def _is_in_turn(case: Case, provider: str, alert: Alert) -> bool:
    """Whether results of a chargeback follow one another: those of the provider that told the first."""
    other = not alert.agrees(case.standing)
    return case.type is DisputeType.CHARGEBACK and provider == case.wants.get("by") and other


def _contradicts(provider: str, alert: Alert, stands: str | None) -> str:
    return f"{provider} says {alert.resolution}, but {stands} stands."


def settled(case: Case, provider: str, effect: Effect, alert: Alert, received_at: float) -> Settled | None:
    """Say how one delivery of a case ends, or None while 29next lacks what it asks for."""
    if case.duplicate_of:
        if alert.resolution and case.resolution is None:
            return None
    elif case.dispute_id is None or case.doubt:
        return None
    if effect is Effect.WITHDRAW and not (case.wants.get("withdrawn") or case.duplicate_of):
        return None
    if effect is Effect.MATCH and not case.duplicate_of and (_is_sought(case) or refund.is_due(case)):
        return None
    if alert.unknown_outcome:
        return Settled(Status.FAILED, Reason.UNKNOWN_OUTCOME, f"{alert.unknown_outcome} {HOW_TO_LIST}")
    if alert.resolution and (end := _ended(case, provider, alert, received_at)) is not FORWARDED:
        return end
    why = case.wants.get({Effect.WITHDRAW: "unnoted", Effect.MATCH: "unattached"}.get(effect, ""))
    return Settled(Status.FAILED, Reason.REFUSED, why) if why else FORWARDED


UNDONE = "29next has the dispute open again, and so it stays."
HOW_TO_LIST = "List it in bridge.toml, under values of the field resolution, and replay this."


def _ended(case: Case, provider: str, alert: Alert, received_at: float) -> Settled | None:
    """Say how the delivery of an outcome ends."""
    stands = case.resolution if case.duplicate_of else case.standing
    if stands is None:  # it was undone at 29next
        undone = case.wants.get("contradicted") == alert.resolution
        return Settled(Status.FAILED, Reason.CONTRADICTED, UNDONE) if undone else None
    if alert.agrees(stands):
        if not alert.agrees(case.resolution) or (refund.is_due(case) and not case.duplicate_of):
            return None
        if alert.refunded_by_gateway and (why := case.wants.get("unrecorded")):
            return Settled(Status.FAILED, Reason.REFUSED, why)
        return FORWARDED
    if _is_superseded(case, provider, alert, received_at):
        later = f"A later result of {provider} stands: {stands}."
        return Settled(Status.IGNORED, Reason.IGNORE, later)
    why = case.wants.get("irreplaceable") or _contradicts(provider, alert, stands)
    return Settled(Status.FAILED, Reason.CONTRADICTED, why)


def next_step(case: Case, now: float, *, metadata: typing.Iterable[str] = dispute.METADATA) -> Step:
    """Name the one thing that is to be done for a case now."""
    if case.duplicate_of:
        return Done()
    if case.doubt:
        return _settle_doubt(case, now)
    if holder := case.wants.get("holder"):
        filters = {"transaction_id": str(holder), "type": case.type.value}
        return Call("holder", "GET", "disputes/", params=filters)
    step = _for_dispute(case, now) if case.dispute_id else _towards_opening(case, now, metadata)
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


def _for_dispute(case: Case, now: float) -> Step:
    here = f"disputes/{case.dispute_id}/"
    if case.wants.get("reread"):
        return Call("read", "GET", here)
    if case.facts and case.transaction_id is None and (question := _question(case)):
        return question
    if _unattached(case):
        return Call("attach", "PATCH", here, body={"transaction": case.found})
    wanted = case.standing
    if wanted and wanted != case.resolution and "refusal" not in case.wants:
        if case.resolution is None and refund.is_wanted(case) and not refund.is_read(case, now):
            return _sale(case)
        message = case.wants.get("message")
        body = dispute.resolving(wanted, message, external_refund=refund.is_wanted(case))
        if case.resolution is None:
            return Call("resolve", "POST", f"{here}resolve/", body=body)
        if not _is_read(case, now):
            return _reading(case, "replace")
        return Call("replace", "PATCH", here, body=dispute.resolving(wanted, message))
    if refund.is_due(case):
        if not refund.is_read(case, now):
            return _sale(case)
        body = dispute.refunding(typing.cast("str", refund.amount(case)))
        return Call("refund", "POST", f"transactions/{case.transaction_id}/refund/", body=body)
    if case.wants.get("withdraw") and not case.wants.get("withdrawn"):
        if case.resolution is None and case.type is DisputeType.ALERT:  # chargebacks know no `other`
            body = dispute.resolving("other", WITHDRAWN_MESSAGE)
            return Call("resolve", "POST", f"{here}resolve/", body=body)
        return Call("note", "POST", f"{here}notes/", body={"message": WITHDRAWN_MESSAGE})
    return Done()


def _is_read(case: Case, now: float) -> bool:
    """Whether the dispute was read just now, so that no person's word at 29next is written over."""
    return bool(now - case.wants.get("read_at", 0.0) <= refund.FRESH)


def _sale(case: Case) -> Call:
    """Return the reading of the case's sale, right before its refund is recorded.

    Where others may have recorded it, that is looked up before.
    """
    if "refund" in case.wants.get("unseen", ()):
        return _reading(case, "refund")
    return Call("sale", "GET", f"transactions/{case.transaction_id}/")


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
    case.match = {**chosen(found, rows), "asked": asked, "closed": several, "woken": woken}


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


def chosen(found: match.Match, rows: list[Json]) -> Json:
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


def intend(case: Case, call: Call, until: float) -> None:
    """Put the case in doubt before a write is sent: from now on it may have happened."""
    case.doubt = {"kind": call.kind, "until": until, "looks": 0, "body": call.body}


def undo(case: Case) -> None:
    """End the doubt of a write that certainly did not happen; before another try it is looked again."""
    case.doubt = None
    case.wants.pop("read_at", None)


def _unattached(case: Case) -> bool:
    return case.found is not None and case.transaction_id is None and "transaction" not in case.left_out
