"""BD-rate, against itself and against published figures."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.scripts import benchmark_script
from tests.paths import SHARED

pytest.importorskip("scipy")

with benchmark_script("bd_rate") as module:
    bd_rate, common_range = module.bd_rate, module.common_range

PUBLISHED_CURVES = SHARED / "data" / "kodak_rd.json"

CURVE = [(0.1, 26.0), (0.3, 29.5), (0.7, 33.0), (1.5, 37.5)]


def test_bd_rate_against_itself_is_zero():
    assert bd_rate(CURVE, CURVE) == 0


@settings(deadline=None)
@given(st.floats(0.1, 10), st.permutations(CURVE))
def test_bd_rate_of_a_scaled_rate_is_that_scale(factor, points):
    scaled = [(rate * factor, quality) for rate, quality in points]
    assert bd_rate(scaled, CURVE) == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert bd_rate(scaled, CURVE, 28, 34) == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_half_the_rate_is_minus_fifty_per_cent():
    half = [(rate / 2, quality) for rate, quality in CURVE]
    assert bd_rate(half, CURVE) == pytest.approx(-50)


def test_points_of_equal_psnr_count_once_at_the_lower_rate():
    assert bd_rate([*CURVE, (1.7, 37.5), (0.2, 26.0 + 1e-7)], CURVE) == pytest.approx(0)


def test_less_than_one_db_in_common_is_no_figure():
    higher = [(2.0, 36.6), (3.0, 40.0)]
    assert math.isnan(bd_rate(higher, CURVE))
    assert math.isnan(bd_rate(CURVE, CURVE, 30, 30.9))
    assert math.isnan(bd_rate([], CURVE))
    assert math.isnan(bd_rate(CURVE[:1], CURVE))


def test_common_range():
    assert common_range(CURVE, [(0.4, 28.0), (3.0, 40.0)]) == (28.0, 37.5)


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED_CURVES.is_file():
        pytest.skip("the published curves are not beside the repository")
    return json.loads(PUBLISHED_CURVES.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("codec", "anchor", "bounds", "expected"),
    [
        ("webp", "jpeg", (), -36.2),
        ("avif_av1", "jpeg", (), -62.4),
        ("vvc_vtm", "jpeg", (), -67.6),
        ("vvc_vtm", "jpeg", (28, 38), -66.5),
        ("mbt2018-mean", "webp", (), -33.2),
        ("mbt2018-mean", "vvc_vtm", (28, 38), +23.6),
        ("bmshj2018-factorized", "bpg444", (), +32.5),
        ("qarv_base", "avif_av1", (), -15.6),
        ("qarv_base", "vvc_vtm", (28, 38), -0.8),
    ],
)
def test_bd_rate_reproduces_published_figures(published, codec, anchor, bounds, expected):
    test, base = (
        [(point["bpp"], point["psnr"]) for point in published[name]] for name in (codec, anchor)
    )
    assert bd_rate(test, base, *bounds) == pytest.approx(expected, abs=0.051)
