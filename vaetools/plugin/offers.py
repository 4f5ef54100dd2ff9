"""What installed plugins offer, remembered in the user's cache folder.

So the names of their operations and commands, and their models, are known without importing them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetools.errors import PluginError
from vaetools.plugin.hookspecs import PLUGIN_API, PROJECT
from vaetools.tomlfile import from_table
from vaetools.user_cache import read_cache, write_cache
from vaetools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.metadata import EntryPoint

CHOSEN = "VAETOOLS_PLUGINS"
"""Environment variable: names of the installed plugins to use; empty for none."""
FILE = "plugins.json"
MAX_OFFERS = 200
MAX_FILES = 1000


@dataclass(frozen=True)
class Offer:
    """What a plugin registers.

    Attributes:
        operations, commands: summaries by name.
        model_folders: folders with models.
        hooks: names of the hooks that it implements.
        error: why it does not work, if it does not.
    """

    operations: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    model_folders: list[str] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    error: str | None = None


def installed_points() -> list[EntryPoint]:
    """The entry points of installed plugins, limited to those in `$VAETOOLS_PLUGINS` if it is set."""
    chosen = os.environ.get(CHOSEN)
    wanted = None if chosen is None else {n.strip() for n in chosen.split(",") if n.strip()}
    points = entry_points(group=PROJECT)
    return [point for point in points if wanted is None or point.name in wanted]


def origin_of(point: EntryPoint) -> str:
    """Name and version of the distribution that an entry point belongs to."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "installed"


class OfferCache:
    """Offers by everything that may change them: versions, source files, installed packages.

    Attributes:
        points: the entry points of the installed plugins.
    """

    def __init__(self) -> None:
        self.points: list[EntryPoint] = installed_points()
        self._offers = read_cache(FILE)
        self._found: dict[str, Offer] = {}  # in this process, whatever happens to the files

    def get(self, point: EntryPoint) -> Offer | None:
        """The offer of a plugin, or None if it is not known."""
        name = f"{point} {origin_of(point)}"
        if name not in self._found:
            table = self._offers.get(_key(point))
            with contextlib.suppress(PluginError):  # of a table in a damaged file
                self._found[name] = from_table(Offer, table, PluginError)
        return self._found.get(name)

    def put(self, point: EntryPoint, offer: Offer) -> None:
        """Remember an offer, also for later processes."""
        self._found[f"{point} {origin_of(point)}"] = offer
        key = _key(point)
        if self._offers.get(key) == asdict(offer):
            return
        self._offers = {**read_cache(FILE), **self._offers, key: asdict(offer)}
        excess = len(self._offers) - MAX_OFFERS
        for old in list(islice(self._offers, max(0, excess))):
            del self._offers[old]
        write_cache(FILE, self._offers)


def _key(point: EntryPoint) -> str:
    facts: list[Any] = [__version__, PLUGIN_API, sys.version, point.name, point.value]
    if point.dist is not None:
        facts += [point.dist.name, point.dist.version]
        # Changes when packages are installed, which may fix a plugin that lacked a dependency.
        facts += _stamps([Path(str(point.dist.locate_file("")))])
    facts += _stamps(_sources(point.module.partition(".")[0]))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _sources(package: str) -> Iterator[Path]:
    """Python files of a top-level module or package, found without importing it."""
    spec = None
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(package)
    if spec is None:
        return
    folders = spec.submodule_search_locations
    if folders is None and spec.origin is not None:
        yield Path(spec.origin)
    for folder in folders or ():
        yield from islice(sorted(Path(folder).rglob("*.py")), MAX_FILES)


def _stamps(paths: Iterable[Path]) -> Iterator[list[Any]]:
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            yield [str(path), status.st_mtime_ns, status.st_size]
