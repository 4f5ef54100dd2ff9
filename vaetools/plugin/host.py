"""The plugin host: loads plugins one by one, so that a broken one costs nothing but itself.

Built-in plugins are a tuple of module names; others come as installed packages (entry points of
the group `vaetools`), as files in a folder that the user names, or as objects in code. Nothing is
ever loaded from the current folder unasked.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from vaetools.errors import OptionError, PluginError
from vaetools.operation import (
    RESERVED_OPERATIONS,
    RESERVED_OPTIONS,
    Operation,
    option_specs,
)
from vaetools.plugin import hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

BUILTIN = (
    "vaetools_plugins.augment",
    "vaetools_plugins.compress",
    "vaetools_plugins.denoise",
    "vaetools_plugins.generate",
    "vaetools_plugins.inpaint",
    "vaetools_plugins.masks",
    "vaetools_plugins.reconstruct",
)
BUILT_IN = "built-in"
DIRECTORIES = "VAETOOLS_PLUGINS_DIR"
"""Environment variable: folders with plugin files, separated as in PATH."""
CHOSEN = "VAETOOLS_PLUGINS"
"""Environment variable: names of the installed plugins to load; empty for none."""
PATIENCE = "VAETOOLS_PLUGIN_SECONDS"
"""Environment variable: how long a plugin's import, and each of its hooks, may take."""
USUAL_PATIENCE = 10.0
TRACE = "VAETOOLS_TRACE"
"""Environment variable: 1 to show what is loaded and which hooks are called, on stderr."""

T = TypeVar("T")


@dataclass
class Plugin:
    """One plugin, loaded or not.

    Attributes:
        name: module or entry-point name.
        origin: `built-in`, the distribution with its version, the file, or `object`.
        hooks: names of the hooks that it implements.
        operations, commands: names of what it registered.
        error: why it does not work, if it does not.
    """

    name: str
    origin: str
    hooks: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    error: PluginError | None = None


