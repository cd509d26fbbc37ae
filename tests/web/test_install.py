"""Merchants install the bridge in their stores: the whole way, whoever tries it, what becomes of tokens."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from cryptography.fernet import Fernet
from playwright.sync_api import sync_playwright
from sqlalchemy import text
from werkzeug.test import TestResponse

from bridge import cli
from bridge.cli import doctor
from bridge.settings import NOT_INSTALLED
from bridge.storage.database import Database
from bridge.storage.installations import LOCKED, UNINSTALLED, AllStores, with_installed
from bridge.web import install
from bridge.web.app import create_app
from bridge.web.headers import HEADERS
from tests.support import inside
from tests.support.apps import lent_app
from tests.support.bridge_in_process import NEXT_SECRET, InProcessBridge
from tests.support.clock import Clock
from tests.support.configuring import load, problems
from tests.support.inside import AT_ONCE
from tests.support.next29 import CLIENT_ID, CLIENT_SECRET, Does, Fault, StandIn, fault
from tests.support.processes import running_bridge
from tests.support.screenshots import MISSING, chromium, launch, served
from tests.support.webhooks import PASSWORDS, Senders, next_event

pytestmark = pytest.mark.both_databases

KEY, NEWER = "a2V5LW9mLXRlc3RzLTAwMDAwMDAwMDAwMDAwMDAwMDA=", Fernet.generate_key().decode()
PUBLIC = "https://alerts.example.com"
PASSWORD = "the-password-of-the-viewer"
SHOP = "gamma"
DOMAIN = f"{SHOP}.29next.store"


class Agency(InProcessBridge):
    """A bridge that merchants may install: a web process, and a worker that knows it by the database only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.worker = self.inside.worker()
        self.seen = ""  # all that a browser was shown

    def browse(self, path: str, **options: Any) -> TestResponse:
        """Open a page as a browser does."""
        answer = self.client.get(path, headers={"Accept": "text/html"}, **options)
        self.seen += answer.text + str(answer.headers)
        return answer

    def asked(self, domain: str = DOMAIN) -> str:
        """Begin to install, up to where the store sends its merchant back to: a path of ours."""
        there = self.browse(f"/install?{urlencode({'store': domain})}")
        assert there.status_code == 302, there.text
        back = requests.get(there.location, timeout=10, allow_redirects=False)
        assert back.status_code == 302, back.text
        assert back.headers["Location"].startswith(f"{PUBLIC}/authorize?")
        return back.headers["Location"].removeprefix(PUBLIC)

    def install(self, domain: str = DOMAIN) -> None:
        """Install the bridge in a store."""
        assert self.browse(self.asked(domain)).status_code == 200
        self.look()

    def look(self) -> None:
        """Let the worker see what is installed now."""
        self.stores.read()

    def tend(self) -> None:
        """Let the worker tend to stores, as it does every few seconds."""
        self.look()
        self.inside.jobs.refresh_stores(self.stores)

    def work(self) -> None:
        """Translate and forward until there is nothing more to do at this moment."""
        for _ in range(300):
            if not self.worker.run_once(AT_ONCE):
                return
        raise AssertionError("the worker does not come to an end")

    def uninstall(self, **changes: Any) -> None:
        """Have the bridge know that the merchant has removed the app."""
        self.tell_removal(**changes)
        self.work()
        self.look()

    def tell_removal(self, **changes: Any) -> None:
        """Have 29next tell that the merchant has removed the app, as its subscription says."""
        assert self.tell_app(self.hook["secret_key"], **changes) == 200

    @property
    def hook(self) -> Any:
        """The subscription that the installation has left at 29next."""
        (hook,) = self.next29.stores[SHOP].webhooks.by_id.values()
        return hook

    def tell_app(self, secret: str, path: str = f"/webhooks/next/{SHOP}", **changes: Any) -> int:
        """Post a removal, signed with a secret; returns the status of the answer."""
        data, ident = {"client_id": CLIENT_ID, "name": "dispute-bridge"}, f"gone-{next(self.events)}"
        told = next_event("app.uninstalled", data, ident, store=SHOP) | changes
        body = json.dumps(told).encode()
        signed = self.settings.providers["next"].proof.sign(body, secret, datetime.now(UTC))
        return self.client.post(path, data=body, headers=signed).status_code

    @property
    def stores(self) -> AllStores:
        """The stores as the worker knows them."""
        assert isinstance(self.settings.stores, AllStores)
        return self.settings.stores

    @property
    def token(self) -> str:
        """The token that the store gave last."""
        return self.next29.oauth.granted[SHOP]

    def paused(self) -> dict[str, str]:
        """The stores that are paused, and why."""
        return {row["name"]: row["paused_why"] for row in self.search.stores() if row["paused_at"]}

    def disputed(self, case: str) -> list[str]:
        """The stores in which a case has disputes."""
        every = self.next29.stores.items()
        return [n for n, shop in every for row in shop.disputes.by_id.values() if row["case_number"] == case]

    def standing(self, ident: str) -> tuple[str, str | None]:
        """Status and reason of a delivery."""
        row = self.delivery(ident)
        return row["status"], row["reason"]


