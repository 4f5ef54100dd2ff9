"""Latent spaces that images can be moved in: one interface for all kinds of models.

A space gives the latents of an image (their posterior mean), a standard deviation for each latent,
which is the unit of a move, and the channels that are coarse.

    model                   latents    standard deviation                     coarse
    VAE                     z          that of the posterior q(z | x)         none
    photo codec: two        y          that of the prior p(y | z) given the   the channels that a
    levels, y given z                  hyper-latents z                        preview is decoded from
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec import Codec
from vaetools.codec.container import CELL
from vaetools.codec.pixels import bgr_of
from vaetools.codec.tables import LATENTS
from vaetools.errors import ModelBrokenError, OptionError
from vaetools.image import Image
from vaetools.model.latent import Latent
from vaetools.model.vae import Vae
from vaetools.tiling import map_tiles, scaled, tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.model.folder import Model
    from vaetools.model.session import Session
    from vaetools.tiling import Tile


@dataclass(frozen=True)
class Code:
    """An image in a latent space.

    Attributes:
        mean: latents, (1, C, h, w) float32, or (1, C) for a model whose latents are a vector.
        deviation: their standard deviations, same shape, at least 0; 0 where nothing can move.
        height, width: size of the image in pixels.
    """

    mean: np.ndarray
    deviation: np.ndarray
    height: int
    width: int


class LatentSpace(ABC):
    """The latents of one model. Can be used by several threads at once, and pickled.

    Attributes:
        model: the model.
    """

    model: Model

    @property
    @abstractmethod
    def coarse(self) -> np.ndarray:
        """The channels of large shapes and colours, (C,) bool; the others hold grain and texture."""

    @abstractmethod
    def encode(self, image: np.ndarray) -> Code:
        """The latents of an image.

        Args:
            image: (H, W, 3) float32 RGB in [0, 1].

        Raises:
            ImageValueError: the model does not accept an image of this size, or a coloured one.
        """

    @abstractmethod
    def decode(self, code: Code, values: np.ndarray) -> np.ndarray:
        """The image of other latents.

        Args:
            code: gives the size of the image.
            values: latents of the shape of `code.mean`, float32.

        Returns:
            (H, W, 3) float32 RGB, not clipped to [0, 1].
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.id})"


class VaeSpace(LatentSpace):
    """The latents of a VAE with one level, spatial or a vector; none of them is coarse."""

    def __init__(self, model: Vae) -> None:
        self.model: Vae = model

    @property
    def coarse(self) -> np.ndarray:
        return np.zeros(self.model.manifest.latent.channels, bool)

    def encode(self, image: np.ndarray) -> Code:
        posterior = self.model.encode(image)
        mean, logvar = posterior.mean, posterior.logvar
        # The posterior of a plain autoencoder is a point.
        deviation = np.zeros_like(mean) if logvar is None else np.exp(0.5 * logvar)
        return Code(mean, deviation, posterior.height, posterior.width)

    def decode(self, code: Code, values: np.ndarray) -> np.ndarray:
        return self.model.decode(Latent(code.mean, code.height, code.width).with_values(values))


