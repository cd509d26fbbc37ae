"""The local index of each store's transactions: what matching needs of them, and nothing more.

29next's webhooks and lists fill it. It records for which stretches of time it has every transaction:
only inside one can it say that exactly one fits.
"""

from __future__ import annotations

import functools
import typing
from collections import ChainMap, Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, Select, and_, bindparam, func, literal, select, true, union_all, update

from bridge.alert import Alert
from bridge.disputes import matching
from bridge.disputes.case import Json
from bridge.disputes.payloads import read_amount, read_moment
from bridge.storage.database import Database
from bridge.storage.schema import StateKind, coverage, shared_state, transactions
from bridge.storage.upsert import claim_state, insert_missing, insert_or_update

KEPT = tuple(
    column.name for column in transactions.columns if column.name not in ("store", "created_at", "reread_at")
)
FIXED = ("amount", "currency", "type", "auth_code", "external_id", "parent_id", "date_created")
"""What 29next never changes of a transaction: two versions that differ here contradict each other."""
MOST_FOUND = 200
"""How many transactions that share one fact are read; among more, nobody can say that exactly one fits."""
MOST_RELATED = 2000
"""How many transactions related to the ones found are read."""
UNDISPUTED = 7200.0
"""Seconds before a sale is disputed at the earliest: the index may be this far behind."""
KEEP_UP = 3600.0
"""Seconds after which new transactions are read from 29next, whether its webhooks arrived or not."""
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
    """Returns the query for transactions with the facts of any of some rungs, each by its own index.

    Those of a card are limited to a time, since a card has many. Each row says too whether the index is
    complete; if no transaction fits, one row without a transaction says so.
    """
    queries = []
    for rung in rungs:
        query = _OF_STORE.where(*(transactions.c[name] == bindparam(name) for _, name in rung.facts))
        query = query.where(_WITHIN) if len(rung.facts) > 1 else query
        ids = query.with_only_columns(transactions.c.id).subquery()
        queries.append(select(literal(rung.rule).label("rule"), ids))
    named = union_all(*queries).subquery()  # ids only: psycopg parses longer statements again each time
    whole = and_(transactions.c.store == bindparam("of"), transactions.c.id == named.c.id)
    covered = _IS_COVERED.subquery()
    fitting = covered.outerjoin(named.join(transactions, whole), true())
    return select(covered.c.is_covered, named.c.rule, transactions).select_from(fitting)


_BY_ID, _BY_PARENT = (
    _OF_STORE.where(transactions.c[name].in_(bindparam("idents", expanding=True)))
    for name in ("id", "parent_id")
)


