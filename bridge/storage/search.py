"""Searches the inbox: lists with filters and cursor pages, and single deliveries, cases and webhooks.

A list is read along an index, newest first, so a page costs the same at a thousand rows as at a million.
Only text in a body has no index: it is searched in stretches, and a page that has read enough says where
the next one continues.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from marshmallow import Schema
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from bridge.alert import Status
from bridge.storage import search_terms, shapes
from bridge.storage.database import Database
from bridge.storage.filters import CASE_FILTERS, DELIVERY_FILTERS, ID, MOST, BadFilter
from bridge.storage.ids import first_id
from bridge.storage.outcomes import OutcomeState
from bridge.storage.schema import (
    attempts,
    cases,
    deliveries,
    ignored_events,
    marks,
    outcomes,
    refusals,
    stores,
    webhooks,
)
from bridge.storage.shapes import Json

STRETCH, STRETCHES = 5_000, 4
"""Bodies that one query searches, and queries that one page may take."""

LISTED_DELIVERY, LISTED_CASE = shapes.ListedDelivery(), shapes.Case()
DELIVERY, CASE, WEBHOOK = shapes.WholeDelivery(), shapes.WholeCase(), shapes.Webhook()


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and where the next ones begin."""

    results: list[Json]
    next: str | None

    def to_json(self) -> Json:
        """Returns the page as the API answers it."""
        return {"results": self.results, "next": self.next}


