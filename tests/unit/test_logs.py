"""The log's lines: nobody waits for whoever reads them."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from bridge.settings import ROOT

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
VALUE = "4111111111111111"
GOES_WRONG = f"""
import gc, logging, runpy, sys, threading, warnings
import structlog
from gunicorn.config import Config
from sqlalchemy import create_engine
from bridge import logs
from bridge.errors import Unavailable

server = runpy.run_path("config/gunicorn.py")["QuietLogger"](Config())
logs.set_up()
ours, theirs = structlog.get_logger(), logging.getLogger("a.library")

class Odd:
    def __del__(self):
        raise ValueError("{VALUE} of an object")

def fails(*_):
    raise ValueError("{VALUE}\\nof an error")

try:
    fails()
except ValueError as error:
    ours.exception("ours")
    ours.error("ours by name", exc_info=error)
    ours.error("ours as a value", why=error)
    theirs.error("theirs by name: %(why)s", dict(why=error))
    theirs.exception("theirs")
    theirs.error("theirs as a value: %s", error)
    theirs.error(error)
    server.exception("Error handling request %s", "/webhooks/acme")
theirs.warning("a card %s", "{VALUE}")
theirs.warning("too few for %s and %s", "one")
theirs.warning("two\\nlines \\x1b[2J \\ud800 %(named)s", dict(named="x"))
warnings.warn("of a library {VALUE}")
from sqlalchemy import event
engine = create_engine("sqlite://")
event.listen(engine, "reset", fails)
engine.connect().close()
thread = threading.Thread(target=fails, name="a thread")
thread.start()
thread.join()
Odd()
fails()
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


def test_whatever_goes_wrong_and_whoever_says_so_it_is_one_object_a_line_without_values() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GOES_WRONG], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.isascii()
    assert VALUE not in done.stdout
    assert "of an" not in done.stdout
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    traced = {line["message"] for line in lines if line.get("trace", "").startswith("ValueError at ")}
    assert {line["message"] for line in lines} >= {
        *("theirs as a value: ValueError", "theirs by name: ValueError", "a card 411111******1111"),
    }
    assert "ValueError" in [line.get("why") for line in lines]
    assert traced >= {
        *("ours", "ours by name", "theirs", "Error handling request /webhooks/acme"),
        *("thread ended by an error", "error that cannot be raised", "process ended by an error"),
    }
    assert [line["logger"] for line in lines if "sqlalchemy" in line.get("logger", "")]
    assert all({"level", "message", "timestamp"} <= set(line) for line in lines)


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


def test_gunicorn_itself_logs_one_object_a_line(tmp_path: Path) -> None:
    environ = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db", "BRIDGE_BIND": "127.0.0.1:0"}
    words = ["-m", "gunicorn", "--config", "config/gunicorn.py", "bridge.web.app:create_app()"]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environ, stdout=-1, stderr=-2, text=True
    ) as one:
        assert one.stdout
        lines = []
        while "Booting worker" not in (line := one.stdout.readline()):
            assert line, "it has ended"
            lines.append(line)
        one.terminate()
        lines += one.stdout.readlines()
    said = [json.loads(line)["message"] for line in lines]
    assert said[0].startswith("Starting gunicorn")
    assert said[-1].startswith("Shutting down")
