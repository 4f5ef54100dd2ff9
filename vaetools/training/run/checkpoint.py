"""The checkpoint of a run: everything that is needed to resume it, or to export it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import torch

from vaetools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CHECKPOINT = "checkpoint.pt"


def read_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """Read the checkpoint of a run. Raises `UsageError` if it is damaged."""
    return read_state(run / CHECKPOINT, device)


def write_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint; if the write is interrupted, the previous one stays intact."""
    write_state(run / CHECKPOINT, state)


def read_state(file: Path, device: torch.device, *, needed: Iterable[str] = ()) -> dict[str, Any]:
    """Read a file of `write_state` that has the entries `needed`.

    Raises:
        UsageError: it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        whole = set(needed) <= state.keys()
    except (AttributeError, EOFError, OSError, RuntimeError, pickle.UnpicklingError):
        whole = False
    if not whole:
        raise UsageError(f"{file.name} cannot be read", file=file.parent, remedy="start a new run")
    return state


def write_state(file: Path, state: Mapping[str, Any]) -> None:
    """Write a file at once: if the write is interrupted, the previous one stays intact."""
    part = file.with_name(f"{file.name}.part")
    torch.save(dict(state), part)
    part.replace(file)
