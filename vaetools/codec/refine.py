"""Refinement: optimise the symbols of one image for a lower rate-distortion cost.

The analysis network predicts the latents of any image in one step; better ones exist for each image
(the *amortization gap* of a variational autoencoder). A pass estimates for every latent how the cost
changes if its symbol moves by one quantisation step s,

    Δ = λ · (∂E/∂ŷ · s + curvature · s²) + bits(r ± 1) − bits(r),

with the gradient of the squared error E through the whole synthesis, and applies all moves that
reduce the cost. Neighbours that correct the same error overshoot together. The ratio of actual to
expected saving therefore controls a damping factor for the next pass, as in trust-region methods. A
pass may increase the cost, which later ones make up for; the best symbols of all passes are kept.
Hyper-latents and tables do not change. The file format is the same, and decoders need no support.

References: Yang, Bamler, Mandt, "Improving inference for neural image compression", NeurIPS 2020;
Campos et al., "Content adaptive optimization for neural image compression", CVPR workshops 2019; and
rate-distortion optimised quantisation in video encoders.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
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
    from vaetools.model.spec import Positive, RefineSpec
    from vaetools.tiling import Box, Tile

MAX_PASSES = 64

MIN_SAVING = 0.05
"""Bits that a move must save to be applied."""

ERROR_SCALE = 255.0**2 / 3
"""From E, a sum over three channels in [0, 1], to the unit of λ, a mean on the 0–255 scale."""


class Symbols:
    """The symbols of an image: its quantised latents plus the moves of refinement.

    Args:
        y: (1, M, h, w) float32, latents of the whole image.
        networks: for its rate indices.

    Attributes:
        moves: (M, h, w) int8, added to the symbols; None before refinement.
    """

    def __init__(self, y: np.ndarray, networks: EntropyNetworks) -> None:
        self.y = y
        self.networks = networks
        self.moves: np.ndarray | None = None

    def of(self, z: np.ndarray, box: Box) -> np.ndarray:
        """r of a box of cells, (M, h, w), given the hyper-latents of the image."""
        if self.moves is None:
            return self.networks.symbols(self.y, z, box)
        r, _ = self.networks.moved(self.y, z, box, self.moves)
        return r


@dataclass
class Damping:
    """Factor on the curvature, because simultaneous moves interact.

    It follows the ratio of actual to expected saving: well above the target ratio the factor shrinks,
    below it grows. The target rises from pass to pass, so that early passes explore and late passes
    converge. The constants were chosen on Kodak images at several rates (`docs/experiments.md`).
    """

    factor: float = 1.5

    def update(self, saved: float, expected: float, progress: float) -> None:
        """Adapt to the outcome of a pass.

        Args:
            saved: actual saving in bits.
            expected: saving that the pass expected.
            progress: share of the passes done, in [0, 1].
        """
        ratio, target = saved / max(expected, 1.0), 0.2 + progress
        if ratio < target:
            self.factor = min(1.4 * self.factor, 8.0)
        elif ratio > 1.5 * target:
            self.factor = max(0.75 * self.factor, 1.0)


@dataclass
class Estimate:
    """Cost of the symbols of a tile or an image, and the expected effect of moves.

    Attributes:
        cost: bits of the latents plus the error in bits.
        expected: bits that the moves are expected to save.
    """

    cost: float = 0.0
    expected: float = 0.0


class Refinement:
    """Refines the symbols of one image.

    Args:
        symbols: the symbols; their `moves` are changed in place.
        spec: the `[codec.refine]` table of the manifest.
        image: the image.
        z: its hyper-latents, (1, N, rows, columns).
        tiles: tiles for the networks.
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
        self.networks: EntropyNetworks = symbols.networks
        self.tables: CodecTables = symbols.networks.tables
        self.curvature: Positive = spec.curvature
        self.image = image
        self.z = z
        self.tiles = tiles
        low, high = np.log([spec.lambda_min, spec.lambda_max])
        # λ of every rate index: bits per unit of squared error.
        weight = ERROR_SCALE * np.exp(low + (high - low) * self.tables.rate)
        self.error_weight: Any = weight.astype(np.float32)

    def run(self, passes: int) -> None:
        """Run passes and keep the best symbols.

        All tiles of a pass see the symbols of the pass before, so that tile borders leave no trace.
        """
        damping, before = Damping(), Estimate()
        moves = np.zeros(self.symbols.y.shape[1:], np.int8)
        best, lowest = b"", np.inf
        for number in range(passes + 1):  # one more than passes, to measure the last one
            self.symbols.moves = moves
            now, moves = self._pass(damping.factor)
            if now.cost < lowest:  # compressed, because nearly all moves are 0
                best, lowest = zlib.compress(self.symbols.moves.data, 1), now.cost
            if number:
                damping.update(before.cost - now.cost, before.expected, number / passes)
            before = now
        kept = np.frombuffer(zlib.decompress(best), np.int8)
        self.symbols.moves = kept.reshape(moves.shape)

    def _pass(self, damping: float) -> tuple[Estimate, np.ndarray]:
        """Cost of the current symbols, and the moves for the next pass."""
        assert self.symbols.moves is not None
        whole, after = Estimate(), self.symbols.moves.copy()
        for tile in self.tiles:
            part, moves = self._moves(tile, damping)
            after[(..., *scaled(tile.core, LATENTS))] += moves
            whole.cost += part.cost
            whole.expected += part.expected
        return whole, after

    def _moves(self, tile: Tile, damping: float) -> tuple[Estimate, np.ndarray]:
        """The same for the core of a tile, with additional moves (M, h, w) int8 in −1 … 1."""
        assert self.symbols.moves is not None
        r, restored = self.networks.moved(self.symbols.y, self.z, tile.outer, self.symbols.moves)
        weights = self._weights(tile.outer)
        slope, errors = self._slope(restored.latents, weights, tile.outer)
        inner, pixels = scaled(tile.inner, LATENTS), scaled(tile.inner, CELL)
        r, slope = r[(..., *inner)].astype(np.int32), slope[(..., *inner)]
        curvature = damping * self.curvature * _block_means(weights[pixels], DOWNSCALE)
        index = self.networks.index(self.z, tile.core)
        bits = self.tables.bits(r, index)
        core = restored.within(inner)

        def change_of(sign: int) -> np.ndarray:
            move = core.offsets(r + sign) - core.offsets(r)
            bits_after = self.tables.bits(r + sign, index)
            change: np.ndarray = (slope + curvature * move) * move + bits_after - bits
            return change

        up, down = change_of(1), change_of(-1)
        change = np.minimum(up, down)
        chosen = change < -MIN_SAVING
        moves = np.where(chosen, np.where(up < down, 1, -1), 0).astype(np.int8)
        return Estimate(_sum(bits) + _sum(errors[pixels]), -_sum(change[chosen])), moves

    def _slope(
        self, latents: np.ndarray, weights: np.ndarray, cells: Box
    ) -> tuple[np.ndarray, np.ndarray]:
        """λ · ∂E/∂ŷ, (M, h, w), and λ times the squared error of every pixel, (H, W), in bits."""
        graph = self.networks.model.graph("synthesis_gradient")
        rates = self.tables.rates(self.networks.levels[cells])
        image = rgb_of(self.image, scaled(cells, CELL))
        slope, errors = graph(
            np.ascontiguousarray(latents[None]), rates, image, weights[None, None]
        )
        return slope[0], errors[0, 0]

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


def _sum(values: np.ndarray) -> float:
    return float(values.sum(dtype=np.float64))
