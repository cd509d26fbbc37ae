"""Made-up sales, and alerts whose truth is known: is the right transaction found, and at what cost?

    python -m tests.support.made_up_sales    # 200,000 transactions, 5,000 alerts, 2 million to look up in

Among them is what makes matching hard: the same amounts again and again, customers that come back on
the same day, monthly and weekly rebills that share a network id, captures in parts and days later,
refunds, voids, attempts that failed, wallets whose card numbers are virtual, and authorization codes
that are used again. Alerts tell of a sale what their provider tells; some disputes are about a part of
it or in the card's currency, some dates are those of clearing, and some sales are another shop's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import text

from bridge import providers
from bridge.alert import Alert, Webhook
from bridge.storage import migrate
from bridge.storage.database import Database
from tests.support import inside
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.clock import NOON, Clock
from tests.support.next29 import STORE, StandIn
from tests.support.postgres import new_server
from tests.support.webhooks import Sent

Json = dict[str, Any]

DAYS = 300
"""How long there have been sales."""
PRICES = ("9.99", "19.99", "24.99", "29.99", "29.99", "39.00", "49.99", "59.99", "79.00", "89.99", "149.00")
CURRENCIES = ("USD",) * 9 + ("EUR",)
SHARE = 0.97
"""The part of the decidable alerts that must be matched."""
LOOK_UP_LIMIT = 0.005
"""Seconds that a look-up may take."""


@dataclass(slots=True)
class Sale:
    """A transaction, with what only the customer and the bank know of it."""

    id: int
    type: str
    at: datetime
    amount: Decimal
    currency: str
    card: tuple[str, str]  # as 29next shows it: of a wallet, a virtual one
    real: tuple[str, str]  # as the bank knows it
    order: str
    auth_code: str | None = None
    network_id: str | None = None
    external_id: str | None = None
    parent: Sale | None = None
    status: str = "succeeded"
    wallet: bool = False

    def row(self) -> Json:
        """The transaction as 29next lists it."""
        first_six, last_four = self.card
        return {
            "id": self.id,
            "type": self.type,
            "status": self.status,
            "amount": f"{self.amount:.2f}",
            "currency": self.currency,
            "date_created": self.at.isoformat(),
            "order": self.order,
            "auth_code": self.auth_code,
            "network_transaction_id": self.network_id,
            "external_id": self.external_id,
            "parent_id": self.parent.id if self.parent else None,
            "is_disputed": False,
            "payment_method": "apple_pay" if self.wallet else "bankcard",
            "payment_details": {
                "bankcard_first_six": first_six,
                "bankcard_last_four": last_four,
                "gateway": {"id": 1, "name": "A Gateway", "type": "test"},
                "is_3ds": False,
            },
        }

    def facts(self) -> Json:
        """The transaction as 29next takes it."""
        row = self.row()
        details = row.pop("payment_details")
        row.pop("is_disputed")
        return row | {name: details[name] for name in ("bankcard_first_six", "bankcard_last_four", "is_3ds")}

    def known(self, name: str) -> set[object]:
        """What is known of one fact, of the transaction itself or of its authorization."""
        authorized = self.parent if self.parent and self.parent.type == "authorize" else None
        return {getattr(one, name) for one in (self, authorized) if one} - {None}

    @property
    def since(self) -> datetime:
        """When it was authorized."""
        return self.parent.at if self.parent else self.at


@dataclass(frozen=True)
class Told:
    """An alert, and what it is really about."""

    sent: Sent
    facts: Json  # what it tells, in the bank's words
    truth: Sale | None


class MadeUpSales:
    """Sales, made up with a seed."""

    def __init__(self, size: int, seed: int = 1, *, keep: int | None = None) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.size = size
        self.keep = keep  # payments to remember; None: all
        self.ids = itertools.count(1)
        self.orders = itertools.count(100_001)
        self.cases = itertools.count(1)
        self.payments: list[Sale] = []
        self.codes: list[str] = []

    # selling

    def sales(self) -> Iterator[Sale]:
        """Make all transactions, remembering those that an alert can be about."""
        made = 0
        while made < self.size:
            for sale in self._customer():
                made += 1
                yield sale

    def _customer(self) -> Iterator[Sale]:
        """Make all that one customer has ever bought."""
        real = self.chance.choice(BINS), self._digits(4)
        wallet = self.chance.random() < 0.15
        card = (real[0][0] + self._digits(5), self._digits(4)) if wallet else real
        one = replace(_BLANK, card=card, real=real, wallet=wallet, currency=self.chance.choice(CURRENCIES))
        at = NOON - timedelta(days=self.chance.uniform(0, DAYS))
        habits = ("once", "captured", "in parts", "upsell", "monthly", "weekly", "twice", "again")
        habit = self.chance.choices(habits, weights=(40, 14, 4, 8, 14, 4, 4, 12))[0]
        yield from self._HABITS[habit](self, one, at)

    def _buy(self, one: Sale, at: datetime, **changes: Any) -> Iterator[Sale]:
        """Make a payment, after an attempt that failed now and then, and refund some."""
        amount = changes.pop("amount", None) or Decimal(self.chance.choice(PRICES))
        order = changes.pop("order", None) or str(next(self.orders))
        facts = {"amount": amount, "order": order, "network_id": "30" + self._digits(13), **changes}
        if self.chance.random() < 0.06:
            earlier = at - timedelta(minutes=3)
            yield self._made(one, at=earlier, **{**facts, "auth_code": None, "status": "failed"})
        sale = self._made(one, at=at, **facts)
        if not sale.auth_code and sale.type != "debit":
            sale.auth_code = self._code()
        yield sale
        if sale.type == "debit":
            self._remember(sale)
            yield from self._refund(sale)

    def _refund(self, sale: Sale) -> Iterator[Sale]:
        if self.chance.random() < 0.12:
            amount = (
                sale.amount if self.chance.random() < 0.7 else (sale.amount / 2).quantize(Decimal("0.01"))
            )
            at = min(sale.at + timedelta(days=self.chance.uniform(0, 20)), NOON)
            yield self._made(sale, at=at, type="refund", amount=amount, parent=sale, auth_code=None)

    def _once(self, one: Sale, at: datetime) -> Iterator[Sale]:
        yield from self._buy(one, at, auth_code=self._code())

    def _captured(self, one: Sale, at: datetime) -> Iterator[Sale]:
        """Authorize, and capture days later, or void, or never."""
        *failed, authorized = self._buy(one, at, type="authorize", auth_code=self._code())
        yield from failed
        yield authorized
        later = min(at + timedelta(days=self.chance.uniform(0, 6)), NOON)
        fate = self.chance.random()
        if fate < 0.06:
            yield self._made(authorized, at=later, type="void", parent=authorized)
        elif fate < 0.12:
            self._remember(authorized)
        else:
            yield from self._capture(authorized, later, authorized.amount)

    def _in_parts(self, one: Sale, at: datetime) -> Iterator[Sale]:
        *failed, authorized = self._buy(one, at, type="authorize", auth_code=self._code())
        yield from failed
        yield authorized
        part = (authorized.amount * Decimal("0.4")).quantize(Decimal("0.01"))
        for amount in (part, authorized.amount - part):
            later = min(at + timedelta(days=self.chance.uniform(0, 3)), NOON)
            yield from self._capture(authorized, later, amount)

    def _capture(self, authorized: Sale, at: datetime, amount: Decimal) -> Iterator[Sale]:
        """Capture: half of the gateways tell the code and the ids again, the others do not."""
        silent = {"auth_code": None, "network_id": None} if self.chance.random() < 0.5 else {}
        sale = self._made(authorized, at=at, type="debit", amount=amount, parent=authorized, **silent)
        yield sale
        self._remember(sale)
        yield from self._refund(sale)

    def _upsell(self, one: Sale, at: datetime) -> Iterator[Sale]:
        order = str(next(self.orders))
        for minutes in range(self.chance.randint(2, 3)):
            yield from self._buy(one, at + timedelta(minutes=minutes), order=order, auth_code=self._code())

    def _rebilled(self, one: Sale, at: datetime, every: int) -> Iterator[Sale]:
        """Bill again and again; half of the banks give every rebill the first one's network id."""
        amount = Decimal(self.chance.choice(PRICES))
        network_id = "30" + self._digits(13)
        shared = {"network_id": network_id} if self.chance.random() < 0.5 else {}
        for number in range(self.chance.randint(2, 8)):
            due = at + timedelta(days=every * number, minutes=self.chance.uniform(0, 90))
            if due <= NOON:
                trial = Decimal("1.00") if number == 0 and self.chance.random() < 0.4 else amount
                yield from self._buy(one, due, amount=trial, auth_code=self._code(), **shared)

    def _monthly(self, one: Sale, at: datetime) -> Iterator[Sale]:
        yield from self._rebilled(one, at, 30)

    def _weekly(self, one: Sale, at: datetime) -> Iterator[Sale]:
        yield from self._rebilled(one, at, 7)

    def _twice(self, one: Sale, at: datetime) -> Iterator[Sale]:
        """Pay the same amount twice within hours: what "charged twice" disputes are about."""
        amount = Decimal(self.chance.choice(PRICES))
        for hours in range(2):
            later = min(at + timedelta(hours=hours), NOON)
            yield from self._buy(one, later, amount=amount, auth_code=self._code())

    def _again(self, one: Sale, at: datetime) -> Iterator[Sale]:
        """Come back some days later, and buy whatever it costs."""
        for _ in range(self.chance.randint(2, 4)):
            yield from self._buy(one, min(at, NOON), auth_code=self._code())
            at += timedelta(days=self.chance.uniform(2, 60))

    _HABITS: ClassVar[dict[str, Callable[[MadeUpSales, Sale, datetime], Iterator[Sale]]]] = {
        "once": _once,
        "captured": _captured,
        "in parts": _in_parts,
        "upsell": _upsell,
        "monthly": _monthly,
        "weekly": _weekly,
        "twice": _twice,
        "again": _again,
    }

    def _made(self, like: Sale, **changes: Any) -> Sale:
        ident = next(self.ids)
        return replace(like, **{"id": ident, "external_id": f"pi_{ident:016}", **changes})

    def _remember(self, sale: Sale) -> None:
        if self.keep is None or len(self.payments) < self.keep:
            self.payments.append(sale)

    def _code(self) -> str:
        """Make an authorization code; every twentieth was used before."""
        if self.codes and self.chance.random() < 0.05:
            return self.chance.choice(self.codes)
        code = self._digits(6)
        if len(self.codes) < 20_000:
            self.codes.append(code)
        return code

    def _digits(self, count: int) -> str:
        return "".join(self.chance.choices("0123456789", k=count))

    # disputing

    def alerts(self, count: int) -> list[Told]:
        """Make alerts of sales of the last four months, and some of another shop's."""
        recent = [sale for sale in self.payments if sale.at > NOON - timedelta(days=120)]
        return [
            self._foreign(recent) if self.chance.random() < 0.04 else self._alert(self.chance.choice(recent))
            for _ in range(count)
        ]

    def _foreign(self, recent: list[Sale]) -> Told:
        """Tell of a sale of another shop, half of them to a customer of this one."""
        like = self.chance.choice(recent)
        card = like.real if self.chance.random() < 0.5 else (self.chance.choice(BINS), self._digits(4))
        other = replace(
            like,
            id=0,
            real=card,
            amount=Decimal(self.chance.choice(PRICES)),
            auth_code=self._digits(6),
            network_id="31" + self._digits(13),
            external_id=f"pi_9{self._digits(15)}",
            order=self._digits(6),
            parent=None,
        )
        # of the same card, amount and days nobody could tell without a code
        return replace(self._alert(other, surely=("auth_code",)), truth=None)

    def _alert(self, sale: Sale, surely: tuple[str, ...] = ()) -> Told:
        """Tell of a sale what one of the providers tells."""
        makers = (self._ethoca, self._verifi, self._prevention, self._rdr, self._chargeback)
        coded = tuple(one for one in makers if one != self._prevention)
        maker = self.chance.choice(coded if surely else makers)
        happened = min(sale.at + timedelta(days=self.chance.uniform(0.1, 45)), NOON)
        told: Json = {"amount": sale.amount, "currency": sale.currency, "at": sale.since, "card": sale.real}
        if self.chance.random() < 0.2:  # the day of clearing
            told["at"] += timedelta(days=self.chance.uniform(0.5, 3))
        codes = {"auth_code": 0.85, "network_id": 0.45, "external_id": 0.6, "order": 0.3}
        for name, share in codes.items():
            known = sale.known(name)
            if known and (name in surely or self.chance.random() < share):
                told[name] = next(iter(sorted(map(str, known))))
        fate = self.chance.random()
        if fate < 0.05:
            told["disputed"] = ((sale.amount / 2).quantize(Decimal("0.01")), sale.currency)
        elif fate < 0.08:
            told["disputed"] = ((sale.amount * 150).quantize(Decimal(1)), "JPY")
        case = f"G-{next(self.cases):06}"
        body, facts, kind, provider = maker(case, told, happened)
        event_id = body.get("event_guid") or body.get("ethoca_id") or f"{body['eventId']}:DISPUTE"
        sent = Sent(provider, str(event_id), json.dumps(body).encode(), None, (case, kind))
        return Told(sent, facts, sale)

    def _ethoca(self, case: str, told: Json, happened: datetime) -> tuple[Json, Json, str, str]:
        facts = _some(told, "amount", "currency", "at", "card", "auth_code", "network_id", "disputed")
        disputed = facts.get("disputed", (None, None))
        body = {
            "ethoca_id": case,
            "type": "issuer_alert",
            "alert_timestamp": happened.isoformat(),
            "transaction_timestamp": facts["at"].isoformat(),
            "card_bin": facts["card"][0],
            "card_last4": facts["card"][1],
            "amount": float(facts["amount"]),
            "currency": facts["currency"],
            "chargeback_amount": _number(disputed[0]),
            "chargeback_currency": disputed[1],
            "auth_code": facts.get("auth_code"),
            "transaction_id": facts.get("network_id"),
        }
        return body, facts, "alert", "ethoca"

    def _verifi(self, case: str, told: Json, happened: datetime) -> tuple[Json, Json, str, str]:
        facts = _some(told, "at", "card", "auth_code", "network_id", "disputed")
        disputed = facts.setdefault("disputed", (told["amount"], told["currency"]))
        if self.chance.random() < 0.5:
            facts |= _some(told, "amount", "currency")
        body = {
            "eventId": case,
            "eventType": "DISPUTE",
            "caseNumber": case,
            "caseDate": happened.isoformat(),
            "caseAmount": {"amount": _number(disputed[0]), "currency": disputed[1]},
            "transactionDate": facts["at"].isoformat(),
            "cardBin": facts["card"][0],
            "cardLast4": facts["card"][1],
            "authCode": facts.get("auth_code"),
            "transactionId": facts.get("network_id"),
        }
        if "amount" in facts:
            own = {"amount": _number(facts["amount"]), "currency": facts["currency"]}
            body["transactionAmount"] = own
        return body, facts, "alert", "verifi"

    def _midigator(self, case: str, told: Json, names: tuple[str, ...], event: str) -> tuple[Json, Json]:
        facts = _some(told, "card", "disputed", *names)
        disputed = facts.setdefault("disputed", (told["amount"], told["currency"]))
        body = {
            "event_type": event,
            "event_guid": case,
            "amount": _number(disputed[0]),
            "currency": disputed[1],
            "card_first_6": facts["card"][0],
            "card_last_4": facts["card"][1],
            "order_id": facts.get("order"),
        }
        return body, facts

    def _prevention(self, case: str, told: Json, happened: datetime) -> tuple[Json, Json, str, str]:
        body, facts = self._midigator(case, told, ("at", "order"), "prevention.new")
        body |= {
            "prevention_case_number": case,
            "prevention_type": "ethoca",
            "prevention_timestamp": happened.isoformat(),
            "transaction_timestamp": facts["at"].isoformat(),
        }
        return body, facts, "alert", "midigator"

    def _rdr(self, case: str, told: Json, happened: datetime) -> tuple[Json, Json, str, str]:
        body, facts = self._midigator(case, told, ("at", "auth_code"), "rdr.new")
        code = facts.get("auth_code")
        lost = self.chance.random() < 0.2  # a JSON number, which has no zeros in front
        facts["at"] = facts["at"].replace(hour=0, minute=0, second=0, microsecond=0)
        body |= {
            "rdr_case_number": case,
            "rdr_date": happened.date().isoformat(),
            "rdr_resolution": "Declined",
            "transaction_date": facts["at"].date().isoformat(),
            "auth_code": int(code) if code and lost else code,
        }
        return body, facts, "alert", "midigator"

    def _chargeback(self, case: str, told: Json, happened: datetime) -> tuple[Json, Json, str, str]:
        names = ("at", "auth_code", "external_id", "order")
        body, facts = self._midigator(case, told, names, "chargeback.new")
        body |= {
            "case_number": case,
            "chargeback_date": happened.date().isoformat(),
            "processor_transaction_id": facts.get("external_id"),
            "processor_transaction_date": facts["at"].date().isoformat(),
            "auth_code": facts.get("auth_code"),
        }
        facts["at"] = facts["at"].replace(hour=0, minute=0, second=0, microsecond=0)
        return body, facts, "chargeback", "midigator"


