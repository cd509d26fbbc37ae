"""What an operator asks of the inbox: lists with filters and cursor pages, and single things whole.

A list is walked along an index, newest first, so that a page costs the same at a thousand rows as at
a million. Only text in a body has no index: it is looked for stretch by stretch, and a page that has
read enough says where the next one goes on.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from sqlalchemy import Column, LargeBinary, Row, Table, and_, func, literal, literal_column, or_, select

from bridge.alert import Status
from bridge.storage import shapes, words
from bridge.storage.filters import CASE_FILTERS, DELIVERY_FILTERS, ID, MOST, BadFilter
from bridge.storage.ids import first_id
from bridge.storage.outcomes import Telling
from bridge.storage.schema import (
    attempts,
    cases,
    deliveries,
    ignored_events,
    marks,
    outcomes,
    paces,
    refusals,
    stores,
    webhooks,
)

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from marshmallow import Schema
    from sqlalchemy import ColumnElement, Select

    from bridge.storage.database import Database

Json = dict[str, typing.Any]

STRETCH, STRETCHES = 5_000, 4
"""Bodies that are read through in one query, and queries that one page may cost."""

LISTED_DELIVERY, LISTED_CASE = shapes.ListedDelivery(), shapes.Case()
DELIVERY, CASE, WEBHOOK = shapes.WholeDelivery(), shapes.WholeCase(), shapes.Webhook()


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and where the next ones begin."""

    results: list[Json]
    next: str | None

    def to_json(self) -> Json:
        """Write the page as the API answers it."""
        return {"results": self.results, "next": self.next}