class PluginHost:
    """Plugins and what they registered.

    Args:
        builtin: load the built-in plugins.
        installed: load installed packages that name themselves as plugins.
        folders: load every `*.py` file and package in these.
    """

    def __init__(
        self,
        *,
        builtin: bool = True,
        installed: bool = True,
        folders: Iterable[str | Path] = (),
    ) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        if os.environ.get(TRACE, "0") not in ("", "0"):
            self._manager.trace.root.setwriter(sys.stderr.write)
            self._manager.enable_tracing()
        self._patience = _patience()
        self.plugins: list[Plugin] = []
        self.operations: dict[str, type[Operation]] = {}
        self.commands: dict[str, Any] = {}
        self.model_folders: list[Path] = []
        self._owner: dict[str, str] = {}
        if builtin:
            for name in BUILTIN:
                self.load(name, BUILT_IN, _importer(name))
        if installed:
            self._load_installed()
        for folder in folders:
            self._load_folder(Path(folder))

    @property
    def broken(self) -> list[Plugin]:
        """Plugins that could not be loaded, or that failed in a hook."""
        return [plugin for plugin in self.plugins if plugin.error is not None]

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin object. Raises `PluginError` if it does not work; nothing of it stays then."""
        label = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        loaded = self.load(label, "object", lambda: plugin)
        if loaded.error is not None:
            self.plugins.remove(loaded)
            raise loaded.error
        return loaded

    def load(self, name: str, origin: str, load: Callable[[], object]) -> Plugin:
        """Add what `load` gives; if it does not work, the plugin that is returned says why."""
        plugin = Plugin(name, origin)
        self.plugins.append(plugin)
        started = time.perf_counter()
        try:
            # Stdout belongs to commands: what a plugin prints must not get between their lines.
            with contextlib.redirect_stdout(sys.stderr):
                self._register(plugin, self._within(plugin, load))
        except PluginError as error:
            plugin.error = error.about(name)  # type: ignore[assignment]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises
            cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            plugin.error = PluginError(f"cannot be loaded: {cause}", file=f"{name} ({origin})")
        taken = f"{time.perf_counter() - started:.3f} s"
        self._manager.trace.root.get("plugin")(name, f"({origin})", plugin.error or "loaded", taken)
        return plugin

    def load_path(self, path: Path) -> Plugin:
        """`load` a Python file, or a folder that is a package."""
        file = path / "__init__.py" if path.is_dir() else path
        return self.load(path.stem, str(path), _file_importer(file, path.stem))

    def _within(self, plugin: Plugin, call: Callable[[], T]) -> T:
        """What `call` gives, if it does not take too long; nobody waits for it then.

        Raises:
            PluginError: it took too long. Further whatever it raises.
        """
        if plugin.origin == BUILT_IN:
            return call()
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                outcome.set_exception(error)

        threading.Thread(target=run, name=f"vaetools plugin {plugin.name}", daemon=True).start()
        try:
            return outcome.result(self._patience)
        except TimeoutError:
            if outcome.done():  # it was the plugin's own
                raise
        raise PluginError(
            f"takes more than {self._patience:g} s to load",
            file=f"{plugin.name} ({plugin.origin})",
            remedy=f"import what is slow inside functions, or set {PATIENCE}",
        )

    def _register(self, plugin: Plugin, loaded: object) -> None:
        """Register with pluggy, collect from its hooks; undo everything if anything fails."""
        self._manager.register(loaded, name=plugin.name)
        try:
            self._manager.check_pending()
            plugin.hooks = self._hooks(loaded)
            operations, commands, folders = (
                self._within(plugin, functools.partial(self._collect, loaded, hook))
                for hook in ("register_operations", "register_commands", "register_models")
            )
            self._check_operations(plugin, operations)
            self._check_names(plugin, [o.name for o in operations] + [c.name for c in commands])
        except BaseException:
            self._manager.unregister(loaded)
            raise
        plugin.operations = [operation.name for operation in operations]
        plugin.commands = [command.name for command in commands]
        self.operations.update({operation.name: operation for operation in operations})
        self.commands.update({command.name: command for command in commands})
        self.model_folders += [Path(folder) for folder in folders]
        self._owner.update(dict.fromkeys([*plugin.operations, *plugin.commands], plugin.name))

    def _hooks(self, loaded: object) -> list[str]:
        names = sorted(caller.name for caller in self._manager.get_hookcallers(loaded) or [])
        if not names:
            raise PluginError("implements no hook; is @vaetools.hookimpl missing?")
        return names

    def _collect(self, loaded: object, hook: str) -> list[Any]:
        """What this one plugin returns from a hook; other plugins are not asked."""
        others = [other for _, other in self._manager.list_name_plugin() if other is not loaded]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        return [value for values in caller() for value in values]

    def _check_operations(self, plugin: Plugin, operations: Sequence[Any]) -> None:
        for operation in operations:
            if not (isinstance(operation, type) and issubclass(operation, Operation)):
                raise PluginError(f"{operation!r} is not an Operation class", file=plugin.name)
            if not isinstance(getattr(operation, "name", None), str):
                raise PluginError(f"{operation.__name__} has no name", file=plugin.name)
            taken = RESERVED_OPTIONS & {spec.name for spec in option_specs(operation.Options)}
            if taken:
                raise PluginError(
                    f"{operation.name}: every operation has an option {min(taken)!r} already",
                    file=plugin.name,
                )

    def _check_names(self, plugin: Plugin, names: Sequence[str]) -> None:
        for name in names:
            if name in RESERVED_OPERATIONS:
                raise PluginError(f"{name!r} is a name of vaetools itself", file=plugin.name)
            if name in self._owner or names.count(name) > 1:
                owner = self._owner.get(name, plugin.name)
                raise PluginError(f"{name!r} is registered by {owner!r} already", file=plugin.name)

    def _load_installed(self) -> None:
        chosen = os.environ.get(CHOSEN)
        wanted = None if chosen is None else {n.strip() for n in chosen.split(",") if n.strip()}
        for point in entry_points(group=hookspecs.PROJECT):
            if wanted is None or point.name in wanted:
                origin = f"{point.dist.name} {point.dist.version}" if point.dist else "installed"
                self.load(point.name, origin, point.load)

    def _load_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            plugin = Plugin(folder.name, str(folder))
            plugin.error = PluginError("is not a folder of plugins", file=folder)
            self.plugins.append(plugin)
            return
        for path in sorted(folder.iterdir()):
            if path.name.startswith((".", "_")):
                continue
            if path.suffix == ".py" or (path / "__init__.py").exists():
                self.load_path(path)


def _patience() -> float:
    """Seconds from `$VAETOOLS_PLUGIN_SECONDS`. Raises `OptionError`."""
    text = os.environ.get(PATIENCE) or str(USUAL_PATIENCE)
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise OptionError(f"{PATIENCE}={text!r} is not a number of seconds above 0")


def default_folders(extra: Iterable[str | Path] = ()) -> list[Path]:
    """Folders from `extra`, then from `$VAETOOLS_PLUGINS_DIR`."""
    named = os.environ.get(DIRECTORIES, "").split(os.pathsep)
    return [*(Path(p) for p in extra), *(Path(p) for p in named if p)]


def _importer(name: str) -> Callable[[], ModuleType]:
    return lambda: importlib.import_module(name)


def _file_importer(file: Path, stem: str) -> Callable[[], ModuleType]:
    """Import a file under a name of its own, known to `sys.modules`: dataclasses and pickle need it."""

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