BINS = [
    f"{brand}{number:05}" for brand, number in zip("4544554445" * 6, range(11111, 99999, 1481), strict=False)
]
_BLANK = Sale(0, "debit", NOON, Decimal(0), "USD", ("", ""), ("", ""), "")


def _some(told: Json, *names: str) -> Json:
    return {name: told[name] for name in names if name in told}


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


# --- who could have known ------------------------------------------------------------------------


class Oracle:
    """Says, with all sales before it, which alerts can be decided: one sale fits, and is proven."""

    def __init__(self, payments: list[Sale]) -> None:
        self.by: dict[str, defaultdict[object, list[Sale]]] = {
            name: defaultdict(list) for name in ("auth_code", "network_id", "external_id", "order", "card")
        }
        for sale in payments:
            for name, known in self.by.items():
                for value in sale.known(name):
                    known[value].append(sale)

    def decides(self, told: Told) -> bool:
        """Whether exactly one sale has all that the alert tells, and enough of it."""
        near = {
            sale.id: sale
            for name, known in self.by.items()
            if name in told.facts
            for sale in known[told.facts[name]]
        }
        fitting = [sale for sale in near.values() if self._fits(told.facts, sale)]
        return len(fitting) == 1 and self._proven(told.facts, fitting[0])

    def _fits(self, facts: Json, sale: Sale) -> bool:
        for name in ("auth_code", "network_id", "external_id", "order"):
            known = sale.known(name)
            if name in facts and known and facts[name] not in known:
                return False
        if not (sale.wallet or facts["card"] == sale.card):
            return False
        if not sale.since - timedelta(days=4) <= facts["at"] <= sale.at + timedelta(days=4):
            return False
        if "amount" in facts:
            return bool((facts["amount"], facts["currency"]) == (sale.amount, sale.currency))
        amount, currency = facts["disputed"]
        return bool(currency != sale.currency or amount <= sale.amount)

    def _proven(self, facts: Json, sale: Sale) -> bool:
        """Whether an id is told, or a code with the amount or the card, or the card with the amount."""
        if any(facts.get(name) in sale.known(name) for name in ("external_id", "network_id", "order")):
            return True
        amount, currency = facts.get("disputed", (None, None))
        told = (facts.get("amount", amount), facts.get("currency", currency))
        exact = told == (sale.amount, sale.currency)
        across = told[1] != sale.currency
        same_card = facts["card"] == sale.card
        if facts.get("auth_code") in sale.known("auth_code"):
            return bool(exact or (across and same_card))
        return bool(exact and same_card)


