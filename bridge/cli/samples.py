"""Makes sample webhooks from a provider's table, for `bridge send` and for tests. Pure."""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

from marshmallow.fields import Field

from bridge import tree as trees
from bridge.alert import Effect
from bridge.providers import fields
from bridge.providers.base import HEADER, QUERY, TOP, Provider
from bridge.providers.fields import AlertSchema
from bridge.providers.meanings import ANY, Meaning
from bridge.tree import Tree


@dataclass(frozen=True)
class Sale:
    """The payment that a sample alert is about, and the case number of that alert."""

    amount: str
    first_six: str
    last_four: str
    auth_code: str
    network_transaction_id: str
    external_id: str
    order: str
    sold_at: datetime
    case_number: str

    def to_transaction(self) -> dict[str, typing.Any]:
        """Returns the payment in the form that the sandbox store takes."""
        copied = ("amount", "auth_code", "network_transaction_id", "external_id", "order")
        return {
            **{name: getattr(self, name) for name in copied},
            "currency": "USD",
            "type": "debit",
            "status": "succeeded",
            "bankcard_first_six": self.first_six,
            "bankcard_last_four": self.last_four,
            "date_created": self.sold_at.isoformat(),
        }


@dataclass(frozen=True)
class Sample:
    """A webhook to send: its body, its headers, and the query of its URL."""

    body: bytes
    headers: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)


def make_sale(chance: Random, now: datetime) -> Sale:
    """Returns a random payment of two days ago."""

    def digits(count: int) -> str:
        return "".join(chance.choices("0123456789", k=count))

    return Sale(
        amount=f"{chance.randint(9, 199)}.{chance.randint(0, 99):02d}",
        first_six="411111",
        last_four=digits(4),
        auth_code=digits(6),
        network_transaction_id="3" + digits(14),
        external_id="pi_" + digits(16),
        order=digits(6),
        sold_at=now - timedelta(days=2),
        case_number="".join(chance.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=20)),
    )


def events(provider: Provider) -> list[str]:
    """Returns the event types that have samples, those that open a case first."""
    named = [name for name in provider.events if name not in (ANY, "")] or list(provider.events)
    return sorted(named, key=lambda name: provider.events[name].effect is not Effect.OPEN)


def opening(provider: Provider, event: str) -> str | None:
    """Returns the event to send first, if this one has too few facts to open a case."""
    table, first = provider.events[event].table, events(provider)[0]
    first_opens = provider.events[first].effect is Effect.OPEN
    has_amount = table is None or not {"amount", "transaction_amount"}.isdisjoint(table.load_fields)
    return None if has_amount or not first_opens else first


def make(provider: Provider, event: str, sale: Sale, chance: Random, now: datetime) -> Sample:
    """Returns a webhook of one event type, as the provider's table describes it."""
    meaning = provider.events[event]
    tree: dict[str, Tree] = {}
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    item: dict[str, Tree] = {} if provider.items else tree
    for path, value in _values(provider, meaning, sale, chance, now):
        _put(item, path, value)
    # the paths after the first are states of the event, where a random id would be an unknown word
    outside = {HEADER: headers, QUERY: query}
    _put_anywhere(item, outside, provider.event_id[0], f"evt-{chance.getrandbits(48):x}", replace=False)
    if provider.event_type and event:
        _put_anywhere(item, outside, provider.event_type, event, replace=True)
    if provider.items and provider.items != TOP:
        _put(tree, provider.items, [item])
    body, content_type = _render(provider, [item] if provider.items == TOP else tree)
    return Sample(body, headers | {"Content-Type": content_type}, query)


def sign(provider: Provider, sample: Sample, secret: str, now: datetime, url: str = "") -> Sample:
    """Adds the proof that the sender knows the secret, in the headers or inside the body.

    `url` is the one that the provider calls, its query included: some sign it too.
    """
    body = provider.proof.seal(sample.body, secret)
    proof_headers = provider.proof.sign(body, secret, now, url)
    return dataclasses.replace(sample, body=body, headers=sample.headers | proof_headers)


def _values(
    provider: Provider, meaning: Meaning, sale: Sale, chance: Random, now: datetime
) -> list[tuple[str, Tree]]:
    """Returns the paths and values of a sample body."""
    table = meaning.table
    if table is None:
        return []
    values = []
    for name, a_field in table.load_fields.items():
        wanted = a_field.required or (name == "resolution" and meaning.effect is Effect.RESOLVE)
        value = _value(name, a_field, sale, chance, now, wanted=wanted)
        if value is not None:
            values.append((table.path(name), value))
    if provider.subtype:
        values.append((provider.subtype, _subtype(provider, meaning, table)))
    return values


