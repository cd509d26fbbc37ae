"""The bridge's processes, made to end or stop themselves at a named point, with other constants.

What is different is told by a mapping: `at` (one of POINTS), `signal` (SIGKILL by default), `nth` (the
first time by default), `constants` by name, in whatever module they are, since no setting makes a
lease or a probe's interval short, and `clock`, a file that says how many seconds its clock is off.

The points are those of the libraries below the bridge wherever possible, so that they stay where
they are when the bridge is rebuilt. `tests.support.processes` forks these processes from one that has
imported all this, for an import takes longer than most of what they are started for.
"""

from __future__ import annotations

import functools
import gc
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from gunicorn.app import wsgiapp  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect

import bridge.web.app
import bridge.web.arrival  # noqa: F401 - both are imported late, and their constants are wanted here
from bridge import cli
from bridge.settings import ROOT
from tests.support import inside

Crash = Callable[[], None]
Install = Callable[[Crash], None]

executed = threading.local()
"""Whether the statement that a point is about is part of a thread's transaction."""


def wrap(owner: type, name: str, around: Callable[..., Any]) -> None:
    """Have `around` called in a method's place, with the method, bound, as its first argument."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def instead(self: Any, *words: Any, **named: Any) -> Any:
        return around(functools.partial(method, self), *words, **named)

    setattr(owner, name, instead)


# --- points -------------------------------------------------------------------------------------


def around_commit(statement: str, when: str, *, once_answered: bool = False) -> Install:
    """Crash before or after the commit of a transaction in which a statement was executed.

    On Postgres a statement may be one by itself: it is committed by the time that it returns.
    """

    def install(crash: Crash) -> None:
        answered = threading.Event()  # a write, by 29next

        @event.listens_for(Engine, "before_cursor_execute")
        def note(connection: Connection, _: object, text: str, *__: object) -> None:
            if statement in text and (answered.is_set() or not once_answered):
                driver = connection.connection.driver_connection
                if when == "before" and getattr(driver, "autocommit", False) is True:
                    crash()
                else:
                    executed.hit = True

        def commit(forward: Callable[..., None], *connection: object) -> None:
            hit, executed.hit = getattr(executed, "hit", False), False
            if hit and when == "before":
                crash()
            forward(*connection)
            if hit and when == "after":
                crash()

        wrap(DefaultDialect, "do_commit", commit)
        around_send("after")(answered.set)

    return install


def around_send(when: str, to: str = "") -> Install:
    """Crash right before a write is sent to such an address, or once its answer has begun."""

    def install(crash: Crash) -> None:
        def send(forward: Callable[..., Any], request: Any, **named: Any) -> Any:
            writes = request.method != "GET" and request.url.endswith(to)
            if writes and when == "before":
                crash()
            answer = forward(request, **named)
            if writes and when == "after":
                crash()
            return answer

        wrap(HTTPAdapter, "send", send)

    return install


def after_claim(crash: Crash) -> None:
    """Crash once a case is leased."""

    def claim(forward: Callable[..., Any], *names: Any) -> Any:
        claims = forward(*names)
        if claims:
            crash()
        return claims

    wrap(*inside.CLAIMS, claim)


def before_answer(crash: Crash) -> None:
    """Crash when a webhook is stored and its answer is about to be sent."""
    on_answer(lambda _: crash())


def in_answer(crash: Crash) -> None:
    """Crash when a part of a webhook's answer is on its way."""

    def broken_off() -> Iterator[bytes]:
        yield b'{"id"'
        crash()

    def halve(response: Response) -> None:
        response.response = broken_off()
        response.headers["Content-Length"] = "100"

    on_answer(halve)


def on_answer(change: Callable[[Response], None]) -> None:
    """Change the answer to a webhook that was stored."""

    def dispatch(forward: Callable[[], Response]) -> Response:
        response = forward()
        if request.path.startswith("/webhooks/") and response.status_code == 200:
            change(response)
        return response

    wrap(Flask, "full_dispatch_request", dispatch)


POINTS: dict[str, Install] = {
    # of the web process
    "before the webhook's commit": around_commit("INSERT INTO deliveries", "before"),
    "after the webhook's commit": around_commit("INSERT INTO deliveries", "after"),
    "before the answer": before_answer,
    "in the answer": in_answer,
    # of the worker
    "before the translation's commit": around_commit("INSERT INTO cases", "before"),
    "after the translation's commit": around_commit("INSERT INTO cases", "after"),
    "after the claim": after_claim,
    "before the intent's commit": around_commit("INSERT INTO attempts", "before"),
    "after the intent's commit": around_commit("INSERT INTO attempts", "after"),
    "before the POST": around_send("before"),
    "after the POST": around_send("after"),
    "before the acknowledgement": around_send("before", "/acknowledges"),
    "after the acknowledgement": around_send("after", "/acknowledges"),
    "before the settlement's commit": around_commit("INSERT INTO attempts", "before", once_answered=True),
    "after the settlement's commit": around_commit("INSERT INTO attempts", "after", once_answered=True),
}


# --- doors --------------------------------------------------------------------------------------


def run(words: Sequence[str], environ: Mapping[str, str], log: str, wanted: Mapping[str, Any]) -> None:
    """Be `gunicorn ...` or `bridge ...`, in a session of its own, with all output in a file."""
    gc.freeze()  # what it was forked with is not its own to look through
    os.setsid()
    os.chdir(ROOT)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(out, number)
    os.environ.clear()
    os.environ.update(environ)
    for name, value in wanted.get("constants", {}).items():
        owners = [
            one for name_, one in sys.modules.items() if name_.startswith("bridge.") and hasattr(one, name)
        ]
        if not owners:
            raise LookupError(f"the bridge has no {name} any more")
        for module in owners:
            setattr(module, name, value)
    if "at" in wanted:
        POINTS[wanted["at"]](crash_of(wanted))
    if "clock" in wanted:
        file, right = Path(wanted["clock"]), time.time
        time.time = lambda: right() + float(file.read_text(encoding="ascii"))
    sys.argv = list(words)
    sys.exit(cli.main(words[1:]) if words[0] == "bridge" else wsgiapp.run())


def crash_of(wanted: Mapping[str, Any]) -> Crash:
    """What happens at a point, the nth time that it is reached."""
    times = itertools.count(1)
    number = signal.Signals[wanted.get("signal", "SIGKILL")]
    committing = threading.RLock()
    if number == signal.SIGSTOP:

        def once(forward: Callable[..., Any], *group: object) -> Any:
            with committing:
                return forward(*group)

        wrap(*inside.COMMITS, once)

    def crash() -> None:
        if next(times) == wanted.get("nth", 1):
            with committing:  # a process that stands in another thread's transaction stops all that write
                # to this very thread, which thus does nothing more, not even until another one is stopped
                signal.pthread_kill(threading.get_ident(), number)

    return crash
