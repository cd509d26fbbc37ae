"""What the bridge promises to whoever sends webhooks, where no other test shows it from outside.

What is judged is the answer, what the database and its files hold, and what people are shown.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

from bridge import providers
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge, bridge_in_process
from tests.support.fixtures import case_of
from tests.support.next29 import STORE
from tests.support.statements import away
from tests.support.trying import tried_with
from tests.support.webhooks import FULL_CARD

PROVIDERS = tuple(providers.built_in())


@pytest.fixture
def shop(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_in_process(url) as made:
        yield made


# --- a 200 means stored ---------------------------------------------------------------------------


@pytest.mark.both_databases
def test_every_commit_of_a_webhook_waits_for_the_disk(database_url: str) -> None:
    """Whatever the server's own settings say."""
    sqlite = database_url.startswith("sqlite")
    seen: list[Any] = []
    if not sqlite:
        engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
        with closing(engine.connect()) as connection:
            name = make_url(database_url).database
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        engine.dispose()

    def look(connection: Connection, _: object, statement: str, *__: object) -> None:
        if "INSERT INTO webhooks" in statement or "INSERT INTO deliveries" in statement:
            cursor = connection.connection.cursor()
            for asked in (
                ("PRAGMA synchronous", "PRAGMA journal_mode") if sqlite else ("SHOW synchronous_commit",)
            ):
                cursor.execute(asked)
                seen.extend(cursor.fetchone() or ())

    with bridge_in_process(database_url) as shop:
        event.listen(Engine, "before_cursor_execute", look)
        try:
            for _ in range(3):
                shop.post(shop.senders.prevention())
        finally:
            event.remove(Engine, "before_cursor_execute", look)
    assert len(seen) >= 3
    assert set(seen) == ({2, "wal"} if sqlite else {"on"})


def test_no_provider_is_told_200_for_what_is_not_stored(shop: InProcessBridge) -> None:
    for provider in PROVIDERS:
        signed, _ = shop.sample(provider)
        given = {"data": signed.body, "headers": signed.headers, "query_string": signed.query}
        with away(shop.database, "INSERT INTO", 99) as failed:
            answer = shop.client.post(f"/webhooks/{provider}", **given)
        assert (answer.status_code, answer.get_json()["error"]) == (503, "unavailable"), provider
        assert int(answer.headers["Retry-After"]) > 0
        assert failed
        assert not shop.deliveries(provider=provider)
        assert shop.client.post(f"/webhooks/{provider}", **given).status_code == 200, provider
        assert shop.deliveries(provider=provider)


@tried_with(
    ("words", "spared"),
    [
        ("INSERT INTO webhooks", 0),
        ("INSERT INTO deliveries", 0),
        ("INSERT", 2),  # a third: it is in pieces
    ],
)
def test_a_batch_is_stored_whole_or_not_at_all(shop: InProcessBridge, words: str, spared: int) -> None:
    several = [shop.senders.prevention() for _ in range(5)]
    body = b"[" + b",".join(sent.body for sent in several) + b"]"
    path, headers = several[0].path, several[0].headers
    before = len(shop.deliveries())
    with away(shop.database, words, 1, spared=spared) as failed:
        status = shop.client.post(path, data=body, headers=headers).status_code
    assert bool(failed) == (spared == 0), "whole, it takes two"
    assert status == (503 if failed else 200)
    assert len(shop.deliveries()) - before == (0 if failed else 5)
    assert shop.client.post(path, data=body, headers=headers).status_code == 200
    assert {sent.event_id for sent in several} <= {row["event_id"] for row in shop.deliveries()}


# --- no unauthenticated access --------------------------------------------------------------------

OF_THE_SENDER = {"ethoca", "kount", "midigator", "payshield", "trusto", "verifi"}
"""Providers whose authentication does not cover the body."""
OF_THE_FIELDS = {"adyen"}
"""Those that sign fields, and so not a blank between them."""


def test_a_signature_covers_every_byte_of_the_body(shop: InProcessBridge) -> None:
    for provider in PROVIDERS:
        signed, _ = shop.sample(provider)
        path, headers, query = f"/webhooks/{provider}", signed.headers, signed.query

        def status(body: bytes) -> int:
            answer = shop.client.post(path, data=body, headers=headers, query_string=query)  # noqa: B023
            return answer.status_code

        assert status(signed.body) == 200, provider
        covered = provider not in OF_THE_SENDER | OF_THE_FIELDS
        same = [signed.body + b"\n", signed.body.replace(b": ", b":  ", 1)]  # they mean the same
        assert {status(body) for body in same} == {401 if covered else 200}, provider


def test_every_item_of_a_batch_has_to_be_signed(shop: InProcessBridge) -> None:
    secret, case = shop.settings.secrets["adyen"][0], case_of("adyen/chargebacks_as_a_batch")
    sealed = case.provider.proof.seal(case.body, secret)
    headers = case.headers | case.provider.proof.sign(sealed, secret, datetime.now(UTC))
    whole = json.loads(sealed)
    (*_, last) = whole["notificationItems"]
    assert len(whole["notificationItems"]) > 1
    last["NotificationRequestItem"]["amount"]["value"] += 1
    forged = json.dumps(whole).encode()
    assert shop.client.post("/webhooks/adyen", data=forged, headers=headers).status_code == 401
    assert shop.deliveries() == []
    assert shop.client.post("/webhooks/adyen", data=sealed, headers=headers).status_code == 200


