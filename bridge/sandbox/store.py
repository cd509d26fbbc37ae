"""A sandbox store in memory: objects in 29next's form, and transactions as plain facts."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from werkzeug.exceptions import NotFound

from bridge.sandbox import forms
from bridge.sandbox.forms import Json

OF_THE_SALE_ALONE = ("auth_code", "external_id", "network_transaction_id")
"""The facts that a refund does not copy from its sale."""


class Rows:
    """Rows by their ids, which count up."""

    def __init__(self) -> None:
        self._rows: dict[int, Json] = {}
        self._ids = itertools.count(1001)

    def __iter__(self) -> Iterator[Json]:
        """Newest first."""
        return reversed(self._rows.values())

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    def add(self, row: Json) -> Json:
        """Adds a row, and gives it its id."""
        row["id"] = next(self._ids)
        self._rows[row["id"]] = row
        return row

    def get(self, number: int) -> Json:
        """Returns the row with this id; raises NotFound."""
        if number not in self:
            raise NotFound("Not found.")
        return self._rows[number]

    def having(self, **facts: Any) -> list[Json]:
        """Returns the rows with all of these facts, newest first."""
        return [row for row in self if facts.items() <= row.items()]


class Store:
    """One store: its sales with their fulfilment orders and subscriptions, and the disputes about them."""

    def __init__(self) -> None:
        self.disputes = Rows()
        self.fulfillment_orders = Rows()
        self.notes: defaultdict[int, Rows] = defaultdict(Rows)  # by the id of their dispute
        self.subscriptions = Rows()
        self.transactions = Rows()
        self.webhooks = Rows()

    def sell(self, facts: Json) -> Json:
        """Adds a transaction with the facts of a `bodies.Sale`, its fulfilment order and subscription."""
        made = {"is_external": False, "parent_id": None, "left": Decimal(facts["amount"])}
        sale = self.transactions.add({**facts, **made})
        sale["order"] = facts["order"] or str(100_000 + sale["id"])
        if not self.fulfillment_orders.having(order_number=sale["order"]):
            self.fulfillment_orders.add(forms.fulfillment_order(sale))
        if facts["subscription"]:
            sale["subscription"] = self.subscriptions.add(forms.subscription(sale))["id"]
        return sale

    def refund(self, sale: Json, amount: str, *, external: bool) -> Json:
        """Adds a refund of a sale, as another transaction."""
        sale["left"] = max(Decimal(0), sale["left"] - Decimal(amount))
        made = {"amount": amount, "date_created": moment(), "is_external": external, "left": Decimal(0)}
        made |= {"parent_id": sale["id"], "status": "succeeded", "type": "refund"}
        return self.transactions.add({**sale, **made, **dict.fromkeys(OF_THE_SALE_ALONE)})


def moment(at: datetime | None = None) -> str:
    """Returns a time, or the current one, as 29next writes it."""
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat().replace("+00:00", "Z")
