"""Chooses the transaction of an alert, by a ladder of rules. Pure.

A wrong match blocks a real customer, so a transaction is chosen only if exactly one fits and none of the
alert's facts contradicts it. Transactions are rows as 29next lists them.
"""

from __future__ import annotations

import itertools
import re
import typing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bridge.disputes.case import Call, CallKind, Rule
from bridge.disputes.payloads import read_amount, read_moment

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bridge.alert import Alert

Row = dict[str, typing.Any]

BEFORE, AFTER = timedelta(days=4), timedelta(days=4)
"""How far a transaction may be from the time that the alert gives: clearing takes days."""
LATEST = timedelta(days=2)
"""How long after its dispute a transaction may be: the dispute's date is a midnight in an unknown zone."""
OLDEST = timedelta(days=180)
"""How long before its dispute a transaction may be, if the alert gives no transaction time."""
LOOK_UPS = 2
"""How many look-ups at 29next one alert gets."""
MOST_CANDIDATES = 20
SEVERAL = "several fit"
WALLETS = frozenset({"apple_pay", "google_pay"})
"""29next's payment methods with virtual card numbers, which the issuer's alert does not have."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One rule of the ladder: the alert's facts that it needs, and 29next's fields that must equal them."""

    rule: Rule
    facts: tuple[tuple[str, str], ...]  # (the alert's, the transaction's)
    unique: bool  # an id of the payment: a part of its amount may be disputed

    def matches(self, alert: Alert, row: Row) -> bool:
        """Whether the transaction has exactly the facts of the alert."""
        pairs = [(_fact(alert, ours), _field(row, theirs)) for ours, theirs in self.facts]
        return all(ours and ours == theirs for ours, theirs in pairs)


@dataclass(frozen=True, slots=True)
class Payment:
    """A transaction that can be disputed, and those that lead to it: see `_payments`."""

    row: Row
    related: tuple[Row, ...] = ()

    @property
    def id(self) -> int:
        """The id of the transaction."""
        return int(self.row["id"])

    def is_named_by(self, rung: Rung, alert: Alert) -> bool:
        """Whether the payment, or a transaction that leads to it, has exactly the facts of the alert."""
        return any(rung.matches(alert, row) for row in (self.row, *self.related))


