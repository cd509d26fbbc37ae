"""Which transaction an alert is about: the ladder of rules. Pure.

A wrong match blocks a real customer, so a transaction counts only when exactly one fits and none of
the alert's facts contradicts it. Transactions are plain rows as 29next lists them.
"""

from __future__ import annotations

import itertools
import re
import typing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from bridge.disputes.case import Call, Kind, Rule

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bridge.alert import Alert

Row = dict[str, typing.Any]

BEFORE, AFTER = timedelta(days=4), timedelta(days=4)
"""How far a transaction may lie from the time that the alert gives: clearing takes days."""
LATEST = timedelta(days=2)
"""How far a transaction may lie after its dispute: a date is its midnight, in some zone; no more."""
OLDEST = timedelta(days=180)
"""How far a transaction may lie before its dispute, where the alert gives no transaction time."""
LOOK_UPS = 2
"""At most so many look-ups at 29next for one alert."""
MOST_CANDIDATES = 20
SEVERAL = "several fit"
WALLETS = frozenset({"apple_pay", "google_pay"})
"""29next's payment methods whose card numbers are virtual ones, unknown to the issuer's alert."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung: the alert's facts that it needs, and 29next's fields that must equal them."""

    rule: Rule
    facts: tuple[tuple[str, str], ...]  # (the alert's, the transaction's)
    unique: bool  # an id of the payment: a part of its amount may be disputed

    def holds(self, alert: Alert, row: Row) -> bool:
        """Whether the transaction has exactly the facts of the alert."""
        pairs = [(_told(alert, ours), _of(row, theirs)) for ours, theirs in self.facts]
        return all(ours and ours == theirs for ours, theirs in pairs)


@dataclass(frozen=True, slots=True)
class Payment:
    """A transaction that a dispute can be about, and those that lead to it: see `_payments`."""

    row: Row
    kin: tuple[Row, ...] = ()

    def is_named_by(self, rung: Rung, alert: Alert) -> bool:
        """Whether the payment, or one of its kin, has exactly the facts of the alert."""
        return any(rung.holds(alert, row) for row in (self.row, *self.kin))


CARD = (("card_first_six", "bankcard_first_six"), ("card_last_four", "bankcard_last_four"))
OWN = Rule.EXTERNAL_ID
"""The one id that no other payment has: an order has several, and rebills share the network's id."""
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
"""The rungs that count where a fact of the alert cannot be read."""
ASKED = (Rule.ORDER, Rule.EXTERNAL_ID, Rule.AUTH_CODE, Rule.NETWORK_TRANSACTION_ID, Rule.CARD_AND_AMOUNT)
"""What 29next is asked first: ids, then authorization codes, which are what most alerts carry."""
ORDER_NUMBER = re.compile(r"[1-9][0-9]{0,11}")
"""What can be a number of 29next's orders; what is longer is an id of somebody else's."""
FAILED = "it did not succeed"
_RUNGS = {rung.rule: rung for rung in LADDER}


@dataclass(frozen=True, slots=True)
class Choice:
    """The transaction chosen and the rule that found it, or the candidates and why none was taken."""

    transaction_id: int | None = None
    rule: Rule | None = None
    candidates: tuple[Row, ...] = field(default=())


def queries(alert: Alert) -> dict[Rule, Call]:
    """Return the look-ups worth making at 29next, the best first, two at most."""
    rungs = [_RUNGS[rule] for rule in ASKED if _may_tell(_RUNGS[rule], alert)]
    calls = [(rung.rule, call) for rung in rungs if (call := _query(rung, alert))]
    return dict(calls[:LOOK_UPS])


def _query(rung: Rung, alert: Alert) -> Call | None:
    """Return the look-up for a rung at 29next, or None where the alert does not tell enough for it."""
    filters = {theirs: _told(alert, ours) for ours, theirs in rung.facts}
    if not all(filters.values()):
        return None
    if rung.rule is Rule.ORDER:
        number = ORDER_NUMBER.fullmatch(filters["order"])
        return Call(Kind.ORDER, "GET", f"orders/{number[0]}/", rule=rung.rule) if number else None
    if rung.rule is Rule.CARD_AND_AMOUNT:
        filters |= _around(alert)
    return Call(Kind.SEARCH, "GET", "transactions/", params=filters | {"is_test": "false"}, rule=rung.rule)