def surroundings(next29: StandIn, **changes: str) -> dict[str, str]:
    """The environment of a bridge that merchants may install."""
    return {
        "NEXT_CLIENT_ID": CLIENT_ID,
        "NEXT_CLIENT_SECRET": CLIENT_SECRET,
        "BRIDGE_ENCRYPTION_KEYS": KEY,
        "BRIDGE_PUBLIC_URL": PUBLIC,
        "BRIDGE_PASSWORD": PASSWORD,
        "NEXT_BASE_URL": next29.base_url,
        "NEXT_RATE": "0",
        "LOG_LEVEL": "WARNING",
        "NEXT_SETTLE_SECONDS": "5",
        "NEXT_WEBHOOK_SECRET": NEXT_SECRET,
        **{f"{name.upper()}_SECRET": f"{name}:{word}" for name, word in PASSWORDS.items()},
        **changes,
    }


@contextlib.contextmanager
def bridge(next29: StandIn, url: str, toml: str = "", **changes: str) -> Iterator[Agency]:
    """A bridge before a 29next that runs already."""
    chosen = load(toml, DATABASE_URL=url, **surroundings(next29, **changes))
    database = Database(chosen.database_url, clock=next29.clock, pool_size=8)
    with contextlib.closing(database), lent_app(chosen, database, watch=True) as app:
        settings = with_installed(chosen, database)
        made = Agency(settings, app, database, next29, next29.clock)  # type: ignore[arg-type]
        yield made
        made.close()


@pytest.fixture
def next29() -> Iterator[StandIn]:
    with StandIn(rate=0, transactions=(), clock=Clock()) as made:
        yield made


@pytest.fixture
def light_url(make_database: Any) -> Iterator[str]:
    with make_database("sqlite") as url:
        yield url


@pytest.fixture
def agency(next29: StandIn, light_url: str) -> Iterator[Agency]:
    with bridge(next29, light_url) as made:
        yield made


@pytest.fixture(scope="module")
def door(make_database: Any) -> Iterator[Agency]:
    """A bridge for all who get nowhere."""
    with (
        StandIn(rate=0, transactions=(), clock=Clock()) as there,
        make_database("sqlite") as url,
        bridge(there, url) as made,
    ):
        yield made


# --- the whole way --------------------------------------------------------------------------------


def test_a_merchant_installs_the_bridge_and_alerts_become_disputes_there(
    next29: StandIn, database_url: str
) -> None:
    with bridge(next29, database_url) as agency:
        agency.install()
        sent = agency.senders.ethoca(SHOP)
        alert = agency.post(sent)
        agency.work()
        assert agency.standing(alert) == ("forwarded", None)
        assert sent.opens
        assert agency.disputed(sent.opens[0]) == [SHOP]
        known = repr(agency.stores[SHOP]) + repr(agency.settings)
        kept = [told for _, told in inside.written_rows(agency.database)]
        for canary in (agency.token, CLIENT_SECRET, KEY):
            assert canary not in agency.seen + known + "".join(kept)
    folder = Path(urlsplit(database_url).path).parent if database_url.startswith("sqlite") else None
    for file in folder.iterdir() if folder else ():
        assert agency.token.encode() not in file.read_bytes(), file


def test_the_store_is_asked_for_what_the_bridge_needs_and_only_by_the_public_address(agency: Agency) -> None:
    there = agency.browse(f"/install?store={DOMAIN}", base_url="https://evil.example.com")
    address, asked = urlsplit(there.location), dict(parse_qsl(urlsplit(there.location).query))
    assert f"{address.scheme}://{address.netloc}" in agency.next29.base_url
    assert address.path == "/oauth2/authorize/"
    assert len(asked.pop("state")) >= 40
    assert asked == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": f"{PUBLIC}/authorize",
        "scope": " ".join(install.SCOPES),
        "store": DOMAIN,
    }


def test_without_a_base_url_every_store_is_asked_at_its_own_domain(light_url: str) -> None:
    """Not where NEXT_BASE_URL leads elsewhere: a token goes to its store, or to this machine in a trial."""
    given = {"NEXT_CLIENT_ID": "id", "NEXT_CLIENT_SECRET": "s3cret", "BRIDGE_PUBLIC_URL": PUBLIC}
    for url in ("", "https://other.29next.store/api/admin/"):
        read = load(**given, BRIDGE_ENCRYPTION_KEYS=KEY, NEXT_BASE_URL=url, LOG_LEVEL="WARNING")
        assert read.base_url_of(SHOP) == f"https://{DOMAIN}/api/admin/"
        with contextlib.closing(Database(light_url)) as database:
            there = create_app(read, database).test_client().get(f"/install?store={DOMAIN}").location
        assert there.startswith(f"https://{DOMAIN}/oauth2/authorize/?")


