"""What a provider's own table says of it, for its page in docs/providers/."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from bridge.alert import REFUNDS, Alert, DisputeType, Effect
from bridge.providers import credentials, fields, signatures
from bridge.providers.base import HEADER, QUERY, Provider
from bridge.providers.fields import AlertSchema, Constant, Resolution
from bridge.providers.meanings import ANY, DECLINES, Meaning
from bridge.tree import Tree


def keyed(one: signatures.Hmac) -> str:
    """How an HMAC stands in its header, and what it is made over."""
    name = f"HMAC-{one.algorithm.upper()}"
    if one.parse:
        first, last = one.parse.split(",")
        return f"`{one.header}: {first}...,{last}...`, {name} over `{one.signed}`"
    return f"`{one.header}`, {name} over the body, in {one.encoding}"


PROOFS: dict[type, Callable[[Any], tuple[str, str]]] = {
    credentials.Basic: lambda _: ("HTTP Basic", "`user:password`"),
    credentials.Bearer: lambda _: ("a bearer token in `Authorization`", "the token"),
    credentials.Header: lambda _: ("one static header", "`Name: value`"),
    credentials.BasicOrHeader: lambda _: (
        "HTTP Basic, or one static header",
        "`user:password`, or `Name: value`",
    ),
    signatures.StandardWebhooks: lambda one: (
        f"Standard Webhooks: `{one.prefix}-id`, `-timestamp` and `-signature`, 5 minutes old at most",
        "the signing secret, `whsec_...`",
    ),
    signatures.Hmac: lambda one: (keyed(one), "the signing key, as it is shown"),
    signatures.TimestampedHmac: lambda one: (
        f"`{one.header}: t=...,v1=...`, HMAC-{one.algorithm.upper()}, 5 minutes old at most",
        "the signing secret, as it is shown",
    ),
    signatures.Solidgate: lambda _: (
        "`signature`, HMAC over the body; version 1 with the header `merchant` too",
        "the webhook's secret key",
    ),
    signatures.AdyenItems: lambda _: ("an HMAC-SHA256 inside each item", "the HMAC key, in hex"),
    signatures.NextSignature: lambda one: (
        f"`{one.header}`, HMAC-SHA256 over the body, as sent or as Python writes it again",
        "the signing secret, which `bridge subscribe` hands over",
    ),
}
FACTS = {"amount", "currency"}
DOES = {
    Effect.OPEN: "opens",
    Effect.MATCH: "matches",
    Effect.RESOLVE: "resolves",
    Effect.WITHDRAW: "withdraws",
    Effect.INFORM: "only shown",
    Effect.IGNORE: "ignored",
}


def block(provider: Provider) -> str:
    """What is generated of one provider."""
    parts = [
        "## At a glance",
        facts(provider),
        "## Events",
        events(provider),
        *(["## What its outcomes become", endings(provider)] if any(map(tells, provider.tables())) else []),
        "## Sources",
        source(provider.name),
    ]
    return "\n\n".join(parts)


def source(name: str) -> str:
    """How far the wire format is sourced, as the provider's module says it."""
    module = import_module(f"bridge.providers.{name}")
    return inspect.cleandoc(module.__doc__ or "").partition("\n\n")[2]


def facts(provider: Provider) -> str:
    how, secret = PROOFS[type(provider.proof)](provider.proof)
    rows = {
        "URL": f"`/webhooks/{provider.name}`",
        "secret": f"`{provider.secret_variable}`: {secret}",
        "authentication": how,
        "body": " or ".join(one.upper() if one != "form" else "form" for one in provider.formats),
        "event": place(provider.event_type) if provider.event_type else "only one",
        "a repeat has the same": ", ".join(map(place, provider.event_id)),
        "answer": " or ".join(filter(None, map(answer, provider.acknowledgements))) or OURS,
    }
    if not provider.object_path:
        rows["any other event"] = others(provider)
    if provider.outcome:
        base = provider.outcome.url or "<api_url>/"
        variables = [provider.consumer_variable] if provider.oauth else []
        keys = " and ".join(f"`{one}`" for one in [*variables, provider.key_variable])
        target = f"`{base}{provider.outcome.path}`"
        rows["outcome sent"] = f"to {target}, with {keys}, if you set `outcome = true`"
    if provider.inform:
        rows["only shown"] = "events of the kind " + ", ".join(f"`{one}`" for one in sorted(provider.inform))
    if provider.test:
        rows["test traffic"] = "`{}` is `{}`: kept and ignored".format(*provider.test)
    return table_of(("", ""), list(rows.items()))


