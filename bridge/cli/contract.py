"""What the bridge asks of 29next, held against an OpenAPI document of its Admin API. Pure.

The requests are made by the steps that send them (`case`, `subscribe`), so the comparison speaks of
what is really sent. Of JSON Schema it knows what 29next's documents use; what a schema says beyond
that does not count as drift.
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from bridge.alert import RESOLUTIONS, Alert, DisputeType, Network
from bridge.disputes import matching
from bridge.disputes.case import Call, Case, Goal, Kind, Match, Pending, Rule, Unconfirmed
from bridge.disputes.plan import next_step
from bridge.worker.subscriptions import subscribe

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Json = typing.Any

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
FACTS = Alert(
    case_number="contract",
    amount=Decimal("123456.78"),
    currency="USD",
    happened_at=MOMENT,
    transaction_at=MOMENT,
    arn="7" * 23,
    card_first_six="411111",
    card_last_four="0042",
    auth_code="A1B2C3",
    network_transaction_id="3" * 15,
    external_id="pi_contract",
    order="1",
    descriptor="CONTRACT",
    network=Network.ETHOCA,
    reason_code="10.4",
)
"""An alert that knows everything, so that nothing which may be sent is left out."""


_FEWER = [
    FACTS,
    replace(FACTS, external_id=None),
    replace(FACTS, external_id=None, auth_code=None),
    replace(FACTS, external_id=None, auth_code=None, network_transaction_id=None),
]
"""Alerts that lead to every question after a payment: only the best two are asked for each."""


@dataclass(frozen=True)
class Request:
    """One request as 29next gets it; ids in the path are numbers."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Json = None


READ = {
    ("GET", "disputes/"): tuple(
        f"results.{name}"
        for name in ("id", "case_number", "type", "status", "amount", "transaction", "resolution")
    ),
    ("POST", "disputes/"): ("id", "transaction", "status", "resolution"),
    ("GET", "disputes/1/"): ("id", "transaction", "status", "resolution"),
    ("GET", "disputes/1/notes/"): ("results.message",),
    ("GET", "transactions/"): (
        *(f"results.{name}" for name in ("id", "type", "status", "amount", "currency", "order", "parent_id")),
        *(f"results.{name}" for name in ("auth_code", "network_transaction_id", "external_id")),
        *(f"results.{name}" for name in ("date_created", "is_disputed")),
        "results.payment_details.bankcard_first_six",
        "results.payment_details.bankcard_last_four",
    ),
    ("GET", "orders/1/"): (
        *("number", "is_test"),
        *(f"transactions.{name}" for name in ("id", "type", "status", "amount", "currency", "parent_id")),
        *(f"transactions.{name}" for name in ("auth_code", "network_transaction_id", "external_id")),
        *(f"transactions.{name}" for name in ("date_created", "is_disputed", "is_test")),
        "transactions.payment_details.bankcard_first_six",
        "transactions.payment_details.bankcard_last_four",
    ),
    ("GET", "webhooks/"): tuple(f"results.{name}" for name in ("id", "name", "target", "active", "events")),
}
"""What of an answer the bridge relies on; of a list, in each of its rows."""


# the requests


def requests() -> list[Request]:
    """Return every request that the bridge makes, with as much in it as it ever has."""
    calls = [*_of_cases(), *_of_subscribing(), *_of_reading()]
    return [one for number, one in enumerate(calls) if one not in calls[:number]]


def _of_cases() -> Iterator[Request]:
    for case in _states():
        step = next_step(case, MOMENT.timestamp())
        if isinstance(step, Call):
            yield Request(step.method, step.path, step.params or {}, step.body)