def test_29next_is_told_to_tell_of_the_store(agency: Agency) -> None:
    agency.install()
    assert agency.hook["target"] == f"{PUBLIC}/webhooks/next/{SHOP}"
    assert {"app.uninstalled", "transaction.created"} <= set(agency.hook["events"])
    agency.install()
    assert len(agency.next29.stores[SHOP].webhooks.by_id) == 1


def test_who_reads_what_a_store_s_webhooks_are_signed_with_speaks_for_no_other(agency: Agency) -> None:
    agency.install()
    agency.install("delta.29next.store")
    secret = agency.hook["secret_key"]
    assert secret != NEXT_SECRET
    assert agency.tell_app(secret, "/webhooks/next/delta") == 401
    assert agency.tell_app(secret, "/webhooks/next") == 401
    assert agency.tell_app(secret) == 200
    assert agency.tell_app(NEXT_SECRET, "/webhooks/next") == 200


def test_a_store_that_lets_nobody_subscribe_is_installed_all_the_same(agency: Agency) -> None:
    agency.next29.add_faults(fault("403", path="/webhooks/"))
    agency.install()
    assert agency.stores[SHOP].token == agency.token


def test_the_pages_carry_the_same_headers_as_all_others(agency: Agency) -> None:
    back = agency.asked()
    for path in (f"/install?store={DOMAIN}", "/install?store=x", back, back):
        answer = agency.browse(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert answer.headers["Cache-Control"] == "no-store"


def test_the_cookie_is_for_this_site_and_no_script(agency: Agency) -> None:
    answer = agency.browse(f"/install?store={DOMAIN}", base_url="https://alerts.example.com")
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax"))


# --- whoever tries it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "gamma",
        "29next.store",
        ".29next.store",
        "169.254.169.254",
        "169.254.169.254.29next.store",
        "[::1]",
        "localhost",
        "127.0.0.1:8000",
        "evil.com",
        "evil.com#.29next.store",
        "evil.com/.29next.store",
        "evil.com?.29next.store",
        "evil.com\\.29next.store",
        "evil.com%2f.29next.store",
        "user@x.29next.store",
        "user:word@x.29next.store",
        "x.29next.store:443",
        "x.29next.store/",
        "x.29next.store.",
        "x.29next.store.evil.com",
        "x.29next.store@evil.com",
        "a.b.29next.store",
        "https://x.29next.store",
        "//x.29next.store",
        " x.29next.store",
        "x.29next.store\n",
        "x\r\n.29next.store",
        "x\0.29next.store",
        "-x.29next.store",
        "x-.29next.store",
        "x_y.29next.store",
        "xn--gmma-5na.29next.store",
        "g\u00e4mma.29next.store",
        "g\uff41mma.29next.store",  # an a in full width
        "\u212aelvin.29next.store",  # a Kelvin sign, which is a k in small letters
        "gamma\u300229next\u3002store",  # full stops of another script, which IDNA takes for dots
        "gamma.29next.st\u043ere",  # a Cyrillic letter
        "x" * 64 + ".29next.store",
        "x29next.store",
    ],
)
def test_what_is_not_just_a_store_s_domain_is_refused(door: Agency, domain: str) -> None:
    answer = door.browse(f"/install?{urlencode({'store': domain})}")
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert "Set-Cookie" not in answer.headers


def test_a_domain_in_capitals_is_the_same_store(agency: Agency) -> None:
    agency.install("GAMMA.29Next.Store")
    assert list(agency.stores) == [SHOP]


def without(path: str, *names: str, **changes: str) -> str:
    """A path with another query."""
    parts = urlsplit(path)
    query = {name: value for name, value in parse_qsl(parts.query) if name not in names}
    return f"{parts.path}?{urlencode({**query, **changes})}"


@pytest.mark.parametrize(
    "changed",
    [
        lambda path: without(path, "state"),
        lambda path: without(path, state=""),
        lambda path: without(path, state="guessed"),
        lambda path: without(path, state="\u00e4"),
        lambda path: without(path, store="other.29next.store"),
        lambda path: without(path, store="169.254.169.254"),
        lambda _: "/authorize",
    ],
)
def test_an_answer_that_was_not_asked_for_is_refused_and_the_real_one_still_counts(
    agency: Agency, changed: Any
) -> None:
    back = agency.asked()
    assert agency.browse(changed(back)).status_code == 400
    assert not agency.next29.oauth.granted
    assert agency.browse(back).status_code == 200


def test_an_answer_counts_in_the_browser_that_asked_only(agency: Agency) -> None:
    """Else a merchant could be led to install somebody else's store, or another's code be used up."""
    back = agency.asked()
    mine, agency.client = agency.client, agency.app.test_client()
    assert agency.browse(back).status_code == 400
    agency.asked()
    assert agency.browse(back).status_code == 400
    assert not agency.next29.oauth.granted
    agency.client = mine
    assert agency.browse(back).status_code == 200


