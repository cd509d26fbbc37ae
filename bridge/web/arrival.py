"""gunicorn's worker with threads, changed so that a thread gets a request only once all of it has arrived.

In gunicorn's own worker (version 27), as many stalled clients as there are threads stop the bridge. It then
closes their connections one by one, two seconds each, in the loop that serves everybody else. At its limit
of connections, new clients wait for the others, even for idle ones.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import time
import typing
from functools import partial
from importlib.metadata import version
from selectors import EVENT_READ
from socket import MSG_DONTWAIT, SHUT_WR, socket

from gunicorn.workers import gthread  # type: ignore[import-untyped]

from bridge.web.headers import HEADERS

ARRIVAL_SECONDS = 20.0
"""How long a request may take to arrive."""
LARGEST_HEAD = 64 * 1024
LARGEST = 320 * 1024
"""Bytes of a head and a body. A request that announces more is rejected before it has arrived."""
MOST_ARRIVING = 64 * 2**20
"""Bytes of all incomplete requests together."""
LINGER_SECONDS = 2.0
"""How long a client may take to close a connection, before its answer may be cut off."""
PIECE = 64 * 1024

BUILT_ON = {
    gthread.ThreadWorker: (
        *("handle", "handle_error", "handle_request", "finish_request"),
        *("on_pending_socket_readable", "murder_pending", "enqueue_req", "poller", "nr_conns"),
        *("pending_conns", "keepalived_conns", "worker_connections"),
    ),
    gthread.TConn: ("init", "close", "initialized", "sock", "parser"),
    gthread.http.unreader.Unreader: ("take_buffered", "unread"),
}
"""The parts of gunicorn that this module overrides or uses, and that gunicorn does not document."""
ARRIVING = object()
"""What a thread returns for a request that is not complete yet."""

LENGTH = re.compile(rb"(?i)\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n")
CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding:[^\r\n]*chunked")
CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[^\r\n]{0,99}\r\n")
EXPECT = re.compile(rb"(?i)\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)")


ERROR_BODY = json.dumps({"error": "bad_request", "message": "The request could not be read."})
ERROR_HEADERS = {
    **HEADERS,
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Type": "application/json",
    "Content-Length": str(len(ERROR_BODY)),
}
ERROR = "".join(
    ["\r\n", *(f"{name}: {value}\r\n" for name, value in ERROR_HEADERS.items()), "\r\n", ERROR_BODY]
).encode()
"""What follows the status when gunicorn rejects bytes that are not an HTTP request."""


class Arriving:
    """A request that is arriving. This class only finds out how long it is; gunicorn parses it."""

    def __init__(self, first: bytes) -> None:
        self.content = bytearray(first)
        self.since = time.monotonic()
        self.end = 0  # of the request, or of the chunks whose size is known; 0 until the head has arrived
        self.chunked = False
        self.is_over = False  # nothing more comes, or the bridge waits no longer
        self.expects = False  # the client waits for "100 Continue" before it sends the body

    def is_whole(self) -> bool:
        """Whether the whole request has arrived."""
        if not self.end:
            head, blank, body = bytes(self.content).partition(b"\r\n\r\n")
            if not blank:
                return False
            head, count = EXPECT.subn(b"", head + b"\r\n")
            self.content = bytearray(head + b"\r\n" + body)
            self.expects = count > 0 and not head.partition(b"\r\n")[0].endswith(b"HTTP/1.0")
            self.chunked = CHUNKED.search(head) is not None
            length = LENGTH.search(head)
            self.end = len(head) + 2 + (int(length[1]) if length and not self.chunked else 0)
        while self.chunked and (chunk := CHUNK.match(self.content, self.end)):
            if not (size := int(chunk[1], 16)):
                return self.content.endswith(b"\r\n\r\n")
            self.end = chunk.end() + size + 2
        return not self.chunked and len(self.content) >= self.end

    def read(self, sock: socket) -> bool:
        """Reads what has arrived. Returns whether to stop waiting: it is complete, over, or too large."""
        with contextlib.suppress(BlockingIOError):
            piece = _receive(sock)
            self.content += piece
            self.is_over = self.is_over or not piece
        if self.is_whole() or self.is_over:
            return True
        if self.expects:
            self.expects = False
            with contextlib.suppress(OSError):
                sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return max(len(self.content), self.end) > (LARGEST if self.end else LARGEST_HEAD)


class PatientWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """gthread, but connections wait in the loop while a request arrives and while they close."""

    @classmethod
    def check_config(cls, cfg: typing.Any, log: typing.Any) -> None:
        """Rejects a gunicorn that this worker does not fit; raises RuntimeError, which gunicorn prints."""
        if differences := ", ".join(_differences(cls)):
            raise RuntimeError(
                f"gunicorn {version('gunicorn')} does not fit bridge/web/arrival.py ({differences}):"
                " install the version that requirements.txt names"
            )
        super().check_config(cfg, log)

    def handle(self, conn: typing.Any) -> typing.Any:
        """Handles a request in a thread if it is complete; otherwise returns it to the loop."""
        if not conn.initialized:
            conn.init()
            conn.arriving = None
        if conn.arriving is None:
            conn.arriving = Arriving(conn.parser.unreader.take_buffered())
        arriving: Arriving = conn.arriving
        if not arriving.read(conn.sock):
            return ARRIVING
        conn.arriving, conn.cut = None, not arriving.is_whole()
        conn.parser.unreader.unread(bytes(arriving.content))
        return super().handle(conn)

    def handle_error(self, req: typing.Any, client: socket, addr: typing.Any, exc: BaseException) -> None:
        """Answers an invalid request with gunicorn's status, but without quoting what was sent."""
        super().handle_error(req, StatusOnly(client), addr, exc)

    def handle_request(self, req: typing.Any, conn: typing.Any) -> bool:
        """Answers a request; returns whether its connection may be used again."""
        return bool(super().handle_request(req, conn)) and not conn.cut

    def finish_request(self, conn: typing.Any, fs: typing.Any) -> None:
        """Keeps a connection in the loop while its request arrives, or until its client closes it too."""
        result = not fs.cancelled() and (fs.exception() or fs.result())
        if result and result is not ARRIVING:
            super().finish_request(conn, fs)
            return
        ready: typing.Callable[[typing.Any, typing.Any], None]
        try:
            conn.sock.setblocking(False)
            if result:
                conn.since, ready = conn.arriving.since, self.on_pending_socket_readable
            else:
                conn.arriving, conn.since, ready = None, time.monotonic(), self.linger
                conn.sock.shutdown(SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(ready, conn))
        except (OSError, ValueError):  # it is closed already
            self._close(conn)
        else:
            self.pending_conns.append(conn)
            held = (len(other.arriving.content) for other in self.pending_conns if other.arriving)
            if result and sum(held) > MOST_ARRIVING:
                self.give_up(self.pending_conns[0])

    def on_pending_socket_readable(self, conn: typing.Any, client: typing.Any) -> None:
        """Reads more of a request, unless the bridge gave it up while this event waited for its turn."""
        if conn in self.pending_conns:
            super().on_pending_socket_readable(conn, client)

    def linger(self, conn: typing.Any, _: object) -> None:
        """Reads what still comes of a request that was answered, until its sender ends the connection."""
        with contextlib.suppress(BlockingIOError):
            if conn in self.pending_conns and not _receive(conn.sock):
                self.give_up(conn)

    def murder_pending(self) -> None:
        """Gives up connections that have waited too long. When the worker ends, that is much sooner."""
        now = time.monotonic()
        for conn in list(self.pending_conns):
            patient = conn.arriving and self.alive
            if now - conn.since > (ARRIVAL_SECONDS if patient else LINGER_SECONDS):
                self.give_up(conn)
        if self.alive and self.nr_conns >= self.worker_connections:
            self._make_room()

    def _make_room(self) -> None:
        """Closes the connection that has been idle longest, or else the one that has waited longest.

        At its limit gunicorn accepts no new connection, and that might bring a webhook.
        """
        if self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
        elif self.pending_conns:
            conn = min(self.pending_conns, key=lambda waiting: waiting.since)
            self.pending_conns.remove(conn)
        else:
            return
        self.poller.unregister(conn.sock)
        self._close(conn)

    def give_up(self, conn: typing.Any) -> None:
        """Stops waiting for a connection: rejects an incomplete request, closes any other.

        When the process ends, it closes it without an answer. The sender did nothing wrong and tries again.
        """
        self.pending_conns.remove(conn)
        self.poller.unregister(conn.sock)
        if conn.arriving and conn.arriving.content and self.alive:
            conn.arriving.is_over = True
            self.enqueue_req(conn)
        else:
            self._close(conn)

    def _close(self, conn: typing.Any) -> None:
        self.nr_conns -= 1
        conn.close()


