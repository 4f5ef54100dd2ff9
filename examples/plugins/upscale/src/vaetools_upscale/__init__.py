"""The operation `upscale`, a plugin for vaetools: enlarge images with any super-resolution network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003 - options are typed at run time
from typing import Any

import numpy as np

import vaetools
from vaetools import hookimpl, option
from vaetools.tiling import pad_to_multiple, scaled, tiles

from .network import PROBE, Network


class Upscale(vaetools.Operation):
    """Enlarge images with a super-resolution network of your own.

    Large images are computed in overlapping tiles. If the receptive field of the network is not larger
    than the overlap, the result is that of the whole image. Depth, greyscale, ICC and EXIF are kept;
    alpha is interpolated.
    """

    name = "upscale"

    @dataclass(frozen=True)
    class Options:
        graph: Path | None = option(None, help="the network: RGB in, RGB out", metavar="FILE.onnx")
        tile: int = option(512, min=64, help="side of a tile", metavar="PX")
        overlap: int = option(
            32, min=0, max=256, help="overlap of tiles on every side", metavar="PX"
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.graph is None:
            raise vaetools.ModelError("upscale needs a network", remedy="name it with --graph")
        self.network = Network(options.graph)

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "graph": self.network.digest}

    def process(self, item: vaetools.Image) -> vaetools.Image:
        height, width = item.height * self.network.scale, item.width * self.network.scale
        if height * width > self.max_pixels:
            raise vaetools.InputError(
                f"the result would have {height * width / 1e6:,.0f} megapixels, over the limit of "
                f"{self.max_pixels / 1e6:,.0f}",
                remedy="raise it with --max-pixels",
            )
        pixels = self._enlarged(item.pixels)[:height, :width]
        alpha = None if item.alpha is None else _interpolated(item.alpha, height, width)
        return replace(item, pixels=np.ascontiguousarray(pixels), alpha=alpha, encoded=None)

    def _enlarged(self, pixels: np.ndarray) -> np.ndarray:
        """Greyscale (H, W) or BGR (H, W, 3), enlarged `scale` times, including padding.

        Each tile is rounded to the depth of the image at once; the whole image is never float.
        """
        network, cell = self.network, self.network.cell
        source, _ = pad_to_multiple(pixels, cell, minimum=PROBE)
        height, width = source.shape[:2]
        shape = (height * network.scale, width * network.scale, *source.shape[2:])
        result = np.empty(shape, source.dtype)
        size, halo = max(1, self.options.tile // cell), -(-self.options.overlap // cell)
        for tile in tiles(height // cell, width // cell, size=size, halo=halo):
            seen = vaetools.Image(np.ascontiguousarray(source[scaled(tile.outer, cell)]))
            large = network(seen.to_rgb())[scaled(tile.inner, cell * network.scale)]
            core = result[scaled(tile.core, cell * network.scale)]
            core[...] = vaetools.Image(core).with_rgb(large).pixels
        return result


def _interpolated(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """Alpha (H, W) resized; Lanczos overshoots, which OpenCV clips for integers only."""
    import cv2

    large = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LANCZOS4)
    return np.asarray(np.clip(large, 0, 1) if large.dtype == np.float32 else large)


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Upscale]