class Transactions:
    """The transactions of each store, and for which times they are complete."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # queries

    def look_up(self, store: str, alert: Alert, now: float) -> tuple[list[Json], bool]:
        """Returns the transactions that an alert may be about, and whether these are certainly all.

        Those with contradictory versions are left out until they are read again.
        """
        found = _Found(store)
        facts_by_rung = {rung: facts for rung in matching.LADDER if (facts := _facts(rung, alert))}
        query = _of_rungs(tuple(facts_by_rung)) if facts_by_rung else _IS_COVERED
        with self.database.read() as connection:
            found.add(connection, query, {**ChainMap(*facts_by_rung.values()), **_stretch(alert, now)})
            found.add_family(connection)
        certain = found.certain()
        return certain, found.is_covered and found.is_whole and len(certain) == len(found.rows)

    def with_family(self, store: str, rows: list[Json]) -> list[Json]:
        """Returns transactions that were read, with the known ones of the same payments."""
        found = _Found(store, {row["id"]: row for row in rows if isinstance(row.get("id"), int)})
        with self.database.read() as connection:
            found.add_family(connection)
        return found.certain()

    # coverage

    def cover(self, store: str, since: float, until: float) -> None:
        """Records that a stretch of time was read completely; it is joined with those that it touches."""

        def write(connection: Connection) -> None:
            meeting = and_(coverage.c.store == store, coverage.c.since <= until, coverage.c.until >= since)
            rows = connection.execute(select(coverage).where(meeting).with_for_update()).all()
            low = min([since, *(row.since for row in rows)])
            high = max([until, *(row.until for row in rows)])
            connection.execute(coverage.delete().where(meeting))
            insert_or_update(connection, coverage, {"store": store, "since": low, "until": high})

        self.database.write(write)

    def drop(self, store: str, before: float, most: int) -> int:
        """Removes the oldest transactions from before a moment; returns how many, `most` at most.

        The order is that of their ids, which 29next gives out in the order of time. Coverage ends with whole
        days, in any time zone, so that a backfill can run at the same time.
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
                connection.execute(coverage.delete().where(aged, coverage.c.until <= since))
                connection.execute(update(coverage).where(aged).values(since=since))
                gone = and_(transactions.c.store == store, transactions.c.id.in_(ids))
                connection.execute(transactions.delete().where(gone))
            return len(ids)

        return self.database.write(write)

    def covered(self, store: str) -> list[tuple[float, float]]:
        """Returns the stretches (since, until) of which the index has every transaction, oldest first."""
        statement = select(coverage).where(coverage.c.store == store).order_by(coverage.c.since)
        return [(row.since, row.until) for row in self.database.rows(statement)]

    def stores_behind(self, now: float) -> list[str]:
        """Returns the stores whose index was filled once, but not lately."""
        latest = select(coverage.c.store).group_by(coverage.c.store)
        latest = latest.having(func.max(coverage.c.until) < now - KEEP_UP)
        return [row.store for row in self.database.rows(latest)]

    def take_turn(self, store: str, now: float) -> bool:
        """Claims the reading of a store's new transactions; returns False if another worker does it."""
        free, kind = shared_state.c.at < now - KEEP_UP / 2, StateKind.INDEX
        turn = self.database.write(lambda connection: claim_state(connection, kind, store, now, free))
        return turn is not None

    # contradictory transactions

    def contradictory(self, now: float) -> dict[str, int]:
        """Returns, by store, the id of a transaction that is due to be read again."""
        marked = select(transactions.c.store, func.min(transactions.c.id).label("id"))
        marked = marked.where(transactions.c.reread_at <= now).group_by(transactions.c.store)
        return {row.store: int(row.id) for row in self.database.rows(marked)}

    def postpone(self, store: str, ident: int, now: float, until: float) -> bool:
        """Claims a transaction that is due to be read again, until a later time; False if it is not due."""
        due = update(transactions).where(
            transactions.c.store == store, transactions.c.id == ident, transactions.c.reread_at <= now
        )
        return self.database.change(due.values(reread_at=until)) > 0

    def forget(self, store: str, ident: int) -> None:
        """Removes a transaction that 29next no longer has."""
        self.database.change(
            transactions.delete().where(transactions.c.store == store, transactions.c.id == ident)
        )


def upsert_transactions(
    connection: Connection, store: str, sent: Iterable[Json], now: float, *, certain: bool
) -> list[Json]:
    """Stores transactions as 29next sends them; returns those that are new or changed.

    Webhooks carry no time of change and may overtake each other, and lists may lag. A version that
    contradicts the earlier one is not stored; the transaction is marked to be read again instead.
    What was read for that (`certain`) is stored.
    """
    by_id = {row["id"]: row for row in sent if isinstance(row.get("id"), int)}
    of_these = and_(transactions.c.store == store, transactions.c.id.in_(list(by_id)))
    known = {row.id: row for row in connection.execute(select(transactions).where(of_these))}
    news = [row for ident, row in by_id.items() if ident not in known and not row.get("is_test")]
    insert_missing(connection, transactions, [row_of(store, row) for row in news])
    for ident, before in known.items():
        row = row_of(store, by_id[ident])
        this_row = and_(transactions.c.store == store, transactions.c.id == ident)
        if by_id[ident].get("is_test"):
            connection.execute(transactions.delete().where(this_row))
        elif not certain and _contradicts(before._asdict(), row):
            reread = func.coalesce(transactions.c.reread_at, now)
            connection.execute(update(transactions).where(this_row).values(reread_at=reread))
        # a list's row lacks what a single one has: nothing known is forgotten
        elif changed := {k: v for k, v in row.items() if v is not None and v != getattr(before, k)}:
            connection.execute(update(transactions).where(this_row).values(**changed))
            news.append(by_id[ident])
    if certain:
        connection.execute(update(transactions).where(of_these).values(reread_at=None))
    return news


