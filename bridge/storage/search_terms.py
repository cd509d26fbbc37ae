"""The terms by which an operator finds an alert again: its identifiers, card, order and amount. Pure.

The bridge stores them beside each delivery and case when it translates an alert, so a search costs the
same among a thousand alerts as among a million.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping

from bridge.alert import Alert

FACTS = (
    "case_number",
    "arn",
    "order",
    "card_last_four",
    "auth_code",
    "network_transaction_id",
    "external_id",
)
LONGEST = 100
AMOUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?")


def of_alert(alert: Alert) -> set[str]:
    """Returns the search terms of an alert; an amount has one spelling, whatever zeros it ends in."""
    terms = {normalize(str(value)) for name in FACTS if (value := getattr(alert, name))}
    return terms | {
        normalize_amount(str(value)) for value in (alert.amount, alert.transaction_amount) if value
    }


def of_transaction(row: Mapping[str, typing.Any]) -> set[str]:
    """Returns the terms that an alert about a transaction may have, however it writes them."""
    code, order = row["auth_code"] or "", row["order"] or ""
    names = ("external_id", "network_transaction_id", "bankcard_last_four")
    values = {code, code.lstrip("0"), order, f"#{order}", *(row[name] or "" for name in names)}
    return {normalize(value) for value in values} - {"", "#"}


def normalize(text: str) -> str:
    """Returns the spelling in which a term is stored and looked up."""
    return text.strip().lower()[:LONGEST]


def normalize_amount(text: str) -> str:
    """Returns the spelling in which an amount is stored and looked up."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def reported_by(provider: str) -> str:
    """Returns the term of the cases that a provider has reported."""
    return f"provider:{provider}"


def from_query(text: str) -> str:
    """Returns the term that somebody looks for: an amount, however it is written, else the text."""
    plain = normalize(text)
    money = plain.lstrip("$€£ ").replace(",", "")
    return normalize_amount(money) if AMOUNT.fullmatch(money) else plain