def choose(
    alert: Alert, rows: Iterable[Row], *, complete: bool = True, earlier: Sequence[Row] = ()
) -> Choice:
    """Choose the one transaction that fits, or none; candidates say why each was not taken.

    Three phases: drop the payments that a fact contradicts, let the ids speak first, then the weaker
    rules with the evidence they need. Where several fit a rung, only these are looked at on the rungs
    below. Where two of the alert's ids name different payments, a person decides; `earlier` are the
    candidates of look-ups before this one. Where `rows` may not be complete, the one that fits may be
    missing among them, so that only an id counts.
    """
    payments = _payments(rows)
    against = {one.row["id"]: contradictions(alert, one) for one in payments}
    reasons = {ident: next(iter(found.values()), None) for ident, found in against.items()}
    named = _named(alert, payments)
    if _ids_disagree(named, earlier):
        return Choice(candidates=_candidates(alert, payments, reasons, other=SEVERAL))
    left = {one.row["id"]: one for one in payments if reasons[one.row["id"]] is None}
    several, rivals = False, dict[int, Payment]()
    for rung in LADDER:
        fitting = _fitting(rung, alert, named[rung.rule], left, complete=complete)
        possible = (one for one in named[rung.rule] if one.row["id"] in left or reasons[one.row["id"]])
        same = _rivals(rung, alert, fitting, possible, against)
        if len(fitting) == 1 and not same:
            return Choice(next(iter(fitting)), rung.rule)
        if fitting:
            left, several, rivals = fitting, True, rivals | same
    if several:
        considered = [*left.values(), *rivals.values()]
        return Choice(candidates=_candidates(alert, considered, reasons, other=SEVERAL))
    return Choice(candidates=_candidates(alert, payments, reasons))


def _named(alert: Alert, payments: list[Payment]) -> dict[Rule, list[Payment]]:
    """Return the payments that each rung names, those that contradict another fact among them."""
    tried = [one for one in payments if one.row.get("status") != "failed"]
    return {
        rung.rule: [one for one in tried if _may_tell(rung, alert) and one.is_named_by(rung, alert)]
        for rung in LADDER
    }


def _ids_disagree(named: Mapping[Rule, list[Payment]], earlier: Sequence[Row]) -> bool:
    """Whether two ids of the alert name different payments, be it in different look-ups."""
    tried = [(one["by"], one["id"]) for one in earlier if one["why"] != FAILED]
    by_id = [
        {one.row["id"] for one in named[rung.rule]} | {ident for by, ident in tried if by == rung.rule}
        for rung in LADDER
        if rung.unique
    ]
    return any(one and other and not one & other for one, other in itertools.combinations(by_id, 2))


def _fitting(
    rung: Rung, alert: Alert, named: list[Payment], left: Mapping[int, Payment], *, complete: bool
) -> dict[int, Payment]:
    """Return the payments of those left that a rung names, with the evidence that it needs."""
    # an id that several have, or may have, is one fact among others
    sure = rung.unique and len(named) == 1 and (complete or rung.rule is OWN)
    if not (sure or complete or (rung.unique and alert.transaction_at)):
        return {}
    possible = [one for one in named if one.row["id"] in left]
    return {one.row["id"]: one for one in possible if sure or _enough(rung, alert, one.row)}


def _rivals(
    rung: Rung,
    alert: Alert,
    fitting: Mapping[int, Payment],
    named: Iterable[Payment],
    against: Mapping[int, Mapping[str, str]],
) -> dict[int, Payment]:
    """Return what a rung names too, and what only facts keep from fitting that are not held against the rest.

    The card of a wallet and an amount in another currency cannot be compared. So they do not decide for
    such a payment, either, where another one would fit but for them: the alert's own fact may be wrong.
    """
    spared = {fact for one in fitting.values() for fact in _spared(alert, one.row)}
    others = {one.row["id"]: one for one in named if spared and one.row["id"] not in fitting}
    return {
        ident: one
        for ident, one in others.items()
        if set(against[ident]) <= spared and ("amount" in spared or _enough(rung, alert, one.row))
    }


