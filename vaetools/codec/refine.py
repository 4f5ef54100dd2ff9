"""Refinement: optimise the latents of one image for a lower rate-distortion cost.

The analysis network predicts the latents of any image in one step; better ones exist for each image
(the *amortization gap* of a variational autoencoder), above all because they are rounded: each rounding
error changes the image, and other latents can make up for it. With the squared error E of the image
through the whole synthesis, in bits by the exchange rate λ, a pass takes for every latent

    slope of the errors of the others = λ ∂E/∂ŷ + curvature · (y − ŷ),

since the latent's own rounding error has the share curvature · (ŷ − y) in the gradient. The latent moves
against this slope, and a little against the slope of its own bits, before it is rounded again. That is a
Jacobi iteration on the quadratic form of the rounding errors; all latents move at the same time, so that
a step has to be damped. Steps grow from pass to pass, and follow a running mean.

Without the share of the latent itself, a step would push every value towards the edge of its bin.
One pass gains two thirds of what eight gained that moved symbols by ±1 (`docs/experiments.md`).

Hyper-latents and tables do not change. The file format is the same, and decoders need no support.

References: Yang, Bamler, Mandt, "Improving inference for neural image compression", NeurIPS 2020;
Campos et al., "Content adaptive optimization for neural image compression", CVPR workshops 2019; and
rate-distortion optimised quantisation in video encoders.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import CELL, DOWNSCALE
from vaetools.codec.pixels import rgb_of
from vaetools.codec.tables import LATENTS, upsampled
from vaetools.tiling import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from vaetools.codec.networks import EntropyNetworks
    from vaetools.codec.tables import CodecTables
    from vaetools.image import Image
    from vaetools.model.spec import RefineSpec
    from vaetools.tiling import Box, Tile

MAX_PASSES = 64

TILE = 10
"""Side of a tile in cells. A gradient needs all activations of the synthesis at once: tiles of 16 cells,
as for encoding, take twice the memory."""

ERROR_SCALE = 255.0**2 / 3
"""From E, a sum over three channels in [0, 1], to the unit of λ, a mean on the 0–255 scale."""

CURVATURE = 15.0
"""Second derivative of the error in bits, by a latent in quantisation steps. At high rates, the best
step for any λ makes it 12 / ln 2; this value is measured over all rates."""

FIRST_STEP, STEP_GROWTH, LAST_STEP = 0.02, 0.01, 0.05
"""Quantisation steps per bit of slope, in the first pass, more in each pass, and at most."""

FIRST_RATE_STEP, RATE_STEP_GROWTH, LAST_RATE_STEP = 0.03, 0.005, 0.04
"""The same for the slope of the bits."""

STEEPEST = 20.0
"""Largest slope of the bits."""

NEW = 0.3
"""Weight of a pass in the running mean, after the first pass."""

UNIT = 1 / 50
"""Unit of updates, in quantisation steps of the rate. They are kept as int8, because the latents of a
large image take much memory."""

LIMIT = 127
"""Largest update, in `UNIT`."""


class Updated:
    """The latents of an image with an update, which is added where they are asked for.

    Args:
        y: (1, M, h, w) float32, latents of the whole image.
        update: (M, h, w) int8, in `UNIT`.
        networks: for the quantisation steps of its rate indices.
    """

    def __init__(self, y: np.ndarray, update: np.ndarray, networks: EntropyNetworks) -> None:
        self.y = y
        self.update = update
        self.networks = networks

    def __getitem__(self, at: Any) -> np.ndarray:
        """Latents at `(..., rows, columns)`, slices between corners of cells."""
        rows, columns = (slice(s.start // LATENTS, s.stop // LATENTS) for s in at[-2:])
        latents: np.ndarray = self.y[at] + self.update[at] * self.unit((rows, columns))
        return latents

    def added(self) -> np.ndarray:
        """`y` with the update, in the place of `y`; nothing of this object is of use any more."""
        rows = self.y.shape[2] // LATENTS
        columns = slice(0, self.y.shape[3])
        for row in range(rows):  # one row of cells at a time, because the unit takes memory
            at = (..., slice(row * LATENTS, (row + 1) * LATENTS), columns)
            self.y[at] = self[at]
        return self.y

    def unit(self, cells: Box) -> np.ndarray:
        """The unit of the update of every latent."""
        unit: np.ndarray = self.networks.steps(cells) * np.float32(UNIT)
        return unit


class Refinement:
    """Refines the latents of one image.

    Args:
        y: (1, M, h, w) float32, its latents.
        networks: for its rate indices.
        spec: the `[codec.refine]` table of the manifest.
        image: the image.
        z: its hyper-latents, (1, N, rows, columns).
        tiles: tiles for the networks.
    """

    def __init__(
        self,
        y: np.ndarray,
        networks: EntropyNetworks,
        spec: RefineSpec,
        image: Image,
        z: np.ndarray,
        tiles: Sequence[Tile],
    ) -> None:
        self.y = y
        self.networks = networks
        self.tables: CodecTables = networks.tables
        self.image = image
        self.z = z
        self.tiles = tiles
        low, high = np.log([spec.lambda_min, spec.lambda_max])
        # λ of every rate index: bits per unit of squared error.
        weight = ERROR_SCALE * np.exp(low + (high - low) * self.tables.rate)
        self.error_weight: Any = weight.astype(np.float32)
        variance = self.tables.variances + 1 / 12  # a value is anywhere in its bin
        self.rate_slope: Any = (1 / (variance * math.log(2))).astype(np.float32)

    def run(self, passes: int) -> Updated:
        """The latents after some passes.

        All tiles of a pass see the latents of the pass before, so that tile borders leave no trace.
        """
        latents = Updated(self.y, np.zeros(self.y.shape[1:], np.int8), self.networks)
        for number in range(passes):
            after = np.empty_like(latents.update)
            for tile in self.tiles:
                part = self._update(latents, tile.outer, number)[
                    (..., *scaled(tile.inner, LATENTS))
                ]
                after[(..., *scaled(tile.core, LATENTS))] = part
            latents = Updated(self.y, after, self.networks)
        return latents

    def _update(self, latents: Updated, cells: Box, number: int) -> np.ndarray:
        """The update of some cells after the pass with this number, (M, h, w) int8."""
        at = (..., *scaled(cells, LATENTS))
        r, restored = self.networks.restored(latents, self.z, cells)
        before, unit = latents.update[at].astype(np.float32), latents.unit(cells)
        mean = restored.latents - restored.offsets(r)
        # From latents to what is rounded: the steps of the encoder and of the decoder are learned apart.
        gain = self._gain_product(cells) / restored.step
        own = (self.y[0][at] - mean) * gain
        weights = self._weights(cells)
        slope = self._slope(restored.latents, weights, cells) * restored.step
        slope += self._curvature(weights, cells) * (own - r)
        index = self.networks.index(self.z, cells)
        moved = own + before * (unit * gain)
        bits = np.clip(moved * self.rate_slope[index], -STEEPEST, STEEPEST)
        step = min(FIRST_STEP + number * STEP_GROWTH, LAST_STEP)
        rate_step = min(FIRST_RATE_STEP + number * RATE_STEP_GROWTH, LAST_RATE_STEP)
        found = -(step * slope + rate_step * bits) * (restored.step / unit)
        share = NEW if number else 1.0
        after = np.rint(before + share * (np.nan_to_num(found) - before))
        kept: np.ndarray = np.clip(after, -LIMIT, LIMIT).astype(np.int8)
        return kept

    def _slope(self, latents: np.ndarray, weights: np.ndarray, cells: Box) -> np.ndarray:
        """λ · ∂E/∂ŷ, (M, h, w)."""
        graph = self.networks.model.graph("synthesis_gradient")
        rates = self.tables.rates(self.networks.levels[cells])
        image = rgb_of(self.image, scaled(cells, CELL))
        slope, _ = graph(np.ascontiguousarray(latents[None]), rates, image, weights[None, None])
        found: np.ndarray = slope[0]
        return found

    def _gain_product(self, cells: Box) -> np.ndarray:
        """`gain` · `inverse_gain` of every latent, about 1."""
        tables = self.tables
        return tables.per_latent(tables.gain * tables.inverse_gain, self.networks.levels[cells])

    def _curvature(self, weights: np.ndarray, cells: Box) -> np.ndarray:
        """`CURVATURE` by the share of the image in the pixels of a latent, (h, w)."""
        whole = upsampled(self.error_weight[self.networks.levels[cells]], LATENTS)
        share: np.ndarray = CURVATURE * _block_means(weights, DOWNSCALE) / whole
        return share

    def _weights(self, cells: Box) -> np.ndarray:
        """λ at every pixel, (H, W) float32; 0 in the padding beyond the image."""
        weights = upsampled(self.error_weight[self.networks.levels[cells]], CELL)
        rows, columns = scaled(cells, CELL)
        weights[self.image.height - rows.start :] = 0
        weights[:, self.image.width - columns.start :] = 0
        return weights


def _block_means(values: np.ndarray, side: int) -> np.ndarray:
    """Means over blocks of `side` × `side`."""
    height, width = values.shape
    blocks = values.reshape(height // side, side, width // side, side)
    means: np.ndarray = blocks.mean(axis=(1, 3))
    return means
