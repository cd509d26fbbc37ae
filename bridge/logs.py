"""Logs one JSON object a line to stdout: what happened, with ids, without bodies and secrets.

The log of libraries, warnings and uncaught errors looks the same. Of an error the log has the place, never
the message: that may hold values.

No thread waits for the log: a thread of its own writes the lines of each moment together. Written one by
one, they would cost a webhook more than cutting and storing it.
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

BATCH_SECONDS = 0.05
"""Seconds that a line waits for others, to be written together."""
LAST_SECONDS = 1.0
"""Seconds that a process waits at its end for its last lines to be written."""
MOST_LINES = 10_000
"""How many lines wait if nobody reads stdout; beyond that the oldest are dropped."""


class _LineWriter:
    """Collects lines and writes them in a thread of its own; structlog uses it as a file."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque(maxlen=MOST_LINES)
        self.stream = sys.stdout
        self.some = threading.Event()
        self.lock = threading.Lock()  # guards `thread`; never held during a write
        self.writing = threading.Lock()
        self.thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        self.waiting.append(line)
        if not self.some.is_set():
            self._wake()

    def flush(self) -> None:
        """Does nothing: `drain` flushes."""

    def drain(self) -> None:
        """Writes the waiting lines, for LAST_SECONDS at most."""
        if self.waiting or self.writing.locked():
            last = threading.Thread(target=self._write, daemon=True)
            with contextlib.suppress(RuntimeError):  # it is too late for another thread
                last.start()
                last.join(LAST_SECONDS)

    def _write(self) -> None:
        with self.writing, contextlib.suppress(OSError, ValueError):  # stdout is closed
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
            while left:  # not through the stream: a process that ends would wait for its lock
                left = left[os.write(file, left) :]

    def _wake(self) -> None:
        with self.lock:
            self.some.set()
            if self.thread is None or not self.thread.is_alive():  # the first line, here or after a fork
                self.thread = threading.Thread(target=self._run, name="log", daemon=True)
                self.thread.start()

    def _run(self) -> None:
        while self.some.wait():
            time.sleep(BATCH_SECONDS)
            self.some.clear()
            self._write()


class Formatter(logging.Formatter):
    """Formats the log of libraries like the bridge's own, without card numbers."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns one JSON object."""
        fields = {
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "message": cut_text(_message(record)),
        }
        return _json(_with_trace(None, "", {**fields, "exc_info": record.exc_info}))


def _message(record: logging.LogRecord) -> str:
    """Returns the message of a record, with the names of errors in place of their messages."""
    template, given = (_without_errors(part) for part in (record.msg, record.args))
    if isinstance(given, tuple):
        given = tuple(map(_without_errors, given))
    elif isinstance(given, Mapping):
        given = {name: _without_errors(value) for name, value in given.items()}
    try:
        return str(template) % given if given else str(template)
    except (TypeError, ValueError, KeyError):  # the arguments do not fit
        return str(template)


def _without_errors(value: typing.Any) -> typing.Any:
    return type(value).__name__ if isinstance(value, BaseException) else value


_WRITER = _LineWriter()
_ENCODER = json.JSONEncoder(default=lambda value: str(_without_errors(value)))
drain = atexit.register(_WRITER.drain)


def set_up(level: str = "INFO") -> None:
    """Sends the bridge's log and that of its libraries to stdout."""
    _WRITER.stream = sys.stdout
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.EventRenamer("message"),
            _with_trace,
            structlog.processors.JSONRenderer(serializer=_json),  # escapes control characters
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=typing.cast("typing.TextIO", _WRITER)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_WRITER)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    server = logging.getLogger("gunicorn.error")  # it has a handler of its own, which writes text
    server.handlers.clear()
    server.propagate = True
    _log_uncaught_errors()


def _with_trace(_: object, __: str, event: typing.MutableMapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Replaces an error by where it was raised."""
    fields = dict(event)
    error = fields.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    elif isinstance(error, tuple):
        error = error[1]
    return fields | {"trace": trace(error)} if isinstance(error, BaseException) else fields


def _log_uncaught_errors() -> None:
    """Logs uncaught errors, unless another hook is set, such as that of a test runner."""
    log = structlog.get_logger()
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda _, error, __: log.critical("process ended by an error", exc_info=error)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda args: log.error("error that cannot be raised", exc_info=args.exc_value)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda args: _thread_ended(log, args)


def _thread_ended(log: typing.Any, args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread else ""
        log.error("thread ended by an error", thread=name, exc_info=args.exc_value)


def _json(event: typing.Any, **_: typing.Any) -> str:
    return _ENCODER.encode(event)
