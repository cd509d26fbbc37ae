"""How many examples hypothesis tries: the same few in each `make test`, many new ones in `make soak`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

MANY = os.environ.get("HYPOTHESIS_PROFILE") == "many"

settings.register_profile("few", max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("many", max_examples=500, deadline=None, print_blob=True)
settings.load_profile("many" if MANY else "few")


def examples(few: int, **options: Any) -> settings:
    """Settings to try so many examples in `make test`, and twenty times as many in `make soak`."""
    return settings(max_examples=20 * few if MANY else few, **options)
