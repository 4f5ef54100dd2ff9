"""The denoisers that `denoise.py` compares, each given the true noise level."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

import vaetools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from restoration import Rgb


@dataclass
class Method:
    """A denoiser to measure.

    Attributes:
        name, settings: for the report.
        run: (noisy image, standard deviation of the noise on the 0–255 scale) -> denoised image.
        slow: measured on a few images only.
    """

    name: str
    settings: str
    run: Callable[[Rgb, float], Rgb]
    slow: bool = False


def as_image(rgb: Rgb) -> vaetools.Image:
    """As an `Image`; values may exceed [0, 1], which the denoiser accepts."""
    return vaetools.Image(np.ascontiguousarray(rgb[..., ::-1]))


def as_rgb(image: vaetools.Image) -> Rgb:
    return np.asarray(image.to_rgb())


def ours(denoiser: vaetools.Denoiser) -> Method:
    model = denoiser.model

    def run(noisy: Rgb, sigma: float) -> Rgb:
        return as_rgb(denoiser.denoise(as_image(noisy), sigma).image)

    settings = f"vaetools {vaetools.__version__}, device {model.device}, true noise level"
    return Method(f"vaetools {model.id}", settings, run)


def anchors(names: Sequence[str]) -> list[Method]:
    """The requested denoisers that are installed."""
    found = []
    for name in names:
        try:
            found.append(ANCHORS[name]())
        except ImportError as error:
            print(f"{name}: skipped, {error}")
    return found


def _cv2_nlm() -> Method:
    import cv2

    def run(noisy: Rgb, sigma: float) -> Rgb:
        pixels = np.clip(np.rint(255 * noisy[..., ::-1]), 0, 255).astype(np.uint8)
        strength = 0.8 * sigma
        found: Any = cv2.fastNlMeansDenoisingColored(pixels, None, strength, strength)
        return np.asarray(found[..., ::-1], np.float32) / 255

    return Method("OpenCV NLM", f"OpenCV {cv2.__version__}, h = 0.8 σ, 8-bit input", run)


def _skimage_nlm() -> Method:
    from skimage import restoration

    def run(noisy: Rgb, sigma: float) -> Rgb:
        level = sigma / 255
        options = {"h": 0.6 * level, "sigma": level, "fast_mode": True, "channel_axis": 2}
        return restoration.denoise_nl_means(noisy, patch_size=5, patch_distance=6, **options)

    return Method("scikit-image NLM", f"scikit-image {_version('scikit-image')}, h = 0.6 σ", run)


def _wavelet() -> Method:
    import pywt  # noqa: F401 - scikit-image needs it
    from skimage import restoration

    def run(noisy: Rgb, sigma: float) -> Rgb:
        return restoration.denoise_wavelet(
            noisy, sigma=sigma / 255, convert2ycbcr=True, rescale_sigma=True, channel_axis=2
        )

    settings = f"scikit-image {_version('scikit-image')}, BayesShrink in YCbCr"
    return Method("wavelets", settings, run)


def _bm3d() -> Method:
    import bm3d

    def run(noisy: Rgb, sigma: float) -> Rgb:
        return np.asarray(bm3d.bm3d_rgb(noisy, sigma / 255), np.float32)

    return Method("CBM3D", f"bm3d {_version('bm3d')}", run, slow=True)


def _version(package: str) -> str:
    return metadata.version(package)


ANCHORS: dict[str, Callable[[], Method]] = {
    "cv2": _cv2_nlm,
    "nlm": _skimage_nlm,
    "wavelet": _wavelet,
    "bm3d": _bm3d,
}
