"""A trained inpainter -> model folder: one or two graphs, and how wide its intervals are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.manifest import (
    ImageSpec,
    InpaintSpec,
    LatentSpec,
    Manifest,
    SelfTest,
    SizeSpec,
    TilingSpec,
)
from vaetools.training.export import GraphPlan, reach, write_model
from vaetools.training.restoration.holes import KINDS, Holes
from vaetools.training.restoration.inpainter import DEEPEST
from vaetools.training.restoration.network import CELL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.training.pictures import PicturePack
    from vaetools.training.recipe import Recipe
    from vaetools.training.restoration.inpainter import Inpainter
    from vaetools.training.tasks.inpaint import InpaintData
    from vaetools.vae import Model

DEPTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Distances to the nearest known pixel at which intervals are measured."""

SHARE = 0.9
"""Of true values that intervals are to hold."""

CROPS = 32
"""Held-out crops that are looked at for each kind of hole."""

FEWEST = 100
"""Pixels of a depth without which nothing is said of it."""

SEEN = 63
"""Cells per side of the picture on which it is measured how far the network sees."""


class Inpaint(nn.Module):
    """image, mask -> the picture with the hole filled by the mean."""

    def __init__(self, network: Inpainter) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.network.mean(self.network.given(image, mask))[0]


class InpaintSample(nn.Module):
    """image, mask, noise, temperature -> a sample, and the deviation around the mean."""

    def __init__(self, network: Inpainter) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Tensor, mask: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.network.sample(self.network.given(image, mask), noise, temperature)


def example(network: Inpainter, rows: int, columns: int) -> dict[str, Tensor]:
    """Inputs of `InpaintSample` for a picture of so many cells."""
    generator = torch.Generator().manual_seed(0)
    size = rows * CELL, columns * CELL
    return {
        "image": torch.rand(1, 3, *size, generator=generator),
        "mask": (torch.rand(1, 1, *size, generator=generator) < 0.3).float(),
        "noise": torch.randn(1, network.config.noise, rows, columns, generator=generator),
        "temperature": torch.full((1, 1, 1, 1), 0.7),
    }


def plans(network: Inpainter, *, samples: bool) -> dict[str, GraphPlan]:
    """The graphs by their roles; with `samples` that of the ladder as well."""
    inputs, unseen = example(network, 8, 6), example(network, 5, 9)
    pixels = {2: "height", 3: "width"}
    dims = {"image": pixels, "mask": pixels, "noise": {2: "latent_height", 3: "latent_width"}}

    def plan(module: nn.Module, names: tuple[str, ...], outputs: list[str]) -> GraphPlan:
        return GraphPlan(
            module,
            {name: inputs[name] for name in names},
            outputs,
            {name: dims[name] for name in names if name in dims},
            unseen=[{name: unseen[name] for name in names}],
        )

    found = {"inpaint": plan(Inpaint(network), ("image", "mask"), ["filled"])}
    if samples:
        outputs = ["sample", "deviation"]
        found["inpaint_sample"] = plan(InpaintSample(network), tuple(inputs), outputs)
    return found


def halo(network: Inpainter) -> int:
    """Pixels that a tile must see beyond its edge, in whole cells."""
    image, mask, noise, temperature = example(network, SEEN, SEEN).values()
    sample = InpaintSample(network)
    cells = max(
        reach(lambda x: sample(x, mask, noise, temperature)[0], [image], CELL, CELL),
        reach(lambda x: sample(image, x, noise, temperature)[0], [mask], CELL, CELL),
        reach(lambda x: sample(image, mask, x, temperature)[0], [noise], 1, CELL),
    )
    if cells >= SEEN // 2:
        raise ModelBrokenError(f"the network sees further than {cells} cells of {CELL} pixels")
    return cells * CELL


@torch.no_grad()
def intervals(network: Inpainter, wanted: InpaintData, held: PicturePack) -> dict[float, float]:
    """For each depth: the half-width, in predicted deviations, that holds `SHARE` of the values.

    Args:
        held: pictures that were not trained on.
    """
    generator = torch.Generator().manual_seed(3)
    holes = Holes(wanted, generator)
    ratios: dict[float, list[Tensor]] = {depth: [] for depth in DEPTHS}
    for kind in KINDS:
        images = held.crops(CROPS, wanted.held_size(held), generator, shrink=wanted.shrink)
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
    latent = LatentSpec("spatial", 0, CELL, "point", prior="none")
    if held is not None:
        found = intervals(network, wanted, held)
        spec = InpaintSpec(DEEPEST, tuple(found), tuple(found.values()))
        latent = LatentSpec("spatial", network.config.noise, CELL, "gaussian", prior="normal")
    manifest = Manifest(
        format=1,
        id=recipe.id,
        version=recipe.version,
        license="Apache-2.0",
        summary=recipe.summary or "Photographs without holes",
        tasks=("inpaint",),
        graphs={},
        image=ImageSpec(),
        size=SizeSpec(multiple_of=CELL, minimum=CELL),
        tiling=TilingSpec("halo", halo(network)),
        latent=latent,
        inpaint=spec,
        selftest=SelfTest(height=64, width=48),
    )
    return write_model(folder, manifest, plans(network, samples=held is not None))