class Search:
    """Reads the inbox; changes nothing."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # lists

    def deliveries(self, filters: Mapping[str, str], *, newest_first: bool = True) -> Page:
        """Lists deliveries by DELIVERY_FILTERS; raises BadFilter."""
        return self.delivery_page(DELIVERY_FILTERS.load(filters), newest_first=newest_first)

    def delivery_page(self, filters: Json, *, newest_first: bool = True) -> Page:
        """Lists deliveries by filters as DELIVERY_FILTERS has loaded them."""
        query = self._query(deliveries, filters, newest_first=newest_first)
        both = deliveries.outerjoin(cases, cases.c.id == deliveries.c.case_id)
        statement = select(deliveries, cases.c.dispute_id).select_from(both)
        if needle := query.values.get("text"):
            return self._in_bodies(query, statement, needle)
        return self._page(query, statement, LISTED_DELIVERY)

    def cases(self, filters: Mapping[str, str]) -> Page:
        """Lists cases by CASE_FILTERS; raises BadFilter."""
        return self.case_page(CASE_FILTERS.load(filters))

    def case_page(self, filters: Json) -> Page:
        """Lists cases by filters as CASE_FILTERS has loaded them."""
        return self._page(self._query(cases, filters, newest_first=True), select(cases), LISTED_CASE)

    def ids(self, filters: Mapping[str, str], most: int) -> list[str]:
        """Returns the ids of the deliveries that match, oldest first."""
        page = self.deliveries({**filters, "limit": str(min(most, MOST))}, newest_first=False)
        return [row["id"] for row in page.results]

    def count(self, filters: Mapping[str, str], most: int) -> int:
        """Counts the deliveries that match, up to `most`."""
        query = self._query(deliveries, DELIVERY_FILTERS.load(filters), newest_first=False)
        if "text" in query.values:
            raise BadFilter("Deliveries are not counted by the text of their bodies.")
        some = query.narrowed(select(literal(1)).select_from(deliveries)).limit(most).subquery()
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(some)).scalar_one()

    def _query(self, table: Table, filters: Json, *, newest_first: bool) -> _Query:
        return _Query(table, filters, newest_first=newest_first, steer=self.database.sqlite)

    def _page(self, query: _Query, statement: Select[typing.Any], shape: Schema) -> Page:
        ordered = query.narrowed(statement).order_by(query.order).limit(query.limit + 1)
        return _page(self.database.rows(ordered), query.limit, shape)

    def _in_bodies(self, query: _Query, statement: Select[typing.Any], needle: str) -> Page:
        """Searches the bodies of the deliveries that match the other filters, until the page is full."""
        holds = self._holds(needle)
        found: list[Row[typing.Any]] = []
        edge: str | None = None
        with self.database.read() as connection:
            for _ in range(STRETCHES):
                ids = query.narrowed(select(query.key).select_from(deliveries)).order_by(query.order)
                edge = connection.execute(ids.offset(STRETCH - 1).limit(1)).scalar()
                stretch = query.narrowed(statement)
                stretch = stretch.join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
                if edge:
                    stretch = stretch.where(query.until(edge))
                rows = stretch.where(holds).order_by(query.order).limit(query.limit + 1 - len(found))
                found += connection.execute(rows).all()
                if edge is None or len(found) > query.limit:
                    break
                query.cursor = edge
        page = _page(found, query.limit, LISTED_DELIVERY)
        return page if page.next else Page(page.results, edge)

    def _holds(self, needle: str) -> ColumnElement[bool]:
        sought = literal(needle.encode("utf-8", "surrogateescape"))
        if self.database.sqlite:
            return func.instr(webhooks.c.body, sought) > 0
        return func.position(sought.op("IN")(webhooks.c.body)) > 0

    # single rows

    def delivery(self, delivery_id: str) -> Json | None:
        """Returns one delivery with its webhook as received (cut), its alert and its attempts."""
        with self.database.read() as connection:
            row = _by_id(connection, deliveries, delivery_id)
            if row is None:
                return None
            webhook = _by_id(connection, webhooks, row.webhook_id)
            case = _by_id(connection, cases, row.case_id)
            calls = or_(attempts.c.delivery_id == delivery_id, attempts.c.case_id == row.case_id)
            made = connection.execute(select(attempts).where(calls).order_by(attempts.c.id)).all()
        dispute_id = case.dispute_id if case else None
        known = {"dispute_id": dispute_id, "webhook": webhook, "attempts": made}
        whole: Json = DELIVERY.dump(row._asdict() | known)
        return whole

    def case(self, case_id: str) -> Json | None:
        """Returns one case with its deliveries, attempts and outcomes."""
        with self.database.read() as connection:
            row = _by_id(connection, cases, case_id)
            if row is None:
                return None
            received, made, reported = (
                connection.execute(select(table).where(table.c.case_id == case_id).order_by(order)).all()
                for table, order in (
                    (deliveries, deliveries.c.id),
                    (attempts, attempts.c.id),
                    (outcomes, outcomes.c.provider),
                )
            )
        now = self.database.now()
        reports = [report._asdict() | {"late": _is_late(report, now)} for report in reported]
        things = {"deliveries": received, "attempts": made, "outcomes": reports}
        whole: Json = CASE.dump(row._asdict() | things)
        return whole

    def find(self, ident: str) -> Json | None:
        """Returns a delivery, a case, or the deliveries of a webhook, by the letter its id begins with."""
        if ident.startswith("c_"):
            return self.case(ident)
        if not ident.startswith("w_"):
            return self.delivery(ident)
        with self.database.read() as connection:
            row = _by_id(connection, webhooks, ident)
        received = {"webhook_id": ident}
        return WEBHOOK.dump(row) | {"deliveries": self.deliveries(received).results} if row else None

    def body(self, webhook_id: str) -> bytes | None:
        """Returns the bytes of a webhook's body, or None where retention has removed it."""
        row = self.database.first(select(webhooks.c.body).where(webhooks.c.id == webhook_id))
        return row.body if row else None

    # small tables

    def stores(self) -> list[Json]:
        """Returns each store with its pause and its backlog."""
        waiting = select(func.count()).where(cases.c.store == stores.c.name, cases.c.due_at.is_not(None))
        columns = (stores.c.name, stores.c.paused_at, stores.c.paused_why)
        statement = select(*columns, waiting.scalar_subquery().label("waiting")).order_by(stores.c.name)
        return [
            row._asdict() | {"paused_at": shapes.iso_of(row.paused_at)}
            for row in self.database.rows(statement)
        ]

    def last_deliveries(self) -> dict[str, str]:
        """Returns when each provider's last delivery was received."""
        last_by_provider = {}
        with self.database.read() as connection:
            provider = connection.execute(select(func.min(deliveries.c.provider))).scalar()
            while provider:  # from one provider to the next along the index, however many rows each has
                newest = select(deliveries.c.received_at).where(deliveries.c.provider == provider)
                last = connection.execute(newest.order_by(deliveries.c.id.desc()).limit(1)).scalar_one()
                last_by_provider[provider] = typing.cast("str", shapes.iso_of(last))
                following = select(func.min(deliveries.c.provider)).where(deliveries.c.provider > provider)
                provider = connection.execute(following).scalar()
        return last_by_provider

    def ignored_events(self) -> list[Json]:
        """Returns the ignored event types, by provider, the newest first."""
        newest = select(ignored_events).order_by(ignored_events.c.provider, ignored_events.c.first_at.desc())
        return [
            row._asdict() | {name: shapes.iso_of(getattr(row, name)) for name in ("first_at", "last_at")}
            for row in self.database.rows(newest.limit(MOST))
        ]

    def refusals(self) -> list[Json]:
        """Returns refused webhooks by provider, reason and day, newest first."""
        newest = select(refusals).order_by(refusals.c.last_at.desc()).limit(MOST)
        return [row._asdict() | {"last_at": shapes.iso_of(row.last_at)} for row in self.database.rows(newest)]


