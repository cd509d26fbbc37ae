"""gunicorn's settings. Imports nothing of the bridge: they are read before the application is.

The command line goes before this file, so `bridge run` may bind elsewhere.
"""

import gc
import os
import re
import struct
import sys
from pathlib import Path
from socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET
from typing import Any

from gunicorn.glogging import Logger

# `bridge run` says where it binds, so that the bridge knows whether only this machine reaches it.
bind = os.environ.get("BRIDGE_BIND") or f"0.0.0.0:{os.environ.get('PORT') or 8000}"

# On SQLite there is one process, whatever WEB_CONCURRENCY says (Heroku sets it by itself): its
# threads share their commits, two processes would only wait for each other's lock.
on_sqlite = (os.environ.get("DATABASE_URL") or "sqlite:").startswith("sqlite")
workers = 1 if on_sqlite else max(1, int(os.environ.get("WEB_CONCURRENCY") or 2))
worker_class = "bridge.web.arrival.PatientWorker"  # gthread, whose threads wait for no client
threads = 64  # each waits for the database most of its time

if workers > 1:
    # Against slow leaks, and not all at the same moment. A process that is alone is never
    # restarted: until the next one is up, alerts would wait.
    max_requests = 50_000
    max_requests_jitter = 10_000

preload_app = False  # no database connection may be shared across a fork
if Path("/dev/shm").is_dir():  # noqa: S108 - a heartbeat file in memory; a slow disk stops no worker
    worker_tmp_dir = "/dev/shm"  # noqa: S108

keepalive = 95  # longer than the 90 s of Heroku's router, which may reuse what we have just closed
graceful_timeout = 20  # of the 30 s between SIGTERM and SIGKILL
control_socket_disable = True  # nobody steers the server from outside

limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 8190

# Nobody's X-Forwarded-* is believed here, not even loopback's: the application trusts BRIDGE_PROXY_HOPS.
forwarded_allow_ips = ""


class QuietLogger(Logger):
    """gunicorn's log without what the caller sent: a query may hold a secret, a body a card."""

    def warning(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Cuts what follows "Invalid request from ip=1.2.3.4: ", the refused bytes."""
        if msg.startswith("Invalid request from "):
            msg = msg.partition(": ")[0]
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Cuts "Error handling request /webhooks/acme?key=..." where a query, number or escape begins."""
        error = sys.exception()
        if isinstance(error, BlockingIOError):  # a limit of when_ready's
            self.info("A client went silent")
            return
        if hasattr(error, "problems"):  # the bridge's SettingsError, which gunicorn prints by itself
            self.error("The settings do not work")
            return
        args = tuple(re.split(r"[?%\d]", arg)[0] if isinstance(arg, str) else arg for arg in args)
        super().exception(msg, *args, **kwargs)


logger_class = QuietLogger
logconfig_dict = {  # named only, so that nothing is imported before the application
    "root": {"level": "WARNING", "handlers": ["console"]},
    "formatters": {"generic": {"()": "bridge.logs.Formatter"}},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["console"], "propagate": False}},
}
loglevel = "info"  # debug prints what it has read of a broken request, headers and all
accesslog = None  # the bridge logs its requests itself, without their queries


def when_ready(server: Any) -> None:
    """Limits how long a thread waits for a client: a request has arrived, an answer may take its time.

    Accepted connections inherit this from the listening one.
    """
    for listener in server.LISTENERS:
        listener.sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, struct.pack("ll", 0, 1000))
        listener.sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, struct.pack("ll", 10, 0))


def post_worker_init(_: Any) -> None:
    """Spares the garbage collector what a worker is made of: each look at it takes tens of milliseconds.

    A large body makes tens of thousands of objects, none of them in a cycle, so it looks seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)
