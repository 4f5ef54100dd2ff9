"""What the host knows of a plugin, and what plugins registered by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.errors import PluginError

T = TypeVar("T")


@dataclass
class Plugin:
    """One plugin; of an installed one that is not imported yet, what is known from the cache.

    Attributes:
        name: module or entry-point name.
        origin: `built-in`, the distribution with its version, the file, or `object`.
        hooks: names of the hooks that it implements.
        operations, commands: names of what it registers.
        error: why it does not work, if it does not.
    """

    name: str
    origin: str
    hooks: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    error: PluginError | None = None


class Registered(Mapping[str, T]):
    """Operations or commands by name, in the order of the plugins.

    Names are known without importing an installed plugin; getting a value imports its plugin.
    """

    def __init__(self, names: Callable[[], list[str]], load: Callable[[str], None]) -> None:
        self.loaded: dict[str, T] = {}
        self._names = names
        self._load = load

    def __getitem__(self, name: str) -> T:
        if name not in self.loaded:
            self._load(name)
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, name: object) -> bool:
        return name in self.loaded or name in self._names()
