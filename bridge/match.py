"""Which transaction an alert is about: the ladder of rules. Pure.

A wrong match blocks a real customer, so a transaction counts only when exactly one fits and none of
the alert's facts contradicts it. Transactions are plain rows as 29next lists them.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.alert import Alert

Row = dict[str, typing.Any]

BEFORE, AFTER = timedelta(days=4), timedelta(days=4)
"""How far a transaction may lie from the time that the alert gives: clearing takes days."""
OLDEST = timedelta(days=180)
"""How far a transaction may lie before its dispute, where the alert gives no transaction time."""
LOOK_UPS = 2
"""At most so many look-ups at 29next for one alert."""
MOST_CANDIDATES = 20
SEVERAL = "several fit"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rung: the alert's facts that it needs, and 29next's fields that must equal them."""

    name: str
    facts: tuple[tuple[str, str], ...]  # (the alert's, the transaction's)
    unique: bool  # an id of the payment: a part of its amount may be disputed

    def query(self, alert: Alert) -> dict[str, str] | None:
        """Return the filters of `GET /transactions/` for this rung, or None where facts are missing."""
        values = {theirs: _text(getattr(alert, ours)) for ours, theirs in self.facts}
        if not all(values.values()):
            return None
        return values | {"is_test": "false"}

    def holds(self, alert: Alert, row: Row) -> bool:
        """Whether the transaction has exactly the facts of the alert."""
        pairs = [(_text(getattr(alert, ours)), _of(row, theirs)) for ours, theirs in self.facts]
        return all(ours and ours == theirs for ours, theirs in pairs)


CARD = (("card_first_six", "bankcard_first_six"), ("card_last_four", "bankcard_last_four"))
LADDER = (
    Rule("order", (("order", "order"),), unique=True),
    Rule("external_id", (("external_id", "external_id"),), unique=True),
    Rule("network_transaction_id", (("network_transaction_id", "network_transaction_id"),), unique=True),
    Rule("auth_code", (("auth_code", "auth_code"),), unique=False),
    Rule("card_and_amount", CARD, unique=False),
)
"""The rungs, strongest evidence first."""
ASKED = ("external_id", "auth_code", "network_transaction_id", "card_and_amount")
"""The order in which 29next is asked: authorization codes are what most alerts carry."""
_BY_NAME = {rule.name: rule for rule in LADDER}


@dataclass(frozen=True, slots=True)
class Match:
    """The transaction found and the rule that found it, or the candidates and why none was taken."""

    transaction_id: int | None = None
    rule: str | None = None
    candidates: tuple[Row, ...] = field(default=())

    def to_json(self) -> Row:
        """Write the match for the inbox and the API."""
        return {"rule": self.rule, "candidates": list(self.candidates)}


def queries(alert: Alert) -> list[tuple[str, dict[str, str]]]:
    """Return the look-ups worth making at 29next, in order: (rule, filters), two at most."""
    found = []
    for name in ASKED:
        filters = _BY_NAME[name].query(alert)
        if filters is None:
            continue
        if name == "card_and_amount":
            filters |= _around(alert)
        found.append((name, filters))
    return found[:LOOK_UPS]


def choose(alert: Alert, rows: Iterable[Row], *, complete: bool = True) -> Match:
    """Choose the one transaction that fits, or none; candidates say why each was not taken.

    Where several fit a rung, only these are looked at on the rungs below. Where `rows` may not be
    complete, only a rung with an id of its own counts: the one that fits may be missing among them.
    """
    payments = _payments(rows)
    reasons = {row["id"]: contradiction(alert, row) for row in payments}
    left = [row for row in payments if reasons[row["id"]] is None]
    several = False
    for rule in LADDER:
        if not (rule.unique or complete):
            continue
        fitting = [row for row in left if rule.holds(alert, row) and _enough(rule, alert, row)]
        if len(fitting) == 1:
            return Match(int(fitting[0]["id"]), rule.name)
        if fitting:
            left, several = fitting, True
    if several:
        return Match(candidates=_candidates(left, dict.fromkeys(reasons, SEVERAL)))
    return Match(candidates=_candidates(payments, reasons))


def is_kin(alert: Alert, row: Row) -> bool:
    """Whether a transaction shares an id, a code or the card with an alert."""
    return any(rule.holds(alert, row) for rule in LADDER)


