"""Refinement: a second look at the latents of one picture, for fewer bits and fewer errors.

The analysis network guesses the latents of every picture in one step; for each picture there are
better ones (the *amortization gap* of a variational autoencoder). A pass asks for every latent what
one quantisation step s more or less would change,

    Δ = λ · (∂E/∂ŷ · s + curvature · s²) + bits(r ± 1) − bits(r),

with the gradient of the squared error E through the whole synthesis, and moves all that gain by
it. Neighbours that make up for the same error then do too much together: how much of the sum of
what they expected comes true says how cautious the next passes must be, as in trust-region methods.
A pass may lose, and later ones make up for it: what is kept in the end is the best that was seen.
Hyper-latents and tables stay as they are. The files are like any others; a decoder does not notice.

References: Yang, Bamler, Mandt, "Improving inference for neural image compression", NeurIPS 2020;
Campos et al., "Content adaptive optimization for neural image compression", CVPR workshops 2019; and
rate-distortion optimised quantisation, which video encoders have.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec.container import CELL, DOWNSCALE
from vaetools.codec.pixels import floats_of
from vaetools.codec.tables import LATENTS, spread
from vaetools.tiling import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vaetools.codec.networks import SmallNetworks
    from vaetools.image import Image
    from vaetools.model.spec import RefineSpec
    from vaetools.tiling import Box, Tile

MOST_PASSES = 64

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

    It follows the share of the expected saving that came true: far above the aim passes grow bolder,
    below it more careful. Early passes aim low, to find better ground; the last ones settle. The numbers
    were chosen on Kodak pictures at several rates (`docs/experiments.md`).
    """

    factor: float = 1.5

    def learn(self, saved: float, expected: float, progress: float) -> None:
        """Take in what a pass saved, and what it had expected, in bits; `progress` in 0 … 1."""
        share, aim = saved / max(expected, 1.0), 0.2 + progress
        if share < aim:
            self.factor = min(1.4 * self.factor, 8.0)
        elif share > 1.5 * aim:
            self.factor = max(0.75 * self.factor, 1.0)


@dataclass
class Outlook:
    """What the symbols of a part, or of all, cost, and what moves are worth.

    Attributes:
        cost: bits of the latents, and of the error.
        expected: bits that the moves should save.
    """

    cost: float = 0.0
    expected: float = 0.0


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
        self.curvature = spec.curvature
        self.image = image
        self.z = z
        self.tiles = tiles
        low, high = np.log([spec.lambda_min, spec.lambda_max])
        # Bits that a squared error of 1 is worth at every level.
        self.worth = (SQUARES * np.exp(low + (high - low) * self.tables.rate)).astype(np.float32)

    def run(self, passes: int) -> None:
        """So many passes. Each sees the symbols as the one before left them, so that tiles do not
        show; the last look is there to judge the last pass."""
        caution, before = Caution(), Outlook()
        moves = np.zeros(self.symbols.y.shape[1:], np.int8)
        best, least = b"", np.inf
        for number in range(passes + 1):
            self.symbols.moves = moves
            now, moves = self._pass(caution.factor)
            if now.cost < least:  # kept packed: nearly all of them are 0
                best, least = zlib.compress(self.symbols.moves.data, 1), now.cost
            if number:
                caution.learn(before.cost - now.cost, before.expected, number / passes)
            before = now
        kept = np.frombuffer(zlib.decompress(best), np.int8)
        self.symbols.moves = kept.reshape(moves.shape)

    def _pass(self, caution: float) -> tuple[Outlook, np.ndarray]:
        """What the symbols cost as they are, and where they go from there."""
        assert self.symbols.moves is not None
        whole, after = Outlook(), self.symbols.moves.copy()
        for tile in self.tiles:
            part, moves = self._moves(tile, caution)
            after[(..., *scaled(tile.core, LATENTS))] += moves
            whole.cost += part.cost
            whole.expected += part.expected
        return whole, after

    def _moves(self, tile: Tile, caution: float) -> tuple[Outlook, np.ndarray]:
        """The same for a tile's core: its moves (M, h, w) int8 in −1 … 1."""
        mean = self.networks.mean(self.z, tile.outer, self.symbols)
        r = self.symbols(mean, tile.outer)
        weights = self._weights(tile.outer)
        slope, errors = self._slope(
            self.networks.restored(mean, r, tile.outer), weights, tile.outer
        )
        inner, pixels = scaled(tile.inner, LATENTS), scaled(tile.inner, CELL)
        r, slope = r[(..., *inner)], slope[(..., *inner)]
        bend = caution * self.curvature * _means(weights[pixels], DOWNSCALE)
        index = self.networks.index(self.z, tile.core)
        step = self.tables.per_latent(self.tables.inverse_gain, self.networks.levels[tile.core])
        bits = self.tables.bits(r, index)
        up, down = (
            (sign * slope + bend * step) * step + self.tables.bits(r + sign, index) - bits
            for sign in (1, -1)
        )
        change = np.minimum(up, down)
        chosen = change < -LEAST_GAIN
        moves = np.where(chosen, np.where(up < down, 1, -1), 0).astype(np.int8)
        return Outlook(_sum(bits) + _sum(errors[pixels]), -_sum(change[chosen])), moves

    def _slope(
        self, latents: np.ndarray, weights: np.ndarray, cells: Box
    ) -> tuple[np.ndarray, np.ndarray]:
        """λ · ∂E/∂ŷ, (M, h, w), and λ · the error of every pixel, (H, W); both in bits."""
        graph = self.networks.model.graph("synthesis_gradient")
        rates = self.tables.rates(self.networks.levels[cells])
        image = floats_of(self.image, scaled(cells, CELL))
        slope, errors = graph(np.ascontiguousarray(latents), rates, image, weights[None, None])
        return slope[0], errors[0, 0]

    def _weights(self, cells: Box) -> np.ndarray:
        """λ at every pixel, (H, W) float32, and 0 beyond the picture, which nobody will see."""
        weights = spread(self.worth[self.networks.levels[cells]], CELL)
        rows, columns = scaled(cells, CELL)
        weights[self.image.height - rows.start :] = 0
        weights[:, self.image.width - columns.start :] = 0
        return weights


def _means(values: np.ndarray, side: int) -> np.ndarray:
    """Means over squares of `side` × `side`."""
    height, width = values.shape
    blocks = values.reshape(height // side, side, width // side, side)
    means: np.ndarray = blocks.mean(axis=(1, 3))
    return means


def _sum(values: np.ndarray) -> float:
    return float(values.sum(dtype=np.float64))
