"""The alert services that call the bridge: a module with a table for each, named as in the URL.

The other modules here are what tables are made of.
"""

from __future__ import annotations

import importlib
import pkgutil
import typing
from dataclasses import replace

if typing.TYPE_CHECKING:
    from bridge.providers.base import Provider


def built_in() -> dict[str, Provider]:
    """Returns the provider of every module that has one, by the module's name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    tables = {name: module.PROVIDER for name, module in modules.items() if hasattr(module, "PROVIDER")}
    return {name: replace(table, name=name) for name, table in tables.items()}