class _Query:
    """One page of a list: its filters, its order, and where it begins."""

    def __init__(self, table: Table, filters: Json, *, newest_first: bool, steer: bool) -> None:
        self.table = table
        self.values = dict(filters)
        self.newest_first = newest_first
        self.steer = steer  # SQLite to the right index, which it cannot choose itself
        self.limit: int = self.values.pop("limit")
        self.cursor: str | None = self.values.pop("cursor", None)
        self.marks = [(marks.alias(f"mark{n}"), term) for n, term in enumerate(self._terms())]
        self.key: ColumnElement[typing.Any] = self.marks[0][0].c.id if self.marks else table.c.id

    @property
    def order(self) -> ColumnElement[typing.Any]:
        """The order of the list; ids sort by time."""
        return self.key.desc() if self.newest_first else self.key

    def until(self, edge: str) -> ColumnElement[bool]:
        """Returns the condition for the rows up to an edge, in the list's order."""
        return self.key >= edge if self.newest_first else self.key <= edge

    def narrowed(self, statement: Select[typing.Any]) -> Select[typing.Any]:
        """Adds every filter."""
        for mark, term in self.marks:
            statement = statement.join(mark, mark.c.id == self.table.c.id).where(mark.c.word == term)
        if self.cursor:
            after = self.key < self.cursor if self.newest_first else self.key > self.cursor
            statement = statement.where(after)
        return statement.where(*self._conditions())

    def _terms(self) -> list[str]:
        """Returns the search terms that rows must have."""
        terms = []
        if (sought := self.values.get("q")) and not self._ident(sought):
            terms.append(search_terms.from_query(sought))
        if self.table is deliveries and "case_number" in self.values:
            terms.append(search_terms.normalize(self.values["case_number"]))
        if self.table is cases and "provider" in self.values:
            terms.append(search_terms.reported_by(self.values["provider"]))
        return terms

    def _ident(self, sought: str) -> str | None:
        """Returns the column of this list for an id of the bridge, if `sought` is one."""
        columns = {"d": "id", "c": "case_id", "w": "webhook_id"} if self.table is deliveries else {"c": "id"}
        return columns.get(sought[0]) if ID.fullmatch(sought) else None

    def _conditions(self) -> Iterable[ColumnElement[bool]]:
        leading = () if not self.steer else ("id",) if self.marks else _leading(self.values)
        for name, value in self.values.items():
            if name == "since":
                yield self.key >= first_id(self.table, value)
            elif name == "until":
                yield self.key < first_id(self.table, value)
            elif name == "q" and (column := self._ident(value)):
                yield self.table.c[column] == value
            elif name in ("q", "text") or (name == "provider" and self.table is cases):
                continue  # by search terms, or by the body
            elif leading and name not in leading:
                unindexed = literal_column(f"+{self.table.name}.{name}", self.table.c[name].type)
                yield unindexed == value
            else:
                yield self.table.c[name] == value


_INDEXED = (
    ("case_id",), ("webhook_id",), ("dispute_id",), ("transaction_id",), ("arn",), ("case_number",),
    ("reason",), ("provider", "status"), ("state",), ("store",), ("effect",), ("status",), ("provider",),
)  # fmt: skip
"""The indexes that a list can be read along, the most selective first."""


def _leading(values: Mapping[str, typing.Any]) -> tuple[str, ...]:
    """Returns the index for some filters; failed and pending deliveries are rare in any store."""
    if values.get("status") in (Status.FAILED, Status.PENDING) and "provider" not in values:
        return ("status",) if "reason" not in values else ("reason",)
    return next((columns for columns in _INDEXED if set(columns) <= set(values)), ())


def _by_id(connection: Connection, table: Table, ident: str | None) -> Row[typing.Any] | None:
    """Returns the row with an id of the bridge; None if it is no such id, or not there."""
    if ident is None or not ID.fullmatch(ident):
        return None
    return connection.execute(select(table).where(table.c.id == ident)).first()


def _page(rows: Sequence[Row[typing.Any]], limit: int, shape: Schema) -> Page:
    """Returns the rows of a page; one row more than its limit means that there is a next page."""
    return Page(shape.dump(rows[:limit], many=True), rows[limit - 1].id if len(rows) > limit else None)


def _is_late(outcome: Row[typing.Any], now: float) -> bool:
    """Whether an outcome was not sent in its provider's time."""
    waited_until: float | None = outcome.deadline_at
    return outcome.state != OutcomeState.SENT and waited_until is not None and waited_until < now