class CodecSpace(LatentSpace):
    """The latents y of the codec, before quantisation.

    Their standard deviation is that of the conditional prior p(y | z) at one rate: the standard
    deviation of the entropy table that would code the latent, times the quantisation step.

    Args:
        model: a model for `compress`.
        level: rate index at which the synthesis decodes; by default the highest, which keeps most
            detail.

    Raises:
        OptionError: the model does not have this rate index.
        ModelBrokenError: the model has no `[codec]` table.
    """

    def __init__(self, model: Model, level: int | None = None) -> None:
        self.model = model
        self.codec: Codec = Codec(model)
        self.level: int = self.codec.levels - 1 if level is None else level
        if not 0 <= self.level < self.codec.levels:
            raise OptionError(f"level={level} is not 0 … {self.codec.levels - 1}")

    @property
    def coarse(self) -> np.ndarray:
        return self.codec.tables.coarse

    @cached_property
    def _spreads(self) -> np.ndarray:
        """Standard deviation of each entropy table in quantisation steps, (T,) float32, without the
        escape symbol."""
        spreads = []
        for table in self.codec.tables.latent:
            symbols = np.arange(-table.reach, table.reach + 1)
            share = table.frequencies[: len(symbols)] / table.frequencies[: len(symbols)].sum()
            spreads.append(np.sqrt((share * symbols**2).sum()))
        return np.array(spreads, np.float32)

    def encode(self, image: np.ndarray) -> Code:
        return self._encode(Image.from_array(image, channel_order="rgb"))

    def encode_pixels(self, image: Image) -> Code:
        """The latents of an 8-bit image: those of its colours in [0, 1]."""
        return self._encode(Image(np.divide(image.pixels, np.float32(255), dtype=np.float32)))

    def _encode(self, image: Image) -> Code:
        y = self.codec.analyse(image).latents
        rows, columns = (side // LATENTS for side in y.shape[2:])
        levels = np.full((rows, columns), self.level, np.uint8)
        networks = self.codec.networks(levels)
        z = networks.hyper(y)
        step = self.codec.tables.per_latent(self.codec.tables.inverse_gain, levels)
        deviation = np.empty_like(y)
        for tile in tiles(rows, columns, size=self._tile, halo=0):
            index = networks.index(z, tile.core)
            deviation[(..., *scaled(tile.core, LATENTS))] = self._spreads[index] * step
        return Code(y, deviation, image.height, image.width)

    def decode(self, code: Code, values: np.ndarray) -> np.ndarray:
        graph, rate = self.model.graph("synthesis"), self._rate
        pixels = map_tiles(
            lambda part: graph(part, rate)[0],
            [values],
            scale_in=[LATENTS],
            scale_out=CELL,
            size=self._tile,
            halo=self.codec.halo,
            windows=self.model.device.fixed_shapes,
        )
        image: np.ndarray = pixels[0].transpose(1, 2, 0)[: code.height, : code.width]
        return image

    def unseen(self, code: Code, image: Image) -> np.ndarray:
        """What `decode(code, code.mean)` lacks of an 8-bit image, (1, 3, H, W) float32, padded."""
        rows, columns = (CELL * side // LATENTS for side in code.mean.shape[2:])
        found = np.empty((1, 3, rows, columns), np.float32)
        graph = self._graph("residual")
        for tile, latents in self._tiles(code.mean):
            pixels = bgr_of(image, scaled(tile.outer, CELL))[None]
            (piece,) = graph(latents, self._rate, pixels)
            found[(..., *scaled(tile.core, CELL))] = piece[(..., *scaled(tile.inner, CELL))]
        return found

    def moved(self, code: Code, values: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        """`decode(code, values)` and what it lacks, as 8-bit pixels.

        Args:
            code: gives the size of the image.
            values: latents of the shape of `code.mean`, float32.
            unseen: from the method `unseen`.

        Returns:
            (H, W, 3) uint8 BGR, clipped and rounded.
        """
        found = np.empty((*unseen.shape[2:], 3), np.uint8)
        graph = self._graph("moved")
        for tile, latents in self._tiles(values):
            detail = np.ascontiguousarray(unseen[(..., *scaled(tile.outer, CELL))])
            (piece,) = graph(latents, self._rate, detail)
            found[scaled(tile.core, CELL)] = piece[0][scaled(tile.inner, CELL)]
        return found[: code.height, : code.width]

    def _graph(self, kind: str) -> Session:
        """The synthesis with another port for its image; see `vaetools.model.pixels`."""
        spec = self.model.manifest.graphs["synthesis"]
        return self.model.graph("synthesis", pixels=(f"{spec.outputs[0]}:{kind}",))

    def _tiles(self, values: np.ndarray) -> Iterator[tuple[Tile, np.ndarray]]:
        """The tiles of an image, in cells, and their latents."""
        height, width = (side // LATENTS for side in values.shape[2:])
        windows = self.model.device.fixed_shapes
        for tile in tiles(height, width, size=self._tile, halo=self.codec.halo, windows=windows):
            yield tile, np.ascontiguousarray(values[(..., *scaled(tile.outer, LATENTS))])

    @property
    def _rate(self) -> np.ndarray:
        return self.codec.tables.rates(np.full((1, 1), self.level))

    def __repr__(self) -> str:
        return f"CodecSpace({self.model.id}, level={self.level})"

    @property
    def _tile(self) -> int:
        """Side of a tile in cells."""
        return self.codec.spec.tile // LATENTS


def latent_space(model: Model) -> LatentSpace:
    """The latent space of a model: `VaeSpace` for a VAE, `CodecSpace` for a codec.

    Raises:
        ModelBrokenError: the model is neither a VAE nor a codec.
    """
    if isinstance(model, Vae):
        return VaeSpace(model)
    if model.manifest.codec is not None:
        return CodecSpace(model)
    raise ModelBrokenError(
        f"model {model.id} is neither a VAE nor a codec: it has no latents", file=model.folder
    )
