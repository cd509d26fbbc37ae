"""What a provider declares, and how a webhook is read by it. Pure: no I/O, no clock, no environment.

A provider is a table: its proof, where an event's id and type stand, what each type means, and the
fields of its body. Branches belong here, once, and never into a provider's own file.
"""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address

from bridge import tree as trees
from bridge.alert import Alert, Effect, Reason
from bridge.errors import UnknownEvent, Untranslatable
from bridge.fields import FACTS, AlertSchema, Card, Moment, Money
from bridge.tree import BadBody, Tree, printable

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from bridge.alert import Webhook
    from bridge.proof import Proof

LONGEST_ID = 200
ANY = "*"
HEADER = "header:"


@dataclass(frozen=True)
class Meaning:
    """What one event type asks for, and the table that its body is read by."""

    effect: Effect
    table: AlertSchema | None = None


def opens(table: type[AlertSchema]) -> Meaning:
    """Mean an event that opens a case."""
    return Meaning(Effect.OPEN, table())


def matches(table: type[AlertSchema]) -> Meaning:
    """Mean an event that tells which payment it is; with the case's facts it opens the case too."""
    return Meaning(Effect.MATCH, _without_facts(table))


def resolves(table: type[AlertSchema]) -> Meaning:
    """Mean an event that tells the outcome; with the case's facts it opens the case too."""
    return Meaning(Effect.RESOLVE, _without_facts(table))


def withdraws(table: type[AlertSchema]) -> Meaning:
    """Mean an event that revokes a case."""
    return Meaning(Effect.WITHDRAW, _without_facts(table))


def informs(table: type[AlertSchema] | None = None) -> Meaning:
    """Mean an event by which nobody asks for a refund; a policy may turn it into an opening."""
    return Meaning(Effect.INFORM, table() if table else None)


ignored = Meaning(Effect.IGNORE)
"""An event that is known and not acted on."""


def _without_facts(table: type[AlertSchema]) -> AlertSchema:
    required = [n for n, f in table().load_fields.items() if f.required and n in FACTS]
    return table(partial=required)


@dataclass(frozen=True)
class Acknowledgement:
    """The answer that the provider's protocol wants; `echo` copies fields of its body into it."""

    body: str = ""
    content_type: str = "application/json"
    status: int = 200
    echo: tuple[str, ...] = ()
    when: str = ""  # a path: this acknowledgement is for bodies that have it

    def text(self, tree: Tree) -> str:
        """Write the answer to one webhook."""
        if not self.echo:
            return self.body
        echoed = {path.rpartition(".")[2]: trees.pick(tree, path) for path in self.echo}
        return json.dumps({**echoed, **json.loads(self.body)})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a provider is told how its alert ended; `{id}` in a path is the alert's `provider_id`."""

    url: str  # the base of its API, with a slash at its end
    path: str  # of the POST that tells it
    words: Mapping[str, str]  # 29next's resolutions -> theirs; what is not here waits for a person
    word_in: str  # where their word stands in the body
    message_in: str | None = None  # where the reason of `other` stands
    header: str = "Authorization"  # what carries the key, or the token that it is exchanged for
    scheme: str = "Bearer "
    login: str | None = None  # the path where the key is exchanged: a POST, whose answer has `token`
    read: tuple[str, str] | None = None  # where the alert is read, and the path of their word in the answer
    finals: Mapping[str, str] = field(default_factory=dict)  # their words that end an alert -> 29next's
    on: bool = False  # the operator's policy

    def body(self, resolution: str, message: str | None) -> dict[str, str]:
        """Write what tells a resolution."""
        said = {self.word_in: self.words[resolution]}
        if self.message_in:
            said[self.message_in] = (message or "No reason was given.") if resolution == "other" else ""
        return said


