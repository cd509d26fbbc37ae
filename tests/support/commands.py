"""The commands of the platforms' files, run as they stand there."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.support.documents import ROOT


def procfile() -> dict[str, str]:
    """The commands of the Procfile, by process."""
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


@contextmanager
def running(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which does not outlive the test."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def answer(port: int, path: str) -> int | None:
    """The status of an answer; None while nobody answers, as where the processes still start."""
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=10).status_code
    except (requests.ConnectionError, requests.Timeout):
        return None