def _spared(alert: Alert, row: Row) -> Iterator[str]:
    """Yield the facts in which a payment differs, and that are no contradiction."""
    if _has_another_card(alert, row):
        yield "card"
    if _has_another_currency(alert, row):
        yield "amount"


def _may_tell(rung: Rung, alert: Alert) -> bool:
    """Whether a rung counts: what could not be read of an alert might contradict all but the surest ids."""
    return not alert.unreadable or rung.rule in SUREST


def payment_behind(alert: Alert, rows: Iterable[Row]) -> int | None:
    """Return the id of the payment that a refund of the alert's leads to, where the rows lack it."""
    rows = list(rows)
    known = {row.get("id") for row in rows}
    led = [row.get("parent_id") for row in rows if row.get("type") == "refund" and is_kin(alert, row)]
    return next((ident for ident in led if isinstance(ident, int) and ident not in known), None)


def is_kin(alert: Alert, row: Row) -> bool:
    """Whether a transaction shares an id, a code or the card with an alert."""
    return any(rung.holds(alert, row) for rung in LADDER)


def contradictions(alert: Alert, payment: Payment) -> dict[str, str]:
    """Return what speaks against a payment, by the fact that it contradicts."""
    row = payment.row
    if row.get("status") != "succeeded":
        return {"status": FAILED}
    if row.get("is_test") is True:
        return {"test": "a test"}
    found = {
        "amount": _another_amount(alert, row),
        "card": _another_card(alert, row),
        "id": _another_id(alert, payment),
        "date": _another_date(alert, payment),
    }
    return {fact: said for fact, said in found.items() if said}


def _another_amount(alert: Alert, row: Row) -> str | None:
    """Compare the transaction's amount where the alert tells it; else a part of it may be disputed.

    Across currencies an amount says nothing.
    """
    amount, currency = _money(alert)
    theirs, told = _decimal(row.get("amount")), alert.transaction_amount is not None
    if _has_another_currency(alert, row):
        return f"its currency is {_of(row, 'currency').upper()}, not {currency}" if told else None
    if amount is None or theirs is None or amount == theirs or (amount < theirs and not told):
        return None
    return f"its amount is {theirs}, not {amount}"


def _has_another_currency(alert: Alert, row: Row) -> bool:
    ours, theirs = _money(alert)[1], _of(row, "currency").upper()
    return bool(ours and theirs and ours != theirs)


def _another_card(alert: Alert, row: Row) -> str | None:
    return "another card" if _has_another_card(alert, row) and not _is_virtual(alert, row) else None


def _has_another_card(alert: Alert, row: Row) -> bool:
    pairs = [(_told(alert, ours), _of(row, theirs)) for ours, theirs in CARD]
    return any(ours and theirs and ours != theirs for ours, theirs in pairs)


def _is_virtual(alert: Alert, row: Row) -> bool:
    """Whether another card number is no contradiction, for wallets pay with a virtual one.

    Where nobody says that it was a wallet, the network's id or the code and the amount have to.
    """
    method = _of(row, "payment_method")
    by_code = _RUNGS[Rule.AUTH_CODE].holds(alert, row) and _same_amount(alert, row)
    by_network = _RUNGS[Rule.NETWORK_TRANSACTION_ID].holds(alert, row)
    return method in WALLETS or by_network or (by_code and not method)


def _another_id(alert: Alert, payment: Payment) -> str | None:
    """Find an id of the alert's that the payment has another one of: ids of other kinds say nothing."""
    for name in IDS:
        ours = _told(alert, name)
        theirs = {_of(row, name) for row in (payment.row, *payment.kin)}
        if ours and ours not in theirs and any(_kind(one) == _kind(ours) for one in theirs):
            return f"another {name.replace('_', ' ')}"
    return None


def _kind(ident: str) -> tuple[str, int]:
    """Tell ids apart by their form: pi_... and ch_... are a payment's and a charge's."""
    return ident.rpartition("_")[0], len(ident)


def _another_date(alert: Alert, payment: Payment) -> str | None:
    """Compare the days from the authorization, which may be captured much later, to the debit."""
    lasted = [payment.row, *(one for one in payment.kin if one.get("type") == "authorize")]
    moments = [moment for row in lasted if (moment := _moment(row.get("date_created")))]
    since, until = window(alert)
    if moments and ((since and max(moments) < since) or (until and min(moments) > until)):
        return "another date"
    return None


