"""How providers authenticate their webhooks. Pure: raw bytes in, a rejection or nothing out.

A malformed proof is rejected like a wrong one. The time of a comparison does not show how much is right.
"""

from __future__ import annotations

import dataclasses
import typing

from bridge.providers.credentials import Basic, BasicOrHeader, Bearer, Header, Proof, Url, refusal, same
from bridge.providers.signatures import (
    ALGORITHMS,
    ENCODINGS,
    AdyenItems,
    Hmac,
    NextSignature,
    Solidgate,
    StandardWebhooks,
    TimestampedHmac,
)

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AdyenItems",
    "Basic",
    "BasicOrHeader",
    "Bearer",
    "Header",
    "Hmac",
    "NextSignature",
    "Proof",
    "Solidgate",
    "StandardWebhooks",
    "TimestampedHmac",
    "Url",
    "build",
    "refusal",
    "same",
]

KINDS: dict[str, type] = {
    proof.kind: proof for proof in (Basic, Bearer, Header, Url, Hmac, TimestampedHmac, StandardWebhooks)
}
"""The kinds of proof by their words in `bridge.toml`."""


def build(table: Mapping[str, typing.Any]) -> Proof:
    """Returns the proof of a table in `bridge.toml`; raises ValueError with all problems as arguments."""
    options = {name: value for name, value in table.items() if name != "kind"}
    kind = KINDS.get(str(table.get("kind")))
    kinds = [kind] if kind else KINDS.values()
    names = {field.name for each in kinds for field in dataclasses.fields(each)}
    problems = [] if kind else [f"kind must be one of {', '.join(sorted(KINDS))}"]
    if unknown := sorted(set(options) - names):
        expected = f"; expected one of {', '.join(sorted(names))}" if names else ""
        problems.append(f"{table.get('kind')} has no option {', '.join(unknown)}{expected}")
    for name in sorted(names & set(options)):
        if not isinstance(options[name], str):
            problems.append(f"{name}: every option is text, in quotes")
        elif options[name] not in (words := CHOICES.get(name, [options[name]])):
            problems.append(f"{name} must be one of {', '.join(words)}")
    usable = {name: options[name] for name in names & set(options) if isinstance(options[name], str)}
    proof = kind(**usable) if kind else None
    if isinstance(proof, Hmac | StandardWebhooks):
        problems += proof.problems()
    if problems:
        raise ValueError(*problems)
    return typing.cast("Proof", proof)


CHOICES: Mapping[str, typing.Iterable[str]] = {"algorithm": ALGORITHMS, "encoding": ENCODINGS}
"""The options that are one of some words."""
