"""The client of 29next: every outcome is the right error, within its time, and nothing goes astray."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
from urllib3.connection import HTTPConnection

from bridge.errors import (
    BridgeError,
    MissingScope,
    NotFound,
    Refused,
    StoreRefused,
    TemporaryError,
    Throttled,
    Unavailable,
    Unclear,
)
from bridge.next29.client import MOST_PAGES, Answer
from bridge.outbound.http import MOST_SHOWN
from bridge.pace import MOST_TURNS, Slot, Turn
from bridge.settings import Store
from tests.support.clock import in_zone
from tests.support.inside import Client
from tests.support.next29 import TOKEN, VERSIONS, Fault, StandIn, fault
from tests.support.openapi import validate_request
from tests.support.trying import tried_with
from tests.support.webhooks import Json

ALERT: Json = {
    "amount": "340.60",
    "arn": "64738272371643523456435",
    "case_number": "A-1",
    "currency": "USD",
    "happened_at": "2026-03-01T12:00:00Z",
    "metadata": {"bridge_provider": "ethoca"},
    "type": "alert",
}
NOW = 1_772_366_400.0


def client(base_url: str, **options: Any) -> Client:
    store = Store(name="alpha", base_url=base_url, token=TOKEN)
    return Client(store, **{"version": VERSIONS[0], "timeout": 5.0, **options})


@pytest.fixture
def next29() -> Iterator[StandIn]:
    with StandIn(rate=0, page_size=2) as next29:
        yield next29


@pytest.fixture
def api(next29: StandIn) -> Iterator[Client]:
    with contextlib.closing(client(next29.base_url)) as api:
        yield api


# --- a server that answers what it is told -------------------------------------------------------


class Seen(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answers = Callable[[int, Seen], bytes]


class Wire:
    """A server that gives bytes as they are: whatever a real one could never be made to say."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.seen: list[Seen] = []
        self.open: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/api/admin/"
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self.open)

    def close(self) -> None:
        """Stop listening, and end all connections."""
        for one in (self.listener, *self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.open.append(connection)
                serve = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self.threads.append(serve)
                serve.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as lines:
            connection.settimeout(10)
            while first := lines.readline():
                method, path, _ = first.decode().split()
                head = iter(lines.readline, b"\r\n")
                headers = dict(line.decode().strip().lower().split(": ", 1) for line in head)
                body = lines.read(int(headers.get("content-length", 0)))
                seen = Seen(method, path, headers, body)
                self.seen.append(seen)
                connection.sendall(self.answers(len(self.seen), seen))


@contextlib.contextmanager
def wired(answer: bytes | Answers, **options: Any) -> Iterator[tuple[Wire, Client]]:
    """A wire that gives an answer, and a client of it."""
    wire = Wire(answer if callable(answer) else lambda _, __: answer)
    try:
        with contextlib.closing(client(wire.base_url, **options)) as api:
            yield wire, api
    finally:
        wire.close()


def http(status: int, body: bytes | object = b"", **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + content


# --- calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_call_is_one_that_29next_documents(next29: StandIn, version: str) -> None:
    sale = next29.add_transaction(amount="340.60", auth_code="SALE01")["id"]
    with contextlib.closing(client(next29.base_url, version=version)) as api:
        made = api.create_dispute(ALERT)
        number = made["id"]
        assert api.list_disputes(case_number="A-1", type="alert") == [made]
        assert api.retrieve_dispute(number) == made
        assert api.update_dispute(number, {"transaction": sale})["transaction"] == sale
        refunded = {"resolution": "issued_full_refund", "create_external_refund": True}
        assert api.resolve_dispute(number, refunded)["status"] == "resolved"
        assert api.add_note(number, "So it was.")["message"] == "So it was."
        assert [note["message"] for note in api.list_notes(number)] == ["So it was."]
        assert [row["id"] for row in api.list_transactions(auth_code="SALE01", is_test="false")] == [sale]
        assert api.retrieve_transaction(sale)["id"] == sale
    calls = next29.ledger.calls
    assert len(calls) == 9
    for call in calls:
        query = f"?{call.query}" if call.query else ""
        validate_request(call.method, call.path + query, call.body, version=version)
        assert call.token == TOKEN


def test_a_call_carries_token_and_version_and_nothing_of_its_surroundings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with wired(http(200, {"id": 1})) as (elsewhere, _), wired(http(200, {"id": 1})) as (wire, api):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, elsewhere.base_url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        api.call("POST", "disputes/", body={"amount": "1.00"})
        assert elsewhere.seen == []
    [seen] = wire.seen
    assert (seen.method, seen.path) == ("POST", "/api/admin/disputes/")
    assert seen.headers["authorization"] == f"Bearer {TOKEN}".lower()
    assert seen.headers["x-29next-api-version"] == "2023-02-10"
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body) == {"amount": "1.00"}


def test_connections_are_used_again() -> None:
    with wired(http(200, {"results": [], "next": None})) as (wire, api):
        for _ in range(5):
            api.list_disputes()
        assert (len(wire.seen), wire.connections) == (5, 1)


def test_what_29next_does_not_know_is_found_to_be_nothing(next29: StandIn, api: Client) -> None:
    next29.add_transaction(order="1042")
    assert api.find("orders/1042/")["number"] == "1042"
    answer = Answer()
    assert api.find("orders/1043/", answer=answer) is None
    assert answer.status == 404
    next29.add_faults(fault("403"))
    with pytest.raises(MissingScope):
        api.find("orders/1043/")


def test_filters_are_escaped(next29: StandIn, api: Client) -> None:
    odd = "A&type=chargeback#?/\u00fc 1"
    made = api.create_dispute({**ALERT, "case_number": odd})
    assert [row["id"] for row in api.list_disputes(case_number=odd)] == [made["id"]]
    assert parse_qs(next29.ledger.calls[-1].query) == {"case_number": [odd]}


# --- outcomes ------------------------------------------------------------------------------------

CREATE = ("POST", "disputes/", ALERT)
LIST = ("GET", "disputes/", None)
SEARCH = ("GET", "transactions/", None)
READ = ("GET", "disputes/{id}/", None)
RESOLVE = ("POST", "disputes/{id}/resolve/", {"resolution": "other", "resolution_other_message": "x"})
ATTACH = ("PATCH", "disputes/{id}/", {"arn": "1"})
NOTE = ("POST", "disputes/{id}/notes/", {"message": "x"})
ORDER = ("GET", "orders/100001/", None)
REFUND = ("POST", "transactions/{sale}/refund/", {"amount": "1.00", "is_external": True})
WRITES = (CREATE, RESOLVE, ATTACH, NOTE, REFUND)
READS = (LIST, SEARCH, READ)

OUTCOMES: list[tuple[str, tuple[Any, ...], type[BridgeError]]] = [
    *(("400", call, Refused) for call in (*WRITES, *READS)),
    *(("409", call, Refused) for call in WRITES),
    *(("422", call, Refused) for call in WRITES),
    *(("401", call, StoreRefused) for call in (*WRITES, *READS)),
    *(("403", call, StoreRefused) for call in (CREATE, RESOLVE, ATTACH, NOTE, LIST, READ)),
    *(("403", call, MissingScope) for call in (SEARCH, ORDER, REFUND)),
    *(("404", call, StoreRefused) for call in (CREATE, LIST, SEARCH)),
    *(("404", call, NotFound) for call in (READ, ORDER, RESOLVE, ATTACH, NOTE, REFUND)),
    *(("429", call, Throttled) for call in (CREATE, LIST, REFUND)),
    *(
        (name, call, Unclear)
        for name in ("500", "502", "503", "500_after", "502_after", "503_after", "reset", "close")
        for call in WRITES
    ),
    *(
        (name, CREATE, Unclear)
        for name in ("refuse", "reset_after", "close_after", "201_html", "201_empty", "201_10mb")
    ),
    *(
        (name, call, TemporaryError)
        for name in ("500", "502", "503", "refuse", "reset", "close")
        for call in READS
    ),
    *(("redirect", call, StoreRefused) for call in (CREATE, LIST, SEARCH)),
    *(("redirect", call, Unclear) for call in (RESOLVE, ATTACH, NOTE, REFUND)),
    ("redirect", READ, TemporaryError),
]


@pytest.mark.parametrize(("name", "call", "expected"), OUTCOMES)
def test_each_outcome_is_the_error_that_says_what_happens_next(
    next29: StandIn, api: Client, name: str, call: tuple[Any, ...], expected: type[BridgeError]
) -> None:
    ids = {"id": api.create_dispute(ALERT)["id"], "sale": next29.add_transaction()["id"]}
    before = len(next29.ledger.calls)
    next29.add_faults(fault(name))
    method, path, body = call
    with pytest.raises(BridgeError) as caught:
        api.call(method, path.format_map(ids), body=body)
    assert type(caught.value) is expected
    assert len(next29.ledger.calls) - before == 1, "it retries nothing"
    next29.faults.clear()
    assert api.retrieve_dispute(ids["id"])["id"] == ids["id"], "the next call works"


def test_what_says_that_it_is_too_large_is_not_waited_for() -> None:
    begun = http(201, b"{}", Content_Length="10000000")
    with wired(begun, timeout=60.0) as (wire, api), pytest.raises(Unclear, match="could not be parsed"):
        api.create_dispute(ALERT)
    assert wire.connections == 1


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_a_token_that_an_answer_echoes_is_shown_nowhere(status: int) -> None:
    answer, said = Answer(), ""
    echo: Json = {"results": [], "next": None, "detail": f"Invalid token: Bearer {TOKEN}", TOKEN: TOKEN}
    with wired(http(status, echo)) as (_, api):
        try:
            api.call("GET", "disputes/", answer=answer)
        except BridgeError as error:
            said = f"{error} {getattr(error, 'fields', '')}"
    assert "Invalid token" in answer.text
    assert TOKEN not in answer.text + said


def test_an_answer_without_an_id_is_handed_on(next29: StandIn, api: Client) -> None:
    next29.add_faults(fault("201_without_id"))
    assert api.create_dispute(ALERT) == {"status": "new"}


@tried_with("status", [408, 500, 501, 502, 503, 504, 520, 599])
def test_a_server_s_trouble_is_unclear_for_a_write_and_temporary_for_a_read(status: int) -> None:
    with wired(http(status, b"<html>", Retry_After="7")) as (_, api):
        with pytest.raises(Unclear):
            api.call("POST", "disputes/", body={})
        with pytest.raises(TemporaryError) as caught:
            api.call("GET", "disputes/1/")
        assert caught.value.retry_after == 7


@tried_with("status", [402, 405, 406, 410, 411, 413, 415, 423, 425, 451])
def test_any_other_refusal_is_refused(status: int) -> None:
    with wired(http(status, {"detail": "No."})) as (_, api), pytest.raises(Refused, match="No"):
        api.call("POST", "disputes/", body={})


A_MINUTE_LATER = "Sun, 01 Mar 2026 12:01:00 GMT"  # than NOW


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), (A_MINUTE_LATER, 60), ("", 1), ("31536000", 300), ("-5", 1), ("soon", 1)],
)
def test_a_throttle_says_for_how_long(header: str, seconds: float) -> None:
    with (
        wired(http(429, Retry_After=header), take=Slots(0.0).take, clock=lambda: NOW) as (_, api),
        pytest.raises(Throttled) as caught,
    ):
        api.list_disputes()
    assert caught.value.retry_after == seconds


