"""What a provider declares, and how its webhooks are read. Pure: no I/O, no clock, no environment.

A provider is a table: its proof, the paths of an event's id and type, what each type means, and the fields
of its body. Code with branches belongs here, once, and never into a provider's own file.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property, partial
from ipaddress import IPv4Network, IPv6Network, ip_address

from bridge import tree as trees
from bridge.alert import Alert, Effect, Reason, Webhook
from bridge.errors import UnknownEvent, Untranslatable
from bridge.providers import batches, placeholders
from bridge.providers.batches import Piece
from bridge.providers.fields import AlertSchema, Card
from bridge.providers.meanings import ANY, Meaning, ignored
from bridge.providers.outcomes import Outcome
from bridge.providers.placeholders import plain_word
from bridge.providers.proof import Proof
from bridge.providers.pull import Pull
from bridge.tree import BadBody, Tree, printable

LONGEST_ID = 200
HEADER, QUERY = "header:", "query:"
TOP = "."
"""The path of a batch that is the whole body."""

INQUIRIES = (
    "*inquir*",
    "*order*insight*",
    "*order*validation*",
    "*request*for*information*",
    "*information*supplied*",
    "*retrieval*",
)
"""All providers' words for an issuer's question. It is no dispute: nobody asks for a refund."""
REPORTS = ("*tc40*", "*tc_40*", "*tc15*", "*tc_15*", "safe", "*_safe")
"""All providers' words for a network's report of fraud. No money has moved."""
ONLY_INFORM = INQUIRIES + REPORTS


@dataclass(frozen=True)
class Acknowledgement:
    """The answer that the provider's protocol requires. `echo` copies fields of the webhook into it."""

    body: str = ""
    content_type: str = "application/json"
    status: int = 200
    echo: tuple[str, ...] = ()
    when: str = ""  # a path: only webhooks with a value there get this acknowledgement

    def text(self, tree: Tree) -> str:
        """Returns the body of the answer to a webhook."""
        if not self.echo:
            return self.body
        echoed = {path.rpartition(".")[2]: trees.pick(tree, path) for path in self.echo}
        return json.dumps({**echoed, **json.loads(self.body)})


@dataclass(frozen=True)
class Item:
    """One event of a webhook, before it is translated. `tree` is None if the body did not parse.

    Several places may say what kind of case it is: `subtype` is the first, `other_kinds` has the others.
    """

    index: int
    tree: Tree
    event_id: str
    event_type: str | None
    subtype: str | None = None
    problem: str | None = None
    other_kinds: tuple[str, ...] = ()

    @property
    def kinds(self) -> list[str]:
        """Its words for the kind of case, normalized."""
        return [plain_word(word) for word in (self.subtype, *self.other_kinds) if word]

    @property
    def words(self) -> list[str]:
        """Its words for the kind of case and for its event type, normalized."""
        return [*self.kinds, plain_word(self.event_type or "")]

    def is_like(self, pattern: str) -> bool:
        """Whether any word for its kind fits a pattern."""
        return any(fnmatchcase(word, pattern) for word in self.kinds)


class Items(Sequence[Item]):
    """The events of a webhook. An event is joined with its envelope only when it is accessed."""

    def __init__(
        self, provider: Provider, webhook: Webhook, pieces: list[Piece], problem: str | None
    ) -> None:
        self.pieces = pieces
        self._item = partial(provider.item, webhook, problem=problem)

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: typing.Any) -> typing.Any:
        return self._item(index, self.pieces[index].whole())

    def heads(self) -> Iterator[tuple[Item, Piece]]:
        """Yields the items with only their ids and types, in time that grows with the body's length alone."""
        return ((self._item(index, piece.brief()), piece) for index, piece in enumerate(self.pieces))


