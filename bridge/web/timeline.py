"""What happened, in order: a delivery's way to its end, a case's over all its deliveries. Pure."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from bridge.alert import Effect, Reason, Status
from bridge.web import formatting

Json = dict[str, typing.Any]

ASKS = {
    Effect.OPEN: "open a dispute",
    Effect.MATCH: "attach the transaction",
    Effect.RESOLVE: "resolve the dispute",
    Effect.WITHDRAW: "withdraw the dispute",
    Effect.INFORM: "do nothing: it only informs",
    Effect.IGNORE: "do nothing",
}


@dataclass(frozen=True)
class Step:
    """One thing that happened, at a moment or (None) yet to come."""

    at: str | None
    tone: str
    title: str
    text: str = ""
    attempt: Json | None = None
    delivery: str | None = None


def of_delivery(delivery: Json) -> list[Step]:
    """Tell a delivery's way, oldest first."""
    came = f"{delivery['event_type'] or 'no event type'} from {delivery['provider']}"
    steps = [Step(delivery["received_at"], formatting.QUIET, "Received", came)]
    if delivery["effect"]:
        asks = f"Asks the bridge to {ASKS[Effect(delivery['effect'])]}."
        where = f" Store: {delivery['store']}." if delivery["store"] else ""
        steps.append(Step(delivery["received_at"], formatting.GOOD, "Translated", asks + where))
    own = [one for one in delivery["attempts"] if one["started_at"] >= delivery["received_at"]]
    steps += [_of_attempt(one) for one in own]
    return [*steps, _ending(delivery)]


def of_case(case: Json) -> list[Step]:
    """Tell a case's story over all its deliveries and calls, oldest first."""
    steps = [_of_attempt(one) for one in case["attempts"]]
    for one in case["deliveries"]:
        came = f"{one['provider']}: {one['event_type'] or 'no event type'}"
        asks = f"Asks the bridge to {ASKS[Effect(one['effect'])]}." if one["effect"] else ""
        steps.append(Step(one["received_at"], formatting.QUIET, came, asks, delivery=one["id"]))
        if one["settled_at"]:
            steps.append(_ending(one, one["id"]))
    return sorted(steps, key=lambda step: step.at or "~")


def _of_attempt(attempt: Json) -> Step:
    said = formatting.OUTCOMES.get(attempt["outcome"], "")
    tone = formatting.tone(attempt["outcome"])
    return Step(attempt["started_at"], tone, formatting.purpose(attempt), said, attempt)


ENDINGS = {
    Status.FORWARDED: "Forwarded to 29next",
    Status.IGNORED: "Ignored by rule",
    Status.FAILED: "Failed",
    Status.PENDING: "Next try",
}
WAITS = {
    Reason.STORE_PAUSED: "Waiting for its store",
    Reason.WAITING_FOR_OPENING: "Waiting for the alert that opens its case",
}


def _ending(delivery: Json, ident: str | None = None) -> Step:
    """Tell how it ended, or what it waits for."""
    status, reason = Status(delivery["status"]), delivery["reason"]
    if reason in WAITS:
        return Step(None, formatting.WAIT, WAITS[reason], delivery=ident)
    at = delivery["due_at"] if status is Status.PENDING else delivery["settled_at"]
    return Step(at, formatting.tone(status), ENDINGS[status], formatting.plain(reason or ""), delivery=ident)
