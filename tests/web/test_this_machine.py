"""Without a password or a token only this machine is let in: no proxy, no other name, no other site."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge
from tests.support.clock import eventually
from tests.support.configuring import LOOPBACK_URLS, PUBLIC_URLS
from tests.support.history import bridge_with_outlet, review
from tests.support.processes import RunningBridge, running_bridge

DOORS = ("/", "/deliveries", "/static/style.css", "/api/deliveries", "/api/openapi.json", "/metrics")
FORWARDED = {
    "Forwarded": "for=127.0.0.1",
    "Via": "1.1 vegur",
    "X-Real-IP": "127.0.0.1",
    "X-Forwarded": "127.0.0.1",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "localhost",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Protocol": "http",
    "X-Forwarded-Port": "8000",
    "X-Forwarded-Server": "localhost",
    "X-Forwarded-Ssl": "off",
    "X-Forwarded-Prefix": "/",
    "X-Forwarded-By": "127.0.0.1",
    "X-Forwarded-User": "somebody",
}
"""What proxies add; their values name this machine, which makes no difference."""
NAMES = (
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.8.8.8:1",
    "localhost",
    "localhost:8000",
    "LOCALHOST",
    "[::1]:8000",
)
OTHER_NAMES = (
    *(
        "127.0.0.1.nip.io",
        "127.0.0.1.nip.io:8000",
        "evil.example",
        "localhost.evil.example",
        "evil.localhost",
    ),
    *("127.0.0.1/evil", "127.0.0.1/", "localhost:8000/", "http://127.0.0.1"),
    *("10.0.0.1", "0.0.0.0:8000", "[::]", "[fd00::2]:8000", "192.0.2.1:8000", "", " ", ":8000", "localhost:"),
    *("127.0.0.1, evil.example", "evil.example, 127.0.0.1", "127.0.0.1@evil.example", "evil@127.0.0.1"),
    *(
        "127.0.0.1:8000:8000",
        "127.0.0.1#.evil.example",
        "127.0.0.1?.evil.example",
        "127.0.0.1\\.evil.example",
    ),
    *(
        "localhost.",
        "xn--lcalhost-55a",
        "127.0.0.1 evil.example",
        "127.1",
        "2130706433",
        "[::1].evil.example",
    ),
)


@pytest.fixture(scope="module")
def bridge(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    """A bridge on loopback, without password and token."""
    with make_database("sqlite") as url, bridge_with_outlet(url) as made:
        yield made


def answers(client: FlaskClient, **environ: str) -> set[int]:
    """What the doors answer to requests that came like this."""
    return {client.get(path, environ_overrides=environ, buffered=True).status_code for path in DOORS}


@pytest.mark.parametrize(
    ("target", "let_in"),
    [
        ("/", True),
        ("http://127.0.0.1:8000/", True),
        ("HTTP://LOCALHOST", True),
        ("http://evil.example/", False),
        ("http://evil.example", False),
        ("http://127.0.0.1@evil.example/", False),
        ("evil.example:80", False),
        ("*", False),
    ],
)
def test_a_target_that_names_a_host_must_name_this_machine(
    bridge: InProcessBridge, target: str, *, let_in: bool
) -> None:
    assert answers(bridge.client, RAW_URI=target, HTTP_HOST="127.0.0.1") == ({200} if let_in else {404})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_is_let_in_by_each_of_its_names(bridge: InProcessBridge, name: str, peer: str) -> None:
    assert answers(bridge.client, HTTP_HOST=name, REMOTE_ADDR=peer) == {200}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_nobody_is_let_in_by_another_name(bridge: InProcessBridge, name: str) -> None:
    """A web page could reach this machine by it (DNS rebinding)."""
    assert answers(bridge.client, HTTP_HOST=name) == {404}


@pytest.mark.parametrize(
    "peer", ["203.0.113.7", "10.0.0.5", "192.168.1.2", "169.254.1.1", "2001:db8::1", "::", "", "unknown"]
)
def test_nobody_is_let_in_from_another_address(bridge: InProcessBridge, peer: str) -> None:
    assert answers(bridge.client, REMOTE_ADDR=peer) == {404}


@pytest.mark.parametrize("name", FORWARDED)
def test_nobody_is_let_in_through_a_proxy(bridge: InProcessBridge, name: str) -> None:
    for spelt in (name, name.lower(), name.upper()):
        for value in (FORWARDED[name], "203.0.113.7", ""):
            for path in DOORS:
                answer = bridge.client.get(path, headers={spelt: value, "Accept": "text/html"})
                assert answer.status_code == 404, (path, spelt, value)
                assert "this machine only" in answer.text


def test_nobody_is_let_in_through_a_proxy_that_adds_nothing_but_speaks_http_1_0(
    bridge: InProcessBridge,
) -> None:
    """So does nginx, whose plain `proxy_pass` sends this machine's own name."""
    assert answers(bridge.client, SERVER_PROTOCOL="HTTP/1.0") == {404}