CARD = (("card_first_six", "bankcard_first_six"), ("card_last_four", "bankcard_last_four"))
IDS = ("auth_code", "network_transaction_id", "external_id")
LADDER = (
    Rung(Rule.ORDER, (("order", "order"),), unique=True),
    Rung(Rule.EXTERNAL_ID, (("external_id", "external_id"),), unique=True),
    Rung(Rule.NETWORK_TRANSACTION_ID, (("network_transaction_id", "network_transaction_id"),), unique=True),
    Rung(Rule.AUTH_CODE, (("auth_code", "auth_code"),), unique=False),
    Rung(Rule.CARD_AND_AMOUNT, CARD, unique=False),
)
"""The rungs, strongest evidence first."""
SUREST = (Rule.ORDER, Rule.EXTERNAL_ID)
"""The rungs that count if a fact of the alert cannot be read."""
ASKED = (Rule.ORDER, Rule.EXTERNAL_ID, Rule.AUTH_CODE, Rule.NETWORK_TRANSACTION_ID, Rule.CARD_AND_AMOUNT)
"""The order of look-ups at 29next: ids, then authorization codes, which most alerts carry."""
ORDER_NUMBER = re.compile(r"[1-9][0-9]{0,11}")
"""The form of 29next's order numbers; anything longer is another system's id."""
FAILED = "it did not succeed"
_RUNGS = {rung.rule: rung for rung in LADDER}


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen transaction and the rule that found it, or the candidates and why none was taken."""

    transaction_id: int | None = None
    rule: Rule | None = None
    candidates: tuple[Row, ...] = ()


def queries(alert: Alert) -> dict[Rule, Call]:
    """Returns the look-ups to make at 29next, the best first, two at most."""
    rungs = [_RUNGS[rule] for rule in ASKED if _counts(_RUNGS[rule], alert)]
    calls = [(rung.rule, call) for rung in rungs if (call := _query(rung, alert))]
    return dict(calls[:LOOK_UPS])


def _query(rung: Rung, alert: Alert) -> Call | None:
    """Returns the look-up for a rung at 29next, or None if the alert lacks the facts."""
    filters = {theirs: _fact(alert, ours) for ours, theirs in rung.facts}
    if not all(filters.values()):
        return None
    if rung.rule is Rule.ORDER:
        number = ORDER_NUMBER.fullmatch(filters["order"])
        return Call(CallKind.ORDER, "GET", f"orders/{number[0]}/", rule=rung.rule) if number else None
    if rung.rule is Rule.CARD_AND_AMOUNT:
        filters |= _around(alert)
    return Call(
        CallKind.SEARCH, "GET", "transactions/", params=filters | {"is_test": "false"}, rule=rung.rule
    )


def choose(
    alert: Alert, rows: Iterable[Row], *, complete: bool = True, earlier: Sequence[Row] = ()
) -> Choice:
    """Chooses the one transaction that fits, or none; candidates say why each was not taken.

    Three phases: drop the payments that a fact contradicts, then try the ids, then the weaker rules with the
    evidence they need. If several fit a rung, only these are tried on the rungs below. If two of the alert's
    ids name different payments, a person decides; `earlier` are the candidates of earlier look-ups. If
    `rows` may be incomplete, the right one may be missing, so only an id counts.
    """
    payments = _payments(rows)
    against = {payment.id: contradictions(alert, payment) for payment in payments}
    reasons = {ident: next(iter(reasons_of.values()), None) for ident, reasons_of in against.items()}
    named = _named(alert, payments)
    if _ids_disagree(named, earlier):
        return Choice(candidates=_candidates(alert, payments, reasons, other=SEVERAL))
    remaining = {payment.id: payment for payment in payments if reasons[payment.id] is None}
    several, rivals = False, dict[int, Payment]()
    for rung in LADDER:
        fitting = _fitting(rung, alert, named[rung.rule], remaining, complete=complete)
        possible = (payment for payment in named[rung.rule] if payment.id in remaining or reasons[payment.id])
        same = _rivals(rung, alert, fitting, possible, against)
        if len(fitting) == 1 and not same:
            return Choice(next(iter(fitting)), rung.rule)
        if fitting:
            remaining, several, rivals = fitting, True, rivals | same
    if several:
        considered = [*remaining.values(), *rivals.values()]
        return Choice(candidates=_candidates(alert, considered, reasons, other=SEVERAL))
    return Choice(candidates=_candidates(alert, payments, reasons))


def _named(alert: Alert, payments: list[Payment]) -> dict[Rule, list[Payment]]:
    """Returns the payments that each rung names, including those that another fact contradicts."""
    tried = [payment for payment in payments if payment.row.get("status") != "failed"]
    return {
        rung.rule: [payment for payment in tried if _counts(rung, alert) and payment.is_named_by(rung, alert)]
        for rung in LADDER
    }


def _ids_disagree(named: Mapping[Rule, list[Payment]], earlier: Sequence[Row]) -> bool:
    """Whether two ids of the alert name different payments, even in different look-ups."""
    tried = [(candidate["by"], candidate["id"]) for candidate in earlier if candidate["why"] != FAILED]
    by_id = [
        {payment.id for payment in named[rung.rule]} | {ident for by, ident in tried if by == rung.rule}
        for rung in LADDER
        if rung.unique
    ]
    return any(ids and others and not ids & others for ids, others in itertools.combinations(by_id, 2))


def _fitting(
    rung: Rung, alert: Alert, named: list[Payment], remaining: Mapping[int, Payment], *, complete: bool
) -> dict[int, Payment]:
    """Returns the remaining payments that a rung names with the evidence that it needs."""
    # an id that several payments have, or may have, is not enough by itself: an order has several payments,
    # and rebills share the network's id
    sure = rung.unique and len(named) == 1 and (complete or rung.rule is Rule.EXTERNAL_ID)
    if not (sure or complete or (rung.unique and alert.transaction_at)):
        return {}
    possible = [payment for payment in named if payment.id in remaining]
    return {payment.id: payment for payment in possible if sure or _has_evidence(rung, alert, payment.row)}


def _rivals(
    rung: Rung,
    alert: Alert,
    fitting: Mapping[int, Payment],
    named: Iterable[Payment],
    against: Mapping[int, Mapping[str, str]],
) -> dict[int, Payment]:
    """Returns the payments that would fit too, but for facts that are tolerated in the fitting ones.

    The card of a wallet and an amount in another currency cannot be compared. So they cannot decide between
    a payment that differs in them and another one: the alert's own fact may be wrong.
    """
    tolerated = {fact for payment in fitting.values() for fact in _tolerated(alert, payment.row)}
    others = {payment.id: payment for payment in named if tolerated and payment.id not in fitting}
    return {
        ident: payment
        for ident, payment in others.items()
        if set(against[ident]) <= tolerated
        and ("amount" in tolerated or _has_evidence(rung, alert, payment.row))
    }


def _tolerated(alert: Alert, row: Row) -> Iterator[str]:
    """Yields the facts in which a payment differs without a contradiction."""
    if _has_another_card(alert, row):
        yield "card"
    if _has_another_currency(alert, row):
        yield "amount"


def _counts(rung: Rung, alert: Alert) -> bool:
    """Whether a rung counts: an unreadable fact of the alert might contradict all but the surest ids."""
    return not alert.unreadable or rung.rule in SUREST


def payment_behind(alert: Alert, rows: Iterable[Row]) -> int | None:
    """Returns the id of the payment of a refund that the alert names, if the rows lack it."""
    rows = list(rows)
    known = {row.get("id") for row in rows}
    parents = [
        row.get("parent_id") for row in rows if row.get("type") == "refund" and shares_fact(alert, row)
    ]
    return next((ident for ident in parents if isinstance(ident, int) and ident not in known), None)


def shares_fact(alert: Alert, row: Row) -> bool:
    """Whether a transaction shares an id, a code or the card with an alert."""
    return any(rung.matches(alert, row) for rung in LADDER)


def contradictions(alert: Alert, payment: Payment) -> dict[str, str]:
    """Returns the reasons against a payment, by the fact that it contradicts."""
    row = payment.row
    if row.get("status") != "succeeded":
        return {"status": FAILED}
    if row.get("is_test") is True:
        return {"test": "a test"}
    is_another_card = _has_another_card(alert, row) and not _is_virtual(alert, row)
    reasons = {
        "amount": _another_amount(alert, row),
        "card": "another card" if is_another_card else None,
        "id": _another_id(alert, payment),
        "date": _another_date(alert, payment),
    }
    return {fact: reason for fact, reason in reasons.items() if reason}


def _another_amount(alert: Alert, row: Row) -> str | None:
    """Returns how the amount contradicts the alert, or None.

    Without the transaction's amount in the alert, a part of it may be disputed. Amounts in different
    currencies are not compared.
    """
    amount, currency = _money(alert)
    theirs, is_exact = read_amount(row.get("amount")), alert.transaction_amount is not None
    if _has_another_currency(alert, row):
        return f"its currency is {_field(row, 'currency').upper()}, not {currency}" if is_exact else None
    if amount is None or theirs is None or amount == theirs or (amount < theirs and not is_exact):
        return None
    return f"its amount is {theirs}, not {amount}"


def _has_another_currency(alert: Alert, row: Row) -> bool:
    ours, theirs = _money(alert)[1], _field(row, "currency").upper()
    return bool(ours and theirs and ours != theirs)


def _has_another_card(alert: Alert, row: Row) -> bool:
    pairs = [(_fact(alert, ours), _field(row, theirs)) for ours, theirs in CARD]
    return any(ours and theirs and ours != theirs for ours, theirs in pairs)


def _is_virtual(alert: Alert, row: Row) -> bool:
    """Whether another card number is no contradiction, since wallets pay with a virtual one.

    If 29next does not say that it was a wallet, the network's id or the code and the amount must agree.
    """
    method = _field(row, "payment_method")
    by_code = _RUNGS[Rule.AUTH_CODE].matches(alert, row) and _same_amount(alert, row)
    by_network = _RUNGS[Rule.NETWORK_TRANSACTION_ID].matches(alert, row)
    return method in WALLETS or by_network or (by_code and not method)


def _another_id(alert: Alert, payment: Payment) -> str | None:
    """Returns how an id contradicts the alert, or None; only ids of the same form are compared."""
    for name in IDS:
        ours = _fact(alert, name)
        theirs = {_field(row, name) for row in (payment.row, *payment.related)}
        if ours and ours not in theirs and any(_kind(ident) == _kind(ours) for ident in theirs):
            return f"another {name.replace('_', ' ')}"
    return None


def _kind(ident: str) -> tuple[str, int]:
    """Returns the form of an id: pi_... and ch_... are a payment's and a charge's."""
    return ident.rpartition("_")[0], len(ident)


def _another_date(alert: Alert, payment: Payment) -> str | None:
    """Returns how the date contradicts the alert, or None; an authorization may be captured much later."""
    compared = [payment.row, *(row for row in payment.related if row.get("type") == "authorize")]
    moments = [moment for row in compared if (moment := read_moment(row.get("date_created")))]
    since, until = window(alert)
    if moments and ((since and max(moments) < since) or (until and min(moments) > until)):
        return "another date"
    return None


def window(alert: Alert) -> tuple[datetime | None, datetime | None]:
    """Returns the moments between which the alert's transaction was made."""
    transaction_at, happened = alert.transaction_at, alert.happened_at
    since = transaction_at - BEFORE if transaction_at else happened - OLDEST if happened else None
    ends = [transaction_at + AFTER] if transaction_at else []
    ends += [happened + LATEST] if happened else []
    return since, min(ends, default=None)


