"""A compact copy of a checkpoint, to carry a run between machines.

It holds the averaged weights in float16 and the state of the optimizer in bfloat16. Of SOAP's second
moments only the eigenvalues are kept: with the bases they give the moments back. Its first moments,
which remember some 20 steps, start at 0 again. Training resumed from it starts at the averaged weights,
not at the last ones.

`weights.pt` holds the averaged weights alone: enough to export them, or to start another run.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaetools.errors import UsageError
from vaetools.training.run.checkpoint import CHECKPOINT, read_checkpoint, read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from logging import Logger
    from pathlib import Path

log: Logger = logging.getLogger(__name__)

COMPACT = "compact.pt"
WEIGHTS = "weights.pt"

SIDES = ("rows", "columns")
"""Second moments of SOAP; their eigenvectors are stored as `rows basis` and `columns basis`."""

FACTS = ("data", "step", "seconds")
"""What model cards say about a run."""

NO_BEST: dict[str, Any] = {"score": math.inf, "since": 0, "weights": {}}
"""No best score so far."""

KEPT = ("data", "step", "seconds", "phase", "decay", "generator", "noise", "cuda_noise")
"""Entries of a checkpoint that a compact copy has as they are; and `minutes`, since some version."""


def write_compact(run: Path, state: Mapping[str, Any]) -> None:
    """Write the compact copy of a whole checkpoint."""
    optimizer = state["optimizer"]
    packed = {number: _pack(values) for number, values in optimizer["state"].items()}
    compact = {
        **{name: state[name] for name in (*KEPT, "minutes")},
        "average": _converted(state["average"], torch.float16),
        "optimizer": {"state": packed, "param_groups": optimizer["param_groups"]},
    }
    write_state(run / COMPACT, compact)


def read_compact(run: Path, device: torch.device) -> dict[str, Any]:
    """The whole checkpoint that a compact copy stands for. Raises `UsageError` if it is damaged."""
    compact = read_state(run / COMPACT, device, needed=(*KEPT, "average", "optimizer"))
    average = _converted(compact["average"], torch.float32)
    optimizer = compact["optimizer"]
    unpacked = {number: _unpack(values) for number, values in optimizer["state"].items()}
    return {
        **compact,
        "network": average,
        "average": average,
        "optimizer": {**optimizer, "state": unpacked},
        "best": NO_BEST,
    }


def write_weights(file: Path, state: Mapping[str, Any]) -> None:
    """Write the averaged weights of a whole checkpoint, in float16."""
    facts = {name: state[name] for name in FACTS}
    write_state(file, {**facts, "average": _converted(state["average"], torch.float16)})


def is_run(folder: Path) -> bool:
    """Whether a folder holds a checkpoint, a compact copy of one, or its weights."""
    return any((folder / name).exists() for name in (CHECKPOINT, COMPACT, WEIGHTS))


def read_run_state(run: Path, device: torch.device) -> dict[str, Any]:
    """The checkpoint of a run, or else its compact copy, or else the averaged weights alone.

    In place of a damaged checkpoint, its compact copy is read, with a warning.

    Raises:
        UsageError: it is damaged.
    """
    if (run / CHECKPOINT).exists():
        try:
            return read_checkpoint(run, device)
        except UsageError as error:
            if not (run / COMPACT).exists():
                raise
            log.warning("%s: %s; continuing from %s", error.file, error.problem, COMPACT)
    if (run / COMPACT).exists():
        return read_compact(run, device)
    state = read_state(run / WEIGHTS, device, needed=(*FACTS, "average"))
    return {**state, "average": _converted(state["average"], torch.float32), "best": NO_BEST}


def _converted(tensors: Mapping[str, Any], kind: torch.dtype) -> dict[str, Any]:
    return {
        name: value.to(kind) if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in tensors.items()
    }


def _pack(values: Mapping[str, Any]) -> dict[str, Any]:
    packed = dict(values)
    for side in SIDES:
        if side in values:
            basis = values[f"{side} basis"]
            packed[side] = (basis * (values[side] @ basis)).sum(dim=1)  # eigenvalues, (n, length)
    if "v" in packed:  # SOAP's second moment; the first one has the same shape
        packed.pop("mean", None)
    return _converted(packed, torch.bfloat16)


def _unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    values = _converted(packed, torch.float32)
    if "v" in values:
        values["mean"] = torch.zeros_like(values["v"])
    for side in SIDES:
        if side in values:
            basis = _orthonormal(values[f"{side} basis"])
            values[f"{side} basis"] = basis
            values[side] = basis * values[side][:, None, :].clamp(min=0) @ basis.mT
    return values


def _orthonormal(basis: Tensor) -> Tensor:
    """The nearest basis to one that was rounded, by two steps of Newton and Schulz."""
    for _ in range(2):
        basis = 1.5 * basis - 0.5 * basis @ (basis.mT @ basis)
    return basis
