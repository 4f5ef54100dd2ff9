"""The classical fill of a hole that the inpainter starts from. It has no parameters.

    average    what known pixels are near, at 1/8, 1/4, 1/2 and 1 of the size, smoothed   push-pull
    surface    at 1/4: the smoothest surface through the known cells                      biharmonic
    fill       the surface + the average of what the image differs from it; two steps of biharmonic
               smoothing, which round off the seams and suffice for thin holes

An average forgets slopes: in the middle of a hole in a sky it is off by what the sky changes across the
hole. A biharmonic surface continues slopes and curvature, but overshoots next to texture. At 1/4 of the
size there is little texture left, and what the surface has wrong at the rim of the hole, the average
of the differences puts right.

All of it is part of the graph, as plain convolutions with fixed weights. The average has a receptive
field with a radius of `DEEPEST` pixels; in the middle of larger holes the fill is grey, and callers fill
those from a smaller image first. The surface depends on nothing that lies behind known cells.

References:
    Gortler et al., "The lumigraph", SIGGRAPH 1996 (push-pull);
    Oliveira et al., "Fast digital image inpainting", VIIP 2001 (diffusion by convolution);
    Damelin & Hoang, "On surface completion and image inpainting by biharmonic functions", IJMMS 2018;
    Briggs, Henson & McCormick, "A multigrid tutorial", SIAM 2000 (V-cycles);
    Saad, "Iterative methods for sparse linear systems", SIAM 2003, section 12.3 (Chebyshev steps).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vaetools.training.networks.precision import in_float32
from vaetools.training.networks.restoration.network import CELL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HALVINGS = int(math.log2(CELL))

REACH = (1, 2, 4)
"""Dilations, in cells, of the sums over squares that the surface starts from."""

DEEPEST = CELL * sum(REACH)
"""Largest distance from a known pixel, in pixels, at which the fill is defined."""

NEAR = (1, 2)
"""The same for differences from the surface; further inside they count as 0."""

SMOOTHINGS = (4, 4, 4, 1)
"""Diffusion steps of these differences at 1, 1/2, 1/4 and 1/8 of the image size."""

STENCIL = ((1 / 12, 1 / 6, 1 / 12), (1 / 6, 0.0, 1 / 6), (1 / 12, 1 / 6, 1 / 12))
"""Weights of the neighbours in one diffusion step; corners count half."""

STIFFEST = 16 / 9
"""Largest eigenvalue of the bilaplacian: (4 / 3)², for a checkerboard."""

UNKNOWN = 0.5
"""The fill where no known pixel is in reach."""

FAINT = 1e-4
"""Weight of `UNKNOWN`, relative to that of a known pixel."""

SURFACE = 2
"""Halvings of the image size at which the surface is computed."""

CYCLES = 2
"""V-cycles of the surface, with `STEPS` before and after the coarser grid, and `COARSEST` there."""

STEPS, COARSEST, LAST = 3, 12, 2
"""Chebyshev steps; `LAST` at the image's own size."""

SOFTEST = {STEPS: 0.15, COARSEST: 0.03, LAST: 0.3}
"""Smallest eigenvalue of the bilaplacian that so many steps take care of."""

LEAST = 0.5
"""Known share of the cells that the surface passes through."""


def fill(image: Tensor, mask: Tensor) -> Tensor:
    """The image (B, 3, H, W) with the hole filled; outside of the hole it is the image.

    Args:
        image: about [0, 1]; what it shows in the hole is not read.
        mask: (B, 1, H, W), 1 in the hole, else 0. Sides are multiples of `CELL`.
    """
    return in_float32(_fill, image, mask)


def _fill(image: Tensor, mask: Tensor) -> Tensor:
    known = image * (1.0 - mask)
    surface = _surface(known, mask)
    rest = _Layer((image - surface) * (1.0 - mask), 1.0 - mask)
    average = rest.filled(SMOOTHINGS, NEAR, 0.0)
    return _relaxed(known + mask * (surface + average), mask > 0, None, LAST)


# --- surface


def _surface(known: Tensor, mask: Tensor) -> Tensor:
    """The smoothest surface through the known cells, (B, 3, H, W).

    Args:
        known: the image, 0 in the hole.
        mask: as for `fill`.
    """
    layer = _Layer(known, 1.0 - mask)
    for _ in range(SURFACE):
        layer = layer.halved()
    guess = layer.filled((0,) * (HALVINGS - SURFACE + 1), REACH, UNKNOWN)
    share = F.avg_pool2d(1.0 - mask, 2**SURFACE)
    hole = share < LEAST
    cells = F.avg_pool2d(known, 2**SURFACE) / share.clamp(min=LEAST)
    cells = torch.where(hole, guess, cells)
    for _ in range(CYCLES):
        cells = _relaxed(cells, hole, None, STEPS)
        force = 16.0 * _halved(_within(hole, -_bilaplacian(cells)))  # (2 h)⁴ = 16 h⁴
        error = _relaxed(torch.zeros_like(force), _inner(hole), force, COARSEST)
        cells = _relaxed(cells + _within(hole, _doubled(error)), hole, None, STEPS)
    for _ in range(SURFACE):
        cells = _doubled(cells)
    return cells


