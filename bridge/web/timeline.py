"""The timeline of a delivery, and that of a case over all its deliveries and calls. Pure."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from bridge.alert import Effect, Reason, Status
from bridge.web import formatting

Json = dict[str, typing.Any]

REQUESTS = {
    Effect.OPEN: "open a dispute",
    Effect.MATCH: "attach the transaction",
    Effect.RESOLVE: "resolve the dispute",
    Effect.WITHDRAW: "withdraw the dispute",
    Effect.INFORM: "do nothing: it only informs",
    Effect.IGNORE: "do nothing",
}


@dataclass(frozen=True)
class Step:
    """One thing that happened. `at` is None if it is still to come."""

    at: str | None
    tone: str
    title: str
    text: str = ""
    attempt: Json | None = None
    delivery: str | None = None


def of_delivery(delivery: Json) -> list[Step]:
    """Returns the steps of a delivery, oldest first."""
    event = f"{_event_type(delivery)} from {delivery['provider']}"
    steps = [Step(delivery["received_at"], formatting.QUIET, "Received", event)]
    if delivery["effect"]:
        store = f" Store: {delivery['store']}." if delivery["store"] else ""
        text = _request(delivery) + store
        steps.append(Step(delivery["received_at"], formatting.GOOD, "Translated", text))
    steps += [
        _of_attempt(attempt)
        for attempt in delivery["attempts"]
        if attempt["started_at"] >= delivery["received_at"]
    ]
    return [*steps, _ending(delivery)]


def of_case(case: Json) -> list[Step]:
    """Returns the steps of a case over all its deliveries and calls, oldest first."""
    steps = [_of_attempt(attempt) for attempt in case["attempts"]]
    for delivery in case["deliveries"]:
        ident, event = delivery["id"], f"{delivery['provider']}: {_event_type(delivery)}"
        received = Step(delivery["received_at"], formatting.QUIET, event, _request(delivery), delivery=ident)
        steps.append(received)
        if delivery["settled_at"]:
            steps.append(_ending(delivery, ident))
    return sorted(steps, key=lambda step: step.at or "~")


def _event_type(delivery: Json) -> str:
    return delivery["event_type"] or "no event type"


def _request(delivery: Json) -> str:
    """Returns a sentence on what a delivery requests; nothing if it is not translated."""
    effect = delivery["effect"]
    return f"Asks the bridge to {REQUESTS[Effect(effect)]}." if effect else ""


def _of_attempt(attempt: Json) -> Step:
    outcome = attempt["outcome"]
    title, text = formatting.purpose(attempt), formatting.OUTCOMES.get(outcome, "")
    return Step(attempt["started_at"], formatting.tone(outcome), title, text, attempt)


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
    """Returns the last step of a delivery: how it ended, or what it waits for."""
    status, reason = Status(delivery["status"]), delivery["reason"]
    if reason in WAITS:
        return Step(None, formatting.WAIT, WAITS[reason], delivery=ident)
    at = delivery["due_at"] if status is Status.PENDING else delivery["settled_at"]
    return Step(at, formatting.tone(status), ENDINGS[status], formatting.plain(reason or ""), delivery=ident)