@pytest.mark.parametrize("url", [*PUBLIC_URLS, *LOOPBACK_URLS])
def test_a_public_url_closes_every_door_that_has_no_secret(make_database: MakeDatabase, url: str) -> None:
    with make_database("sqlite") as database_url, bridge_with_outlet(database_url, public_url=url) as bridge:
        assert answers(bridge.client) == ({404} if url in PUBLIC_URLS else {200})


@pytest.mark.parametrize("hops", [1, 2])
def test_known_proxies_close_every_door_that_has_no_secret(make_database: MakeDatabase, hops: int) -> None:
    with make_database("sqlite") as url, bridge_with_outlet(url, proxy_hops=hops) as bridge:
        assert answers(bridge.client) == {404}
        assert answers(bridge.client, HTTP_X_FORWARDED_FOR=",".join(["127.0.0.1"] * hops)) == {404}
        assert "BRIDGE_PASSWORD is not set" in bridge.client.get("/", headers={"Accept": "text/html"}).text


def test_each_secret_opens_its_own_door_to_whoever_knows_it(make_database: MakeDatabase) -> None:
    """The API stays shut behind a proxy though the viewer has its password, and the other way round."""
    with make_database("sqlite") as url, bridge_with_outlet(url, password="p", secret_key="k" * 32) as bridge:
        assert answers(bridge.client) == {200, 303}
        through = [bridge.client.get(path, headers={"Via": "1.1 x"}, buffered=True) for path in DOORS]
        assert [answer.status_code for answer in through] == [303, 303, 200, 404, 404, 404]
    with make_database("sqlite") as url, bridge_with_outlet(url, api_token="t") as bridge:
        headers = {"Via": "1.1 x", "Authorization": "Bearer t"}
        through = [bridge.client.get(path, headers=headers) for path in DOORS]
        assert [answer.status_code for answer in through] == [404, 404, 404, 200, 200, 200]


# --- pages of other sites -------------------------------------------------------------------------

OTHER_SITES = [
    *({"Sec-Fetch-Site": word} for word in ("cross-site", "same-site", "CROSS-SITE", "", "none, cross-site")),
    *(
        {"Origin": origin}
        for origin in (
            *("https://evil.example", "null", "", "http://localhost:3000", "https://localhost", "localhost"),
            *("http://127.0.0.1", "http://localhost.evil.example", "http://localhost, http://evil.example"),
        )
    ),
    *(
        {"Content-Type": kind}
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
    ),
]
OWN = [
    {},
    {"Content-Type": "application/json"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "none"},
]


def failed(bridge: InProcessBridge) -> str:
    """A delivery that can be replayed."""
    delivery = bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A"))
    bridge.work()
    return delivery


