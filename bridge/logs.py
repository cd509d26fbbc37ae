"""One JSON object a line on stdout: what happened, bound to ids, without bodies and secrets.

No thread waits for the log: its lines are handed to a thread of its own, which writes those of a
moment together. Written one by one, they cost a webhook more than cutting and storing it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
import time
import typing
from collections import deque

import structlog

MOMENT = 0.05
"""Seconds that a line waits for others."""
LAST_SECONDS = 1.0
"""How long a process that ends waits for its last lines to be read."""
MOST = 10_000
"""Lines that wait where nobody reads stdout; the oldest go first."""


class _Lines:
    """What structlog takes for a file."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque(maxlen=MOST)
        self.stream = sys.stdout
        self.some = threading.Event()
        self.lock = threading.Lock()  # of the thread below; never held while something is written
        self.writing = threading.Lock()
        self.thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        self.waiting.append(line)
        if not self.some.is_set():
            self._wake()

    def flush(self) -> None:
        """Do nothing: `drain` does it, for many lines at once."""

    def drain(self) -> None:
        """Have what waits written, without waiting longer than a moment for whoever reads it."""
        if self.waiting or self.writing.locked():
            last = threading.Thread(target=self._write, daemon=True)
            with contextlib.suppress(RuntimeError):  # it is too late for another thread
                last.start()
                last.join(LAST_SECONDS)

    def _write(self) -> None:
        with self.writing, contextlib.suppress(OSError, ValueError):  # stdout is gone: nobody listens
            lines = []
            with contextlib.suppress(IndexError):
                while True:
                    lines.append(self.waiting.popleft())
            written = "".join(lines)
            try:
                file = self.stream.fileno()
            except (OSError, ValueError):  # no file of its own, as in a test
                self.stream.write(written)
                return
            left = written.encode("utf-8", "backslashreplace")
            while left:  # past the stream, whose lock a process that ends would wait for
                left = left[os.write(file, left) :]

    def _wake(self) -> None:
        with self.lock:
            self.some.set()
            if self.thread is None or not self.thread.is_alive():  # the first line, here or after a fork
                self.thread = threading.Thread(target=self._run, name="log", daemon=True)
                self.thread.start()

    def _run(self) -> None:
        while self.some.wait():
            time.sleep(MOMENT)
            self.some.clear()
            self._write()


_LINES = _Lines()
_ENCODER = json.JSONEncoder(default=repr)
drain = atexit.register(_LINES.drain)


def set_up(level: str = "INFO") -> None:
    """Send the bridge's log, and the libraries' warnings, to stdout."""
    _LINES.stream = sys.stdout
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(serializer=_json),  # escapes control characters
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=typing.cast("typing.TextIO", _LINES)),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)


def _json(event: typing.Any, **_: typing.Any) -> str:
    return _ENCODER.encode(event)
