"""Weights out of a model folder, to go on training what was exported: one's own pictures are enough.

The graphs of photo models keep the names of their layers. What a graph does not hold is worked out
from the tables (the codec's gains and prior), or begins anew (a restorer's posterior, which only the
training needs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from vaetools.errors import UsageError
from vaetools.manifest import FILE_NAME as MANIFEST
from vaetools.manifest import read_manifest
from vaetools.training.trainer import CHECKPOINT, read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vaetools.manifest import Manifest
    from vaetools.training.codec import PhotoCodec
    from vaetools.training.integer import IntegerScaleNetwork


def starting_weights(
    path: Path, network: torch.nn.Module, device: torch.device
) -> Mapping[str, Tensor]:
    """The weights of a run's folder or a model's, to start a new run from.

    Raises:
        UsageError: it is neither, or nothing is known of going on with such a model.
    """
    if (path / MANIFEST).exists():
        return model_weights(path, network)
    if not (path / CHECKPOINT).exists():
        raise UsageError("neither a run nor a model", file=path, remedy="name the folder of one")
    averaged: Mapping[str, Tensor] = read_checkpoint(path, device)["average"]
    return averaged


def model_weights(folder: Path, network: torch.nn.Module) -> dict[str, Tensor]:
    """The weights in a model folder, named as in `network`, which is of the kind that it came from.

    What a model does not hold, such as a restorer's posterior, is `network`'s own.

    Raises:
        UsageError: nothing is known of going on with such a model.
    """
    manifest = read_manifest(folder)
    for task, recover in RECOVERED.items():
        if task in manifest.tasks:
            return recover(folder, manifest, network)
    raise UsageError(
        f"training cannot go on from a model for {', '.join(manifest.tasks)}",
        file=folder,
        remedy="name the folder of a run",
    )


def _graph(folder: Path, manifest: Manifest, role: str) -> dict[str, Tensor]:
    """Weights of a graph by name."""
    graph = onnx.load(folder / manifest.graphs[role].file).graph
    return {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in graph.initializer}


def _prefixed(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: weight for name, weight in weights.items()}


def _known(weights: Mapping[str, Tensor], network: torch.nn.Module) -> dict[str, Tensor]:
    """Those of `weights` that `network` has; the graphs hold constants of their own as well."""
    own = network.state_dict()
    return {name: weight for name, weight in weights.items() if name in own}


def _restorer(
    folder: Path, manifest: Manifest, network: torch.nn.Module, role: str
) -> dict[str, Tensor]:
    """The U-Net, and whatever else of a restorer was exported."""
    found = {}
    for name in (role, f"{role}_sample"):
        if name in manifest.graphs:
            weights = _graph(folder, manifest, name)
            found.update({key.removeprefix("network."): value for key, value in weights.items()})
    if "noise_level" in manifest.graphs:
        found.update(_prefixed("level.", _graph(folder, manifest, "noise_level")))
    return {**network.state_dict(), **_known(found, network)}


def _codec(folder: Path, manifest: Manifest, network: torch.nn.Module) -> dict[str, Tensor]:
    found = {}
    for role in ("analysis", "hyper_analysis", "hyper_mean", "context_mean", "synthesis"):
        found.update(_prefixed(f"{role}.", _graph(folder, manifest, role)))
    found = _known(found, network)
    scale = _scale(_graph(folder, manifest, "hyper_scale_index"), network.hyper_scale_index)
    found.update(_prefixed("hyper_scale_index.", scale))
    with np.load(folder / manifest.files["tables"].file) as arrays:
        found.update(_ladders(arrays, network))
        found.update(_prior(arrays["hyper_frequencies"], network.config.hyper_limit))
    return found


def _scale(graph: Mapping[str, Tensor], network: IntegerScaleNetwork) -> dict[str, Tensor]:
    """Integers back in the units that they were trained in."""
    found = {}
    for number, layer in enumerate(network.layers):
        found[f"layers.{number}.weight"] = graph[f"weight{number}"] / layer.weight_units
        found[f"layers.{number}.bias"] = graph[f"bias{number}"] / layer.bias_units
    return found


def _ladders(arrays: Mapping[str, np.ndarray], network: PhotoCodec) -> dict[str, Tensor]:
    """The gain ladders: at the levels of a file they were interpolated between the training's rates."""
    rates = network.config.rates
    place = np.asarray(arrays["rate"]) * (rates - 1)
    low = np.minimum(place.astype(int), rates - 2)
    weights = np.zeros((len(place), rates))
    weights[np.arange(len(place)), low] = 1 - (place - low)
    weights[np.arange(len(place)), low + 1] = place - low

    def at_rates(levels: np.ndarray) -> Tensor:
        return torch.from_numpy(np.linalg.lstsq(weights, levels, rcond=None)[0]).float()

    return {
        "log_gain": at_rates(np.log(arrays["gain"])),
        "log_inverse_gain": at_rates(np.log(arrays["inverse_gain"])),
        "index_offset": at_rates(arrays["index_offset"] * network.config.log_step),
    }


def _prior(frequencies: np.ndarray, limit: int) -> dict[str, Tensor]:
    """The logistic with the mean and variance of each counted table (rates, N, 2 limit + 1)."""
    share = frequencies / frequencies.sum(axis=2, keepdims=True)
    values = np.arange(-limit, limit + 1)
    mean = share @ values
    variance = share @ values**2 - mean**2
    width = np.sqrt(3 * np.maximum(variance, 0.05)) / np.pi
    return {
        "hyper_prior.place": torch.from_numpy(mean).float(),
        "hyper_prior.log_width": torch.from_numpy(np.log(width)).float(),
    }


def _denoiser(folder: Path, manifest: Manifest, network: torch.nn.Module) -> dict[str, Tensor]:
    return _restorer(folder, manifest, network, "denoise")


def _inpainter(folder: Path, manifest: Manifest, network: torch.nn.Module) -> dict[str, Tensor]:
    return _restorer(folder, manifest, network, "inpaint")


RECOVERED: dict[str, Callable[[Path, Manifest, torch.nn.Module], dict[str, Tensor]]] = {
    "compress": _codec,
    "denoise": _denoiser,
    "inpaint": _inpainter,
}
