"""Who calls the bridge: one module for each provider, with its table; the module's name is its slug.

The others here say what a table is made of.
"""

from __future__ import annotations

import importlib
import pkgutil
import typing
from dataclasses import replace

if typing.TYPE_CHECKING:
    from bridge.providers.base import Provider


def built_in() -> dict[str, Provider]:
    """Return the table of every module that has one, under the module's name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    tables = {name: module.PROVIDER for name, module in modules.items() if hasattr(module, "PROVIDER")}
    return {name: replace(table, name=name) for name, table in tables.items()}
