"""What a person has to know now: found out from the figures, shown on the first page, told once.

`conditions` and `news` are pure. `Notifier` asks the database, takes each piece of news on itself, so
that of several processes one tells it, and posts it; it is never in the way of forwarding.
"""

from __future__ import annotations

import itertools
import typing
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from bridge.errors import TemporaryError, Unclear
from bridge.outbound.http import HttpClient
from bridge.storage import stats
from bridge.storage.deliveries import NO_NAME, OTHERS, UNKNOWN
from bridge.storage.pulls import pulled

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.settings import Notify, Settings
    from bridge.storage.database import Connection, Database
    from bridge.storage.memos import Memos
    from bridge.storage.pulls import Pulled

log = structlog.get_logger()

HALF, MOST = 0.5, 0.9
"""The shares of a deadline after which an alert that is still owed is told of."""
GONE_AFTER = 60.0
"""Seconds without a heartbeat after which the worker counts as gone."""
LEAST_SILENCE = 6 * 3600.0
LONGER_THAN_USUAL = 3.0
"""A provider is silent after so many times its longest pause, and no sooner than LEAST_SILENCE."""
NOT_PULLED, LEAST_NOT_PULLED = 10, 900.0
"""A provider counts as not pulled after so many intervals without a pull that worked, and so many seconds."""
LEAST_RHYTHM = 10
"""Deliveries before a provider has a rhythm."""
AGAIN_AFTER = 900.0
"""Seconds before growth is told again."""
REMIND_AFTER = 86_400.0
"""Seconds before what has not changed is told again."""
URGENT = 500
"""How many of the most urgent cases are looked at."""

TARGET_SECONDS = 10.0
"""Wall time that one notification may take."""

WORKER = "worker"


@dataclass(frozen=True)
class Condition:
    """One thing that a person has to know; `grave` where alerts are being lost or held up."""

    key: str
    title: str
    text: str
    path: str  # the viewer's page
    count: int = 1
    grave: bool = False
    told: bool = True  # whether it is told, or only shown
    over: str = ""  # what is told when it has ended
    check: str = ""  # what the doctor calls it, who knows how to fix it


@dataclass(frozen=True)
class Picture:
    """What conditions are found in; times are seconds."""

    now: float
    failed: Mapping[str, int] = field(default_factory=dict)  # by reason
    used: Sequence[float] = ()  # the shares of their deadlines that owed alerts have used
    reviews: int = 0
    paused: Mapping[str, str] = field(default_factory=dict)  # store -> why
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)  # provider -> receipts, newest first
    oldest_pending: float | None = None
    queue_old: float = 600.0
    worker_seen_at: float | None = None
    refused: Mapping[tuple[str, str], int] = field(default_factory=dict)  # of today
    untold: Mapping[str, tuple[int, str, str]] = field(default_factory=dict)  # provider -> count, case, why
    urgent: Mapping[str, tuple[int, str, str, float]] = field(default_factory=dict)  # and until when
    pulls: Mapping[str, tuple[float, Pulled]] = field(
        default_factory=dict
    )  # provider -> how often, how it goes
    refusals: Sequence[stats.Refusal] = ()  # the same with the newest's words, newest first
    known: Mapping[str, str] = field(default_factory=dict)  # provider, enabled or not -> its variable


def picture(connection: Connection, settings: Settings, now: float, summary: stats.Summary) -> Picture:
    """Ask the database for everything that may need a person."""
    configured = [name for name in settings.providers if settings.is_enabled(name)]
    how = pulled(connection) if settings.pulled else {}
    since = (datetime.fromtimestamp(now, UTC) - timedelta(days=1)).date()
    refusals = stats.refusals_since(connection, since)
    refused: Counter[tuple[str, str]] = Counter()
    for one in refusals:
        refused[one.provider, one.reason] += one.count
    return Picture(
        now=now,
        failed=stats.failed(connection),
        used=stats.deadlines_used(connection, URGENT, now),
        reviews=summary.reviews,
        paused=stats.paused(connection),
        times=stats.newest_times(connection, configured),
        oldest_pending=summary.oldest_pending,
        queue_old=settings.notify.queue_old if settings.notify else Picture.queue_old,
        worker_seen_at=summary.worker_seen_at,
        refused=refused,
        refusals=refusals,
        untold=stats.failed_outcomes(connection, now) if settings.reporting else {},
        urgent=stats.urgent_outcomes(connection, now) if settings.reporting else {},
        pulls={name: (one.every or 0.0, how[name]) for name, one in settings.pulled.items() if name in how},
        known={name: one.secret_variable for name, one in settings.providers.items()},
    )


def read_picture(database: Database, settings: Settings) -> Picture:
    """Ask the database for everything that may need a person, over one connection."""
    now = database.now()
    with database.read() as connection:
        return picture(connection, settings, now, stats.summary(connection, now))


def conditions(seen: Picture) -> list[Condition]:
    """Name what needs a person, the gravest first."""
    found = [*_worker(seen), *_paused(seen), *_expiring(seen), *_failed(seen), *_queue(seen)]
    found += [
        *_not_pulled(seen),
        *_reviews(seen),
        *_untold(seen),
        *_urgent(seen),
        *_silent(seen),
        *_refused(seen),
    ]
    return sorted(found, key=lambda one: not one.grave)


