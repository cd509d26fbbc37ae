"""Reads what an outcome says of its sale at 29next: its refund, and what was held back of its order.

Each read takes a slot of the store's token and is recorded on the case. Of an order only the reported facts
are recorded, since the rest is the customer's data.
"""

from __future__ import annotations

import typing
from datetime import UTC, datetime
from urllib.parse import quote

from bridge.disputes.payloads import read_amount
from bridge.disputes.retry import LONGEST_RETRY_AFTER
from bridge.errors import (
    BridgeError,
    MissingScope,
    PermanentError,
    StoreRefused,
    TemporaryError,
    Throttled,
)
from bridge.next29.client import Answer
from bridge.providers.outcomes import ByShipment, Refund
from bridge.storage.attempts import Attempt, CallOutcome, outcome_of
from bridge.storage.ids import token_key

if typing.TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from bridge.next29.client import NextApi
    from bridge.storage.inbox import Inbox
    from bridge.storage.outcomes import PendingOutcome

Json = typing.Any

HELD = ("on_hold", "canceled")
"""Statuses of a fulfilment order that is not shipped."""
NOTHING_TO_SHIP = "not_required"
CANCELED = "cancel_accepted"
LONGEST_ID = 64


class SaleReader:
    """Reads the sale of one outcome; the order's number is read once."""

    def __init__(self, inbox: Inbox, api: NextApi, pending: PendingOutcome) -> None:
        self.inbox = inbox
        self.api = api
        self.pending = pending
        self.number: str | None = None

    def word(self, by: ByShipment) -> str:
        """Returns the word for what was held back of the order.

        Raises PermanentError if that cannot be read: a person has to choose.
        """
        try:
            number = self._order()
            rows = self._read(f"orders/{number}/fulfillment-orders/", _statuses, many=True)
        except (MissingScope, PermanentError) as error:
            message = f"The bridge cannot read what was shipped of the order. Choose the word here. {error}"
            raise PermanentError(message) from None
        held = [_is_held(row) for row in rows if row.get("status") != NOTHING_TO_SHIP]
        if held and all(held):
            return by.whole
        return by.part if any(held) else by.nothing

    def refund(self) -> Refund | None:
        """Returns the refund of the sale, else the disputed amount at the resolution; None if unknown."""
        try:
            number = self._order()
            order = self._read(f"orders/{number}/", lambda order: f"refunds: {len(self._refunds(order))}")
            if refunds := self._refunds(order):
                return max(refunds, key=lambda refund: refund.at)
        except (MissingScope, PermanentError):
            pass
        amount, currency = _amount(self.pending.amount), self.pending.currency
        if amount is None or not currency:
            return None
        return Refund(amount=amount, currency=currency, at=moment(self.pending.resolved_at))

    def _refunds(self, order: Json) -> list[Refund]:
        """Returns the refunds of the sale that succeeded."""
        rows = order.get("transactions")
        refunds = []
        for row in rows if isinstance(rows, list) else []:
            if not isinstance(row, dict) or row.get("type") != "refund" or row.get("status") != "succeeded":
                continue
            amount, at = _amount(row.get("amount")), _moment(row.get("date_created"))
            currency = row.get("currency") or order.get("currency")
            if row.get("parent_id") == self.pending.transaction_id and amount and at and currency:
                ident = str(row.get("id") or "")[:LONGEST_ID] or None
                refunds.append(Refund(amount=amount, currency=str(currency), at=at, id=ident))
        return refunds

    def _order(self) -> str:
        """Returns the number of the sale's order."""
        if self.number is None:
            sale = self.pending.transaction_id
            if sale is None:
                raise PermanentError("The payment of this alert is not known.")
            row = self._read(f"transactions/{sale}/", lambda row: f"order: {row.get('order')}")
            number = row.get("order")
            if not isinstance(number, str) or not number.strip():
                raise PermanentError("29next does not say which order the payment belongs to.")
            self.number = quote(number, safe="")
        return self.number

    def _read(self, path: str, summarize: Callable[[Json], str], *, many: bool = False) -> Json:
        """Reads an object or `many`, unless the store is paused, and records the call on the case."""
        if self.inbox.stores.is_paused(self.pending.store):
            raise TemporaryError(f"Store {self.pending.store} is paused.")
        answer, case_id, store = Answer(), self.pending.case_id, self.pending.store
        attempt = Attempt(case_id=case_id, store=store, method="GET", path=path, started_at=self.inbox.now())
        try:
            if many:
                answered: Json = self.api.get_objects(path, answer=answer)
            else:
                answered = self.api.call("GET", path, answer=answer)
            attempt.outcome, attempt.response = CallOutcome.OK, summarize(answered)
            return answered
        except BridgeError as error:
            attempt.outcome, attempt.response = outcome_of(error), str(error)
            if isinstance(error, Throttled):
                wait = min(error.retry_after or 1.0, LONGEST_RETRY_AFTER)
                self.inbox.slots.throttle(token_key(self.api.store.token), wait)
            if isinstance(error, StoreRefused):  # the next case of the store pauses it
                raise TemporaryError(str(error)) from None
            raise
        finally:
            attempt.status, attempt.seconds = answer.status, round(answer.seconds, 4)
            self.inbox.outcomes.record([attempt])


def moment(seconds: float) -> str:
    """Returns a moment in UTC as text, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _moment(text: object) -> str | None:
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment(read.timestamp()) if read.tzinfo else None


def _amount(text: object) -> Decimal | None:
    amount = read_amount(text)
    return abs(amount) if amount else None


def _is_held(row: Json) -> bool:
    return row.get("status") in HELD or row.get("request_status") == CANCELED


def _statuses(rows: list[Json]) -> str:
    statuses = (f"{row.get('status')} ({row.get('request_status')})" for row in rows)
    return ", ".join(statuses) or "no fulfilment orders"
