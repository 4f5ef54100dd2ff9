"""Colours of video frames: frames of FFmpeg's pixel formats to BGR arrays and back.

Tags are FFmpeg's numbers, which are those of ITU-T H.273. What a file does not tag is read as players
do: BT.709 from 720 lines on, BT.601 below; limited range, except for RGB, grey and JPEG formats. An
untagged video is written untagged, with the matrix that players read it with: another one, if it was
turned upright.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vaetools.errors import UnsupportedImageError

if TYPE_CHECKING:
    import av

BT709, UNSPECIFIED, LIMITED, FULL = 1, 2, 1, 2
BT601 = 6
HD_LINES = 720

_MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
"""Matrices that FFmpeg's scaler converts, by their tag. It has one number for both BT.601 tags."""

_OTHER_MATRICES = {8: "YCgCo", 10: "BT.2020 constant luminance", 14: "ICtCp", 15: "IPT-C2"}


@dataclass(frozen=True)
class Layout:
    """Samples of a pixel format.

    Attributes:
        name: FFmpeg's name, such as `yuv420p10le`.
        bits: Largest number of bits per sample.
        has_alpha: Whether there is an alpha channel.
        is_rgb: Whether the samples are RGB, or a palette of RGB.
        is_grey: Whether there is luma only.
    """

    name: str
    bits: int
    has_alpha: bool
    is_rgb: bool
    is_grey: bool

    @property
    def array(self) -> str:
        """The format of arrays: `bgr24`, `bgra`, `bgr48le` or `bgra64le`."""
        if self.bits > 8:
            return "bgra64le" if self.has_alpha else "bgr48le"
        return "bgra" if self.has_alpha else "bgr24"


def layout_of(format: av.VideoFormat) -> Layout:  # noqa: A002 - FFmpeg's word
    """The layout of a pixel format. Raises `UnsupportedImageError` for floats and Bayer patterns."""
    name = format.name
    if format.is_bayer or "f16" in name or "f32" in name or name.startswith(("xyz", "rgbf")):
        raise UnsupportedImageError(f"the pixel format {name} is not supported")
    components = format.components
    is_palette = format.has_palette
    count = len(components)
    is_rgb = format.is_rgb or is_palette
    return Layout(
        name=name,
        bits=max(component.bits for component in components),
        has_alpha=any(component.is_alpha for component in components) or is_palette,
        is_rgb=is_rgb,
        is_grey=not is_rgb and count <= 2,
    )


@dataclass(frozen=True)
class Colours:
    """Colour tags of a video, and what they mean.

    Attributes:
        primaries: Tag of the primaries.
        transfer: Tag of the transfer function.
        matrix: Tag of the matrix.
        range: Tag of the range; 0 if there is none.
        matrix_used: The matrix that frames are converted with.
        range_used: The range that frames are converted with.
    """

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    range: int = 0
    matrix_used: int = BT709
    range_used: int = LIMITED

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer function is PQ or HLG."""
        return self.transfer in (16, 18)


def colours_of(frame: av.VideoFrame, layout: Layout) -> Colours:
    """The colours of a decoded frame. Raises `UnsupportedImageError` for a rare matrix."""
    matrix, tagged = frame.colorspace, frame.color_range
    if layout.is_rgb:  # converted to BT.709 when it is written as YUV, and tagged so
        primaries, transfer = (
            BT709 if tag == UNSPECIFIED else tag for tag in (frame.color_primaries, frame.color_trc)
        )
        return Colours(primaries, transfer, BT709, LIMITED, BT709, LIMITED)
    if matrix not in (*_MATRICES, UNSPECIFIED, 0, 3):
        name = _OTHER_MATRICES.get(matrix, f"number {matrix}")
        raise UnsupportedImageError(f"colours with the matrix {name} are not supported")
    is_tagged = matrix in _MATRICES
    guessed = usual_matrix(frame.height)
    is_full = tagged == FULL or (tagged == 0 and (layout.is_grey or layout.name.startswith("yuvj")))
    return Colours(
        frame.color_primaries,
        frame.color_trc,
        matrix if is_tagged else UNSPECIFIED,
        FULL if is_full else tagged,
        matrix if is_tagged else guessed,
        FULL if is_full else LIMITED,
    )


def usual_matrix(height: int) -> int:
    """The matrix that players take for a video without a tag."""
    return BT709 if height >= HD_LINES else BT601


def _scaler_matrix(matrix: int) -> int:
    return 5 if matrix == 6 else matrix  # the scaler's number for BT.601


class Converter:
    """Converts frames of one layout and colour description to arrays, and arrays to frames.

    Not thread-safe.
    """

    def __init__(self, colours: Colours) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._colours = colours
        self._reader, self._writer = VideoReformatter(), VideoReformatter()
        self._flags = (
            Interpolation.BICUBIC
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INT
            | Interpolation.FULL_CHR_H_INP
        )

    def to_array(self, frame: av.VideoFrame, layout: Layout, array: str) -> np.ndarray:
        """(H, W, 3) or (H, W, 4), BGR(A), uint8 or uint16; `array` as in `Layout.array`."""
        colours = self._colours
        same = None if layout.is_rgb else _scaler_matrix(colours.matrix_used)
        converted = self._reader.reformat(
            frame,
            format=array,
            interpolation=self._flags,
            src_colorspace=same,
            src_color_range=FULL if layout.is_rgb else colours.range_used,
            dst_color_range=FULL,
            threads=1,
        )
        return np.ascontiguousarray(converted.to_ndarray())

    def to_frame(self, array: np.ndarray, pix_fmt: str) -> av.VideoFrame:
        """A frame in an encoder's pixel format, with tags."""
        import av

        wide = array.dtype == np.uint16
        names = ("bgr48le", "bgra64le") if wide else ("bgr24", "bgra")
        source = av.VideoFrame.from_ndarray(array, format=names[array.shape[2] - 3])
        colours, target = self._colours, av.VideoFormat(pix_fmt)
        full = target.is_rgb or colours.range_used == FULL
        frame = self._writer.reformat(
            source,
            format=pix_fmt,
            interpolation=self._flags,
            src_color_range=FULL,
            dst_colorspace=None if target.is_rgb else _scaler_matrix(colours.matrix_used),
            dst_color_range=FULL if full else LIMITED,
            threads=1,
        )
        frame.colorspace = 0 if target.is_rgb else colours.matrix
        frame.color_range = FULL if target.is_rgb else colours.range
        frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
        return frame
