"""What an operator asks of the inbox: lists with filters and cursor pages, and single things whole."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Column, Row, Table, and_, func, or_, select

from bridge.alert import iso
from bridge.tables import attempts, cases, deliveries, paces, refusals, stores, webhooks

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Select

    from bridge.database import Database

Json = dict[str, typing.Any]

LIMIT, MOST = 50, 500

DELIVERY_KEYS = (
    "id", "webhook_id", "provider", "store", "event_id", "event_type", "effect", "status", "reason",
    "message", "errors", "case_id", "received_at", "deadline_at", "due_at", "late", "tries",
)  # fmt: skip
CASE_KEYS = (
    "id", "store", "case_number", "type", "state", "dispute_id", "transaction_id", "match", "resolution",
    "amount", "currency", "arn", "providers", "duplicate_of", "deadline_at", "notes",
)  # fmt: skip
ATTEMPT_KEYS = (
    "id", "case_id", "delivery_id", "method", "path", "request", "status", "response", "outcome",
    "started_at", "seconds",
)  # fmt: skip
DELIVERY_FILTERS = ("status", "provider", "store", "reason", "effect", "event_type", "case_id", "webhook_id")
CASE_FILTERS = ("state", "store", "type", "case_number", "arn", "dispute_id", "transaction_id", "resolution")


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and where the next ones begin."""

    results: list[Json]
    next: str | None

    def to_json(self) -> Json:
        """Write the page as the API answers it."""
        return {"results": self.results, "next": self.next}


class BadFilter(ValueError):
    """A filter or cursor that the list does not have."""


class Search:
    """Reads the inbox; changes nothing."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def deliveries(self, filters: Mapping[str, str], *, newest_first: bool = True) -> Page:
        """List deliveries; also filtered by `case_number`, `since` and `until`."""
        wanted = dict(filters)
        statement = _Wanted(deliveries, DELIVERY_FILTERS).statement(
            wanted,
            select(deliveries, cases.c.dispute_id, cases.c.case_number).outerjoin(
                cases, cases.c.id == deliveries.c.case_id
            ),
            {"case_number": lambda value: cases.c.case_number == value, **_times(deliveries.c.received_at)},
        )
        return self._page(statement, deliveries.c.id, wanted, _listed, newest_first=newest_first)

    def cases(self, filters: Mapping[str, str], *, newest_first: bool = True) -> Page:
        """List cases; also filtered by `provider` (who reports it)."""
        wanted = dict(filters)
        statement = _Wanted(cases, CASE_FILTERS).statement(
            wanted,
            select(cases),
            {"provider": lambda value: cases.c.provider == value, **_times(cases.c.opened_at)},
        )
        return self._page(statement, cases.c.id, wanted, case_json, newest_first=newest_first)

    def delivery(self, delivery_id: str) -> Json | None:
        """Return one delivery with its webhook as received (cut), its alert and its attempts."""
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
        return delivery_json(row) | {
            "item": row.item,
            "alert": row.alert,
            "dispute_id": case.dispute_id if case else None,
            "webhook": webhook_json(webhook) if webhook else None,
            "attempts": [attempt_json(one) for one in made],
        }

    def case(self, case_id: str) -> Json | None:
        """Return one case with its deliveries and attempts."""
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
        return case_json(row) | {
            "facts": row.facts,
            "refund": row.refund,
            "due_at": _iso(row.due_at),
            "deliveries": [delivery_json(one) for one in owed],
            "attempts": [attempt_json(one) for one in made],
        }

    def thing(self, ident: str) -> Json | None:
        """Return a delivery, a case, or the deliveries of a webhook, by the letter its id begins with."""
        if ident.startswith("c_"):
            return self.case(ident)
        if ident.startswith("w_"):
            with self.database.read() as connection:
                row = connection.execute(select(webhooks).where(webhooks.c.id == ident)).first()
            if row is None:
                return None
            return webhook_json(row) | {"deliveries": self.deliveries({"webhook_id": ident}).results}
        return self.delivery(ident)

    def ids(self, filters: Mapping[str, str], most: int) -> list[str]:
        """Return the ids of the deliveries that fit, oldest first."""
        page = self.deliveries({**filters, "limit": str(min(most, MOST))}, newest_first=False)
        return [row["id"] for row in page.results]

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
                "paused_at": _iso(row.paused_at),
                "paused_why": row.paused_why,
                "waiting": row.waiting or 0,
            }
            for row in rows
        ]

    def last_deliveries(self) -> dict[str, str]:
        """Return when each provider's last delivery was received."""
        statement = select(deliveries.c.provider, func.max(deliveries.c.received_at).label("last"))
        with self.database.read() as connection:
            rows = connection.execute(statement.group_by(deliveries.c.provider)).all()
        return {row.provider: typing.cast("str", _iso(row.last)) for row in rows}

    def refusals(self) -> list[Json]:
        """Return refused webhooks by provider, reason and day, newest first."""
        statement = select(refusals).order_by(refusals.c.last_at.desc()).limit(MOST)
        with self.database.read() as connection:
            rows = connection.execute(statement).all()
        return [dict(row._mapping) | {"last_at": _iso(row.last_at)} for row in rows]  # noqa: SLF001

    def _page(
        self,
        statement: Select[typing.Any],
        key: Column[typing.Any],
        wanted: Json,
        shape: typing.Callable[[Row[typing.Any]], Json],
        *,
        newest_first: bool,
    ) -> Page:
        limit, cursor = _limit(wanted.get("limit")), wanted.get("cursor")
        if cursor:
            statement = statement.where(key < cursor if newest_first else key > cursor)
        order = key.desc() if newest_first else key
        with self.database.read() as connection:
            rows = connection.execute(statement.order_by(order).limit(limit + 1)).all()
        more = len(rows) > limit
        return Page([shape(row) for row in rows[:limit]], rows[limit - 1].id if more else None)


