"""The log's lines: nobody waits for whoever reads them."""

from __future__ import annotations

import fcntl
import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest

from bridge.web.app import ROOT

SAYS_MUCH = """
import structlog
from bridge import logs

logs.set_up()
for number in range(2000):
    structlog.get_logger().info("a line", number=number, more="x" * 100)
    if number % 100 == 0:
        import time
        time.sleep(0.06)  # so that what waits is written
"""
PIPE = 4096


@contextmanager
def stalled() -> Iterator[int]:
    """A pipe of a page that nobody reads; where it is written to."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE)
    try:
        yield writes
    finally:
        os.close(reads)
        os.close(writes)


def test_a_process_whose_lines_nobody_reads_goes_on_and_ends() -> None:
    with stalled() as writes:
        done = subprocess.run(
            [sys.executable, "-c", SAYS_MUCH], cwd=ROOT, stdout=writes, stderr=-1, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_was_said_last_is_read_where_somebody_reads() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SAYS_MUCH], cwd=ROOT, capture_output=True, timeout=30, check=True
    )
    assert len(said.stdout.splitlines()) == 2000
    assert b'"number": 1999' in said.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("path", "name"), [("4111111111111111", ""), ("%34111%20111111111111", ""), ("acme?key=hunter22", "acme")]
)
def test_gunicorn_logs_of_a_path_neither_numbers_nor_a_query(
    path: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = runpy.run_path(str(ROOT / "config" / "gunicorn.py"))
    logger = settings["QuietLogger"](import_module("gunicorn.config").Config())
    logger.error_log.propagate = True
    with caplog.at_level(logging.ERROR, "gunicorn.error"):
        logger.exception("Error handling request %s", f"/webhooks/{path}")  # noqa: LOG004
    assert caplog.messages == [f"Error handling request /webhooks/{name}"]
