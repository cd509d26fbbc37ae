"""29next's limit is kept by any number of workers, and no store delays another, with the real processes.

What is claimed of time is tried with the tests' own clock (test_rules, test_inbox) and measured by the bench:
what is told here of the clock on the wall is only printed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import MakeDatabase
from tests.support.clock import eventually
from tests.support.load import load
from tests.support.processes import RunningBridge, key, running_bridge, say
from tests.support.webhooks import Senders, Sent


def raw(sent: Sent) -> bytes:
    """A webhook as the bytes of its request."""
    lines = [f"POST {sent.path} HTTP/1.1", "Host: bridge", f"Content-Length: {len(sent.body)}"]
    lines += [f"{name}: {text}" for name, text in sent.headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + sent.body


def pour(bridge: RunningBridge, several: Sequence[Sent]) -> None:
    """Post many webhooks as fast as they are taken."""
    bridge.offered += several
    figures = load(("127.0.0.1", bridge.port), map(raw, several))
    assert figures.statuses == {200: len(several)}
    bridge.accepted += several


def seconds_to_dispute(bridge: RunningBridge, sent: Sent) -> float:
    """Post a webhook, and return how long after its acknowledgement 29next has the dispute."""
    bridge.deliver(sent)
    acknowledged = time.time()
    eventually(lambda: bridge.disputes(sent), 30)
    bridge.wait(sent)
    commits = bridge.next29.ledger()["commits"]
    wanted = (sent.store, *(sent.opens or ()))
    (at,) = (c["wall"] for c in commits if c["kind"] == "dispute" and key({**c, **c["facts"]}) == wanted)
    return float(at - acknowledged)


@pytest.mark.parametrize(("kind", "workers"), [("sqlite", 1), ("postgres", 2), ("sqlite", 4)])
def test_the_limit_is_kept(make_database: MakeDatabase, tmp_path: Path, kind: str, workers: int) -> None:
    stores = ("alpha", "beta", "gamma")
    with make_database(kind) as url, running_bridge(tmp_path, url, stores=stores) as bridge:
        bridge.start(workers)
        senders = Senders()
        pour(bridge, [senders.prevention(store) for _ in range(18) for store in stores])
        eventually(lambda: bridge.next29.summary()["calls"])
        reading = ("backfill", "--days", "20"), ("reconcile", "--since", "2026-01-01")
        commands = [bridge.start_command(*words, "--store", stores[0]) for words in reading]
        bridge.wait(seconds=60)
        statuses = [one.wait(60) for one in commands]
        assert statuses[0] == 0
        assert statuses[1] in (0, 1), "1 is a difference that was found"
        bridge.audit()  # which knows the busiest second
        calls = bridge.next29.ledger()["calls"]
    for store in stores:
        made = [call for call in calls if call["store"] == store]
        used = (len(made) - 1) / (made[-1]["at"] - made[0]["at"]) / bridge.rate
        say(f"{kind}, {workers} workers, store {store}: {used:.1%} of the rate")
        # the stand-in throttles the call behind one that it noted late; the audit allows no second such
        taken = [call["method"] for call in made if call["status"] != 429]
        assert taken.count("POST") == 18
        assert (taken.count("GET") > 2) == (store == stores[0]), "what the commands read, beside the workers"


def test_a_store_with_a_thousand_waiting_delays_no_other(make_database: MakeDatabase, tmp_path: Path) -> None:
    with make_database("postgres") as url, running_bridge(tmp_path, url, stores=("busy", "quiet")) as bridge:
        bridge.start_web()
        senders = Senders()
        pour(bridge, [senders.prevention("busy") for _ in range(1000)])
        bridge.start_worker()
        took = [seconds_to_dispute(bridge, senders.prevention("quiet")) for _ in range(4)]
        say(f"beside 1,000 waiting, single alerts took {', '.join(f'{t:.2f} s' for t in took)}")
        bridge.kill_workers()
        assert len(bridge.deliveries(status="pending")) > 500
        bridge.audit(may_wait=lambda row: row["store"] in (None, "busy"))


@pytest.mark.parametrize("hanging", [1, 12])
def test_stores_that_only_time_out_delay_no_other(
    make_database: MakeDatabase, tmp_path: Path, hanging: int
) -> None:
    silent = [f"silent{number}" for number in range(hanging)]
    with (
        make_database("sqlite") as url,
        running_bridge(tmp_path, url, stores=("quiet", *silent), timeout=60.0) as bridge,
    ):
        bridge.start()
        senders = Senders()
        hang = {"name": "hang", "seconds": 90}  # longer than anything here is waited for
        bridge.next29.add_faults(*({**hang, "token": bridge.tokens[store]} for store in silent))
        pour(bridge, [senders.prevention(store) for _ in range(40) for store in silent])
        # by now most of what can hang does: no call of these ends before the test
        eventually(lambda: bridge.next29.summary()["calls"] >= 3 * hanging, 60)
        took = [seconds_to_dispute(bridge, senders.prevention("quiet")) for _ in range(6)]
        say(f"beside {hanging} silent stores, single alerts took {', '.join(f'{t:.2f} s' for t in took)}")
        bridge.kill_workers()
        assert {row["store"] for row in bridge.deliveries(status="forwarded")} == {"quiet"}
        bridge.audit(may_wait=lambda row: row["store"] in (None, *silent))