class Search:
    """Reads the inbox; changes nothing."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # lists

    def deliveries(self, filters: Mapping[str, str], *, newest_first: bool = True) -> Page:
        """List deliveries by DELIVERY_FILTERS; raises BadFilter."""
        return self.delivery_page(DELIVERY_FILTERS.load(filters), newest_first=newest_first)

    def delivery_page(self, filters: Json, *, newest_first: bool = True) -> Page:
        """List deliveries by filters as DELIVERY_FILTERS has loaded them."""
        asked = _Asked(deliveries, filters, newest_first=newest_first)
        statement = select(deliveries, cases.c.dispute_id).outerjoin(
            cases, cases.c.id == deliveries.c.case_id
        )
        if needle := asked.values.get("text"):
            return self._in_bodies(asked, statement, needle)
        return self._page(asked, statement, LISTED_DELIVERY)

    def cases(self, filters: Mapping[str, str]) -> Page:
        """List cases by CASE_FILTERS; raises BadFilter."""
        return self.case_page(CASE_FILTERS.load(filters))

    def case_page(self, filters: Json) -> Page:
        """List cases by filters as CASE_FILTERS has loaded them."""
        return self._page(_Asked(cases, filters, newest_first=True), select(cases), LISTED_CASE)

    def ids(self, filters: Mapping[str, str], most: int) -> list[str]:
        """Return the ids of the deliveries that fit, oldest first."""
        page = self.deliveries({**filters, "limit": str(min(most, MOST))}, newest_first=False)
        return [row["id"] for row in page.results]

    def count(self, filters: Mapping[str, str], most: int) -> int:
        """Count the deliveries that fit, as far as `most`."""
        asked = _Asked(deliveries, DELIVERY_FILTERS.load(filters), newest_first=False)
        if "text" in asked.values:
            raise BadFilter("Deliveries are not counted by the text of their bodies.")
        some = self._narrowed(asked, select(literal(1)).select_from(deliveries)).limit(most).subquery()
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(some)).scalar_one()

    def _narrowed(self, asked: _Asked, statement: Select[typing.Any]) -> Select[typing.Any]:
        return asked.narrowed(statement, steer=self.database.sqlite)

    def _page(self, asked: _Asked, statement: Select[typing.Any], shape: Schema) -> Page:
        ordered = self._narrowed(asked, statement).order_by(asked.order).limit(asked.limit + 1)
        with self.database.read() as connection:
            rows = connection.execute(ordered).all()
        return _page(rows, asked.limit, shape)

    def _in_bodies(self, asked: _Asked, statement: Select[typing.Any], needle: str) -> Page:
        """Read through the bodies of what else is asked for, until the page is full."""
        holds = self._holds(needle)
        found: list[Row[typing.Any]] = []
        edge: str | None = None
        with self.database.read() as connection:
            for _ in range(STRETCHES):
                walk = self._narrowed(asked, select(asked.key).select_from(deliveries)).order_by(asked.order)
                edge = connection.execute(walk.offset(STRETCH - 1).limit(1)).scalar()
                stretch = self._narrowed(asked, statement).join(
                    webhooks, webhooks.c.id == deliveries.c.webhook_id
                )
                if edge:
                    stretch = stretch.where(asked.until(edge))
                rows = stretch.where(holds).order_by(asked.order).limit(asked.limit + 1 - len(found))
                found += connection.execute(rows).all()
                if edge is None or len(found) > asked.limit:
                    break
                asked.cursor = edge
        page = _page(found, asked.limit, LISTED_DELIVERY)
        return page if page.next else Page(page.results, edge)

    def _holds(self, needle: str) -> ColumnElement[bool]:
        sought = literal(needle.encode("utf-8", "surrogateescape"), LargeBinary)
        if self.database.sqlite:
            return func.instr(webhooks.c.body, sought) > 0
        return func.position(sought.op("IN")(webhooks.c.body)) > 0

    # single things

    def delivery(self, delivery_id: str) -> Json | None:
        """Return one delivery with its webhook as received (cut), its alert and its attempts."""
        if not ID.fullmatch(delivery_id):
            return None
        with self.database.read() as connection:
            row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
            if row is None:
                return None
            webhook = connection.execute(select(webhooks).where(webhooks.c.id == row.webhook_id)).first()
            case = connection.execute(select(cases).where(cases.c.id == row.case_id)).first()
            made = connection.execute(
                select(attempts)
                .where(or_(attempts.c.delivery_id == delivery_id, attempts.c.case_id == row.case_id))
                .order_by(attempts.c.id)
            ).all()
        dispute_id = case.dispute_id if case else None
        known = {"dispute_id": dispute_id, "webhook": webhook, "attempts": made}
        whole: Json = DELIVERY.dump(row._asdict() | known)
        return whole

    def case(self, case_id: str) -> Json | None:
        """Return one case with its deliveries, attempts and outcomes."""
        if not ID.fullmatch(case_id):
            return None
        with self.database.read() as connection:
            row = connection.execute(select(cases).where(cases.c.id == case_id)).first()
            if row is None:
                return None
            owed = connection.execute(
                select(deliveries).where(deliveries.c.case_id == case_id).order_by(deliveries.c.id)
            ).all()
            made = connection.execute(
                select(attempts).where(attempts.c.case_id == case_id).order_by(attempts.c.id)
            ).all()
            told = connection.execute(
                select(outcomes).where(outcomes.c.case_id == case_id).order_by(outcomes.c.provider)
            ).all()
        now = self.database.now()
        reported = [one._asdict() | {"late": _is_late(one, now)} for one in told]
        things = {"deliveries": owed, "attempts": made, "outcomes": reported}
        whole: Json = CASE.dump(row._asdict() | things)
        return whole

    def thing(self, ident: str) -> Json | None:
        """Return a delivery, a case, or the deliveries of a webhook, by the letter its id begins with."""
        if ident.startswith("c_"):
            return self.case(ident)
        if ident.startswith("w_"):
            webhook = self.webhook(ident)
            return webhook and webhook | {"deliveries": self.deliveries({"webhook_id": ident}).results}
        return self.delivery(ident)

    def webhook(self, ident: str) -> Json | None:
        """Return a webhook as it was received, cut."""
        if not ID.fullmatch(ident):
            return None
        with self.database.read() as connection:
            row = connection.execute(select(webhooks).where(webhooks.c.id == ident)).first()
        return WEBHOOK.dump(row) if row else None

    def body(self, webhook_id: str) -> bytes | None:
        """Return the bytes of a webhook's body, or None where retention has removed it."""
        with self.database.read() as connection:
            return connection.execute(select(webhooks.c.body).where(webhooks.c.id == webhook_id)).scalar()

    # small tables, whole

    def stores(self) -> list[Json]:
        """Return each store's pause, backlog and next slot."""
        waiting = (
            select(cases.c.store, func.count().label("waiting"))
            .where(cases.c.due_at.is_not(None))
            .group_by(cases.c.store)
            .subquery()
        )
        statement = (
            select(stores, paces.c.next_at, waiting.c.waiting)
            .outerjoin(paces, paces.c.token == stores.c.token)
            .outerjoin(waiting, waiting.c.store == stores.c.name)
            .order_by(stores.c.name)
        )
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
        return [
            {
                "name": row.name,
                "paused_at": shapes.iso_of(row.paused_at),
                "paused_why": row.paused_why,
                "waiting": row.waiting or 0,
            }
            for row in rows
        ]

    def last_deliveries(self) -> dict[str, str]:
        """Return when each provider's last delivery was received."""
        found = {}
        with self.database.read() as connection:
            provider = connection.execute(select(func.min(deliveries.c.provider))).scalar()
            while provider:  # from one provider to the next along the index, however many rows each has
                newest = select(deliveries.c.received_at).where(deliveries.c.provider == provider)
                last = connection.execute(newest.order_by(deliveries.c.id.desc()).limit(1)).scalar_one()
                found[provider] = typing.cast("str", shapes.iso_of(last))
                following = select(func.min(deliveries.c.provider)).where(deliveries.c.provider > provider)
                provider = connection.execute(following).scalar()
        return found

    def ignored_events(self) -> list[Json]:
        """Return the event types by which nothing is done, by provider, the newest first."""
        statement = select(ignored_events).order_by(
            ignored_events.c.provider, ignored_events.c.first_at.desc()
        )
        with self.database.read() as connection:
            rows = connection.execute(statement.limit(MOST)).all()
        times = ("first_at", "last_at")
        return [row._asdict() | {name: shapes.iso_of(getattr(row, name)) for name in times} for row in rows]

    def refusals(self) -> list[Json]:
        """Return refused webhooks by provider, reason and day, newest first."""
        statement = select(refusals).order_by(refusals.c.last_at.desc()).limit(MOST)
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
        return [row._asdict() | {"last_at": shapes.iso_of(row.last_at)} for row in rows]


