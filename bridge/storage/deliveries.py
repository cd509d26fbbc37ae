"""Deliveries: stored with their webhook before it is answered, replayed, dismissed. Refusals are counted."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, bindparam, select, update

from bridge.alert import Reason, Status, Webhook
from bridge.errors import Unavailable
from bridge.storage.arrivals import Arrival, NewDelivery, insert_webhooks
from bridge.storage.database import Database
from bridge.storage.outcomes import OutcomesOf
from bridge.storage.rows import lock_case, write_cases
from bridge.storage.schema import cases, deliveries, refusals, webhooks
from bridge.storage.translation import Translated, apply_translations
from bridge.storage.upsert import insert_into

UNKNOWN = "unknown_provider"
MOST_UNKNOWN = 20
OTHERS, NO_NAME = "*", "-"
"""How many unknown names are counted each day, and the names for all others and for a URL without one."""


_WAITING = (
    select(deliveries, *(webhooks.c[name] for name in ("path", "headers", "query", "body")))
    .add_columns(webhooks.c.store.label("named"))
    .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
    .where(deliveries.c.status == Status.PENDING, deliveries.c.case_id.is_(None))
    .where(deliveries.c.due_at <= bindparam("now"))
    .limit(bindparam("most"))
)
_OLDEST, _NEWEST = _WAITING.order_by(deliveries.c.due_at), _WAITING.order_by(deliveries.c.due_at.desc())


class Deliveries:
    """Stores deliveries, applies their translations, and replays or dismisses them."""

    def __init__(self, database: Database, outcomes_of: OutcomesOf) -> None:
        self.database = database
        self.outcomes_of = outcomes_of
        self._store = database.sharing(self._store_all, by_one_statement=True)

    # receiving

    def add(self, webhook: Webhook, new: Sequence[NewDelivery]) -> str:
        """Stores a webhook and its deliveries durably; a repeat adds nothing.

        Returns the id of the first delivery, or of the earlier one if this is a repeat.
        """
        return self._store((webhook, new))

    def _store_all(self, connection: Connection, arrived: Sequence[Arrival]) -> list[str]:
        return insert_webhooks(connection, arrived, self.database.now())

    def count_refusal(self, provider: str, reason: str, message: str, *, known: bool = True) -> None:
        """Counts a webhook that was refused; nothing of its content is stored.

        Unknown provider names are counted too, but only MOST_UNKNOWN of them a day by name.
        """
        now = self.database.now()
        day = datetime.fromtimestamp(now, UTC).date().isoformat()

        def write(connection: Connection) -> None:
            name = provider if known or _has_room(connection, provider, reason, day) else OTHERS
            key = {"provider": name, "reason": reason, "day": day}
            newest = {"message": message, "last_at": now}
            first = insert_into(connection, refusals).values(**key, **newest, count=1)
            again = newest | {"count": refusals.c.count + 1}
            connection.execute(first.on_conflict_do_update(index_elements=list(key), set_=again))

        self.database.write(write)

    # translating

    def untranslated(self, most: int, *, newest: bool = False) -> Sequence[Row[typing.Any]]:
        """Returns deliveries to translate now, with their webhooks: the oldest of them, or the newest.

        Alternate between the two, so that a flood delays no single alert.
        """
        parameters = {"now": self.database.now(), "most": most}
        return self.database.rows(_NEWEST if newest else _OLDEST, parameters)

    def apply_translations(self, translated: Sequence[Translated]) -> list[tuple[Row[typing.Any], Exception]]:
        """Applies the translations of some deliveries; returns those that failed, and why.

        If two workers translate the same delivery, the first one counts. One that fails delays no other.
        """
        now = self.database.now()
        try:
            self.database.write(
                lambda connection: apply_translations(connection, translated, now, self.outcomes_of)
            )
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  one of them is at fault: tried alone, it fails alone
            if len(translated) == 1:
                return [(translated[0][0], error)]
            return [failed for pair in translated for failed in self.apply_translations([pair])]
        return []

    # what a person asks

    def replay(self, ids: Sequence[str]) -> list[str]:
        """Puts deliveries back into the first queue, each with a new deadline; returns which.

        Leaves out what is pending already, and what has lost its body to retention.
        """
        now = self.database.now()
        webhook = select(webhooks.c.id).where(webhooks.c.id == deliveries.c.webhook_id)
        wanted = (
            update(deliveries)
            .where(deliveries.c.id.in_(ids), deliveries.c.status != Status.PENDING)
            .where(webhook.where(webhooks.c.body.is_not(None)).exists())
        )
        fresh = {
            **dict.fromkeys(("reason", "message", "errors", "case_id", "settled_at")),
            "status": Status.PENDING,
            "due_at": now,
            "deadline_at": now + deliveries.c.allowed,
            "late": False,
            "tries": 0,
        }
        again = wanted.values(**fresh).returning(deliveries.c.id)
        return self.database.write(lambda connection: list(connection.execute(again).scalars()))

    def dismiss(self, ids: Sequence[str]) -> list[str]:
        """Dismisses failed deliveries, which then need no attention; returns which.

        A case whose contradictions are all dismissed keeps its outcome.
        """

        def write(connection: Connection) -> list[str]:
            chosen = select(deliveries).where(deliveries.c.id.in_(ids), deliveries.c.status == Status.FAILED)
            rows = connection.execute(chosen.order_by(deliveries.c.id).with_for_update()).all()
            dismissed = [str(row.id) for row in rows]
            ignored = update(deliveries).where(deliveries.c.id.in_(dismissed))
            connection.execute(ignored.values(status=Status.IGNORED, reason=Reason.DISMISSED))
            for case_id in sorted({row.case_id for row in rows if row.reason == Reason.CONTRADICTED}):
                _clear_contradiction(connection, case_id)
            return dismissed

        return self.database.write(write)


def _has_room(connection: Connection, name: str, reason: str, day: str) -> bool:
    """Whether an unknown name is counted by name."""
    counted = select(refusals.c.provider).where(refusals.c.day == day, refusals.c.reason == reason)
    names = set(connection.execute(counted).scalars()) - {OTHERS}
    return name in names or len(names) < MOST_UNKNOWN


def _clear_contradiction(connection: Connection, case_id: str) -> None:
    """Clears the contradiction of a case, unless another delivery still contradicts it."""
    left = select(deliveries.c.id).where(deliveries.c.case_id == case_id)
    left = left.where(deliveries.c.reason == Reason.CONTRADICTED).limit(1)
    case = lock_case(connection, cases.c.id == case_id)
    if case and connection.execute(left).first() is None:
        case.trouble.contradicted = None
        write_cases(connection, [case])
