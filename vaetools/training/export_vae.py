"""A trained VAE of the laboratory -> model folder with the graphs `encode` and `decode`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaetools.errors import ModelBrokenError
from vaetools.manifest import (
    ImageSpec,
    LatentSpec,
    LikelihoodSpec,
    Manifest,
    SelfTest,
    SizeSpec,
    TilingSpec,
)
from vaetools.training.export import GraphPlan, reach, write_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vaetools.training.networks.common import VaeNetwork
    from vaetools.training.recipe import Recipe
    from vaetools.vae import Model

SIDES = 17, 33, 65, 129
"""Grids on which the halo is measured, the smallest first; it must not reach their edge."""

EXAMPLE = 6, 9
"""Rows and columns of latents in the example of a spatial network; they differ on purpose."""


class Encode(nn.Module):
    """image -> mean, and logvar unless the network is an autoencoder."""

    def __init__(self, network: VaeNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        mean, logvar = self.network.encode(image)
        return mean if logvar is None else (mean, logvar)


class Decode(nn.Module):
    """latent -> image, and logits where the likelihood is Bernoulli."""

    def __init__(self, network: VaeNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        decoded = self.network.decode(latent)
        image = self.network.image(decoded)
        return (image, decoded) if self.network.likelihood == "bernoulli" else image


def plans(network: VaeNetwork) -> dict[str, GraphPlan]:
    """The two graphs, with batches of any size."""
    generator = torch.Generator().manual_seed(0)
    channels, height, width = network.shape
    image_dims, latent_dims = {0: "batch"}, {0: "batch"}
    latent_shape: tuple[int, ...] = (2, network.latents)
    if network.latent_kind == "spatial":
        height, width = (side * network.downscale for side in EXAMPLE)
        latent_shape += EXAMPLE
        image_dims |= {2: "height", 3: "width"}
        latent_dims |= {2: "latent_height", 3: "latent_width"}
    image = torch.rand(2, channels, height, width, generator=generator)
    latent = torch.randn(latent_shape, generator=generator)
    # Compared as well: another batch and, where the network takes it, another size.
    other = image[:1], latent[:1]
    if network.latent_kind == "spatial":
        other = image[:1].repeat(1, 1, 1, 2), latent[:1].repeat(1, 1, 2, 1)
    has_posterior = network.encode(image)[1] is not None
    is_bernoulli = network.likelihood == "bernoulli"
    return {
        "encode": GraphPlan(
            Encode(network),
            {"image": image},
            ["mean", "logvar"] if has_posterior else ["mean"],
            {"image": image_dims},
            unseen=[{"image": other[0]}],
        ),
        "decode": GraphPlan(
            Decode(network),
            {"latent": latent},
            ["image", "logits"] if is_bernoulli else ["image"],
            {"latent": latent_dims},
            unseen=[{"latent": other[1]}],
        ),
    }


def halo(network: VaeNetwork) -> int:
    """Pixels that a tile must see beyond its edge: measured, in whole cells."""
    down = network.downscale
    for side in SIDES:
        cells = _seen(network, side)
        if cells < side // 2:
            return cells * down
    raise ModelBrokenError(f"the network sees further than {cells * down} pixels")


def _seen(network: VaeNetwork, side: int) -> int:
    """How many cells around one are felt, on a grid of `side` cells."""
    down = network.downscale
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, network.shape.channels, side * down, side * down, generator=generator)
    latent = torch.randn(1, network.latents, side, side, generator=generator)

    def encode(x: Tensor) -> Tensor:
        return torch.cat(network.encode(x), dim=1)

    return max(reach(encode, [image], down, 1), reach(network.decode, [latent], 1, down))


def export_vae(
    network: VaeNetwork, folder: Path, recipe: Recipe
) -> tuple[Model, Mapping[str, float]]:
    """Write the model folder; see `write_model`."""
    network.eval()
    with torch.no_grad():
        described = describe(network, recipe)
    return write_model(folder, described, plans(network))


def describe(network: VaeNetwork, recipe: Recipe) -> Manifest:
    """The manifest of a trained network, without its graphs."""
    spatial = network.latent_kind == "spatial"
    has_posterior = network.encode(torch.zeros(1, *network.shape))[1] is not None
    channels, height, width = network.shape
    return Manifest(
        format=1,
        id=recipe.id,
        version=recipe.version,
        license="Apache-2.0",
        summary=recipe.summary,
        tasks=("generate", "reconstruct") if has_posterior else ("reconstruct",),
        graphs={},
        image=ImageSpec(channels=channels),
        size=SizeSpec(network.downscale, network.downscale)
        if spatial
        else SizeSpec(fixed=(height, width)),
        tiling=TilingSpec("halo", halo(network))
        if spatial
        else TilingSpec("never", reason="one vector of latents for the whole image"),
        latent=LatentSpec(
            kind=network.latent_kind,
            channels=network.latents,
            downscale=network.downscale,
            distribution="gaussian" if has_posterior else "point",
            prior="normal" if has_posterior else "none",
        ),
        likelihood=LikelihoodSpec(network.likelihood, float(network.log_deviation.exp())),
        selftest=SelfTest(height=8 * network.downscale, width=8 * network.downscale)
        if spatial
        else SelfTest(height=height, width=width),
    )
