"""Rates: from what a user asks for (quality, bits per pixel, decibels, bytes) to a level.

The analysis network runs once; every probe repeats only the small networks and the entropy coder
(and, for decibels, the synthesis). Levels are monotone in size, so bisection needs about seven. Where
symbols are refined, which is slow, it first searches without, and then nearby.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from vaetools.errors import InputError
from vaetools.metrics import psnr

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.codec.codec import Analysed, Codec, Coded

Holds: TypeAlias = "Callable[[Probes, int], bool]"
"""A condition on a level, for some probes."""


def level_of(quality: float, levels: int) -> int:
    """Level of a quality in 0 … 100."""
    return round(quality / 100 * (levels - 1))


class Probes:
    """Codings of one picture at the levels that were asked for, each done once.

    Args:
        refine: passes of refinement for each of them.
    """

    def __init__(self, codec: Codec, analysed: Analysed, refine: int = 0) -> None:
        self.codec = codec
        self.analysed = analysed
        self.refine = refine
        self._coded: dict[int, Coded] = {}
        self._psnr: dict[int, float] = {}

    @cached_property
    def pixels(self) -> int:
        return self.analysed.image.height * self.analysed.image.width

    @cached_property
    def plain(self) -> Probes:
        """The same without refinement."""
        return Probes(self.codec, self.analysed)

    def coded(self, level: int) -> Coded:
        if level not in self._coded:
            self._coded[level] = self.codec.code(self.analysed, level, refine=self.refine)
        return self._coded[level]

    def size(self, level: int) -> int:
        """Bytes of the whole file."""
        return len(self.coded(level).container.pack())

    def psnr(self, level: int) -> float:
        """Decibels of the decoded picture, all channels together."""
        if level not in self._psnr:
            decoded = self.codec.reconstruct(self.coded(level).container)
            self._psnr[level] = psnr(self.analysed.image.pixels, decoded.pixels)
        return self._psnr[level]

    def at_quality(self, quality: float) -> Coded:
        """The level of a quality in 0 … 100."""
        return self.coded(level_of(quality, self.codec.levels))

    def at_bpp(self, target: float) -> Coded:
        """The level whose file is nearest to `target` bits per pixel, the whole file counted; the last
        one where even that takes fewer bits.

        Raises:
            InputError: even the smallest file has 2 % more.
        """
        wanted = target * self.pixels / 8
        above = self.first(lambda probes, level: probes.size(level) >= wanted)
        if above == 0 and self.size(0) > 1.02 * wanted:
            if self.refine:  # it may have spent bits on quality
                return self.plain.at_bpp(target)
            raise InputError(
                f"needs {8 * self.size(0) / self.pixels:.3g} bits per pixel at quality 0, more than "
                f"the {target:g} asked for",
                remedy="raise --bpp or shrink the picture",
            )
        near = [level for level in (above - 1, above) if 0 <= level < self.codec.levels]
        return self.coded(min(near, key=lambda level: abs(self.size(level) - wanted)))

    def at_psnr(self, target: float) -> Coded:
        """The level that is nearest to `target` decibels, and at most 0.1 dB below; the first one where
        even that has more.

        Raises:
            InputError: even the best has 0.1 dB less.
        """
        above = self.first(lambda probes, level: probes.psnr(level) >= target)
        near = [level for level in (above - 1, above) if 0 <= level < self.codec.levels]
        best = min(near, key=lambda level: abs(self.psnr(level) - target))
        if self.psnr(best) >= target - 0.1:
            return self.coded(best)
        if above < self.codec.levels:  # two neighbours may lie far apart
            return self.coded(above)
        if self.refine:  # it may have spent quality on bits
            return self.plain.at_psnr(target)
        raise InputError(
            f"has {self.psnr(best):.2f} dB at quality 100, less than the {target:g} asked for",
            remedy="lower --psnr",
        )

    def at_size(self, limit: int) -> Coded:
        """The largest level whose file has at most `limit` bytes.

        Raises:
            InputError: even the smallest file is larger.
        """
        level = self.first(lambda probes, level: probes.size(level) > limit) - 1
        if level < 0:
            if self.refine:
                return self.plain.at_size(limit)
            raise InputError(
                f"needs {self.size(0)} bytes at quality 0, more than the {limit} asked for",
                remedy="raise --target-size or shrink the picture",
            )
        return self.coded(level)

    def first(self, holds: Holds) -> int:
        """Smallest level for which a monotone condition holds; `levels` if there is none."""
        low, high = 0, self.codec.levels
        if self.refine:
            low, high = self._around(self.plain.first(holds), holds)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(self, middle) else (middle + 1, high)
        return low

    def _around(self, guess: int, holds: Holds) -> tuple[int, int]:
        """Bounds of the first level for which a condition holds, in growing steps from a guess."""
        low, high, step = 0, self.codec.levels, 1
        if guess == high or holds(self, guess):
            high = guess
            while high > low and holds(self, max(high - step, low)):
                high, step = max(high - step, low), 2 * step
            return max(high - step + 1, low), high
        low = guess + 1
        while low < high and not holds(self, min(low + step, high) - 1):
            low, step = min(low + step, high), 2 * step
        return low, min(low + step - 1, high)