# --- the figures ----------------------------------------------------------------------------------


@dataclass
class Figures:
    """How well it went."""

    alerts: int = 0
    decidable: int = 0
    right: int = 0  # of those that are decidable
    lucky: int = 0  # right all the same
    wrong: list[tuple[Told, int]] = field(default_factory=list)
    missed: list[tuple[Told, Any]] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The part of the decidable alerts that was matched."""
        return self.right / max(self.decidable, 1)

    def look_up(self, percent: int) -> float:
        """The seconds within which so many of a hundred look-ups ended."""
        return statistics.quantiles(self.seconds, n=100)[percent - 1]


def read(told: Told) -> Alert:
    """The alert as the provider's own table translates it."""
    provider = _PROVIDERS[told.sent.provider]
    (item,) = provider.read(Webhook(provider.name, told.sent.path, told.sent.body))
    alert = provider.translate(item).alert
    assert alert
    return alert


_PROVIDERS = providers.built_in()


def fill(database: Database, made_up: MadeUpSales) -> None:
    """Put all sales into the index, which then covers all its days."""
    sales = made_up.sales()
    while chunk := [sale.row() for sale in itertools.islice(sales, 5_000)]:
        inside.fill_index(database, STORE, chunk)
    since = (NOON - timedelta(days=DAYS + 200)).timestamp()
    inside.cover(database, STORE, since, NOON.timestamp())
    with database.engine.connect() as connection:  # as autovacuum does in time
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def match_all(database: Database, made_up: MadeUpSales, count: int) -> Figures:
    """Match alerts from the index alone, as the worker does before it asks 29next."""
    oracle, figures = Oracle(made_up.payments), Figures()
    matcher = inside.Matcher(database, STORE, NOON.timestamp())
    for told in made_up.alerts(count):
        case = matcher.case(read(told), told.sent.provider)
        began = time.perf_counter()
        rows, complete = matcher.look_up(case)
        figures.seconds.append(time.perf_counter() - began)
        assert complete
        matcher.match(case, rows, complete=complete)
        decidable = told.truth is not None and oracle.decides(told)
        figures.alerts += 1
        figures.decidable += decidable
        figures.rules[(case.match and case.match.rule) or "none"] += 1
        if case.matched_id is not None and (told.truth is None or case.matched_id != told.truth.id):
            figures.wrong.append((told, case.matched_id))
        elif case.matched_id is not None:
            figures.right += decidable
            figures.lucky += not decidable
        elif decidable:
            figures.missed.append((told, case.match))
    return figures


