"""One pretend 29next store: its state, and 29next's rules over it, without any I/O.

Documented by 29next, in its Admin API documents 2023-02-10 and 2024-04-01, its guides and its
changelog: the paths, fields, filters, scopes, shapes and statuses of the answers; which fields are
read-only; that type and happened_at never change; cursor pages; one alert and one chargeback at
most for each linked transaction; that a store may constrain the keys of metadata; which
resolutions there are for alerts, and which for chargebacks.

Assumed, since 29next does not say:

* In the form of Django REST framework, on which it is built: the wording of refusals, 404 and 405;
  text is stripped; a filter that is empty or unknown filters nothing; an invalid cursor is 404.
* Stricter than 29next may be, to catch a bridge that relies on luck: a 400 for each field that is
  read-only, unknown or of another JSON type, for a currency in small letters, a time without its
  zone, a resolution of the other type, `other` without its message, a second alert on one
  transaction, an external refund of a dispute without transaction, a refund of anything but a
  debit, and a refund that is not external of more than is left.
* Kinder than 29next may be, so that work done twice is seen in the ledger instead of refused: two
  disputes with one case number, a second resolution, external refunds beyond what is left.
* A dispute is `open` once it has a transaction and `resolved` once it has a resolution; its type is
  alert and it happened now unless said otherwise; the report amount is the amount; an external
  refund that comes with a resolution is of the disputed amount, else of all that is left; a refund
  is answered with the new transaction.

Left out: PUT, DELETE of disputes, capture, verify, bodies other than JSON, filters by marketing
facts, and the sending of webhooks.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.support.next29 import fields, lists
from tests.support.next29.fields import Errors, check_all
from tests.support.next29.lists import Rows, page
from tests.support.next29.orders import fulfillment_order, order_of
from tests.support.next29.replies import Json, Refusal, Reply, Request

# What a transaction is made of, with the values of one of which nothing else is said.
TRANSACTION_FACTS: Mapping[str, Any] = {
    "amount": "10.00",
    "auth_code": None,
    "bankcard_first_six": None,
    "bankcard_last_four": None,
    "card_type": "visa",
    "currency": "USD",
    "date_created": None,  # now
    "external_id": None,
    "gateway_id": 1,
    "id": None,  # the next free one
    "is_3ds": False,
    "is_external": False,
    "is_test": False,
    "network_transaction_id": None,
    "order": None,
    "parent_id": None,
    "payment_method": "bankcard",
    "response_code": 100,
    "statement_descriptor": None,
    "status": "succeeded",
    "type": "debit",
}
_NO_TRANSACTION: Mapping[str, Any] = dict.fromkeys(TRANSACTION_FACTS)
# Those that 29next shows under their own names, and those that a refund has from its debit.
_SHOWN = (
    *("amount", "auth_code", "currency", "date_created", "external_id", "id", "is_external"),
    *("network_transaction_id", "order", "parent_id", "payment_method", "response_code"),
    *("status", "type"),
)
_INHERITED = (
    *("bankcard_first_six", "bankcard_last_four", "card_type", "currency", "gateway_id"),
    *("is_test", "order", "payment_method"),
)


class Store:
    """One shop; each write that really happens is told to `committed(store, kind, facts)`."""

    def __init__(
        self,
        name: str,
        committed: Callable[[str, str, Json], None],
        clock: Callable[[], float],
        page_size: int = 100,
    ) -> None:
        self.name = name
        self.page_size = page_size
        self.metadata_keys: frozenset[str] | None = None  # None: any key will do
        self.disputes = Rows("case_number", "transaction")
        self.transactions = Rows("auth_code", "network_transaction_id", "external_id", "order", "parent_id")
        self.webhooks = Rows()
        self.fulfillment: dict[str, Any] = {}  # an order's number -> what its fulfilment orders are answered
        self._notes: dict[int, Rows] = {}  # by dispute
        self._hidden_until: dict[int, float] = {}  # by dispute
        self._committed = committed
        self._clock = clock  # seconds since 1970
        self._lock = threading.RLock()

    def answer(self, route: Route, number: int, request: Request) -> Reply:
        """The answer to one call, whose work is done by then; one call at a time."""
        with self._lock:
            try:
                return route.step(self, request, number)
            except Refusal as refusal:
                return refusal.reply

    def add_transaction(self, **facts: Any) -> Json:
        """Add a transaction with some of TRANSACTION_FACTS, and give it in 29next's form."""
        if unknown := facts.keys() - TRANSACTION_FACTS.keys():
            raise ValueError(f"No fact of a transaction: {', '.join(sorted(unknown))}.")
        with self._lock:
            row = {**TRANSACTION_FACTS, **facts}
            row["id"] = row["id"] or self.transactions.next_id()
            row["amount"] = fields.money(10)(str(row["amount"]))
            created = row["date_created"]
            row["date_created"] = self._now() if created is None else fields.moment(created)
            row["left"] = Decimal(row["amount"] if row["type"] == "debit" else 0)
            return self._transaction(self.transactions.put(row))

    def add_dispute(self, body: object) -> Json:
        """Add a dispute by the rules; this alone is not told to `committed`."""
        with self._lock:
            values, errors = check_all(body, fields.DISPUTE)
            row = {
                **dict.fromkeys(fields.DISPUTE_CHANGE),
                "date_created": self._now(),
                "happened_at": self._now(),
                "id": self.disputes.next_id(),
                "metadata": {},
                "type": "alert",
                **values,
            }
            return self.disputes.put(self._completed(row, values, errors))

    # disputes

    def list_disputes(self, request: Request, _number: int) -> Reply:
        """GET /disputes/."""
        now = self._clock()

        def seen(row: Json) -> Mapping[str, Any] | None:
            if self._hidden_until.get(row["id"], 0.0) > now:
                return None
            linked = self.transactions.by_id.get(row["transaction"], _NO_TRANSACTION)
            return {**linked, **row, "order_number": linked["order"]}

        rows = self.disputes.filtered(request, lists.DISPUTES, seen)
        return Reply(200, page(rows, request, self.page_size))

    def create_dispute(self, request: Request, _number: int) -> Reply:
        """POST /disputes/."""
        row = self.add_dispute(request.body)
        if request.hidden_for:
            self._hidden_until[row["id"]] = self._clock() + request.hidden_for
        self._commit("dispute", row)
        return Reply(201, row)

    def retrieve_dispute(self, _request: Request, number: int) -> Reply:
        """GET /disputes/{id}/."""
        return Reply(200, self.disputes.get(number))

    def change_dispute(self, request: Request, number: int) -> Reply:
        """PATCH /disputes/{id}/."""
        row = self.disputes.get(number)
        values, errors = check_all(request.body, fields.DISPUTE_CHANGE)
        row = self.disputes.put(self._completed({**row, **values}, values, errors))
        self._commit("change", {"dispute": number, **values})
        return Reply(200, row)

    def resolve_dispute(self, request: Request, number: int) -> Reply:
        """POST /disputes/{id}/resolve/."""
        row = self.disputes.get(number)
        values, errors = check_all(request.body, fields.RESOLVE)
        refund = values.pop("create_external_refund", False)
        linked = self.transactions.by_id.get(row["transaction"])
        if not values.get("resolution"):
            errors.setdefault("resolution", ["This field is required."])
        if refund and linked is None:
            errors["create_external_refund"] = ["The dispute has no transaction."]
        row = self.disputes.put(self._completed({**row, **values}, values, errors))
        self._commit("resolution", {"dispute": number, **values})
        if refund and linked is not None:
            self._refund(linked, Decimal(row["amount"] or linked["left"]), external=True)
        return Reply(200, row)

    def list_notes(self, request: Request, number: int) -> Reply:
        """GET /disputes/{id}/notes/."""
        self.disputes.get(number)
        rows = list(self._notes.get(number, Rows()).newest_first())
        return Reply(200, page(rows, request, self.page_size))

    def create_note(self, request: Request, number: int) -> Reply:
        """POST /disputes/{id}/notes/, which is documented as answering 200."""
        self.disputes.get(number)
        values = _checked(*check_all(request.body, fields.NOTE, ["message"]))
        notes = self._notes.setdefault(number, Rows())
        row = {
            "app": {"client_id": "sandbox", "name": "Sandbox"},
            "author": {"id": 1},
            "created_at": self._now(),
            "id": notes.next_id(),
            "updated_at": self._now(),
            **values,
        }
        self._commit("note", {"dispute": number, **values})
        return Reply(200, notes.put(row))

    # transactions

    def list_transactions(self, request: Request, _number: int) -> Reply:
        """GET /transactions/, whose rows say less than a single transaction."""
        rows = self.transactions.filtered(request, lists.TRANSACTIONS)
        shown = page(rows, request, self.page_size)
        shown["results"] = [self._transaction(row, whole=False) for row in shown["results"]]
        return Reply(200, shown)

    def retrieve_transaction(self, _request: Request, number: int) -> Reply:
        """GET /transactions/{id}/."""
        return Reply(200, self._transaction(self.transactions.get(number)))

    def refund_transaction(self, request: Request, number: int) -> Reply:
        """POST /transactions/{id}/refund/."""
        row = self.transactions.get(number)
        values, errors = check_all(request.body, fields.REFUND, ["amount"])
        external = values.get("is_external", False)
        amount = Decimal(values.get("amount", 0))
        if "amount" in values and not 0 < amount <= (amount if external else row["left"]):
            errors["amount"] = [f"Must be more than zero and at most {row['left']:.2f}."]
        if (row["type"], row["status"]) != ("debit", "succeeded"):
            errors["non_field_errors"] = ["Only a debit that succeeded can be refunded."]
        _checked(values, errors)
        notified = values.get("send_refund_notification", True)
        refund = self._refund(row, amount, external=external, notified=notified)
        return Reply(200, refund)

    # orders

    def retrieve_order(self, _request: Request, number: int) -> Reply:
        """GET /orders/{number}/: an order is there once it has a transaction."""
        rows = list(self.transactions.newest_first(order=str(number)))
        if not rows:
            raise Refusal.of_call(404, "Not found.")
        return Reply(200, order_of(str(number), [self._transaction(row) for row in rows]))

    def list_fulfillment_orders(self, _request: Request, number: int) -> Reply:
        """GET /orders/{number}/fulfillment-orders/: one that nobody has shipped, unless a test says else."""
        if not list(self.transactions.newest_first(order=str(number))):
            raise Refusal.of_call(404, "Not found.")
        return Reply(200, self.fulfillment.get(str(number), [fulfillment_order(number)]))

    # webhooks, and the store itself

    def list_webhooks(self, request: Request, _number: int) -> Reply:
        """GET /webhooks/."""
        rows = self.webhooks.filtered(request, lists.WEBHOOKS)
        return Reply(200, page(rows, request, self.page_size))

    def create_webhook(self, request: Request, _number: int) -> Reply:
        """POST /webhooks/."""
        values = _checked(*check_all(request.body, fields.WEBHOOK, ["events", "target"]))
        row = {
            "active": True,
            "api_version": None,
            "created_at": self._now(),
            "id": self.webhooks.next_id(),
            "name": None,
            "next_check_date": None,
            "secret_key": secrets.token_hex(16),
            "updated_at": self._now(),
            "warning_count": 0,
            **values,
        }
        self._commit("webhook", {"id": row["id"], "target": row["target"]})
        return Reply(201, self.webhooks.put(row))

    def retrieve_webhook(self, _request: Request, number: int) -> Reply:
        """GET /webhooks/{id}/."""
        return Reply(200, self.webhooks.get(number))

    def change_webhook(self, request: Request, number: int) -> Reply:
        """PATCH /webhooks/{id}/."""
        row = self.webhooks.get(number)
        values = _checked(*check_all(request.body, fields.WEBHOOK))
        return Reply(200, self.webhooks.put({**row, **values, "updated_at": self._now()}))

    def delete_webhook(self, _request: Request, number: int) -> Reply:
        """DELETE /webhooks/{id}/."""
        self.webhooks.get(number)
        del self.webhooks.by_id[number]
        return Reply(204)

    def show(self, _request: Request, _number: int) -> Reply:
        """GET /store/, which is documented as a list."""
        address = (
            *("city", "company_name", "country", "line1", "line2"),
            *("phone_number", "postcode", "state"),
        )
        payments: Json = {
            "available_express_payment_methods": [],
            "available_payment_methods": [],
            "certificate_token": "",
            "environment_key": "",
        }
        shop = {
            "available_currencies": [{"code": "USD", "label": "US Dollar"}],
            "available_languages": [{"code": "en", "label": "English"}],
            "contact_address": dict.fromkeys(address, ""),
            "name": self.name,
            "payments": payments,
            "primary_domain": f"{self.name}.29next.store",
            "tagline": "A sandbox: nothing here is real",
            "tax_id": "",
            "timezone": "UTC",
        }
        return Reply(200, [shop])

    # what several of them need

    def _now(self) -> str:
        return fields.instant(datetime.fromtimestamp(self._clock(), UTC))

    def _commit(self, kind: str, facts: Json) -> None:
        self._committed(self.name, kind, facts)

    def _completed(self, row: Json, values: Json, errors: Errors) -> Json:
        """The dispute with all that follows from its fields, if the new `values` may stand."""
        transaction, resolution = row["transaction"], row["resolution"]
        if values.get("transaction") is not None:
            if transaction not in self.transactions.by_id:
                errors["transaction"] = [f'Invalid pk "{transaction}" - object does not exist.']
            elif self._taken(row):
                errors["transaction"] = [f"This transaction already has a dispute: {row['type']}."]
        if values.get("resolution"):
            if resolution not in fields.RESOLUTIONS[row["type"]]:
                errors["resolution"] = [f'"{resolution}" is no resolution of type {row["type"]}.']
            if resolution == "other" and not row["resolution_other_message"]:
                errors["resolution_other_message"] = ["This field is required."]
        if self.metadata_keys is not None:
            unknown = row["metadata"].keys() - self.metadata_keys
            if unknown:
                errors["metadata"] = [f"Unknown key: {', '.join(sorted(unknown))}."]
        _checked(values, errors)
        order = self.transactions.by_id.get(transaction, _NO_TRANSACTION)["order"]
        return {
            **row,
            "order": int(order) if order and order.isdecimal() else None,
            "report_amount": row["amount"],
            "report_currency": row["currency"],
            "status": "resolved" if resolution else "new" if transaction is None else "open",
        }

    def _taken(self, row: Json) -> bool:
        others = self.disputes.newest_first(transaction=row["transaction"])
        return any(one["type"] == row["type"] and one["id"] != row["id"] for one in others)

    def _refund(self, row: Json, amount: Decimal, *, external: bool, notified: bool = False) -> Json:
        row["left"] = max(Decimal(0), row["left"] - amount)
        made = self.add_transaction(
            **{name: row[name] for name in _INHERITED},
            type="refund",
            amount=amount,
            parent_id=row["id"],
            is_external=external,
        )
        facts = {
            "id": made["id"],
            "transaction": row["id"],
            "amount": made["amount"],
            "is_external": external,
            "notified": notified,  # 29next would have mailed the customer
        }
        self._commit("refund", facts)
        return made

    def _transaction(self, row: Json, *, whole: bool = True) -> Json:
        """A transaction in 29next's form."""
        disputed = next(iter(self.disputes.newest_first(transaction=row["id"])), None)
        # Where 29next surely has nothing to say, its documents still ask for an object.
        shown = {name: row[name] for name in _SHOWN} | {
            "amount_available_for_refund": f"{row['left']:.2f}",
            "attribution": {"agent": {"id": 0}},
            "initiator": {"id": 0},
            "is_disputed": disputed is not None,
            "payment_details": {
                "bankcard_first_six": row["bankcard_first_six"],
                "bankcard_last_four": row["bankcard_last_four"],
                "card_token": "",
                "gateway": {"id": row["gateway_id"], "name": "Sandbox", "type": "test"},
                "is_3ds": row["is_3ds"],
                "optimized_3ds": False,
                "paypal_vault_id": "",
                "sca_flow": "",
            },
            "subscription": {"billing_cycle": None, "id": 0},
            "user": {"id": 1},
        }
        if whole:
            shown["is_test"] = row["is_test"]
            shown["report_values"] = {"amount": row["amount"], "currency": row["currency"] or ""}
            shown["statement_descriptor"] = row["statement_descriptor"]
        return shown


