"""The bridge on one machine: the sandbox surroundings, and the processes of `bridge run`."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import sys
import time
import typing

from bridge import providers
from bridge.errors import SettingsError

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

SANDBOX_TOKEN = "sandbox-token"  # noqa: S105  opens a pretend store on loopback, and nothing else
SANDBOX_STORE = "sandbox"
STOP_SECONDS = 25.0


def is_unconfigured(environ: Mapping[str, str], root: pathlib.Path) -> bool:
    """Whether no store and no provider secret is set at all, so that only the sandbox can be meant."""
    secret = re.compile("|".join(f"{name.upper()}_SECRET(_PREVIOUS)?" for name in providers.built_in()))
    named = any(name.startswith("NEXT_") or secret.fullmatch(name) for name in environ if environ[name])
    file = root / (environ.get("BRIDGE_CONFIG") or "config/bridge.toml")
    stores = file.exists() and re.search(r"(?m)^\s*\[stores\.", file.read_text("utf-8", "replace"))
    platform = environ.get("DYNO") or environ.get("RENDER")
    return not named and not stores and not platform


def sandbox_surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the sandbox store and made-up secrets, bound to loopback."""
    port = int(environ.get("PORT") or 8000)
    made_up = {f"{name.upper()}_SECRET": made_up_secret(name) for name in providers.built_in()}
    return (
        dict(environ)
        | made_up
        | {
            "NEXT_STORE": SANDBOX_STORE,
            "NEXT_ACCESS_TOKEN": SANDBOX_TOKEN,
            "NEXT_BASE_URL": f"http://127.0.0.1:{port + 1}/api/admin/",
            "BRIDGE_BIND": f"127.0.0.1:{port}",
        }
    )


def made_up_secret(name: str) -> str:
    """Make up a provider's secret in the form that its proof wants."""
    proof = providers.built_in()[name].proof
    for secret in (
        f"{name}:sandbox-only",
        "whsec_c2FuZGJveC1vbmx5",
        "X-Sandbox: only",
        f"{name}-sandbox-only",
        name.encode().hex(),
    ):
        if proof.problem(secret) is None:
            return secret
    raise SettingsError([f"{name}: no sandbox secret fits its proof"])


def run(environ: dict[str, str], *, sandbox: bool) -> int:
    """Run web and worker (and the sandbox) until one of them ends or a signal comes."""
    port = environ.get("PORT") or "8000"
    environ.setdefault("BRIDGE_BIND", f"0.0.0.0:{port}")
    if not environ.get("WEB_CONCURRENCY"):
        environ.pop("WEB_CONCURRENCY", None)  # gunicorn cannot read an empty one
    commands = [
        ["-m", "gunicorn", "--config", "config/gunicorn.py", "bridge.app:create_app()"],
        ["-m", "bridge", "worker"],
    ]
    if sandbox:
        commands.insert(0, ["-m", "bridge", "sandbox", "--port", str(int(port) + 1)])
    root = pathlib.Path(__file__).resolve().parent.parent
    children = [subprocess.Popen([sys.executable, *words], cwd=root, env=environ) for words in commands]  # noqa: S603
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping and all(child.poll() is None for child in children):
        time.sleep(0.2)
    _end(children)
    return 0 if stopping else 1


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Ask each process to end, and wait for it."""
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    for child in children:
        try:
            child.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            child.kill()