@dataclass(frozen=True)
class Item:
    """One event of a webhook, before it is translated; `tree` is None where the body did not parse."""

    index: int
    tree: Tree
    event_id: str
    event_type: str | None
    subtype: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Reading:
    """What an item says: the effect, the alert, and the reason where it is ignored."""

    effect: Effect
    alert: Alert | None = None
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Everything that the bridge knows of one alert service."""

    title: str
    proof: Proof
    event_id: tuple[str, ...]  # paths or `header:Name`, joined by `:` to one id
    event_type: str | None  # a path or `header:Name`; None where there is only one
    events: Mapping[str, Meaning]  # by event type in lower case; `*` for the rest, `` for none
    formats: tuple[str, ...] = ("json",)
    items: str | None = None  # where a batch holds its events
    embedded: tuple[str, ...] = ()  # text fields that hold JSON
    subtype: str | None = None  # where the provider's word for the kind of case stands
    inform: frozenset[str] = frozenset()  # subtypes, in lower case, that only inform
    policy: Mapping[str, Effect] = field(default_factory=dict)  # overrides by subtype or event type
    test: tuple[str, str] | None = None  # a path, and the value in lower case that marks test traffic
    deadline: timedelta = timedelta(hours=24)
    deadlines: Mapping[str, timedelta] = field(default_factory=dict)  # by pattern of (sub)type
    acknowledgements: tuple[Acknowledgement, ...] = ()
    outcome: Outcome | None = None  # how it is told how its alerts ended, where its document says how
    networks: tuple[IPv4Network | IPv6Network, ...] = ()  # where it may call from; empty: anywhere
    keeps: frozenset[str] = frozenset()  # paths of the body that are stored, where not all of it may be
    tells: str | None = None  # 29next's own: where the object stands that it tells of
    store: str | None = None  # where a webhook names its store
    variable: str = ""  # of the secret, where it is not the name's
    name: str = ""

    def may_call_from(self, address: str | None) -> bool:
        """Whether a client's address is in the provider's networks, where it has such a list."""
        if not self.networks:
            return True
        try:
            client = ip_address(address or "")
        except ValueError:
            return False
        return any(client in network for network in self.networks)

    def read(self, webhook: Webhook, tree: Tree | None = None) -> list[Item]:
        """Split a webhook into its items; a body that cannot be split is one item.

        `tree` is that of the body, where it is known already.
        """
        try:
            tree = self._embed(trees.parse(webhook.body, self.formats) if tree is None else tree)
        except BadBody as error:
            return [self._item(webhook, 0, None, problem=str(error))]
        pieces = self._split(tree)
        return [self._item(webhook, index, piece) for index, piece in enumerate(pieces)]

    def translate(self, item: Item) -> Reading:
        """Say what an item means.

        Raises UnknownEvent for an event type that nobody listed, and Untranslatable with every bad
        field by the provider's name.
        """
        if item.problem is not None:
            raise Untranslatable(item.problem, fields={"": [item.problem]})
        if self._is_test(item.tree):
            return Reading(Effect.IGNORE, reason=Reason.TEST)
        meaning = self._meaning(item)
        effect = self._effect(item, meaning)
        if effect is Effect.IGNORE:
            return Reading(effect, reason=Reason.IGNORE)
        if effect is Effect.INFORM:
            return Reading(effect, self._if_it_fits(meaning, item), Reason.INFORM)
        if meaning.table is None:
            raise UnknownEvent(f"{self.title} has no table for {item.event_type!r}.")
        alert = meaning.table.translate(item.tree)
        if alert.withdrawn:
            effect = Effect.WITHDRAW
        if effect is Effect.RESOLVE and alert.resolution is None:  # not final yet
            return Reading(Effect.OPEN, alert) if alert.carries_facts else _nothing_to_do(alert)
        return Reading(effect, alert)

    def deadline_of(self, item: Item) -> timedelta:
        """Return how long the provider waits, from receipt."""
        words = [word.lower() for word in (item.subtype, item.event_type) if word]
        for pattern, deadline in self.deadlines.items():
            if any(fnmatchcase(word, pattern) for word in words):
                return deadline
        return self.deadline

    def acknowledgement(self, item: Item) -> tuple[Acknowledgement, str] | None:
        """Return the protocol's own answer to a webhook and its text, if it wants one."""
        for one in self.acknowledgements:
            if not one.when or trees.pick(item.tree, one.when) is not None:
                return one, one.text(item.tree)
        return None

    def tables(self) -> list[AlertSchema]:
        """Return the tables of all events."""
        return [meaning.table for meaning in self.events.values() if meaning.table]

    def paths(self, wanted: Callable[[typing.Any], bool]) -> frozenset[str]:
        """Return the paths of the fields that `wanted` chooses, alternatives one by one."""
        return frozenset(
            path
            for table in self.tables()
            for name, a_field in table.load_fields.items()
            if wanted(a_field)
            for path in table.path(name).split("|")
        )

    @property
    def secret_variable(self) -> str:
        """The environment variable that holds the current secret; `_PREVIOUS` holds the one before."""
        return self.variable or f"{self.name.upper()}_SECRET"

    @property
    def key_variable(self) -> str:
        """The environment variable that holds the key of the provider's own API."""
        return f"{self.name.upper()}_API_KEY"

    @cached_property
    def identifiers(self) -> frozenset[str]:
        """Paths of identifiers, which must survive the cutting of card numbers."""
        declared = self.paths(lambda a_field: getattr(a_field, "spared", False))
        events = {path for joined in self.event_id for path in joined.split("|")}
        return self._as_walked(declared | {path for path in events if not path.startswith(HEADER)})

    @cached_property
    def cards(self) -> frozenset[str]:
        """Paths of card numbers, which are always cut."""
        return self._as_walked(self.paths(lambda a_field: isinstance(a_field, Card)))

    def _as_walked(self, declared: frozenset[str]) -> frozenset[str]:
        """Spell declared paths as the cutting meets them: without positions, and in a batch's list."""
        paths = {".".join(step for step in path.split(".") if not step.isdecimal()) for path in declared}
        holder = self.items.rpartition(".")[0] + "." if self.items and "." in self.items else ""
        inside = {f"{self.items}.{path.removeprefix(holder)}" for path in paths} if self.items else set()
        return declared | paths | inside

    def configured(self, *, zone: tzinfo | None = None, unit: str | None = None) -> Provider:
        """Return the provider with another zone for naive times, or another unit for amounts."""

        def adapt(meaning: Meaning) -> Meaning:
            if meaning.table is None:
                return meaning
            table = type(meaning.table)(partial=meaning.table.partial)
            for a_field in table.load_fields.values():
                if zone and isinstance(a_field, Moment):
                    a_field.zone = zone
                if unit and isinstance(a_field, Money):
                    a_field.unit = unit
            return Meaning(meaning.effect, table)

        return replace(self, events={name: adapt(one) for name, one in self.events.items()})

    def _embed(self, tree: Tree) -> Tree:
        for name in self.embedded if isinstance(tree, dict) else ():
            if isinstance(tree.get(name), str) and tree[name].strip():
                try:
                    tree[name] = trees.parse(tree[name].encode("utf-8", "surrogatepass"), ("json",))
                except BadBody:
                    continue  # the table says what is wrong with it, if it needs it
        return tree

    def _split(self, tree: Tree) -> list[Tree]:
        """Lay each item of a batch over what the envelope says for all of them.

        An item's fields are then found both where its list stands and at the root.
        """
        pieces = trees.pick(tree, self.items) if self.items else None
        if isinstance(pieces, dict):
            pieces = [pieces]  # XML has no list of one
        if not self.items or not pieces or not isinstance(pieces, list) or not isinstance(tree, dict):
            return [tree]
        return [_laid_over(tree, self.items.split("."), piece) for piece in pieces]

    def _item(self, webhook: Webhook, index: int, tree: Tree, problem: str | None = None) -> Item:
        parts = [self._text(webhook, tree, path) for path in self.event_id]
        return Item(
            index=index,
            tree=tree,
            event_id=":".join(part for part in parts if part)[:LONGEST_ID],
            event_type=self._text(webhook, tree, self.event_type) if self.event_type else None,
            subtype=self._text(webhook, tree, self.subtype) if self.subtype else None,
            problem=problem,
        )

    @staticmethod
    def _text(webhook: Webhook, tree: Tree, path: str) -> str | None:
        """Return the first alternative of a path that is there, in the body or among the headers."""
        for one in path.split("|"):
            name = one.removeprefix(HEADER)
            value = trees.pick(tree, one) if name == one else webhook.headers.get(name.lower())
            if isinstance(value, str) and value:
                return printable(value)[:LONGEST_ID]
        return None

    def _meaning(self, item: Item) -> Meaning:
        word = (item.event_type or "").lower()
        for candidate in (word, ANY):
            if candidate in self.events:
                return self.events[candidate]
        if not word:
            raise Untranslatable(fields={self.event_type or "": ["Missing: the type of the event."]})
        raise UnknownEvent(f"{self.title} has no event type {item.event_type!r} that the bridge knows.")

    def _effect(self, item: Item, meaning: Meaning) -> Effect:
        """Say what an event asks for, given its subtype and the operator's policy for it."""
        if meaning.effect is Effect.IGNORE:
            return Effect.IGNORE
        words = [word.lower() for word in (item.subtype, item.event_type) if word]
        told = Effect.INFORM if not self.inform.isdisjoint(words) else meaning.effect
        effect = next((self.policy[word] for word in words if word in self.policy), told)
        opened = effect is Effect.OPEN and meaning.effect is not Effect.INFORM
        return meaning.effect if opened else effect  # a result stays one

    def _is_test(self, tree: Tree) -> bool:
        if self.test is None:
            return False
        path, value = self.test
        found = trees.pick(tree, path)
        return found is not None and str(found).lower() == value

    @staticmethod
    def _if_it_fits(meaning: Meaning, item: Item) -> Alert | None:
        """Read what only informs as far as it goes: it owes nothing, so it cannot fail."""
        try:
            return meaning.table.translate(item.tree) if meaning.table else None
        except Untranslatable:
            return None


def _laid_over(tree: Tree, path: list[str], piece: Tree) -> Tree:
    """Replace the list at a path by one of its items, laid over the object that held it and the root."""
    if not isinstance(piece, dict):
        return piece
    name, *rest = path
    others = {key: value for key, value in tree.items() if key != name}
    inner = {name: _laid_over(tree[name], rest, piece)} if rest else {}
    return {**others, **inner, **piece}


def _nothing_to_do(alert: Alert) -> Reading:
    return Reading(Effect.IGNORE, alert, Reason.IGNORE)
