"""The settings: every variable and every key is read, checked, and documented."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge import cli, providers, settings
from bridge.alert import RESOLUTIONS, Alert, DisputeType
from bridge.disputes import payloads
from bridge.errors import SettingsError
from bridge.providers import custom
from bridge.settings.file import METADATA_KEYS
from bridge.storage.database import Database
from bridge.storage.inbox import open_inbox
from bridge.storage.search import Search
from bridge.web.app import create_app
from bridge.worker.translate import Translator
from tests.conftest import MakeDatabase
from tests.support.configuring import LOOPBACK_URLS, PUBLIC_URLS, blocks, load, problems
from tests.support.documents import ROOT
from tests.support.ethoca import KEYS
from tests.support.trying import tried_with

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text("utf-8")
STORE = {"NEXT_STORE": "example", "NEXT_ACCESS_TOKEN": "a-token"}
CANARY = "canary-s3cret"


def test_nothing_at_all_is_enough_to_start_with() -> None:
    read = settings.load({}, ROOT)
    assert (read.stores, read.default_store, read.routes) == ({}, None, ())
    assert (read.database_url, read.port, read.api_version) == ("sqlite:///bridge.db", 8000, "2023-02-10")
    assert (read.rate, read.timeout, read.settle_seconds) == (4.0, 20.0, 60.0)
    assert not any(read.secrets.values())


def test_an_empty_variable_counts_as_unset() -> None:
    names = (
        "NEXT_STORE",
        "NEXT_RATE",
        "PORT",
        "DATABASE_URL",
        "BRIDGE_PASSWORD",
        "ETHOCA_SECRET",
        "LOG_LEVEL",
    )
    assert settings.load(dict.fromkeys(names, " "), ROOT) == settings.load({}, ROOT)


# --- numbers and words --------------------------------------------------------------------------


@tried_with(
    ("name", "value"),
    [
        *(("PORT", value) for value in ("http", "0", "-1", "65536", "80.5", "8e3", "0x50", "\u0661\u0662")),
        *(("BRIDGE_PROXY_HOPS", value) for value in ("one", "-1", "10", "1.5", "+1", "0x1", "1,2", "true")),
        *(("WEB_CONCURRENCY", value) for value in ("many", "0", "1.5", "-2")),
        *(("NEXT_RATE", value) for value in ("fast", "-1", "nan", "inf", "1e2", "101", "1_0")),
        *(("NEXT_TIMEOUT", value) for value in ("0", "soon", "301", "nan")),
        *(("NEXT_SETTLE_SECONDS", value) for value in ("-1", "3601", "1m")),
        *(("LOG_LEVEL", value) for value in ("loud", "10", "INFO,DEBUG")),
        *(("NEXT_API_VERSION", value) for value in ("latest", "2023-2-10", "2023-02-10\nX: y")),
        ("ALLOW_EPHEMERAL_SQLITE", "maybe"),
    ],
)
def test_junk_in_a_variable_is_told_with_what_is_expected(name: str, value: str) -> None:
    [problem] = problems(**{name: value})
    assert problem.startswith(f"{name}: expected ")
    assert name == "ALLOW_EPHEMERAL_SQLITE" or problem.endswith(f", not {value!r}")


@tried_with(
    ("name", "value", "field", "expected"),
    [
        ("PORT", "1", "port", 1),
        ("PORT", "65535", "port", 65535),
        ("NEXT_RATE", "0", "rate", 0.0),
        ("NEXT_RATE", "2.5", "rate", 2.5),
        ("NEXT_TIMEOUT", "0.5", "timeout", 0.5),
        ("NEXT_SETTLE_SECONDS", "0", "settle_seconds", 0.0),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("NEXT_API_VERSION", "2024-04-01", "api_version", "2024-04-01"),
        ("BRIDGE_PUBLIC_URL", "https://alerts.example.com/", "public_url", "https://alerts.example.com/"),
        ("BRIDGE_PASSWORD", "correct horse", "password", "correct horse"),
        ("BRIDGE_API_TOKEN", "tok", "api_token", "tok"),
        ("SECRET_KEY", "key", "secret_key", "key"),
        ("BRIDGE_BIND", "127.0.0.1:8000", "on_loopback", True),
        ("BRIDGE_BIND", "[::1]:8000", "on_loopback", True),
        ("BRIDGE_BIND", "localhost:8000", "on_loopback", True),
        ("BRIDGE_BIND", "0.0.0.0:8000", "on_loopback", False),
        ("BRIDGE_BIND", "127.0.0.1.example.com:80", "on_loopback", False),
        ("BRIDGE_BIND", "localhost.example.com:80", "on_loopback", False),
        ("DYNO", "web.1", "proxy_hops", 1),
        ("RENDER", "true", "proxy_hops", 2),
        ("BRIDGE_PROXY_HOPS", "9", "proxy_hops", 9),
        ("HOME", "/", "proxy_hops", 0),
    ],
)
def test_a_variable_sets_what_it_says(name: str, value: str, field: str, expected: object) -> None:
    read = load(**{name: value, "ALLOW_EPHEMERAL_SQLITE": "1"})
    assert getattr(read, field) == expected


@pytest.mark.parametrize(
    "url",
    ["alerts.example.com", "ftp://a.example", "https://", "https://u:p@a.example", "https://a.example/#x"],
)
def test_the_public_url_is_a_url(url: str) -> None:
    [problem] = problems(BRIDGE_PUBLIC_URL=url)
    assert problem.startswith("BRIDGE_PUBLIC_URL: expected a URL such as")


@tried_with("platform", ["DYNO", "RENDER"])
@tried_with("hops", ["0", "1", "3"])
def test_the_hops_that_are_set_go_before_the_platform_s(platform: str, hops: str) -> None:
    read = load(**{platform: "x", "BRIDGE_PROXY_HOPS": hops, "ALLOW_EPHEMERAL_SQLITE": "1"})
    assert read.proxy_hops == int(hops)


LOOPBACK = ("127.0.0.1:8000", "[::1]:8000", "localhost:8000", "LOCALHOST:8000")


@tried_with("bind", LOOPBACK)
@tried_with("url", PUBLIC_URLS)
def test_a_server_here_that_is_public_needs_a_password(bind: str, url: str) -> None:
    said = problems(BRIDGE_BIND=bind, BRIDGE_PUBLIC_URL=url, NEXT_TIMEOUT="soon")
    assert said == [
        "NEXT_TIMEOUT: expected a number from 0.1 to 300, not 'soon'",
        "BRIDGE_PASSWORD: missing; set a long one, since BRIDGE_PUBLIC_URL makes this server public",
    ]
    read = load(BRIDGE_BIND=bind, BRIDGE_PUBLIC_URL=url, BRIDGE_PASSWORD="p")
    assert not read.is_local
    assert read.api_token is None  # which switches the API off, and is no error


@tried_with(
    "bind",
    ["127.0.0.1:abc", "127.0.0.1:99999", "127.0.0.1:", "127.0.0.1", ":8000", "localhost:8,0", "x:\u0664"],
)
def test_an_address_to_bind_to_is_a_host_and_a_port(bind: str) -> None:
    [problem] = problems(BRIDGE_BIND=bind)
    assert problem.startswith("BRIDGE_BIND: expected a host and a port, such as 127.0.0.1:8000")


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:8000", "unix:/run/bridge.sock", "fd://3", "web:65535"])
def test_other_addresses_can_be_bound_to(bind: str) -> None:
    assert not load(BRIDGE_BIND=bind).on_loopback


@tried_with("url", LOOPBACK_URLS)
def test_a_url_of_this_machine_is_not_public(url: str) -> None:
    assert load(BRIDGE_BIND="127.0.0.1:8000", BRIDGE_PUBLIC_URL=url).is_local


def test_a_server_that_is_bound_elsewhere_needs_no_password() -> None:
    for bind in ("", "0.0.0.0:8000"):
        assert not load(BRIDGE_BIND=bind, BRIDGE_PUBLIC_URL="https://alerts.example.com").is_local


def test_known_proxies_are_no_reason_to_do_without_a_password() -> None:
    assert load(BRIDGE_BIND="127.0.0.1:8000").is_local
    assert not load(BRIDGE_BIND="127.0.0.1:8000", BRIDGE_PROXY_HOPS="1").is_local


def test_the_printed_url_is_the_public_one() -> None:
    assert (
        load(BRIDGE_PUBLIC_URL="https://a.example/").url_of("ethoca") == "https://a.example/webhooks/ethoca"
    )
    assert load(PORT="9000").url_of("ethoca") == "http://127.0.0.1:9000/webhooks/ethoca"


# --- the database -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgres_is_understood(scheme: str) -> None:
    assert load(DATABASE_URL=f"{scheme}://u:p@h:5/n").database_url == "postgresql+psycopg://u:p@h:5/n"


@tried_with(
    ("url", "expected"),
    [
        ("postgres://u:p@db.example.com/n", "postgresql+psycopg://u:p@db.example.com/n?sslmode=require"),
        (
            "postgres://u:p@h/n?application_name=x",
            "postgresql+psycopg://u:p@h/n?application_name=x&sslmode=require",
        ),
        ("postgres://u:p/#?@h/n", "postgresql+psycopg://u:p/#?@h/n?sslmode=require"),
        ("postgres://u:p@h/n?sslmode=verify-full", "postgresql+psycopg://u:p@h/n?sslmode=verify-full"),
        ("postgres://u:p@h/n?sslmode=disable", "postgresql+psycopg://u:p@h/n?sslmode=disable"),
        ("postgres://u:p@localhost/n", "postgresql+psycopg://u:p@localhost/n"),
        ("postgres://u:p@127.0.0.1:5432/n", "postgresql+psycopg://u:p@127.0.0.1:5432/n"),
        ("postgres://u:p@[::1]/n", "postgresql+psycopg://u:p@[::1]/n"),
        ("postgres:///n", "postgresql+psycopg:///n"),
        ("postgres://u@/n?host=/tmp/socket", "postgresql+psycopg://u@/n?host=/tmp/socket"),
        (
            "postgres://u@/n?host=db.example.com",
            "postgresql+psycopg://u@/n?host=db.example.com&sslmode=require",
        ),
    ],
)
def test_tls_to_a_database_elsewhere_is_required_on_heroku(url: str, expected: str) -> None:
    assert load(DATABASE_URL=url, DYNO="web.1").database_url == expected
    assert load(DATABASE_URL=url).database_url == expected.replace("?sslmode=require", "").replace(
        "&sslmode=require", ""
    )
    kept = load(DATABASE_URL=url, DYNO="web.1", PGSSLMODE="verify-ca").database_url
    assert "sslmode=require" not in kept


@tried_with(
    "url",
    [
        "bridge.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite+pysqlite:///x.db",
        "mysql://u:p@h/n",
        "postgresql+psycopg2://u:p@h/n",
        "postgresql+asyncpg://u:p@h/n",
        "postgres://",
        f"postgres://u:{CANARY}@@h/n",
        "postgres://u:p@h:port/n",
        "postgres://u:p@h:70000/n",
        "postgres://u:p@h/n?sslmode=on",
        "postgres://u:p@h\n/n",
        f"u:{CANARY}@h/n",
    ],
)
def test_a_database_that_is_none_is_told_without_its_password(url: str) -> None:
    [problem] = problems(DATABASE_URL=url)
    assert problem.startswith("DATABASE_URL: ")
    assert CANARY not in problem


def test_sqlite_is_refused_where_the_platform_throws_the_disk_away(tmp_path: Path) -> None:
    for platform in ({"DYNO": "web.1"}, {"RENDER": "true"}):
        [problem] = problems(DATABASE_URL=f"sqlite:///{tmp_path}/bridge.db", **platform)
        assert "deletes the disk" in problem
        assert load(ALLOW_EPHEMERAL_SQLITE="1", **platform).database_url.startswith("sqlite")


def test_sqlite_on_render_is_for_mounted_disks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    kept = f"sqlite:///{tmp_path}/data/bridge.db?timeout=3"
    assert load(DATABASE_URL=kept, RENDER="true").database_url == kept
    assert "deletes the disk" in problems(DATABASE_URL="sqlite:///bridge.db", RENDER="true")[0]
    assert "deletes the disk" in problems(DATABASE_URL=kept, DYNO="web.1")[0]


# --- secrets ------------------------------------------------------------------------------------


def test_a_provider_has_two_secrets_while_one_is_changed() -> None:
    read = load(ETHOCA_SECRET="new:one", ETHOCA_SECRET_PREVIOUS="old:one")
    assert read.secrets["ethoca"] == ("new:one", "old:one")
    assert read.secrets["verifi"] == ()


def test_29nexts_own_secret_has_a_name_of_its_own() -> None:
    assert load(NEXT_WEBHOOK_SECRET="key").secrets["next"] == ("key",)
    assert load(NEXT_SECRET="key").secrets["next"] == ()


def test_a_previous_secret_alone_is_a_mistake() -> None:
    assert problems(ETHOCA_SECRET_PREVIOUS="old:one") == [
        "ETHOCA_SECRET: missing, though ETHOCA_SECRET_PREVIOUS is set"
    ]


@pytest.mark.parametrize("name", ["ETHOCA_SECRET", "ETHOCA_SECRET_PREVIOUS", "CHARGEBLAST_SECRET"])
def test_a_secret_that_cannot_be_one_is_told_without_showing_it(name: str) -> None:
    said = problems(**{"ETHOCA_SECRET": "a:b", name: f"{CANARY}!"})
    assert [problem.partition(": ")[0] for problem in said] == [name]
    assert CANARY not in str(said)


@tried_with("value", ["two words", "line\nbreak", "caf\u00e9", "tab\there", "nul\x00"])
@tried_with("name", ["NEXT_ACCESS_TOKEN", "BRIDGE_API_TOKEN"])
def test_a_token_that_no_header_can_carry_is_told_without_showing_it(name: str, value: str) -> None:
    [problem, *_] = problems(**{**STORE, name: f"{CANARY}{value}"})
    assert problem.startswith(f"{name}: expected ")
    assert CANARY not in problem


def test_no_setting_shows_a_secret() -> None:
    read = load(
        '[notify]\nurl_env = "HOOK"\n',
        NEXT_STORE="example",
        NEXT_ACCESS_TOKEN=CANARY,
        ETHOCA_SECRET=f"u:{CANARY}",
        BRIDGE_PASSWORD=CANARY,
        BRIDGE_API_TOKEN=CANARY,
        SECRET_KEY=CANARY,
        DATABASE_URL=f"postgres://u:{CANARY}@h/n",
        HOOK=f"https://hooks.example.com/{CANARY}",
    )
    assert CANARY not in repr(read)


# --- stores -------------------------------------------------------------------------------------

EVIL_NAMES = [
    "169.254.169.254",
    "[::1]",
    "evil.com#.29next.store",
    "evil.com/.29next.store",
    "evil.com?.29next.store",
    "evil.com\\.29next.store",
    "user@evil",
    "user:pass@example.29next.store",
    "example\n.evil.com",
    "example.29next.store.evil.com",
    "https://example.29next.store/",
    "example:8080",
    "-example",
    "example-",
    "ex ample",
    "ex\u0430mple",
    ".29next.store",
    "..",
    "a" * 64,
    "%65xample",
]


@tried_with("name", EVIL_NAMES)
def test_a_stores_name_leads_nowhere_but_to_29next(name: str) -> None:
    [problem] = problems(NEXT_STORE=name, NEXT_ACCESS_TOKEN="t")
    assert problem == "NEXT_STORE: expected a name such as example or example.29next.store"
    table = f'[stores.{_quoted(name)}]\ntoken_env = "T"\n'
    [problem] = problems(table, T="t")
    assert "a store's name is its subdomain" in problem


EVIL_URLS = [
    "http://example.29next.store/api/admin/",
    "https://169.254.169.254/api/admin/",
    "http://169.254.169.254/api/admin/",
    "https://2852039166/api/admin/",
    "https://0xa9.0xfe.0xa9.0xfe/api/admin/",
    "https://[::ffff:169.254.169.254]/api/admin/",
    "https://[fd00::1]/api/admin/",
    "https://10.0.0.1/api/admin/",
    "https://metadata.google.internal/api/admin/",
    "https://printer.local/api/admin/",
    "https://intranet/api/admin/",
    "https://user@example.29next.store/api/admin/",
    "https://example.29next.store@evil.com/api/admin/",
    "https://evil.com#.29next.store/api/admin/",
    "https://evil.com?.29next.store/api/admin/",
    "https://evil.com\\.29next.store/api/admin/",
    "https://example.29next.store/x/../api/admin/",
    "https://example.29next.store/%2e%2e/api/admin/",
    "https://example.29next.store/api/admin",
    "https://example.29next.store/",
    "https://example.29next.store/api/admin/?x=/api/admin/",
    "https://exa\nmple.29next.store/api/admin/",
    "https://example.29next.store\t/api/admin/",
    "https://example..29next.store/api/admin/",
    "https://example.29next.store:0/api/admin/",
    "https://example.29next.store:99999/api/admin/",
    "https://example.29next.store:x/api/admin/",
    "https://ex\u0430mple.29next.store/api/admin/",
    "https:///api/admin/",
    "//example.29next.store/api/admin/",
    "file:///api/admin/",
    "example.29next.store/api/admin/",
]


@tried_with("url", EVIL_URLS)
def test_a_base_url_leads_to_a_name_by_https(url: str) -> None:
    [problem] = problems(NEXT_BASE_URL=url, **STORE)
    assert problem.startswith("NEXT_BASE_URL: expected ")
    [problem] = problems(f'[stores.alpha]\ntoken_env = "T"\nbase_url = {_quoted(url)}', T="t")
    assert problem.startswith("stores.alpha.base_url: expected ")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.29next.store/api/admin/",
        "https://proxy.example.com:8443/29next/api/admin/",
        "http://127.0.0.1:8001/api/admin/",
        "http://localhost:8001/api/admin/",
        "http://[::1]:8001/api/admin/",
    ],
)
def test_a_base_url_may_be_another_name_or_this_machine(url: str) -> None:
    read = load('[stores.alpha]\ntoken_env = "T"', T="t", NEXT_BASE_URL=url, **STORE)
    assert read.stores["example"].base_url == url
    assert read.stores["alpha"].base_url == "https://alpha.29next.store/api/admin/"


def _quoted(text: str) -> str:
    """Write any text as TOML."""
    return '"' + "".join(f"\\U{ord(one):08x}" for one in text) + '"'


@pytest.mark.parametrize("name", ["example", "example.29next.store", " Example "])
def test_the_default_store_is_named_either_way(name: str) -> None:
    read = load(NEXT_STORE=name, NEXT_ACCESS_TOKEN="t")
    assert read.default_store == "example"
    assert read.stores["example"].base_url == "https://example.29next.store/api/admin/"


@pytest.mark.parametrize("name", ["NEXT_ACCESS_TOKEN", "NEXT_BASE_URL"])
def test_what_belongs_to_the_default_store_is_not_ignored_without_it(name: str) -> None:
    assert problems(**{name: "https://x.example/api/admin/"}) == [
        f"NEXT_STORE: missing, though {name} is set"
    ]


def test_a_store_needs_its_token() -> None:
    assert problems(NEXT_STORE="example") == ["NEXT_ACCESS_TOKEN: missing; expected the store's access token"]
    assert problems('[stores.alpha]\ntoken_env = "ALPHA_TOKEN"') == [
        "ALPHA_TOKEN: missing; expected the store's access token"
    ]
    assert problems("[stores.alpha]")[0].startswith("stores.alpha.token_env: missing; expected the name")


def test_a_store_s_token_must_be_there_also_where_something_else_has_its_variable() -> None:
    toml = '[stores.alpha]\ntoken_env = "ETHOCA_SECRET"\n[stores.beta]\ntoken_env = "ETHOCA_SECRET"'
    assert problems(toml) == ["ETHOCA_SECRET: missing; expected the store's access token"]
    assert load(toml, ETHOCA_SECRET="u:p").stores["beta"].token == "u:p"


def test_the_default_store_may_have_a_table_for_its_policies() -> None:
    read = load("[stores.example]\nobserve = true\nlook_first = true\nmetadata = []", **STORE)
    store = read.stores["example"]
    assert (store.token, store.observe, store.look_first, store.metadata) == ("a-token", True, True, ())
    own = load('[stores.example]\ntoken_env = "OWN"', NEXT_STORE="example", OWN="own-token")
    assert own.stores["example"].token == "own-token"
    both = load('[stores.example]\ntoken_env = "OWN"', OWN="own-token", **STORE)
    assert both.stores["example"].token == "own-token"
    assert "token_env: missing" in problems("[stores.example]", NEXT_STORE="example")[0]


def test_the_base_url_of_the_environment_goes_before_that_of_the_file() -> None:
    url = "http://127.0.0.1:9/api/admin/"
    read = load('[stores.example]\nbase_url = "https://x.example/api/admin/"', NEXT_BASE_URL=url, **STORE)
    assert read.stores["example"].base_url == url


@tried_with(
    "secret",
    [
        "sk_live_Abc123",
        "ALPHA TOKEN",
        "alpha-token",
        "AKIAIOSFODNN7EXAMPLEAKIA",
        "a" * 40,
        "X" * 21,
        "$ALPHA",
        "",
    ],
)
def test_a_secret_where_a_variable_is_named_is_refused_and_not_shown(secret: str) -> None:
    for toml in (f'[stores.alpha]\ntoken_env = "{secret}"', f'[notify]\nurl_env = "{secret}"'):
        [problem] = problems(toml)
        assert "the name of an environment variable" in problem
        assert not secret or secret not in problem


@pytest.mark.parametrize(
    "toml",
    [
        f'[stores.alpha]\ntoken_env = "A"\ntoken = "{CANARY}"',
        f'[providers.ethoca]\nsecret = "{CANARY}"',
        f'[providers.ethoca.proof]\nkind = "basic"\npassword = "{CANARY}"',
        f'[notify]\nurl_env = "A"\nurl = "https://{CANARY}"',
        f'api_token = "{CANARY}"',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_shown(toml: str) -> None:
    [problem] = problems(toml, A="https://a.example")
    assert CANARY not in problem


# --- routes -------------------------------------------------------------------------------------

TWO_STORES = """
[stores.alpha]
token_env = "ALPHA_TOKEN"
[stores.beta]
token_env = "BETA_TOKEN"
"""
TOKENS = {"ALPHA_TOKEN": "a", "BETA_TOKEN": "b"}


def routed(routes: str, alert: Alert, provider: str = "midigator", named: str | None = None) -> str | None:
    store = load(TWO_STORES + routes, **TOKENS, **STORE).store_of(provider, alert, named)
    return store.name if store else None


def route(**keys: str) -> str:
    return "[[routes]]\n" + "".join(f'{name} = "{value}"\n' for name, value in keys.items())


@pytest.mark.parametrize("key", ["mid", "member_id", "merchant_id", "descriptor"])
def test_a_route_goes_by_what_the_alert_says(key: str) -> None:
    routes = route(store="beta", **{key: "311900012"})
    alert = Alert(case_number="1")
    assert routed(routes, replace(alert, **{key: "311900012"})) == "beta"  # type: ignore[arg-type]
    assert routed(routes, replace(alert, **{key: "3119000121"})) == "example"  # type: ignore[arg-type]
    assert routed(routes, Alert(case_number="1")) == "example"


def test_the_first_route_that_fits_decides_and_the_path_goes_before_all() -> None:
    routes = (
        route(store="alpha", provider="midigator", mid="1")
        + route(store="beta", mid="1")
        + route(store="alpha", provider="kount")
    )
    alert = Alert(case_number="1", mid="1")
    assert routed(routes, alert) == "alpha"
    assert routed(routes, alert, "ethoca") == "beta"
    assert routed(routes, Alert(case_number="1"), "kount") == "alpha"
    assert routed(routes, alert, named="beta") == "beta"
    assert routed(routes, alert, named="unheard-of") is None


def test_all_that_a_route_says_must_fit() -> None:
    routes = route(store="beta", mid="1", descriptor="SHOP*")
    assert routed(routes, Alert(case_number="1", mid="1", descriptor="shop 24")) == "beta"
    assert routed(routes, Alert(case_number="1", mid="2", descriptor="SHOP 24")) == "example"
    assert routed(routes, Alert(case_number="1", mid="1")) == "example"


@tried_with(
    ("pattern", "descriptor", "fits"),
    [
        ("SHOP*", "SHOP*ORDER 12", True),
        ("*shop*", "My SHOP Ltd", True),
        ("SHOP", "SHOP 2", False),
        ("SHOP?", "SHOP2", False),
        ("SHOP[1]", "SHOP[1]", True),
        ("SHOP[12]", "SHOP1", False),
        ("*", "anything", True),
        (".*", "anything", False),
    ],
)
def test_only_the_star_is_special_in_a_descriptor(pattern: str, descriptor: str, fits: bool) -> None:
    alert = Alert(case_number="1", descriptor=descriptor)
    assert routed(route(store="beta", descriptor=pattern), alert) == ("beta" if fits else "example")


@tried_with(
    ("routes", "problem"),
    [
        ("[[routes]]", "routes[1].store: missing; expected the name of a store (alpha, beta)"),
        (route(store="gamma"), "routes[1].store: expected the name of a store (alpha, beta)"),
        (
            route(store="beta", provider="ethoka"),
            "routes[1].provider: expected the name of a provider (did you mean ethoca?)",
        ),
        (route(store="beta", mid=""), "routes[1].mid: expected the value to route by"),
        (
            '[[routes]]\nstore = "beta"\nmid = 311900012',
            "routes[1].mid: expected the value to route by, in quotes",
        ),
        ("[routes]\n", "routes: expected [[routes]] tables"),
    ],
)
def test_a_route_that_leads_nowhere_is_a_mistake(routes: str, problem: str) -> None:
    assert problems(TWO_STORES + routes, **TOKENS) == [problem]


def test_a_route_may_name_a_provider_without_code_even_one_with_mistakes() -> None:
    acme = """
