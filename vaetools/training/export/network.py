"""An encoder and a decoder in torch, and the sizes they work on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from vaetools.errors import ModelBrokenError
from vaetools.model.spec import ImageSpec, LikelihoodSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """Two modules, and what cannot be measured about them.

    Attributes:
        encode: image (N, channels, H, W) float32 in [0, 1] -> mean, or (mean, logvar).
        decode: latent -> image in [0, 1], or (image, logits) where the likelihood is Bernoulli.
        channels: 3 (RGB) or 1 (grayscale).
        size: (height, width) of a network that takes one size only.
        prior: `normal` or `none`; None means `normal` if there is a logvar.
        scale, shift: outside the graphs latents are (z − shift) · scale.
    """

    encode: nn.Module
    decode: nn.Module
    channels: int = 3
    size: tuple[int, int] | None = None
    likelihood: LikelihoodSpec = field(default_factory=LikelihoodSpec)
    prior: Literal["normal", "none"] | None = None
    scale: float = 1.0
    shift: float = 0.0
    summary: str = ""


def image_spec(channels: int) -> ImageSpec:
    """Raises `ModelBrokenError` for images that are neither grayscale nor RGB."""
    known = {1: ImageSpec(1), 3: ImageSpec(3)}
    if channels not in known:
        raise ModelBrokenError(f"the network takes images of {channels} channels, not of 1 or 3")
    return known[channels]


@dataclass(frozen=True)
class Geometry:
    """How a network maps sizes, as measured.

    Attributes:
        spatial: latents are (N, latents, h, w), not (N, latents).
        gaussian: `encode` returns a logvar as well.
        latents: channels of the latent.
        downscale: pixels per side of a latent; 1 for vectors.
        multiple_of, minimum: constraints on image sides for which the output has the input's size.
        height, width: a size that works.
    """

    spatial: bool
    gaussian: bool
    latents: int
    downscale: int
    multiple_of: int
    minimum: int
    height: int
    width: int
