"""One JSON object a line on stdout: what happened, bound to ids, without bodies and secrets."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up(level: str = "INFO") -> None:
    """Send the bridge's log, and the libraries' warnings, to stdout."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),  # escapes control characters
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