[providers.acme]
proof = { kind = "basic" }
event_id = "id"
[providers.acme.fields]
case_number = "c"
amount = "a"
currency = "u"
"""
    toml = TWO_STORES + route(store="beta", provider="acme") + acme
    assert load(toml, **TOKENS).routes[0].provider == "acme"
    [problem] = problems(toml.replace("basic", "magic"), **TOKENS)
    assert problem.startswith("providers.acme.proof: ")


class Receiver:
    """The web application and the translating half of the worker, with one bridge.toml."""

    def __init__(self, toml: str, database: Database) -> None:
        self.database = database
        read = load(TWO_STORES + toml, MIDIGATOR_SECRET="u:p", **TOKENS)
        self.client = create_app(read, database).test_client()
        self.inbox = open_inbox(database, read)
        self.inbox.stores.register(read.stores.values())
        self.translator = Translator(self.inbox, read)

    def post(self, path: str, mid: str) -> str:
        body = {
            "event_type": "chargeback.new",
            "event_guid": mid,
            "case_number": f"C-{mid}",
            "amount": 5,
            "currency": "USD",
            "chargeback_date": "2026-03-01",
            "mid": mid,
        }
        answer = self.client.post(path, json=body, auth=("u", "p"))
        assert answer.status_code == 200
        return str(json.loads(answer.data)["id"])

    def judged(self, ident: str) -> dict[str, Any]:
        """A delivery after it was translated."""
        self.translator.translate_batch(50)
        found = Search(self.database).delivery(ident)
        assert found is not None
        return found


@pytest.fixture
def database(make_database: MakeDatabase) -> Iterator[Database]:
    with make_database("sqlite") as url, closing(Database(url)) as opened:
        yield opened


def test_what_routes_nowhere_is_kept_and_finished_once_the_route_is_there(database: Database) -> None:
    receiver = Receiver("", database)
    ident = receiver.post("/webhooks/midigator", "880012")
    kept = receiver.judged(ident)
    assert (kept["status"], kept["reason"], kept["store"]) == ("failed", "no_store", None)
    assert "mid '880012'" in str(kept)  # the value that would have routed it
    receiver = Receiver(route(store="beta", mid="880012"), database)
    assert receiver.inbox.deliveries.replay([ident]) == [ident]
    found = receiver.judged(ident)
    assert (found["status"], found["store"]) == ("pending", "beta")


def test_a_store_in_the_path_goes_before_the_routes_and_an_unknown_one_is_kept(database: Database) -> None:
    receiver = Receiver(route(store="beta", mid="1"), database)
    named = receiver.judged(receiver.post("/webhooks/midigator/alpha", "1"))
    assert (named["status"], named["store"]) == ("pending", "alpha")
    lost = receiver.judged(receiver.post("/webhooks/midigator/gamma", "2"))
    assert (lost["status"], lost["reason"]) == ("failed", "no_store")
    assert "'gamma'" in str(lost)


# --- the rest of the file -----------------------------------------------------------------------


def test_metadata_is_chosen_for_all_stores_and_for_each() -> None:
    toml = 'metadata = ["bridge_card"]\n' + TWO_STORES + 'metadata = ["bridge_order"]\n'
    read = load(toml, **TOKENS, **STORE)
    assert {name: store.metadata for name, store in read.stores.items()} == {
        "alpha": ("bridge_card",),
        "beta": ("bridge_order",),
        "example": ("bridge_card",),
    }
    for wrong in ('["bridge_colour"]', '"bridge_card"', "[1]"):
        assert problems(f"metadata = {wrong}")[0].startswith("metadata: expected a list of some of bridge_")


def test_the_known_metadata_is_what_a_dispute_can_say() -> None:
    alert = Alert.from_json(
        {
            "case_number": "1",
            "network": "cdrn",
            "reason_code": "r",
            "amount": "0.001",
            "currency": "USD",
            "order": "o",
            "descriptor": "d",
            "auth_code": "a",
            "card_last_four": "0009",
        }
    )
    assert set(payloads.metadata_of(alert, "p", METADATA_KEYS)) == set(METADATA_KEYS)


def test_what_needs_a_person_is_told_where_a_variable_says() -> None:
    hook = "https://hooks.example.com/services/T0/B0/x?y=1"
    toml = '[notify]\nurl_env = "HOOK"\nform = "json"\nqueue_old = "1h"\n'
    toml += '[retention]\nbodies = "30d"\nindex = "100d"'
    read = load(toml, HOOK=hook)
    assert read.notify == settings.Notify(url=hook, form="json", queue_old=3600.0)
    assert (read.keep_bodies, read.keep_index) == (30 * 86400, 100 * 86400)
    assert load('[notify]\nurl_env = "HOOK"', HOOK=hook).notify == settings.Notify(url=hook)
    assert load().notify is None


@tried_with(
    ("toml", "days"),
    [
        ("", (90, 200)),
        ("[retention]", (90, 200)),
        ('[retention]\nbodies = "30d"', (30, 200)),
        ('[retention]\nindex = "100d"', (90, 100)),
        ('[retention]\nbodies = "forever"', (None, 200)),
        ('[retention]\nbodies = "forever"\nindex = "forever"', (None, None)),
    ],
)
def test_bodies_are_kept_for_90_days_and_the_index_for_200_unless_the_file_says_otherwise(
    toml: str, days: tuple[int | None, int | None]
) -> None:
    read = load(toml)
    assert (read.keep_bodies, read.keep_index) == tuple(one and one * 86400 for one in days)


def test_a_mistake_in_how_long_things_are_kept_is_told_with_the_word_for_no_limit() -> None:
    assert problems('[retention]\nbodies = "for ever"') == [
        'retention.bodies: expected a time such as "20h", "90m" or "3d", or "forever"'
    ]


def test_the_documents_tell_how_long_things_are_kept_by_default() -> None:
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    assert '| `bodies` | `"90d"` |' in page
    assert '| `index` | `"200d"` |' in page


def test_a_dispute_is_linked_to_where_the_file_says() -> None:
    url = "https://{store}.29next.store/dashboard/d/{dispute}/"
    assert load(f'dispute_url = "{url}"').dispute_url == url
    assert load().dispute_url is None
    for wrong in ("https://example.29next.store/", "javascript:alert({dispute})", "https://x/{id}/{dispute}"):
        assert problems(f'dispute_url = "{wrong}"')[0].startswith(
            "dispute_url: expected a URL with {dispute}"
        )


@tried_with(
    ("toml", "key"),
    [
        ("[notify]", "notify.url_env"),
        ('[notify]\nurl_env = "HOOK"', "HOOK"),
        ('[notify]\nurl_env = "BAD"', "BAD"),
        ('[notify]\nurl_env = "GOOD"\nform = "mail"', "notify.form"),
        ('[notify]\nurl_env = "GOOD"\nqueue_old = 10', "notify.queue_old"),
        ('[notify]\nurl_env = "GOOD"\nchannel = "#x"', "notify.channel"),
        ("notify = 1", "notify"),
        ('[retention]\nbodies = "7d"', "retention.bodies"),
        ('[retention]\nbodies = "for ever"', "retention.bodies"),
        ('[retention]\nindex = "20d"', "retention.index"),
        ('[retention]\ncases = "90d"', "retention.cases"),
    ],
)
def test_a_mistake_in_what_is_told_and_kept_is_told(toml: str, key: str) -> None:
    [said] = problems(toml, BAD="http://169.254.169.254/", GOOD="https://hooks.example.com/x")
    assert said.startswith(f"{key}: ")


@tried_with(
    ("toml", "problem"),
    [
        ("[stores]\nalpha = 1", "stores.alpha: expected a table"),
        ("stores = []", "stores: expected a table"),
        ("providers = 1", "providers: expected a table"),
        ("[providers]\nethoca = true", "providers.ethoca: expected a table"),
        ('[store.alpha]\ntoken_env = "A"', "store: unknown; expected one of metadata, stores, routes,"),
        ('[stores.alpha]\ntoken_env = "A"\nobserv = true', "stores.alpha.observ: unknown; expected one of"),
        ('[stores.alpha]\ntoken_env = "A"\nobserve = "yes"', "stores.alpha.observe: expected true or false"),
        ("[stores.alpha]\ntoken_env = 7", "stores.alpha.token_env: expected the name of"),
    ],
)
def test_what_is_unknown_or_of_another_kind_is_told(toml: str, problem: str) -> None:
    [said] = problems(toml, A="a")
    assert said.startswith(problem)


@tried_with(
    ("toml", "key", "meant"),
    [
        ("[retentions]", "retentions", "retention"),
        ('[stores.alpha]\ntoken_env = "A"\nobserv = true', "stores.alpha.observ", "observe"),
        ('[providers.ethoka]\ndeadline = "20h"', "providers.ethoka", "ethoca"),
        ('[providers.ethoca]\ndeadlin = "20h"', "providers.ethoca.deadlin", "deadline"),
        ('[providers.ethoca.fields]\namnt = "x"', "providers.ethoca.fields.amnt", "amount"),
        ('[providers.ethoca.effects]\nx = "opne"', "providers.ethoca.effects.x", "open"),
        ('[notify]\nurl_env = "A"\nform = "slak"', "notify.form", "slack"),
    ],
)
def test_a_mistyped_word_is_told_with_the_one_that_is_nearest(toml: str, key: str, meant: str) -> None:
    [problem] = problems(toml, A="https://a.example.com")
    assert problem.startswith(f"{key}: ")
    assert f"(did you mean {meant}?)" in problem


@pytest.mark.parametrize(
    ("toml", "where"),
    [
        ('[stores.alpha]\ntoken_env = "A\n', "line 2"),
        ("[stores.alpha]\n[stores.alpha]\n", "line 2"),
        ("\n\nzone = US/Eastern\n", "line 3"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_line(toml: str, where: str) -> None:
    [problem] = problems(toml)
    assert problem.startswith("not TOML: ")
    assert where in problem


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes(b'# one\nx = "caf\xe9"\n')
    for name, expected in (
        ("missing.toml", "BRIDGE_CONFIG: there is no file missing.toml"),
        ("folder", "BRIDGE_CONFIG: folder cannot be read (IsADirectoryError)"),
        ("latin", "latin: not UTF-8 (at line 2)"),
    ):
        with pytest.raises(SettingsError) as caught:
            settings.load({"BRIDGE_CONFIG": name}, tmp_path)
        assert caught.value.problems == [expected]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_bytes(b'\xef\xbb\xbf[providers.ethoca]\ndeadline = "20h"\n')
    read = settings.load({"BRIDGE_CONFIG": "bridge.toml"}, tmp_path)
    assert read.providers["ethoca"].deadline == timedelta(hours=20)


BAD = """
metadata = "all"
[stores.alpha]
tokenenv = "ALPHA_TOKEN"
[[routes]]
store = "gamma"
[providers.ethoca]
deadline = "soon"
[providers.acme]
proof = { kind = "magic" }
"""


@pytest.mark.parametrize("command", ["doctor", "run", "migrate"])
def test_the_bridge_does_not_start_half_configured(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every mistake of the environment and of the file, in one report, and exit status 2."""
    (tmp_path / "bad.toml").write_text(BAD, "utf-8")
    environ = {
        "BRIDGE_CONFIG": str(tmp_path / "bad.toml"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db",
        "NEXT_STORE": "evil.com#.29next.store",
        "NEXT_ACCESS_TOKEN": CANARY,
        "NEXT_RATE": "fast",
        "WEB_CONCURRENCY": "abc",
        "ETHOCA_SECRET": CANARY,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)  # what `run` starts
    assert cli.main([command]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    file = f"{tmp_path}/bad.toml: "
    for key in ("metadata", "stores.alpha.token_env", "routes[1].store", "providers.ethoca.deadline"):
        assert f"{file}{key}: " in said.err
    for name in ("NEXT_STORE", "NEXT_RATE", "WEB_CONCURRENCY", "ETHOCA_SECRET"):
        assert f"{name}: " in said.err
    assert CANARY not in said.err
    assert not (tmp_path / "bridge.db").exists()


def test_the_web_process_does_not_start_with_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_RATE", "fast")
    with pytest.raises(SettingsError, match="NEXT_RATE"):
        create_app()


# --- the documentation --------------------------------------------------------------------------


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    environment = DOCUMENT.partition("## The environment")[2].partition("## `bridge.toml`")[0]
    documented = set(re.findall(r"^\| `([A-Z_<>]+)` \|", environment, re.MULTILINE))
    documented |= {"DYNO", "RENDER", "PGSSLMODE"} & set(re.findall(r"`([A-Z_]+)`", environment))
    assert {_general(name) for name in _variables()} == documented


def _general(name: str) -> str:
    """A provider's variable as the documentation has it."""
    if name.startswith("NEXT_WEBHOOK_SECRET"):
        return "NEXT_WEBHOOK_SECRET"
    return re.sub(r"^[A-Z]+(_SECRET(?:_PREVIOUS)?|_API_KEY)$", r"<PROVIDER>\1", name)


def _variables() -> set[str]:
    """The names that are looked up: by the settings as they are loaded, elsewhere as the source has it."""
    asked: set[str] = set()

    class Environ(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key)
            return super().get(key, default)

    for given in ({}, {"NEXT_STORE": "x", "RENDER": "1"}, {"DYNO": "1"}):
        with pytest.raises(SettingsError) if given else nullcontext():
            settings.load(Environ(given), ROOT)
    sources = [*(ROOT / "bridge").rglob("*.py"), *(ROOT / "config").rglob("*.py")]
    text = "\n".join(source.read_text("utf-8") for source in sources)
    of_the_request = {"PATH_INFO", "RAW_URI"}
    return asked | set(re.findall(r'environ(?:\.get\(|\.setdefault\(|\[)"([A-Z_]+)"', text)) - of_the_request


WHOLE = """
zzz = 1
[stores.alpha]
zzz = 1
[[routes]]
zzz = 1
[notify]
zzz = 1
[retention]
zzz = 1
[providers.verifi.effects]
x = { zzz = 1 }
[providers.acme]
zzz = 1
proof = {}
test = { zzz = 1 }
[providers.acme.fields]
zzz = 1
case_number = { zzz = 1 }
amount = { zzz = 1 }
happened_at = { zzz = 1 }
network = { zzz = 1 }
[providers.acme.acknowledgement]
zzz = 1
"""
CHAPTERS = {
    "zzz": "## `bridge.toml`",
    "stores.alpha.zzz": "### Stores\n",
    "routes[1].zzz": "### Routes",
    "notify.zzz": "### Notifications",
    "retention.zzz": "### Retention",
    "providers.verifi.effects.x.zzz": "## Changing a built-in provider",
    "providers.acme.zzz": "### Providers\n\n`[providers.NAME]",
    "providers.acme.fields.zzz": "#### Fields",
    "providers.acme.fields.case_number.zzz": "#### Fields",
    "providers.acme.fields.amount.zzz": "#### Fields",
    "providers.acme.fields.happened_at.zzz": "#### Fields",
    "providers.acme.fields.network.zzz": "#### Fields",
    "providers.acme.acknowledgement.zzz": "#### Acknowledgement",
}


def test_every_key_is_documented_and_every_documented_one_is_known() -> None:
    """What is known is what the report of an unknown key names."""
    said = problems(WHOLE)
    unknown = dict(one.split(": unknown; expected one of ") for one in said if ": unknown" in one)
    assert unknown.pop("providers.acme.test.zzz") == "path, value"
    assert set(unknown) == set(CHAPTERS)
    known: dict[str, set[str]] = {}
    for key, names in unknown.items():
        known.setdefault(CHAPTERS[key], set()).update(names.split(", "))
    for chapter, keys in known.items():
        assert _documented(chapter) == keys


def test_the_keys_about_outcomes_are_documented() -> None:
    assert _documented("### Outcomes") == set(custom.OUTCOME)
    for one in providers.built_in().values():
        if one.outcome:
            assert f"`[providers.{one.name}]`" in DOCUMENT
            assert f"`{one.key_variable}`" in DOCUMENT


def test_the_keys_about_the_pull_are_documented() -> None:
    assert _documented("### Pull") == {*custom.PULL, "api_url"}


def _documented(chapter: str) -> set[str]:
    """The keys in the tables of a chapter, up to the next heading."""
    text = DOCUMENT.partition(chapter)[2]
    assert text, chapter
    return set(re.findall(r"^\| `(\w+)` \|", re.split(r"\n#+ ", text)[0], re.MULTILINE))


OPTIONS = {
    "header": "X-Key",
    "algorithm": "sha256",
    "encoding": "hex",
    "prefix": "svix",
    "signed": "{body}",
    "parse": "t=,s=",
    "key": "text",
}


def test_every_proof_and_its_options_are_documented() -> None:
    chapter = re.split(r"\n####? ", DOCUMENT.partition("#### Authentication")[2])[0]
    table = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", chapter, re.MULTILINE)
    documented = {kind: set(re.findall(rf"`({'|'.join(OPTIONS)})`", told)) for kind, told in table}
    documented["timestamped_hmac"] |= documented["hmac"]  # "the same"
    [said] = [one for one in problems(WHOLE) if ".proof: " in one]
    kinds = said.partition("kind must be one of ")[2].split(", ")
    assert set(kinds) == set(documented) - {"kind"}
    for kind in kinds:
        for option, value in OPTIONS.items():
            toml = f'[providers.ethoca.proof]\nkind = "{kind}"\n{option} = "{value}"'
            if option in documented[kind]:
                assert load(toml).providers["ethoca"].proof.kind == kind
            else:
                [refused] = problems(toml)
                assert refused.startswith(f"providers.ethoca.proof: {kind} has no option {option}")


def test_every_effect_is_documented() -> None:
    [said] = problems('[providers.ethoca.effects]\nx = "zzz"')
    assert set(said.partition("one of ")[2].split(", ")) == _documented("#### Effects")


def test_every_resolution_is_documented() -> None:
    told = DOCUMENT.partition("29next's resolutions are, for alerts: ")[2].partition("\n\n")[0]
    for kind, text in zip(DisputeType, told.split("; for chargebacks: "), strict=True):
        assert tuple(re.findall(r"`(\w+)`", text)) == RESOLUTIONS[kind]


def test_the_report_in_the_documentation_is_what_is_said() -> None:
    [report] = [inside for kind, inside in blocks(DOCUMENT) if kind == "text"]
    lines = [line for line in report.splitlines() if line.startswith(("NEXT", "config"))]
    toml = (
        '[stores.alpha]\n[providers.acme]\nproof = { kind = "basic" }\nevent_id = "i"\nevent_type = "t"\n'
        '[providers.acme.effects]\n"alert.new" = "create"\n[providers.acme.fields]\ncase_number = "c"\n'
    )
    said = problems(toml, NEXT_TIMEOUT="soon")
    assert sorted(line.removeprefix("config/bridge.toml: ") for line in lines) == sorted(said)


def test_the_documented_routes_work() -> None:
    chapter = DOCUMENT.partition("### Routes")[2].partition("\n### ")[0]
    [toml] = [inside for kind, inside in blocks(chapter) if kind == "toml"]
    read = load(toml, **TOKENS)
    found = [
        read.store_of("midigator", Alert(case_number="1", mid="311900012"), None),
        read.store_of("ethoca", Alert(case_number="1", descriptor="beta*24"), None),
        read.store_of("ethoca", Alert(case_number="1"), None),
    ]
    assert [store and store.name for store in found] == ["alpha", "beta", None]


def test_the_file_as_it_is_delivered_sets_nothing_and_works_once_its_examples_are_taken() -> None:
    delivered = (ROOT / "config" / "bridge.toml").read_text("utf-8")
    assert tomllib.loads(delivered) == {}
    taken = re.sub(r"^#(?! )", "", delivered, flags=re.MULTILINE)
    assert set(tomllib.loads(taken)) == {
        "metadata",
        "stores",
        "routes",
        "providers",
        "notify",
        "retention",
        "dispute_url",
    }
    read = load(taken, NOTIFY_URL="https://hooks.example.com/x", MIDIGATOR_API_KEY="k", **KEYS, **TOKENS)
    assert set(read.stores) == {"alpha", "beta"}


def test_the_example_environment_works_and_names_documented_variables() -> None:
    lines = (ROOT / "config" / "example.env").read_text("utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    suggested = dict(line[1:].split("=", 1) for line in lines if re.match(r"#[A-Z_]+=", line))
    read = settings.load(environ, ROOT)
    assert read.default_store == "example"
    assert not any(read.secrets.values()), "a copy that nobody has filled in accepts no webhook"
    assert {_general(name) for name in environ | suggested} <= {_general(name) for name in _variables()}


QUOTED = {
    "NEXT_STORE": '"example"',
    "NEXT_ACCESS_TOKEN": "'a-token'",
    "ETHOCA_SECRET": '"user:password"',
    "BRIDGE_PASSWORD": '"correct horse"',
    "BRIDGE_API_TOKEN": '"token"',
    "DATABASE_URL": '"sqlite:///bridge.db"',
    "PORT": '"8000"',
    "LOG_LEVEL": "'INFO'",
    "BRIDGE_PUBLIC_URL": '"https://alerts.example.com"',
    "SECRET_KEY": '"key"',
}


@tried_with("name", QUOTED)
def test_a_value_in_quotes_is_refused_with_a_sentence_that_says_so(name: str) -> None:
    said = [one for one in problems(**{name: QUOTED[name]}) if one.startswith(f"{name}:")]
    assert any("is in quotes" in one for one in said), said
    assert not any(
        QUOTED[name].strip("'\"") in one for one in said if name.endswith(("SECRET", "TOKEN", "WORD"))
    )


def test_all_values_in_quotes_are_named_at_once() -> None:
    said = problems(**QUOTED)
    assert {one.partition(":")[0] for one in said if "is in quotes" in one} == set(QUOTED)


@pytest.mark.parametrize("value", ['a"b', '"half', "it's", 'say "yes" now'])
def test_a_quote_inside_a_value_is_a_part_of_it(value: str) -> None:
    assert load(BRIDGE_PASSWORD=value).password == value
