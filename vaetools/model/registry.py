"""The registry: finds model folders, checks their manifests, opens them when they are needed."""

from __future__ import annotations

import importlib.util
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vaetools.errors import DuplicateModelError, ManifestError, ModelNotFoundError, VaetoolsError
from vaetools.model.manifest import FILE_NAME, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vaetools.model.folder import Model
    from vaetools.model.runtime import Runtime
    from vaetools.model.spec import Manifest

ENVIRONMENT = "VAETOOLS_MODELS"
"""Folders with model folders in them, separated as in PATH."""


@dataclass(frozen=True)
class Entry:
    """One model folder: its manifest, or what is wrong with it."""

    folder: Path
    manifest: Manifest | None
    error: VaetoolsError | None = None


def user_folder() -> Path | None:
    """Where a user's own models live: `$XDG_DATA_HOME/vaetools/models` or the system's equivalent.

    None for a user without a home, as in some containers.
    """
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_DATA_HOME")
    try:
        place = Path(base) if base else Path.home() / ".local/share"
    except RuntimeError:
        return None
    return place / "vaetools" / "models"


def shipped_folder() -> Path | None:
    """The models that come with vaetools."""
    spec = importlib.util.find_spec("vaetools_models")
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def default_folders(extra: Iterable[str | Path] = ()) -> list[Path]:
    """The search path: `extra`, `$VAETOOLS_MODELS`, the user's folder, the shipped models."""
    named = [Path(p) for p in extra]
    named += [Path(p) for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p]
    return [*named, *(p for p in (user_folder(), shipped_folder()) if p is not None)]


class ModelRegistry:
    """Models by id and by task.

    A folder that cannot be read is kept as an `Entry` with its error: `vaetools models list` shows
    it, and everything else works. The search path orders the listing and nothing else; a model is
    chosen by name, or by task where only one fits.

    Args:
        folders: searched for model folders; a folder may also be a model folder itself.
        runtime: gives the runtime that opens the graphs; asked for when a model is first opened.

    Raises:
        DuplicateModelError: two folders claim one id.
    """

    def __init__(self, folders: Sequence[Path], runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime
        found, unreadable = _model_folders(folders)
        self.entries: list[Entry] = [*map(_read, found), *unreadable]
        self._by_id: dict[str, Entry] = {}
        self._opened: dict[str, Model] = {}
        self._lock = threading.Lock()
        for entry in self.entries:
            if entry.manifest is not None:
                self._add(entry, entry.manifest.id)

    def _add(self, entry: Entry, model_id: str) -> None:
        other = self._by_id.setdefault(model_id, entry)
        if other is not entry:
            raise DuplicateModelError(
                f"model {model_id!r} is there twice: {other.folder} and {entry.folder}",
                remedy="rename or remove one",
            )

    def ids(self, task: str | None = None) -> list[str]:
        """Ids of all sound models, or of those for a task."""
        return [
            i for i, e in self._by_id.items() if e.manifest and task in (None, *e.manifest.tasks)
        ]

    def manifest(self, model_id: str) -> Manifest:
        """Raises `ModelNotFoundError`, or the error of a folder that claims this name."""
        entry = self._by_id.get(model_id)
        if entry is None or entry.manifest is None:
            broken = next((e for e in self.entries if e.folder.name == model_id and e.error), None)
            if broken is not None and broken.error is not None:
                raise broken.error
            known = ", ".join(self._by_id) or "none"
            raise ModelNotFoundError(f"there is no model {model_id!r}", remedy=f"known: {known}")
        return entry.manifest

    def open(self, model_id: str) -> Model:
        """The model; its graphs are read and verified when first used.

        Raises:
            ModelNotFoundError: no model has this id.
        """
        from vaetools.model.folder import Model

        if model_id in self._opened:
            return self._opened[model_id]
        manifest = self.manifest(model_id)
        kind = Model
        if {"encode", "decode"} <= manifest.graphs.keys():
            from vaetools.model.vae import Vae as kind  # noqa: N813 - loaded only where needed
        runtime = self._runtime()  # outside the lock: it may take another one
        with self._lock:  # the first calls may come from several threads at once
            if model_id not in self._opened:
                folder = self._by_id[model_id].folder
                self._opened[model_id] = kind(manifest, folder, runtime)
            return self._opened[model_id]

    def all_for_task(self, task: str | tuple[str, ...], model_id: str | None = None) -> list[Model]:
        """All models for a task, or for one of several, or the named one alone.

        Raises as `for_task` does.
        """
        ids = dict.fromkeys(i for wanted in _several(task) for i in self.ids(wanted))
        if model_id is not None or not ids:
            return [self.for_task(task, model_id)]
        return [self.open(i) for i in ids]

    def for_task(self, task: str | tuple[str, ...], model_id: str | None = None) -> Model:
        """The model for a task: the named one, or the only one that fits.

        Args:
            task: or several: a named model is for one of them; without a name it is the first one
                that there are models for.

        Raises:
            ModelNotFoundError: none fits, several fit and none is named, or the named one does not.
        """
        if model_id is not None:
            tasks = _several(task)
            if not {*tasks} & {*self.manifest(model_id).tasks}:
                fitting = [i for wanted in tasks for i in self.ids(wanted)]
                raise ModelNotFoundError(
                    f"model {model_id!r} is not for {' or '.join(map(repr, tasks))}",
                    remedy=f"models for it: {', '.join(fitting) or 'none'}",
                )
            return self.open(model_id)
        task = self._first(task)
        fitting = self.ids(task)
        if len(fitting) == 1:
            return self.open(fitting[0])
        found = f"{len(fitting)} models fit" if fitting else "there is no model"
        raise ModelNotFoundError(
            f"{found} for {task!r}",
            remedy=f"choose with --model: {', '.join(fitting)}"
            if fitting
            else "add one with --models-dir",
        )

    def _first(self, task: str | tuple[str, ...]) -> str:
        """The first task that there are models for, or the first one."""
        tasks = _several(task)
        return next((wanted for wanted in tasks if self.ids(wanted)), tasks[0])


def _several(task: str | tuple[str, ...]) -> tuple[str, ...]:
    return (task,) if isinstance(task, str) else task


def _model_folders(folders: Sequence[Path]) -> tuple[list[Path], list[Entry]]:
    """(folders with a `model.toml`, each once even if two search folders reach it; those that cannot be
    read, such as a home of somebody else)."""
    found: dict[Path, None] = {}
    unreadable = []
    for folder in folders:
        try:
            if os.path.lexists(folder / FILE_NAME):
                found.setdefault(folder.resolve())
            elif folder.is_dir():
                for path in sorted(folder.iterdir()):
                    hidden = path.name.startswith(".")  # such as what a killed export leaves
                    if not hidden and os.path.lexists(path / FILE_NAME):
                        found.setdefault(path.resolve())
        except (OSError, RuntimeError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            error = ManifestError(f"folder of models cannot be read: {reason}", file=folder)
            unreadable.append(Entry(folder, None, error))
    return list(found), unreadable


def _read(folder: Path) -> Entry:
    try:
        return Entry(folder, read_manifest(folder))
    except ManifestError as error:
        return Entry(folder, None, error)
