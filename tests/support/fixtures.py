"""The fixtures in tests/providers/<provider>/<case>/, and how their expectations are first written.

A folder holds the request as it arrives, but for its proof: `headers.txt`, and the bytes of `body.json`,
`body.form` or `body.xml`; and what is expected of it: `reading.json`, `alert.json` where it tells of a
case, and `dispute.json` where it opens one. For a batch each of the last three holds a list.

`python -m tests.support.fixtures acme/alert_created` writes the last three as the bridge reads it now,
for a person to compare with the provider's document.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import pytest

from bridge import providers
from bridge import tree as trees
from bridge.alert import RESOLUTIONS, Effect, Reason, Webhook
from bridge.disputes import payloads
from bridge.disputes.events import opens
from bridge.errors import Untranslatable
from bridge.providers.base import Item, Provider, Reading
from bridge.providers.fields import AlertSchema
from bridge.providers.meanings import ANY
from bridge.redact import cut_body
from bridge.tree import Tree
from tests.support import configured
from tests.support.openapi import validate_request
from tests.support.trying import try_each

FOLDER = Path(__file__).parents[1] / "providers"
PROVIDERS = providers.built_in()
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
VERSIONS = ("2023-02-10", "2024-04-01")
CARD_NUMBER = "4111111111111111"
SECRETS = ("someone:secret", "whsec_c29tZW9uZS1rbm93cy1pdA==", "X-Someone: secret", "a-secret", "0fa5" * 16)
OTHER_SECRETS = (
    "someone:else",
    "whsec_c29tZW9uZS1lbHNlLXRoYW4tdXM=",
    "X-Someone: else",
    "other",
    "1234" * 16,
)

Json = Any
Test = Callable[..., None]


@dataclass(frozen=True)
class Case:
    """One fixture folder."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def provider(self) -> Provider:
        """The provider that the folder stands under."""
        return PROVIDERS[self.folder.parent.name]

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers, lower case as a webhook has them."""
        lines = (self.folder / "headers.txt").read_text("utf-8").splitlines()
        pairs = [line.split(":", 1) for line in lines if line.strip()]
        return {name.strip().lower(): value.strip() for name, value in pairs}

    @property
    def body_file(self) -> Path:
        """The file with the request's body."""
        return next(self.folder.glob("body.*"))

    @property
    def body(self) -> bytes:
        """The request's body, byte for byte."""
        return self.body_file.read_bytes()

    @property
    def tree(self) -> Tree:
        """The body, parsed."""
        return trees.parse(self.body, self.provider.formats)

    def webhook(self, body: bytes | None = None, **headers: str) -> Webhook:
        """The request as it is stored: cut; with another body or other headers where they are given."""
        headers = self.headers | headers
        kind = headers.get("content-type", "")
        kept = cut_body(self.body if body is None else body, self.provider, kind)
        name = self.provider.name
        return Webhook(name, f"/webhooks/{name}", kept, headers)

    def items(self) -> list[Item]:
        """The items that the request is split into."""
        return list(self.provider.read(self.webhook()))

    def expected(self, what: str) -> list[Json]:
        """The expectation of a kind for each item; None where there is none."""
        file = self.folder / f"{what}.json"
        if not file.exists():
            return [None] * len(self.items())
        read = json.loads(file.read_text("utf-8"))
        return read if isinstance(read, list) else [read]

    def encode(self, tree: Tree) -> bytes:
        """Write a changed tree in the format of this body."""
        match self.body_file.suffix:
            case ".form":
                plain = {k: v if isinstance(v, str) else trees.render(v).decode() for k, v in tree.items()}
                return urlencode(plain).encode()
            case ".xml":
                return f"<case>{_xml(tree)}</case>".encode("utf-8", "surrogatepass")
            case _:
                return trees.render(tree)


@dataclass(frozen=True)
class ConfiguredCase(Case):
    """The webhook of a provider without code, as if it stood in a folder; nothing is expected of it here."""

    example: configured.Example

    @property
    def provider(self) -> Provider:
        """The provider of the file."""
        return self.example.provider

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers, but for its proof."""
        proof = {name.lower() for name in self.provider.proof.sign(b"", self.example.secret, NOW)}
        lower = {name.lower(): value for name, value in self.example.headers.items()}
        return {name: value for name, value in lower.items() if name not in proof}

    @property
    def body_file(self) -> Path:
        """What the file would be called."""
        return self.folder / f"body.{self.provider.formats[0]}"

    @property
    def body(self) -> bytes:
        """The request's body, byte for byte."""
        return self.example.body


