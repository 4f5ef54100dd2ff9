"""Rotation of video frames: the display matrix of a file, applied to its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vaetools.errors import UnsupportedImageError

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class Orientation:
    """A rotation by a multiple of 90° and a mirroring.

    Attributes:
        swaps_sides: Whether rows become columns.
        flips_x: Whether columns are reversed, after that.
        flips_y: Whether rows are reversed, after that.
    """

    swaps_sides: bool = False
    flips_x: bool = False
    flips_y: bool = False

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a frame of such a size when it is upright."""
        return (shape[1], shape[0]) if self.swaps_sides else shape

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Turn (H, W, C) pixels upright."""
        turned = pixels.swapaxes(0, 1) if self.swaps_sides else pixels
        turned = turned[:, ::-1] if self.flips_x else turned
        turned = turned[::-1] if self.flips_y else turned
        return np.ascontiguousarray(turned)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation in which players show a frame.

    FFmpeg's display matrix is a, b, u, c, d, v, x, y, w in 16.16 fixed point: the pixel (x, y) is
    shown at (a·x + c·y, b·x + d·y), but for an offset.

    Raises:
        UnsupportedImageError: An angle that is not a multiple of 90°.
    """
    side_data: Any = frame.side_data
    for data in side_data:
        if getattr(getattr(data, "type", None), "name", "") == "DISPLAYMATRIX":
            values = np.frombuffer(bytes(data), np.int32)[:9]
            a, b, _, c, d = (int(np.sign(value)) for value in values[:5])
            if a and d and not b and not c:
                return Orientation(flips_x=a < 0, flips_y=d < 0)
            if b and c and not a and not d:
                return Orientation(swaps_sides=True, flips_x=c < 0, flips_y=b < 0)
            raise UnsupportedImageError(
                "the video is rotated by an angle that is not a multiple of 90°",
                remedy="let FFmpeg rotate it first",
            )
    return Orientation()
