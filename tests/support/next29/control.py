"""The stand-in's control surface: its methods over HTTP, for tests in other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.support.next29.faults import Fault, fault
from tests.support.next29.replies import Json, Refusal, Reply

if TYPE_CHECKING:
    from tests.support.next29.server import StandIn


def control(next29: StandIn, method: str, path: str, body: object) -> Reply:
    """The answer of the control surface: 200 and the outcome, or 400 and what is wrong."""
    step = _CONTROLS.get((method, path))
    if step is None:
        known = ", ".join(" ".join(one) for one in _CONTROLS)
        return Reply(404, {"detail": f"There are {known}."})
    try:
        return Reply(200, step(next29, body))
    except Refusal as refusal:
        return refusal.reply
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Reply(400, {"detail": f"{type(error).__name__}: {error}"})


def _each(body: Any) -> list[Json]:
    """One object or a list of them."""
    return [dict(one) for one in (body if isinstance(body, list) else [body])]


def _show_ledger(next29: StandIn, _body: object) -> object:
    ledger = next29.ledger
    return {
        "summary": ledger.summary(),
        "calls": [asdict(call) for call in list(ledger.calls)],
        "commits": [asdict(commit) for commit in list(ledger.commits)],
    }


def _show_disputes(next29: StandIn, _body: object) -> object:
    """All disputes, those too that no list shows yet."""
    return [
        {"store": store.name, **row}
        for store in list(next29.stores.values())
        for row in list(store.disputes.by_id.values())
    ]


def _set_tokens(next29: StandIn, body: object) -> object:
    """Take {"token", "store", "scopes", "metadata_keys"}, or {"token", "revoke": true}."""
    for one in _each(body):
        if one.pop("revoke", False):
            next29.revoke(one["token"])
        else:
            next29.add_token(**one)
    return {}


def _set_faults(next29: StandIn, body: Any) -> object:
    """Take {"clear": true, "add": [...]}: whole faults, or {"name": one of FAULTS, changes}."""
    added = [
        Fault(**one) if "does" in one else fault(one.pop("name"), **one) for one in _each(body.get("add", []))
    ]
    if body.get("clear"):
        next29.faults.clear()
    next29.faults.add(*added)
    return [asdict(one) for one in added]


def _reset(next29: StandIn, _body: object) -> object:
    next29.reset()
    return {}


_CONTROLS: Mapping[tuple[str, str], Callable[[StandIn, Any], object]] = {
    ("GET", "/sandbox/summary"): lambda next29, _: next29.ledger.summary(),
    ("GET", "/sandbox/unmet"): lambda next29, _: next29.faults.unmet,
    ("GET", "/sandbox/ledger"): _show_ledger,
    ("GET", "/sandbox/disputes"): _show_disputes,
    ("POST", "/sandbox/disputes"): lambda next29, body: [next29.add_dispute(**one) for one in _each(body)],
    ("POST", "/sandbox/transactions"): lambda next29, body: [
        next29.add_transaction(**one) for one in _each(body)
    ],
    ("POST", "/sandbox/tokens"): _set_tokens,
    ("POST", "/sandbox/faults"): _set_faults,
    ("POST", "/sandbox/reset"): _reset,
}
