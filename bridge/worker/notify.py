"""Finds what needs attention, for the first page, and sends each notification once.

`conditions` and `new_notifications` are pure. `Notifier` reads the database and claims each notification,
so that only one of several processes sends it. It never delays forwarding.
"""

from __future__ import annotations

import html
import itertools
import typing
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from bridge.alert import iso
from bridge.errors import TemporaryError, Unclear
from bridge.outbound.http import HttpClient
from bridge.storage import stats
from bridge.storage.deliveries import NO_NAME, OTHERS, UNKNOWN
from bridge.storage.pulls import pull_states

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.settings import Notify, Settings
    from bridge.storage.database import Connection, Database
    from bridge.storage.pulls import PullState
    from bridge.storage.shared_state import SharedState

log = structlog.get_logger()

HALF, MOST = 0.5, 0.9
"""The shares of its deadline after which a pending alert is a condition."""
GONE_AFTER = 60.0
"""Seconds without a heartbeat after which no worker is running."""
LEAST_SILENCE = 6 * 3600.0
LONGER_THAN_USUAL = 3.0
"""A provider is silent after this many times its longest pause, and LEAST_SILENCE at least."""
NOT_PULLED, LEAST_NOT_PULLED = 10, 900.0
"""A provider counts as not pulled after this many intervals without a success, and this many seconds."""
LEAST_RHYTHM = 10
"""How many deliveries a provider needs to have a rhythm."""
AGAIN_AFTER = 900.0
"""Seconds before a grown count is sent again."""
REMIND_AFTER = 86_400.0
"""Seconds before an unchanged condition is sent again."""
URGENT = 500
"""How many of the most urgent cases are checked."""

TARGET_SECONDS = 10.0
"""How long one notification may take, in seconds of wall time."""

WORKER = "worker"


@dataclass(frozen=True)
class Condition:
    """One thing that needs attention; `grave` if alerts fail or wait because of it."""

    key: str
    title: str
    text: str
    path: str  # the viewer's page
    count: int = 1
    grave: bool = False
    is_sent: bool = True  # whether it is sent, or only shown
    over: str = ""  # the text to send when it has ended
    check: str = ""  # the name of the doctor's check, which has the fix


@dataclass(frozen=True)
class Snapshot:
    """The statistics in which conditions are found; times are seconds."""

    now: float
    failed: Mapping[str, int] = field(default_factory=dict)  # by reason
    used: Sequence[float] = ()  # the shares of their deadlines that pending alerts have used
    reviews: int = 0
    paused: Mapping[str, str] = field(default_factory=dict)  # store -> why
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)  # provider -> receipts, newest first
    oldest_pending: float | None = None
    queue_old: float = 600.0
    worker_seen_at: float | None = None
    # provider -> count, case, why, and until when
    failed_outcomes: Mapping[str, tuple[int, str, str]] = field(default_factory=dict)
    urgent_outcomes: Mapping[str, tuple[int, str, str, float]] = field(default_factory=dict)
    # provider -> its interval, how its pulls are going
    pulls: Mapping[str, tuple[float, PullState]] = field(default_factory=dict)
    refusals: Sequence[stats.Refusal] = ()  # of today, newest first
    secret_variables: Mapping[str, str] = field(default_factory=dict)  # provider, enabled or not -> its own


def take_snapshot(connection: Connection, settings: Settings, now: float, summary: stats.Summary) -> Snapshot:
    """Reads everything that may need attention."""
    configured = [name for name in settings.providers if settings.is_enabled(name)]
    pulls = pull_states(connection) if settings.pulled else {}
    since = (datetime.fromtimestamp(now, UTC) - timedelta(days=1)).date()
    return Snapshot(
        now=now,
        failed=stats.failed(connection),
        used=stats.deadlines_used(connection, URGENT, now),
        reviews=summary.reviews,
        paused=stats.paused(connection),
        times=stats.newest_times(connection, configured),
        oldest_pending=summary.oldest_pending,
        queue_old=settings.notify.queue_old if settings.notify else Snapshot.queue_old,
        worker_seen_at=summary.worker_seen_at,
        refusals=stats.refusals_since(connection, since),
        failed_outcomes=stats.failed_outcomes(connection, now) if settings.reporting else {},
        urgent_outcomes=stats.urgent_outcomes(connection, now) if settings.reporting else {},
        pulls={n: (pull.every or 0.0, pulls[n]) for n, pull in settings.pulled.items() if n in pulls},
        secret_variables={name: provider.secret_variable for name, provider in settings.providers.items()},
    )


