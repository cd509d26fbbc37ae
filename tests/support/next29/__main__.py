"""`python -m tests.support.next29`: a stand-in in a process of its own, which says where it listens."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.support.next29.faults import FAULTS, fault
from tests.support.next29.server import TOKEN, StandIn, serve


def main(arguments: list[str] | None = None) -> None:
    """Read the options, print one line of JSON with the addresses, and serve until the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.next29", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8029, help="0: a free one")
    parser.add_argument("--token", default=TOKEN, help="the only token accepted")
    parser.add_argument("--rate", type=int, default=4, help="calls a second; 0: no limit")
    parser.add_argument("--page-size", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the faults' probabilities")
    parser.add_argument("--ledger", type=Path, help="also write the ledger here, as JSON lines")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        choices=sorted(FAULTS),
        metavar="NAME",
        help=f"let it happen to every call that it fits: {', '.join(FAULTS)}",
    )
    options = parser.parse_args(arguments)

    def ready(next29: StandIn) -> None:
        next29.add_faults(*(fault(name) for name in options.fault))
        where = {
            "base_url": next29.base_url,
            "control_url": next29.control_url,
            "token": options.token,
        }
        sys.stdout.write(json.dumps(where) + "\n")
        sys.stdout.flush()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the ledger is written to its end
    serve(
        options.host,
        options.port,
        options.token,
        ready=ready,
        rate=options.rate,
        page_size=options.page_size,
        seed=options.seed,
        ledger_path=options.ledger,
    )


if __name__ == "__main__":
    main()
