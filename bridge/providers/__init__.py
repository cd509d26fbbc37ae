"""The providers that the bridge knows: one module, one table each; the module's name is the slug."""

from __future__ import annotations

import importlib
import pkgutil
import typing
from dataclasses import replace

if typing.TYPE_CHECKING:
    from bridge.provider import Provider


def built_in() -> dict[str, Provider]:
    """Return every provider module's table under its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: replace(module.PROVIDER, name=name) for name, module in modules.items()}
