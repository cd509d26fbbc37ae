"""A webhook with many alerts costs as much as it is long, and each of them is told apart as before."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge import providers
from bridge import tree as trees
from bridge.alert import Status, Webhook
from bridge.providers import batches
from bridge.providers.base import Provider
from bridge.providers.batches import MOST_ITEMS
from bridge.web.webhooks import LARGEST
from tests.conftest import MakeDatabase
from tests.support.door import PASSWORD, Door, opened

KOUNT, NMI, ADYEN = (providers.built_in()[name] for name in ("kount", "nmi", "adyen"))


@pytest.fixture
def door(make_database: MakeDatabase) -> Iterator[Door]:
    with make_database("sqlite") as url, opened(url, KOUNT_SECRET=f"kount:{PASSWORD}") as door:
        yield door


def post(door: Door, body: Any, name: str = "kount") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    settings = door.app.extensions["settings"]
    provider, secret = settings.providers[name], settings.secrets[name][0]
    headers = provider.proof.sign(content, secret, datetime.now(UTC), "")
    return door.client.post(f"/webhooks/{name}", data=content, headers=headers)


def read(provider: Provider, tree: Any) -> Any:
    return provider.read(Webhook(provider.name, f"/webhooks/{provider.name}", json.dumps(tree).encode()))


def laid_over(tree: Any, path: list[str], piece: Any) -> Any:
    """An item over its envelope, as it has been written for the fingerprint since there are batches."""
    name, *rest = path
    others = {key: value for key, value in tree.items() if key != name}
    inner = {name: laid_over(tree[name], rest, piece)} if rest else {}
    return {**others, **inner, **piece}


BATCHES = {
    "at the top": (KOUNT, {"a": "1", "id": "e", "events": [{"id": "7", "b": [1]}, {"c": "x"}], "z": {}}),
    "deeper": (
        NMI,
        {
            "event_id": "e",
            "event_body": {"m": "1", "chargebacks": [{"id": "1"}, {"m": "2", "event_id": "3"}]},
        },
    ),
    "of Adyen": (ADYEN, {"live": "false", "notificationItems": [{"NotificationRequestItem": {}}, {"b": 1}]}),
}


@pytest.mark.parametrize("case", BATCHES)
def test_an_item_has_what_its_envelope_says_and_its_own_fields_first(case: str) -> None:
    provider, tree = BATCHES[case]
    path = str(provider.items).split(".")
    whole = [laid_over(tree, path, piece) for piece in trees.pick(tree, str(provider.items))]
    items = read(provider, trees.plain(tree))
    assert [trees.plain(item.tree) for item in items] == trees.plain(whole)
    assert len(items) == len(whole)


@pytest.mark.parametrize("case", BATCHES)
def test_a_head_is_named_as_the_whole_item_is(case: str) -> None:
    provider, tree = BATCHES[case]
    items = read(provider, tree)
    for (head, _), item in zip(items.heads(), items, strict=True):
        assert (head.event_id, head.event_type, head.subtype) == (
            item.event_id,
            item.event_type,
            item.subtype,
        )


@pytest.mark.parametrize("case", BATCHES)
def test_a_repeat_of_what_an_earlier_release_stored_is_still_a_repeat(case: str) -> None:
    provider, tree = BATCHES[case]
    parsed = trees.parse(json.dumps(tree).encode())
    path = str(provider.items).split(".")
    for (_, piece), own in zip(
        read(provider, tree).heads(), trees.pick(parsed, str(provider.items)), strict=True
    ):
        assert piece.content() == trees.render(laid_over(parsed, path, own))


def test_the_fingerprint_of_a_batch_is_that_of_its_path_event_and_content(door: Door) -> None:
    tree = {"live": "1", "events": [{"id": "1", "x": 1}, {"id": "2"}]}
    assert post(door, tree).status_code == 200
    items = list(read(KOUNT, tree))
    expected = [
        hashlib.sha256(
            "\n".join(
                (
                    "kount",
                    "/webhooks/kount",
                    item.event_id,
                    hashlib.sha256(trees.render(item.tree)).hexdigest(),
                )
            ).encode()
        ).hexdigest()
        for item in items
    ]
    assert sorted(row.fingerprint for row in door.rows("deliveries")) == sorted(expected)
    assert post(door, tree).status_code == 200
    assert len(door.rows("deliveries")) == 2


def test_items_of_a_large_envelope_are_told_apart_by_it_too(door: Door) -> None:
    many, large = [{"id": str(n)} for n in range(200)], "x" * 5000
    for envelope in (large, large, large + "y"):
        assert post(door, {"note": envelope, "events": many}).status_code == 200
    assert len(door.rows("webhooks")) == 2
    assert len(door.rows("deliveries")) == 400


@pytest.mark.parametrize("name", ["kount", "verifi"])
def test_more_than_a_thousand_items_are_refused_and_said(door: Door, name: str) -> None:
    most = [{"i": n} for n in range(MOST_ITEMS)]
    for items in (most, {"events": most}) if name == "kount" else (most,):
        more = [*most, {}] if isinstance(items, list) else {"events": [*most, {}]}
        answer = post(door, more, name)
        assert (answer.status_code, answer.json["error"]) == (413, "too_large")
        assert "1,000" in answer.json["message"]
    assert door.rows("deliveries") == []
    assert {row.reason for row in door.rows("refusals")} == {"too_large"}
    assert post(door, most, name).status_code == 200
    assert len(door.rows("deliveries")) == MOST_ITEMS


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("verifi", b"[%s]" % b",".join(b"%d" % n for n in range(43_999))),
        ("verifi", ["x", None, [], 1.5]),
        ("kount", {"events": [1, 2, "x"]}),
        ("kount", [[{}]]),
    ],
)
def test_a_list_without_an_object_holds_no_alerts_and_is_one_delivery(
    door: Door, name: str, body: Any
) -> None:
    assert post(door, body, name).status_code == 200
    (row,) = door.rows("deliveries")
    assert door.translate(5) == 1
    (row,) = door.rows("deliveries")
    assert (row.status, row.reason) == (Status.FAILED, "untranslatable")


def test_what_is_no_object_beside_alerts_keeps_its_place_and_fails(door: Door) -> None:
    assert post(door, [5, {"eventType": "x"}, None], "verifi").status_code == 200
    door.translate(5)
    assert {row.item: row.reason for row in door.rows("deliveries")} == {
        0: "untranslatable",
        1: "unknown_event",
        2: "untranslatable",
    }


def test_a_path_to_items_may_lead_through_anything() -> None:
    for tree in (
        {"event_body.chargebacks": [{"id": "1"}, {"id": "2"}], "x": "1"},
        {"event_body": {"chargebacks": [{"id": "1"}, {"id": "2"}], "x": "1"}},
    ):
        assert [(item.tree["id"], trees.pick(item.tree, "x|event_body.x")) for item in read(NMI, tree)] == [
            ("1", "1"),
            ("2", "1"),
        ]
    assert len(read(NMI, {"event_body": [{"chargebacks": [{}]}]})) == 1
    through = batches.split({"a": [{"b": [{"id": 1}, {"id": 2}]}], "x": 1}, "a.0.b", ())
    assert [piece.whole()["id"] for piece in through] == [1, 2]
    assert through[0].whole()["x"] == 1


def test_the_worker_splits_a_webhook_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        post(door, {"n": n, "events": [{"i": i} for i in range(20)]})
    read_, seen = Provider.read, []
    monkeypatch.setattr(Provider, "read", lambda *given: seen.append(1) or read_(*given))  # type: ignore[func-returns-value]
    while door.translate(7):
        pass
    assert len(door.rows("deliveries")) == 60
    assert len(seen) == 3


def compact(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


HOSTILE = {
    "many keys, many items": compact(
        {**{f"k{n}": "" for n in range(21_900)}, "events": [{"i": n} for n in range(MOST_ITEMS)]}
    ),
    "one large value, many items": compact(
        {"k": "x" * 250_000, "events": [{"i": n} for n in range(MOST_ITEMS)]}
    ),
    "too many items": compact({"events": [{}] * 80_000}),
    "too many of both": compact(
        {**{f"k{n}": "" for n in range(11_000)}, "events": [{"i": n} for n in range(11_000)]}
    ),
}


@pytest.mark.parametrize(("case", "count"), list(zip(HOSTILE, (MOST_ITEMS, MOST_ITEMS, 1, 1), strict=True)))
def test_the_largest_batch_takes_well_below_a_second(door: Door, case: str, count: int) -> None:
    """A batch with too many items is one delivery, which fails."""
    assert LARGEST * 0.9 < len(HOSTILE[case]) <= LARGEST
    started = time.process_time()
    assert post(door, HOSTILE[case]).status_code == 200
    assert time.process_time() - started < 0.8
    translated, started = [door.translate(16)], time.process_time()
    while translated[-1]:
        translated.append(door.translate(16))
    assert time.process_time() - started < 2
    assert sum(translated) == len(door.rows("deliveries")) == count
