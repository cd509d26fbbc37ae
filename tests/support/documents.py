"""The project's Markdown documents, as tests read them."""

from __future__ import annotations

import re

BLOCK = re.compile(r"(?ms)^( *)```(\w+)\n(.*?)^\1```$")
"""A fenced block: its indentation, its language and its text."""