class StatusOnly:
    """A socket that sends only the status of the error page that gunicorn writes to it."""

    def __init__(self, sock: socket) -> None:
        self.sock = sock

    def __getattr__(self, name: str) -> typing.Any:
        return getattr(self.sock, name)

    def sendall(self, page: bytes) -> None:
        """Sends the page's status with a body of our own."""
        self.sock.sendall(page.partition(b"\r\n")[0] + ERROR)


def _receive(sock: socket) -> bytes:
    """Returns what has arrived, or nothing at the end; raises BlockingIOError if nothing has arrived yet."""
    try:
        return sock.recv(PIECE, MSG_DONTWAIT)
    except BlockingIOError:
        raise
    except OSError:
        return b""


def _differences(ours: type) -> typing.Iterator[str]:
    """Yields each part of BUILT_ON that gunicorn lacks, or that has other arguments than ours."""
    for owner, names in BUILT_ON.items():
        existing = {*dir(owner), *owner.__init__.__code__.co_names}  # methods and attributes
        for name in names:
            if name not in existing:
                yield f"no {owner.__name__}.{name}"
            elif name in vars(ours) and _arguments(getattr(owner, name)) != _arguments(getattr(ours, name)):
                yield f"other arguments of {owner.__name__}.{name}"


def _arguments(method: typing.Callable[..., typing.Any]) -> list[str]:
    return list(inspect.signature(method).parameters)
