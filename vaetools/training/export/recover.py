"""Weights from a model folder, to continue training an exported model.

The graphs of photo models keep the names of their layers. Weights that are not in a graph are computed
from the tables (the codec's gain units and prior), or initialised again (a restorer's posterior, which
is used in training only).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from vaetools.errors import UsageError
from vaetools.model.folder import Model
from vaetools.model.manifest import read_manifest
from vaetools.model.runtime import Runtime
from vaetools.training.export.storage import weights_of
from vaetools.training.networks.codec import PhotoCodec
from vaetools.training.networks.restoration.denoiser import Denoiser
from vaetools.training.networks.restoration.inpainter import Inpainter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from vaetools.model.spec import Manifest
    from vaetools.training.networks.codec.integer import IntegerScaleNetwork
    from vaetools.training.networks.restoration.network import Restorer


def model_weights(folder: Path, network: nn.Module) -> dict[str, Tensor]:
    """The weights in a model folder, with the names of `network`, a network of the same kind.

    Weights that are used in training only, such as a restorer's posterior, are those of `network`.

    Raises:
        UsageError: the kind of network is not supported, or the model is for another task.
        ManifestError, ModelAlteredError, ModelBrokenError: the model is damaged.
    """
    source = _Source(Model(read_manifest(folder), folder, Runtime("cpu")))
    for kind, (task, recover) in RECOVERED.items():
        if isinstance(network, kind):
            if task not in source.manifest.tasks:
                raise UsageError(
                    f"is a model for {', '.join(source.manifest.tasks)}, not for {task}",
                    file=folder,
                )
            constants = {name for name, _ in network.named_buffers()} - set(network.state_dict())
            found = recover(source, network)
            return {name: weight for name, weight in found.items() if name not in constants}
    raise UsageError(
        "networks of this kind cannot be started from a model",
        file=folder,
        remedy="give the folder of a run",
    )


@dataclass(frozen=True)
class _Source:
    """A model; its files are read only if their checksums match, and its graphs if they are harmless."""

    model: Model

    @property
    def manifest(self) -> Manifest:
        return self.model.manifest

    def layers(self, role: str, prefix: str = "") -> dict[str, Tensor]:
        """Weights of a graph's layers by name, without constants, whose names have no dots."""
        return {prefix + n: w for n, w in self.weights(role).items() if "." in n}

    def weights(self, role: str) -> dict[str, Tensor]:
        self._require(self.manifest.graphs, role)
        graph = onnx.load_from_string(self.model.graph_bytes(role)).graph
        return {name: torch.from_numpy(w.copy()) for name, w in weights_of(graph).items()}

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        self._require(self.manifest.files, name)
        return self.model.arrays(name)

    def _require(self, parts: Collection[str], name: str) -> None:
        if name not in parts:
            raise UsageError(f"this model has no {name}", file=self.model.folder)


def _restorer(source: _Source, network: Restorer, role: str) -> dict[str, Tensor]:
    """The U-Net, and the other exported parts of a restorer."""
    found = source.layers(role)
    anew = ["posterior."]
    if (sample := f"{role}_sample") in source.manifest.graphs:
        found |= source.layers(sample)
    else:
        anew += ["scale.", "ladder."]
    own = network.state_dict().items()
    fresh = {name: weight for name, weight in own if name.startswith(tuple(anew))}
    return fresh | {name.removeprefix("network."): weight for name, weight in found.items()}


def _denoiser(source: _Source, network: Denoiser) -> dict[str, Tensor]:
    return _restorer(source, network, "denoise") | source.layers("noise_level", "level.")


def _inpainter(source: _Source, network: Inpainter) -> dict[str, Tensor]:
    return _restorer(source, network, "inpaint")


def _codec(source: _Source, network: PhotoCodec) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for role in ("analysis", "hyper_analysis", "hyper_mean", "synthesis"):
        found |= source.layers(role, f"{role}.")
    found |= _context(source)
    arrays = source.arrays("tables")
    if "centroid" in arrays:
        found["centroid"] = torch.from_numpy(arrays["centroid"])
    scale = _scale(source.weights("hyper_scale_index"), network.hyper_scale_index)
    prior = _prior(arrays["hyper_frequencies"])
    return found | scale | _gain_units(arrays, len(arrays["hyper_frequencies"]), network) | prior


def _context(source: _Source) -> dict[str, Tensor]:
    """The context: one graph, or one for each pass of a grid."""
    found = {}
    passes = sorted(role for role in source.manifest.graphs if role.startswith("context_"))
    for number, role in enumerate(passes):
        for name, weight in source.layers(role).items():
            inner = name.removeprefix("grid_pass.")
            on_grid = f"passes.{number}." if inner != name else ""
            found[f"context_mean.{on_grid}{inner}"] = weight
    return found


def _scale(graph: Mapping[str, Tensor], network: IntegerScaleNetwork) -> dict[str, Tensor]:
    """Integer weights in the units of the training."""
    found = {}
    for number, layer in enumerate(network.layers):
        place = f"hyper_scale_index.layers.{number}"
        found[f"{place}.weight"] = graph[f"weight{number}"] / layer.weight_units
        found[f"{place}.bias"] = graph[f"bias{number}"] / layer.bias_units
    return found


def _gain_units(
    arrays: Mapping[str, np.ndarray], rates: int, network: PhotoCodec
) -> dict[str, Tensor]:
    """The gain units; the table has them interpolated between the rates of the training."""
    place = arrays["rate"] * (rates - 1)
    low = np.minimum(place.astype(int), rates - 2)
    number = np.arange(len(place))
    weights = np.zeros((len(place), rates))
    weights[number, low] = 1 - (place - low)
    weights[number, low + 1] = place - low

    def at_rates(levels: np.ndarray) -> Tensor:
        return torch.from_numpy(np.linalg.lstsq(weights, levels, rcond=None)[0]).float()

    return {
        "log_gain": at_rates(np.log(arrays["gain"])),
        "log_inverse_gain": at_rates(np.log(arrays["inverse_gain"])),
        "index_offset": at_rates(arrays["index_offset"] * network.config.log_step),
    }


def _prior(frequencies: np.ndarray) -> dict[str, Tensor]:
    """The logistic with the mean and variance of each counted table (rates, N, 2 limit + 1)."""
    limit = frequencies.shape[2] // 2
    share = frequencies / frequencies.sum(axis=2, keepdims=True)
    values = np.arange(-limit, limit + 1)
    mean = share @ values
    variance = share @ values**2 - mean**2
    width = np.sqrt(3 * np.maximum(variance, 0.05)) / np.pi
    return {
        "hyper_prior.place": torch.from_numpy(mean).float(),
        "hyper_prior.log_width": torch.from_numpy(np.log(width)).float(),
    }


RECOVERED: dict[type[nn.Module], tuple[str, Callable[[_Source, Any], dict[str, Tensor]]]] = {
    PhotoCodec: ("compress", _codec),
    Denoiser: ("denoise", _denoiser),
    Inpainter: ("inpaint", _inpainter),
}
"""Kind of network -> task of its models, and the function that reads their weights."""
