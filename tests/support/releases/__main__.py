"""Records the present code as its version: `python -m tests.support.releases`, once, when it is released."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, closing
from datetime import UTC, datetime

from alembic.migration import MigrationContext

from bridge import __version__
from bridge.storage import migrate
from bridge.storage.database import Database
from tests.support.bridge_in_process import InProcessBridge
from tests.support.clock import DAY
from tests.support.history import OUTLET, OUTLET_TOKEN, bridge_with_outlet, trouble
from tests.support.next29 import STORE
from tests.support.pages import every_page
from tests.support.postgres import Postgres, new_server
from tests.support.releases import FOLDER, Recording

HOUR = 3600.0


def live(bridge: InProcessBridge) -> None:
    """Let everything happen that a bridge tells its database of."""
    settings, shared_state = bridge.settings, bridge.inside.shared_state
    trouble(bridge)
    number = f"CASE-{bridge.clock.now:.0f}"
    opened = bridge.send_sample(
        "midigator", "chargeback.new", change=lambda tree: tree.update(case_number=number)
    )
    bridge.work()
    for result in ("won", "lost"):  # the second contradicts the first
        bridge.send_sample(
            "midigator",
            "chargeback.result",
            change=lambda tree, result=result: tree.update(case_number=number, result=result),  # type: ignore[misc]
        )
        bridge.work()
    bridge.send_sample("midigator", "rdr.new", change=lambda tree: tree.update(rdr_resolution="Accepted"))
    bridge.send_sample("verifi", change=lambda tree: tree.update(caseNumber=number, eventId=f"one-{number}"))
    bridge.work()
    cancel = {"caseNumber": number, "eventId": f"two-{number}", "eventType": "CANCEL"}
    bridge.send_sample("verifi", "cancel", change=lambda tree: tree.update(cancel))
    bridge.send_sample("midigator", "chargeback.result")  # of a case that nobody opened
    bridge.fail("422", count=1, method="POST", path="/disputes/")
    refused = bridge.send_sample("ethoca")
    bridge.work()
    bridge.inside.replay(refused, opened)
    bridge.work()

    search = bridge.search
    doubtful = search.cases({"state": "review"}).results[-1]
    bridge.inside.decide(doubtful["id"], 1001)
    bridge.inside.recover(bridge.clock.now - HOUR)
    bridge.inside.pause(STORE, "by a person", None)
    bridge.inside.resume(STORE)
    bridge.work()
    sale = bridge.next29.add_transaction(STORE, order="77", external_id=f"pi_{number}")
    bridge.inside.add_transactions(STORE, [sale])
    bridge.inside.index.cover(STORE, bridge.clock.now - DAY, bridge.clock.now)
    bridge.inside.throttle(settings.stores[STORE], 0.5)
    for page in [*every_page(bridge), "/metrics", "/readyz"]:
        assert bridge.client.get(page).status_code == 200, page
    day = datetime.fromtimestamp(bridge.clock.now - DAY, UTC).date()
    assert bridge.inside.reconcile(bridge.api, bridge.store, day) is not None
    bridge.inside.jobs.run_due(bridge.clock.now)
    told = shared_state.claim_notification("failed:one", 1, None)
    assert told and shared_state.forget_notification("failed:one")  # noqa: PT018
    shared_state.drop_bodies(bridge.clock.now - DAY, 500)
    bridge.clock.now += 12 * DAY  # what still waits expires
    bridge.work()
    bridge.next29.add_token(OUTLET_TOKEN, OUTLET)
    bridge.work()
    leave_owed(bridge)


def leave_owed(bridge: InProcessBridge) -> None:
    """Leave alerts in every state in which they wait."""
    bridge.send_sample("midigator", "chargeback.result")  # for its opening
    bridge.fail("500_after", count=1, method="POST", path="/disputes/")
    bridge.send_sample("verifi")  # for a second look
    bridge.work()
    bridge.inside.pause(OUTLET, "by a person", None)
    bridge.send_sample("ethoca", store=OUTLET)
    bridge.work()
    bridge.send_sample("ethoca")  # to be translated


def main() -> None:
    """Record both kinds of database."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        postgres = Postgres(stack.enter_context(new_server()))
        for kind, url in (("sqlite", f"sqlite:///{scratch}/one.db"), ("postgres", postgres.url("migrated"))):
            path = FOLDER / __version__ / f"{kind}.jsonl.gz"
            with closing(Database(url)) as database:
                migrate.upgrade(database)
                with database.read() as connection:
                    revision = MigrationContext.configure(connection).get_current_revision()
            recording = Recording(str(revision))
            with bridge_with_outlet(url, log_level="CRITICAL") as bridge:
                for half in (0, 1):
                    with recording.listen(half):
                        live(bridge)
            recording.save(path)
            sys.stdout.write(f"{path}: {[len(half) for half in recording.halves]} statements\n")


if __name__ == "__main__":
    main()