def test_an_answer_counts_once_even_with_the_cookie_from_before(agency: Agency) -> None:
    back = agency.asked()
    cookie = agency.client.get_cookie("bridge_session")
    assert cookie
    assert agency.browse(back).status_code == 200
    assert agency.browse(back).status_code == 400
    before = len(agency.next29.ledger.calls)
    agency.client.set_cookie("bridge_session", cookie.value)
    answer = agency.browse(back)
    assert (answer.status_code, "used already" in answer.text) == (400, True)
    assert len(agency.next29.ledger.calls) == before


def test_an_answer_counts_for_ten_minutes(agency: Agency) -> None:
    back = agency.asked()
    agency.clock.sleep(install.ANSWER_SECONDS)
    assert agency.browse(back).status_code == 400
    back = agency.asked()
    agency.clock.sleep(install.ANSWER_SECONDS - 5)
    assert agency.browse(back).status_code == 200


def test_a_merchant_who_says_no_changes_nothing(agency: Agency) -> None:
    agency.install()
    token = agency.token
    agency.next29.oauth.consents = False
    answer = agency.browse(agency.asked())
    assert (answer.status_code, "access_denied" in answer.text) == (403, True)
    agency.look()
    assert agency.stores[SHOP].token == token


def test_what_a_store_says_of_its_no_is_not_shown_but_for_a_word(agency: Agency) -> None:
    back = without(agency.asked(), "code", error="<script>alert(1)</script>", error_description="canary")
    answer = agency.browse(back)
    assert answer.status_code == 403
    assert "script>alert" not in answer.text
    assert "canary" not in answer.text


def said(body: str, status: int = 200, **changes: Any) -> Fault:
    return Fault(Does.ANSWER, status=status, body=body, **changes)


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        (said('{"error": "invalid_grant", "error_description": "canary"}', 400), 502, "(400: invalid_grant)"),
        (said('{"error": "<b>canary</b>"}', 400), 502, "(400)"),
        (said('{"error": "invalid_client"}', 401), 502, "(401: invalid_client)"),
        (said('{"detail": "canary"}', 403), 502, "(403)"),
        (said("{}", 429), 503, "(429)"),
        (said("canary", 500), 503, "(500)"),
        (said('{"access_token": "canary-token", "token_type": "Bearer"}', 500), 503, "(500)"),
        (said("<html>canary</html>", content_type="text/html"), 502, "(200)"),
        (said(""), 502, "(200)"),
        (said("[" * 100_000), 502, "(200)"),
        (said("[]"), 502, "(200)"),
        (said("{}"), 502, "(200)"),
        (said('{"access_token": null, "token_type": "Bearer"}'), 502, "(200)"),
        (said('{"access_token": "two canary words", "token_type": "Bearer"}'), 502, "(200)"),
        (said('{"access_token": "canary-\\r\\nX: y", "token_type": "Bearer"}'), 502, "(200)"),
        (said('{"access_token": "canary-token", "token_type": "mac"}'), 502, "(200)"),
        (said('{"access_token": "canary-token"}', 302, location="http://169.254.169.254/"), 502, "(302)"),
        (said(" ", size=10_000_000), 502, "(200)"),
        (Fault(Does.HANG, seconds=5), 503, "did not answer within"),
        (Fault(Does.CLOSE), 503, "broke"),
    ],
)
def test_a_store_that_gives_no_token_is_told_so_and_nothing_is_installed(
    door: Agency, monkeypatch: pytest.MonkeyPatch, trouble: Fault, status: int, words: str
) -> None:
    monkeypatch.setattr(install, "TOKEN_SECONDS", 0.5)
    back = door.asked()
    door.next29.add_faults(trouble)
    answer = door.browse(back)
    door.next29.faults.clear()
    assert answer.status_code == status
    assert words in answer.text
    assert "canary" not in answer.text
    door.look()
    assert not door.stores


def test_a_29next_that_is_away_is_said(agency: Agency) -> None:
    back = agency.asked()
    agency.next29.stop()
    answer = agency.browse(back)
    assert (answer.status_code, "cannot be reached" in answer.text) == (503, True)


def test_a_code_that_29next_does_not_know_gives_nothing(agency: Agency) -> None:
    answer = agency.browse(without(agency.asked(), code="guessed"))
    assert (answer.status_code, "invalid_grant" in answer.text) == (502, True)


def test_few_tokens_are_fetched_at_once_so_that_threads_are_left_for_alerts(agency: Agency) -> None:
    back = agency.asked()
    with contextlib.ExitStack() as held:
        for _ in range(4):
            held.enter_context(install.FETCHING)
        assert agency.browse(back).status_code == 503
    agency.install()