def _worker(seen: Picture) -> Iterable[Condition]:
    last = seen.worker_seen_at
    if last is None or seen.now - last > GONE_AFTER:
        heard = f"Last heartbeat {span(seen.now - last)} ago." if last else "No heartbeat received yet."
        text = f"{heard} Alerts are stored, but nothing is forwarded. Start one: `bridge worker`."
        over = "A worker is running again and forwards what was waiting."
        yield Condition(WORKER, "No worker is running", text, "/", grave=True, over=over, check=WORKER)


def _paused(seen: Picture) -> Iterable[Condition]:
    for store, why in sorted(seen.paused.items()):
        title, over = f"Store {store} is paused", f"Store {store} has resumed."
        check = f"{store}: paused"
        yield Condition(f"paused:{store}", title, why, "/stores", grave=True, over=over, check=check)


def _expiring(seen: Picture) -> Iterable[Condition]:
    for share, words, grave in ((MOST, "nine tenths", True), (HALF, "half", False)):
        count = sum(used >= share for used in seen.used)
        if count:
            title = f"{_count(count, 'alert')} {_has(count)} used {words} of the deadline"
            text = "Not forwarded yet. The calls on each case say why."
            yield Condition(f"expiring:{share}", title, text, "/deliveries?status=pending", count, grave)


def _untold(seen: Picture) -> Iterable[Condition]:
    for provider, (count, case_id, why) in sorted(seen.untold.items()):
        title = f"{_count(count, 'outcome')} could not be sent to {provider}"
        check = f"{provider}: outcomes"
        yield Condition(f"untold:{provider}", title, why, f"/cases/{case_id}", count, check=check)


def _urgent(seen: Picture) -> Iterable[Condition]:
    for provider, (count, case_id, why, until) in sorted(seen.urgent.items()):
        title = f"{_count(count, 'outcome')} for {provider} not sent yet"
        left = span(abs(until - seen.now))
        text = f"The provider waits {left} more." if until > seen.now else f"Late: its time ended {left} ago."
        over = f"No outcome for {provider} is urgent any more."
        path = f"/cases/{case_id}"
        yield Condition(
            f"untold:{provider}:urgent", title, f"{text} {why}".strip(), path, count, True, over=over
        )


def _not_pulled(seen: Picture) -> Iterable[Condition]:
    for provider, (every, how) in sorted(seen.pulls.items()):
        if is_overdue(seen.now, every, how):
            title = f"{provider} has not been pulled for {span(seen.now - how.last)}"
            text = how.error or "No worker has tried. Its alerts wait there, and their deadlines run."
            over = f"{provider} is pulled again."
            yield Condition(f"pull:{provider}", title, text, "/providers", grave=True, over=over)


def is_overdue(now: float, every: float, how: Pulled) -> bool:
    """Whether no pull has worked for much longer than one is due."""
    return now - how.last > max(every * NOT_PULLED, LEAST_NOT_PULLED)


def _failed(seen: Picture) -> Iterable[Condition]:
    for reason, count in seen.failed.items():
        title = f"{_count(count, 'alert')} failed: {reason.replace('_', ' ')}"
        text = "Open each one to see why. Replay or dismiss it there."
        path = f"/deliveries?status=failed&reason={reason}"
        yield Condition(f"failed:{reason}", title, text, path, count, grave=True)


def _queue(seen: Picture) -> Iterable[Condition]:
    if seen.oldest_pending is not None and seen.now - seen.oldest_pending > seen.queue_old:
        title = f"An alert has been waiting for {span(seen.now - seen.oldest_pending)}"
        text = "It is the oldest alert that is not forwarded yet."
        yield Condition("queue", title, text, "/deliveries?status=pending", over="The queue is short again.")


def _reviews(seen: Picture) -> Iterable[Condition]:
    if seen.reviews:
        title = f"{_count(seen.reviews, 'dispute')} to be reviewed"
        text = "No transaction is a certain match, or outcomes contradict each other."
        yield Condition("review", title, text, "/cases?state=review", seen.reviews, told=False)


def _silent(seen: Picture) -> Iterable[Condition]:
    for provider, times in sorted(seen.times.items()):
        usual = usual_silence(times)
        if usual is not None and seen.now - times[0] > usual:
            title = f"{provider} has been silent for {span(seen.now - times[0])}"
            text = "That is much longer than usual."
            text += "" if provider in seen.pulls else " Check that its webhook is still on."
            over = f"{provider} is sending alerts again."
            yield Condition(f"silent:{provider}", title, text, "/providers", over=over)