def _subtype(provider: Provider, meaning: Meaning, table: AlertSchema) -> str:
    """Returns a word for the kind of case. If its path is also the outcome's, one that suits the event."""
    outcome = table.load_fields.get("resolution")
    if isinstance(outcome, fields.Word) and table.path("resolution") == provider.subtype:
        return next(iter(_words(outcome, final=meaning.effect is Effect.RESOLVE)), "sandbox")
    kinds = sorted({pattern for pattern in provider.deadlines if pattern.isalpha()})
    return kinds[0] if kinds else "ethoca"


def _words(a_field: fields.Word, *, final: bool = True) -> list[str]:
    """Returns the words of a field's table that are final, or those that are not; patterns left out."""
    values = {word: ours for word, ours in (a_field.values or {}).items() if ANY not in word}
    return [word for word, ours in values.items() if _is_final(ours) == final]


def _is_final(ours: typing.Any) -> bool:
    """Whether a word has a value of ours, which may be given by type of dispute."""
    return any(map(_is_final, ours.values())) if isinstance(ours, dict) else ours is not None


def _value(
    name: str, a_field: Field[typing.Any], sale: Sale, chance: Random, now: datetime, *, wanted: bool
) -> Tree:
    """Returns a plausible value for a field by its name, or else by its kind."""
    by_name = {
        **vars(sale),
        "transaction_amount": sale.amount,
        "arn": "7" + "".join(chance.choices("0123456789", k=22)),
        "descriptor": "SANDBOX*SHOP",
        "transaction_at": _moment(a_field, sale.sold_at),
        "happened_at": _moment(a_field, now),
        "card": f"{sale.first_six}******{sale.last_four}",
        "card_first_six": sale.first_six,
        "card_last_four": sale.last_four,
    }
    if isinstance(a_field, fields.Constant | fields.Flag):
        return None
    if isinstance(a_field, fields.Word):
        return next(iter(_words(a_field)), "sandbox") if wanted else None
    if isinstance(a_field, fields.Currency):
        return "USD"
    value = by_name.get(name)
    if isinstance(a_field, fields.Money) and value and a_field.unit == "minor":
        return value.replace(".", "").lstrip("0")
    if isinstance(a_field, fields.Money) and value and a_field.decimal_comma:
        return value.replace(".", ",")
    return value or ("sandbox-" + name if wanted else None)


def _moment(a_field: Field[typing.Any], moment: datetime) -> str:
    """Formats a time as the field expects it."""
    own_format = getattr(a_field, "format", None)
    return moment.strftime(own_format) if own_format else moment.isoformat(timespec="seconds")


def _put(tree: dict[str, Tree], path: str, value: Tree) -> None:
    """Sets a value at the first alternative of a path. Creates the objects and lists on the path."""
    step, _, rest = path.partition("|")[0].partition(".")
    position, _, inner = rest.partition(".")
    if not rest:
        tree[step] = value
    elif not position.isdecimal():
        _put(tree.setdefault(step, {}), rest, value)
    elif inner:
        _put(tree.setdefault(step, [{}])[0], inner, value)
    else:
        tree[step] = [value]


def _put_anywhere(
    tree: dict[str, Tree], outside: dict[str, dict[str, str]], path: str, value: str, *, replace: bool
) -> None:
    """Sets a value at its place: in a header, in the query, or in the body."""
    first = path.partition("|")[0]
    prefix = next((prefix for prefix in outside if first.startswith(prefix)), None)
    if prefix:
        outside[prefix][first.removeprefix(prefix)] = value
    elif replace or trees.pick(tree, first) is None:
        _put(tree, first, value)


def _render(provider: Provider, tree: Tree) -> tuple[bytes, str]:
    """Returns the body and its content type."""
    if provider.formats[0] == "json":
        return json.dumps(tree, indent=2).encode(), "application/json"
    if provider.formats[0] == "form":
        flat = {name: value if isinstance(value, str) else json.dumps(value) for name, value in tree.items()}
        return urlencode(flat).encode(), "application/x-www-form-urlencoded"
    return _xml({"case": tree}).encode(), "application/xml"


def _xml(tree: Tree) -> str:
    if not isinstance(tree, dict):
        return escape(str(tree))
    return "".join(
        f"<{name}{_attributes(element)}>{_xml(element)}</{name}>"
        for name, value in tree.items()
        if not name.startswith("@")
        for element in (value if isinstance(value, list) else [value])
    )


def _attributes(tree: Tree) -> str:
    pairs = tree.items() if isinstance(tree, dict) else ()
    return "".join(f" {name[1:]}={quoteattr(str(value))}" for name, value in pairs if name.startswith("@"))
