"""What is said of each provider: its last delivery, its rejected webhooks, its outcomes."""

from __future__ import annotations

import typing
from collections import Counter
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from bridge.errors import BridgeError
from bridge.storage import stats
from bridge.storage.pulls import pulled
from bridge.storage.search import Search
from bridge.worker.checks import Check, judged
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
    """Say of each provider that is on when it last got in, and whether it was turned away since."""
    search = Search(database)
    last = {name: datetime.fromisoformat(at) for name, at in search.last_deliveries().items()}
    with database.read() as connection:
        refusals = stats.refusals_since(connection, (now - REFUSED_LATELY).date())
        untold = stats.failed_outcomes(connection, database.now())
    yield from check_refusals(settings, last, refusals, now)
    for name in settings.pulled:
        yield _pull(settings, database, name)
    yield from _new_events(search, now)
    yield from check_outcomes(settings, untold)


def check_outcomes(settings: Settings, untold: Mapping[str, tuple[int, str, str]]) -> Iterator[Check]:
    """Say of each provider that is told how alerts end whether it takes that."""
    for name in settings.reporting:
        count, case_id, why = untold.get(name, (0, "", ""))
        said = f"{count} could not be sent; {why}" if count else "all sent"
        remedy = (
            f"See `bridge show {case_id}`; once fixed, `bridge replay {case_id}` sends it again, "
            f"or choose its word: `bridge outcome {case_id}`."
        )
        yield judged(f"{name}: outcomes", not count, said, remedy)


def _pull(settings: Settings, database: Database, name: str) -> Check:
    """Ask for one alert, which changes nothing, and say when the worker last pulled."""
    with database.read() as connection:
        how = pulled(connection).get(name)
    at = f"{datetime.fromtimestamp(how.at, UTC):%Y-%m-%d %H:%M} UTC" if how and how.at else "never"
    said, remedy = f"last pull {at}", "Start `bridge worker`: it pulls."
    overdue = not how or is_overdue(database.now(), settings.pulled[name].every or 0.0, how)
    if how and how.error:
        said, remedy = (
            f"{said}, the next one failed: {how.error}",
            "Fix what it says. The worker retries by itself.",
        )
    try:
        Api(settings, name, database.now).page(1)
    except BridgeError as error:
        remedy = "Check the keys and the network; the alerts wait at the provider until then."
        return Check(f"{name}: pull", good=False, said=f"{error} ({said})", remedy=remedy)
    return judged(f"{name}: pull", not overdue, f"the key works; {said}", remedy)


def check_refusals(
    settings: Settings, last: Mapping[str, datetime], refusals: Sequence[stats.Refusal], now: datetime
) -> Iterator[Check]:
    """Say of each provider that is on whether it gets in, by its last delivery and what was refused."""
    lately = [one for one in refusals if now - _moment(one) < REFUSED_LATELY]
    newest: dict[str, stats.Refusal] = {}
    for one in lately:
        newest.setdefault(one.provider, one)
    for name, provider in settings.providers.items():
        if settings.secrets.get(name):
            yield _provider(provider, last.get(name), newest.get(name), settings.secrets[name])
    yield from _mistyped(settings, last, lately, now)


def _moment(refusal: stats.Refusal) -> datetime:
    return datetime.fromtimestamp(refusal.last_at, UTC)


def _mistyped(
    settings: Settings, last: Mapping[str, datetime], lately: Iterable[stats.Refusal], now: datetime
) -> Iterator[Check]:
    """Name the URLs that were called lately and that no provider has.

    Anybody can call them, so that is bad only where one looks like an enabled provider that sends nothing.
    """
    silent = [
        name
        for name, secrets in settings.secrets.items()
        if secrets and (name not in last or now - last[name] > REFUSED_LATELY)
    ]
    counts: Counter[str] = Counter()
    for one in lately:
        if one.provider not in settings.providers:
            counts[one.provider] += one.count
    if counts:
        said = ", ".join(f"{url_called(name)} ({count})" for name, count in counts.most_common(MOST_NAMED))
        remedy = "Correct the URL at the provider. `bridge providers` prints the right ones."
        meant = {one for name in counts for one in get_close_matches(name.partition("/")[0].strip(), silent)}
        if meant:
            said += f"; nothing arrives from {' and '.join(sorted(meant))}"
        yield Check(MISTYPED, good=not meant, said=said, remedy=remedy)


def _new_events(search: Search, now: datetime) -> Iterator[Check]:
    """Name the event types that nobody listed, are ignored by rule, and came for the first time lately."""
    rows = [row for row in search.ignored_events() if not row["listed"]]
    new = [row for row in rows if now - datetime.fromisoformat(row["first_at"]) < NEW_EVENTS]
    if new:
        said = ", ".join(
            f"{row['provider']} {row['event_type']} ({row['count']})" for row in new[:MOST_NAMED]
        )
        remedy = "If one of them is about a dispute, list it under [providers.NAME.effects] in bridge.toml."
        yield Check("new event types, ignored", good=True, said=said, remedy=remedy)


def _provider(
    provider: Provider, last: datetime | None, refused: stats.Refusal | None, secrets: tuple[str, ...]
) -> Check:
    variable = provider.secret_variable
    said = f"last delivery {last:%Y-%m-%d %H:%M} UTC" if last else "nothing received yet"
    if refused and (last is None or _moment(refused) > last):
        said += f"; rejected since, {_moment(refused):%H:%M} UTC: {refused.reason}: {refused.message}"
        remedy = _REFUSED.get(refused.reason, _BAD_PROOF)
        remedy = next((one for word, one in _IN_WORDS.items() if word in refused.message), remedy)
        return Check(provider.name, good=False, said=said, remedy=remedy.format(variable))
    rotating = (
        f"Remove {variable}_PREVIOUS once the provider uses the new secret." if len(secrets) > 1 else ""
    )
    return Check(provider.name, good=True, said=said, remedy=rotating)


_BAD_PROOF = (
    "Enter the value of {0} at the provider. While it still sends the old secret, keep that in {0}_PREVIOUS."
)
_REFUSED = {
    "too_large": "Configure the provider to send fewer alerts in one webhook.",
    "unsupported_encoding": "Turn off compression at the provider.",
    "bad_request": "Check what is between the provider and the bridge: something changes the body.",
}
_IN_WORDS = {
    "five minutes": "Synchronize this machine's clock (NTP). If it is right, the provider's clock is wrong.",
    "networks": "Add this address to networks in bridge.toml if it is the provider's; "
    "if it is your proxy's, set BRIDGE_PROXY_HOPS.",
}
"""Remedies by the word of a refusal, and before those by what stands in its sentence."""
