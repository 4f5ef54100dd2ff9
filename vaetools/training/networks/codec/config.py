"""Sizes of the photo codec."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vaetools.errors import UsageError
from vaetools.training.recipe import CountOrNone, NotNegative


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of the network; every field is a key of `[network]` in a recipe.

    Attributes:
        channels, middle: width at 1/8 and at 1/16 of the image's size.
        latents: M. A 16x16 patch has 768 numbers; fewer latents limit the quality at high rates.
        hyper, hyper_hidden: N, and the width of the small networks.
        analysis_blocks, synthesis_blocks: blocks at 1/8.
        middle_blocks: blocks at 1/16, of the analysis and of the synthesis each.
        context: `interleaved` (channels of one place take turns) or `grid` (all channels of a place
            are decoded together, one place of every 2x2 square at a time).
        context_width: width of the context network; 0 for `channels`.
        context_blocks: blocks of the network that improves the mean; with `grid`, of each of its passes.
        element_steps: whether the `grid` context also scales the quantisation step of every latent.
        centroids: whether a latent is restored at the centroid of its bin, learned for every table.
        overlap_entry, overlap_exit: pixels that the 8x8 blocks at the entry of the analysis and at the
            exit of the synthesis reach beyond each of their edges.
        rates: rate points, from `lambda_min` to `lambda_max`.
        knee: rate point of quality 75; the qualities below and above it are spread evenly over the rate
            points on either side. 0 for all qualities evenly over all rate points.
        scale_min, scale_max, tables: standard deviations of the entropy tables, a geometric series.
        hyper_limit: largest magnitude of a hyper-latent.
    """

    channels: int = 128
    middle: int = 192
    latents: int = 320
    hyper: int = 64
    hyper_hidden: int = 128
    analysis_blocks: int = 3
    synthesis_blocks: int = 4
    middle_blocks: int = 1
    context: Literal["interleaved", "grid"] = "interleaved"
    context_width: CountOrNone = 0
    context_blocks: int = 1
    element_steps: bool = False
    centroids: bool = False
    overlap_entry: CountOrNone = 0
    overlap_exit: CountOrNone = 0
    rates: int = 8
    lambda_min: float = 0.0009
    lambda_max: float = 0.11
    knee: NotNegative = 0.0
    scale_min: float = 0.11
    scale_max: float = 128.0
    tables: int = 64
    hyper_limit: int = 63

    def __post_init__(self) -> None:
        """Raises `UsageError` for keys that exclude each other."""
        if self.element_steps and self.context != "grid":
            raise UsageError('recipe: [network]: element_steps needs context = "grid"')
        if self.knee >= self.rates - 1:
            raise UsageError(
                f"recipe: [network]: knee = {self.knee:g} is not below the last rate point, "
                f"{self.rates - 1}"
            )

    @property
    def log_step(self) -> float:
        """Distance of two neighbouring tables in ln(scale)."""
        return math.log(self.scale_max / self.scale_min) / (self.tables - 1)