OURS = '200 `{"id": "...", "status": "received"}`'


def answer(one: Any) -> str:
    """A provider's own acknowledgement, with what it copies into it."""
    if not one.body:
        return f"an empty {one.status}"
    echoed = "".join(f'"{name}": ..., ' for name in one.echo)
    return f"{one.status} `{one.body.replace('{', '{' + echoed, 1)}`"


def place(path: str) -> str:
    """Where something stands, alternatives told apart."""
    words = {HEADER: "header", QUERY: "query"}
    named = [
        next(
            (f"{word} `{one.removeprefix(kind)}`" for kind, word in words.items() if kind in one), f"`{one}`"
        )
        for one in path.split("|")
    ]
    return " or ".join(named)


def others(provider: Provider) -> str:
    """What becomes of an event type that is not listed."""
    unknown = "`failed`, `unknown_event`"
    if provider.about == (ANY,):
        shown = ", ".join(f"`{one}`" for one in provider.unrelated)
        return f"{unknown}; {shown} is ignored" if shown else unknown
    return f"{unknown} if it is like {', '.join(f'`{one}`' for one in provider.about)}; else ignored"


def events(provider: Provider) -> str:
    """Every event type: what it does, to which kind of dispute, and until when."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for word, one in provider.events.items():
        said = does(provider, one), disputes(one), until(provider, word, one)
        rows.setdefault(said, []).append(f"`{word}`" if word else "(none)")
    head = ("event", "what it does", "dispute", "deadline")
    return table_of(head, [(", ".join(words), *said) for said, words in rows.items()])


def does(provider: Provider, meaning: Meaning) -> str:
    """What an event does, and whether it may do more than its effect says."""
    if provider.object_path:
        return "keeps the local index, the cases and the stores current"
    known = meaning.table.load_fields if meaning.table else {}
    found = [table.load_fields.get("resolution") for table in meaning.tables()]
    outcomes = [one for one in found if one is not None]
    if meaning.effect is Effect.RESOLVE and not known.keys() >= FACTS and "transaction_amount" not in known:
        return "resolves, once something has opened the case"
    if meaning.effect not in (Effect.OPEN, Effect.MATCH) or not outcomes:
        return DOES[meaning.effect]
    certain = None not in found and all(
        isinstance(one, Constant) or isinstance(one.load_default, str) for one in outcomes
    )
    return DOES[meaning.effect] + (" and resolves" if certain else "; resolves what is decided already")


def tells(table: AlertSchema) -> bool:
    """Whether a table reads how a case ended, or says it by itself."""
    return not {"resolution", "review"}.isdisjoint(table.load_fields)


def endings(provider: Provider) -> str:
    """Every outcome that a provider tells, by its event: what happens at 29next."""
    by_table: dict[tuple[type, str], tuple[AlertSchema, list[str]]] = {}
    for word, meaning in provider.events.items():
        if meaning.effect in (Effect.INFORM, Effect.IGNORE):
            continue
        tables = [("", meaning.table), *meaning.kinds.items()]
        for kind, table in ((kind, one) for kind, one in tables if one and tells(one)):
            key = type(table), kind
            by_table.setdefault(key, (table, []))[1].append(f"`{word}`" if word else "(none)")
    lines: list[tuple[str, str, str]] = []
    for (_, kind), (table, words) in by_table.items():
        event = ", ".join(words) + (f" of the kind `{kind}`" if kind else "")
        said: dict[str, list[str]] = {}
        for word, what in outcomes_of(table):
            said.setdefault(what, []).extend([word] if word not in said.get(what, ()) else [])
        for what, outcomes in said.items():
            lines.append((event, ", ".join(outcomes), what))
            event = ""
    return table_of(("event", "outcome", "at 29next"), lines)


def outcomes_of(table: AlertSchema) -> list[tuple[str, str]]:
    """Each word for an outcome that a table has, and what it does; the rest last."""
    outcome = table.load_fields.get("resolution")
    if not isinstance(outcome, Resolution):
        return [("(always)", happens(read(table, {}), ""))]
    places = table.path("resolution").split("|")
    found = []
    for word, ours in (outcome.values or {}).items():
        shown = "any other" if word == ANY else f"`{outcome.spelled.get(word, word)}`"
        if word in DECLINES and ours == fields.NOT_FINAL:
            shown = DECLINED
        alerts = [read(table, placed(place, example(word))) for place in places]
        best = next((one for one in alerts if one.refunded_by_gateway or one.withdrawn), alerts[0])
        if isinstance(ours, dict):
            found += [
                (f"{shown} (of a{'n' if kind == 'alert' else ''} {kind})", called(one))
                for kind, one in ours.items()
            ]
        else:
            found.append((shown, happens(best, example(word)) + provided(table, word, ours)))
    if "*" not in (outcome.values or {}):
        found.append(("any other", UNKNOWN))
    return [*found, ("no word", happens(read(table, {}), ""))]


def provided(table: AlertSchema, word: str, ours: Any) -> str:
    """Where else something has to stand for the gateway's refund to be recorded."""
    every = table.load_fields.get("refunded_by_gateway")
    if not isinstance(every, fields.Every) or ours not in REFUNDS:
        return ""
    outcome = table.path("resolution")
    others = [
        f"`{path.partition('|')[0]}` is `{'`, `'.join(sorted(flag.true))}`"
        for path, flag in every.flags.items()
        if path != outcome
    ]
    takes = outcome not in every.flags or every.flags[outcome].knows(word)
    return f"; the gateway's refund is recorded once where {' and '.join(others)}" if takes else ""


