"""Metrics: exact figures on tiny arrays, published figures on real images."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vaetools import metrics
from vaetools.errors import ImageValueError


@pytest.fixture(scope="module")
def picture():
    data = pytest.importorskip("skimage.data")
    return data.astronaut()[:192, :224]


@pytest.fixture(scope="module")
def posterized(picture):
    """The picture in four levels per channel: a loss that no library version changes."""
    return (picture // 64 * 64 + 32).astype(np.uint8)


# --- MSE and PSNR ---------------------------------------------------------------------------------


def test_mse_of_four_pixels():
    a = np.zeros((2, 2), np.uint8)
    b = np.array([[0, 0], [0, 10]], np.uint8)
    assert metrics.mse(a, b) == 25
    assert metrics.mse(b, a) == 25  # no wrap-around of uint8


def test_mse_is_one_mean_over_all_channels():
    a = np.zeros((1, 1, 3), np.uint8)
    b = np.array([[[3, 6, 9]]], np.uint8)
    assert metrics.mse(a, b) == (9 + 36 + 81) / 3


def test_mse_in_strips_is_the_mse_of_the_whole():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 65536, (2, 1537, 1025), dtype=np.uint16)
    whole = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    assert metrics.mse(a, b) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("dtype", "step"),
    [(np.uint8, 1), (np.uint16, 257), (np.float32, 1 / 255), (np.float64, 1 / 255)],
)
def test_psnr_uses_the_range_of_the_dtype(dtype, step):
    a = np.zeros((4, 5, 3), dtype)
    b = np.full((4, 5, 3), step, dtype)
    assert metrics.psnr(a, b) == pytest.approx(48.1308, abs=1e-4)  # 20 log10(255)


def test_psnr_is_capped_at_60_db():
    a = np.zeros((64, 64), np.uint16)
    b = np.ones((64, 64), np.uint16)
    assert metrics.psnr(a, a) == metrics.psnr(a, b) == metrics.PSNR_CAP == 60


# --- SSIM and MS-SSIM -----------------------------------------------------------------------------


def test_ssim_of_flat_images_is_the_luminance_term():
    a = np.full((11, 11), 100, np.uint8)
    b = np.full((11, 11), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert metrics.ssim(a, b) == pytest.approx(expected, rel=1e-9)


def test_ms_ssim_of_flat_images_is_the_luminance_term_of_the_coarsest_scale():
    a = np.full((176, 177, 3), 100, np.uint8)
    b = np.full((176, 177, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = ((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)) ** 0.1333
    assert metrics.ms_ssim(a, b) == pytest.approx(expected, rel=1e-9)


def test_identical_pictures_score_one(picture):
    assert metrics.ssim(picture, picture) == pytest.approx(1)
    assert metrics.ms_ssim(picture, picture) == pytest.approx(1)


def test_ssim_and_ms_ssim_agree_with_pytorch_msssim(picture, posterized):
    # pytorch-msssim 1.0.0 with data_range=255; its window is single precision, hence 1e-5.
    assert metrics.ssim(picture, posterized) == pytest.approx(0.701532, abs=1e-5)
    assert metrics.ms_ssim(picture, posterized) == pytest.approx(0.852793, abs=1e-5)


def test_ms_ssim_of_grey_is_that_of_one_channel(picture, posterized):
    grey, coarse = picture[..., 1], posterized[..., 1]
    three = metrics.ms_ssim(np.dstack([grey] * 3), np.dstack([coarse] * 3))
    assert metrics.ms_ssim(grey, coarse) == pytest.approx(three, rel=1e-12)


def test_ms_ssim_of_a_negative_is_zero_not_nan(picture):
    assert metrics.ms_ssim(picture, 255 - picture) == 0


def test_scores_do_not_depend_on_the_depth(picture, posterized):
    deep, coarse = (image.astype(np.uint16) * 257 for image in (picture, posterized))
    for measure in (metrics.psnr, metrics.ssim, metrics.ms_ssim):
        assert measure(deep, coarse) == pytest.approx(measure(picture, posterized), rel=1e-9)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [metrics.mse, metrics.psnr, metrics.ssim, metrics.ms_ssim])
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((4, 4)), np.zeros((4, 5)), r"shape \(4, 4\)"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32), "uint8"),
        (np.zeros((4, 4), np.int32), np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((0, 4)), np.zeros((0, 4)), "H×W"),
        (np.zeros(4), np.zeros(4), "H×W"),
        (np.zeros((4, 4)), np.full((4, 4), 2.0), "range from 2 to 2"),
        (np.zeros((4, 4)), np.full((4, 4), np.nan), "nan"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(measure, a, b, words):
    with pytest.raises(ImageValueError, match=words):
        measure(a, b)


def test_images_too_small_for_the_window_are_refused():
    small, larger = np.zeros((10, 300), np.uint8), np.zeros((300, 175), np.uint8)
    with pytest.raises(ImageValueError, match="11 pixels or more, not 300×10"):
        metrics.ssim(small, small)
    with pytest.raises(ImageValueError, match="176 pixels or more, not 175×300"):
        metrics.ms_ssim(larger, larger)


# --- rate -----------------------------------------------------------------------------------------


def test_bpp():
    assert metrics.bpp(49152, 768, 512) == 1.0


def test_importing_metrics_is_light():
    heavy = "{'cv2', 'skimage', 'scipy', 'torch', 'onnxruntime'}"
    code = f"import sys, vaetools.metrics; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
