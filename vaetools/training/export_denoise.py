"""A trained denoiser -> model folder: two or three graphs, and how wide its intervals are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.manifest import (
    DenoiseSpec,
    ImageSpec,
    LatentSpec,
    Manifest,
    SelfTest,
    SizeSpec,
    TilingSpec,
)
from vaetools.training.export import GraphPlan, reach, write_model
from vaetools.training.restoration.network import CELL
from vaetools.training.restoration.noise import rounded_to_8_bit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.training.pictures import PicturePack
    from vaetools.training.recipe import Recipe
    from vaetools.training.restoration.denoiser import Denoiser
    from vaetools.training.tasks.denoise import DenoiseData
    from vaetools.vae import Model

LEVELS = (2.0, 5.0, 10.0, 15.0, 25.0, 35.0, 50.0)
"""Noise levels, in grey levels of 255, at which intervals are measured."""

SHARE = 0.9
"""Of true values that intervals are to hold."""

CROPS = 24
"""Held-out crops that are looked at for each level."""

SEEN = 25
"""Cells per side of the picture on which it is measured how far the network sees."""


class Denoise(nn.Module):
    """image, sigma -> the mean."""

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        return self.network.mean(self.network.given(image, sigma))[0]


class DenoiseSample(nn.Module):
    """image, sigma, noise, temperature -> a sample, and the deviation around the mean."""

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, image: Tensor, sigma: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.network.sample(self.network.given(image, sigma), noise, temperature)


def example(network: Denoiser, rows: int, columns: int) -> dict[str, Tensor]:
    """Inputs of `DenoiseSample` for a picture of so many cells."""
    generator = torch.Generator().manual_seed(0)
    size = rows * CELL, columns * CELL
    return {
        "image": torch.rand(1, 3, *size, generator=generator),
        "sigma": 0.2 * torch.rand(1, 1, *size, generator=generator),
        "noise": torch.randn(1, network.config.noise, rows, columns, generator=generator),
        "temperature": torch.full((1, 1, 1, 1), 0.7),
    }


def plans(network: Denoiser, *, samples: bool) -> dict[str, GraphPlan]:
    """The graphs by their roles; with `samples` that of the ladder as well."""
    inputs, unseen = example(network, 8, 6), example(network, 5, 9)
    pixels = {2: "height", 3: "width"}
    cells = {2: "latent_height", 3: "latent_width"}

    def plan(module: nn.Module, names: tuple[str, ...], outputs: list[str]) -> GraphPlan:
        dims = {"image": pixels, "sigma": pixels, "noise": cells}
        return GraphPlan(
            module,
            {name: inputs[name] for name in names},
            outputs,
            {name: dims[name] for name in names if name in dims},
            unseen=[{name: unseen[name] for name in names}],
        )

    found = {
        "denoise": plan(Denoise(network), ("image", "sigma"), ["mean"]),
        "noise_level": plan(network.level, ("image",), ["level"]),
    }
    if samples:
        outputs = ["sample", "deviation"]
        found["denoise_sample"] = plan(DenoiseSample(network), tuple(inputs), outputs)
    return found


def halo(network: Denoiser) -> int:
    """Pixels that a tile must see beyond its edge, in whole cells."""
    inputs = example(network, SEEN, SEEN)

    def sample(image: Tensor, sigma: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        return DenoiseSample(network)(image, sigma, noise, temperature)[0]

    def from_noise(noise: Tensor, image: Tensor, sigma: Tensor, temperature: Tensor) -> Tensor:
        return sample(image, sigma, noise, temperature)

    image, sigma, noise, temperature = inputs.values()
    cells = max(
        reach(sample, [image, sigma, noise, temperature], CELL, CELL),
        reach(from_noise, [noise, image, sigma, temperature], 1, CELL),
        reach(network.level, [image], CELL, 1),
    )
    if cells >= SEEN // 2:
        raise ModelBrokenError(f"the network sees further than {cells} cells of {CELL} pixels")
    return cells * CELL


@torch.no_grad()
def intervals(network: Denoiser, wanted: DenoiseData, held: PicturePack) -> dict[float, float]:
    """For each noise level: the half-width, in predicted deviations, that holds `SHARE` of the values.

    Half of the pictures are rounded to 8 bit, as files are.

    Args:
        held: pictures that were not trained on.
    """
    generator = torch.Generator().manual_seed(3)
    found = {}
    for level in (level for level in LEVELS if level <= wanted.strongest):
        images = held.crops(CROPS, wanted.held_size(held), generator, shrink=wanted.shrink)
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
    latent = LatentSpec("spatial", 0, CELL, "point", prior="none")
    if held is not None:
        found = intervals(network, wanted, held)
        spec = DenoiseSpec(wanted.strongest, tuple(found), tuple(found.values()))
        latent = LatentSpec("spatial", network.config.noise, CELL, "gaussian", prior="normal")
    manifest = Manifest(
        format=1,
        id=recipe.id,
        version=recipe.version,
        license="Apache-2.0",
        summary=recipe.summary or "Photographs without noise",
        tasks=("denoise",),
        graphs={},
        image=ImageSpec(),
        size=SizeSpec(multiple_of=CELL, minimum=CELL),
        tiling=TilingSpec("halo", halo(network)),
        latent=latent,
        denoise=spec,
        selftest=SelfTest(height=64, width=48),
    )
    return write_model(folder, manifest, plans(network, samples=held is not None))
