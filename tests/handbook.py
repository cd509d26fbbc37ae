"""The part of docs/providers.md that the providers' own tables say.

`python -m tests.handbook` writes it anew, between the lines that name a provider; a test compares.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from bridge import proof, providers
from bridge.alert import DisputeType, Effect
from bridge.fields import Constant
from bridge.provider import HEADER, Meaning, Provider
from tests.fake_next import ROOT

FILE = ROOT / "docs" / "providers.md"
BLOCK = re.compile(r"(?s)<!-- (\w+): written by `python -m tests\.handbook` -->\n.*?<!-- end of \1 -->")

PROOFS: dict[type, Callable[[Any], tuple[str, str]]] = {
    proof.Basic: lambda _: ("HTTP Basic", "`user:password`"),
    proof.Bearer: lambda _: ("a bearer token in `Authorization`", "the token"),
    proof.Header: lambda _: ("one static header", "`Name: value`"),
    proof.BasicOrHeader: lambda _: (
        "HTTP Basic, or one static header",
        "`user:password`, or `Name: value`",
    ),
    proof.StandardWebhooks: lambda one: (
        f"Standard Webhooks: `{one.prefix}-id`, `-timestamp` and `-signature`, 5 minutes old at most",
        "the signing secret, `whsec_...`",
    ),
    proof.TimestampedHmac: lambda one: (
        f"`{one.header}: t=...,v1=...`, HMAC-{one.algorithm.upper()}, 5 minutes old at most",
        "the signing secret, as it is shown",
    ),
    proof.Solidgate: lambda _: (
        "`signature`, HMAC over the body; version 1 with the header `merchant` too",
        "the webhook's secret key",
    ),
    proof.AdyenItems: lambda _: ("an HMAC-SHA256 inside each item", "the HMAC key, in hex"),
    proof.Resigned: lambda one: (
        f"`{one.header}`, HMAC-SHA256 over the body, as sent or as Python writes it again",
        "the signing secret, which `bridge subscribe` hands over",
    ),
}
FACTS = {"amount", "currency"}
DOES = {
    Effect.OPEN: "opens",
    Effect.MATCH: "tells the payment",
    Effect.RESOLVE: "resolves",
    Effect.WITHDRAW: "withdraws",
    Effect.INFORM: "only shown",
    Effect.IGNORE: "ignored",
}


def written(text: str) -> str:
    """The page with every block as the providers' tables have it now."""
    known = providers.built_in()
    return BLOCK.sub(lambda found: block(known[found[1]]), text)


def block(provider: Provider) -> str:
    """What is generated of one provider."""
    name = provider.name
    parts = [
        f"<!-- {name}: written by `python -m tests.handbook` -->",
        source(name),
        facts(provider),
        events(provider),
        f"<!-- end of {name} -->",
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
        "proof": how,
        "body": " or ".join(one.upper() if one != "form" else "form" for one in provider.formats),
        "event": place(provider.event_type) if provider.event_type else "only one",
        "a repeat has the same": ", ".join(map(place, provider.event_id)),
        "answer": " or ".join(filter(None, map(answer, provider.acknowledgements))) or OURS,
    }
    if provider.outcome:
        told = f"`{provider.outcome.url}{provider.outcome.path}`"
        rows["its outcome"] = f"told to {told} where `outcome = true`, with `{provider.key_variable}`"
    if provider.inform:
        rows["only shown"] = "whatever is of the kind " + ", ".join(
            f"`{one}`" for one in sorted(provider.inform)
        )
    if provider.test:
        rows["test traffic"] = "`{}` is `{}`: kept and ignored".format(*provider.test)
    return table(("", ""), list(rows.items()))


OURS = '200 `{"id": "...", "status": "received"}`'


def answer(one: Any) -> str:
    """A provider's own acknowledgement, with what it copies into it."""
    if not one.body:
        return f"an empty {one.status}"
    echoed = "".join(f'"{name}": ..., ' for name in one.echo)
    return f"{one.status} `{one.body.replace('{', '{' + echoed, 1)}`"


def place(path: str) -> str:
    """Where something stands, alternatives told apart."""
    named = [
        f"header `{one.removeprefix(HEADER)}`" if HEADER in one else f"`{one}`" for one in path.split("|")
    ]
    return " or ".join(named)


def events(provider: Provider) -> str:
    """Every event type: what it does, to which kind of dispute, and until when."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for word, one in provider.events.items():
        said = does(provider, one), disputes(one), until(provider, word, one)
        rows.setdefault(said, []).append(f"`{word}`" if word else "(none)")
    head = ("event", "what it does", "dispute", "deadline")
    return table(head, [(", ".join(words), *said) for said, words in rows.items()])


def does(provider: Provider, meaning: Meaning) -> str:
    """What an event does, and whether it may do more than its effect says."""
    if provider.tells:
        return "keeps the local index, the cases and the stores current"
    fields = meaning.table.load_fields if meaning.table else {}
    outcome = fields.get("resolution")
    if meaning.effect is Effect.RESOLVE and not fields.keys() >= FACTS:
        return "resolves, once something has opened the case"
    if meaning.effect not in (Effect.OPEN, Effect.MATCH) or outcome is None:
        return DOES[meaning.effect]
    certain = isinstance(outcome, Constant) or isinstance(outcome.load_default, str)
    return DOES[meaning.effect] + (" and resolves" if certain else "; resolves what is decided already")


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


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    FILE.write_text(written(FILE.read_text("utf-8")), "utf-8")