def test_a_retry_after_that_is_a_date_is_read_by_the_clock_of_the_pace() -> None:
    with (
        wired(http(503, Retry_After=A_MINUTE_LATER), take=Slots(0.0).take, clock=lambda: NOW) as (_, api),
        pytest.raises(TemporaryError) as caught,
    ):
        api.list_disputes()
    assert caught.value.retry_after == 60


@pytest.mark.parametrize("call", [CREATE, LIST])
def test_what_never_connected_certainly_did_not_happen(
    next29: StandIn, monkeypatch: pytest.MonkeyPatch, call: tuple[Any, ...]
) -> None:
    look_up = socket.getaddrinfo

    def without_a_network(host: str, *given: Any, **named: Any) -> Any:
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", without_a_network)
    method, path, body = call
    gone = StandIn(rate=0).start()
    gone.stop()
    elsewhere = {
        gone.base_url: "connection refused",
        "https://nowhere.invalid/api/admin/": "host name not found",
        # no handshake with one who knows no TLS
        next29.base_url.replace("http:", "https:"): "TLS or certificate error",
    }
    for base_url, why in elsewhere.items():
        with contextlib.closing(client(base_url)) as api, pytest.raises(TemporaryError) as caught:
            api.call(method, path, body=body)
        assert str(caught.value) == f"29next cannot be reached: {why}"
    assert next29.ledger.calls == []


