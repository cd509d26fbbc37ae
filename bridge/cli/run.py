"""The bridge on one machine: the sandbox surroundings, and the processes of `bridge run`."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
import typing

from bridge import settings
from bridge.errors import BridgeError, SettingsError

if typing.TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bridge.providers.base import Provider

ROOT = pathlib.Path(__file__).resolve().parents[2]
"""The checkout: `config/` stands beside the package."""
SANDBOX_TOKEN = "sandbox-token"  # noqa: S105  opens a pretend store on loopback, and nothing else
SANDBOX_STORE = "sandbox"
DEFAULT_PORT, LAST_PORT = 8000, 65535
STOP_SECONDS = 25.0
WEB = ("-m", "gunicorn", "--config", "config/gunicorn.py", "bridge.web.app:create_app()")


def is_unconfigured(environ: Mapping[str, str], root: pathlib.Path) -> bool:
    """Whether neither a store nor a provider's secret is set, so that only the sandbox can be meant.

    Never on a platform; and settings that do not work are told as they are.
    """
    if environ.get("DYNO") or environ.get("RENDER"):
        return False
    try:
        chosen = settings.load(environ, root)
    except SettingsError:
        return False
    return not chosen.stores and not chosen.encryption_keys and not any(chosen.secrets.values())


def sandbox_surroundings(environ: Mapping[str, str], root: pathlib.Path) -> dict[str, str]:
    """Return the environment with the sandbox store and made-up secrets, bound to loopback."""
    chosen = settings.load(environ, root)
    made_up = {one.secret_variable: made_up_secret(one) for one in chosen.providers.values()}
    return {
        **environ,
        **made_up,
        "NEXT_STORE": SANDBOX_STORE,
        "NEXT_ACCESS_TOKEN": SANDBOX_TOKEN,
        "NEXT_BASE_URL": f"http://127.0.0.1:{sandbox_port(chosen.port)}/api/admin/",
        "BRIDGE_BIND": f"127.0.0.1:{chosen.port}",
    }


def sandbox_port(port: int) -> int:
    """Return the port of the sandbox store beside the bridge's: the next one, or the last but one."""
    return port + 1 if port < LAST_PORT else port - 1


def made_up_secret(provider: Provider) -> str:
    """Make up a provider's secret in the form that its proof wants."""
    for secret in (
        f"{provider.name}:sandbox-only",
        "whsec_c2FuZGJveC1vbmx5",  # for Standard Webhooks
        "X-Sandbox: only",
        f"{provider.name}-sandbox-only-secret",
        provider.name.encode().hex(),
    ):
        if provider.proof.problem(secret) is None:
            return secret
    raise SettingsError(
        [f"{provider.secret_variable}: no secret can be generated for this authentication; set one"]
    )


def run(environ: dict[str, str], *, sandbox: bool) -> None:
    """Run web and worker (and the sandbox) until a signal comes; raises BridgeError if one ends before."""
    port = int(environ.get("PORT") or DEFAULT_PORT)
    environ.setdefault("BRIDGE_BIND", f"0.0.0.0:{port}")
    _leave_out_what_is_empty(environ)
    commands: dict[str, tuple[str, ...]] = {"web": WEB, "worker": ("-m", "bridge", "worker")}
    if sandbox:
        commands["sandbox"] = ("-m", "bridge", "sandbox", "--port", str(sandbox_port(port)))
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    children = {
        name: subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environ)  # noqa: S603  our own
        for name, words in commands.items()
    }
    ended: list[str] = []
    while not ended and not signals:
        time.sleep(0.2)
        ended = [name for name, child in children.items() if child.poll() is not None]
    _end(children.values())
    if ended and not signals:
        raise BridgeError(
            f"{' and '.join(ended)} ended unexpectedly, so the rest was stopped. The reason is above"
        )


def become_web(environ: dict[str, str]) -> typing.NoReturn:
    """Go on as gunicorn, in this very process, so that signals reach it."""
    _leave_out_what_is_empty(environ)
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, *WEB], environ)  # noqa: S606  our own


def _leave_out_what_is_empty(environ: dict[str, str]) -> None:
    """Take an empty WEB_CONCURRENCY away: gunicorn reads it on import, before any of its settings."""
    if not environ.get("WEB_CONCURRENCY"):
        environ.pop("WEB_CONCURRENCY", None)


def _end(children: Collection[subprocess.Popen[bytes]]) -> None:
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
