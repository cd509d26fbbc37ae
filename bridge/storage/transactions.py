"""The local index of each store's transactions: what matching needs of them, and nothing more.

It is fed by 29next's webhooks and by what is read from its lists, and knows of which stretches of time
it has every transaction: only inside one does "exactly one fits" mean what it says.
"""

from __future__ import annotations

import functools
import typing
from collections import ChainMap, Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from sqlalchemy import (
    Connection,
    Executable,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal,
    select,
    true,
    union_all,
    update,
)

from bridge.disputes import matching
from bridge.storage.schema import Memo, coverage, memos, transactions
from bridge.storage.upsert import insert_into, insert_missing, insert_or_update

if typing.TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.alert import Alert
    from bridge.storage.database import Database

Row = dict[str, typing.Any]

KEPT = tuple(
    column.name for column in transactions.columns if column.name not in ("store", "created_at", "reread_at")
)
FIXED = ("amount", "currency", "type", "auth_code", "external_id", "parent_id", "date_created")
"""What 29next never changes of a transaction: two tellings that differ here contradict each other."""
MOST_FOUND = 200
"""Transactions that share one fact; of more than that nobody can say that exactly one fits."""
MOST_RELATED = 2000
"""Transactions of the payments that were found, at most."""
UNDISPUTED = 7200.0
"""Seconds for which no sale is disputed yet: the index may be as far behind."""
KEEP_UP = 3600.0
"""Seconds after which what 29next has created since is read, whether its webhooks came or not."""
GENERATIONS = 3
"""From a refund to its debit, from there to the authorization, and to all that came of it."""


EVER = 1e12
DAY = 86_400.0
ZONES = 43_200.0
"""Seconds that a store's day may begin after UTC's: nobody says in which zone 29next filters by date."""
LATEST_ZONE = 50_400.0
"""Seconds that a store's day may begin before UTC's."""


_OF_STORE = select(transactions).where(transactions.c.store == bindparam("of")).limit(bindparam("most"))
_WITHIN = transactions.c.created_at.between(bindparam("since"), bindparam("until"))


_COVERS = (
    select(coverage.c.since)
    .where(coverage.c.store == bindparam("of"))
    .where(coverage.c.since <= bindparam("begin"), coverage.c.until >= bindparam("end"))
)
_IS_COVERED = select(_COVERS.exists().label("is_covered"))


@functools.cache
def _of_rungs(rungs: tuple[matching.Rung, ...]) -> Select[typing.Any]:
    """Ask for transactions with the facts of any of some rungs, each answered by its own index.

    Those of a card are asked for only within a time, for it has many. Each row says too whether the
    index has everything; where nothing fits, one without a transaction does.
    """
    asked = []
    for rung in rungs:
        found = _OF_STORE.where(*(transactions.c[name] == bindparam(name) for _, name in rung.facts))
        found = found.where(_WITHIN) if len(rung.facts) > 1 else found
        ids = found.with_only_columns(transactions.c.id).subquery()
        asked.append(select(literal(rung.rule).label("rule"), ids))
    named = union_all(*asked).subquery()  # ids only: psycopg reads longer statements anew each time
    whole = and_(transactions.c.store == bindparam("of"), transactions.c.id == named.c.id)
    covered = _IS_COVERED.subquery()
    fitting = covered.outerjoin(named.join(transactions, whole), true())
    return select(covered.c.is_covered, named.c.rule, transactions).select_from(fitting)


_BY_ID, _BY_PARENT = (
    _OF_STORE.where(transactions.c[name].in_(bindparam("idents", expanding=True)))
    for name in ("id", "parent_id")
)


