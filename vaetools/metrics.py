"""How close two images are, and how large a file is.

Images are `H×W` or `H×W×C` arrays in their own range: uint8 (0–255), uint16 (0–65535) or floats in
[0, 1]. Both must have one shape and dtype. All channels count alike, so the order (BGR or RGB)
does not matter; leave alpha out, for it would dilute the figure.

How the figures of the literature are made, and therefore ours: PSNR from one MSE over R, G and B
per image, then the mean over images; bits per pixel from the bytes of the whole file, over
width × height.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vaetools.errors import ImageValueError

Pixels: TypeAlias = npt.NDArray[Any]
PSNR_CAP = 60.0
"""dB that identical images get, and the most that any pair gets, so that means stay finite."""

_PEAKS = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0, "float64": 1.0}

# The window of Wang et al. 2004: 11×11 Gaussian, σ = 1.5 (skimage truncates at 3.5 σ: the same 11).
SSIM_SMALLEST = 11
"""Side of the window of SSIM; smaller images have no SSIM."""
SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03

# Wang, Simoncelli & Bovik 2003, section 4: the exponents of the five scales, finest first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SMALLEST = SSIM_SMALLEST << (len(MS_SSIM_WEIGHTS) - 1)
"""Shortest side, in pixels, whose coarsest scale still holds one window: 176."""


def mse(a: Pixels, b: Pixels) -> float:
    """Mean squared error over all pixels and channels, in squared units of the images' own range.

    Raises:
        ImageValueError: the images differ in shape or dtype, are empty or out of range.
    """
    _peak(a, b)
    # Strips of rows: an image of 268 megapixels must not cost 6 GB of doubles.
    strip = max(1, 2**20 // math.prod(a.shape[1:]))
    total = 0.0
    for top in range(0, a.shape[0], strip):
        error = np.subtract(a[top : top + strip], b[top : top + strip], dtype=np.float64)
        total += float(np.vdot(error, error))
    return total / a.size


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio in dB, at most `PSNR_CAP` (60 dB), which identical images get.

    One MSE over R, G and B together; the peak is that of the dtype: 255, 65535 or 1.0.
    """
    peak, error = _peak(a, b), mse(a, b)
    if error == 0:
        return PSNR_CAP
    return min(PSNR_CAP, 10 * math.log10(peak**2 / error))


def ssim(a: Pixels, b: Pixels) -> float:
    """Structural similarity, up to 1.0 for identical images, with the settings of Wang et al. 2004.

    11×11 Gaussian window with σ = 1.5, K1 = 0.01, K2 = 0.03, plain (not sample) covariance. The
    paper measures luminance; here every channel is measured and the mean taken.

    Raises:
        ImageValueError: as `mse`, or a side is shorter than the window's 11 pixels.
    """
    peak = _peak(a, b)
    _check_side(a, SSIM_SMALLEST, "SSIM")
    from skimage import metrics

    measure: Any = metrics.structural_similarity  # untyped
    value = measure(
        a.astype(np.float64),
        b.astype(np.float64),
        data_range=peak,
        channel_axis=-1 if a.ndim == 3 else None,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        K1=SSIM_K1,
        K2=SSIM_K2,
    )
    return float(value)


def ms_ssim(a: Pixels, b: Pixels) -> float:
    """Multi-scale structural similarity, 0 to 1, of Wang, Simoncelli & Bovik 2003.

    Five scales with the paper's exponents, 11×11 Gaussian windows that lie wholly inside the
    image, 2×2 means between the scales (an odd last row or column is dropped). Contrast and
    structure count at every scale, luminance at the coarsest only. Each channel is measured and
    the mean taken. A negative scale counts as 0, because a root of it is not a number.

    Raises:
        ImageValueError: as `mse`, or a side is shorter than `MS_SSIM_SMALLEST` (176 pixels).
    """
    peak = _peak(a, b)
    _check_side(a, MS_SSIM_SMALLEST, "MS-SSIM")
    x, y = _planes(a), _planes(b)
    score = np.ones(x.shape[2])
    coarsest = len(MS_SSIM_WEIGHTS) - 1
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, structure = _ssim_maps(x, y, peak)
        similarity = luminance * structure if scale == coarsest else structure
        score *= np.maximum(similarity.mean(axis=(0, 1)), 0) ** weight
        x, y = _halve(x), _halve(y)
    return float(score.mean())


def bpp(file_bytes: int, width: int, height: int) -> float:
    """Bits per pixel of a file of `file_bytes` bytes; a pixel counts once, not once per channel."""
    return 8 * file_bytes / (width * height)


def _peak(a: Pixels, b: Pixels) -> float:
    """The largest value of the images' dtype, after checking that the two can be compared."""
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ImageValueError(
            f"a {a.dtype} image of shape {a.shape} cannot be compared with a {b.dtype} image of "
            f"shape {b.shape}",
            remedy="give both one shape and one dtype",
        )
    if a.ndim not in {2, 3} or a.size == 0:
        raise ImageValueError(f"an image is H×W or H×W×C, not {a.shape}")
    peak = _PEAKS.get(a.dtype.name)
    if peak is None:
        raise ImageValueError(f"pixels are {a.dtype}", remedy="use uint8, uint16 or floats in 0–1")
    if a.dtype.kind == "f":
        for image in (a, b):
            # Written so that NaN, which compares false with everything, is refused as well.
            if not (image.min() >= 0 and image.max() <= 1):
                raise ImageValueError(
                    f"float pixels range from {image.min():g} to {image.max():g}",
                    remedy="floats are in [0, 1]: clip or scale them first",
                )
    return peak


def _check_side(image: Pixels, smallest: int, what: str) -> None:
    height, width = image.shape[:2]
    if min(height, width) < smallest:
        raise ImageValueError(
            f"{what} needs sides of {smallest} pixels or more, not {width}×{height}"
        )


def _planes(image: Pixels) -> npt.NDArray[np.float64]:
    """The image as H×W×C doubles."""
    return image.astype(np.float64).reshape(*image.shape[:2], -1)


def _ssim_maps(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], peak: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The luminance and the contrast-times-structure terms of SSIM at every window."""
    c1, c2 = (SSIM_K1 * peak) ** 2, (SSIM_K2 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return luminance, structure


def _blur(planes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means under the Gaussian window where it lies wholly inside: (H−10)×(W−10)×C."""
    import cv2

    kernel = cv2.getGaussianKernel(SSIM_SMALLEST, SSIM_SIGMA)
    blurred = np.asarray(cv2.sepFilter2D(planes, cv2.CV_64F, kernel, kernel), dtype=np.float64)
    margin = SSIM_SMALLEST // 2
    # OpenCV drops the axis of a single channel.
    return blurred.reshape(planes.shape)[margin:-margin, margin:-margin]


def _halve(planes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Means of 2×2 pixels."""
    height, width = planes.shape[0] // 2 * 2, planes.shape[1] // 2 * 2
    even = planes[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
