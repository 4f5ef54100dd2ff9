"""Variational autoencoders at work.

The terms are those of the literature: an encoder gives the *posterior* of an image, whose *mode* is
its best single code and from which one can *sample*; the decoder turns a *latent* into an image; the
*prior* is where latents come from when there is no image.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import numpy as np

from vaetools.device_memory import SMALLER, DeviceMemoryError, can_shrink, note
from vaetools.errors import ImageValueError, ModelBrokenError, OptionError
from vaetools.model.folder import Model
from vaetools.model.latent import Latent, Posterior
from vaetools.tiling import ceil_div, map_tiles, pad_to_multiple

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

log: Logger = logging.getLogger(__name__)

TILE = 1024
"""Tile side in pixels, excluding the halo."""

GREY = 0.02
"""Mean spread of R, G and B up to which an image counts as grey: what JPEG does to a scan."""


class Vae(Model):
    """A model with the roles `encode` and `decode`.

    `encode` and `decode` are for one image as the rest of vaetools has it; the `_batch` methods are
    for arrays as the graphs have them. Images larger than `TILE` are computed in tiles where the
    manifest says that this is exact; other models see them whole, and take the memory for it.
    """

    def encode(self, image: np.ndarray) -> Posterior:
        """Posterior of an image, float32 RGB (H, W, 3) in [0, 1]; any size, padded at the edges.

        Raises:
            ImageValueError: wrong shape or values, another size than the model's only one, or
                colours for a model of grey images.
        """
        tensor = self.tensor(image)
        mean, logvar = self.encode_batch(tensor)
        return Posterior(mean, logvar, *image.shape[:2])

    def decode(self, latent: Latent) -> np.ndarray:
        """Image of a latent: float32 RGB (H, W, 3), not clipped, in the latent's own size.

        Raises:
            ModelBrokenError: as `encode_batch`, or the decoded image is smaller than that size.
        """
        images, _ = self.decode_batch(latent.values)
        height, width = images.shape[2:]
        if height < latent.height or width < latent.width:
            spec = self.manifest
            raise ModelBrokenError(
                f"model {self.id} decodes {latent.height} x {latent.width} pixels as "
                f"{height} x {width}: sides must be multiples of latent.downscale = "
                f"{spec.latent.downscale}, and size.multiple_of is {spec.size.multiple_of}",
                file=self.folder,
                remedy="set size.multiple_of in model.toml",
            )
        image = images[0].transpose(1, 2, 0)[: latent.height, : latent.width]
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else np.ascontiguousarray(image)

    def prior(
        self,
        rng: np.random.Generator,
        *,
        height: int | None = None,
        width: int | None = None,
        temperature: float = 1.0,
    ) -> Latent:
        """A latent from the prior N(0, temperature²), for an image of that size.

        Args:
            height: in pixels; a model of one size needs none.
            width: in pixels.
            temperature: scale of the standard deviation.

        Raises:
            OptionError: no size, or another than the model's only one.
            ModelBrokenError: the model has no prior to sample from, as a plain autoencoder.
        """
        latent, size = self.manifest.latent, self.manifest.size
        if latent.prior != "normal":
            raise ModelBrokenError(f"model {self.id} has no prior to sample from", file=self.folder)
        wanted = (height, width) if height and width else size.fixed
        if len(wanted) != 2 or (size.fixed and tuple(wanted) != size.fixed):
            known = f"{size.fixed[0]} x {size.fixed[1]} pixels only" if size.fixed else "any size"
            raise OptionError(f"model {self.id} needs a height and a width; it accepts {known}")
        shape: tuple[int, ...] = (1, latent.channels)
        if latent.kind == "spatial":
            cells = (ceil_div(side, size.multiple_of) * size.multiple_of for side in wanted)
            shape += tuple(max(cell, size.minimum) // latent.downscale for cell in cells)
        values = temperature * rng.standard_normal(shape, dtype=np.float32)
        return Latent(values.astype(np.float32, copy=False), *wanted)

    def tensor(self, image: np.ndarray) -> np.ndarray:
        """An image (H, W, 3) as the graphs take it: (1, C, H', W'), padded. Raises as `encode`."""
        if image.ndim != 3 or image.shape[2] != 3:
            raise ImageValueError(f"shape {image.shape} is not (H, W, 3)")
        if not (image.min() >= 0 and image.max() <= 1):  # true for NaN as well
            raise ImageValueError(
                "values are not all in [0, 1]", remedy="divide 8-bit values by 255"
            )
        size = self.manifest.size
        if size.fixed and image.shape[:2] != size.fixed:
            raise ImageValueError(
                f"model {self.id} takes {size.fixed[0]} x {size.fixed[1]} pixels only, "
                f"not {image.shape[0]} x {image.shape[1]}"
            )
        padded, _ = pad_to_multiple(image, size.multiple_of, minimum=size.minimum)
        if self.manifest.image.channels == 1:
            if np.ptp(padded, axis=2).mean() > GREY:
                raise ImageValueError(
                    f"model {self.id} accepts grayscale images only; this image is in colour"
                )
            padded = padded.mean(axis=2, keepdims=True)
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)

    def encode_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(mean, logvar) of images (N, C, H, W) in [0, 1] whose sizes the model takes as they are.

        Both (N, channels, h, w), or (N, channels) for vectors; logvar is None for a point.

        Raises:
            ModelBrokenError: the graph fails, or gives values that are not finite.
        """
        count = len(self.manifest.graphs["encode"].outputs)

        def encode(tile: np.ndarray) -> np.ndarray:
            return _joined(self.graph("encode")(tile))

        cell, down = self._cell
        out = self._tiled(encode, images, cell, cell // down)
        mean, logvar = np.split(out, 2, axis=1) if count > 1 else (out, None)
        scale, shift = self._scaling
        return (mean - shift) * scale, None if logvar is None else logvar + 2 * np.log(scale)

    def decode_batch(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(images, logits) of latents (N, channels, h, w) or (N, channels).

        Images are (N, C, H, W), not clipped; logits are those of a Bernoulli likelihood, otherwise
        None. Raises as `encode_batch` does.
        """
        scale, shift = self._scaling
        count = len(self.manifest.graphs["decode"].outputs)

        def decode(tile: np.ndarray) -> np.ndarray:
            return _joined(self.graph("decode")(tile))

        cell, down = self._cell
        values = (latents / scale + shift).astype(np.float32, copy=False)
        out = self._tiled(decode, values, cell // down, cell)
        images, logits = np.split(out, 2, axis=1) if count > 1 else (out, None)
        return images, logits

    def _tiled(
        self, function: Callable[[np.ndarray], np.ndarray], array: np.ndarray, into: int, out: int
    ) -> np.ndarray:
        """`function(array)`, in tiles where that is exact and saves memory.

        Args:
            into, out: elements per side of a grid cell, in the array and in the result.
        """
        cell, _ = self._cell
        tiling = self.manifest.tiling
        size = max(1, TILE // cell)
        fits = array.ndim != 4 or max(array.shape[2:]) * cell <= TILE * into
        if fits or tiling.policy != "halo":
            if not fits:
                log.warning(
                    "model %s processes the whole image at once, which takes memory: %s",
                    self.id,
                    tiling.reason or "it cannot be tiled",
                )
            whole = (
                tiling.policy != "halo" or array.ndim != 4 or any(s % into for s in array.shape[2:])
            )
            result = function(array) if whole else _or_none(function, array)
            if result is not None:
                self._check_sides(array, result, into, out)
                return result
            size = ceil_div(max(array.shape[2:]) // into, 2)
        halo = ceil_div(tiling.halo, cell)
        result = map_tiles(
            function,
            [_whole_cells(array, into)],
            scale_in=[into],
            scale_out=out,
            size=size,
            halo=halo,
            windows=self.device.fixed_shapes,
        )
        height, width = (ceil_div(side * out, into) for side in array.shape[2:])
        return result[:, :, :height, :width]

    def _check_sides(self, array: np.ndarray, result: np.ndarray, into: int, out: int) -> None:
        """Refuse a result whose size is not what the manifest says; `map_tiles` does it for tiles."""
        if result.ndim == 2:  # vectors have no sides
            fits = self.manifest.latent.kind == "vector"
        elif result.ndim == array.ndim == 4:
            sides = zip(array.shape[2:], result.shape[2:], strict=True)
            # Less than a cell may be missing where the image is no multiple of one.
            fits = all(abs(after * into - before * out) < into for before, after in sides)
        else:
            size = self.manifest.size
            fixed = (max(side, size.minimum) for side in size.fixed)
            padded = tuple(ceil_div(side, size.multiple_of) * size.multiple_of for side in fixed)
            fits = result.shape[2:] == padded
        if not fits or len(result) != len(array):
            implied = [side * out // into for side in array.shape[2:]]
            spec = self.manifest.latent
            raise ModelBrokenError(
                f"model {self.id} made shape {result.shape} of {array.shape}, which does not match "
                f"its manifest: latent.kind = {spec.kind!r} and latent.downscale = "
                f"{spec.downscale} imply sides of {implied}",
                file=self.folder,
                remedy="correct [latent] in model.toml, or the graph",
            )

    @property
    def _cell(self) -> tuple[int, int]:
        """Pixels per side of a grid cell, and of a latent."""
        down = self.manifest.latent.downscale
        return math.lcm(self.manifest.size.multiple_of, down), down

    @property
    def _scaling(self) -> tuple[np.float32, np.float32]:
        spec = self.manifest.latent
        return np.float32(spec.scale), np.float32(spec.shift)


def _whole_cells(array: np.ndarray, cell: int) -> np.ndarray:
    """(N, C, H, W) with the last row and column repeated until both sides are multiples of `cell`."""
    more = [(0, -side % cell) for side in array.shape[2:]]
    return np.pad(array, [(0, 0), (0, 0), *more], mode="edge") if np.any(more) else array


def _or_none(function: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> np.ndarray | None:
    """`function(array)`, or None if a device has too little memory for it."""
    try:
        with can_shrink():
            return function(array)
    except DeviceMemoryError as error:
        note(error.device, SMALLER)
        return None


def _joined(outputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """The outputs of a graph as one array, one after the other along the channels."""
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=1)
