"""Formats values for a page: times, money, colours, and what to do about a failure. Pure."""

from __future__ import annotations

import json
import shlex
import typing
from datetime import UTC, datetime

from markupsafe import Markup

from bridge import tree as trees
from bridge.alert import Reason, State, Status
from bridge.redact import CUT
from bridge.tree import BadBody, Number, Tree
from bridge.worker.notify import span

Json = dict[str, typing.Any]

GOOD, WAIT, BAD, QUIET = "good", "wait", "bad", "quiet"
COLOURED = {
    GOOD: {Status.FORWARDED, State.OPEN, State.RESOLVED, "ok", "told", "done"},
    WAIT: {Status.PENDING, State.NEW, State.UNCLEAR, "intended", "throttled", "temporary", "owed", "running"},
    BAD: {Status.FAILED, State.REVIEW, "refused", "store_refused", "late"},
}
"""The words of each colour: statuses, states and outcomes. The page always shows the word too."""

MEANINGS = {
    Reason.WAITING_FOR_OPENING: "This outcome arrived before its alert. It waits for it until the deadline.",
    Reason.STORE_PAUSED: "The store is paused, and so is the deadline, until the store accepts calls again.",
    Reason.INFORM: "Ignored by rule: this event only informs.",
    Reason.IGNORE: "Ignored by rule: this event needs nothing done.",
    Reason.DISMISSED: "It failed, and somebody dismissed it. You can still replay it.",
    Reason.TEST: "Ignored by rule: test traffic must not block a real customer.",
    Reason.UNTRANSLATABLE: "The body does not match this provider's format.",
    Reason.UNKNOWN_EVENT: "The provider sent an event type that is not listed.",
    Reason.UNKNOWN_OUTCOME: "The provider sent an outcome that is not listed. The dispute is open.",
    Reason.CONTRADICTED: "29next has a different outcome.",
    Reason.NO_STORE: "No route matches, so the store is unknown.",
    Reason.REFUSED: "29next rejected it. Its answer is below.",
    Reason.EXPIRED: "29next had not accepted it seven days after its deadline.",
    Reason.NO_OPENING: "An outcome arrived, but never the alert it belongs to.",
    Reason.BUG: "This is a bug in the bridge.",
}
FIXES = {
    Reason.UNTRANSLATABLE: "Compare the rejected fields below with the provider's documentation. Fix "
    "the field mapping or the setting (zone, amount_unit), then replay it.",
    Reason.UNKNOWN_EVENT: "Ask the provider what this event means. List it in bridge.toml, "
    "restart, then replay it.",
    Reason.UNKNOWN_OUTCOME: "Ask the provider what this word means. List it in bridge.toml, under "
    "[providers.NAME.fields] resolution = { values = { ... } }, restart, then replay it.",
    Reason.CONTRADICTED: "Find out which outcome is right. If it is this one, change it in 29next yourself, "
    "then dismiss this.",
    Reason.NO_STORE: "Add a route or a default store in bridge.toml, restart, then replay it.",
    Reason.REFUSED: "Read 29next's answer in the last call below, fix the cause there, then replay it.",
    Reason.EXPIRED: "See why the calls below failed. A replay starts a new deadline.",
    Reason.NO_OPENING: "If 29next has the dispute under another case number, resolve it there. Replay "
    "this once its alert has arrived.",
    Reason.BUG: "Report it with the trace below. Replay it after an update.",
}
"""How to fix each kind of failure."""

