"""The lists of the stand-in: rows by id, their filters, and cursor pages.

The names of the filters and the frame of a page are 29next's. The cursor is opaque there; here it
holds a position in Django REST framework's way. How a filter compares is assumed: as equality,
and from and to include their day.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from tests.support.next29.fields import RESOLUTIONS, Check, Errors, one_of
from tests.support.next29.replies import Json, Refusal, Request


@dataclass(frozen=True, slots=True)
class Filter:
    """One query parameter: which field it looks at, how its text reads, and what it lets pass."""

    field: str
    read: Check = str
    passes: Callable[[Any, Any], bool] = lambda have, want: bool(have == want)


def _flag(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise ValueError("Select a valid choice.")


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if number.is_finite():
        return number
    raise ValueError("Enter a number.")


def _whole(text: str) -> int:
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return int(text)
    raise ValueError("Enter a whole number.")


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("Enter a valid date.") from None


def _from(field: str) -> Filter:
    return Filter(field, _day, lambda have, want: have[:10] >= want)


def _to(field: str) -> Filter:
    return Filter(field, _day, lambda have, want: have[:10] <= want)


TRANSACTIONS: Mapping[str, Filter] = {
    "amount_max": Filter("amount", _number, lambda have, want: Decimal(have) <= want),
    "amount_min": Filter("amount", _number, lambda have, want: Decimal(have) >= want),
    "auth_code": Filter("auth_code"),
    "bankcard_first_six": Filter("bankcard_first_six"),
    "bankcard_last_four": Filter("bankcard_last_four"),
    "card_type": Filter("card_type"),
    "currency": Filter("currency"),
    "date_created_from": _from("date_created"),
    "date_created_to": _to("date_created"),
    "external_id": Filter("external_id"),
    "gateway_id": Filter("gateway_id", _whole),
    "is_3ds": Filter("is_3ds", _flag),
    "is_external": Filter("is_external", _flag),
    "is_test": Filter("is_test", _flag),
    "network_transaction_id": Filter("network_transaction_id"),
    "payment_method": Filter("payment_method"),
    "status": Filter("status", one_of("succeeded", "failed")),
    "type": Filter("type", one_of("authorize", "debit", "refund", "void")),
}
# A dispute is also found by the facts of its transaction.
DISPUTES: Mapping[str, Filter] = {
    "auth_code": Filter("auth_code"),
    "card_first_six": Filter("bankcard_first_six"),
    "card_last_four": Filter("bankcard_last_four"),
    "card_type": Filter("card_type"),
    "case_number": Filter("case_number"),
    "dispute_date_from": _from("happened_at"),
    "dispute_date_to": _to("happened_at"),
    "gateway_id": Filter("gateway_id", _whole),
    "id": Filter("id", _whole),
    "network_transaction_id": Filter("network_transaction_id"),
    "order_number": Filter("order_number"),
    "payment_method": Filter("payment_method"),
    "resolution": Filter("resolution", one_of(*RESOLUTIONS["alert"], *RESOLUTIONS["chargeback"])),
    "status": Filter("status", one_of("new", "open", "resolved")),
    "transaction_id": Filter("transaction", _whole),
    "type": Filter("type", one_of("alert", "chargeback")),
}
WEBHOOKS: Mapping[str, Filter] = {"active": Filter("active", _flag), "name": Filter("name")}

_SEVERAL = frozenset({"card_type"})  # may come more than once, and then any will do


class Rows:
    """Rows by id, with an index of the fields that are looked up most, so that lists stay fast."""

    def __init__(self, *indexed: str) -> None:
        self.by_id: dict[int, Json] = {}
        self._index: dict[str, dict[Any, set[int]]] = {name: {} for name in indexed}
        self._ids = itertools.count(1001)

    def next_id(self) -> int:
        """An id that no row has."""
        return next(number for number in self._ids if number not in self.by_id)

    def get(self, number: int) -> Json:
        """The row with this id, or 404."""
        try:
            return self.by_id[number]
        except KeyError:
            raise Refusal.of_call(404, "Not found.") from None

    def put(self, row: Json) -> Json:
        """Add a row, or replace the one with its id."""
        old = self.by_id.get(row["id"])
        for name, index in self._index.items():
            if old is not None:
                index[old[name]].discard(row["id"])
            index.setdefault(row[name], set()).add(row["id"])
        self.by_id[row["id"]] = row
        return row

    def remove(self, number: int) -> None:
        """Take a row away."""
        row = self.by_id.pop(number)
        for name, index in self._index.items():
            index[row[name]].discard(number)

    def newest_first(self, **exact: Any) -> Iterable[Json]:
        """The rows, without most of those that do not have these values."""
        ids: Iterable[int] = self.by_id
        for name, index in self._index.items():
            if name in exact:
                ids = index.get(exact[name], ())
                break
        return (self.by_id[number] for number in sorted(ids, reverse=True))

    def filtered(
        self,
        request: Request,
        filters: Mapping[str, Filter],
        seen: Callable[[Json], Mapping[str, Any] | None] = lambda row: row,
    ) -> list[Json]:
        """The rows that pass the query; `seen` gives what the filters look at, or None to hide."""
        wanted: list[tuple[Filter, list[Any]]] = []
        errors: Errors = {}
        for name, texts in request.query.items():
            # Unknown and empty ones filter nothing, as in django-filter (assumed).
            if name in filters and texts[-1] and not (request.loose and name == "case_number"):
                try:
                    values = [filters[name].read(text) for text in texts]
                    wanted.append((filters[name], values if name in _SEVERAL else values[-1:]))
                except ValueError as error:
                    errors[name] = [str(error)]
        if errors:
            raise Refusal.of_fields(errors)
        return [
            row
            for row in self.newest_first(**{one.field: values[-1] for one, values in wanted})
            if (facts := seen(row)) is not None
            and all(any(one.passes(facts[one.field], value) for value in values) for one, values in wanted)
        ]


def page(rows: list[Json], request: Request, size: int) -> Json:
    """The page of these rows, newest first, that the cursor of the query points at."""
    start, end = 0, size
    if cursor := request.query.get("cursor", [""])[-1]:
        try:
            held = base64.b64decode(cursor, validate=True).decode()
        except ValueError:
            held = ""
        found = re.fullmatch(r"(r=1&)?p=(\d{1,18})", held, re.ASCII)
        if found is None:
            raise Refusal.of_call(404, "Invalid cursor")
        if found[1]:
            end = sum(row["id"] > int(found[2]) for row in rows)
            start = max(0, end - size)
        else:
            start = sum(row["id"] >= int(found[2]) for row in rows)
            end = start + size
    chosen = rows[start:end]

    def link(position: str) -> str:
        held = base64.b64encode(position.encode()).decode()
        query = {**request.query, "cursor": [held]}
        return f"{request.url}?{urlencode(query, doseq=True)}"

    return {
        "next": link(f"p={chosen[-1]['id']}") if chosen and end < len(rows) else None,
        "previous": link(f"r=1&p={chosen[0]['id']}") if chosen and start else None,
        "results": chosen,
    }