DECLINED = "a word that declines it"
UNKNOWN = "stays open; the alert is `failed`, `unknown_outcome`"
OPEN = "stays open: not final"


def called(ours: str | None) -> str:
    """What one word of ours does."""
    if ours in (fields.REVIEW, fields.NOTE):
        return "stays open, in `review`" if ours == fields.REVIEW else "stays open, with a note"
    if ours == "other":
        return "resolved as `other`, with the word as its message"
    return f"resolved as `{ours}`" if ours else OPEN


def happens(alert: Alert, word: str) -> str:
    """What an alert with an outcome does at 29next."""
    if alert.unknown_outcome:
        return UNKNOWN
    if alert.review or alert.note:
        return called(fields.REVIEW if alert.review else fields.NOTE)
    if alert.withdrawn:
        return "withdrawn"
    if alert.resolution == "other" and alert.message != word:
        return "resolved as `other`"
    refund = ", and the gateway's refund is recorded once" if alert.refunded_by_gateway else ""
    return called(alert.resolution) + refund


def example(word: str) -> str:
    """A word that a pattern stands for."""
    return re.sub(r"\[(.)[^]]*\]", r"\1", word).replace("*", "something new" if word == ANY else "zz")


def read(table: AlertSchema, tree: Tree) -> Alert:
    """What a table makes of a body that tells no more than an outcome."""
    return table.translate({**tree, table.path("case_number").partition("|")[0]: "7"}).alert


def placed(path: str, word: str) -> Tree:
    """A body with a word at a path."""
    return {path: word}


def disputes(meaning: Meaning) -> str:
    if meaning.table is None or meaning.effect in (Effect.INFORM, Effect.IGNORE):
        return ""
    kind = meaning.table.load_fields.get("type")
    if kind is None:
        return "alert"
    return str(kind.load_default) if isinstance(kind, Constant) else " or ".join(DisputeType)


def until(provider: Provider, word: str, meaning: Meaning) -> str:
    """The deadline of an event, with the kinds of case that have another."""
    table = meaning.table
    if table is None or meaning.effect in (Effect.INFORM, Effect.IGNORE):
        return ""
    for pattern, deadline in provider.deadlines.items():
        if fnmatchcase(word, pattern):
            return hours(deadline)
    kinds = provider.subtype in {table.path(name) for name in table.load_fields}
    others = [
        f"`{pattern}`: {hours(deadline)}"
        for pattern, deadline in (provider.deadlines.items() if kinds else ())
        if not any(fnmatchcase(one, pattern) for one in provider.events)
    ]
    return hours(provider.deadline) + (f" ({', '.join(others)})" if others else "")


def hours(length: timedelta) -> str:
    return f"{length.total_seconds() / 3600:g} h"


def table_of(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
