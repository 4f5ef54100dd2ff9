"""A trained denoiser -> model folder: graphs, and the calibration of its intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vaetools.model.spec import DenoiseSpec
from vaetools.training.data.noise import rounded_to_8_bit
from vaetools.training.export.restorer import COVERAGE, Graphs, ImageGraph, write_restorer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.export.restorer import HeldOutCrops
    from vaetools.training.networks.restoration.denoiser import Denoiser
    from vaetools.training.recipe import Recipe

LEVELS = (2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0)
"""Noise levels (0–255 scale) at which intervals are measured."""

CROPS = 64
"""Number of held-out crops, the same ones for each level."""


def graphs(network: Denoiser) -> Graphs:
    level = ImageGraph(network.level, "level", per_cell=1)
    return Graphs(
        network,
        "denoise",
        "mean",
        damage=lambda uniform: 0.2 * uniform,
        side=25,
        others={"noise_level": level},
    )


@torch.no_grad()
def intervals(network: Denoiser, crops: HeldOutCrops, strongest: float) -> dict[float, float]:
    """Noise level -> half-width, in units of the predicted std, that holds `COVERAGE` of the values.

    Half of the images are rounded to 8 bits, as they are in files.

    Args:
        strongest: largest noise level that the network was trained on (0–255 scale).
    """
    generator = torch.Generator().manual_seed(3)
    images = crops(CROPS, generator)
    found = {}
    for level in (level for level in LEVELS if level <= strongest):
        sigma = torch.full_like(images[:, :1], level / 255.0)
        noisy = images + sigma * torch.randn(images.shape, generator=generator)
        noisy[::2] = rounded_to_8_bit(noisy[::2])
        condition = network.condition(noisy, sigma)
        mean, features = network.mean(condition)
        ratio = (images - mean.clamp(0.0, 1.0)).abs() / network.std(condition, features)
        found[level] = float(f"{float(ratio.quantile(COVERAGE)):.4g}")
    return found


def export_denoiser(
    network: Denoiser,
    folder: Path,
    recipe: Recipe,
    *,
    strongest: float,
    crops: HeldOutCrops | None,
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`.

    Args:
        strongest: largest noise level that the network was trained on (0–255 scale).
        crops: for the intervals; None for a model without posterior samples.
    """
    network.eval()
    found = {} if crops is None else intervals(network, crops, strongest)
    return write_restorer(
        graphs(network),
        folder,
        recipe,
        summary="Photographs without noise",
        samples=crops is not None,
        denoise=DenoiseSpec(strongest, tuple(found), tuple(found.values())),
    )