def _relaxed(values: Tensor, hole: Tensor, force: Tensor | None, steps: int) -> Tensor:
    """Values after Chebyshev steps towards: bilaplacian = force in the hole. The rest is kept."""
    change = torch.zeros_like(values)
    for momentum, rate in _chebyshev(steps, SOFTEST[steps]):
        lack = -_bilaplacian(values) if force is None else force - _bilaplacian(values)
        change = momentum * change + rate * _within(hole, lack)
        values = values + change
    return values


def _chebyshev(steps: int, softest: float) -> Iterator[tuple[float, float]]:
    """(momentum, rate) of each step for eigenvalues from `softest` to `STIFFEST`."""
    centre, spread = (STIFFEST + softest) / 2, (STIFFEST - softest) / 2
    ratio, before = spread / centre, 0.0
    for step in range(steps):
        now = 1 / (2 / ratio - before) if step else ratio
        yield (now * before, 2 * now / spread) if step else (0.0, 1 / centre)
        before = now


def _bilaplacian(values: Tensor) -> Tensor:
    once = values - _diffused(values)
    return once - _diffused(once)


def _diffused(values: Tensor) -> Tensor:
    """The mean of the neighbours; the border is repeated."""
    stencil = values.new_tensor(STENCIL).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(values, (1, 1, 1, 1), mode="replicate"), stencil, groups=3)


def _within(hole: Tensor, values: Tensor) -> Tensor:
    """0 outside of the hole, also where values are not finite: nothing passes through known cells."""
    return torch.where(hole, values, 0.0)


def _inner(hole: Tensor) -> Tensor:
    """Cells of twice the size whose correction, smoothly enlarged, stays within the hole."""
    known = F.pad(1.0 - hole.float(), (1, 1, 1, 1))
    return F.max_pool2d(known, 4, stride=2) == 0.0


def _halved(values: Tensor) -> Tensor:
    """Half the size; the transpose of `_doubled`, but for its scale."""
    return F.conv2d(F.pad(values, (1, 1, 1, 1)), _binomial(values) / 64, stride=2, groups=3)


def _doubled(values: Tensor) -> Tensor:
    """Twice the size, by quadratic B-splines; the border is repeated."""
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    return F.conv_transpose2d(padded, _binomial(values) / 16, stride=2, padding=3, groups=3)


def _binomial(like: Tensor) -> Tensor:
    """(3, 1, 4, 4), of sum 64."""
    row = like.new_tensor([1.0, 3.0, 3.0, 1.0])
    return (row[:, None] * row).expand(3, 1, 4, 4)


# --- averages


class _Layer:
    """Known pixels at one scale.

    Attributes:
        total: (B, 3, h, w), their mean colour; 0 where there are none.
        weight: (B, 1, h, w), their number, at most 1.
        gap: 1 − weight.
    """

    def __init__(self, total: Tensor, weight: Tensor) -> None:
        several = weight.clamp(min=1.0)
        self.total = total / several
        self.weight = weight / several
        self.gap = 1.0 - self.weight

    def filled(self, smoothings: Sequence[int], spreads: Sequence[int], unknown: float) -> Tensor:
        """The mean of the known pixels nearby, (B, 3, h, w).

        Args:
            smoothings: diffusion steps at this scale, at half of it, and so on down to cells.
            spreads: dilations, in cells, of the sums over squares of cells.
            unknown: the fill where no known pixel is in reach.
        """
        if len(smoothings) > 1:
            coarse = self.halved().filled(smoothings[1:], spreads, unknown)
            gap = F.interpolate(coarse, self.weight.shape[2:], mode="bilinear")
        else:
            gap = self._from_squares(spreads, unknown)
        return self._smoothed(self.total + self.gap * gap, smoothings[0])

    def halved(self) -> _Layer:
        """Sums over 2 x 2."""
        return _Layer(4.0 * F.avg_pool2d(self.total, 2), 4.0 * F.avg_pool2d(self.weight, 2))

    def _from_squares(self, spreads: Sequence[int], unknown: float) -> Tensor:
        """The gaps, filled from ever wider squares."""
        layer, wide = self, []
        for distance in spreads:
            layer = layer._spread(distance)
            wide.append(layer)
        filled = (layer.total + FAINT * unknown) / (layer.weight + FAINT)
        for layer in reversed(wide[:-1]):
            filled = layer.total + layer.gap * filled
        return filled

    def _spread(self, distance: int) -> _Layer:
        """Sums over 3 x 3 with this dilation."""
        both = torch.cat([self.total, self.weight], dim=1)
        ones = both.new_ones(4, 1, 3, 3)
        sums = F.conv2d(both, ones, padding=distance, dilation=distance, groups=4)
        return _Layer(sums[:, :3], sums[:, 3:])

    def _smoothed(self, filled: Tensor, steps: int) -> Tensor:
        """A fill after `steps` of diffusion into the unknown pixels."""
        stencil = filled.new_tensor(STENCIL).expand(3, 1, 3, 3)
        inside = F.conv2d(torch.ones_like(self.weight), stencil[:1], padding=1)
        gap = self.gap / inside  # at the border, there are fewer neighbours
        for _ in range(steps):
            filled = self.total + gap * F.conv2d(filled, stencil, padding=1, groups=3)
        return filled
