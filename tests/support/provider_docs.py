"""Writes what the providers' own tables say into docs/providers.md and docs/providers/.

`python -m tests.support.provider_docs` writes it again, between the lines that name a provider or the
matrix; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from bridge import providers
from tests.support import provider_matrix, provider_pages
from tests.support.documents import ROOT

COMMAND = "python -m tests.support.provider_docs"
INDEX = ROOT / "docs" / "providers.md"
FOLDER = ROOT / "docs" / "providers"
MATRIX = "matrix"
BLOCK = re.compile(rf"(?s)<!-- (\w+): written by `{re.escape(COMMAND)}` -->\n.*?<!-- end of \1 -->")


def page(name: str) -> Path:
    """The page of a provider."""
    return FOLDER / f"{name}.md"


def pages() -> list[Path]:
    """Every page that holds something generated."""
    return [INDEX, *map(page, providers.built_in())]


def written(text: str) -> str:
    """A page with every block as the providers' tables have it now."""
    return BLOCK.sub(lambda found: block(found[1]), text)


def block(name: str) -> str:
    """What is generated of the provider of a name, or of all of them."""
    known = providers.built_in()
    body = provider_matrix.matrix(known) if name == MATRIX else provider_pages.block(known[name])
    return f"<!-- {name}: written by `{COMMAND}` -->\n\n{body}\n\n<!-- end of {name} -->"


if __name__ == "__main__":
    for path in pages():
        path.write_text(written(path.read_text("utf-8")), "utf-8")