@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
def test_a_page_of_another_site_changes_nothing(bridge: InProcessBridge, headers: dict[str, str]) -> None:
    delivery, search = failed(bridge), bridge.search
    case = bridge.delivery(review(bridge))["case_id"]
    before = search.case(case)
    for path, body in (
        (f"/api/deliveries/{delivery}/replay", b""),
        (f"/api/cases/{case}/match", b'{"transaction": null}'),
    ):
        given = {"Content-Type": "application/json", **headers}
        answer = bridge.client.post(path, data=body, headers=given)
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["error"] == "bad_request"
        assert re.search("another site|application/json", answer.json["message"])
    assert bridge.delivery(delivery)["status"] == "failed"
    assert search.case(case) == before


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_a_program_and_a_page_of_our_own_are_heard(bridge: InProcessBridge, headers: dict[str, str]) -> None:
    answer = bridge.client.post(f"/api/deliveries/{failed(bridge)}/replay", headers=headers)
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["status"] == "pending"
    bridge.work()


@pytest.mark.parametrize("headers", OTHER_SITES, ids=str)
def test_with_its_token_the_api_asks_for_no_more(
    make_database: MakeDatabase, headers: dict[str, str]
) -> None:
    with make_database("sqlite") as url, bridge_with_outlet(url, api_token="t") as bridge:
        path, given = f"/api/deliveries/{failed(bridge)}/replay", {"Authorization": "Bearer t", **headers}
        assert bridge.client.post(path, headers=given).status_code == 200


# --- a real server ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, make_database: MakeDatabase) -> Iterator[RunningBridge]:
    """A web process that is told to be bound to loopback."""
    with make_database("sqlite") as url, running_bridge(tmp_path_factory.mktemp("here"), url) as made:
        yield made.start_web()


def asked(running: RunningBridge, *lines: str, version: str = "1.1", to: str = "127.0.0.1") -> int:
    """The status of an answer to a request with just these headers."""
    head = "\r\n".join([f"GET /api/deliveries HTTP/{version}", *lines, "Connection: close", "", ""])
    with socket.create_connection((to, running.port), timeout=30) as connection:
        connection.sendall(head.encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    ("lines", "options", "status"),
    [
        (["Host: 127.0.0.1:{port}"], {}, 200),
        (["host: localhost:{port}", "Accept: */*"], {}, 200),
        (["Host: 127.0.0.1:{port}"], {"version": "1.0"}, 404),  # nginx's plain proxy_pass
        (["Host: alerts.example.com"], {}, 404),
        (["Host: 127.0.0.1:{port}", "Host: alerts.example.com"], {}, 400),  # gunicorn's own refusal
        (["Host: alerts.example.com", "Host: 127.0.0.1:{port}"], {}, 400),
        (["Host:"], {}, 404),
        ([], {}, 404),
        *([["Host: 127.0.0.1:{port}", f"{name}: 127.0.0.1"], {}, 404] for name in FORWARDED),
        (["Host: 127.0.0.1:{port}", "x-FORWARDED-for: 127.0.0.1"], {}, 404),
        (["Host: 127.0.0.1:{port}", "X-Forwarded-For:"], {}, 404),
    ],
    ids=str,
)
def test_a_server_tells_its_own_machine_from_a_proxy(
    running: RunningBridge, lines: list[str], options: dict[str, Any], status: int
) -> None:
    assert asked(running, *(line.format(port=running.port) for line in lines), **options) == status


def test_a_server_that_is_bound_elsewhere_than_it_was_told_lets_nobody_in(
    tmp_path: Path, make_database: MakeDatabase
) -> None:
    """The command line goes before BRIDGE_BIND, so that the settings alone do not know."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        address = probe.getsockname()[0]
    with make_database("sqlite") as url, running_bridge(tmp_path, url) as running:
        running.start_web("--bind", f"0.0.0.0:{running.port}")
        eventually(running.is_ready)
        assert asked(running, f"Host: 127.0.0.1:{running.port}") == 200
        assert asked(running, f"Host: 127.0.0.1:{running.port}", to=address) == 404