class _Wanted:
    """The filters of one table: each is a column's exact value, or one of the special ones."""

    def __init__(self, table: Table, names: tuple[str, ...]) -> None:
        self.table = table
        self.names = names

    def statement(
        self,
        filters: Json,
        statement: Select[typing.Any],
        special: Mapping[str, typing.Callable[[str], ColumnElement[bool]]],
    ) -> Select[typing.Any]:
        conditions = []
        for name, value in filters.items():
            if name in self.names:
                conditions.append(self.table.c[name] == _value(self.table.c[name], value))
            elif name in special:
                conditions.append(special[name](value))
            elif name not in ("limit", "cursor"):
                known = ", ".join((*self.names, *special, "limit", "cursor"))
                raise BadFilter(f"There is no filter {name!r}; there are {known}.")
        return statement.where(and_(True, *conditions))


def _value(column: Column[typing.Any], text: str) -> typing.Any:
    if column.type.python_type is not int:
        return text
    if not text.isdecimal() or len(text) > 18:
        raise BadFilter(f"{column.name} is a number, not {text!r}.")
    return int(text)


def _times(column: Column[typing.Any]) -> dict[str, typing.Callable[[str], ColumnElement[bool]]]:
    return {
        "since": lambda value: column >= _seconds(value),
        "until": lambda value: column < _seconds(value),
    }


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadFilter(f"{text!r} is not a date or a time, such as 2026-01-31.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MOST:
        raise BadFilter(f"limit is a number from 1 to {MOST}, not {text!r}.")
    return int(text)


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso(datetime.fromtimestamp(round(seconds, 3), UTC))


def _shape(row: Row[typing.Any], keys: tuple[str, ...]) -> Json:
    values = {key: getattr(row, key) for key in keys}
    return {key: _iso(value) if key.endswith("_at") else value for key, value in values.items()}


def delivery_json(row: Row[typing.Any]) -> Json:
    """Write a delivery as the API answers it."""
    shaped = _shape(row, DELIVERY_KEYS)
    return shaped | {"errors": shaped["errors"] or {}}


def _listed(row: Row[typing.Any]) -> Json:
    return delivery_json(row) | {"dispute_id": row.dispute_id, "case_number": row.case_number}


def case_json(row: Row[typing.Any]) -> Json:
    """Write a case as the API answers it."""
    shaped = _shape(row, CASE_KEYS)
    found = shaped["match"] or {}
    shaped["match"] = {"rule": found.get("rule"), "candidates": found.get("candidates", [])}
    return shaped


def attempt_json(row: Row[typing.Any]) -> Json:
    """Write an attempt as the API answers it."""
    return _shape(row, ATTEMPT_KEYS)


def webhook_json(row: Row[typing.Any]) -> Json:
    """Write a webhook as it was received, cut."""
    body = row.body.decode("utf-8", "backslashreplace") if row.body is not None else None
    return _shape(row, ("id", "provider", "path", "store", "headers", "received_at")) | {"body": body}
