"""Rate control: from a user's target (quality, bits per pixel, decibels, bytes) to a rate index.

The analysis network runs once; each probe repeats only the entropy model and the entropy coder (and,
for decibels, the synthesis). File size is monotone in the rate index, so bisection needs about seven
probes. Refined files are slow to encode: there the search first runs without refinement, then
searches with refinement around the result.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from vaetools.errors import InputError
from vaetools.metrics import psnr

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaetools.codec.encoding import Analysis, Encoded
    from vaetools.image import Image

Condition: TypeAlias = "Callable[[Probes, int], bool]"
"""A condition on a rate index, evaluated with some probes."""


class RateCodec(Protocol):
    """What rate control needs of a codec; see `Codec`."""

    @property
    def levels(self) -> int: ...

    def code(
        self, analysis: Analysis, level: int, *, refine: int = 0, keep_symbols: bool = False
    ) -> Encoded: ...

    def decoded(self, encoded: Encoded) -> Image: ...


def level_of(quality: float, levels: int) -> int:
    """Rate index of a quality in [0, 100] for a model with `levels` rates."""
    return round(quality / 100 * (levels - 1))


class Probes:
    """One image encoded at several rates, each at most once.

    Args:
        codec: encodes and decodes.
        analysis: of the image.
        refine: passes of refinement for every rate.
    """

    def __init__(self, codec: RateCodec, analysis: Analysis, refine: int = 0) -> None:
        self.codec = codec
        self.analysis = analysis
        self.refine = refine
        self._encoded: dict[int, Encoded] = {}
        self._psnr: dict[int, float] = {}

    @cached_property
    def pixels(self) -> int:
        return self.analysis.image.height * self.analysis.image.width

    @cached_property
    def unrefined(self) -> Probes:
        """The same image without refinement."""
        return Probes(self.codec, self.analysis)

    def encoded(self, level: int) -> Encoded:
        """The image at a rate index."""
        if level not in self._encoded:
            self._encoded[level] = self.codec.code(self.analysis, level, refine=self.refine)
        return self._encoded[level]

    def _encoded_for_decoding(self, level: int) -> Encoded:
        """The same with its symbols, which are large, if it was not encoded before."""
        if level in self._encoded:
            return self._encoded[level]
        found = self.codec.code(self.analysis, level, refine=self.refine, keep_symbols=True)
        self._encoded[level] = replace(found, coded=None)
        return found

    def size(self, level: int) -> int:
        """Size of the whole file in bytes."""
        self.analysis.share_latents()
        return len(self.encoded(level).container.pack())

    def psnr(self, level: int) -> float:
        """PSNR of the decoded image in decibels, over all channels."""
        if level not in self._psnr:
            self.analysis.share_latents()
            decoded = self.codec.decoded(self._encoded_for_decoding(level))
            self._psnr[level] = psnr(self.analysis.image.pixels, decoded.pixels)
        return self._psnr[level]

    def at_quality(self, quality: float) -> Encoded:
        """The image at a quality in [0, 100]."""
        return self.encoded(level_of(quality, self.codec.levels))

    def at_bpp(self, target: float) -> Encoded:
        """The rate whose file is closest to `target` bits per pixel, counting the whole file.

        If the largest file has fewer bits, that file is returned.

        Raises:
            InputError: the smallest file exceeds the target by more than 2 %.
        """
        wanted = target * self.pixels / 8
        above = self.first(lambda probes, level: probes.size(level) >= wanted)
        if above == 0 and self.size(0) > 1.02 * wanted:
            if self.refine:  # refinement may spend bits on quality
                return self.unrefined.at_bpp(target)
            raise InputError(
                f"needs {8 * self.size(0) / self.pixels:.3g} bits per pixel at quality 0, more than "
                f"the target of {target:g}",
                remedy="raise --bpp or shrink the image",
            )
        near = [level for level in (above - 1, above) if 0 <= level < self.codec.levels]
        return self.encoded(min(near, key=lambda level: abs(self.size(level) - wanted)))

    def at_psnr(self, target: float) -> Encoded:
        """The rate whose PSNR is closest to `target` decibels, and at most 0.1 dB below.

        If the lowest rate has a higher PSNR, that rate is returned.

        Raises:
            InputError: the highest rate is more than 0.1 dB below the target.
        """
        above = self.first(lambda probes, level: probes.psnr(level) >= target)
        near = [level for level in (above - 1, above) if 0 <= level < self.codec.levels]
        best = min(near, key=lambda level: abs(self.psnr(level) - target))
        if self.psnr(best) >= target - 0.1:
            return self.encoded(best)
        if above < self.codec.levels:  # adjacent rates may differ by more than 0.2 dB
            return self.encoded(above)
        if self.refine:  # refinement may trade quality for bits
            return self.unrefined.at_psnr(target)
        raise InputError(
            f"has {self.psnr(best):.2f} dB at quality 100, less than the target of {target:g}",
            remedy="lower --psnr",
        )

    def at_size(self, limit: int) -> Encoded:
        """The highest rate whose file has at most `limit` bytes.

        Raises:
            InputError: even the smallest file is larger.
        """
        level = self.first(lambda probes, level: probes.size(level) > limit) - 1
        if level < 0:
            if self.refine:
                return self.unrefined.at_size(limit)
            raise InputError(
                f"needs {self.size(0)} bytes at quality 0, more than the target of {limit}",
                remedy="raise --target-size or shrink the image",
            )
        return self.encoded(level)

    def first(self, condition: Condition) -> int:
        """Smallest rate index that meets a monotone condition; `levels` if none does."""
        low, high = 0, self.codec.levels
        if self.refine:
            low, high = self._bracket(self.unrefined.first(condition), condition)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if condition(self, middle) else (middle + 1, high)
        return low

    def _bracket(self, guess: int, condition: Condition) -> tuple[int, int]:
        """Bounds of the first rate index that meets a condition, found in growing steps from a guess."""
        low, high, step = 0, self.codec.levels, 1
        if guess == high or condition(self, guess):
            high = guess
            while high > low and condition(self, max(high - step, low)):
                high, step = max(high - step, low), 2 * step
            return max(high - step + 1, low), high
        low = guess + 1
        while low < high and not condition(self, min(low + step, high) - 1):
            low, step = min(low + step, high), 2 * step
        return low, min(low + step - 1, high)
