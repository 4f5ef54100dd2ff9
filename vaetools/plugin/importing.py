"""Functions that import a plugin, from a module name or a file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING

from vaetools.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


def module_importer(name: str) -> Callable[[], ModuleType]:
    """Import a module by its name."""
    return lambda: importlib.import_module(name)


def file_importer(file: Path, stem: str) -> Callable[[], ModuleType]:
    """Import a file as a module of its own name in `sys.modules`, which dataclasses and pickle need."""

    def load() -> ModuleType:
        name = f"vaetools_local_{stem}"
        if name in sys.modules and sys.modules[name].__file__ == str(file):
            return sys.modules[name]
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)
        if spec is None or spec.loader is None:
            raise PluginError("is not a Python file", file=file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    return load
