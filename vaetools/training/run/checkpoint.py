"""The checkpoint of a run: everything that is needed to resume it, or to export it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import torch

from vaetools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINT = "checkpoint.pt"


def read_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """Read the checkpoint of a run. Raises `UsageError` if it is damaged."""
    try:
        state: dict[str, Any] = torch.load(run / CHECKPOINT, map_location=device, weights_only=True)
    except (EOFError, OSError, RuntimeError, pickle.UnpicklingError):
        raise UsageError("checkpoint cannot be read", file=run, remedy="start a new run") from None
    return state


def write_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint; if the write is interrupted, the previous one stays intact."""
    part = run / f"{CHECKPOINT}.part"
    torch.save(state, part)
    part.replace(run / CHECKPOINT)
