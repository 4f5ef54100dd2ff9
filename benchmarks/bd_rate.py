"""Bjøntegaard delta rate: how many per cent more bits one codec needs than another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.interpolate import PchipInterpolator

if TYPE_CHECKING:
    from collections.abc import Sequence

RatePoint: TypeAlias = tuple[float, float]
"""Bits per pixel and PSNR in dB."""


def bd_rate(
    test: Sequence[RatePoint],
    anchor: Sequence[RatePoint],
    lo: float = -math.inf,
    hi: float = math.inf,
) -> float:
    """How many per cent more bits `test` needs than `anchor` at the same PSNR; negative is better.

    PCHIP interpolation of ln(bpp) over PSNR for each curve, then the mean difference at 400 evenly
    spaced PSNRs of the range that both curves cover. The result depends on that range, so report it
    as well (`common_range`).

    Args:
        test, anchor: points in any order.
        lo, hi: further bounds of the range in dB, to compare several codecs on one range.

    Returns:
        Per cent, or NaN if the range is shorter than 1 dB.

    Reference: Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001.
    """
    lowest, highest = common_range(test, anchor)
    lo, hi = max(lo, lowest), min(hi, highest)
    if hi - lo < 1:
        return math.nan
    quality = np.linspace(lo, hi, 400)
    rates = [PchipInterpolator(*_log_rate(curve))(quality) for curve in (test, anchor)]
    return 100 * (math.exp(np.mean(rates[0] - rates[1])) - 1)


def common_range(test: Sequence[RatePoint], anchor: Sequence[RatePoint]) -> tuple[float, float]:
    """Lowest and highest PSNR that both curves reach; empty if the first is larger."""
    spans = [_log_rate(curve)[0] for curve in (test, anchor)]
    if not all(spans):
        return math.inf, -math.inf  # a curve has no points
    return max(span[0] for span in spans), min(span[-1] for span in spans)


def _log_rate(curve: Sequence[RatePoint]) -> tuple[list[float], list[float]]:
    """PSNR, strictly increasing as PCHIP requires, and ln(bpp) of each point."""
    qualities: list[float] = []
    rates: list[float] = []
    for quality, rate in sorted((quality, rate) for rate, quality in curve):
        if not qualities or quality - qualities[-1] > 1e-6:
            qualities.append(quality)
            rates.append(math.log(rate))
    return qualities, rates