CASES = [Case(folder) for folder in sorted(FOLDER.glob("*/*")) if (folder / "headers.txt").exists()]
"""Every fixture, in order."""
CONFIGURED = [ConfiguredCase(FOLDER / one.name / "opening", one) for one in configured.ALL]
"""The webhooks of providers without code."""


def cases_of(provider: Provider) -> list[Case]:
    """The webhooks of a provider, with code or without."""
    return [case for case in (*CASES, *CONFIGURED) if case.provider.name == provider.name]


def case_of(name: str) -> Case:
    """A fixture by its folder."""
    return Case(FOLDER / name)


def secret_of(provider: Provider) -> str:
    """A secret in the form that a provider's proof wants."""
    return next(one for one in SECRETS if provider.proof.problem(one) is None)


def other_secret(provider: Provider) -> str:
    """Another secret in that form."""
    return next(one for one in OTHER_SECRETS if provider.proof.problem(one) is None)


def told(case: Case, item: Item, reading: Reading) -> tuple[Json, Json, Json]:
    """Write what an item was read as: its reading, its alert, and the dispute that it opens."""
    read: dict[str, Json] = {
        "event_id": item.event_id,
        "event_type": item.event_type,
        "effect": reading.effect.value,
        "reason": reading.reason.value if reading.reason else None,
        "deadline_hours": case.provider.deadline_of(item).total_seconds() / 3600,
    }
    alert, body = reading.alert, None
    if reading.errors:
        read["errors"] = dict(reading.errors)
    if alert and reading.effect in OPENING and opens(reading.effect, alert):
        body = payloads.dispute_body(alert, provider=case.provider.name, received_at=NOW)
    return read, alert.to_json() if alert else None, body


OPENING = (Effect.OPEN, Effect.MATCH, Effect.RESOLVE)
"""Effects by which an alert may open its case."""


def put(tree: Tree, path: str, value: Tree) -> Tree:
    """Return a tree with another value at each alternative of a path that is there; the rest is shared."""
    for alternative in path.split("|"):
        if trees.pick(tree, alternative) is not None:
            tree = _with(tree, alternative.split("."), value)
    return tree


def _with(node: Tree, steps: list[str], value: Tree) -> Tree:
    changed: Any = node.copy()
    step = int(steps[0]) if isinstance(node, list) else steps[0]
    changed[step] = _with(changed[step], steps[1:], value) if steps[1:] else value
    return changed


def placed(tree: Tree, path: str, value: Tree) -> Tree:
    """Return a copy of a tree with a value at one path, whether something was there or not."""
    changed = copy.deepcopy(tree)
    *parents, last = path.split(".")
    node = changed
    for step in parents:
        if not isinstance(node.get(step), dict | list):
            node[step] = {}
        node = node[step][0] if isinstance(node[step], list) else node[step]
    node[last] = value
    return changed


def changed(item: Item, path: str, value: Any) -> Item:
    """An item with another value at a path."""
    return replace(item, tree=put(item.tree, path, value))


