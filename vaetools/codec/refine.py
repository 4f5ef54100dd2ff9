"""Refinement: a second look at the latents of one picture, for fewer bits at the same quality.

The analysis network guesses the latents of every picture in one step; for each picture there are
better ones (the *amortization gap* of a variational autoencoder). A pass asks for every latent what
one quantisation step s more or less would change,

    Δ = λ · (∂E/∂ŷ · s + curvature · s²) + bits(r ± 1) − bits(r),

with the gradient of the squared error E through the whole synthesis, and moves half of those that
gain by it, drawn at random: neighbours that could make up for the same error must not all jump.
How far the sum of what was expected comes true says how cautious the next passes must be, as in
trust-region methods. Hyper-latents and tables stay as they are. The files are like any others; a
decoder does not notice.

References: Yang, Bamler, Mandt, "Improving inference for neural image compression", NeurIPS 2020;
Campos et al., "Content adaptive optimization for neural image compression", CVPR workshops 2019; and
rate-distortion optimised quantisation, which video encoders have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import CELL
from vaetools.codec.picture import floats_of
from vaetools.codec.tables import LATENTS, spread
from vaetools.tiling import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.codec.networks import SmallNetworks
    from vaetools.image import Image
    from vaetools.manifest import RefineSpec
    from vaetools.tiling import Box, Tile

MOST_PASSES = 64

SHARE = 0.5
"""Of the latents that gain by a move, so many make it in one pass."""

LEAST_GAIN = 0.05
"""Bits that a move must save."""

SQUARES = 255.0**2 / 3
"""λ is for the mean over three channels in units of 255², E the sum over channels in [0, 1]."""


class Symbols:
    """The symbols of a picture: its latents, quantised, and moved by refinement.

    Args:
        y: (1, M, h, w) float32, of the whole picture.
        networks: at its levels.
    """

    def __init__(self, y: np.ndarray, networks: SmallNetworks) -> None:
        self.y = y
        self.networks = networks
        self.moves: np.ndarray | None = None

    def __call__(self, mean: np.ndarray, box: Box) -> np.ndarray:
        """r of a part, (M, h, w) int32, given its mean (1, M, h, w)."""
        part = scaled(box, LATENTS)
        r = self.networks.quantised(self.y[(..., *part)], mean, box)
        return r if self.moves is None else r + self.moves[(..., *part)]


@dataclass
class Caution:
    """Factor of the curvature: moved together, latents do more harm than each of them alone.

    It follows the share of the expected saving that came true: above the aim passes grow bolder,
    below it more careful. Early passes aim low, to find better ground; the last ones settle.
    """

    factor: float = 1.5

    def learn(self, saved: float, expected: float, progress: float) -> None:
        """Take in what a pass saved, and what it had expected, in bits; `progress` in 0 … 1."""
        share, aim = saved / max(expected, 1.0), 0.2 + progress
        if share < aim:
            self.factor = min(1.4 * self.factor, 8.0)
        elif share > 1.5 * aim:
            self.factor = max(0.85 * self.factor, 1.0)


@dataclass(frozen=True)
class Moves:
    """What a pass does to a part.

    Attributes:
        moves: (M, h, w) int8 in −1 … 1.
        cost: bits of the latents, and of the error, before it.
        expected: bits that it should save.
    """

    moves: np.ndarray
    cost: float
    expected: float


class Refinement:
    """Moves the symbols of one picture.

    Args:
        symbols: what is moved, in place.
        spec: `[codec.refine]` of the model.
        image: the picture.
        z: its hyper-latents, (1, N, rows, columns).
        tiles: pieces in which the networks take it.
    """

    def __init__(
        self,
        symbols: Symbols,
        spec: RefineSpec,
        image: Image,
        z: np.ndarray,
        tiles: Sequence[Tile],
    ) -> None:
        self.symbols = symbols
        self.networks = symbols.networks
        self.tables = symbols.networks.tables
        self.spec = spec
        self.image = image
        self.z = z
        self.tiles = tiles

    def run(self, passes: int) -> None:
        """All latents are moved by what they were before a pass, wherever tiles begin and end."""
        caution = Caution()
        self.symbols.moves = np.zeros(self.symbols.y.shape[1:], np.int8)
        cost, expected = 0.0, 0.0
        for number in range(passes):
            after = self.symbols.moves.copy()
            cost_before, expected_before, cost, expected = cost, expected, 0.0, 0.0
            for tile in self.tiles:
                found = self._moves(tile, number, caution.factor)
                after[(..., *scaled(tile.core, LATENTS))] += found.moves
                cost += found.cost
                expected += found.expected
            self.symbols.moves = after
            if number:
                caution.learn(cost_before - cost, expected_before, number / passes)

    def _moves(self, tile: Tile, number: int, caution: float) -> Moves:
        """Moves of a tile's core."""
        mean = self.networks.mean(self.z, tile.outer, self.symbols)
        r = self.symbols(mean, tile.outer)
        slope, errors = self._slope(self.networks.restored(mean, r, tile.outer), tile.outer)
        inner = scaled(tile.inner, LATENTS)
        slope, r = slope[(..., *inner)], r[(..., *inner)]
        levels = self.networks.levels[tile.core]
        step = self.tables.per_latent(self.tables.inverse_gain, levels)
        weights = spread(self._weights(tile.core), LATENTS)
        bend = caution * self.spec.curvature * weights * step
        index = self.networks.index(self.z, tile.core)
        bits = self.tables.bits(r, index)
        up, down = (
            (sign * slope + bend) * step + self.tables.bits(r + sign, index) - bits
            for sign in (1, -1)
        )
        change = np.minimum(up, down)
        rng = np.random.default_rng((number, tile.core[0].start, tile.core[1].start))
        chosen = (change < -LEAST_GAIN) & (rng.random(r.shape, np.float32) < SHARE)
        return Moves(
            np.where(chosen, np.where(up < down, 1, -1), 0).astype(np.int8),
            cost=_sum(bits) + _sum(errors[scaled(tile.inner, CELL)]),
            expected=-_sum(change[chosen]),
        )

    def _slope(self, latents: np.ndarray, cells: Box) -> tuple[np.ndarray, np.ndarray]:
        """λ · ∂E/∂ŷ, (M, h, w), and λ · the error of every pixel, (H, W); both in bits."""
        graph = self.networks.model.graph("synthesis_gradient")
        rates = self.tables.rates(self.networks.levels[cells])
        weight = spread(self._weights(cells), CELL)
        part = scaled(cells, CELL)
        weight[max(self.image.height - part[0].start, 0) :] = 0  # what nobody will see
        weight[:, max(self.image.width - part[1].start, 0) :] = 0
        image = floats_of(self.image, part)
        slope, errors = graph(np.ascontiguousarray(latents), rates, image, weight[None, None])
        return slope[0], errors[0, 0]

    def _weights(self, cells: Box) -> np.ndarray:
        """Bits that a squared error of 1 is worth in each cell, (rows, columns) float32."""
        low, high = np.log([self.spec.lambda_min, self.spec.lambda_max])
        rates = self.tables.rate[self.networks.levels[cells]]
        weights: np.ndarray = (SQUARES * np.exp(low + (high - low) * rates)).astype(np.float32)
        return weights


def _sum(values: np.ndarray) -> float:
    return float(values.sum(dtype=np.float64))