def _has_evidence(rung: Rung, alert: Alert, row: Row) -> bool:
    """Whether a fact that several payments may share has the further evidence that it needs.

    Codes, cards and shared ids repeat: so the dates must be known, and the whole amount must agree.
    """
    if read_moment(row.get("date_created")) is None or window(alert) == (None, None):
        return False
    if rung.rule is Rule.AUTH_CODE:
        across = _field(row, "currency").upper() != _money(alert)[1]
        return _same_amount(alert, row) or (across and _RUNGS[Rule.CARD_AND_AMOUNT].matches(alert, row))
    return _same_amount(alert, row)


def _same_amount(alert: Alert, row: Row) -> bool:
    amount, currency = _money(alert)
    theirs = (read_amount(row.get("amount")), _field(row, "currency").upper())
    return amount is not None and theirs == (amount, currency)


def _payments(rows: Iterable[Row]) -> list[Payment]:
    """Returns the payments among transactions, each once: debits, and authorizations without one.

    A voided transaction is not a payment. A refund leads to its parent, an authorization to its debits.
    """
    by_id = {row["id"]: row for row in rows if isinstance(row.get("id"), int)}
    children: dict[object, list[Row]] = {}
    for row in by_id.values():
        children.setdefault(row.get("parent_id"), []).append(row)
    payments = []
    for ident, row in by_id.items():
        own = children.get(ident, [])
        refunds = [child for child in own if child.get("type") == "refund"]
        parent = by_id.get(typing.cast("int", row.get("parent_id")), {})
        if row.get("type") == "debit" and not any(_has_succeeded(child, "void") for child in own):
            authorized = [parent] if parent.get("type") == "authorize" else []
            payments.append(Payment(row, (*refunds, *authorized)))
        elif row.get("type") == "authorize" and not any(
            _has_succeeded(child, "void", "debit") for child in own
        ):
            payments.append(Payment(row))
    return payments


