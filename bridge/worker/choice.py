"""The word that a person chooses where none goes with a resolution by itself; offered, checked and kept."""

from __future__ import annotations

import typing

import structlog

from bridge.errors import PermanentError
from bridge.storage.outcomes import Telling

if typing.TYPE_CHECKING:
    from bridge.providers.outcomes import Word
    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox

Json = dict[str, typing.Any]

log = structlog.get_logger()


def choices(inbox: Inbox, settings: Settings, case: Json) -> dict[str, tuple[Word, ...]]:
    """Return the words to choose from for each outcome of a case that waits for a person, by provider.

    They are those of the alert's kind; where that is not known, those of all kinds.
    """
    told = settings.outcomes_of(case["store"])
    waiting = [one["provider"] for one in case["outcomes"] if one["state"] == Telling.FAILED]
    return {
        name: told[name].choices(inbox.outcomes.category(case["id"], name))
        for name in waiting
        if name in told
    }


def choose(inbox: Inbox, settings: Settings, case: Json, provider: str, word: str, by: str) -> None:
    """Have an outcome told in a word; raises PermanentError where that cannot be chosen now."""
    offered = choices(inbox, settings, case)
    if provider not in offered:
        waiting = ", ".join(offered) or "none"
        raise PermanentError(f"No outcome for {provider} waits for a word on this case (waiting: {waiting}).")
    names = [one.name for one in offered[provider]]
    if word not in names:
        raise PermanentError(
            f"{provider} has no word {word} for this alert; choose one of {', '.join(names)}."
        )
    if not inbox.outcomes.choose(case["id"], provider, word, by):
        raise PermanentError(f"The outcome for {provider} is no longer waiting.")
    log.info("outcome chosen by hand", case=case["id"], provider=provider, word=word, by=by)
