"""Offers and records the word of an outcome that a person chooses, if the resolution implies none."""

from __future__ import annotations

import typing

import structlog

from bridge.errors import PermanentError
from bridge.storage.outcomes import OutcomeState

if typing.TYPE_CHECKING:
    from bridge.providers.outcomes import Word
    from bridge.settings import Settings
    from bridge.storage.inbox import Inbox

Json = dict[str, typing.Any]

log = structlog.get_logger()


def choices(inbox: Inbox, settings: Settings, case: Json) -> dict[str, tuple[Word, ...]]:
    """Returns the words to choose from, by provider, for each outcome of a case that waits for a person.

    They are those of the alert's category, or all words if that is not known.
    """
    outcomes = settings.outcomes_of(case["store"])
    waiting = [outcome["provider"] for outcome in case["outcomes"] if outcome["state"] == OutcomeState.FAILED]
    return {
        name: outcomes[name].choices(inbox.outcomes.category(case["id"], name))
        for name in waiting
        if name in outcomes
    }


def choose(inbox: Inbox, settings: Settings, case: Json, provider: str, word: str, by: str) -> None:
    """Sends an outcome with a chosen word; raises PermanentError if it cannot be chosen now."""
    offered = choices(inbox, settings, case)
    if provider not in offered:
        waiting = ", ".join(offered) or "none"
        raise PermanentError(f"No outcome for {provider} waits for a word on this case (waiting: {waiting}).")
    names = [offer.name for offer in offered[provider]]
    if word not in names:
        raise PermanentError(
            f"{provider} has no word {word} for this alert; choose one of {', '.join(names)}."
        )
    if not inbox.outcomes.choose_word(case["id"], provider, word, by):
        raise PermanentError(f"The outcome for {provider} is no longer waiting.")
    log.info("outcome chosen by hand", case=case["id"], provider=provider, word=word, by=by)
