"""A trained denoiser -> model folder: two or three graphs, and how wide its intervals are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from vaetools.model.spec import DenoiseSpec
from vaetools.training.data.noise import rounded_to_8_bit
from vaetools.training.export.graphs import GraphPlan, write_model
from vaetools.training.export.restorer import SHARE, Graphs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.model.vae import Model
    from vaetools.training.data.pictures import PicturePack
    from vaetools.training.networks.restoration.denoiser import Denoiser
    from vaetools.training.recipe import Recipe
    from vaetools.training.tasks.denoise import DenoiseData

LEVELS = (2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0)
"""Noise levels, in grey levels of 255, at which intervals are measured."""

CROPS = 64
"""Held-out crops that are looked at, the same for each level."""


def graphs(network: Denoiser) -> Graphs:
    return Graphs(network, "denoise", "mean", damage=lambda drawn: 0.2 * drawn, seen=25)


def plans(network: Denoiser, *, samples: bool) -> dict[str, GraphPlan]:
    """The graphs by their roles; with `samples` that of the ladder as well."""
    made = graphs(network)
    level = made.plan(network.level, ("image",), ["level"])
    return {**made.plans(samples=samples), "noise_level": level}


def halo(network: Denoiser) -> int:
    """Pixels that a tile must see beyond its edge, in whole cells."""
    return graphs(network).halo((network.level, 1))


@torch.no_grad()
def intervals(network: Denoiser, wanted: DenoiseData, held: PicturePack) -> dict[float, float]:
    """For each noise level: the half-width, in predicted deviations, that holds `SHARE` of the values.

    Half of the pictures are rounded to 8 bit, as files are. None is reduced: reduced ones are sharper,
    and those that people have are not.

    Args:
        held: pictures that were not trained on.
    """
    generator = torch.Generator().manual_seed(3)
    images = held.crops(CROPS, wanted.held_size(held), generator, shrink=1.0)
    found = {}
    for level in (level for level in LEVELS if level <= wanted.strongest):
        sigma = torch.full_like(images[:, :1], level / 255.0)
        noisy = images + sigma * torch.randn(images.shape, generator=generator)
        noisy[::2] = rounded_to_8_bit(noisy[::2])
        given = network.given(noisy, sigma)
        mean, features = network.mean(given)
        ratio = (images - mean.clamp(0.0, 1.0)).abs() / network.deviation(given, features)
        found[level] = float(f"{float(ratio.quantile(SHARE)):.4g}")
    return found


def export_denoiser(
    network: Denoiser,
    wanted: DenoiseData,
    held: PicturePack | None,
    folder: Path,
    recipe: Recipe,
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`.

    Args:
        held: pictures that were not trained on, for the intervals; None for a model without samples.
    """
    network.eval()
    spec = DenoiseSpec(wanted.strongest)
    if held is not None:
        found = intervals(network, wanted, held)
        spec = DenoiseSpec(wanted.strongest, tuple(found), tuple(found.values()))
    samples = held is not None
    manifest = graphs(network).manifest(
        recipe, "Photographs without noise", halo=halo(network), samples=samples
    )
    return write_model(folder, replace(manifest, denoise=spec), plans(network, samples=samples))
