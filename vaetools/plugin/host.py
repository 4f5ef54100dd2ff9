"""The plugin host: loads plugins one by one, so that a broken one costs nothing but itself.

Built-in plugins are a tuple of module names; others come as installed packages (entry points of
the group `vaetools`), as files in a folder that the user names, or as objects in code. Nothing is
ever loaded from the current folder unasked.

Installed packages are imported when something of theirs is asked for: what they offer is known from
a cache. One that the cache does not know is imported for its names.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from vaetools.errors import PluginError
from vaetools.operation import RESERVED_OPERATIONS, Operation, summary_of
from vaetools.plugin import hookspecs
from vaetools.plugin.checks import check_commands, check_operations
from vaetools.plugin.importing import file_importer, module_importer, plugin_code
from vaetools.plugin.offers import Offer, OfferCache, origin_of
from vaetools.plugin.registered import Plugin, Registered
from vaetools.text import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from importlib.metadata import EntryPoint

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
MOST_VALUES = 1000
"""Values that a hook may return: a generator may have no end."""
TRACE = "VAETOOLS_TRACE"
"""Environment variable: 1 to show what is loaded and which hooks are called, on stderr."""


class PluginHost:
    """Plugins and what they registered.

    Args:
        builtin: load the built-in plugins.
        installed: use installed packages that name themselves as plugins.
        folders: load every `*.py` file and package in these.
        cache: what installed plugins offer; the user's cache by default.

    Attributes:
        plugins: all plugins, broken ones too.
        operations: operation classes by name. Getting one raises the `PluginError` of an installed
            plugin that turns out to be broken.
        commands: click commands by name, likewise.
    """

    def __init__(
        self,
        *,
        builtin: bool = True,
        installed: bool = True,
        folders: Iterable[str | Path] = (),
        cache: OfferCache | None = None,
    ) -> None:
        self._settings = (builtin, installed, tuple(folders))
        self._objects: list[tuple[object, str]] = []
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        if os.environ.get(TRACE, "0") not in ("", "0"):
            self._manager.trace.root.setwriter(sys.stderr.write)
            self._manager.enable_tracing()
        self.plugins: list[Plugin] = []
        self._operations: Registered[type[Operation]] = Registered(
            lambda: self._names("operations"), self._load_owner
        )
        self._commands: Registered[Any] = Registered(
            lambda: self._names("commands"), self._load_owner
        )
        self.operations: Mapping[str, type[Operation]] = self._operations
        self.commands: Mapping[str, Any] = self._commands
        self._model_folders: dict[str, list[Path]] = {}
        self._summaries: dict[str, str] = {}
        self._owner: dict[str, Plugin] = {}
        self._waiting: list[tuple[Plugin, EntryPoint, Offer | None]] = []
        self._loading = threading.RLock()
        if builtin:
            for name in BUILTIN:
                self.load(name, BUILT_IN, module_importer(name))
        if installed:
            self._cache = OfferCache() if cache is None else cache
            for point in self._cache.points:
                self._expect(point)
        for folder in self._settings[2]:
            self._load_folder(Path(folder))

    @property
    def broken(self) -> list[Plugin]:
        """Plugins that could not be loaded, or that failed in a hook."""
        return [plugin for plugin in self.plugins if plugin.error is not None]

    @property
    def model_folders(self) -> list[Path]:
        """Folders with models of all plugins."""
        self._load_unknown()
        return [folder for folders in self._model_folders.values() for folder in folders]

    def summary(self, name: str) -> str:
        """One line about an operation or a command, without importing its plugin."""
        return self._summaries[name]

    def load_all(self) -> None:
        """Import all installed plugins but those that are known to be broken."""
        with self._loading:
            for plugin, point, _ in self._waiting[:]:
                if plugin.error is None:
                    self._load_installed(plugin, point)

    def register(self, plugin: object, name: str | None = None) -> Plugin:
        """Add a plugin object. Raises `PluginError` if it does not work; nothing of it stays then."""
        label = name or str(getattr(plugin, "__name__", type(plugin).__name__))
        loaded = self.load(label, "object", lambda: plugin)
        if loaded.error is not None:
            self.plugins.remove(loaded)
            raise loaded.error
        self._objects.append((plugin, label))
        return loaded

    def __reduce__(self) -> Any:
        objects = [(_Importable.of(plugin), name) for plugin, name in self._objects]
        return _loaded_again, (*self._settings, objects)

    def load(self, name: str, origin: str, load: Callable[[], object]) -> Plugin:
        """Add what `load` returns; if that fails, the plugin that is returned has the error."""
        plugin = Plugin(name, origin)
        self.plugins.append(plugin)
        self._load(plugin, load)
        return plugin

    def offer_of(self, plugin: Plugin) -> Offer:
        """What a loaded plugin registered."""
        return Offer(
            {name: self.summary(name) for name in plugin.operations},
            {name: self.summary(name) for name in plugin.commands},
            [str(folder) for folder in self._model_folders.get(plugin.name, ())],
            plugin.hooks,
            None if plugin.error is None else plugin.error.problem,
        )

    def load_path(self, path: Path) -> Plugin:
        """`load` a Python file, or a folder that is a package."""
        file = path / "__init__.py" if path.is_dir() else path
        return self.load(path.stem, str(path), file_importer(file, path.stem))

    def _load(self, plugin: Plugin, load: Callable[[], object]) -> None:
        started = time.perf_counter()
        place = f"{plugin.name} ({plugin.origin})"
        # Stdout belongs to commands: the output of plugins must not mix with theirs.
        with plugin_code() as is_from_user, contextlib.redirect_stdout(sys.stderr):
            try:
                self._register(plugin, load())
            except BaseException as error:
                if is_from_user(error):
                    raise
                plugin.error = _error_of(error, place)
        taken = f"{time.perf_counter() - started:.3f} s"
        trace = self._manager.trace.root.get("plugin")
        trace(plugin.name, f"({plugin.origin})", plugin.error or "loaded", taken)

    def _expect(self, point: EntryPoint) -> None:
        """Add an installed plugin as the cache knows it, without importing it."""
        plugin = Plugin(point.name, origin_of(point))
        self.plugins.append(plugin)
        offer = self._cache.get(point)
        self._waiting.append((plugin, point, offer))
        if offer is None:
            return
        place = f"{plugin.name} ({plugin.origin})"
        if offer.error is not None:
            remedy = "fix it, then run vaetools plugins"
            plugin.error = PluginError(offer.error, file=place, remedy=remedy)
            return
        try:
            self._check_names(plugin, [*offer.operations, *offer.commands])
        except PluginError as error:
            plugin.error = error.about(place)  # type: ignore[assignment]
            return
        plugin.hooks = [*offer.hooks]
        plugin.operations, plugin.commands = [*offer.operations], [*offer.commands]
        self._model_folders[plugin.name] = [Path(folder) for folder in offer.model_folders]
        self._claim(plugin, {**offer.operations, **offer.commands})

    def _claim(self, plugin: Plugin, summaries: Mapping[str, str]) -> None:
        self._summaries.update(summaries)
        self._owner.update(dict.fromkeys(summaries, plugin))

    def _names(self, kind: str) -> list[str]:
        self._load_unknown()
        return [name for plugin in self.plugins for name in getattr(plugin, kind)]

    def _load_unknown(self) -> None:
        """Import the installed plugins that the cache does not know."""
        with self._loading:
            for plugin, point, offer in self._waiting[:]:
                if offer is None:
                    self._load_installed(plugin, point)

    def _load_owner(self, name: str) -> None:
        """Import the plugin that offers a name. Raises `PluginError` if it is broken."""
        self._load_unknown()
        with self._loading:
            for plugin, point, _ in self._waiting[:]:
                if self._owner.get(name) is plugin:
                    self._load_installed(plugin, point)
                    if plugin.error is not None:
                        raise plugin.error

    def _load_installed(self, plugin: Plugin, point: EntryPoint) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting[0] is not plugin]
        self._owner = {name: owner for name, owner in self._owner.items() if owner is not plugin}
        self._model_folders.pop(plugin.name, None)
        plugin.operations, plugin.commands, plugin.error = [], [], None
        self._load(plugin, point.load)
        self._cache.put(point, self.offer_of(plugin))

    def _register(self, plugin: Plugin, loaded: object) -> None:
        """Register with pluggy, collect from its hooks; undo everything if anything fails."""
        self._manager.register(loaded, name=plugin.name)
        try:
            self._manager.check_pending()
            plugin.hooks = self._hooks(loaded)
            operations, commands, folders = (
                self._collect(loaded, hook)
                for hook in ("register_operations", "register_commands", "register_models")
            )
            check_operations(operations)
            check_commands(commands)
            self._check_names(plugin, [o.name for o in operations] + [c.name for c in commands])
            model_folders = [Path(folder) for folder in folders]
            summaries = {operation.name: summary_of(operation) for operation in operations}
            summaries |= {command.name: command.get_short_help_str(80) for command in commands}
        except BaseException:
            self._manager.unregister(loaded)
            raise
        plugin.operations = [operation.name for operation in operations]
        plugin.commands = [command.name for command in commands]
        self._operations.loaded.update({operation.name: operation for operation in operations})
        self._commands.loaded.update({command.name: command for command in commands})
        self._model_folders[plugin.name] = model_folders
        self._claim(plugin, summaries)

    def _hooks(self, loaded: object) -> list[str]:
        names = sorted(caller.name for caller in self._manager.get_hookcallers(loaded) or [])
        if not names:
            raise PluginError("implements no hook; is @vaetools.hookimpl missing?")
        return names

    def _collect(self, loaded: object, hook: str) -> list[Any]:
        """What this one plugin returns from a hook; other plugins are not asked."""
        others = [other for _, other in self._manager.list_name_plugin() if other is not loaded]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        values = [value for values in caller() for value in islice(values, MOST_VALUES + 1)]
        if len(values) > MOST_VALUES:
            raise PluginError(f"{hook} returns more than {MOST_VALUES:,} values")
        return values

    def _check_names(self, plugin: Plugin, names: Sequence[str]) -> None:
        for name in names:
            if name in RESERVED_OPERATIONS:
                raise PluginError(f"{name!r} is a name of vaetools itself")
            if name in self._owner or names.count(name) > 1:
                owner = self._owner.get(name, plugin).name
                raise PluginError(f"{name!r} is registered by {owner!r} already")

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


def _error_of(error: BaseException, place: str) -> PluginError:
    """The error of a plugin; of an exception class of the plugin itself, even the text may be broken."""
    if type(error) is PluginError:
        error.about(place)
        return error
    return PluginError(f"cannot be loaded: {describe(error)}", file=place)


@dataclass(frozen=True)
class _Importable:
    """A module, which cannot be pickled, by its name."""

    name: str

    @classmethod
    def of(cls, plugin: object) -> object:
        """What stands for a plugin object in a pickle."""
        return cls(plugin.__name__) if isinstance(plugin, ModuleType) else plugin


def _loaded_again(
    builtin: bool,
    installed: bool,
    folders: tuple[str | Path, ...],
    objects: Sequence[tuple[object, str]],
) -> PluginHost:
    """A host of a pickle: the same plugins, loaded in this process."""
    host = PluginHost(builtin=builtin, installed=installed, folders=folders)
    for plugin, name in objects:
        if isinstance(plugin, _Importable):
            plugin = import_module(plugin.name)  # noqa: PLW2901
        host.register(plugin, name)
    return host


def default_folders(extra: Iterable[str | Path] = ()) -> list[Path]:
    """Folders from `extra`, then from `$VAETOOLS_PLUGINS_DIR`."""
    named = os.environ.get(DIRECTORIES, "").split(os.pathsep)
    return [*(Path(p) for p in extra), *(Path(p) for p in named if p)]
