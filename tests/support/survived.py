"""The faults of 29next that cost no alert anything, by name: what they have in common is tried again."""

from __future__ import annotations

from typing import Any

Fault = str | dict[str, Any]

THROTTLED = ("429", "429_date", "429_absent", "429_huge", "429_negative")
BROKEN = ("500", "502", "503", "reset", "close", "refuse", "hang", "drip", "drip_body")
DONE_ALL_THE_SAME = ("500_after", "502_after", "503_after", "reset_after", "close_after", "hang_after")
UNREADABLE = ("201_html", "201_empty", "201_10mb", "201_without_id")
LATE: tuple[Fault, ...] = (
    {"name": "503_late", "commits_after": 0.6},
    {"name": "late", "commits_after": 0.6},
    {"name": "late_hang", "commits_after": 1.6},
)
SURVIVED: tuple[Fault, ...] = (*THROTTLED, *BROKEN, *DONE_ALL_THE_SAME, *UNREADABLE, *LATE)
