"""An order of the stand-in: its transactions, in the frame that 29next documents."""

from __future__ import annotations

from tests.support.next29.replies import Json

AMOUNTS = (
    *("original_shipping_excl_tax", "original_shipping_incl_tax", "original_total_excl_tax"),
    *("original_total_incl_tax", "shipping_excl_tax", "shipping_incl_tax", "total_cost", "total_excl_tax"),
    "total_incl_tax",
)
TEXTS = ("display_taxes", "shipping_code", "shipping_method", "source", "subscription_lifecycle")
LISTS = (
    *("fulfillments", "lines", "offer_discounts", "refunds", "shipping_tax_lines", "subscriptions"),
    *("tax_lines", "voucher_discounts"),
)
DATES = ("created_at", "date_placed", "updated_at")
OF_THE_ORDER = ("amount_available_for_refund", "attribution", "initiator", "order", "subscription", "user")
"""What a transaction says alone and in lists, and not in its order."""


def order_of(number: str, transactions: list[Json]) -> Json:
    """An order of 2023-02-10 with these transactions, newest first; the rest of it says nothing."""
    first = transactions[-1]
    values: Json = {**dict.fromkeys(AMOUNTS, "0.00"), "currency": first["currency"] or ""}
    return {
        **dict.fromkeys(TEXTS, ""),
        **{name: [] for name in LISTS},
        **dict.fromkeys(DATES, first["date_created"]),
        **values,
        "attribution": {"agent": {"id": 0}},
        "is_test": bool(first["is_test"]),
        "number": number,
        "order_status_url": f"https://example.com/orders/{number}/",
        "payment_status": "paid",
        "report_values": values,
        "shipping_tax": "0.00",
        "supports_post_purchase_upsells": False,
        "total_tax": "0.00",
        "transactions": [
            {name: value for name, value in row.items() if name not in OF_THE_ORDER} for row in transactions
        ],
        "user": {"id": 1},
    }


def fulfillment_order(number: int, status: str = "open", request_status: str = "pending") -> Json:
    """A fulfilment order: what one location is to ship of an order."""
    holds = [{"reason": "high_risk", "reason_message": ""}] if status == "on_hold" else []
    return {
        "id": number * 10,
        "order_number": str(number),
        "status": status,
        "request_status": request_status,
        "fulfillment_holds": holds,
        "merchant_requests": [],
    }
