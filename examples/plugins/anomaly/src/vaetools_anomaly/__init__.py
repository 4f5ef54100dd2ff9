"""The operation `anomaly`, a plugin for vaetools: train a VAE on good parts, find defective ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import vaetools
from vaetools import hookimpl, option

from .heat import heat_map

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

WINDOWS = 4
"""Windows along each side that contain a pixel, if no step is given."""

STEPS = 100
"""Values of a map per nat, or per unit of a residual (0–255 scale)."""

OPACITY = 0.7
"""Opacity of the hottest pixels of an overlay."""


class Anomaly(vaetools.Operation):
    """Show where images differ from those that a VAE was trained on.

    The map is 16-bit greyscale: value / 100 is the heat, a KL divergence in nats or a residual on the
    0–255 scale. The note of each image gives its score, the maximum of the heat.
    """

    name = "anomaly"
    task = "reconstruct"

    @dataclass(frozen=True)
    class Options:
        show: Literal["map", "overlay"] = option("map", help="the heat alone, or over the image")
        by: Literal["kl", "residual"] = option(
            "kl", help="KL divergence of the posterior, or reconstruction error"
        )
        smooth: float = option(
            2.0, min=0, max=64, help="standard deviation of a blur", metavar="PX"
        )
        step: int = option(
            0, min=0, help="distance between windows; 0: a quarter of a window", metavar="PX"
        )
        limit: float = option(
            0.0, min=0, help="highest score of a good image; 0: unknown", metavar="SCORE"
        )

    def __init__(self, model: Any, options: Any) -> None:
        super().__init__(model, options)
        if options.by == "kl" and model.manifest.latent.prior != "normal":
            raise vaetools.OptionError(
                f"by='kl' needs a model with the prior N(0, 1); {model.id} does not have it",
                remedy="use by='residual'",
            )
        self.step = options.step or max(1, min(model.manifest.size.fixed, default=1) // WINDOWS)

    def outputs(self, source: PurePath) -> Sequence[PurePath]:
        """A map is a PNG file; an overlay has the format of the input."""
        return (source.with_suffix(".png") if self.options.show == "map" else source,)

    def process(self, item: vaetools.Image) -> vaetools.Image:
        heat = self._heat(item.to_rgb())
        score, limit = float(heat.max()), self.options.limit
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        over = f", over {limit:g}" if 0 < limit < score else ""
        self.note(f"score {score:.2f} at {column}, {row}{over}")
        if self.options.show == "overlay":
            return _overlay(item, heat, limit or score)
        return vaetools.Image(np.rint(STEPS * heat).clip(0, 65535).astype(np.uint16))

    def _heat(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W) float32, smoothed."""
        import cv2

        heat = heat_map(self.model, rgb, self.options.by, self.step)
        if not self.options.smooth:
            return heat
        sigma = self.options.smooth
        return np.asarray(cv2.GaussianBlur(heat, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))


def _overlay(item: vaetools.Image, heat: np.ndarray, limit: float) -> vaetools.Image:
    """The image, with colours where it is hotter than its median; saturated at `limit`."""
    import cv2

    usual = float(np.median(heat))
    share = np.clip((heat - usual) / max(limit - usual, 1e-9), 0, 1)
    colours = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_AUTUMN)
    opacity = OPACITY * share[:, :, None]
    rgb = (1 - opacity) * item.to_rgb() + opacity * (colours[:, :, ::-1] / 255)
    pixels = np.empty((item.height, item.width, 3), item.pixels.dtype)
    icc = None if item.grey else item.icc  # a greyscale profile does not fit colours
    return replace(item, pixels=pixels, icc=icc, encoded=None).with_rgb(rgb)


@hookimpl
def register_operations() -> list[type[vaetools.Operation]]:
    return [Anomaly]
