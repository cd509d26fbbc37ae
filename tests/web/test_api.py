"""The JSON API: what it answers is what its document says, and nobody gets in unasked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from jsonschema import Draft202012Validator, FormatChecker

from bridge.storage.filters import CASE_FILTERS, DELIVERY_FILTERS
from bridge.web import api
from tests.conftest import MakeDatabase
from tests.support.bridge_in_process import InProcessBridge
from tests.support.examples import examples
from tests.support.history import bridge_with_outlet, trouble
from tests.support.trying import tried_with

Json = dict[str, Any]
TOKEN = "a-made-up-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
DOCUMENT: Json = api.openapi_document()
OPERATIONS = [
    (path, method)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if method != "parameters"
]


@pytest.fixture
def bridge(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_with_outlet(url, api_token=TOKEN, on_loopback=False) as made:
        yield made


@pytest.fixture(scope="module")
def troubled(make_database: MakeDatabase) -> Iterator[InProcessBridge]:
    with make_database("sqlite") as url, bridge_with_outlet(url, api_token=TOKEN) as made:
        trouble(made)
        yield made


def get(client: FlaskClient, path: str, status: int = 200) -> Json:
    answer = client.get(path, headers=BEARER)
    assert answer.status_code == status, answer.text
    found: Json = answer.json  # type: ignore[assignment]
    return found


def judge(path: str, method: str, status: int, answer: object) -> None:
    """Raise an AssertionError that lists where an answer differs from the document."""
    schema = DOCUMENT["paths"][path][method]["responses"][str(status)]["content"]["application/json"][
        "schema"
    ]
    whole = {**schema, "components": DOCUMENT["components"]}
    checked = Draft202012Validator(whole, format_checker=FormatChecker())
    problems = [f"{error.json_path}: {error.message}" for error in checked.iter_errors(answer)]
    assert not problems, problems


def test_what_is_served_is_what_the_document_says(troubled: InProcessBridge) -> None:
    client = troubled.client
    deliveries = get(client, "/api/deliveries")
    cases = get(client, "/api/cases")
    judge("/api/deliveries", "get", 200, deliveries)
    judge("/api/cases", "get", 200, cases)
    assert (len(deliveries["results"]), len(cases["results"])) == (10, 6)
    for row in deliveries["results"]:
        judge("/api/deliveries/{id}", "get", 200, get(client, f"/api/deliveries/{row['id']}"))
    for row in cases["results"]:
        judge("/api/cases/{id}", "get", 200, get(client, f"/api/cases/{row['id']}"))
    assert get(client, "/api/openapi.json") == DOCUMENT


def test_the_document_names_every_key_and_no_other() -> None:
    """Each schema is closed, and each of its keys is always there: so the answers name the same keys."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["additionalProperties"] is False, name
        assert sorted(schema["required"]) == sorted(schema["properties"]), name


