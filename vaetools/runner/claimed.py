"""Names of outputs in a watched folder: no later input takes that of an input that is still there."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vaetools.runner.arrivals import key_of
from vaetools.runner.plan import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from vaetools.runner.inputs import Source
    from vaetools.runner.plan import PlannedItem


class Claimed:
    """The output names of the inputs that were taken so far."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], PlannedItem] = {}
        self._owners: dict[str, PlannedItem] = {}
        self._folders: dict[str, PlannedItem] = {}

    def add(self, item: PlannedItem) -> None:
        """Claim the names of an input."""
        self._items[key_of(item.source)] = item
        for name in map(folded, item.names):
            self._owners[name] = item
            for folder in _folders(name):
                self._folders.setdefault(folder, item)

    def keep(self, present: Iterable[Source]) -> None:
        """Release the names of all other inputs."""
        keys = set(map(key_of, present))
        if self._items.keys() <= keys:
            return
        items = [item for key, item in self._items.items() if key in keys]
        for names in (self._items, self._owners, self._folders):
            names.clear()
        for item in items:
            self.add(item)

    def clash(self, item: PlannedItem) -> tuple[PlannedItem, Path] | None:
        """Another input and the output of `item` that cannot exist next to one of its outputs."""
        for name, path in zip(map(folded, item.names), item.outputs, strict=True):
            owners = [self._owners.get(name), self._folders.get(name)]
            owners += [self._owners.get(folder) for folder in _folders(name)]
            for owner in owners:
                if owner is not None and key_of(owner.source) != key_of(item.source):
                    return owner, path
        return None


def _folders(name: str) -> Iterator[str]:
    return map(str, PurePosixPath(name).parents[:-1])