def test_every_provider_is_off_without_its_secret(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, bridge_in_process(url) as shop:
        signed = {provider: shop.sample(provider)[0] for provider in PROVIDERS}
    with make_database("sqlite") as url, bridge_in_process(url, secrets={}) as shop:
        for provider, one in signed.items():
            for path in (f"/webhooks/{provider}", f"/webhooks/{provider}/{STORE}"):
                answer = shop.client.post(path, data=one.body, headers=one.headers, query_string=one.query)
                assert (answer.status_code, answer.get_json()["error"]) == (404, "unknown_provider"), path
        assert shop.deliveries() == []


# --- no full card number --------------------------------------------------------------------------

PARTS = [FULL_CARD[n : n + 4] for n in range(0, 16, 4)]
DISGUISED = (
    FULL_CARD,
    *(part.join(PARTS) for part in (" ", "-", ".", "\N{NO-BREAK SPACE}", "\N{EN DASH}", "/")),
    "".join(f"&#{ord(digit)};" for digit in FULL_CARD),
    "".join(f"%3{digit}" for digit in FULL_CARD),
    "".join(f"\\u003{digit}" for digit in FULL_CARD),
)


def bodies(number: str) -> Iterator[tuple[str, str]]:
    """Bodies of all formats with a number in each of their places: (content type, body)."""
    text = json.dumps(number)[1:-1].replace("\\\\u", "\\u")
    yield (
        "application/json",
        f'{{"caseNumber": "J-1", "note": "it is {text}.", "more": [{{"deep": ["{text}"]}}]}}',
    )
    yield "application/json", f'{{"caseNumber": "J-2", "{text}": 1, "text": "{{\\"pan\\": \\"{text}\\"}}"}}'
    yield "application/json", f'{{"caseNumber": "J-3", "note": "{text}"'  # it does not parse
    yield (
        "application/xml",
        f"<case><number>X-1</number><note>{number}</note><pan>it is {number}</pan></case>",
    )
    yield "application/xml", f'<case><number>X-2</number><note a="{number}"/></case>'
    yield "application/xml", f"<case><number>X-4</number><!-- {number} --></case>"
    yield "application/xml", f"<case><number>X-3</number><note>{number}</case>"  # it does not parse
    yield "application/x-www-form-urlencoded", f"caseNumber=F-1&note={number}&{number}=1"


def plain(kept: bytes) -> str:
    """What was stored, without escapes and without what may separate digits."""
    text = kept.decode("utf-8", "replace")
    text = re.sub(r"\\u00([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)
    return re.sub(r"[^0-9A-Za-z]", "", html.unescape(unquote(text)))


@tried_with("number", DISGUISED)
def test_no_card_number_is_on_the_disk_however_it_is_written(shop: InProcessBridge, number: str) -> None:
    """In no row, and in no byte of the file and what stands beside it."""
    headers = shop.senders.verifi().headers
    assert FULL_CARD in plain(number.encode())
    for kind, body in bodies(number):
        sent = {**headers, "Content-Type": kind, "X-Note": number.encode("ascii", "ignore").decode()}
        answer = shop.client.post("/webhooks/verifi", data=body.encode(), headers=sent)
        assert answer.status_code == 200
    shop.work()
    file = Path(make_url(shop.settings.database_url).database or "")
    for path in file.parent.glob(f"{file.name}*"):
        assert FULL_CARD not in plain(path.read_bytes()), path


# --- every rejected webhook is counted ------------------------------------------------------------


def test_every_rejected_webhook_is_counted_by_its_reason(shop: InProcessBridge) -> None:
    sent = shop.senders.prevention()
    many = json.dumps([json.loads(sent.body)] * 1001).encode()
    wrong = {**sent.headers, "Authorization": "Basic eDp5"}
    packed = {**sent.headers, "Content-Encoding": "gzip"}
    for path, body, headers in (
        ("/webhooks/nobody", sent.body, sent.headers),
        (sent.path, sent.body, wrong),
        (sent.path, sent.body, wrong),
        (sent.path, b" " * 262_145, sent.headers),
        (sent.path, many, sent.headers),
        (sent.path, sent.body, packed),
    ):
        assert shop.client.post(path, data=body, headers=headers).status_code >= 400
    counted = re.findall(
        r'^bridge_webhooks_refused_total\{provider="(\w+)",reason="(\w+)"\} ([0-9.]+)$',
        shop.client.get("/metrics").text,
        re.MULTILINE,
    )
    assert {(provider, reason): float(times) for provider, reason, times in counted} == {
        ("nobody", "unknown_provider"): 1,
        ("midigator", "bad_proof"): 2,
        ("midigator", "too_large"): 2,
        ("midigator", "unsupported_encoding"): 1,
    }
    page = shop.client.get("/refused").text
    for words in ("unknown provider", "bad proof", "too large", "unsupported encoding"):
        assert words in page
    assert shop.deliveries() == []