def forward_all(url: str, made_up: MadeUpSales, count: int) -> tuple[Counter[str], int, int]:
    """Send decidable alerts through the whole bridge.

    Returns the calls that 29next got, how many alerts were matched, and how many there were.
    """
    next29 = StandIn(rate=0, transactions=[], clock=Clock())
    with bridge_in_process(url, next29=next29, clock=Clock()) as bridge:
        fill(bridge.database, made_up)
        for sale in made_up.payments:
            next29.add_transaction(STORE, **sale.facts())
        oracle = Oracle(made_up.payments)
        alerts = [told for told in made_up.alerts(count) if told.truth and oracle.decides(told)]
        once = {told.truth.id: told for told in alerts if told.truth}  # one alert a sale
        matched = sum(_forward(bridge, told) for told in once.values())
        return Counter(bridge.calls()), matched, len(once)


def _forward(bridge: InProcessBridge, told: Told) -> bool:
    bridge.post(told.sent)
    bridge.work()
    return bool(told.truth and bridge.case(told.sent)["transaction_id"] == told.truth.id)


# --- the command ------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def fresh(kind: str) -> Iterator[str]:
    """A migrated database, SQLite or Postgres, that goes away afterwards."""
    with ExitStack() as stack:
        if kind == "sqlite":
            url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/bridge.db"
        else:
            server = stack.enter_context(new_server())
            url = str(server.get_uri(driver="psycopg"))
        with closing(Database(url)) as database:
            migrate.upgrade(database)
        yield url


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; the exit status is 1 where one of them is not as it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.made_up_sales", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--transactions", type=int, default=200_000)
    parser.add_argument("--alerts", type=int, default=5_000)
    parser.add_argument("--forwarded", type=int, default=500, help="alerts through the whole bridge")
    parser.add_argument("--looked-up", type=int, default=2_000_000, help="transactions to look up in")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    good = _print_matching(options)
    good = _print_calls(options) and good
    for kind in ("sqlite", "postgres"):
        good = _print_look_ups(kind, options) and good
    return 0 if good else 1