def row_of(store: str, sent: Json) -> Json:
    """Returns the index's row of a transaction, from 29next's nested object."""
    ident: int = sent["id"]
    details = sent.get("payment_details")
    details = details if isinstance(details, dict) else {}
    gateway = details.get("gateway")
    flat = {name: sent.get(name, details.get(name)) for name in KEPT}
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
class _Found:
    """The transactions found for one alert."""

    store: str
    rows: dict[int, Json] = field(default_factory=dict)
    is_whole: bool = True  # nothing was cut off
    is_covered: bool = False  # the index has every transaction of the wanted time
    opened: set[int] = field(default_factory=set)

    def add(
        self, connection: Connection, query: Select[typing.Any], facts: Json, most: int = MOST_FOUND
    ) -> None:
        """Adds what a query returns; if it was cut off for any rule, the right one may be missing."""
        parameters = {"of": self.store, "most": most, **facts}
        by_rule: Counter[str | None] = Counter()
        for row in map(dict, connection.execute(query, parameters).mappings()):
            self.is_covered |= row.pop("is_covered", False)
            by_rule[row.pop("rule", None)] += 1
            if row.get("id") is not None:
                self.rows.setdefault(row["id"], row)
        self.is_whole &= all(count < most for count in by_rule.values())

    def add_family(self, connection: Connection) -> None:
        """Adds the payments of refunds, their authorizations, and the transactions that followed both."""
        for _ in range(GENERATIONS):
            for query, idents in ((_BY_ID, self.parents()), (_BY_PARENT, self.to_open())):
                if idents:
                    self.add(connection, query, {"idents": sorted(idents)}, MOST_RELATED)

    def parents(self) -> set[int]:
        """Returns the ids of the parents of those found that are not among them."""
        return {parent for row in self.rows.values() if (parent := row.get("parent_id"))} - self.rows.keys()

    def to_open(self) -> set[int]:
        """Returns the ids of the payments found whose later transactions were not read yet."""
        payments = {ident for ident, row in self.rows.items() if row.get("type") in ("authorize", "debit")}
        fresh, self.opened = payments - self.opened, self.opened | payments
        return fresh

    def certain(self) -> list[Json]:
        return [row for row in self.rows.values() if row.get("reread_at") is None]


def _facts(rung: matching.Rung, alert: Alert) -> Json:
    """Returns the facts of an alert that a rung needs, as 29next spells them; empty if one is missing."""
    facts: Json = {theirs: matching.spelling(theirs, getattr(alert, ours)) for ours, theirs in rung.facts}
    if not all(facts.values()):
        return {}
    if len(facts) > 1:
        since, until = matching.window(alert)
        facts |= {"since": since.timestamp() if since else 0.0, "until": until.timestamp() if until else EVER}
    return facts


def _stretch(alert: Alert, now: float) -> Json:
    """Returns the stretch of time that the index must cover; an alert without a date is covered by none."""
    since, until = matching.window(alert)
    end = min(until.timestamp() if until else now, now) - UNDISPUTED if since else EVER
    return {"begin": min(since.timestamp(), end) if since else 0.0, "end": end}


def _contradicts(known: Json, new: Json) -> bool:
    """Whether a version cannot simply be a later one: it changes what is fixed, or goes backwards."""
    changed = any(
        None not in (known[name], new[name]) and _value(name, known) != _value(name, new) for name in FIXED
    )
    undisputed = known["is_disputed"] is True and new["is_disputed"] is False
    undecided = bool(known["status"]) and new["status"] != known["status"]
    return changed or undisputed or undecided


def _value(name: str, row: Json) -> object:
    if name == "date_created":
        return row["created_at"]
    if name != "amount":
        return row[name]
    amount = read_amount(row[name])
    return row[name] if amount is None else amount


def _seconds(text: str | None) -> float | None:
    moment = read_moment(text)
    return moment.timestamp() if moment else None
