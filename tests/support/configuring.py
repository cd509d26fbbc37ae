"""How tests read settings: a `bridge.toml` given as text, and what is said of one that does not work."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from bridge import settings
from bridge.errors import SettingsError

FILE = "given.toml"

PUBLIC_URLS = (
    *("https://alerts.example.com", "http://alerts.example.com:8000/", "http://10.0.0.5:8000"),
    *("http://0.0.0.0:8000", "https://127.0.0.1.nip.io", "http://localhost.example.com", "http://[fd00::2]"),
)
LOOPBACK_URLS = (
    *("http://127.0.0.1:8000", "http://127.0.0.1:8000/bridge/", "https://localhost", "http://LOCALHOST:1"),
    *("http://127.8.8.8", "http://[::1]:8000"),
)


def load(toml: str = "", **environ: str) -> settings.Settings:
    """Read the settings from this file and these variables."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_text(toml, "utf-8")
        return settings.load({"BRIDGE_CONFIG": FILE, **environ}, Path(folder))


def problems(toml: str = "", **environ: str) -> list[str]:
    """What is said of settings that do not work; the file's name is left out."""
    with pytest.raises(SettingsError) as caught:
        load(toml, **environ)
    return [problem.removeprefix(f"{FILE}: ") for problem in caught.value.problems]


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a Markdown text: their kind, and what is in them."""
    found: list[tuple[str, str]] = []
    for part in text.split("\n```")[1::2]:
        kind, _, inside = part.partition("\n")
        found.append((kind, inside))
    return found
