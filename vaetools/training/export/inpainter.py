"""A trained inpainter -> model folder: one or two graphs, and how wide its intervals are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from vaetools.model.spec import InpaintSpec
from vaetools.training.data.holes import KINDS, Holes
from vaetools.training.export.graphs import write_model
from vaetools.training.export.restorer import SHARE, Graphs
from vaetools.training.networks.restoration.inpainter import DEEPEST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.vae import Model
    from vaetools.training.data.pictures import PicturePack
    from vaetools.training.networks.restoration.inpainter import Inpainter
    from vaetools.training.recipe import Recipe
    from vaetools.training.tasks.inpaint import InpaintData

DEPTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Distances to the nearest known pixel at which intervals are measured."""

CROPS = 32
"""Held-out crops that are looked at for each kind of hole."""

FEWEST = 100
"""Pixels of a depth without which nothing is said of it."""


def graphs(network: Inpainter) -> Graphs:
    return Graphs(network, "inpaint", "filled", damage=lambda drawn: (drawn < 0.3).float(), seen=63)


def halo(network: Inpainter) -> int:
    """Pixels that a tile must see beyond its edge, in whole cells."""
    return graphs(network).halo()


@torch.no_grad()
def intervals(network: Inpainter, wanted: InpaintData, held: PicturePack) -> dict[float, float]:
    """For each depth: the half-width, in predicted deviations, that holds `SHARE` of the values.

    Pictures are not reduced: reduced ones are sharper, and those that people have are not.

    Args:
        held: pictures that were not trained on.
    """
    generator = torch.Generator().manual_seed(3)
    holes = Holes(wanted, generator)
    ratios: dict[float, list[Tensor]] = {depth: [] for depth in DEPTHS}
    for kind in KINDS:
        images = held.crops(CROPS, wanted.held_size(held), generator, shrink=1.0)
        mask = holes.of_kind(kind, images)
        given = network.given(images, mask)
        mean, features = network.mean(given)
        deviation = network.deviation(given, features).clamp(min=1e-9)
        ratio = (images - mean.clamp(0.0, 1.0)).abs() / deviation
        depth = _nearest(mask)
        for number, name in enumerate(DEPTHS):
            there = (mask > 0)[:, 0] & (depth == number)
            ratios[name].append(ratio.permute(0, 2, 3, 1)[there].flatten())
    pooled = {depth: np.concatenate([r.numpy() for r in parts]) for depth, parts in ratios.items()}
    return {
        depth: float(f"{np.quantile(values, SHARE):.4g}")
        for depth, values in pooled.items()
        if len(values) >= FEWEST
    }


def _nearest(mask: Tensor) -> Tensor:
    """Number of the depth that is nearest in ratio, (B, H, W)."""
    planes = (255 * mask[:, 0]).byte().numpy()
    found = np.stack([cv2.distanceTransform(plane, cv2.DIST_L2, 5) for plane in planes])
    log = np.log2(np.maximum(found, 1.0))[..., None]
    return torch.from_numpy(np.abs(log - np.log2(DEPTHS)).argmin(axis=-1))


def export_inpainter(
    network: Inpainter,
    wanted: InpaintData,
    held: PicturePack | None,
    folder: Path,
    recipe: Recipe,
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`.

    Args:
        held: pictures that were not trained on, for the intervals; None for a model without samples.
    """
    network.eval()
    spec = InpaintSpec(DEEPEST)
    if held is not None:
        found = intervals(network, wanted, held)
        spec = InpaintSpec(DEEPEST, tuple(found), tuple(found.values()))
    samples, made = held is not None, graphs(network)
    manifest = made.manifest(
        recipe, "Photographs without holes", halo=halo(network), samples=samples
    )
    return write_model(folder, replace(manifest, inpaint=spec), made.plans(samples=samples))