def test_a_connection_that_was_closed_meanwhile_is_not_mistaken_for_one_that_was_never_there() -> None:
    def once(number: int, _: Seen) -> bytes:
        if number > 1:
            raise OSError  # ends the connection instead of answering
        return http(200, {"id": 1})

    with wired(once) as (wire, api):
        api.call("POST", "disputes/", body={})
        with pytest.raises(Unclear):
            api.call("POST", "disputes/", body={})
        assert len(wire.seen) == 2


HALF = http(201, {"id": 1, "case_number": "A-1"})[:-5]
ODD_ANSWERS: dict[str, bytes] = {
    "cut short": HALF + b"\r\n\r\n",
    "no status": b"hello\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc\r\n\r\n",
    "a hundred and one headers": b"HTTP/1.1 201 X\r\n" + b"A: b\r\n" * 101 + b"\r\n",
    "a header without end": b"HTTP/1.1 201 X\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
    "a wrong chunk": b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a wrong compression": http(201, b"\x1f\x8bjunk", Content_Encoding="gzip"),
    "no text": http(201, b"\xff\xfe\x00"),
    "a list": http(201, [{"id": 1}]),
    "a text": http(201, "yes"),
    "null": http(201, b"null"),
    "nested": http(201, b"[" * 100_000),
    "a number without end": http(201, b'{"id": ' + b"9" * 5000 + b"}"),
    "nothing": http(204, b""),
}