def contradiction(alert: Alert, row: Row) -> str | None:
    """Name the fact of the alert that a transaction contradicts, or None."""
    amount, currency = _money(alert)
    if row.get("status") != "succeeded":
        return "it did not succeed"
    if currency and row.get("currency") and row["currency"].upper() == currency:
        theirs = _decimal(row.get("amount"))
        partial = alert.transaction_amount is None
        if (
            amount is not None
            and theirs is not None
            and (amount > theirs or (amount != theirs and not partial))
        ):
            return f"its amount is {theirs}, not {amount}"
    if alert.card_last_four and _of(row, "bankcard_last_four") not in ("", alert.card_last_four):
        return None if _wallet(alert, row) else "another card"
    created = _moment(row.get("date_created"))
    if created and (why := _off_in_time(alert, created)):
        return why
    return None


def _enough(rule: Rule, alert: Alert, row: Row) -> bool:
    """Whether a rung without an id of its own has the further evidence that it needs."""
    if rule.unique:
        return True
    amount, currency = _money(alert)
    same_amount = (
        amount is not None
        and _decimal(row.get("amount")) == amount
        and (row.get("currency") or "").upper() == currency
    )
    if rule.name == "auth_code":
        return same_amount or all(r == t for r, t in _card_pairs(alert, row))
    return same_amount and _moment(row.get("date_created")) is not None


def _card_pairs(alert: Alert, row: Row) -> list[tuple[str | None, str]]:
    return [(getattr(alert, ours) or "-", _of(row, theirs)) for ours, theirs in CARD]


def _wallet(alert: Alert, row: Row) -> bool:
    """Whether another card number is no contradiction: wallets pay with a virtual one."""
    by_code = bool(alert.auth_code) and alert.auth_code == _of(row, "auth_code")
    by_network = bool(alert.network_transaction_id) and alert.network_transaction_id == _of(
        row, "network_transaction_id"
    )
    amount, currency = _money(alert)
    exact = _decimal(row.get("amount")) == amount and (row.get("currency") or "").upper() == currency
    return by_network or (by_code and exact)


def _payments(rows: Iterable[Row]) -> list[Row]:
    """Return the payments among transactions, each once: debits, and authorizations without one."""
    by_id = {row["id"]: row for row in rows if isinstance(row.get("id"), int)}
    captured = {row.get("parent_id") for row in by_id.values() if row.get("type") == "debit"}
    return [
        row
        for row in by_id.values()
        if row.get("type") == "debit" or (row.get("type") == "authorize" and row["id"] not in captured)
    ]


def _candidates(rows: list[Row], reasons: Mapping[int, str | None]) -> tuple[Row, ...]:
    return tuple(
        {
            "id": row["id"],
            "order": row.get("order"),
            "amount": row.get("amount"),
            "currency": row.get("currency"),
            "date_created": row.get("date_created"),
            "why": reasons[row["id"]] or "too little evidence",
        }
        for row in rows[:MOST_CANDIDATES]
    )


def _around(alert: Alert) -> dict[str, str]:
    amount, currency = _money(alert)
    filters: dict[str, str] = {}
    if alert.transaction_amount is not None and amount is not None and currency:
        filters |= {"amount_min": str(amount), "amount_max": str(amount), "currency": currency}
    if alert.transaction_at:
        filters["date_created_from"] = (alert.transaction_at - BEFORE).astimezone(UTC).date().isoformat()
        filters["date_created_to"] = (alert.transaction_at + AFTER).astimezone(UTC).date().isoformat()
    return filters


def _off_in_time(alert: Alert, created: datetime) -> str | None:
    if alert.transaction_at:
        if not alert.transaction_at - BEFORE <= created <= alert.transaction_at + AFTER:
            return "another date"
    elif alert.happened_at and not alert.happened_at - OLDEST <= created <= alert.happened_at + AFTER:
        return "another date"
    return None


def _money(alert: Alert) -> tuple[Decimal | None, str | None]:
    """Return the transaction's amount as the alert has it, else the disputed one."""
    if alert.transaction_amount is not None:
        return alert.transaction_amount, alert.transaction_currency
    return alert.amount, alert.currency


def _of(row: Row, name: str) -> str:
    details = row.get("payment_details")
    value = row.get(name)
    if value is None and isinstance(details, dict):
        value = details.get(name)
    return _text(value)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _decimal(value: object) -> Decimal | None:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
