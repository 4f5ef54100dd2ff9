"""Raw video: consecutive frames without a container, as FFmpeg pipes them.

    ffmpeg -i in.mp4 -f rawvideo -pix_fmt bgr24 -

writes WIDTH × HEIGHT × 3 bytes per frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from vaetools.errors import DamagedImageError, OptionError
from vaetools.video.filter import frame_filter
from vaetools.video.stream import DEPTH, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetools.image import ChannelOrder
    from vaetools.operation import Operation

FORMATS: dict[str, tuple[int, type[np.unsignedinteger], ChannelOrder]] = {
    "bgr24": (3, np.uint8, "bgr"),
    "rgb24": (3, np.uint8, "rgb"),
    "bgra": (4, np.uint8, "bgr"),
    "rgba": (4, np.uint8, "rgb"),
    "gray": (1, np.uint8, "bgr"),
    "bgr48le": (3, np.uint16, "bgr"),
    "rgb48le": (3, np.uint16, "rgb"),
    "gray16le": (1, np.uint16, "bgr"),
}
"""(channels, dtype, channel order) of pixel formats, by FFmpeg's name."""


@dataclass(frozen=True)
class RawVideo:
    """The layout of raw frames.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        format: FFmpeg's name of the pixel format, a key of `FORMATS`.
    """

    width: int
    height: int
    format: str

    @property
    def channel_order(self) -> ChannelOrder:
        """Channel order of the frames."""
        return FORMATS[self.format][2]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame as an array: (H, W) or (H, W, C)."""
        channels = FORMATS[self.format][0]
        return (self.height, self.width) if channels == 1 else (self.height, self.width, channels)

    @property
    def stored(self) -> np.dtype[np.unsignedinteger]:
        """dtype of the samples in the file; 16-bit samples are little-endian."""
        return np.dtype(FORMATS[self.format][1]).newbyteorder("<")

    @property
    def nbytes(self) -> int:
        """Size of a frame in bytes."""
        return self.width * self.height * FORMATS[self.format][0] * self.stored.itemsize

    def frames(self, file: BinaryIO) -> Iterator[np.ndarray]:
        """Read frames from a buffered pipe or file to its end.

        Yields:
            Frames of shape `shape`, uint8 or uint16.

        Raises:
            DamagedImageError: The file ends within a frame.
        """
        number = 0
        while data := file.read(self.nbytes):
            if len(data) < self.nbytes:
                raise DamagedImageError(
                    f"ends within frame {number}: {len(data):,} of {self.nbytes:,} bytes",
                    remedy="check the frame size and the pixel format",
                )
            frame = np.frombuffer(data, self.stored).reshape(self.shape)
            yield frame.astype(FORMATS[self.format][1])
            number += 1

    def pack(self, frame: np.ndarray) -> bytes:
        """The bytes of a frame."""
        return frame.astype(self.stored).tobytes()


def parse_raw(text: str) -> RawVideo:
    """Parse a layout such as `1280x720:bgr24`. Raises `OptionError`."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4}):(\w+)", text)
    if match is None or match[3] not in FORMATS:
        raise OptionError(
            f"raw={text!r} is not WIDTHxHEIGHT:FORMAT", remedy=f"formats: {', '.join(FORMATS)}"
        )
    return RawVideo(int(match[1]), int(match[2]), match[3])


def pipe(
    operation: Operation,
    raw: RawVideo,
    source: BinaryIO,
    sink: BinaryIO,
    *,
    depth: int = DEPTH,
    threads: int = 1,
) -> int:
    """Apply an operation to raw frames from one binary file, and write the results to another.

    Args:
        operation: Takes an image and returns one.
        raw: Layout of the frames, which the results have as well.
        source: Buffered binary file to read from.
        sink: Binary file to write to; it is flushed after each frame.
        depth: Number of frames in flight, see `stream`.
        threads: Number of frames processed at the same time, see `stream`.

    Returns:
        Number of frames written.

    Raises:
        UsageError: The operation does not return exactly one image for an image.
        DamagedImageError: The source ends within a frame; complete frames have been written.
        OSError: The sink cannot be written to, for example because its reader is gone.
        Exception: Whatever processing a frame raises.
    """
    step = frame_filter(operation, raw.channel_order)
    count = 0
    for result in stream(step, raw.frames(source), depth=depth, threads=threads):
        sink.write(raw.pack(result))
        sink.flush()  # a live display must not wait for a full buffer
        count += 1
    return count
