"""The inpainting methods that `inpaint.py` compares."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import cv2
import numpy as np

import vaetools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Rgb = np.ndarray
"""(H, W, 3) uint8."""


@dataclass
class Method:
    """A method to measure.

    Attributes:
        name, settings: for the report.
        run: (image with a black hole, hole as (H, W) bool) -> filled image.
    """

    name: str
    settings: str
    run: Callable[[Rgb, np.ndarray], Rgb]


def as_image(rgb: Rgb) -> vaetools.Image:
    return vaetools.Image.from_array(rgb, channel_order="rgb")


def as_rgb(image: vaetools.Image) -> Rgb:
    return image.to_array(channel_order="rgb")


def ours(inpainter: vaetools.Inpainter) -> Method:
    model = inpainter.model

    def run(covered: Rgb, hole: np.ndarray) -> Rgb:
        return as_rgb(inpainter.inpaint(as_image(covered), hole).image)

    settings = f"vaetools {vaetools.__version__}, device {model.device}"
    return Method(f"vaetools {model.id}", settings, run)


def anchors(names: Sequence[str]) -> list[Method]:
    """The requested methods."""
    return [ANCHORS[name]() for name in names]


def _telea() -> Method:
    return _opencv("Telea", cv2.INPAINT_TELEA)


def _ns() -> Method:
    return _opencv("Navier-Stokes", cv2.INPAINT_NS)


def _opencv(name: str, flag: int) -> Method:
    def run(covered: Rgb, hole: np.ndarray) -> Rgb:
        return np.asarray(cv2.inpaint(covered, hole.astype(np.uint8), 3, flag))

    return Method(name, f"OpenCV {cv2.__version__}, radius 3", run)


def _biharmonic() -> Method:
    from skimage import restoration

    def run(covered: Rgb, hole: np.ndarray) -> Rgb:
        found = restoration.inpaint_biharmonic(covered / 255, hole, channel_axis=2)
        return np.clip(np.rint(255 * found), 0, 255).astype(np.uint8)

    return Method("biharmonic", f"scikit-image {metadata.version('scikit-image')}", run)


ANCHORS: dict[str, Callable[[], Method]] = {
    "telea": _telea,
    "ns": _ns,
    "biharmonic": _biharmonic,
}
