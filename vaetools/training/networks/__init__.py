"""VAE networks, one file each.

All of them are VAEs with a diagonal Gaussian posterior and a standard normal prior; they differ in
how they map images to posteriors and latents to images:

    mlp      784-128-64-16 and back, with dropout: the classic; also as a plain autoencoder
    conv     convolutions around one vector of latents, for images of one size
    gru      a recurrent decoder that draws an image row by row
    spatial  convolutions all the way, latents on a grid, for photographs of any size
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaetools.errors import UsageError
from vaetools.training.networks.conv import ConvVae
from vaetools.training.networks.gru import GruVae
from vaetools.training.networks.mlp import MlpAutoencoder, MlpVae
from vaetools.training.networks.spatial import SpatialVae

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetools.training.networks.common import ImageShape, VaeNetwork

NETWORKS: dict[str, type[VaeNetwork]] = {
    "mlp": MlpVae,
    "autoencoder": MlpAutoencoder,
    "conv": ConvVae,
    "gru": GruVae,
    "spatial": SpatialVae,
}
"""Values of `[network] kind` in a recipe."""


def make_network(table: Mapping[str, Any], shape: ImageShape) -> VaeNetwork:
    """The network that the table `[network]` of a recipe describes.

    Args:
        table: `kind`, and the keyword arguments of that network.
        shape: of one image.

    Raises:
        UsageError: an unknown kind or key, or sizes that do not fit the network.
    """
    options = dict(table)
    kind = options.pop("kind", "mlp")
    if not isinstance(kind, str) or kind not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise UsageError(f"recipe names the network {kind!r}", remedy=f"known: {known}")
    try:
        return NETWORKS[kind](shape, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"[network] of the recipe: {error}") from None