def read_snapshot(database: Database, settings: Settings) -> Snapshot:
    """Reads everything that may need attention, over one connection."""
    now = database.now()
    with database.read() as connection:
        return take_snapshot(connection, settings, now, stats.summary(connection, now))


def conditions(seen: Snapshot) -> list[Condition]:
    """Returns what needs attention, the grave conditions first."""
    found = [
        *_worker(seen),
        *_paused(seen),
        *_expiring(seen),
        *_failed(seen),
        *_queue(seen),
        *_not_pulled(seen),
        *_reviews(seen),
        *_failed_outcomes(seen),
        *_urgent_outcomes(seen),
        *_silent(seen),
        *_refused(seen),
    ]
    return sorted(found, key=lambda condition: not condition.grave)


def _worker(seen: Snapshot) -> Iterable[Condition]:
    last = seen.worker_seen_at
    if last is None or seen.now - last > GONE_AFTER:
        heard = f"Last heartbeat {span(seen.now - last)} ago." if last else "No heartbeat received yet."
        text = f"{heard} Alerts are stored, but nothing is forwarded. Start one: `bridge worker`."
        over = "A worker is running again and forwards what was waiting."
        yield Condition(WORKER, "No worker is running", text, "/", grave=True, over=over, check=WORKER)


def _paused(seen: Snapshot) -> Iterable[Condition]:
    for store, why in sorted(seen.paused.items()):
        title, over = f"Store {store} is paused", f"Store {store} has resumed."
        check = f"{store}: paused"
        yield Condition(f"paused:{store}", title, why, "/stores", grave=True, over=over, check=check)


def _expiring(seen: Snapshot) -> Iterable[Condition]:
    for share, share_text, grave in ((MOST, "nine tenths", True), (HALF, "half", False)):
        count = sum(used >= share for used in seen.used)
        if count:
            has = "has" if count == 1 else "have"
            title = f"{_count(count, 'alert')} {has} used {share_text} of the deadline"
            text = "Not forwarded yet. The calls on each case say why."
            yield Condition(f"expiring:{share}", title, text, "/deliveries?status=pending", count, grave)


def _failed_outcomes(seen: Snapshot) -> Iterable[Condition]:
    for provider, (count, case_id, why) in sorted(seen.failed_outcomes.items()):
        title = f"{_count(count, 'outcome')} could not be sent to {provider}"
        path, check = f"/cases/{case_id}", f"{provider}: outcomes"
        yield Condition(f"untold:{provider}", title, why, path, count, check=check)


def _urgent_outcomes(seen: Snapshot) -> Iterable[Condition]:
    for provider, (count, case_id, why, until) in sorted(seen.urgent_outcomes.items()):
        title = f"{_count(count, 'outcome')} for {provider} not sent yet"
        left = span(abs(until - seen.now))
        text = f"The provider waits {left} more." if until > seen.now else f"Late: its time ended {left} ago."
        key, path, text = f"untold:{provider}:urgent", f"/cases/{case_id}", f"{text} {why}".strip()
        over = f"No outcome for {provider} is urgent any more."
        yield Condition(key, title, text, path, count, grave=True, over=over)


def _not_pulled(seen: Snapshot) -> Iterable[Condition]:
    for provider, (every, how) in sorted(seen.pulls.items()):
        if is_overdue(seen.now, every, how):
            title = f"{provider} has not been pulled for {span(seen.now - how.last)}"
            text = how.error or "No worker has tried. Its alerts wait there, and their deadlines run."
            over = f"{provider} is pulled again."
            yield Condition(f"pull:{provider}", title, text, "/providers", grave=True, over=over)