def window(alert: Alert) -> tuple[datetime | None, datetime | None]:
    """Return the moments between which the alert's transaction lies."""
    told, happened = alert.transaction_at, alert.happened_at
    since = told - BEFORE if told else happened - OLDEST if happened else None
    ends = [told + AFTER] if told else []
    ends += [happened + LATEST] if happened else []
    return since, min(ends, default=None)


def _enough(rung: Rung, alert: Alert, row: Row) -> bool:
    """Whether a fact that several payments may have comes with the further evidence that it needs.

    Codes, cards and shared ids come again: dates must be known, and no part of the amount will do.
    """
    if _moment(row.get("date_created")) is None or window(alert) == (None, None):
        return False
    if rung.rule is Rule.AUTH_CODE:
        across = _of(row, "currency").upper() != _money(alert)[1]
        return _same_amount(alert, row) or (across and _RUNGS[Rule.CARD_AND_AMOUNT].holds(alert, row))
    return _same_amount(alert, row)


def _same_amount(alert: Alert, row: Row) -> bool:
    amount, currency = _money(alert)
    return (
        amount is not None
        and _decimal(row.get("amount")) == amount
        and _of(row, "currency").upper() == currency
    )


def _payments(rows: Iterable[Row]) -> list[Payment]:
    """Return the payments among transactions, each once: debits, and authorizations without one.

    What was voided is none. A refund leads to its parent, an authorization to the debits that it was
    captured by.
    """
    by_id = {row["id"]: row for row in rows if isinstance(row.get("id"), int)}
    children: dict[object, list[Row]] = {}
    for row in by_id.values():
        children.setdefault(row.get("parent_id"), []).append(row)
    found = []
    for ident, row in by_id.items():
        born = children.get(ident, [])
        refunds = [one for one in born if one.get("type") == "refund"]
        parent = by_id.get(typing.cast("int", row.get("parent_id")), {})
        if row.get("type") == "debit" and not any(_is_void(one) for one in born):
            authorized = [parent] if parent.get("type") == "authorize" else []
            found.append(Payment(row, (*refunds, *authorized)))
        elif row.get("type") == "authorize" and not any(_ends_authorization(one) for one in born):
            found.append(Payment(row))
    return found


def _ends_authorization(row: Row) -> bool:
    return _is_void(row) or (row.get("type") == "debit" and row.get("status") == "succeeded")


def _is_void(row: Row) -> bool:
    return row.get("type") == "void" and row.get("status") == "succeeded"


def _candidates(
    alert: Alert,
    payments: Iterable[Payment],
    reasons: Mapping[int, str | None],
    other: str = "too little evidence",
) -> tuple[Row, ...]:
    """Write what was considered, by which rung, and why it was not taken; the strongest evidence first."""
    shown = ("id", "order", "amount", "currency", "date_created")
    rules = [*(rung.rule for rung in LADDER), None]

    def place(one: Payment) -> int:
        return next((n for n, rung in enumerate(LADDER) if one.is_named_by(rung, alert)), len(LADDER))

    return tuple(
        {name: one.row.get(name) for name in shown}
        | {"by": rules[place(one)], "why": reasons[one.row["id"]] or other}
        for one in sorted(payments, key=place)[:MOST_CANDIDATES]
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
    """Return the transaction's amount as the alert has it, else the disputed one."""
    if alert.transaction_amount is not None:
        return alert.transaction_amount, alert.transaction_currency
    return alert.amount, alert.currency


def _told(alert: Alert, name: str) -> str:
    return spelling(name, getattr(alert, name))


def _of(row: Row, name: str) -> str:
    details = row.get("payment_details")
    value = row.get(name)
    if value is None and isinstance(details, dict):
        value = details.get(name)
    return spelling(name, value)


def spelling(name: str, value: object) -> str:
    """Write a fact so that it compares, "" where it says nothing.

    A code that was a number has lost its zeros in front; an order may be written with `#`.
    """
    text = "" if value is None else str(value).strip()
    if name == "order":
        return text.lstrip("#")
    if name != "auth_code":
        return text
    return text.upper().rjust(6, "0") if text.strip("0") else ""


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