@tried_with("case", ODD_ANSWERS)
def test_an_answer_that_cannot_be_read_is_unclear_for_a_write_and_temporary_for_a_read(case: str) -> None:
    def answer(_: int, __: Seen) -> bytes:
        return ODD_ANSWERS[case]

    with wired(answer, timeout=1.0) as (_, api):
        with pytest.raises(Unclear):
            api.call("POST", "disputes/", body={})
        with pytest.raises(TemporaryError):
            api.call("GET", "disputes/1/")


def test_large_answers_are_left_before_they_are_read() -> None:
    def endless(_: int, __: Seen) -> bytes:
        return b"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n" + b" " * 5_000_000

    with wired(endless) as (_, api), pytest.raises(TemporaryError):
        api.list_disputes()
    bomb = gzip.compress(b" " * 20_000_000)
    with wired(http(200, bomb, Content_Encoding="gzip")) as (_, api), pytest.raises(TemporaryError):
        api.list_disputes()


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "slow",
    [
        Fault("hang", seconds=30),  # type: ignore[arg-type]  # a fault is made from words, too
        fault("hang_after", seconds=30),
        fault("drip", seconds=0.05),
        fault("drip_body", seconds=0.05),
        fault("latency", seconds=30),
    ],
)
@pytest.mark.parametrize("call", [CREATE, LIST])
def test_the_timeout_is_of_the_whole_call(next29: StandIn, slow: Fault, call: tuple[Any, ...]) -> None:
    for number in range(3):  # so that an answer drips for long enough
        next29.add_dispute(**{**ALERT, "case_number": f"B-{number}"})
    next29.add_faults(slow)
    method, path, body = call
    with contextlib.closing(client(next29.base_url, timeout=0.5)) as api:
        record = Answer()
        started = time.monotonic()
        with pytest.raises(Unclear if body else TemporaryError, match="did not answer within"):
            api.call(method, path, body=body, answer=record)
        taken = time.monotonic() - started
    assert 0.4 < record.seconds <= taken < 3
    assert record.status is None


