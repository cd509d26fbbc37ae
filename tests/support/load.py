"""A small load generator: keep-alive connections over one selector, raw bytes, no library in the way."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What one load saw; times are seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return the latency that a share of the answers stayed below."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


@dataclass
class _Connection:
    sock: socket.socket
    buffer: bytes = b""
    sent_at: float = 0.0


def load(address: tuple[str, int], requests: Iterator[bytes], *, connections: int = 16) -> Figures:
    """Send every request over the connections, one at a time on each, and wait for its answer."""
    figures = Figures()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for _ in range(connections):
            sock = stack.enter_context(socket.create_connection(address, timeout=30))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one = _Connection(sock)
            if _send(one, requests):
                selector.register(sock, selectors.EVENT_READ, one)
        while selector.get_map():
            for key, _ in selector.select(30):
                one = key.data
                if _received(one, figures) and not _send(one, requests):
                    selector.unregister(one.sock)
        figures.seconds = time.perf_counter() - started
    return figures


def _send(one: _Connection, requests: Iterator[bytes]) -> bool:
    request = next(requests, None)
    if request is None:
        return False
    one.sent_at = time.perf_counter()
    one.sock.sendall(request)
    return True


def _received(one: _Connection, figures: Figures) -> bool:
    """Read what is there; whether the answer is whole."""
    piece = one.sock.recv(65536)
    if not piece:
        raise ConnectionError("the server closed a connection")
    one.buffer += piece
    head, separator, body = one.buffer.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    if len(body) < length:
        return False
    figures.latencies.append(time.perf_counter() - one.sent_at)
    status = int(head.split(b" ", 2)[1])
    figures.statuses[status] = figures.statuses.get(status, 0) + 1
    one.buffer = body[length:]
    return True


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Write one POST request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