def leaves(tree: Tree, path: str = "") -> Iterator[str]:
    """The path of every value in a tree, and of every object and list around it."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        if "." not in str(key):
            here = f"{path}.{key}" if path else str(key)
            yield here
            yield from leaves(value, here)


def refusal(provider: Provider, item: Item) -> dict[str, list[str]]:
    """The errors of an item that does not fit its table."""
    with pytest.raises(Untranslatable) as caught:
        provider.translate(item)
    return caught.value.fields


def check(reading: Reading) -> None:
    """Check what holds for every alert that is not refused."""
    alert = reading.alert
    if alert is None:
        return
    assert alert.case_number
    if reading.effect is Effect.RESOLVE:
        assert alert.resolution or alert.unknown_outcome or alert.review or alert.note
    assert alert.resolution is None or alert.resolution in RESOLUTIONS[alert.type]
    assert json.dumps(alert.to_json()).isascii()
    if opens(reading.effect, alert):
        validate_request("POST", "/disputes/", payloads.dispute_body(alert, provider="any", received_at=NOW))


def _xml(tree: Tree) -> str:
    if isinstance(tree, dict):
        return "".join(f"<{name}>{_xml(value)}</{name}>" for name, value in tree.items())
    return "".join(map(_xml, tree)) if isinstance(tree, list) else escape("" if tree is None else str(tree))


def table_of(provider: Provider, item: Item) -> AlertSchema | None:
    """The table that an item is read by, if its event type is listed with one."""
    meaning = provider.events.get((item.event_type or "").lower()) or provider.events.get(ANY)
    return meaning.table_for(item) if meaning else None


def translated(cases: Iterable[Case]) -> list[tuple[Case, Item, AlertSchema]]:
    """Every item of some webhooks that a table reads, unless it is kept whatever it holds."""
    found = []
    for case in cases:
        for item in case.items():
            reading = case.provider.translate(item)
            table = table_of(case.provider, item)
            if table and reading.effect is not Effect.INFORM and reading.reason is not Reason.TEST:
                found.append((case, item, table))
    return found


TRANSLATED = translated(CASES)


def without_repeats() -> Iterator[tuple[Case, Item, AlertSchema]]:
    """The items of all providers, but for those that tell only what another of the same table tells too."""
    rows = [*TRANSLATED, *translated(CONFIGURED)]
    kept: dict[Any, list[set[Any]]] = {}
    for case, item, table in sorted(rows, key=lambda row: -len(told_by(row[2], row[1]))):
        reading = case.provider.translate(item)
        opening = reading.alert is not None and opens(reading.effect, reading.alert)
        alike = kept.setdefault((case.provider.name, type(table), reading.effect, opening), [])
        fields = told_by(table, item)
        if not any(fields <= others for others in alike):
            alike.append(fields)
            yield case, item, table


def told_by(table: AlertSchema, item: Item) -> set[tuple[str, str]]:
    """The fields of a table that an item tells, each with its place."""
    places = {name: table.place(name, item.tree) for name in table.load_fields}
    return {(name, place.path) for name, place in places.items() if place.value is not None}


TRANSLATED_ANY = list(without_repeats())
"""What has to hold of every provider's fields is tried with these, of providers without code too."""


def each_row(rows: Mapping[str, tuple[Case, *tuple[Any, ...]]]) -> Callable[[Test], Test]:
    """Have a test tried with all rows of a provider, in one item for each provider."""

    def around(test: Test) -> Test:
        names = sorted({case.provider.name for case, *_ in rows.values()})

        @pytest.mark.parametrize("name", names)
        def each(name: str) -> None:
            try_each(test, {key: row for key, row in rows.items() if row[0].provider.name == name})

        each.__name__, each.__qualname__, each.__module__ = test.__name__, test.__qualname__, test.__module__
        return each

    return around


def each_translated_of(rows: Sequence[tuple[Case, Item, AlertSchema]]) -> Callable[[Test], Test]:
    """Have a test tried with items and the tables that they are read by."""
    return each_row({f"{row[0]}#{row[1].index}": row for row in rows})


each_case = each_row({str(case): (case,) for case in CASES})
each_provider = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
each_translated = each_translated_of(TRANSLATED)

# The same with providers without code: what has to hold of every provider, whoever declared it.
WITH_CONFIGURED = {**PROVIDERS, **{case.provider.name: case.provider for case in CONFIGURED}}
any_case = each_row({str(case): (case,) for case in (*CASES, *CONFIGURED)})
any_provider = pytest.mark.parametrize("provider", WITH_CONFIGURED.values(), ids=WITH_CONFIGURED)
any_translated = each_translated_of(TRANSLATED_ANY)


def write(case: Case) -> None:
    """Write a fixture's expectations as the bridge reads its request now."""
    items = case.items()
    rows = [told(case, item, case.provider.translate(item)) for item in items]
    for what, values in zip(("reading", "alert", "dispute"), zip(*rows, strict=True), strict=True):
        file = case.folder / f"{what}.json"
        file.unlink(missing_ok=True)
        if any(value is not None for value in values):
            value = list(values) if len(values) > 1 else values[0]
            file.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(case_of(name))
