"""A JPEG file with other pixels in some places: all other blocks keep their coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaetools.image.jpeg.decoding import coefficients
from vaetools.image.jpeg.encoding import encode, segment
from vaetools.image.jpeg.splicing import spliced
from vaetools.image.jpeg.structure import ZIGZAG, NotCoveredError, read_structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vaetools.image.jpeg.structure import Component, Frame

_BLOCKS = 1 << 12  # blocks that are transformed at a time

_ANGLES = np.outer(np.arange(8), 2 * np.arange(8) + 1) * np.pi / 16
_DCT = np.cos(_ANGLES) * np.where(np.arange(8), 0.5, np.sqrt(0.125))[:, None]
"""The orthonormal DCT of T.81, A.3.3, as a matrix."""

_YCBCR = np.array(
    [
        [0.114, 0.587, 0.299],
        [0.5, -0.331264108, -0.168735892],
        [-0.081312411, -0.418687589, 0.5],
    ]
)
"""BGR to YCbCr (JFIF), without the offset of 128."""


def patched(source: bytes, pixels: NDArray[np.uint8], changed: NDArray[np.bool_]) -> bytes | None:
    """Frame, tables and coded data of a JPEG file, up to its end marker.

    A block of 8 x 8 samples is coded anew, with the source's quantisation table, if one of its pixels
    changed. All other blocks keep their coefficients exactly.

    Args:
        source: the file that the image was made from.
        pixels: (H, W) grey or (H, W, 3) BGR, as they lie in the file: no orientation applied.
        changed: (H, W), where they differ from those of the source.

    Returns:
        Without the start marker, so that metadata can be put in between. None if the source is not a
        Huffman-coded file with 8 bits and one or three components, or if every block changed.
    """
    try:
        frame = read_structure(source)
        touched = [_touched(changed, frame, c) for c in frame.components]
        if pixels.shape[:2] != (frame.height, frame.width) or all(t.all() for t in touched):
            return None
        if (pixels.ndim == 3) != (len(frame.components) == 3):
            return None
        new = [
            _new_blocks(pixels, frame, index, touched[index])
            for index in range(len(frame.components))
        ]
        body = spliced(frame, new) or _encoded(frame, new)
    except NotCoveredError:
        return None
    return colour_marker(frame) + body


def _new_blocks(
    pixels: NDArray[np.uint8], frame: Frame, index: int, touched: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.int16]]:
    """Flat indices and coefficients of a component's blocks that changed."""
    component = frame.components[index]
    rows, columns = np.nonzero(touched)
    coded = [
        _coded(pixels, frame, index, component, rows[some], columns[some])
        for at in range(0, len(rows), _BLOCKS)
        for some in [slice(at, at + _BLOCKS)]
    ]
    return rows * component.padded[1] + columns, np.concatenate(
        [np.empty((0, 64), np.int16), *coded]
    )


def _encoded(frame: Frame, new: list[tuple[NDArray[np.intp], NDArray[np.int16]]]) -> bytes:
    """All blocks coded anew, with Huffman tables made for them."""
    planes = coefficients(frame)
    for plane, (places, values) in zip(planes, new, strict=True):
        plane.reshape(-1, 64)[places] = values
    return encode(frame, planes)


def colour_marker(frame: Frame) -> bytes:
    """An Adobe marker where components are RGB; otherwise they are taken for YCbCr."""
    if len(frame.components) == 1 or frame.has_luma:
        return b""
    return segment(0xEE, b"Adobe\0d\0\0\0\0\0")


def _span(frame: Frame, component: Component) -> tuple[int, int]:
    """Height and width in pixels of a component's block."""
    return 8 * frame.down // component.down, 8 * frame.across // component.across


def _touched(changed: NDArray[np.bool_], frame: Frame, component: Component) -> NDArray[np.bool_]:
    """The blocks of a component with pixels that changed."""
    height, width = _span(frame, component)
    rows, columns = component.shape
    padded = np.zeros((rows * height, columns * width), np.bool_)
    padded[: changed.shape[0], : changed.shape[1]] = changed
    return np.asarray(padded.reshape(rows, height, columns, width).any(axis=(1, 3)))


def _coded(
    pixels: NDArray[np.uint8],
    frame: Frame,
    index: int,
    component: Component,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> NDArray[np.int16]:
    """The quantised coefficients of some blocks, (N, 64) in coded order."""
    height, width = _span(frame, component)
    # Beyond the border the last pixel is repeated.
    down = np.minimum(rows[:, None] * height + np.arange(height), frame.height - 1)
    across = np.minimum(columns[:, None] * width + np.arange(width), frame.width - 1)
    values = pixels[down[:, :, None], across[:, None, :]].astype(np.float64)
    if pixels.ndim == 3:
        if frame.has_luma:
            values = values @ _YCBCR[index] + (128 if index else 0)
        else:
            values = values[..., 2 - index]
    values = values.reshape(-1, 8, height // 8, 8, width // 8).mean(axis=(2, 4))
    transformed = _DCT @ (values - 128) @ _DCT.T
    levels = np.rint(transformed.reshape(-1, 64)[:, ZIGZAG] / component.table)
    return np.asarray(np.clip(levels, -1023, 1023), np.int16)