def is_overdue(now: float, every: float, how: PullState) -> bool:
    """Whether the last successful pull is much longer ago than the interval."""
    return now - how.last > max(every * NOT_PULLED, LEAST_NOT_PULLED)


def _failed(seen: Snapshot) -> Iterable[Condition]:
    for reason, count in seen.failed.items():
        title = f"{_count(count, 'alert')} failed: {reason.replace('_', ' ')}"
        text = "Open each one to see why. Replay or dismiss it there."
        path = f"/deliveries?status=failed&reason={reason}"
        yield Condition(f"failed:{reason}", title, text, path, count, grave=True)


def _queue(seen: Snapshot) -> Iterable[Condition]:
    if seen.oldest_pending is not None and seen.now - seen.oldest_pending > seen.queue_old:
        title = f"An alert has been waiting for {span(seen.now - seen.oldest_pending)}"
        text = "It is the oldest alert that is not forwarded yet."
        yield Condition("queue", title, text, "/deliveries?status=pending", over="The queue is short again.")


def _reviews(seen: Snapshot) -> Iterable[Condition]:
    if seen.reviews:
        title = f"{_count(seen.reviews, 'dispute')} to be reviewed"
        text = "No transaction is a certain match, or outcomes contradict each other."
        yield Condition("review", title, text, "/cases?state=review", seen.reviews, is_sent=False)


def _silent(seen: Snapshot) -> Iterable[Condition]:
    for provider, times in sorted(seen.times.items()):
        usual = usual_silence(times)
        if usual is not None and seen.now - times[0] > usual:
            title = f"{provider} has been silent for {span(seen.now - times[0])}"
            text = "That is much longer than usual."
            text += "" if provider in seen.pulls else " Check that its webhook is still on."
            over = f"{provider} is sending alerts again."
            yield Condition(f"silent:{provider}", title, text, "/providers", over=over)


def _refused(seen: Snapshot) -> Iterable[Condition]:
    newest = {refusal.provider: refusal.reason for refusal in reversed(seen.refusals)}
    refused: Counter[tuple[str, str]] = Counter()
    for refusal in seen.refusals:
        refused[refusal.provider, refusal.reason] += refusal.count
    for (provider, reason), count in refused.most_common():
        title = f"{_count(count, 'webhook')} of {provider} rejected: {reason.replace('_', ' ')}"
        text = "Since yesterday. The settings at the provider and here do not match."
        if reason == UNKNOWN and provider in seen.secret_variables:
            variable = seen.secret_variables[provider]
            text = f"Since yesterday. This provider is not enabled: {variable} is not set."
        elif reason == UNKNOWN:
            title = f"{_count(count, 'webhook')} rejected: {url_called(provider)}"
            text = "Since yesterday. Check the URLs at your providers."
            if provider not in (OTHERS, NO_NAME):
                text = f"No provider is called {named(provider)}: check the URL at your provider."
        key = f"refused:{provider}:{reason}"
        check = provider if newest.get(provider) == reason else ""  # the doctor judges by the newest
        yield Condition(key, title, text, "/refused", count, is_sent=False, check=check)


def named(name: str) -> str:
    """Returns the name from a URL, in quotes if it has a blank."""
    return f'"{name}"' if " " in name else name


def url_called(name: str) -> str:
    """Returns the URL that was called with an unknown name."""
    if name == OTHERS:
        return "/webhooks/ and any other name"
    return "/webhooks without a name" if name == NO_NAME else named(f"/webhooks/{name}")


def usual_silence(times: Sequence[float]) -> float | None:
    """Returns how long a provider may be silent by its own rhythm, or None if it has none yet."""
    if len(times) < LEAST_RHYTHM:
        return None
    longest = max(newer - older for newer, older in itertools.pairwise(times))
    return max(longest * LONGER_THAN_USUAL, LEAST_SILENCE)


# notifications


