"""A trained inpainter -> model folder: graphs, and the calibration of its intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from vaetools.model.spec import InpaintSpec
from vaetools.training.data.holes import KINDS, Holes
from vaetools.training.export.restorer import COVERAGE, Graphs, write_restorer
from vaetools.training.networks.restoration.fill import DEEPEST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.folder import Model
    from vaetools.training.data.holes import HoleSettings
    from vaetools.training.export.restorer import HeldOutCrops
    from vaetools.training.networks.restoration.inpainter import Inpainter
    from vaetools.training.recipe import Recipe

DEPTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Distances in pixels to the nearest known pixel, at which intervals are measured."""

CROPS = 32
"""Number of held-out crops for each kind of hole."""

MIN_PIXELS = 100
"""A depth with fewer pixels than this gets no interval."""


def graphs(network: Inpainter) -> Graphs:
    return Graphs(
        network, "inpaint", "filled", damage=lambda uniform: (uniform < 0.3).float(), side=63
    )


@torch.no_grad()
def intervals(
    network: Inpainter, crops: HeldOutCrops, settings: HoleSettings
) -> dict[float, float]:
    """Depth -> half-width, in units of the predicted std, that holds `COVERAGE` of the values.

    Args:
        settings: of the holes.
    """
    generator = torch.Generator().manual_seed(3)
    holes = Holes(settings, generator)
    ratios: dict[float, list[Tensor]] = {depth: [] for depth in DEPTHS}
    for kind in KINDS:
        images = crops(CROPS, generator)
        mask = holes.of_kind(kind, images)
        condition = network.condition(images, mask)
        mean, features = network.mean(condition)
        std = network.std(condition, features).clamp(min=1e-9)
        ratio = (images - mean.clamp(0.0, 1.0)).abs() / std
        nearest = _nearest_depth(mask)
        for number, depth in enumerate(DEPTHS):
            at_depth = (mask > 0)[:, 0] & (nearest == number)
            ratios[depth].append(ratio.permute(0, 2, 3, 1)[at_depth].flatten())
    pooled = {depth: np.concatenate([r.numpy() for r in parts]) for depth, parts in ratios.items()}
    return {
        depth: float(f"{np.quantile(values, COVERAGE):.4g}")
        for depth, values in pooled.items()
        if len(values) >= MIN_PIXELS
    }


def _nearest_depth(mask: Tensor) -> Tensor:
    """Index of the depth whose ratio to the true one is closest to 1, (B, H, W)."""
    planes = (255 * mask[:, 0]).byte().numpy()
    found = np.stack([cv2.distanceTransform(plane, cv2.DIST_L2, 5) for plane in planes])
    log = np.log2(np.maximum(found, 1.0))[..., None]
    return torch.from_numpy(np.abs(log - np.log2(DEPTHS)).argmin(axis=-1))


def export_inpainter(
    network: Inpainter,
    folder: Path,
    recipe: Recipe,
    *,
    holes: HoleSettings,
    crops: HeldOutCrops | None,
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`.

    Args:
        holes: that the network was trained on.
        crops: for the intervals; None for a model without posterior samples.
    """
    network.eval()
    found = {} if crops is None else intervals(network, crops, holes)
    return write_restorer(
        graphs(network),
        folder,
        recipe,
        summary="Photographs without holes",
        samples=crops is not None,
        inpaint=InpaintSpec(DEEPEST, tuple(found), tuple(found.values())),
    )
