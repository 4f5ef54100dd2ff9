"""Latent spaces that pictures can be moved in: one face for every kind of model.

A space says where a picture is (the posterior mean of its latents), how far one may go from there
(a deviation for every latent), and which latents are coarse. All else is the same for all models.

    model                   latents    deviation                              coarse
    VAE                     z          that of the posterior                  none
    photo codec: two        y          that of the prior of y given the       those that a preview is
    levels, y given z                  hyper-latents z                        decoded from
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vaetools.codec import Codec
from vaetools.codec.container import CELL
from vaetools.codec.tables import LATENTS
from vaetools.errors import ModelBrokenError, OptionError
from vaetools.image import Image
from vaetools.model.vae import Latent, Vae
from vaetools.tiling import map_tiles, scaled, tiles

if TYPE_CHECKING:
    from vaetools.model.vae import Model


@dataclass(frozen=True)
class Code:
    """Where a picture is in a latent space.

    Attributes:
        mean: (1, C, h, w), or (1, C) for models without space, float32.
        deviation: the same shape, not negative; 0 where there is nothing to draw.
        height, width: of the picture in pixels.
    """

    mean: np.ndarray
    deviation: np.ndarray
    height: int
    width: int


class LatentSpace(ABC):
    """The latents of one model. Safe to use from several threads."""

    model: Model

    @property
    @abstractmethod
    def coarse(self) -> np.ndarray:
        """The channels that hold what a picture shows rather than how it looks, (C,) bool."""

    @abstractmethod
    def encode(self, image: np.ndarray) -> Code:
        """The code of a picture, float32 RGB (H, W, 3) in [0, 1]. Raises `ImageValueError`."""

    @abstractmethod
    def decode(self, code: Code, values: np.ndarray) -> np.ndarray:
        """What `values` in the place of `code.mean` look like: float32 RGB (H, W, 3), not clipped."""


class VaeSpace(LatentSpace):
    """The latents of a VAE with one level, over space or as a vector: all of them are fine."""

    def __init__(self, model: Vae) -> None:
        self.model: Vae = model

    @property
    def coarse(self) -> np.ndarray:
        return np.zeros(self.model.manifest.latent.channels, bool)

    def encode(self, image: np.ndarray) -> Code:
        posterior = self.model.encode(image)
        mean, logvar = posterior.mean, posterior.logvar
        # A plain autoencoder's posterior is a point.
        deviation = np.zeros_like(mean) if logvar is None else np.exp(0.5 * logvar)
        return Code(mean, deviation, posterior.height, posterior.width)

    def decode(self, code: Code, values: np.ndarray) -> np.ndarray:
        return self.model.decode(Latent(code.mean, code.height, code.width).with_values(values))


class CodecSpace(LatentSpace):
    """The latents y of the codec, not quantised.

    Their deviation is that of the conditional prior p(y | z) at a level: the spread of the table that
    would code the latent, times the quantisation step.

    Args:
        model: of the task `compress`.
        level: rate at which the synthesis decodes; None for the highest, which shows most.

    Raises:
        OptionError: a level that the model does not have.
        ModelBrokenError: as `Codec`.
    """

    def __init__(self, model: Model, level: int | None = None) -> None:
        self.model = model
        self.codec = Codec(model)
        self.level = self.codec.levels - 1 if level is None else level
        if not 0 <= self.level < self.codec.levels:
            raise OptionError(f"level={level} is not 0 … {self.codec.levels - 1}")

    @property
    def coarse(self) -> np.ndarray:
        return self.codec.tables.coarse

    @cached_property
    def _spreads(self) -> np.ndarray:
        """Deviation of every table in quantisation steps, (T,) float32; escapes are not counted."""
        spreads = []
        for table in self.codec.tables.latent:
            symbols = np.arange(-table.reach, table.reach + 1)
            share = table.frequencies[: len(symbols)] / table.frequencies[: len(symbols)].sum()
            spreads.append(np.sqrt((share * symbols**2).sum()))
        return np.array(spreads, np.float32)

    def encode(self, image: np.ndarray) -> Code:
        picture = Image.from_array(image, channel_order="rgb")
        y = self.codec.analyse(picture).latents
        rows, columns = (side // LATENTS for side in y.shape[2:])
        levels = np.full((rows, columns), self.level, np.uint8)
        networks = self.codec.networks(levels)
        z = networks.hyper(y)
        step = self.codec.tables.per_latent(self.codec.tables.inverse_gain, levels)
        deviation = np.empty_like(y)
        for tile in tiles(rows, columns, size=self._tile, halo=0):
            index = networks.index(z, tile.core)
            deviation[(..., *scaled(tile.core, LATENTS))] = self._spreads[index] * step
        return Code(y, deviation, *image.shape[:2])

    def decode(self, code: Code, values: np.ndarray) -> np.ndarray:
        graph = self.model.graph("synthesis")
        rate = self.codec.tables.rates(np.full((1, 1), self.level))
        pixels = map_tiles(
            lambda part: graph(part, rate)[0],
            [values],
            scale_in=[LATENTS],
            scale_out=CELL,
            size=self._tile,
            halo=self.codec.halo,
        )
        image: np.ndarray = pixels[0].transpose(1, 2, 0)[: code.height, : code.width]
        return image

    @property
    def _tile(self) -> int:
        """Side of what the networks see at once, in cells."""
        return self.codec.spec.tile // LATENTS


def latent_space(model: Model) -> LatentSpace:
    """The latent space of a model.

    Raises:
        ModelBrokenError: the model has none: it is neither a VAE nor a codec.
    """
    if isinstance(model, Vae):
        return VaeSpace(model)
    if model.manifest.codec is not None:
        return CodecSpace(model)
    raise ModelBrokenError(
        f"model {model.id} is neither a VAE nor a codec: it has no latents", file=model.folder
    )