class Transactions:
    """The transactions of each store, and how much of them there is."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # asking

    def look_up(self, store: str, alert: Alert, now: float) -> tuple[list[Row], bool]:
        """Return the transactions that an alert may be about, and whether these are certainly all.

        Those of which contradictory things were told are left out until they are read again.
        """
        known = _Known(store)
        told = {rung: facts for rung in matching.LADDER if (facts := _facts(rung, alert))}
        question = _of_rungs(tuple(told)) if told else _IS_COVERED
        with self.database.read() as connection:
            known.ask(connection, question, {**ChainMap(*told.values()), **_stretch(alert, now)})
            known.add_family(connection)
        certain = known.certain()
        return certain, known.is_covered and known.is_whole and len(certain) == len(known.found)

    def with_family(self, store: str, rows: list[Row]) -> list[Row]:
        """Return transactions that were read, and what is known of the same payments."""
        known = _Known(store, {row["id"]: row for row in rows if isinstance(row.get("id"), int)})
        with self.database.read() as connection:
            known.add_family(connection)
        return known.certain()

    # what it covers

    def cover(self, store: str, since: float, until: float) -> None:
        """Note that a stretch was read without a gap; it becomes one with those that it meets."""

        def write(connection: Connection) -> None:
            meeting = and_(coverage.c.store == store, coverage.c.since <= until, coverage.c.until >= since)
            rows = connection.execute(select(coverage).where(meeting).with_for_update()).all()
            low = min([since, *(row.since for row in rows)])
            high = max([until, *(row.until for row in rows)])
            connection.execute(delete(coverage).where(meeting))
            insert_or_update(connection, coverage, {"store": store, "since": low, "until": high})

        self.database.write(write)

    def drop(self, store: str, before: float, most: int) -> int:
        """Remove the oldest transactions of before a moment; returns how many, `most` at most.

        They go by their id, which 29next gives out in the order of time. What is no longer covered is
        asked of 29next again: whole days, in whatever zone, so that a backfill can go on beside them.
        """
        since = (before + LATEST_ZONE) // DAY * DAY + DAY + ZONES
        aged = and_(coverage.c.store == store, coverage.c.since < since)
        oldest = (
            select(transactions.c.id, transactions.c.created_at)
            .where(transactions.c.store == store)
            .order_by(transactions.c.id)
            .limit(most)
        )

        def write(connection: Connection) -> int:
            ids = [row.id for row in connection.execute(oldest) if row.created_at and row.created_at < before]
            if ids:
                connection.execute(delete(coverage).where(aged, coverage.c.until <= since))
                connection.execute(update(coverage).where(aged).values(since=since))
                gone = and_(transactions.c.store == store, transactions.c.id.in_(ids))
                connection.execute(delete(transactions).where(gone))
            return len(ids)

        return self.database.write(write)

    def covered(self, store: str) -> list[tuple[float, float]]:
        """Return the stretches (since, until) of which the index has every transaction, oldest first."""
        statement = select(coverage).where(coverage.c.store == store).order_by(coverage.c.since)
        with self.database.read() as connection:
            return [(row.since, row.until) for row in connection.execute(statement)]

    def behind(self, now: float) -> list[str]:
        """Return the stores that were read once and not lately."""
        latest = select(coverage.c.store).group_by(coverage.c.store)
        latest = latest.having(func.max(coverage.c.until) < now - KEEP_UP)
        with self.database.read() as connection:
            return list(connection.execute(latest).scalars())

    def take_turn(self, store: str, now: float) -> bool:
        """Take it on oneself to read what is new of a store; False where another worker does."""
        free = memos.c.at < now - KEEP_UP / 2

        def write(connection: Connection) -> bool:
            turn = insert_into(connection, memos).values(kind=Memo.INDEX, name=store, at=now)
            turn = turn.on_conflict_do_update(index_elements=["kind", "name"], set_={"at": now}, where=free)
            return connection.execute(turn.returning(memos.c.name)).first() is not None

        return self.database.write(write)

    # what is in doubt

    def doubted(self, now: float) -> dict[str, int]:
        """Return, by store, the id of a transaction that is to be read again."""
        marked = select(transactions.c.store, func.min(transactions.c.id).label("id"))
        marked = marked.where(transactions.c.reread_at <= now).group_by(transactions.c.store)
        with self.database.read() as connection:
            return {row.store: int(row.id) for row in connection.execute(marked)}

    def put_off(self, store: str, ident: int, now: float, until: float) -> bool:
        """Take a transaction that is due to be read again until a later time; False where it is not due."""
        due = update(transactions).where(
            transactions.c.store == store, transactions.c.id == ident, transactions.c.reread_at <= now
        )
        postponed = due.values(reread_at=until)
        return self.database.write(lambda connection: bool(connection.execute(postponed).rowcount))

    def forget(self, store: str, ident: int) -> None:
        """Remove a transaction that 29next does not know any more."""
        gone = delete(transactions).where(transactions.c.store == store, transactions.c.id == ident)
        self.database.write(lambda connection: connection.execute(gone))


def put(connection: Connection, store: str, told: Iterable[Row], now: float, *, certain: bool) -> list[Row]:
    """Take in transactions as 29next tells them; returns those that are new, or new in something.

    Webhooks carry no time of change and may overtake each other, and lists may lag. A telling that
    contradicts the earlier one is not believed, and the transaction is marked to be read again;
    what was read for that (`certain`) is believed.
    """
    by_id = {row["id"]: row for row in told if isinstance(row.get("id"), int)}
    of_these = and_(transactions.c.store == store, transactions.c.id.in_(list(by_id)))
    known = {row.id: row for row in connection.execute(select(transactions).where(of_these))}
    news = [row for ident, row in by_id.items() if ident not in known and not row.get("is_test")]
    insert_missing(connection, transactions, [row_of(store, row) for row in news])
    for ident, before in known.items():
        row = row_of(store, by_id[ident])
        one = and_(transactions.c.store == store, transactions.c.id == ident)
        if by_id[ident].get("is_test"):
            connection.execute(delete(transactions).where(one))
        elif not certain and _contradicts(before._asdict(), row):
            doubted = func.coalesce(transactions.c.reread_at, now)
            connection.execute(update(transactions).where(one).values(reread_at=doubted))
        # a list's row lacks what a single one has: nothing known is forgotten
        elif changed := {k: v for k, v in row.items() if v is not None and v != getattr(before, k)}:
            connection.execute(update(transactions).where(one).values(**changed))
            news.append(by_id[ident])
    if certain:
        connection.execute(update(transactions).where(of_these).values(reread_at=None))
    return news


def row_of(store: str, told: Row) -> Row:
    """Return a transaction's row of the index, out of 29next's nested one."""
    ident: int = told["id"]
    details = told.get("payment_details")
    details = details if isinstance(details, dict) else {}
    gateway = details.get("gateway")
    flat = {name: told.get(name, details.get(name)) for name in KEPT}
    flat["gateway"] = gateway.get("name") if isinstance(gateway, dict) else None
    texts = [name for name in KEPT if name not in ("id", "parent_id", "is_disputed", "is_3ds")]
    spelled = {name: matching.spelling(name, flat[name]) or None for name in texts}
    parent, flags = flat["parent_id"], ("is_disputed", "is_3ds")
    return {
        **spelled,
        **{name: flat[name] if isinstance(flat[name], bool) else None for name in flags},
        "id": ident,
        "parent_id": parent if isinstance(parent, int) else None,
        "store": store,
        "created_at": _seconds(spelled["date_created"]),
        "reread_at": None,
    }


@dataclass
class _Known:
    """What was found for one alert."""

    store: str
    found: dict[int, Row] = field(default_factory=dict)
    is_whole: bool = True  # nothing was cut off
    is_covered: bool = False  # the index has everything of the time that was asked about
    opened: set[int] = field(default_factory=set)

    def ask(self, connection: Connection, question: Executable, facts: Row, most: int = MOST_FOUND) -> None:
        """Add what fits; what is cut off, of any of the rules that are asked by, may be the one."""
        rows = [
            dict(row)
            for row in connection.execute(question, {"of": self.store, "most": most, **facts}).mappings()
        ]
        sure = [row.pop("is_covered", False) for row in rows]
        self.is_covered = self.is_covered or any(sure)
        by_rule = Counter(row.pop("rule", None) for row in rows)
        self.is_whole = self.is_whole and all(count < most for count in by_rule.values())
        for row in rows:
            if row.get("id") is not None:
                self.found.setdefault(row["id"], row)

    def add_family(self, connection: Connection) -> None:
        """Add the payments that refunds belong to, their authorizations, and what came of both."""
        for _ in range(GENERATIONS):
            for question, idents in ((_BY_ID, self.parents()), (_BY_PARENT, self.to_open())):
                if idents:
                    self.ask(connection, question, {"idents": sorted(idents)}, MOST_RELATED)

    def parents(self) -> set[int]:
        """Return the transactions that those found belong to, and that are not among them."""
        return {one for row in self.found.values() if (one := row.get("parent_id"))} - self.found.keys()

    def to_open(self) -> set[int]:
        """Return the payments found whose further transactions nobody has asked for yet."""
        payments = {one for one, row in self.found.items() if row.get("type") in ("authorize", "debit")}
        fresh, self.opened = payments - self.opened, self.opened | payments
        return fresh

    def certain(self) -> list[Row]:
        return [row for row in self.found.values() if row.get("reread_at") is None]


def _facts(rung: matching.Rung, alert: Alert) -> Row:
    """Return the facts of an alert that a rung needs, as 29next spells them; none where one is missing."""
    facts: Row = {theirs: matching.spelling(theirs, getattr(alert, ours)) for ours, theirs in rung.facts}
    if not all(facts.values()):
        return {}
    if len(facts) > 1:
        since, until = matching.window(alert)
        facts |= {"since": since.timestamp() if since else 0.0, "until": until.timestamp() if until else EVER}
    return facts


def _stretch(alert: Alert, now: float) -> Row:
    """Return the stretch of time of which the index must have everything; none has what is not dated."""
    since, until = matching.window(alert)
    end = min(until.timestamp() if until else now, now) - UNDISPUTED if since else EVER
    return {"begin": min(since.timestamp(), end) if since else 0.0, "end": end}


def _contradicts(known: Row, told: Row) -> bool:
    """Whether a telling cannot simply be a later one: it changes what is fixed, or goes backwards."""
    changed = any(
        None not in (known[name], told[name]) and _value(name, known) != _value(name, told) for name in FIXED
    )
    undisputed = known["is_disputed"] is True and told["is_disputed"] is False
    undecided = bool(known["status"]) and told["status"] != known["status"]
    return changed or undisputed or undecided


def _value(name: str, row: Row) -> object:
    if name == "date_created":
        return row["created_at"]
    if name != "amount":
        return row[name]
    try:
        return Decimal(row[name])
    except InvalidOperation:
        return row[name]


def _seconds(text: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
