"""How a provider shows that it is itself. Pure: raw bytes in, a refusal or nothing out.

Every malformation is the same refusal as a wrong proof, and nothing is compared in time that
depends on how much of it is right.
"""

from __future__ import annotations

import dataclasses
import typing

from bridge.providers.credentials import (
    Basic,
    BasicOrHeader,
    Bearer,
    Header,
    Proof,
    Url,
    bad_proof,
    refusal,
    same,
)
from bridge.providers.signatures import (
    ALGORITHMS,
    ENCODINGS,
    TOLERANCE,
    AdyenItems,
    Hmac,
    Resigned,
    Solidgate,
    StandardWebhooks,
    TimestampedHmac,
    check_age,
)

if typing.TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "TOLERANCE",
    "AdyenItems",
    "Basic",
    "BasicOrHeader",
    "Bearer",
    "Header",
    "Hmac",
    "Proof",
    "Resigned",
    "Solidgate",
    "StandardWebhooks",
    "TimestampedHmac",
    "Url",
    "bad_proof",
    "build",
    "check_age",
    "refusal",
    "same",
]

KINDS: dict[str, type] = {
    proof.kind: proof for proof in (Basic, Bearer, Header, Url, Hmac, TimestampedHmac, StandardWebhooks)
}
"""Ways of proof by the word that `bridge.toml` uses."""


def build(table: Mapping[str, typing.Any]) -> Proof:
    """Build a proof from its table in `bridge.toml`; raises ValueError with all that is wrong, one by one."""
    options = {name: value for name, value in table.items() if name != "kind"}
    kind = KINDS.get(str(table.get("kind")))
    known = {one.name for each in ([kind] if kind else KINDS.values()) for one in dataclasses.fields(each)}
    wrong = [] if kind else [f"kind must be one of {', '.join(sorted(KINDS))}"]
    if unknown := sorted(set(options) - known):
        has = f"; expected one of {', '.join(sorted(known))}" if known else ""
        wrong.append(f"{table.get('kind')} has no option {', '.join(unknown)}{has}")
    for name in sorted(known & set(options)):
        if not isinstance(options[name], str):
            wrong.append(f"{name}: every option is text, in quotes")
        elif options[name] not in (words := WORDS.get(name, [options[name]])):
            wrong.append(f"{name} must be one of {', '.join(words)}")
    usable = {name: options[name] for name in known & set(options) if isinstance(options[name], str)}
    made = kind(**usable) if kind else None
    if isinstance(made, Hmac | StandardWebhooks):
        wrong += made.wrong()
    if wrong:
        raise ValueError(*wrong)
    return typing.cast("Proof", made)


WORDS: Mapping[str, typing.Iterable[str]] = {"algorithm": ALGORITHMS, "encoding": ENCODINGS}
"""Options that are one of some words."""