def _states() -> Iterator[Case]:
    """Yield a case before each of the calls that it may ever need."""
    settled = Match(rule=Rule.ORDER, transaction_id=1, closed=True)
    for kind in DisputeType:
        fresh = _case(kind)
        for facts in _FEWER:
            for n, _ in enumerate(rules := list(matching.queries(facts))):
                yield replace(fresh, facts=facts, match=Match(asked=rules[:n]))
        yield replace(fresh, facts=None)  # a look-up by its case number
        yield replace(fresh, match=settled)  # the opening, matched
        yield replace(fresh, match=replace(settled, transaction_id=None))
        yield replace(fresh, match=settled, pending=Pending(holder=1))
        opened = replace(fresh, dispute_id=1, match=settled)
        yield opened  # a match that is told later
        matched = replace(opened, transaction_id=1)
        yield replace(matched, pending=Pending(reread=True))
        for word in RESOLUTIONS[kind]:
            refunded = word == "issued_full_refund"
            yield replace(matched, goal=Goal(word, "contract", refunded_by_gateway=refunded))
        resolved = replace(matched, resolution=RESOLUTIONS[kind][0])
        yield replace(resolved, goal=Goal(refunded_by_gateway=True))
        yield replace(resolved, goal=Goal(withdraw=True))
        later = Goal(RESOLUTIONS[kind][-1], "contract")  # takes the other's place
        read = Pending(read_at=MOMENT.timestamp())
        yield replace(resolved, resolved_by_us=resolved.resolution, goal=later, pending=read)
        yield replace(matched, goal=Goal(withdraw=True))
        for kind_of_call in (Kind.CREATE, Kind.RESOLVE, Kind.REFUND, Kind.NOTE):
            yield replace(resolved, unconfirmed=Unconfirmed(kind_of_call))


def _case(kind: DisputeType) -> Case:
    return Case(
        id="contract",
        store="contract",
        case_number=FACTS.case_number,
        type=kind,
        provider="contract",
        opened_at=MOMENT.timestamp(),
        deadline_at=MOMENT.timestamp(),
        facts=replace(FACTS, type=kind),
    )


class _Listener:
    """Takes the place of 29next's client, and remembers what it was asked."""

    def __init__(self, hooks: list[Json]) -> None:
        self.hooks = hooks
        self.asked: list[Request] = []

    def rows(self, path: str, params: Mapping[str, str], **_: object) -> list[Json]:
        self.asked.append(Request("GET", path, dict(params)))
        return self.hooks

    def call(self, method: str, path: str, *, body: Json = None, **_: object) -> Json:
        self.asked.append(Request(method, path, body=body))
        return {}


def _of_subscribing() -> Iterator[Request]:
    target = "https://alerts.example.com/webhooks/next/example"
    for hooks in ([], [{"id": 1, "target": target}]):
        listener = _Listener(hooks)
        subscribe(typing.cast("typing.Any", listener), target, "secret", "2023-02-10")
        yield from listener.asked


def _of_reading() -> Iterator[Request]:
    """Yield what `backfill`, `reconcile`, `doctor` and the rereading of transactions ask."""
    day = "2026-01-31"
    yield Request(
        "GET", "transactions/", {"date_created_from": day, "date_created_to": day, "is_test": "false"}
    )
    yield Request("GET", "transactions/1/")
    yield Request("GET", "disputes/", {"dispute_date_from": day})
    yield Request("GET", "disputes/", {"id": "1"})


# the comparison


def drift(document: Json) -> Iterator[str]:
    """Yield a line for everything that an OpenAPI document does not allow of what the bridge does.

    Raises ValueError where it is no OpenAPI document.
    """
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict) or not paths:
        raise ValueError("it has no paths, as an OpenAPI document has")
    seen: set[str] = set()
    for request in requests():
        for line in _of_request(document, request):
            if line not in seen:
                seen.add(line)
                yield line
    for (method, path), names in READ.items():
        operation = _operation(paths, method, path)
        schema = _answer_of(operation) if operation else None
        for name in names if schema is not None else ():
            if not _has(document, schema, name.split(".")):
                yield f"{method} /{path}: its answer has no {name}"


def _of_request(document: Json, request: Request) -> Iterator[str]:
    where = f"{request.method} /{request.path}"
    operation = _operation(document["paths"], request.method, request.path)
    if operation is None:
        yield f"{where}: there is no such operation"
        return
    known = {one["name"]: one.get("schema", {}) for one in _parameters(document, operation)}
    for name, text in request.params.items():
        if name not in known:
            yield f"{where}: it has no filter {name}"
        else:
            schema = _resolved(document, known[name])
            for line in _problems(document, schema, _value(text, schema), f"?{name}"):
                yield f"{where}: {line}"
    if request.body is not None:
        content = _resolved(document, operation.get("requestBody") or {}).get("content") or {}
        schema = (content.get("application/json") or {}).get("schema")
        if schema is None:
            yield f"{where}: it takes no JSON body"
            return
        for line in _problems(document, schema, request.body, "body"):
            yield f"{where}: {line}"


