"""The bridge on one machine: the environment of the sandbox, and the processes of `bridge run`."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
import typing
from collections.abc import Collection, Mapping

from bridge.errors import BridgeError, SettingsError
from bridge.providers.base import Provider
from bridge.settings import ROOT, load
from bridge.settings.address import LAST_PORT

SANDBOX_TOKEN = "sandbox-token"  # noqa: S105  opens a simulated store on loopback, and nothing else
SANDBOX_STORE = "sandbox"
STOP_SECONDS = 25.0
WEB = ("-m", "gunicorn", "--config", "config/gunicorn.py", "bridge.web.app:create_app()")


def is_unconfigured(environ: Mapping[str, str], root: pathlib.Path) -> bool:
    """Whether neither a store nor a provider's secret is set, so that the sandbox should run.

    It is False on a platform, and for invalid settings, whose problems are then reported.
    """
    if environ.get("DYNO") or environ.get("RENDER"):
        return False
    try:
        settings = load(environ, root)
    except SettingsError:
        return False
    return not settings.stores and not settings.encryption_keys and not any(settings.secrets.values())


def sandbox_environ(environ: Mapping[str, str], root: pathlib.Path) -> dict[str, str]:
    """Returns the environment with the sandbox store and generated secrets, bound to loopback."""
    settings = load(environ, root)
    secrets = {
        provider.secret_variable: generate_secret(provider) for provider in settings.providers.values()
    }
    return {
        **environ,
        **secrets,
        "NEXT_STORE": SANDBOX_STORE,
        "NEXT_ACCESS_TOKEN": SANDBOX_TOKEN,
        "NEXT_BASE_URL": f"http://127.0.0.1:{sandbox_port(settings.port)}/api/admin/",
        "BRIDGE_BIND": f"127.0.0.1:{settings.port}",
    }


def sandbox_port(port: int) -> int:
    """Returns the port of the sandbox store beside the bridge's: the next one, or the last but one."""
    return port + 1 if port < LAST_PORT else port - 1


def generate_secret(provider: Provider) -> str:
    """Returns a secret for a provider in the form that its proof requires."""
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


def run(environ: dict[str, str], port: int, *, sandbox: bool) -> None:
    """Runs web and worker (and the sandbox) until a signal arrives.

    Raises BridgeError if a process ends before.
    """
    environ.setdefault("BRIDGE_BIND", f"0.0.0.0:{port}")
    commands: dict[str, tuple[str, ...]] = {"web": WEB, "worker": ("-m", "bridge", "worker")}
    if sandbox:
        commands["sandbox"] = ("-m", "bridge", "sandbox", "--port", str(sandbox_port(port)))
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    children = {
        name: subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environ)  # noqa: S603  our own
        for name, command in commands.items()
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
    """Replaces this process by gunicorn, so that signals reach it."""
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, *WEB], environ)  # noqa: S606  our own


def _end(children: Collection[subprocess.Popen[bytes]]) -> None:
    """Asks each process to end, waits for it, and kills it if it takes too long."""
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    for child in children:
        try:
            child.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            child.kill()
