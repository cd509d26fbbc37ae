"""The feature matrix of docs/providers.md: what each provider's table can do, side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from bridge.alert import Category, Effect, Network
from bridge.providers import credentials, fields, signatures
from bridge.providers.base import Provider
from bridge.providers.fields import AlertSchema
from tests.support.provider_pages import hours, outcomes_of, source, table_of, tells

YES, NO = "yes", "-"
HEAD = (
    "provider",
    "authentication",
    "format",
    "opens",
    "matches",
    "resolves",
    "withdraws",
    "deadline",
    "category",
    "networks",
    "RDR accepted",
    "outcome sent",
    "pull",
    "format known from",
)
PROOFS: Mapping[type, str] = {
    credentials.Basic: "Basic",
    credentials.Bearer: "bearer token",
    credentials.Header: "static header",
    credentials.BasicOrHeader: "Basic or static header",
    signatures.StandardWebhooks: "Standard Webhooks",
    signatures.Hmac: "HMAC",
    signatures.TimestampedHmac: "HMAC with timestamp",
    signatures.Solidgate: "HMAC",
    signatures.AdyenItems: "HMAC in each item",
    signatures.NextSignature: "HMAC",
}
TRUST = re.compile(r"\bdoc\b|third party|inferred")
ACTIVE = (Effect.OPEN, Effect.MATCH, Effect.RESOLVE, Effect.WITHDRAW)
REFUND = "the gateway's refund is recorded once"


def matrix(known: Mapping[str, Provider]) -> str:
    """A line for each provider; 29next's own webhooks are no alerts."""
    return table_of(HEAD, [line(one) for one in known.values() if not one.object_path])


def line(provider: Provider) -> tuple[str, ...]:
    """What one provider can do."""
    return (
        f"[{provider.title}](providers/{provider.name}.md)",
        PROOFS[type(provider.proof)],
        ", ".join(one if one == "form" else one.upper() for one in provider.formats),
        said(events(provider, Effect.OPEN)),
        said(events(provider, Effect.MATCH)),
        said(events(provider, Effect.RESOLVE) or any(map(tells, asking(provider)))),
        said(events(provider, Effect.WITHDRAW) or any(map(withdraws, asking(provider)))),
        deadlines(provider),
        words(provider, "category", Category),
        words(provider, "network", Network),
        rapid(provider),
        said(provider.outcome is not None),
        said(getattr(provider, "pull", None) is not None),
        ", ".join(dict.fromkeys(TRUST.findall(source(provider.name)))),
    )


def said(holds: bool) -> str:
    return YES if holds else NO


def asking(provider: Provider, *effects: Effect) -> list[AlertSchema]:
    """The tables of the events that ask for something at 29next."""
    wanted = effects or ACTIVE
    return [table for one in provider.events.values() if one.effect in wanted for table in one.tables()]


def events(provider: Provider, effect: Effect) -> bool:
    return any(one.effect is effect for one in provider.events.values())


def withdraws(table: AlertSchema) -> bool:
    """Whether a body of this table can revoke its case."""
    return "withdrawn" in table.load_fields


def deadlines(provider: Provider) -> str:
    """The deadline of an alert, and of the kinds that have another."""
    others = [f"`{kind}`: {hours(length)}" for kind, length in provider.deadlines.items()]
    return hours(provider.deadline) + (f" ({', '.join(others)})" if others else "")


def words(provider: Provider, name: str, kind: type[StrEnum]) -> str:
    """Our words that a field can have in the provider's tables."""
    found = {str(word) for table in asking(provider) for word in values(table.load_fields.get(name))}
    return ", ".join(word for word in map(str, kind) if word in found and word != "unknown") or NO


def values(a_field: Any) -> Iterable[Any]:
    """What a field can become."""
    if isinstance(a_field, fields.Every):
        return [a_field.then]
    if isinstance(a_field, fields.Constant):
        return [a_field.load_default]
    return (getattr(a_field, "values", None) or {}).values()


def rapid(provider: Provider) -> str:
    """How an RDR case shows that it was accepted."""
    if "no word" in refunded(asking(provider, Effect.OPEN)):
        return "by its type"
    return "by a word" if refunded(asking(provider)) else NO


def refunded(tables: list[AlertSchema]) -> set[str]:
    """The outcomes by which the gateway's refund is recorded."""
    return {word for table in tables if tells(table) for word, does in outcomes_of(table) if REFUND in does}