def _has_succeeded(row: Row, *types: str) -> bool:
    return row.get("type") in types and row.get("status") == "succeeded"


def _candidates(
    alert: Alert,
    payments: Iterable[Payment],
    reasons: Mapping[int, str | None],
    other: str = "too little evidence",
) -> tuple[Row, ...]:
    """Returns what was considered, by which rung, and why it was not taken; the strongest evidence first."""
    shown = ("id", "order", "amount", "currency", "date_created")
    rules = [*(rung.rule for rung in LADDER), None]

    def place(payment: Payment) -> int:
        return next((n for n, rung in enumerate(LADDER) if payment.is_named_by(rung, alert)), len(LADDER))

    return tuple(
        {name: payment.row.get(name) for name in shown}
        | {"by": rules[place(payment)], "why": reasons[payment.id] or other}
        for payment in sorted(payments, key=place)[:MOST_CANDIDATES]
    )


def _around(alert: Alert) -> dict[str, str]:
    amount, currency = _money(alert)
    filters: dict[str, str] = {}
    if alert.transaction_amount is not None and amount is not None and currency:
        filters |= {"amount_min": str(amount), "amount_max": str(amount), "currency": currency}
    for name, moment in zip(("date_created_from", "date_created_to"), window(alert), strict=True):
        if moment:
            filters[name] = moment.astimezone(UTC).date().isoformat()
    return filters


def _money(alert: Alert) -> tuple[Decimal | None, str | None]:
    """Returns the transaction's amount as the alert has it, else the disputed one."""
    if alert.transaction_amount is not None:
        return alert.transaction_amount, alert.transaction_currency
    return alert.amount, alert.currency


def _fact(alert: Alert, name: str) -> str:
    return spelling(name, getattr(alert, name))


def _field(row: Row, name: str) -> str:
    details = row.get("payment_details")
    value = row.get(name)
    if value is None and isinstance(details, dict):
        value = details.get(name)
    return spelling(name, value)


def spelling(name: str, value: object) -> str:
    """Returns a fact in the form in which facts are compared; "" if it says nothing.

    A code that was a number has lost its leading zeros; an order may be written with `#`.
    """
    text = "" if value is None else str(value).strip()
    if name == "order":
        return text.lstrip("#")
    if name != "auth_code":
        return text
    return text.upper().rjust(6, "0") if text.strip("0") else ""