@pytest.mark.parametrize("path", [f"/install?store={DOMAIN}", "/authorize?state=x&code=y"])
def test_without_a_client_there_is_nothing_to_install_and_what_is_installed_goes_on(
    next29: StandIn, light_url: str, path: str
) -> None:
    with bridge(next29, light_url) as agency:
        agency.install()
    with bridge(next29, light_url, NEXT_CLIENT_ID="", NEXT_CLIENT_SECRET="") as agency:
        assert agency.browse(path).status_code == 404
        answer = agency.client.get(path)
        assert (answer.status_code, answer.json and answer.json["error"]) == (404, "not_found")
        assert agency.stores[SHOP].token == agency.token


def test_installing_needs_no_password_and_gives_no_look_at_the_log(agency: Agency) -> None:
    agency.install()
    answer = agency.client.get("/deliveries")
    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/deliveries")


# --- what an installed store gets -----------------------------------------------------------------


def test_an_installed_store_gets_what_a_route_or_a_path_names_and_nothing_else(
    next29: StandIn, light_url: str
) -> None:
    next29.add_token("token-of-alpha", "alpha")
    toml = f"""
        stores.alpha = {{ token_env = "ALPHA_TOKEN", base_url = "{next29.base_url}" }}
        routes = [{{ mid = "700100200", store = "{SHOP}" }}]
    """
    with bridge(next29, light_url, toml, ALPHA_TOKEN="token-of-alpha") as agency:
        early = agency.post(agency.senders.prevention())
        agency.work()
        assert agency.standing(early) == ("failed", "no_store")
        assert SHOP in agency.delivery(early)["message"]
        agency.install()
        for sent, where in (
            (agency.senders.prevention(), [SHOP]),
            (agency.senders.prevention(mid="other"), []),
            (agency.senders.ethoca(), []),
            (agency.senders.ethoca("alpha"), ["alpha"]),
            (agency.senders.ethoca(SHOP), [SHOP]),
        ):
            agency.post(sent)
            agency.work()
            assert sent.opens
            assert agency.disputed(sent.opens[0]) == where
        agency.inside.replay(early)
        agency.work()
        assert agency.standing(early) == ("forwarded", None)


def test_a_store_that_is_alone_is_not_told_of_another_s_transactions(agency: Agency) -> None:
    agency.install()
    agency.tell("transaction.created", {"id": 7001, "amount": "1.00"})
    agency.work()
    assert agency.standing(agency.newest()) == ("failed", "no_store")


def test_a_configured_store_keeps_its_token(next29: StandIn, light_url: str) -> None:
    next29.add_token("token-by-hand", SHOP)
    toml = f'[stores.{SHOP}]\ntoken_env = "GAMMA_TOKEN"\nbase_url = "{next29.base_url}"'
    with bridge(next29, light_url, toml, GAMMA_TOKEN="token-by-hand") as agency:
        agency.install()
        assert agency.stores[SHOP].token == "token-by-hand"
        sent = agency.senders.ethoca(SHOP)
        agency.post(sent)
        agency.work()
        tokens = {call.token for call in next29.ledger.calls if call.path == "/disputes/"}
        assert tokens == {"token-by-hand"}
        tokens = {row.token for row in inside.rows(agency.database, "stores")}
        assert tokens == {inside.kept_token("token-by-hand")}
        agency.uninstall()
        agency.tend()
        assert agency.paused() == {}


def test_a_table_without_a_token_says_how_a_store_is_treated_once_it_is_installed(
    next29: StandIn, light_url: str
) -> None:
    toml = f'[stores.{SHOP}]\nobserve = true\nbase_url = "{next29.base_url}"\nmetadata = []'
    with bridge(next29, light_url, toml) as agency:
        alert = agency.post(agency.senders.ethoca(SHOP))
        agency.tend()
        agency.work()
        assert agency.paused() == {SHOP: NOT_INSTALLED}
        assert agency.standing(alert) == ("pending", "store_paused")
        agency.install()
        agency.work()
        assert agency.standing(alert) == ("ignored", "ignore")
        assert agency.stores[SHOP].metadata == ()


# --- tokens ---------------------------------------------------------------------------------------


def kept(agency: Agency) -> dict[str, str | None]:
    """The tokens as they are kept."""
    return {row.store: row.token for row in inside.rows(agency.database, "installations")}


def test_keys_are_changed_without_losing_a_token(next29: StandIn, database_url: str) -> None:
    with bridge(next29, database_url) as agency:
        agency.install()
        agency.install("delta.29next.store")
    with bridge(next29, database_url, BRIDGE_ENCRYPTION_KEYS=f"{NEWER}, {KEY}") as agency:
        before = kept(agency)
        assert agency.stores[SHOP].token == agency.token
        agency.tend()
        assert all(before[name] != token for name, token in kept(agency).items())
        agency.install("omega.29next.store")
        after = kept(agency)
        agency.tend()
        assert kept(agency) == after
    with bridge(next29, database_url, BRIDGE_ENCRYPTION_KEYS=NEWER) as agency:
        assert {name: agency.stores[name].token for name in after} == next29.oauth.granted


