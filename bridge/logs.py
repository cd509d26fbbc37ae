"""One JSON object a line on stdout: what happened, bound to ids, without bodies and secrets.

That holds for whoever writes: the bridge, its libraries, warnings, and errors that nobody has caught.
Of an error the log says where it came from, never what it says: its words may hold values.

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
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from bridge.cards import cut_text
from bridge.errors import trace

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


class Formatter(logging.Formatter):
    """Writes what a library logs as the bridge's own log is written, without card numbers."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object."""
        said = {
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "message": cut_text(_words(record)),
        }
        return _json(_traced(None, "", {**said, "exc_info": record.exc_info}))


def _words(record: logging.LogRecord) -> str:
    """Return what a record says, with the name of an error in place of its words."""
    said, given = (_harmless(one) for one in (record.msg, record.args))
    if isinstance(given, tuple):
        given = tuple(map(_harmless, given))
    elif isinstance(given, Mapping):
        given = {name: _harmless(value) for name, value in given.items()}
    try:
        return str(said) % given if given else str(said)
    except (TypeError, ValueError, KeyError):  # it does not fit what it was given
        return str(said)


def _harmless(value: typing.Any) -> typing.Any:
    return type(value).__name__ if isinstance(value, BaseException) else value


_LINES = _Lines()
_ENCODER = json.JSONEncoder(default=lambda value: str(_harmless(value)))
drain = atexit.register(_LINES.drain)


def set_up(level: str = "INFO") -> None:
    """Send the bridge's log to stdout, and whatever else the process has to say."""
    _LINES.stream = sys.stdout
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.EventRenamer("message"),
            _traced,
            structlog.processors.JSONRenderer(serializer=_json),  # escapes control characters
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=typing.cast("typing.TextIO", _LINES)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_LINES)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    server = logging.getLogger("gunicorn.error")  # it has a handler of its own, which writes text
    server.handlers.clear()
    server.propagate = True
    _catch_the_rest()


def _traced(_: object, __: str, event: typing.MutableMapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Say of an error where it came from."""
    said = dict(event)
    error = said.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    elif isinstance(error, tuple):
        error = error[1]
    return said | {"trace": trace(error)} if isinstance(error, BaseException) else said


def _catch_the_rest() -> None:
    """Log what nobody catches, unless somebody else does already: a test's runner wants to know itself."""
    log = structlog.get_logger()
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda _, error, __: log.critical("process ended by an error", exc_info=error)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda told: log.error("error that cannot be raised", exc_info=told.exc_value)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda told: _thread_ended(log, told)


def _thread_ended(log: typing.Any, told: threading.ExceptHookArgs) -> None:
    if told.exc_type is not SystemExit:
        name = told.thread.name if told.thread else ""
        log.error("thread ended by an error", thread=name, exc_info=told.exc_value)


def _json(event: typing.Any, **_: typing.Any) -> str:
    return _ENCODER.encode(event)
