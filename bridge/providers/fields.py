"""The vocabulary of provider tables: the kinds of fields, as marshmallow fields, and the table itself.

Pure: no I/O, no clock, no environment. A field's `data_key` is a dotted path into the provider's body
(`a|b` for the first of several that says something), and its errors are reported under that path.
"""

from bridge.providers.amounts import Currency, Money
from bridge.providers.kinds import (
    MAX_LENGTH,
    NOT_FINAL,
    NOTE,
    REVIEW,
    Card,
    Code,
    Constant,
    Every,
    FirstSix,
    Flag,
    Identifier,
    LastFour,
    ProviderOutcome,
    Resolution,
    Text,
    Word,
    by_word,
)
from bridge.providers.moments import Moment
from bridge.providers.table import (
    ALERT,
    CDRN,
    CHARGEBACK,
    DISPUTE,
    ETHOCA,
    FRAUD,
    RDR,
    AlertSchema,
)

__all__ = [
    "ALERT",
    "CDRN",
    "CHARGEBACK",
    "DISPUTE",
    "ETHOCA",
    "FRAUD",
    "MAX_LENGTH",
    "NOTE",
    "NOT_FINAL",
    "RDR",
    "REVIEW",
    "AlertSchema",
    "Card",
    "Code",
    "Constant",
    "Currency",
    "Every",
    "FirstSix",
    "Flag",
    "Identifier",
    "LastFour",
    "Moment",
    "Money",
    "ProviderOutcome",
    "Resolution",
    "Text",
    "Word",
    "by_word",
]