def test_a_lost_key_lets_alerts_wait_until_it_is_back(next29: StandIn, light_url: str) -> None:
    with bridge(next29, light_url) as agency:
        agency.install()
    with bridge(next29, light_url, BRIDGE_ENCRYPTION_KEYS=NEWER) as agency:
        alert = agency.post(agency.senders.ethoca(SHOP))
        agency.tend()
        agency.work()
        assert agency.paused() == {SHOP: LOCKED}
        assert agency.standing(alert) == ("pending", "store_paused")
        assert "/disputes/" not in str(agency.calls())
    with bridge(next29, light_url, BRIDGE_ENCRYPTION_KEYS=f"{NEWER},{KEY}") as agency:
        agency.tend()
        agency.work()
        assert agency.paused() == {}
        assert agency.standing(alert) == ("forwarded", None)


def test_a_lost_key_does_not_matter_to_who_installs_anew(next29: StandIn, light_url: str) -> None:
    with bridge(next29, light_url) as agency:
        agency.install()
    with bridge(next29, light_url, BRIDGE_ENCRYPTION_KEYS=NEWER) as agency:
        alert = agency.post(agency.senders.ethoca(SHOP))
        agency.tend()
        agency.install()
        agency.work()
        assert agency.standing(alert) == ("forwarded", None)


def test_a_token_opens_in_its_own_store_s_row_only(agency: Agency) -> None:
    agency.install()
    agency.install("delta.29next.store")
    steal = text("UPDATE installations SET token = :token WHERE store = :store")
    moved = {"token": kept(agency)["delta"], "store": SHOP}
    agency.database.write(lambda connection: connection.execute(steal, moved))
    agency.look()
    assert (agency.stores[SHOP].token, agency.stores[SHOP].missing) == ("", LOCKED)
    assert agency.stores["delta"].token


# --- removed, and installed again -----------------------------------------------------------------


def test_alerts_of_a_removed_store_wait_and_go_on_when_it_is_installed_anew(
    next29: StandIn, database_url: str
) -> None:
    with bridge(next29, database_url) as agency:
        agency.install()
        first, second = agency.senders.ethoca(SHOP), agency.senders.ethoca(SHOP)
        agency.post(first)
        agency.work()
        next29.revoke(agency.token)
        agency.uninstall()
        assert kept(agency) == {SHOP: None}
        waits = agency.post(second)
        calls = len(agency.calls())
        agency.work()
        assert len(agency.calls()) == calls
        agency.tend()
        agency.work()
        assert agency.paused() == {SHOP: UNINSTALLED}
        assert agency.standing(waits) == ("pending", "store_paused")
        assert len(agency.calls()) == calls
        deadline = agency.delivery(waits)["deadline_at"]
        agency.clock.sleep(3600)
        agency.install()
        agency.work()
        assert agency.paused() == {}
        assert agency.standing(waits) == ("forwarded", None)
        assert agency.delivery(waits)["deadline_at"] > deadline
        assert agency.case(first)["dispute_id"] < agency.case(second)["dispute_id"]


