"""The stand-in's HTTP: reads calls, lets faults happen to them, writes answers."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.support.next29.control import control
from tests.support.next29.faults import Does, Fault
from tests.support.next29.ledger import Call
from tests.support.next29.replies import Refusal, Reply, Request

if TYPE_CHECKING:
    from tests.support.next29.server import Admitted, StandIn

_API = re.compile(r"(.*?/api/admin)(/.*)")
_LARGE = 64 * 1024  # bytes of a body that is not copied behind its head
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time


class Listener(ThreadingHTTPServer):
    """The listening socket, with a thread for each connection."""

    request_queue_size = 512
    daemon_threads = True

    def __init__(self, next29: StandIn, address: tuple[str, int]) -> None:
        self.next29 = next29
        self.stopping = threading.Event()
        self._open: set[Any] = set()
        self._change = threading.Condition()  # of _open
        super().__init__(address, _Connection)

    def start(self) -> None:
        """Take connections, in a thread of its own."""
        every = {"poll_interval": 0.005}  # seconds until `stop` is noticed
        threading.Thread(target=self.serve_forever, kwargs=every, daemon=True).start()

    def stop(self) -> None:
        """End the listening, the waiting of faults and all connections; their calls are closed."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._change:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._change.wait_for(lambda: not self._open, timeout=5)

    def server_bind(self) -> None:
        """Bind without the parent's look-up of the host's name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread, and remember it for `stop`."""
        with self._change:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection, and forget it."""
        super().shutdown_request(request)
        with self._change:
            self._open.discard(request)
            self._change.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over callers that have gone; show anything else, for it is a bug of the stand-in."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """One caller's connection, kept alive over many calls."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def parse_request(self) -> bool:
        """Take the time once the first line is there: that is when the call arrived."""
        self.arrived = time.monotonic()
        return super().parse_request()

    def log_message(self, *_: object) -> None:
        """Stay silent: the ledger tells it all."""

    def answer_call(self) -> None:
        """Answer one call, whatever its method."""
        path, _, query = self.path.partition("?")
        if found := _API.fullmatch(path):
            self._admin(found[1], found[2], query)
        elif path.startswith("/oauth2/"):
            self._oauth(path, query)
        elif not path.startswith("/sandbox/"):
            self._send(Reply(404, {"detail": "The Admin API is below /api/admin/."}))
        elif not self.client_address[0].startswith("127."):
            self._send(Reply(403, {"detail": "The control surface is for this machine only."}))
        else:
            self._send(self._controlled(path))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer_call  # noqa: N815 - http.server's names

    def _controlled(self, path: str) -> Reply:
        try:
            return control(self.server.next29, self.command, path, self._parsed(self._read()))
        except Refusal as refusal:
            return refusal.reply

    def _admin(self, prefix: str, path: str, query: str) -> None:
        next29 = self.server.next29
        ledger = next29.ledger
        access = next29.access(self.headers)
        call = Call(
            at=self.arrived,
            wall=next29.clock(),
            token=access.token if access else "",
            store=access.store if access else "",
            method=self.command,
            path=path,
            query=query,
        )
        ledger.open_call(call)
        try:
            try:
                admitted = next29.admit(access, call.method, path, self.headers, call.at)
            except Refusal:
                call.body = _legible(self._read())
                raise
            self._admitted(call, admitted, f"http://{self.headers['Host']}{prefix}{path}")
        except Refusal as refusal:
            call.status = refusal.reply.status
            self._send(refusal.reply)
        finally:
            ledger.close_call(call)

    def _oauth(self, path: str, query: str) -> None:
        """Answer for a merchant, or give a token for what the merchant answered."""
        next29 = self.server.next29
        sent = self._read().decode("ascii", "replace")
        given = {name: values[0] for name, values in parse_qs(sent or query).items()}
        call = Call(self.arrived, next29.clock(), "", given.get("store", ""), self.command, path, query="")
        next29.ledger.open_call(call)
        try:
            fault = next((one for one in next29.faults.strike(call.method, path, "") if one.ends), None)
            if fault is None:
                reply = next29.oauth.answer(call.method, path, given)
                call.status = reply.status
                self._send(reply)
            else:
                self._end(call, fault)
        finally:
            next29.ledger.close_call(call)

    def _admitted(self, call: Call, admitted: Admitted, url: str) -> None:
        """Do the call's work and show its answer, each as the faults want it."""
        next29 = self.server.next29
        faults = next29.faults.strike(call.method, call.path, call.token)
        call.fault = ", ".join(one.label for one in faults)
        ending = next((one for one in faults if one.ends), None)
        if ending is not None and ending.does is Does.REFUSE:
            return self._reset()

        raw = self._read()
        call.body = _legible(raw)
        seconds = {one.does: one.seconds for one in faults}
        request = Request(
            url,
            query=parse_qs(call.query, keep_blank_values=True),
            body=self._parsed(raw),
            hidden_for=seconds.get(Does.LIST_LAG, 0.0),
            loose=Does.LOOSE in seconds,
        )
        self.server.stopping.wait(seconds.get(Does.LATENCY, 0.0))
        if ending is None or ending.truthful:
            reply = admitted.answer(request)
            call.status = reply.status
            return self._send(reply, ending)
        if ending.commits_after == 0:
            admitted.answer(request)
        elif ending.commits_after is not None:
            next29.commit_later(ending.commits_after, lambda: admitted.answer(request))
        return self._end(call, ending)

    def _end(self, call: Call, ending: Fault) -> None:
        """Let the caller see something other than the store's answer."""
        if ending.does is Does.RESET:
            return self._reset()
        if ending.does is not Does.ANSWER:
            self.server.stopping.wait(ending.seconds if ending.does is Does.HANG else 0.0)
            self.close_connection = True
            return None
        call.status = ending.status
        headers = {"Content-Type": ending.content_type}
        if ending.location:
            headers["Location"] = ending.location
        if ending.retry_after:
            soon = formatdate(time.time() + 2, usegmt=True)
            headers["Retry-After"] = soon if ending.retry_after == "date" else ending.retry_after
        body = ending.body.encode()
        return self._write(ending.status, headers, _of_size(body, ending.size) if ending.size else body)

    def _reset(self) -> None:
        """End the connection so that the caller's system reports a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.rfile.close()  # it holds the socket open
        self.connection.close()

    def _read(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch(r"\d{1,7}", length, re.ASCII):
            self.close_connection = True  # nobody can tell where the next call begins
            raise Refusal.of_call(411, "A body comes with its Content-Length.")
        return self.rfile.read(int(length))

    def _parsed(self, raw: bytes) -> object:
        if not raw:
            return {}
        if self.headers.get_content_type() != "application/json":
            raise Refusal.of_call(415, "The stand-in takes application/json only.")
        try:
            return _json(raw)
        except (ValueError, RecursionError) as error:
            raise Refusal.of_call(400, f"JSON parse error - {error}") from None

    def _send(self, reply: Reply, drip: Fault | None = None) -> None:
        headers = dict(reply.headers)
        body = b""
        if reply.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(reply.body).encode()
        self._write(reply.status, headers, body, drip)

    def _write(self, status: int, headers: Mapping[str, str], body: bytes, drip: Fault | None = None) -> None:
        lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {text}" for name, text in headers.items()]
        if status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "\r\n"]).encode()
        if drip is None:
            together = len(body) < _LARGE
            self.wfile.write(head + body if together else head)
            if not together:
                self.wfile.write(body)
            return
        if drip.does is Does.DRIP_BODY:
            self.wfile.write(head)
            head = b""
        for byte in head + body:
            self.wfile.write(bytes([byte]))
            if self.server.stopping.wait(drip.seconds):
                break


@functools.cache
def _of_size(body: bytes, size: int) -> bytes:
    """Repeat a body up to a size: once, for all other calls stand still meanwhile."""
    return (body * (size // len(body) + 1))[:size]


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _json(raw: bytes) -> object:
    return json.loads(raw, parse_constant=_no_constant)


def _legible(raw: bytes) -> object:
    """A body as the ledger shows it: JSON, or the text that is none."""
    try:
        return _json(raw) if raw else None
    except (ValueError, RecursionError):
        return raw.decode(errors="replace")