def _operation(paths: Json, method: str, path: str) -> Json:
    """Find the operation of a path, which the document may have below a prefix."""
    fitting = [template for template in paths if _form(template).endswith(_form(path))]
    operations = paths[min(fitting, key=len)] if fitting else {}
    return operations.get(method.lower())


def _form(path: str) -> str:
    """Write a path the same, whether it names its ids or has them."""
    return re.sub(r"\{[^}]*\}|(?<=/)[0-9]+(?=/)", "{}", f"/{path.strip('/')}/")


def _parameters(document: Json, operation: Json) -> Iterable[Json]:
    every = (_resolved(document, one) for one in operation.get("parameters", ()))
    return [one for one in every if one.get("in") == "query"]


def _answer_of(operation: Json) -> Json:
    for status, answer in operation.get("responses", {}).items():
        if str(status).startswith("2"):
            return ((answer.get("content") or {}).get("application/json") or {}).get("schema")
    return None


def _has(document: Json, schema: Json, steps: list[str]) -> bool:
    """Whether a schema, or the rows that it lists, has a property."""
    schema = _resolved(document, schema)
    if not steps:
        return True
    if "items" in schema:
        return _has(document, schema["items"], steps)
    parts = [_resolved(document, one) for key in ("allOf", "anyOf", "oneOf") for one in schema.get(key, ())]
    properties = schema.get("properties", {})
    if steps[0] in properties:
        return _has(document, properties[steps[0]], steps[1:])
    return any(_has(document, part, steps) for part in parts)


def _resolved(document: Json, schema: Json) -> Json:
    """Follow references inside the document."""
    for _ in range(20):
        if not isinstance(schema, dict) or "$ref" not in schema:
            break
        found = document
        for step in str(schema["$ref"]).removeprefix("#/").split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {})
        schema = found
    return schema if isinstance(schema, dict) else {}


_KINDS: Mapping[str, typing.Callable[[Json], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


def _problems(document: Json, schema: Json, value: Json, where: str) -> Iterator[str]:
    """Yield what a schema has against a value."""
    schema = _resolved(document, schema)
    for one in schema.get("allOf", ()):
        yield from _problems(document, one, value, where)
    for key in ("anyOf", "oneOf"):
        found = [list(_problems(document, one, value, where)) for one in schema.get(key, ())]
        if found and all(found):
            yield from found[0]
    named = schema.get("type")
    kinds = named if isinstance(named, list) else [named] if named else []
    allowed = [*kinds, "null"] if kinds and schema.get("nullable") else kinds
    if allowed and not any(_KINDS[kind](value) for kind in allowed if kind in _KINDS):
        yield f"{where} is {_shown(value)}, where {' or '.join(allowed)} is expected"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {_shown(value)}, which is none of its words"
    elif isinstance(value, str):
        yield from _of_text(schema, value, where)
    elif isinstance(value, list):
        for one in value:
            yield from _problems(document, schema.get("items", {}), one, f"{where}[]")
    elif isinstance(value, dict):
        yield from _of_object(document, schema, value, where)


def _of_text(schema: Json, text: str, where: str) -> Iterator[str]:
    pattern, most = schema.get("pattern"), schema.get("maxLength")
    if pattern and not re.search(pattern, text):
        yield f"{where} is {_shown(text)}, which does not fit {pattern}"
    if most is not None and len(text) > most:
        yield f"{where} is {_shown(text)}, longer than {most} characters"


def _of_object(document: Json, schema: Json, value: Json, where: str) -> Iterator[str]:
    properties = schema.get("properties")
    if properties is None:
        return
    known = {name: _resolved(document, one) for name, one in properties.items()}
    for name, one in value.items():
        if name in known and not known[name].get("readOnly"):
            yield from _problems(document, known[name], one, f"{where}.{name}")
        elif name in known:
            yield f"{where}.{name} may only be read"
        elif not schema.get("additionalProperties"):
            yield f"{where}.{name} is not known"
    for name in schema.get("required", ()):
        if name not in value and not known.get(name, {}).get("readOnly"):
            yield f"{where}.{name} is missing"


def _value(text: str, schema: Json) -> Json:
    """Read a filter's text as the JSON value that its schema speaks of."""
    kinds = schema.get("type")
    if "boolean" in (kinds or ()) and text in ("true", "false"):
        return text == "true"
    if kinds in ("integer", "number") and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        return float(text) if "." in text else int(text)
    return [text] if kinds == "array" else text


def _shown(value: Json) -> str:
    return repr(value)[:60]