def test_an_installed_store_is_recovered_by_its_name(
    next29: StandIn, light_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with bridge(next29, light_url) as agency:
        for name, value in surroundings(next29, DATABASE_URL=light_url).items():
            monkeypatch.setenv(name, value)
        words = ["recover", "--since", "2000-01-01", "--store", SHOP]
        assert cli.main(words) == 1
        assert "There is no store" in capsys.readouterr().err
        agency.install()
        agency.post(agency.senders.ethoca(SHOP))
        agency.work()
        assert cli.main(words) == 0
        assert "before anything is sent for them: 1" in capsys.readouterr().out


def test_a_removed_store_is_forgotten_by_a_command_and_is_no_alarm_any_more(
    next29: StandIn, light_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with bridge(next29, light_url) as agency:
        for name, value in surroundings(next29, DATABASE_URL=light_url).items():
            monkeypatch.setenv(name, value)
        agency.install()
        assert cli.main(["stores", "--forget", SHOP]) == 1
        assert "Its merchant must remove the app first" in capsys.readouterr().err
        agency.uninstall()
        waits = agency.post(agency.senders.ethoca(SHOP))
        agency.work()
        agency.tend()
        agency.work()
        assert agency.paused() == {SHOP: UNINSTALLED}
        assert cli.main(["stores", "--forget", SHOP]) == 0
        assert "forgotten. Put aside: 1" in capsys.readouterr().out
        agency.inside.jobs.refresh_stores(agency.stores)  # by what it knew before
        agency.tend()
        assert (agency.paused(), kept(agency)) == ({}, {})
        assert agency.standing(waits) == ("ignored", "dismissed")
        assert cli.main(["stores", "--forget", SHOP]) == 1
        assert "There is no store" in capsys.readouterr().err
        agency.install()
        assert agency.inside.replay(waits) == [waits]
        agency.work()
        agency.clock.sleep(10)  # a case that is replayed is looked for twice
        agency.work()
        assert agency.standing(waits) == ("forwarded", None)


def test_a_store_that_refused_its_token_goes_on_at_once_with_a_new_one(agency: Agency) -> None:
    agency.install()
    token_at_29next = agency.token
    agency.next29.revoke(token_at_29next)
    alert = agency.post(agency.senders.ethoca(SHOP))
    agency.work()
    assert "401" in agency.paused()[SHOP]
    agency.install()
    agency.work()
    assert agency.standing(alert) == ("forwarded", None)


def test_what_a_person_has_paused_stays_so(agency: Agency) -> None:
    agency.install()
    agency.inside.pause(SHOP)
    agency.uninstall()
    agency.tend()
    agency.install()
    agency.tend()
    assert agency.paused() == {SHOP: inside.PAUSED_BY_HAND}


def test_a_removal_from_before_the_installation_is_too_late(agency: Agency) -> None:
    agency.install()
    agency.tell_removal()
    agency.install()
    agency.work()
    agency.look()
    assert agency.stores[SHOP].token == agency.token


@pytest.mark.parametrize("store", ["delta", "", None])
def test_a_removal_concerns_the_store_that_it_names(agency: Agency, store: str | None) -> None:
    agency.install()
    assert agency.tell_app(NEXT_SECRET, "/webhooks/next", webhook={"id": 1, "store": store}) == 200
    agency.work()
    agency.look()
    assert agency.stores[SHOP].token == agency.token


# --- what is shown --------------------------------------------------------------------------------


def signed_in(agency: Agency) -> None:
    page = agency.browse("/sign-in").text
    token = page.partition('name="form_token" value="')[2].partition('"')[0]
    answer = agency.client.post("/sign-in", data={"password": PASSWORD, "form_token": token})
    assert answer.status_code == 303


def test_the_log_offers_a_link_and_shows_who_has_installed(agency: Agency) -> None:
    agency.install()
    signed_in(agency)
    page = agency.browse("/stores?install=Delta.29next.store").text
    assert ">https://alerts.example.com/install?store=delta.29next.store</a>" in page
    assert f'href="{PUBLIC}/install?store=delta.29next.store"' in agency.browse("/stores?install=delta").text
    assert "That is not a store" in agency.browse("/stores?install=evil.com").text
    assert "installed" in page
    agency.uninstall()
    agency.tend()
    agency.app.extensions["settings"].stores.read()
    page = agency.browse("/stores").text
    assert UNINSTALLED in page
    token = page.partition('name="form_token" value="')[2].partition('"')[0]
    agency.client.post(f"/stores/{SHOP}/resume", data={"form_token": token})
    assert "cannot be resumed" in agency.browse("/stores").text
    assert agency.paused() == {SHOP: UNINSTALLED}


def test_the_doctor_tells_of_tokens_that_are_not_there(next29: StandIn, light_url: str) -> None:
    with bridge(next29, light_url) as agency:
        agency.install()
        checks = {one.name: one for one in doctor.examine(agency.settings, agency.database)}
        assert checks[f"{SHOP}: disputes:write"].good
        assert checks[f"{SHOP}: webhooks"].good, checks[f"{SHOP}: webhooks"]
    with bridge(next29, light_url, BRIDGE_ENCRYPTION_KEYS=NEWER) as agency:
        calls = len(agency.calls())
        checks = {one.name: one for one in doctor.examine(agency.settings, agency.database)}
        check = checks[f"{SHOP}: token"]
        assert (check.good, check.message) == (False, LOCKED)
        assert f"/install?store={DOMAIN}" in check.fix
        assert len(agency.calls()) == calls


# --- settings -------------------------------------------------------------------------------------

CLIENT = {"NEXT_CLIENT_ID": "id", "NEXT_CLIENT_SECRET": "canary-s3cret"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"NEXT_CLIENT_ID": "id"}, ["NEXT_CLIENT_SECRET", "BRIDGE_PUBLIC_URL", "BRIDGE_ENCRYPTION_KEYS"]),
        ({"NEXT_CLIENT_SECRET": "canary"}, ["NEXT_CLIENT_ID", "BRIDGE_PUBLIC_URL", "BRIDGE_ENCRYPTION_KEYS"]),
        (CLIENT, ["BRIDGE_PUBLIC_URL", "BRIDGE_ENCRYPTION_KEYS"]),
        ({**CLIENT, "BRIDGE_PUBLIC_URL": PUBLIC}, ["BRIDGE_ENCRYPTION_KEYS"]),
        (
            {**CLIENT, "BRIDGE_PUBLIC_URL": "http://alerts.example.com", "BRIDGE_ENCRYPTION_KEYS": KEY},
            ["BRIDGE_PUBLIC_URL"],
        ),
        (
            {"NEXT_CLIENT_ID": "two words", "NEXT_CLIENT_SECRET": "s"},
            ["NEXT_CLIENT_ID", "BRIDGE_PUBLIC_URL", "BRIDGE_ENCRYPTION_KEYS"],
        ),
        ({"BRIDGE_ENCRYPTION_KEYS": "canary"}, ["BRIDGE_ENCRYPTION_KEYS"]),
        ({"BRIDGE_ENCRYPTION_KEYS": f"{KEY},"}, ["BRIDGE_ENCRYPTION_KEYS"]),
        ({"BRIDGE_ENCRYPTION_KEYS": f"{KEY[:-1]}"}, ["BRIDGE_ENCRYPTION_KEYS"]),
        ({"BRIDGE_ENCRYPTION_KEYS": f"canary+{KEY}"}, ["BRIDGE_ENCRYPTION_KEYS"]),
        ({"BRIDGE_ENCRYPTION_KEYS": "\u00e4" * 44}, ["BRIDGE_ENCRYPTION_KEYS"]),
    ],
)
def test_what_is_missing_or_wrong_is_told_by_name_and_no_secret_is_shown(
    given: dict[str, str], names: list[str]
) -> None:
    told = problems(**given)
    assert sorted(one.partition(":")[0] for one in told) == sorted(names)
    assert "canary" not in "".join(told)
    assert KEY[:20] not in "".join(told)


