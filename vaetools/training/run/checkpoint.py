"""The checkpoint of a run: everything that is needed to resume it, or to export it."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from vaetools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CHECKPOINT = "checkpoint.pt"

ENTRIES = (
    "data",
    "step",
    "seconds",
    "network",
    "average",
    "best",
    "optimizer",
    "generator",
    "noise",
)
"""What every checkpoint has, those of older versions too."""

_DAMAGED = (
    *(AttributeError, EOFError, IndexError, KeyError, OSError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)
"""What torch and zipfile raise for files that are cut or altered."""


def read_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """Read the checkpoint of a run. Raises `UsageError` if it is damaged."""
    return read_state(run / CHECKPOINT, device, needed=ENTRIES)


def write_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint; if the write is interrupted, the previous one stays intact."""
    write_state(run / CHECKPOINT, state)


def read_state(file: Path, device: torch.device, *, needed: Iterable[str] = ()) -> dict[str, Any]:
    """Read a file of `write_state` that has the entries `needed`.

    Raises:
        UsageError: it is damaged.
    """
    state: dict[str, Any] = {}
    whole = False
    with contextlib.suppress(*_DAMAGED):
        with zipfile.ZipFile(file) as parts:
            whole = parts.testzip() is None  # torch does not look at the checksums
        if whole:
            state = torch.load(file, map_location=device, weights_only=True)
            whole = set(needed) <= state.keys()
    if not whole:
        raise UsageError(f"{file.name} cannot be read", file=file.parent, remedy="start a new run")
    return state


def write_state(file: Path, state: Mapping[str, Any]) -> None:
    """Write a file at once: if the write is interrupted or fails, the previous one stays intact.

    Raises:
        OSError: it cannot be written.
    """
    data = io.BytesIO()  # torch reports a full disk as an error of its own
    torch.save(dict(state), data)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            out.write(data.getbuffer())
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