def _print_matching(options: argparse.Namespace) -> bool:
    with fresh("sqlite") as url, closing(Database(url)) as database:
        made_up = MadeUpSales(options.transactions, options.seed)
        fill(database, made_up)
        figures = match_all(database, made_up, options.alerts)
    say(f"{options.transactions} transactions, {len(made_up.payments)} of them payments; seed {options.seed}")
    say(f"{figures.alerts} alerts, {figures.decidable} of them decidable")
    say(f"  matched     {figures.right} of {figures.decidable} ({figures.share:.2%}), {figures.lucky} others")
    say(f"  wrong       {len(figures.wrong)}")
    say(f"  by          {', '.join(f'{rule} {n}' for rule, n in figures.rules.most_common())}")
    for told, chosen in figures.wrong:
        say(f"  WRONG: {told.sent.body!r} is {told.truth and told.truth.id}, not {chosen}")
    for told, found in figures.missed[:5]:
        why = Counter(one["why"] for one in (found.candidates if found else ())).most_common(3)
        say(f"  missed: {told.facts}: {why}")
    return not figures.wrong and figures.share >= SHARE


def _print_calls(options: argparse.Namespace) -> bool:
    with fresh("sqlite") as url:
        calls, matched, alerts = forward_all(url, MadeUpSales(20_000, options.seed), options.forwarded)
    each = sum(calls.values()) / alerts
    say(f"{alerts} decidable alerts through the whole bridge, {matched} of them matched")
    say(f"  calls       {dict(calls)}: {each:.2f} for each alert")
    return each < 1 + 3 * (1 - SHARE)


def _print_look_ups(kind: str, options: argparse.Namespace) -> bool:
    with fresh(kind) as url, closing(Database(url)) as database:
        made_up = MadeUpSales(options.looked_up, options.seed, keep=50_000)
        fill(database, made_up)
        match_all(database, made_up, 200)  # what a running bridge has in its memory
        figures = match_all(database, made_up, 2_000)
    spread = ", ".join(f"p{percent} {figures.look_up(percent) * 1e3:.2f} ms" for percent in (50, 95, 99))
    say(f"look-ups in {options.looked_up} transactions on {kind}: {spread}")
    return figures.look_up(95) < LOOK_UP_LIMIT


if __name__ == "__main__":
    sys.exit(main())