def _checked(values: Json, errors: Errors) -> Json:
    """The values, if nothing is wrong with them."""
    if errors:
        raise Refusal.of_fields(errors)
    return values


# --- the way to them ----------------------------------------------------------------------------

Step = Callable[[Store, Request, int], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the Admin API, with the scope that its token needs."""

    method: str
    path: re.Pattern[str]
    scope: str
    step: Step


def _route(method: str, path: str, scope: str, step: Step) -> Route:
    # An id longer than 18 digits is nothing's, and int() has its limits.
    return Route(method, re.compile(path.replace("{id}", r"(\d{1,18})"), re.ASCII), scope, step)


ROUTES = (
    _route("GET", "/disputes/", "disputes:read", Store.list_disputes),
    _route("POST", "/disputes/", "disputes:write", Store.create_dispute),
    _route("GET", "/disputes/{id}/", "disputes:read", Store.retrieve_dispute),
    _route("PATCH", "/disputes/{id}/", "disputes:write", Store.change_dispute),
    _route("POST", "/disputes/{id}/resolve/", "disputes:write", Store.resolve_dispute),
    _route("GET", "/disputes/{id}/notes/", "disputes:read", Store.list_notes),
    _route("POST", "/disputes/{id}/notes/", "disputes:write", Store.create_note),
    _route("GET", "/transactions/", "transactions:read", Store.list_transactions),
    _route("GET", "/transactions/{id}/", "transactions:read", Store.retrieve_transaction),
    _route("POST", "/transactions/{id}/refund/", "transactions:write", Store.refund_transaction),
    _route("GET", "/orders/{id}/", "orders:read", Store.retrieve_order),  # whose numbers are digits here
    _route("GET", "/orders/{id}/fulfillment-orders/", "orders:read", Store.list_fulfillment_orders),
    _route("GET", "/store/", "store:read", Store.show),
    _route("GET", "/webhooks/", "webhooks:read", Store.list_webhooks),
    _route("POST", "/webhooks/", "webhooks:write", Store.create_webhook),
    _route("GET", "/webhooks/{id}/", "webhooks:read", Store.retrieve_webhook),
    _route("PATCH", "/webhooks/{id}/", "webhooks:write", Store.change_webhook),
    _route("DELETE", "/webhooks/{id}/", "webhooks:write", Store.delete_webhook),
)


def find_route(method: str, path: str) -> tuple[Route, int]:
    """The operation for a path that begins after /api/admin, and the id in that path, or 0."""
    there = [(route, found) for route in ROUTES if (found := route.path.fullmatch(path))]
    for route, found in there:
        if route.method == method:
            return route, int(found[1]) if route.path.groups else 0
    if there:
        raise Refusal.of_call(405, f'Method "{method}" not allowed.')
    raise Refusal.of_call(404, "Not found.")