def test_the_wrong_key_is_named_by_its_place() -> None:
    (told,) = problems(BRIDGE_ENCRYPTION_KEYS=f"{KEY},canary")
    assert "key 2 of 2 is not a key" in told


def test_a_key_that_the_documentation_makes_is_one() -> None:
    assert load(BRIDGE_ENCRYPTION_KEYS=f"{Fernet.generate_key().decode()} , {KEY}").encryption_keys[1] == KEY


# --- processes ------------------------------------------------------------------------------------


def test_a_worker_that_runs_already_works_for_a_new_store(tmp_path: Path, light_url: str) -> None:
    environ = {
        "NEXT_CLIENT_ID": CLIENT_ID,
        "NEXT_CLIENT_SECRET": CLIENT_SECRET,
        "BRIDGE_ENCRYPTION_KEYS": KEY,
        "BRIDGE_PUBLIC_URL": PUBLIC,
        "BRIDGE_PASSWORD": PASSWORD,
        "LOG_LEVEL": "DEBUG",
    }
    with running_bridge(tmp_path, light_url, environ=environ) as bridge, requests.Session() as browser:
        environ["NEXT_BASE_URL"] = bridge.next29.base_url
        browser.trust_env = False
        bridge.start()
        first = Senders(1).prevention("alpha")
        bridge.deliver(first)
        bridge.wait(first)
        there = browser.get(f"{bridge.url}/install?store={DOMAIN}", allow_redirects=False, timeout=10)
        back = browser.get(there.headers["Location"], allow_redirects=False, timeout=10)
        answer = browser.get(back.headers["Location"].replace(PUBLIC, bridge.url), timeout=10)
        assert answer.status_code == 200, answer.text
        sent = Senders(2, "U").prevention(SHOP)
        bridge.deliver(sent)
        bridge.wait(sent)
        assert len(bridge.disputes(sent)) == 1
        chosen = load(DATABASE_URL=light_url, BRIDGE_ENCRYPTION_KEYS=KEY)
        bridge.tokens[SHOP] = with_installed(chosen, bridge.database).stores[SHOP].token
        assert len(bridge.tokens[SHOP]) >= 20
        asked = browser.get(f"{bridge.url}/sign-in", timeout=10).text
        token = asked.partition('name="form_token" value="')[2].partition('"')[0]
        form = {"form_token": token, "password": PASSWORD, "next": "/stores"}
        page = browser.post(f"{bridge.url}/sign-in", form, timeout=10).text
        assert SHOP in page, bridge.web and bridge.web.said()[-3000:]
        bridge.audit()


@pytest.mark.skipif(chromium() is None, reason=MISSING)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Playwright's driver closes its pipes too late
def test_a_browser_goes_the_whole_way_by_clicks(agency: Agency) -> None:
    with served(agency.app) as here, sync_playwright() as playwright, launch(playwright) as browser:
        known = agency.app.extensions
        known["settings"] = replace(known["settings"], public_url=here)
        page = browser.new_page()
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(f"{here}/stores")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Store").fill(DOMAIN)
        page.get_by_role("button", name="Create the link").click()
        page.get_by_role("link", name=f"{here}/install?store={DOMAIN}").click()
        page.get_by_role("heading", name="Installed").wait_for()
        page.goto(f"{here}/stores")
        assert page.get_by_role("heading", name=SHOP).is_visible()
        assert not wrong