PURPOSES = (
    ("POST", "disputes/", "Create the dispute"),
    ("PATCH", "disputes/*/", "Attach the transaction, or replace the resolution"),
    ("POST", "disputes/*/resolve/", "Resolve the dispute"),
    ("POST", "disputes/*/notes/", "Add a note"),
    ("POST", "transactions/*/refund/", "Record the gateway's refund"),
    ("GET", "disputes/", "Look for the dispute"),
    ("GET", "disputes/*/", "Read the dispute"),
    ("GET", "disputes/*/notes/", "Look for the note"),
    ("GET", "transactions/*/", "Read the sale"),
    ("GET", "transactions/", "Look for the transaction"),
    ("GET", "orders/*/fulfillment-orders/", "Read what is to be shipped"),
    ("GET", "orders/*/", "Look for the order"),
)
"""What each call to 29next is for; `*` stands for a number."""
OUTCOMES = {
    "intended": "sent, no answer recorded",
    "throttled": "rate limited",
    "temporary": "not sent, retried",
    "unclear": "no clear answer, looked up before any retry",
    "dropped": "not sent, its time slot had passed",
    "refused": "refused",
    "store_refused": "the store rejected the token",
}
UNSENT = frozenset(
    {"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "via", "forwarded"}
)
"""Headers that curl sets itself, or that proxies have added."""


def escaped(value: object) -> object:
    """Returns a text with everything escaped that cannot be printed; any other value as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return trees.printable(value, "\n\r\t")


def tone(word: str) -> str:
    """Returns the colour of a status, a state or an outcome: QUIET for any that has none."""
    return next((colour for colour, words in COLOURED.items() if word in words), QUIET)


def plain(word: object) -> str:
    """Returns a word of the bridge with blanks for its underscores."""
    return str(word).replace("_", " ")


def stamp(moment: str | None, precision: str = "seconds") -> str:
    """Formats a time in UTC, to the second or more precisely."""
    if moment is None:
        return ""
    in_utc = datetime.fromisoformat(moment).astimezone(UTC).replace(tzinfo=None)
    return f"{in_utc.isoformat(' ', precision)} UTC"


def ago(moment: str | None, now: float) -> str:
    """Formats a time as how long ago it was, or how soon it will be."""
    if moment is None:
        return ""
    seconds = now - datetime.fromisoformat(moment).timestamp()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def precise(seconds: float | None) -> str:
    """Formats how long a call took."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else span(seconds)


def money(amount: object, currency: object = None) -> str:
    """Formats an amount with its currency, its thousands separated by commas."""
    if amount in (None, ""):
        return ""
    whole, point, cents = str(amount).partition(".")
    grouped = f"{int(whole):,}" if whole.isdecimal() else whole
    return f"{grouped}{point}{cents} {currency or ''}".strip()


def purpose(attempt: Json) -> str:
    """Returns what a call was for. The path of a call to a provider is a whole URL."""
    if "://" in attempt["path"]:
        if attempt["method"] == "GET":
            return "Read the outcome"
        return "Send the outcome" if attempt["request"] else "Log in to the provider"
    path = "/".join("*" if part.isdecimal() else part for part in attempt["path"].split("/"))
    call = (attempt["method"], path)
    return next((text for method, pattern, text in PURPOSES if (method, pattern) == call), "Call")


def pretty(value: object) -> str:
    """Formats JSON, and text that is JSON, over several lines; returns other text as it is."""
    if isinstance(value, str):
        try:
            return indented(trees.parse(value.encode("utf-8", "surrogatepass"), ("json",)))
        except BadBody:
            return value
    return json.dumps(value, indent=2, ensure_ascii=False)


def indented(tree: Tree, level: int = 0) -> str:
    """Formats a tree as JSON over several lines. Its numbers keep their digits."""
    inner, outer = "  " * (level + 1), "  " * level
    if isinstance(tree, dict) and tree:
        lines = [f"{inner}{_quoted(k)}: {indented(v, level + 1)}" for k, v in tree.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    if isinstance(tree, list) and tree:
        return "[\n" + ",\n".join(inner + indented(item, level + 1) for item in tree) + f"\n{outer}]"
    return str(tree) if isinstance(tree, Number) else _quoted(tree)


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def curl(webhook: Json, base: str) -> str | None:
    """Formats a webhook as a curl command without its secrets, never stored; None if its body is gone."""
    if (body := webhook["body"]) is None:
        return None
    arguments = ["curl", "-X", "POST", shlex.quote(base.rstrip("/") + webhook["path"])]
    for name, value in webhook["headers"].items():
        if name in UNSENT or name.startswith(("x-forwarded-", "x-request-", "cf-")):
            continue
        shown = "YOUR SECRET" if value == CUT else value
        arguments += ["\\\n  -H", shlex.quote(f"{name}: {shown}")]
    option = "--data-raw" if body.startswith("@") else "--data-binary"  # which would read a file
    return " ".join([*arguments, f"\\\n  {option}", shlex.quote(body)])