@dataclass(frozen=True)
class Reading:
    """What an item means: its effect, its alert, why it is ignored, and its unreadable fields."""

    effect: Effect
    alert: Alert | None = None
    reason: Reason | None = None
    errors: Mapping[str, list[str]] = field(default_factory=dict)  # by the provider's path


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Everything that the bridge knows of one alert service."""

    title: str
    proof: Proof
    event_id: tuple[str, ...]  # paths, `header:Name` or `query:name`, joined by `:` to one id
    event_type: str | None  # a path, `header:Name` or `query:name`; None if there is only one type
    events: Mapping[str, Meaning]  # by event type in lower case; `*` for the rest, `` for none
    about: tuple[str, ...] = (ANY,)  # patterns of event types about disputes; others are ignored
    unrelated: tuple[str, ...] = ()  # patterns of event types about something else, which are ignored
    formats: tuple[str, ...] = ("json",)
    items: str | None = None  # the path of a batch's events; `.` for the whole body, which may be a list
    embedded: tuple[str, ...] = ()  # text fields that hold JSON
    subtype: str | None = None  # the path of the provider's word for the kind of case
    inform: frozenset[str] = frozenset()  # subtypes that only inform
    policy: Mapping[str, Effect] = field(default_factory=dict)  # overrides by subtype or event type
    test: tuple[str, str] | None = None  # a path, and the value in lower case that marks test traffic
    deadline: timedelta = timedelta(hours=24)
    deadlines: Mapping[str, timedelta] = field(default_factory=dict)  # by pattern of (sub)type
    acknowledgements: tuple[Acknowledgement, ...] = ()
    oauth: bool = False  # calls to its API are signed by OAuth 1.0a
    pull: Pull | None = None  # how the bridge fetches its alerts, if that is documented
    outcome: Outcome | None = None  # how the bridge reports outcomes to it, if that is documented
    networks: tuple[IPv4Network | IPv6Network, ...] = ()  # where it may call from; empty: anywhere
    keeps: frozenset[str] = frozenset()  # the only paths of the body that are stored; empty: all
    object_path: str | None = None  # 29next only: the path of the transaction or dispute
    store: str | None = None  # the path of the store's name in a webhook
    variable: str = ""  # the variable of the secret, if it does not follow from the name
    name: str = ""

    def may_call_from(self, address: str | None) -> bool:
        """Whether a client's address is in the provider's networks, or it has no such list."""
        if not self.networks:
            return True
        try:
            client = ip_address(address or "")
        except ValueError:
            return False
        return any(client in network for network in self.networks)

    def read(self, webhook: Webhook, tree: Tree | None = None) -> Items:
        """Returns the items of a webhook. A body that cannot be parsed is one item.

        `tree` is the parsed body, if the caller has it already.
        """
        pieces, problem = [Piece({})], None
        if not trees.is_empty(webhook.body):
            try:
                content_type = webhook.headers.get("content-type", "")
                tree = trees.parse(webhook.body, self.formats, content_type) if tree is None else tree
                pieces = self._split(tree)
            except BadBody as error:
                pieces, problem = [Piece(None)], str(error)
        return Items(self, webhook, pieces, problem)

    def translate(self, item: Item) -> Reading:
        """Returns what an item means.

        Raises UnknownEvent for an event type that is not listed, Untranslatable without a case number.
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
            alert, errors = self._readable_alert(meaning, item)
            return Reading(effect, alert, Reason.INFORM, errors)
        table = meaning.table_for(item)
        if table is None:
            raise UnknownEvent(f"{self.title} has no table for {item.event_type!r}.")
        alert, errors = table.translate(item.tree)
        if alert.withdrawn:
            effect = Effect.WITHDRAW
        if self.outcome:
            alert = replace(alert, equals=self.outcome.equals(alert.resolution))
        has_ended = any((alert.resolution, alert.unknown_outcome, alert.review, alert.note))
        if effect is Effect.RESOLVE and not has_ended:
            if alert.carries_facts:
                return Reading(Effect.OPEN, alert, errors=errors)
            return Reading(Effect.IGNORE, alert, Reason.IGNORE, errors)
        return Reading(effect, alert, errors=errors)

    def deadline_of(self, item: Item) -> timedelta:
        """Returns how long after receipt the provider waits."""
        for pattern, deadline in self.deadlines.items():
            if any(fnmatchcase(word, plain_word(pattern)) for word in item.words):
                return deadline
        return self.deadline

    def acknowledgement(self, item: Item) -> tuple[Acknowledgement, str] | None:
        """Returns the acknowledgement of a webhook and its text, or None if the protocol requires none."""
        for answer in self.acknowledgements:
            if not answer.when or trees.pick(item.tree, answer.when) is not None:
                return answer, answer.text(item.tree)
        return None

    def tables(self) -> list[AlertSchema]:
        """Returns the tables of all events."""
        return [table for meaning in self.events.values() for table in meaning.tables()]

    def is_listed(self, item: Item) -> bool:
        """Whether the event type of an item is listed, so that it is not just ignored by `about`."""
        word = item.event_type or ""
        return word in self.events or self._lists(word) or ANY in self.events

    def paths(self, wanted: Callable[[typing.Any], bool]) -> frozenset[str]:
        """Returns the paths of the fields that `wanted` chooses, each alternative separately."""
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
        return f"{self.name.upper()}_{'SIGNING_KEY' if self.oauth else 'API_KEY'}"

    @property
    def consumer_variable(self) -> str:
        """The environment variable that holds the consumer key for OAuth 1.0a."""
        return f"{self.name.upper()}_CONSUMER_KEY"

    @property
    def calls_api(self) -> str:
        """The key of `bridge.toml` that makes the bridge call the provider's API; empty if none does."""
        if self.pull and self.pull.every is not None:
            return "pull"
        return "outcome" if self.outcome and self.outcome.on else ""

    @property
    def api_url(self) -> str | None:
        """The base URL of its API, if the bridge can call it."""
        api = self.outcome or self.pull
        return api.url if api else None

    @cached_property
    def identifiers(self) -> frozenset[str]:
        """Paths of identifiers, which are never cut as card numbers."""
        declared = self.paths(lambda a_field: getattr(a_field, "is_never_cut", False))
        events = {path for joined in self.event_id for path in joined.split("|")}
        return self._as_walked(declared | {path for path in events if not path.startswith((HEADER, QUERY))})

    @cached_property
    def query_names(self) -> frozenset[str]:
        """The names in a webhook's query that are read, and so must be stored."""
        paths = "|".join((*self.event_id, self.event_type or "", self.subtype or ""))
        return frozenset(path.removeprefix(QUERY) for path in paths.split("|") if path.startswith(QUERY))

    @cached_property
    def cards(self) -> frozenset[str]:
        """Paths of card numbers, which are always cut."""
        return self._as_walked(self.paths(lambda a_field: isinstance(a_field, Card)))

    def _as_walked(self, declared: frozenset[str]) -> frozenset[str]:
        """Returns paths as `redact` meets them: without positions, and also below a batch's list."""
        paths = {".".join(step for step in path.split(".") if not step.isdecimal()) for path in declared}
        items = self.items if self.items not in (None, TOP) else None
        holder = items.rpartition(".")[0] + "." if items and "." in items else ""
        inside = {f"{items}.{path.removeprefix(holder)}" for path in paths} if items else set()
        return declared | paths | inside

    def _embed(self, tree: Tree) -> Tree:
        """Parses the text fields of a body, or of an item, that hold JSON."""
        for name in self.embedded if isinstance(tree, dict) else ():
            if isinstance(tree.get(name), str) and tree[name].strip():
                try:
                    tree[name] = trees.parse(tree[name], ("json",))
                except BadBody:
                    continue  # the table reports it, if it needs the field
        return tree

    def _split(self, tree: Tree) -> list[Piece]:
        """Returns the events of a body, with their shared envelope.

        An array at the top is a batch even if that is not declared. It may hold batches itself.
        """
        if isinstance(tree, list) and any(isinstance(element, dict) for element in tree):
            return [piece for element in tree for piece in self._split(element)]
        items = None if self.items == TOP else self.items
        if items and trees.pick(tree, items) == [] and self._opens_a_case(tree):
            items = None  # the list is empty: the case is next to it
        pieces = batches.split(self._embed(tree), items, self._named_by)
        for piece in pieces:
            self._embed(piece.own)
        return pieces

    def _opens_a_case(self, tree: Tree) -> bool:
        """Whether a body opens a case by itself, without any list of events."""
        for table in self.tables():
            with suppress(Untranslatable):
                if table.translate(tree).alert.carries_facts:
                    return True
        return False

    @cached_property
    def _named_by(self) -> frozenset[str]:
        """The keys on the paths of an event's id and types."""
        return batches.steps_of(path for path in (*self.event_id, self.event_type, self.subtype) if path)

    def item(self, webhook: Webhook, index: int, tree: Tree, problem: str | None = None) -> Item:
        """Returns the event at an index, with its id and types."""
        parts = [next(self._texts(webhook, tree, path), None) for path in self.event_id]
        kinds, types = (list(self._texts(webhook, tree, path)) for path in (self.subtype, self.event_type))
        in_body = [
            path for path in (self.event_type or "").split("|") if not path.startswith((HEADER, QUERY))
        ]
        listed = [word for word in self._texts(webhook, tree, "|".join(in_body)) if self._lists(word)]
        event_type = next(iter([*listed, *types]), None)
        return Item(
            index=index,
            tree=tree,
            event_id=":".join(part for part in parts if part)[:LONGEST_ID],
            event_type=event_type,
            subtype=kinds[0] if kinds else None,
            problem=problem,
            other_kinds=tuple(word for word in (*kinds[1:], *types) if word != event_type),
        )

    def _lists(self, word: str) -> bool:
        """Whether an event type is listed, in any spelling; an empty one is not."""
        return bool(word.strip()) and (word.lower() in self.events or plain_word(word) in self._plain)

    @cached_property
    def _plain(self) -> Mapping[str, Meaning]:
        return {plain_word(word): meaning for word, meaning in self.events.items()}

    @cached_property
    def _informs(self) -> frozenset[str]:
        return frozenset(map(plain_word, self.inform))

    @cached_property
    def _policy(self) -> Mapping[str, Effect]:
        return {plain_word(word): effect for word, effect in self.policy.items()}

    def _texts(self, webhook: Webhook, tree: Tree, path: str | None) -> Iterator[str]:
        """Yields the texts at the alternatives of a path, in the body, the headers or the query."""
        for alternative in path.split("|") if path else ():
            if alternative.startswith(HEADER):
                value = webhook.headers.get(alternative.removeprefix(HEADER).lower())
            elif alternative.startswith(QUERY):
                value = webhook.query.get(alternative.removeprefix(QUERY))
            else:
                value = trees.pick(tree, alternative)
            if isinstance(value, str) and (not placeholders.says_nothing(value) or self._lists(value)):
                yield printable(value)[:LONGEST_ID]

    def _meaning(self, item: Item) -> Meaning:
        """Returns what an item's event type means; raises UnknownEvent or Untranslatable."""
        word = plain_word(item.event_type or "")
        listed = self.events.get((item.event_type or "").lower()) or self._plain.get(word)
        if meaning := listed or self.events.get(ANY):
            return meaning
        if not word:
            raise Untranslatable(fields={self.event_type or "": ["Missing: the type of the event."]})
        if _is_like(word, ONLY_INFORM):
            return Meaning(Effect.INFORM)
        if not _is_like(word, self.about) or _is_like(word, self.unrelated):
            return ignored
        raise UnknownEvent(f"{self.title} has no event type {item.event_type!r} that the bridge knows.")

    def _effect(self, item: Item, meaning: Meaning) -> Effect:
        """Returns what an event requests, given its subtype and the operator's policy for it."""
        if meaning.effect is Effect.IGNORE:
            return Effect.IGNORE
        only_informs = not self._informs.isdisjoint(item.words) or any(map(item.is_like, ONLY_INFORM))
        default = Effect.INFORM if only_informs else meaning.effect
        effect = next((self._policy[word] for word in item.words if word in self._policy), default)
        if effect is Effect.OPEN and meaning.effect is not Effect.INFORM:
            return meaning.effect  # the policy `open` does not turn a result into an opening
        return effect

    def _is_test(self, tree: Tree) -> bool:
        """Whether it is test traffic: marked as such, or empty, as the test button of a portal sends it."""
        if tree == {}:
            return True
        if self.test is None:
            return False
        path, mark = self.test
        value = trees.pick(tree, path)
        return value is not None and str(value).lower() == mark

    @staticmethod
    def _readable_alert(meaning: Meaning, item: Item) -> tuple[Alert | None, Mapping[str, list[str]]]:
        """Returns the alert of an event that only informs, if it is readable; such an event never fails."""
        table = meaning.table_for(item)
        try:
            return table.translate(item.tree) if table else (None, {})
        except Untranslatable:
            return None, {}


def _is_like(word: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(word, pattern) for pattern in patterns)