@dataclass(frozen=True)
class Notification:
    """A notification to send, or (without a title) only to record."""

    key: str
    count: int = 0
    title: str = ""
    text: str = ""
    path: str = "/"
    over: str = ""  # the text to send when it has ended
    before: float | None = None  # when it was sent last
    ended: bool = False


def new_notifications(
    now: float, found: Iterable[Condition], sent: Mapping[str, tuple[float, typing.Any]]
) -> list[Notification]:
    """Returns what to send now: what is new, has grown, has ended, or is unchanged for a day."""
    chosen, standing = [], set()
    for condition in found:
        if not condition.is_sent:
            continue
        standing.add(condition.key)
        before, value = sent.get(condition.key, (None, {"count": 0}))
        grown, shrunk = condition.count > value["count"], condition.count < value["count"]
        if before is None or now - before >= (AGAIN_AFTER if grown else REMIND_AFTER):
            content = (condition.title, condition.text, condition.path, condition.over, before)
            chosen.append(Notification(condition.key, condition.count, *content))
        elif shrunk:
            chosen.append(Notification(condition.key, condition.count, over=condition.over, before=before))
    ended = [(key, value) for key, (_, value) in sent.items() if key not in standing]
    chosen += [Notification(key, title=value.get("over", ""), ended=True) for key, value in ended]
    return chosen


class Notifier:
    """Sends notifications; safe to run in several processes at once."""

    def __init__(
        self, database: Database, shared_state: SharedState, settings: Settings, notify: Notify
    ) -> None:
        self.database = database
        self.shared_state = shared_state
        self.settings = settings
        self.notify = notify
        self.exchange = HttpClient("The notification target", timeout=TARGET_SECONDS)

    def send_new(self, *, only: str | None = None) -> int:
        """Sends what is new, or only one key; returns how many notifications were sent."""
        seen = read_snapshot(self.database, self.settings)
        found, sent_before = conditions(seen), self.shared_state.notifications()
        if only is not None:
            found = [condition for condition in found if condition.key == only]
            sent_before = {key: value for key, value in sent_before.items() if key == only}
        sent = 0
        for new in new_notifications(seen.now, found, sent_before):
            if not self._claim(new):
                continue
            if new.title and not self._post(new, seen.now):
                self._release(new)
                break
            sent += bool(new.title)
        return sent

    def _claim(self, new: Notification) -> bool:
        if new.ended:
            return self.shared_state.forget_notification(new.key)
        return self.shared_state.claim_notification(
            new.key, {"count": new.count, "over": new.over}, new.before
        )

    def _release(self, new: Notification) -> None:
        """Releases the claim, so that the next run sends it."""
        if new.ended:
            self.shared_state.claim_notification(new.key, {"count": new.count, "over": new.title}, None)
        else:
            self.shared_state.forget_notification(new.key)

    def _post(self, new: Notification, now: float) -> bool:
        try:
            status, _, _ = self.exchange.send("POST", self.notify.url, body=self._payload(new, now))
        except (TemporaryError, Unclear) as error:
            log.warning("notification not sent", key=new.key, why=str(error))
            return False
        if not 200 <= status < 300:
            log.warning("notification not sent", key=new.key, status=status)
            return False
        log.info("notified", key=new.key)
        return True

    def _payload(self, new: Notification, now: float) -> dict[str, typing.Any]:
        base_url = self.settings.public_url or f"http://127.0.0.1:{self.settings.port}"
        url = base_url.rstrip("/") + new.path
        if self.notify.form == "slack":
            lines = [f"*{new.title}*", new.text, url]
            # the three characters that Slack's documentation names
            return {"text": "\n".join(html.escape(line, quote=False) for line in lines if line)}
        at = iso(datetime.fromtimestamp(round(now), UTC))
        content = {"key": new.key, "title": new.title, "text": new.text, "url": url}
        return content | {"count": new.count, "ended": new.ended, "at": at}


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def span(seconds: float) -> str:
    """Returns a length of time in its largest fitting unit."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
