"""29next's representations of its objects: what its documents require, and what the sandbox uses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

Json = dict[str, Any]

# Objects that 29next's documents require, though they have no meaning in the sandbox.
USER: Json = {"id": 1}
ATTRIBUTION: Json = {"agent": {"id": 0}}
WAREHOUSE: Json = {"id": 1, "name": "Warehouse", "address": {"country": "US", "line1": "", "line4": ""}}
SHIPPING = {"open": "unfulfilled", "on_hold": "on_hold", "processing": "processing", "closed": "fulfilled"}
REQUESTS = {"open": "pending", "processing": "accepted", "closed": "closed"}

IN_TRANSACTION = (
    *("amount", "auth_code", "currency", "date_created", "external_id", "id", "is_external", "is_test"),
    *("network_transaction_id", "order", "parent_id", "statement_descriptor", "status", "type"),
)
NOT_IN_LISTS = ("is_test", "report_values", "statement_descriptor")
NOT_IN_ORDERS = (
    *("amount_available_for_refund", "attribution", "initiator", "order", "subscription", "user"),
)


def without(names: Collection[str], thing: Json) -> Json:
    """Returns a thing without some of its fields."""
    return {name: value for name, value in thing.items() if name not in names}


def transaction(row: Json, *, disputed: bool) -> Json:
    """Returns a single transaction."""
    payment = {
        **{name: row[name] for name in ("bankcard_first_six", "bankcard_last_four", "is_3ds")},
        **dict.fromkeys(("card_token", "paypal_vault_id", "sca_flow"), ""),
        "gateway": {"id": row["gateway_id"], "name": "Sandbox", "type": "test"},
        "optimized_3ds": False,
    }
    return {
        **{name: row[name] for name in IN_TRANSACTION},
        "amount_available_for_refund": f"{row['left']:.2f}",
        "attribution": ATTRIBUTION,
        "initiator": {"id": 0},
        "is_disputed": disputed,
        "payment_details": payment,
        "payment_method": row["payment_method"],
        "report_values": {"amount": row["amount"], "currency": row["currency"]},
        "response_code": 100,
        "subscription": {"billing_cycle": None, "id": int(row["subscription"])},
        "user": USER,
    }


def fulfillment_order(sale: Json) -> Json:
    """Returns the fulfilment order of a new sale."""
    return {
        "assigned_location": WAREHOUSE,
        "created_at": sale["date_created"],
        "fulfillment_holds": [],
        "line_items": [],
        "merchant_requests": [],
        "order_number": sale["order"],
        "request_status": REQUESTS[sale["fulfillment"]],
        "shipping_method": {"code": "standard", "name": "Standard"},
        "status": sale["fulfillment"],
        "updated_at": sale["date_created"],
    }


def subscription(sale: Json) -> Json:
    """Returns the subscription that a sale begins."""
    return {
        **{name: sale[name] for name in ("currency", "date_created", "is_test", "payment_method")},
        "attribution": ATTRIBUTION,
        "cancel_reason": "",
        "cancel_reason_other_message": None,
        "frequency": "Every month",
        "is_tax_known": True,
        "lines": [],
        "num_lines": 0,
        "num_orders": 1,
        "orders": [{"billing_cycle": 1, "order_number": sale["order"]}],
        "payment_details": {},
        "shipping_price": "0.00",
        "status": "active",
        "total": sale["amount"],
        "user": USER,
    }


def order(sale: Json, transactions: Sequence[Json], shipping: str) -> Json:
    """Returns the order of a sale, with all of its transactions."""
    kinds = ("excl_tax", "incl_tax")
    totals = [f"{name}_{kind}" for name in ("original_total", "total") for kind in kinds]
    free = [f"{name}_{kind}" for name in ("original_shipping", "shipping") for kind in kinds]
    sums = {**dict.fromkeys(totals, sale["amount"]), **dict.fromkeys((*free, "total_cost"), "0.00")}
    empty = ("fulfillments", "lines", "offer_discounts", "refunds", "shipping_tax_lines", "tax_lines")
    words = ("display_taxes", "shipping_code", "shipping_method", "source", "subscription_lifecycle")
    refunded = any(row["type"] == "refund" for row in transactions)
    return {
        **sums,
        **{name: [] for name in (*empty, "voucher_discounts")},
        **dict.fromkeys(words, ""),
        "attribution": ATTRIBUTION,
        "created_at": sale["date_created"],
        "currency": sale["currency"],
        "date_placed": sale["date_created"],
        "fulfillment_status": SHIPPING[shipping],
        "is_test": sale["is_test"],
        "number": sale["order"],
        "order_status_url": "https://sandbox.29next.store/",
        "payment_status": "paid" if not refunded else "partially_refunded" if sale["left"] else "refunded",
        "report_values": {**sums, "currency": sale["currency"]},
        "shipping_tax": "0.00",
        "subscriptions": [{"billing_cycle": 1, "id": sale["subscription"]}] if sale["subscription"] else [],
        "supports_post_purchase_upsells": False,
        "total_tax": "0.00",
        "transactions": [without(NOT_IN_ORDERS, row) for row in transactions],
        "updated_at": transactions[0]["date_created"],
        "user": USER,
    }