def test_the_timeout_is_of_headers_that_drip_too() -> None:
    def drip(_: int, __: Seen) -> bytes:
        wire.open[-1].sendall(b"HTTP/1.1 200 Whatever\r\n")
        for number in range(90):  # urllib3 reads a hundred
            wire.open[-1].sendall(f"X-{number}: 1\r\n".encode())
            time.sleep(0.05)
        return b"\r\n"

    with wired(drip, timeout=0.5) as (wire, api):
        started = time.monotonic()
        with pytest.raises(TemporaryError, match="did not answer within"):
            api.list_disputes()
        assert time.monotonic() - started < 3


def test_a_call_after_a_timeout_is_not_cut_short_by_it(next29: StandIn) -> None:
    next29.add_faults(fault("hang", seconds=30, count=1), fault("latency", seconds=0.3))
    with contextlib.closing(client(next29.base_url, timeout=0.5)) as api:
        with pytest.raises(TemporaryError):
            api.list_disputes()
        for _ in range(3):
            assert api.list_disputes() == []


def test_calls_of_several_threads_keep_their_own_time(next29: StandIn) -> None:
    next29.add_faults(fault("hang", seconds=30, path="/transactions/*"), fault("latency", seconds=0.2))
    outcomes: list[str] = []
    with contextlib.closing(client(next29.base_url, timeout=2.0)) as api:

        def run(path: str) -> None:
            try:
                api.rows(path, {})
                outcomes.append(f"{path} ok")
            except TemporaryError:
                outcomes.append(f"{path} late")

        threads = [threading.Thread(target=run, args=(p,)) for p in ["disputes/", "transactions/"] * 6]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(outcomes) == ["disputes/ ok"] * 6 + ["transactions/ late"] * 6