def test_every_route_is_in_the_document(troubled: InProcessBridge) -> None:
    served = {
        (rule.rule.replace("<id>", "{id}"), method.lower())
        for rule in troubled.app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == set(OPERATIONS)


@pytest.mark.parametrize(
    ("path", "filters"), [("/api/deliveries", DELIVERY_FILTERS), ("/api/cases", CASE_FILTERS)]
)
def test_every_filter_is_in_the_document_and_nothing_else(
    path: str, filters: Any, troubled: InProcessBridge
) -> None:
    named = [one["name"] for one in DOCUMENT["paths"][path]["get"]["parameters"]]
    assert named == list(filters.fields)
    refused = get(troubled.client, f"{path}?colour=red", 400)
    judge(path, "get", 400, refused)
    assert refused == {
        "error": "bad_request",
        "message": f"There is no filter 'colour'; there are {', '.join(named)}.",
    }


@tried_with("number", ["4111111111111111", "4111\xa01111\xa01111\xa01111", "a" * 26 + " 4111 1111 1111 1111"])
@tried_with("name", ["status", "limit", "since", "case_id", "cursor", ""])
def test_a_refused_filter_repeats_no_card_number(troubled: InProcessBridge, name: str, number: str) -> None:
    query = {name: number} if name else {number: "x"}
    answer = troubled.client.get("/api/deliveries", query_string=query, headers=BEARER)
    assert answer.status_code == 400
    said = json.loads(answer.text)["message"]
    assert number[:4] in said
    assert re.sub(r"\\xa0|\s", "", said).count("1111111") == 0


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_schemathesis_finds_nothing(path: str, method: str, troubled: InProcessBridge) -> None:
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", troubled.app, headers=BEARER)
    operation = schema[path][method]

    @given(case=operation.as_strategy())
    @examples(15, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=BEARER)

    check()


def test_a_list_is_followed_to_its_end(troubled: InProcessBridge) -> None:
    seen: list[str] = []
    query = "limit=3"
    while query:
        found = get(troubled.client, f"/api/deliveries?{query}")
        seen += [row["id"] for row in found["results"]]
        query = f"limit=3&cursor={found['next']}" if found["next"] else ""
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == len(get(troubled.client, "/api/deliveries?limit=500")["results"])


def test_a_delivery_is_replayed(bridge: InProcessBridge) -> None:
    delivery = bridge.send_sample(change=lambda tree: tree.update(ethoca_id="N/A", amount="x"))
    bridge.work()
    before = get(bridge.client, f"/api/deliveries/{delivery}")
    assert before["status"] == "failed"
    assert before["errors"] == {
        "ethoca_id": ["'N/A' names no case. Expected the number of the case."],
        "amount": ["'x' is not an amount of money, such as 12.50."],
    }
    answer = bridge.client.post(f"/api/deliveries/{delivery}/replay", headers=BEARER)
    judge("/api/deliveries/{id}/replay", "post", 200, answer.json)
    after: Json = answer.json  # type: ignore[assignment]
    assert (after["status"], after["settled_at"], after["errors"]) == ("pending", None, {})
    assert after["deadline_at"] > before["deadline_at"]


@pytest.mark.parametrize("path", ["/api/deliveries/x", "/api/cases/x", "/api/deliveries/d_" + "0" * 21])
def test_what_is_not_there_is_404(bridge: InProcessBridge, path: str) -> None:
    assert get(bridge.client, path, 404)["error"] == "not_found"
    if "deliveries" in path:
        assert bridge.client.post(f"{path}/replay", headers=BEARER).status_code == 404


def test_an_unknown_method_is_told_the_known_ones(bridge: InProcessBridge) -> None:
    answer = bridge.client.delete("/api/deliveries", headers=BEARER)
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"transaction": ' + b"9" * 5_000 + b"}",
        *(b'{"transaction": %b}' % value for value in (b'"1"', b"1.5", b"true", b"0", b"-1", b"[]")),
        *(b'{"transaction": %b}' % value for value in (b"1e300", b"9223372036854775808")),
    ],
    ids=range(14),
)
def test_what_is_no_decision_is_refused_in_the_shape_of_the_api(
    troubled: InProcessBridge, body: bytes
) -> None:
    (first, *_) = get(troubled.client, "/api/cases?state=review")["results"]
    path = f"/api/cases/{first['id']}/match"
    answer = troubled.client.post(path, data=body, content_type="application/json", headers=BEARER)
    assert answer.status_code == 400, answer.text
    judge("/api/cases/{id}/match", "post", 400, answer.json)
    assert answer.json == {
        "error": "bad_request",
        "message": 'Send {"transaction": 123}, or null where there is none.',
    }


@pytest.mark.parametrize("route", ["match", "outcomes"])
@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"transaction": "1"}'])
def test_an_unknown_case_is_404_whatever_the_body(troubled: InProcessBridge, route: str, body: bytes) -> None:
    path = f"/api/cases/c_{'0' * 21}/{route}"
    answer = troubled.client.post(path, data=body, content_type="application/json", headers=BEARER)
    assert answer.status_code == 404, answer.text
    judge(f"/api/cases/{{id}}/{route}", "post", 404, answer.json)
    assert answer.json == {"error": "not_found", "message": "There is no such case."}


def test_the_document_is_shown_by_no_page_from_elsewhere(troubled: InProcessBridge) -> None:
    known = {rule.endpoint for rule in troubled.app.url_map.iter_rules()}
    assert not [name for name in known if "openapi" in name or "docs" in name]


# --- who may ask --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*(path for path, _ in OPERATIONS), "/metrics"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer \xff\xfe"},
    ],
)
def test_without_the_token_nothing_is_told(
    bridge: InProcessBridge, path: str, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        answer = bridge.client.open(path.replace("{id}", "d_" + "0" * 21), method=method, headers=headers)
        if answer.status_code != 405:
            assert answer.status_code == 401, path
            assert answer.json is not None
            assert answer.json["error"] == "unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_signed_in_browser_is_no_program(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url, bridge_with_outlet(url, api_token=TOKEN, password="p") as bridge:
        form = re.search(r'name="form_token" value="([^"]+)"', bridge.client.get("/sign-in").text)
        assert form
        bridge.client.post("/sign-in", data={"form_token": form[1], "password": "p"})
        assert bridge.client.get("/deliveries").status_code == 200
        assert bridge.client.get("/api/deliveries").status_code == 401


def test_without_a_token_the_api_is_off_but_on_loopback(make_database: MakeDatabase) -> None:
    with make_database("sqlite") as url:
        with bridge_with_outlet(url, on_loopback=False) as bridge:
            for path in ("/api/deliveries", "/api/openapi.json", "/metrics"):
                assert bridge.client.get(path).status_code == 404
        with bridge_with_outlet(url) as bridge:
            for path in ("/api/deliveries", "/api/openapi.json", "/metrics"):
                assert bridge.client.get(path).status_code == 200
