"""The words by which an operator finds an alert again: its identifiers, card, order and amount. Pure.

They are written beside each delivery and case when an alert is translated, so that looking one up
costs the same among a thousand alerts as among a million.
"""

from __future__ import annotations

import re
import typing

if typing.TYPE_CHECKING:
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
    """Return the words of an alert; an amount has one spelling, whatever zeros it ends in."""
    found = {word(str(value)) for name in FACTS if (value := getattr(alert, name))}
    return found | {amount(str(value)) for value in (alert.amount, alert.transaction_amount) if value}


def of_transaction(row: Mapping[str, typing.Any]) -> set[str]:
    """Return the words that an alert about a transaction of the index may have, however it writes them."""
    code, order = row["auth_code"] or "", row["order"] or ""
    names = ("external_id", "network_transaction_id", "bankcard_last_four")
    found = {code, code.lstrip("0"), order, f"#{order}", *(row[name] or "" for name in names)}
    return {word(one) for one in found} - {"", "#"}


def word(text: str) -> str:
    """Return the one spelling of a word, for writing it and for looking it up."""
    return text.strip().lower()[:LONGEST]


def amount(text: str) -> str:
    """Return the one spelling of an amount."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def reported_by(provider: str) -> str:
    """Return the word by which the cases are found that a provider has a part in."""
    return f"provider:{provider}"


def asked(text: str) -> str:
    """Return the word that somebody looks for: an amount however it is written, else the text."""
    plain = word(text)
    money = plain.lstrip("$€£ ").replace(",", "")
    return amount(money) if AMOUNT.fullmatch(money) else plain
