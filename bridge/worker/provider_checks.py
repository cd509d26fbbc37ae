"""Checks each provider: its last delivery, its rejected webhooks, its pulls and its outcomes."""

from __future__ import annotations

import typing
from collections import Counter
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from bridge.errors import BridgeError
from bridge.storage import stats
from bridge.storage.pulls import pull_states
from bridge.storage.search import Search
from bridge.worker.checks import Check, make_check
from bridge.worker.notify import is_overdue, url_called
from bridge.worker.pull import Api

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bridge.providers.base import Provider
    from bridge.settings import Settings
    from bridge.storage.database import Database

REFUSED_LATELY = timedelta(days=1)
NEW_EVENTS = timedelta(days=7)
MOST_NAMED = 20
MISTYPED = "mistyped URLs"


def check_providers(settings: Settings, database: Database, now: datetime) -> Iterator[Check]:
    """Checks when each enabled provider last delivered, and whether it was rejected since."""
    search = Search(database)
    last = {name: datetime.fromisoformat(at) for name, at in search.last_deliveries().items()}
    with database.read() as connection:
        refusals = stats.refusals_since(connection, (now - REFUSED_LATELY).date())
        failed = stats.failed_outcomes(connection, database.now())
    yield from check_refusals(settings, last, refusals, now)
    for name in settings.pulled:
        yield _pull(settings, database, name)
    yield from _new_events(search, now)
    yield from check_outcomes(settings, failed)


def check_outcomes(settings: Settings, failed: Mapping[str, tuple[int, str, str]]) -> Iterator[Check]:
    """Checks whether each provider that gets outcomes accepts them."""
    for name in settings.reporting:
        count, case_id, why = failed.get(name, (0, "", ""))
        message = f"{count} could not be sent; {why}" if count else "all sent"
        fix = (
            f"See `bridge show {case_id}`; once fixed, `bridge replay {case_id}` sends it again, "
            f"or choose its word: `bridge outcome {case_id}`."
        )
        yield make_check(f"{name}: outcomes", not count, message, fix)


def _pull(settings: Settings, database: Database, name: str) -> Check:
    """Checks the key by reading one alert, which changes nothing, and when the worker last pulled."""
    with database.read() as connection:
        how = pull_states(connection).get(name)
    at = f"{datetime.fromtimestamp(how.at, UTC):%Y-%m-%d %H:%M} UTC" if how and how.at else "never"
    message, fix = f"last pull {at}", "Start `bridge worker`: it pulls."
    overdue = not how or is_overdue(database.now(), settings.pulled[name].every or 0.0, how)
    if how and how.error:
        message += f", the next one failed: {how.error}"
        fix = "Fix what it says. The worker retries by itself."
    try:
        Api(settings, name, database.now).page(1)
    except BridgeError as error:
        fix = "Check the keys and the network; the alerts wait at the provider until then."
        return Check(f"{name}: pull", good=False, message=f"{error} ({message})", fix=fix)
    return make_check(f"{name}: pull", not overdue, f"the key works; {message}", fix)


def check_refusals(
    settings: Settings, last: Mapping[str, datetime], refusals: Sequence[stats.Refusal], now: datetime
) -> Iterator[Check]:
    """Checks each enabled provider by its last delivery and its rejected webhooks."""
    recent = [refusal for refusal in refusals if now - _moment(refusal) < REFUSED_LATELY]
    newest = {refusal.provider: refusal for refusal in reversed(recent)}
    for name, provider in settings.providers.items():
        if settings.secrets.get(name):
            yield _provider(provider, last.get(name), newest.get(name), settings.secrets[name])
    yield from _mistyped(settings, last, recent, now)


def _moment(refusal: stats.Refusal) -> datetime:
    return datetime.fromtimestamp(refusal.last_at, UTC)


def _mistyped(
    settings: Settings, last: Mapping[str, datetime], recent: Iterable[stats.Refusal], now: datetime
) -> Iterator[Check]:
    """Returns a check of the recently called URLs that belong to no provider.

    Anybody can call them, so it is bad only if one looks like an enabled provider that sends nothing.
    """
    silent = [
        name
        for name, secrets in settings.secrets.items()
        if secrets and (name not in last or now - last[name] > REFUSED_LATELY)
    ]
    counts: Counter[str] = Counter()
    for refusal in recent:
        if refusal.provider not in settings.providers:
            counts[refusal.provider] += refusal.count
    if counts:
        message = ", ".join(f"{url_called(name)} ({count})" for name, count in counts.most_common(MOST_NAMED))
        fix = "Correct the URL at the provider. `bridge providers` prints the right ones."
        firsts = [name.partition("/")[0].strip() for name in counts]
        meant = {close for first in firsts for close in get_close_matches(first, silent)}
        if meant:
            message += f"; nothing arrives from {' and '.join(sorted(meant))}"
        yield Check(MISTYPED, good=not meant, message=message, fix=fix)


def _new_events(search: Search, now: datetime) -> Iterator[Check]:
    """Returns a check of the new event types that no table lists and that are ignored by rule."""
    rows = [row for row in search.ignored_events() if not row["listed"]]
    new = [row for row in rows if now - datetime.fromisoformat(row["first_at"]) < NEW_EVENTS]
    if new:
        types = (f"{row['provider']} {row['event_type']} ({row['count']})" for row in new[:MOST_NAMED])
        message = ", ".join(types)
        fix = "If one of them is about a dispute, list it under [providers.NAME.effects] in bridge.toml."
        yield Check("new event types, ignored", good=True, message=message, fix=fix)


def _provider(
    provider: Provider, last: datetime | None, refusal: stats.Refusal | None, secrets: tuple[str, ...]
) -> Check:
    variable = provider.secret_variable
    message = f"last delivery {last:%Y-%m-%d %H:%M} UTC" if last else "nothing received yet"
    if refusal and (last is None or _moment(refusal) > last):
        message += f"; rejected since, {_moment(refusal):%H:%M} UTC: {refusal.reason}: {refusal.message}"
        fix = _FIX_BY_REASON.get(refusal.reason, _FIX_BAD_PROOF)
        fix = next((better for text, better in _FIX_BY_TEXT.items() if text in refusal.message), fix)
        return Check(provider.name, good=False, message=message, fix=fix.format(variable))
    fix = f"Remove {variable}_PREVIOUS once the provider uses the new secret." if len(secrets) > 1 else ""
    return Check(provider.name, good=True, message=message, fix=fix)


_FIX_BAD_PROOF = (
    "Enter the value of {0} at the provider. While it still sends the old secret, keep that in {0}_PREVIOUS."
)
_FIX_BY_REASON = {
    "too_large": "Configure the provider to send fewer alerts in one webhook.",
    "unsupported_encoding": "Turn off compression at the provider.",
    "bad_request": "Check what is between the provider and the bridge: something changes the body.",
}
_FIX_BY_TEXT = {
    "five minutes": "Synchronize this machine's clock (NTP). If it is right, the provider's clock is wrong.",
    "networks": "Add this address to networks in bridge.toml if it is the provider's; "
    "if it is your proxy's, set BRIDGE_PROXY_HOPS.",
}
"""Fixes by the reason of a rejection; a text in its message has precedence."""
