"""Functions that import a plugin, from a module name or a file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vaetools.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

_IMPORTING = threading.RLock()


def _renewed() -> None:
    """A forked process has none of the threads, and perhaps a lock that nobody will release."""
    global _IMPORTING  # noqa: PLW0603
    _IMPORTING = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renewed)


@contextmanager
def plugin_code() -> Iterator[Callable[[BaseException], bool]]:
    """While code of a plugin runs: tells Ctrl-C from a `KeyboardInterrupt` that the plugin raises.

    Yields:
        Whether an exception comes from the user. Always False for another one than `KeyboardInterrupt`,
        in other threads than the main one, which alone gets signals, and where SIGINT is ignored
        (background jobs of a shell); True where a program around Python handles it.
    """
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        handler(number, frame)

    def is_from_user(error: BaseException) -> bool:
        return isinstance(error, KeyboardInterrupt) and (pressed or handler is None)

    handler: Any = signal.getsignal(signal.SIGINT)
    depth = sys.getrecursionlimit()
    watched = callable(handler) and threading.current_thread() is threading.main_thread()
    if watched:
        signal.signal(signal.SIGINT, note)
    try:
        yield is_from_user
    finally:
        sys.setrecursionlimit(depth)
        if watched and signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, handler)


def module_importer(name: str) -> Callable[[], ModuleType]:
    """Import a module by its name."""
    return lambda: importlib.import_module(name)


def file_importer(file: Path, stem: str) -> Callable[[], ModuleType]:
    """Import a file as a module of its own name in `sys.modules`, which dataclasses and pickle need."""

    def load() -> ModuleType:
        with _IMPORTING:  # a module is in `sys.modules` before it is complete
            return import_once()

    def import_once() -> ModuleType:
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