class _Asked:
    """What was asked of one list: its filters, its order, and where the page begins."""

    def __init__(self, table: Table, filters: Json, *, newest_first: bool) -> None:
        self.table = table
        self.values = dict(filters)
        self.newest_first = newest_first
        self.limit: int = self.values.pop("limit")
        self.cursor: str | None = self.values.pop("cursor", None)
        self.marks = [marks.alias(f"mark{n}") for n, _ in enumerate(self._sought())]
        self.key: Column[typing.Any] = self.marks[0].c.id if self.marks else table.c.id

    @property
    def order(self) -> ColumnElement[typing.Any]:
        """The order of the list; ids sort by time."""
        return self.key.desc() if self.newest_first else self.key

    def until(self, edge: str) -> ColumnElement[bool]:
        """The rows as far as an edge, in the list's order."""
        return self.key >= edge if self.newest_first else self.key <= edge

    def narrowed(self, statement: Select[typing.Any], *, steer: bool) -> Select[typing.Any]:
        """Add every filter; `steer` tells SQLite, which cannot know, which index to walk along."""
        for mark, word in zip(self.marks, self._sought(), strict=True):
            statement = statement.join(mark, and_(mark.c.id == self.table.c.id, mark.c.word == word))
        if self.cursor:
            after = self.key < self.cursor if self.newest_first else self.key > self.cursor
            statement = statement.where(after)
        return statement.where(*self._conditions(steer=steer))

    def _sought(self) -> list[str]:
        """Return the words that rows must be marked with."""
        found = []
        if (sought := self.values.get("q")) and not self._ident(sought):
            found.append(words.asked(sought))
        if self.table is deliveries and "case_number" in self.values:
            found.append(words.word(self.values["case_number"]))
        if self.table is cases and "provider" in self.values:
            found.append(words.reported_by(self.values["provider"]))
        return found

    def _ident(self, sought: str) -> str | None:
        """Name the column of this list that holds an id of ours, if that is what is looked for."""
        columns = {"d": "id", "c": "case_id", "w": "webhook_id"} if self.table is deliveries else {"c": "id"}
        return columns.get(sought[0]) if ID.fullmatch(sought) else None

    def _conditions(self, *, steer: bool) -> Iterable[ColumnElement[bool]]:
        leading = () if not steer else ("id",) if self.marks else _leading(self.values)
        for name, value in self.values.items():
            if name == "since":
                yield self.key >= first_id(self.table, value)
            elif name == "until":
                yield self.key < first_id(self.table, value)
            elif name == "q" and (column := self._ident(value)):
                yield self.table.c[column] == value
            elif name in ("q", "text") or (name == "provider" and self.table is cases):
                continue  # by their words, or by their bodies
            elif leading and name not in leading:
                unindexed = literal_column(f"+{self.table.name}.{name}", self.table.c[name].type)
                yield unindexed == value
            else:
                yield self.table.c[name] == value


_INDEXED = (
    ("case_id",), ("webhook_id",), ("dispute_id",), ("transaction_id",), ("arn",), ("case_number",),
    ("reason",), ("provider", "status"), ("state",), ("store",), ("effect",), ("status",), ("provider",),
)  # fmt: skip
"""The indexes that a list can be walked along, the one that leaves least to read first."""


def _leading(values: Mapping[str, typing.Any]) -> tuple[str, ...]:
    """Choose the index for some filters; what failed or is pending is rare in any store."""
    if values.get("status") in (Status.FAILED, Status.PENDING) and "provider" not in values:
        return ("status",) if "reason" not in values else ("reason",)
    return next((columns for columns in _INDEXED if set(columns) <= set(values)), ())


def _page(rows: Sequence[Row[typing.Any]], limit: int, shape: Schema) -> Page:
    """Shape the rows of a page; one more than it takes says that there is a next one."""
    return Page(shape.dump(rows[:limit], many=True), rows[limit - 1].id if len(rows) > limit else None)


def _is_late(outcome: Row[typing.Any], now: float) -> bool:
    """Whether an outcome was not sent while its provider waited."""
    waited_until: float | None = outcome.deadline_at
    return outcome.state != Telling.TOLD and waited_until is not None and waited_until < now