def _refused(seen: Picture) -> Iterable[Condition]:
    newest = {one.provider: one.reason for one in reversed(seen.refusals)}
    for (provider, reason), count in sorted(seen.refused.items(), key=lambda pair: -pair[1]):
        title = f"{_count(count, 'webhook')} of {provider} rejected: {reason.replace('_', ' ')}"
        text = "Since yesterday. The settings at the provider and here do not match."
        if reason == UNKNOWN and provider in seen.known:
            text = f"Since yesterday. This provider is not enabled: {seen.known[provider]} is not set."
        elif reason == UNKNOWN:
            title = f"{_count(count, 'webhook')} rejected: {url_called(provider)}"
            text = "Since yesterday. Check the URLs at your providers."
            if provider not in (OTHERS, NO_NAME):
                text = f"No provider is called {named(provider)}: check the URL at your provider."
        key = f"refused:{provider}:{reason}"
        check = provider if newest.get(provider) == reason else ""  # the doctor judges by the newest
        yield Condition(key, title, text, "/refused", count, told=False, check=check)


def named(name: str) -> str:
    """Write a name that a URL had, so that a blank in it is seen."""
    return f'"{name}"' if " " in name else name


def url_called(name: str) -> str:
    """Write the URL that was called by a name that no provider has."""
    if name == OTHERS:
        return "/webhooks/ and any other name"
    return "/webhooks without a name" if name == NO_NAME else named(f"/webhooks/{name}")


def usual_silence(times: Sequence[float]) -> float | None:
    """Return how long a provider may be silent by its own rhythm, or None where it has none yet."""
    if len(times) < LEAST_RHYTHM:
        return None
    longest = max(newer - older for newer, older in itertools.pairwise(times))
    return max(longest * LONGER_THAN_USUAL, LEAST_SILENCE)


# what is told


@dataclass(frozen=True)
class News:
    """One thing to tell, or (without a text) only to remember."""

    key: str
    count: int = 0
    title: str = ""
    text: str = ""
    path: str = "/"
    over: str = ""  # what will be told when it has ended
    before: float | None = None  # when it was told last
    ended: bool = False


def news(now: float, found: Iterable[Condition], told: Mapping[str, tuple[float, typing.Any]]) -> list[News]:
    """Choose what is told now: what is new, has grown, has ended, or has stood for a day."""
    chosen, standing = [], set()
    for one in found:
        if not one.told:
            continue
        standing.add(one.key)
        before, known = told.get(one.key, (None, {"count": 0}))
        grown, shrunk = one.count > known["count"], one.count < known["count"]
        if before is None or now - before >= (AGAIN_AFTER if grown else REMIND_AFTER):
            chosen.append(News(one.key, one.count, one.title, one.text, one.path, one.over, before))
        elif shrunk:
            chosen.append(News(one.key, one.count, over=one.over, before=before))
    ended = [(key, known) for key, (_, known) in told.items() if key not in standing]
    chosen += [News(key, title=known.get("over", ""), ended=True) for key, known in ended]
    return chosen


class Notifier:
    """Tells what is new; safe to run in several processes at once."""

    def __init__(self, database: Database, memos: Memos, settings: Settings, notify: Notify) -> None:
        self.database = database
        self.memos = memos
        self.settings = settings
        self.notify = notify
        self.exchange = HttpClient("The notification target", timeout=TARGET_SECONDS)

    def turn(self, *, only: str | None = None) -> int:
        """Tell what is new, or only what one key is about; returns how many pieces of news were told."""
        seen = read_picture(self.database, self.settings)
        found, told = conditions(seen), self.memos.told()
        if only is not None:
            found = [one for one in found if one.key == only]
            told = {key: value for key, value in told.items() if key == only}
        sent = 0
        for one in news(seen.now, found, told):
            if not self._take(one):
                continue
            if one.title and not self._post(one, seen.now):
                self._put_back(one)
                break
            sent += bool(one.title)
        return sent

    def _take(self, one: News) -> bool:
        if one.ended:
            return self.memos.forget(one.key)
        return self.memos.tell(one.key, {"count": one.count, "over": one.over}, one.before)

    def _put_back(self, one: News) -> None:
        """Let it be told the next time."""
        if one.ended:
            self.memos.tell(one.key, {"count": one.count, "over": one.title}, None)
        else:
            self.memos.forget(one.key)

    def _post(self, one: News, now: float) -> bool:
        try:
            status, _, _ = self.exchange.send("POST", self.notify.url, body=self._written(one, now))
        except (TemporaryError, Unclear) as error:
            log.warning("notification not sent", key=one.key, why=str(error))
            return False
        if not 200 <= status < 300:
            log.warning("notification not sent", key=one.key, status=status)
            return False
        log.info("notified", key=one.key)
        return True

    def _written(self, one: News, now: float) -> dict[str, typing.Any]:
        url = (self.settings.public_url or f"http://127.0.0.1:{self.settings.port}").rstrip("/") + one.path
        if self.notify.form == "slack":
            lines = [f"*{one.title}*", one.text, url]
            return {"text": "\n".join(_slack(line) for line in lines if line)}
        at = datetime.fromtimestamp(round(now), UTC).isoformat().replace("+00:00", "Z")
        told = {"key": one.key, "title": one.title, "text": one.text, "url": url}
        return told | {"count": one.count, "ended": one.ended, "at": at}


def _slack(line: str) -> str:
    """Write text so that Slack reads nothing into it (its own rule: these three characters)."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def span(seconds: float) -> str:
    """Write a length of time in its largest fitting unit."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
