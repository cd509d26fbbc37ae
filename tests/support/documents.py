"""The project's folder, and its Markdown documents as tests read them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?ms)^( *)```(\w+)\n(.*?)^\1```$")
"""A fenced block: its indentation, its language and its text."""