class Slots:
    """Slots that open so many seconds from now, each half a second long; after them all have closed."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.opened: list[float] = []

    def take(self) -> Slot:
        self.opened.append(time.monotonic() + (self.waits.pop(0) if self.waits else -1.0))
        return slot(self.opened[-1])


def turn(given: Slot, others: Slots | None = None) -> Turn:
    """The turn of a call that has a slot already, and others where it misses that."""
    return Turn((others or Slots()).take, slot=given)


def slot(opens: float, seconds: float = 0.5) -> Slot:
    """A slot that opens at a moment of the monotonic clock."""
    return Slot(opens, opens + seconds, time.time() + opens - time.monotonic() + seconds)


def test_past_its_slot_not_a_byte_of_a_call_leaves(next29: StandIn) -> None:
    slots, gone = Slots(), slot(time.monotonic() - 1)
    with contextlib.closing(client(next29.base_url, take=slots.take)) as api:
        for _ in range(2):
            with pytest.raises(TemporaryError):
                api.call("POST", "disputes/", body=ALERT, turn=turn(gone, slots))
        assert next29.ledger.calls == []
        slots.waits = [0.0]
        api.call("POST", "disputes/", body=ALERT, turn=turn(gone, slots))
    assert len(next29.ledger.disputes) == 1


@pytest.mark.parametrize("again", [False, True])
def test_a_connection_that_takes_longer_than_the_slot_leaves_in_the_next_one(
    monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    """As where a resolver hangs, or the process was stopped while it connected."""
    connect, slots, arrived = HTTPConnection.connect, Slots(0.2), []

    def slowly(connection: HTTPConnection) -> None:
        connect(connection)
        time.sleep(0.6)

    def answer(_: int, __: Seen) -> bytes:
        arrived.append(time.monotonic())
        return http(200, {"id": 1}, Connection="close")

    with wired(answer, take=slots.take) as (_, api):
        if again:  # the connection that was there is closed after its answer
            api.call("GET", "disputes/", turn=turn(slot(time.monotonic())))
        monkeypatch.setattr(HTTPConnection, "connect", slowly)
        api.call("POST", "disputes/", body=ALERT, turn=turn(slot(time.monotonic()), slots))
    assert len(arrived) == 1 + again
    assert slots.opened[0] <= arrived[-1]


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_either_clock_closes_a_slot(next29: StandIn, clock: str) -> None:
    """The monotonic one stands still while a machine sleeps; the other one can be set."""
    now = time.monotonic()
    closed = (
        Slot(now, now - 1, time.time() + 9) if clock == "monotonic" else Slot(now, now + 9, time.time() - 1)
    )
    with (
        contextlib.closing(client(next29.base_url, take=Slots().take)) as api,
        pytest.raises(TemporaryError),
    ):
        api.call("GET", "disputes/", turn=turn(closed))
    assert next29.ledger.calls == []


def test_a_call_leaves_when_its_slot_opens_and_waiting_is_none_of_its_time(next29: StandIn) -> None:
    answer, opens = Answer(), time.monotonic() + 0.5
    with contextlib.closing(client(next29.base_url, take=Slots().take, timeout=0.4)) as api:
        for _ in range(2):  # with a new connection, and with one that is there
            opens = time.monotonic() + 0.5
            api.call("GET", "disputes/", turn=turn(slot(opens)), answer=answer)
            assert next29.ledger.calls[-1].at >= opens
            assert answer.seconds <= time.monotonic() - opens


def test_a_call_in_its_slot_that_is_not_answered_ends_in_time(next29: StandIn) -> None:
    next29.add_faults(fault("hang", seconds=30))
    now = time.monotonic()
    with contextlib.closing(client(next29.base_url, timeout=0.5)) as api, pytest.raises(TemporaryError):
        api.call("GET", "disputes/", turn=turn(slot(now)))
    assert time.monotonic() - now < 3


def test_a_call_takes_a_slot_and_so_does_every_page(next29: StandIn) -> None:
    for number in range(5):
        next29.add_dispute(**{**ALERT, "arn": str(number)})
    slots = Slots(0.1, 0.2, 0.1)
    with contextlib.closing(client(next29.base_url, take=slots.take)) as api:
        api.rows("disputes/", {"case_number": "A-1"})
    for call, opens in zip(next29.ledger.calls, slots.opened, strict=True):
        assert opens <= call.at


def test_a_call_that_misses_its_slot_leaves_in_the_next_one(next29: StandIn) -> None:
    slots = Slots(-1.0, -0.6, 0.1)
    with contextlib.closing(client(next29.base_url, take=slots.take)) as api:
        api.call("POST", "disputes/", body=ALERT)
    [call] = next29.ledger.calls
    assert slots.opened[2] <= call.at


def test_a_call_that_misses_every_slot_is_not_made(next29: StandIn) -> None:
    slots = Slots()
    with contextlib.closing(client(next29.base_url, take=slots.take)) as api, pytest.raises(TemporaryError):
        api.call("POST", "disputes/", body=ALERT)
    assert len(slots.opened) == MOST_TURNS
    assert next29.ledger.calls == []


def test_a_call_in_a_given_slot_takes_no_other(next29: StandIn) -> None:
    slots = Slots()
    with contextlib.closing(client(next29.base_url, take=slots.take)) as api:
        api.call("GET", "disputes/", turn=turn(slot(time.monotonic())))
    assert slots.opened == []
    assert len(next29.ledger.calls) == 1


def test_what_ends_the_wait_for_a_slot_ends_the_call_unsent(next29: StandIn) -> None:
    def away() -> Slot:
        raise Unavailable

    with contextlib.closing(client(next29.base_url, take=away)) as api, pytest.raises(Unavailable):
        api.call("POST", "disputes/", body=ALERT)
    assert next29.ledger.calls == []


# --- redirects -----------------------------------------------------------------------------------


@tried_with("status", [301, 302, 303, 307, 308])
@tried_with("method", ["GET", "POST", "PATCH"])
def test_no_redirect_is_followed_and_the_token_goes_nowhere_else(status: int, method: str) -> None:
    with wired(http(200, {"id": 1})) as (elsewhere, _):
        moved = http(status, Location=f"{elsewhere.base_url}disputes/1/")
        with wired(moved) as (wire, api), pytest.raises(BridgeError):
            api.call(method, "disputes/1/", body=None if method == "GET" else {})
        assert len(wire.seen) == 1
        assert (elsewhere.connections, elsewhere.seen) == (0, [])


@tried_with(
    "next_",
    [
        "{elsewhere}disputes/?cursor=2",
        "//{host}/api/admin/disputes/?cursor=2",
        "/api/admin///{host}/x?cursor=2",
        "/api/admin/../../../x?cursor=2",
        "file:///etc/passwd?cursor=2",
        "?cursor=2",
        "https://user@alpha.29next.store/api/admin/transactions/?cursor=2#x",
    ],
)
def test_a_next_page_is_of_the_same_list_whatever_its_address_says(next_: str) -> None:
    with wired(http(200, {"results": [], "next": None})) as (elsewhere, _):
        host = elsewhere.base_url.split("/")[2]
        further = next_.format(elsewhere=elsewhere.base_url, host=host)

        def answer(number: int, _: Seen) -> bytes:
            return http(200, {"results": [{"id": number}], "next": further if number == 1 else None})

        with wired(answer) as (wire, api):
            assert api.rows("disputes/", {"type": "alert"}) == [{"id": 1}, {"id": 2}]
        assert [seen.path for seen in wire.seen] == [
            "/api/admin/disputes/?type=alert",
            "/api/admin/disputes/?cursor=2",
        ]
        assert (elsewhere.connections, elsewhere.seen) == (0, [])


# --- pages ---------------------------------------------------------------------------------------


def test_a_list_is_read_to_its_end(next29: StandIn, api: Client) -> None:
    made = [next29.add_dispute(**{**ALERT, "arn": str(number)})["id"] for number in range(5)]
    before: list[int] = []
    rows = api.rows(
        "disputes/", {"case_number": "A-1"}, before_more=lambda: before.append(len(next29.ledger.calls))
    )
    assert sorted(row["id"] for row in rows) == sorted(made)
    assert before == [1, 2]
    assert len(next29.ledger.calls) == 3


def test_a_page_that_is_broken_off_is_not_mistaken_for_the_end(next29: StandIn, api: Client) -> None:
    for number in range(5):
        next29.add_dispute(**{**ALERT, "arn": str(number)})
    broken: dict[str, type[BridgeError]] = {
        **dict.fromkeys(("500", "reset"), TemporaryError),
        "404": TemporaryError,  # a cursor that is no longer known: no reason to pause the store
        "400": Refused,
        "429": Throttled,
    }
    for name, expected in broken.items():
        next29.add_faults(fault(name, nth=2))
        with pytest.raises(BridgeError) as caught:
            api.list_disputes(case_number="A-1")
        assert type(caught.value) is expected, name
        next29.faults.clear()


def test_a_list_that_does_not_end_is_given_up() -> None:
    with wired(http(200, {"results": [{"id": 1}], "next": "?cursor=1"})) as (wire, api):
        with pytest.raises(Refused, match="pages"):
            api.list_disputes()
        assert len(wire.seen) == MOST_PAGES


@tried_with(
    "page",
    [
        {},
        {"results": None},
        {"results": {"id": 1}},
        {"results": [1]},
        {"results": ["x"], "next": None},
        {"results": [{"id": 1}], "next": "http://[::1"},
        {"results": [{"id": 1}], "next": "https://[x]/"},
    ],
)
def test_a_list_that_is_none_is_temporary(page: Json) -> None:
    with wired(http(200, page)) as (_, api), pytest.raises(TemporaryError):
        api.list_disputes()


# --- what is kept of it --------------------------------------------------------------------------


def test_the_record_says_what_came_back(next29: StandIn, api: Client) -> None:
    record = Answer()
    made = api.call("POST", "disputes/", body=ALERT, answer=record)
    assert record.status == 201
    assert json.loads(record.text) == made
    assert 0 < record.seconds < 5
    next29.add_faults(fault("500"))
    with pytest.raises(TemporaryError):
        api.call("GET", "disputes/", answer=record)
    assert record.status == 500
    assert "<h1>Error</h1>" in record.text


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Sun, 01 Mar 2026 12:00:00 GMT", NOW),
        ("Sun Mar  1 12:00:00 2026", NOW),
        ("yesterday", None),
        (f"Sun, 01 Mar {'9' * 20} 12:00:00 GMT", None),
    ],
)
def test_the_record_has_29next_s_clock_wherever_the_machine_stands(date: str, expected: float | None) -> None:
    record = Answer()
    with in_zone("NZST-12"), wired(http(200, {"id": 1}, Date=date)) as (_, api):
        api.call("GET", "disputes/1/", answer=record)
    assert record.date == expected


def test_what_is_kept_can_be_stored_anywhere() -> None:
    record = Answer()
    hostile = b'{"detail": "a\\u0000b\\ud800c", "\\u0000": ["\\udfff"], "raw": "\x00"}'
    with wired(http(400, hostile.replace(b"\x00", b""))) as (_, api), pytest.raises(Refused) as caught:
        api.call("POST", "disputes/", body={}, answer=record)
    told = str(caught.value) + json.dumps(caught.value.fields, ensure_ascii=False)
    for text in (told, record.text):
        text.encode()
        assert "\0" not in text
    with wired(http(500, b"\x00\xff" * MOST_SHOWN)) as (_, api), pytest.raises(Unclear):
        api.call("POST", "disputes/", body={}, answer=record)
    assert "\0" not in record.text
    assert len(record.text) <= MOST_SHOWN


@tried_with(
    ("body", "fields", "words"),
    [
        ({"detail": "Not so."}, {"detail": ["Not so."]}, "29next answered 400: Not so."),
        (
            {"amount": ["Too large.", "Odd."], "currency": ["Unknown."]},
            {"amount": ["Too large.", "Odd."], "currency": ["Unknown."]},
            "29next answered 400: amount: Too large. Odd.; currency: Unknown.",
        ),
        (["Not so."], {"": ["Not so."]}, "29next answered 400: Not so."),
        (
            {"transaction": {"a": 1}},
            {"transaction": ["{'a': 1}"]},
            "29next answered 400: transaction: {'a': 1}",
        ),
        ({}, {}, "29next answered 400: "),
        ("no", {}, "29next answered 400: no"),
        (b"<html>", {}, "29next answered 400: (no JSON)"),
        (b"", {}, "29next answered 400: (nothing)"),
        (b"[" * 100_000, {}, "29next answered 400: (no JSON)"),
    ],
)
def test_29next_s_own_words_are_kept(body: object, fields: dict[str, list[str]], words: str) -> None:
    with wired(http(400, body)) as (_, api), pytest.raises(Refused) as caught:
        api.call("POST", "disputes/", body={})
    assert (caught.value.fields, str(caught.value)) == (fields, words)


def test_long_words_are_cut() -> None:
    with wired(http(400, {"detail": "x" * 100_000})) as (_, api), pytest.raises(Refused) as caught:
        api.call("POST", "disputes/", body={})
    assert len(str(caught.value)) < MOST_SHOWN + 50


def test_no_error_shows_the_token(next29: StandIn, api: Client) -> None:
    for name in ("400", "401", "500", "reset", "redirect"):
        next29.add_faults(fault(name))
        with pytest.raises(BridgeError) as caught:
            api.call("POST", "disputes/", body=ALERT)
        assert TOKEN not in f"{caught.value!r} {caught.value}"
        next29.faults.clear()
    assert TOKEN not in repr(api.store)
